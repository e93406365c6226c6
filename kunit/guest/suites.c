// SPDX-License-Identifier: GPL-2.0
/*
 * suites.c: the cases of kunit/cases as KUnit suites, one for each suite of cases.h, named objrmap_SUITE.
 */
#include <kunit/test.h>
#include <linux/module.h>

#include "cases/cases.h"
#include "cases/test.h"
#include "cases/inject.h"
#include "../../src/shim/memory.h"
#include "sink.h"

/* What a case owes at its end is checked by its own fixture; here only the injection is taken back. */
static void objr_run_case(struct kunit *kunit, void (*body)(struct objr_test *test))
{
	struct objr_test test = { .kunit = kunit, .failures = ATOMIC_INIT(0) };

	body(&test);
	objr_test_fail_nth_allocation(0);
	if (objr_test_failed(&test))
		KUNIT_FAIL(kunit, "%d failed expectations, see above", atomic_read(&test.failures));
	else if (test.skip)
		kunit_mark_skipped(kunit, "%s", test.skip);
}

/* 6.1 runs the suites of a module before the module's own init. */
static int objr_suite_init(struct kunit_suite *suite)
{
	objr_memory_init();
	return 0;
}

#define OBJR_RUN(name)							\
OBJR_DECLARE_CASE(name)							\
static void objr_run_##name(struct kunit *kunit)			\
{									\
	objr_run_case(kunit, objr_case_##name);				\
}

#define OBJR_ROW(case_name) { .run_case = objr_run_##case_name, .name = #case_name },

#define OBJR_SUITE(suite_name, CASES)					\
CASES(OBJR_RUN)								\
static struct kunit_case objr_cases_##suite_name[] = { CASES(OBJR_ROW) {} };	\
static struct kunit_suite objr_suite_##suite_name = {			\
	.name = "objrmap_" #suite_name,					\
	.suite_init = objr_suite_init,					\
	.test_cases = objr_cases_##suite_name,				\
};									\
kunit_test_suite(objr_suite_##suite_name);

OBJR_SUITES(OBJR_SUITE)

static int __init objr_kunit_init(void)
{
	return 0;
}

/* Without an exit the module could not be removed. */
static void __exit objr_kunit_exit(void)
{
}

module_init(objr_kunit_init);
module_exit(objr_kunit_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("objrmap developers");
MODULE_DESCRIPTION("KUnit suites of objrmap");
