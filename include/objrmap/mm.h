// SPDX-License-Identifier: GPL-2.0
// Mm: one address space: a page-table tree, the Vmas over it, and the operations on them (Linux: struct mm_struct,
// mm/memory.c, mm/mmap.c, mm/mremap.c, mm/mprotect.c, kernel/fork.c:dup_mmap).
//
// Invariants:
//   M1 every entry of the tree that is not 0 lies in a Vma (of the same Mm).
//   M2 a present entry is user-readable only if the Vma is, writable only if the Vma is; of a copy-on-write Vma writable
//      only if this is the page's only mapping.
//
// Ownership: counted. Every Vma's Mm is alive as long as the Vma is linked; the last put() finds no Vma.
// Locking: `lock_` read: faults and look-ups; write: anything that changes Vmas. `tree_lock_`: the same Vmas for walks, which come
// from a page and cannot take lock_. All public operations take the World's
// quiesce lock for read and lock_ themselves, but those named ..._locked.
// Context: all sleep. Ranges are half-open, page aligned, below address_end(); else EINVAL.
// Errors: after an error nothing has changed, unless said otherwise. EHWPOISON, where a page is wanted: its memory has failed (poison.h).
#pragma once

#include "objrmap/memory.h"
#include "objrmap/mmu.h"
#include "objrmap/page_table.h"
#include "objrmap/vma.h"
#include "objrmap/vmscan.h"

namespace objr {

struct World;
struct AnonMm;
class ZapBatch;
class FrameReserve;
struct AbsentPage;
class MapReserve;
struct EntryPlace;

enum class Access : u32 { read, write, exec };

// How memory will be used (Linux: madvise, mlock).
enum class Advice : u32 { normal, random, sequential, lock, unlock, willneed, dontneed, cold, pageout };

// Whether the MMU may still have translations of a range that is unmapped.
enum class Translations { present, gone };

// Whether what a remap shows is made present at once.
enum class Populate { yes, no };

class Mm : Pinned {
    using VmaList = List<Vma, &Vma::unmap_node>;

public:
    // mmu must live as long as the Mm, which queries may hold longer than its process. ENOMEM.
    static Result<Mm*> create(World& world, Mmu& mmu);
    bool try_get() { return refs_.add_unless_zero(); }
    void get() { refs_.fetch_add(1); }
    void put();
    u32 references() const { return refs_.load(); } // at this instant

    // ---- structure
    // file: a reference is taken. region: may be nullptr. EINVAL, EEXIST, ENOMEM.
    Status map(Vaddr start, Vaddr end, u64 pgoff, u32 flags, FileMapping* file, objr_region* region);
    // Copy [start, end) of parent into child, copy-on-write. On error child has nothing there. ENOMEM, EEXIST.
    static Status fork(Mm& parent, Mm& child, Vaddr start, Vaddr end, objr_region* region);
    Status split(Vaddr address); // ENOMEM
    // ENOMEM only if an end lies within a Vma, which must be split.
    Status unmap(Vaddr start, Vaddr end, Translations translations);
    // Pages keep their index, but under anonmm. region: of the new place; what the MMU knew of the old one it may know there already.
    // EINVAL: overlap; EFAULT: a hole in the source; EEXIST: the target is not free; ENOMEM.
    Status move(Vaddr from, Vaddr to, u64 length, objr_region* region);
    Status protect(Vaddr start, Vaddr end, u32 flags); // ENOMEM; EACCES: write without VmFlag::may_write
    // remap_file_pages: [start, start + length) shows its file's pages from pgoff on, also such as the file does not have (yet).
    // Vmas that show them by themselves are left alone (spec C12). What populate cannot get comes with the faults. The
    // process's mmap_lock is held. EINVAL: a hole in the range, not shared from one file, or pgoff beyond what an entry can say;
    // ENOMEM.
    Status remap(Vaddr start, u64 length, u64 pgoff, Populate populate);

    // What is now in [start, end) is to be used so, or is not needed, or is: advise_pages.cpp. ENOMEM: also if there is a hole in the
    // range, and nothing has changed. EINVAL: dontneed, cold or pageout of what is locked; nothing has changed.
    // lock: ENOMEM if more than most_locked pages would be locked then; it brings in what may be read, and stays in force if that fails:
    // ENOMEM, EIO, EACCES; not inherited by fork.
    Status advise(Vaddr start, Vaddr end, Advice advice, u64 most_locked = ~0ull);
    // The two halves of lock.
    Status mark_range(Vaddr start, Vaddr end, Advice advice, u64 most_locked);
    Status populate_locked(Vaddr start, Vaddr end);
    u64 locked() const { return locked_.load(); } // pages of locked Vmas, in memory or not

