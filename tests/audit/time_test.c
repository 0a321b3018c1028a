/* SPDX-License-Identifier: MIT */
/* When a stale use is wrong, what a finite TLB counts, and running out of memory. */
#include "feed.h"

TestSuite(time, .init = start, .fini = stop);
TestSuite(bare);

Test(time, a_hart_that_sleeps_holds_nothing_up)
{
	moved();
	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int h = 0; h < 2; h++)
			ran[h] += GRACE + 1;
		shadow_idle(s, 2);
		shadow_idle(s, 3);
		use(1, VA, LOAD);
	}
	cr_expect_eq(found, 1);
}

Test(time, a_hart_that_does_not_get_on_holds_all_up)
{
	moved();
	ran[0]++; /* awake: it may be in the middle of the shootdown */
	for (unsigned int i = 0; i < 100; i++) {
		for (unsigned int h = 1; h < HARTS; h++)
			ran[h] += GRACE + 1;
		use(1, VA, LOAD);
	}
	cr_expect_eq(found, 0);
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	expect_clean();
}

Test(time, what_was_right_again_is_stale_since_the_next_change)
{
	uint64_t root = moved();

	use(1, VA, LOAD); /* while it is moved: explained */
	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RW));
	later();
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(2), RW));
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	cr_expect_eq(sum(1).window, 2);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.changed.pte, leaf(FRAME(2), RW));
}

Test(time, nor_is_a_change_counted_that_was_taken_back)
{
	uint64_t root = moved();

	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RW));
	later();
	set(0, slot_at(root, VA, 0), 0);
	set(0, slot_at(root, VA, 0), leaf(FRAME(2), RW));
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.changed.pte, 0);
}

Test(time, one_store_of_several_ptes)
{
	uint64_t root = table(), *slot;

	map(root, VA, FRAME(0), RW);
	map(root, VA + 0x1000, FRAME(1), RW);
	load_satp(1, root, 5);
	use(1, VA + 0x1000, LOAD);
	slot = slot_at(root, VA, 0);
	slot[0] = slot[1] = 0;
	shadow_table_store(s, 0, RAM + (uint64_t)((char *)slot - (char *)ram), 16, PC);
	later();
	use(1, VA + 0x1000, LOAD);
	cr_expect_eq(found, 1);
	cr_expect(last.changed_known);
}

Test(time, a_page_that_is_a_table_no_more)
{
	uint64_t root = moved(), pa = (*slot_at(root, VA, 1) >> 10) << 12;

	for (unsigned int i = 0; i < 5000; i++)
		shadow_table_store(s, 0, pa + 0xff8, 8, PC);
	cr_expect_not(shadow_is_table(s, pa >> 12));
	use(1, VA, LOAD);
	cr_expect(shadow_is_table(s, pa >> 12));
}

Test(time, what_is_no_ram_is_a_device)
{
	uint64_t root = table();

	map(root, VA, 0x10000000, KRW);
	load_satp(1, root, 5);
	use(1, VA, SHADOW_LOAD);
	use(1, VA, SHADOW_LOAD);
	cr_expect_eq(sum(1).device, 2);
	cr_expect_eq(sum(1).loads, 2);
}

/* Hart 0 has the table of VA mapped at 0, and writes PTEs there as a kernel does. */
static void poke(uint64_t *slot, uint64_t pte)
{
	*slot = pte;
	shadow_access(s, 0, (uint64_t)((char *)slot - (char *)ram) & 4095, 8, SHADOW_STORE, PC + 4);
}

Test(time, stores_to_a_table_are_seen)
{
	uint64_t root = table(), kernel = table(), *slot;

	map(root, VA, FRAME(0), RW);
	slot = slot_at(root, VA, 0);
	map(kernel, 0, (*slot_at(root, VA, 1) >> 10) << 12, KRW);
	load_satp(0, kernel, 0);
	load_satp(1, root, 5);
	for (unsigned int i = 1; i <= 2; i++) {
		use(1, VA, LOAD);
		poke(slot, leaf(FRAME(i), RW)); /* the second by the line that the first has left */
		later();
		use(1, VA, LOAD);
		cr_expect_eq(found, i);
		cr_expect(last.changed_known);
		cr_expect_eq(last.changed.pc, PC + 4);
	}
}

Test(time, a_change_before_the_filling_is_none)
{
	uint64_t root = moved();

	shadow_fence(s, 1, SHADOW_ALL, 0, 0, PC);
	*slot_at(root, VA, 0) = leaf(FRAME(3), RW); /* by a device: not seen */
	use(1, VA, LOAD);
	later();
	set(0, slot_at(root, VA, 0), leaf(FRAME(2), RW));
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
}

