// SPDX-License-Identifier: GPL-2.0
// What takes pages away from those who map them (Linux: mm/rmap.c:try_to_unmap, mm/vmscan.c:pageout).
//
// Context of all: quiesce is held for read, the page is referenced and locked by the caller, no rmap lock is held. All sleep.
// Order (rule L3): entries, then translations, then the contents are written, then the frame is given back.
#pragma once

#include "objrmap/mmu.h"
#include "objrmap/rmap.h"

namespace objr {

// ---- taking a page out of all page tables (spec C10, C11, M9, M10)

enum class Unmapped : u32 {
    success, // it is not mapped any more
    again, // it is, nobody objects: try later
    fail, // it is, and there is a reason; some mappings may be gone
};

// What stands in the way.
enum class Refusal : u32 {
    none,
    locked, // a Vma that maps it is locked
    young, // it has been used; that is forgotten now (only with the rules of 2.6.24)
    pinned, // somebody writes to its frame: EBUSY
    no_slot, // the swap space has no slot, or there is none
    not_written, // the swap store has taken nothing: the page is out of the page tables and in the swap cache
    to_be_written, // no objection: it is in the swap cache, and the store is a file: write_out comes next
};

enum class UnmapMode : u32 {
    reclaim, // locked and young mappings refuse
    take_used, // young ones do not, under any rules
    revoke, // they do not
    migrate, // nor here, and migration entries are left
    poison, // nor here; entries of an anonymous page that is not in the swap cache say that it is lost
};

struct UnmapResult {
    Unmapped answer = Unmapped::again;
    Refusal why = Refusal::none;
    u32 mm_id = 0; // of the mapping that refuses
    Vaddr address;
    SwapEntry entry{}; // of a page that is to be written
    u32 taken = 0; // mappings that are gone now; in nonlinear Vmas also of other pages (unmap_nonlinear.h)
};

// An anonymous page must be in the swap cache, but to migrate or to poison. Dirty bits move to the page. Entries become the swap entry, a
// migration entry, the file offset in a nonlinear Vma, or nothing.
UnmapResult try_to_unmap(World& world, Page& page, UnmapMode mode, WalkCost& cost);

// A page in use, locked: does it leave memory for the swap space? A file's goes back to its file.
bool goes_to_swap(const Page& page);
// What `unmap` of debugfs does with a page: the whole way out. An anonymous page gets a slot, is unmapped, written and leaves the
// swap cache, so that its frame is free when the caller lets go of it. A file's page is unmapped and stays in the page cache.
// If the store is a file it ends with SUCCESS and to_be_written.
UnmapResult unmap_page(World& world, Page& page, UnmapMode mode, WalkCost& cost);
// The rest of the way for a page of an object that nobody maps: to swap, as with unmap_page. again: somebody looks at it.
UnmapResult swap_out_object_page(World& world, Page& page);

// ---- to a swap file (swap_out.cpp): no lock is held by the caller, quiesce neither, and no lock but SwapSpace's write_lock is held
// over the write.
// The contents of the page in the swap cache for this entry, which nobody maps, go to the store; then it leaves the cache. Who has come
// for it meanwhile keeps it: that is no error. ENOSPC, EIO, ...: the page stays in the cache, dirty.
Status write_out(World& world, SwapEntry entry);
// unmap_page and write_out, whichever store there is. page: referenced. not_written: as of unmap_page.
UnmapResult swap_out_page(World& world, Page& page, UnmapMode mode, WalkCost& cost);

// Everything that is swapped out comes back, and no slot is given out any more. No lock is held. If that does not succeed swap
// goes on as before: ENOMEM: the pool has no page left; EIO: unreadable; EINTR: a fatal signal; EAGAIN: processes swap faster. EBUSY:
// somebody else is at it; nothing has changed.
struct SwapoffResult {
    u64 pages = 0; // brought in
    // Where it ended, if it has not succeeded: at an address of an mm, or at a page of an object.
    u32 mm_id = 0;
    Vaddr address;
    u32 object_id = 0;
    u64 pgoff = 0;
};
Status swapoff(World& world, SwapoffResult& result);
// Slots are given out again. EBUSY: a swapoff goes on.
Status swapon(World& world);

const char* name_of(Unmapped answer); // SUCCESS, AGAIN, FAIL
const char* name_of(Refusal why); // in words

// ---- uses that the module's tables do not know of
// Ask the MMU of every mapping whether the page was used through it, and note that in the module's entry: the accessed bit.
// mode: age or take. Returns how many were used.
u32 harvest_accessed(World& world, Page& page, Harvest mode);

} // namespace objr
