/* SPDX-License-Identifier: MIT */
/* mm.h and ticket.h: address spaces whose ASIDs flushq hands out, with and without a log. */
#include "scene.h"

#include <string.h>

#define MMS 6

static struct flushq_asids asids;
static struct flushq_mm mm[MMS];
static struct flushq_log logs[MMS];

static void start_with(unsigned int cpus, unsigned int bits, bool log)
{
	unsigned int i;

	fake_start(cpus);
	memset(logs, 0, sizeof(logs));
	flushq_use_asids(&fake.fq, &asids, bits);
	for (i = 0; i < MMS; i++)
		flushq_mm_init(&mm[i], log ? &logs[i] : NULL);
}

static void start(unsigned int bits, bool log)
{
	start_with(FAKE_NR, bits, log);
}

/* Returns the ASID; the register is written. */
static flushq_asid run(unsigned int cpu, unsigned int i)
{
	flushq_asid asid;

	fake.self = cpu;
	fake.irqs_off[cpu]++;
	asid = flushq_mm_switch_to(&fake.fq, cpu, &mm[i]);
	flushq_switched(&fake.fq, cpu);
	fake.irqs_off[cpu]--;
	return asid;
}

static struct flushq_range page_of(unsigned int i)
{
	return flushq_mm_range(&fake.fq, &mm[i], 3 * PAGE, PAGE, PAGE, FLUSHQ_LEAF);
}

static void shoot(unsigned int cpu, unsigned int i)
{
	struct flushq_range range = page_of(i);

	fake.self = cpu;
	flushq_mm_shootdown(&fake.fq, cpu, &mm[i], &range);
}

/* CPU 1 ran it and parked, CPU 2 is lazy on it, CPU 0 runs another and shoots. */
static void parked_and_lazy(bool log)
{
	struct flushq_range range;

	if (FAKE_NR < 3)
		return;
	start(8, log);
	run(1, 0);
	park(1);
	run(2, 0);
	lazy(2);
	run(0, 1);
	fake_forget();
	shoot(0, 0);
	range = page_of(0);
	CHECK(fake.nr_interrupts == 0);
	CHECK(fake.nr_flushes == 0);
	run(1, 0);
	CHECK(fake_flushed(1, &range));
	unlazy(2);
	CHECK(fake_flushed(2, &range));
	/* Both run it now. */
	fake_forget();
	shoot(0, 0);
	CHECK(fake.interrupted[0] == 0x6);
	CHECK(fake_flushed(1, &range) && fake_flushed(2, &range));
	CHECK(fake_flushes_on(0) == 0);
	/* One of them changes it itself: each flushes once. */
	fake_forget();
	shoot(1, 0);
	CHECK(fake.interrupted[0] == 0x4);
	CHECK(fake_flushes_on(1) == 1 && fake_flushes_on(2) == 1);
	CHECK(fake.nr_rules_broken == 0);
}

TEST(mm, who_is_interrupted)
{
	parked_and_lazy(false);
}

TEST(mm, who_is_interrupted_with_a_log)
{
	parked_and_lazy(true);
}

/* What is in the register but not in the table may have any log: the CPU stays in those it was in. */
TEST(mm, stray_with_a_log)
{
	unsigned int i;

	start(8, true);
	fake.self = 0;
	fake.irqs_off[0]++;
	for (i = 0; i <= FLUSHQ_RESIDENT; i++)
		flushq_priv_switch_to(&fake.fq, 0, (flushq_asid)(10 + i), mm[0].cpus, &logs[0]);
	flushq_switched(&fake.fq, 0);
	CHECK(fake.cpu[0].stray && flushq_cpuset_has(logs[0].loaded, 0));
	/* With room again it is as usual. */
	flushq_priv_switch_to(&fake.fq, 0, 9, mm[0].cpus, &logs[0]);
	flushq_switched(&fake.fq, 0);
	CHECK(!fake.cpu[0].stray && flushq_cpuset_has(logs[0].loaded, 0));
	park(0);
	CHECK(!flushq_cpuset_has(logs[0].loaded, 0));
	fake.irqs_off[0]--;
}

/* Kernel ranges have no ASID, and are in no log: asked for once, as they are; the caller flushes too. */
static void kernel_range(bool log, unsigned int how)
{
	static struct flushq_ticket ticket;
	unsigned long interrupt[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	struct flushq_range range;

	start(8, log);
	run(0, 0);
	run(1, 1);
	range = flushq_mm_range(&fake.fq, &mm[1], 3 * PAGE, PAGE, PAGE, FLUSHQ_GLOBAL);
	fake_forget();
	fake.self = 0;
	if (how == 0)
		flushq_mm_shootdown(&fake.fq, 0, &mm[1], &range);
	else if (how == 1)
		CHECK(flushq_mm_ticket_take(&fake.fq, 0, &mm[1], &range, &ticket));
	else
		CHECK(flushq_mm_post(&fake.fq, 0, &mm[1], &range, interrupt) == FAKE_NR - 1);
	CHECK(range.asid == 0 && fake.nr_interrupts == (how < 2));
	CHECK(fake_flushes_on(0) == 1 && fake_flushed(0, &range));
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 1 && fake_flushed(1, &range));
}

