/* SPDX-License-Identifier: MIT */
/*
 * Fan-out: one CPU shoots down a page of an address space that 1 to 64 others have parked.
 *
 *   queue, log		flushq on a machine of 65 CPUs whose host does nothing. The targets live on
 *			another processor: before each batch of shootdowns they switch in and away
 *			there, so their lines come from its cache, once a batch, and they owe nothing.
 *   queue-full,	the same, nobody having switched for long: each queue carries its mark, and
 *   log-full		the log has been overtaken
 *   signals		eager: a signal to a thread for each target, and a wait for all answers. A
 *			target that has a processor of its own runs; where targets share
 *			processors they sleep in pause(), and their threads take turns to answer,
 *			which real CPUs would do at once. So it is too slow where they are many, and
 *			fanout64_queue_vs_eager1 compares 64 of flushq's with a single one of these.
 *   membarrier		eager by the kernel's own interrupts, one to each other processor:
 *			membarrier() where threads of this process run on all of them. As many
 *			targets as there are other processors, and without any flush. Where the
 *			machine is busy with something else, nobody is interrupted, and it looks
 *			cheaper than it is.
 *   lines		what would be left of eager if interrupts cost nothing: a line to write for
 *			each target, one thread that answers for all, a wait for all answers
 */
#define _GNU_SOURCE
#include "shootdown_host.h"
#include "shootdown.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TARGETS 64
/* Room for all in a queue and in a log. */
#define BATCH 16
/* More than both hold. */
#define FILL 96
#define BATCHES_QUICK 20
#define BATCHES 100

enum carrier { QUEUE, QUEUE_FULL, LOG, LOG_FULL, SIGNALS, MEMBARRIER, LINES, NR_CARRIERS };

static const char *const names[NR_CARRIERS] = {
	"queue", "queue-full", "log", "log-full", "signals", "membarrier", "lines",
};
static const unsigned int sizes[] = { 1, 2, 4, 8, 16, 32, 64 };
#define NR_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static double samples[NR_CARRIERS][NR_SIZES][MAX_ROUNDS];
static double batch_ns[BATCHES];

/* The initiator is CPU 0. */
static struct flushq fq;
static struct flushq_cpu cpus[TARGETS + 1];
static struct flushq_asids asids;
static struct flushq_mm mm, elsewhere;
static struct flushq_log mm_log;

/* The thread on the other processor does what it is told. */
enum order { VISIT = 1, ANSWER, SPIN, END };
static struct {
	_Alignas(64) _Atomic unsigned int asked; /* order + 8 * number of the order */
	_Alignas(64) _Atomic unsigned int done;
	_Alignas(64) atomic_bool stop; /* of ANSWER and SPIN */
	unsigned int targets;
} helper;

static struct {
	_Alignas(64) _Atomic unsigned int asked, answered;
} line[TARGETS];

static struct target {
	_Alignas(64) _Atomic unsigned int asked, answered;
	pthread_t thread;
	unsigned int nr, processor;
	atomic_bool ready, stop;
	bool runs;
} targets[TARGETS];
static _Thread_local struct target *me;

static void relax(unsigned int *turns)
{
	if (++*turns % 4096 == 0)
		sched_yield();
}

static void visit(unsigned int n)
{
	unsigned int i;

	for (i = 1; i <= n; i++) {
		flushq_mm_switch_to(&fq, i, &mm);
		flushq_switched(&fq, i);
		flushq_mm_switch_to(&fq, i, &elsewhere);
		flushq_switched(&fq, i);
	}
}

static void answer(unsigned int n)
{
	unsigned int i, turns = 0;

	while (!atomic_load_explicit(&helper.stop, memory_order_relaxed)) {
		for (i = 0; i < n; i++) {
			unsigned int asked =
				atomic_load_explicit(&line[i].asked, memory_order_acquire);

			if (asked != atomic_load_explicit(&line[i].answered, memory_order_relaxed))
				atomic_store_explicit(&line[i].answered, asked,
						      memory_order_release);
		}
		relax(&turns);
	}
}

static void spin(void)
{
	while (!atomic_load_explicit(&helper.stop, memory_order_relaxed))
		;
}

static void *helper_main(void *arg)
{
	unsigned int asked, done = 0, turns = 0;

	(void)arg;
	bench_pin(bench_cpus() > 1 ? 1 : 0);
	for (;;) {
		asked = atomic_load_explicit(&helper.asked, memory_order_acquire);
		if (asked == done) {
			relax(&turns);
			continue;
		}
		done = asked;
		switch (asked % 8) {
		case VISIT:
			visit(helper.targets);
			break;
		case ANSWER:
			answer(helper.targets);
			break;
		case SPIN:
			spin();
			break;
		default:
			return NULL;
		}
		atomic_store_explicit(&helper.done, done, memory_order_release);
	}
}

static void help_begin(enum order order, unsigned int n)
{
	unsigned int before = atomic_load_explicit(&helper.asked, memory_order_relaxed);

	helper.targets = n;
	atomic_store_explicit(&helper.stop, false, memory_order_relaxed);
	atomic_store_explicit(&helper.asked, before - before % 8 + 8 + order, memory_order_release);
}

