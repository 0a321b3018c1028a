/* SPDX-License-Identifier: MIT */
/* options.h - what the stress programs share: their command lines, a seed, a watchdog. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS_MAX 15

struct option_bit {
	const char *name;
	unsigned long bit;
};

/* A number from low to high; with bits, names of some of them, which add up. The last is empty. */
struct option_row {
	const char *name;
	int key;
	const char *arg, *doc;
	unsigned long *value, low, high;
	const struct option_bit *bits;
};

#define OPTION_SEED(value)                                                                         \
	{                                                                                          \
		"seed", 's', "N", "of all random choices (default: a new one, printed)", value, 0, \
			~0ul - 1, NULL                                                             \
	}

static inline unsigned long option_number(struct argp_state *state, const char *name,
					  const char *arg, unsigned long low, unsigned long high)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(arg, &end, 0);
	if (errno || *end || end == arg || *arg == '-' || n < low || n > high) {
		fprintf(stderr, "%s: --%s=%s: a number from %lu to %lu is expected\n", state->name,
			name, arg, low, high);
		exit(2);
	}
	return n;
}

static inline unsigned long option_bit(struct argp_state *state, const char *name, const char *arg,
				       const struct option_bit *bits)
{
	const struct option_bit *bit;

	for (bit = bits; bit->name; bit++)
		if (!strcmp(arg, bit->name))
			return bit->bit;
	fprintf(stderr, "%s: --%s=%s: one of these is expected:", state->name, name, arg);
	for (bit = bits; bit->name; bit++)
		fprintf(stderr, " %s", bit->name);
	fprintf(stderr, "\n");
	exit(2);
}

static inline error_t option_parse(int key, char *arg, struct argp_state *state)
{
	const struct option_row *row = state->input;

	while (row->name && row->key != key)
		row++;
	if (!row->name)
		return ARGP_ERR_UNKNOWN;
	if (row->bits)
		*row->value |= option_bit(state, row->name, arg, row->bits);
	else
		*row->value = option_number(state, row->name, arg, row->low, row->high);
	return 0;
}

/* A bad option says what is allowed, and exits with 2. */
static inline void options_parse(int argc, char **argv, const char *doc,
				 const struct option_row *rows)
{
	struct argp_option options[OPTIONS_MAX + 1] = { { 0 } };
	struct argp argp = { options, option_parse, NULL, doc, NULL, NULL, NULL };
	unsigned int i;

	for (i = 0; rows[i].name && i < OPTIONS_MAX; i++) {
		options[i].name = rows[i].name;
		options[i].key = rows[i].key;
		options[i].arg = rows[i].arg;
		options[i].doc = rows[i].doc;
	}
	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, (void *)rows);
}

static inline unsigned long option_random_seed(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ((unsigned long)now.tv_nsec ^ (unsigned long)now.tv_sec << 12 ^
		(unsigned long)getpid()) &
	       0xffffffful;
}

/* Seconds of a clock that only goes forward. */
static inline double clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void watchdog_bites(int signal)
{
	static const char message[] = "FAIL: watchdog: somebody waits for ever\n";

	(void)signal;
	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(1);
	_exit(1);
}

static inline void watchdog(unsigned int seconds)
{
	signal(SIGALRM, watchdog_bites);
	alarm(seconds);
}

#endif
