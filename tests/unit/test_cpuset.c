/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#include <string.h>

#define N 200

TEST(cpuset, words)
{
	CHECK(FLUSHQ_CPUSET_WORDS(1) == 1);
	CHECK(FLUSHQ_CPUSET_WORDS(FLUSHQ_CPUSET_BITS) == 1);
	CHECK(FLUSHQ_CPUSET_WORDS(FLUSHQ_CPUSET_BITS + 1) == 2);
	CHECK(FLUSHQ_CPUSET_BITS == 8 * sizeof(unsigned long));
}

TEST(cpuset, layout_is_an_array_of_words)
{
	flushq_atomic_ulong set[FLUSHQ_CPUSET_WORDS(N)] = { 0 };
	unsigned int cpu, i;

	for (cpu = 0; cpu < N; cpu++) {
		memset(set, 0, sizeof(set));
		CHECK(!flushq_cpuset_has(set, cpu));
		flushq_cpuset_add(set, cpu);
		for (i = 0; i < N; i++)
			CHECK(flushq_cpuset_has(set, i) == (i == cpu));
		CHECK(set[cpu / FLUSHQ_CPUSET_BITS] == 1ul << (cpu % FLUSHQ_CPUSET_BITS));
	}
}

TEST(cpuset, pop)
{
	unsigned long bits = 1ul | 1ul << 5 | 1ul << (FLUSHQ_CPUSET_BITS - 1);

	CHECK(flushq_cpuset_pop(&bits) == 0);
	CHECK(flushq_cpuset_pop(&bits) == 5);
	CHECK(flushq_cpuset_pop(&bits) == FLUSHQ_CPUSET_BITS - 1);
	CHECK(bits == 0);
}

#ifdef CHECK_STEPS
TEST(cpuset, a_member_is_not_written_again)
{
	flushq_atomic_ulong set[2] = { 0 };

	flushq_cpuset_add(set, 3);
	memset(steps.n, 0, sizeof(steps.n));
	flushq_cpuset_add(set, 3);
	CHECK(steps.n[STEP_LOAD] == 1 && steps.n[STEP_RMW] == 0 && steps.n[STEP_STORE] == 0);
	/* B3: others' bits are added to, not written over. */
	flushq_cpuset_add(set, 4);
	CHECK(steps.n[STEP_RMW] == 1 && steps.n[STEP_STORE] == 0);
}
#endif
