// SPDX-License-Identifier: GPL-2.0
// Counters of one World, spread over cache lines by processor so that hot paths do not meet in one (Linux: vm_event).
// Exact when read at rest; each counter is a sum of atomics, so nothing is lost, but two are not read at one instant.
#pragma once

#include "objrmap/atomic.h"
#include "objrmap/types.h"

namespace objr {

enum class Count : u32 {
    anon_pages, // pages in use that are anonymous (mapped at least once)
    file_pages, // pages in a page cache
    dirty_pages, // of these, of real files: newer than the file, or mapped so that they may become it without a fault
    mapped_pages, // pages with at least one mapping
    mappings, // present PTEs
    swapcache_pages, // pages in the swap cache
    locked_pages, // pages mapped by a locked Vma
    swapped_pages, // slots of the swap space that are neither free nor kept
    swap_kept, // slots that are kept: see swap.h
    vmas,
    anon_vmas,
    anon_vma_chains,
    anon_mms,
    pte_chain_blocks, // of pte_chain, those got for what may come included
    file_mappings,
    mms,
    table_pages,
    faults,
    major_faults, // of these, such as had to read: a file or the swap store
    cow_faults,
    swap_ins, // pages read from the swap store
    swap_outs, // pages written to it
    swap_read_errors, // pages that it could not give back as they were
    swap_write_errors, // pages that it did not take
    swap_readaheads, // of swap_ins, pages that nobody had asked for
    swap_readahead_hits, // of these, pages that somebody has asked for since
    writebacks,
    write_errors, // pages that could not be written to their file
    migrations, // pages that went to another frame
    reclaim_scanned, // looks at pages to take them away
    reclaimed_pages, // of these, that became free
    direct_reclaims, // operations that had to do it themselves
    rmap_walks,
    rmap_candidates,
    rmap_hits,
    rmap_false_hits,
    scheme_switches,
    kNumber,
};

class Counters : Pinned {
public:
    void add(Count which, s64 n = 1) {
        slots_[objr_cpu() % kSlots].values[static_cast<u32>(which)].fetch_add(static_cast<u64>(n));
    }
    void sub(Count which, s64 n = 1) { add(which, -n); }
    s64 sum(Count which) const {
        u64 total = 0;
        for (const Slot& slot : slots_) {
            total += slot.values[static_cast<u32>(which)].load();
        }
        return static_cast<s64>(total);
    }
    // Of what is counted up and down, where a sum below zero, of parts that were read at different times, is none.
    u64 number(Count which) const {
        const s64 total = sum(which);
        return total < 0 ? 0 : static_cast<u64>(total);
    }

private:
    static constexpr u32 kSlots = 16;
    struct alignas(64) Slot {
        Atomic<u64> values[static_cast<u32>(Count::kNumber)];
    };
    Slot slots_[kSlots];
};

} // namespace objr
