/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#include <string.h>

#define SLOTS FLUSHQ_QUEUE_SLOTS
/* Positions before they come round; no test walks all 32 bits of them. */
#define POSITIONS (FLUSHQ_POSITION_BITS >= 32 ? 0x20000ul : 1ul << (FLUSHQ_POSITION_BITS % 32))
/* Where positions wrap, a put looks back and may find a hole. */
#define LOOKS_BACK (FLUSHQ_POSITION_BITS != 64)

static struct flushq_ring ring;
static flushq_ring_pos head;

static void start(unsigned long position)
{
	unsigned int i;

	memset(&ring, 0, sizeof(ring));
	head = (flushq_ring_pos)position;
	ring.tail = head;
	for (i = 0; i < SLOTS; i++) {
		flushq_ring_pos pos = (flushq_ring_pos)(head + i);

		flushq_priv_ring_at(&ring, pos)->state = flushq_priv_ring_empty(pos);
	}
}

/* Where it starts: as zeroed memory, just before the wrap, and in between. */
static unsigned long start_position(unsigned int round)
{
	return round == 0 ? 0 : round == 1 ? (unsigned long)0 - 3 : check_random();
}

static void set_state(flushq_ring_pos pos, enum flushq_ring_state state)
{
	flushq_priv_ring_at(&ring, pos)->state =
		(flushq_ring_pos)(flushq_priv_ring_empty(pos) + (flushq_ring_pos)state);
}

static int state_at(flushq_ring_pos pos)
{
	return flushq_priv_ring_seen(flushq_priv_ring_at(&ring, pos)->state,
				     flushq_priv_ring_empty(pos));
}

/* What the owner finds at `pos`, without taking it. */
static int look_at(flushq_ring_pos pos, uint32_t *key, unsigned long *value)
{
	struct flushq_ring copy = ring;
	struct flushq_ring_walk walk = flushq_ring_begin(&copy, pos);

	return flushq_ring_take(&copy, &walk, key, value);
}

/* Takes all there is, as the owner does; returns how many. */
static unsigned int take(uint32_t *key, unsigned long *value, unsigned int most)
{
	struct flushq_ring_walk walk = flushq_ring_begin(&ring, head);
	unsigned int n = 0;

	while (n < most && flushq_ring_take(&ring, &walk, key, value) >= FLUSHQ_RING_PUBLISHED)
		n++;
	head = (flushq_ring_pos)(head + n);
	return n;
}

TEST(ring, zeroed_is_empty)
{
	uint32_t key = 1;
	unsigned long value = 2;

	memset(&ring, 0, sizeof(ring));
	CHECK(flushq_ring_idle(&ring, 0));
	CHECK(look_at(0, &key, &value) == FLUSHQ_RING_EMPTY);
	CHECK(key == 1 && value == 2);
	CHECK(flushq_ring_unstick(&ring) == 0);
	CHECK(!flushq_ring_claimed_behind(&ring, 0));
}

TEST(ring, laps)
{
	unsigned int round;

	for (round = 0; round < 3; round++) {
		unsigned long i, n = POSITIONS * 40, next = 0, want = 0;
		uint32_t key = 0;
		unsigned long value = 0;

		start(start_position(round));
		if (n > 100000)
			n = 100000;
		for (i = 0; i < n; i++) {
			unsigned int in = check_below(SLOTS + 1), out = check_below(SLOTS + 1);

			while (in-- && next - want < SLOTS) {
				CHECK(flushq_ring_put(&ring, (uint32_t)next, ~next));
				next++;
				CHECK(!flushq_ring_idle(&ring, head));
			}
			while (out--) {
				if (next == want) {
					CHECK(look_at(head, &key, &value) == FLUSHQ_RING_EMPTY);
					CHECK(flushq_ring_idle(&ring, head));
					break;
				}
				CHECK(look_at(head, &key, &value) == FLUSHQ_RING_PUBLISHED);
				CHECK(take(&key, &value, 1) == 1);
				CHECK(key == (uint32_t)want && value == ~want);
				want++;
			}
		}
		CHECK(want > n / 4);
	}
}

