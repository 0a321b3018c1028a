/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "flushq/resident.h"

#include <string.h>

#define PAGE (1ul << FLUSHQ_PAGE_SHIFT)
#define SETS 4

static struct flushq_resident res;
static flushq_atomic_ulong sets[SETS];

static void clear(void)
{
	memset(&res, 0, sizeof(res));
}

static struct flushq_range pages(flushq_asid asid, unsigned long first, unsigned long n)
{
	return flushq_range_make(asid, first * PAGE, n * PAGE, PAGE, FLUSHQ_LEAF);
}

static bool owe(flushq_asid asid, unsigned long first, unsigned long n)
{
	struct flushq_range r = pages(asid, first, n);

	return flushq_resident_owe(&res, &r);
}

TEST(resident, empty)
{
	struct flushq_range r;

	clear();
	CHECK(flushq_resident_count(&res) == 0);
	CHECK(flushq_resident_of(&res, 0) == 0);
	CHECK(flushq_resident_find(&res, 0, NULL) == FLUSHQ_NOWHERE);
	CHECK(flushq_resident_oldest(&res) == FLUSHQ_NOWHERE);
	CHECK(!flushq_resident_settle(&res, 0, &r));
}

TEST(resident, add_and_find)
{
	unsigned int i, j;

	clear();
	for (i = 0; i < FLUSHQ_RESIDENT; i++) {
		/* One ASID for all sets, then the next. */
		flushq_asid asid = 0xffff - i / SETS;
		unsigned int at = flushq_resident_add(&res, asid, &sets[i % SETS]);

		CHECK(at < FLUSHQ_RESIDENT && flushq_resident_count(&res) == i + 1);
		CHECK(flushq_resident_find(&res, asid, &sets[i % SETS]) == at);
		CHECK(flushq_resident_find(&res, asid, NULL) == FLUSHQ_NOWHERE);
		CHECK(flushq_resident_find(&res, 1, &sets[i % SETS]) == FLUSHQ_NOWHERE);
	}
	for (i = 0; i < FLUSHQ_RESIDENT; i++) {
		uint32_t of = flushq_resident_of(&res, res.entry[i].asid);

		CHECK(of >> i & 1);
		for (j = 0; j < FLUSHQ_RESIDENT; j++)
			CHECK((of >> j & 1) == (res.entry[j].asid == res.entry[i].asid));
	}
	CHECK(flushq_resident_of(&res, 1) == 0);
	CHECK(flushq_resident_add(&res, 1, NULL) == FLUSHQ_NOWHERE);
	/* A gap is filled; what was there is not found. */
	res.used &= ~(uint32_t)2;
	CHECK(flushq_resident_find(&res, res.entry[1].asid, res.entry[1].set) == FLUSHQ_NOWHERE);
	CHECK(!(flushq_resident_of(&res, res.entry[1].asid) & 2));
	CHECK(flushq_resident_count(&res) == FLUSHQ_RESIDENT - 1);
	CHECK(flushq_resident_add(&res, 1, NULL) == 1);
	CHECK(flushq_resident_find(&res, 1, NULL) == 1);
}

TEST(resident, add_and_look)
{
	const flushq_asid asid = 5 * FLUSHQ_RESIDENT + 2;
	unsigned int place = flushq_resident_place(asid), at;

	clear();
	CHECK(place < FLUSHQ_RESIDENT && !flushq_resident_is(&res, place, asid, &sets[0]));
	/* Where it is looked for, while there is room; then elsewhere, also behind the last one. */
	CHECK(flushq_resident_add(&res, asid, &sets[0]) == place);
	CHECK(flushq_resident_is(&res, place, asid, &sets[0]));
	CHECK(!flushq_resident_is(&res, place, asid, &sets[1]));
	CHECK(!flushq_resident_is(&res, place, asid + FLUSHQ_RESIDENT, &sets[0]));
	at = flushq_resident_add(&res, asid + FLUSHQ_RESIDENT, &sets[0]);
	CHECK(flushq_resident_place(asid + FLUSHQ_RESIDENT) == place && at != place);
	CHECK(flushq_resident_find(&res, asid + FLUSHQ_RESIDENT, &sets[0]) == at);
	res.used &= ~((uint32_t)1 << place);
	CHECK(!flushq_resident_is(&res, place, asid, &sets[0]));
}

