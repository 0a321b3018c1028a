/* SPDX-License-Identifier: MIT */
/*
 * race - one CPU changes an entry at the very moment at which another switches in, again and again:
 * the store buffering that the full fences are for. On its own processor each, else it proves
 * little.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "softtlb.h"
#include "options.h"

#define SPACE 1

enum { CACHED, FULL, JOINING, NR_MODES };

static struct {
	unsigned long seed, seconds;
} opt = { .seconds = 2 };

static struct flushq fq;
static struct flushq_cpu fq_cpus[2];
static _Atomic unsigned long arrived;
static atomic_bool stop;
static unsigned long rounds;
/* CPU 0 writes these before both meet. */
static unsigned int page;
static bool over;

/* Both go on at the same moment. */
static void meet(void)
{
	unsigned long target = atomic_fetch_add(&arrived, 1) / 2 * 2 + 2;
	unsigned int spins = 0;

	while (atomic_load_explicit(&arrived, memory_order_acquire) < target)
		if (++spins > 20000)
			sched_yield();
}

static void delay(void)
{
	volatile unsigned int n = softtlb_random(2) ? 0 : softtlb_random(100);

	while (n)
		n--;
}

static void shoot(const struct softtlb_change *change)
{
	flushq_shootdown(&fq, 0, softtlb_set(SPACE), &change->range);
	softtlb_retire(change);
}

static void initiator(unsigned int mode)
{
	struct flushq_range other = flushq_range_make(softtlb_asid(SPACE), 0, 1, 0, FLUSHQ_LEAF);
	struct softtlb_change change;
	unsigned int i;

	/* The other one is parked, and owes nothing. */
	if (softtlb_unmap(SPACE, page, 1, &change))
		shoot(&change);
	softtlb_map(SPACE, page, true);
	if (mode == JOINING)
		softtlb_set(SPACE)[0] = 0;
	meet();
	meet();
	for (i = 0; mode == FULL && i < FLUSHQ_QUEUE_SLOTS + 1; i++)
		flushq_shootdown(&fq, 0, softtlb_set(SPACE), &other);
	meet();
	delay();
	if (softtlb_protect(SPACE, page, &change))
		shoot(&change);
	meet();
}

static void owner_switch(void)
{
	unsigned long flags = flushq_host_irq_save();

	flushq_switch_to(&fq, 1, softtlb_asid(SPACE), softtlb_set(SPACE));
	softtlb_write_register(SPACE);
	softtlb_walk_ahead(page);
	flushq_switched(&fq, 1);
	flushq_host_irq_restore(flags);
}

static void owner_park(void)
{
	softtlb_write_register(SOFTTLB_NONE);
	flushq_park(&fq, 1);
}

static void owner(unsigned int mode)
{
	struct flushq_range all = flushq_range_whole(0, FLUSHQ_GLOBAL);
	unsigned int i;

	meet();
	if (mode == JOINING) {
		flushq_host_flush(&all);
	} else {
		owner_switch();
		softtlb_use(page, true);
		owner_park();
	}
	meet();
	meet();
	delay();
	owner_switch();
	for (i = 0; i < 200; i++)
		softtlb_use(page, true);
	meet();
	for (i = 0; i < 2; i++)
		softtlb_use(page, true);
	owner_park();
}

static void cpu_main(unsigned int cpu)
{
	unsigned long n;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	/* Where there is no second processor, anywhere. */
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
	flushq_online(&fq, cpu);
	flushq_host_irq_restore(0);
	for (n = 0;; n++) {
		unsigned int mode = (unsigned int)(n % NR_MODES);

		if (cpu == 0) {
			page = softtlb_random(SOFTTLB_PAGES);
			over = atomic_load(&stop);
		}
		meet();
		if (over)
			break;
		if (cpu == 0)
			initiator(mode);
		else
			owner(mode);
		meet();
		rounds += cpu == 0;
	}
}

static void *timer_main(void *arg)
{
	(void)arg;
	sleep((unsigned int)opt.seconds);
	atomic_store(&stop, true);
	return NULL;
}

static const struct option_row options[] = {
	OPTION_SEED(&opt.seed),
	{ "seconds", 't', "S", "how long to run (2)", &opt.seconds, 1, 86400, NULL },
	{ 0 },
};

int main(int argc, char **argv)
{
	struct softtlb_config config = { .fq = &fq, .cpus = 2 };
	pthread_t timer;

	opt.seed = option_random_seed();
	options_parse(argc, argv, "A switch against a shootdown.", options);
	printf("race: --seed=%lu, %d slots\n", opt.seed, FLUSHQ_QUEUE_SLOTS);
	fflush(stdout);
	watchdog((unsigned int)opt.seconds + 120);
	config.seed = opt.seed;
	flushq_init(&fq, fq_cpus, 2);
	pthread_create(&timer, NULL, timer_main, NULL);
	softtlb_run(&config, cpu_main);
	pthread_join(timer, NULL);
	printf("%s: %lu rounds, %lu with an interrupt, retired translations used %lu\n",
	       softtlb_all_findings() ? "FAIL" : "ok", rounds, softtlb_interrupts(),
	       softtlb_all_findings());
	return softtlb_all_findings() ? 1 : 0;
}
