/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cases.h: the list of all test cases, the same for the guest (KUnit) and the host (GoogleTest).
 *
 * A case NAME is a function objr_case_NAME(struct objr_test *), written with OBJR_TEST(NAME) of test.h in some
 * kunit/cases/ file. Names are unique over all suites and carry the number of the behaviour: spec_C08_early_stop.
 * A new suite is an OBJR_CASES_ list and a line in OBJR_SUITES; lists are sorted as a reader wants to meet them.
 *
 * A suite that holds for every reverse map is EACH: each of its cases runs once under every scheme, as NAME/SCHEME, and
 * objr_test_scheme tells which; TestWorld takes it from there. A suite of one scheme, or of none, is SUITE.
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
	CASE(spec_M1_interval_tree_against_naive)	\
	CASE(spec_M1_interval_tree_keeps_the_order)	\
	CASE(spec_C16_prio_tree_against_naive)		\
	CASE(spec_C16_prio_tree_edges)			\
	CASE(spec_C16_prio_tree_expands)		\
	CASE(spec_C16_stabbing_cost)			\
	CASE(spec_C16_stabbing_cost_equal_start)	\
	CASE(spec_C16_check_finds_defects)		\
	CASE(spec_C4_vm_set_sibling)

/* pages.cpp: spec P and U8: pages, PTEs, tables. */
#define OBJR_CASES_PAGES(CASE) \
	CASE(spec_P1_mapcount) \
	CASE(spec_P1_mapped_twice_in_one_mm) \
	CASE(spec_P2_mapping_word) \
	CASE(spec_P3_address_of_page_in_vma) \
	CASE(spec_P3_windows_at_different_offsets) \
	CASE(spec_P4_candidate_is_no_mapping) \
	CASE(spec_P5_pte_present) \
	CASE(spec_P5_pte_not_present) \
	CASE(spec_P5_rights_in_the_tables) \
	CASE(spec_P5_five_levels) \
	CASE(spec_P6_tables_on_need) \
	CASE(spec_P6_tables_of_neighbours) \
	CASE(spec_U8_pages_are_zeroed) \
	CASE(pool_exhausted) \
	CASE(pool_numbers_and_frames) \
	CASE(pool_allocates_by_number)

/* classic.cpp: spec C: the reverse map of Linux 2.6.24. */
#define OBJR_CASES_CLASSIC(CASE) \
	CASE(spec_C1_prepared_by_the_first_fault) \
	CASE(spec_C1_reuses_the_neighbours) \
	CASE(spec_C1_fork_joins_at_the_tail) \
	CASE(spec_C1_last_unlink_frees) \
	CASE(spec_C2_file_vmas) \
	CASE(spec_C3_fault_allocates_nothing) \
	CASE(spec_C4_fork_costs_by_vma) \
	CASE(spec_C4_forked_file_vma_joins_the_set) \
	CASE(spec_C5_stale_mapping_is_not_believed) \
	CASE(spec_C8_early_stop) \
	CASE(spec_C17_mapping_is_kept_when_unmapped)

/* chain.cpp: spec M: the reverse map of today's Linux. */
#define OBJR_CASES_CHAIN(CASE) \
	CASE(spec_M1_links_of_generations) \
	CASE(spec_M1_keyed_by_pgoff) \
	CASE(spec_M1_neighbours_lend_only_their_own) \
	CASE(spec_M2_a_copied_page_has_one_candidate) \
	CASE(spec_M3_reuse_on_fork) \
	CASE(spec_M3_no_reuse_with_two_children) \
	CASE(spec_M3_split_and_merge_keep_the_count) \
	CASE(spec_M3_failing_allocations) \
	CASE(spec_M4_children_pin_the_root) \
	CASE(spec_M5_sole_owner_takes_the_page) \
	CASE(spec_M6_contended) \
	CASE(spec_M6_recycled_anon_vma)

