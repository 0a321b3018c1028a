/* SPDX-License-Identifier: MIT */
/* The shadow TLB, fed with recorded sequences: each rule of the specification, and hostile ones. */
#include <criterion/criterion.h>
#include <string.h>

#include "../../src/audit/shadow.h"

#define RAM 0x80000000ull
#define PAGES 512u
#define GRACE 1000u
#define HARTS 4u
#define FRAME(n) (RAM + 0x100000 + (n)*0x1000ull) /* data: never looked into */
#define VA 0x40201000ull
#define RW (PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D)
#define RO (PTE_V | PTE_R | PTE_U | PTE_A)
#define KRW (RW & ~PTE_U)
#define LOAD (SHADOW_LOAD | SHADOW_USER)
#define STORE (SHADOW_STORE | SHADOW_USER)
#define PC 0x10000ull

static _Alignas(4096) uint64_t ram[PAGES][512];
static unsigned int used; /* pages of it that are tables */
static uint64_t ran[HARTS];
static struct shadow *s;
static struct shadow_finding last;
static unsigned int found;
static unsigned int levels;

static const void *host(void *arg, uint64_t pa)
{
	(void)arg;
	return pa - RAM < sizeof(ram) ? (char *)ram + (pa - RAM) : NULL;
}

static uint64_t insns(void *arg, unsigned int hart)
{
	(void)arg;
	return ran[hart];
}

static void note(void *arg, const struct shadow_finding *f)
{
	(void)arg;
	last = *f;
	found++;
}

static uint64_t table(void)
{
	cr_assert(used < 256);
	return RAM + used++ * 0x1000ull;
}

static struct shadow_config config(void)
{
	return (struct shadow_config){
		.harts = HARTS,
		.grace = GRACE,
		.memory = 1ull << 28,
		.ram_base = RAM,
		.ram_size = sizeof(ram),
		.host = host,
		.insns = insns,
		.report = note,
	};
}

static void start_with(struct shadow_config c)
{
	s = shadow_new(&c);
	cr_assert(s);
	levels = 3;
}

static void start(void)
{
	start_with(config());
}

static void stop(void)
{
	shadow_free(s);
}

TestSuite(shadow, .init = start, .fini = stop);
TestSuite(bare);

static uint64_t *slot_at(uint64_t root, uint64_t va, unsigned int level)
{
	uint64_t at = root;

	for (unsigned int l = levels - 1;; l--) {
		uint64_t *slot = &ram[(at - RAM) >> 12][va >> (12 + 9 * l) & 511];

		if (l == level)
			return slot;
		if (!*slot)
			*slot = table() >> 2 | PTE_V;
		at = (*slot >> 10) << 12;
	}
}

/* As a kernel's store: the hart does it, and the shadow sees it. */
static void set(unsigned int hart, uint64_t *slot, uint64_t pte)
{
	uint64_t pa = RAM + (uint64_t)((char *)slot - (char *)ram);

	*slot = pte;
	if (shadow_is_table(s, pa >> 12))
		shadow_table_store(s, hart, pa, 8, PC);
}

static uint64_t leaf(uint64_t pa, uint64_t flags)
{
	return pa >> 2 | flags;
}

static void map(uint64_t root, uint64_t va, uint64_t pa, uint64_t flags)
{
	set(0, slot_at(root, va, 0), leaf(pa, flags));
}

static void load_satp(unsigned int hart, uint64_t root, uint64_t asid)
{
	shadow_satp(s, hart, (uint64_t)(levels + 5) << 60 | asid << 44 | root >> 12, PC);
}

static void use(unsigned int hart, uint64_t va, unsigned int kind)
{
	ran[hart]++;
	shadow_access(s, hart, va, 8, kind, PC);
}

/* Every hart runs on; any shootdown is over. */
static void later(void)
{
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int h = 0; h < HARTS; h++)
			ran[h] += GRACE + 1;
		shadow_fence(s, HARTS - 1, SHADOW_VA, 1ull << 62, 0, PC);
	}
}

static struct shadow_counts sum(unsigned int hart)
{
	return s->hart[hart].n;
}

/* VA is cached on hart 1 under ASID 5 with frame 0, and moves to frame 1. */
static uint64_t moved(void)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RW);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	use(1, VA, STORE);
	cr_expect_eq(found, 0);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	return root;
}

static void expect_stale(enum shadow_what what)
{
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, what);
	/* Told once. */
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
}

static void expect_clean(void)
{
	later();
	use(1, VA, LOAD);
	use(1, VA, STORE);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
}

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
	cr_expect_eq(sum(1).bare, 1);
	load_satp(1, root, 5);
	expect_stale(SHADOW_FRAME);
}

Test(shadow, moved_and_moved_back)
{
	uint64_t root = moved();

	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RW));
	expect_clean();
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

Test(shadow, leaf_only_leaves_tables)
{
	uint64_t root = moved(), fresh = table();

	/* Another page of tables, and a fence by address. */
	set(0, slot_at(root, VA, 1), fresh >> 2 | PTE_V);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	shadow_fence(s, 1, SHADOW_VA_ASID, VA, 5, PC);
	expect_stale(SHADOW_TABLE);
}

