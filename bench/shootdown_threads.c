/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "shootdown_policies.h"
#include "shootdown_threads.h"
#include "measure.h"

/* Half as many again as the rfc's array holds; fewer than any other's. */
#define BURST 24
#define SHOT 4 /* spaces that are shot down: 0 to 3; the others are each CPU's own */
#define OWN(cpu) (SHOT + 1 + (cpu))
/* Pages of each that are in use: with two tables, and below what a CPU has frames for. */
#define PAGES 20
#define OUTSTANDING 16
/*
 * A slice, and a tick, in uses of some 20 ns, and how many the initiator makes between two calls.
 * A tick is far longer than a signal takes: where flushq drains in it, the waiter has its answer.
 */
#define SLICE 8000
#define TICK_USES 4000
#define WORK 10 /* times all pages */

static const struct policy *policy;
static enum mode mode;
static unsigned int nr_cpus, nr_calls;
static enum broken broken;
static struct threads_result *result;
static _Atomic unsigned int recorded[NR_SAMPLES];

/* Of bursts: the targets are to visit what will be shot down, and have. */
static _Alignas(64) _Atomic unsigned int visits;
static _Alignas(64) _Atomic unsigned int visited;
static _Alignas(64) atomic_bool stop;

static struct outstanding {
	union policy_ticket ticket;
	struct softtlb_change change;
} queue[OUTSTANDING];
static unsigned int first, last;

static void record(enum sample what, uint64_t ticks)
{
	unsigned int at = atomic_fetch_add_explicit(&recorded[what], 1, memory_order_relaxed);

	if (at < SAMPLES_MAX)
		result->ticks[what][at] = ticks < ~0u ? (unsigned int)ticks : ~0u;
}

static void switch_to(unsigned int cpu, unsigned int space)
{
	unsigned long flags = flushq_host_irq_save();
	uint64_t start, middle, again, end;
	flushq_asid asid;

	softtlb_lose_flushes(broken == BROKEN_SWITCHES);
	start = bench_ticks();
	asid = policy->before_switch(cpu, space);
	middle = bench_ticks();
	softtlb_write_register_asid(space, asid);
	again = bench_ticks();
	policy->switched(cpu, space);
	end = bench_ticks();
	softtlb_lose_flushes(false);
	flushq_host_irq_restore(flags);
	if (cpu != 0)
		record(SWITCH, middle - start + end - again);
}

static void tick(unsigned int cpu)
{
	uint64_t start = bench_ticks();

	softtlb_lose_flushes(broken == BROKEN_INTERRUPTS);
	if (policy->tick)
		policy->tick(cpu);
	softtlb_lose_flushes(false);
	if (cpu != 0)
		record(TICK, bench_ticks() - start);
}

static void use_all(void)
{
	unsigned int page;

	for (page = 0; page < PAGES; page++)
		softtlb_use(page, true);
}

/* The initiator. What is not done yet is kept, in order; the pages are not used again till then. */

static bool finish_first(void)
{
	struct outstanding *o = &queue[first % OUTSTANDING];

	if (first == last || !policy->done(&o->ticket))
		return false;
	softtlb_retire(&o->change);
	softtlb_map(o->change.space, o->change.page, true);
	first++;
	return true;
}

static void call(unsigned int cpu, unsigned int space, unsigned int page)
{
	struct outstanding *o = &queue[last % OUTSTANDING];
	uint64_t start;
	bool done = true;

	/* Outside of what is timed: a host would have a longer list. */
	while (last - first == OUTSTANDING)
		if (!finish_first())
			flushq_host_relax();
	if (!softtlb_unmap(space, page, 1, &o->change))
		return;
	start = bench_ticks();
	if (policy->take)
		done = policy->take(cpu, space, &o->change.range, &o->ticket);
	else
		policy->shootdown(cpu, space, &o->change.range);
	record(CALL, bench_ticks() - start);
	result->calls++;
	if (!done) {
		last++;
		return;
	}
	softtlb_retire(&o->change);
	softtlb_map(space, page, true);
}

