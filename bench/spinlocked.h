/* SPDX-License-Identifier: MIT */
/*
 * spinlocked.h - an array under a spinlock, as in "riscv: mm: Defer tlb flush to context_switch":
 * where it is full, a flag makes the drain flush everything. Included once for each lock and size,
 * behind PEER, PEER_ROOM, SPIN_TYPE, SPIN_INIT, SPIN_LOCK and SPIN_UNLOCK.
 */
#define PEER_KIND PEER_KEEPS

struct PEER_(queue) {
	SPIN_TYPE lock;
	unsigned int len;
	bool full;
	struct flushq_range request[PEER_ROOM];
};

static void PEER_(start)(struct PEER_(queue) * q)
{
	SPIN_INIT(&q->lock);
}

PEER_INLINE bool PEER_(put)(struct PEER_(queue) * q, unsigned int self,
			    const struct flushq_range *range)
{
	bool room;

	(void)self;
	SPIN_LOCK(&q->lock);
	room = q->len < PEER_ROOM;
	if (room) {
		q->request[q->len] = *range;
		__atomic_store_n(&q->len, q->len + 1, __ATOMIC_RELAXED);
	} else {
		q->full = true;
	}
	SPIN_UNLOCK(&q->lock);
	return room;
}

PEER_INLINE unsigned int PEER_(take)(struct PEER_(queue) * q, struct intake *in)
{
	unsigned int i, len;

	if (__atomic_load_n(&q->len, __ATOMIC_RELAXED) == 0)
		return 0;
	SPIN_LOCK(&q->lock);
	len = q->len;
	for (i = 0; i < len; i++)
		intake_add(in, &q->request[i]);
	if (q->full) {
		intake_cover(in);
		q->full = false;
	}
	__atomic_store_n(&q->len, 0, __ATOMIC_RELAXED);
	SPIN_UNLOCK(&q->lock);
	return len;
}

/* A virtual CPU that holds the lock loses its CPU. It has added nothing yet. */
static bool PEER_(stop)(void *queue, const struct flushq_range *range)
{
	struct PEER_(queue) *q = queue;

	(void)range;
	SPIN_LOCK(&q->lock);
	return true;
}

static bool PEER_(resume)(void *queue)
{
	struct PEER_(queue) *q = queue;

	SPIN_UNLOCK(&q->lock);
	return false;
}

#include "loops.h"
#undef PEER
#undef PEER_KIND
#undef PEER_ROOM