static void epoch(void)
{
	for (unsigned int h = 0; h < HARTS; h++)
		ran[h] += GRACE + 1;
	shadow_fence(s, HARTS - 1, SHADOW_VA, 1ull << 62, 0, PC);
}

Test(time, two_epochs_from_the_change)
{
	moved();
	epoch();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	epoch();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
}

Test(time, two_epochs_from_the_use_if_the_change_was_not_seen)
{
	uint64_t root = moved();

	shadow_fence(s, 1, SHADOW_ALL, 0, 0, PC);
	use(1, VA, LOAD);
	*slot_at(root, VA, 0) = leaf(FRAME(2), RW);
	later();
	use(1, VA, LOAD);
	epoch();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	epoch();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_not(last.changed_known);
}

Test(time, leaving_the_kernel_ends_no_shootdown_that_can_be_preempted)
{
	moved();
	shadow_return(s, 0);
	shadow_idle(s, 0);
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
}

Test(time, a_hart_that_slept_in_an_epoch_has_got_on)
{
	moved();
	for (unsigned int i = 0; i < 3; i++) {
		shadow_idle(s, 0);
		ran[0]++;
		for (unsigned int h = 1; h < HARTS; h++)
			ran[h] += GRACE + 1;
		use(1, VA, LOAD);
	}
	cr_expect_eq(found, 1);
}

Test(time, a_hart_that_sleeps_on_needs_not_wake_for_each)
{
	moved();
	ran[0]++;
	shadow_idle(s, 0);
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int h = 1; h < HARTS; h++)
			ran[h] += GRACE + 1;
		use(1, VA, LOAD);
	}
	cr_expect_eq(found, 1);
}

Test(time, a_global_page_changed_under_other_roots)
{
	uint64_t root = table(), other = table();

	map(root, VA, FRAME(0), RW | PTE_G);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	*slot_at(other, VA, 2) = *slot_at(root, VA, 2);
	load_satp(1, other, 6);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW | PTE_G));
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect(last.changed_known);
	cr_expect_eq(last.changed.hart, 0);
}

Test(bare, strict_ends_a_shootdown_when_its_hart_has_left_the_kernel)
{
	struct shadow_config c = config();

	c.strict = true;
	start_with(c);
	moved();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	shadow_return(s, 1);
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	shadow_return(s, 0);
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	stop();
}

static void start_tlb(unsigned int sets, unsigned int ways, unsigned int sets2, unsigned int ways2)
{
	struct shadow_config c = config();

	c.tlbs = sets2 ? 2 : 1;
	c.sets[0] = sets;
	c.ways[0] = ways;
	c.sets[1] = sets2;
	c.ways[1] = ways2;
	start_with(c);
}

static uint64_t many(unsigned int n)
{
	uint64_t root = table();

	for (unsigned int i = 0; i < n; i++)
		map(root, VA + i * 0x1000ull, FRAME(i), RW);
	load_satp(1, root, 5);
	return root;
}

Test(bare, lru_of_a_finite_tlb)
{
	start_tlb(1, 2, 0, 0);
	many(3);
	use(1, VA, LOAD); /* cold */
	use(1, VA + 0x1000, LOAD); /* cold */
	use(1, VA, LOAD);
	use(1, VA + 0x2000, LOAD); /* cold: takes the place of the second */
	use(1, VA, LOAD);
	cr_expect_eq(sum(1).capacity, 0);
	use(1, VA + 0x1000, LOAD);
	cr_expect_eq(sum(1).capacity, 1);
	cr_expect_eq(sum(1).cold, 3);
	cr_expect_eq(sum(1).refills, 0);
	stop();
}

Test(bare, sets_of_a_finite_tlb)
{
	start_tlb(4, 1, 0, 0);
	many(4);
	for (unsigned int k = 0; k < 5; k++)
		for (unsigned int i = 0; i < 4; i++)
			use(1, VA + i * 0x1000ull, LOAD);
	cr_expect_eq(sum(1).tlb_misses, 4);
	cr_expect_eq(sum(1).tlb_hits[0], 16);
	stop();
}

Test(bare, a_second_level)
{
	start_tlb(1, 1, 1, 4);
	many(3);
	for (unsigned int k = 0; k < 2; k++)
		for (unsigned int i = 0; i < 3; i++)
			use(1, VA + i * 0x1000ull, LOAD);
	cr_expect_eq(sum(1).tlb_misses, 3);
	cr_expect_eq(sum(1).tlb_hits[1], 3);
	stop();
}

