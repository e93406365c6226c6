// SPDX-License-Identifier: GPL-2.0
// Advice about what is in memory now (Linux: mm/madvise.c: madvise_dontneed_single_vma, madvise_cold, madvise_pageout,
// madvise_willneed). No Vma changes by it.
//
//   DONTNEED  entries go. What was the process's own goes with them: swap entries too. What is a file's or an object's stays there.
//   COLD      the only mapper forgets that it has used the page, which becomes the next to be reclaimed.
//   PAGEOUT   pages with one mapping leave memory now: to swap, or out of the page cache, written if that is needed.
//   WILLNEED  what is in swap or in a file comes into memory, unmapped, as long as there are frames to spare.
//
// Locking: DONTNEED holds Mm::lock for write, for one leaf table at a time. The others look at some entries under Mm::lock for read
// and let it go; pages are worked on under quiesce and their page locks, as reclaim does it, and a file is written under neither.
// What they meet may be gone by then: that is no error, nor is a page that cannot be had or will not go.
// All end early when the caller is being killed: EINTR.
#include "objrmap/frames.h"
#include "objrmap/mm.h"
#include "objrmap/reclaim.h"
#include "objrmap/world.h"

namespace objr {

Status Mm::can_advise_pages(Vaddr start, Vaddr end, Advice advice) {
    if (!range_ok(start, end)) {
        return Errno{OBJR_EINVAL};
    }
    SharedGuard quiesce(world_.quiesce);
    SharedGuard guard(lock_);
    if (!fully_mapped(start, end)) {
        return Errno{OBJR_ENOMEM};
    }
    const Vma* vma = first_from(start);
    while (vma && vma->start < end && (advice == Advice::willneed || !vma->has(VmFlag::locked))) {
        vma = next(*vma);
    }
    return vma && vma->start < end ? Status(Errno{OBJR_EINVAL}) : Status();
}

// ---- DONTNEED

Status Mm::drop_range(Vaddr start, Vaddr end) {
    while (start < end) {
        {
            SharedGuard quiesce(world_.quiesce);
            Guard guard(lock_);
            Vma* vma = first_from(start);
            if (!vma || vma->start >= end) {
                return {};
            }
            const auto part = tables_.first_part(max(start, vma->start), min(end, vma->end));
            if (!part.table || vma->has(VmFlag::locked)) { // locked meanwhile
            } else if (vma->has(VmFlag::nonlinear)) {
                drop_nonlinear_locked(*vma, part.start, part.end);
            } else {
                zap_range_locked(*vma, part.start, part.end, Translations::present, OBJR_MMAP_LOCK_NOT_HELD);
            }
            start = part.end;
        }
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
        objr_cond_resched();
    }
    return {};
}

// ---- looking at some entries at a time

namespace {

struct Found {
    static constexpr u32 kMost = 16;
    Page* pages[kMost]; // referenced; quiesce is held from then on
    u32 count = 0;
};

// Pages that only this mapping has, of one leaf, from start on; returns where it stopped. The leaf is locked.
Vaddr find_own_pages(World& world, const PageTable& table, Vaddr start, Vaddr end, Found& found) {
    for (; start < end && found.count < Found::kMost; start += kPageSize) {
        const Pte pte = table.get(start);
        Page* page = pte.is_present() ? world.pool.page_of(pte.pfn()) : nullptr;
        if (page && page->mappings() == 1) {
            world.pool.get(*page);
            found.pages[found.count++] = page;
        }
    }
    return start;
}

// Forget the uses of a locked page, the processes' own tables included.
void forget_uses(World& world, Page& page) {
    harvest_accessed(world, page, Harvest::take);
    WalkCost cost;
    rmap_walk(world, page, EarlyStop::yes, cost, [](const Mapping& mapping) {
        mapping.table.take_bits(mapping.address, Pte::kAccessed);
        return Visit::go_on;
    });
    page.clear(PageFlag::referenced);
}

void make_cold(World& world, Page& page) {
    PageLock lock(page);
    if (page.mappings() == 1) {
        forget_uses(world, page);
        world.pool.deactivate(page);
    }
}

// What must be written before it can go.
struct Unwritten {
    struct {
        FileMapping* file; // used; nullptr: to the swap file
        u64 pgoff;
        SwapEntry entry;
    } pages[Found::kMost];
    u32 count = 0;
};

// Unmapped and out of memory; or it must be written first.
void take_out(World& world, Page& page, Unwritten& unwritten) {
    PageLock lock(page);
    if (page.mappings() != 1) {
        return;
    }
    FileMapping* file = page.mapping().file_mapping();
    const bool real = file && file->kind() == FileMapping::Kind::file;
    const u64 pgoff = page.index;
    WalkCost cost;
    UnmapResult result = unmap_page(world, page, UnmapMode::take_used, cost);
    if (result.answer == Unmapped::success && file && !real) {
        result = swap_out_object_page(world, page);
    }
    if (result.why == Refusal::to_be_written) {
        unwritten.pages[unwritten.count++] = {nullptr, 0, result.entry};
    } else if (result.answer == Unmapped::success && real && !file->evict_locked(page) &&
               page.has(PageFlag::maybe_dirty) && file->try_get()) {
        unwritten.pages[unwritten.count++] = {file, pgoff, {}};
    }
}

} // namespace

template <class F>
Status Mm::for_own_pages(Vaddr start, Vaddr end, F&& f) {
    while (start < end) {
        {
            SharedGuard quiesce(world_.quiesce);
            Found found;
            {
                SharedGuard guard(lock_);
                const auto part = tables_.first_part(start, end);
                start = part.end;
                if (part.table) {
                    Guard table(part.table->lock);
                    start = find_own_pages(world_, *part.table, part.start, part.end, found);
                }
            }
            for (u32 i = 0; i < found.count; i++) {
                f(*found.pages[i]);
                world_.pool.put(*found.pages[i]);
            }
        }
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
        objr_cond_resched();
    }
    return {};
}

Status Mm::cool_range(Vaddr start, Vaddr end) {
    return for_own_pages(start, end, [this](Page& page) { make_cold(world_, page); });
}

// ---- PAGEOUT

namespace {

void write_and_evict(World& world, FileMapping& file, u64 pgoff) {
    if (!file.write_out_page(pgoff)) {
        return; // the next fsync says it
    }
    SharedGuard quiesce(world.quiesce);
    if (Page* page = file.find_page(pgoff)) {
        {
            PageLock lock(*page);
            file.evict_locked(*page);
        }
        world.pool.put(*page);
    }
}

} // namespace

Status Mm::page_out_range(Vaddr start, Vaddr end) {
    constexpr u64 kStep = Found::kMost * kPageSize;
    for (; start < end; start = min(end, start + kStep)) {
        if (const Vaddr next = next_entry(start, end); next >= end) {
            return {};
        } else {
            start = next;
        }
        Unwritten unwritten;
        const Status status =
            for_own_pages(start, min(end, start + kStep), [&](Page& page) { take_out(world_, page, unwritten); });
        for (u32 i = 0; i < unwritten.count; i++) {
            const auto& page = unwritten.pages[i];
            if (page.file) {
                write_and_evict(world_, *page.file, page.pgoff);
                page.file->put();
            } else {
                static_cast<void>(write_out(world_, page.entry)); // else its page stays
            }
        }
        OBJR_TRY_STATUS(status);
    }
    return {};
}

// The address of the first leaf's part in [start, end) that may have an entry.
Vaddr Mm::next_entry(Vaddr start, Vaddr end) {
    SharedGuard quiesce(world_.quiesce);
    SharedGuard guard(lock_);
    return tables_.first_part(start, end).start;
}

// ---- WILLNEED

// A page that a fault would have to read.
struct AbsentPage {
    FileMapping* file = nullptr; // used; nullptr: swapped out
    u64 pgoff = 0;
    SwapEntry swap{};
};

// Which page of a file, or of an object in swap, belongs to the address whose entry is pte and is not there; false: none, or it is beyond
// the end.
static bool absent_of_file(const Vma& vma, Vaddr address, Pte pte, AbsentPage& absent) {
    if (!vma.file || !(pte.is_none() || pte.is_file())) {
        return false;
    }
    absent.pgoff = pte.is_file() ? pte.file_pgoff().value : vma.pgoff_of(address);
    SwapEntry entry{};
    u64 at = absent.pgoff;
    const bool absent_there = vma.file->kind() == FileMapping::Kind::file
                                  ? !vma.file->has_page(absent.pgoff)
                                  : vma.file->swapped_from(at, entry, absent.pgoff);
    if (absent.pgoff >= vma.file->size_in_pages() || !absent_there) {
        return false;
    }
    absent.file = vma.file;
    absent.file->get();
    return true;
}

// The first such page in [start, end), of some; start is set behind what was looked at. False: there was none among these.
bool Mm::next_absent(Vaddr& start, Vaddr end, AbsentPage& absent) {
    SharedGuard quiesce(world_.quiesce);
    SharedGuard guard(lock_);
    const Vma* vma = first_from(start);
    if (!vma || vma->start >= end) {
        start = end;
        return false;
    }
    start = max(start, vma->start);
    end = min(end, vma->end);
    // Where nothing is mapped a file may have pages, other memory has none. Pages behind the end of a file are not looked for.
    const bool has_absent =
        vma->file && (vma->file->kind() == FileMapping::Kind::file || vma->file->swapped_pages() != 0);
    PageTable* table = tables_.leaf(start);
    if (!table && (!has_absent || vma->pgoff_of(start) >= vma->file->size_in_pages())) {
        table = tables_.next_leaf(start, end);
        start = table ? max(start, table->base) : end;
    }
    end = min(end, Vaddr((start.value & ~(PageTable::kEntries * kPageSize - 1)) + PageTable::kEntries * kPageSize));
    for (; start < end; start += kPageSize) {
        const Pte pte = table ? table->get(start) : Pte();
        if (pte.is_swap()) {
            absent.swap = pte.swap_entry();
        }
        if (pte.is_swap() || absent_of_file(*vma, start, pte, absent)) {
            start += kPageSize;
            return true;
        }
    }
    return false;
}

// False: there was no frame for it.
static bool bring_in(World& world, const AbsentPage& absent) {
    FrameReserve frames(world, Patience::reclaim); // what is free: nothing is reclaimed for it
    SharedGuard quiesce(world.quiesce);
    Result<Page*> page =
        absent.file ? absent.file->get_locked_page(absent.pgoff, frames) : world.swap.read_locked(absent.swap, frames);
    if (page) {
        (*page)->unlock();
        world.pool.put(**page);
    }
    const s32 error = page.error().value;
    return error == 0 || error == OBJR_EIO || error == OBJR_EHWPOISON || error == OBJR_ENOENT;
}

Status Mm::bring_in_range(Vaddr start, Vaddr end) {
    constexpr u32 kSpare = 32; // part of the pool that is left alone
    bool more = true;
    while (more && start < end && world_.pool.free_pages() > world_.pool.size() / kSpare) {
        AbsentPage absent;
        more = !next_absent(start, end, absent) || bring_in(world_, absent);
        if (absent.file) {
            absent.file->put();
        }
        if (objr_fatal_signal_pending() != 0) {
            return Errno{OBJR_EINTR};
        }
        objr_cond_resched();
    }
    return {};
}

} // namespace objr
