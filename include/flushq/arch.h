/* SPDX-License-Identifier: MIT */
/*
 * arch.h - the porting contract. A port supplies the functions below; it is chosen at the end.
 *
 * Flushing, on this CPU alone, in any context:
 *
 *	void flushq_arch_flush(const struct flushq_range *range);
 *
 *	range->kind	pages > 0				pages == 0
 *	FLUSHQ_LEAF	those pages' leaf entries in the ASID	every entry of the ASID
 *	FLUSHQ_TABLES	the same, and the ASID's non-leaf ones	every entry of the ASID
 *	FLUSHQ_GLOBAL	those pages' leaf entries in every	everything
 *			ASID, those marked global as well
 *
 *	bool flushq_arch_by_page(enum flushq_kind kind);
 *
 * says whether the port flushes pages of that kind one by one. Where not, it is asked for every
 * address at once, so that the same is not flushed twice.
 *
 * A flush may remove more. When it returns, nothing of that cached before the call can be used. It
 * orders every access before it, in program order, before every page-table walk after it for an address
 * and an ASID that it is asked for, and the compiler moves no access across it.
 *
 * Interrupts, on this CPU (save and restore nest; irqs_off is for FLUSHQ_ASSERT; relax is one turn
 * of a wait):
 *
 *	unsigned long flushq_arch_irq_save(void);
 *	void flushq_arch_irq_restore(unsigned long flags);
 *	bool flushq_arch_irqs_off(void);
 *	void flushq_arch_relax(void);
 *
 * Interrupts to others: makes each CPU of that set (cpuset.h; flushq's numbers, not hart ids) call
 * flushq_drain() soon. It orders the caller's earlier accesses before the handlers' and may be called
 * with interrupts on or off. A CPU that can't be interrupted must not keep the others from being so. A
 * handler acknowledges the interrupt before it drains (on RISC-V flushq_riscv_acknowledge(): the CSR's
 * bit, and a fence), or one that comes meanwhile would be lost.
 *
 *	void flushq_arch_interrupt(const unsigned long *cpus, unsigned int words);
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
