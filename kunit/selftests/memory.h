// SPDX-License-Identifier: GPL-2.0
//
// What the test programs do with memory: fill pages so that lost and foreign content shows, look whether it is there,
// and survive the signal of an access that is refused.
#ifndef OBJRMAP_SELFTESTS_MEMORY_H
#define OBJRMAP_SELFTESTS_MEMORY_H

#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "client.h"

namespace memory {

constexpr size_t kWords = objr::kPage / sizeof(uint64_t);
constexpr uint64_t kSpread = 0x9e3779b97f4a7c15ULL;

inline unsigned char* at(void* base, size_t page) { return static_cast<unsigned char*>(base) + page * objr::kPage; }

// The word that a page of this tag has at index; the tag can be told from it. Tag 0 is the zero page.
inline uint64_t word_of(uint64_t tag, size_t index) { return tag ? tag ^ (kSpread * (index + 1)) : 0; }
inline uint64_t tag_of(uint64_t word, size_t index) { return word ? word ^ (kSpread * (index + 1)) : 0; }

inline void fill(void* page, uint64_t tag) {
    auto* words = static_cast<volatile uint64_t*>(page);
    for (size_t i = 0; i < kWords; ++i)
        words[i] = word_of(tag, i);
}

// Index of the first word that is not of this tag; kWords: all are.
inline size_t first_difference(const void* page, uint64_t tag) {
    const auto* words = static_cast<const volatile uint64_t*>(page);
    for (size_t i = 0; i < kWords; ++i)
        if (words[i] != word_of(tag, i)) return i;
    return kWords;
}

inline bool holds(const void* page, uint64_t tag) { return first_difference(page, tag) == kWords; }

// ---- accesses that may be refused ---------------------------------------------------------------------------------

inline thread_local sigjmp_buf way_back;
inline thread_local volatile sig_atomic_t expecting;

inline void on_signal(int signal) {
    if (expecting) siglongjmp(way_back, signal);
    struct sigaction action {}; // nobody expects it: die of it
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, nullptr);
}

// The signal that the access gets (SIGSEGV, SIGBUS), 0 for none.
template <typename Access>
int signal_of(const Access& access) {
    struct sigaction action {};
    action.sa_handler = on_signal;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    const int signal = sigsetjmp(way_back, 1);
    if (!signal) {
        expecting = 1;
        access();
    }
    expecting = 0;
    return signal;
}

inline int read_signal(const void* address) {
    return signal_of([=] { (void)*static_cast<const volatile unsigned char*>(address); });
}

inline int write_signal(void* address) { // writes the byte that is there
    return signal_of([=] {
        auto* byte = static_cast<volatile unsigned char*>(address);
        *byte = *byte;
    });
}

} // namespace memory

#endif // OBJRMAP_SELFTESTS_MEMORY_H
