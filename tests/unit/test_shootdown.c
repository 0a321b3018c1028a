/* SPDX-License-Identifier: MIT */
/* The initiator: who is asked, who is left alone, what it does for itself. */
#include "scene.h"

#include <string.h>

TEST(shootdown, low_call)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	CHECK(fake_post(0, set, &r, mask) == 1);
	CHECK(mask[0] == 0x2);
	CHECK(fake.nr_interrupts == 0);
	CHECK(fake.nr_flushes == 1);
	expect_flush(0, &r);
	CHECK(fake.event[FLUSHQ_SHOOTDOWNS] == 1 && fake.event[FLUSHQ_IPI_SENT] == 1);
	CHECK(fake.event[FLUSHQ_DEFERRED] == 3);
	/* The interrupt, then each of the others at its own moment. */
	fake_drain(1);
	expect_flush(1, &r);
	fake_switch(2, 5, set);
	expect_flush(2, &r);
	unlazy(3);
	expect_flush(3, &r);
	fake_switch(4, 5, set);
	expect_flush(4, &r);
	CHECK(fake_flushes_on(5) == 0 && fake_flushes_on(7) == 0);
	/* And once only. */
	fake_switch(2, 6, NULL);
	fake_switch(2, 5, set);
	CHECK(fake_flushes_on(2) == 1);
	CHECK(fake.nr_rules_broken == 0);
}

TEST(shootdown, high_call)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake_shootdown(0, set, &r);
	CHECK(fake.nr_interrupts == 1 && fake.interrupted[0] == 0x2);
	expect_flush(0, &r);
	expect_flush(1, &r);
	CHECK(fake.nr_flushes == 2);
	CHECK(fake.event[FLUSHQ_IPI_SENT] == 1 && fake.event[FLUSHQ_DEFERRED] == 3);
	CHECK(fake.event[FLUSHQ_DRAINS] == 1 && fake.event[FLUSHQ_SHOOTDOWNS] == 1);
	CHECK(fake.cpu[1].bell == 0);
}

TEST(shootdown, nobody_to_interrupt)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	park(1);
	fake_shootdown(0, set, &r);
	CHECK(fake.nr_interrupts == 0 && fake.nr_relaxed == 0 && fake.nr_flushes == 1);
	CHECK(fake.event[FLUSHQ_DEFERRED] == 4);
}

TEST(shootdown, from_outside_the_set)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake_shootdown(7, set, &r);
	CHECK(fake_flushes_on(7) == 0);
	CHECK(fake.interrupted[0] == 0x3);
	expect_flush(0, &r);
	expect_flush(1, &r);
}

/* S3: a lazy CPU may walk tables that are about to be freed (B18). */
TEST(shootdown, tables_reach_lazy_cpus)
{
	struct flushq_range r = flushq_range_make(5, 3 * PAGE, PAGE, PAGE, FLUSHQ_TABLES);

	scene();
	fake_shootdown(0, set, &r);
	CHECK(fake.interrupted[0] == 0xa);
	expect_flush(0, &r);
	expect_flush(1, &r);
	expect_flush(3, &r);
	CHECK(fake_flushes_on(2) == 0 && fake_flushes_on(4) == 0);
	fake_switch(4, 5, set);
	expect_flush(4, &r);
}

/* S3 (B2): kernel ranges go to every online CPU at once, whatever it has loaded. */
TEST(shootdown, kernel_ranges_reach_every_online_cpu)
{
	struct flushq_range r = flushq_range_make(0, 3 * PAGE, PAGE, PAGE, FLUSHQ_GLOBAL);
	unsigned int cpu, with_set;

	for (with_set = 0; with_set < 2; with_set++) {
		scene();
		fake_shootdown(5, with_set ? set : NULL, &r);
		CHECK(fake.interrupted[0] == 0xdf);
		for (cpu = 0; cpu < 8; cpu++)
			expect_flush(cpu, &r);
		CHECK(fake.event[FLUSHQ_DEFERRED] == 0);
	}
	/* A CPU that was never onlined is neither interrupted nor waited for. */
	fake_reset(8);
	for (cpu = 0; cpu < 3; cpu++) {
		fake.self = cpu;
		fake.irqs_off[cpu]++;
		flushq_online(&fake.fq, cpu);
		fake.irqs_off[cpu]--;
	}
	fake_forget();
	fake_shootdown(0, NULL, &all);
	CHECK(fake.interrupted[0] == 0x6);
}

