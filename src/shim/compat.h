/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h: the one place where kernel releases differ. Each helper cites the release that changed.
 *
 * The process side has run on 6.1 and 6.12; against the headers of 7.2 it compiles.
 */
#ifndef OBJRMAP_SHIM_COMPAT_H
#define OBJRMAP_SHIM_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/numa.h>
#include <linux/string.h>
#include <linux/version.h>
#include <linux/zsmalloc.h>

/* Drop the translations of [address, address + size), which lies within vma, and flush the TLBs. */
static inline void objr_compat_zap_vma(struct vm_area_struct *vma, unsigned long address,
				       unsigned long size)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 2, 0) /* 7.2: renamed */
	zap_special_vma_range(vma, address, size);
#else
	zap_vma_ptes(vma, address, size);
#endif
}

static inline void objr_compat_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0) /* 6.3: vm_flags is written by helpers only */
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

static inline void objr_compat_vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0) /* 6.3: vm_flags is written by helpers only */
	vm_flags_clear(vma, flags);
#else
	vma->vm_flags &= ~flags;
#endif
}

enum objr_pte_access {
	OBJR_READ_PTE,
	OBJR_AGE_PTE, /* and clear its accessed bit, without a flush */
};

/*
 * Read the present PTE of address, which lies within vma: its pfn and its flag bits (_PAGE_*). 0, or -EINVAL if nothing
 * is there. The caller holds the mmap_lock, or the i_mmap_rwsem of the file of vma.
 */
static inline int objr_compat_read_pte(struct vm_area_struct *vma, unsigned long address,
				       unsigned long *pfn, unsigned long *flags,
				       enum objr_pte_access access)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) /* 6.12: follow_pte is no longer exported */
	struct follow_pfnmap_args args = { .vma = vma, .address = address };
	int error = follow_pfnmap_start(&args);

	if (error)
		return error;
	*pfn = args.pfn;
	*flags = pgprot_val(args.pgprot);
	if (args.writable)
		*flags |= _PAGE_RW;
	if (access == OBJR_AGE_PTE)
		clear_bit(_PAGE_BIT_ACCESSED, (unsigned long *)&args.ptep->pte);
	follow_pfnmap_end(&args);
	return 0;
#else
	spinlock_t *lock;
	pte_t *ptep, pte;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0) /* 6.10: takes the vma */
	int error = follow_pte(vma, address, &ptep, &lock);
#else
	int error = follow_pte(vma->vm_mm, address, &ptep, &lock);
#endif

	if (error)
		return error;
	pte = *ptep;
	/* Atomically, as the processor may set its dirty bit at the same time. */
	if (access == OBJR_AGE_PTE)
		clear_bit(_PAGE_BIT_ACCESSED, (unsigned long *)&ptep->pte);
	pte_unmap_unlock(ptep, lock);
	*pfn = pte_pfn(pte);
	*flags = pte_flags(pte);
	return 0;
#endif
}

/*
 * Let go of the lock under which a fault is handled, which may then only answer VM_FAULT_RETRY; neither the fault nor
 * its VMA are there any more. False: this attempt has to come to its end under the lock.
 */
static inline bool objr_compat_unlock_fault(struct vm_fault *vmf)
{
	if (!fault_flag_allow_retry_first(vmf->flags) || vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return false;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0) /* 6.7: or the lock of the VMA alone */
	release_fault_lock(vmf);
#else
	mmap_read_unlock(vmf->vma->vm_mm);
#endif
	return true;
}

/* Change attributes of the inode of file; the caller holds its inode lock and write access to its filesystem. */
static inline int objr_compat_notify_change(struct file *file, struct iattr *attr)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0) /* 6.3: idmaps in place of user namespaces */
	return notify_change(file_mnt_idmap(file), file_dentry(file), attr, NULL);
#else
	return notify_change(file_mnt_user_ns(file), file_dentry(file), attr, NULL);
#endif
}

/* An object of compressed memory, or an error as ERR_PTR has it. */
static inline unsigned long objr_compat_zs_malloc(struct zs_pool *pool, size_t bytes, gfp_t flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0) /* 6.16: takes the node */
	return zs_malloc(pool, bytes, flags, NUMA_NO_NODE);
#else
	return zs_malloc(pool, bytes, flags);
#endif
}

static inline void objr_compat_zs_write(struct zs_pool *pool, unsigned long object, const void *data,
					size_t bytes)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0) /* 6.15: objects are copied, not mapped */
	zs_obj_write(pool, object, (void *)data, bytes);
#else
	memcpy(zs_map_object(pool, object, ZS_MM_WO), data, bytes);
	zs_unmap_object(pool, object);
#endif
}

/* data has room for a page whatever the object's size. */
static inline void objr_compat_zs_read(struct zs_pool *pool, unsigned long object, void *data,
				       size_t bytes)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0) /* 6.15: as above */
	void *from;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0) /* 7.0: takes the size */
	from = zs_obj_read_begin(pool, object, bytes, data);
#else
	from = zs_obj_read_begin(pool, object, data);
#endif
	if (from != data)
		memcpy(data, from, bytes);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0) /* 7.0: takes the size */
	zs_obj_read_end(pool, object, bytes, from);
#else
	zs_obj_read_end(pool, object, from);
#endif
#else
	memcpy(data, zs_map_object(pool, object, ZS_MM_RO), bytes);
	zs_unmap_object(pool, object);
#endif
}

#endif
