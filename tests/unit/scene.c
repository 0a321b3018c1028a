/* SPDX-License-Identifier: MIT */
#include "scene.h"

#include <string.h>

flushq_atomic_ulong set[FAKE_WORDS], other[FAKE_WORDS];
unsigned long mask[FAKE_WORDS];
const struct flushq_range all = { 0, 0, 0, FLUSHQ_PAGE_SHIFT, FLUSHQ_GLOBAL };

void begin(unsigned int nr)
{
	fake_start(nr);
	memset(set, 0, sizeof(set));
	memset(other, 0, sizeof(other));
	memset(mask, 0, sizeof(mask));
}

void scene(void)
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

/* Makes `cpu` the one that runs, with interrupts off; returns who ran. */
static unsigned int enter(unsigned int cpu)
{
	unsigned int self = fake.self;

	fake.self = cpu;
	fake.irqs_off[cpu]++;
	return self;
}

static void leave(unsigned int cpu, unsigned int self)
{
	fake.irqs_off[cpu]--;
	fake.self = self;
}

void online(unsigned int cpu)
{
	unsigned int self = enter(cpu);

	flushq_online(&fake.fq, cpu);
	leave(cpu, self);
}

void offline(unsigned int cpu)
{
	unsigned int self = enter(cpu);

	flushq_offline(&fake.fq, cpu);
	leave(cpu, self);
}

void switch_to(unsigned int cpu, flushq_asid asid, flushq_atomic_ulong *cpus)
{
	unsigned int self = enter(cpu);

	flushq_switch_to(&fake.fq, cpu, asid, cpus);
	leave(cpu, self);
}

void switched(unsigned int cpu)
{
	unsigned int self = enter(cpu);

	flushq_switched(&fake.fq, cpu);
	leave(cpu, self);
}

void lazy(unsigned int cpu)
{
	unsigned int self = enter(cpu);

	flushq_enter_lazy(&fake.fq, cpu);
	leave(cpu, self);
}

void unlazy(unsigned int cpu)
{
	unsigned int self = enter(cpu);

	flushq_leave_lazy(&fake.fq, cpu);
	leave(cpu, self);
}

void park(unsigned int cpu)
{
	unsigned int self = enter(cpu);

	flushq_park(&fake.fq, cpu);
	leave(cpu, self);
}

void tick(unsigned int cpu)
{
	unsigned int self = enter(cpu);

	flushq_tick(&fake.fq, cpu);
	leave(cpu, self);
}

void owe(unsigned int cpu, const struct flushq_range *range)
{
	CHECK(flushq_queue_put(&fake.cpu[cpu].queue, range) == FLUSHQ_PUT_QUEUED);
}

void claim(unsigned int cpu, unsigned int ahead)
{
	flushq_ring_pos pos = (flushq_ring_pos)(fake.cpu[cpu].head + ahead);

	flushq_priv_ring_at(&fake.cpu[cpu].queue.ring, pos)->state =
		(flushq_ring_pos)(flushq_priv_ring_empty(pos) + FLUSHQ_RING_CLAIMED);
	fake.cpu[cpu].queue.ring.tail = (flushq_ring_pos)(pos + 1);
}

void expect_flush(unsigned int cpu, const struct flushq_range *range)
{
	CHECK(fake_flushes_on(cpu) == 1);
	CHECK(fake_same(fake_last_on(cpu), range));
}

bool resident(unsigned int cpu, flushq_asid asid, const flushq_atomic_ulong *cpus)
{
	return flushq_resident_find(&fake.cpu[cpu].resident, asid, cpus) != FLUSHQ_NOWHERE;
}

#ifdef CHECK_STEPS

static enum step_kind order[NOT_FOUND];
static const volatile void *place[NOT_FOUND];
static unsigned int nr_order;

static void write_down(enum step_kind kind, const volatile void *where)
{
	if (nr_order < NOT_FOUND) {
		order[nr_order] = kind;
		place[nr_order++] = where;
	}
}

void record(void)
{
	nr_order = 0;
	steps.hook = write_down;
}

void record_end(void)
{
	CHECK(nr_order < NOT_FOUND);
	steps.hook = NULL;
}

unsigned int find(unsigned int from, enum step_kind kind, const volatile void *where)
{
	for (; from < nr_order; from++)
		if (order[from] == kind && (!where || place[from] == where))
			return from;
	return NOT_FOUND;
}

#endif
