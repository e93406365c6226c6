// SPDX-License-Identifier: GPL-2.0
//
// Where the pool is not enough. Without swap space: SIGBUS, never a hang, nothing lost of what is there, and the memory comes back.
// With it: more than the pool has, under everything that can happen meanwhile.
#include <memory>
#include <thread>

#include "harness.h"
#include "own_file.h"
#include "sharers.h"
#include "tree.h"

using namespace harness;
using objr::kPage;

// Writes the page's number into pages from `first` on until one is refused; returns that one's number.
static size_t touch_until_refused(void* memory, size_t first, size_t pages) {
    for (size_t page = first; page < pages; ++page) {
        const int signal = signal_of([=] { *reinterpret_cast<volatile uint64_t*>(at(memory, page)) = page + 1; });
        if (signal) {
            CHECK_EQ(signal, SIGBUS);
            return page;
        }
    }
    return pages;
}

static void expect_numbers(void* memory, size_t first, size_t end) {
    for (size_t page = first; page < end; ++page)
        CHECK_EQ(*reinterpret_cast<volatile uint64_t*>(at(memory, page)), page + 1);
}

CASE_WITH(exhaustion_is_sigbus, 180, "pool_mb=4 swap=none") {
    need_module();
    const size_t pool = objr::stat("pool_pages");
    const int fd = device();
    const size_t pages = pool + 1000;
    void* memory = map_pages(fd, pages);
    const size_t got = touch_until_refused(memory, 0, pages);
    CHECK(got <= pool);
    CHECK(got >= pool * 9 / 10);
    expect_numbers(memory, 0, got);
    CHECK_EQ(read_signal(at(memory, got)), SIGBUS); // reading needs a page as well
    // Giving some back makes room for as many.
    CHECK_OK(munmap(memory, 100 * kPage));
    const size_t more = touch_until_refused(memory, got, pages) - got;
    CHECK(more >= 90);
    expect_numbers(memory, 100, got + more);
    // System calls that would need a page fail, and say so.
    int ends[2];
    CHECK_OK(pipe(ends));
    CHECK_EQ(write(ends[1], "x", 1), 1);
    CHECK_FAILS(read(ends[0], at(memory, pages - 1), 1), EFAULT);
    // Others do not get any, and take no harm; debugfs goes on answering.
    in_child([&] {
        void* own = map_pages(fd, 4);
        CHECK_EQ(write_signal(own), SIGBUS);
    });
    CHECK(objr::verify());
    CHECK_OK(munmap(at(memory, 100), (pages - 100) * kPage));
    memory = map_pages(fd, 10);
    fill(memory, 1);
}

CASE_WITH(exhaustion_of_copy_on_write, 180, "pool_mb=4 swap=none") {
    need_module();
    const size_t pool = objr::stat("pool_pages");
    const int fd = device();
    const size_t pages = pool * 2 / 3;
    void* memory = map_pages(fd, pages);
    CHECK_EQ(touch_until_refused(memory, 0, pages), pages);
    in_child([&] { // there is room for about half of the copies
        size_t copied = 0;
        int signal = 0;
        for (; copied < pages && !signal; copied += !signal)
            signal = signal_of([&] { *reinterpret_cast<volatile uint64_t*>(at(memory, copied)) = ~copied; });
        CHECK_EQ(signal, SIGBUS);
        CHECK(copied > pool / 4);
        for (size_t page = 0; page < pages; ++page) {
            const uint64_t value = *reinterpret_cast<volatile uint64_t*>(at(memory, page));
            CHECK_EQ(value, page < copied ? ~page : page + 1);
        }
    });
    expect_numbers(memory, 0, pages);
    // Alone again, every page can be written.
    CHECK(becomes([] { return objr::stat("mms") == 1; }));
    for (size_t page = 0; page < pages; ++page)
        CHECK_EQ(write_signal(at(memory, page)), 0);
}

CASE_WITH(exhaustion_by_many, 180,
          "pool_mb=4 swap=none") { // several processes fight for the last pages; then they are killed
    need_module();
    const size_t pool = objr::stat("pool_pages");
    const int fd = device();
    std::vector<std::unique_ptr<Actor>> greedy;
    for (int i = 0; i < 6; ++i)
        greedy.push_back(std::make_unique<Actor>([&](Actor& self) {
            void* memory = map_pages(fd, pool);
            const size_t got = touch_until_refused(memory, 0, pool);
            self.pause(); // the pool is empty now
            for (int round = 0; round < 5; ++round) {
                const pid_t child = fork();
                if (child == 0) {
                    touch_until_refused(memory, 0, got);
                    _exit(0);
                }
                if (child > 0) expect_exit(child);
            }
            expect_numbers(memory, 0, got);
            self.pause();
        }));
    for (auto& actor : greedy)
        actor->await();
    CHECK(objr::stat("free_pages") < pool / 10);
    for (auto& actor : greedy)
        actor->go();
    for (auto& actor : greedy)
        actor->await();
    CHECK(objr::verify());
    for (auto& actor : greedy)
        actor->kill();
    CHECK(becomes([&] { return objr::stat("free_pages") == pool; }));
}

