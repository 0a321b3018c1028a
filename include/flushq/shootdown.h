/* SPDX-License-Identifier: MIT */
/*
 * shootdown.h - the protocol between the CPU that changed a page table and those that may have
 * cached what it said before.
 *
 * An initiator writes the page table, then calls flushq_shootdown(), which does everything, or
 * flushq_post(), which records the debt and returns the CPUs to interrupt: the host interrupts them
 * in its own way, and each calls flushq_drain(). A CPU that does not use the address space is left
 * alone and pays when it next switches to it.
 *
 *				called                           waits
 *	flushq_init		once, before all others          no
 *	flushq_online		on the CPU itself, irqs off      no
 *	flushq_switch_to	on the CPU itself, irqs off      no
 *	flushq_switched		on the CPU itself, irqs off      no
 *	flushq_leave_lazy	on the CPU itself, irqs off      no
 *	flushq_enter_lazy	on the CPU itself, irqs off      no
 *	flushq_park		on the CPU itself, irqs off      no
 *	flushq_drain		on the CPU itself, any context   no
 *	flushq_post(_fenced)	any context; no migration        no
 *	flushq_shootdown	any but NMI; no migration        for the CPUs that it interrupts,
 *				                                 serving its own queue meanwhile
 *	flushq_count		anywhere                         no
 *
 * No migration: preemption is off from before `self` was read until the call returns.
 *
 * The synchronising operations, each with its partner and with what is lost without it. A "debt" is
 * a published slot or a sticky bit. S4, S7, C1 and D2 order the *use* of a translation against the
 * reuse of its page; all others make sure of the flush.
 *
 *	R2  claim, acquire           an item is overwritten while the owner still reads it
 *	    R7  free, release
 *	R4  publish, release         the owner reads an item that is half old; its flush comes before
 *	    R5  look, acquire        the page table's change
 *	R3  proof that the slots     a request behind a hole goes unseen: the owner stops at an empty
 *	    before were claimed      slot although a later one counts
 *	R8  full fence, then read    "covered" by a flush that came before the page table's change
 *	    bits, or set them (R10)
 *	    R9  take bits, then flush (a full fence to the walks behind it, arch.h)
 *	S2  full fence between       neither sees the other: no interrupt, and no flush at the switch
 *	    debt and look (S3)
 *	    C2  full fence between the context and the look at the debt
 *	S1  the set read again       a CPU that joined before the page table's change could be seen
 *	    behind S2                is not asked
 *	    S6  join before C2, then flush: that orders the walks
 *	S5  ring the bell, acquire   the drain does not find the debt it was rung for (S2 releases it);
 *	    D1  silence it, acq_rel  the waiter takes a drain that began before for its own
 *	S8  read the bell, acquire   the waiter sees the bell silent, but not that the drain goes on
 *	    D1
 *	C1  leave, release           a use through the old translation, after the page was reused
 *	    S4  acquire after the looks
 *	D2  drained, behind R7's     the same
 *	    release fence
 *	    S7  waiter's acquire
 */
#ifndef FLUSHQ_SHOOTDOWN_H
#define FLUSHQ_SHOOTDOWN_H

#include "arch.h"
#include "cpu.h"
#include "cpuset.h"
#include "event.h"
#include "queue.h"

/* All zero: a CPU that was never onlined. */
struct flushq_cpu {
	/* The owner's line: written by the CPU itself alone. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_atomic_u32 context;
	flushq_atomic_u32 drains; /* odd while it drains */
	flushq_pos head; /* private */
	bool draining, again; /* private, shared with interrupts and NMIs on this CPU */
	struct flushq_counts counts;
	/* The producers' lines. */
	struct flushq_queue queue;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE)
	flushq_atomic_u32 bell; /* 1: an interrupt is on its way */
};