TEST(ring, full)
{
	unsigned int round, i;

	for (round = 0; round < 400; round++) {
		struct flushq_ring before;
		uint32_t key;
		unsigned long value;

		start(start_position(round));
		for (i = 0; i < SLOTS; i++)
			CHECK(flushq_ring_put(&ring, i, i));
		memcpy(&before, &ring, sizeof(ring));
		CHECK(!flushq_ring_put(&ring, 99, 99));
		CHECK(memcmp(&before, &ring, sizeof(ring)) == 0);
		CHECK(take(&key, &value, 1) == 1);
		CHECK(flushq_ring_put(&ring, 99, 99));
		CHECK(!flushq_ring_put(&ring, 99, 99));
		CHECK(take(&key, &value, SLOTS + 1) == SLOTS && key == 99 && value == 99);
		CHECK(flushq_ring_idle(&ring, head));
	}
}

/* The tail may be as old as it likes, and where positions wrap anything at all: what put() promises
 * holds, and only room is lost. */
TEST(ring, any_tail)
{
	unsigned int hints = FLUSHQ_POSITION_BITS == 8 ? 256 : 3 * SLOTS + 300, hint, filled;

	for (filled = 0; filled <= SLOTS; filled += SLOTS > 8 ? 7 : 1) {
		for (hint = 0; hint < hints; hint++) {
			uint32_t key;
			unsigned long value;
			unsigned int i;
			bool put;

			if (!LOOKS_BACK && hint > hints / 2 + filled)
				break;
			start(FLUSHQ_POSITION_BITS == 8 ? 250 : 0x100000000ul - 2);
			for (i = 0; i < filled; i++)
				CHECK(flushq_ring_put(&ring, i, i));
			ring.tail = (flushq_ring_pos)(head + hint - hints / 2);
			put = flushq_ring_put(&ring, 77, 88);
			if (put) {
				CHECK(filled < SLOTS);
				CHECK(state_at((flushq_ring_pos)(head + filled)) ==
				      FLUSHQ_RING_PUBLISHED);
				CHECK(take(&key, &value, SLOTS) == filled + 1);
				CHECK(key == 77 && value == 88);
			} else {
				/* All that was promised before is still found. */
				CHECK(take(&key, &value, filled) == filled);
				CHECK(filled == 0 || key == filled - 1);
			}
		}
	}
}

/* A producer that stalled before it stored the tail, and goes on after any number of puts: that is the
 * tail now. An empty ring has room again at once, or (where it has but one slot) at the second put. */
TEST(ring, late_tail_is_made_good)
{
	static const unsigned long late[] = {
		1,
		2,
		3,
		5,
		255,
		256,
		257,
		1000000,
		0x10000001,
		0x20000000,
		0x20000001,
		0x3fffffff,
		0x40000001,
		0x7fffffff,
		0x80000000,
		0x80000001,
		0xfffffffe,
		0xffffffff,
		/* Where a long has 64 bits. */
		0x100000000 & ~0ul,
		0x100000001 & ~0ul,
		0x1fffffffe & ~0ul,
		0x8000000000000 & ~0ul,
	};
	unsigned int i, k, n;
	unsigned long value;
	uint32_t key;

	for (i = 0; i < sizeof(late) / sizeof(late[0]); i++)
		for (k = 0; k <= SLOTS; k++) {
			start(~0ul / 3);
			for (n = 0; n < k; n++)
				CHECK(flushq_ring_put(&ring, 3, 3));
			ring.tail = (flushq_ring_pos)(ring.tail - late[i]);
			n = flushq_ring_put(&ring, 5, 6) ? 1 : 0;
			/* What was put before is found, and this as well where it counts. */
			CHECK(take(&key, &value, SLOTS) >= k + n);
			if (LOOKS_BACK) {
				/* It finds its way back, by steps of a put at least. (Where a wrap has four laps
				 * only, what is late may look as if it were ahead.) */
				for (n = 0; n < 2 * SLOTS + 2 && !flushq_ring_put(&ring, 7, 8); n++)
					take(&key, &value, SLOTS);
				CHECK(n < 2 * SLOTS + 2 || POSITIONS <= 4 * SLOTS);
				continue;
			}
			CHECK(n == 1 || k == SLOTS || SLOTS == 1 || late[i] >= SLOTS);
			for (n = 0; n < 2 && !flushq_ring_put(&ring, 7, 8); n++)
				;
			CHECK(n < 2);
			CHECK(take(&key, &value, SLOTS) == 1 && key == 7);
			CHECK(ring.tail == head);
		}
}

