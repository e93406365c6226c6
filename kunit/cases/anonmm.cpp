// SPDX-License-Identifier: GPL-2.0
// anonmm.cpp: spec A: a page knows an address space and its address there (Dickins 2004).
#include "text_fixture.h"
#include "unmap_fixture.h"

using namespace objr;
using namespace objr::test;

namespace {

AnonMm& of(const Process& process) { return process.mm().anon_mm(); }
AnonMm* named_by(const Page& page) { return page.mapping().anon_object<AnonMm>(); }
u64 index_of(u64 page) { return at(page).value >> kPageShift; }
bool same_bundle(const Process& a, const Process& b) { return &head_of(of(a)) == &head_of(of(b)); }

WalkCost walk(World& world, Page& page, Locking locking = Locking::wait) {
    SharedGuard quiesce(world.quiesce);
    PageLock lock(page);
    WalkCost cost;
    rmap_walk(world, page, {EarlyStop::yes, locking}, cost, [](const Mapping&) { return Visit::go_on; });
    return cost;
}

// The candidates of a page, in order.
class CandidateList final : public CandidateVisitor {
public:
    static constexpr u32 kMost = 8;

    CandidateList(World& world, Page& page) {
        SharedGuard quiesce(world.quiesce);
        PageLock lock(page);
        WalkCost cost;
        rmap_visit_candidates(world, page, {}, *this, cost);
    }
    Visit candidate(Vma& vma, Vaddr address, Why why) override {
        if (count < kMost) {
            mms[count] = vma.mm;
            addresses[count] = address;
            whys[count] = why;
        }
        count++;
        return Visit::go_on;
    }
    Visit nonlinear(Vma&) override { return Visit::go_on; }

    u32 count = 0;
    Mm* mms[kMost] = {};
    Vaddr addresses[kMost] = {};
    Why whys[kMost] = {};
};

// Notes how many references a page has when translations of two places go for the first time.
class ZapWatch final : public Mmu {
public:
    ZapWatch(Vaddr from, Vaddr to) : from_(from), to_(to) {}

    void zap(objr_region*, Vaddr start, Vaddr end, objr_held) override {
        if (page && start <= from_ && from_ < end && at_from == 0) {
            at_from = page->refcount.load();
        }
        if (page && start <= to_ && to_ < end && at_to == 0) {
            at_to = page->refcount.load();
        }
    }
    Translation harvest(objr_region*, Vaddr, Harvest) override { return {}; }
    Status install(void*, Vaddr, Pfn, bool, bool) override { return {}; }

    const Page* page = nullptr;
    s32 at_from = 0;
    s32 at_to = 0;

private:
    Vaddr from_;
    Vaddr to_;
};

void move(objr_test* test, const Process& process, u64 from, u64 to, u64 pages) {
    OBJR_EXPECT(process.mm().move(at(from), at(to), pages * kPageSize, nullptr));
}

} // namespace

// ---- A1: one for each Mm, counted by its pages; bundles

OBJR_TEST(spec_A1_exec_begins_a_bundle_fork_joins) {
    for (u32 n = 0; scheme_name(n); n++) { // kept under every one
        TestWorld world(test, 1, 4, scheme_name(n));
        Process a(test, world);
        Process b(test, world);
        Process c(test, world);
        Process other(test, world);
        OBJR_ASSERT(a.alive() && b.alive() && c.alive() && other.alive());
        OBJR_EXPECT_EQ(world->counters.sum(Count::anon_mms), 4);
        OBJR_EXPECT(of(a).is_head() && of(b).is_head() && of(a).mm == &a.mm());
        OBJR_EXPECT(!same_bundle(a, b));
        OBJR_ASSERT(a.map(0, 4) && other.map(0, 4));
        OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
        OBJR_EXPECT(same_bundle(a, b) && same_bundle(a, c) && !same_bundle(a, other));
        // Parents before their children.
        AnonMm& head = head_of(of(c));
        OBJR_EXPECT(head.members.front() == &of(a) && head.members.back() == &of(c));
        OBJR_EXPECT(head.members.next(of(a)) == &of(b));
        a.exit(); // who was the head leaves; the bundle stays
        OBJR_EXPECT(same_bundle(b, c) && head_of(of(b)).members.front() == &of(b));
        OBJR_EXPECT_EQ(world->counters.sum(Count::anon_mms), 4); // those that it heads hold it
        b.exit();
        c.exit();
        OBJR_EXPECT_EQ(world->counters.sum(Count::anon_mms), 1);
    }
}

