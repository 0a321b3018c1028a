/* SPDX-License-Identifier: MIT */
/*
 * The empty switch: a CPU goes to and fro between two address spaces of which it holds all and owes
 * nothing, as it does nearly always. It needs one full fence whatever the library does; so that is
 * what it is compared with, in a loop that looks the same.
 */
#include "shootdown_host.h"
#include "bare_switch.h"
#include "shootdown.h"

#define LOOPS_QUICK 20000
#define LOOPS 200000

static struct flushq fq;
static struct flushq_cpu cpus[4];
static struct flushq_asids asids;
static flushq_atomic_ulong set[2][FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
static struct flushq_mm mm[2], mm_log[2];
static struct flushq_log logs[2];
static flushq_atomic_u32 context;

/* The compiler knows nothing of i: each turn is like the first. */
static inline unsigned int turn(unsigned long i)
{
	unsigned int which = (unsigned int)i & 1;

	__asm__ volatile("" : "+r"(which)::"memory");
	return which;
}

static void loop_null(unsigned long n)
{
	while (n--)
		turn(n);
}

static void loop_fence(unsigned long n)
{
	while (n--) {
		turn(n);
		flushq_fence_full();
	}
}

/* What a switch can't do without: to say what it switches to, and then the fence. */
static void loop_store_fence(unsigned long n)
{
	while (n--) {
		flushq_store_relaxed(&context, turn(n));
		flushq_fence_full();
	}
}

static void loop_bare(unsigned long n)
{
	while (n--) {
		unsigned int to = turn(n);

		if (!bare_switch_to(&fq, 3, 0x100 + to, set[to]))
			abort();
		bare_switched(&fq, 3);
	}
}

static void loop_switch(unsigned long n)
{
	while (n--) {
		unsigned int to = turn(n);

		flushq_switch_to(&fq, 0, 0x100 + to, set[to]);
		flushq_switched(&fq, 0);
	}
}

static void loop_mm(unsigned long n)
{
	while (n--) {
		flushq_mm_switch_to(&fq, 1, &mm[turn(n)]);
		flushq_switched(&fq, 1);
	}
}

static void loop_mm_log(unsigned long n)
{
	while (n--) {
		flushq_mm_switch_to(&fq, 2, &mm_log[turn(n)]);
		flushq_switched(&fq, 2);
	}
}

enum { NULL_LOOP, FENCE, STORE_FENCE, BARE, SWITCH, MM, MM_LOG, NR_LOOPS };

static const struct {
	const char *name;
	void (*run)(unsigned long n);
} loops[NR_LOOPS] = {
	{ "loop", loop_null },
	{ "fence", loop_fence },
	{ "store_fence", loop_store_fence },
	{ "bare_switch", loop_bare },
	{ "switch", loop_switch },
	{ "switch_mm", loop_mm },
	{ "switch_mm_log", loop_mm_log },
};

static double samples[NR_LOOPS][MAX_ROUNDS];

static void set_up(void)
{
	unsigned int i;

	flushq_init(&fq, cpus, 4);
	for (i = 0; i < 4; i++)
		flushq_online(&fq, i);
	/* ASIDs of its own, which asid.h knows nothing of, come from above. */
	loop_switch(4);
	/* The bare one has nobody who joins for it. */
	for (i = 0; i < 2; i++)
		flushq_cpuset_add(set[i], 3);
	flushq_use_asids(&fq, &asids, 7);
	for (i = 0; i < 2; i++) {
		flushq_mm_init(&mm[i], NULL);
		flushq_mm_init(&mm_log[i], &logs[i]);
	}
	loop_mm(4);
	loop_mm_log(4);
}

int empty_switch(void)
{
	unsigned long n = opt.quick ? LOOPS_QUICK : LOOPS, round, i, flushes;
	double ns[NR_LOOPS], per_tick = bench_ns_per_tick();
	struct bench_spread spread;
	FILE *csv;

	bench_pin(0);
	set_up();
	flushes = null_host_flushes;
	for (round = 0; round < opt.rounds; round++)
		for (i = 0; i < NR_LOOPS; i++) {
			unsigned long at = (i + round) % NR_LOOPS;
			uint64_t start;

			/* Plain address spaces are the host's; mm.h's need its ASIDs. */
			fq.asids = at == SWITCH ? NULL : &asids;
			loops[at].run(n / 8);
			start = bench_ticks();
			loops[at].run(n);
			samples[at][round] = (double)(bench_ticks() - start) * per_tick / (double)n;
		}
	if (null_host_flushes != flushes) {
		fprintf(stderr, "switch: %lu flushes on the empty path\n",
			null_host_flushes - flushes);
		return 1;
	}
	csv = csv_open("switch.csv", "what,ns,q1,q3");
	table("\nempty switch\t\tns\tq1\tq3\n");
	for (i = 0; i < NR_LOOPS; i++) {
		spread = bench_spread(samples[i], opt.rounds);
		ns[i] = spread.median;
		table("%-16s\t%.2f\t%.2f\t%.2f\n", loops[i].name, spread.median, spread.q1,
		      spread.q3);
		if (csv)
			fprintf(csv, "%s,%.3f,%.3f,%.3f\n", loops[i].name, spread.median, spread.q1,
				spread.q3);
	}
	csv_close(csv);
	bench_ratio("switch_empty_vs_fence", ns[SWITCH] / ns[FENCE]);
	bench_ratio("switch_limit_vs_fence", ns[BARE] / ns[FENCE]);
	bench_ratio("switch_empty_vs_store_fence", ns[SWITCH] / ns[STORE_FENCE]);
	bench_ratio("switch_empty_vs_fence_mm", ns[MM] / ns[FENCE]);
	bench_ratio("switch_empty_vs_fence_mm_log", ns[MM_LOG] / ns[FENCE]);
	return 0;
}
