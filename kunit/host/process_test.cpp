// SPDX-License-Identifier: GPL-2.0
//
// process_test.cpp: processes on the pool, with translations of their own that the core must keep true (lock.h, rule L3).
// The core is driven through shim/module.h only.
#include "../cases/inject.h"
#include "../cases/memory_backing.h"
#include "out.h"
#include "process.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace objr_host;

constexpr objr_u64 kPage = OBJR_PAGE_SIZE;
constexpr objr_u64 kBase = 0x7f0000000000;
constexpr objr_u32 kReadWrite = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_MAYWRITE | OBJR_VM_MAYSHARE;

class Processes : public testing::Test {
protected:
    void SetUp() override {
        const objr_params params{.pool_mb = 2, .levels = 4, .scheme = "chain", .swap_mb = 2};
        ASSERT_EQ(objr_world_create(&params, &world), 0);
    }
    void TearDown() override {
        if (world == nullptr) return;
        EXPECT_EQ(live_regions(), 0U);
        EXPECT_EQ(stat("free_pages"), stat("pool_pages")) << "not every page came back to the pool";
        objr_world_destroy(world);
    }

    void verify() {
        objr_out out;
        EXPECT_EQ(objr_show_verify(world, &out), 0) << out.text;
    }

    long stat(const std::string& name) {
        objr_out out;
        objr_show_stats(world, &out);
        const std::size_t at = ("\n" + out.text).find("\n" + name + " ");
        EXPECT_NE(at, std::string::npos) << "no " << name << " in\n" << out.text;
        return at == std::string::npos ? -1 : std::atol(out.text.c_str() + at + name.size() + 1);
    }

    objr_object* named(const char* name, objr_u64 pages) {
        const objr_owner root{0, 0, 1};
        objr_object* object = nullptr;
        EXPECT_EQ(objr_object_of_name(world, name, pages * kPage, OBJR_OBJECT_CREATE, &root, &object), 0);
        return object;
    }

    objr_world* world = nullptr;
};

int read(Process& process, objr_u64 address) {
    std::uint8_t byte = 0xee;
    switch (process.load(address, &byte)) {
    case Outcome::kOk: return byte;
    case Outcome::kSegv: return -1;
    case Outcome::kBus: return -2;
    }
    return -3;
}

TEST_F(Processes, memory_is_zero_then_what_was_written) {
    Process process(world, "one");
    ASSERT_EQ(process.map(kBase, 4 * kPage, 0, kReadWrite), 0);
    EXPECT_EQ(read(process, kBase + 5), 0);
    EXPECT_EQ(process.store(kBase + 5, 7), Outcome::kOk);
    EXPECT_EQ(read(process, kBase + 5), 7);
    EXPECT_EQ(read(process, kBase + 4 * kPage), -1);
    verify();
    EXPECT_EQ(process.unmap(kBase, 2 * kPage), 0);
    EXPECT_EQ(read(process, kBase + 5), -1);
    EXPECT_EQ(read(process, kBase + 2 * kPage), 0);
    verify();
}

TEST_F(Processes, spec_U2_fork_copies_on_write) {
    Process parent(world, "parent");
    ASSERT_EQ(parent.map(kBase, 2 * kPage, 0, kReadWrite), 0);
    parent.store(kBase, 1);
    Process child(world, "child");
    ASSERT_EQ(parent.fork(child), 0);
    EXPECT_EQ(read(child, kBase), 1);
    verify();
    parent.store(kBase, 2);
    EXPECT_EQ(read(child, kBase), 1);
    child.store(kBase, 3);
    EXPECT_EQ(read(parent, kBase), 2);
    EXPECT_EQ(read(child, kBase), 3);
    verify();
    parent.exit();
    EXPECT_EQ(read(child, kBase), 3);
    const long copies = stat("cow_faults");
    child.store(kBase, 4);
    EXPECT_EQ(stat("cow_faults"), copies) << "the last owner writes without copying";
    verify();
}

