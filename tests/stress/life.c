/* SPDX-License-Identifier: MIT */
/*
 * life - address spaces are born, run, get other ASIDs, age, die and are born again in the same
 * memory, while CPUs go and come back; debts go by logs and queues, pages are reused behind tickets
 * and shootdowns, and interrupts and NMIs come in between. Any stale use fails, and so does a
 * ticket that outlives a tick of each CPU that it waits for.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "softtlb.h"
#include "options.h"

#define ITEMS 32

enum {
	BREAK_ROLLOVER = 0x100,
	BREAK_GIVE_AWAY = 0x200,
	BREAK_TICKET = 0x400,
	BREAK_ONLINE = 0x800,
	BREAK_LOG = 0x1000,
	BREAK_DEAD_ROOT = 0x2000,
	BREAK_PROTECT = 0x4000,
	BREAK_TABLES = 0x8000,
	BREAK_TICK = 0x10000,
	BREAK_PIN = 0x20000,
};

static const struct option_bit breaks[] = {
	{ "drop-flush", SOFTTLB_DROP_FLUSH },
	{ "drop-interrupt", SOFTTLB_DROP_INTERRUPT },
	{ "leave-no-flush", SOFTTLB_DROP_OTHERS }, /* nor on joining: each alone would do */
	{ "rollover-no-flush", BREAK_ROLLOVER },
	{ "give-away", BREAK_GIVE_AWAY }, /* a rollover does not see what a CPU runs */
	{ "ticket-at-once", BREAK_TICKET }, /* a ticket is taken for done */
	{ "online-no-flush", BREAK_ONLINE },
	{ "log-dropped", BREAK_LOG }, /* of a log: readers never find the entry */
	{ "dead-root", BREAK_DEAD_ROOT }, /* freed without asking flushq_mm_loaded() */
	{ "protect-by-ticket", BREAK_PROTECT }, /* permissions are lost when the ticket is taken */
	{ "lazy-tables", BREAK_TABLES }, /* freed tables asked for as leaf entries */
	{ "no-tick", BREAK_TICK }, /* handlers count ticks, and never drain otherwise either */
	{ "pin-forgotten", BREAK_PIN }, /* unpinned behind the host's back */
	{ 0 },
};

enum { PARKED, LOADED, LAZY };
enum { OWES_NOTHING, OWES_CLAIMED, OWES_CHANGE };
/* Instead of a number of users. */
enum { DEAD = -1, BUSY = -2 };
enum { ITEM_FREE, ITEM_TAKEN, ITEM_POLLED, ITEM_LISTED };

static struct {
	unsigned long seed, seconds, cpus, spaces, bits, resident, storm_us, broken;
} opt = { .seconds = 2, .cpus = 4, .spaces = 40, .bits = ~0ul, .resident = 4, .storm_us = 100 };

enum count {
	USES,
	CHANGES,
	STORMS,
	NMIS,
	TICKETS,
	TICKETS_POLLED,
	TICKETS_WAITED,
	TICKETS_LISTED,
	OFFLINE,
	LAZY_LEFT,
	LAZY_SWITCHED,
	LAZY_PARKED,
	TABLES_FREED,
	KERNEL_CHANGES,
	DEATHS,
	BIRTHS,
	STILL_LOADED,
	REBORN_HELD,
	PINNED,
	NR_COUNTS
};

struct life {
	struct flushq_mm mm;
	_Atomic int users; /* CPUs that run it or change it; or DEAD, BUSY */
	atomic_flag pinning;
	bool pinned;
	flushq_asid number; /* if pinned */
};

struct item {
	struct flushq_reclaim reclaim;
	struct softtlb_change change;
	_Atomic int state;
	bool bad; /* reported */
	unsigned int polls;
	unsigned long ticks[SOFTTLB_CPUS]; /* of each CPU, when it was taken */
};

static struct flushq fq;
static struct flushq_asids asids;
static struct flushq_cpu fq_cpus[SOFTTLB_CPUS];
static struct life lives[SOFTTLB_SPACES];
static _Atomic unsigned long counts[NR_COUNTS];
static _Atomic unsigned long stuck, pin_lost;
static _Atomic int nr_dead;
static atomic_bool stop, storm_stop;
static pthread_t storm_thread;

static struct {
	_Alignas(64) unsigned int mode, space;
	volatile sig_atomic_t off;
	/* What a handler took out and could not yet retire; the thread does it later. */
	_Atomic int owed;
	struct softtlb_change change;
	struct item items[ITEMS];
	struct flushq_reclaim_list list; /* interrupts off */
	_Atomic unsigned long ticks, turns;
} state[SOFTTLB_CPUS];

