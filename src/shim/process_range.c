// SPDX-License-Identifier: GPL-2.0
/*
 * process_range.c: what a process asks of the device for a range of its own memory: nonlinear remap, advice.
 *
 * Both are operations on core Vmas, which the core splits at the ends of the range. The kernel's VMAs stay whole: they
 * need not match the core's, as every call of process_vma.c is one operation on a range of addresses, whatever lies in
 * it. Nor do the process's PTEs have to be filled here: the core's are, and faults copy them.
 *
 * Locking, of what changes core Vmas: mmap_lock is held for write, from looking at the VMAs until the core is done. So
 * no fork, munmap, mremap or mprotect of the process comes in between, also not the second half of a munmap that has
 * downgraded its lock: it unmaps up to boundaries that it has made in the core. User memory is read before: it may be
 * memory of the pool.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "process.h"
#include "uapi/objrmap.h"

static_assert(OBJR_REMAP_NONBLOCK == OBJRMAP_REMAP_NONBLOCK);
static_assert((u32)OBJR_ADVISE_NORMAL == OBJRMAP_ADVISE_NORMAL);
static_assert((u32)OBJR_ADVISE_RANDOM == OBJRMAP_ADVISE_RANDOM);
static_assert((u32)OBJR_ADVISE_SEQUENTIAL == OBJRMAP_ADVISE_SEQUENTIAL);
static_assert((u32)OBJR_ADVISE_WILLNEED == OBJRMAP_ADVISE_WILLNEED);
static_assert((u32)OBJR_ADVISE_DONTNEED == OBJRMAP_ADVISE_DONTNEED);
static_assert((u32)OBJR_ADVISE_COLD == OBJRMAP_ADVISE_COLD);
static_assert((u32)OBJR_ADVISE_PAGEOUT == OBJRMAP_ADVISE_PAGEOUT);
static_assert((u32)OBJR_ADVISE_LOCK == OBJRMAP_ADVISE_LOCK);
static_assert((u32)OBJR_ADVISE_UNLOCK == OBJRMAP_ADVISE_UNLOCK);

/* The region of a VMA of ours; NULL for others, and for one that is poisoned. */
static struct objr_region *objr_region_of(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &objr_vm_ops ? vma->vm_private_data : NULL;
}

/* ---- remap ------------------------------------------------------------------------------------------------- */

static int objr_remap_locked(struct mm_struct *mm, const struct objrmap_remap *arg)
{
	struct vm_area_struct *vma = find_vma(mm, arg->start);
	const struct objr_file *file;
	struct objr_region *region;
	int error;

	if (!vma || arg->start < vma->vm_start || arg->start + arg->size > vma->vm_end)
		return -EINVAL;
	region = objr_region_of(vma);
	if (!region)
		return -EINVAL;
	file = vma->vm_file->private_data;
	if (!file->object || !file->shared)
		return -EINVAL;

	WRITE_ONCE(region->pmm->writer, current);
	error = objr_mm_remap(region->pmm->core, arg->start, arg->size, arg->pgoff, arg->flags);
	WRITE_ONCE(region->pmm->writer, NULL);
	return error;
}

long objr_ioctl_remap(const void __user *user)
{
	const u64 most = (u64)MAX_LFS_FILESIZE >> PAGE_SHIFT;
	struct mm_struct *mm = current->mm;
	struct objrmap_remap arg;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~OBJRMAP_REMAP_NONBLOCK || arg.reserved)
		return -EINVAL;
	if (!arg.size || (arg.start | arg.size) & ~PAGE_MASK || arg.start + arg.size < arg.start)
		return -EINVAL;
	if (arg.pgoff > most || arg.size >> PAGE_SHIFT > most - arg.pgoff)
		return -EINVAL;
	if (!mm)
		return -EINVAL;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	error = objr_remap_locked(mm, &arg);
	mmap_write_unlock(mm);
	return error;
}

/* ---- advice ------------------------------------------------------------------------------------------------ */

/* The record of mm if every page of [start, end) is mapped from this device, else NULL. */
static struct objr_process_mm *objr_covered(struct mm_struct *mm, unsigned long start,
					    unsigned long end)
{
	VMA_ITERATOR(vmi, mm, start);
	struct objr_process_mm *pmm = NULL;
	struct vm_area_struct *vma;
	unsigned long covered = start;

	for_each_vma_range(vmi, vma, end) {
		const struct objr_region *region = objr_region_of(vma);

		if (vma->vm_start > covered || !region)
			return NULL;
		pmm = region->pmm;
		covered = vma->vm_end;
	}
	return covered >= end ? pmm : NULL;
}

/*
 * Pages that the current process may have locked in the pool: what its limit leaves beside other memory. Whoever may
 * lock as much as he wants can do so here too.
 */
static u64 objr_lock_limit(const struct mm_struct *mm)
{
	unsigned long most = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	unsigned long locked = READ_ONCE(mm->locked_vm);

	if (rlimit(RLIMIT_MEMLOCK) == RLIM_INFINITY || capable(CAP_IPC_LOCK))
		return U64_MAX;
	return most > locked ? most - locked : 0;
}

/*
 * Advice that changes core Vmas has mmap_lock for write. For DONTNEED it is held for read, so that what is dropped is
 * what was looked at. The others may read and write files, for which nobody must be kept from a fault: without.
 */
static int objr_advise(struct mm_struct *mm, const struct objrmap_advise *arg)
{
	bool write = objr_advice_changes_vmas(arg->advice);
	struct objr_process_mm *pmm;
	int error;

	if (write ? mmap_write_lock_killable(mm) : mmap_read_lock_killable(mm))
		return -EINTR;
	pmm = objr_covered(mm, arg->start, arg->start + arg->len);
	if (!pmm) {
		error = -ENOMEM;
		goto unlock;
	}
	error = 0;
	if (write)
		WRITE_ONCE(pmm->writer, current);
	if (write || arg->advice == OBJRMAP_ADVISE_DONTNEED)
		error = objr_mm_advise(pmm->core, arg->start, arg->len, arg->advice,
				       objr_lock_limit(mm));
	if (write)
		WRITE_ONCE(pmm->writer, NULL);
	objr_process_mm_use(pmm);
unlock:
	if (write)
		mmap_write_unlock(mm);
	else
		mmap_read_unlock(mm);
	if (!pmm)
		return error;

	if (!error && arg->advice == OBJRMAP_ADVISE_LOCK)
		error = objr_mm_populate(pmm->core, arg->start, arg->len);
	else if (!write && arg->advice != OBJRMAP_ADVISE_DONTNEED)
		error = objr_mm_advise(pmm->core, arg->start, arg->len, arg->advice, 0);
	objr_process_mm_unuse(pmm);
	return error;
}

long objr_ioctl_advise(const void __user *user)
{
	struct mm_struct *mm = current->mm;
	struct objrmap_advise arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.advice > OBJRMAP_ADVISE_UNLOCK || arg.reserved || arg.start & ~PAGE_MASK)
		return -EINVAL;
	if (arg.len > PAGE_ALIGN_DOWN(U64_MAX))
		return -EINVAL;
	arg.len = PAGE_ALIGN(arg.len);
	if (arg.start + arg.len < arg.start || !mm)
		return -EINVAL;
	if (arg.advice == OBJRMAP_ADVISE_LOCK && !can_do_mlock())
		return -EPERM;
	if (!arg.len)
		return 0;

	return objr_advise(mm, &arg);
}