TEST_F(Processes, objects_are_shared_and_viewed_privately) {
    objr_object* object = named("shared", 4);
    ASSERT_NE(object, nullptr);
    Process one(world, "one"), two(world, "two"), three(world, "three");
    ASSERT_EQ(one.map(kBase, 4 * kPage, 0, kReadWrite | OBJR_VM_SHARED, object), 0);
    ASSERT_EQ(two.map(kBase + kPage, 3 * kPage, 1, kReadWrite | OBJR_VM_SHARED, object), 0);
    ASSERT_EQ(three.map(kBase, 4 * kPage, 0, kReadWrite, object), 0);
    one.store(kBase + kPage, 5);
    EXPECT_EQ(read(two, kBase + kPage), 5);
    EXPECT_EQ(read(three, kBase + kPage), 5);
    three.store(kBase + kPage, 6);
    EXPECT_EQ(read(one, kBase + kPage), 5);
    two.store(kBase + kPage, 7);
    EXPECT_EQ(read(one, kBase + kPage), 7);
    EXPECT_EQ(read(three, kBase + kPage), 6);
    verify();
    EXPECT_EQ(objr_object_truncate(object, kPage), 0);
    EXPECT_EQ(read(one, kBase + kPage), -2);
    EXPECT_EQ(read(two, kBase + kPage), -2);
    EXPECT_EQ(read(three, kBase + kPage), -2);
    EXPECT_EQ(read(one, kBase), 0);
    verify();
    objr_object_put(object);
}

TEST_F(Processes, every_write_to_a_file_is_noticed) {
    objr_memory_file* file = objr_memory_file_create("file", 4 * kPage, 4 * kPage, 3);
    ASSERT_NE(file, nullptr);
    objr_object* object = nullptr;
    ASSERT_EQ(objr_object_of_file(world, objr_memory_file_open(file, 1), &object), 0);
    {
        Process one(world, "one"), two(world, "two");
        ASSERT_EQ(one.map(kBase, 4 * kPage, 0, kReadWrite | OBJR_VM_SHARED, object), 0);
        ASSERT_EQ(two.map(kBase, 4 * kPage, 0, kReadWrite | OBJR_VM_SHARED, object), 0);
        EXPECT_EQ(read(one, kBase + 9), objr_memory_file_byte(3, 9));
        for (int round = 1; round <= 3; round++) {
            Process& writer = round == 2 ? two : one;
            EXPECT_EQ(writer.store(kBase + kPage + 9, static_cast<std::uint8_t>(round)), Outcome::kOk);
            EXPECT_EQ(objr_object_sync(object, 0, ~0ULL, 0), 0);
            std::uint8_t byte = 0;
            EXPECT_EQ(objr_memory_file_read(file, kPage + 9, &byte, 1), 1U);
            EXPECT_EQ(byte, round);
            verify();
        }
        const objr_u32 writes = objr_memory_file_calls(file, OBJR_MEMORY_WRITE);
        EXPECT_EQ(objr_object_sync(object, 0, ~0ULL, 0), 0);
        EXPECT_EQ(objr_memory_file_calls(file, OBJR_MEMORY_WRITE), writes) << "what is clean is not written";
        two.store(kBase + 3 * kPage, 77);
    }
    objr_object_put(object); // the last one writes back
    std::uint8_t byte = 0;
    EXPECT_EQ(objr_memory_file_read(file, 3 * kPage, &byte, 1), 1U);
    EXPECT_EQ(byte, 77);
    EXPECT_EQ(objr_memory_file_users(file), 0U);
    objr_memory_file_destroy(file);
}

TEST_F(Processes, moved_and_protected_memory_keeps_its_contents) {
    Process process(world, "mover");
    ASSERT_EQ(process.map(kBase, 8 * kPage, 3, kReadWrite), 0);
    for (unsigned i = 0; i < 8; i++)
        process.store(kBase + i * kPage, static_cast<std::uint8_t>(10 + i));
    const objr_u64 to = kBase + 511 * kPage; // over the end of a leaf table
    ASSERT_EQ(process.move(kBase + 2 * kPage, to, 3 * kPage), 0);
    verify();
    EXPECT_EQ(read(process, kBase + 2 * kPage), -1);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_EQ(read(process, to + i * kPage), 12 + static_cast<int>(i));
    ASSERT_EQ(process.protect(to + kPage, kPage, OBJR_VM_READ), 0);
    EXPECT_EQ(process.store(to + kPage, 1), Outcome::kSegv);
    EXPECT_EQ(read(process, to + kPage), 13);
    ASSERT_EQ(process.protect(to, 3 * kPage, OBJR_VM_READ | OBJR_VM_WRITE), 0);
    EXPECT_EQ(process.store(to + kPage, 1), Outcome::kOk);
    EXPECT_EQ(read(process, to + kPage), 1);
    verify();
}

