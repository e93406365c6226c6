// SPDX-License-Identifier: GPL-2.0
// migrate.cpp: pages that go to another frame under their users, migration entries in life (spec P5, C11), and the revoke with its
// proof (U7).
#include "text_fixture.h"

#include "objrmap/migrate.h"
#include "objrmap/reclaim.h"

using namespace objr;
using namespace objr::test;

namespace {

// Migrate; the new page, which its mappings keep.
Page* moved(objr_test* test, World& world, Page& page, s32 expected = 0) {
    SharedGuard quiesce(world.quiesce);
    Page* fresh = nullptr;
    world.pool.get(page);
    {
        PageLock lock(page);
        const Result<Page*> result = migrate_page(world, page);
        OBJR_EXPECT_EQ(result.as_int(), expected);
        if (result) {
            fresh = *result;
            fresh->unlock();
            world.pool.put(*fresh);
        }
    }
    world.pool.put(page);
    return fresh;
}

Status revoked(World& world, Page& page, RevokeResult& result) {
    SharedGuard quiesce(world.quiesce);
    Status status;
    world.pool.get(page);
    {
        PageLock lock(page);
        status = revoke_page(world, page, {}, result);
        if (result.fresh) {
            result.fresh->unlock();
            world.pool.put(*result.fresh);
        }
    }
    world.pool.put(page);
    return status;
}

void fill(World& world, Page& page, u64 seed) {
    u64* words = static_cast<u64*>(world.pool.address(page));
    for (u64 i = 0; i < kPageSize / sizeof(u64); i++) {
        words[i] = seed + i;
    }
}

bool holds(World& world, const Page& page, u64 seed) {
    const u64* words = static_cast<const u64*>(world.pool.address(page));
    for (u64 i = 0; i < kPageSize / sizeof(u64); i++) {
        if (words[i] != seed + i) {
            return false;
        }
    }
    return true;
}

// The page of mapped entries without its frame.
u64 bits(Pte pte) { return pte.word() & ~Pte::kPfnMask; }

// Out of all page tables, into the swap cache, and no further.
void to_swap_cache(objr_test* test, World& world, Page& page) {
    SharedGuard quiesce(world.quiesce);
    world.pool.get(page);
    {
        PageLock lock(page);
        WalkCost cost;
        OBJR_EXPECT(world.swap.add_to_cache_locked(page));
        OBJR_EXPECT(try_to_unmap(world, page, UnmapMode::revoke, cost).answer == Unmapped::success);
    }
    world.pool.put(page);
}

// A migration that stands still while others go on. It has the page locks all the time; the lock checkers are told otherwise, since
// what others do here is done by the same thread. They must not touch the page, but for its entries.
class Underway : Pinned {
public:
    Underway(objr_test* test, TestWorld& world, Page& page) : world_(*world), page_(page), migration_(*world, page) {
        world_.pool.get(page_);
        page_.lock();
        OBJR_EXPECT_EQ(migration_.start({}).as_int(), 0);
        OBJR_EXPECT_EQ(migration_.unmap().as_int(), 0);
        OBJR_EXPECT(!page_.mapped());
        objr_page_lock_release();
        objr_page_lock_release();
    }
    // nullptr: nobody has it any more
    Page* settle() {
        objr_page_lock_acquire(1);
        objr_page_lock_acquire(1);
        Page& fresh = migration_.settle();
        const bool used = fresh.mapped() || fresh.mapping().is_file() || SwapSpace::cached(fresh);
        fresh.unlock();
        world_.pool.put(fresh);
        let_go();
        return used ? &fresh : nullptr;
    }
    void undo() {
        objr_page_lock_acquire(1);
        objr_page_lock_acquire(1);
        migration_.undo();
        let_go();
    }

private:
    void let_go() {
        page_.unlock();
        world_.pool.put(page_);
    }

    World& world_;
    Page& page_;
    Migration migration_;
};

} // namespace

// ---- the entries themselves

