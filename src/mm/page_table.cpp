// SPDX-License-Identifier: GPL-2.0
#include "objrmap/page_table.h"

namespace objr {

static constexpr u64 kUpperBits = Pte::kPresent | Pte::kWrite | Pte::kUser;

// ---- one table

void PageTable::set(Vaddr address, Pte pte) {
    const Pte old = get(address);
    write_once(entries[slot(address)], pte.word());
    live += (old.is_none() ? 1 : 0) - (pte.is_none() ? 1 : 0);
}

Pte PageTable::exchange(Vaddr address, Pte pte) {
    const Pte old(__atomic_exchange_n(&entries[slot(address)], pte.word(), __ATOMIC_SEQ_CST));
    live += (old.is_none() ? 1 : 0) - (pte.is_none() ? 1 : 0);
    return old;
}

Pte PageTable::take_bits(Vaddr address, u64 bits) {
    return Pte(__atomic_fetch_and(&entries[slot(address)], ~bits, __ATOMIC_SEQ_CST));
}

Result<PageTable*> PageTables::allocate(Vaddr base, u32 level) {
    PageTable* table = OBJR_TRY(cache_->make());
    table->entries = static_cast<u64*>(objr_table_alloc(level == levels_, table));
    if (!table->entries) {
        cache_->free(table);
        return Errno{OBJR_ENOMEM};
    }
    table->lock.init(OBJR_LOCK_TABLE);
    table->mm = mm_;
    table->base = base;
    table->level = level;
    table->live = 0;
    counters_->add(Count::table_pages);
    return table;
}

void PageTables::free(PageTable* table) {
    OBJR_WARN_ON(table->level == 1 && table->live != 0);
    objr_table_free(table->entries, table->level == levels_);
    cache_->free(table);
    counters_->sub(Count::table_pages);
}

// ---- the tree

Status PageTables::create(Cache<PageTable>& cache, Counters& counters, Mm& mm, u32 levels) {
    cache_ = &cache;
    counters_ = &counters;
    mm_ = &mm;
    levels_ = levels;
    upper_lock_.init(OBJR_LOCK_UPPER_TABLE);
    root_ = OBJR_TRY(allocate(Vaddr(0), levels));
    return {};
}

void PageTables::destroy() {
    if (!root_) {
        return;
    }
    for (u32 i = 0; i < PageTable::kEntries; i++) {
        OBJR_WARN_ON(read_once(root_->entries[i]) != 0);
    }
    free(root_);
    root_ = nullptr;
}

PageTable* PageTables::child(const PageTable& table, u32 slot) const {
    u64 entry = __atomic_load_n(&table.entries[slot], __ATOMIC_ACQUIRE);
    if (entry == 0) {
        return nullptr;
    }
    const void* below = reinterpret_cast<const void*>((entry & Pte::kPfnMask) + objr_direct_map_base);
    return static_cast<PageTable*>(objr_table_descriptor(below));
}

PageTable* PageTables::leaf(Vaddr address, u64* levels_read) const {
    PageTable* table = root_;
    u64 read = 1;
    while (table && table->level > 1) {
        table = child(*table, (address.value >> shift(table->level)) & (PageTable::kEntries - 1));
        read += table ? 1 : 0;
    }
    if (levels_read) {
        *levels_read += read;
    }
    return table;
}

Result<PageTable*> PageTables::make_leaf(Vaddr address) {
    PageTable* table = root_;
    while (table->level > 1) {
        u32 slot = (address.value >> shift(table->level)) & (PageTable::kEntries - 1);
        if (!child(*table, slot)) {
            Vaddr base(address.value & ~((1ull << shift(table->level)) - 1));
            PageTable* fresh = OBJR_TRY(allocate(base, table->level - 1));
            bool installed = false;
            {
                Guard guard(upper_lock_);
                if (read_once(table->entries[slot]) == 0) {
                    u64 entry = (reinterpret_cast<u64>(fresh->entries) - objr_direct_map_base) | kUpperBits;
                    __atomic_store_n(&table->entries[slot], entry, __ATOMIC_RELEASE);
                    installed = true;
                }
            }
            if (!installed) { // another fault was faster
                free(fresh);
            }
        }
        table = child(*table, slot);
    }
    return table;
}

PageTable* PageTables::next_leaf(Vaddr address, Vaddr end) const {
    while (address < end) {
        PageTable* table = root_;
        while (table->level > 1) {
            u32 level = table->level;
            PageTable* below = child(*table, (address.value >> shift(level)) & (PageTable::kEntries - 1));
            if (!below) {
                address = Vaddr(((address.value >> shift(level)) + 1) << shift(level));
                break;
            }
            table = below;
        }
        if (table->level == 1) {
            return table;
        }
    }
    return nullptr;
}

void PageTables::free_range(Vaddr start, Vaddr end, Vaddr floor, Vaddr ceiling) {
    free_below(*root_, start, end, floor, ceiling);
}

void PageTables::free_below(PageTable& table, Vaddr start, Vaddr end, Vaddr floor, Vaddr ceiling) {
    u64 span = 1ull << shift(table.level); // of one entry
    u64 first = max(start.value, table.base.value) & ~(span - 1);
    u64 table_end = table.base.value + span * PageTable::kEntries;
    for (u64 base = first; base < min(end.value, table_end); base += span) {
        u32 slot = (base >> shift(table.level)) & (PageTable::kEntries - 1);
        PageTable* below = child(table, slot);
        if (!below) {
            continue;
        }
        if (below->level > 1) {
            free_below(*below, start, end, floor, ceiling);
        }
        if (floor.value <= base && base + span <= ceiling.value) {
            write_once(table.entries[slot], 0ull);
            free(below);
        }
    }
}

} // namespace objr