TEST(mm, kernel_range)
{
	unsigned int how;

	if (FAKE_NR < 2)
		return;
	for (how = 0; how < 3; how++) {
		kernel_range(false, how);
		kernel_range(true, how);
	}
}

/* A log that can't take it: the queues do, the caller's own flush is not forgotten. */
TEST(mm, log_that_is_blocked)
{
	struct flushq_range range;
	unsigned int i;

	if (FAKE_NR < 2)
		return;
	start(8, true);
	run(0, 0);
	run(1, 0);
	park(1);
	fake_forget();
	/* A writer that stalled in the first slot, a lap ago. */
	logs[0].slot[0].state = FLUSHQ_RING_CLAIMED;
	for (i = 0; i < FLUSHQ_LOG_SLOTS; i++)
		shoot(0, 0);
	range = page_of(0);
	CHECK(fake_flushed(0, &range));
	CHECK(fake.nr_interrupts == 0);
	if (FLUSHQ_COUNTERS)
		CHECK(flushq_count(&fake.fq, 0, FLUSHQ_LOG_BLOCKED) > 0);
	fake_forget();
	run(1, 0);
	CHECK(fake_flushed(1, &range));
}

/* CPU 1 ran it and parked, and its log has `entries` since. */
static void away_for(unsigned int entries)
{
	start(8, true);
	run(1, 0);
	park(1);
	while (entries--)
		shoot(0, 0);
}

/* Away for more than a lap: all of it. */
TEST(mm, log_that_moved_on)
{
	struct flushq_range whole;

	if (FAKE_NR < 2)
		return;
	away_for(FLUSHQ_LOG_SLOTS + 1);
	fake_forget();
	whole = flushq_range_whole(run(1, 0), FLUSHQ_TABLES);
	CHECK(fake_flushed(1, &whole));
	if (FLUSHQ_COUNTERS)
		CHECK(flushq_count(&fake.fq, 1, FLUSHQ_LOG_OVERTAKEN) == 1);
}

/* Before everything is flushed, a log is not read: that is where its CPU goes on. */
TEST(mm, log_behind_a_flush_of_everything)
{
	struct flushq_range range;

	if (FAKE_NR < 2)
		return;
	away_for(FLUSHQ_LOG_SLOTS);
	flushq_ring_stick(&fake.cpu[1].queue.ring, FLUSHQ_MARK_ALL);
	fake_forget();
	run(1, 0);
	CHECK(fake_flushes_on(1) == 1 && fake_flushed(1, &all));
	CHECK(fake.event[FLUSHQ_LOG_REPLAYS] == 0 && fake.event[FLUSHQ_LOG_OVERTAKEN] == 0);
	range = page_of(0);
	fake_forget();
	shoot(0, 0);
	CHECK(fake_flushes_on(1) == 1 && fake_flushed(1, &range));
	CHECK(fake.event[FLUSHQ_LOG_REPLAYS] == 1);
}

#ifdef CHECK_STEPS
/* Atomic operations of a shootdown on a machine of 65 CPUs, or as many as there are. */
static unsigned long work(unsigned int nr, unsigned int visited)
{
	unsigned long n = 0;
	unsigned int i, k;

	start_with(nr, 8, true);
	for (i = 1; i <= visited; i++) {
		run(i, 0);
		park(i);
	}
	memset(steps.n, 0, sizeof(steps.n));
	shoot(0, 0);
	for (k = 0; k < STEP_NR_KINDS; k++)
		n += steps.n[k];
	CHECK(steps.n[STEP_RMW] == 1);
	CHECK(fake.nr_interrupts == 0);
	return n;
}

static flushq_asid number(unsigned int i)
{
	return flushq_asid_number(&asids, mm[i].id);
}

static unsigned long meanwhile_step;
static void (*meanwhile)(void);
static bool log_freed;

/* Something comes in between; where the log may be freed behind it, it is. */
static void meanwhile_at(enum step_kind kind, const volatile void *where)
{
	(void)kind;
	(void)where;
	if (meanwhile_step-- != 0)
		return;
	steps.hook = NULL;
	meanwhile();
	log_freed = !flushq_mm_loaded(&fake.fq, &mm[0]);
	if (log_freed)
		memset((void *)&logs[0], 0xff, sizeof(logs[0]));
	fake.self = 1;
}

