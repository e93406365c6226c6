// SPDX-License-Identifier: GPL-2.0
// unmap.cpp: try_to_unmap and what it leaves behind: swap entries and the way back, locked memory, pins (spec C10, C11, M9, M10, U4,
// U5). What is different from scheme to scheme names its scheme; all else runs under each.
#include "unmap_fixture.h"

using namespace objr;
using namespace objr::test;

// ---- C11: what becomes of an entry

OBJR_TEST(spec_C11_anon_entry_becomes_a_swap_entry) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4));
    a.store(1, 42);
    const u32 used = world.used_pages();
    OBJR_ASSERT_EQ(unmap_at(world, a, 1).answer, Unmapped::success);
    OBJR_EXPECT(a.pte(1).is_swap());
    OBJR_EXPECT_EQ(world.used_pages(), used - 1); // the frame is free
    OBJR_EXPECT_EQ(world->swap.used(), 1);
    OBJR_EXPECT_EQ(world->swap.count(a.pte(1).swap_entry()), 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), 1);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(a.load(1), 42);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_ins), 1);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT(a.page(1)->has(PageFlag::anon_exclusive));
    a.store(1, 43);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), 0);
    OBJR_EXPECT_EQ(a.load(1), 43);
}

OBJR_TEST(spec_C11_dirty_moves_to_the_page) {
    TestWorld world(test);
    Object object(test, world, "dirty", 4);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive());
    OBJR_ASSERT(a.map(0, 4, kShared, object.get()) && b.map(8, 12, kShared, object.get()));
    a.load(2);
    b.load(10);
    Page* page = a.page(2);
    OBJR_ASSERT(page && page == b.page(10));
    page->clear(PageFlag::dirty);
    OBJR_ASSERT_EQ(unmap_at(world, a, 2).answer, Unmapped::success);
    OBJR_EXPECT(!page->has(PageFlag::dirty));
    a.load(2);
    b.store(10, 5);
    OBJR_EXPECT(!page->has(PageFlag::dirty)); // only its entry knows
    const UnmapResult result = unmap_at(world, a, 2);
    OBJR_ASSERT_EQ(result.answer, Unmapped::success);
    OBJR_EXPECT(page->has(PageFlag::dirty));
    OBJR_EXPECT(a.pte(2).is_none() && b.pte(10).is_none());
    OBJR_EXPECT(!page->has(PageFlag::free)); // it stays in the page cache
    OBJR_EXPECT_EQ(a.load(2), 5);
    OBJR_EXPECT(a.page(2) == page);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_outs), 0);
}

// More mappings than one batch of translations holds.
OBJR_TEST(spec_C10_all_of_many_mappings) {
    constexpr u64 kWindows = 50;
    TestWorld world(test);
    Object object(test, world, "many", 1);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.alive());
    for (u64 i = 0; i < kWindows; i++) {
        OBJR_ASSERT(a.map(2 * i, 2 * i + 1, kShared, object.get()));
        a.store(2 * i, i);
    }
    Page* page = a.page(0);
    OBJR_ASSERT_EQ(page->mappings(), kWindows);
    OBJR_EXPECT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_EXPECT(!page->mapped());
    for (u64 i = 0; i < kWindows; i++) {
        OBJR_EXPECT(a.pte(2 * i).is_none());
        OBJR_EXPECT_EQ(a.load(2 * i), kWindows - 1);
    }
}

// ---- C10: who refuses

