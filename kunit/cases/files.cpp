// SPDX-License-Identifier: GPL-2.0
// files.cpp: page cache, write-back, truncation, named objects.
#include "memory_file.h"

using namespace objr;
using namespace objr::test;

OBJR_TEST(file_shared_and_private_views) {
    TestWorld world(test);
    MemoryFile memory(test, "views", 4 * kPageSize);
    Object shared(memory.open(*world, true));
    Object second(memory.open(*world, false));
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(shared.get() && shared.get() == second.get()); // one inode, one object
    OBJR_ASSERT(a.map(0, 4, kShared, shared.get(), 0));
    OBJR_ASSERT(b.map(0, 4, kReadWrite, second.get(), 0));
    OBJR_EXPECT_EQ(a.load(0), MemoryFile::pattern(0));
    OBJR_EXPECT_EQ(b.load(3), MemoryFile::pattern(3));
    OBJR_EXPECT_EQ(b.load(0), MemoryFile::pattern(0));
    OBJR_EXPECT(a.page(0) == b.page(0));
    b.store(0, 1);
    OBJR_EXPECT_EQ(a.load(0), MemoryFile::pattern(0));
    a.store(0, 2);
    OBJR_EXPECT_EQ(b.load(0), 1);
    OBJR_EXPECT_EQ(memory.word(0), MemoryFile::pattern(0)); // not yet
    OBJR_EXPECT(shared->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(memory.word(0), 2);
    OBJR_EXPECT_EQ(objr_memory_file_calls(memory.get(), OBJR_MEMORY_WRITE), 1); // only what was dirty
    OBJR_EXPECT(shared->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(objr_memory_file_calls(memory.get(), OBJR_MEMORY_WRITE), 1);
    a.store(0, 3); // noticed though the page was writable before
    a.store(1, 4);
    OBJR_EXPECT(shared->sync(0, 0, false)); // a part
    OBJR_EXPECT_EQ(memory.word(0), 3);
    OBJR_EXPECT_EQ(memory.word(1), MemoryFile::pattern(1));
    OBJR_EXPECT(shared->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(memory.word(1), 4);
}

OBJR_TEST(file_written_at_last_close) {
    TestWorld world(test);
    MemoryFile memory(test, "close", 3 * kPageSize + 100);
    {
        Object object(memory.open(*world, true));
        Object reader(memory.open(*world, false));
        Process a(test, world);
        OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0));
        a.store(1, 11);
        a.store(3, 33);
        a.exit(); // the dirty bit moves to the page
        object.close();
        OBJR_EXPECT_EQ(memory.word(1), MemoryFile::pattern(1)); // somebody still has it open
    }
    OBJR_EXPECT_EQ(memory.word(1), 11);
    OBJR_EXPECT_EQ(memory.word(3), 33);
    OBJR_EXPECT_EQ(objr_memory_file_size(memory.get()), 3 * kPageSize + 100); // not grown by the rest of the page
}

OBJR_TEST(file_beyond_the_end) {
    TestWorld world(test);
    MemoryFile memory(test, "end", kPageSize + 8);
    Object object(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get(), 0));
    OBJR_EXPECT_EQ(a.load(1), MemoryFile::pattern(1));
    u64 tail = 1;
    OBJR_EXPECT(a.cpu().load(a.mm(), at(1) + 8, &tail));
    OBJR_EXPECT_EQ(tail, 0);
    OBJR_EXPECT_EQ(a.try_load(2), -OBJR_EIO);
    OBJR_EXPECT_EQ(a.try_store(2, 1), -OBJR_EIO);
    const u64 more = 77;
    objr_memory_file_write(memory.get(), kPageSize + 8, &more, 0);
    OBJR_ASSERT(object->truncate(5 * kPageSize)); // grows
    OBJR_EXPECT_EQ(a.load(4), 0);
    a.store(4, 5);
    OBJR_EXPECT_EQ(a.try_load(5), -OBJR_EIO);
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(memory.word(4), 5);
}

