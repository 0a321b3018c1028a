/* SPDX-License-Identifier: MIT */
/* hooks.c - what a host supplies, empty: only to link. */
#include "flushq/flushq.h"
#include "flushq/arch/riscv/sbi.h"

void flushq_host_interrupt(const unsigned long *cpus, unsigned int words)
{
	(void)cpus;
	(void)words;
}

#ifndef __riscv
void flushq_host_flush(const struct flushq_range *range)
{
	(void)range;
}

unsigned long flushq_host_irq_save(void)
{
	return 0;
}

void flushq_host_irq_restore(unsigned long flags)
{
	(void)flags;
}

bool flushq_host_irqs_off(void)
{
	return true;
}

void flushq_host_relax(void)
{
}

struct flushq_sbi_ret flushq_sbi_ecall(const struct flushq_sbi_call *call)
{
	struct flushq_sbi_ret ret = { (long)call->fid, 0 };

	return ret;
}
#endif

int main(void)
{
	return 0;
}
