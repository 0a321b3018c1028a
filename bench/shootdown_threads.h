/* SPDX-License-Identifier: MIT */
/* shootdown_threads.h - one run of one policy on a machine of threads: what each call took. */
#ifndef SHOOTDOWN_THREADS_H
#define SHOOTDOWN_THREADS_H

#include <stdbool.h>

#include "shootdown.h"

/* Targets run something else; targets run what is shot down, one in four. */
enum mode { PARKED, MIXED, NR_MODES };
/* Of the initiator's call; of a target's part in a switch, and of its tick. */
enum sample { CALL, SWITCH, TICK, NR_SAMPLES };

#define SAMPLES_MAX 16384

/* Shared with the process that runs it. */
struct threads_result {
	unsigned int n[NR_SAMPLES];
	unsigned int ticks[NR_SAMPLES][SAMPLES_MAX];
	unsigned long calls, interrupts;
};

/* Once in a process. False: a stale translation was used. */
bool threads_run(unsigned int policy, enum mode mode, unsigned int cpus, unsigned long seed,
		 unsigned int calls, enum broken broken, struct threads_result *result);

#endif
