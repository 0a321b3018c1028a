/* SPDX-License-Identifier: MIT */
/*
 * log.h - what was lately changed in one address space: a ring of ranges with many writers (the
 * initiators) and many readers (the CPUs that switch to it). One entry serves them all.
 *
 * A slot's states are those of ring.h; here no slot is ever freed. Each is written again, one lap on,
 * once it is published. Nobody waits: a writer that can't write is told so, and its caller gives each
 * CPU the debt in its queue instead; a reader that was overtaken is told to flush the whole ASID.
 *
 *	PUBLISHED	filled, and every position before it is known to have been claimed
 *	SUSPECT		filled, but its writer met a hole before it, and was told to use the queues
 *
 * A writer claims by one compare-and-swap on the slot; only PUBLISHED ones of exactly the lap before
 * may be claimed. Then, holding it, it proves that every position before was claimed, as in ring.h:
 * looking back, a slot that is published, or was claimed for a later lap, has been proven by others.
 * So a writer that slept between its look and its claim, for whatever number of laps, finds the hole
 * that it made. Readers stop at the first position that was never claimed.
 *
 * A SUSPECT slot stays until the next writer that needs it has taken its claim back and found the
 * hole filled. If it could be claimed over, writers that slept could take one slot any number of
 * laps ahead, and "a later lap" would prove nothing.
 *
 * Wraps. While a position p is claimed and unpublished, p + SLOTS can't be claimed, so there is a
 * hole, and nothing is claimed from p + 2 * SLOTS on. Readers hold nothing, so they would take
 * a slot of a whole wrap later for the one that they know. Therefore the log has a set of the
 * readers whose position still means something, and twice in a wrap a writer, while it holds its
 * slot, empties it (a "turn"). Who finds itself no member has been overtaken. How far may a member
 * be behind what it reads?
 *
 *	at a turn T	who joins behind it reads a tail from T - 3 * SLOTS + 1 on: an older one's
 *			writer published before T - SLOTS was claimed. Unpublished slots take it back
 *			by one lap at most.
 *	at the next, T'	whose slot is held until the set is empty: who reads a slot of T' + 2 * SLOTS
 *			or later by acquire finds it so.
 *
 * With T' half a wrap behind T that is less than half a wrap and 6 laps. A reader takes a slot for
 * up to date only where its state is of exactly the position's lap or the one before, so that a wrap
 * less one lap would deceive it. Hence sixteen laps in a wrap, and two turns.
 *
 * What may call what (all of it next to any number of the others):
 *
 *	flushq_log_append			any CPU, any context (NMI)
 *	flushq_log_idle, _begin, _next, _sync	a reader for its own CPU and `seen`, interrupts off
 *
 * The table of labels (L1...) is in shootdown.h.
 */
#ifndef FLUSHQ_LOG_H
#define FLUSHQ_LOG_H

#include "cpuset.h"
#include "queue.h"

struct flushq_log_slot {
	flushq_atomic_pos state;
	flushq_atomic_u32 key;
	flushq_atomic_ulong value;
};

