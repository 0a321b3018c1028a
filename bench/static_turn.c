/* SPDX-License-Identifier: MIT */
/*
 * Runs each hot path some times, where nothing is in its way, for bench/static to count what it
 * executes: one call of each is in turn(), and all else that is needed in between is not hot_.
 * Under qemu-user: on RISC-V, an instruction that user mode may not execute counts as one that does
 * nothing.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

#include "static_paths.h"

#define TURNS 40

static struct flushq fq, fq_mm;
static struct flushq_cpu cpus[4], cpus_mm[4];
static struct flushq_asids asids;
static flushq_atomic_ulong set[2][FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
static struct flushq_mm mm[2], mm_log[2];
static struct flushq_log logs[2], log_alone;

#ifdef __riscv
static void skip_privileged(int number, siginfo_t *info, void *context)
{
	ucontext_t *c = context;

	(void)number;
	(void)info;
	/* sfence.vma and those of CSRs are never compressed. */
	c->uc_mcontext.__gregs[REG_PC] += 4;
}

static void prepare(void)
{
	struct sigaction action = { .sa_sigaction = skip_privileged, .sa_flags = SA_SIGINFO };

	sigaction(SIGILL, &action, NULL);
}
#else
static void prepare(void)
{
}

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
#endif

/* Nobody uses what is shot down here. */
void flushq_host_interrupt(const unsigned long *set_of, unsigned int words)
{
	(void)set_of;
	(void)words;
	abort();
}

/* CPU 1 pays what it owes, and parks what is shot down. */
static void visit(unsigned int a)
{
	flushq_switch_to(&fq, 1, 0x100 + a, set[a]);
	flushq_switched(&fq, 1);
	flushq_park(&fq, 1);
	flushq_mm_switch_to(&fq_mm, 1, &mm[a]);
	flushq_switched(&fq_mm, 1);
	flushq_mm_switch_to(&fq_mm, 1, &mm_log[a]);
	flushq_switched(&fq_mm, 1);
	flushq_park(&fq_mm, 1);
}

__attribute__((noinline)) static void turn(unsigned int i)
{
	struct flushq_range range, range_mm;
	unsigned int a = i % 2;

	hot_switch_to(&fq, 0, 0x100 + a, set[a]);
	hot_switched(&fq, 0);
	/* To where it is already. */
	hot_bare_switch_to(&fq, 0, 0x100 + a, set[a]);
	hot_bare_switched(&fq, 0);
	hot_mm_switch_to(&fq_mm, 0, &mm[a]);
	hot_mm_switched(&fq_mm, 0);
	hot_mm_log_switch_to(&fq_mm, 2, &mm_log[a]);
	hot_mm_log_switched(&fq_mm, 2);
	hot_tick(&fq_mm, 0);
	hot_drain(&fq_mm, 0);
	range = hot_range_make(0x100 + a, i << FLUSHQ_PAGE_SHIFT, 1ul << FLUSHQ_PAGE_SHIFT,
			       1ul << FLUSHQ_PAGE_SHIFT, FLUSHQ_LEAF);
	hot_queue_put(&cpus[2].queue, &range);
	hot_log_append(&log_alone, &range);
	hot_shootdown(&fq, 0, set[a], &range);
	range_mm = flushq_mm_range(&fq_mm, &mm[a], i << FLUSHQ_PAGE_SHIFT, 1,
				   1ul << FLUSHQ_PAGE_SHIFT, FLUSHQ_LEAF);
	hot_mm_shootdown(&fq_mm, 0, &mm[a], &range_mm);
	range_mm = flushq_mm_range(&fq_mm, &mm_log[a], i << FLUSHQ_PAGE_SHIFT, 1,
				   1ul << FLUSHQ_PAGE_SHIFT, FLUSHQ_LEAF);
	hot_mm_log_shootdown(&fq_mm, 2, &mm_log[a], &range_mm);
}

int main(void)
{
	unsigned int i;

	prepare();
	flushq_init(&fq, cpus, 4);
	flushq_init(&fq_mm, cpus_mm, 4);
	flushq_use_asids(&fq_mm, &asids, 8);
	for (i = 0; i < 4; i++) {
		flushq_online(&fq, i);
		flushq_online(&fq_mm, i);
	}
	for (i = 0; i < 2; i++) {
		flushq_mm_init(&mm[i], NULL);
		flushq_mm_init(&mm_log[i], &logs[i]);
	}
	for (i = 0; i < TURNS; i++) {
		visit(0);
		visit(1);
		flushq_drain(&fq, 2);
		turn(i);
	}
	return 0;
}
