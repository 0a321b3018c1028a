/* SPDX-License-Identifier: MIT */
/*
 * bare_switch.h - what no switch can do without that may have to join, and may be owed something: a look
 * whether this CPU is a member, the context known to all, the fence, a look at queue and mark. It is no
 * switch: it keeps nothing in mind, and has nothing to do where a look finds something. To compare with.
 */
#ifndef BARE_SWITCH_H
#define BARE_SWITCH_H

#include "flushq/flushq.h"

static inline bool bare_switch_to(struct flushq *fq, unsigned int self, flushq_asid asid,
				  flushq_atomic_ulong *set)
{
	struct flushq_cpu *cpu = &fq->cpu[self];

	if (!flushq_cpuset_has(set, self))
		return false;
	flushq_context_enter(&cpu->context, flushq_context_loaded(asid) | FLUSHQ_CONTEXT_SWITCHING);
	return flushq_ring_idle(&cpu->queue.ring, cpu->head);
}

static inline void bare_switched(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu = &fq->cpu[self];

	flushq_context_leave(&cpu->context,
			     flushq_load_relaxed(&cpu->context) & ~FLUSHQ_CONTEXT_SWITCHING);
}

#endif
