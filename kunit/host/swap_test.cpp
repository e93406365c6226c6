// SPDX-License-Identifier: GPL-2.0
//
// swap_test.cpp: pages are taken from processes by other threads while they run, fork, lock, move and exit, under each reverse map and
// with live switches. A process's memory is private: each thread knows every word that its process must see.
#include "threads.h"

#include "../cases/memory_backing.h"
#include "../cases/unmap_fixture.h"
#include "objrmap/migrate.h"
#include "objrmap/reclaim.h"
#include "objrmap/resize.h"
#include "objrmap/text.h"

#include <array>
#include <atomic>
#include <memory>
#include <thread>

namespace {

using namespace objr;
using namespace objr::test;
using namespace objr_host;

class SwapUnder : public testing::TestWithParam<const char*> {};

std::vector<const char*> scheme_names() {
    std::vector<const char*> names;
    for (u32 n = 0; scheme_name(n); n++)
        names.push_back(scheme_name(n));
    return names;
}

INSTANTIATE_TEST_SUITE_P(Schemes, SwapUnder, testing::ValuesIn(scheme_names()),
                         [](const auto& scheme) { return std::string(scheme.param); });

constexpr u64 kPages = 20;

// One process and what it must see; forks have a Memory of their own.
class Memory {
public:
    // The dead: their processors must live as long as others may hold their Mms.
    using Dead = std::vector<std::unique_ptr<Memory>>;

    Memory(objr_test* test, TestWorld& world, Dead& dead)
        : test_(test), world_(world), dead_(dead), process_(test, world) {}

    void map() { EXPECT_TRUE(process_.map(0, kPages)); }
    void store(u64 page, u64 value) {
        process_.store(place(page), value);
        values_[page] = value;
    }
    void expect(u64 page) { EXPECT_EQ(process_.load(place(page)), values_[page]) << "page " << page; }
    void expect_all() {
        for (u64 page = 0; page < kPages; page++)
            expect(page);
    }
    // All of it goes somewhere else, and the next time back.
    void move() {
        const u64 to = place(0) == 0 ? 1000 : 0;
        EXPECT_TRUE(process_.mm().move(at(place(0)), at(to), kPages * kPageSize, nullptr));
        first_ = to;
    }
    void advise(Advice advice, u64 page) {
        EXPECT_TRUE(process_.mm().advise(at(place(page)), at(place(page) + 3), advice));
    }
    // A child that looks at what it has inherited, writes to some of it and has a child itself.
    void fork_and_use(Random& random, u32 depth) {
        auto child = std::make_unique<Memory>(test_, world_, dead_);
        EXPECT_TRUE(process_.fork_to(child->process_));
        child->values_ = values_;
        child->first_ = first_;
        for (int i = 0; i < 12; i++)
            child->step(random, depth);
        child->expect_all();
        child->process_.exit();
        dead_.push_back(std::move(child));
    }
    void step(Random& random, u32 depth) {
        const u64 page = random.below(kPages);
        switch (random.below(16)) {
        case 0:
            if (depth != 0) fork_and_use(random, depth - 1);
            break;
        case 1: move(); break;
        case 2: advise(Advice::lock, min(page, kPages - 3)); break;
        case 3: advise(Advice::unlock, min(page, kPages - 3)); break;
        case 4:
            if (Result<Page*> pinned = pin_page(process_.mm(), at(place(page))); pinned) {
                values_[page] = random.next(); // by its frame
                write_once(*static_cast<u64*>(world_->pool.address(**pinned)), values_[page]);
                unpin_page(*world_, **pinned);
            }
            break;
        case 5:
        case 6:
        case 7:
        case 8: expect(page); break;
        default: store(page, random.next()); break;
        }
    }

private:
    u64 place(u64 page) const { return first_ + page; }

