// SPDX-License-Identifier: MIT
/*
 * mm.cc - the headers as they are, on a machine of two or three CPUs with the strictest TLB: it
 * fills as early as it may, never evicts, and each page read through it is checked.
 *
 * A page holds 1 while it is mapped. The initiator unmaps it, and once flushq says so writes 2: a
 * CPU that reads 2, or reads without being ordered before that write, has used a stale translation.
 */
#define FLUSHQ_ARCH_PORTABLE
#define FLUSHQ_ATOMIC_H "relacy_atomic.h"
#define FLUSHQ_COUNTERS 0
#ifdef MODEL_WIDE
#define MODEL_NAME "wide"
#else
#define MODEL_NAME "mm"
#define FLUSHQ_POSITION_BITS 8
#endif
#define FLUSHQ_CACHE_LINE 16
#define FLUSHQ_NR_CPUS 65
#define FLUSHQ_RESIDENT 3
#define FLUSHQ_OWED 2
#define FLUSHQ_LOG_SLOTS 2
#define FLUSHQ_QUEUE_SLOTS MODEL_SLOTS
#define FLUSHQ_ASSERT(cond) MODEL_CHECK(cond)

#define MODEL_INTERRUPT() poll_nmi()

static void poll_nmi();

#include <flushq/flushq.h>

#include <new>

namespace
{

/* Address spaces, each with the ASID of that number but where a scenario says otherwise. */
enum { A = 1, B = 2, NR_ASIDS = 3, NR_VAS = 2, NR_PAGES = 2 * NR_ASIDS * NR_VAS, NR_CPUS = 4 };

const rl::debug_info here;

struct tlb {
	int loaded; /* the page-table register: an address space; 0: none */
	int page[NR_ASIDS][NR_VAS]; /* by ASID; -1: no entry */
	model::walk_order order;
	unsigned int irqs_off;
	bool in_nmi;
};

struct machine {
	struct flushq fq;
	flushq_atomic_ulong set[NR_ASIDS][2];
	rl::atomic<int> pte[NR_ASIDS][NR_VAS];
	rl::var<int> page[NR_PAGES];
	rl::atomic<int> irq[NR_CPUS];
	rl::atomic<int> active; /* initiators that have yet to return */
	rl::var<int> plain[NR_CPUS][FLUSHQ_QUEUE_SLOTS][2];
};

alignas(64) char machine_space[sizeof(machine)];
alignas(64) char log_space[sizeof(struct flushq_log)];
alignas(64) char cpu_space[FLUSHQ_NR_CPUS * sizeof(struct flushq_cpu)];
machine *m;
struct flushq_log *const a_log = reinterpret_cast<struct flushq_log *>(log_space);
struct flushq_cpu *const cpus = reinterpret_cast<struct flushq_cpu *>(cpu_space);

/* Reset by boot(). */
tlb tlbs[NR_CPUS];
long stale_tail[model::MAX_THREADS];
int asids[NR_ASIDS], sets[NR_ASIDS]; /* of the address spaces */
int booting; /* the CPU that before() acts for; -1: each thread for its own */
unsigned int last_cpu; /* the index of the last thread's CPU: 64, to have a second word */
bool nmis;
bool logging, logs; /* A's debts go to its log; so in what boot() starts next */
bool walks; /* the pages are page tables, which the hardware reads unasked */
int nr;

int me()
{
	return booting >= 0 ? booting : (int)rl::thread_index();
}

unsigned int cpu_of(int thread)
{
	return thread == nr - 1 ? last_cpu : (unsigned int)thread;
}

int thread_of(unsigned int cpu)
{
	return cpu == last_cpu ? nr - 1 : (int)cpu;
}

struct flushq_log *log_of(int mm)
{
	return logging && mm == A ? a_log : nullptr;
}

void construct_log(unsigned int position)
{
	struct flushq_log *log = ::new (static_cast<void *>(a_log)) struct flushq_log;
	unsigned int i;

	flushq_store_relaxed(&log->tail, (flushq_pos)position);
	for (i = 0; i < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); i++) {
		flushq_store_relaxed(&log->readers[i], 0ul);
		flushq_store_relaxed(&log->loaded[i], 0ul);
	}
	for (i = 1; i <= FLUSHQ_LOG_SLOTS; i++) {
		flushq_pos pos = (flushq_pos)(position - i);
		struct flushq_log_slot *slot = flushq_priv_log_at(log, pos);

		flushq_store_relaxed(&slot->state,
				     flushq_priv_log_state(pos, FLUSHQ_RING_PUBLISHED));
		flushq_store_relaxed(&slot->key, 0u);
		flushq_store_relaxed(&slot->value, 0ul);
	}
}

int old_page(int mm, int va)
{
	return mm * NR_VAS + va;
}

int new_page(int mm, int va)
{
	return NR_PAGES / 2 + old_page(mm, va);
}

int *cached(tlb *t, int mm, int va)
{
	return &t->page[asids[mm]][va];
}

void walk(tlb *t)
{
	for (int va = 0; t->loaded && va < NR_VAS; va++)
		if (*cached(t, t->loaded, va) < 0)
			*cached(t, t->loaded, va) = model::walk(&m->pte[t->loaded][va], &t->order);
}

/* Where the pages are page tables the hardware may read any that it knows of. */
void walk_tables(tlb *t)
{
	for (int va = 0; walks && t->loaded && va < NR_VAS; va++)
		if (*cached(t, t->loaded, va) >= 0)
			MODEL_CHECK(m->page[*cached(t, t->loaded, va)].load(here) == 1);
}

void load_register(int mm)
{
	tlb *t = &tlbs[me()];

	walk_tables(t);
	t->loaded = mm;
	walk(t);
	walk_tables(t);
}

void use(int mm, int va)
{
	tlb *t = &tlbs[me()];
	int page = *cached(t, mm, va);

	MODEL_CHECK(t->loaded == mm);
	MODEL_CHECK(page == old_page(mm, va) || page == new_page(mm, va));
	MODEL_CHECK(m->page[page].load(here) == 1);
}

