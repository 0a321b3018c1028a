/* SPDX-License-Identifier: MIT */
/* What a drain reads, merges, flushes and gives back. */
#include "scene.h"

static struct flushq_range second;
static unsigned int deep;

static void drain_again(const struct flushq_range *range)
{
	unsigned int before;

	(void)range;
	if (deep++)
		return;
	/* An NMI in the drain: who sent it may not wait for more than the inner call; but that leaves what
	 * it brought to the outer. */
	second = fake_page(5, 77);
	flushq_queue_put(&fake.cpu[1].queue, &second);
	before = fake_flushes_on(1);
	flushq_drain(&fake.fq, 1);
	CHECK(fake_flushes_on(1) == before + 1 && fake_same(fake_last_on(1), &all));
	CHECK(fake.cpu[1].again && !flushq_ring_idle(&fake.cpu[1].queue.ring, fake.cpu[1].head));
}

TEST(drain, drain_inside_drain)
{
	struct flushq_range r = fake_page(5, 3);

	scene();
	fake_post(0, set, &r, mask);
	deep = 0;
	fake.on_flush = drain_again;
	fake_drain(1);
	CHECK(fake_flushed(1, &r) && fake_same(fake_last_on(1), &second));
	CHECK(fake.event[FLUSHQ_DRAINS] == 2);
	CHECK(!fake.cpu[1].busy && !fake.cpu[1].again && !(fake.cpu[1].drains & 1));
	CHECK(fake.irqs_off[1] == 0);
}

static void given_back(const struct flushq_range *range)
{
	struct flushq_range r = fake_page(5, 1);
	unsigned int i;

	(void)range;
	CHECK(fake.cpu[1].drains & 1);
	if (deep++)
		return;
	for (i = 0; i < SLOTS; i++)
		CHECK(flushq_queue_put(&fake.cpu[1].queue, &r) == FLUSHQ_PUT_QUEUED);
	CHECK(flushq_queue_put(&fake.cpu[1].queue, &r) == FLUSHQ_PUT_MARKED);
}

/* Slots are free once they were read, and what comes while their requests are flushed for is not
 * lost. */
TEST(drain, what_comes_during_the_flush_is_for_the_next_drain)
{
	struct flushq_range r = fake_page(5, 3), whole = flushq_range_whole(5, FLUSHQ_TABLES);
	unsigned int i;

	scene();
	for (i = 0; i < SLOTS; i++)
		fake_post(0, set, &r, mask);
	deep = 0;
	fake.on_flush = given_back;
	fake_drain(1);
	CHECK(fake.event[FLUSHQ_DRAINS] == 1 && !fake_flushed(1, &whole));
	CHECK(!flushq_ring_idle(&fake.cpu[1].queue.ring, fake.cpu[1].head));
	fake_drain(1);
	CHECK(fake_flushed(1, &whole));
	CHECK(flushq_ring_idle(&fake.cpu[1].queue.ring, fake.cpu[1].head));
}

/* P3, B24: what does not fit marks that CPU alone, and costs no interrupt. */
TEST(drain, overflow)
{
	struct flushq_range r = fake_page(5, 3), asid5 = flushq_range_whole(5, FLUSHQ_TABLES);
	unsigned int i;

	scene();
	/* CPU 4 is parked and full; CPU 2 is not full. */
	for (i = 0; i < SLOTS; i++)
		owe(4, &r);
	fake_post(0, set, &r, mask);
	CHECK(mask[0] == 0x2 && fake.event[FLUSHQ_OVERFLOWS] == 1 &&
	      fake.event[FLUSHQ_COVERED] == 0);
	fake_drain(1);
	fake_post(0, set, &r, mask);
	CHECK(mask[0] == 0x2 && fake.event[FLUSHQ_COVERED] >= 1);
	fake_forget();
	fake_switch(4, 5, set);
	expect_flush(4, &asid5);
	CHECK(fake.event[FLUSHQ_JOINED] == 0);
	fake_drain(1);
	CHECK(!fake_flushed(1, &asid5));
}

TEST(drain, overflow_of_two_asids_flushes_everything)
{
	struct flushq_range a = fake_page(5, 3), b = fake_page(6, 3);
	unsigned int i;

	scene();
	for (i = 0; i < SLOTS; i++)
		owe(4, &a);
	flushq_queue_put(&fake.cpu[4].queue, &a);
	flushq_queue_put(&fake.cpu[4].queue, &b);
	fake_switch(4, 5, set);
	expect_flush(4, &all);
}

