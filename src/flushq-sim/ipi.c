/* SPDX-License-Identifier: MIT */
/* Interrupts, locks, flushes by the kernel itself, and who was interrupted without need. */
#include "policy.h"

static void serve_mailbox(struct cpu *c)
{
	unsigned long from = c->mailbox;
	unsigned int i;

	c->mailbox = 0;
	for (i = 0; i < nr_cpus; i++) {
		if (!(from >> i & 1))
			continue;
		if (policy->asked)
			policy->asked(c, &cpus[i].request);
		else
			local_flush(c, &cpus[i].request.range);
		cpus[i].waiting &= ~(1UL << c->id);
	}
}

/* Takes an interrupt, if one is pending. Called wherever a CPU waits. */
void serve(void)
{
	enum cause cause = self->tlb.cause;

	if (!self->irq)
		return;
	/* Acknowledged first: one that comes while serving is another. */
	self->irq = false;
	self->tlb.cause = CAUSE_INTERRUPT;
	if (policy->interrupt)
		policy->interrupt(self);
	serve_mailbox(self);
	self->tlb.cause = cause;
}

bool trylock(struct lock *l)
{
	if (l->held)
		return false;
	l->held = true;
	return true;
}

void lock(struct lock *l)
{
	while (!trylock(l)) {
		turn();
		serve();
		if (self && policy->tick)
			policy->tick(self);
	}
}

void unlock(struct lock *l)
{
	l->held = false;
}

/*
 * Accounting, as in the demo kernel: what each CPU has in use, and how often that has changed. A
 * target that has not changed since the shootdown began, and does not use the address space, was
 * known not to need the interrupt.
 */
void set_use(struct cpu *c, enum use use, const struct mm *mm)
{
	c->use.use = use;
	c->use.mm = mm ? mm->id : 0;
	c->use.changes++;
}

static bool needs_interrupt(const struct use_state *use, unsigned long mm, enum kind kind)
{
	switch (use->use) {
	case USE_NONE:
		return false;
	case USE_RUNNING:
		return use->mm == mm;
	case USE_LAZY:
		return use->mm == mm && kind == KIND_TABLES;
	default:
		return true;
	}
}

/* Sends it to each CPU of `mask`, on behalf of c's shootdown. */
void interrupt(struct cpu *c, unsigned long mask)
{
	unsigned int i;

	for (i = 0; i < nr_cpus; i++) {
		const struct use_state *use = &cpus[i].use;

		if (i == c->id || !(mask >> i & 1))
			continue;
		if (c->acct_forced)
			c->count.ipi_forced++;
		else
			c->count.ipi_sent++;
		if (c->acct_kind != KIND_GLOBAL && use->changes == c->use_at_start[i].changes &&
		    !needs_interrupt(use, c->acct_id, c->acct_kind))
			c->count.ipi_parked++;
		cpus[i].irq = true;
	}
}

unsigned long online_cpus(void)
{
	unsigned long mask = 0;
	unsigned int i;

	for (i = 0; i < nr_cpus; i++)
		if (cpus[i].online)
			mask |= 1UL << i;
	return mask;
}

static struct range begin(struct mm *mm, unsigned long start, unsigned long size, enum kind kind)
{
	struct range range = { .start = start, .size = size, .kind = kind };
	struct cpu *c = self;
	unsigned int i;

	turn();
	range.asid = mm ? mm->asid : 0;
	c->count.shootdowns++;
	c->acct_id = mm ? mm->id : 0;
	c->acct_kind = kind;
	for (i = 0; i < nr_cpus; i++)
		c->use_at_start[i] = cpus[i].use;
	c->tlb.cause = CAUSE_OWN;
	return range;
}

/* The page table is written. When this returns, what it said before is not used any more. */
void shootdown(struct mm *mm, unsigned long start, unsigned long size, enum kind kind)
{
	struct range range = begin(mm, start, size, kind);

	/* Where unmapping need not wait, what comes here must. */
	self->acct_forced = policy->ticket_take;
	policy->shootdown(self, mm, &range);
}

/* The same, of leaf entries, when policy->ticket_done() says so; true: it is done. */
bool shootdown_later(struct mm *mm, unsigned long start, unsigned long size, void *ticket)
{
	struct range range = begin(mm, start, size, KIND_LEAF);

	self->acct_forced = false;
	return policy->ticket_take(self, mm, &range, ticket);
}

/* One flush instruction after the other, as the RISC-V kernel would execute them. */
void local_flush(struct cpu *c, const struct range *r)
{
	bool whole = r->size > FLUSH_PAGES_MAX * PAGE_SIZE;
	unsigned long va;

	if (r->kind == KIND_TABLES && !options.tables_by_page)
		whole = true;
	turn();
	if (whole && r->kind == KIND_GLOBAL)
		c->count.flush_all++;
	else if (whole)
		c->count.flush_asid++;
	else
		c->count.flush_page += r->size / PAGE_SIZE;
	if (options.drop_flushes && sim_random(8) == 0)
		return;
	if (whole && r->kind == KIND_GLOBAL)
		tlb_flush_all(&c->tlb);
	else if (whole)
		tlb_flush_asid(&c->tlb, r->asid);
	for (va = r->start; !whole && va < r->start + r->size; va += PAGE_SIZE)
		tlb_flush_page(&c->tlb, r->kind == KIND_GLOBAL ? ASID_GLOBAL : r->asid, va);
	if (r->kind == KIND_TABLES)
		tlb_flush_non_leaf(&c->tlb, r->asid);
}

/* Has the CPUs of mask do what the request says, and returns when they have. */
void ask_and_wait(struct cpu *c, unsigned long mask, const struct request *request)
{
	unsigned int i;

	mask &= online_cpus() & ~(1UL << c->id);
	if (!mask)
		return;
	c->request = *request;
	c->waiting = mask;
	for (i = 0; i < nr_cpus; i++)
		if (mask >> i & 1)
			cpus[i].mailbox |= 1UL << c->id;
	interrupt(c, mask);
	while (c->waiting) {
		turn();
		serve();
	}
}
