/* SPDX-License-Identifier: MIT */
/*
 * ticket.h - shootdowns that interrupt nobody: the pages may be reused when the ticket is done.
 *
 * For changes after which the caller may delay the reuse of pages: unmapping, migration. CPUs that
 * use the address space are left alone, too, until they switch, go idle or take a timer tick
 * (flushq_tick(), which bounds the wait). Until then they may use the old translation, so a loss of
 * permission may never wait: flushq_shootdown() is for that.
 *
 *				called                           waits
 *	flushq_ticket_take	any but NMI; no migration        no, but for what may not wait
 *	flushq_ticket_done	any CPU, any context             no
 *	flushq_ticket_wait	any but NMI; no migration        for the CPUs left: interrupts them
 *	flushq_reclaim_add,	by one at a time                 no
 *	flushq_reclaim_run
 *
 * A ticket is its holder's memory (FLUSHQ_NR_CPUS sizes it), used by one caller at a time. It knows nothing of the address
 * space, which may die before it. flushq_ticket_wait() serves its own CPU's queue, so interrupts may
 * be off.
 */
#ifndef FLUSHQ_TICKET_H
#define FLUSHQ_TICKET_H

#include "shootdown.h"

/* All zero is one that is done. */
struct flushq_ticket {
	struct flushq_range range;
	unsigned long cpus[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)]; /* that may still use it */
	uint32_t enough[FLUSHQ_NR_CPUS]; /* of such a CPU's drains */
};

static inline bool flushq_priv_ticket_take(struct flushq_priv_post *post,
					   const flushq_atomic_ulong *set,
					   struct flushq_ticket *ticket)
{
	unsigned int w, n;

	ticket->range = *post->range;
	for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++)
		ticket->cpus[w] = 0;
	if (post->range->kind != FLUSHQ_LEAF) {
		flushq_priv_shootdown(post, set);
		return true;
	}
	n = flushq_priv_record(post, set, ticket->cpus);
	flushq_priv_local(post, set);
	if (n == 0)
		return true;
	flushq_priv_event(post->counts, post->self, FLUSHQ_TICKETS, 1);
	for (w = 0; w < FLUSHQ_CPUSET_WORDS(post->fq->nr); w++) {
		unsigned long left = ticket->cpus[w];

		while (left) {
			unsigned int cpu = w * FLUSHQ_CPUSET_BITS + flushq_cpuset_pop(&left);

			if (cpu >= post->fq->nr)
				continue;
			/* S5: it drains at its next tick, if not before. An interrupt that is on its
			 * way stays known. */
			flushq_or_acquire(&post->fq->cpu[cpu].bell, FLUSHQ_BELL_TICKET);
			ticket->enough[cpu] = flushq_priv_enough(&post->fq->cpu[cpu]);
		}
	}
	return false;
}

/*
 * As flushq_post(), but nobody is interrupted: when the ticket is done, no CPU can use a translation
 * of `range` that was cached before the page table was written. Freed tables (FLUSHQ_TABLES) and
 * kernel ranges do not wait: for them this is flushq_shootdown(). Returns whether it is done
 * already.
 */
static inline bool flushq_ticket_take(struct flushq *fq, unsigned int self,
				      const flushq_atomic_ulong *set,
				      const struct flushq_range *range,
				      struct flushq_ticket *ticket)
{
	struct flushq_priv_post post = flushq_priv_begin(fq, self, range, NULL);

	return flushq_priv_ticket_take(&post, set, ticket);
}

/* Whether the pages may be reused. Looks at all the CPUs that were not yet through at the last call. */
static inline bool flushq_ticket_done(const struct flushq *fq, struct flushq_ticket *ticket)
{
	unsigned long any = 0;
	unsigned int w;

	for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++) {
		unsigned long left = ticket->cpus[w];

		/* All of them, for flushq_ticket_wait(): who is through is not interrupted. */
		while (left) {
			unsigned int bit = flushq_cpuset_pop(&left);
			unsigned int cpu = w * FLUSHQ_CPUSET_BITS + bit;

			if (cpu >= fq->nr ||
			    flushq_priv_passed(&fq->cpu[cpu], &ticket->range, FLUSHQ_BELL_ANY,
					       &ticket->enough[cpu]))
				ticket->cpus[w] &= ~flushq_cpuset_bit(bit);
		}
		any |= ticket->cpus[w];
	}
	return any == 0;
}

/* Interrupts the CPUs that are left, and returns when the ticket is done. */
static inline void flushq_ticket_wait(struct flushq *fq, unsigned int self,
				      struct flushq_ticket *ticket)
{
	struct flushq_priv_post post;

	if (flushq_ticket_done(fq, ticket))
		return;
	/* It may have been taken elsewhere. */
	if (self < fq->nr && ticket->cpus[self / FLUSHQ_CPUSET_BITS] & flushq_cpuset_bit(self)) {
		flushq_drain(fq, self);
		if (flushq_ticket_done(fq, ticket))
			return;
	}
	post = flushq_priv_begin(fq, self, &ticket->range, NULL);
	flushq_priv_interrupt(&post, ticket->cpus);
	flushq_priv_wait_all(&post, ticket->cpus);
}

/* Something to be freed when its ticket is done. */
struct flushq_reclaim {
	struct flushq_ticket ticket;
	void (*free)(struct flushq_reclaim *item);
	struct flushq_reclaim *next;
};

/* Items in the order of their tickets. All zero is empty. For one caller at a time: one for each
 * CPU, say, run from its timer tick. */
struct flushq_reclaim_list {
	struct flushq_reclaim *first, *last;
};

/* Has item->free called once its ticket, which was taken, is done: by flushq_reclaim_run(). */
static inline void flushq_reclaim_add(struct flushq_reclaim_list *list, struct flushq_reclaim *item)
{
	item->next = NULL;
	if (list->first)
		list->last->next = item;
	else
		list->first = item;
	list->last = item;
}

/* Frees what is done, in order, up to the first that is not. Returns how many. */
static inline unsigned long flushq_reclaim_run(const struct flushq *fq,
					       struct flushq_reclaim_list *list)
{
	struct flushq_reclaim *item;
	unsigned long n = 0;

	while ((item = list->first) && flushq_ticket_done(fq, &item->ticket)) {
		list->first = item->next;
		item->free(item);
		n++;
	}
	return n;
}

#endif
