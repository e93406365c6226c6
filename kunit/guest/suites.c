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
static void objr_run_case(struct kunit *kunit, const char *scheme, void (*body)(struct objr_test *test))
{
	struct objr_test test = { .kunit = kunit, .failures = ATOMIC_INIT(0), .scheme = scheme };

	if (scheme && !objr_test_has_scheme(scheme)) {
		kunit_mark_skipped(kunit, "there is no scheme %s", scheme);
		return;
	}
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

/* ---- cases that run once */

#define OBJR_RUN(name)							\
static void objr_run_##name(struct kunit *kunit)			\
{									\
	objr_run_case(kunit, NULL, objr_case_##name);			\
}

#define OBJR_ROW(case_name) { .run_case = objr_run_##case_name, .name = #case_name },

/* ---- cases that run under each scheme. Not KUnit's parameters: 6.1 loses the results of these when one is skipped. */

#define OBJR_RUN_IN(scheme, name)					\
static void objr_run_##name##_in_##scheme(struct kunit *kunit)		\
{									\
	objr_run_case(kunit, #scheme, objr_case_##name);		\
}

#define OBJR_RUN_EACH(name) OBJR_SCHEMES(OBJR_RUN_IN, name)

#define OBJR_ROW_IN(scheme, case_name)					\
	{ .run_case = objr_run_##case_name##_in_##scheme, .name = #case_name "/" #scheme },

#define OBJR_ROW_EACH(case_name) OBJR_SCHEMES(OBJR_ROW_IN, case_name)

/* ---- suites */

#define OBJR_SUITE_OF(suite_name, CASES, RUN, ROW)			\
CASES(OBJR_DECLARE_CASE)						\
CASES(RUN)								\
static struct kunit_case objr_cases_##suite_name[] = { CASES(ROW) {} };	\
static struct kunit_suite objr_suite_##suite_name = {			\
	.name = "objrmap_" #suite_name,					\
	.suite_init = objr_suite_init,					\
	.test_cases = objr_cases_##suite_name,				\
};									\
kunit_test_suite(objr_suite_##suite_name);

#define OBJR_SUITE(suite_name, CASES) OBJR_SUITE_OF(suite_name, CASES, OBJR_RUN, OBJR_ROW)
#define OBJR_SUITE_EACH(suite_name, CASES) OBJR_SUITE_OF(suite_name, CASES, OBJR_RUN_EACH, OBJR_ROW_EACH)

OBJR_SUITES(OBJR_SUITE, OBJR_SUITE_EACH)

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