OBJR_TEST(spec_P5_migration_keeps_bits) {
    for (u64 word = 0; word < 1u << 3; word++) {
        for (u64 pfn : {1ull, 0x12345ull, (1ull << 40) - 1}) {
            const u64 kept = ((word & 1) != 0 ? Pte::kWrite : 0) | ((word & 2) != 0 ? Pte::kAccessed : 0) |
                             ((word & 4) != 0 ? Pte::kDirty : 0);
            const Pte present = Pte::present(Pfn(pfn), kept | Pte::kUser);
            for (Pte::Exclusive exclusive : {Pte::Exclusive::no, Pte::Exclusive::yes}) {
                const Pte entry = present.to_migration(exclusive);
                OBJR_EXPECT(entry.is_migration() && !entry.is_present() && !entry.is_swap() && !entry.is_file());
                OBJR_EXPECT_EQ(entry.pfn(), pfn);
                OBJR_EXPECT_EQ(entry.migration_write(), present.writable());
                OBJR_EXPECT_EQ(entry.migration_seen(), kept & (Pte::kAccessed | Pte::kDirty));
                OBJR_EXPECT_EQ(entry.migration_exclusive(), exclusive == Pte::Exclusive::yes);
                const Pte shared = entry.migration_shared();
                OBJR_EXPECT(!shared.migration_write() && !shared.migration_exclusive());
                OBJR_EXPECT_EQ(shared.migration_seen(), entry.migration_seen());
                OBJR_EXPECT(shared.migration_unused().migration_seen() == 0 && shared.pfn() == entry.pfn());
                OBJR_EXPECT(!entry.migration_read_only().migration_write());
                OBJR_EXPECT_EQ(entry.migration_read_only().migration_exclusive(), entry.migration_exclusive());
            }
        }
    }
}

// ---- whole migrations

OBJR_TEST(spec_U7_contents_and_bits_are_kept) {
    TestWorld world(test);
    Processes all(test, world, 3);
    OBJR_PROPAGATE();
    OBJR_ASSERT(all[0].map(0, 4));
    all[0].store(1, 1);
    OBJR_ASSERT(all[0].fork_to(all[1]) && all[1].fork_to(all[2]));
    OBJR_EXPECT_EQ(all[2].load(1), 1); // 0: A and D, 1: nothing, 2: A
    Page& old = *all[0].page(1);
    fill(*world, old, 100);
    old.set(PageFlag::referenced);
    u64 before[3];
    for (u32 n = 0; n < 3; n++) {
        before[n] = bits(all[n].pte(1));
    }
    Page* fresh = moved(test, *world, old);
    OBJR_ASSERT(fresh && fresh != &old);
    OBJR_EXPECT(old.has(PageFlag::free) && world->pool.is_zero(old));
    OBJR_EXPECT(fresh->has(PageFlag::referenced) && fresh->has(PageFlag::dirty));
    OBJR_EXPECT(holds(*world, *fresh, 100));
    OBJR_EXPECT_EQ(count_mappers(*world, *fresh), 3);
    for (u32 n = 0; n < 3; n++) {
        OBJR_EXPECT_EQ(all[n].page(1), fresh);
        OBJR_EXPECT_EQ(bits(all[n].pte(1)), before[n]);
        OBJR_EXPECT_EQ(all[n].load(1), 100);
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::migrations), 1);
    world.verify();
    all[1].store(1, 5); // still copy-on-write
    OBJR_EXPECT_EQ(all[0].load(1), 100);
    OBJR_EXPECT_EQ(all[2].load(1), 100);
    OBJR_EXPECT_EQ(count_mappers(*world, *fresh), 2);
}

// Who may write without a fault may do so afterwards.
OBJR_TEST(spec_U7_exclusive_stays_exclusive) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 1);
    const u64 faults = a.cpu().faults();
    for (u64 n = 2; n < 6; n++) {
        Page* fresh = moved(test, *world, *a.page(0));
        OBJR_ASSERT(fresh != nullptr);
        OBJR_EXPECT(fresh->has(PageFlag::anon_exclusive) && a.pte(0).writable());
        a.store(0, n);
        OBJR_EXPECT_EQ(a.page(0), fresh);
        OBJR_EXPECT_EQ(*static_cast<u64*>(world->pool.address(*fresh)), n);
    }
    OBJR_EXPECT_EQ(a.cpu().faults(), faults);
}

