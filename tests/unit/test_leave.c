/* SPDX-License-Identifier: MIT */
/* What a CPU keeps of address spaces that it does not run: how they age, what is owed to them, when
 * it leaves their sets. */
#include "scene.h"

#include <string.h>

#define MANY (FLUSHQ_RESIDENT + 4)

static flushq_atomic_ulong sets[MANY][FAKE_WORDS];

/* Address space i has ASID 100 + i and sets[i]. All is done by CPU 1. */
static void start(unsigned int limit)
{
	begin(4);
	memset(sets, 0, sizeof(sets));
	flushq_limit_resident(&fake.fq, limit);
	CHECK(fake.nr_rules_broken == 0);
}

static void run(unsigned int i)
{
	fake_switch(1, 100 + i, sets[i]);
}

static bool member(unsigned int i)
{
	return flushq_cpuset_has(sets[i], 1);
}

static unsigned int members(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < MANY; i++)
		n += member(i);
	return n;
}

static struct flushq_range whole_of(unsigned int i)
{
	return flushq_range_whole(100 + i, FLUSHQ_TABLES);
}

/* Where and in what the table and the sets agree. */
static void check_table(void)
{
	const struct flushq_resident *res = &fake.cpu[1].resident;
	unsigned int i;

	CHECK(!(res->loaded & ~res->used));
	for (i = 0; i < MANY; i++)
		CHECK(member(i) == resident(1, 100 + i, sets[i]));
}

TEST(leave, the_one_that_ran_longest_ago)
{
	unsigned int limit, i;

	for (limit = 2; limit <= FLUSHQ_RESIDENT; limit++) {
		start(limit);
		for (i = 0; i < MANY; i++) {
			struct flushq_range in = whole_of(i), out;
			bool ages = i >= limit;

			fake_forget();
			run(i);
			CHECK(fake_flushes_on(1) == 1u + ages && fake_flushed(1, &in));
			CHECK(fake.event[FLUSHQ_JOINED] == 1 && fake.event[FLUSHQ_AGED] == ages &&
			      fake.event[FLUSHQ_LEFT] == ages);
			if (ages) {
				out = whole_of(i - limit);
				CHECK(fake_flushed(1, &out) && !member(i - limit));
			}
			CHECK(members() == (ages ? limit : i + 1));
			check_table();
		}
		/* Those that are kept cost nothing. */
		fake_forget();
		for (i = MANY - limit; i < MANY; i++)
			run(i);
		CHECK(fake.nr_flushes == 0 && fake.nr_rules_broken == 0);
	}
}

/* The register's stays in any case, so with 1 there are two while it is switched. */
TEST(leave, limit_of_one)
{
	unsigned int i;

	start(1);
	for (i = 0; i < MANY; i++) {
		run(i);
		CHECK(member(i) && members() <= 2);
		check_table();
	}
	park(1);
	run(0);
	CHECK(members() == 1);
	/* 0 is told, and taken for that. */
	fake_reset(4);
	flushq_limit_resident(&fake.fq, 0);
	CHECK(fake.nr_rules_broken == 1);
	online(1);
	memset(sets, 0, sizeof(sets));
	for (i = 0; i < MANY; i++) {
		run(i);
		CHECK(member(i) && members() <= 2);
	}
}

TEST(leave, least_recently_used)
{
	unsigned int limit, round, k, n = 0, order[FLUSHQ_RESIDENT + 1];

	for (limit = 2; limit <= FLUSHQ_RESIDENT; limit += 1 + FLUSHQ_RESIDENT / 4) {
		start(limit);
		n = 0;
		/* Differences of a clock that wraps. */
		fake.cpu[1].resident.clock = ~0u - 500;
		for (round = 0; round < 2000; round++) {
			unsigned int i = check_below(MANY);

			for (k = 0; k < n && order[k] != i; k++)
				;
			fake_forget();
			run(i);
			CHECK(fake.event[FLUSHQ_JOINED] == (k == n));
			CHECK(fake.event[FLUSHQ_AGED] == (k == n && n == limit));
			/* To the front. */
			if (k == n && n < limit)
				n++;
			if (k == limit)
				k--;
			for (; k > 0; k--)
				order[k] = order[k - 1];
			order[0] = i;
			for (k = 0; k < n; k++)
				CHECK(member(order[k]));
			CHECK(members() == n);
			check_table();
		}
	}
}

