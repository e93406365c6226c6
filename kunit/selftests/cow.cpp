// SPDX-License-Identifier: GPL-2.0
//
// fork and copy-on-write (U2): neither side sees the other's later writes, and the last owner writes without a copy.
#include <memory>
#include <random>
#include <thread>

#include "harness.h"

using namespace harness;
using objr::kPage;

static void* filled(int fd, size_t pages, uint64_t tag) {
    void* memory = map_pages(fd, pages);
    for (size_t page = 0; page < pages; ++page)
        fill(at(memory, page), tag + page);
    return memory;
}

static void expect_pages(void* memory, size_t pages, uint64_t tag) {
    for (size_t page = 0; page < pages; ++page)
        CHECK(holds(at(memory, page), tag + page));
}

CASE(U2_child_writes) {
    const int fd = device();
    void* memory = filled(fd, 16, 100);
    in_child([&] {
        expect_pages(memory, 16, 100);
        for (size_t page = 0; page < 16; page += 2)
            fill(at(memory, page), 900 + page);
        for (size_t page = 0; page < 16; ++page)
            CHECK(holds(at(memory, page), (page % 2 ? 100 : 900) + page));
    });
    expect_pages(memory, 16, 100);
}

CASE(U2_parent_writes) {
    const int fd = device();
    void* memory = filled(fd, 16, 100);
    Actor child([&](Actor& self) {
        self.pause();
        expect_pages(memory, 16, 100);
        self.pause();
        expect_pages(memory, 16, 100);
    });
    child.await();
    for (size_t page = 0; page < 16; ++page)
        fill(at(memory, page), 500 + page);
    child.step();
    expect_pages(memory, 16, 500);
    CHECK_OK(munmap(memory, 16 * kPage));
    child.finish();
}

CASE(U2_both_write_untouched_pages) { // pages that nobody had touched at fork belong to who touches them
    const int fd = device();
    void* memory = map_pages(fd, 8);
    Actor child([&](Actor& self) {
        fill(memory, 1);
        self.pause();
        CHECK(holds(memory, 1));
        CHECK(holds(at(memory, 1), 0));
    });
    child.await();
    CHECK(holds(memory, 0));
    fill(at(memory, 1), 2);
    child.finish();
    CHECK(holds(at(memory, 1), 2));
    CHECK(holds(memory, 0));
}

CASE(U2_last_owner_does_not_copy) {
    need_module();
    const int fd = device();
    const size_t pages = 32;
    void* memory = filled(fd, pages, 1);
    in_child([&] { expect_pages(memory, pages, 1); });
    CHECK(becomes([] { return objr::stat("mms") == 1; }));
    uint64_t before = objr::stat("cow_faults");
    const uint64_t free_before = objr::stat("free_pages");
    for (size_t page = 0; page < pages; ++page)
        fill(at(memory, page), 50 + page);
    CHECK_EQ(objr::stat("cow_faults"), before);
    CHECK_EQ(objr::stat("free_pages"), free_before);
    // The other way round: the child is the one that stays.
    Actor child([&](Actor& self) {
        self.pause();
        before = objr::stat("cow_faults");
        for (size_t page = 0; page < pages; ++page)
            fill(at(memory, page), 70 + page);
        CHECK_EQ(objr::stat("cow_faults"), before);
        expect_pages(memory, pages, 70);
    });
    child.await();
    CHECK_OK(munmap(memory, pages * kPage));
    child.finish();
}

CASE(U2_every_copy_is_counted_once) {
    need_module();
    const int fd = device();
    const size_t pages = 20;
    void* memory = filled(fd, pages, 1);
    const uint64_t before = objr::stat("cow_faults");
    Actor child([&](Actor& self) {
        for (size_t page = 0; page < pages; ++page)
            fill(at(memory, page), 100 + page);
        self.pause();
        expect_pages(memory, pages, 100);
    });
    child.await();
    CHECK_EQ(objr::stat("cow_faults") - before, pages);
    for (size_t page = 0; page < pages; ++page) // these have one owner again
        fill(at(memory, page), 200 + page);
    CHECK_EQ(objr::stat("cow_faults") - before, pages);
    CHECK_EQ(objr::stat("anon_pages"), 2 * pages);
    child.finish();
}

