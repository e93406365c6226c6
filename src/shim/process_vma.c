// SPDX-License-Identifier: GPL-2.0
/*
 * process_vma.c: mmap of /dev/objrmap, and what the kernel then does to the VMA: split, fork, move, protect, fault,
 * read from outside, unmap.
 *
 * The core keeps Vmas of its own, keyed by address; each call here is one operation on a range of addresses. The order
 * of the kernel's calls (6.1, the later ones alike):
 *	split	may_split, open(new piece)
 *	fork	open(child's VMA, linked nowhere yet), copy of the PTEs, which copies nothing as open has dropped them
 *	mremap	may_split, open(new place), PTEs move, mremap(new place); then old place: may_split, open, close. If
 *		mremap(new place) fails, the PTEs move back and the new place is closed.
 *	munmap	may_split, open, PTEs dropped, close
 *	exit	PTEs dropped, close, in the context of any task
 *
 * Context: all of it sleeps. mmap_lock is held for write in mmap, open, may_split, mremap and mprotect, for read (or,
 * from 6.4 on, only the lock of the VMA) in faults, somehow in close.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>

#include "compat.h"
#include "process.h"

static unsigned long objr_vma_bias(const struct vm_area_struct *vma)
{
	return (vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff;
}

/* A VMA's flags in the core's words. */
static u32 objr_vm_flags(const struct vm_area_struct *vma, unsigned long vm_flags)
{
	const struct objr_file *file = vma->vm_file->private_data;

	return (vm_flags & VM_READ ? OBJR_VM_READ : 0) | (vm_flags & VM_WRITE ? OBJR_VM_WRITE : 0) |
	       (vm_flags & VM_EXEC ? OBJR_VM_EXEC : 0) |
	       (vm_flags & VM_MAYSHARE ? OBJR_VM_MAYSHARE : 0) |
	       (vm_flags & VM_MAYWRITE ? OBJR_VM_MAYWRITE : 0) |
	       (file->object && file->shared ? OBJR_VM_SHARED : 0);
}

/* ---- open, split, move, close -------------------------------------------------------------------------------- */

/* Copy the parent's memory into the VMA of a child. NULL: no memory. */
static struct objr_region *objr_vma_fork(struct vm_area_struct *vma, struct objr_region *parent)
{
	const struct objr_file *file = vma->vm_file->private_data;
	struct objr_region *region = NULL;
	struct objr_process_mm *child;
	int error = -ENOMEM;

	/* Both mmap_locks are held for write by this task. */
	WRITE_ONCE(parent->pmm->writer, current);
	child = objr_process_mm_get(file->world, vma->vm_mm);
	if (child)
		region = objr_region_create(child, parent->inode, parent->bias, NULL);
	if (region)
		error = objr_mm_fork(parent->pmm->core, child->core, vma->vm_start, vma->vm_end,
				     region);
	/* The kernel copies the parent's PTEs next: a child without the memory must not get them. */
	if (error)
		objr_region_zap(parent, vma->vm_start, vma->vm_end, OBJR_MMAP_LOCK_HELD);
	WRITE_ONCE(parent->pmm->writer, NULL);
	if (!error)
		return region;

	if (region)
		objr_region_put(region);
	if (child)
		objr_process_mm_unuse(child);
	return NULL;
}

static void objr_vma_open(struct vm_area_struct *vma)
{
	struct objr_region *region = vma->vm_private_data;
	unsigned long bias = objr_vma_bias(vma);

	if (!region)
		return;
	if (vma->vm_mm != region->pmm->mm) {
		vma->vm_private_data = objr_vma_fork(vma, region);
		return;
	}
	if (bias == region->bias) { /* a split */
		objr_region_get(region);
		objr_process_mm_use(region->pmm);
		return;
	}
	/* mremap: only the new place so far, objr_vma_mremap does the move. */
	vma->vm_private_data = objr_region_create(region->pmm, region->inode, bias, region);
	if (vma->vm_private_data)
		objr_process_mm_use(region->pmm);
}

static int objr_vma_may_split(struct vm_area_struct *vma, unsigned long address)
{
	struct objr_region *region = vma->vm_private_data;

	return region ? objr_mm_split(region->pmm->core, address) : 0;
}

static int objr_vma_mremap(struct vm_area_struct *vma)
{
	struct objr_region *region = vma->vm_private_data;
	unsigned long from;
	int error;

	if (!region)
		return -ENOMEM;
	from = vma->vm_start - ((region->bias - region->moved_from) << PAGE_SHIFT);
	error = objr_mm_move(region->pmm->core, from, vma->vm_start, vma->vm_end - vma->vm_start,
			     region);
	if (!error)
		region->moved_from = region->bias;
	return error;
}

