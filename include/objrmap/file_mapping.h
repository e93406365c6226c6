// SPDX-License-Identifier: GPL-2.0
// FileMapping: the object of file pages: a page cache and the index of all Vmas that map it (Linux: struct
// address_space, mm/filemap.c, mm/truncate.c). A named object is the same without a file behind it.
//
// Invariants:
//   F1 a page in `pages_` at pgoff p has mapping == this, index == p, and a reference held by the cache.
//   F2 a Vma is in the index <=> its file points here (spec C2).
//   F3 a page at or beyond the end is in no page table once truncate() has returned.
//   F5 a page of a real file is marked in `pages_` and says PageFlag::maybe_dirty <=> it is dirty, or an entry of a shared Vma for it
//      is writable or dirty. So a file without marks has nothing to write, and what has is found without looking at the rest.
//   F6 of a page of an object that is swapped out `pages_` has the swap entry, for which its slot counts one.
//
// Dirty pages: a write fault marks, before it makes the entry writable. Write-back takes the rights away, then flag and mark, and
// copies, all under the page lock; what it cannot write gets flag and mark again. Only truncation loses either.
//
// Errors: one of a write that nobody waited for, or that somebody else waited for, is in errors(). A descriptor takes a sample when it
// is bound and asks with it at each fsync, so that it hears of each error once, and of one of its own fsync only there.
//
// Ownership: counted twice. Users are the descriptors bound to it (objr_object) and the Vmas: the last one writes back what is dirty,
// drops what an object has, and takes it out of the table of files; a descriptor outlives its Vmas, so this never happens under an
// mmap_lock. Who looks at
// files, or writes them back in the background, only holds the object: it keeps memory and pages, and no user waits for it.
// Locking: fields say it. pages_ is a table with a lock of its own; a page enters locked, and leaves under its page lock.
#pragma once

#include "objrmap/error_sequence.h"
#include "objrmap/file_index.h"
#include "objrmap/memory.h"
#include "objrmap/vma.h"

namespace objr {

struct World;
class FrameReserve;

class FileMapping : Pinned {
public:
    enum class Kind : u32 { file, object };
    static constexpr u32 kNameBytes = 64;

    // Consumes backing in every case. Shares the object of the inode if there is one. ENOMEM.
    static Result<FileMapping*> of_file(World& world, objr_backing* backing);
    // See objr_object_of_name.
    static Result<FileMapping*> of_name(World& world, const char* name, u64 size, u32 flags, const objr_owner& owner);
    void get() { refs_.fetch_add(1); }
    bool try_get() { return refs_.add_unless_zero(); }
    void put(); // sleeps; the last one writes back
    // The object has users: it was found in the table of files, whose lock is held, or at a Vma. let_go() sleeps.
    void hold() { holders_.fetch_add(1); }
    void let_go();

    // The page at pgoff, uptodate, referenced and locked, read from the file if need be. EIO beyond the end or unreadable;
    // ENOBUFS, ENOMEM. *read: it was.
    Result<Page*> get_locked_page(u64 pgoff, FrameReserve& frames, bool* read = nullptr);
    bool has_page(u64 pgoff) { return pages_.find(pgoff) != nullptr; } // at this instant
    // The page if it is in the cache, referenced, not locked; nullptr: it is not.
    Page* find_page(u64 pgoff);
    // First page at or after *pgoff, referenced, not locked; sets *pgoff. marked: only such as F5 marks.
    enum class Which { all, marked };
    Page* find_page_from(u64& pgoff, u64 last = ~0ull, Which which = Which::all);
    // Out of the cache, if that gives the frame back with the caller's reference: the page is locked, and nobody maps it, waits for it
    // or has something to write. False: it stays. An object has its pages nowhere else: never.
    bool evict_locked(Page& page);

    // An object's page, locked, becomes one of the swap cache, whose entry takes its place here. The caller has the one reference besides
    // the cache's. EBUSY: somebody maps it or looks at it; ENOSPC: no slot.
    Status move_to_swap_locked(Page& page);
    // First page at or after pgoff that is swapped out; sets pgoff.
    bool swapped_from(u64& pgoff, SwapEntry& entry, u64 last = ~0ull);
    // It comes back. No page lock is held. ENOENT: it is not swapped out (any more); ENOBUFS, ENOMEM, EIO, EHWPOISON.
    Status bring_in(u64 pgoff, FrameReserve& frames);

    // Memory failure: the page is locked, in the cache and in no page table. A clean one of a real file leaves the cache: true, it can be
    // read again. Else it stays as a poisoned one, which nobody gets, until it is cut off.
    bool poison_page_locked(Page& page);
    // What was written to it is lost: each descriptor's next fsync says so.
    void note_error(u32 error) { errors_.note(error); }

    // Migration: both are locked, old is in the cache; fresh has its contents and takes its place. The caller references both.
    void replace_page_locked(Page& old, Page& fresh);

    // Make what is dirty in pages [first, last] clean and write it. The first error; pages that failed stay dirty. Not
    // under the quiesce lock, which it takes for each page.
    Status sync(u64 first, u64 last, bool datasync);
    // The same in the background: at most `most` of the dirty pages, from where the last call has stopped, not synced. Returns
    // how many were written. None if somebody else writes the file just now: busy is set then. After a call in which writing has only
    // failed the file is left alone for a second.
    u64 write_back(u64 most, bool* busy = nullptr);
    // The same for one page, waited for and not synced.
    Status write_out_page(u64 pgoff);
    ErrorSequence& errors() { return errors_; }
    // New size in bytes. EACCES: no descriptor with write access; EINVAL; what the file system says.
    Status truncate(u64 size);