    // ---- use
    // EFAULT nothing mapped, EACCES not permitted; ENOMEM no page; EIO beyond the end of the object or unreadable.
    Status fault(Vaddr address, Access access, void* token);
    // The same after making the Vma's protection what the process's own is.
    // ENOBUFS: pages must be written to their files first (Patience::outside).
    Status fault_with_flags(Vaddr address, Access access, u32 vm_flags, void* token);
    // After a fault that has found an object's page beyond the end: a real file may have been cut by somebody else, then all who map it
    // lose what is beyond, unless it is being written back.
    void note_cut(Vaddr address);
    // Make the page at address present, as a fault would, without telling the MMU of it. Errors as fault.
    Status populate(Vaddr address, Access access, Patience patience = Patience::reclaim);
    // Bring back what is swapped out at address, whatever may be done with it there; that is no use of it. ENOENT: nothing is swapped
    // out there (any more); EFAULT; ENOMEM; EIO.
    Status swap_in(Vaddr address);
    // The first address from `from` on where something is swapped out; address_end(): there is none.
    Vaddr next_swapped(Vaddr from);
    // ptrace: copy length bytes, within one page, between data (kernel memory) and the memory at address. EINVAL: over the end
    // of the page; EACCES; else as fault.
    Status access(Vaddr address, void* data, u32 length, Access access);

    // ---- for walks and inspection
    World& world() const { return world_; }
    Mmu& mmu() const { return mmu_; }
    u32 id() const { return id_; }
    u32 parent_id() const { return parent_id_.load(); } // the Mm it was forked from, 0: none
    AnonMm& anon_mm() const { return *anon_mm_; } // who it is to its pages, and its relatives
    // Nobody runs in it any more; the identity may soon be that of another process.
    void forget_process() { process_.store(0); }
    u64 process() const { return process_.load(); } // identity of the address space, objr_region_mm; 0: no process
    const PageTables& tables() const { return tables_; }
    Vaddr address_end() const { return tables_.address_end(); }
    RwSem& lock() { return lock_; }
    SpinLock& upper_lock() { return upper_lock_; }
    RwSem& tree_lock() { return tree_lock_; }
    // lock_ or tree_lock_ held, for these:
    Vma* find(Vaddr address) const; // the Vma that contains address
    Vma* first_from(Vaddr address) const; // the first that ends behind address
    Vma* next(const Vma& vma) const;
    Vma* prev(const Vma& vma) const;
    // nullptr: the Vma tree is whole, else what is wrong with it; lock_ held
    const char* check_vmas() const {
        return vmas_.check([](const Vma& a, const Vma& b) { return a.start < b.start; });
    }
    u32 vma_count() const { return vma_count_.load(); }
    u64 faults() const { return faults_.load(); }
    u64 major_faults() const { return major_faults_.load(); }
    u64 reclaimed() const { return reclaimed_.load(); } // mappings that were taken away for want of memory
    void note_reclaimed() { reclaimed_.fetch_add(1); }
    u64 resident() const { return resident_.load(); } // present PTEs
    void resident_add(s64 n) { resident_.fetch_add(static_cast<u64>(n)); }

    // ---- with lock_ held for write
    // Drop what is mapped in [start, end) of one Vma: PTEs, translations, references, swap entries. Returns the number of entries.
    u64 zap_range_locked(Vma& vma, Vaddr start, Vaddr end, Translations translations, objr_held held);
    // Take the pages from number first of the file on out of a nonlinear Vma; it remembers which belong where. Returns their number.
    u64 cut_nonlinear_locked(Vma& vma, u64 first);
    // Take all pages out of a part of one, likewise.
    void drop_nonlinear_locked(Vma& vma, Vaddr start, Vaddr end);

private:
    template <class T>
    friend class Cache;
    friend class FaultHandler;
    Mm(World& world, Mmu& mmu) : world_(world), mmu_(mmu) {}

    // What entries that are gone have named, to be let go when the translations are.
    struct EntryBatch {
        static constexpr u32 kPages = 32;
        static constexpr u32 kReaps = 16;
        Page* pages[kPages];
        SwapEntry reaps[kReaps]; // see SwapSpace::release
        u32 writable = 0; // bits: pages that could be written through their entry
        u32 page_count = 0;
        u32 reap_count = 0;
        u32 entries = 0; // of any kind

