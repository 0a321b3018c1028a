// SPDX-License-Identifier: MIT
/*
 * litmus.cc - what relacy itself shows: a known shape, with the outcome that C11 allows or forbids.
 *
 * The scenarios named *_seen must fail (the weak outcome is reached), the others must not.
 */
#include "engine.h"

#include <new>

namespace
{

struct shared {
	rl::atomic<int> x, y, z;
	rl::var<int> plain;
	int r[4];
};

alignas(shared) char space[sizeof(shared)];
shared *s;
rl::debug_info here;

void before()
{
	s = ::new (static_cast<void *>(space)) shared;
	s->x.store(0, rl::mo_relaxed, here);
	s->y.store(0, rl::mo_relaxed, here);
	s->z.store(0, rl::mo_relaxed, here);
	s->plain(here).store(0);
	for (int i = 0; i < 4; i++)
		s->r[i] = -1;
}

void end()
{
	s->~shared();
}

void fail_if(bool weak)
{
	if (weak)
		rl::ctx().fail_test("", rl::test_result_user_assert_failed, here);
	end();
}

enum { RLX = rl::mo_relaxed, ACQ = rl::mo_acquire, REL = rl::mo_release };

int get(rl::atomic<int> &a, int order = RLX)
{
	return a.load((rl::memory_order)order, here);
}

void put(rl::atomic<int> &a, int v, int order = RLX)
{
	a.store(v, (rl::memory_order)order, here);
	if (order == RLX)
		model::end_release_sequence(a.impl_);
}

void fence(rl::memory_order order)
{
	rl::atomic_thread_fence(order, here);
}

template <bool FENCE0, bool FENCE1> void sb(int t)
{
	put(t ? s->y : s->x, 1);
	if (t ? FENCE1 : FENCE0)
		fence(rl::mo_seq_cst);
	s->r[t] = get(t ? s->x : s->y);
}

void sb_after()
{
	fail_if(s->r[0] == 0 && s->r[1] == 0);
}

template <int ST, int LD> void mp(int t)
{
	if (t == 0) {
		put(s->x, 1);
		put(s->y, 1, ST);
	} else {
		s->r[0] = get(s->y, LD);
		s->r[1] = get(s->x);
	}
}

template <bool WRITER, bool READER> void mp_fences(int t)
{
	if (t == 0) {
		put(s->x, 1);
		if (WRITER)
			fence(rl::mo_release);
		put(s->y, 1);
	} else {
		s->r[0] = get(s->y);
		if (READER)
			fence(rl::mo_acquire);
		s->r[1] = get(s->x);
	}
}

void mp_after()
{
	fail_if(s->r[0] == 1 && s->r[1] == 0);
}

/* A release store, overwritten by a relaxed one of the same thread: no release sequence in C++20. */
void mp_overwritten(int t)
{
	if (t == 0) {
		put(s->x, 1);
		put(s->y, 1, REL);
		put(s->y, 2);
	} else {
		s->r[0] = get(s->y, ACQ) == 2;
		s->r[1] = get(s->x);
	}
}

/* The same with a read-modify-write of another thread in between: still one. */
void mp_rmw(int t)
{
	if (t == 0) {
		put(s->x, 1);
		put(s->y, 1, REL);
	} else if (t == 1) {
		s->y.fetch_or(2, rl::mo_relaxed, here);
	} else {
		s->r[0] = get(s->y, ACQ) == 3;
		s->r[1] = get(s->x);
	}
}

/* Message passing through a third thread, which publishes what it read: log.h's L2, from L4 to L5. */
template <int LD> void chain(int t)
{
	if (t == 0) {
		put(s->x, 1);
		put(s->y, 1, REL);
	} else if (t == 1) {
		s->r[2] = get(s->y, LD);
		fence(rl::mo_release);
		put(s->z, 1, REL);
	} else {
		s->r[0] = get(s->z, ACQ);
		s->r[1] = get(s->x);
	}
}

void chain_after()
{
	fail_if(s->r[2] == 1 && s->r[0] == 1 && s->r[1] == 0);
}

template <bool FENCES> void iriw(int t)
{
	if (t < 2) {
		put(t ? s->y : s->x, 1);
	} else {
		s->r[(t - 2) * 2] = get(t == 2 ? s->x : s->y);
		if (FENCES)
			fence(rl::mo_seq_cst);
		s->r[(t - 2) * 2 + 1] = get(t == 2 ? s->y : s->x);
	}
}

void iriw_after()
{
	fail_if(s->r[0] == 1 && s->r[1] == 0 && s->r[2] == 1 && s->r[3] == 0);
}

/* Store buffering where the second writer is only seen through a third thread's relaxed copy. */
void sb_copied(int t)
{
	if (t == 0) {
		put(s->x, 1);
		fence(rl::mo_seq_cst);
		s->r[0] = get(s->y);
	} else if (t == 1) {
		put(s->y, 1);
	} else {
		s->r[2] = get(s->y);
		fence(rl::mo_seq_cst);
		s->r[1] = get(s->x);
	}
}

void sb_copied_after()
{
	fail_if(s->r[2] == 1 && s->r[0] == 0 && s->r[1] == 0);
}

/* A walk is ordered by the flush alone, and the flush orders nothing else. */
template <bool FLUSH> void sb_walk(int t)
{
	if (t == 0) {
		put(s->x, 1);
		fence(rl::mo_seq_cst);
		s->r[0] = get(s->y);
	} else {
		model::walk_order order = {};

		put(s->y, 1);
		if (FLUSH)
			model::order_walks(&order);
		s->r[1] = model::walk(&s->x, &order);
	}
}

void sb_walk_other(int t)
{
	if (t == 0) {
		put(s->x, 1);
		fence(rl::mo_seq_cst);
		s->r[0] = get(s->y);
	} else {
		model::walk_order order = {};

		put(s->y, 1);
		model::order_walks(&order);
		s->r[1] = get(s->x);
	}
}

/* These relacy can't show: a load that reads what comes later, stores that overtake stores. */
void lb(int t)
{
	s->r[t] = get(t ? s->y : s->x);
	put(t ? s->x : s->y, 1);
}

void lb_after()
{
	fail_if(s->r[0] == 1 && s->r[1] == 1);
}

void two_writes(int t)
{
	put(t ? s->y : s->x, 1);
	put(t ? s->x : s->y, 2);
}

void two_writes_after()
{
	fail_if(s->x.value_ == 1 && s->y.value_ == 1);
}

/* But it shows the missing order that would allow them, as a race on plain data. */
template <int ORDER> void reuse(int t)
{
	if (t == 0) {
		(void)s->plain(here).load();
		put(s->x, 1, ORDER == RLX ? RLX : REL);
	} else if (get(s->x, ORDER == RLX ? RLX : ACQ) == 1) {
		s->plain(here).store(1);
	}
}

const model::scenario table[] = {
	{ "sb_seen", 2, 0, before, sb<false, false>, sb_after },
	{ "sb_one_fence_seen", 2, 0, before, sb<true, false>, sb_after },
	{ "sb_fences", 2, 0, before, sb<true, true>, sb_after },
	{ "sb_copied", 3, 0, before, sb_copied, sb_copied_after },
	{ "sb_walk_seen", 2, 0, before, sb_walk<false>, sb_after },
	{ "sb_walk_flush", 2, 0, before, sb_walk<true>, sb_after },
	{ "sb_walk_other_seen", 2, 0, before, sb_walk_other, sb_after },
	{ "mp_seen", 2, 0, before, mp<RLX, RLX>, mp_after },
	{ "mp_release_only_seen", 2, 0, before, mp<REL, RLX>, mp_after },
	{ "mp_acquire_only_seen", 2, 0, before, mp<RLX, ACQ>, mp_after },
	{ "mp_release_acquire", 2, 0, before, mp<REL, ACQ>, mp_after },
	{ "mp_fence_release_only_seen", 2, 0, before, mp_fences<true, false>, mp_after },
	{ "mp_fence_acquire_only_seen", 2, 0, before, mp_fences<false, true>, mp_after },
	{ "mp_fences", 2, 0, before, mp_fences<true, true>, mp_after },
	{ "mp_overwritten_seen", 2, 0, before, mp_overwritten, mp_after },
	{ "mp_rmw", 3, 0, before, mp_rmw, mp_after },
	{ "chain_relaxed_seen", 3, 0, before, chain<RLX>, chain_after },
	{ "chain_acquire", 3, 0, before, chain<ACQ>, chain_after },
	{ "iriw_seen", 4, 0, before, iriw<false>, iriw_after },
	{ "iriw_fences", 4, 0, before, iriw<true>, iriw_after },
	{ "reuse_relaxed_seen", 2, 0, before, reuse<RLX>, end },
	{ "reuse_release_acquire", 2, 0, before, reuse<REL>, end },
	{ "lb_not_shown", 2, 0, before, lb, lb_after },
	{ "2+2w_not_shown", 2, 0, before, two_writes, two_writes_after },
};

} // namespace

int main(int argc, char **argv)
{
	return model::main(argc, argv, "litmus", table, sizeof(table) / sizeof(*table));
}
