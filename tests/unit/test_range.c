/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#define PAGE (1ul << FLUSHQ_PAGE_SHIFT)
#define TOP (~0ul)
#define LONG_BITS (8 * (unsigned int)sizeof(long))

static bool normal(const struct flushq_range *range)
{
	unsigned long bytes;

	if (range->kind > FLUSHQ_GLOBAL || (range->kind == FLUSHQ_GLOBAL && range->asid != 0))
		return false;
	if (range->pages == 0)
		return range->start == 0 && range->shift == FLUSHQ_PAGE_SHIFT;
	if (range->pages > FLUSHQ_PAGES_MAX || range->shift < FLUSHQ_PAGE_SHIFT ||
	    range->shift >= LONG_BITS || (range->start & ((1ul << range->shift) - 1)))
		return false;
	/* The pages behind the first fit between its end and the top. */
	bytes = TOP - range->start - ((1ul << range->shift) - 1);
	return range->pages - 1 <= bytes >> range->shift;
}

/* The model: whether a flush of `range` touches the translation of `address` in `asid`. */
static bool touches(const struct flushq_range *range, uint32_t asid, unsigned long address,
		    bool global)
{
	unsigned long page;

	if (range->kind == FLUSHQ_GLOBAL ? false : (global || range->asid != asid))
		return false;
	if (range->pages == 0)
		return true;
	if (address < range->start)
		return false;
	page = (address - range->start) >> range->shift;
	return page < range->pages && address == range->start + (page << range->shift);
}

static bool whole(const struct flushq_range *range)
{
	return range->pages == 0;
}

/* An address with edges well represented. */
static unsigned long any_address(void)
{
	unsigned long a = (unsigned long)check_random();

	switch (check_below(8)) {
	case 0:
		return check_below(3);
	case 1:
		return TOP - check_below(3);
	case 2:
		return TOP - check_below(16) * PAGE;
	case 3:
		return a & ~(PAGE - 1);
	case 4:
		return check_below(64) * PAGE;
	case 5:
		return 1ul << check_below(LONG_BITS);
	case 6:
		return (1ul << check_below(LONG_BITS)) - 1 + check_below(3);
	default:
		return a;
	}
}

static unsigned long any_stride(void)
{
	switch (check_below(5)) {
	case 0:
		return any_address();
	case 1:
		return PAGE;
	case 2:
		return 3 * PAGE;
	default:
		return 1ul << check_below(LONG_BITS);
	}
}

static struct flushq_range any_range(void)
{
	flushq_asid asid = check_below(3);
	enum flushq_kind kind = (enum flushq_kind)check_below(3);
	unsigned long stride = PAGE << check_below(3);

	switch (check_below(4)) {
	case 0: /* anything at all */
		return flushq_range_make(asid, any_address(), any_address(), any_stride(), kind);
	case 1: /* at the top */
		return flushq_range_make(asid, TOP - check_below(20) * PAGE,
					 (unsigned long)check_below(20) * PAGE, stride, kind);
	default: /* dense */
		return flushq_range_make(asid, (unsigned long)check_below(24) * PAGE,
					 (unsigned long)(1 + check_below(12)) * PAGE, stride, kind);
	}
}

TEST(range, make_is_total_and_normal)
{
	unsigned int i;

	for (i = 0; i < 300000; i++) {
		flushq_asid asid = check_below(4) ? (flushq_asid)check_random() % 0x10000
						  : (flushq_asid)check_random();
		unsigned long start = any_address(), size = any_address(), stride = any_stride();
		enum flushq_kind kind = (enum flushq_kind)check_below(5);
		struct flushq_range r = flushq_range_make(asid, start, size, stride, kind);
		unsigned long last = start + (size - 1), step = PAGE;

		CHECK(normal(&r));
		if (asid > FLUSHQ_ASID_MAX || (unsigned int)kind > FLUSHQ_GLOBAL) {
			CHECK(r.kind == FLUSHQ_GLOBAL);
			continue;
		}
		CHECK(r.kind == kind && r.asid == (kind == FLUSHQ_GLOBAL ? 0 : asid));
		if (stride >= PAGE && (stride & (stride - 1)) == 0)
			step = stride;
		if (size == 0 || size == TOP || last < start ||
		    last / step - start / step >= FLUSHQ_PAGES_MAX) {
			CHECK(whole(&r));
			continue;
		}
		/* The first page is that of the first byte, the last that of the last, and no more. */
		CHECK(!whole(&r));
		CHECK(1ul << r.shift == step);
		CHECK(touches(&r, r.asid, start / step * step, false));
		CHECK(touches(&r, r.asid, last / step * step, false));
		CHECK(r.pages == last / step - start / step + 1);
	}
}