OBJR_TEST(spec_A1_counts_its_pages) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    Process b(test, world);
    Object object(test, world, "uncounted", 4);
    OBJR_ASSERT(a.map(0, 8) && a.map(20, 24, kShared, object.get(), 0));
    for (u64 page = 0; page < 5; page++) {
        a.store(page, page);
    }
    a.store(20, 1);
    OBJR_EXPECT_EQ(of(a).pages(), 5);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(of(a).pages(), 5); // pages, not mappings
    OBJR_EXPECT_EQ(of(b).pages(), 0);
    b.store(0, 10); // a copy is the copier's
    b.store(6, 16);
    OBJR_EXPECT_EQ(of(a).pages(), 5);
    OBJR_EXPECT_EQ(of(b).pages(), 2);
    OBJR_ASSERT(a.unmap(1, 2)); // b has it still
    OBJR_EXPECT_EQ(of(a).pages(), 5);
    OBJR_ASSERT(b.unmap(1, 2));
    OBJR_EXPECT_EQ(of(a).pages(), 4);
    a.exit(); // of three pages b has the only mappings now: they keep what they name
    OBJR_EXPECT_EQ(named_by(*b.page(2))->pages(), 3);
    OBJR_EXPECT(named_by(*b.page(2))->mm == nullptr);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_mms), 2);
    OBJR_ASSERT(world.verify());
}

// A child may have pages and children of its own before it is forked into.
OBJR_TEST(spec_A1_bundles_become_one) {
    TestWorld world(test, 1, 4, "anonmm");
    Processes all(test, world, 5);
    OBJR_ASSERT(all);
    Process& older = all[0];
    Process& a = all[1];
    Process& b = all[2];
    Process& c = all[3];
    Process& d = all[4];
    OBJR_ASSERT(older.map(0, 4) && a.map(8, 12) && c.map(16, 20));
    older.store(0, 1);
    a.store(8, 2);
    c.store(16, 3);
    OBJR_ASSERT(older.fork_to(d));
    auto fork = [](const Process& parent, const Process& child, u64 page) {
        return Mm::fork(parent.mm(), child.mm(), at(page), at(page + 4), nullptr);
    };
    OBJR_ASSERT(fork(a, b, 8) && fork(c, b, 16)); // b has two parents: two bundles become one
    OBJR_EXPECT(same_bundle(a, c) && same_bundle(b, c) && !same_bundle(a, older));
    OBJR_ASSERT(fork(b, older, 8) && fork(b, older, 16)); // the older bundle becomes a part of the younger one
    OBJR_EXPECT(same_bundle(older, a) && same_bundle(d, c));
    OBJR_EXPECT(head_of(of(a)).members.back() == &of(d));
    for (const Process* process : {&b, &older}) {
        OBJR_EXPECT_EQ(count_mappers(*world, *process->page(8)), 3);
        OBJR_EXPECT_EQ(count_mappers(*world, *process->page(16)), 3);
    }
    OBJR_EXPECT_EQ(count_mappers(*world, *d.page(0)), 2);
    a.exit();
    c.exit();
    OBJR_EXPECT_EQ(older.load(8) + older.load(16), 5);
    OBJR_EXPECT_EQ(count_mappers(*world, *older.page(16)), 2);
}

// Whoever moves a page to another frame looks for its entries while it is not mapped, and everybody who had it may go meanwhile.
OBJR_TEST(spec_A1_held_while_it_is_not_mapped) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    Page& page = *a.page(0);
    OBJR_ASSERT(world->pool.try_get(page));
    page.lock();
    world->scheme().hold(page);
    page.unlock();
    a.exit();
    OBJR_EXPECT_EQ(count_mappers(*world, page), 1); // moves to b, and what holds it too
    OBJR_EXPECT(named_by(page) == &of(b));
    OBJR_ASSERT(world.verify());
    b.exit();
    OBJR_EXPECT(!page.mapped());
    OBJR_EXPECT_EQ(CandidateList(*world, page).count, 0);
    OBJR_EXPECT_EQ(world->scheme().object_of(page).id, named_by(page)->id.load());
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_mms), 2); // b's, and its head
    page.lock();
    world->scheme().release(page);
    page.unlock();
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_mms), 0);
    world->pool.put(page);
}