// The processes' own entries say who used a page: between two exact calls as many as touched it (spec M8). One that is exiting
// has no say today (M7).
TEST_F(Processes, spec_M8_referenced_is_exact) {
    std::vector<std::unique_ptr<Process>> family;
    family.push_back(std::make_unique<Process>(world, "p0"));
    ASSERT_EQ(family[0]->map(kBase, 2 * kPage, 0, kReadWrite), 0);
    EXPECT_EQ(family[0]->store(kBase, 7), Outcome::kOk);
    for (int n = 1; n < 4; n++) {
        family.push_back(std::make_unique<Process>(world, "p" + std::to_string(n)));
        ASSERT_EQ(family[n / 2]->fork(*family[n]), 0);
    }
    const auto young = [&](const char* options) {
        const std::string words =
            "referenced pid " + std::to_string(family[0]->pid()) + " addr " + std::to_string(kBase) + options;
        objr_command command;
        objr_command_parse(&command, words.data(), words.size());
        objr_out out;
        EXPECT_EQ(objr_run_command(world, &command, &out), 0) << out.text;
        const std::size_t at = out.text.find(" young=");
        return at == std::string::npos ? -1 : std::atoi(out.text.c_str() + at + 7);
    };
    for (const char* scheme : {"classic", "chain"}) {
        char why[100];
        ASSERT_EQ(objr_set_scheme(world, scheme, why, sizeof(why)), 0);
        for (const auto& process : family)
            EXPECT_EQ(read(*process, kBase), 7);
        young("");
        EXPECT_EQ(young(""), 0);
        for (unsigned set = 0; set < 16; set++) {
            for (int n = 0; n < 4; n++) {
                if (set & (1u << n)) {
                    EXPECT_EQ(read(*family[n], kBase), 7);
                }
            }
            EXPECT_EQ(young(" peek"), __builtin_popcount(set));
            EXPECT_EQ(young(""), __builtin_popcount(set));
        }
    }
    for (const auto& process : family)
        EXPECT_EQ(read(*process, kBase), 7);
    family[3]->begin_exit();
    EXPECT_EQ(young(""), 3);
    for (const auto& process : family)
        process->exit();
}

// A page that is taken away is in no process's own tables either; where the scan finds one there, nothing has happened.
TEST_F(Processes, spec_U7_revoke_clears_the_processes_tables) {
    Process parent(world, "parent");
    Process child(world, "child");
    Process stranger(world, "stranger");
    ASSERT_EQ(parent.map(kBase, 2 * kPage, 0, kReadWrite), 0);
    ASSERT_EQ(stranger.map(kBase, 2 * kPage, 0, kReadWrite), 0);
    EXPECT_EQ(parent.store(kBase, 7), Outcome::kOk);
    ASSERT_EQ(parent.fork(child), 0);
    EXPECT_EQ(read(child, kBase), 7);
    EXPECT_EQ(stranger.store(kBase, 9), Outcome::kOk);
    const auto revoke = [&](int expected) {
        const std::string words = "revoke pid " + std::to_string(parent.pid()) + " addr " + std::to_string(kBase);
        objr_command command;
        objr_command_parse(&command, words.data(), words.size());
        objr_out out;
        EXPECT_EQ(objr_run_command(world, &command, &out), expected) << out.text;
        return out.text;
    };
    const auto frame = [&] {
        objr_u64 pfn = 0;
        EXPECT_TRUE(parent.translation(kBase, &pfn));
        return pfn;
    };
    EXPECT_EQ(read(parent, kBase), 7);
    const objr_u64 before = frame();
    EXPECT_NE(revoke(0).find(" to=frame taken=2\ncertificate mms=3 "), std::string::npos);
    objr_u64 pfn = 0;
    EXPECT_FALSE(parent.translation(kBase, &pfn) || child.translation(kBase, &pfn));
    EXPECT_EQ(read(child, kBase), 7);
    EXPECT_EQ(read(parent, kBase), 7);
    EXPECT_NE(frame(), before);
    verify();

    stranger.plant(kBase + kPage, frame());
    const objr_u64 kept = frame();
    EXPECT_NE(revoke(-OBJR_EIO).find("undone: a scan of all tables found it mapped yet, 0 times and 1 times in"),
              std::string::npos);
    EXPECT_EQ(read(parent, kBase), 7);
    EXPECT_EQ(frame(), kept);
    EXPECT_EQ(stranger.unmap(kBase + kPage, kPage), 0);
    verify();
    EXPECT_EQ(parent.store(kBase, 8), Outcome::kOk);
    EXPECT_EQ(read(child, kBase), 7);
    for (Process* process : {&parent, &child, &stranger})
        process->exit();
}

