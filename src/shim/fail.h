/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fail.h: allocations that fail on purpose. In the KUnit module every allocation of the shim asks first (kunit/guest/
 * inject.c counts, kunit/cases/inject.h is the tests' side); in objrmap.ko there is nothing of it.
 */
#ifndef OBJRMAP_SHIM_FAIL_H
#define OBJRMAP_SHIM_FAIL_H

#include <linux/types.h>

#ifdef OBJRMAP_KUNIT
bool objr_allocation_fails(void); /* any context */
#else
static inline bool objr_allocation_fails(void)
{
	return false;
}
#endif

#endif
