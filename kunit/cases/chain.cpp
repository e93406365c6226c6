// SPDX-License-Identifier: GPL-2.0
// chain.cpp: spec M: the reverse map of today's Linux: anon_vma_chain.
#include "fixture.h"

#include "objrmap/anon_vma.h"

using namespace objr;
using namespace objr::test;

namespace {

u32 chain_length(const Vma& vma) {
    u32 length = 0;
    for (const AnonVmaChain& avc : vma.chain) {
        static_cast<void>(avc);
        length++;
    }
    return length;
}

u64 candidates_of(World& world, Page& page) {
    WalkCost cost;
    count_mappers(world, page, &cost);
    return cost.candidates;
}

} // namespace

// ---- M1: what links a Vma to anon_vmas

OBJR_TEST(spec_M1_links_of_generations) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.map(0, 4));
    OBJR_EXPECT_EQ(chain_length(*a.vma(0)), 0); // none before the first fault
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
    AnonVma* root = a.vma(0)->anon_vma;
    const Vma& grandchild = *c.vma(0);
    OBJR_EXPECT_EQ(chain_length(*a.vma(0)), 1);
    OBJR_EXPECT_EQ(chain_length(*b.vma(0)), 2);
    OBJR_ASSERT_EQ(chain_length(grandchild), 3);
    OBJR_EXPECT(grandchild.chain.front()->anon_vma == grandchild.anon_vma); // newest first
    OBJR_EXPECT(grandchild.chain.back()->anon_vma == root);
    OBJR_EXPECT_EQ(root->tree.size(), 3);
    OBJR_EXPECT_EQ(b.vma(0)->anon_vma->tree.size(), 2);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vma_chains), 6);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 3);
}

OBJR_TEST(spec_M1_keyed_by_pgoff) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 64));
    for (u64 page = 0; page < 64; page++) {
        a.store(page, page);
    }
    for (u64 page = 1; page < 64; page++) { // one Vma for each page, all with one anon_vma
        OBJR_ASSERT(a.mm().split(at(page)));
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vma_chains), 64);
    for (u64 page = 0; page < 64; page += 7) {
        OBJR_EXPECT_EQ(candidates_of(*world, *a.page(page)), 1);
    }
}

// ---- M2: a child's own pages

OBJR_TEST(spec_M2_a_copied_page_has_one_candidate) {
    TestWorld world(test, 1, 4, "chain");
    Process parent(test, world);
    Processes children(test, world, 10);
    OBJR_PROPAGATE();
    OBJR_ASSERT(parent.map(0, 4));
    parent.store(0, 1);
    for (u32 n = 0; n < 10; n++) {
        OBJR_ASSERT(parent.fork_to(children[n]));
        children[n].store(0, n);
    }
    OBJR_EXPECT_EQ(candidates_of(*world, *children[5].page(0)), 1);
    OBJR_EXPECT_EQ(candidates_of(*world, *parent.page(0)), 11); // where everybody may be
    children[3].store(2, 3); // new in the child
    OBJR_EXPECT_EQ(candidates_of(*world, *children[3].page(2)), 1);
}

// ---- M3: reuse

OBJR_TEST(spec_M3_reuse_on_fork) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    Process d(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    AnonVma* of_b = b.vma(0)->anon_vma;
    OBJR_ASSERT(b.fork_to(c)); // b lives: its own is not for c
    OBJR_EXPECT(c.vma(0)->anon_vma != of_b && c.vma(0)->anon_vma != a.vma(0)->anon_vma);
    b.exit(); // nobody's own any more, one child
    OBJR_EXPECT_EQ(of_b->active, 0);
    OBJR_EXPECT_EQ(of_b->children, 1);
    OBJR_ASSERT(c.fork_to(d));
    OBJR_EXPECT(d.vma(0)->anon_vma == of_b);
    OBJR_EXPECT_EQ(of_b->active, 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 3);
    d.store(0, 4);
    c.store(0, 3);
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, *d.page(0)), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(0)), 1);
}

OBJR_TEST(spec_M3_no_reuse_with_two_children) {
    TestWorld world(test, 1, 4, "chain");
    Processes all(test, world, 5);
    OBJR_PROPAGATE();
    Process &a = all[0], &b = all[1], &c = all[2], &d = all[3], &e = all[4];
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c) && b.fork_to(d));
    AnonVma* of_b = b.vma(0)->anon_vma;
    b.exit();
    OBJR_EXPECT_EQ(of_b->children, 2);
    OBJR_ASSERT(c.fork_to(e));
    OBJR_EXPECT(e.vma(0)->anon_vma != of_b);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_vmas), 5);
}