/* All zero is an empty log that no CPU has joined. */
struct flushq_log {
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_atomic_pos tail;
	/* Written when a CPU joins and at a turn. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE)
	flushq_atomic_ulong readers[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	/* CPUs that may have the address space in their register: owner.h keeps it. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE)
	flushq_atomic_ulong loaded[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) struct flushq_log_slot slot[FLUSHQ_LOG_SLOTS];
};

#define FLUSHQ_PRIV_LOG_SLOTS_LOG2 (31 - __builtin_clz((unsigned int)(FLUSHQ_LOG_SLOTS)))
/* As in ring.h. */
#define FLUSHQ_PRIV_LOG_LAP_SHIFT (FLUSHQ_PRIV_LOG_SLOTS_LOG2 > 2 ? FLUSHQ_PRIV_LOG_SLOTS_LOG2 : 2)
/* What one lap adds to a state. */
#define FLUSHQ_PRIV_LOG_LAP (1 << FLUSHQ_PRIV_LOG_LAP_SHIFT)
/* Positions between two turns: half of those that states can tell apart. */
#define FLUSHQ_PRIV_LOG_HALF                                                                       \
	(1u << (8 * sizeof(flushq_pos) - 1 - FLUSHQ_PRIV_LOG_LAP_SHIFT +                           \
		FLUSHQ_PRIV_LOG_SLOTS_LOG2))

static inline struct flushq_log_slot *flushq_priv_log_at(struct flushq_log *log, flushq_pos pos)
{
	return &log->slot[pos & (FLUSHQ_LOG_SLOTS - 1)];
}

/* The state of pos's slot that says `what` for pos. */
static inline flushq_pos flushq_priv_log_state(flushq_pos pos, enum flushq_ring_state what)
{
	unsigned int lap = (unsigned int)pos >> FLUSHQ_PRIV_LOG_SLOTS_LOG2;

	return (flushq_pos)((lap << FLUSHQ_PRIV_LOG_LAP_SHIFT) + (unsigned int)what);
}

/* A state as seen from position `pos`: enum flushq_ring_state, or less or more by
 * FLUSHQ_PRIV_LOG_LAP for each lap. */
static inline int flushq_priv_log_seen(flushq_pos state, flushq_pos pos)
{
	return (flushq_pos_diff)(flushq_pos)(state - flushq_priv_log_state(pos, FLUSHQ_RING_EMPTY));
}

/* The last position before each half. (Not the first: few logs get that far.) */
static inline bool flushq_priv_log_turn(flushq_pos pos)
{
	return (pos & (FLUSHQ_PRIV_LOG_HALF - 1)) == FLUSHQ_PRIV_LOG_HALF - 1;
}

/* Whether every position before `pos`, which the caller holds claimed and unpublished, was claimed.
 */
static inline bool flushq_priv_log_proven(struct flushq_log *log, flushq_pos pos)
{
	unsigned int back;

	/* The slot one lap back is the caller's own: it was published. */
	for (back = 1; back < FLUSHQ_LOG_SLOTS; back++) {
		flushq_pos before = (flushq_pos)(pos - back);
		struct flushq_log_slot *slot = flushq_priv_log_at(log, before);
		/* L2: acquire, pairs with L4: a turn before is passed on to who reads our slot. */
		int seen = flushq_priv_log_seen(flushq_load_acquire(&slot->state), before);

		if (seen == FLUSHQ_RING_PUBLISHED || seen >= FLUSHQ_RING_LAP)
			break;
		if (seen <= FLUSHQ_RING_EMPTY)
			return false;
	}
	return true;
}

/*
 * Publishes `pos`, which the caller holds claimed: with `range`, or (NULL) with what its slot holds
 * already. Returns whether readers will come so far.
 */
static inline bool flushq_priv_log_publish(struct flushq_log *log, flushq_pos pos,
					   const struct flushq_range *range)
{
	struct flushq_log_slot *slot = flushq_priv_log_at(log, pos);
	bool proven = flushq_priv_log_proven(log, pos);
	enum flushq_ring_state how = proven ? FLUSHQ_RING_PUBLISHED : FLUSHQ_RING_SUSPECT;
	unsigned int w;

	/*
	 * L3: release: who reads one of the following words and then (behind L6, L7) a state, sees ours
	 * claimed; what a joining CPU's flush finds in `tail`, its walks see.
	 */
	flushq_fence_release();
	/* A tail past a hole would lead others there, and is promised to have none before it. */
	if (proven)
		flushq_store_relaxed(&log->tail, (flushq_pos)(pos + 1));
	if (FLUSHQ_UNLIKELY(flushq_priv_log_turn(pos)))
		for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++)
			flushq_store_relaxed(&log->readers[w], 0ul);
	if (range) {
		flushq_store_relaxed(&slot->key, flushq_priv_key(range));
		flushq_store_relaxed(&slot->value, flushq_priv_value(range));
	}
	/* L4: release, pairs with L5: the item, and what the caller wrote before (page tables). */
	flushq_store_release(&slot->state, flushq_priv_log_state(pos, how));
	return proven;
}

/* Takes back the claim of `pos`, which is suspect, to see whether the hole before it was filled. */
static FLUSHQ_COLD void flushq_priv_log_heal(struct flushq_log *log, flushq_pos pos)
{
	flushq_pos state = flushq_priv_log_state(pos, FLUSHQ_RING_SUSPECT);

	/* L1: see below. */
	if (flushq_cas_acquire(&flushq_priv_log_at(log, pos)->state, &state,
			       flushq_priv_log_state(pos, FLUSHQ_RING_CLAIMED)))
		(void)flushq_priv_log_publish(log, pos, NULL);
}