/* CPU 1 parks; `what` comes before its operation `at`. Returns whether the log was freed: then it is not
 * written any more. */
static bool park_with(void (*what)(void), unsigned long at)
{
	meanwhile = what;
	meanwhile_step = at;
	log_freed = false;
	fake.self = 1;
	fake.irqs_off[1]++;
	steps.hook = meanwhile_at;
	flushq_park(&fake.fq, 1);
	steps.hook = NULL;
	fake.irqs_off[1]--;
	CHECK(!log_freed || logs[0].loaded[0] == ~0ul);
	return log_freed;
}

static void nmi_drains(void)
{
	flushq_drain(&fake.fq, 1);
}

/* Whoever finds no CPU that has it frees the log: the CPU that parks writes it no more, wherever an NMI
 * drains and drops its entry. */
TEST(mm, nmi_while_parking)
{
	struct flushq_range range;
	unsigned long at, freed = 0;

	if (FAKE_NR < 2)
		return;
	for (at = 0; at < 20; at++) {
		start(8, true);
		range = flushq_range_whole(run(1, 0), FLUSHQ_LEAF);
		flushq_queue_put(&fake.cpu[1].queue, &range);
		freed += park_with(nmi_drains, at);
		CHECK(log_freed || !flushq_cpuset_has(logs[0].loaded, 1));
	}
	CHECK(freed > 0);
}

/* Another CPU ends the generation and runs it under another number. */
static void rollover_meanwhile(void)
{
	flushq_asid before = number(0);
	unsigned int i;

	for (i = 0; i < 16; i++) {
		flushq_mm_init(&mm[1], NULL);
		run(0, 1);
	}
	run(0, 0);
	park(0);
	CHECK(number(0) == before || !flushq_mm_loaded(&fake.fq, &mm[0]));
}

/* The log is freed as soon as no CPU has its address space by the number that it has then. */
TEST(mm, renumbered_while_parking)
{
	unsigned long at, freed = 0;

	if (FAKE_NR < 2)
		return;
	for (at = 0; at < 20; at++) {
		start_with(2, 3, true);
		run(1, 0);
		freed += park_with(rollover_meanwhile, at);
	}
	CHECK(freed > 0);
}

#if FLUSHQ_POSITION_BITS == 8
/* CPU 2 runs new ones until the generation has ended and one of them has `last` (which may be in use). */
static void end_generation(flushq_asid last)
{
	unsigned long before = asids.generation;
	unsigned int births = 20;

	do {
		flushq_mm_init(&mm[1], NULL);
		run(2, 1);
	} while ((asids.generation == before || number(1) != last) && --births);
}

/* CPU 1 has read that its id is current, and stalls. The number goes to another. */
static void roll_at(enum step_kind kind, const volatile void *where)
{
	if (kind != STEP_STORE || where != &asids.cpu[1].next)
		return;
	steps.hook = NULL;
	end_generation(2);
	run(0, 0);
	park(0);
	fake.self = 1;
}

/* CPU 1 switches, while a rollover gives the number that it found to another. The register may hold
 * either number then, until finish_switch(). */
static void begin_under_two_numbers(void)
{
	start_with(3, 3, true);
	run(2, 1);
	run(0, 0);
	park(0);
	run(2, 4);
	CHECK(number(1) == 1 && number(0) == 2 && number(4) == 3);
	fake.self = 1;
	fake.irqs_off[1]++;
	steps.hook = roll_at;
	flushq_mm_switch_to(&fake.fq, 1, &mm[0]);
	CHECK(!steps.hook && number(0) == 3);
}

static void finish_switch(void)
{
	flushq_switched(&fake.fq, 1);
	fake.irqs_off[1]--;
}

/* In between its log overtakes it: that is found once, and holds for both numbers. */
TEST(mm, overtaken_under_two_numbers)
{
	unsigned long cpus[FAKE_WORDS];
	unsigned int appends, i;

	if (FAKE_NR < 3)
		return;
	for (appends = 1; appends < 300; appends++) {
		struct flushq_range range;

		begin_under_two_numbers();
		for (i = 0; i < appends; i++) {
			fake.self = 0;
			range = page_of(0);
			CHECK(flushq_mm_post(&fake.fq, 0, &mm[0], &range, cpus) == 1);
		}
		fake_forget();
		fake.self = 1;
		flushq_drain(&fake.fq, 1);
		CHECK(fake_flushed(1, &range));
		finish_switch();
		CHECK(fake.nr_rules_broken == 0);
	}
}

/*
 * A CPU has an address space in its table twice, its number having gone and come back, and its log moved
 * on by any number of entries: what it had seen under the first number is worth nothing then.
 */
