/* SPDX-License-Identifier: MIT */
/*
 * compiler.h - what flushq needs of a compiler: gcc 12 or clang 14 and later, as C11 or C++17.
 */
#ifndef FLUSHQ_COMPILER_H
#define FLUSHQ_COMPILER_H

/* bool, size_t, uintptr_t and the types of fixed width: where there are no such headers (Linux has
 * <linux/types.h>), define FLUSHQ_TYPES_H as the one to include instead. */
#ifdef FLUSHQ_TYPES_H
#include FLUSHQ_TYPES_H
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

#ifdef __cplusplus
#define FLUSHQ_STATIC_ASSERT(cond, sentence) static_assert(cond, sentence)
#else
#define FLUSHQ_STATIC_ASSERT(cond, sentence) _Static_assert(cond, sentence)
#endif

#define FLUSHQ_ALIGNED(bytes) __attribute__((aligned(bytes)))
#define FLUSHQ_LIKELY(cond) __builtin_expect(!!(cond), 1)
#define FLUSHQ_UNLIKELY(cond) __builtin_expect(!!(cond), 0)

/* In line, whatever the compiler thinks: what has no calls must not become one. */
#define FLUSHQ_INLINE inline __attribute__((always_inline))
/* Slow paths stay out of line, so that the fast ones stay short where a host inlines them. */
#define FLUSHQ_COLD __attribute__((noinline, cold, unused))
/* Out of line, for a fast path that is short, or a stack that does not hold what is not needed while
 * others are called. */
#define FLUSHQ_NOINLINE __attribute__((noinline, unused))
#define FLUSHQ_MUST_CHECK __attribute__((warn_unused_result))

/* The number of the lowest bit set in `x`, which must not be 0. */
#if defined(__riscv) && !defined(__riscv_zbb)
/* Without the instruction the builtin is a call into libgcc. */
static inline unsigned int flushq_ctz(unsigned long x)
{
	unsigned int n = 0, half;

	for (half = 4 * (unsigned int)sizeof(x); half; half /= 2) {
		if ((x & ((1ul << half) - 1)) == 0) {
			x >>= half;
			n += half;
		}
	}
	return n;
}

/* By a de Bruijn sequence: any five bits in a row occur once in it. */
static inline unsigned int flushq_ctz32(uint32_t x)
{
	static const uint8_t at[32] = { 0,  1,	28, 2,	29, 14, 24, 3,	30, 22, 20,
					15, 25, 17, 4,	8,  31, 27, 13, 23, 21, 19,
					16, 7,	26, 12, 18, 6,	11, 5,	10, 9 };

	return at[(uint32_t)((x & (0 - x)) * 0x077cb531u) >> 27];
}
#else
static inline unsigned int flushq_ctz(unsigned long x)
{
	return (unsigned int)__builtin_ctzl(x);
}

static inline unsigned int flushq_ctz32(uint32_t x)
{
	return (unsigned int)__builtin_ctz(x);
}
#endif

#endif
