/* SPDX-License-Identifier: MIT */
/*
 * B18: Linux left lazy CPUs out of all flushes, as they use no user translations; but the
 * address space stays in their registers, so their hardware walks its tables, and met some that
 * had been freed and were something else by then. Here freed tables go to lazy CPUs at once.
 *
 * variant 1: a lazy CPU is left alone for freed tables too
 * patch cpu.h
 *	-return !(context & FLUSHQ_CONTEXT_LAZY) || range->kind == FLUSHQ_TABLES;
 *	+return !(context & FLUSHQ_CONTEXT_LAZY);
 *
 * variant 2: lazy CPUs do not count as having it loaded
 * patch mm.h
 *	-if (member && context & FLUSHQ_CONTEXT_LOADED && context >> 16 == asid)
 *	+if (member && context & FLUSHQ_CONTEXT_LOADED && !(context & FLUSHQ_CONTEXT_LAZY) &&
 *	+    context >> 16 == asid)
 *
 * variant 3: the host frees tables with a ticket for leaf entries
 */
#include "machine.h"

static struct space *const a = &machine.space[0];

/* CPU 1 is lazy on a, or about to be. */
static void is_lazy(void)
{
	flushq_use_asids(&machine.fq, &machine.asids, FLUSHQ_ASID_BITS);
	space_new(a, 0, false);
	switch_to(1, a);
	lazy(1);
}

static void runs(void)
{
	is_lazy();
	unlazy(1);
}

static void goes_lazy(unsigned int self)
{
	lazy(self);
}

static void wakes(unsigned int self)
{
	unlazy(self);
}

static void frees_table(unsigned int self)
{
	struct flushq_range range;
	unsigned int old;

	machine.self = self;
	range = range_of(a, 0, FAULTY == 3 ? FLUSHQ_LEAF : FLUSHQ_TABLES);
	old = replace_table(a);
	if (FAULTY == 3) {
		struct flushq_ticket ticket;

		if (!flushq_mm_ticket_take(&machine.fq, self, &a->mm, &range, &ticket))
			flushq_ticket_wait(&machine.fq, self, &ticket);
	} else {
		shootdown(self, a, range);
	}
	free_table(old);
}

static void frees_all(unsigned int self)
{
	machine.self = self;
	while (flushq_mm_loaded(&machine.fq, &a->mm))
		flushq_host_relax();
	a->freed = true;
	step();
}

static void parks(unsigned int self)
{
	park(self);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = is_lazy, .cpu = { frees_table, NULL }, .preemptions = 1 },
		{ .begin = is_lazy, .cpu = { frees_table, wakes }, .preemptions = 2 },
		{ .begin = runs, .cpu = { frees_table, goes_lazy }, .preemptions = 2 },
		{ .begin = is_lazy, .cpu = { frees_all, parks }, .preemptions = 2 },
		{ .begin = is_lazy, .cpu = { frees_table, parks }, .preemptions = 2 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
