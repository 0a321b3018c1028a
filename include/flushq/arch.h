/* SPDX-License-Identifier: MIT */
/*
 * arch.h - the porting contract. A port supplies the functions below; it is chosen at the end of
 * this file.
 *
 * Flushing, on this CPU alone:
 *
 *	void flushq_arch_flush(const struct flushq_range *range);
 *
 *	range->kind     pages > 0                                     pages == 0
 *	FLUSHQ_LEAF     leaf entries of those pages, that ASID        every entry of that ASID
 *	FLUSHQ_TABLES   the same, and every non-leaf entry of it      every entry of that ASID
 *	FLUSHQ_GLOBAL   those pages in every ASID, global ones too    everything
 *
 *	before: any context. It may flush more. after: no translation cached before the call can be
 * used. It orders every access before it, in program order, before every page-table walk after it,
 * and is no place for the compiler to move accesses across.
 *
 * Interrupts, on this CPU:
 *
 *	unsigned long flushq_arch_irq_save(void);        turns them off; returns what restore needs.
 * Nests. void flushq_arch_irq_restore(unsigned long); bool flushq_arch_irqs_off(void); for
 * FLUSHQ_ASSERT void flushq_arch_relax(void);                    one turn of a wait
 *
 *	void flushq_arch_interrupt(const unsigned long *cpus, unsigned int words);
 *	make each CPU of that set (cpuset.h) call flushq_drain() soon. Orders the caller's earlier
 * accesses before the handler's. May be called with interrupts on or off. A CPU that can't be
 * interrupted must not stop the others of the set from being so.
 */
#ifndef FLUSHQ_ARCH_H
#define FLUSHQ_ARCH_H

#include "atomic.h"
#include "range.h"

#if defined(FLUSHQ_ARCH_PORTABLE) || !defined(__riscv)
#include "arch/portable.h"
#else
#include "arch/riscv.h"
#endif

#endif
