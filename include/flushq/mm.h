/* SPDX-License-Identifier: MIT */
/*
 * mm.h - address spaces whose ASIDs flushq hands out, and which may carry their debts in a log.
 *
 * The same calls as in owner.h and shootdown.h, for hosts that leave it all to flushq. An ASID is
 * never given to another address space while a CPU may use it, nor before every CPU has flushed it;
 * so a dead one needs no shootdown of its own, and debts that are left of it harm nobody.
 *
 *				called                           waits
 *	flushq_use_asids	once, after flushq_init(),       no
 *				before the CPUs start
 *	flushq_mm_init		before anybody else uses it      no
 *	flushq_mm_switch_to	on the CPU itself, irqs off      for the allocator's lock, where its ASID
 *				                                 is of an old generation
 *	flushq_mm_shootdown,	as flushq_shootdown,             as these
 *	_post, _ticket_take	_post, flushq_ticket_take
 *	flushq_mm_loaded	anywhere                         no
 *
 * Between flushq_mm_switch_to() and flushq_switched() the same holds as for flushq_switch_to(); all
 * other calls of the owner (parking, lazy, drains) are those of owner.h. The table of labels (S4...)
 * is in shootdown.h.
 */
#ifndef FLUSHQ_MM_H
#define FLUSHQ_MM_H

#include "ticket.h"

/*
 * An address space. Its memory stays such (an array, or memory that is only reused for these) as
 * long as the machine runs: a CPU may leave `cpus` after the address space died. It may be another's,
 * and its `log` and root page be freed, once flushq_mm_loaded() is false. For that the host must see to
 * it that idle CPUs do not keep a dead one in their registers for ever (they look, and park).
 */
struct flushq_mm {
	flushq_atomic_ulong id; /* asid.h */
	struct flushq_log *log; /* NULL: debts go to each CPU's queue */
	flushq_atomic_ulong
		cpus[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)]; /* that may hold some of it */
};

/* A rollover: everybody flushes everything before it uses anything. It is the queues' mark. */
static inline void flushq_priv_rollover(void *arg)
{
	struct flushq *fq = (struct flushq *)arg;
	unsigned int cpu;

	for (cpu = 0; cpu < fq->nr; cpu++)
		(void)flushq_ring_stick(&fq->cpu[cpu].queue.ring, FLUSHQ_MARK_ALL);
}

/* From now on `asids`, of `bits` bits (0 to 16, as found in the register), are this machine's. */
static inline void flushq_use_asids(struct flushq *fq, struct flushq_asids *asids,
				    unsigned int bits)
{
	flushq_asid_init(asids, fq->nr, bits, flushq_priv_rollover, fq);
	fq->asids = asids;
}

/*
 * A new address space. With a `log`, zeroed and aligned as its type is, its shootdowns cost the same
 * however many CPUs hold some of it, and its switches two atomic operations more. See docs/design.md
 * for which to take.
 */
static inline void flushq_mm_init(struct flushq_mm *mm, struct flushq_log *log)
{
	unsigned int w;

	mm->log = log;
	flushq_store_relaxed(&mm->id, 0ul);
	for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++)
		flushq_store_relaxed(&mm->cpus[w], 0ul);
}

/* What flushq_priv_switch() left to do; nothing: `id` was found out of date. */
static FLUSHQ_NOINLINE flushq_asid flushq_priv_mm_switch_on(struct flushq *fq, unsigned int self,
							    struct flushq_mm *mm, unsigned long id,
							    enum flushq_priv_todo todo)
{
	flushq_asid asid = flushq_asid_number(fq->asids, id);

	if (todo != FLUSHQ_PRIV_NOTHING) {
		flushq_priv_switch_on(fq, self, asid, mm->cpus, mm->log, todo);
		/* Behind C2. */
		if (flushq_asid_current(fq->asids, id))
			return asid;
	}
	id = flushq_asid_renew(fq->asids, self, &mm->id);
	asid = flushq_asid_number(fq->asids, id);
	flushq_priv_own(&fq->cpu[self]);
	flushq_priv_switch_on(fq, self, asid, mm->cpus, mm->log, FLUSHQ_PRIV_ENTER);
	return asid;
}

/*
 * flushq_switch_to() for `mm`: returns the ASID to write to the register with its page table. That
 * is 0 for all that have none of their own (asid.h); its flushes are flushq's as well.
 */
