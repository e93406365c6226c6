// SPDX-License-Identifier: GPL-2.0
// fork: the child gets Vmas and entries of its own; pages are shared, and write-protected where they are private to each
// (Linux: kernel/fork.c:dup_mmap, mm/memory.c:copy_page_range).
#include "objrmap/mm.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

Status Mm::fork(Mm& parent, Mm& child, Vaddr start, Vaddr end, objr_region* region) {
    if (!parent.range_ok(start, end) || &parent == &child) {
        return Errno{OBJR_EINVAL};
    }
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
            status = child.fork_vma(*vma, max(start, vma->start), min(end, vma->end), region);
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
Status Mm::fork_vma(Vma& parent, Vaddr start, Vaddr end, objr_region* region) {
    Vma* vma = OBJR_TRY(new_vma(start, end, parent.pgoff_of(start), parent.flags, parent.file, region));
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
    return parent.may_hold_anon() || parent.has(VmFlag::nonlinear) ? copy_entries(parent, start, end) : Status();
}

Status Mm::copy_entries(Vma& parent, Vaddr start, Vaddr end) {
    constexpr u32 kReserve = 16;
    const PageTables& tables = parent.mm->tables_;
    MapReserve reserve(world_);
    for (auto part = tables.first_part(start, end); part.table; part = tables.first_part(part.end, end)) {
        PageTable* target = OBJR_TRY(tables_.make_leaf(part.start));
        for (Vaddr at = part.start; at < part.end;) {
            OBJR_TRY_STATUS(reserve.fill(kReserve));
            at = copy_leaf(parent, *part.table, *target, at, part.end, reserve);
            objr_cond_resched();
        }
    }
    return {};
}

// Copy entries until the end or until the reserve is used up; returns where it stopped.
Vaddr Mm::copy_leaf(Vma& parent, PageTable& source, PageTable& target, Vaddr start, Vaddr end, MapReserve& reserve) {
    u32 copied = 0;
    Vaddr at = start;
    {
        Guard source_guard(source.lock);
        NestedGuard target_guard(target.lock);
        for (; at < end && reserve.ready(); at += kPageSize) {
            copied += copy_entry(parent, source, target, at, reserve) ? 1 : 0;
        }
    }
    resident_add(copied);
    return at;
}

// Both tables are locked. The child has not used the page yet. True: one present entry more.
bool Mm::copy_entry(const Vma& parent, PageTable& source, PageTable& target, Vaddr address, MapReserve& reserve) {
    Pte pte = source.get(address);
    if (pte.is_file()) {
        target.set(address, pte);
        return false;
    }
    Page* page = pte.is_present() ? world_.pool.page_of(pte.pfn()) : nullptr;
    if (!page) {
        OBJR_WARN_ON(!pte.is_none());
        return false;
    }
    if (parent.copies_on_write() && pte.writable()) {
        pte = pte.without(Pte::kWrite);
        source.set(address, pte);
    }
    world_.pool.get(*page);
    target.set(address, pte.without(Pte::kAccessed | Pte::kDirty));
    rmap_duplicate(world_, *page, {target, address}, reserve);
    return true;
}

} // namespace objr
