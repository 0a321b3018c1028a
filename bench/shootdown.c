/* SPDX-License-Identifier: MIT */
/*
 * shootdowns - what a shootdown costs whoever asks for it, and a switch whoever makes it.
 *
 * gcc -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wpedantic -pthread -DFLUSHQ_ARCH_PORTABLE -Iinclude \
 *	-Isrc/softtlb -Ibench bench/shootdown*.c bench/switch.c bench/measure.c \
 *	src/softtlb/softtlb.c -o build/bench/shootdowns
 * make -C src/flushq-sim O=DIR			and --sim DIR/flushq-sim
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/stress/options.h"
#include "shootdown.h"

#define NO_SEED (~0ul)

struct shootdown_options opt = {
	.rounds = 15, .seed = NO_SEED, .seeds = 31, .sim = "build/bench/flushq-sim"
};

static const struct {
	const char *name;
	int (*run)(void);
} scenarios[] = {
	{ "fanout", fanout },
	{ "switch", empty_switch },
	{ "e2e", whole },
};
#define NR_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

void table(const char *format, ...)
{
	va_list args;

	if (opt.raw)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	fflush(stdout);
}

FILE *csv_open(const char *name, const char *header)
{
	char path[4096];
	FILE *csv;

	if (!opt.csv)
		return NULL;
	snprintf(path, sizeof(path), "%s/%s", opt.csv, name);
	csv = fopen(path, "w");
	if (!csv) {
		perror(path);
		exit(2);
	}
	fprintf(csv, "%s\n", header);
	return csv;
}

void csv_close(FILE *csv)
{
	if (csv && fclose(csv)) {
		perror("shootdowns: --csv");
		exit(2);
	}
}

static void check_scenario(const struct argp_state *state, const char *name)
{
	size_t i;

	for (i = 0; i < NR_SCENARIOS; i++)
		if (!strcmp(scenarios[i].name, name))
			return;
	fprintf(stderr, "%s: --scenario=%s: one of these is expected:", state->name, name);
	for (i = 0; i < NR_SCENARIOS; i++)
		fprintf(stderr, " %s", scenarios[i].name);
	fprintf(stderr, "\n");
	exit(2);
}

enum { SIM = 256, CSV, RAW, QUICK, SEEDS, BREAK };

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'r':
		opt.rounds = option_number(state, "rounds", arg, 1, MAX_ROUNDS);
		return 0;
	case 's':
		opt.seed = option_number(state, "seed", arg, 0, 4294967295);
		return 0;
	case 'S':
		check_scenario(state, arg);
		opt.scenario = arg;
		return 0;
	case 'c':
		opt.cpus = option_number(state, "cpus", arg, 2, 16);
		return 0;
	case QUICK:
		opt.quick = true;
		return 0;
	case RAW:
		opt.raw = true;
		return 0;
	case CSV:
		opt.csv = arg;
		return 0;
	case SIM:
		opt.sim = arg;
		return 0;
	case SEEDS:
		opt.seeds = option_number(state, "seeds", arg, 1, 1000);
		return 0;
	case BREAK:
		if (strcmp(arg, "interrupts") != 0 && strcmp(arg, "switches") != 0) {
			fprintf(stderr, "%s: --break=%s: interrupts or switches is expected\n",
				state->name, arg);
			exit(2);
		}
		opt.broken = *arg == 'i' ? BROKEN_INTERRUPTS : BROKEN_SWITCHES;
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp_option options[] = {
	{ "rounds", 'r', "N", 0, "medians of so many, 1 to 101 (15)", 0 },
	{ "quick", QUICK, NULL, 0, "fewer samples in each, below a minute in all", 0 },
	{ "scenario", 'S', "NAME", 0, "fanout, switch or e2e (all)", 0 },
	{ "seed", 's', "N", 0, "of all random choices (a new one, printed)", 0 },
	{ "cpus", 'c', "N", 0, "threads of e2e, 2 to 16 (as processors, 8 at most)", 0 },
	{ "seeds", SEEDS, "N", 0, "of e2e's counts, 1 to 1000 (31)", 0 },
	{ "sim", SIM, "FILE", 0, "flushq-sim, for e2e's counts (build/bench/flushq-sim)", 0 },
	{ "raw", RAW, NULL, 0, "ratio lines instead of tables", 0 },
	{ "csv", CSV, "FOLDER", 0, "write *.csv there", 0 },
	{ "break", BREAK, "WHERE", 0,
	  "e2e: flushes in interrupts and ticks, or in switches, do nothing; must exit 1", 0 },
	{ 0 },
};

int main(int argc, char **argv)
{
	static const struct argp argp = { options, parse,
					  NULL,	   "Costs of shootdowns and switches, by policy.",
					  NULL,	   NULL,
					  NULL };
	int status = 0, one;
	size_t i;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (opt.seed == NO_SEED)
		opt.seed = option_random_seed();
	if (!opt.cpus)
		opt.cpus = bench_cpus() < 2 ? 2 : bench_cpus() > 8 ? 8 : bench_cpus();
	if (!opt.raw)
		bench_machine(stdout);
	printf("shootdowns: --seed=%lu --rounds=%lu\n", opt.seed, opt.rounds);
	fflush(stdout);
	bench_ns_per_tick();
	for (i = 0; i < NR_SCENARIOS; i++) {
		if (opt.scenario && strcmp(opt.scenario, scenarios[i].name) != 0)
			continue;
		one = scenarios[i].run();
		status = one > status ? one : status;
	}
	return status;
}
