/* SPDX-License-Identifier: MIT */
/* measure.h - what the programs of bench/ share: clocks, pinning, spreads, the machine in words. */
#ifndef MEASURE_H
#define MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__riscv)
#define BENCH_TICK_INSN "fence iorw, iorw; rdtime %0"
#elif defined(__aarch64__)
#define BENCH_TICK_INSN "isb; mrs %0, cntvct_el0"
#endif

/* Nanoseconds of CLOCK_MONOTONIC_RAW. */
uint64_t bench_now(void);

/* Ticks of the cheapest clock that all CPUs share, for samples of single calls; read behind all that
 * the caller did before. */
#if defined(__x86_64__)
static inline uint64_t bench_ticks(void)
{
	__builtin_ia32_lfence();
	return __builtin_ia32_rdtsc();
}
#elif defined(BENCH_TICK_INSN)
static inline uint64_t bench_ticks(void)
{
	uint64_t ticks;

	__asm__ volatile(BENCH_TICK_INSN : "=r"(ticks) : : "memory");
	return ticks;
}
#else
static inline uint64_t bench_ticks(void)
{
	return bench_now();
}
#endif

/* Calibrated when first called, in some 20 ms; not by two threads at once. */
double bench_ns_per_tick(void);

/* CPUs that this process may run on; bench_pin() binds the calling thread to the nth of them,
 * bench_unpin() to none. All go by the set that the process started with. */
unsigned int bench_cpus(void);
void bench_pin(unsigned int cpu);
void bench_unpin(void);

struct bench_spread {
	double min, q1, median, q3, max;
};

/* Sorts `samples`. Of none: all zero. */
struct bench_spread bench_spread(double *samples, size_t n);
/* p from 0 to 100, between the two nearest samples. */
double bench_percentile(const double *sorted, size_t n, double p);

/* CPU, kernel, compiler, flags, versions of what is compared. */
void bench_machine(FILE *out);
void bench_ratio(const char *name, double value);

#endif
