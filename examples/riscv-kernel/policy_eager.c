/* SPDX-License-Identifier: MIT */
/* Everybody who ever ran the address space is interrupted. */
#include "policy.h"

static void eager_init(unsigned int n)
{
	(void)n;
}

static void eager_online(struct hart *h)
{
	(void)h;
	__asm__ volatile("sfence.vma" : : : "memory");
}

static void eager_before_switch(struct hart *h, struct mm *mm)
{
	/* Full barrier: joins before any translation of mm can be cached here. */
	if (!((load_relaxed(&mm->set[0]) >> h->id) & 1))
		__atomic_fetch_or(&mm->set[0], 1UL << h->id, __ATOMIC_SEQ_CST);
	full_fence();
}

static void eager_switched(struct hart *h, struct mm *mm)
{
	(void)h;
	(void)mm;
}

static void eager_shootdown(struct hart *h, struct mm *mm, const struct range *r)
{
	unsigned long mask;

	full_fence();
	mask = r->kind == KIND_GLOBAL ? load_acquire(&online_mask) : load_acquire(&mm->set[0]);
	local_flush(h, r);
	ipi_fence(h, mask, r);
}

const struct policy policy_eager = {
	.name = "eager",
	.init = eager_init,
	.online = eager_online,
	.before_switch = eager_before_switch,
	.switched = eager_switched,
	.parked = policy_nothing,
	.enter_lazy = policy_nothing,
	.leave_lazy = policy_nothing,
	.shootdown = eager_shootdown,
	.interrupt = ipi_serve_mailbox,
	.counters = policy_no_counters,
};
