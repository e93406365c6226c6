/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The seam, face one: what the C++ core asks of the kernel.
 *
 * Plain C, fixed-width integers, results as -errno, opaque structs. The kernel side implements it in src/shim/ (one .c
 * file for each kernel area, no algorithms), the hosted build in kunit/host/. There is no third face: the other
 * direction is shim/module.h.
 *
 * Contexts: "sleeps" = may block, never under a spin lock. "any" = callable under spin locks.
 * Every allocation may fail and says so by NULL or -ENOMEM; the core undoes what it began.
 */
#ifndef OBJRMAP_SHIM_KERNEL_H
#define OBJRMAP_SHIM_KERNEL_H

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned char objr_u8;
typedef unsigned int objr_u32;
typedef unsigned long long objr_u64;
typedef int objr_s32;
typedef long long objr_s64;

#define OBJR_PAGE_SHIFT 12
#define OBJR_PAGE_SIZE 4096ULL

#define OBJR_EPERM 1
#define OBJR_ENOENT 2
#define OBJR_EINTR 4
#define OBJR_EIO 5
#define OBJR_EAGAIN 11
#define OBJR_ENOMEM 12
#define OBJR_EACCES 13
#define OBJR_EFAULT 14
#define OBJR_EBUSY 16
#define OBJR_EEXIST 17
#define OBJR_EINVAL 22
#define OBJR_EOPNOTSUPP 95
#define OBJR_ENOSPC 28
#define OBJR_ERANGE 34
#define OBJR_EOVERFLOW 75
#define OBJR_ENOBUFS 105 /* no frame of the pool is free; never leaves the core, see objrmap/frames.h */
#define OBJR_EINPROGRESS 115
#define OBJR_EHWPOISON 133 /* the memory of a page has failed, and what it had is lost */

/* ---- memory ------------------------------------------------------------------------------------------------- */

/* How an allocation may wait. */
enum objr_gfp {
	OBJR_GFP_KERNEL = 0, /* sleeps; charged to the calling process's memory cgroup */
	OBJR_GFP_ATOMIC = 1, /* any context; more likely to fail */
};

struct objr_kmem_cache;

/*
 * A cache of objects of one type. ctor may be NULL; with a ctor, objects keep their constructed state between free and
 * the next allocation. typesafe: memory given back stays of this type for an RCU grace period (SLAB_TYPESAFE_BY_RCU).
 * Sleeps. NULL: no memory. Without a ctor objr_kmem_cache_alloc returns zeroed objects.
 */
struct objr_kmem_cache *objr_kmem_cache_create(const char *name, objr_u32 size, objr_u32 align, int typesafe,
					       void (*ctor)(void *));
void objr_kmem_cache_destroy(struct objr_kmem_cache *cache); /* all objects must be back */
void *objr_kmem_cache_alloc(struct objr_kmem_cache *cache, enum objr_gfp gfp);
void objr_kmem_cache_free(struct objr_kmem_cache *cache, void *object); /* any */

void *objr_kvzalloc(objr_u64 bytes); /* zeroed, sleeps; NULL: no memory */
void objr_kvfree(const void *memory); /* NULL is fine */

/* 2^order zeroed pages, physically contiguous, in the direct map. Sleeps. */
void *objr_alloc_pages(objr_u32 order);
void objr_free_pages(void *memory, objr_u32 order); /* any */
/* MiB that a pool may take now and leave the machine some: seven eighths of what is available. Any context. */
objr_u64 objr_mb_for_pool(void);

/*
 * One zeroed page for a page table, with one word kept beside it (the core's descriptor). root: aligned to 8 KiB, so
 * that the processor may use it with page-table isolation. Sleeps.
 */
void *objr_table_alloc(int root, void *descriptor);
void objr_table_free(void *table, int root);
void *objr_table_descriptor(const void *table); /* any */

/* Virtual address of physical address 0 in the direct map: virt = base + phys for everything allocated above. */
extern objr_u64 objr_direct_map_base;

void objr_clear_page(void *page);
void objr_copy_page(void *to, const void *from);

/* ---- locks -------------------------------------------------------------------------------------------------- */

/*
 * One lockdep class for each kind of lock; the order is the one of include/objrmap/lock.h (outermost first).
 * Storage is provided by the core: OBJR_SIZEOF_<TYPE> bytes from <generated/objr-kernel-sizes.h>.
 */
