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

CASE_LIMIT(truncate_against_faults_and_forks, 120) {
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

CASE_LIMIT(fork_against_unmap_by_threads, 120) { // the parent's threads change the address space while it forks
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
