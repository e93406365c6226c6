// SPDX-License-Identifier: GPL-2.0
// pte_chain.cpp: spec H: a page knows its page-table entries (Linux 2.5, LegoOS).
#include "text_fixture.h"

#include "objrmap/pte_chain.h"

using namespace objr;
using namespace objr::test;

namespace {

using Moved = PteChains::Moved;

constexpr u64 blocks_for(u64 entries) {
    return entries < 2 ? 0 : (entries + ChainBlock::kEntries - 1) / ChainBlock::kEntries;
}

u64 blocks(const TestWorld& world) { return static_cast<u64>(world->counters.sum(Count::pte_chain_blocks)); }

ChainHead head_of(const TestWorld& world, const Page& page) {
    return world->pte_chains->head(world->pool.number(page));
}

u32 length(const TestWorld& world, const Page& page) {
    u32 entries = 0;
    world->pte_chains->each(world->pool.number(page), [&entries](ChainEntry) { entries++; });
    return entries;
}

// With a block got before, as fork and faults do.
void add(objr_test* test, const TestWorld& world, u32 page, ChainEntry entry, Moved moved) {
    MapReserve reserve(*world);
    OBJR_ASSERT(reserve.fill());
    world->pte_chains->add(page, entry, moved, [&reserve] { return static_cast<ChainBlock*>(reserve.take()); });
}

// Returns whether it was there.
bool remove(const TestWorld& world, u32 page, ChainEntry entry) {
    const auto [found, emptied] = world->pte_chains->remove(page, entry);
    if (emptied) {
        world->scheme().free_block(*world, emptied);
    }
    return found;
}

void collapse(const TestWorld& world, Page& page) {
    SharedGuard quiesce(world->quiesce);
    PageLock lock(page);
    world->scheme().collapse(*world, page);
}

// The walk finds the mappings and looks at nothing else (spec H4).
void expect_exact(objr_test* test, const TestWorld& world, Page& page, u64 mappings) {
    WalkCost cost;
    OBJR_EXPECT_EQ(count_mappers(*world, page, &cost), mappings);
    OBJR_EXPECT_EQ(page.mappings(), mappings);
    OBJR_EXPECT_EQ(cost.candidates, mappings);
    OBJR_EXPECT_EQ(cost.hits, mappings);
    OBJR_EXPECT_EQ(cost.false_hits + cost.scanned, 0);
}

} // namespace

// ---- H1: direct, then blocks

OBJR_TEST(spec_H1_direct_then_blocks) {
    constexpr u32 kMost = 16;
    TestWorld world(test, 1, 4, "pte_chain");
    Processes all(test, world, kMost);
    OBJR_ASSERT(all && all[0].map(0, 1));
    all[0].store(0, 1);
    Page& page = *all[0].page(0);
    OBJR_EXPECT(head_of(world, page).is_direct());
    OBJR_EXPECT(page.mapping() == MappingWord::anon(nullptr)); // no object: the chain is all there is
    for (u32 n = 1; n < kMost; n++) { // the second makes a block, which seven fill; the eighth makes another
        OBJR_ASSERT(all[0].fork_to(all[n]));
        OBJR_EXPECT_EQ(length(world, page), n + 1);
        OBJR_EXPECT_EQ(blocks(world), blocks_for(n + 1));
        OBJR_EXPECT(head_of(world, page).first() != nullptr);
        expect_exact(test, world, page, n + 1);
    }
    OBJR_EXPECT_EQ(blocks_for(7), 1);
    OBJR_EXPECT_EQ(blocks_for(8), 2);
    OBJR_EXPECT_EQ(world->scheme().bytes(*world), PteChains::bytes(world->pool.size()) + blocks_for(kMost) * 64);
}

OBJR_TEST(spec_H1_holes_are_filled) {
    constexpr u32 kMost = 17;
    TestWorld world(test, 1, 4, "pte_chain");
    Processes all(test, world, kMost);
    OBJR_ASSERT(all && all[0].map(0, 1));
    all[0].store(0, 1);
    Page& page = *all[0].page(0);
    for (u32 n = 1; n < kMost; n++) {
        OBJR_ASSERT(all[0].fork_to(all[n]));
    }
    for (u32 left = kMost - 1; left != 0; left--) { // from the middle, where the blocks are full
        all[(left * 5) % kMost].exit();
        OBJR_EXPECT_EQ(length(world, page), left);
        OBJR_EXPECT_EQ(blocks(world), max<u64>(blocks_for(left), 1)); // the last block stays (spec H3)
        expect_exact(test, world, page, left);
        OBJR_EXPECT(world.verify());
    }
    OBJR_EXPECT_EQ(all[0].load(0), 1);
}

