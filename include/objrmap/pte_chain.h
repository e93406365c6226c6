// SPDX-License-Identifier: GPL-2.0
// PteChains: from a page to its page-table entries, under `pte_chain` (Linux 2.5: mm/rmap.c, struct pte_chain; LegoOS has the same).
//
// Terms. An *entry* is a PTE that names the page, present or migration; it is known by its place in memory. The *chain* of a page is
// all its entries. A *block* is one cache line of entries. The *head* is the word that each page of the pool has here.
//
// States of a head: none -> direct (one entry, in the word itself) -> blocks (spec H1) -> none, by removals; blocks -> direct only
// by collapse (H3). moved: the page has given its entries to another (migration).
//
// Invariants (as `check` and `verify` see them):
//   H1 all blocks but the first are full; the first has at least one entry; within a block the free places come first.
//   H2 an entry is in the chain of a page <=> the PTE there names the page; no entry is in a chain twice.
//   H3 a marked entry has been collected by the walk of the page that goes on now, or by the last one.
//
// Ownership: the World has the PteChains, which have the blocks in chains. A block comes from a MapReserve, or in a rebuild from
// what was got before, and goes back to the cache when its last entry goes.
// Locking: heads and blocks of a page: one of kLocks spin locks, by the page's number. A walk of a page holds its page lock, so there
// is one at a time. `moves`: shared, from the time entries are collected until they have been looked at; exclusive by who moves
// entries (mremap). What was collected is therefore still where it was when it is looked at, or gone (spec M11).
#pragma once

#include "objrmap/lock.h"
#include "objrmap/pool.h"
#include "objrmap/result.h"
#include "objrmap/scheme.h"
#include "objrmap/types.h"

namespace objr {

// One entry: the address of a PTE, a multiple of 8. Bit 0: the mark of a walk.
class ChainEntry {
public:
    constexpr ChainEntry() = default;
    static ChainEntry of(const EntryPlace& place);
    EntryPlace place() const; // by the descriptor of the table that it lies in (spec H2)
    u64 address() const { return word_ & ~kMark; } // of the PTE itself

    bool is_none() const { return word_ == 0; }
    bool marked() const { return (word_ & kMark) != 0; }
    ChainEntry with_mark() const { return ChainEntry(word_ | kMark); }
    ChainEntry without_mark() const { return ChainEntry(word_ & ~kMark); }
    bool same_place(ChainEntry other) const { return ((word_ ^ other.word_) & ~kMark) == 0; }
    // Another place, with the mark of this.
    ChainEntry moved_to(ChainEntry place) const { return ChainEntry(place.without_mark().word_ | (word_ & kMark)); }

private:
    friend class ChainHead;
    static constexpr u64 kMark = 1;
    constexpr explicit ChainEntry(u64 word) : word_(word) {}
    u64 word_ = 0;
};

// Some entries of a chain: a cache line.
struct alignas(64) ChainBlock {
    static constexpr u32 kEntries = 7;
    ChainBlock* next = nullptr;
    ChainEntry entries[kEntries];
};
static_assert(sizeof(ChainBlock) == 64 && ChainBlock::kEntries == (64 - sizeof(void*)) / sizeof(void*),
              "a block is a cache line (spec H1)");

// What a page has. Bits 0..2 tell: a ChainEntry (bit 0 its mark) with bit 1; a page number above bit 2; else the first block.
class ChainHead {
public:
    constexpr ChainHead() = default;
    static ChainHead direct(ChainEntry entry) { return ChainHead(entry.word_ | kDirect); }
    static ChainHead blocks(ChainBlock* first) { return ChainHead(reinterpret_cast<u64>(first)); }
    static ChainHead moved(u32 page) { return ChainHead((static_cast<u64>(page) << 3) | kMoved); }

    bool is_none() const { return word_ == 0; }
    bool is_direct() const { return (word_ & kDirect) != 0; }
    bool is_moved() const { return (word_ & kMoved) != 0; }
    ChainEntry entry() const { return is_direct() ? ChainEntry(word_ & ~kDirect) : ChainEntry(); }
    ChainBlock* first() const {
        return (word_ & (kDirect | kMoved)) == 0 ? reinterpret_cast<ChainBlock*>(word_) : nullptr;
    }
    u32 page() const { return static_cast<u32>(word_ >> 3); } // of moved

private:
    static constexpr u64 kDirect = 2;
    static constexpr u64 kMoved = 4;
    constexpr explicit ChainHead(u64 word) : word_(word) {}
    u64 word_ = 0;
};
static_assert(sizeof(ChainHead) == 8, "the price of a page of the pool");

class ChainWalk;

class PteChains : Pinned {
public:
    // The heads are the map words of the pool's sections; no other PteChains uses them. Sleeps. ENOMEM.
    static Result<PteChains*> create(Pool& pool);
    static void destroy(PteChains* chains); // no blocks are left; nullptr is fine
    static u64 bytes(u32 pages) { return sizeof(PteChains) + pages * sizeof(ChainHead); } // of one, without blocks

