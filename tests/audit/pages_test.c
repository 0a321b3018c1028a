/* SPDX-License-Identifier: MIT */
/* Pages of all sizes, what PTEs allow, and faults. */
#include "feed.h"

TestSuite(pages, .init = start, .fini = stop);

static uint64_t huge(void)
{
	uint64_t root = table(), base = VA & ~0x1fffffull;

	set(0, slot_at(root, base, 1), leaf(RAM + 0x200000, RW));
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	use(1, VA, STORE);
	cr_expect_eq(found, 0);
	return root;
}

Test(pages, a_huge_page_is_one_entry)
{
	uint64_t root = huge();

	use(1, VA + 0x10000, LOAD);
	cr_expect_eq(sum(1).cold, 1);
	set(0, slot_at(root, VA, 1), leaf(RAM + 0x400000, RW));
	expect_stale(SHADOW_FRAME);
	cr_expect_eq(last.level, 1);
	cr_expect_eq(last.frame_cached, RAM + 0x200000 + (VA & 0x1ff000));
}

Test(pages, any_address_of_a_huge_page_flushes_it)
{
	uint64_t root = huge();

	set(0, slot_at(root, VA, 1), leaf(RAM + 0x400000, RW));
	shadow_fence(s, 1, SHADOW_VA_ASID, VA ^ 0x1f0000, 5, PC);
	expect_clean();
}

Test(pages, a_huge_page_split_into_the_same_frames)
{
	uint64_t root = huge(), t = table();

	for (unsigned int i = 0; i < 512; i++)
		ram[(t - RAM) >> 12][i] = leaf(RAM + 0x200000 + i * 0x1000ull, RW);
	set(0, slot_at(root, VA, 1), t >> 2 | PTE_V);
	expect_clean();
}

Test(pages, a_huge_page_split_and_a_page_moved)
{
	uint64_t root = huge(), t = table();

	for (unsigned int i = 0; i < 512; i++)
		ram[(t - RAM) >> 12][i] = leaf(RAM + 0x200000 + i * 0x1000ull, RW);
	set(0, slot_at(root, VA, 1), t >> 2 | PTE_V);
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(7), RW));
	expect_stale(SHADOW_FRAME);
}

static void split(uint64_t root)
{
	uint64_t t = table();

	for (unsigned int i = 0; i < 512; i++)
		ram[(t - RAM) >> 12][i] = leaf(RAM + 0x200000 + i * 0x1000ull, RW);
	set(0, slot_at(root, VA, 1), t >> 2 | PTE_V);
}

Test(pages, a_split_long_ago_is_not_when_its_page_moved)
{
	uint64_t root = huge();

	split(root);
	later();
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(7), RW));
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	cr_expect_eq(sum(1).window, 1);
	expect_stale(SHADOW_FRAME);
	cr_expect_eq(last.changed.pte, leaf(FRAME(7), RW));
}

Test(pages, a_page_set_before_the_split_moved_with_it)
{
	uint64_t root = huge(), other = table(), t;

	split(root);
	/* Marked as a table by somebody's walk, and put in place afterwards. */
	t = (*slot_at(root, VA, 1) >> 10) << 12;
	*slot_at(other, VA, 1) = t >> 2 | PTE_V;
	load_satp(2, other, 9);
	use(2, VA, LOAD);
	set(0, slot_at(root, VA, 1), leaf(RAM + 0x200000, RW));
	set(0, slot_at(other, VA, 0), leaf(FRAME(7), RW));
	later();
	set(0, slot_at(root, VA, 1), t >> 2 | PTE_V);
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	expect_stale(SHADOW_FRAME);
	cr_expect_eq(last.changed.pte, t >> 2 | PTE_V);
}

Test(pages, a_collapse_long_ago_is_not_when_the_huge_page_moved)
{
	uint64_t root = table(), t;

	map(root, VA, RAM + 0x200000 + (VA & 0x1ff000), RW);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	t = *slot_at(root, VA, 1);
	set(0, slot_at(root, VA, 1), leaf(RAM + 0x200000, RW));
	later();
	set(0, slot_at(root, VA, 1), leaf(RAM + 0x400000, RW));
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	set(0, slot_at(root, VA, 1), t);
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
}

Test(pages, a_giant_page)
{
	uint64_t root = table();

	set(0, slot_at(root, VA, 2), leaf(0x40000000ull, RW));
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 2), leaf(0xc0000000ull, RW));
	shadow_fence(s, 1, SHADOW_VA_ASID, VA + 0x1000000, 5, PC);
	expect_clean();
}

static uint64_t napot(uint64_t at)
{
	return PTE_N | leaf(at | 0x8000, RW);
}

Test(pages, each_pte_of_a_napot_region_counts)
{
	uint64_t root = table(), base = VA & ~0xffffull;

	for (unsigned int i = 0; i < 16; i++)
		set(0, slot_at(root, base + i * 0x1000, 0), napot(RAM + 0x100000));
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	use(1, base + 0x7000, LOAD);
	cr_expect_eq(sum(1).cold, 2);
	for (unsigned int i = 0; i < 16; i++)
		set(0, slot_at(root, base + i * 0x1000, 0), napot(RAM + 0x110000));
	shadow_fence(s, 1, SHADOW_VA_ASID, base + 0x7000, 5, PC);
	later();
	use(1, base + 0x7000, LOAD);
	cr_expect_eq(found, 0);
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.frame_cached, RAM + 0x100000 + (VA & 0xf000));
	cr_expect_eq(last.frame_now, RAM + 0x110000 + (VA & 0xf000));
}