/* A machine. */
struct flushq {
	struct flushq_cpu *cpu;
	unsigned int nr;
	flushq_atomic_ulong online[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
};

/*
 * A machine of `nr` CPUs, 1 to FLUSHQ_NR_CPUS, with a zeroed element of `cpu` for each. Before any
 * CPU calls anything else; starting a CPU must order this before what that CPU does.
 */
static inline void flushq_init(struct flushq *fq, struct flushq_cpu *cpu, unsigned int nr)
{
	unsigned int w;

	FLUSHQ_ASSERT(nr >= 1 && nr <= FLUSHQ_NR_CPUS);
	fq->cpu = cpu;
	fq->nr = nr <= FLUSHQ_NR_CPUS ? nr : FLUSHQ_NR_CPUS;
	for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++)
		flushq_store_relaxed(&fq->online[w], 0ul);
}

/* How often `cpu` counted `event`. Any CPU, any time: a running value. 0 with FLUSHQ_COUNTERS 0. */
static inline unsigned long flushq_count(const struct flushq *fq, unsigned int cpu,
					 enum flushq_event event)
{
	if (!FLUSHQ_COUNTERS || cpu >= fq->nr || event >= FLUSHQ_NR_EVENTS)
		return 0;
	return flushq_load_relaxed(&fq->cpu[cpu].counts.n[event]);
}

/* Where `self` is none of the machine's CPUs (behind the assert hook): flush everything then. */
static inline bool flushq_priv_known(const struct flushq *fq, unsigned int self)
{
	FLUSHQ_ASSERT(self < fq->nr);
	return FLUSHQ_LIKELY(self < fq->nr);
}

/* Flushes `range` on this CPU, now; as a whole where it has more pages than the budget left. */
static inline void flushq_priv_flush(struct flushq_cpu *cpu, unsigned int self,
				     struct flushq_range *range, unsigned int *budget)
{
	enum flushq_event event = FLUSHQ_FLUSHED_PAGES;

	if (range->pages > *budget || !flushq_arch_by_page((enum flushq_kind)range->kind))
		*range = flushq_range_whole(range->asid, (enum flushq_kind)range->kind);
	if (range->pages == 0)
		event = range->kind == FLUSHQ_GLOBAL ? FLUSHQ_FLUSHED_ALL : FLUSHQ_FLUSHED_ASIDS;
	*budget -= range->pages;
	flushq_priv_event(&cpu->counts, self, event, flushq_range_cost(range));
	flushq_arch_flush(range);
}

/* Flushes everything on this CPU; `cpu` is NULL where the machine has no such CPU. */
static FLUSHQ_COLD void flushq_priv_flush_all(struct flushq_cpu *cpu, unsigned int self)
{
	struct flushq_range all = flushq_range_whole(0, FLUSHQ_GLOBAL);

	if (cpu)
		flushq_priv_event(&cpu->counts, self, FLUSHQ_FLUSHED_ALL, 1);
	flushq_arch_flush(&all);
}

/* What a drain has read from the ring and not yet flushed. */
struct flushq_priv_debt {
	struct flushq_range
		mark; /* what the mark, or an unpublished slot, calls for, if `marked` */
	struct flushq_range run; /* requests merged so far, if `pending` */
	unsigned int budget; /* pages that may still be flushed one by one */
	bool marked, pending;
};

static inline void flushq_priv_owe(struct flushq_cpu *cpu, unsigned int self,
				   struct flushq_priv_debt *debt, struct flushq_range *range)
{
	if (!flushq_arch_by_page((enum flushq_kind)range->kind))
		*range = flushq_range_whole(range->asid, (enum flushq_kind)range->kind);
	if (debt->marked && flushq_range_covers(&debt->mark, range))
		return;
	if (debt->pending && flushq_range_merge(&debt->run, range))
		return;
	if (debt->pending)
		flushq_priv_flush(cpu, self, &debt->run, &debt->budget);
	debt->run = *range;
	debt->pending = true;
}

/* Applies what is owed, once. Takes at most FLUSHQ_QUEUE_SLOTS requests; slots are given back after
 * the flush. */
