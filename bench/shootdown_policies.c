/* SPDX-License-Identifier: MIT */
/*
 * In the others' favour: where the kernel would need several fences one is taken that orders all;
 * full queues and rings are kept small; nobody is ever lazy. See policy_*.c of src/flushq-sim for
 * where each comes from.
 */
#include <stdatomic.h>

#include "shootdown_policies.h"

#define RFC_SLOTS 16
#define LATR_SLOTS 64

static const struct policy *policy;
static unsigned int nr_cpus;
static bool lose;
static _Atomic unsigned long sent;

static unsigned long bit_of(unsigned int cpu)
{
	return 1ul << cpu;
}

/* Interrupts. */

static struct {
	_Alignas(64) struct request request;
	_Alignas(64) _Atomic unsigned long waiting; /* CPUs that have not answered it */
	_Alignas(64) _Atomic unsigned long mailbox; /* CPUs that ask this one */
} mail[SOFTTLB_CPUS];

static void on_interrupt(unsigned int cpu)
{
	unsigned long from = atomic_exchange(&mail[cpu].mailbox, 0);

	softtlb_lose_flushes(lose);
	while (from) {
		unsigned int sender = flushq_cpuset_pop(&from);

		policy->asked(cpu, &mail[sender].request);
		atomic_fetch_and(&mail[sender].waiting, ~bit_of(cpu));
	}
	softtlb_lose_flushes(false);
}

static void ask_and_wait(unsigned int cpu, unsigned long mask, const struct request *request)
{
	unsigned long left = mask;

	if (!mask)
		return;
	mail[cpu].request = *request;
	atomic_store(&mail[cpu].waiting, mask);
	while (left) {
		unsigned int target = flushq_cpuset_pop(&left);

		atomic_fetch_add_explicit(&sent, 1, memory_order_relaxed);
		/* Whoever put something there before has yet to be answered: one signal does. */
		if (!atomic_fetch_or(&mail[target].mailbox, bit_of(cpu)))
			softtlb_send_storm(target);
	}
	while (atomic_load(&mail[cpu].waiting))
		flushq_host_relax();
}

static void flush_asked(unsigned int cpu, const struct request *request)
{
	(void)cpu;
	flushq_host_flush(&request->range);
}

/* CPUs that may hold translations of a space; with x86, that have it in their register. */
static struct {
	_Alignas(64) _Atomic unsigned long cpus;
} members[SOFTTLB_SPACES];

/* A full fence in any case, between the debt that a shootdown left and this CPU's walks. */
static void join(unsigned int cpu, unsigned int space)
{
	if (atomic_load_explicit(&members[space].cpus, memory_order_relaxed) & bit_of(cpu))
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_fetch_or(&members[space].cpus, bit_of(cpu));
}

/* Flushes here, if need be, and returns the others; the fence is behind the page table's write. */
static unsigned long flush_here(unsigned int cpu, unsigned int space,
				const struct flushq_range *range)
{
	unsigned long all;

	atomic_thread_fence(memory_order_seq_cst);
	all = atomic_load(&members[space].cpus);
	if (all & bit_of(cpu))
		flushq_host_flush(range);
	return all & ~bit_of(cpu);
}

static void nothing(unsigned int cpu, unsigned int space)
{
	(void)cpu;
	(void)space;
}

/* eager */

static flushq_asid eager_before_switch(unsigned int cpu, unsigned int space)
{
	join(cpu, space);
	return softtlb_asid(space);
}

static void eager_shootdown(unsigned int cpu, unsigned int space, const struct flushq_range *range)
{
	struct request request = { .range = *range };

	ask_and_wait(cpu, flush_here(cpu, space, range), &request);
}

static const struct policy eager = {
	.name = "eager",
	.before_switch = eager_before_switch,
	.switched = nothing,
	.shootdown = eager_shootdown,
	.asked = flush_asked,
};

/* rfc */

static struct {
	_Alignas(64) atomic_flag lock;
	unsigned int n;
	atomic_bool need_flush;
	_Atomic unsigned int loaded; /* space + 1 */
	struct flushq_range slot[RFC_SLOTS];
} rfc[SOFTTLB_CPUS];

/* Interrupts are off: else a handler that drains might wait for what it interrupted. */
static void rfc_lock(unsigned int cpu)
{
	while (atomic_flag_test_and_set_explicit(&rfc[cpu].lock, memory_order_acquire))
		flushq_host_relax();
}