    RwSem moves;
    ChainBlock* spare = nullptr; // got for a rebuild, linked by next; quiesce for write

    // What to do where the page has given its entries away: go there, leave it at that (it has none), or forget it, since the page
    // begins anew.
    enum class Moved { follow, leave, forget };

    // ---- one chain. Under a table lock, but for those of a page that is locked.
    // take_block(): an empty block; called under the chain's lock if one is needed, which is when the second, the eighth, the
    // fifteenth ... entry comes. nullptr: the entry is not added.
    template <class F>
    void add(u32 page, ChainEntry entry, Moved moved, F&& take_block) {
        Locked chain(*this, page, moved);
        if (chain.needs_block()) {
            ChainBlock* block = take_block();
            if (!block) {
                return;
            }
            chain.push(*block);
        }
        chain.put(entry);
    }
    struct Removed {
        bool found;
        ChainBlock* emptied; // nobody needs it any more; nullptr: none
    };
    Removed remove(u32 page, ChainEntry entry);
    bool replace(u32 page, ChainEntry from, ChainEntry to); // false: there is no such entry
    // Both pages are locked; to has no entries.
    void move(u32 from, u32 to);
    // If one entry is left in a block it becomes direct; returns that block, nullptr: none. The page is locked.
    ChainBlock* collapse(u32 page);
    ChainBlock* take_all(u32 page); // its blocks, linked by next; the chain is empty after

    // ---- for a look
    ChainHead head(u32 page);
    u32 owner(u32 page); // who has its entries: itself, or the one it has given them to
    // f(ChainEntry) for each, under the chain's lock.
    template <class F>
    void each(u32 page, F&& f) {
        Locked chain(*this, page, Moved::leave);
        chain.each([&f](ChainEntry& entry) { f(entry); });
    }
    // nullptr: H1 holds, else how it does not. Adds the chain's blocks to *blocks.
    const char* check(u32 page, u64* blocks);

private:
    friend class ChainWalk;
    static constexpr u32 kLocks = 64;
    struct alignas(64) Bucket {
        SpinLock lock; // the heads with this number modulo kLocks, their blocks, and walks
        ChainWalk* walks = nullptr; // that go on now
    };

    // The chain of a page, with its lock held.
    class Locked : Pinned {
    public:
        Locked(PteChains& chains, u32 page, Moved moved);
        ~Locked();

        ChainHead& head() const { return *head_; }
        Bucket& bucket() const { return *bucket_; }
        bool needs_block() const;
        void push(ChainBlock& block); // becomes the first; holds the entry that was direct
        void put(ChainEntry entry); // there is room
        Removed remove(ChainEntry entry);
        ChainEntry* find(ChainEntry entry) const; // in a block; nullptr: not there
        template <class F>
        void each(F&& f) const {
            if (head().is_direct()) {
                ChainEntry entry = head().entry();
                f(entry);
                head() = ChainHead::direct(entry);
            }
            for (ChainBlock* block = head().first(); block; block = block->next) {
                for (ChainEntry& entry : block->entries) {
                    if (!entry.is_none()) {
                        f(entry);
                    }
                }
            }
        }

    private:
        Bucket* bucket_;
        ChainHead* head_;
    };

    explicit PteChains(Pool& pool) : pool_(pool) {}

    ChainHead& head_of(u32 page) { return reinterpret_cast<ChainHead&>(Pool::map_word(pool_.page(page))); }

    Pool& pool_;
    Bucket buckets_[kLocks];
};

// One walk of a page: each entry is collected once, whatever comes, goes and changes its place in the chain meanwhile. Entries that
// come behind its back are collected later; it is at its end when it finds none in one look at the whole chain.
//
// The caller holds the page lock, and `moves` from collect until it has looked at what was found; it lets go of the Mms after that.
class ChainWalk : Pinned {
public:
    ChainWalk(PteChains& chains, u32 page);
    ~ChainWalk();

    struct Found {
        Mm* mm; // referenced
        Vaddr address;
    };
    // Up to `room` more, which is not 0; returns how many, 0: it was all.
    u32 collect(Found* found, u32 room);

private:
    friend class PteChains;
    PteChains& chains_;
    const u32 page_;
    // Under the lock of the page's chain:
    ChainBlock* at_ = nullptr; // where to look on; nullptr: from the first
    ChainWalk* next_; // of PteChains::Bucket::walks
};

} // namespace objr
