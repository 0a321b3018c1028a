/* SPDX-License-Identifier: MIT */
/* flushq's own two: the queue of a CPU, and the log of an address space with one reader. */
#include "peer.h"

#define PEER flushq_queue
#define PEER_KIND PEER_KEEPS
#define PEER_ROOM FLUSHQ_QUEUE_SLOTS

struct peer_flushq_queue_queue {
	struct flushq_queue queue;
	/* The owner's, on a line of its own, as in struct flushq_cpu. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_ring_pos head;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_atomic_u32 bell;
	/* Of the producer that is stopped. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_ring_pos claimed;
	struct flushq_range request;
};

static void peer_flushq_queue_start(struct peer_flushq_queue_queue *q)
{
	(void)q;
}

PEER_INLINE bool peer_flushq_queue_put(struct peer_flushq_queue_queue *q, unsigned int self,
				       const struct flushq_range *range)
{
	(void)self;
	return flushq_queue_put(&q->queue, range) == FLUSHQ_PUT_QUEUED;
}

/* What flushq_priv_drain() in owner.h does with ring and bell, once it is called for. */
PEER_INLINE unsigned int peer_flushq_queue_take(struct peer_flushq_queue_queue *q,
						struct intake *in)
{
	struct flushq_ring *ring = &q->queue.ring;
	struct flushq_ring_walk walk;
	flushq_ring_pos head = q->head;
	unsigned int taken;
	unsigned long value;
	uint32_t key;
	bool covers;

	if (flushq_ring_idle(ring, head))
		return 0;
	(void)flushq_swap_acq_rel(&q->bell, 0u);
	covers = flushq_ring_unstick(ring) != 0;
	walk = flushq_ring_begin(ring, head);
	for (taken = 0; taken < FLUSHQ_QUEUE_SLOTS; taken++) {
		struct flushq_range range;
		int seen = flushq_ring_take(ring, &walk, &key, &value);

		if (seen < FLUSHQ_RING_PUBLISHED) {
			covers |= seen == FLUSHQ_RING_CLAIMED &&
				  flushq_ring_claimed_behind(ring, head + taken);
			break;
		}
		/* Suspect: it was not accepted, the mark stands for it. */
		if (FLUSHQ_POSITION_BITS != 64 && seen == FLUSHQ_RING_SUSPECT)
			continue;
		range = flushq_priv_unpack(key, value);
		intake_add(in, &range);
	}
	if (FLUSHQ_UNLIKELY(covers))
		intake_cover(in);
	q->head = head + taken;
	return taken;
}

/* flushq_ring_put() up to its claim. */
static bool peer_flushq_queue_stop(void *queue, const struct flushq_range *range)
{
	struct peer_flushq_queue_queue *q = queue;
	struct flushq_ring *ring = &q->queue.ring;
	flushq_ring_pos state;
	unsigned int step;

	q->claimed = flushq_priv_ring_tail(ring);
	q->request = *range;
	for (step = 0; step < FLUSHQ_QUEUE_SLOTS; step++) {
		if (flushq_priv_ring_claim(ring, q->claimed, &state))
			return true;
		if (flushq_priv_ring_full(state, q->claimed))
			return false;
		q->claimed = flushq_priv_ring_next(state, q->claimed);
	}
	return false;
}

/* The rest of it. */
static bool peer_flushq_queue_resume(void *queue)
{
	struct peer_flushq_queue_queue *q = queue;
	struct flushq_ring *ring = &q->queue.ring;

	if (flushq_priv_ring_fill(ring, q->claimed, flushq_priv_key(&q->request),
				  flushq_priv_value(&q->request)))
		return true;
	(void)flushq_ring_stick(ring, flushq_mark_of(&q->request));
	return false;
}

#include "loops.h"

#undef PEER
#undef PEER_KIND
#undef PEER_ROOM
#define PEER flushq_log
#define PEER_KIND PEER_OVERTAKES
#define PEER_ROOM 0

struct peer_flushq_log_queue {
	struct flushq_log log;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_pos seen;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_pos claimed;
	struct flushq_range request;
};

static void peer_flushq_log_start(struct peer_flushq_log_queue *q)
{
	q->seen = flushq_log_sync(&q->log, 0);
}

PEER_INLINE bool peer_flushq_log_put(struct peer_flushq_log_queue *q, unsigned int self,
				     const struct flushq_range *range)
{
	(void)self;
	return flushq_log_append(&q->log, range);
}

/* What flushq_priv_replay() in owner.h does with a log. */
PEER_INLINE unsigned int peer_flushq_log_take(struct peer_flushq_log_queue *q, struct intake *in)
{
	struct flushq_log_reader reader = flushq_log_begin(q->seen);
	unsigned long begun = in->ages ? stamp() : 0;
	enum flushq_log_result result;
	struct flushq_range range;
	unsigned int taken = 0;

	while ((result = flushq_log_next(&q->log, 0, &reader, &range)) == FLUSHQ_LOG_RANGE) {
		intake_add(in, &range);
		taken++;
	}
	q->seen = reader.seen;
	/* Held up: these will be read again, but are old news. */
	if (in->ages && reader.seen != reader.pos)
		in->covered = begun;
	if (FLUSHQ_UNLIKELY(result == FLUSHQ_LOG_LAPPED)) {
		q->seen = flushq_log_sync(&q->log, 0);
		intake_cover(in);
	}
	return taken;
}

/* flushq_log_append() up to its claim. */
static bool peer_flushq_log_stop(void *queue, const struct flushq_range *range)
{
	struct peer_flushq_log_queue *q = queue;
	flushq_pos pos = flushq_load_relaxed(&q->log.tail), state;
	unsigned int step;

	for (step = 0; step < FLUSHQ_LOG_SLOTS; step++, pos++) {
		struct flushq_log_slot *slot = flushq_priv_log_at(&q->log, pos);
		flushq_pos before = (flushq_pos)(pos - FLUSHQ_LOG_SLOTS);

		state = flushq_load_relaxed(&slot->state);
		if ((state == flushq_priv_log_state(before, FLUSHQ_RING_PUBLISHED) ||
		     state == flushq_priv_log_state(pos, FLUSHQ_RING_EMPTY)) &&
		    flushq_cas_acquire(&slot->state, &state,
				       flushq_priv_log_state(pos, FLUSHQ_RING_CLAIMED))) {
			q->claimed = pos;
			q->request = *range;
			return true;
		}
	}
	return false;
}

static bool peer_flushq_log_resume(void *queue)
{
	struct peer_flushq_log_queue *q = queue;

	return flushq_priv_log_publish(&q->log, q->claimed, &q->request);
}

#include "loops.h"