OBJR_TEST(spec_U6_truncate) {
    TestWorld world(test);
    MemoryFile memory(test, "cut", 8 * kPageSize);
    Object object(memory.open(*world, true));
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    OBJR_ASSERT(object.get() && c.alive());
    OBJR_ASSERT(a.map(0, 8, kShared, object.get(), 0));
    OBJR_ASSERT(b.map(20, 26, kReadWrite, object.get(), 2)); // its pages 2 .. 7
    for (u64 page = 0; page < 8; page++) {
        a.store(page, page);
    }
    b.store(25, 70); // a private copy of page 7
    OBJR_EXPECT_EQ(b.load(24), 6);
    OBJR_ASSERT(b.fork_to(c));
    OBJR_ASSERT(object->truncate(3 * kPageSize + 16));
    OBJR_EXPECT_EQ(objr_memory_file_size(memory.get()), 3 * kPageSize + 16);
    OBJR_EXPECT_EQ(a.load(3), 3);
    u64 tail = 1;
    OBJR_EXPECT(a.cpu().load(a.mm(), at(3) + 16, &tail));
    OBJR_EXPECT_EQ(tail, 0);
    OBJR_EXPECT_EQ(a.try_load(4), -OBJR_EIO);
    OBJR_EXPECT_EQ(b.try_load(24), -OBJR_EIO);
    OBJR_EXPECT_EQ(b.try_load(25), -OBJR_EIO); // the private copy too, as Linux does
    OBJR_EXPECT_EQ(c.try_load(25), -OBJR_EIO);
    OBJR_EXPECT_EQ(b.load(21), 3);
    OBJR_EXPECT_EQ(object->cached_pages(), 4);
    // What comes back when it grows is empty.
    OBJR_ASSERT(object->truncate(8 * kPageSize));
    OBJR_EXPECT_EQ(a.load(7), 0);
    OBJR_EXPECT_EQ(b.load(25), 0);
}

OBJR_TEST(file_truncate_needs_write_access) {
    TestWorld world(test);
    MemoryFile memory(test, "readonly", 2 * kPageSize);
    Object object(memory.open(*world, false));
    OBJR_ASSERT(object.get());
    OBJR_EXPECT_EQ(object->truncate(0).as_int(), -OBJR_EACCES);
    OBJR_EXPECT_EQ(object->truncate(~0ull).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(objr_memory_file_size(memory.get()), 2 * kPageSize);
}

OBJR_TEST(file_cut_by_somebody_else) {
    TestWorld world(test);
    MemoryFile memory(test, "outside", 4 * kPageSize);
    Object object(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0));
    a.store(3, 1);
    objr_backing* other = objr_memory_file_open(memory.get(), 1);
    OBJR_ASSERT(other && objr_backing_truncate(other, kPageSize) == 0);
    objr_backing_put(other);
    OBJR_EXPECT_EQ(a.try_load(2), -OBJR_EIO); // not mapped before: the size is read at the fault
    OBJR_EXPECT(object->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(a.try_load(3), -OBJR_EIO);
    OBJR_EXPECT_EQ(objr_memory_file_size(memory.get()), kPageSize); // and the page did not bring it back
}

OBJR_TEST(file_errors) {
    TestWorld world(test);
    MemoryFile memory(test, "errors", 4 * kPageSize);
    Object object(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0));
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_FILL, OBJR_EIO, 0);
    OBJR_EXPECT_EQ(a.try_load(0), -OBJR_EIO);
    OBJR_EXPECT_EQ(world.used_pages(), 0);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_FILL, 0, 0);
    a.store(0, 1);
    a.store(1, 2);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, OBJR_ENOSPC, 0);
    OBJR_EXPECT_EQ(object->sync(0, ~0ull, false).as_int(), -OBJR_ENOSPC);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, 0, 0);
    OBJR_EXPECT(object->sync(0, ~0ull, false)); // nothing was lost
    OBJR_EXPECT_EQ(memory.word(0), 1);
    OBJR_EXPECT_EQ(memory.word(1), 2);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_SYNC, OBJR_EIO, 0);
    OBJR_EXPECT_EQ(object->sync(0, ~0ull, false).as_int(), -OBJR_EIO);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_SYNC, 0, 0);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_TRUNCATE, OBJR_EIO, 0);
    OBJR_EXPECT_EQ(object->truncate(0).as_int(), -OBJR_EIO);
    OBJR_EXPECT_EQ(a.load(1), 2);
}