static unsigned long when_flushed;

static void look_at_the_set(const struct flushq_range *range)
{
	if (range->asid == 100)
		when_flushed = sets[0][0];
}

/* The set's bit goes behind the flush: until then an initiator must find this CPU. */
TEST(leave, flush_then_leave)
{
	unsigned int how;

	for (how = 0; how < 5; how++) {
		struct flushq_range whole = whole_of(0), r = fake_page(100, 1);
		unsigned int i;

		start(how == 0 ? 2 : FLUSHQ_RESIDENT);
		run(0);
		run(1);
		fake_forget();
		when_flushed = 0;
		fake.on_flush = look_at_the_set;
		switch (how) {
		case 0: /* aged */
			run(2);
			break;
		case 1: /* asked for */
			owe(1, &whole);
			fake_drain(1);
			break;
		case 2: /* by the mark */
			for (i = 0; i < SLOTS; i++)
				owe(1, &r);
			flushq_queue_put(&fake.cpu[1].queue, &r);
			fake_drain(1);
			break;
		case 3: /* by itself */
			fake_post(1, sets[0], &whole, mask);
			break;
		default: /* its ASID is another's */
			fake_switch(1, 100, sets[3]);
			break;
		}
		CHECK(when_flushed == 2 && sets[0][0] == 0);
		CHECK(fake.event[FLUSHQ_LEFT] == 1 && fake.event[FLUSHQ_AGED] == (how == 0));
		CHECK(!resident(1, 100, sets[0]) && member(1));
		/* Who is not asked has nothing: it flushes when it returns. */
		fake_forget();
		fake_post(0, sets[0], &r, mask);
		CHECK(fake.event[FLUSHQ_DEFERRED] == 0);
		CHECK(flushq_ring_idle(&fake.cpu[1].queue.ring, fake.cpu[1].head));
		run(0);
		CHECK(fake_flushed(1, &whole) && fake.event[FLUSHQ_JOINED] == 1 && member(0));
	}
}

/* What may be in the register is not left, whatever is flushed. */
TEST(leave, never_what_is_in_the_register)
{
	struct flushq_range a = whole_of(0), b = whole_of(1);
	unsigned int i;

	start(2);
	run(0);
	owe(1, &a);
	fake_drain(1);
	CHECK(fake_flushed(1, &a) && member(0));
	fake_shootdown(0, NULL, &all);
	CHECK(member(0) && resident(1, 100, sets[0]));
	lazy(1);
	fake_shootdown(0, NULL, &all);
	CHECK(member(0));
	/* Both sides of a switch. */
	switch_to(1, 101, sets[1]);
	CHECK(members() == 2);
	owe(1, &a);
	fake_drain(1);
	flushq_queue_put(&fake.cpu[1].queue, &b);
	fake_drain(1);
	fake_shootdown(0, NULL, &all);
	CHECK(members() == 2);
	/* Three of them, past the limit. */
	fake_forget();
	switch_to(1, 102, sets[2]);
	CHECK(members() == 3 && fake.event[FLUSHQ_AGED] == 0);
	/* But the one in between was given up: that leaves no trace, nor does what was there before. */
	switched(1);
	CHECK(members() == 1 && member(2));
	fake_shootdown(0, NULL, &all);
	CHECK(members() == 1 && member(2));
	check_table();
	/* Parked: none. */
	park(1);
	fake_shootdown(0, NULL, &all);
	CHECK(members() == 0 && fake.cpu[1].resident.used == 0);
	/* The limit is not for the register. */
	for (i = 0; i < FLUSHQ_RESIDENT; i++) {
		switch_to(1, 100 + i, sets[i]);
		CHECK(members() == i + 1);
	}
	CHECK(fake.nr_rules_broken == 0);
}

/*
 * More of them without flushq_switched() than the table has room for. The CPU does not know then what
 * may be in its register: each drain flushes everything, and no set is left.
 */
