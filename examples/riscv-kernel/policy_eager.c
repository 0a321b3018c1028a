/* SPDX-License-Identifier: MIT */
/* Everybody who ever ran the address space is interrupted. */
#include "policy.h"

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
	host_asid_before_switch(h, mm);
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
	.init = host_asid_init,
	.born = host_asid_born,
	.online = eager_online,
	.offline = policy_nothing,
	.before_switch = eager_before_switch,
	.switched = host_asid_switched,
	.parked = host_asid_parked,
	.enter_lazy = policy_nothing,
	.leave_lazy = policy_nothing,
	.shootdown = eager_shootdown,
	.tick = policy_nothing,
	.interrupt = ipi_serve_mailbox,
	.counters = host_asid_counters,
};
