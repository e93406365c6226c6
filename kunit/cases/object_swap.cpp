// SPDX-License-Identifier: GPL-2.0
// object_swap.cpp: pages of named objects leave memory for the swap space and come back, whoever wants them (spec U5, U6).
#include "inject.h"
#include "page_kinds.h"
#include "swap_file.h"
#include "text_fixture.h"
#include "unmap_fixture.h"

#include "objrmap/poison.h"
#include "objrmap/vmscan.h"

using namespace objr;
using namespace objr::test;

namespace {

// What reclaim does with a page that nobody has used; to the end, whichever store there is.
UnmapResult send_out(TestWorld& world, FileMapping& object, u64 pgoff) {
    UnmapResult result;
    {
        SharedGuard quiesce(world->quiesce);
        Page* page = object.find_page(pgoff);
        if (!page) {
            return result;
        }
        {
            PageLock lock(*page);
            WalkCost cost;
            result = unmap_page(*world, *page, UnmapMode::take_used, cost);
            if (result.answer == Unmapped::success) {
                result = swap_out_object_page(*world, *page);
            }
        }
        world->pool.put(*page);
    }
    if (result.why == Refusal::to_be_written) {
        result.why = write_out(*world, result.entry) ? Refusal::none : Refusal::not_written;
    }
    return result;
}

bool is_out(FileMapping& object, u64 pgoff, SwapEntry& entry) {
    u64 at = pgoff;
    return !object.has_page(pgoff) && object.swapped_from(at, entry, pgoff);
}

void send_out_all(objr_test* test, TestWorld& world, FileMapping& object, u64 pages) {
    for (u64 n = 0; n < pages; n++) {
        const UnmapResult result = send_out(world, object, n);
        OBJR_ASSERT(result.answer == Unmapped::success && result.why == Refusal::none);
        SwapEntry entry{};
        OBJR_EXPECT(is_out(object, n, entry));
    }
    OBJR_EXPECT_EQ(object.cached_pages(), 0);
    OBJR_EXPECT_EQ(object.swapped_pages(), pages);
    OBJR_EXPECT(world.verify());
}

} // namespace

// ---- there and back

// Shared, private and nonlinear views: nobody notices; what is read once is there for all.
OBJR_TEST(spec_U5_object_out_and_in) {
    TestWorld world(test);
    Object object(test, world, "shared", 8);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 8, kShared, object.get(), 0) && b.map(8, 16, kReadWrite, object.get(), 0));
    for (u64 n = 0; n < 8; n++) {
        a.store(n, 100 + n);
        OBJR_EXPECT_EQ(b.load(8 + n), 100 + n);
    }
    b.store(8 + 3, 33); // a copy of its own
    OBJR_ASSERT(a.mm().remap(at(0), 2 * kPageSize, 6, Populate::yes));
    for (u64 round = 0; round < 3; round++) {
        send_out_all(test, world, *object.get(), 8);
        OBJR_EXPECT_EQ(world.used_pages(), 1);
        OBJR_EXPECT_EQ(world->counters.sum(Count::swapped_pages), 8);
        const u64 reads = a.mm().major_faults();
        const u64 others = b.mm().major_faults();
        for (u64 n = 2; n < 8; n++) {
            OBJR_EXPECT_EQ(a.load(n), 100 + n + round);
            OBJR_EXPECT_EQ(b.load(8 + n), n == 3 ? 33 : 100 + n + round);
        }
        OBJR_EXPECT_EQ(a.load(0), 106 + round); // by its window
        OBJR_EXPECT_EQ(a.mm().major_faults(), reads + 6);
        OBJR_EXPECT_EQ(b.mm().major_faults(), others);
        OBJR_EXPECT_EQ(world->swap.used(), 2);
        for (u64 n = 2; n < 8; n++) {
            a.store(n, 101 + n + round);
        }
        OBJR_EXPECT_EQ(b.load(8), 100);
        OBJR_EXPECT_EQ(b.load(8 + 1), 101);
        OBJR_EXPECT_EQ(world->swap.used(), 0);
    }
}

