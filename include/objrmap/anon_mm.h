// SPDX-License-Identifier: GPL-2.0
// AnonMm: who an address space is to the pages that it maps, also after its end; and the fork ancestry of address spaces (the anonmm
// of Dickins's patches of 2004).
//
// Terms. There is one AnonMm for each Mm, made with it, under every scheme: a scan of page tables cannot find out who was forked from
// whom. A *bundle* is a family of address spaces: an Mm that begins with nothing (exec) begins one, fork joins the child to its
// parent's. Under `anonmm` an anonymous page names one of the AnonMms; all that may map it are in one bundle with that.
//
// A bundle is represented by its *head*, one of its AnonMms, as in a disjoint-set forest: `head` of an AnonMm leads to the head, over
// former heads at times, and that of a head to itself. A head that has become none never becomes one again.
//
// States: constructed (in the slab) -> live (has its Mm) -> dead (the Mm has gone; pages, walkers or former members hold it) ->
// constructed. The memory is type-stable: a stale pointer, read under RCU, still points to some AnonMm (spec C5).
//
// Invariants:
//   B1 a live AnonMm is in `members` of its head, its Mm names it, and the other way round; a dead one is in no list.
//   B2 parents stand before their children in `members`: a walk in this order sees an entry before fork can have copied it to where
//      the walk has been.
//   B3 refs counts the pages: those that are mapped and name this AnonMm (spec A1). PageFlag::counted says so in each of them.
//
// Ownership: refs, in two halves. The upper counts pages. The lower: one while the Mm lives, one for each AnonMm whose `head` this is
// besides itself, one for each walk under way, one for each page between Scheme::hold and release.
// Locking: `members`, the nodes in it and `mm`: the lock of the head; `head`: that lock, to change it. Two such locks are only taken to
// make one bundle of two, the lower id first. id, world: set before the object is visible.
#pragma once

#include "objrmap/atomic.h"
#include "objrmap/intrusive.h"
#include "objrmap/lock.h"
#include "objrmap/result.h"

namespace objr {

struct World;
class Mm;

// What an AnonMm is in the list of its bundle.
struct BundleMember : Pinned {
    ListNode in_bundle;
};

struct AnonMm : BundleMember {
    static constexpr u64 kOneUser = 1;
    static constexpr u64 kOnePage = 1ull << 32;

    RwSem lock; // of the bundle, if this is its head
    List<BundleMember, &BundleMember::in_bundle> members; // of the bundle, if this is its head; all are AnonMms
    Mm* mm = nullptr; // nullptr: dead
    World* world = nullptr;
    Atomic<AnonMm*> head{nullptr};
    Atomic<u64> refs{0};
    Atomic<u32> id{0};
    u32 pages_seen = 0; // of check(), quiesce for write

    u32 pages() const { return static_cast<u32>(refs.load() >> 32); }
    bool is_head() const { return head.load_acquire() == this; }
};

// ---- life: with that of the Mm. No lock is held that is inner to the anonymous objects'.

// Live, in a bundle of its own. Sleeps. ENOMEM.
Result<AnonMm*> new_anon_mm(World& world, Mm& mm);
// The Mm goes; nothing is mapped in it. Sleeps.
void retire_anon_mm(AnonMm& anon_mm);
// fork: the child's bundle and the parent's become one. Both live. Sleeps.
void join_bundle(AnonMm& child, AnonMm& parent);

// ---- use
void put_anon_mm(AnonMm& anon_mm, u64 what); // kOneUser, kOnePage or a sum of them; any context

// The head at this moment; the caller holds of. Who needs it to stay the head takes its lock, and looks again.
AnonMm& head_of(AnonMm& of);

} // namespace objr
