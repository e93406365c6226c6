// SPDX-License-Identifier: GPL-2.0
/*
 * inject.c: the failing allocations of kunit/cases/inject.h. Counted at the shim, not in the kernel's allocator: the
 * numbers are then the same on every kernel and on the host, and the kernel's own allocations do not come between.
 */
#include <linux/atomic.h>

#include "cases/inject.h"
#include "../../src/shim/fail.h"

static atomic_t objr_tried;
static atomic_t objr_fail_at; /* the number of the allocation that fails; 0: none */

bool objr_allocation_fails(void)
{
	unsigned int number = atomic_inc_return(&objr_tried);

	return number == atomic_read(&objr_fail_at);
}

int objr_test_can_fail_allocations(void)
{
	return 1;
}

void objr_test_fail_nth_allocation(unsigned int n)
{
	atomic_set(&objr_fail_at, 0);
	atomic_set(&objr_tried, 0);
	atomic_set(&objr_fail_at, n);
}

unsigned int objr_test_allocations(void)
{
	return atomic_read(&objr_tried);
}
