// SPDX-License-Identifier: GPL-2.0
/*
 * process_mmu.c: the process MMU. A process's own PTEs are a cache of the core's page tables; here they are filled,
 * dropped, harvested and read back.
 *
 * VMAs and page tables of a process stay in place under its mmap_lock, or under the i_mmap_rwsem of the pseudo inode
 * that its VMAs are linked to. The first is only ever tried here: the caller may hold module locks, and may hold
 * mmap_lock itself. When it cannot be had, or when a part of the range is not the region's any more (munmap works on
 * with detached VMAs and mmap_lock held for read; mremap may have taken the PTEs elsewhere), the second is taken, and
 * every VMA of the address space that has the wanted pgoff and the same origin is treated, in the order of the tree:
 * mremap and fork rely on that order while PTEs are on their way.
 *
 * A dropped translation has left all TLBs when objr_region_zap returns, also if the kernel itself was about to drop it:
 * two gathers on one mm at a time make the second flush everything, and VM_PFNMAP ranges are flushed before their VMA
 * leaves the i_mmap.
 *
 * Lock order: mmap_lock -> the module's sleeping locks -> i_mmap_rwsem -> PTE lock. Context: everything sleeps.
 */
#include <linux/interval_tree_generic.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>

#include "compat.h"
#include "process.h"

/* The kernel's interval tree of the VMAs of a file, to look into; its own iterators are not exported. */
static inline unsigned long objr_vma_first_pgoff(struct vm_area_struct *vma)
{
	return vma->vm_pgoff;
}

static inline unsigned long objr_vma_last_pgoff(struct vm_area_struct *vma)
{
	return vma->vm_pgoff + vma_pages(vma) - 1;
}

INTERVAL_TREE_DEFINE(struct vm_area_struct, shared.rb, unsigned long, shared.rb_subtree_last,
		     objr_vma_first_pgoff, objr_vma_last_pgoff, static inline __maybe_unused,
		     objr_i_mmap)

/* What to do with the part [start, end) of one VMA of ours. Not 0 ends the walk. */
typedef int (*objr_vma_visit)(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			      void *context);

/* ---- finding the VMAs ---------------------------------------------------------------------------------------- */

/*
 * Visit the region's VMAs in [start, end) of its address space, whose mmap_lock is held. 1: other things were met in
 * the range, or nothing; what was the region's there may still be on its way out, or be at another place.
 */
static int objr_walk_mm(struct objr_region *region, unsigned long start, unsigned long end,
			objr_vma_visit visit, void *context)
{
	VMA_ITERATOR(vmi, region->pmm->mm, start);
	struct vm_area_struct *vma;
	unsigned long covered = start;
	int result, holes = 0;

	for_each_vma_range(vmi, vma, end) {
		if (vma->vm_ops != &objr_vm_ops || vma->vm_private_data != region)
			continue;
		if (vma->vm_start > covered)
			holes = 1;
		covered = vma->vm_end;
		result = visit(vma, max(start, vma->vm_start), min(end, vma->vm_end), context);
		if (result)
			return result;
	}
	return holes || covered < end;
}

/*
 * May PTEs of region be in vma? vm_private_data stays as it is while a VMA is linked to its file. A place that mremap
 * could not get memory for has no region, but may hold the PTEs until they move back.
 */
static bool objr_may_hold(const struct vm_area_struct *vma, const struct objr_region *region)
{
	const struct objr_region *other = vma->vm_private_data;

	return vma->vm_mm == region->pmm->mm && (!other || other->origin == region->origin);
}

/* Visit the VMAs that are linked to the region's file, may hold its PTEs and cover the pgoffs of [start, end). */
static void objr_walk_i_mmap(struct objr_region *region, unsigned long start, unsigned long end,
			     objr_vma_visit visit, void *context)
{
	struct address_space *mapping = region->inode->i_mapping;
	unsigned long first = (start >> PAGE_SHIFT) - region->bias;
	unsigned long last = ((end - 1) >> PAGE_SHIFT) - region->bias;
	struct vm_area_struct *vma;

	i_mmap_lock_read(mapping);
	for (vma = objr_i_mmap_iter_first(&mapping->i_mmap, first, last); vma;
	     vma = objr_i_mmap_iter_next(vma, first, last)) {
		unsigned long from = max(first, objr_vma_first_pgoff(vma)) - vma->vm_pgoff;
		unsigned long to = min(last, objr_vma_last_pgoff(vma)) - vma->vm_pgoff + 1;

		if (!objr_may_hold(vma, region))
			continue;
		visit(vma, vma->vm_start + (from << PAGE_SHIFT), vma->vm_start + (to << PAGE_SHIFT),
		      context);
	}
	i_mmap_unlock_read(mapping);
}

/* Visit every VMA through which the process may reach [start, end) of the region. */
static void objr_walk(struct objr_region *region, unsigned long start, unsigned long end,
		      enum objr_held held, objr_vma_visit visit, void *context)
{
	struct mm_struct *mm = region->pmm->mm;
	bool got = false;
	int missed = 1;

	if (held == OBJR_MMAP_LOCK_HELD && READ_ONCE(region->pmm->writer) == current) {
		missed = objr_walk_mm(region, start, end, visit, context);
	} else {
		if (held == OBJR_MMAP_LOCK_NOT_HELD)
			got = mmget_not_zero(mm);
		if ((got || held == OBJR_MMAP_LOCK_HELD) && mmap_read_trylock(mm)) {
			missed = objr_walk_mm(region, start, end, visit, context);
			mmap_read_unlock(mm);
		}
	}
	if (missed)
		objr_walk_i_mmap(region, start, end, visit, context);
	/* Never mmput: the last user would tear the address space down here, under module locks. */
	if (got)
		mmput_async(mm);
}

