// SPDX-License-Identifier: GPL-2.0
#include "objrmap/swap.h"

#include "objrmap/frames.h"

namespace objr {

// ---- creation and destruction

Status SwapSpace::create(Pool& pool, Counters& counters, u32 mb) {
    pool_ = &pool;
    counters_ = &counters;
    lock_.init(OBJR_LOCK_SWAP);
    if (mb == 0) {
        return {};
    }
    const u64 slots = mb * kSlotsPerMb;
    cells_ = static_cast<Cell*>(objr_kvzalloc(slots * sizeof(Cell)));
    if (!cells_) {
        return Errno{OBJR_ENOMEM};
    }
    OBJR_TRY_STATUS(store_.create(slots));
    slot_count_ = slots;
    Guard guard(lock_);
    for (u64 i = slots; i-- != 0;) { // the lowest is given out first
        cells_[i].count = first_free_;
        first_free_ = static_cast<u32>(i);
    }
    return {};
}

void SwapSpace::destroy() {
    OBJR_WARN_ON(used() != 0);
    store_.destroy();
    objr_kvfree(cells_);
    cells_ = nullptr;
    slot_count_ = 0;
}

SwapSpace::Cell& SwapSpace::cell(SwapEntry entry) const {
    OBJR_WARN_ON(entry.type != 0 || entry.offset >= slot_count_);
    return cells_[entry.offset];
}

// The caller has set State::freeing, under lock_: nobody else comes near it until it is in the free list.
void SwapSpace::free_slot(SwapEntry entry) {
    store_.drop(entry.offset);
    Cell& slot = cell(entry);
    {
        Guard guard(lock_);
        slot = {.page = nullptr, .count = first_free_, .state = State::free, .stored = false};
        first_free_ = static_cast<u32>(entry.offset);
    }
    used_.fetch_sub(1);
    counters_->sub(Count::swapped_pages);
}

// ---- swap PTEs

void SwapSpace::duplicate(SwapEntry entry) {
    Guard guard(lock_);
    Cell& slot = cell(entry);
    OBJR_WARN_ON(slot.state != State::used);
    slot.count++;
}

bool SwapSpace::release(SwapEntry entry) {
    {
        Guard guard(lock_);
        Cell& slot = cell(entry);
        if (OBJR_WARN_ON(slot.state != State::used || slot.count == 0) || --slot.count != 0) {
            return false;
        }
        if (slot.page) {
            return true;
        }
        slot.state = State::freeing;
    }
    free_slot(entry);
    return false;
}

// What counts is what is seen under the page's lock: the entry may have got another page meanwhile (migration), and then that
// one is nobody's; even another life.
void SwapSpace::reap(SwapEntry entry) {
    for (bool seen = false; !seen;) {
        Page* page = find_page(entry);
        if (!page) {
            return;
        }
        {
            PageLock lock(*page);
            seen = cached(*page, entry);
            if (seen && count(entry) == 0) {
                remove_from_cache_locked(*page);
            }
        }
        pool_->put(*page);
    }
}

u32 SwapSpace::count(SwapEntry entry) const {
    Guard guard(lock_);
    const Cell& slot = cell(entry);
    return slot.state == State::used ? slot.count : 0;
}

SwapSpace::Slot SwapSpace::slot(u64 offset) const {
    Guard guard(lock_);
    const Cell& slot = cells_[offset];
    const bool used = slot.state == State::used;
    return {.free = !used, .stored = slot.stored, .count = used ? slot.count : 0, .page = slot.page};
}

// ---- the swap cache

Status SwapSpace::add_to_cache_locked(Page& page) {
    OBJR_WARN_ON(!page.locked() || cached(page) || !page.mapping().is_anon());
    pool_->get(page);
    u32 number;
    {
        Guard guard(lock_);
        number = first_free_;
        if (number != kNoSlot) {
            Cell& slot = cells_[number];
            first_free_ = slot.count;
            slot = {.page = &page, .count = 0, .state = State::used, .stored = false};
        }
    }
    if (number == kNoSlot) {
        pool_->put(page);
        return Errno{OBJR_ENOSPC};
    }
    page.private_word = SwapEntry{0, number}.word();
    page.set(PageFlag::swapcache);
    used_.fetch_add(1);
    counters_->add(Count::swapped_pages);
    counters_->add(Count::swapcache_pages);
    return {};
}

void SwapSpace::remove_from_cache_locked(Page& page) {
    if (OBJR_WARN_ON(!page.locked() || !cached(page))) {
        return;
    }
    const SwapEntry entry = entry_of(page);
    page.clear(PageFlag::swapcache);
    page.private_word = 0;
    bool last;
    {
        Guard guard(lock_);
        Cell& slot = cell(entry);
        OBJR_WARN_ON(slot.page != &page);
        slot.page = nullptr;
        last = slot.count == 0;
        OBJR_WARN_ON(!last && (!slot.stored || page.has(PageFlag::dirty))); // W3
        if (last) {
            slot.state = State::freeing;
        }
    }
    counters_->sub(Count::swapcache_pages);
    if (last) {
        free_slot(entry);
    }
    pool_->put(page);
}

void SwapSpace::replace_locked(Page& old, Page& fresh) {
    OBJR_WARN_ON(!old.locked() || !fresh.locked() || !cached(old) || cached(fresh));
    const SwapEntry entry = entry_of(old);
    pool_->get(fresh);
    old.clear(PageFlag::swapcache);
    old.private_word = 0;
    {
        Guard guard(lock_);
        cell(entry).page = &fresh;
    }
    fresh.private_word = entry.word();
    fresh.set(PageFlag::swapcache);
    fresh.set(PageFlag::uptodate);
    if (old.clear(PageFlag::dirty)) {
        fresh.set(PageFlag::dirty);
    }
    pool_->put(old);
}

Page* SwapSpace::find_page(SwapEntry entry) {
    Guard guard(lock_);
    Page* page = cell(entry).page;
    if (page) {
        pool_->get(*page); // the cache's reference keeps it until then
    }
    return page;
}

// ---- contents

// A page just allocated becomes the cached one of an entry that is only stored. ENOENT; EBUSY: another one is.
Status SwapSpace::add_fresh_locked(Page& page, SwapEntry entry) {
    page.private_word = entry.word();
    page.set(PageFlag::swapcache);
    pool_->get(page);
    Status status;
    {
        Guard guard(lock_);
        Cell& slot = cell(entry);
        if (slot.state != State::used || (!slot.page && slot.count == 0)) {
            status = Errno{OBJR_ENOENT};
        } else if (slot.page) {
            status = Errno{OBJR_EBUSY};
        } else {
            slot.page = &page;
        }
    }
    if (!status) {
        page.clear(PageFlag::swapcache);
        page.private_word = 0;
        pool_->put(page);
        return status;
    }
    counters_->add(Count::swapcache_pages);
    return {};
}

Result<Page*> SwapSpace::read_locked(SwapEntry entry, FrameReserve& frames) {
    for (;; objr_cond_resched()) {
        if (Page* page = find_page(entry)) {
            page->lock();
            if (cached(*page, entry)) {
                return page;
            }
            page->unlock();
            pool_->put(*page);
            continue;
        }
        if (count(entry) == 0) {
            return Errno{OBJR_ENOENT};
        }
        Page* page = OBJR_TRY(frames.allocate_locked());
        Status status = add_fresh_locked(*page, entry);
        if (status) {
            status = store_.read(entry.offset, pool_->address(*page));
            if (status) {
                page->set(PageFlag::uptodate);
                counters_->add(Count::swap_ins);
                return page;
            }
            remove_from_cache_locked(*page);
        }
        page->unlock();
        pool_->put(*page);
        if (status.error().value != OBJR_EBUSY) {
            return status.error();
        }
    }
}

// The flag first: what is written to the page from now on makes it dirty again.
Status SwapSpace::write_locked(Page& page) {
    OBJR_WARN_ON(!page.locked() || !cached(page));
    const SwapEntry entry = entry_of(page);
    const bool was_dirty = page.clear(PageFlag::dirty);
    if (Status status = store_.write(entry.offset, pool_->address(page)); !status) {
        if (was_dirty) {
            page.set(PageFlag::dirty);
        }
        return status;
    }
    {
        Guard guard(lock_);
        cell(entry).stored = true;
    }
    counters_->add(Count::swap_outs);
    return {};
}

bool SwapSpace::must_write(const Page& page) const {
    Guard guard(lock_);
    return !cell(entry_of(page)).stored || page.has(PageFlag::dirty);
}

} // namespace objr
