// SPDX-License-Identifier: GPL-2.0
//
// pressure_test.cpp: more memory than the pool has, by many threads at once, with the module's two threads at work: processes that
// check each page's contents, their children, and others who reclaim, move pages, switch the scheme and verify meanwhile.
#include "host.h"
#include "process.h"
#include "threads.h"

#include "../cases/memory_backing.h"

#include "objrmap/world.h"

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace objr_host;

constexpr objr_u64 kPage = OBJR_PAGE_SIZE;
constexpr objr_u64 kBase = 0x7f0000000000;
constexpr objr_u64 kFileBase = 0x7f1000000000;
constexpr objr_u64 kObjectBase = 0x7f2000000000;
constexpr objr_u32 kReadWrite = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_MAYWRITE | OBJR_VM_MAYSHARE;
constexpr objr_u64 kPages = 160; // of each process; the pool has 256
constexpr objr_u64 kFilePages = 64;
constexpr unsigned kProcesses = 4;

// A process with pages of its own, each with the version that was written last, and views of a file and a named object, in which it has
// every kProcesses-th page to write to.
class Member {
public:
    Member(objr_world* world, objr_object* file, objr_object* object, unsigned number)
        : world_(world), number_(number), process_(std::make_unique<Process>(world, "member")) {
        EXPECT_EQ(process_->map(kBase, kPages * kPage, 0, kReadWrite), 0);
        EXPECT_EQ(process_->map(kFileBase, kFilePages * kPage, 0, kReadWrite | OBJR_VM_SHARED, file), 0);
        EXPECT_EQ(process_->map(kObjectBase, kFilePages * kPage, 0, kReadWrite | OBJR_VM_SHARED, object), 0);
    }

    void step(Random& random) {
        switch (random.below(16)) {
        case 0: return let_child_look(random);
        case 1: {
            const objr_u64 first = 8 * random.below(2); // of the pool a quarter at most
            process_->advise(kBase + first * kPage, 8 * kPage, random.below(2) ? OBJR_ADVISE_LOCK : OBJR_ADVISE_UNLOCK);
            return;
        }
        case 2:
        case 3: return use(kFileBase, shared_page(random), file_, random);
        case 4:
        case 5: return use(kObjectBase, shared_page(random), object_, random);
        default: return use(kBase, random.below(kPages), own_, random);
        }
    }

private:
    using Versions = std::array<std::uint8_t, kPages>;

    objr_u64 shared_page(Random& random) const { return number_ + kProcesses * random.below(kFilePages / kProcesses); }

    void use(objr_u64 base, objr_u64 page, Versions& versions, Random& random) {
        std::uint8_t byte = 0;
        if (versions[page] != 0) {
            ASSERT_EQ(process_->load(base + page * kPage, &byte), Outcome::kOk);
            ASSERT_EQ(byte, versions[page]) << "page " << page << " of member " << number_;
        }
        if (random.below(2) == 0) {
            byte = static_cast<std::uint8_t>(1 + random.below(255));
            ASSERT_EQ(process_->store(base + page * kPage, byte), Outcome::kOk);
            versions[page] = byte;
        }
    }

    // It sees what there was, and writes to copies of its own.
    void let_child_look(Random& random) {
        Process child(world_, "child");
        ASSERT_EQ(process_->fork(child), 0);
        const objr_u64 start = random.below(kPages);
        for (objr_u64 i = 0; i < 16; i++) {
            const objr_u64 page = (start + 7 * i) % kPages; // each once
            std::uint8_t byte = 0;
            ASSERT_EQ(child.load(kBase + page * kPage, &byte), Outcome::kOk);
            ASSERT_EQ(byte, own_[page]);
            ASSERT_EQ(child.store(kBase + page * kPage, static_cast<std::uint8_t>(~byte)), Outcome::kOk);
        }
    }

    objr_world* const world_;
    const unsigned number_;
    std::unique_ptr<Process> process_;
    Versions own_{};
    Versions file_{};
    Versions object_{};
};

