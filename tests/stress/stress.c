/* SPDX-License-Identifier: MIT */
/*
 * stress - CPUs of softtlb change page tables, use them and switch between address spaces at
 * random, with interrupts and NMIs that enqueue. Any stale use fails.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "softtlb.h"
#include "options.h"

enum {
	BREAK_NO_DRAIN_ON_SWITCH = 0x100,
	BREAK_KERNEL_DEFERRED = 0x200,
	BREAK_LAZY_TABLES = 0x400,
	BREAK_EARLY_FREE = 0x800,
	BREAK_REGISTER_FIRST = 0x1000,
	BREAK_SWITCHED_EARLY = 0x2000,
};

static const struct option_bit breaks[] = {
	{ "drop-flush", SOFTTLB_DROP_FLUSH },
	{ "drop-non-leaf", SOFTTLB_DROP_NON_LEAF },
	{ "drop-interrupt", SOFTTLB_DROP_INTERRUPT },
	{ "no-drain-on-switch", BREAK_NO_DRAIN_ON_SWITCH },
	{ "kernel-deferred", BREAK_KERNEL_DEFERRED },
	{ "lazy-tables", BREAK_LAZY_TABLES },
	{ "early-free", BREAK_EARLY_FREE },
	{ "register-first", BREAK_REGISTER_FIRST },
	{ "switched-early", BREAK_SWITCHED_EARLY },
	{ 0 },
};

enum { PARKED, LOADED, LAZY };
enum { OWES_NOTHING, OWES_CLAIMED, OWES_CHANGE };

static struct {
	unsigned long seed, seconds, cpus, spaces, storm_us, broken;
} opt = { .seconds = 2, .cpus = 4, .spaces = 6, .storm_us = 100 };

static struct flushq fq;
static struct flushq_cpu fq_cpus[SOFTTLB_CPUS];
static atomic_bool stop;
static atomic_bool storm_stop;
static pthread_t storm_thread;
static _Atomic unsigned long uses, retired, storms, nmis;

static struct {
	_Alignas(64) unsigned int mode;
	/* What a handler took out and could not yet retire; the thread does it later. */
	_Atomic int owed;
	struct softtlb_change change;
} state[SOFTTLB_CPUS];

static _Thread_local bool a_cpu;
static _Thread_local unsigned int until_step;

/*
 * Between any two operations of flushq: now and then lose the processor, or be interrupted. The
 * countdown is short, so that each run meets every pair of places.
 */
void test_step(unsigned int kind, const volatile void *p);
void test_step(unsigned int kind, const volatile void *p)
{
	(void)kind;
	(void)p;
	if (!a_cpu || until_step-- != 0)
		return;
	until_step = 1 + softtlb_random(200);
	switch (softtlb_random(8)) {
	case 0:
	case 1:
		sched_yield();
		break;
	case 2:
	case 3:
	case 4:
		softtlb_take_here(true);
		break;
	case 5:
		softtlb_take_here(false);
		break;
	default:
		softtlb_speculate();
		break;
	}
}

/* The shootdown of a change, by the high or the low call. */
static void shoot(unsigned int cpu, const struct softtlb_change *change)
{
	unsigned long set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	flushq_atomic_ulong *of = softtlb_set(change->space);
	struct flushq_range range = change->range;
	unsigned long flags;
	unsigned int n;

	if (opt.broken & BREAK_LAZY_TABLES && range.kind == FLUSHQ_TABLES)
		range.kind = FLUSHQ_LEAF;
	if (opt.broken & BREAK_KERNEL_DEFERRED && range.kind == FLUSHQ_GLOBAL) {
		flushq_post(&fq, cpu, of, &range, set);
		return;
	}
	switch (softtlb_random(4)) {
	case 0:
		flags = flushq_host_irq_save();
		flushq_shootdown(&fq, cpu, of, &range);
		flushq_host_irq_restore(flags);
		break;
	case 1:
		n = flushq_post(&fq, cpu, of, &range, set);
		if (n)
			softtlb_interrupt_and_wait(set, FLUSHQ_CPUSET_WORDS(opt.cpus));
		break;
	default:
		flushq_shootdown(&fq, cpu, of, &range);
		break;
	}
}

