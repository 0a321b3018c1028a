/* SPDX-License-Identifier: MIT */
/*
 * What Linux does on x86 (arch/x86/mm/tlb.c), but for the number of PCIDs: an ASID for each address
 * space here, as for all policies.
 *
 *   - An address space has a generation, which each shootdown raises; each CPU remembers for each
 *     address space the generation that its TLB is of. No ranges are kept.
 *   - The set holds the CPUs that have it in their register: who switches away leaves the set.
 *   - The initiator interrupts those of the set, but no lazy ones unless tables were freed. The
 *     interrupt carries the range and its generation.
 *   - A CPU so asked, or the initiator, flushes just that range if it is behind by that one
 *     generation alone, else the whole ASID. A lazy one flushes nothing: it gives the address space
 *     up.
 *   - A CPU that switches in, or leaves lazy, and is behind flushes the whole ASID.
 *   - Kernel ranges interrupt everybody.
 */
#include "host_asid.h"

static uint64_t generation[NR_MMS];
static uint64_t seen[NR_CPUS][NR_MMS];
static bool lazy[NR_CPUS];

static void flush_whole(struct cpu *c, const struct mm *mm)
{
	struct range range = {
		.start = U_TEXT, .size = U_END - U_TEXT, .asid = mm->asid, .kind = KIND_TABLES
	};

	local_flush(c, &range);
}

static void catch_up(struct cpu *c, const struct mm *mm)
{
	/* Read before the flush: who raises it later finds this CPU in the set, and asks it. */
	uint64_t latest = generation[mm->place];

	if (seen[c->id][mm->place] == latest)
		return;
	flush_whole(c, mm);
	seen[c->id][mm->place] = latest;
	c->count.drains++;
}

static void x86_before_switch(struct cpu *c, struct mm *mm)
{
	lazy[c->id] = false;
	mm->set[0] |= 1UL << c->id;
	host_asid_before_switch(c, mm);
	catch_up(c, mm);
}

static void x86_leave_mm(struct cpu *c)
{
	if (c->mm)
		c->mm->set[0] &= ~(1UL << c->id);
	lazy[c->id] = false;
}

/* Only now: till the register was written, the old one's tables could be walked. */
static void x86_switched(struct cpu *c, struct mm *mm)
{
	(void)mm;
	x86_leave_mm(c);
	host_asid_switched(c);
}

static void x86_parked(struct cpu *c)
{
	x86_leave_mm(c);
	host_asid_parked(c);
}

static void x86_enter_lazy(struct cpu *c)
{
	lazy[c->id] = true;
}

static void x86_leave_lazy(struct cpu *c)
{
	lazy[c->id] = false;
	catch_up(c, c->mm);
}

static void x86_asked(struct cpu *c, const struct request *request)
{
	const struct mm *mm = request->mm;
	uint64_t latest;

	if (!mm) {
		local_flush(c, &request->range);
		return;
	}
	if (lazy[c->id]) {
		mm_park(c);
		return;
	}
	if (c->mm != mm)
		return;
	latest = generation[mm->place];
	if (seen[c->id][mm->place] == latest)
		return;
	if (request->generation == latest && seen[c->id][mm->place] + 1 == latest)
		local_flush(c, &request->range);
	else
		flush_whole(c, mm);
	seen[c->id][mm->place] = latest;
}

static void x86_shootdown(struct cpu *c, struct mm *mm, const struct range *r)
{
	struct request request = { .range = *r, .mm = mm };
	unsigned long mask = ~0UL;
	unsigned int i;

	if (mm) {
		request.generation = ++generation[mm->place];
		mask = mm->set[0];
		for (i = 0; i < nr_cpus; i++) {
			if (!(mask >> i & 1) || !lazy[i] || r->kind == KIND_TABLES)
				continue;
			mask &= ~(1UL << i);
			c->count.deferred++;
		}
	}
	x86_asked(c, &request);
	ask_and_wait(c, mask, &request);
}

const struct policy policy_x86 = {
	.name = "x86",
	.init = host_asid_init,
	.born = host_asid_born,
	.online = host_asid_online,
	.counters = host_asid_counters,
	.before_switch = x86_before_switch,
	.switched = x86_switched,
	.parked = x86_parked,
	.enter_lazy = x86_enter_lazy,
	.leave_lazy = x86_leave_lazy,
	.shootdown = x86_shootdown,
	.asked = x86_asked,
};
