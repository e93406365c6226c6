// SPDX-License-Identifier: GPL-2.0
//
// schemes_test.cpp: what must hold while a walk and a change of address spaces run side by side, under each reverse map.
#include "threads.h"

#include <atomic>
#include <memory>
#include <mutex>

namespace {

using namespace objr;
using namespace objr::test;
using namespace objr_host;

class EachScheme : public testing::TestWithParam<const char*> {};

std::vector<const char*> scheme_names() {
    std::vector<const char*> names;
    for (u32 n = 0; scheme_name(n); n++)
        names.push_back(scheme_name(n));
    return names;
}

INSTANTIATE_TEST_SUITE_P(Schemes, EachScheme, testing::ValuesIn(scheme_names()),
                         [](const auto& scheme) { return std::string(scheme.param); });

// Whoever walks while mremap moves the page sees it at the old place or at the new one.
TEST_P(EachScheme, spec_M11_a_walk_sees_the_old_place_or_the_new_one) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, GetParam());
    Object object(test, world, "moving", 2);
    Process process(test, world);
    ASSERT_TRUE(process.map(0, 2));
    ASSERT_TRUE(process.map(2, 4, kShared, object.get(), 0));
    for (u64 page = 0; page < 4; page++)
        process.store(page, page);
    Page* pages[4];
    for (u64 page = 0; page < 4; page++)
        pages[page] = process.page(page);
    std::atomic<u64> moves{0};
    std::atomic<u64> walks{0};
    {
        Threads threads(std::chrono::milliseconds(300));
        threads.run([&](Random& random) { // apart and together, over the border of a table
            const u64 far = 510 + random.below(4);
            EXPECT_TRUE(process.mm().move(at(0), at(far), 2 * kPageSize, nullptr));
            EXPECT_TRUE(process.mm().move(at(2), at(600), 2 * kPageSize, nullptr));
            EXPECT_TRUE(process.mm().move(at(far), at(0), 2 * kPageSize, nullptr));
            EXPECT_TRUE(process.mm().move(at(600), at(2), 2 * kPageSize, nullptr));
            moves += 4;
        });
        for (int i = 0; i < 2; i++)
            threads.run([&](Random& random) {
                EXPECT_EQ(count_mappers(*world, *pages[random.below(4)]), 1U);
                walks++;
            });
        threads.run([&](Random&) { expect_verified(world.handle()); });
    }
    EXPECT_GT(moves, 0U);
    EXPECT_GT(walks, 0U);
    for (u64 page = 0; page < 4; page++) {
        EXPECT_EQ(process.load(page), page);
        EXPECT_EQ(process.page(page), pages[page]);
    }
}

// mremap must drop what the processor has cached of the old place before the page there can be another one (the races that
// Linux closed in 2018, eb66ae030829): a store through the old address never reaches the page.
TEST_P(EachScheme, spec_M11_no_store_through_a_translation_that_has_moved) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, GetParam());
    Process process(test, world);
    Process other(test, world);
    constexpr u64 kMine = 7;
    ASSERT_TRUE(process.map(0, 1));
    ASSERT_TRUE(other.map(0, 64));
    process.store(0, kMine);
    {
        Threads threads(std::chrono::milliseconds(300));
        threads.run([&](Random&) { // to and fro, and away at the end: the frame is somebody else's then
            EXPECT_TRUE(process.mm().move(at(0), at(100), kPageSize, nullptr));
            EXPECT_TRUE(process.unmap(100, 101));
            for (u64 page = 0; page < 64; page++)
                other.store(page, 0);
            for (u64 page = 0; page < 64; page++)
                EXPECT_EQ(other.load(page), 0U);
            EXPECT_TRUE(other.unmap(0, 64));
            EXPECT_TRUE(other.map(0, 64));
            EXPECT_TRUE(process.map(0, 1));
        });
        for (int i = 0; i < 2; i++)
            threads.run([&](Random&) {
                static_cast<void>(process.try_store(0, kMine));
                static_cast<void>(process.try_store(100, kMine));
            });
    }
}

// fork copies while a walk looks for the page: every entry that is there when the walk ends has been there to be seen, so that
// who unmaps or cleans by a walk misses none for good.
TEST_P(EachScheme, spec_M2_walks_against_forks_and_exits) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, GetParam());
    Process parent(test, world);
    ASSERT_TRUE(parent.map(0, 8));
    for (u64 page = 0; page < 8; page++)
        parent.store(page, page);
    Page* page = parent.page(3);
    ASSERT_TRUE(world->pool.try_get(*page));
    std::vector<std::unique_ptr<Process>> dead; // queries may hold their Mms
    std::mutex lock;
    {
        Threads threads(std::chrono::milliseconds(300));
        for (int i = 0; i < 2; i++)
            threads.run([&](Random& random) {
                auto child = std::make_unique<Process>(test, world);
                EXPECT_TRUE(parent.fork_to(*child));
                if (random.below(2) != 0) child->store(3, 1);
                EXPECT_EQ(child->load(5), 5U);
                child->exit();
                std::lock_guard guard(lock);
                dead.push_back(std::move(child));
            });
        for (int i = 0; i < 2; i++)
            threads.run([&](Random&) { EXPECT_GE(count_mappers(*world, *page), 1U); });
        threads.run([&](Random&) { expect_verified(world.handle()); });
    }
    EXPECT_EQ(page->mappings(), 1U);
    EXPECT_EQ(parent.load(3), 3U);
    world->pool.put(*page);
}

} // namespace
