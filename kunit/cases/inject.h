/* SPDX-License-Identifier: GPL-2.0 */
/*
 * inject.h: failing allocations, for test bodies. Host: every allocation of the seam is counted and can be made to fail
 * (kunit/host/ledger.cpp). Guest: by the kernel's fault injection where the kernel has it; a test asks first and is
 * skipped otherwise.
 *
 * The usual loop over every allocation of an operation:
 *
 *	for (unsigned n = 1;; n++) {
 *		objr_test_fail_nth_allocation(n);
 *		result = operation();
 *		reached = objr_test_allocations() >= n;
 *		objr_test_fail_nth_allocation(0);
 *		if (!reached)
 *			break; // n - 1 allocations in all, each has failed once
 *		// result must be -ENOMEM and nothing changed, or success if the core could do without
 *	}
 *
 * Counted are all threads' allocations: caches, kvzalloc, pages, page tables, xarray entries, per-processor locks.
 */
#ifndef OBJRMAP_KUNIT_INJECT_H
#define OBJRMAP_KUNIT_INJECT_H

#ifdef __cplusplus
extern "C" {
#endif

/* 1: the functions below work here. 0: they do nothing. */
int objr_test_can_fail_allocations(void);

/* The n-th allocation from now on fails, once; n = 1 is the next one. 0: none fails. Restarts the count. */
void objr_test_fail_nth_allocation(unsigned n);

/* Allocations tried since the last call of objr_test_fail_nth_allocation, the failed one included. */
unsigned objr_test_allocations(void);

#ifdef __cplusplus
}
#endif

#endif /* OBJRMAP_KUNIT_INJECT_H */
