/* SPDX-License-Identifier: MIT */
/*
 * Three that are no queues. `null`: what the loops cost. `fetch_add`: what one atomic addition for each
 * put costs, below which no queue of several producers can be on most machines. `trusted`: a ring like
 * ours whose takes are free: items are read and handed over, but nothing asks whether one is there, and
 * nothing gives its slot back.
 */
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

#undef PEER
#undef PEER_KIND
#define PEER trusted
#define PEER_KIND PEER_SINGLE

struct peer_trusted_queue {
	struct flushq_ring ring;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_ring_pos head;
};

static void peer_trusted_start(struct peer_trusted_queue *q)
{
	(void)q;
}

PEER_INLINE bool peer_trusted_put(struct peer_trusted_queue *q, unsigned int self,
				  const struct flushq_range *range)
{
	flushq_ring_pos pos = flushq_load_relaxed(&q->ring.tail), state = pos;
	struct flushq_ring_slot *slot = flushq_priv_ring_at(&q->ring, pos);

	(void)self;
	/* As one claims: but what the slot has is not looked at. */
	(void)flushq_swap_relaxed(&slot->state, state);
	state = flushq_priv_ring_write(slot, state, flushq_priv_key(range),
				       flushq_priv_value(range));
	flushq_fence_release();
	flushq_store_relaxed(&q->ring.tail, (flushq_ring_pos)(pos + 1));
	flushq_store_relaxed(&slot->state, state);
	return true;
}

PEER_INLINE unsigned int peer_trusted_take(struct peer_trusted_queue *q, struct intake *in)
{
	flushq_ring_pos head = q->head, end = flushq_load_acquire(&q->ring.tail);
	unsigned int taken = 0;

	for (; head != end; head++, taken++) {
		struct flushq_ring_slot *slot = flushq_priv_ring_at(&q->ring, head);
		flushq_ring_pos state = flushq_load_relaxed(&slot->state);
		struct flushq_range range = flushq_priv_unpack(flushq_priv_ring_key(slot, state),
							       flushq_load_relaxed(&slot->value));

		intake_add(in, &range);
	}
	q->head = head;
	return taken;
}

#define peer_trusted_stop NULL
#define peer_trusted_resume NULL
#include "loops.h"
