// SPDX-License-Identifier: GPL-2.0
/*
 * memory.c: slab caches, vmalloc memory, whole pages and page-table pages, for the core.
 *
 * What a process makes the core allocate is charged to that process's memory cgroup: objects, table pages and
 * vmalloc memory. The pool itself (objr_alloc_pages) is the administrator's and is charged to nobody.
 */
#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>

#include "shim/kernel.h"
#include "fail.h"
#include "memory.h"

objr_u64 objr_direct_map_base;

void objr_memory_init(void)
{
	objr_direct_map_base = PAGE_OFFSET;
}

/* ---- slab caches ------------------------------------------------------------------------- */

struct objr_kmem_cache {
	struct kmem_cache *slab;
	gfp_t zero; /* __GFP_ZERO without a ctor */
	const char *base; /* the core's name: a string literal */
	u64 number;
	struct list_head node; /* guarded by objr_caches_lock */
};

static LIST_HEAD(objr_caches);
static DEFINE_MUTEX(objr_caches_lock);

/*
 * The kernel makes a sysfs directory from the name of every cache that it does not merge with others, and two of one
 * name do not go together. A second world (KUnit has many) therefore numbers its caches. Type-stable caches leave
 * sysfs only a grace period after their destruction, perhaps after the module was loaded anew: theirs is the time.
 */
static u64 objr_cache_number_locked(const char *base, int typesafe)
{
	const struct objr_kmem_cache *other;
	u64 number = 1;

	if (typesafe)
		return ktime_get_boottime_ns() / NSEC_PER_USEC;
	list_for_each_entry(other, &objr_caches, node) {
		if (!strcmp(other->base, base) && other->number >= number)
			number = other->number + 1;
	}
	return number;
}

struct objr_kmem_cache *objr_kmem_cache_create(const char *name, objr_u32 size, objr_u32 align,
					       int typesafe, void (*ctor)(void *))
{
	slab_flags_t flags = SLAB_ACCOUNT | (typesafe ? SLAB_TYPESAFE_BY_RCU : 0);
	struct objr_kmem_cache *cache;
	char full[64];

	if (objr_allocation_fails())
		return NULL;
	cache = kzalloc(sizeof(*cache), GFP_KERNEL);
	if (!cache)
		return NULL;
	cache->base = name;
	cache->zero = ctor ? 0 : __GFP_ZERO;

	mutex_lock(&objr_caches_lock);
	cache->number = objr_cache_number_locked(name, typesafe);
	if (cache->number == 1)
		snprintf(full, sizeof(full), KBUILD_MODNAME "_%s", name);
	else
		snprintf(full, sizeof(full), KBUILD_MODNAME "_%s-%llx", name, cache->number);
	cache->slab = kmem_cache_create(full, size, align, flags, ctor);
	if (cache->slab)
		list_add(&cache->node, &objr_caches);
	mutex_unlock(&objr_caches_lock);

	if (!cache->slab) {
		kfree(cache);
		return NULL;
	}
	return cache;
}

void objr_kmem_cache_destroy(struct objr_kmem_cache *cache)
{
	if (!cache)
		return;
	mutex_lock(&objr_caches_lock);
	kmem_cache_destroy(cache->slab);
	list_del(&cache->node);
	mutex_unlock(&objr_caches_lock);
	kfree(cache);
}

void *objr_kmem_cache_alloc(struct objr_kmem_cache *cache, enum objr_gfp gfp)
{
	/* A failed atomic allocation is an ordinary event: the caller has a plan for it. */
	gfp_t flags = gfp == OBJR_GFP_ATOMIC ? GFP_ATOMIC | __GFP_NOWARN : GFP_KERNEL;

	if (objr_allocation_fails())
		return NULL;
	return kmem_cache_alloc(cache->slab, flags | cache->zero);
}

void objr_kmem_cache_free(struct objr_kmem_cache *cache, void *object)
{
	kmem_cache_free(cache->slab, object);
}

void *objr_kvzalloc(objr_u64 bytes)
{
	if (objr_allocation_fails())
		return NULL;
	/* How much is wanted may be up to a user; the kernel warns of what is beyond its limits. */
	return kvzalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
}

void objr_kvfree(const void *memory)
{
	kvfree(memory);
}

/* ---- pages ------------------------------------------------------------------------------- */

u64 objr_mb_for_pool(void)
{
	return ((u64)max(si_mem_available(), 0L) << PAGE_SHIFT >> 20) * 7 / 8;
}

void *objr_alloc_pages(objr_u32 order)
{
	/* The pool's chunks. The caller goes on with a smaller order, so the allocator neither warns nor kills. */
	const gfp_t flags = GFP_KERNEL | __GFP_ZERO | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;

	if (objr_allocation_fails())
		return NULL;
	return (void *)__get_free_pages(flags, order);
}

void objr_free_pages(void *memory, objr_u32 order)
{
	free_pages((unsigned long)memory, order);
}

/*
 * A root is half of an 8 KiB block: the kernel's entry code, with page-table isolation, flips bit 12 of CR3 to go
 * from one half to the other.
 */
#define OBJR_ROOT_ORDER 1

void *objr_table_alloc(int root, void *descriptor)
{
	const gfp_t flags = GFP_KERNEL_ACCOUNT | __GFP_ZERO;
	unsigned long table;

	if (objr_allocation_fails())
		return NULL;
	table = __get_free_pages(flags, root ? OBJR_ROOT_ORDER : 0);
	if (!table)
		return NULL;
	set_page_private(virt_to_page((void *)table), (unsigned long)descriptor);
	return (void *)table;
}

void objr_table_free(void *table, int root)
{
	set_page_private(virt_to_page(table), 0);
	free_pages((unsigned long)table, root ? OBJR_ROOT_ORDER : 0);
}

void *objr_table_descriptor(const void *table)
{
	return (void *)page_private(virt_to_page(table));
}

void objr_clear_page(void *page)
{
	clear_page(page);
}

void objr_copy_page(void *to, const void *from)
{
	copy_page(to, (void *)from);
}
