/* SPDX-License-Identifier: MIT */
/* shootdown.h - what the parts of bench/shootdowns share. */
#ifndef SHOOTDOWN_H
#define SHOOTDOWN_H

#include <stdbool.h>
#include <stdio.h>

#include "measure.h"

#define MAX_ROUNDS 101

/* Where flushes do nothing, so that softtlb must notice: in interrupts and ticks, or in switches. */
enum broken { BROKEN_NOWHERE, BROKEN_INTERRUPTS, BROKEN_SWITCHES };

struct shootdown_options {
	unsigned long rounds, seed, seeds, cpus;
	bool quick, raw;
	enum broken broken;
	const char *scenario, *csv, *sim;
};

extern struct shootdown_options opt;

/* A line of a table: nothing with --raw. */
void table(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* NULL without --csv. Writes the header line. */
FILE *csv_open(const char *name, const char *header);
void csv_close(FILE *csv);

/* The scenarios return an exit status. */
int fanout(void);
int empty_switch(void);
int whole(void);

#endif
