// SPDX-License-Identifier: GPL-2.0
// swap_out.cpp: pages of processes that leave memory and come back, over each store; what fails on the way; what comes with the way
// back: neighbours, swap-off and the command swapin (spec U5).
#include "inject.h"
#include "page_kinds.h"
#include "swap_file.h"
#include "text_fixture.h"
#include "unmap_fixture.h"

using namespace objr;
using namespace objr::test;

namespace {

constexpr objr_params kOverLz4{.pool_mb = 1, .levels = 4, .swap_mb = 1, .swap_kind = OBJR_SWAP_LZ4};

void fill(TestWorld& world, Process& process, u64 n, PageKind kind, u64 seed) {
    process.store(n, seed);
    if (Page* page = process.page(n)) {
        fill_page(world->pool.address(*page), kind, seed);
    }
}

bool holds(TestWorld& world, Process& process, u64 n, PageKind kind, u64 seed) {
    process.load(n);
    const Page* page = process.page(n);
    return page && page_holds(world->pool.address(*page), kind, seed);
}

PageKind kind_of_page(u64 n) { return static_cast<PageKind>(n % kPageKinds); }

// Rounds of which each looks at what the one before has left, with a relative that shares some and writes others.
void make_rounds(objr_test* test, TestWorld& world) {
    constexpr u64 kPages = 40;
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, kPages));
    for (u64 n = 0; n < kPages; n++) {
        fill(world, a, n, kind_of_page(n), n);
    }
    OBJR_ASSERT(a.fork_to(b));
    for (u64 round = 1; round <= 4; round++) {
        for (u64 n = 0; n < kPages; n++) {
            OBJR_ASSERT_EQ(unmap_at(world, a, n).answer, Unmapped::success);
            unmap_at(world, b, n);
            OBJR_EXPECT(a.pte(n).is_swap());
        }
        OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 0);
        OBJR_EXPECT(world.verify());
        for (u64 n = 0; n < kPages; n++) {
            const u64 seed = n % 3 == 0 ? n + 1000 * (round - 1) : n;
            OBJR_EXPECT(holds(world, b, n, kind_of_page(n), n));
            OBJR_EXPECT(holds(world, a, n, kind_of_page(n), seed));
            if (n % 3 == 0) {
                fill(world, a, n, kind_of_page(n), n + 1000 * round);
            } else {
                OBJR_EXPECT(round > 1 || a.page(n) == b.page(n)); // read once
            }
        }
    }
}

} // namespace

// ---- there and back

OBJR_TEST(spec_U5_rounds_over_lz4) {
    TestWorld world(test, kOverLz4);
    OBJR_ASSERT(world);
    make_rounds(test, world);
}

OBJR_TEST(spec_U5_rounds_over_a_file) {
    SwapFile file(test);
    {
        TestWorld world(test, file.params());
        OBJR_ASSERT(world);
        OBJR_EXPECT_EQ(world->swap.slots(), 256);
        make_rounds(test, world);
    }
    OBJR_EXPECT_EQ(objr_memory_file_users(file.get()), 0);
}

// ---- what fails

// One bit is enough. The others are as they were, and if the file is put right again so is the page.
OBJR_TEST(spec_U5_corrupted_contents) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4));
    for (u64 n = 0; n < 4; n++) {
        a.store(n, 70 + n);
        OBJR_ASSERT_EQ(unmap_at(world, a, n).answer, Unmapped::success);
    }
    const u64 position = a.pte(2).swap_entry().offset * kPageSize + 3000;
    const u8 before = file.exchange(position, 1);
    OBJR_EXPECT_EQ(before, 0);
    for (u32 i = 0; i < 2; i++) {
        OBJR_EXPECT_EQ(a.try_load(2), -OBJR_EIO);
        OBJR_EXPECT_EQ(a.try_store(2, 1), -OBJR_EIO);
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_read_errors), 4);
    OBJR_EXPECT(a.pte(2).is_swap() && world.verify());
    OBJR_EXPECT_EQ(world->swap.used(), 4);
    for (u64 n : {0, 1, 3}) {
        OBJR_EXPECT_EQ(a.load(n), 70 + n);
    }
    file.exchange(position, before);
    OBJR_EXPECT_EQ(a.load(2), 72);
}