OBJR_TEST(spec_C10_locked_regions_refuse) {
    TestWorld world(test);
    Object object(test, world, "locked", 2);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive() && a.map(0, 4) && a.map(8, 10, kShared, object.get()) &&
                b.map(8, 10, kShared, object.get()));
    a.store(1, 42);
    a.store(8, 8);
    b.load(8);
    OBJR_ASSERT(a.mm().advise(at(0), at(4), Advice::lock));
    OBJR_ASSERT(a.mm().advise(at(8), at(10), Advice::lock));
    for (u64 page : {1, 8}) {
        const UnmapResult result = unmap_at(world, a, page);
        OBJR_EXPECT_EQ(result.answer, Unmapped::fail);
        OBJR_EXPECT_EQ(result.why, Refusal::locked);
        OBJR_EXPECT_EQ(result.mm_id, a.mm().id());
        OBJR_EXPECT_EQ(result.address, at(page));
        OBJR_EXPECT(a.pte(page).is_present());
    }
    OBJR_EXPECT_EQ(world->swap.used(), 0); // no slot is kept for nothing
    OBJR_EXPECT(world.verify());
    OBJR_ASSERT(a.mm().advise(at(0), at(10), Advice::unlock).as_int() == -OBJR_ENOMEM); // a hole
    OBJR_ASSERT(a.mm().advise(at(0), at(4), Advice::unlock) && a.mm().advise(at(8), at(10), Advice::unlock));
    OBJR_EXPECT_EQ(unmap_at(world, a, 1).answer, Unmapped::success);
    OBJR_EXPECT_EQ(unmap_at(world, a, 8).answer, Unmapped::success);
    OBJR_EXPECT_EQ(a.load(1), 42);
    OBJR_EXPECT_EQ(b.load(8), 8);
}

// A refusal may come when others have lost the page already; they find it in the swap cache, and it is still one page.
OBJR_TEST(spec_C10_fail_may_leave_some_mappings_gone) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(c.alive() && a.map(0, 2));
    a.store(0, 7);
    OBJR_ASSERT(a.mm().protect(at(0), at(2), OBJR_VM_READ) && a.fork_to(b) && a.fork_to(c));
    OBJR_ASSERT_EQ(b.mm().advise(at(0), at(2), Advice::lock).as_int(), 0);
    OBJR_ASSERT(b.mm().protect(at(0), at(2), OBJR_VM_READ | OBJR_VM_WRITE));
    OBJR_ASSERT(c.mm().protect(at(0), at(2), OBJR_VM_READ | OBJR_VM_WRITE));
    Page* page = b.page(0);
    OBJR_ASSERT(page && page->mappings() == 3);
    const UnmapResult result = unmap_at(world, b, 0);
    OBJR_EXPECT_EQ(result.answer, Unmapped::fail);
    OBJR_EXPECT_EQ(result.why, Refusal::locked);
    OBJR_EXPECT_EQ(page->mappings(), 3 - (a.pte(0).is_swap() ? 1 : 0) - (c.pte(0).is_swap() ? 1 : 0));
    OBJR_EXPECT(b.pte(0).is_present());
    OBJR_EXPECT(world.verify());
    // Two readers and one writer: each has what is its own.
    c.store(0, 8);
    b.store(0, 9);
    OBJR_EXPECT_EQ(a.load(0), 7);
    OBJR_EXPECT_EQ(b.load(0), 9);
    OBJR_EXPECT_EQ(c.load(0), 8);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

// The two texts differ: 2.6.24 lets a page stay that was used, today's Linux asks that before.
OBJR_TEST(spec_C10_young_pages_refuse_to_be_unmapped) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4));
    a.store(1, 42);
    OBJR_ASSERT(a.pte(1).young());
    UnmapResult result = unmap_once(world, *a.page(1));
    OBJR_EXPECT_EQ(result.answer, Unmapped::fail);
    OBJR_EXPECT_EQ(result.why, Refusal::young);
    OBJR_EXPECT_EQ(result.taken, 0);
    OBJR_ASSERT(a.pte(1).is_present());
    OBJR_EXPECT(!a.pte(1).young()); // the bit is consumed
    OBJR_EXPECT_EQ(a.load(1), 42); // the translation was dropped: this use is seen
    OBJR_EXPECT_EQ(unmap_once(world, *a.page(1)).why, Refusal::young);
    OBJR_EXPECT_EQ(unmap_once(world, *a.page(1)).answer, Unmapped::success);
    OBJR_EXPECT_EQ(a.load(1), 42);
}

