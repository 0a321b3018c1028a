/* SPDX-License-Identifier: MIT */
/*
 * asid.h - hands out ASIDs (or VMIDs: a second instance; it gives numbers, the flushes are the
 * host's) and takes them all back at once.
 *
 * An address space has an id, one word: a generation and the ASID that it has in that generation.
 * 0 is an address space that never had one. There is no free(): when the ASIDs run out, a new
 * generation begins (a rollover). Every id of the old ones is then out of date, and every CPU must
 * flush everything before it uses an ASID of the new one, so what a dead address space left in the
 * TLBs harms nobody. What a CPU runs, or has in its register, keeps its ASID.
 *
 * ASID 0 is nobody's own. It is for all address spaces that have no other: none is free, there are
 * 0 bits of them, or the generations are used up (32-bit machines; they never wrap). A CPU that
 * uses it must flush it for each other address space that has it, and that after the write of the
 * register where what leaves that has it too: before, the hardware could still walk those tables. (mm.h
 * does. Tables of the kernel's own map no user address: behind them nothing is to be flushed.)
 *
 *				called                           waits
 *	flushq_asid_init	once, before all others          no
 *	flushq_asid_begin	on the CPU itself, irqs off      for the lock, where the id is old
 *	flushq_asid_current	anywhere                         no
 *	flushq_asid_renew	on the CPU itself, irqs off      for the lock
 *	flushq_asid_switched	on the CPU itself, irqs off      no
 *	flushq_asid_parked	on the CPU itself, irqs off      no
 *	flushq_asid_pin, _unpin	any but NMI                      for the lock
 *	flushq_asid_number,	anywhere                         no
 *	_rollovers
 *
 * The lock is held, with interrupts off, for a search of the map or a rollover, never for anything
 * that another CPU must do.
 *
 * A switch, interrupts off from first to last:
 *
 *	id = flushq_asid_begin(asids, self, &mm->id);
 *	flushq_switch_to(fq, self, flushq_asid_number(asids, id), ...);		has the fence C2
 *	if (!flushq_asid_current(asids, id)) {
 *		id = flushq_asid_renew(asids, self, &mm->id);
 *		flushq_switch_to(fq, self, flushq_asid_number(asids, id), ...);
 *	}
 *	write the register; flush ASID 0 if it is that
 *	flushq_switched(fq, self);		and, unless flushq_use_asids() was called:
 *	flushq_asid_switched(asids, self);
 *
 * Of a CPU's two words, `next` covers the ASID from before C2 on. `held` is the one that the
 * register may still hold while `next` is another already: entries that the hardware fills then,
 * behind the flush, are of the old address space, and so must be its ASID.
 *
 * While a CPU runs an address space, or holds it, the ASID in its id stays the same. So an initiator
 * that reads the id behind its full fence (S2) asks for the right one: whoever changes it passes C2
 * after.
 *
 * The table of labels (G1...) is in shootdown.h.
 */
#ifndef FLUSHQ_ASID_H
#define FLUSHQ_ASID_H

#include "arch.h"
#include "cpuset.h"

#define FLUSHQ_PRIV_ASID_WORDS FLUSHQ_CPUSET_WORDS(1ul << (FLUSHQ_ASID_BITS))

/* Written by the CPU itself alone. Ids; 0: none. */
struct flushq_asid_cpu {
	/* What it runs, or is about to: may be one that it will find out of date. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_atomic_ulong next;
	/* What its register may hold besides. */
	flushq_atomic_ulong held;
};

/* An id that a CPU had at the last rollover, and what the same address space's id is now. */
struct flushq_priv_asid_kept {
	unsigned long word, id;
};

