// SPDX-License-Identifier: GPL-2.0
// fork: the child gets Vmas and entries of its own; pages are shared, and write-protected where they are private to each
// (Linux: kernel/fork.c:dup_mmap, mm/memory.c:copy_page_range).
#include "objrmap/frames.h"
#include "objrmap/mm.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

Status Mm::fork(Mm& parent, Mm& child, Vaddr start, Vaddr end, objr_region* region) {
    if (!parent.range_ok(start, end) || &parent == &child) {
        return Errno{OBJR_EINVAL};
    }
    FrameReserve frames(parent.world_, Patience::reclaim);
    return with_frames(frames, [&] { return try_fork(parent, child, start, end, region, frames); });
}

Status Mm::try_fork(Mm& parent, Mm& child, Vaddr start, Vaddr end, objr_region* region, FrameReserve& frames) {
    World& world = parent.world_;
    VmaList gone;
    Status status;
    {
        SharedGuard quiesce(world.quiesce);
        Guard parent_guard(parent.lock_);
        NestedGuard child_guard(child.lock_);
        if (!child.range_free(start, end)) {
            return Errno{OBJR_EEXIST};
        }
        child.parent_id_.store(parent.id_);
        join_bundle(*child.anon_mm_, *parent.anon_mm_);
        if (region) {
            child.process_.store(objr_region_mm(region));
        }
        for (Vma* vma = parent.first_from(start); vma && vma->start < end && status; vma = parent.next(*vma)) {
            status = child.fork_vma(*vma, max(start, vma->start), min(end, vma->end), region, frames);
            // Also what was not write-protected goes: the kernel would copy the parent's translations to the child.
            parent.mmu_.zap(vma->region, max(start, vma->start), min(end, vma->end), OBJR_MMAP_LOCK_HELD);
        }
        if (!status) {
            child.unmap_locked(start, end, Translations::gone, gone);
        }
    }
    child.free_all(gone);
    return status;
}

// The child joins the reverse map before it has entries: a page is never mapped where a walk does not look.
Status Mm::fork_vma(Vma& parent, Vaddr start, Vaddr end, objr_region* region, FrameReserve& frames) {
    Vma* vma =
        OBJR_TRY(new_vma(start, end, parent.pgoff_of(start), parent.flags & ~OBJR_VM_LOCKED, parent.file, region));
    vma->parent_id = parent.id;
    vma->family_id = parent.family_id;
    vma->holds_anon = parent.holds_anon;
    if (Status status = rmap_fork(*vma, parent); !status) {
        free_vma(vma);
        return status;
    }
    {
        Guard tree(tree_lock_);
        insert_locked(*vma);
    }
    // Pages of the object alone are found again by faults (spec C4); anonymous ones among them, or entries that say which page of
    // the file belongs where, are found nowhere else.
    return parent.may_hold_anon() || parent.has(VmFlag::nonlinear) ? copy_entries(*vma, parent, frames) : Status();
}

Status Mm::copy_entries(Vma& child, Vma& parent, FrameReserve& frames) {
    constexpr u32 kReserve = 16;
    const PageTables& tables = parent.mm->tables_;
    MapReserve reserve(world_);
    for (auto part = tables.first_part(child.start, child.end); part.table;
         part = tables.first_part(part.end, child.end)) {
        PageTable* target = OBJR_TRY(tables_.make_leaf(part.start));
        while (part.start < part.end) {
            OBJR_TRY_STATUS(reserve.fill(kReserve));
            part.start = OBJR_TRY(copy_leaf(child, parent, part, *target, reserve, frames));
            objr_cond_resched();
        }
    }
    return {};
}

// Copy entries of a part of the parent's until its end or until the reserve is used up; returns where it stopped.
Result<Vaddr> Mm::copy_leaf(Vma& child, const Vma& parent, const PageTables::Part& part, PageTable& target,
                            MapReserve& reserve, FrameReserve& frames) {
    u32 copied = 0;
    Vaddr at = part.start;
    Status status;
    {
        Guard source_guard(part.table->lock);
        NestedGuard target_guard(target.lock);
        for (; at < part.end && reserve.ready() && status; at += kPageSize) {
            Result<u32> entries = copy_entry(child, parent, {*part.table, at}, {target, at}, reserve, frames);
            if (entries) {
                copied += *entries;
            } else {
                status = entries.error();
            }
        }
    }
    resident_add(copied);
    return status ? Result<Vaddr>(at) : Result<Vaddr>(status.error());
}

// Both tables are locked. The child has not used the page yet. Returns how many present entries it has got.
Result<u32> Mm::copy_entry(Vma& child, const Vma& parent, EntryPlace from, EntryPlace to, MapReserve& reserve,
                           FrameReserve& frames) {
    Pte pte = from.table.get(from.address);
    if (pte.is_swap()) {
        world_.swap.duplicate(pte.swap_entry());
    }
    if (pte.is_swap() || pte.is_file() || pte.is_poison()) {
        to.table.set(to.address, pte);
        return 0;
    }
    Page* page = pte.is_present() || pte.is_migration() ? world_.pool.page_of(pte.pfn()) : nullptr;
    if (!page) {
        OBJR_WARN_ON(!pte.is_none());
        return 0;
    }
    if (page->has_most_mappings()) {
        return Errno{OBJR_ENOMEM};
    }
    if (pte.is_migration()) { // who migrates the page will find both
        if (parent.copies_on_write()) {
            pte = pte.migration_shared();
            from.table.set(from.address, pte);
        }
        to.table.set(to.address, pte.migration_unused());
        rmap_duplicate_migration(world_, *page, to, reserve);
        return 0;
    }
    if (parent.copies_on_write() && page->has(PageFlag::anon_exclusive) && page->pinned()) {
        OBJR_TRY_STATUS(copy_pinned(child, *page, pte, to, reserve, frames));
        return 1;
    }
    if (parent.copies_on_write() && pte.writable()) {
        pte = pte.without(Pte::kWrite);
        from.table.set(from.address, pte);
    }
    world_.pool.get(*page);
    to.table.set(to.address, pte.without(Pte::kAccessed | Pte::kDirty | Pte::kLocked));
    rmap_duplicate(world_, *page, to, reserve);
    return 1;
}

// A page that somebody writes to by its frame stays the parent's: the child gets its copy at once (spec M10). ENOBUFS.
Status Mm::copy_pinned(Vma& child, const Page& page, Pte pte, EntryPlace to, MapReserve& reserve,
                       FrameReserve& frames) {
    Page* fresh = OBJR_TRY(frames.allocate_locked());
    objr_copy_page(world_.pool.address(*fresh), world_.pool.address(page));
    const u64 rights = pte.word() & (Pte::kUser | Pte::kNoExecute);
    to.table.set(to.address, Pte::present(world_.pool.pfn(*fresh), rights)); // the first reference is the mapping's
    rmap_map_anon(world_, *fresh, child, to, Exclusivity::exclusive, reserve);
    fresh->unlock();
    return {};
}

} // namespace objr