/* The mark of what is parked: all of it goes, and so does the CPU. What it covers is not kept. */
TEST(drain, overflow_of_a_parked_asid)
{
	struct flushq_range r = fake_page(5, 3), asid5 = flushq_range_whole(5, FLUSHQ_TABLES);
	unsigned int i;

	scene();
	fake_switch(4, 6, other);
	fake_forget();
	for (i = 0; i < SLOTS; i++)
		owe(4, &r);
	CHECK(flushq_queue_put(&fake.cpu[4].queue, &r) == FLUSHQ_PUT_MARKED);
	fake_drain(4);
	expect_flush(4, &asid5);
	CHECK(fake.event[FLUSHQ_LEFT] == 1 && fake.event[FLUSHQ_AGED] == 0);
	CHECK(!flushq_cpuset_has(set, 4) && !resident(4, 5, set));
	CHECK(fake.cpu[4].resident.nr_owed == 0);
	CHECK(flushq_cpuset_has(other, 4) && resident(4, 6, other));
}

/* The mark of what is not in the table stands for nothing. */
TEST(drain, overflow_of_an_asid_that_never_ran)
{
	struct flushq_range r = fake_page(9, 3);
	unsigned int i;

	scene();
	for (i = 0; i < SLOTS; i++)
		owe(1, &r);
	CHECK(flushq_queue_put(&fake.cpu[1].queue, &r) == FLUSHQ_PUT_MARKED);
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 0 && fake.cpu[1].queue.ring.sticky == 0);
	CHECK(fake.cpu[1].resident.nr_owed == 0 && fake.event[FLUSHQ_DRAINS] == 1);
	owe(1, &r);
}

/* In one drain: what is in the register is flushed, what is parked kept, what never ran forgotten. */
TEST(drain, three_ways_of_a_request)
{
	struct flushq_range now = fake_page(6, 3), later = fake_page(5, 4), never = fake_page(9, 5);

	if (SLOTS < 4)
		return;
	scene();
	owe(2, &never);
	owe(2, &later);
	owe(2, &now);
	fake_drain(2);
	expect_flush(2, &now);
	CHECK(fake.cpu[2].resident.nr_owed == 1);
	fake_drain(2);
	CHECK(fake_flushes_on(2) == 1);
	fake_forget();
	fake_switch(2, 5, set);
	expect_flush(2, &later);
	CHECK(fake.cpu[2].resident.nr_owed == 0);
	fake_forget();
	fake_switch(2, 6, NULL);
	CHECK(fake_flushes_on(2) == 0);
}

/* Between switch_to() and switched() either may be in the register. */
TEST(drain, both_sides_of_a_switch_are_flushed)
{
	struct flushq_range a = fake_page(5, 3), b = fake_page(6, 4);

	if (SLOTS < 2)
		return;
	scene();
	fake_switch(4, 6, other);
	switch_to(4, 5, set);
	fake_forget();
	owe(4, &a);
	owe(4, &b);
	fake_drain(4);
	CHECK(fake_flushes_on(4) == 2 && fake_flushed(4, &a) && fake_flushed(4, &b));
	switched(4);
	fake_forget();
	owe(4, &a);
	owe(4, &b);
	fake_drain(4);
	expect_flush(4, &a);
}

TEST(drain, adjacent_requests_merge)
{
	struct flushq_range a = fake_page(5, 3), b = fake_page(5, 4), both = a;

	if (SLOTS < 2 || FLUSHQ_PAGES_MAX < 2)
		return;
	scene();
	owe(1, &a);
	owe(1, &b);
	fake_drain(1);
	both.pages = 2;
	expect_flush(1, &both);
	CHECK(fake.event[FLUSHQ_FLUSHED_PAGES] == 2);
}

