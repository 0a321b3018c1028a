/* SPDX-License-Identifier: MIT */
/* DPDK's ring of elements, many producers and one consumer, in two modes. In the default one each
 * producer waits until those before it have finished; with a relaxed tail the last to finish moves
 * the tail for all, up to an eighth of the ring. */
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "peer.h"

#define BYTES sizeof(struct flushq_range)
#define BURST 32

struct ring {
	struct rte_ring ring;
	struct flushq_range request[PEER_SLOTS]; /* where struct rte_ring has them */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) uint32_t old, next; /* of the producer that is stopped */
};

PEER_INLINE unsigned int take(struct ring *q, struct intake *in)
{
	struct flushq_range range[BURST];
	unsigned int taken = 0, n, i;

	do {
		n = rte_ring_sc_dequeue_burst_elem(&q->ring, range, BYTES, BURST, NULL);
		for (i = 0; i < n; i++)
			intake_add(in, &range[i]);
		taken += n;
	} while (n == BURST && taken < PEER_SLOTS);
	return taken;
}

#define PEER rte_ring
#define PEER_KIND PEER_KEEPS
#define PEER_ROOM (PEER_SLOTS - 1)
#define peer_rte_ring_queue ring
#define peer_rte_ring_take take

static void peer_rte_ring_start(struct ring *q)
{
	(void)rte_ring_init(&q->ring, "mp", PEER_SLOTS, RING_F_SC_DEQ);
}

PEER_INLINE bool peer_rte_ring_put(struct ring *q, unsigned int self,
				   const struct flushq_range *range)
{
	(void)self;
	return rte_ring_mp_enqueue_bulk_elem(&q->ring, range, BYTES, 1, NULL);
}

static bool peer_rte_ring_stop(void *queue, const struct flushq_range *range)
{
	struct ring *q = queue;
	uint32_t room;

	if (!__rte_ring_move_prod_head(&q->ring, 0, 1, RTE_RING_QUEUE_FIXED, &q->old, &q->next,
				       &room))
		return false;
	__rte_ring_enqueue_elems(&q->ring, q->old, range, BYTES, 1);
	return true;
}

static bool peer_rte_ring_resume(void *queue)
{
	struct ring *q = queue;

	__rte_ring_update_tail(&q->ring.prod, q->old, q->next, 0, 1);
	return true;
}

#include "loops.h"

#undef PEER
#define PEER rte_ring_rts
#define peer_rte_ring_rts_queue ring
#define peer_rte_ring_rts_take take

static void peer_rte_ring_rts_start(struct ring *q)
{
	(void)rte_ring_init(&q->ring, "rts", PEER_SLOTS, RING_F_MP_RTS_ENQ | RING_F_SC_DEQ);
}

PEER_INLINE bool peer_rte_ring_rts_put(struct ring *q, unsigned int self,
				       const struct flushq_range *range)
{
	(void)self;
	return rte_ring_mp_rts_enqueue_bulk_elem(&q->ring, range, BYTES, 1, NULL);
}

static bool peer_rte_ring_rts_stop(void *queue, const struct flushq_range *range)
{
	struct ring *q = queue;
	uint32_t room;

	if (!__rte_ring_rts_move_prod_head(&q->ring, 1, RTE_RING_QUEUE_FIXED, &q->old, &room))
		return false;
	__rte_ring_enqueue_elems(&q->ring, q->old, range, BYTES, 1);
	return true;
}

static bool peer_rte_ring_rts_resume(void *queue)
{
	struct ring *q = queue;

	__rte_ring_rts_update_tail(&q->ring.rts_prod);
	return true;
}

#include "loops.h"
