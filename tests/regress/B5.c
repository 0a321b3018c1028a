/* SPDX-License-Identifier: MIT */
/*
 * B5: an initiator on arm64 Linux read the number of an address space, a rollover gave it another
 * and its CPU went on under that; the old number was flushed. Here the initiator reads the number
 * again behind its fence, and what runs, or is about to, keeps its number over a rollover.
 *
 * variant 1: the number is read once
 * patch mm.h
 *	-if (FLUSHQ_LIKELY(asid == range->asid))
 *	+if (asid == range->asid || true)
 *
 * variant 2: what runs is given another number
 * patch asid.h
 *	-!(old && flushq_priv_asid_renew_kept(asids, old, now)) &&
 *	+
 *
 * variant 3: who switches does not look for a rollover behind its fence
 * patch mm.h
 *	-if (FLUSHQ_LIKELY(todo == FLUSHQ_PRIV_NOTHING && flushq_asid_current(fq->asids, id)))
 *	+if (todo == FLUSHQ_PRIV_NOTHING)
 *	-if (flushq_asid_current(fq->asids, id))
 *	-	return asid;
 *	+return asid;
 */
#include "machine.h"

#define NR_NUMBERS 7

static struct space *const a = &machine.space[0], *const late = &machine.space[NR_NUMBERS];

/* All numbers are taken: a has the first, which is handed out first as well. */
static void begin(void)
{
	unsigned int i;

	flushq_use_asids(&machine.fq, &machine.asids, 3);
	for (i = 0; i <= NR_NUMBERS; i++)
		space_new(&machine.space[i], 0, false);
	for (i = 0; i < NR_NUMBERS; i++)
		switch_to(1, &machine.space[i]);
}

static void a_runs(void)
{
	begin();
	switch_to(2, a);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 0);
}

static void unmaps_at_end(void)
{
	unmaps(0);
}

static void switches(unsigned int self)
{
	switch_to(self, a);
}

/* Then a is back, under whatever number. */
static void rolls_over(unsigned int self)
{
	switch_to(self, late);
	switch_to(self, a);
}

static void rolls_over_and_on(unsigned int self)
{
	rolls_over(self);
	switch_to(self, &machine.space[1]);
	switch_to(self, late);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = begin, .cpu = { unmaps, rolls_over }, .preemptions = 1 },
		{ .begin = a_runs, .cpu = { unmaps, rolls_over_and_on }, .preemptions = 1 },
		{ .begin = begin,
		  .cpu = { NULL, rolls_over, switches },
		  .end = unmaps_at_end,
		  .preemptions = 2 },
		{ .begin = begin, .cpu = { unmaps, rolls_over, switches }, .preemptions = 1 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