OBJR_TEST(spec_U5_file_cut_short) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4));
    for (u64 n = 0; n < 3; n++) {
        a.store(n, 70 + n);
        OBJR_ASSERT_EQ(unmap_at(world, a, n).answer, Unmapped::success);
    }
    objr_backing* somebody = objr_memory_file_open(file.get(), 1);
    OBJR_ASSERT(somebody);
    OBJR_EXPECT_EQ(objr_backing_truncate(somebody, a.pte(1).swap_entry().offset * kPageSize + 100), 0);
    objr_backing_put(somebody);
    OBJR_EXPECT_EQ(a.load(0), 70);
    OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EIO);
    OBJR_EXPECT_EQ(a.try_load(2), -OBJR_EIO);
    a.store(3, 73); // finds its slot behind the end
    UnmapResult result = unmap_at(world, a, 3);
    OBJR_EXPECT_EQ(result.why, Refusal::not_written);
    OBJR_EXPECT_EQ(a.load(3), 73);
}

OBJR_TEST(spec_U5_read_errors) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 7);
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    for (const int error : {OBJR_EIO, OBJR_EACCES, OBJR_ENOMEM}) {
        file.fail(OBJR_MEMORY_FILL, error);
        OBJR_EXPECT_EQ(a.try_load(0), error == OBJR_ENOMEM ? -OBJR_ENOMEM : -OBJR_EIO);
        OBJR_EXPECT(a.pte(0).is_swap() && world.verify());
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_read_errors), 2);
    file.fail(OBJR_MEMORY_FILL, 0);
    OBJR_EXPECT_EQ(a.load(0), 7);
}

// What cannot be written stays, dirty; who wants it gets it, and the next attempt counts.
OBJR_TEST(spec_U5_write_errors) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 2));
    for (const int error : {OBJR_ENOSPC, OBJR_EIO}) {
        a.store(0, static_cast<u64>(error));
        Page* page = a.page(0);
        file.fail(OBJR_MEMORY_WRITE, error);
        const UnmapResult result = unmap_at(world, a, 0);
        OBJR_EXPECT_EQ(result.answer, Unmapped::success);
        OBJR_EXPECT_EQ(result.why, Refusal::not_written);
        OBJR_ASSERT(a.pte(0).is_swap() && page && SwapSpace::cached(*page));
        OBJR_EXPECT(page->has(PageFlag::dirty) && world.verify());
        OBJR_EXPECT_EQ(write_out(*world, a.pte(0).swap_entry()).as_int(), -error);
        OBJR_EXPECT_EQ(a.load(0), static_cast<u64>(error));
        OBJR_EXPECT_EQ(world->swap.used(), 0);
        a.store(0, 5);
        OBJR_ASSERT(unmap_at(world, a, 0).why == Refusal::not_written);
        file.fail(OBJR_MEMORY_WRITE, 0);
        OBJR_EXPECT(write_out(*world, a.pte(0).swap_entry()));
        OBJR_EXPECT_EQ(world.used_pages(), 0);
        OBJR_EXPECT_EQ(a.load(0), 5);
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_write_errors), 6);
}

OBJR_TEST(spec_U5_lz4_full) {
    TestWorld world(test, {.pool_mb = 2, .levels = 4, .swap_mb = 1, .swap_kind = OBJR_SWAP_LZ4});
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 400));
    u64 out = 0;
    for (u64 n = 0; n < 400; n++) {
        fill(world, a, n, PageKind::noise, n);
        const UnmapResult result = unmap_at(world, a, n);
        OBJR_ASSERT_EQ(result.answer, Unmapped::success);
        out += result.why == Refusal::none ? 1 : 0;
    }
    OBJR_EXPECT(out > 200 && out <= 256);
    OBJR_EXPECT(world.verify());
    for (u64 n = 0; n < 400; n++) {
        OBJR_EXPECT(holds(world, a, n, PageKind::noise, n));
    }
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

// ---- the steps of a write, with something between them

namespace {

// A page of a process that is unmapped and about to be written.
class HalfWritten : Pinned {
public:
    HalfWritten(objr_test* test, TestWorld& world, Process& process) : world_(world), guard_(world->swap.write_lock()) {
        process.store(0, 5);
        Page* page = process.page(0);
        WalkCost cost;
        UnmapResult result;
        SharedGuard quiesce(world->quiesce);
        PageLock lock(*page);
        for (u32 i = 0; i < 256 && page->mapped(); i++) {
            result = unmap_page(*world, *page, UnmapMode::reclaim, cost);
        }
        OBJR_EXPECT_EQ(result.why, Refusal::to_be_written);
        entry = result.entry;
        write_ = world->swap.begin_write_locked(*page);
    }
    void finish() {
        const Status written = world_->swap.write_slot(write_);
        SharedGuard quiesce(world_->quiesce);
        world_->swap.end_write(write_, written);
    }
    SwapEntry entry;

private:
    TestWorld& world_;
    Guard<Mutex> guard_;
    SwapSpace::Write write_;
};

} // namespace