/* anonmm.cpp: spec A: pages that know an address space, as proposed in 2004. */
#define OBJR_CASES_ANONMM(CASE) \
	CASE(spec_A1_exec_begins_a_bundle_fork_joins) \
	CASE(spec_A1_counts_its_pages) \
	CASE(spec_A1_bundles_become_one) \
	CASE(spec_A1_held_while_it_is_not_mapped) \
	CASE(spec_A2_index_is_the_address) \
	CASE(spec_A2_named_mm_first_then_the_bundle) \
	CASE(spec_A2_A4_skips_who_cannot_have_it) \
	CASE(spec_A2_contended) \
	CASE(spec_A3_moves_to_the_first_live_mm) \
	CASE(spec_A3_recycled_anonmm_is_not_believed) \
	CASE(spec_A4_one_mapping_rewrites_the_index) \
	CASE(spec_A4_shared_page_is_copied_early) \
	CASE(spec_A4_translations_go_before_the_page) \
	CASE(spec_A4_swapped_page_is_copied_at_swap_in) \
	CASE(spec_A4_page_that_entries_need_is_copied_early) \
	CASE(spec_U1_A4_switch_with_swapped_pages_that_have_moved) \
	CASE(spec_A4_no_memory_moves_nothing) \
	CASE(spec_A4_failing_allocations) \
	CASE(spec_A1_failing_allocations) \
	CASE(spec_U1_refused_while_a_page_is_at_two_addresses) \
	CASE(spec_U1_names_the_oldest) \
	CASE(spec_A1_A2_verify_sees_planted_mistakes)

/* switching.cpp: spec U1: from one scheme to another. */
#define OBJR_CASES_SWITCHING(CASE) \
	CASE(spec_U1_switch_changes_no_entry) \
	CASE(spec_U1_life_goes_on_after_a_switch) \
	CASE(spec_U1_switch_without_memory) \
	CASE(spec_U1_switch_with_nothing_mapped) \
	CASE(scheme_names_are_checked)

/* pte_chain.cpp: spec H: a page knows its page-table entries. */
#define OBJR_CASES_PTE_CHAIN(CASE) \
	CASE(spec_H1_direct_then_blocks) \
	CASE(spec_H1_holes_are_filled) \
	CASE(spec_H1_many_mappings) \
	CASE(spec_H2_table_says_whose_it_is) \
	CASE(spec_H2_memory_for_the_second_mapping) \
	CASE(spec_H2_fork_without_memory) \
	CASE(spec_H2_file_fault_without_memory) \
	CASE(spec_H2_entries_change_their_page) \
	CASE(spec_H3_collapse_is_late) \
	CASE(spec_H3_moved_entries) \
	CASE(spec_H3_nonlinear_entries) \
	CASE(spec_H4_walk_costs_the_mappings) \
	CASE(spec_H4_fork_touches_every_page) \
	CASE(spec_H4_entries_are_collected_once) \
	CASE(spec_H4_a_walk_begins_again) \
	CASE(spec_P1_chain_of_a_page_twice_in_one_mm) \
	CASE(spec_M6_pte_chain_contended) \
	CASE(verify_sees_broken_pte_chains)

/* users.cpp: spec U: address spaces as processes see them. */
#define OBJR_CASES_USERS(CASE) \
	CASE(spec_U2_fork_separates_writes) \
	CASE(spec_U2_last_owner_does_not_copy) \
	CASE(spec_U2_private_write_stays_private) \
	CASE(spec_U2_shared_after_fork) \
	CASE(spec_U3_hole_in_the_middle) \
	CASE(spec_U3_merge) \
	CASE(spec_U3_M11_move) \
	CASE(spec_U3_protect) \
	CASE(spec_U3_follows_the_process_protection) \
	CASE(spec_U3_debugger_access) \
	CASE(spec_U3_bad_ranges) \
	CASE(spec_U3_failing_allocations)

/* files.cpp: page cache, write-back, truncation, named objects. */
#define OBJR_CASES_FILES(CASE) \
	CASE(file_shared_and_private_views) \
	CASE(file_written_at_last_close) \
	CASE(file_beyond_the_end) \
	CASE(spec_U6_truncate) \
	CASE(file_truncate_needs_write_access) \
	CASE(file_cut_by_somebody_else) \
	CASE(file_errors) \
	CASE(object_names) \
	CASE(object_freed_at_last_unmap) \
	CASE(spec_C15_M12_mkclean) \
	CASE(spec_C15_M12_mkclean_of_many)

/* writeback.cpp: which pages of a file are dirty, and how they reach it in the background. */
#define OBJR_CASES_WRITEBACK(CASE) \
	CASE(file_dirty_pages_are_marked) \
	CASE(file_marks_follow_forks_and_migration) \
	CASE(file_written_in_the_background) \
	CASE(file_background_write_that_fails) \
	CASE(file_held_is_written_at_last_close) \
	CASE(file_clean_pages_can_be_evicted) \
	CASE(file_errors_once_per_descriptor) \
	CASE(file_sync_by_a_killed_process_is_no_error) \
	CASE(spec_U6_nothing_behind_the_end_comes_back) \
	CASE(spec_U6_cut_by_somebody_else_is_seen_by_a_fault) \
	CASE(file_hole_is_filled_by_write_back)

