/* SPDX-License-Identifier: MIT */
/*
 * The shadow TLB, fed with recorded sequences: each rule of the specification about fences, address
 * spaces and tables, and hostile ones.
 */
#include "feed.h"

TestSuite(shadow, .init = start, .fini = stop);
Test(shadow, unchanged_is_clean)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RW);
	load_satp(1, root, 5);
	expect_clean();
	cr_expect_eq(sum(1).cold, 1);
	cr_expect_eq(sum(1).loads, 2);
	cr_expect_eq(sum(1).stores, 1);
}

Test(shadow, moved_without_a_fence)
{
	moved();
	expect_stale(SHADOW_FRAME);
	cr_expect_eq(last.hart, 1);
	cr_expect_eq(last.asid, 5);
	cr_expect_eq(last.va, VA);
	cr_expect_eq(last.frame_cached, FRAME(0));
	cr_expect_eq(last.frame_now, FRAME(1));
	cr_expect(last.changed_known);
	cr_expect_eq(last.changed.hart, 0);
	cr_expect_eq(last.who[1], 5);
	cr_expect_eq(last.who[0], -1);
}

Test(shadow, not_while_the_shootdown_may_be_under_way)
{
	moved();
	use(1, VA, LOAD);
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	cr_expect_eq(sum(1).window, 2);
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	cr_expect_eq(sum(1).settled, 1);
	expect_clean();
}

Test(shadow, a_store_to_a_table_nobody_saw_counts_from_the_first_use)
{
	uint64_t root = moved();

	*slot_at(root, VA, 0) = leaf(FRAME(2), RW);
	memset(s->slots, 0, 64);
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	expect_stale(SHADOW_FRAME);
	cr_expect_eq(last.frame_now, FRAME(2));
}

Test(shadow, fence_of_the_address_and_asid)
{
	moved();
	shadow_fence(s, 1, SHADOW_VA_ASID, VA + 8, 5, PC);
	expect_clean();
}

Test(shadow, fence_of_another_address)
{
	moved();
	shadow_fence(s, 1, SHADOW_VA_ASID, VA + 0x1000, 5, PC);
	expect_stale(SHADOW_FRAME);
	cr_expect_eq(last.fences, 0);
}

Test(shadow, fence_of_another_asid)
{
	moved();
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 6, PC);
	shadow_fence(s, 1, SHADOW_ASID, 0, 6, PC);
	expect_stale(SHADOW_FRAME);
	cr_expect_eq(last.fences, 1);
	cr_expect_eq(last.fence[0].asid, 6);
}

Test(shadow, fence_of_the_asid)
{
	moved();
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	expect_clean();
}

Test(shadow, fence_of_the_address_in_all_asids)
{
	moved();
	shadow_fence(s, 1, SHADOW_VA, VA, 0, PC);
	expect_clean();
}

Test(shadow, fence_of_everything)
{
	moved();
	shadow_fence(s, 1, SHADOW_ALL, 0, 0, PC);
	expect_clean();
}

Test(shadow, fence_of_another_hart)
{
	moved();
	shadow_fence(s, 0, SHADOW_ALL, 0, 0, PC);
	expect_stale(SHADOW_FRAME);
}

Test(shadow, writing_satp_flushes_nothing)
{
	uint64_t root = moved(), other = table();

	load_satp(1, other, 6);
	later();
	load_satp(1, root, 5);
	expect_stale(SHADOW_FRAME);
}

Test(shadow, a_parked_asid_may_wait_until_it_is_used)
{
	uint64_t root = moved(), other = table();

	load_satp(1, other, 6);
	later();
	later();
	load_satp(1, root, 5);
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	expect_clean();
}

Test(shadow, bare_mode_keeps_what_is_cached)
{
	uint64_t root = moved();

	shadow_satp(s, 1, 0, PC);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(sum(1).faults, 0);
	cr_expect_eq(sum(1).bare, 1);
	load_satp(1, root, 5);
	expect_stale(SHADOW_FRAME);
}

Test(shadow, a_fence_in_bare_mode)
{
	uint64_t root = moved();

	shadow_satp(s, 1, 0, PC);
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	load_satp(1, root, 5);
	expect_clean();
}

Test(shadow, moved_and_moved_back)
{
	uint64_t root = moved();

	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RW));
	expect_clean();
}