#if FLUSHQ_POSITION_BITS == 64
/* A late tail meets a slot that is claimed for the next lap, and no more is seen yet: that those before it were
 * claimed is not known. So they are looked at. */
TEST(ring, claimed_a_lap_on)
{
	unsigned int i, n;

	if (SLOTS < 4)
		return;
	for (i = 1; i < SLOTS; i++) {
		start(1000 * SLOTS);
		/* The last slot is claimed a lap on; of that lap those before it are not seen claimed from
		 * i on. */
		for (n = 0; n < SLOTS; n++)
			flushq_priv_ring_at(&ring, n)->state = flushq_priv_ring_empty(head + n);
		flushq_priv_ring_at(&ring, SLOTS - 1)->state =
			flushq_priv_ring_empty(head + SLOTS - 1) + FLUSHQ_RING_CLAIMED;
		for (n = 0; n < i; n++)
			set_state(head + n, FLUSHQ_RING_PUBLISHED);
		ring.tail = head - 1;
		CHECK(flushq_ring_put(&ring, 5, 6) == (i < SLOTS - 1));
		CHECK(i == SLOTS - 1 || state_at(head + i) == FLUSHQ_RING_PUBLISHED);
	}
}
#endif

#if FLUSHQ_POSITION_BITS != 64
/* Whatever who stalled has left, suspect slots around a hole and a tail that is late, by a wrap and so ahead of
 * it as well: once its owner looks, the ring is used again. */
TEST(ring, no_hole_is_for_good)
{
	unsigned int round, i, puts;
	unsigned long value;
	uint32_t key;

	for (round = 0; round < 20000; round++) {
		unsigned int hole = check_below(SLOTS), tail = check_below(4 * SLOTS);

		start(start_position(round));
		ring.tail = (flushq_ring_pos)(head + tail - 2 * SLOTS);
		for (i = 0; i < SLOTS; i++) {
			flushq_ring_pos pos = (flushq_ring_pos)(head + i);

			if (i < hole && check_below(4))
				set_state(pos, FLUSHQ_RING_PUBLISHED);
			else if (i < hole || (i > hole && check_below(4)))
				set_state(pos, FLUSHQ_RING_SUSPECT);
		}
		for (puts = 0; !flushq_ring_put(&ring, 5, 6); puts++) {
			CHECK(puts <= SLOTS);
			take(&key, &value, SLOTS);
		}
	}
}
#endif

/* Each state that the slots before a fresh claim may have, and what it proves. */
TEST(ring, proof)
{
	static const enum flushq_ring_state states[] = { FLUSHQ_RING_EMPTY, FLUSHQ_RING_CLAIMED,
							 FLUSHQ_RING_PUBLISHED,
							 FLUSHQ_RING_SUSPECT };
	unsigned int base;

	if (!LOOKS_BACK || SLOTS < 4)
		return;
	for (base = 0; base < 300; base++) {
		unsigned int a, b;

		for (a = 0; a < 4; a++)
			for (b = 0; b < 4; b++) {
				flushq_ring_pos at = (flushq_ring_pos)(base + 2);
				bool want;
				/* Two slots before, with states b (farther) and a (nearer); the
				 * next one back was freed. */
				start(base);
				set_state((flushq_ring_pos)base, states[b]);
				set_state((flushq_ring_pos)(base + 1), states[a]);
				ring.tail = at;
				if (states[a] == FLUSHQ_RING_PUBLISHED)
					want = true;
				else if (states[a] == FLUSHQ_RING_EMPTY)
					want = false;
				else
					want = states[b] != FLUSHQ_RING_EMPTY;
				if (states[a] == FLUSHQ_RING_EMPTY) {
					/* A hole just before. */
					CHECK(!flushq_ring_put(&ring, 1, 2));
					CHECK(state_at(at) == FLUSHQ_RING_SUSPECT);
					CHECK(ring.tail == at);
					continue;
				}
				/* Slots before the owner's were freed: later lap, seen from there. */
				set_state((flushq_ring_pos)(base - 1 + SLOTS), FLUSHQ_RING_EMPTY);
				CHECK(flushq_ring_put(&ring, 1, 2) == want);
				CHECK(state_at(at) ==
				      (want ? FLUSHQ_RING_PUBLISHED : FLUSHQ_RING_SUSPECT));
				CHECK(ring.tail == (want ? (flushq_ring_pos)(at + 1) : at));
			}
	}
}

