// SPDX-License-Identifier: GPL-2.0
// ZapBatch: translations that a walk has made stale, to be dropped after its rmap locks are (rule L4 of lock.h; Linux:
// struct mmu_gather, try_to_unmap_flush). Bounded: when it is full the walk stops, zaps, and starts anew; what it has
// changed already is not found again.
//
// Each entry pins its Mm and region, so that both outlive the locks under which they were found.
#pragma once

#include "objrmap/mm.h"

namespace objr {

class ZapBatch : Pinned {
public:
    ~ZapBatch() { flush(); }

    bool full() const { return count_ == kEntries; }
    // Under rmap and table locks.
    void add(Vma& vma, Vaddr address);
    // Not under them. Sleeps.
    void flush();

private:
    static constexpr u32 kEntries = 16;
    struct Entry {
        Mm* mm;
        objr_region* region;
        Vaddr address;
    };
    Entry entries_[kEntries];
    u32 count_ = 0;
};

} // namespace objr
