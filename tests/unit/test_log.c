/* SPDX-License-Identifier: MIT */
#include "fake_host.h"
#include "flushq/log.h"

#include <string.h>

#define SLOTS FLUSHQ_LOG_SLOTS
/* Positions that the states can tell apart. */
#define PERIOD (2ul * FLUSHQ_PRIV_LOG_HALF)
/* As many as a test can write and still reach all that matters. */
#define AWAY (FLUSHQ_POSITION_BITS == 8 ? 2 * PERIOD + 9 : 5ul * SLOTS)
#define READERS 3

static struct flushq_log a_log;
static flushq_pos seen[READERS];

/* A log that was written up to `position`, known to all readers. */
static void start(unsigned long position)
{
	unsigned int i;

	memset(&a_log, 0, sizeof(a_log));
	a_log.tail = (flushq_pos)position;
	for (i = 1; position && i <= SLOTS; i++) {
		flushq_pos pos = (flushq_pos)(position - i);

		flushq_priv_log_at(&a_log, pos)->state =
			flushq_priv_log_state(pos, FLUSHQ_RING_PUBLISHED);
	}
	for (i = 0; i < READERS; i++) {
		CHECK(flushq_log_sync(&a_log, i) == (flushq_pos)position);
		seen[i] = (flushq_pos)position;
	}
}

/* As zeroed memory, just before the wrap, and in between; no turn in the next `n` positions. */
static unsigned long start_position(unsigned int round, unsigned int n)
{
	unsigned long at = round == 0 ? 0 : round == 1 ? 0ul - n - 1 : check_random();
	flushq_pos half = (flushq_pos)FLUSHQ_PRIV_LOG_HALF;

	while (at && (flushq_pos)(half - 1 - (flushq_pos)at % half) <= n)
		at -= n + 1;
	return at;
}

static void set_state(flushq_pos pos, enum flushq_ring_state state)
{
	flushq_priv_log_at(&a_log, pos)->state = flushq_priv_log_state(pos, state);
}

static int state_at(flushq_pos pos)
{
	return flushq_priv_log_seen(flushq_priv_log_at(&a_log, pos)->state, pos);
}

static bool append(unsigned long page)
{
	struct flushq_range range = fake_page(7, page);

	return flushq_log_append(&a_log, &range);
}

/* A replay of reader 0: how many ranges, or -1 where it was lapped; and the last page. */
static unsigned long last_page;

static int replay(void)
{
	struct flushq_log_reader reader = flushq_log_begin(seen[0]);
	struct flushq_range range;
	enum flushq_log_result result;
	int n = 0;

	while ((result = flushq_log_next(&a_log, 0, &reader, &range)) == FLUSHQ_LOG_RANGE) {
		CHECK(range.asid == 7 && range.pages == 1);
		last_page = range.start >> FLUSHQ_PAGE_SHIFT;
		n++;
	}
	if (result == FLUSHQ_LOG_LAPPED) {
		seen[0] = flushq_log_sync(&a_log, 0);
		return -1;
	}
	seen[0] = reader.seen;
	return n;
}

TEST(log, zeroed_is_empty)
{
	struct flushq_log_reader reader = flushq_log_begin(0);
	struct flushq_range range;

	memset(&a_log, 0, sizeof(a_log));
	/* Nobody has joined. */
	CHECK(!flushq_log_idle(&a_log, 0, 0));
	CHECK(flushq_log_next(&a_log, 0, &reader, &range) == FLUSHQ_LOG_LAPPED);
	CHECK(flushq_log_sync(&a_log, 0) == 0);
	CHECK(flushq_log_idle(&a_log, 0, 0) && !flushq_log_idle(&a_log, 1, 0));
	CHECK(flushq_log_next(&a_log, 0, &reader, &range) == FLUSHQ_LOG_DONE);
	CHECK(reader.seen == 0);
	CHECK(flushq_log_next(&a_log, 1, &reader, &range) == FLUSHQ_LOG_LAPPED);
	seen[0] = 0;
	CHECK(append(5) && replay() == 1 && last_page == 5);
}

