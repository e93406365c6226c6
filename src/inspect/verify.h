// SPDX-License-Identifier: GPL-2.0
// verify.h: the full check of a World, forward (page tables -> pages) against reverse (pages -> page tables).
//
// Checked, by the numbers of the headers that state them:
//   page.h V1-V8 · page_table.h T1, T2 · mm.h M1, M2 · vma.h A1-A5 · anon_vma.h N1, N3 · file_mapping.h F1-F3, F5
//   swap.h W1-W5
//   lists, red-black and priority search trees by their own check(): "tree"
//   S1 every counter of the World, and those of each Mm and file, say what there is
//   X1 a present entry of a process's own tables repeats a present entry of the module's, with the same frame
//   X2 one that is writable there is writable and dirty here, so that no write is missed
//
// The scratch is one Tally for each page: how many entries map it, and a sum of hashes of (mm, address) over them. The
// reverse walk of the page must come to the same two numbers; that the sums agree by chance for different sets is one in 2^64.
//
// Locking: quiesce is held for write, which stands for every lock below it: nothing that the reverse map is made of
// changes. Page and rmap locks are taken by the walk as always. Still going on: Mms without Vmas come and go, files are opened
// and closed (under registry), pages that nobody maps lose their last reference.
#pragma once

#include "objrmap/inspect.h"

namespace objr {

struct Tally {
    u64 hashes = 0;
    u32 count = 0;
    u32 private_writable : 1 = 0; // one of these lets a copy-on-write Vma write
    u32 shared_dirty : 1 = 0; // one of these is writable or dirty, in a shared Vma
    u32 locked : 30 = 0; // of these, entries of locked Vmas

    void add(u32 mm_id, Vaddr address) {
        u64 mixed = (address.value ^ (static_cast<u64>(mm_id) << 1)) * 0x9e3779b97f4a7c15ull;
        mixed = (mixed ^ (mixed >> 29)) * 0xbf58476d1ce4e5b9ull;
        hashes += mixed ^ (mixed >> 32);
        count++;
    }
    bool same_entries(const Tally& other) const { return hashes == other.hashes && count == other.count; }
};
static_assert(sizeof(Tally) == 16, "the price of a check, for each page of the pool");

class Verifier : Pinned {
public:
    Verifier(World& world, Tally* tallies, u32* swap_counts, objr_out* out)
        : world_(world), tallies_(tallies), swap_counts_(swap_counts), out_(out) {}

    // The first counterexample is printed; false: there was one. quiesce is held for write.
    bool run();
    u64 mappings() const { return mappings_; }
    u64 skipped() const { return skipped_; } // Vmas whose process was busy with its own

private:
    // verify_tables.cpp: forward
    bool check_mms();
    bool check_vmas(Mm& mm);
    bool check_vma(const Mm& mm, const Vma& vma, const Vma* before);
    bool check_tables(Mm& mm);
    bool check_table(Mm& mm, const u64* entries, u32 level, Vaddr base);
    bool check_upper(const Mm& mm, Vaddr address, u32 level, u64 entry);
    bool check_entry(const Mm& mm, const Vma* vma, Vaddr address, Pte pte);
    bool check_poison_entry(const Mm& mm, const Vma& vma, Vaddr address, Pte pte);
    bool check_place(const Mm& mm, const Vma& vma, Vaddr address, const Page& page);
    bool check_rights(const Mm& mm, const Vma& vma, Vaddr address, Pte pte);
    bool check_process(Mm& mm, const Vma& vma);

    // verify_pages.cpp: reverse
    bool check_pages();
    bool check_free(Page& page);
    bool check_used(Page& page);
    bool check_file_page(Page& page);
    bool check_dirty(const Page& page);
    bool check_reverse(Page& page);
    bool report_unfound(Page& page, const Tally& found);

    // verify_swap.cpp
    bool check_swap_entry(const Mm& mm, const Vma& vma, Vaddr address, Pte pte);
    bool check_slot(u64 offset);
    bool check_cached_page(Page& page);
    bool check_swap();

    // verify_objects.cpp
    bool check_files();
    bool check_file(FileMapping& file);
    bool check_anon_vmas();
    bool check_anon_vma(AnonVma& anon_vma);
    bool check_chain(const Vma& vma);
    bool check_scheme();
    bool check_counters();
    bool check_counter(const char* name, Count which, u64 truth);
    bool check_free_lists();

    World& world_;
    Tally* const tallies_; // one for each page
    u32* const swap_counts_; // one for each slot: swap PTEs, and objects, that name it; nullptr: there is no swap
    objr_out* const out_;

    // what was found
    u64 mappings_ = 0;
    u64 vmas_ = 0;
    u64 vmas_with_file_ = 0;
    u64 vmas_with_anon_ = 0; // with an anon_vma of their own
    u64 anon_chains_ = 0;
    u64 anon_links_ = 0; // places of Vmas in anon_vmas
    u64 anon_vmas_ = 0;
    u64 free_pages_ = 0;
    u64 poisoned_pages_ = 0;
    u64 anon_pages_ = 0; // mapped ones
    u64 file_pages_ = 0;
    u64 dirty_pages_ = 0;
    u64 mapped_pages_ = 0;
    u64 swapped_pages_ = 0;
    u64 kept_slots_ = 0;
    u64 swapcache_pages_ = 0;
    u64 locked_pages_ = 0;
    u64 skipped_ = 0;
    u64 live_ = 0; // entries of the leaf being looked at
    const PageTable* leaf_ = nullptr;
};

// In a Verifier: print a counterexample. Evaluates to false.
#define OBJR_BAD(...) (objr_out_printf(out_, "bad " __VA_ARGS__), objr_out_printf(out_, "\n"), false)

} // namespace objr
