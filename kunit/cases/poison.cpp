// SPDX-License-Identifier: GPL-2.0
// poison.cpp: memory that fails: whom it is taken from, what they get, what is recovered.
#include "text_fixture.h"

#include "objrmap/poison.h"
#include "objrmap/reclaim.h"

using namespace objr;
using namespace objr::test;

namespace {

s32 poisoned(World& world, Page& page, PoisonResult& result) {
    SharedGuard quiesce(world.quiesce);
    world.pool.get(page);
    Status status;
    {
        PageLock lock(page);
        status = poison_page(world, page, result);
    }
    world.pool.put(page);
    return status.as_int();
}

// Out of all page tables, into the swap cache, written or not.
enum class Stored { no, yes };
void to_swap_cache(objr_test* test, World& world, Page& page, Stored stored) {
    SharedGuard quiesce(world.quiesce);
    world.pool.get(page);
    {
        PageLock lock(page);
        WalkCost cost;
        OBJR_EXPECT(world.swap.add_to_cache_locked(page));
        OBJR_EXPECT(try_to_unmap(world, page, UnmapMode::revoke, cost).answer == Unmapped::success);
        if (stored == Stored::yes) {
            OBJR_EXPECT(world.swap.write_locked(page));
        }
    }
    world.pool.put(page);
}

} // namespace

OBJR_TEST(spec_P5_poison_entries) {
    for (u64 pfn : {1ull, 0x12345ull, (1ull << 40) - 1}) {
        const Pte entry = Pte::poison(Pfn(pfn));
        OBJR_EXPECT(entry.is_poison() && !entry.is_none() && !entry.is_present());
        OBJR_EXPECT(!entry.is_swap() && !entry.is_file() && !entry.is_migration());
        OBJR_EXPECT_EQ(entry.pfn(), pfn);
        OBJR_EXPECT(!Pte::migration(Pfn(pfn), true).is_poison() && !Pte::file(Pgoff(pfn)).is_poison());
    }
}

OBJR_TEST(poison_anonymous_page) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 300));
    a.store(0, 5);
    a.store(1, 6);
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, page, "", "poison ").c_str()), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "poison pfn=0x");
    OBJR_EXPECT_TEXT(text.c_str(), " mapcount=0 taken=1 recovered=0\n");
    OBJR_EXPECT(page.has(PageFlag::poisoned) && !page.mapped() && a.pte(0).is_poison());
    OBJR_EXPECT_EQ(a.pte(0).pfn(), world->pool.pfn(page));
    OBJR_EXPECT_EQ(a.try_load(0), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(a.try_store(0, 1), -OBJR_EHWPOISON);
    u64 word = 0;
    OBJR_EXPECT_EQ(a.mm().access(at(0), &word, sizeof(word), Access::read).as_int(), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(a.load(1), 6);
    world.verify();
    OBJR_EXPECT_TEXT(text.stats(world), "\npoisoned_pages 1\n");
    OBJR_EXPECT_EQ(text.query(world, Selector(*world, page).c_str()), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "poisoned");
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, page, "", "poison ").c_str()), -OBJR_ENOENT);
    OBJR_EXPECT_TEXT(text.c_str(), " is poisoned: nobody has it any more");
    // Its frame is never given out again.
    OBJR_ASSERT(a.unmap(0, 1) && a.map(0, 1));
    a.store(0, 7);
    OBJR_EXPECT_EQ(a.load(0), 7);
    u64 n = 2;
    for (; world->pool.free_pages() != 0; n++) {
        a.store(n, n);
        OBJR_EXPECT(a.page(n) != &page);
    }
    OBJR_EXPECT_EQ(n, 255);
    OBJR_ASSERT(a.unmap(2, 300));
    OBJR_EXPECT_EQ(text.command(world, "compact"), 0);
    OBJR_EXPECT_EQ(a.load(0), 7);
    // Nobody had these.
    const u32 free = world->pool.free_pages();
    OBJR_EXPECT_EQ(text.command(world, "poison page 100 json"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "\"taken\":0,\"recovered\":1}}\n");
    OBJR_EXPECT_EQ(text.command(world, "poison page 100"), -OBJR_ENOENT);
    OBJR_EXPECT_EQ(world->pool.free_pages(), free - 1);
    OBJR_EXPECT_EQ(text.command(world, "poison range page 90 99"), -OBJR_ENOENT); // a range is of pages in use
}

