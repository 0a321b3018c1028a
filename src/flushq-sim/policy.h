/* SPDX-License-Identifier: MIT */
/*
 * policy.h - who is interrupted for a change to a page table, and when. A new one is a file here,
 * and a line in policies.c.
 *
 * Interrupts are off throughout, but what waits in shootdown() must serve() meanwhile.
 */
#ifndef POLICY_H
#define POLICY_H

#include "sim.h"

/* NULL: nothing to do. */
struct policy {
	const char *name;
	void (*init)(unsigned int n);
	void (*born)(struct mm *mm); /* nobody knows it yet */
	void (*online)(struct cpu *c); /* on each CPU at boot, and when it comes back */
	void (*offline)(struct cpu *c); /* the register holds none */
	/* The register holds the last; sets mm->asid. */
	void (*before_switch)(struct cpu *c, struct mm *mm);
	void (*switched)(struct cpu *c, struct mm *mm); /* the register holds mm */
	void (*parked)(struct cpu *c); /* the register holds none, c->mm is the last */
	void (*enter_lazy)(struct cpu *c);
	void (*leave_lazy)(struct cpu *c);
	/* mm is NULL for kernel ranges. */
	void (*shootdown)(struct cpu *c, struct mm *mm, const struct range *r);
	/*
	 * As shootdown(), but nobody is interrupted: true when it is done already, or else when
	 * ticket_done() says so. NULL: shootdown() does it.
	 */
	bool (*ticket_take)(struct cpu *c, struct mm *mm, const struct range *r, void *ticket);
	bool (*ticket_done)(void *ticket);
	void (*interrupt)(struct cpu *c);
	void (*tick)(struct cpu *c); /* the timer, and where a task of the same mm comes on */
	/* For each request of ask_and_wait() there; NULL: flush its range. */
	void (*asked)(struct cpu *c, const struct request *request);
	/* Adds what c->count lacks. */
	void (*counters)(struct cpu *c, struct counters *sum);
};

extern const struct policy *policy;
extern const struct policy *const policies[]; /* ends with NULL */
extern const struct policy policy_eager, policy_rfc, policy_flushq, policy_flushq_log,
	policy_flushq_ticket, policy_x86, policy_asid, policy_latr;

/* Room for a policy's ticket. */
#define TICKET_WORDS 64

#endif
