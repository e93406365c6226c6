// SPDX-License-Identifier: GPL-2.0
// PageTables: the x86-64 page-table tree of one address space, in the hardware's own format, so that a processor could
// run on it (Linux: mm/memory.c:__pte_alloc, free_pgtables).
//
// A tree has 4 or 5 levels of tables of 512 entries. Level 1 is the leaf. Each table page has a descriptor, PageTable,
// kept beside it by the kernel side.
//
// Invariants:
//   T1 an upper entry is 0 or the physical address of a table one level down, with P, RW, US.
//   T2 `live` of a leaf == number of its entries that are not 0.
//   T3 a table is freed only when no Vma covers any part of what it maps, and is empty then (spec P6).
//
// Locking: upper entries are installed once, under `upper_lock`, and read without a lock; they are removed under Mm::lock
// for write after the Vmas they serve have left the reverse map, so whoever holds a Vma still (Mm::lock, or the rmap lock
// through which it found it) may walk. Leaf entries: PageTable::lock; written with write_once (a processor may run on it).
#pragma once

#include "objrmap/counters.h"
#include "objrmap/memory.h"
#include "objrmap/pte.h"
#include "objrmap/result.h"

namespace objr {

class Mm;

struct PageTable : Pinned {
    static constexpr u32 kEntries = 512;

    SpinLock lock; // leaf entries and `live`
    u64* entries; // immutable; the table page
    Mm* mm; // immutable
    Vaddr base; // immutable; first address mapped
    u32 level; // immutable; 1 = leaf
    u32 live; // guarded by lock; only kept for leaves

    static u32 slot(Vaddr address) { return (address.value >> kPageShift) & (kEntries - 1); }
    Pte get(Vaddr address) const { return Pte(read_once(entries[slot(address)])); }
    // Replace the entry of address; the caller holds `lock`.
    void set(Vaddr address, Pte pte);
    // The same, and what it was at that instant: a processor may have set A and D since it was read.
    Pte exchange(Vaddr address, Pte pte);
    // Take bits from a present entry, leaving the others as a processor may set them meanwhile; what it was before.
    Pte take_bits(Vaddr address, u64 bits);
    // Give it bits, in the same manner.
    void set_bits(Vaddr address, u64 bits) { __atomic_fetch_or(&entries[slot(address)], bits, __ATOMIC_RELAXED); }
    Vaddr end() const { return base + kEntries * kPageSize; } // of a leaf
};

class PageTables : Pinned {
public:
    // levels: 4 or 5. The descriptors come from cache, the tables are counted in counters. ENOMEM.
    Status create(Cache<PageTable>& cache, Counters& counters, Mm& mm, u32 levels);
    // Everything must have been freed by free_range. Idempotent.
    void destroy();

    u32 levels() const { return levels_; }
    // First address that no user mapping may reach (half of the address space): 2^47 or 2^56.
    Vaddr address_end() const { return Vaddr(1ull << (kPageShift + 9 * levels_ - 1)); }
    const void* root() const { return root_ ? root_->entries : nullptr; }

    // The leaf table of address, or nullptr. Counts the tables looked at in *levels_read if given.
    PageTable* leaf(Vaddr address, u64* levels_read = nullptr) const;
    // The same, made if missing. Sleeps. ENOMEM: what was made on the way stays (empty tables go with the next free_range).
    Result<PageTable*> make_leaf(Vaddr address);
    // First leaf that maps something of [address, end), skipping holes by whole tables; nullptr: none.
    PageTable* next_leaf(Vaddr address, Vaddr end) const;
    // A range, leaf by leaf: for (auto part = first_part(start, end); part.table; part = first_part(part.end, end)).
    struct Part {
        PageTable* table; // nullptr: nothing is left
        Vaddr start; // the part of the range that this leaf maps
        Vaddr end;
    };
    Part first_part(Vaddr start, Vaddr end) const {
        PageTable* table = next_leaf(start, end);
        return table ? Part{table, max(start, table->base), min(end, table->end())} : Part{nullptr, end, end};
    }
    // Free the tables that map [start, end) and lie wholly within [floor, ceiling), the gap between the neighbouring Vmas.
    // Mm::lock for write.
    void free_range(Vaddr start, Vaddr end, Vaddr floor, Vaddr ceiling);

private:
    Result<PageTable*> allocate(Vaddr base, u32 level);
    void free(PageTable* table);
    void free_below(PageTable& table, Vaddr start, Vaddr end, Vaddr floor, Vaddr ceiling);
    PageTable* child(const PageTable& table, u32 slot) const;
    static u32 shift(u32 level) { return kPageShift + 9 * (level - 1); } // log2 of what one entry maps

    Cache<PageTable>* cache_ = nullptr;
    Counters* counters_ = nullptr;
    Mm* mm_ = nullptr;
    PageTable* root_ = nullptr;
    u32 levels_ = 0;
    SpinLock upper_lock_;
};

} // namespace objr
