// SPDX-License-Identifier: GPL-2.0
// Locks that walks take, in the way that the caller of the walk wants.
#pragma once

#include "objrmap/lock.h"
#include "objrmap/scheme.h"

namespace objr {

// Take lock for reading. false: it was not free at once, and the caller does not wait (cost says `contended`).
OBJR_THREAD(no_thread_safety_analysis)
inline bool lock_for_walk(RwSem& lock, Locking locking, WalkCost& cost) {
    if (lock.try_lock_shared()) {
        return true;
    }
    cost.lock_waits++;
    if (locking == Locking::try_only) {
        cost.stop = StopReason::contended;
        return false;
    }
    lock.lock_shared();
    return true;
}

} // namespace objr
