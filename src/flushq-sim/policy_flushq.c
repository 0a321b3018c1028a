/* SPDX-License-Identifier: MIT */
/* The library, as a kernel would use it: with each CPU's queue, with logs, and with tickets. */
#include <stdlib.h>
#include <string.h>

#include "port.h"

static struct flushq_cpu fq_cpus[NR_CPUS];
static struct flushq_asids asids;
static struct flushq fq;
/* By place. */
static struct flushq_mm mms[NR_MMS];
static struct flushq_log logs[NR_MMS];

static void fq_init(unsigned int n)
{
	flushq_init(&fq, fq_cpus, n);
	if (options.resident)
		flushq_limit_resident(&fq, (unsigned int)options.resident);
	flushq_use_asids(&fq, &asids, (unsigned int)options.asid_bits);
}

static void fq_born(struct mm *mm)
{
	flushq_mm_init(&mms[mm->place], NULL);
}

static void fq_born_with_log(struct mm *mm)
{
	memset(&logs[mm->place], 0, sizeof(logs[mm->place]));
	flushq_mm_init(&mms[mm->place], &logs[mm->place]);
}

static void fq_online(struct cpu *c)
{
	flushq_online(&fq, c->id);
}

static void fq_offline(struct cpu *c)
{
	flushq_offline(&fq, c->id);
}

static void fq_before_switch(struct cpu *c, struct mm *mm)
{
	mm->asid = flushq_mm_switch_to(&fq, c->id, &mms[mm->place]);
}

static void fq_switched(struct cpu *c, struct mm *mm)
{
	(void)mm;
	flushq_switched(&fq, c->id);
}

static void fq_parked(struct cpu *c)
{
	flushq_park(&fq, c->id);
}

static void fq_enter_lazy(struct cpu *c)
{
	flushq_enter_lazy(&fq, c->id);
}

static void fq_leave_lazy(struct cpu *c)
{
	flushq_leave_lazy(&fq, c->id);
}

static void fq_shootdown(struct cpu *c, struct mm *mm, const struct range *r)
{
	struct flushq_range range = port_range(r);

	if (mm)
		flushq_mm_shootdown(&fq, c->id, &mms[mm->place], &range);
	else
		flushq_shootdown(&fq, c->id, NULL, &range);
}

static bool fq_ticket_take(struct cpu *c, struct mm *mm, const struct range *r, void *ticket)
{
	struct flushq_range range = port_range(r);

	FLUSHQ_STATIC_ASSERT(sizeof(struct flushq_ticket) <= TICKET_WORDS * sizeof(uint64_t),
			     "no room for a ticket");
	return flushq_mm_ticket_take(&fq, c->id, &mms[mm->place], &range, ticket);
}

static bool fq_ticket_done(void *ticket)
{
	return flushq_ticket_done(&fq, ticket);
}

static void fq_interrupt(struct cpu *c)
{
	flushq_drain(&fq, c->id);
}

static void fq_tick(struct cpu *c)
{
	flushq_tick(&fq, c->id);
}

/* What was flushed, and tickets, are counted by the machine. */
static void fq_counters(struct cpu *c, struct counters *sum)
{
	sum->deferred += flushq_count(&fq, c->id, FLUSHQ_DEFERRED);
	sum->covered += flushq_count(&fq, c->id, FLUSHQ_COVERED);
	sum->overflow += flushq_count(&fq, c->id, FLUSHQ_OVERFLOWS);
	sum->escalated += flushq_count(&fq, c->id, FLUSHQ_ESCALATIONS);
	sum->drains += flushq_count(&fq, c->id, FLUSHQ_DRAINS);
	sum->aged += flushq_count(&fq, c->id, FLUSHQ_AGED);
	sum->left_set += flushq_count(&fq, c->id, FLUSHQ_LEFT);
	sum->log_appends += flushq_count(&fq, c->id, FLUSHQ_LOG_APPENDS);
	sum->log_replays += flushq_count(&fq, c->id, FLUSHQ_LOG_REPLAYS);
	sum->log_lapped += flushq_count(&fq, c->id, FLUSHQ_LOG_OVERTAKEN);
	if (c->id == 0)
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
};

const struct policy policy_flushq_log = {
	COMMON,
	.name = "flushq-log",
	.born = fq_born_with_log,
};

const struct policy policy_flushq_ticket = {
	COMMON,
	.name = "flushq-ticket",
	.born = fq_born,
	.ticket_take = fq_ticket_take,
	.ticket_done = fq_ticket_done,
	.tick = fq_tick,
};