enum objr_lock_class {
	OBJR_LOCK_WRITEBACK, /* mutex */
	OBJR_LOCK_SWAP_WRITE, /* mutex: the buffer from which a swap file is written */
	OBJR_LOCK_QUIESCE, /* percpu rwsem */
	OBJR_LOCK_MM, /* rwsem */
	OBJR_LOCK_PAGE, /* bit lock with a lockdep map of its own */
	OBJR_LOCK_ZAP_GRACE, /* mutex: who waits for translations to be gone */
	OBJR_LOCK_I_MMAP, /* rwsem */
	OBJR_LOCK_ANON, /* rwsem */
	OBJR_LOCK_TREE, /* rwsem: the Vmas of an Mm, for walks */
	OBJR_LOCK_REGISTRY, /* mutex */
	OBJR_LOCK_COMPRESS, /* mutex: work memory of the compressor */
	OBJR_LOCK_UPPER_TABLE, /* spin: installation of upper-level entries, vma->anon_vma */
	OBJR_LOCK_TABLE, /* spin: leaf page table */
	OBJR_LOCK_PTE_CHAIN, /* spin: the chains of some pages */
	OBJR_LOCK_SWAP, /* spin: slots of the swap space */
	OBJR_LOCK_POOL, /* spin */
	OBJR_LOCK_NR
};

void objr_spin_lock_init(void *lock, enum objr_lock_class cls);
void objr_spin_lock(void *lock);
void objr_spin_lock_nested(void *lock); /* a second lock of the same class (lockdep subclass 1) */
int objr_spin_trylock(void *lock); /* 1: taken */
void objr_spin_unlock(void *lock);

void objr_mutex_init(void *lock, enum objr_lock_class cls);
void objr_mutex_lock(void *lock);
int objr_mutex_trylock(void *lock); /* 1: taken */
void objr_mutex_unlock(void *lock);

void objr_init_rwsem(void *lock, enum objr_lock_class cls);
void objr_down_read(void *lock);
int objr_down_read_trylock(void *lock);
void objr_up_read(void *lock);
void objr_down_write(void *lock);
void objr_down_write_nested(void *lock); /* subclass 1 */
int objr_down_write_trylock(void *lock);
void objr_up_write(void *lock);

int objr_percpu_init_rwsem(void *lock, enum objr_lock_class cls); /* sleeps; -ENOMEM */
void objr_percpu_free_rwsem(void *lock);
void objr_percpu_down_read(void *lock);
void objr_percpu_up_read(void *lock);
void objr_percpu_down_write(void *lock);
void objr_percpu_up_write(void *lock);

void objr_rcu_read_lock(void);
void objr_rcu_read_unlock(void);

/*
 * Bit lock with sleeping waiters. wait_lock: sleeps until it has set the bit itself. wake: after the bit was cleared.
 * The lock-map pair tells lockdep of class OBJR_LOCK_PAGE; trylock=1 for a try (no dependency is recorded).
 */
void objr_wait_on_bit_lock(unsigned long *word, int bit);
void objr_wake_up_bit(unsigned long *word, int bit);
void objr_page_lock_acquire(int trylock);
void objr_page_lock_release(void);

/* ---- xarray: index -> pointer (at least 4-byte aligned) or odd number (the kernel's xa_mk_value) ------------- */

void objr_xa_init(void *xa); /* OBJR_SIZEOF_XARRAY bytes */
void objr_xa_destroy(void *xa);
void *objr_xa_load(void *xa, objr_u64 index); /* any; NULL: nothing there */
int objr_xa_insert(void *xa, objr_u64 index, void *entry); /* sleeps; -EBUSY: taken, -ENOMEM */
/*
 * entry in place of what is at index, with the mark that is there: something is, and nobody else changes it meanwhile. Any
 * context, never fails.
 */
void objr_xa_replace(void *xa, objr_u64 index, void *entry);
/* The same if old (not NULL) is there: 1. entry NULL: nothing is there then. */
int objr_xa_cmpxchg(void *xa, objr_u64 index, void *old, void *entry);
void objr_xa_erase(void *xa, objr_u64 index); /* any, never fails */
void *objr_xa_find(void *xa, objr_u64 *index, objr_u64 last); /* first entry at or after *index, up to last; sets *index */
/* An entry may be marked; it comes without, and the mark goes with it. Any context, never fails; nothing there: nothing happens. */
void objr_xa_set_mark(void *xa, objr_u64 index);
void objr_xa_clear_mark(void *xa, objr_u64 index);
void *objr_xa_find_marked(void *xa, objr_u64 *index, objr_u64 last); /* as objr_xa_find, among the marked ones */

