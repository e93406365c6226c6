// SPDX-License-Identifier: GPL-2.0
// SwapSpace: the slots that swap entries name, and the swap cache: the pages that are in a slot and in memory (Linux:
// mm/swapfile.c, mm/swap_state.c).
//
// Terms: the count of a slot is the number of swap PTEs that name it. A page is cached, in the swap cache, when its slot
// points to it; it says so by PageFlag::swapcache and has its entry in private_word.
//
// States of a slot:   free -> (add_to_cache_locked) cached, count 0 -> (duplicate) cached, count n -> (write_locked) cached and
//   stored -> (remove_from_cache_locked) stored -> (read_locked) cached and stored -> (release of the last) free.
//   A cached page is newer than what is stored, or equal; it is what counts.
//
// Invariants (numbers as in verify):
//   W1 slot.page == p <=> p has PageFlag::swapcache and the slot's entry; the cache has one reference of p.
//   W2 count == swap PTEs with this entry, over all page tables.
//   W3 a slot that is not free and has no cached page is stored, and count > 0: nothing is lost.
//   W4 a cached page has count > 0 whenever its page lock is free and no one has a reap() to do: with the last swap PTE the
//      page leaves the cache, so that a page that is unmapped for good goes back to the pool.
//   W5 a cached page whose count is > 0 is written by nobody: a mapping of it is not its only user.
//
// Ownership: the World's. The cache owns one reference of each cached page.
// Locking: `lock_` guards slots and free list. Membership in the cache changes under the page lock too: who holds that
// may believe what cached() says. Every caller but verify is under quiesce for read.
// Errors: after an error nothing has changed.
#pragma once

#include "objrmap/counters.h"
#include "objrmap/lock.h"
#include "objrmap/page.h"
#include "objrmap/pool.h"
#include "objrmap/swap_store.h"

namespace objr {

class FrameReserve;

class SwapSpace : Pinned {
public:
    static constexpr u64 kSlotsPerMb = 256;

    // mb: of slots; 0: no swap, every add_to_cache_locked says ENOSPC. ENOMEM.
    Status create(Pool& pool, Counters& counters, u32 mb);
    // All slots should be free. Idempotent.
    void destroy();
    u64 slots() const { return slot_count_; }
    u64 used() const { return used_.load(); } // slots that are not free
    u64 bytes() const { return slot_count_ * sizeof(Cell) + store_.bytes(); } // of kernel memory

    // ---- swap PTEs
    void duplicate(SwapEntry entry); // one more; any context, spin locks held
    // One less; any context. True: it was the last and a page is cached: the caller owes a reap(entry), once it holds no
    // spin lock, or remove_from_cache_locked if it has that page locked. Without a cached page the slot is free at once.
    [[nodiscard]] bool release(SwapEntry entry);
    // Take the cached page out of the cache if the count is still 0. Sleeps: no page lock is held.
    void reap(SwapEntry entry);
    u32 count(SwapEntry entry) const; // any context
    // How many swap PTEs need this locked page.
    u32 count_of(const Page& page) const { return cached(page) ? count(entry_of(page)) : 0; }

    // ---- the swap cache
    // page: locked, anon, not cached. A slot of its own, with count 0. ENOSPC.
    Status add_to_cache_locked(Page& page);
    // The page is locked and cached. The caller has a reference of its own. Count 0: the slot is free after.
    void remove_from_cache_locked(Page& page);
    // Migration: both are locked, old is cached, fresh has its contents and is from now on; the caller references both.
    void replace_locked(Page& old, Page& fresh);
    // The cached page, referenced, not locked; nullptr: none.
    Page* find_page(SwapEntry entry);
    // Is this locked page the cached one of entry?
    static bool cached(const Page& page, SwapEntry entry) { return cached(page) && entry_of(page) == entry; }
    static bool cached(const Page& page) { return page.has(PageFlag::swapcache); }
    static SwapEntry entry_of(const Page& page) { return SwapEntry::from_word(page.private_word); }

    // ---- contents
    // The page of this entry, from the cache or read into it (shared entries are read once, spec U5): referenced, locked,
    // uptodate. No page lock is held. Sleeps. ENOENT: no such entry any more, look at the PTE again; ENOBUFS: no page; EIO.
    Result<Page*> read_locked(SwapEntry entry, FrameReserve& frames);
    // The contents to the store; page locked and cached. Sleeps. ENOMEM.
    Status write_locked(Page& page);
    // Does the store lack what this locked, cached page has?
    bool must_write(const Page& page) const;

    struct Slot { // as it is now
        bool free;
        bool stored;
        u32 count;
        Page* page;
    };
    Slot slot(u64 offset) const; // offset < slots()

private:
    static constexpr u32 kNoSlot = ~0u;
    enum class State : u8 { free, used, freeing }; // freeing: by one thread, which has it to itself
    struct Cell {
        Page* page; // the cached one
        u32 count; // of a free slot: the number of the next free one
        State state;
        bool stored;
    };
    static_assert(sizeof(Cell) == 16, "the price of a slot");

    Cell& cell(SwapEntry entry) const;
    void free_slot(SwapEntry entry);
    Status add_fresh_locked(Page& page, SwapEntry entry);

    Pool* pool_ = nullptr;
    Counters* counters_ = nullptr;
    SwapStore store_;
    u64 slot_count_ = 0; // immutable after create()
    Atomic<u64> used_{0};

    mutable SpinLock lock_;
    Cell* cells_ = nullptr; // the table is immutable, its cells guarded by lock_
    u32 first_free_ OBJR_GUARDED_BY(lock_) = kNoSlot;
};

} // namespace objr
