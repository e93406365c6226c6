// SPDX-License-Identifier: GPL-2.0
// Pool: the private physical memory of a World, and the descriptors of its pages (Linux: mm/page_alloc.c, mem_map).
//
// The pool is a set of sections, each 1 MiB of contiguous frames got from the kernel at creation and given back at
// destruction; nothing in between. Pages are numbered 0 .. size-1 over all sections, in order of sections.
//
// A free page is always zero (V4): it is cleared on its way back, so a page handed out needs no clearing and shows
// nobody's old data (spec U8).
//
// Locking: `lock_` guards the free list and the LRU lists. Everything else is immutable after create().
// Context: allocate, put, get may be called under spin locks (put clears 4 KiB outside the lock when it is the last).
#pragma once

#include "objrmap/counters.h"
#include "objrmap/lock.h"
#include "objrmap/page.h"
#include "objrmap/result.h"

namespace objr {

class Pool : Pinned {
public:
    // mb: 1 .. 1048576 (1 TiB). ENOMEM: the log says how much could be had; nothing is kept.
    Status create(u32 mb);
    // All pages should be free; if not it says so and keeps the memory rather than free it under a user. Idempotent.
    void destroy();

    // A zero page, refcount 1, on the inactive list, locked: whoever finds it by its number or pfn waits until its owner has
    // made it what it is to be. ENOMEM: none is left.
    Result<Page*> allocate_locked();
    // The same, not one of the pages numbered first to last.
    Result<Page*> allocate_locked_outside(u32 first, u32 last);
    // To the active list. Any context.
    void activate(Page& page);
    void get(Page& page) { page.refcount.fetch_add(1); } // the caller holds a reference already
    // Take a reference on a page found by number or pfn: false if it is free.
    bool try_get(Page& page) { return page.refcount.add_unless_zero(); }
    // Give a reference back; the last one frees the page. It must be unmapped and unlocked then.
    void put(Page& page);

    u32 size() const { return size_; } // pages
    u32 free_pages() const OBJR_THREAD(no_thread_safety_analysis) { return free_.count.load(); }
    u32 inactive_pages() const OBJR_THREAD(no_thread_safety_analysis) { return inactive_.count.load(); }
    u32 active_pages() const OBJR_THREAD(no_thread_safety_analysis) { return active_.count.load(); }

    u32 number(const Page& page) const { return static_cast<u32>(&page - pages_); }
    Page& page(u32 number) { return pages_[number]; }
    Pfn pfn(const Page& page) const;
    Page* page_of(Pfn pfn); // nullptr: not a frame of the pool
    void* address(const Page& page) const; // its bytes, in the kernel's direct map
    bool is_zero(const Page& page) const;
    u64 bytes() const; // memory beside the pages themselves: descriptors and tables

private:
    static constexpr u32 kSectionOrder = 8; // 256 pages, 1 MiB
    static constexpr u32 kSectionPages = 1u << kSectionOrder;
    static constexpr u32 kNoSection = ~0u;

    struct PageList {
        u32 first = Page::kNoLink;
        u32 last = Page::kNoLink;
        Atomic<u32> count{0};
    };
    void push_back(PageList& list, Page& page);
    void remove(PageList& list, Page& page);
    Status build_section_table();
    void make_new(Page& page);

    void** sections_ = nullptr; // direct-map address of each
    u32 section_count_ = 0;
    u32* section_of_ = nullptr; // (pfn >> kSectionOrder) - first_section_ -> index in sections_, or kNoSection
    u64 first_section_ = 0;
    u64 section_span_ = 0;
    Page* pages_ = nullptr;
    u32 size_ = 0;

    SpinLock lock_;
    PageList free_ OBJR_GUARDED_BY(lock_); // the counts are read without the lock, for statistics
    PageList inactive_ OBJR_GUARDED_BY(lock_);
    PageList active_ OBJR_GUARDED_BY(lock_);
};

} // namespace objr