/* ---- dropping translations ----------------------------------------------------------------------------------- */

static int objr_zap_vma(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			void *context)
{
	objr_compat_zap_vma(vma, start, end - start);
	return 0;
}

void objr_region_zap(struct objr_region *region, u64 start, u64 end, enum objr_held held)
{
	if (start < end)
		objr_walk(region, start, end, held, objr_zap_vma, NULL);
}

/* ---- harvesting ---------------------------------------------------------------------------------------------- */

static u32 objr_pte_bits(unsigned long flags)
{
	return OBJR_PTE_PRESENT | (flags & _PAGE_ACCESSED ? OBJR_PTE_YOUNG : 0) |
	       (flags & _PAGE_DIRTY ? OBJR_PTE_DIRTY : 0) |
	       (flags & _PAGE_RW ? OBJR_PTE_WRITE : 0);
}

struct objr_harvested {
	u32 bits;
	u64 pfn;
	enum objr_harvest mode;
};

static int objr_harvest_vma(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			    void *context)
{
	struct objr_harvested *harvest = context;
	unsigned long pfn, flags;
	u32 bits;

	if (objr_compat_read_pte(vma, start, &pfn, &flags,
				 harvest->mode == OBJR_HARVEST_AGE ? OBJR_AGE_PTE : OBJR_READ_PTE))
		return 0;
	bits = objr_pte_bits(flags);
	harvest->bits |= bits;
	harvest->pfn = pfn;
	/* Dropped as a whole: the next use faults, and the new PTE is young again. */
	if (harvest->mode == OBJR_HARVEST_TAKE && (bits & OBJR_PTE_YOUNG))
		objr_compat_zap_vma(vma, start, end - start);
	return 0;
}

u32 objr_region_harvest(struct objr_region *region, u64 address, enum objr_harvest mode, u64 *pfn)
{
	struct objr_harvested harvest = { .mode = mode };
	unsigned long start = address & PAGE_MASK;

	objr_walk(region, start, start + PAGE_SIZE, OBJR_MMAP_LOCK_NOT_HELD, objr_harvest_vma,
		  &harvest);
	if (harvest.bits)
		*pfn = harvest.pfn;
	return harvest.bits;
}

/* ---- reading all of it back ---------------------------------------------------------------------------------- */

struct objr_scan {
	int (*visit)(void *context, u64 address, u64 pfn, u32 bits);
	void *context;
	int result;
};

/* The address up to which nothing can be present, or address itself. mmap_lock keeps the tables in place. */
static unsigned long objr_skip_empty(struct mm_struct *mm, unsigned long address)
{
	pgd_t *pgd = pgd_offset(mm, address);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(READ_ONCE(*pgd)))
		return (address & PGDIR_MASK) + PGDIR_SIZE;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(READ_ONCE(*p4d)))
		return (address & P4D_MASK) + P4D_SIZE;
	pud = pud_offset(p4d, address);
	if (pud_none(READ_ONCE(*pud)))
		return (address & PUD_MASK) + PUD_SIZE;
	pmd = pmd_offset(pud, address);
	if (pmd_none(READ_ONCE(*pmd)))
		return (address & PMD_MASK) + PMD_SIZE;
	return address;
}

static int objr_scan_vma(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			 void *context)
{
	struct objr_scan *scan = context;
	unsigned long address = start;
	unsigned long pfn, flags;

	while (address < end) {
		unsigned long next = objr_skip_empty(vma->vm_mm, address);

		if (next != address) {
			if (next < address) /* wrapped at the end of the address space */
				break;
			address = next;
			continue;
		}
		if (!objr_compat_read_pte(vma, address, &pfn, &flags, OBJR_READ_PTE)) {
			scan->result = scan->visit(scan->context, address, pfn,
						   objr_pte_bits(flags));
			if (scan->result)
				return scan->result;
		}
		address += PAGE_SIZE;
		cond_resched();
	}
	return 0;
}

int objr_region_scan(struct objr_region *region, u64 start, u64 end,
		     int (*visit)(void *context, u64 address, u64 pfn, u32 bits), void *context)
{
	struct objr_scan scan = { .visit = visit, .context = context };
	struct mm_struct *mm = region->pmm->mm;
	int result = -EBUSY;

	if (!mmget_not_zero(mm))
		return -EBUSY;
	if (mmap_read_trylock(mm)) {
		objr_walk_mm(region, start, end, objr_scan_vma, &scan);
		mmap_read_unlock(mm);
		result = scan.result;
	}
	mmput_async(mm);
	return result;
}

/* ---- entering translations ----------------------------------------------------------------------------------- */

int objr_fault_install(void *token, u64 address, u64 pfn, int writable, int replace)
{
	struct objr_fault *fault = token;
	struct vm_area_struct *vma = fault->vmf->vma;
	unsigned long page = address & PAGE_MASK;
	pgprot_t protection = vma->vm_page_prot;

	if (page < vma->vm_start || page >= vma->vm_end)
		return -EFAULT;

	/* Read-only but dirty must not come to be: the kernel may make such a PTE writable again without asking. */
	if (writable)
		protection = vm_get_page_prot(vma->vm_flags);
	else
		protection = __pgprot(pgprot_val(protection) & ~(_PAGE_RW | _PAGE_DIRTY));

	/* The kernel enters nothing, and says so to nobody, where something is already. */
	if (replace || (fault->present && page == (fault->vmf->address & PAGE_MASK)))
		objr_compat_zap_vma(vma, page, PAGE_SIZE);

	switch (vmf_insert_pfn_prot(vma, page, pfn, protection)) {
	case VM_FAULT_NOPAGE:
		return 0;
	case VM_FAULT_OOM:
		fault->oom = true;
		return -ENOMEM;
	default:
		return -EFAULT;
	}
}
