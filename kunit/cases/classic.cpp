// SPDX-License-Identifier: GPL-2.0
// classic.cpp: spec C: the reverse map of Linux 2.6.24.
#include "fixture.h"

using namespace objr;
using namespace objr::test;

// ---- C1: the anon_vma of a Vma

OBJR_TEST(spec_C1_prepared_by_the_first_fault) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 8));
    OBJR_EXPECT(a.vma(0)->anon_vma == nullptr);
    a.store(0, 1);
    AnonVma* anon_vma = a.vma(0)->anon_vma;
    OBJR_ASSERT(anon_vma != nullptr);
    a.store(5, 1);
    OBJR_EXPECT(a.vma(0)->anon_vma == anon_vma);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 1);
    // One for all pages of the Vma (spec U9, true in classic).
    OBJR_EXPECT(a.page(0)->mapping() == a.page(5)->mapping());
}

OBJR_TEST(spec_C1_reuses_the_neighbours) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.map(4, 8, kReadOnly)); // other rights: does not merge, but could be one
    OBJR_EXPECT_EQ(a.load(5), 0);
    OBJR_EXPECT_EQ(a.mm().vma_count(), 2);
    OBJR_EXPECT(a.vma(0)->anon_vma == a.vma(4)->anon_vma);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 1);
    OBJR_ASSERT(a.map(100, 104)); // far away
    a.store(100, 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 2);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(5)), 1);
}

OBJR_TEST(spec_C1_fork_joins_at_the_tail) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT(b.fork_to(c));
    AnonVma* family = a.vma(0)->anon_vma;
    OBJR_EXPECT(b.vma(0)->anon_vma == family && c.vma(0)->anon_vma == family);
    Vma* first = family->vmas.front();
    OBJR_EXPECT(first == a.vma(0));
    OBJR_EXPECT(family->vmas.next(*first) == b.vma(0));
    OBJR_EXPECT(family->vmas.back() == c.vma(0));
    OBJR_EXPECT_EQ(c.vma(0)->parent_id, b.vma(0)->id);
    OBJR_EXPECT_EQ(c.mm().parent_id(), b.mm().id());
}

OBJR_TEST(spec_C1_last_unlink_frees) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    a.exit();
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 1);
    OBJR_EXPECT_EQ(b.load(0), 1);
    b.exit();
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 0);
}

// ---- C2: who is in which index

OBJR_TEST(spec_C2_file_vmas) {
    TestWorld world(test, 1, 4, "classic");
    Object object(test, world, "both", 8);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 8, kShared, object.get(), 0));
    OBJR_ASSERT(a.map(100, 108, kReadWrite, object.get(), 0));
    OBJR_ASSERT(a.map(200, 208));
    a.store(0, 1);
    a.store(200, 1);
    OBJR_EXPECT_EQ(a.load(100), 1);
    OBJR_EXPECT(a.vma(0)->i_mmap_node.linked() && a.vma(0)->anon_vma == nullptr);
    OBJR_EXPECT(a.vma(100)->i_mmap_node.linked() && a.vma(100)->anon_vma == nullptr); // before its first copy
    a.store(100, 2);
    OBJR_EXPECT(a.vma(100)->i_mmap_node.linked() && a.vma(100)->anon_vma != nullptr); // in both
    OBJR_EXPECT(!a.vma(200)->i_mmap_node.linked() && a.vma(200)->anon_vma != nullptr);
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(100)), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(0)), 1);
}

// ---- C3, C4: what a fault and a fork cost

OBJR_TEST(spec_C3_fault_allocates_nothing) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations are not counted here");
    }
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 256));
    a.store(0, 1); // the first anon_vma, the tables
    objr_test_fail_nth_allocation(0);
    for (u64 page = 1; page < 200; page++) {
        a.store(page, page);
    }
    OBJR_EXPECT_EQ(objr_test_allocations(), 0);
}

OBJR_TEST(spec_C4_fork_costs_by_vma) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations are not counted here");
    }
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    Process few(test, world);
    Process many(test, world);
    OBJR_ASSERT(a.map(0, 256));
    a.store(0, 1);
    objr_test_fail_nth_allocation(0);
    OBJR_ASSERT(a.fork_to(few));
    const unsigned with_one_page = objr_test_allocations();
    for (u64 page = 0; page < 150; page++) {
        a.store(page, page);
    }
    objr_test_fail_nth_allocation(0);
    OBJR_ASSERT(a.fork_to(many));
    OBJR_EXPECT_EQ(objr_test_allocations(), with_one_page);
    OBJR_EXPECT_EQ(a.page(3)->mapcount.load(), 1);
}

OBJR_TEST(spec_C4_forked_file_vma_joins_the_set) {
    TestWorld world(test, 1, 4, "classic");
    Object object(test, world, "set", 8);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.map(0, 8, kShared, object.get(), 0));
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT(b.fork_to(c));
    OBJR_EXPECT_EQ(object->i_mmap.size(), 3);
    OBJR_EXPECT_EQ(object->i_mmap.nodes(), 1);
    a.store(4, 4);
    OBJR_EXPECT_EQ(c.load(4), 4);
    a.exit(); // the head of the set goes, a member takes its place
    OBJR_EXPECT_EQ(object->i_mmap.size(), 2);
    OBJR_EXPECT_EQ(count_mappers(*world, *c.page(4)), 1);
}

// ---- C5: from a page to its family

OBJR_TEST(spec_C5_stale_mapping_is_not_believed) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    Page* page = a.page(0);
    OBJR_ASSERT(world->pool.try_get(*page));
    a.exit(); // the anon_vma is gone; the page is held, its word still points there
    OBJR_EXPECT(page->mapping().is_anon());
    WalkCost cost;
    OBJR_EXPECT_EQ(count_mappers(*world, *page, &cost), 0);
    OBJR_EXPECT(cost.stop == StopReason::unmapped);
    // Another family takes the same memory: its members are candidates at most.
    Process b(test, world);
    OBJR_ASSERT(b.map(0, 4));
    b.store(0, 2);
    OBJR_EXPECT_EQ(count_mappers(*world, *page), 0);
    OBJR_EXPECT_EQ(world->scheme().object_of(*b.page(0)).id, b.vma(0)->anon_vma->id.load());
    world->pool.put(*page);
}

// ---- C8: the early stop counts mappings found

OBJR_TEST(spec_C8_early_stop) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
    b.store(0, 2);
    c.store(0, 3); // the page of a has one mapper, the first of three in the list
    WalkCost cost;
    {
        Page& page = *a.page(0);
        PageLock lock(page);
        rmap_walk(*world, page, EarlyStop::yes, cost, [](const Mapping&) { return Visit::go_on; });
    }
    OBJR_EXPECT_EQ(cost.candidates, 1);
    OBJR_EXPECT_EQ(cost.hits, 1);
    OBJR_EXPECT(cost.stop == StopReason::mapcount);
}

// ---- C17: a page without mappers keeps its anon mapping; NULL does not mean 'in the swap cache'

OBJR_TEST(spec_C17_mapping_is_kept_when_unmapped) {
    TestWorld world(test, 1, 4, "classic");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    Page* page = a.page(0);
    OBJR_ASSERT(world->pool.try_get(*page));
    const u64 index = page->index;
    OBJR_ASSERT(a.unmap(0, 1));
    OBJR_EXPECT(page->mapping().is_anon());
    OBJR_EXPECT_EQ(page->index, index);
    world->pool.put(*page);
    OBJR_EXPECT(page->mapping().is_none());
}
