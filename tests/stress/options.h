/* SPDX-License-Identifier: MIT */
/* options.h - what the stress programs share: numbers from the command line, a seed, a watchdog. */
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
