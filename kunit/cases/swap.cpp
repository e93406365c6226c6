// SPDX-License-Identifier: GPL-2.0
// swap.cpp: the swap space by itself: slots, the swap cache, contents (spec U5). Swap PTEs are played by the tests.
#include "fixture.h"

using namespace objr;
using namespace objr::test;

namespace {

// An anonymous page of a process, locked and referenced for the time of a test, filled with words of its own.
class HeldPage : Pinned {
public:
    HeldPage(objr_test* test, TestWorld& world, Process& process, u64 number, u64 seed) : world_(world) {
        process.store(number, seed);
        page_ = process.page(number);
        if (!page_) {
            objr_test_fail(test, __FILE__, __LINE__, "the process has no page");
            return;
        }
        world_->pool.get(*page_);
        page_->lock();
        fill(seed);
    }
    ~HeldPage() {
        if (page_) {
            page_->unlock();
            world_->pool.put(*page_);
        }
    }
    Page& operator*() const { return *page_; }
    Page* operator->() const { return page_; }
    explicit operator bool() const { return page_ != nullptr; }
    void fill(u64 seed) {
        u64* words = static_cast<u64*>(world_->pool.address(*page_));
        for (u64 i = 0; i < kPageSize / sizeof(u64); i++) {
            words[i] = seed + i;
        }
    }

private:
    TestWorld& world_;
    Page* page_ = nullptr;
};

bool holds(World& world, const Page& page, u64 seed) {
    const u64* words = static_cast<const u64*>(world.pool.address(page));
    for (u64 i = 0; i < kPageSize / sizeof(u64); i++) {
        if (words[i] != seed + i) {
            return false;
        }
    }
    return true;
}

void let_go(World& world, Page& page) {
    page.unlock();
    world.pool.put(page);
}

// Read an entry, look at it, let the page leave memory again.
void expect_contents(objr_test* test, World& world, SwapEntry entry, u64 seed) {
    FrameReserve frames(world, Patience::files);
    Result<Page*> page = world.swap.read_locked(entry, frames);
    OBJR_ASSERT(page);
    OBJR_EXPECT(page->locked() && page->has(PageFlag::uptodate) && SwapSpace::cached(**page, entry));
    OBJR_EXPECT(holds(world, **page, seed));
    world.swap.remove_from_cache_locked(**page);
    let_go(world, **page);
}

} // namespace

OBJR_TEST(spec_U5_contents_survive) {
    TestWorld world(test);
    Process process(test, world);
    OBJR_ASSERT(process.alive() && process.map(0, 8));
    SwapSpace& swap = world->swap;
    OBJR_EXPECT_EQ(swap.slots(), 256);
    SwapEntry entries[8];
    for (u64 i = 0; i < 8; i++) {
        HeldPage page(test, world, process, i, 1000 * i);
        OBJR_ASSERT(page && swap.add_to_cache_locked(*page));
        entries[i] = SwapSpace::entry_of(*page);
        swap.duplicate(entries[i]);
        OBJR_EXPECT(swap.must_write(*page));
        OBJR_ASSERT(swap.write_locked(*page));
        OBJR_EXPECT(!swap.must_write(*page));
        swap.remove_from_cache_locked(*page);
        OBJR_EXPECT(!SwapSpace::cached(*page));
        page.fill(~0ull); // the frame has another life
    }
    OBJR_EXPECT_EQ(swap.used(), 8);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), 8);
    for (u64 round = 0; round < 3; round++) {
        for (u64 i = 0; i < 8; i++) {
            expect_contents(test, *world, entries[i], 1000 * i);
        }
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_ins), 24);
    for (SwapEntry entry : entries) {
        OBJR_EXPECT(!swap.release(entry));
    }
    OBJR_EXPECT_EQ(swap.used(), 0);
}