TEST(log, last_cpu_joins)
{
	struct flushq_log before;

	start(0);
	CHECK(!flushq_log_idle(&a_log, FLUSHQ_NR_CPUS - 1, 0));
	CHECK(flushq_log_sync(&a_log, FLUSHQ_NR_CPUS - 1) == 0);
	CHECK(flushq_log_idle(&a_log, FLUSHQ_NR_CPUS - 1, 0));
	memcpy(&before, &a_log, sizeof(before));
	CHECK(flushq_log_sync(&a_log, FLUSHQ_NR_CPUS - 1) == 0 && replay() == 0);
	CHECK(memcmp(&before, &a_log, sizeof(before)) == 0);
}

TEST(log, ranges_survive)
{
	unsigned int round;

	start(0);
	for (round = 0; round < 20000; round++) {
		unsigned long base = check_random(), size = check_random() >> check_below(64);
		struct flushq_range range =
			flushq_range_make(check_below(0x10000), base, size,
					  1ul << (FLUSHQ_PAGE_SHIFT + check_below(10)),
					  check_below(2) ? FLUSHQ_LEAF : FLUSHQ_TABLES);
		struct flushq_log_reader reader;
		struct flushq_range got;

		CHECK(flushq_log_append(&a_log, &range));
		CHECK(!flushq_log_idle(&a_log, 0, seen[0]));
		reader = flushq_log_begin(seen[0]);
		if (!flushq_priv_log_member(&a_log, 0)) {
			/* A turn. */
			CHECK(flushq_log_next(&a_log, 0, &reader, &got) == FLUSHQ_LOG_LAPPED);
			seen[0] = flushq_log_sync(&a_log, 0);
		} else {
			CHECK(flushq_log_next(&a_log, 0, &reader, &got) == FLUSHQ_LOG_RANGE);
			CHECK(fake_same(&range, &got));
			CHECK(flushq_log_next(&a_log, 0, &reader, &got) == FLUSHQ_LOG_DONE);
			seen[0] = reader.seen;
		}
		CHECK(flushq_log_idle(&a_log, 0, seen[0]));
	}
}

/* Away for any number of changes, up to more than all that states can tell apart. */
TEST(log, away)
{
	unsigned long n, i, turns;
	unsigned int from;

	for (from = 0; from < (FLUSHQ_POSITION_BITS == 8 ? 2 * SLOTS + 70 : 3); from++)
		for (n = 0; n < AWAY; n += n < 3 * SLOTS ? 1 : 1 + check_below(SLOTS)) {
			start(from ? from : 0ul - PERIOD);
			turns = 0;
			for (i = 0; i < n; i++) {
				turns += flushq_priv_log_turn(a_log.tail);
				CHECK(append(i));
			}
			CHECK(flushq_log_idle(&a_log, 0, seen[0]) == (n == 0));
			if (turns || n > SLOTS) {
				CHECK(replay() == -1);
			} else {
				CHECK(replay() == (int)n);
				CHECK(n == 0 || last_page == n - 1);
			}
			CHECK(seen[0] == a_log.tail);
			CHECK(flushq_log_idle(&a_log, 0, seen[0]) && replay() == 0);
			CHECK(append(99) &&
			      (replay() == 1 || flushq_priv_log_turn((flushq_pos)(seen[0] - 1))));
		}
}

TEST(log, turns)
{
	unsigned long i, last = 0, n = 0;
	unsigned int cpu;

	if (FLUSHQ_POSITION_BITS >= 32) {
		CHECK(flushq_priv_log_turn((flushq_pos)0xffffffffu));
		CHECK(!flushq_priv_log_turn((flushq_pos)0));
		return;
	}
	start(0);
	CHECK(flushq_log_sync(&a_log, FLUSHQ_NR_CPUS - 1) == 0);
	for (i = 1; i <= 3ul * (unsigned long)2 * FLUSHQ_PRIV_LOG_HALF; i++) {
		CHECK(append(1));
		if (flushq_cpuset_has(a_log.readers, 0))
			continue;
		CHECK(i - last == FLUSHQ_PRIV_LOG_HALF);
		last = i;
		n++;
		for (cpu = 0; cpu < READERS; cpu++) {
			CHECK(!flushq_log_idle(&a_log, cpu, (flushq_pos)i));
			CHECK(flushq_log_sync(&a_log, cpu) == (flushq_pos)i);
		}
		CHECK(!flushq_log_idle(&a_log, FLUSHQ_NR_CPUS - 1, (flushq_pos)i));
		CHECK(flushq_log_sync(&a_log, FLUSHQ_NR_CPUS - 1) == (flushq_pos)i);
	}
	CHECK(n == 6);
}

