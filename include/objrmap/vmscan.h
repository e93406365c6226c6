// SPDX-License-Identifier: GPL-2.0
// Choosing pages to take away, so that the pool has free ones (Linux: mm/vmscan.c).
//
// Terms: the pool has an *inactive* and an *active* list, oldest page first (pool.h). A page comes to the young end of the inactive
//   one. When the scan comes to it, uses since the last time decide (page_referenced, lazy): used: it stays or becomes active
//   (the second chance); else it is unmapped everywhere, and goes: to swap, or, if it is a clean page of a file, out of the page cache.
//   Active pages that were not used since the last look become inactive again.
//
// States of a page here: inactive <-> active; either -> unevictable, when the scan finds it in a locked Vma, and -> inactive with
//   the last munlock (rmap_munlock).
//
// Rules, so that nobody waits in a circle:
//   R1 A round begins under no lock of the module. Each page is looked at with quiesce held for read, its page lock is only tried, and no
//      Mm's lock is taken.
//   R2 The thread that faults writes to no file: it takes clean pages of files, and anonymous pages if the store is memory or has
//      their contents. What needs a write is left to the two threads of daemon.h.
//   R3 Waiting for those is for who holds no lock that a write could want: Patience.
//   R4 A round ends: it looks at a bounded number of pages, in three passes, the last of which takes used pages too.
//
// Context: all sleep, but name_of and word_of.
#pragma once

#include "objrmap/page.h"
#include "objrmap/result.h"

namespace objr {

struct World;

// What who needs a frame may wait for. A fault from kernel mode may hold an inode lock (write(2) of pool memory).
enum class Patience : u32 {
    reclaim, // for the daemon that writes to the swap file, which is nobody else's file; not for writes of other files
    outside, // the same, and where only those would help ENOBUFS says so: who has let go of mmap_lock may wait for them
    files, // for those too: no lock is held that a write could want, nor one that its holder may want (mmap_lock)
};

// Who scans.
enum class Scanner : u32 {
    faulter, // R2
    daemon, // may write to the swap file
};

// What came of the pages that were looked at.
enum class Fate : u32 {
    freed,
    referenced, // used since the last time: stays
    activated, // used, and for the second time, or by more than one
    deactivated, // an active one that was not used
    locked, // in a locked Vma
    pinned,
    dirty, // newer than its file: must be written first
    no_swap, // anonymous, and the swap space has no slot, or there is none
    not_written, // the swap store did not take it
    busy, // locked, or used by somebody in the module just now
    kNumber,
};
const char* name_of(Fate fate); // in words
const char* word_of(Fate fate); // as one word

// The ledger of one or more rounds.
struct ScanLedger {
    u32 fates[static_cast<u32>(Fate::kNumber)] = {};
    u32 scanned = 0; // pages looked at, each time
    u64 candidates = 0; // of the walks for them
    u64 hits = 0;

    u32 operator[](Fate fate) const { return fates[static_cast<u32>(fate)]; }
};

// Take pages away until `wanted` have become free, or nothing more can be taken (R4). Returns how many became free.
u32 reclaim_pages(World& world, u32 wanted, Scanner scanner, ScanLedger& ledger);

// The same for somebody who is in no hurry: by the daemons too, which write what is dirty. Sleeps, under no lock.
u64 reclaim_and_wait(World& world, u64 wanted, ScanLedger& ledger);

// Have a page made free for somebody who needs one: directly, then by the daemons. ENOMEM: none can be; the log says why (not
// always: rate-limited). ENOBUFS: see Patience::outside. EINTR: the task is being killed while it waits.
Status make_room(World& world, Patience patience);

// Pages are short, and half of them are newer than their files: who has written to memory should wait until some are written. Else the
// next one in need of a page, who may not wait for files, would find none that is clean (Linux:
// mm/page-writeback.c:balance_dirty_pages). Any context.
bool too_dirty(World& world);
// For him: until something has been written, but for some ticks at most. Sleeps; no lock is held that a write could want, and no
// mmap_lock.
void throttle(World& world);
// Until dirty pages have been written. Sleeps; under no such lock either. ENOMEM: nothing was, in several rounds of which each has waited
// until what has failed was tried again; EINTR: the task is being killed; EAGAIN: there is nobody who writes.
Status wait_for_writeback(World& world);

} // namespace objr
