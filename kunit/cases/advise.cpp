// SPDX-License-Identifier: GPL-2.0
// advise.cpp: advice about what is in memory, and the limits of locking and of mappings.
#include "memory_file.h"
#include "unmap_fixture.h"

using namespace objr;
using namespace objr::test;

namespace {

s32 advise(Process& process, u64 first, u64 last, Advice advice) {
    return process.mm().advise(at(first), at(last), advice).as_int();
}

} // namespace

OBJR_TEST(advise_dontneed) {
    TestWorld world(test);
    MemoryFile memory(test, "kept", 4 * kPageSize);
    Object object(test, world, "object", 4);
    Object file(memory.open(*world, true));
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && file.get() && b.alive() && a.map(0, 8) && a.map(10, 14, kShared, object.get(), 0));
    OBJR_ASSERT(a.map(20, 24, kReadWrite, file.get(), 0) && a.map(30, 34, kShared, file.get(), 0));
    for (u64 page = 0; page < 4; page++) {
        a.store(page, 1 + page);
        a.store(10 + page, 11 + page);
        a.store(20 + page, 21 + page);
        a.store(30 + page, 31 + page);
    }
    OBJR_ASSERT(a.fork_to(b));
    OBJR_ASSERT_EQ(unmap_at(world, a, 2).answer, Unmapped::success); // it is shared with b, in swap
    OBJR_EXPECT_EQ(advise(a, 1, 6, Advice::dontneed), 0);
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT_EQ(a.load(1), 0);
    OBJR_EXPECT_EQ(a.load(2), 0);
    OBJR_EXPECT_EQ(b.load(1), 2);
    OBJR_EXPECT_EQ(b.load(2), 3);
    for (u64 first : {10, 20, 30}) {
        OBJR_EXPECT_EQ(advise(a, first, first + 4, Advice::dontneed), 0);
    }
    OBJR_EXPECT(!a.page(10) && !a.page(20) && !a.page(30));
    OBJR_EXPECT(world.verify());
    OBJR_EXPECT_EQ(a.load(11), 12); // the object has it
    OBJR_EXPECT_EQ(a.load(31), 32); // the file too, though it is not written yet
    OBJR_EXPECT_EQ(a.load(21), 32); // the copy is gone
    OBJR_EXPECT_EQ(b.load(21), 22);
    OBJR_EXPECT(file->sync(0, ~0ull, false));
    OBJR_EXPECT_EQ(memory.word(3), 34);
}

OBJR_TEST(advise_dontneed_nonlinear) {
    TestWorld world(test);
    Object object(test, world, "object", 8);
    Process a(test, world);
    OBJR_ASSERT(object.get() && a.map(0, 8, kShared, object.get(), 0));
    OBJR_ASSERT(a.mm().remap(at(0), 4 * kPageSize, 4, Populate::no));
    for (u64 page = 0; page < 8; page++) {
        a.store(page, 1 + page);
    }
    OBJR_EXPECT_EQ(a.load(4), 5);
    OBJR_EXPECT_EQ(advise(a, 0, 8, Advice::dontneed), 0);
    OBJR_EXPECT_EQ(a.mm().resident(), 0);
    OBJR_EXPECT(a.pte(1).is_file());
    OBJR_EXPECT_EQ(a.load(1), a.load(5)); // what was remapped is in its place again
    OBJR_EXPECT_EQ(a.load(1), 6);
}

OBJR_TEST(advise_refuses) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 4) && a.map(6, 8));
    a.store(0, 1);
    for (Advice advice : {Advice::dontneed, Advice::cold, Advice::pageout, Advice::willneed}) {
        OBJR_EXPECT_EQ(::advise(a, 0, 8, advice), -OBJR_ENOMEM); // a hole: nothing has changed
        OBJR_EXPECT_EQ(::advise(a, 4, 4, advice), -OBJR_EINVAL);
    }
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_ASSERT_EQ(advise(a, 2, 3, Advice::lock), 0);
    for (Advice advice : {Advice::dontneed, Advice::cold, Advice::pageout}) {
        OBJR_EXPECT_EQ(::advise(a, 0, 4, advice), -OBJR_EINVAL);
    }
    OBJR_EXPECT_EQ(advise(a, 0, 4, Advice::willneed), 0);
    OBJR_EXPECT(a.page(0) && a.page(2));
    OBJR_EXPECT_EQ(a.load(0), 1);
}