static void objr_vma_close(struct vm_area_struct *vma)
{
	struct objr_region *region = vma->vm_private_data;
	struct objr_process_mm *pmm;

	if (!region)
		return;
	vma->vm_private_data = NULL;
	pmm = region->pmm;
	/* A split that fails closes a piece without extent; a move that fails, a place the core never knew. */
	if (vma->vm_start < vma->vm_end)
		objr_mm_unmap(pmm->core, vma->vm_start, vma->vm_end);
	objr_process_mm_unuse(pmm);
	objr_region_put(region);
}

static int objr_vma_mprotect(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			     unsigned long new_flags)
{
	struct objr_region *region = vma->vm_private_data;
	int error;

	if (!region)
		return 0;
	WRITE_ONCE(region->pmm->writer, current);
	error = objr_mm_protect(region->pmm->core, start, end, objr_vm_flags(vma, new_flags));
	WRITE_ONCE(region->pmm->writer, NULL);
	return error;
}

/* ---- faults and access from outside --------------------------------------------------------------------------- */

/* What tells one fault from others of its process: the task and the page. */
static u64 objr_fault_id(const struct vm_fault *vmf)
{
	return (u64)current->pid << 45 ^ vmf->address >> PAGE_SHIFT;
}

enum objr_need {
	OBJR_NEED_PAGE, /* none can be had before files are written */
	OBJR_NEED_RESTRAINT, /* it has one, and others must get some, too */
};

/*
 * Wait until files have been written, without mmap_lock: who holds the lock of a file, which the write needs, may be
 * waiting for mmap_lock. Only from user mode: else the task may hold that lock itself. NOPAGE: this attempt may not map
 * it; the access faults anew. Should it fail then as well, after waiting in vain, that is known by pmm->hopeless.
 */
static vm_fault_t objr_fault_wait(struct vm_fault *vmf, struct objr_process_mm *pmm, enum objr_need need)
{
	u64 id = objr_fault_id(vmf);
	struct file *filp = vmf->vma->vm_file;
	struct objr_file *file = filp->private_data;

	/* Without mmap_lock another thread may unmap it all. */
	get_file(filp);
	objr_process_mm_use(pmm);
	if (!objr_compat_unlock_fault(vmf)) {
		objr_process_mm_unuse(pmm);
		fput(filp);
		return VM_FAULT_NOPAGE;
	}
	if (need == OBJR_NEED_RESTRAINT)
		objr_throttle(file->world);
	else if (objr_wait_for_writeback(file->world))
		WRITE_ONCE(pmm->hopeless, id);
	objr_process_mm_unuse(pmm);
	fput(filp);
	/* Both: after pfn_mkwrite the kernel goes on, and unlocks once more, unless it sees NOPAGE. */
	return VM_FAULT_RETRY | VM_FAULT_NOPAGE;
}

static vm_fault_t objr_vma_resolve(struct vm_fault *vmf, u32 kind, bool present)
{
	struct vm_area_struct *vma = vmf->vma;
	struct objr_region *region = vma->vm_private_data;
	struct objr_fault fault = { .vmf = vmf, .present = present };
	const struct objr_file *file = vma->vm_file->private_data;
	int error;

	if (!region)
		return VM_FAULT_SIGBUS;
	objr_process_mm_seen(region->pmm);
	error = objr_mm_fault(region->pmm->core, vmf->address & PAGE_MASK, kind,
			      objr_vm_flags(vma, vma->vm_flags), &fault);
	if (error != -ENOBUFS && READ_ONCE(region->pmm->hopeless) == objr_fault_id(vmf))
		WRITE_ONCE(region->pmm->hopeless, 0);
	switch (error) {
	case 0:
		if (kind & OBJR_FAULT_WRITE && vmf->flags & FAULT_FLAG_USER && objr_too_dirty(file->world))
			return objr_fault_wait(vmf, region->pmm, OBJR_NEED_RESTRAINT);
		return VM_FAULT_NOPAGE;
	case -ENOBUFS:
		if (vmf->flags & FAULT_FLAG_USER && READ_ONCE(region->pmm->hopeless) != objr_fault_id(vmf))
			return objr_fault_wait(vmf, region->pmm, OBJR_NEED_PAGE);
		WRITE_ONCE(region->pmm->hopeless, 0);
		return VM_FAULT_SIGBUS;
	case -EAGAIN: /* the access itself tries again */
		return VM_FAULT_NOPAGE;
	case -EFAULT:
	case -EACCES:
		return VM_FAULT_SIGSEGV;
	case -EHWPOISON:
		return VM_FAULT_HWPOISON;
	default:
		/* VM_FAULT_OOM is for the kernel's memory only: for the pool's it would make an endless loop. */
		return fault.oom ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	}
}

