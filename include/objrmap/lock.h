// SPDX-License-Identifier: GPL-2.0
// Lock types, their guards, and the one order in which they are taken (mm/rmap.c opens with such a list in Linux).
//
// Outermost first. A lock may be taken while holding any lock above it, never one below.
//
//   lock                 type          protects                                         notes
//   -------------------  ------------  -----------------------------------------------  --------------------------------
//   process mmap_lock    (kernel's)    the process's VMAs                               held on entry from vm_ops
//   writeback            mutex         one write-back of a FileMapping at a time        held over a VFS write
//   SwapSpace::write_lock  mutex       the buffer from which a swap file is written     held over its write, too
//   quiesce              percpu rwsem  read: every operation; write: the verifier,      never held over a VFS write
//                                      scheme switch
//   Mm::lock             rwsem         read: faults; write: the Vma tree, structure     fork: parent, then child (nested);
//                                                                                       of another Mm, under a page
//                                                                                       lock: only try
//   page lock            bit           Page::mapping of file pages; "PTE validated      a second one: only try; sleeping
//                                      until process PTE installed"
//   ZapGrace::lock       mutex         one who waits at a time (zap_grace.h)
//   (kernel's i_mmap_rwsem of the device inode: under a page lock, never under the two rmap locks below)
//   FileMapping::i_mmap_lock  rwsem    i_mmap tree; Vma::start/end/pgoff of file Vmas
//   AnonVma::lock        rwsem         its list or tree of Vmas; Vma::start/end/pgoff of   the root's is that of a family;
//                                      those; moves in pte_chain                           never two
//   AnonMm::lock         (same class)  the bundle of address spaces under anonmm           the head's; two: the lower id first
//   Mm::tree_lock        rwsem         read: walks look up Vmas; write: with Mm::lock,     walks of anonmm and pte_chain
//                                      the Vma tree and ranges                         and of clusters (unmap_nonlinear.h)
//   registry             mutex         who comes and goes in World::mms and ::files,    may allocate inside; no page, table
//                                      with their counters                              lock or Vma is touched
//   compress             mutex         work memory of the compressor                     under a page lock; the kernel's
//                                                                                       memory is taken inside
//   Mm::upper_lock       spin          Vma::anon_vma (none -> set)
//   PageTables' own      spin          installation of upper page-table entries
//   PageTable::lock      spin          the 512 entries of one leaf table                fork, mremap: source, then target (nested)
//   pte_chain            spin          the chains of some pages (by number)             migration: two, by their places (nested)
//   SwapSpace::lock      spin          slots of the swap space, the map of free ones
//   Pool::lock           spin          free list, LRU lists
//
// Rules beyond the order:
//   L1 Whoever replaces a present PTE holds that page's lock, or the Mm lock for write.
//   L2 The page lock is held from "PTE validated" until the process PTE is installed.
//   L3 Module PTE first, zap second, reuse of the page last.
//   L4 A walk changes module PTEs under the rmap locks and only records what to zap; it zaps after dropping them.
//   L5 No user memory is touched under any lock of the module: an ioctl's buffer may itself be pool memory.
//   L6 Table pages are freed only after the Vmas they cover have left the reverse map, under Mm::lock for write.
//   L7 Who holds quiesce waits for nobody who may want it: a verifier that waits for it lets no reader in any more. A fault reads its
//      file under quiesce; hence files that are served by a program, which may fault on the pool, are refused.
//   L8 A page comes locked from the pool, since it can be found by its number from that moment on.
//   L9 Who takes an entry without its page's lock is in a ZapGrace::Section from before that until its translation is gone. Who relies
//      on nobody reaching a page by an old translation (to move it, to write to it as its last owner) waits for these to end.
//   L10 Who gives an address something else to show (remap, DONTNEED, truncation) zaps it even if its entry was not present: a walk that
//      has just taken the page may not have zapped yet (L4). A fault needs not, it waits for the lock of that very page.
#pragma once

#include <generated/objr-kernel-sizes.h>

#include "objrmap/types.h"

#if defined(__clang__)
#define OBJR_THREAD(attribute) __attribute__((attribute))
#else
#define OBJR_THREAD(attribute)
#endif
#define OBJR_GUARDED_BY(lock) OBJR_THREAD(guarded_by(lock))

