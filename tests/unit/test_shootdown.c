/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#include <string.h>

#define PAGE (1ul << FLUSHQ_PAGE_SHIFT)
#define SLOTS FLUSHQ_QUEUE_SLOTS

static flushq_atomic_ulong set[FAKE_WORDS];
static unsigned long mask[FAKE_WORDS];
static const struct flushq_range all = { 0, 0, 0, FLUSHQ_PAGE_SHIFT, FLUSHQ_GLOBAL };

static void begin(unsigned int nr)
{
	fake_start(nr);
	memset(set, 0, sizeof(set));
	memset(mask, 0, sizeof(mask));
}

static void lazy(unsigned int cpu)
{
	fake.self = cpu;
	fake.irqs_off[cpu]++;
	flushq_enter_lazy(&fake.fq, cpu);
	fake.irqs_off[cpu]--;
	fake.self = 0;
}

static void unlazy(unsigned int cpu)
{
	fake.self = cpu;
	fake.irqs_off[cpu]++;
	flushq_leave_lazy(&fake.fq, cpu);
	fake.irqs_off[cpu]--;
	fake.self = 0;
}

static void park(unsigned int cpu)
{
	fake.self = cpu;
	fake.irqs_off[cpu]++;
	flushq_park(&fake.fq, cpu);
	fake.irqs_off[cpu]--;
	fake.self = 0;
}

/* CPU 0 and 1 run ASID 5, 2 runs 6 but ran 5, 3 is lazy on 5, 4 is parked and ran 5; 5 to 7 never
 * did. */
static void scene(void)
{
	begin(8);
	fake_switch(0, 5, set);
	fake_switch(1, 5, set);
	fake_switch(2, 5, set);
	fake_switch(2, 6, NULL);
	fake_switch(3, 5, set);
	lazy(3);
	fake_switch(4, 5, set);
	park(4);
	CHECK(fake.nr_rules_broken == 0);
	CHECK(set[0] == 0x1f);
	fake_forget();
}

static void expect_flush(unsigned int cpu, const struct flushq_range *range)
{
	CHECK(fake_flushes_on(cpu) == 1);
	CHECK(fake_same(fake_last_on(cpu), range));
}

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
	fake_switch(2, 5, NULL);
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

TEST(shootdown, high_call_waits)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake.held = true;
	fake_shootdown(0, set, &r);
	CHECK(fake.nr_relaxed > 0);
	expect_flush(1, &r);
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
	CHECK(fake.nr_interrupts == 0);
	/* It will flush everything when it comes online. */
	fake.self = 1;
	fake.irqs_off[1]++;
	flushq_online(&fake.fq, 1);
	fake.irqs_off[1]--;
	CHECK(fake_flushed(1, &all));
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
TEST(shootdown, interrupts_coalesce)
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
TEST(shootdown, serves_itself_while_it_waits)
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
TEST(shootdown, wait_takes_no_older_drain)
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
		flushq_priv_wait(&post, &fake.cpu[1]);
		CHECK(turns_taken == wait[i].ends);
	}
}

static unsigned int deep;

static void drain_again(const struct flushq_range *range)
{
	(void)range;
	if (deep++)
		return;
	/* An NMI in the drain: the inner call leaves what it brought to the outer. */
	second = fake_page(5, 77);
	flushq_queue_put(&fake.cpu[1].queue, &second);
	flushq_drain(&fake.fq, 1);
	CHECK(!fake_flushed(1, &second));
}

TEST(shootdown, drain_inside_drain)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake_post(0, set, &r, mask);
	deep = 0;
	fake.on_flush = drain_again;
	fake_drain(1);
	CHECK(fake_flushed(1, &r) && fake_flushed(1, &second));
	CHECK(fake.event[FLUSHQ_DRAINS] == 2);
	CHECK(!fake.cpu[1].draining && !fake.cpu[1].again && !(fake.cpu[1].drains & 1));
	CHECK(fake.irqs_off[1] == 0);
}