// CVE-2022-42703: splits and merges must leave the count of users of an anon_vma right, or it is given to somebody else while it is
// in use, or freed under a page.
OBJR_TEST(spec_M3_split_and_merge_keep_the_count) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.map(0, 8));
    for (u64 page = 0; page < 8; page++) {
        a.store(page, page);
    }
    AnonVma* own = a.vma(0)->anon_vma;
    OBJR_EXPECT_EQ(own->active, 1);
    OBJR_ASSERT(a.mm().protect(at(2), at(4), OBJR_VM_READ));
    OBJR_EXPECT_EQ(own->active, 3);
    OBJR_ASSERT(a.mm().protect(at(2), at(4), OBJR_VM_READ | OBJR_VM_WRITE)); // one again
    OBJR_EXPECT_EQ(a.mm().vma_count(), 1);
    OBJR_EXPECT_EQ(own->active, 1);
    OBJR_ASSERT(a.unmap(3, 5));
    OBJR_EXPECT_EQ(own->active, 2);
    OBJR_ASSERT(a.unmap(0, 3));
    OBJR_EXPECT_EQ(own->active, 1);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(own->children, 2);
    a.exit();
    OBJR_EXPECT_EQ(own->active, 0);
    OBJR_ASSERT(b.fork_to(c)); // the root has a child beside itself
    OBJR_EXPECT(c.vma(6)->anon_vma != own);
    b.store(6, 100);
    OBJR_EXPECT_EQ(c.load(6), 6);
    OBJR_EXPECT_EQ(c.load(7), 7);
    OBJR_EXPECT_EQ(count_mappers(*world, *c.page(7)), 2);
}

// ---- M4: one lock for a family

OBJR_TEST(spec_M4_children_pin_the_root) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    AnonVma* root = a.vma(0)->anon_vma;
    OBJR_EXPECT(b.vma(0)->anon_vma->root == root);
    const u32 id = root->id.load();
    b.store(0, 2);
    a.exit();
    OBJR_EXPECT(world->anon_vmas.find(id) == root);
    OBJR_EXPECT_EQ(count_mappers(*world, *b.page(0)), 1); // under the root's lock
    b.exit();
    OBJR_EXPECT(world->anon_vmas.find(id) == nullptr);
}

// ---- M5: where a page belongs

OBJR_TEST(spec_M5_sole_owner_takes_the_page) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    Page* page = b.page(0);
    OBJR_EXPECT(page->mapping().anon_vma() == a.vma(0)->anon_vma);
    a.store(0, 2); // has copied: b is the only owner, and does not know yet
    OBJR_EXPECT_EQ(candidates_of(*world, *page), 2);
    b.store(0, 3);
    OBJR_EXPECT(b.page(0) == page);
    OBJR_EXPECT(page->mapping().anon_vma() == b.vma(0)->anon_vma);
    OBJR_EXPECT(page->has(PageFlag::anon_exclusive));
    OBJR_EXPECT_EQ(candidates_of(*world, *page), 1);
}

// ---- M6: a lock that is not free

OBJR_TEST(spec_M6_contended) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    PageLock lock(page);
    WalkCost cost;
    {
        RangeChange change(*a.vma(0));
        rmap_walk(*world, page, {EarlyStop::yes, Locking::try_only}, cost, [](const Mapping&) { return Visit::go_on; });
    }
    OBJR_EXPECT(cost.stop == StopReason::contended);
    OBJR_EXPECT_EQ(cost.hits, 0);
    rmap_walk(*world, page, {EarlyStop::yes, Locking::try_only}, cost, [](const Mapping&) { return Visit::go_on; });
    OBJR_EXPECT(cost.stop == StopReason::mapcount);
    OBJR_EXPECT_EQ(cost.hits, 1);
}

// A stale pointer leads to nothing, or to an anon_vma of others, whose Vmas do not map the page.
OBJR_TEST(spec_M6_recycled_anon_vma) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    Page* page = a.page(0);
    OBJR_ASSERT(world->pool.try_get(*page));
    a.exit();
    Process b(test, world);
    OBJR_ASSERT(b.map(0, 4));
    b.store(0, 2);
    OBJR_EXPECT(page->mapping().is_anon());
    OBJR_EXPECT_EQ(count_mappers(*world, *page), 0);
    world->pool.put(*page);
}

// ---- neighbours

OBJR_TEST(spec_M1_neighbours_lend_only_their_own) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    OBJR_ASSERT(a.map(4, 8, kReadOnly)); // could be one with the first but for its rights
    OBJR_EXPECT_EQ(a.load(4), 0);
    OBJR_EXPECT(a.vma(0)->anon_vma == a.vma(4)->anon_vma);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT(b.map(8, 12)); // its neighbour has inherited: not to be shared
    b.store(8, 8);
    OBJR_EXPECT(b.vma(8)->anon_vma != b.vma(4)->anon_vma);
    OBJR_EXPECT(b.vma(8)->anon_vma->root == b.vma(8)->anon_vma);
}

OBJR_TEST(spec_M3_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 8));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    for (unsigned n = 1;; n++) {
        Process c(test, world);
        objr_test_fail_nth_allocation(n);
        const Status status = b.fork_to(c);
        const bool reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT(!reached || (status.as_int() == -OBJR_ENOMEM && c.mm().vma_count() == 0));
        OBJR_ASSERT(world.verify());
        if (!reached) {
            OBJR_EXPECT(status);
            break;
        }
    }
    for (unsigned n = 1;; n++) {
        objr_test_fail_nth_allocation(n);
        const Status status = b.mm().split(at(4));
        const bool reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT(!reached || (status.as_int() == -OBJR_ENOMEM && b.mm().vma_count() == 1));
        if (!reached) {
            OBJR_EXPECT(status);
            break;
        }
    }
}
