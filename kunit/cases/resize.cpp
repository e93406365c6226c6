// SPDX-License-Identifier: GPL-2.0
// resize.cpp: the pool becomes larger and smaller while processes use it.
#include "text_fixture.h"

#include "objrmap/poison.h"
#include "objrmap/resize.h"

using namespace objr;
using namespace objr::test;

OBJR_TEST(resize_up_and_down) {
    TestWorld world(test, 2, 4, nullptr, 0); // no swap: what is in use stays
    Text text(test);
    OBJR_PROPAGATE();
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 1024));
    u64 n = 0;
    for (; n < 512; n++) {
        a.store(n, n);
    }
    OBJR_EXPECT_EQ(a.try_store(512, 1), -OBJR_ENOMEM);
    Page* const first = a.page(0);
    const u32 number = world->pool.number(*first);
    const Pfn pfn = world->pool.pfn(*first);
    OBJR_EXPECT_EQ(text.command(world, "resize 4"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "resize pool_mb=4 before=2 moved=0\n");
    OBJR_EXPECT_EQ(world->pool.size(), 1024);
    OBJR_EXPECT(a.page(0) == first && world->pool.number(*first) == number && world->pool.pfn(*first) == pfn);
    for (u32 i = 0; i < 1024; i++) {
        Page& page = world->pool.page(i);
        OBJR_ASSERT_EQ(world->pool.number(page), i);
        OBJR_ASSERT(world->pool.page_of(world->pool.pfn(page)) == &page);
    }
    world.verify();
    for (; n < 1024; n++) {
        a.store(n, n);
    }
    OBJR_EXPECT_EQ(world->pool.free_pages(), 0);
    OBJR_EXPECT_EQ(text.command(world, "resize 3"), -OBJR_ENOMEM);
    OBJR_EXPECT_TEXT(text.c_str(),
                     "error resize to 3 MiB failed, the pool has 4: 1024 pages are locked, or swap has no room");
    OBJR_EXPECT(world->pool.free_pages() == 0 && world->pool.withdrawn_pages() == 0);
    OBJR_EXPECT_EQ(world->counters.sum(Count::migrations), 0); // nothing was moved for nothing
    world.verify();
    OBJR_ASSERT(a.unmap(0, 600));
    const Pfn gone = world->pool.pfn(world->pool.page(1023));
    OBJR_EXPECT_EQ(text.command(world, "resize 2 json"), 0);
    OBJR_EXPECT_TEXT(text.c_str(), "{\"resize\":{\"pool_mb\":2,\"before\":4,\"moved\":");
    OBJR_EXPECT_EQ(world->pool.size(), 512);
    OBJR_EXPECT_EQ(world->pool.free_pages(), 512 - 424);
    OBJR_EXPECT(world->pool.page_of(gone) == nullptr);
    OBJR_EXPECT_EQ(text.query(world, "page 512"), 1);
    OBJR_EXPECT_TEXT(text.c_str(), "error no page 512: the pool has pages 0 to 511");
    world.verify();
    for (n = 600; n < 1024; n++) {
        OBJR_ASSERT(world->pool.number(*a.page(n)) < 512);
        OBJR_EXPECT_EQ(a.load(n), n);
    }
    for (u32 mb : {5, 2, 3, 2}) { // descriptors of sections that have been there serve again
        Resize result;
        OBJR_EXPECT_EQ(resize_pool(*world, mb, result).as_int(), 0);
        OBJR_EXPECT_EQ(world->pool.size(), mb * 256);
        OBJR_EXPECT_EQ(a.load(1023), 1023);
        world.verify();
    }
    const u64 bytes = world->pool.bytes();
    OBJR_EXPECT_EQ(text.command(world, "resize 100000"), -OBJR_ENOMEM);
    OBJR_EXPECT_TEXT(text.c_str(), "the machine has memory for at most ");
    OBJR_EXPECT_EQ(world->pool.bytes(), bytes);
    OBJR_EXPECT_EQ(text.command(world, "reclaim 513"), -OBJR_EINVAL);
    OBJR_EXPECT_TEXT(text.c_str(), "error the pool has only 512 pages");
    OBJR_EXPECT_EQ(text.command(world, "resize 2"), 0); // it has that
    OBJR_EXPECT_EQ(world->pool.withdrawn_pages(), 0);
}

OBJR_TEST(resize_moves_every_kind) {
    TestWorld world(test, 3);
    OBJR_ASSERT(world);
    Object object(test, world, "kinds", 16);
    Processes all(test, world, 2);
    OBJR_PROPAGATE();
    Process& a = all[0];
    OBJR_ASSERT(a.map(0, 16) && a.map(16, 32, kShared, object.get(), 0) && a.map(32, 48, kReadWrite, object.get(), 0));
    for (u64 n = 0; n < 48; n++) {
        a.store(n, n + 100);
    }
    OBJR_ASSERT(a.mm().remap(at(16), 4 * kPageSize, 8, Populate::yes));
    OBJR_ASSERT(a.mm().advise(at(4), at(8), Advice::lock));
    OBJR_ASSERT(a.fork_to(all[1]));
    Resize result;
    OBJR_ASSERT(resize_pool(*world, 1, result)); // pages are given out from the end
    OBJR_EXPECT_EQ(result.moved, world.used_pages());
    world.verify();
    for (Process* process : {&all[0], &all[1]}) {
        for (u64 n = 0; n < 48; n++) {
            OBJR_EXPECT_EQ(process->load(n), n >= 16 && n < 20 ? n + 108 : n + 100);
        }
    }
    char reason[120];
    OBJR_ASSERT(resize_pool(*world, 6, result));
    for (u32 n = 0; scheme_name(n); n++) { // what a switch needs goes by the size of now
        OBJR_EXPECT_EQ(objr_set_scheme(world.handle(), scheme_name(n), reason, sizeof(reason)), 0);
        a.store(1, n);
        OBJR_ASSERT(resize_pool(*world, 1 + n, result));
        world.verify();
        OBJR_EXPECT_EQ(a.load(1), n);
        OBJR_EXPECT_EQ(all[1].load(1), 101);
    }
}

