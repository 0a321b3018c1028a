/* SPDX-License-Identifier: MIT */
/*
 * The library, as a kernel would use it: with each CPU's queue, with a log for each address space,
 * and with tickets. A CPU index is a hart id here.
 */
static void fq_trace(int event);
#define FLUSHQ_TRACE(event, cpu, n) fq_trace((int)(event))

#include "flushq/flushq.h"
#include "flushq/arch/riscv/sbi.h"
#include "policy.h"

static struct flushq_cpu cpus[NR_CPUS];
struct flushq fq; /* policy_broken.c throws away what is in it */
static struct flushq_asids asids;
/* By place. */
static struct flushq_mm mms[NR_MMS];
static struct flushq_log logs[NR_MMS];
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
	sbi_served(flushq_sbi_send_ipi(set, words));
}

static void fq_init(unsigned int n)
{
	flushq_init(&fq, cpus, n);
	if (options.resident)
		flushq_limit_resident(&fq, (unsigned int)options.resident);
	flushq_use_asids(&fq, &asids, asid_bits);
}

static void fq_born(struct mm *mm)
{
	flushq_mm_init(&mms[mm_place(mm)], NULL);
}

static void fq_born_with_log(struct mm *mm)
{
	static const struct flushq_log empty;

	logs[mm_place(mm)] = empty;
	flushq_mm_init(&mms[mm_place(mm)], &logs[mm_place(mm)]);
}

static void fq_online(struct hart *h)
{
	flushq_online(&fq, h->id);
}

static void fq_offline(struct hart *h)
{
	flushq_offline(&fq, h->id);
}

static void fq_before_switch(struct hart *h, struct mm *mm)
{
	/* Harts may wait for each other here, at a rollover. */
	bool narrow = asid_bits <= ASID_BITS_NARROW;

	if (narrow)
		wait_begin(h);
	store_relaxed(&mm->asid, flushq_mm_switch_to(&fq, h->id, &mms[mm_place(mm)]));
	if (narrow)
		wait_end(h);
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

static struct flushq_range to_range(const struct range *r)
{
	static const enum flushq_kind kinds[] = {
		[KIND_LEAF] = FLUSHQ_LEAF,
		[KIND_TABLES] = FLUSHQ_TABLES,
		[KIND_GLOBAL] = FLUSHQ_GLOBAL,
	};

	return flushq_range_make((flushq_asid)r->asid, r->start, r->size, PAGE_SIZE,
				 kinds[r->kind]);
}

static void fq_fence_by_sbi(struct hart *h, struct mm *mm, struct flushq_range *range)
{
	unsigned long mask[FLUSHQ_CPUSET_WORDS(NR_CPUS)] = { 0 };
	unsigned int n;

	if (mm)
		n = flushq_mm_post(&fq, h->id, &mms[mm_place(mm)], range, mask);
	else
		n = flushq_post(&fq, h->id, NULL, range, mask);
	if (n == 0)
		return;
	ipi_account(h, mask[0]);
	mask[0] &= firmware_begin(h);
	sbi_served(flushq_sbi_remote_flush(mask, FLUSHQ_CPUSET_WORDS(NR_CPUS), range));
	firmware_end(h);
}

static void fq_shootdown(struct hart *h, struct mm *mm, const struct range *r)
{
	struct flushq_range range = to_range(r);

	if (ipi_by_sbi) {
		fq_fence_by_sbi(h, mm, &range);
		return;
	}
	if (mm)
		flushq_mm_shootdown(&fq, h->id, &mms[mm_place(mm)], &range);
	else
		flushq_shootdown(&fq, h->id, NULL, &range);
	if (waiting[h->id]) {
		waiting[h->id] = false;
		wait_end(h);
	}
}

static bool fq_ticket_take(struct hart *h, struct mm *mm, const struct range *r, void *ticket)
{
	struct flushq_range range = to_range(r);

	_Static_assert(sizeof(struct flushq_ticket) <= TICKET_WORDS * sizeof(unsigned long),
		       "no room for a ticket");
	return flushq_mm_ticket_take(&fq, h->id, &mms[mm_place(mm)], &range, ticket);
}

static bool fq_ticket_done(void *ticket)
{
	return flushq_ticket_done(&fq, ticket);
}

static void fq_tick(struct hart *h)
{
	flushq_tick(&fq, h->id);
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
	sum->aged += flushq_count(&fq, h->id, FLUSHQ_AGED);
	sum->left_set += flushq_count(&fq, h->id, FLUSHQ_LEFT);
	sum->log_appends += flushq_count(&fq, h->id, FLUSHQ_LOG_APPENDS);
	sum->log_replays += flushq_count(&fq, h->id, FLUSHQ_LOG_REPLAYS);
	sum->log_lapped += flushq_count(&fq, h->id, FLUSHQ_LOG_OVERTAKEN);
	if (h->id == (unsigned int)__builtin_ctzl(online_mask))
		sum->rollovers += flushq_asid_rollovers(&asids);
}

#define COMMON                                                                                     \
	.init = fq_init, .online = fq_online, .offline = fq_offline,                               \
	.before_switch = fq_before_switch, .switched = fq_switched, .parked = fq_parked,           \
	.enter_lazy = fq_enter_lazy, .leave_lazy = fq_leave_lazy, .shootdown = fq_shootdown,       \
	.interrupt = fq_interrupt, .counters = fq_counters

const struct policy policy_flushq = {
	COMMON,
	.name = "flushq",
	.born = fq_born,
	.tick = policy_nothing,
};

const struct policy policy_flushq_log = {
	COMMON,
	.name = "flushq-log",
	.born = fq_born_with_log,
	.tick = policy_nothing,
};

const struct policy policy_flushq_ticket = {
	COMMON,
	.name = "flushq-ticket",
	.born = fq_born,
	.ticket_take = fq_ticket_take,
	.ticket_done = fq_ticket_done,
	.tick = fq_tick,
};
