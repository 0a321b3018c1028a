/* SPDX-License-Identifier: MIT */
/*
 * stalled - producers stopped in the middle of flushq_post(), at each possible step, while others
 * post and the owner drains, for whole wraps of the position counter. Nothing may be lost, nobody
 * may wait. Everything runs on one thread, as coroutines: each run is exactly repeatable.
 *
 * First all pairs of stops of two producers at neighbouring positions, around whole wraps; then
 * random schedules of three producers and the owner, which may be stopped in its drain as well.
 */
#include <stdbool.h>
#include <ucontext.h>

#include <flushq/flushq.h>
#include "options.h"

enum { OWNER, FIRST, SECOND, OTHER, NR_CPUS };

#define ASID 7
#define NEVER (~0u)
#define STACK (64 * 1024)
#define OUTSTANDING 32

struct request {
	struct flushq_range range;
	bool busy, finished, interrupt, covered, due;
};

struct coroutine {
	ucontext_t context;
	bool running, frozen;
	unsigned int budget; /* steps until it stops */
	unsigned int steps; /* of its present call */
	void (*body)(unsigned int self);
	unsigned char stack[STACK] __attribute__((aligned(16)));
};

static struct {
	unsigned long seed, seconds, one_in;
} opt = { .seconds = 2, .one_in = 1 };

static struct flushq fq;
static struct flushq_cpu cpus[NR_CPUS];
static flushq_atomic_ulong set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
static struct request requests[OUTSTANDING];
static struct coroutine coroutines[NR_CPUS], *current;
static ucontext_t scheduler;
static bool settled; /* the owner uses ASID */
static unsigned int next_page, failures, most_steps;
static unsigned long cases, posts;
static uint64_t random_state;
static char what[160];

void test_step(unsigned int kind, const volatile void *p)
{
	struct coroutine *c = current;

	(void)kind;
	(void)p;
	if (!c)
		return;
	c->steps++;
	if (c->budget != NEVER && c->budget-- == 0) {
		current = NULL;
		swapcontext(&c->context, &scheduler);
	}
}

static unsigned int random_below(unsigned int below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned int)(random_state * 2685821657736338717ull >> 33) % below;
}

static void fail(const char *why, const struct request *request)
{
	if (failures++ < 8)
		fprintf(stderr, "stalled: %s: page %lu: %s\n", what,
			request ? request->range.start >> FLUSHQ_PAGE_SHIFT : 0ul, why);
}

/* The host. */

void flushq_host_flush(const struct flushq_range *range)
{
	unsigned int i;

	for (i = 0; i < OUTSTANDING; i++)
		if (requests[i].busy && flushq_range_covers(range, &requests[i].range))
			requests[i].covered = true;
}

unsigned long flushq_host_irq_save(void)
{
	return 0;
}

void flushq_host_irq_restore(unsigned long flags)
{
	(void)flags;
}

bool flushq_host_irqs_off(void)
{
	return true;
}

void flushq_host_relax(void)
{
	fail("somebody waits", NULL);
}

void flushq_host_interrupt(const unsigned long *which, unsigned int words)
{
	(void)which;
	(void)words;
}

/* Requests. */

static void reap(struct request *r)
{
	if (r->busy && r->finished && r->covered)
		r->busy = false;
}

