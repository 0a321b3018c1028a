/* SPDX-License-Identifier: MIT */
/* Interrupts, bells, and when a wait ends. */
#include "scene.h"

TEST(wait, high_call_waits)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake.held = true;
	fake_shootdown(0, set, &r);
	CHECK(fake.nr_relaxed > 0);
	expect_flush(1, &r);
}

static struct flushq_range second;
static unsigned int second_done;

static void second_initiator(void)
{
	if (!second_done++) {
		fake_shootdown(2, set, &second);
		/* Its target was interrupted once, for both. */
		CHECK(fake.nr_interrupts == 1);
		CHECK(fake_flushed(1, &second));
		return;
	}
	fake_deliver();
}

/* The bell: who finds it rung sends nothing, and waits for the same drain. */
TEST(wait, interrupts_coalesce)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	park(0);
	fake.held = true;
	fake.on_relax = second_initiator;
	second = fake_page(5, 4);
	second_done = 0;
	fake_shootdown(4, set, &r);
	CHECK(second_done >= 2);
	CHECK(fake.nr_interrupts == 1 && fake.interrupted[0] == 0x2);
	CHECK(fake.event[FLUSHQ_IPI_SENT] == 1 && fake.event[FLUSHQ_IPI_COALESCED] == 1);
	CHECK(fake_flushed(1, &r) && fake_flushed(1, &second));
	CHECK(fake.event[FLUSHQ_DRAINS] == 1);
}

static void owe_self(void)
{
	struct flushq_range r = fake_page(5, 9);
	static bool once;

	if (!once) {
		once = true;
		/* CPU 1, itself inside the call, has posted to 0 and rung. */
		CHECK(flushq_queue_put(&fake.cpu[0].queue, &r) != FLUSHQ_PUT_COVERED);
		fake.cpu[0].bell = 1;
		return;
	}
	CHECK(fake.cpu[0].bell == 0);
	CHECK(fake_flushed(0, &r));
	fake_deliver();
}

/* B6, B10, B11: two CPUs that wait for each other with interrupts off. */
TEST(wait, serves_itself_while_it_waits)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake.held = true;
	fake.on_relax = owe_self;
	fake.irqs_off[0] = 1;
	fake_shootdown(0, set, &r);
	CHECK(fake.irqs_off[0] == 1);
	CHECK(fake_flushed(1, &r));
}

struct turn {
	uint32_t drains, bell;
};

static const struct turn *turn;
static unsigned int turns_taken;

static void take_turn(void)
{
	turns_taken++;
	turn++;
	fake.cpu[1].drains = turn->drains;
	fake.cpu[1].bell = turn->bell;
}

/* When a wait may end: with a drain that began after the bell was rung. */
TEST(wait, wait_takes_no_older_drain)
{
	static const struct {
		struct turn turn[5];
		unsigned int ends;
	} wait[] = {
		{ { { 4, 1 }, { 5, 0 }, { 6, 0 } }, 2 },
		{ { { 4, 1 }, { 5, 1 }, { 5, 0 }, { 6, 0 } }, 3 },
		/* It ran before: that one may have read the queue already. */
		{ { { 5, 1 }, { 6, 1 }, { 7, 0 }, { 8, 0 } }, 3 },
		{ { { 5, 1 }, { 6, 1 }, { 7, 1 }, { 7, 0 }, { 8, 0 } }, 4 },
		/* It is the one that silenced the bell. */
		{ { { 5, 0 }, { 6, 0 } }, 1 },
		{ { { 5, 1 }, { 5, 0 }, { 6, 0 } }, 2 },
		{ { { 6, 0 } }, 0 },
		/* Drained, and rung again by somebody else. */
		{ { { 4, 1 }, { 6, 1 } }, 1 },
		/* Wraps. */
		{ { { ~0u - 1, 1 }, { ~0u, 0 }, { 0, 0 } }, 2 },
		{ { { ~0u, 1 }, { 0, 1 }, { 1, 0 }, { 2, 0 } }, 3 },
		{ { { ~0u, 0 }, { 0, 0 } }, 1 },
		{ { { ~0u - 1, 1 }, { 0, 1 } }, 1 },
		{ { { ~0u - 2, 0 }, { ~0u - 1, 0 } }, 1 },
	};
	struct flushq_range r = fake_page(5, 3);
	unsigned int i;

	for (i = 0; i < sizeof(wait) / sizeof(wait[0]); i++) {
		struct flushq_priv_post post;

		scene();
		post = flushq_priv_begin(&fake.fq, 0, &r, false);
		turn = wait[i].turn;
		turns_taken = 0;
		fake.cpu[1].drains = turn->drains;
		fake.cpu[1].bell = turn->bell;
		fake.on_relax = take_turn;
		flushq_priv_wait(&post, 1);
		CHECK(turns_taken == wait[i].ends);
	}
}

