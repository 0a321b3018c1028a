/* SPDX-License-Identifier: MIT */
/* What a CPU does for itself: it comes and goes, switches, is lazy. */
#include "scene.h"

#include <string.h>

TEST(owner, init)
{
	unsigned int w;

	fake_reset(4);
	CHECK(fake.nr_rules_broken == 0 && fake.fq.nr == 4);
	CHECK(fake.fq.limit == FLUSHQ_RESIDENT);
	for (w = 0; w < FAKE_WORDS; w++)
		fake.fq.online[w] = ~0ul;
	flushq_init(&fake.fq, fake.cpu, FLUSHQ_NR_CPUS);
	CHECK(fake.nr_rules_broken == 0 && fake.fq.nr == FLUSHQ_NR_CPUS);
	for (w = 0; w < FAKE_WORDS; w++)
		CHECK(fake.fq.online[w] == 0);
	flushq_init(&fake.fq, fake.cpu, FLUSHQ_NR_CPUS + 1);
	CHECK(fake.nr_rules_broken == 1 && fake.fq.nr == FLUSHQ_NR_CPUS);
	flushq_init(&fake.fq, fake.cpu, 0);
	CHECK(fake.nr_rules_broken == 2 && fake.fq.nr == 0);
}

TEST(owner, limit_resident)
{
	fake_reset(4);
	flushq_limit_resident(&fake.fq, 2);
	CHECK(fake.fq.limit == 2);
	flushq_limit_resident(&fake.fq, FLUSHQ_RESIDENT + 1);
	CHECK(fake.fq.limit == FLUSHQ_RESIDENT);
	flushq_limit_resident(&fake.fq, ~0u);
	CHECK(fake.fq.limit == FLUSHQ_RESIDENT);
	flushq_limit_resident(&fake.fq, 1);
	CHECK(fake.fq.limit == 1 && fake.nr_rules_broken == 0);
	flushq_limit_resident(&fake.fq, 0);
	CHECK(fake.nr_rules_broken == 1);
}

TEST(owner, first_switch_of_a_cpu_that_was_never_onlined)
{
	struct flushq_range r = fake_page(5, 3);

	fake_reset(4);
	memset(set, 0, sizeof(set));
	fake_switch(1, 5, set);
	CHECK(fake.nr_rules_broken == 1);
	CHECK(fake_flushed(1, &all));
	CHECK(flushq_cpuset_has(fake.fq.online, 1) && flushq_cpuset_has(set, 1));
	/* From then on it is like any other. */
	fake_forget();
	fake_shootdown(2, set, &r);
	CHECK(fake.interrupted[0] == 0x2);
	expect_flush(1, &r);
}

TEST(owner, debts_from_before_online)
{
	struct flushq_range r = fake_page(5, 3);

	fake_reset(4);
	memset(set, 0, sizeof(set));
	flushq_cpuset_add(set, 1);
	/* Offline: owed, not interrupted. */
	fake_shootdown(2, set, &r);
	CHECK(fake.nr_interrupts == 0 && fake.event[FLUSHQ_DEFERRED] == 1);
	fake.self = 1;
	fake.irqs_off[1] = 1;
	flushq_online(&fake.fq, 1);
	fake.irqs_off[1] = 0;
	CHECK(fake_flushed(1, &all));
	CHECK(fake.cpu[1].context == FLUSHQ_CONTEXT_PARKED);
	CHECK(fake.nr_rules_broken == 0);
}

TEST(owner, leave_lazy)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	/* Lazy on 5 with a debt: pays, and is interrupted again from then on. */
	fake_post(0, set, &r, mask);
	unlazy(3);
	expect_flush(3, &r);
	CHECK(fake.cpu[3].context == flushq_context_loaded(5));
	/* Parked: stays so, and still owes. */
	unlazy(4);
	CHECK(fake.cpu[4].context == FLUSHQ_CONTEXT_PARKED);
	CHECK(fake_flushes_on(4) == 0 && fake.cpu[4].resident.nr_owed == 1);
	CHECK(fake.nr_rules_broken == 0);
	/* Loaded: stays so. */
	unlazy(1);
	CHECK(fake.cpu[1].context == flushq_context_loaded(5));
	expect_flush(1, &r);
	/* Never onlined: everything. */
	fake_reset(4);
	unlazy(2);
	CHECK(fake_flushed(2, &all) && fake.nr_rules_broken == 1);
	CHECK(fake.cpu[2].context == FLUSHQ_CONTEXT_PARKED);
}

