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
            return Errno{OBJR_ENOBUFS};
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
bool Pool::is_in(const PageList& list, const Page& page) const {
    return page.has(PageFlag::free) && (number(page) >= open_.load()) == (&list == &withdrawn_) &&
           (page.lru_prev != Page::kNoLink || list.first == number(page));
}

void Pool::push_free(Page& page) { push_back(number(page) < open_.load() ? free_ : withdrawn_, page); }

Result<Page*> Pool::allocate_locked_in(u32 first, u32 last) {
    for (u64 n = first; n <= last && n < size();) {
        Section& section = section_of_number(static_cast<u32>(n));
        const u32 end = min(last, section.last_number());
        Page* found = nullptr;
        if (section.free_pages.load() != 0) {
            Guard guard(lock_);
            for (; n <= end && !found; n++) {
                Page& page = this->page(static_cast<u32>(n));
                found = is_in(free_, page) ? &page : nullptr;
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
    return Errno{OBJR_ENOBUFS};
}

Page* Pool::set_aside() {
    Guard guard(lock_);
    if (free_.last == Page::kNoLink) {
        return nullptr;
    }
    Page& page = this->page(free_.last);
    remove(free_, page);
    set_aside_.fetch_add(1);
    return &page;
}

void Pool::put_aside_back(Page& page) {
    Guard guard(lock_);
    push_free(page);
    set_aside_.fetch_sub(1);
}

void Pool::allocate_set_aside(Page& page) {
    {
        Guard guard(lock_);
        page.clear(PageFlag::free);
        push_back(inactive_, page);
        set_aside_.fetch_sub(1);
    }
    make_new(page);
}

// Before the count: nobody gets a reference, and so the lock, of a page that is free.
void Pool::make_new(Page& page) {
    page.set(PageFlag::lru);
    OBJR_WARN_ON(!page.try_lock());
    page.refcount.store_release(1);
}

// ---- memory failure

void Pool::poison(Page& page) {
    page.refcount.fetch_add(1);
    Guard guard(lock_);
    remove(list_of(page), page);
    page.clear(PageFlag::active);
    page.clear(PageFlag::unevictable);
    page.clear(PageFlag::lru);
    page.set(PageFlag::poisoned);
    poisoned_.fetch_add(1);
}

bool Pool::poison_free(Page& page) {
    Guard guard(lock_);
    const bool withdrawn = is_in(withdrawn_, page);
    if (!withdrawn && !is_in(free_, page)) {
        return false;
    }
    remove(withdrawn ? withdrawn_ : free_, page);
    page.set(PageFlag::poisoned);
    page.clear(PageFlag::free);
    page.refcount.store_release(1);
    poisoned_.fetch_add(1);
    return true;
}

bool Pool::put(Page& page) {
    s32 before = page.refcount.fetch_sub(1);
    if (before > 1) {
        return false;
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
                          PageFlag::anon_exclusive, PageFlag::readahead}) {
        if (page.has(flag)) {
            page.clear(flag);
        }
    }
    Guard guard(lock_);
    remove(list_of(page), page);
    page.clear(PageFlag::active);
    page.clear(PageFlag::unevictable);
    page.set(PageFlag::free);
    push_free(page);
    return true;
}

// ---- LRU lists. The flags that say on which one a page is change with it, under `lock_`.

Pool::PageList& Pool::list_of(const Page& page) {
    return page.has(PageFlag::unevictable) ? unevictable_ : page.has(PageFlag::active) ? active_ : inactive_;
}

Page* Pool::rotate(PageList& list) {
    constexpr u32 kAttempts = 16; // pages that are just becoming free
    for (u32 i = 0; i < kAttempts && list.first != Page::kNoLink; i++) {
        Page& page = this->page(list.first);
        remove(list, page);
        push_back(list, page);
        if (try_get(page)) {
            return &page;
        }
    }
    return nullptr;
}

Page* Pool::next_inactive() {
    Guard guard(lock_);
    return rotate(inactive_);
}

Page* Pool::next_active() {
    Guard guard(lock_);
    return rotate(active_);
}

void Pool::activate(Page& page) {
    Guard guard(lock_);
    if (page.has(PageFlag::poisoned)) {
        return;
    }
    remove(list_of(page), page);
    page.clear(PageFlag::unevictable);
    page.set(PageFlag::active);
    push_back(active_, page);
}

void Pool::deactivate(Page& page) {
    Guard guard(lock_);
    if (page.has(PageFlag::poisoned)) {
        return;
    }
    remove(list_of(page), page);
    page.clear(PageFlag::unevictable);
    page.clear(PageFlag::active);
    push_back(inactive_, page);
}

// The last munlock looks for the flag after it has uncounted the lock: one of the two sees the other.
void Pool::make_unevictable(Page& page) {
    Guard guard(lock_);
    if (page.has(PageFlag::poisoned)) {
        return;
    }
    remove(list_of(page), page);
    page.clear(PageFlag::active);
    page.set(PageFlag::unevictable);
    const bool stays = page.locked_mappings() != 0;
    if (!stays) {
        page.clear(PageFlag::unevictable);
    }
    push_back(stays ? unevictable_ : inactive_, page);
}

Page* Pool::page_of(Pfn pfn) {
    u64 slot = (pfn.value >> Section::kOrder) - frames_.first; // wraps below the first: then it is out of the span too
    if (slot >= frames_.span || frames_.numbers[slot] == kNoSection) {
        return nullptr;
    }
    return &page((frames_.numbers[slot] << Section::kOrder) + (pfn.value % Section::kPages));
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