TEST_F(Processes, spec_C12_windows_of_an_object) {
    objr_object* object = named("windows", 8);
    ASSERT_NE(object, nullptr);
    {
        Process one(world, "one");
        ASSERT_EQ(one.map(kBase, 4 * kPage, 0, kReadWrite | OBJR_VM_SHARED, object), 0);
        for (unsigned i = 0; i < 4; i++)
            one.store(kBase + i * kPage, static_cast<std::uint8_t>(i + 1));
        EXPECT_EQ(one.remap(kBase + kPage, 2 * kPage, 2), 0); // over translations that are in use
        EXPECT_EQ(read(one, kBase + kPage), 3);
        EXPECT_EQ(read(one, kBase + 2 * kPage), 4);
        one.store(kBase + kPage, 30);
        Process child(world, "child");
        ASSERT_EQ(one.fork(child), 0);
        EXPECT_EQ(read(child, kBase + kPage), 30);
        EXPECT_EQ(child.remap(kBase, kPage, 3), 0);
        EXPECT_EQ(read(child, kBase), 4);
        EXPECT_EQ(read(one, kBase), 1);
        EXPECT_EQ(one.move(kBase, kBase + 16 * kPage, 3 * kPage), 0);
        EXPECT_EQ(read(one, kBase + 17 * kPage), 30);
        EXPECT_EQ(one.unmap(kBase + 17 * kPage, kPage), 0);
        EXPECT_EQ(read(one, kBase + 18 * kPage), 4);
        verify();
        EXPECT_EQ(objr_object_truncate(object, 3 * kPage), 0);
        EXPECT_EQ(read(one, kBase + 18 * kPage), -2);
        EXPECT_EQ(read(child, kBase), -2);
        EXPECT_EQ(read(child, kBase + kPage), 30);
        verify();
    }
    objr_object_put(object);
}

TEST_F(Processes, spec_U4_locked_memory_stays) {
    Process process(world, "locked");
    ASSERT_EQ(process.map(kBase, 8 * kPage, 0, kReadWrite), 0);
    EXPECT_EQ(process.advise(kBase + 2 * kPage, 4 * kPage, OBJR_ADVISE_LOCK), 0);
    EXPECT_EQ(stat("mappings"), 4);
    EXPECT_EQ(stat("locked_pages"), 4);
    EXPECT_EQ(process.advise(kBase + kPage, 8 * kPage, OBJR_ADVISE_LOCK), -OBJR_ENOMEM) << "a hole";
    EXPECT_EQ(process.unmap(kBase + 3 * kPage, kPage), 0); // the process's mapping is cut where the core's was not
    EXPECT_EQ(stat("locked_pages"), 3);
    EXPECT_EQ(process.advise(kBase, 3 * kPage, OBJR_ADVISE_UNLOCK), 0);
    EXPECT_EQ(stat("locked_pages"), 2);
    EXPECT_EQ(process.advise(kBase, kPage, OBJR_ADVISE_PAGEOUT), 0);
    EXPECT_EQ(process.advise(kBase, kPage, 99), -OBJR_EINVAL);
    verify();
}

TEST_F(Processes, exhausted_pool_is_a_bus_error_and_nothing_is_lost) {
    Process process(world, "glutton");
    ASSERT_EQ(process.map(kBase, 1024 * kPage, 0, kReadWrite), 0);
    // Locked, so that nothing goes to swap.
    EXPECT_EQ(process.advise(kBase, 1024 * kPage, OBJR_ADVISE_LOCK), -OBJR_ENOMEM);
    const auto pool = static_cast<objr_u64>(stat("pool_pages"));
    objr_u64 got = 0;
    while (process.store(kBase + got * kPage, 1) == Outcome::kOk)
        got++;
    EXPECT_EQ(got, pool);
    EXPECT_EQ(process.unmap(kBase, 8 * kPage), 0);
    EXPECT_EQ(process.store(kBase + got * kPage, 1), Outcome::kOk);
    verify();
}

// ---- random operations against a naive model ----------------------------------------------------------------------------

constexpr objr_u64 kArena = 48; // pages at kBase
constexpr objr_u64 kObjectPages = 6; // of each of two objects
constexpr objr_u64 kByte = 37; // the byte of each page that is looked at

struct ModelObject {
    objr_u64 pages = kObjectPages; // size
    std::uint8_t bytes[kObjectPages] = {};
};

struct ModelPage {
    int object = -1; // -1: anonymous
    bool shared = false;
    objr_u64 pgoff = 0;
    bool writable = true;
    std::optional<std::uint8_t> own; // private contents
};

struct ModelProcess {
    std::map<objr_u64, ModelPage> pages; // by page number in the arena
    std::unique_ptr<Process> real;
};

// Object 0 is a named one, object 1 a file.
class RandomProcesses : public Processes {
protected:
    enum class Allocations { kSucceed, kFailSometimes };

