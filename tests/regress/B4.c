/* SPDX-License-Identifier: MIT */
/*
 * B4: RISC-V Linux took a CPU out of an address space's set when it switched away, while its TLB
 * kept what that ASID had cached. Nobody asked it any more, and when it came back it used that.
 * Here a CPU leaves behind a flush, and one that is not in the set flushes to join.
 *
 * variant 1: who joins a set trusts what its TLB holds
 * patch owner.h
 *	-if (set && !flushq_cpuset_has(set, self)) {
 *	-	joins = true;
 *	-	flushq_priv_bury(cpu, self, set, at);
 *	+if (set && !flushq_cpuset_has(set, self)) {
 *
 * variant 2: a CPU leaves the set of what is in its register
 * patch owner.h
 *	-for (gone &= ~res->loaded; gone; gone &= gone - 1)
 *	+for (; gone; gone &= gone - 1)
 *
 * variant 3: what ran longest ago is left without a flush, and not flushed on its return
 * patch owner.h
 *	-flushq_priv_flush_asid(cpu, self, res->entry[oldest].asid);
 *	+flushq_priv_leave(cpu, self, oldest);
 *	-joins = at == FLUSHQ_NOWHERE;
 *	-if (joins)
 *	+joins = false;
 *	+if (at == FLUSHQ_NOWHERE)
 *	-if (set && !flushq_cpuset_has(set, self)) {
 *	-	joins = true;
 *	-	flushq_priv_bury(cpu, self, set, at);
 *	+if (set && !flushq_cpuset_has(set, self)) {
 */
#include "machine.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

static void begin(void)
{
	unsigned int i;

	for (i = 0; i < FLUSHQ_RESIDENT + 1; i++)
		space_new(&machine.space[i], i + 1, false);
	switch_to(1, a);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 0);
	unmap(self, a, 1);
}

/* The host takes CPU 1 out by itself: ours forgives that. */
static void taken_out(unsigned int self)
{
	switch_to(self, b);
	flushq_cpuset_remove(a->mm.cpus, self);
	switch_to(self, a);
}

/* So much runs that CPU 1 leaves a's set. */
static void ages(unsigned int self)
{
	unsigned int i;

	for (i = 1; i < FLUSHQ_RESIDENT + 1; i++)
		switch_to(self, &machine.space[i]);
	CHECK(!flushq_cpuset_has(a->mm.cpus, self), "CPU 1 is still asked for what it has flushed");
	switch_to(self, a);
}

/* It flushes all of a while it runs it. */
static void flushes_all(unsigned int self)
{
	const struct flushq_range whole = flushq_range_whole(1, FLUSHQ_LEAF);

	machine.self = self;
	flushq_shootdown(&machine.fq, self, a->mm.cpus, &whole);
	step();
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = begin, .cpu = { unmaps, taken_out }, .preemptions = 2 },
		{ .begin = begin, .cpu = { unmaps, ages }, .preemptions = 1 },
		{ .begin = begin, .cpu = { unmaps, flushes_all }, .preemptions = 2 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
