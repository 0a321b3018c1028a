/* SPDX-License-Identifier: MIT */
/* Concurrency Kit's bounded ring, many producers and one consumer, that copies whole requests. Each
 * producer waits until those before it have finished. */
#include <ck_ring.h>

#include "peer.h"

CK_RING_PROTOTYPE(request, flushq_range)

#define PEER ck_ring
#define PEER_KIND PEER_KEEPS
#define PEER_ROOM (PEER_SLOTS - 1)

struct peer_ck_ring_queue {
	ck_ring_t ring;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) struct flushq_range request[PEER_SLOTS];
	/* Of the producer that is stopped. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) unsigned int ticket;
};

static void peer_ck_ring_start(struct peer_ck_ring_queue *q)
{
	ck_ring_init(&q->ring, PEER_SLOTS);
}

PEER_INLINE bool peer_ck_ring_put(struct peer_ck_ring_queue *q, unsigned int self,
				  const struct flushq_range *range)
{
	/* Its parameter is not const; it only reads. */
	struct flushq_range copy = *range;

	(void)self;
	return ck_ring_enqueue_mpsc_request(&q->ring, q->request, &copy);
}

PEER_INLINE unsigned int peer_ck_ring_take(struct peer_ck_ring_queue *q, struct intake *in)
{
	struct flushq_range range;
	unsigned int taken;

	for (taken = 0; taken < PEER_SLOTS; taken++) {
		if (!ck_ring_dequeue_mpsc_request(&q->ring, q->request, &range))
			break;
		intake_add(in, &range);
	}
	return taken;
}

static bool peer_ck_ring_stop(void *queue, const struct flushq_range *range)
{
	struct peer_ck_ring_queue *q = queue;
	struct flushq_range *slot;

	slot = ck_ring_enqueue_reserve_mpsc_request(&q->ring, q->request, &q->ticket);
	if (slot)
		*slot = *range;
	return slot;
}

static bool peer_ck_ring_resume(void *queue)
{
	struct peer_ck_ring_queue *q = queue;

	ck_ring_enqueue_commit_mpsc(&q->ring, q->ticket);
	return true;
}

#include "loops.h"
