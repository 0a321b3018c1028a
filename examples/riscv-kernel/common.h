/* SPDX-License-Identifier: MIT */
/*
 * common.h - what the kernel and its simulator (src/flushq-sim) do alike and count alike. The
 * workload, which user code knows too, is in workload.h.
 */
#ifndef COMMON_H
#define COMMON_H

#define NR_TASKS 128
#define WORKERS 4 /* processes of several threads */
#define PARENTS 4 /* processes that fork children all the time */

#define TICK_US 50
#define SLICE_TICKS 4
#define IDLE_POLL_US 50
#define OFFLINE_US 200

/* Longer ranges are flushed by ASID, by every policy: include/flushq/config.h's default. */
#define FLUSH_PAGES_MAX 64

enum kind { KIND_LEAF, KIND_TABLES, KIND_GLOBAL };
enum task_state { TASK_FREE, TASK_READY, TASK_RUNNING, TASK_SLEEPING, TASK_WAITING };
enum use { USE_NONE, USE_RUNNING, USE_LAZY, USE_MOVING };

/* The same meaning under every policy; a column that does not apply stays 0. */
struct counters {
	unsigned long shootdowns;
	unsigned long ipi_sent; /* pairs of initiator and target */
	unsigned long ipi_parked; /* of those, targets that were not using the mm */
	unsigned long deferred;
	unsigned long covered;
	unsigned long overflow;
	unsigned long escalated;
	unsigned long drains;
	unsigned long flush_page;
	unsigned long flush_asid;
	unsigned long flush_all;
	unsigned long ipi_forced; /* of policies with tickets: what may not wait */
	unsigned long rollovers;
	unsigned long aged;
	unsigned long left_set;
	unsigned long log_appends;
	unsigned long log_replays;
	unsigned long log_lapped;
	unsigned long tickets;
	unsigned long offline; /* times a hart stopped and came back */
	unsigned long switches;
	unsigned long checks;
	unsigned long forks;
	unsigned long migrations;
	unsigned long globals;
};

/* Every counter is an unsigned long. */
static inline void counters_add(struct counters *sum, const struct counters *c)
{
	const unsigned long *from = (const unsigned long *)c;
	unsigned long *to = (unsigned long *)sum;
	unsigned int i;

	for (i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

#endif
