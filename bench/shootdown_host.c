/* SPDX-License-Identifier: MIT */
#include "shootdown_host.h"

_Thread_local unsigned long null_host_flushes;
unsigned long null_host_interrupts;

void null_host_flush(const struct flushq_range *range)
{
	(void)range;
	null_host_flushes++;
}

unsigned long null_host_irq_save(void)
{
	return 0;
}

void null_host_irq_restore(unsigned long flags)
{
	(void)flags;
}

bool null_host_irqs_off(void)
{
	return true;
}

void null_host_relax(void)
{
}

void null_host_interrupt(const unsigned long *cpus, unsigned int words)
{
	(void)cpus;
	(void)words;
	null_host_interrupts++;
}