static _Thread_local bool a_cpu;
static _Thread_local unsigned int until_step;

/* Between any two operations of flushq: now and then lose the processor, or be interrupted. */
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
		softtlb_take_here(true);
		break;
	case 4:
	case 5:
		softtlb_take_here(false);
		break;
	default:
		softtlb_speculate();
		break;
	}
}

static void count(enum count what, unsigned long n)
{
	atomic_fetch_add_explicit(&counts[what], n, memory_order_relaxed);
}

/* Address spaces: who uses or changes one keeps it alive. */

static bool get(unsigned int space)
{
	int users = atomic_load(&lives[space].users);

	while (users >= 0)
		if (atomic_compare_exchange_weak(&lives[space].users, &users, users + 1))
			return true;
	return false;
}

static void put(unsigned int space)
{
	atomic_fetch_sub(&lives[space].users, 1);
}

/* One that is alive, which is then kept so; SOFTTLB_NONE where luck fails. */
static unsigned int get_any(void)
{
	unsigned int tries, space, hot = opt.spaces < 4 ? (unsigned int)opt.spaces : 4;

	for (tries = 0; tries < 8; tries++) {
		/* Many changes are to what somebody is likely to have loaded. */
		space = softtlb_random(softtlb_random(4) ? hot : (unsigned int)opt.spaces);
		if (get(space))
			return space;
	}
	return SOFTTLB_NONE;
}

static void birth(struct life *life)
{
	struct flushq_log *log = NULL;

	if (softtlb_random(2)) {
		log = aligned_alloc(FLUSHQ_CACHE_LINE, sizeof(*log));
		if (!log)
			abort();
		memset(log, 0, sizeof(*log));
	}
	flushq_mm_init(&life->mm, log);
	count(BIRTHS, 1);
}

static void pin(unsigned int space)
{
	struct life *life = &lives[space];

	if (atomic_flag_test_and_set(&life->pinning))
		return;
	if (life->pinned) {
		flushq_asid_unpin(&asids, &life->mm.id);
		life->pinned = false;
	} else if (flushq_asid_pin(&asids, &life->mm.id)) {
		life->pinned = true;
		life->number = flushq_asid_number(&asids, flushq_load_relaxed(&life->mm.id));
		count(PINNED, 1);
		if (opt.broken & BREAK_PIN)
			flushq_asid_unpin(&asids, &life->mm.id);
	}
	atomic_flag_clear(&life->pinning);
}

static bool held_by_some(const struct flushq_mm *mm)
{
	unsigned int w;

	for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++)
		if (flushq_load_relaxed(&mm->cpus[w]))
			return true;
	return false;
}

/* The last user is gone: CPUs may still have it lazily in their registers. */
static bool die(struct life *life)
{
	int nobody = 0;

	if (atomic_load(&nr_dead) >= (int)opt.spaces / 4 ||
	    !atomic_compare_exchange_strong(&life->users, &nobody, BUSY))
		return false;
	if (life->pinned)
		flushq_asid_unpin(&asids, &life->mm.id);
	life->pinned = false;
	atomic_fetch_add(&nr_dead, 1);
	count(DEATHS, 1);
	atomic_store(&life->users, DEAD);
	return true;
}

/* Its pages, tables and log are freed without a shootdown, and its memory becomes another's. */
static void bury(struct life *life)
{
	unsigned int space = (unsigned int)(life - lives);
	int dead = DEAD;

	if (!atomic_compare_exchange_strong(&life->users, &dead, BUSY))
		return;
	if (flushq_mm_loaded(&fq, &life->mm)) {
		count(STILL_LOADED, 1);
		if (!(opt.broken & BREAK_DEAD_ROOT)) {
			atomic_store(&life->users, DEAD);
			return;
		}
	}
	if (held_by_some(&life->mm))
		count(REBORN_HELD, 1);
	if (!softtlb_free_space(space))
		abort();
	/* Not the log, where the program is to survive being broken. */
	if (!opt.broken)
		free(life->mm.log);
	birth(life);
	atomic_fetch_sub(&nr_dead, 1);
	atomic_store(&life->users, 0);
}

/* Shootdowns. Who calls these keeps the address space alive. */

static struct flushq_range range_of(const struct softtlb_change *change)
{
	struct flushq_range range = change->range;