static void complete(unsigned int cpu, const struct softtlb_change *change)
{
	if (opt.broken & BREAK_EARLY_FREE) {
		softtlb_retire(change);
		shoot(cpu, change);
		return;
	}
	shoot(cpu, change);
	softtlb_retire(change);
	atomic_fetch_add_explicit(&retired, 1, memory_order_relaxed);
}

/* What the handlers of both do: requests nobody needs, and now and then a real one. */
static void enqueue(unsigned int cpu)
{
	unsigned long set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	unsigned int space = softtlb_random((unsigned int)opt.spaces);
	unsigned int page = softtlb_random(SOFTTLB_PAGES);
	flushq_atomic_ulong *of = softtlb_set(space);
	struct flushq_range range;

	int nothing = OWES_NOTHING;

	/* An NMI may be here within an interrupt. */
	if (softtlb_random(4) == 0 &&
	    atomic_compare_exchange_strong(&state[cpu].owed, &nothing, OWES_CLAIMED)) {
		if (softtlb_unmap(space, page, 4, &state[cpu].change)) {
			/* Posted here, applied and waited for later. */
			flushq_post(&fq, cpu, of, &state[cpu].change.range, set);
			atomic_store(&state[cpu].owed, OWES_CHANGE);
			return;
		}
		atomic_store(&state[cpu].owed, OWES_NOTHING);
	}
	range = flushq_range_make(softtlb_asid(space), (unsigned long)page << FLUSHQ_PAGE_SHIFT,
				  1ul << FLUSHQ_PAGE_SHIFT, 0,
				  softtlb_random(8) ? FLUSHQ_LEAF : FLUSHQ_TABLES);
	if (flushq_post(&fq, cpu, of, &range, set) && softtlb_random(2))
		flushq_host_interrupt(set, FLUSHQ_CPUSET_WORDS(opt.cpus));
}

static void on_storm(unsigned int cpu)
{
	unsigned int n = 1 + softtlb_random(6);

	atomic_fetch_add_explicit(&storms, 1, memory_order_relaxed);
	while (n--)
		enqueue(cpu);
	if (softtlb_random(16) == 0) {
		struct flushq_range range = flushq_range_whole(softtlb_asid(0), FLUSHQ_LEAF);

		flushq_shootdown(&fq, cpu, softtlb_set(0), &range);
	}
}

static void on_nmi(unsigned int cpu)
{
	atomic_fetch_add_explicit(&nmis, 1, memory_order_relaxed);
	if (softtlb_random(2))
		flushq_drain(&fq, cpu);
	if (softtlb_random(2))
		enqueue(cpu);
	if (softtlb_random(2))
		flushq_drain(&fq, cpu);
}

static void *storm_main(void *arg)
{
	unsigned int cpu = 0;

	(void)arg;
	while (!atomic_load(&storm_stop)) {
		cpu = (cpu + 1) % (unsigned int)opt.cpus;
		softtlb_send_storm(cpu);
		softtlb_send_nmi((cpu + 1) % (unsigned int)opt.cpus);
		usleep((useconds_t)opt.storm_us);
	}
	return NULL;
}

static void do_switch(unsigned int cpu, unsigned int space)
{
	unsigned long flags = flushq_host_irq_save();
	unsigned int i;

	if (opt.broken & BREAK_REGISTER_FIRST) {
		softtlb_write_register(space);
		softtlb_use(softtlb_random(SOFTTLB_PAGES), false);
	}
	if (opt.broken & BREAK_NO_DRAIN_ON_SWITCH)
		softtlb_lose_flushes(true);
	flushq_switch_to(&fq, cpu, softtlb_asid(space), softtlb_set(space));
	softtlb_lose_flushes(false);
	if (opt.broken & BREAK_SWITCHED_EARLY) {
		flushq_switched(&fq, cpu);
		for (i = 0; i < 200; i++) {
			softtlb_speculate();
			/* Others need time to free a table. */
			if (i % 16 == 0)
				sched_yield();
		}
	}
	softtlb_speculate();
	softtlb_write_register(space);
	softtlb_speculate();
	flushq_switched(&fq, cpu);
	flushq_host_irq_restore(flags);
	state[cpu].mode = LOADED;
}