TEST(leave, stray)
{
	struct flushq_range whole = whole_of(FLUSHQ_RESIDENT),
			    r = fake_page(100 + FLUSHQ_RESIDENT, 1);
	struct flushq_range never = fake_page(99, 1);
	unsigned int i;

	start(FLUSHQ_RESIDENT);
	for (i = 0; i < FLUSHQ_RESIDENT; i++)
		switch_to(1, 100 + i, sets[i]);
	CHECK(!fake.cpu[1].stray);
	fake_forget();
	switch_to(1, 100 + i, sets[i]);
	CHECK(fake_flushed(1, &whole));
	CHECK(member(i) && !resident(1, 100 + i, sets[i]) && fake.cpu[1].stray);
	/* Who is not in the table may be it. */
	fake_forget();
	fake_post(0, sets[i], &r, mask);
	CHECK(mask[0] == 2);
	fake_drain(1);
	expect_flush(1, &all);
	fake_forget();
	switched(1);
	CHECK(fake_flushed(1, &whole) && fake.cpu[1].stray);
	fake_forget();
	fake_post(1, sets[i], &r, mask);
	expect_flush(1, &r);
	flushq_queue_put(&fake.cpu[1].queue, &never);
	fake_drain(1);
	CHECK(fake_flushed(1, &never));
	CHECK(members() == FLUSHQ_RESIDENT + 1 && fake.cpu[1].resident.used == 0);
	/* It comes again: now there is room. */
	fake_forget();
	run(i);
	CHECK(fake_flushed(1, &whole) && resident(1, 100 + i, sets[i]) && !fake.cpu[1].stray);
	fake_forget();
	flushq_queue_put(&fake.cpu[1].queue, &never);
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 0);
	/* And parked, nothing is. */
	for (i = 0; i <= FLUSHQ_RESIDENT; i++)
		switch_to(1, 100 + i, sets[i]);
	CHECK(fake.cpu[1].stray);
	park(1);
	fake_forget();
	flushq_queue_put(&fake.cpu[1].queue, &never);
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 0 && fake.nr_rules_broken == 0);
}

/*
 * A stray is in the register when a switch to another address space with its number is given up: what the
 * hardware caches of the stray from then on is not that one's.
 */
TEST(leave, stray_and_a_switch_that_is_given_up)
{
	struct flushq_range whole = flushq_range_whole(50, FLUSHQ_TABLES);
	unsigned int i, parks;

	for (parks = 0; parks < 2; parks++) {
		start(FLUSHQ_RESIDENT);
		for (i = 0; i < FLUSHQ_RESIDENT; i++)
			switch_to(1, 100 + i, sets[i]);
		switch_to(1, 50, sets[i]);
		switched(1);
		CHECK(fake.cpu[1].stray);
		switch_to(1, 50, sets[0]);
		if (parks)
			park(1);
		else
			fake_switch(1, 60, sets[1]);
		CHECK(!fake.cpu[1].stray);
		fake_forget();
		fake_switch(1, 50, sets[0]);
		CHECK(fake_flushed(1, &whole));
		CHECK(fake.nr_rules_broken == 0);
	}
}

/* A stray's set may be that of an entry: who leaves for the one would leave for the other. */
TEST(leave, stray_that_shares_its_set)
{
	struct flushq_range r = fake_page(99, 1);
	unsigned int i;

	start(FLUSHQ_RESIDENT);
	for (i = 0; i < FLUSHQ_RESIDENT; i++)
		switch_to(1, 100 + i, sets[i]);
	switch_to(1, 99, sets[0]);
	CHECK(!resident(1, 99, sets[0]) && resident(1, 100, sets[0]));
	switched(1);
	CHECK(!resident(1, 100, sets[0]) && member(0));
	fake_shootdown(0, NULL, &all);
	CHECK(member(0));
	fake_forget();
	fake_shootdown(0, sets[0], &r);
	CHECK(fake_flushed(1, &r));
}

