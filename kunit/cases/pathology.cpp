// SPDX-License-Identifier: GPL-2.0
// pathology.cpp: workloads on which one reverse map or another is known to be bad, each under every scheme: the answers are
// right all the same, and the ledger shows what they cost. Sizes are what a host can do in a second, or a guest without KVM; with
// OBJR_HOST_MEASURE (scripts/test-host --variant plain) they are those of the texts, and the times mean something.
#include "fixture.h"

using namespace objr;
using namespace objr::test;

namespace {

// The walk as its users ask it, which stops when all mappings are found, and the whole of it.
struct Costs {
    WalkCost stopped;
    WalkCost whole;
};

Costs costs_of(World& world, Page& page) {
    Costs costs;
    count_mappers(world, page, &costs.whole);
    SharedGuard quiesce(world.quiesce);
    PageLock lock(page);
    rmap_walk(world, page, EarlyStop::yes, costs.stopped, [](const Mapping&) { return Visit::go_on; });
    return costs;
}

// Nanoseconds from one call to the next.
class Stopwatch {
public:
    u64 lap() {
        const u64 before = last_;
        last_ = objr_ktime_get_ns();
        return last_ - before;
    }

private:
    u64 last_ = objr_ktime_get_ns();
};

#ifdef OBJR_HOST_MEASURE
constexpr bool kMeasure = true;
#else
constexpr bool kMeasure = false;
#endif

constexpr u32 choose(u32 measured, u32 hosted, u32 guest) {
    if constexpr (kMeasure) {
        return measured;
    }
    return __STDC_HOSTED__ ? hosted : guest;
}

bool has_private_objects(const TestWorld& world) { return world.is("chain") || world.is("pte_chain"); }

} // namespace

// ---- a server that forks children, each of which rewrites what it has inherited

namespace {

constexpr u32 kChildren = choose(1000, 100, 20);
constexpr u32 kServerPages = choose(1000, 100, 20);
constexpr u32 kRewritten = choose(20, 100, 20); // by each child

struct ServerTimes {
    u64 fork, copy, walk, exit;
};

void run_server(objr_test* test, TestWorld& world, ServerTimes& times) {
    Process server(test, world);
    Processes children(test, world, kChildren);
    OBJR_PROPAGATE();
    OBJR_ASSERT(server.map(0, kServerPages));
    for (u32 page = 0; page < kServerPages; page++) {
        server.store(page, page);
    }
    Stopwatch watch;
    for (u32 n = 0; n < kChildren; n++) {
        OBJR_ASSERT(server.fork_to(children[n]));
    }
    times.fork = watch.lap();
    for (u32 n = 0; n < kChildren; n++) {
        for (u32 page = 0; page < kRewritten; page++) {
            children[n].store(page, n);
        }
    }
    times.copy = watch.lap();
    u64 candidates = 0;
    for (u32 n = 0; n < kChildren; n++) {
        const Costs costs = costs_of(*world, *children[n].page(n % kRewritten));
        OBJR_EXPECT_EQ(costs.stopped.hits, 1);
        OBJR_EXPECT_EQ(costs.whole.hits, 1);
        // The family's list against an object of the child's own.
        OBJR_EXPECT_EQ(costs.whole.candidates, has_private_objects(world) ? 1 : kChildren + 1);
        candidates += costs.stopped.candidates;
    }
    times.walk = watch.lap();
    if (has_private_objects(world) || world.is("anonmm")) { // anonmm asks the mm that the page names first
        OBJR_EXPECT_EQ(candidates, kChildren);
    } else {
        OBJR_EXPECT(candidates >= kChildren * kChildren / 2);
    }
    OBJR_TEST_LOG("%s: %u children x %u pages: %llu.%02llu candidates until the mapping is found, %llu bytes of map",
                  world->scheme().name(), kChildren, kServerPages, candidates / kChildren,
                  candidates * 100 / kChildren % 100, world->scheme().bytes(*world));
    watch.lap();
    for (u32 n = 0; n < kChildren; n++) {
        children[n].exit();
    }
    times.exit = watch.lap();
}

} // namespace

OBJR_TEST(pathology_forking_server) {
    TestWorld world(test, (kChildren * kRewritten + kServerPages) / 256 + 1);
    OBJR_ASSERT(world);
    ServerTimes times = {};
    run_server(test, world, times);
    OBJR_TEST_LOG("%s: ns: %llu a fork, %llu a copy, %llu a walk to the end and one to the mapping, %llu an exit",
                  world->scheme().name(), times.fork / kChildren, times.copy / kChildren / kRewritten,
                  times.walk / kChildren, times.exit / kChildren);
}

// ---- many Vmas of one file

