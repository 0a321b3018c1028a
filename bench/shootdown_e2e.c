/* SPDX-License-Identifier: MIT */
/*
 * Whole shootdowns, by policy.
 *
 * IPIs and refills are counted by flushq-sim (src/flushq-sim): its workload, TLBs and interleaving
 * are the same for all policies and for each run of a seed, so its counts can be compared to the
 * last one. Threads give other counts on each run, and on two processors hardly any CPU would
 * really run at the same time. What calls take can't be had there; it is measured on threads
 * (shootdown_threads.c), with signals for interrupts, on softtlb, which finds stale uses there as
 * well. Each run is a process of its own, and policies take turns.
 *
 * Of eager: real interrupts are cheaper than signals (fanout's membarrier is one), and real TLB
 * flushes dearer than softtlb's. A single call is timed by a clock of some nanoseconds a tick.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shootdown.h"
#include "shootdown_policies.h"
#include "shootdown_threads.h"

/* Calls of a run: parked, mixed. */
static const unsigned int calls[NR_MODES] = { 2400, 3200 };
static const unsigned int calls_quick[NR_MODES] = { 480, 640 };

/* Seconds after which no further round is begun, once there are three. */
#define ENOUGH_QUICK 40
#define ENOUGH 300

static const double percents[] = { 50, 90, 99, 99.9 };
#define NR_PERCENTS (sizeof(percents) / sizeof(percents[0]))
static const char *const modes[NR_MODES] = { "parked", "mixed" };
static const char *const whats[NR_SAMPLES] = { "call", "switch", "tick" };

/* All rounds together. */
static struct pool {
	double *ns;
	size_t n, room;
} pools[NR_POLICIES][NR_MODES][NR_SAMPLES];
static unsigned long thread_calls[NR_POLICIES][NR_MODES], thread_ipis[NR_POLICIES][NR_MODES];

struct counts {
	unsigned long ipis, refills, shootdowns, pages, asids, all;
};

static void pool_add(struct pool *pool, const unsigned int *ticks, size_t n)
{
	size_t i;

	if (pool->n + n > pool->room) {
		pool->room = 2 * (pool->n + n);
		pool->ns = realloc(pool->ns, pool->room * sizeof(*pool->ns));
		if (!pool->ns)
			abort();
	}
	for (i = 0; i < n; i++)
		pool->ns[pool->n++] = ticks[i] * bench_ns_per_tick();
}

/* 0, or what the program is to exit with. */
static int run_threads(unsigned int p, enum mode mode, unsigned long round,
		       struct threads_result *result)
{
	unsigned int i;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("e2e: fork");
		return 2;
	}
	if (pid == 0) {
		alarm(60);
		_exit(!threads_run(p, mode, (unsigned int)opt.cpus, opt.seed + round,
				   (opt.quick ? calls_quick : calls)[mode], opt.broken, result));
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
		printf("FAIL: %s, %s, --seed=%lu: %s\n", policies[p]->name, modes[mode],
		       opt.seed + round,
		       WIFEXITED(status) ? "a stale translation was used" : "it did not end");
		return 1;
	}
	thread_calls[p][mode] += result->calls;
	thread_ipis[p][mode] += result->interrupts;
	for (i = 0; i < NR_SAMPLES; i++)
		pool_add(&pools[p][mode][i], result->ticks[i], result->n[i]);
	return 0;
}

static unsigned long field(const char *line, const char *name)
{
	char key[64];
	const char *at;

	snprintf(key, sizeof(key), " %s=", name);
	at = strstr(line, key);
	return at ? strtoul(at + strlen(key), NULL, 10) : 0;
}

/* Starts a simulator. */
static FILE *simulate(unsigned int p, unsigned long seed)
{
	char command[4096];

	snprintf(command, sizeof(command), "'%s' --policy %s --seed %lu", opt.sim,
		 policies[p]->name, seed);
	return popen(command, "r");
}

