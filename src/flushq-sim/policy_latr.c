/* SPDX-License-Identifier: MIT */
/*
 * LATR-like (Kumar et al., "LATR: Lazy Translation Coherence", ASPLOS 2018), on TLBs with ASIDs: who
 * unmaps something writes what, and which CPUs may hold it, into a ring of its own, and interrupts
 * nobody. Every CPU looks through the rings of all others at each tick and switch, flushes what has
 * its bit, and takes the bit out. The pages wait until that is so for all that use the address space
 * (LATR's own wait two ticks). A full ring is an interrupt to all concerned.
 *
 * What may not wait (permissions, freed tables) is written there as well, but CPUs that use the
 * address space are interrupted; so the comparison is with what such a scheme could be, not with the
 * Linux of then, which interrupted for these as ever. Kernel ranges interrupt everybody.
 */
#include <string.h>

#include "host_asid.h"

#define LATR_SLOTS 64

struct state {
	struct range range;
	unsigned long cpus; /* that have not flushed it; 0: free */
	unsigned long turn; /* how often it was used */
};

static struct state rings[NR_CPUS][LATR_SLOTS];
/* In use, or about to be, by id: made known before the rings are looked through. 0: none. */
static unsigned long used[NR_CPUS];

struct latr_ticket {
	struct state *state;
	unsigned long turn, mm, users;
};

static void sweep(struct cpu *c)
{
	unsigned long bit = 1UL << c->id;
	unsigned int i, slot;
	bool any = false;

	for (i = 0; i < nr_cpus; i++)
		for (slot = 0; slot < LATR_SLOTS; slot++) {
			if (!(rings[i][slot].cpus & bit))
				continue;
			/* Only then: till all bits are out it is not written again. */
			local_flush(c, &rings[i][slot].range);
			rings[i][slot].cpus &= ~bit;
			any = true;
		}
	if (any)
		c->count.drains++;
}

static void latr_before_switch(struct cpu *c, struct mm *mm)
{
	mm->set[0] |= 1UL << c->id;
	host_asid_before_switch(c, mm);
	used[c->id] = mm->id;
	sweep(c);
}

static void latr_switched(struct cpu *c, struct mm *mm)
{
	(void)mm;
	host_asid_switched(c);
}

static void latr_leave(struct cpu *c)
{
	used[c->id] = 0;
}

static void latr_leave_lazy(struct cpu *c)
{
	used[c->id] = c->mm->id;
	sweep(c);
}

static void latr_parked(struct cpu *c)
{
	latr_leave(c);
	host_asid_parked(c);
}

/* NULL: the ring is full. */
static struct state *post(struct cpu *c, const struct range *r, unsigned long mask)
{
	unsigned int slot;

	for (slot = 0; slot < LATR_SLOTS; slot++) {
		struct state *state = &rings[c->id][slot];

		if (state->cpus)
			continue;
		state->range = *r;
		state->cpus = mask;
		state->turn++;
		return state;
	}
	c->count.overflow++;
	return NULL;
}

/* Of `mask`: those that the range concerns now. */
static unsigned long users(const struct mm *mm, unsigned long mask, enum kind kind)
{
	unsigned long found = 0;
	unsigned int i;

	for (i = 0; i < nr_cpus; i++)
		/* What is lazy, or just switching, may still walk the tables. */
		if (mask >> i & 1 &&
		    (used[i] == mm->id || (kind == KIND_TABLES && cpus[i].mm == mm)))
			found |= 1UL << i;
	return found;
}

/* One that is offline flushes everything when it comes back. */
static unsigned long others(const struct cpu *c, const struct mm *mm)
{
	return mm->set[0] & online_cpus() & ~(1UL << c->id);
}

static void latr_shootdown(struct cpu *c, struct mm *mm, const struct range *r)
{
	struct request request = { .range = *r };
	struct state *state;
	unsigned long mask;

	local_flush(c, r);
	if (!mm) {
		ask_and_wait(c, ~0UL, &request);
		return;
	}
	mask = others(c, mm);
	state = mask ? post(c, r, mask) : NULL;
	if (state) {
		/* The interrupt does it for these. */
		mask = users(mm, mask, r->kind);
		c->count.deferred += (unsigned int)__builtin_popcountl(state->cpus & ~mask);
		state->cpus &= ~mask;
	}
	ask_and_wait(c, mask, &request);
}

static bool latr_ticket_take(struct cpu *c, struct mm *mm, const struct range *r, void *memory)
{
	struct latr_ticket ticket = { .mm = mm->id };
	struct request request = { .range = *r };
	unsigned long mask = others(c, mm);

	local_flush(c, r);
	if (!mask)
		return true;
	ticket.state = post(c, r, mask);
	if (!ticket.state) {
		ask_and_wait(c, mask, &request);
		return true;
	}
	c->count.deferred += (unsigned int)__builtin_popcountl(mask);
	ticket.turn = ticket.state->turn;
	ticket.users = users(mm, mask, r->kind);
	memcpy(memory, &ticket, sizeof(ticket));
	return !ticket.users;
}

/* Who went away sweeps before it comes back. */
static bool latr_ticket_done(void *memory)
{
	struct latr_ticket ticket;
	unsigned int i;

	memcpy(&ticket, memory, sizeof(ticket));
	if (ticket.state->turn != ticket.turn)
		return true;
	for (i = 0; i < nr_cpus; i++)
		if (ticket.users & ticket.state->cpus & 1UL << i && used[i] == ticket.mm)
			return false;
	return true;
}

const struct policy policy_latr = {
	.name = "latr",
	.init = host_asid_init,
	.born = host_asid_born,
	.online = host_asid_online,
	.offline = sweep,
	.counters = host_asid_counters,
	.before_switch = latr_before_switch,
	.switched = latr_switched,
	.parked = latr_parked,
	.enter_lazy = latr_leave,
	.leave_lazy = latr_leave_lazy,
	.shootdown = latr_shootdown,
	.ticket_take = latr_ticket_take,
	.ticket_done = latr_ticket_done,
	.tick = sweep,
};
