// SPDX-License-Identifier: GPL-2.0
// AnonVma: the object of anonymous pages, under `classic` and `chain` (Linux: include/linux/rmap.h, mm/rmap.c).
//
// Terms. In `classic` an AnonVma is a family: a list of all Vmas that may map its pages. In `chain` each Vma has an AnonVma of its
// own for the pages that it alone has; an AnonVmaChain (AVC) says that a Vma may map pages of an AnonVma, its own or an ancestor's.
// The *root* of a family is the AnonVma of its first Vma; pages that may be anybody's are there.
//
// States: constructed (in the slab) -> live (refs > 0, has Vmas) -> dying (no Vma; refs held by walkers only) -> constructed.
// The memory is type-stable: a stale pointer, read under RCU, still points to some AnonVma with a valid lock; what it yields then
// are candidates of another family, which the page tables reject (spec C5, P4).
//
// Invariants:
//   N1 classic: a Vma is in `vmas` <=> its anon_vma points here. chain: an AVC is in `tree` under the pgoffs of its Vma, and in
//      that Vma's list; a Vma has an AVC to its own anon_vma, and all its AVCs have one root.
//   N2 children of a fork stand behind their parents, in `vmas` and among equal intervals of `tree` (spec C1).
//   N3 `children` = AnonVmas that name this one as their parent, the root itself included; `active` = Vmas whose anon_vma this is
//      (spec M3).
//
// Ownership: refs = 1 while it has Vmas, + 1 for each walker that sleeps on the lock, + 1 in a root for each other AnonVma of the
// family, which so pins the lock (spec M4).
// Locking: the root's lock guards all of a family but what is atomic. id and root are set before the object is visible.
#pragma once

#include "objrmap/interval_tree.h"
#include "objrmap/lock.h"
#include "objrmap/scheme.h"
#include "objrmap/vma.h"

namespace objr {

struct AnonVma : Pinned {
    RwSem lock; // of the family, if this is its root
    AnonVma* root = nullptr;
    AnonVma* parent = nullptr; // chain: itself in a root
    List<Vma, &Vma::anon_node> vmas; // classic
    IntervalTree tree; // chain: AnonVmaChain::node
    u32 children = 0; // chain
    u32 active = 0; // chain
    Atomic<u32> vma_count{0}; // length of vmas, size of tree
    Atomic<u32> refs{0};
    Atomic<u32> id{0};
};

// ---- what classic and chain do alike: anon_vma.cpp

// A live AnonVma without Vmas, refs 1, of the family of root, which the caller keeps alive; nullptr: its own. Whoever comes by a stale
// pointer from now on takes the lock of that root. Sleeps. ENOMEM.
Result<AnonVma*> new_anon_vma(World& world, AnonVma* root = nullptr);
void put_anon_vma(World& world, AnonVma* anon_vma);
// From a page to its AnonVma, referenced; nullptr: it has none now (spec C5, M6).
AnonVma* get_anon_vma_of(const Page& page);
// Take the lock of its family for reading, by the way wanted. false: contended.
bool lock_family_shared(AnonVma& anon_vma, Locking locking, WalkCost& cost);
// The AnonVma of a neighbour that vma could be one with but for their rights (spec C1), nullptr: none. Mm::lock is held.
AnonVma* mergeable_anon_vma(const Vma& vma, bool (*may_share)(const Vma& neighbour));
ObjectName name_of_anon_vma(const Page& page);

} // namespace objr
