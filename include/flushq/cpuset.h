/* SPDX-License-Identifier: MIT */
/*
 * cpuset.h - sets of CPUs as plain arrays of unsigned long: bit i % BITS of word i / BITS is CPU i.
 *
 * The layout is Linux's cpumask, so a host can hand in its own. All calls are safe in any context.
 */
#ifndef FLUSHQ_CPUSET_H
#define FLUSHQ_CPUSET_H

#include "atomic.h"

#define FLUSHQ_CPUSET_BITS (8 * (unsigned int)sizeof(unsigned long))
/* Words of a set of n CPUs. */
#define FLUSHQ_CPUSET_WORDS(n) (((unsigned int)(n) + FLUSHQ_CPUSET_BITS - 1) / FLUSHQ_CPUSET_BITS)

static inline unsigned long flushq_cpuset_bit(unsigned int cpu)
{
	return 1ul << (cpu % FLUSHQ_CPUSET_BITS);
}

static inline bool flushq_cpuset_has(const flushq_atomic_ulong *set, unsigned int cpu)
{
	return flushq_load_relaxed(&set[cpu / FLUSHQ_CPUSET_BITS]) & flushq_cpuset_bit(cpu);
}

/* Adds `cpu`; false, and no write, where it is a member already. Orders nothing. */
static inline bool flushq_cpuset_add(flushq_atomic_ulong *set, unsigned int cpu)
{
	if (flushq_cpuset_has(set, cpu))
		return false;
	flushq_or_relaxed(&set[cpu / FLUSHQ_CPUSET_BITS], flushq_cpuset_bit(cpu));
	return true;
}

/* Takes `cpu` out. Release (S9): what it did as a member comes before. */
static inline void flushq_cpuset_remove(flushq_atomic_ulong *set, unsigned int cpu)
{
	flushq_and_release(&set[cpu / FLUSHQ_CPUSET_BITS], ~flushq_cpuset_bit(cpu));
}

/* Takes the lowest CPU out of the private word `*bits`, which must not be 0; returns its number
 * within the word. */
static inline unsigned int flushq_cpuset_pop(unsigned long *bits)
{
	unsigned int lowest = flushq_ctz(*bits);

	*bits &= *bits - 1;
	return lowest;
}

/* How many CPUs are in a word. Few, as a rule; the builtin may be a call into libgcc. */
static inline unsigned int flushq_cpuset_count(unsigned long bits)
{
	unsigned int n = 0;

	for (; bits; bits &= bits - 1)
		n++;
	return n;
}

#endif
