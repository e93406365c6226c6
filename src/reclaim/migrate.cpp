// SPDX-License-Identifier: GPL-2.0
#include "objrmap/migrate.h"

#include "objrmap/reclaim.h"
#include "objrmap/world.h"

namespace objr {

// ---- migration entries become mappings

namespace {

// Looks for the migration entries of one page, at every candidate, and makes them present entries of another (or of itself).
class Restorer final : public CandidateVisitor {
public:
    Restorer(World& world, const Page& old, Page& target)
        : world_(world), old_pfn_(world.pool.pfn(old)), target_(target) {}

    u32 restored() const { return restored_; }

    Visit candidate(Vma& vma, Vaddr address, Why) override {
        if (PageTable* table = vma.mm->tables().leaf(address)) {
            Guard guard(table->lock);
            look_at(vma, {*table, address});
        }
        return Visit::go_on;
    }

    // It may have become nonlinear since its entries were taken.
    Visit nonlinear(Vma& vma) override {
        const PageTables& tables = vma.mm->tables();
        for (auto part = tables.first_part(vma.start, vma.end); part.table;
             part = tables.first_part(part.end, vma.end)) {
            Guard guard(part.table->lock);
            for (Vaddr at = part.start; at < part.end; at += kPageSize) {
                look_at(vma, {*part.table, at});
            }
        }
        return Visit::go_on;
    }

private:
    void look_at(Vma& vma, EntryPlace place) {
        const Pte pte = place.table.get(place.address);
        if (!pte.is_migration() || pte.pfn() != old_pfn_) {
            return;
        }
        world_.pool.get(target_);
        const Pte present = present_entry(vma, pte);
        place.table.set(place.address, present);
        rmap_map_after_migration(world_, target_, vma, place, pte);
        if (present.locked()) { // the Vma's flag may have changed since
            rmap_mlock(world_, target_);
        }
        vma.mm->resident_add(1);
        restored_++;
    }

    // What the Vma permits may have changed; under the table lock it is what its other entries say, or is about to be.
    Pte present_entry(const Vma& vma, Pte pte) const {
        const bool any = vma.has(VmFlag::read) || vma.has(VmFlag::write) || vma.has(VmFlag::exec);
        const bool write = pte.migration_write() && vma.has(VmFlag::write);
        return Pte::present(world_.pool.pfn(target_), pte.migration_seen() | (any ? Pte::kUser : 0) |
                                                          (write ? Pte::kWrite : 0) |
                                                          (vma.has(VmFlag::exec) ? 0 : Pte::kNoExecute) |
                                                          (vma.has(VmFlag::locked) ? Pte::kLocked : 0));
    }

    World& world_;
    const Pfn old_pfn_;
    Page& target_;
    u32 restored_ = 0;
};

} // namespace

// The walk meets parents before their children. An entry that fork has copied behind its back changes the page's generation: then it
// begins anew.
void Migration::put_entries_back(Page& target) {
    // The address of an anonymous page may change in mremap, which knows the old page by the entry; a scheme that keeps the entries
    // has given them to the new one.
    Page& found_by = is_anon_ && !world_.scheme().traits.tracks_entries ? old_ : target;
    for (bool again = true; again; objr_cond_resched()) {
        const u32 before = old_.generation();
        Restorer restorer(world_, old_, target);
        WalkCost cost;
        rmap_visit_candidates(world_, found_by, {}, restorer, cost);
        again = Page::changes(before, old_.generation()) != (&target == &old_ ? restorer.restored() : 0);
    }
}

// ---- steps

Migration::~Migration() { undo(); }

static Result<Page*> allocate_outside(Pool& pool, const Avoid& avoid) {
    if (avoid.first > avoid.last) {
        return pool.allocate_locked();
    }
    if (avoid.first != 0) {
        if (Result<Page*> page = pool.allocate_locked_in(0, avoid.first - 1)) {
            return page;
        }
    }
    return avoid.last != ~0u ? pool.allocate_locked_in(avoid.last + 1, ~0u) : Result<Page*>(Errno{OBJR_ENOBUFS});
}

Status Migration::start(const Avoid& avoid) {
    OBJR_WARN_ON(!old_.locked());
    is_anon_ = old_.mapping().is_anon();
    if ((!is_anon_ && !old_.mapping().is_file()) || old_.has(PageFlag::poisoned)) {
        return Errno{OBJR_ENOENT};
    }
    if (is_anon_ && !old_.mapped() && !SwapSpace::cached(old_)) {
        return Errno{OBJR_ENOENT}; // its last mapping has gone; who looks at it is the last to have it
    }
    fresh_ = OBJR_TRY(allocate_outside(world_.pool, avoid));
    return {};
}

Status Migration::unmap() {
    constexpr u32 kAttempts = 100; // fork may be faster for a while
    if (is_anon_ && old_.mapped()) {
        world_.scheme().hold(old_);
        held_ = true;
    }
    unmapped_ = true;
    for (u32 attempt = 0; old_.mapped(); attempt++) {
        WalkCost cost;
        const UnmapResult result = try_to_unmap(world_, old_, UnmapMode::migrate, cost);
        taken_ += result.taken;
        if (result.why == Refusal::pinned) {
            return Errno{OBJR_EBUSY};
        }
        if (old_.mapped() && attempt == kAttempts) {
            return Errno{OBJR_EAGAIN};
        }
        objr_cond_resched();
    }
    return {};
}

void Migration::undo() {
    if (unmapped_) {
        unmapped_ = false;
        put_entries_back(old_);
        let_object_go();
        world_.swap.settle_locked(old_);
    }
    if (fresh_) {
        fresh_->unlock();
        world_.pool.put(*fresh_);
        fresh_ = nullptr;
    }
}

void Migration::let_object_go() {
    if (held_) {
        world_.scheme().release(old_);
        held_ = false;
    }
}

// Page cache and swap cache say the new page from now on; who has found the old one waits for its lock, and looks again.
void Migration::take_object_over() {
    Page& fresh = *fresh_;
    for (PageFlag flag : {PageFlag::dirty, PageFlag::referenced, PageFlag::uptodate}) {
        if (old_.has(flag)) {
            fresh.set(flag);
        }
    }
    if (old_.has(PageFlag::active)) {
        world_.pool.activate(fresh);
    }
    world_.scheme().transfer(world_, old_, fresh);
    if (FileMapping* file = old_.mapping().file_mapping()) {
        file->replace_page_locked(old_, fresh);
    } else if (SwapSpace::cached(old_)) {
        world_.swap.replace_locked(old_, fresh);
    }
    old_.clear(PageFlag::dirty);
}

Page& Migration::settle() {
    world_.zap_grace.wait(); // entries that others have taken: until then it may be written to
    objr_copy_page(world_.pool.address(*fresh_), world_.pool.address(old_));
    take_object_over();
    put_entries_back(*fresh_);
    unmapped_ = false;
    let_object_go();
    world_.counters.add(Count::migrations);
    Page& fresh = *fresh_;
    world_.swap.settle_locked(fresh);
    fresh_ = nullptr;
    return fresh;
}

Result<Page*> migrate_page(World& world, Page& page, const Avoid& avoid, u32* taken) {
    Migration migration(world, page);
    OBJR_TRY_STATUS(migration.start(avoid));
    OBJR_TRY_STATUS(migration.unmap());
    if (taken) {
        *taken = migration.taken();
    }
    return &migration.settle();
}

} // namespace objr
