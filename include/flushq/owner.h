/* SPDX-License-Identifier: MIT */
/*
 * owner.h - what a CPU does for itself: comes and goes, switches address spaces, pays what it owes.
 *
 * All that a CPU calls but flushq_drain() and flushq_tick() are called with interrupts off; none waits
 * for another CPU. An NMI that drains while one of them has the CPU's private state half written
 * (`busy`) flushes everything, and leaves the queue to it. The table of labels (C1...) is in shootdown.h.
 *
 * What a CPU's TLB holds, and when it is flushed:
 *
 *	the address spaces that may be in the page-table register	at each drain, before it ends
 *	others in the table of residents (resident.h)			debts are kept and merged until
 *									it is switched to, or grow into
 *									a flush of the whole ASID
 *	an ASID flushed as a whole that is not in the register		the CPU leaves its set at once:
 *									initiators no longer look at it
 *	an ASID that is not in the table				before the register is written
 *
 * So a request for an ASID that is not in the table needs nothing.
 */
#ifndef FLUSHQ_OWNER_H
#define FLUSHQ_OWNER_H

#include "arch.h"
#include "asid.h"
#include "cpu.h"
#include "cpuset.h"
#include "event.h"
#include "queue.h"
#include "resident.h"

/* A CPU's bell: bits. */
#define FLUSHQ_BELL_SILENT 0u
#define FLUSHQ_BELL_INTERRUPT 1u /* an interrupt is on its way */
#define FLUSHQ_BELL_TICKET 2u /* at the next tick will do (ticket.h) */
#define FLUSHQ_BELL_ANY (FLUSHQ_BELL_INTERRUPT | FLUSHQ_BELL_TICKET)

/* What a drain has read from the ring and the logs and not yet flushed. */
struct flushq_priv_debt {
	struct flushq_range
		mark; /* what the mark, or an unpublished slot, calls for, if `marked` */
	struct flushq_range run; /* requests merged so far, if `pending` */
	unsigned int budget; /* pages that may still be flushed one by one */
	bool marked, pending;
};

/* All zero: a CPU that was never onlined. */
struct flushq_cpu {
	/* The owner's line: written by the CPU itself alone. */
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE) flushq_atomic_u32 context;
	flushq_atomic_u32 drains; /* odd while it drains */
	flushq_ring_pos head; /* private, as is what follows */
	bool busy, again; /* shared with interrupts and NMIs on this CPU */
	bool stray; /* something that is not in the table may be in the register */
	bool unsure; /* of those `loaded`, two may have one ASID, or one was never in the register */
	uint32_t current; /* the context's entry in the table, as a bit; 0: it has none */
	struct flushq_resident resident;
	struct flushq_priv_debt debt; /* of the drain that runs: not on the stack */
	struct flushq_counts counts;
	/* The producers' lines. */
	struct flushq_queue queue;
	FLUSHQ_ALIGNED(FLUSHQ_CACHE_LINE)
	flushq_atomic_u32 bell; /* FLUSHQ_BELL_ */
};

/* A machine. */
struct flushq {
	struct flushq_cpu *cpu;
	unsigned int nr;
	unsigned int limit; /* of residents */
	struct flushq_asids *asids; /* NULL: the host hands out ASIDs (mm.h) */
	flushq_atomic_ulong online[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
};

/*
 * A machine of `nr` CPUs, 1 to FLUSHQ_NR_CPUS, with an element of `cpu` for each, zeroed and aligned
 * as its type is. Before anything else; starting a CPU must order this before what that CPU does.
 */
static inline void flushq_init(struct flushq *fq, struct flushq_cpu *cpu, unsigned int nr)
{
	unsigned int w;

	FLUSHQ_ASSERT(nr >= 1 && nr <= FLUSHQ_NR_CPUS);
	fq->cpu = cpu;
	fq->nr = nr <= FLUSHQ_NR_CPUS ? nr : FLUSHQ_NR_CPUS;
	fq->limit = FLUSHQ_RESIDENT;
	fq->asids = NULL;
	for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++)
		flushq_store_relaxed(&fq->online[w], 0ul);
}

/*
 * Most address spaces whose translations a CPU keeps: 1 to FLUSHQ_RESIDENT (what is larger is that;
 * what a switch leaves and what it enters stay in any case: two). Fewer: smaller sets and so fewer
 * debts, more TLB misses. After flushq_init(), before the CPUs start.
 */
static inline void flushq_limit_resident(struct flushq *fq, unsigned int most)
{
	FLUSHQ_ASSERT(most >= 1);
	fq->limit = most < FLUSHQ_RESIDENT ? most : FLUSHQ_RESIDENT;
}

/* How often `cpu` counted `event`. Any CPU, any time: a running value. 0 with FLUSHQ_COUNTERS 0. */
static inline unsigned long flushq_count(const struct flushq *fq, unsigned int cpu,
					 enum flushq_event event)
{
	if (!FLUSHQ_COUNTERS || cpu >= fq->nr || event >= FLUSHQ_NR_EVENTS)
		return 0;
	return flushq_load_relaxed(&fq->cpu[cpu].counts.n[event]);
}

