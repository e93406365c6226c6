// SPDX-License-Identifier: GPL-2.0
//
// Failing allocations, one after the other, in everything a process does with the module: each ends in a clean error or
// signal, nothing is leaked or lost, and it works when tried again. Needs a kernel with fault injection.
#include <sys/syscall.h>

#include "harness.h"

using namespace harness;
using objr::kPage;

static void set(const std::string& path, const std::string& value) {
    if (objr::write_text(path, value)) skip("no fault injection in this kernel (" + path + ")");
}

static std::string fail_nth_path() { return "/proc/self/task/" + std::to_string(syscall(SYS_gettid)) + "/fail-nth"; }

// Allocations of every kind may fail, also those that may wait; what failed is not written to the log.
static void arm() {
    need_module();
    need_root();
    for (const char* kind : {"failslab", "fail_page_alloc"}) {
        const std::string directory = std::string("/sys/kernel/debug/") + kind + "/";
        set(directory + "ignore-gfp-wait", "N");
        set(directory + "verbose", "0");
    }
    set("/sys/kernel/debug/fail_page_alloc/min-order", "0");
    objr::write_text("/sys/kernel/debug/failslab/cache-filter", "N");
    set(fail_nth_path(), "0");
}

// The failure that is ahead of this thread. Taking it back may itself be what fails (copying from and to user memory
// can be made to fail, too): then it is gone all the same.
class Injection {
public:
    Injection() : control_(open(fail_nth_path().c_str(), O_RDWR | O_CLOEXEC)) { CHECK_OK(control_); }
    ~Injection() { close(control_); }
    void arm(unsigned nth) {
        const std::string number = std::to_string(nth);
        CHECK_EQ(pwrite(control_, number.data(), number.size(), 0), static_cast<ssize_t>(number.size()));
    }
    bool disarm() { // whether it has struck
        char left[32] = {};
        const bool struck = pread(control_, left, sizeof(left) - 1, 0) > 0 && atoi(left) == 0;
        while (pwrite(control_, "0", 1, 0) != 1)
            CHECK(errno == EFAULT || errno == ENOMEM);
        return struck;
    }

private:
    int control_;
};

// Runs the operation again and again, with its first, second, ... allocation failing, until one run has had no failure.
// What prepare and after do does not fail. Returns how many runs had a failure.
static unsigned each_failing(
    const std::function<void()>& operation, const std::function<void()>& prepare = [] {},
    const std::function<void()>& after = [] {}) {
    Injection injection;
    for (unsigned nth = 1; nth < 2000; ++nth) {
        prepare();
        injection.arm(nth);
        operation();
        const bool struck = injection.disarm();
        after();
        if (!struck) return nth - 1;
    }
    fail(__FILE__, __LINE__, "2000 failing allocations and no end");
}

static bool refused() {
    return errno == ENOMEM || errno == EAGAIN || errno == EFAULT || errno == ENFILE || errno == EINTR;
}

static bool worked(bool success) {
    if (!success) CHECK(refused());
    return success;
}

CASE_LIMIT(failing_map_touch_unmap, 120) {
    arm();
    const int fd = device();
    const unsigned failed = each_failing([&] {
        void* memory = objr::map(fd, 4 * kPage);
        if (memory == MAP_FAILED) {
            CHECK(refused());
            return;
        }
        for (size_t page = 0; page < 4; ++page) {
            const int signal = write_signal(at(memory, page));
            CHECK(signal == 0 || signal == SIGBUS);
            if (!signal) CHECK(holds(at(memory, page), 0));
        }
        for (size_t page = 0; page < 4; ++page)
            CHECK_EQ(write_signal(at(memory, page)), 0); // only one failed, and it has
        if (munmap(memory, 4 * kPage)) {
            CHECK(refused());
            CHECK_OK(munmap(memory, 4 * kPage));
        }
    });
    CHECK(failed > 3);
}

