/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#include <string.h>

static struct flushq_queue queue;

static const flushq_asid asids[] = { 0,	     1,	     2,	     3,	     5,	     0xff,  0x100,
				     0x7fff, 0x8000, 0xaaaa, 0x5555, 0xfffe, 0xffff };
#define NR_ASIDS (sizeof(asids) / sizeof(asids[0]))

static void fill(void)
{
	struct flushq_range r = fake_page(9, 9);
	unsigned int i;

	memset(&queue, 0, sizeof(queue));
	for (i = 0; i < FLUSHQ_QUEUE_SLOTS; i++)
		CHECK(flushq_queue_put(&queue, &r) == FLUSHQ_PUT_QUEUED);
}

TEST(queue, mark_of_one)
{
	unsigned int i, k;

	for (i = 0; i < NR_ASIDS; i++)
		for (k = FLUSHQ_LEAF; k <= FLUSHQ_TABLES; k++) {
			struct flushq_range r = flushq_range_whole(asids[i], (enum flushq_kind)k);
			struct flushq_range back;

			CHECK(flushq_mark_of(&r) != 0 && flushq_mark_of(&r) != FLUSHQ_MARK_ALL);
			back = flushq_mark_range(flushq_mark_of(&r));
			CHECK(flushq_range_covers(&back, &r));
			CHECK(back.asid == asids[i] && back.kind == FLUSHQ_TABLES && !back.pages);
		}
}

TEST(queue, mark_of_every_asid)
{
	flushq_asid asid;

	for (asid = 0; asid <= FLUSHQ_ASID_MAX; asid++) {
		struct flushq_range r = flushq_range_whole(asid, FLUSHQ_TABLES), back;

		back = flushq_mark_range(flushq_mark_of(&r));
		CHECK(fake_same(&r, &back));
	}
}

TEST(queue, mark_joins)
{
	unsigned int i, j, k;

	for (i = 0; i < NR_ASIDS; i++)
		for (j = 0; j < NR_ASIDS; j++)
			for (k = 0; k < NR_ASIDS; k++) {
				struct flushq_range a = flushq_range_whole(asids[i], FLUSHQ_TABLES);
				struct flushq_range b = flushq_range_whole(asids[j], FLUSHQ_LEAF);
				struct flushq_range c = flushq_range_whole(asids[k], FLUSHQ_LEAF);
				uint32_t mark = flushq_mark_of(&a) | flushq_mark_of(&b) |
						flushq_mark_of(&c);
				struct flushq_range m = flushq_mark_range(mark);

				CHECK(flushq_range_covers(&m, &a) && flushq_range_covers(&m, &b) &&
				      flushq_range_covers(&m, &c));
				CHECK((m.kind == FLUSHQ_GLOBAL) == (i != j || i != k));
			}
}

TEST(queue, mark_of_global_is_everything)
{
	struct flushq_range page = fake_page(3, 3), all = flushq_range_whole(0, FLUSHQ_GLOBAL);
	struct flushq_range m;

	page.kind = FLUSHQ_GLOBAL;
	page.asid = 0;
	CHECK(flushq_mark_of(&page) == FLUSHQ_MARK_ALL && flushq_mark_of(&all) == FLUSHQ_MARK_ALL);
	m = flushq_mark_range(FLUSHQ_MARK_ALL);
	CHECK(fake_same(&m, &all));
	/* No mark is in doubt: that is everything too. */
	m = flushq_mark_range(0);
	CHECK(fake_same(&m, &all));
}

TEST(queue, any_mark_word_is_an_asid_or_everything)
{
	unsigned int i;

	for (i = 0; i < 200000; i++) {
		uint32_t mark = (uint32_t)check_random();
		struct flushq_range m = flushq_mark_range(mark);

		CHECK(m.pages == 0);
		CHECK(m.kind == FLUSHQ_GLOBAL || flushq_mark_of(&m) == mark);
	}
}

TEST(queue, put_until_full_then_mark_then_covered)
{
	struct flushq_range a = fake_page(9, 1), b = fake_page(8, 1), m;
	struct flushq_range tables = flushq_range_whole(9, FLUSHQ_TABLES);
	struct flushq_queue before;

	fill();
	CHECK(flushq_queue_put(&queue, &a) == FLUSHQ_PUT_MARKED);
	memcpy(&before, &queue, sizeof(queue));
	CHECK(flushq_queue_put(&queue, &a) == FLUSHQ_PUT_COVERED);
	/* The mark removes non-leaf entries, so a request that frees tables is covered. */
	CHECK(flushq_queue_put(&queue, &tables) == FLUSHQ_PUT_COVERED);
	CHECK(memcmp(&before, &queue, sizeof(queue)) == 0);
	CHECK(flushq_queue_put(&queue, &b) == FLUSHQ_PUT_MARKED);
	memcpy(&before, &queue, sizeof(queue));
	CHECK(flushq_queue_put(&queue, &a) == FLUSHQ_PUT_COVERED);
	CHECK(flushq_queue_put(&queue, &b) == FLUSHQ_PUT_COVERED);
	CHECK(memcmp(&before, &queue, sizeof(queue)) == 0);
	m = flushq_mark_range(flushq_ring_unstick(&queue.ring));
	CHECK(m.kind == FLUSHQ_GLOBAL && m.pages == 0);
	/* Taken once; whoever comes next must set it again. */
	CHECK(flushq_ring_unstick(&queue.ring) == 0);
	CHECK(flushq_queue_put(&queue, &a) == FLUSHQ_PUT_MARKED);
	m = flushq_mark_range(flushq_ring_unstick(&queue.ring));
	CHECK(m.asid == 9 && m.kind == FLUSHQ_TABLES);
}

TEST(queue, items_come_out_as_they_went_in)
{
	unsigned int round;
	struct flushq_ring_walk walk;

	memset(&queue, 0, sizeof(queue));
	walk = flushq_ring_begin(&queue.ring, 0);
	for (round = 0; round < 2000; round++) {
		enum flushq_kind kind = (enum flushq_kind)check_below(3);
		struct flushq_range in =
			flushq_range_make(check_below(0x10000), (unsigned long)check_random(),
					  check_below(FLUSHQ_PAGES_MAX << FLUSHQ_PAGE_SHIFT),
					  1ul << check_below(40), kind);
		struct flushq_range out;
		unsigned long value = 0;
		uint32_t key = 0;

		CHECK(flushq_queue_put(&queue, &in) == FLUSHQ_PUT_QUEUED);
		CHECK(flushq_ring_take(&queue.ring, &walk, &key, &value) == FLUSHQ_RING_PUBLISHED);
		out = flushq_priv_unpack(key, value);
		CHECK(fake_same(&in, &out));
	}
}