static inline void flushq_priv_drain(struct flushq_cpu *cpu, unsigned int self)
{
	struct flushq_ring *ring = &cpu->queue.ring;
	uint32_t drains = flushq_load_relaxed(&cpu->drains), mark, key;
	struct flushq_priv_debt debt;
	flushq_pos pos = cpu->head;
	unsigned int taken;
	unsigned long value;
	bool blocked = false;

	flushq_store_relaxed(&cpu->drains, drains + 1);
	/* D1: acquire, pairs with S5; release: who sees the bell silent sees the drain begun. */
	(void)flushq_swap_acq_rel(&cpu->bell, 0u);

	mark = flushq_ring_unstick(ring);
	debt.mark = flushq_mark_range(mark);
	debt.marked = mark != 0;
	debt.run = debt.mark;
	debt.pending = false;
	debt.budget = FLUSHQ_PAGES_MAX;
	for (taken = 0; taken < FLUSHQ_QUEUE_SLOTS; taken++, pos++) {
		struct flushq_range range;
		int seen = flushq_ring_look(ring, pos, &key, &value);

		if (seen < FLUSHQ_RING_PUBLISHED) {
			/*
			 * Empty: no later one counts. Claimed: its initiator has still to reach its
			 * fence and look (S2, S3), and will see what this CPU has loaded. But of
			 * those behind it some may have done so.
			 */
			blocked = seen == FLUSHQ_RING_CLAIMED &&
				  flushq_ring_claimed_behind(ring, pos);
			break;
		}
		range = flushq_priv_unpack(key, value);
		flushq_priv_owe(cpu, self, &debt, &range);
	}
	if (blocked) {
		flushq_priv_event(&cpu->counts, self, FLUSHQ_ESCALATIONS, 1);
		debt.mark = flushq_range_whole(0, FLUSHQ_GLOBAL);
		debt.marked = true;
	}
	if (debt.marked)
		flushq_priv_flush(cpu, self, &debt.mark, &debt.budget);
	if (debt.pending && !(debt.marked && flushq_range_covers(&debt.mark, &debt.run)))
		flushq_priv_flush(cpu, self, &debt.run, &debt.budget);

	flushq_ring_free(ring, cpu->head, pos);
	cpu->head = pos;
	flushq_priv_event(&cpu->counts, self, FLUSHQ_DRAINS, 1);
	/* D2: behind R7, pairs with S7: uses before this are over. */
	flushq_store_relaxed(&cpu->drains, drains + 2);
}

/*
 * Applies everything this CPU owes: the interrupt handler, and what a host may call at any other
 * time. Never waits. Where it interrupts itself (an NMI), the inner call leaves the work to the
 * outer, which returns later.
 */
static inline void flushq_drain(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu;
	unsigned long flags;

	if (!flushq_priv_known(fq, self)) {
		flushq_priv_flush_all(NULL, self);
		return;
	}
	cpu = &fq->cpu[self];
	flags = flushq_arch_irq_save();
	if (cpu->draining) {
		cpu->again = true;
	} else {
		do {
			cpu->draining = true;
			cpu->again = false;
			flushq_fence_interrupt();
			flushq_priv_drain(cpu, self);
			flushq_fence_interrupt();
			cpu->draining = false;
			flushq_fence_interrupt();
		} while (cpu->again);
	}
	flushq_arch_irq_restore(flags);
}

/* The rest of flushq_online(), also where a CPU that was never onlined is used: it may have cached
 * anything. */
static FLUSHQ_COLD void flushq_priv_first_use(struct flushq *fq, struct flushq_cpu *cpu,
					      unsigned int self, uint32_t context)
{
	/* S6: joins, then C2: an initiator finds it online, or its page table is seen after the
	 * flush. */
	(void)flushq_cpuset_add(fq->online, self);
	flushq_context_enter(&cpu->context, context);
	flushq_priv_flush_all(cpu, self);
	flushq_drain(fq, self);
}

/*
 * A CPU starts: it flushes everything and is from now on interrupted for kernel ranges. On that
 * CPU, before it uses any mapping that may change, interrupts off.
 */
