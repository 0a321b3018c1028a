/* SPDX-License-Identifier: MIT */
/*
 * queue.h - what one CPU owes: a ring of requests, and the overflow mark for what found no room.
 *
 * The mark says: nothing, one ASID, or everything. It lives in the ring's sticky bits as the ASID
 * and its complement, so that OR is the join: marks of two ASIDs make a word that is neither's, and
 * that is everything. A mark never gets smaller but by the owner's taking it, whatever races.
 */
#ifndef FLUSHQ_QUEUE_H
#define FLUSHQ_QUEUE_H

#include "range.h"
#include "ring.h"

/* All zero owes nothing. */
struct flushq_queue {
	struct flushq_ring ring;
};

enum flushq_put_result {
	FLUSHQ_PUT_QUEUED, /* in the ring, as precise as it came */
	FLUSHQ_PUT_MARKED, /* no room: the mark now covers it */
	FLUSHQ_PUT_COVERED, /* no room, but the mark covered it already: nothing was written */
};

#define FLUSHQ_MARK_ALL (~(uint32_t)0)

/* The mark that covers `range`. */
static inline uint32_t flushq_mark_of(const struct flushq_range *range)
{
	if (range->kind == FLUSHQ_GLOBAL)
		return FLUSHQ_MARK_ALL;
	return (uint32_t)range->asid | (uint32_t)(uint16_t)~range->asid << 16;
}

/* The smallest request that covers everything `mark` stands for. Of mark 0: everything. */
static inline struct flushq_range flushq_mark_range(uint32_t mark)
{
	flushq_asid asid = mark & FLUSHQ_ASID_MAX;

	/* The kind that removes non-leaf entries too: the mark may stand for such a request. */
	if ((mark >> 16 ^ asid) == FLUSHQ_ASID_MAX)
		return flushq_range_whole(asid, FLUSHQ_TABLES);
	return flushq_range_whole(0, FLUSHQ_GLOBAL);
}

/* A request as a ring's two words: the page count lies in the low bits of the address, which are 0.
 */
static inline uint32_t flushq_priv_key(const struct flushq_range *range)
{
	return (uint32_t)range->asid | (uint32_t)range->shift << 16 | (uint32_t)range->kind << 24;
}

static inline unsigned long flushq_priv_value(const struct flushq_range *range)
{
	return range->start | range->pages;
}

static inline struct flushq_range flushq_priv_unpack(uint32_t key, unsigned long value)
{
	const unsigned long low = (1ul << FLUSHQ_PAGE_SHIFT) - 1;
	struct flushq_range range;

	range.start = value & ~low;
	range.pages = (uint32_t)(value & low);
	range.asid = (uint16_t)key;
	range.shift = (uint8_t)(key >> 16);
	range.kind = (uint8_t)(key >> 24);
	return range;
}

/*
 * Records that the queue's CPU must flush `range`. Any CPU, any context, at most
 * FLUSHQ_QUEUE_SLOTS + 2 steps, where positions wrap as many again. After the caller's next full fence the owner's next drain applies
 * it, or something larger.
 */
static inline enum flushq_put_result flushq_queue_put(struct flushq_queue *queue,
						      const struct flushq_range *range)
{
	if (FLUSHQ_LIKELY(flushq_ring_put(&queue->ring, flushq_priv_key(range),
					  flushq_priv_value(range))))
		return FLUSHQ_PUT_QUEUED;
	if (flushq_ring_stick(&queue->ring, flushq_mark_of(range)))
		return FLUSHQ_PUT_MARKED;
	return FLUSHQ_PUT_COVERED;
}

#endif