static void help_end(void)
{
	unsigned int asked = atomic_load_explicit(&helper.asked, memory_order_relaxed);
	unsigned int turns = 0;

	atomic_store_explicit(&helper.stop, true, memory_order_relaxed);
	while (atomic_load_explicit(&helper.done, memory_order_acquire) != asked)
		relax(&turns);
}

/* One machine for all sizes: what changes is the number of targets alone. */
static void set_up(unsigned int n, bool log)
{
	unsigned int i;

	memset(cpus, 0, sizeof(cpus));
	memset(&mm_log, 0, sizeof(mm_log));
	flushq_init(&fq, cpus, TARGETS + 1);
	flushq_use_asids(&fq, &asids, 16);
	flushq_mm_init(&mm, log ? &mm_log : NULL);
	flushq_mm_init(&elsewhere, NULL);
	for (i = 0; i <= TARGETS; i++)
		flushq_online(&fq, i);
	flushq_mm_switch_to(&fq, 0, &mm);
	flushq_switched(&fq, 0);
	help_begin(VISIT, n);
	help_end();
}

static void shoot(unsigned int times)
{
	/* Two apart: neighbours would be merged when they are paid. */
	static unsigned long page;

	while (times--) {
		struct flushq_range range = flushq_mm_range(
			&fq, &mm, (page += 2) % 4096 << FLUSHQ_PAGE_SHIFT, 1ul << FLUSHQ_PAGE_SHIFT,
			1ul << FLUSHQ_PAGE_SHIFT, FLUSHQ_LEAF);

		flushq_mm_shootdown(&fq, 0, &mm, &range);
	}
}

static double flushq_batch(enum carrier carrier, unsigned int n)
{
	uint64_t start;

	if (carrier == QUEUE || carrier == LOG) {
		help_begin(VISIT, n);
		help_end();
	} else {
		shoot(FILL);
	}
	start = bench_ticks();
	shoot(BATCH);
	return (double)(bench_ticks() - start);
}

static double lines_batch(unsigned int n)
{
	unsigned int i, times, turns = 0;
	uint64_t start = bench_ticks();

	for (times = 0; times < BATCH; times++) {
		for (i = 0; i < n; i++)
			atomic_fetch_add_explicit(&line[i].asked, 1, memory_order_relaxed);
		for (i = 0; i < n; i++)
			while (atomic_load_explicit(&line[i].answered, memory_order_acquire) !=
			       atomic_load_explicit(&line[i].asked, memory_order_relaxed))
				relax(&turns);
	}
	return (double)(bench_ticks() - start);
}

static void on_signal(int signal)
{
	(void)signal;
	if (me)
		atomic_store_explicit(&me->answered,
				      atomic_load_explicit(&me->asked, memory_order_acquire),
				      memory_order_release);
}

static void *target_main(void *arg)
{
	sigset_t blocked, none;

	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	me = arg;
	bench_pin(me->processor);
	if (!me->runs)
		pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	atomic_store(&me->ready, true);
	/* Asleep, the signal is taken within sigsuspend() alone, so none is missed. */
	while (!atomic_load_explicit(&me->stop, memory_order_relaxed))
		if (!me->runs)
			sigsuspend(&none);
	return NULL;
}

static void start_targets(unsigned int n)
{
	unsigned int i, others = bench_cpus() - 1;
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	for (i = 0; i < n; i++) {
		targets[i].nr = i;
		targets[i].runs = n <= others;
		targets[i].processor = others ? 1 + i % others : 0;
		atomic_store(&targets[i].stop, false);
		atomic_store(&targets[i].ready, false);
		if (pthread_create(&targets[i].thread, &attr, target_main, &targets[i])) {
			perror("fanout: pthread_create");
			exit(2);
		}
	}
	for (i = 0; i < n; i++)
		while (!atomic_load(&targets[i].ready))
			sched_yield();
	pthread_attr_destroy(&attr);
}

static void signals_once(unsigned int n)
{
	unsigned int i, turns = 0;

	for (i = 0; i < n; i++) {
		atomic_fetch_add_explicit(&targets[i].asked, 1, memory_order_relaxed);
		pthread_kill(targets[i].thread, SIGUSR1);
	}
	for (i = 0; i < n; i++)
		while (atomic_load_explicit(&targets[i].answered, memory_order_acquire) !=
		       atomic_load_explicit(&targets[i].asked, memory_order_relaxed))
			relax(&turns);
}

static void stop_targets(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		atomic_store(&targets[i].stop, true);
		/* No answer is waited for: it may be gone already. */
		if (!targets[i].runs)
			pthread_kill(targets[i].thread, SIGUSR1);
		pthread_join(targets[i].thread, NULL);
	}
}

/* Of what is slow fewer will do. */
static unsigned int batch_size(enum carrier carrier, unsigned int n)
{
	return carrier == SIGNALS && n >= bench_cpus() ? 1 : BATCH;
}

