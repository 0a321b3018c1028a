/* SPDX-License-Identifier: MIT */
/*
 * step_atomic.h - the default atomic operations behind a hook, for -DFLUSHQ_ATOMIC_H. A program
 * defines test_step(): it may count, stop the thread, or run an interrupt there.
 *
 * With STEP_ORDERED, which the thread sanitizer needs as it knows no fences, what a fence orders is
 * ordered by each access instead.
 */
#ifndef STEP_ATOMIC_H
#define STEP_ATOMIC_H

enum test_step_kind { STEP_LOAD, STEP_STORE, STEP_RMW, STEP_FENCE };

#ifdef __cplusplus
extern "C"
#endif
	void
	test_step(unsigned int kind, const volatile void *p);

typedef flushq_pos flushq_atomic_pos;
typedef uint32_t flushq_atomic_u32;
typedef unsigned long flushq_atomic_ulong;

#ifdef STEP_ORDERED
#define STEP_RELAXED_LOAD __ATOMIC_ACQUIRE
#define STEP_RELAXED_STORE __ATOMIC_RELEASE
#define STEP_RELAXED_RMW __ATOMIC_ACQ_REL
#if defined(__x86_64__)
#define STEP_FENCE_FULL() __asm__ __volatile__("mfence" ::: "memory")
#else
#error "STEP_ORDERED is for the thread sanitizer on x86-64 only"
#endif
#define STEP_FENCE_PART(order) __atomic_signal_fence(order)
#else
#define STEP_RELAXED_LOAD __ATOMIC_RELAXED
#define STEP_RELAXED_STORE __ATOMIC_RELAXED
#define STEP_RELAXED_RMW __ATOMIC_RELAXED
#define STEP_FENCE_FULL() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define STEP_FENCE_PART(order) __atomic_thread_fence(order)
#endif

#define flushq_load_relaxed(p) (test_step(STEP_LOAD, (p)), __atomic_load_n((p), STEP_RELAXED_LOAD))
#define flushq_load_acquire(p) (test_step(STEP_LOAD, (p)), __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define flushq_store_relaxed(p, v)                                                                 \
	(test_step(STEP_STORE, (p)), __atomic_store_n((p), (v), STEP_RELAXED_STORE))
#define flushq_store_release(p, v)                                                                 \
	(test_step(STEP_STORE, (p)), __atomic_store_n((p), (v), __ATOMIC_RELEASE))
#define flushq_cas_acquire(p, expected, v)                                                         \
	(test_step(STEP_RMW, (p)),                                                                 \
	 __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQUIRE,                \
				     __ATOMIC_RELAXED))
#define flushq_swap_relaxed(p, v)                                                                  \
	(test_step(STEP_RMW, (p)), __atomic_exchange_n((p), (v), STEP_RELAXED_RMW))
#define flushq_swap_acquire(p, v)                                                                  \
	(test_step(STEP_RMW, (p)), __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE))
#define flushq_swap_acq_rel(p, v)                                                                  \
	(test_step(STEP_RMW, (p)), __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL))
#define flushq_or_relaxed(p, v)                                                                    \
	(test_step(STEP_RMW, (p)), (void)__atomic_fetch_or((p), (v), STEP_RELAXED_RMW))
#define flushq_or_acquire(p, v)                                                                    \
	(test_step(STEP_RMW, (p)), (void)__atomic_fetch_or((p), (v), __ATOMIC_ACQUIRE))
#define flushq_and_release(p, v)                                                                   \
	(test_step(STEP_RMW, (p)), (void)__atomic_fetch_and((p), (v), __ATOMIC_RELEASE))
#define flushq_fence_full()                                                                        \
	do {                                                                                       \
		test_step(STEP_FENCE, NULL);                                                       \
		STEP_FENCE_FULL();                                                                 \
	} while (0)
#define flushq_fence_acquire() STEP_FENCE_PART(__ATOMIC_ACQUIRE)
#define flushq_fence_release() STEP_FENCE_PART(__ATOMIC_RELEASE)
#define flushq_fence_interrupt() __atomic_signal_fence(__ATOMIC_SEQ_CST)

#endif
