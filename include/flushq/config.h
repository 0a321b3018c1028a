/* SPDX-License-Identifier: MIT */
/*
 * config.h - the knobs. Define one before the first include, the same in every translation unit;
 * a value that can't work does not compile.
 */
#ifndef FLUSHQ_CONFIG_H
#define FLUSHQ_CONFIG_H

#include "compiler.h"

/* Most CPUs a machine may have: 1 to 65536. Sizes every CPU mask, three of which a shootdown keeps on
 * the stack, tickets (4 bytes for each CPU) and struct flushq_asids (some 100). */
#ifndef FLUSHQ_NR_CPUS
#define FLUSHQ_NR_CPUS 64
#endif

/* Requests a CPU's queue holds before it overflows: a power of two, 1 to 32768, and a quarter of the
 * positions at most. 16 bytes each on a 64-bit machine. */
#ifndef FLUSHQ_QUEUE_SLOTS
#define FLUSHQ_QUEUE_SLOTS 64
#endif

/* Requests an address space's log holds: a power of two, 1 to 32768, and a sixteenth of the positions
 * at most. 16 bytes each on a 64-bit machine. A CPU away for more than these flushes the whole ASID.
 */
#ifndef FLUSHQ_LOG_SLOTS
#if defined(FLUSHQ_POSITION_BITS) && FLUSHQ_POSITION_BITS == 8
#define FLUSHQ_LOG_SLOTS 16
#else
#define FLUSHQ_LOG_SLOTS 32
#endif
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

/* Most bits of an ASID that asid.h hands out: 1 to 16. Sizes two maps of a bit for each. */
#ifndef FLUSHQ_ASID_BITS
#define FLUSHQ_ASID_BITS 16
#endif

/* Bytes in a cache line: a power of two, 16 and up. Two CPUs never write the same line by accident. */
#ifndef FLUSHQ_CACHE_LINE
#define FLUSHQ_CACHE_LINE 64
#endif

/* Address spaces whose translations a CPU may keep at once: 3 to 32; a power of two saves each switch a
 * division. One more, and the one that ran longest ago is flushed and the CPU leaves its set;
 * flushq_limit_resident() sets a lower limit at run time. */
#ifndef FLUSHQ_RESIDENT
#define FLUSHQ_RESIDENT 16
#endif

/* Ranges that a CPU remembers for the address spaces it has parked: 1 to 255. Past that, whole ASIDs
 * are flushed. 16 bytes each on a 64-bit machine. */
#ifndef FLUSHQ_OWED
#define FLUSHQ_OWED 64
#endif

/* Turns of flushq_arch_relax() after which one that waits for a CPU interrupts it itself, in case the
 * one that was about to is stopped: a power of two, 2^31 at most. Longer than interrupts are ever off. */
#ifndef FLUSHQ_PATIENCE
#define FLUSHQ_PATIENCE 65536
#endif

/* Width of queue positions in bits: 8, 16, 32, or 64 where a long has as many. Any width is safe.
 * With 64, which never wrap, a put need not look back (ring.h); 8 lets a test cross the wrap (for 8 and 16
 * gcc calls libatomic on RISC-V). A log's have 32 at most. */
#ifndef FLUSHQ_POSITION_BITS
#if __SIZEOF_LONG__ == 8
#define FLUSHQ_POSITION_BITS 64
#else
#define FLUSHQ_POSITION_BITS 32
#endif
#endif

/* 1: each CPU counts what it did (event.h names the counters). 0: no counter, no code for it. */
#ifndef FLUSHQ_COUNTERS
#define FLUSHQ_COUNTERS 1
#endif

/*
 * Called where the caller broke a rule. What follows an initiator's index that is no CPU of the machine or
 * a switch on a CPU that was never onlined flushes too much, never too little, as does a range with an ASID
 * out of range. (Of one that is switched to, 16 bits count. An owner that is no CPU of the machine is in no
 * set: it is not asked for anything.)
 */
#ifndef FLUSHQ_ASSERT
#define FLUSHQ_ASSERT(cond) ((void)0)
#endif

/* Called on each event with the index of the CPU that acts: enum flushq_event, unsigned int,
 * unsigned long. */
#ifndef FLUSHQ_TRACE
#define FLUSHQ_TRACE(event, cpu, n) ((void)0)
#endif