TEST(ring, proof_of_all_claimed)
{
	unsigned int i;

	/* Nobody has published, but everybody has claimed: that is a proof. */
	start(17);
	for (i = 0; i < SLOTS - 1; i++)
		set_state((flushq_ring_pos)(17 + i),
			  i % 2 ? FLUSHQ_RING_SUSPECT : FLUSHQ_RING_CLAIMED);
	CHECK(flushq_ring_put(&ring, 1, 2));
	CHECK(state_at((flushq_ring_pos)(17 + SLOTS - 1)) == FLUSHQ_RING_PUBLISHED);
}

TEST(ring, suspects_are_read_in_their_turn)
{
	uint32_t key = 0;
	unsigned long value = 0;

	if (!LOOKS_BACK || SLOTS < 4)
		return;
	start(250);
	ring.tail = (flushq_ring_pos)(head + 1); /* a hole at head */
	CHECK(!flushq_ring_put(&ring, 3, 4));
	CHECK(state_at((flushq_ring_pos)(head + 1)) == FLUSHQ_RING_SUSPECT);
	CHECK(take(&key, &value, SLOTS) == 0);
	/* Another one that starts at the same hint passes it, and is behind the hole as well. */
	CHECK(!flushq_ring_put(&ring, 5, 6));
	CHECK(state_at((flushq_ring_pos)(head + 2)) == FLUSHQ_RING_SUSPECT);
	/* The hole is filled, and the next claims behind the suspects. */
	ring.tail = head;
	CHECK(flushq_ring_put(&ring, 1, 2));
	CHECK(flushq_ring_put(&ring, 7, 8));
	CHECK(state_at((flushq_ring_pos)(head + 3)) == FLUSHQ_RING_PUBLISHED);
	CHECK(look_at((flushq_ring_pos)(head + 1), &key, &value) == FLUSHQ_RING_SUSPECT);
	CHECK(key == 3 && value == 4);
	CHECK(take(&key, &value, SLOTS) == 4 && key == 7 && value == 8);
}

TEST(ring, claimed_behind)
{
	unsigned int s, base;

	for (base = 0; base < 300; base++)
		for (s = FLUSHQ_RING_EMPTY; s < FLUSHQ_RING_LAP; s++) {
			start(base);
			set_state((flushq_ring_pos)base, FLUSHQ_RING_CLAIMED);
			CHECK(!flushq_ring_claimed_behind(&ring, (flushq_ring_pos)base));
			if (SLOTS == 1)
				continue;
			set_state((flushq_ring_pos)(base + 1), (enum flushq_ring_state)s);
			CHECK(flushq_ring_claimed_behind(&ring, (flushq_ring_pos)base) ==
			      (s != FLUSHQ_RING_EMPTY));
		}
}