OBJR_TEST(spec_U5_object_three_times_the_pool) {
    constexpr u64 kPages = 768;
    TestWorld world(test, 1, 4, nullptr, 4);
    Object object(test, world, "large", kPages);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, kPages, kShared, object.get(), 0) && b.map(0, kPages, kShared, object.get(), 0));
    for (u64 version = 0; version < 2; version++) {
        for (u64 n = 0; n < kPages; n++) {
            if (version != 0) {
                OBJR_ASSERT_EQ(b.load(n), n * 10 + version - 1);
            }
            a.store(n, n * 10 + version);
        }
        OBJR_EXPECT(world.verify());
    }
    ScanLedger ledger;
    OBJR_EXPECT(reclaim_pages(*world, 16, Scanner::daemon, ledger) >= 16);
    OBJR_EXPECT(object->swapped_pages() >= kPages - 256);
}

OBJR_TEST(spec_U5_object_over_a_file) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Object object(test, world, "filed", 4);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4, kShared, object.get(), 0));
    for (u64 round = 0; round < 3; round++) {
        for (u64 n = 0; n < 4; n++) {
            a.store(n, 10 * round + n);
        }
        send_out_all(test, world, *object.get(), 4);
        OBJR_EXPECT_EQ(world.used_pages(), 0);
        for (u64 n = 0; n < 4; n++) {
            OBJR_EXPECT_EQ(a.load(n), 10 * round + n);
        }
    }
    // What cannot be written stays, and is there.
    file.fail(OBJR_MEMORY_WRITE, OBJR_ENOSPC);
    const UnmapResult result = send_out(world, *object.get(), 2);
    OBJR_EXPECT(result.answer == Unmapped::success && result.why == Refusal::not_written);
    OBJR_EXPECT(object->swapped_pages() == 1 && world->counters.sum(Count::swapcache_pages) == 1);
    world.verify();
    OBJR_EXPECT_EQ(a.load(2), 22);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

// ---- what fails

OBJR_TEST(spec_U5_object_contents_that_are_bad) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Object object(test, world, "bad", 4);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4, kShared, object.get(), 0));
    for (u64 n = 0; n < 4; n++) {
        a.store(n, 70 + n);
    }
    send_out_all(test, world, *object.get(), 4);
    SwapEntry entry{};
    OBJR_ASSERT(is_out(*object.get(), 2, entry));
    const u64 position = entry.offset * kPageSize + 3000;
    const u8 before = file.exchange(position, 1);
    OBJR_EXPECT_EQ(a.try_load(2), -OBJR_EIO);
    OBJR_EXPECT_EQ(a.try_store(2, 1), -OBJR_EIO);
    OBJR_EXPECT_EQ(object->truncate(2 * kPageSize + 5).as_int(), -OBJR_EIO); // it would have to be cleared in part
    OBJR_EXPECT_EQ(object->size(), 4 * kPageSize);
    file.fail(OBJR_MEMORY_FILL, OBJR_EIO);
    OBJR_EXPECT_EQ(a.try_load(3), -OBJR_EIO);
    file.fail(OBJR_MEMORY_FILL, 0);
    world.verify();
    for (u64 n : {0, 1, 3}) {
        OBJR_EXPECT_EQ(a.load(n), 70 + n);
    }
    file.exchange(position, before);
    OBJR_EXPECT_EQ(a.load(2), 72);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

OBJR_TEST(spec_U5_object_and_full_swap) {
    TestWorld world(test, 2, 4, nullptr, 1);
    const u64 slots = world->swap.slots();
    Object object(test, world, "full", 300);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && slots < 300 && a.map(0, 300, kShared, object.get(), 0));
    for (u64 n = 0; n < 300; n++) {
        a.store(n, n);
    }
    for (u64 n = 0; n < 300; n++) {
        const UnmapResult result = send_out(world, *object.get(), n);
        OBJR_EXPECT_EQ(result.answer, n < slots ? Unmapped::success : Unmapped::fail);
        OBJR_EXPECT_EQ(result.why, n < slots ? Refusal::none : Refusal::no_slot);
    }
    OBJR_EXPECT_EQ(object->cached_pages(), 300 - slots);
    world.verify();
    for (u64 n = 0; n < 300; n++) {
        OBJR_EXPECT_EQ(a.load(n), n);
    }
}

OBJR_TEST(spec_U5_object_with_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        objr_test_skip(test, "allocations cannot be made to fail here");
        return;
    }
    TestWorld world(test, {.pool_mb = 1, .levels = 4, .swap_mb = 1, .swap_kind = OBJR_SWAP_LZ4});
    Object object(test, world, "failing", 2);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 2, kShared, object.get(), 0));
    a.store(0, 5);
    for (u32 n = 1;; n++) {
        objr_test_fail_nth_allocation(n);
        const UnmapResult out = send_out(world, *object.get(), 0);
        const s32 in = a.try_load(0);
        const bool reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT_EQ(out.answer, Unmapped::success);
        OBJR_EXPECT(in == 0 || in == -OBJR_ENOMEM);
        OBJR_EXPECT_EQ(a.load(0), 5);
        world.verify();
        if (!reached) {
            break;
        }
    }
}

