// SPDX-License-Identifier: GPL-2.0
/*
 * xarray.c: the kernel's index -> pointer map, for the core. Nodes are charged to the memory cgroup of the caller.
 */
#include <linux/gfp.h>
#include <linux/xarray.h>

#include "shim/kernel.h"
#include "fail.h"

void objr_xa_init(void *xa)
{
	xa_init_flags(xa, XA_FLAGS_ACCOUNT);
}

void objr_xa_destroy(void *xa)
{
	xa_destroy(xa);
}

void *objr_xa_load(void *xa, objr_u64 index)
{
	return xa_load(xa, index);
}

int objr_xa_insert(void *xa, objr_u64 index, void *entry)
{
	if (objr_allocation_fails())
		return -ENOMEM;
	return xa_insert(xa, index, entry, GFP_KERNEL);
}

void objr_xa_replace(void *xa, objr_u64 index, void *entry)
{
	/* There is a node with the slot: nothing is allocated. */
	WARN_ON(xa_is_err(xa_store(xa, index, entry, GFP_NOWAIT)));
}

int objr_xa_cmpxchg(void *xa, objr_u64 index, void *old, void *entry)
{
	/* Likewise. */
	return xa_cmpxchg(xa, index, old, entry, GFP_NOWAIT) == old;
}

void objr_xa_erase(void *xa, objr_u64 index)
{
	xa_erase(xa, index);
}

void *objr_xa_find(void *xa, objr_u64 *index, objr_u64 last)
{
	unsigned long at = *index;
	void *entry = xa_find(xa, &at, last, XA_PRESENT);

	if (entry)
		*index = at;
	return entry;
}

void objr_xa_set_mark(void *xa, objr_u64 index)
{
	xa_set_mark(xa, index, XA_MARK_0);
}

void objr_xa_clear_mark(void *xa, objr_u64 index)
{
	xa_clear_mark(xa, index, XA_MARK_0);
}

void *objr_xa_find_marked(void *xa, objr_u64 *index, objr_u64 last)
{
	unsigned long at = *index;
	void *entry = xa_find(xa, &at, last, XA_MARK_0);

	if (entry)
		*index = at;
	return entry;
}