TEST(range, make_hostile)
{
	static const unsigned long sizes[] = { 0, TOP };
	static const unsigned long starts[] = { 0, 1, PAGE, TOP, TOP - PAGE + 1, TOP / 2 + 1 };
	struct flushq_range r;
	unsigned int i, j;

	/* B12, B22: both spellings of "all", from everywhere. */
	for (i = 0; i < 2; i++)
		for (j = 0; j < 6; j++) {
			r = flushq_range_make(7, starts[j], sizes[i], PAGE, FLUSHQ_LEAF);
			CHECK(whole(&r) && r.asid == 7 && normal(&r));
		}
	/* B22: the top page is a page. */
	r = flushq_range_make(7, TOP - PAGE + 1, PAGE, PAGE, FLUSHQ_LEAF);
	CHECK(r.pages == 1 && r.start == TOP - PAGE + 1);
	r = flushq_range_make(7, TOP, 1, PAGE, FLUSHQ_LEAF);
	CHECK(r.pages == 1 && r.start == TOP - PAGE + 1);
	/* Past the top. */
	r = flushq_range_make(7, TOP, 2, PAGE, FLUSHQ_LEAF);
	CHECK(whole(&r) && r.asid == 7);
	r = flushq_range_make(7, TOP - PAGE + 1, PAGE + 1, PAGE, FLUSHQ_LEAF);
	CHECK(whole(&r) && r.asid == 7);
	/* The largest stride: the machine has two such pages. */
	r = flushq_range_make(7, TOP, 1, 1ul << (LONG_BITS - 1), FLUSHQ_LEAF);
	CHECK(r.pages == 1 && r.start == 1ul << (LONG_BITS - 1) && r.shift == LONG_BITS - 1);
	r = flushq_range_make(7, 1, TOP - 1, 1ul << (LONG_BITS - 1), FLUSHQ_LEAF);
	CHECK(normal(&r) && (FLUSHQ_PAGES_MAX < 2 || r.pages == 2));
	/* A stride that is none. */
	r = flushq_range_make(7, 0, PAGE, 0, FLUSHQ_LEAF);
	CHECK(r.pages == 1 && r.shift == FLUSHQ_PAGE_SHIFT);
	r = flushq_range_make(7, 0, PAGE, PAGE / 2, FLUSHQ_LEAF);
	CHECK(r.pages == 1 && r.shift == FLUSHQ_PAGE_SHIFT);
	r = flushq_range_make(7, 0, PAGE, 3 * PAGE, FLUSHQ_LEAF);
	CHECK(r.pages == 1 && r.shift == FLUSHQ_PAGE_SHIFT);
	/* Unaligned ends take the pages they lie in. */
	if (FLUSHQ_PAGES_MAX >= 2) {
		r = flushq_range_make(7, PAGE - 1, 2, PAGE, FLUSHQ_LEAF);
		CHECK(r.pages == 2 && r.start == 0);
	}
	/* B16: an ASID or a kind that there is not flushes everything. */
	r = flushq_range_make(0x10000, 0, PAGE, PAGE, FLUSHQ_LEAF);
	CHECK(r.kind == FLUSHQ_GLOBAL && r.asid == 0);
	r = flushq_range_whole(0x10007, FLUSHQ_TABLES);
	CHECK(r.kind == FLUSHQ_GLOBAL && whole(&r));
	r = flushq_range_whole(7, (enum flushq_kind)3);
	CHECK(r.kind == FLUSHQ_GLOBAL && whole(&r));
	r = flushq_range_whole(7, (enum flushq_kind) - 1);
	CHECK(r.kind == FLUSHQ_GLOBAL && whole(&r));
	r = flushq_range_whole(FLUSHQ_ASID_MAX, FLUSHQ_LEAF);
	CHECK(r.kind == FLUSHQ_LEAF && r.asid == 0xffff);
}

