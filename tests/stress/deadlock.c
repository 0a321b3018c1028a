/* SPDX-License-Identifier: MIT */
/*
 * deadlock - all CPUs run one address space, have interrupts off, and shoot each other down. Each
 * must serve the others while it waits; the watchdog fails the test where one does not.
 */
#define _GNU_SOURCE
#include <stdatomic.h>

#include "softtlb.h"
#include "options.h"

static struct {
	unsigned long seed, cpus, count, broken;
} opt = { .cpus = 2, .count = 20000 };

static const struct option_bit breaks[] = { { "no-service", 1 }, { 0 } };

static struct flushq fq;
static struct flushq_cpu fq_cpus[SOFTTLB_CPUS];
static _Atomic unsigned int done;

/* For builds with step_atomic.h. */
void test_step(unsigned int kind, const volatile void *p);
void test_step(unsigned int kind, const volatile void *p)
{
	(void)kind;
	(void)p;
}

static void cpu_main(unsigned int cpu)
{
	struct softtlb_change change;
	unsigned long i;

	flushq_online(&fq, cpu);
	flushq_switch_to(&fq, cpu, softtlb_asid(0), softtlb_set(0));
	softtlb_write_register(0);
	flushq_switched(&fq, cpu);
	for (i = 0; i < opt.count; i++) {
		unsigned int page = softtlb_random(SOFTTLB_PAGES);
		unsigned int space = softtlb_random(8) ? 0 : SOFTTLB_KERNEL;

		softtlb_map(space, page, true);
		softtlb_use(page, true);
		if (!softtlb_unmap(space, softtlb_random(SOFTTLB_PAGES), 4, &change))
			continue;
		if (opt.broken)
			while (fq_cpus[cpu].bell == 0)
				flushq_host_relax();
		flushq_shootdown(&fq, cpu, softtlb_set(space), &change.range);
		softtlb_retire(&change);
	}
	/* One that has finished still has to answer. */
	atomic_fetch_add(&done, 1);
	flushq_host_irq_restore(0);
	while (atomic_load(&done) < opt.cpus)
		flushq_host_relax();
}

static const struct option_row options[] = {
	OPTION_SEED(&opt.seed),
	{ "cpus", 'c', "N", "CPUs of the machine, 1 to 16 (2)", &opt.cpus, 1, SOFTTLB_CPUS, NULL },
	{ "count", 'n', "N", "shootdowns tried by each CPU (20000)", &opt.count, 1, 1000000000,
	  NULL },
	{ "break", 'b', "no-service", "each CPU waits with interrupts off and serves nobody",
	  &opt.broken, 0, 0, breaks },
	{ 0 },
};

int main(int argc, char **argv)
{
	struct softtlb_config config = { .fq = &fq, .speculate = 4 };

	opt.seed = option_random_seed();
	options_parse(argc, argv, "Shootdowns with interrupts off on all CPUs.", options);
	printf("deadlock: --seed=%lu --cpus=%lu --count=%lu\n", opt.seed, opt.cpus, opt.count);
	fflush(stdout);
	watchdog(opt.broken ? 3 : 60);
	config.cpus = (unsigned int)opt.cpus;
	config.seed = opt.seed;
	flushq_init(&fq, fq_cpus, config.cpus);
	softtlb_run(&config, cpu_main);
	printf("%s: %lu shootdowns by CPU 0, %lu interrupts, %lu stale uses\n",
	       softtlb_all_findings() ? "FAIL" : "ok", flushq_count(&fq, 0, FLUSHQ_SHOOTDOWNS),
	       softtlb_interrupts(), softtlb_all_findings());
	return softtlb_all_findings() ? 1 : 0;
}