OBJR_TEST(object_names) {
    TestWorld world(test);
    OBJR_ASSERT(world);
    const objr_owner alice = {.uid = 1000, .gid = 1000, .is_root = 0};
    const objr_owner bob = {.uid = 1001, .gid = 1001, .is_root = 0};
    const objr_owner root = {.uid = 0, .gid = 0, .is_root = 1};
    auto open = [&](const char* name, u64 size, u32 flags, const objr_owner& owner) {
        return FileMapping::of_name(*world, name, size, flags, owner);
    };
    char longest[FileMapping::kNameBytes + 1] = {};
    for (u32 i = 0; i < FileMapping::kNameBytes; i++) {
        longest[i] = 'n';
    }
    for (const char* bad : {"", "a/b", "a b", "\x01", "\xff", "tab\t", static_cast<const char*>(longest)}) {
        OBJR_EXPECT_EQ(open(bad, kPageSize, OBJR_OBJECT_CREATE, alice).as_int(), -OBJR_EINVAL);
    }
    longest[FileMapping::kNameBytes - 1] = '\0';
    Result<FileMapping*> named = open(longest, kPageSize, OBJR_OBJECT_CREATE, alice);
    OBJR_ASSERT(named);
    (*named)->put();
    OBJR_EXPECT_EQ(open("x", 0, 0, alice).as_int(), -OBJR_ENOENT);
    OBJR_EXPECT_EQ(open("x", 0, OBJR_OBJECT_CREATE, alice).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(open("x", ~0ull, OBJR_OBJECT_CREATE, alice).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(open("x", 1, 64, alice).as_int(), -OBJR_EINVAL);
    Result<FileMapping*> x = open("x", 1, OBJR_OBJECT_CREATE | OBJR_OBJECT_EXCL, alice);
    OBJR_ASSERT(x);
    OBJR_EXPECT_EQ((*x)->size(), kPageSize);
    OBJR_EXPECT_EQ(open("x", 1, OBJR_OBJECT_CREATE | OBJR_OBJECT_EXCL, alice).as_int(), -OBJR_EEXIST);
    OBJR_EXPECT_EQ(open("x", 2 * kPageSize, OBJR_OBJECT_CREATE, alice).as_int(), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(open("x", 0, 0, bob).as_int(), -OBJR_EACCES);
    for (const objr_owner& owner : {alice, root}) {
        Result<FileMapping*> again = open("x", 0, 0, owner);
        OBJR_ASSERT(again && *again == *x);
        (*again)->put();
    }
    OBJR_EXPECT_EQ(world->counters.sum(Count::file_mappings), 1);
    (*x)->put();
    OBJR_EXPECT_EQ(open("x", 0, 0, root).as_int(), -OBJR_ENOENT); // freed at last close
}

OBJR_TEST(object_freed_at_last_unmap) {
    TestWorld world(test);
    Object object(test, world, "held", 4);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0));
    a.store(0, 9);
    OBJR_ASSERT(a.fork_to(b));
    object.close();
    a.exit();
    OBJR_EXPECT_EQ(b.load(0), 9);
    OBJR_EXPECT_EQ(world->counters.sum(Count::file_mappings), 1);
    b.exit();
    OBJR_EXPECT_EQ(world->counters.sum(Count::file_mappings), 0);
    OBJR_EXPECT_EQ(world.used_pages(), 0);
}

// ---- C15, M12: mkclean

OBJR_TEST(spec_C15_M12_mkclean) {
    TestWorld world(test, 1, 4, "classic");
    Object object(test, world, "clean", 4);
    Process a(test, world);
    Process b(test, world);
    Process p(test, world);
    OBJR_ASSERT(a.map(0, 4, kShared, object.get(), 0));
    OBJR_ASSERT(b.map(50, 54, kShared, object.get(), 0));
    OBJR_ASSERT(p.map(0, 4, kReadWrite, object.get(), 0));
    a.store(1, 1);
    b.store(51, 2);
    OBJR_EXPECT_EQ(p.load(1), 2);
    Page& page = *a.page(1);
    OBJR_EXPECT(a.pte(1).dirty() && b.pte(51).dirty() && !page.has(PageFlag::dirty));
    u32 cleaned;
    {
        PageLock lock(page);
        cleaned = page_mkclean(*world, page);
    }
    OBJR_EXPECT_EQ(cleaned, 2);
    OBJR_EXPECT(page.has(PageFlag::dirty));
    OBJR_EXPECT(!a.pte(1).dirty() && !a.pte(1).writable() && !b.pte(51).dirty() && !b.pte(51).writable());
    a.store(1, 3); // is noticed again, also past the TLB
    OBJR_EXPECT(a.pte(1).dirty() && a.pte(1).writable());
    OBJR_EXPECT_EQ(b.load(51), 3);
}

OBJR_TEST(spec_C15_M12_mkclean_of_many) {
    TestWorld world(test, 1, 4, "classic");
    Object object(test, world, "many", 1);
    Process a(test, world);
    OBJR_ASSERT(a.alive());
    for (u64 i = 0; i < 50; i++) { // more than one batch of translations
        OBJR_ASSERT(a.map(i * 2, i * 2 + 1, kShared, object.get(), 0));
        a.store(i * 2, i);
    }
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(page.mappings(), 50);
    {
        PageLock lock(page);
        OBJR_EXPECT_EQ(page_mkclean(*world, page), 50);
        OBJR_EXPECT_EQ(page_mkclean(*world, page), 0);
    }
    for (u64 i = 0; i < 50; i++) {
        OBJR_EXPECT(!a.pte(i * 2).writable());
    }
}