/* B16: whose tables they were is not known, so every ASID's non-leaf entries must go. */
TEST(range, out_of_range_asid_keeps_the_kind)
{
	struct flushq_range any = flushq_range_make(0x10000, PAGE, PAGE, PAGE, FLUSHQ_TABLES);
	struct flushq_range some = flushq_range_make(5, PAGE, PAGE, PAGE, FLUSHQ_TABLES);

	CHECK(any.kind == FLUSHQ_GLOBAL);
	CHECK(flushq_range_covers(&any, &some));
	any = flushq_range_make(5, PAGE, PAGE, PAGE, (enum flushq_kind)3);
	CHECK(flushq_range_covers(&any, &some));
}

TEST(range, threshold)
{
	struct flushq_range r;

	r = flushq_range_make(7, PAGE, (unsigned long)FLUSHQ_PAGES_MAX * PAGE, PAGE, FLUSHQ_LEAF);
	CHECK(r.pages == FLUSHQ_PAGES_MAX && flushq_range_cost(&r) == FLUSHQ_PAGES_MAX);
	r = flushq_range_make(7, PAGE, (unsigned long)FLUSHQ_PAGES_MAX * PAGE + 1, PAGE,
			      FLUSHQ_LEAF);
	CHECK(whole(&r) && flushq_range_cost(&r) == 1);
	r = flushq_range_make(7, PAGE - 1, (unsigned long)FLUSHQ_PAGES_MAX * PAGE, PAGE,
			      FLUSHQ_LEAF);
	CHECK(whole(&r));
}

TEST(range, make_is_idempotent)
{
	unsigned int i;

	for (i = 0; i < 200000; i++) {
		struct flushq_range r = any_range(), again;

		again = flushq_range_make(r.asid, r.start, (unsigned long)r.pages << r.shift,
					  1ul << r.shift, (enum flushq_kind)r.kind);
		/* As bytes, all of the address space is 0, which is "all": larger. */
		if (r.pages && (unsigned long)r.pages << r.shift == 0)
			CHECK(whole(&again));
		else
			CHECK(fake_same(&r, &again));
	}
}

TEST(range, pack_round_trip)
{
	unsigned int i;

	for (i = 0; i < 200000; i++) {
		struct flushq_range r = any_range();
		struct flushq_range back =
			flushq_priv_unpack(flushq_priv_key(&r), flushq_priv_value(&r));

		CHECK(fake_same(&r, &back));
	}
}

/* Every translation that `inner` asks for, `outer` touches. */
static bool superset(const struct flushq_range *outer, const struct flushq_range *inner)
{
	unsigned int i, global;

	for (global = 0; global <= (inner->kind == FLUSHQ_GLOBAL); global++) {
		if (inner->kind == FLUSHQ_GLOBAL && outer->kind != FLUSHQ_GLOBAL)
			return false;
		if (inner->pages == 0) {
			if (outer->pages != 0)
				return false;
			if (!touches(outer, inner->asid, 0, global))
				return false;
		}
		for (i = 0; i < inner->pages; i++)
			if (!touches(outer, inner->asid,
				     inner->start + ((unsigned long)i << inner->shift), global))
				return false;
	}
	/* Non-leaf entries. */
	if (inner->kind == FLUSHQ_TABLES && outer->kind == FLUSHQ_LEAF)
		return false;
	return true;
}

