// SPDX-License-Identifier: GPL-2.0
// writeback.cpp: which pages of a file are dirty, and how they reach it in the background.
#include "memory_file.h"

#include "objrmap/migrate.h"

using namespace objr;
using namespace objr::test;

namespace {

u64 dirty_pages(TestWorld& world) { return static_cast<u64>(world->counters.sum(Count::dirty_pages)); }

u32 writes(MemoryFile& memory) { return objr_memory_file_calls(memory.get(), OBJR_MEMORY_WRITE); }

// What page_mkclean leaves, for who has no Vma at hand.
u32 mkclean(World& world, Page& page) {
    SharedGuard quiesce(world.quiesce);
    PageLock lock(page);
    return page_mkclean(world, page);
}

// The page's own way out of the cache, as reclaim takes it.
bool evict(World& world, FileMapping& file, u64 pgoff) {
    SharedGuard quiesce(world.quiesce);
    Page* page = file.find_page(pgoff);
    if (!page) {
        return false;
    }
    bool gone;
    {
        PageLock lock(*page);
        gone = file.evict_locked(*page);
    }
    world.pool.put(*page);
    return gone;
}

} // namespace

OBJR_TEST(file_dirty_pages_are_marked) {
    TestWorld world(test);
    MemoryFile memory(test, "marks", 8 * kPageSize);
    Object object(memory.open(*world, true));
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get(), 0));
    OBJR_ASSERT(b.map(20, 28, kReadWrite, object.get(), 0));
    OBJR_EXPECT_EQ(a.load(0), MemoryFile::pattern(0));
    b.store(21, 1); // a copy of its own
    OBJR_EXPECT_EQ(dirty_pages(world), 0);
    a.store(0, 1);
    OBJR_EXPECT_EQ(object->dirty_pages(), 1);
    a.store(3, 3); // not read before
    a.store(3, 4);
    OBJR_EXPECT_EQ(object->dirty_pages(), 2);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(mkclean(*world, *a.page(0)), 1); // the page itself is dirty now
    OBJR_EXPECT_EQ(object->dirty_pages(), 2);
    OBJR_EXPECT(world.verify());
    OBJR_ASSERT(a.unmap(3, 4));
    OBJR_EXPECT_EQ(object->dirty_pages(), 2);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT(object->sync(0, 0, false));
    OBJR_EXPECT_EQ(object->dirty_pages(), 1);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT(object->truncate(2 * kPageSize)); // what is cut needs not be written
    OBJR_EXPECT_EQ(dirty_pages(world), 0);
    OBJR_EXPECT_EQ(writes(memory), 1);
}

OBJR_TEST(file_marks_follow_forks_and_migration) {
    TestWorld world(test);
    MemoryFile memory(test, "marks", 8 * kPageSize);
    Object object(memory.open(*world, true));
    Process a(test, world);
    Process child(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get(), 0));
    OBJR_ASSERT(a.mm().remap(at(0), 8 * kPageSize, 0, Populate::no)); // changes nothing: linear
    OBJR_ASSERT(a.mm().remap(at(2), kPageSize, 7, Populate::no));
    a.store(2, 77);
    OBJR_ASSERT(a.fork_to(child)); // the entry is copied as it is
    OBJR_EXPECT_EQ(object->dirty_pages(), 1);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(object->dirty_pages(), 0);
    OBJR_EXPECT(world.verify());
    child.store(2, 78);
    OBJR_EXPECT_EQ(object->dirty_pages(), 1);
    {
        SharedGuard quiesce(world->quiesce);
        Page* old = object->find_page(7);
        OBJR_ASSERT(old);
        old->lock();
        Result<Page*> fresh = migrate_page(*world, *old);
        OBJR_EXPECT(fresh && *fresh != old);
        old->unlock();
        world->pool.put(*old);
        if (fresh) {
            (*fresh)->unlock();
            world->pool.put(**fresh);
        }
    }
    OBJR_EXPECT(world.verify());
    OBJR_ASSERT(a.mm().remap(at(2), kPageSize, 6, Populate::no));
    OBJR_EXPECT(world.verify());
    child.exit();
    OBJR_EXPECT_EQ(object->dirty_pages(), 1);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(memory.word(7), 78);
}

