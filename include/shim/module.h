/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The seam, face two: what the kernel side asks of the core.
 *
 * Every function may sleep and takes its own locks. Results are 0 or a positive answer, or -errno; after an error
 * nothing has changed unless said otherwise. Addresses and lengths are bytes; start/end are half-open.
 */
#ifndef OBJRMAP_SHIM_MODULE_H
#define OBJRMAP_SHIM_MODULE_H

#include "shim/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

struct objr_world; /* one pool and everything on it */
struct objr_mm; /* one process address space */
struct objr_object; /* what a descriptor is bound to: a real file or a named object */

/* ---- the world ---------------------------------------------------------------------------------------------- */

enum objr_swap_kind { OBJR_SWAP_PLAIN, OBJR_SWAP_LZ4 };

struct objr_params {
	objr_u32 pool_mb; /* 1 .. 1048576 */
	objr_u32 levels; /* of the page tables: 4 or 5 */
	const char *scheme; /* a name as objr_set_scheme takes it */
	objr_u32 low_watermark, high_watermark; /* percent of the pool, 0 <= low <= high <= 50 */
	objr_u32 daemons; /* 1: with the threads that reclaim and write back */
	/* MiB, 0 .. 1048576, that swapped pages may take; a limit, taken as it is needed; 0: no swap, if there is no file */
	objr_u32 swap_mb;
	objr_u32 swap_kind; /* enum objr_swap_kind: pages as they are, or compressed */
	struct objr_backing *swap_file; /* swap to this file; NULL: to memory. Consumed in every case */
};

/* -EINVAL: a bad parameter, named in the log. -ENOMEM: the pool could not be had. */
int objr_world_create(const struct objr_params *params, struct objr_world **world);
/* Its threads end. Nothing of the kernel side is used by it any more when no mm and no object is left. */
void objr_world_stop(struct objr_world *world);
/* Every mm and object must be gone; what is left is reported with a WARN and leaked rather than freed under a user. */
void objr_world_destroy(struct objr_world *world);

/* ---- address spaces ----------------------------------------------------------------------------------------- */

/* Counted. The kernel side keeps one for each process address space that maps the pool. */
int objr_mm_create(struct objr_world *world, struct objr_mm **mm);
void objr_mm_put(struct objr_mm *mm);

#define OBJR_VM_READ 1u
#define OBJR_VM_WRITE 2u
#define OBJR_VM_EXEC 4u
#define OBJR_VM_SHARED 8u /* writes go to the object; clear: copy-on-write */
#define OBJR_VM_MAYSHARE 16u
#define OBJR_VM_MAYWRITE 32u
/* The core's own, never passed in: */
#define OBJR_VM_LOCKED 64u /* advice LOCK: not to be taken away */
#define OBJR_VM_RANDOM 128u /* advice RANDOM */
#define OBJR_VM_SEQUENTIAL 256u /* advice SEQUENTIAL */
#define OBJR_VM_NONLINEAR 512u /* has been remapped: any page of the file may be anywhere */

/*
 * Map [start, end) with linear pgoff (pages). object: NULL for private anonymous memory. region: the process side, a
 * reference of its own is taken; NULL only without a process. -ENOMEM, -EEXIST: something is mapped there.
 */
int objr_mm_map(struct objr_mm *mm, objr_u64 start, objr_u64 end, objr_u64 pgoff, objr_u32 flags,
		struct objr_object *object, struct objr_region *region);
/*
 * Copy what parent has in [start, end) into child, copy-on-write; the parent's translations there are zapped. The caller
 * holds the mmap_lock of both processes for write. On error child has nothing in the range.
 */
int objr_mm_fork(struct objr_mm *parent, struct objr_mm *child, objr_u64 start, objr_u64 end, struct objr_region *region);
/* Make address a boundary between Vmas, so that a later unmap up to it needs no memory. -ENOMEM. */
int objr_mm_split(struct objr_mm *mm, objr_u64 address);
/* mremap: move what is in [from, from+len) to to; the pages keep their index. region: process side of the new place. */
int objr_mm_move(struct objr_mm *mm, objr_u64 from, objr_u64 to, objr_u64 len, struct objr_region *region);
/* Remove [start, end); the process can no longer reach it. Ends at boundaries made by map, split or move: cannot fail. */
void objr_mm_unmap(struct objr_mm *mm, objr_u64 start, objr_u64 end);
/* mprotect: OBJR_VM_{READ,WRITE,EXEC} of [start, end) become flags. Under the process's mmap_lock. -ENOMEM. */
int objr_mm_protect(struct objr_mm *mm, objr_u64 start, objr_u64 end, objr_u32 flags);

#define OBJR_REMAP_NONBLOCK 1u
/*
 * remap_file_pages: [start, start+len), page aligned and not empty, shows the object's pages from pgoff on. The range is mapped
 * shared from one object, in one Vma or in several. NONBLOCK: populate nothing. What cannot be populated comes with
 * the faults, or SIGBUSes there. The caller holds the process's mmap_lock for write. -EINVAL: not such a range, or pgoff
 * does not fit a PTE; -ENOMEM.
 */