/* ---- time, scheduling, log, text ---------------------------------------------------------------------------- */

objr_u64 objr_ktime_get_ns(void);
objr_u32 objr_cpu(void); /* the present processor, a hint; any */
void objr_cond_resched(void);
void objr_sleep_a_tick(void); /* for who polls: even the idlest other task gets to run meanwhile */
void objr_might_sleep(void);
int objr_fatal_signal_pending(void); /* any; 1: the calling task is being killed, what is long should end */
/*
 * Run function on a thread of the kernel's own, and wait for it: a signal to the caller does not end what it does, and the
 * caller's limits do not count. Sleeps; under no lock.
 */
void objr_run_detached(void (*function)(void *argument), void *argument);

/* ---- threads and waiting --------------------------------------------------------------------------------------- */

/* A thread of the kernel's own that runs function(argument) until that returns. name: a literal. Sleeps. NULL: no memory. */
struct objr_thread;
struct objr_thread *objr_thread_start(const char *name, void (*function)(void *argument), void *argument);
/* Its waiting ends by -EINTR from now on; returns when it has. function returns soon after that. Sleeps; under no lock. */
void objr_thread_stop(struct objr_thread *thread);

void objr_init_waitqueue(void *queue); /* OBJR_SIZEOF_WAITQ bytes; nothing to undo */
void objr_wake_up_all(void *queue); /* any; after the word was changed */
/*
 * Sleep as long as *word is value; who changes it wakes the queue. -EINTR: the task is being killed, or it is a thread that is
 * to stop.
 */
int objr_wait_while_equal(void *queue, const objr_u32 *word, objr_u32 value);

enum objr_level { OBJR_ERR, OBJR_WARN, OBJR_NOTICE, OBJR_INFO };
__attribute__((format(printf, 2, 3))) void objr_printk(enum objr_level level, const char *format, ...);
/* For lines that users can cause as often as they like: 1: this one may be printed. Any context. */
int objr_printk_ratelimit(void);

/* A kernel WARN with this text: an invariant of the core is broken. Reported, goes on. */
void objr_warn(const char *what, const char *file, int line);

/* Where text goes: a seq_file in the kernel, a string on the host. Only %s %c %d %u %x %lld %llu %llx with widths. */
struct objr_out;
__attribute__((format(printf, 2, 3))) void objr_out_printf(struct objr_out *out, const char *format, ...);

/* ---- compressed memory --------------------------------------------------------------------------------------- */

/* Objects of 1 to 4096 bytes, packed into pages that need not be in the direct map. */
struct objr_zs_pool;

struct objr_zs_pool *objr_zs_create_pool(void); /* sleeps; NULL: no memory */
void objr_zs_destroy_pool(struct objr_zs_pool *pool); /* every object must be back; sleeps */
/* Sleeps, but waits for no input or output, so that memory can be compressed in order to free some. 0: no memory. */
objr_u64 objr_zs_malloc(struct objr_zs_pool *pool, objr_u32 bytes);
void objr_zs_free(struct objr_zs_pool *pool, objr_u64 object); /* any */
/* The whole object, of as many bytes as it was made with. */
void objr_zs_write(struct objr_zs_pool *pool, objr_u64 object, const void *data, objr_u32 bytes);
void objr_zs_read(struct objr_zs_pool *pool, objr_u64 object, void *data, objr_u32 bytes);
objr_u64 objr_zs_get_total_pages(struct objr_zs_pool *pool); /* what it has of the kernel's memory */

#define OBJR_LZ4_WORK_BYTES 16640
/* Returns the bytes written to `to`; 0: they are more than room. work: OBJR_LZ4_WORK_BYTES of any contents. */
objr_u32 objr_lz4_compress(const void *from, objr_u32 bytes, void *to, objr_u32 room, void *work);
/* Returns the bytes written to `to`, or a negative number: what is there was never compressed so. Stays within both. */
objr_s32 objr_lz4_decompress(const void *from, objr_u32 bytes, void *to, objr_u32 room);

objr_u64 objr_xxh64(const void *data, objr_u64 bytes); /* any */

/* ---- backing files ------------------------------------------------------------------------------------------ */

/* A regular file held open by the kernel side; one for each descriptor bound with OBJRMAP_IOC_FILE. */
struct objr_backing;

