// SPDX-License-Identifier: GPL-2.0
// swap_kept.cpp: slots of pages that are read back and not written to (swap.h): they need not be written again, and are nobody's in
// the way.
#include "page_kinds.h"
#include "swap_file.h"
#include "text_fixture.h"
#include "unmap_fixture.h"

#include "objrmap/migrate.h"
#include "objrmap/poison.h"
#include "objrmap/vmscan.h"

using namespace objr;
using namespace objr::test;

namespace {

// Pages [first, last) with the value of their number, out and read back: their slots are kept.
void keep(objr_test* test, TestWorld& world, Process& process, u64 first, u64 last) {
    const u64 before = world->swap.kept();
    for (u64 n = first; n < last; n++) {
        process.store(n, n + 100);
        OBJR_ASSERT_EQ(unmap_at(world, process, n).answer, Unmapped::success);
    }
    for (u64 n = first; n < last; n++) {
        OBJR_EXPECT_EQ(process.load(n), n + 100);
    }
    OBJR_EXPECT_EQ(world->swap.kept(), before + last - first);
    OBJR_EXPECT(world.verify());
}

} // namespace

OBJR_TEST(kept_needs_no_second_write) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    keep(test, world, a, 0, 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), 1);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapped_pages), 0);
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).why, Refusal::none);
    OBJR_EXPECT(a.pte(0).is_swap());
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), 1);
    OBJR_EXPECT(world->swap.used() == 1 && world->swap.kept() == 0);
    OBJR_EXPECT_EQ(a.load(0), 100);
    OBJR_EXPECT_EQ(world->swap.kept(), 1);
    // What is written to is not what is stored.
    const s64 copies = world->counters.sum(Count::cow_faults);
    a.store(0, 7);
    OBJR_EXPECT_EQ(world->swap.kept(), 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), copies);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 0);
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), 2);
    OBJR_EXPECT_EQ(a.load(0), 7);
}

OBJR_TEST(kept_not_when_written_or_locked) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 2));
    a.store(0, 5);
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    a.store(0, 6); // it comes back to be written to
    OBJR_EXPECT(world->swap.kept() == 0 && world->swap.used() == 0);
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_ASSERT(a.mm().advise(at(0), at(1), Advice::lock)); // it will not leave again
    OBJR_EXPECT(world->swap.kept() == 0 && world->swap.used() == 0);
    OBJR_EXPECT_EQ(a.load(0), 6);
}

OBJR_TEST(kept_by_several) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 3));
    keep(test, world, a, 0, 3);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(world->swap.kept(), 3);
    b.store(0, 1); // copies; the other has the slot
    OBJR_EXPECT_EQ(world->swap.kept(), 3);
    OBJR_EXPECT(world.verify());
    a.store(0, 2); // its only user by now
    OBJR_EXPECT_EQ(world->swap.kept(), 2);
    OBJR_EXPECT(a.load(0) == 2 && b.load(0) == 1);
    // Out for both, back for one after the other.
    OBJR_ASSERT_EQ(unmap_at(world, a, 1).answer, Unmapped::success);
    OBJR_EXPECT(a.pte(1).is_swap() && b.pte(1).is_swap());
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), 3);
    OBJR_EXPECT_EQ(a.load(1), 101);
    OBJR_EXPECT(world->swap.used() == 1 && world->swap.kept() == 1);
    OBJR_EXPECT_EQ(b.load(1), 101);
    OBJR_EXPECT(world->swap.used() == 0 && world->swap.kept() == 2 && a.page(1) == b.page(1));
    // The last mapping takes it along, whosever it is.
    OBJR_ASSERT(a.unmap(1, 3));
    OBJR_EXPECT_EQ(world->swap.kept(), 2);
    OBJR_ASSERT(b.unmap(1, 2));
    OBJR_EXPECT_EQ(world->swap.kept(), 1);
    b.exit();
    OBJR_EXPECT_EQ(world->swap.kept(), 0);
}

// Two that share copy at once: what they have left is nobody's.
OBJR_TEST(kept_copied_by_all) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(b.alive() && c.alive() && a.map(0, 1));
    keep(test, world, a, 0, 1);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT(a.fork_to(c));
    const Page* page = a.page(0);
    b.store(0, 1);
    OBJR_ASSERT(a.unmap(0, 1));
    OBJR_EXPECT(c.page(0) == page && world->swap.kept() == 1);
    c.store(0, 2);
    OBJR_EXPECT(c.page(0) == page && world->swap.kept() == 0);
    OBJR_EXPECT(b.load(0) == 1 && c.load(0) == 2);
}