static void nothing_given_back(const struct flushq_range *range)
{
	struct flushq_range r = fake_page(9, 1);

	(void)range;
	CHECK(fake.cpu[1].drains & 1);
	if (deep++ == 0)
		CHECK(flushq_queue_put(&fake.cpu[1].queue, &r) == FLUSHQ_PUT_MARKED);
}

/* A request is given up after its flush, and a mark that is set meanwhile is not lost. */
TEST(shootdown, slots_are_freed_after_the_flush)
{
	struct flushq_range r = fake_page(5, 3), whole = flushq_range_whole(9, FLUSHQ_TABLES);
	unsigned int i;

	scene();
	for (i = 0; i < SLOTS; i++)
		fake_post(0, set, &r, mask);
	deep = 0;
	fake.on_flush = nothing_given_back;
	fake_drain(1);
	CHECK(fake.event[FLUSHQ_DRAINS] == 1 && !fake_flushed(1, &whole));
	fake_drain(1);
	CHECK(fake_flushed(1, &whole));
}

/* P3, B24: what does not fit marks that CPU alone, and costs no interrupt. */
TEST(shootdown, overflow)
{
	struct flushq_range r = fake_page(5, 3), asid5 = flushq_range_whole(5, FLUSHQ_TABLES);
	unsigned int i;

	scene();
	/* CPU 4 is parked and full; CPU 2 is not full. */
	for (i = 0; i < SLOTS; i++)
		CHECK(flushq_queue_put(&fake.cpu[4].queue, &r) == FLUSHQ_PUT_QUEUED);
	fake_post(0, set, &r, mask);
	CHECK(mask[0] == 0x2 && fake.event[FLUSHQ_OVERFLOWS] == 1 &&
	      fake.event[FLUSHQ_COVERED] == 0);
	fake_drain(1);
	fake_post(0, set, &r, mask);
	CHECK(mask[0] == 0x2 && fake.event[FLUSHQ_COVERED] >= 1);
	fake_forget();
	fake_switch(4, 5, NULL);
	CHECK(fake_flushed(4, &asid5));
	expect_flush(4, &asid5);
	fake_drain(1);
	CHECK(!fake_flushed(1, &asid5));
}

TEST(shootdown, overflow_of_two_asids_flushes_everything)
{
	struct flushq_range a = fake_page(5, 3), b = fake_page(6, 3);
	unsigned int i;

	scene();
	for (i = 0; i < SLOTS; i++)
		flushq_queue_put(&fake.cpu[4].queue, &a);
	flushq_queue_put(&fake.cpu[4].queue, &a);
	flushq_queue_put(&fake.cpu[4].queue, &b);
	fake_switch(4, 5, NULL);
	expect_flush(4, &all);
}

TEST(shootdown, deferred_debt_of_other_asids_is_paid_too)
{
	struct flushq_range a = fake_page(5, 3), b = fake_page(6, 3);

	if (SLOTS < 2)
		return;
	scene();
	flushq_queue_put(&fake.cpu[4].queue, &a);
	flushq_queue_put(&fake.cpu[4].queue, &b);
	fake_switch(4, 7, set);
	CHECK(fake_flushes_on(4) == 2 && fake_flushed(4, &a) && fake_flushed(4, &b));
	fake_switch(4, 5, set);
	CHECK(fake_flushes_on(4) == 2);
}

TEST(shootdown, adjacent_requests_merge)
{
	struct flushq_range a = fake_page(5, 3), b = fake_page(5, 4), both = a;

	if (SLOTS < 2 || FLUSHQ_PAGES_MAX < 2)
		return;
	scene();
	flushq_queue_put(&fake.cpu[4].queue, &a);
	flushq_queue_put(&fake.cpu[4].queue, &b);
	fake_drain(4);
	both.pages = 2;
	expect_flush(4, &both);
	CHECK(fake.event[FLUSHQ_FLUSHED_PAGES] == 2);
}