static void rfc_unlock(unsigned int cpu)
{
	atomic_flag_clear_explicit(&rfc[cpu].lock, memory_order_release);
}

static void rfc_switched(unsigned int cpu, unsigned int space)
{
	unsigned int i;

	atomic_store(&rfc[cpu].loaded, space + 1);
	if (!atomic_load(&rfc[cpu].need_flush))
		return;
	rfc_lock(cpu);
	atomic_store_explicit(&rfc[cpu].need_flush, false, memory_order_relaxed);
	for (i = 0; i < rfc[cpu].n; i++)
		flushq_host_flush(&rfc[cpu].slot[i]);
	rfc[cpu].n = 0;
	rfc_unlock(cpu);
}

static bool rfc_needs_interrupt(unsigned int target, unsigned int space,
				const struct flushq_range *range)
{
	unsigned long flags;
	bool room;

	if (atomic_load(&rfc[target].loaded) == space + 1)
		return true;
	flags = flushq_host_irq_save();
	rfc_lock(target);
	room = rfc[target].n < RFC_SLOTS;
	if (room)
		rfc[target].slot[rfc[target].n++] = *range;
	rfc_unlock(target);
	flushq_host_irq_restore(flags);
	if (!room)
		return true;
	atomic_store(&rfc[target].need_flush, true);
	return atomic_load(&rfc[target].loaded) == space + 1;
}

static void rfc_shootdown(unsigned int cpu, unsigned int space, const struct flushq_range *range)
{
	unsigned long left = flush_here(cpu, space, range), mask = 0;
	struct request request = { .range = *range };

	while (left) {
		unsigned int target = flushq_cpuset_pop(&left);

		if (rfc_needs_interrupt(target, space, range))
			mask |= bit_of(target);
	}
	ask_and_wait(cpu, mask, &request);
}

static const struct policy rfc_policy = {
	.name = "rfc",
	.before_switch = eager_before_switch,
	.switched = rfc_switched,
	.shootdown = rfc_shootdown,
	.asked = flush_asked,
};

/* x86 */

static struct {
	_Alignas(64) _Atomic unsigned long generation;
} spaces[SOFTTLB_SPACES];
static struct {
	_Alignas(64) unsigned long seen[SOFTTLB_SPACES];
	unsigned int space; /* in the register, + 1 */
} x86[SOFTTLB_CPUS];

static void x86_catch_up(unsigned int cpu, unsigned int space)
{
	/* Read before the flush: who raises it later finds this CPU in the set, and asks it. */
	unsigned long latest = atomic_load(&spaces[space].generation);
	struct flushq_range all = flushq_range_whole(softtlb_asid(space), FLUSHQ_LEAF);

	if (x86[cpu].seen[space] == latest)
		return;
	flushq_host_flush(&all);
	x86[cpu].seen[space] = latest;
}

static flushq_asid x86_before_switch(unsigned int cpu, unsigned int space)
{
	atomic_fetch_or(&members[space].cpus, bit_of(cpu));
	x86_catch_up(cpu, space);
	return softtlb_asid(space);
}

static void x86_switched(unsigned int cpu, unsigned int space)
{
	if (x86[cpu].space && x86[cpu].space != space + 1)
		atomic_fetch_and(&members[x86[cpu].space - 1].cpus, ~bit_of(cpu));
	x86[cpu].space = space + 1;
}

static void x86_asked(unsigned int cpu, const struct request *request)
{
	unsigned int space = request->space;

	if (x86[cpu].space != space + 1)
		return;
	if (request->generation != x86[cpu].seen[space] + 1) {
		x86_catch_up(cpu, space);
	} else if (atomic_load(&spaces[space].generation) == request->generation) {
		flushq_host_flush(&request->range);
		x86[cpu].seen[space] = request->generation;
	} else {
		x86_catch_up(cpu, space);
	}
}

static void x86_shootdown(unsigned int cpu, unsigned int space, const struct flushq_range *range)
{
	struct request request = { .range = *range, .space = space };
	unsigned long flags, all;

	request.generation = atomic_fetch_add(&spaces[space].generation, 1) + 1;
	all = atomic_load(&members[space].cpus);
	flags = flushq_host_irq_save();
	x86_asked(cpu, &request);
	flushq_host_irq_restore(flags);
	ask_and_wait(cpu, all & ~bit_of(cpu), &request);
}