/* Flushed for nothing, what is used again is cached again: one that moves then is stale. */
static void again(uint64_t root, uint64_t va, unsigned int level, unsigned int kind,
		  enum shadow_form form, uint64_t at)
{
	use(1, va, kind);
	shadow_fence(s, 1, form, at, 5, PC);
	use(1, va, kind);
	cr_expect_eq(sum(1).refills, 1);
	*slot_at(root, va, level) ^= (RAM ^ (RAM + 0x40000000)) >> 2;
	use(1, va, kind);
	later();
	use(1, va, kind);
	cr_expect_eq(found, 1);
}

static uint64_t one(uint64_t flags)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), flags);
	load_satp(1, root, 5);
	return root;
}

Test(shadow, cached_again_behind_a_fence_of_everything)
{
	again(one(RW), VA, 0, LOAD, SHADOW_ALL, 0);
}

Test(shadow, cached_again_behind_a_fence_of_the_asid)
{
	again(one(RW), VA, 0, LOAD, SHADOW_ASID, 0);
}

Test(shadow, cached_again_behind_a_fence_of_the_address)
{
	again(one(RW), VA, 0, LOAD, SHADOW_VA_ASID, VA);
}

Test(shadow, global_cached_again_behind_a_fence_of_the_address)
{
	again(one(KRW | PTE_G), VA, 0, SHADOW_LOAD, SHADOW_VA, VA);
}

Test(shadow, huge_cached_again_behind_a_fence_of_an_address_in_it)
{
	uint64_t root = table();

	set(0, slot_at(root, VA, 1), leaf(RAM, RW));
	load_satp(1, root, 5);
	again(root, VA, 1, LOAD, SHADOW_VA_ASID, VA ^ 0x1f0000);
}

Test(shadow, huge_and_global_cached_again_behind_a_fence_of_an_address_in_it)
{
	uint64_t root = table();

	set(0, slot_at(root, VA, 1), leaf(RAM, KRW | PTE_G));
	load_satp(1, root, 5);
	again(root, VA, 1, SHADOW_LOAD, SHADOW_VA, VA ^ 0x1f0000);
}

static uint64_t moved_global(void)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), KRW | PTE_G);
	load_satp(1, root, 5);
	use(1, VA, SHADOW_LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), KRW | PTE_G));
	return root;
}

static void expect_global(unsigned int n)
{
	later();
	use(1, VA, SHADOW_LOAD);
	cr_expect_eq(found, n);
}

Test(shadow, global_survives_fences_of_an_asid)
{
	moved_global();
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	expect_global(1);
	cr_expect(last.global);
}

Test(shadow, global_is_flushed_by_address)
{
	moved_global();
	shadow_fence(s, 1, SHADOW_VA, VA, 0, PC);
	expect_global(0);
}

Test(shadow, global_is_flushed_with_everything)
{
	moved_global();
	shadow_fence(s, 1, SHADOW_ALL, 0, 0, PC);
	expect_global(0);
}

Test(shadow, global_is_used_under_every_asid)
{
	uint64_t root = moved_global();

	load_satp(1, root, 9);
	expect_global(1);
}

Test(shadow, a_pointer_with_g_makes_all_below_global)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), KRW);
	*slot_at(root, VA, 2) |= PTE_G;
	load_satp(1, root, 5);
	use(1, VA, SHADOW_LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), KRW));
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	expect_global(1);
	cr_expect(last.global);
}

Test(shadow, asid_0_is_an_asid)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RW);
	map(root, VA + 0x1000, FRAME(2), KRW | PTE_G);
	load_satp(1, root, 0);
	use(1, VA, LOAD);
	use(1, VA + 0x1000, SHADOW_LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	set(0, slot_at(root, VA + 0x1000, 0), leaf(FRAME(3), KRW | PTE_G));
	shadow_fence(s, 1, SHADOW_ASID, 0, 0, PC);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	use(1, VA + 0x1000, SHADOW_LOAD);
	cr_expect_eq(found, 1);
}

Test(shadow, bits_above_the_asid_are_ignored)
{
	moved();
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 0xdead0000 | 5, PC);
	expect_clean();
}

Test(shadow, a_fence_of_what_is_no_address_does_nothing)
{
	moved();
	shadow_fence(s, 1, SHADOW_VA_ASID, VA | 1ull << 50, 5, PC);
	shadow_fence(s, 1, SHADOW_VA, VA | 0xffffffull << 39, 0, PC);
	expect_stale(SHADOW_FRAME);
}

Test(shadow, the_asid_was_given_to_other_tables)
{
	uint64_t root = table(), other = table();

	map(root, VA, FRAME(0), RW);
	map(other, VA, FRAME(1), RW);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	load_satp(1, other, 5);
	/* The kernel may still be about to flush ... */
	use(1, VA, SHADOW_LOAD);
	cr_expect_eq(found, 0);
	/* ... but not once it has returned. */
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect(last.root_changed);
}