/*
 * Adds `range`, in at most 2 * FLUSHQ_LOG_SLOTS + 1 steps, and half as many for the proof; alone, with one
 * read-modify-write. True: a CPU that looks after the caller's next full fence finds it, or flushes
 * the whole ASID. False: a writer that stalled a lap ago is in the way, or a hole lies before; the
 * caller must give the debt to each CPU's queue.
 */
static inline bool flushq_log_append(struct flushq_log *log, const struct flushq_range *range)
{
	/* Any value is safe, the oldest as well. */
	flushq_pos pos = flushq_load_relaxed(&log->tail);
	unsigned int step;

	for (step = 0; step <= 2 * FLUSHQ_LOG_SLOTS; step++) {
		flushq_pos before = (flushq_pos)(pos - FLUSHQ_LOG_SLOTS);
		struct flushq_log_slot *slot = flushq_priv_log_at(log, pos);
		flushq_pos state = flushq_load_relaxed(&slot->state);
		unsigned int laps;

		if (FLUSHQ_UNLIKELY(state == flushq_priv_log_state(before, FLUSHQ_RING_SUSPECT))) {
			flushq_priv_log_heal(log, before);
			state = flushq_load_relaxed(&slot->state);
		}
		/*
		 * L1: acquire, pairs with L4: who sees this lap's item also sees what the writers of
		 * those before wrote; and the proof is behind the claim. (Empty: the first lap.)
		 */
		if ((state == flushq_priv_log_state(before, FLUSHQ_RING_PUBLISHED) ||
		     state == flushq_priv_log_state(pos, FLUSHQ_RING_EMPTY)) &&
		    flushq_cas_acquire(&slot->state, &state,
				       flushq_priv_log_state(pos, FLUSHQ_RING_CLAIMED)))
			return flushq_priv_log_publish(log, pos, range);
		if (flushq_priv_log_seen(state, pos) < FLUSHQ_RING_EMPTY)
			return false;
		/*
		 * Claimed for this lap, or a later one, which tells how late the hint is. Only a published
		 * slot shows that all before it in its lap were claimed; what is not, was so in the one before.
		 */
		laps = (unsigned int)flushq_priv_log_seen(state, pos) >> FLUSHQ_PRIV_LOG_LAP_SHIFT;
		if (laps && (state & FLUSHQ_RING_SUSPECT) != FLUSHQ_RING_PUBLISHED)
			laps--;
		pos = (flushq_pos)(pos + (laps << FLUSHQ_PRIV_LOG_SLOTS_LOG2) + 1);
	}
	return false;
}

/*
 * Whether a state that was read by acquire (L5) may be trusted not to be of another wrap. L7: relaxed,
 * behind L5.
 */
static inline bool flushq_priv_log_member(const struct flushq_log *log, unsigned int cpu)
{
	return FLUSHQ_LIKELY(flushq_cpuset_has(log->readers, cpu));
}

/* Whether `state` says that `pos` was never claimed: of the lap before, or empty in the first. */
static inline bool flushq_priv_log_unclaimed(flushq_pos state, flushq_pos pos)
{
	int seen = flushq_priv_log_seen(state, pos);

	return seen <= FLUSHQ_RING_EMPTY && seen >= -FLUSHQ_PRIV_LOG_LAP;
}

/* Whether `cpu`, whose position is `seen`, has nothing to flush: two loads, behind the full fence
 * that follows its context. */
static inline bool flushq_log_idle(struct flushq_log *log, unsigned int cpu, flushq_pos seen)
{
	flushq_pos state = flushq_load_acquire(&flushq_priv_log_at(log, seen)->state); /* L5 */

	return FLUSHQ_LIKELY(flushq_priv_log_unclaimed(state, seen)) &&
	       flushq_priv_log_member(log, cpu);
}

/* One replay: private to the reader. */
struct flushq_log_reader {
	flushq_pos seen; /* from where the next replay must start, once this is done */
	flushq_pos pos; /* next to be looked at */
	unsigned int left; /* steps */
};