/* Where `self` is none of the machine's CPUs (behind the assert hook): flush everything then. */
static inline bool flushq_priv_known(const struct flushq *fq, unsigned int self)
{
	FLUSHQ_ASSERT(self < fq->nr);
	return FLUSHQ_LIKELY(self < fq->nr);
}

/* Flushes everything on this CPU; `cpu` is NULL where the machine has no such CPU. */
static FLUSHQ_COLD void flushq_priv_flush_all(struct flushq_cpu *cpu, unsigned int self)
{
	struct flushq_range all = flushq_range_whole(0, FLUSHQ_GLOBAL);

	if (cpu)
		flushq_priv_event(&cpu->counts, self, FLUSHQ_FLUSHED_ALL, 1);
	flushq_arch_flush(&all);
}

/* Drops entry `i`, behind the flush of its ASID. */
static inline void flushq_priv_leave(struct flushq_cpu *cpu, unsigned int self, unsigned int i)
{
	struct flushq_resident *res = &cpu->resident;

	/* S9: pairs with S4: uses as a member are over. A stray's set may be any. */
	if (res->entry[i].set && !cpu->stray && !flushq_resident_shares(res, i)) {
		flushq_cpuset_remove(res->entry[i].set, self);
		flushq_priv_event(&cpu->counts, self, FLUSHQ_LEFT, 1);
	}
	res->used &= ~((uint32_t)1 << i);
}

/* Everything, or all of an ASID, has been flushed: nothing is owed, and what can't come back by
 * itself is left. */
static inline void flushq_priv_flushed(struct flushq_cpu *cpu, unsigned int self,
				       const struct flushq_range *whole)
{
	struct flushq_resident *res = &cpu->resident;
	struct flushq_range owed;
	uint32_t gone = res->used;

	if (whole->kind == FLUSHQ_GLOBAL) {
		res->nr_owed = 0;
	} else {
		gone = flushq_resident_of(res, whole->asid);
		while (flushq_resident_settle(res, whole->asid, &owed))
			;
	}
	for (gone &= ~res->loaded; gone; gone &= gone - 1)
		flushq_priv_leave(cpu, self, flushq_ctz32(gone));
}

/*
 * Flushes `range` on this CPU, now; as a whole where it has more pages than the budget left. The
 * table is not touched.
 */
static inline void flushq_priv_flush_apart(struct flushq_cpu *cpu, unsigned int self,
					   struct flushq_range *range, unsigned int *budget)
{
	enum flushq_event event = FLUSHQ_FLUSHED_PAGES;

	if (range->pages > *budget || !flushq_arch_by_page((enum flushq_kind)range->kind))
		*range = flushq_range_whole(range->asid, (enum flushq_kind)range->kind);
	if (range->pages == 0)
		event = range->kind == FLUSHQ_GLOBAL ? FLUSHQ_FLUSHED_ALL : FLUSHQ_FLUSHED_ASIDS;
	*budget -= range->pages;
	flushq_priv_event(&cpu->counts, self, event, flushq_range_cost(range));
	flushq_arch_flush(range);
}

static inline void flushq_priv_flush(struct flushq_cpu *cpu, unsigned int self,
				     struct flushq_range *range, unsigned int *budget)
{
	flushq_priv_flush_apart(cpu, self, range, budget);
	if (range->pages == 0)
		flushq_priv_flushed(cpu, self, range);
}

/* Flushes all of `asid`, non-leaf entries as well. */
static FLUSHQ_COLD void flushq_priv_flush_asid(struct flushq_cpu *cpu, unsigned int self,
					       flushq_asid asid)
{
	struct flushq_range whole = flushq_range_whole(asid, FLUSHQ_TABLES);
	unsigned int budget = 0;

	flushq_priv_flush(cpu, self, &whole, &budget);
}

/* Flushes everything; what is not in the register is left. */
static FLUSHQ_COLD void flushq_priv_flush_everything(struct flushq_cpu *cpu, unsigned int self)
{
	struct flushq_range all = flushq_range_whole(0, FLUSHQ_GLOBAL);

	flushq_priv_flush_all(cpu, self);
	flushq_priv_flushed(cpu, self, &all);
}

static inline void flushq_priv_owe_now(struct flushq_cpu *cpu, unsigned int self,
				       const struct flushq_range *range)
{
	struct flushq_priv_debt *debt = &cpu->debt;

	if (debt->marked && flushq_range_covers(&debt->mark, range))
		return;
	if (debt->pending && flushq_range_merge(&debt->run, range))
		return;
	if (debt->pending)
		flushq_priv_flush(cpu, self, &debt->run, &debt->budget);
	debt->run = *range;
	debt->pending = true;
}

/* What must be done for a request. */
enum flushq_priv_due { FLUSHQ_PRIV_NEVER, FLUSHQ_PRIV_LATER, FLUSHQ_PRIV_NOW };