// ---- A2: the address is the same in all; named first, then the others

OBJR_TEST(spec_A2_index_is_the_address) {
    TestWorld world(test, 1, 4, "anonmm");
    Object object(test, world, "elsewhere", 64);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.mm().map(at(0), at(4), 77, kReadWrite, nullptr, nullptr)); // whatever the offsets say
    OBJR_ASSERT(a.map(8, 12, kReadWrite, object.get(), 40));
    a.store(2, 1);
    a.store(9, 2);
    OBJR_EXPECT(a.vma(0)->anon_vma == nullptr && a.vma(8)->may_hold_anon());
    OBJR_ASSERT(a.fork_to(b));
    for (const u64 n : {2, 9}) {
        Page& page = *b.page(n);
        OBJR_EXPECT(named_by(page) == &of(a));
        OBJR_EXPECT_EQ(page.index, index_of(n));
        const CandidateList candidates(*world, page);
        OBJR_EXPECT_EQ(candidates.count, 2);
        OBJR_EXPECT(candidates.addresses[0] == at(n) && candidates.addresses[1] == at(n));
    }
    OBJR_EXPECT(same_text(world->scheme().object_of(*a.page(2)).kind, "anonmm"));
    OBJR_EXPECT_EQ(world->scheme().object_of(*a.page(2)).id, of(a).id.load());
}

OBJR_TEST(spec_A2_named_mm_first_then_the_bundle) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    Process d(test, world);
    OBJR_ASSERT(a.map(0, 2));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
    c.store(0, 3); // names c
    OBJR_ASSERT(c.fork_to(d));
    const CandidateList candidates(*world, *c.page(0));
    OBJR_ASSERT_EQ(candidates.count, 4);
    OBJR_EXPECT(candidates.mms[0] == &c.mm() && candidates.whys[0] == Why::named_mm);
    OBJR_EXPECT(candidates.mms[1] == &a.mm() && candidates.whys[1] == Why::bundle);
    OBJR_EXPECT(candidates.mms[2] == &b.mm() && candidates.whys[2] == Why::bundle);
    OBJR_EXPECT(candidates.mms[3] == &d.mm() && candidates.whys[3] == Why::bundle);
    // What nobody shares costs one look, however many relatives there are.
    d.store(0, 4);
    OBJR_EXPECT_EQ(walk(*world, *d.page(0)).candidates, 1);
    const WalkCost cost = walk(*world, *b.page(0)); // of a and b: stops before c and d
    OBJR_EXPECT(cost.stop == StopReason::mapcount);
    OBJR_EXPECT_EQ(cost.candidates, 2);
    OBJR_EXPECT_EQ(cost.hits, 2);
}

OBJR_TEST(spec_A2_A4_skips_who_cannot_have_it) {
    constexpr u32 kSharers = 7;
    TestWorld world(test, 1, 4, "anonmm");
    Object object(test, world, "in-the-way", 4);
    Processes all(test, world, kSharers);
    OBJR_ASSERT(all && all[0].map(0, 4));
    all[0].store(1, 1);
    for (u32 n = 1; n < kSharers; n++) {
        OBJR_ASSERT(all[0].fork_to(all[n]));
    }
    all[1].exit(); // dead
    OBJR_ASSERT(all[2].unmap(0, 4)); // empty
    OBJR_ASSERT(all[3].unmap(1, 2)); // a hole
    OBJR_ASSERT(all[4].unmap(0, 4) && all[4].map(0, 4, kShared, object.get(), 0)); // another thing is there
    all[4].store(1, 9);
    OBJR_ASSERT(all[5].unmap(0, 4) && all[5].map(0, 4)); // nothing is there yet
    Page& page = *all[0].page(1);
    const CandidateList candidates(*world, page);
    OBJR_EXPECT_EQ(candidates.count, 2);
    OBJR_EXPECT(candidates.mms[0] == &all[0].mm() && candidates.mms[1] == &all[6].mm());
    OBJR_EXPECT_EQ(count_mappers(*world, page), 2);
    OBJR_EXPECT_EQ(all[6].load(1), 1);
}

