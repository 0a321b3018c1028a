/* SPDX-License-Identifier: MIT */
/*
 * B12: the SBI specification lets a size of all ones mean every address, as 0 does; KVM knew the
 * 0 only and took the other for a range. Here both are every address, and so is whatever is too
 * long: a range's length is never cut.
 *
 * variant 1: all ones is a size like another
 * patch range.h
 *	-if (size == 0 || size == ~0ul || last < start)
 *	-	return range;
 *	+if (size == 0)
 *	+	return range;
 *	-if (pages > FLUSHQ_PAGES_MAX)
 *	-	return range;
 *	+if (pages - 1 >= FLUSHQ_PAGES_MAX)
 *	+	pages = FLUSHQ_PAGES_MAX;
 *
 * variant 2: what is too long is cut
 * patch range.h
 *	-if (pages > FLUSHQ_PAGES_MAX)
 *	-	return range;
 *	+if (pages > FLUSHQ_PAGES_MAX)
 *	+	pages = FLUSHQ_PAGES_MAX;
 */
#include "machine.h"

static struct space *const a = &machine.space[0];

static void all(unsigned long start, unsigned long size)
{
	struct flushq_range range = flushq_range_make(1, start, size, PAGE, FLUSHQ_LEAF);

	CHECK(range.pages == 0 && range.start == 0 && range.asid == 1,
	      "%#lx bytes from %#lx on are not every address", size, start);
}

int main(void)
{
	struct flushq_range range = flushq_range_make(1, PAGE, ~0ul, PAGE, FLUSHQ_LEAF);
	unsigned int old;

	/* The size of all ones from the second page on: the first goes as well. */
	machine_start();
	online(0);
	online(1);
	space_new(a, 1, false);
	switch_to(1, a);
	machine.self = 0;
	old = replace(a, 0);
	shootdown(0, a, range);
	free_frame(old);

	all(0, 0);
	all(0, ~0ul);
	all(PAGE, 0);
	all(PAGE, ~0ul);
	all(~0ul - PAGE + 1, ~0ul);
	all(PAGE, (FLUSHQ_PAGES_MAX + 1) * PAGE);
	all(~0ul - PAGE + 1, PAGE + 1);
	return passed();
}
