// SPDX-License-Identifier: GPL-2.0
//
// Two things at once (U3): write-back against writers, truncation against faults and forks, everything against exit.
#include <atomic>
#include <memory>
#include <thread>

#include "harness.h"

using namespace harness;
using objr::kPage;

static int bound_file(int file, unsigned flags) {
    const int fd = device();
    CHECK_OK(objr::bind_file(fd, file, flags));
    return fd;
}

// What was written before msync was called is in the file when it returns, however many write and sync at the same time.
static void write_and_sync(int file, void* memory, size_t worker, unsigned rounds) {
    auto* word = reinterpret_cast<volatile uint64_t*>(at(memory, worker % 2)) + worker;
    const auto place = static_cast<off_t>((worker % 2) * kPage + worker * sizeof(uint64_t));
    for (uint64_t value = 1; value <= rounds; ++value) {
        *word = value;
        CHECK_OK(msync(memory, 2 * kPage, MS_SYNC));
        uint64_t seen = 0;
        CHECK_EQ(pread(file, &seen, sizeof(seen), place), static_cast<ssize_t>(sizeof(seen)));
        CHECK_EQ(seen, value);
    }
}

CASE(msync_loses_no_write_of_threads) {
    const int file = make_file(directory_on("tmpfs") + "/f", std::string(2 * kPage, '\0'));
    void* memory = map_pages(bound_file(file, OBJRMAP_SHARED), 2);
    std::vector<std::thread> crew;
    for (size_t worker = 0; worker < 4; ++worker)
        crew.emplace_back([=] { write_and_sync(file, memory, worker, 100); });
    for (std::thread& thread : crew)
        thread.join();
}

CASE(msync_loses_no_write_of_processes) {
    const int file = make_file(directory_on("tmpfs") + "/f", std::string(2 * kPage, '\0'));
    const int fd = bound_file(file, OBJRMAP_SHARED);
    void* inherited = map_pages(fd, 2);
    std::vector<std::unique_ptr<Actor>> crew;
    for (size_t worker = 0; worker < 5; ++worker)
        crew.push_back(std::make_unique<Actor>([=](Actor&) {
            // Some by the mapping they inherited, some by one of their own.
            write_and_sync(file, worker % 2 ? inherited : map_pages(bound_file(file, OBJRMAP_SHARED), 2), worker, 60);
        }));
    for (auto& actor : crew)
        actor->wait_end();
}

CASE_LIMIT(U3_U6_truncate_against_faults_and_forks, 120) {
    need_module();
    const int fd = device();
    CHECK_OK(objr::bind_object(fd, "moving-end", 16 * kPage, OBJRMAP_CREATE));
    void* memory = map_pages(fd, 16);
    std::vector<std::unique_ptr<Actor>> crew;
    for (int worker = 0; worker < 4; ++worker)
        crew.push_back(std::make_unique<Actor>([=](Actor&) {
            const int private_fd = device();
            CHECK_OK(objr::bind_object(private_fd, "moving-end", 0, OBJRMAP_PRIVATE));
            void* mine = map_pages(private_fd, 16);
            for (unsigned round = 0; round < 300; ++round) {
                void* view = worker % 2 ? memory : mine;
                const size_t page = (round * 7 + static_cast<unsigned>(worker)) % 16;
                const int signal = signal_of([&] {
                    auto* word = reinterpret_cast<volatile uint64_t*>(at(view, page));
                    const uint64_t seen = *word;
                    if (seen && (seen >> 32) != page + 1) // nothing but this page's words is ever here
                        fail(__FILE__, __LINE__, "page " + std::to_string(page) + " holds " + std::to_string(seen));
                    *word = (page + 1) << 32 | round;
                });
                CHECK(signal == 0 || signal == SIGBUS);
                if (round % 60 == 30)
                    in_child([&] {
                        for (size_t each = 0; each < 16; ++each) {
                            const int got = write_signal(at(view, each));
                            CHECK(got == 0 || got == SIGBUS);
                        }
                    });
            }
        }));
    std::atomic<bool> stop{false};
    std::thread moving([&] {
        for (unsigned round = 0; !stop; ++round)
            CHECK_OK(objr::truncate_object(fd, (round % 17) * kPage));
    });
    for (auto& actor : crew)
        actor->wait_end();
    stop = true;
    moving.join();
    CHECK_OK(objr::truncate_object(fd, kPage));
    CHECK_EQ(read_signal(at(memory, 1)), SIGBUS);
}

CASE_LIMIT(U3_fork_against_unmap_by_threads, 120) { // the parent's threads change the address space while it forks
    const int fd = device();
    std::atomic<bool> stop{false};
    std::vector<std::thread> crew;
    for (size_t thread = 0; thread < 3; ++thread)
        crew.emplace_back([&, thread] {
            for (uint64_t round = 1; !stop; ++round) {
                void* memory = map_pages(fd, 6);
                fill(at(memory, 2), thread * 1000000 + round);
                fill(at(memory, 5), round);
                CHECK_OK(munmap(at(memory, 3), kPage));
                CHECK_OK(mprotect(at(memory, 2), kPage, PROT_READ));
                CHECK(holds(at(memory, 2), thread * 1000000 + round));
                CHECK_OK(munmap(memory, 6 * kPage));
            }
        });
    for (int forks = 0; forks < 40; ++forks)
        in_child([] {});
    stop = true;
    for (std::thread& thread : crew)
        thread.join();
}