OBJR_TEST(spec_A2_contended) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    PageLock lock(page);
    auto try_walk = [&] {
        WalkCost cost;
        rmap_walk(*world, page, {EarlyStop::yes, Locking::try_only}, cost, [](const Mapping&) { return Visit::go_on; });
        OBJR_EXPECT_EQ(cost.lock_waits, cost.stop == StopReason::contended ? 1 : 0);
        OBJR_EXPECT_EQ(cost.hits, cost.stop == StopReason::contended ? 0 : 1);
        return cost.stop;
    };
    {
        Guard bundle(of(a).lock);
        OBJR_EXPECT(try_walk() == StopReason::contended);
    }
    {
        RangeChange change(*a.vma(0)); // the Vmas of this Mm
        OBJR_EXPECT(try_walk() == StopReason::contended);
    }
    OBJR_EXPECT(try_walk() == StopReason::mapcount);
}

// ---- A3: a page whose Mm has died

OBJR_TEST(spec_A3_moves_to_the_first_live_mm) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.map(0, 2));
    a.store(0, 1);
    a.store(1, 2);
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
    AnonMm& dead = of(a);
    Page& first = *b.page(0);
    Page& second = *c.page(1);
    OBJR_ASSERT(b.unmap(1, 2)); // c is the first that maps the second page
    a.exit();
    OBJR_EXPECT(named_by(first) == &dead && named_by(second) == &dead && !dead.mm);
    OBJR_EXPECT_EQ(dead.pages(), 2);
    OBJR_EXPECT_EQ(count_mappers(*world, first), 2);
    OBJR_EXPECT(named_by(first) == &of(b));
    OBJR_EXPECT_EQ(first.index, index_of(0));
    OBJR_EXPECT_EQ(dead.pages(), 1);
    OBJR_EXPECT_EQ(of(b).pages(), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, second), 1);
    OBJR_EXPECT(named_by(second) == &of(c));
    const CandidateList candidates(*world, first);
    OBJR_EXPECT(candidates.whys[0] == Why::named_mm && candidates.mms[0] == &b.mm());
    OBJR_ASSERT(world.verify());
    b.exit();
    OBJR_EXPECT_EQ(c.load(0), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, first), 1);
    OBJR_EXPECT(named_by(first) == &of(c));
}

// A page that is held by somebody may name what is long gone, or what has become another's.
OBJR_TEST(spec_A3_recycled_anonmm_is_not_believed) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    Page* page = a.page(0);
    OBJR_ASSERT(world->pool.try_get(*page));
    a.exit();
    OBJR_EXPECT(page->mapping().is_anon());
    OBJR_EXPECT(walk(*world, *page).stop == StopReason::unmapped);
    OBJR_EXPECT_EQ(CandidateList(*world, *page).count, 0);
    OBJR_EXPECT(world->scheme().object_of(*page).kind == nullptr);
    Process b(test, world);
    OBJR_ASSERT(b.map(0, 4));
    b.store(0, 2);
    OBJR_EXPECT(CandidateList(*world, *page).count <= 1); // of b, if it has that memory
    OBJR_EXPECT_EQ(count_mappers(*world, *page), 0);
    OBJR_EXPECT_EQ(of(b).pages(), 1);
    world->pool.put(*page);
}

// ---- A4: mremap

OBJR_TEST(spec_A4_one_mapping_rewrites_the_index) {
    TestWorld world(test, 1, 4, "anonmm");
    Object object(test, world, "copied", 8);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4) && a.map(8, 12, kReadWrite, object.get(), 0));
    a.store(1, 1);
    a.store(9, 2); // a copy of the object's page
    OBJR_EXPECT_EQ(a.load(10), 0); // the object's own
    OBJR_ASSERT(a.fork_to(b));
    b.exit(); // not shared any more
    Page* const pages[] = {a.page(1), a.page(9), a.page(10)};
    const s64 copies = world->counters.sum(Count::cow_faults);
    move(test, a, 0, 510, 4); // over the end of a table
    move(test, a, 8, 30, 4);
    OBJR_EXPECT(a.page(511) == pages[0] && a.page(31) == pages[1] && a.page(32) == pages[2]);
    OBJR_EXPECT_EQ(pages[0]->index, index_of(511));
    OBJR_EXPECT_EQ(pages[1]->index, index_of(31));
    OBJR_EXPECT_EQ(pages[2]->index, 2);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), copies);
    for (Page* page : pages) {
        OBJR_EXPECT_EQ(count_mappers(*world, *page), 1);
    }
    OBJR_EXPECT(a.load(511) == 1 && a.load(31) == 2);
}

