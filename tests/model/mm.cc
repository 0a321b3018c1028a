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
#define FLUSHQ_POSITION_BITS 8
#define FLUSHQ_CACHE_LINE 16
#define FLUSHQ_NR_CPUS 65
#define FLUSHQ_QUEUE_SLOTS MODEL_SLOTS
#define FLUSHQ_ASSERT(cond) MODEL_CHECK(cond)

#define MODEL_TEXT_(x) #x
#define MODEL_TEXT(x) MODEL_TEXT_(x)
#define MODEL_CHECK(cond)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			rl::ctx().fail_test(#cond, rl::test_result_user_assert_failed, RL_INFO);   \
	} while (0)

#include <flushq/flushq.h>

#include <new>

namespace
{

enum { A = 1, B = 2, NR_ASIDS = 3, NR_VAS = 2, NR_PAGES = 2 * NR_ASIDS * NR_VAS, NR_CPUS = 4 };

const rl::debug_info here;

struct tlb {
	int loaded; /* the page-table register; 0: none */
	int page[NR_ASIDS][NR_VAS]; /* -1: no entry */
	model::walk_order order;
	unsigned int irqs_off;
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
alignas(64) char cpu_space[FLUSHQ_NR_CPUS * sizeof(struct flushq_cpu)];
machine *m;
struct flushq_cpu *const cpus = reinterpret_cast<struct flushq_cpu *>(cpu_space);

/* Reset by boot(). */
tlb tlbs[NR_CPUS];
int stale_tail[model::MAX_THREADS];
int booting; /* the CPU that before() acts for; -1: each thread for its own */
unsigned int last_cpu; /* the index of the last thread's CPU: 64, to have a second word */
bool nmis;
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

void walk(tlb *t)
{
	if (!t->loaded)
		return;
	for (int va = 0; va < NR_VAS; va++)
		if (t->page[t->loaded][va] < 0)
			t->page[t->loaded][va] = model::walk(&m->pte[t->loaded][va], &t->order);
}

/* Where the pages are page tables the hardware may read any that it knows of. */
void walk_tables(const tlb *t)
{
	for (int va = 0; walks && t->loaded && va < NR_VAS; va++)
		if (t->page[t->loaded][va] >= 0)
			MODEL_CHECK(m->page[t->page[t->loaded][va]].load(here) == 1);
}

void load_register(int asid)
{
	tlb *t = &tlbs[me()];

	walk_tables(t);
	t->loaded = asid;
	walk(t);
	walk_tables(t);
}

void use(int asid, int va)
{
	tlb *t = &tlbs[me()];

	MODEL_CHECK(t->loaded == asid);
	MODEL_CHECK(m->page[t->page[asid][va]].load(here) == 1);
}

void poll()
{
	int i = me();

	if (!tlbs[i].irqs_off && m->irq[i].exchange(0, rl::mo_acquire, here))
		flushq_drain(&m->fq, cpu_of(i));
}

void poll_nmi()
{
	int i = me();

	if (nmis && booting < 0 && m->irq[i].exchange(0, rl::mo_acquire, here))
		flushq_drain(&m->fq, cpu_of(i));
}

/* Until all initiators are through. Relaxed: this must not order what the headers should. */
void serve(int asid, int va)
{
	while (m->active.load(rl::mo_relaxed, here)) {
		if (asid)
			use(asid, va);
		poll();
		rl::yield(1, here);
	}
	if (asid)
		use(asid, va);
}

void construct(unsigned int cpu, unsigned int position)
{
	struct flushq_cpu *c = ::new (static_cast<void *>(&cpus[cpu])) struct flushq_cpu;
	struct flushq_ring *ring = &c->queue.ring;
	unsigned int i;

	flushq_store_relaxed(&c->context, 0u);
	flushq_store_relaxed(&c->drains, 0u);
	flushq_store_relaxed(&c->bell, 0u);
	flushq_store_relaxed(&ring->sticky, 0u);
	flushq_store_relaxed(&ring->tail, (flushq_pos)position);
	ring->tail.stale = stale_tail;
	c->head = (flushq_pos)position;
	c->draining = c->again = false;
	for (i = 0; i < FLUSHQ_QUEUE_SLOTS; i++) {
		flushq_pos pos = (flushq_pos)(position + i);
		struct flushq_ring_slot *slot = flushq_priv_ring_at(ring, pos);
		rl::var<int> *plain = m->plain[thread_of(cpu)][i];

		flushq_store_relaxed(&slot->state, flushq_priv_ring_empty(pos));
		flushq_store_relaxed(&slot->key, 0u);
		flushq_store_relaxed(&slot->value, 0ul);
		plain[0].store(0, here);
		plain[1].store(0, here);
		slot->key.plain = &plain[0];
		slot->value.plain = &plain[1];
	}
}

int old_page(int asid, int va)
{
	return asid * NR_VAS + va;
}

int new_page(int asid, int va)
{
	return NR_PAGES / 2 + old_page(asid, va);
}

void boot(int threads, unsigned int position, unsigned int last)
{
	int i, va;

	m = ::new (static_cast<void *>(machine_space)) machine;
	nr = threads;
	last_cpu = last;
	nmis = walks = false;
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
	booting = -1;
}

/* Has thread i's CPU run `asid`, use it and (where `park`) leave it, before all else. */
void ran(int i, int asid, bool park)
{
	booting = i;
	flushq_switch_to(&m->fq, cpu_of(i), (flushq_asid)asid, m->set[asid]);
	load_register(asid);
	flushq_switched(&m->fq, cpu_of(i));
	use(asid, 0);
	if (park) {
		load_register(0);
		flushq_park(&m->fq, cpu_of(i));
	}
	booting = -1;
}

struct flushq_ring *ring_of(int thread)
{
	return &cpus[cpu_of(thread)].queue.ring;
}

/* A producer claimed the position `behind` the owner's and stopped for good. */
void claim(int thread, unsigned int behind)
{
	flushq_pos pos = (flushq_pos)(cpus[cpu_of(thread)].head + behind);

	flushq_store_relaxed(&flushq_priv_ring_at(ring_of(thread), pos)->state,
			     (flushq_pos)(flushq_priv_ring_empty(pos) + FLUSHQ_RING_CLAIMED));
}

void halt()
{
	for (int i = 0; i < nr; i++)
		cpus[cpu_of(i)].~flushq_cpu();
	m->~machine();
}

/* What an initiator asks for. */
struct flushq_range request(int asid, int va, enum flushq_kind kind)
{
	return flushq_range_make((flushq_asid)asid, (unsigned long)va << 16, 4096, 4096, kind);
}

void reuse(int asid, int va)
{
	m->page[old_page(asid, va)].store(2, here);
}

/* The low call. With CPUs to be interrupted the page is not reused: only what is deferred counts. */
void post(int asid, int va, enum flushq_kind kind = FLUSHQ_LEAF, bool fenced = false)
{
	struct flushq_range range = request(asid, va, kind);
	unsigned long mask[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	unsigned int n;

	m->pte[asid][va].store(new_page(asid, va), rl::mo_relaxed, here);
	n = fenced ? flushq_post_fenced(&m->fq, cpu_of(me()), m->set[asid], &range, mask)
		   : flushq_post(&m->fq, cpu_of(me()), m->set[asid], &range, mask);
	if (n == 0)
		reuse(asid, va);
}

void shootdown(int asid, int va, enum flushq_kind kind = FLUSHQ_LEAF)
{
	struct flushq_range range = request(asid, va, kind);

	m->pte[asid][va].store(new_page(asid, va), rl::mo_relaxed, here);
	flushq_shootdown(&m->fq, cpu_of(me()), m->set[asid], &range);
	reuse(asid, va);
	m->active.fetch_sub(1, rl::mo_relaxed, here);
}

/* The TLB fills at once when the register is written. */
void enter(int asid)
{
	flushq_switch_to(&m->fq, cpu_of(me()), (flushq_asid)asid, m->set[asid]);
	load_register(asid);
	flushq_switched(&m->fq, cpu_of(me()));
}

void leave()
{
	load_register(0);
	flushq_park(&m->fq, cpu_of(me()));
}

void visit(int asid, int va)
{
	enter(asid);
	use(asid, va);
	leave();
}

/* ---- an initiator against a CPU that switches: 2 threads ---- */

const unsigned int WRAP = 255;

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
		return post(A, 0, FLUSHQ_LEAF, true);
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

/* A producer with a hint of 256 positions ago, which skips one slot. */
void hole_before()
{
	sb_before();
	stale_tail[0] = (flushq_pos)(cpus[1].head + 1);
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
	stale_tail[0] = (flushq_pos)(cpus[2].head + 1);
	stale_tail[1] = (flushq_pos)(cpus[2].head + 2);
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

const model::scenario table[] = {
	{ "switch", 2, 4, sb_before, sb, halt },
	{ "parks", 2, 4, loaded_before, parks, halt },
	{ "other", 2, 4, loaded_before, other, halt },
	{ "lazy", 2, 4, loaded_before, lazy, halt },
	{ "join", 2, 4, join_before, join, halt },
	{ "fenced", 2, 4, sb_before, fenced, halt },
	{ "online", 2, 4, online_before, online, halt },
	{ "covered", 2, 4, covered_before, sb, halt },
	{ "marked", 2, 4, marked_before, sb, halt },
	{ "two_asids", 2, 3, two_asids_before, sb, halt },
	{ "laps", 2, 3, laps_before, laps, halt },
#if MODEL_SLOTS > 1
	{ "blocked", 2, 4, blocked_before, sb, halt },
	{ "hole", 2, 6, hole_before, hole, halt },
	{ "words", 2, 4, words_before, sb, halt },
	{ "words_join", 2, 4, words_join_before, join, halt },
#endif
#if MODEL_SLOTS > 2
	{ "holes", 3, 2, holes_before, two, halt },
#endif
	{ "two", 3, 2, two_before, two, halt },
	{ "two_asids3", 3, 2, two_asids3_before, two_asids, halt },
#if MODEL_SLOTS < 4
	{ "wait", 2, 3, wait_before, wait1, halt },
	{ "wait_drain", 2, 3, wait_before, wait_drain, halt },
	{ "wait_rung", 2, 3, wait_rung_before, wait1, halt },
	{ "wait_leaves", 2, 3, wait_before, wait_leaves, halt },
	{ "nmi", 2, 3, nmi_before, wait_drain, halt },
	{ "lazy_tables", 2, 3, lazy_tables_before, lazy_tables, halt },
	{ "parked_tables", 2, 3, parked_tables_before, parked_tables, halt },
	{ "left_tables", 2, 3, lazy_tables_before, left_tables, halt },
	{ "global", 2, 3, global_before, global, halt },
	{ "wait_two", 3, 50000, wait_two_before, wait_two, halt },
	{ "mutual", 2, 50000, mutual_before, mutual, halt },
#endif
};

} // namespace

extern "C" {

void flushq_host_flush(const struct flushq_range *range)
{
	tlb *t = &tlbs[me()];

	poll_nmi();
	if (walks && t->loaded)
		use(t->loaded, 0);
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
	return model::main(argc, argv, "mm" MODEL_TEXT(MODEL_SLOTS), table,
			   sizeof(table) / sizeof(*table));
}
