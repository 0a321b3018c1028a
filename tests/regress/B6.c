/* SPDX-License-Identifier: MIT */
/*
 * B6: in OpenSBI a sender whose target's queue was full waited for room and served its own queue
 * meanwhile; senders did so to each other without end. Here no sender waits for room: what finds
 * none sets a mark, so a full queue costs a larger flush, and nobody's time.
 *
 * variant 1: a sender waits for room
 * patch queue.h
 *	-if (FLUSHQ_LIKELY(flushq_ring_put(&queue->ring, flushq_priv_key(range),
 *	-				  flushq_priv_value(range))))
 *	+while (!flushq_ring_put(&queue->ring, flushq_priv_key(range), flushq_priv_value(range)))
 *	+	flushq_arch_relax();
 *	+if (true)
 *
 * variant 2: a request without room is dropped
 * patch queue.h
 *	-if (flushq_ring_stick(&queue->ring, flushq_mark_of(range)))
 *	-	return FLUSHQ_PUT_MARKED;
 *	+
 */
#include "machine.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

/* CPU 0 runs a and owes b; CPU 1 the other way round. */
static void begin(void)
{
	space_new(a, 1, false);
	space_new(b, 2, false);
	switch_to(0, b);
	switch_to(0, a);
	switch_to(1, a);
	switch_to(1, b);
}

/* Interrupts off; the other's queue gets more than it holds. */
static void unmaps(unsigned int self)
{
	unsigned int page;

	irqs_off(self);
	for (page = 0; page <= FLUSHQ_QUEUE_SLOTS; page++)
		unmap(self, self ? b : a, page);
	irqs_on(self);
}

static void ends(void)
{
	switch_to(0, b);
	switch_to(1, a);
}

int main(void)
{
	static const struct scenario scenario = {
		.begin = begin,
		.cpu = { unmaps, unmaps },
		.end = ends,
		.preemptions = 1,
	};

	explore(&scenario);
	return passed();
}