OBJR_TEST(spec_A4_shared_page_is_copied_early) {
    TestWorld world(test, 1, 4, "anonmm");
    Object object(test, world, "stays", 8);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.map(0, 6) && a.map(8, 12, kShared, object.get(), 0));
    for (u64 page = 0; page < 4; page++) {
        a.store(page, 10 + page);
    }
    a.store(8, 20);
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
    OBJR_EXPECT_EQ(b.load(8), 20);
    b.store(0, 30); // its own
    OBJR_ASSERT(b.mm().protect(at(2), at(4), OBJR_VM_READ)); // two Vmas, one read-only
    Page* const shared = b.page(1);
    Page* const own = b.page(0);
    Page* const of_object = b.page(8);
    OBJR_EXPECT_EQ(b.load(1), 11); // the processor knows the old page
    const s64 copies = world->counters.sum(Count::cow_faults);
    move(test, b, 0, 100, 6);
    move(test, b, 8, 108, 4);
    OBJR_EXPECT_EQ(world->counters.sum(Count::cow_faults), copies + 3);
    OBJR_EXPECT(b.page(100) == own && b.page(101) != shared && b.page(108) == of_object);
    OBJR_EXPECT(a.page(1) == shared && c.page(1) == shared);
    OBJR_EXPECT_EQ(count_mappers(*world, *shared), 2);
    OBJR_EXPECT_EQ(shared->index, index_of(1));
    Page& copy = *b.page(101);
    OBJR_EXPECT(named_by(copy) == &of(b) && copy.index == index_of(101) && copy.has(PageFlag::anon_exclusive));
    OBJR_EXPECT_EQ(count_mappers(*world, copy), 1);
    for (u64 page = 1; page < 4; page++) {
        OBJR_EXPECT_EQ(b.load(100 + page), 10 + page);
        OBJR_EXPECT_EQ(c.load(page), 10 + page);
    }
    OBJR_EXPECT_EQ(b.try_store(103, 1), -OBJR_EACCES);
    b.store(101, 31);
    OBJR_EXPECT(a.load(1) == 11 && c.load(1) == 11 && b.load(101) == 31);
    c.store(1, 41);
    OBJR_EXPECT(a.load(1) == 11 && b.load(101) == 31);
    OBJR_EXPECT_EQ(b.load(104), 0); // never touched
    b.store(108, 21);
    OBJR_EXPECT_EQ(a.load(8), 21); // the object's pages are shared wherever they are
}

// The old page may be somebody else's as soon as its reference is given back: no translation of it is left then, neither at the old
// place nor at the new one, where the kernel may have taken it beforehand.
OBJR_TEST(spec_A4_translations_go_before_the_page) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(2, 1);
    Page& page = *a.page(2);
    ZapWatch watch(at(2), at(102));
    Result<Mm*> made = Mm::create(*world, watch);
    OBJR_ASSERT(made);
    Mm& mm = **made;
    OBJR_EXPECT(Mm::fork(a.mm(), mm, at(0), at(4), nullptr));
    watch.page = &page;
    OBJR_EXPECT_EQ(page.refcount.load(), 2);
    OBJR_EXPECT(mm.move(at(0), at(100), 4 * kPageSize, nullptr));
    OBJR_EXPECT_EQ(page.refcount.load(), 1);
    OBJR_EXPECT_EQ(watch.at_from, 3); // of the other mapping, of this one, of who zaps
    OBJR_EXPECT_EQ(watch.at_to, 3);
    OBJR_EXPECT(mm.unmap(at(0), at(200), Translations::present));
    mm.put();
}