OBJR_TEST(spec_C10_young_of_several_mappers) {
    TestWorld world(test, 1, 4, "classic");
    Object object(test, world, "several", 1);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive() && a.map(0, 1, kShared, object.get()) && b.map(0, 1, kShared, object.get()));
    a.load(0);
    b.load(0);
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(unmap_once(world, page).why, Refusal::young);
    OBJR_EXPECT(a.pte(0).young() != b.pte(0).young()); // the walk ended there
    UnmapResult result = unmap_once(world, page);
    OBJR_EXPECT_EQ(result.why, Refusal::young);
    OBJR_EXPECT_EQ(page.mappings(), 2 - result.taken);
    while (page.mapped() && !objr_test_failed(test)) {
        result = unmap_once(world, page);
    }
    OBJR_EXPECT_EQ(result.answer, Unmapped::success);
}

namespace {

// An MMU that knows of one use, as a process's own tables do.
class TellingMmu final : public Mmu {
public:
    void zap(objr_region*, Vaddr, Vaddr, objr_held) override { zaps++; }
    Translation harvest(objr_region*, Vaddr address, Harvest mode) override {
        const Translation seen{true, used == address, false};
        if (mode == Harvest::take) {
            used = Vaddr();
        }
        return seen;
    }
    Status install(void*, Vaddr, Pfn, bool, bool) override { return {}; }

    Vaddr used;
    u32 zaps = 0;
};

Page* page_at(World& world, Mm& mm, Vaddr address) {
    SharedGuard guard(mm.lock());
    PageTable* table = mm.tables().leaf(address);
    const Pte pte = table ? table->get(address) : Pte();
    return pte.is_present() ? world.pool.page_of(pte.pfn()) : nullptr;
}

} // namespace

// Uses that only the process's own tables know of count as well.
OBJR_TEST(spec_C10_uses_are_harvested) {
    TestWorld world(test, 1, 4, "classic");
    TellingMmu mmu;
    Result<Mm*> made = Mm::create(*world, mmu);
    OBJR_ASSERT(made);
    Mm& mm = **made;
    OBJR_EXPECT(mm.map(at(0), at(2), 0, kReadWrite, nullptr, nullptr));
    OBJR_EXPECT(mm.populate(at(0), Access::write));
    Page* page = page_at(*world, mm, at(0));
    OBJR_EXPECT(page);
    OBJR_EXPECT_EQ(unmap_once(world, *page).why, Refusal::young); // by the module's own bit
    mmu.used = at(0);
    OBJR_EXPECT_EQ(unmap_once(world, *page).why, Refusal::young);
    OBJR_EXPECT_EQ(mmu.used, 0); // forgotten there too
    const u32 zaps = mmu.zaps;
    OBJR_EXPECT_EQ(unmap_once(world, *page).answer, Unmapped::success);
    OBJR_EXPECT(mmu.zaps > zaps);
    OBJR_EXPECT(mm.unmap(at(0), at(2), Translations::present));
    mm.put();
}

OBJR_TEST(spec_M9_young_pages_are_unmapped) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 4));
    a.store(1, 42);
    OBJR_ASSERT(a.fork_to(b));
    b.load(1);
    OBJR_ASSERT(a.pte(1).young() && b.pte(1).young());
    const UnmapResult result = unmap_once(world, *a.page(1));
    OBJR_EXPECT_EQ(result.answer, Unmapped::success);
    OBJR_EXPECT_EQ(result.taken, 2);
    OBJR_EXPECT(a.pte(1).is_swap() && b.pte(1).is_swap());
    OBJR_EXPECT_EQ(b.load(1), 42);
}

// ---- U5: there and back

OBJR_TEST(spec_U5_shared_by_fork) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(c.alive() && a.map(0, 2));
    a.store(0, 5);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_ASSERT(a.pte(0).is_swap() && b.pte(0) == a.pte(0));
    const SwapEntry entry = a.pte(0).swap_entry();
    OBJR_EXPECT_EQ(world->swap.count(entry), 2);
    OBJR_ASSERT(b.fork_to(c)); // what is swapped out is inherited
    OBJR_EXPECT_EQ(world->swap.count(entry), 3);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(b.load(0), 5);
    OBJR_EXPECT(!b.page(0)->has(PageFlag::anon_exclusive));
    OBJR_EXPECT_EQ(world->swap.count(entry), 2);
    c.store(0, 6); // a copy: a has the entry yet
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_ins), 1);
    OBJR_EXPECT(c.page(0) != b.page(0));
    b.store(0, 7); // maps it alone, but a needs it as it is
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), 2);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(a.load(0), 5);
    OBJR_EXPECT_EQ(b.load(0), 7);
    OBJR_EXPECT_EQ(c.load(0), 6);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    a.store(0, 8); // the last of the three
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), 2);
}