/* A writer that has stalled a lap ago is in the way of all. */
TEST(log, blocked)
{
	unsigned int round, i;

	for (round = 0; round < 200; round++) {
		struct flushq_log before;
		flushq_pos at;

		start(start_position(round, 3 * SLOTS));
		at = seen[0];
		set_state(at, FLUSHQ_RING_CLAIMED);
		a_log.tail = (flushq_pos)(at + 1);
		for (i = 1; i < SLOTS; i++)
			CHECK(append(i));
		memcpy(&before, &a_log, sizeof(before));
		CHECK(!append(99) && !append(99));
		CHECK(memcmp(&before, &a_log, sizeof(before)) == 0);
		/* The reader goes past it, and comes back. */
		CHECK(replay() == (int)SLOTS - 1 && seen[0] == at);
		CHECK(replay() == (int)SLOTS - 1 && seen[0] == at);
		CHECK(!flushq_log_idle(&a_log, 0, seen[0]));
		set_state(at, FLUSHQ_RING_PUBLISHED);
		flushq_priv_log_at(&a_log, at)->key = 7u | (unsigned int)FLUSHQ_PAGE_SHIFT << 16;
		flushq_priv_log_at(&a_log, at)->value = 1;
		CHECK(replay() == (int)SLOTS && seen[0] == (flushq_pos)(at + SLOTS));
		CHECK(append(99) && replay() == 1 && last_page == 99);
	}
}

TEST(log, claimed_in_between)
{
	unsigned int hole, i;

	for (hole = 0; hole < SLOTS; hole++) {
		start(start_position(hole, 2 * SLOTS));
		for (i = 0; i < SLOTS; i++) {
			if (i == hole) {
				set_state(a_log.tail, FLUSHQ_RING_CLAIMED);
				a_log.tail++;
			} else {
				CHECK(append(i));
			}
		}
		CHECK(replay() == (int)SLOTS - 1);
		CHECK(seen[0] == (flushq_pos)(a_log.tail - SLOTS + hole));
	}
}

/* Where a reader goes on that flushes everything: at the oldest that is claimed and unpublished. */
TEST(log, sync)
{
	unsigned int i, j, round;

	for (round = 0; round < 3; round++)
		for (i = 0; i <= SLOTS; i++)
			for (j = 0; j <= SLOTS; j += SLOTS > 64 ? SLOTS / 8 : 1) {
				flushq_pos at;

				start(start_position(round + 1, SLOTS));
				at = seen[0];
				/* i and j behind the tail; 0 for none. */
				if (i)
					set_state((flushq_pos)(at - i), FLUSHQ_RING_CLAIMED);
				if (j)
					set_state((flushq_pos)(at - j), FLUSHQ_RING_CLAIMED);
				CHECK(flushq_log_sync(&a_log, 0) ==
				      (flushq_pos)(at - (i > j ? i : j)));
				/* Suspect ones are in the queues, later ones were published. */
				start(at);
				if (i)
					set_state((flushq_pos)(at - i), FLUSHQ_RING_SUSPECT);
				if (j)
					set_state((flushq_pos)(at - j + SLOTS),
						  FLUSHQ_RING_CLAIMED);
				CHECK(flushq_log_sync(&a_log, 0) == at);
			}
}

/* The hint may be anything: what was promised is found. */
TEST(log, any_hint)
{
	unsigned int hints = FLUSHQ_POSITION_BITS == 8 ? 256 : 3 * SLOTS + 300, hint, filled;

	for (filled = 0; filled <= SLOTS; filled += SLOTS > 8 ? 7 : 1)
		for (hint = 0; hint < hints; hint++) {
			flushq_pos at;
			unsigned int i, more;

			start(start_position(1, 3 * SLOTS));
			at = seen[0];
			for (i = 0; i < filled; i++)
				CHECK(append(i));
			a_log.tail = (flushq_pos)(at + hint - hints / 2);
			if (append(77)) {
				CHECK(state_at((flushq_pos)(at + filled)) == FLUSHQ_RING_PUBLISHED);
				/* With few slots more positions than states can tell apart are the same. */
				CHECK(((a_log.tail - at - filled - 1u) & (PERIOD - 1)) == 0);
				CHECK(filled == SLOTS ? replay() == -1
						      : replay() == (int)filled + 1);
				CHECK(filled == SLOTS || last_page == 77);
			} else {
				/* What it claimed may be the reader's next, a lap on. */
				int n = replay();

				CHECK(n == (int)filled || (n == -1 && filled));
			}
			/* With the hint as it should be, the log goes on, and heals. */
			a_log.tail = (flushq_pos)(at + filled);
			for (i = more = 0; i < 2 * SLOTS; i++)
				more += append(100 + i);
			CHECK(more == 2 * SLOTS);
			CHECK(replay() == -1 && replay() == 0);
		}
}

