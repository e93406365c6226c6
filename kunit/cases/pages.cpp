// SPDX-License-Identifier: GPL-2.0
// pages.cpp: spec P: pages, PTEs, tables; U8: nobody sees another's data.
#include "fixture.h"

using namespace objr;
using namespace objr::test;

// ---- P1, P2: counting, and the two meanings of one word

OBJR_TEST(spec_P1_mapcount) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(world && a.alive() && b.alive());
    OBJR_ASSERT(a.map(0, 4));
    a.store(1, 7);
    Page* page = a.page(1);
    OBJR_ASSERT(page != nullptr);
    OBJR_EXPECT_EQ(page->mapcount.load(), 0);
    OBJR_EXPECT(page->mapped());
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(page->mapcount.load(), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, *page), 2);
    a.exit();
    OBJR_EXPECT_EQ(page->mapcount.load(), 0);
    OBJR_EXPECT_EQ(b.load(1), 7);
    b.exit();
    OBJR_EXPECT_EQ(page->mapcount.load(), -1);
    OBJR_EXPECT(page->has(PageFlag::free));
}

OBJR_TEST(spec_P1_mapped_twice_in_one_mm) {
    TestWorld world(test);
    Object object(test, world, "twice", 4);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.alive());
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0));
    OBJR_ASSERT(a.map(100, 104, kShared, object.get(), 0));
    a.store(2, 5);
    OBJR_EXPECT_EQ(a.load(102), 5);
    Page* page = a.page(2);
    OBJR_ASSERT(page != nullptr && page == a.page(102));
    OBJR_EXPECT_EQ(page->mapcount.load(), 1);
    OBJR_EXPECT_EQ(count_mappers(*world, *page), 2);
}

OBJR_TEST(spec_P2_mapping_word) {
    TestWorld world(test);
    Object object(test, world, "word", 4);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.alive() && b.alive());
    OBJR_ASSERT(a.map(0, 4));
    OBJR_ASSERT(a.map(100, 104, kShared, object.get(), 0));
    a.store(3, 1);
    a.store(101, 2);
    Page* anon = a.page(3);
    Page* file = a.page(101);
    OBJR_ASSERT(anon && file);
    OBJR_EXPECT(anon->mapping().is_anon() && !anon->mapping().is_file());
    if (world.is("classic") || world.is("chain")) {
        OBJR_EXPECT(anon->mapping().anon_vma() == a.vma(3)->anon_vma);
        OBJR_EXPECT_EQ(anon->index, a.vma(3)->pgoff_of(at(3)));
    }
    OBJR_EXPECT(file->mapping().is_file() && !file->mapping().is_anon());
    OBJR_EXPECT(file->mapping().file_mapping() == object.get());
    OBJR_EXPECT_EQ(file->index, 1);
    // Later maps only count.
    const MappingWord before = anon->mapping();
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT(anon->mapping() == before);
    // A file page keeps its mapping while it is in the cache, mapped or not.
    a.exit();
    b.exit();
    OBJR_EXPECT(file->mapping().file_mapping() == object.get());
    OBJR_EXPECT(!file->mapped());
    object.close();
    OBJR_EXPECT(file->mapping().is_none());
}

// ---- P3: where a page would be

OBJR_TEST(spec_P3_address_of_page_in_vma) {
    Vma vma;
    vma.start = at(10);
    vma.end = at(20);
    vma.pgoff = 5;
    Vaddr address;
    OBJR_EXPECT(vma.address_of(5, &address));
    OBJR_EXPECT_EQ(address, at(10));
    OBJR_EXPECT(vma.address_of(14, &address));
    OBJR_EXPECT_EQ(address, at(19));
    OBJR_EXPECT(!vma.address_of(4, &address));
    OBJR_EXPECT(!vma.address_of(15, &address));
    OBJR_EXPECT(!vma.address_of(~0ull, &address));
    vma.pgoff = ~0ull - 9; // the last ten pages that there can be
    OBJR_EXPECT(vma.address_of(~0ull, &address));
    OBJR_EXPECT_EQ(address, at(19));
    OBJR_EXPECT(!vma.address_of(0, &address));
}