    objr_test* test_;
    TestWorld& world_;
    Dead& dead_;
    Process process_;
    std::array<u64, kPages> values_{};
    u64 first_ = 0;
};

void unmap_any(TestWorld& world, Random& random) {
    unmap_once(world, world->pool.page(static_cast<u32>(random.below(world->pool.size()))));
}

// Swap is taken away and given back while others use it.
void swap_off_and_on(TestWorld& world) {
    SwapoffResult result;
    static_cast<void>(swapoff(*world, result)); // others may be faster
    world->swap.set_enabled(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

void run_threads(objr_params params, bool switching, bool swapping_off = false) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, params);
    world->swap.set_readahead_floor(swapping_off ? 0 : ~0u);
    std::atomic<u64> steps{0};
    {
        Memory::Dead dead[2]; // one for each thread
        Memory first(test, world, dead[0]);
        Memory second(test, world, dead[1]);
        first.map();
        second.map();
        Threads threads(std::chrono::milliseconds(700));
        for (Memory* memory : {&first, &second})
            threads.run([memory, &steps](Random& random) {
                memory->step(random, 2);
                steps++;
            });
        for (int i = 0; i < 2; i++)
            threads.run([&world](Random& random) { unmap_any(world, random); });
        threads.run([&world](Random&) { expect_verified(world.handle()); });
        if (swapping_off) threads.run([&world](Random&) { swap_off_and_on(world); });
        if (switching)
            threads.run([&world](Random& random) {
                WordsOf<120> reason;
                Scheme* target = find_scheme(scheme_name(static_cast<u32>(random.below(scheme_names().size()))));
                static_cast<void>(switch_scheme(*world, *target, reason.words)); // anonmm may refuse
                std::this_thread::sleep_for(std::chrono::milliseconds(2));
            });
        threads.join();
        first.expect_all();
        second.expect_all();
    }
    EXPECT_GT(steps, 0u);
    if (!swapping_off) { // else it may be off all the time
        EXPECT_GT(world->counters.sum(Count::swap_outs), 0);
        EXPECT_GT(world->counters.sum(Count::swap_ins), 0);
    }
}

objr_params plain(const char* scheme) { return {.pool_mb = 2, .levels = 4, .scheme = scheme, .swap_mb = 1}; }
objr_params over_lz4(const char* scheme) {
    return {.pool_mb = 2, .levels = 4, .scheme = scheme, .swap_mb = 1, .swap_kind = OBJR_SWAP_LZ4};
}

void run_over_a_file(const char* scheme, bool swapping_off) {
    objr_memory_file* file = objr_memory_file_create("swapfile", 1 << 20, 1 << 20, 3);
    ASSERT_NE(file, nullptr);
    run_threads({.pool_mb = 2, .levels = 4, .scheme = scheme, .swap_file = objr_memory_file_open(file, 1)}, false,
                swapping_off);
    objr_memory_file_destroy(file);
}

TEST_P(SwapUnder, spec_U5_pages_taken_while_processes_run) { run_threads(plain(GetParam()), false); }

TEST_P(SwapUnder, spec_U5_pages_over_lz4_while_swap_goes_off_and_on) { run_threads(over_lz4(GetParam()), false, true); }

TEST_P(SwapUnder, spec_U5_pages_over_a_file_while_processes_run) { run_over_a_file(GetParam(), false); }

TEST(Swap, spec_U5_pages_over_a_file_while_swap_goes_off_and_on) { run_over_a_file("chain", true); }

TEST(Swap, spec_U5_pages_taken_while_schemes_are_switched) { run_threads(plain("chain"), true); }

// Who waits for the lock of a cached page looks again: the page may have left the cache, and its frame be somebody else's.
TEST(Swap, spec_U5_a_page_that_was_waited_for_is_looked_at_again) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    ASSERT_TRUE(a.map(0, 1));
    a.store(0, 5);
    ASSERT_TRUE(a.fork_to(b));
    ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    const SwapEntry entry = a.pte(0).swap_entry();
    objr::FrameReserve frames(*world, objr::Patience::files);
    Result<Page*> read = world->swap.read_locked(entry, frames);
    ASSERT_TRUE(read);
    Page& page = **read;
    std::thread waiter([&] { EXPECT_EQ(b.load(0), 5U); });
    while (page.refcount.load() < 3) // the cache's, ours, the waiter's
        std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    world->swap.remove_from_cache_locked(page);
    *static_cast<u64*>(world->pool.address(page)) = 99;
    page.unlock();
    waiter.join();
    EXPECT_EQ(a.load(0), 5U);
    EXPECT_EQ(a.page(0), b.page(0));
    world->pool.put(page);
}

// Who drops the last entry waits for the cached page's lock, and a migration gives the entry another page meanwhile: that one leaves
// the cache then.
TEST(Swap, spec_U5_last_entry_goes_while_its_page_migrates) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    Process a(test, world);
    ASSERT_TRUE(a.map(0, 1));
    a.store(0, 5);
    ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    const SwapEntry entry = a.pte(0).swap_entry();
    objr::FrameReserve frames(*world, objr::Patience::files);
    Result<Page*> read = world->swap.read_locked(entry, frames);
    ASSERT_TRUE(read);
    Page& old = **read;
    std::thread leaver([&] { EXPECT_TRUE(a.unmap(0, 1)); });
    while (old.refcount.load() < 3) // the cache's, ours, the leaver's
        std::this_thread::yield();
    Result<Page*> allocated = world->pool.allocate_locked();
    ASSERT_TRUE(allocated);
    Page& fresh = **allocated;
    world->swap.replace_locked(old, fresh);
    fresh.unlock();
    old.unlock();
    leaver.join();
    EXPECT_FALSE(SwapSpace::cached(fresh));
    EXPECT_TRUE(world.verify());
    world->pool.put(old);
    world->pool.put(fresh);
}

