/* SPDX-License-Identifier: MIT */
/*
 * B1: x86 Linux sent no interrupt to a CPU that was in the middle of a switch: its register had the
 * new table, its bookkeeping not yet, and what it owed it had looked at before; or "lazy" was read
 * of one moment and "loaded" of another. Here both are one word, written before the debts are read.
 *
 * variant 1: debts are read before the context is known
 * patch owner.h
 *	-flushq_priv_enter(cpu, self, asid, log, at);
 *	-if (FLUSHQ_UNLIKELY(cpu->resident.nr_owed || !flushq_priv_idle(cpu, self)))
 *	+bool idle = flushq_priv_idle(cpu, self);
 *	+flushq_priv_enter(cpu, self, asid, log, at);
 *	+if (FLUSHQ_UNLIKELY(cpu->resident.nr_owed || !idle))
 *
 * variant 2: a lazy CPU reads its debts before it clears the bit
 * patch owner.h
 *	-	flushq_context_enter(&cpu->context, context & ~FLUSHQ_CONTEXT_LAZY);
 *	-} else {
 *	+	if (!flushq_priv_idle(cpu, self))
 *	+		flushq_priv_drain(cpu, self);
 *	+	flushq_context_enter(&cpu->context, context & ~FLUSHQ_CONTEXT_LAZY);
 *	+	flushq_priv_disown(cpu, self);
 *	+	return;
 *	+} else {
 *
 * variant 3: lazy is cleared by a second store, after the switch
 * patch owner.h
 *	-uint32_t context = flushq_context_loaded(asid) | FLUSHQ_CONTEXT_SWITCHING;
 *	+uint32_t context = flushq_context_loaded(asid) | FLUSHQ_CONTEXT_SWITCHING |
 *	+	(flushq_load_relaxed(&cpu->context) & FLUSHQ_CONTEXT_LAZY);
 *	-context = flushq_load_relaxed(&cpu->context) & ~FLUSHQ_CONTEXT_SWITCHING;
 *	+context = flushq_load_relaxed(&cpu->context) & ~FLUSHQ_CONTEXT_SWITCHING &
 *	+	~FLUSHQ_CONTEXT_LAZY;
 */
#include "machine.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

/* CPU 1 ran a before. */
static void ran(void)
{
	space_new(a, 1, false);
	space_new(b, 2, false);
	switch_to(1, a);
	switch_to(1, b);
}

static void lazy_on_a(void)
{
	ran();
	switch_to(1, a);
	lazy(1);
}

static void lazy_on_b(void)
{
	ran();
	lazy(1);
}

static void switches(unsigned int self)
{
	switch_to(self, a);
}

static void wakes(unsigned int self)
{
	unlazy(self);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 0);
}

static void frees_table(unsigned int self)
{
	unmap_table(self, a);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = ran, .cpu = { unmaps, switches }, .preemptions = 2 },
		{ .begin = ran, .cpu = { frees_table, switches }, .preemptions = 2 },
		{ .begin = lazy_on_a, .cpu = { unmaps, wakes }, .preemptions = 2 },
		{ .begin = lazy_on_b, .cpu = { unmaps, switches }, .preemptions = 2 },
		{ .begin = lazy_on_b, .cpu = { frees_table, switches }, .preemptions = 2 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
