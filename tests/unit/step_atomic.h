/* SPDX-License-Identifier: MIT */
/*
 * step_atomic.h - a replacement for the operations of flushq/atomic.h that counts each one, and lets
 * a test run anything it likes before the n-th: a CPU stalled there, as the others see it.
 */
#ifndef STEP_ATOMIC_H
#define STEP_ATOMIC_H

enum step_kind {
	STEP_LOAD,
	STEP_STORE,
	STEP_RMW,
	STEP_FENCE_FULL,
	STEP_FENCE_ACQUIRE,
	STEP_FENCE_RELEASE,
	STEP_FENCE_INTERRUPT,
	STEP_NR_KINDS
};

struct step {
	unsigned long n[STEP_NR_KINDS];
	/* Called before each operation; `where` is NULL for a fence. */
	void (*hook)(enum step_kind kind, const volatile void *where);
};

extern struct step steps;

static inline void step_at(enum step_kind kind, const volatile void *where)
{
	steps.n[kind]++;
	if (steps.hook)
		steps.hook(kind, where);
}

typedef flushq_pos flushq_atomic_pos;
typedef uint32_t flushq_atomic_u32;
typedef unsigned long flushq_atomic_ulong;

#define flushq_load_relaxed(p) (step_at(STEP_LOAD, (p)), __atomic_load_n((p), __ATOMIC_RELAXED))
#define flushq_load_acquire(p) (step_at(STEP_LOAD, (p)), __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define flushq_store_relaxed(p, v)                                                                 \
	(step_at(STEP_STORE, (p)), __atomic_store_n((p), (v), __ATOMIC_RELAXED))
#define flushq_store_release(p, v)                                                                 \
	(step_at(STEP_STORE, (p)), __atomic_store_n((p), (v), __ATOMIC_RELEASE))
#define flushq_cas_acquire(p, expected, v)                                                         \
	(step_at(STEP_RMW, (p)), __atomic_compare_exchange_n((p), (expected), (v), false,          \
							     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
#define flushq_swap_relaxed(p, v)                                                                  \
	(step_at(STEP_RMW, (p)), __atomic_exchange_n((p), (v), __ATOMIC_RELAXED))
#define flushq_swap_acquire(p, v)                                                                  \
	(step_at(STEP_RMW, (p)), __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE))
#define flushq_swap_acq_rel(p, v)                                                                  \
	(step_at(STEP_RMW, (p)), __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL))
#define flushq_or_relaxed(p, v)                                                                    \
	(step_at(STEP_RMW, (p)), (void)__atomic_fetch_or((p), (v), __ATOMIC_RELAXED))
#define flushq_or_acquire(p, v)                                                                    \
	(step_at(STEP_RMW, (p)), (void)__atomic_fetch_or((p), (v), __ATOMIC_ACQUIRE))
#define flushq_and_release(p, v)                                                                   \
	(step_at(STEP_RMW, (p)), (void)__atomic_fetch_and((p), (v), __ATOMIC_RELEASE))
#define flushq_fence_full()                                                                        \
	(step_at(STEP_FENCE_FULL, NULL), __atomic_thread_fence(__ATOMIC_SEQ_CST))
#define flushq_fence_acquire()                                                                     \
	(step_at(STEP_FENCE_ACQUIRE, NULL), __atomic_thread_fence(__ATOMIC_ACQUIRE))
#define flushq_fence_release()                                                                     \
	(step_at(STEP_FENCE_RELEASE, NULL), __atomic_thread_fence(__ATOMIC_RELEASE))
#define flushq_fence_interrupt()                                                                   \
	(step_at(STEP_FENCE_INTERRUPT, NULL), __atomic_signal_fence(__ATOMIC_SEQ_CST))

#endif