TEST(drain, budget_of_a_drain)
{
	unsigned long half = FLUSHQ_PAGES_MAX / 2 + 1ul;
	unsigned int i, pages = 0, wholes = 0;

	if (SLOTS < 4 || FLUSHQ_PAGES_MAX < 2)
		return;
	scene();
	/* More pages together than the budget; none merges with its neighbour. */
	for (i = 0; i < 4; i++) {
		struct flushq_range r = flushq_range_make(5, (1 + i * (half + 1)) * PAGE,
							  half * PAGE, PAGE, FLUSHQ_LEAF);

		owe(1, &r);
	}
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 4);
	for (i = 0; i < fake.nr_flushes; i++) {
		const struct flushq_range *f = &fake.flush[i].range;

		CHECK(f->asid == 5 && f->kind == FLUSHQ_LEAF);
		pages += f->pages;
		wholes += f->pages == 0;
	}
	CHECK(pages <= FLUSHQ_PAGES_MAX && wholes == 3);
	CHECK(fake.event[FLUSHQ_FLUSHED_ASIDS] == 3);
	/* All of what is in the register: it stays. */
	CHECK(flushq_cpuset_has(set, 1) && resident(1, 5, set));
	/* Each drain has its own. */
	fake_forget();
	second = flushq_range_make(5, PAGE, half * PAGE, PAGE, FLUSHQ_LEAF);
	owe(1, &second);
	fake_drain(1);
	expect_flush(1, &second);
}

/* A producer that stalled, nothing behind it: it will look itself, so nothing is owed. */
TEST(drain, stalled_producer_alone)
{
	unsigned int cpu;

	/* In the register; parked. */
	for (cpu = 1; cpu <= 4; cpu += 3) {
		scene();
		claim(cpu, 0);
		fake_drain(cpu);
		CHECK(fake_flushes_on(cpu) == 0 && fake.event[FLUSHQ_ESCALATIONS] == 0);
		fake_switch(cpu, 5, set);
		CHECK(fake_flushes_on(cpu) == 0);
	}
}

TEST(drain, stalled_producer_with_requests_behind)
{
	struct flushq_range r = fake_page(5, 3);

	if (SLOTS < 2)
		return;
	scene();
	claim(1, 0);
	owe(1, &r);
	fake_drain(1);
	expect_flush(1, &all);
	CHECK(fake.event[FLUSHQ_ESCALATIONS] == 1);
	/* Nothing was taken away from it: as long as it is stalled, each drain is as large. */
	fake_forget();
	fake_switch(1, 5, set);
	expect_flush(1, &all);
	/* It goes on. */
	fake_forget();
	CHECK(flushq_priv_ring_fill(&fake.cpu[1].queue.ring, fake.cpu[1].head, flushq_priv_key(&r),
				    flushq_priv_value(&r)));
	fake_drain(1);
	expect_flush(1, &r);
	CHECK(fake.event[FLUSHQ_ESCALATIONS] == 0);
	/* Nothing that is not in the register outlives it. */
	scene();
	claim(2, 0);
	owe(2, &r);
	fake_drain(2);
	expect_flush(2, &all);
	CHECK(!flushq_cpuset_has(set, 2) && !resident(2, 5, set) && resident(2, 6, NULL));
	CHECK(fake.cpu[2].resident.nr_owed == 0);
}

TEST(drain, stalled_producer_behind_requests)
{
	struct flushq_range r = fake_page(5, 3);

	if (SLOTS < 2)
		return;
	scene();
	owe(1, &r);
	claim(1, 1);
	fake_drain(1);
	expect_flush(1, &r);
}

TEST(drain, suspects_are_flushed)
{
	struct flushq_range r = fake_page(5, 3), first = fake_page(5, 9);
	struct flushq_ring *ring = &fake.cpu[1].queue.ring;
	struct flushq_range mark = flushq_range_whole(5, FLUSHQ_TABLES);

	/* Positions that do not wrap leave no hole. */
	if (FLUSHQ_POSITION_BITS == 64 || SLOTS < 4)
		return;
	scene();
	ring->tail = (flushq_ring_pos)(fake.cpu[1].head + 1);
	/* Behind a hole: the mark stands for it. */
	CHECK(flushq_queue_put(&fake.cpu[1].queue, &r) == FLUSHQ_PUT_MARKED);
	fake_drain(1);
	expect_flush(1, &mark);
	/* The hole is filled: the suspect is read as well, once. */
	fake_forget();
	ring->tail = fake.cpu[1].head;
	CHECK(flushq_queue_put(&fake.cpu[1].queue, &first) == FLUSHQ_PUT_QUEUED);
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 2 && fake_flushed(1, &r) && fake_flushed(1, &first));
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 2);
}

