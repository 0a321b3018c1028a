/* SPDX-License-Identifier: MIT */
/*
 * B20: FreeBSD gives each initiator one slot per target; in a port of that for LoongArch a
 * second request went into the slot before the target had read the first, which was lost. Here a
 * slot is claimed only when it is free; the log's are overwritten, but each reader can tell.
 *
 * variant 1: a request goes into the next slot, whatever is there
 * patch ring.h
 *	-return *state == empty &&
 *	+return
 *
 * variant 2: a reader of the log passes over slots that were written again
 * patch log.h
 *	-if (seen < FLUSHQ_RING_CLAIMED || seen > FLUSHQ_RING_SUSPECT)
 *	-	return FLUSHQ_LOG_LAPPED;
 *	+if (seen < FLUSHQ_RING_CLAIMED || seen > FLUSHQ_RING_SUSPECT) {
 *	+	reader->pos++;
 *	+	continue;
 *	+}
 *
 * variant 3: a reader of the log does not look whether what it read is still the same
 * patch log.h
 *	-flushq_load_relaxed(&slot->state) != state ||
 *	+
 *
 * variant 4: a writer of the log claims a slot that another still fills
 * patch log.h
 *	-if ((state == flushq_priv_log_state(before, FLUSHQ_RING_PUBLISHED) ||
 *	+if ((state == flushq_priv_log_state(before, FLUSHQ_RING_PUBLISHED) ||
 *	+     state == flushq_priv_log_state(before, FLUSHQ_RING_CLAIMED) ||
 *	+     state == flushq_priv_log_state(pos, FLUSHQ_RING_CLAIMED) ||
 */
#include "machine.h"

static struct space *const a = &machine.space[0];

/* CPU 1 ran a. */
static void parked(bool log)
{
	flushq_use_asids(&machine.fq, &machine.asids, FLUSHQ_ASID_BITS);
	space_new(a, 0, log);
	switch_to(1, a);
	park(1);
}

static void in_queue(void)
{
	parked(false);
}

static void in_log(void)
{
	parked(true);
}

/* One more than both hold; the last is of nobody's interest. */
static void unmaps(unsigned int self)
{
	unsigned int page;

	for (page = 0; page < 3; page++)
		unmap(self, a, page);
}

static void unmaps_one(unsigned int self)
{
	unmap(self, a, 3);
}

static void returns(unsigned int self)
{
	switch_to(self, a);
}

static void returns_at_end(void)
{
	returns(1);
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = in_queue, .cpu = { unmaps, returns }, .preemptions = 1 },
		{ .begin = in_log, .cpu = { unmaps, returns }, .preemptions = 2 },
		{ .begin = in_log,
		  .cpu = { unmaps, NULL, unmaps_one },
		  .end = returns_at_end,
		  .preemptions = 2 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