Test(shadow, the_same_page_by_other_tables)
{
	uint64_t root = table(), other = table();

	map(root, VA, FRAME(0), RW);
	map(other, VA, FRAME(0), RW);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	load_satp(1, other, 5);
	use(1, VA, SHADOW_LOAD);
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	expect_clean();
}

Test(shadow, other_tables_do_not_change_what_the_cached_entry_allows)
{
	uint64_t root = table(), other = table();

	map(root, VA, FRAME(0), RW);
	map(other, VA, FRAME(0), RO);
	load_satp(1, root, 5);
	use(1, VA, STORE);
	load_satp(1, other, 5);
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	shadow_fault(s, 1, VA, STORE, PC);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_PERMISSION);
}

Test(shadow, leaf_only_leaves_tables)
{
	uint64_t root = moved(), fresh = table();

	/* Another page of tables, and a fence by address. */
	set(0, slot_at(root, VA, 1), fresh >> 2 | PTE_V);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	expect_stale(SHADOW_TABLE);
}

Test(shadow, a_table_behind_what_is_a_huge_page_now)
{
	uint64_t root = moved();

	set(0, slot_at(root, VA, 1), leaf(RAM + 0x200000, RW));
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	expect_stale(SHADOW_TABLE);
	cr_expect_eq(last.level, 1);
}

/* The tables of VA are gone, and hart 1 has flushed the page by address or its ASID. */
static void unmapped_tables(unsigned int level, enum shadow_form form)
{
	uint64_t root = moved();

	set(0, slot_at(root, VA, level), 0);
	shadow_fence(s, 1, form, VA, 5, PC);
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(found, 0);
	later();
	shadow_fault(s, 1, VA, LOAD, PC);
}

Test(shadow, a_fault_where_a_table_is_gone)
{
	unmapped_tables(1, SHADOW_VA_ASID);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_TABLE);
	cr_expect(last.faulted);
	cr_expect_eq(last.changed.hart, 0);
}

Test(shadow, a_fault_where_two_levels_of_tables_are_gone)
{
	unmapped_tables(2, SHADOW_VA);
	cr_expect_eq(found, 2);
	cr_expect_eq(last.what, SHADOW_TABLE);
	cr_expect_eq(last.level, 1);
}

Test(shadow, a_fault_where_a_table_is_gone_and_flushed)
{
	unmapped_tables(1, SHADOW_ASID);
	cr_expect_eq(found, 0);
}

Test(shadow, a_table_replaced_by_one_with_the_same_pages)
{
	uint64_t root = table(), fresh = table();

	map(root, VA, FRAME(0), RW);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	ram[(fresh - RAM) >> 12][VA >> 12 & 511] = *slot_at(root, VA, 0);
	set(0, slot_at(root, VA, 1), fresh >> 2 | PTE_V);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_TABLE);
}

Test(shadow, a_pointer_that_became_global_is_still_cached_as_it_was)
{
	uint64_t root = moved(), fresh = table();

	ram[(fresh - RAM) >> 12][VA >> 12 & 511] = leaf(FRAME(1), RW);
	set(0, slot_at(root, VA, 1), fresh >> 2 | PTE_V | PTE_G);
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	expect_stale(SHADOW_TABLE);
}

Test(shadow, a_global_pointer_survives_fences_of_an_asid)
{
	uint64_t root = table(), fresh = table();

	map(root, VA, FRAME(0), KRW);
	*slot_at(root, VA, 1) |= PTE_G;
	load_satp(1, root, 5);
	use(1, VA, SHADOW_LOAD);
	ram[(fresh - RAM) >> 12][VA >> 12 & 511] = leaf(FRAME(1), KRW);
	set(0, slot_at(root, VA, 1), fresh >> 2 | PTE_V | PTE_G);
	shadow_fence(s, 1, SHADOW_VA, VA, 0, PC);
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	later();
	use(1, VA, SHADOW_LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_TABLE);
	cr_expect(last.global);
}

Test(shadow, a_fence_of_everything_takes_tables_as_well)
{
	uint64_t root = moved(), fresh = table();

	set(0, slot_at(root, VA, 1), fresh >> 2 | PTE_V);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	shadow_fence(s, 1, SHADOW_ALL, 0, 0, PC);
	expect_clean();
}