TEST(shootdown, budget_of_a_drain)
{
	unsigned int i, pages = 0, wholes = 0;

	if (SLOTS < 4 || FLUSHQ_PAGES_MAX < 2)
		return;
	scene();
	/* ASIDs of more pages together than the budget; none merges with its neighbour. */
	for (i = 0; i < 4; i++) {
		struct flushq_range r = flushq_range_make(
			10 + i, PAGE, (FLUSHQ_PAGES_MAX / 2 + 1ul) * PAGE, PAGE, FLUSHQ_LEAF);

		CHECK(flushq_queue_put(&fake.cpu[4].queue, &r) == FLUSHQ_PUT_QUEUED);
	}
	fake_drain(4);
	CHECK(fake_flushes_on(4) == 4);
	for (i = 0; i < fake.nr_flushes; i++) {
		const struct flushq_range *f = &fake.flush[i].range;

		CHECK(f->asid == 10 + i && f->kind == FLUSHQ_LEAF);
		pages += f->pages;
		wholes += f->pages == 0;
	}
	CHECK(pages <= FLUSHQ_PAGES_MAX && wholes == 3);
	CHECK(fake.event[FLUSHQ_FLUSHED_ASIDS] == 3);
	/* Each drain has its own. */
	fake_forget();
	second =
		flushq_range_make(10, PAGE, (FLUSHQ_PAGES_MAX / 2 + 1ul) * PAGE, PAGE, FLUSHQ_LEAF);
	flushq_queue_put(&fake.cpu[4].queue, &second);
	fake_drain(4);
	expect_flush(4, &second);
}

static void claim(unsigned int cpu, unsigned int ahead)
{
	flushq_pos pos = (flushq_pos)(fake.cpu[cpu].head + ahead);

	flushq_priv_ring_at(&fake.cpu[cpu].queue.ring, pos)->state =
		(flushq_pos)(flushq_priv_ring_empty(pos) + FLUSHQ_RING_CLAIMED);
	fake.cpu[cpu].queue.ring.tail = (flushq_pos)(pos + 1);
}

/* A producer that stalled, nothing behind it: it will look itself, so nothing is owed. */
TEST(shootdown, stalled_producer_alone)
{
	scene();
	claim(4, 0);
	fake_drain(4);
	CHECK(fake_flushes_on(4) == 0 && fake.event[FLUSHQ_ESCALATIONS] == 0);
	fake_switch(4, 5, NULL);
	CHECK(fake_flushes_on(4) == 0);
}

TEST(shootdown, stalled_producer_with_requests_behind)
{
	struct flushq_range r = fake_page(5, 3);

	if (SLOTS < 2)
		return;
	scene();
	claim(4, 0);
	CHECK(flushq_queue_put(&fake.cpu[4].queue, &r) == FLUSHQ_PUT_QUEUED);
	fake_drain(4);
	expect_flush(4, &all);
	CHECK(fake.event[FLUSHQ_ESCALATIONS] == 1);
	/* Nothing was taken away from it: as long as it is stalled, each drain is as large. */
	fake_forget();
	fake_switch(4, 5, NULL);
	expect_flush(4, &all);
	/* It goes on. */
	fake_forget();
	flushq_priv_ring_at(&fake.cpu[4].queue.ring, fake.cpu[4].head)->key = flushq_priv_key(&r);
	flushq_priv_ring_at(&fake.cpu[4].queue.ring, fake.cpu[4].head)->value =
		flushq_priv_value(&r);
	flushq_priv_ring_at(&fake.cpu[4].queue.ring, fake.cpu[4].head)->state++;
	fake_drain(4);
	expect_flush(4, &r);
	CHECK(fake.event[FLUSHQ_ESCALATIONS] == 0);
}