/* Adds what it counted; 1: a stale translation was used, 2: it did not run. */
static int count(FILE *sim, struct counts *sum)
{
	bool found = false;
	char line[4096];

	while (sim && fgets(line, sizeof(line), sim)) {
		if (strncmp(line, "policy=", 7) != 0)
			continue;
		found = true;
		/* What may not wait is counted by itself where something may. */
		sum->ipis += field(line, "ipi_sent") + field(line, "ipi_forced");
		sum->refills += field(line, "refills");
		sum->shootdowns += field(line, "shootdowns");
		sum->pages += field(line, "flush_page");
		sum->asids += field(line, "flush_asid");
		sum->all += field(line, "flush_all");
	}
	if (sim && !pclose(sim) && found)
		return 0;
	return found ? 1 : 2;
}

/* Nothing is timed here, so the policies run side by side. */
static int count_all(unsigned long seed, struct counts *counts)
{
	FILE *sims[NR_POLICIES];
	int status = 0, one;
	unsigned int p;

	for (p = 0; p < NR_POLICIES; p++)
		sims[p] = simulate(p, seed);
	for (p = 0; p < NR_POLICIES; p++) {
		one = count(sims[p], &counts[p]);
		if (!one || status)
			continue;
		fprintf(stderr,
			"shootdowns: '%s --policy %s --seed %lu' failed (1: a stale translation was used); "
			"build it with make -C src/flushq-sim O=DIR, and say --sim DIR/flushq-sim\n",
			opt.sim, policies[p]->name, seed);
		status = one;
	}
	return status;
}

/* No better than `other` in either, and worse in one. */
static bool dominated(const struct counts *c, const struct counts *other)
{
	return other->ipis <= c->ipis && other->refills <= c->refills &&
	       (other->ipis < c->ipis || other->refills < c->refills);
}

static bool dominated_by_any(const struct counts *counts, unsigned int p, unsigned int from,
			     unsigned int to)
{
	unsigned int other;

	for (other = from; other <= to; other++)
		if (dominated(&counts[p], &counts[other]))
			return true;
	return false;
}

static double percentile(unsigned int p, enum mode mode, enum sample what, double percent)
{
	return bench_percentile(pools[p][mode][what].ns, pools[p][mode][what].n, percent);
}

static void write_csv(const struct counts *counts)
{
	FILE *csv = csv_open("shootdown_policies.csv",
			     "policy,ipis,refills,shootdowns,page_flushes,asid_flushes,all_flushes,"
			     "parked_p50_ns,mixed_p50_ns,mixed_p99_ns,switch_p50_ns,tick_p50_ns");
	unsigned int p, mode, what, i;

	for (p = 0; csv && p < NR_POLICIES; p++)
		fprintf(csv, "%s,%lu,%lu,%lu,%lu,%lu,%lu,%.1f,%.1f,%.1f,%.1f,%.1f\n",
			policies[p]->name, counts[p].ipis / opt.seeds,
			counts[p].refills / opt.seeds, counts[p].shootdowns / opt.seeds,
			counts[p].pages / opt.seeds, counts[p].asids / opt.seeds,
			counts[p].all / opt.seeds, percentile(p, PARKED, CALL, 50),
			percentile(p, MIXED, CALL, 50), percentile(p, MIXED, CALL, 99),
			percentile(p, MIXED, SWITCH, 50), percentile(p, MIXED, TICK, 50));
	csv_close(csv);
	csv = csv_open("shootdown_latency.csv", "policy,percentile,ns,mode,what");
	for (p = 0; csv && p < NR_POLICIES; p++)
		for (mode = 0; mode < NR_MODES; mode++)
			for (what = 0; what < NR_SAMPLES; what++)
				for (i = 0; i < NR_PERCENTS; i++)
					fprintf(csv, "%s,%g,%.1f,%s,%s\n", policies[p]->name,
						percents[i], percentile(p, mode, what, percents[i]),
						modes[mode], whats[what]);
	csv_close(csv);
}

static void print_counts(const struct counts *counts)
{
	unsigned int p;

	table("\nwhole shootdowns: flushq-sim, mean of %lu seeds; threads: %lu CPUs on %u "
	      "processors, signals for interrupts\n",
	      opt.seeds, opt.cpus, bench_cpus());
	table("%-14s%10s%10s%12s%12s%14s%14s%14s\n", "", "IPIs", "refills", "pages", "ASIDs",
	      "switch ns", "tick ns", "IPIs/call");
	for (p = 0; p < NR_POLICIES; p++)
		table("%-14s%10lu%10lu%12lu%12lu%14.0f%14.0f%14.3f\n", policies[p]->name,
		      counts[p].ipis / opt.seeds, counts[p].refills / opt.seeds,
		      counts[p].pages / opt.seeds, counts[p].asids / opt.seeds,
		      percentile(p, MIXED, SWITCH, 50), percentile(p, MIXED, TICK, 50),
		      (double)thread_ipis[p][MIXED] / (double)thread_calls[p][MIXED]);
}