OBJR_TEST(spec_U5_last_owner_of_a_swap_entry) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 2));
    a.store(0, 5);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    a.exit();
    OBJR_EXPECT_EQ(world->swap.used(), 1);
    b.store(0, 6);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), 0);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT_EQ(b.load(0), 6);
}

// The last entry goes while the page is in the swap cache and mapped by nobody, or by others.
OBJR_TEST(spec_U5_entries_that_go_unread) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 200));
    for (u64 i = 0; i < 60; i++) {
        a.store(i, i);
    }
    OBJR_ASSERT(a.fork_to(b));
    for (u64 i = 0; i < 60; i++) {
        OBJR_ASSERT_EQ(unmap_at(world, a, i).answer, Unmapped::success);
    }
    OBJR_EXPECT_EQ(world->swap.used(), 60);
    for (u64 i = 0; i < 30; i++) {
        OBJR_EXPECT_EQ(b.load(i), i); // in the cache now, since a has the entries yet
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 30);
    OBJR_ASSERT(a.unmap(10, 50));
    OBJR_EXPECT_EQ(world->counters.sum(Count::swapcache_pages), 10);
    OBJR_EXPECT_EQ(world->swap.used(), 40);
    OBJR_EXPECT(world.verify());
    for (u64 i = 0; i < 60; i++) {
        OBJR_EXPECT_EQ(b.load(i), i);
    }
    OBJR_EXPECT_EQ(world->swap.used(), 20);
    b.exit(); // pages that are mapped by nobody: a's entries keep them
    OBJR_EXPECT_EQ(world.used_pages(), 20);
    a.exit();
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT_EQ(world.used_pages(), 0);
}

OBJR_TEST(spec_U5_moved_and_protected_while_out) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4));
    a.store(0, 10);
    a.store(3, 13);
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_ASSERT_EQ(unmap_at(world, a, 3).answer, Unmapped::success);
    OBJR_ASSERT(a.mm().move(at(0), at(1000), 4 * kPageSize, nullptr));
    OBJR_EXPECT(a.pte(1000).is_swap() && a.pte(1003).is_swap() && a.pte(0).is_none());
    OBJR_ASSERT(a.mm().protect(at(1000), at(1004), OBJR_VM_READ));
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(a.load(1000), 10);
    OBJR_EXPECT_EQ(a.try_store(1003, 1), -OBJR_EACCES);
    OBJR_EXPECT_EQ(a.load(1003), 13);
    OBJR_EXPECT(!a.pte(1003).writable());
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(1003)), 1);
    OBJR_ASSERT_EQ(unmap_at(world, a, 1003).answer, Unmapped::success); // once more, from the new place
    OBJR_EXPECT_EQ(a.load(1003), 13);
}

OBJR_TEST(spec_U6_truncation_takes_swapped_copies) {
    TestWorld world(test);
    Object object(test, world, "cut", 8);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive() && a.map(0, 8, kReadWrite, object.get()));
    for (u64 i = 0; i < 8; i++) {
        a.store(i, 100 + i);
    }
    OBJR_ASSERT(a.fork_to(b));
    for (u64 i = 0; i < 8; i++) {
        OBJR_ASSERT_EQ(unmap_at(world, a, i).answer, Unmapped::success);
    }
    OBJR_EXPECT_EQ(b.load(6), 106);
    OBJR_ASSERT(object->truncate(4 * kPageSize));
    OBJR_EXPECT_EQ(world->swap.used(), 4);
    OBJR_EXPECT_EQ(a.try_load(6), -OBJR_EIO);
    OBJR_EXPECT_EQ(b.try_load(6), -OBJR_EIO);
    OBJR_EXPECT_EQ(a.load(3), 103);
    OBJR_EXPECT_EQ(b.load(3), 103);
}