// ---- truncation and the end

OBJR_TEST(spec_U6_object_cut_while_out) {
    TestWorld world(test);
    Object object(test, world, "cut", 8);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 8, kShared, object.get(), 0));
    for (u64 n = 0; n < 8; n++) {
        a.store(n, 1 + n);
    }
    send_out_all(test, world, *object.get(), 8);
    OBJR_ASSERT(object->truncate(3 * kPageSize));
    OBJR_EXPECT_EQ(world->swap.used(), 3);
    OBJR_EXPECT_EQ(a.try_load(3), -OBJR_EIO);
    world.verify();
    OBJR_ASSERT(object->truncate(8 * kPageSize));
    for (u64 n = 0; n < 8; n++) {
        OBJR_EXPECT_EQ(a.load(n), n < 3 ? 1 + n : 0);
    }
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

OBJR_TEST(spec_U6_object_cut_within_a_page_that_is_out) {
    constexpr u64 kKept = 16;
    TestWorld world(test);
    Object object(test, world, "tail", 4);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4, kShared, object.get(), 0));
    auto bytes = [&] { return static_cast<u8*>(world->pool.address(*a.page(1))); };
    a.store(1, 1);
    __builtin_memset(bytes(), 7, kPageSize);
    a.store(2, 2);
    send_out(world, *object.get(), 1);
    send_out(world, *object.get(), 2);
    OBJR_ASSERT(object->truncate(kPageSize + kKept));
    OBJR_EXPECT_EQ(world->swap.used(), 0); // the one was cut, the other has come in
    for (u64 round = 0; round < 2;
         round++) { // read at once, and written behind its end and swapped out when it grows again
        OBJR_EXPECT_EQ(a.try_load(1), 0);
        for (u64 i = 0; i < kPageSize; i++) {
            OBJR_ASSERT_EQ(bytes()[i], i < kKept ? 7 : 0);
        }
        if (round == 0) {
            a.store(1, 0x0707070707070707);
            bytes()[kKept + 9] = 9;
            OBJR_EXPECT_EQ(send_out(world, *object.get(), 1).answer, Unmapped::success);
            OBJR_ASSERT(object->truncate(4 * kPageSize));
        }
    }
    OBJR_EXPECT_EQ(a.load(2), 0);
}

OBJR_TEST(object_goes_with_what_is_out) {
    TestWorld world(test);
    {
        Object object(test, world, "gone", 4);
        Process a(test, world);
        OBJR_ASSERT(a.alive() && a.map(0, 4, kShared, object.get(), 0));
        for (u64 n = 0; n < 4; n++) {
            a.store(n, n);
        }
        send_out_all(test, world, *object.get(), 4);
        OBJR_ASSERT(a.unmap(0, 4));
        OBJR_EXPECT_EQ(world->swap.used(), 4); // the descriptor keeps it
    }
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT_EQ(world.used_pages(), 0);
}

// It has no user any more, and somebody looks at it: what it had is gone, and verify agrees.
OBJR_TEST(object_that_is_held_goes_with_what_is_out) {
    TestWorld world(test);
    Object object(test, world, "held", 4);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4, kShared, object.get(), 0));
    for (u64 n = 0; n < 4; n++) {
        a.store(n, n);
    }
    send_out_all(test, world, *object.get(), 4);
    u64 id = 0;
    FileMapping* held = world->hold_file_from(id);
    OBJR_ASSERT(held == object.get());
    a.exit();
    object.close();
    world.verify();
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::file_mappings), 0);
    held->let_go();
}

OBJR_TEST(spec_U5_pageout_to_a_file) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Object object(test, world, "filed", 40);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 40, kShared, object.get(), 0) && a.map(40, 80));
    for (u64 n = 0; n < 80; n++) {
        a.store(n, n);
    }
    OBJR_EXPECT(a.mm().advise(at(0), at(80), Advice::pageout));
    OBJR_EXPECT_EQ(world.used_pages(), 0);
    OBJR_EXPECT_EQ(world->swap.used(), 80);
    for (u64 n = 0; n < 80; n++) {
        OBJR_EXPECT_EQ(a.load(n), n);
    }
}

// ---- brought in

