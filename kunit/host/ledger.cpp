// SPDX-License-Identifier: GPL-2.0
#include "ledger.h"

#include "host.h"
#include "inject.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>

namespace objr_host {
namespace {

struct Entry {
    std::size_t bytes;
    const char* what;
    std::uint64_t serial;
};

struct Ledger {
    std::mutex lock;
    std::unordered_map<const void*, Entry> entries; // guarded by lock
    std::uint64_t serial = 0; // guarded by lock
};

// Leaked on purpose: threads may still free while the process ends.
Ledger& ledger() {
    static Ledger* const one = new Ledger;
    return *one;
}

std::atomic<unsigned> failing{0}; // the allocation to fail, counted from 1; 0: none
std::atomic<unsigned> tried{0};

} // namespace

bool allocation_fails() {
    const unsigned number = tried.fetch_add(1, std::memory_order_relaxed) + 1;
    return number == failing.load(std::memory_order_relaxed);
}

void ledger_add(const void* memory, std::size_t bytes, const char* what) {
    if constexpr (!kChecks) return;
    Ledger& all = ledger();
    std::lock_guard guard(all.lock);
    all.entries[memory] = {bytes, what, ++all.serial};
}

void ledger_remove(const void* memory, std::size_t bytes, const char* what) {
    if constexpr (!kChecks) return;
    Ledger& all = ledger();
    std::unique_lock guard(all.lock);
    const auto found = all.entries.find(memory);
    if (found == all.entries.end()) {
        guard.unlock();
        die("%p is freed as %s, but is no allocation: freed twice, or not the address that was handed out", memory,
            what);
    }
    const Entry entry = found->second;
    all.entries.erase(found);
    guard.unlock();
    if (std::string(entry.what) != what || (bytes != 0 && bytes != entry.bytes))
        die("%p was allocated as %s (%zu bytes) but is freed as %s (%zu bytes)", memory, entry.what, entry.bytes, what,
            bytes);
}

std::uint64_t ledger_now() {
    Ledger& all = ledger();
    std::lock_guard guard(all.lock);
    return all.serial;
}

std::vector<Leak> ledger_after(std::uint64_t since) {
    Ledger& all = ledger();
    std::lock_guard guard(all.lock);
    std::vector<std::pair<std::uint64_t, Leak>> found;
    for (const auto& [memory, entry] : all.entries)
        if (entry.serial > since) found.push_back({entry.serial, {memory, entry.bytes, entry.what}});
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Leak> leaks;
    for (auto& [serial, leak] : found)
        leaks.push_back(std::move(leak));
    return leaks;
}

} // namespace objr_host

extern "C" {

int objr_test_can_fail_allocations(void) { return 1; }

void objr_test_fail_nth_allocation(unsigned n) {
    objr_host::failing = 0;
    objr_host::tried = 0;
    objr_host::failing = n;
}

unsigned objr_test_allocations(void) { return objr_host::tried; }
}