/* However far behind: nothing is lost but a step. */
TEST(log, late_hint)
{
	unsigned int behind;

	for (behind = 0; behind < 5 * SLOTS; behind++) {
		start(7 * SLOTS + 1);
		a_log.tail = (flushq_pos)(seen[0] - behind);
		CHECK(append(3));
		CHECK(a_log.tail == (flushq_pos)(seen[0] + 1));
	}
}

/* Each state that the slots before a fresh claim may have, and what it proves. */
TEST(log, proof)
{
	unsigned int round, a, b;

	if (SLOTS < 4)
		return;
	for (round = 0; round < 300; round++)
		for (a = FLUSHQ_RING_EMPTY; a <= FLUSHQ_RING_LAP; a++)
			for (b = FLUSHQ_RING_EMPTY; b <= FLUSHQ_RING_SUSPECT; b++) {
				flushq_pos at;
				bool want;

				start(start_position(round, 2 * SLOTS));
				at = seen[0];
				/* b, a, and the claim; empty: of the lap before. */
				if (b)
					set_state(at, (enum flushq_ring_state)b);
				if (a == FLUSHQ_RING_LAP)
					set_state((flushq_pos)(at + 1 + SLOTS),
						  FLUSHQ_RING_CLAIMED);
				else if (a)
					set_state((flushq_pos)(at + 1), (enum flushq_ring_state)a);
				a_log.tail = (flushq_pos)(at + 2);
				want = a == FLUSHQ_RING_PUBLISHED || a == FLUSHQ_RING_LAP ||
				       (a && b);
				CHECK(append(1) == want);
				CHECK(state_at((flushq_pos)(at + 2)) ==
				      (want ? FLUSHQ_RING_PUBLISHED : FLUSHQ_RING_SUSPECT));
				CHECK(a_log.tail == (flushq_pos)(at + 2 + want));
			}
}

TEST(log, suspects)
{
	flushq_pos at;
	unsigned int i;

	if (SLOTS < 4)
		return;
	for (i = 0; i < 3; i++) {
		start(start_position(i, 4 * SLOTS));
		at = seen[0];
		a_log.tail = (flushq_pos)(at + 1); /* a hole at `at` */
		CHECK(!append(1) && state_at((flushq_pos)(at + 1)) == FLUSHQ_RING_SUSPECT);
		CHECK(replay() == 0 && flushq_log_idle(&a_log, 0, at));
		/* Behind it, and a lap behind it: nobody is fooled. */
		CHECK(!append(2) && state_at((flushq_pos)(at + 2)) == FLUSHQ_RING_SUSPECT);
		a_log.tail = (flushq_pos)(at + 1 + SLOTS);
		CHECK(!append(3) && state_at((flushq_pos)(at + 1)) == FLUSHQ_RING_SUSPECT);
		CHECK(replay() == 0);
		/* The hole is filled; they are passed, not read. */
		a_log.tail = at;
		CHECK(append(4) && append(5));
		CHECK(state_at((flushq_pos)(at + 3)) == FLUSHQ_RING_PUBLISHED);
		CHECK(replay() == 2 && last_page == 5 && seen[0] == (flushq_pos)(at + 4));
		/* Who needs the slot of one heals it. */
		while (a_log.tail != (flushq_pos)(at + SLOTS + 4)) {
			CHECK(append(6));
			CHECK(replay() == 1);
		}
		CHECK(state_at((flushq_pos)(at + SLOTS + 1)) == FLUSHQ_RING_PUBLISHED);
	}
}