static inline enum flushq_priv_due flushq_priv_due(const struct flushq_cpu *cpu,
						   const struct flushq_range *range)
{
	uint32_t of;

	if (range->kind == FLUSHQ_GLOBAL)
		return FLUSHQ_PRIV_NOW;
	of = flushq_resident_of(&cpu->resident, range->asid);
	if (of & cpu->resident.loaded)
		return FLUSHQ_PRIV_NOW;
	if (of)
		return FLUSHQ_PRIV_LATER;
	/* It is flushed when it is switched to; but maybe that has been already. */
	return cpu->stray ? FLUSHQ_PRIV_NOW : FLUSHQ_PRIV_NEVER;
}

static inline void flushq_priv_owe(struct flushq_cpu *cpu, unsigned int self,
				   struct flushq_range *range)
{
	enum flushq_priv_due due = flushq_priv_due(cpu, range);

	if (due == FLUSHQ_PRIV_NEVER)
		return;
	if (!flushq_arch_by_page((enum flushq_kind)range->kind))
		*range = flushq_range_whole(range->asid, (enum flushq_kind)range->kind);
	if (due == FLUSHQ_PRIV_NOW)
		flushq_priv_owe_now(cpu, self, range);
	else if (!flushq_resident_owe(&cpu->resident, range))
		flushq_priv_flush_asid(cpu, self, range->asid);
}

/*
 * This CPU was overtaken in `log`, or is in it no more. There it is one reader, so it is to join for each of
 * the log's entries that may be in the register (two where the address space was renumbered).
 */
static inline void flushq_priv_overtaken(struct flushq_cpu *cpu, unsigned int self,
					 struct flushq_log *log)
{
	struct flushq_resident *res = &cpu->resident;
	flushq_pos seen = flushq_log_sync(log, self);
	uint32_t left;

	flushq_priv_event(&cpu->counts, self, FLUSHQ_LOG_OVERTAKEN, 1);
	for (left = res->loaded & res->logged; left; left &= left - 1) {
		struct flushq_resident_entry *entry = &res->entry[flushq_ctz32(left)];

		if (entry->log != log)
			continue;
		entry->seen = seen;
		flushq_priv_flush_asid(cpu, self, entry->asid);
	}
}

/* The logs of what may be in the register: what this CPU has not seen, or the whole ASID where it was
 * overtaken. */
static inline void flushq_priv_replay(struct flushq_cpu *cpu, unsigned int self)
{
	const struct flushq_priv_debt *debt = &cpu->debt;
	struct flushq_resident *res = &cpu->resident;
	enum flushq_log_result result;
	struct flushq_range range;
	uint32_t left;

	for (left = res->loaded & res->logged; left; left &= left - 1) {
		unsigned int i = flushq_ctz32(left);
		struct flushq_log_reader reader;

		/*
		 * All is flushed behind this. And what an entry has seen is worth nothing where its number went to
		 * another and came back, by a rollover, which is such a mark: in the log the CPU is one reader.
		 */
		if (debt->marked && debt->mark.kind == FLUSHQ_GLOBAL) {
			res->entry[i].seen = flushq_log_sync(res->entry[i].log, self);
			continue;
		}
		reader = flushq_log_begin(res->entry[i].seen);
		while ((result = flushq_log_next(res->entry[i].log, self, &reader, &range)) ==
		       FLUSHQ_LOG_RANGE) {
			/* The address space may have another number by now. */
			range.asid = res->entry[i].asid;
			flushq_priv_owe(cpu, self, &range);
			flushq_priv_event(&cpu->counts, self, FLUSHQ_LOG_REPLAYS, 1);
		}
		res->entry[i].seen = reader.seen;
		if (result == FLUSHQ_LOG_LAPPED)
			flushq_priv_overtaken(cpu, self, res->entry[i].log);
	}
}

/* Whether there is nothing that a drain would find. */
static inline bool flushq_priv_idle(struct flushq_cpu *cpu, unsigned int self)
{
	struct flushq_resident *res = &cpu->resident;
	uint32_t left = res->logged ? res->logged & res->loaded : 0;
	unsigned int i;

	/* A log that is not in the table can't be asked. */
	if (FLUSHQ_UNLIKELY(cpu->stray))
		return false;
	for (; left; left &= left - 1) {
		i = flushq_ctz32(left);
		if (!flushq_log_idle(res->entry[i].log, self, res->entry[i].seen))
			return false;
	}
	return flushq_ring_idle(&cpu->queue.ring, cpu->head);
}