TEST(owner, lazy_and_park)
{
	scene();
	lazy(4);
	CHECK(fake.cpu[4].context == FLUSHQ_CONTEXT_PARKED);
	lazy(1);
	CHECK(fake.cpu[1].context == (flushq_context_loaded(5) | FLUSHQ_CONTEXT_LAZY));
	lazy(1);
	CHECK(fake.cpu[1].context == (flushq_context_loaded(5) | FLUSHQ_CONTEXT_LAZY));
	park(1);
	CHECK(fake.cpu[1].context == FLUSHQ_CONTEXT_PARKED);
	fake_reset(4);
	lazy(2);
	park(2);
	CHECK(fake.cpu[2].context == FLUSHQ_CONTEXT_OFFLINE);
}

/* Lazy is in the register, whose entries it may still hold: paid for at once, and once only. */
TEST(owner, switch_away_from_lazy)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake_switch(3, 6, other);
	fake_switch(3, 5, set);
	lazy(3);
	fake_forget();
	fake_post(0, set, &r, mask);
	CHECK(mask[0] == 0x2);
	fake_switch(3, 6, other);
	CHECK(fake.cpu[3].context == flushq_context_loaded(6));
	expect_flush(3, &r);
	fake_switch(3, 5, set);
	CHECK(fake_flushes_on(3) == 1);
}

/*
 * B1, B21: from flushq_switch_to() on the CPU is asked about the new address space, and until
 * flushq_switched() about anybody's freed tables: the register may hold either.
 */
TEST(owner, between_switch_to_and_switched)
{
	struct flushq_range fresh = fake_page(5, 3), old = fake_page(6, 3);
	struct flushq_range tables = flushq_range_make(6, 3 * PAGE, PAGE, PAGE, FLUSHQ_TABLES);

	scene();
	fake_switch(6, 6, other);
	fake_forget();
	fake.self = 6;
	fake.irqs_off[6] = 1;
	flushq_switch_to(&fake.fq, 6, 5, set);
	fake.self = 0;
	CHECK(flushq_cpuset_has(set, 6));
	fake_post(0, set, &fresh, mask);
	CHECK(mask[0] == 0x42);
	fake_post(0, other, &old, mask);
	CHECK(mask[0] == 0);
	fake_post(0, other, &tables, mask);
	CHECK(mask[0] == 0x40);
	fake.self = 6;
	flushq_switched(&fake.fq, 6);
	fake.irqs_off[6] = 0;
	fake.self = 0;
	CHECK(fake.cpu[6].context == flushq_context_loaded(5));
	fake_post(0, other, &tables, mask);
	CHECK(mask[0] == 0);
	fake_post(0, set, &fresh, mask);
	CHECK(mask[0] == 0x42);
	CHECK(fake.nr_rules_broken == 0);
	/* Without interrupts off it is told. */
	flushq_switched(&fake.fq, 0);
	CHECK(fake.nr_rules_broken == 1 && fake.cpu[0].context == flushq_context_loaded(5));
}

/* Only a flush orders the walks of a CPU that has just joined (RISC-V: no fence does). Once. */
TEST(owner, who_joins_flushes_the_asid_once)
{
	struct flushq_range whole = flushq_range_whole(9, FLUSHQ_TABLES);

	scene();
	fake_switch(3, 9, other);
	CHECK(flushq_cpuset_has(other, 3));
	expect_flush(3, &whole);
	CHECK(fake.event[FLUSHQ_JOINED] == 1 && fake.event[FLUSHQ_FLUSHED_ASIDS] == 1);
	fake_forget();
	fake_switch(3, 9, other);
	fake_switch(3, 5, set);
	fake_switch(3, 9, other);
	CHECK(fake_flushes_on(3) == 0 && fake.event[FLUSHQ_JOINED] == 0);
	/* Where the host joins, it need not have been asked before. */
	flushq_cpuset_add(other, 7);
	fake_switch(7, 9, NULL);
	expect_flush(7, &whole);
	fake_forget();
	fake_switch(7, 9, NULL);
	CHECK(fake_flushes_on(7) == 0);
}