Test(bare, asids_share_a_finite_tlb)
{
	uint64_t root, other;

	start_tlb(1, 2, 0, 0);
	root = many(1);
	other = table();
	map(other, VA, FRAME(9), RW);
	use(1, VA, LOAD);
	load_satp(1, other, 6);
	use(1, VA, LOAD);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	cr_expect_eq(sum(1).tlb_misses, 2);
	cr_expect_eq(sum(1).tlb_hits[0], 1);
	cr_expect_eq(found, 0);
	stop();
}

Test(bare, what_a_needless_flush_costs)
{
	uint64_t root;

	start_tlb(1, 4, 0, 0);
	root = many(2);
	use(1, VA, LOAD);
	use(1, VA + 0x1000, LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(5), RW));
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	use(1, VA, LOAD);
	use(1, VA + 0x1000, LOAD);
	cr_expect_eq(sum(1).needed, 1);
	cr_expect_eq(sum(1).refills, 1);
	cr_expect_eq(sum(1).cold, 2);
	cr_expect_eq(sum(1).capacity, 0);
	stop();
}

Test(bare, what_was_fenced_makes_room_first)
{
	start_tlb(1, 2, 0, 0);
	many(3);
	use(1, VA, LOAD);
	use(1, VA + 0x1000, LOAD);
	use(1, VA, LOAD);
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	use(1, VA + 0x2000, LOAD); /* there, though the other is older */
	use(1, VA + 0x1000, LOAD);
	cr_expect_eq(sum(1).capacity, 0);
	use(1, VA, LOAD); /* it would have been there, but for the fence */
	cr_expect_eq(sum(1).capacity, 0);
	cr_expect_eq(sum(1).refills, 1);
	stop();
}

Test(bare, the_hardware_s_bits_and_the_kernel_s_own_make_no_fence_needed)
{
	uint64_t root;

	start_tlb(1, 4, 0, 0);
	root = many(1);
	*slot_at(root, VA, 0) &= ~PTE_D;
	use(1, VA, LOAD);
	*slot_at(root, VA, 0) |= PTE_D | 1 << 8;
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	use(1, VA, LOAD);
	cr_expect_eq(sum(1).needed, 0);
	cr_expect_eq(sum(1).refills, 1);
	stop();
}

Test(bare, what_was_gone_already_is_no_refill)
{
	start_tlb(1, 1, 0, 0);
	many(2);
	use(1, VA, LOAD);
	use(1, VA + 0x1000, LOAD);
	shadow_fence(s, 1, SHADOW_ALL, 0, 0, PC);
	use(1, VA, LOAD);
	cr_expect_eq(sum(1).refills, 0);
	cr_expect_eq(sum(1).capacity, 1);
	stop();
}

Test(bare, out_of_memory_stops_and_reports_nothing)
{
	struct shadow_config c = config();
	uint64_t root;

	c.memory = 24ull << 20;
	start_with(c);
	root = moved();
	for (unsigned int i = 0; i < 1000000 && !s->stopped; i++) {
		load_satp(1, root, i & 0xffff);
		use(1, VA, LOAD);
	}
	cr_assert(s->stopped);
	found = 0;
	load_satp(1, root, 5);
	later();
	use(1, VA, LOAD);
	shadow_fault(s, 1, VA, LOAD, PC);
	cr_expect_eq(found, 0);
	stop();
}

Test(bare, too_little_memory_to_begin_with)
{
	struct shadow_config c = config();

	c.memory = 4096;
	cr_expect_null(shadow_new(&c));
}

Test(bare, forgotten_fences)
{
	struct shadow_config c = config();
	uint64_t root;

	c.forget = 2;
	start_with(c);
	root = moved();
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
	set(0, slot_at(root, VA, 0), leaf(FRAME(2), RW));
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	stop();
}

Test(bare, forgotten_sinval)
{
	struct shadow_config c = config();

	c.forget = 1;
	start_with(c);
	moved();
	shadow_w_inval(s, 1, PC);
	shadow_sinval(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	shadow_inval_ir(s, 1, PC);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.fences, 0);
	stop();
}

Test(bare, too_little_memory_for_the_ram)
{
	struct shadow_config c = config();

	c.ram_size = 0;
	start_with(c);
	cr_expect_not(shadow_ram(s, RAM, 1ull << 40));
	cr_expect(s->stopped);
	stop();
}