/* writeback.cpp: the same without a world. */
#define OBJR_CASES_ERRORS(CASE) \
	CASE(error_sequence)

/* advise.cpp: advice about what is in memory, and the limits of locking and of mappings. */
#define OBJR_CASES_ADVISE(CASE) \
	CASE(advise_dontneed) \
	CASE(advise_dontneed_nonlinear) \
	CASE(advise_refuses) \
	CASE(advise_pageout) \
	CASE(advise_pageout_that_cannot) \
	CASE(advise_cold) \
	CASE(advise_willneed) \
	CASE(spec_U4_lock_limit) \
	CASE(page_with_the_most_mappings)

/* nonlinear.cpp: spec C12 to C14: any page of a file anywhere. */
#define OBJR_CASES_NONLINEAR(CASE) \
	CASE(spec_C12_first_remap_moves_to_the_list) \
	CASE(spec_C12_already_linear_changes_nothing) \
	CASE(spec_C12_nonblocking_installs_file_entries) \
	CASE(spec_C12_blocking_populates) \
	CASE(spec_C12_round_trip_through_a_reversed_window) \
	CASE(spec_C12_windows_at_different_offsets) \
	CASE(spec_C12_two_views_of_one_file) \
	CASE(spec_C12_beyond_the_end) \
	CASE(spec_C12_bad_arguments) \
	CASE(spec_C12_failing_allocations) \
	CASE(spec_C12_fork_inherits_the_places) \
	CASE(spec_C12_unmap_in_the_middle) \
	CASE(spec_C12_move) \
	CASE(spec_C12_protect) \
	CASE(spec_C12_what_was_written_stays_dirty) \
	CASE(spec_C13_query_scans_nonlinear_vmas) \
	CASE(spec_C13_referenced_does_not_see_them_in_classic) \
	CASE(spec_C15_mkclean_of_nonlinear) \
	CASE(spec_U6_truncate_nonlinear) \
	CASE(spec_C14_clusters_and_their_cursor) \
	CASE(spec_C14_translations_go_too) \
	CASE(spec_C14_young_ones_stay) \
	CASE(spec_C14_locked_vmas_are_spared) \
	CASE(spec_C14_migration_takes_locked_ones) \
	CASE(spec_C14_mapcount_is_the_budget) \
	CASE(spec_C14_vmas_take_turns) \
	CASE(spec_C14_linear_places_are_cleared) \
	CASE(spec_C14_pages_locked_elsewhere_stay) \
	CASE(spec_C14_uses_that_only_the_mmu_knows) \
	CASE(spec_C14_nothing_nonlinear) \
	CASE(spec_C11_C14_full_pass_leaves_the_file_offset) \
	CASE(spec_C10_C14_try_to_unmap_in_clusters) \
	CASE(spec_U4_locked_nonlinear_memory)

/* swap.cpp: slots, the swap cache, contents. */
#define OBJR_CASES_SWAP(CASE) \
	CASE(spec_U5_contents_survive) \
	CASE(spec_U5_shared_entries_are_read_once) \
	CASE(spec_U5_stale_contents_are_not_believed) \
	CASE(spec_U5_full_swap_loses_nothing) \
	CASE(spec_U5_replaced_page) \
	CASE(spec_U5_failing_reads) \
	CASE(spec_U5_failing_writes) \
	CASE(swap_none) \
	CASE(swap_entry_words)

/* swap_stores.cpp: slots and what is kept of pages, without processes. */
#define OBJR_CASES_SWAP_STORES(CASE) \
	CASE(swap_slots_against_naive) \
	CASE(spec_U5_lz4_keeps_every_kind) \
	CASE(spec_U5_lz4_limit) \
	CASE(spec_U5_lz4_failing_allocations) \
	CASE(swap_file_sizes)

