/* SPDX-License-Identifier: MIT */
/*
 * replaced - an address space with a log gives way to another of the same ASID (0, which all share
 * here). Until the CPU has flushed that behind the write of its register, the hardware may walk the
 * old one's tables for the new: who frees one of them meanwhile must not be told that he may.
 *
 * Another CPU tries at each step of flushq_switched().
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "softtlb.h"
#include "options.h"

#define PAGE 5
#define MOST_STEPS 200

enum { OLD, NEW, NR_SPACES };
enum { TRY = 1, FREED };

static struct flushq fq;
static struct flushq_cpu fq_cpus[2];
static struct flushq_asids asids;
static struct flushq_mm mms[NR_SPACES];
static struct flushq_log logs[NR_SPACES];
static pthread_barrier_t both;
static _Atomic int phase;
static atomic_bool over;
static unsigned int returned;
static _Thread_local unsigned int steps_left;

static void try_here(void)
{
	unsigned int i;

	atomic_store(&phase, TRY);
	/* It may have to wait for this CPU. */
	for (i = 0; i < 20 && atomic_load(&phase) != FREED; i++)
		usleep(500);
	returned += atomic_load(&phase) == FREED;
	/* Another page of that table: the walk starts from what is cached of the old one. */
	softtlb_walk_ahead(PAGE + 1);
}

void test_step(unsigned int kind, const volatile void *p);
void test_step(unsigned int kind, const volatile void *p)
{
	(void)kind;
	(void)p;
	if (steps_left && --steps_left == 0)
		try_here();
}

/* Returns whether `step` was reached. */
static bool switch_to(unsigned int space, unsigned int step)
{
	unsigned long flags = flushq_host_irq_save();
	flushq_asid asid = flushq_mm_switch_to(&fq, 1, &mms[space]);
	bool reached;

	/* The old one is still in the register. */
	if (space == NEW)
		softtlb_walk_ahead(PAGE);
	softtlb_write_register_asid(space, asid);
	steps_left = step;
	flushq_switched(&fq, 1);
	reached = steps_left == 0;
	steps_left = 0;
	flushq_host_irq_restore(flags);
	return reached;
}

static void initiator(void)
{
	struct softtlb_change change;
	struct flushq_range range;

	softtlb_map(OLD, PAGE, true);
	pthread_barrier_wait(&both);
	while (atomic_load(&phase) != TRY)
		flushq_host_relax();
	softtlb_free_table(OLD, PAGE, &change);
	range = flushq_mm_range(&fq, &mms[OLD], change.range.start,
				SOFTTLB_LEAVES << FLUSHQ_PAGE_SHIFT, 0, FLUSHQ_TABLES);
	flushq_mm_shootdown(&fq, 0, &mms[OLD], &range);
	softtlb_retire(&change);
	atomic_store(&phase, FREED);
	pthread_barrier_wait(&both);
}

static void owner(unsigned int step)
{
	pthread_barrier_wait(&both);
	switch_to(OLD, 0);
	if (!switch_to(NEW, step) || step == MOST_STEPS) {
		atomic_store(&over, true);
		atomic_store(&phase, TRY);
	}
	/* Serves the interrupt. */
	while (atomic_load(&phase) != FREED)
		flushq_host_relax();
	pthread_barrier_wait(&both);
}

static void cpu_main(unsigned int cpu)
{
	unsigned int step;

	flushq_online(&fq, cpu);
	flushq_host_irq_restore(0);
	for (step = 1; !atomic_load(&over); step++) {
		if (cpu == 0)
			initiator();
		else
			owner(step);
		if (cpu == 1)
			atomic_store(&phase, 0);
		pthread_barrier_wait(&both);
	}
	if (cpu == 1)
		printf("%u steps, the initiator returned at %u of them\n", step - 2, returned);
}

int main(void)
{
	struct softtlb_config config = { .fq = &fq, .cpus = 2 };

	watchdog(60);
	pthread_barrier_init(&both, NULL, 2);
	flushq_init(&fq, fq_cpus, 2);
	flushq_use_asids(&fq, &asids, 0);
	flushq_mm_init(&mms[OLD], &logs[OLD]);
	flushq_mm_init(&mms[NEW], &logs[NEW]);
	softtlb_run(&config, cpu_main);
	printf("%s: freed tables walked %lu\n", softtlb_all_findings() ? "FAIL" : "ok",
	       softtlb_findings(SOFTTLB_FREED_TABLE));
	return softtlb_all_findings() ? 1 : 0;
}