OBJR_TEST(spec_H1_many_mappings) {
    constexpr u64 kMany = 300;
    TestWorld world(test, 1, 4, "pte_chain");
    Object object(test, world, "many", 1);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.alive());
    for (u64 n = 0; n < kMany; n++) {
        OBJR_ASSERT(a.map(2 * n, 2 * n + 1, kShared, object.get(), 0));
        a.store(2 * n, n);
    }
    Page& page = *a.page(0);
    expect_exact(test, world, page, kMany);
    OBJR_EXPECT_EQ(blocks(world), blocks_for(kMany));
    for (u64 n = 1; n < kMany; n++) { // in an order of their own
        const u64 gone = (n * 113) % kMany * 2;
        OBJR_ASSERT(a.unmap(gone, gone + 1));
        if (n % 23 == 0) {
            expect_exact(test, world, page, kMany - n);
            OBJR_EXPECT_EQ(blocks(world), max<u64>(blocks_for(kMany - n), 1));
            OBJR_EXPECT(world.verify());
        }
    }
    expect_exact(test, world, page, 1);
    OBJR_EXPECT_EQ(a.load(0), kMany - 1);
}

// ---- H2: where an entry is, and memory for it

OBJR_TEST(spec_H2_table_says_whose_it_is) {
    for (u32 levels = 4; levels <= 5; levels++) {
        TestWorld world(test, 1, levels, "pte_chain");
        Process a(test, world);
        Process b(test, world);
        OBJR_ASSERT(a.map(500, 530)); // over the end of a table
        for (u64 n : {500, 511, 512, 529}) {
            a.store(n, n);
            const EntryPlace place = head_of(world, *a.page(n)).entry().place();
            OBJR_EXPECT(place.table.mm == &a.mm());
            OBJR_EXPECT_EQ(place.address, at(n));
            OBJR_EXPECT(place.table.get(place.address) == a.pte(n));
            OBJR_EXPECT(ChainEntry::of(place).same_place(head_of(world, *a.page(n)).entry()));
        }
        OBJR_ASSERT(a.fork_to(b));
        u32 of_a = 0;
        u32 of_b = 0;
        world->pte_chains->each(world->pool.number(*a.page(512)), [&](ChainEntry entry) {
            of_a += entry.place().table.mm == &a.mm() ? 1 : 0;
            of_b += entry.place().table.mm == &b.mm() ? 1 : 0;
            OBJR_EXPECT_EQ(entry.place().address, at(512));
        });
        OBJR_EXPECT(of_a == 1 && of_b == 1);
    }
}

// On the host every allocation that may sleep is checked to be outside spin locks.
OBJR_TEST(spec_H2_memory_for_the_second_mapping) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations are not counted here");
    }
    TestWorld world(test, 1, 4, "pte_chain");
    Object object(test, world, "second", 8);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 8) && a.map(8, 16, kShared, object.get(), 0) && b.map(8, 16, kShared, object.get(), 0));
    a.store(0, 1); // the tables
    a.store(8, 1);
    b.store(9, 1);
    objr_test_fail_nth_allocation(0);
    a.store(1, 1); // anonymous
    OBJR_EXPECT_EQ(objr_test_allocations(), 0);
    objr_test_fail_nth_allocation(0);
    OBJR_EXPECT_EQ(b.load(8), 1); // the second mapping of a page of the object
    OBJR_EXPECT_EQ(objr_test_allocations(), 1);
    OBJR_EXPECT_EQ(blocks(world), 1);
    objr_test_fail_nth_allocation(0);
    b.store(8, 2); // no mapping more
    OBJR_EXPECT_EQ(objr_test_allocations(), 0);
    OBJR_EXPECT_EQ(a.load(9), 1);
    OBJR_EXPECT_EQ(blocks(world), 2);
}