/* "Nobody else" must not be taken for "not even I": a kernel change before this CPU is online. */
TEST(shootdown, kernel_range_from_a_cpu_that_is_not_online)
{
	struct flushq_range r = flushq_range_make(0, 3 * PAGE, PAGE, PAGE, FLUSHQ_GLOBAL);

	fake_reset(4);
	fake_shootdown(1, NULL, &r);
	CHECK(fake.nr_interrupts == 0 && fake_flushed(1, &r));
	/* It will flush everything when it comes online. */
	fake.self = 1;
	fake.irqs_off[1]++;
	flushq_online(&fake.fq, 1);
	fake.irqs_off[1]--;
	CHECK(fake_flushed(1, &all));
}

TEST(shootdown, post_fenced)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	CHECK(flushq_post_fenced(&fake.fq, 0, set, &r, mask) == 1);
	CHECK(mask[0] == 0x2);
	expect_flush(0, &r);
	/* CPU 1 was seen to use it: the fence does all. */
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 0);
	/* The others owe it. */
	fake_switch(4, 5, set);
	expect_flush(4, &r);
	unlazy(3);
	expect_flush(3, &r);
	CHECK(fake.event[FLUSHQ_DEFERRED] == 3 && fake.event[FLUSHQ_IPI_SENT] == 1);
	/* Kernel ranges are for the fence alone. */
	fake_forget();
	CHECK(flushq_post_fenced(&fake.fq, 0, NULL, &all, mask) == 7);
	CHECK(mask[0] == 0xfe);
	expect_flush(0, &all);
	fake_drain(5);
	CHECK(fake_flushes_on(5) == 0);
}

/* Its own TLB: what may be in the register at once, what it has parked later, nothing for what it
 * would flush anyway. */
TEST(shootdown, own_tlb)
{
	struct flushq_range r = fake_page(5, 3), tables = r,
			    whole = flushq_range_whole(5, FLUSHQ_LEAF);
	struct flushq_range asid5 = flushq_range_whole(5, FLUSHQ_TABLES);

	tables.kind = FLUSHQ_TABLES;
	/* Lazy: in the register. */
	scene();
	fake_post(3, set, &r, mask);
	expect_flush(3, &r);
	/* Parked. */
	scene();
	fake_post(4, set, &r, mask);
	CHECK(fake_flushes_on(4) == 0 && fake.cpu[4].resident.nr_owed == 1);
	fake_switch(4, 5, set);
	expect_flush(4, &r);
	fake_forget();
	fake_switch(4, 6, NULL);
	fake_forget();
	fake_post(4, set, &tables, mask);
	CHECK(fake_flushes_on(4) == 0);
	fake_switch(4, 5, set);
	expect_flush(4, &tables);
	/* Parked, and all of it: it leaves. */
	park(4);
	fake_forget();
	fake_post(4, set, &r, mask);
	fake_post(4, set, &whole, mask);
	expect_flush(4, &asid5);
	CHECK(!flushq_cpuset_has(set, 4) && !resident(4, 5, set));
	CHECK(fake.cpu[4].resident.nr_owed == 0 && fake.event[FLUSHQ_LEFT] == 1);
	/* In the set, by the host's hand, and not in the table. */
	fake_forget();
	flushq_cpuset_add(set, 7);
	fake_post(7, set, &r, mask);
	CHECK(fake_flushes_on(7) == 0 && fake.cpu[7].resident.nr_owed == 0);
	fake_switch(7, 5, set);
	expect_flush(7, &asid5);
	/* Kernel ranges, whatever it runs; all of them empties the table. */
	fake_forget();
	fake_post(7, NULL, &all, mask);
	expect_flush(7, &all);
	CHECK(fake.event[FLUSHQ_FLUSHED_ALL] == 1 && resident(7, 5, set));
	CHECK(fake.nr_rules_broken == 0);
}

