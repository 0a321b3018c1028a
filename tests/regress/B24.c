/* SPDX-License-Identifier: MIT */
/*
 * B24: KVM on RISC-V, where one hart's queue was full, sent all harts of the request a full flush,
 * and those that had the entry in their queues already were not told to look there. Here an
 * overflow marks the one CPU whose queue it is; the others get the request, and are asked, as ever.
 *
 * variant 1: one full queue makes all flush everything
 * patch shootdown.h
 *	-if (put == FLUSHQ_PUT_MARKED)
 *	-	flushq_priv_event(post->counts, post->self, FLUSHQ_OVERFLOWS, 1);
 *	+if (put == FLUSHQ_PUT_MARKED)
 *	+	for (unsigned int i = 0; i < post->fq->nr; i++)
 *	+		(void)flushq_ring_stick(&post->fq->cpu[i].queue.ring, FLUSHQ_MARK_ALL);
 *
 * variant 2: a request that overflowed somewhere interrupts that one only
 * patch shootdown.h
 *	-if (put == FLUSHQ_PUT_MARKED)
 *	-	flushq_priv_event(post->counts, post->self, FLUSHQ_OVERFLOWS, 1);
 *	+if (put == FLUSHQ_PUT_MARKED)
 *	+	must |= flushq_cpuset_bit(bit);
 *	-interrupt[w] = must | flushq_priv_look_word(post, base, owing & ~must);
 *	+interrupt[w] = must ? must : flushq_priv_look_word(post, base, owing);
 */
#include "machine.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

/* CPU 1 ran a and b, and its queue is full of b's; CPU 2 has a alone. */
static void full(void)
{
	unsigned int i;

	space_new(a, 1, false);
	space_new(b, 2, false);
	switch_to(1, b);
	switch_to(1, a);
	park(1);
	switch_to(2, a);
	for (i = 0; i < FLUSHQ_QUEUE_SLOTS; i++)
		unmap(0, b, 2);
}

static void full_and_parked(void)
{
	full();
	park(2);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 0);
}

static void returns(unsigned int self)
{
	switch_to(self, a);
}

static void others_are_precise(void)
{
	if (!machine.hw[2].root)
		returns(2);
	CHECK(machine.hw[2].flushes == 1 && machine.hw[2].whole_flushes == 0,
	      "CPU 2 does not flush its one page alone");
	returns(1);
}

static void nobody_is_interrupted(void)
{
	CHECK(machine.interrupts == 0, "an overflow costs an interrupt");
	others_are_precise();
}

int main(void)
{
	static const struct scenario scenarios[] = {
		{ .begin = full, .cpu = { unmaps }, .end = others_are_precise, .preemptions = 1 },
		{ .begin = full, .cpu = { unmaps, returns }, .preemptions = 2 },
		{ .begin = full_and_parked,
		  .cpu = { unmaps },
		  .end = nobody_is_interrupted,
		  .preemptions = 1 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		explore(&scenarios[i]);
	return passed();
}
