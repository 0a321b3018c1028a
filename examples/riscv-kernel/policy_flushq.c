/* SPDX-License-Identifier: MIT */
/* The library, as a kernel would use it. A CPU index is a hart id here. */
static void fq_trace(int event);
#define FLUSHQ_TRACE(event, cpu, n) fq_trace((int)(event))

#include "flushq/flushq.h"
#include "flushq/arch/riscv/sbi.h"
#include "policy.h"

static struct flushq_cpu cpus[NR_CPUS];
struct flushq fq; /* policy_broken.c throws away what is in it */
static bool waiting[NR_CPUS];

/* The library is about to wait, see wait_begin(). */
static void fq_waits(struct hart *h)
{
	if (waiting[h->id])
		return;
	waiting[h->id] = true;
	wait_begin(h);
}

/* Others have rung already for a hart that has to drain: it is waited for all the same. */
static void fq_trace(int event)
{
	if (event == FLUSHQ_IPI_COALESCED)
		fq_waits(this_hart());
}

/* The high call of ipi=own asks for this. */
void flushq_host_interrupt(const unsigned long *set, unsigned int words)
{
	fq_waits(this_hart());
	ipi_account(this_hart(), set[0]);
	full_fence();
	flushq_sbi_send_ipi(set, words);
}

static void fq_init(unsigned int n)
{
	flushq_init(&fq, cpus, n);
}

static void fq_online(struct hart *h)
{
	flushq_online(&fq, h->id);
}

static void fq_before_switch(struct hart *h, struct mm *mm)
{
	flushq_switch_to(&fq, h->id, (flushq_asid)mm->asid, mm->set);
}

static void fq_switched(struct hart *h, struct mm *mm)
{
	(void)mm;
	flushq_switched(&fq, h->id);
}

static void fq_parked(struct hart *h)
{
	flushq_park(&fq, h->id);
}

static void fq_enter_lazy(struct hart *h)
{
	flushq_enter_lazy(&fq, h->id);
}

static void fq_leave_lazy(struct hart *h)
{
	flushq_leave_lazy(&fq, h->id);
}

static void fq_shootdown(struct hart *h, struct mm *mm, const struct range *r)
{
	static const enum flushq_kind kinds[] = {
		[KIND_LEAF] = FLUSHQ_LEAF,
		[KIND_TABLES] = FLUSHQ_TABLES,
		[KIND_GLOBAL] = FLUSHQ_GLOBAL,
	};
	struct flushq_range range = flushq_range_make((flushq_asid)r->asid, r->start, r->size,
						      PAGE_SIZE, kinds[r->kind]);
	unsigned long mask[FLUSHQ_CPUSET_WORDS(NR_CPUS)] = { 0 };
	const unsigned long *set = mm ? mm->set : NULL;

	if (!ipi_by_sbi) {
		flushq_shootdown(&fq, h->id, set, &range);
		if (waiting[h->id]) {
			waiting[h->id] = false;
			wait_end(h);
		}
	} else if (flushq_post_fenced(&fq, h->id, set, &range, mask)) {
		ipi_account(h, mask[0]);
		firmware_begin(h);
		flushq_sbi_remote_flush(mask, FLUSHQ_CPUSET_WORDS(NR_CPUS), &range);
		firmware_end(h);
	}
}

static void fq_interrupt(struct hart *h)
{
	flushq_drain(&fq, h->id);
}

static void fq_counters(struct hart *h, struct counters *sum)
{
	sum->deferred += flushq_count(&fq, h->id, FLUSHQ_DEFERRED);
	sum->covered += flushq_count(&fq, h->id, FLUSHQ_COVERED);
	sum->overflow += flushq_count(&fq, h->id, FLUSHQ_OVERFLOWS);
	sum->escalated += flushq_count(&fq, h->id, FLUSHQ_ESCALATIONS);
	sum->drains += flushq_count(&fq, h->id, FLUSHQ_DRAINS);
	sum->flush_page += flushq_count(&fq, h->id, FLUSHQ_FLUSHED_PAGES);
	sum->flush_asid += flushq_count(&fq, h->id, FLUSHQ_FLUSHED_ASIDS);
	sum->flush_all += flushq_count(&fq, h->id, FLUSHQ_FLUSHED_ALL);
}

const struct policy policy_flushq = {
	.name = "flushq",
	.init = fq_init,
	.online = fq_online,
	.before_switch = fq_before_switch,
	.switched = fq_switched,
	.parked = fq_parked,
	.enter_lazy = fq_enter_lazy,
	.leave_lazy = fq_leave_lazy,
	.shootdown = fq_shootdown,
	.interrupt = fq_interrupt,
	.counters = fq_counters,
};