static inline flushq_asid flushq_mm_switch_to(struct flushq *fq, unsigned int self,
					      struct flushq_mm *mm)
{
	enum flushq_priv_todo todo = FLUSHQ_PRIV_NOTHING;
	flushq_asid asid;
	unsigned long id;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self)) {
		flushq_priv_flush_all(NULL, self);
		return 0;
	}
	/* Relaxed: C2 makes it an acquire of G3's. */
	id = flushq_load_relaxed(&mm->id);
	asid = flushq_asid_number(fq->asids, id);
	if (flushq_asid_current(fq->asids, id)) {
		flushq_priv_asid_next(fq->asids, self, id);
		todo = flushq_priv_switch(&fq->cpu[self], self, asid, mm->cpus, mm->log);
		/* Behind C2. */
		if (FLUSHQ_LIKELY(todo == FLUSHQ_PRIV_NOTHING &&
				  flushq_asid_current(fq->asids, id)))
			return asid;
	}
	return flushq_priv_mm_switch_on(fq, self, mm, id, todo);
}

/*
 * A shootdown asks for the ASID that it finds first. Where another is found behind its full fence
 * (S2) there was a rollover, and no CPU ran the address space then; it is asked for again. Whoever
 * changes the ASID after that passes C2 later, and sees the page table's change.
 */
static inline bool flushq_priv_renumbered(const struct flushq *fq, const struct flushq_mm *mm,
					  struct flushq_range *range)
{
	flushq_asid asid;

	if (range->kind == FLUSHQ_GLOBAL)
		return false;
	/* S4: acquire, pairs with G3: it may have had another in between, whose users are gone. */
	asid = flushq_asid_number(fq->asids, flushq_load_acquire(&mm->id));
	if (FLUSHQ_LIKELY(asid == range->asid))
		return false;
	range->asid = (uint16_t)asid;
	return true;
}

/* What `size` bytes from `start` on in `mm` ask for: flushq_range_make(). */
static inline struct flushq_range flushq_mm_range(const struct flushq *fq,
						  const struct flushq_mm *mm, unsigned long start,
						  unsigned long size, unsigned long stride,
						  enum flushq_kind kind)
{
	return flushq_range_make(flushq_asid_number(fq->asids, flushq_load_relaxed(&mm->id)), start,
				 size, stride, kind);
}

/* flushq_post() for a change to `mm`; the range's ASID is brought up to date. `interrupt` has
 * FLUSHQ_CPUSET_WORDS(nr) words. */
static inline unsigned int flushq_mm_post(struct flushq *fq, unsigned int self,
					  const struct flushq_mm *mm, struct flushq_range *range,
					  unsigned long *interrupt)
{
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, mm->log);
	unsigned int n = flushq_priv_ask(&post, mm->cpus, interrupt);

	if (FLUSHQ_UNLIKELY(flushq_priv_renumbered(fq, mm, range)))
		n = flushq_priv_ask(&post, mm->cpus, interrupt);
	return n;
}

/* flushq_shootdown() for a change to `mm`; the range's ASID is brought up to date. */
static inline void flushq_mm_shootdown(struct flushq *fq, unsigned int self,
				       const struct flushq_mm *mm, struct flushq_range *range)
{
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, mm->log);

	flushq_priv_shootdown(&post, mm->cpus);
	if (FLUSHQ_UNLIKELY(flushq_priv_renumbered(fq, mm, range)))
		flushq_priv_shootdown(&post, mm->cpus);
}

/* flushq_ticket_take() for a change to `mm`; the range's ASID is brought up to date. */
static inline bool flushq_mm_ticket_take(struct flushq *fq, unsigned int self,
					 const struct flushq_mm *mm, struct flushq_range *range,
					 struct flushq_ticket *ticket)
{
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, mm->log);
	bool done = flushq_priv_ticket_take(&post, mm->cpus, ticket);

	if (FLUSHQ_UNLIKELY(flushq_priv_renumbered(fq, mm, range)))
		done = flushq_priv_ticket_take(&post, mm->cpus, ticket);
	return done;
}

/*
 * Whether some CPU may have `mm` in its register, running or lazy: then its root page, and its log,
 * can't be freed. Nobody may be about to switch to it. (True as well while some CPU is between
 * flushq_mm_switch_to() and flushq_switched().)
 */
static inline bool flushq_mm_loaded(const struct flushq *fq, const struct flushq_mm *mm)
{
	flushq_asid asid = flushq_asid_number(fq->asids, flushq_load_relaxed(&mm->id));
	unsigned int cpu;

	for (cpu = 0; cpu < fq->nr; cpu++) {
		bool member = flushq_cpuset_has(mm->cpus, cpu);
		uint32_t context;

		/* S4: pairs with S9: who left the set in its switch is seen to switch, or behind that. */
		flushq_fence_acquire();
		/* S4: acquire, pairs with C1. */
		context = flushq_load_acquire(&fq->cpu[cpu].context);
		/* It has still to leave the log's set. */
		if (context & FLUSHQ_CONTEXT_SWITCHING)
			return true;
		if (member && context & FLUSHQ_CONTEXT_LOADED && context >> 16 == asid)
			return true;
	}
	return false;
}

#endif
