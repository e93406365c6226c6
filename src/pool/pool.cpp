// SPDX-License-Identifier: GPL-2.0
#include "objrmap/pool.h"

#include <new>

namespace objr {

static Pfn pfn_of_address(const void* memory) {
    return Pfn((reinterpret_cast<u64>(memory) - objr_direct_map_base) >> kPageShift);
}

// ---- creation and destruction

Status Pool::create(u32 mb) {
    lock_.init(OBJR_LOCK_POOL);
    sections_ = static_cast<void**>(objr_kvzalloc(static_cast<u64>(mb) * sizeof(void*)));
    if (!sections_) {
        return Errno{OBJR_ENOMEM};
    }
    for (; section_count_ < mb; section_count_++) {
        void* section = objr_alloc_pages(kSectionOrder);
        if (!section) {
            objr_printk(OBJR_ERR, "pool of %u MiB: the kernel gave %u MiB in pieces of 1 MiB; take a smaller pool_mb\n",
                        mb, section_count_);
            destroy();
            return Errno{OBJR_ENOMEM};
        }
        sections_[section_count_] = section;
        objr_cond_resched();
    }
    u32 pages = section_count_ << kSectionOrder;
    pages_ = static_cast<Page*>(objr_kvzalloc(static_cast<u64>(pages) * sizeof(Page)));
    if (!pages_ || !build_section_table()) {
        destroy();
        return Errno{OBJR_ENOMEM};
    }
    size_ = pages;
    Guard guard(lock_);
    for (u32 i = 0; i < pages; i++) {
        Page* page = new (&pages_[i]) Page;
        page->set(PageFlag::free);
        push_back(free_, *page);
    }
    return {};
}

// Sections lie anywhere in memory: a table indexed by the upper bits of the pfn finds the one of a frame.
Status Pool::build_section_table() {
    u64 first = ~0ull;
    u64 last = 0;
    for (u32 i = 0; i < section_count_; i++) {
        u64 section = pfn_of_address(sections_[i]).value >> kSectionOrder;
        first = min(first, section);
        last = max(last, section);
    }
    first_section_ = first;
    section_span_ = last - first + 1;
    section_of_ = static_cast<u32*>(objr_kvzalloc(section_span_ * sizeof(u32)));
    if (!section_of_) {
        return Errno{OBJR_ENOMEM};
    }
    for (u64 i = 0; i < section_span_; i++) {
        section_of_[i] = kNoSection;
    }
    for (u32 i = 0; i < section_count_; i++) {
        section_of_[(pfn_of_address(sections_[i]).value >> kSectionOrder) - first_section_] = i;
    }
    return {};
}

void Pool::destroy() {
    if (size_ != 0 && OBJR_WARN_ON(free_pages() != size_)) {
        objr_printk(OBJR_ERR, "%u pages of the pool are still in use: the pool is leaked\n", size_ - free_pages());
        return;
    }
    for (u32 i = 0; i < section_count_; i++) {
        objr_free_pages(sections_[i], kSectionOrder);
    }
    objr_kvfree(sections_);
    objr_kvfree(section_of_);
    objr_kvfree(pages_);
    sections_ = nullptr;
    section_of_ = nullptr;
    pages_ = nullptr;
    section_count_ = 0;
    size_ = 0;
}

// ---- lists: links are page numbers, so that a link costs four bytes. `lock_` is held.

void Pool::push_back(PageList& list, Page& page) {
    u32 self = number(page);
    page.lru_prev = list.last;
    page.lru_next = Page::kNoLink;
    if (list.last == Page::kNoLink) {
        list.first = self;
    } else {
        pages_[list.last].lru_next = self;
    }
    list.last = self;
    list.count.store(list.count.load() + 1);
}

void Pool::remove(PageList& list, Page& page) {
    if (page.lru_prev == Page::kNoLink) {
        list.first = page.lru_next;
    } else {
        pages_[page.lru_prev].lru_next = page.lru_next;
    }
    if (page.lru_next == Page::kNoLink) {
        list.last = page.lru_prev;
    } else {
        pages_[page.lru_next].lru_prev = page.lru_prev;
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
        page = &pages_[free_.last];
        remove(free_, *page);
        push_back(inactive_, *page);
    }
    make_new(*page);
    return page;
}

// From the other end of the list: pages of the range that have just been freed are at this one.
Result<Page*> Pool::allocate_locked_outside(u32 first, u32 last) {
    Page* page;
    {
        Guard guard(lock_);
        u32 n = free_.first;
        while (n != Page::kNoLink && first <= n && n <= last) {
            n = pages_[n].lru_next;
        }
        if (n == Page::kNoLink) {
            return Errno{OBJR_ENOMEM};
        }
        page = &pages_[n];
        remove(free_, *page);
        push_back(inactive_, *page);
    }
    make_new(*page);
    return page;
}

// Before the count: nobody gets a reference, and so the lock, of a page that is free.
void Pool::make_new(Page& page) {
    page.clear(PageFlag::free);
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
    bool was_active = page.has(PageFlag::active);
    for (PageFlag flag : {PageFlag::dirty, PageFlag::referenced, PageFlag::uptodate, PageFlag::swapcache, PageFlag::lru,
                          PageFlag::active, PageFlag::anon_exclusive}) {
        if (page.has(flag)) {
            page.clear(flag);
        }
    }
    page.set(PageFlag::free);
    Guard guard(lock_);
    remove(was_active ? active_ : inactive_, page);
    push_back(free_, page);
}

Pfn Pool::pfn(const Page& page) const {
    u32 n = number(page);
    return pfn_of_address(sections_[n >> kSectionOrder]) + (n & (kSectionPages - 1));
}

Page* Pool::page_of(Pfn pfn) {
    u64 slot = (pfn.value >> kSectionOrder) - first_section_; // wraps below the first: then it is out of the span too
    if (slot >= section_span_ || section_of_[slot] == kNoSection) {
        return nullptr;
    }
    return &pages_[(section_of_[slot] << kSectionOrder) + (pfn.value & (kSectionPages - 1))];
}

void* Pool::address(const Page& page) const {
    u32 n = number(page);
    return static_cast<u8*>(sections_[n >> kSectionOrder]) + (n & (kSectionPages - 1)) * kPageSize;
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

u64 Pool::bytes() const { return size_ * sizeof(Page) + section_count_ * sizeof(void*) + section_span_ * sizeof(u32); }

} // namespace objr