TEST(mm, number_that_comes_back)
{
	unsigned int appends, i;

	if (FAKE_NR < 3)
		return;
	for (appends = 200; appends < 300; appends++) {
		struct flushq_range range;

		begin_under_two_numbers();
		finish_switch();
		for (i = 0; i < appends; i++)
			shoot(0, 0);
		park(1);
		/* The other one that had 3 gets it again. */
		end_generation(1);
		run(2, 4);
		run(0, 0);
		CHECK(number(4) == 3 && number(0) == 2);
		run(1, 0);
		range = page_of(0);
		for (i = 0; i < 8; i++) {
			fake_forget();
			shoot(0, 0);
			CHECK(fake_flushed(1, &range));
		}
		CHECK(fake.nr_rules_broken == 0);
	}
}

/*
 * CPU 1 has in its table what it does not have in its register, while two rollovers take its number away and
 * let it have that again. What was asked for under the number in between was not kept: so behind that comes a
 * flush before CPU 1 uses it, whatever its table says.
 */
static unsigned int rolls_in; /* steps */

/* CPU 0 gives it a number, and parks. */
static void visit(unsigned int i)
{
	run(0, i);
	park(0);
}

static void roll_twice_in(enum step_kind kind, const volatile void *where)
{
	(void)kind;
	(void)where;
	if (rolls_in-- != 0)
		return;
	steps.hook = NULL;
	end_generation(2);
	visit(0);
	end_generation(1);
	run(2, 5);
	fake.self = 1;
	/* And an NMI. */
	flushq_drain(&fake.fq, 1);
}

/* Whether `call` has so many steps. */
static bool rolls_within(unsigned int step, void (*call)(void))
{
	bool rolled;

	rolls_in = step;
	steps.hook = roll_twice_in;
	call();
	rolled = !steps.hook;
	steps.hook = NULL;
	return rolled;
}

static void comes_back(void)
{
	struct flushq_range range;

	CHECK(!flushq_mm_loaded(&fake.fq, &mm[0]));
	fake_forget();
	shoot(0, 0);
	visit(0);
	run(1, 0);
	range = page_of(0);
	CHECK(fake_flushed(1, &range));
	CHECK(fake.nr_rules_broken == 0);
}

/* Numbers 2 for address space 0, 3 for 3, and 5 is to have the one that 0 gets meanwhile. */
static void begin_rolls(void)
{
	start_with(3, 3, false);
	run(2, 1);
	visit(0);
}

static void written(void)
{
	flushq_switched(&fake.fq, 1);
}

static void switches_on(void)
{
	flushq_mm_switch_to(&fake.fq, 1, &mm[3]);
}

/* In each step of a switch away from it. */
TEST(mm, two_rollovers_in_switched)
{
	unsigned int step;
	bool more = true;

	if (FAKE_NR < 3)
		return;
	for (step = 0; more; step++) {
		begin_rolls();
		visit(5);
		visit(3);
		run(1, 0);
		fake.irqs_off[1]++;
		switches_on();
		more = rolls_within(step, written);
		fake.irqs_off[1]--;
		comes_back();
	}
	CHECK(step > 2);
}

/* The switch to it was given up: in each step of the next one. */
TEST(mm, two_rollovers_behind_a_switch_that_is_given_up)
{
	unsigned int step;
	bool more = true;

	if (FAKE_NR < 3)
		return;
	for (step = 0; more; step++) {
		begin_rolls();
		run(1, 4);
		visit(3);
		visit(5);
		fake.self = 1;
		fake.irqs_off[1]++;
		flushq_mm_switch_to(&fake.fq, 1, &mm[0]);
		more = rolls_within(step, switches_on);
		written();
		fake.irqs_off[1]--;
		comes_back();
	}
	CHECK(step > 2);
}
#endif

/* With 64 CPUs in the set, none running it, as many atomic operations as with one. */
TEST(mm, fan_out)
{
	unsigned int nr = FLUSHQ_NR_CPUS > 65 ? 65 : FLUSHQ_NR_CPUS;

	if (nr > 1)
		CHECK(work(nr, nr - 1) == work(nr, 1));
}
#endif

/* A rollover between an initiator's look at the ASID and its end: it asks for the new one (B5). */
static flushq_atomic_ulong *renumber;

static void renumbers(const struct flushq_range *range)
{
	(void)range;
	if (renumber)
		*renumber += 1;
	renumber = NULL;
}