        bool full() const { return page_count == kPages || reap_count == kReaps; }
    };
    Vaddr take_entries(PageTable& table, Vaddr start, Vaddr end, EntryBatch& batch);
    void take_entry(PageTable& table, Vaddr address, EntryBatch& batch);
    bool range_ok(Vaddr start, Vaddr end) const;
    bool range_free(Vaddr start, Vaddr end) const;
    bool fully_mapped(Vaddr start, Vaddr end) const;
    void free_tables(Vaddr start, Vaddr end);
    void insert_locked(Vma& vma); // with tree_lock_
    void remove_locked(Vma& vma);
    Result<Vma*> new_vma(Vaddr start, Vaddr end, u64 pgoff, u32 flags, FileMapping* file, objr_region* region);
    void free_vma(Vma* vma);
    void free_all(VmaList& gone);
    Status split_at(Vaddr address);
    Vma* try_merge(Vma& vma, VmaList& gone);
    Vma* merge(Vma& left, Vma& right, VmaList& gone);
    bool can_merge(const Vma& left, const Vma& right) const;
    void unmap_locked(Vaddr start, Vaddr end, Translations translations, VmaList& gone);
    void protect_locked(Vaddr start, Vaddr end, u32 flags, objr_held held);
    Status fault_in(Vma& vma, Vaddr address, Access access, void* token, FrameReserve& frames);
    Status try_fault_with_flags(Vaddr address, Access access, u32 vm_flags, void* token, FrameReserve& frames);
    Status try_populate(Vaddr address, Access access, FrameReserve& frames);
    Status try_swap_in(Vaddr address, FrameReserve& frames);
    Status try_access(Vaddr address, void* data, u32 length, Access access, FrameReserve& frames);
    static Status try_fork(Mm& parent, Mm& child, Vaddr start, Vaddr end, objr_region* region, FrameReserve& frames);
    Status try_move(Vaddr from, Vaddr to, u64 length, objr_region* region, FrameReserve& frames);
    Status fork_vma(Vma& parent, Vaddr start, Vaddr end, objr_region* region, FrameReserve& frames);
    Status copy_entries(Vma& child, Vma& parent, FrameReserve& frames);
    Result<Vaddr> copy_leaf(Vma& child, const Vma& parent, const PageTables::Part& part, PageTable& target,
                            MapReserve& reserve, FrameReserve& frames);
    Result<u32> copy_entry(Vma& child, const Vma& parent, EntryPlace from, EntryPlace to, MapReserve& reserve,
                           FrameReserve& frames);
    Status copy_pinned(Vma& child, const Page& page, Pte pte, EntryPlace to, MapReserve& reserve, FrameReserve& frames);
    void mark_locked(Vma& vma, Advice advice);
    u64 unlocked_pages(Vaddr start, Vaddr end) const;
    Status split_to_advise(Vaddr start, Vaddr end, Advice advice);
    Status can_advise_pages(Vaddr start, Vaddr end, Advice advice);
    Status drop_range(Vaddr start, Vaddr end);
    Status cool_range(Vaddr start, Vaddr end);
    Status page_out_range(Vaddr start, Vaddr end);
    Status bring_in_range(Vaddr start, Vaddr end);
    template <class F>
    Status for_own_pages(Vaddr start, Vaddr end, F&& f);
    Vaddr next_entry(Vaddr start, Vaddr end);
    bool next_absent(Vaddr& start, Vaddr end, AbsentPage& absent);
    Status prepare_move(Vaddr from, Vaddr to, u64 length);
    Status copy_shared(Vaddr start, Vaddr end, Vaddr to, objr_region* region, FrameReserve& frames);
    Status copy_shared_part(Vma& vma, const PageTables::Part& part, Vaddr to, objr_region* region,
                            FrameReserve& frames);
    Result<Page*> copy_if_shared(Vma& vma, EntryPlace place, Vaddr to, objr_region* region, MapReserve& reserve,
                                 FrameReserve& frames);
    Result<Page*> copy_page(Vma& vma, EntryPlace place, Page& page, MapReserve& reserve, FrameReserve& frames);
    void move_entries(Vma& vma, Vaddr to);
    void move_within(Vma& vma, PageTable& source, Vaddr from, PageTable& target, Vaddr to, u64 bytes);
    void move_vma(Vma& vma, Vaddr to, objr_region* region);
    template <class EntryFor>
    u64 replace_entries(Vma& vma, Vaddr start, Vaddr end, objr_held held, EntryFor&& entry_for);
    bool can_remap(Vaddr start, Vaddr end) const;
    template <class F>
    Status for_each_remapped(Vaddr start, Vaddr end, u64 pgoff, F&& f);
    Status make_leaves(Vaddr start, Vaddr end, u64 pgoff);
    Status remap_part(Vaddr start, Vaddr end, u64 pgoff, bool& changed);
    void remap_vma(Vma& vma, Vaddr start, Vaddr end, u64 pgoff);
    void populate_range(Vaddr start, Vaddr end);

    World& world_;
    Mmu& mmu_;
    u32 id_ = 0; // immutable
    AnonMm* anon_mm_ = nullptr; // immutable
    Atomic<u32> parent_id_{0}; // set by the first fork into it
    Atomic<u32> refs_{1};
    Atomic<u64> process_{0};
    RwSem lock_;
    SpinLock upper_lock_; // Vma::anon_vma, none -> set
    PageTables tables_;
    RwSem tree_lock_;
    RbTree<Vma, &Vma::mm_node> vmas_; // written with lock_ and tree_lock_, read with either
    Atomic<u32> vma_count_{0};
    Atomic<u64> resident_{0};
    Atomic<u64> locked_{0}; // written with lock_ held for write
    Atomic<u64> faults_{0};
    Atomic<u64> major_faults_{0};
    Atomic<u64> reclaimed_{0};
};

} // namespace objr