CASE(fork_costs_no_pages) {
    need_module();
    const int fd = device();
    const size_t pages = 1000;
    void* memory = filled(fd, pages, 1);
    const auto before = objr::stats();
    std::vector<std::unique_ptr<Actor>> children;
    for (int i = 0; i < 10; ++i)
        children.push_back(std::make_unique<Actor>([&](Actor& self) {
            self.pause();
            CHECK(holds(at(memory, 999), 1000));
        }));
    for (auto& child : children)
        child->await();
    auto after = objr::stats();
    CHECK_EQ(after["anon_pages"], before.at("anon_pages"));
    CHECK_EQ(after["mappings"], 11 * pages);
    CHECK_EQ(after["mms"], 11u);
    for (auto& child : children)
        child->finish();
    CHECK(becomes([&] { return objr::stat("mappings") == pages; }));
    expect_pages(memory, pages, 1);
}

// A chain of forks: generation g writes page g and checks what all before it wrote.
static void generation(void* memory, unsigned number, unsigned last) {
    for (unsigned page = 0; page < last; ++page)
        CHECK(holds(at(memory, page), page < number ? page + 1 : 0));
    fill(at(memory, number), number + 1);
    if (number + 1 < last) in_child([=] { generation(memory, number + 1, last); });
    for (unsigned page = 0; page < last; ++page)
        CHECK(holds(at(memory, page), page <= number ? page + 1 : 0));
}

CASE(deep_fork_chain) {
    const int fd = device();
    void* memory = map_pages(fd, 64);
    generation(memory, 0, 64);
}

// A chain in which every generation rewrites every page, and the parents read theirs after the children are gone.
static void rewriting(void* memory, unsigned pages, unsigned depth, unsigned last) {
    for (unsigned page = 0; page < pages; ++page)
        fill(at(memory, page), depth * 1000 + page + 1);
    if (depth < last) in_child([=] { rewriting(memory, pages, depth + 1, last); });
    for (unsigned page = 0; page < pages; ++page)
        CHECK(holds(at(memory, page), depth * 1000 + page + 1));
}

CASE(deep_fork_chain_all_rewritten) {
    const int fd = device();
    void* memory = map_pages(fd, 8);
    rewriting(memory, 8, 1, 40);
}

CASE(parents_die_first) { // each generation forks and dies; the last one still sees what all have written
    const int fd = device();
    void* memory = map_pages(fd, 32);
    int ends[2];
    CHECK_OK(pipe(ends));
    for (unsigned number = 0;; ++number) {
        fill(at(memory, number), number + 1);
        if (number == 31) break;
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid) {
            if (number) _exit(0); // an ancestor dies at once
            // The first waits for word from the last.
            close(ends[1]);
            char byte;
            CHECK_EQ(read(ends[0], &byte, 1), 1);
            CHECK(holds(memory, 1));
            CHECK(holds(at(memory, 1), 0));
            return;
        }
    }
    for (unsigned page = 0; page < 32; ++page)
        CHECK(holds(at(memory, page), page + 1));
    CHECK_EQ(write(ends[1], "x", 1), 1);
    _exit(0);
}

// A random tree of forks over pages whose right content everyone knows from its own line of ancestors.
static void tree(void* memory, std::vector<uint64_t> tags, std::mt19937_64& random, unsigned depth, uint64_t line) {
    for (int act = 0; act < 3; ++act) {
        for (unsigned writes = 0; writes < 4; ++writes) {
            const size_t page = random() % tags.size();
            tags[page] = line * 100 + static_cast<uint64_t>(act) * 10 + writes + 1;
            fill(at(memory, page), tags[page]);
        }
        if (depth) {
            const uint64_t seed = random();
            in_child([&] {
                std::mt19937_64 own(seed);
                tree(memory, tags, own, depth - 1, line * 4 + static_cast<uint64_t>(act) + 1);
            });
        }
        for (size_t page = 0; page < tags.size(); ++page)
            CHECK(holds(at(memory, page), tags[page]));
    }
}

CASE_LIMIT(random_fork_tree, 120) {
    const int fd = device();
    void* memory = map_pages(fd, 24);
    std::mt19937_64 random(42);
    tree(memory, std::vector<uint64_t>(24), random, 4, 1);
}

CASE(many_siblings) {
    const int fd = device();
    const size_t pages = 4;
    void* memory = filled(fd, pages, 1);
    std::vector<std::unique_ptr<Actor>> children;
    for (unsigned i = 0; i < 50; ++i)
        children.push_back(std::make_unique<Actor>([=](Actor& self) {
            self.pause();
            fill(at(memory, i % pages), 1000 + i);
            self.pause();
            for (size_t page = 0; page < pages; ++page)
                CHECK(holds(at(memory, page), page == i % pages ? 1000 + i : 1 + page));
        }));
    for (auto& child : children)
        child->await();
    for (auto& child : children)
        child->go(); // all write at once
    for (auto& child : children)
        child->await();
    expect_pages(memory, pages, 1);
    for (auto& child : children)
        child->finish();
}

