/* SPDX-License-Identifier: MIT */
/*
 * B19: an IOMMU's flush queue was torn down while its timer was still armed; it fired and looked
 * through memory that was gone. Here there is no timer but the host's: a ticket knows nothing of
 * the address space and may outlive it, an item is off the list before its callback may free it.
 *
 * variant 1: a ticket asks the address space who still runs it
 * patch ticket.h
 *	-struct flushq_range range;
 *	-unsigned long cpus
 *	+const flushq_atomic_ulong *set;
 *	+struct flushq_range range;
 *	+unsigned long cpus
 *	-ticket->range = *post->range;
 *	+ticket->range = *post->range;
 *	+ticket->set = set;
 *	-if (cpu >= fq->nr ||
 *	+if (cpu >= fq->nr || !flushq_cpuset_has(ticket->set, cpu) ||
 *
 * variant 2: an item is taken off the list after its callback
 * patch ticket.h
 *	-list->first = item->next;
 *	-item->free(item);
 *	+item->free(item);
 *	+list->first = item->next;
 *
 * variant 3: the host frees a log that is loaded
 *
 * variant 4: with an address space the host frees what is on the list
 */
#include "machine.h"

/* a dies; b lives on. */
static struct space *const a = &machine.space[0], *const b = &machine.space[1];
static struct flushq_reclaim items[2], trap;
static struct flushq_reclaim_list list;
static unsigned int frame[2], nr_freed;

static void sprung(struct flushq_reclaim *item)
{
	(void)item;
	fail("the list goes on through an item that was freed");
}

static void give_back(struct flushq_reclaim *item)
{
	free_frame(frame[item - items]);
	item->next = &trap;
	nr_freed++;
}

/* CPU 1 runs a, CPU 2 b. */
static void begin(void)
{
	flushq_use_asids(&machine.fq, &machine.asids, FLUSHQ_ASID_BITS);
	space_new(a, 0, true);
	space_new(b, 0, false);
	switch_to(1, a);
	switch_to(2, b);
	list.first = list.last = NULL;
	nr_freed = 0;
	trap.free = sprung;
	trap.next = &trap;
	trap.ticket = (struct flushq_ticket){ 0 };
}

static void defer(unsigned int self, struct space *space, unsigned int i)
{
	struct flushq_range range = range_of(space, 0, FLUSHQ_LEAF);

	frame[i] = replace(space, 0);
	items[i].free = give_back;
	(void)flushq_mm_ticket_take(&machine.fq, self, &space->mm, &range, &items[i].ticket);
	flushq_reclaim_add(&list, &items[i]);
}

static void dies(unsigned int self)
{
	defer(self, a, 0);
	defer(self, b, 1);
	while (FAULTY != 3 && flushq_mm_loaded(&machine.fq, &a->mm))
		flushq_host_relax();
	a->freed = FAULTY != 3;
	machine.dead = (const char *)&a->log;
	machine.dead_bytes = sizeof(a->log);
	while (FAULTY == 4 && list.first) {
		struct flushq_reclaim *item = list.first;

		list.first = item->next;
		item->free(item);
	}
	(void)flushq_reclaim_run(&machine.fq, &list);
}

static void leaves(unsigned int self)
{
	switch_to(self, b);
	park(self);
}

/* The ticks of CPU 2 do the rest, and not a byte of a is there any more. */
static void ends(void)
{
	machine.dead = (const char *)a;
	machine.dead_bytes = sizeof(*a);
	(void)flushq_reclaim_run(&machine.fq, &list);
	machine.dead = NULL;
	irqs_off(2);
	flushq_tick(&machine.fq, 2);
	irqs_on(2);
	machine.self = 0;
	(void)flushq_reclaim_run(&machine.fq, &list);
	CHECK(nr_freed == 2, "a ticket is never done");
}

/* Both at once, when nothing else is left of a. */
static void waits(unsigned int self)
{
	defer(self, a, 0);
	defer(self, b, 1);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = begin, .cpu = { dies, leaves }, .end = ends, .preemptions = 2 },
		{ .begin = begin, .cpu = { waits, leaves }, .end = ends, .preemptions = 1 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