// What was swapped out moves as an entry. Whoever comes first has the page where it is; who has moved gets a copy.
OBJR_TEST(spec_A4_swapped_page_is_copied_at_swap_in) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(a.map(0, 4));
    for (u64 page = 0; page < 4; page++) {
        a.store(page, 10 + page);
    }
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
    for (u64 page = 0; page < 4; page++) {
        OBJR_ASSERT(unmap_at(world, a, page).answer == Unmapped::success);
    }
    OBJR_ASSERT(a.pte(0).is_swap() && b.pte(0).is_swap());
    move(test, b, 0, 100, 4);
    OBJR_ASSERT(world.verify());
    OBJR_EXPECT_EQ(a.load(0), 10); // first the one who stayed
    OBJR_EXPECT_EQ(b.load(100), 10);
    OBJR_EXPECT(b.page(100) != a.page(0));
    OBJR_EXPECT(a.page(0)->index == index_of(0) && b.page(100)->index == index_of(100));
    OBJR_EXPECT_EQ(c.load(0), 10);
    OBJR_EXPECT(c.page(0) == a.page(0));
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(0)), 2);
    OBJR_EXPECT_EQ(count_mappers(*world, *b.page(100)), 1);
    OBJR_EXPECT_EQ(b.load(101), 11); // first the one who moved
    OBJR_EXPECT_EQ(c.load(1), 11);
    OBJR_EXPECT_EQ(a.load(1), 11);
    OBJR_EXPECT(b.page(101) != a.page(1));
    for (const Process* process : {&a, &b, &c}) {
        const u64 where = process == &b ? 101 : 1;
        OBJR_EXPECT_EQ(count_mappers(*world, *process->page(where)), process->page(where)->mappings());
    }
    b.store(102, 32); // a write takes it at once
    a.store(2, 22);
    OBJR_EXPECT(a.load(2) == 22 && b.load(102) == 32 && c.load(2) == 12);
    OBJR_ASSERT(world.verify());
    c.exit();
    a.exit();
    OBJR_EXPECT_EQ(b.load(103), 13); // nobody else wants it any more
    OBJR_EXPECT_EQ(world->swap.used(), 0);
}

// A page with one mapping may be needed by swap entries, which stay.
OBJR_TEST(spec_A4_page_that_entries_need_is_copied_early) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 2));
    a.store(0, 10);
    a.store(1, 11);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT(unmap_at(world, a, 0).answer == Unmapped::success && unmap_at(world, a, 1).answer == Unmapped::success);
    OBJR_ASSERT(a.unmap(1, 2)); // of the second page b has the only entry
    OBJR_EXPECT(b.load(0) == 10 && b.load(1) == 11);
    Page* const needed = b.page(0);
    Page* const own = b.page(1);
    OBJR_EXPECT(SwapSpace::cached(*needed) && needed->mappings() == 1 && a.pte(0).is_swap());
    move(test, b, 0, 100, 2);
    OBJR_EXPECT(b.page(100) != needed && b.page(101) == own);
    OBJR_ASSERT(world.verify());
    OBJR_EXPECT_EQ(b.load(100), 10);
    b.store(100, 30);
    OBJR_EXPECT_EQ(a.load(0), 10);
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(0)), 1);
    OBJR_EXPECT_EQ(a.page(0)->index, index_of(0));
}

// A switch finds swapped pages too: what is shared through an entry at two addresses is taken apart when it comes in.
OBJR_TEST(spec_U1_A4_switch_with_swapped_pages_that_have_moved) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    char reason[120];
    OBJR_ASSERT(a.map(0, 2));
    a.store(0, 10);
    a.store(1, 11);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT(unmap_at(world, a, 0).answer == Unmapped::success && unmap_at(world, a, 1).answer == Unmapped::success);
    move(test, b, 0, 100, 2);
    OBJR_EXPECT_EQ(a.load(1), 11); // in memory at one address, an entry at the other
    OBJR_ASSERT(objr_set_scheme(world.handle(), "anonmm", reason, sizeof(reason)) == 0);
    OBJR_ASSERT(world.verify());
    OBJR_EXPECT(b.load(100) == 10 && a.load(0) == 10 && b.load(101) == 11 && a.load(1) == 11);
    OBJR_EXPECT(a.page(0) != b.page(100) && a.page(1) != b.page(101));
    for (u64 page = 0; page < 2; page++) {
        OBJR_EXPECT_EQ(count_mappers(*world, *a.page(page)), 1);
        OBJR_EXPECT_EQ(count_mappers(*world, *b.page(100 + page)), 1);
    }
}

