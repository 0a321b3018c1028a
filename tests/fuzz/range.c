/* SPDX-License-Identifier: MIT */
/*
 * range - range.h and queue.h's packing and marks against an oracle that knows the set of addresses a
 * request names, one for each flush instruction, in numbers that can't wrap.
 *
 * variant 1: requests merge over a gap of a page
 * patch range.h
 *	-if (a > b_end || b > a_end)
 *	+if (a > b_end + 1 || b > a_end + 1)
 *
 * variant 2: a merged run is a page too short
 * patch range.h
 *	-*into = flushq_range_make(into->asid, a << into->shift, (a_end - a) << into->shift,
 *	+*into = flushq_range_make(into->asid, a << into->shift, (a_end - a - (a_end - a > 2)) << into->shift,
 *
 * variant 3: a range past the top wraps
 * patch range.h
 *	-if (size == 0 || size == ~0ul || last < start)
 *	+if (size == 0 || size == ~0ul)
 *
 * variant 4: a larger stride covers a smaller one
 * patch range.h
 *	-if (inner->pages == 0 || outer->shift > inner->shift)
 *	+if (inner->pages == 0)
 *
 * variant 5: the mark of two ASIDs is one of them
 * patch queue.h
 *	-if ((mark >> 16 ^ asid) == FLUSHQ_ASID_MAX)
 *	+if ((mark >> 16 | asid) == FLUSHQ_ASID_MAX)
 *
 * variant 6: a kernel range covers a user's
 * patch range.h
 *	-if (outer->kind == FLUSHQ_GLOBAL && inner->kind != FLUSHQ_GLOBAL)
 *	+if (0)
 */
#include "input.h"

typedef unsigned __int128 wide;

static ORACLE bool same(const struct flushq_range *a, const struct flushq_range *b)
{
	return a->start == b->start && a->pages == b->pages && a->asid == b->asid &&
	       a->shift == b->shift && a->kind == b->kind;
}

static ORACLE bool is_normal(const struct flushq_range *r)
{
	if (r->kind > FLUSHQ_GLOBAL || (r->kind == FLUSHQ_GLOBAL && r->asid))
		return false;
	if (r->pages == 0)
		return r->start == 0 && r->shift == FLUSHQ_PAGE_SHIFT;
	return r->shift >= FLUSHQ_PAGE_SHIFT && r->shift < FLUSHQ_CPUSET_BITS &&
	       r->pages <= FLUSHQ_PAGES_MAX && r->start % (1ul << r->shift) == 0 &&
	       (wide)r->start + ((wide)r->pages << r->shift) - 1 <= ~0ul;
}

/* Whether one of `r`'s flush instructions is for `address`. */
static ORACLE bool names(const struct flushq_range *r, unsigned long address)
{
	unsigned long from_start = address - r->start, nth = from_start >> r->shift;

	return r->pages == 0 ||
	       (address >= r->start && nth << r->shift == from_start && nth < r->pages);
}

/* Whether every address that `inner` names is one that `outer` names. */
static ORACLE bool includes(const struct flushq_range *outer, const struct flushq_range *inner)
{
	unsigned int i;

	if (outer->pages == 0)
		return true;
	for (i = 0; i < inner->pages; i++)
		if (!names(outer, inner->start + ((unsigned long)i << inner->shift)))
			return false;
	return inner->pages != 0;
}

/* Whether flushing `outer` removes, by the table in arch.h, all that flushing `inner` does. */
static ORACLE bool removes(const struct flushq_range *outer, const struct flushq_range *inner)
{
	if (!includes(outer, inner))
		return false;
	/* User entries of one ASID, kernel entries, non-leaf entries of one or all. */
	if (outer->kind != FLUSHQ_GLOBAL && inner->kind == FLUSHQ_GLOBAL)
		return false;
	if (outer->kind != FLUSHQ_GLOBAL && outer->asid != inner->asid)
		return false;
	if (inner->kind == FLUSHQ_TABLES || inner->pages == 0)
		return outer->pages == 0 || outer->kind == FLUSHQ_TABLES;
	return true;
}

