/* SPDX-License-Identifier: MIT */
/*
 * B23: a proposed patch's drain took its queue's lock with interrupts on, and the interrupt
 * handler drained as well: it spun on a lock that its own CPU held. Here a drain has no lock and
 * keeps interrupts off; where an NMI hits it, the NMI leaves a note and the drain runs again.
 *
 * variant 1: a drain waits for the one it interrupts
 * patch owner.h
 *	-flags = flushq_arch_irq_save();
 *	-if (cpu->busy) {
 *	+flags = 0;
 *	+(void)flags;
 *	+while (cpu->busy)
 *	+	flushq_arch_relax();
 *	+if (false) {
 *	-	flushq_priv_disown(cpu, self);
 *	-}
 *	-flushq_arch_irq_restore(flags);
 *	+	flushq_priv_disown(cpu, self);
 *	+}
 *
 * variant 2: an NMI drains within a drain
 * patch owner.h
 *	-if (cpu->busy) {
 *	+if (false) {
 */
#include "machine.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

static void begin(void)
{
	space_new(a, 1, false);
	space_new(b, 2, false);
	switch_to(1, b);
	switch_to(1, a);
	unmap(0, b, 0);
}

static void begin_nmi(void)
{
	begin();
	machine.nmi = true;
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 0);
	unmap(self, a, 1);
}

static void drains(unsigned int self)
{
	flushq_drain(&machine.fq, self);
}

static void switches(unsigned int self)
{
	flushq_drain(&machine.fq, self);
	switch_to(self, b);
	switch_to(self, a);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = begin, .cpu = { unmaps, drains }, .preemptions = 2 },
		{ .begin = begin_nmi, .cpu = { unmaps, switches }, .preemptions = 2 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