static vm_fault_t objr_vma_fault(struct vm_fault *vmf)
{
	u32 kind = (vmf->flags & FAULT_FLAG_WRITE ? OBJR_FAULT_WRITE : 0) |
		   (vmf->flags & FAULT_FLAG_INSTRUCTION ? OBJR_FAULT_EXEC : 0);

	return objr_vma_resolve(vmf, kind, false);
}

/* A write to a read-only PTE of a writable VMA. */
static vm_fault_t objr_vma_pfn_mkwrite(struct vm_fault *vmf)
{
	return objr_vma_resolve(vmf, OBJR_FAULT_WRITE, true);
}

/* ptrace and /proc/PID/mem; mmap_lock is held for read. */
static int objr_vma_access(struct vm_area_struct *vma, unsigned long address, void *buffer, int len,
			   int write)
{
	struct objr_region *region = vma->vm_private_data;
	const struct objr_file *file = vma->vm_file->private_data;
	unsigned long end = min(vma->vm_end, address + len);
	unsigned long at = address;
	int result = -EIO;

	if (!region)
		return -EIO;
	/* A debugger may write to what the process may not, but only to a copy of its own. */
	if (write && !(vma->vm_flags & VM_WRITE) &&
	    (!(vma->vm_flags & VM_MAYWRITE) || (file->object && file->shared)))
		return -EACCES;

	while (at < end) {
		u32 chunk = min(end - at, PAGE_SIZE - offset_in_page(at));

		result = objr_mm_access(region->pmm->core, at, buffer + (at - address), chunk,
					write);
		if (result <= 0)
			break;
		at += result;
	}
	return at > address ? at - address : result;
}

const struct vm_operations_struct objr_vm_ops = {
	.open = objr_vma_open,
	.close = objr_vma_close,
	.may_split = objr_vma_may_split,
	.mremap = objr_vma_mremap,
	.mprotect = objr_vma_mprotect,
	.fault = objr_vma_fault,
	.pfn_mkwrite = objr_vma_pfn_mkwrite,
	.access = objr_vma_access,
};

/* ---- mmap ---------------------------------------------------------------------------------------------------- */

/* Make the region of a new VMA and tell the core. */
static int objr_vma_map(struct objr_file *file, struct vm_area_struct *vma)
{
	struct objr_process_mm *pmm = objr_process_mm_get(file->world, vma->vm_mm);
	struct objr_region *region;
	int error;

	if (!pmm)
		return -ENOMEM;
	error = -ENOMEM;
	region = objr_region_create(pmm, file->inode, objr_vma_bias(vma), NULL);
	if (!region)
		goto undo;
	error = objr_mm_map(pmm->core, vma->vm_start, vma->vm_end, vma->vm_pgoff,
			    objr_vm_flags(vma, vma->vm_flags), file->object, region);
	if (error) {
		objr_region_put(region);
		goto undo;
	}
	vma->vm_private_data = region;
	return 0;

undo:
	objr_process_mm_unuse(pmm);
	return error;
}

int objr_file_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct objr_file *file = filp->private_data;
	unsigned long pages = vma_pages(vma);
	int error;

	/* Not VM_SHARED: the kernel takes that away from descriptors opened read-only. */
	if (!(vma->vm_flags & VM_MAYSHARE)) {
		pr_notice_ratelimited("%s[%d]: MAP_PRIVATE is not for /dev/objrmap: use MAP_SHARED, which gives memory private to the process unless the descriptor is bound to an object\n",
				      current->comm, task_pid_nr(current));
		return -EINVAL;
	}
	if (vma->vm_pgoff + pages < pages)
		return -EINVAL;

	/* From here on the descriptor cannot be bound any more; undone if this fails. */
	spin_lock(&file->lock);
	file->maps++;
	spin_unlock(&file->lock);

	error = -EINVAL;
	if (file->object && vma->vm_pgoff + pages > (unsigned long)MAX_LFS_FILESIZE >> PAGE_SHIFT)
		goto undo;
	if (file->object && file->shared && !file->writable) {
		error = -EACCES;
		if (vma->vm_flags & VM_WRITE)
			goto undo;
		objr_compat_vm_flags_clear(vma, VM_MAYWRITE);
	}
	objr_compat_vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);

	error = objr_vma_map(file, vma);
	if (error)
		goto undo;
	vma->vm_ops = &objr_vm_ops;
	return 0;

undo:
	spin_lock(&file->lock);
	file->maps--;
	spin_unlock(&file->lock);
	return error;
}