int objr_mm_remap(struct objr_mm *mm, objr_u64 start, objr_u64 len, objr_u64 pgoff, objr_u32 flags);

enum objr_advice { /* the numbers of the uapi */
	OBJR_ADVISE_NORMAL,
	OBJR_ADVISE_RANDOM,
	OBJR_ADVISE_SEQUENTIAL,
	OBJR_ADVISE_WILLNEED,
	OBJR_ADVISE_DONTNEED,
	OBJR_ADVISE_COLD,
	OBJR_ADVISE_PAGEOUT,
	OBJR_ADVISE_LOCK,
	OBJR_ADVISE_UNLOCK,
};
/*
 * Advice on [start, start+len), page aligned and mapped without a hole. The caller holds the process's mmap_lock for write where
 * objr_advice_changes_vmas, else for read or not at all: files may be read and written then. -EINVAL: not known, or DONTNEED, COLD,
 * PAGEOUT of locked memory; -ENOMEM: a hole, no memory, or LOCK of more than most_locked pages in all; -EINTR: the caller is
 * being killed. LOCK brings nothing in: that is objr_mm_populate's.
 */
int objr_mm_advise(struct objr_mm *mm, objr_u64 start, objr_u64 len, objr_u32 advice, objr_u64 most_locked);
static inline int objr_advice_changes_vmas(objr_u32 advice)
{
	return advice <= OBJR_ADVISE_SEQUENTIAL || advice >= OBJR_ADVISE_LOCK;
}
/* Bring in what of a range is locked and may be read. No lock is held. -ENOMEM, -EIO, -EACCES, -EINTR: it stays locked. */
int objr_mm_populate(struct objr_mm *mm, objr_u64 start, objr_u64 len);

#define OBJR_FAULT_WRITE 1u
#define OBJR_FAULT_EXEC 2u
/*
 * Resolve a fault. vm_flags: the process's own OBJR_VM_* for the address now; the core follows them. token goes back to
 * objr_fault_install. -EFAULT: nothing mapped there, -EACCES: not permitted (both SIGSEGV); -ENOMEM: the pool or the
 * kernel has no page left, -EIO: beyond the end of the object, or reading it failed, -EHWPOISON: the memory of the page has
 * failed (all SIGBUS). -ENOBUFS: no page now, but there are some that are newer than their files. Let go of mmap_lock, objr_wait_for_writeback, fault
 * again; if that has failed, SIGBUS.
 */
int objr_mm_fault(struct objr_mm *mm, objr_u64 address, objr_u32 fault, objr_u32 vm_flags, void *token);
/* 1: pages are short and many newer than their files: who has just written should objr_throttle. Any context. */
int objr_too_dirty(struct objr_world *world);
/* Until something was written, for some ticks at most. Under no mmap_lock and no lock of a file. */
void objr_throttle(struct objr_world *world);
/*
 * Until dirty pages have been written. Under no mmap_lock and no lock of a file. -ENOMEM: several attempts have failed, over
 * seconds; -EINTR: the task is being killed; -EAGAIN: nobody writes.
 */
int objr_wait_for_writeback(struct objr_world *world);
/* ptrace and /proc/pid/mem: copy len bytes within one page between data and the memory at address. Returns len or -errno. */
int objr_mm_access(struct objr_mm *mm, objr_u64 address, void *data, objr_u32 len, int write);

struct objr_mapper { /* one answer of objr_mm_who */
	objr_u32 pid; /* 0: nobody runs in it */
	objr_u32 mm;
	objr_u64 address;
};
/* The mappers of the page at address, at most max; returns how many there are in all. all: others' too (root). -ENOENT:
 * no page there now. */
int objr_mm_who(struct objr_mm *mm, objr_u64 address, int all, struct objr_mapper *out, objr_u32 max);

/* ---- objects ------------------------------------------------------------------------------------------------ */

/*
 * Bind to a file: descriptors on one inode share the object. Consumes backing in every case. -ENOMEM.
 */
int objr_object_of_file(struct objr_world *world, struct objr_backing *backing, struct objr_object **object);

#define OBJR_OBJECT_CREATE 1u
#define OBJR_OBJECT_EXCL 2u
struct objr_owner {
	objr_u32 uid, gid; /* in the initial user namespace */
	objr_u32 is_root; /* may open anybody's */
};
/*
 * Open or create the named object. name: 1..63 printable bytes without '/' and blanks. size: bytes, rounded up to pages; 0 =
 * existing. -EINVAL bad name or size, or a size that differs; -EEXIST; -ENOENT; -EACCES another user's; -ENOMEM.
 */
int objr_object_of_name(struct objr_world *world, const char *name, objr_u64 size, objr_u32 flags,
			const struct objr_owner *owner, struct objr_object **object);