static inline void flushq_online(struct flushq *fq, unsigned int self)
{
	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (flushq_priv_known(fq, self))
		flushq_priv_first_use(fq, &fq->cpu[self], self, FLUSHQ_CONTEXT_PARKED);
	else
		flushq_priv_flush_all(NULL, self);
}

/*
 * A full fence does not order page-table walks, on RISC-V neither does the write of the register; a
 * flush does. Without it the first walks of a new member might see a page table from before C2.
 */
static FLUSHQ_COLD void flushq_priv_flush_joined(struct flushq_cpu *cpu, unsigned int self,
						 uint32_t context)
{
	struct flushq_range whole = flushq_range_whole(context >> 16, FLUSHQ_TABLES);
	unsigned int budget = 0;

	flushq_priv_flush(cpu, self, &whole, &budget);
}

static inline void flushq_priv_enter(struct flushq *fq, unsigned int self, uint32_t context,
				     flushq_atomic_ulong *set)
{
	struct flushq_cpu *cpu;
	bool joined = false;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self)) {
		flushq_priv_flush_all(NULL, self);
		return;
	}
	cpu = &fq->cpu[self];
	/* S6: before C2. */
	if (set)
		joined = flushq_cpuset_add(set, self);
	if (FLUSHQ_UNLIKELY(flushq_load_relaxed(&cpu->context) == FLUSHQ_CONTEXT_OFFLINE)) {
		FLUSHQ_ASSERT(!"flushq_switch_to() before flushq_online()");
		flushq_priv_first_use(fq, cpu, self, context);
		return;
	}
	flushq_context_enter(&cpu->context, context); /* C1, C2 */
	if (FLUSHQ_UNLIKELY(joined))
		flushq_priv_flush_joined(cpu, self, context);
	if (FLUSHQ_UNLIKELY(!flushq_ring_idle(&cpu->queue.ring, cpu->head)))
		flushq_drain(fq, self);
}

/*
 * This CPU is about to switch to the address space of `asid`, whose CPUs are `set`: it joins them
 * (NULL where the host has, and flushed the ASID behind a full fence when it did) and pays what it
 * owes. Then the host writes the page-table register and calls flushq_switched(), all with
 * interrupts off and without access to user memory from before the one until after the other.
 *
 *   before the write   The new context is made known and then, behind a full fence, the debts are
 *                      paid: never earlier (CVE-2025-37964 was such a window), and not later, as the
 *                      hardware may walk from the write on, starting from non-leaf entries whose
 *                      tables were freed while the address space was parked.
 *   until switched     The register may still hold the old address space, whose tables the hardware
 *                      may walk. So freed tables, whosever they are, interrupt this CPU.
 */
static inline void flushq_switch_to(struct flushq *fq, unsigned int self, flushq_asid asid,
				    flushq_atomic_ulong *set)
{
	FLUSHQ_ASSERT(asid <= FLUSHQ_ASID_MAX);
	flushq_priv_enter(fq, self, flushq_context_loaded(asid) | FLUSHQ_CONTEXT_SWITCHING, set);
}

/*
 * The page-table register holds what flushq_switch_to() was called for. (Forgetting this costs
 * interrupts, no flush.)
 */
static inline void flushq_switched(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self))
		return;
	cpu = &fq->cpu[self];
	flushq_context_leave(&cpu->context,
			     flushq_load_relaxed(&cpu->context) & ~FLUSHQ_CONTEXT_SWITCHING);
}

/* The page-table register holds no user address space any more: after that write. */
static inline void flushq_park(struct flushq *fq, unsigned int self)
{
	if (flushq_priv_known(fq, self) &&
	    flushq_load_relaxed(&fq->cpu[self].context) != FLUSHQ_CONTEXT_OFFLINE)
		flushq_context_leave(&fq->cpu[self].context, FLUSHQ_CONTEXT_PARKED);
}

/*
 * An idle or kernel thread runs, the address space stays in the register. Until flushq_leave_lazy()
 * or flushq_switch_to() no user translation may be used. Only freed tables and kernel ranges
 * interrupt it.
 */