CASE_LIMIT(failing_open_and_bind, 120) {
    arm();
    const int file = make_file(directory_on("tmpfs") + "/f", std::string(4 * kPage, 'f'));
    each_failing([&] {
        for (const int kind : {0, 1}) {
            const int fd = objr::open_device();
            if (fd < 0) {
                CHECK(refused());
                continue;
            }
            const int bound = kind ? objr::bind_file(fd, file, OBJRMAP_SHARED)
                                   : objr::bind_object(fd, "failing", 4 * kPage, OBJRMAP_CREATE);
            if (bound)
                CHECK(refused());
            else {
                void* memory = objr::map(fd, 4 * kPage);
                if (memory != MAP_FAILED) {
                    const int signal = write_signal(at(memory, 1));
                    CHECK(signal == 0 || signal == SIGBUS);
                    msync(memory, 4 * kPage, MS_SYNC);
                    CHECK(munmap(memory, 4 * kPage) == 0 || munmap(memory, 4 * kPage) == 0);
                }
            }
            close(fd);
        }
    });
}

CASE_LIMIT(failing_fork_and_copy_on_write, 240) {
    arm();
    const int fd = device();
    void* memory = map_pages(fd, 8);
    for (size_t page = 0; page < 8; ++page)
        fill(at(memory, page), page + 1);
    CHECK_OK(munmap(at(memory, 4), kPage)); // two VMAs, so that the second can fail after the first
    const auto child_body = [&] {
        // The child inherits no pending failure. If its copy could not be made it gets SIGBUS, never wrong data.
        for (size_t page = 0; page < 8; ++page) {
            if (page == 4) continue;
            const int signal = read_signal(at(memory, page));
            CHECK(signal == 0 || signal == SIGBUS);
            if (!signal) CHECK(holds(at(memory, page), page + 1));
        }
    };
    each_failing([&] {
        const pid_t pid = fork();
        if (pid < 0) {
            CHECK(refused());
        } else if (pid == 0) {
            child_body();
            _exit(0);
        } else {
            expect_exit(pid);
        }
        for (size_t page = 0; page < 8; ++page)
            if (page != 4) CHECK(holds(at(memory, page), page + 1));
    });
    // Copies that fail: the parent writes while a child still shares.
    Actor child([&](Actor& self) {
        self.pause();
        child_body();
    });
    child.await();
    each_failing([&] {
        for (size_t page = 0; page < 8; ++page) {
            if (page == 4) continue;
            const int signal = signal_of([&] { *reinterpret_cast<volatile uint64_t*>(at(memory, page)) = 5; });
            CHECK(signal == 0 || signal == SIGBUS);
        }
    });
    child.finish();
}

CASE_LIMIT(failing_split_move_protect, 240) {
    arm();
    const int fd = device();
    void* room = mmap(nullptr, 8 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(room != MAP_FAILED);
    void* memory = nullptr;
    bool hole = false, read_only = false, moved = false;
    each_failing(
        [&] {
            hole = worked(munmap(at(memory, 3), kPage) == 0);
            read_only = worked(mprotect(at(memory, 5), kPage, PROT_READ) == 0);
            moved = worked(mremap(memory, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room);
        },
        [&] {
            memory = map_pages(fd, 8);
            for (size_t page = 0; page < 8; ++page)
                fill(at(memory, page), page + 1);
        },
        [&] {
            for (size_t page = 0; page < 8; ++page) {
                if (page < 2) {
                    CHECK(holds(at(moved ? room : memory, page), page + 1));
                } else if (page == 3 && hole) {
                    CHECK_EQ(read_signal(at(memory, page)), SIGSEGV);
                } else {
                    CHECK(holds(at(memory, page), page + 1));
                    CHECK_EQ(write_signal(at(memory, page)), page == 5 && read_only ? SIGSEGV : 0);
                }
            }
            CHECK_OK(munmap(memory, 8 * kPage));
            // A move that fails may have emptied its target already.
            CHECK(mmap(room, 8 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
                  room);
        });
}

CASE_LIMIT(failing_debugfs, 120) {
    arm();
    const int fd = device();
    void* memory = map_pages(fd, 4);
    fill(memory, 1);
    const std::string selector = objr::selector_of(getpid(), memory);
    for (const char* file : {"stats", "mappers", "pages", "mms", "anon_vmas", "files", "verify"})
        each_failing([&] { objr::read_text(objr::kDebugfs + file); });
    each_failing([&] {
        int error = 0;
        const auto answers = objr::parse_answers(objr::ask("query", selector, &error));
        CHECK(error || answers.size() <= 1);
    });
    each_failing([&] { objr::ask("graph", selector); });
    each_failing([&] {
        std::vector<objrmap_mapper> mappers;
        if (!objr::who(fd, memory, mappers))
            CHECK(refused());
        else
            CHECK_EQ(mappers.size(), 1u);
    });
}
