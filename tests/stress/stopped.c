/* SPDX-License-Identifier: MIT */
/*
 * stopped - one CPU is stopped for ever before each atomic operation of each of its calls in turn, and
 * the others go on. Nothing may be lost, and nobody may be held but by what the contract names. The
 * machine is tests/fuzz/world.h's: each case can be repeated.
 *
 * The CPU is stopped whole (a virtual one that is not scheduled), or its call only: then its
 * interrupts are still served where they are on. Who waits for it is held where, and only where,
 *
 *	user	it takes no interrupt and, by its context, uses what was changed: it runs the address
 *		space, has it lazily while tables are freed, is just switching while any are, or is online
 *		while it is a kernel range
 *	lock	it holds the lock of asid.h, and the other one's ASID is of an old generation, or is
 *		being pinned
 *	behind	one that is held by that lock in its switch, interrupts off, and so answers nobody
 *
 * In particular who is stopped between ringing a bell and sending the interrupt, in the middle of a
 * queue or a log, or in a drain of its own, holds nobody for that.
 */
#include <stdbool.h>

#include "options.h"
#include "world.h"

#define CPUS 4
#define VICTIM 0
#define FOLLOWERS 24 /* calls of the others, behind the stop */

static struct {
	unsigned long seed, seconds;
} opt = { .seconds = 2 };

static const struct world_config configs[] = {
	{ .cpus = CPUS, .limit = 4 },
	{ .cpus = CPUS, .limit = 2 },
	{ .cpus = CPUS, .limit = 4, .numbers = true, .bits = 4 },
	{ .cpus = CPUS, .limit = 3, .numbers = true, .bits = 4, .logs = 0x1f },
	{ .cpus = CPUS, .limit = 4, .numbers = true, .bits = 2, .logs = 0x15 },
	{ .cpus = CPUS, .limit = 4, .numbers = true, .bits = 1 },
	{ .cpus = CPUS, .limit = 3, .numbers = true, .bits = 0, .logs = 3 },
};
#define NR_CONFIGS (sizeof(configs) / sizeof(configs[0]))

static uint64_t random_state;
static char what[160];
static unsigned long stops[NR_OPS], cases, calls, again, rung, held_user, held_lock, held_behind;

static const char *const names[NR_OPS] = { "switch", "park", "lazy",	"unmap", "table",
					   "kernel", "map",  "post",	"drain", "tick",
					   "power",  "die",  "pinning", "poll",	 "wait" };

void world_fail(const char *why)
{
	fprintf(stderr, "stopped: %s: %s\nFAIL\n", what, why);
	exit(1);
}

static unsigned int random_below(unsigned int below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned int)(random_state * 2685821657736338717ull >> 33) % below;
}

static struct world_args random_args(void)
{
	struct world_args args;

	args.space = random_below(random_below(2) ? 2 : NR_SPACES);
	args.page = random_below(NR_PAGES);
	args.pages = 1 + random_below(random_below(4) ? 1 : NR_PAGES);
	args.how = (enum world_how)random_below(NR_HOWS);
	args.replace = random_below(2);
	return args;
}

/* Whether the lock of asid.h is what `cpu` waits for: it asks nobody for anything. */
static bool at_lock(unsigned int cpu)
{
	return world_fq.asids && world_state(cpu) == WAITING && !world_request(cpu) &&
	       flushq_load_relaxed(&world_asids.lock);
}

/* By whom `cpu`, which did not come to its end, is held. */
void world_held(unsigned int cpu)
{
	const struct flushq_range *range = world_request(cpu);
	unsigned int by;

	world_excuse(cpu);
	if (at_lock(cpu)) {
		held_lock++;
		return;
	}
	for (by = 0; range && by < CPUS; by++) {
		if (by == cpu || !world_is_deaf(by) ||
		    !flushq_context_needs(flushq_load_relaxed(&world_fq.cpu[by].context), range))
			continue;
		if (by == VICTIM) {
			held_user++;
			return;
		}
		if (at_lock(by)) {
			held_behind++;
			return;
		}
	}
	world_fail("another is held, and by nothing that the contract names");
}

static bool idle(unsigned int cpu)
{
	return world_state(cpu) == IDLE;
}

/* One of the others does something, if it can. */
static void follow(unsigned int turn)
{
	unsigned int cpu = 1 + turn % (CPUS - 1);
	struct world_args args = random_args();
	/* What is asked of all is likely to hold it: last. */
	enum world_op op = (enum world_op)random_below(NR_OPS);

	if (!idle(cpu))
		return;
	if (op == OP_KERNEL && turn < FOLLOWERS - 4)
		op = OP_SWITCH;
	calls++;
	world_give(cpu, op, &args);
	if (world_run(cpu) != IDLE)
		world_held(cpu);
}

/* Everybody does something, to the end. */
static void before(void)
{
	static const enum world_op ops[] = { OP_SWITCH, OP_SWITCH, OP_SWITCH, OP_UNMAP, OP_UNMAP,
					     OP_POST,	OP_PARK,   OP_LAZY,   OP_TABLE, OP_MAP };
	unsigned int i, cpu;

	for (i = 0; i < 16; i++) {
		struct world_args args = random_args();

		cpu = random_below(CPUS);
		/* Tickets and posts are left to be waited for. */
		world_give(cpu, ops[random_below(sizeof(ops) / sizeof(ops[0]))], &args);
		if (world_run(cpu) != IDLE)
			world_fail("somebody is held before anybody is stopped");
	}
	/* It is likely to be asked, and to owe something. */
	for (cpu = 0; cpu < CPUS; cpu++) {
		const struct world_args args = { .space = cpu == CPUS - 1, .pages = 1 };

		world_give(cpu, OP_SWITCH, &args);
		world_run(cpu);
	}
}

