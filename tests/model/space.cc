// SPDX-License-Identifier: MIT
/*
 * space.cc - mm.h and ticket.h as they are, on the machine of mm.cc: a TLB that fills as early as it
 * may and never evicts, and pages that are read through it. Here flushq hands out the ASIDs, so few
 * that they roll over. A page holds 1 until the shootdown returned, or the ticket was done; the root
 * page and the log of an address space until flushq_mm_loaded() was false.
 */
#define FLUSHQ_ARCH_PORTABLE
#define FLUSHQ_ATOMIC_H "relacy_atomic.h"
#define FLUSHQ_COUNTERS 0
#define FLUSHQ_POSITION_BITS 8
#define FLUSHQ_CACHE_LINE 16
#define FLUSHQ_NR_CPUS 3
#define FLUSHQ_ASID_BITS 2
#define FLUSHQ_RESIDENT 3
#define FLUSHQ_OWED 2
#define FLUSHQ_LOG_SLOTS 2
#define FLUSHQ_QUEUE_SLOTS 2
#define FLUSHQ_ASSERT(cond) MODEL_CHECK(cond)

#include <flushq/flushq.h>

#include <new>

namespace
{

/* Address spaces. Only A's page table changes. */
enum { A = 1, B, C, D, E, NR_MMS, NR_VAS = 2, NR_CPUS = 3, NR_ASIDS = 1 << FLUSHQ_ASID_BITS };
/* Pages of A by va: before it is unmapped, and what is mapped then. Of others: behind these. */
enum { OLD = 0, NEW = NR_VAS, NR_PAGES = 2 * NR_VAS };

const rl::debug_info here;
const unsigned int WRAP = 255;

struct tlb {
	int loaded; /* the page-table register: an address space; 0: none */
	flushq_asid asid; /* and its ASID */
	int page[NR_ASIDS][NR_VAS]; /* -1: no entry */
	model::walk_order order;
	unsigned int irqs_off;
};

struct machine {
	struct flushq fq;
	struct flushq_asids asids;
	struct flushq_mm mm[NR_MMS];
	struct flushq_log log; /* A's, in some */
	struct flushq_cpu cpu[NR_CPUS];
	rl::atomic<int> pte[NR_VAS];
	rl::var<int> page[NR_PAGES];
	rl::var<int> root, log_memory; /* of A: 1 until freed */
	rl::atomic<int> irq[NR_CPUS];
	rl::atomic<int> active; /* initiators that have yet to return */
	rl::atomic<int> born;
};

alignas(64) char machine_space[sizeof(machine)];
machine *m;

/* Reset by boot(). */
tlb tlbs[NR_CPUS];
int booting; /* the CPU that before() acts for; -1: each thread for its own */
bool walks; /* the pages are page tables, which the hardware reads unasked */
bool logging, logs; /* A has a log; so in what boot() starts next */
int nr;

unsigned int me()
{
	return booting >= 0 ? (unsigned int)booting : rl::thread_index();
}

int *cached(tlb *t, int va)
{
	return &t->page[t->asid][va];
}

/* What the hardware does by itself with what is in the register. */
void walk(tlb *t)
{
	for (int va = 0; t->loaded && va < NR_VAS; va++) {
		int *page = cached(t, va);

		if (t->loaded == A)
			MODEL_CHECK(m->root.load(here) == 1);
		if (*page < 0)
			*page = t->loaded == A ? model::walk(&m->pte[va], &t->order)
					       : t->loaded * NR_PAGES + va;
		else if (walks && *page < NR_PAGES)
			MODEL_CHECK(m->page[*page].load(here) == 1);
	}
}

void load_register(int mm, flushq_asid asid)
{
	tlb *t = &tlbs[me()];

	walk(t);
	t->loaded = mm;
	t->asid = asid;
	walk(t);
}

void use(int mm, int va)
{
	tlb *t = &tlbs[me()];
	int page = *cached(t, va);

	MODEL_CHECK(t->loaded == mm);
	walk(t);
	if (mm != A) {
		MODEL_CHECK(page == mm * NR_PAGES + va);
		return;
	}
	MODEL_CHECK(page == OLD + va || page == NEW + va);
	MODEL_CHECK(m->page[page].load(here) == 1);
}

void poll()
{
	unsigned int i = me();

	if (!tlbs[i].irqs_off && m->irq[i].exchange(0, rl::mo_acquire, here))
		flushq_drain(&m->fq, i);
}

/* Until all initiators are through. Relaxed: this must not order what the headers should. */
template <bool TICKS> void serve(int mm)
{
	bool more;

	do {
		more = m->active.load(rl::mo_relaxed, here);
		for (int va = 0; mm && va < NR_VAS; va++)
			use(mm, va);
		if (!more)
			break;
		poll();
		if (TICKS)
			flushq_tick(&m->fq, me());
		rl::yield(1, here);
	} while (true);
}

void construct_cpu(struct flushq_cpu *c, unsigned int position)
{
	struct flushq_ring *ring = &c->queue.ring;

	flushq_store_relaxed(&c->context, 0u);
	flushq_store_relaxed(&c->drains, 0u);
	flushq_store_relaxed(&c->bell, 0u);
	flushq_store_relaxed(&ring->sticky, 0u);
	flushq_store_relaxed(&ring->tail, (flushq_ring_pos)position);
	c->head = (flushq_pos)position;
	c->busy = c->again = c->stray = c->unsure = false;
	c->current = 0;
	c->resident = flushq_resident();
	for (unsigned int i = 0; i < FLUSHQ_QUEUE_SLOTS; i++) {
		flushq_pos pos = (flushq_pos)(position + i);
		struct flushq_ring_slot *slot = flushq_priv_ring_at(ring, pos);

		flushq_store_relaxed(&slot->state, flushq_priv_ring_empty(pos));
		flushq_store_relaxed(&slot->key, 0u);
		flushq_store_relaxed(&slot->value, 0ul);
	}
}

void construct_log(struct flushq_log *log, unsigned int position)
{
	flushq_store_relaxed(&log->tail, (flushq_pos)position);
	flushq_store_relaxed(&log->readers[0], 0ul);
	flushq_store_relaxed(&log->loaded[0], 0ul);
	for (unsigned int i = 1; i <= FLUSHQ_LOG_SLOTS; i++) {
		flushq_pos pos = (flushq_pos)(position - i);
		struct flushq_log_slot *slot = flushq_priv_log_at(log, pos);

		flushq_store_relaxed(&slot->state,
				     flushq_priv_log_state(pos, FLUSHQ_RING_PUBLISHED));
		flushq_store_relaxed(&slot->key, 0u);
		flushq_store_relaxed(&slot->value, 0ul);
		slot->state.memory = slot->key.memory = slot->value.memory = &m->log_memory;
	}
	log->tail.memory = log->readers[0].memory = log->loaded[0].memory = &m->log_memory;
}

void boot(int threads, unsigned int bits)
{
	m = ::new (static_cast<void *>(machine_space)) machine;
	nr = threads;
	walks = false;
	logging = logs;
	logs = false;
	m->root.store(1, here);
	m->log_memory.store(1, here);
	construct_log(&m->log, WRAP);
	for (int va = 0; va < NR_VAS; va++) {
		m->pte[va].store(OLD + va, rl::mo_relaxed, here);
		m->page[OLD + va].store(1, here);
		m->page[NEW + va].store(1, here);
	}
	m->active.store(1, rl::mo_relaxed, here);
	m->born.store(0, rl::mo_relaxed, here);
	flushq_init(&m->fq, m->cpu, (unsigned int)threads);
	flushq_use_asids(&m->fq, &m->asids, bits);
	for (int i = 0; i < NR_MMS; i++)
		flushq_mm_init(&m->mm[i], logging && i == A ? &m->log : nullptr);
	for (int i = 0; i < NR_CPUS; i++) {
		tlbs[i] = tlb();
		for (int asid = 0; asid < NR_ASIDS; asid++)
			for (int va = 0; va < NR_VAS; va++)
				tlbs[i].page[asid][va] = -1;
		m->irq[i].store(0, rl::mo_relaxed, here);
		construct_cpu(&m->cpu[i], WRAP);
		booting = i;
		if (i < threads)
			flushq_online(&m->fq, me());
	}
	/* Nobody sees what was before all this. */
	for (int i = 0; i < NR_CPUS; i++)
		model::order_walks(&tlbs[i].order);
	booting = -1;
}

void enter(int mm)
{
	load_register(mm, flushq_mm_switch_to(&m->fq, me(), &m->mm[mm]));
	flushq_switched(&m->fq, me());
	use(mm, 0);
}

void leave()
{
	load_register(0, 0);
	flushq_park(&m->fq, me());
}

/* Has CPU i run `mm` and (where `park`) leave it, before all else. */
void ran(int i, int mm, bool park)
{
	booting = i;
	enter(mm);
	if (park)
		leave();
	booting = -1;
}

/* Who is not in a set holds nothing of its address space. */
void halt()
{
	for (int i = 0; i < nr; i++)
		for (int asid = 0; asid < NR_ASIDS; asid++)
			for (int va = 0; va < NR_VAS; va++) {
				int page = tlbs[i].page[asid][va];
				int mm = page < 0 ? 0 : page < NR_PAGES ? A : page / NR_PAGES;

				MODEL_CHECK(!mm || flushq_cpuset_has(m->mm[mm].cpus, i) ||
					    m->born.load(rl::mo_relaxed, here));
			}
	m->~machine();
}

template <void (*BEFORE)()> void logged()
{
	logs = true;
	BEFORE();
}

/* ---- what initiators do: to A ---- */

struct flushq_range request(int va, enum flushq_kind kind = FLUSHQ_LEAF)
{
	return flushq_mm_range(&m->fq, &m->mm[A], (unsigned long)va << 16, 4096, 4096, kind);
}

void unmap(int va)
{
	m->pte[va].store(NEW + va, rl::mo_relaxed, here);
}

void reuse(int va)
{
	m->page[OLD + va].store(2, here);
	m->active.fetch_sub(1, rl::mo_relaxed, here);
}

void shootdown(int va, struct flushq_range range)
{
	unmap(va);
	flushq_mm_shootdown(&m->fq, me(), &m->mm[A], &range);
	reuse(va);
}

void shootdown(int va, enum flushq_kind kind = FLUSHQ_LEAF)
{
	shootdown(va, request(va, kind));
}

/* Where there are CPUs to be interrupted the page is not reused. */
void post(int va, struct flushq_range range)
{
	unsigned long mask[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];

	unmap(va);
	if (flushq_mm_post(&m->fq, me(), &m->mm[A], &range, mask) == 0)
		reuse(va);
	else
		m->active.fetch_sub(1, rl::mo_relaxed, here);
}

void post(int va)
{
	post(va, request(va));
}

enum how { MM, LOW }; /* flushq_mm_ticket_take(), flushq_ticket_take() */

bool take(int va, struct flushq_ticket *ticket, how h, enum flushq_kind kind = FLUSHQ_LEAF)
{
	struct flushq_range range = request(va, kind);

	unmap(va);
	return h == MM ? flushq_mm_ticket_take(&m->fq, me(), &m->mm[A], &range, ticket)
		       : flushq_ticket_take(&m->fq, me(), m->mm[A].cpus, &range, ticket);
}

template <how H> void ticket(int va)
{
	struct flushq_ticket ticket;

	if (!take(va, &ticket, H))
		while (!flushq_ticket_done(&m->fq, &ticket))
			rl::yield(1, here);
	reuse(va);
}

void ticket_waited(int va)
{
	struct flushq_ticket ticket;

	if (!take(va, &ticket, MM))
		flushq_ticket_wait(&m->fq, me(), &ticket);
	reuse(va);
}

enum { SHOOT, POST, TICKET };

template <int WHAT> void change(int va)
{
	if (WHAT == SHOOT)
		shootdown(va);
	else if (WHAT == POST)
		post(va);
	else
		ticket<MM>(va);
}

/* ---- rollovers ---- */

/* A has 1, and none is free: who comes next rolls over, takes 1, and A gets another. */
void full_before()
{
	boot(2, 2);
	ran(1, A, true);
	ran(1, C, true);
	ran(0, B, true);
}

template <int WHAT> void roll(int t)
{
	if (t == 0)
		return change<WHAT>(0);
	enter(D);
	enter(A);
	serve<WHAT == TICKET>(A);
}

/* A runs: it keeps its ASID. */
void runs_before()
{
	boot(2, 2);
	ran(0, B, true);
	ran(0, C, true);
	ran(1, A, false);
}

template <int WHAT> void roll_runs(int t)
{
	if (t == 0)
		return change<WHAT>(0);
	use(A, 0);
	enter(D);
	serve<WHAT == TICKET>(D);
}

template <int WHAT> void roll_back(int t)
{
	if (t == 0)
		return change<WHAT>(0);
	use(A, 0);
	enter(D);
	leave();
	enter(A);
	serve<WHAT == TICKET>(A);
}

/* The rollover is a third CPU's. */
void third_before()
{
	boot(3, 2);
	ran(1, A, true);
	ran(1, C, true);
	ran(0, B, true);
}

template <int WHAT> void third(int t)
{
	if (t == 0)
		return change<WHAT>(0);
	if (t == 2)
		return enter(D);
	enter(A);
	serve<WHAT == TICKET>(A);
}

/* It finds A in the register of one that is about to leave. */
void third_runs_before()
{
	boot(3, 2);
	ran(0, B, true);
	ran(0, C, true);
	ran(1, A, false);
}

template <int WHAT> void third_runs(int t)
{
	if (t == 0)
		return change<WHAT>(0);
	if (t == 2)
		return enter(D), enter(A), leave();
	use(A, 0);
	enter(B);
	enter(A);
	serve<WHAT == TICKET>(A);
}

/* The initiator's CPU has it as well. */
void self_before()
{
	boot(2, 2);
	ran(0, B, true);
	ran(1, C, true);
	ran(1, A, true);
	ran(0, A, false);
}

template <int WHAT> void self(int t)
{
	if (t == 1) {
		enter(D);
		enter(A);
		return serve<WHAT == TICKET>(A);
	}
	use(A, 0);
	change<WHAT>(0);
	use(A, 0);
	enter(B);
	enter(A);
}

/*
 * One bit: the range is made while A has 1. Then it runs as 0, and has 1 again when its initiator
 * looks.
 */
struct flushq_range made;

void aba_before()
{
	boot(2, 1);
	ran(1, A, true);
	made = request(0);
	ran(0, B, false);
	ran(1, A, false);
	booting = 0;
	leave();
	ran(0, C, true);
	MODEL_CHECK(tlbs[1].asid == 0 && made.asid == 1);
}

void aba(int t)
{
	if (t == 0)
		return shootdown(0, made);
	use(A, 0);
	leave();
	enter(D);
	leave();
	enter(A);
	MODEL_CHECK(tlbs[1].asid == 1);
	serve<false>(A);
}

/*
 * Two bits: the range is made while A has 2. It runs as 3, and gets 2 while nobody runs it, of a CPU
 * that finds it so or of the one that ran it. The initiator looks between these.
 */
template <enum flushq_kind KIND> void aba3_before()
{
	boot(3, 2);
	ran(0, B, true);
	ran(1, A, true);
	made = request(0, KIND);
	ran(0, C, true);
	ran(0, D, true);
	ran(0, E, true);
	ran(1, A, false);
	MODEL_CHECK(tlbs[1].asid == 3 && made.asid == 2);
	walks = KIND == FLUSHQ_TABLES;
}

/* A new ASID, if it needs one. */
void renew(int mm)
{
	(void)flushq_asid_pin(&m->asids, &m->mm[mm].id);
}

void aba_other(int t)
{
	if (t == 0)
		return post(0, made);
	if (t == 2)
		return renew(B), renew(C), renew(A);
	use(A, 0);
	leave();
}

void aba_own(int t)
{
	if (t == 0)
		return post(0, made);
	if (t == 2)
		return renew(B), renew(C);
	use(A, 0);
	leave();
	enter(A);
}

void aba_tables(int t)
{
	if (t == 0)
		return shootdown(0, made);
	if (t == 2)
		return renew(B), renew(C), renew(A);
	use(A, 0);
	enter(D);
	serve<false>(D);
}

/* A has 1, and 0 on the other CPU: what is owed as 0 is no debt of 1, which it gets again. */
void returns_before()
{
	boot(2, 1);
	ran(1, A, true);
	ran(0, B, false);
	ran(0, A, false);
	MODEL_CHECK(tlbs[0].asid == 0);
}

void returns(int t)
{
	if (t == 1)
		return enter(A);
	post(0);
	leave();
	enter(C);
	leave();
	enter(D);
	leave();
}

/* Its number is taken, and it is renumbered, while the other CPU goes on with its old one. */
void fast(int t)
{
	if (t == 1) {
		enter(A);
		return serve<false>(A);
	}
	enter(D);
	enter(A);
	shootdown(0);
}

/* ---- the end of an address space ---- */

void loaded_before()
{
	boot(2, 2);
	ran(1, A, false);
}

void free_memory()
{
	m->root.store(2, here);
	m->log_memory.store(2, here);
}

template <int AWAY> void loaded(int t)
{
	if (t == 0) {
		if (!flushq_mm_loaded(&m->fq, &m->mm[A]))
			free_memory();
		return;
	}
	use(A, 0);
	if (AWAY == 0)
		return leave();
	if (AWAY == 1)
		flushq_enter_lazy(&m->fq, me());
	enter(B);
	/* Where there is room for one only, A is flushed, and its set left. */
	if (AWAY == 2)
		enter(C);
}

/* It gets another number as soon as the first is let go of. */
void loaded_renumbered(int t)
{
	if (t == 0) {
		renew(B), renew(C), renew(D), renew(A);
		if (!flushq_mm_loaded(&m->fq, &m->mm[A]))
			free_memory();
		return;
	}
	use(A, 0);
	leave();
}

void loaded_ages_before()
{
	loaded_before();
	flushq_limit_resident(&m->fq, 1);
}

/* Another's from then on, and nobody was told to flush what is left of the first. */
void reborn0_before()
{
	boot(2, 0);
	ran(1, A, false);
}

void reborn(int t)
{
	if (t == 0) {
		while (flushq_mm_loaded(&m->fq, &m->mm[A]))
			rl::yield(1, here);
		flushq_mm_init(&m->mm[A], nullptr);
		m->pte[0].store(NEW, rl::mo_relaxed, here);
		m->page[OLD].store(2, here);
		m->log_memory.store(2, here);
		m->born.store(1, rl::mo_release, here);
		return shootdown(1);
	}
	use(A, 0);
	enter(B);
	while (!m->born.load(rl::mo_acquire, here))
		rl::yield(1, here);
	enter(A);
	serve<false>(A);
}

/* ---- tickets ---- */

template <how H> void ticks(int t)
{
	if (t == 0)
		return ticket<H>(0);
	use(A, 0);
	serve<true>(A);
}

/* A drain of its own began before. */
void drains(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	use(A, 0);
	flushq_drain(&m->fq, 1);
	serve<true>(A);
}

/* For good: nobody ticks any more. */
void parks(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	use(A, 0);
	leave();
}

void parks_back(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	use(A, 0);
	leave();
	enter(A);
	serve<true>(A);
}

void switches(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	use(A, 0);
	enter(B);
}

void lazy(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	use(A, 0);
	flushq_enter_lazy(&m->fq, 1);
	flushq_leave_lazy(&m->fq, 1);
	serve<true>(A);
}

void lazy_stays(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	use(A, 0);
	flushq_enter_lazy(&m->fq, 1);
}

void was_lazy_before()
{
	loaded_before();
	booting = 1;
	flushq_enter_lazy(&m->fq, 1);
	booting = -1;
}

void was_lazy(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	flushq_leave_lazy(&m->fq, 1);
	serve<true>(A);
}

void offline(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	use(A, 0);
	leave();
	flushq_offline(&m->fq, 1);
}

/* Two pages, in the order of their tickets. */
struct page {
	struct flushq_reclaim item;
	int va;
} pages[NR_VAS];

void free_page(struct flushq_reclaim *item)
{
	reuse(reinterpret_cast<struct page *>(item)->va);
}

void two_before()
{
	loaded_before();
	m->active.store(2, rl::mo_relaxed, here);
}

void reclaim(int t)
{
	struct flushq_reclaim_list list = { NULL, NULL };

	if (t == 1)
		return serve<true>(A);
	for (int va = 0; va < NR_VAS; va++) {
		pages[va].item.free = free_page;
		pages[va].va = va;
		(void)take(va, &pages[va].item.ticket, MM);
		flushq_reclaim_add(&list, &pages[va].item);
	}
	while (list.first) {
		(void)flushq_reclaim_run(&m->fq, &list);
		rl::yield(1, here);
	}
}

/* Two that take one each, of one CPU; */
void two_tickets_before()
{
	boot(3, 2);
	ran(2, A, false);
	m->active.store(2, rl::mo_relaxed, here);
}

void two_tickets(int t)
{
	if (t < 2)
		return ticket<MM>(t);
	serve<true>(A);
}

/* or one interrupts it. */
void and_shootdown(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	if (t == 1)
		return shootdown(1);
	serve<true>(A);
}

/* Of two CPUs, which pass in either order. */
void both_before()
{
	boot(3, 2);
	ran(1, A, false);
	ran(2, A, false);
}

void both(int t)
{
	if (t == 0)
		return ticket<MM>(0);
	serve<true>(A);
}

/* Interrupted after all. */
void waited(int t)
{
	if (t == 0)
		return ticket_waited(0);
	serve<false>(A);
}

/* Each waits for the other, interrupts off. */
void mutual_before()
{
	boot(2, 2);
	ran(0, A, false);
	ran(1, A, false);
	m->active.store(2, rl::mo_relaxed, here);
	tlbs[0].irqs_off = tlbs[1].irqs_off = 1;
}

void mutual(int t)
{
	use(A, !t);
	ticket_waited(t);
	tlbs[me()].irqs_off = 0;
	serve<false>(A);
}

/* These do not wait: the pages are tables, which a lazy CPU walks, */
void tables_before()
{
	was_lazy_before();
	walks = true;
}

template <how H> void tables(int t)
{
	struct flushq_ticket ticket;

	if (t == 0) {
		MODEL_CHECK(take(0, &ticket, H, FLUSHQ_TABLES));
		MODEL_CHECK(flushq_ticket_done(&m->fq, &ticket));
		return reuse(0);
	}
	serve<false>(A);
}

/* or the kernel's, used by CPUs that have nothing of their own: who asks, and another. */
void kernel_before()
{
	boot(2, 2);
	for (booting = 0; booting < 2; booting++) {
		load_register(A, 1);
		flushq_cpuset_add(m->mm[A].cpus, me());
	}
	booting = -1;
}

template <how H> void kernel(int t)
{
	struct flushq_ticket ticket;

	if (t == 0) {
		MODEL_CHECK(take(0, &ticket, H, FLUSHQ_GLOBAL));
		MODEL_CHECK(flushq_ticket_done(&m->fq, &ticket));
		reuse(0);
		return use(A, 0);
	}
	serve<false>(A);
}

const model::scenario table[] = {
	{ "roll", 2, 1, full_before, roll<SHOOT>, halt },
	{ "roll_post", 2, 2, full_before, roll<POST>, halt },
	{ "roll_ticket", 2, 1, full_before, roll<TICKET>, halt },
	{ "runs", 2, 2, runs_before, roll_runs<SHOOT>, halt },
	{ "runs_ticket", 2, 2, runs_before, roll_runs<TICKET>, halt },
	{ "back", 2, 2, runs_before, roll_back<SHOOT>, halt },
	{ "third", 3, 1, third_before, third<SHOOT>, halt },
	{ "third_runs", 3, 30000, third_runs_before, third_runs<SHOOT>, halt },
	{ "self", 2, 1, self_before, self<SHOOT>, halt },
	{ "self_ticket", 2, 1, self_before, self<TICKET>, halt },
	{ "aba", 2, 1, aba_before, aba, halt },
	{ "aba_own", 3, 2, aba3_before<FLUSHQ_LEAF>, aba_own, halt },
	{ "aba_other", 3, 2, aba3_before<FLUSHQ_LEAF>, aba_other, halt },
	{ "aba_tables", 3, 1, aba3_before<FLUSHQ_TABLES>, aba_tables, halt },
	{ "returns", 2, 2, returns_before, returns, halt },
	{ "fast", 2, 1, full_before, fast, halt },
	{ "log_roll", 2, 1, logged<full_before>, roll<SHOOT>, halt },
	{ "log_roll_post", 2, 2, logged<full_before>, roll<POST>, halt },
	{ "log_roll_ticket", 2, 1, logged<full_before>, roll<TICKET>, halt },
	{ "log_runs", 2, 2, logged<runs_before>, roll_runs<SHOOT>, halt },
	{ "log_back", 2, 1, logged<runs_before>, roll_back<SHOOT>, halt },
	{ "log_third", 3, 1, logged<third_before>, third<SHOOT>, halt },
	{ "log_third_runs", 3, 30000, logged<third_runs_before>, third_runs<SHOOT>, halt },
	{ "log_self", 2, 1, logged<self_before>, self<SHOOT>, halt },
	{ "log_aba", 2, 1, logged<aba_before>, aba, halt },
	{ "loaded_parks", 2, 4, loaded_before, loaded<0>, halt },
	{ "loaded_lazy", 2, 4, loaded_before, loaded<1>, halt },
	{ "loaded_ages", 2, 4, loaded_ages_before, loaded<2>, halt },
	{ "log_loaded_parks", 2, 4, logged<loaded_before>, loaded<0>, halt },
	{ "log_loaded_lazy", 2, 4, logged<loaded_before>, loaded<1>, halt },
	{ "log_loaded_ages", 2, 4, logged<loaded_ages_before>, loaded<2>, halt },
	{ "log_loaded_renumbered", 2, 4, logged<loaded_before>, loaded_renumbered, halt },
	{ "log_loaded_shared", 2, 4, logged<reborn0_before>, loaded<1>, halt },
	{ "reborn", 2, 2, loaded_before, reborn, halt },
	{ "reborn0", 2, 2, reborn0_before, reborn, halt },
	{ "log_reborn", 2, 2, logged<loaded_before>, reborn, halt },
	{ "ticks", 2, 2, loaded_before, ticks<MM>, halt },
	{ "ticks_low", 2, 2, loaded_before, ticks<LOW>, halt },
	{ "drains", 2, 2, loaded_before, drains, halt },
	{ "parks", 2, 4, loaded_before, parks, halt },
	{ "parks_back", 2, 2, loaded_before, parks_back, halt },
	{ "switches", 2, 3, loaded_before, switches, halt },
	{ "lazy", 2, 2, loaded_before, lazy, halt },
	{ "lazy_stays", 2, 4, loaded_before, lazy_stays, halt },
	{ "was_lazy", 2, 2, was_lazy_before, was_lazy, halt },
	{ "offline", 2, 4, loaded_before, offline, halt },
	{ "reclaim", 2, 1, two_before, reclaim, halt },
	{ "two_tickets", 3, 50000, two_tickets_before, two_tickets, halt },
	{ "and_shootdown", 3, 50000, two_tickets_before, and_shootdown, halt },
	{ "both", 3, 1, both_before, both, halt },
	{ "waited", 2, 3, loaded_before, waited, halt },
	{ "mutual", 2, 1, mutual_before, mutual, halt },
	{ "tables", 2, 3, tables_before, tables<MM>, halt },
	{ "tables_low", 2, 3, tables_before, tables<LOW>, halt },
	{ "kernel", 2, 3, kernel_before, kernel<MM>, halt },
	{ "kernel_low", 2, 3, kernel_before, kernel<LOW>, halt },
	{ "log_kernel", 2, 3, logged<kernel_before>, kernel<MM>, halt },
	{ "log_ticks", 2, 2, logged<loaded_before>, ticks<MM>, halt },
	{ "log_drains", 2, 2, logged<loaded_before>, drains, halt },
	{ "log_parks_back", 2, 2, logged<loaded_before>, parks_back, halt },
	{ "log_lazy", 2, 2, logged<loaded_before>, lazy, halt },
	{ "log_was_lazy", 2, 2, logged<was_lazy_before>, was_lazy, halt },
};

} // namespace

extern "C" {

void flushq_host_flush(const struct flushq_range *range)
{
	tlb *t = &tlbs[me()];

	walk(t);
	if (booting < 0)
		model::order_walks(&t->order);
	/* A request that nobody made is a torn one. */
	MODEL_CHECK(range->kind <= FLUSHQ_GLOBAL && range->asid < NR_ASIDS);
	MODEL_CHECK(range->pages == 0 || (range->pages == 1 && range->start >> 16 < NR_VAS));
	for (int asid = 0; asid < NR_ASIDS; asid++) {
		if (range->kind != FLUSHQ_GLOBAL && asid != range->asid)
			continue;
		for (int va = 0; va < NR_VAS; va++)
			if (range->pages == 0 || range->start == (unsigned long)va << 16)
				t->page[asid][va] = -1;
	}
	walk(t);
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

void flushq_host_interrupt(const unsigned long *mask, unsigned int)
{
	for (int i = 0; i < nr; i++)
		if (mask[0] >> i & 1)
			m->irq[i].fetch_or(1, rl::mo_release, here);
}
}

int main(int argc, char **argv)
{
	return model::main(argc, argv, "space", table, sizeof(table) / sizeof(*table));
}