OBJR_TEST(spec_U7_locked_and_young_are_no_obstacle) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 2));
    a.store(0, 1);
    OBJR_ASSERT(a.mm().advise(at(0), at(2), Advice::lock));
    OBJR_EXPECT_EQ(world->counters.sum(Count::locked_pages), 2);
    RevokeResult result;
    Page& old = *a.page(0);
    OBJR_EXPECT_EQ(revoked(*world, old, result).as_int(), 0);
    OBJR_EXPECT(result.to == RevokeResult::Destination::frame && result.certificate.holds());
    OBJR_EXPECT_EQ(result.taken, 1);
    OBJR_EXPECT_EQ(result.certificate.mms, 1);
    OBJR_EXPECT_EQ(result.certificate.entries, 2);
    OBJR_EXPECT(old.has(PageFlag::free) && a.page(0) == result.fresh && a.pte(0).locked());
    OBJR_EXPECT_EQ(world->counters.sum(Count::locked_pages), 2);
    OBJR_EXPECT_EQ(a.load(0), 1);
}

OBJR_TEST(spec_U7_file_page) {
    TestWorld world(test);
    objr_memory_file* memory = objr_memory_file_create("moved", 2 * kPageSize, 2 * kPageSize, 1);
    OBJR_ASSERT(memory != nullptr);
    {
        Result<FileMapping*> opened = FileMapping::of_file(*world, objr_memory_file_open(memory, 1));
        OBJR_ASSERT(opened);
        Object file(*opened);
        Process a(test, world);
        Process b(test, world);
        OBJR_ASSERT(a.alive() && b.alive());
        OBJR_ASSERT(a.map(0, 2, kShared, file.get()) && b.map(8, 10, kReadWrite, file.get()));
        a.store(1, 7);
        OBJR_EXPECT_EQ(b.load(9), 7);
        const u64 before = bits(a.pte(1));
        Page& old = *a.page(1);
        Page* fresh = moved(test, *world, old);
        OBJR_ASSERT(fresh != nullptr);
        OBJR_EXPECT(old.has(PageFlag::free));
        OBJR_EXPECT_EQ(bits(a.pte(1)), before);
        OBJR_EXPECT(a.page(1) == fresh && b.page(9) == fresh);
        Page* found = file->find_page(1);
        OBJR_EXPECT_EQ(found, fresh);
        world->pool.put(*found);
        OBJR_EXPECT_EQ(file->cached_pages(), 1);
        a.store(1, 8); // both see one page
        OBJR_EXPECT_EQ(b.load(9), 8);
        OBJR_ASSERT(file->sync(0, ~0ull, true));
        u64 word = 0;
        objr_memory_file_read(memory, kPageSize, &word, sizeof(word));
        OBJR_EXPECT_EQ(word, 8);
        // Clean and not mapped: from page cache to page cache.
        OBJR_ASSERT(a.unmap(0, 2) && b.unmap(8, 10));
        fresh = moved(test, *world, *fresh);
        OBJR_ASSERT(fresh != nullptr);
        OBJR_ASSERT(a.map(0, 2, kShared, file.get()));
        OBJR_EXPECT_EQ(a.load(1), 8);
        OBJR_EXPECT_EQ(a.page(1), fresh);
        OBJR_ASSERT(file->truncate(kPageSize));
        OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EIO);
    }
    objr_memory_file_destroy(memory);
}

OBJR_TEST(spec_U7_swap_cache_page) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.alive() && b.alive() && a.map(0, 1));
    a.store(0, 1);
    OBJR_ASSERT(a.fork_to(b));
    Page* page = a.page(0);
    fill(*world, *page, 50);
    to_swap_cache(test, *world, *page);
    OBJR_EXPECT(a.pte(0).is_swap() && b.pte(0).is_swap());
    page = moved(test, *world, *page); // not mapped at all
    OBJR_ASSERT(page && SwapSpace::cached(*page));
    OBJR_EXPECT_EQ(a.load(0), 50);
    OBJR_EXPECT(a.page(0) == page && SwapSpace::cached(*page));
    page = moved(test, *world, *page); // mapped by one, needed by the other
    OBJR_ASSERT(page != nullptr);
    OBJR_EXPECT(a.page(0) == page && SwapSpace::cached(*page));
    OBJR_EXPECT_EQ(b.load(0), 50);
    OBJR_EXPECT(b.page(0) == page && !SwapSpace::cached(*page));
    OBJR_EXPECT_EQ(world->swap.used(), 0);
    OBJR_EXPECT(holds(*world, *page, 50));
}

