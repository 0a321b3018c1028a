/* SPDX-License-Identifier: MIT */
/*
 * B17: a flag said that a request was pending; whoever served it cleared the flag after a look at
 * the requests, and the one set in between was cleared unserved. Here the bell is silenced before
 * the queue is read, so that a ring behind the look is heard; the note an NMI leaves likewise.
 *
 * variant 1: the bell is silenced after the drain
 * patch owner.h
 *	-(void)flushq_swap_acq_rel(&cpu->bell, FLUSHQ_BELL_SILENT);
 *	+
 *	-flushq_store_relaxed(&cpu->drains, drains + 2);
 *	+(void)flushq_swap_acq_rel(&cpu->bell, FLUSHQ_BELL_SILENT);
 *	+flushq_store_relaxed(&cpu->drains, drains + 2);
 *
 * variant 2: an NMI's note is taken back after the drain
 * patch owner.h
 *	-cpu->again = false;
 *	-flushq_priv_own(cpu);
 *	-flushq_priv_drain(cpu, self);
 *	+flushq_priv_own(cpu);
 *	+flushq_priv_drain(cpu, self);
 *	+cpu->again = false;
 *
 * variant 3: an NMI in a call of the owner's leaves no note
 * patch owner.h
 *	-flushq_priv_flush_all(cpu, self);
 *	-cpu->again = true;
 *	+flushq_priv_flush_all(cpu, self);
 *
 * variant 4: a silent bell is taken for a drain that is over
 * patch shootdown.h
 *	-if ((int32_t)(drains - *enough) >= 0)
 *	+if (silent || (int32_t)(drains - *enough) >= 0)
 */
#include "machine.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

static void begin(void)
{
	space_new(a, 1, false);
	space_new(b, 2, false);
	switch_to(1, a);
}

static void begin_nmi(void)
{
	begin();
	machine.nmi = true;
}

static void unmaps(unsigned int self)
{
	unmap(self, a, self);
}

static void switches(unsigned int self)
{
	switch_to(self, b);
	switch_to(self, a);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = begin, .cpu = { unmaps, NULL, unmaps }, .preemptions = 2 },
		{ .begin = begin_nmi, .cpu = { unmaps, switches, unmaps }, .preemptions = 2 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