/* And on RISC-V FLUSHQ_RISCV_FLUSH_ALL, see arch/riscv.h. */

#define FLUSHQ_PRIV_POWER_OF_2(n) ((n) > 0 && ((n) & ((n)-1)) == 0)

FLUSHQ_STATIC_ASSERT((FLUSHQ_NR_CPUS) >= 1 && (FLUSHQ_NR_CPUS) <= 65536,
		     "FLUSHQ_NR_CPUS must be 1 to 65536");
FLUSHQ_STATIC_ASSERT(FLUSHQ_PRIV_POWER_OF_2(FLUSHQ_QUEUE_SLOTS) && (FLUSHQ_QUEUE_SLOTS) <= 32768,
		     "FLUSHQ_QUEUE_SLOTS must be a power of two from 1 to 32768");
FLUSHQ_STATIC_ASSERT(FLUSHQ_PRIV_POWER_OF_2(FLUSHQ_LOG_SLOTS) && (FLUSHQ_LOG_SLOTS) <= 32768,
		     "FLUSHQ_LOG_SLOTS must be a power of two from 1 to 32768");
FLUSHQ_STATIC_ASSERT((FLUSHQ_PAGE_SHIFT) >= 6 && (FLUSHQ_PAGE_SHIFT) <= 16,
		     "FLUSHQ_PAGE_SHIFT must be 6 to 16");
FLUSHQ_STATIC_ASSERT((FLUSHQ_PAGES_MAX) >= 1 && (FLUSHQ_PAGES_MAX) < (1 << (FLUSHQ_PAGE_SHIFT)),
		     "FLUSHQ_PAGES_MAX must be from 1 to one less than the page size in bytes");
FLUSHQ_STATIC_ASSERT((FLUSHQ_ASID_BITS) >= 1 && (FLUSHQ_ASID_BITS) <= 16,
		     "FLUSHQ_ASID_BITS must be 1 to 16");
FLUSHQ_STATIC_ASSERT(FLUSHQ_PRIV_POWER_OF_2(FLUSHQ_CACHE_LINE) && (FLUSHQ_CACHE_LINE) >= 16,
		     "FLUSHQ_CACHE_LINE must be a power of two, at least 16");
FLUSHQ_STATIC_ASSERT((FLUSHQ_RESIDENT) >= 3 && (FLUSHQ_RESIDENT) <= 32,
		     "FLUSHQ_RESIDENT must be 3 to 32");
FLUSHQ_STATIC_ASSERT((FLUSHQ_OWED) >= 1 && (FLUSHQ_OWED) <= 255, "FLUSHQ_OWED must be 1 to 255");
FLUSHQ_STATIC_ASSERT((FLUSHQ_POSITION_BITS) == 8 || (FLUSHQ_POSITION_BITS) == 16 ||
			     (FLUSHQ_POSITION_BITS) == 32 ||
			     ((FLUSHQ_POSITION_BITS) == 64 && sizeof(long) == 8),
		     "FLUSHQ_POSITION_BITS must be 8, 16, 32, or 64 where a long has 64");
FLUSHQ_STATIC_ASSERT(FLUSHQ_PRIV_POWER_OF_2(FLUSHQ_PATIENCE) && (FLUSHQ_PATIENCE) <= 1ull << 31,
		     "FLUSHQ_PATIENCE must be a power of two from 1 to 2147483648");
FLUSHQ_STATIC_ASSERT((FLUSHQ_COUNTERS) == 0 || (FLUSHQ_COUNTERS) == 1,
		     "FLUSHQ_COUNTERS must be 0 or 1");
/* Four laps: a slot must tell an older lap from a newer one. */
FLUSHQ_STATIC_ASSERT(
	(FLUSHQ_QUEUE_SLOTS) <= (1ull << ((FLUSHQ_POSITION_BITS)-2)),
	"FLUSHQ_POSITION_BITS is too narrow for FLUSHQ_QUEUE_SLOTS: at least four laps must fit");
/* Sixteen laps: log.h says how far a reader lags before it is told. */
FLUSHQ_STATIC_ASSERT(
	(FLUSHQ_LOG_SLOTS) <= (1ull << ((FLUSHQ_POSITION_BITS)-4)),
	"FLUSHQ_POSITION_BITS is too narrow for FLUSHQ_LOG_SLOTS: at least sixteen laps must fit");

#endif
