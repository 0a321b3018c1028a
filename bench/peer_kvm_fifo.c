/* SPDX-License-Identifier: MIT */
/*
 * A fifo like that of a virtual CPU's pending fences in KVM for RISC-V: 64 requests under a lock,
 * a slot is free while its kind is 0, and the owner takes the lock for each request that it takes.
 * Where there is no room, its whole TLB is flushed.
 */
#include <ck_spinlock.h>

#include "peer.h"

#define PEER kvm_fifo
#define PEER_KIND PEER_KEEPS
#define PEER_ROOM PEER_SLOTS

struct peer_kvm_fifo_queue {
	ck_spinlock_fas_t lock;
	unsigned int head, tail;
	struct {
		struct flushq_range range;
		bool used;
	} slot[PEER_SLOTS];
	unsigned int full;
};

static void peer_kvm_fifo_start(struct peer_kvm_fifo_queue *q)
{
	ck_spinlock_fas_init(&q->lock);
}

PEER_INLINE bool peer_kvm_fifo_put(struct peer_kvm_fifo_queue *q, unsigned int self,
				   const struct flushq_range *range)
{
	bool room;

	(void)self;
	ck_spinlock_fas_lock(&q->lock);
	room = !q->slot[q->tail].used;
	if (room) {
		q->slot[q->tail].range = *range;
		q->slot[q->tail].used = true;
		q->tail = (q->tail + 1) % PEER_SLOTS;
	}
	ck_spinlock_fas_unlock(&q->lock);
	if (!room)
		__atomic_store_n(&q->full, 1, __ATOMIC_RELEASE);
	return room;
}

PEER_INLINE bool peer_kvm_fifo_take_one(struct peer_kvm_fifo_queue *q, struct flushq_range *range)
{
	bool found;

	ck_spinlock_fas_lock(&q->lock);
	found = q->slot[q->head].used;
	if (found) {
		*range = q->slot[q->head].range;
		q->slot[q->head].used = false;
		q->head = (q->head + 1) % PEER_SLOTS;
	}
	ck_spinlock_fas_unlock(&q->lock);
	return found;
}

PEER_INLINE unsigned int peer_kvm_fifo_take(struct peer_kvm_fifo_queue *q, struct intake *in)
{
	struct flushq_range range;
	unsigned int taken;

	if (__atomic_load_n(&q->full, __ATOMIC_RELAXED)) {
		__atomic_store_n(&q->full, 0, __ATOMIC_RELAXED);
		intake_cover(in);
	}
	for (taken = 0; taken < PEER_SLOTS && peer_kvm_fifo_take_one(q, &range); taken++)
		intake_add(in, &range);
	return taken;
}

static bool peer_kvm_fifo_stop(void *queue, const struct flushq_range *range)
{
	struct peer_kvm_fifo_queue *q = queue;

	(void)range;
	ck_spinlock_fas_lock(&q->lock);
	return true;
}

static bool peer_kvm_fifo_resume(void *queue)
{
	struct peer_kvm_fifo_queue *q = queue;

	ck_spinlock_fas_unlock(&q->lock);
	return false;
}

#include "loops.h"
