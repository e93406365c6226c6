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

#endif /* _UAPI_OBJRMAP_H */