TEST(range, covers_is_sound)
{
	unsigned int i, yes = 0;

	for (i = 0; i < 1000000; i++) {
		struct flushq_range a = any_range(), b = any_range();

		if (flushq_range_covers(&a, &b)) {
			CHECK(superset(&a, &b));
			/* A kernel range of pages leaves the non-leaf entries. */
			if (a.kind == FLUSHQ_GLOBAL && a.pages)
				CHECK(b.kind == FLUSHQ_GLOBAL);
			yes++;
		}
		CHECK(flushq_range_covers(&a, &a));
	}
	CHECK(yes > 1000);
}

TEST(range, covers_what_it_should)
{
	struct flushq_range all = flushq_range_whole(0, FLUSHQ_GLOBAL);
	struct flushq_range asid_leaf = flushq_range_whole(7, FLUSHQ_LEAF);
	struct flushq_range asid_tables = flushq_range_whole(7, FLUSHQ_TABLES);
	struct flushq_range page = fake_page(7, 3);
	struct flushq_range tables = page, kernel = page, huge, r;

	tables.kind = FLUSHQ_TABLES;
	kernel.kind = FLUSHQ_GLOBAL;
	kernel.asid = 0;
	CHECK(flushq_range_covers(&all, &asid_tables) && flushq_range_covers(&all, &kernel));
	CHECK(flushq_range_covers(&all, &page) && flushq_range_covers(&all, &all));
	CHECK(flushq_range_covers(&asid_tables, &asid_leaf));
	CHECK(!flushq_range_covers(&asid_leaf, &asid_tables));
	CHECK(flushq_range_covers(&asid_leaf, &page) && !flushq_range_covers(&asid_leaf, &tables));
	CHECK(flushq_range_covers(&tables, &page) && !flushq_range_covers(&page, &tables));
	CHECK(!flushq_range_covers(&asid_tables, &kernel));
	r = fake_page(0, 3);
	CHECK(!flushq_range_covers(&kernel, &r));
	r = fake_page(8, 3);
	CHECK(!flushq_range_covers(&asid_tables, &r) && !flushq_range_covers(&page, &r));
	/* One address of a huge page hits it; one of a huge page does not hit each small one. */
	huge = flushq_range_make(7, 0, 4 * PAGE, 4 * PAGE, FLUSHQ_LEAF);
	r = fake_page(7, 0);
	CHECK(huge.pages == 1 && !flushq_range_covers(&huge, &r));
	if (FLUSHQ_PAGES_MAX >= 4) {
		r = flushq_range_make(7, 0, 4 * PAGE, PAGE, FLUSHQ_LEAF);
		CHECK(flushq_range_covers(&r, &huge));
	}
	/* The top page, where an end would wrap. */
	r = flushq_range_make(7, TOP, 1, PAGE, FLUSHQ_LEAF);
	CHECK(flushq_range_covers(&r, &r) && !flushq_range_covers(&r, &page) &&
	      !flushq_range_covers(&page, &r));
}

TEST(range, merge_is_sound)
{
	unsigned int i, merged = 0, changed = 0;

	for (i = 0; i < 1000000; i++) {
		struct flushq_range a = any_range(), b = any_range(), into = a;

		if (!flushq_range_merge(&into, &b)) {
			CHECK(fake_same(&into, &a));
			continue;
		}
		merged++;
		changed += !fake_same(&into, &a);
		CHECK(normal(&into));
		CHECK(superset(&into, &a) && superset(&into, &b));
		CHECK(flushq_range_covers(&into, &a) && flushq_range_covers(&into, &b));
		/* No more than the two, unless it became the whole. */
		if (into.pages) {
			unsigned int p;

			for (p = 0; p < into.pages; p++) {
				unsigned long at = into.start + ((unsigned long)p << into.shift);

				CHECK(touches(&a, into.asid, at, false) ||
				      touches(&b, into.asid, at, false));
			}
		}
		/* Merging what is in there already changes nothing, but that all of the address
		 * space may become the whole ASID. */
		a = into;
		CHECK(flushq_range_merge(&into, &b));
		CHECK(fake_same(&into, &a) ||
		      (into.pages == 0 && (unsigned long)a.pages << a.shift == 0));
	}
	CHECK(merged > 1000 && changed > 100);
}

