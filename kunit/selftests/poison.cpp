// SPDX-License-Identifier: GPL-2.0
//
// Memory that fails, on real processes: who touches it gets SIGBUS with the address, a system call EFAULT, a debugger EIO; what can be
// had again is. The frames stay away until the module goes, so each case has one of its own.
#include <csetjmp>
#include <memory>
#include <vector>

#include <sched.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "commands.h"

using namespace harness;
using objr::kPage;

namespace {

sigjmp_buf way_back;
siginfo_t seen;

void on_bus_error(int, siginfo_t* info, void*) {
    seen = *info;
    siglongjmp(way_back, 1);
}

// A kernel without CONFIG_MEMORY_FAILURE, as Debian's cloud kernel, makes an ordinary SIGBUS of it.
bool kernel_knows_memory_failure() { return ::access("/proc/sys/vm/memory_failure_early_kill", F_OK) == 0; }

// The access gets SIGBUS as for a failure of the memory at this address.
template <typename Access>
void expect_memory_failure(const void* address, const Access& access) {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    CHECK_OK(sigaction(SIGBUS, &action, nullptr));
    seen = {};
    if (!sigsetjmp(way_back, 1)) access();
    CHECK_EQ(seen.si_signo, SIGBUS);
    CHECK_EQ(seen.si_code, kernel_knows_memory_failure() ? BUS_MCEERR_AR : BUS_ADRERR);
    CHECK_EQ(reinterpret_cast<uintptr_t>(seen.si_addr) & ~(kPage - 1), reinterpret_cast<uintptr_t>(address));
}

void expect_lost(void* page) {
    expect_memory_failure(page, [=] { (void)*static_cast<Byte*>(page); });
    expect_memory_failure(page, [=] { *static_cast<Byte*>(page) = 1; });
}

} // namespace

CASE_WITH(poison_signals_the_address, 60, "pool_mb=8") {
    need_module();
    void* memory = map_pages(device(), 3);
    for (size_t page = 0; page < 3; ++page)
        fill(at(memory, page), 1 + page);
    Actor child([&](Actor& self) {
        self.pause();
        expect_lost(at(memory, 1));
        CHECK(holds(at(memory, 0), 1) && holds(at(memory, 2), 3));
    });
    child.await();
    const CommandResult result = command_at("poison", getpid(), at(memory, 1));
    CHECK_EQ(result.number("taken"), 2u);
    CHECK_EQ(result.number("recovered"), 0u);
    expect_lost(at(memory, 1));
    child.finish();
    CHECK(holds(at(memory, 0), 1) && holds(at(memory, 2), 3));
    CHECK(objr::stat("poisoned_pages") != 0);

    int ends[2];
    CHECK_OK(pipe(ends));
    CHECK_FAILS(write(ends[1], at(memory, 1), 16), EFAULT);
    CHECK_EQ(write(ends[1], at(memory, 0), 16), 16);
    CHECK_FAILS(read(ends[0], at(memory, 1), 16), EFAULT);
    const int self = open("/proc/self/mem", O_RDWR);
    CHECK_OK(self);
    char bytes[8];
    CHECK_FAILS(pread(self, bytes, sizeof(bytes), static_cast<off_t>(reinterpret_cast<uintptr_t>(at(memory, 1)))), EIO);

    CHECK_OK(mprotect(at(memory, 1), kPage, PROT_READ));
    expect_memory_failure(at(memory, 1), [&] { (void)*static_cast<Byte*>(at(memory, 1)); });
    CHECK_OK(mprotect(at(memory, 1), kPage, PROT_READ | PROT_WRITE));
    in_child([&] { expect_lost(at(memory, 1)); }); // inherited
    CHECK_OK(munmap(at(memory, 1), kPage));
    std::string text;
    if (!objr::verify(&text)) fail(__FILE__, __LINE__, text);
}

