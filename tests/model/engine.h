/* SPDX-License-Identifier: MIT */
/* engine.h - runs scenarios under relacy; compiled once, whatever headers are under test. */
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include <relacy/relacy.hpp>

#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef $

#define MODEL_TEXT_(x) #x
#define MODEL_TEXT(x) MODEL_TEXT_(x)
#define MODEL_CHECK(cond)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			rl::ctx().fail_test(#cond, rl::test_result_user_assert_failed, RL_INFO);   \
	} while (0)

namespace model
{

enum { MAX_THREADS = 4 };

struct scenario {
	const char *name;
	int threads;
	/* 0: every interleaving. 1 to 99: at most so many preemptions. From 100: so many at random.
	 */
	unsigned int search;
	void (*before)();
	void (*thread)(int);
	void (*after)();
};

/* What an sfence.vma orders: accesses before it against page-table walks after it, no more. */
struct walk_order {
	rl::timestamp_t at[MAX_THREADS];
};

void order_walks(walk_order *order);
int walk(const rl::atomic<int> *pte, const walk_order *order);

/* C++20: a store, even of the same thread, does not continue a release sequence. One that is a
 * release itself (`release`) begins another. */
void end_release_sequence(rl::atomic_data *data, bool release = false);

/* Prints a line for each scenario; returns 1 if one failed. */
int main(int argc, char **argv, const char *client, const scenario *table, unsigned int nr);

} // namespace model

#endif