OBJR_TEST(spec_A4_no_memory_moves_nothing) {
    constexpr u64 kShareds = 40; // more than one batch
    TestWorld world(test, 1, 4, "anonmm", 0);
    Process a(test, world);
    Process b(test, world);
    Process glutton(test, world);
    OBJR_ASSERT(a.map(0, kShareds) && glutton.map(0, 256));
    for (u64 page = 0; page < kShareds; page++) {
        a.store(page, page);
    }
    OBJR_ASSERT(a.fork_to(b));
    u64 eaten = 0;
    while (world->pool.free_pages() > 35) {
        glutton.store(eaten++, 1);
    }
    const s64 tables = world->counters.sum(Count::table_pages);
    OBJR_EXPECT_EQ(b.mm().move(at(0), at(2000), kShareds * kPageSize, nullptr).as_int(), -OBJR_ENOMEM);
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), tables);
    OBJR_EXPECT_EQ(b.try_load(2000), -OBJR_EFAULT);
    OBJR_EXPECT_EQ(b.mm().vma_count(), 1);
    OBJR_EXPECT_EQ(a.page(39)->mappings(), 2); // those that found no page
    OBJR_EXPECT_EQ(a.page(0)->mappings(), 1); // those before are b's own now
    OBJR_ASSERT(world.verify());
    for (u64 page = 0; page < kShareds; page++) {
        OBJR_EXPECT(a.load(page) == page && b.load(page) == page);
    }
    glutton.exit();
    move(test, b, 0, 2000, kShareds);
    for (u64 page = 0; page < kShareds; page++) {
        OBJR_EXPECT(a.load(page) == page && b.load(2000 + page) == page);
    }
}

OBJR_TEST(spec_A4_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test, 1, 4, "anonmm");
    OBJR_PROPAGATE();
    for (unsigned n = 1;; n++) {
        Process a(test, world);
        Process b(test, world);
        OBJR_ASSERT(a.map(0, 4));
        a.store(0, 1);
        a.store(3, 4);
        OBJR_ASSERT(a.fork_to(b));
        objr_test_fail_nth_allocation(n);
        const Status status = b.mm().move(at(1), at(511), 3 * kPageSize, nullptr); // splits, and needs two tables
        const bool reached = objr_test_allocations() >= n;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT_EQ(status.as_int(), reached ? -OBJR_ENOMEM : 0);
        OBJR_EXPECT_EQ(b.load(reached ? 3 : 513), 4);
        OBJR_EXPECT(a.load(3) == 4 && b.load(0) == 1);
        OBJR_ASSERT(world.verify());
        if (!reached) {
            return;
        }
    }
}

OBJR_TEST(spec_A1_failing_allocations) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test, 1, 4, "anonmm");
    SoftMmu cpu;
    for (unsigned n = 1;; n++) {
        objr_test_fail_nth_allocation(n);
        Result<Mm*> mm = Mm::create(*world, cpu);
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT_EQ(world->counters.sum(Count::anon_mms), mm ? 1 : 0);
        if (mm) {
            OBJR_EXPECT(n > 2); // the Mm, its AnonMm and its table at least
            (*mm)->put();
            return;
        }
        OBJR_EXPECT_EQ(mm.error().value, OBJR_ENOMEM);
    }
}

// ---- U1: the switch

OBJR_TEST(spec_U1_refused_while_a_page_is_at_two_addresses) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(0, 1);
    a.store(1, 2);
    OBJR_ASSERT(a.fork_to(b));
    move(test, b, 0, 100, 4);
    Page& page = *a.page(0);
    OBJR_ASSERT(&page == b.page(100) && page.mappings() == 2);
    char reason[120];
    OBJR_EXPECT_EQ(objr_set_scheme(world.handle(), "anonmm", reason, sizeof(reason)), -OBJR_EBUSY);
    WordsOf<120> expected;
    expected.words.add("page ").decimal(world->pool.number(page)).add(" is shared at ").hex(at(0).value);
    expected.words.add(" and at ").hex(at(100).value).add(": ");
    OBJR_EXPECT_TEXT(reason, expected.words.c_str());
    OBJR_EXPECT(world.is("chain"));
    OBJR_ASSERT(world.verify());
    OBJR_EXPECT_EQ(count_mappers(*world, page), 2);
    b.store(100, 3); // a copy
    OBJR_EXPECT_EQ(objr_set_scheme(world.handle(), "anonmm", reason, sizeof(reason)), -OBJR_EBUSY);
    OBJR_EXPECT_TEXT(reason, "then switch again"); // not cut
    OBJR_ASSERT(a.unmap(1, 2));
    OBJR_EXPECT_EQ(objr_set_scheme(world.handle(), "anonmm", reason, sizeof(reason)), 0);
    OBJR_EXPECT(world.is("anonmm"));
    OBJR_EXPECT(a.load(0) == 1 && b.load(100) == 3 && b.load(101) == 2);
    OBJR_EXPECT_EQ(b.page(101)->index, index_of(101));
    OBJR_EXPECT_EQ(count_mappers(*world, *b.page(101)), 1);
}