TEST(mm, renumbered_under_an_initiator)
{
	struct flushq_range range;
	unsigned long cpus[FAKE_WORDS];
	flushq_asid asid;

	if (FAKE_NR < 2)
		return;
	start(8, false);
	asid = run(0, 0);
	fake_forget();
	range = page_of(0);
	renumber = &mm[0].id;
	fake.on_flush = renumbers;
	fake.self = 0;
	flushq_mm_shootdown(&fake.fq, 0, &mm[0], &range);
	CHECK(range.asid == asid + 1);
	mm[0].id -= 1;
	renumber = &mm[0].id;
	range = page_of(0);
	CHECK(flushq_mm_post(&fake.fq, 0, &mm[0], &range, cpus) == 0);
	CHECK(range.asid == asid + 1);
	fake.on_flush = NULL;
}

/* More address spaces than ASIDs: what runs keeps its own, the others get theirs by rollovers. */
TEST(mm, rollover)
{
	unsigned long before;
	unsigned int i, round;

	if (FAKE_NR < 2)
		return;
	start(2, false);
	i = run(1, 5);
	CHECK(i != 0);
	before = flushq_asid_rollovers(&asids);
	for (round = 0; round < 4 * (MMS - 1); round++) {
		flushq_asid got = run(0, round % (MMS - 1));

		CHECK(got != i);
		CHECK(flushq_asid_number(&asids, mm[5].id) == i);
	}
	CHECK(flushq_asid_rollovers(&asids) > before);
	/* The mark: CPU 1 flushes everything when it next switches. */
	fake_forget();
	run(1, 0);
	CHECK(fake_flushed(1, &all));
}

/* None at all: they share ASID 0, which is flushed before and behind the register's write. */
TEST(mm, no_asids)
{
	start(0, false);
	CHECK(run(0, 0) == 0);
	fake_forget();
	CHECK(run(0, 1) == 0);
	CHECK(fake_flushes_on(0) >= 2);
	CHECK(fake_last_on(0)->asid == 0 && fake_last_on(0)->pages == 0);
	fake_forget();
	CHECK(run(0, 1) == 0);
	CHECK(fake_flushes_on(0) == 0);
}

TEST(mm, loaded)
{
	if (FAKE_NR < 2)
		return;
	start(8, false);
	CHECK(!flushq_mm_loaded(&fake.fq, &mm[0]));
	run(1, 0);
	CHECK(flushq_mm_loaded(&fake.fq, &mm[0]));
	lazy(1);
	CHECK(flushq_mm_loaded(&fake.fq, &mm[0]));
	CHECK(!flushq_mm_loaded(&fake.fq, &mm[1]));
	/* Amid a switch it may still be in the register. */
	fake.self = 1;
	fake.irqs_off[1]++;
	flushq_mm_switch_to(&fake.fq, 1, &mm[1]);
	CHECK(flushq_mm_loaded(&fake.fq, &mm[0]));
	flushq_switched(&fake.fq, 1);
	fake.irqs_off[1]--;
	CHECK(!flushq_mm_loaded(&fake.fq, &mm[0]));
	park(1);
	CHECK(!flushq_mm_loaded(&fake.fq, &mm[1]));
}

/* ---- tickets ---- */

static struct flushq_ticket ticket;

static bool take(unsigned int cpu, unsigned int i, enum flushq_kind kind)
{
	struct flushq_range range = flushq_mm_range(&fake.fq, &mm[i], 3 * PAGE, PAGE, PAGE, kind);

	fake.self = cpu;
	return flushq_mm_ticket_take(&fake.fq, cpu, &mm[i], &range, &ticket);
}

/* CPU 1 runs it and is not interrupted: its tick, its going away or a switch end the wait. */
static void ticket_ends(void (*how)(unsigned int cpu))
{
	struct flushq_range range;

	if (FAKE_NR < 2)
		return;
	start(8, false);
	run(1, 0);
	fake_forget();
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	CHECK(fake.nr_interrupts == 0 && fake.event[FLUSHQ_TICKETS] == 1);
	CHECK(!flushq_ticket_done(&fake.fq, &ticket));
	how(1);
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
	/* Whatever it was, before it uses it again it has flushed. */
	range = page_of(0);
	unlazy(1);
	run(1, 0);
	CHECK(fake_flushed(1, &range));
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
}

static void switches(unsigned int cpu)
{
	run(cpu, 1);
}

TEST(ticket, tick)
{
	ticket_ends(tick);
}

TEST(ticket, idle)
{
	ticket_ends(lazy);
}

TEST(ticket, parked)
{
	ticket_ends(park);
}

TEST(ticket, switches)
{
	ticket_ends(switches);
}

TEST(ticket, interrupt)
{
	ticket_ends(fake_drain);
}