/* Applies what is owed, once. Takes at most FLUSHQ_QUEUE_SLOTS requests. */
static inline void flushq_priv_drain(struct flushq_cpu *cpu, unsigned int self)
{
	struct flushq_ring *ring = &cpu->queue.ring;
	uint32_t drains = flushq_load_relaxed(&cpu->drains), mark, key;
	struct flushq_priv_debt *debt = &cpu->debt;
	struct flushq_ring_walk walk;
	unsigned int taken;
	unsigned long value;
	bool blocked = false;

	flushq_store_relaxed(&cpu->drains, drains + 1);
	/* D1: acquire, pairs with S5; release: who sees the bell silent sees the drain begun. */
	(void)flushq_swap_acq_rel(&cpu->bell, FLUSHQ_BELL_SILENT);

	mark = flushq_ring_unstick(ring);
	debt->mark = flushq_mark_range(mark);
	debt->marked = mark != 0 && flushq_priv_due(cpu, &debt->mark) == FLUSHQ_PRIV_NOW;
	debt->pending = false;
	debt->budget = FLUSHQ_PAGES_MAX;
	if (mark != 0 && !debt->marked && flushq_priv_due(cpu, &debt->mark) == FLUSHQ_PRIV_LATER)
		flushq_priv_flush_asid(cpu, self, debt->mark.asid);
	walk = flushq_ring_begin(ring, cpu->head);
	for (taken = 0; taken < FLUSHQ_QUEUE_SLOTS; taken++) {
		struct flushq_range range;
		int seen = flushq_ring_take(ring, &walk, &key, &value);

		if (seen < FLUSHQ_RING_PUBLISHED) {
			/*
			 * Empty: no later one counts. Claimed: its initiator has still to reach its
			 * fence and look (S2, S3), and will see what this CPU has loaded. But of
			 * those behind it some may have done so.
			 */
			blocked = seen == FLUSHQ_RING_CLAIMED &&
				  flushq_ring_claimed_behind(ring,
							     (flushq_ring_pos)(cpu->head + taken));
			break;
		}
		range = flushq_priv_unpack(key, value);
		flushq_priv_owe(cpu, self, &range);
	}
	flushq_priv_replay(cpu, self);
	/* A log that is not in the table can't be replayed. */
	if (FLUSHQ_UNLIKELY(blocked || cpu->stray)) {
		flushq_priv_event(&cpu->counts, self, FLUSHQ_ESCALATIONS, 1);
		debt->mark = flushq_range_whole(0, FLUSHQ_GLOBAL);
		debt->marked = true;
	}
	if (debt->marked)
		flushq_priv_flush(cpu, self, &debt->mark, &debt->budget);
	if (debt->pending && !(debt->marked && flushq_range_covers(&debt->mark, &debt->run)))
		flushq_priv_flush(cpu, self, &debt->run, &debt->budget);

	cpu->head = (flushq_ring_pos)(cpu->head + taken);
	flushq_priv_event(&cpu->counts, self, FLUSHQ_DRAINS, 1);
	/* D2: a release fence, pairs with S7: uses before this are over, for who reads the next drain
	 * begun as well. */
	flushq_fence_release();
	flushq_store_relaxed(&cpu->drains, drains + 2);
}

/* From here on the private state is this caller's: an NMI that comes flushes everything, and leaves its
 * drain to it. */
static inline void flushq_priv_own(struct flushq_cpu *cpu)
{
	cpu->busy = true;
	flushq_fence_interrupt();
}

/* From here on the private state is nobody's; true: an NMI came, whose drain is to be done. */
static inline bool flushq_priv_let_go(struct flushq_cpu *cpu)
{
	flushq_fence_interrupt();
	cpu->busy = false;
	flushq_fence_interrupt();
	return FLUSHQ_UNLIKELY(cpu->again);
}

static inline void flushq_priv_disown(struct flushq_cpu *cpu, unsigned int self)
{
	while (flushq_priv_let_go(cpu)) {
		cpu->again = false;
		flushq_priv_own(cpu);
		flushq_priv_drain(cpu, self);
	}
}

/*
 * Applies everything this CPU owes for what it may be using, and takes over the rest: the interrupt
 * handler, and what a host may call at any other time. Any context. Where it interrupts a call of
 * the owner's (an NMI), it flushes everything, and that one takes over what is owed before it returns.
 */
static inline void flushq_drain(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu;
	unsigned long flags;

	if (!flushq_priv_known(fq, self)) {
		flushq_priv_flush_all(NULL, self);
		return;
	}
	cpu = &fq->cpu[self];
	flags = flushq_arch_irq_save();
	if (cpu->busy) {
		/* Who sent this NMI may wait for its end (flushq_post()); a flush is right whatever is
		 * owed, and that can't be read here. */
		flushq_priv_flush_all(cpu, self);
		cpu->again = true;
	} else {
		flushq_priv_own(cpu);
		flushq_priv_drain(cpu, self);
		flushq_priv_disown(cpu, self);
	}
	flushq_arch_irq_restore(flags);
}

/* For the timer interrupt: bounds how long a debt waits on a CPU that switches to nothing else. Any
 * context. */
static inline void flushq_tick(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu;

	if (FLUSHQ_LIKELY(self < fq->nr)) {
		cpu = &fq->cpu[self];
		/* This is an NMI, and the table is half written. Nobody waits for a tick's end. */
		if (FLUSHQ_UNLIKELY(cpu->busy)) {
			cpu->again = true;
			return;
		}
		if (flushq_load_relaxed(&cpu->bell) == FLUSHQ_BELL_SILENT &&
		    flushq_priv_idle(cpu, self))
			return;
	}
	flushq_drain(fq, self);
}