OBJR_TEST(spec_M10_pinned_page_does_not_migrate) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 3);
    Result<Page*> pinned = pin_page(a.mm(), at(0));
    OBJR_ASSERT(pinned);
    Page& page = **pinned;
    const Pte before = a.pte(0);
    moved(test, *world, page, -OBJR_EBUSY);
    OBJR_EXPECT(a.pte(0) == before && page.has(PageFlag::anon_exclusive));
    RevokeResult result;
    OBJR_EXPECT_EQ(revoked(*world, page, result).as_int(), -OBJR_EBUSY);
    OBJR_EXPECT(a.pte(0) == before);
    world.verify();
    unpin_page(*world, page);
    OBJR_EXPECT(moved(test, *world, page) != nullptr);
    OBJR_EXPECT_EQ(a.load(0), 3);
}

OBJR_TEST(spec_U7_no_frame_left) {
    TestWorld world(test);
    Object object(test, world, "full", 1);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1) && a.map(1, 2, kShared, object.get()) && a.map(8, 600));
    a.store(0, 1);
    a.store(1, 2);
    for (u64 n = 8; world->pool.free_pages() != 0; n++) {
        a.store(n, n);
    }
    const Pte before[] = {a.pte(0), a.pte(1)};
    moved(test, *world, *a.page(0), -OBJR_ENOBUFS);
    moved(test, *world, *a.page(1), -OBJR_ENOBUFS);
    RevokeResult result;
    OBJR_EXPECT(a.pte(0) == before[0] && a.pte(1) == before[1]);
    OBJR_EXPECT_EQ(revoked(*world, *a.page(1), result).as_int(), 0);
    OBJR_EXPECT(result.to == RevokeResult::Destination::swap && result.certificate.holds());
    OBJR_EXPECT(a.pte(1).is_none() && object->swapped_pages() == 1 && world->pool.free_pages() == 1);
    OBJR_EXPECT_EQ(a.load(1), 2);
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(revoked(*world, page, result).as_int(), 0);
    OBJR_EXPECT(result.to == RevokeResult::Destination::swap && result.certificate.holds());
    OBJR_EXPECT(page.has(PageFlag::free) && a.pte(0).is_swap());
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT_EQ(revoked(*world, *a.page(0), result).as_int(), 0);
    OBJR_EXPECT_EQ(a.load(0), 1);
}

// A mapping that the reverse map knows nothing of: the proof fails, and everything is as before.
OBJR_TEST(spec_U7_certificate_catches_a_missed_mapping) {
    TestWorld world(test);
    Process a(test, world);
    Process stranger(test, world);
    OBJR_ASSERT(a.alive() && stranger.alive() && a.map(0, 1) && stranger.map(0, 2));
    a.store(0, 9);
    stranger.store(1, 1); // there is a table
    const Pte before = a.pte(0);
    PageTable* table = stranger.mm().tables().leaf(at(0));
    OBJR_ASSERT(table != nullptr);
    {
        Guard guard(table->lock);
        table->set(at(0), before);
    }
    Page& page = *a.page(0);
    RevokeResult result;
    OBJR_EXPECT_EQ(revoked(*world, page, result).as_int(), -OBJR_EIO);
    OBJR_EXPECT_EQ(result.certificate.present, 1);
    OBJR_EXPECT_EQ(result.certificate.mms, 2);
    OBJR_EXPECT(!result.certificate.holds() && !result.fresh);
    OBJR_EXPECT(a.pte(0) == before && page.mappings() == 1);
    Text text(test);
    OBJR_PROPAGATE();
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, page, "", "revoke ").c_str()), -OBJR_EIO);
    OBJR_EXPECT_TEXT(text.c_str(), " failed: undone: a scan of all tables found it mapped yet, 1 times and 0 times in");
    {
        Guard guard(table->lock);
        table->set(at(0), Pte());
    }
    OBJR_EXPECT_EQ(revoked(*world, page, result).as_int(), 0);
    OBJR_EXPECT_EQ(a.load(0), 9);
}