TEST(drain, mark_swallows_what_it_covers)
{
	struct flushq_range r = fake_page(5, 3), whole = flushq_range_whole(5, FLUSHQ_TABLES);
	unsigned int i;

	scene();
	for (i = 0; i < SLOTS + 1; i++)
		flushq_queue_put(&fake.cpu[1].queue, &r);
	fake_drain(1);
	expect_flush(1, &whole);
	/* Not what it does not cover. */
	scene();
	switch_to(1, 6, other);
	fake_forget();
	second = fake_page(6, 3);
	for (i = 0; i < SLOTS; i++)
		flushq_queue_put(&fake.cpu[1].queue, &second);
	flushq_queue_put(&fake.cpu[1].queue, &r);
	fake_drain(1);
	CHECK(fake_flushes_on(1) == 2 && fake_flushed(1, &whole) && fake_flushed(1, &second));
}

TEST(drain, of_a_cpu_that_is_parked)
{
	struct flushq_range a = fake_page(5, 3), b = fake_page(5, 9);
	bool kept = FLUSHQ_OWED > 1 && FLUSHQ_PAGES_MAX > 1;

	if (SLOTS < 2)
		return;
	scene();
	owe(4, &a);
	owe(4, &b);
	fake_drain(4);
	CHECK(fake_flushes_on(4) == !kept && fake.event[FLUSHQ_DRAINS] == 1);
	/* The queue is free again, the debts are kept. */
	CHECK(flushq_ring_idle(&fake.cpu[4].queue.ring, fake.cpu[4].head));
	CHECK(fake.cpu[4].resident.nr_owed == (kept ? 2 : 0));
	fake_switch(4, 5, set);
	CHECK(fake_flushed(4, &a) && fake_flushed(4, &b));
}

TEST(drain, tick)
{
	struct flushq_range r = fake_page(5, 3);
	unsigned int i;

	scene();
	tick(1);
	CHECK(fake.event[FLUSHQ_DRAINS] == 0 && fake.nr_flushes == 0);
	owe(1, &r);
	tick(1);
	expect_flush(1, &r);
	CHECK(fake.event[FLUSHQ_DRAINS] == 1);
	tick(1);
	CHECK(fake.event[FLUSHQ_DRAINS] == 1);
	/* A mark alone; and for what is parked the slots are free again. */
	for (i = 0; i < SLOTS; i++)
		owe(4, &r);
	tick(4);
	owe(4, &r);
	fake_forget();
	CHECK(flushq_ring_stick(&fake.cpu[3].queue.ring, flushq_mark_of(&r)));
	tick(3);
	CHECK(fake_flushed(3, &r) && fake.event[FLUSHQ_DRAINS] == 1);
	CHECK(fake.irqs_off[1] == 0 && fake.nr_rules_broken == 0);
	/* Interrupts on. */
	fake.self = 4;
	flushq_tick(&fake.fq, 4);
	CHECK(fake.event[FLUSHQ_DRAINS] == 2 && fake.nr_rules_broken == 0);
	/* An NMI's, with nothing to do: it leaves that, too, to be found out by whom it interrupted. */
	fake.cpu[4].busy = true;
	flushq_tick(&fake.fq, 4);
	CHECK(fake.cpu[4].again && fake.event[FLUSHQ_DRAINS] == 2);
	fake.cpu[4].busy = fake.cpu[4].again = false;
	fake_forget();
	flushq_tick(&fake.fq, 8);
	CHECK(fake.nr_rules_broken == 1 && fake_flushed(4, &all));
}

#ifdef CHECK_STEPS

/* The bell is silenced before the mark and the queue are read; the drain counts as begun by then. */
TEST(drain, order_of_a_drain)
{
	struct flushq_ring *ring = &fake.cpu[1].queue.ring;
	struct flushq_range r = fake_page(5, 3);
	unsigned int begun, bell, mark, slot, freed, end;
	flushq_atomic_ring_pos *state;

	scene();
	flushq_queue_put(&fake.cpu[1].queue, &r);
	state = &flushq_priv_ring_at(ring, fake.cpu[1].head)->state;
	fake.self = 1;
	record();
	flushq_drain(&fake.fq, 1);
	record_end();
	begun = find(0, STEP_STORE, &fake.cpu[1].drains);
	bell = find(0, STEP_RMW, &fake.cpu[1].bell);
	mark = find(0, STEP_LOAD, &ring->sticky);
	slot = find(0, STEP_LOAD, state);
	freed = find(slot, STEP_STORE, state);
	end = find(begun + 1, STEP_STORE, &fake.cpu[1].drains);
	CHECK(begun < bell && bell < mark && bell < slot && mark < end && slot < freed);
	CHECK(freed < end && end < NOT_FOUND);
}

