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
 *	flushq_init,		once, before all others          no
 *	flushq_limit_resident
 *	flushq_online, _offline	on the CPU itself, irqs off      no
 *	flushq_switch_to	on the CPU itself, irqs off      no
 *	flushq_switched		on the CPU itself, irqs off      no
 *	flushq_leave_lazy	on the CPU itself, irqs off      no
 *	flushq_enter_lazy	on the CPU itself, irqs off      no
 *	flushq_park		on the CPU itself, irqs off      no
 *	flushq_drain, _tick	on the CPU itself, any context   no
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
 *	R1  tail, acquire            a request goes unseen: the owner stops at an empty slot although
 *	    R4  release, before it   a later one counts
 *	R2  claim, acquire           an item is overwritten while the owner still reads it
 *	    R7  free, release
 *	R4  publish, release         the owner reads an item that is half old; its flush comes before
 *	    R5  look, acquire        the page table's change
 *	R3  slots passed by,         the same, where positions wrap (ring.h), or three producers hand
 *	    acquire                  on what the first saw (no machine shows that)
 *	    R4
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
 *	    S4  acquire after the looks, S10 the waiter's
 *	S9  leave the set, release   the same, of one that is no longer asked
 *	    S4
 *	D2  drained, release fence   the same
 *	    S7  waiter's acquire
 *
 * Of ASIDs (asid.h):
 *
 *	G1  next, held: release      a rollover sees the new next and an older held: the ASID in the
 *	    G5  rollover's acquire   register becomes another's; a use of before it was renumbered,
 *				     after the page was reused (passed on by G7, G6, G3 and S4)
 *	C2  full fence, then the     neither sees the other: the ASID that a CPU is about to use
 *	    generation (G2)          becomes another's
 *	    G4  generation, full fence, then next (G5)
 *	G3  the id, release          an ASID of the new generation is used without the flush that the
 *	    C2  behind its load      rollover marked
 *	    S4  the initiator's look a use of before it was renumbered, after the page was reused
 *	G6  lock, acquire            two address spaces get one ASID
 *	    G7  unlock, release
 *
 * Of logs (log.h), where a debt is a published slot too:
 *
 *	L1  claim, acquire           two laps' items are seen in the wrong order; the proof looks
 *	    L4  publish, release     before the claim
 *	L4  publish, release         a reader's flush comes before the page table's change
 *	    L5  look, acquire
 *	L2  the proof, acquire       an entry behind a hole goes unseen; the turn that a writer before
 *	    L4                       made is not passed on
 *	L3  release, behind the      a reader takes a later lap's word for this one's (L6), or a
 *	    claim and the proof      position of a wrap ago for its own (L7)
 *	    L6  acquire, then the state again
 *	    L7  acquire behind joining; read behind L5
 *	L4, L3                       who joins leaves out what its walks do not see
 *	    L8  relaxed looks, then the flush (a full fence to the walks behind it, arch.h)
 */
#ifndef FLUSHQ_SHOOTDOWN_H
#define FLUSHQ_SHOOTDOWN_H

#include "owner.h"

