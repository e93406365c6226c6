// SPDX-License-Identifier: GPL-2.0
#include "objrmap/reclaim.h"
#include "objrmap/unmap_nonlinear.h"
#include "objrmap/world.h"
#include "objrmap/zap_batch.h"

namespace objr {

const char* name_of(Unmapped answer) {
    switch (answer) {
    case Unmapped::success: return "SUCCESS";
    case Unmapped::again: return "AGAIN";
    case Unmapped::fail: return "FAIL";
    }
    return "unknown";
}

const char* name_of(Refusal why) {
    switch (why) {
    case Refusal::none: return "none";
    case Refusal::locked: return "locked-region";
    case Refusal::young: return "young";
    case Refusal::pinned: return "pinned";
    case Refusal::no_slot: return "no-swap-slot";
    case Refusal::not_written: return "swap-store-full";
    case Refusal::to_be_written: return "to-be-written";
    }
    return "unknown";
}

namespace {

// Takes one mapping after the other. What it has changed is zapped when the rmap locks are dropped; the batch is bounded, and
// a full one ends the walk, which begins anew: what is gone is not found again.
class Unmapper final : public MappingVisitor {
public:
    Unmapper(World& world, Page& page, UnmapMode mode)
        : world_(world), page_(page), mode_(mode),
          classic_(world.scheme().traits.rules == Rules::linux_2_6_24 && mode == UnmapMode::reclaim) {}

    // One walk. True: another is needed.
    bool walk(WalkCost& cost) {
        again_ = false;
        rmap_walk(world_, page_, {EarlyStop::yes, Locking::wait, classic_ ? Nonlinear::skip : Nonlinear::scan}, *this,
                  cost);
        batch_.flush();
        return again_;
    }
    // What the walk has left out (spec C14).
    void sweep_nonlinear(WalkCost& cost) {
        const ClusterResult clusters = try_to_unmap_nonlinear(world_, page_, LockedVmas::spare, cost);
        result_.taken += clusters.taken;
        if (clusters.state == ClusterResult::State::all_locked) {
            result_.answer = Unmapped::fail;
            result_.why = Refusal::locked;
        }
    }
    bool sweeps() const {
        return classic_ && !world_.scheme().traits.tracks_entries && result_.answer != Unmapped::fail && page_.mapped();
    }
    const UnmapResult& result() const { return result_; }

    Visit mapping(const Mapping& mapping) override {
        if (batch_.full()) {
            again_ = true;
            return Visit::stop;
        }
        if (spares_locked() && mapping.vma.has(VmFlag::locked)) {
            return refuse(Refusal::locked, mapping);
        }
        if (classic_ && mapping.pte.young()) {
            forget_use(mapping);
            return refuse(Refusal::young, mapping);
        }
        return take(mapping);
    }

private:
    bool spares_locked() const { return mode_ == UnmapMode::reclaim || mode_ == UnmapMode::take_used; }

    Visit refuse(Refusal why, const Mapping& mapping) {
        result_.answer = Unmapped::fail;
        result_.why = why;
        result_.mm_id = mapping.vma.mm->id();
        result_.address = mapping.address;
        return Visit::stop;
    }

    // The use that refuses is the last one that does (spec C10).
    void forget_use(const Mapping& mapping) {
        mapping.table.take_bits(mapping.address, Pte::kAccessed);
        batch_.add(mapping.vma, mapping.address);
    }

    // The order of M10: the entry, then pins, then the flag. The table is locked: nobody pins in between.
    Visit take(const Mapping& mapping) {
        const Pte old = mapping.table.exchange(mapping.address, Pte());
        const bool exclusive = page_.has(PageFlag::anon_exclusive);
        if (exclusive) {
            if (page_.pinned()) {
                mapping.table.set(mapping.address, old);
                return refuse(Refusal::pinned, mapping);
            }
            page_.clear(PageFlag::anon_exclusive);
        }
        rmap_note_dirty(page_, old);
        rmap_munlock(world_, page_, old);
        const Pte left = what_is_left(mapping, old, exclusive ? Pte::Exclusive::yes : Pte::Exclusive::no);
        if (!left.is_none()) {
            mapping.table.set(mapping.address, left);
        }
        if (left.is_migration()) {
            rmap_unmap_for_migration(world_, page_);
        } else {
            rmap_unmap(world_, page_, mapping.place());
        }
        mapping.vma.mm->resident_add(-1);
        if (mode_ == UnmapMode::reclaim || mode_ == UnmapMode::take_used) {
            mapping.vma.mm->note_reclaimed();
        }
        world_.pool.put(page_); // the mapping's; the caller has one
        batch_.add(mapping.vma, mapping.address);
        result_.taken++;
        return Visit::go_on;
    }