static struct flushq_range inner;
static unsigned int inner_at;

/* An NMI that shoots down, in the middle of what its CPU does as owner. */
static void post_inside(const struct flushq_range *range)
{
	struct flushq_resident before;

	(void)range;
	if (inner_at-- != 0)
		return;
	before = fake.cpu[fake.self].resident;
	CHECK(fake.cpu[fake.self].busy);
	fake_forget();
	fake_post(fake.self, set, &inner, mask);
	CHECK(fake_flushed(fake.self, &inner));
	CHECK(memcmp(&before, &fake.cpu[fake.self].resident, sizeof(before)) == 0);
}

TEST(shootdown, own_tlb_from_an_nmi_in_an_owner_call)
{
	struct flushq_range r = fake_page(5, 3);
	unsigned int kind;

	for (kind = 0; kind < 4; kind++) {
		inner = fake_page(5, 8);
		if (kind & 1)
			inner = flushq_range_whole(5, FLUSHQ_TABLES);
		/* Loaded; and parked, while it joins another. */
		scene();
		fake_post(0, set, &r, mask);
		inner_at = 0;
		fake.on_flush = post_inside;
		if (kind & 2)
			fake_drain(1);
		else
			fake_switch(4, 6, other);
		CHECK(inner_at == ~0u || inner_at == ~1u);
		fake.on_flush = NULL;
		/* The set is left by whoever flushes next as the owner. */
		CHECK(flushq_cpuset_has(set, 4) && resident(4, 5, set));
		fake_switch(4, 5, set);
		CHECK(!fake.cpu[4].busy && fake.nr_rules_broken == 0);
	}
}

static void unknown(unsigned int self)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake.self = 7; /* who really runs */
	fake.irqs_off[7] = 1;
	flushq_drain(&fake.fq, self);
	CHECK(fake.nr_rules_broken == 1 && fake.nr_flushes == 1);
	CHECK(fake_same(&fake.flush[0].range, &all));
	fake_forget();
	flushq_online(&fake.fq, self);
	CHECK(fake.nr_rules_broken == 1 && fake.nr_flushes == 1);
	CHECK(fake_same(&fake.flush[0].range, &all));
	fake_forget();
	flushq_switch_to(&fake.fq, self, 5, NULL);
	CHECK(fake.nr_rules_broken == 1 && fake.nr_flushes == 1);
	CHECK(fake_same(&fake.flush[0].range, &all));
	fake_forget();
	flushq_leave_lazy(&fake.fq, self);
	CHECK(fake.nr_rules_broken >= 1 && fake.nr_flushes == 1);
	CHECK(fake_same(&fake.flush[0].range, &all));
	fake_forget();
	flushq_enter_lazy(&fake.fq, self);
	flushq_park(&fake.fq, self);
	flushq_switched(&fake.fq, self);
	flushq_offline(&fake.fq, self);
	CHECK(fake.nr_rules_broken == 4 && fake.nr_flushes == 0);
	fake.irqs_off[7] = 0;
	/* As initiator: all of the set is asked, and it flushes everything itself. */
	fake_forget();
	CHECK(flushq_post(&fake.fq, self, set, &r, mask) == 2);
	CHECK(mask[0] == 0x3);
	CHECK(fake.nr_rules_broken == 1 && fake_flushes_on(7) == 1);
	CHECK(fake_same(fake_last_on(7), &all));
	fake_drain(0);
	fake_drain(1);
	fake_forget();
	flushq_shootdown(&fake.fq, self, set, &r);
	CHECK(fake.interrupted[0] == 0x3 && fake_same(fake_last_on(7), &all));
	CHECK(fake_flushed(0, &r) && fake_flushed(1, &r));
	fake_forget();
	CHECK(flushq_post_fenced(&fake.fq, self, set, &r, mask) == 2);
	CHECK(fake_same(fake_last_on(7), &all));
}

