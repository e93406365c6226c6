// SPDX-License-Identifier: GPL-2.0
//
// What is in a page: a function of the place it was written for and of a version that is never given twice, so that lost, old
// and foreign contents are told apart. A quarter of the pages each is noise, one word repeated, a few words among zeros, and
// half noise: swap stores that compress meet all of it.
#ifndef OBJRMAP_SELFTESTS_PAGE_CONTENT_H
#define OBJRMAP_SELFTESTS_PAGE_CONTENT_H

#include "memory.h"

struct PageContent {
    uint64_t home = 0; // address, or offset in a file
    uint64_t version = 0; // 0: nobody has written yet, all zero

    uint64_t tag() const {
        uint64_t x = (home ^ (version * memory::kSpread)) + memory::kSpread;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
        return x ^ (x >> 31);
    }

    // The words of the page one after another: visit(index, value) until it says false.
    template <typename Visit>
    void each(const Visit& visit) const {
        const uint64_t own = tag();
        for (size_t i = 0; i < memory::kWords; ++i) {
            uint64_t word = 0;
            if (version) {
                const uint64_t noise = (own + i) * memory::kSpread ^ own >> 7;
                switch (own & 3) {
                case 0: word = noise; break;
                case 1: word = own; break;
                case 2: word = i % 64 == 0 || i == memory::kWords - 1 ? noise : 0; break;
                default: word = i < memory::kWords / 2 ? noise : own + i / 128; break;
                }
            }
            if (!visit(i, word)) return;
        }
    }

    void put(void* page) const {
        auto* words = static_cast<volatile uint64_t*>(page);
        each([=](size_t i, uint64_t word) {
            words[i] = word;
            return true;
        });
    }

    // Index of the first word that differs; kWords: none does.
    size_t difference(const void* page) const {
        const auto* words = static_cast<const volatile uint64_t*>(page);
        size_t different = memory::kWords;
        each([&](size_t i, uint64_t word) {
            if (words[i] == word) return true;
            different = i;
            return false;
        });
        return different;
    }
    bool is_in(const void* page) const { return difference(page) == memory::kWords; }
};

// A page whose writer was killed: each word is of one content or of the other. Index of the first that is of neither.
inline size_t difference_of_torn(const void* page, const PageContent& before, const PageContent& after) {
    const auto* words = static_cast<const volatile uint64_t*>(page);
    uint64_t old_words[memory::kWords];
    before.each([&](size_t i, uint64_t word) {
        old_words[i] = word;
        return true;
    });
    size_t different = memory::kWords;
    after.each([&](size_t i, uint64_t word) {
        const uint64_t found = words[i];
        if (found == word || found == old_words[i]) return true;
        different = i;
        return false;
    });
    return different;
}

#endif // OBJRMAP_SELFTESTS_PAGE_CONTENT_H