    void run(unsigned seed, unsigned steps, Allocations allocations) {
        random.seed(seed);
        failing = allocations == Allocations::kFailSometimes;
        for (ModelObject& object : model_objects)
            object = {};
        for (objr_u64 i = 0; i < kObjectPages; i++)
            model_objects[1].bytes[i] = objr_memory_file_byte(seed, i * kPage + kByte);
        objects[0] = named("a", kObjectPages);
        file = objr_memory_file_create("b", kObjectPages * kPage, kObjectPages * kPage, seed);
        ASSERT_NE(file, nullptr);
        ASSERT_EQ(objr_object_of_file(world, objr_memory_file_open(file, 1), &objects[1]), 0);
        processes.resize(5);
        start(processes[0]);
        for (step = 0; step < steps && !HasFailure(); step++) {
            injected = failing && below(3) == 0;
            objr_test_fail_nth_allocation(injected ? static_cast<unsigned>(1 + below(8)) : 0);
            one_step();
            objr_test_fail_nth_allocation(0);
            if (step % 16 == 0) verify();
        }
        verify();
        processes.clear();
        for (objr_object* object : objects)
            objr_object_put(object);
        if (!HasFailure()) compare_file();
        objr_memory_file_destroy(file);
    }

    void run_seeds(unsigned count, unsigned steps, Allocations allocations) {
        const char* chosen = std::getenv("OBJR_SEED");
        const unsigned first = chosen != nullptr ? static_cast<unsigned>(std::atol(chosen)) : 1;
        if (chosen != nullptr) count = 1;
        std::printf("note: seeds %u to %u, %u steps each\n", first, first + count - 1, steps);
        for (unsigned seed = first; seed < first + count && !HasFailure(); seed++) {
            SCOPED_TRACE("seed " + std::to_string(seed) + " (again with OBJR_SEED=" + std::to_string(seed) + ")");
            run(seed, steps, allocations);
        }
    }

private:
    objr_u64 below(objr_u64 n) { return std::uniform_int_distribution<objr_u64>(0, n - 1)(random); }

    void start(ModelProcess& process) {
        process.pages.clear();
        process.real = std::make_unique<Process>(world, "random");
    }

    void one_step() {
        ModelProcess& process = processes[below(processes.size())];
        if (!process.real) return birth(process);
        const objr_u64 first = below(kArena), pages = 1 + below(std::min<objr_u64>(8, kArena - first));
        const objr_u64 choice = below(32);
        if (choice < 4) return map(process, first, pages);
        if (choice < 6) return unmap(process, first, pages);
        if (choice < 8) return move(process, first, pages);
        if (choice < 10) return protect(process, first, pages);
        if (choice == 10) return death(process);
        if (choice == 11) return truncate();
        if (choice == 12) return sync();
        if (choice == 13) return below(8) == 0 ? switch_scheme() : command();
        if (choice < 16) return remap(process, first, pages);
        if (choice == 16) return advise(process, first, pages);
        access(process, below(kArena), below(2) != 0);
    }

    // 0 was expected: -ENOMEM will do as well where an allocation has failed.
    bool refused(int result) const { return injected && result == -OBJR_ENOMEM; }

    // A child of somebody, or the first of a new family.
    void birth(ModelProcess& process) {
        start(process);
        ModelProcess& parent = processes[below(processes.size())];
        if (!parent.real || &parent == &process) return;
        const int result = parent.real->fork(*process.real);
        if (refused(result)) return death(process);
        ASSERT_EQ(result, 0) << at();
        process.pages = parent.pages;
    }

    void death(ModelProcess& process) {
        process.real.reset();
        process.pages.clear();
    }

    void map(ModelProcess& process, objr_u64 first, objr_u64 pages) {
        const auto next = process.pages.lower_bound(first);
        const bool free = next == process.pages.end() || next->first >= first + pages;
        ModelPage page;
        page.object = static_cast<int>(below(3)) - 1;
        page.shared = page.object >= 0 && below(2) != 0;
        page.pgoff = below(page.object >= 0 ? kObjectPages : 1000);
        const objr_u32 flags = kReadWrite | (page.shared ? OBJR_VM_SHARED : 0);
        const int result = process.real->map(address(first), pages * kPage, page.pgoff, flags,
                                             page.object < 0 ? nullptr : objects[page.object]);
        if (refused(result)) return;
        ASSERT_EQ(result, free ? 0 : -OBJR_EEXIST) << at();
        if (!free) return;
        for (objr_u64 i = 0; i < pages; i++, page.pgoff++)
            process.pages[first + i] = page;
    }