TEST(shootdown, unknown_self)
{
	unknown(8);
	unknown(FLUSHQ_NR_CPUS);
	unknown(~0u);
}

TEST(shootdown, set_with_cpus_that_there_are_not)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	set[0] |= 1ul << 8 | 1ul << (FLUSHQ_CPUSET_BITS - 1);
	/* Whoever they are, they are to be interrupted; they are not waited for. */
	CHECK(fake_post(0, set, &r, mask) == 3);
	CHECK(mask[0] == (0x2 | 1ul << 8 | 1ul << (FLUSHQ_CPUSET_BITS - 1)));
	CHECK(fake.nr_rules_broken == 2);
	fake_drain(1);
	fake_forget();
	fake_shootdown(0, set, &r);
	CHECK(fake.interrupted[0] == (0x2 | 1ul << 8 | 1ul << (FLUSHQ_CPUSET_BITS - 1)));
	CHECK(fake_flushed(1, &r) && fake_flushed(0, &r));
	fake_forget();
	CHECK(flushq_post_fenced(&fake.fq, 0, set, &r, mask) == 3);
}

TEST(shootdown, broken_rules_are_told)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	/* Interrupts on. */
	flushq_switch_to(&fake.fq, 0, 5, set);
	CHECK(fake.nr_rules_broken == 1);
	fake_forget();
	flushq_leave_lazy(&fake.fq, 0);
	CHECK(fake.nr_rules_broken == 1);
	fake_forget();
	flushq_online(&fake.fq, 0);
	CHECK(fake.nr_rules_broken == 1 && fake_flushed(0, &all));
	/* An ASID that there is not: taken for one that there is, which is interrupted for both. */
	scene();
	fake_switch(4, 0x10005, set);
	CHECK(fake.nr_rules_broken == 1);
	fake_forget();
	r = flushq_range_make(0x10005, 3 * PAGE, PAGE, PAGE, FLUSHQ_LEAF);
	fake_shootdown(0, set, &r);
	CHECK(fake.interrupted[0] == 0xfe && fake_flushed(4, &r));
}

#if FLUSHQ_NR_CPUS >= 130
TEST(shootdown, several_words)
{
	static const unsigned int users[] = { 1, 63, 64, 65, 127, 128, 129 };
	struct flushq_range r = fake_page(5, 3);
	unsigned int i, cpu;

	begin(130);
	fake_switch(70, 5, set);
	for (i = 0; i < 7; i++)
		fake_switch(users[i], 5, set);
	fake_switch(66, 5, set);
	park(66);
	fake_forget();
	CHECK(fake_post(70, set, &r, mask) == 7);
	for (cpu = 0; cpu < 130; cpu++) {
		bool user = false;

		for (i = 0; i < 7; i++)
			user |= users[i] == cpu;
		CHECK(flushq_cpuset_has(mask, cpu) == user);
	}
	CHECK(fake.event[FLUSHQ_DEFERRED] == 1);
	expect_flush(70, &r);
	for (i = 0; i < 7; i++)
		fake_drain(users[i]);
	fake_forget();
	fake_shootdown(70, set, &r);
	CHECK(fake.nr_interrupts == 1);
	for (i = 0; i < 7; i++)
		expect_flush(users[i], &r);
	CHECK(fake.nr_flushes == 8);
	fake_forget();
	fake_shootdown(129, NULL, &all);
	for (cpu = 0; cpu < 130; cpu++)
		CHECK(fake_flushed(cpu, &all));
	/* Bits beyond the machine in the last word. */
	fake_forget();
	set[2] |= 1ul << 10;
	CHECK(fake_post(70, set, &r, mask) == 8);
	CHECK(fake.nr_rules_broken == 1);
	fake_forget();
	fake_shootdown(129, set, &r);
	CHECK(fake_flushed(70, &r) && fake_flushed(128, &r) && fake_flushed(1, &r));
}
#endif

