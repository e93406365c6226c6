// SPDX-License-Identifier: GPL-2.0
// Life of an Mm, its Vma tree, map and unmap (Linux: kernel/fork.c:mm_init, mm/mmap.c:mmap_region, do_munmap,
// mm/memory.c:zap_pte_range, free_pgtables).
#include "objrmap/mm.h"

#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

// ---- life

Result<Mm*> Mm::create(World& world, Mmu& mmu) {
    Mm* mm = OBJR_TRY(world.mm_cache.make(world, mmu));
    mm->id_ = world.next_id();
    mm->lock_.init(OBJR_LOCK_MM);
    mm->upper_lock_.init(OBJR_LOCK_UPPER_TABLE);
    mm->tree_lock_.init(OBJR_LOCK_TREE);
    Result<AnonMm*> anon_mm = new_anon_mm(world, *mm);
    if (!anon_mm) {
        world.mm_cache.free(mm);
        return anon_mm.error();
    }
    mm->anon_mm_ = *anon_mm;
    Status status;
    {
        // Table, counters and root page change together, for the verifier.
        Guard guard(world.registry);
        status = mm->tables_.create(world.table_cache, world.counters, *mm, world.levels);
        if (status) {
            status = world.mms.insert(mm->id_, mm);
        }
        if (status) {
            world.counters.add(Count::mms);
        } else {
            mm->tables_.destroy();
        }
    }
    if (!status) {
        retire_anon_mm(**anon_mm);
        world.mm_cache.free(mm);
        return status.error();
    }
    return mm;
}

void Mm::put() {
    if (refs_.fetch_sub(1) > 1) {
        return;
    }
    OBJR_WARN_ON(!vmas_.empty());
    retire_anon_mm(*anon_mm_);
    {
        Guard guard(world_.registry);
        world_.mms.erase(id_);
        tables_.destroy();
        world_.counters.sub(Count::mms);
    }
    world_.mm_cache.free(this);
}

// ---- the Vma tree

Vma* Mm::first_from(Vaddr address) const {
    return vmas_.lower_bound([address](const Vma& vma) { return vma.end <= address; });
}

Vma* Mm::find(Vaddr address) const {
    Vma* vma = first_from(address);
    return vma && vma->contains(address) ? vma : nullptr;
}

Vma* Mm::next(const Vma& vma) const { return vmas_.next(vma); }
Vma* Mm::prev(const Vma& vma) const { return vmas_.prev(vma); }

void Mm::insert_locked(Vma& vma) {
    vmas_.insert(vma, [](const Vma& a, const Vma& b) { return a.start < b.start; });
    vma_count_.fetch_add(1);
    world_.counters.add(Count::vmas);
}

void Mm::remove_locked(Vma& vma) {
    vmas_.erase(vma);
    vma_count_.fetch_sub(1);
    world_.counters.sub(Count::vmas);
}

bool Mm::range_ok(Vaddr start, Vaddr end) const {
    return start < end && page_aligned(start.value) && page_aligned(end.value) && end <= address_end();
}

bool Mm::range_free(Vaddr start, Vaddr end) const {
    const Vma* vma = first_from(start);
    return !vma || vma->start >= end;
}

bool Mm::fully_mapped(Vaddr start, Vaddr end) const {
    for (const Vma* vma = first_from(start); vma && vma->start <= start; vma = next(*vma)) {
        start = vma->end;
        if (start >= end) {
            return true;
        }
    }
    return false;
}

// ---- map

Status Mm::map(Vaddr start, Vaddr end, u64 pgoff, u32 flags, FileMapping* file, objr_region* region) {
    if (!range_ok(start, end) || pgoff + ((end - start) >> kPageShift) < pgoff) {
        return Errno{OBJR_EINVAL};
    }
    VmaList gone;
    {
        SharedGuard quiesce(world_.quiesce);
        Guard guard(lock_);
        if (!range_free(start, end)) {
            return Errno{OBJR_EEXIST};
        }
        Vma* vma = OBJR_TRY(new_vma(start, end, pgoff, flags, file, region));
        if (region) {
            process_.store(objr_region_mm(region));
        }
        {
            Guard tree(tree_lock_);
            insert_locked(*vma);
        }
        rmap_link(*vma);
        try_merge(*vma, gone);
    }
    free_all(gone);
    return {};
}

// ---- unmap

Status Mm::unmap(Vaddr start, Vaddr end, Translations translations) {
    if (!range_ok(start, end)) {
        return Errno{OBJR_EINVAL};
    }
    VmaList gone;
    {
        SharedGuard quiesce(world_.quiesce);
        Guard guard(lock_);
        OBJR_TRY_STATUS(split_at(start));
        OBJR_TRY_STATUS(split_at(end));
        unmap_locked(start, end, translations, gone);
    }
    free_all(gone);
    return {};
}

