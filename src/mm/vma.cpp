// SPDX-License-Identifier: GPL-2.0
// Making, splitting and merging Vmas, and changing what they permit (Linux: mm/mmap.c:__split_vma, vma_merge, mm/mprotect.c).
#include "objrmap/vma.h"

#include "objrmap/mm.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

// ---- making

Result<Vma*> Mm::new_vma(Vaddr start, Vaddr end, u64 pgoff, u32 flags, FileMapping* file, objr_region* region) {
    Vma* vma = OBJR_TRY(world_.vma_cache.make());
    vma->start = start;
    vma->end = end;
    vma->pgoff = pgoff;
    vma->flags = flags;
    vma->id = world_.next_id();
    vma->family_id = vma->id;
    vma->mm = this;
    vma->file = file;
    vma->region = region;
    if (file) {
        file->get();
    }
    if (region) {
        objr_region_get(region);
    }
    return vma;
}

void Mm::free_vma(Vma* vma) {
    if (vma->region) {
        objr_region_put(vma->region);
    }
    if (vma->file) {
        vma->file->put();
    }
    world_.vma_cache.free(vma);
}

// Not under any lock: the last reference to a file writes back.
void Mm::free_all(VmaList& gone) {
    while (Vma* vma = gone.pop_front()) {
        free_vma(vma);
    }
}

// ---- splitting

Status Mm::split(Vaddr address) {
    SharedGuard quiesce(world_.quiesce);
    Guard guard(lock_);
    return split_at(address);
}

Status Mm::split_at(Vaddr address) {
    Vma* old = find(address);
    if (!old || old->start == address) {
        return {};
    }
    Vma* fresh = OBJR_TRY(new_vma(address, old->end, old->pgoff_of(address), old->flags, old->file, old->region));
    fresh->parent_id = old->parent_id;
    fresh->family_id = old->family_id;
    fresh->holds_anon = old->holds_anon;
    if (Status status = rmap_prepare_split(*fresh, *old); !status) {
        free_vma(fresh);
        return status;
    }
    RangeChange change(*old);
    old->end = address;
    insert_locked(*fresh);
    change.split(*fresh);
    return {};
}

// ---- merging: only without a process behind: the kernel's own VMAs of a device never merge, and what it has split must stay so

bool Mm::can_merge(const Vma& left, const Vma& right) const {
    return !left.region && !right.region && left.end == right.start && left.flags == right.flags &&
           left.file == right.file && left.parent_id == right.parent_id && left.pgoff + left.pages() == right.pgoff &&
           world_.scheme().can_merge(left, right);
}

Vma* Mm::merge(Vma& left, Vma& right, VmaList& gone) {
    Vma& survivor = world_.scheme().right_survives(left, right) ? right : left;
    Vma& other = &survivor == &left ? right : left;
    Vaddr start = left.start;
    Vaddr end = right.end;
    u64 pgoff = left.pgoff;
    {
        RangeChange change(survivor);
        remove_locked(other);
        change.merged(other);
        survivor.start = start;
        survivor.end = end;
        survivor.pgoff = pgoff;
        survivor.holds_anon |= other.holds_anon;
    }
    gone.push_back(other);
    return &survivor;
}

// Merge vma with its neighbours where they fit; returns what it has become. Those that went are in gone.
Vma* Mm::try_merge(Vma& vma, VmaList& gone) {
    Vma* merged = &vma;
    if (Vma* left = prev(*merged); left && can_merge(*left, *merged)) {
        merged = merge(*left, *merged, gone);
    }
    if (Vma* right = next(*merged); right && can_merge(*merged, *right)) {
        merged = merge(*merged, *right, gone);
    }
    return merged;
}

// ---- protecting

static constexpr u32 kAccessFlags = OBJR_VM_READ | OBJR_VM_WRITE | OBJR_VM_EXEC;

Status Mm::protect(Vaddr start, Vaddr end, u32 flags) {
    if (!range_ok(start, end) || (flags & ~kAccessFlags) != 0) {
        return Errno{OBJR_EINVAL};
    }
    VmaList gone;
    {
        SharedGuard quiesce(world_.quiesce);
        Guard guard(lock_);
        for (Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
            if ((flags & OBJR_VM_WRITE) != 0 && !vma->has(VmFlag::write) && !vma->has(VmFlag::may_write)) {
                return Errno{OBJR_EACCES};
            }
        }
        OBJR_TRY_STATUS(split_at(start));
        OBJR_TRY_STATUS(split_at(end));
        protect_locked(start, end, flags, OBJR_MMAP_LOCK_HELD);
        for (Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
            vma = try_merge(*vma, gone);
        }
        if (Vma* vma = first_from(end); vma) {
            try_merge(*vma, gone);
        }
    }
    free_all(gone);
    return {};
}

// Rights are only taken from entries here; a fault gives them.
void Mm::protect_locked(Vaddr start, Vaddr end, u32 flags, objr_held held) {
    u64 taken = ((flags & kAccessFlags) == 0 ? Pte::kUser : 0) | ((flags & OBJR_VM_WRITE) == 0 ? Pte::kWrite : 0);
    u64 given = ((flags & kAccessFlags) != 0 ? Pte::kUser : 0) | ((flags & OBJR_VM_EXEC) == 0 ? Pte::kNoExecute : 0);
    if ((flags & OBJR_VM_EXEC) != 0) {
        taken |= Pte::kNoExecute;
    }
    for (Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
        vma->set_flags((vma->flags & ~kAccessFlags) | flags);
        for (auto part = tables_.first_part(vma->start, vma->end); part.table;
             part = tables_.first_part(part.end, vma->end)) {
            Guard guard(part.table->lock);
            for (Vaddr at = part.start; at < part.end; at += kPageSize) {
                if (Pte pte = part.table->get(at); pte.is_present()) {
                    part.table->set(at, pte.without(taken).with(given));
                } else if (pte.is_migration() && (taken & Pte::kWrite) != 0) {
                    part.table->set(at, pte.migration_read_only());
                }
            }
        }
        mmu_.zap(vma->region, vma->start, vma->end, held);
    }
}

} // namespace objr