	if (change->space != SOFTTLB_KERNEL)
		range = flushq_mm_range(&fq, &lives[change->space].mm, change->range.start,
					(unsigned long)change->range.pages << FLUSHQ_PAGE_SHIFT,
					1ul << FLUSHQ_PAGE_SHIFT,
					(enum flushq_kind)change->range.kind);
	if (opt.broken & BREAK_TABLES && range.kind == FLUSHQ_TABLES)
		range.kind = FLUSHQ_LEAF;
	return range;
}

/* A copy that has another log: who has the true one will not find what is appended. */
static const struct flushq_mm *mm_of(const struct softtlb_change *change, struct flushq_mm *copy,
				     struct flushq_log *log)
{
	const struct flushq_mm *mm = &lives[change->space].mm;
	unsigned int w;

	if (!(opt.broken & BREAK_LOG) || !mm->log)
		return mm;
	memset(log, 0, sizeof(*log));
	copy->log = log;
	flushq_store_relaxed(&copy->id, flushq_load_relaxed(&mm->id));
	for (w = 0; w < FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS); w++) {
		flushq_store_relaxed(&copy->cpus[w], flushq_load_relaxed(&mm->cpus[w]));
		flushq_store_relaxed(&log->loaded[w], flushq_load_relaxed(&mm->log->loaded[w]));
	}
	return copy;
}

static void shoot_kernel(unsigned int cpu, const struct flushq_range *range)
{
	unsigned long set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];

	if (softtlb_random(3))
		flushq_shootdown(&fq, cpu, NULL, range);
	else if (flushq_post(&fq, cpu, NULL, range, set))
		softtlb_interrupt_and_wait(set, FLUSHQ_CPUSET_WORDS(opt.cpus));
}

static void shoot(unsigned int cpu, const struct softtlb_change *change)
{
	unsigned long set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)], flags;
	struct flushq_range range = range_of(change);
	const struct flushq_mm *mm;
	struct flushq_ticket ticket;
	struct flushq_log log;
	struct flushq_mm copy;

	if (change->space == SOFTTLB_KERNEL) {
		shoot_kernel(cpu, &range);
		return;
	}
	mm = mm_of(change, &copy, &log);
	switch (softtlb_random(5)) {
	case 0:
		flags = flushq_host_irq_save();
		flushq_mm_shootdown(&fq, cpu, mm, &range);
		flushq_host_irq_restore(flags);
		break;
	case 1:
		if (flushq_mm_post(&fq, cpu, mm, &range, set))
			softtlb_interrupt_and_wait(set, FLUSHQ_CPUSET_WORDS(opt.cpus));
		break;
	case 2:
		/* What may not wait does not. */
		if (!flushq_mm_ticket_take(&fq, cpu, mm, &range, &ticket))
			flushq_ticket_wait(&fq, cpu, &ticket);
		break;
	default:
		flushq_mm_shootdown(&fq, cpu, mm, &range);
		break;
	}
}

static void complete(unsigned int cpu, const struct softtlb_change *change)
{
	shoot(cpu, change);
	softtlb_retire(change);
	count(CHANGES, 1);
}

/* Tickets. */

static struct item *item_take(unsigned int cpu)
{
	unsigned int i;

	for (i = 0; i < ITEMS; i++) {
		int is_free = ITEM_FREE;

		if (atomic_compare_exchange_strong(&state[cpu].items[i].state, &is_free,
						   ITEM_TAKEN))
			return &state[cpu].items[i];
	}
	return NULL;
}

static void item_done(struct item *item)
{
	softtlb_retire(&item->change);
	count(CHANGES, 1);
	atomic_store(&item->state, ITEM_FREE);
}

static void item_free(struct flushq_reclaim *reclaim)
{
	item_done((struct item *)((char *)reclaim - offsetof(struct item, reclaim)));
}

/*
 * Where it waits for a CPU that had two ticks since: one of them began and ended behind it. Asked
 * again behind the look at the ticks.
 */
static void check_ticks(unsigned int cpu, struct item *item)
{
	struct flushq_ticket *ticket = &item->reclaim.ticket;
	unsigned int other;
	unsigned long had;

	if (item->bad || flushq_ticket_done(&fq, ticket))
		return;
	for (other = 0; other < opt.cpus; other++)
		if (ticket->cpus[other / FLUSHQ_CPUSET_BITS] & flushq_cpuset_bit(other))
			break;
	if (other == opt.cpus)
		return;
	had = atomic_load(&state[other].ticks) - item->ticks[other];
	if (had < 2 || flushq_ticket_done(&fq, ticket) ||
	    !(ticket->cpus[other / FLUSHQ_CPUSET_BITS] & flushq_cpuset_bit(other)))
		return;
	item->bad = true;
	if (atomic_fetch_add(&stuck, 1) < 4)
		fprintf(stderr,
			"life: CPU %u: a ticket waits for CPU %u, which had %lu ticks since: drains %u, "
			"%u are enough; seed %lu\n",
			cpu, other, had, flushq_load_relaxed(&fq_cpus[other].drains),
			ticket->enough[other], opt.seed);
}

