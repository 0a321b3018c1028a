/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

TEST(event, counts_and_traces)
{
	unsigned int e;

	fake_start(2);
	for (e = 0; e < FLUSHQ_NR_EVENTS; e++) {
		unsigned long before = flushq_count(&fake.fq, 1, (enum flushq_event)e);

		flushq_priv_event(&fake.cpu[1].counts, 1, (enum flushq_event)e, 3);
		CHECK(flushq_count(&fake.fq, 1, (enum flushq_event)e) ==
		      (FLUSHQ_COUNTERS ? before + 3 : 0));
		CHECK(fake.event[e] == 3);
	}
}

TEST(event, count_is_total)
{
	fake_start(2);
	CHECK(flushq_count(&fake.fq, 2, FLUSHQ_DRAINS) == 0);
	CHECK(flushq_count(&fake.fq, ~0u, FLUSHQ_DRAINS) == 0);
	CHECK(flushq_count(&fake.fq, 0, FLUSHQ_NR_EVENTS) == 0);
	CHECK(flushq_count(&fake.fq, 0, (enum flushq_event)1000) == 0);
}

TEST(event, no_counters_no_room)
{
	CHECK(sizeof(struct flushq_counts) ==
	      sizeof(unsigned long) * (FLUSHQ_COUNTERS ? (unsigned int)FLUSHQ_NR_EVENTS : 1));
}

TEST(event, version)
{
	CHECK(FLUSHQ_VERSION_MAJOR >= 0 && FLUSHQ_VERSION_MINOR >= 0 && FLUSHQ_VERSION_PATCH >= 0);
}
