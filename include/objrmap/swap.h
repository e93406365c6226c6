// SPDX-License-Identifier: GPL-2.0
// SwapSpace: the slots that swap entries name, and the swap cache: the pages that are in a slot and in memory (Linux:
// mm/swapfile.c, mm/swap_state.c).
//
// Terms: the count of a slot is the number of swap PTEs that name it; the place of a swapped out page in its object's table counts as
// one (file_mapping.h F6). A page is cached, in the swap cache, when its slot points to it; it says so by PageFlag::swapcache and has
// its entry in private_word.
//
// States of a slot:   free -> (add_to_cache_locked) cached, count 0 -> (duplicate) cached, count n -> (write_locked) cached and
//   stored -> (remove_from_cache_locked) stored -> (read_locked) cached and stored -> (release of the last) cached, count 0 ->
//   (settle_locked) free, or (keep_locked) kept -> (duplicate) cached, count n and stored, or (give_up_locked) free.
//   Kept is the slot of a page that its users have back and have not written to since: should it leave memory again it needs not be
//   written. That lasts until one of them writes, the page goes, or the slot is wanted: kept slots are counted apart from those in
//   use, and are given up, wherever they are, before swap is said to be full.
//   A cached page is newer than what is stored, or equal; it is what counts.
//   While its contents are on their way to a file (begin_write_locked to end_write) a slot is not stored, and if its last entry goes
//   meanwhile it is ending: it has neither page nor entries and is not given out before end_write.
//
// Slots are given out in rising order and round again (slot_map.h): pages that leave memory one after the other are neighbours, and
// are read together.
//
// What is stored has a checksum of the page, whatever the store makes of it. What does not agree with it, or cannot be read, is not
// believed: the slot stays as it is and the reader gets EIO (spec U5).
//
// Invariants (numbers as in verify):
//   W1 slot.page == p <=> p has PageFlag::swapcache and the slot's entry; the cache has one reference of p.
//   W2 count == swap PTEs with this entry, over all page tables.
//   W3 a slot that is not free and has no cached page has count > 0, and is stored, or known to be lost (memory failure); or is ending.
//   W4 a cached page has count > 0, or is mapped and kept, whenever its page lock is free and no one has a reap() or settle() to do:
//      with the last swap PTE or the last mapping the page leaves the cache, so that one that is unmapped for good goes to the pool.
//   W5 a cached page is written by nobody through a private mapping. A kept one is clean and its slot is stored.
//
// Ownership: the World's. The cache owns one reference of each cached page.
// Locking: `lock_` guards slots and the maps of those that are free and kept. Membership in the cache changes under the page lock too: who holds that
// may believe what cached() says. Every caller but verify and write_slot is under quiesce for read.
// Errors: after an error nothing has changed.
#pragma once

#include "objrmap/counters.h"
#include "objrmap/lock.h"
#include "objrmap/page.h"
#include "objrmap/pool.h"
#include "objrmap/slot_map.h"
#include "objrmap/swap_store.h"

namespace objr {

class FrameReserve;

class SwapSpace : Pinned {
public:
    // No store: every add_to_cache_locked says ENOSPC. ENOMEM; EINVAL with a line in the log.
    Status create(Pool& pool, Counters& counters, const SwapConfig& config);
    // All slots should be free. Idempotent.
    void destroy();
    u64 slots() const { return slot_count_; }
    u64 used() const { return used_.load(); } // slots that are neither free nor kept
    u64 kept() const { return kept_.load(); } // who reads this first, and then used(), misses none
    bool has_room() const { return enabled() && used() < slots(); } // at this instant
    SwapStore::Usage usage() const; // of the store, and in bytes the tables here
    // Swap-off: from when this returns no slot is given out. Any context.
    void set_enabled(bool enabled);
    bool enabled() const { return enabled_.load(); }

    // ---- swap PTEs
    void duplicate(SwapEntry entry); // one more; any context, spin locks held
    // One less; any context. True: it was the last and a page is cached: the caller owes a reap(entry), once it holds no
    // spin lock, or remove_from_cache_locked if it has that page locked. Without a cached page the slot is free at once.
    [[nodiscard]] bool release(SwapEntry entry);
    // settle_locked for the cached page of this entry, if it has one. Sleeps: no page lock is held.
    void reap(SwapEntry entry);
    u32 count(SwapEntry entry) const; // any context
    // How many swap PTEs need this locked page.
    u32 count_of(const Page& page) const { return cached(page) ? count(entry_of(page)) : 0; }