/* The pages of an unmapping may be reused when its ticket is done; nobody is interrupted. */
static void take_ticket(unsigned int cpu, const struct softtlb_change *change, struct item *item,
			bool irq)
{
	struct flushq_range range = range_of(change);
	struct flushq_log log;
	struct flushq_mm copy;
	unsigned long flags;
	unsigned int i;
	bool done;

	item->change = *change;
	item->polls = 0;
	item->bad = false;
	done = flushq_mm_ticket_take(&fq, cpu, mm_of(change, &copy, &log), &range,
				     &item->reclaim.ticket);
	for (i = 0; i < opt.cpus; i++)
		item->ticks[i] = atomic_load(&state[i].ticks);
	count(TICKETS, !done);
	if (done || opt.broken & BREAK_TICKET) {
		item_done(item);
		return;
	}
	switch (irq ? 2 : softtlb_random(3)) {
	case 0:
		count(TICKETS_POLLED, 1);
		atomic_store(&item->state, ITEM_POLLED);
		break;
	case 1:
		count(TICKETS_WAITED, 1);
		flushq_ticket_wait(&fq, cpu, &item->reclaim.ticket);
		item_done(item);
		break;
	default:
		count(TICKETS_LISTED, 1);
		item->reclaim.free = item_free;
		atomic_store(&item->state, ITEM_LISTED);
		flags = flushq_host_irq_save();
		flushq_reclaim_add(&state[cpu].list, &item->reclaim);
		flushq_host_irq_restore(flags);
		break;
	}
}

static void poll_tickets(unsigned int cpu)
{
	struct item *item;

	for (item = state[cpu].items; item < state[cpu].items + ITEMS; item++) {
		if (atomic_load_explicit(&item->state, memory_order_relaxed) != ITEM_POLLED)
			continue;
		check_ticks(cpu, item);
		if (++item->polls == 2000 || item->bad)
			flushq_ticket_wait(&fq, cpu, &item->reclaim.ticket);
		if (flushq_ticket_done(&fq, &item->reclaim.ticket))
			item_done(item);
	}
}

static void run_list(unsigned int cpu)
{
	struct flushq_reclaim *first;
	struct item *item;

	flushq_reclaim_run(&fq, &state[cpu].list);
	first = state[cpu].list.first;
	if (!first)
		return;
	item = (struct item *)((char *)first - offsetof(struct item, reclaim));
	check_ticks(cpu, item);
	if (item->bad)
		flushq_ticket_wait(&fq, cpu, &first->ticket);
}

/* All that this CPU still has: it goes. */
static void finish_tickets(unsigned int cpu)
{
	struct flushq_reclaim *r;
	unsigned long flags;
	unsigned int i;

	flags = flushq_host_irq_save();
	for (r = state[cpu].list.first; r; r = r->next)
		flushq_ticket_wait(&fq, cpu, &r->ticket);
	run_list(cpu);
	flushq_host_irq_restore(flags);
	for (i = 0; i < ITEMS; i++)
		if (atomic_load(&state[cpu].items[i].state) == ITEM_POLLED)
			flushq_ticket_wait(&fq, cpu, &state[cpu].items[i].reclaim.ticket);
	poll_tickets(cpu);
}

/* What the handlers of both do: requests nobody needs, and now and then a real one. */

static void enqueue(unsigned int cpu)
{
	unsigned long set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	unsigned int page = softtlb_random(SOFTTLB_PAGES);
	unsigned int space = get_any();
	struct softtlb_change *change = &state[cpu].change;
	struct flushq_range range;
	int nothing = OWES_NOTHING;

	if (space == SOFTTLB_NONE)
		return;
	/* An NMI may be here within an interrupt. */
	if (softtlb_random(4) == 0 &&
	    atomic_compare_exchange_strong(&state[cpu].owed, &nothing, OWES_CLAIMED)) {
		if (softtlb_unmap(space, page, 4, change)) {
			/* Posted here; applied, waited for and put later. */
			range = range_of(change);
			flushq_mm_post(&fq, cpu, &lives[space].mm, &range, set);
			atomic_store(&state[cpu].owed, OWES_CHANGE);
			return;
		}
		atomic_store(&state[cpu].owed, OWES_NOTHING);
	}
	range = flushq_mm_range(&fq, &lives[space].mm, (unsigned long)page << FLUSHQ_PAGE_SHIFT,
				1ul << FLUSHQ_PAGE_SHIFT, 0,
				softtlb_random(8) ? FLUSHQ_LEAF : FLUSHQ_TABLES);
	if (flushq_mm_post(&fq, cpu, &lives[space].mm, &range, set) && softtlb_random(2))
		flushq_host_interrupt(set, FLUSHQ_CPUSET_WORDS(opt.cpus));
	put(space);
}