Test(shadow, a_fence_of_the_asid_takes_tables_as_well)
{
	uint64_t root = moved(), fresh = table();

	set(0, slot_at(root, VA, 1), fresh >> 2 | PTE_V);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	shadow_fence(s, 1, SHADOW_ASID, 0, 5, PC);
	expect_clean();
}

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

Test(shadow, a_huge_page_is_one_entry)
{
	uint64_t root = huge();

	use(1, VA + 0x10000, LOAD);
	cr_expect_eq(sum(1).cold, 1);
	set(0, slot_at(root, VA, 1), leaf(RAM + 0x400000, RW));
	expect_stale(SHADOW_FRAME);
	cr_expect_eq(last.level, 1);
	cr_expect_eq(last.frame_cached, RAM + 0x200000 + (VA & 0x1ff000));
}

Test(shadow, any_address_of_a_huge_page_flushes_it)
{
	uint64_t root = huge();

	set(0, slot_at(root, VA, 1), leaf(RAM + 0x400000, RW));
	shadow_fence(s, 1, SHADOW_VA_ASID, VA ^ 0x1f0000, 5, PC);
	expect_clean();
}

Test(shadow, a_huge_page_split_into_the_same_frames)
{
	uint64_t root = huge(), t = table();

	for (unsigned int i = 0; i < 512; i++)
		ram[(t - RAM) >> 12][i] = leaf(RAM + 0x200000 + i * 0x1000ull, RW);
	set(0, slot_at(root, VA, 1), t >> 2 | PTE_V);
	expect_clean();
}

Test(shadow, a_huge_page_split_and_a_page_moved)
{
	uint64_t root = huge(), t = table();

	for (unsigned int i = 0; i < 512; i++)
		ram[(t - RAM) >> 12][i] = leaf(RAM + 0x200000 + i * 0x1000ull, RW);
	set(0, slot_at(root, VA, 1), t >> 2 | PTE_V);
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(7), RW));
	expect_stale(SHADOW_FRAME);
}

Test(shadow, a_giant_page)
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

Test(shadow, each_pte_of_a_napot_region_counts)
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

Test(shadow, napot_instead_of_pages_with_the_same_frames)
{
	uint64_t root = table(), base = VA & ~0xffffull;

	map(root, VA, RAM + 0x100000 + (VA & 0xf000), RW);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	for (unsigned int i = 0; i < 16; i++)
		set(0, slot_at(root, base + i * 0x1000, 0), napot(RAM + 0x100000));
	expect_clean();
}

Test(shadow, a_permission_lost)
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

Test(shadow, what_user_mode_may_not_see_any_more)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RW);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(0), KRW));
	expect_stale(SHADOW_PERMISSION);
}

Test(shadow, a_permission_gained_needs_no_fence)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RO);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(0), RW));
	expect_clean();
}

Test(shadow, read_only_and_moved)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RO);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	later();
	/* A store asks the tables, or faults; a load reads the old page. */
	use(1, VA, STORE);
	cr_expect_eq(found, 0);
	expect_stale(SHADOW_FRAME);
}

Test(shadow, accessed_and_dirty_are_the_hardware_s)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), RW & ~(PTE_A | PTE_D));
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	*slot_at(root, VA, 0) |= PTE_A;
	use(1, VA, LOAD);
	*slot_at(root, VA, 0) |= PTE_D;
	use(1, VA, STORE);
	*slot_at(root, VA, 0) &= ~PTE_A;
	expect_clean();
}

Test(shadow, a_clean_page_asks_before_it_is_written)
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

Test(shadow, a_fault_that_a_tlb_would_not_have_taken)
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

Test(shadow, a_fault_that_every_tlb_takes)
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

Test(shadow, nothing_is_cached_of_what_is_not_mapped)
{
	uint64_t root = table();

	*slot_at(root, VA, 0) = 0;
	load_satp(1, root, 5);
	shadow_fault(s, 1, VA, LOAD, PC);
	map(root, VA, FRAME(0), RW);
	expect_clean();
}

Test(shadow, ptes_that_are_none)
{
	uint64_t root = table();

	load_satp(1, root, 5);
	map(root, VA, FRAME(0), PTE_V | PTE_W);
	use(1, VA, LOAD);
	set(0, slot_at(root, VA, 1), leaf(RAM + 0x1000, RW)); /* misaligned */
	use(1, VA, LOAD);
	cr_expect_eq(sum(1).cold, 0);
	cr_expect_eq(found, 0);
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
		shadow_sinval(s, 1, SHADOW_VA_ASID, VA + i * 0x1000ull, 5, PC);
	shadow_inval_ir(s, 1, PC);
	expect_clean();
}

Test(shadow, an_access_across_pages_uses_both)
{
	uint64_t root = moved();

	map(root, VA - 0x1000, FRAME(4), RW);
	later();
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

Test(shadow, a_hart_that_sleeps_holds_nothing_up)
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

Test(shadow, a_hart_that_does_not_get_on_holds_all_up)
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

Test(shadow, a_table_outside_ram_stops)
{
	load_satp(1, 0x1000, 5);
	use(1, VA, LOAD);
	cr_expect(s->stopped);
	cr_expect_eq(found, 0);
}