OBJR_TEST(file_written_in_the_background) {
    TestWorld world(test);
    MemoryFile one(test, "one", 16 * kPageSize);
    MemoryFile two(test, "two", 16 * kPageSize);
    Object first(one.open(*world, true));
    Object second(two.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(first.get() && second.get());
    OBJR_ASSERT(a.map(0, 16, kShared, first.get(), 0) && a.map(20, 36, kShared, second.get(), 0));
    OBJR_EXPECT_EQ(write_back_some(*world, 8), 0);
    for (u64 page = 0; page < 16; page++) {
        a.store(page, 100 + page);
        a.store(20 + page, 200 + page);
    }
    OBJR_EXPECT_EQ(first->write_back(4), 4);
    OBJR_EXPECT_EQ(one.word(3), 103);
    OBJR_EXPECT_EQ(one.word(4), MemoryFile::pattern(4));
    a.store(0, 1000); // it goes on behind, and comes back to this
    OBJR_EXPECT_EQ(first->write_back(12), 12);
    OBJR_EXPECT_EQ(one.word(15), 115);
    OBJR_EXPECT_EQ(one.word(0), 100);
    OBJR_EXPECT_EQ(first->write_back(12), 1);
    OBJR_EXPECT_EQ(one.word(0), 1000);
    OBJR_EXPECT_EQ(first->write_back(12), 0);
    OBJR_EXPECT_EQ(objr_memory_file_calls(one.get(), OBJR_MEMORY_SYNC), 0);
    for (u64 page = 0; page < 16; page++) {
        a.store(page, 300 + page);
    }
    OBJR_EXPECT_EQ(dirty_pages(world), 32);
    u64 done = 0;
    for (u32 calls = 0; calls < 8; calls++) {
        done += write_back_some(*world, 8);
    }
    OBJR_EXPECT_EQ(done, 32);
    OBJR_EXPECT_EQ(dirty_pages(world), 0);
    OBJR_EXPECT_EQ(one.word(9), 309);
    OBJR_EXPECT_EQ(two.word(15), 215);
    OBJR_EXPECT_EQ(writes(one), 33);
    OBJR_EXPECT_EQ(writes(two), 16);
    OBJR_EXPECT_EQ(write_back_some(*world, 8), 0);
}

OBJR_TEST(file_background_write_that_fails) {
    TestWorld world(test);
    MemoryFile memory(test, "full", 32 * kPageSize);
    MemoryFile good(test, "good", kPageSize);
    Object object(memory.open(*world, true));
    Object other(good.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 32, kShared, object.get(), 0) && a.map(40, 41, kShared, other.get(), 0));
    for (u64 page = 0; page < 32; page++) {
        a.store(page, page);
    }
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, OBJR_ENOSPC, 2);
    OBJR_EXPECT_EQ(write_back_some(*world, 100), 2);
    const u32 tried = writes(memory);
    OBJR_EXPECT(tried > 2 && tried < 32); // it gives up before all have failed
    OBJR_EXPECT_EQ(object->dirty_pages(), 30);
    a.store(40, 40);
    OBJR_EXPECT_EQ(write_back_some(*world, 100), 1); // the others go on
    const u32 again = writes(memory);
    OBJR_EXPECT(again > tried); // it has written something: one bad page may be among good ones
    OBJR_EXPECT_EQ(write_back_some(*world, 100), 0);
    OBJR_EXPECT_EQ(writes(memory), again); // now it has not, and is left alone for a while
    OBJR_EXPECT(world.verify());
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, 0, 0);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(object->dirty_pages(), 0);
    for (u64 page = 0; page < 32; page++) {
        OBJR_EXPECT_EQ(memory.word(page), page);
    }
}

OBJR_TEST(file_held_is_written_at_last_close) {
    TestWorld world(test);
    MemoryFile memory(test, "held", 4 * kPageSize);
    Object object(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 4, kShared, object.get(), 0));
    a.store(2, 22);
    u64 id = 0;
    FileMapping* held = world->hold_file_from(id);
    OBJR_ASSERT(held == object.get());
    a.exit();
    object.close(); // no user is left
    OBJR_EXPECT_EQ(memory.word(2), 22);
    OBJR_EXPECT_EQ(world->counters.sum(Count::file_mappings), 0);
    OBJR_EXPECT(!world->hold_file_from(id = 0));
    OBJR_EXPECT(world.verify());
    Object again(memory.open(*world, true)); // another object, which reads what was written
    OBJR_ASSERT(again.get() && again.get() != held);
    OBJR_EXPECT_EQ(held->write_back(10), 0);
    held->let_go();
    Process b(test, world);
    OBJR_ASSERT(b.map(0, 4, kShared, again.get(), 0));
    OBJR_EXPECT_EQ(b.load(2), 22);
}