static void tick(unsigned int cpu)
{
	if (!(opt.broken & BREAK_TICK))
		flushq_tick(&fq, cpu);
	atomic_fetch_add(&state[cpu].ticks, 1);
	run_list(cpu);
}

/* Not where it would have to complete the change at once, which waits with interrupts on. */
static void storm_ticket(unsigned int cpu)
{
	unsigned int space = get_any();
	struct softtlb_change change;
	struct item *item;

	if (space == SOFTTLB_NONE)
		return;
	item = item_take(cpu);
	if (item && softtlb_unmap(space, softtlb_random(SOFTTLB_PAGES), 3, &change))
		take_ticket(cpu, &change, item, true);
	else if (item)
		atomic_store(&item->state, ITEM_FREE);
	put(space);
}

static void on_storm(unsigned int cpu)
{
	unsigned int n = opt.broken & BREAK_TICK ? 0 : softtlb_random(6);

	if (!a_cpu || state[cpu].off)
		return;
	count(STORMS, 1);
	while (n--)
		enqueue(cpu);
	if (softtlb_random(4) == 0)
		storm_ticket(cpu);
	tick(cpu);
}

static void on_nmi(unsigned int cpu)
{
	if (!a_cpu || state[cpu].off || opt.broken & BREAK_TICK)
		return;
	count(NMIS, 1);
	if (softtlb_random(2))
		flushq_drain(&fq, cpu);
	if (softtlb_random(2))
		enqueue(cpu);
	if (softtlb_random(2))
		flushq_drain(&fq, cpu);
}

static void *storm_main(void *arg)
{
	unsigned long turns, last[SOFTTLB_CPUS] = { 0 };
	unsigned int cpu = 0, skipped = 0;

	(void)arg;
	while (!atomic_load(&storm_stop) && !atomic_load(&stop)) {
		cpu = (cpu + 1) % (unsigned int)opt.cpus;
		turns = atomic_load(&state[cpu].turns);
		/* One that is slow must get on between storms, on a busy machine as well. */
		if (turns != last[cpu] || ++skipped % 32 == 0) {
			softtlb_send_storm(cpu);
			softtlb_send_nmi((cpu + 1) % (unsigned int)opt.cpus);
		}
		last[cpu] = turns;
		usleep((useconds_t)opt.storm_us);
	}
	return NULL;
}

/* What a CPU does. One that is LOADED is a user of its address space, a LAZY one is not. */

static void leave(unsigned int cpu)
{
	if (state[cpu].mode == LOADED)
		put(state[cpu].space);
}

static void do_switch(unsigned int cpu, unsigned int space)
{
	struct life *life = &lives[space];
	unsigned int mode = state[cpu].mode;
	unsigned long flags;
	flushq_asid asid;
	bool pinning;

	if (!get(space))
		return;
	pinning = !atomic_flag_test_and_set(&life->pinning);
	flags = flushq_host_irq_save();
	asid = flushq_mm_switch_to(&fq, cpu, &life->mm);
	softtlb_speculate();
	softtlb_write_register_asid(space, asid);
	softtlb_speculate();
	flushq_switched(&fq, cpu);
	if (opt.broken & BREAK_GIVE_AWAY)
		flushq_asid_parked(&asids, cpu);
	flushq_host_irq_restore(flags);
	if (pinning && life->pinned && asid != life->number)
		atomic_fetch_add(&pin_lost, 1);
	if (pinning)
		atomic_flag_clear(&life->pinning);
	leave(cpu);
	count(LAZY_SWITCHED, mode == LAZY);
	state[cpu].mode = LOADED;
	state[cpu].space = space;
}

static void do_park(unsigned int cpu)
{
	unsigned long flags = flushq_host_irq_save();

	softtlb_write_register(SOFTTLB_NONE);
	flushq_park(&fq, cpu);
	flushq_host_irq_restore(flags);
	leave(cpu);
	count(LAZY_PARKED, state[cpu].mode == LAZY);
	state[cpu].mode = PARKED;
}