// The only mapping of a page whose slot is kept goes while it is a migration entry: whoever moves the page gives the slot up.
TEST(Swap, kept_slot_of_a_page_that_migrates) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    Process a(test, world);
    ASSERT_TRUE(a.map(0, 1));
    a.store(0, 5);
    ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    EXPECT_EQ(a.load(0), 5u);
    EXPECT_EQ(world->swap.kept(), 1u);
    Page& old = *a.page(0);
    world->pool.get(old);
    {
        SharedGuard quiesce(world->quiesce);
        objr::PageLock lock(old);
        objr::Migration migration(*world, old);
        ASSERT_TRUE(migration.start({}));
        ASSERT_TRUE(migration.unmap());
        std::thread([&] { EXPECT_TRUE(a.unmap(0, 1)); }).join();
        EXPECT_EQ(world->swap.kept(), 1u);
        Page& fresh = migration.settle();
        EXPECT_FALSE(SwapSpace::cached(fresh));
        fresh.unlock();
        world->pool.put(fresh);
    }
    world->pool.put(old);
    EXPECT_EQ(world->swap.kept(), 0u);
    EXPECT_TRUE(world.verify());
}

// A page of the swap cache whose last entry has just gone is written to by its only mapper, shared by fork and copied, all before it has
// left the cache: what was written is in the page that the other one has, also after the swap.
TEST_P(SwapUnder, spec_U5_written_while_it_leaves_the_swap_cache) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, GetParam(), 1);
    world->swap.set_readahead_floor(~0u);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    ASSERT_TRUE(a.map(0, 2));
    a.store(0, 1);
    a.store(1, 1);
    ASSERT_TRUE(a.fork_to(b));
    for (u64 n : {0, 1})
        ASSERT_EQ(unmap_at(world, a, n).answer, Unmapped::success);
    ASSERT_EQ(a.load(0), 1u);
    ASSERT_EQ(a.load(1), 1u);
    Page* first = a.page(0);
    Page* second = a.page(1);
    ASSERT_TRUE(SwapSpace::cached(*first) && SwapSpace::cached(*second));
    const SwapEntry entry = SwapSpace::entry_of(*second);
    ASSERT_EQ(world->swap.count(entry), 1u);

    std::atomic<bool> held{false};
    std::atomic<bool> enough{false};
    std::thread holder([&] { // somebody works on the first page
        world->pool.get(*first);
        first->lock();
        held = true;
        while (!enough)
            std::this_thread::yield();
        first->unlock();
        world->pool.put(*first);
    });
    while (!held)
        std::this_thread::yield();
    std::thread exiting([&] { b.exit(); }); // owes two reaps, waits for the first page
    while (world->swap.count(entry) != 0)
        std::this_thread::yield();
    while (first->refcount.load() < 4) // the cache's, a's mapping's, the holder's, and of who waits to reap it
        std::this_thread::yield();

    a.store(1, 2); // as the only user
    EXPECT_EQ(a.page(1), second);
    ASSERT_TRUE(a.fork_to(c));
    a.store(1, 3); // a copy; c alone has the page now
    EXPECT_EQ(c.page(1), second);
    EXPECT_EQ(unmap_at(world, c, 1).answer, Unmapped::success);
    EXPECT_EQ(c.page(1), nullptr);
    enough = true;
    holder.join();
    exiting.join();
    EXPECT_EQ(a.load(1), 3u);
    EXPECT_EQ(c.load(1), 2u);
    EXPECT_FALSE(body.failed);
}

// A write that brings a page in and then finds no page for the copy has written nothing.
TEST_P(SwapUnder, kept_after_a_write_that_failed) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, GetParam(), 1);
    world->swap.set_readahead_floor(~0u);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    ASSERT_TRUE(a.map(0, 1));
    a.store(0, 1);
    ASSERT_TRUE(a.fork_to(b));
    ASSERT_EQ(unmap_at(world, a, 0).answer, Unmapped::success);
    ASSERT_TRUE(b.mm().protect(at(0), at(1), OBJR_VM_READ));
    ASSERT_TRUE(b.mm().advise(at(0), at(1), Advice::lock));
    ASSERT_TRUE(c.devour(1000, 300));
    EXPECT_NE(a.try_store(0, 2), 0);
    EXPECT_TRUE(world.verify());
    EXPECT_TRUE(a.unmap(0, 1));
    EXPECT_TRUE(world.verify());
    EXPECT_EQ(b.load(0), 1u);
    EXPECT_FALSE(body.failed);
}

// ---- what is in the swap cache needs neither a frame to come back nor a slot to leave

