// SPDX-License-Identifier: GPL-2.0
//
// ledger.h: every allocation of the fake kernel, by address: who leaks, who frees twice, who fails next.
//
// Invariant 1: an address is in the ledger from its allocation to its free. Locking: one mutex, a leaf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace objr_host {

// Counts one try; true: the caller must answer "no memory" (see kunit/cases/inject.h).
[[nodiscard]] bool allocation_fails();

// what: a string that lives as long as the entry.
void ledger_add(const void* memory, std::size_t bytes, const char* what);

// Dies unless memory is there under the very same what and bytes (0: any size).
void ledger_remove(const void* memory, std::size_t bytes, const char* what);

// Everything allocated after this call has a higher number than the result.
std::uint64_t ledger_now();

struct Leak {
    const void* memory;
    std::size_t bytes;
    std::string what;
};
// What was allocated after since and is still there, oldest first.
std::vector<Leak> ledger_after(std::uint64_t since);

} // namespace objr_host