OBJR_TEST(spec_U5_shared_entries_are_read_once) {
    TestWorld world(test);
    Process process(test, world);
    OBJR_ASSERT(process.alive() && process.map(0, 1));
    SwapSpace& swap = world->swap;
    SwapEntry entry{};
    {
        HeldPage page(test, world, process, 0, 7);
        OBJR_ASSERT(page && swap.add_to_cache_locked(*page));
        entry = SwapSpace::entry_of(*page);
        swap.duplicate(entry);
        swap.duplicate(entry);
        swap.duplicate(entry);
        OBJR_ASSERT(swap.write_locked(*page));
        swap.remove_from_cache_locked(*page);
    }
    Page* first = nullptr;
    for (u32 left = 2; left != 0; left--) {
        FrameReserve frames(*world, Patience::files);
        Result<Page*> page = swap.read_locked(entry, frames);
        OBJR_ASSERT(page && (!first || first == *page));
        first = *page;
        OBJR_EXPECT(!swap.release(entry));
        OBJR_EXPECT_EQ(swap.count(entry), left);
        let_go(*world, **page);
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_ins), 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 1);
    // The last one while the page is cached: who took it must let the page go.
    OBJR_ASSERT(swap.release(entry));
    OBJR_EXPECT_EQ(swap.used(), 1);
    swap.reap(entry);
    OBJR_EXPECT_EQ(swap.used(), 0);
    OBJR_EXPECT(first->has(PageFlag::free));
    swap.reap(entry); // of a slot that is free: nothing to do
}

// What is not stored yet, or older than the page, is written; an entry that has gone is not read.
OBJR_TEST(spec_U5_stale_contents_are_not_believed) {
    TestWorld world(test);
    Process process(test, world);
    OBJR_ASSERT(process.alive() && process.map(0, 1));
    SwapSpace& swap = world->swap;
    HeldPage page(test, world, process, 0, 1);
    OBJR_ASSERT(page && swap.add_to_cache_locked(*page));
    const SwapEntry entry = SwapSpace::entry_of(*page);
    swap.duplicate(entry);
    OBJR_ASSERT(swap.write_locked(*page));
    page.fill(2);
    page->set(PageFlag::dirty);
    OBJR_EXPECT(swap.must_write(*page));
    OBJR_ASSERT(swap.write_locked(*page));
    OBJR_EXPECT(!page->has(PageFlag::dirty));
    swap.remove_from_cache_locked(*page);
    expect_contents(test, *world, entry, 2);
    OBJR_EXPECT(!swap.release(entry));
    FrameReserve frames(*world, Patience::files);
    OBJR_EXPECT_EQ(swap.read_locked(entry, frames).as_int(), -OBJR_ENOENT);
    // The slot's next life knows nothing of the one before.
    OBJR_ASSERT(swap.add_to_cache_locked(*page));
    OBJR_EXPECT(SwapSpace::entry_of(*page) == entry);
    OBJR_EXPECT(swap.must_write(*page));
    swap.remove_from_cache_locked(*page);
    OBJR_EXPECT_EQ(swap.used(), 0);
}

OBJR_TEST(spec_U5_full_swap_loses_nothing) {
    TestWorld world(test, 2);
    Process process(test, world);
    OBJR_ASSERT(process.alive() && process.map(0, 300));
    SwapSpace& swap = world->swap;
    const u64 slots = swap.slots();
    for (u64 i = 0; i < slots; i++) {
        HeldPage page(test, world, process, i, i);
        OBJR_ASSERT(page && swap.add_to_cache_locked(*page));
    }
    {
        HeldPage page(test, world, process, slots, 5);
        OBJR_ASSERT(page);
        const s32 refcount = page->refcount.load();
        OBJR_EXPECT_EQ(swap.add_to_cache_locked(*page).as_int(), -OBJR_ENOSPC);
        OBJR_EXPECT(!SwapSpace::cached(*page));
        OBJR_EXPECT_EQ(page->refcount.load(), refcount);
    }
    for (u64 i = 0; i < slots; i++) {
        HeldPage page(test, world, process, i, i);
        OBJR_ASSERT(page && SwapSpace::cached(*page));
        swap.remove_from_cache_locked(*page);
    }
    OBJR_EXPECT_EQ(swap.used(), 0);
}

