/* SPDX-License-Identifier: MIT */
/*
 * atomic.h - the few atomic operations flushq uses, each named after its order.
 *
 * A host that has its own (a kernel, a model checker) defines FLUSHQ_ATOMIC_H as the header to
 * include instead; it must supply every name below with at least this order under the C11 memory
 * model. None may block, and all must work on ordinary cached memory, in any context (IRQ, NMI).
 *
 * The types hold plain integers, so that a host's own word (a Linux cpumask) can be handed in.
 */
#ifndef FLUSHQ_ATOMIC_H_INCLUDED
#define FLUSHQ_ATOMIC_H_INCLUDED

#include "config.h"

/* A position in a log, and what a queue's slot keeps of its own while it is filled. */
#if FLUSHQ_POSITION_BITS == 8
typedef uint8_t flushq_pos;
typedef int8_t flushq_pos_diff;
#elif FLUSHQ_POSITION_BITS == 16
typedef uint16_t flushq_pos;
typedef int16_t flushq_pos_diff;
#else
typedef uint32_t flushq_pos;
typedef int32_t flushq_pos_diff;
#endif

#ifdef FLUSHQ_ATOMIC_H
#include FLUSHQ_ATOMIC_H
#else

typedef flushq_pos flushq_atomic_pos;
typedef uint32_t flushq_atomic_u32;
typedef unsigned long flushq_atomic_ulong;

#define flushq_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#if defined(__riscv) && !defined(__clang__)
/* gcc before 14 makes an amoswap of every atomic store, and widens every fence to I/O. */
#define flushq_store_relaxed(p, v) ((void)(*(volatile __typeof__(*(p)) *)(p) = (v)))
#define flushq_store_release(p, v) (flushq_fence_release(), flushq_store_relaxed(p, v))
#define flushq_load_acquire(p)                                                                     \
	__extension__({                                                                            \
		__typeof__(*(p)) flushq_loaded = flushq_load_relaxed(p);                           \
		flushq_fence_acquire();                                                            \
		flushq_loaded;                                                                     \
	})
#else
#define flushq_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define flushq_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define flushq_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#endif

/*
 * True when *p was *expected and is now v. Else *expected is what *p was. Never fails spuriously.
 * gcc before 13 needs an acquire failure for an lr.aq on RISC-V: with the sc.aq of success alone later
 * loads may come before it (RISC-V unprivileged, "Load-Reserved/Store-Conditional").
 */
#define flushq_cas_acquire(p, expected, v)                                                         \
	__atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)

/* These return the old value. */
#define flushq_swap_relaxed(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELAXED)
#define flushq_swap_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define flushq_swap_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)

#define flushq_or_relaxed(p, v) ((void)__atomic_fetch_or((p), (v), __ATOMIC_RELAXED))
#define flushq_or_acquire(p, v) ((void)__atomic_fetch_or((p), (v), __ATOMIC_ACQUIRE))
#define flushq_and_release(p, v) ((void)__atomic_fetch_and((p), (v), __ATOMIC_RELEASE))

#if defined(__riscv) && !defined(__clang__)
static inline void flushq_fence_full(void)
{
	__asm__ __volatile__("fence rw, rw" ::: "memory");
}

static inline void flushq_fence_acquire(void)
{
	__asm__ __volatile__("fence r, rw" ::: "memory");
}

static inline void flushq_fence_release(void)
{
	__asm__ __volatile__("fence rw, w" ::: "memory");
}
#else
/* Orders every earlier access before every later one: store before load as well. */
#define flushq_fence_full() __atomic_thread_fence(__ATOMIC_SEQ_CST)
/* Orders every earlier load before every later access. */
#define flushq_fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
/* Orders every earlier access before every later store. */
#define flushq_fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)
#endif
/* Orders accesses against interrupts on this CPU alone: no instruction. (clang makes a full fence of
 * the builtin on RISC-V.) */
#define flushq_fence_interrupt() __asm__ __volatile__("" ::: "memory")

#endif /* FLUSHQ_ATOMIC_H */
#endif
