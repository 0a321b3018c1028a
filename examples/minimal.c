/* SPDX-License-Identifier: MIT */
/*
 * minimal - two CPUs, one address space. CPU 1 used it and then parked it; CPU 0 unmaps a page.
 * CPU 1 is not interrupted: it flushes when it next switches to that address space.
 *
 * The machine is softtlb: each CPU is a thread, and flushes what flushq tells it to.
 */
#include <pthread.h>
#include <stdio.h>
#include "softtlb.h"

#define SPACE 1
#define PAGE 5

static struct flushq fq;
static struct flushq_cpu cpus[2];
static pthread_barrier_t step;
static bool before, after;

static void cpu0(void)
{
	struct softtlb_change change;

	softtlb_map(SPACE, PAGE, true);
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step); /* CPU 1 has used the page, and parked */

	softtlb_unmap(SPACE, PAGE, 1, &change); /* the page table first, then: */
	flushq_shootdown(&fq, 0, softtlb_set(SPACE), &change.range);
	softtlb_retire(&change); /* now the page may be reused */
	pthread_barrier_wait(&step);
}

static void switch_to_space(void)
{
	flushq_switch_to(&fq, 1, softtlb_asid(SPACE), softtlb_set(SPACE)); /* pays what is owed */
	softtlb_write_register(SPACE);
	flushq_switched(&fq, 1);
}

static void cpu1(void)
{
	pthread_barrier_wait(&step);
	switch_to_space();
	before = softtlb_use(PAGE, true); /* now its TLB holds the translation */
	softtlb_write_register(SOFTTLB_NONE);
	flushq_park(&fq, 1);
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step); /* CPU 0 has unmapped the page */

	switch_to_space();
	after = softtlb_use(PAGE, true);
}

static void cpu_main(unsigned int cpu)
{
	flushq_online(&fq, cpu);
	cpu == 0 ? cpu0() : cpu1();
}

int main(int argc, char **argv)
{
	struct softtlb_config config = { .fq = &fq, .cpus = 2 };
	unsigned long sent, deferred, paid;

	if (argc > 1) {
		fprintf(stderr, "%s: takes no arguments\n", argv[0]);
		return 2;
	}
	pthread_barrier_init(&step, NULL, 2);
	flushq_init(&fq, cpus, 2);
	softtlb_run(&config, cpu_main);

	sent = flushq_count(&fq, 0, FLUSHQ_IPI_SENT);
	deferred = flushq_count(&fq, 0, FLUSHQ_DEFERRED);
	paid = flushq_count(&fq, 1, FLUSHQ_FLUSHED_PAGES);
	printf("CPU 1 used the page: %s\n", before ? "yes" : "no");
	printf("CPU 0 unmapped it: %lu interrupts, %lu CPU left to pay later\n", sent, deferred);
	printf("CPU 1 switched back: flushed %lu page, then a use %s\n", paid,
	       after ? "went through" : "faulted, as it must");
	return before && !after && sent == 0 && deferred == 1 && paid == 1 ? 0 : 1;
}