OBJR_TEST(advise_pageout) {
    TestWorld world(test);
    MemoryFile memory(test, "out", 4 * kPageSize);
    Object named(test, world, "object", 4);
    Object file(memory.open(*world, true));
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(named.get() && file.get() && b.alive() && a.map(0, 40) && a.map(50, 54, kShared, file.get(), 0));
    OBJR_ASSERT(a.map(60, 64, kShared, named.get(), 0));
    for (u64 page = 0; page < 4; page++) {
        a.store(page, 1 + page);
        a.store(36 + page, 37 + page);
        a.store(60 + page, 61 + page);
    }
    a.store(50, 51);
    OBJR_EXPECT_EQ(a.load(51), MemoryFile::pattern(1));
    const u32 before = world.used_pages();
    OBJR_EXPECT_EQ(advise(a, 0, 40, Advice::pageout), 0);
    OBJR_EXPECT_EQ(world.used_pages(), before - 8);
    OBJR_EXPECT_EQ(world->swap.used(), 8);
    OBJR_EXPECT_EQ(a.mm().reclaimed(), 8);
    OBJR_EXPECT_EQ(advise(a, 50, 54, Advice::pageout), 0); // the dirty one is written before
    OBJR_EXPECT_EQ(memory.word(0), 51);
    OBJR_EXPECT_EQ(file->cached_pages(), 0);
    OBJR_EXPECT_EQ(objr_memory_file_calls(memory.get(), OBJR_MEMORY_SYNC), 0);
    OBJR_EXPECT_EQ(advise(a, 60, 64, Advice::pageout), 0);
    OBJR_EXPECT(named->cached_pages() == 0 && named->swapped_pages() == 4);
    OBJR_EXPECT(world.verify());
    for (u64 page = 0; page < 4; page++) {
        OBJR_EXPECT_EQ(a.load(page), 1 + page);
        OBJR_EXPECT_EQ(a.load(36 + page), 37 + page);
        OBJR_EXPECT_EQ(a.load(60 + page), 61 + page);
    }
    OBJR_EXPECT_EQ(a.load(50), 51);
    OBJR_EXPECT_EQ(a.mm().major_faults(), 15); // eight, of the object four, and of the file two, one of them twice
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(advise(a, 0, 4, Advice::pageout), 0);
    OBJR_EXPECT(a.page(0) && b.page(0)); // others have it too
}

OBJR_TEST(advise_pageout_that_cannot) {
    TestWorld world(test);
    MemoryFile memory(test, "out", 4 * kPageSize);
    Object file(memory.open(*world, true));
    Process a(test, world);
    OBJR_ASSERT(file.get() && a.map(50, 54, kShared, file.get(), 0));
    u64 sample = file->errors().sample();
    a.store(50, 51);
    OBJR_EXPECT_EQ(a.load(51), MemoryFile::pattern(1));
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, OBJR_EIO, 0);
    OBJR_EXPECT_EQ(advise(a, 50, 54, Advice::pageout), 0);
    OBJR_EXPECT_EQ(file->cached_pages(), 1);
    OBJR_EXPECT_EQ(file->dirty_pages(), 1);
    OBJR_EXPECT_EQ(file->errors().check(sample), OBJR_EIO);
    objr_memory_file_fail(memory.get(), OBJR_MEMORY_WRITE, 0, 0);
    OBJR_EXPECT_EQ(a.load(50), 51);
}

OBJR_TEST(advise_cold) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 4));
    a.store(0, 1);
    OBJR_EXPECT(a.pte(0).young());
    OBJR_EXPECT_EQ(advise(a, 0, 4, Advice::cold), 0);
    OBJR_EXPECT(a.page(0) && !a.pte(0).young() && a.pte(0).dirty());
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT(a.pte(0).young()); // the processor had forgotten it too
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(advise(a, 0, 4, Advice::cold), 0);
    OBJR_EXPECT(a.pte(0).young()); // it is others' too
}

