// SPDX-License-Identifier: GPL-2.0
// Nonlinear mappings: any page of a file at any address of a Vma (spec C12; Linux 2.6.24: mm/fremap.c, remap_file_pages(2)).
//
// A Vma becomes nonlinear with the first remap that it does not show by itself: from then on it is in its file's list, and what
// pgoff and address say of each other holds only for entries that are none. A file entry says which page of the file belongs
// to an address; a fault puts that page there. Only shared Vmas of a file can be nonlinear, so that nothing in them is of the
// process alone: an entry can always be taken out and found again.
#include "objrmap/mm.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

namespace {

// Pages whose entries have been replaced, until no translation to them is left.
struct Replaced {
    static constexpr u32 kPages = 32;
    Page* pages[kPages];
    u32 count = 0;
    u32 writable = 0; // bits: could be written through their entry
    static_assert(kPages <= 32);

    bool full() const { return count == kPages; }
    void add(Page& page, Pte old) {
        writable |= old.writable() ? 1u << count : 0;
        pages[count++] = &page;
    }
    bool was_writable(u32 n) const { return (writable & 1u << n) != 0; }
};

} // namespace

// ---- entries

// The entry at address becomes fresh. The table is locked. True: a page was taken out.
static bool replace_entry(World& world, PageTable& table, Vaddr address, Pte fresh, Replaced& replaced) {
    const Pte old = table.exchange(address, fresh);
    if (old.is_migration()) {
        rmap_drop_migration(world, old, {table, address});
        return false;
    }
    if (!old.is_present()) {
        OBJR_WARN_ON(!old.is_none() && !old.is_file());
        return false;
    }
    Page* page = world.pool.page_of(old.pfn());
    if (OBJR_WARN_ON(!page)) {
        return false;
    }
    rmap_note_dirty(*page, old);
    rmap_munlock(world, *page, old);
    rmap_unmap(world, *page, {table, address});
    replaced.add(*page, old);
    return true;
}

// Every entry of [start, end) becomes what entry_for(address, entry) says. Those that change lose their translations, also if they were
// not present, since a walk that has just taken one may not have zapped yet; pages then lose their references. Returns how many these
// were.
template <class EntryFor>
u64 Mm::replace_entries(Vma& vma, Vaddr start, Vaddr end, objr_held held, EntryFor&& entry_for) {
    u64 taken = 0;
    for (auto part = tables_.first_part(start, end); part.table; part = tables_.first_part(part.end, end)) {
        while (part.start < part.end) {
            const Vaddr from = part.start;
            Replaced replaced;
            bool changed = false;
            {
                ZapGrace::Section section(&world_.zap_grace);
                {
                    Guard guard(part.table->lock);
                    for (; part.start < part.end && !replaced.full(); part.start += kPageSize) {
                        const Pte old = part.table->get(part.start);
                        if (const Pte fresh = entry_for(part.start, old); fresh != old) {
                            changed = true;
                            replace_entry(world_, *part.table, part.start, fresh, replaced);
                        }
                    }
                }
                if (changed) {
                    mmu_.zap(vma.region, from, part.start, held);
                }
            }
            for (u32 n = 0; n < replaced.count; n++) {
                Page& page = *replaced.pages[n];
                if (replaced.was_writable(n)) {
                    vma.file->note_late_writes(page);
                }
                world_.pool.put(page);
            }
            resident_add(-static_cast<s64>(replaced.count));
            taken += replaced.count;
            objr_cond_resched();
        }
    }
    return taken;
}

// ---- remap

// All of [start, end) is mapped, and shared from one file.
bool Mm::can_remap(Vaddr start, Vaddr end) const {
    const Vma* vma = find(start);
    if (!vma || !fully_mapped(start, end)) {
        return false;
    }
    const FileMapping* file = vma->file;
    for (; vma && vma->start < end; vma = next(*vma)) {
        if (!file || vma->file != file || vma->copies_on_write()) {
            return false;
        }
    }
    return true;
}

// f(Vma&, start, end, pgoff) -> Status for each part of [start, end) that does not show the pages from pgoff on by itself.
template <class F>
Status Mm::for_each_remapped(Vaddr start, Vaddr end, u64 pgoff, F&& f) {
    for (Vma* vma = first_from(start); vma && vma->start < end; vma = next(*vma)) {
        const Vaddr from = max(start, vma->start);
        const u64 first = pgoff + ((from - start) >> kPageShift);
        if (vma->has(VmFlag::nonlinear) || vma->pgoff_of(from) != first) {
            OBJR_TRY_STATUS(f(*vma, from, min(end, vma->end), first));
        }
    }
    return {};
}