OBJR_TEST(object_swap_off) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Text text(test);
    Object object(test, world, "off", 5);
    Process a(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.alive() && a.map(0, 4, kShared, object.get(), 0) && a.map(8, 9));
    for (u64 n = 0; n < 4; n++) {
        a.store(n, n + 1);
    }
    a.store(8, 9);
    send_out_all(test, world, *object.get(), 4);
    OBJR_ASSERT_EQ(unmap_at(world, a, 8).answer, Unmapped::success);
    file.fail(OBJR_MEMORY_FILL, OBJR_EIO, 1);
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), -OBJR_EIO);
    OBJR_EXPECT_TEXT(text.c_str(), "at pgoff 0x0 of object ");
    file.fail(OBJR_MEMORY_FILL, 0);
    world.verify();
    OBJR_EXPECT_EQ(text.command(world, "swapoff"), 0);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT_EQ(object->cached_pages(), 4);
    OBJR_EXPECT_EQ(send_out(world, *object.get(), 0).why, Refusal::no_slot);
    for (u64 n = 0; n < 4; n++) {
        OBJR_EXPECT_EQ(a.load(n), n + 1);
    }
    OBJR_EXPECT_EQ(a.load(8), 9);
}

OBJR_TEST(object_willneed_and_swapin) {
    TestWorld world(test, 2);
    Text text(test);
    Object object(test, world, "needed", 1000);
    Process a(test, world);
    Process b(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(b.alive() && a.map(0, 1000, kShared, object.get(), 0) && b.map(0, 1000, kShared, object.get(), 0));
    for (u64 n = 0; n < 4; n++) {
        a.store(n, n + 1);
    }
    a.store(700, 701);
    for (u64 n : {0, 1, 2, 3, 700}) {
        OBJR_ASSERT_EQ(send_out(world, *object.get(), n).answer, Unmapped::success);
    }
    OBJR_EXPECT_EQ(text.query(world, "file needed pgoff 1"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "it is swapped out");
    WordsOf<60> words;
    words.words.add("swapin mm ").decimal(b.mm().id()).add(" addr ").hex(at(1).value); // who has never touched it may
    OBJR_EXPECT_EQ(text.command(world, words.words.c_str()), 0);
    OBJR_EXPECT(object->has_page(1) && object->swapped_pages() == 4);
    OBJR_EXPECT_EQ(text.command(world, words.words.c_str()), -OBJR_ENOENT);
    OBJR_EXPECT(b.mm().advise(at(0), at(1000), Advice::willneed));
    OBJR_EXPECT(object->swapped_pages() == 0 && object->cached_pages() == 5);
    const u64 before = b.mm().major_faults();
    OBJR_EXPECT_EQ(b.load(700), 701);
    OBJR_EXPECT_EQ(b.load(3), 4);
    OBJR_EXPECT_EQ(b.mm().major_faults(), before);
}

// ---- in between

// In the swap cache, not yet written: what it had is lost, until it is cut off.
OBJR_TEST(object_page_fails_on_its_way_out) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Object object(test, world, "failing", 2);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 2, kShared, object.get(), 0));
    a.store(0, 1);
    a.store(1, 2);
    Page* page = a.page(1);
    file.fail(OBJR_MEMORY_WRITE, OBJR_EIO);
    OBJR_ASSERT_EQ(send_out(world, *object.get(), 1).why, Refusal::not_written);
    PoisonResult result;
    {
        SharedGuard quiesce(world->quiesce);
        OBJR_ASSERT(world->pool.try_get(*page));
        page->lock();
        OBJR_EXPECT(poison_page(*world, *page, result));
        page->unlock();
        world->pool.put(*page);
    }
    OBJR_EXPECT(!result.recovered);
    OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(a.load(0), 1);
    world.verify();
    OBJR_ASSERT(object->truncate(kPageSize) && object->truncate(2 * kPageSize));
    OBJR_EXPECT_EQ(a.load(1), 0);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

OBJR_TEST(object_that_somebody_looks_at_stays) {
    TestWorld world(test);
    Object object(test, world, "watched", 1);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1, kShared, object.get(), 0));
    a.store(0, 1);
    Page* page = object->find_page(0);
    OBJR_ASSERT(page != nullptr);
    OBJR_EXPECT_EQ(send_out(world, *object.get(), 0).answer, Unmapped::again);
    world->pool.put(*page);
    OBJR_EXPECT(object->has_page(0) && world->swap.used() == 0);
    OBJR_EXPECT_EQ(a.load(0), 1);
}
