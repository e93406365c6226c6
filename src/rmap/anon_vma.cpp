// SPDX-License-Identifier: GPL-2.0
#include "objrmap/anon_vma.h"

#include "objrmap/world.h"
#include "walk_lock.h"

namespace objr {

// ---- life

Result<AnonVma*> new_anon_vma(World& world, AnonVma* root) {
    AnonVma* anon_vma = OBJR_TRY(world.anon_vma_cache.take_constructed());
    anon_vma->id.store(world.next_id());
    anon_vma->root = root ? root : anon_vma;
    anon_vma->parent = anon_vma;
    anon_vma->children = 1;
    anon_vma->active = 0;
    if (Status status = world.anon_vmas.insert(anon_vma->id.load(), anon_vma); !status) {
        world.anon_vma_cache.free(anon_vma);
        return status.error();
    }
    if (root) {
        root->refs.fetch_add(1);
    }
    world.counters.add(Count::anon_vmas);
    anon_vma->refs.store_release(1); // who gets a reference by a stale pointer sees the root
    return anon_vma;
}

void put_anon_vma(World& world, AnonVma* anon_vma) {
    while (anon_vma && anon_vma->refs.fetch_sub(1) == 1) {
        AnonVma* root = anon_vma->root;
        world.anon_vmas.erase(anon_vma->id.load());
        world.counters.sub(Count::anon_vmas);
        world.anon_vma_cache.free(anon_vma);
        anon_vma = root != anon_vma ? root : nullptr;
    }
}

// ---- from a page

// The reference is only given while the object is alive; should it have been recycled in between, the page has gone another way,
// and its candidates are not mappings of this page.
AnonVma* get_anon_vma_of(const Page& page) {
    RcuGuard rcu;
    AnonVma* anon_vma = page.mapping().anon_vma();
    if (!anon_vma || !anon_vma->refs.add_unless_zero()) {
        return nullptr;
    }
    return anon_vma;
}

bool lock_family_shared(AnonVma& anon_vma, Locking locking, WalkCost& cost) {
    return lock_for_walk(anon_vma.root->lock, locking, cost);
}

ObjectName name_of_anon_vma(const Page& page) {
    RcuGuard rcu;
    const AnonVma* anon_vma = page.mapping().anon_vma();
    if (!anon_vma || anon_vma->refs.load() == 0) {
        return {nullptr, 0};
    }
    return {"anon_vma", anon_vma->id.load()};
}

// ---- neighbours

static bool could_be_one(const Vma& left, const Vma& right) {
    constexpr u32 kRights = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_EXEC;
    return left.end == right.start && left.file == right.file && ((left.flags ^ right.flags) & ~kRights) == 0 &&
           left.pgoff + left.pages() == right.pgoff;
}

AnonVma* mergeable_anon_vma(const Vma& vma, bool (*may_share)(const Vma& neighbour)) {
    if (Vma* right = vma.mm->next(vma); right && right->anon() && could_be_one(vma, *right) && may_share(*right)) {
        return right->anon();
    }
    if (Vma* left = vma.mm->prev(vma); left && left->anon() && could_be_one(*left, vma) && may_share(*left)) {
        return left->anon();
    }
    return nullptr;
}

} // namespace objr