static void do_park(unsigned int cpu)
{
	unsigned long flags = flushq_host_irq_save();

	softtlb_write_register(SOFTTLB_NONE);
	flushq_park(&fq, cpu);
	flushq_host_irq_restore(flags);
	state[cpu].mode = PARKED;
}

static void do_lazy(unsigned int cpu)
{
	unsigned long flags = flushq_host_irq_save();

	if (state[cpu].mode == LOADED) {
		flushq_enter_lazy(&fq, cpu);
		state[cpu].mode = LAZY;
	} else if (state[cpu].mode == LAZY) {
		flushq_leave_lazy(&fq, cpu);
		state[cpu].mode = LOADED;
	}
	flushq_host_irq_restore(flags);
}

static void do_uses(unsigned int cpu)
{
	unsigned int i, n = 8 + softtlb_random(40);

	for (i = 0; i < n; i++) {
		if (state[cpu].mode == LOADED)
			softtlb_use(softtlb_random(SOFTTLB_PAGES), softtlb_random(2));
		else
			softtlb_speculate();
	}
	softtlb_use_kernel(softtlb_random(SOFTTLB_PAGES), softtlb_random(2));
	atomic_fetch_add_explicit(&uses, n, memory_order_relaxed);
}

static void do_change(unsigned int cpu, unsigned int space)
{
	unsigned int page = softtlb_random(SOFTTLB_PAGES), i;
	struct softtlb_change change;

	switch (softtlb_random(8)) {
	case 0:
		if (softtlb_free_table(space, page, &change))
			complete(cpu, &change);
		break;
	case 1:
		if (softtlb_unmap(space, page, 1 + softtlb_random(SOFTTLB_LEAVES), &change))
			complete(cpu, &change);
		break;
	case 2:
		if (softtlb_unmap(space, page, 1, &change))
			complete(cpu, &change);
		break;
	case 3:
	case 4:
		if (softtlb_protect(space, page, &change))
			complete(cpu, &change);
		break;
	default:
		for (i = 0; i < 12; i++)
			softtlb_map(space, softtlb_random(SOFTTLB_PAGES), softtlb_random(4));
		break;
	}
}

static void do_one(unsigned int cpu)
{
	unsigned int space = softtlb_random((unsigned int)opt.spaces);

	/* Most changes are to what somebody is likely to have loaded. */
	if (softtlb_random(2))
		space %= 2;
	switch (softtlb_random(16)) {
	case 0:
	case 1:
	case 2:
		do_switch(cpu, space);
		break;
	case 3:
		do_park(cpu);
		break;
	case 4:
	case 5:
		do_lazy(cpu);
		break;
	case 6:
		do_change(cpu, SOFTTLB_KERNEL);
		break;
	case 7:
		sched_yield();
		break;
	case 8:
	case 9:
	case 10:
		do_uses(cpu);
		break;
	default:
		do_change(cpu, space);
		break;
	}
	if (atomic_load_explicit(&state[cpu].owed, memory_order_relaxed) == OWES_CHANGE) {
		complete(cpu, &state[cpu].change);
		atomic_store(&state[cpu].owed, OWES_NOTHING);
	}
}

static void cpu_main(unsigned int cpu)
{
	/* Some come late. */
	if (cpu)
		usleep(softtlb_random(20000));
	flushq_online(&fq, cpu);
	flushq_host_irq_restore(0);
	a_cpu = true;
	if (cpu == 0)
		pthread_create(&storm_thread, NULL, storm_main, NULL);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		do_one(cpu);
	if (cpu == 0) {
		atomic_store(&storm_stop, true);
		pthread_join(storm_thread, NULL);
	}
	do_park(cpu);
	a_cpu = false;
}

