/* SPDX-License-Identifier: MIT */
/*
 * As Guo Ren asks on the list: no ranges, each flush is of the whole ASID. A CPU that does not use
 * the address space, lazy ones included unless tables were freed, gets a note and flushes that ASID
 * when it next switches to it or leaves lazy; notes need no room, so nothing overflows. Those that
 * use it are interrupted and flush the whole ASID as well, as does the initiator. Kernel ranges are
 * flushed by page everywhere at once, as by every policy.
 */
#include "host_asid.h"

static bool owes[NR_CPUS][NR_MMS]; /* by place */
/* In use, or about to be: made known before the note is looked at. */
static const struct mm *used[NR_CPUS];

static struct range whole(const struct mm *mm, enum kind kind)
{
	return (struct range){
		.start = U_TEXT, .size = U_END - U_TEXT, .asid = mm->asid, .kind = kind
	};
}

static void asid_enter(struct cpu *c, struct mm *mm)
{
	struct range range = whole(mm, KIND_TABLES);

	used[c->id] = mm;
	if (!owes[c->id][mm->place])
		return;
	owes[c->id][mm->place] = false;
	local_flush(c, &range);
	c->count.drains++;
}

static void asid_before_switch(struct cpu *c, struct mm *mm)
{
	mm->set[0] |= 1UL << c->id;
	host_asid_before_switch(c, mm);
	asid_enter(c, mm);
}

static void asid_leave_lazy(struct cpu *c)
{
	asid_enter(c, c->mm);
}

static void asid_switched(struct cpu *c, struct mm *mm)
{
	(void)mm;
	host_asid_switched(c);
}

static void asid_leave(struct cpu *c)
{
	used[c->id] = NULL;
}

static void asid_parked(struct cpu *c)
{
	asid_leave(c);
	host_asid_parked(c);
}

static void asid_shootdown(struct cpu *c, struct mm *mm, const struct range *r)
{
	struct request request = { .range = *r };
	unsigned long mask = ~0UL;
	unsigned int i;

	if (mm) {
		request.range = whole(mm, r->kind);
		mask = mm->set[0] & ~(1UL << c->id);
		for (i = 0; i < nr_cpus; i++) {
			/* What is lazy, or just switching, may still walk the tables. */
			if (!(mask >> i & 1) || used[i] == mm ||
			    (r->kind == KIND_TABLES && cpus[i].mm == mm))
				continue;
			owes[i][mm->place] = true;
			mask &= ~(1UL << i);
			c->count.deferred++;
		}
	}
	local_flush(c, &request.range);
	ask_and_wait(c, mask, &request);
}

const struct policy policy_asid = {
	.name = "asid",
	.init = host_asid_init,
	.born = host_asid_born,
	.online = host_asid_online,
	.counters = host_asid_counters,
	.before_switch = asid_before_switch,
	.switched = asid_switched,
	.parked = asid_parked,
	.enter_lazy = asid_leave,
	.leave_lazy = asid_leave_lazy,
	.shootdown = asid_shootdown,
};