objr_u64 objr_backing_key(const struct objr_backing *backing); /* identity of the inode while it is held */
objr_u64 objr_backing_size(const struct objr_backing *backing); /* bytes, now */
int objr_backing_writable(const struct objr_backing *backing); /* 1: opened for writing and shared */
void objr_backing_name(const struct objr_backing *backing, char *buffer, objr_u32 bytes); /* last path component */
/* Read page number pgoff through the kernel's page cache into page; bytes beyond the end read as zero. Sleeps. */
int objr_backing_fill(struct objr_backing *backing, objr_u64 pgoff, void *page);
/* Write len bytes at byte position pos. Sleeps, takes the inode lock: never under a module lock but OBJR_LOCK_WRITEBACK. */
int objr_backing_write(struct objr_backing *backing, objr_u64 pos, const void *data, objr_u32 len);
/*
 * The same, and it is on its device before this returns; bytes beyond the end of the file are an error. Under OBJR_LOCK_SWAP_WRITE
 * at most. -EIO, -ENOSPC and what else a filesystem says.
 */
int objr_backing_write_through(struct objr_backing *backing, objr_u64 pos, const void *data, objr_u32 len);
/* len bytes from pos on may soon be read: begin to. Sleeps, but not until they are there. */
void objr_backing_willneed(struct objr_backing *backing, objr_u64 pos, objr_u64 len);
int objr_backing_sync(struct objr_backing *backing, objr_u64 first, objr_u64 last, int datasync);
int objr_backing_truncate(struct objr_backing *backing, objr_u64 size);
void objr_backing_put(struct objr_backing *backing); /* sleeps */

/* ---- the process MMU ---------------------------------------------------------------------------------------- */

/*
 * objr_region: the process side of one or more Vmas: (process address space, device file, linear pgoff of addresses).
 * Counted; pins the pseudo inode and the mm_struct as an identity, not the address space. The core keeps one reference
 * for each Vma and takes more to use it after the rmap locks are dropped.
 */
struct objr_region;
void objr_region_get(struct objr_region *region); /* any */
void objr_region_put(struct objr_region *region); /* sleeps */

enum objr_held {
	OBJR_MMAP_LOCK_HELD, /* the caller runs under the mmap_lock of the region's process */
	OBJR_MMAP_LOCK_NOT_HELD, /* it does not: mmap_lock is only tried, else the kernel's i_mmap_rwsem is taken */
};
/* Drop the process's cached translations of [start, end), TLBs included, before it returns. Sleeps. Not under rmap locks. */
void objr_region_zap(struct objr_region *region, objr_u64 start, objr_u64 end, enum objr_held held);

#define OBJR_PTE_PRESENT 1u
#define OBJR_PTE_YOUNG 2u
#define OBJR_PTE_DIRTY 4u
#define OBJR_PTE_WRITE 8u
enum objr_harvest {
	OBJR_HARVEST_PEEK, /* changes nothing */
	OBJR_HARVEST_AGE, /* clears the accessed bit, without a flush: a processor may go on by its TLB and not set it */
	OBJR_HARVEST_TAKE, /* drops the translation if it was used */
};
/*
 * What the process's own PTEs for address say (union over PTEs in flight); sets *pfn of a present one. Sleeps. Not under
 * rmap locks.
 */
objr_u32 objr_region_harvest(struct objr_region *region, objr_u64 address, enum objr_harvest mode, objr_u64 *pfn);
/*
 * Visit every present process PTE in [start, end): for the verifier. Returns 0, or -EBUSY when the process's mmap_lock
 * could not be had (nothing visited), or what visit returned if not 0.
 */
int objr_region_scan(struct objr_region *region, objr_u64 start, objr_u64 end,
		     int (*visit)(void *context, objr_u64 address, objr_u64 pfn, objr_u32 bits), void *context);

/*
 * Enter a translation into the process's tables on behalf of the fault that token stands for. replace: something else
 * may be there; drop it first. Called with the page lock held. 0, -ENOMEM.
 */
int objr_fault_install(void *token, objr_u64 address, objr_u64 pfn, int writable, int replace);

/*
 * Who runs in this region's address space: lowest tgid in the initial pid namespace and its comm; 0 and "-" while
 * nobody does. Sleeps.
 */
objr_u32 objr_region_owner(struct objr_region *region, char comm[16]);
/* Identity of the address space of process pid, 0 if there is none: compare with objr_region_mm. */
objr_u64 objr_mm_of_pid(objr_u32 pid);
objr_u64 objr_region_mm(const struct objr_region *region);
/* 0: its process exits or has gone, nobody will run there any more. Any context. */
int objr_region_alive(const struct objr_region *region);

#ifdef __cplusplus
}
#endif

#endif /* OBJRMAP_SHIM_KERNEL_H */