struct flushq_asids {
	/* Each switch reads this line; rollovers alone write it. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE)
	flushq_atomic_ulong generation; /* of the current ids: their other bits are 0 */
	unsigned int bits, nr;
	/* From here on: under the lock. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_atomic_u32 lock;
	bool shared; /* a CPU had ASID 0 at the last rollover */
	unsigned int pause; /* requests until the next rollover: the last one freed nothing */
	unsigned int nr_pinned;
	unsigned int hint; /* the word of `map` to search first */
	void (*rollover)(void *arg);
	void *arg;
	unsigned long map[FLUSHQ_PRIV_ASID_WORDS]; /* taken in this generation */
	unsigned long pinned[FLUSHQ_PRIV_ASID_WORDS]; /* taken in each, among them what is none */
	struct flushq_priv_asid_kept kept[FLUSHQ_NR_CPUS][2];
	struct flushq_asid_cpu cpu[FLUSHQ_NR_CPUS];
};

/* An id: generation << (bits + 1) | pinned << bits | ASID. */
static inline unsigned long flushq_priv_asid_pinned(const struct flushq_asids *asids)
{
	return 1ul << asids->bits;
}

static inline unsigned long flushq_priv_asid_step(const struct flushq_asids *asids)
{
	return 2ul << asids->bits;
}

/* The ASID of an id; 0: the one that is shared. */
static inline flushq_asid flushq_asid_number(const struct flushq_asids *asids, unsigned long id)
{
	return (flushq_asid)(id & (flushq_priv_asid_pinned(asids) - 1));
}

static inline bool flushq_priv_asid_of(const struct flushq_asids *asids, unsigned long id,
				       unsigned long generation)
{
	return (id ^ generation) >> asids->bits >> 1 == 0;
}

static inline bool flushq_priv_asid_taken(const struct flushq_asids *asids, flushq_asid number)
{
	return asids->map[number / FLUSHQ_CPUSET_BITS] & flushq_cpuset_bit(number);
}

static inline void flushq_priv_asid_take(struct flushq_asids *asids, flushq_asid number)
{
	asids->map[number / FLUSHQ_CPUSET_BITS] |= flushq_cpuset_bit(number);
}

/* How often a generation ended. Any CPU, any time. */
static inline unsigned long flushq_asid_rollovers(const struct flushq_asids *asids)
{
	return (flushq_load_relaxed(&asids->generation) >> asids->bits >> 1) - 1;
}

/* The first generation, with `bits` bits, of which nothing is used. */
static inline void flushq_priv_asid_start(struct flushq_asids *asids, unsigned int bits)
{
	unsigned int w;

	asids->bits = bits;
	flushq_store_relaxed(&asids->generation, flushq_priv_asid_step(asids));
	for (w = 0; w < FLUSHQ_PRIV_ASID_WORDS; w++)
		asids->pinned[w] = 0;
	/* ASID 0, and where the map is no whole word what is behind it. */
	asids->pinned[0] = 1;
	if (1u << bits < FLUSHQ_CPUSET_BITS)
		asids->pinned[0] |= ~0ul << (1u << bits);
	for (w = 0; w < FLUSHQ_PRIV_ASID_WORDS; w++)
		asids->map[w] = asids->pinned[w];
	asids->hint = 0;
	asids->nr_pinned = 0;
	asids->shared = false;
	asids->pause = 0;
}

/*
 * ASIDs of `bits` bits, 0 to FLUSHQ_ASID_BITS, for a machine of `nr` CPUs. Each CPU may keep two:
 * with fewer than that, rollovers are frequent, and some address spaces share ASID 0. Before any CPU
 * calls anything else; starting a CPU must order this before what that CPU does.
 *
 * `rollover` is called at each rollover, under the lock, interrupts off: it must make every CPU
 * flush everything before it next uses anything (behind its next C2), and must not wait.
 */
static inline void flushq_asid_init(struct flushq_asids *asids, unsigned int nr, unsigned int bits,
				    void (*rollover)(void *arg), void *arg)
{
	unsigned int cpu;

	FLUSHQ_ASSERT(nr >= 1 && nr <= FLUSHQ_NR_CPUS);
	asids->nr = nr <= FLUSHQ_NR_CPUS ? nr : FLUSHQ_NR_CPUS;
	asids->rollover = rollover;
	asids->arg = arg;
	flushq_store_relaxed(&asids->lock, 0u);
	if (bits > FLUSHQ_ASID_BITS)
		bits = FLUSHQ_ASID_BITS;
	flushq_priv_asid_start(asids, bits);
	for (cpu = 0; cpu < FLUSHQ_NR_CPUS; cpu++) {
		asids->kept[cpu][0].word = asids->kept[cpu][0].id = 0;
		asids->kept[cpu][1] = asids->kept[cpu][0];
		flushq_store_relaxed(&asids->cpu[cpu].next, 0ul);
		flushq_store_relaxed(&asids->cpu[cpu].held, 0ul);
	}
}