OBJR_TEST(poison_entries_in_life) {
    TestWorld world(test);
    Process a(test, world);
    Process child(test, world);
    OBJR_ASSERT(a.alive() && child.alive() && a.map(0, 4));
    for (u64 n = 0; n < 4; n++) {
        a.store(n, n);
    }
    PoisonResult result;
    OBJR_EXPECT_EQ(poisoned(*world, *a.page(1), result), 0);
    OBJR_EXPECT_EQ(poisoned(*world, *a.page(2), result), 0);
    const Pte entry = a.pte(1);
    OBJR_ASSERT(a.fork_to(child));
    OBJR_EXPECT(child.pte(1) == entry);
    OBJR_EXPECT_EQ(child.try_load(1), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(child.load(3), 3);
    OBJR_ASSERT(a.mm().protect(at(0), at(4), OBJR_VM_READ));
    OBJR_EXPECT(a.pte(1) == entry);
    OBJR_ASSERT(a.mm().protect(at(0), at(4), OBJR_VM_READ | OBJR_VM_WRITE));
    OBJR_ASSERT(a.mm().move(at(0), at(8), 4 * kPageSize, nullptr));
    OBJR_EXPECT(a.pte(9) == entry);
    OBJR_EXPECT_EQ(a.try_store(9, 1), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(a.load(11), 3);
    OBJR_EXPECT_EQ(a.mm().advise(at(8), at(12), Advice::lock).as_int(), -OBJR_EHWPOISON); // what can be had is locked
    world.verify();
    OBJR_ASSERT(a.unmap(9, 10) && a.map(9, 10));
    OBJR_EXPECT_EQ(a.load(9), 0);
    OBJR_EXPECT_EQ(a.try_load(10), -OBJR_EHWPOISON);
    child.exit();
    OBJR_EXPECT_EQ(world->pool.poisoned_pages(), 2);
}

OBJR_TEST(poison_locked_and_shared) {
    TestWorld world(test);
    Processes all(test, world, 3);
    OBJR_PROPAGATE();
    OBJR_ASSERT(all[0].map(0, 2));
    all[0].store(0, 1);
    OBJR_ASSERT(all[0].fork_to(all[1]) && all[1].fork_to(all[2]));
    OBJR_ASSERT(all[0].mm().advise(at(0), at(1), Advice::lock)); // takes a copy of its own
    OBJR_EXPECT_EQ(world->counters.sum(Count::locked_pages), 1);
    PoisonResult result;
    OBJR_EXPECT_EQ(poisoned(*world, *all[0].page(0), result), 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::locked_pages), 0);
    OBJR_EXPECT_EQ(all[0].try_load(0), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(all[1].load(0), 1);
    OBJR_EXPECT_EQ(poisoned(*world, *all[2].page(0), result), 0);
    OBJR_EXPECT_EQ(result.taken, 2);
    OBJR_EXPECT(!result.recovered);
    OBJR_EXPECT_EQ(all[1].try_load(0), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(all[2].try_store(0, 1), -OBJR_EHWPOISON);
}

OBJR_TEST(poison_swap_cache) {
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    OBJR_ASSERT(a.alive() && b.alive() && a.map(0, 2));
    a.store(0, 10);
    a.store(1, 11);
    OBJR_ASSERT(a.fork_to(b));
    to_swap_cache(test, *world, *a.page(0), Stored::yes);
    to_swap_cache(test, *world, *a.page(1), Stored::no);
    OBJR_EXPECT_EQ(a.load(0), 10); // mapped by one, wanted by the other
    OBJR_EXPECT_EQ(a.load(1), 11);
    Page& stored = *a.page(0);
    Page& newer = *a.page(1);
    PoisonResult result;
    OBJR_EXPECT_EQ(poisoned(*world, stored, result), 0);
    OBJR_EXPECT(result.recovered && result.taken == 1);
    OBJR_EXPECT_EQ(a.load(0), 10); // on another frame
    OBJR_EXPECT_EQ(b.load(0), 10);
    OBJR_EXPECT(a.page(0) == b.page(0) && a.page(0) != &stored);
    OBJR_EXPECT_EQ(poisoned(*world, newer, result), 0);
    OBJR_EXPECT(!result.recovered && a.pte(1).is_swap());
    world.verify();
    OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(b.try_store(1, 1), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(world->swap.used(), 1);
    OBJR_ASSERT(a.unmap(1, 2));
    OBJR_EXPECT_EQ(b.try_load(1), -OBJR_EHWPOISON);
    b.exit();
    OBJR_EXPECT_EQ(world->swap.used(), 0); // the slot is good again
    OBJR_ASSERT(a.map(1, 2));
    a.store(1, 12);
    to_swap_cache(test, *world, *a.page(1), Stored::yes);
    OBJR_EXPECT_EQ(a.load(1), 12);
    // Once more, with the last entry: nobody needs what is lost.
    a.store(1, 12);
    to_swap_cache(test, *world, *a.page(1), Stored::no);
    OBJR_ASSERT(a.unmap(1, 2));
}

OBJR_TEST(poison_file_pages) {
    TestWorld world(test);
    objr_memory_file* memory = objr_memory_file_create("failing", 2 * kPageSize, 2 * kPageSize, 1);
    OBJR_ASSERT(memory != nullptr);
    {
        Result<FileMapping*> opened = FileMapping::of_file(*world, objr_memory_file_open(memory, 1));
        OBJR_ASSERT(opened);
        Object file(*opened);
        Process a(test, world);
        Process b(test, world);
        OBJR_ASSERT(a.alive() && b.alive());
        OBJR_ASSERT(a.map(0, 2, kShared, file.get()) && b.map(0, 2, kReadWrite, file.get()));
        u64 seen = file->errors().sample();
        const u64 clean = a.load(0);
        OBJR_EXPECT_EQ(b.load(0), clean);
        PoisonResult result;
        OBJR_EXPECT_EQ(poisoned(*world, *a.page(0), result), 0);
        OBJR_EXPECT(result.recovered && result.taken == 2);
        OBJR_EXPECT_EQ(a.load(0), clean);
        OBJR_EXPECT_EQ(b.load(0), clean);
        OBJR_EXPECT(file->sync(0, ~0ull, true));
        a.store(1, 7);
        OBJR_EXPECT_EQ(poisoned(*world, *a.page(1), result), 0);
        OBJR_EXPECT(!result.recovered);
        OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EHWPOISON);
        OBJR_EXPECT_EQ(b.try_store(1, 1), -OBJR_EHWPOISON);
        world.verify();
        OBJR_EXPECT(file->sync(0, ~0ull, true));
        OBJR_EXPECT_EQ(file->errors().check(seen), OBJR_EIO); // once
        OBJR_EXPECT_EQ(file->errors().check(seen), 0);
        u64 word = 0;
        objr_memory_file_read(memory, kPageSize, &word, sizeof(word));
        OBJR_EXPECT(word != 7);
        OBJR_ASSERT(file->truncate(kPageSize));
        OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EIO);
        OBJR_ASSERT(file->truncate(2 * kPageSize));
        OBJR_EXPECT_EQ(a.load(1), 0);
        a.store(1, 8);
        OBJR_EXPECT_EQ(b.load(1), 8);
    }
    objr_memory_file_destroy(memory);
}

// Until its write has ended a clean page cannot be had again from the file.
OBJR_TEST(poison_what_is_being_written) {
    struct Interrupted {
        TestWorld& world;
        Page* page = nullptr;
        s32 error = -1;
        PoisonResult result{};
    };
    TestWorld world(test);
    objr_memory_file* memory = objr_memory_file_create("failing", 2 * kPageSize, 2 * kPageSize, 1);
    OBJR_ASSERT(memory != nullptr);
    {
        Result<FileMapping*> opened = FileMapping::of_file(*world, objr_memory_file_open(memory, 1));
        OBJR_ASSERT(opened);
        Object file(*opened);
        Process a(test, world);
        OBJR_ASSERT(a.alive() && a.map(0, 2, kShared, file.get()));
        a.store(0, 7);
        Interrupted interrupted{world, a.page(0)};
        objr_memory_file_on_write(
            memory,
            [](void* context) {
                auto& here = *static_cast<Interrupted*>(context);
                here.error = poisoned(*here.world, *here.page, here.result);
            },
            &interrupted);
        u64 seen = file->errors().sample();
        OBJR_EXPECT_EQ(write_back_some(*world, 1), 1);
        objr_memory_file_on_write(memory, nullptr, nullptr);
        OBJR_EXPECT_EQ(interrupted.error, 0);
        OBJR_EXPECT(!interrupted.result.recovered);
        OBJR_EXPECT_EQ(a.try_load(0), -OBJR_EHWPOISON);
        OBJR_EXPECT_EQ(file->errors().check(seen), OBJR_EIO);
    }
    objr_memory_file_destroy(memory);
}

OBJR_TEST(poison_object_page) {
    TestWorld world(test);
    Object object(test, world, "failing", 2);
    Process a(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 2, kShared, object.get()) && a.map(4, 6, kReadWrite, object.get()));
    a.store(0, 1);
    a.store(4, 2); // a copy, which is not concerned
    PoisonResult result;
    OBJR_EXPECT_EQ(poisoned(*world, *a.page(0), result), 0);
    OBJR_EXPECT(!result.recovered);
    OBJR_EXPECT_EQ(a.try_load(0), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(a.load(4), 2);
    OBJR_EXPECT_EQ(object->cached_pages(), 1);
    world.verify();
    OBJR_ASSERT(object->truncate(0) && object->truncate(2 * kPageSize));
    OBJR_EXPECT_EQ(a.load(0), 0);
    a.store(0, 3);
    OBJR_EXPECT_EQ(poisoned(*world, *a.page(0), result), 0);
    a.exit();
    object.close(); // the object goes, the frame stays
    OBJR_EXPECT_EQ(world->counters.sum(Count::file_pages), 0);
    OBJR_EXPECT_EQ(world->pool.poisoned_pages(), 2);
}

OBJR_TEST(poison_nonlinear) {
    TestWorld world(test);
    Object object(test, world, "failing", 8);
    Process a(test, world);
    OBJR_PROPAGATE();
    OBJR_ASSERT(a.map(0, 8, kShared, object.get()));
    OBJR_ASSERT(a.mm().remap(at(0), 4 * kPageSize, 4, Populate::yes)); // pages 4 to 7 twice
    a.store(4, 1);
    OBJR_EXPECT_EQ(a.load(0), 1);
    PoisonResult result;
    OBJR_EXPECT_EQ(poisoned(*world, *a.page(4), result), 0);
    OBJR_EXPECT_EQ(result.taken, 2);
    OBJR_EXPECT_EQ(a.try_load(0), -OBJR_EHWPOISON);
    OBJR_EXPECT_EQ(a.try_load(4), -OBJR_EHWPOISON);
    OBJR_ASSERT(a.mm().remap(at(0), kPageSize, 1, Populate::yes)); // shows another page
    OBJR_EXPECT_EQ(a.load(0), 0);
}

OBJR_TEST(poison_refusals) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1));
    a.store(0, 3);
    const Result<Page*> pinned = pin_page(a.mm(), at(0));
    OBJR_ASSERT(pinned);
    const Pte before = a.pte(0);
    OBJR_EXPECT_EQ(text.command(world, Selector(*world, **pinned, "", "poison ").c_str()), -OBJR_EBUSY);
    OBJR_EXPECT_TEXT(text.c_str(), " failed: it is pinned");
    OBJR_EXPECT(a.pte(0) == before && !(*pinned)->has(PageFlag::poisoned));
    unpin_page(*world, **pinned);
    OBJR_EXPECT_EQ(a.load(0), 3);
    OBJR_EXPECT_EQ(text.command(world, "poison page 256"), -OBJR_ENOENT);
    OBJR_EXPECT_EQ(text.command(world, "poison"), -OBJR_EINVAL);
}

