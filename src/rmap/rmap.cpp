// SPDX-License-Identifier: GPL-2.0
#include "objrmap/rmap.h"

#include "objrmap/world.h"
#include "objrmap/zap_batch.h"
#include "walk_lock.h"

namespace objr {

// ---- memory that mappings may need

MapReserve::~MapReserve() {
    while (blocks_) {
        world_.scheme().free_block(world_, take());
    }
}

Status MapReserve::fill(u32 mappings) {
    Scheme& scheme = world_.scheme();
    while (scheme.traits.tracks_entries && count_ < mappings) {
        void* block = scheme.new_block(world_);
        if (!block) {
            return Errno{OBJR_ENOMEM};
        }
        give(block);
    }
    return {};
}

// Nobody maps a page that is locked and has no mapping: the first entry needs no memory.
Status MapReserve::fill_for(const Page& page) { return page.mapped() ? fill() : Status(); }

bool MapReserve::ready() const { return count_ != 0 || !world_.scheme().traits.tracks_entries; }

void* MapReserve::take() {
    void* block = blocks_;
    blocks_ = *static_cast<void**>(block);
    count_--;
    return block;
}

void MapReserve::give(void* block) {
    *static_cast<void**>(block) = blocks_;
    blocks_ = block;
    count_++;
}

// ---- counting

static void one_mapping_more(World& world, Page& page) {
    page.mappings_changed();
    world.counters.add(Count::mappings);
}

static void note_entry(World& world, Page& page, EntryPlace place, MapReserve& reserve) {
    if (Scheme& scheme = world.scheme(); scheme.traits.tracks_entries) {
        scheme.entry_set(page, place, reserve);
    }
}

// Other mappings of the page may go meanwhile: one more only if one is left.
static bool map_again(Page& page) {
    s32 seen = page.mapcount.load();
    while (seen >= 0) {
        if (page.mapcount.compare_exchange(seen, seen + 1)) {
            return true;
        }
    }
    return false;
}

void rmap_map_anon(World& world, Page& page, Vma& vma, EntryPlace place, Exclusivity exclusivity, MapReserve& reserve) {
    if (!map_again(page)) { // the page is locked: nobody else makes the first mapping
        world.scheme().adopt(page, vma, place.address, exclusivity);
        world.counters.add(Count::anon_pages);
        world.counters.add(Count::mapped_pages);
        page.mapcount.fetch_add(1);
    }
    if (exclusivity == Exclusivity::exclusive) {
        page.set(PageFlag::anon_exclusive);
    }
    note_entry(world, page, place, reserve);
    one_mapping_more(world, page);
}

void rmap_map_file(World& world, Page& page, EntryPlace place, MapReserve& reserve) {
    if (page.mapcount.fetch_add(1) == -1) {
        world.counters.add(Count::mapped_pages);
    }
    note_entry(world, page, place, reserve);
    one_mapping_more(world, page);
}

void rmap_duplicate(World& world, Page& page, EntryPlace place, MapReserve& reserve) {
    page.clear(PageFlag::anon_exclusive);
    OBJR_WARN_ON(page.mapcount.fetch_add(1) < 0);
    note_entry(world, page, place, reserve);
    one_mapping_more(world, page);
}

static void one_mapping_less(World& world, Page& page) {
    Scheme& scheme = world.scheme();
    if (page.mapcount.fetch_sub(1) == 0) {
        world.counters.sub(Count::mapped_pages);
        if (page.mapping().is_anon()) {
            world.counters.sub(Count::anon_pages);
            if (scheme.traits.counts_mapped) {
                scheme.forsaken(page);
            }
        }
    }
    page.mappings_changed();
    world.counters.sub(Count::mappings);
}

void rmap_unmap(World& world, Page& page, EntryPlace place) {
    if (Scheme& scheme = world.scheme(); scheme.traits.tracks_entries) {
        scheme.entry_cleared(page, place);
    }
    one_mapping_less(world, page);
}

// ---- migration entries: a place in the map, but no mapping

void rmap_unmap_for_migration(World& world, Page& page) { one_mapping_less(world, page); }

// The object stays as it is but where the scheme counts what is mapped.
void rmap_map_after_migration(World& world, Page& page, Vma& vma, EntryPlace place, Pte migration) {
    if (!map_again(page)) {
        Scheme& scheme = world.scheme();
        if (page.mapping().is_anon()) {
            if (scheme.traits.counts_mapped) {
                scheme.adopt(page, vma, place.address, Exclusivity::uncertain);
            }
            world.counters.add(Count::anon_pages);
        }
        world.counters.add(Count::mapped_pages);
        page.mapcount.fetch_add(1);
    }
    if (migration.migration_exclusive()) {
        page.set(PageFlag::anon_exclusive);
    }
    one_mapping_more(world, page);
}

// The generation tells the one who migrates the page that there is an entry where he may have looked already.
void rmap_duplicate_migration(World& world, Page& page, EntryPlace place, MapReserve& reserve) {
    note_entry(world, page, place, reserve);
    page.mappings_changed();
}

void rmap_drop_migration(World& world, Pte migration, EntryPlace place) {
    Page* page = world.pool.page_of(migration.pfn());
    if (Scheme& scheme = world.scheme(); scheme.traits.tracks_entries && !OBJR_WARN_ON(!page)) {
        scheme.entry_cleared(*page, place);
    }
}

void rmap_mlock(World& world, Page& page) {
    if (page.lock_mapping()) {
        world.counters.add(Count::locked_pages);
    }
}

void rmap_munlock(World& world, Page& page, Pte pte) {
    if (pte.locked() && page.unlock_mapping()) {
        world.counters.sub(Count::locked_pages);
        if (page.has(PageFlag::unevictable)) {
            world.pool.deactivate(page);
        }
    }
}

void rmap_claim(World& world, Page& page, Vma& vma) {
    page.set(PageFlag::anon_exclusive);
    world.scheme().claim(page, vma);
}

void rmap_moved(World& world, Vma& vma, Pte pte, EntryPlace from, EntryPlace to) {
    Scheme& scheme = world.scheme();
    if (!scheme.traits.tracks_moves || !(pte.is_present() || pte.is_migration())) {
        return;
    }
    if (Page* page = world.pool.page_of(pte.pfn())) {
        scheme.entry_moved(*page, vma, from, to);
    }
}

// A page that has a dirty entry is marked in its file already (file_mapping.h F5).
void rmap_note_dirty(Page& page, Pte pte) {
    if (pte.dirty()) {
        page.set(PageFlag::dirty);
    }
}

// ---- walking

namespace {

// Looks at the page table of each candidate (Linux: page_vma_mapped_walk).
class Walker final : public CandidateVisitor {
public:
    Walker(World& world, Page& page, EarlyStop early_stop, MappingVisitor& visitor, WalkCost& cost)
        : pfn_(world.pool.pfn(page)), left_(page.mappings()), early_stop_(early_stop == EarlyStop::yes),
          visitor_(visitor), cost_(cost) {}