static inline bool flushq_priv_asid_known(const struct flushq_asids *asids, unsigned int self)
{
	FLUSHQ_ASSERT(self < asids->nr);
	return FLUSHQ_LIKELY(self < asids->nr);
}

static inline void flushq_priv_asid_lock(struct flushq_asids *asids)
{
	uint32_t unlocked = 0;

	/* G6: acquire, pairs with G7. */
	while (!flushq_cas_acquire(&asids->lock, &unlocked, 1u)) {
		unlocked = 0;
		flushq_arch_relax();
	}
}

static inline void flushq_priv_asid_unlock(struct flushq_asids *asids)
{
	flushq_store_release(&asids->lock, 0u); /* G7 */
}

/*
 * What to keep for `word`, which a CPU had in `next` or `held` at the end of generation `ended`;
 * `before` are the two that were kept for this CPU at the last rollover.
 */
static inline struct flushq_priv_asid_kept
flushq_priv_asid_keep(struct flushq_asids *asids, unsigned long word, unsigned long ended,
		      const struct flushq_priv_asid_kept *before)
{
	struct flushq_priv_asid_kept none = { 0, 0 }, kept;

	word &= ~flushq_priv_asid_pinned(asids);
	kept.word = kept.id = word;
	if (word && flushq_asid_number(asids, word) == 0)
		asids->shared = true;
	/* It runs since before the last rollover; the id may have been renewed elsewhere. */
	if (word == before[0].word)
		kept.id = before[0].id;
	else if (word == before[1].word)
		kept.id = before[1].id;
	/* Else an older one is about to be found out of date: its ASID may be another's by now. */
	else if (!flushq_priv_asid_of(asids, word, ended))
		return none;
	flushq_priv_asid_take(asids, flushq_asid_number(asids, kept.id));
	return kept;
}

/* Begins a new generation; false where there is none. Under the lock. */
static FLUSHQ_COLD bool flushq_priv_asid_rollover(struct flushq_asids *asids)
{
	unsigned long ended = flushq_load_relaxed(&asids->generation);
	unsigned long generation = ended + flushq_priv_asid_step(asids);
	unsigned int w, cpu;

	if (asids->bits == 0 || generation == 0)
		return false;
	flushq_store_relaxed(&asids->generation, generation);
	/* G4: pairs with C2: who does not see the new generation is seen below. */
	flushq_fence_full();
	asids->shared = false;
	for (w = 0; w < FLUSHQ_PRIV_ASID_WORDS; w++)
		asids->map[w] = asids->pinned[w];
	for (cpu = 0; cpu < asids->nr; cpu++) {
		struct flushq_priv_asid_kept *kept = asids->kept[cpu];
		const struct flushq_priv_asid_kept before[2] = { kept[0], kept[1] };
		/* G5: acquire, pairs with G1: `held` is no older than `next`, and what they no
		 * longer cover is not used any more. (For `held` the marks' fence (R8) acquires.) */
		unsigned long next = flushq_load_acquire(&asids->cpu[cpu].next);
		unsigned long held = flushq_load_relaxed(&asids->cpu[cpu].held);

		kept[0] = flushq_priv_asid_keep(asids, next, ended, before);
		kept[1] = flushq_priv_asid_keep(asids, held, ended, before);
	}
	asids->rollover(asids->arg);
	return true;
}