// The LegoOS author's doubt: 'always the same offset from vm_start?' No: pgoff answers for each Vma.
OBJR_TEST(spec_P3_windows_at_different_offsets) {
    TestWorld world(test);
    Object object(test, world, "windows", 16);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(object.get() && c.alive());
    OBJR_ASSERT(a.map(0, 16, kShared, object.get(), 0)); // page 9 of the object at page 9
    OBJR_ASSERT(b.map(40, 44, kShared, object.get(), 8)); // at 41
    OBJR_ASSERT(c.map(7, 8, kShared, object.get(), 9)); // at 7
    OBJR_ASSERT(c.map(70, 76, kShared, object.get(), 2)); // does not reach it: 2 .. 7
    a.store(9, 99);
    OBJR_EXPECT_EQ(b.load(41), 99);
    OBJR_EXPECT_EQ(c.load(7), 99);
    c.store(70, 1);
    WalkCost cost;
    OBJR_EXPECT_EQ(count_mappers(*world, *a.page(9), &cost), 3);
    OBJR_EXPECT_EQ(cost.candidates, 3);
}

// ---- P4: a candidate is not a mapping

OBJR_TEST(spec_P4_candidate_is_no_mapping) {
    TestWorld world(test);
    Process parent(test, world);
    Process child(test, world);
    OBJR_ASSERT(child.alive() && parent.map(0, 4));
    parent.store(0, 1);
    OBJR_ASSERT(parent.fork_to(child));
    child.store(0, 2); // its own page now, at the same address: the child is a candidate for the parent's page
    Page* page = parent.page(0);
    const u32 relatives = world.is("pte_chain") ? 0 : 1; // which has no candidates but mappings
    WalkCost cost;
    OBJR_EXPECT_EQ(count_mappers(*world, *page, &cost), 1);
    OBJR_EXPECT_EQ(cost.candidates, 1 + relatives);
    OBJR_EXPECT_EQ(cost.hits, 1);
    OBJR_EXPECT_EQ(cost.false_hits, relatives);
}

// ---- P5: every encoding

OBJR_TEST(spec_P5_pte_present) {
    for (u64 pfn = 1; pfn < 1ull << 40; pfn = pfn * 3 + 1) {
        const u64 bits = Pte::kWrite | Pte::kUser | Pte::kAccessed | Pte::kNoExecute;
        Pte pte = Pte::present(Pfn(pfn), bits);
        OBJR_ASSERT_EQ(pte.pfn(), pfn);
        OBJR_ASSERT(pte.is_present() && pte.writable() && pte.user() && pte.young() && !pte.dirty() &&
                    !pte.executable());
        OBJR_ASSERT(!pte.is_swap() && !pte.is_file() && !pte.is_migration() && !pte.is_none());
        OBJR_ASSERT_EQ(pte.word() & ~Pte::kPfnMask, bits | Pte::kPresent);
    }
    OBJR_EXPECT_EQ(Pte::present(Pfn((1ull << 40) - 1), 0).pfn(), (1ull << 40) - 1);
}

OBJR_TEST(spec_P5_pte_not_present) {
    for (u32 type = 0; type < Pte::kSwapTypes; type++) {
        for (u64 offset = 0; offset < Pte::kSwapOffsets; offset = offset * 5 + 1) {
            Pte pte = Pte::swap({type, offset});
            OBJR_ASSERT(pte.is_swap() && !pte.is_file() && !pte.is_migration() && !pte.is_present() && !pte.is_none());
            OBJR_ASSERT((pte.swap_entry() == SwapEntry{type, offset}));
        }
        OBJR_ASSERT((Pte::swap({type, Pte::kSwapOffsets - 1}).swap_entry() == SwapEntry{type, Pte::kSwapOffsets - 1}));
    }
    for (u64 pgoff = 0; pgoff < Pte::kFilePgoffs; pgoff = pgoff * 7 + 1) {
        Pte pte = Pte::file(Pgoff(pgoff));
        OBJR_ASSERT(pte.is_file() && !pte.is_swap() && !pte.is_migration() && !pte.is_present() && !pte.is_none());
        OBJR_ASSERT_EQ(pte.file_pgoff(), pgoff);
    }
    OBJR_EXPECT_EQ(Pte::file(Pgoff(Pte::kFilePgoffs - 1)).file_pgoff(), Pte::kFilePgoffs - 1);
    for (u64 pfn = 0; pfn < 1ull << 40; pfn = pfn * 3 + 1) {
        for (bool write : {false, true}) {
            Pte pte = Pte::migration(Pfn(pfn), write);
            OBJR_ASSERT(pte.is_migration() && !pte.is_swap() && !pte.is_file() && !pte.is_present() && !pte.is_none());
            OBJR_ASSERT_EQ(pte.pfn(), pfn);
            OBJR_ASSERT(pte.migration_write() == write);
        }
    }
}

