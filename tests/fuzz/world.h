/* SPDX-License-Identifier: MIT */
/*
 * world.h - a machine of a few CPUs in one thread, each a coroutine that can be stopped before any
 * atomic operation, and an oracle that knows every translation a CPU may hold.
 *
 * A TLB is filled at the first moment at which the hardware could have done it and forgets nothing
 * that it was not told to: at each write of a page table or a register, and behind each flush. So
 * nothing need be looked at in between. world_fail() is called where
 *
 *	a CPU that uses an address space holds a translation whose page was freed, or another's
 *	the tables that a CPU's hardware may walk (running or lazy) were freed, the root among them
 *	a pinned ASID changes
 *
 * Pages, tables and logs are freed as soon as the contract lets the host: behind a shootdown, a
 * posted request that every CPU asked has answered, a ticket that is done, or flushq_mm_loaded().
 * Everything is sequentially consistent: weaker orders are tests/model's.
 */
#ifndef WORLD_H
#define WORLD_H

#include <stdbool.h>

void world_fail(const char *why) __attribute__((noreturn));

/* One that can't come to the end of its call, whatever the others do: fails, or excuses it. */
void world_held(unsigned int cpu);

/* A rule that the host broke would make its findings worthless. */
#define FLUSHQ_ASSERT(cond) ((cond) ? (void)0 : world_fail("the host broke a rule: " #cond))

#include <flushq/flushq.h>

#define NR_CPUS FLUSHQ_NR_CPUS
#define NR_SPACES 5
#define NR_PAGES 4
#define NR_ASIDS 16
#define FOREVER (~0u)

struct world_config {
	unsigned int cpus, limit; /* of residents */
	bool numbers; /* flushq hands out the ASIDs (mm.h), of `bits` bits; else the host does */
	unsigned int bits;
	unsigned int logs; /* spaces that are born with one, as bits; without `numbers` none is */
};

enum world_op {
	OP_SWITCH, /* to `space`; a host with its own ASIDs forgets flushq_switched() if `replace` */
	OP_PARK,
	OP_LAZY, /* enter or leave */
	OP_UNMAP, /* `pages` from `page` on, with other pages in their place if `replace` */
	OP_TABLE, /* the page-table page is freed */
	OP_KERNEL, /* a kernel page is replaced */
	OP_MAP,
	OP_POST, /* a request that nobody needs */
	OP_DRAIN,
	OP_TICK,
	OP_POWER, /* offline, or online again */
	OP_DIE, /* if nobody has it loaded; its memory is then another's */
	OP_PIN, /* or unpin */
	OP_POLL, /* frees what may be */
	OP_WAIT, /* for a ticket */
	NR_OPS
};

/* How an initiator asks. */
enum world_how {
	HOW_SHOOTDOWN,
	HOW_IRQS_OFF,
	HOW_TICKET,
	HOW_POST,
	HOW_FENCED, /* a host's own ASIDs alone; else as HOW_POST */
	NR_HOWS
};

struct world_args {
	unsigned int space, page, pages;
	enum world_how how;
	bool replace;
};

enum world_state { IDLE, STOPPED, WAITING };

/* What a CPU is interrupted for. */
enum { SIGNAL_IPI = 1, SIGNAL_TICK = 2, SIGNAL_STORM = 4, SIGNAL_NMI = 8 };

/* All CPUs online and parked, every page of every space mapped. */
void world_start(const struct world_config *config);
/* Gives an idle CPU something to do. An offline one does nothing but OP_POWER. */
void world_give(unsigned int cpu, enum world_op op, const struct world_args *args);
/* Lets it run: until it has done it, or waits, or before its step behind so many. Pending interrupts
 * come first. */
enum world_state world_go(unsigned int cpu, unsigned int steps);
/* The same to the end, all idle CPUs taking their interrupts meanwhile; WAITING: others hold it. */
enum world_state world_run(unsigned int cpu);
enum world_state world_state(unsigned int cpu);
/* From outside; taken at a step of the CPU's, `late` steps after it could be. */
void world_signal(unsigned int cpu, unsigned int signals, unsigned int late);
/* It takes no step more; with `interrupts` those that come while they are on are still served. */
void world_stop(unsigned int cpu, bool interrupts);
/* One that waits for another that is stopped: it goes on trying. */
void world_excuse(unsigned int cpu);
/* All others finish, tickets are done behind a tick of each, and all that is owed is paid. */
void world_settle(void);

/* For who looks into it. */
extern struct flushq world_fq;
extern struct flushq_asids world_asids;
/* Whether it takes no interrupt where it is now. */
bool world_is_deaf(unsigned int cpu);
/* Whether its bell is rung, but no interrupt on its way. */
bool world_is_rung(unsigned int cpu);
/* The request of the call that it is in, which may wait for others; NULL: in none. */
const struct flushq_range *world_request(unsigned int cpu);
unsigned int world_steps(unsigned int cpu); /* of what it was given last */

#endif