static inline void flushq_enter_lazy(struct flushq *fq, unsigned int self)
{
	uint32_t context;

	if (!flushq_priv_known(fq, self))
		return;
	context = flushq_load_relaxed(&fq->cpu[self].context);
	if (context & FLUSHQ_CONTEXT_LOADED)
		flushq_context_leave(&fq->cpu[self].context, context | FLUSHQ_CONTEXT_LAZY);
}

/* The address space that stayed in the register is used again. Pays what is owed. */
static inline void flushq_leave_lazy(struct flushq *fq, unsigned int self)
{
	uint32_t context = 0;

	if (self < fq->nr)
		context = flushq_load_relaxed(&fq->cpu[self].context);
	flushq_priv_enter(fq, self, (context | FLUSHQ_CONTEXT_PARKED) & ~FLUSHQ_CONTEXT_LAZY, NULL);
}

/* One call of an initiator. */
struct flushq_priv_post {
	struct flushq *fq;
	const struct flushq_range *range;
	struct flushq_counts *counts;
	unsigned int self;
	bool fenced; /* the interrupt carries the range */
};

/*
 * Gives each CPU of `todo` (a word of a set, `base` its first CPU) the debt. Returns those that
 * must be interrupted whatever they do next: they owe nothing that they would find.
 */
static inline unsigned long flushq_priv_post_word(const struct flushq_priv_post *post,
						  unsigned int base, unsigned long todo)
{
	unsigned long must = 0;

	while (todo) {
		unsigned int bit = flushq_cpuset_pop(&todo);
		enum flushq_put_result put;
		struct flushq_cpu *cpu;

		if (FLUSHQ_UNLIKELY(base + bit >= post->fq->nr)) {
			FLUSHQ_ASSERT(!"a CPU that the machine does not have");
			must |= flushq_cpuset_bit(bit);
			continue;
		}
		cpu = &post->fq->cpu[base + bit];
		if (post->fenced &&
		    flushq_context_needs(flushq_load_relaxed(&cpu->context), post->range)) {
			must |= flushq_cpuset_bit(bit);
			continue;
		}
		put = flushq_queue_put(&cpu->queue, post->range);
		if (put == FLUSHQ_PUT_MARKED)
			flushq_priv_event(post->counts, post->self, FLUSHQ_OVERFLOWS, 1);
		else if (put == FLUSHQ_PUT_COVERED)
			flushq_priv_event(post->counts, post->self, FLUSHQ_COVERED, 1);
	}
	return must;
}

/* Of the CPUs of `owing`, which were given the debt before a full fence: those that use what was
 * changed. */
static inline unsigned long flushq_priv_look_word(const struct flushq_priv_post *post,
						  unsigned int base, unsigned long owing)
{
	unsigned long users = 0;

	while (owing) {
		unsigned int bit = flushq_cpuset_pop(&owing);

		/* S3: relaxed, behind S2; S4 orders what comes after. */
		if (flushq_context_needs(flushq_load_relaxed(&post->fq->cpu[base + bit].context),
					 post->range))
			users |= flushq_cpuset_bit(bit);
		else
			flushq_priv_event(post->counts, post->self, FLUSHQ_DEFERRED, 1);
	}
	return users;
}

/* Records the debt with every other CPU concerned; returns how many must be interrupted, and which.
 */