/* A CPU that may have cached anything, and was not asked by anybody, comes online. */
static FLUSHQ_COLD void flushq_priv_first_use(struct flushq *fq, struct flushq_cpu *cpu,
					      unsigned int self)
{
	/* S6: joins, then C2: an initiator finds it online, or its page table is seen after the
	 * flush. */
	(void)flushq_cpuset_add(fq->online, self);
	flushq_context_enter(&cpu->context, FLUSHQ_CONTEXT_PARKED);
	flushq_priv_flush_everything(cpu, self);
	flushq_priv_drain(cpu, self);
}

/* Only the current entry is still in the register: not the entries `gone` (those without a log may
 * be left out), nor what is not in the table. */
static inline void flushq_priv_unload(struct flushq_cpu *cpu, unsigned int self, uint32_t gone)
{
	struct flushq_resident *res = &cpu->resident;
	const struct flushq_log *mine = NULL;
	struct flushq_log *log;

	/* A stray can't be told from these: it costs a look more while it stays in its log's set. */
	gone &= FLUSHQ_UNLIKELY(cpu->stray) ? 0 : res->logged;
	/* Another entry may be the same address space, renumbered. */
	if (gone && cpu->current & res->logged)
		mine = res->entry[flushq_ctz32(cpu->current)].log;
	for (; gone; gone &= gone - 1) {
		log = res->entry[flushq_ctz32(gone)].log;
		/* S9: pairs with S4. */
		if (log != mine)
			flushq_cpuset_remove(log->loaded, self);
	}
	/*
	 * An NMI that drains may drop what is not loaded, and leave its set: then who does not find this
	 * CPU there frees the log. So this comes last.
	 */
	flushq_fence_interrupt();
	/* Which it has: masked, it would make each switch wait for the one before. */
	res->loaded = cpu->current;
}

/*
 * A CPU starts, for the first time or after flushq_offline(): it flushes everything and is from now
 * on interrupted for kernel ranges. Before it uses any mapping that may change.
 */
static inline void flushq_online(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self)) {
		flushq_priv_flush_all(NULL, self);
		return;
	}
	cpu = &fq->cpu[self];
	flushq_priv_own(cpu);
	cpu->current = 0;
	flushq_priv_unload(cpu, self, cpu->resident.loaded);
	cpu->stray = false;
	flushq_priv_first_use(fq, cpu, self);
	flushq_priv_disown(cpu, self);
}

/*
 * A CPU stops, or is about to lose its TLB in a deep sleep: behind flushq_park(). It flushes
 * everything and leaves every set that it knows (all, but where the table overflowed), so that nobody
 * asks it for anything, and nobody waits for it, until it calls flushq_online() again. In between it
 * uses no mapping that may change.
 */
static inline void flushq_offline(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self))
		return;
	cpu = &fq->cpu[self];
	FLUSHQ_ASSERT(!(flushq_load_relaxed(&cpu->context) & FLUSHQ_CONTEXT_LOADED));
	flushq_priv_own(cpu);
	cpu->current = 0;
	flushq_priv_unload(cpu, self, cpu->resident.loaded);
	cpu->stray = false;
	flushq_priv_flush_everything(cpu, self);
	flushq_cpuset_remove(fq->online, self); /* S9 */
	flushq_context_leave(&cpu->context, FLUSHQ_CONTEXT_OFFLINE); /* C1 */
	flushq_priv_disown(cpu, self);
}

/* Makes an entry for what is about to be switched to. */
static FLUSHQ_COLD unsigned int flushq_priv_settle_in(struct flushq *fq, struct flushq_cpu *cpu,
						      unsigned int self, flushq_asid asid,
						      flushq_atomic_ulong *set)
{
	struct flushq_resident *res = &cpu->resident;
	unsigned int at, oldest;

	while (flushq_resident_count(res) >= fq->limit) {
		oldest = flushq_resident_oldest(res);
		if (oldest == FLUSHQ_NOWHERE)
			break;
		flushq_priv_event(&cpu->counts, self, FLUSHQ_AGED, 1);
		flushq_priv_flush_asid(cpu, self, res->entry[oldest].asid);
	}
	if (flushq_resident_of(res, asid) & res->loaded)
		cpu->unsure = true;
	at = flushq_resident_add(res, asid, set);
	if (at == FLUSHQ_NOWHERE)
		cpu->stray = true;
	return at;
}

/* The context is that of entry `at` (FLUSHQ_NOWHERE: it has none); what is owed is still to be paid. */
static inline void flushq_priv_enter(struct flushq_cpu *cpu, unsigned int self, flushq_asid asid,
				     struct flushq_log *log, unsigned int at)
{
	uint32_t context = flushq_context_loaded(asid) | FLUSHQ_CONTEXT_SWITCHING;
	struct flushq_resident *res = &cpu->resident;

	cpu->current = 0;
	if (FLUSHQ_LIKELY(at != FLUSHQ_NOWHERE)) {
		cpu->current = (uint32_t)1 << at;
		res->loaded |= cpu->current;
		res->entry[at].ran = ++res->clock;
	}
	if (log)
		(void)flushq_cpuset_add(log->loaded, self);
	flushq_context_enter(&cpu->context, context); /* C1, C2 */
}

