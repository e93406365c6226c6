// SPDX-License-Identifier: GPL-2.0
// From the page cache to the file: write-back and truncation (Linux: mm/page-writeback.c:write_cache_pages, mm/truncate.c).
//
// Writing takes the inode lock, and a process in write(2) may hold that while it faults on pool memory. So a page is made
// clean and copied under its lock, and written from the copy with no lock held but writeback_, which no fault takes. fsync, truncate
// and the last close wait for writeback_; the background only tries it.
#include "objrmap/file_mapping.h"
#include "objrmap/frames.h"
#include "objrmap/rmap.h"
#include "objrmap/world.h"

namespace objr {

// ---- write-back

void FileMapping::mark_page_locked(Page& page) {
    if (kind_ != Kind::file || page.has(PageFlag::maybe_dirty)) {
        return;
    }
    page.set(PageFlag::maybe_dirty);
    pages_.set_mark(page.index);
    dirty_.fetch_add(1);
    world_.counters.add(Count::dirty_pages);
}

void FileMapping::unmark_page_locked(Page& page) {
    if (page.clear(PageFlag::maybe_dirty)) {
        pages_.clear_mark(page.index);
        dirty_.fetch_sub(1);
        world_.counters.sub(Count::dirty_pages);
    }
}

// A page that is dirty now will be copied later, with all that was written to it. One that has failed meanwhile was taken for clean.
void FileMapping::note_late_writes(Page& page) {
    if (kind_ != Kind::file || page.has(PageFlag::dirty)) {
        return;
    }
    make_dirty(page.index);
    PageLock lock(page);
    if (page.has(PageFlag::poisoned)) {
        note_error(OBJR_EIO);
    }
}

Status FileMapping::sync(u64 first, u64 last, bool datasync) {
    objr_backing* writer = this->writer();
    if (!writer) {
        return {}; // nothing can have become dirty
    }
    Written written;
    {
        Guard guard(writeback_);
        note_size();
        written = write_pages(first, last, ~0ull, ~0u);
        retry_at_.store(0);
    }
    // One at a time too: of a failure the kernel tells the first, and the others must find it noted.
    Guard guard(syncing_);
    Status status = Status::from_int(objr_backing_sync(writer, first << kPageShift, ~0ull >> 1, datasync ? 1 : 0));
    if (!status) {
        note_failure(status);
    }
    return written.first_error ? status : written.first_error;
}

Status FileMapping::write_out_page(u64 pgoff) {
    if (!writer()) {
        return {};
    }
    Guard guard(writeback_);
    note_size();
    return write_pages(pgoff, pgoff, 1, 1).first_error;
}

// For every descriptor's next fsync. That the kernel had no memory for the attempt, or that who made it is being killed, is no error of the
// file: it comes again.
void FileMapping::note_failure(Status status) {
    if (status.error().value != OBJR_ENOMEM && status.error().value != OBJR_EINTR) {
        note_error(status.error().value);
    }
}

u64 FileMapping::write_back(u64 most, bool* busy) OBJR_THREAD(no_thread_safety_analysis) {
    constexpr u32 kMostFailures = 16;
    constexpr u64 kPause = 1000000000; // ns
    if (dirty_.load() == 0 || objr_ktime_get_ns() < retry_at_.load() || !writer()) {
        return 0;
    }
    if (!writeback_.try_lock()) {
        if (busy) {
            *busy = true;
        }
        return 0;
    }
    note_size();
    const u64 from = write_next_;
    Written written = write_pages(from, ~0ull, most, kMostFailures);
    u64 pages = written.pages;
    if (from != 0 && pages < most && written.failures == 0) {
        written = write_pages(0, from - 1, most - pages, kMostFailures);
        pages += written.pages;
    }
    write_next_ = written.next;
    if (written.failures != 0 && pages == 0) { // not for one bad page among good ones
        const u64 until = objr_ktime_get_ns() + kPause;
        retry_at_.store(until);
        world_.write_back_pause.store(until);
    }
    writeback_.unlock();
    return pages;
}

// The file may have been cut by somebody else.
void FileMapping::note_size() {
    if (u64 size = this->size(); size < size_.exchange(size)) {
        unmap_beyond((size + kPageSize - 1) >> kPageShift);
        cut_cache(size);
    }
}

// Only tried: who holds writeback_ may wait for the inode's lock, and that for the caller's mmap_lock.
void FileMapping::try_note_cut() OBJR_THREAD(no_thread_safety_analysis) {
    if (writeback_.try_lock()) {
        note_size();
        writeback_.unlock();
    }
}

// Until `most` pages are written or as many have failed as are allowed to, or the caller is being killed: then EINTR is the first error.
// writeback_ is held.
FileMapping::Written FileMapping::write_pages(u64 first, u64 last, u64 most, u32 most_failures) {
    Written written{.next = first};
    void* copy = objr_alloc_pages(0);
    if (!copy) {
        written.failures = 1;
        written.first_error = Errno{OBJR_ENOMEM};
        return written;
    }
    writing_.store(1);
    u64& pgoff = written.next;
    bool ended = false;
    while (!ended && written.pages < most && written.failures < most_failures && clean_next(pgoff, last, copy)) {
        if (Status status = write_copy(pgoff, copy); status) {
            written.pages++;
        } else {
            SharedGuard quiesce(world_.quiesce);
            make_dirty(pgoff);
            note_failure(status);
            world_.counters.add(Count::write_errors);
            written.first_error = written.failures++ == 0 ? status : written.first_error;
        }
        in_write_.store(~0ull);
        ended = pgoff == last;
        pgoff++;
        if (!ended && objr_fatal_signal_pending() != 0) {
            written.first_error = written.first_error ? Status(Errno{OBJR_EINTR}) : written.first_error;
            ended = true;
        }
    }
    writing_.store_release(0);
    objr_free_pages(copy, 0);
    return written;
}

// Make the first marked page in [pgoff, last] clean and copy it; sets pgoff. False: there is none.
bool FileMapping::clean_next(u64& pgoff, u64 last, void* copy) {
    for (;;) {
        SharedGuard quiesce(world_.quiesce);
        Page* page = find_page_from(pgoff, last, Which::marked);
        if (!page) {
            return false;
        }
        bool dirty = false;
        {
            PageLock lock(*page);
            // Else it was truncated, or migrated: then the page in its place has the mark.
            if (page->mapping() == MappingWord::file(this)) {
                page_mkclean(world_, *page);
                dirty = page->clear(PageFlag::dirty);
                unmark_page_locked(*page);
                // Nobody can write now, and who has done so knew no longer file than this: what is behind its end is nowhere.
                clear_beyond_locked(*page, size());
            }
            if (dirty) {
                in_write_.store(pgoff); // it stays in the cache until then
                objr_copy_page(copy, world_.pool.address(*page));
            }
        }
        world_.pool.put(*page);
        if (dirty) {
            return true;
        }
        objr_cond_resched();
    }
}

// What is beyond the end of the file is not written: somebody has cut it.
Status FileMapping::write_copy(u64 pgoff, const void* copy) {
    u64 start = pgoff << kPageShift;
    u64 end = min(size(), start + kPageSize);
    if (start < end) {
        OBJR_TRY_STATUS(Status::from_int(objr_backing_write(writer(), start, copy, static_cast<u32>(end - start))));
        world_.counters.add(Count::writebacks);
    }
    return {};
}

// The page at pgoff has something that the file has not; one that has been truncated meanwhile has nothing to write any more.
void FileMapping::make_dirty(u64 pgoff) {
    while (Page* page = find_page(pgoff)) {
        bool done = false;
        {
            PageLock lock(*page);
            done = page->mapping() == MappingWord::file(this); // else it was truncated or has gone to another frame
            if (done && !page->has(PageFlag::poisoned)) {
                page->set(PageFlag::dirty);
                mark_page_locked(*page);
            }
        }
        world_.pool.put(*page);
        if (done) {
            return;
        }
    }
}

// ---- in the background

// One round at most: a file that has been visited and has dirty pages left has its turn in the next call.
u64 write_back_some(World& world, u64 most, bool* busy) {
    constexpr u64 kTurn = 64; // pages of one file
    u64 done = 0;
    u64 id = world.write_back_from.load();
    for (u32 ends = id == 0 ? 1 : 0; done < most;) {
        FileMapping* file = world.hold_file_from(id, World::Files::dirty);
        if (!file) {
            if (ends++ != 0) {
                break;
            }
            id = 0;
            continue;
        }
        done += file->write_back(min(kTurn, most - done), busy);
        file->let_go();
        id++;
        objr_cond_resched();
    }
    world.write_back_from.store(id);
    return done;
}

// ---- truncation

Status FileMapping::truncate(u64 size) {
    constexpr u64 kMaxSize = 1ull << 47;
    if (size > kMaxSize) {
        return Errno{OBJR_EINVAL};
    }
    if (!writable()) {
        return Errno{OBJR_EACCES};
    }
    FrameReserve frames(world_, Patience::reclaim);
    return with_frames(frames, [&] { return try_truncate(size, frames); });
}

Status FileMapping::try_truncate(u64 size, FrameReserve& frames) {
    Guard guard(writeback_);
    OBJR_TRY_STATUS(clear_tail(size, frames));
    // The size first: a fault that comes later sees it, one that came before is waited for below.
    if (objr_backing* writer = this->writer()) {
        OBJR_TRY_STATUS(Status::from_int(objr_backing_truncate(writer, size)));
    }
    cutting_.store(1);
    size_.store_release(size);
    unmap_beyond((size + kPageSize - 1) >> kPageShift);
    cutting_.store_release(0);
    cut_cache(size);
    return {};
}

// A file is about to grow to size: what has been written behind its end, in its last page, does not come with it. That of an object may
// be in the swap space, also when the object is about to be cut there: it comes in, and what leaves again is cleared. EIO,
// EHWPOISON, ENOBUFS: it cannot; nothing has changed.
Status FileMapping::clear_tail(u64 size, FrameReserve& frames) {
    const u64 end = kind_ == Kind::object ? min(size, this->size()) : this->size();
    if ((end & (kPageSize - 1)) == 0 || (kind_ == Kind::file && size <= end)) {
        return {};
    }
    const u64 pgoff = end >> kPageShift;
    SharedGuard quiesce(world_.quiesce);
    for (bool cleared = false; !cleared && pages_.taken(pgoff);) {
        SwapEntry entry{};
        u64 at = pgoff;
        const bool swapped = swapped_from(at, entry, pgoff);
        Page* page = swapped ? OBJR_TRY(get_locked_page(pgoff, frames)) : find_page(pgoff);
        if (!page) {
            continue; // it is on its way
        }
        if (!swapped) {
            page->lock();
        }
        cleared = page->mapping() == MappingWord::file(this);
        if (cleared) {
            page_mkclean(world_, *page);
            clear_beyond_locked(*page, end);
        }
        page->unlock();
        world_.pool.put(*page);
    }
    return {};
}

// Bytes of a page that are at or behind the end of the file.
void FileMapping::clear_beyond_locked(Page& page, u64 size) {
    const u64 start = page.index << kPageShift;
    if (start < size && size - start < kPageSize && !page.has(PageFlag::poisoned)) {
        __builtin_memset(static_cast<u8*>(world_.pool.address(page)) + (size - start), 0, kPageSize - (size - start));
    }
}

// Take every page from pgoff first on out of every Vma of this file, private copies included (spec U6). An Mm that forks
// meanwhile is seen again, since its child can only have what it had: until a whole round finds nothing, or a real file has
// grown again behind our back and its pages may be mapped anew.
void FileMapping::unmap_beyond(u64 first) {
    u64 dropped;
    do {
        dropped = 0;
        u32 done_id = 0;
        while (Mm* mm = next_mapper(first, done_id)) {
            done_id = mm->id();
            dropped += zap_beyond(*mm, first);
            mm->put();
        }
    } while (dropped != 0 && first >= size_in_pages());
}

// The Mm with the least id above after that has a Vma which may map a page from first on; referenced.
Mm* FileMapping::next_mapper(u64 first, u32 after) {
    SharedGuard quiesce(world_.quiesce);
    SharedGuard guard(i_mmap_lock);
    Mm* found = nullptr;
    auto consider = [&](Vma& vma) {
        Mm* mm = vma.mm;
        if (mm->id() > after && (!found || mm->id() < found->id())) {
            found = mm;
        }
        return true;
    };
    i_mmap.visit(first, ~0ull, consider);
    i_mmap.visit_nonlinear(consider); // may have any page
    if (found) {
        found->get(); // alive: its Vma is linked
    }
    return found;
}

u64 FileMapping::zap_beyond(Mm& mm, u64 first) {
    SharedGuard quiesce(world_.quiesce);
    Guard guard(mm.lock());
    u64 dropped = 0;
    for (Vma* vma = mm.first_from(Vaddr(0)); vma; vma = mm.next(*vma)) {
        if (vma->file == this && vma->has(VmFlag::nonlinear)) {
            dropped += mm.cut_nonlinear_locked(*vma, first);
        } else if (vma->file == this && vma->last_pgoff() >= first) {
            Vaddr start = vma->start + ((max(first, vma->pgoff) - vma->pgoff) << kPageShift);
            dropped += mm.zap_range_locked(*vma, start, vma->end, Translations::present, OBJR_MMAP_LOCK_NOT_HELD);
        }
    }
    return dropped;
}

// Drop the pages at and beyond size, and clear what is beyond it in the last page. One that is mapped stays: the file has grown
// again since. Under its page lock a page that is not mapped stays so.
void FileMapping::cut_cache(u64 size) {
    for (u64 pgoff = size >> kPageShift; Page* page = find_page_from(pgoff);) {
        SharedGuard quiesce(world_.quiesce);
        {
            PageLock lock(*page);
            u64 start = pgoff << kPageShift;
            if (page->mapping() != MappingWord::file(this)) {
                // it went by itself, or another has come in its place: look again
            } else if (start < size) {
                clear_beyond_locked(*page, size);
                pgoff++;
            } else {
                if (!page->mapped()) {
                    drop_page_locked(*page);
                }
                pgoff++;
            }
        }
        world_.pool.put(*page);
        objr_cond_resched();
    }
    drop_swapped((size + kPageSize - 1) >>
                 kPageShift); // last: a page may have left meanwhile, and none that has comes back
}

} // namespace objr