OBJR_TEST(spec_U7_nobodys_page) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 1);
    Page& page = *a.page(0);
    world->pool.get(page);
    a.exit();
    moved(test, *world, page, -OBJR_ENOENT);
    world->pool.put(page);
}

OBJR_TEST(spec_U7_failing_allocations) {
    if (objr_test_can_fail_allocations() == 0) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test);
    Object object(test, world, "tight", 1);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.alive() && b.alive() && a.map(0, 1) && a.map(1, 2, kShared, object.get()));
    a.store(0, 1);
    a.store(1, 2);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(b.load(1), 2);
    bool reached = true;
    for (unsigned n = 1; reached; n++) {
        for (u64 which : {0, 1}) {
            RevokeResult result;
            objr_test_fail_nth_allocation(n);
            const s32 error = revoked(*world, *a.page(which), result).as_int();
            reached = objr_test_allocations() >= n;
            objr_test_fail_nth_allocation(0);
            OBJR_EXPECT(error == 0 || error == -OBJR_ENOMEM);
            OBJR_EXPECT_EQ(a.load(which), which + 1);
            OBJR_EXPECT_EQ(b.load(which), which + 1);
        }
        world.verify();
    }
}

// ---- migration entries in life

OBJR_TEST(spec_P5_fork_during_migration) {
    TestWorld world(test);
    Processes all(test, world, 3);
    OBJR_PROPAGATE();
    OBJR_ASSERT(all[0].map(0, 1));
    all[0].store(0, 4);
    Underway underway(test, world, *all[0].page(0));
    OBJR_EXPECT(all[0].pte(0).is_migration() && all[0].pte(0).migration_write() && all[0].pte(0).migration_exclusive());
    OBJR_EXPECT(all[0].fork_to(all[1]));
    OBJR_EXPECT(all[1].fork_to(all[2]));
    for (u32 n = 0; n < 3; n++) {
        OBJR_EXPECT(all[n].pte(0).is_migration() && !all[n].pte(0).migration_write());
    }
    Page* fresh = underway.settle();
    OBJR_ASSERT(fresh != nullptr);
    OBJR_EXPECT_EQ(fresh->mappings(), 3);
    OBJR_EXPECT(!fresh->has(PageFlag::anon_exclusive));
    OBJR_EXPECT_EQ(count_mappers(*world, *fresh), 3);
    world.verify();
    OBJR_EXPECT(all[0].pte(0).dirty() && !all[1].pte(0).dirty() && !all[1].pte(0).young());
    all[0].store(0, 5);
    OBJR_EXPECT_EQ(all[1].load(0), 4);
    all[1].store(0, 6);
    OBJR_EXPECT_EQ(all[2].load(0), 4);
}

OBJR_TEST(spec_P5_exit_and_munmap_during_migration) {
    TestWorld world(test);
    Processes all(test, world, 3);
    OBJR_PROPAGATE();
    OBJR_ASSERT(all[0].map(0, 2));
    all[0].store(0, 4);
    OBJR_ASSERT(all[0].fork_to(all[1]) && all[0].fork_to(all[2]));
    {
        Underway underway(test, world, *all[0].page(0));
        all[0].exit();
        OBJR_EXPECT(all[1].unmap(0, 1));
        Page* fresh = underway.settle();
        OBJR_ASSERT(fresh != nullptr);
        OBJR_EXPECT(all[2].page(0) == fresh && fresh->mappings() == 1);
        world.verify();
        OBJR_EXPECT_EQ(all[2].load(0), 4);
    }
    {
        Underway underway(test, world, *all[2].page(0));
        all[2].exit();
        OBJR_EXPECT_EQ(underway.settle(), nullptr); // all have gone
    }
    OBJR_EXPECT_EQ(world.used_pages(), 0);
}

OBJR_TEST(spec_P5_mprotect_during_migration) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4));
    for (u64 n = 0; n < 3; n++) {
        a.store(n, n + 1);
        Underway underway(test, world, *a.page(n));
        OBJR_EXPECT(a.mm().protect(at(n), at(n + 1), n == 1 ? 0 : OBJR_VM_READ));
        if (n == 2) {
            OBJR_EXPECT(a.mm().protect(at(n), at(n + 1), OBJR_VM_READ | OBJR_VM_WRITE));
        }
        OBJR_EXPECT(underway.settle() != nullptr);
        OBJR_EXPECT(!a.pte(n).writable() && a.pte(n).user() == (n != 1) && a.pte(n).dirty());
        world.verify();
    }
    OBJR_EXPECT_EQ(a.try_store(0, 7), -OBJR_EACCES);
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EACCES);
    Page* page = a.page(2);
    a.store(2, 8); // its own as before: no copy
    OBJR_EXPECT_EQ(a.page(2), page);
}

