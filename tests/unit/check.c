/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <setjmp.h>
#include <stdlib.h>

static uint64_t state;
static bool seeded;

uint64_t check_seed(void)
{
	const char *text = getenv("FLUSHQ_SEED");

	return text && *text ? strtoull(text, NULL, 0) : 1;
}

void check_rewind(void)
{
	state = check_seed();
	seeded = true;
}

uint64_t check_random(void)
{
	uint64_t x;

	if (!seeded)
		check_rewind();
	/* splitmix64 */
	state += 0x9e3779b97f4a7c15u;
	x = state;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

#ifdef CHECK_PLAIN

static struct check_test *first, **last = &first;
static jmp_buf failed;

void check_register(struct check_test *test)
{
	*last = test;
	last = &test->next;
}

_Noreturn void check_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s (seed %llu)\n", file, line, what,
		(unsigned long long)check_seed());
	longjmp(failed, 1);
}

int main(void)
{
	static unsigned int n_passed, n_failed;
	static struct check_test *test;

	for (test = first; test; test = test->next) {
		check_rewind();
		check_clean();
		if (setjmp(failed) == 0) {
			test->run();
			n_passed++;
		} else {
			fprintf(stderr, "FAIL %s::%s\n", test->suite, test->name);
			n_failed++;
		}
	}
	printf("%u passed, %u failed, 0 skipped\n", n_passed, n_failed);
	return n_failed != 0;
}

#endif