TEST(owner, offline)
{
	struct flushq_range r = fake_page(5, 3), asid5 = flushq_range_whole(5, FLUSHQ_TABLES);
	struct flushq_range kernel = flushq_range_make(0, 3 * PAGE, PAGE, PAGE, FLUSHQ_GLOBAL);

	scene();
	fake_switch(4, 6, other);
	fake_post(0, set, &r, mask);
	fake_drain(4);
	CHECK(fake.cpu[4].resident.nr_owed == 1);
	park(4);
	fake_forget();
	offline(4);
	expect_flush(4, &all);
	CHECK(fake.event[FLUSHQ_FLUSHED_ALL] == 1 && fake.event[FLUSHQ_LEFT] == 2);
	CHECK(!flushq_cpuset_has(set, 4) && !flushq_cpuset_has(other, 4));
	CHECK(!flushq_cpuset_has(fake.fq.online, 4));
	CHECK(fake.cpu[4].context == FLUSHQ_CONTEXT_OFFLINE);
	CHECK(fake.cpu[4].resident.used == 0 && fake.cpu[4].resident.nr_owed == 0);
	/* Nobody asks it for anything. */
	fake_forget();
	fake_post(0, set, &r, mask);
	CHECK(mask[0] == 0x2 && fake.event[FLUSHQ_DEFERRED] == 2);
	fake_post(0, NULL, &kernel, mask);
	CHECK(mask[0] == 0xee);
	CHECK(flushq_ring_idle(&fake.cpu[4].queue.ring, fake.cpu[4].head));
	/* An interrupt that was on its way. */
	fake_drain(4);
	CHECK(fake_flushes_on(4) == 0 && fake.cpu[4].context == FLUSHQ_CONTEXT_OFFLINE);
	/* It comes back with nothing. */
	online(4);
	expect_flush(4, &all);
	CHECK(flushq_cpuset_has(fake.fq.online, 4));
	CHECK(fake.cpu[4].context == FLUSHQ_CONTEXT_PARKED && set[0] == 0xf);
	fake_forget();
	fake_switch(4, 5, set);
	expect_flush(4, &asid5);
	CHECK(set[0] == 0x1f && fake.nr_rules_broken == 0);
}

/* The set is left, and the CPU goes, only when nothing is left that could be used. */
static void not_left_yet(const struct flushq_range *range)
{
	CHECK(fake_same(range, &all));
	CHECK(flushq_cpuset_has(set, 4) && flushq_cpuset_has(fake.fq.online, 4));
	CHECK(fake.cpu[4].context == FLUSHQ_CONTEXT_PARKED);
}

TEST(owner, offline_flushes_first)
{
	scene();
	fake.on_flush = not_left_yet;
	offline(4);
	CHECK(fake_flushes_on(4) == 1 && !flushq_cpuset_has(set, 4));
}

/* Twice before the register is written: another number was asked for in between, maybe. */
TEST(owner, switches_again)
{
	struct flushq_range asid5 = flushq_range_whole(5, FLUSHQ_TABLES);

	scene();
	switch_to(4, 5, set);
	CHECK(fake_flushes_on(4) == 0);
	switch_to(4, 5, set);
	expect_flush(4, &asid5);
	switched(4);
	fake_forget();
	switch_to(4, 5, set);
	CHECK(fake_flushes_on(4) == 0);
}

/* It never came up, or comes up again without having gone. */
TEST(owner, offline_and_online_out_of_turn)
{
	scene();
	online(4);
	expect_flush(4, &all);
	CHECK(!flushq_cpuset_has(set, 4) && !resident(4, 5, set));
	CHECK(flushq_cpuset_has(fake.fq.online, 4));
	offline(4);
	offline(4);
	CHECK(fake.cpu[4].context == FLUSHQ_CONTEXT_OFFLINE && fake.nr_rules_broken == 0);
	unlazy(4);
	CHECK(fake.nr_rules_broken == 1 && fake.cpu[4].context == FLUSHQ_CONTEXT_PARKED);
	CHECK(flushq_cpuset_has(fake.fq.online, 4));
	/* With an address space in the register: told, and nothing of it is left. */
	scene();
	offline(1);
	CHECK(fake.nr_rules_broken == 1 && fake_flushed(1, &all));
	CHECK(!flushq_cpuset_has(set, 1) && !resident(1, 5, set));
	fake_forget();
	fake_switch(1, 5, set);
	CHECK(fake.nr_rules_broken == 1 && fake_flushed(1, &all) && flushq_cpuset_has(set, 1));
	/* Interrupts on. */
	scene();
	flushq_offline(&fake.fq, 4);
	CHECK(fake.nr_rules_broken == 1);
}

static bool same_line(const volatile void *a, const volatile void *b)
{
	return (uintptr_t)a / FLUSHQ_CACHE_LINE == (uintptr_t)b / FLUSHQ_CACHE_LINE;
}