OBJR_TEST(file_clean_pages_can_be_evicted) {
    TestWorld world(test);
    MemoryFile memory(test, "evict", 4 * kPageSize);
    Object object(memory.open(*world, true));
    Object named(test, world, "named", 4);
    Process a(test, world);
    OBJR_ASSERT(object.get() && named.get());
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0) && a.map(10, 14, kShared, named.get(), 0));
    a.store(1, 11);
    a.store(10, 1);
    OBJR_EXPECT_EQ(a.load(2), MemoryFile::pattern(2));
    OBJR_EXPECT(!evict(*world, *object.get(), 2)); // mapped
    OBJR_ASSERT(a.unmap(0, 4) && a.unmap(10, 14));
    OBJR_EXPECT(!evict(*world, *object.get(), 1)); // dirty
    OBJR_EXPECT(!evict(*world, *named.get(), 0)); // it is nowhere else
    const u32 used = world.used_pages();
    Page* mine = object->find_page(2);
    OBJR_ASSERT(mine);
    OBJR_EXPECT(!evict(*world, *object.get(), 2)); // in use
    world->pool.put(*mine);
    OBJR_EXPECT(evict(*world, *object.get(), 2));
    OBJR_EXPECT_EQ(world.used_pages(), used - 1);
    OBJR_EXPECT_EQ(object->write_back(10), 1);
    OBJR_EXPECT(evict(*world, *object.get(), 1));
    OBJR_EXPECT_EQ(object->cached_pages(), 0);
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0));
    OBJR_EXPECT_EQ(a.load(1), 11); // from the file
}

// ---- errors: each descriptor hears of each once

OBJR_TEST(error_sequence) {
    ErrorSequence errors;
    u64 first = errors.sample();
    OBJR_EXPECT_EQ(errors.check(first), 0);
    errors.note(OBJR_EIO);
    u64 late = errors.sample(); // nobody has seen it yet: it hears of it too
    OBJR_EXPECT_EQ(errors.check(first), OBJR_EIO);
    OBJR_EXPECT_EQ(errors.check(first), 0);
    OBJR_EXPECT_EQ(errors.check(late), OBJR_EIO);
    u64 after = errors.sample();
    OBJR_EXPECT_EQ(errors.check(after), 0);
    errors.note(OBJR_ENOSPC);
    errors.note(OBJR_ENOSPC);
    for (u64* sample : {&first, &late, &after}) {
        OBJR_EXPECT_EQ(errors.check(*sample), OBJR_ENOSPC);
        OBJR_EXPECT_EQ(errors.check(*sample), 0);
    }
    errors.note(OBJR_ENOSPC); // the same once more is another
    errors.note(OBJR_EIO); // the last one counts
    OBJR_EXPECT_EQ(errors.check(after), OBJR_EIO);
    OBJR_EXPECT_EQ(errors.check(first), OBJR_EIO);
}

OBJR_TEST(file_errors_once_per_descriptor) {
    TestWorld world(test);
    MemoryFile memory(test, "errors", 4 * kPageSize);
    Object first(memory.open(*world, true));
    Object second(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(first.get() && second.get() && a.map(0, 4, kShared, first.get(), 0));
    auto* object = reinterpret_cast<objr_object*>(first.get());
    u64 one = objr_object_error_sample(object);
    u64 two = objr_object_error_sample(object);
    a.store(0, 1);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, OBJR_ENOSPC, 0);
    OBJR_EXPECT_EQ(write_back_some(*world, 10), 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::write_errors), 1);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, 0, 0);
    // fsync of the one: the write goes well, and the earlier one has failed.
    OBJR_EXPECT_EQ(objr_object_sync(object, 0, ~0ull, 0), 0);
    OBJR_EXPECT_EQ(objr_object_error_check(object, &one), -OBJR_ENOSPC);
    OBJR_EXPECT_EQ(objr_object_error_check(object, &one), 0);
    u64 three = objr_object_error_sample(object); // it has been seen
    OBJR_EXPECT_EQ(objr_object_error_check(object, &three), 0);
    OBJR_EXPECT_EQ(objr_object_error_check(object, &two), -OBJR_ENOSPC);
    // What fails in one's own fsync the others hear of too.
    a.store(0, 2);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_SYNC, OBJR_EIO, 0);
    OBJR_EXPECT_EQ(objr_object_sync(object, 0, ~0ull, 0), -OBJR_EIO);
    OBJR_EXPECT_EQ(objr_object_error_check(object, &one), -OBJR_EIO);
    OBJR_EXPECT_EQ(objr_object_error_check(object, &two), -OBJR_EIO);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_SYNC, 0, 0);
    OBJR_EXPECT_EQ(objr_object_error_check(object, &two), 0);
}