TEST(resident, shares)
{
	unsigned int a, b, c;

	clear();
	a = flushq_resident_add(&res, 5, &sets[0]);
	b = flushq_resident_add(&res, 5, &sets[1]);
	CHECK(!flushq_resident_shares(&res, a) && !flushq_resident_shares(&res, b));
	c = flushq_resident_add(&res, 6, &sets[0]);
	CHECK(flushq_resident_shares(&res, a) && flushq_resident_shares(&res, c));
	CHECK(!flushq_resident_shares(&res, b));
	res.used &= ~((uint32_t)1 << a);
	CHECK(!flushq_resident_shares(&res, c));
}

TEST(resident, oldest)
{
	static const uint32_t starts[] = { 0, 1000, ~0u - 3, ~0u, 0x7ffffffe };
	unsigned int s, i;

	for (s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
		clear();
		res.clock = starts[s];
		for (i = 0; i < FLUSHQ_RESIDENT; i++)
			CHECK(flushq_resident_add(&res, i, NULL) == i);
		/* The last one ran first; the clock may wrap between. */
		for (i = FLUSHQ_RESIDENT; i-- > 0;)
			res.entry[i].ran = ++res.clock;
		res.clock += 1000;
		for (i = FLUSHQ_RESIDENT; i-- > 0;) {
			CHECK(flushq_resident_oldest(&res) == i);
			if (i % 2)
				res.loaded |= (uint32_t)1 << i;
			else
				res.used &= ~((uint32_t)1 << i);
		}
		CHECK(flushq_resident_oldest(&res) == FLUSHQ_NOWHERE);
		CHECK(flushq_resident_count(&res) == FLUSHQ_RESIDENT / 2);
	}
}

TEST(resident, owe_and_settle)
{
	struct flushq_range r, want = pages(5, 3, 1);

	clear();
	CHECK(owe(5, 3, 1) && res.nr_owed == 1);
	/* Others have none. */
	CHECK(!flushq_resident_settle(&res, 4, &r) && res.nr_owed == 1);
	CHECK(flushq_resident_settle(&res, 5, &r) && res.nr_owed == 0);
	CHECK(memcmp(&r, &want, sizeof(r)) == 0);
	CHECK(!flushq_resident_settle(&res, 5, &r));
}

TEST(resident, owe_merges)
{
	struct flushq_range r, want = pages(5, 3, 1);

	clear();
	CHECK(owe(5, 3, 1) && owe(5, 3, 1) && res.nr_owed == 1);
	if (FLUSHQ_PAGES_MAX < 3)
		return;
	/* Above, below; then what is covered. */
	CHECK(owe(5, 4, 1) && owe(5, 2, 1) && owe(5, 3, 2) && res.nr_owed == 1);
	want = pages(5, 2, 3);
	CHECK(memcmp(&res.owed[0], &want, sizeof(want)) == 0);
	/* Another kind covers it, and then stays that. */
	r = want;
	r.kind = FLUSHQ_TABLES;
	CHECK(flushq_resident_owe(&res, &r) && flushq_resident_owe(&res, &want));
	CHECK(res.nr_owed == 1 && memcmp(&res.owed[0], &r, sizeof(r)) == 0);
	/* What can't be merged takes room of its own. */
	if (FLUSHQ_OWED > 1 && FLUSHQ_PAGES_MAX > 3) {
		CHECK(owe(5, 9, 1) && res.nr_owed == 2);
		CHECK(flushq_resident_settle(&res, 5, &r) && flushq_resident_settle(&res, 5, &r));
		CHECK(res.nr_owed == 0);
	}
}

/* Pages that are counted once though they come twice do not use the budget up. */
TEST(resident, merging_costs_what_it_adds)
{
	unsigned int i;

	clear();
	for (i = 0; i < 3 * FLUSHQ_PAGES_MAX; i++)
		CHECK(owe(5, i % FLUSHQ_PAGES_MAX, 1));
	CHECK(res.nr_owed == 1 && res.owed[0].pages == FLUSHQ_PAGES_MAX);
	/* One more page is one too many, wherever. */
	CHECK(!owe(5, FLUSHQ_PAGES_MAX, 1));
	clear();
	CHECK(owe(5, 0, FLUSHQ_PAGES_MAX));
	CHECK(!owe(5, 2 * FLUSHQ_PAGES_MAX + 1, 1));
}