    Visit candidate(Vma& vma, Vaddr address, Why) override {
        cost_.candidates++;
        if (const Look look = visitor_.candidate(vma); look != Look::read) {
            return decline(look);
        }
        PageTable* table = vma.mm->tables().leaf(address, &cost_.levels);
        if (!table) {
            cost_.false_hits++;
            return Visit::go_on;
        }
        Guard guard(table->lock);
        Pte pte = table->get(address);
        if (!pte.is_present() || pte.pfn() != pfn_) {
            cost_.false_hits++;
            return Visit::go_on;
        }
        return hit({vma, address, *table, pte});
    }

    Visit nonlinear(Vma& vma) override {
        if (const Look look = visitor_.candidate(vma); look != Look::read) {
            cost_.candidates++;
            return decline(look);
        }
        const u64 before = cost_.hits;
        const PageTables& tables = vma.mm->tables();
        for (auto part = tables.first_part(vma.start, vma.end); part.table;
             part = tables.first_part(part.end, vma.end)) {
            Guard guard(part.table->lock);
            for (Vaddr at = part.start; at < part.end; at += kPageSize) {
                cost_.scanned++;
                const Pte pte = part.table->get(at);
                if (!pte.is_present() || pte.pfn() != pfn_) {
                    continue;
                }
                cost_.candidates++;
                if (hit({vma, at, *part.table, pte}) == Visit::stop) {
                    return Visit::stop;
                }
            }
        }
        if (cost_.hits == before) {
            cost_.candidates++;
            cost_.false_hits++;
        }
        return Visit::go_on;
    }

private:
    Visit decline(Look look) {
        if (look == Look::skip) {
            return Visit::go_on;
        }
        cost_.stop = StopReason::visitor;
        return Visit::stop;
    }

