/* SPDX-License-Identifier: MIT */
/*
 * B11: an initiator waited for a CPU that spun with interrupts off, for a lock or for the
 * initiator itself. Here two initiators serve each other; who holds a lock that others spin on
 * can post, or take a ticket, which waits for nobody, and wait when it has let go of the lock.
 *
 * variant 1: who waits does not serve its own queue
 * patch shootdown.h
 *	-while (post->self >= fq->nr ||
 *	-       flushq_load_relaxed(&fq->cpu[post->self].bell) == FLUSHQ_BELL_SILENT);
 *	+while (true);
 *
 * variant 2: the host waits under the lock
 */
#include "machine.h"

static struct space *const a = &machine.space[0];
static bool locked;

static void begin(void)
{
	space_new(a, 1, false);
	switch_to(0, a);
	switch_to(1, a);
	locked = false;
}

static void unmaps(unsigned int self)
{
	irqs_off(self);
	unmap(self, a, self);
	irqs_on(self);
}

static void lock(void)
{
	step();
	while (locked)
		flushq_host_relax();
	locked = true;
}

static void unmaps_locked(unsigned int self)
{
	struct flushq_range range = range_of(a, 0, FLUSHQ_LEAF);
	struct flushq_ticket ticket;
	unsigned int old;
	bool done;

	lock();
	old = replace(a, 0);
	done = flushq_ticket_take(&machine.fq, self, a->mm.cpus, &range, &ticket);
	if (FAULTY == 2 && !done)
		flushq_ticket_wait(&machine.fq, self, &ticket);
	locked = false;
	step();
	if (!done)
		flushq_ticket_wait(&machine.fq, self, &ticket);
	free_frame(old);
}

static void spins(unsigned int self)
{
	irqs_off(self);
	lock();
	locked = false;
	irqs_on(self);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = begin, .cpu = { unmaps, unmaps }, .preemptions = 2 },
		{ .begin = begin, .cpu = { unmaps_locked, spins }, .preemptions = 2 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