/* The debt was paid by a drain that the ticket did not see: the next tick drains all the same. */
TEST(ticket, drained_before_it_was_counted)
{
	if (FAKE_NR < 2)
		return;
	start(8, false);
	run(1, 0);
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	CHECK(fake.cpu[1].bell == FLUSHQ_BELL_TICKET);
	fake_drain(1);
	fake.cpu[1].bell = FLUSHQ_BELL_TICKET;
	ticket.enough[1] += 2;
	CHECK(!flushq_ticket_done(&fake.fq, &ticket));
	tick(1);
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
	/* Nobody runs it: done at once. */
	park(1);
	CHECK(take(0, 0, FLUSHQ_LEAF));
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
}

/* A shootdown that finds a ticket's bell sends its interrupt; a ticket waited for sends one too. */
TEST(ticket, bell)
{
	if (FAKE_NR < 2)
		return;
	start(8, false);
	run(1, 0);
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	fake_forget();
	shoot(0, 0);
	CHECK(fake.interrupted[0] == 0x2);
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	fake_forget();
	flushq_ticket_wait(&fake.fq, 0, &ticket);
	CHECK(fake.interrupted[0] == 0x2);
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
	fake_forget();
	flushq_ticket_wait(&fake.fq, 0, &ticket);
	CHECK(fake.nr_interrupts == 0);
}

/* Who has parked since, or drained, is not interrupted for it; nor is who waits. */
TEST(ticket, waits_for_who_is_left)
{
	unsigned int i;

	if (FAKE_NR < 4)
		return;
	start(8, false);
	for (i = 1; i < 4; i++)
		run(i, 0);
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	park(2);
	tick(3);
	fake_forget();
	fake.self = 0;
	flushq_ticket_wait(&fake.fq, 0, &ticket);
	CHECK(fake.interrupted[0] == 0x2 && flushq_ticket_done(&fake.fq, &ticket));
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	park(3);
	fake_forget();
	fake.self = 1;
	flushq_ticket_wait(&fake.fq, 1, &ticket);
	CHECK(fake.nr_interrupts == 0 && flushq_ticket_done(&fake.fq, &ticket));
}

/* An interrupt is on its way: a ticket does not make it forgotten. */
TEST(ticket, beside_an_interrupt)
{
	struct flushq_range range;

	if (FAKE_NR < 2)
		return;
	start(8, false);
	run(1, 0);
	fake.cpu[1].bell = FLUSHQ_BELL_INTERRUPT;
	fake.pending[0] = 0x2;
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	fake_forget();
	fake.held = true;
	shoot(0, 0);
	range = page_of(0);
	CHECK(fake.nr_interrupts == 0 && fake_flushed(1, &range));
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
}

static void all_drain_and_a_ticket_is_taken(void)
{
	unsigned int self = fake.self;

	fake_deliver();
	if (ticket.cpus[0] == 0)
		CHECK(!take(3, 0, FLUSHQ_LEAF));
	fake.self = self;
}

/* While it waits for one CPU, the next one has drained, and has a ticket's bell by now: nothing is left to wait
 * for. */
TEST(ticket, hides_no_drain)
{
	if (FAKE_NR < 4)
		return;
	start(8, false);
	run(1, 0);
	run(2, 0);
	fake_forget();
	memset(&ticket, 0, sizeof(ticket));
	fake.held = true;
	fake.on_relax = all_drain_and_a_ticket_is_taken;
	shoot(0, 0);
	fake.on_relax = NULL;
	CHECK(fake.cpu[2].bell == FLUSHQ_BELL_TICKET);
	CHECK(fake.nr_relaxed == 1 && fake.nr_interrupts == 1);
}

/* What may not wait does not. */
TEST(ticket, forced)
{
	if (FAKE_NR < 2)
		return;
	start(8, false);
	run(1, 0);
	fake_forget();
	memset(&ticket, 0xff, sizeof(ticket));
	CHECK(take(0, 0, FLUSHQ_TABLES));
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
	CHECK(fake.interrupted[0] == 0x2);
	fake_forget();
	CHECK(take(0, 0, FLUSHQ_GLOBAL));
	CHECK(fake.interrupted[0] & 0x2);
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
}

/* It knows nothing of its address space. */
TEST(ticket, outlives_the_address_space)
{
	if (FAKE_NR < 2)
		return;
	start(8, true);
	run(1, 0);
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	park(1);
	memset(&mm[0], 0xa5, sizeof(mm[0]));
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
}

static struct flushq_reclaim items[3];
static unsigned int freed;

static void give_back(struct flushq_reclaim *item)
{
	CHECK(item == &items[freed]);
	/* It is the host's again. */
	item->next = item;
	freed++;
}