/* Write back what is dirty when this was the last reference (never called under an mmap_lock). */
void objr_object_put(struct objr_object *object);
/*
 * msync, fsync: bytes first..last (inclusive). Returns the first error; pages that failed stay dirty. The caller then asks for
 * errors since its sample too, whatever came of it.
 */
int objr_object_sync(struct objr_object *object, objr_u64 first, objr_u64 last, int datasync);
/* What a new descriptor begins with; *sample is then its own, guarded by it. The error since, once: -errno, or 0. Any context. */
objr_u64 objr_object_error_sample(struct objr_object *object);
int objr_object_error_check(struct objr_object *object, objr_u64 *sample);
/* New size in bytes; everything beyond is unmapped from every sharer at once, the file is cut too. */
int objr_object_truncate(struct objr_object *object, objr_u64 size);
objr_u64 objr_object_size(const struct objr_object *object);

/* ---- text (debugfs) ------------------------------------------------------------------------------------------ */

void objr_show_stats(struct objr_world *world, struct objr_out *out);
/* Full forward and reverse check; 0 = ok, 1 = bad, -ENOMEM: could not run. The text is written in every case. */
int objr_show_verify(struct objr_world *world, struct objr_out *out);
void objr_show_scheme(struct objr_world *world, struct objr_out *out);
/*
 * Switch to the scheme of that name while processes run. Nothing changes for them, also not if it is refused: -EINVAL
 * unknown name, -EBUSY something stands in the way, -ENOMEM. why: then one line that says it, without its end.
 */
int objr_set_scheme(struct objr_world *world, const char *name, char *why, objr_u32 why_bytes);

/*
 * Lists that stream: show the item at or after *position and set *position behind it; 0: there was none, nothing is
 * written and the list has ended. One call makes at most one line (mappers: the lines of one page).
 */
enum objr_list { OBJR_LIST_MAPPERS, OBJR_LIST_PAGES, OBJR_LIST_MMS, OBJR_LIST_ANON_VMAS, OBJR_LIST_FILES };
int objr_show_list(struct objr_world *world, enum objr_list list, objr_u64 *position, struct objr_out *out);

/*
 * Selectors. objr_query is plain data, parsed once from what was written (length bytes, no terminator needed) and shown as often as
 * wanted. Parsing never fails as such: bad words are kept and reported by error. Streams like a list.
 */
struct objr_query {
	objr_u32 kind, options;
	objr_u64 first, last; /* pfn, page number, pid, pgoff ... as kind says */
	objr_u64 address;
	char name[64];
	objr_s32 error; /* 0, or -EINVAL with the reason in message */
	char message[160];
};
void objr_query_parse(struct objr_query *query, const char *text, objr_u64 length);
int objr_show_query(struct objr_world *world, const struct objr_query *query, objr_u64 *position, struct objr_out *out);
int objr_show_graph(struct objr_world *world, const struct objr_query *query, objr_u64 *position, struct objr_out *out);

/*
 * Commands: a verb on the pages of a selector, or on the whole pool. Plain data like objr_query, which is a part of it; parsed once, run as often as
 * wanted. Bad words are kept and reported by error.
 */
enum objr_verb {
	OBJR_VERB_NONE,
	OBJR_VERB_REFERENCED, /* uses since the last time, and forget them */
	OBJR_VERB_UNMAP, /* try_to_unmap */
	OBJR_VERB_MKCLEAN, /* page_mkclean */
	OBJR_VERB_REVOKE, /* take the page from everybody; the data goes to another frame */
	OBJR_VERB_MIGRATE, /* to another frame, with all that maps it */
	OBJR_VERB_RECLAIM, /* take pages away until so many have become free */
	OBJR_VERB_POISON, /* as if its memory had failed */
	OBJR_VERB_RESIZE, /* a number: MiB that the pool is to have */
	OBJR_VERB_COMPACT, /* no selector: pages to the beginning of the pool */
	OBJR_VERB_SWAPIN, /* bring back what is swapped out at an address */
	OBJR_VERB_SWAPOFF, /* bring back all, and swap no more */
	OBJR_VERB_SWAPON,
};
#define OBJR_COMMAND_PEEK 1u /* referenced: forget nothing */
struct objr_command {
	struct objr_query query; /* the selector, or the number in first; and json */
	objr_u32 verb; /* enum objr_verb */
	objr_u32 options;
	objr_s32 error; /* 0, or -EINVAL with the reason in message */
	char message[160];
};
void objr_command_parse(struct objr_command *command, const char *text, objr_u64 length);
/*
 * Run it, on every page selected, and write what came of it. What a page answers (unmap: FAIL) is no error. The error of a
 * bad command, which is worded as well; -ENOENT: the selector chose no page; -ENOMEM: not all could be done, the text says it; -EINTR: ended by
 * a signal, the text says how far it has come.
 */
int objr_run_command(struct objr_world *world, const struct objr_command *command, struct objr_out *out);

#ifdef __cplusplus
}
#endif

#endif /* OBJRMAP_SHIM_MODULE_H */