TEST(resident, page_budget_of_an_asid)
{
	struct flushq_range r;
	unsigned int i;

	if (FLUSHQ_OWED < 3)
		return;
	clear();
	/* Pages that do not touch: each takes room. */
	for (i = 0; i < FLUSHQ_PAGES_MAX && i < FLUSHQ_OWED - 1; i++)
		CHECK(owe(5, 2 * i, 1) && res.nr_owed == i + 1);
	if (i == FLUSHQ_PAGES_MAX)
		CHECK(!owe(5, 2 * i, 1));
	/* Another ASID has its own. */
	CHECK(owe(6, 0, 1));
	CHECK(flushq_resident_settle(&res, 6, &r) && r.asid == 6 && res.nr_owed == i);
	while (i-- > 0)
		CHECK(flushq_resident_settle(&res, 5, &r) && r.asid == 5);
	CHECK(res.nr_owed == 0 && owe(5, 0, FLUSHQ_PAGES_MAX));
}

TEST(resident, no_room)
{
	unsigned int i;

	clear();
	for (i = 0; i < FLUSHQ_OWED; i++)
		CHECK(owe(i, 0, 1));
	CHECK(!owe(FLUSHQ_OWED, 0, 1) && res.nr_owed == FLUSHQ_OWED);
	/* Those who have room keep it, and grow where they are. */
	CHECK(owe(0, 0, 1));
	if (FLUSHQ_PAGES_MAX > 1)
		CHECK(owe(0, 1, 1) && owe(FLUSHQ_OWED - 1, 1, 1));
	CHECK(!owe(0, 3, 1));
	CHECK(res.nr_owed == FLUSHQ_OWED);
}

TEST(resident, whole_is_never_kept)
{
	struct flushq_range whole = flushq_range_whole(5, FLUSHQ_LEAF);

	clear();
	CHECK(!flushq_resident_owe(&res, &whole) && res.nr_owed == 0);
	CHECK(owe(5, 3, 1));
	CHECK(!flushq_resident_owe(&res, &whole));
}

/*
 * Random, against what is owed as a set of pages for each ASID: all that was accepted is covered by
 * what is settled; nothing of an ASID that owes nothing; in the normal form; within the budget.
 */
#define ASIDS 4
#define SPAN 200

static bool due[ASIDS][SPAN];

static void settle_all(flushq_asid asid)
{
	struct flushq_range r;
	unsigned int p, n = 0, i;

	while (flushq_resident_settle(&res, asid, &r)) {
		CHECK(r.asid == asid && r.pages > 0 && r.pages <= FLUSHQ_PAGES_MAX);
		CHECK(r.kind <= FLUSHQ_TABLES && r.shift == FLUSHQ_PAGE_SHIFT);
		CHECK(r.start % PAGE == 0);
		n += r.pages;
		for (p = 0; p < r.pages; p++)
			due[asid][r.start / PAGE + p] = false;
	}
	CHECK(n <= FLUSHQ_PAGES_MAX);
	for (p = 0; p < SPAN; p++)
		CHECK(!due[asid][p]);
	for (i = 0; i < res.nr_owed; i++)
		CHECK(res.owed[i].asid != asid);
}

TEST(resident, random_debts)
{
	unsigned int round, kept = 0;

	clear();
	memset(due, 0, sizeof(due));
	for (round = 0; round < 200000; round++) {
		flushq_asid asid = check_below(ASIDS);
		unsigned int first = check_below(SPAN - 8), n = 1 + check_below(8), p;
		struct flushq_resident before = res;
		struct flushq_range r = pages(asid, first, n);

		if (check_below(16) == 0) {
			settle_all(asid);
			continue;
		}
		if (r.pages && check_below(4) == 0)
			r.kind = FLUSHQ_TABLES;
		CHECK(flushq_resident_count(&res) == 0 && res.nr_owed <= FLUSHQ_OWED);
		if (flushq_resident_owe(&res, &r)) {
			kept++;
			for (p = 0; p < n; p++)
				due[asid][first + p] = true;
		} else {
			/* The caller flushes all of it. */
			struct flushq_range one;

			while (flushq_resident_settle(&res, asid, &one))
				;
			memset(due[asid], 0, sizeof(due[asid]));
		}
		/* Others are as before, in whatever order. */
		for (p = 0; p < before.nr_owed; p++) {
			unsigned int i;

			if (before.owed[p].asid == asid)
				continue;
			for (i = 0; i < res.nr_owed; i++)
				if (memcmp(&res.owed[i], &before.owed[p], sizeof(r)) == 0)
					break;
			CHECK(i < res.nr_owed);
		}
	}
	CHECK(kept > 10000);
}