OBJR_TEST(spec_H2_fork_without_memory) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    constexpr u64 kPages = 24; // more than fork gets memory for at once
    TestWorld world(test, 1, 4, "pte_chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, kPages));
    for (u64 n = 0; n < kPages; n++) {
        a.store(n, n);
    }
    unsigned failures = 0;
    for (bool reached = true; reached && !objr_test_failed(test); failures++) {
        objr_test_fail_nth_allocation(failures + 1);
        const Status status = a.fork_to(b);
        reached = objr_test_allocations() > failures;
        objr_test_fail_nth_allocation(0);
        OBJR_EXPECT_EQ(status.as_int(), reached ? -OBJR_ENOMEM : 0);
        OBJR_EXPECT_EQ(b.mm().vma_count(), reached ? 0 : 1);
        for (u64 n = 0; n < kPages; n++) {
            collapse(world, *a.page(n)); // what went back to one mapping had its block yet
            OBJR_EXPECT_EQ(length(world, *a.page(n)), reached ? 1 : 2);
            OBJR_EXPECT_EQ(a.page(n)->mappings(), reached ? 1 : 2);
        }
        OBJR_EXPECT_EQ(blocks(world), reached ? 0 : kPages);
        OBJR_EXPECT(world.verify());
    }
    OBJR_EXPECT(failures > kPages);
    a.store(3, 33);
    OBJR_EXPECT_EQ(b.load(3), 3);
}

OBJR_TEST(spec_H2_file_fault_without_memory) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test, 1, 4, "pte_chain");
    Object object(test, world, "short", 4);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0) && b.map(0, 4, kShared, object.get(), 0));
    a.store(0, 7);
    OBJR_EXPECT_EQ(b.load(1), 0); // its tables
    Page& page = *a.page(0);
    objr_test_fail_nth_allocation(1);
    OBJR_EXPECT_EQ(b.try_load(0), -OBJR_ENOMEM);
    objr_test_fail_nth_allocation(0);
    OBJR_EXPECT(b.pte(0).is_none() && !page.locked());
    OBJR_EXPECT(head_of(world, page).is_direct());
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(b.load(0), 7);
    expect_exact(test, world, page, 2);
}

// ---- H3: late collapse; moves and nonlinear mappings need nothing of their own

OBJR_TEST(spec_H3_collapse_is_late) {
    TestWorld world(test, 1, 4, "pte_chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    collapse(world, page);
    OBJR_EXPECT(head_of(world, page).is_direct());
    OBJR_ASSERT(a.fork_to(b));
    collapse(world, page); // two are left
    OBJR_EXPECT_EQ(length(world, page), 2);
    b.exit();
    OBJR_EXPECT_EQ(length(world, page), 1);
    OBJR_EXPECT(!head_of(world, page).is_direct());
    OBJR_EXPECT_EQ(blocks(world), 1);
    collapse(world, page);
    OBJR_EXPECT(head_of(world, page).is_direct());
    OBJR_EXPECT_EQ(blocks(world), 0);
    expect_exact(test, world, page, 1);
}

OBJR_TEST(spec_H3_moved_entries) {
    TestWorld world(test, 1, 4, "pte_chain");
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4));
    a.store(1, 11);
    a.store(2, 22);
    OBJR_ASSERT(a.fork_to(b));
    a.store(2, 23); // its own: direct
    Page& shared = *a.page(1);
    Page& own = *a.page(2);
    OBJR_ASSERT(a.mm().move(at(0), at(510), 4 * kPageSize, nullptr)); // over the end of a table
    OBJR_EXPECT_EQ(head_of(world, own).entry().place().address, at(512));
    expect_exact(test, world, shared, 2);
    expect_exact(test, world, own, 1);
    OBJR_EXPECT(world.verify());
    OBJR_ASSERT(a.mm().move(at(511), at(0), 2 * kPageSize, nullptr));
    expect_exact(test, world, shared, 2);
    OBJR_EXPECT_EQ(a.load(1), 23);
    OBJR_EXPECT_EQ(b.load(1), 11);
}

OBJR_TEST(spec_H3_nonlinear_entries) {
    constexpr u64 kPages = 8;
    TestWorld world(test, 1, 4, "pte_chain");
    Object object(test, world, "backwards", kPages);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, kPages, kShared, object.get(), 0) && b.map(100, 100 + kPages, kShared, object.get(), 0));
    for (u64 n = 0; n < kPages; n++) { // backwards
        OBJR_ASSERT(a.mm().remap(at(n), kPageSize, kPages - 1 - n, Populate::no));
        a.store(n, n);
        OBJR_EXPECT_EQ(b.load(100 + kPages - 1 - n), n);
    }
    for (u64 n = 0; n < kPages; n++) {
        OBJR_EXPECT(a.page(n) == b.page(100 + kPages - 1 - n));
        expect_exact(test, world, *a.page(n), 2); // nothing is scanned
    }
}