void poll()
{
	int i = me();

	if (!tlbs[i].irqs_off && m->irq[i].exchange(0, rl::mo_acquire, here))
		flushq_drain(&m->fq, cpu_of(i));
}

/* Until all initiators are through. Relaxed: this must not order what the headers should. */
void serve(int mm, int va)
{
	while (m->active.load(rl::mo_relaxed, here)) {
		if (mm)
			use(mm, va);
		poll();
		rl::yield(1, here);
	}
	if (mm)
		use(mm, va);
}

void construct(unsigned int cpu, flushq_ring_pos position)
{
	struct flushq_cpu *c = ::new (static_cast<void *>(&cpus[cpu])) struct flushq_cpu;
	struct flushq_ring *ring = &c->queue.ring;
	unsigned int i;

	flushq_store_relaxed(&c->context, 0u);
	flushq_store_relaxed(&c->drains, 0u);
	flushq_store_relaxed(&c->bell, 0u);
	flushq_store_relaxed(&ring->sticky, 0u);
	flushq_store_relaxed(&ring->tail, position);
	ring->tail.stale = stale_tail;
	c->head = position;
	c->busy = c->again = c->stray = c->unsure = false;
	c->current = 0;
	c->resident = flushq_resident();
	for (i = 0; i < FLUSHQ_QUEUE_SLOTS; i++) {
		flushq_ring_pos pos = (flushq_ring_pos)(position + i);
		struct flushq_ring_slot *slot = flushq_priv_ring_at(ring, pos);
		rl::var<int> *plain = m->plain[thread_of(cpu)][i];

		flushq_store_relaxed(&slot->state, flushq_priv_ring_empty(pos));
		flushq_store_relaxed(&slot->value, 0ul);
		plain[0].store(0, here);
		plain[1].store(0, here);
#ifndef MODEL_WIDE
		flushq_store_relaxed(&slot->key, 0u);
		slot->key.plain = &plain[0];
#endif
		slot->value.plain = &plain[1];
	}
}

void boot(int threads, flushq_ring_pos position, unsigned int last)
{
	int i, va;

	m = ::new (static_cast<void *>(machine_space)) machine;
	nr = threads;
	last_cpu = last;
	nmis = walks = false;
	logging = logs;
	logs = false;
	if (logging)
		construct_log((unsigned int)position);
	for (i = 0; i < NR_CPUS; i++) {
		tlbs[i] = tlb();
		for (int asid = 0; asid < NR_ASIDS; asid++)
			for (va = 0; va < NR_VAS; va++)
				tlbs[i].page[asid][va] = -1;
		m->irq[i].store(0, rl::mo_relaxed, here);
	}
	for (i = 0; i < model::MAX_THREADS; i++)
		stale_tail[i] = -1;
	for (i = 0; i < NR_ASIDS; i++) {
		asids[i] = sets[i] = i;
		flushq_store_relaxed(&m->set[i][0], 0ul);
		flushq_store_relaxed(&m->set[i][1], 0ul);
		for (va = 0; va < NR_VAS; va++) {
			m->pte[i][va].store(old_page(i, va), rl::mo_relaxed, here);
			m->page[old_page(i, va)].store(1, here);
			m->page[new_page(i, va)].store(1, here);
		}
	}
	m->active.store(0, rl::mo_relaxed, here);
	flushq_init(&m->fq, cpus, last + 1);
	for (i = 0; i < threads; i++) {
		construct(cpu_of(i), position);
		booting = i;
		flushq_online(&m->fq, cpu_of(i));
	}
	/* Nobody sees what was before all this. */
	for (i = 0; i < NR_CPUS; i++)
		model::order_walks(&tlbs[i].order);
	booting = -1;
}

flushq_atomic_ulong *set_of(int mm)
{
	return m->set[sets[mm]];
}

/* The TLB fills at once when the register is written. */
void enter(int mm)
{
	flushq_priv_switch_to(&m->fq, cpu_of(me()), (flushq_asid)asids[mm], set_of(mm), log_of(mm));
	load_register(mm);
	flushq_switched(&m->fq, cpu_of(me()));
}

void leave()
{
	load_register(0);
	flushq_park(&m->fq, cpu_of(me()));
}

void visit(int mm, int va)
{
	enter(mm);
	use(mm, va);
	leave();
}

/* Has thread i's CPU run `mm`, use it and (where `park`) leave it, before all else. */
void ran(int i, int mm, bool park)
{
	booting = i;
	enter(mm);
	use(mm, 0);
	if (park)
		leave();
	booting = -1;
}

struct flushq_ring *ring_of(int thread)
{
	return &cpus[cpu_of(thread)].queue.ring;
}

/* A producer claimed the position `behind` the owner's and stopped for good. */
void claim(int thread, unsigned int behind)
{
	flushq_ring_pos pos = (flushq_ring_pos)(cpus[cpu_of(thread)].head + behind);

	flushq_store_relaxed(&flushq_priv_ring_at(ring_of(thread), pos)->state,
			     (flushq_ring_pos)(flushq_priv_ring_empty(pos) + FLUSHQ_RING_CLAIMED));
}

void destroy()
{
	for (int i = 0; i < nr; i++)
		cpus[cpu_of(i)].~flushq_cpu();
	if (logging)
		a_log->~flushq_log();
	m->~machine();
}

/* Who is not in a set holds nothing of its address space: the ASID may be given away. */
void halt()
{
	for (int i = 0; i < nr; i++)
		for (int mm = A; mm <= B && asids[A] != asids[B]; mm++)
			for (int va = 0; va < NR_VAS; va++)
				MODEL_CHECK(*cached(&tlbs[i], mm, va) < 0 ||
					    flushq_cpuset_has(set_of(mm), cpu_of(i)));
	destroy();
}