TEST(range, merge_is_symmetric)
{
	unsigned int i;

	for (i = 0; i < 300000; i++) {
		struct flushq_range a = any_range(), b = any_range(), ab = a, ba = b;
		bool one = flushq_range_merge(&ab, &b), other = flushq_range_merge(&ba, &a);

		CHECK(one == other);
		if (one)
			CHECK(flushq_range_covers(&ab, &ba) && flushq_range_covers(&ba, &ab));
	}
}

/* Against a bitmap: a random walk of merges over 256 pages. */
TEST(range, merge_against_a_bitmap)
{
	unsigned int round, i;

	for (round = 0; round < 2000; round++) {
		static bool bitmap[512];
		struct flushq_range run = fake_page(7, check_below(200));

		for (i = 0; i < 512; i++)
			bitmap[i] = i == run.start / PAGE;
		for (i = 0; i < 40; i++) {
			unsigned long at = check_below(200), n = 1 + check_below(8), p;
			struct flushq_range r =
				flushq_range_make(7, at * PAGE, n * PAGE, PAGE, FLUSHQ_LEAF);
			bool touch = false;

			for (p = at; p < at + n; p++)
				touch |= bitmap[p];
			touch |= (at > 0 && bitmap[at - 1]) || bitmap[at + n];
			/* Runs that touch merge; others do not. */
			if (!whole(&run) && !whole(&r))
				CHECK(flushq_range_merge(&run, &r) == touch);
			else
				CHECK(flushq_range_merge(&run, &r));
			if (touch || whole(&r))
				for (p = at; p < at + n; p++)
					bitmap[p] = true;
			if (whole(&run))
				break;
			for (p = 0; p < 512; p++)
				CHECK(touches(&run, 7, p * PAGE, false) == bitmap[p]);
		}
	}
}

TEST(range, merge_edges)
{
	struct flushq_range top = flushq_range_make(7, TOP, 1, PAGE, FLUSHQ_LEAF);
	struct flushq_range bottom = fake_page(7, 0), a, b;

	/* The top and the bottom do not touch: nothing wraps. */
	a = top;
	CHECK(!flushq_range_merge(&a, &bottom));
	a = bottom;
	CHECK(!flushq_range_merge(&a, &top));
	/* Two halves of the address space. */
	a = flushq_range_make(7, 0, 1, 1ul << (LONG_BITS - 1), FLUSHQ_LEAF);
	b = flushq_range_make(7, TOP, 1, 1ul << (LONG_BITS - 1), FLUSHQ_LEAF);
	CHECK(flushq_range_merge(&a, &b));
	CHECK(flushq_range_covers(&a, &b) && normal(&a));
	/* The last two pages. */
	if (FLUSHQ_PAGES_MAX >= 2) {
		a = flushq_range_make(7, TOP - PAGE, 1, PAGE, FLUSHQ_LEAF);
		CHECK(flushq_range_merge(&a, &top));
		CHECK(a.pages == 2 && a.start == TOP - 2 * PAGE + 1);
	}
	/* Past the threshold: the whole ASID. */
	a = flushq_range_make(7, 0, (unsigned long)FLUSHQ_PAGES_MAX * PAGE, PAGE, FLUSHQ_LEAF);
	b = fake_page(7, FLUSHQ_PAGES_MAX);
	CHECK(flushq_range_merge(&a, &b));
	CHECK(whole(&a) && a.asid == 7 && a.kind == FLUSHQ_LEAF);
	/* B22: "all" is not lost in what it swallows. */
	a = fake_page(7, 0);
	b = flushq_range_make(7, 0, 0, PAGE, FLUSHQ_LEAF);
	CHECK(flushq_range_merge(&a, &b) && whole(&a));
}