TEST(ring, sticky)
{
	struct flushq_ring before;

	start(5);
	CHECK(flushq_ring_unstick(&ring) == 0);
	CHECK(flushq_ring_stick(&ring, 0x11));
	CHECK(!flushq_ring_idle(&ring, head));
	memcpy(&before, &ring, sizeof(ring));
	CHECK(!flushq_ring_stick(&ring, 0x11) && !flushq_ring_stick(&ring, 0x10));
	CHECK(memcmp(&before, &ring, sizeof(ring)) == 0);
	CHECK(flushq_ring_stick(&ring, 0x30));
	CHECK(flushq_ring_unstick(&ring) == 0x31);
	CHECK(flushq_ring_unstick(&ring) == 0);
	CHECK(flushq_ring_idle(&ring, head));
}

TEST(ring, idle)
{
	unsigned int s;

	for (s = FLUSHQ_RING_EMPTY; s < FLUSHQ_RING_LAP; s++) {
		start(5);
		set_state(5, (enum flushq_ring_state)s);
		CHECK(flushq_ring_idle(&ring, head) == (s == FLUSHQ_RING_EMPTY));
	}
}

TEST(ring, taking_crosses_the_wrap)
{
	unsigned int i, n;
	unsigned long value;
	uint32_t key;

	/* Of the positions; of the slots alone. */
	for (n = 0; n <= SLOTS; n++)
		for (i = 0; i < 2; i++) {
			unsigned int put;

			start((unsigned long)0 - SLOTS / 2 + i * SLOTS);
			for (put = 0; put < n; put++)
				CHECK(flushq_ring_put(&ring, put, put));
			/* It ends where nothing was put. */
			CHECK(take(&key, &value, SLOTS) == n);
			for (put = 0; put < SLOTS; put++)
				CHECK(state_at((flushq_ring_pos)(head + put)) == FLUSHQ_RING_EMPTY);
		}
}

/* A slot is free as soon as its item was taken. */
TEST(ring, each_take_gives_its_slot_back)
{
	unsigned int i;
	unsigned long value;
	uint32_t key;

	start(0);
	for (i = 0; i < SLOTS; i++)
		CHECK(flushq_ring_put(&ring, i, i));
	for (i = 0; i < 3 * SLOTS; i++) {
		CHECK(!flushq_ring_put(&ring, 99, 99));
		CHECK(take(&key, &value, 1) == 1 && key == i);
		CHECK(flushq_ring_put(&ring, i + SLOTS, i));
	}
}

/* All bits of a key arrive, whatever the position: one word may hold both. */
TEST(ring, keys_and_positions_do_not_mix)
{
	static const unsigned long positions[] = { 0, 0x7ffffffful, 0xfffffffful, ~0ul, ~0ul / 2 };
	static const uint32_t keys[] = { 0, 1, 0x80000000u, ~(uint32_t)0 };
	unsigned int i, k, n;

	for (i = 0; i < 5; i++)
		for (k = 0; k < 4; k++) {
			unsigned long value;
			uint32_t key;

			start(positions[i] - 1);
			if (SLOTS > 1)
				CHECK(flushq_ring_put(&ring, ~keys[k], k));
			CHECK(flushq_ring_put(&ring, keys[k], ~0ul - k));
			if (SLOTS > 1)
				CHECK(take(&key, &value, 1) == 1 && key == (uint32_t)~keys[k]);
			CHECK(take(&key, &value, 1) == 1 && key == keys[k] && value == ~0ul - k);
			CHECK(flushq_ring_idle(&ring, head));
			/* A full ring is seen to be full, and empty again when it is. */
			for (n = 0; n < SLOTS; n++)
				CHECK(flushq_ring_put(&ring, keys[k], n));
			CHECK(!flushq_ring_put(&ring, keys[k], n));
			ring.tail = (flushq_ring_pos)(ring.tail - 1);
			CHECK(!flushq_ring_put(&ring, keys[k], n));
			CHECK(take(&key, &value, SLOTS) == SLOTS);
			CHECK(flushq_ring_put(&ring, keys[k], n));
		}
}

#ifdef CHECK_STEPS

/* A producer that is stopped before its n-th operation while `meanwhile` runs. */
static unsigned long stall_at;
static void (*meanwhile)(void);