static void post(unsigned int self)
{
	unsigned long interrupt[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	unsigned int page = next_page++ % 4096, i;
	struct request *r = NULL;

	for (i = 0; i < OUTSTANDING && !r; i++)
		if (!requests[i].busy)
			r = &requests[i];
	/* The owner has not been on for long: nobody asks for more. */
	if (!r)
		return;
	memset(r, 0, sizeof(*r));
	/* Every other page, so that no two requests merge. */
	r->range = flushq_range_make(ASID, (unsigned long)page << (FLUSHQ_PAGE_SHIFT + 1), 1, 0,
				     FLUSHQ_LEAF);
	r->busy = true;
	posts++;
	r->interrupt = flushq_post(&fq, self, set, &r->range, interrupt) != 0;
	r->finished = true;
	if (settled && !r->interrupt && !r->covered)
		fail("posted, no interrupt, and the owner uses it unflushed", r);
	reap(r);
}

static void owner_drain(void)
{
	unsigned int i;

	for (i = 0; i < OUTSTANDING; i++)
		requests[i].due = requests[i].busy && requests[i].finished;
	flushq_drain(&fq, OWNER);
	for (i = 0; i < OUTSTANDING; i++) {
		/* What is parked may be kept until the next switch. */
		if (settled && requests[i].busy && requests[i].due && !requests[i].covered)
			fail("still owed after a drain", &requests[i]);
		reap(&requests[i]);
	}
}

static void owner_switch(void)
{
	unsigned int i;

	flushq_switch_to(&fq, OWNER, ASID, set);
	flushq_switched(&fq, OWNER);
	settled = true;
	for (i = 0; i < OUTSTANDING; i++) {
		struct request *r = &requests[i];

		if (r->busy && r->finished && !r->interrupt && !r->covered)
			fail("still owed after the switch", r);
		reap(r);
	}
}

static void owner_park(void)
{
	settled = false;
	flushq_park(&fq, OWNER);
}

/* Coroutines. */

static void enter(unsigned int self)
{
	struct coroutine *c = &coroutines[self];

	c->body(self);
	c->running = false;
	current = NULL;
	swapcontext(&c->context, &scheduler);
}

static void go_on(unsigned int self, unsigned int budget)
{
	struct coroutine *c = &coroutines[self];

	c->budget = budget;
	current = c;
	swapcontext(&scheduler, &c->context);
}

/* Runs `body` as CPU `self`; true when it ended, false when it stopped before its step `budget`. */
static bool start(unsigned int self, void (*body)(unsigned int), unsigned int budget)
{
	struct coroutine *c = &coroutines[self];

	getcontext(&c->context);
	c->context.uc_stack.ss_sp = c->stack;
	c->context.uc_stack.ss_size = STACK;
	c->context.uc_link = NULL;
	c->body = body;
	c->running = true;
	c->steps = 0;
	makecontext(&c->context, (void (*)(void))enter, 1, self);
	go_on(self, budget);
	return !c->running;
}

static void finish(unsigned int self)
{
	if (coroutines[self].running)
		go_on(self, NEVER);
	if (self != OWNER && coroutines[self].steps > most_steps)
		most_steps = coroutines[self].steps;
}

static void machine(bool loaded)
{
	unsigned int i;

	memset(cpus, 0, sizeof(cpus));
	memset(set, 0, sizeof(set));
	memset(requests, 0, sizeof(requests));
	flushq_init(&fq, cpus, NR_CPUS);
	for (i = 0; i < NR_CPUS; i++)
		flushq_online(&fq, i);
	owner_switch();
	if (!loaded)
		owner_park();
	cases++;
}

/* The owner takes what it owes. */
static void turn(bool loaded)
{
	if (loaded) {
		owner_drain();
		return;
	}
	owner_switch();
	owner_park();
}

/* Others get on by `n` positions, `batch` of them before each drain. */
static void others(unsigned int n, unsigned int batch, bool loaded)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		post(OTHER);
		if (i % batch == batch - 1)
			turn(loaded);
	}
	if (n)
		turn(loaded);
}

/* One case; returns bit 0 if the first was stopped, bit 1 if the second. */
static unsigned int pair(unsigned int stop1, unsigned int stop2, unsigned int between,
			 unsigned int after, unsigned int order, bool loaded)
{
	bool ended1, ended2;

	snprintf(what, sizeof(what),
		 "first stopped at step %u, second at %u, %u posts between, %u after, %s first, %s",
		 stop1, stop2, between, after, order & 1 ? "second" : "first",
		 loaded ? "loaded" : "parked");
	machine(loaded);
	others(order >> 1 & 3, 1, loaded);
	ended1 = start(FIRST, post, stop1);
	others(between, 1, loaded);
	ended2 = start(SECOND, post, stop2);
	others(after, order & 4 ? 2 : 1, loaded);
	finish(order & 1 ? SECOND : FIRST);
	post(OTHER);
	turn(loaded);
	post(OTHER);
	finish(order & 1 ? FIRST : SECOND);
	post(OTHER);
	turn(loaded);
	turn(loaded);
	if (!flushq_ring_idle(&cpus[OWNER].queue.ring, cpus[OWNER].head))
		fail("the queue does not come to rest", NULL);
	/* And it is as good as new. */
	others(FLUSHQ_QUEUE_SLOTS + 1, FLUSHQ_QUEUE_SLOTS, loaded);
	return (ended1 ? 0u : 1u) | (ended2 ? 0u : 2u);
}