static const struct policy x86_policy = {
	.name = "x86",
	.before_switch = x86_before_switch,
	.switched = x86_switched,
	.shootdown = x86_shootdown,
	.asked = x86_asked,
};

/* LATR-like. The words that every sweep reads are by themselves, eight to a line. */

static struct {
	_Alignas(64) _Atomic unsigned long cpus[LATR_SLOTS]; /* that have not flushed it */
	_Alignas(64) struct flushq_range range[LATR_SLOTS];
	_Atomic unsigned long turn[LATR_SLOTS]; /* how often it was used */
	unsigned int next;
} rings[SOFTTLB_CPUS];
static struct {
	_Alignas(64) _Atomic unsigned int space; /* in use, or about to be, + 1 */
} used[SOFTTLB_CPUS];

static void latr_sweep(unsigned int cpu)
{
	unsigned long flags = flushq_host_irq_save();
	unsigned int i, slot;

	for (i = 0; i < nr_cpus; i++)
		for (slot = 0; slot < LATR_SLOTS; slot++) {
			if (!(atomic_load_explicit(&rings[i].cpus[slot], memory_order_acquire) &
			      bit_of(cpu)))
				continue;
			flushq_host_flush(&rings[i].range[slot]);
			atomic_fetch_and(&rings[i].cpus[slot], ~bit_of(cpu));
		}
	flushq_host_irq_restore(flags);
}

static flushq_asid latr_before_switch(unsigned int cpu, unsigned int space)
{
	if (!(atomic_load_explicit(&members[space].cpus, memory_order_relaxed) & bit_of(cpu)))
		atomic_fetch_or(&members[space].cpus, bit_of(cpu));
	atomic_store(&used[cpu].space, space + 1);
	latr_sweep(cpu);
	return softtlb_asid(space);
}

/* Slots are used in turn; one that is still in use is a full ring. */
static bool latr_post(unsigned int cpu, const struct flushq_range *range, unsigned long mask,
		      unsigned int *slot)
{
	*slot = rings[cpu].next % LATR_SLOTS;
	if (atomic_load_explicit(&rings[cpu].cpus[*slot], memory_order_acquire))
		return false;
	rings[cpu].next++;
	rings[cpu].range[*slot] = *range;
	atomic_fetch_add(&rings[cpu].turn[*slot], 1);
	/* Full: before the look at who uses the space. */
	atomic_store(&rings[cpu].cpus[*slot], mask);
	return true;
}

static unsigned long latr_users(unsigned int space, unsigned long mask)
{
	unsigned long users = 0;

	while (mask) {
		unsigned int target = flushq_cpuset_pop(&mask);

		if (atomic_load(&used[target].space) == space + 1)
			users |= bit_of(target);
	}
	return users;
}

static void latr_shootdown(unsigned int cpu, unsigned int space, const struct flushq_range *range)
{
	unsigned long mask = flush_here(cpu, space, range);
	struct request request = { .range = *range };
	unsigned int slot;

	if (mask && latr_post(cpu, range, mask, &slot))
		mask = latr_users(space, mask);
	ask_and_wait(cpu, mask, &request);
}

static bool latr_take(unsigned int cpu, unsigned int space, const struct flushq_range *range,
		      union policy_ticket *ticket)
{
	unsigned long mask = flush_here(cpu, space, range);
	struct request request = { .range = *range };

	if (!mask)
		return true;
	if (!latr_post(cpu, range, mask, &ticket->latr.slot)) {
		ask_and_wait(cpu, mask, &request);
		return true;
	}
	ticket->latr.sender = cpu;
	ticket->latr.space = space;
	ticket->latr.turn = atomic_load(&rings[cpu].turn[ticket->latr.slot]);
	ticket->latr.users = latr_users(space, mask);
	return !ticket->latr.users;
}

/* Who went away sweeps before it comes back. */
static bool latr_done(union policy_ticket *ticket)
{
	struct latr_ticket *t = &ticket->latr;

	if (atomic_load(&rings[t->sender].turn[t->slot]) != t->turn)
		return true;
	t->users &= atomic_load(&rings[t->sender].cpus[t->slot]);
	t->users = latr_users(t->space, t->users);
	return !t->users;
}