static void print_latency(void)
{
	unsigned int p, mode, i;

	table("\nns of the initiator's call\n%-14s", "");
	for (mode = 0; mode < NR_MODES; mode++)
		for (i = 0; i < NR_PERCENTS; i++)
			table("%7s p%-5g", modes[mode], percents[i]);
	for (p = 0; p < NR_POLICIES; p++) {
		table("\n%-14s", policies[p]->name);
		for (mode = 0; mode < NR_MODES; mode++)
			for (i = 0; i < NR_PERCENTS; i++)
				table("%14.0f", percentile(p, mode, CALL, percents[i]));
	}
	table("\n");
}

/*
 * In the plane of IPIs and refills, against every policy that is not flushq's. Those before LATR
 * promise what flushq's queue and log do: when the call returns, it is done. LATR, as tickets do,
 * lets the pages wait, which spares interrupts that others can't; so the ratios of "same" compare
 * like with like.
 */
static void print_ratios(const struct counts *counts)
{
	double eager = percentile(EAGER, PARKED, CALL, 50);

	bench_ratio("e2e_dominated_queue", dominated_by_any(counts, FLUSHQ, EAGER, LATR));
	bench_ratio("e2e_dominated_log", dominated_by_any(counts, FLUSHQ_LOG, EAGER, LATR));
	bench_ratio("e2e_dominated_ticket", dominated_by_any(counts, FLUSHQ_TICKET, EAGER, LATR));
	bench_ratio("e2e_dominated_same_queue", dominated_by_any(counts, FLUSHQ, EAGER, X86));
	bench_ratio("e2e_dominated_same_log", dominated_by_any(counts, FLUSHQ_LOG, EAGER, X86));
	bench_ratio("e2e_parked_p50", percentile(FLUSHQ, PARKED, CALL, 50) / eager);
	bench_ratio("e2e_parked_p50_log", percentile(FLUSHQ_LOG, PARKED, CALL, 50) / eager);
	bench_ratio("e2e_parked_p50_ticket", percentile(FLUSHQ_TICKET, PARKED, CALL, 50) / eager);
	bench_ratio("e2e_parked_p99",
		    percentile(FLUSHQ, PARKED, CALL, 99) / percentile(EAGER, PARKED, CALL, 99));
}

int whole(void)
{
	struct counts counts[NR_POLICIES] = { { 0 } };
	struct threads_result *result;
	unsigned int p, mode, i;
	uint64_t end = bench_now() + (opt.quick ? ENOUGH_QUICK : ENOUGH) * 1000000000ull;
	unsigned long round;
	int status = 0;

	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (result == MAP_FAILED) {
		perror("e2e: mmap");
		return 2;
	}
	for (round = 0; round < opt.rounds && !status; round++) {
		if (round >= 3 && bench_now() > end) {
			fprintf(stderr,
				"shootdowns: e2e: %lu rounds only: the machine is too busy\n",
				round);
			break;
		}
		for (i = 0; i < NR_POLICIES; i++)
			for (mode = 0; mode < NR_MODES; mode++) {
				p = (i + (unsigned int)round) % NR_POLICIES;
				status |= run_threads(p, mode, round, result);
			}
	}
	munmap(result, sizeof(*result));
	bench_unpin();
	for (round = 0; round < opt.seeds && !status; round++)
		status = count_all(opt.seed + round, counts);
	if (status)
		return status;
	for (p = 0; p < NR_POLICIES; p++)
		for (mode = 0; mode < NR_MODES; mode++)
			for (i = 0; i < NR_SAMPLES; i++)
				bench_spread(pools[p][mode][i].ns, pools[p][mode][i].n);
	print_counts(counts);
	print_latency();
	write_csv(counts);
	print_ratios(counts);
	return 0;
}
