/* SPDX-License-Identifier: MIT */
/*
 * The scheme of the RFC "Defer tlb flush to context_switch", as in the demo kernel: a CPU that has
 * another ASID loaded gets the range in its array and flushes at its next switch; a full array is
 * an interrupt. Kernel ranges are never deferred, which the RFC forgot. It knows nothing of lazy
 * CPUs.
 */
#include "host_asid.h"

#define RFC_SLOTS 16

struct rfc_cpu {
	struct lock lock;
	unsigned int n;
	bool need_flush;
	bool loaded;
	unsigned int loaded_asid;
	struct range slot[RFC_SLOTS];
};

static struct rfc_cpu rfc[NR_CPUS];

/* Not lock(): that one drains while it waits, and so would come back here. */
static void raw_lock(struct rfc_cpu *r)
{
	while (!trylock(&r->lock))
		turn();
}

static void rfc_before_switch(struct cpu *c, struct mm *mm)
{
	mm->set[0] |= 1UL << c->id;
	host_asid_before_switch(c, mm);
}

static void rfc_drain(struct cpu *c)
{
	struct rfc_cpu *r = &rfc[c->id];
	unsigned int i;

	if (!r->need_flush)
		return;
	raw_lock(r);
	r->need_flush = false;
	for (i = 0; i < r->n; i++)
		local_flush(c, &r->slot[i]);
	r->n = 0;
	unlock(&r->lock);
	c->count.drains++;
}

static void rfc_switched(struct cpu *c, struct mm *mm)
{
	rfc[c->id].loaded = true;
	rfc[c->id].loaded_asid = mm->asid;
	rfc_drain(c);
	host_asid_switched(c);
}

static void rfc_parked(struct cpu *c)
{
	rfc[c->id].loaded = false;
	rfc_drain(c);
	host_asid_parked(c);
}

static bool rfc_enqueue(struct rfc_cpu *r, const struct range *range)
{
	bool room;

	raw_lock(r);
	room = r->n < RFC_SLOTS;
	if (room)
		r->slot[r->n++] = *range;
	unlock(&r->lock);
	return room;
}

static bool rfc_needs_interrupt(struct cpu *c, struct rfc_cpu *r, const struct range *range)
{
	if (r->loaded && r->loaded_asid == range->asid)
		return true;
	if (!rfc_enqueue(r, range)) {
		c->count.overflow++;
		return true;
	}
	r->need_flush = true;
	if (r->loaded && r->loaded_asid == range->asid)
		return true;
	c->count.deferred++;
	return false;
}

static void rfc_shootdown(struct cpu *c, struct mm *mm, const struct range *r)
{
	struct request request = { .range = *r };
	unsigned long mask = ~0UL;
	unsigned int i;

	local_flush(c, r);
	if (mm) {
		mask = mm->set[0] & ~(1UL << c->id);
		for (i = 0; i < nr_cpus; i++)
			if (mask >> i & 1 && !rfc_needs_interrupt(c, &rfc[i], r))
				mask &= ~(1UL << i);
	}
	ask_and_wait(c, mask, &request);
}

const struct policy policy_rfc = {
	.name = "rfc",
	.init = host_asid_init,
	.born = host_asid_born,
	.online = host_asid_online,
	.counters = host_asid_counters,
	.before_switch = rfc_before_switch,
	.switched = rfc_switched,
	.parked = rfc_parked,
	.shootdown = rfc_shootdown,
	.interrupt = rfc_drain,
};
