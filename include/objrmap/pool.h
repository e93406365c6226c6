// SPDX-License-Identifier: GPL-2.0
// Pool: the private physical memory of a World, and the descriptors of its pages (Linux: mm/page_alloc.c, mem_map).
//
// The pool is a row of sections, each 1 MiB of contiguous frames got from the kernel. Pages are numbered 0 .. size-1 over all
// sections, in order of sections. The row grows and shrinks at its end, so that a page never changes its number.
//
// A free page is always zero (V4): it is cleared on its way back, so a page handed out needs no clearing and shows
// nobody's old data (spec U8).
//
// Descriptors never move, and stay until destroy() even when their frames have gone back to the kernel: who has kept a pointer to one,
// or a number, may look at it. Such a page is free for good.
//
// Locking: `lock_` guards the free list, the LRU lists and what a section says of them. The row changes under quiesce for write: who
// asks for a page by number or pfn holds quiesce for read. size() without it is a hint.
// Context: allocate, put, get may be called under spin locks (put clears 4 KiB outside the lock when it is the last);
// allocate_locked_in sleeps.
#pragma once

#include "objrmap/counters.h"
#include "objrmap/lock.h"
#include "objrmap/page.h"
#include "objrmap/result.h"

namespace objr {

// 1 MiB of frames and the descriptors of their pages. It lies in a block that is aligned to its size, so that a page's address tells
// its section.
struct Section : Pinned {
    static constexpr u32 kOrder = 8; // of its frames
    static constexpr u32 kPages = 1u << kOrder;
    static constexpr u32 kBlockOrder = 2; // of the block that this is
    static constexpr u64 kBlockBytes = kPageSize << kBlockOrder;

    static Section& of(const Page& page) {
        return *reinterpret_cast<Section*>(reinterpret_cast<u64>(&page) & ~(kBlockBytes - 1));
    }
    u32 first_number() const { return number << kOrder; }
    u32 last_number() const { return first_number() + kPages - 1; }
    u32 slot(const Page& page) const { return static_cast<u32>(&page - pages); }

    void* memory = nullptr; // in the direct map; nullptr: gone back to the kernel
    Pfn first; // of memory
    u32 number = 0; // place in the row
    Atomic<u32> free_pages{0}; // on the free list; written under Pool::lock
    Section* next = nullptr; // of those that are not in the row yet
    Page pages[kPages];
    u64 map_words[kPages] = {}; // one for each page, of the reverse map if it has a use for them (pte_chain)
};
static_assert(sizeof(Section) <= Section::kBlockBytes);

class Pool : Pinned {
public:
    static constexpr u32 kMaxMb = 1u << 20;

    // mb: 1 .. 1048576 (1 TiB). ENOMEM: the log says how much could be had; nothing is kept.
    Status create(u32 mb);
    // All pages should be free; if not it says so and keeps the memory rather than free it under a user. Idempotent.
    void destroy();

    // A zero page, refcount 1, on the inactive list, locked: whoever finds it by its number or pfn waits until its owner has
    // made it what it is to be. ENOBUFS: none is left; who holds no lock may have some made free (frames.h).
    Result<Page*> allocate_locked();
    // The same, the one with the lowest number of first to last. Sleeps, in steps of a section.
    Result<Page*> allocate_locked_in(u32 first, u32 last);
    // Memory failure (poison.h): no list has the page from now on; it keeps a reference of its own for ever. It is locked, referenced by
    // the caller, and in no page table.
    void poison(Page& page);
    // A free page is taken away in the same manner. False: it is not free, or just on its way.
    bool poison_free(Page& page);
    // For FrameReserve: a free page that nobody else will get, still in the state free; nullptr: none is left.
    Page* set_aside();
    void put_aside_back(Page& page);
    // It becomes a new page, as allocate_locked gives them.
    void allocate_set_aside(Page& page);
    u32 pages_set_aside() const { return set_aside_.load(); }

    // ---- LRU lists (vmscan.h). Any context. Each page in use is on one of them.
    // The oldest page of a list, referenced, which goes to the young end now: who scans a list meets each page once. nullptr: there is
    // none that is in use.
    Page* next_inactive();
    Page* next_active();
    // The page is referenced. To the young end of another list.
    void activate(Page& page);
    void deactivate(Page& page); // also from the unevictable list
    void make_unevictable(Page& page);

    void get(Page& page) { page.refcount.fetch_add(1); } // the caller holds a reference already
    // Take a reference on a page found by number or pfn: false if it is free.
    bool try_get(Page& page) { return page.refcount.add_unless_zero(); }
    // Give a reference back; the last one frees the page (true). It must be unmapped and unlocked then.
    bool put(Page& page);

    u32 size() const { return size_.load(); } // pages
    u32 sections() const { return size() >> Section::kOrder; }
    // Sections at the end of the row none of whose pages is in use.
    u32 free_sections_at_end() const;
    u32 poisoned_pages() const { return poisoned_.load(); }
    u32 withdrawn_pages() const OBJR_THREAD(no_thread_safety_analysis) { return withdrawn_.count.load(); }

