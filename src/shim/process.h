/* SPDX-License-Identifier: GPL-2.0 */
/*
 * process.h: the process side of the shim, private to src/shim.
 *
 * Terms. A process_mm is our record of one process address space (struct mm_struct) and of the core's Mm for it. A
 * region is one linear stretch of pgoff in it: what one mmap made, or fork, or the move of mremap. All kernel VMAs
 * that splits make out of it share the region, since a split keeps the distance from address to pgoff (bias).
 *
 * Ownership. Each kernel VMA of ours holds one reference of its region (vm_private_data) and is one user of the
 * process_mm. The core's Mm lives as long as there are users. The memory of a process_mm lives as long as a region of
 * it; it pins the mm_struct as an identity (mmgrab), not the address space. A VMA whose vm_private_data is NULL is
 * poisoned: memory ran out where the kernel takes no error (fork, mremap). Faults on it raise SIGBUS.
 *
 * Locking. The table of process_mms has a mutex, a leaf under mmap_lock: the core is never called under it.
 */
#ifndef OBJRMAP_SHIM_PROCESS_H
#define OBJRMAP_SHIM_PROCESS_H

#include <linux/fs.h>
#include <linux/mm_types.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>

#include "shim/kernel.h"
#include "shim/module.h"

struct objr_process_mm {
	struct hlist_node node; /* guarded by the table's mutex */
	refcount_t refs; /* regions, and one for being in the table */
	u32 users; /* VMAs and ioctls under way; guarded by the table's mutex */
	struct mm_struct *mm; /* immutable, grabbed */
	struct objr_mm *core; /* immutable, valid while there are users */
	pid_t tgid; /* atomic: who was last seen in it (initial namespace), 0 for nobody */
	u64 hopeless; /* atomic: the fault for which files were waited for in vain, see process_vma.c; 0 for none */
	struct task_struct *writer; /* atomic: the task that holds mmap_lock for write and calls the core */
};

struct objr_region {
	refcount_t refs;
	struct objr_process_mm *pmm; /* immutable */
	struct inode *inode; /* immutable: pseudo inode of the open file, its i_mmap has the VMAs */
	unsigned long bias; /* immutable: page number of an address - its pgoff, modulo 2^64 */
	unsigned long moved_from; /* bias of the old place while mremap moves it here; under mmap_lock */
	u64 origin; /* immutable: one number for all places that one mmap or fork was moved to */
};

/* An open file of /dev/objrmap. */
struct objr_file {
	struct objr_world *world; /* immutable */
	struct inode *inode; /* immutable: the pseudo inode */
	spinlock_t lock;
	u32 maps; /* how many mmaps have begun; guarded by lock */
	/* Set once while maps is 0, guarded by lock; immutable from the first mmap on. */
	struct objr_object *object; /* NULL: anonymous memory */
	bool shared; /* writes go to the object */
	bool writable; /* the object may be written to */
	u64 errors_seen; /* sample of the object's write-back errors; guarded by lock */
};

/* A fault under way; the token of objr_mm_fault. */
struct objr_fault {
	struct vm_fault *vmf;
	bool present; /* the processor found a PTE, but it was read-only */
	bool oom; /* the kernel had no page for a page table */
};

extern const struct vm_operations_struct objr_vm_ops;

/* device.c, for main.c */
int objr_device_init(struct objr_world *world, umode_t mode);
void objr_device_exit(void);

/* process_vma.c: mmap of an open file */
int objr_file_mmap(struct file *file, struct vm_area_struct *vma);

/* process_range.c: ioctls on a range of the current process's memory */
long objr_ioctl_remap(const void __user *user);
long objr_ioctl_advise(const void __user *user);

/* process_mm.c */

/* Become a user of the record of mm, which is made if there is none. The caller holds mm's mmap_lock for write. */
struct objr_process_mm *objr_process_mm_get(struct objr_world *world, struct mm_struct *mm);
/* Become a user of the record of mm if there is one; NULL if not. */
struct objr_process_mm *objr_process_mm_find(struct mm_struct *mm);
/* One user more of what the caller is a user of. */
void objr_process_mm_use(struct objr_process_mm *pmm);
/* One user less; the last one drops the core's Mm. Sleeps. */
void objr_process_mm_unuse(struct objr_process_mm *pmm);
/* The current task faults in it. */
void objr_process_mm_seen(struct objr_process_mm *pmm);

/*
 * A region with one reference. The caller is a user of pmm. source: where mremap moves it from, NULL for memory that is
 * new in this address space. NULL: no memory.
 */
struct objr_region *objr_region_create(struct objr_process_mm *pmm, struct inode *inode,
				       unsigned long bias, const struct objr_region *source);

/* backing.c */

/*
 * Open the file behind descriptor fd of the current process for a shared or private view. -EBADF, -EINVAL: not a
 * regular file, -EACCES, -EPERM: the kind of file does not allow it, -EOPNOTSUPP: the filesystem does not, -ENOMEM.
 */
int objr_backing_open(int fd, bool shared, struct objr_backing **backing);
/*
 * The file at path, for the swap space alone: nobody else has it open for writing, nor will. -ETXTBSY: somebody has;
 * -EINVAL no regular file, -EPERM append-only, immutable, sealed or a swap file, -EOPNOTSUPP its filesystem; as
 * open(2).
 */
int objr_backing_open_swap(const char *path, struct objr_backing **backing);

#endif