// ---- H4: what a walk costs, and what fork does

OBJR_TEST(spec_H4_walk_costs_the_mappings) {
    constexpr u32 kChildren = 20;
    TestWorld world(test, 1, 4, "pte_chain");
    Processes all(test, world, kChildren + 1);
    OBJR_ASSERT(all && all[0].map(0, 4));
    for (u64 n = 0; n < 4; n++) {
        all[0].store(n, n);
    }
    for (u32 n = 1; n <= kChildren; n++) {
        OBJR_ASSERT(all[0].fork_to(all[n]));
        all[n].store(2, n); // a copy each
    }
    for (u32 n = 0; n <= kChildren; n++) {
        expect_exact(test, world, *all[n].page(2), 1);
    }
    Page& shared = *all[0].page(1);
    WalkCost cost;
    {
        PageLock lock(shared);
        u32 seen = 0;
        rmap_walk(*world, shared, EarlyStop::no, cost,
                  [&seen](const Mapping&) { return ++seen < 5 ? Visit::go_on : Visit::stop; });
    }
    OBJR_EXPECT_EQ(cost.candidates, 5);
    OBJR_EXPECT(cost.stop == StopReason::visitor);
    expect_exact(test, world, shared, kChildren + 1); // what the walk before has left behind is nothing to this one
}

OBJR_TEST(spec_H4_fork_touches_every_page) {
    if (!objr_test_can_fail_allocations()) {
        OBJR_TEST_SKIP("allocations are not counted here");
    }
    constexpr u64 kPages = 150;
    TestWorld world(test, 1, 4, "pte_chain");
    Process a(test, world);
    Process few(test, world);
    Process many(test, world);
    OBJR_ASSERT(a.map(0, kPages));
    a.store(0, 0);
    objr_test_fail_nth_allocation(0);
    OBJR_ASSERT(a.fork_to(few));
    const unsigned with_one_page = objr_test_allocations();
    few.exit();
    for (u64 n = 0; n < kPages; n++) {
        a.store(n, n);
    }
    objr_test_fail_nth_allocation(0);
    OBJR_ASSERT(a.fork_to(many));
    OBJR_EXPECT(objr_test_allocations() >= with_one_page + kPages - 16); // but for what fork gets at least
    OBJR_EXPECT_EQ(blocks(world), kPages);
    many.exit();
    OBJR_EXPECT_EQ(blocks(world), kPages); // until page_referenced comes by
}

// A walk of made-up chains, with entries that come, go and move between its looks: each one that is there is collected once.
OBJR_TEST(spec_H4_entries_are_collected_once) {
    enum : u8 { absent, present, collected };
    constexpr u32 kSlots = 128;
    TestWorld world(test, 1, 4, "pte_chain");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    PageTable& table = *a.mm().tables().leaf(at(0));
    PteChains& chains = *world->pte_chains;
    const u32 page = 0; // nobody's: the pool gives from its end
    OBJR_ASSERT(world->pool.page(page).has(PageFlag::free));
    u8 state[kSlots] = {};
    auto entry = [&table](u64 slot) { return ChainEntry::of({table, at(slot)}); };
    auto change = [&](u64 slot, u64 other) {
        if (state[slot] == absent) {
            add(test, world, page, entry(slot), Moved::forget);
            state[slot] = present;
        } else if (state[other] == absent) {
            OBJR_EXPECT(chains.replace(page, entry(slot), entry(other)));
            state[other] = state[slot];
            state[slot] = absent;
        } else {
            OBJR_EXPECT(remove(world, page, entry(slot)));
            state[slot] = absent;
        }
    };
    Random random(5);
    for (u32 round = 0; round < (__STDC_HOSTED__ ? 300 : 40) && !objr_test_failed(test); round++) {
        u64 changes = 150;
        for (u8& slot : state) {
            if (slot == collected) {
                slot = present;
            }
        }
        ChainWalk walk(chains, page);
        ChainWalk::Found found[4];
        for (u32 count; (count = walk.collect(found, 1 + static_cast<u32>(random.below(4)))) != 0;) {
            for (u32 i = 0; i < count; i++) {
                const u64 slot = (found[i].address - at(0)) >> kPageShift;
                OBJR_EXPECT(found[i].mm == &a.mm() && slot < kSlots && state[slot] == present);
                state[slot % kSlots] = collected;
                found[i].mm->put();
            }
            for (u64 n = random.below(8); n != 0 && changes != 0; n--, changes--) {
                change(random.below(kSlots), random.below(kSlots));
            }
        }
        for (u8 slot : state) {
            OBJR_EXPECT(slot != present);
        }
        for (u64 n = random.below(20); n != 0; n--) {
            change(random.below(kSlots), random.below(kSlots));
        }
        u64 counted = 0;
        OBJR_EXPECT(chains.check(page, &counted) == nullptr);
        OBJR_EXPECT_EQ(counted, blocks(world));
    }
    for (u64 slot = 0; slot < kSlots; slot++) {
        while (state[slot] != absent) {
            change(slot, slot);
        }
    }
    OBJR_EXPECT(chains.head(page).is_none());
}

