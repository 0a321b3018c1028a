/* SPDX-License-Identifier: MIT */
/*
 * B2: a proposed patch for RISC-V Linux asked only CPUs whose loaded ASID was that of the request;
 * the kernel's stands for no ASID, so nobody was ever found to use kernel mappings and all put the
 * flush off, while they ran on in them. Here kernel ranges go to every online CPU, at once.
 *
 * variant 1: the kernel's ranges are compared with the loaded ASID
 * patch cpu.h
 *	-if (range->kind == FLUSHQ_GLOBAL)
 *	-	return context != FLUSHQ_CONTEXT_OFFLINE;
 *	+
 *
 * variant 2: only CPUs that run a user's address space are asked
 * patch cpu.h
 *	-return context != FLUSHQ_CONTEXT_OFFLINE;
 *	+return context & FLUSHQ_CONTEXT_LOADED;
 *
 * variant 3: a ticket may wait for the kernel's ranges
 * patch ticket.h
 *	-if (post->range->kind != FLUSHQ_LEAF) {
 *	+if (post->range->kind == FLUSHQ_TABLES) {
 */
#include "machine.h"

static struct space *const a = &machine.space[0];

/* CPU 1 runs a, CPU 2 nothing; CPU 0 is lazy. */
static void begin(void)
{
	space_new(a, 1, false);
	switch_to(1, a);
	switch_to(0, a);
	lazy(0);
}

static void unmaps(unsigned int self)
{
	unmap_kernel(self, 1);
}

static void unmaps_other(unsigned int self)
{
	unmap_kernel(self, 2);
}

static void ticket(unsigned int self)
{
	struct flushq_range range = flushq_range_make(0, PAGE, PAGE, PAGE, FLUSHQ_GLOBAL);
	struct flushq_ticket waits;
	unsigned int old = replace_kernel(1);

	CHECK(flushq_ticket_take(&machine.fq, self, machine.fq.online, &range, &waits),
	      "a ticket for a kernel range is not done");
	free_frame(old);
}

static void switches(unsigned int self)
{
	switch_to(self, a);
}

int main(void)
{
	static const struct scenario two = {
		.begin = begin,
		.cpu = { unmaps, NULL, switches },
		.preemptions = 1,
	};
	static const struct scenario both = {
		.begin = begin,
		.cpu = { NULL, unmaps, unmaps_other },
		.preemptions = 1,
	};
	static const struct scenario taken = {
		.begin = begin,
		.cpu = { ticket, NULL, switches },
		.preemptions = 1,
	};

	explore(&two);
	explore(&both);
	explore(&taken);
	return passed();
}
