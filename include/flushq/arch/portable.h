/* SPDX-License-Identifier: MIT */
/*
 * portable.h - any machine: the host defines these functions, whose contract is in ../arch.h.
 *
 * Chosen where there is no backend, and anywhere with -DFLUSHQ_ARCH_PORTABLE.
 */
#ifndef FLUSHQ_ARCH_PORTABLE_H
#define FLUSHQ_ARCH_PORTABLE_H

#include "../range.h"

#ifdef __cplusplus
extern "C" {
#endif

void flushq_host_flush(const struct flushq_range *range);
unsigned long flushq_host_irq_save(void);
void flushq_host_irq_restore(unsigned long flags);
bool flushq_host_irqs_off(void);
void flushq_host_relax(void);
void flushq_host_interrupt(const unsigned long *cpus, unsigned int words);

#ifdef __cplusplus
}
#endif

static inline bool flushq_arch_by_page(enum flushq_kind kind)
{
	(void)kind;
	return true;
}

static inline void flushq_arch_flush(const struct flushq_range *range)
{
	flushq_host_flush(range);
}

static inline unsigned long flushq_arch_irq_save(void)
{
	return flushq_host_irq_save();
}

static inline void flushq_arch_irq_restore(unsigned long flags)
{
	flushq_host_irq_restore(flags);
}

static inline bool flushq_arch_irqs_off(void)
{
	return flushq_host_irqs_off();
}

static inline void flushq_arch_relax(void)
{
	flushq_host_relax();
}

static inline void flushq_arch_interrupt(const unsigned long *cpus, unsigned int words)
{
	flushq_host_interrupt(cpus, words);
}

#endif
