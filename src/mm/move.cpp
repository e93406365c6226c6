// SPDX-License-Identifier: GPL-2.0
// mremap: the pages of a range appear at another address (Linux: mm/mremap.c:move_vma, move_ptes).
//
// A Vma that moves keeps its pgoff, so its pages keep their index. Entries and the Vma's start change together under
// the rmap locks: a walk sees the old place or the new one, never neither and never both (spec M11). Under anonmm it is the index
// that follows the page; one that others need where it is has been copied before (spec A4).
#include "objrmap/frames.h"
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
    FrameReserve frames(world_, Patience::reclaim);
    return with_frames(frames, [&] { return try_move(from, to, length, region, frames); });
}

Status Mm::try_move(Vaddr from, Vaddr to, u64 length, objr_region* region, FrameReserve& frames) {
    const Vaddr from_end = from + length;
    const Vaddr to_end = to + length;
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
        Status status = prepare_move(from, to, length);
        if (status && world_.scheme().traits.copies_on_move) {
            status = copy_shared(from, from_end, to, region, frames);
        }
        if (!status) {
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
    ZapGrace::Section section(&world_.zap_grace); // a walk zaps the new place
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

// ---- what may not go along (spec A4)

// Copy, in place, every anonymous page of [start, end) that has other users, which will be at `to` and in region then. ENOMEM: not
// all, which harms nobody.
Status Mm::copy_shared(Vaddr start, Vaddr end, Vaddr to, objr_region* region, FrameReserve& frames) {
    for (Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
        if (!vma->may_hold_anon()) {
            continue;
        }
        for (auto part = tables_.first_part(vma->start, vma->end); part.table;
             part = tables_.first_part(part.end, vma->end)) {
            OBJR_TRY_STATUS(copy_shared_part(*vma, part, to + (part.start - start), region, frames));
        }
    }
    return {};
}

Status Mm::copy_shared_part(Vma& vma, const PageTables::Part& part, Vaddr to, objr_region* region,
                            FrameReserve& frames) {
    MapReserve reserve(world_);
    for (Vaddr at = part.start; at < part.end; at += kPageSize) {
        if (Page* old =
                OBJR_TRY(copy_if_shared(vma, {*part.table, at}, to + (at - part.start), region, reserve, frames))) {
            world_.pool.put(*old);
        }
        objr_cond_resched();
    }
    return {};
}

// Returns the page that was here, with the mapping's reference, or nullptr: it has no other user, or there is none. What has one user
// now will have no other before it has moved: Mm::lock is held for write.
Result<Page*> Mm::copy_if_shared(Vma& vma, EntryPlace place, Vaddr to, objr_region* region, MapReserve& reserve,
                                 FrameReserve& frames) {
    for (;; objr_cond_resched()) {
        Pte pte;
        Page* page;
        {
            Guard guard(place.table.lock);
            pte = place.table.get(place.address);
            page = pte.is_present() || pte.is_migration() ? world_.pool.page_of(pte.pfn()) : nullptr;
            if (!page || !page->mapping().is_anon()) {
                return nullptr;
            }
            world_.pool.get(*page);
        }
        Result<Page*> old = nullptr;
        page->lock(); // who takes it away, or to another frame, has done so then
        const Pte now = place.table.get(place.address); // this Mm's lock and the page's: it stays as it is
        const bool settled = now.is_present() && now.pfn() == pte.pfn();
        if (settled && (page->mappings() > 1 || world_.swap.count_of(*page) != 0)) {
            old = copy_page(vma, place, *page, reserve, frames);
        }
        if (old && *old) { // while it is locked: whoever is its only owner then may write to it
            mmu_.zap(vma.region, place.address, place.address + kPageSize, OBJR_MMAP_LOCK_HELD);
            mmu_.zap(region, to, to + kPageSize, OBJR_MMAP_LOCK_HELD); // where the MMU may have taken it beforehand
            world_.swap.settle_locked(*page);
        }
        page->unlock();
        world_.pool.put(*page);
        if (settled) {
            return old;
        }
    }
}

// Nobody writes to a page that has several users. It is locked. Returns it; its mapping's reference is the caller's now.
Result<Page*> Mm::copy_page(Vma& vma, EntryPlace place, Page& page, MapReserve& reserve, FrameReserve& frames) {
    OBJR_TRY_STATUS(reserve.fill());
    Page* fresh = OBJR_TRY(frames.allocate_locked()); // with the new mapping's reference
    objr_copy_page(world_.pool.address(*fresh), world_.pool.address(page));
    {
        Guard guard(place.table.lock);
        const Pte pte = place.table.exchange(place.address, Pte());
        rmap_note_dirty(page, pte);
        rmap_munlock(world_, page, pte);
        rmap_unmap(world_, page, place);
        place.table.set(place.address, Pte::present(world_.pool.pfn(*fresh), pte.word()));
        rmap_map_anon(world_, *fresh, vma, place, Exclusivity::exclusive, reserve);
        if (pte.locked()) {
            rmap_mlock(world_, *fresh);
        }
    }
    fresh->unlock();
    world_.counters.add(Count::cow_faults);
    return &page;
}

// ---- moving

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