OBJR_TEST(spec_U5_steps_of_a_write) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    {
        HalfWritten half(test, world, a);
        OBJR_EXPECT(!world->swap.slot(half.entry.offset).stored);
        OBJR_EXPECT(world.verify());
        half.finish();
        OBJR_EXPECT(world->swap.slot(half.entry.offset).stored);
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 1);
    OBJR_EXPECT(write_out(*world, a.pte(0).swap_entry())); // written already: it only leaves
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 0);
    OBJR_EXPECT_EQ(objr_memory_file_calls(file.get(), OBJR_MEMORY_WRITE), 1);
    OBJR_EXPECT_EQ(a.load(0), 5);
}

// The slot is nobody's, and yet not free: another page in it would be written over.
OBJR_TEST(spec_U5_entry_goes_during_a_write) {
    SwapFile file(test);
    objr_params params = file.params();
    params.pool_mb = 2;
    TestWorld world(test, params);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 1) && b.map(0, 256));
    for (u32 i = 0; i < 2; i++) {
        HalfWritten half(test, world, a);
        if (i == 0) {
            OBJR_EXPECT_EQ(a.load(0), 5); // takes the page out of the cache
        } else {
            a.exit();
        }
        OBJR_EXPECT_EQ(world->swap.used(), 1);
        OBJR_EXPECT(world->swap.slot(half.entry.offset).ending && world.verify());
        for (const bool enter : {true, false}) { // all others are given out
            for (u64 n = 0; n + 1 < world->swap.slots(); n++) {
                b.store(n, n);
                Page& page = *b.page(n);
                SharedGuard quiesce(world->quiesce);
                PageLock lock(page);
                if (enter) {
                    OBJR_EXPECT(world->swap.add_to_cache_locked(page));
                } else {
                    world->swap.remove_from_cache_locked(page);
                }
            }
        }
        half.finish();
        OBJR_EXPECT_EQ(world->swap.used(), 0);
    }
}

OBJR_TEST(spec_U5_page_changes_during_a_write) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 1));
    {
        HalfWritten half(test, world, a);
        OBJR_ASSERT(a.fork_to(b));
        OBJR_EXPECT_EQ(b.load(0), 5); // mapped again, and in the cache for a
        half.finish();
    }
    OBJR_EXPECT(write_out(*world, a.pte(0).swap_entry())); // not while it is mapped
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 1);
    b.store(0, 6);
    OBJR_EXPECT_EQ(a.load(0), 5);
    OBJR_EXPECT_EQ(b.load(0), 6);
}

namespace {

void fail_every_allocation(objr_test* test, TestWorld& world) {
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 2));
    fill(world, a, 0, PageKind::mixed, 5);
    OBJR_ASSERT(a.fork_to(b));
    bool reached = true;
    for (u32 n = 1; reached && n < 100; n++) {
        objr_test_fail_nth_allocation(n);
        const UnmapResult result = unmap_at(world, b.page(0) ? b : a, 0);
        const s32 loaded = a.try_load(0);
        reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT_EQ(result.answer, Unmapped::success);
        OBJR_EXPECT(loaded == 0 || loaded == -OBJR_ENOMEM);
        OBJR_EXPECT(world.verify());
        OBJR_EXPECT(holds(world, a, 0, PageKind::mixed, 5));
        OBJR_EXPECT(holds(world, b, 0, PageKind::mixed, 5));
    }
    OBJR_EXPECT(!reached);
}

} // namespace

OBJR_TEST(spec_U5_stores_with_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("no failing allocations here");
    }
    {
        TestWorld world(test, kOverLz4);
        OBJR_ASSERT(world);
        fail_every_allocation(test, world);
    }
    SwapFile file(test);
    TestWorld world(test, file.params());
    OBJR_ASSERT(world);
    fail_every_allocation(test, world);
}

// ---- neighbours