OBJR_TEST(spec_U5_many_rounds_with_forks) {
    constexpr u32 kRounds = __STDC_HOSTED__ ? 60 : 12;
    constexpr u64 kPages = 24;
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, kPages));
    u64 expected[kPages] = {};
    Random random(77);
    for (u32 round = 0; round < kRounds && !objr_test_failed(test); round++) {
        Process b(test, world);
        OBJR_ASSERT(b.alive());
        for (u32 i = 0; i < 8; i++) {
            const u64 page = random.below(kPages);
            a.store(page, expected[page] = random.next());
        }
        unmap_some(world, a, random, kPages);
        OBJR_ASSERT(a.fork_to(b));
        unmap_some(world, a, random, kPages);
        for (u64 page = 0; page < kPages; page++) {
            if (random.below(3) == 0) {
                b.store(page, ~page);
            }
        }
        unmap_some(world, b, random, kPages);
        for (u64 page = 0; page < kPages; page++) {
            OBJR_EXPECT_EQ(a.load(page), expected[page]);
            const u64 seen = b.load(page);
            OBJR_EXPECT(seen == expected[page] || seen == ~page);
        }
        OBJR_EXPECT(world.verify());
    }
}

// A swap-in that finds no page is told so, and nothing is lost.
OBJR_TEST(spec_U5_swap_in_without_memory) {
    TestWorld world(test);
    Process a(test, world);
    Process hungry(test, world);
    OBJR_ASSERT(hungry.alive() && a.map(0, 2));
    a.store(0, 5);
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_ASSERT(hungry.devour(0, 257));
    OBJR_EXPECT_EQ(a.try_load(0), -OBJR_ENOMEM);
    OBJR_EXPECT_EQ(a.try_store(0, 1), -OBJR_ENOMEM);
    OBJR_EXPECT(a.pte(0).is_swap());
    hungry.exit();
    OBJR_EXPECT_EQ(a.load(0), 5);
}

OBJR_TEST(spec_U5_no_slot_left) {
    TestWorld world(test, 2);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 300));
    const u64 slots = world->swap.slots();
    for (u64 i = 0; i <= slots; i++) {
        a.store(i, i);
    }
    for (u64 i = 0; i < slots; i++) {
        OBJR_ASSERT_EQ(unmap_at(world, a, i).answer, Unmapped::success);
    }
    const UnmapResult result = unmap_at(world, a, slots);
    OBJR_EXPECT_EQ(result.answer, Unmapped::fail);
    OBJR_EXPECT_EQ(result.why, Refusal::no_slot);
    OBJR_EXPECT_EQ(a.load(slots), slots);
    for (u64 i = 0; i <= slots; i++) {
        OBJR_EXPECT_EQ(a.load(i), i);
    }
}

// Out of the page tables, but the store takes nothing: the page waits in the swap cache for who wants it back.
OBJR_TEST(spec_U5_store_takes_nothing) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("no failing allocations here");
    }
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 2));
    a.store(0, 5);
    Page* page = a.page(0);
    UnmapResult result;
    for (u32 i = 0; i < 8 && page->mapped(); i++) {
        objr_test_fail_nth_allocation(1);
        result = unmap_once(world, *page);
        objr_test_fail_nth_allocation(0);
    }
    OBJR_ASSERT_EQ(result.answer, Unmapped::success);
    OBJR_EXPECT_EQ(result.why, Refusal::not_written);
    OBJR_EXPECT(SwapSpace::cached(*page) && !page->mapped() && a.pte(0).is_swap());
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(a.load(0), 5);
    OBJR_EXPECT(a.page(0) == page && !SwapSpace::cached(*page));
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_ins), 0);
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_EXPECT(page->has(PageFlag::free));
    OBJR_EXPECT_EQ(a.load(0), 5);
}

OBJR_TEST(spec_U5_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("no failing allocations here");
    }
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 2));
    a.store(0, 5);
    OBJR_ASSERT(a.fork_to(b));
    bool reached = true;
    for (u32 n = 1; reached && n < 100; n++) {
        objr_test_fail_nth_allocation(n);
        const UnmapResult result = unmap_at(world, b.page(0) ? b : a, 0);
        const s32 loaded = a.try_load(0);
        reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT(result.answer == Unmapped::success);
        OBJR_EXPECT(loaded == 0 || loaded == -OBJR_ENOMEM);
        OBJR_EXPECT(world.verify());
        OBJR_EXPECT_EQ(a.load(0), 5);
        OBJR_EXPECT_EQ(b.load(0), 5);
    }
}

