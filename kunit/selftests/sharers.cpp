// SPDX-License-Identifier: GPL-2.0
//
// See sharers.h. The sharers are forked by one process and read everything; they look again when reclaim is done.
#include "sharers.h"

#include <cstdio>
#include <ctime>

#include <sys/prctl.h>
#include <sys/wait.h>

#include "client.h"
#include "page_content.h"

using objr::kPage;

namespace sharers {

namespace {

struct Board {
    unsigned looked; // how many have seen all pages
    unsigned wrong;
    int stop;
};

bool all_there(const unsigned char* memory, size_t pages) {
    for (size_t page = 0; page < pages; ++page)
        if (!PageContent{page, page + 1}.is_in(memory + page * kPage)) return false;
    return true;
}

[[noreturn]] void share(Board& board, const unsigned char* memory, size_t pages) {
    prctl(PR_SET_NAME, "sharer");
    if (!all_there(memory, pages)) __atomic_add_fetch(&board.wrong, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&board.looked, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&board.stop, __ATOMIC_SEQ_CST))
        usleep(200000);
    // A few pages each: all of them by all would only be one more test of swapping in.
    for (size_t n = 0; n < 4; ++n) {
        const size_t page = (static_cast<size_t>(getpid()) * 7 + n * 31) % pages;
        if (!PageContent{page, page + 1}.is_in(memory + page * kPage))
            __atomic_add_fetch(&board.wrong, 1, __ATOMIC_SEQ_CST);
    }
    _exit(0);
}

double now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

void reap_all(std::string& failure) {
    for (int status = 0; wait(&status) > 0 || errno == EINTR;)
        if (status && failure.empty()) failure = "a sharer ended with wait status " + std::to_string(status);
}

// Half of the pool, which nobody has room for until pages of the sharers go.
std::string need_memory(int device, size_t pages) {
    void* memory = objr::map(device, pages * kPage);
    if (memory == MAP_FAILED) return strerror(errno);
    for (size_t page = 0; page < pages; ++page)
        if (memory::write_signal(memory::at(memory, page)))
            return "no memory for page " + std::to_string(page) + " of " + std::to_string(pages);
    munmap(memory, pages * kPage);
    return {};
}

} // namespace

std::string run(unsigned processes, std::string* summary) {
    void* shared = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const size_t pool = objr::stat("pool_pages"), pages = pool * 3 / 4;
    const int device = objr::open_device();
    void* mapped = device < 0 ? MAP_FAILED : objr::map(device, pages * kPage);
    if (shared == MAP_FAILED || mapped == MAP_FAILED) return strerror(errno);
    auto& board = *static_cast<Board*>(shared);
    auto* memory = static_cast<unsigned char*>(mapped);
    for (size_t page = 0; page < pages; ++page)
        PageContent{page, page + 1}.put(memory + page * kPage);

    std::string failure;
    for (unsigned n = 0; n < processes && failure.empty(); ++n) {
        const pid_t pid = fork();
        if (pid == 0) share(board, memory, pages);
        if (pid < 0) failure = std::string("fork: ") + strerror(errno);
    }
    for (const double end = now() + 600; failure.empty() && board.looked < processes; usleep(20000))
        if (now() > end) failure = "only " + std::to_string(board.looked) + " sharers have seen their pages in 600 s";

    auto before = objr::stats();
    const double start = now();
    if (failure.empty()) failure = need_memory(device, pool / 2);
    const double took = now() - start;
    auto after = objr::stats();
    std::string text;
    if (failure.empty() && !objr::verify(&text)) failure = "verify: " + text;
    board.stop = 1;
    reap_all(failure);
    if (failure.empty() && board.wrong) failure = std::to_string(board.wrong) + " looks at shared pages have failed";
    if (failure.empty() && !all_there(memory, pages)) failure = "the parent's pages are wrong";
    if (summary) {
        char seconds[32];
        snprintf(seconds, sizeof(seconds), "%.1f s", took);
        *summary = std::to_string(processes) + " sharers of " + std::to_string(pages) + " pages, " +
                   std::to_string(before["mappings"]) + " mappings: " + std::to_string(pool / 2) + " pages had in " +
                   seconds;
        for (const char* name : {"swap_outs", "rmap_walks", "rmap_candidates", "rmap_hits"})
            *summary += ", " + std::to_string(after[name] - before[name]) + " " + name;
    }
    if (failure.empty() && after["rmap_walks"] == before["rmap_walks"]) failure = "nothing was looked for by the map";
    if (failure.empty() && after["swap_outs"] == before["swap_outs"]) failure = "nothing was swapped out";
    munmap(memory, pages * kPage);
    munmap(shared, sizeof(Board));
    close(device);
    return failure;
}

} // namespace sharers