    void unmap(ModelProcess& process, objr_u64 first, objr_u64 pages) {
        const int result = process.real->unmap(address(first), pages * kPage);
        if (refused(result)) return;
        ASSERT_EQ(result, 0) << at();
        process.pages.erase(process.pages.lower_bound(first), process.pages.lower_bound(first + pages));
    }

    void move(ModelProcess& process, objr_u64 first, objr_u64 pages) {
        const objr_u64 to = below(kArena - pages + 1);
        if (to < first + pages && first < to + pages) return;
        const int result = process.real->move(address(first), address(to), pages * kPage);
        if (result != 0) {
            ASSERT_TRUE(refused(result) || result == -OBJR_EFAULT || result == -OBJR_EEXIST) << result << at();
            return;
        }
        for (objr_u64 i = 0; i < pages; i++) {
            ASSERT_TRUE(process.pages.contains(first + i) && !process.pages.contains(to + i)) << at();
            process.pages[to + i] = process.pages[first + i];
            process.pages.erase(first + i);
        }
    }

    void protect(ModelProcess& process, objr_u64 first, objr_u64 pages) {
        if (injected) pages = 1; // as in Linux, a failure half-way leaves the first half changed
        const bool writable = below(2) != 0;
        bool mapped = true;
        for (objr_u64 i = 0; i < pages; i++)
            mapped = mapped && process.pages.contains(first + i);
        const int result =
            process.real->protect(address(first), pages * kPage, OBJR_VM_READ | (writable ? OBJR_VM_WRITE : 0));
        if (refused(result)) return;
        ASSERT_EQ(result, mapped ? 0 : -OBJR_ENOMEM) << at();
        for (objr_u64 i = 0; mapped && i < pages; i++)
            process.pages[first + i].writable = writable;
    }

    // Within one mapping of a shared view, else refused.
    void remap(ModelProcess& process, objr_u64 first, objr_u64 pages) {
        const objr_u64 pgoff = below(kObjectPages);
        const int result =
            process.real->remap(address(first), pages * kPage, pgoff, below(2) ? OBJR_REMAP_NONBLOCK : 0);
        if (refused(result) || result == -OBJR_EINVAL) return;
        ASSERT_EQ(result, 0) << at();
        for (objr_u64 i = 0; i < pages; i++) {
            ASSERT_TRUE(process.pages.contains(first + i) && process.pages[first + i].shared) << at();
            process.pages[first + i].pgoff = pgoff + i;
        }
    }

    void advise(ModelProcess& process, objr_u64 first, objr_u64 pages) {
        static const objr_u32 kAdvice[] = {OBJR_ADVISE_LOCK,   OBJR_ADVISE_UNLOCK,     OBJR_ADVISE_UNLOCK,
                                           OBJR_ADVISE_RANDOM, OBJR_ADVISE_SEQUENTIAL, OBJR_ADVISE_NORMAL,
                                           OBJR_ADVISE_COLD,   OBJR_ADVISE_PAGEOUT,    OBJR_ADVISE_WILLNEED};
        const objr_u32 advice = kAdvice[below(std::size(kAdvice))];
        bool mapped = true, within = true;
        for (objr_u64 i = 0; i < pages; i++) {
            const auto found = process.pages.find(first + i);
            mapped = mapped && found != process.pages.end();
            if (found == process.pages.end() || found->second.object < 0) continue;
            within = within && found->second.pgoff < model_objects[found->second.object].pages;
        }
        const int result = process.real->advise(address(first), pages * kPage, advice);
        if (refused(result)) return;
        const bool spares_locked = advice == OBJR_ADVISE_COLD || advice == OBJR_ADVISE_PAGEOUT;
        if (mapped && spares_locked && result == -OBJR_EINVAL) return; // a part is locked
        const int unpopulated = advice == OBJR_ADVISE_LOCK && !within ? -OBJR_EIO : 0;
        ASSERT_EQ(result, mapped ? unpopulated : -OBJR_ENOMEM) << at() << ", advice " << advice;
    }

    // Whatever is done to pages: nobody's memory changes.
    void command() {
        static const char* const kVerbs[] = {"referenced", "unmap", "unmap", "mkclean", "revoke"};
        const objr_u64 page = below(512);
        const std::string text = std::string(kVerbs[below(std::size(kVerbs))]) + " range page " + std::to_string(page) +
                                 " " + std::to_string(page + below(64)) + (below(2) ? " json" : "");
        objr_command parsed;
        objr_command_parse(&parsed, text.data(), text.size());
        objr_out out;
        const int result = objr_run_command(world, &parsed, &out);
        ASSERT_TRUE(refused(result) || result == 0 || result == -OBJR_ENOENT) << text << ": " << result << at();
    }