static unsigned int nmi_at, nmi_cpu, flushes_before;
static struct flushq_range nmi_range;

static void nmi(enum step_kind kind, const volatile void *where)
{
	(void)kind;
	(void)where;
	if (nmi_at-- != 0)
		return;
	steps.hook = NULL;
	flushq_queue_put(&fake.cpu[nmi_cpu].queue, &nmi_range);
	flushes_before = fake.nr_flushes;
	flushq_drain(&fake.fq, nmi_cpu);
}

static void owner_call(unsigned int call)
{
	switch (call) {
	case 0:
		switch_to(nmi_cpu, 5, set);
		break;
	case 1:
		switch_to(nmi_cpu, 6, other);
		break;
	case 2:
		/* The same ASID again: switched() flushes as well. */
		fake_switch(nmi_cpu, 5, other);
		break;
	case 3:
		park(nmi_cpu);
		break;
	case 4:
		lazy(nmi_cpu);
		unlazy(nmi_cpu);
		break;
	case 5:
		fake_drain(nmi_cpu);
		break;
	case 6:
		park(nmi_cpu);
		offline(nmi_cpu);
		online(nmi_cpu);
		break;
	default:
		fake_post(nmi_cpu, set, &nmi_range, mask);
		break;
	}
}

/* One NMI in one call of a CPU that owes something, or nothing; false where it was over before. */
static bool with_nmi(unsigned int call, bool owes, unsigned int at)
{
	struct flushq_range r = fake_page(5, 3);
	struct flushq_cpu *cpu = &fake.cpu[nmi_cpu];
	bool flushed = false;
	unsigned int i;
	uint32_t of;

	scene();
	if (owes)
		flushq_queue_put(&cpu->queue, &r);
	nmi_range = fake_page(5, 77);
	nmi_at = at;
	steps.hook = nmi;
	owner_call(call);
	if (steps.hook) {
		steps.hook = NULL;
		return false;
	}
	CHECK(!cpu->busy && !cpu->again && !(cpu->drains & 1));
	CHECK(flushq_ring_idle(&cpu->queue.ring, cpu->head));
	CHECK(fake.irqs_off[nmi_cpu] == 0 && fake.nr_rules_broken == 0);
	/* Flushed, or owed, or to be flushed when it is switched to. */
	for (i = flushes_before; i < fake.nr_flushes; i++)
		flushed |= fake.flush[i].cpu == nmi_cpu &&
			   flushq_range_covers(&fake.flush[i].range, &nmi_range);
	of = flushq_resident_of(&cpu->resident, 5);
	CHECK(flushed || !(of & cpu->resident.loaded));
	if (!flushed && of) {
		fake_forget();
		fake_switch(nmi_cpu, 5, set);
		CHECK(fake_flushed(nmi_cpu, &nmi_range));
	}
	return true;
}

/* An NMI that brings a request and drains, at each operation of each call of the owner's. */
TEST(drain, nmi_anywhere)
{
	unsigned int call, at, owes;

	/* In the register; parked. */
	for (nmi_cpu = 1; nmi_cpu <= 4; nmi_cpu += 3)
		for (call = 0; call < 8; call++)
			for (owes = 0; owes < 2; owes++) {
				for (at = 0; with_nmi(call, owes, at); at++)
					CHECK(at < 1000);
				CHECK(at > 0);
			}
}

/* A producer puts one more whenever the owner is about to look at a slot. */
static void one_more(enum step_kind kind, const volatile void *where)
{
	struct flushq_ring *ring = &fake.cpu[1].queue.ring;
	struct flushq_range r = fake_page(5, 3);

	if (kind != STEP_LOAD || (const volatile char *)where < (const volatile char *)ring->slot ||
	    (const volatile char *)where >= (const volatile char *)&ring->slot[SLOTS] ||
	    deep == 4 * SLOTS)
		return;
	deep++;
	steps.hook = NULL;
	flushq_queue_put(&fake.cpu[1].queue, &r);
	steps.hook = one_more;
}

/* Who produces as fast as it is drained does not keep a drain from its end. */
TEST(drain, takes_no_more_than_a_queue_holds)
{
	flushq_ring_pos before;

	scene();
	before = fake.cpu[1].head;
	deep = 0;
	steps.hook = one_more;
	fake_drain(1);
	steps.hook = NULL;
	CHECK((flushq_ring_pos)(fake.cpu[1].head - before) == SLOTS);
}
#endif
