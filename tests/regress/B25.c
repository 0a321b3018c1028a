/* SPDX-License-Identifier: MIT */
/*
 * B25: in DPDK's ring a producer could see a head and a tail that never were at once, and count too
 * much room. Here slots themselves say whether they are free, and who acted on an old hint finds
 * the hole that it made. The orders are tests/model/mutate's, R2 to R7: this is one thread.
 *
 * variant 1: a producer trusts its hint
 * patch ring.h
 *	-proven = flushq_priv_ring_proven(ring, pos);
 *	+proven = true;
 *
 * variant 2: room is counted, from an old hint
 * patch ring.h
 *	-return *state == empty &&
 *	+return flushq_priv_ring_seen(*state, empty) < FLUSHQ_RING_EMPTY ||
 *	+	*state == empty &&
 */
#include "machine.h"

static struct space *const a = &machine.space[0];
/* Requests while one producer sleeps: about as many as there are positions. */
static unsigned int others;

static void begin(void)
{
	space_new(a, 1, false);
	switch_to(1, a);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 0);
}

static void unmaps_many(unsigned int self)
{
	unsigned int i;

	for (i = 0; i < others; i++)
		unmap(self, a, 1 + i % 3);
}

/* Nobody takes what is put: the ring is full. */
static void begin_parked(void)
{
	begin();
	park(1);
}

static void returns(void)
{
	switch_to(1, a);
}

int main(void)
{
	static const struct scenario wraps = {
		.begin = begin,
		.cpu = { unmaps, NULL, unmaps_many },
		.preemptions = 1,
		.sleepers = 1,
	};
	static const struct scenario full = {
		.begin = begin_parked,
		.cpu = { unmaps, NULL, unmaps_many },
		.end = returns,
		.preemptions = 2,
	};

	others = 3;
	explore(&full);
	/* Two slots: half of the positions that 8 bits have. */
	for (others = 126; others <= 129; others++)
		explore(&wraps);
	return passed();
}
