/* SPDX-License-Identifier: MIT */
#ifndef POLICY_H
#define POLICY_H

#include "kernel.h"

/* Who is interrupted for a change to a page table, and when. Interrupts are off throughout. */
struct policy {
	const char *name;
	bool broken; /* deliberately */
	void (*init)(unsigned int harts);
	void (*born)(struct mm *mm); /* nobody knows it yet */
	void (*online)(struct hart *h); /* it may have cached anything */
	void (*offline)(struct hart *h); /* satp holds no mm */
	void (*before_switch)(struct hart *h,
			      struct mm *mm); /* satp holds the last; sets mm->asid */
	void (*switched)(struct hart *h, struct mm *mm); /* satp holds mm */
	void (*parked)(struct hart *h); /* satp holds no mm */
	void (*enter_lazy)(struct hart *h);
	void (*leave_lazy)(struct hart *h);
	void (*shootdown)(struct hart *h, struct mm *mm, const struct range *r);
	/*
	 * As shootdown() of leaf entries, but nobody is interrupted: true when it is done already,
	 * or else when ticket_done() says so. NULL: there are no tickets.
	 */
	bool (*ticket_take)(struct hart *h, struct mm *mm, const struct range *r, void *ticket);
	bool (*ticket_done)(void *ticket);
	void (*tick)(struct hart *h); /* the timer, and where a thread of the same mm comes on */
	void (*interrupt)(struct hart *h);
	/* Adds what h->count lacks. */
	void (*counters)(struct hart *h, struct counters *sum);
};

extern const struct policy policy_eager, policy_rfc, policy_flushq, policy_flushq_log,
	policy_flushq_ticket;
extern const struct policy *policy;

/* NULL: there is none. */
const struct policy *policy_named(const char *name);
const struct policy *policy_broken(const char *name);

/* Room for a policy's ticket. */
#define TICKET_WORDS 40

void shootdown(struct hart *h, struct mm *mm, unsigned long start, unsigned long size,
	       enum kind kind);
bool shootdown_later(struct hart *h, struct mm *mm, unsigned long start, unsigned long size,
		     void *ticket);
void policy_nothing(struct hart *h);

#endif