static void deliver_once_sent(void)
{
	if (fake.nr_interrupts)
		fake_deliver();
}

/* Somebody rang the bell and was stopped before its interrupt. */
static void shoot_behind_one_that_stopped(const struct flushq_range *r, void (*deliver)(void))
{
	scene();
	fake.held = true;
	fake.on_relax = deliver;
	fake.cpu[1].bell = FLUSHQ_BELL_INTERRUPT;
	fake_shootdown(0, set, r);
}

/* Who waits for it sends its own. */
TEST(wait, for_an_interrupt_that_does_not_come)
{
	struct flushq_range r = fake_page(5, 3);

	shoot_behind_one_that_stopped(&r, deliver_once_sent);
	CHECK(fake.nr_interrupts == 1 && fake.interrupted[0] == 0x2);
	CHECK(fake.nr_relaxed == FLUSHQ_PATIENCE);
	CHECK(fake.event[FLUSHQ_IPI_SENT] == 0 && fake.event[FLUSHQ_IPI_AGAIN] == 1);
	CHECK(fake_flushed(1, &r));
}

static void deliver_the_second(void)
{
	if (fake.nr_interrupts == 2)
		fake_deliver();
}

/* Its own may be lost as well. */
TEST(wait, for_two_interrupts_that_do_not_come)
{
	struct flushq_range r = fake_page(5, 3);

	shoot_behind_one_that_stopped(&r, deliver_the_second);
	CHECK(fake.nr_relaxed == 2 * FLUSHQ_PATIENCE && fake.event[FLUSHQ_IPI_AGAIN] == 2);
}

#if FLUSHQ_NR_CPUS >= 130
TEST(wait, for_an_interrupt_in_another_word)
{
	struct flushq_range r = fake_page(5, 3);

	begin(130);
	fake_switch(129, 5, set);
	fake_forget();
	fake.held = true;
	fake.on_relax = deliver_once_sent;
	fake.cpu[129].bell = FLUSHQ_BELL_INTERRUPT;
	fake_shootdown(0, set, &r);
	CHECK(flushq_cpuset_has(fake.interrupted, 129) && fake.interrupted[0] == 0);
	CHECK(fake_flushed(129, &r));
}
#endif

enum going { STAYS, PARKS, GOES_LAZY, SWITCHES, IS_SWITCHING, GOES_OFFLINE, NR_GOINGS };

static enum going going;

/* Interrupts are never delivered but to who stays. */
static void go_away(void)
{
	if (fake.nr_relaxed == 1) {
		CHECK(fake.cpu[1].bell == 1);
		switch (going) {
		case PARKS:
			park(1);
			break;
		case GOES_LAZY:
			lazy(1);
			break;
		case SWITCHES:
			fake_switch(1, 6, other);
			break;
		case IS_SWITCHING:
			switch_to(1, 6, other);
			break;
		case GOES_OFFLINE:
			park(1);
			offline(1);
			break;
		default:
			break;
		}
	}
	/* It did not end by itself. */
	if (fake.nr_relaxed == 4)
		fake_deliver();
}

