// SPDX-License-Identifier: GPL-2.0
// Fixed-width integers, and the four numbers of reverse mapping as types of their own, so that none is taken for
// another: Pfn (page frame number), Paddr (physical byte address), Vaddr (virtual byte address), Pgoff (page offset
// in an object, in pages).
#pragma once

#include "shim/kernel.h"

#include <compare>

namespace objr {

using u8 = objr_u8;
using u16 = unsigned short;
using u32 = objr_u32;
using u64 = objr_u64;
using s32 = objr_s32;
using s64 = objr_s64;
using usize = decltype(sizeof(0));

inline constexpr u32 kPageShift = OBJR_PAGE_SHIFT;
inline constexpr u64 kPageSize = OBJR_PAGE_SIZE;
inline constexpr u64 kPageMask = ~(kPageSize - 1);

// A counted quantity of one kind. Sums and differences with plain integers keep the kind; the difference of two is a
// plain number of units.
template <class Tag>
struct Strong {
    u64 value = 0;

    constexpr Strong() = default;
    constexpr explicit Strong(u64 v) : value(v) {}

    friend constexpr bool operator==(Strong, Strong) = default;
    friend constexpr auto operator<=>(Strong a, Strong b) { return a.value <=> b.value; }
    friend constexpr Strong operator+(Strong a, u64 n) { return Strong(a.value + n); }
    friend constexpr Strong operator-(Strong a, u64 n) { return Strong(a.value - n); }
    friend constexpr u64 operator-(Strong a, Strong b) { return a.value - b.value; }
    constexpr Strong& operator+=(u64 n) {
        value += n;
        return *this;
    }
};

using Pfn = Strong<struct PfnTag>;
using Paddr = Strong<struct PaddrTag>;
using Vaddr = Strong<struct VaddrTag>;
using Pgoff = Strong<struct PgoffTag>;

constexpr bool page_aligned(u64 n) { return (n & ~kPageMask) == 0; }
constexpr Vaddr page_start(Vaddr a) { return Vaddr(a.value & kPageMask); }

template <class T>
constexpr T min(T a, T b) {
    return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
    return a < b ? b : a;
}

// Where the contents of a page are that has been swapped out: the slot `offset` of the swap space `type`.
struct SwapEntry {
    u32 type; // 0 .. 31
    u64 offset; // 0 .. 2^50 - 1, pages
    friend constexpr bool operator==(const SwapEntry&, const SwapEntry&) = default;

    // As one word (Page::private_word).
    constexpr u64 word() const { return (static_cast<u64>(type) << 50) | offset; }
    static constexpr SwapEntry from_word(u64 word) { return {static_cast<u32>(word >> 50), word & ((1ull << 50) - 1)}; }
};

// Nothing is copied or moved by accident: locks, intrusive nodes and guards have an address.
struct Pinned {
    Pinned() = default;
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;
};

} // namespace objr
