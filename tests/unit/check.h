/* SPDX-License-Identifier: MIT */
/*
 * check.h - one spelling of a test for Criterion and, with CHECK_PLAIN, for a bare program: no
 * Criterion is to be had for the cross targets.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CHECK_STR2(x) #x
#define CHECK_STR(x) CHECK_STR2(x)

#ifdef CHECK_PLAIN

struct check_test {
	const char *suite, *name;
	void (*run)(void);
	struct check_test *next;
};

void check_register(struct check_test *test);
/* A failed test may have left its hooks behind; Criterion forks. */
void check_clean(void);
_Noreturn void check_fail(const char *file, int line, const char *what);

#define TEST(suite_, name_)                                                                        \
	static void test_##suite_##_##name_(void);                                                 \
	__attribute__((constructor)) static void register_##suite_##_##name_(void)                 \
	{                                                                                          \
		static struct check_test test = { #suite_, #name_, test_##suite_##_##name_,        \
						  NULL };                                          \
                                                                                                   \
		check_register(&test);                                                             \
	}                                                                                          \
	static void test_##suite_##_##name_(void)
#define CHECK_FAIL(what) check_fail(__FILE__, __LINE__, what)

#else

#include <criterion/criterion.h>
#define TEST(suite_, name_) Test(suite_, name_, .timeout = 120)
#define CHECK_FAIL(what)                                                                           \
	cr_assert_fail("%s:%d: %s (seed %llu)", __FILE__, __LINE__, what,                          \
		       (unsigned long long)check_seed())

#endif

/* Criterion's own assertions count each success, too slow for millions. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			CHECK_FAIL(#cond);                                                         \
	} while (0)

/* FLUSHQ_SEED of the environment, else 1. Each test starts from it. */
uint64_t check_seed(void);
void check_rewind(void);
uint64_t check_random(void);
/* 0 to n - 1 */
static inline unsigned int check_below(unsigned int n)
{
	return (unsigned int)(check_random() % n);
}

#endif
