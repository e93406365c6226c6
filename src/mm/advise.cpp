// SPDX-License-Identifier: GPL-2.0
// Advice: how memory will be used, and that it is to stay (Linux: mm/madvise.c:madvise_vma_behavior, mm/mlock.c).
#include "objrmap/mm.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

static u32 advised(u32 flags, Advice advice) {
    constexpr u32 kUse = OBJR_VM_RANDOM | OBJR_VM_SEQUENTIAL;
    switch (advice) {
    case Advice::normal: return flags & ~kUse;
    case Advice::random: return (flags & ~kUse) | OBJR_VM_RANDOM;
    case Advice::sequential: return (flags & ~kUse) | OBJR_VM_SEQUENTIAL;
    case Advice::lock: return flags | OBJR_VM_LOCKED;
    case Advice::unlock: return flags & ~OBJR_VM_LOCKED;
    }
    return flags;
}

// Writable private memory is copied now: who locks it will not wait for that later either.
static Access access_to_lock(const Vma& vma) {
    return vma.has(VmFlag::write) && vma.copies_on_write() ? Access::write : Access::read;
}

Status Mm::advise(Vaddr start, Vaddr end, Advice advice) {
    if (!range_ok(start, end)) {
        return Errno{OBJR_EINVAL};
    }
    VmaList gone;
    {
        SharedGuard quiesce(world_.quiesce);
        Guard guard(lock_);
        if (!fully_mapped(start, end)) {
            return Errno{OBJR_ENOMEM};
        }
        OBJR_TRY_STATUS(split_at(start));
        OBJR_TRY_STATUS(split_at(end));
        for (Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
            const u32 before = vma->flags;
            vma->set_flags(advised(before, advice));
            if (((before ^ vma->flags) & OBJR_VM_LOCKED) != 0) {
                mark_locked(*vma, advice);
            }
        }
        for (Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
            vma = try_merge(*vma, gone);
        }
        if (Vma* vma = first_from(end)) {
            try_merge(*vma, gone);
        }
    }
    free_all(gone);
    return advice == Advice::lock ? populate_locked(start, end) : Status();
}

// The Vma's flag has changed; its entries follow, and the pages count them. Who takes an entry away meanwhile goes by its bit.
void Mm::mark_locked(Vma& vma, Advice advice) {
    for (auto part = tables_.first_part(vma.start, vma.end); part.table; part = tables_.first_part(part.end, vma.end)) {
        Guard guard(part.table->lock);
        for (Vaddr at = part.start; at < part.end; at += kPageSize) {
            const Pte pte = part.table->get(at);
            Page* page = pte.is_present() ? world_.pool.page_of(pte.pfn()) : nullptr;
            if (!page) {
                continue;
            }
            if (advice == Advice::lock) {
                part.table->set_bits(at, Pte::kLocked);
                rmap_mlock(world_, *page);
            } else {
                part.table->take_bits(at, Pte::kLocked);
                rmap_munlock(world_, *page, pte);
            }
        }
    }
}

// Bring in what of [start, end) is in locked Vmas. Without lock_, a page at a time: the first error, all pages are tried.
Status Mm::populate_locked(Vaddr start, Vaddr end) {
    Status result;
    for (Vaddr at = start; at < end; at += kPageSize) {
        Access access;
        {
            SharedGuard quiesce(world_.quiesce);
            SharedGuard guard(lock_);
            const Vma* vma = find(at);
            if (!vma || !vma->has(VmFlag::locked)) {
                continue; // changed by another thread
            }
            access = access_to_lock(*vma);
        }
        if (Status status = populate(at, access); !status && result) {
            result = status;
        }
        objr_cond_resched();
    }
    return result;
}

} // namespace objr
