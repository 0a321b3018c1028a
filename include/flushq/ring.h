/* SPDX-License-Identifier: MIT */
/*
 * ring.h - a bounded queue of two-word items for many producers and one owner. Knows no TLB.
 *
 * Nobody waits for anybody: a producer that stalls at any point delays no other producer, and the
 * owner sees that something is unfinished and goes on.
 *
 * Each slot carries its own state: the position it stands for (its lap; the slot's index is the
 * rest) and one of
 *
 *	EMPTY		free, for one producer to claim
 *	CLAIMED		a producer is filling it
 *	PUBLISHED	filled, and every position before it is known to have been claimed
 *	SUSPECT		filled, but behind a hole (where positions wrap): its producer was told to leave a
 *			sticky bit instead
 *
 * A producer claims with one compare-and-swap on the slot's own state, from `tail` on.
 *
 * Why the owner may stop at the first empty slot: before flushq_ring_put() returns true, every
 * position from the owner's on up to its own is known to have been claimed. Whoever stores a
 * position in `tail` knows that of all before it, and hands that on (R1); whoever finds it claimed
 * there, and goes on to the next, sees each on its way claimed. What was claimed once stays so: a
 * `tail` that is stored or read late is true, and the slots tell how late.
 *
 * With positions of 64 bits that is all. Narrower ones wrap, and a producer that stalled between
 * reading the tail and claiming, for a whole number of wraps, would take a slot of the future for its
 * own. So there it looks back from its slot, which it holds claimed, until it meets one that is
 * published (its producer has done the same) or freed already; claimed and suspect ones prove nothing
 * and are passed. Positions can't wrap while it looks, as the owner can't pass a slot that is claimed
 * and unpublished. If it meets the hole that it made, it leaves its own slot SUSPECT.
 *
 * What may call what (all of it next to any number of producers):
 *
 *	flushq_ring_put, _stick			any CPU, any context
 *	flushq_ring_begin, _take, _idle,	the owner; not from an interrupt or NMI that hit it in
 *	_unstick, _claimed_behind		one of these
 *
 * The table of labels (R1...) is in shootdown.h (but R6, which has no partner of its own).
 */
#ifndef FLUSHQ_RING_H
#define FLUSHQ_RING_H

#include "atomic.h"

enum flushq_ring_state {
	FLUSHQ_RING_EMPTY = 0,
	FLUSHQ_RING_CLAIMED = 1,
	FLUSHQ_RING_PUBLISHED = 2,
	FLUSHQ_RING_SUSPECT = 3,
	FLUSHQ_RING_LAP = 4, /* from here on: a later lap */
};

#if FLUSHQ_POSITION_BITS == 64
typedef unsigned long flushq_ring_pos;
typedef flushq_atomic_ulong flushq_atomic_ring_pos;

/* While it is filled, the upper half of its state is the key. */
struct flushq_ring_slot {
	flushq_atomic_ring_pos state;
	flushq_atomic_ulong value;
};
#else
typedef flushq_pos flushq_ring_pos;
typedef flushq_atomic_pos flushq_atomic_ring_pos;

struct flushq_ring_slot {
	flushq_atomic_ring_pos state;
	flushq_atomic_u32 key;
	flushq_atomic_ulong value;
};
#endif

