// SPDX-License-Identifier: GPL-2.0
// Page: the descriptor of one frame of the pool (Linux: struct page).
//
// States, by who owns the frame:
//   free        kFree set; on the pool's free list; refcount 0, mapcount -1, mapping none; its 4096 bytes are zero
//   new         allocated, refcount 1, locked by the thread that took it; who finds it by its number waits
//   anon        mapping = anon object | 1; index = pgoff in the Vmas that may map it
//   file        mapping = FileMapping; index = pgoff in the file; in that mapping's page cache, which holds a reference
//   poisoned    kPoisoned set: its memory has failed. On no list, never free again; mapping none, or the file in whose page cache it stays
//   unhooked    was a file page, truncated while somebody still held it: mapping none, goes when the last one lets go
//
// Invariants (numbers as in verify):
//   V1 mapcount + 1 == number of present PTEs with this pfn, over all page tables.
//   V2 every such PTE is found by the reverse map, and nothing else is.
//   V3 refcount >= mappings + (1 if in a page cache or the swap cache).
//   V4 free <=> refcount 0; a free page is zero, unmapped and has no mapping.
//   V5 `mapping` of an anon page is set when mapcount goes -1 -> 0 for the first time and stays until the page is free;
//      it is trusted only while the page is mapped (spec P2, C5).
//   V6 anon_exclusive => anonymous with at most one mapping, and no swap entry needs it (spec M10).
//   V8 a poisoned page is in no page table, has a reference of its own, and is not free.
//   V7 the page is mlocked as often as a present entry of it has Pte::kLocked, and an entry has that iff its Vma is locked.
//
// Pins: who writes to a page by its frame holds kPin references of it (rmap.h). It then stays where it is: only an exclusive page
// is pinned, fork copies it at once, unmapping gives it up.
//
// Locking: flags, mapcount, refcount are atomic. mapcount changes under the PTE's table lock. mapping and index: set by
// the one who owns the new page; of a file page cleared under its page lock. lru links: Pool::lock.
#pragma once

#include "objrmap/atomic.h"
#include "objrmap/types.h"

namespace objr {

struct AnonVma;
class FileMapping;

enum class PageFlag : unsigned long {
    locked = 1ul << 0, // the page lock
    dirty = 1ul << 1, // newer than its file or what is in its swap slot
    referenced = 1ul << 2,
    uptodate = 1ul << 3, // a file page, or one read from swap: has been filled
    swapcache = 1ul << 4,
    unevictable = 1ul << 5, // on that list: a scan has found it in a locked Vma
    lru = 1ul << 6,
    active = 1ul << 7,
    anon_exclusive = 1ul << 8,
    free = 1ul << 9,
    counted = 1ul << 10, // anonmm: the object that it names counts it
    held = 1ul << 11, // anonmm: and has a reference for it (Scheme::hold)
    readahead = 1ul << 13, // read from swap before anybody asked for it, and nobody has yet
    poisoned = 1ul << 14, // memory failure: never used again
    maybe_dirty = 1ul << 12, // of a real file: dirty, or writable in some page table (file_mapping.h F5)
    // Not a bit: how many locked Vmas map the page (Page::lock_mapping); never set or cleared by hand.
    mlocked = 0xfffffful << 16,
};

// Page::mapping: one word, two types (spec P2): low bit set = AnonVma, clear = FileMapping, zero = none.
class MappingWord {
public:
    constexpr MappingWord() = default;
    // nullptr: an anonymous page that has no object (yet, any more, or under pte_chain)
    static MappingWord anon(const void* object) { return MappingWord(reinterpret_cast<u64>(object) | kAnonBit); }
    static MappingWord file(FileMapping* object) { return MappingWord(reinterpret_cast<u64>(object)); }