TEST(ticket, reclaim_in_order)
{
	struct flushq_reclaim_list list = { NULL, NULL };
	unsigned int i;

	if (FAKE_NR < 2)
		return;
	start(8, false);
	freed = 0;
	CHECK(flushq_reclaim_run(&fake.fq, &list) == 0);
	run(1, 0);
	for (i = 0; i < 3; i++) {
		struct flushq_range range = page_of(0);

		if (i == 2)
			park(1);
		fake.self = 0;
		flushq_mm_ticket_take(&fake.fq, 0, &mm[0], &range, &items[i].ticket);
		items[i].free = give_back;
		flushq_reclaim_add(&list, &items[i]);
		if (i < 2)
			CHECK(flushq_reclaim_run(&fake.fq, &list) == 0);
	}
	CHECK(flushq_reclaim_run(&fake.fq, &list) == 3 && freed == 3);
	CHECK(list.first == NULL);
	flushq_reclaim_add(&list, &items[0]);
	freed = 0;
	CHECK(flushq_reclaim_run(&fake.fq, &list) == 1);
}

/* Whose log is blocked: the caller's own TLB is flushed all the same. */
TEST(mm, own_tlb_where_the_log_is_blocked)
{
	struct flushq_range range;
	unsigned int i;

	start(8, true);
	run(0, 0);
	logs[0].slot[0].state = FLUSHQ_RING_CLAIMED;
	for (i = 0; i < FLUSHQ_LOG_SLOTS; i++) {
		range = flushq_mm_range(&fake.fq, &mm[0], (4 + 2ul * i) * PAGE, PAGE, PAGE,
					FLUSHQ_LEAF);
		fake_forget();
		flushq_mm_shootdown(&fake.fq, 0, &mm[0], &range);
		CHECK(fake_flushed(0, &range));
	}
	CHECK(fake.event[FLUSHQ_LOG_BLOCKED] == 1 && fake.event[FLUSHQ_LOG_APPENDS] == 0);
}

#if FLUSHQ_NR_CPUS >= 130
TEST(mm, several_words)
{
	struct flushq_range range;

	start_with(130, 8, true);
	run(6, 0);
	run(70, 0);
	run(129, 0);
	fake_forget();
	shoot(70, 0);
	range = page_of(0);
	CHECK(fake_flushed(6, &range) && fake_flushed(70, &range) && fake_flushed(129, &range));
	CHECK(fake.nr_interrupts == 1 && !flushq_cpuset_has(fake.interrupted, 70));
}
#endif

TEST(mm, init_of_memory_that_was_another)
{
	unsigned int w;

	memset(&mm[0], 0xff, sizeof(mm[0]));
	flushq_mm_init(&mm[0], NULL);
	CHECK(mm[0].id == 0 && !mm[0].log);
	for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++)
		CHECK(mm[0].cpus[w] == 0);
	memset(&fake.fq, 0xff, sizeof(fake.fq));
	memset(&asids, 0xff, sizeof(asids));
	flushq_init(&fake.fq, fake.cpu, 1);
	CHECK(!fake.fq.asids && fake.fq.limit == FLUSHQ_RESIDENT);
	flushq_use_asids(&fake.fq, &asids, 8);
	CHECK(asids.lock == 0);
}

/* The answer is that of the second look. */
TEST(mm, renumbered_under_a_post)
{
	struct flushq_range range;
	unsigned long cpus[FAKE_WORDS];
	flushq_asid asid;
	unsigned int how;

	if (FAKE_NR < 2)
		return;
	for (how = 0; how < 2; how++) {
		start(8, false);
		asid = run(0, 0);
		run(1, 0);
		fake.cpu[1].context = flushq_context_loaded(asid + 1);
		range = page_of(0);
		renumber = &mm[0].id;
		fake.on_flush = renumbers;
		fake.self = 0;
		if (how)
			CHECK(!take(0, 0, FLUSHQ_LEAF));
		else
			CHECK(flushq_mm_post(&fake.fq, 0, &mm[0], &range, cpus) == 1 &&
			      cpus[0] == 2);
		fake.on_flush = NULL;
	}
}

static void is_busy(const struct flushq_range *range)
{
	(void)range;
	CHECK(fake.cpu[fake.self].busy);
}

/* An NMI there must not touch the table. */
TEST(mm, second_attempt_of_a_switch_is_the_owners)
{
	start(8, false);
	fake.on_flush = is_busy;
	run(0, 0);
	CHECK(fake.nr_flushes == 1 && !fake.cpu[0].busy);
	fake.on_flush = NULL;
}

