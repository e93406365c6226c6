// SPDX-License-Identifier: GPL-2.0
// page_kinds.h: contents of pages as a compressor meets them.
#pragma once

#include "fixture.h"

namespace objr::test {

enum class PageKind : u32 { zero, one_word, text, noise, mixed };
constexpr u32 kPageKinds = 5;

// Word i of a page of this kind.
inline u64 word_of(PageKind kind, u64 seed, u64 i) {
    const u64 noise = Random(seed * 512 + i + 1).next();
    switch (kind) {
    case PageKind::zero: return 0;
    case PageKind::one_word: return seed | 1;
    case PageKind::text: return seed + i / 16;
    case PageKind::noise: return noise;
    case PageKind::mixed: return i % 2 == 0 ? noise : seed;
    }
    return 0;
}

inline void fill_page(void* page, PageKind kind, u64 seed) {
    u64* words = static_cast<u64*>(page);
    for (u64 i = 0; i < kPageSize / sizeof(u64); i++) {
        words[i] = word_of(kind, seed, i);
    }
}

inline bool page_holds(const void* page, PageKind kind, u64 seed) {
    const u64* words = static_cast<const u64*>(page);
    for (u64 i = 0; i < kPageSize / sizeof(u64); i++) {
        if (words[i] != word_of(kind, seed, i)) {
            return false;
        }
    }
    return true;
}

} // namespace objr::test