/* What an initiator asks for. */
struct flushq_range request(int mm, int va, enum flushq_kind kind)
{
	return flushq_range_make((flushq_asid)asids[mm], (unsigned long)va << 16, 4096, 4096, kind);
}

struct flushq_range whole(int mm)
{
	return flushq_range_whole((flushq_asid)asids[mm], FLUSHQ_LEAF);
}

void unmap(int mm, int va)
{
	m->pte[mm][va].store(new_page(mm, va), rl::mo_relaxed, here);
}

void reuse(int mm, int va)
{
	m->page[old_page(mm, va)].store(2, here);
}

/* The low call. With CPUs to be interrupted the page is not reused: only what is deferred counts. */
void post(int mm, int va, struct flushq_range range, bool fenced = false)
{
	unsigned long mask[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	struct flushq_priv_post call;
	unsigned int n;

	unmap(mm, va);
	if (log_of(mm)) {
		call = flushq_priv_begin(&m->fq, cpu_of(me()), &range, log_of(mm));
		n = flushq_priv_ask(&call, set_of(mm), mask);
	} else {
		n = fenced ? flushq_post_fenced(&m->fq, cpu_of(me()), set_of(mm), &range, mask)
			   : flushq_post(&m->fq, cpu_of(me()), set_of(mm), &range, mask);
	}
	if (n == 0)
		reuse(mm, va);
}

void post(int mm, int va, enum flushq_kind kind = FLUSHQ_LEAF)
{
	post(mm, va, request(mm, va, kind));
}

void shootdown(int mm, int va, enum flushq_kind kind = FLUSHQ_LEAF)
{
	struct flushq_range range = request(mm, va, kind);

	struct flushq_priv_post call = flushq_priv_begin(&m->fq, cpu_of(me()), &range, log_of(mm));

	unmap(mm, va);
	flushq_priv_shootdown(&call, set_of(mm));
	reuse(mm, va);
	m->active.fetch_sub(1, rl::mo_relaxed, here);
}

/* ---- an initiator against a CPU that switches: 2 threads ---- */

/* The last position before as many bits as a filled slot has are all used. */
const flushq_ring_pos WRAP = (flushq_pos)~0u;

void sb_before()
{
	boot(2, WRAP, 1);
	ran(1, A, true);
}

void sb(int t)
{
	if (t == 0)
		return post(A, 0);
	visit(A, 0);
	enter(A);
	use(A, 0);
}

/* The entry is not where it is looked for first. */
void elsewhere_before()
{
	boot(2, WRAP, 1);
	(void)flushq_resident_add(&cpus[1].resident, (flushq_asid)asids[A] + FLUSHQ_RESIDENT, NULL);
	ran(1, A, true);
}

/* It uses the page first, then leaves: for nothing, for another, for idling. */
void loaded_before()
{
	boot(2, WRAP, 1);
	ran(1, A, false);
}

void parks(int t)
{
	if (t == 0)
		return post(A, 0);
	use(A, 0);
	leave();
	enter(A);
	use(A, 0);
}

void other(int t)
{
	if (t == 0)
		return post(A, 0);
	use(A, 0);
	enter(B);
	use(B, 0);
	enter(A);
	use(A, 0);
}

void lazy(int t)
{
	if (t == 0)
		return post(A, 0);
	use(A, 0);
	flushq_enter_lazy(&m->fq, 1);
	flushq_leave_lazy(&m->fq, 1);
	use(A, 0);
}

/* The pages are page tables: a lazy CPU walks them. */
void lazy_tables(int t)
{
	if (t == 0)
		return shootdown(A, 0, FLUSHQ_TABLES);
	flushq_enter_lazy(&m->fq, 1);
	use(A, 0);
	serve(A, 0);
	leave();
	enter(A);
	use(A, 0);
}

void lazy_tables_before()
{
	loaded_before();
	walks = true;
	m->active.store(1, rl::mo_relaxed, here);
}

/* Tables are freed of a parked address space that the CPU comes back to, */
void parked_tables_before()
{
	sb_before();
	walks = true;
	m->active.store(1, rl::mo_relaxed, here);
}

void parked_tables(int t)
{
	if (t == 0)
		return shootdown(A, 0, FLUSHQ_TABLES);
	enter(A);
	use(A, 0);
	serve(A, 0);
}

/* or of the one that it leaves for another. */
void left_tables(int t)
{
	if (t == 0)
		return shootdown(A, 0, FLUSHQ_TABLES);
	use(A, 0);
	enter(B);
	use(B, 0);
	serve(B, 0);
}

/* The CPU joins the set for the first time. */
void join_before()
{
	boot(2, WRAP, 1);
}

void join(int t)
{
	if (t == 0)
		return post(A, 0);
	enter(A);
	use(A, 0);
	leave();
	enter(A);
	use(A, 0);
}

void fenced(int t)
{
	if (t == 0)
		return post(A, 0, request(A, 0, FLUSHQ_LEAF), true);
	visit(A, 0);
	enter(A);
	use(A, 0);
}

/* The set's second word. */
void words_before()
{
	boot(2, WRAP, 64);
	ran(1, A, true);
}

void words_join_before()
{
	boot(2, WRAP, 64);
}

/* Kernel mappings: A is every CPU's, whatever it has loaded; it uses them from online on. */
void online_before()
{
	boot(2, WRAP, 1);
	flushq_store_relaxed(&m->fq.online[0], 1ul);
	flushq_store_relaxed(&cpus[1].context, FLUSHQ_CONTEXT_OFFLINE);
}

void online(int t)
{
	if (t == 0)
		return post(A, 0, FLUSHQ_GLOBAL);
	load_register(A);
	flushq_online(&m->fq, 1);
	use(A, 0);
}

void global_before()
{
	boot(2, WRAP, 1);
	booting = 1;
	load_register(A);
	booting = -1;
	m->active.store(1, rl::mo_relaxed, here);
}

void global(int t)
{
	if (t == 0)
		return shootdown(A, 0, FLUSHQ_GLOBAL);
	use(A, 0);
	flushq_switch_to(&m->fq, 1, B, m->set[B]);
	use(A, 0);
	flushq_enter_lazy(&m->fq, 1);
	use(A, 0);
	flushq_park(&m->fq, 1);
	serve(A, 0);
}

/* In the set already, with the number that it had before: nobody is to be told that it joins. */
void renumbered_before()
{
	boot(2, WRAP, 1);
	sets[B] = A;
	ran(1, B, true);
}

void renumbered(int t)
{
	if (t == 0)
		return post(A, 0);
	flushq_tick(&m->fq, 1);
	visit(A, 0);
}

/* ---- slots and marks that others left ---- */

/* Full for good, and marked already: covered only if not yet taken. */
void covered_before()
{
	struct flushq_range range = request(A, 1, FLUSHQ_LEAF);

	sb_before();
	for (unsigned int i = 0; i < FLUSHQ_QUEUE_SLOTS; i++)
		claim(1, i);
	flushq_or_relaxed(&ring_of(1)->sticky, flushq_mark_of(&range));
}

void marked_before()
{
	sb_before();
	for (unsigned int i = 0; i < FLUSHQ_QUEUE_SLOTS; i++)
		claim(1, i);
}

/* Marked for another ASID. */
void two_asids_before()
{
	struct flushq_range range = request(B, 0, FLUSHQ_LEAF);

	marked_before();
	ran(1, B, true);
	for (unsigned int i = 0; i < FLUSHQ_QUEUE_SLOTS; i++)
		claim(1, i);
	flushq_or_relaxed(&ring_of(1)->sticky, flushq_mark_of(&range));
}

/* The first slots claimed for good, one free behind them. */
void blocked_before()
{
	sb_before();
	for (unsigned int i = 0; i + 1 < FLUSHQ_QUEUE_SLOTS; i++)
		claim(1, i);
}

/*
 * What producer `n` reads as the tail of `thread`'s queue: of 256 positions ago, so that it skips
 * slots. A wide one is never of the future, but late: each slot on the way was claimed.
 */
void stale(int thread, unsigned int n)
{
#ifdef MODEL_WIDE
	stale_tail[n] = (long)(cpus[cpu_of(thread)].head - (FLUSHQ_QUEUE_SLOTS - 1));
#else
	stale_tail[n] = (flushq_pos)(cpus[cpu_of(thread)].head + n + 1);
#endif
}

void hole_before()
{
	sb_before();
	stale(1, 0);
}

void hole(int t)
{
	if (t == 0)
		return post(A, 0);
	enter(A);
	use(A, 0);
}

/* Two of them, at neighbouring positions. */
void holes_before()
{
	boot(3, WRAP, 2);
	ran(2, A, true);
	stale(2, 0);
	stale(2, 1);
}

/* ---- two initiators and a CPU ---- */

void two_before()
{
	boot(3, WRAP - 1, 2);
	ran(2, A, true);
}

void two(int t)
{
	if (t < 2)
		return post(A, t);
	visit(A, 0);
	enter(A);
	use(A, 0);
	use(A, 1);
}

void two_asids(int t)
{
	if (t < 2)
		return post(t ? B : A, 0);
	visit(A, 0);
	visit(B, 0);
	visit(A, 0);
}

void two_asids3_before()
{
	boot(3, WRAP - 1, 2);
	ran(2, A, true);
	ran(2, B, true);
	for (unsigned int i = 0; i < FLUSHQ_QUEUE_SLOTS; i++)
		claim(2, i);
}

/*
 * The owner takes one request and gives its slot back; one producer has claimed the next position
 * and stops for good; another finds the tail late and all slots claimed, and moves it on. The third
 * starts from there.
 */
void late_tail_before()
{
	struct flushq_range range = flushq_range_make(B, 0, 1, 1, FLUSHQ_LEAF);
	flushq_ring_pos head;

	boot(4, WRAP - 2, 3);
	ran(3, A, true);
	head = cpus[3].head;
	booting = 0;
	(void)flushq_queue_put(&cpus[3].queue, &range);
	booting = -1;
	flushq_store_relaxed(&ring_of(3)->tail, head);
}

void late_tail(int t)
{
	struct flushq_range range = flushq_range_make(B, 0, 1, 1, FLUSHQ_LEAF);
	flushq_ring_pos state;

	if (t == 0)
		return (void)flushq_priv_ring_claim(ring_of(3), (flushq_ring_pos)(WRAP - 1),
						    &state);
	if (t == 1)
		return (void)flushq_queue_put(&cpus[3].queue, &range);
	if (t == 2)
		return post(A, 0);
	flushq_drain(&m->fq, 3);
	enter(A);
	use(A, 0);
}

/* One producer follows the other; the first two never come to their fences. */
void three_before()
{
	boot(4, WRAP - 1, 3);
	ran(3, A, true);
}

void three(int t)
{
	struct flushq_range range = flushq_range_make(B, 0, 1, 1, FLUSHQ_LEAF);

	if (t < 2)
		return (void)flushq_queue_put(&cpus[3].queue, &range);
	if (t == 2)
		return post(A, 0);
	enter(A);
	use(A, 0);
}

/* One position after the other, through several laps. */
void laps(int t)
{
	if (t == 0) {
		post(A, 0);
		post(B, 0);
		return post(A, 1);
	}
	enter(A);
	use(A, 0);
	enter(B);
	use(B, 0);
	enter(A);
	use(A, 0);
	use(A, 1);
}

void laps_before()
{
	boot(2, WRAP - 1, 1);
	ran(1, B, true);
	ran(1, A, true);
}

/* ---- interrupts and waits ---- */

void wait_before()
{
	loaded_before();
	m->active.store(1, rl::mo_relaxed, here);
}

void wait1(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	serve(A, 0);
}

/* A drain of its own is under way when the bell is rung. */
void wait_drain(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	use(A, 0);
	flushq_drain(&m->fq, 1);
	serve(A, 0);
}

void wait_two_before()
{
	boot(3, WRAP, 2);
	ran(2, A, false);
	m->active.store(2, rl::mo_relaxed, here);
}

void wait_two(int t)
{
	if (t < 2)
		return shootdown(A, t);
	while (m->active.load(rl::mo_relaxed, here)) {
		use(A, 0);
		use(A, 1);
		poll();
		rl::yield(1, here);
	}
	use(A, 0);
	use(A, 1);
}

/* The bell was rung by one that is through; its interrupt is still to come. */
void wait_rung_before()
{
	wait_before();
	flushq_store_relaxed(&cpus[1].bell, 1u);
	m->irq[1].store(1, rl::mo_relaxed, here);
}

/* Two CPUs of one address space interrupt each other, interrupts off. */
void mutual_before()
{
	boot(2, WRAP, 1);
	ran(0, A, false);
	ran(1, A, false);
	m->active.store(2, rl::mo_relaxed, here);
	tlbs[0].irqs_off = tlbs[1].irqs_off = 1;
}

void mutual(int t)
{
	use(A, 0);
	use(A, 1);
	shootdown(A, t);
	tlbs[me()].irqs_off = 0;
	while (m->active.load(rl::mo_relaxed, here)) {
		use(A, !t);
		poll();
		rl::yield(1, here);
	}
}

/* The interrupt hits within a drain. */
void nmi_before()
{
	wait_before();
	nmis = true;
}

/* The CPU leaves and comes back while it is waited for. */
void wait_leaves(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	use(A, 0);
	enter(B);
	enter(A);
	use(A, 0);
	serve(A, 0);
}

/* ---- what the CPU keeps, and the sets that it leaves ---- */

void wait_any()
{
	m->active.store(1, rl::mo_relaxed, here);
}

/* It parks A and switches to B, which takes A's place: A is flushed and left. Then it comes back. */
void leaves_before()
{
	loaded_before();
	flushq_limit_resident(&m->fq, 1);
}

void ages(int va)
{
	use(A, va);
	leave();
	visit(B, va);
	enter(A);
	use(A, va);
}

void leaves(int t)
{
	if (t == 0)
		return post(A, 0);
	ages(0);
}

void leaves_wait_before()
{
	leaves_before();
	wait_any();
}

void leaves_wait(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	ages(0);
	serve(A, 0);
}

void leaves_words_before()
{
	boot(2, WRAP, 64);
	ran(1, A, false);
	flushq_limit_resident(&m->fq, 1);
}

void leaves_two_before()
{
	boot(3, WRAP - 1, 2);
	ran(2, A, false);
	flushq_limit_resident(&m->fq, 1);
}

void leaves_two(int t)
{
	if (t < 2)
		return post(A, t);
	use(A, 0);
	use(A, 1);
	leave();
	visit(B, 0);
	enter(A);
	use(A, 0);
	use(A, 1);
}

/* One leaves while another joins. */
void leaves_join(int t)
{
	if (t == 0)
		return post(A, 0);
	if (t == 1)
		return enter(A), use(A, 0);
	use(A, 0);
	leave();
	visit(B, 0);
}

/* Two join. */
void join_both_before()
{
	boot(3, WRAP - 1, 2);
}

void join_both(int t)
{
	if (t == 0)
		return post(A, 0);
	enter(A);
	use(A, 0);
}

/* Two leave, and one comes back. */
void leave_both_before()
{
	boot(3, WRAP - 1, 2);
	ran(1, A, true);
	ran(2, A, true);
	flushq_limit_resident(&m->fq, 1);
}

void leave_both(int t)
{
	if (t == 0)
		return post(A, 0);
	visit(B, 0);
	if (t == 1)
		return;
	enter(A);
	use(A, 0);
}

/* A is parked, B loaded; the mark says A, */
void parked_before()
{
	boot(2, WRAP, 1);
	ran(1, A, true);
	ran(1, B, false);
}

void leaves_marked_before()
{
	struct flushq_range range = request(A, 1, FLUSHQ_LEAF);

	parked_before();
	flushq_or_relaxed(&ring_of(1)->sticky, flushq_mark_of(&range));
}

void comes_back()
{
	use(B, 0);
	flushq_tick(&m->fq, 1);
	use(B, 0);
	enter(A);
	use(A, 0);
	use(A, 1);
}

void leaves_marked(int t)
{
	if (t == 0)
		return post(A, 0);
	comes_back();
}

/* or a request does, and then another that finds it gone. */
void leaves_whole(int t)
{
	if (t == 0)
		return post(A, 0, whole(A)), post(A, 1);
	comes_back();
}

/* B is loaded, and flushed as a whole: it is not left. */
void stays(int t)
{
	if (t == 0)
		return post(B, 0, whole(B)), shootdown(B, 1);
	use(B, 0);
	flushq_tick(&m->fq, 1);
	serve(B, 1);
}

void stays_before()
{
	parked_before();
	wait_any();
}

/* What is drained while A is parked is kept, */
void debt(int t)
{
	if (t == 0)
		return post(A, 0), post(A, 1);
	comes_back();
}

/* or flushed and left where there is no room. */
void debt_full_before()
{
	struct flushq_range range = request(0, 0, FLUSHQ_LEAF);

	parked_before();
	MODEL_CHECK(flushq_resident_owe(&cpus[1].resident, &range));
}

/* B is flushed as a whole meanwhile, which is not A. */
void debt_other(int t)
{
	if (t == 0)
		return post(A, 0), post(B, 1, whole(B));
	comes_back();
}

/* The CPU's own requests: the other's page waits until A is switched to as well. */
void self_before()
{
	boot(2, WRAP, 1);
	ran(0, A, true);
	ran(0, B, false);
}

void self(int t)
{
	if (t == 1)
		return post(A, 1);
	post(A, 0);
	use(B, 0);
	enter(A);
	use(A, 0);
	use(A, 1);
}

void self_whole(int t)
{
	if (t == 1)
		return post(A, 1);
	post(A, 0, whole(A));
	use(B, 0);
	enter(A);
	use(A, 0);
	use(A, 1);
}

/* Two address spaces with one ASID, as where there are no ASIDs. */
void same_before()
{
	boot(2, WRAP, 1);
	asids[A] = asids[B] = 0;
	ran(1, A, false);
}

void same(int t)
{
	if (t == 0)
		return post(A, 0);
	use(A, 0);
	enter(B);
	use(B, 0);
	enter(A);
	use(A, 0);
}

void same_parks(int t)
{
	if (t == 0)
		return post(A, 0);
	leave();
	visit(B, 0);
	visit(A, 0);
}

void same_new_parks(int t)
{
	if (t == 0)
		return post(B, 0);
	leave();
	visit(B, 0);
	visit(A, 0);
	visit(B, 0);
}

/* It is not said that the register was written. */
void same_forgets(int t)
{
	if (t == 0)
		return post(A, 0);
	flushq_switch_to(&m->fq, 1, (flushq_asid)asids[B], set_of(B));
	load_register(B);
	leave();
	/* One that maps nothing. */
	flushq_switch_to(&m->fq, 1, 2, m->set[0]);
	flushq_switched(&m->fq, 1);
	flushq_park(&m->fq, 1);
	visit(B, 0);
	visit(A, 0);
}

void same_wait_before()
{
	same_before();
	wait_any();
}

void same_wait(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	use(A, 0);
	enter(B);
	use(B, 0);
	enter(A);
	use(A, 0);
	serve(A, 0);
}

void same_tables_before()
{
	same_wait_before();
	walks = true;
}

void same_tables(int t)
{
	if (t == 0)
		return shootdown(A, 0, FLUSHQ_TABLES);
	use(A, 0);
	enter(B);
	use(B, 0);
	serve(B, 0);
}

/* A is dead; B has its set, */
void reborn_before()
{
	boot(2, WRAP, 1);
	ran(1, A, true);
	sets[B] = sets[A];
	flushq_store_relaxed(set_of(B), 0ul);
}

void reborn(int t)
{
	if (t == 0)
		return post(B, 0);
	visit(B, 0);
	visit(B, 0);
}

/* and its ASID; or the ASID alone. */
void reborn_twin_before()
{
	reborn_before();
	asids[B] = asids[A];
}

void reborn_asid_before()
{
	boot(2, WRAP, 1);
	ran(1, A, true);
	asids[B] = asids[A];
}

/* A is flushed as a whole while B runs: B's membership stays. */
void reborn_shares_before()
{
	struct flushq_range range = request(A, 1, FLUSHQ_LEAF);

	reborn_before();
	flushq_or_relaxed(&ring_of(1)->sticky, flushq_mark_of(&range));
}

void reborn_shares(int t)
{
	if (t == 0)
		return post(B, 0);
	enter(B);
	use(B, 0);
	leave();
	enter(B);
	use(B, 0);
}

/* B's own requests find its entry, not A's. */
void reborn_wait(int t)
{
	if (t == 0)
		return shootdown(B, 0);
	enter(B);
	use(B, 0);
	serve(B, 0);
}

void reborn_wait_before()
{
	reborn_before();
	wait_any();
}

/* Or A is, by age, before B is switched to. */
void reborn_aged_before()
{
	reborn_before();
	flushq_limit_resident(&m->fq, 1);
}

/* No room in the table: nothing was told that the register has changed, three times. */
void stray_before()
{
	boot(2, WRAP, 1);
	for (int i = 0; i < FLUSHQ_RESIDENT; i++)
		flushq_resident_add(&cpus[1].resident, 0, m->set[0]);
	cpus[1].resident.loaded = cpus[1].resident.used;
	wait_any();
}

void stray(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	enter(A);
	use(A, 0);
	serve(A, 0);
	leave();
}

void stray_self(int t)
{
	if (t == 0)
		return post(A, 1);
	enter(A);
	post(A, 0);
	use(A, 0);
	leave();
}

void stray_parks(int t)
{
	if (t == 0)
		return post(A, 0);
	visit(A, 0);
	enter(A);
	use(A, 0);
}

/* ---- CPUs that stop ---- */

void offline_before()
{
	global_before();
}

/* For good: whoever waits for it is through. */
void offline(int t)
{
	if (t == 0)
		return shootdown(A, 0, FLUSHQ_GLOBAL);
	use(A, 0);
	tlbs[1].irqs_off = 1;
	flushq_offline(&m->fq, 1);
}

void offline_back(int t)
{
	if (t == 0)
		return shootdown(A, 0, FLUSHQ_GLOBAL);
	use(A, 0);
	flushq_offline(&m->fq, 1);
	flushq_online(&m->fq, 1);
	use(A, 0);
	serve(A, 0);
}

/* With an address space parked. */
void offline_parked(int t)
{
	if (t == 0)
		return post(A, 0);
	use(A, 0);
	leave();
	flushq_offline(&m->fq, 1);
	flushq_online(&m->fq, 1);
	enter(A);
	use(A, 0);
}

void offline_for_good(int t)
{
	if (t == 0)
		return post(A, 0);
	use(A, 0);
	leave();
	flushq_offline(&m->fq, 1);
}

/* Its debts went with its TLB. */
void offline_debt(int t)
{
	if (t == 0)
		return post(A, 0), post(A, 1);
	use(B, 0);
	flushq_tick(&m->fq, 1);
	leave();
	flushq_offline(&m->fq, 1);
	flushq_online(&m->fq, 1);
	enter(A);
	use(A, 0);
	use(A, 1);
}

/* ---- a waiter, and a CPU that can't be interrupted ---- */

void wait_parks(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	tlbs[1].irqs_off = 1;
	use(A, 0);
	leave();
	visit(A, 0);
}

void wait_switches(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	tlbs[1].irqs_off = 1;
	use(A, 0);
	enter(B);
	use(B, 0);
}

/* A drain between the two halves of a switch. */
void between(int t)
{
	if (t == 0)
		return shootdown(A, 0, FLUSHQ_TABLES);
	use(A, 0);
	flushq_switch_to(&m->fq, 1, B, set_of(B));
	poll();
	load_register(B);
	flushq_switched(&m->fq, 1);
	serve(B, 0);
}

/* NMIs within the calls. */
void nmi_switch_before()
{
	nmi_before();
	flushq_limit_resident(&m->fq, 1);
}

void nmi_switch(int t)
{
	if (t == 0)
		return shootdown(A, 0);
	use(A, 0);
	enter(B);
	use(B, 0);
	enter(A);
	use(A, 0);
	serve(A, 0);
}

void nmi_tables_before()
{
	nmi_before();
	walks = true;
}

/* ---- the same with a log ---- */

template <void (*BEFORE)()> void logged()
{
	logs = true;
	BEFORE();
}

/* Three entries for two slots: overtaken. */
void log_laps(int t)
{
	if (t == 0)
		return post(A, 0), post(A, 0), post(A, 1);
	visit(A, 0);
	enter(A);
	use(A, 0);
	use(A, 1);
}

/* Lazy with what is in no table. */
void stray_lazy(int t)
{
	if (t == 0)
		return post(A, 0);
	enter(A);
	use(A, 0);
	flushq_enter_lazy(&m->fq, 1);
	flushq_leave_lazy(&m->fq, 1);
	use(A, 0);
}

const model::scenario table[] = {
	{ "switch", 2, 4, sb_before, sb, halt },
	{ "covered", 2, 4, covered_before, sb, halt },
	{ "marked", 2, 4, marked_before, sb, halt },
	{ "two_asids", 2, 3, two_asids_before, sb, halt },
	{ "laps", 2, 3, laps_before, laps, halt },
#if MODEL_SLOTS > 1
	{ "blocked", 2, 4, blocked_before, sb, halt },
	{ "hole", 2, 6, hole_before, hole, halt },
#endif
#if MODEL_SLOTS > 2
	{ "holes", 3, 2, holes_before, two, halt },
#endif
	{ "two", 3, 2, two_before, two, halt },
	{ "two_asids3", 3, 2, two_asids3_before, two_asids, halt },
#if MODEL_SLOTS == 2
	{ "late_tail", 4, FLUSHQ_POSITION_BITS == 64 ? 2 : 1, late_tail_before, late_tail, halt },
#endif
#if MODEL_SLOTS == 4
	{ "three", 4, 1, three_before, three, halt },
#endif
/* What follows does not depend on how wide positions are. */
#ifndef MODEL_WIDE
	{ "parks", 2, 4, loaded_before, parks, halt },
	{ "other", 2, 4, loaded_before, other, halt },
	{ "lazy", 2, 4, loaded_before, lazy, halt },
	{ "join", 2, 4, join_before, join, halt },
	{ "fenced", 2, 4, sb_before, fenced, halt },
	{ "online", 2, 4, online_before, online, destroy },
#if MODEL_SLOTS > 1
	{ "words", 2, 4, words_before, sb, halt },
	{ "words_join", 2, 4, words_join_before, join, halt },
#endif
	{ "leaves", 2, 4, leaves_before, leaves, halt },
#if MODEL_SLOTS == 2
	{ "leaves_words", 2, 4, leaves_words_before, leaves, halt },
	{ "leaves_marked", 2, 4, leaves_marked_before, leaves_marked, halt },
	{ "leaves_whole", 2, 3, parked_before, leaves_whole, halt },
	{ "leaves_two", 3, 2, leaves_two_before, leaves_two, halt },
	{ "leaves_join", 3, 2, leaves_two_before, leaves_join, halt },
	{ "join_both", 3, 2, join_both_before, join_both, halt },
	{ "leave_both", 3, 2, leave_both_before, leave_both, halt },
	{ "elsewhere", 2, 4, elsewhere_before, sb, halt },
	{ "debt", 2, 3, parked_before, debt, halt },
	{ "debt_full", 2, 3, debt_full_before, debt, halt },
	{ "debt_other", 2, 3, parked_before, debt_other, halt },
	{ "self", 2, 4, self_before, self, halt },
	{ "self_whole", 2, 4, self_before, self_whole, halt },
	{ "same", 2, 3, same_before, same, halt },
	{ "same_parks", 2, 3, same_before, same_parks, halt },
	{ "same_forgets", 2, 3, same_before, same_forgets, halt },
	{ "same_new_parks", 2, 3, same_before, same_new_parks, halt },
	{ "reborn", 2, 3, reborn_before, reborn, halt },
	{ "reborn_twin", 2, 3, reborn_twin_before, reborn, halt },
	{ "reborn_asid", 2, 3, reborn_asid_before, reborn, halt },
	{ "reborn_shares", 2, 3, reborn_shares_before, reborn_shares, halt },
	{ "reborn_aged", 2, 3, reborn_aged_before, reborn_shares, halt },
	{ "stray_self", 2, 3, stray_before, stray_self, halt },
	{ "stray_parks", 2, 3, stray_before, stray_parks, halt },
	{ "offline_parked", 2, 3, loaded_before, offline_parked, halt },
	{ "offline_for_good", 2, 3, loaded_before, offline_for_good, halt },
	{ "offline_debt", 2, 3, parked_before, offline_debt, halt },
	{ "stray_lazy", 2, 3, stray_before, stray_lazy, halt },
	{ "log_switch", 2, 3, logged<sb_before>, sb, halt },
	{ "log_parks", 2, 3, logged<loaded_before>, parks, halt },
	{ "log_other", 2, 3, logged<loaded_before>, other, halt },
	{ "log_lazy", 2, 3, logged<loaded_before>, lazy, halt },
	{ "log_join", 2, 3, logged<join_before>, join, halt },
	{ "log_words", 2, 3, logged<words_before>, sb, halt },
	{ "log_laps", 2, 2, logged<sb_before>, log_laps, halt },
	{ "log_two", 3, 1, logged<two_before>, two, halt },
	{ "log_leaves", 2, 3, logged<leaves_before>, leaves, halt },
	{ "log_self", 2, 3, logged<self_before>, self, halt },
	{ "log_same", 2, 3, logged<same_before>, same, halt },
	{ "log_offline", 2, 3, logged<loaded_before>, offline_parked, halt },
	{ "log_stray_self", 2, 3, logged<stray_before>, stray_self, halt },
	{ "log_stray_lazy", 2, 3, logged<stray_before>, stray_lazy, halt },
#endif
#if MODEL_SLOTS == 1
	{ "leaves_wait", 2, 2, leaves_wait_before, leaves_wait, halt },
	{ "stays", 2, 3, stays_before, stays, halt },
	{ "same_wait", 2, 2, same_wait_before, same_wait, halt },
	{ "same_tables", 2, 3, same_tables_before, same_tables, halt },
	{ "reborn_wait", 2, 3, reborn_wait_before, reborn_wait, halt },
	{ "stray", 2, 3, stray_before, stray, halt },
	{ "offline", 2, 3, offline_before, offline, destroy },
	{ "offline_back", 2, 3, offline_before, offline_back, destroy },
	{ "wait_parks", 2, 3, wait_before, wait_parks, halt },
	{ "wait_switches", 2, 3, wait_before, wait_switches, halt },
	{ "between", 2, 3, lazy_tables_before, between, halt },
	{ "nmi_switch", 2, 3, nmi_switch_before, nmi_switch, halt },
	{ "nmi_left_tables", 2, 3, nmi_tables_before, left_tables, halt },
	{ "log_wait", 2, 2, logged<wait_before>, wait1, halt },
	{ "log_wait_leaves", 2, 2, logged<wait_before>, wait_leaves, halt },
	{ "log_wait_parks", 2, 3, logged<wait_before>, wait_parks, halt },
	{ "log_nmi", 2, 2, logged<nmi_before>, nmi_switch, halt },
	{ "log_tables", 2, 2, logged<parked_tables_before>, parked_tables, halt },
	{ "log_left_tables", 2, 2, logged<lazy_tables_before>, left_tables, halt },
	{ "log_stray", 2, 2, logged<stray_before>, stray, halt },
#endif
#if MODEL_SLOTS < 4
	{ "wait", 2, 3, wait_before, wait1, halt },
	{ "wait_drain", 2, 3, wait_before, wait_drain, halt },
	{ "wait_rung", 2, 3, wait_rung_before, wait1, halt },
	{ "wait_leaves", 2, 3, wait_before, wait_leaves, halt },
	{ "nmi", 2, 3, nmi_before, wait_drain, halt },
	{ "lazy_tables", 2, 3, lazy_tables_before, lazy_tables, halt },
	{ "parked_tables", 2, 3, parked_tables_before, parked_tables, halt },
	{ "left_tables", 2, 3, lazy_tables_before, left_tables, halt },
	{ "renumbered", 2, 3, renumbered_before, renumbered, halt },
	{ "global", 2, 3, global_before, global, destroy },
	{ "wait_two", 3, 50000, wait_two_before, wait_two, halt },
	{ "mutual", 2, 50000, mutual_before, mutual, halt },
#endif
#endif
};

} // namespace