objr_object* make_object(objr_world* world, const char* name, objr_u64 pages) {
    const objr_owner owner{0, 0, 1};
    objr_object* object = nullptr;
    EXPECT_EQ(objr_object_of_name(world, name, pages * kPage, OBJR_OBJECT_CREATE, &owner, &object), 0);
    return object;
}

std::string command(objr_world* world, const std::string& text) {
    objr_command command;
    objr_command_parse(&command, text.data(), text.size());
    objr_out out;
    objr_run_command(world, &command, &out);
    return out.text;
}

TEST(Pressure, spec_U3_U5_processes_reclaim_migration_switches_and_verify) {
    const objr_params params{.pool_mb = 1,
                             .levels = 4,
                             .scheme = "chain",
                             .low_watermark = 5,
                             .high_watermark = 10,
                             .daemons = 1,
                             .swap_mb = 16};
    objr_world* handle = nullptr;
    ASSERT_EQ(objr_world_create(&params, &handle), 0);
    auto& world = *reinterpret_cast<objr::World*>(handle);
    objr_memory_file* memory = objr_memory_file_create("pressed", kFilePages * kPage, kFilePages * kPage, 1);
    objr_object* file = nullptr;
    ASSERT_EQ(objr_object_of_file(handle, objr_memory_file_open(memory, 1), &file), 0);
    objr_object* object = make_object(handle, "pressed", kFilePages);
    {
        std::array<std::unique_ptr<Member>, kProcesses> members;
        Threads threads(std::chrono::milliseconds(2000));
        for (unsigned n = 0; n < kProcesses; n++) {
            members[n] = std::make_unique<Member>(handle, file, object, n);
            threads.run([member = members[n].get()](Random& random) { member->step(random); });
        }
        threads.run([&](Random& random) {
            static constexpr const char* kCommands[] = {"reclaim 20",
                                                        "compact",
                                                        "migrate range page 0 63",
                                                        "referenced range page 0 99",
                                                        "unmap range page 64 127",
                                                        "revoke range page 128 143"};
            command(handle, kCommands[random.below(std::size(kCommands))]);
        });
        threads.run([&](Random& random) {
            static constexpr const char* kSchemes[] = {"chain", "classic", "pte_chain", "anonmm"};
            char why[120];
            objr_set_scheme(handle, kSchemes[random.below(std::size(kSchemes))], why, sizeof why);
            expect_verified(handle);
        });
        threads.join();
        expect_verified(handle);
    }
    EXPECT_GT(world.counters.sum(objr::Count::reclaimed_pages), 0);
    EXPECT_GT(world.counters.sum(objr::Count::swap_ins), 0);
    EXPECT_GT(world.counters.sum(objr::Count::writebacks), 0);
    EXPECT_GT(world.counters.sum(objr::Count::migrations), 0);
    objr_object_put(file);
    objr_object_put(object);
    EXPECT_EQ(world.pool.free_pages(), world.pool.size());
    EXPECT_EQ(world.swap.used(), 0U);
    EXPECT_EQ(live_regions(), 0U);
    objr_world_destroy(handle);
    objr_memory_file_destroy(memory);
}