/* An address space has died while it was parked, and its memory has become another's. */
TEST(leave, set_of_a_new_owner)
{
	struct flushq_range whole = whole_of(0), r = fake_page(100, 1), fresh = fake_page(50, 1);

	/* With its ASID. */
	start(FLUSHQ_RESIDENT);
	run(0);
	run(1);
	owe(1, &r);
	fake_drain(1);
	memset(sets[0], 0, sizeof(sets[0]));
	fake_forget();
	run(0);
	expect_flush(1, &whole);
	CHECK(member(0) && fake.event[FLUSHQ_JOINED] == 1 && fake.cpu[1].resident.nr_owed == 0);
	/* With another: two entries for one set. */
	run(1);
	memset(sets[0], 0, sizeof(sets[0]));
	fake_forget();
	fake_switch(1, 50, sets[0]);
	CHECK(fake_flushed(1, &fresh) && fake.event[FLUSHQ_JOINED] == 1 && member(0));
	/* The old one has gone for good. */
	CHECK(!resident(1, 100, sets[0]));
	run(1);
	owe(1, &whole);
	fake_drain(1);
	CHECK(resident(1, 50, sets[0]) && member(0));
	fake_post(0, sets[0], &fresh, mask);
	fake_forget();
	fake_switch(1, 50, sets[0]);
	CHECK(fake_flushed(1, &fresh));
	/* It leaves a set that it is not in: that is nothing. */
	run(1);
	memset(sets[0], 0, sizeof(sets[0]));
	fake_shootdown(0, NULL, &all);
	CHECK(sets[0][0] == 0 && !resident(1, 50, sets[0]));
	CHECK(fake.nr_rules_broken == 0);
}

/* The number of the dead one comes back, to the new one: what is cached under it is not its. */
TEST(leave, number_of_a_dead_owner)
{
	struct flushq_range whole = whole_of(0);

	start(FLUSHQ_RESIDENT);
	run(0);
	run(1);
	memset(sets[0], 0, sizeof(sets[0]));
	fake_switch(1, 50, sets[0]);
	CHECK(!resident(1, 100, sets[0]) && member(0));
	run(1);
	fake_forget();
	fake_switch(1, 100, sets[0]);
	CHECK(fake_flushed(1, &whole) && fake.event[FLUSHQ_JOINED] == 1 && member(0));
	CHECK(fake.nr_rules_broken == 0);
}

/* An address space gets another ASID and keeps its set: member until both are gone. */
TEST(leave, two_asids_of_one_set)
{
	struct flushq_range old = whole_of(0), now = flushq_range_whole(50, FLUSHQ_TABLES);
	unsigned int first;

	for (first = 0; first < 2; first++) {
		start(FLUSHQ_RESIDENT);
		run(0);
		fake_switch(1, 50, sets[0]);
		CHECK(fake_flushed(1, &now));
		run(1);
		fake_forget();
		owe(1, first ? &old : &now);
		fake_drain(1);
		CHECK(member(0) && fake.event[FLUSHQ_LEFT] == 0);
		CHECK(resident(1, 100, sets[0]) == !first && resident(1, 50, sets[0]) == first);
		owe(1, first ? &now : &old);
		fake_drain(1);
		CHECK(!member(0) && fake.event[FLUSHQ_LEFT] == 1);
	}
}

/* An ASID gets another address space while the CPU has the old one in the register, where it may
 * cache entries until that is written: they go behind it. */
TEST(leave, two_sets_of_one_asid)
{
	struct flushq_range whole = whole_of(0);

	start(FLUSHQ_RESIDENT);
	run(0);
	fake_forget();
	switch_to(1, 100, sets[1]);
	expect_flush(1, &whole);
	CHECK(member(0) && member(1));
	fake_forget();
	switched(1);
	expect_flush(1, &whole);
	CHECK(!member(0) && member(1) && fake.event[FLUSHQ_LEFT] == 1);
	CHECK(resident(1, 100, sets[1]) && !resident(1, 100, sets[0]));
	/* Parked: the flush on joining is enough. */
	park(1);
	fake_forget();
	switch_to(1, 100, sets[2]);
	expect_flush(1, &whole);
	CHECK(!member(1) && member(2));
	switched(1);
	CHECK(fake_flushes_on(1) == 1);
	/* The same again, and another ASID: nothing. */
	run(3);
	fake_forget();
	fake_switch(1, 100, sets[2]);
	fake_switch(1, 100, sets[2]);
	CHECK(fake_flushes_on(1) == 0 && fake.nr_rules_broken == 0);
	/* Several may be in the register by now. */
	switch_to(1, 103, sets[3]);
	switch_to(1, 100, sets[1]);
	fake_forget();
	switched(1);
	CHECK(fake_flushed(1, &whole) && fake_flushes_on(1) == 2);
	CHECK(member(1) && !member(2) && !member(3));
}