static void do_lazy(unsigned int cpu)
{
	unsigned long flags;

	/* It may have died meanwhile: then it is not used again. */
	if (state[cpu].mode == LAZY && !get(state[cpu].space))
		return;
	flags = flushq_host_irq_save();
	if (state[cpu].mode == LOADED)
		flushq_enter_lazy(&fq, cpu);
	else if (state[cpu].mode == LAZY)
		flushq_leave_lazy(&fq, cpu);
	flushq_host_irq_restore(flags);
	if (state[cpu].mode == LOADED) {
		leave(cpu);
		state[cpu].mode = LAZY;
	} else if (state[cpu].mode == LAZY) {
		state[cpu].mode = LOADED;
		count(LAZY_LEFT, 1);
	}
}

static void do_offline(unsigned int cpu)
{
	unsigned long flags;

	/* One stays. */
	if (cpu == 0)
		return;
	do_park(cpu);
	flags = flushq_host_irq_save();
	softtlb_power_off();
	flushq_offline(&fq, cpu);
	state[cpu].off = 1;
	usleep(softtlb_random(2000));
	state[cpu].off = 0;
	softtlb_power_on();
	softtlb_lose_flushes(opt.broken & BREAK_ONLINE);
	flushq_online(&fq, cpu);
	softtlb_lose_flushes(false);
	softtlb_write_register(SOFTTLB_NONE);
	flushq_host_irq_restore(flags);
	count(OFFLINE, 1);
}

static void do_uses(unsigned int cpu)
{
	/* Now and then long enough for ticks in between. */
	unsigned int often = opt.broken & BREAK_TICK ? 2 : 100;
	unsigned int i, n = softtlb_random(often) ? 8 + softtlb_random(40) : 4000;

	for (i = 0; i < n; i++) {
		if (state[cpu].mode == LOADED)
			softtlb_use(softtlb_random(SOFTTLB_PAGES), softtlb_random(2));
		else
			softtlb_speculate();
	}
	softtlb_use_kernel(softtlb_random(SOFTTLB_PAGES), softtlb_random(2));
	count(USES, n);
}

static void unmap(unsigned int cpu, unsigned int space, unsigned int pages)
{
	struct softtlb_change change;
	struct item *item = NULL;

	if (!softtlb_unmap(space, softtlb_random(SOFTTLB_PAGES), pages, &change))
		return;
	if (space != SOFTTLB_KERNEL && softtlb_random(4))
		item = item_take(cpu);
	if (item)
		take_ticket(cpu, &change, item, false);
	else
		complete(cpu, &change);
}

static void protect(unsigned int cpu, unsigned int space)
{
	struct softtlb_change change;

	if (!softtlb_protect(space, softtlb_random(SOFTTLB_PAGES), &change))
		return;
	if (opt.broken & BREAK_PROTECT && space != SOFTTLB_KERNEL) {
		struct flushq_range range = range_of(&change);
		struct flushq_ticket ticket;

		flushq_mm_ticket_take(&fq, cpu, &lives[space].mm, &range, &ticket);
		softtlb_retire(&change);
	} else {
		complete(cpu, &change);
	}
}

static void do_change(unsigned int cpu, unsigned int space)
{
	struct softtlb_change change;
	unsigned int i;

	switch (softtlb_random(8)) {
	case 0:
		if (softtlb_free_table(space, softtlb_random(SOFTTLB_PAGES), &change)) {
			complete(cpu, &change);
			count(TABLES_FREED, 1);
		}
		break;
	case 1:
		unmap(cpu, space, 1 + softtlb_random(SOFTTLB_LEAVES));
		break;
	case 2:
		unmap(cpu, space, 1);
		break;
	case 3:
	case 4:
		protect(cpu, space);
		break;
	default:
		for (i = 0; i < 12; i++)
			softtlb_map(space, softtlb_random(SOFTTLB_PAGES), softtlb_random(4));
		break;
	}
	count(KERNEL_CHANGES, space == SOFTTLB_KERNEL);
}

static void do_death(void)
{
	struct life *life = &lives[softtlb_random((unsigned int)opt.spaces)];

	if (!die(life) || softtlb_random(2))
		bury(life);
}

