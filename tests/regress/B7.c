/* SPDX-License-Identifier: MIT */
/*
 * B7: OpenSBI took an interrupt that was no longer pending for a request that was done, though
 * its handler had only just begun. Here the end of a drain is waited for, one that began after
 * the ring.
 *
 * variant 1: a silent bell is taken for a drain that is over
 * patch shootdown.h
 *	-if ((int32_t)(drains - *enough) >= 0)
 *	+if (silent || (int32_t)(drains - *enough) >= 0)
 *
 * variant 2: the drain under way will do
 * patch shootdown.h
 *	-(flushq_load_relaxed(&cpu->drains) + 3) & ~1u;
 *	+(flushq_load_relaxed(&cpu->drains) + 2) & ~1u;
 *
 * variant 3: a ticket is done by the drain under way
 * patch ticket.h
 *	-ticket->enough[cpu] = flushq_priv_enough(&post->fq->cpu[cpu]);
 *	+ticket->enough[cpu] = flushq_load_relaxed(&post->fq->cpu[cpu].drains);
 */
#include "machine.h"

static struct space *const a = &machine.space[0];

static void begin(void)
{
	space_new(a, 1, false);
	switch_to(1, a);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, self);
}

static void drains(unsigned int self)
{
	flushq_drain(&machine.fq, self);
}

static void ticket(unsigned int self)
{
	struct flushq_range range = range_of(a, 0, FLUSHQ_LEAF);
	struct flushq_ticket waits;
	unsigned int old = replace(a, 0);

	if (!flushq_ticket_take(&machine.fq, self, a->mm.cpus, &range, &waits))
		flushq_ticket_wait(&machine.fq, self, &waits);
	free_frame(old);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = begin, .cpu = { unmaps, drains }, .preemptions = 2 },
		{ .begin = begin, .cpu = { ticket, drains }, .preemptions = 2 },
		{ .begin = begin, .cpu = { unmaps, drains, unmaps }, .preemptions = 1 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