enum flushq_log_result {
	FLUSHQ_LOG_DONE, /* nothing more is owed; remember reader->seen */
	FLUSHQ_LOG_RANGE, /* flush this, and go on */
	FLUSHQ_LOG_LAPPED, /* flushq_log_sync(), then flush the whole ASID */
};

/* A replay from `seen` on, which flushq_log_sync() or the replay before returned. */
static inline struct flushq_log_reader flushq_log_begin(flushq_pos seen)
{
	struct flushq_log_reader reader;

	reader.seen = reader.pos = seen;
	reader.left = FLUSHQ_LOG_SLOTS;
	return reader;
}

/*
 * The next range that `cpu` must flush before it uses the address space. Behind the full fence that
 * follows the CPU's context; at most FLUSHQ_LOG_SLOTS steps for all of one replay. `cpu` is below
 * FLUSHQ_NR_CPUS.
 */
static inline enum flushq_log_result flushq_log_next(struct flushq_log *log, unsigned int cpu,
						     struct flushq_log_reader *reader,
						     struct flushq_range *range)
{
	for (; reader->left; reader->left--) {
		flushq_pos pos = reader->pos;
		struct flushq_log_slot *slot = flushq_priv_log_at(log, pos);
		flushq_pos state = flushq_load_acquire(&slot->state); /* L5: pairs with L4 */
		int seen = flushq_priv_log_seen(state, pos);
		unsigned long value;
		uint32_t key;

		/* No later one counts. */
		if (flushq_priv_log_unclaimed(state, pos))
			break;
		if (seen < FLUSHQ_RING_CLAIMED || seen > FLUSHQ_RING_SUSPECT)
			return FLUSHQ_LOG_LAPPED;
		/*
		 * Claimed: its initiator has still to reach its fence and look, and will see what this
		 * CPU has loaded. But the CPU may have left by then, so the next replay starts here.
		 */
		reader->pos++;
		if (seen != FLUSHQ_RING_CLAIMED && reader->seen == pos)
			reader->seen = reader->pos;
		/* Suspect: it is in the queue. */
		if (seen != FLUSHQ_RING_PUBLISHED)
			continue;
		key = flushq_load_relaxed(&slot->key);
		value = flushq_load_relaxed(&slot->value);
		/* L6: acquire, pairs with L3: a word of a later lap shows that lap claimed. */
		flushq_fence_acquire();
		if (flushq_load_relaxed(&slot->state) != state || !flushq_priv_log_member(log, cpu))
			return FLUSHQ_LOG_LAPPED;
		*range = flushq_priv_unpack(key, value);
		reader->left--;
		return FLUSHQ_LOG_RANGE;
	}
	return flushq_priv_log_member(log, cpu) ? FLUSHQ_LOG_DONE : FLUSHQ_LOG_LAPPED;
}

/*
 * The position from which `cpu` must go on after a flush of the whole ASID that follows this call.
 * For a CPU that joins the address space, was lapped or flushes everything; where it starts to use the
 * address space, behind the full fence that follows its context. In FLUSHQ_LOG_SLOTS steps. Writes
 * only where the CPU is new or a turn was made.
 */
static inline flushq_pos flushq_log_sync(struct flushq_log *log, unsigned int cpu)
{
	flushq_pos tail, seen;
	unsigned int back;

	/* L7: acquire, pairs with L3: what follows is not from before the turn. */
	if (flushq_cpuset_add(log->readers, cpu))
		flushq_fence_acquire();
	/*
	 * L8: relaxed, all of them: the flush that follows is a full fence to the walks behind it
	 * (arch.h). They see the page tables of all that we leave out: of what we saw published, and of
	 * what was to make room for those before the tail.
	 */
	tail = seen = flushq_load_relaxed(&log->tail);
	for (back = 1; back <= FLUSHQ_LOG_SLOTS; back++) {
		flushq_pos pos = (flushq_pos)(tail - back);
		flushq_pos state = flushq_load_relaxed(&flushq_priv_log_at(log, pos)->state);

		if (flushq_priv_log_seen(state, pos) <= FLUSHQ_RING_CLAIMED)
			seen = pos;
	}
	return seen;
}

#endif
