// SPDX-License-Identifier: GPL-2.0
// unmap_nonlinear.h: unmapping from nonlinear Vmas by the rules of Linux 2.6.24 (spec C14; mm/rmap.c:try_to_unmap_cluster there).
//
// Only a scan of all of a nonlinear Vma could tell where it maps a page. Instead, some of its entries are looked at each time, a
// cluster: whatever page they map goes, unless it was used lately. So pages of the file leave such Vmas by and by, seldom the
// one that was meant. Where that will not do (migration, revoke) the walk of rmap.h finds the page by the scan.
//
// Terms: a *cluster* is 32 pages, at an address that is a multiple of that, as far as they are in the Vma. The *cursor* of a Vma
// (Vma::nonlinear_cursor) is the first page that the round has not come to. A *round* brings every cursor to the *horizon*; then
// this moves on by a cluster. When it has been moved to the end without effort's worth all cursors go back to the beginning.
//
// Locking: the caller has quiesce for read, and a reference and the lock of the page. The locks of other pages are only tried, and
// who is locked elsewhere stays (rules L1 and "a second one: only try" of lock.h); they are held until the translations are gone.
// Cursors are hints, read and written under i_mmap_lock for read.
#pragma once

#include "objrmap/rmap.h"

namespace objr {

struct ClusterResult {
    enum class State : u32 {
        nothing, // the file has no nonlinear Vma
        all_locked, // it has, and each is locked
        tried,
    };
    State state = State::nothing;
    u32 taken = 0; // mappings that are gone, of whatever page
};

// spare: what is locked stays; take: it does not, as in a migration. Young mappings stay in any case, and are not young any more.
enum class LockedVmas { spare, take };

// Take entries out of the nonlinear Vmas of a file's page, until as many are gone as the page has mappings, or all were looked at.
// Sleeps. No rmap lock is held. cost: entries read are `scanned`.
ClusterResult try_to_unmap_nonlinear(World& world, Page& page, LockedVmas locked, WalkCost& cost);

} // namespace objr
