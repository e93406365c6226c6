// SPDX-License-Identifier: GPL-2.0
// rebuild.h: what a scheme is built from when it is switched to: a forward scan of all page tables.
//
// Steps of a switch, quiesce held for write all the while (nothing else runs):
//   1 scan: Vmas of one line of forks are of one family, which only they themselves can tell; so are Vmas that share an anonymous
//     page or a swap entry, by every entry of every table (union-find through Vma::family). The Vma with the least id stands for a
//     family: the ancestor of the others where that lives.
//   2 the new scheme gets all the memory it will need; if there is not enough it is given back, and nothing has changed.
//   3 the old scheme is taken down, the file indexes change their kind, the new scheme is built: none of it can fail.
// No entry, no A or D bit and no datum changes (spec U1).
//
// Ownership: a Rebuild lives for the time of the switch; its tables and what was reserved and not taken belong to it.
// Locking: quiesce for write stands for every lock below it. Mms without Vmas may come and go.
#pragma once

#include "objrmap/anon_vma.h"
#include "objrmap/text.h"
#include "objrmap/world.h"

namespace objr {

// f(Mm&) for each Mm.
template <class F>
void each_mm(World& world, F&& f) {
    for (u64 id = 0; Mm* mm = world.get_mm_from(id); id++) {
        f(*mm);
        mm->put();
        objr_cond_resched();
    }
}

// f(Vma&) for each Vma. f may unlink it from the reverse map, not from its Mm.
template <class F>
void each_vma(World& world, F&& f) {
    each_mm(world, [&f](Mm& mm) {
        for (Vma* vma = mm.first_from(Vaddr(0)); vma; vma = mm.next(*vma)) {
            f(*vma);
        }
    });
}

// f(Vma&, EntryPlace, Pte) for each entry that is not empty.
template <class F>
void each_entry(World& world, F&& f) {
    each_vma(world, [&f](Vma& vma) {
        const PageTables& tables = vma.mm->tables();
        for (auto part = tables.first_part(vma.start, vma.end); part.table;
             part = tables.first_part(part.end, vma.end)) {
            for (Vaddr at = part.start; at < part.end; at += kPageSize) {
                if (const Pte pte = part.table->get(at); !pte.is_none()) {
                    f(vma, EntryPlace{*part.table, at}, pte);
                }
            }
            objr_cond_resched();
        }
    });
}

class Rebuild : Pinned {
public:
    explicit Rebuild(World& world) : world_(world) { by_family_.init(); }
    ~Rebuild();

    Status scan(); // step 1. ENOMEM

    // f(Vma&) for each Vma that may have an anonymous page or a swap entry.
    template <class F>
    void each_anon_vma_owner(F&& f) {
        each_vma(world_, [&f](Vma& vma) {
            if (vma.family) {
                f(vma);
            }
        });
    }
    // f(Page&, Vma&, Vaddr) for each mapping of an anonymous page.
    template <class F>
    void each_anon_page(F&& f) {
        each_entry(world_, [&](Vma& vma, EntryPlace place, Pte pte) {
            Page* page = pte.is_present() ? world_.pool.page_of(pte.pfn()) : nullptr;
            if (page && page->mapping().is_anon()) {
                f(*page, vma, place.address);
            }
        });
    }
    // The Vma that stands for the family of an owner.
    static Vma& family_of(Vma& vma);

    // AnonVmas got before they are needed.
    Status reserve_anon_vma(); // ENOMEM
    AnonVma* take_anon_vma(); // there is one
    List<AnonVmaChain, &AnonVmaChain::same_vma> avcs; // of chain
    void* scheme_data = nullptr; // of the scheme that prepares

    Words& reason() { return reason_.words; } // why the scheme refuses (EBUSY)

private:
    Status unite_relatives();
    static void unite(Vma& a, Vma& b);
    static void meet(Vma*& seen, Vma& vma);

    World& world_;
    Table<Vma> by_family_; // by family_id: a Vma of that line
    Vma** first_of_page_ = nullptr; // by page number: a Vma that maps it
    Vma** first_of_slot_ = nullptr; // by swap offset: a Vma that has the entry
    AnonVma* reserved_ = nullptr; // linked through `parent`
    WordsOf<120> reason_;
};

} // namespace objr