static inline unsigned int flushq_priv_record(const struct flushq_priv_post *post,
					      const flushq_atomic_ulong *set,
					      unsigned long *interrupt)
{
	unsigned int w, n = 0;

	for (w = 0; w < FLUSHQ_CPUSET_WORDS(post->fq->nr); w++) {
		unsigned int base = w * FLUSHQ_CPUSET_BITS;
		unsigned long owing, late, must;
		/* Not the caller itself. */
		unsigned long others = ~0ul;

		if (w == post->self / FLUSHQ_CPUSET_BITS)
			others &= ~flushq_cpuset_bit(post->self);
		owing = flushq_load_relaxed(&set[w]) & others;
		must = flushq_priv_post_word(post, base, owing);
		/* S2: pairs with C2. The first one also orders the page-table write before S1. */
		if (w == 0 || owing)
			flushq_fence_full();
		/* S1: who joined while the page table's change could not yet be seen. */
		late = w == 0 ? flushq_load_relaxed(&set[w]) & others & ~owing : 0;
		if (FLUSHQ_UNLIKELY(late)) {
			must |= flushq_priv_post_word(post, base, late);
			flushq_fence_full(); /* S2 */
			owing |= late;
		}
		interrupt[w] = must | flushq_priv_look_word(post, base, owing & ~must);
		n += flushq_cpuset_count(interrupt[w]);
	}
	flushq_fence_acquire(); /* S4: pairs with C1 */
	return n;
}

static inline struct flushq_priv_post flushq_priv_begin(struct flushq *fq, unsigned int self,
							const struct flushq_range *range,
							bool fenced)
{
	struct flushq_priv_post post;

	post.fq = fq;
	post.range = range;
	/* An unknown caller is in no set, so all of its set is asked, and CPU 0 counts for it. */
	post.counts = &fq->cpu[flushq_priv_known(fq, self) ? self : 0].counts;
	post.self = self;
	post.fenced = fenced;
	flushq_priv_event(post.counts, self, FLUSHQ_SHOOTDOWNS, 1);
	return post;
}

/* The set that a request goes to: kernel ranges have their own. */
static inline const flushq_atomic_ulong *flushq_priv_set(const struct flushq_priv_post *post,
							 const flushq_atomic_ulong *set)
{
	return post->range->kind == FLUSHQ_GLOBAL ? post->fq->online : set;
}

/* The caller's own TLB. */
static inline void flushq_priv_local(const struct flushq_priv_post *post,
				     const flushq_atomic_ulong *set)
{
	unsigned int budget = FLUSHQ_PAGES_MAX;
	struct flushq_range range = *post->range;

	if (FLUSHQ_UNLIKELY(post->self >= post->fq->nr))
		flushq_priv_flush_all(NULL, post->self);
	else if (post->range->kind == FLUSHQ_GLOBAL || flushq_cpuset_has(set, post->self))
		flushq_priv_flush(&post->fq->cpu[post->self], post->self, &range, &budget);
}

/*
 * The low call. The page table has been written; `set` are the CPUs on which its address space ever
 * ran (ignored for kernel ranges, which go to every online CPU). Flushes this CPU if it is one of
 * them, records the debt with the others, and fills `interrupt` (FLUSHQ_CPUSET_WORDS(nr) words)
 * with those that use the address space now: the host makes each of them call flushq_drain(), and
 * waits until it has. Returns how many they are. Never waits.
 */
static inline unsigned int flushq_post(struct flushq *fq, unsigned int self,
				       const flushq_atomic_ulong *set,
				       const struct flushq_range *range, unsigned long *interrupt)
{
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, false);
	unsigned int n = flushq_priv_record(&post, flushq_priv_set(&post, set), interrupt);

	flushq_priv_event(post.counts, self, FLUSHQ_IPI_SENT, n);
	flushq_priv_local(&post, set);
	return n;
}

/*
 * As flushq_post(), for hosts whose interrupt carries the range itself and flushes it there (an SBI
 * remote fence): a CPU that is seen to use the address space gets no debt on top.
 */
static inline unsigned int flushq_post_fenced(struct flushq *fq, unsigned int self,
					      const flushq_atomic_ulong *set,
					      const struct flushq_range *range,
					      unsigned long *interrupt)
{
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, true);
	unsigned int n = flushq_priv_record(&post, flushq_priv_set(&post, set), interrupt);

	flushq_priv_event(post.counts, self, FLUSHQ_IPI_SENT, n);
	flushq_priv_local(&post, set);
	return n;
}

/* Rings the bell of each CPU of the word `users`; returns those whose bell was silent, which must
 * be interrupted. */
