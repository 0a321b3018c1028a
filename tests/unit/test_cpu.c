/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#include <string.h>

static const flushq_asid asids[] = { 0, 1, 2, 0x7fff, 0x8000, 0xffff };
#define NR_ASIDS (sizeof(asids) / sizeof(asids[0]))

TEST(cpu, who_needs_an_interrupt)
{
	unsigned int i, j, k;

	for (i = 0; i < NR_ASIDS; i++)
		for (j = 0; j < NR_ASIDS; j++)
			for (k = FLUSHQ_LEAF; k <= FLUSHQ_GLOBAL; k++) {
				struct flushq_range r =
					flushq_range_whole(asids[j], (enum flushq_kind)k);
				uint32_t loaded = flushq_context_loaded(asids[i]);
				uint32_t lazy = loaded | FLUSHQ_CONTEXT_LAZY;
				bool global = k == FLUSHQ_GLOBAL, same = i == j;

				CHECK(flushq_context_needs(loaded | FLUSHQ_CONTEXT_SWITCHING, &r) ==
				      (global || same || k == FLUSHQ_TABLES));
				CHECK(flushq_context_needs(loaded, &r) == (global || same));
				CHECK(flushq_context_needs(lazy, &r) ==
				      (global || (same && k == FLUSHQ_TABLES)));
				CHECK(flushq_context_needs(FLUSHQ_CONTEXT_PARKED, &r) == global);
				CHECK(!flushq_context_needs(FLUSHQ_CONTEXT_OFFLINE, &r));
			}
}

TEST(cpu, contexts_differ)
{
	unsigned int i, j;

	for (i = 0; i < NR_ASIDS; i++) {
		uint32_t loaded = flushq_context_loaded(asids[i]);

		CHECK(loaded != FLUSHQ_CONTEXT_OFFLINE && loaded != FLUSHQ_CONTEXT_PARKED);
		CHECK(!(loaded & FLUSHQ_CONTEXT_LAZY));
		for (j = 0; j < NR_ASIDS; j++)
			CHECK((loaded == flushq_context_loaded(asids[j])) == (i == j));
	}
}

TEST(cpu, enter_and_leave)
{
	flushq_atomic_u32 context = 0;

	flushq_context_enter(&context, flushq_context_loaded(3));
	CHECK(context == flushq_context_loaded(3));
	flushq_context_leave(&context, FLUSHQ_CONTEXT_PARKED);
	CHECK(context == FLUSHQ_CONTEXT_PARKED);
}

#ifdef CHECK_STEPS
TEST(cpu, enter_is_a_store_and_a_full_fence)
{
	flushq_atomic_u32 context = 0;

	memset(&steps, 0, sizeof(steps));
	flushq_context_enter(&context, flushq_context_loaded(3));
	CHECK(steps.n[STEP_STORE] == 1 && steps.n[STEP_FENCE_FULL] == 1 && steps.n[STEP_LOAD] == 0);
	memset(&steps, 0, sizeof(steps));
	flushq_context_leave(&context, FLUSHQ_CONTEXT_PARKED);
	CHECK(steps.n[STEP_STORE] == 1 && steps.n[STEP_FENCE_FULL] == 0);
}
#endif
