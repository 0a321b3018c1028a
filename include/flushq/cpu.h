/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - what one CPU has in its page-table register, as the others see it: a single word.
 *
 * One word, so that nobody can see "lazy" and "loaded" of different times (the order of two such
 * words was half of CVE-2025-37964). Only the CPU itself writes it.
 *
 *	offline    (0) never onlined: flushes everything before it uses anything, so is owed nothing
 *	parked     no user address space in the register, or one that flushq was not told of
 *	loaded     `asid` is in the register and in use
 *	lazy       `asid` is in the register while an idle or kernel thread runs: the hardware may
 *	           still walk its tables, but nothing uses its translations
 *	switching  (with loaded) `asid` is about to be in the register, which may still hold any other
 *	           address space: the hardware may walk the tables of that one
 */
#ifndef FLUSHQ_CPU_H
#define FLUSHQ_CPU_H

#include "atomic.h"
#include "range.h"

#define FLUSHQ_CONTEXT_OFFLINE ((uint32_t)0)
#define FLUSHQ_CONTEXT_PARKED ((uint32_t)1)
#define FLUSHQ_CONTEXT_LOADED ((uint32_t)2)
#define FLUSHQ_CONTEXT_LAZY ((uint32_t)4)
#define FLUSHQ_CONTEXT_SWITCHING ((uint32_t)8)

static inline uint32_t flushq_context_loaded(flushq_asid asid)
{
	return FLUSHQ_CONTEXT_PARKED | FLUSHQ_CONTEXT_LOADED | (asid & FLUSHQ_ASID_MAX) << 16;
}

/* Whether a CPU whose context reads so must be interrupted for `range`, or may pay later. */
static inline bool flushq_context_needs(uint32_t context, const struct flushq_range *range)
{
	if (range->kind == FLUSHQ_GLOBAL)
		return context != FLUSHQ_CONTEXT_OFFLINE;
	if (range->kind == FLUSHQ_TABLES && context & FLUSHQ_CONTEXT_SWITCHING)
		return true;
	if (!(context & FLUSHQ_CONTEXT_LOADED) || context >> 16 != range->asid)
		return false;
	return !(context & FLUSHQ_CONTEXT_LAZY) || range->kind == FLUSHQ_TABLES;
}

/*
 * The owner stops using something: it goes lazy, parks, or has replaced the register's content.
 * Release (C1), pairs with S4: its last use is over before an initiator can see that it need not be
 * interrupted.
 */
static inline void flushq_context_leave(flushq_atomic_u32 *context, uint32_t word)
{
	flushq_store_release(context, word); /* C1 */
}

/*
 * The owner is about to use `word`. When this returns it must look at what it owes before it does.
 * The fence (C2) pairs with the initiator's (S2): either the owner finds the debt, or the initiator
 * finds it loaded. Release (C1) for what it used until now, as above.
 */
static inline void flushq_context_enter(flushq_atomic_u32 *context, uint32_t word)
{
	flushq_store_release(context, word); /* C1 */
	flushq_fence_full(); /* C2 */
}

#endif