namespace {

// Pages 0 to 15 of a process, out in this order, their words n + 100.
void put_out(objr_test* test, TestWorld& world, Process& process) {
    for (u64 n = 0; n < 16; n++) {
        process.store(n, n + 100);
    }
    for (u64 n = 0; n < 16; n++) {
        OBJR_ASSERT_EQ(unmap_at(world, process, n).answer, Unmapped::success);
        OBJR_EXPECT_EQ(process.pte(n).swap_entry().offset, n);
    }
}

} // namespace

OBJR_TEST(swap_readahead) {
    TestWorld world(test, kOverLz4);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 20));
    put_out(test, world, a);
    world->swap.set_readahead_floor(0);
    OBJR_EXPECT_EQ(a.load(3), 103);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_readaheads), 7);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 8);
    OBJR_EXPECT_EQ(world->swap.kept(), 1);
    OBJR_EXPECT(world.verify());
    Page* ahead = world->swap.find_page(a.pte(5).swap_entry());
    OBJR_ASSERT(ahead);
    world->pool.put(*ahead);
    OBJR_EXPECT_EQ(unmap_once(world, *ahead).why, Refusal::none); // goes as it came
    OBJR_EXPECT(ahead->has(PageFlag::free));
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), 16);
    for (u64 n = 0; n < 8; n++) {
        if (n != 5) {
            OBJR_EXPECT_EQ(a.load(n), n + 100);
        }
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_readahead_hits), 6);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_ins), 8);
    OBJR_EXPECT(a.pte(12).is_swap());
    OBJR_EXPECT_EQ(a.load(5), 105);
    OBJR_EXPECT_EQ(a.load(12), 112);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 16);
    OBJR_EXPECT_EQ(world->swap.kept(), 9); // the others go with their entries
}

OBJR_TEST(swap_readahead_evicts_nothing) {
    TestWorld world(test, kOverLz4);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 300));
    put_out(test, world, a);
    world->swap.set_readahead_floor(10);
    for (u64 n = 16; world->pool.free_pages() > 13; n++) {
        a.store(n, n);
    }
    OBJR_EXPECT_EQ(a.load(0), 100); // one for itself, two until the floor is reached
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_readaheads), 2);
    OBJR_EXPECT_EQ(world->pool.free_pages(), 10);
    OBJR_EXPECT_EQ(a.load(8), 108);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_readaheads), 2);
}

// It is for those who want the page to learn that it cannot be read.
OBJR_TEST(swap_readahead_of_what_is_bad) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 20));
    put_out(test, world, a);
    world->swap.set_readahead_floor(0);
    file.exchange(6 * kPageSize + 17, 99);
    OBJR_EXPECT_EQ(a.load(2), 102);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_read_errors), 0);
    OBJR_EXPECT_EQ(a.try_load(6), -OBJR_EIO);
}

// ---- swap-off

OBJR_TEST(swap_off_and_on) {
    TestWorld world(test, kOverLz4);
    Process a(test, world);
    Process b(test, world);
    Text text(test);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 20));
    put_out(test, world, a);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT(a.mm().protect(at(4), at(6), 0)); // nothing may be done with it now
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "swapoff pages=32");
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT(!a.pte(3).young() && a.pte(3).is_present() && !a.pte(4).user());
    OBJR_EXPECT_EQ(a.load(3), 103);
    OBJR_EXPECT_EQ(a.try_load(4), -OBJR_EACCES);
    OBJR_ASSERT(a.mm().protect(at(4), at(6), OBJR_VM_READ));
    OBJR_EXPECT_EQ(a.load(4), 104);
    OBJR_EXPECT_EQ(b.load(4), 104);
    OBJR_EXPECT_EQ(unmap_at(world, a, 3).why, Refusal::no_slot);
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), 0); // off it is
    world->swapoffs.store(1); // somebody else is at it
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), -OBJR_EBUSY);
    OBJR_EXPECT_EQ(text.command(world, "swapon"), -OBJR_EBUSY);
    OBJR_EXPECT_TEXT(text.c_str(), "error another swapoff or swapon is under way: wait for it, or end it");
    OBJR_EXPECT(!world->swap.enabled());
    world->swapoffs.store(0);
    OBJR_EXPECT_EQ(text.command(world, "swapon json"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "{\"swapon\":{\"slots\":1024}}");
    OBJR_EXPECT_EQ(unmap_at(world, a, 3).answer, Unmapped::success);
    OBJR_EXPECT_EQ(a.load(3), 103);
}