static void do_one(unsigned int cpu)
{
	unsigned int space = get_any();

	switch (softtlb_random(20)) {
	case 0:
	case 1:
		if (space != SOFTTLB_NONE)
			do_switch(cpu, space);
		break;
	case 2:
	case 3:
		do_switch(cpu, softtlb_random((unsigned int)opt.spaces));
		break;
	case 4:
		do_park(cpu);
		break;
	case 5:
	case 6:
		do_lazy(cpu);
		break;
	case 7:
		do_change(cpu, SOFTTLB_KERNEL);
		break;
	case 8:
		if (softtlb_random(30) == 0)
			do_offline(cpu);
		sched_yield();
		break;
	case 9:
	case 10:
	case 11:
		do_uses(cpu);
		break;
	case 12:
		do_death();
		break;
	case 13:
		if (space != SOFTTLB_NONE && softtlb_random(16) == 0)
			pin(space);
		break;
	default:
		if (space != SOFTTLB_NONE)
			do_change(cpu, space);
		break;
	}
	if (space != SOFTTLB_NONE)
		put(space);
	atomic_fetch_add_explicit(&state[cpu].turns, 1, memory_order_relaxed);
	poll_tickets(cpu);
	if (atomic_load(&state[cpu].owed) == OWES_CHANGE) {
		complete(cpu, &state[cpu].change);
		put(state[cpu].change.space);
		atomic_store(&state[cpu].owed, OWES_NOTHING);
	}
}

static void cpu_main(unsigned int cpu)
{
	unsigned long flags;
	unsigned int space;

	if (cpu == 0)
		for (space = 0; space < opt.spaces; space++) {
			birth(&lives[space]);
			atomic_store(&lives[space].users, 0);
		}
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
	finish_tickets(cpu);
	/* From here on it only waits for the others to end; none is to wait for it. */
	flags = flushq_host_irq_save();
	flushq_offline(&fq, cpu);
	flushq_host_irq_restore(flags);
}

static unsigned long bad(void)
{
	return softtlb_all_findings() + atomic_load(&stuck) + atomic_load(&pin_lost);
}