OBJR_TEST(spec_P5_mlock_during_migration) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1) && a.map(4, 5));
    a.store(0, 1);
    OBJR_ASSERT(a.mm().advise(at(0), at(1), Advice::lock));
    Underway underway(test, world, *a.page(0));
    OBJR_EXPECT_EQ(world->counters.sum(Count::locked_pages), 0);
    OBJR_EXPECT(a.mm().advise(at(0), at(1), Advice::unlock));
    OBJR_EXPECT(underway.settle() != nullptr);
    OBJR_EXPECT(!a.pte(0).locked());
    world.verify();
}

OBJR_TEST(spec_P5_mremap_during_migration) {
    TestWorld world(test);
    if (world && world.is("anonmm")) {
        OBJR_TEST_SKIP("mremap waits for the migration there");
    }
    Processes all(test, world, 2);
    OBJR_PROPAGATE();
    OBJR_ASSERT(all[0].map(0, 2));
    all[0].store(1, 4);
    OBJR_ASSERT(all[0].fork_to(all[1]));
    Underway underway(test, world, *all[0].page(1));
    OBJR_EXPECT(all[0].mm().move(at(0), at(20), 2 * kPageSize, nullptr));
    OBJR_EXPECT(all[1].mm().move(at(0), at(1000), 2 * kPageSize, nullptr)); // to another table
    OBJR_EXPECT(all[0].pte(21).is_migration() && all[1].pte(1001).is_migration() && all[0].pte(1).is_none());
    Page* fresh = underway.settle();
    OBJR_ASSERT(fresh != nullptr);
    OBJR_EXPECT(all[0].page(21) == fresh && all[1].page(1001) == fresh);
    world.verify();
    OBJR_EXPECT_EQ(all[0].load(21), 4);
    OBJR_EXPECT_EQ(all[1].load(1001), 4);
}

OBJR_TEST(spec_P5_split_and_remap_during_migration) {
    TestWorld world(test);
    Object object(test, world, "windows", 8);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 8, kShared, object.get()));
    for (u64 n = 0; n < 8; n++) {
        a.store(n, n + 1);
    }
    {
        Underway underway(test, world, *a.page(2));
        OBJR_EXPECT(a.mm().split(at(2)));
        OBJR_EXPECT(a.mm().remap(at(5), kPageSize, 1, Populate::no)); // its part of the Vma becomes nonlinear
        OBJR_EXPECT(a.pte(2).is_migration());
        OBJR_EXPECT(underway.settle() != nullptr);
        OBJR_EXPECT(a.pte(2).is_present());
        world.verify();
    }
    {
        Underway underway(test, world,
                          *a.page(3)); // in the nonlinear Vma: a file entry, or what the fault finds by itself
        OBJR_EXPECT(!a.pte(3).is_present() && !a.pte(3).is_migration());
        OBJR_EXPECT(underway.settle() != nullptr);
    }
    {
        Underway underway(test, world, *a.page(1));
        OBJR_EXPECT(a.mm().remap(at(1), kPageSize, 6, Populate::no)); // over the migration entry
        OBJR_EXPECT(a.pte(1).is_file());
        OBJR_EXPECT(underway.settle() != nullptr);
        OBJR_EXPECT(a.pte(1).is_file());
    }
    world.verify();
    static constexpr u64 kShown[] = {1, 7, 3, 4, 5, 2, 7, 8};
    for (u64 n = 0; n < 8; n++) {
        OBJR_EXPECT_EQ(a.load(n), kShown[n]);
    }
}

