// SPDX-License-Identifier: GPL-2.0
// SlotMap: which numbers of 0 .. n-1 are free, and which is given out next (Linux: mm/swapfile.c:scan_swap_map_slots). Free is what
// SwapSpace uses it for; it serves for any set of slots of which one is wanted after the other.
//
// Next fit: the search begins behind what was given out last and goes round. What is taken one after the other, as pages at the
// old end of a list are, so gets neighbouring numbers. The last one given out is the next one again if it comes back at once.
//
// Invariant: a bit of the upper level is set iff the word below it is not 0.
// Locking: none of its own, the owner's. take and give touch at most n / 4096 words.
#pragma once

#include "objrmap/result.h"

namespace objr {

class SlotMap : Pinned {
public:
    static constexpr u64 kNone = ~0ull;

    enum class Begin { all, none };
    Status create(u64 slots, Begin begin); // all are free, or none. Sleeps. ENOMEM.
    void destroy(); // idempotent
    u64 take(); // kNone: none is free
    u64 next(); // the same, but it stays free: the next time it is the turn of another
    void remove(u64 slot); // it was free
    void give(u64 slot); // it was taken
    u64 bytes() const { return (words_count() + uppers_count()) * sizeof(u64); }

private:
    static constexpr u64 kBits = 64;
    u64 words_count() const { return (slots_ + kBits - 1) / kBits; }
    u64 uppers_count() const { return (words_count() + kBits - 1) / kBits; }
    u64 first_from(u64 slot) const;

    u64* words_ = nullptr; // a bit for each slot: it is free
    u64* uppers_ = nullptr; // a bit for each word
    u64 slots_ = 0; // immutable after create()
    u64 cursor_ = 0;
};

} // namespace objr
