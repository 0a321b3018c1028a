/* SPDX-License-Identifier: MIT */
/* relacy_atomic.h - flushq's atomics, each a step of relacy's C11 memory model. */
#ifndef MODEL_RELACY_ATOMIC_H
#define MODEL_RELACY_ATOMIC_H

#include "engine.h"

namespace model
{

template <typename T> struct same {
	typedef T type;
};

template <typename T> struct word : rl::atomic<T> {
	/* Set for words that must never be accessed by two threads at once, order or no order. */
	rl::var<int> *plain = nullptr;
	/* Set for hints: what a thread reads at first, which may be any value. */
	const long *stale = nullptr;
	/* Set for words in memory that is freed some time: 1 until then. */
	rl::var<int> *memory = nullptr;
};

template <typename T> void touch(const word<T> *p, rl::debug_info_param info)
{
	if (p->memory && p->memory->load(info) != 1)
		rl::ctx().fail_test("freed memory", rl::test_result_user_assert_failed, info);
}

template <typename T> T load(const word<T> *p, rl::memory_order order, rl::debug_info_param info)
{
	touch(p, info);
	if (p->stale && p->stale[rl::thread_index()] >= 0)
		return (T)p->stale[rl::thread_index()];
	T v = p->rl::template atomic<T>::load(order, info);
	if (p->plain)
		(void)p->plain->load(info);
	return v;
}

template <typename T>
void store(word<T> *p, typename same<T>::type v, rl::memory_order order, rl::debug_info_param info)
{
	touch(p, info);
	p->rl::template atomic<T>::store(v, order, info);
	end_release_sequence(p->impl_, order == rl::mo_release);
	if (p->plain)
		p->plain->store(0, info);
}

template <typename T>
bool cas(word<T> *p, T *expected, typename same<T>::type v, rl::memory_order order,
	 rl::debug_info_param info)
{
	touch(p, info);
	return p->compare_exchange_strong(*expected, v, order, info, rl::mo_relaxed, info);
}

template <typename T>
T swap(word<T> *p, typename same<T>::type v, rl::memory_order order, rl::debug_info_param info)
{
	touch(p, info);
	return p->exchange(v, order, info);
}

template <typename T>
void set(word<T> *p, typename same<T>::type v, rl::memory_order order, rl::debug_info_param info)
{
	touch(p, info);
	(void)p->fetch_or(v, order, info);
}

template <typename T>
void keep(word<T> *p, typename same<T>::type v, rl::memory_order order, rl::debug_info_param info)
{
	touch(p, info);
	(void)p->fetch_and(v, order, info);
}

} // namespace model

typedef model::word<flushq_pos> flushq_atomic_pos;
typedef model::word<uint32_t> flushq_atomic_u32;
typedef model::word<unsigned long> flushq_atomic_ulong;

#define flushq_load_relaxed(p) model::load((p), rl::mo_relaxed, RL_INFO)
#define flushq_load_acquire(p) model::load((p), rl::mo_acquire, RL_INFO)
#define flushq_store_relaxed(p, v) model::store((p), (v), rl::mo_relaxed, RL_INFO)
#define flushq_store_release(p, v) model::store((p), (v), rl::mo_release, RL_INFO)
#define flushq_cas_acquire(p, expected, v) model::cas((p), (expected), (v), rl::mo_acquire, RL_INFO)
#define flushq_swap_relaxed(p, v) model::swap((p), (v), rl::mo_relaxed, RL_INFO)
#define flushq_swap_acquire(p, v) model::swap((p), (v), rl::mo_acquire, RL_INFO)
#define flushq_swap_acq_rel(p, v) model::swap((p), (v), rl::mo_acq_rel, RL_INFO)
#define flushq_or_relaxed(p, v) model::set((p), (v), rl::mo_relaxed, RL_INFO)
#define flushq_or_acquire(p, v) model::set((p), (v), rl::mo_acquire, RL_INFO)
#define flushq_and_release(p, v) model::keep((p), (v), rl::mo_release, RL_INFO)
#define flushq_fence_full() rl::atomic_thread_fence(rl::mo_seq_cst, RL_INFO)
#define flushq_fence_acquire() rl::atomic_thread_fence(rl::mo_acquire, RL_INFO)
#define flushq_fence_release() rl::atomic_thread_fence(rl::mo_release, RL_INFO)
/* Where an NMI may come. */
#ifndef MODEL_INTERRUPT
#define MODEL_INTERRUPT() ((void)0)
#endif
#define flushq_fence_interrupt() MODEL_INTERRUPT()

/* Never in the headers: what tests/model/mutate puts there. */
#define model_cas_relaxed(p, expected, v) model::cas((p), (expected), (v), rl::mo_relaxed, RL_INFO)
#define model_swap_relaxed(p, v) model::swap((p), (v), rl::mo_relaxed, RL_INFO)
#define model_swap_acquire(p, v) model::swap((p), (v), rl::mo_acquire, RL_INFO)
#define model_swap_release(p, v) model::swap((p), (v), rl::mo_release, RL_INFO)
#define model_or_release(p, v) model::set((p), (v), rl::mo_release, RL_INFO)
#define model_and_relaxed(p, v) model::keep((p), (v), rl::mo_relaxed, RL_INFO)

#endif
