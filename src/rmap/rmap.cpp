// SPDX-License-Identifier: GPL-2.0
#include "objrmap/rmap.h"

#include "objrmap/world.h"
#include "objrmap/zap_batch.h"

namespace objr {

// ---- counting

void rmap_add_new_anon(World& world, Page& page, Vma& vma, Vaddr address) {
    world.scheme->adopt(page, vma, address);
    page.mapcount.store(0);
    page.mappings_changed();
    world.counters.add(Count::anon_pages);
    world.counters.add(Count::mapped_pages);
    world.counters.add(Count::mappings);
}

void rmap_add_file(World& world, Page& page) {
    if (page.mapcount.fetch_add(1) == -1) {
        world.counters.add(Count::mapped_pages);
    }
    page.mappings_changed();
    world.counters.add(Count::mappings);
}

void rmap_duplicate(World& world, Page& page) {
    OBJR_WARN_ON(page.mapcount.fetch_add(1) < 0);
    page.mappings_changed();
    world.counters.add(Count::mappings);
}

void rmap_remove(World& world, Page& page) {
    if (page.mapcount.fetch_sub(1) == 0) {
        world.counters.sub(Count::mapped_pages);
        if (page.mapping().is_anon()) {
            world.counters.sub(Count::anon_pages);
        }
    }
    page.mappings_changed();
    world.counters.sub(Count::mappings);
}

void rmap_note_dirty(Page& page, Pte pte) {
    if (!pte.dirty()) {
        return;
    }
    page.set(PageFlag::dirty);
    if (FileMapping* file = page.mapping().file_mapping()) { // stable: the page is mapped, so it is not truncated
        file->note_dirty();
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

    Visit candidate(Vma& vma, Vaddr address) override {
        cost_.candidates++;
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
        cost_.hits++;
        if (visitor_.mapping({vma, address, *table, pte}) == Visit::stop) {
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

private:
    const Pfn pfn_;
    u32 left_;
    const bool early_stop_;
    MappingVisitor& visitor_;
    WalkCost& cost_;
};

} // namespace

void rmap_walk(World& world, Page& page, EarlyStop early_stop, MappingVisitor& visitor, WalkCost& cost) {
    WalkCost before = cost;
    cost.stop = StopReason::end;
    if (page.mapped()) {
        Walker walker(world, page, early_stop, visitor, cost);
        world.scheme->visit_candidates(world, page, walker, cost);
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