/* What the victim is about to do has something to do. */
static void prepare(enum world_op op, struct world_args *args)
{
	struct world_args other = { .space = 0, .pages = 1, .how = HOW_TICKET, .replace = true };
	bool away = op == OP_SWITCH || op == OP_POWER;
	unsigned int i;

	if (op == OP_WAIT || op == OP_POLL) {
		world_give(VICTIM, OP_UNMAP, &other);
		world_run(VICTIM);
	}
	if (away || (op == OP_LAZY && args->replace)) {
		world_give(VICTIM, away ? OP_PARK : OP_LAZY, &other);
		world_run(VICTIM);
	}
	if (op == OP_POWER && args->replace) {
		world_give(VICTIM, OP_POWER, &other);
		world_run(VICTIM);
	}
	/* Debts: few, or more than the queue holds. */
	for (i = 0; i < (args->page & 1 ? 2 : FLUSHQ_QUEUE_SLOTS + 2); i++) {
		other.how = op == OP_DRAIN || op == OP_TICK ? HOW_TICKET : HOW_SHOOTDOWN;
		other.page = i % NR_PAGES;
		world_give(1, OP_UNMAP, &other);
		world_run(1);
	}
	if (op == OP_SWITCH && args->page & 2)
		args->space = 0;
}

/* The victim does `op` up to its step `n`; false: it has fewer. */
static bool stop_at(enum world_op op, const struct world_args *args, unsigned int n)
{
	unsigned int turn, cpu;

	world_give(VICTIM, op, args);
	for (turn = 0; turn < 200; turn++) {
		switch (world_go(VICTIM, n - world_steps(VICTIM))) {
		case IDLE:
			return false;
		case STOPPED:
			return true;
		case WAITING:
			break;
		}
		if (world_steps(VICTIM) >= n)
			return true;
		for (cpu = 1; cpu < CPUS; cpu++)
			world_go(cpu, FOREVER);
	}
	world_fail("the one to be stopped is held itself");
}

/* One stop; false: the call has no step `n`. */
static bool stop(unsigned long seed, unsigned int which, enum world_op op, unsigned int how,
		 unsigned int n, bool serves)
{
	struct world_args args;
	unsigned int i, cpu;

	snprintf(what, sizeof(what),
		 "--seed=%lu: case %lu, config %u: %s, how %u, stopped at step %u%s", opt.seed,
		 seed, which, names[op], how, n, serves ? ", serves" : "");
	random_state = (opt.seed * 1000003 + seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	world_start(&configs[which]);
	before();
	args = random_args();
	args.how = (enum world_how)how;
	prepare(op, &args);
	if (!stop_at(op, &args, n))
		return false;
	world_stop(VICTIM, serves);
	stops[op]++;
	for (cpu = 1; cpu < CPUS; cpu++)
		rung += world_is_rung(cpu);
	random_state ^= (uint64_t)n << 20 | serves;
	for (i = 0; i < FOLLOWERS; i++)
		follow(i);
	world_settle();
	for (cpu = 1; cpu < CPUS; cpu++)
		again += flushq_count(&world_fq, cpu, FLUSHQ_IPI_AGAIN);
	return true;
}

static void every_step(unsigned long seed, unsigned int which, enum world_op op, unsigned int how)
{
	unsigned int n;

	/* Settings alike are run alike up to the stop, so the last step is the same. */
	for (n = 0; stop(seed, which, op, how, n, false); n++)
		stop(seed, which, op, how, n, true);
	cases++;
}

static const struct option_row options[] = {
	OPTION_SEED(&opt.seed),
	{ "seconds", 't', "S", "go on with other cases for so long (2)", &opt.seconds, 0, 86400,
	  NULL },
	{ 0 },
};

int main(int argc, char **argv)
{
	unsigned int which, op, how, i;
	unsigned long seed = 0, all = 0;
	bool missing = false;
	double end;

	opt.seed = option_random_seed();
	options_parse(argc, argv, "CPUs stopped for ever in any call.", options);
	printf("stopped: --seed=%lu\n", opt.seed);
	fflush(stdout);
	watchdog((unsigned int)opt.seconds + 120);

	end = clock_now() + (double)opt.seconds;
	do {
		for (which = 0; which < NR_CONFIGS; which++)
			for (op = 0; op < NR_OPS; op++)
				for (how = 0; how < NR_HOWS; how++)
					every_step(seed++, which, (enum world_op)op, how);
	} while (clock_now() < end);

	for (i = 0; i < NR_OPS; i++) {
		printf("%s %lu, ", names[i], stops[i]);
		all += stops[i];
		/* It has no step of its own, where there is nothing to wait for. */
		missing |= !stops[i] && i != OP_MAP;
	}
	printf("stops %lu in %lu calls, of which bells were rung and nobody interrupted %lu\nthe others: calls %lu, held by a user %lu, at the lock %lu, "
	       "behind it %lu; interrupted again %lu\n",
	       all, cases, rung, calls, held_user, held_lock, held_behind, again);
	if (missing || !held_user || !held_lock || !held_behind || !again || !rung) {
		printf("FAIL: something never happened\n");
		return 1;
	}
	printf("ok\n");
	return 0;
}
