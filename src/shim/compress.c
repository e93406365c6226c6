// SPDX-License-Identifier: GPL-2.0
/*
 * compress.c: the kernel's LZ4, its allocator for compressed memory and its xxhash, for the core.
 *
 * What is swapped out belongs to no process any more: it is charged to nobody's memory cgroup.
 */
#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/lz4.h>
#include <linux/module.h>
#include <linux/xxhash.h>
#include <linux/zsmalloc.h>

#include "shim/kernel.h"
#include "compat.h"
#include "fail.h"

static struct zs_pool *objr_zs(struct objr_zs_pool *pool)
{
	return (struct zs_pool *)pool;
}

/* Pools make debugfs directories and slab caches of their names. */
struct objr_zs_pool *objr_zs_create_pool(void)
{
	static atomic_t pools;
	char name[32];

	if (objr_allocation_fails())
		return NULL;
	snprintf(name, sizeof(name), KBUILD_MODNAME "_%u", atomic_inc_return(&pools));
	return (struct objr_zs_pool *)zs_create_pool(name);
}

void objr_zs_destroy_pool(struct objr_zs_pool *pool)
{
	zs_destroy_pool(objr_zs(pool));
}

objr_u64 objr_zs_malloc(struct objr_zs_pool *pool, objr_u32 bytes)
{
	const gfp_t flags = GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN | __GFP_HIGHMEM | __GFP_MOVABLE;
	unsigned long object;

	if (objr_allocation_fails())
		return 0;
	object = objr_compat_zs_malloc(objr_zs(pool), bytes, flags);
	return IS_ERR_VALUE(object) ? 0 : object;
}

void objr_zs_free(struct objr_zs_pool *pool, objr_u64 object)
{
	zs_free(objr_zs(pool), object);
}

void objr_zs_write(struct objr_zs_pool *pool, objr_u64 object, const void *data, objr_u32 bytes)
{
	objr_compat_zs_write(objr_zs(pool), object, data, bytes);
}

void objr_zs_read(struct objr_zs_pool *pool, objr_u64 object, void *data, objr_u32 bytes)
{
	objr_compat_zs_read(objr_zs(pool), object, data, bytes);
}

objr_u64 objr_zs_get_total_pages(struct objr_zs_pool *pool)
{
	return zs_get_total_pages(objr_zs(pool));
}

objr_u32 objr_lz4_compress(const void *from, objr_u32 bytes, void *to, objr_u32 room, void *work)
{
	BUILD_BUG_ON(LZ4_MEM_COMPRESS > OBJR_LZ4_WORK_BYTES);

	return LZ4_compress_default(from, to, bytes, room, work);
}

objr_s32 objr_lz4_decompress(const void *from, objr_u32 bytes, void *to, objr_u32 room)
{
	return LZ4_decompress_safe(from, to, bytes, room);
}

objr_u64 objr_xxh64(const void *data, objr_u64 bytes)
{
	return xxh64(data, bytes, 0);
}