// Poison entries are in no map: they are there after each switch as before.
OBJR_TEST(poison_and_switches) {
    TestWorld world(test);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 3));
    for (u64 n = 0; n < 3; n++) {
        a.store(n, n);
    }
    PoisonResult result;
    OBJR_EXPECT_EQ(poisoned(*world, *a.page(1), result), 0);
    char reason[120];
    for (u32 n = 0; scheme_name(n); n++) {
        OBJR_EXPECT_EQ(objr_set_scheme(world.handle(), scheme_name(n), reason, sizeof(reason)), 0);
        world.verify();
        OBJR_EXPECT_EQ(a.try_load(1), -OBJR_EHWPOISON);
        OBJR_EXPECT_EQ(a.load(2), 2);
    }
}

OBJR_TEST(verify_sees_broken_poison) {
    TestWorld world(test);
    Text text(test);
    OBJR_PROPAGATE();
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 2));
    a.store(0, 1);
    a.store(1, 1);
    PoisonResult result;
    Page& page = *a.page(0);
    OBJR_EXPECT_EQ(poisoned(*world, page, result), 0);
    PageTable& table = *a.mm().tables().leaf(at(0));
    const auto broken = [&](Pte pte, const char* part) {
        const Pte before = a.pte(0);
        {
            Guard guard(table.lock);
            table.set(at(0), pte);
        }
        OBJR_EXPECT_EQ(text.verify(world), 1);
        OBJR_EXPECT_TEXT(text.c_str(), part);
        Guard guard(table.lock);
        table.set(at(0), before);
    };
    broken(Pte::poison(world->pool.pfn(*a.page(1))), "bad V8: mm ");
    broken(Pte::poison(Pfn(1)), "that page is not poisoned");
    page.clear(PageFlag::poisoned);
    OBJR_EXPECT_EQ(text.verify(world), 1);
    page.set(PageFlag::poisoned);
    page.set(PageFlag::lru);
    OBJR_EXPECT_EQ(text.verify(world), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "bad V8: poisoned page ");
    page.clear(PageFlag::lru);
}
