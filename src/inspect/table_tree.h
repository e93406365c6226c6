// SPDX-License-Identifier: GPL-2.0
// table_tree.h: page tables as a processor sees them: from the root down by the physical addresses in the entries, past the
// module's own look-up, so that one can be checked against the other.
//
// Locking: Mm::lock is held, or quiesce for write: tables may be added meanwhile (faults), but none goes.
#pragma once

#include "objrmap/page_table.h"

namespace objr {

inline u32 table_shift(u32 level) { return kPageShift + 9 * (level - 1); } // log2 of what one entry maps
inline const u64* table_below(u64 entry) {
    return reinterpret_cast<const u64*>((entry & Pte::kPfnMask) + objr_direct_map_base);
}

// Visit a table and all below it, in order of addresses: on_table(entries, level, base) for each table before its
// entries, on_upper(address, level, entry) before the table below is looked at, on_leaf(address, pte) for entries that are
// not empty. All return whether to go on. False: one did not.
template <class OnTable, class OnUpper, class OnLeaf>
bool scan_tables(const u64* entries, u32 level, u64 base, OnTable& on_table, OnUpper& on_upper, OnLeaf& on_leaf) {
    if (!on_table(entries, level, Vaddr(base))) {
        return false;
    }
    for (u32 i = 0; i < PageTable::kEntries; i++) {
        const u64 entry = __atomic_load_n(&entries[i], __ATOMIC_ACQUIRE);
        const u64 address = base + (static_cast<u64>(i) << table_shift(level));
        if (entry == 0) {
            continue;
        }
        if (level == 1) {
            if (!on_leaf(Vaddr(address), Pte(entry))) {
                return false;
            }
        } else if (!on_upper(Vaddr(address), level, entry) ||
                   !scan_tables(table_below(entry), level - 1, address, on_table, on_upper, on_leaf)) {
            return false;
        }
    }
    return true;
}

// Tables of one Mm, its root included.
u64 count_tables(const PageTables& tables);

} // namespace objr