// ---- C17, A4: a page of the swap cache and its object

// 'mapping == NULL means swap cache' (the blog) is not so: the entry is elsewhere, the object stays known.
OBJR_TEST(spec_C17_swap_cache_keeps_the_mapping) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 2));
    a.store(0, 5);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_EXPECT_EQ(b.load(0), 5);
    Page* page = b.page(0);
    OBJR_ASSERT(SwapSpace::cached(*page) && page->mapping().is_anon());
    OBJR_EXPECT(SwapSpace::entry_of(*page) == a.pte(0).swap_entry());
    const MappingWord mapping = page->mapping();
    OBJR_ASSERT(b.unmap(0, 2)); // a's entry keeps the page
    OBJR_EXPECT(!page->mapped() && SwapSpace::cached(*page));
    OBJR_EXPECT(page->mapping() == mapping);
    OBJR_EXPECT_EQ(a.load(0), 5);
    OBJR_EXPECT(a.page(0) == page); // read once
    OBJR_EXPECT_EQ(count_mappers(*world, *page), 1);
}

// Two have one swapped page, one of them moves, both take it in: one page where that can be found at two addresses, else two.
OBJR_TEST(spec_A4_swapped_and_moved) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(c.alive() && a.map(0, 2));
    a.store(0, 5);
    OBJR_ASSERT(a.fork_to(b) && a.fork_to(c));
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_ASSERT(b.mm().move(at(0), at(100), 2 * kPageSize, nullptr));
    OBJR_EXPECT_EQ(a.load(0), 5);
    OBJR_EXPECT_EQ(b.load(100), 5);
    OBJR_EXPECT_EQ(world->counters.sum(Count::swap_ins), 1);
    const bool copied = world->scheme().traits.copies_on_move;
    OBJR_EXPECT((a.page(0) != b.page(100)) == copied);
    OBJR_EXPECT_EQ(b.page(100)->has(PageFlag::anon_exclusive), copied);
    OBJR_EXPECT(world.verify());
    b.store(100, 6);
    OBJR_EXPECT_EQ(a.load(0), 5);
    OBJR_EXPECT_EQ(c.load(0), 5);
    OBJR_EXPECT_EQ(b.load(100), 6);
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

// ---- U4: locked memory

OBJR_TEST(spec_U4_locked_pages_are_counted) {
    TestWorld world(test);
    Object object(test, world, "both", 4);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive() && a.map(0, 8) && a.map(10, 14, kShared, object.get()) &&
                b.map(10, 14, kShared, object.get()));
    auto locked = [&] { return world->counters.sum(Count::locked_pages); };
    a.store(3, 3);
    OBJR_ASSERT(a.mm().advise(at(2), at(6), Advice::lock));
    OBJR_EXPECT_EQ(locked(), 4); // brought in, all of them
    OBJR_EXPECT(a.page(2) && a.page(5) && !a.page(1) && !a.page(6));
    OBJR_EXPECT(a.pte(4).writable()); // nobody waits for a copy later
    OBJR_EXPECT_EQ(a.load(3), 3);
    OBJR_EXPECT(a.page(3)->has(PageFlag::mlocked));
    OBJR_EXPECT(a.vma(2)->has(VmFlag::locked) && !a.vma(1)->has(VmFlag::locked) && !a.vma(6)->has(VmFlag::locked));
    OBJR_ASSERT(a.mm().advise(at(2), at(6), Advice::lock)); // does not count twice
    OBJR_EXPECT_EQ(locked(), 4);
    a.store(7, 7);
    OBJR_EXPECT_EQ(locked(), 4);
    OBJR_EXPECT(world.verify());

    OBJR_ASSERT(a.mm().advise(at(10), at(14), Advice::lock) && b.mm().advise(at(12), at(14), Advice::lock));
    OBJR_EXPECT_EQ(locked(), 8); // pages, not mappings
    OBJR_EXPECT_EQ(a.page(12)->locked_mappings(), 2);
    OBJR_ASSERT(a.mm().advise(at(10), at(14), Advice::unlock));
    OBJR_EXPECT_EQ(locked(), 6);
    OBJR_EXPECT(a.page(12)->has(PageFlag::mlocked) && !a.page(10)->has(PageFlag::mlocked));
    b.exit();
    OBJR_EXPECT_EQ(locked(), 4);
    OBJR_ASSERT(a.unmap(4, 5));
    OBJR_EXPECT_EQ(locked(), 3);
    OBJR_ASSERT(a.mm().advise(at(2), at(4), Advice::unlock));
    OBJR_EXPECT_EQ(locked(), 1);
    OBJR_EXPECT(world.verify());
    a.exit();
    OBJR_EXPECT_EQ(locked(), 0);
}