static void let_them_visit(void)
{
	unsigned int wanted = atomic_fetch_add(&visits, 1) + 1;

	while (atomic_load(&visited) < wanted * (nr_cpus - 1))
		flushq_host_relax();
}

static void initiate(unsigned int cpu)
{
	unsigned int i, n, space, page;

	for (space = 0; space < SHOT; space++)
		for (page = 0; page < PAGES; page++)
			softtlb_map(space, page, true);
	switch_to(cpu, 0);
	use_all();
	/* Everybody is in every set. */
	if (mode == MIXED)
		let_them_visit();
	for (i = 0; i < nr_calls; i++) {
		if (mode == PARKED) {
			if (i % BURST == 0)
				let_them_visit();
			call(cpu, 0, i % PAGES);
		} else {
			if (i % 64 == 63)
				switch_to(cpu, softtlb_random(SHOT));
			/* Its own work between two calls, in which the others get on. */
			for (n = 0; n < WORK; n++)
				use_all();
			call(cpu, i % SHOT, i / SHOT % PAGES);
		}
		while (policy->done && finish_first())
			;
	}
	while (first != last)
		if (!finish_first())
			flushq_host_relax();
	atomic_store(&stop, true);
}

/* The targets. */

static void visit(unsigned int cpu)
{
	switch_to(cpu, 0);
	use_all();
	switch_to(cpu, OWN(cpu));
	atomic_fetch_add(&visited, 1);
}

static void be_elsewhere(unsigned int cpu)
{
	unsigned int uses = 0, seen = 0;

	for (; !atomic_load_explicit(&stop, memory_order_relaxed); uses++) {
		if (atomic_load_explicit(&visits, memory_order_acquire) != seen) {
			seen++;
			visit(cpu);
		}
		softtlb_use(uses % PAGES, true);
		if (uses % TICK_USES == 0)
			tick(cpu);
	}
}

static void be_anywhere(unsigned int cpu)
{
	unsigned int uses, space;

	while (!atomic_load_explicit(&visits, memory_order_acquire))
		flushq_host_relax();
	for (space = 0; space < SHOT; space++)
		switch_to(cpu, space);
	atomic_fetch_add(&visited, 1);
	for (uses = 0; !atomic_load_explicit(&stop, memory_order_relaxed); uses++) {
		if (uses % SLICE == 0)
			switch_to(cpu, softtlb_random(SHOT));
		else if (uses % TICK_USES == 0)
			tick(cpu);
		softtlb_use(softtlb_random(PAGES), true);
	}
}

static void cpu_main(unsigned int cpu)
{
	unsigned int page;

	bench_pin(cpu % bench_cpus());
	if (cpu == 0) {
		initiate(cpu);
		return;
	}
	for (page = 0; page < PAGES; page++)
		softtlb_map(OWN(cpu), page, true);
	switch_to(cpu, OWN(cpu));
	use_all();
	if (mode == PARKED)
		be_elsewhere(cpu);
	else
		be_anywhere(cpu);
}

bool threads_run(unsigned int number, enum mode wanted, unsigned int cpus, unsigned long seed,
		 unsigned int calls, enum broken how, struct threads_result *shared)
{
	unsigned int i, n;

	policy = policies[number];
	mode = wanted;
	nr_cpus = cpus;
	nr_calls = calls;
	result = shared;
	broken = how;
	result->calls = 0;
	policy_run(policy, cpus, seed, broken == BROKEN_INTERRUPTS, cpu_main);
	result->interrupts = policy_interrupts();
	for (i = 0; i < NR_SAMPLES; i++) {
		n = atomic_load(&recorded[i]);
		result->n[i] = n < SAMPLES_MAX ? n : SAMPLES_MAX;
	}
	return softtlb_all_findings() == 0;
}
