/* SPDX-License-Identifier: MIT */
/*
 * B16: a guest of KVM had an address flushed that the hardware can't have, and the instruction
 * trapped in the host. Here the port gets the range as it came: RISC-V's instruction takes any
 * address; a port for hardware that traps flushes the ASID, as it always may.
 *
 * variant 1: the port passes all on to hardware that traps
 */
#include "machine.h"

static struct space *const a = &machine.space[0];
static const unsigned long odd[] = { 1ul << 47, 0x123456789abc0000ul, ~0ul << 48,
				     ~0ul << FLUSHQ_PAGE_SHIFT };
static unsigned int traps;

/* 48 bits, the others are the same as the last of them. */
static bool canonical(unsigned long address)
{
	return address + (1ul << 47) < 1ul << 48;
}

static void port(struct flushq_range *range)
{
	unsigned long page = range->start;
	unsigned int i;

	if (FAULTY != 1 && !canonical(page))
		*range = flushq_range_whole(range->asid, (enum flushq_kind)range->kind);
	for (i = 0; i < range->pages; i++, page += 1ul << range->shift) {
		CHECK(page >= range->start, "a flush wraps");
		traps += !canonical(page);
	}
	CHECK(!traps, "the flush instruction traps");
}

int main(void)
{
	unsigned int i;

	machine_start();
	machine.port = port;
	online(0);
	online(1);
	space_new(a, 1, false);
	switch_to(1, a);
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		shootdown(0, a, flushq_range_make(1, odd[i], PAGE, PAGE, FLUSHQ_LEAF));
		shootdown(0, a, flushq_range_make(1, odd[i], 3 * PAGE, PAGE, FLUSHQ_LEAF));
	}
	unmap(0, a, 0);
	return passed();
}