/* What a switch has still to do. With ENTER and PAY the private state is still its own (busy). */
enum flushq_priv_todo {
	FLUSHQ_PRIV_NOTHING,
	FLUSHQ_PRIV_ENTER, /* all of it */
	FLUSHQ_PRIV_PAY, /* it has passed C2, and something is owed */
	FLUSHQ_PRIV_AGAIN /* an NMI that came leaves its drain */
};

/*
 * All of a switch, where the CPU is a member, its entry is where it is looked for first, and nothing
 * is owed. Else flushq_priv_switch_on() has the rest. Calls nothing: that would cost as much again.
 */
static FLUSHQ_INLINE enum flushq_priv_todo flushq_priv_switch(struct flushq_cpu *cpu,
							      unsigned int self, flushq_asid asid,
							      flushq_atomic_ulong *set,
							      struct flushq_log *log)
{
	unsigned int at = flushq_resident_place(asid);

	flushq_priv_own(cpu);
	/* S6: a set that lost this CPU is a new address space's. (Nothing is in the table of a CPU that is
	 * offline.) */
	if (FLUSHQ_UNLIKELY(!flushq_resident_is(&cpu->resident, at, asid, set) ||
			    (set && !flushq_cpuset_has(set, self)) ||
			    flushq_load_relaxed(&cpu->context) & FLUSHQ_CONTEXT_SWITCHING))
		return FLUSHQ_PRIV_ENTER;
	flushq_priv_enter(cpu, self, asid, log, at);
	if (FLUSHQ_UNLIKELY(cpu->resident.nr_owed || !flushq_priv_idle(cpu, self)))
		return FLUSHQ_PRIV_PAY;
	return flushq_priv_let_go(cpu) ? FLUSHQ_PRIV_AGAIN : FLUSHQ_PRIV_NOTHING;
}

/* Entries of `set`, which this CPU is about to join, other than `at` are of a dead address space. Their
 * numbers may come back to the new one, which would be taken for it: they go. */
static FLUSHQ_COLD void flushq_priv_bury(struct flushq_cpu *cpu, unsigned int self,
					 const flushq_atomic_ulong *set, unsigned int at)
{
	struct flushq_resident *res = &cpu->resident;
	unsigned int i;

	for (i = 0; i < FLUSHQ_RESIDENT; i++)
		if (i != at && flushq_resident_is(res, i, res->entry[i].asid, set))
			flushq_priv_flush_asid(cpu, self, res->entry[i].asid);
}

/* Enters an address space of which this CPU may have to join the set, and flush everything. */
static inline void flushq_priv_join(struct flushq *fq, unsigned int self, flushq_asid asid,
				    flushq_atomic_ulong *set, struct flushq_log *log)
{
	struct flushq_cpu *cpu = &fq->cpu[self];
	struct flushq_resident *res = &cpu->resident;
	uint32_t before = flushq_load_relaxed(&cpu->context);
	unsigned int at;
	bool joins;

	if (FLUSHQ_UNLIKELY(before == FLUSHQ_CONTEXT_OFFLINE)) {
		FLUSHQ_ASSERT(false && "flushq_switch_to() before flushq_online()");
		flushq_priv_first_use(fq, cpu, self);
	}
	at = flushq_resident_find(res, asid, set);
	joins = at == FLUSHQ_NOWHERE;
	if (joins)
		at = flushq_priv_settle_in(fq, cpu, self, asid, set);
	/* S6: before C2. A set that lost this CPU is a new address space's. */
	if (set && !flushq_cpuset_has(set, self)) {
		joins = true;
		flushq_priv_bury(cpu, self, set, at);
		(void)flushq_cpuset_add(set, self);
	}
	/*
	 * Again, with another ASID: changes since may have been asked for with the one in between. And an entry
	 * that is loaded outlives a flush of everything. Was it given up, its address space may get another ASID
	 * and that one back, and what was asked for in between is not kept: it goes when the switch is over.
	 */
	if (before & FLUSHQ_CONTEXT_SWITCHING)
		joins = cpu->unsure = true;
	flushq_priv_enter(cpu, self, asid, log, at);
	if (!joins)
		return;
	res->logged &= ~cpu->current;
	if (log && cpu->current) {
		res->logged |= cpu->current;
		res->entry[at].log = log;
		res->entry[at].seen = flushq_log_sync(log, self);
	}
	flushq_priv_event(&cpu->counts, self, FLUSHQ_JOINED, 1);
	flushq_priv_flush_asid(cpu, self, asid);
}

/* What flushq_priv_switch() said was still to do. */
static FLUSHQ_NOINLINE void flushq_priv_switch_on(struct flushq *fq, unsigned int self,
						  flushq_asid asid, flushq_atomic_ulong *set,
						  struct flushq_log *log,
						  enum flushq_priv_todo todo)
{
	struct flushq_cpu *cpu = &fq->cpu[self];
	unsigned int budget = FLUSHQ_PAGES_MAX;
	struct flushq_range owed;