    // anonmm refuses while a shared page is at two addresses.
    void switch_scheme() {
        static const char* const kNames[] = {"chain", "classic", "anonmm", "pte_chain"};
        const std::string name = kNames[below(std::size(kNames))];
        char why[200] = "";
        const int result = objr_set_scheme(world, name.c_str(), why, sizeof why);
        if (refused(result)) return;
        ASSERT_TRUE(result == 0 || (result == -OBJR_EBUSY && name == "anonmm")) << name << ": " << why << at();
        ASSERT_EQ(result == 0, why[0] == '\0') << why << at();
    }

    // Private copies beyond the new end go as well, as in Linux.
    void truncate() {
        const auto which = below(2);
        ModelObject& object = model_objects[which];
        const objr_u64 pages = 1 + below(kObjectPages);
        const int result = objr_object_truncate(objects[which], pages * kPage);
        if (refused(result)) return;
        ASSERT_EQ(result, 0) << at();
        for (objr_u64 i = pages; i < kObjectPages; i++)
            object.bytes[i] = 0;
        for (ModelProcess& process : processes)
            for (auto& [number, page] : process.pages)
                if (page.object == static_cast<int>(which) && page.pgoff >= pages) page.own.reset();
        object.pages = pages;
    }

    void sync() {
        const int result = objr_object_sync(objects[1], 0, ~0ULL, 0);
        if (refused(result)) return;
        ASSERT_EQ(result, 0) << at();
        compare_file();
    }

    void compare_file() {
        ASSERT_EQ(objr_memory_file_size(file), model_objects[1].pages * kPage) << at();
        for (objr_u64 i = 0; i < model_objects[1].pages; i++) {
            std::uint8_t byte = 0;
            ASSERT_EQ(objr_memory_file_read(file, i * kPage + kByte, &byte, 1), 1U);
            ASSERT_EQ(byte, model_objects[1].bytes[i]) << "page " << i << " of the file" << at();
        }
    }

    void access(ModelProcess& process, objr_u64 number, bool write) {
        const objr_u64 where = address(number) + kByte;
        const auto found = process.pages.find(number);
        ModelPage* page = found == process.pages.end() ? nullptr : &found->second;
        Outcome expected = Outcome::kOk;
        if (page == nullptr || (write && !page->writable)) {
            expected = Outcome::kSegv;
        } else if (page->object >= 0 && page->pgoff >= model_objects[page->object].pages) {
            expected = Outcome::kBus;
        }
        auto byte = static_cast<std::uint8_t>(below(256));
        const Outcome outcome = write ? process.real->store(where, byte) : process.real->load(where, &byte);
        if (injected && outcome == Outcome::kBus) return;
        ASSERT_EQ(outcome, expected) << (write ? "store" : "load") << at() << ", page " << number;
        if (outcome != Outcome::kOk) return;
        std::uint8_t& object_byte =
            model_objects[page->object < 0 ? 0 : page->object].bytes[page->pgoff % kObjectPages];
        if (!write) {
            const std::uint8_t wanted = page->own ? *page->own : page->object >= 0 ? object_byte : 0;
            ASSERT_EQ(byte, wanted) << at() << ", page " << number;
        } else if (page->shared) {
            object_byte = byte;
        } else {
            page->own = byte;
        }
    }

    static objr_u64 address(objr_u64 number) { return kBase + number * kPage; }
    std::string at() const { return " at step " + std::to_string(step); }

    std::mt19937 random;
    bool failing = false; // allocations fail now and then
    bool injected = false; // one may fail in this step
    unsigned step = 0;
    std::vector<ModelProcess> processes;
    ModelObject model_objects[2];
    objr_object* objects[2] = {};
    objr_memory_file* file = nullptr;
};

TEST_F(RandomProcesses, agree_with_the_model) { run_seeds(8, 1500, Allocations::kSucceed); }

TEST_F(RandomProcesses, agree_with_the_model_when_allocations_fail) { run_seeds(8, 1500, Allocations::kFailSometimes); }

// ---- many threads ----------------------------------------------------------------------------------------------------