TEST(log, healed_is_readable)
{
	flushq_pos at;

	if (SLOTS < 2)
		return;
	start(start_position(1, 2 * SLOTS));
	at = seen[0];
	a_log.tail = (flushq_pos)(at + 1);
	CHECK(!append(8));
	a_log.tail = at;
	CHECK(append(4));
	flushq_priv_log_heal(&a_log, (flushq_pos)(at + 1));
	CHECK(state_at((flushq_pos)(at + 1)) == FLUSHQ_RING_PUBLISHED);
	CHECK(a_log.tail == (flushq_pos)(at + 2));
	CHECK(replay() == 2 && last_page == 8);
	/* Nothing to be healed. */
	flushq_priv_log_heal(&a_log, (flushq_pos)(at + 1));
	CHECK(state_at((flushq_pos)(at + 1)) == FLUSHQ_RING_PUBLISHED);
}

/* ---- random calls, against TLBs that never evict ---- */

#define PAGES 6

static int table[PAGES], sure[PAGES], tlb[READERS][PAGES];
static bool owed[READERS], busy[READERS];
static unsigned int precise, lapped, refused;

static void flush(unsigned int r, unsigned int page)
{
	unsigned int p;

	for (p = 0; p < PAGES; p++)
		if (page == PAGES || p == page)
			tlb[r][p] = table[p];
}

static void writes(void)
{
	unsigned int p = check_below(PAGES), r;
	int version = ++table[p];

	if (!append(p)) {
		refused++;
		for (r = 0; r < READERS; r++)
			owed[r] = true;
	}
	if (sure[p] < version)
		sure[p] = version;
}

static void reads(unsigned int r)
{
	struct flushq_log_reader reader = flushq_log_begin(seen[r]);
	struct flushq_range range;
	enum flushq_log_result result;
	int certain[PAGES];
	unsigned int p;

	busy[r] = true;
	memcpy(certain, sure, sizeof(certain));
	if (owed[r]) {
		owed[r] = false;
		flush(r, PAGES);
	}
	if (check_below(20) == 0) {
		/* It left, and joins again. */
		seen[r] = flushq_log_sync(&a_log, r);
		flush(r, PAGES);
	} else if (!flushq_log_idle(&a_log, r, seen[r])) {
		while ((result = flushq_log_next(&a_log, r, &reader, &range)) == FLUSHQ_LOG_RANGE) {
			CHECK(range.asid == 7 && range.pages == 1);
			flush(r, (unsigned int)(range.start >> FLUSHQ_PAGE_SHIFT));
			precise++;
		}
		if (result == FLUSHQ_LOG_LAPPED) {
			lapped++;
			seen[r] = flushq_log_sync(&a_log, r);
			flush(r, PAGES);
		} else {
			seen[r] = reader.seen;
		}
	}
	for (p = 0; p < PAGES; p++)
		CHECK(tlb[r][p] >= certain[p]);
	busy[r] = false;
}

static void reset(unsigned int round)
{
	memset(table, 0, sizeof(table));
	memset(sure, 0, sizeof(sure));
	memset(tlb, 0, sizeof(tlb));
	memset(owed, 0, sizeof(owed));
	memset(busy, 0, sizeof(busy));
	start(round % 4 ? check_random() : 0);
}

TEST(log, random_calls)
{
	unsigned int round, i;

	for (round = 0; round < 300; round++) {
		unsigned int often = 1 + check_below(3 * SLOTS);

		reset(round);
		for (i = 0; i < 1000; i++) {
			if (check_below(often))
				writes();
			else
				reads(check_below(READERS));
		}
	}
	CHECK(precise > 1000 && lapped > 50 && refused == 0);
}

#ifdef CHECK_STEPS

static unsigned int depth, rarity;
static int budget; /* nested calls left */
static unsigned int slept;

static void act(void)
{
	unsigned int r = check_below(READERS);

	if (check_below(3) || busy[r])
		writes();
	else
		reads(r);
}

static void meanwhile(enum step_kind kind, const volatile void *where)
{
	unsigned int n;

	(void)kind;
	(void)where;
	if (depth >= 4 || budget <= 0 || check_below(rarity))
		return;
	depth++;
	/* A few, or so many that the positions come round. */
	n = 1 + check_below(2 * SLOTS + 2);
	if (FLUSHQ_POSITION_BITS == 8 && check_below(8) == 0) {
		n = (unsigned int)PERIOD - 2 * SLOTS + check_below(3 * SLOTS);
		slept++;
	}
	for (; n && budget > 0; n--, budget--) {
		if (n > 2 * SLOTS && check_below(16))
			writes();
		else
			act();
	}
	depth--;
}