OBJR_TEST(spec_U5_replaced_page) {
    TestWorld world(test);
    Process process(test, world);
    OBJR_ASSERT(process.alive() && process.map(0, 1));
    SwapSpace& swap = world->swap;
    Page* fresh = nullptr;
    SwapEntry entry{};
    {
        HeldPage old(test, world, process, 0, 9);
        OBJR_ASSERT(old && swap.add_to_cache_locked(*old));
        entry = SwapSpace::entry_of(*old);
        swap.duplicate(entry);
        OBJR_ASSERT(swap.write_locked(*old));
        const s32 refcount = old->refcount.load();
        Result<Page*> allocated = world->pool.allocate_locked();
        OBJR_ASSERT(allocated);
        fresh = *allocated;
        objr_copy_page(world->pool.address(*fresh), world->pool.address(*old));
        swap.replace_locked(*old, *fresh);
        OBJR_EXPECT(!SwapSpace::cached(*old) && SwapSpace::cached(*fresh, entry));
        OBJR_EXPECT_EQ(old->refcount.load(), refcount - 1);
        OBJR_EXPECT_EQ(fresh->refcount.load(), 2);
        fresh->unlock();
    }
    OBJR_EXPECT(swap.release(entry));
    swap.reap(entry);
    OBJR_EXPECT_EQ(fresh->refcount.load(), 1);
    world->pool.put(*fresh);
}

// A read that finds no page, or no contents, leaves the entry as it was.
OBJR_TEST(spec_U5_failing_reads) {
    TestWorld world(test);
    Process process(test, world);
    Process hungry(test, world);
    OBJR_ASSERT(hungry.alive() && process.map(0, 1) && hungry.map(0, 256));
    SwapSpace& swap = world->swap;
    SwapEntry entry{};
    {
        HeldPage page(test, world, process, 0, 3);
        OBJR_ASSERT(page && swap.add_to_cache_locked(*page));
        entry = SwapSpace::entry_of(*page);
        swap.duplicate(entry);
        OBJR_ASSERT(swap.write_locked(*page));
        swap.remove_from_cache_locked(*page);
    }
    for (u64 i = 0; world->pool.free_pages() != 0; i++) {
        hungry.store(i, i);
    }
    FrameReserve frames(*world, Patience::files);
    OBJR_EXPECT_EQ(swap.read_locked(entry, frames).as_int(), -OBJR_ENOBUFS);
    OBJR_EXPECT_EQ(swap.count(entry), 1);
    hungry.exit();
    expect_contents(test, *world, entry, 3);
    OBJR_EXPECT(!swap.release(entry));
}

OBJR_TEST(spec_U5_failing_writes) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("no failing allocations here");
    }
    TestWorld world(test);
    Process process(test, world);
    OBJR_ASSERT(process.alive() && process.map(0, 1));
    SwapSpace& swap = world->swap;
    HeldPage page(test, world, process, 0, 3);
    OBJR_ASSERT(page && swap.add_to_cache_locked(*page));
    page->set(PageFlag::dirty);
    objr_test_fail_nth_allocation(1);
    const s32 result = swap.write_locked(*page).as_int();
    objr_test_fail_nth_allocation(0);
    OBJR_EXPECT_EQ(result, -OBJR_ENOMEM);
    OBJR_EXPECT(page->has(PageFlag::dirty) && swap.must_write(*page));
    OBJR_EXPECT(swap.write_locked(*page));
    swap.remove_from_cache_locked(*page);
}

OBJR_TEST(swap_none) {
    const objr_params params = {.pool_mb = 1, .levels = 4, .scheme = "classic", .swap_mb = 0};
    Result<World*> world = World::create(params);
    OBJR_ASSERT(world);
    OBJR_EXPECT_EQ(world->swap.slots(), 0);
    OBJR_EXPECT_EQ(world->swap.usage().bytes, 0);
    (*world)->destroy();
    const objr_params too_much = {.pool_mb = 1, .levels = 4, .scheme = "classic", .swap_mb = (1u << 20) + 1};
    OBJR_EXPECT_EQ(World::create(too_much).as_int(), -OBJR_EINVAL);
}

OBJR_TEST(swap_entry_words) {
    for (u32 type = 0; type < Pte::kSwapTypes; type++) {
        for (u64 offset = 0; offset < Pte::kSwapOffsets; offset = offset * 5 + 1) {
            const SwapEntry entry{type, offset};
            OBJR_ASSERT(SwapEntry::from_word(entry.word()) == entry);
        }
    }
}
