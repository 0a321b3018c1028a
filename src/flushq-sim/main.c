/* SPDX-License-Identifier: MIT */
/* The command line, boot, the rounds, and the line at the end. */
#include <argp.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

#define STUCK_ROUNDS 10000000

struct options options = {
	.policy = "flushq", .harts = 4, .seed = 42, .work = 10, .asid_bits = 16
};
struct cpu cpus[NR_CPUS];
unsigned int nr_cpus;
struct cpu *self;
uint64_t now;
const struct policy *policy;

static char stacks[NR_CPUS][STACK_SIZE] __attribute__((aligned(16)));
static struct coro machine;
static uint64_t random_state;

noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "flushq-sim: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(self ? 1 : 2);
}

unsigned int sim_random(unsigned int below)
{
	uint64_t x = random_state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random_state = x;
	return (unsigned int)((x * 2685821657736338717ULL) >> 33) % below;
}

/* The other CPUs get their turns. */
void turn(void)
{
	coro_switch(self->running, &machine);
}

static void walk_ahead(struct cpu *c)
{
	if (options.speculate && c->reg && sim_random((unsigned int)options.speculate) == 0)
		tlb_speculate(&c->tlb, &c->reg->space, c->reg_asid, sim_random(TABLES),
			      sim_random(WL_PAGES));
}

static bool over(void)
{
	unsigned int i;

	for (i = 0; i < nr_cpus; i++)
		if (cpus[i].mm)
			return false;
	return !tasks_alive();
}

static void run(void)
{
	unsigned long checks = 0, before = 0;
	unsigned int i;

	do {
		now++;
		for (i = 0; i < nr_cpus; i++) {
			struct cpu *c = &cpus[i];

			walk_ahead(c);
			if (sim_random(8) == 0)
				continue;
			if (c->idle && now < c->wake && !c->irq)
				continue;
			if (!c->idle)
				c->steps++;
			self = c;
			coro_switch(&machine, c->running);
		}
		if (now % STUCK_ROUNDS == 0) {
			for (checks = 0, i = 0; i < nr_cpus; i++)
				checks += cpus[i].count.checks;
			if (checks == before)
				die("stuck: somebody waits for ever");
			before = checks;
		}
	} while (!over());
}

static void add_thread(struct mm *mm, enum wl_role role, unsigned int id, unsigned int thread,
		       unsigned int threads, unsigned int left)
{
	struct user user = { .id = id };

	wl_start(&user.wl, role, options.seed, id * WL_THREADS + thread, thread, threads, left);
	task_create(mm, NULL, &user);
}

static void add_processes(void)
{
	unsigned int i, thread, threads, work = (unsigned int)options.work;
	struct mm *mm;

	for (i = 0; i < WORKERS; i++) {
		threads = 2 + i % (WL_THREADS - 1);
		mm = mm_create(threads);
		for (thread = 0; thread < threads; thread++)
			add_thread(mm, WL_WORKER, i, thread, threads, work * 250);
	}
	for (i = 0; i < PARENTS; i++)
		add_thread(mm_create(1), WL_PARENT, WORKERS + i, 0, 1, work * 10);
}

static void boot(void)
{
	unsigned int i;

	random_state = (options.seed + 1) * 0x9e3779b97f4a7c15ULL;
	nr_cpus = (unsigned int)options.harts;
	mm_boot();
	if (policy->init)
		policy->init(nr_cpus);
	for (i = 0; i < nr_cpus; i++) {
		struct cpu *c = &cpus[i];

		c->id = i;
		c->running = &c->sched;
		coro_init(&c->sched, stacks[i], STACK_SIZE, cpu_main, c);
	}
	add_processes();
}

static void print_causes(void)
{
	static const char *const causes[] = { "own", "interrupt", "switch" };
	static const char *const forms[] = { "page", "asid", "all" };
	unsigned int cause, form, i;
	unsigned long n;

	printf("refills:");
	for (cause = 0; cause < NR_CAUSES; cause++)
		for (form = 0; form < NR_FORMS; form++) {
			for (n = 0, i = 0; i < nr_cpus; i++)
				n += cpus[i].tlb.refills_of[cause][form];
			printf(" %s_%s=%lu", causes[cause], forms[form], n);
		}
	printf("\n");
}