/*
 * The same, but the switch is given up on the way: what is written then is another. The CPU must not
 * keep two address spaces of one ASID, and no longer know which of them the entries are of.
 */
TEST(leave, two_sets_of_one_asid_and_a_third)
{
	struct flushq_range whole = whole_of(0);
	unsigned int parks;

	for (parks = 0; parks < 2; parks++) {
		start(FLUSHQ_RESIDENT);
		run(0);
		switch_to(1, 100, sets[1]);
		/* Here the hardware may still cache what is of sets[0]. */
		fake_forget();
		if (parks)
			park(1);
		else
			run(2);
		fake_switch(1, 100, sets[1]);
		CHECK(fake_flushed(1, &whole));
		fake_forget();
		fake_switch(1, 100, sets[0]);
		CHECK(fake_flushed(1, &whole) && member(0) && !member(1));
	}
}

/*
 * A host's own ASIDs. One switch was given up, so the host may give that address space another ASID, behind a flush of
 * everything its first one again, or that to another address space where the set is the host's: what was
 * asked for in between was asked for under another number, or not at all.
 */
static void given_up(flushq_atomic_ulong *in, unsigned int parks)
{
	struct flushq_range whole = whole_of(0), r = fake_page(99, 1);

	start(FLUSHQ_RESIDENT);
	run(3);
	switch_to(1, 100, in);
	if (in)
		fake_shootdown(0, NULL, &all);
	else
		owe(1, &whole);
	fake_drain(1);
	if (parks)
		park(1);
	else
		run(2);
	fake_shootdown(0, in ? in : sets[0], &r);
	fake_drain(1);
	fake_forget();
	fake_switch(1, 100, in);
	CHECK(fake_flushed(1, &whole));
	CHECK(fake.nr_rules_broken == 0);
}

TEST(leave, what_was_given_up)
{
	unsigned int parks;

	for (parks = 0; parks < 2; parks++) {
		given_up(sets[0], parks);
		given_up(NULL, parks);
	}
}

/* The host keeps the set, and it only. */
TEST(leave, sets_of_the_host)
{
	struct flushq_range whole = whole_of(0);

	start(FLUSHQ_RESIDENT);
	flushq_cpuset_add(sets[0], 1);
	fake_switch(1, 100, NULL);
	fake_switch(1, 101, NULL);
	fake_forget();
	owe(1, &whole);
	fake_drain(1);
	CHECK(!resident(1, 100, NULL) && member(0) && fake.event[FLUSHQ_LEFT] == 0);
	fake_forget();
	fake_switch(1, 100, NULL);
	expect_flush(1, &whole);
}

/* What is owed to what is parked waits, merged, until it is switched to; and is paid once. */
TEST(leave, debts_wait)
{
	struct flushq_range a = fake_page(100, 3), b = fake_page(100, 4), both = a;
	unsigned int i;

	start(FLUSHQ_RESIDENT);
	run(0);
	run(1);
	fake_forget();
	fake_post(0, sets[0], &a, mask);
	CHECK(mask[0] == 0 && fake.event[FLUSHQ_DEFERRED] == 1);
	/* Whatever happens meanwhile. */
	fake_drain(1);
	run(2);
	lazy(1);
	unlazy(1);
	park(1);
	run(1);
	CHECK(fake.cpu[1].resident.nr_owed == 1);
	if (FLUSHQ_PAGES_MAX > 1) {
		fake_post(0, sets[0], &b, mask);
		fake_drain(1);
		both.pages = 2;
	}
	for (i = 0; i < 3 * SLOTS; i++) {
		fake_post(0, sets[0], &a, mask);
		fake_drain(1);
	}
	CHECK(fake.event[FLUSHQ_OVERFLOWS] == 0 && fake.cpu[1].resident.nr_owed == 1);
	CHECK(fake.event[FLUSHQ_FLUSHED_PAGES] == 0 && member(0));
	fake_forget();
	run(0);
	expect_flush(1, &both);
	CHECK(fake.event[FLUSHQ_FLUSHED_PAGES] == flushq_range_cost(&both));
	run(1);
	run(0);
	CHECK(fake_flushes_on(1) == 1 && fake.cpu[1].resident.nr_owed == 0);
}