    // ---- the swap cache
    // page: locked, anon or about to be, not cached. A slot of its own, with count 0. ENOSPC.
    Status add_to_cache_locked(Page& page);
    // The page is locked and cached. The caller has a reference of its own. Count 0: the slot is free after.
    void remove_from_cache_locked(Page& page);
    // Who has taken the last swap PTE or the last mapping away: the locked page leaves the cache if it is there for nobody (W4).
    void settle_locked(Page& page);
    // The same for a page that is referenced; it is unmapped already. Sleeps: no page lock is held.
    void settle(Page& page);
    // page: locked, cached, mapped, with count 0. True: the slot is kept. False: swap is half full, or off, or the store lacks what
    // the page has: the caller owes a settle_locked.
    [[nodiscard]] bool keep_locked(Page& page);
    // page: locked, about to be written by its only user. With count 0 it leaves the cache. True: it has.
    bool give_up_locked(Page& page);
    // Swap-off: no slot is kept any more. Sleeps: no page lock is held.
    void give_up_all();
    // Memory failure: the cached page is locked, and newer than what is stored. It leaves the cache; whoever has the entry gets
    // EHWPOISON for it. The count is not 0.
    void lose_locked(Page& page);
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
    // uptodate. No page lock is held. Sleeps. ENOENT: no such entry any more, look at the PTE again; ENOBUFS: no page; EIO;
    // EHWPOISON: lost.
    Result<Page*> read_locked(SwapEntry entry, FrameReserve& frames);
    // Its neighbours are read too while the pool has more free pages than that.
    void set_readahead_floor(u32 free_pages) { readahead_floor_.store(free_pages); }
    // Does the store lack what this locked, cached page has?
    bool must_write(const Page& page) const;
    // May write_locked be used, or must it be done in steps?
    bool writes_at_once() const { return !store_ || store_->writes_at_once(); }
    // The contents to the store; page locked and cached. Sleeps. ENOMEM, ENOSPC, EIO.
    Status write_locked(Page& page);

    // ---- contents, to a store whose writes wait for a filesystem: one at a time, under write_lock()
    struct Write {
        SwapEntry entry;
        u64 checksum;
    };
    Mutex& write_lock() { return write_lock_; }
    // page: locked, cached, must be written. Its contents go to the buffer. Its last entry may go at any moment: see States.
    Write begin_write_locked(Page& page);
    // The buffer to the store; under no other lock, quiesce neither. ENOSPC, EIO, ...
    Status write_slot(const Write& write);
    // What became of it. The page, if the slot still has one, is locked. A page that was not written is dirty.
    void end_write(const Write& write, Status written);

    struct Slot { // as it is now
        bool free;
        bool ending;
        bool stored;
        bool lost;
        bool kept;
        u32 count;
        Page* page;
    };
    Slot slot(u64 offset) const; // offset < slots()

private:
    enum class State : u8 { free, used, kept, ending }; // ending: nobody's; by one thread it is made free
    struct Cell {
        Page* page; // the cached one
        u64 checksum; // of what is stored
        u32 count;
        State state;
        bool stored;
        bool writing;
        bool lost; // its contents: used, without a page, not stored
    };
    static_assert(sizeof(Cell) == 24, "the price of a slot");

    Cell& cell(SwapEntry entry) const;
    bool end_locked(Cell& slot) OBJR_THREAD(requires_capability(lock_));
    void use_again_locked(Cell& slot) OBJR_THREAD(requires_capability(lock_));
    u64 take_slot(Page& page);
    Page* next_kept();
    bool give_up(u32 wanted);
    Status write_to_store(SwapEntry entry, const void* contents);
    void free_slot(SwapEntry entry);
    Status add_fresh_locked(Page& page, SwapEntry entry);
    Status fill(SwapEntry entry, Page& page);
    void read_ahead(SwapEntry entry);
    void read_neighbour(SwapEntry entry);
    void note_written(SwapEntry entry, Status written);

    Pool* pool_ = nullptr;
    Counters* counters_ = nullptr;
    SwapStore* store_ = nullptr; // immutable after create(); nullptr: no swap
    u64 slot_count_ = 0; // immutable after create()
    Atomic<u64> used_{0}; // written under lock_, as kept_ is
    Atomic<u64> kept_{0};
    Atomic<bool> enabled_{true};
    Atomic<u32> readahead_floor_{0};
    Atomic<bool> write_fails_{false}; // the last write did

    Mutex write_lock_;
    void* buffer_ OBJR_GUARDED_BY(write_lock_) = nullptr; // a page, for a store that does not write at once

    mutable SpinLock lock_;
    Cell* cells_ = nullptr; // the table is immutable, its cells guarded by lock_
    SlotMap free_ OBJR_GUARDED_BY(lock_);
    SlotMap kept_map_ OBJR_GUARDED_BY(lock_); // in it: slots that are kept
};

} // namespace objr
