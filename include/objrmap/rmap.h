// SPDX-License-Identifier: GPL-2.0
// The reverse map as the rest of the core uses it: what happens to Vmas, counting mappings in and out, walking from a page to its
// PTEs (Linux: mm/rmap.c:folio_add_*_rmap, folio_remove_rmap, rmap_walk; mm/page_vma_mapped.c).
#pragma once

#include "objrmap/page_table.h"
#include "objrmap/scheme.h"

namespace objr {

// ---- Vmas. Mm::lock is held for write, of both in fork.
void rmap_link(Vma& vma); // it is in its Mm's tree
Status rmap_fork(Vma& child, Vma& parent); // child is in nothing yet. Sleeps. ENOMEM: nothing has changed
void rmap_unlink(Vma& vma); // it has no entries any more
Status rmap_prepare_split(Vma& fresh, Vma& old); // before the change. Sleeps. ENOMEM

// As long as it lives, walks wait and the range of a linked Vma may be changed with all that goes with it: start, end, pgoff, its
// entries' places, the Vmas in Mm's tree. Holds i_mmap_lock, the locks of its anonymous objects and Mm::tree_lock.
class RangeChange : Pinned {
public:
    explicit RangeChange(Vma& vma);
    ~RangeChange();
    void split(Vma& fresh); // fresh has got a part of it
    void merged(Vma& gone); // it has got all of gone

private:
    Vma& vma_;
};

// ---- counting. The caller holds the lock of the table at place, whose entry it sets or clears, and owns the page reference that
// goes with the mapping. reserve: filled for one mapping more.
void rmap_map_anon(World& world, Page& page, Vma& vma, EntryPlace place, Exclusivity exclusivity, MapReserve& reserve);
void rmap_map_file(World& world, Page& page, EntryPlace place, MapReserve& reserve);
void rmap_duplicate(World& world, Page& page, EntryPlace place,
                    MapReserve& reserve); // one more of a mapped page (fork)
void rmap_unmap(World& world, Page& page, EntryPlace place);
// The only user writes: the page is its own from now on (spec M5). Page locked.
void rmap_claim(World& world, Page& page, Vma& vma);
// The present entry of a page that stays where it is, but as a migration entry: the mapping is not counted any more, its place is.
void rmap_unmap_for_migration(World& world, Page& page);
// The migration entry that was at place is present now and maps page, the same or the one that has taken its place. Page locked.
void rmap_map_after_migration(World& world, Page& page, Vma& vma, EntryPlace place, Pte migration);
// One migration entry more of page (fork); one that has gone.
void rmap_duplicate_migration(World& world, Page& page, EntryPlace place, MapReserve& reserve);
void rmap_drop_migration(World& world, Pte migration, EntryPlace place);
// A present entry has come that has Pte::kLocked; one is going, whether it has or not (page.h V7).
void rmap_mlock(World& world, Page& page);
void rmap_munlock(World& world, Page& page, Pte pte);
// Before an entry goes: its dirty bit moves to the page (spec C11).
void rmap_note_dirty(Page& page, Pte pte);
// An entry has gone from one place to another, both tables locked, within a change of vma (mremap).
void rmap_moved(World& world, Vma& vma, Pte pte, EntryPlace from, EntryPlace to);

// ---- pins (spec M10)
// The page that is mapped at address, for somebody who writes to its frame: it is faulted in for writing, becomes the process's
// own, and stays in this place until unpin_page. Anonymous memory only: EINVAL; else as Mm::fault. Sleeps.
Result<Page*> pin_page(Mm& mm, Vaddr address);
void unpin_page(World& world, Page& page);

// ---- walking
// One mapping of the page: a present PTE, its table locked.
struct Mapping {
    Vma& vma;
    Vaddr address;
    PageTable& table;
    Pte pte;

    EntryPlace place() const { return {table, address}; }
};

// What to do with a candidate Vma before its table is read.
enum class Look { read, skip, stop };

class MappingVisitor {
public:
    virtual Look candidate(const Vma&) { return Look::read; }
    virtual Visit mapping(const Mapping& mapping) = 0;

protected:
    ~MappingVisitor() = default;
};

// Stop when as many mappings were found as the page had at the beginning (spec C8: counts PTEs found, whatever the visitor thinks
// of them).
enum class EarlyStop { no, yes };
// Whether nonlinear Vmas are looked through (spec C13).
enum class Nonlinear { scan, skip };

struct WalkOptions {
    constexpr WalkOptions(EarlyStop stop = EarlyStop::no, Locking how = Locking::wait,
                          Nonlinear which = Nonlinear::scan)
        : early_stop(stop), locking(how), nonlinear(which) {}
    EarlyStop early_stop;
    Locking locking;
    Nonlinear nonlinear;
};

// Visit the mappings of page until the visitor stops. The page is referenced and locked. Sleeps.
void rmap_walk(World& world, Page& page, const WalkOptions& options, MappingVisitor& visitor, WalkCost& cost);

// With a lambda: Visit(const Mapping&).
template <class F>
void rmap_walk(World& world, Page& page, const WalkOptions& options, WalkCost& cost, F&& visit) {
    struct Adapter final : MappingVisitor {
        explicit Adapter(F& f) : visit_(f) {}
        Visit mapping(const Mapping& m) override { return visit_(m); }
        F& visit_;
    } adapter(visit);
    rmap_walk(world, page, options, adapter, cost);
}

// The candidates themselves, whether the page is mapped or not: for who looks for other than present entries of it, or explains.
void rmap_visit_candidates(World& world, Page& page, const WalkOptions& options, CandidateVisitor& visitor,
                           WalkCost& cost);

// Make the page clean and read-only in every shared mapping, with the translations gone; its dirty state is in PageFlag::dirty
// afterwards (spec C15, M12). Returns how many PTEs were changed. The page is referenced and locked.
u32 page_mkclean(World& world, Page& page);

// ---- the live switch (spec U1). Waits until nothing runs, and holds everything up. EBUSY: the scheme refuses, reason says why;
// ENOMEM. After an error everything is as it was.
class Words;
Status switch_scheme(World& world, Scheme& target, Words& reason);

} // namespace objr
