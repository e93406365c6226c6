// SPDX-License-Identifier: GPL-2.0
// The reverse map as the rest of the core uses it: counting mappings in and out, walking from a page to its PTEs
// (Linux: mm/rmap.c:page_add_*_rmap, page_remove_rmap, rmap_walk; mm/page_vma_mapped.c).
#pragma once

#include "objrmap/page_table.h"
#include "objrmap/scheme.h"

namespace objr {

// ---- counting. The caller holds the lock of the table whose entry it sets or clears, and owns the page reference that goes
// with the mapping.
void rmap_add_new_anon(World& world, Page& page, Vma& vma, Vaddr address); // the first mapping of a new page
void rmap_add_file(World& world, Page& page);
void rmap_duplicate(World& world, Page& page); // one more of a mapped page (fork)
void rmap_remove(World& world, Page& page);
// Before an entry goes: its dirty bit moves to the page (spec C11).
void rmap_note_dirty(Page& page, Pte pte);

// ---- walking
// One mapping of the page: a present PTE, its table locked.
struct Mapping {
    Vma& vma;
    Vaddr address;
    PageTable& table;
    Pte pte;
};

class MappingVisitor {
public:
    virtual Visit mapping(const Mapping& mapping) = 0;

protected:
    ~MappingVisitor() = default;
};

// Visit the mappings of page, until the visitor stops, or as many as the page had at the beginning were found when
// early_stop (spec C8: counts PTEs found, whatever the visitor thinks of them). The page is referenced and locked. Sleeps.
enum class EarlyStop { no, yes };
void rmap_walk(World& world, Page& page, EarlyStop early_stop, MappingVisitor& visitor, WalkCost& cost);

// With a lambda: Visit(const Mapping&).
template <class F>
void rmap_walk(World& world, Page& page, EarlyStop early_stop, WalkCost& cost, F&& visit) {
    struct Adapter final : MappingVisitor {
        explicit Adapter(F& f) : visit_(f) {}
        Visit mapping(const Mapping& m) override { return visit_(m); }
        F& visit_;
    } adapter(visit);
    rmap_walk(world, page, early_stop, adapter, cost);
}

// Make the page clean and read-only in every shared mapping, with the translations gone; its dirty state is in PageFlag::dirty
// afterwards (spec C15, M12). Returns how many PTEs were changed. The page is referenced and locked.
u32 page_mkclean(World& world, Page& page);

} // namespace objr