Test(shadow, a_fence_of_the_asid_takes_tables_as_well)
{
	uint64_t root = moved(), fresh = table();

	set(0, slot_at(root, VA, 1), fresh >> 2 | PTE_V);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	expect_clean();
}

Test(shadow, sinval_takes_effect_at_the_closing_fence)
{
	moved();
	shadow_w_inval(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	use(1, VA, LOAD);
	cr_expect_eq(sum(1).window, 1);
	shadow_inval_ir(s, 1, PC);
	expect_clean();
}

Test(shadow, sinval_without_the_closing_fence)
{
	moved();
	shadow_w_inval(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	expect_stale(SHADOW_FRAME);
}

Test(shadow, sinval_without_the_opening_fence)
{
	moved();
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_BRACKET);
}

Test(shadow, sinval_left_open_at_a_switch)
{
	uint64_t root = moved();

	shadow_w_inval(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_ALL, 0, 0, PC);
	load_satp(1, root, 7);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_BRACKET);
}

Test(shadow, sinval_behind_the_closing_fence)
{
	moved();
	shadow_w_inval(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	shadow_inval_ir(s, 1, PC);
	cr_expect_eq(found, 0);
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_BRACKET);
}

Test(shadow, an_interrupt_between_two_sinval)
{
	moved();
	shadow_w_inval(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA + 0x1000, 5, PC);
	shadow_w_inval(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA + 0x2000, 5, PC);
	shadow_inval_ir(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	shadow_inval_ir(s, 1, PC);
	expect_clean();
}

Test(shadow, more_sinval_than_anyone_issues)
{
	moved();
	shadow_w_inval(s, 1, PC);
	for (unsigned int i = 0; i < 10000; i++)
		shadow_sinval(s, 1, SHADOW_VA_ASID, VA - 0x64000 + i * 0x1000ull, 5, PC);
	shadow_inval_ir(s, 1, PC);
	expect_clean();
}

Test(shadow, a_reset_ends_translation_and_what_is_cached)
{
	uint64_t root = moved();

	shadow_w_inval(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_VA, VA, 0, PC);
	shadow_reset(s, 1);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(sum(1).bare, 1);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	/* What was open then is not open now. */
	shadow_sinval(s, 1, SHADOW_VA, VA, 0, PC);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_BRACKET);
}

Test(shadow, another_mode_flushes_nothing)
{
	uint64_t root = moved(), top = table();

	levels = 4;
	ram[(top - RAM) >> 12][0] = root >> 2 | PTE_V;
	load_satp(1, top, 5);
	expect_stale(SHADOW_FRAME);
}

Test(shadow, an_access_across_pages_uses_both)
{
	uint64_t root = moved();

	map(root, VA - 0x1000, FRAME(4), RW);
	later();
	use(1, VA - 0x1000, LOAD);
	use(1, VA - 4, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.va, VA);
}

Test(shadow, an_access_across_the_end_of_the_address_space)
{
	uint64_t root = table();

	map(root, ~0xfffull, FRAME(0), RW);
	map(root, 0, FRAME(1), RW);
	load_satp(1, root, 5);
	use(1, ~3ull, LOAD);
	use(1, ~0ull, STORE);
	shadow_fence(s, 1, SHADOW_VA_ASID, ~0ull, 5, PC);
	shadow_fence(s, 1, SHADOW_VA, ~0xfffull, 0, PC);
	use(1, ~3ull, LOAD);
	cr_expect_eq(found, 0);
	cr_expect_eq(sum(1).cold, 2);
}

static void deeper(unsigned int n, uint64_t va)
{
	uint64_t root;

	levels = n;
	root = table();
	map(root, va, FRAME(0), RW);
	load_satp(1, root, 5);
	use(1, va, LOAD);
	set(0, slot_at(root, va, 0), leaf(FRAME(1), RW));
	shadow_fence(s, 1, SHADOW_VA_ASID, va, 5, PC);
	later();
	use(1, va, LOAD);
	cr_expect_eq(found, 0);
	set(0, slot_at(root, va, 0), leaf(FRAME(2), RW));
	later();
	use(1, va, LOAD);
	cr_expect_eq(found, 1);
}

Test(shadow, sv48)
{
	deeper(4, 0xffff923456789000ull);
}

Test(shadow, sv57)
{
	deeper(5, 0xff12345678123000ull);
}

Test(shadow, a_table_outside_ram_stops)
{
	load_satp(1, 0x1000, 5);
	use(1, VA, LOAD);
	cr_expect(s->stopped);
	cr_expect_eq(found, 0);
}