CASE(fork_of_a_read_only_mapping) {
    const int fd = device();
    void* memory = filled(fd, 4, 1);
    CHECK_OK(mprotect(memory, 4 * kPage, PROT_READ));
    Actor child([&](Actor& self) {
        self.pause();
        CHECK_EQ(write_signal(memory), SIGSEGV);
        expect_pages(memory, 4, 1);
        CHECK_OK(mprotect(memory, 4 * kPage, PROT_READ | PROT_WRITE));
        fill(memory, 50);
        self.pause();
        CHECK(holds(memory, 50));
    });
    child.await();
    CHECK_OK(mprotect(memory, 4 * kPage, PROT_READ | PROT_WRITE));
    fill(at(memory, 1), 60);
    child.step();
    CHECK(holds(memory, 1));
    CHECK(holds(at(memory, 1), 60));
    child.finish();
}

CASE(
    dirty_page_made_read_only_and_back_across_a_fork) { // the kernel may make a dirty read-only PTE writable in silence
    const int fd = device();
    void* memory = filled(fd, 4, 1);
    for (int round = 0; round < 3; ++round) {
        CHECK_OK(mprotect(memory, 4 * kPage, PROT_READ));
        Actor child([&](Actor& self) {
            self.pause();
            expect_pages(memory, 4, 1);
        });
        child.await();
        CHECK_OK(mprotect(memory, 4 * kPage, PROT_READ | PROT_WRITE));
        for (size_t page = 0; page < 4; ++page)
            fill(at(memory, page), 100);
        child.finish();
        for (size_t page = 0; page < 4; ++page)
            fill(at(memory, page), 1 + page);
    }
}

CASE(fork_while_a_thread_writes) {
    const int fd = device();
    const size_t pages = 8;
    void* memory = map_pages(fd, pages);
    std::vector<int> stop(1);
    volatile int* stopped = stop.data();
    // The writer raises one counter after another; a child must see a state that was: never a later page ahead by more
    // than nothing, never values that change.
    std::thread writer([=] {
        for (uint64_t value = 1; !*stopped; ++value)
            for (size_t page = 0; page < pages; ++page)
                *reinterpret_cast<volatile uint64_t*>(at(memory, page)) = value;
    });
    for (int round = 0; round < 30; ++round)
        in_child([&] {
            uint64_t seen[8];
            for (size_t page = 0; page < pages; ++page)
                seen[page] = *reinterpret_cast<volatile uint64_t*>(at(memory, page));
            for (size_t page = 0; page + 1 < pages; ++page)
                CHECK(seen[page] >= seen[page + 1] && seen[page] <= seen[page + 1] + 1);
            for (int again = 0; again < 100; ++again)
                for (size_t page = 0; page < pages; ++page)
                    CHECK_EQ(*reinterpret_cast<volatile uint64_t*>(at(memory, page)), seen[page]);
        });
    *stopped = 1;
    writer.join();
}

CASE(two_children_share_after_the_parent_left) {
    const int fd = device();
    void* memory = filled(fd, 4, 1);
    Actor one([&](Actor& self) {
        self.pause();
        fill(memory, 11);
        self.pause();
        CHECK(holds(memory, 11));
        CHECK(holds(at(memory, 1), 2));
    });
    Actor two([&](Actor& self) {
        self.pause();
        CHECK(holds(memory, 1));
        fill(memory, 22);
        CHECK(holds(memory, 22));
        CHECK(holds(at(memory, 1), 2));
    });
    one.await();
    two.await();
    CHECK_OK(munmap(memory, 4 * kPage));
    one.step();
    two.finish();
    one.finish();
}

CASE(fork_bomb_of_exits) { // fork and exit at once, from several processes
    const int fd = device();
    void* memory = filled(fd, 16, 1);
    std::vector<pid_t> workers;
    for (int worker = 0; worker < 4; ++worker) {
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) {
            for (int round = 0; round < 25; ++round)
                in_child([&] {
                    expect_pages(memory, 16, 1);
                    fill(at(memory, static_cast<size_t>(round) % 16), 99);
                });
            expect_pages(memory, 16, 1);
            _exit(0);
        }
        workers.push_back(pid);
    }
    for (const pid_t pid : workers)
        expect_exit(pid);
    expect_pages(memory, 16, 1);
}