/* Renews what was kept for the address space whose id was `old`; false if nothing was. */
static inline bool flushq_priv_asid_renew_kept(struct flushq_asids *asids, unsigned long old,
					       unsigned long id)
{
	unsigned long unpinned = ~flushq_priv_asid_pinned(asids);
	bool found = false;
	unsigned int cpu, i;

	for (cpu = 0; cpu < asids->nr; cpu++) {
		for (i = 0; i < 2; i++) {
			if (asids->kept[cpu][i].id != (old & unpinned))
				continue;
			asids->kept[cpu][i].id = id & unpinned;
			found = true;
		}
	}
	return found;
}

/* Takes an ASID that is free: `number` if that is, 0 if none is. */
static inline flushq_asid flushq_priv_asid_find(struct flushq_asids *asids, flushq_asid number)
{
	unsigned int i, words = FLUSHQ_CPUSET_WORDS(1ul << asids->bits);

	for (i = 0; i < words && flushq_priv_asid_taken(asids, number); i++) {
		unsigned long free = ~asids->map[asids->hint];

		if (free)
			number = asids->hint * FLUSHQ_CPUSET_BITS + flushq_ctz(free);
		else
			asids->hint = asids->hint + 1 < words ? asids->hint + 1 : 0;
	}
	if (flushq_priv_asid_taken(asids, number))
		return 0;
	flushq_priv_asid_take(asids, number);
	return number;
}

/*
 * None is free: a rollover, and an ASID if that freed one. If not, all are kept, and another
 * rollover would cost every CPU all of its TLB for nothing: some requests get ASID 0 first.
 */
static inline flushq_asid flushq_priv_asid_make_room(struct flushq_asids *asids)
{
	flushq_asid number = 0;

	if (asids->pause) {
		asids->pause--;
		return 0;
	}
	if (flushq_priv_asid_rollover(asids))
		number = flushq_priv_asid_find(asids, 0);
	if (number == 0)
		asids->pause = 1u << asids->bits >> 1;
	return number;
}

/* Makes `*id` a current one. Under the lock. */
static inline unsigned long flushq_priv_asid_renew(struct flushq_asids *asids,
						   flushq_atomic_ulong *id)
{
	unsigned long old = flushq_load_relaxed(id), now;
	unsigned long generation = flushq_load_relaxed(&asids->generation);
	flushq_asid number = flushq_asid_number(asids, old);

	if (flushq_priv_asid_of(asids, old, generation))
		return old;
	/* A CPU may run it; one that is pinned may be among these. */
	now = generation | (old & (flushq_priv_asid_step(asids) - 1));
	if (!(old && number == 0 && asids->shared) &&
	    !(old && flushq_priv_asid_renew_kept(asids, old, now)) &&
	    !(old & flushq_priv_asid_pinned(asids))) {
		number = flushq_priv_asid_find(asids, number);
		if (number == 0)
			number = flushq_priv_asid_make_room(asids);
		now = flushq_load_relaxed(&asids->generation) | number;
	}
	/* G3: release, pairs with C2: who has this id finds what the rollover has marked. */
	flushq_store_release(id, now);
	return now;
}

/* Whether `id` is of the current generation. To tell for sure, behind a full fence (C2). */
static inline bool flushq_asid_current(const struct flushq_asids *asids, unsigned long id)
{
	/* G2: relaxed, behind C2, pairs with G4. */
	return FLUSHQ_LIKELY(
		flushq_priv_asid_of(asids, id, flushq_load_relaxed(&asids->generation)));
}

/*
 * This CPU could not use the id that it had: makes `*id` a current one and returns it. It stays
 * good for this CPU from now on, also where a rollover follows. The CPU must pass a full fence (C2)
 * and then pay what it owes before it uses the ASID.
 */
static FLUSHQ_COLD unsigned long flushq_asid_renew(struct flushq_asids *asids, unsigned int self,
						   flushq_atomic_ulong *id)
{
	unsigned long now;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_asid_known(asids, self))
		return flushq_load_relaxed(&asids->generation);
	flushq_priv_asid_lock(asids);
	now = flushq_priv_asid_renew(asids, id);
	/* Under the lock: the next rollover finds it. */
	flushq_store_relaxed(&asids->cpu[self].next, now);
	flushq_priv_asid_unlock(asids);
	return now;
}