OBJR_TEST(spec_U4_lock_is_not_inherited) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 4));
    OBJR_ASSERT(a.mm().advise(at(0), at(4), Advice::lock));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT(!b.vma(0)->has(VmFlag::locked) && !b.pte(0).locked());
    OBJR_EXPECT_EQ(a.page(0)->locked_mappings(), 1);
    b.store(0, 2); // its copy is not locked
    OBJR_EXPECT(!b.page(0)->has(PageFlag::mlocked));
    a.store(1, 3); // this one is
    OBJR_EXPECT(a.page(1) != b.page(1) && a.page(1)->has(PageFlag::mlocked) && !b.page(1)->has(PageFlag::mlocked));
    OBJR_EXPECT_EQ(world->counters.sum(Count::locked_pages), 4);
    OBJR_EXPECT_EQ(unmap_at(world, b, 0).answer, Unmapped::success);
    OBJR_EXPECT_EQ(b.load(0), 2);
    OBJR_ASSERT(a.mm().move(at(0), at(100), 4 * kPageSize, nullptr)); // goes along
    OBJR_EXPECT(a.vma(100)->has(VmFlag::locked) && a.pte(101).locked());
    OBJR_EXPECT(world.verify());
}

OBJR_TEST(spec_U4_lock_brings_back_what_is_out) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4));
    a.store(2, 22);
    OBJR_ASSERT_EQ(unmap_at(world, a, 2).answer, Unmapped::success);
    OBJR_ASSERT(a.mm().advise(at(0), at(4), Advice::lock));
    OBJR_EXPECT(a.pte(2).is_present() && a.pte(2).locked());
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT_EQ(a.load(2), 22);
    OBJR_EXPECT_EQ(unmap_at(world, a, 2).why, Refusal::locked);
}

OBJR_TEST(spec_U4_lock_errors) {
    TestWorld world(test);
    Object object(test, world, "short", 2);
    Process a(test, world);
    Process hungry(test, world);
    OBJR_ASSERT(object.get() && hungry.alive() && a.map(0, 4) && a.map(6, 8, OBJR_VM_MAYWRITE) &&
                a.map(10, 14, kShared, object.get()));
    auto lock = [&](u64 first, u64 last) { return a.mm().advise(at(first), at(last), Advice::lock).as_int(); };
    OBJR_EXPECT_EQ(lock(0, 5), -OBJR_ENOMEM); // a hole: nothing has changed
    OBJR_EXPECT(!a.vma(0)->has(VmFlag::locked) && !a.page(0));
    OBJR_EXPECT_EQ(a.mm().advise(at(4), at(4), Advice::lock).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(lock(6, 8), -OBJR_EACCES);
    OBJR_EXPECT_EQ(lock(10, 14), -OBJR_EIO); // what there is has come in
    OBJR_EXPECT(a.vma(10)->has(VmFlag::locked) && a.page(11) && !a.page(12));
    OBJR_ASSERT(hungry.devour(0, 257));
    OBJR_EXPECT_EQ(lock(0, 4), -OBJR_ENOMEM);
    OBJR_EXPECT(a.vma(0)->has(VmFlag::locked));
    hungry.exit();
    OBJR_EXPECT_EQ(lock(0, 4), 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::locked_pages), 6);
}