/* swap_out.cpp: pages out and in again, whatever they are kept in. */
#define OBJR_CASES_SWAP_OUT(CASE) \
	CASE(spec_U5_rounds_over_lz4) \
	CASE(spec_U5_rounds_over_a_file) \
	CASE(spec_U5_corrupted_contents) \
	CASE(spec_U5_file_cut_short) \
	CASE(spec_U5_read_errors) \
	CASE(spec_U5_write_errors) \
	CASE(spec_U5_lz4_full) \
	CASE(spec_U5_steps_of_a_write) \
	CASE(spec_U5_entry_goes_during_a_write) \
	CASE(spec_U5_page_changes_during_a_write) \
	CASE(spec_U5_stores_with_failing_allocations) \
	CASE(swap_readahead) \
	CASE(swap_readahead_evicts_nothing) \
	CASE(swap_readahead_of_what_is_bad) \
	CASE(swap_off_and_on) \
	CASE(swap_off_without_memory) \
	CASE(swap_off_that_has_no_room) \
	CASE(swap_off_and_unreadable) \
	CASE(command_swapin)

/* object_swap.cpp: pages of named objects out and in again. */
#define OBJR_CASES_OBJECT_SWAP(CASE) \
	CASE(spec_U5_object_out_and_in) \
	CASE(spec_U5_object_three_times_the_pool) \
	CASE(spec_U5_object_over_a_file) \
	CASE(spec_U5_object_contents_that_are_bad) \
	CASE(spec_U5_object_and_full_swap) \
	CASE(spec_U5_object_with_failing_allocations) \
	CASE(spec_U6_object_cut_while_out) \
	CASE(spec_U6_object_cut_within_a_page_that_is_out) \
	CASE(object_goes_with_what_is_out) \
	CASE(object_that_is_held_goes_with_what_is_out) \
	CASE(spec_U5_pageout_to_a_file) \
	CASE(object_swap_off) \
	CASE(object_willneed_and_swapin) \
	CASE(object_page_fails_on_its_way_out) \
	CASE(object_that_somebody_looks_at_stays)

/* swap_kept.cpp: slots of pages that are read back and not written to. */
#define OBJR_CASES_SWAP_KEPT(CASE) \
	CASE(kept_needs_no_second_write) \
	CASE(kept_not_when_written_or_locked) \
	CASE(kept_by_several) \
	CASE(kept_copied_by_all) \
	CASE(kept_gives_way_to_others) \
	CASE(kept_gives_its_memory_back) \
	CASE(kept_in_a_file_is_for_who_faults) \
	CASE(kept_until_swap_off) \
	CASE(kept_and_migrated) \
	CASE(kept_outlives_its_page)

/* unmap.cpp: try_to_unmap, swap entries and the way back, locked memory, pins. */
#define OBJR_CASES_UNMAP(CASE) \
	CASE(spec_C11_anon_entry_becomes_a_swap_entry) \
	CASE(spec_C11_dirty_moves_to_the_page) \
	CASE(spec_C10_all_of_many_mappings) \
	CASE(spec_C10_locked_regions_refuse) \
	CASE(spec_C10_fail_may_leave_some_mappings_gone) \
	CASE(spec_U5_shared_by_fork) \
	CASE(spec_U5_last_owner_of_a_swap_entry) \
	CASE(spec_U5_entries_that_go_unread) \
	CASE(spec_U5_moved_and_protected_while_out) \
	CASE(spec_U6_truncation_takes_swapped_copies) \
	CASE(spec_U5_many_rounds_with_forks) \
	CASE(spec_U5_swap_in_without_memory) \
	CASE(spec_U5_no_slot_left) \
	CASE(spec_U5_store_takes_nothing) \
	CASE(spec_U5_failing_allocations) \
	CASE(spec_A4_swapped_and_moved) \
	CASE(spec_U4_locked_pages_are_counted) \
	CASE(spec_U4_lock_is_not_inherited) \
	CASE(spec_U4_lock_brings_back_what_is_out) \
	CASE(spec_U4_lock_errors) \
	CASE(spec_M7_advice_of_use) \
	CASE(spec_M10_exclusive) \
	CASE(spec_M10_pinned_page_stays) \
	CASE(spec_M10_pin_makes_the_page_ones_own)

/* The same, where the texts differ: each case names its scheme. */
#define OBJR_CASES_UNMAP_RULES(CASE) \
	CASE(spec_C10_young_pages_refuse_to_be_unmapped) \
	CASE(spec_C10_young_of_several_mappers) \
	CASE(spec_C10_uses_are_harvested) \
	CASE(spec_M9_young_pages_are_unmapped) \
	CASE(spec_C17_swap_cache_keeps_the_mapping)

