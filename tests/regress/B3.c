/* SPDX-License-Identifier: MIT */
/*
 * B3: Linux on RISC-V kept a mask of CPUs that owe a flush, and set bits in it by a read and a
 * write of the word. One CPU could erase another's bit: nobody ever asked that one, and it ran on
 * with what it had cached. Here sets and marks change by single atomic operations.
 *
 * variant 1: a CPU joins a set by a load and a store
 * patch cpuset.h
 *	-flushq_or_relaxed(&set[cpu / FLUSHQ_CPUSET_BITS], flushq_cpuset_bit(cpu));
 *	+unsigned long old = flushq_load_relaxed(&set[cpu / FLUSHQ_CPUSET_BITS]);
 *	+flushq_store_relaxed(&set[cpu / FLUSHQ_CPUSET_BITS], old | flushq_cpuset_bit(cpu));
 *
 * variant 2: a CPU leaves a set by a load and a store
 * patch cpuset.h
 *	-flushq_and_release(&set[cpu / FLUSHQ_CPUSET_BITS], ~flushq_cpuset_bit(cpu));
 *	+unsigned long old = flushq_load_relaxed(&set[cpu / FLUSHQ_CPUSET_BITS]);
 *	+flushq_store_release(&set[cpu / FLUSHQ_CPUSET_BITS], old & ~flushq_cpuset_bit(cpu));
 *
 * variant 3: an overflow's mark is stored over another's
 * patch ring.h
 *	-flushq_or_relaxed(&ring->sticky, bits);
 *	+flushq_store_relaxed(&ring->sticky, bits);
 */
#include "machine.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

/* Two CPUs join, another changes a page. */

static void one_space(void)
{
	space_new(a, 1, false);
}

static void joins(unsigned int self)
{
	switch_to(self, a);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 0);
}

static void unmaps_at_end(void)
{
	unmaps(0);
}

/* CPU 1 flushes all and so leaves, while CPU 2 joins. */

static void one_parked(void)
{
	one_space();
	switch_to(1, a);
	park(1);
}

static void leaves(unsigned int self)
{
	const struct flushq_range all = flushq_range_whole(0, FLUSHQ_GLOBAL);

	flushq_shootdown(&machine.fq, self, NULL, &all);
}

/* CPU 1 ran both, its queue is full: CPU 0 and 2 leave marks of both. */

static void full_queue(void)
{
	unsigned int i;

	space_new(a, 1, false);
	space_new(b, 2, false);
	switch_to(1, a);
	switch_to(1, b);
	park(1);
	for (i = 0; i < FLUSHQ_QUEUE_SLOTS; i++)
		unmap(0, a, 1);
}

static void unmaps_b(unsigned int self)
{
	unmap(self, b, 0);
}

static void runs_both(void)
{
	switch_to(1, a);
	switch_to(1, b);
}

int main(void)
{
	static const struct scenario join = {
		.begin = one_space,
		.cpu = { NULL, joins, joins },
		.end = unmaps_at_end,
		.preemptions = 2,
	};
	static const struct scenario join_asked = {
		.begin = one_space,
		.cpu = { unmaps, joins, joins },
		.preemptions = 2,
	};
	static const struct scenario leave = {
		.begin = one_parked,
		.cpu = { NULL, leaves, joins },
		.end = unmaps_at_end,
		.preemptions = 2,
	};
	static const struct scenario mark = {
		.begin = full_queue,
		.cpu = { unmaps, NULL, unmaps_b },
		.end = runs_both,
		.preemptions = 2,
	};

	explore(&join);
	explore(&join_asked);
	explore(&leave);
	explore(&mark);
	return passed();
}