static const struct policy latr_policy = {
	.name = "latr",
	.before_switch = latr_before_switch,
	.switched = nothing,
	.shootdown = latr_shootdown,
	.take = latr_take,
	.done = latr_done,
	.tick = latr_sweep,
	.asked = flush_asked,
};

/* flushq */

static struct flushq fq;
static struct flushq_cpu fq_cpus[SOFTTLB_CPUS];
static struct flushq_asids asids;
static struct flushq_mm mms[SOFTTLB_SPACES];
static struct flushq_log logs[SOFTTLB_SPACES];

static flushq_asid fq_before_switch(unsigned int cpu, unsigned int space)
{
	return flushq_mm_switch_to(&fq, cpu, &mms[space]);
}

static void fq_switched(unsigned int cpu, unsigned int space)
{
	(void)space;
	flushq_switched(&fq, cpu);
}

static struct flushq_range fq_range(unsigned int space, const struct flushq_range *range)
{
	return flushq_mm_range(&fq, &mms[space], range->start,
			       (unsigned long)range->pages << FLUSHQ_PAGE_SHIFT,
			       1ul << FLUSHQ_PAGE_SHIFT, FLUSHQ_LEAF);
}

static void fq_shootdown(unsigned int cpu, unsigned int space, const struct flushq_range *range)
{
	struct flushq_range r = fq_range(space, range);

	flushq_mm_shootdown(&fq, cpu, &mms[space], &r);
}

static bool fq_take(unsigned int cpu, unsigned int space, const struct flushq_range *range,
		    union policy_ticket *ticket)
{
	struct flushq_range r = fq_range(space, range);

	return flushq_mm_ticket_take(&fq, cpu, &mms[space], &r, &ticket->flushq);
}

static bool fq_done(union policy_ticket *ticket)
{
	return flushq_ticket_done(&fq, &ticket->flushq);
}

static void fq_tick(unsigned int cpu)
{
	flushq_tick(&fq, cpu);
}

static const struct policy fq_queue = {
	.name = "flushq",
	.before_switch = fq_before_switch,
	.switched = fq_switched,
	.shootdown = fq_shootdown,
	.tick = fq_tick,
};

static const struct policy fq_log = {
	.name = "flushq-log",
	.before_switch = fq_before_switch,
	.switched = fq_switched,
	.shootdown = fq_shootdown,
	.tick = fq_tick,
};

static const struct policy fq_ticket = {
	.name = "flushq-ticket",
	.before_switch = fq_before_switch,
	.switched = fq_switched,
	.shootdown = fq_shootdown,
	.take = fq_take,
	.done = fq_done,
	.tick = fq_tick,
};

const struct policy *const policies[NR_POLICIES] = {
	[EAGER] = &eager,
	[RFC] = &rfc_policy,
	[X86] = &x86_policy,
	[LATR] = &latr_policy,
	[FLUSHQ] = &fq_queue,
	[FLUSHQ_LOG] = &fq_log,
	[FLUSHQ_TICKET] = &fq_ticket,
};

static void (*cpu_main)(unsigned int cpu);

static void start(unsigned int cpu)
{
	flushq_online(&fq, cpu);
	flushq_host_irq_restore(0);
	cpu_main(cpu);
}

void policy_run(const struct policy *wanted, unsigned int cpus, unsigned long seed, bool broken,
		void (*main)(unsigned int cpu))
{
	struct softtlb_config config = { .fq = &fq, .cpus = cpus, .seed = seed };
	unsigned int i;

	policy = wanted;
	nr_cpus = cpus;
	lose = broken;
	cpu_main = main;
	flushq_init(&fq, fq_cpus, cpus);
	flushq_use_asids(&fq, &asids, 7);
	for (i = 0; i < SOFTTLB_SPACES; i++)
		flushq_mm_init(&mms[i], policy == &fq_log ? &logs[i] : NULL);
	for (i = 0; i < SOFTTLB_CPUS; i++)
		atomic_flag_clear(&rfc[i].lock);
	config.broken = broken ? SOFTTLB_DROP_INTERRUPT : 0;
	if (policy->asked)
		config.storm = on_interrupt;
	softtlb_run(&config, start);
}

unsigned long policy_interrupts(void)
{
	return atomic_load(&sent) + softtlb_interrupts();
}