    bool is_none() const { return word_ == 0; }
    bool is_anon() const { return (word_ & kAnonBit) != 0; }
    bool is_file() const { return word_ != 0 && !is_anon(); }
    AnonVma* anon_vma() const { return anon_object<AnonVma>(); }
    // The object of an anonymous page, of whatever type the scheme has; nullptr: none.
    template <class T>
    T* anon_object() const {
        return is_anon() ? reinterpret_cast<T*>(word_ & ~kAnonBit) : nullptr;
    }
    FileMapping* file_mapping() const { return is_file() ? reinterpret_cast<FileMapping*>(word_) : nullptr; }
    friend bool operator==(MappingWord, MappingWord) = default;

private:
    friend struct Page;
    static constexpr u64 kAnonBit = 1;
    constexpr explicit MappingWord(u64 word) : word_(word) {}
    u64 word_ = 0;
};

struct Page : Pinned {
    static constexpr u32 kNoLink = ~0u;

    // ---- what it belongs to
    MappingWord mapping() const { return MappingWord(mapping_.load_acquire()); }
    void set_mapping(MappingWord word) { mapping_.store_release(word.word_); }

    // Pages; set before mapping. Of a file page immutable while mapping is set; of an anon page rewritten under anonmm, see there: who
    // does not hold what it says there uses read_once.
    u64 index = 0;

    // ---- flags, the number of locked mappings, and the generation of the set of mappings: 16, 24 and 24 bits of one word
    bool has(PageFlag flag) const { return (flags_.load() & static_cast<unsigned long>(flag)) != 0; }
    bool set(PageFlag flag) {
        return (flags_.fetch_or(static_cast<unsigned long>(flag)) & static_cast<unsigned long>(flag)) != 0;
    }
    bool clear(PageFlag flag) {
        return (flags_.fetch_and(~static_cast<unsigned long>(flag)) & static_cast<unsigned long>(flag)) != 0;
    }
    // Changes with every mapping made or taken; equal before and after = nothing happened between.
    u32 generation() const { return static_cast<u32>(flags_.load_acquire() >> kGenerationShift); }
    void mappings_changed() { flags_.fetch_add(1ul << kGenerationShift); }
    // How often, between two looks.
    static u32 changes(u32 before, u32 after) { return (after - before) & 0xffffff; }

    // ---- counts
    Atomic<s32> mapcount{-1}; // mappings - 1 (spec P1)
    Atomic<s32> refcount{0}; // mappings + page or swap cache + whoever uses it now
    static constexpr s32 kPin =
        1024; // references in one pin; so many others at once count as one, which only costs a copy
    bool pinned() const { return refcount.load() >= kPin; }
    bool mapped() const { return mapcount.load() >= 0; }
    u32 mappings() const { return static_cast<u32>(mapcount.load() + 1); }
    // Beyond this a page gets no more mappings: faults and forks say ENOMEM. It leaves room in all counts, so that those who pass
    // here together with others do not overflow one.
    static constexpr u32 kMostMappings = 1u << 23;
    bool has_most_mappings() const { return mappings() >= kMostMappings; }

    // ---- mappings in locked Vmas, those whose entry says so (Pte::kLocked). Under the lock of the entry's table.
    bool lock_mapping() { return ((flags_.fetch_add(kOneLocked) / kOneLocked) & 0xffffff) == 0; } // true: the first
    bool unlock_mapping() { return ((flags_.fetch_sub(kOneLocked) / kOneLocked) & 0xffffff) == 1; } // true: the last
    u32 locked_mappings() const { return (flags_.load() / kOneLocked) & 0xffffff; }

    // ---- the page lock: sleeps; a second page's lock is only ever tried
    void lock();
    bool try_lock();
    void unlock();
    bool locked() const { return has(PageFlag::locked); }

    u64 private_word = 0; // SwapEntry::word, when PageFlag::swapcache; page lock

    // ---- Pool's own
    u32 lru_prev = kNoLink;
    u32 lru_next = kNoLink;

private:
    static constexpr unsigned long kOneLocked = 1ul << 16;
    static constexpr u32 kGenerationShift = 40;
    Atomic<u64> mapping_{0};
    Atomic<unsigned long> flags_{0};
};

static_assert(sizeof(Page) <= 48, "the price of a page of the pool");

// Holds a page lock for a scope.
class PageLock : Pinned {
public:
    explicit PageLock(Page& page) : page_(page) { page_.lock(); }
    ~PageLock() { page_.unlock(); }

private:
    Page& page_;
};

} // namespace objr