// The place where a walk would look on is one where nothing is left; what has come meanwhile stands before it.
OBJR_TEST(spec_H4_a_walk_begins_again) {
    TestWorld world(test, 1, 4, "pte_chain");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    PageTable& table = *a.mm().tables().leaf(at(0));
    const u32 page = 0; // nobody's
    auto entry = [&table](u64 slot) { return ChainEntry::of({table, at(slot)}); };
    for (u64 slot = 0; slot < 8; slot++) { // the eighth alone in the first block
        add(test, world, page, entry(slot), Moved::forget);
    }
    {
        ChainWalk walk(*world->pte_chains, page);
        ChainWalk::Found found[8];
        auto let_go = [&found](u32 count) {
            for (u32 i = 0; i < count; i++) {
                found[i].mm->put();
            }
        };
        OBJR_ASSERT_EQ(walk.collect(found, 7), 7); // all but the first that came
        let_go(7);
        OBJR_EXPECT(remove(world, page, entry(0))); // one that has been seen takes its place
        add(test, world, page, entry(9), Moved::forget);
        OBJR_ASSERT_EQ(walk.collect(found, 7), 1);
        OBJR_EXPECT_EQ(found[0].address, at(9));
        let_go(1);
        OBJR_EXPECT_EQ(walk.collect(found, 7), 0);
    }
    for (u64 slot : {1, 2, 3, 4, 5, 6, 7, 9}) {
        OBJR_EXPECT(remove(world, page, entry(slot)));
    }
}

// ---- P1, M6, migration

OBJR_TEST(spec_P1_chain_of_a_page_twice_in_one_mm) {
    TestWorld world(test, 1, 4, "pte_chain");
    Object object(test, world, "twice", 2);
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 2, kShared, object.get(), 0) && a.map(8, 10, kShared, object.get(), 0));
    a.store(0, 1);
    OBJR_EXPECT_EQ(a.load(8), 1);
    Page& page = *a.page(0);
    OBJR_EXPECT(a.page(8) == &page);
    u64 addresses = 0;
    {
        WalkCost cost;
        PageLock lock(page);
        rmap_walk(*world, page, EarlyStop::no, cost, [&](const Mapping& mapping) {
            addresses += mapping.address - at(0);
            return Visit::go_on;
        });
    }
    OBJR_EXPECT_EQ(addresses, 8 * kPageSize);
    expect_exact(test, world, page, 2);
    OBJR_ASSERT(a.unmap(0, 2));
    expect_exact(test, world, page, 1);
}

OBJR_TEST(spec_M6_pte_chain_contended) {
    TestWorld world(test, 1, 4, "pte_chain");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    PageLock lock(page);
    const WalkOptions options{EarlyStop::yes, Locking::try_only};
    auto walk = [&] {
        WalkCost cost;
        rmap_walk(*world, page, options, cost, [](const Mapping&) { return Visit::go_on; });
        return cost;
    };
    {
        RangeChange change(*a.vma(0));
        const WalkCost cost = walk();
        OBJR_EXPECT(cost.stop == StopReason::contended && cost.hits == 0 && cost.lock_waits == 1);
    }
    {
        Guard tree(a.mm().tree_lock()); // somebody maps or unmaps there
        const WalkCost cost = walk();
        OBJR_EXPECT(cost.stop == StopReason::contended && cost.hits == 0 && cost.lock_waits == 1);
    }
    const WalkCost cost = walk();
    OBJR_EXPECT(cost.stop == StopReason::mapcount && cost.hits == 1 && cost.lock_waits == 0);
}