// Who is killed while it waits for the disk fails nobody else: that is no error of the file.
OBJR_TEST(file_sync_by_a_killed_process_is_no_error) {
    TestWorld world(test);
    MemoryFile memory(test, "killed", 8 * kPageSize);
    Object first(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(first.get() && a.map(0, 8, kShared, first.get(), 0));
    auto* object = reinterpret_cast<objr_object*>(first.get());
    u64 one = objr_object_error_sample(object);
    for (u64 page = 0; page < 8; page++) {
        a.store(page, 1 + page);
    }
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_SYNC, OBJR_EINTR, 0);
    OBJR_EXPECT_EQ(objr_object_sync(object, 0, ~0ull, 0), -OBJR_EINTR);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_SYNC, 0, 0);
    OBJR_EXPECT_EQ(objr_object_sync(object, 0, ~0ull, 0), 0);
    OBJR_EXPECT_EQ(objr_object_error_check(object, &one), 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::write_errors), 0);
    OBJR_EXPECT_EQ(memory.word(7), 8);
}

// ---- the end of a file under mappings

OBJR_TEST(spec_U6_nothing_behind_the_end_comes_back) {
    TestWorld world(test);
    MemoryFile memory(test, "tail", 2 * kPageSize + 16);
    Object object(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get(), 0));
    auto tail = [&](u64 page, u64 offset) {
        u64 value = ~0ull;
        OBJR_EXPECT(a.cpu().load(a.mm(), at(page) + offset, &value));
        return value;
    };
    OBJR_EXPECT(a.cpu().store(a.mm(), at(2) + 64, 5)); // behind the end, in its last page
    OBJR_EXPECT_EQ(tail(2, 64), 5);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(tail(2, 64), 0); // as on Linux: it was nowhere
    OBJR_EXPECT(a.cpu().store(a.mm(), at(2) + 64, 6));
    OBJR_ASSERT(object->truncate(4 * kPageSize));
    OBJR_EXPECT_EQ(tail(2, 64), 0);
    a.store(3, 33);
    OBJR_ASSERT(object->truncate(3 * kPageSize + 128) && object->truncate(3 * kPageSize + 8));
    OBJR_ASSERT(object->truncate(6 * kPageSize));
    OBJR_EXPECT_EQ(a.load(3), 33);
    OBJR_EXPECT_EQ(a.load(5), 0);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT(world.verify());
}

OBJR_TEST(spec_U6_cut_by_somebody_else_is_seen_by_a_fault) {
    TestWorld world(test);
    MemoryFile memory(test, "outside", 8 * kPageSize);
    Object object(memory.open(*world, true));
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive() && a.map(0, 8, kShared, object.get(), 0));
    OBJR_ASSERT(b.map(0, 8, kReadWrite, object.get(), 0) && b.map(20, 28, kShared, object.get(), 0));
    OBJR_ASSERT(b.mm().remap(at(20), 2 * kPageSize, 6, Populate::yes));
    a.store(7, 7);
    b.store(6, 6); // a copy
    OBJR_EXPECT_EQ(b.load(21), 7);
    objr_backing* other = objr_memory_file_open(memory.get(), 1);
    OBJR_ASSERT(other && objr_backing_truncate(other, 2 * kPageSize) == 0);
    a.mm().note_cut(at(1)); // as the shim does it after a fault that was refused
    OBJR_EXPECT_EQ(a.try_load(7), -OBJR_EIO);
    OBJR_EXPECT_EQ(b.try_load(6), -OBJR_EIO);
    OBJR_EXPECT_EQ(b.try_load(21), -OBJR_EIO);
    OBJR_EXPECT_EQ(object->dirty_pages(), 0);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(objr_memory_file_size(memory.get()), 2 * kPageSize);
    OBJR_ASSERT(objr_backing_truncate(other, 8 * kPageSize) == 0); // and it grows again: seen by the next fault
    objr_backing_put(other);
    OBJR_EXPECT_EQ(b.load(21), 0);
    OBJR_EXPECT_EQ(b.load(6), 0);
    a.store(7, 70);
    OBJR_EXPECT_EQ(b.load(21), 70);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(memory.word(7), 70);
}

OBJR_TEST(file_hole_is_filled_by_write_back) {
    TestWorld world(test);
    MemoryFile memory(test, "hole", 0);
    Object object(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(object.get() && object->truncate(8 * kPageSize) && a.map(0, 8, kShared, object.get(), 0));
    OBJR_EXPECT_EQ(a.load(3), 0);
    OBJR_EXPECT_EQ(object->dirty_pages(), 0);
    a.store(5, 55);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, OBJR_ENOSPC, 0); // there is no room for what it needs
    OBJR_EXPECT_EQ(object->sync(0, ~0ull, false).as_int(), -OBJR_ENOSPC);
    OBJR_EXPECT_EQ(object->dirty_pages(), 1);
    OBJR_EXPECT_EQ(a.load(5), 55);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, 0, 0);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(memory.word(5), 55);
}