TEST(shootdown, stalled_producer_behind_requests)
{
	struct flushq_range r = fake_page(5, 3);

	if (SLOTS < 2)
		return;
	scene();
	CHECK(flushq_queue_put(&fake.cpu[4].queue, &r) == FLUSHQ_PUT_QUEUED);
	claim(4, 1);
	fake_drain(4);
	expect_flush(4, &r);
}

TEST(shootdown, suspects_are_flushed)
{
	struct flushq_range r = fake_page(5, 3), other = fake_page(6, 9);
	struct flushq_ring *ring = &fake.cpu[4].queue.ring;
	struct flushq_range mark = flushq_range_whole(5, FLUSHQ_TABLES);

	if (SLOTS < 4)
		return;
	scene();
	ring->tail = (flushq_pos)(fake.cpu[4].head + 1);
	/* Behind a hole: the mark stands for it. */
	CHECK(flushq_queue_put(&fake.cpu[4].queue, &r) == FLUSHQ_PUT_MARKED);
	fake_drain(4);
	expect_flush(4, &mark);
	/* The hole is filled: the suspect is read as well, once. */
	fake_forget();
	ring->tail = fake.cpu[4].head;
	CHECK(flushq_queue_put(&fake.cpu[4].queue, &other) == FLUSHQ_PUT_QUEUED);
	fake_drain(4);
	CHECK(fake_flushes_on(4) == 2 && fake_flushed(4, &r) && fake_flushed(4, &other));
	fake_drain(4);
	CHECK(fake_flushes_on(4) == 2);
}