static unsigned long finish(void)
{
	unsigned long steps = 0, misses = 0, refills = 0, stale = 0;
	struct counters sum = { 0 };
	unsigned int i;

	for (i = 0; i < nr_cpus; i++) {
		counters_add(&sum, &cpus[i].count);
		if (policy->counters)
			policy->counters(&cpus[i], &sum);
		steps += cpus[i].steps;
		misses += cpus[i].tlb.misses;
		refills += cpus[i].tlb.refills;
		stale += cpus[i].tlb.stale;
	}
	mm_check_leaks();
	printf("checks=%lu forks=%lu migrations=%lu globals=%lu\n", sum.checks, sum.forks,
	       sum.migrations, sum.globals);
	if (options.explain)
		print_causes();
	printf("policy=%s ipi=own harts=%u seed=%lu shootdowns=%lu ipi_sent=%lu ipi_parked=%lu "
	       "deferred=%lu covered=%lu overflow=%lu escalated=%lu drains=%lu flush_page=%lu "
	       "flush_asid=%lu flush_all=%lu switches=%lu ipi_forced=%lu rollovers=%lu aged=%lu "
	       "left_set=%lu log_appends=%lu log_replays=%lu log_lapped=%lu tickets=%lu "
	       "ticket_wait_max=%lu offline=%lu stale=%lu steps=%lu misses=%lu refills=%lu\n",
	       policy->name, nr_cpus, options.seed, sum.shootdowns, sum.ipi_sent, sum.ipi_parked,
	       sum.deferred, sum.covered, sum.overflow, sum.escalated, sum.drains, sum.flush_page,
	       sum.flush_asid, sum.flush_all, sum.switches, sum.ipi_forced, sum.rollovers, sum.aged,
	       sum.left_set, sum.log_appends, sum.log_replays, sum.log_lapped, sum.tickets,
	       ticket_wait_max / ROUNDS_PER_US, sum.offline, stale, steps, misses, refills);
	return stale;
}

static unsigned long number(const char *name, const char *arg, unsigned long low,
			    unsigned long high)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(arg, &end, 10);
	if (errno || *end || *arg < '0' || *arg > '9' || n < low || n > high)
		die("--%s takes a number from %lu to %lu, not '%s'", name, low, high, arg);
	return n;
}

static noreturn void no_policy(const char *name)
{
	char names[256] = "";
	size_t i;

	for (i = 0; policies[i]; i++) {
		strncat(names, " ", sizeof(names) - strlen(names) - 1);
		strncat(names, policies[i]->name, sizeof(names) - strlen(names) - 1);
	}
	die("there is no policy '%s'; there are%s", name, names);
}

enum { SPECULATE = 256, ASID_BITS, RESIDENT, TABLES_BY_PAGE, BREAK, EXPLAIN };

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'p':
		options.policy = arg;
		return 0;
	case 'n':
		options.harts = number("harts", arg, 1, NR_CPUS);
		return 0;
	case 's':
		options.seed = number("seed", arg, 0, 4294967295);
		return 0;
	case 'w':
		options.work = number("work", arg, 1, 1000);
		return 0;
	case ASID_BITS:
		options.asid_bits = number("asid-bits", arg, 0, 16);
		return 0;
	case RESIDENT:
		options.resident = number("resident", arg, 1, FLUSHQ_RESIDENT);
		return 0;
	case SPECULATE:
		options.speculate = number("speculate", arg, 0, 1000000);
		return 0;
	case TABLES_BY_PAGE:
		options.tables_by_page = true;
		return 0;
	case BREAK:
		if (strcmp(arg, "drop-flushes"))
			die("--break takes drop-flushes, not '%s'", arg);
		options.drop_flushes = true;
		return 0;
	case EXPLAIN:
		options.explain = true;
		return 0;
	case ARGP_KEY_ARG:
		die("unexpected '%s'; see --help", arg);
	default:
		(void)state;
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "policy", 'p', "P", 0,
		  "eager, rfc, flushq (default), flushq-log, flushq-ticket, x86, asid or latr", 0 },
		{ "harts", 'n', "N", 0, "CPUs, 1 to 16 (4)", 0 },
		{ "seed", 's', "N", 0, "of the workload and of the interleaving (42)", 0 },
		{ "work", 'w', "N", 0, "size of the workload, 1 to 1000 (10)", 0 },
		{ "asid-bits", ASID_BITS, "N", 0, "width of an ASID, 0 to 16 (16)", 0 },
		{ "resident", RESIDENT, "N", 0,
		  "most address spaces that a CPU's TLB keeps, with flushq: 1 to 16 (16)", 0 },
		{ "speculate", SPECULATE, "N", 0,
		  "the hardware walks ahead in one of N turns; 0: never (default)", 0 },
		{ "tables-by-page", TABLES_BY_PAGE, NULL, 0,
		  "flushes by page take non-leaf entries along, as on x86; as on RISC-V without",
		  0 },
		{ "break", BREAK, "HOW", 0, "drop-flushes: one flush in eight does nothing", 0 },
		{ "explain", EXPLAIN, NULL, 0, "also print which flushes caused the refills", 0 },
		{ 0 },
	};
	static const struct argp argp = {
		argp_options,
		parse,
		NULL,
		"The demo kernel's workload on simulated CPUs whose TLBs never forget. The same "
		"options give the same counts on every machine. Exits 0, or 1 if a stale "
		"translation was used.",
		NULL,
		NULL,
		NULL
	};
	size_t i;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	for (i = 0; policies[i]; i++)
		if (!strcmp(policies[i]->name, options.policy))
			policy = policies[i];
	if (!policy)
		no_policy(options.policy);
	boot();
	run();
	return finish() ? 1 : 0;
}