/* reclaim.cpp: more memory than the pool has. */
#define OBJR_CASES_RECLAIM(CASE) \
	CASE(spec_U5_three_times_the_pool) \
	CASE(spec_U5_three_times_the_pool_shared_and_copied) \
	CASE(reclaim_takes_what_was_not_used) \
	CASE(reclaim_takes_what_is_used_at_last) \
	CASE(spec_U4_locked_pages_are_passed_by) \
	CASE(spec_M10_pinned_pages_are_passed_by) \
	CASE(reclaim_clean_and_dirty_pages_of_a_file) \
	CASE(reclaim_leaves_what_is_being_written) \
	CASE(reclaim_nothing_can_be_taken) \
	CASE(reclaim_frames_are_set_aside) \
	CASE(reclaim_daemons_keep_the_watermarks) \
	CASE(reclaim_daemon_writes_files) \
	CASE(reclaim_failing_allocations)

/* random.cpp: random sequences against a naive model. */
#define OBJR_CASES_RANDOM(CASE) \
	CASE(random_against_model_1) \
	CASE(random_against_model_2) \
	CASE(random_against_model_3) \
	CASE(random_against_model_switching)

/* inspect.cpp: selectors, answers, lists, graphs, and what the verifier sees. */
#define OBJR_CASES_INSPECT(CASE) \
	CASE(inspect_parse) \
	CASE(inspect_parse_errors) \
	CASE(inspect_parse_noise) \
	CASE(inspect_answer) \
	CASE(inspect_json) \
	CASE(inspect_free_and_range) \
	CASE(inspect_address_errors) \
	CASE(inspect_file) \
	CASE(inspect_names_are_escaped) \
	CASE(inspect_lists) \
	CASE(inspect_graph) \
	CASE(inspect_failing_allocations) \
	CASE(verify_sees_broken_pages) \
	CASE(verify_sees_broken_swap) \
	CASE(verify_sees_broken_kept_slots) \
	CASE(verify_sees_broken_tables) \
	CASE(verify_sees_broken_objects)

/* command.cpp: commands on pages: their words, and what they answer. */
#define OBJR_CASES_COMMAND(CASE) \
	CASE(command_parse) \
	CASE(command_parse_errors) \
	CASE(command_selects) \
	CASE(command_unmap) \
	CASE(command_mkclean)

/* referenced.cpp: who has used a page, under every scheme. */
#define OBJR_CASES_REFERENCED(CASE) \
	CASE(spec_M8_exact_counts_who_touched) \
	CASE(spec_M8_exact_sees_past_the_tlb) \
	CASE(spec_M8_lazy_does_not_flush) \
	CASE(spec_M8_lazy_allocates_nothing) \
	CASE(spec_M8_peek_changes_nothing) \
	CASE(spec_M8_keeps_dirty_and_write) \
	CASE(spec_C6_mapped_and_referenced) \
	CASE(spec_M8_twice_in_one_mm) \
	CASE(spec_M8_failing_allocations) \
	CASE(command_referenced)

/* referenced.cpp: the same by the rules of 2.6.24, and by those of today. */
#define OBJR_CASES_REFERENCED_RULES(CASE) \
	CASE(spec_C6_young_and_flag) \
	CASE(spec_C7_locked_file_page) \
	CASE(spec_C8_referenced_stops_early) \
	CASE(spec_C9_locked_and_may_share) \
	CASE(spec_C13_referenced_and_nonlinear) \
	CASE(spec_M7_page_lock_is_tried) \
	CASE(spec_M7_contended) \
	CASE(spec_M7_advice_and_locked)

/* migrate.cpp: pages that go to another frame, and the revoke. */
#define OBJR_CASES_MIGRATE(CASE) \
	CASE(spec_P5_migration_keeps_bits) \
	CASE(spec_U7_contents_and_bits_are_kept) \
	CASE(spec_U7_exclusive_stays_exclusive) \
	CASE(spec_U7_locked_and_young_are_no_obstacle) \
	CASE(spec_U7_file_page) \
	CASE(spec_U7_swap_cache_page) \
	CASE(spec_M10_pinned_page_does_not_migrate) \
	CASE(spec_U7_no_frame_left) \
	CASE(spec_U7_certificate_catches_a_missed_mapping) \
	CASE(spec_U7_nobodys_page) \
	CASE(spec_U7_failing_allocations) \
	CASE(spec_P5_fork_during_migration) \
	CASE(spec_P5_exit_and_munmap_during_migration) \
	CASE(spec_P5_mprotect_during_migration) \
	CASE(spec_P5_mlock_during_migration) \
	CASE(spec_P5_mremap_during_migration) \
	CASE(spec_P5_split_and_remap_during_migration) \
	CASE(spec_P5_undone_migration) \
	CASE(command_revoke) \
	CASE(command_migrate) \
	CASE(command_compact) \
	CASE(compact_every_kind_of_page)

