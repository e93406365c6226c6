// SPDX-License-Identifier: GPL-2.0
//
// pte_chain_test.cpp: walks of chains that change under them: entries come by fork, go by exit from the middle, and change their
// place by mremap and by what goes, while the scheme is switched to and fro. Who stays is found by every walk, once.
#include "threads.h"

#include "objrmap/referenced.h"
#include "objrmap/text.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>

namespace {

using namespace objr;
using namespace objr::test;
using namespace objr_host;

constexpr u64 kPages = 3;
constexpr u32 kStaying = 18; // more than one batch of a walk, and three blocks
constexpr u32 kComing = 12;

class Crowd {
public:
    Crowd(objr_test* test, TestWorld& world) : test_(test), world_(world) {
        staying_.push_back(std::make_unique<Process>(test, world));
        EXPECT_TRUE(staying_[0]->map(0, kPages));
        for (u64 page = 0; page < kPages; page++)
            staying_[0]->store(page, page);
        for (u32 n = 1; n < kStaying; n++) {
            staying_.push_back(std::make_unique<Process>(test, world));
            EXPECT_TRUE(staying_[0]->fork_to(*staying_[n]));
        }
    }

    Page* page(u64 number) const { return staying_[0]->page(number); }
    std::map<u32, u32> staying_mms() const {
        std::map<u32, u32> ids;
        for (const auto& process : staying_)
            ids[process->mm().id()] = 0;
        return ids;
    }

    // A child of somebody, which may write, and leaves when it is its turn.
    void come_and_go(Random& random) {
        auto child = std::make_unique<Process>(test_, world_);
        {
            Mover& parent = movers_[random.below(kStaying)];
            std::shared_lock still(parent.lock);
            EXPECT_TRUE(staying_[&parent - movers_]->fork_to(*child));
            if (random.below(3) == 0) child->store(parent.at_home ? 1 : 101, 1);
        }
        std::lock_guard guard(lock_);
        coming_.push_back(std::move(child));
        if (coming_.size() > kComing) { // from the middle
            const auto gone = coming_.begin() + static_cast<long>(random.below(coming_.size()));
            (*gone)->exit();
            dead_.push_back(std::move(*gone)); // walks may hold its Mm
            coming_.erase(gone);
        }
    }

    void move(Random& random) {
        const u64 n = random.below(kStaying);
        Mover& mover = movers_[n];
        std::unique_lock alone(mover.lock);
        const Vaddr home = at(0);
        const Vaddr away = at(100);
        EXPECT_TRUE(staying_[n]->mm().move(mover.at_home ? home : away, mover.at_home ? away : home, kPages * kPageSize,
                                           nullptr));
        mover.at_home = !mover.at_home;
    }

    void go_home() {
        for (u32 n = 0; n < kStaying; n++) {
            if (!movers_[n].at_home) {
                EXPECT_TRUE(staying_[n]->mm().move(at(100), at(0), kPages * kPageSize, nullptr));
            }
        }
        coming_.clear();
    }
    Process& staying(u32 n) { return *staying_[n]; }

private:
    struct Mover {
        std::shared_mutex lock;
        bool at_home = true; // guarded by lock
    };

    objr_test* test_;
    TestWorld& world_;
    std::vector<std::unique_ptr<Process>> staying_;
    Mover movers_[kStaying];
    std::mutex lock_;
    std::vector<std::unique_ptr<Process>> coming_; // guarded by lock_
    std::vector<std::unique_ptr<Process>> dead_; // guarded by lock_
};

// What a walk finds: each of those that stay once, nobody twice.
void expect_all(World& world, Page& page, std::map<u32, u32> found) {
    WalkCost cost;
    {
        SharedGuard quiesce(world.quiesce);
        PageLock lock(page);
        rmap_walk(world, page, EarlyStop::no, cost, [&found](const Mapping& mapping) {
            found[mapping.vma.mm->id()]++;
            return Visit::go_on;
        });
    }
    for (const auto& [mm, times] : found)
        EXPECT_EQ(times, 1U) << "mm " << mm << " of " << found.size();
    EXPECT_EQ(cost.hits, found.size());
}

void run(objr_test* test, const std::vector<const char*>& schemes) {
    TestWorld world(test, 2, 4, "pte_chain");
    {
        Crowd crowd(test, world);
        const std::map<u32, u32> staying = crowd.staying_mms();
        Page* pages[kPages];
        for (u64 n = 0; n < kPages; n++)
            pages[n] = crowd.page(n);
        std::atomic<u64> walks{0};
        {
            Threads threads(std::chrono::milliseconds(700));
            for (int i = 0; i < 2; i++)
                threads.run([&](Random& random) { crowd.come_and_go(random); });
            threads.run([&](Random& random) { crowd.move(random); });
            for (int i = 0; i < 2; i++)
                threads.run([&](Random& random) {
                    Page& page = *pages[random.below(kPages)];
                    expect_all(*world, page, staying);
                    walks++;
                    SharedGuard quiesce(world->quiesce);
                    PageLock lock(page);
                    UseRows rows;
                    EXPECT_TRUE(page_referenced(*world, page, ReferencedMode::lazy, rows)); // collapses
                });
            threads.run([&](Random& random) {
                if (schemes.empty()) {
                    std::this_thread::sleep_for(std::chrono::milliseconds(5));
                } else {
                    WordsOf<120> reason;
                    EXPECT_TRUE(
                        switch_scheme(*world, *find_scheme(schemes[random.below(schemes.size())]), reason.words));
                }
                expect_verified(world.handle());
            });
        }
        EXPECT_GT(walks, 10U);
        crowd.go_home();
        for (u32 n = 0; n < kStaying; n++)
            for (u64 page = 0; page < kPages; page++)
                EXPECT_EQ(crowd.staying(n).load(page), page);
        EXPECT_EQ(pages[1]->mappings(), kStaying);
    }
}

TEST(PteChain, spec_H4_walks_find_everybody_once) {
    objr_test body;
    run(&body, {});
}

TEST(PteChain, spec_U1_switched_under_walks) {
    objr_test body;
    run(&body, {"pte_chain", "classic", "chain"});
}

} // namespace
