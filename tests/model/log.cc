// SPDX-License-Identifier: MIT
/*
 * log.cc - log.h as it is, between initiators and a CPU that switches, and a play of the rest: the
 * contexts, and the queues that take what the log does not.
 *
 * As in mm.cc, a page holds 1 while it is mapped and 2 once it is reused, and the TLB fills as early
 * as it may and never evicts.
 */
#define FLUSHQ_ATOMIC_H "relacy_atomic.h"
#define FLUSHQ_POSITION_BITS 8
#define FLUSHQ_CACHE_LINE 16
#define FLUSHQ_NR_CPUS 4
#define FLUSHQ_LOG_SLOTS MODEL_SLOTS

#include <flushq/log.h>

#include <new>

namespace
{

/* NOTHING is asked for only to fill the log. */
enum { NR_VAS = 3, NOTHING = NR_VAS };

const rl::debug_info here;

struct machine {
	struct flushq_log log;
	rl::atomic<int> loaded; /* the last thread is the CPU that switches */
	rl::atomic<int> owed; /* its queue: flush the ASID */
	rl::atomic<int> irq; /* a bit for each VA that it was interrupted for */
	rl::atomic<int> pte[NR_VAS];
	rl::var<int> page[2 * NR_VAS];
	rl::var<int> plain[FLUSHQ_LOG_SLOTS][2];
};

alignas(64) char machine_space[sizeof(machine)];
machine *m;

/* Reset by boot(). */
struct {
	int page[NR_VAS]; /* -1: no entry */
	model::walk_order order;
} tlb;
long stale_tail[model::MAX_THREADS];
unsigned int cpu;
flushq_pos seen; /* the CPU's own */

/* The ASID is said twice, so that a torn one is seen. */
struct flushq_range request(int va)
{
	return flushq_range_make((flushq_asid)va + 1, (unsigned long)va << 16, 4096, 4096,
				 FLUSHQ_LEAF);
}

void set_state(flushq_pos pos, enum flushq_ring_state what)
{
	flushq_store_relaxed(&flushq_priv_log_at(&m->log, pos)->state,
			     flushq_priv_log_state(pos, what));
}

/* The log before `position`; the CPU knows all of it, and has all pages in its TLB. */
void boot(int threads, unsigned int position)
{
	int i;

	m = ::new (static_cast<void *>(machine_space)) machine;
	cpu = (unsigned int)threads - 1;
	for (i = 0; i < model::MAX_THREADS; i++)
		stale_tail[i] = -1;
	m->loaded.store(0, rl::mo_relaxed, here);
	m->owed.store(0, rl::mo_relaxed, here);
	m->irq.store(0, rl::mo_relaxed, here);
	tlb.order = model::walk_order();
	for (i = 0; i < NR_VAS; i++) {
		tlb.page[i] = i;
		m->pte[i].store(i, rl::mo_relaxed, here);
		m->page[i].store(1, here);
		m->page[NR_VAS + i].store(1, here);
	}
	flushq_store_relaxed(&m->log.tail, (flushq_pos)position);
	m->log.tail.stale = stale_tail;
	flushq_store_relaxed(&m->log.readers[0], flushq_cpuset_bit(cpu));
	for (i = 1; i <= FLUSHQ_LOG_SLOTS; i++) {
		flushq_pos pos = (flushq_pos)(position - (unsigned int)i);
		struct flushq_log_slot *slot = flushq_priv_log_at(&m->log, pos);
		struct flushq_range range = request(NOTHING);

		set_state(pos, FLUSHQ_RING_PUBLISHED);
		flushq_store_relaxed(&slot->key, flushq_priv_key(&range));
		flushq_store_relaxed(&slot->value, flushq_priv_value(&range));
	}
	seen = (flushq_pos)position;
	/* Nobody sees what was before all this. */
	model::order_walks(&tlb.order);
}

void halt()
{
	m->~machine();
}

/* An initiator. Where the CPU must be interrupted, it is not waited for, nor the page reused. */
void post(int va)
{
	struct flushq_range range = request(va);

	m->pte[va].store(NR_VAS + va, rl::mo_relaxed, here);
	if (!flushq_log_append(&m->log, &range))
		m->owed.fetch_or(1, rl::mo_release, here);
	flushq_fence_full();
	if (m->loaded.load(rl::mo_relaxed, here)) {
		m->irq.fetch_or(1 << va, rl::mo_release, here);
		return;
	}
	flushq_fence_acquire();
	m->page[va].store(2, here);
}

void fill(unsigned int n)
{
	struct flushq_range range = request(NOTHING);

	while (n--)
		if (!flushq_log_append(&m->log, &range))
			m->owed.fetch_or(1, rl::mo_release, here);
}

void flush(int va)
{
	model::order_walks(&tlb.order);
	for (int i = 0; i < NR_VAS; i++)
		if (va < 0 || i == va)
			tlb.page[i] = -1;
}

void sync()
{
	seen = flushq_log_sync(&m->log, cpu);
	flush(-1);
}

void replay()
{
	struct flushq_log_reader reader = flushq_log_begin(seen);
	struct flushq_range range;
	enum flushq_log_result result;

	if (m->owed.load(rl::mo_relaxed, here) && m->owed.exchange(0, rl::mo_acquire, here))
		flush(-1);
	if (flushq_log_idle(&m->log, cpu, seen))
		return;
	while ((result = flushq_log_next(&m->log, cpu, &reader, &range)) == FLUSHQ_LOG_RANGE) {
		struct flushq_range want = request((int)range.asid - 1);

		MODEL_CHECK(range.asid >= 1 && range.asid <= NOTHING + 1);
		MODEL_CHECK(flushq_priv_value(&range) == flushq_priv_value(&want) &&
			    flushq_priv_key(&range) == flushq_priv_key(&want));
		flush((int)range.asid - 1);
	}
	if (result == FLUSHQ_LOG_LAPPED)
		sync();
	else
		seen = reader.seen;
}

void walk()
{
	for (int va = 0; va < NR_VAS; va++)
		if (tlb.page[va] < 0)
			tlb.page[va] = model::walk(&m->pte[va], &tlb.order);
}

/* Interrupts that have come. What they were for is gone when they have been served. */
void serve()
{
	int irq = m->irq.load(rl::mo_acquire, here);

	if (!irq)
		return;
	replay();
	walk();
	for (int va = 0; va < NR_VAS; va++)
		MODEL_CHECK(!(irq & 1 << va) || tlb.page[va] == NR_VAS + va);
}

void enter(bool joins)
{
	m->loaded.store(1, rl::mo_relaxed, here);
	flushq_fence_full();
	if (joins)
		sync();
	else
		replay();
	walk();
	for (int va = 0; va < NR_VAS; va++)
		MODEL_CHECK(m->page[tlb.page[va]].load(here) == 1);
	serve();
}

void leave()
{
	m->loaded.store(0, rl::mo_release, here);
}

void switches()
{
	enter(false);
	leave();
	enter(false);
}

void joins()
{
	for (int va = 0; va < NR_VAS; va++)
		tlb.page[va] = -1;
	enter(true);
	leave();
	enter(false);
}

/* ---- an initiator or more against a CPU ---- */

/* The last position before a wrap is a turn; most scenarios end before. */
const unsigned int NEAR = 252;

/* All initiators before the CPU. */
void posts(int t)
{
	if (t == (int)cpu)
		return switches();
	post(t);
}

void one_before()
{
	boot(2, NEAR);
}

void two_before()
{
	boot(3, NEAR);
}

void three_before()
{
	boot(4, NEAR);
}

void joining(int t)
{
	if (t == (int)cpu)
		return joins();
	post(t);
}

void join_before()
{
	boot(2, NEAR);
	flushq_store_relaxed(&m->log.readers[0], 0ul);
}

void join_two_before()
{
	boot(3, NEAR);
	flushq_store_relaxed(&m->log.readers[0], 0ul);
}

/* More than the log holds, across the wrap. */
void laps_before()
{
	boot(2, 256 - FLUSHQ_LOG_SLOTS);
}

void laps(int t)
{
	if (t == (int)cpu)
		return switches();
	post(0);
	post(1);
	fill(FLUSHQ_LOG_SLOTS);
	post(2);
}

/* As `laps`, with no turn, so that the CPU is lapped by what it reads alone. */
void lapped_before()
{
	boot(2, 160 + 2);
}

/* Initiators alone: none writes an item before the one of the lap before was written. */
void overwrite_before()
{
	boot(2, NEAR);
	for (int i = 0; i < FLUSHQ_LOG_SLOTS; i++) {
		rl::var<int> *plain = m->plain[i];

		plain[0].store(0, here);
		plain[1].store(0, here);
		m->log.slot[i].key.plain = &plain[0];
		m->log.slot[i].value.plain = &plain[1];
	}
}

void overwrite(int)
{
	fill(FLUSHQ_LOG_SLOTS);
}

/* ---- writers that stalled for good, and some that slept ---- */

/* A lap ago: in everybody's way, */
void blocked_before()
{
	boot(2, NEAR);
	set_state((flushq_pos)(NEAR - FLUSHQ_LOG_SLOTS), FLUSHQ_RING_CLAIMED);
}

/* and just now. */
void stalled_before()
{
	boot(3, NEAR);
	set_state((flushq_pos)NEAR, FLUSHQ_RING_CLAIMED);
	flushq_store_relaxed(&m->log.tail, (flushq_pos)(NEAR + 1));
}

/* A hint of 256 positions ago, which skips one slot. */
void hole_before()
{
	boot(3, NEAR);
	stale_tail[0] = (flushq_pos)(NEAR + 1);
}

void holes_before()
{
	boot(3, NEAR);
	stale_tail[0] = (flushq_pos)(NEAR + 1);
	stale_tail[1] = (flushq_pos)(NEAR + 2);
}

/* Another one left a suspect slot at NEAR + 1; two wake behind the hole, one of them a lap on. */
void runaway_before()
{
	boot(3, NEAR - 8);
	set_state((flushq_pos)(NEAR - 8 + 1), FLUSHQ_RING_SUSPECT);
	stale_tail[0] = (flushq_pos)(NEAR - 8 + 1 + FLUSHQ_LOG_SLOTS);
	stale_tail[1] = (flushq_pos)(NEAR - 8 + 2);
}

/* The slot that is next is suspect, all before it is claimed. */
void heal_before()
{
	boot(3, NEAR);
	set_state((flushq_pos)(NEAR - FLUSHQ_LOG_SLOTS), FLUSHQ_RING_SUSPECT);
}

/* A sleeper leaves one, which is healed by him who filled the hole. */
void suspect(int t)
{
	if (t == 0)
		return post(0);
	if (t == 1) {
		fill(1);
		return flushq_priv_log_heal(&m->log, (flushq_pos)(NEAR + 1));
	}
	enter(false);
}

/* A sleeper's hole is filled by the next, and the log goes on. */
void recover(int t)
{
	struct flushq_range range = request(NOTHING);

	if (t)
		return;
	MODEL_CHECK(!flushq_log_append(&m->log, &range));
	stale_tail[0] = -1;
	for (int i = 0; i < 2 * FLUSHQ_LOG_SLOTS; i++)
		MODEL_CHECK(flushq_log_append(&m->log, &range));
}

/* ---- a CPU that is away for half the states and more ---- */

const unsigned int HALF = FLUSHQ_PRIV_LOG_HALF;

/* It knows all up to a turn; the log has gone on to just before the next. */
void turn_before()
{
	boot(3, 2 * HALF - 2);
	seen = (flushq_pos)HALF;
}

/* One initiator makes the turn, the other goes on until all looks as it did for the CPU. */
void turn(int t)
{
	if (t == 0) {
		post(0);
		return fill(1);
	}
	if (t == 1)
		return fill(HALF);
	enter(false);
}

/* The CPU asks for its place while the turn is made. */
void turn_join_before()
{
	boot(2, 2 * HALF - 1);
	flushq_store_relaxed(&m->log.readers[0], 0ul);
}

void turn_join(int t)
{
	if (t == 1)
		return joins();
	post(0);
	post(1);
}

const model::scenario table[] = {
	{ "switch", 2, 3, one_before, posts, halt },
	{ "join", 2, 3, join_before, joining, halt },
	{ "two", 3, 2, two_before, posts, halt },
	{ "join_two", 3, 2, join_two_before, joining, halt },
	{ "overwrite", 2, 2, overwrite_before, overwrite, halt },
	{ "blocked", 2, 3, blocked_before, posts, halt },
	{ "turn_join", 2, 2, turn_join_before, turn_join, halt },
#if MODEL_SLOTS == 1
	{ "turn", 3, 1, turn_before, turn, halt },
#endif
#if MODEL_SLOTS < 4
	{ "laps", 2, 2, laps_before, laps, halt },
	{ "lapped", 2, 2, lapped_before, laps, halt },
#endif
#if MODEL_SLOTS > 1
	{ "stalled", 3, 2, stalled_before, posts, halt },
	{ "hole", 3, 2, hole_before, posts, halt },
	{ "heal", 3, 2, heal_before, posts, halt },
	{ "suspect", 3, 2, hole_before, suspect, halt },
	{ "recover", 2, 0, hole_before, recover, halt },
#endif
#if MODEL_SLOTS > 2
	{ "holes", 3, 2, holes_before, posts, halt },
	{ "runaway", 3, 2, runaway_before, posts, halt },
#endif
	{ "three", 4, 10000, three_before, posts, halt },
};

} // namespace

int main(int argc, char **argv)
{
	return model::main(argc, argv, "log" MODEL_TEXT(MODEL_SLOTS), table,
			   sizeof(table) / sizeof(*table));
}