/* All zero is an empty ring. */
struct flushq_ring {
	/* The producers' line: nearly each put writes it, and the owner does not look. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_atomic_ring_pos tail;
	/* Looked at by the owner whenever it looks, and written seldom: for what is in no slot. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_atomic_u32 sticky;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) struct flushq_ring_slot slot[FLUSHQ_QUEUE_SLOTS];
};

/* Where the owner is in the ring. */
struct flushq_ring_walk {
	struct flushq_ring_slot *slot;
	flushq_pos published; /* that slot's state while it is, without its key */
	flushq_ring_pos freed; /* and once it is given back */
};

/*
 * log2 of the states' unit of one lap: the index bits of a position hold the state, where there are
 * at least two of them.
 */
#define FLUSHQ_PRIV_SLOTS_LOG2 (31 - __builtin_clz((unsigned int)(FLUSHQ_QUEUE_SLOTS)))
#define FLUSHQ_PRIV_LAP_SHIFT (FLUSHQ_PRIV_SLOTS_LOG2 > 2 ? FLUSHQ_PRIV_SLOTS_LOG2 : 2)
/* What one lap adds to a state. */
#define FLUSHQ_PRIV_LAP (1u << FLUSHQ_PRIV_LAP_SHIFT)

static inline struct flushq_ring_slot *flushq_priv_ring_at(struct flushq_ring *ring,
							   flushq_ring_pos pos)
{
	return &ring->slot[pos & (FLUSHQ_QUEUE_SLOTS - 1)];
}

/* The state of pos's slot while it is empty for pos; its other states are this plus enum
 * flushq_ring_state. */
static inline flushq_ring_pos flushq_priv_ring_empty(flushq_ring_pos pos)
{
	return (flushq_ring_pos)((flushq_ring_pos)(pos >> FLUSHQ_PRIV_SLOTS_LOG2)
				 << FLUSHQ_PRIV_LAP_SHIFT);
}

/* A state as seen by who would find it `empty`: negative if of an older lap, else enum
 * flushq_ring_state. For the owner, and who holds a slot: less than a lap from there the lower half
 * of wide ones will do. */
static inline int flushq_priv_ring_seen(flushq_ring_pos state, flushq_ring_pos empty)
{
	return (flushq_pos_diff)(flushq_pos)((flushq_pos)state - (flushq_pos)empty);
}

#if FLUSHQ_POSITION_BITS == 64
/* Writes what does not lie in the state; returns the state to follow, `state` with what does. */
static inline flushq_ring_pos flushq_priv_ring_write(struct flushq_ring_slot *slot,
						     flushq_ring_pos state, uint32_t key,
						     unsigned long value)
{
	flushq_store_relaxed(&slot->value, value);
	return (flushq_ring_pos)key << 32 | (flushq_pos)state;
}

static inline uint32_t flushq_priv_ring_key(const struct flushq_ring_slot *slot,
					    flushq_ring_pos state)
{
	(void)slot;
	return (uint32_t)(state >> 32);
}

/* R1: acquire, pairs with R4: that all before it were claimed. */
static inline flushq_ring_pos flushq_priv_ring_tail(struct flushq_ring *ring)
{
	return flushq_load_acquire(&ring->tail);
}

/* Whether every position before `pos`, which the caller holds claimed and unpublished, was claimed.
 * It was: the caller has seen so, from the tail on. */
static inline bool flushq_priv_ring_proven(struct flushq_ring *ring, flushq_ring_pos pos)
{
	(void)ring;
	(void)pos;
	return true;
}
#else
static inline flushq_ring_pos flushq_priv_ring_write(struct flushq_ring_slot *slot,
						     flushq_ring_pos state, uint32_t key,
						     unsigned long value)
{
	flushq_store_relaxed(&slot->key, key);
	flushq_store_relaxed(&slot->value, value);
	return state;
}

static inline uint32_t flushq_priv_ring_key(const struct flushq_ring_slot *slot,
					    flushq_ring_pos state)
{
	(void)state;
	return flushq_load_relaxed(&slot->key);
}

/* R1: relaxed: what it tells is proven once more. */
static inline flushq_ring_pos flushq_priv_ring_tail(struct flushq_ring *ring)
{
	return flushq_load_relaxed(&ring->tail);
}

/* The state of the slot `back` positions before `pos`, as seen from there. */
static inline int flushq_priv_ring_before(struct flushq_ring *ring, flushq_ring_pos pos,
					  unsigned int back)
{
	flushq_ring_pos before = (flushq_ring_pos)(pos - back);

	/* R3: acquire, pairs with R4: what it knew, for who will look at this one's slot. */
	return flushq_priv_ring_seen(flushq_load_acquire(&flushq_priv_ring_at(ring, before)->state),
				     flushq_priv_ring_empty(before));
}

/* Whether a slot that was seen so shows that all before it were claimed. */
static inline bool flushq_priv_ring_shows(int seen)
{
	return seen == FLUSHQ_RING_PUBLISHED || seen >= FLUSHQ_RING_LAP;
}

static FLUSHQ_NOINLINE bool flushq_priv_ring_look_back(struct flushq_ring *ring,
						       flushq_ring_pos pos)
{
	unsigned int back;

	/* The slot one lap back is the caller's own: it was freed. The first once more: is it empty? */
	for (back = 1; back < FLUSHQ_QUEUE_SLOTS; back++) {
		int seen = flushq_priv_ring_before(ring, pos, back);

		if (flushq_priv_ring_shows(seen))
			break;
		if (seen <= FLUSHQ_RING_EMPTY)
			return false;
	}
	return true;
}

/* As above: it was, or the caller stalled for a whole number of wraps before it claimed. */
static inline bool flushq_priv_ring_proven(struct flushq_ring *ring, flushq_ring_pos pos)
{
	/* Nearly always the first look will do. (With one slot it is the caller's own, a lap on.) */
	return FLUSHQ_LIKELY(flushq_priv_ring_shows(flushq_priv_ring_before(ring, pos, 1))) ||
	       flushq_priv_ring_look_back(ring, pos);
}
#endif

/* Claims the slot of `pos`; false, and what its state is, where it is not empty. */
static inline bool flushq_priv_ring_claim(struct flushq_ring *ring, flushq_ring_pos pos,
					  flushq_ring_pos *state)
{
	struct flushq_ring_slot *slot = flushq_priv_ring_at(ring, pos);
	flushq_ring_pos empty = flushq_priv_ring_empty(pos);

	*state = flushq_load_relaxed(&slot->state);
	/* R2: acquire, pairs with R7: the owner has read the item of the lap before. */
	return *state == empty &&
	       flushq_cas_acquire(&slot->state, state,
				  (flushq_ring_pos)(empty + FLUSHQ_RING_CLAIMED));
}

/* From one state of a slot to another, both of which it will have or has had. To or from a filled
 * one, of a wide position: the lower half of it. */
static inline flushq_ring_pos flushq_priv_ring_between(flushq_ring_pos from, flushq_ring_pos to)
{
	flushq_ring_pos d = (flushq_ring_pos)(to - from);

	return (from | to) & FLUSHQ_RING_PUBLISHED ? (flushq_pos)d : d;
}

/*
 * Whether pos's slot still has what was put there a lap before, and will be free when its owner has been
 * there. (It can't be older. What seems so is far ahead of a tail that was as late.) To a suspect one no
 * owner may ever come, as it may lie behind a hole that is not before this tail.
 */
static inline bool flushq_priv_ring_full(flushq_ring_pos state, flushq_ring_pos pos)
{
	flushq_ring_pos d = flushq_priv_ring_between(state, flushq_priv_ring_empty(pos));

	return d != 0 && d < FLUSHQ_PRIV_LAP &&
	       (FLUSHQ_POSITION_BITS == 64 || (state & FLUSHQ_RING_SUSPECT) != FLUSHQ_RING_SUSPECT);
}

/* Where to go on from `pos`, which others have claimed: behind all that its slot's state shows. */
static inline flushq_ring_pos flushq_priv_ring_next(flushq_ring_pos state, flushq_ring_pos pos)
{
	flushq_ring_pos d = flushq_priv_ring_between(flushq_priv_ring_empty(pos), state);
	flushq_ring_pos laps = (flushq_ring_pos)(d >> FLUSHQ_PRIV_LAP_SHIFT);

	/* Only a published slot shows that all before it in its lap were claimed. What is free or claimed
	 * for a lap was filled in the one before. */
	if (laps && (state & FLUSHQ_RING_SUSPECT) != FLUSHQ_RING_PUBLISHED)
		laps--;
	return (flushq_ring_pos)(pos + laps * FLUSHQ_QUEUE_SLOTS + 1);
}

/* Fills and publishes the slot of `pos`, which the caller has claimed. Returns whether that counts. */
static inline bool flushq_priv_ring_fill(struct flushq_ring *ring, flushq_ring_pos pos,
					 uint32_t key, unsigned long value)
{
	struct flushq_ring_slot *slot = flushq_priv_ring_at(ring, pos);
	flushq_ring_pos state =
		(flushq_ring_pos)(flushq_priv_ring_empty(pos) + FLUSHQ_RING_PUBLISHED);
	bool proven = flushq_priv_ring_proven(ring, pos);

	state = flushq_priv_ring_write(slot, state, key, value);
	/*
	 * R4: release, pairs with R5: the item, and what the caller wrote before (page tables). And
	 * with R1. Two ways: a state that was chosen would make the store wait for the look back, and
	 * so the next put for this one.
	 */
	flushq_fence_release();
	if (FLUSHQ_UNLIKELY(!proven)) {
		state = (flushq_ring_pos)(state + FLUSHQ_RING_SUSPECT - FLUSHQ_RING_PUBLISHED);
		flushq_store_relaxed(&slot->state, state);
		return false;
	}
	flushq_store_relaxed(&ring->tail, (flushq_ring_pos)(pos + 1));
	flushq_store_relaxed(&slot->state, state);
	return true;
}

/* A put whose tail was late: `pos` has been claimed by others, whose `state` it has. */
static FLUSHQ_NOINLINE bool flushq_priv_ring_put_on(struct flushq_ring *ring, flushq_ring_pos pos,
						    flushq_ring_pos state, uint32_t key,
						    unsigned long value)
{
	unsigned int step;

	for (step = 1; step < FLUSHQ_QUEUE_SLOTS; step++) {
		/* R3: acquire, pairs with R4: what they knew whose slots are passed by. And no slot is seen as
		 * it was before what this step goes by. */
		flushq_fence_acquire();
		pos = flushq_priv_ring_next(state, pos);
		if (flushq_priv_ring_claim(ring, pos, &state))
			return flushq_priv_ring_fill(ring, pos, key, value);
		if (flushq_priv_ring_full(state, pos))
			return false;
	}
	flushq_fence_acquire(); /* R3 */
	/* A tail that is behind all these would never catch up. R4, for R1. */
	flushq_store_release(&ring->tail, flushq_priv_ring_next(state, pos));
	return false;
}

/*
 * Adds an item, in at most FLUSHQ_QUEUE_SLOTS steps, each at most one read-modify-write; alone, in
 * one. True: an owner that looks after the caller's next full fence finds it. False: the ring is
 * full, or the tail was late, or (where positions wrap) the item lies behind a hole; the caller must
 * leave a sticky bit for it.
 */
static inline bool flushq_ring_put(struct flushq_ring *ring, uint32_t key, unsigned long value)
{
	flushq_ring_pos pos = flushq_priv_ring_tail(ring), state;

	if (FLUSHQ_LIKELY(flushq_priv_ring_claim(ring, pos, &state)))
		return flushq_priv_ring_fill(ring, pos, key, value);
	if (flushq_priv_ring_full(state, pos))
		return false;
	return flushq_priv_ring_put_on(ring, pos, state, key, value);
}

/*
 * Leaves `bits` for the owner, who takes them all at once. Returns false when all were there
 * already: nothing is written.
 */
static inline bool flushq_ring_stick(struct flushq_ring *ring, uint32_t bits)
{
	/* R8: pairs with R9: bits seen here are taken, and flushed for, after what we wrote. */
	flushq_fence_full();
	if ((flushq_load_relaxed(&ring->sticky) & bits) == bits)
		return false;
	/* R10: relaxed, behind R8: who takes them has seen what the caller wrote. */
	flushq_or_relaxed(&ring->sticky, bits);
	return true;
}

/* The owner takes the sticky bits. What they stand for must be flushed after, not before. */
static inline uint32_t flushq_ring_unstick(struct flushq_ring *ring)
{
	if (flushq_load_relaxed(&ring->sticky) == 0)
		return 0;
	/* R9: relaxed: pairs with R8 by the flush that follows, itself a full fence (arch.h). */
	return flushq_swap_relaxed(&ring->sticky, 0u);
}

/* The owner's walk from `head` on. */
static inline struct flushq_ring_walk flushq_ring_begin(struct flushq_ring *ring,
							flushq_ring_pos head)
{
	struct flushq_ring_walk walk;

	walk.slot = flushq_priv_ring_at(ring, head);
	walk.published = (flushq_pos)(flushq_priv_ring_empty(head) + FLUSHQ_RING_PUBLISHED);
	walk.freed = (flushq_ring_pos)(flushq_priv_ring_empty(head) + FLUSHQ_PRIV_LAP);
	return walk;
}

/*
 * Returns which of enum flushq_ring_state the slot is that the owner has come to. If it is PUBLISHED
 * or SUSPECT, the item is taken, its slot given back, and the next slot is next.
 */
static inline int flushq_ring_take(struct flushq_ring *ring, struct flushq_ring_walk *walk,
				   uint32_t *key, unsigned long *value)
{
	struct flushq_ring_slot *slot = walk->slot;
	/* R5: acquire, pairs with R4. */
	flushq_ring_pos state = flushq_load_acquire(&slot->state);
	int seen = FLUSHQ_RING_PUBLISHED;

	/* Nearly all that a drain does: one comparison for each item. */
	if (FLUSHQ_UNLIKELY((flushq_pos)state != walk->published)) {
		seen += flushq_priv_ring_seen(state, walk->published);
		if (seen < FLUSHQ_RING_PUBLISHED)
			return seen;
	}
	*key = flushq_priv_ring_key(slot, state);
	*value = flushq_load_relaxed(&slot->value);
	/* R7: release, pairs with R2: the item was read before the slot is filled again. */
	flushq_store_release(&slot->state, walk->freed);
	if (++walk->slot == &ring->slot[FLUSHQ_QUEUE_SLOTS]) {
		walk->slot = ring->slot;
		walk->published = (flushq_pos)(walk->published + FLUSHQ_PRIV_LAP);
		walk->freed = (flushq_ring_pos)(walk->freed + FLUSHQ_PRIV_LAP);
	}
	return seen;
}

/* Whether anything was claimed behind `pos`, which the owner saw claimed. */
static inline bool flushq_ring_claimed_behind(struct flushq_ring *ring, flushq_ring_pos pos)
{
	flushq_ring_pos next = (flushq_ring_pos)(pos + 1);
	/* R6: no order: the full fences make it one (S2 and C2, with R1 or R3). */
	flushq_ring_pos state = flushq_load_relaxed(&flushq_priv_ring_at(ring, next)->state);

	return flushq_priv_ring_seen(state, flushq_priv_ring_empty(next)) > FLUSHQ_RING_EMPTY;
}

/* Whether the owner at `head` is owed anything. */
static inline bool flushq_ring_idle(struct flushq_ring *ring, flushq_ring_pos head)
{
	return flushq_load_relaxed(&flushq_priv_ring_at(ring, head)->state) ==
		       flushq_priv_ring_empty(head) &&
	       flushq_load_relaxed(&ring->sticky) == 0;
}

#endif