    // ---- growing and shrinking, by one at a time (resize.h). Sizes are MiB, of all.
    bool try_begin_resize() { return resizing_.exchange(1) == 0; }
    void end_resize() { resizing_.store(0); }
    // Get what grow() will need, *got so much of it. Sleeps, under no lock. ENOMEM: nothing is kept.
    Status prepare_growth(u32 mb, u32* got);
    void grow(); // quiesce for write; cannot fail
    // Pages numbered from here on, the beginning of a section, are given out no more; free ones are withdrawn. Sleeps.
    void close_from(u32 number) OBJR_THREAD(no_thread_safety_analysis);
    void reopen() OBJR_THREAD(no_thread_safety_analysis); // sleeps
    bool closed_are_free() const { return withdrawn_pages() == size() - open_.load(); }
    // What is closed, and free, is not in the pool any more. quiesce for write; cannot fail. Then the frames can go back: of sections
    // `first` on, before the one numbered `end`. Sleeps.
    void shrink();
    void give_back(u32 first, u32 end);
    u32 free_pages() const OBJR_THREAD(no_thread_safety_analysis) { return free_.count.load(); }
    u32 inactive_pages() const OBJR_THREAD(no_thread_safety_analysis) { return inactive_.count.load(); }
    u32 unevictable_pages() const OBJR_THREAD(no_thread_safety_analysis) { return unevictable_.count.load(); }
    u32 active_pages() const OBJR_THREAD(no_thread_safety_analysis) { return active_.count.load(); }

    u32 number(const Page& page) const {
        const Section& section = Section::of(page);
        return section.first_number() + section.slot(page);
    }
    Page& page(u32 number) { return section_of_number(number).pages[number % Section::kPages]; }
    Pfn pfn(const Page& page) const {
        const Section& section = Section::of(page);
        return section.first + section.slot(page);
    }
    static u64& map_word(Page& page) {
        Section& section = Section::of(page);
        return section.map_words[section.slot(page)];
    }
    Page* page_of(Pfn pfn); // nullptr: not a frame of the pool
    void* address(const Page& page) const; // its bytes, in the kernel's direct map
    bool is_zero(const Page& page) const;
    u64 bytes() const; // memory beside the pages themselves: descriptors and tables

private:
    static constexpr u32 kNoSection = ~0u;
    static constexpr u32 kChunkOrder = 10; // sections in a part of the directory
    static constexpr u32 kChunk = 1u << kChunkOrder;

    struct PageList {
        u32 first = Page::kNoLink;
        u32 last = Page::kNoLink;
        Atomic<u32> count{0};
    };
    void push_back(PageList& list, Page& page);
    void remove(PageList& list, Page& page);
    PageList& list_of(const Page& page);
    Page* rotate(PageList& list);
    bool is_in(const PageList& list, const Page& page) const OBJR_THREAD(requires_capability(lock_));
    void push_free(Page& page) OBJR_THREAD(requires_capability(lock_));
    void move_section(Section& section, PageList& from, PageList& to, u32 open);
    void make_new(Page& page);

    Section& section(u32 n) const { return *directory_[n >> kChunkOrder][n % kChunk]; }
    Section& section_of_number(u32 number) const { return section(number >> Section::kOrder); }
    Status make_room_in_directory(u32 sections);
    Status make_section(u32 number);
    void forget_descriptors(u32 first, u32 end);
    // Sections lie anywhere in memory: a table indexed by the upper bits of the pfn finds the one of a frame.
    struct FrameTable {
        u32* numbers = nullptr; // (pfn >> Section::kOrder) - first -> number of the section, or kNoSection
        u64 first = 0;
        u64 span = 0;
        void free();
    };
    Status build_frame_table(u32 sections, FrameTable& table);

    Section** directory_[kMaxMb / kChunk] = {}; // of all sections; parts of kChunk, which stay
    Atomic<u32> size_{0};
    Atomic<u32> open_{0}; // pages that may be given out have numbers below that; written under lock_
    FrameTable frames_; // quiesce for write
    Atomic<u32> resizing_{0};
    FrameTable next_frames_; // of who resizes
    u32 next_sections_ = 0; // of who resizes
    u32 most_sections_ = 0; // of who resizes: that there have ever been
    Atomic<u32> poisoned_{0};

    SpinLock lock_;
    PageList withdrawn_ OBJR_GUARDED_BY(lock_); // free, numbered open_ or more
    PageList free_ OBJR_GUARDED_BY(lock_); // the counts are read without the lock, for statistics
    PageList inactive_ OBJR_GUARDED_BY(lock_);
    PageList active_ OBJR_GUARDED_BY(lock_);
    PageList unevictable_ OBJR_GUARDED_BY(lock_);
    Atomic<u32> set_aside_{0};
};

} // namespace objr