/* G1: release, pairs with G5: who sees it sees what flushq_asid_switched() wrote before. */
static inline void flushq_priv_asid_next(struct flushq_asids *asids, unsigned int self,
					 unsigned long id)
{
	flushq_store_release(&asids->cpu[self].next, id);
}

/*
 * This CPU is about to switch to the address space of `*id`: returns the id to switch to. Where
 * flushq_asid_current() denies it behind the full fence that must follow (C2), flushq_asid_renew()
 * returns another. No lock and no read-modify-write where the id is a current one.
 */
static inline unsigned long flushq_asid_begin(struct flushq_asids *asids, unsigned int self,
					      flushq_atomic_ulong *id)
{
	/* Relaxed: C2 makes it an acquire of G3's. */
	unsigned long now = flushq_load_relaxed(id);

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_asid_current(asids, now) || !flushq_priv_asid_known(asids, self))
		return flushq_asid_renew(asids, self, id);
	flushq_priv_asid_next(asids, self, now);
	return now;
}

/* G1: release: a rollover that lets go of the old one passes on (G3) that its tables are not walked
 * any more. */
static inline void flushq_priv_asid_held(struct flushq_asids *asids, unsigned int self)
{
	flushq_store_release(&asids->cpu[self].held, flushq_load_relaxed(&asids->cpu[self].next));
}

/* The register holds what flushq_asid_begin() or _renew() returned last. */
static inline void flushq_asid_switched(struct flushq_asids *asids, unsigned int self)
{
	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (flushq_priv_asid_known(asids, self))
		flushq_priv_asid_held(asids, self);
}

/* The register holds no user address space any more. A lazy CPU is not parked. */
static inline void flushq_asid_parked(struct flushq_asids *asids, unsigned int self)
{
	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_asid_known(asids, self))
		return;
	flushq_store_relaxed(&asids->cpu[self].held, 0ul);
	/* G1: release: uses are over. */
	flushq_store_release(&asids->cpu[self].next, 0ul);
}

/*
 * Lets the address space of `*id` keep its ASID over rollovers (for a device that uses it), until
 * flushq_asid_unpin(), which must come before the address space goes. Once or often is the same:
 * the host counts. False, and nothing is pinned, where too few would be left for the others, each
 * CPU keeping two, or it has none of its own.
 */
static FLUSHQ_COLD bool flushq_asid_pin(struct flushq_asids *asids, flushq_atomic_ulong *id)
{
	unsigned long flags = flushq_arch_irq_save(), pinned = flushq_priv_asid_pinned(asids), now;
	flushq_asid number;
	bool can;

	flushq_priv_asid_lock(asids);
	now = flushq_priv_asid_renew(asids, id);
	number = flushq_asid_number(asids, now);
	can = number && asids->nr_pinned + 1 + 2 * asids->nr + 1 < pinned;
	if (now & pinned) {
		can = true;
	} else if (can) {
		asids->pinned[number / FLUSHQ_CPUSET_BITS] |= flushq_cpuset_bit(number);
		asids->nr_pinned++;
		flushq_store_release(id, now | pinned); /* G3 */
	}
	flushq_priv_asid_unlock(asids);
	flushq_arch_irq_restore(flags);
	return can;
}

/* Takes flushq_asid_pin() back. The ASID is free from the next rollover on. */
static FLUSHQ_COLD void flushq_asid_unpin(struct flushq_asids *asids, flushq_atomic_ulong *id)
{
	unsigned long flags = flushq_arch_irq_save(), pinned = flushq_priv_asid_pinned(asids), now;
	flushq_asid number;

	flushq_priv_asid_lock(asids);
	now = flushq_load_relaxed(id);
	number = flushq_asid_number(asids, now);
	if (now & pinned) {
		asids->pinned[number / FLUSHQ_CPUSET_BITS] &= ~flushq_cpuset_bit(number);
		asids->nr_pinned--;
		flushq_store_release(id, now & ~pinned); /* G3 */
	}
	flushq_priv_asid_unlock(asids);
	flushq_arch_irq_restore(flags);
}

#endif