static void stall(enum step_kind kind, const volatile void *where)
{
	(void)kind;
	(void)where;
	if (stall_at-- == 0) {
		void (*run)(void) = meanwhile;

		steps.hook = NULL;
		run();
	}
}

static bool put_stalled(unsigned long at, void (*run)(void), uint32_t key)
{
	bool put;

	stall_at = at;
	meanwhile = run;
	steps.hook = stall;
	put = flushq_ring_put(&ring, key, key);
	steps.hook = NULL;
	return put;
}

static unsigned long turns;
static unsigned int left_behind, others_put;

/* Others fill and drain for `turns` positions, then `left_behind` more are put and not drained. */
static void others(void)
{
	unsigned long i, value;
	uint32_t key;

	for (i = 0; i < turns; i++) {
		CHECK(flushq_ring_put(&ring, 1, 1));
		CHECK(take(&key, &value, 1) == 1);
	}
	others_put = 0;
	for (i = 0; i < left_behind; i++)
		others_put += flushq_ring_put(&ring, 2, 2);
}

/*
 * The trap of ring.h: a producer reads the hint, sleeps while the positions come round to just
 * before it, and claims. What it leaves is a hole; neither it nor anybody behind it may count on
 * being found, unless the owner really finds it.
 */
TEST(ring, trap)
{
	unsigned int gap, behind;

	if (FLUSHQ_POSITION_BITS != 8 || SLOTS < 4)
		return;
	for (gap = 0; gap < SLOTS; gap++)
		for (behind = 0; behind <= SLOTS; behind++) {
			uint32_t key = 0;
			unsigned long value;
			unsigned int counted, found, after = 0, i;
			bool first, second[4];

			start(0);
			turns = 256 - gap;
			left_behind = behind;
			/* Operation 0 reads the hint; 1 is the first look at a slot. */
			first = put_stalled(1, others, 9);
			/* It claimed at 0, `gap` ahead of the owner, or behind those put since. */
			if (gap > behind)
				CHECK(!first);
			counted = others_put + first;
			/* Then another, who may start from whatever hint was left. */
			for (i = 0; i < 4; i++) {
				second[i] = flushq_ring_put(&ring, 10 + i, 0);
				after += second[i];
			}
			found = take(&key, &value, SLOTS);
			CHECK(found >= counted + after);
		}
}

static void trap_two(void);
static unsigned int inner_true;

static void trap_inner(void)
{
	others();
}

static void trap_two(void)
{
	/* The second producer is stalled in the same place, deeper. */
	stall_at = 1;
	meanwhile = trap_inner;
	steps.hook = stall;
	inner_true = flushq_ring_put(&ring, 8, 8);
	steps.hook = NULL;
}

TEST(ring, trap_with_two_producers)
{
	unsigned int gap, behind;

	if (FLUSHQ_POSITION_BITS != 8 || SLOTS < 4)
		return;
	for (gap = 0; gap < SLOTS; gap++)
		for (behind = 0; behind <= SLOTS; behind++) {
			uint32_t key;
			unsigned long value;
			unsigned int counted, after, found;
			bool first;

			start(0);
			turns = 256 - gap;
			left_behind = behind;
			first = put_stalled(1, trap_two, 9);
			counted = others_put + first + inner_true;
			if (gap > behind + 2)
				CHECK(!first && !inner_true);
			ring.tail = head;
			after = flushq_ring_put(&ring, 11, 0);
			found = take(&key, &value, SLOTS);
			CHECK(found >= counted + after);
		}
}

static void two_puts(void)
{
	others_put = flushq_ring_put(&ring, 2, 2);
	others_put += flushq_ring_put(&ring, 2, 2);
}

/* Whoever reads the tail is told that all before it were claimed. */
static void check_tail(enum step_kind kind, const volatile void *where)
{
	flushq_ring_pos pos;

	if (kind == STEP_LOAD || where == NULL)
		return;
	for (pos = head; (flushq_pos_diff)(flushq_pos)(ring.tail - pos) > 0; pos++)
		CHECK(state_at(pos) > FLUSHQ_RING_EMPTY);
}