/* An entry whose address space had a log, which was freed, goes to one that has none. */
TEST(mm, entry_without_a_log_that_had_one)
{
	start(8, true);
	fake.self = 0;
	fake.irqs_off[0]++;
	flushq_priv_switch_to(&fake.fq, 0, 10, mm[0].cpus, &logs[0]);
	flushq_switched(&fake.fq, 0);
	flushq_park(&fake.fq, 0);
	fake_shootdown(0, NULL, &all);
	CHECK(!resident(0, 10, mm[0].cpus));
	memset((void *)&logs[0], 0xff, sizeof(logs[0]));
	fake_forget();
	flushq_priv_switch_to(&fake.fq, 0, 10, mm[1].cpus, NULL);
	flushq_switched(&fake.fq, 0);
	flushq_drain(&fake.fq, 0);
	flushq_park(&fake.fq, 0);
	CHECK(fake_flushes_on(0) == 1 && logs[0].loaded[0] == ~0ul && logs[0].readers[0] == ~0ul);
	fake.irqs_off[0]--;
}

static void ticket_in_a_drain(const struct flushq_range *range)
{
	(void)range;
	fake.on_flush = NULL;
	CHECK(!take(0, 0, FLUSHQ_LEAF));
	/* A shootdown of another rings after that. */
	fake.cpu[1].bell = FLUSHQ_BELL_INTERRUPT;
	fake.self = 1;
}

/* The drain that runs has read the queue: it is not the ticket's, whoever rings in between. */
TEST(ticket, rung_over_by_an_interrupt)
{
	struct flushq_range range;

	if (FAKE_NR < 2)
		return;
	start(8, false);
	run(1, 0);
	range = page_of(0);
	owe(1, &range);
	fake.on_flush = ticket_in_a_drain;
	fake_drain(1);
	CHECK(!flushq_ticket_done(&fake.fq, &ticket));
	fake_drain(1);
	CHECK(flushq_ticket_done(&fake.fq, &ticket));
}

/* What was replayed is not replayed again. */
TEST(mm, log_is_replayed_once)
{
	struct flushq_range range;

	if (FAKE_NR < 2)
		return;
	away_for(1);
	fake_forget();
	run(1, 0);
	range = page_of(0);
	expect_flush(1, &range);
	fake_forget();
	park(1);
	run(1, 0);
	CHECK(fake_flushes_on(1) == 0 && fake.event[FLUSHQ_DRAINS] == 0);
}

/* The log of what is in the table and not in the register is not looked at: it may have been freed. */
TEST(mm, log_that_was_freed_while_parked)
{
	struct flushq_range range;

	start(8, true);
	run(0, 0);
	run(0, 1);
	CHECK(!flushq_mm_loaded(&fake.fq, &mm[0]));
	memset((void *)&logs[0], 0x5a, sizeof(logs[0]));
	fake_forget();
	tick(0);
	CHECK(fake.event[FLUSHQ_DRAINS] == 0);
	range = page_of(1);
	owe(0, &range);
	fake_drain(0);
	expect_flush(0, &range);
	/* Nor written. */
	CHECK(logs[0].readers[0] == ~0ul / 0xff * 0x5a);
}

/* A bell from before it went offline has no interrupt any more. */
TEST(mm, bell_from_before_online)
{
	if (FAKE_NR < 2)
		return;
	start(8, false);
	offline(1);
	fake.cpu[1].bell = FLUSHQ_BELL_INTERRUPT;
	online(1);
	CHECK(fake.cpu[1].bell == FLUSHQ_BELL_SILENT);
}

/* As many pages as may be are flushed one by one. */
TEST(mm, budget_is_inclusive)
{
	struct flushq_range range;

	start(8, false);
	run(0, 0);
	range = flushq_mm_range(&fake.fq, &mm[0], PAGE, FLUSHQ_PAGES_MAX * PAGE, PAGE, FLUSHQ_LEAF);
	CHECK(range.pages == FLUSHQ_PAGES_MAX);
	owe(0, &range);
	fake_forget();
	fake_drain(0);
	expect_flush(0, &range);
}

static unsigned int nmis;

static void nmi_in_each_drain(const struct flushq_range *range)
{
	struct flushq_range r = page_of(0);

	(void)range;
	if (nmis >= 2 || fake.cpu[0].again)
		return;
	nmis++;
	fake.on_flush = NULL;
	flushq_queue_put(&fake.cpu[0].queue, &r);
	flushq_drain(&fake.fq, 0);
	fake.on_flush = nmi_in_each_drain;
}

/* One that comes in the drain that was left by one. */
TEST(mm, nmi_in_the_drain_of_an_nmi)
{
	struct flushq_range r;

	start(8, false);
	run(0, 0);
	r = page_of(0);
	owe(0, &r);
	nmis = 0;
	fake_forget();
	fake.on_flush = nmi_in_each_drain;
	fake_drain(0);
	fake.on_flush = NULL;
	CHECK(nmis == 2 && fake.event[FLUSHQ_DRAINS] == 3);
	CHECK(flushq_ring_idle(&fake.cpu[0].queue.ring, fake.cpu[0].head));
}