TEST(shootdown, mark_swallows_what_it_covers)
{
	struct flushq_range r = fake_page(5, 3), whole = flushq_range_whole(5, FLUSHQ_TABLES);
	unsigned int i;

	scene();
	for (i = 0; i < SLOTS + 1; i++)
		flushq_queue_put(&fake.cpu[4].queue, &r);
	fake_drain(4);
	expect_flush(4, &whole);
	/* Not what it does not cover. */
	scene();
	second = fake_page(6, 3);
	for (i = 0; i < SLOTS; i++)
		flushq_queue_put(&fake.cpu[4].queue, &second);
	flushq_queue_put(&fake.cpu[4].queue, &r);
	fake_drain(4);
	CHECK(fake_flushes_on(4) == 2 && fake_flushed(4, &whole) && fake_flushed(4, &second));
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
	CHECK(fake.nr_rules_broken == 3 && fake.nr_flushes == 0);
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

TEST(shootdown, first_switch_of_a_cpu_that_was_never_onlined)
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

TEST(shootdown, debts_from_before_online)
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

TEST(shootdown, leave_lazy)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	/* Lazy on 5 with a debt: pays, and is interrupted again from then on. */
	fake_post(0, set, &r, mask);
	unlazy(3);
	expect_flush(3, &r);
	CHECK(fake.cpu[3].context == flushq_context_loaded(5));
	/* Parked: stays so, and pays. */
	unlazy(4);
	CHECK(fake.cpu[4].context == FLUSHQ_CONTEXT_PARKED);
	expect_flush(4, &r);
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

TEST(shootdown, lazy_and_park)
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

TEST(shootdown, switch_away_from_lazy)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake_post(0, set, &r, mask);
	fake_switch(3, 6, NULL);
	CHECK(fake.cpu[3].context == flushq_context_loaded(6));
	expect_flush(3, &r);
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
	fake_switch(4, 5, NULL);
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

TEST(shootdown, init)
{
	unsigned int w;

	fake_reset(4);
	CHECK(fake.nr_rules_broken == 0 && fake.fq.nr == 4);
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

/*
 * B1, B21: from flushq_switch_to() on the CPU is asked about the new address space, and until
 * flushq_switched() about anybody's freed tables: the register may hold either.
 */
TEST(shootdown, between_switch_to_and_switched)
{
	struct flushq_range fresh = fake_page(5, 3), old = fake_page(6, 3);
	struct flushq_range tables = flushq_range_make(6, 3 * PAGE, PAGE, PAGE, FLUSHQ_TABLES);
	static flushq_atomic_ulong other[FAKE_WORDS];

	scene();
	memset(other, 0, sizeof(other));
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

static bool same_line(const volatile void *a, const volatile void *b)
{
	return (uintptr_t)a / FLUSHQ_CACHE_LINE == (uintptr_t)b / FLUSHQ_CACHE_LINE;
}

TEST(shootdown, layout)
{
	const struct flushq_cpu *cpu = fake.cpu;
	const volatile void *owners[] = { &cpu->context,  &cpu->drains, &cpu->head,
					  &cpu->draining, &cpu->again,	&cpu->counts };
	const volatile void *producers[] = { &cpu->queue.ring.tail, &cpu->queue.ring.sticky,
					     &cpu->queue.ring.slot[0], &cpu->bell };
	unsigned int i, j;

	for (i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
		for (j = 0; j < sizeof(producers) / sizeof(producers[0]); j++)
			CHECK(!same_line(owners[i], producers[j]));
	CHECK(!same_line((const char *)&cpu->counts + sizeof(cpu->counts) - 1,
			 &cpu->queue.ring.tail));
	CHECK(!same_line(&cpu->queue.ring.tail, &cpu->queue.ring.slot[0]));
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

TEST(shootdown, empty_switch)
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
	flushq_switch_to(&fake.fq, 4, 5, NULL);
	CHECK(steps.n[STEP_LOAD] == 3 && steps.n[STEP_STORE] == 1);
	memset(&steps, 0, sizeof(steps));
	flushq_switched(&fake.fq, 4);
	CHECK(steps.n[STEP_LOAD] == 1 && steps.n[STEP_STORE] == 1 &&
	      steps.n[STEP_FENCE_FULL] == 0 && steps.n[STEP_RMW] == 0);
	CHECK(fake.nr_flushes == 0 && fake.nr_rules_broken == 0);
}

static enum step_kind order[64];
static const volatile void *place[64];
static unsigned int nr_order;

static void record(enum step_kind kind, const volatile void *where)
{
	if (nr_order < 64) {
		order[nr_order] = kind;
		place[nr_order++] = where;
	}
}

/* Index of the first such operation at or after `from`; 64 if none. */
static unsigned int find(unsigned int from, enum step_kind kind, const volatile void *where)
{
	for (; from < nr_order; from++)
		if (order[from] == kind && (!where || place[from] == where))
			return from;
	return 64;
}

/* B1: the context is written, then a full fence, then the debts are read; and the set before. */
TEST(shootdown, order_of_a_switch)
{
	unsigned int joined, context, fence, slot, sticky;

	begin(8);
	fake.irqs_off[4] = 1;
	fake.self = 4;
	nr_order = 0;
	steps.hook = record;
	flushq_switch_to(&fake.fq, 4, 5, set);
	steps.hook = NULL;
	joined = find(0, STEP_RMW, &set[0]);
	context = find(0, STEP_STORE, &fake.cpu[4].context);
	fence = find(0, STEP_FENCE_FULL, NULL);
	slot = find(0, STEP_LOAD,
		    &flushq_priv_ring_at(&fake.cpu[4].queue.ring, fake.cpu[4].head)->state);
	sticky = find(0, STEP_LOAD, &fake.cpu[4].queue.ring.sticky);
	CHECK(joined < context && context < fence && fence < slot && fence < sticky);
	CHECK(slot < 64 && sticky < 64);
}

/* Only a flush orders the walks of a CPU that has just joined (RISC-V: no fence does). Once. */
TEST(shootdown, who_joins_flushes_the_asid_once)
{
	flushq_atomic_ulong fresh[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)] = { 0 };
	struct flushq_range whole = flushq_range_whole(9, FLUSHQ_TABLES);

	scene();
	fake_forget();
	fake_switch(3, 9, fresh);
	CHECK(flushq_cpuset_has(fresh, 3));
	CHECK(fake_flushes_on(3) == 1 && fake_flushed(3, &whole));
	fake_forget();
	fake_switch(3, 9, fresh);
	CHECK(fake_flushes_on(3) == 0);
}

/* The debt, a full fence, then the look; the same once more for who joined late; last the acquire. */
TEST(shootdown, order_of_a_post)
{
	struct flushq_range r = fake_page(5, 3);
	unsigned int debt, fence, look, again;

	scene();
	fake.self = 0;
	set[0] = 0x12;
	nr_order = 0;
	steps.hook = record;
	flushq_post(&fake.fq, 0, set, &r, mask);
	steps.hook = NULL;
	debt = find(0, STEP_RMW,
		    &flushq_priv_ring_at(&fake.cpu[4].queue.ring, fake.cpu[4].head)->state);
	fence = find(0, STEP_FENCE_FULL, NULL);
	look = find(0, STEP_LOAD, &fake.cpu[1].context);
	again = find(fence, STEP_LOAD, &set[0]);
	CHECK(debt < fence && fence < again && again < look && look < 64);
	CHECK(find(fence + 1, STEP_FENCE_FULL, NULL) == 64);
	CHECK(find(look, STEP_FENCE_ACQUIRE, NULL) < 64);
}

static void join_late(enum step_kind kind, const volatile void *where)
{
	(void)where;
	if (kind != STEP_FENCE_FULL)
		return;
	steps.hook = record;
	fake_switch(6, 5, set);
}

TEST(shootdown, who_joins_meanwhile_is_asked)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	nr_order = 0;
	steps.hook = join_late;
	CHECK(fake_post(0, set, &r, mask) == 2);
	steps.hook = NULL;
	CHECK(mask[0] == 0x42);
	fake_forget();
	fake_drain(6);
	expect_flush(6, &r);
}

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
TEST(shootdown, interrupted_anywhere_by_another_on_the_same_cpu)
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
	}
}