CASE_LIMIT(files_bound_and_dropped_while_written_back, 120) { // last close against a new first bind of the same file
    const std::string path = directory_on("tmpfs") + "/f";
    close(make_file(path, std::string(kPage, '\0')));
    std::vector<std::unique_ptr<Actor>> crew;
    for (size_t worker = 0; worker < 4; ++worker)
        crew.push_back(std::make_unique<Actor>([=](Actor&) {
            for (uint64_t round = 0; round < 40; ++round) {
                const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
                CHECK_OK(file);
                const int fd = bound_file(file, OBJRMAP_SHARED);
                close(file);
                void* memory = map_pages(fd, 1);
                close(fd);
                auto* word = static_cast<volatile uint64_t*>(memory) + worker;
                CHECK_EQ(*word, round);
                *word = round + 1;
                CHECK_OK(munmap(memory, kPage));
            }
        }));
    for (auto& actor : crew)
        actor->wait_end();
}

// The write-back of a last close goes on to its end, whatever signal meets it.
CASE_LIMIT(killed_at_the_last_close, 120) {
    const size_t pages = 2048;
    const std::string path = directory_on("tmpfs") + "/f";
    for (uint64_t round = 1; round <= 6; ++round) {
        const int file = make_file(path, "");
        CHECK_OK(ftruncate(file, pages * kPage));
        int ends[2];
        CHECK_OK(pipe(ends));
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) {
            const int fd = bound_file(file, OBJRMAP_SHARED);
            void* memory = map_pages(fd, pages);
            for (size_t page = 0; page < pages; ++page)
                *reinterpret_cast<volatile uint64_t*>(at(memory, page)) = round;
            CHECK_OK(munmap(memory, pages * kPage));
            CHECK_EQ(write(ends[1], "x", 1), 1);
            close(fd);
            _exit(0);
        }
        char byte;
        CHECK_EQ(read(ends[0], &byte, 1), 1);
        usleep(static_cast<useconds_t>(round * 3000));
        CHECK_OK(kill(pid, SIGKILL));
        CHECK_EQ(waitpid(pid, nullptr, 0), pid);
        for (size_t page = 0; page < pages; ++page) {
            uint64_t word = 0;
            CHECK_EQ(pread(file, &word, sizeof(word), static_cast<off_t>(page * kPage)),
                     static_cast<ssize_t>(sizeof(word)));
            CHECK_EQ(word, round);
        }
        close(file), close(ends[0]), close(ends[1]);
    }
}

CASE_LIMIT(one_file_every_way_at_once,
           120) { // msync, read(2), write(2), truncation and faults: each takes the inode's lock
    need_module();
    const std::string path = directory_on("tmpfs") + "/f";
    const size_t pages = 8;
    const int file = make_file(path, std::string(pages * kPage, '\0'));
    const int fd = bound_file(file, OBJRMAP_SHARED);
    void* memory = map_pages(fd, pages);
    const auto refused = [](ssize_t result) { return result < 0 && errno != EFAULT && errno != EIO; };
    std::vector<std::unique_ptr<Actor>> crew;
    crew.push_back(std::make_unique<Actor>([=](Actor&) {
        for (int round = 0; round < 150; ++round)
            CHECK_OK(msync(memory, pages * kPage, MS_SYNC));
    }));
    crew.push_back(std::make_unique<Actor>([=](Actor&) { // from its own pages; beyond the end that is EFAULT
        for (unsigned round = 0; round < 300; ++round)
            CHECK(!refused(pwrite(file, at(memory, round % pages), kPage, (round * 3 % pages) * kPage)));
    }));
    crew.push_back(std::make_unique<Actor>([=](Actor&) {
        for (unsigned round = 0; round < 300; ++round)
            CHECK(!refused(pread(file, at(memory, round * 5 % pages), kPage, (round % pages) * kPage)));
    }));
    crew.push_back(std::make_unique<Actor>([=](Actor&) {
        for (unsigned round = 0; round < 150; ++round)
            CHECK_OK(objr::truncate_object(fd, round % 3 ? pages * kPage : round % (pages * kPage)));
    }));
    crew.push_back(std::make_unique<Actor>([=](Actor&) {
        for (unsigned round = 0; round < 600; ++round) {
            const int signal = write_signal(at(memory, round % pages) + round);
            CHECK(signal == 0 || signal == SIGBUS);
        }
    }));
    for (auto& actor : crew)
        actor->wait_end();
    CHECK_OK(objr::truncate_object(fd, pages * kPage));
    CHECK_OK(msync(memory, pages * kPage, MS_SYNC));
    CHECK_EQ(memcmp(content_of(path).data(), memory, pages * kPage), 0);
}