/* poison.cpp: memory that fails. */
#define OBJR_CASES_POISON(CASE) \
	CASE(spec_P5_poison_entries) \
	CASE(poison_anonymous_page) \
	CASE(poison_entries_in_life) \
	CASE(poison_locked_and_shared) \
	CASE(poison_swap_cache) \
	CASE(poison_file_pages) \
	CASE(poison_what_is_being_written) \
	CASE(poison_object_page) \
	CASE(poison_nonlinear) \
	CASE(poison_refusals) \
	CASE(poison_and_switches) \
	CASE(verify_sees_broken_poison)

/* resize.cpp: the pool grows and shrinks under its users. */
#define OBJR_CASES_RESIZE(CASE) \
	CASE(resize_up_and_down) \
	CASE(resize_moves_every_kind) \
	CASE(resize_takes_away_what_does_not_fit) \
	CASE(resize_watermarks_follow) \
	CASE(resize_refusals) \
	CASE(resize_failing_allocations)

/* pathology.cpp: what one reverse map or another is known to be bad at. */
#define OBJR_CASES_PATHOLOGY(CASE) \
	CASE(pathology_forking_server) \
	CASE(pathology_many_vmas_of_one_file) \
	CASE(pathology_disjoint_windows) \
	CASE(pathology_avc_growth) \
	CASE(pathology_avc_growth_of_the_living)

/* compare.cpp: the schemes side by side, each on the same work. */
#define OBJR_CASES_COMPARE(CASE) \
	CASE(runner_knows_every_scheme) \
	CASE(spec_U1_answers_equal_forward_scan) \
	CASE(spec_U1_switching_changes_no_answer)

/* SCHEME(scheme, name): what scheme_name() of the core enumerates; runner_knows_every_scheme compares. */
#define OBJR_SCHEMES(SCHEME, name)	\
	SCHEME(chain, name)		\
	SCHEME(classic, name)		\
	SCHEME(anonmm, name)		\
	SCHEME(pte_chain, name)

/* SUITE(name, list of cases): once. EACH(name, list of cases): once under each scheme. */
#define OBJR_SUITES(SUITE, EACH)	\
	SUITE(shim, OBJR_CASES_SHIM)	\
	SUITE(trees, OBJR_CASES_TREES)	\
	EACH(pages, OBJR_CASES_PAGES)	\
	SUITE(classic, OBJR_CASES_CLASSIC) \
	SUITE(pte_chain, OBJR_CASES_PTE_CHAIN) \
	SUITE(chain, OBJR_CASES_CHAIN)	\
	SUITE(anonmm, OBJR_CASES_ANONMM) \
	SUITE(switching, OBJR_CASES_SWITCHING) \
	EACH(users, OBJR_CASES_USERS)	\
	EACH(files, OBJR_CASES_FILES)	\
	EACH(writeback, OBJR_CASES_WRITEBACK) \
	SUITE(errors, OBJR_CASES_ERRORS) \
	EACH(advise, OBJR_CASES_ADVISE) \
	EACH(nonlinear, OBJR_CASES_NONLINEAR) \
	EACH(swap, OBJR_CASES_SWAP)	\
	SUITE(swap_stores, OBJR_CASES_SWAP_STORES) \
	EACH(swap_out, OBJR_CASES_SWAP_OUT) \
	EACH(object_swap, OBJR_CASES_OBJECT_SWAP) \
	EACH(swap_kept, OBJR_CASES_SWAP_KEPT) \
	EACH(unmap, OBJR_CASES_UNMAP)	\
	SUITE(unmap_rules, OBJR_CASES_UNMAP_RULES) \
	EACH(reclaim, OBJR_CASES_RECLAIM) \
	EACH(random, OBJR_CASES_RANDOM)	\
	EACH(inspect, OBJR_CASES_INSPECT) \
	EACH(command, OBJR_CASES_COMMAND) \
	EACH(referenced, OBJR_CASES_REFERENCED) \
	SUITE(referenced_rules, OBJR_CASES_REFERENCED_RULES) \
	EACH(migrate, OBJR_CASES_MIGRATE) \
	EACH(poison, OBJR_CASES_POISON) \
	EACH(resize, OBJR_CASES_RESIZE) \
	EACH(pathology, OBJR_CASES_PATHOLOGY) \
	SUITE(compare, OBJR_CASES_COMPARE)

#endif
