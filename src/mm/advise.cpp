// SPDX-License-Identifier: GPL-2.0
// Advice that changes Vmas: how memory will be used, and that it is to stay (Linux: mm/madvise.c:madvise_vma_behavior, mm/mlock.c).
// The other half is in advise_pages.cpp.
#include "objrmap/mm.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

#include <initializer_list>

namespace objr {

static u32 advised(u32 flags, Advice advice) {
    constexpr u32 kUse = OBJR_VM_RANDOM | OBJR_VM_SEQUENTIAL;
    switch (advice) {
    case Advice::normal: return flags & ~kUse;
    case Advice::random: return (flags & ~kUse) | OBJR_VM_RANDOM;
    case Advice::sequential: return (flags & ~kUse) | OBJR_VM_SEQUENTIAL;
    case Advice::lock: return flags | OBJR_VM_LOCKED;
    case Advice::unlock: return flags & ~OBJR_VM_LOCKED;
    default: return flags;
    }
}

// Writable private memory is copied now: who locks it will not wait for that later either.
static Access access_to_lock(const Vma& vma) {
    return vma.has(VmFlag::write) && vma.copies_on_write() ? Access::write : Access::read;
}

Status Mm::advise(Vaddr start, Vaddr end, Advice advice, u64 most_locked) {
    switch (advice) {
    case Advice::dontneed: OBJR_TRY_STATUS(can_advise_pages(start, end, advice)); return drop_range(start, end);
    case Advice::cold: OBJR_TRY_STATUS(can_advise_pages(start, end, advice)); return cool_range(start, end);
    case Advice::pageout: OBJR_TRY_STATUS(can_advise_pages(start, end, advice)); return page_out_range(start, end);
    case Advice::willneed: OBJR_TRY_STATUS(can_advise_pages(start, end, advice)); return bring_in_range(start, end);
    case Advice::lock: OBJR_TRY_STATUS(mark_range(start, end, advice, most_locked)); return populate_locked(start, end);
    default: return mark_range(start, end, advice, most_locked);
    }
}

// Pages of [start, end) that are not in a locked Vma yet.
u64 Mm::unlocked_pages(Vaddr start, Vaddr end) const {
    u64 pages = 0;
    for (const Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
        pages += vma->has(VmFlag::locked) ? 0 : (min(end, vma->end) - max(start, vma->start)) >> kPageShift;
    }
    return pages;
}

Status Mm::mark_range(Vaddr start, Vaddr end, Advice advice, u64 most_locked) {
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
        const u64 more = advice == Advice::lock ? unlocked_pages(start, end) : 0;
        if (more != 0 && (locked() > most_locked || more > most_locked - locked())) {
            return Errno{OBJR_ENOMEM};
        }
        OBJR_TRY_STATUS(split_to_advise(start, end, advice));
        for (Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
            const u32 before = vma->flags;
            vma->set_flags(advised(before, advice));
            if (((before ^ vma->flags) & OBJR_VM_LOCKED) != 0) {
                locked_.store(locked() + (advice == Advice::lock ? vma->pages() : -vma->pages()));
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
    return {};
}

// Boundaries where what changes meets what does not. A process's Vmas never merge again, so that there is a limit for what one
// can make out of a mapping that is one for the kernel. ENOMEM.
Status Mm::split_to_advise(Vaddr start, Vaddr end, Advice advice) {
    constexpr u32 kMostVmas = 65530; // vm.max_map_count of Linux
    auto changes = [&](Vaddr address) {
        const Vma* vma = find(address);
        return vma && advised(vma->flags, advice) != vma->flags;
    };
    for (Vaddr boundary : {start, end}) {
        if (!changes(boundary == start ? start : end - kPageSize)) {
            continue;
        }
        if (vma_count() >= kMostVmas) {
            return Errno{OBJR_ENOMEM};
        }
        OBJR_TRY_STATUS(split_at(boundary));
    }
    return {};
}

// The Vma's flag has changed; its entries follow, and the pages count them. Who takes an entry away meanwhile goes by its bit.
void Mm::mark_locked(Vma& vma, Advice advice) {
    for (auto part = tables_.first_part(vma.start, vma.end); part.table; part = tables_.first_part(part.end, vma.end)) {
        Guard guard(part.table->lock);
        for (Vaddr at = part.start; at < part.end; at += kPageSize) {
            const Pte pte = part.table->get(at);
            Page* page = pte.is_present() ? world_.pool.page_of(pte.pfn()) : nullptr;
            if (!page || pte.locked() == (advice == Advice::lock)) {
                continue; // migration has put it back meanwhile, and gone by the flag
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

// Bring in what of [start, end) is in locked Vmas. Without lock_, a page at a time. The first error: without memory it ends there,
// else with the Vma, whose other pages will not be better.
Status Mm::populate_locked(Vaddr start, Vaddr end) {
    Status result;
    for (Vaddr at = start; at < end && result.as_int() != -OBJR_ENOMEM; objr_cond_resched()) {
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
        Access access;
        Vaddr end_of_vma;
        {
            SharedGuard quiesce(world_.quiesce);
            SharedGuard guard(lock_);
            const Vma* vma = first_from(at);
            if (!vma || !vma->has(VmFlag::locked)) { // changed by another thread
                at = vma ? vma->end : end;
                continue;
            }
            at = max(at, vma->start);
            access = access_to_lock(*vma);
            end_of_vma = vma->end;
        }
        if (at >= end) {
            break;
        }
        if (Status status = populate(at, access, Patience::files); status) {
            at += kPageSize;
        } else {
            result = result ? status : result;
            at = end_of_vma;
        }
    }
    return result;
}

} // namespace objr