/* Each of them stopped anywhere, several deep. */
TEST(log, random_calls_that_interleave)
{
	unsigned int round, i;

	for (round = 0; round < 6000; round++) {
		rarity = 8u << check_below(6);
		budget = 1000;
		reset(round);
		steps.hook = meanwhile;
		for (i = 0; i < 60; i++)
			act();
		steps.hook = NULL;
	}
	CHECK(precise > 1000 && lapped > 50 && refused > 50);
	CHECK(slept > 50 || FLUSHQ_POSITION_BITS != 8);
}

/* Runs `run` before the n-th operation. */
static unsigned long stall_at;
static void (*run_then)(void);

static void stall(enum step_kind kind, const volatile void *where)
{
	(void)kind;
	(void)where;
	if (stall_at-- == 0) {
		steps.hook = NULL;
		run_then();
	}
}

static void stall_before(unsigned long n, void (*run)(void))
{
	stall_at = n;
	run_then = run;
	steps.hook = stall;
}

static unsigned int others, others_true;

static void others_append(void)
{
	unsigned int i;

	others_true = 0;
	for (i = 0; i < others; i++)
		others_true += append(100 + i);
}

/* A writer stopped before each of its operations in turn: the others go on for a lap. */
TEST(log, stalled_anywhere)
{
	unsigned long at;
	unsigned int round;

	for (at = 0; at < 12; at++)
		for (round = 0; round < 3; round++)
			for (others = 0; others <= SLOTS; others++) {
				bool done;

				start(start_position(round, 3 * SLOTS));
				stall_before(at, others_append);
				done = append(1);
				steps.hook = NULL;
				CHECK(done);
				CHECK(others_true >= (others < SLOTS ? others : SLOTS - 1));
				if (others_true == SLOTS)
					CHECK(replay() == -1);
				else
					CHECK(replay() <= (int)others_true + 1);
				CHECK(append(200) && append(201));
			}
}

/* Stopped between hint and claim until the positions have come round to just before it. */
TEST(log, sleeper)
{
	unsigned int gap, at;

	if (FLUSHQ_POSITION_BITS != 8)
		return;
	for (at = 1; at < 3; at++)
		for (gap = 0; gap < 2 * SLOTS; gap++) {
			unsigned int i;
			bool done;

			start(SLOTS);
			others = (unsigned int)PERIOD - gap;
			stall_before(at, others_append);
			done = append(1);
			steps.hook = NULL;
			CHECK(others_true == others);
			/* What it could claim lies behind a hole, but for the next one. */
			if (gap > 0 && gap < SLOTS && at == 2)
				CHECK(!done);
			CHECK(replay() == -1);
			for (i = 0; i < 2 * SLOTS; i++) {
				CHECK(append(i));
				CHECK(replay() == 1 ||
				      flushq_priv_log_turn((flushq_pos)(a_log.tail - 1)));
			}
		}
}

static const volatile void *stall_where;

static void stall_on(enum step_kind kind, const volatile void *where)
{
	if (kind == STEP_LOAD && where == stall_where) {
		steps.hook = NULL;
		run_then();
	}
}

/* The positions come round while a reader is about to look at a slot. */
TEST(log, reader_sleeps)
{
	unsigned int n;

	for (n = 1; n < AWAY; n++) {
		start(3 * SLOTS);
		stall_where = &flushq_priv_log_at(&a_log, seen[0])->state;
		others = n;
		run_then = others_append;
		steps.hook = stall_on;
		CHECK(!flushq_log_idle(&a_log, 0, seen[0]));
		start(3 * SLOTS);
		steps.hook = stall_on;
		CHECK(replay() == (n > SLOTS || !flushq_priv_log_member(&a_log, 1) ? -1 : (int)n));
	}
}

/* or has just read one. */
TEST(log, no_torn_range)
{
	unsigned int n, at;

	for (at = 1; at < 4; at++)
		for (n = 1; n < AWAY; n++) {
			struct flushq_log_reader reader;
			struct flushq_range range;

			start(3 * SLOTS);
			CHECK(append(50));
			reader = flushq_log_begin(seen[0]);
			others = n;
			/* state, key, value, fence, state */
			stall_before(at, others_append);
			if (flushq_log_next(&a_log, 0, &reader, &range) == FLUSHQ_LOG_RANGE)
				CHECK(n < SLOTS && range.start >> FLUSHQ_PAGE_SHIFT == 50);
			else
				CHECK(n >= SLOTS || !flushq_priv_log_member(&a_log, 1));
			steps.hook = NULL;
		}
}

