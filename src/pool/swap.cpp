// SPDX-License-Identifier: GPL-2.0
#include "objrmap/swap.h"

#include "objrmap/frames.h"

namespace objr {

// ---- creation and destruction

OBJR_THREAD(no_thread_safety_analysis)
Status SwapSpace::create(Pool& pool, Counters& counters, const SwapConfig& config) {
    pool_ = &pool;
    counters_ = &counters;
    lock_.init(OBJR_LOCK_SWAP);
    write_lock_.init(OBJR_LOCK_SWAP_WRITE);
    store_ = OBJR_TRY(SwapStore::create(config));
    if (!store_) {
        return {};
    }
    const u64 slots = store_->slots();
    cells_ = static_cast<Cell*>(objr_kvzalloc(slots * sizeof(Cell)));
    buffer_ = store_->writes_at_once() ? nullptr : objr_alloc_pages(0);
    if (!cells_ || (!buffer_ && !store_->writes_at_once())) {
        return Errno{OBJR_ENOMEM};
    }
    OBJR_TRY_STATUS(free_.create(slots, SlotMap::Begin::all));
    OBJR_TRY_STATUS(kept_map_.create(slots, SlotMap::Begin::none));
    slot_count_ = slots;
    return {};
}

OBJR_THREAD(no_thread_safety_analysis)
void SwapSpace::destroy() {
    OBJR_WARN_ON(used() != 0 || kept() != 0);
    if (store_) {
        store_->destroy();
        store_ = nullptr;
    }
    objr_kvfree(cells_);
    cells_ = nullptr;
    if (buffer_) {
        objr_free_pages(buffer_, 0);
        buffer_ = nullptr;
    }
    free_.destroy();
    kept_map_.destroy();
    slot_count_ = 0;
}

OBJR_THREAD(no_thread_safety_analysis)
SwapStore::Usage SwapSpace::usage() const {
    SwapStore::Usage usage = store_ ? store_->usage() : SwapStore::Usage{};
    usage.bytes += slot_count_ * sizeof(Cell) + free_.bytes() + kept_map_.bytes() + (buffer_ ? kPageSize : 0);
    return usage;
}

SwapSpace::Cell& SwapSpace::cell(SwapEntry entry) const {
    OBJR_WARN_ON(entry.type != 0 || entry.offset >= slot_count_);
    return cells_[entry.offset];
}

// Nobody needs the slot any more. True: the caller owes a free_slot, once lock_ is free; else end_write does it.
bool SwapSpace::end_locked(Cell& slot) {
    use_again_locked(slot);
    slot.state = State::ending;
    return !slot.writing;
}

// The slot is ending: nobody comes near it until it is in the map.
void SwapSpace::free_slot(SwapEntry entry) {
    store_->drop(entry.offset);
    Cell& slot = cell(entry);
    {
        Guard guard(lock_);
        slot = {};
        free_.give(entry.offset);
        used_.fetch_sub(1);
    }
    counters_->sub(Count::swapped_pages);
}

void SwapSpace::set_enabled(bool enabled) {
    Guard guard(lock_);
    enabled_.store(enabled);
}

// ---- swap PTEs

void SwapSpace::duplicate(SwapEntry entry) {
    Guard guard(lock_);
    Cell& slot = cell(entry);
    use_again_locked(slot);
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
        if (!end_locked(slot)) {
            return false;
        }
    }
    free_slot(entry);
    return false;
}

void SwapSpace::settle_locked(Page& page) {
    if (!cached(page)) {
        return;
    }
    bool wanted;
    {
        Guard guard(lock_);
        const Cell& slot = cell(entry_of(page));
        wanted = slot.count != 0 || (slot.state == State::kept && page.mapped());
    }
    if (!wanted) {
        remove_from_cache_locked(page);
    }
}