OBJR_TEST(swap_off_without_memory) {
    TestWorld world(test, kOverLz4);
    Process a(test, world);
    Text text(test);
    OBJR_PROPAGATE();
    Object object(test, world, "stays", 20);
    OBJR_ASSERT(a.map(0, 400) && a.map(500, 520, kShared, object.get(), 0));
    for (u64 n = 500; n < 520; n++) { // without swap they will not go, but some pages of files would
        a.store(n, n);
    }
    put_out(test, world, a);
    for (u64 n = 16; world->pool.free_pages() > 5; n++) {
        a.store(n, n);
    }
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), -OBJR_ENOMEM);
    OBJR_EXPECT_TEXT(text.c_str(), "error swap is on as before: after 5 pages, at 0x");
    OBJR_EXPECT(world->swap.enabled() && world.verify());
    OBJR_EXPECT_EQ(unmap_at(world, a, 16).answer, Unmapped::success);
    OBJR_ASSERT(a.unmap(17, 100));
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), 0);
    for (u64 n = 0; n < 17; n++) {
        OBJR_EXPECT_EQ(a.load(n), n == 16 ? 16 : n + 100);
    }
}

// What cannot come back is not begun: nobody is without slots meanwhile.
OBJR_TEST(swap_off_that_has_no_room) {
    TestWorld world(test, kOverLz4);
    Process a(test, world);
    Text text(test);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 400));
    put_out(test, world, a);
    for (u64 n = 16; world->pool.free_pages() > 15; n++) {
        a.store(n, n);
    }
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), -OBJR_ENOMEM);
    OBJR_EXPECT_TEXT(text.c_str(), "error swap is on as before: after 0 pages, the pool has no free page");
    OBJR_EXPECT(world->swap.enabled() && world->swap.used() == 16 && world->pool.free_pages() == 15);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_ins), 0);
    OBJR_EXPECT_EQ(a.load(0), 100);
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), -OBJR_ENOMEM);
    OBJR_ASSERT(a.unmap(20, 40));
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), 0);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

OBJR_TEST(swap_off_and_unreadable) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    Text text(test);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 20));
    put_out(test, world, a);
    file.exchange(6 * kPageSize + 17, 99);
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), -OBJR_EIO);
    OBJR_EXPECT_TEXT(text.c_str(), "its slot cannot be read: the kernel's log says which");
    OBJR_EXPECT(world->swap.enabled());
    OBJR_EXPECT_EQ(world->swap.used(), 10);
    OBJR_ASSERT(a.unmap(6, 7)); // it can do without
    OBJR_EXPECT_EQ(text.command(world, "swapoff json"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "{\"swapoff\":{\"pages\":9}}");
    OBJR_EXPECT_EQ(text.command(world, "swapon"), 0);
}

OBJR_TEST(command_swapin) {
    TestWorld world(test, kOverLz4);
    Process a(test, world);
    Text text(test);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 20));
    put_out(test, world, a);
    const auto swapin = [&](u64 page, const char* more) {
        WordsOf<80> words;
        words.words.add("swapin mm ").decimal(a.mm().id()).add(" addr ").hex(at(page).value + 5).add(more);
        return text.command(world, words.words.c_str());
    };
    OBJR_EXPECT_EQ(swapin(7, ""), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "swapin mm=");
    OBJR_EXPECT(a.pte(7).is_present() && !a.pte(7).young());
    OBJR_EXPECT_EQ(swapin(7, ""), -OBJR_ENOENT);
    OBJR_EXPECT_TEXT(text.c_str(), ": nothing is swapped out there");
    OBJR_EXPECT_EQ(swapin(17, ""), -OBJR_ENOENT);
    OBJR_EXPECT_EQ(swapin(900, ""), -OBJR_EFAULT);
    OBJR_EXPECT_TEXT(text.c_str(), ": nothing is mapped there");
    OBJR_EXPECT_EQ(swapin(8, " json"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "{\"swapin\":{\"mm\":");
    OBJR_EXPECT_EQ(text.command(world, "swapin mm 4000 addr 0x1000"), -OBJR_ENOENT);
    OBJR_EXPECT_TEXT(text.c_str(), "error no mm 4000");
    OBJR_EXPECT_EQ(text.command(world, "swapin page 3"), -OBJR_EINVAL);
    OBJR_EXPECT_TEXT(text.c_str(), "bad word 'page': expected pid P addr X or mm M addr X");
    OBJR_EXPECT_EQ(a.load(7), 107);
    OBJR_EXPECT_EQ(a.load(8), 108);
}
