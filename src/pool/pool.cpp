// SPDX-License-Identifier: GPL-2.0
#include "objrmap/pool.h"

namespace objr {

// ---- lists: links are page numbers, so that a link costs four bytes. `lock_` is held.

void Pool::push_back(PageList& list, Page& page) {
    u32 self = number(page);
    if (Atomic<u32>& free = Section::of(page).free_pages; &list == &free_) {
        free.store(free.load() + 1);
    }
    page.lru_prev = list.last;
    page.lru_next = Page::kNoLink;
    if (list.last == Page::kNoLink) {
        list.first = self;
    } else {
        this->page(list.last).lru_next = self;
    }
    list.last = self;
    list.count.store(list.count.load() + 1);
}

void Pool::remove(PageList& list, Page& page) {
    if (Atomic<u32>& free = Section::of(page).free_pages; &list == &free_) {
        free.store(free.load() - 1);
    }
    if (page.lru_prev == Page::kNoLink) {
        list.first = page.lru_next;
    } else {
        this->page(page.lru_prev).lru_next = page.lru_next;
    }
    if (page.lru_next == Page::kNoLink) {
        list.last = page.lru_prev;
    } else {
        this->page(page.lru_next).lru_prev = page.lru_prev;
    }
    page.lru_prev = Page::kNoLink;
    page.lru_next = Page::kNoLink;
    list.count.store(list.count.load() - 1);
}

// ---- use

Result<Page*> Pool::allocate_locked() {
    Page* page;
    {
        Guard guard(lock_);
        // The page freed last is the one whose lines may still be cached.
        if (free_.last == Page::kNoLink) {
            return Errno{OBJR_ENOMEM};
        }
        page = &this->page(free_.last);
        remove(free_, *page);
        page->clear(PageFlag::free);
        push_back(inactive_, *page);
    }
    make_new(*page);
    return page;
}

// `lock_` is held, under which the flag goes with the list. A page that is free and in no list is on its way to somebody.
bool Pool::on_free_list(const Page& page) const {
    return page.has(PageFlag::free) && (page.lru_prev != Page::kNoLink || free_.first == number(page));
}

Result<Page*> Pool::allocate_locked_in(u32 first, u32 last) {
    for (u64 n = first; n <= last && n < size();) {
        Section& section = section_of_number(static_cast<u32>(n));
        const u32 end = min(last, section.last_number());
        Page* found = nullptr;
        if (section.free_pages.load() != 0) {
            Guard guard(lock_);
            for (; n <= end && !found; n++) {
                Page& page = this->page(static_cast<u32>(n));
                found = on_free_list(page) ? &page : nullptr;
            }
            if (found) {
                remove(free_, *found);
                found->clear(PageFlag::free);
                push_back(inactive_, *found);
            }
        }
        if (found) {
            make_new(*found);
            return found;
        }
        n = static_cast<u64>(end) + 1;
        objr_cond_resched();
    }
    return Errno{OBJR_ENOMEM};
}

// Before the count: nobody gets a reference, and so the lock, of a page that is free.
void Pool::make_new(Page& page) {
    page.set(PageFlag::lru);
    OBJR_WARN_ON(!page.try_lock());
    page.refcount.store_release(1);
}

void Pool::activate(Page& page) {
    Guard guard(lock_);
    if (!page.set(PageFlag::active)) {
        remove(inactive_, page);
        push_back(active_, page);
    }
}

void Pool::put(Page& page) {
    s32 before = page.refcount.fetch_sub(1);
    if (before > 1) {
        return;
    }
    OBJR_WARN_ON(before < 1);
    OBJR_WARN_ON(page.mapped() || page.has(PageFlag::mlocked));
    OBJR_WARN_ON(page.locked());
    OBJR_WARN_ON(page.mapping().is_file());
    objr_clear_page(address(page));
    page.set_mapping(MappingWord());
    page.index = 0;
    page.private_word = 0;
    for (PageFlag flag : {PageFlag::dirty, PageFlag::referenced, PageFlag::uptodate, PageFlag::swapcache, PageFlag::lru,
                          PageFlag::anon_exclusive}) {
        if (page.has(flag)) {
            page.clear(flag);
        }
    }
    Guard guard(lock_);
    remove(page.clear(PageFlag::active) ? active_ : inactive_, page);
    page.set(PageFlag::free);
    push_back(free_, page);
}

Page* Pool::page_of(Pfn pfn) {
    u64 slot = (pfn.value >> Section::kOrder) - first_span_; // wraps below the first: then it is out of the span too
    if (slot >= span_ || section_of_frame_[slot] == kNoSection) {
        return nullptr;
    }
    return &page((section_of_frame_[slot] << Section::kOrder) + (pfn.value % Section::kPages));
}

void* Pool::address(const Page& page) const {
    const Section& section = Section::of(page);
    return static_cast<u8*>(section.memory) + section.slot(page) * kPageSize;
}

bool Pool::is_zero(const Page& page) const {
    const u64* words = static_cast<const u64*>(address(page));
    for (u64 i = 0; i < kPageSize / sizeof(u64); i++) {
        if (words[i] != 0) {
            return false;
        }
    }
    return true;
}

} // namespace objr