static void all_pairs(void)
{
	static const unsigned int distances[] = { 0, 1, 2, 3, 253, 254, 255, 256, 257, 512 };
	const unsigned int n = sizeof(distances) / sizeof(distances[0]);
	unsigned int stop1, stop2, i, j, order;
	bool more = true;

	for (stop1 = 0; more && failures < 100; stop1++) {
		more = false;
		for (stop2 = 0; stop2 <= stop1; stop2++)
			for (i = 0; i < n * n && failures < 100; i++)
				for (j = 0; j < 2; j++) {
					if (i && opt.one_in > 1 &&
					    random_below((unsigned int)opt.one_in))
						continue;
					order = random_below(8);
					more |= pair(stop1, stop2, distances[i / n],
						     distances[i % n], order, j & 1) &
						1;
					more |= pair(stop2, stop1, distances[i / n],
						     distances[i % n], order ^ 1, j & 1) >>
						1;
				}
	}
	printf("all pairs of %u stops: %lu cases, %lu posts, at most %u steps in one\n", stop1,
	       cases, posts, most_steps);
}

static void owner_body(unsigned int self)
{
	(void)self;
	switch (random_below(4)) {
	case 0:
		owner_park();
		break;
	case 1:
		owner_drain();
		break;
	default:
		owner_switch();
		break;
	}
}

static void random_case(void)
{
	unsigned int turns = 2000 + random_below(2000), self, i;

	snprintf(what, sizeof(what), "random case, seed %lu, random state %llx", opt.seed,
		 (unsigned long long)random_state);
	machine(random_below(2));
	for (self = 0; self < NR_CPUS; self++)
		coroutines[self].frozen = false;
	while (turns--) {
		self = random_below(NR_CPUS);
		if (random_below(300) == 0)
			coroutines[FIRST + random_below(3)].frozen ^= true;
		if (coroutines[self].frozen && coroutines[self].running)
			continue;
		i = random_below(4) ? NEVER : random_below(24);
		/* An owner that is stopped for long is a machine at rest. */
		if (coroutines[self].running)
			go_on(self, i);
		else
			start(self, self == OWNER ? owner_body : post, i);
	}
	for (self = 0; self < NR_CPUS; self++)
		finish(self);
	owner_park();
	owner_switch();
	owner_drain();
	for (i = 0; i < OUTSTANDING; i++)
		if (requests[i].busy)
			fail("lost", &requests[i]);
}

static const struct option_row options[] = {
	OPTION_SEED(&opt.seed),
	{ "seconds", 't', "S", "of random schedules, after all pairs (2)", &opt.seconds, 0, 86400,
	  NULL },
	{ "one-in", 'o', "N", "only one in N of all pairs (1: all)", &opt.one_in, 1, 1000000,
	  NULL },
	{ 0 },
};

int main(int argc, char **argv)
{
	unsigned long before;
	time_t end;

	opt.seed = option_random_seed();
	options_parse(argc, argv, "Producers stopped in mid-enqueue.", options);
	random_state = (opt.seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	printf("stalled: --seed=%lu, %d slots, %d bits\n", opt.seed, FLUSHQ_QUEUE_SLOTS,
	       FLUSHQ_POSITION_BITS);
	fflush(stdout);
	watchdog((unsigned int)opt.seconds + 120);

	all_pairs();
	before = cases;
	for (end = time(NULL) + (time_t)opt.seconds; time(NULL) < end && !failures;)
		random_case();
	printf("random: %lu cases\n", cases - before);
	/* P1: a claim a slot, a look back a slot, and the rest of one post. */
	if (most_steps > 3 * FLUSHQ_QUEUE_SLOTS + 40)
		fail("a post took too many steps", NULL);
	printf("%s: %u requests lost\n", failures ? "FAIL" : "ok", failures);
	return failures ? 1 : 0;
}
