// SPDX-License-Identifier: GPL-2.0
// Life of a FileMapping and its page cache (Linux: mm/filemap.c).
#include "objrmap/file_mapping.h"

#include "objrmap/frames.h"
#include "objrmap/world.h"

namespace objr {

// ---- life

Result<FileMapping*> FileMapping::create(World& world, Kind kind) {
    FileMapping* file = OBJR_TRY(world.file_cache.make(world, kind));
    file->id_ = world.next_id();
    file->i_mmap_lock.init(OBJR_LOCK_I_MMAP);
    file->writeback_.init(OBJR_LOCK_WRITEBACK);
    file->syncing_.init(OBJR_LOCK_WRITEBACK);
    file->pages_.init();
    return file;
}

// Into the table of files. The registry lock is held: a switch of schemes finds it there, or it finds the new scheme here.
Status FileMapping::enter(World& world, FileMapping& fresh) {
    fresh.i_mmap.rebuild(world.scheme().traits.file_index);
    return world.files.insert(fresh.id_, &fresh);
}

// The registry lock is held.
static FileMapping* find_and_get(World& world, auto&& matches) {
    for (u64 id = 0; FileMapping* file = world.files.find_from(id); id++) {
        if (matches(*file) && file->try_get()) {
            return file;
        }
    }
    return nullptr;
}

Result<FileMapping*> FileMapping::of_file(World& world, objr_backing* backing) {
    Result<FileMapping*> made = create(world, Kind::file);
    if (!made) {
        objr_backing_put(backing);
        return made;
    }
    FileMapping* fresh = *made;
    fresh->key_ = objr_backing_key(backing);
    fresh->size_.store(objr_backing_size(backing));
    objr_backing_name(backing, fresh->name_, kNameBytes);
    FileMapping* file;
    Status status;
    {
        Guard guard(world.registry);
        file = find_and_get(world, [&](FileMapping& f) { return f.kind_ == Kind::file && f.key_ == fresh->key_; });
        if (!file) {
            status = enter(world, *fresh);
            if (status) {
                file = fresh;
                file->reader_ = backing;
                world.counters.add(Count::file_mappings);
            }
        }
        if (file && objr_backing_writable(backing) && !file->writer_.load()) {
            file->writer_.store_release(backing);
        }
    }
    if (file != fresh) {
        fresh->destroy();
    }
    if (!file || (file->reader_ != backing && file->writer() != backing)) {
        objr_backing_put(backing);
    }
    return file ? Result<FileMapping*>(file) : Result<FileMapping*>(status.error());
}

// 1 to 63 printable bytes without '/' and blanks: a name is a word in queries and answers.
static bool name_ok(const char* name) {
    u32 length = 0;
    for (; name[length] != '\0'; length++) {
        if (length >= FileMapping::kNameBytes - 1 || name[length] <= ' ' || name[length] > '~' || name[length] == '/') {
            return false;
        }
    }
    return length != 0;
}

static bool same_name(const char* a, const char* b) {
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

Result<FileMapping*> FileMapping::of_name(World& world, const char* name, u64 size, u32 flags,
                                          const objr_owner& owner) {
    constexpr u64 kMaxSize = 1ull << 47;
    if (!name_ok(name) || (flags & ~(OBJR_OBJECT_CREATE | OBJR_OBJECT_EXCL)) != 0 || size > kMaxSize) {
        return Errno{OBJR_EINVAL};
    }
    size = (size + kPageSize - 1) & kPageMask;
    FileMapping* fresh = OBJR_TRY(create(world, Kind::object));
    for (u32 i = 0; name[i] != '\0'; i++) {
        fresh->name_[i] = name[i];
    }
    fresh->uid_ = owner.uid;
    fresh->size_.store(size);
    FileMapping* file;
    Status status;
    {
        Guard guard(world.registry);
        file = find_and_get(world, [&](FileMapping& f) { return f.kind_ == Kind::object && same_name(f.name_, name); });
        if (!file) {
            status = (flags & OBJR_OBJECT_CREATE) == 0 ? Status(Errno{OBJR_ENOENT})
                     : size == 0                       ? Status(Errno{OBJR_EINVAL})
                                                       : enter(world, *fresh);
            if (status) {
                file = fresh;
                world.counters.add(Count::file_mappings);
            }
        }
    }
    if (file == fresh) {
        return file;
    }
    fresh->destroy();
    if (!file) {
        return status.error();
    }
    if ((flags & OBJR_OBJECT_EXCL) != 0) {
        status = Errno{OBJR_EEXIST};
    } else if (file->uid_ != owner.uid && owner.is_root == 0) {
        status = Errno{OBJR_EACCES};
    } else if (size != 0 && size != file->size()) {
        status = Errno{OBJR_EINVAL};
    }
    if (!status) {
        file->put();
        return status.error();
    }
    return file;
}

// Who is killed while it closes a file loses nothing: the write would end at the signal.
static Status sync_detached(FileMapping& file) {
    struct Sync {
        FileMapping& file;
        Status status;
    } sync{file, {}};
    objr_run_detached(
        [](void* argument) {
            auto& work = *static_cast<Sync*>(argument);
            work.status = work.file.sync(0, ~0ull, true);
        },
        &sync);
    return sync.status;
}

// Also what another thread is about to write is waited for: its pages are not marked any more.
Status FileMapping::write_out() {
    if (writing_.load() != 0) {
        Guard guard(writeback_);
    }
    return dirty_.load() != 0 ? sync_detached(*this) : Status();
}

// The last user writes back while the object can still be found, so that who opens the file meanwhile shares it rather than
// reads what is not yet written; only when nothing has become dirty since does it go. A write-back that fails is tried once more.
void FileMapping::put() OBJR_THREAD(no_thread_safety_analysis) {
    constexpr u32 kAttempts = 2;
    constexpr u32 kMostRounds = 10000; // of others who open it, write, and are gone again
    for (u32 failures = 0, rounds = 0;; rounds++) {
        u32 seen = refs_.load();
        if (seen > 1) {
            if (refs_.compare_exchange(seen, seen - 1)) {
                return;
            }
            continue;
        }
        Status status = write_out();
        if (!status) {
            failures++;
            if (objr_printk_ratelimit() != 0)
                objr_printk(OBJR_ERR, "file %s: write-back at last close failed (error %d): %s\n", name_,
                            status.as_int(), failures < kAttempts ? "once more" : "changes are lost");
        }
        Guard guard(world_.registry);
        u32 one = 1;
        if (!refs_.compare_exchange(one, 0)) {
            continue; // somebody has opened it meanwhile
        }
        // Only now is it certain that nobody makes it dirty any more: it is looked up under the lock that is held.
        // Whoever is writing one just now makes it dirty again if that fails: then it is not tried, and looked at again.
        bool written = false;
        if (status && writeback_.try_lock()) {
            written = dirty_.load() == 0;
            writeback_.unlock();
        }
        if (written || failures >= kAttempts || OBJR_WARN_ON(rounds == kMostRounds)) {
            break; // nobody can come to use it any more
        }
        refs_.store(1);
    }
    if (kind_ == Kind::object) {
        drop_all(); // as long as the verifier finds it: its swap entries count
    }
    {
        Guard guard(world_.registry);
        world_.files.erase(id_);
        world_.counters.sub(Count::file_mappings);
    }
    let_go();
}

void FileMapping::drop_all() {
    do { // a page that reclaim has just taken out of the table may not be counted out yet
        cut_cache(0);
        objr_cond_resched();
    } while (cached_.load() != 0 || swapped_.load() != 0);
}

void FileMapping::let_go() {
    if (holders_.fetch_sub(1) > 1) {
        return;
    }
    drop_all();
    if (objr_backing* writer = this->writer(); writer && writer != reader_) {
        objr_backing_put(writer);
    }
    if (reader_) {
        objr_backing_put(reader_);
    }
    destroy();
}

void FileMapping::destroy() {
    OBJR_WARN_ON(!i_mmap.empty());
    pages_.destroy();
    world_.file_cache.free(this);
}

u64 FileMapping::size() const { return reader_ ? objr_backing_size(reader_) : size_.load(); }

// ---- the page cache

// A descriptor of a page is never freed, so a stale pointer may be looked at; the reference makes what it says hold.
Page* FileMapping::find_page(u64 pgoff) {
    while (Page* page = pages_.find(pgoff)) {
        if (world_.pool.try_get(*page)) {
            if (page->mapping() == MappingWord::file(this) && page->index == pgoff) {
                return page;
            }
            world_.pool.put(*page);
        }
    }
    return nullptr;
}

// A page that does not stand for its place any more has gone, or another one has taken the place (migration): the table knows.
Page* FileMapping::find_page_from(u64& pgoff, u64 last, Which which) {
    while (Page* page = which == Which::all ? pages_.find_from(pgoff, last) : pages_.find_marked_from(pgoff, last)) {
        if (world_.pool.try_get(*page)) {
            if (page->mapping() == MappingWord::file(this) && page->index == pgoff) {
                return page;
            }
            world_.pool.put(*page);
        }
        if (pages_.find(pgoff) == page) { // not gone: the verifier tells
            if (pgoff == last) {
                return nullptr;
            }
            pgoff++;
        }
    }
    return nullptr;
}

Result<Page*> FileMapping::get_locked_page(u64 pgoff, FrameReserve& frames, bool* read) {
    while (pgoff < size_in_pages()) {
        if (Page* page = find_page(pgoff)) {
            page->lock();
            if (page->mapping() == MappingWord::file(this) && page->has(PageFlag::poisoned)) {
                page->unlock();
                world_.pool.put(*page);
                return Errno{OBJR_EHWPOISON};
            }
            // Under its lock a page is not truncated; beyond a size that shrank while we waited it must not be used.
            if (page->mapping() == MappingWord::file(this) && page->has(PageFlag::uptodate) &&
                pgoff < size_in_pages()) {
                return page;
            }
            page->unlock();
            world_.pool.put(*page);
            continue;
        }
        SwapEntry entry{};
        if (u64 at = pgoff; swapped_from(at, entry, pgoff)) {
            Page* cached = world_.swap.find_page(entry);
            if (cached) {
                world_.pool.put(*cached);
            }
            Result<Page*> back = get_swapped_locked(pgoff, entry, frames);
            if (!back && back.error().value != OBJR_ENOENT) {
                return back;
            }
            if (back) {
                if (read && !cached) {
                    *read = true;
                }
                return back;
            }
            objr_cond_resched();
            continue;
        }
        Page* page = OBJR_TRY(frames.allocate_locked());
        Status status = add_page_locked(*page, pgoff);
        if (status) {
            status = fill(*page, pgoff);
            if (status && pgoff < size_in_pages()) {
                page->set(PageFlag::uptodate);
                if (read && reader_) {
                    *read = true;
                }
                return page;
            }
            drop_page_locked(*page);
        }
        page->unlock();
        world_.pool.put(*page);
        if (!status && status.error().value != OBJR_EBUSY) {
            return status.error();
        }
    }
    return Errno{OBJR_EIO};
}

Status FileMapping::add_page_locked(Page& page, u64 pgoff) {
    page.index = pgoff;
    page.set_mapping(MappingWord::file(this));
    world_.pool.get(page); // the cache's
    if (Status status = pages_.insert(pgoff, &page); !status) { // EBUSY: another fault was faster
        page.set_mapping(MappingWord());
        world_.pool.put(page);
        return status;
    }
    cached_.fetch_add(1);
    world_.counters.add(Count::file_pages);
    return {};
}

// Pages of the pool are zero: an object's new page needs nothing.
Status FileMapping::fill(Page& page, u64 pgoff) {
    return reader_ ? Status::from_int(objr_backing_fill(reader_, pgoff, world_.pool.address(page))) : Status();
}

// Out of the cache; the page is locked, unmapped, and referenced by the caller.
void FileMapping::drop_page_locked(Page& page) {
    OBJR_WARN_ON(page.mapped());
    unmark_page_locked(page);
    World& world = world_;
    pages_.erase(page.index);
    page.set_mapping(MappingWord());
    page.clear(PageFlag::dirty);
    world.counters.sub(Count::file_pages);
    cached_.fetch_sub(1); // the last access: reclaim has no reference of this object, which may go with its last page
    world.pool.put(page);
}

// Who finds the page from here on waits for its lock and sees that it is the file's no more: none of them is among the references.
bool FileMapping::evict_locked(Page& page) {
    constexpr s32 kExpected = 2; // the cache's and the caller's
    OBJR_WARN_ON(!page.locked());
    if (kind_ != Kind::file || page.mapping() != MappingWord::file(this) || page.mapped() ||
        page.has(PageFlag::maybe_dirty) || page.index == in_write_.load() || page.refcount.load() != kExpected) {
        return false;
    }
    drop_page_locked(page);
    return true;
}

bool FileMapping::poison_page_locked(Page& page) {
    OBJR_WARN_ON(!page.locked() || page.mapped() || page.mapping() != MappingWord::file(this));
    // What is clean may have its copy still to be written (evict_locked).
    if (kind_ == Kind::file && !page.has(PageFlag::dirty) && page.index != in_write_.load()) {
        drop_page_locked(page);
        return true;
    }
    unmark_page_locked(page);
    page.clear(PageFlag::dirty);
    note_error(OBJR_EIO);
    return false;
}

// Who finds fresh from here on waits for its lock; who has found old and waits for its lock sees that it is not the file's any more.
void FileMapping::replace_page_locked(Page& old, Page& fresh) {
    OBJR_WARN_ON(!old.locked() || !fresh.locked() || old.mapping() != MappingWord::file(this));
    fresh.index = old.index;
    fresh.set_mapping(MappingWord::file(this));
    world_.pool.get(fresh); // the cache's
    pages_.replace(old.index, &fresh);
    if (old.clear(PageFlag::maybe_dirty)) {
        fresh.set(PageFlag::maybe_dirty);
    }
    old.set_mapping(MappingWord());
    world_.pool.put(old);
}

} // namespace objr