// A process of several threads that map, write and unmap without end; `started` is written to when all are at it.
[[noreturn]] static void restless_threads(int fd, int started) {
    std::atomic<int> at_work{0};
    std::vector<std::thread> crew;
    for (size_t thread = 0; thread < 4; ++thread)
        crew.emplace_back([&, thread] {
            for (uint64_t round = 1;; ++round) {
                void* memory = map_pages(fd, 8);
                for (size_t page = 0; page < 8; ++page)
                    fill(at(memory, page), thread + round);
                if (round == 3 && ++at_work == 4) CHECK_EQ(write(started, "x", 1), 1);
                CHECK_OK(munmap(memory, 8 * kPage));
            }
        });
    for (;;)
        ::pause();
}

CASE_LIMIT(threads_killed_at_work, 120) {
    const int fd = device();
    for (int round = 0; round < 8; ++round) {
        int ends[2];
        CHECK_OK(pipe(ends));
        const pid_t pid = fork();
        CHECK_OK(pid);
        if (pid == 0) restless_threads(fd, ends[1]);
        close(ends[1]);
        char byte;
        CHECK_EQ(read(ends[0], &byte, 1), 1);
        close(ends[0]);
        CHECK_OK(kill(pid, SIGKILL));
        CHECK_EQ(waitpid(pid, nullptr, 0), pid);
    }
}

CASE_LIMIT(threads_at_work_when_another_execs, 120) {
    const int fd = device();
    for (int round = 0; round < 4; ++round) {
        const int kept = dup(fd);
        in_child([&] {
            int ends[2];
            CHECK_OK(pipe(ends));
            std::thread([&] { restless_threads(fd, ends[1]); }).detach();
            char byte;
            CHECK_EQ(read(ends[0], &byte, 1), 1);
            const std::string number = std::to_string(kept);
            execl("/proc/self/exe", "selftests", "--zero-helper", number.c_str(), static_cast<char*>(nullptr));
            fail(__FILE__, __LINE__, with_errno("exec"));
        });
        close(kept);
    }
}

CASE_LIMIT(proc_mem_against_unmap_and_exit, 120) {
    const int fd = device();
    void* room = mmap(nullptr, 4 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(room != MAP_FAILED);
    Actor target([&](Actor& self) {
        self.pause();
        for (int round = 0; round < 300; ++round) {
            CHECK(objr::map(fd, 4 * kPage, PROT_READ | PROT_WRITE, 0, room) == room);
            auto* word = reinterpret_cast<volatile uint64_t*>(at(room, 1));
            CHECK(*word == 0 || *word == 42); // the other may have been here already
            CHECK(mmap(at(room, 1), 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                  at(room, 1));
        }
    });
    target.await();
    const int mem = open(("/proc/" + std::to_string(target.pid()) + "/mem").c_str(), O_RDWR | O_CLOEXEC);
    CHECK_OK(mem);
    target.go();
    const auto place = static_cast<off_t>(reinterpret_cast<uintptr_t>(at(room, 1)));
    for (uint64_t answer = 42;;) {
        uint64_t seen = 0;
        const ssize_t got = pread(mem, &seen, sizeof(seen), place);
        CHECK(got != sizeof(seen) || seen == 0 || seen == 42);
        if (got == 0) break; // the address space is gone
        if (pwrite(mem, &answer, sizeof(answer), place) == 0) break;
    }
    target.wait_end();
}

CASE_LIMIT(P3_one_page_in_thousands_of_windows, 180) {
    need_module();
    const int fd = device();
    const size_t windows = 3000;
    CHECK_OK(objr::bind_object(fd, "windows", 16 * kPage, OBJRMAP_CREATE));
    std::vector<void*> maps;
    for (size_t i = 0; i < windows; ++i) {
        maps.push_back(map_pages(fd, 1 + i % 3, PROT_READ | PROT_WRITE, 7 - i % 3));
        (void)*reinterpret_cast<volatile unsigned char*>(at(maps.back(), i % 3));
    }
    fill(at(maps[0], 0), 1);
    CHECK(holds(at(maps[windows - 1], (windows - 1) % 3), 1));
    auto answers = objr::parse_answers(objr::ask("query", "file windows pgoff 7"));
    CHECK_EQ(answers.size(), 1u);
    CHECK_EQ(answers[0].mappers.size(), windows);
    CHECK(objr::ask("graph", "file windows pgoff 7").size() > windows * 50);
    std::vector<objrmap_mapper> mappers;
    unsigned total = 0;
    CHECK(objr::who(fd, maps[0], mappers, 5000, &total));
    CHECK_EQ(total, windows);
    in_child([&] { // by faults the child gets them again
        CHECK(holds(at(maps[1], 1), 1));
        CHECK(objr::verify());
    });
    for (size_t i = 0; i < windows; i += 2)
        CHECK_OK(munmap(maps[i], (1 + i % 3) * kPage));
    answers = objr::parse_answers(objr::ask("query", "file windows pgoff 7"));
    CHECK_EQ(answers.at(0).mappers.size(), windows / 2);
    CHECK_OK(objr::truncate_object(fd, kPage));
    CHECK_EQ(read_signal(at(maps[1], 1)), SIGBUS);
}
