// SPDX-License-Identifier: GPL-2.0
#include "objrmap/pte_chain.h"

#include <new>

#include "objrmap/mm.h"
#include "objrmap/page_table.h"

namespace objr {

// ---- entries

ChainEntry ChainEntry::of(const EntryPlace& place) {
    return ChainEntry(reinterpret_cast<u64>(&place.table.entries[PageTable::slot(place.address)]));
}

EntryPlace ChainEntry::place() const {
    const u64 at = address();
    auto* table = static_cast<PageTable*>(objr_table_descriptor(reinterpret_cast<const void*>(at & kPageMask)));
    return {*table, table->base + (((at & ~kPageMask) / sizeof(u64)) << kPageShift)};
}

// ---- creation and destruction

Result<PteChains*> PteChains::create(Pool& pool) {
    void* memory = objr_kvzalloc(sizeof(PteChains));
    if (!memory) {
        return Errno{OBJR_ENOMEM};
    }
    auto* chains = new (memory) PteChains(pool);
    for (u32 n = 0; n < pool.size(); n++) {
        chains->head_of(n) = ChainHead(); // also what said where a page went in another life of this scheme
    }
    chains->moves.init(OBJR_LOCK_ANON);
    for (Bucket& bucket : chains->buckets_) {
        bucket.lock.init(OBJR_LOCK_PTE_CHAIN);
    }
    return chains;
}

void PteChains::destroy(PteChains* chains) { objr_kvfree(chains); }

// ---- a locked chain

OBJR_THREAD(no_thread_safety_analysis) // which lock it is changes on the way
PteChains::Locked::Locked(PteChains& chains, u32 page, Moved moved) {
    for (;;) {
        OBJR_WARN_ON(page >= chains.pool_.size());
        bucket_ = &chains.buckets_[page % kLocks];
        head_ = &chains.head_of(page);
        bucket_->lock.lock();
        if (!head_->is_moved() || moved == Moved::leave) {
            return;
        }
        if (moved == Moved::forget) {
            *head_ = ChainHead();
            return;
        }
        page = head_->page();
        bucket_->lock.unlock();
    }
}

OBJR_THREAD(no_thread_safety_analysis)
PteChains::Locked::~Locked() { bucket_->lock.unlock(); }

bool PteChains::Locked::needs_block() const {
    const ChainBlock* first = head().first();
    return head().is_direct() || (first && !first->entries[0].is_none());
}

void PteChains::Locked::push(ChainBlock& block) {
    const ChainEntry direct = head().entry();
    block.next = head().first();
    head() = ChainHead::blocks(&block);
    if (!direct.is_none()) {
        put(direct);
    }
}

void PteChains::Locked::put(ChainEntry entry) {
    if (head().is_none()) {
        head() = ChainHead::direct(entry);
        return;
    }
    for (u32 i = ChainBlock::kEntries; i-- != 0;) { // from the end
        if (ChainEntry& place = head().first()->entries[i]; place.is_none()) {
            place = entry;
            return;
        }
    }
}

ChainEntry* PteChains::Locked::find(ChainEntry entry) const {
    for (ChainBlock* block = head().first(); block; block = block->next) {
        for (ChainEntry& place : block->entries) {
            if (!place.is_none() && place.same_place(entry)) {
                return &place;
            }
        }
    }
    return nullptr;
}

// The entry that came last fills the hole, with its mark.
PteChains::Removed PteChains::Locked::remove(ChainEntry entry) {
    if (head().is_direct() && head().entry().same_place(entry)) {
        head() = ChainHead();
        return {true, nullptr};
    }
    ChainEntry* hole = find(entry);
    if (!hole) {
        return {false, nullptr};
    }
    ChainBlock* first = head().first();
    u32 last = 0;
    while (first->entries[last].is_none()) {
        last++;
    }
    *hole = first->entries[last];
    first->entries[last] = ChainEntry();
    if (last != ChainBlock::kEntries - 1) {
        return {true, nullptr};
    }
    head() = ChainHead::blocks(first->next);
    for (ChainWalk* walk = bucket().walks; walk; walk = walk->next_) {
        if (walk->at_ == first) {
            walk->at_ = first->next;
        }
    }
    return {true, first};
}

// ---- one chain

PteChains::Removed PteChains::remove(u32 page, ChainEntry entry) {
    Locked chain(*this, page, Moved::follow);
    return chain.remove(entry);
}

bool PteChains::replace(u32 page, ChainEntry from, ChainEntry to) {
    Locked chain(*this, page, Moved::follow);
    if (const ChainEntry direct = chain.head().entry(); !direct.is_none() && direct.same_place(from)) {
        chain.head() = ChainHead::direct(direct.moved_to(to));
        return true;
    }
    ChainEntry* entry = chain.find(from);
    if (entry) {
        *entry = entry->moved_to(to);
    }
    return entry != nullptr;
}

// At once, for who clears one of the entries meanwhile: that is why both locks are held, in the order of their places.
OBJR_THREAD(no_thread_safety_analysis)
void PteChains::move(u32 from, u32 to) {
    Bucket* first = &buckets_[min(from % kLocks, to % kLocks)];
    Bucket* second = &buckets_[max(from % kLocks, to % kLocks)];
    first->lock.lock();
    if (second != first) {
        second->lock.lock_nested();
    }
    OBJR_WARN_ON(!head_of(to).is_none() && !head_of(to).is_moved());
    head_of(to) = head_of(from).is_moved() ? ChainHead() : head_of(from);
    head_of(from) = ChainHead::moved(to);
    if (second != first) {
        second->lock.unlock();
    }
    first->lock.unlock();
}

ChainBlock* PteChains::collapse(u32 page) {
    Locked chain(*this, page, Moved::follow);
    ChainBlock* first = chain.head().first();
    constexpr u32 kLast = ChainBlock::kEntries - 1;
    if (!first || first->next || !first->entries[kLast - 1].is_none()) {
        return nullptr;
    }
    chain.head() = ChainHead::direct(first->entries[kLast]);
    return first;
}

ChainBlock* PteChains::take_all(u32 page) {
    Locked chain(*this, page, Moved::forget);
    ChainBlock* first = chain.head().first();
    chain.head() = ChainHead();
    return first;
}

// ---- for a look

ChainHead PteChains::head(u32 page) {
    Locked chain(*this, page, Moved::leave);
    return chain.head();
}

u32 PteChains::owner(u32 page) {
    for (ChainHead at = head(page); at.is_moved(); at = head(page)) {
        page = at.page();
    }
    return page;
}

const char* PteChains::check(u32 page, u64* blocks) {
    Locked chain(*this, page, Moved::leave);
    const ChainBlock* first = chain.head().first();
    for (const ChainBlock* block = first; block; block = block->next) {
        (*blocks)++;
        u32 used = 0;
        for (const ChainEntry& entry : block->entries) {
            if (entry.is_none() && used != 0) {
                return "H1: a free place of a block is behind an entry";
            }
            used += entry.is_none() ? 0 : 1;
        }
        if (used == 0 || (used != ChainBlock::kEntries && block != first)) {
            return "H1: a block is empty, or one behind the first is not full";
        }
    }
    return nullptr;
}

// ---- walks

ChainWalk::ChainWalk(PteChains& chains, u32 page) : chains_(chains), page_(page) {
    PteChains::Locked chain(chains, page, PteChains::Moved::leave);
    chain.each([](ChainEntry& entry) { entry = entry.without_mark(); });
    next_ = chain.bucket().walks;
    chain.bucket().walks = this;
}

ChainWalk::~ChainWalk() {
    PteChains::Locked chain(chains_, page_, PteChains::Moved::leave);
    ChainWalk** link = &chain.bucket().walks;
    while (*link != this) {
        link = &(*link)->next_;
    }
    *link = next_;
}

// An entry is there, so its table is, and its Mm: who takes it away waits for the chain's lock.
u32 ChainWalk::collect(Found* found, u32 room) {
    PteChains::Locked chain(chains_, page_, PteChains::Moved::leave);
    u32 count = 0;
    auto take = [&](ChainEntry entry) {
        const EntryPlace place = entry.place();
        place.table.mm->get();
        found[count++] = {place.table.mm, place.address};
        return entry.with_mark();
    };
    if (const ChainEntry direct = chain.head().entry(); !direct.is_none() && !direct.marked()) {
        chain.head() = ChainHead::direct(take(direct));
    }
    for (bool all = false; !all && count == 0;) {
        all = !at_; // a look at the whole chain
        for (ChainBlock* block = at_ ? at_ : chain.head().first(); block; block = block->next) {
            for (ChainEntry& entry : block->entries) {
                if (entry.is_none() || entry.marked()) {
                    continue;
                }
                if (count == room) {
                    at_ = block;
                    return count;
                }
                entry = take(entry);
            }
        }
        at_ = nullptr;
    }
    return count;
}

} // namespace objr