// A remap goes in steps of so much memory, with all locks let go in between: who waits for them may be waited for by everybody.
static constexpr u64 kStep = 64 * PageTable::kEntries * kPageSize;

static Vaddr step_end(Vaddr start, Vaddr end) { return end - start > kStep ? start + kStep : end; }

// The tables that file entries will be written to. They go with the Vma.
Status Mm::make_leaves(Vaddr start, Vaddr end, u64 pgoff) {
    SharedGuard quiesce(world_.quiesce);
    Guard guard(lock_);
    if (!can_remap(start, end)) {
        return Errno{OBJR_EINVAL};
    }
    return for_each_remapped(start, end, pgoff, [this](Vma&, Vaddr from, Vaddr to, u64) -> Status {
        for (Vaddr at = from; at < to;) {
            at = OBJR_TRY(tables_.make_leaf(at))->end();
            objr_cond_resched();
        }
        return Status();
    });
}

Status Mm::remap(Vaddr start, u64 length, u64 pgoff, Populate populate) {
    const Vaddr end = start + length;
    const u64 pages = length >> kPageShift;
    if (!range_ok(start, end) || pages > Pte::kFilePgoffs || pgoff > Pte::kFilePgoffs - pages) {
        return Errno{OBJR_EINVAL};
    }
    {
        SharedGuard quiesce(world_.quiesce);
        SharedGuard guard(lock_);
        if (!can_remap(start, end)) {
            return Errno{OBJR_EINVAL};
        }
    }
    auto in_file = [start, pgoff](Vaddr at) { return pgoff + ((at - start) >> kPageShift); };
    for (Vaddr at = start; at < end; at = step_end(at, end)) {
        OBJR_TRY_STATUS(make_leaves(at, step_end(at, end), in_file(at)));
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
    }
    bool changed = false;
    for (Vaddr at = start; at < end; at = step_end(at, end)) { // the tables are there: it goes through
        OBJR_TRY_STATUS(remap_part(at, step_end(at, end), in_file(at), changed));
    }
    if (changed && populate == Populate::yes) {
        populate_range(start, end);
    }
    return {};
}

// One step. Vmas are what they were, the process's mmap_lock is held; without a process another thread may have changed them: EINVAL.
Status Mm::remap_part(Vaddr start, Vaddr end, u64 pgoff, bool& changed) {
    SharedGuard quiesce(world_.quiesce);
    Guard guard(lock_);
    if (!can_remap(start, end)) {
        return Errno{OBJR_EINVAL};
    }
    return for_each_remapped(start, end, pgoff, [&](Vma& vma, Vaddr from, Vaddr to, u64 first) {
        remap_vma(vma, from, to, first);
        changed = true;
        return Status();
    });
}

void Mm::remap_vma(Vma& vma, Vaddr start, Vaddr end, u64 pgoff) {
    if (!vma.has(VmFlag::nonlinear)) {
        RangeChange change(vma); // from the file's tree to its list
        vma.set_flags(vma.flags | static_cast<u32>(VmFlag::nonlinear));
    }
    replace_entries(vma, start, end, OBJR_MMAP_LOCK_HELD, [start, pgoff](Vaddr address, Pte) {
        return Pte::file(Pgoff(pgoff + ((address - start) >> kPageShift)));
    });
}

// As far as it goes: an address whose page cannot be had now comes with the fault, or faults for good.
void Mm::populate_range(Vaddr start, Vaddr end) {
    for (Vaddr at = start; at < end && this->populate(at, Access::read); at += kPageSize) {
        if (objr_fatal_signal_pending() != 0) {
            return;
        }
        objr_cond_resched();
    }
}

// ---- truncation

void Mm::drop_nonlinear_locked(Vma& vma, Vaddr start, Vaddr end) {
    replace_entries(vma, start, end, OBJR_MMAP_LOCK_NOT_HELD, [&](Vaddr address, Pte pte) {
        const Page* page = pte.is_present() || pte.is_migration() ? world_.pool.page_of(pte.pfn()) : nullptr;
        return page ? vma.entry_without(*page, address) : pte;
    });
}

u64 Mm::cut_nonlinear_locked(Vma& vma, u64 first) {
    return replace_entries(vma, vma.start, vma.end, OBJR_MMAP_LOCK_NOT_HELD, [&](Vaddr address, Pte pte) {
        const Page* page = pte.is_present() || pte.is_migration() ? world_.pool.page_of(pte.pfn()) : nullptr;
        return page && page->index >= first ? vma.entry_without(*page, address) : pte;
    });
}

} // namespace objr