static void checked_puts(void)
{
	steps.hook = check_tail;
	two_puts();
	steps.hook = NULL;
}

static void stalled_put(void)
{
	stall_at = 3; /* behind its claim */
	meanwhile = checked_puts;
	steps.hook = stall;
	inner_true = flushq_ring_put(&ring, 8, 8);
	steps.hook = check_tail;
}

TEST(ring, tail_is_never_past_what_was_not_claimed)
{
	unsigned long at;

	if (SLOTS < 4)
		return;
	for (at = 0; at < 8; at++) {
		uint32_t key;
		unsigned long value;

		start(0);
		put_stalled(at, stalled_put, 9);
		check_tail(STEP_STORE, &ring.tail);
		/* An old tail, stored late, harms nobody. */
		CHECK(flushq_ring_put(&ring, 1, 1) || take(&key, &value, SLOTS) == SLOTS);
		check_tail(STEP_STORE, &ring.tail);
	}
}

/* A producer stalled at each of its operations in turn, two others going on meanwhile. */
TEST(ring, stalled_anywhere)
{
	unsigned long at;

	if (SLOTS < 4)
		return;
	for (at = 0; at < 40; at++) {
		uint32_t key;
		unsigned long value;

		start(254);
		others_put = 0;
		CHECK(put_stalled(at, two_puts, 9));
		CHECK(others_put == 2 || at >= 7);
		CHECK(take(&key, &value, SLOTS) == 1 + others_put);
	}
}

static int seen_while_stalled;
static bool behind_while_stalled;

static void look(void)
{
	uint32_t key;
	unsigned long value;

	seen_while_stalled = look_at(head, &key, &value);
	two_puts();
	behind_while_stalled = flushq_ring_claimed_behind(&ring, head);
	CHECK(take(&key, &value, SLOTS) == 0 || seen_while_stalled == FLUSHQ_RING_EMPTY);
}

TEST(ring, unfinished_is_seen_as_claimed)
{
	if (SLOTS < 4)
		return;
	start(254);
	/* tail, look, claim, then the proof or the item */
	CHECK(put_stalled(3, look, 9));
	CHECK(seen_while_stalled == FLUSHQ_RING_CLAIMED && behind_while_stalled);
}

TEST(ring, put_costs_one_claim)
{
	start(0);
	memset(steps.n, 0, sizeof(steps.n));
	CHECK(flushq_ring_put(&ring, 1, 2));
	CHECK(steps.n[STEP_RMW] == 1);
	CHECK(steps.n[STEP_FENCE_FULL] == 0);
	CHECK(steps.n[STEP_STORE] == (LOOKS_BACK ? 4 : 3)); /* tail, key, value, state */
	/* tail, state, and one slot back if there is one: that was freed, which is a proof */
	CHECK(steps.n[STEP_LOAD] == (LOOKS_BACK ? 3 : 2));
}

TEST(ring, put_is_bounded)
{
	unsigned int i;

	start(0);
	for (i = 0; i < SLOTS; i++)
		set_state((flushq_ring_pos)i, FLUSHQ_RING_SUSPECT);
	memset(steps.n, 0, sizeof(steps.n));
	ring.tail = 0;
	CHECK(!flushq_ring_put(&ring, 1, 2));
	CHECK(steps.n[STEP_LOAD] <= SLOTS + 1 && steps.n[STEP_RMW] == 0);
}

TEST(ring, stick_fences_before_it_reads)
{
	start(0);
	memset(steps.n, 0, sizeof(steps.n));
	CHECK(flushq_ring_stick(&ring, 1));
	CHECK(steps.n[STEP_FENCE_FULL] == 1 && steps.n[STEP_RMW] == 1);
	memset(steps.n, 0, sizeof(steps.n));
	CHECK(!flushq_ring_stick(&ring, 1));
	CHECK(steps.n[STEP_FENCE_FULL] == 1 && steps.n[STEP_RMW] == 0 && steps.n[STEP_STORE] == 0);
}

#endif