static void *timer_main(void *arg)
{
	double end = clock_now() + (double)opt.seconds;

	(void)arg;
	/* With --break, until the first finding. */
	while (clock_now() < end) {
		usleep(10000);
		if (opt.broken && softtlb_all_findings())
			break;
	}
	atomic_store(&stop, true);
	return NULL;
}

static unsigned long total(enum flushq_event event)
{
	unsigned long n = 0;
	unsigned int cpu;

	for (cpu = 0; cpu < opt.cpus; cpu++)
		n += flushq_count(&fq, cpu, event);
	return n;
}

static const struct option_row options[] = {
	OPTION_SEED(&opt.seed),
	{ "seconds", 't', "S", "how long to run (2)", &opt.seconds, 1, 86400, NULL },
	{ "cpus", 'c', "N", "CPUs of the machine, 1 to 16 (4)", &opt.cpus, 1, SOFTTLB_CPUS, NULL },
	{ "spaces", 'a', "N", "address spaces, 1 to 80 (6)", &opt.spaces, 1, SOFTTLB_SPACES, NULL },
	{ "storm-us", 'u', "N", "microseconds between interrupts from outside (100)", &opt.storm_us,
	  1, 1000000, NULL },
	{ "break", 'b', "WHAT", "break the host, to see that it is noticed: exit status 1",
	  &opt.broken, 0, 0, breaks },
	{ 0 },
};

int main(int argc, char **argv)
{
	struct softtlb_config config = { .fq = &fq, .speculate = 4 };
	pthread_t timer;

	opt.seed = option_random_seed();
	options_parse(argc, argv, "Looks for uses of stale translations.", options);
	printf("stress: --seed=%lu --cpus=%lu --spaces=%lu, %d slots, %d bits\n", opt.seed,
	       opt.cpus, opt.spaces, FLUSHQ_QUEUE_SLOTS, FLUSHQ_POSITION_BITS);
	fflush(stdout);
	watchdog((unsigned int)opt.seconds + 120);

	flushq_init(&fq, fq_cpus, (unsigned int)opt.cpus);
	config.cpus = (unsigned int)opt.cpus;
	config.seed = opt.seed;
	config.broken = opt.broken & 0xff;
	config.storm = on_storm;
	config.nmi = on_nmi;
	pthread_create(&timer, NULL, timer_main, NULL);
	softtlb_run(&config, cpu_main);
	pthread_join(timer, NULL);

	printf("uses %lu, changes retired %lu, storms %lu, NMIs %lu; shootdowns %lu, "
	       "interrupts sent %lu coalesced %lu late %lu, deferred %lu, overflows %lu "
	       "covered %lu, drains %lu escalations %lu, flushed pages %lu ASIDs %lu all %lu\n",
	       atomic_load(&uses), atomic_load(&retired), atomic_load(&storms), atomic_load(&nmis),
	       total(FLUSHQ_SHOOTDOWNS), total(FLUSHQ_IPI_SENT), total(FLUSHQ_IPI_COALESCED),
	       total(FLUSHQ_IPI_PARKED), total(FLUSHQ_DEFERRED), total(FLUSHQ_OVERFLOWS),
	       total(FLUSHQ_COVERED), total(FLUSHQ_DRAINS), total(FLUSHQ_ESCALATIONS),
	       total(FLUSHQ_FLUSHED_PAGES), total(FLUSHQ_FLUSHED_ASIDS), total(FLUSHQ_FLUSHED_ALL));
	printf("%s: retired translations used %lu, reused frames used %lu, freed tables walked "
	       "%lu\n",
	       softtlb_all_findings() ? "FAIL" : "ok", softtlb_findings(SOFTTLB_RETIRED),
	       softtlb_findings(SOFTTLB_REUSED), softtlb_findings(SOFTTLB_FREED_TABLE));
	return softtlb_all_findings() ? 1 : 0;
}
