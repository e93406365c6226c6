// SPDX-License-Identifier: GPL-2.0
// The contents of slots: reading them into the swap cache, with neighbours, and writing them (Linux: mm/swap_state.c,
// mm/page_io.c).
#include "objrmap/frames.h"
#include "objrmap/swap.h"

namespace objr {

// ---- reading

// A page just allocated becomes the cached one of an entry that is only stored. ENOENT; EBUSY: another one is;
// EHWPOISON: it is lost.
Status SwapSpace::add_fresh_locked(Page& page, SwapEntry entry) {
    page.private_word = entry.word();
    page.set(PageFlag::swapcache);
    page.set_mapping(MappingWord::anon(nullptr)); // it gets an object with its first mapping
    pool_->get(page);
    Status status;
    {
        Guard guard(lock_);
        Cell& slot = cell(entry);
        if (slot.state != State::used || (!slot.page && slot.count == 0)) {
            status = Errno{OBJR_ENOENT};
        } else if (slot.page) {
            status = Errno{OBJR_EBUSY};
        } else if (slot.lost) {
            status = Errno{OBJR_EHWPOISON};
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

// From the store into the cached page, which is locked. What the store gives is believed if the checksum agrees.
Status SwapSpace::fill(SwapEntry entry, Page& page) {
    u64 checksum;
    {
        Guard guard(lock_);
        checksum = cell(entry).checksum;
    }
    Status status = store_->read(entry.offset, pool_->address(page));
    const char* what = "cannot be read";
    if (status && objr_xxh64(pool_->address(page), kPageSize) != checksum) {
        status = Errno{OBJR_EIO};
        what = "is not what was written";
    }
    if (status) {
        page.set(PageFlag::uptodate);
        counters_->add(Count::swap_ins);
    } else if (status.error().value != OBJR_ENOMEM) {
        counters_->add(Count::swap_read_errors);
        if (objr_printk_ratelimit() != 0)
            objr_printk(OBJR_ERR, "swap: slot %llu %s (error %d): who needs it gets SIGBUS\n", entry.offset, what,
                        status.as_int());
        status = Errno{OBJR_EIO};
    }
    return status;
}

Result<Page*> SwapSpace::read_locked(SwapEntry entry, FrameReserve& frames) {
    for (;; objr_cond_resched()) {
        if (Page* page = find_page(entry)) {
            page->lock();
            if (cached(*page, entry)) {
                if (page->clear(PageFlag::readahead)) {
                    counters_->add(Count::swap_readahead_hits);
                }
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
            read_ahead(entry);
            status = fill(entry, *page);
            if (status) {
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

// ---- neighbours

constexpr u64 kCluster = 8;

// Who left memory together may be wanted together. Nothing is waited for and nothing reclaimed; what goes wrong will be said to the
// one who really wants the page.
void SwapSpace::read_ahead(SwapEntry entry) {
    const u64 first = entry.offset / kCluster * kCluster;
    const u64 end = min(first + kCluster, slot_count_);
    if (pool_->free_pages() <= readahead_floor_.load()) {
        return;
    }
    if (!store_->writes_at_once()) { // a file: it is begun to be read
        store_->prefetch(first, end - first);
        return;
    }
    for (u64 offset = first; offset < end; offset++) {
        if (offset != entry.offset && pool_->free_pages() > readahead_floor_.load()) {
            read_neighbour({entry.type, offset});
        }
    }
}

void SwapSpace::read_neighbour(SwapEntry entry) {
    {
        Guard guard(lock_);
        const Cell& slot = cell(entry);
        if (slot.state != State::used || !slot.stored || slot.page || slot.count == 0) {
            return;
        }
    }
    Result<Page*> page = pool_->allocate_locked();
    if (!page) {
        return;
    }
    if (add_fresh_locked(**page, entry)) {
        if (fill(entry, **page)) {
            page->set(PageFlag::readahead);
            counters_->add(Count::swap_readaheads);
        } else {
            remove_from_cache_locked(**page);
        }
    }
    page->unlock();
    pool_->put(**page);
}

// ---- writing

bool SwapSpace::must_write(const Page& page) const {
    Guard guard(lock_);
    return !cell(entry_of(page)).stored || page.has(PageFlag::dirty);
}

// Errors are counted, and the first one after a success is worded, but for a full store of memory, which is no surprise.
void SwapSpace::note_written(SwapEntry entry, Status written) {
    if (written) {
        counters_->add(Count::swap_outs);
        write_fails_.store(false);
        return;
    }
    counters_->add(Count::swap_write_errors);
    if (written.error().value != OBJR_ENOMEM && !(written.error().value == OBJR_ENOSPC && store_->writes_at_once())) {
        if (!write_fails_.exchange(true) && objr_printk_ratelimit() != 0)
            objr_printk(OBJR_ERR,
                        "swap: slot %llu cannot be written (error %d): its page stays in memory. How many more: "
                        "swap_write_errors in stats\n",
                        entry.offset, written.as_int());
    }
}

// A store of memory that is full takes more when slots that are kept give theirs back; not with each of them, hence the more the longer.
Status SwapSpace::write_to_store(SwapEntry entry, const void* contents) {
    Status written = store_->write(entry.offset, contents);
    for (u32 wanted = 1; !written && store_->writes_at_once() && give_up(wanted); wanted *= 2) {
        written = store_->write(entry.offset, contents);
    }
    return written;
}

// The flag first: what is written to the page from now on makes it dirty again.
Status SwapSpace::write_locked(Page& page) {
    OBJR_WARN_ON(!page.locked() || !cached(page));
    const SwapEntry entry = entry_of(page);
    const bool was_dirty = page.clear(PageFlag::dirty);
    const u64 checksum = objr_xxh64(pool_->address(page), kPageSize);
    const Status written = write_to_store(entry, pool_->address(page));
    note_written(entry, written);
    if (!written) {
        if (was_dirty) {
            page.set(PageFlag::dirty);
        }
        return written;
    }
    Guard guard(lock_);
    Cell& slot = cell(entry);
    slot.stored = true;
    slot.checksum = checksum;
    return {};
}

OBJR_THREAD(no_thread_safety_analysis)
SwapSpace::Write SwapSpace::begin_write_locked(Page& page) {
    OBJR_WARN_ON(!page.locked() || !cached(page));
    const SwapEntry entry = entry_of(page);
    page.clear(PageFlag::dirty);
    objr_copy_page(buffer_, pool_->address(page));
    {
        Guard guard(lock_);
        Cell& slot = cell(entry);
        OBJR_WARN_ON(slot.writing);
        slot.writing = true;
        slot.stored = false; // what the file has from now on is neither the old nor the new
    }
    return {.entry = entry, .checksum = objr_xxh64(buffer_, kPageSize)};
}

OBJR_THREAD(no_thread_safety_analysis)
Status SwapSpace::write_slot(const Write& write) { return store_->write(write.entry.offset, buffer_); }

void SwapSpace::end_write(const Write& write, Status written) {
    bool last;
    note_written(write.entry, written);
    {
        Guard guard(lock_);
        Cell& slot = cell(write.entry);
        slot.writing = false;
        // A page that has failed meanwhile may have done so before it was copied.
        slot.stored = written && !slot.lost;
        slot.checksum = write.checksum;
        if (slot.page && !written) {
            slot.page->set(PageFlag::dirty);
        }
        last = slot.state == State::ending;
    }
    if (last) {
        free_slot(write.entry);
    }
}

} // namespace objr