// The ends are boundaries of Vmas. Order: entries, translations, pages; then out of the reverse map; then the tables (L3, L6).
void Mm::unmap_locked(Vaddr start, Vaddr end, Translations translations, VmaList& gone) {
    for (Vma* vma = first_from(start); vma && vma->start < end;) {
        Vma* following = next(*vma);
        zap_range_locked(*vma, vma->start, vma->end, translations, OBJR_MMAP_LOCK_NOT_HELD);
        locked_.store(locked() - (vma->has(VmFlag::locked) ? vma->pages() : 0));
        rmap_unlink(*vma);
        {
            Guard tree(tree_lock_);
            remove_locked(*vma);
        }
        gone.push_back(*vma);
        vma = following;
    }
    free_tables(start, end);
}

// Page tables of [start, end), where no Vma is: those that lie wholly between the neighbouring Vmas.
void Mm::free_tables(Vaddr start, Vaddr end) {
    Vma* after = first_from(start);
    Vma* before = after ? prev(*after) : vmas_.last();
    tables_.free_range(start, end, before ? before->end : Vaddr(0), after ? after->start : address_end());
}

// Entries of one leaf table are taken out in batches under its lock; the pages of a batch are let go after the
// translations are.
u64 Mm::zap_range_locked(Vma& vma, Vaddr start, Vaddr end, Translations translations, objr_held held) {
    u64 dropped = 0;
    for (auto part = tables_.first_part(start, end); part.table; part = tables_.first_part(part.end, end)) {
        while (part.start < part.end) {
            Vaddr from = part.start;
            EntryBatch batch;
            {
                ZapGrace::Section section(translations == Translations::present ? &world_.zap_grace : nullptr);
                part.start = take_entries(*part.table, from, part.end, batch);
                // Also of what was not present: a walk that has just taken it may not have zapped yet.
                if (batch.entries != 0 && translations == Translations::present) {
                    mmu_.zap(vma.region, from, part.start, held);
                }
            }
            for (u32 i = 0; i < batch.page_count; i++) {
                const bool late = translations == Translations::present && (batch.writable & 1u << i) != 0;
                if (late && vma.file && !vma.copies_on_write()) {
                    vma.file->note_late_writes(*batch.pages[i]);
                }
                world_.swap.settle(*batch.pages[i]);
                world_.pool.put(*batch.pages[i]);
            }
            for (u32 i = 0; i < batch.reap_count; i++) {
                world_.swap.reap(batch.reaps[i]);
            }
            resident_add(-static_cast<s64>(batch.page_count));
            dropped += batch.entries;
            objr_cond_resched();
        }
    }
    return dropped;
}

// Clear entries from start on until the batch is full or end is reached; returns where it stopped.
Vaddr Mm::take_entries(PageTable& table, Vaddr start, Vaddr end, EntryBatch& batch) {
    Guard guard(table.lock);
    for (Vaddr at = start; at < end && table.live != 0; at += kPageSize) {
        if (batch.full()) {
            return at;
        }
        if (!table.get(at).is_none()) {
            take_entry(table, at, batch);
        }
    }
    return end;
}

void Mm::take_entry(PageTable& table, Vaddr address, EntryBatch& batch) {
    const Pte pte = table.exchange(address, Pte());
    batch.entries++;
    if (pte.is_swap()) {
        if (world_.swap.release(pte.swap_entry())) {
            batch.reaps[batch.reap_count++] = pte.swap_entry();
        }
        return;
    }
    if (pte.is_file() || pte.is_poison()) {
        return;
    }
    if (pte.is_migration()) {
        rmap_drop_migration(world_, pte, {table, address});
        return;
    }
    if (Page* page = world_.pool.page_of(pte.pfn()); !OBJR_WARN_ON(!pte.is_present() || !page)) {
        rmap_note_dirty(*page, pte);
        rmap_munlock(world_, *page, pte);
        rmap_unmap(world_, *page, {table, address});
        batch.writable |= pte.writable() ? 1u << batch.page_count : 0;
        batch.pages[batch.page_count++] = page;
    }
}

// ---- what is swapped out

Vaddr Mm::next_swapped(Vaddr from) {
    SharedGuard quiesce(world_.quiesce);
    SharedGuard guard(lock_);
    for (Vma* vma = first_from(from); vma; vma = next(*vma)) {
        for (auto part = tables_.first_part(max(from, vma->start), vma->end); part.table;
             part = tables_.first_part(part.end, vma->end)) {
            Guard table_guard(part.table->lock);
            for (Vaddr at = part.start; at < part.end; at += kPageSize) {
                if (part.table->get(at).is_swap()) {
                    return at;
                }
            }
        }
    }
    return address_end();
}

} // namespace objr
