/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * objrmap: what a program needs to use /dev/objrmap. Usable from C and C++.
 *
 *	int fd = open("/dev/objrmap", O_RDWR);
 *	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
 *
 * A plain descriptor gives private anonymous memory from the pool (MAP_SHARED is only the way to say "a device
 * mapping"; fork makes it copy-on-write). A descriptor bound to an object by OBJRMAP_IOC_FILE or OBJRMAP_IOC_OBJECT
 * before its first mmap gives that object's pages.
 */
#ifndef _UAPI_OBJRMAP_H
#define _UAPI_OBJRMAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define OBJRMAP_DEVICE "/dev/objrmap"

/* View of an object: */
#define OBJRMAP_SHARED 0u /* writes are seen by all users of the object */
#define OBJRMAP_PRIVATE 1u /* copy-on-write */
/* Named objects only: */
#define OBJRMAP_CREATE 2u /* make it if it does not exist */
#define OBJRMAP_EXCL 4u /* with CREATE: EEXIST if it does */

/* Bind this descriptor to an open regular file, once, before the first mmap. */
struct objrmap_file {
	__s32 fd;
	__u32 flags; /* OBJRMAP_SHARED or OBJRMAP_PRIVATE */
};
#define OBJRMAP_IOC_FILE _IOW('o', 1, struct objrmap_file)

/* Bind this descriptor to a named memory object, once, before the first mmap. */
#define OBJRMAP_NAME_MAX 64 /* with the terminating NUL */
struct objrmap_object {
	char name[OBJRMAP_NAME_MAX]; /* printable, no '/' and no blanks */
	__u64 size; /* bytes; 0: take the existing one */
	__u32 flags; /* view | OBJRMAP_CREATE | OBJRMAP_EXCL */
	__u32 reserved; /* 0 */
};
#define OBJRMAP_IOC_OBJECT _IOW('o', 2, struct objrmap_object)

/* Change the size of the bound object (and file); what lies beyond is unmapped from every user at once. */
struct objrmap_truncate {
	__u64 size;
};
#define OBJRMAP_IOC_TRUNCATE _IOW('o', 3, struct objrmap_truncate)

/* Mappers of the page at addr of the caller's own mapping; only the caller's own pid unless root. */
struct objrmap_mapper {
	__u32 pid; /* 0: nobody has run in that address space yet */
	__u32 mm;
	__u64 addr;
};
struct objrmap_who {
	__u64 addr;
	__u64 out; /* pointer to struct objrmap_mapper[count] */
	__u32 count; /* in: room at out; out: entries written */
	__u32 total; /* out: mappers there are */
};
#define OBJRMAP_IOC_WHO _IOWR('o', 4, struct objrmap_who)

/*
 * Nonlinear mapping, with the semantics of remap_file_pages(2): [start, start + size) of the caller's memory shows the
 * pages of the object from pgoff on, whatever was linear there. The range lies within one mapping of a shared view of
 * an object (of this device; through which descriptor it was made does not matter). What was mapped is dropped, its
 * data is in the object. Without NONBLOCK the pages are mapped at once, as far as they can be had; an access to what is
 * beyond the end of the object is SIGBUS, as always. Asking for the pages that a mapping shows anyway, while all of it is still
 * linear, changes nothing.
 *
 * msync() covers the linear pages of its range only; fsync() on the descriptor covers all.
 *
 * Stricter than the system call, which rounds start and size down: both must be multiples of the page size.
 *
 * EINVAL: unaligned, empty or overflowing range, unknown flags, reserved not 0, pgoff beyond what a file may have, or a range
 * that is not within one shared mapping. ENOMEM: nothing has changed.
 */
#define OBJRMAP_REMAP_NONBLOCK 1u /* populate nothing: the pages come with the faults */
struct objrmap_remap {
	__u64 start;
	__u64 size; /* bytes */
	__u64 pgoff; /* pages */
	__u32 flags;
	__u32 reserved; /* 0 */
};
#define OBJRMAP_IOC_REMAP _IOW('o', 5, struct objrmap_remap)

/*
 * Advice on [start, start + len) of the caller's memory, as madvise(2) and mlock(2) take it for other memory: start is
 * aligned, len is rounded up to pages, 0 does nothing. Every page of the range must be mapped from this device, else ENOMEM
 * and nothing has changed.
 *
 * LOCK		keep the pages in memory: they are brought in now, and neither unmapped nor reclaimed. Without CAP_IPC_LOCK a
 *		process may lock so much as RLIMIT_MEMLOCK leaves beside what it has locked of other memory (mlock(2)): ENOMEM, and
 *		nothing has changed; EPERM if the limit is 0. ENOMEM, EIO, EACCES otherwise: the range is locked, but not every page
 *		could be brought in; EINTR: nor will be, the caller is being killed. Not inherited by fork.
 * UNLOCK	undo LOCK
 * RANDOM, SEQUENTIAL, NORMAL	how the range will be used: of the first two, uses do not count as references
 * DONTNEED	private memory is dropped, also from swap: the next access finds zeros, or a file's page again. Of shared memory
 *		only the mapping goes; the object keeps its data.
 * PAGEOUT	pages that only this process maps leave memory now: to swap, or of a file, which is written first if need be
 * COLD		such pages are the next to be reclaimed, if they are not used before
 * WILLNEED	what is swapped out or in a file is read, as long as there are frames to spare; it is mapped by the next use
 *
 * EINVAL: DONTNEED, PAGEOUT or COLD of a range with locked memory. What cannot be taken out or brought in is no error of
 * PAGEOUT, COLD and WILLNEED. EINTR: the caller is being killed.
 */
#define OBJRMAP_ADVISE_NORMAL 0u
#define OBJRMAP_ADVISE_RANDOM 1u
#define OBJRMAP_ADVISE_SEQUENTIAL 2u
#define OBJRMAP_ADVISE_WILLNEED 3u
#define OBJRMAP_ADVISE_DONTNEED 4u
#define OBJRMAP_ADVISE_COLD 5u
#define OBJRMAP_ADVISE_PAGEOUT 6u
#define OBJRMAP_ADVISE_LOCK 7u
#define OBJRMAP_ADVISE_UNLOCK 8u
struct objrmap_advise {
	__u64 start;
	__u64 len; /* bytes */
	__u32 advice;
	__u32 reserved; /* 0 */
};
#define OBJRMAP_IOC_ADVISE _IOW('o', 6, struct objrmap_advise)

#endif /* _UAPI_OBJRMAP_H */
