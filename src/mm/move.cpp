// SPDX-License-Identifier: GPL-2.0
// mremap: the pages of a range appear at another address (Linux: mm/mremap.c:move_vma, move_ptes).
//
// A Vma that moves keeps its pgoff, so its pages keep their index. Entries and the Vma's start change together under
// the rmap locks: a walk sees the old place or the new one, never neither and never both (spec M11).
#include "objrmap/mm.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

Status Mm::move(Vaddr from, Vaddr to, u64 length, objr_region* region) {
    Vaddr from_end = from + length;
    Vaddr to_end = to + length;
    if (!range_ok(from, from_end) || !range_ok(to, to_end) || (from < to_end && to < from_end)) {
        return Errno{OBJR_EINVAL};
    }
    VmaList gone;
    {
        SharedGuard quiesce(world_.quiesce);
        Guard guard(lock_);
        if (!fully_mapped(from, from_end)) {
            return Errno{OBJR_EFAULT};
        }
        if (!range_free(to, to_end)) {
            return Errno{OBJR_EEXIST};
        }
        OBJR_TRY_STATUS(split_at(from));
        OBJR_TRY_STATUS(split_at(from_end));
        if (Status status = prepare_move(from, to, length); !status) {
            free_tables(to, to_end);
            return status;
        }
        for (Vma* vma = first_from(from); vma && vma->start < from_end;) {
            Vma* following = next(*vma);
            move_vma(*vma, to + (vma->start - from), region);
            vma = following;
        }
        free_tables(from, from_end);
        for (Vma* vma = first_from(to); vma && vma->start < to_end; vma = next(*vma)) {
            vma = try_merge(*vma, gone);
        }
    }
    free_all(gone);
    return {};
}

void Mm::move_vma(Vma& vma, Vaddr to, objr_region* region) {
    Vaddr from = vma.start;
    u64 length = vma.end - vma.start;
    objr_region* old_region = vma.region;
    if (region) {
        objr_region_get(region);
    }
    {
        RangeChange change(vma);
        remove_locked(vma);
        move_entries(vma, to);
        vma.start = to;
        vma.end = to + length;
        vma.region = region;
        insert_locked(vma);
    }
    mmu_.zap(old_region, from, from + length, OBJR_MMAP_LOCK_HELD);
    if (old_region) {
        objr_region_put(old_region);
    }
}

// The tables that move_entries will write to, so that it cannot fail.
Status Mm::prepare_move(Vaddr from, Vaddr to, u64 length) {
    for (auto part = tables_.first_part(from, from + length); part.table;
         part = tables_.first_part(part.end, from + length)) {
        PageTable* first = OBJR_TRY(tables_.make_leaf(to + (part.start - from)));
        if (to + (part.end - from) > first->end()) {
            OBJR_TRY(tables_.make_leaf(first->end()));
        }
    }
    return {};
}

void Mm::move_entries(Vma& vma, Vaddr to) {
    const Vaddr from = vma.start;
    for (auto part = tables_.first_part(from, vma.end); part.table; part = tables_.first_part(part.end, vma.end)) {
        for (Vaddr at = part.start; at < part.end;) { // one leaf moves into one or two
            Vaddr target_at = to + (at - from);
            PageTable* target = tables_.leaf(target_at);
            u64 bytes = min(part.end - at, target->end() - target_at);
            move_within(vma, *part.table, at, *target, target_at, bytes);
            at += bytes;
        }
    }
}

void Mm::move_within(Vma& vma, PageTable& source, Vaddr from, PageTable& target, Vaddr to, u64 bytes)
    OBJR_THREAD(no_thread_safety_analysis) {
    Guard guard(source.lock);
    if (&target != &source) {
        target.lock.lock_nested();
    }
    for (u64 done = 0; done < bytes; done += kPageSize) {
        if (!source.get(from + done).is_none()) {
            const Pte pte = source.exchange(from + done, Pte());
            target.set(to + done, pte);
            rmap_moved(world_, vma, pte, {source, from + done}, {target, to + done});
        }
    }
    if (&target != &source) {
        target.lock.unlock();
    }
}

} // namespace objr