static unsigned int emptied;

static void watch_turn(enum step_kind kind, const volatile void *where)
{
	(void)kind;
	(void)where;
	if (!(a_log.readers[0] & 1)) {
		emptied++;
		CHECK(state_at(seen[1]) == FLUSHQ_RING_CLAIMED);
	}
}

/* The readers are told while the slot is held. */
TEST(log, turn_comes_before_publication)
{
	start(FLUSHQ_PRIV_LOG_HALF - 1);
	steps.hook = watch_turn;
	CHECK(append(1));
	steps.hook = NULL;
	CHECK(emptied > 0 && state_at(seen[1]) == FLUSHQ_RING_PUBLISHED);
}

/* Also by one that stands behind a hole. */
TEST(log, suspect_turn)
{
	if (SLOTS < 2)
		return;
	start(FLUSHQ_PRIV_LOG_HALF - 2);
	a_log.tail++;
	CHECK(!append(1));
	CHECK(!flushq_priv_log_member(&a_log, 0));
}

TEST(log, append_costs_one_claim)
{
	start(start_position(1, 4));
	memset(steps.n, 0, sizeof(steps.n));
	CHECK(append(1));
	CHECK(steps.n[STEP_RMW] == 1);
	CHECK(steps.n[STEP_FENCE_FULL] == 0);
	CHECK(steps.n[STEP_STORE] == 4); /* hint, key, value, state */
	CHECK(steps.n[STEP_LOAD] <= 3); /* hint, state, the slot before */
}

TEST(log, bounds)
{
	unsigned int i, own = SLOTS > 1 ? 2 : 1;
	struct flushq_log_reader reader;
	struct flushq_range range;

	start(4 * SLOTS);
	memset(steps.n, 0, sizeof(steps.n));
	CHECK(flushq_log_idle(&a_log, 0, seen[0]));
	CHECK(steps.n[STEP_LOAD] == 2);
	/* A late hint, and all of this lap claimed but one. */
	for (i = 0; i + own < SLOTS + 1; i++)
		set_state((flushq_pos)(seen[0] + i), FLUSHQ_RING_CLAIMED);
	a_log.tail = (flushq_pos)(seen[0] - SLOTS);
	memset(steps.n, 0, sizeof(steps.n));
	append(1);
	CHECK(steps.n[STEP_RMW] == (SLOTS > 1));
	CHECK(steps.n[STEP_LOAD] <= 3 * SLOTS + 2);
	memset(steps.n, 0, sizeof(steps.n));
	flushq_log_sync(&a_log, 0);
	CHECK(steps.n[STEP_LOAD] == SLOTS + 2);
	CHECK(steps.n[STEP_STORE] + steps.n[STEP_RMW] == 0);
	/* A reader that is followed closely does not go on for ever. */
	start(4 * SLOTS);
	reader = flushq_log_begin(seen[0]);
	for (i = 0; i < SLOTS; i++) {
		CHECK(append(i));
		CHECK(flushq_log_next(&a_log, 0, &reader, &range) == FLUSHQ_LOG_RANGE);
	}
	CHECK(append(i));
	CHECK(flushq_log_next(&a_log, 0, &reader, &range) == FLUSHQ_LOG_DONE);
	CHECK(reader.seen == (flushq_pos)(seen[0] + SLOTS));
}

#endif

/* Whatever who stalled has left, suspect slots around a hole, of a lap on as well, and a tail that is late: the
 * log is used again. */
TEST(log, no_hole_is_for_good)
{
	unsigned int round, i;

	for (round = 0; round < 20000; round++) {
		unsigned long hole = start_position(2, SLOTS);
		bool all = check_below(4) == 0;

		start(hole);
		a_log.tail = (flushq_pos)(hole - check_below(6 * SLOTS));
		for (i = 1; i < SLOTS; i++) {
			if (all || check_below(4) == 0)
				set_state((flushq_pos)(hole - i), FLUSHQ_RING_SUSPECT);
			else if (check_below(2))
				set_state((flushq_pos)(hole - i + SLOTS), FLUSHQ_RING_SUSPECT);
		}
		CHECK(append(1));
	}
}
