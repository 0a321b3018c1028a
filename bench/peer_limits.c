/* SPDX-License-Identifier: MIT */
/* Two that queue nothing: what the loops cost, and what one atomic addition for each put costs, below
 * which no queue of several producers can be on most machines. */
#include "peer.h"

#define PEER null
#define PEER_KIND PEER_HOLLOW
#define PEER_ROOM 0

struct peer_null_queue {
	unsigned long nothing;
};

static void peer_null_start(struct peer_null_queue *q)
{
	(void)q;
}

PEER_INLINE bool peer_null_put(struct peer_null_queue *q, unsigned int self,
			       const struct flushq_range *range)
{
	(void)self;
	__asm__ volatile("" : : "r"(q), "r"(range) : "memory");
	return true;
}

PEER_INLINE unsigned int peer_null_take(struct peer_null_queue *q, struct intake *in)
{
	(void)in;
	__asm__ volatile("" : : "r"(q) : "memory");
	return 0;
}

#define peer_null_stop NULL
#define peer_null_resume NULL
#include "loops.h"

#undef PEER
#define PEER fetch_add

struct peer_fetch_add_queue {
	unsigned long puts;
};

static void peer_fetch_add_start(struct peer_fetch_add_queue *q)
{
	(void)q;
}

PEER_INLINE bool peer_fetch_add_put(struct peer_fetch_add_queue *q, unsigned int self,
				    const struct flushq_range *range)
{
	unsigned long start = range->start, puts;

	(void)self;
	/* The value is used: no add without a result. */
	puts = __atomic_fetch_add(&q->puts, 1, __ATOMIC_ACQ_REL);
	__asm__ volatile("" : : "r"(puts), "r"(start) : "memory");
	return true;
}

PEER_INLINE unsigned int peer_fetch_add_take(struct peer_fetch_add_queue *q, struct intake *in)
{
	(void)in;
	__asm__ volatile("" : : "r"(q) : "memory");
	return 0;
}

#define peer_fetch_add_stop NULL
#define peer_fetch_add_resume NULL
#include "loops.h"