OBJR_TEST(resize_takes_away_what_does_not_fit) {
    TestWorld world(test, 2, 4, nullptr, 4);
    OBJR_ASSERT(world);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 700));
    for (u64 n = 0; n < 700; n++) {
        a.store(n, n + 1);
    }
    Resize result;
    OBJR_ASSERT(resize_pool(*world, 1, result));
    OBJR_EXPECT_EQ(world->pool.size(), 256);
    world.verify();
    for (u64 n = 0; n < 700; n++) {
        OBJR_EXPECT_EQ(a.load(n), n + 1);
    }
}

OBJR_TEST(resize_watermarks_follow) {
    objr_params params{};
    params.pool_mb = 1;
    params.levels = 4;
    params.low_watermark = 25;
    params.high_watermark = 50;
    TestWorld world(test, params);
    OBJR_ASSERT(world);
    for (u32 mb : {1, 4, 2}) {
        Resize result;
        OBJR_ASSERT(resize_pool(*world, mb, result));
        OBJR_EXPECT_EQ(world->low_pages.load(), mb * 64);
        OBJR_EXPECT_EQ(world->high_pages.load(), mb * 128);
    }
}

OBJR_TEST(resize_refusals) {
    TestWorld world(test, 2);
    Text text(test);
    OBJR_PROPAGATE();
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 8));
    a.store(0, 1);
    a.store(1, 2);
    OBJR_EXPECT_EQ(text.command(world, "resize 0"), -OBJR_EINVAL);
    OBJR_EXPECT_TEXT(text.c_str(), "take 1 to 1048576 MiB");
    OBJR_EXPECT_EQ(text.command(world, "resize 99999999999"), -OBJR_EINVAL);
    OBJR_EXPECT_EQ(text.command(world, "resize"), -OBJR_EINVAL);
    OBJR_EXPECT_TEXT(text.c_str(), "expected a number");
    OBJR_EXPECT_EQ(text.command(world, "resize 1 MiB"), -OBJR_EINVAL);
    const Result<Page*> pinned = pin_page(a.mm(), at(0));
    OBJR_ASSERT(pinned);
    WordsOf<80> way;
    way.words.add("page ").decimal(world->pool.number(**pinned)).add(" cannot be moved: it is pinned");
    OBJR_EXPECT_EQ(text.command(world, "resize 1"), -OBJR_EBUSY);
    OBJR_EXPECT_TEXT(text.c_str(), way.words.c_str());
    OBJR_EXPECT_EQ(world->pool.size(), 512);
    OBJR_EXPECT_EQ(world->pool.free_pages(), 510);
    unpin_page(*world, **pinned);
    world.verify();
    OBJR_EXPECT_EQ(text.command(world, "poison page 500"), 0);
    OBJR_EXPECT_EQ(text.command(world, "resize 1"), -OBJR_EBUSY);
    OBJR_EXPECT_TEXT(text.c_str(), "page 500 cannot be moved: it is pinned, busy or poisoned");
    OBJR_EXPECT_EQ(a.load(0), 1);
    OBJR_EXPECT_EQ(a.load(1), 2);
    OBJR_EXPECT_EQ(text.command(world, "resize 3"), 0);
    OBJR_EXPECT_EQ(text.command(world, "resize 2"), 0); // down to it
}

OBJR_TEST(resize_failing_allocations) {
    if (objr_test_can_fail_allocations() == 0) {
        OBJR_TEST_SKIP("allocations cannot be made to fail here");
    }
    TestWorld world(test, 1);
    Process a(test, world);
    OBJR_ASSERT(a.alive() && a.map(0, 8));
    a.store(0, 1);
    bool reached = true;
    for (unsigned n = 1; reached; n++) {
        for (u32 mb : {3, 1}) {
            const u32 before = world->pool.size();
            Resize result;
            objr_test_fail_nth_allocation(n);
            const s32 error = resize_pool(*world, mb, result).as_int();
            reached = mb == 3 ? objr_test_allocations() >= n : reached;
            objr_test_fail_nth_allocation(0);
            OBJR_EXPECT(error == 0 || (error == -OBJR_ENOMEM && mb == 3));
            OBJR_EXPECT_EQ(world->pool.size(), error == 0 ? mb * 256 : before);
            OBJR_EXPECT_EQ(a.load(0), 1);
            world.verify();
        }
    }
}
