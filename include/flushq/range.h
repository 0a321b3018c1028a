/* SPDX-License-Identifier: MIT */
/*
 * range.h - what a caller asks to be flushed: pure functions on values, total on every input.
 *
 * A request in doubt becomes a larger one. The normal form, which flushq_range_make() returns and
 * all others keep:
 *
 *	pages > 0	that many pages of 1 << shift bytes from `start` on, which is a multiple of
 *			that; at most FLUSHQ_PAGES_MAX; the last byte is not past the top of the
 *			address space
 *	pages == 0	every address; start is 0, shift is FLUSHQ_PAGE_SHIFT
 *	FLUSHQ_GLOBAL	in every ASID, mappings marked global as well; asid is 0
 */
#ifndef FLUSHQ_RANGE_H
#define FLUSHQ_RANGE_H

#include "config.h"

/* An ASID or VMID, the hardware's tag of a translation: 0 to 0xffff (16 bits on RISC-V at most). */
typedef uint32_t flushq_asid;

#define FLUSHQ_ASID_MAX 0xffffu

enum flushq_kind {
	FLUSHQ_LEAF = 0, /* leaf entries changed; every page-table page stays */
	/* Page-table pages were unlinked and will be freed, or another non-leaf entry changed: those go too. */
	FLUSHQ_TABLES = 1,
	/* Kernel mappings: every ASID on every CPU, never deferred. Pages are leaf entries alone: where
	 * kernel tables are freed, or non-leaf entries changed, ask for every address. */
	FLUSHQ_GLOBAL = 2,
};

struct flushq_range {
	unsigned long start; /* bytes */
	uint32_t pages; /* of 1 << shift bytes each; 0: every address */
	uint16_t asid;
	uint8_t shift; /* log2 of the stride in bytes */
	uint8_t kind; /* enum flushq_kind */
};

/* Every address of `asid`. An ASID out of range is every address of every ASID. */
static inline struct flushq_range flushq_range_whole(flushq_asid asid, enum flushq_kind kind)
{
	struct flushq_range whole;

	if (asid > FLUSHQ_ASID_MAX || (unsigned int)kind > FLUSHQ_GLOBAL)
		kind = FLUSHQ_GLOBAL;
	whole.start = 0;
	whole.pages = 0;
	whole.asid = kind == FLUSHQ_GLOBAL ? 0 : (uint16_t)asid;
	whole.shift = FLUSHQ_PAGE_SHIFT;
	whole.kind = (uint8_t)kind;
	return whole;
}

/*
 * The request for `size` bytes from `start` on, both in bytes and of any alignment, where no page that
 * was mapped there, before the change or after, is smaller than `stride` bytes (in doubt the base page
 * size: what is split, or collapsed into a larger page, was mapped by the smaller ones). Size 0 and all ones mean every address (as the SBI specification has it,
 * RFNC extension), as does a range past the top and one longer than FLUSHQ_PAGES_MAX pages. A
 * stride that is no power of two, or below the page size, is the page size. A page in a NAPOT
 * region counts as its base pages: pass the base page size.
 */
static inline struct flushq_range flushq_range_make(flushq_asid asid, unsigned long start,
						    unsigned long size, unsigned long stride,
						    enum flushq_kind kind)
{
	struct flushq_range range = flushq_range_whole(asid, kind);
	unsigned long last = start + size - 1, pages;
	unsigned int shift = FLUSHQ_PAGE_SHIFT;

	/* An unknown ASID or kind asked for something that pages of any kind may not cover. */
	if (asid > FLUSHQ_ASID_MAX || (unsigned int)kind > FLUSHQ_GLOBAL)
		return range;
	if (size == 0 || size == ~0ul || last < start)
		return range;
	if ((stride & (stride - 1)) == 0 && stride >> FLUSHQ_PAGE_SHIFT)
		shift = flushq_ctz(stride);
	/* Page numbers, not ends: nothing to wrap. */
	pages = (last >> shift) - (start >> shift) + 1;
	if (pages > FLUSHQ_PAGES_MAX)
		return range;
	range.start = start >> shift << shift;
	range.pages = (uint32_t)pages;
	range.shift = (uint8_t)shift;
	return range;
}

/* Whether flushing `outer` removes everything that flushing `inner` would. */
static inline bool flushq_range_covers(const struct flushq_range *outer,
				       const struct flushq_range *inner)
{
	unsigned long outer_last, inner_last;

	if (outer->kind == FLUSHQ_GLOBAL && outer->pages == 0)
		return true;
	if (outer->asid != inner->asid || outer->kind < inner->kind)
		return false;
	/* A kernel range covers no user range: ASID 0 may be a user's. */
	if (outer->kind == FLUSHQ_GLOBAL && inner->kind != FLUSHQ_GLOBAL)
		return false;
	if (outer->pages == 0)
		return true;
	if (inner->pages == 0 || outer->shift > inner->shift)
		return false;
	outer_last = outer->start + (((unsigned long)outer->pages << outer->shift) - 1);
	inner_last = inner->start + (((unsigned long)inner->pages << inner->shift) - 1);
	return outer->start <= inner->start && inner_last <= outer_last;
}

/*
 * Makes `*into` one request for both where one covers the other, or both are runs of pages of one
 * stride that touch (every address, where the run gets longer than FLUSHQ_PAGES_MAX). Returns
 * false, `*into` unchanged, where they must stay two.
 */
static inline bool flushq_range_merge(struct flushq_range *into, const struct flushq_range *range)
{
	unsigned long a, b, a_end, b_end;

	if (into->asid != range->asid || into->kind != range->kind || into->shift != range->shift ||
	    into->pages == 0 || range->pages == 0) {
		if (flushq_range_covers(range, into)) {
			*into = *range;
			return true;
		}
		return flushq_range_covers(into, range);
	}
	/* Page numbers: one past the last can't wrap, as a page is more than one byte. */
	a = into->start >> into->shift;
	b = range->start >> range->shift;
	a_end = a + into->pages;
	b_end = b + range->pages;
	if (a > b_end || b > a_end)
		return false;
	if (b < a)
		a = b;
	if (b_end > a_end)
		a_end = b_end;
	*into = flushq_range_make(into->asid, a << into->shift, (a_end - a) << into->shift,
				  1ul << into->shift, (enum flushq_kind)into->kind);
	return true;
}

/* Flush instructions that the request takes: its pages, or 1. */
static inline unsigned int flushq_range_cost(const struct flushq_range *range)
{
	return range->pages ? range->pages : 1;
}

#endif
