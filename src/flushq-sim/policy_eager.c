/* SPDX-License-Identifier: MIT */
/* Everybody who ever ran the address space is interrupted. */
#include "host_asid.h"

static void eager_before_switch(struct cpu *c, struct mm *mm)
{
	mm->set[0] |= 1UL << c->id;
	host_asid_before_switch(c, mm);
}

static void eager_switched(struct cpu *c, struct mm *mm)
{
	(void)mm;
	host_asid_switched(c);
}

static void eager_shootdown(struct cpu *c, struct mm *mm, const struct range *r)
{
	struct request request = { .range = *r };

	local_flush(c, r);
	ask_and_wait(c, mm ? mm->set[0] : ~0UL, &request);
}

const struct policy policy_eager = {
	.name = "eager",
	.init = host_asid_init,
	.born = host_asid_born,
	.online = host_asid_online,
	.before_switch = eager_before_switch,
	.switched = eager_switched,
	.parked = host_asid_parked,
	.counters = host_asid_counters,
	.shootdown = eager_shootdown,
};