// An object larger than the pool, which is cut and grows, and which swap-off brings in: a page is what was last written, or zero
// since a cut.
TEST(Pressure, spec_U5_U6_object_is_cut_while_its_pages_come_and_go) {
    constexpr objr_u64 kObjectPages = 320;
    const objr_params params{.pool_mb = 1,
                             .levels = 4,
                             .scheme = "chain",
                             .low_watermark = 5,
                             .high_watermark = 10,
                             .daemons = 1,
                             .swap_mb = 4};
    objr_world* handle = nullptr;
    ASSERT_EQ(objr_world_create(&params, &handle), 0);
    auto& world = *reinterpret_cast<objr::World*>(handle);
    objr_object* object = make_object(handle, "cut", kObjectPages);
    {
        struct User {
            explicit User(objr_world* world) : process(world, "user") {}
            Process process;
            std::array<std::uint8_t, kObjectPages> versions{};
        };
        std::array<std::unique_ptr<User>, 3> users;
        Threads threads(std::chrono::milliseconds(1500));
        for (objr_u64 number = 0; number < users.size(); number++) {
            users[number] = std::make_unique<User>(handle);
            User& user = *users[number];
            ASSERT_EQ(user.process.map(kObjectBase, kObjectPages * kPage, 0, kReadWrite | OBJR_VM_SHARED, object), 0);
            threads.run([&, number](Random& random) {
                const objr_u64 page = random.below(kObjectPages / users.size()) * users.size() + number;
                std::uint8_t byte = 0;
                if (user.process.load(kObjectBase + page * kPage, &byte) != Outcome::kOk) return;
                ASSERT_TRUE(byte == 0 || byte == user.versions[page]) << "page " << page;
                const auto next = static_cast<std::uint8_t>(1 + random.below(255));
                user.versions[page] = byte;
                if (user.process.store(kObjectBase + page * kPage, next) == Outcome::kOk) user.versions[page] = next;
            });
        }
        threads.run([&](Random& random) {
            const objr_u64 size = random.below(2) ? kObjectPages * kPage : random.below(kObjectPages * kPage);
            const int error = objr_object_truncate(object, size);
            EXPECT_TRUE(error == 0 || error == -OBJR_ENOMEM) << error;
        });
        threads.run([&](Random& random) {
            static constexpr const char* kCommands[] = {"swapoff", "swapon", "reclaim 50", "migrate range page 0 63",
                                                        "compact"};
            command(handle, kCommands[random.below(std::size(kCommands))]);
        });
        threads.run([&](Random&) { expect_verified(handle); });
        threads.join();
        expect_verified(handle);
    }
    EXPECT_GT(world.counters.sum(objr::Count::swap_ins), 0);
    objr_object_put(object);
    EXPECT_EQ(world.pool.free_pages(), world.pool.size());
    EXPECT_EQ(world.swap.used(), 0U);
    objr_world_destroy(handle);
}

// ---- one who waits for others does not fail by them

// A world with the two threads and a file of that many pages behind an object.
class WorldWithFile {
public:
    WorldWithFile(objr_u64 pages, objr_u32 low, objr_u32 high) {
        const objr_params params{
            .pool_mb = 1, .levels = 4, .scheme = "chain", .low_watermark = low, .high_watermark = high, .daemons = 1};
        if (objr_world_create(&params, &world) != 0) die("no world");
        memory = objr_memory_file_create("file", pages * kPage, pages * kPage, 1);
        if (objr_object_of_file(world, objr_memory_file_open(memory, 1), &file) != 0) die("no object");
    }
    ~WorldWithFile() {
        objr_object_put(file);
        objr_world_destroy(world);
        objr_memory_file_destroy(memory);
    }

    objr_world* world = nullptr;
    objr_memory_file* memory = nullptr;
    objr_object* file = nullptr;
};

// Writes to each page of the file in turn.
void write_all(Process& process, objr_u64 pages) {
    for (objr_u64 n = 0; n < pages; n++)
        ASSERT_EQ(process.store(kFileBase + n * kPage, 7), Outcome::kOk) << "page " << n;
}

// While one's fsync is at a disk that takes its time, another fills the pool with dirty pages of the same file.
TEST(Pressure, slow_fsync_of_one_is_no_sigbus_of_another) {
    constexpr objr_u64 kFile = 512;
    WorldWithFile with(kFile, 5, 10);
    static std::atomic<bool> at_the_disk, slow;
    at_the_disk = false;
    slow = true;
    {
        Process process(with.world, "writer");
        ASSERT_EQ(process.map(kFileBase, kFile * kPage, 0, kReadWrite | OBJR_VM_SHARED, with.file), 0);
        ASSERT_EQ(process.store(kFileBase, 1), Outcome::kOk);
        objr_memory_file_on_write(
            with.memory,
            [](void*) {
                at_the_disk = true;
                if (slow.exchange(false)) std::this_thread::sleep_for(std::chrono::milliseconds(500)); // the disk
            },
            nullptr);
        std::thread syncing([&] { EXPECT_EQ(objr_object_sync(with.file, 0, ~0ull >> 1, 0), 0); });
        while (!at_the_disk)
            std::this_thread::yield();
        write_all(process, kFile);
        syncing.join();
    }
}

