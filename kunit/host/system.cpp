// SPDX-License-Identifier: GPL-2.0
//
// system.cpp: time, processors, log and text of include/shim/kernel.h.
#include "host.h"
#include "lock_checker.h"
#include "out.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <utility>

// Of the sanitizers' run-time libraries, where there are some.
extern "C" {
__attribute__((weak)) void __sanitizer_symbolize_pc(void* pc, const char* format, char* out, std::size_t size);
__attribute__((weak)) std::size_t __asan_get_alloc_stack(void* memory, void** trace, std::size_t size, int* thread);
}

namespace objr_host {
namespace {

std::mutex log_lock;
std::string log_text; // guarded by log_lock

std::string formatted(const char* format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, format, again);
    va_end(again);
    std::string text(length > 0 ? static_cast<std::size_t>(length) : 0, '\0');
    std::vsnprintf(text.data(), text.size() + 1, format, arguments);
    return text;
}

} // namespace

bool die_without_trace = false;

void die(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const std::string text = formatted(format, arguments);
    va_end(arguments);
    std::fflush(stdout);
    std::fprintf(stderr, "%shosted kernel: %s\n", take_log().c_str(), text.c_str());
    if (die_without_trace) _exit(1);
    std::abort();
}

std::string take_log() {
    std::lock_guard guard(log_lock);
    return std::exchange(log_text, {});
}

std::string describe_address(const void* address) {
    char text[512];
    if (__sanitizer_symbolize_pc != nullptr && address != nullptr) {
        // A return address is behind its call.
        auto* const pc = const_cast<char*>(static_cast<const char*>(address)) - 1;
        __sanitizer_symbolize_pc(pc, "%f %s:%l", text, sizeof text);
    } else {
        std::snprintf(text, sizeof text, "%p", address);
    }
    return text;
}

std::string describe_memory(const void* memory) {
    if (__asan_get_alloc_stack == nullptr) return "";
    void* trace[12];
    int thread = 0;
    const std::size_t frames = __asan_get_alloc_stack(const_cast<void*>(memory), trace, std::size(trace), &thread);
    std::string text = "the first was allocated at\n";
    for (std::size_t i = 1; i < frames; i++)
        text += "  " + describe_address(static_cast<const char*>(trace[i]) + 1) + "\n";
    return text;
}

} // namespace objr_host

using namespace objr_host;

extern "C" {

objr_u64 objr_ktime_get_ns(void) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<objr_u64>(now.tv_sec) * 1000000000 + static_cast<objr_u64>(now.tv_nsec);
}

// Threads in the order of their first question: the same in every run, unlike the real processor.
objr_u32 objr_cpu(void) {
    static std::atomic<objr_u32> threads{0};
    thread_local const objr_u32 mine = threads.fetch_add(1) % 4;
    return mine;
}

void objr_cond_resched(void) { check_may_sleep("cond_resched"); }
void objr_sleep_a_tick(void) {
    check_may_sleep("sleep_a_tick");
    std::this_thread::yield();
}

void objr_run_detached(void (*function)(void* argument), void* argument) {
    check_may_sleep("run_detached");
    if (const std::string held = held_locks(); kChecks && !held.empty())
        die("objr_run_detached is called under locks, for which the other thread may wait. Held are\n%s", held.c_str());
    function(argument);
}

int objr_fatal_signal_pending(void) { return 0; }
void objr_might_sleep(void) { check_may_sleep("a function marked might_sleep"); }

void objr_printk(enum objr_level level, const char* format, ...) {
    static constexpr const char* kLevels[] = {"error", "warning", "notice", "info"};
    va_list arguments;
    va_start(arguments, format);
    std::string text = formatted(format, arguments);
    va_end(arguments);
    if (text.empty() || text.back() != '\n') text += '\n';
    std::lock_guard guard(log_lock);
    log_text += std::string("log ") + kLevels[level] + ": " + text;
}

int objr_printk_ratelimit(void) { return 1; }

void objr_warn(const char* what, const char* file, int line) {
    fail(file, line, (std::string("WARN: ") + what).c_str());
}

void objr_out_printf(struct objr_out* out, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    out->text += formatted(format, arguments);
    va_end(arguments);
    if (out->text.size() > out->most) out->text.resize(out->most);
}
}