// Families of processes fork, write and die at once over one object; each process checks its own private memory.
TEST_F(Processes, many_threads) {
    objr_object* object = named("busy", 8);
    ASSERT_NE(object, nullptr);
    std::vector<std::thread> threads;
    std::atomic<unsigned> wrong{0};
    for (unsigned number = 0; number < 4; number++) {
        threads.emplace_back([&, number] {
            std::mt19937 random(number);
            for (unsigned round = 0; round < 60; round++) {
                Process parent(world, "busy");
                if (parent.map(kBase, 6 * kPage, 0, kReadWrite) != 0) wrong++;
                if (parent.map(kBase + 64 * kPage, 8 * kPage, 0, kReadWrite | OBJR_VM_SHARED, object) != 0) wrong++;
                if (parent.map(kBase + 128 * kPage, 8 * kPage, 0, kReadWrite, object) != 0) wrong++;
                for (unsigned i = 0; i < 6; i++)
                    parent.store(kBase + i * kPage, static_cast<std::uint8_t>(number * 16 + i));
                Process child(world, "busy child");
                if (parent.fork(child) != 0) wrong++;
                std::thread other([&] {
                    for (unsigned i = 0; i < 6; i++)
                        if (read(child, kBase + i * kPage) != static_cast<int>(number * 16 + i)) wrong++;
                    for (unsigned i = 0; i < 8; i++)
                        child.store(kBase + (64 + i) * kPage, 1);
                    child.exit();
                });
                for (unsigned i = 0; i < 6; i++)
                    parent.store(kBase + i * kPage, 0xcc);
                for (unsigned i = 0; i < 8; i++)
                    parent.store(kBase + (128 + random() % 8) * kPage, 2);
                if (round % 8 == 0) objr_object_truncate(object, (1 + random() % 8) * kPage);
                other.join();
            }
        });
    }
    for (unsigned i = 0; i < 5; i++)
        verify();
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(wrong, 0U);
    verify();
    objr_object_put(object);
}

// Threads of one process write each to a page of its own, private and of a file, while the process forks, changes rights and
// moves other memory, and the file is synced all the time. Nothing that was written may be lost.
TEST_F(Processes, threads_of_one_process) {
    constexpr unsigned kThreads = 3;
    objr_memory_file* file = objr_memory_file_create("file", kThreads * kPage, kThreads * kPage, 3);
    ASSERT_NE(file, nullptr);
    objr_object* object = nullptr;
    ASSERT_EQ(objr_object_of_file(world, objr_memory_file_open(file, 1), &object), 0);
    constexpr objr_u64 kFile = kBase + 64 * kPage;
    constexpr objr_u64 kOther = kBase + 128 * kPage;
    std::uint8_t last[kThreads] = {};
    {
        Process process(world, "threads");
        ASSERT_EQ(process.map(kBase, kThreads * kPage, 0, kReadWrite), 0);
        ASSERT_EQ(process.map(kFile, kThreads * kPage, 0, kReadWrite | OBJR_VM_SHARED, object), 0);
        ASSERT_EQ(process.map(kOther, 4 * kPage, 0, kReadWrite), 0);
        std::atomic<unsigned> wrong{0}, running{kThreads};
        std::vector<std::thread> threads;
        for (unsigned number = 0; number < kThreads; number++) {
            threads.emplace_back([&, number] {
                for (unsigned i = 0; i < 1500; i++) {
                    const auto byte = static_cast<std::uint8_t>(i);
                    if (process.store(kBase + number * kPage, byte) != Outcome::kOk) wrong++;
                    if (process.store(kFile + number * kPage, byte) != Outcome::kOk) wrong++;
                    if (read(process, kBase + number * kPage) != byte) wrong++;
                    if (read(process, kFile + number * kPage) != byte) wrong++;
                    last[number] = byte;
                }
                running--;
            });
        }
        threads.emplace_back([&] {
            while (running != 0) {
                if (objr_object_sync(object, 0, ~0ULL, 0) != 0) wrong++;
                std::this_thread::yield();
            }
        });
        for (unsigned round = 0; running != 0; round++) {
            Process child(world, "child");
            if (process.fork(child) != 0) wrong++;
            process.store(kOther, static_cast<std::uint8_t>(round));
            if (process.move(kOther + kPage, kOther + 8 * kPage, kPage) != 0) wrong++;
            if (process.move(kOther + 8 * kPage, kOther + kPage, kPage) != 0) wrong++;
            if (process.protect(kOther, 2 * kPage, OBJR_VM_READ) != 0) wrong++;
            if (process.protect(kOther, 2 * kPage, OBJR_VM_READ | OBJR_VM_WRITE) != 0) wrong++;
            if (round % 16 == 0) verify();
        }
        for (std::thread& thread : threads)
            thread.join();
        EXPECT_EQ(wrong, 0U);
        verify();
    }
    objr_object_put(object);
    for (unsigned number = 0; number < kThreads; number++) {
        std::uint8_t byte = 0;
        EXPECT_EQ(objr_memory_file_read(file, number * kPage, &byte, 1), 1U);
        EXPECT_EQ(byte, last[number]) << "page " << number;
    }
    objr_memory_file_destroy(file);
}

} // namespace
