// SPDX-License-Identifier: GPL-2.0
#include "table_tree.h"

namespace objr {

static u64 count_tables(const u64* entries, u32 level) {
    u64 count = 1;
    for (u32 i = 0; level > 1 && i < PageTable::kEntries; i++) {
        if (const u64 entry = __atomic_load_n(&entries[i], __ATOMIC_ACQUIRE); entry != 0) {
            count += level == 2 ? 1 : count_tables(table_below(entry), level - 1);
        }
    }
    return count;
}

u64 count_tables(const PageTables& tables) {
    return count_tables(static_cast<const u64*>(tables.root()), tables.levels());
}

} // namespace objr