// Of two that share pages first..last-1 one has them back: they are in the swap cache, and each has its slot.
void share_in_swap_cache(objr_test* test, TestWorld& world, Process& a, Process& b, u64 pages) {
    world->swap.set_readahead_floor(~0u);
    OBJR_ASSERT(a.map(0, pages));
    for (u64 n = 0; n < pages; n++)
        a.store(n, n + 1);
    OBJR_ASSERT(a.fork_to(b));
    for (u64 n = 0; n < pages; n++)
        OBJR_ASSERT_EQ(unmap_at(world, a, n).answer, Unmapped::success);
    for (u64 n = 0; n < pages; n++)
        OBJR_ASSERT_EQ(a.load(n), n + 1);
}

TEST(Swap, swapoff_of_pages_that_are_in_memory) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    share_in_swap_cache(test, world, a, b, 100);
    ASSERT_TRUE(c.map(1000, 1300));
    for (u64 n = 1000; world->pool.free_pages() != 0; n++)
        c.store(n, 1);
    EXPECT_EQ(world->swap.used(), 100u);
    SwapoffResult result;
    EXPECT_TRUE(swapoff(*world, result));
    for (u64 n = 0; n < 100; n++)
        EXPECT_EQ(b.load(n), n + 1);
    world->swap.set_enabled(true);
    EXPECT_FALSE(body.failed);
}

TEST(Swap, resize_with_pages_that_have_slots) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 3);
    Process a(test, world);
    Process b(test, world);
    Process c(test, world);
    const u64 slots = world->swap.slots();
    share_in_swap_cache(test, world, a, b, slots);
    ASSERT_TRUE(c.map(1000, 1010));
    for (u64 n = 1000; n < 1010; n++)
        c.store(n, 1);
    EXPECT_FALSE(world->swap.has_room());
    objr::Resize result;
    EXPECT_TRUE(objr::resize_pool(*world, 1, result));
    for (u64 n = 0; n < slots; n++)
        EXPECT_EQ(b.load(n), n + 1);
    EXPECT_FALSE(body.failed);
}

// ---- between the entry and the translation: a page is taken from its process, whose translation is still there, and the process
// changes what the address shows. It must see that at once.

// While the page that a has at its first page is migrated, between these two.
template <class During>
void while_it_migrates(objr_test* test, TestWorld& world, Process& a, During&& during) {
    Page& page = *a.page(0);
    world->pool.get(page);
    bool done = false;
    auto call = [&] {
        std::thread(during).join();
        done = true;
    };
    a.before_next_zap([](void* argument) { (*static_cast<decltype(call)*>(argument))(); }, &call);
    {
        SharedGuard quiesce(world->quiesce);
        objr::PageLock lock(page);
        objr::Migration migration(*world, page);
        OBJR_ASSERT(migration.start({}));
        OBJR_ASSERT(migration.unmap());
        Page& fresh = migration.settle();
        fresh.unlock();
        world->pool.put(fresh);
    }
    world->pool.put(page);
    OBJR_EXPECT(done);
}

TEST_P(SwapUnder, spec_C12_remap_while_a_page_leaves) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, GetParam(), 1);
    objr::test::Object object(test, world, "shown", 4);
    Process a(test, world);
    ASSERT_TRUE(a.map(0, 4, kShared, object.get(), 0));
    for (u64 n = 0; n < 4; n++)
        a.store(n, 10 + n);
    while_it_migrates(test, world, a, [&] {
        EXPECT_TRUE(a.mm().remap(at(0), kPageSize, 1, Populate::no));
        EXPECT_EQ(a.load(0), 11u);
        EXPECT_TRUE(a.mm().remap(at(0), kPageSize, 0, Populate::no));
        EXPECT_TRUE(
            a.mm().remap(at(0), kPageSize, 2, Populate::no)); // what is replaced is no page, but may have been just now
        EXPECT_EQ(a.load(0), 12u);
    });
    EXPECT_EQ(a.load(0), 12u);
    EXPECT_TRUE(world.verify());
    EXPECT_FALSE(body.failed);
}

TEST_P(SwapUnder, spec_U3_dontneed_while_a_page_leaves) {
    objr_test body;
    objr_test* test = &body;
    TestWorld world(test, 1, 4, GetParam(), 1);
    Process a(test, world);
    ASSERT_TRUE(a.map(0, 1));
    a.store(0, 5);
    while_it_migrates(test, world, a, [&] {
        EXPECT_TRUE(a.mm().advise(at(0), at(1), Advice::dontneed));
        EXPECT_EQ(a.load(0), 0u);
        a.store(0, 7);
    });
    EXPECT_EQ(a.load(0), 7u); // not lost with the page that left
    EXPECT_TRUE(world.verify());
    EXPECT_FALSE(body.failed);
}

} // namespace