/* One call of an initiator. */
struct flushq_priv_post {
	struct flushq *fq;
	const struct flushq_range *range;
	struct flushq_log *log; /* NULL: the queues carry it */
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
			FLUSHQ_ASSERT(false && "a CPU that the machine does not have");
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

/* Gives every other CPU of `set` the debt; returns how many must be interrupted, and which. */
static inline unsigned int flushq_priv_record_each(const struct flushq_priv_post *post,
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

/*
 * Records the debt for every other CPU concerned; returns how many must be interrupted, and which.
 * With a log that is one entry, whatever the number of CPUs, and one look at those that have the
 * address space in their register.
 */
static inline unsigned int flushq_priv_record(struct flushq_priv_post *post,
					      const flushq_atomic_ulong *set,
					      unsigned long *interrupt)
{
	unsigned int w, n = 0;

	/* Kernel ranges are in no log: flushq_priv_local() must know. */
	if (post->range->kind == FLUSHQ_GLOBAL)
		post->log = NULL;
	if (!post->log)
		return flushq_priv_record_each(post, set, interrupt);
	if (FLUSHQ_UNLIKELY(!flushq_log_append(post->log, post->range))) {
		post->log = NULL;
		flushq_priv_event(post->counts, post->self, FLUSHQ_LOG_BLOCKED, 1);
		return flushq_priv_record_each(post, set, interrupt);
	}
	flushq_priv_event(post->counts, post->self, FLUSHQ_LOG_APPENDS, 1);
	/* S2: pairs with C2: who is not yet seen to have it loaded finds the entry. */
	flushq_fence_full();
	for (w = 0; w < FLUSHQ_CPUSET_WORDS(post->fq->nr); w++) {
		unsigned int base = w * FLUSHQ_CPUSET_BITS;
		/* S1: behind S2. */
		unsigned long users = flushq_load_relaxed(&post->log->loaded[w]);

		if (w == post->self / FLUSHQ_CPUSET_BITS)
			users &= ~flushq_cpuset_bit(post->self);
		interrupt[w] = flushq_priv_look_word(post, base, users);
		n += flushq_cpuset_count(interrupt[w]);
	}
	flushq_fence_acquire(); /* S4: pairs with C1 and S9 */
	return n;
}

static inline struct flushq_priv_post flushq_priv_begin(struct flushq *fq, unsigned int self,
							const struct flushq_range *range,
							struct flushq_log *log)
{
	struct flushq_priv_post post;

	post.fq = fq;
	post.range = range;
	post.log = log;
	/* An unknown caller is in no set, so all of its set is asked, and CPU 0 counts for it. */
	post.counts = &fq->cpu[flushq_priv_known(fq, self) ? self : 0].counts;
	post.self = self;
	post.fenced = false;
	flushq_priv_event(post.counts, self, FLUSHQ_SHOOTDOWNS, 1);
	return post;
}

/* The caller's own TLB. */
static inline void flushq_priv_local(const struct flushq_priv_post *post,
				     const flushq_atomic_ulong *set)
{
	struct flushq_cpu *cpu;

	if (FLUSHQ_UNLIKELY(post->self >= post->fq->nr)) {
		flushq_priv_flush_all(NULL, post->self);
		return;
	}
	cpu = &post->fq->cpu[post->self];
	if (post->range->kind != FLUSHQ_GLOBAL && !flushq_cpuset_has(set, post->self))
		return;
	if (!post->log || cpu->busy)
		flushq_priv_apply(cpu, post->self, *post->range);
	/* The log has it, for this CPU as well. */
	else if (!flushq_priv_idle(cpu, post->self))
		flushq_drain(post->fq, post->self);
}

/* The low call, of any kind. */
static inline unsigned int flushq_priv_ask(struct flushq_priv_post *post,
					   const flushq_atomic_ulong *set, unsigned long *interrupt)
{
	unsigned int n;

	if (post->range->kind == FLUSHQ_GLOBAL)
		set = post->fq->online;
	n = flushq_priv_record(post, set, interrupt);
	flushq_priv_event(post->counts, post->self, FLUSHQ_IPI_SENT, n);
	flushq_priv_local(post, set);
	return n;
}

/*
 * The low call. The page table has been written; `set` are the CPUs, of the machine's, whose TLBs may
 * hold something of its address space (ignored for kernel ranges, which go to every online CPU).
 * Flushes this CPU if it is one of them, records the debt with the others, and fills `interrupt`
 * (FLUSHQ_CPUSET_WORDS(nr) words; no other is written) with those that use the address space now: the
 * host makes each of them call flushq_drain(), or flush the range (an SBI remote fence; what was
 * recorded is then flushed twice), and waits until it has. Returns how many they are. Never waits.
 */
static inline unsigned int flushq_post(struct flushq *fq, unsigned int self,
				       const flushq_atomic_ulong *set,
				       const struct flushq_range *range, unsigned long *interrupt)
{
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, NULL);

	return flushq_priv_ask(&post, set, interrupt);
}

/*
 * As flushq_post(), for hosts whose interrupt carries the range itself and flushes it there (an SBI
 * remote fence): a CPU that is seen to use the address space gets no debt on top. So where such a fence
 * fails, that CPU must flush some other way.
 */
static inline unsigned int flushq_post_fenced(struct flushq *fq, unsigned int self,
					      const flushq_atomic_ulong *set,
					      const struct flushq_range *range,
					      unsigned long *interrupt)
{
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, NULL);

