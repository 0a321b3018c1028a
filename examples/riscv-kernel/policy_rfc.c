/* SPDX-License-Identifier: MIT */
/*
 * The scheme of the RFC "Defer tlb flush to context_switch": a hart that has another ASID loaded
 * gets the range in its array and flushes at its next switch; a full array is an interrupt.
 * Kernel ranges are never deferred, which the RFC forgot. It knows nothing of lazy harts.
 */
#include "policy_rfc.h"

#define RFC_SLOTS 16

struct rfc_cpu {
	struct spinlock lock;
	unsigned int n;
	unsigned int need_flush;
	unsigned long loaded_asid;
	struct range slot[RFC_SLOTS];
} __attribute__((aligned(64)));

static struct rfc_cpu cpus[NR_CPUS];

/* Not spin_lock: that one drains while it waits, and so would come back here. */
static void raw_lock(struct hart *h, struct rfc_cpu *c)
{
	if (spin_trylock(&c->lock))
		return;
	wait_begin(h);
	while (!spin_trylock(&c->lock))
		;
	wait_end(h);
}

#define NONE_LOADED (1UL << 32)

static void rfc_init(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		cpus[i].loaded_asid = NONE_LOADED;
	host_asid_init(n);
}

static void rfc_online(struct hart *h)
{
	(void)h;
	__asm__ volatile("sfence.vma" : : : "memory");
}

static void rfc_before_switch(struct hart *h, struct mm *mm)
{
	if (!((load_relaxed(&mm->set[0]) >> h->id) & 1))
		__atomic_fetch_or(&mm->set[0], 1UL << h->id, __ATOMIC_SEQ_CST);
	host_asid_before_switch(h, mm);
}

static void rfc_drain(struct hart *h, struct rfc_cpu *c)
{
	unsigned int i;

	if (!load_relaxed(&c->need_flush))
		return;
	raw_lock(h, c);
	store_relaxed(&c->need_flush, 0);
	for (i = 0; i < c->n; i++)
		local_flush(h, &c->slot[i]);
	c->n = 0;
	spin_unlock(&c->lock);
	h->count.drains++;
}

static void rfc_load(struct hart *h, unsigned long asid)
{
	struct rfc_cpu *c = &cpus[h->id];

	store_relaxed(&c->loaded_asid, asid);
	full_fence();
	rfc_drain(h, c);
}

static void rfc_switched(struct hart *h, struct mm *mm)
{
	rfc_load(h, mm->asid);
	host_asid_switched(h, mm);
}

static void rfc_parked(struct hart *h)
{
	rfc_load(h, NONE_LOADED);
	host_asid_parked(h);
}

static bool rfc_enqueue(struct hart *h, struct rfc_cpu *c, const struct range *r)
{
	bool room;

	raw_lock(h, c);
	room = c->n < RFC_SLOTS;
	if (room)
		c->slot[c->n++] = *r;
	spin_unlock(&c->lock);
	return room;
}

bool rfc_loaded(unsigned int target, const struct range *r)
{
	return load_relaxed(&cpus[target].loaded_asid) == r->asid;
}

bool rfc_defer(struct hart *h, unsigned int target, const struct range *r)
{
	struct rfc_cpu *c = &cpus[target];

	if (!rfc_enqueue(h, c, r)) {
		h->count.overflow++;
		return false;
	}
	store_relaxed(&c->need_flush, 1);
	full_fence();
	return true;
}

static bool rfc_needs_interrupt(struct hart *h, unsigned int target, const struct range *r)
{
	if (rfc_loaded(target, r) || !rfc_defer(h, target, r) || rfc_loaded(target, r))
		return true;
	h->count.deferred++;
	return false;
}

void rfc_ask(struct hart *h, unsigned long mask, const struct range *r)
{
	unsigned int i;

	mask &= ~(1UL << h->id);
	for (i = 0; i < nr_harts; i++)
		if (((mask >> i) & 1) && !rfc_needs_interrupt(h, i, r))
			mask &= ~(1UL << i);
	ipi_fence(h, mask, r);
}

static void rfc_shootdown(struct hart *h, struct mm *mm, const struct range *r)
{
	full_fence();
	local_flush(h, r);
	if (r->kind == KIND_GLOBAL)
		ipi_fence(h, load_acquire(&online_mask), r);
	else
		rfc_ask(h, load_acquire(&mm->set[0]), r);
}

static void rfc_interrupt(struct hart *h)
{
	rfc_drain(h, &cpus[h->id]);
	ipi_serve_mailbox(h);
}

const struct policy policy_rfc = {
	.name = "rfc",
	.init = rfc_init,
	.born = host_asid_born,
	.online = rfc_online,
	.offline = policy_nothing,
	.before_switch = rfc_before_switch,
	.switched = rfc_switched,
	.parked = rfc_parked,
	.enter_lazy = policy_nothing,
	.leave_lazy = policy_nothing,
	.shootdown = rfc_shootdown,
	.tick = policy_nothing,
	.interrupt = rfc_interrupt,
	.counters = host_asid_counters,
};
