/* SPDX-License-Identifier: MIT */
/*
 * liburcu's wait-free concurrent queue: a list, so each request needs a node. Each producer has a
 * fixed pool of them, used in turn; the consumer counts, in the producer's own line, those that it
 * is done with. That costs the consumer a store for each request (two CPUs touch the line only when
 * a producer has used its pool up and looks), and is the least that any reclamation can cost.
 */
#define _LGPL_SOURCE
#include <urcu/wfcqueue.h>

#include "peer.h"

#define PEER wfcqueue
#define PEER_KIND PEER_KEEPS
#define PEER_ROOM PEER_SLOTS
#define PRODUCERS 256

struct node {
	struct cds_wfcq_node node;
	struct pool *pool;
	struct flushq_range range;
};

struct pool {
	/* The producer's line. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) unsigned long used, seen_done;
	/* The consumer's. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) unsigned long done;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) struct node node[PEER_SLOTS];
};

struct peer_wfcqueue_queue {
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) struct __cds_wfcq_head head;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) struct cds_wfcq_tail tail;
	/* Of the producer that is stopped. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) struct node *stopped;
	struct cds_wfcq_node *before;
	struct pool pool[PRODUCERS];
};

static void peer_wfcqueue_start(struct peer_wfcqueue_queue *q)
{
	__cds_wfcq_init(&q->head, &q->tail);
}

PEER_INLINE struct node *peer_wfcqueue_fill(struct peer_wfcqueue_queue *q, unsigned int self,
					    const struct flushq_range *range)
{
	struct pool *pool = &q->pool[self];
	struct node *node = &pool->node[pool->used % PEER_SLOTS];

	if (pool->used - pool->seen_done == PEER_SLOTS) {
		pool->seen_done = __atomic_load_n(&pool->done, __ATOMIC_ACQUIRE);
		if (pool->used - pool->seen_done == PEER_SLOTS)
			return NULL;
	}
	pool->used++;
	cds_wfcq_node_init(&node->node);
	node->pool = pool;
	node->range = *range;
	return node;
}

PEER_INLINE bool peer_wfcqueue_put(struct peer_wfcqueue_queue *q, unsigned int self,
				   const struct flushq_range *range)
{
	struct node *node = peer_wfcqueue_fill(q, self, range);

	if (!node)
		return false;
	(void)cds_wfcq_enqueue(&q->head, &q->tail, &node->node);
	return true;
}

PEER_INLINE unsigned int peer_wfcqueue_take(struct peer_wfcqueue_queue *q, struct intake *in)
{
	unsigned int taken;

	for (taken = 0; taken < PEER_SLOTS; taken++) {
		struct cds_wfcq_node *first = __cds_wfcq_dequeue_nonblocking(&q->head, &q->tail);
		struct node *node;

		if (!first || first == CDS_WFCQ_WOULDBLOCK)
			break;
		node = caa_container_of(first, struct node, node);
		intake_add(in, &node->range);
		__atomic_store_n(&node->pool->done, node->pool->done + 1, __ATOMIC_RELEASE);
	}
	return taken;
}

/* Between its two steps: the tail is its node, but the one before does not know. Its pool is the
 * last. */
static bool peer_wfcqueue_stop(void *queue, const struct flushq_range *range)
{
	struct peer_wfcqueue_queue *q = queue;

	q->stopped = peer_wfcqueue_fill(q, PRODUCERS - 1, range);
	if (q->stopped)
		q->before = uatomic_xchg(&q->tail.p, &q->stopped->node);
	return q->stopped;
}

static bool peer_wfcqueue_resume(void *queue)
{
	struct peer_wfcqueue_queue *q = queue;

	CMM_STORE_SHARED(q->before->next, &q->stopped->node);
	return true;
}

#include "loops.h"