    Visit hit(const Mapping& mapping) {
        cost_.hits++;
        if (visitor_.mapping(mapping) == Visit::stop) {
            cost_.stop = StopReason::visitor;
            return Visit::stop;
        }
        if (left_ != 0) {
            left_--;
        }
        if (early_stop_ && left_ == 0) {
            cost_.stop = StopReason::mapcount;
            return Visit::stop;
        }
        return Visit::go_on;
    }

    const Pfn pfn_;
    u32 left_;
    const bool early_stop_;
    MappingVisitor& visitor_;
    WalkCost& cost_;
};

} // namespace

OBJR_THREAD(no_thread_safety_analysis) // taken in one of two ways
static void visit_file(FileMapping& file, const Page& page, const WalkOptions& options, CandidateVisitor& visitor,
                       WalkCost& cost) {
    if (!lock_for_walk(file.i_mmap_lock, options.locking, cost)) {
        return;
    }
    const bool all = file.i_mmap.visit(page.index, page.index, [&](Vma& vma) {
        Vaddr address;
        return !vma.address_of(page.index, &address) ||
               visitor.candidate(vma, address, Why::file_index) == Visit::go_on;
    });
    if (all && options.nonlinear == Nonlinear::scan) {
        file.i_mmap.visit_nonlinear([&](Vma& vma) { return visitor.nonlinear(vma) == Visit::go_on; });
    }
    file.i_mmap_lock.unlock_shared();
}

void rmap_visit_candidates(World& world, Page& page, const WalkOptions& options, CandidateVisitor& visitor,
                           WalkCost& cost) {
    Scheme& scheme = world.scheme();
    const MappingWord mapping = page.mapping();
    if (mapping.is_anon() || scheme.traits.tracks_entries) {
        scheme.visit(world, page, options.locking, visitor, cost);
    } else if (FileMapping* file = mapping.file_mapping()) {
        visit_file(*file, page, options, visitor, cost);
    }
}

void rmap_walk(World& world, Page& page, const WalkOptions& options, MappingVisitor& visitor, WalkCost& cost) {
    WalkCost before = cost;
    cost.stop = StopReason::end;
    if (page.mapped()) {
        Walker walker(world, page, options.early_stop, visitor, cost);
        rmap_visit_candidates(world, page, options, walker, cost);
    } else {
        cost.stop = StopReason::unmapped;
    }
    world.counters.add(Count::rmap_walks);
    world.counters.add(Count::rmap_candidates, static_cast<s64>(cost.candidates - before.candidates));
    world.counters.add(Count::rmap_hits, static_cast<s64>(cost.hits - before.hits));
    world.counters.add(Count::rmap_false_hits, static_cast<s64>(cost.false_hits - before.false_hits));
}

// ---- mkclean

u32 page_mkclean(World& world, Page& page) {
    u32 cleaned = 0;
    for (bool again = true; again;) {
        again = false;
        ZapBatch batch;
        WalkCost cost;
        rmap_walk(world, page, EarlyStop::no, cost, [&](const Mapping& mapping) {
            if (!mapping.vma.has(VmFlag::shared) || !(mapping.pte.writable() || mapping.pte.dirty())) {
                return Visit::go_on;
            }
            if (batch.full()) { // what is clean by now is not found again
                again = true;
                return Visit::stop;
            }
            rmap_note_dirty(page,
                            mapping.table.exchange(mapping.address, mapping.pte.without(Pte::kWrite | Pte::kDirty)));
            batch.add(mapping.vma, mapping.address);
            cleaned++;
            return Visit::go_on;
        });
    }
    return cleaned;
}

} // namespace objr