static void park_at_the_bell(enum step_kind kind, const volatile void *where)
{
	if (kind == STEP_RMW && where == &fake.cpu[1].bell && fake.self == 0) {
		steps.hook = NULL;
		park(1);
	}
}

TEST(shootdown, parked_when_the_bell_rang)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	steps.hook = park_at_the_bell;
	fake_shootdown(0, set, &r);
	CHECK(fake.event[FLUSHQ_IPI_PARKED] == 1 && fake.event[FLUSHQ_IPI_SENT] == 1);
	expect_flush(1, &r);
}

/* The bell is silenced before the mark and the queue are read; the drain counts as begun by then. */
TEST(shootdown, order_of_a_drain)
{
	struct flushq_ring *ring = &fake.cpu[4].queue.ring;
	struct flushq_range r = fake_page(5, 3);
	unsigned int begun, bell, mark, slot, freed, end;
	flushq_atomic_pos *state;

	scene();
	flushq_queue_put(&fake.cpu[4].queue, &r);
	state = &flushq_priv_ring_at(ring, fake.cpu[4].head)->state;
	fake.self = 4;
	nr_order = 0;
	steps.hook = record;
	flushq_drain(&fake.fq, 4);
	steps.hook = NULL;
	begun = find(0, STEP_STORE, &fake.cpu[4].drains);
	bell = find(0, STEP_RMW, &fake.cpu[4].bell);
	mark = find(0, STEP_LOAD, &ring->sticky);
	slot = find(0, STEP_LOAD, state);
	freed = find(slot, STEP_STORE, state);
	end = find(begun + 1, STEP_STORE, &fake.cpu[4].drains);
	CHECK(begun < bell && bell < mark && bell < slot && mark < end && slot < freed);
	CHECK(freed < end && end < 64);
	CHECK(find(slot, STEP_FENCE_RELEASE, NULL) < freed);
}

#endif