OBJR_TEST(advise_willneed) {
    TestWorld world(test);
    MemoryFile memory(test, "in", 4 * kPageSize);
    Object file(memory.open(*world, true));
    Object named(test, world, "object", 4);
    Process a(test, world);
    Process hungry(test, world);
    OBJR_ASSERT(file.get() && named.get() && hungry.alive() && a.map(0, 1024) && hungry.map(0, 256));
    OBJR_ASSERT(a.map(2000, 3000, kShared, file.get(), 0) && a.map(4000, 4004, kShared, named.get(), 0));
    a.store(3, 3);
    a.store(900, 900);
    OBJR_ASSERT_EQ(unmap_at(world, a, 3).answer, Unmapped::success);
    OBJR_ASSERT_EQ(unmap_at(world, a, 900).answer, Unmapped::success);
    OBJR_EXPECT_EQ(world.used_pages(), 0);
    OBJR_EXPECT_EQ(advise(a, 0, 1024, Advice::willneed), 0);
    OBJR_EXPECT_EQ(world.used_pages(), 2); // in memory, and not mapped
    OBJR_EXPECT_EQ(a.mm().resident(), 0);
    OBJR_EXPECT_EQ(advise(a, 2001, 3000, Advice::willneed), 0); // most of it beyond the end
    OBJR_EXPECT_EQ(file->cached_pages(), 3);
    OBJR_EXPECT_EQ(advise(a, 4000, 4004, Advice::willneed), 0);
    OBJR_EXPECT_EQ(named->cached_pages(), 0); // what is nowhere is not made
    const u64 major = a.mm().major_faults();
    OBJR_EXPECT_EQ(a.load(3), 3);
    OBJR_EXPECT_EQ(a.load(2003), MemoryFile::pattern(3));
    OBJR_EXPECT_EQ(a.mm().major_faults(), major);
    OBJR_EXPECT(world.verify());
    OBJR_ASSERT(file->truncate(kPageSize) && file->truncate(4 * kPageSize));
    for (u64 i = 0; world->pool.free_pages() != 0; i++) {
        hungry.store(i, i);
    }
    OBJR_EXPECT_EQ(advise(a, 2000, 2004, Advice::willneed), 0); // as far as there is room
    OBJR_EXPECT_EQ(file->cached_pages(), 0);
}

OBJR_TEST(spec_U4_lock_limit) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(b.alive() && a.map(0, 16));
    auto lock = [&](u64 first, u64 last, u64 most) {
        return a.mm().advise(at(first), at(last), Advice::lock, most).as_int();
    };
    OBJR_EXPECT_EQ(lock(0, 5, 4), -OBJR_ENOMEM);
    OBJR_EXPECT(!a.vma(0)->has(VmFlag::locked) && !a.page(0));
    OBJR_EXPECT_EQ(lock(0, 4, 4), 0);
    OBJR_EXPECT_EQ(lock(0, 4, 4), 0); // it is locked already
    OBJR_EXPECT_EQ(lock(2, 4, 0), 0); // also beyond a limit that has been lowered
    OBJR_EXPECT_EQ(lock(3, 6, 5), -OBJR_ENOMEM); // two more than there are
    OBJR_EXPECT_EQ(a.mm().locked(), 4);
    OBJR_EXPECT_EQ(lock(3, 6, 6), 0);
    OBJR_EXPECT_EQ(a.mm().locked(), 6);
    OBJR_ASSERT(a.fork_to(b));
    OBJR_EXPECT_EQ(b.mm().locked(), 0);
    OBJR_ASSERT(a.unmap(1, 3)); // splits
    OBJR_EXPECT_EQ(a.mm().locked(), 4);
    OBJR_ASSERT(a.mm().move(at(3), at(103), 2 * kPageSize, nullptr));
    OBJR_EXPECT_EQ(a.mm().locked(), 4);
    OBJR_EXPECT(world.verify());
    OBJR_ASSERT(a.mm().advise(at(5), at(16), Advice::unlock));
    OBJR_EXPECT_EQ(a.mm().locked(), 3);
    OBJR_ASSERT(a.mm().advise(at(5), at(16), Advice::unlock));
    OBJR_EXPECT_EQ(a.mm().locked(), 3);
}

OBJR_TEST(page_with_the_most_mappings) {
    TestWorld world(test);
    Object object(test, world, "object", 4);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(object.get() && b.alive() && a.map(0, 4, kShared, object.get(), 0) && a.map(10, 11));
    a.store(0, 1);
    a.store(10, 2);
    for (u64 page : {0, 10}) {
        a.page(page)->mapcount.fetch_add(Page::kMostMappings - 1);
    }
    OBJR_EXPECT_EQ(a.fork_to(b).as_int(), -OBJR_ENOMEM);
    OBJR_EXPECT(!b.mm().first_from(Vaddr(0)));
    OBJR_ASSERT(b.map(0, 4, kShared, object.get(), 0));
    OBJR_EXPECT_EQ(b.try_load(0), -OBJR_ENOMEM);
    OBJR_EXPECT_EQ(a.load(0), 1); // who has it keeps it
    for (u64 page : {0, 10}) {
        a.page(page)->mapcount.fetch_sub(Page::kMostMappings - 1);
    }
    OBJR_EXPECT_EQ(b.load(0), 1);
}
