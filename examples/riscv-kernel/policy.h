/* SPDX-License-Identifier: MIT */
#ifndef POLICY_H
#define POLICY_H

#include "kernel.h"

/* Who is interrupted for a change to a page table, and when. Interrupts are off throughout. */
struct policy {
	const char *name;
	bool broken; /* deliberately */
	void (*init)(unsigned int harts);
	void (*online)(struct hart *h);
	void (*before_switch)(struct hart *h, struct mm *mm); /* satp holds the last */
	void (*switched)(struct hart *h, struct mm *mm); /* satp holds mm */
	void (*parked)(struct hart *h); /* satp holds no mm */
	void (*enter_lazy)(struct hart *h);
	void (*leave_lazy)(struct hart *h);
	void (*shootdown)(struct hart *h, struct mm *mm, const struct range *r);
	void (*interrupt)(struct hart *h);
	/* Adds what h->count lacks. */
	void (*counters)(struct hart *h, struct counters *sum);
};

extern const struct policy policy_eager, policy_rfc, policy_flushq;
extern const struct policy *policy;

/* NULL: there is none. */
const struct policy *policy_named(const char *name);
const struct policy *policy_broken(const char *name);

void shootdown(struct hart *h, struct mm *mm, unsigned long asid, unsigned long start,
	       unsigned long size, enum kind kind);
void policy_nothing(struct hart *h);
void policy_no_counters(struct hart *h, struct counters *sum);

#endif