static void *timer_main(void *arg)
{
	double end = clock_now() + (double)opt.seconds;

	(void)arg;
	/* With --break, until the first finding. */
	while (clock_now() < end) {
		usleep(10000);
		if (opt.broken && bad())
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

/* Prints what was done; returns how many of what must be were not. */
static unsigned int report(void)
{
	/* The generation's first is 1. */
	const unsigned long rollovers = (asids.generation >> asids.bits >> 1) - 1;
	const bool many = opt.cpus > 1, numbers = opt.bits != 0;
	/* Rollovers of so few ASIDs leave none to be pinned, and flush before anything ages. */
	const bool enough = numbers && (1ul << opt.bits) > 2 * opt.cpus + 2 && many;
	const struct {
		const char *name;
		unsigned long n;
		bool must;
	} all[] = {
		{ "uses", counts[USES], true },
		{ "changes retired", counts[CHANGES], true },
		{ "interrupts", counts[STORMS], true },
		{ "NMIs", counts[NMIS], true },
		{ "rollovers", rollovers, numbers && opt.spaces > 1ul << opt.bits },
		{ "pinned", counts[PINNED], enough },
		{ "joined", total(FLUSHQ_JOINED), true },
		{ "aged", total(FLUSHQ_AGED),
		  enough && opt.spaces > 2 * opt.resident && opt.resident <= 4 },
		{ "sets left", total(FLUSHQ_LEFT), true },
		{ "log appends", total(FLUSHQ_LOG_APPENDS), true },
		{ "replays", total(FLUSHQ_LOG_REPLAYS), true },
		{ "overtaken", total(FLUSHQ_LOG_OVERTAKEN), many && FLUSHQ_LOG_SLOTS <= 4 },
		{ "blocked", total(FLUSHQ_LOG_BLOCKED), false },
		{ "queue overflows", total(FLUSHQ_OVERFLOWS), false },
		{ "escalations", total(FLUSHQ_ESCALATIONS), false },
		{ "deferred", total(FLUSHQ_DEFERRED), many },
		{ "shootdowns", total(FLUSHQ_SHOOTDOWNS), true },
		{ "interrupts sent", total(FLUSHQ_IPI_SENT), many },
		{ "tickets", counts[TICKETS], many },
		{ "polled", counts[TICKETS_POLLED], many },
		{ "waited for", counts[TICKETS_WAITED], many },
		{ "listed", counts[TICKETS_LISTED], many },
		{ "offline trips", counts[OFFLINE], many },
		{ "lazy left", counts[LAZY_LEFT], true },
		{ "lazy to another", counts[LAZY_SWITCHED], true },
		{ "lazy parked", counts[LAZY_PARKED], true },
		{ "tables freed", counts[TABLES_FREED], true },
		{ "kernel changes", counts[KERNEL_CHANGES], true },
		{ "deaths", counts[DEATHS], true },
		{ "births", counts[BIRTHS] - opt.spaces, true },
		{ "dead but loaded", counts[STILL_LOADED], true },
		{ "reborn but held", counts[REBORN_HELD], true },
		{ "flushed pages", total(FLUSHQ_FLUSHED_PAGES), true },
		{ "ASIDs", total(FLUSHQ_FLUSHED_ASIDS), true },
		{ "all", total(FLUSHQ_FLUSHED_ALL), true },
	};
	const unsigned int nr = sizeof(all) / sizeof(all[0]);
	unsigned int i, missing = 0;

	for (i = 0; i < nr; i++)
		printf("%s %lu%s", all[i].name, all[i].n, i + 1 < nr ? ", " : "\n");
	for (i = 0; i < nr && !opt.broken; i++)
		if (all[i].must && !all[i].n) {
			printf("never happened: %s\n", all[i].name);
			missing++;
		}
	return missing;
}

static const struct option_row options[] = {
	OPTION_SEED(&opt.seed),
	{ "seconds", 't', "S", "how long to run (2)", &opt.seconds, 1, 86400, NULL },
	{ "cpus", 'c', "N", "CPUs of the machine, 1 to 16 (4)", &opt.cpus, 1, SOFTTLB_CPUS, NULL },
	{ "spaces", 'a', "N", "address spaces, 4 to 80 (40)", &opt.spaces, 4, SOFTTLB_SPACES,
	  NULL },
	{ "asid-bits", 'i', "N", "0 to 7 (the fewest that give each CPU more than two)", &opt.bits,
	  0, 7, NULL },
	{ "resident", 'r', "N", "address spaces that a CPU keeps, 1 and up (4)", &opt.resident, 1,
	  FLUSHQ_RESIDENT, NULL },
	{ "storm-us", 'u', "N", "microseconds between interrupts from outside (100)", &opt.storm_us,
	  1, 1000000, NULL },
	{ "break", 'b', "WHAT", "break the host, to see that it is noticed: exit status 1",
	  &opt.broken, 0, 0, breaks },
	{ 0 },
};

static void no_rollover(void *arg)
{
	(void)arg;
}

int main(int argc, char **argv)
{
	struct softtlb_config config = { .fq = &fq, .speculate = 4 };
	unsigned int space, missing;
	pthread_t timer;

	opt.seed = option_random_seed();
	options_parse(argc, argv, "Looks for stale translations while everything changes.",
		      options);
	if (opt.bits == ~0ul)
		for (opt.bits = 1; (1ul << opt.bits) - 1 <= 2 * opt.cpus;)
			opt.bits++;
	printf("life: --seed=%lu --cpus=%lu --spaces=%lu --asid-bits=%lu --resident=%lu, queues of "
	       "%d, logs of %d, %d bits\n",
	       opt.seed, opt.cpus, opt.spaces, opt.bits, opt.resident, FLUSHQ_QUEUE_SLOTS,
	       FLUSHQ_LOG_SLOTS, FLUSHQ_POSITION_BITS);
	fflush(stdout);
	watchdog((unsigned int)opt.seconds + 120);

	flushq_init(&fq, fq_cpus, (unsigned int)opt.cpus);
	flushq_limit_resident(&fq, (unsigned int)opt.resident);
	flushq_use_asids(&fq, &asids, (unsigned int)opt.bits);
	if (opt.broken & BREAK_ROLLOVER)
		asids.rollover = no_rollover;
	for (space = 0; space < opt.spaces; space++)
		atomic_store(&lives[space].users, BUSY);
	config.cpus = (unsigned int)opt.cpus;
	config.seed = opt.seed;
	config.broken = opt.broken & 0xff;
	config.storm = on_storm;
	config.nmi = on_nmi;
	pthread_create(&timer, NULL, timer_main, NULL);
	softtlb_run(&config, cpu_main);
	pthread_join(timer, NULL);

	for (space = 0; space < opt.spaces && !opt.broken; space++)
		free(lives[space].mm.log);
	missing = report();
	printf("%s: retired translations used %lu, reused frames used %lu, freed tables walked %lu, "
	       "another's translations used %lu; tickets that outlived ticks %lu, pinned ASIDs lost "
	       "%lu\n",
	       bad() || missing ? "FAIL" : "ok", softtlb_findings(SOFTTLB_RETIRED),
	       softtlb_findings(SOFTTLB_REUSED), softtlb_findings(SOFTTLB_FREED_TABLE),
	       softtlb_findings(SOFTTLB_FOREIGN), stuck, pin_lost);
	return bad() || missing ? 1 : 0;
}
