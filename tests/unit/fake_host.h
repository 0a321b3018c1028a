/* SPDX-License-Identifier: MIT */
/*
 * fake_host.h - a machine in one thread: hooks that record what they are asked for, and deliver
 * interrupts at once or when told.
 */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

#include "check.h"
#include "flushq/flushq.h"

#define FAKE_WORDS FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)
#define FAKE_FLUSHES 4096

/* The CPUs that most tests use. */
#define FAKE_NR (FLUSHQ_NR_CPUS < 8 ? FLUSHQ_NR_CPUS : 8)

struct fake_flush {
	unsigned int cpu;
	struct flushq_range range;
};

struct fake {
	struct flushq fq;
	struct flushq_cpu cpu[FLUSHQ_NR_CPUS];
	/* The CPU whose instructions run. */
	unsigned int self;
	unsigned int irqs_off[FLUSHQ_NR_CPUS];
	bool held; /* interrupts wait for fake_deliver() */

	unsigned int nr_flushes;
	struct fake_flush flush[FAKE_FLUSHES];
	unsigned int nr_interrupts; /* calls of the hook */
	unsigned long interrupted[FAKE_WORDS]; /* all that were ever asked for */
	unsigned long pending[FAKE_WORDS];
	unsigned int nr_relaxed;
	unsigned int nr_rules_broken;
	unsigned long event[FLUSHQ_NR_EVENTS];

	void (*on_flush)(const struct flushq_range *range);
	void (*on_relax)(void);
};

extern struct fake fake;

/* A zeroed machine; no CPU online, interrupts delivered at once. */
void fake_reset(unsigned int nr);
/* The same with every CPU online and parked, and nothing recorded. */
void fake_start(unsigned int nr);
/* Forgets what was recorded. */
void fake_forget(void);
void fake_deliver(void);

void fake_switch(unsigned int cpu, flushq_asid asid, flushq_atomic_ulong *set);
void fake_shootdown(unsigned int cpu, const flushq_atomic_ulong *set,
		    const struct flushq_range *range);
unsigned int fake_post(unsigned int cpu, const flushq_atomic_ulong *set,
		       const struct flushq_range *range, unsigned long *interrupt);
void fake_drain(unsigned int cpu);

/* Flushes recorded on `cpu`, and the last of them. */
unsigned int fake_flushes_on(unsigned int cpu);
const struct flushq_range *fake_last_on(unsigned int cpu);
/* Whether some flush recorded on `cpu` covers `range`. */
bool fake_flushed(unsigned int cpu, const struct flushq_range *range);

static inline bool fake_same(const struct flushq_range *a, const struct flushq_range *b)
{
	return a->start == b->start && a->pages == b->pages && a->asid == b->asid &&
	       a->shift == b->shift && a->kind == b->kind;
}

/* A range of one page. */
static inline struct flushq_range fake_page(flushq_asid asid, unsigned long page)
{
	return flushq_range_make(asid, page << FLUSHQ_PAGE_SHIFT, 1ul << FLUSHQ_PAGE_SHIFT,
				 1ul << FLUSHQ_PAGE_SHIFT, FLUSHQ_LEAF);
}

#endif