Test(pages, napot_instead_of_pages_with_the_same_frames)
{
	uint64_t root = table(), base = VA & ~0xffffull;

	map(root, VA, RAM + 0x100000 + (VA & 0xf000), RW);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	for (unsigned int i = 0; i < 16; i++)
		set(0, slot_at(root, base + i * 0x1000, 0), napot(RAM + 0x100000));
	expect_clean();
}

Test(pages, a_permission_lost)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RW);
	load_satp(1, root, 5);
	use(1, VA, STORE);
	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RO));
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	use(1, VA, STORE);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_PERMISSION);
}

Test(pages, reading_lost_where_execution_is_left)
{
	uint64_t root = cached(RO | PTE_X);

	set(0, slot_at(root, VA, 0), leaf(FRAME(0), (RO | PTE_X) & ~PTE_R));
	later();
	/* With MXR it is allowed, by the tables as well. */
	use(1, VA, SHADOW_LOAD);
	cr_expect_eq(found, 0);
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_PERMISSION);
}

Test(pages, what_may_only_be_executed_was_never_read_without_mxr)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), (RO | PTE_X) & ~PTE_R);
	load_satp(1, root, 5);
	use(1, VA, SHADOW_LOAD);
	set(0, slot_at(root, VA, 0), 0);
	later();
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(found, 0);
	use(1, VA, SHADOW_LOAD);
	cr_expect_eq(found, 1);
}

Test(pages, the_kernel_reads_a_user_s_page)
{
	moved();
	later();
	use(1, VA, SHADOW_LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_FRAME);
}

Test(pages, what_user_mode_may_see_now_was_never_cached_for_it)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), KRW);
	load_satp(1, root, 5);
	use(1, VA, SHADOW_LOAD);
	set(0, slot_at(root, VA, 0), 0);
	later();
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(found, 0);
	shadow_fault(s, 1, VA, SHADOW_LOAD, PC);
	cr_expect_eq(found, 1);
}

Test(pages, what_user_mode_may_not_see_any_more)
{
	uint64_t root = cached(RW);

	set(0, slot_at(root, VA, 0), leaf(FRAME(0), KRW));
	expect_stale(SHADOW_PERMISSION);
}

Test(pages, a_permission_gained_needs_no_fence)
{
	uint64_t root = cached(RO);

	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RW));
	expect_clean();
}

Test(pages, a_permission_gained_is_cached_and_may_be_lost)
{
	uint64_t root = cached(RO);

	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RW));
	use(1, VA, STORE);
	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RO));
	later();
	shadow_fault(s, 1, VA, STORE, PC);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_PERMISSION);
}

Test(pages, read_only_and_moved)
{
	uint64_t root = cached(RO);

	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	later();
	/* A store asks the tables, or faults; a load reads the old page. */
	use(1, VA, STORE);
	cr_expect_eq(found, 0);
	expect_stale(SHADOW_FRAME);
}

Test(pages, accessed_and_dirty_are_the_hardware_s)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RW & ~(PTE_A | PTE_D));
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	*slot_at(root, VA, 0) |= PTE_A;
	use(1, VA, LOAD);
	*slot_at(root, VA, 0) |= PTE_D;
	use(1, VA, STORE);
	*slot_at(root, VA, 0) &= ~(PTE_A | PTE_D);
	expect_clean();
}

Test(pages, a_clean_page_asks_before_it_is_written)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RW & ~PTE_D);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	/* A TLB that has it clean walks again for a store: no finding, whatever there is now. */
	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RO));
	later();
	shadow_fault(s, 1, VA, STORE, PC);
	cr_expect_eq(found, 0);
}

Test(pages, a_fault_that_a_tlb_would_not_have_taken)
{
	uint64_t root = moved();

	set(0, slot_at(root, VA, 0), 0);
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(found, 0);
	later();
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, SHADOW_UNMAPPED);
	cr_expect(last.faulted);
	cr_expect_eq(last.frame_now, 0);
}

Test(pages, a_fault_that_somebody_has_mended_meanwhile)
{
	cached(RW);
	shadow_fault(s, 1, VA, LOAD, PC);
	later();
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(found, 0);
	cr_expect_eq(sum(1).window, 0);
}

Test(pages, a_fault_that_every_tlb_takes)
{
	uint64_t root = moved();

	set(0, slot_at(root, VA, 0), 0);
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	later();
	shadow_fault(s, 1, VA, LOAD, PC);
	shadow_fault(s, 1, VA + 0x1000, LOAD, PC);
	shadow_fault(s, 1, ~0ull, STORE, PC);
	cr_expect_eq(found, 0);
	cr_expect_eq(sum(1).faults, 3);
}

Test(pages, nothing_is_cached_of_what_is_not_mapped)
{
	uint64_t root = table();

	*slot_at(root, VA, 0) = 0;
	load_satp(1, root, 5);
	shadow_fault(s, 1, VA, LOAD, PC);
	map(root, VA, FRAME(0), RW);
	expect_clean();
}

Test(pages, ptes_that_are_none)
{
	uint64_t root = table();

	load_satp(1, root, 5);
	map(root, VA, FRAME(0), PTE_V | PTE_W);
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 0), PTE_N | leaf(RAM + 0x4000, RW)); /* 32 KiB is no size */
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 1), leaf(RAM + 0x1000, RW)); /* misaligned */
	use(1, VA, LOAD);
	cr_expect_eq(sum(1).cold, 0);
	cr_expect_eq(found, 0);
}
