// SPDX-License-Identifier: GPL-2.0
/*
 * process_absent.c: the process MMU of the KUnit module, which has none. Tests run on the software MMU, give NULL for
 * the region and for the token of a fault, and so nothing here has anything to do; whoever does hand something in gets
 * a warning. (Backing files are made of memory: kunit/cases/memory_backing.cpp.)
 */
#include <linux/bug.h>
#include <linux/string.h>

#include "shim/kernel.h"

void objr_region_get(struct objr_region *region)
{
	WARN_ON(region);
}

void objr_region_put(struct objr_region *region)
{
	WARN_ON(region);
}

void objr_region_zap(struct objr_region *region, objr_u64 start, objr_u64 end, enum objr_held held)
{
	WARN_ON(region);
}

objr_u32 objr_region_harvest(struct objr_region *region, objr_u64 address,
			     enum objr_harvest mode, objr_u64 *pfn)
{
	WARN_ON(region);
	return 0;
}

int objr_region_scan(struct objr_region *region, objr_u64 start, objr_u64 end,
		     int (*visit)(void *context, objr_u64 address, objr_u64 pfn, objr_u32 bits),
		     void *context)
{
	WARN_ON(region);
	return 0;
}

int objr_fault_install(void *token, objr_u64 address, objr_u64 pfn, int writable, int replace)
{
	WARN_ON(token);
	return 0;
}

objr_u32 objr_region_owner(struct objr_region *region, char comm[16])
{
	WARN_ON(region);
	strscpy(comm, "-", 16);
	return 0;
}

objr_u64 objr_mm_of_pid(objr_u32 pid)
{
	return 0;
}

int objr_region_alive(const struct objr_region *region)
{
	WARN_ON(region);
	return 1;
}

objr_u64 objr_region_mm(const struct objr_region *region)
{
	WARN_ON(region);
	return 0;
}