/* All that is owed to one, and nothing of the others. */
TEST(leave, debts_of_one)
{
	unsigned int i, n = FLUSHQ_OWED < 3 ? FLUSHQ_OWED : 3;

	if (FLUSHQ_PAGES_MAX < 3)
		return;
	start(FLUSHQ_RESIDENT);
	run(0);
	run(1);
	park(1);
	for (i = 0; i < n; i++) {
		struct flushq_range r = fake_page(100 + i % 2, 10 * i);

		owe(1, &r);
		fake_drain(1);
	}
	fake_forget();
	run(0);
	for (i = 0; i < n; i++) {
		struct flushq_range r = fake_page(100 + i % 2, 10 * i);

		CHECK(fake_flushed(1, &r) == (i % 2 == 0));
	}
	CHECK(fake_flushes_on(1) == (n + 1) / 2);
	CHECK(fake.cpu[1].resident.nr_owed == n / 2);
}

/* Debts past the pages that are flushed one by one, or past the room for them. */
TEST(leave, debts_grow_into_all_of_the_asid)
{
	struct flushq_range whole = whole_of(0);
	unsigned int i;

	start(FLUSHQ_RESIDENT);
	run(0);
	run(1);
	fake_forget();
	for (i = 0; i < FLUSHQ_PAGES_MAX && i < FLUSHQ_OWED; i++) {
		struct flushq_range r = fake_page(100, 2 * i);

		owe(1, &r);
		fake_drain(1);
		CHECK(fake_flushes_on(1) == 0 && fake.cpu[1].resident.nr_owed == i + 1);
	}
	{
		struct flushq_range r = fake_page(100, 2 * i);

		owe(1, &r);
		fake_drain(1);
	}
	expect_flush(1, &whole);
	CHECK(!member(0) && fake.cpu[1].resident.nr_owed == 0 && fake.event[FLUSHQ_LEFT] == 1);
	/* No longer owed anything: not even looked at. */
	fake_forget();
	fake_post(0, sets[0], &whole, mask);
	CHECK(fake.event[FLUSHQ_DEFERRED] == 0);
	run(0);
	expect_flush(1, &whole);
	CHECK(member(1));
}

/* What ages takes its debts along. */
TEST(leave, debts_of_what_ages)
{
	struct flushq_range r = fake_page(100, 3), whole = whole_of(0);

	start(2);
	run(0);
	run(1);
	owe(1, &r);
	fake_drain(1);
	CHECK(fake.cpu[1].resident.nr_owed == 1);
	fake_forget();
	run(2);
	CHECK(fake_flushed(1, &whole) && fake.cpu[1].resident.nr_owed == 0);
	CHECK(fake.event[FLUSHQ_FLUSHED_PAGES] == 0);
}

TEST(leave, everything_flushed)
{
	struct flushq_range r = fake_page(100, 3), kernel = r;
	unsigned int i, n = FLUSHQ_RESIDENT;

	kernel.asid = 0;
	kernel.kind = FLUSHQ_GLOBAL;
	start(FLUSHQ_RESIDENT);
	for (i = 0; i < n; i++)
		run(i);
	owe(1, &r);
	fake_drain(1);
	/* Pages of the kernel's leave the rest as it is. */
	fake_shootdown(0, NULL, &kernel);
	CHECK(members() == n && fake.cpu[1].resident.nr_owed == 1);
	fake_forget();
	fake_shootdown(0, NULL, &all);
	CHECK(members() == 1 && member(n - 1) && fake.cpu[1].resident.nr_owed == 0);
	CHECK(fake.event[FLUSHQ_LEFT] == n - 1);
	check_table();
	fake_forget();
	run(0);
	CHECK(fake.event[FLUSHQ_JOINED] == 1 && fake.event[FLUSHQ_FLUSHED_PAGES] == 0);
	CHECK(fake.nr_rules_broken == 0);
}
