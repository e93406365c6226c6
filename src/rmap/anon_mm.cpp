// SPDX-License-Identifier: GPL-2.0
#include "objrmap/anon_mm.h"

#include "objrmap/world.h"

namespace objr {

AnonMm& head_of(AnonMm& of) {
    AnonMm* at = &of;
    for (AnonMm* up = at->head.load_acquire(); up != at; up = at->head.load_acquire()) {
        at = up; // held by the one below
    }
    return *at;
}

// ---- life

Result<AnonMm*> new_anon_mm(World& world, Mm& mm) {
    AnonMm* anon_mm = OBJR_TRY(world.anon_mm_cache.take_constructed());
    anon_mm->mm = &mm;
    anon_mm->world = &world;
    anon_mm->id.store(world.next_id());
    anon_mm->head.store(anon_mm);
    anon_mm->members.push_back(*anon_mm);
    world.counters.add(Count::anon_mms);
    anon_mm->refs.store_release(AnonMm::kOneUser);
    return anon_mm;
}

// The last one of a head is put by the last of those that it heads.
void put_anon_mm(AnonMm& anon_mm, u64 what) {
    AnonMm* at = &anon_mm;
    while (at->refs.fetch_sub(what) == what) {
        AnonMm* head = at->head.load();
        World& world = *at->world;
        world.counters.sub(Count::anon_mms);
        world.anon_mm_cache.free(at);
        if (head == at) {
            return;
        }
        at = head;
        what = AnonMm::kOneUser;
    }
}

OBJR_THREAD(no_thread_safety_analysis) // which head it is shows when its lock is held
static AnonMm& lock_bundle(AnonMm& of) {
    for (;;) {
        AnonMm& head = head_of(of);
        head.lock.lock();
        if (head.is_head()) {
            return head;
        }
        head.lock.unlock(); // its bundle has become a part of another one
    }
}

OBJR_THREAD(no_thread_safety_analysis)
void retire_anon_mm(AnonMm& anon_mm) {
    AnonMm& head = lock_bundle(anon_mm);
    head.members.erase(anon_mm);
    anon_mm.mm = nullptr;
    head.lock.unlock();
    put_anon_mm(anon_mm, AnonMm::kOneUser);
}

// ---- fork

// Both locks are held. The child's members come behind: what they inherit they inherit from the parent's.
static bool try_merge_locked(AnonMm& into, AnonMm& from) {
    if (!into.is_head() || !from.is_head()) {
        return false;
    }
    into.refs.fetch_add(AnonMm::kOneUser);
    into.members.splice_back(from.members);
    from.head.store_release(&into);
    return true;
}

void join_bundle(AnonMm& child, AnonMm& parent) {
    for (;;) {
        AnonMm& into = head_of(parent);
        AnonMm& from = head_of(child);
        if (&into == &from) {
            return; // bundles never part
        }
        const bool in_order = into.id.load() < from.id.load();
        Guard first((in_order ? into : from).lock);
        NestedGuard second((in_order ? from : into).lock);
        if (try_merge_locked(into, from)) {
            return;
        }
    }
}

} // namespace objr
