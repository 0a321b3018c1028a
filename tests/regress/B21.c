/* SPDX-License-Identifier: MIT */
/*
 * B21: Xen flushed on a wrong condition; flushed, then let the hardware cache again before the new
 * table was in the register; and took another table for the loaded one. Here a CPU that switches
 * counts as having both, and flushes behind the write what two address spaces of one number share.
 *
 * variant 1: freed tables spare a CPU that is about to switch away from them
 * patch cpu.h
 *	-if (range->kind == FLUSHQ_TABLES && context & FLUSHQ_CONTEXT_SWITCHING)
 *	-	return true;
 *	+
 *
 * variant 2: only what is switched to counts as loaded
 * patch owner.h
 *	-if (of & cpu->resident.loaded)
 *	+if (of & cpu->current)
 *
 * variant 3: one number's flush comes before the register's write only
 * patch owner.h
 *	-if (FLUSHQ_UNLIKELY(cpu->stray | cpu->unsure))
 *	-	flushq_priv_switched_flush(fq, cpu, self, context);
 *	+if (false)
 *	+	flushq_priv_switched_flush(fq, cpu, self, context);
 *
 * variant 4: the host says that it has switched, then does
 *
 * variant 5: what a drain took over is not paid at the switch
 * patch owner.h
 *	-while (flushq_resident_settle(&cpu->resident, asid, &owed))
 *	-	flushq_priv_flush(cpu, self, &owed, &budget);
 *	+
 */
#include "machine.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

static void begin(void)
{
	space_new(a, 1, false);
	space_new(b, 2, false);
	switch_to(1, a);
	switch_to(1, b);
}

/* No ASIDs: all have number 0. */
static void one_number(void)
{
	flushq_use_asids(&machine.fq, &machine.asids, 0);
	space_new(a, 0, false);
	space_new(b, 0, false);
	switch_to(1, a);
	switch_to(1, b);
}

/* CPU 1 was interrupted for a kernel range in between: a's debt has left the queue. */
static void taken_over(void)
{
	begin();
	unmap(0, a, 0);
	unmap_kernel(0, 1);
}

static void switches(unsigned int self)
{
	flushq_asid asid = a->asid;

	if (FAULTY != 4 || machine.fq.asids) {
		switch_to(self, a);
		return;
	}
	irqs_off(self);
	machine.hw[self].user = false;
	flushq_switch_to(&machine.fq, self, asid, a->mm.cpus);
	flushq_switched(&machine.fq, self);
	load(self, a, asid);
	machine.hw[self].user = true;
	irqs_on(self);
}

static void frees_table_of_b(unsigned int self)
{
	unmap_table(self, b);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 1);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = begin, .cpu = { frees_table_of_b, switches }, .preemptions = 2 },
		{ .begin = one_number, .cpu = { unmaps, switches }, .preemptions = 1 },
		{ .begin = one_number, .cpu = { frees_table_of_b, switches }, .preemptions = 2 },
		{ .begin = taken_over, .cpu = { unmaps, switches }, .preemptions = 1 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
