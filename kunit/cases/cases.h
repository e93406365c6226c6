/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cases.h: the list of all test cases, the same for the guest (KUnit) and the host (GoogleTest).
 *
 * A case NAME is a function objr_case_NAME(struct objr_test *), written with OBJR_TEST(NAME) of test.h in some
 * kunit/cases/ file. Names are unique over all suites and carry the number of the behaviour: spec_C08_early_stop.
 * A new suite is an OBJR_CASES_ list and a line in OBJR_SUITES; lists are sorted as a reader wants to meet them.
 *
 * Plain preprocessor: C and C++ read it.
 */
#ifndef OBJRMAP_KUNIT_CASES_H
#define OBJRMAP_KUNIT_CASES_H

/* clang-format off */

/* shim_cases.cpp: the kernel side keeps the promises of shim/kernel.h. */
#define OBJR_CASES_SHIM(CASE)		\
	CASE(shim_cache_zeroes)		\
	CASE(shim_cache_constructs)	\
	CASE(shim_cache_twice)		\
	CASE(shim_kvzalloc)		\
	CASE(shim_pages)		\
	CASE(shim_table_pages)		\
	CASE(shim_page_contents)	\
	CASE(shim_locks)		\
	CASE(shim_page_lock)		\
	CASE(shim_xarray)		\
	CASE(shim_clock)		\
	CASE(shim_text)			\
	CASE(shim_failing_allocations)	\
	CASE(shim_memory_file)		\
	CASE(shim_memory_file_errors)

/* trees.cpp: lists, red-black trees, the priority search tree. */
#define OBJR_CASES_TREES(CASE)				\
	CASE(tree_list)					\
	CASE(tree_list_against_naive)			\
	CASE(tree_rbtree_against_naive)			\
	CASE(tree_rbtree_depth)				\
	CASE(tree_rbtree_check_finds_defects)		\
	CASE(spec_C16_prio_tree_against_naive)		\
	CASE(spec_C16_prio_tree_edges)			\
	CASE(spec_C16_prio_tree_expands)		\
	CASE(spec_C16_stabbing_cost)			\
	CASE(spec_C16_stabbing_cost_equal_start)	\
	CASE(spec_C16_check_finds_defects)		\
	CASE(spec_C4_vm_set_sibling)

/* SUITE(name, list of cases) */
#define OBJR_SUITES(SUITE)		\
	SUITE(shim, OBJR_CASES_SHIM)	\
	SUITE(trees, OBJR_CASES_TREES)

#endif