/* The trace and the counters say the same, whatever was done. */
TEST(shootdown, counters)
{
	unsigned int round, cpu, e;

	begin(4);
	memset(set, 0, sizeof(set));
	for (cpu = 0; cpu < 4; cpu++)
		for (e = 0; e < FLUSHQ_NR_EVENTS; e++)
			fake.event[e] += flushq_count(&fake.fq, cpu, (enum flushq_event)e);
	for (round = 0; round < 3000; round++) {
		struct flushq_range r = fake_page(check_below(3), check_below(9));

		cpu = check_below(4);
		switch (check_below(4)) {
		case 0:
			fake_switch(cpu, check_below(3), set);
			break;
		case 1:
			park(cpu);
			break;
		case 2:
			fake_shootdown(cpu, set, &r);
			break;
		default:
			fake_post(cpu, set, &r, mask);
			fake.pending[0] |= mask[0];
			break;
		}
		if (fake.nr_flushes > FAKE_FLUSHES / 2)
			fake.nr_flushes = 0;
	}
	CHECK(fake.nr_rules_broken == 0);
	for (e = 0; e < FLUSHQ_NR_EVENTS; e++) {
		unsigned long sum = 0;

		for (cpu = 0; cpu < 4; cpu++)
			sum += flushq_count(&fake.fq, cpu, (enum flushq_event)e);
		CHECK(sum == (FLUSHQ_COUNTERS ? fake.event[e] : 0));
	}
	CHECK(fake.event[FLUSHQ_SHOOTDOWNS] > 0 && fake.event[FLUSHQ_FLUSHED_PAGES] > 0);
}

#ifdef CHECK_STEPS

/* The debt, a full fence, then the look; the same once more for who joined late; last the acquire. */
TEST(shootdown, order_of_a_post)
{
	struct flushq_range r = fake_page(5, 3);
	unsigned int debt, fence, look, again;

	scene();
	fake.self = 0;
	set[0] = 0x12;
	record();
	flushq_post(&fake.fq, 0, set, &r, mask);
	record_end();
	debt = find(0, STEP_RMW,
		    &flushq_priv_ring_at(&fake.cpu[4].queue.ring, fake.cpu[4].head)->state);
	fence = find(0, STEP_FENCE_FULL, NULL);
	look = find(0, STEP_LOAD, &fake.cpu[1].context);
	again = find(fence, STEP_LOAD, &set[0]);
	CHECK(debt < fence && fence < again && again < look && look < NOT_FOUND);
	CHECK(find(fence + 1, STEP_FENCE_FULL, NULL) == NOT_FOUND);
	CHECK(find(look, STEP_FENCE_ACQUIRE, NULL) < NOT_FOUND);
}

static void join_late(enum step_kind kind, const volatile void *where)
{
	(void)where;
	if (kind != STEP_FENCE_FULL)
		return;
	steps.hook = NULL;
	fake_switch(6, 5, set);
}

TEST(shootdown, who_joins_meanwhile_is_asked)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	steps.hook = join_late;
	CHECK(fake_post(0, set, &r, mask) == 2);
	steps.hook = NULL;
	CHECK(mask[0] == 0x42);
	fake_forget();
	fake_drain(6);
	expect_flush(6, &r);
}

#endif

#ifdef CHECK_STEPS
/* S1: a set that was found empty is read once more, behind a full fence. */
TEST(shootdown, empty_set_is_read_again)
{
	struct flushq_range r = fake_page(5, 3);
	unsigned int first, fence, again;

	begin(4);
	record();
	fake_post(0, other, &r, mask);
	record_end();
	first = find(0, STEP_LOAD, &other[0]);
	fence = find(first + 1, STEP_FENCE_FULL, NULL);
	again = find(first + 1, STEP_LOAD, &other[0]);
	CHECK(first < fence && fence < again && again < NOT_FOUND);
}
#endif
