// SPDX-License-Identifier: MIT
/*
 * asid.cc - asid.h as it is, on a machine of two or three CPUs whose TLB fills as early as it may and
 * never evicts. An entry is just whose it is: a CPU that finds another's under the ASID that it uses
 * has used a stale translation.
 */
#define FLUSHQ_ARCH_PORTABLE
#define FLUSHQ_ATOMIC_H "relacy_atomic.h"
#define FLUSHQ_CACHE_LINE 16
#define FLUSHQ_NR_CPUS 3
#define FLUSHQ_ASID_BITS 3
#define FLUSHQ_ASSERT(cond) MODEL_CHECK(cond)

#include <flushq/asid.h>

#include <new>

namespace
{

enum { A = 1, B, C, D, X, Y, NR_MMS, NR_CPUS = 3, NR_ASIDS = 1 << FLUSHQ_ASID_BITS };

const rl::debug_info here;

struct machine {
	struct flushq_asids asids;
	flushq_atomic_ulong id[NR_MMS];
	rl::atomic<int> mark[NR_CPUS]; /* flush everything before you use anything */
	rl::var<int> rollovers; /* whose calls must be in order */
};

/* One CPU's register and TLB. Reset by boot(). */
struct cpu {
	int mm; /* 0: none */
	flushq_asid asid;
	int entry[NR_ASIDS]; /* 0: none */
} cpus[NR_CPUS];

alignas(64) char machine_space[sizeof(machine)];
machine *m;
int booting; /* the CPU that before() acts for; -1: each thread for its own */
int nr;

unsigned int me()
{
	return booting >= 0 ? (unsigned int)booting : rl::thread_index();
}

void fill(struct cpu *c)
{
	if (c->mm && !c->entry[c->asid])
		c->entry[c->asid] = c->mm;
}

void pay()
{
	struct cpu *c = &cpus[me()];

	if (!m->mark[me()].load(rl::mo_relaxed, here))
		return;
	m->mark[me()].store(0, rl::mo_relaxed, here);
	for (int i = 0; i < NR_ASIDS; i++)
		c->entry[i] = 0;
	fill(c);
}

void use()
{
	struct cpu *c = &cpus[me()];
	unsigned long id = flushq_load_relaxed(&m->id[c->mm]);

	MODEL_CHECK(c->entry[c->asid] == c->mm);
	/* What an initiator reads. */
	MODEL_CHECK(flushq_asid_number(&m->asids, id) == c->asid);
}

void enter(int mm)
{
	struct cpu *c = &cpus[me()];
	unsigned long id = flushq_asid_begin(&m->asids, me(), &m->id[mm]);

	flushq_fence_full(); /* C2 */
	pay();
	if (!flushq_asid_current(&m->asids, id)) {
		id = flushq_asid_renew(&m->asids, me(), &m->id[mm]);
		flushq_fence_full(); /* C2 */
		pay();
	}
	c->mm = mm;
	c->asid = flushq_asid_number(&m->asids, id);
	fill(c);
	if (c->asid == 0) {
		c->entry[0] = 0;
		fill(c);
	}
	flushq_asid_switched(&m->asids, me());
	use();
}

void leave()
{
	cpus[me()].mm = 0;
	flushq_asid_parked(&m->asids, me());
}

void rollover(void *)
{
	m->rollovers.store(m->rollovers.load(here) + 1, here);
	for (int i = 0; i < nr; i++)
		m->mark[i].store(1, rl::mo_relaxed, here);
}

void boot(int nr_cpus, unsigned int bits)
{
	m = ::new (static_cast<void *>(machine_space)) machine;
	nr = nr_cpus;
	for (int i = 0; i < NR_CPUS; i++) {
		cpus[i] = cpu();
		m->mark[i].store(0, rl::mo_relaxed, here);
	}
	for (int i = 0; i < NR_MMS; i++)
		flushq_store_relaxed(&m->id[i], 0ul);
	m->rollovers.store(0, here);
	flushq_asid_init(&m->asids, (unsigned int)nr_cpus, bits, rollover, NULL);
	/* Also where these are too few for so many CPUs. */
	flushq_priv_asid_start(&m->asids, bits);
	booting = -1;
}

void ran(int i, int mm, bool park)
{
	booting = i;
	enter(mm);
	if (park)
		leave();
	booting = -1;
}

void halt()
{
	unsigned long generation = flushq_load_relaxed(&m->asids.generation);
	int whose[NR_ASIDS] = {};

	for (int i = 0; i < NR_MMS; i++) {
		unsigned long id = flushq_load_relaxed(&m->id[i]);
		flushq_asid asid = flushq_asid_number(&m->asids, id);

		if (asid && flushq_priv_asid_of(&m->asids, id, generation)) {
			MODEL_CHECK(!whose[asid]);
			whose[asid] = i;
		}
	}
	m->~machine();
}

/* ---- the fast path against a rollover, which comes with the next new one ---- */

/* A has 1, B 2. */
void full_before()
{
	boot(2, 2);
	ran(0, A, true);
	ran(0, B, true);
	ran(1, X, true);
}

void fast(int t)
{
	if (t == 1)
		return enter(D);
	enter(A);
	use();
	enter(D);
}

/* A is held, and B next, when the word for A is older than that for B. */
void held(int t)
{
	if (t == 1)
		return enter(D);
	enter(A);
	enter(B);
	use();
	enter(D);
}

/* CPU 0 knows 1 as A's. Who sees that D has it sees the mark. */
void mark(int t)
{
	if (t == 1)
		return enter(D);
	enter(D);
	use();
}

/* Enough of them that one may be pinned. */
void pinned_before()
{
	boot(2, 3);
	ran(0, A, true);
	for (int i = 2; i < NR_ASIDS; i++) {
		flushq_store_relaxed(&m->id[X], 0ul);
		ran(1, X, true);
	}
}

void pinned(int t)
{
	if (t == 1) {
		MODEL_CHECK(flushq_asid_pin(&m->asids, &m->id[D]));
		return flushq_asid_unpin(&m->asids, &m->id[D]);
	}
	enter(D);
	use();
}

/* Nobody has any yet: a rollover against one that the lock was given back for. */
void renewed_before()
{
	boot(2, 1);
}

void renewed(int t)
{
	if (t == 1)
		return enter(B);
	enter(A);
	use();
	enter(B);
}

/* ---- two CPUs of one, and a third ---- */

void same_before()
{
	boot(3, 1);
	ran(0, A, true);
	ran(1, X, true);
}

void same(int t)
{
	if (t == 2)
		return enter(D);
	enter(A);
	use();
}

/* One runs it since long ago; the other renews it, or finds it renewed. */
void runs_before()
{
	boot(2, 1);
	ran(0, A, false);
	ran(1, X, true);
}

void runs(int t)
{
	if (t == 1) {
		enter(B);
		enter(A);
		leave();
		enter(C);
		return enter(A);
	}
	use();
	use();
	enter(A);
	use();
}

/* Two rollovers while a CPU has read an id and not yet made it known. */
void late_before()
{
	boot(3, 1);
	ran(0, A, true);
}

void late(int t)
{
	if (t == 0)
		return enter(A);
	if (t == 2)
		return enter(C);
	enter(B);
	enter(B);
	use();
}

/* All of it under the lock. */
void lock_before()
{
	boot(2, 1);
	ran(0, X, true);
}

void lock(int t)
{
	enter(t ? A : B);
	leave();
	enter(t ? C : D);
	use();
}

/* Two CPUs run one each under ASID 0 while another becomes free. */
void shared_before()
{
	boot(3, 1);
	ran(0, A, false);
	ran(2, B, false);
	ran(1, C, false);
	booting = 0;
	leave();
	ran(0, D, true);
	/* From here on they have one id. */
	ran(0, B, true);
	ran(0, C, true);
}

void shared(int t)
{
	if (t == 1) {
		use();
		return use();
	}
	enter(X);
	leave();
	enter(B);
	leave();
	enter(C);
}

const model::scenario table[] = {
	{ "fast", 2, 4, full_before, fast, halt },
	{ "held", 2, 4, full_before, held, halt },
	{ "mark", 2, 4, full_before, mark, halt },
	{ "pinned", 2, 4, pinned_before, pinned, halt },
	{ "renewed", 2, 4, renewed_before, renewed, halt },
	{ "runs", 2, 3, runs_before, runs, halt },
	{ "lock", 2, 2, lock_before, lock, halt },
	{ "shared", 2, 3, shared_before, shared, halt },
	{ "same", 3, 2, same_before, same, halt },
	{ "late", 3, 2, late_before, late, halt },
};

} // namespace

extern "C" {

void flushq_host_flush(const struct flushq_range *)
{
}

unsigned long flushq_host_irq_save(void)
{
	return 0;
}

void flushq_host_irq_restore(unsigned long)
{
}

bool flushq_host_irqs_off(void)
{
	return true;
}

void flushq_host_relax(void)
{
	rl::yield(1, here);
}

void flushq_host_interrupt(const unsigned long *, unsigned int)
{
}
}

int main(int argc, char **argv)
{
	return model::main(argc, argv, "asid", table, sizeof(table) / sizeof(*table));
}
