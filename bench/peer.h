/* SPDX-License-Identifier: MIT */
/*
 * peer.h - what bench/queue.c needs of a contender. Each has a file peer_*.c with its put and its
 * take as inline functions, and includes loops.h, which builds the measuring loops around them: no
 * call through a pointer is ever measured.
 *
 * All move the same request, a whole struct flushq_range of 16 bytes.
 */
#ifndef PEER_H
#define PEER_H

#include <flushq/log.h>

#include "measure.h"

#define PEER_BATCH 16 /* requests put before each drain, when alone */
#define PEER_SLOTS 64 /* of all that are bounded, but the smaller spinlocked arrays */

#define PEER_JOIN_AS(a, b, c) a##_##b##c
#define PEER_JOIN(a, b, c) PEER_JOIN_AS(a, b, c)
/* The contender's own name for `what`. */
#define PEER_(what) PEER_JOIN(peer, PEER, _##what)
#define PEER_TEXT_AS(name) #name
#define PEER_TEXT(name) PEER_TEXT_AS(name)

/* Puts and takes: whether a loop has them in line is not to depend on how often they occur. */
#define PEER_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define PEER_RELAX() __builtin_ia32_pause()
#else
#define PEER_RELAX() __asm__ volatile("" ::: "memory")
#endif

/* Counts of ticks by size, each in a bucket of 1/64 of its size: enough for any percentile. */
#define HISTOGRAM_SUB 64
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB * 42)

struct histogram {
	uint64_t n, count[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *h, uint64_t ticks)
{
	unsigned int shift = 0;

	if (ticks >= (uint64_t)HISTOGRAM_SUB << 40)
		ticks = ((uint64_t)HISTOGRAM_SUB << 40) - 1;
	if (ticks >= HISTOGRAM_SUB)
		shift = 63 - 6 - (unsigned int)__builtin_clzll(ticks);
	h->count[shift * HISTOGRAM_SUB + (unsigned int)(ticks >> shift)]++;
	h->n++;
}

/*
 * A call of `ticks` by somebody who meant to make one every `period`: while it hung, the others that
 * were due hung as well, each shorter by one period. Without them one long stop is one sample.
 */
static inline void histogram_add_due(struct histogram *h, uint64_t ticks, uint64_t period)
{
	histogram_add(h, ticks);
	while (ticks > period) {
		ticks -= period;
		histogram_add(h, ticks);
	}
}

/* What a consumer has got. */
struct intake {
	unsigned long items, sum;
	unsigned long covers; /* flushes that stand for what found no room, or is held up */
	struct histogram *ages; /* from the put to the take; NULL: not wanted */
	unsigned long covered; /* what was put before needs no more */
};

/* When a request was put, as its address. */
static inline unsigned long stamp(void)
{
	return (unsigned long)bench_ticks() << FLUSHQ_PAGE_SHIFT;
}

static inline void intake_add(struct intake *in, const struct flushq_range *range)
{
	unsigned long start = range->start;
	uint32_t pages = range->pages;

	/* Handed over one by one, in registers, as to a flush instruction: no vectors. */
	__asm__ volatile("" : "+r"(start), "+r"(pages));
	in->items++;
	in->sum += start + pages + range->asid;
	if (!in->ages)
		return;
	/* A time in the bits that an address has above its page, and no more. */
	if ((long)(start - in->covered) >= 0)
		histogram_add(in->ages, (stamp() - start) >> FLUSHQ_PAGE_SHIFT);
}

static inline void intake_cover(struct intake *in)
{
	in->covers++;
	if (in->ages)
		in->covered = stamp();
}

/* One thread's work, and what became of it. */
struct work {
	unsigned int self; /* number among the producers */
	bool patient; /* relax where there was no room */
	uint64_t until; /* ticks: when producers end */
	const unsigned int *producing; /* and consumers, when this is 0 */
	uint64_t period; /* ticks between two puts that are timed */
	uint64_t event; /* ticks: when a consumer is to call at_event() */
	void (*at_event)(struct work *work);
	unsigned long accepted, rejected, sum; /* puts */
	struct intake in;
	uint64_t start, end; /* ns */
	struct histogram *calls, *ages;
	/* Not near what others write. */
	FLUSHQ_ALIGNED(128) struct flushq_range request[PEER_BATCH];
};

enum peer_kind {
	PEER_KEEPS, /* what was accepted is taken, once */
	PEER_OVERTAKES, /* a slow consumer is told that it missed some */
	PEER_HOLLOW, /* keeps nothing: shows a cost alone */
	PEER_SINGLE, /* for one thread: shows a limit */
};

struct peer {
	const char *name;
	enum peer_kind kind;
	unsigned int room; /* requests it holds; 0: any number */
	size_t size; /* bytes of its state */
	void (*init)(void *queue);
	/* `turns` times PEER_BATCH puts and a drain. */
	void (*alone)(void *queue, struct work *work, unsigned long turns);
	/* Until told to stop: puts, and takes, for throughput and for latency. */
	void (*produce)(void *queue, struct work *work);
	void (*consume)(void *queue, struct work *work);
	void (*timed_produce)(void *queue, struct work *work);
	void (*timed_consume)(void *queue, struct work *work);
	void (*drain)(void *queue, struct intake *in);
	/* A producer stops in mid-enqueue of `range`; false: now it can't. Later it goes on, and says
	 * whether the request was accepted. */
	bool (*stop)(void *queue, const struct flushq_range *range);
	bool (*resume)(void *queue);
};

#endif