static double signals_batch(unsigned int n)
{
	unsigned int times, nr = batch_size(SIGNALS, n);
	uint64_t start = bench_ticks();

	for (times = 0; times < nr; times++)
		signals_once(n);
	return (double)(bench_ticks() - start);
}

static double membarrier_batch(void)
{
	uint64_t start = bench_ticks();
	unsigned int times;

	for (times = 0; times < BATCH; times++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	return (double)(bench_ticks() - start);
}

static double batch(enum carrier carrier, unsigned int n)
{
	switch (carrier) {
	case SIGNALS:
		return signals_batch(n);
	case MEMBARRIER:
		return membarrier_batch();
	case LINES:
		return lines_batch(n);
	default:
		return flushq_batch(carrier, n);
	}
}

/* Median over the batches, ns for a shootdown. */
static double measure(enum carrier carrier, unsigned int n)
{
	unsigned int i, nr = opt.quick ? BATCHES_QUICK : BATCHES;

	if (batch_size(carrier, n) == 1)
		nr = nr / 5;
	if (carrier == SIGNALS)
		start_targets(n);
	else if (carrier == LINES || carrier == MEMBARRIER)
		help_begin(carrier == LINES ? ANSWER : SPIN, n);
	else
		set_up(n, carrier == LOG || carrier == LOG_FULL);
	batch(carrier, n);
	for (i = 0; i < nr; i++)
		batch_ns[i] = batch(carrier, n) * bench_ns_per_tick() / batch_size(carrier, n);
	if (carrier == SIGNALS)
		stop_targets(n);
	else if (carrier == LINES || carrier == MEMBARRIER)
		help_end();
	return bench_spread(batch_ns, nr).median;
}

/* membarrier() interrupts exactly the processors where the process runs: here, one. */
static bool measurable(enum carrier carrier, unsigned int n)
{
	return carrier != MEMBARRIER ||
	       (n == 1 && bench_cpus() > 1 &&
		syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
}

static double report(double ns[NR_CARRIERS][NR_SIZES], FILE *csv)
{
	struct bench_spread spread;
	unsigned int carrier, i;

	table("\nfan-out, ns for a shootdown\n%-12s", "targets");
	for (i = 0; i < NR_SIZES; i++)
		table("%10u", sizes[i]);
	for (carrier = 0; carrier < NR_CARRIERS; carrier++) {
		table("\n%-12s", names[carrier]);
		for (i = 0; i < NR_SIZES; i++) {
			if (!measurable(carrier, sizes[i])) {
				table("%10s", "-");
				continue;
			}
			spread = bench_spread(samples[carrier][i], opt.rounds);
			ns[carrier][i] = spread.median;
			table("%10.1f", spread.median);
			if (csv)
				fprintf(csv, "%u,%s,%.2f,%.2f,%.2f\n", sizes[i], names[carrier],
					spread.median, spread.q1, spread.q3);
		}
	}
	table("\n");
	return ns[QUEUE][NR_SIZES - 1];
}

int fanout(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	double ns[NR_CARRIERS][NR_SIZES] = { { 0 } }, queue;
	unsigned int turn, carrier, i;
	const unsigned int last = NR_SIZES - 1;
	unsigned long round;
	pthread_t thread;
	FILE *csv;

	sigaction(SIGUSR1, &action, NULL);
	bench_pin(0);
	if (pthread_create(&thread, NULL, helper_main, NULL)) {
		perror("fanout: pthread_create");
		return 2;
	}
	for (round = 0; round < opt.rounds; round++)
		for (turn = 0; turn < NR_CARRIERS * NR_SIZES; turn++) {
			carrier = (turn + (unsigned int)round) % NR_CARRIERS;
			i = turn / NR_CARRIERS;
			if (measurable(carrier, sizes[i]))
				samples[carrier][i][round] = measure(carrier, sizes[i]);
		}
	help_begin(END, 0);
	pthread_join(thread, NULL);
	signal(SIGUSR1, SIG_DFL);
	if (null_host_interrupts) {
		fprintf(stderr, "fanout: %lu interrupts to parked CPUs\n", null_host_interrupts);
		return 1;
	}
	csv = csv_open("fanout.csv", "targets,carrier,ns,q1,q3");
	queue = report(ns, csv);
	csv_close(csv);
	bench_ratio("fanout64_queue_vs_eager", queue / ns[SIGNALS][last]);
	bench_ratio("fanout64_queue_vs_eager1", queue / ns[SIGNALS][0]);
	bench_ratio("fanout64_queue_full_vs_eager1", ns[QUEUE_FULL][last] / ns[SIGNALS][0]);
	bench_ratio("fanout64_queue_vs_lines", queue / ns[LINES][last]);
	if (ns[MEMBARRIER][0] > 0)
		bench_ratio("fanout64_queue_vs_membarrier1", queue / ns[MEMBARRIER][0]);
	bench_ratio("fanout64_log_vs_1", ns[LOG][last] / ns[LOG][0]);
	bench_ratio("fanout64_log_full_vs_1", ns[LOG_FULL][last] / ns[LOG_FULL][0]);
	return 0;
}