// What a switch finds is named by the oldest that maps it, and counted; what it leaves names nothing.
OBJR_TEST(spec_U1_names_the_oldest) {
    TestWorld world(test, 1, 4, "chain");
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    char reason[120];
    OBJR_ASSERT(a.map(0, 4));
    for (u64 page = 0; page < 4; page++) {
        a.store(page, page);
    }
    OBJR_ASSERT(a.fork_to(b) && b.fork_to(c));
    c.store(1, 11);
    OBJR_ASSERT(a.unmap(2, 3));
    OBJR_ASSERT(objr_set_scheme(world.handle(), "anonmm", reason, sizeof(reason)) == 0);
    OBJR_EXPECT(named_by(*c.page(0)) == &of(a) && named_by(*c.page(1)) == &of(c) && named_by(*c.page(2)) == &of(b));
    OBJR_EXPECT(of(a).pages() == 3 && of(b).pages() == 1 && of(c).pages() == 1);
    OBJR_ASSERT(world.verify());
    a.exit();
    OBJR_ASSERT(objr_set_scheme(world.handle(), "classic", reason, sizeof(reason)) == 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::anon_mms), 3); // a heads the bundle yet, and no page counts
    OBJR_EXPECT(of(b).pages() == 0 && of(c).pages() == 0);
    OBJR_ASSERT(objr_set_scheme(world.handle(), "anonmm", reason, sizeof(reason)) == 0);
    OBJR_EXPECT(named_by(*c.page(0)) == &of(b));
    OBJR_EXPECT_EQ(count_mappers(*world, *c.page(0)), 2);
}

// ---- what verify must see

OBJR_TEST(spec_A1_A2_verify_sees_planted_mistakes) {
    TestWorld world(test, 1, 4, "anonmm");
    Process a(test, world);
    Process b(test, world);
    Process other(test, world);
    Text text(test);
    OBJR_ASSERT(text && a.map(0, 2) && other.map(0, 2));
    a.store(0, 1);
    a.store(1, 1);
    other.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    Page& page = *a.page(0);
    auto expect_bad = [&](const char* reported, auto&& broken, auto&& mend) {
        broken();
        const s32 result = text.verify(world);
        mend();
        OBJR_EXPECT_EQ(result, 1);
        OBJR_EXPECT_TEXT(text.c_str(), reported);
        OBJR_EXPECT_EQ(text.verify(world), 0);
    };
    // A stale index, as of a move that has not told.
    expect_bad(
        "bad V2: ", [&] { page.index++; }, [&] { page.index--; });
    // Names one of another bundle; of the same, which does not count it.
    const MappingWord right = page.mapping();
    expect_bad(
        "B3: an anonmm counts other pages", [&] { page.set_mapping(MappingWord::anon(&of(other))); },
        [&] { page.set_mapping(right); });
    expect_bad(
        "B3: an anonmm counts other pages", [&] { page.set_mapping(MappingWord::anon(&of(b))); },
        [&] { page.set_mapping(right); });
    expect_bad(
        "bad V2: ",
        [&] { // counted well, but nobody there has it
            page.set_mapping(MappingWord::anon(&of(other)));
            of(other).refs.fetch_add(AnonMm::kOnePage);
            of(a).refs.fetch_sub(AnonMm::kOnePage);
        },
        [&] {
            page.set_mapping(right);
            of(other).refs.fetch_sub(AnonMm::kOnePage);
            of(a).refs.fetch_add(AnonMm::kOnePage);
        });
    // Counts that a page has missed, or missed to give back.
    expect_bad(
        "B3: ", [&] { of(a).refs.fetch_add(AnonMm::kOnePage); }, [&] { of(a).refs.fetch_sub(AnonMm::kOnePage); });
    expect_bad(
        "B3: ", [&] { page.clear(PageFlag::counted); }, [&] { page.set(PageFlag::counted); });
    // An Mm that walks pass by.
    AnonMm& head = head_of(of(a));
    expect_bad(
        "V2: ", [&] { head.members.erase(of(b)); }, [&] { head.members.push_back(of(b)); });
    expect_bad(
        "B1: ", [&] { head.members.erase(of(a)); }, [&] { head.members.push_front(of(a)); });
    // One that has gone, and nobody has said so.
    AnonMm& child = of(b);
    Mm* mm = child.mm;
    other.exit();
    expect_bad(
        "B1: ", [&] { of(a).mm = mm; }, [&] { of(a).mm = &a.mm(); });
}