/* What flushq_range_make() promises, by other means. */
static void check_make(unsigned long asid, unsigned long start, unsigned long size,
		       unsigned long stride, unsigned int kind)
{
	struct flushq_range r =
		flushq_range_make((flushq_asid)asid, start, size, stride, (enum flushq_kind)kind);
	wide end = (wide)start + size, page;
	bool odd = asid > FLUSHQ_ASID_MAX || kind > FLUSHQ_GLOBAL, whole;

	if (stride < PAGE || __builtin_popcountl(stride) != 1)
		stride = PAGE;
	page = start / stride;
	whole = odd || size == 0 || size == ~0ul || end - 1 > ~0ul ||
		(end - 1) / stride - page + 1 > FLUSHQ_PAGES_MAX;
	CHECK(is_normal(&r));
	CHECK(r.kind == (odd ? (unsigned int)FLUSHQ_GLOBAL : kind));
	CHECK(r.kind == FLUSHQ_GLOBAL || r.asid == asid);
	CHECK((r.pages == 0) == whole);
	if (!whole) {
		CHECK(1ul << r.shift == stride && r.start == page * stride);
		CHECK(r.pages == (end - 1) / stride - page + 1);
	}
	CHECK(flushq_range_cost(&r) == (whole ? 1 : r.pages));
}

static void check_pair(const struct flushq_range *a, const struct flushq_range *b)
{
	struct flushq_range merged = *a, back;
	bool covers = flushq_range_covers(a, b), alike, did;
	uint32_t mark;

	CHECK(flushq_range_covers(a, a));
	CHECK(!covers || removes(a, b));
	/* It need not find all there is, but these. */
	alike = a->asid == b->asid && a->kind == b->kind;
	if (alike && a->shift == b->shift && includes(a, b))
		CHECK(covers);

	did = flushq_range_merge(&merged, b);
	CHECK(is_normal(&merged));
	if (!did) {
		CHECK(same(&merged, a));
		CHECK(!covers && !flushq_range_covers(b, a));
	} else {
		CHECK(removes(&merged, a) && removes(&merged, b));
		/* And no page more, unless it is all of them. */
		if (merged.pages)
			CHECK(covers || flushq_range_covers(b, a) ||
			      (wide)merged.pages <= (wide)a->pages + b->pages);
		else if (a->pages && b->pages)
			CHECK((wide)a->pages + b->pages > FLUSHQ_PAGES_MAX);
	}
	/* Runs of one kind that touch become one. */
	if (alike && a->shift == b->shift && a->pages && b->pages &&
	    (wide)a->start + ((wide)a->pages << a->shift) >= b->start &&
	    (wide)b->start + ((wide)b->pages << b->shift) >= a->start)
		CHECK(did);

	back = flushq_priv_unpack(flushq_priv_key(a), flushq_priv_value(a));
	CHECK(same(&back, a));

	mark = flushq_mark_of(a);
	back = flushq_mark_range(mark);
	CHECK(mark && is_normal(&back) && flushq_range_covers(&back, a) && removes(&back, a));
	CHECK(a->kind == FLUSHQ_GLOBAL || (back.kind == FLUSHQ_TABLES && back.asid == a->asid));
	back = flushq_mark_range(mark | flushq_mark_of(b));
	CHECK(is_normal(&back) && removes(&back, a) && removes(&back, b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct flushq_range all = { 0 }, r, before;
	unsigned int how = input_byte(&in);
	unsigned long start, bytes, asid;
	bool first = true;

	asid = how & 1 ? how >> 1 : how & 2 ? FLUSHQ_ASID_MAX + (how >> 2) - 8 : ~0u - (how >> 2);
	start = input_hostile(&in);
	bytes = input_hostile(&in);
	check_make(asid & ~0u, start, bytes, input_hostile(&in), input_byte(&in) % 8);

	/* A drain's run: what follows is merged into it as long as that goes. */
	while (in.left) {
		r = input_range(&in);
		CHECK(is_normal(&r));
		before = all;
		if (first)
			all = r;
		else {
			check_pair(&all, &r);
			check_pair(&r, &all);
			if (flushq_range_merge(&all, &r))
				CHECK(removes(&all, &before));
			else
				all = r;
		}
		first = false;
	}
	r = flushq_mark_range((uint32_t)bytes);
	CHECK(is_normal(&r) && r.pages == 0);
	return 0;
}