// Where a page has given its entries to another one, who clears, moves or copies one of them may still name the first.
OBJR_TEST(spec_H2_entries_change_their_page) {
    TestWorld world(test, 1, 4, "pte_chain");
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 1));
    a.store(0, 1);
    PageTable& table = *a.mm().tables().leaf(at(0));
    PteChains& chains = *world->pte_chains;
    auto entry = [&table](u64 slot) { return ChainEntry::of({table, at(slot)}); };
    struct Pair {
        u32 from;
        u32 to;
    };
    for (auto [from, to] : {Pair{3, 9}, Pair{9, 3}, Pair{9, 73}}) { // up, down, of one lock
        add(test, world, from, entry(10), Moved::forget);
        add(test, world, from, entry(11), Moved::forget);
        chains.move(from, to);
        OBJR_EXPECT(chains.head(from).is_moved() && chains.owner(from) == to && chains.owner(to) == to);
        OBJR_EXPECT(remove(world, from, entry(10)));
        OBJR_EXPECT(chains.replace(from, entry(11), entry(12)));
        add(test, world, from, entry(13), Moved::follow);
        OBJR_EXPECT(!remove(world, to, entry(11)));
        OBJR_EXPECT(remove(world, to, entry(12)));
        add(test, world, from, entry(14), Moved::forget); // it begins a new life
        OBJR_EXPECT(chains.head(from).is_direct() && chains.owner(from) == from);
        OBJR_EXPECT(!remove(world, from, entry(13)) && remove(world, from, entry(14)) && remove(world, to, entry(13)));
        OBJR_EXPECT(chains.head(from).is_none() && chains.head(to).is_none());
    }
}

// ---- what verify sees

OBJR_TEST(verify_sees_broken_pte_chains) {
    TestWorld world(test, 1, 4, "pte_chain");
    Processes all(test, world, 9);
    OBJR_ASSERT(all && all[0].map(0, 4));
    all[0].store(0, 1);
    all[0].store(1, 2);
    for (u32 n = 1; n < 9; n++) {
        OBJR_ASSERT(all[0].fork_to(all[n]));
    }
    PteChains& chains = *world->pte_chains;
    Page& page = *all[0].page(0);
    const u32 number = world->pool.number(page);
    PageTable& table = *all[0].mm().tables().leaf(at(0));
    const ChainEntry right = ChainEntry::of({table, at(0)});
    const ChainEntry other = ChainEntry::of({table, at(1)}); // of page 1
    auto no_block = [] { return static_cast<ChainBlock*>(nullptr); }; // the first block has room
    Text text(test);
    OBJR_ASSERT(text);
    auto expect_bad = [&](const char* reported) {
        OBJR_EXPECT_EQ(text.verify(world), 1);
        OBJR_EXPECT_TEXT(text.c_str(), reported);
    };
    OBJR_EXPECT(!chains.remove(number, right).emptied);
    expect_bad("bad scheme pte_chain: H2: chains have entries");
    chains.add(number, other, Moved::forget, no_block);
    expect_bad("bad scheme pte_chain: H2: chains have entries");
    OBJR_EXPECT(chains.replace(number, other, right));
    OBJR_EXPECT(world.verify());

    chains.add(number, right, Moved::forget, no_block);
    expect_bad("bad scheme pte_chain: H2: chains have entries");
    OBJR_EXPECT(chains.remove(number, right).found);
    OBJR_EXPECT(world.verify());

    ChainBlock& full = *chains.head(number).first()->next;
    const ChainEntry kept = full.entries[3];
    full.entries[3] = ChainEntry();
    expect_bad("bad scheme pte_chain: H1: a free place");
    full.entries[3] = full.entries[0];
    full.entries[0] = ChainEntry();
    expect_bad("bad scheme pte_chain: H1: a block is empty");
    full.entries[0] = full.entries[3];
    full.entries[3] = kept;
    world->counters.add(Count::pte_chain_blocks);
    expect_bad("bad scheme pte_chain: S1: ");
    world->counters.sub(Count::pte_chain_blocks);
    OBJR_EXPECT(world.verify());
}