	post.fenced = true;
	return flushq_priv_ask(&post, set, interrupt);
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
		if (flushq_swap_acquire(&cpu->bell, FLUSHQ_BELL_INTERRUPT) &
		    FLUSHQ_BELL_INTERRUPT) {
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

/* Of a CPU whose bell is about to be rung: the end of a drain that has yet to begin. The one that
 * runs now may have read the queue before. */
static inline uint32_t flushq_priv_enough(const struct flushq_cpu *cpu)
{
	return (flushq_load_relaxed(&cpu->drains) + 3) & ~1u;
}

/* Whether `cpu`, whose bell was rung, has drained since, or no longer uses what was changed. `rung`: the
 * bits of the bell of which one has stayed set if D1 has not come since. */
static inline bool flushq_priv_passed(const struct flushq_cpu *cpu,
				      const struct flushq_range *range, uint32_t rung,
				      uint32_t *enough)
{
	/* S8: acquire, pairs with D1: a silent bell shows the drain that silenced it as begun. */
	bool silent = (flushq_load_acquire(&cpu->bell) & rung) == FLUSHQ_BELL_SILENT;
	/* S7: acquire, pairs with D2. */
	uint32_t drains = flushq_load_acquire(&cpu->drains);
	uint32_t end = (drains + 1) & ~1u;

	if (silent && (int32_t)(end - *enough) < 0)
		*enough = end;
	if ((int32_t)(drains - *enough) >= 0)
		return true;
	/* S10: acquire, pairs with C1. It went away, maybe for good: it pays when it returns. */
	return !flushq_context_needs(flushq_load_acquire(&cpu->context), range);
}

/* Whoever rang the bell of CPU `target` may be stopped before its interrupt: a virtual CPU that does
 * not run. One more does no harm. */
static FLUSHQ_COLD void flushq_priv_interrupt_again(const struct flushq_priv_post *post,
						    unsigned int target)
{
	unsigned long set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)] = { 0 };

	set[target / FLUSHQ_CPUSET_BITS] = flushq_cpuset_bit(target);
	flushq_priv_event(post->counts, post->self, FLUSHQ_IPI_AGAIN, 1);
	flushq_arch_interrupt(set, FLUSHQ_CPUSET_WORDS(post->fq->nr));
}

/* A wait for one CPU. */
struct flushq_priv_waiting {
	uint32_t enough; /* of its drains */
	unsigned int turns;
};

/* Returns when CPU `target` has passed (true), or this CPU is asked for something itself (false). */
static FLUSHQ_NOINLINE bool flushq_priv_wait_turns(const struct flushq_priv_post *post,
						   unsigned int target,
						   struct flushq_priv_waiting *wait)
{
	const struct flushq *fq = post->fq;

	do {
		/* (A ticket's bell says nothing of ours.) */
		if (flushq_priv_passed(&fq->cpu[target], post->range, FLUSHQ_BELL_INTERRUPT,
				       &wait->enough))
			return true;
		if (FLUSHQ_UNLIKELY(++wait->turns % FLUSHQ_PATIENCE == 0))
			flushq_priv_interrupt_again(post, target);
		flushq_arch_relax();
	} while (post->self >= fq->nr ||
		 flushq_load_relaxed(&fq->cpu[post->self].bell) == FLUSHQ_BELL_SILENT);
	return false;
}

static inline void flushq_priv_wait(const struct flushq_priv_post *post, unsigned int target)
{
	struct flushq_priv_waiting wait;

	wait.enough = flushq_priv_enough(&post->fq->cpu[target]);
	wait.turns = 0;
	/* Two CPUs with interrupts off may wait for each other. */
	while (!flushq_priv_wait_turns(post, target, &wait))
		flushq_drain(post->fq, post->self);
}

/*
 * Interrupts the CPUs of `users` that nobody else has, and leaves them all in `users` to be waited
 * for. Bells and interrupts are one step to this CPU: a handler that shoots down in between would
 * wait for interrupts that only this call can send.
 */
static inline void flushq_priv_interrupt(const struct flushq_priv_post *post,
					 const unsigned long *users)
{
	unsigned long silent[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	unsigned int w, words = FLUSHQ_CPUSET_WORDS(post->fq->nr);
	unsigned long any = 0, flags = flushq_arch_irq_save();

	for (w = 0; w < words; w++) {
		silent[w] = flushq_priv_ring_word(post, w * FLUSHQ_CPUSET_BITS, users[w]);
		any |= silent[w];
	}
	if (any)
		flushq_arch_interrupt(silent, words);
	flushq_arch_irq_restore(flags);
}

static FLUSHQ_NOINLINE void flushq_priv_wait_all(const struct flushq_priv_post *post,
						 unsigned long *users)
{
	unsigned int w;

	for (w = 0; w < FLUSHQ_CPUSET_WORDS(post->fq->nr); w++) {
		while (users[w]) {
			unsigned int cpu = w * FLUSHQ_CPUSET_BITS + flushq_cpuset_pop(&users[w]);

			if (cpu < post->fq->nr)
				flushq_priv_wait(post, cpu);
		}
	}
}

static inline void flushq_priv_shootdown(struct flushq_priv_post *post,
					 const flushq_atomic_ulong *set)
{
	unsigned long users[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	unsigned int n;

	if (post->range->kind == FLUSHQ_GLOBAL)
		set = post->fq->online;
	n = flushq_priv_record(post, set, users);
	if (n)
		flushq_priv_interrupt(post, users);
	flushq_priv_local(post, set);
	if (n)
		flushq_priv_wait_all(post, users);
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
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, NULL);

	flushq_priv_shootdown(&post, set);
}

#endif