    Pte what_is_left(const Mapping& mapping, Pte old, Pte::Exclusive exclusive) {
        if (mapping.vma.has(VmFlag::nonlinear)) {
            return mapping.vma.entry_without(page_, mapping.address);
        }
        if (mode_ == UnmapMode::migrate) {
            return old.to_migration(exclusive);
        }
        if (!page_.mapping().is_anon()) {
            return Pte();
        }
        if (mode_ == UnmapMode::poison) {
            return Pte::poison(old.pfn());
        }
        const SwapEntry entry = SwapSpace::entry_of(page_);
        world_.swap.duplicate(entry);
        return Pte::swap(entry);
    }

    World& world_;
    Page& page_;
    const UnmapMode mode_;
    const bool classic_; // the rules of 2.6.24: young mappings refuse, nonlinear Vmas go by clusters
    ZapBatch batch_;
    bool again_ = false;
    UnmapResult result_;
};

} // namespace

UnmapResult try_to_unmap(World& world, Page& page, UnmapMode mode, WalkCost& cost) {
    OBJR_WARN_ON(!page.locked());
    UnmapResult result;
    if (page.mapping().is_anon() && mode != UnmapMode::migrate && mode != UnmapMode::poison &&
        OBJR_WARN_ON(!SwapSpace::cached(page))) {
        result.answer = Unmapped::fail;
        result.why = Refusal::no_slot;
        return result;
    }
    if (mode == UnmapMode::reclaim && page.mapped() && world.scheme().traits.rules == Rules::linux_2_6_24) {
        harvest_accessed(world, page, Harvest::take);
    }
    Unmapper unmapper(world, page, mode);
    while (unmapper.walk(cost)) {
        objr_cond_resched();
    }
    if (unmapper.sweeps()) {
        unmapper.sweep_nonlinear(cost);
    }
    result = unmapper.result();
    if (!page.mapped()) {
        result.answer = Unmapped::success;
        result.why = Refusal::none;
    }
    return result;
}

bool goes_to_swap(const Page& page) {
    const FileMapping* file = page.mapping().file_mapping();
    return page.mapping().is_anon() || (file && file->kind() == FileMapping::Kind::object);
}

// An anonymous page that is out of all page tables leaves memory: contents first. What the store does not take stays in the cache,
// where a fault finds it.
static void swap_out(World& world, Page& page, UnmapResult& result) {
    if (world.swap.must_write(page)) {
        if (!world.swap.writes_at_once()) {
            result.why = Refusal::to_be_written;
            result.entry = SwapSpace::entry_of(page);
            return;
        }
        if (!world.swap.write_locked(page)) {
            result.why = Refusal::not_written;
            return;
        }
    }
    world.swap.remove_from_cache_locked(page);
}

UnmapResult swap_out_object_page(World& world, Page& page) {
    UnmapResult result;
    if (Status moved = page.mapping().file_mapping()->move_to_swap_locked(page); !moved) {
        const bool full = moved.error().value == OBJR_ENOSPC;
        result.answer = full ? Unmapped::fail : Unmapped::again;
        result.why = full ? Refusal::no_slot : Refusal::none;
        return result;
    }
    result.answer = Unmapped::success;
    swap_out(world, page, result);
    return result;
}

UnmapResult unmap_page(World& world, Page& page, UnmapMode mode, WalkCost& cost) {
    if (!page.mapping().is_anon()) {
        return try_to_unmap(world, page, mode, cost);
    }
    UnmapResult result;
    if (!page.mapped() && !SwapSpace::cached(page)) { // its last mapping has just gone
        result.answer = Unmapped::success;
        return result;
    }
    // Swap-off takes slots back: none is used again, although the page may have one yet.
    if (!world.swap.enabled() || (!SwapSpace::cached(page) && !world.swap.add_to_cache_locked(page))) {
        result.answer = Unmapped::fail;
        result.why = Refusal::no_slot;
        return result;
    }
    result = try_to_unmap(world, page, mode, cost);
    if (world.swap.count_of(page) == 0) { // nobody has the entry (swap.h W4)
        world.swap.settle_locked(page);
    } else if (result.answer == Unmapped::success) {
        swap_out(world, page, result);
    }
    return result;
}

} // namespace objr