namespace objr {

// Storage of the size and alignment of a kernel type, as Kbuild read them from the kernel at hand.
template <usize Size, usize Align>
struct KernelObject : Pinned {
    alignas(Align < 1 ? 1 : Align) u8 storage[Size < 1 ? 1 : Size];
    void* raw() { return storage; }
};

class OBJR_THREAD(capability("spinlock")) SpinLock : Pinned {
public:
    void init(objr_lock_class cls) { objr_spin_lock_init(lock_.raw(), cls); }
    void lock() OBJR_THREAD(acquire_capability()) { objr_spin_lock(lock_.raw()); }
    void lock_nested() OBJR_THREAD(acquire_capability()) { objr_spin_lock_nested(lock_.raw()); }
    void unlock() OBJR_THREAD(release_capability()) { objr_spin_unlock(lock_.raw()); }

private:
    KernelObject<OBJR_SIZEOF_SPINLOCK, OBJR_ALIGNOF_SPINLOCK> lock_;
};

class OBJR_THREAD(capability("mutex")) Mutex : Pinned {
public:
    void init(objr_lock_class cls) { objr_mutex_init(lock_.raw(), cls); }
    void lock() OBJR_THREAD(acquire_capability()) { objr_mutex_lock(lock_.raw()); }
    bool try_lock() OBJR_THREAD(try_acquire_capability(true)) { return objr_mutex_trylock(lock_.raw()) != 0; }
    void unlock() OBJR_THREAD(release_capability()) { objr_mutex_unlock(lock_.raw()); }

private:
    KernelObject<OBJR_SIZEOF_MUTEX, OBJR_ALIGNOF_MUTEX> lock_;
};

class OBJR_THREAD(capability("rwsem")) RwSem : Pinned {
public:
    void init(objr_lock_class cls) { objr_init_rwsem(lock_.raw(), cls); }
    void lock_shared() OBJR_THREAD(acquire_shared_capability()) { objr_down_read(lock_.raw()); }
    bool try_lock_shared() { return objr_down_read_trylock(lock_.raw()) != 0; }
    void unlock_shared() OBJR_THREAD(release_shared_capability()) { objr_up_read(lock_.raw()); }
    void lock() OBJR_THREAD(acquire_capability()) { objr_down_write(lock_.raw()); }
    void lock_nested() OBJR_THREAD(acquire_capability()) { objr_down_write_nested(lock_.raw()); }
    void unlock() OBJR_THREAD(release_capability()) { objr_up_write(lock_.raw()); }

private:
    KernelObject<OBJR_SIZEOF_RWSEM, OBJR_ALIGNOF_RWSEM> lock_;
};

class OBJR_THREAD(capability("percpu_rwsem")) PercpuRwSem : Pinned {
public:
    s32 init(objr_lock_class cls) { return objr_percpu_init_rwsem(lock_.raw(), cls); }
    void destroy() { objr_percpu_free_rwsem(lock_.raw()); }
    void lock_shared() OBJR_THREAD(acquire_shared_capability()) { objr_percpu_down_read(lock_.raw()); }
    void unlock_shared() OBJR_THREAD(release_shared_capability()) { objr_percpu_up_read(lock_.raw()); }
    void lock() OBJR_THREAD(acquire_capability()) { objr_percpu_down_write(lock_.raw()); }
    void unlock() OBJR_THREAD(release_capability()) { objr_percpu_up_write(lock_.raw()); }

private:
    KernelObject<OBJR_SIZEOF_PERCPU_RWSEM, OBJR_ALIGNOF_PERCPU_RWSEM> lock_;
};

// Exclusive ownership for a scope.
template <class Lock>
class OBJR_THREAD(scoped_lockable) Guard : Pinned {
public:
    explicit Guard(Lock& lock) OBJR_THREAD(acquire_capability(lock)) : lock_(lock) { lock_.lock(); }
    ~Guard() OBJR_THREAD(release_capability()) { lock_.unlock(); }

private:
    Lock& lock_;
};

// The second lock of one class, where the order between the two is given by their roles (parent before child).
template <class Lock>
class OBJR_THREAD(scoped_lockable) NestedGuard : Pinned {
public:
    explicit NestedGuard(Lock& lock) OBJR_THREAD(acquire_capability(lock)) : lock_(lock) { lock_.lock_nested(); }
    ~NestedGuard() OBJR_THREAD(release_capability()) { lock_.unlock(); }

private:
    Lock& lock_;
};

// Shared ownership for a scope.
template <class Lock>
class OBJR_THREAD(scoped_lockable) SharedGuard : Pinned {
public:
    explicit SharedGuard(Lock& lock) OBJR_THREAD(acquire_shared_capability(lock)) : lock_(lock) { lock_.lock_shared(); }
    ~SharedGuard() OBJR_THREAD(release_capability()) { lock_.unlock_shared(); }

private:
    Lock& lock_;
};

// Exclusive ownership of a lock that may not be there (a Vma without file, without anon_vma).
template <class Lock>
class OptionalGuard : Pinned {
public:
    explicit OptionalGuard(Lock* lock) OBJR_THREAD(no_thread_safety_analysis) : lock_(lock) {
        if (lock_) {
            lock_->lock();
        }
    }
    ~OptionalGuard() OBJR_THREAD(no_thread_safety_analysis) {
        if (lock_) {
            lock_->unlock();
        }
    }

private:
    Lock* lock_;
};

class RcuGuard : Pinned {
public:
    RcuGuard() { objr_rcu_read_lock(); }
    ~RcuGuard() { objr_rcu_read_unlock(); }
};

} // namespace objr