static void poll_nmi()
{
	int i = me();
	tlb *t = &tlbs[i];

	if (!nmis || booting >= 0 || t->in_nmi)
		return;
	if (m->irq[i].exchange(0, rl::mo_acquire, here)) {
		t->in_nmi = true;
		flushq_drain(&m->fq, cpu_of(i));
		t->in_nmi = false;
	}
}

extern "C" {

void flushq_host_flush(const struct flushq_range *range)
{
	tlb *t = &tlbs[me()];

	poll_nmi();
	walk_tables(t);
	if (booting < 0)
		model::order_walks(&t->order);
	/* A request that nobody made is a torn one. */
	MODEL_CHECK(range->kind <= FLUSHQ_GLOBAL && range->asid < NR_ASIDS);
	for (int asid = 0; asid < NR_ASIDS; asid++) {
		if (range->kind != FLUSHQ_GLOBAL && asid != range->asid)
			continue;
		for (int va = 0; va < NR_VAS; va++)
			if (range->pages == 0 || range->start == (unsigned long)va << 16)
				t->page[asid][va] = -1;
	}
	MODEL_CHECK(range->pages == 0 || (range->pages == 1 && range->start >> 16 < NR_VAS));
	walk(t);
	poll_nmi();
}

unsigned long flushq_host_irq_save(void)
{
	return tlbs[me()].irqs_off++;
}

void flushq_host_irq_restore(unsigned long flags)
{
	tlbs[me()].irqs_off = (unsigned int)flags;
}

/* What runs on a CPU here is never interrupted but where it says so. */
bool flushq_host_irqs_off(void)
{
	return true;
}

void flushq_host_relax(void)
{
	poll();
	rl::yield(1, here);
}

void flushq_host_interrupt(const unsigned long *mask, unsigned int words)
{
	for (int i = 0; i < nr; i++)
		if (cpu_of(i) / 64 < words && mask[cpu_of(i) / 64] >> cpu_of(i) % 64 & 1)
			m->irq[i].fetch_or(1, rl::mo_release, here);
}
}

int main(int argc, char **argv)
{
	return model::main(argc, argv, MODEL_NAME MODEL_TEXT(MODEL_SLOTS), table,
			   sizeof(table) / sizeof(*table));
}