OBJR_TEST(spec_P5_rights_in_the_tables) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive());
    OBJR_ASSERT(a.map(0, 1, kReadOnly));
    OBJR_ASSERT(a.map(10, 11, kReadWrite));
    OBJR_ASSERT(a.map(20, 21, kReadOnly | OBJR_VM_EXEC));
    OBJR_ASSERT(a.map(30, 31, OBJR_VM_MAYWRITE));
    OBJR_EXPECT_EQ(a.try_store(0, 1), -OBJR_EACCES);
    OBJR_EXPECT_EQ(a.load(0), 0);
    OBJR_EXPECT(!a.pte(0).writable() && !a.pte(0).dirty() && a.pte(0).young() && !a.pte(0).executable());
    OBJR_EXPECT_EQ(a.try_store(0, 1), -OBJR_EACCES);
    a.store(10, 3);
    OBJR_EXPECT(a.pte(10).writable() && a.pte(10).dirty() && a.pte(10).young());
    u64 value = 1;
    OBJR_EXPECT_EQ(a.cpu().fetch(a.mm(), at(10), &value).as_int(), -OBJR_EACCES);
    OBJR_EXPECT_EQ(a.cpu().fetch(a.mm(), at(20), &value).as_int(), 0);
    OBJR_EXPECT_EQ(value, 0);
    OBJR_EXPECT_EQ(a.try_load(30), -OBJR_EACCES);
    OBJR_EXPECT_EQ(a.try_load(31), -OBJR_EFAULT);
}

OBJR_TEST(spec_P5_five_levels) {
    TestWorld world(test, 1, 5);
    OBJR_ASSERT(world);
    Process a(test, world);
    OBJR_ASSERT(a.alive());
    const Vaddr high = a.mm().address_end() - 2 * kPageSize;
    OBJR_EXPECT_EQ(a.mm().address_end(), 1ull << 56);
    OBJR_ASSERT(a.mm().map(high, a.mm().address_end(), 0, kReadWrite, nullptr, nullptr));
    OBJR_EXPECT(!a.mm().map(a.mm().address_end(), a.mm().address_end() + kPageSize, 0, kReadWrite, nullptr, nullptr));
    OBJR_EXPECT_EQ(a.cpu().store(a.mm(), high + kPageSize, 11).as_int(), 0);
    u64 value = 0;
    OBJR_EXPECT_EQ(a.cpu().load(a.mm(), high + kPageSize, &value).as_int(), 0);
    OBJR_EXPECT_EQ(value, 11);
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 5);
}

// ---- P6: tables come and go

OBJR_TEST(spec_P6_tables_on_need) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive());
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 1);
    OBJR_ASSERT(a.map(0, 2048));
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 1);
    a.store(0, 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 4);
    a.store(511, 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 4);
    a.store(512, 1);
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 5);
    OBJR_ASSERT(a.unmap(0, 512));
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 4);
    OBJR_ASSERT(a.unmap(512, 700)); // the table still serves what is left of the Vma
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 4);
    OBJR_ASSERT(a.unmap(700, 2048));
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 1);
}

OBJR_TEST(spec_P6_tables_of_neighbours) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive());
    OBJR_ASSERT(a.map(0, 10));
    OBJR_ASSERT(a.map(500, 520)); // from one table into the next
    a.store(5, 1);
    a.store(505, 2);
    a.store(515, 3);
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 5);
    OBJR_ASSERT(a.unmap(500, 520)); // the first table is shared with the other Vma
    OBJR_EXPECT_EQ(world->counters.sum(Count::table_pages), 4);
    OBJR_EXPECT_EQ(a.load(5), 1);
}