CASE_WITH(poison_of_a_file, 60, "pool_mb=8") {
    need_module();
    const long before = static_cast<long>(objr::stat("poisoned_pages"));
    const std::string path = directory_on("tmpfs") + "/failing";
    const int file = make_file(path, page_text('a', 2 * kPage));
    const int view = device();
    CHECK_OK(objr::bind_file(view, file, OBJRMAP_SHARED));
    auto* memory = static_cast<unsigned char*>(map_pages(view, 2));
    CHECK_EQ(memory[0], 'a');
    CHECK_EQ(command_at("poison", getpid(), at(memory, 0)).number("recovered"), 1u);
    CHECK_EQ(memory[0], 'a'); // read again
    memory[kPage] = 'Z';
    CHECK_EQ(command_at("poison", getpid(), at(memory, 1)).number("recovered"), 0u);
    expect_lost(at(memory, 1));
    CHECK_FAILS(msync(memory, 2 * kPage, MS_SYNC), EIO);
    CHECK_OK(msync(memory, 2 * kPage, MS_SYNC));
    CHECK_EQ(static_cast<long>(objr::stat("poisoned_pages")) - before, 2);
}

namespace {

constexpr size_t kOwnPages = 600;

struct Losses {
    volatile int stop;
    volatile uint64_t pages, rounds;
};

void use_page(int view, void* page, uint64_t& tag, uint64_t next, Losses& losses) {
    const int signal = memory::signal_of([&] {
        if (!holds(page, tag)) fail(__FILE__, __LINE__, "a page has other contents, and no signal came");
        fill(page, next);
    });
    tag = next;
    if (!signal) return;
    CHECK_EQ(signal, SIGBUS);
    __atomic_fetch_add(&losses.pages, 1, __ATOMIC_RELAXED);
    CHECK(mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, view, 0) == page);
    tag = 0;
}

// Uses pages of its own until it is told to stop; now and then a child looks at what it has inherited.
void suffer(Losses& losses, uint64_t worker) {
    const int view = device();
    void* memory = map_pages(view, kOwnPages);
    std::vector<uint64_t> tags(kOwnPages);
    for (uint64_t round = 1; !losses.stop; ++round) {
        const size_t page = (round * 7 + worker) % kOwnPages;
        use_page(view, at(memory, page), tags[page], worker << 32 | round, losses);
        __atomic_fetch_add(&losses.rounds, 1, __ATOMIC_RELAXED);
        if (round % 500 == 0)
            in_child([&] {
                for (size_t i = 0; i < kOwnPages; i += 3)
                    use_page(view, at(memory, i), tags[i], round, losses);
            });
    }
}

} // namespace

CASE_WITH(poison_under_processes_that_use_fork_and_swap, 150, "pool_mb=8 swap=memory:16") {
    need_module();
    auto* losses =
        static_cast<Losses*>(mmap(nullptr, sizeof(Losses), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    CHECK(losses != MAP_FAILED);
    std::vector<std::unique_ptr<Actor>> crew;
    for (uint64_t worker = 1; worker <= 4; ++worker)
        crew.push_back(std::make_unique<Actor>([=](Actor&) { suffer(*losses, worker); }));
    const uint64_t before = objr::stat("poisoned_pages");
    uint64_t lost = 0;
    for (unsigned step = 1; step <= 300; ++step) {
        const std::string words = "poison page " + std::to_string(step * 977 % 2048);
        int error = 0;
        const std::string answer = objr::ask("command", words, &error);
        if (error && error != EBUSY && error != EAGAIN && error != EEXIST)
            fail(__FILE__, __LINE__, words + ": " + strerror(error) + ": " + answer);
        if (!error) lost += answer.find("recovered=0") != std::string::npos;
        if (step % 30 == 0) {
            CHECK(objr::verify());
            for (const uint64_t rounds = losses->rounds; losses->rounds < rounds + 100;)
                sched_yield();
        }
    }
    CHECK(objr::stat("poisoned_pages") > before + 100);
    losses->stop = 1;
    for (auto& actor : crew)
        actor->wait_end();
    CHECK(losses->pages > 0);
    CHECK(lost > 0);
    std::string text;
    if (!objr::verify(&text)) fail(__FILE__, __LINE__, text);
}