	/* (An NMI's note is left: flushq_priv_disown() finds it, and so the switch is done.) */
	if (todo == FLUSHQ_PRIV_AGAIN) {
		flushq_priv_disown(cpu, self);
		return;
	}
	if (todo == FLUSHQ_PRIV_ENTER)
		flushq_priv_join(fq, self, asid, set, log);
	if (!flushq_priv_idle(cpu, self))
		flushq_priv_drain(cpu, self);
	while (flushq_resident_settle(&cpu->resident, asid, &owed))
		flushq_priv_flush(cpu, self, &owed, &budget);
	flushq_priv_disown(cpu, self);
}

/* flushq_switch_to() for an address space whose debts are in `log` too (NULL: no). */
static inline void flushq_priv_switch_to(struct flushq *fq, unsigned int self, flushq_asid asid,
					 flushq_atomic_ulong *set, struct flushq_log *log)
{
	enum flushq_priv_todo todo;

	FLUSHQ_ASSERT(asid <= FLUSHQ_ASID_MAX);
	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self)) {
		flushq_priv_flush_all(NULL, self);
		return;
	}
	asid &= FLUSHQ_ASID_MAX;
	todo = flushq_priv_switch(&fq->cpu[self], self, asid, set, log);
	if (FLUSHQ_UNLIKELY(todo != FLUSHQ_PRIV_NOTHING))
		flushq_priv_switch_on(fq, self, asid, set, log, todo);
}

/*
 * This CPU is about to switch to the address space of `asid`, whose CPUs are `set`: it joins them
 * (NULL where the host has) and pays what it owes it. Then the host writes the page-table register
 * and calls flushq_switched(), all with interrupts off and without access to user memory from
 * before the one until after the other.
 *
 *   before the write   The new context is made known and then, behind a full fence, the debts are
 *                      paid: never earlier (CVE-2025-37964 was such a window), and not later, as the
 *                      hardware may walk from the write on, starting from non-leaf entries whose
 *                      tables were freed while the address space was parked.
 *   until switched     The register may still hold the old address space, whose tables the hardware
 *                      may walk. So freed tables, whosever they are, interrupt this CPU.
 *
 * What is not in the table is flushed, behind the fence: a full fence does not order page-table
 * walks, on RISC-V neither does the write of the register; a flush does. Without it the first walks
 * of a new member might see a page table from before.
 *
 * The CPU leaves the set by itself when it has flushed the ASID for good, which may be after the
 * address space has died: `set` stays a set of CPUs as long as the machine runs (an array, or
 * memory that is only reused for sets), and is zeroed for a new owner. With NULL an ASID may go to
 * another address space only behind a flush of all of it on every CPU that had it, when no register has the
 * first any more: the table can't tell the two apart.
 */
static inline void flushq_switch_to(struct flushq *fq, unsigned int self, flushq_asid asid,
				    flushq_atomic_ulong *set)
{
	flushq_priv_switch_to(fq, self, asid, set, NULL);
}

/*
 * Of the entries `gone`, which may have been in the register until now, one had the ASID of another, or of
 * `context`: what the hardware cached of it since flushq_switch_to() must go as well. Or one was given up. So
 * all of them go. What was in the register and not in the table may have had the ASID of any of these, but
 * of no other: it was there as all that is in the table was loaded. (`stray`: what is there now is not, either.)
 * Sets may be left here before logs are (flushq_priv_unload()): the context says switching, or none of
 * the table's entries was in the register.
 */
static FLUSHQ_COLD void flushq_priv_replaced(struct flushq_cpu *cpu, unsigned int self,
					     uint32_t context, uint32_t gone, bool stray)
{
	struct flushq_resident *res = &cpu->resident;

	flushq_priv_own(cpu);
	res->loaded = cpu->current;
	cpu->stray = stray;
	flushq_priv_flush_asid(cpu, self, context >> 16);
	while ((gone &= res->used) != 0)
		flushq_priv_flush_asid(cpu, self, res->entry[flushq_ctz32(gone)].asid);
	cpu->unsure = false;
	flushq_priv_disown(cpu, self);
}

/* The register's content is that of the current entry, no more. */
static inline void flushq_priv_replace(struct flushq *fq, struct flushq_cpu *cpu, unsigned int self,
				       uint32_t context, uint32_t gone)
{
	/* The context last: who does not find this CPU in the old one's log frees tables, who does not
	 * find the old one in any context frees the log. And an entry that is loaded has its ASID, as it
	 * outlives a rollover's flush: so that is let go behind it. */
	flushq_priv_unload(cpu, self, gone);
	if (fq->asids)
		flushq_priv_asid_held(fq->asids, self);
	flushq_context_leave(&cpu->context, context);
}

/* flushq_switched() that has to flush first. */
static FLUSHQ_COLD void flushq_priv_switched_flush(struct flushq *fq, struct flushq_cpu *cpu,
						   unsigned int self, uint32_t context)
{
	uint32_t gone = cpu->resident.loaded & ~cpu->current;

	flushq_priv_replaced(cpu, self, context, gone, cpu->current == 0);
	flushq_priv_replace(fq, cpu, self, context, gone);
}