// ---- U8: fresh pages are zero

OBJR_TEST(spec_U8_pages_are_zeroed) {
    TestWorld world(test);
    OBJR_ASSERT(world);
    for (u64 round = 0; round < 3; round++) {
        Process a(test, world);
        OBJR_ASSERT(a.map(0, 256));
        for (u64 page = 0; page < world->pool.size(); page++) { // the whole pool
            OBJR_ASSERT_EQ(a.load(page), 0);
            a.store(page, ~page);
        }
        OBJR_ASSERT_EQ(world->pool.free_pages(), 0);
    }
    for (u32 i = 0; i < world->pool.size(); i++) {
        OBJR_ASSERT(world->pool.is_zero(world->pool.page(i)));
    }
}

OBJR_TEST(pool_exhausted) {
    TestWorld world(test, 1, 4, nullptr, 0); // no swap: nothing can be taken away
    OBJR_ASSERT(world);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 1000) && b.alive());
    for (u64 page = 0; page < world->pool.size(); page++) {
        a.store(page, page);
    }
    OBJR_EXPECT_EQ(a.try_store(256, 1), -OBJR_ENOMEM);
    OBJR_EXPECT_EQ(a.try_load(256), -OBJR_ENOMEM);
    OBJR_ASSERT(a.fork_to(b)); // needs no page
    OBJR_EXPECT_EQ(b.try_store(0, 1), -OBJR_ENOMEM);
    OBJR_EXPECT_EQ(b.load(0), 0);
    a.exit(); // b is the last owner now
    OBJR_EXPECT_EQ(b.try_store(0, 1), 0);
    OBJR_EXPECT_EQ(b.load(255), 255);
}

OBJR_TEST(pool_numbers_and_frames) {
    TestWorld world(test, 3);
    OBJR_ASSERT(world);
    Pool& pool = world->pool;
    OBJR_EXPECT_EQ(pool.size(), 768);
    for (u32 i = 0; i < pool.size(); i++) {
        Page& page = pool.page(i);
        OBJR_ASSERT_EQ(pool.number(page), i);
        OBJR_ASSERT(pool.page_of(pool.pfn(page)) == &page);
        OBJR_ASSERT_EQ(reinterpret_cast<u64>(pool.address(page)),
                       objr_direct_map_base + (pool.pfn(page).value << kPageShift));
    }
    OBJR_EXPECT(pool.page_of(Pfn(0)) == nullptr);
    OBJR_EXPECT(pool.page_of(Pfn(~0ull >> 12)) == nullptr);
}

OBJR_TEST(pool_allocates_by_number) {
    TestWorld world(test, 3);
    OBJR_ASSERT(world);
    Pool& pool = world->pool;
    Page* pages[4] = {};
    const u32 ranges[][2] = {{0, ~0u}, {0, 255}, {255, 300}, {700, 767}};
    const u32 numbers[] = {0, 1, 255, 700};
    for (u32 i = 0; i < 4; i++) {
        const Result<Page*> page = pool.allocate_locked_in(ranges[i][0], ranges[i][1]);
        OBJR_ASSERT(page);
        pages[i] = *page;
        OBJR_EXPECT_EQ(pool.number(**page), numbers[i]);
        OBJR_EXPECT((*page)->locked() && !(*page)->has(PageFlag::free) && (*page)->refcount.load() == 1);
    }
    OBJR_EXPECT_EQ(pool.allocate_locked_in(0, 1).as_int(), -OBJR_ENOBUFS);
    OBJR_EXPECT_EQ(pool.allocate_locked_in(768, ~0u).as_int(), -OBJR_ENOBUFS);
    OBJR_EXPECT_EQ(pool.free_sections_at_end(), 0);
    OBJR_EXPECT_EQ(pool.free_pages(), 764);
    for (Page* page : pages) {
        page->unlock();
        pool.put(*page);
    }
    OBJR_EXPECT_EQ(pool.free_sections_at_end(), 3);
}
