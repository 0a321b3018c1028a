/* SPDX-License-Identifier: MIT */
/*
 * B22: OpenSBI merged requests by their ends: a flush of all, written (0, 0), vanished in one that
 * starts at 0, and the last page, whose end wraps to 0, in any. Here "every address" has no pages
 * and only its like covers it; page numbers are compared, which can't wrap.
 *
 * variant 1: every address is a range from 0 on
 * patch range.h
 *	-into->pages == 0 || range->pages == 0) {
 *	+false) {
 *
 * variant 2: ends are compared
 * patch range.h
 *	-outer_last = outer->start + (((unsigned long)outer->pages << outer->shift) - 1);
 *	-inner_last = inner->start + (((unsigned long)inner->pages << inner->shift) - 1);
 *	+outer_last = outer->start + ((unsigned long)outer->pages << outer->shift);
 *	+inner_last = inner->start + ((unsigned long)inner->pages << inner->shift);
 */
#include "machine.h"

/* The pages that count: the first and the last four, and one in the middle. */
#define NR_PLACES 9
static const unsigned long place[NR_PLACES] = { 0,	   PAGE,	 2 * PAGE,     3 * PAGE,
						1ul << 30, 0 - 4 * PAGE, 0 - 3 * PAGE, 0 - 2 * PAGE,
						0 - PAGE };

static bool flushes(const struct flushq_range *range, unsigned long page)
{
	return range->pages == 0 || page - range->start < (unsigned long)range->pages * PAGE;
}

static void check_pair(const struct flushq_range *one, const struct flushq_range *two)
{
	struct flushq_range both = *one;
	bool covers = flushq_range_covers(one, two), merged = flushq_range_merge(&both, two);
	unsigned int i;

	CHECK(!covers || one->pages == 0 || two->pages != 0, "every address is covered by some");
	CHECK(!merged || both.pages == 0 || (one->pages != 0 && two->pages != 0),
	      "every address is merged into some");
	for (i = 0; i < NR_PLACES; i++) {
		CHECK(!covers || !flushes(two, place[i]) || flushes(one, place[i]),
		      "%#lx is not covered", place[i]);
		CHECK(!merged || flushes(&both, place[i]) ||
			      !(flushes(one, place[i]) || flushes(two, place[i])),
		      "%#lx is lost in a merge", place[i]);
	}
}

int main(void)
{
	struct flushq_range ranges[4 * NR_PLACES + 1];
	unsigned int i, j, n = 0;

	ranges[n++] = flushq_range_make(1, 0, 0, PAGE, FLUSHQ_LEAF);
	for (i = 0; i < NR_PLACES; i++)
		for (j = 1; j <= 4; j++)
			ranges[n++] = flushq_range_make(1, place[i], j * PAGE, PAGE, FLUSHQ_LEAF);
	for (i = 0; i < n; i++)
		for (j = 0; j < n; j++)
			check_pair(&ranges[i], &ranges[j]);
	return passed();
}
