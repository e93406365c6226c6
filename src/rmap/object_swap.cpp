// SPDX-License-Identifier: GPL-2.0
// Pages of a named object in the swap space (Linux: mm/shmem.c:shmem_writepage, shmem_swapin_folio).
//
// An object has no file to read a page from again. So its page moves into the swap cache, and from there to the store as every other
// one; where it was in the object's table the swap entry stays, which counts as one swap PTE does. A fault, by whomever, reads the
// entry into the swap cache and moves the page back. Both moves happen under the page lock and change the table in one step: whoever
// looks sees the page or its entry. Who sees the entry, and then has the cached page of it locked, looks again: as long as the entry is
// there the slot is the object's.
#include "objrmap/file_mapping.h"
#include "objrmap/frames.h"
#include "objrmap/world.h"

namespace objr {

bool FileMapping::swapped_from(u64& pgoff, SwapEntry& entry, u64 last) {
    u64 word = 0;
    if (!pages_.find_number_from(pgoff, word, last)) {
        return false;
    }
    entry = SwapEntry::from_word(word);
    return true;
}

// ---- out

// As with evict_locked: the references are the cache's and the caller's, so that nobody is about to map the page or to write to it.
Status FileMapping::move_to_swap_locked(Page& page) {
    constexpr s32 kExpected = 2;
    World& world = world_;
    if (kind_ != Kind::object || page.mapping() != MappingWord::file(this) || page.mapped() ||
        page.has(PageFlag::poisoned) || page.refcount.load() != kExpected) {
        return Errno{OBJR_EBUSY};
    }
    OBJR_TRY_STATUS(world.swap.add_to_cache_locked(page));
    const SwapEntry entry = SwapSpace::entry_of(page);
    world.swap.duplicate(entry);
    swapped_.fetch_add(1);
    OBJR_WARN_ON(!pages_.object_to_number(page.index, &page, entry.word()));
    page.set_mapping(MappingWord::anon(nullptr));
    world.counters.sub(Count::file_pages);
    cached_.fetch_sub(1); // the last access, see drop_page_locked
    world.pool.put(page);
    return {};
}

// ---- back

// False: truncation was faster. Another fault would have had the page locked.
bool FileMapping::take_from_swap_locked(Page& page, u64 pgoff, SwapEntry entry) {
    SwapEntry now{};
    if (u64 at = pgoff; !swapped_from(at, now, pgoff) || now != entry) {
        return false;
    }
    page.index = pgoff;
    page.set_mapping(MappingWord::file(this));
    world_.pool.get(page); // the cache's
    cached_.fetch_add(1);
    if (!pages_.number_to_object(pgoff, entry.word(), &page)) {
        page.set_mapping(MappingWord::anon(nullptr));
        cached_.fetch_sub(1);
        world_.pool.put(page);
        return false;
    }
    swapped_.fetch_sub(1);
    world_.counters.add(Count::file_pages);
    page.set(PageFlag::uptodate);
    if (world_.swap.release(entry)) {
        world_.swap.remove_from_cache_locked(page);
    }
    if (pgoff < size_in_pages()) {
        return true;
    }
    drop_page_locked(page); // truncation may have looked at this place already
    return false;
}

Result<Page*> FileMapping::get_swapped_locked(u64 pgoff, SwapEntry entry, FrameReserve& frames) {
    Page* page = OBJR_TRY(world_.swap.read_locked(entry, frames));
    if (take_from_swap_locked(*page, pgoff, entry)) {
        return page;
    }
    page->unlock();
    world_.pool.put(*page);
    return Errno{OBJR_ENOENT};
}

Status FileMapping::bring_in(u64 pgoff, FrameReserve& frames) {
    SwapEntry entry{};
    if (u64 at = pgoff; !swapped_from(at, entry, pgoff)) {
        return Errno{OBJR_ENOENT};
    }
    Page* page = OBJR_TRY(get_swapped_locked(pgoff, entry, frames));
    page->unlock();
    world_.pool.put(*page);
    return {};
}

// ---- nowhere

void FileMapping::drop_swapped(u64 first) {
    SwapEntry entry{};
    for (u64 pgoff = first; swapped_from(pgoff, entry); pgoff++) {
        SharedGuard quiesce(world_.quiesce);
        if (pages_.erase_number(pgoff, entry.word())) {
            if (world_.swap.release(entry)) {
                world_.swap.reap(entry);
            }
            swapped_.fetch_sub(1);
        }
        if (pgoff == ~0ull) {
            break;
        }
        objr_cond_resched();
    }
}

} // namespace objr