TEST(owner, layout)
{
	const struct flushq_cpu *cpu = fake.cpu;
	const volatile void *owners[] = { &cpu->context,  &cpu->drains, &cpu->head,    &cpu->busy,
					  &cpu->again,	  &cpu->stray,	&cpu->current, &cpu->counts,
					  &cpu->resident, &cpu->debt };
	const volatile void *producers[] = { &cpu->queue.ring.tail, &cpu->queue.ring.sticky,
					     &cpu->queue.ring.slot[0], &cpu->bell };
	unsigned int i, j;

	for (i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
		for (j = 0; j < sizeof(producers) / sizeof(producers[0]); j++)
			CHECK(!same_line(owners[i], producers[j]));
	CHECK(!same_line((const char *)&cpu->queue - 1, &cpu->queue.ring.tail));
	CHECK(!same_line(&cpu->queue.ring.tail, &cpu->queue.ring.sticky));
	CHECK(!same_line(&cpu->queue.ring.sticky, &cpu->queue.ring.slot[0]));
	CHECK(!same_line(&cpu->queue.ring.slot[SLOTS - 1], &cpu->bell));
	/* What a switch writes and what a waiter reads are together. */
	CHECK(same_line(&cpu->context, &cpu->head));
	CHECK(sizeof(struct flushq_cpu) % FLUSHQ_CACHE_LINE == 0);
	CHECK((uintptr_t)cpu % FLUSHQ_CACHE_LINE == 0);
	CHECK(!same_line(&cpu[0].bell, &cpu[1].context));
	CHECK(sizeof(struct flushq_ring_slot) == (sizeof(long) == 8 ? 16 : 12));
	if (SLOTS == 64)
		CHECK(sizeof(struct flushq_queue) <= 2048);
}

#ifdef CHECK_STEPS

TEST(owner, empty_switch)
{
	scene();
	fake_switch(4, 5, set);
	park(4);
	fake.irqs_off[4] = 1;
	fake.self = 4;
	memset(&steps, 0, sizeof(steps));
	flushq_switch_to(&fake.fq, 4, 5, set);
	CHECK(steps.n[STEP_STORE] == 1);
	CHECK(steps.n[STEP_FENCE_FULL] == 1);
	/* the set, its own context; the head's slot, the sticky bits */
	CHECK(steps.n[STEP_LOAD] == 4);
	CHECK(steps.n[STEP_RMW] == 0 && steps.n[STEP_FENCE_ACQUIRE] == 0 &&
	      steps.n[STEP_FENCE_RELEASE] == 0);
	memset(&steps, 0, sizeof(steps));
	flushq_switched(&fake.fq, 4);
	CHECK(steps.n[STEP_LOAD] == 1 && steps.n[STEP_STORE] == 1 &&
	      steps.n[STEP_FENCE_FULL] == 0 && steps.n[STEP_RMW] == 0);
	CHECK(fake.nr_flushes == 0);
	/* The host's own set is not looked at. */
	fake_switch(4, 6, NULL);
	fake_switch(4, 5, set);
	fake_forget();
	fake.self = 4;
	memset(&steps, 0, sizeof(steps));
	flushq_switch_to(&fake.fq, 4, 6, NULL);
	CHECK(steps.n[STEP_LOAD] == 3 && steps.n[STEP_STORE] == 1 && steps.n[STEP_FENCE_FULL] == 1);
	CHECK(fake.nr_flushes == 0 && fake.nr_rules_broken == 0);
}

/* B1: the context is written, then a full fence, then the debts are read; and the set before. */
TEST(owner, order_of_a_switch)
{
	unsigned int joined, context, fence, slot, sticky;

	begin(8);
	fake.irqs_off[4] = 1;
	fake.self = 4;
	record();
	flushq_switch_to(&fake.fq, 4, 5, set);
	record_end();
	joined = find(0, STEP_RMW, &set[0]);
	context = find(0, STEP_STORE, &fake.cpu[4].context);
	fence = find(0, STEP_FENCE_FULL, NULL);
	slot = find(0, STEP_LOAD,
		    &flushq_priv_ring_at(&fake.cpu[4].queue.ring, fake.cpu[4].head)->state);
	sticky = find(0, STEP_LOAD, &fake.cpu[4].queue.ring.sticky);
	CHECK(joined < context && context < fence && fence < slot && fence < sticky);
	CHECK(slot < 64 && sticky < NOT_FOUND);
}

#endif