// A page that is put in the cache just now is settled by whoever does so.
void SwapSpace::settle(Page& page) {
    if (cached(page) && !page.mapped()) {
        PageLock lock(page);
        settle_locked(page);
    }
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
            if (seen) {
                settle_locked(*page);
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
    return {.free = slot.state == State::free,
            .ending = slot.state == State::ending,
            .stored = slot.stored,
            .lost = slot.lost,
            .kept = slot.state == State::kept,
            .count = slot.count,
            .page = slot.page};
}

// ---- kept slots

// From now on it is one in use.
void SwapSpace::use_again_locked(Cell& slot) {
    if (slot.state == State::kept) {
        slot.state = State::used;
        kept_map_.remove(static_cast<u64>(&slot - cells_));
        used_.fetch_add(1);
        kept_.fetch_sub(1);
        counters_->sub(Count::swap_kept);
        counters_->add(Count::swapped_pages);
    }
}

bool SwapSpace::keep_locked(Page& page) {
    OBJR_WARN_ON(!page.locked() || !cached(page));
    const bool half_full = store_->half_full();
    Guard guard(lock_);
    Cell& slot = cell(entry_of(page));
    if (slot.state == State::kept) {
        return true;
    }
    if (slot.count != 0 || !slot.stored || page.has(PageFlag::dirty) || !enabled() || half_full ||
        2 * (used() + kept()) > slot_count_) {
        return false;
    }
    slot.state = State::kept;
    kept_map_.give(entry_of(page).offset);
    kept_.fetch_add(1);
    used_.fetch_sub(1);
    counters_->add(Count::swap_kept);
    counters_->sub(Count::swapped_pages);
    return true;
}

bool SwapSpace::give_up_locked(Page& page) {
    const bool gives = cached(page) && count_of(page) == 0;
    if (gives) {
        remove_from_cache_locked(page);
    }
    return gives;
}

// The page of one that is kept, referenced; the next time of another. nullptr: there is none.
Page* SwapSpace::next_kept() {
    Guard guard(lock_);
    const u64 number = kept_map_.next();
    if (number == SlotMap::kNone) {
        return nullptr;
    }
    pool_->get(*cells_[number].page);
    return cells_[number].page;
}

// Up to so many kept slots become free. The caller may hold a page lock: that of another page is only tried. False: not one, there are
// none or they are all busy.
bool SwapSpace::give_up(u32 wanted) {
    u32 given = 0;
    for (u64 tries = kept(); tries != 0 && given < wanted; tries--) {
        Page* page = next_kept();
        if (!page) {
            break;
        }
        if (page->try_lock()) {
            given += give_up_locked(*page) ? 1 : 0;
            page->unlock();
        }
        pool_->put(*page);
    }
    return given != 0;
}

void SwapSpace::give_up_all() {
    OBJR_WARN_ON(enabled()); // else there might be more of them all the time
    while (Page* page = next_kept()) {
        {
            PageLock lock(*page);
            give_up_locked(*page);
        }
        pool_->put(*page);
        objr_cond_resched();
    }
}

// ---- the swap cache

// A free slot, if need be one that was kept, becomes the page's. kNone: there is none.
u64 SwapSpace::take_slot(Page& page) {
    do {
        Guard guard(lock_);
        const u64 number = enabled() ? free_.take() : SlotMap::kNone;
        if (number != SlotMap::kNone) {
            cells_[number] = {.page = &page, .state = State::used};
            used_.fetch_add(1);
            return number;
        }
    } while (enabled() && give_up(1));
    return SlotMap::kNone;
}

Status SwapSpace::add_to_cache_locked(Page& page) {
    OBJR_WARN_ON(!page.locked() || cached(page));
    pool_->get(page);
    const u64 number = store_ ? take_slot(page) : SlotMap::kNone;
    if (number == SlotMap::kNone) {
        pool_->put(page);
        return Errno{OBJR_ENOSPC};
    }
    page.private_word = SwapEntry{0, number}.word();
    page.set(PageFlag::swapcache);
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
        OBJR_WARN_ON(!last && !slot.lost && (!slot.stored || page.has(PageFlag::dirty))); // W3
        last = last && end_locked(slot);
    }
    counters_->sub(Count::swapcache_pages);
    if (last) {
        free_slot(entry);
    }
    pool_->put(page);
}

void SwapSpace::lose_locked(Page& page) {
    OBJR_WARN_ON(!page.locked() || !cached(page));
    {
        Guard guard(lock_);
        Cell& slot = cell(entry_of(page));
        slot.stored = false;
        slot.lost = true;
    }
    store_->drop(entry_of(page).offset);
    page.clear(PageFlag::dirty);
    remove_from_cache_locked(page);
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

} // namespace objr
