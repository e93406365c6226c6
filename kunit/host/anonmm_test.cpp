// SPDX-License-Identifier: GPL-2.0
//
// anonmm_test.cpp: the bundles of `anonmm` under many threads, and its early copies in processes whose own translations the kernel
// has moved before the core hears of it.
#include "process.h"
#include "threads.h"

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>

namespace {

using namespace objr;
using namespace objr::test;
using namespace objr_host;

using TestProcess = objr::test::Process;

// Who has exited may be held by walks for some time yet, and its processor by it.
class Graves {
public:
    void bury(std::unique_ptr<TestProcess> process) {
        process->exit();
        std::lock_guard guard(lock_);
        dead_.push_back(std::move(process));
    }

private:
    std::mutex lock_;
    std::vector<std::unique_ptr<TestProcess>> dead_;
};

// Children move what they share with a parent that forks, writes and moves as well; walks, and the verifier, look on. What
// everybody reads is what was there at the fork, or what they have written themselves.
TEST(Anonmm, spec_A4_moves_of_shared_pages_against_walks_and_forks) {
    constexpr u64 kPages = 8;
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 2, 4, "anonmm");
    Graves graves;
    TestProcess parent(test, world);
    ASSERT_TRUE(parent.map(0, kPages));
    for (u64 page = 0; page < kPages; page++)
        parent.store(page, page);
    std::atomic<u64> moves{0};
    {
        std::shared_mutex place; // where the parent's pages are: held for writing while that changes
        u64 base = 0;
        Threads threads(std::chrono::milliseconds(700));
        threads.run([&](Random& random) { // the parent
            std::unique_lock guard(place);
            const u64 to = base == 0 ? 509 + random.below(4) : 0;
            EXPECT_TRUE(parent.mm().move(at(base), at(to), kPages * kPageSize, nullptr));
            base = to;
            parent.store(base + random.below(kPages), random.below(kPages));
            moves++;
        });
        for (int i = 0; i < 2; i++)
            threads.run([&](Random& random) {
                auto child = std::make_unique<TestProcess>(test, world);
                u64 values[kPages];
                u64 from;
                {
                    std::shared_lock guard(place);
                    EXPECT_TRUE(parent.fork_to(*child));
                    from = base;
                    for (u64 page = 0; page < kPages; page++)
                        values[page] = child->load(from + page);
                }
                for (int times = 0; times < 3; times++) {
                    const u64 to = 1000 + 16 * random.below(8) + (from >= 1000 ? 512 : 0);
                    EXPECT_TRUE(child->mm().move(at(from), at(to), kPages * kPageSize, nullptr));
                    from = to == from ? from : to;
                    const u64 page = random.below(kPages);
                    if (random.below(2) != 0) child->store(from + page, values[page] = 100 + page);
                    for (u64 n = 0; n < kPages; n++)
                        EXPECT_EQ(child->load(from + n), values[n]);
                    if (from >= 1512) break;
                }
                graves.bury(std::move(child));
            });
        for (int i = 0; i < 2; i++)
            threads.run([&](Random& random) {
                ask(world.handle(), "page " + std::to_string(random.below(512)) + " explain");
                ask(world.handle(), "range page 440 511");
            });
        threads.run([&](Random&) { expect_verified(world.handle()); });
    }
    EXPECT_GT(moves, 0U);
}

// Generations come and go, so that pages lose the Mm that they name, again and again, while others ask for them: every walk that
// finds a page homeless finds it a home, and nothing is counted twice or forgotten.
TEST(Anonmm, spec_A3_pages_outlive_their_mms_under_walks) {
    constexpr u64 kPages = 8;
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, "anonmm");
    Graves graves;
    auto living = std::make_unique<TestProcess>(test, world);
    ASSERT_TRUE(living->map(0, kPages));
    for (u64 page = 0; page < kPages; page++)
        living->store(page, page);
    Page* pages[kPages];
    for (u64 page = 0; page < kPages; page++) {
        pages[page] = living->page(page);
        ASSERT_TRUE(world->pool.try_get(*pages[page]));
    }
    u64 generations = 0;
    {
        Threads threads(std::chrono::milliseconds(700));
        threads.run([&](Random& random) {
            auto child = std::make_unique<TestProcess>(test, world);
            auto second = std::make_unique<TestProcess>(test, world);
            EXPECT_TRUE(living->fork_to(*child));
            if (random.below(2) != 0) {
                EXPECT_TRUE(child->fork_to(*second));
            }
            living.swap(child);
            graves.bury(std::move(child));
            graves.bury(std::move(second));
            generations++;
        });
        for (int i = 0; i < 3; i++)
            threads.run([&](Random& random) { EXPECT_GE(count_mappers(*world, *pages[random.below(kPages)]), 1U); });
        threads.run([&](Random&) { expect_verified(world.handle()); });
    }
    EXPECT_GT(generations, 1U);
    for (u64 page = 0; page < kPages; page++) {
        EXPECT_EQ(living->load(page), page);
        EXPECT_EQ(pages[page]->mappings(), 1U);
        EXPECT_EQ(count_mappers(*world, *pages[page]), 1U);
        EXPECT_EQ(pages[page]->mapping().anon_object<AnonMm>(), &living->mm().anon_mm());
        world->pool.put(*pages[page]);
    }
}

// The kernel moves a process's translations before it tells: those of pages that are copied early must not stay at the new place.
TEST(Anonmm, spec_A4_early_copies_leave_no_translation) {
    constexpr objr_u64 kPage = OBJR_PAGE_SIZE;
    constexpr objr_u64 kStart = 0x7f0000000000;
    constexpr objr_u64 kTarget = kStart + 510 * kPage;
    const objr_params params{.pool_mb = 1, .levels = 4, .scheme = "anonmm"};
    objr_world* world = nullptr;
    ASSERT_EQ(objr_world_create(&params, &world), 0);
    {
        objr_host::Process parent(world, "parent");
        objr_host::Process child(world, "child");
        ASSERT_EQ(parent.map(kStart, 4 * kPage, 9, kReadWrite), 0);
        for (unsigned i = 0; i < 3; i++)
            ASSERT_EQ(parent.store(kStart + i * kPage, static_cast<std::uint8_t>(10 + i)), Outcome::kOk);
        ASSERT_EQ(parent.fork(child), 0);
        std::uint8_t byte = 0;
        for (unsigned i = 0; i < 3; i++) // both have translations of what they share
            ASSERT_EQ(child.load(kStart + i * kPage, &byte), Outcome::kOk);
        ASSERT_EQ(child.store(kStart, 20), Outcome::kOk);
        ASSERT_EQ(child.move(kStart, kTarget, 4 * kPage), 0);
        expect_verified(world);
        ASSERT_EQ(parent.store(kStart + kPage, 31), Outcome::kOk); // alone with it now: no copy
        const std::array<unsigned, 4> expected{20, 11, 12, 0};
        for (unsigned i = 0; i < 4; i++) {
            ASSERT_EQ(child.load(kTarget + i * kPage, &byte), Outcome::kOk);
            EXPECT_EQ(byte, expected[i]);
        }
        expect_verified(world);
        ASSERT_EQ(child.store(kTarget + 2 * kPage, 22), Outcome::kOk);
        ASSERT_EQ(parent.load(kStart + 2 * kPage, &byte), Outcome::kOk);
        EXPECT_EQ(byte, 12);
    }
    objr_world_destroy(world);
}

} // namespace
