// SPDX-License-Identifier: GPL-2.0
//
// Pages that go to other frames under the processes that use them: migrate, compact and resize.
#include <memory>

#include <sys/mman.h>
#include <unistd.h>

#include "commands.h"

using namespace harness;
using objr::kPage;

namespace {

constexpr size_t kPages = 64;

// What was asked for has been done, or there was a reason: busy pages, no room, nothing to do.
void ask_to_move(const std::string& words) {
    int error = 0;
    const std::string answer = objr::ask("command", words, &error);
    if (error && error != EBUSY && error != ENOENT && error != EAGAIN && error != ENOMEM)
        fail(__FILE__, __LINE__, words + ": " + strerror(error) + ": " + answer);
}

// Writes to its own and looks whether it and what is shared is still there.
void work(void* memory, void* shared, uint64_t worker) {
    for (uint64_t round = 0;; ++round) {
        const size_t mine = (worker * 16 + round) % kPages;
        fill(at(memory, mine), 1000 * worker + mine);
        CHECK(holds(at(memory, mine), 1000 * worker + mine));
        const size_t other = (mine + 8) % kPages;
        CHECK(holds(at(memory, other), 1 + other) || holds(at(memory, other), 1000 * worker + other));
        CHECK(holds(at(shared, other % 16), 500 + other % 16));
        auto* counter =
            reinterpret_cast<volatile uint64_t*>(at(shared, 16 + worker)); // one's own word of a shared page
        CHECK_EQ(*counter, round);
        *counter = round + 1;
    }
}

} // namespace

CASE_WITH(moving_pages_under_processes, 150, "pool_mb=4") {
    need_module();
    void* memory = map_pages(device(), kPages);
    for (size_t page = 0; page < kPages; ++page)
        fill(at(memory, page), 1 + page);
    const int object = device();
    CHECK_OK(objr::bind_object(object, "moving", 32 * kPage, OBJRMAP_CREATE));
    void* shared = map_pages(object, 32);
    for (size_t page = 0; page < 16; ++page)
        fill(at(shared, page), 500 + page);
    CHECK_OK(objr::advise(object, shared, 4 * kPage, OBJRMAP_ADVISE_LOCK));
    std::vector<std::unique_ptr<Actor>> crew;
    for (uint64_t worker = 1; worker <= 4; ++worker)
        crew.push_back(std::make_unique<Actor>([=](Actor&) { work(memory, shared, worker); }));
    for (int round = 0; round < 12; ++round) {
        ask_to_move("compact");
        ask_to_move("resize 7");
        ask_to_move("migrate range page 0 2047");
        ask_to_move("resize " + std::to_string(3 + round % 3));
        for (const auto& actor : crew)
            CHECK_EQ(kill(actor->pid(), 0), 0);
        std::string text;
        if (!objr::verify(&text)) fail(__FILE__, __LINE__, text);
    }
    for (auto& actor : crew) {
        int status;
        CHECK_EQ(waitpid(actor->pid(), &status, WNOHANG), 0); // none has ended by itself
        actor->kill();
    }
    for (size_t page = 0; page < kPages; ++page)
        CHECK(holds(at(memory, page), 1 + page));
}

CASE_WITH(resize_gives_memory_back, 60, "pool_mb=16") {
    need_module();
    const int fd = device();
    void* memory = map_pages(fd, 300);
    for (size_t page = 0; page < 300; ++page)
        fill(at(memory, page), 1 + page);
    CHECK_EQ(command("resize", "2").size(), 1u);
    CHECK_EQ(objr::stat("pool_pages"), 512u);
    CHECK_EQ(objr::stat("free_pages"), 212u);
    for (size_t page = 0; page < 300; ++page)
        CHECK(holds(at(memory, page), 1 + page));
    CHECK_EQ(command("resize", "1").size(), 1u); // some go to swap
    CHECK_EQ(objr::stat("pool_pages"), 256u);
    for (size_t page = 0; page < 300; ++page)
        CHECK(holds(at(memory, page), 1 + page));
    CHECK_EQ(command("resize", "2").size(), 1u);
    CHECK_OK(objr::advise(fd, memory, 300 * kPage, OBJRMAP_ADVISE_LOCK));
    int error = 0;
    const std::string answer = objr::ask("command", "resize 1", &error);
    CHECK_EQ(error, ENOMEM);
    CHECK_EQ(answer.rfind("error resize to 1 MiB failed, the pool has 2: ", 0), 0u);
    CHECK_EQ(command("resize", "16").size(), 1u);
    CHECK_EQ(objr::stat("pool_pages"), 4096u);
    for (size_t page = 0; page < 300; ++page)
        CHECK(holds(at(memory, page), 1 + page));
}