// It did not come about: whoever came or went meanwhile finds the old page.
OBJR_TEST(spec_P5_undone_migration) {
    TestWorld world(test);
    Processes all(test, world, 4);
    OBJR_PROPAGATE();
    OBJR_ASSERT(all[0].map(0, 1));
    all[0].store(0, 4);
    OBJR_ASSERT(all[0].fork_to(all[1]) && all[0].fork_to(all[2]));
    Page& old = *all[0].page(0);
    Underway underway(test, world, old);
    OBJR_EXPECT(all[1].fork_to(all[3]));
    all[1].exit();
    underway.undo();
    for (u32 n : {0, 2, 3}) {
        OBJR_EXPECT_EQ(all[n].page(0), &old);
    }
    OBJR_EXPECT_EQ(old.mappings(), 3);
    OBJR_EXPECT_EQ(count_mappers(*world, old), 3);
    world.verify();
    all[3].store(0, 5);
    OBJR_EXPECT_EQ(all[0].load(0), 4);
}

// ---- the command

OBJR_TEST(command_revoke) {
    TestWorld world(test);
    Text text(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 3));
    for (u64 n = 0; n < 3; n++) {
        a.store(n, n + 1);
    }
    OBJR_ASSERT(a.fork_to(b));
    Page& old = *a.page(1);
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, old, "", "revoke ").c_str()), 0);
    OBJR_EXPECT_EQ(text.count("\n"), 2);
    OBJR_EXPECT_TEXT(text.c_str(), " mapcount=2 from=0x");
    OBJR_EXPECT_TEXT(text.c_str(), " to=frame taken=2\n");
    OBJR_EXPECT_TEXT(text.c_str(), "\ncertificate mms=2 entries=6 present=0 process_present=0 skipped=0 found=0\n");
    OBJR_EXPECT(old.has(PageFlag::free) && a.page(1) == b.page(1));
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, *a.page(1), " json", "revoke ").c_str()), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "\"to\":\"frame\",\"taken\":2},\"certificate\":{\"mms\":2,");
    OBJR_EXPECT_EQ(text.command(world, "revoke range page 250 255"), 0); // the frames that were given out first
    for (u64 n = 0; n < 3; n++) {
        OBJR_EXPECT(world->pool.number(*a.page(n)) < 250);
        OBJR_EXPECT_EQ(b.load(n), n + 1);
    }
    for (u32 n = 250; n <= 255; n++) {
        OBJR_EXPECT(world->pool.page(n).has(PageFlag::free));
    }
    OBJR_EXPECT_EQ(text.command(world, "revoke range page 0 255"), 0); // nowhere else to go: to others among them
    for (u64 n = 0; n < 3; n++) {
        OBJR_EXPECT_EQ(a.load(n), n + 1);
    }
}

OBJR_TEST(command_migrate) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process a(test, world);
    Process b(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 3));
    for (u64 n = 0; n < 3; n++) {
        a.store(n, n + 1);
    }
    OBJR_ASSERT(a.mm().advise(at(1), at(2), Advice::lock) && a.fork_to(b));
    Page& old = *a.page(1);
    const u64 before = bits(a.pte(1));
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, old, "", "migrate ").c_str()), 0);
    OBJR_EXPECT_EQ(text.count("\n"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "migrate pfn=0x");
    OBJR_EXPECT_TEXT(text.c_str(), " mapcount=2 from=0x");
    OBJR_EXPECT_TEXT(text.c_str(), " taken=2\n");
    OBJR_EXPECT(old.has(PageFlag::free) && a.page(1) == b.page(1) && bits(a.pte(1)) == before);
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, *a.page(1), " json", "migrate ").c_str()), 0);
    OBJR_EXPECT_TEXT(text.c_str(), ",\"taken\":2}}\n");
    OBJR_EXPECT_EQ(text.command(world, "migrate range page 250 255"), 0);
    OBJR_EXPECT_EQ(text.count("migrate pfn="), 3);
    for (u64 n = 0; n < 3; n++) {
        OBJR_EXPECT(world->pool.number(*a.page(n)) < 250);
        OBJR_EXPECT_EQ(b.load(n), n + 1);
    }
    OBJR_EXPECT_EQ(text.command(world, "migrate range page 0 255"), 0); // there is no other place
    a.store(0, 1);
    Result<Page*> pinned = pin_page(a.mm(), at(0));
    OBJR_ASSERT(pinned);
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, **pinned, "", "migrate ").c_str()), -OBJR_EBUSY);
    OBJR_EXPECT_TEXT(text.c_str(), " failed: it is pinned, somebody writes to its frame");
    unpin_page(*world, **pinned);
    OBJR_EXPECT_EQ(text.command(world, "migrate page 3"), -OBJR_ENOENT);
}

