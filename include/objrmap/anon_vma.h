// SPDX-License-Identifier: GPL-2.0
// AnonVma: the object of anonymous pages: the list of all Vmas that may map them (Linux 2.6.24: include/linux/rmap.h,
// mm/rmap.c:anon_vma_prepare, page_lock_anon_vma).
//
// States: constructed (in the slab) -> live (refs > 0, has Vmas) -> dying (no Vma; refs held by walkers only) -> constructed.
// The memory is type-stable: a stale pointer, read under RCU, still points to some AnonVma with a valid lock; what it yields then
// are candidates of another family, which the page tables reject (spec C5, P4).
//
// Invariants:
//   N1 a Vma is in `vmas` <=> its anon_vma points here.
//   N2 children of a fork stand behind their parents in `vmas` (spec C1).
//
// Ownership: refs = 1 while it has Vmas, + 1 for each walker that sleeps on the lock.
// Locking: `vmas` by lock. id is set before the object is visible.
#pragma once

#include "objrmap/lock.h"
#include "objrmap/vma.h"

namespace objr {

struct AnonVma : Pinned {
    RwSem lock;
    List<Vma, &Vma::anon_node> vmas; // guarded by lock
    Atomic<u32> vma_count{0}; // length of vmas
    Atomic<u32> refs{0};
    Atomic<u32> id{0};
};

} // namespace objr
