/* SPDX-License-Identifier: MIT */
/*
 * shootdown_policies.h - the policies of src/flushq-sim once more, for CPUs that are threads: with
 * the atomics, fences and locks that they need there. Spaces and TLBs are softtlb's.
 */
#ifndef SHOOTDOWN_POLICIES_H
#define SHOOTDOWN_POLICIES_H

#include "softtlb.h"

struct latr_ticket {
	unsigned int sender, slot, space;
	unsigned long turn, users;
};

union policy_ticket {
	struct flushq_ticket flushq;
	struct latr_ticket latr;
};

/* What one CPU asks of others by an interrupt. */
struct request {
	struct flushq_range range;
	unsigned int space;
	unsigned long generation;
};

/* Leaf entries of spaces that never die: no tables are freed, nothing is of the kernel. */
struct policy {
	const char *name; /* in flushq-sim as well */
	/* Interrupts off. The register is written between these two; the first returns the ASID. */
	flushq_asid (*before_switch)(unsigned int cpu, unsigned int space);
	void (*switched)(unsigned int cpu, unsigned int space);
	/* Interrupts on. The page table is written; waits. */
	void (*shootdown)(unsigned int cpu, unsigned int space, const struct flushq_range *range);
	/* NULL: shootdown() is what there is. As it, but true only where it is done already, else
	 * when done() says so; of one sender in the order of its calls. */
	bool (*take)(unsigned int cpu, unsigned int space, const struct flushq_range *range,
		     union policy_ticket *ticket);
	bool (*done)(union policy_ticket *ticket);
	void (*tick)(unsigned int cpu); /* NULL: nothing to do */
	/* For each request, in its interrupt; NULL: flushq has its own. */
	void (*asked)(unsigned int cpu, const struct request *request);
};

#define NR_POLICIES 7
extern const struct policy *const policies[NR_POLICIES];
enum { EAGER, RFC, X86, LATR, FLUSHQ, FLUSHQ_LOG, FLUSHQ_TICKET };

/* Runs `main` on each CPU, all online and with interrupts on. `broken`: flushes in interrupts do
 * nothing. */
void policy_run(const struct policy *policy, unsigned int cpus, unsigned long seed, bool broken,
		void (*main)(unsigned int cpu));
unsigned long policy_interrupts(void);

#endif
