// SPDX-License-Identifier: GPL-2.0
// Memory failure: a frame that must not be used any more (Linux: mm/memory-failure.c).
//
// The page is taken out of all page tables, whatever it is good for. What can be had again is: a clean page of a file from there, a
// page of the swap cache that is stored as it is; their users fault it in on another frame. What cannot is lost, and who
// wants it gets EHWPOISON (SIGBUS):
//   an anonymous page          its entries say so (Pte::poison), until they are dropped
//   one of the swap cache      its slot says so, until its last entry has gone
//   a page of a file, dirty, or of a named object
//                              it stays in the page cache, as poisoned, until it is cut off; the next fsync says EIO
//
// States of a poisoned page: PageFlag::poisoned; in no page table, on no list; one reference is its own, for ever; mapping none, or the
// file in whose page cache it stays (page.h V8). The frame goes back to the kernel with the pool, cleared.
#pragma once

#include "objrmap/rmap.h"

namespace objr {

struct PoisonResult {
    u32 taken = 0; // mappings
    bool recovered = false; // nothing is lost
};

// page: referenced and locked by the caller; quiesce is held for read, no rmap lock. Sleeps. EEXIST: it is poisoned; EBUSY: pinned, and
// untouched; EAGAIN: mapped anew faster than taken, what was taken is lost.
Status poison_page(World& world, Page& page, PoisonResult& result);
// A page in nobody's use. EAGAIN: it is on its way to somebody, or from him.
Status poison_free_page(World& world, Page& page);

} // namespace objr