OBJR_TEST(kept_gives_way_to_others) {
    TestWorld world(test, 2);
    Process a(test, world);
    const u64 slots = world->swap.slots();
    OBJR_ASSERT(a.alive() && slots == 256 && a.map(0, 400));
    keep(test, world, a, 0, slots / 2);
    for (u64 n = 200; n < 300; n++) { // more than half of them are taken: none is kept any more
        a.store(n, n);
        OBJR_ASSERT_EQ(unmap_at(world, a, n).answer, Unmapped::success);
    }
    OBJR_EXPECT_EQ(a.load(200), 200);
    OBJR_EXPECT_EQ(world->swap.kept(), slots / 2);
    a.store(200, 200);
    for (u64 n = 300; n < 400; n++) { // and these need some that are kept
        a.store(n, n);
        OBJR_ASSERT_EQ(unmap_at(world, a, n).answer, Unmapped::success);
    }
    OBJR_EXPECT_EQ(world->swap.used() + world->swap.kept(), slots);
    OBJR_EXPECT(world->swap.has_room());
    OBJR_EXPECT(world.verify());
    for (u64 n = 0; n < slots / 2; n++) {
        OBJR_EXPECT(a.pte(n).is_present());
        OBJR_EXPECT_EQ(a.load(n), n + 100);
    }
    for (u64 n = 200; n < 400; n++) {
        OBJR_EXPECT_EQ(a.load(n), n);
    }
}

// The store of memory is full of what is kept: it takes something else in its place.
OBJR_TEST(kept_gives_its_memory_back) {
    TestWorld world(test, {.pool_mb = 2, .levels = 4, .swap_mb = 1, .swap_kind = OBJR_SWAP_LZ4});
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 500));
    const auto put_out = [&](u64 n) {
        a.store(n, n);
        fill_page(world->pool.address(*a.page(n)), PageKind::noise, n);
        return unmap_at(world, a, n).why;
    };
    for (u64 n = 0; n < 200; n++) {
        OBJR_EXPECT_EQ(put_out(n), Refusal::none);
    }
    for (u64 n = 0; n < 200; n++) {
        a.load(n);
    }
    const u64 kept = world->swap.kept(); // while it was full by half nothing was
    OBJR_EXPECT(kept > 100 && kept <= 128);
    for (u64 n = 200; n < 440; n++) {
        OBJR_EXPECT_EQ(put_out(n), Refusal::none);
    }
    OBJR_EXPECT(world->swap.used() == 240 && world->swap.kept() < 20);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_write_errors), 0);
    OBJR_EXPECT(world.verify());
    for (u64 n = 0; n < 440; n++) {
        a.load(n);
        OBJR_EXPECT(page_holds(world->pool.address(*a.page(n)), PageKind::noise, n));
    }
}

// Who faults may not write to a swap file, but need not either.
OBJR_TEST(kept_in_a_file_is_for_who_faults) {
    SwapFile file(test);
    TestWorld world(test, file.params());
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 40));
    keep(test, world, a, 0, 20);
    for (u64 n = 20; n < 40; n++) {
        a.store(n, n);
    }
    const s64 written = world->counters.sum(Count::swap_outs);
    u32 freed = 0;
    for (u32 round = 0; round < 8 && freed < 20; round++) {
        ScanLedger ledger;
        freed += reclaim_pages(*world, 20 - freed, Scanner::faulter, ledger);
    }
    OBJR_EXPECT_EQ(freed, 20);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), written);
    for (u64 n = 0; n < 40; n++) {
        OBJR_EXPECT(n < 20 ? a.pte(n).is_swap() : a.pte(n).is_present());
    }
    OBJR_EXPECT(world.verify());
    for (u64 n = 0; n < 40; n++) {
        OBJR_EXPECT_EQ(a.load(n), n < 20 ? n + 100 : n);
    }
}

OBJR_TEST(kept_until_swap_off) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 8));
    keep(test, world, a, 0, 8);
    SwapoffResult result;
    OBJR_ASSERT(swapoff(*world, result));
    OBJR_EXPECT(result.pages == 0 && world->swap.kept() == 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 0);
    for (u64 n = 0; n < 8; n++) {
        OBJR_EXPECT_EQ(a.load(n), n + 100);
    }
    world->swap.set_enabled(true);
}

OBJR_TEST(kept_and_migrated) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    keep(test, world, a, 0, 1);
    Page* old = a.page(0);
    {
        SharedGuard quiesce(world->quiesce);
        PageLock lock(*old);
        world->pool.get(*old);
        Result<Page*> fresh = migrate_page(*world, *old);
        OBJR_ASSERT(fresh);
        (*fresh)->unlock();
        world->pool.put(**fresh);
    }
    world->pool.put(*old);
    OBJR_EXPECT(a.page(0) != old && world->swap.kept() == 1);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(a.load(0), 100);
}

// Memory fails, and the store still has what it held.
OBJR_TEST(kept_outlives_its_page) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    keep(test, world, a, 0, 1);
    Page* page = a.page(0);
    PoisonResult result;
    {
        SharedGuard quiesce(world->quiesce);
        world->pool.get(*page);
        {
            PageLock lock(*page);
            OBJR_EXPECT(poison_page(*world, *page, result));
        }
        world->pool.put(*page);
    }
    OBJR_EXPECT(result.recovered && result.taken == 1);
    OBJR_EXPECT_EQ(a.load(0), 100);
    OBJR_EXPECT(a.page(0) != page);
}