namespace {

// Windows of four pages, all over a file of a hundred; every window that has page 50 touches it there.
void map_windows(objr_test* test, Processes& all, FileMapping* file, u32 windows, u32* touched) {
    constexpr u32 kTarget = 50;
    for (u32 n = 0; n < all.count(); n++) {
        for (u32 i = 0; i < windows; i++) {
            const u32 first = (n * windows + i) * 37 % 97;
            OBJR_ASSERT(all[n].map(i * 8, i * 8 + 4, kShared, file, first));
            if (first <= kTarget && kTarget < first + 4) {
                all[n].load(i * 8 + kTarget - first);
                ++*touched;
            } else if (i % 16 == 0) {
                all[n].load(i * 8);
            }
        }
    }
}

void many_vmas_of_one_file(objr_test* test, u32 processes, u32 windows) {
    TestWorld world(test);
    Object object(test, world, "common", 100);
    OBJR_PROPAGATE();
    Processes all(test, world, processes);
    OBJR_PROPAGATE();
    u32 touched = 0;
    Stopwatch watch;
    map_windows(test, all, object.get(), windows, &touched);
    OBJR_PROPAGATE();
    const u64 map = watch.lap();
    Page* page = object->find_page(50);
    OBJR_ASSERT(page != nullptr);
    constexpr u32 kWalks = choose(50, 1, 1);
    Costs costs;
    watch.lap();
    for (u32 n = 0; n < kWalks; n++) {
        costs = costs_of(*world, *page);
    }
    const u64 walks = watch.lap();
    world->pool.put(*page);
    OBJR_EXPECT_EQ(costs.whole.hits, touched);
    OBJR_EXPECT_EQ(costs.whole.candidates, touched);
    OBJR_EXPECT_EQ(costs.stopped.candidates, touched);
    OBJR_TEST_LOG(
        "%s: %u processes x %u Vmas of one file: %llu candidates, %llu hits; ns: %llu a mapping made, %llu a walk",
        world->scheme().name(), processes, windows, costs.whole.candidates, costs.whole.hits, map / processes / windows,
        walks / kWalks / 2);
}

} // namespace

OBJR_TEST(pathology_many_vmas_of_one_file) {
    constexpr u32 kScale = choose(100, 100, 20);
    many_vmas_of_one_file(test, 1, kScale * kScale);
    many_vmas_of_one_file(test, kScale, kScale);
}

// ---- windows that have nothing in common

OBJR_TEST(pathology_disjoint_windows) {
    constexpr u32 kWindows = choose(16000, 16000, 500);
    TestWorld world(test, kWindows / 256 / 8 + 1);
    Object object(test, world, "disjoint", kWindows);
    Process process(test, world);
    OBJR_PROPAGATE();
    for (u32 i = 0; i < kWindows; i++) {
        OBJR_ASSERT(process.map(i * 2, i * 2 + 1, kShared, object.get(), i));
        if (i % 16 == 0) {
            process.store(i * 2, i);
        }
    }
    Stopwatch watch;
    for (u32 i = 0; i < kWindows; i += 16) {
        const Costs costs = costs_of(*world, *process.page(i * 2));
        OBJR_EXPECT_EQ(costs.whole.candidates, 1);
        OBJR_EXPECT_EQ(costs.whole.hits, 1);
    }
    OBJR_TEST_LOG("%s: %u disjoint windows: %llu ns a walk", world->scheme().name(), kWindows,
                  watch.lap() / (kWindows / 16) / 2);
}

// ---- a child forks a child, and so on: objects must not pile up

namespace {

// Two for each Vma (spec M3), and the root, which counts itself as its child and so is not taken again while it has another.
void expect_few_objects(objr_test* test, const TestWorld& world) {
    OBJR_EXPECT(world->counters.sum(Count::anon_vmas) <= 2 * world->counters.sum(Count::vmas) + 1);
}

} // namespace

// Each generation dies when the next one is there.
OBJR_TEST(pathology_avc_growth) {
    constexpr u32 kGenerations = choose(300, 300, 40);
    TestWorld world(test);
    Processes pair(test, world, 2);
    OBJR_PROPAGATE();
    OBJR_ASSERT(pair[0].map(0, 4));
    for (u64 page = 0; page < 4; page++) {
        pair[0].store(page, page);
    }
    for (u32 n = 0; n < kGenerations; n++) {
        Process& parent = pair[n % 2];
        Process& child = pair[(n + 1) % 2];
        OBJR_ASSERT(parent.fork_to(child));
        child.store(0,
                    n); // an own copy of the first; of the second now and then; the others are the founder's for ever
        if (n % 3 == 0) {
            child.store(1, n);
        }
        expect_few_objects(test, world);
        pair.restart(n % 2);
        expect_few_objects(test, world);
        OBJR_EXPECT_EQ(child.load(0), n);
        OBJR_EXPECT_EQ(child.load(3), 3);
        OBJR_EXPECT_EQ(count_mappers(*world, *child.page(0)), 1);
        OBJR_EXPECT_EQ(count_mappers(*world, *child.page(3)), 1);
    }
    OBJR_TEST_LOG("%s: after %u generations: %lld anon_vmas, %lld links, %lld Vmas", world->scheme().name(),
                  kGenerations, world->counters.sum(Count::anon_vmas), world->counters.sum(Count::anon_vma_chains),
                  world->counters.sum(Count::vmas));
}

// All generations live: links grow with the square of the depth (a Vma has one to each ancestor), objects do not.
OBJR_TEST(pathology_avc_growth_of_the_living) {
    constexpr u32 kDepth = 24;
    TestWorld world(test);
    Processes line(test, world, kDepth);
    OBJR_PROPAGATE();
    OBJR_ASSERT(line[0].map(0, 2));
    line[0].store(0, 0);
    line[0].store(1, 100);
    for (u32 n = 1; n < kDepth; n++) {
        OBJR_ASSERT(line[n - 1].fork_to(line[n]));
        line[n].store(0, n);
        expect_few_objects(test, world);
    }
    if (world.is("chain")) {
        OBJR_EXPECT(world->counters.sum(Count::anon_vma_chains) <= kDepth * (kDepth + 1) / 2);
    }
    OBJR_EXPECT_EQ(count_mappers(*world, *line[0].page(1)), kDepth);
    for (u32 n = 0; n < kDepth; n++) {
        OBJR_EXPECT_EQ(line[n].load(0), n);
        OBJR_EXPECT_EQ(line[n].load(1), 100);
    }
    OBJR_TEST_LOG("%s: a line of %u: %lld anon_vmas, %lld links", world->scheme().name(), kDepth,
                  world->counters.sum(Count::anon_vmas), world->counters.sum(Count::anon_vma_chains));
}