OBJR_TEST(command_compact) {
    TestWorld world(test, 3);
    Text text(test);
    OBJR_PROPAGATE();
    Process a(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 768));
    for (u64 n = 0; n < 768; n++) { // the whole pool
        a.store(n, n);
    }
    OBJR_EXPECT_EQ(text.command(world, "compact"), 0); // nowhere to go
    OBJR_EXPECT_TEXT(text.c_str(), "compact moved=0 skipped=0 free_sections=0\n");
    for (u64 n = 0; n < 768; n += 2) {
        OBJR_ASSERT(a.unmap(n, n + 1));
    }
    OBJR_EXPECT_EQ(text.command(world, "compact json"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "{\"compact\":{\"moved\":192,\"skipped\":0,\"free_sections\":1}}\n");
    for (u64 n = 1; n < 768; n += 2) {
        OBJR_ASSERT(world->pool.number(*a.page(n)) < 384);
        OBJR_EXPECT_EQ(a.load(n), n);
    }
    OBJR_EXPECT_EQ(text.command(world, "compact"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "compact moved=0 ");
    OBJR_EXPECT_EQ(text.command(world, "compact page 3"), -OBJR_EINVAL);
    OBJR_EXPECT_TEXT(text.c_str(), "bad word 'page': expected json or the end");
}

OBJR_TEST(compact_every_kind_of_page) {
    TestWorld world(test, 2);
    OBJR_ASSERT(world);
    Object object(test, world, "kinds", 16);
    Processes all(test, world, 2);
    OBJR_PROPAGATE();
    Process& a = all[0];
    OBJR_ASSERT(a.map(0, 16) && a.map(16, 32, kShared, object.get(), 0) && a.map(32, 48, kReadWrite, object.get(), 0));
    for (u64 n = 0; n < 48; n++) {
        a.store(n, n + 100); // of the last range private copies
    }
    OBJR_ASSERT(a.mm().remap(at(16), 4 * kPageSize, 8, Populate::yes)); // nonlinear: pages 8 to 11 twice
    OBJR_ASSERT(a.mm().advise(at(4), at(8), Advice::lock));
    OBJR_ASSERT(a.fork_to(all[1]));
    to_swap_cache(test, *world, *a.page(12));
    OBJR_EXPECT_EQ(a.load(12), 112); // mapped by one, in the swap cache for the other
    a.store(0, 1);
    const Result<Page*> pinned = pin_page(a.mm(), at(0));
    OBJR_ASSERT(pinned);
    u64 before[48];
    for (u64 n = 0; n < 48; n++) {
        before[n] = bits(a.pte(n));
    }
    const u64 faults = a.cpu().faults();
    Compaction compaction;
    OBJR_ASSERT(compact_pool(*world, compaction));
    OBJR_EXPECT_EQ(compaction.skipped, 1);
    OBJR_EXPECT_EQ(compaction.moved, world.used_pages() - 1);
    OBJR_EXPECT_EQ(compaction.free_sections, 0); // the pinned one
    for (u64 n = 0; n < 48; n++) {
        const bool nonlinear = n >= 16 && n < 32; // comes back with a fault
        OBJR_EXPECT(nonlinear || bits(a.pte(n)) == before[n]);
        OBJR_EXPECT(!a.page(n) || a.page(n) == *pinned || world->pool.number(*a.page(n)) < world.used_pages());
    }
    OBJR_EXPECT_EQ(a.cpu().faults(), faults);
    world.verify();
    for (u64 n = 0; n < 48; n++) {
        const u64 expected = n == 0 ? 1 : n >= 16 && n < 20 ? n + 108 : n + 100;
        OBJR_EXPECT_EQ(a.load(n), expected);
        OBJR_EXPECT_EQ(all[1].load(n), n == 0 ? 100 : expected);
    }
    unpin_page(*world, **pinned);
    OBJR_ASSERT(compact_pool(*world, compaction));
    OBJR_EXPECT_EQ(compaction.moved, 1);
    OBJR_EXPECT_EQ(compaction.free_sections, 1);
}
