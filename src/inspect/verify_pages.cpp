// SPDX-License-Identifier: GPL-2.0
// The reverse half of the verifier: every page, against what the forward half has counted for it.
#include "table_tree.h"
#include "verify.h"

namespace objr {

bool Verifier::check_pages() {
    // Who lets go of the last reference of a page that nobody maps needs no lock for it and may be half-way.
    constexpr u32 kPatience = 1u << 20;
    for (u32 n = 0; n < world_.pool.size(); n++) {
        Page& page = world_.pool.page(n);
        const bool unmapped = tallies_[n].count == 0;
        for (u32 i = 0; i < kPatience && unmapped && page.refcount.load() == 0 && !page.has(PageFlag::free); i++) {
            objr_cond_resched();
        }
        if (!(page.has(PageFlag::free) ? check_free(page) : check_used(page))) {
            return false;
        }
        objr_cond_resched();
    }
    return true;
}

bool Verifier::check_free(Page& page) {
    const u32 n = world_.pool.number(page);
    free_pages_++;
    if (page.refcount.load() != 0 || page.mapped()) {
        return OBJR_BAD("V4: free page %u has refcount %d and mapcount %u", n, page.refcount.load(), page.mappings());
    }
    if (!page.mapping().is_none() || page.has(PageFlag::lru)) {
        return OBJR_BAD("V4: free page %u has %s", n, page.has(PageFlag::lru) ? "the flag lru" : "a mapping");
    }
    return world_.pool.is_zero(page) || OBJR_BAD("V4: free page %u is not zero", n);
}

bool Verifier::check_used(Page& page) {
    const u32 n = world_.pool.number(page);
    const u32 found = tallies_[n].count;
    const s32 refcount = page.refcount.load();
    const bool is_file = page.mapping().is_file();
    const bool is_cached = SwapSpace::cached(page);
    if (page.mappings() != found) {
        return OBJR_BAD("V1: page %u counts %u mappings, the page tables have %u", n, page.mappings(), found);
    }
    if (page.has(PageFlag::poisoned)) {
        poisoned_pages_++;
        if (found != 0 || refcount < 1 || page.mapping().is_anon() || is_cached || page.has(PageFlag::lru)) {
            return OBJR_BAD("V8: poisoned page %u has %u mappings, refcount %d, and %s", n, found, refcount,
                            page.has(PageFlag::lru) ? "is on a list"
                            : is_cached             ? "is in the swap cache"
                                                    : "an object");
        }
    }
    if (refcount <= 0 && found == 0) {
        return OBJR_BAD("V4: page %u has refcount %d and is not free", n, refcount);
    }
    if (refcount < static_cast<s64>(found) + (is_file || is_cached ? 1 : 0)) {
        return OBJR_BAD("V3: page %u has refcount %d, with %u mappings%s", n, refcount, found,
                        is_file     ? " and the page cache's"
                        : is_cached ? " and the swap cache's"
                                    : "");
    }
    if (found != 0 && page.mapping().is_none()) {
        return OBJR_BAD("V5: page %u is mapped %u times and belongs to no object", n, found);
    }
    const bool is_needed = is_cached && world_.swap.count_of(page) != 0;
    if (page.has(PageFlag::anon_exclusive) && (found > 1 || !page.mapping().is_anon() || is_needed)) {
        return OBJR_BAD("V6: page %u is exclusive, with %u mappings%s", n, found,
                        is_file     ? " of a file"
                        : is_needed ? " and swap entries that need it"
                                    : "");
    }
    if (tallies_[n].private_writable != 0 && (found != 1 || !page.mapping().is_anon())) {
        return OBJR_BAD("M2: page %u, %s with %u mappings, can be written through a private one without a copy", n,
                        is_file ? "of a file" : "anon", found);
    }
    if (page.locked_mappings() != tallies_[n].locked) {
        return OBJR_BAD("V7: page %u counts %u mappings of locked Vmas, the page tables have %u", n,
                        page.locked_mappings(), static_cast<u32>(tallies_[n].locked));
    }
    locked_pages_ += tallies_[n].locked != 0 ? 1 : 0;
    mapped_pages_ += found != 0 ? 1 : 0;
    anon_pages_ += found != 0 && page.mapping().is_anon() ? 1 : 0;
    file_pages_ += is_file ? 1 : 0;
    dirty_pages_ += page.has(PageFlag::maybe_dirty) ? 1 : 0;
    return check_dirty(page) && (!is_file || check_file_page(page)) && (!is_cached || check_cached_page(page)) &&
           (found == 0 || check_reverse(page));
}

// The flag; that the mark is there too is seen from the file.
bool Verifier::check_dirty(const Page& page) {
    const u32 n = world_.pool.number(page);
    const FileMapping* file = page.mapping().file_mapping();
    const bool real = file && file->kind() == FileMapping::Kind::file;
    const bool dirty = page.has(PageFlag::dirty) || tallies_[n].shared_dirty != 0;
    return page.has(PageFlag::maybe_dirty) == (real && dirty) ||
           OBJR_BAD("F5: page %u %s to have something to write; dirty=%u, %s", n,
                    page.has(PageFlag::maybe_dirty) ? "is said" : "is not said", page.has(PageFlag::dirty) ? 1u : 0u,
                    tallies_[n].shared_dirty != 0 ? "writable in a shared mapping" : "in no shared mapping writable");
}

// Its file is there as long as the page is its: it drops the page under quiesce.
bool Verifier::check_file_page(Page& page) {
    FileMapping& file = *page.mapping().file_mapping();
    const u32 n = world_.pool.number(page);
    u64 pgoff = page.index;
    Page* cached = file.find_page_from(pgoff, pgoff);
    if (cached) {
        world_.pool.put(*cached);
    }
    if (cached != &page) {
        return OBJR_BAD("F1: page %u is not in the page cache of file %u at pgoff 0x%llx", n, file.id(), page.index);
    }
    // A real file may have been cut by somebody who did not tell.
    const bool beyond = file.kind() == FileMapping::Kind::object && page.index >= file.size_in_pages();
    return !beyond || !page.mapped() || file.being_cut() ||
           OBJR_BAD("F3: page %u is mapped at pgoff 0x%llx of object %u, which has %llu pages", n, page.index,
                    file.id(), file.size_in_pages());
}

// The page lock, for whoever asserts it: one that looks at a page's bytes may hold it without quiesce, and is not waited for.
bool Verifier::check_reverse(Page& page) {
    const bool locked = page.try_lock();
    Tally found;
    WalkCost cost;
    rmap_walk(world_, page, EarlyStop::no, cost, [&](const Mapping& mapping) {
        found.add(mapping.vma.mm->id(), mapping.address);
        return Visit::go_on;
    });
    if (locked) {
        page.unlock();
    }
    return found.same_entries(tallies_[world_.pool.number(page)]) || report_unfound(page, found);
}

// Look for the mapping that the reverse map has missed, for the report.
bool Verifier::report_unfound(Page& page, const Tally& found) {
    const Pfn pfn = world_.pool.pfn(page);
    const u32 n = world_.pool.number(page);
    const u32 there = tallies_[n].count;
    auto finds = [&](u32 mm_id, Vaddr address) {
        bool seen = false;
        WalkCost cost;
        rmap_walk(world_, page, EarlyStop::no, cost, [&](const Mapping& mapping) {
            seen = mapping.vma.mm->id() == mm_id && mapping.address == address;
            return seen ? Visit::stop : Visit::go_on;
        });
        return seen;
    };
    for (u64 id = 0; Mm* mm = world_.get_mm_from(id); id++) {
        Vaddr missed;
        auto on_table = [](const u64*, u32, Vaddr) { return true; };
        auto on_upper = [](Vaddr, u32, u64) { return true; };
        auto on_leaf = [&](Vaddr address, Pte pte) {
            missed = address;
            return !pte.is_present() || pte.pfn() != pfn || finds(mm->id(), address);
        };
        const PageTables& tables = mm->tables();
        const bool all =
            scan_tables(static_cast<const u64*>(tables.root()), tables.levels(), 0, on_table, on_upper, on_leaf);
        const u32 mm_id = mm->id();
        mm->put();
        if (!all) {
            return OBJR_BAD("V2: page %u has %u mappings, the reverse map finds %u, not that of mm %u at 0x%llx", n,
                            there, found.count, mm_id, missed.value);
        }
        objr_cond_resched();
    }
    return OBJR_BAD("V2: page %u has %u mappings, the reverse map finds %u: one twice or of an mm that is gone", n,
                    there, found.count);
}

} // namespace objr
