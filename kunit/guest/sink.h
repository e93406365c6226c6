/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sink.h: what stands behind the tests' `struct objr_test` in the guest.
 */
#ifndef OBJRMAP_KUNIT_SINK_H
#define OBJRMAP_KUNIT_SINK_H

#include <linux/atomic.h>

struct kunit;

struct objr_test {
	struct kunit *kunit;
	atomic_t failures;
	const char *scheme; /* the one to run under, or NULL: the case chooses */
	const char *skip; /* why the case cannot run here, or NULL */
};

/* The body of a case, defined with OBJR_TEST. */
#define OBJR_DECLARE_CASE(name) void objr_case_##name(struct objr_test *test);

#endif
