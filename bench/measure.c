/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "measure.h"

/* tools/bench tells. */
#ifndef BENCH_FLAGS
#define BENCH_FLAGS "unknown flags"
#endif
#ifndef BENCH_VERSIONS
#define BENCH_VERSIONS "unknown"
#endif
#ifdef __clang__
#define BENCH_COMPILER ""
#else
#define BENCH_COMPILER "gcc "
#endif

static cpu_set_t allowed;
static unsigned int nr_allowed;

/* Before any thread is pinned. */
__attribute__((constructor)) static void find_cpus(void)
{
	if (sched_getaffinity(0, sizeof(allowed), &allowed)) {
		CPU_ZERO(&allowed);
		CPU_SET(0, &allowed);
	}
	nr_allowed = (unsigned int)CPU_COUNT(&allowed);
}

uint64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

double bench_ns_per_tick(void)
{
	static double ratio;
	uint64_t start, ticks, now;

	if (ratio > 0)
		return ratio;
	start = bench_now();
	ticks = bench_ticks();
	do
		now = bench_now();
	while (now - start < 20000000);
	ratio = (double)(now - start) / (double)(bench_ticks() - ticks);
	return ratio;
}

unsigned int bench_cpus(void)
{
	return nr_allowed;
}

void bench_pin(unsigned int cpu)
{
	cpu_set_t one;
	int i;

	for (i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &allowed) && cpu-- == 0)
			break;
	CPU_ZERO(&one);
	if (i < CPU_SETSIZE)
		CPU_SET(i, &one);
	if (pthread_setaffinity_np(pthread_self(), sizeof(one), &one)) {
		fprintf(stderr, "can't pin a thread to CPU %d\n", i);
		exit(1);
	}
}

void bench_unpin(void)
{
	pthread_setaffinity_np(pthread_self(), sizeof(allowed), &allowed);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_percentile(const double *sorted, size_t n, double p)
{
	double at;
	size_t low;

	if (n == 0)
		return 0;
	at = p / 100 * (double)(n - 1);
	low = (size_t)at;
	if (low + 1 >= n)
		return sorted[n - 1];
	return sorted[low] + (at - (double)low) * (sorted[low + 1] - sorted[low]);
}

struct bench_spread bench_spread(double *samples, size_t n)
{
	struct bench_spread spread;

	qsort(samples, n, sizeof(*samples), by_value);
	spread.min = bench_percentile(samples, n, 0);
	spread.q1 = bench_percentile(samples, n, 25);
	spread.median = bench_percentile(samples, n, 50);
	spread.q3 = bench_percentile(samples, n, 75);
	spread.max = bench_percentile(samples, n, 100);
	return spread;
}

void bench_machine(FILE *out)
{
	char line[512], *name = NULL;
	struct utsname kernel;
	FILE *info = fopen("/proc/cpuinfo", "r");

	while (info && !name && fgets(line, sizeof(line), info)) {
		if (strncmp(line, "model name", 10) != 0 && strncmp(line, "uarch", 5) != 0)
			continue;
		name = strchr(line, ':');
		line[strcspn(line, "\n")] = 0;
	}
	if (info)
		fclose(info);
	memset(&kernel, 0, sizeof(kernel));
	uname(&kernel);
	fprintf(out, "machine: %s, %u CPUs for this program, %s, %s %s\n", name ? name + 2 : "CPU",
		nr_allowed, kernel.machine, kernel.sysname, kernel.release);
	fprintf(out, "compiler: %s%s, %s\n", BENCH_COMPILER, __VERSION__, BENCH_FLAGS);
	fprintf(out, "versions: %s\n", BENCH_VERSIONS);
}

void bench_ratio(const char *name, double value)
{
	printf("ratio %s=%.3f\n", name, value);
}
