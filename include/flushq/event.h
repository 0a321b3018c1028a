/* SPDX-License-Identifier: MIT */
/* event.h - what a CPU counts, and what FLUSHQ_TRACE is told of. */
#ifndef FLUSHQ_EVENT_H
#define FLUSHQ_EVENT_H

#include "atomic.h"

enum flushq_event {
	/* as initiator */
	FLUSHQ_SHOOTDOWNS, /* calls, and waits for tickets */
	FLUSHQ_IPI_SENT, /* CPUs interrupted */
	FLUSHQ_IPI_PARKED, /* of those, no longer in need when it was sent: a race, and rare */
	FLUSHQ_IPI_COALESCED, /* CPUs that had an interrupt on its way already */
	FLUSHQ_IPI_AGAIN, /* CPUs that were waited for so long that they were interrupted once more */
	FLUSHQ_DEFERRED, /* CPUs left to pay at their next switch */
	FLUSHQ_COVERED, /* requests that found no room, but the mark covered them */
	FLUSHQ_OVERFLOWS, /* requests that found no room and set the mark */
	FLUSHQ_LOG_APPENDS, /* requests that went to an address space's log, whatever the number of CPUs */
	FLUSHQ_LOG_BLOCKED, /* of its requests, those that went to the queues instead */
	FLUSHQ_TICKETS, /* shootdowns that interrupted nobody, but had to wait for somebody */
	/* as owner */
	FLUSHQ_DRAINS,
	FLUSHQ_ESCALATIONS, /* drains that met requests behind an unpublished one: everything was
			       flushed */
	FLUSHQ_FLUSHED_PAGES, /* flushes of one page */
	FLUSHQ_FLUSHED_ASIDS, /* flushes of one ASID */
	FLUSHQ_FLUSHED_ALL, /* flushes of everything */
	FLUSHQ_LOG_REPLAYS, /* requests found in a log */
	FLUSHQ_LOG_OVERTAKEN, /* logs that had moved on too far: an ASID flush */
	FLUSHQ_JOINED, /* address spaces switched to of which nothing was held: each an ASID flush */
	FLUSHQ_LEFT, /* sets left: what this CPU held is flushed, nobody need ask it any more */
	FLUSHQ_AGED, /* flushed because too many others ran since */
	FLUSHQ_NR_EVENTS
};

/* Written by its CPU alone, readable by all. */
struct flushq_counts {
	flushq_atomic_ulong n[FLUSHQ_COUNTERS ? FLUSHQ_NR_EVENTS : 1];
};

/* An event that an interrupt counts while its CPU is in here may be lost: these are statistics. */
static inline void flushq_priv_event(struct flushq_counts *counts, unsigned int cpu,
				     enum flushq_event event, unsigned long n)
{
	if (FLUSHQ_COUNTERS)
		flushq_store_relaxed(&counts->n[FLUSHQ_COUNTERS ? event : 0],
				     flushq_load_relaxed(&counts->n[FLUSHQ_COUNTERS ? event : 0]) +
					     n);
	FLUSHQ_TRACE(event, cpu, n);
	(void)cpu;
}

#endif