/* A wait ends when its CPU has drained, or no longer uses what was changed. */
TEST(wait, ends_when_nothing_is_used)
{
	static const bool ends[][NR_GOINGS] = {
		[FLUSHQ_LEAF] = { [PARKS] = true,
				  [GOES_LAZY] = true,
				  [SWITCHES] = true,
				  [IS_SWITCHING] = true,
				  [GOES_OFFLINE] = true },
		/* Who is lazy may walk them, and the register may still hold the old one. */
		[FLUSHQ_TABLES] = { [PARKS] = true, [SWITCHES] = true, [GOES_OFFLINE] = true },
		[FLUSHQ_GLOBAL] = { [GOES_OFFLINE] = true },
	};
	unsigned int kind;

	for (kind = FLUSHQ_LEAF; kind <= FLUSHQ_GLOBAL; kind++) {
		for (going = STAYS; going < NR_GOINGS; going++) {
			struct flushq_range r =
				flushq_range_make(kind == FLUSHQ_GLOBAL ? 0 : 5, 3 * PAGE, PAGE,
						  PAGE, (enum flushq_kind)kind);
			bool drains = going == SWITCHES || going == IS_SWITCHING;
			unsigned int cpu;

			scene();
			if (kind == FLUSHQ_GLOBAL) {
				for (cpu = 2; cpu < 8; cpu++) {
					park(cpu);
					offline(cpu);
				}
				fake_forget();
			} else if (kind == FLUSHQ_TABLES) {
				park(3);
			}
			fake.held = true;
			fake.on_relax = go_away;
			fake_shootdown(0, set, &r);
			CHECK(fake.interrupted[0] == 0x2);
			if (drains) {
				/* On its way it has paid, while that was in the register. */
				CHECK(fake.nr_relaxed == 1 && fake_flushed(1, &r));
				continue;
			}
			CHECK(fake.nr_relaxed == (ends[kind][going] ? 1 : 4));
			if (going == GOES_OFFLINE) {
				CHECK(fake_flushed(1, &all));
				continue;
			}
			CHECK(fake_flushed(1, &r) == !ends[kind][going]);
			if (going == STAYS)
				continue;
			/* It pays when it comes back, once. */
			fake_forget();
			fake_switch(1, 5, set);
			CHECK(fake_flushes_on(1) == (ends[kind][going] ? 1 : 0));
			CHECK(!ends[kind][going] || fake_flushed(1, &r));
			CHECK(fake.cpu[1].bell == 0);
		}
	}
}

/* The bell of a CPU that went stays rung until its interrupt comes, or it pays. */
TEST(wait, bell_of_who_went)
{
	struct flushq_range a = fake_page(5, 3), b = fake_page(5, 4);

	scene();
	fake.held = true;
	fake.on_relax = go_away;
	going = PARKS;
	fake_shootdown(0, set, &a);
	CHECK(fake.cpu[1].bell == 1 && fake.nr_interrupts == 1);
	fake_switch(1, 5, set);
	CHECK(fake.cpu[1].bell == 0 && fake_flushed(1, &a));
	/* The next one interrupts again, and waits for its own drain. */
	fake_forget();
	fake.pending[0] = 0;
	going = STAYS;
	fake_shootdown(0, set, &b);
	CHECK(fake.nr_interrupts == 1 && fake.nr_relaxed == 4 && fake_flushed(1, &b));
}

#ifdef CHECK_STEPS

static unsigned int interrupted_at;

/* An interrupt on CPU 0 whose handler shoots down too. */
static void nest_on_the_same_cpu(enum step_kind kind, const volatile void *where)
{
	static bool inside;
	struct flushq_range r = fake_page(5, 4);

	(void)kind;
	(void)where;
	if (inside || fake.self != 0 || fake.irqs_off[0] || interrupted_at-- != 0)
		return;
	inside = true;
	fake_shootdown(0, set, &r);
	CHECK(fake_flushed(1, &r));
	inside = false;
}

/* B10: the inner one finds the bell rung by the outer, which has yet to interrupt: it must not wait
 * for what only the outer can do. */
TEST(wait, interrupted_anywhere_by_another_on_the_same_cpu)
{
	struct flushq_range r = fake_page(5, 3);
	unsigned int at;

	for (at = 0; at < 100; at++) {
		scene();
		interrupted_at = at;
		steps.hook = nest_on_the_same_cpu;
		fake_shootdown(0, set, &r);
		steps.hook = NULL;
		CHECK(fake_flushed(1, &r));
		/* Patience was not needed. */
		CHECK(fake.event[FLUSHQ_IPI_AGAIN] == 0);
	}
}

static void park_at_the_bell(enum step_kind kind, const volatile void *where)
{
	if (kind == STEP_RMW && where == &fake.cpu[1].bell && fake.self == 0) {
		steps.hook = NULL;
		park(1);
	}
}

TEST(wait, parked_when_the_bell_rang)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	steps.hook = park_at_the_bell;
	fake_shootdown(0, set, &r);
	CHECK(fake.event[FLUSHQ_IPI_PARKED] == 1 && fake.event[FLUSHQ_IPI_SENT] == 1);
	CHECK(fake_flushes_on(1) == 0);
	fake_switch(1, 5, set);
	expect_flush(1, &r);
}

#endif