    World& world() const { return world_; }
    Kind kind() const { return kind_; }
    u32 id() const { return id_; }
    const char* name() const { return name_; }
    u64 size() const; // bytes, as of now
    // The file has been cut by somebody else, and what is beyond is mapped yet.
    bool seen_cut() const { return kind_ == Kind::file && size() < size_.load(); }
    // Take it out, unless the file is being written back, which ends in that too. No lock is held but a process's mmap_lock.
    void try_note_cut();
    u64 size_in_pages() const { return (size() + kPageSize - 1) >> kPageShift; }
    bool writable() const { return kind_ == Kind::object || writer() != nullptr; }
    bool being_cut() const { return cutting_.load_acquire() != 0; } // F3 does not hold yet
    u64 cached_pages() const { return cached_.load(); }
    u64 swapped_pages() const { return swapped_.load(); }
    u64 dirty_pages() const { return dirty_.load(); }
    // The page is in the cache and locked, and an entry that is writable or dirty comes next (F5). Any context.
    void mark_page_locked(Page& page);
    // An entry through which page, which the caller references, could be written has gone, and now the last translation of it too:
    // what came in between was not to be seen by a write-back. No page lock and no rmap lock is held, quiesce is.
    void note_late_writes(Page& page);

    RwSem i_mmap_lock;
    FileIndex i_mmap; // guarded by i_mmap_lock; its kind changes under quiesce for write and the registry lock

private:
    FileMapping(World& world, Kind kind) : i_mmap(FileIndex::Kind::prio_tree), world_(world), kind_(kind) {}
    friend struct World;
    template <class T>
    friend class Cache;

    static Result<FileMapping*> create(World& world, Kind kind);
    static Status enter(World& world, FileMapping& fresh);
    objr_backing* writer() const { return writer_.load_acquire(); }
    Status add_page_locked(Page& page, u64 pgoff);
    Status fill(Page& page, u64 pgoff);
    Result<Page*> get_swapped_locked(u64 pgoff, SwapEntry entry, FrameReserve& frames);
    bool take_from_swap_locked(Page& page, u64 pgoff, SwapEntry entry);
    void drop_swapped(u64 first);
    void drop_page_locked(Page& page);
    struct Written {
        u64 pages = 0;
        u32 failures = 0;
        Status first_error;
        u64 next = 0; // where it has stopped
    };
    Written write_pages(u64 first, u64 last, u64 most, u32 most_failures);
    void note_size();
    void clear_beyond_locked(Page& page, u64 size);
    Status try_truncate(u64 size, FrameReserve& frames);
    Status clear_tail(u64 size, FrameReserve& frames);
    void note_failure(Status status);
    void unmark_page_locked(Page& page);
    bool clean_next(u64& pgoff, u64 last, void* copy);
    Status write_copy(u64 pgoff, const void* copy);
    void make_dirty(u64 pgoff);
    Status write_out();
    void unmap_beyond(u64 first);
    Mm* next_mapper(u64 first, u32 after);
    u64 zap_beyond(Mm& mm, u64 first);
    void cut_cache(u64 size);
    void drop_all();
    void destroy();

    World& world_;
    const Kind kind_;
    u32 id_ = 0; // immutable
    char name_[kNameBytes] = {}; // immutable
    u32 uid_ = 0; // immutable; of a named object
    Atomic<u32> refs_{1}; // users
    Atomic<u32> holders_{1}; // all users together, and who holds it
    u64 key_ = 0; // immutable; identity of the inode
    objr_backing* reader_ = nullptr; // immutable; the first descriptor's file
    Atomic<objr_backing*> writer_{nullptr}; // none -> set once (registry lock): the first one opened for writing
    Atomic<u64> size_{0}; // of a named object; of a file: the size last seen
    Atomic<u32> cutting_{0}; // truncate() has set the size and not yet unmapped what is beyond
    Mutex writeback_; // one write-back at a time
    Mutex syncing_; // the same for waiting for the disk; not nested
    Atomic<u64> in_write_{~0ull}; // the page whose copy is being written; writeback_ held; set under its page lock
    Atomic<u32> writing_{0}; // pages are marked clean and not all of them written yet; writeback_ held
    u64 write_next_ OBJR_GUARDED_BY(writeback_) = 0; // where write_back() goes on
    Atomic<u64> retry_at_{0}; // ns; before that write_back() leaves the file alone: it has failed
    Table<Page> pages_; // and swap entries
    Atomic<u64> cached_{0}; // pages in pages_
    Atomic<u64> swapped_{0}; // swap entries in pages_
    Atomic<u64> dirty_{0}; // marks
    ErrorSequence errors_;
};

// Write about `most` dirty pages back, of one file after the other, each call where the last one has stopped. Returns how
// many were written; 0: none is left that can be now. busy: set if a file was passed by that somebody else writes. Sleeps, under no lock.
u64 write_back_some(World& world, u64 most, bool* busy = nullptr);

} // namespace objr