TEST(Pressure, one_failed_write_is_no_sigbus_of_all) {
    constexpr objr_u64 kFile = 1024;
    WorldWithFile with(kFile, 4, 8);
    static std::atomic<int> writes;
    writes = 0;
    objr_memory_file_on_write(
        with.memory,
        [](void* memory) {
            objr_memory_file_fail(static_cast<objr_memory_file*>(memory), OBJR_MEMORY_WRITE,
                                  writes++ == 5 ? OBJR_EIO : 0, 0);
        },
        with.memory);
    Process process(with.world, "writer");
    ASSERT_EQ(process.map(kFileBase, kFile * kPage, 0, kReadWrite | OBJR_VM_SHARED, with.file), 0);
    write_all(process, kFile);
}

// An error that lasts is one: it ends, by SIGBUS, and not before it was tried more than once.
TEST(Pressure, disk_that_only_fails_is_sigbus) {
    constexpr objr_u64 kFile = 512;
    WorldWithFile with(kFile, 4, 8);
    objr_memory_file_fail(with.memory, OBJR_MEMORY_WRITE, OBJR_EIO, 0);
    {
        Process process(with.world, "writer");
        ASSERT_EQ(process.map(kFileBase, kFile * kPage, 0, kReadWrite | OBJR_VM_SHARED, with.file), 0);
        objr_u64 n = 0;
        while (n < kFile && process.store(kFileBase + n * kPage, 7) == Outcome::kOk)
            n++;
        EXPECT_GT(n, 100u);
        EXPECT_LT(n, 257u);
        objr_memory_file_fail(with.memory, OBJR_MEMORY_WRITE, 0, 0);
        EXPECT_EQ(process.store(kFileBase + n * kPage, 7), Outcome::kOk);
    }
}

// Each waits for as many attempts as the others, however many there are.
TEST(Pressure, many_wait_for_a_disk_that_only_fails) {
    WorldWithFile with(512, 4, 8);
    const auto& world = *reinterpret_cast<objr::World*>(with.world);
    objr_memory_file_fail(with.memory, OBJR_MEMORY_WRITE, OBJR_EIO, 0);
    Process process(with.world, "writer");
    ASSERT_EQ(process.map(kFileBase, 512 * kPage, 0, kReadWrite | OBJR_VM_SHARED, with.file), 0);
    ASSERT_EQ(process.store(kFileBase, 7), Outcome::kOk);
    Process hungry(with.world, "hungry"); // nothing is free, so that they do need what they wait for
    ASSERT_EQ(hungry.map(kBase, 255 * kPage, 0, kReadWrite), 0);
    for (objr_u64 n = 0; n < 255 && world.pool.free_pages() != 0; n++)
        ASSERT_EQ(hungry.store(kBase + n * kPage, 1), Outcome::kOk);
    std::vector<std::thread> all;
    for (int n = 0; n < 16; n++)
        all.emplace_back([&] { EXPECT_NE(objr_wait_for_writeback(with.world), 0); });
    for (std::thread& one : all)
        one.join();
    EXPECT_LE(world.counters.sum(objr::Count::write_errors), 5);
    objr_memory_file_fail(with.memory, OBJR_MEMORY_WRITE, 0, 0);
}

