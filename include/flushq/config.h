/* SPDX-License-Identifier: MIT */
/*
 * config.h - the knobs. Define one before the first include, the same in every translation unit;
 * a value that can't work does not compile.
 */
#ifndef FLUSHQ_CONFIG_H
#define FLUSHQ_CONFIG_H

#include "compiler.h"

/* Most CPUs a machine may have: 1 and up. Sizes every CPU mask, two of which a shootdown keeps on
 * the stack. */
#ifndef FLUSHQ_NR_CPUS
#define FLUSHQ_NR_CPUS 64
#endif

/* Requests a CPU's queue holds before it overflows: a power of two, 1 to 32768. 16 bytes each on a
 * 64-bit machine. */
#ifndef FLUSHQ_QUEUE_SLOTS
#define FLUSHQ_QUEUE_SLOTS 64
#endif

/* log2 of the smallest page, in bytes: 6 to 16. The low bits of a page's address hold a request's
 * page count. */
#ifndef FLUSHQ_PAGE_SHIFT
#define FLUSHQ_PAGE_SHIFT 12
#endif

/*
 * Most pages flushed one by one: by one request, and by one drain for all its requests together.
 * What is longer becomes its whole ASID. 1 to one less than the page size in bytes. It breaks even
 * where
 *	pages * cost of an address flush = cost of an ASID flush + live entries * cost of a walk
 * Linux has 64 on riscv and 33 on x86.
 */
#ifndef FLUSHQ_PAGES_MAX
#define FLUSHQ_PAGES_MAX 64
#endif

/* Bytes in a cache line: a power of two. Two CPUs never write the same line by accident. */
#ifndef FLUSHQ_CACHE_LINE
#define FLUSHQ_CACHE_LINE 64
#endif

/* Width of queue positions in bits: 8, 16 or 32. Any width is safe; 8 lets a test cross the wrap.
 */
#ifndef FLUSHQ_POSITION_BITS
#define FLUSHQ_POSITION_BITS 32
#endif

/* 1: each CPU counts what it did (event.h names the counters). 0: no counter, no code for it. */
#ifndef FLUSHQ_COUNTERS
#define FLUSHQ_COUNTERS 1
#endif

/*
 * Called where the caller broke a rule. What follows an index that is no CPU of the machine, a CPU
 * that was never onlined or an ASID out of range flushes too much, never too little.
 */
#ifndef FLUSHQ_ASSERT
#define FLUSHQ_ASSERT(cond) ((void)0)
#endif

/* Called on each event with the index of the CPU that acts: enum flushq_event, unsigned int,
 * unsigned long. */
#ifndef FLUSHQ_TRACE
#define FLUSHQ_TRACE(event, cpu, n) ((void)0)
#endif

#define FLUSHQ_PRIV_POWER_OF_2(n) ((n) > 0 && ((n) & ((n)-1)) == 0)

FLUSHQ_STATIC_ASSERT((FLUSHQ_NR_CPUS) >= 1, "FLUSHQ_NR_CPUS must be at least 1");
FLUSHQ_STATIC_ASSERT(FLUSHQ_PRIV_POWER_OF_2(FLUSHQ_QUEUE_SLOTS) && (FLUSHQ_QUEUE_SLOTS) <= 32768,
		     "FLUSHQ_QUEUE_SLOTS must be a power of two from 1 to 32768");
FLUSHQ_STATIC_ASSERT((FLUSHQ_PAGE_SHIFT) >= 6 && (FLUSHQ_PAGE_SHIFT) <= 16,
		     "FLUSHQ_PAGE_SHIFT must be 6 to 16");
FLUSHQ_STATIC_ASSERT((FLUSHQ_PAGES_MAX) >= 1 && (FLUSHQ_PAGES_MAX) < (1 << (FLUSHQ_PAGE_SHIFT)),
		     "FLUSHQ_PAGES_MAX must be from 1 to one less than the page size in bytes");
FLUSHQ_STATIC_ASSERT(FLUSHQ_PRIV_POWER_OF_2(FLUSHQ_CACHE_LINE) && (FLUSHQ_CACHE_LINE) >= 16,
		     "FLUSHQ_CACHE_LINE must be a power of two, at least 16");
FLUSHQ_STATIC_ASSERT((FLUSHQ_POSITION_BITS) == 8 || (FLUSHQ_POSITION_BITS) == 16 ||
			     (FLUSHQ_POSITION_BITS) == 32,
		     "FLUSHQ_POSITION_BITS must be 8, 16 or 32");
FLUSHQ_STATIC_ASSERT((FLUSHQ_COUNTERS) == 0 || (FLUSHQ_COUNTERS) == 1,
		     "FLUSHQ_COUNTERS must be 0 or 1");
/* Four laps: a slot must tell an older lap from a newer one. */
FLUSHQ_STATIC_ASSERT(
	(FLUSHQ_QUEUE_SLOTS) <= (1u << ((FLUSHQ_POSITION_BITS)-2)),
	"FLUSHQ_POSITION_BITS is too narrow for FLUSHQ_QUEUE_SLOTS: at least four laps must fit");

#endif