OBJR_TEST(spec_M7_advice_of_use) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 9));
    OBJR_ASSERT(a.mm().advise(at(3), at(6), Advice::random));
    OBJR_EXPECT(a.vma(4)->has(VmFlag::random) && !a.vma(2)->has(VmFlag::random) && !a.vma(6)->has(VmFlag::random));
    OBJR_EXPECT_EQ(a.mm().vma_count(), 3);
    OBJR_ASSERT(a.mm().advise(at(3), at(6), Advice::sequential)); // one or the other
    OBJR_EXPECT(a.vma(4)->has(VmFlag::sequential) && !a.vma(4)->has(VmFlag::random));
    OBJR_ASSERT(a.mm().advise(at(0), at(9), Advice::normal));
    OBJR_EXPECT(!a.vma(4)->has(VmFlag::sequential));
    OBJR_EXPECT_EQ(a.mm().vma_count(), 1); // they are one again
}

// ---- M10: exclusive pages, pins

OBJR_TEST(spec_M10_exclusive) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 2));
    auto exclusive = [&](Process& process) { return process.page(0)->has(PageFlag::anon_exclusive); };
    a.store(0, 1);
    OBJR_EXPECT(exclusive(a));
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT(!exclusive(a));
    b.store(0, 2);
    OBJR_EXPECT(exclusive(b) && !exclusive(a)); // a does not know yet that it is alone
    a.store(0, 3);
    OBJR_EXPECT(exclusive(a));
    OBJR_ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    OBJR_EXPECT_EQ(a.load(0), 3);
    OBJR_EXPECT(exclusive(a));
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), 1);
}

OBJR_TEST(spec_M10_pinned_page_stays) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 4));
    a.store(1, 1);
    Result<Page*> pinned = pin_page(a.mm(), at(1));
    OBJR_ASSERT(pinned && *pinned == a.page(1) && pinned->pinned());
    const UnmapResult result = unmap_at(world, a, 1);
    OBJR_EXPECT_EQ(result.answer, Unmapped::fail);
    OBJR_EXPECT_EQ(result.why, Refusal::pinned);
    OBJR_EXPECT(a.page(1) == *pinned && a.page(1)->has(PageFlag::anon_exclusive));
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    // Fork copies it at once: who writes to the frame writes to the parent's memory.
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT(b.page(1) && b.page(1) != *pinned);
    OBJR_EXPECT(a.page(1) == *pinned && a.pte(1).writable());
    *static_cast<u64*>(world->pool.address(**pinned)) = 77;
    OBJR_EXPECT_EQ(a.load(1), 77);
    OBJR_EXPECT_EQ(b.load(1), 1);
    b.store(1, 2);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), 0); // the copy was b's own
    OBJR_EXPECT(world.verify());
    unpin_page(*world, **pinned);
    OBJR_EXPECT_EQ(unmap_at(world, a, 1).answer, Unmapped::success);
    OBJR_EXPECT_EQ(a.load(1), 77);
}

OBJR_TEST(spec_M10_pin_makes_the_page_ones_own) {
    TestWorld world(test);
    Object object(test, world, "pin", 2);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive() && a.map(0, 1) && a.map(4, 6, kReadOnly) &&
                a.map(8, 10, kShared, object.get()));
    a.store(0, 5);
    OBJR_ASSERT(a.fork_to(b));
    Result<Page*> pinned = pin_page(b.mm(), at(0));
    OBJR_ASSERT(pinned);
    OBJR_EXPECT(*pinned == b.page(0) && *pinned != a.page(0));
    OBJR_EXPECT_EQ(b.load(0), 5);
    OBJR_EXPECT_EQ(pin_page(a.mm(), at(8)).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(pin_page(a.mm(), at(4)).as_int(), -OBJR_EACCES);
    OBJR_EXPECT_EQ(pin_page(a.mm(), at(20)).as_int(), -OBJR_EFAULT);
    b.exit(); // the frame stays as long as the pin
    OBJR_EXPECT(!pinned->has(PageFlag::free));
    unpin_page(*world, **pinned);
    OBJR_EXPECT(pinned->has(PageFlag::free));
}