// One file hangs in somebody's fsync: the other goes on being written, and who writes to it gets on.
TEST(Pressure, file_that_hangs_is_in_nobodys_way) {
    constexpr objr_u64 kFile = 512;
    WorldWithFile with(kFile, 4, 8);
    objr_memory_file* hung_memory = objr_memory_file_create("hung", 8 * kPage, 8 * kPage, 1);
    objr_object* hung = nullptr;
    ASSERT_EQ(objr_object_of_file(with.world, objr_memory_file_open(hung_memory, 1), &hung), 0);
    static std::atomic<bool> hangs, ended;
    hangs = ended = false;
    objr_memory_file_on_write(
        hung_memory,
        [](void*) {
            hangs = true;
            while (!ended)
                std::this_thread::yield();
        },
        nullptr);
    {
        Process process(with.world, "writer");
        ASSERT_EQ(process.map(kFileBase, kFile * kPage, 0, kReadWrite | OBJR_VM_SHARED, with.file), 0);
        ASSERT_EQ(process.map(kObjectBase, 8 * kPage, 0, kReadWrite | OBJR_VM_SHARED, hung), 0);
        ASSERT_EQ(process.store(kObjectBase, 1), Outcome::kOk);
        std::thread syncing([&] { EXPECT_EQ(objr_object_sync(hung, 0, ~0ull >> 1, 0), 0); });
        while (!hangs)
            std::this_thread::yield();
        ASSERT_EQ(process.store(kObjectBase + kPage, 1), Outcome::kOk);
        reinterpret_cast<objr::World*>(with.world)->writebackd.kick(); // it meets the file that hangs first
        write_all(process, kFile);
        ended = true;
        syncing.join();
    }
    objr_object_put(hung);
    objr_memory_file_destroy(hung_memory);
}

// The kernel tells of a failure once for each open file, and all descriptors of an object have one: whoever comes second must hear of
// it, too.
TEST(Pressure, failed_fsync_is_one_for_all_who_wait) {
    static WorldWithFile* file;
    static std::future<int> second;
    static auto* const sync = +[](objr_u64 sample) {
        const int error = objr_object_sync(file->file, 0, ~0ull >> 1, 0);
        const int earlier = objr_object_error_check(file->file, &sample);
        return error ? error : earlier;
    };
    WorldWithFile with(8, 4, 8);
    file = &with;
    objr_memory_file_fail(with.memory, OBJR_MEMORY_SYNC, OBJR_EIO, 0);
    objr_memory_file_on_sync(
        with.memory,
        [](void*) { // the first one has had the error, and has not told anybody yet
            objr_memory_file_on_sync(file->memory, nullptr, nullptr);
            objr_memory_file_fail(file->memory, OBJR_MEMORY_SYNC, 0, 0);
            second = std::async(std::launch::async, sync, objr_object_error_sample(file->file));
            second.wait_for(std::chrono::milliseconds(200)); // it may wait for us
        },
        nullptr);
    EXPECT_EQ(sync(objr_object_error_sample(with.file)), -OBJR_EIO);
    EXPECT_EQ(second.get(), -OBJR_EIO);
}

// Many wait for the one thread that writes to the swap file, which makes few pages free at a time.
TEST(Pressure, many_threads_on_a_slow_swap_file) {
    constexpr objr_u64 kSlots = 4096;
    constexpr objr_u64 kEach = 64;
    constexpr unsigned kThreads = 24;
    objr_memory_file* memory = objr_memory_file_create("swapfile", kSlots * kPage, kSlots * kPage, 9);
    const objr_params params{.pool_mb = 1,
                             .levels = 4,
                             .scheme = "chain",
                             .low_watermark = 0,
                             .high_watermark = 1,
                             .daemons = 1,
                             .swap_file = objr_memory_file_open(memory, 1)};
    objr_world* handle = nullptr;
    ASSERT_EQ(objr_world_create(&params, &handle), 0);
    objr_memory_file_on_write(
        memory, [](void*) { std::this_thread::sleep_for(std::chrono::microseconds(300)); }, nullptr); // the disk
    std::atomic<unsigned> good{0};
    {
        std::array<std::unique_ptr<Process>, kThreads> all;
        Threads threads(std::chrono::milliseconds(1500));
        for (auto& one : all) {
            one = std::make_unique<Process>(handle, "hungry");
            ASSERT_EQ(one->map(kBase, kEach * kPage, 0, kReadWrite), 0);
            threads.run([&, process = one.get()](Random& random) {
                EXPECT_EQ(process->store(kBase + random.below(kEach) * kPage, 7), Outcome::kOk) << "after " << good;
                good++;
            });
        }
        threads.join();
    }
    objr_world_destroy(handle);
    objr_memory_file_destroy(memory);
}

} // namespace
