/* SPDX-License-Identifier: MIT */
/*
 * reclaim - CPU 0 unmaps pages that CPU 1 is using, without interrupting it. Each page is given
 * back when its ticket is done, which CPU 1's timer tick sees to, and the descriptor of the mapping
 * after a grace period of RCU, because CPU 1 may still be looking at it.
 *
 * Two waits in the same discipline: flushq_reclaim_add() is for what TLBs may still hold what
 * call_rcu() is for what readers may still hold. Both take an item that is embedded in the thing
 * and a function that frees it, and return at once.
 *
 * The machine is softtlb: each CPU is a thread, and notices any use of a page that was given back.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu.h>
#include "softtlb.h"

#define SPACE 1
#define PAGES 64

/* What the kernel knows of a mapped page. */
struct mapping {
	struct flushq_reclaim reclaim; /* waits for the TLBs */
	struct rcu_head rcu; /* waits for the readers */
	struct softtlb_change change; /* the page itself */
	unsigned int page;
};

static struct flushq fq;
static struct flushq_cpu cpus[2];
static struct flushq_asids asids;
static struct flushq_mm mm;
static struct mapping *mappings[PAGES]; /* read under RCU */
static struct flushq_reclaim_list list; /* CPU 0's */
static pthread_barrier_t step;
static atomic_bool done;
static unsigned long tickets, waiting, pages_back, seen;
static _Atomic unsigned long descriptors_back;

/* RCU: no reader can have it any more. */
static void free_descriptor(struct rcu_head *rcu)
{
	free(caa_container_of(rcu, struct mapping, rcu));
	atomic_fetch_add(&descriptors_back, 1);
}

/* flushq: no CPU can use the page any more. */
static void free_page(struct flushq_reclaim *reclaim)
{
	struct mapping *m = caa_container_of(reclaim, struct mapping, reclaim);

	softtlb_retire(&m->change); /* the page may be reused from here on */
	pages_back++;
	call_rcu(&m->rcu, free_descriptor);
}

static void map(unsigned int page)
{
	struct mapping *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->page = page;
	m->reclaim.free = free_page;
	softtlb_map(SPACE, page, true);
	rcu_assign_pointer(mappings[page], m);
}

static void unmap(unsigned int page)
{
	struct mapping *m = mappings[page];
	struct flushq_range range;

	rcu_assign_pointer(mappings[page], NULL); /* readers find it no more ... */
	softtlb_unmap(SPACE, page, 1, &m->change); /* ... nor does the hardware, once it flushed */
	range = flushq_mm_range(&fq, &mm, (unsigned long)page << FLUSHQ_PAGE_SHIFT,
				1ul << FLUSHQ_PAGE_SHIFT, 0, FLUSHQ_LEAF);
	if (!flushq_mm_ticket_take(&fq, 0, &mm, &range, &m->reclaim.ticket))
		tickets++; /* CPU 1 may use the page for now */
	flushq_reclaim_add(&list, &m->reclaim);
}

static void cpu0(void)
{
	unsigned int page;

	for (page = 0; page < PAGES; page++)
		map(page);
	pthread_barrier_wait(&step); /* CPU 1 fills its TLB */
	pthread_barrier_wait(&step);

	for (page = 0; page < PAGES; page++)
		unmap(page);
	flushq_reclaim_run(&fq, &list);
	waiting = PAGES - pages_back;
	pthread_barrier_wait(&step); /* from now on CPU 1's timer ticks */
	while (pages_back < PAGES)
		flushq_reclaim_run(&fq, &list); /* as CPU 0's own timer would */
	atomic_store(&done, true);
}

/* CPU 1 looks at descriptors and uses pages all the time; it is never interrupted. */
static void use_all(void)
{
	struct mapping *m;
	unsigned int page;

	for (page = 0; page < PAGES; page++) {
		rcu_read_lock();
		m = rcu_dereference(mappings[page]);
		if (m && m->page == page)
			seen++;
		softtlb_use(page, true);
		rcu_read_unlock();
	}
}

static void cpu1(void)
{
	flushq_asid asid = flushq_mm_switch_to(&fq, 1, &mm);

	softtlb_write_register_asid(SPACE, asid);
	flushq_switched(&fq, 1);
	pthread_barrier_wait(&step);
	use_all();
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	while (!atomic_load(&done)) {
		use_all(); /* through the old translations, as long as its TLB holds them */
		flushq_tick(&fq, 1); /* the timer: pays what is owed */
	}
}

static void cpu_main(unsigned int cpu)
{
	rcu_register_thread();
	flushq_online(&fq, cpu);
	cpu == 0 ? cpu0() : cpu1();
	rcu_unregister_thread();
}

int main(int argc, char **argv)
{
	struct softtlb_config config = { .fq = &fq, .cpus = 2 };
	unsigned long sent;

	if (argc > 1) {
		fprintf(stderr, "%s: takes no arguments\n", argv[0]);
		return 2;
	}
	pthread_barrier_init(&step, NULL, 2);
	flushq_init(&fq, cpus, 2);
	flushq_use_asids(&fq, &asids, 16);
	flushq_mm_init(&mm, NULL);
	softtlb_run(&config, cpu_main);
	rcu_barrier(); /* all descriptors of this program */

	sent = flushq_count(&fq, 0, FLUSHQ_IPI_SENT);
	printf("CPU 0 unmapped %d pages that CPU 1 uses: %lu interrupts, %lu tickets\n", PAGES,
	       sent, tickets);
	printf("before CPU 1's tick: %lu pages wait for it\n", waiting);
	printf("after it: %lu pages given back, then %lu descriptors, by RCU\n", pages_back,
	       atomic_load(&descriptors_back));
	printf("uses of a page that was given back: %lu\n", softtlb_all_findings());
	return sent == 0 && tickets == PAGES && waiting == PAGES && pages_back == PAGES &&
			       descriptors_back == PAGES && seen >= PAGES &&
			       softtlb_all_findings() == 0
		       ? 0
		       : 1;
}