CASE_WITH(exhaustion_of_shared_objects_and_threads, 180, "pool_mb=4 swap=none") {
    need_module();
    const size_t pool = objr::stat("pool_pages");
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, "all-of-it", (pool + 64) * kPage, OBJRMAP_CREATE));
    void* memory = map_pages(fd, pool + 64);
    std::vector<std::thread> crew;
    std::vector<size_t> got(4);
    for (size_t thread = 0; thread < 4; ++thread)
        crew.emplace_back([&, thread] { got[thread] = touch_until_refused(memory, 0, pool + 64); });
    for (std::thread& thread : crew)
        thread.join();
    for (const size_t each : got)
        CHECK(each <= pool && each >= pool * 9 / 10);
    expect_numbers(memory, 0, got[0]);
    CHECK_OK(objr::truncate_object(fd, 4 * kPage));
    CHECK_EQ(objr::stat("file_pages"), 4u);
    CHECK_EQ(read_signal(at(memory, 5)), SIGBUS);
}

// Pages that are out cannot come in as long as there is neither a frame nor a slot; they are not lost.
CASE_WITH(U5_exhaustion_of_pool_and_swap, 180, "pool_mb=2 swap=memory:1") {
    need_module();
    const size_t pool = objr::stat("pool_pages"), pages = 4 * pool;
    void* memory = map_pages(device(), pages);
    const size_t got = touch_until_refused(memory, 0, pages);
    CHECK(got > pool && got <= 2 * pool);
    for (size_t page = 0; page < got; ++page) {
        uint64_t value = page + 1;
        const int signal = signal_of([&] { value = *reinterpret_cast<volatile uint64_t*>(at(memory, page)); });
        CHECK(signal == 0 || signal == SIGBUS);
        CHECK_EQ(value, page + 1);
    }
    CHECK(objr::verify());
    const size_t kept = got * 3 / 4;
    CHECK_OK(munmap(at(memory, kept), (pages - kept) * kPage));
    expect_numbers(memory, 0, kept);
}

// ---- more than the pool has -----------------------------------------------------------------------------------------

// How often something has been done since.
class Since {
public:
    uint64_t operator[](const char* name) const { return objr::stat(name) - before_.at(name); }

private:
    std::map<std::string, uint64_t> before_ = objr::stats();
};

// What the tree says of itself goes into the log, whether it failed or not.
static void expect_tree(tree::Options options) {
    options.file = directory_on("tmpfs") + "/tree-file";
    const tree::Outcome outcome = tree::run(options);
    printf("# seed %llu: %s\n", static_cast<unsigned long long>(options.seed), outcome.summary.c_str());
    fflush(stdout);
    if (!outcome.failure.empty()) fail(__FILE__, __LINE__, outcome.failure);
}

// Does the module take pages away by itself? Before it does, what is wanted must fit.
static bool reclaims() {
    int error = 0;
    objr::ask("command", "reclaim 1", &error);
    return error != EINVAL;
}

// A tree of processes that want three times the pool, under commands, queries and switches.
CASE_WITH(U3_U5_tree_of_processes_in_three_times_the_pool, 120, "pool_mb=4 swap=memory:32") {
    need_module();
    need_root();
    const Since since;
    tree::Options options;
    options.multiple = reclaims() ? 3 : 0.5;
    expect_tree(options);
    CHECK(since["swap_outs"] > 0 && since["swap_ins"] > 0);
    CHECK(since["writebacks"] > 0);
    CHECK(since["migrations"] > 0);
    CHECK(since["rmap_walks"] > 0);
}

// Members and tormentors die at any moment: in a fault, in fork, in msync, in the middle of a switch or of verify.
CASE_WITH(U3_kill_at_any_moment_loses_no_page_and_no_slot, 180, "pool_mb=4 swap=memory:32") {
    need_module();
    need_root();
    const Since since;
    tree::Options options;
    options.seed = 2;
    options.kills = 60;
    options.seconds = 120;
    options.multiple = reclaims() ? 3 : 0.5;
    expect_tree(options);
    CHECK(since["swap_outs"] > 0);
}

// ---- the file's lock is held by who needs memory ----------------------------------------------------------------------

static void expect_own_file(const std::string& filesystem, own_file::Options options) {
    need_module();
    need_root();
    if (!reclaims()) options.multiple = 0.6;
    options.path = directory_on(filesystem) + "/own-file";
    const std::string failure = own_file::run(options);
    if (!failure.empty()) fail(__FILE__, __LINE__, failure);
}

CASE_WITH(U9_write_of_pool_memory_to_its_own_file_under_reclaim, 120, "pool_mb=1 swap=memory:8") {
    const Since since;
    expect_own_file("ext4", {});
    CHECK(since["writebacks"] > 0);
}

CASE_WITH(U9_own_file_written_by_several_with_O_SYNC, 120, "pool_mb=1 swap=memory:8") {
    own_file::Options options;
    options.processes = 4;
    options.calls = 100;
    options.flags = O_SYNC;
    expect_own_file("ext4", options);
}

CASE_WITH(U9_own_file_written_by_several_on_tmpfs, 120, "pool_mb=1 swap=memory:8") {
    own_file::Options options;
    options.processes = 4;
    expect_own_file("tmpfs", options);
}

// ---- many mappings of every page --------------------------------------------------------------------------------------

CASE_WITH(U5_pages_of_a_hundred_processes_are_reclaimed, 120, "pool_mb=1 swap=memory:8") {
    need_module();
    need_root();
    std::string summary;
    const std::string failure = sharers::run(100, &summary);
    printf("# %s\n", summary.c_str());
    fflush(stdout);
    if (!failure.empty()) fail(__FILE__, __LINE__, failure);
}