static inline unsigned long flushq_priv_ring_word(const struct flushq_priv_post *post,
						  unsigned int base, unsigned long users)
{
	unsigned long silent = 0;

	while (users) {
		unsigned int bit = flushq_cpuset_pop(&users);
		struct flushq_cpu *cpu;

		if (FLUSHQ_UNLIKELY(base + bit >= post->fq->nr)) {
			silent |= flushq_cpuset_bit(bit);
			continue;
		}
		cpu = &post->fq->cpu[base + bit];
		/* S5: acquire, pairs with D1; S2 is its release. */
		if (flushq_swap_acquire(&cpu->bell, 1u)) {
			flushq_priv_event(post->counts, post->self, FLUSHQ_IPI_COALESCED, 1);
			continue;
		}
		silent |= flushq_cpuset_bit(bit);
		flushq_priv_event(post->counts, post->self, FLUSHQ_IPI_SENT, 1);
		if (!flushq_context_needs(flushq_load_relaxed(&cpu->context), post->range))
			flushq_priv_event(post->counts, post->self, FLUSHQ_IPI_PARKED, 1);
	}
	return silent;
}

/* Waits until `cpu`, whose bell was rung, has drained since. */
static inline void flushq_priv_wait(const struct flushq_priv_post *post, struct flushq_cpu *cpu)
{
	/* The end of a drain that has yet to begin: the one that runs now may have read the queue
	 * before. */
	uint32_t enough = (flushq_load_relaxed(&cpu->drains) + 3) & ~1u;

	for (;;) {
		/* S8: acquire, pairs with D1: a silent bell shows the drain that silenced it as
		 * begun. */
		bool silent = flushq_load_acquire(&cpu->bell) == 0;
		/* S7: acquire, pairs with D2. */
		uint32_t drains = flushq_load_acquire(&cpu->drains);
		uint32_t end = (drains + 1) & ~1u;

		if (silent && (int32_t)(end - enough) < 0)
			enough = end;
		if ((int32_t)(drains - enough) >= 0)
			return;
		/* Two CPUs with interrupts off may wait for each other. */
		if (post->self < post->fq->nr &&
		    flushq_load_relaxed(&post->fq->cpu[post->self].bell))
			flushq_drain(post->fq, post->self);
		flushq_arch_relax();
	}
}

/*
 * The high call: as flushq_post(), and interrupts and waits as well. When it returns no CPU can use
 * a translation of `range` that was cached before the page table was written: freed pages and
 * tables may be reused. Any context but NMI; interrupts may be off, and every CPU in `set` must be
 * able to take an interrupt, or wait in this call, in the end.
 */
static inline void flushq_shootdown(struct flushq *fq, unsigned int self,
				    const flushq_atomic_ulong *set,
				    const struct flushq_range *range)
{
	unsigned long users[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	unsigned long silent[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, false);
	unsigned int n = flushq_priv_record(&post, flushq_priv_set(&post, set), users);
	unsigned int w, words = FLUSHQ_CPUSET_WORDS(fq->nr);
	unsigned long any = 0, flags;

	if (n) {
		/*
		 * Bells and interrupts are one step to this CPU: a handler that shoots down in
		 * between would wait for interrupts that only this call can send.
		 */
		flags = flushq_arch_irq_save();
		for (w = 0; w < words; w++) {
			silent[w] = flushq_priv_ring_word(&post, w * FLUSHQ_CPUSET_BITS, users[w]);
			any |= silent[w];
		}
		if (any)
			flushq_arch_interrupt(silent, words);
		flushq_arch_irq_restore(flags);
	}
	flushq_priv_local(&post, set);
	if (n == 0)
		return;
	for (w = 0; w < words; w++) {
		while (users[w]) {
			unsigned int cpu = w * FLUSHQ_CPUSET_BITS + flushq_cpuset_pop(&users[w]);

			if (cpu < fq->nr)
				flushq_priv_wait(&post, &fq->cpu[cpu]);
		}
	}
}

#endif