/*
 * The page-table register holds what flushq_switch_to() was called for. (Forgetting this costs
 * interrupts and flushes, and flushq_mm_loaded() is true of all until the next; a flush is lost only where
 * two address spaces in turn have the same ASID, or where flushq hands them out and the next switch meets
 * a rollover.)
 */
static inline void flushq_switched(struct flushq *fq, unsigned int self)
{
	struct flushq_resident *res;
	struct flushq_cpu *cpu;
	uint32_t context;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self))
		return;
	cpu = &fq->cpu[self];
	res = &cpu->resident;
	context = flushq_load_relaxed(&cpu->context) & ~FLUSHQ_CONTEXT_SWITCHING;
	if (FLUSHQ_UNLIKELY(cpu->stray | cpu->unsure))
		flushq_priv_switched_flush(fq, cpu, self, context);
	else
		flushq_priv_replace(fq, cpu, self, context,
				    res->logged ? res->loaded & ~cpu->current : 0);
}

/* The page-table register holds no user address space any more: after that write. */
static inline void flushq_park(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu;
	uint32_t context, gone;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self))
		return;
	cpu = &fq->cpu[self];
	context = flushq_load_relaxed(&cpu->context);
	if (context == FLUSHQ_CONTEXT_OFFLINE)
		return;
	gone = cpu->resident.loaded;
	cpu->current = 0;
	/* Switching: what was to come was given up. */
	if (FLUSHQ_UNLIKELY(cpu->stray || context & FLUSHQ_CONTEXT_SWITCHING))
		flushq_priv_replaced(cpu, self, context, gone, false);
	/* The log first: who finds that the address space has another ASID by now frees it. The context
	 * last, as in flushq_switched(). */
	flushq_priv_unload(cpu, self, gone);
	if (fq->asids)
		flushq_asid_parked(fq->asids, self);
	flushq_context_leave(&cpu->context, FLUSHQ_CONTEXT_PARKED);
}

/*
 * An idle or kernel thread runs, the address space stays in the register. Until flushq_leave_lazy()
 * or flushq_switch_to() no user translation may be used. Only freed tables and kernel ranges
 * interrupt it. A host that wants not even those parks instead, with its own tables in the register.
 */
static inline void flushq_enter_lazy(struct flushq *fq, unsigned int self)
{
	uint32_t context;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self))
		return;
	context = flushq_load_relaxed(&fq->cpu[self].context);
	if (context & FLUSHQ_CONTEXT_LOADED)
		flushq_context_leave(&fq->cpu[self].context, context | FLUSHQ_CONTEXT_LAZY);
}

/* The address space that stayed in the register is used again. Pays what is owed. */
static inline void flushq_leave_lazy(struct flushq *fq, unsigned int self)
{
	struct flushq_cpu *cpu;
	uint32_t context;

	FLUSHQ_ASSERT(flushq_arch_irqs_off());
	if (!flushq_priv_known(fq, self)) {
		flushq_priv_flush_all(NULL, self);
		return;
	}
	cpu = &fq->cpu[self];
	context = flushq_load_relaxed(&cpu->context);
	flushq_priv_own(cpu);
	if (FLUSHQ_LIKELY(context != FLUSHQ_CONTEXT_OFFLINE)) {
		flushq_context_enter(&cpu->context, context & ~FLUSHQ_CONTEXT_LAZY); /* C1, C2 */
	} else {
		FLUSHQ_ASSERT(false && "flushq_leave_lazy() before flushq_online()");
		flushq_priv_first_use(fq, cpu, self);
	}
	if (FLUSHQ_UNLIKELY(!flushq_priv_idle(cpu, self)))
		flushq_priv_drain(cpu, self);
	flushq_priv_disown(cpu, self);
}

/*
 * This CPU's own part in what it asks of the others. Where this interrupted a call of the owner's,
 * the table is not to be touched, and a flush is right whatever it says.
 */
static inline void flushq_priv_apply(struct flushq_cpu *cpu, unsigned int self,
				     struct flushq_range range)
{
	unsigned int budget = FLUSHQ_PAGES_MAX;
	unsigned long flags;

	if (FLUSHQ_UNLIKELY(cpu->busy)) {
		flushq_priv_flush_apart(cpu, self, &range, &budget);
		return;
	}
	flags = flushq_arch_irq_save();
	flushq_priv_own(cpu);
	switch (flushq_priv_due(cpu, &range)) {
	case FLUSHQ_PRIV_NOW:
		flushq_priv_flush(cpu, self, &range, &budget);
		break;
	case FLUSHQ_PRIV_LATER:
		if (!flushq_arch_by_page((enum flushq_kind)range.kind) ||
		    !flushq_resident_owe(&cpu->resident, &range))
			flushq_priv_flush_asid(cpu, self, range.asid);
		break;
	case FLUSHQ_PRIV_NEVER:
		break;
	}
	flushq_priv_disown(cpu, self);
	flushq_arch_irq_restore(flags);
}

#endif
