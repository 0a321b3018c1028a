/* SPDX-License-Identifier: MIT */
/*
 * queue - flushq's queue and log beside other queues, all in one run, so that each ratio is of one
 * run. In each round every contender has its turn, in another order, with its threads on other CPUs.
 * What is printed is medians over the rounds, with the quartiles.
 *
 *	alone	one thread puts 16 requests and drains, again and again
 *	live	producers against a consumer that polls; every request must arrive, once
 *	storm	nobody drains: puts into a full queue
 *	stopped	a producer stops for a tenth of the time in mid-enqueue: what the others pay
 *
 * The machine may be busy with other things. Threads begin when all are seen to run, and what was
 * measured counts only if none was switched away from its CPU; else it is measured again.
 */
#define _GNU_SOURCE
#include <argp.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "peer.h"

extern const struct peer peer_null_peer, peer_fetch_add_peer, peer_trusted_peer,
	peer_flushq_queue_peer, peer_flushq_log_peer, peer_spin_fas_16_peer, peer_spin_fas_64_peer,
	peer_spin_ticket_16_peer, peer_spin_ticket_64_peer, peer_spin_pthread_16_peer,
	peer_spin_pthread_64_peer, peer_kvm_fifo_peer, peer_ck_ring_peer, peer_wfcqueue_peer,
	peer_rte_ring_peer, peer_rte_ring_rts_peer;

/* DPDK is not to be had everywhere: tools/bench tells. */
#ifdef BENCH_RTE_RING
#define RTE_RINGS &peer_rte_ring_peer, &peer_rte_ring_rts_peer,
#else
#define RTE_RINGS
#endif

enum { NOTHING, ADD, TRUSTED, QUEUE, LOG, SPIN_FIRST, SPIN_LAST = SPIN_FIRST + 2, OTHERS };

/* In the order of that enum. */
static const struct peer *const peers[] = {
	&peer_null_peer,	   &peer_fetch_add_peer,       &peer_trusted_peer,
	&peer_flushq_queue_peer,   &peer_flushq_log_peer,      &peer_spin_fas_16_peer,
	&peer_spin_ticket_16_peer, &peer_spin_pthread_16_peer, &peer_spin_fas_64_peer,
	&peer_spin_ticket_64_peer, &peer_spin_pthread_64_peer, &peer_kvm_fifo_peer,
	&peer_ck_ring_peer,	   &peer_wfcqueue_peer,	       RTE_RINGS
};

#define PEERS (sizeof(peers) / sizeof(*peers))
#define MOST_ROUNDS 255
#define MOST_THREADS 128
#define MOST_COUNTS 16 /* of different numbers of threads */
#define MOST_VALUES 18 /* measured at once */

struct scenario {
	const char *name, *title;
	const char *const *values; /* columns, NULL at the end */
	void (*counts)(void); /* fills `counts` */
	/* Measures once; returns false where there is nothing to measure. */
	bool (*once)(const struct peer *peer, unsigned int threads, double *values);
	void (*ratios)(void);
};

static struct {
	unsigned long rounds, irq_ns;
	const char *scenario, *csv;
	bool quick, raw;
} opt = { 31, 0, NULL, NULL, false, false };

static unsigned int round_number;
static unsigned int counts[MOST_COUNTS], nr_counts;
static double sample[PEERS][MOST_COUNTS][MOST_VALUES][MOST_ROUNDS];
static unsigned int nr_samples[PEERS][MOST_COUNTS];
static struct bench_spread result[PEERS][MOST_COUNTS][MOST_VALUES];
static bool failed;

/* One sample at a time. */
static void *queue;
static size_t queue_size;
static struct work works[MOST_THREADS];

static void fail(const struct peer *peer, const char *where, const char *why, unsigned long got,
		 unsigned long expected)
{
	fprintf(stderr, "FAIL: %s, %s: %s: %lu, expected %lu\n", where, peer->name, why, got,
		expected);
	failed = true;
}

/* How often the calling thread was switched away while it could have run. */
static long switches(void)
{
	struct rusage usage;

	memset(&usage, 0, sizeof(usage));
	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

static uint64_t ticks_of(double ns)
{
	return (uint64_t)(ns / bench_ns_per_tick());
}

/*
 * A crew: threads 0 to n - 1, each on its CPU, that do one thing together, again until it was done
 * without a switch. The first one leads.
 */
#define CREW_PATIENCE_NS 5e8 /* for all of one sample */
#define CREW_FRESH_NS 3e3 /* who was seen that lately runs */
#define CREW_LATE_NS 2e4 /* who starts that late was away */

struct crew {
	const struct peer *peer;
	unsigned int n, producers;
	double window; /* ns */
	void (*set_up)(struct crew *crew); /* the leader, before each attempt */
	bool (*done)(struct crew *crew); /* after each that counts: was it the last? */
	double *values;
	unsigned int good; /* attempts that counted */
};

struct member {
	FLUSHQ_ALIGNED(128) uint64_t beat;
	unsigned int index;
	bool disturbed;
	void (*loop)(void *queue, struct work *work);
	pthread_t id;
};

/* Stays until all have arrived again: who is slow reads it late. */
enum verdict { AGAIN, ENOUGH };

static struct crew *crew;
static struct member members[MOST_THREADS];
FLUSHQ_ALIGNED(128) static unsigned int attempt, judged; /* which goes on; how many have */
FLUSHQ_ALIGNED(128) static unsigned int arrived, producing;
static uint64_t begun, give_up;
static enum verdict verdict;

static void prepare(const struct peer *peer)
{
	unsigned int i, k;

	memset(queue, 0, peer->size);
	peer->init(queue);
	for (i = 0; i < MOST_THREADS && (!crew || i < crew->n); i++) {
		struct work *work = &works[i];

		memset(work, 0, sizeof(*work));
		work->self = i;
		work->producing = &producing;
		work->event = ~(uint64_t)0;
		for (k = 0; k < PEER_BATCH; k++) {
			work->request[k] = flushq_range_whole(i, FLUSHQ_LEAF);
			work->request[k].start = (unsigned long)k << FLUSHQ_PAGE_SHIFT;
			work->request[k].pages = 1;
		}
	}
}

/* Waits until all members run, or not for ever. */
static void crew_lead(void)
{
	uint64_t fresh = ticks_of(CREW_FRESH_NS), now;
	unsigned int i;

	crew->set_up(crew);
	arrived = 0;
	producing = crew->producers;
	do {
		now = bench_ticks();
		for (i = 1; i < crew->n; i++)
			if (__atomic_load_n(&members[i].beat, __ATOMIC_RELAXED) + fresh < now)
				break;
	} while (i < crew->n && now < give_up);
	begun = now;
	for (i = 0; i < crew->n; i++)
		works[i].until = now + ticks_of(crew->window);
	__atomic_store_n(&attempt, attempt + 1, __ATOMIC_RELEASE);
}

static void crew_follow(struct member *self, unsigned int before)
{
	while (__atomic_load_n(&attempt, __ATOMIC_ACQUIRE) == before)
		__atomic_store_n(&self->beat, bench_ticks(), __ATOMIC_RELAXED);
}

static void crew_judge(void)
{
	bool good = true;
	unsigned int i;

	while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < crew->n)
		sched_yield();
	for (i = 0; i < crew->n; i++)
		good = good && !members[i].disturbed;
	if (good)
		crew->good++;
	if ((good && crew->done(crew)) || bench_ticks() >= give_up)
		verdict = ENOUGH;
	else
		verdict = AGAIN;
	__atomic_add_fetch(&judged, 1, __ATOMIC_RELEASE);
}

static void *crew_member(void *arg)
{
	struct member *self = arg;
	unsigned int before = 0;
	long switched;

	bench_pin((self->index + round_number) % bench_cpus());
	do {
		if (self->index == 0)
			crew_lead();
		else
			crew_follow(self, before);
		before++;
		switched = switches();
		self->disturbed = bench_ticks() > begun + ticks_of(CREW_LATE_NS);
		self->loop(queue, &works[self->index]);
		if (self->index < crew->producers)
			__atomic_sub_fetch(&producing, 1, __ATOMIC_RELEASE);
		self->disturbed |= switches() != switched;
		__atomic_add_fetch(&arrived, 1, __ATOMIC_RELEASE);
		if (self->index == 0)
			crew_judge();
		while (__atomic_load_n(&judged, __ATOMIC_ACQUIRE) != before)
			sched_yield();
	} while (verdict == AGAIN);
	return NULL;
}

/* Returns whether it was measured at all. */
static bool crew_run(struct crew *mine, void (*produce)(void *queue, struct work *work),
		     void (*consume)(void *queue, struct work *work))
{
	unsigned int i;
	int error;

	crew = mine;
	crew->good = 0;
	attempt = judged = 0;
	give_up = bench_ticks() + ticks_of(CREW_PATIENCE_NS);
	for (i = 0; i < crew->n; i++) {
		members[i].index = i;
		members[i].beat = 0;
		members[i].loop = i < crew->producers ? produce : consume;
		error = pthread_create(&members[i].id, NULL, crew_member, &members[i]);
		if (error) {
			fprintf(stderr, "queue: can't make a thread: %s\n", strerror(error));
			exit(1);
		}
	}
	for (i = 0; i < mine->n; i++)
		pthread_join(members[i].id, NULL);
	crew = NULL;
	return mine->good > 0;
}

/* What was accepted, and what came out. */
static void check(const struct peer *peer, const char *where, unsigned long accepted,
		  unsigned long sum, const struct intake *in)
{
	if (peer->kind == PEER_HOLLOW)
		return;
	/* A log may be read again behind a hole, and a reader may be told to flush for the rest. */
	if (peer->kind == PEER_OVERTAKES && (in->covers || in->items > accepted))
		return;
	if (in->items != accepted)
		fail(peer, where, "requests taken", in->items, accepted);
	else if (in->sum != sum)
		fail(peer, where, "sum of requests taken", in->sum, sum);
}

/* Alone. */

static const char *const alone_values[] = { "ns", NULL };

static void alone_counts(void)
{
	counts[nr_counts++] = 1;
}

static bool alone_once(const struct peer *peer, unsigned int threads, double *values)
{
	unsigned long turns = opt.quick ? 2048 : 8192, puts = turns * PEER_BATCH, sum;
	struct work *work = works;
	unsigned int tries, k;
	bool good = false;
	long switched;

	(void)threads;
	bench_pin(round_number % bench_cpus());
	for (tries = 0; tries < 100 && !good; tries++) {
		prepare(peer);
		sum = 0;
		for (k = 0; k < PEER_BATCH; k++)
			sum += work->request[k].start + work->request[k].pages +
			       work->request[k].asid;
		peer->alone(queue, work, turns / 8);
		memset(&work->in, 0, sizeof(work->in));
		switched = switches();
		peer->alone(queue, work, turns);
		good = switches() == switched;
		check(peer, "alone", puts, turns * sum, &work->in);
		if (work->accepted != puts)
			fail(peer, "alone", "requests accepted", work->accepted, puts);
	}
	values[0] = (double)(work->end - work->start) / (double)puts;
	return good;
}

/* NaN where nothing was measured: such a ratio is not printed. */
static double median(size_t i, unsigned int count, unsigned int value)
{
	return nr_samples[i][count] ? result[i][count][value].median : NAN;
}

static double median_of(const char *name, unsigned int count, unsigned int value)
{
	size_t i;

	for (i = 0; i < PEERS; i++)
		if (strcmp(peers[i]->name, name) == 0)
			return median(i, count, value);
	return NAN;
}

/* The best of the three locks with 16 requests: the mail thread's patch, as well as it can be made. */
static double best_spinlock(unsigned int count)
{
	double best = median(SPIN_FIRST, count, 0);
	unsigned int i;

	for (i = SPIN_FIRST + 1; i <= SPIN_LAST; i++)
		if (!(median(i, count, 0) >= best))
			best = median(i, count, 0);
	return best;
}

static void ratio(const char *name, double value)
{
	if (!isnan(value))
		bench_ratio(name, value);
}

/* ns that it takes to save the flags and to restore them, as far as a program may: a kernel that turns
 * interrupts off in between pays more. 0: not known here. */
#if defined(__x86_64__)
static double flags_ns(void)
{
	double best = 0, ns;
	unsigned int round, i;
	uint64_t start;

	for (round = 0; round < 15; round++) {
		start = bench_now();
		for (i = 0; i < 10000; i++) {
			unsigned long flags = __builtin_ia32_readeflags_u64();

			__asm__ volatile("" : "+r"(flags)::"memory");
			__builtin_ia32_writeeflags_u64(flags);
		}
		ns = (double)(bench_now() - start) / 10000;
		if (round == 0 || ns < best)
			best = ns;
	}
	return best;
}
#else
static double flags_ns(void)
{
	return 0;
}
#endif

static void alone_ratios(void)
{
	double mine = median(QUEUE, 0, 0), limit = median(TRUSTED, 0, 0);
	double irq_ns = opt.irq_ns ? (double)opt.irq_ns : flags_ns();

	ratio("alone_vs_spinlock", mine / best_spinlock(0));
	/* Off and on once for each put, and for the drain. */
	if (irq_ns > 0)
		ratio("alone_vs_spinlock_irq",
		      mine / (best_spinlock(0) + irq_ns * (PEER_BATCH + 1) / PEER_BATCH));
	ratio("alone_vs_fetch_add", mine / median(ADD, 0, 0));
	ratio("alone_vs_ck_ring", mine / median_of("ck_ring", 0, 0));
	ratio("alone_vs_wfcqueue", mine / median_of("wfcqueue", 0, 0));
	ratio("alone_vs_rte_ring", mine / median_of("rte_ring", 0, 0));
	/* What would be left if takes were free. */
	ratio("alone_limit_vs_spinlock", limit / best_spinlock(0));
	ratio("alone_limit_vs_ck_ring", limit / median_of("ck_ring", 0, 0));
	ratio("alone_limit_vs_wfcqueue", limit / median_of("wfcqueue", 0, 0));
	ratio("alone_limit_vs_rte_ring", limit / median_of("rte_ring", 0, 0));
}

/* Live. */

static const char *const live_values[] = { "million_per_s", "rejected_percent", NULL };

static void live_counts(void)
{
	static const unsigned int some[] = { 1, 2, 3, 4, 6, 8, 11, 15, 23, 31, 47, 63 };
	unsigned int i;

	for (i = 0; i < sizeof(some) / sizeof(*some); i++)
		if (some[i] < bench_cpus() || i == 0)
			counts[nr_counts++] = some[i];
}

static void live_set_up(struct crew *mine)
{
	unsigned int i;

	prepare(mine->peer);
	for (i = 0; i < mine->producers; i++)
		works[i].patient = true;
}

static bool live_done(struct crew *mine)
{
	unsigned long accepted = 0, rejected = 0;
	uint64_t begin = ~(uint64_t)0, end = 0;
	unsigned int i;

	for (i = 0; i < mine->producers; i++) {
		accepted += works[i].accepted;
		rejected += works[i].rejected;
		begin = works[i].start < begin ? works[i].start : begin;
		end = works[i].end > end ? works[i].end : end;
	}
	/* What was accepted was taken, or (a log) the reader was told to flush for it. */
	mine->values[0] = (double)accepted * 1e3 / (double)(end - begin);
	mine->values[1] = 100 * (double)rejected / (double)(accepted + rejected);
	return true;
}

/* Disturbed or not, nothing may be lost. */
static void live_consume(void *q, struct work *work)
{
	unsigned long accepted = 0, sum = 0;
	unsigned int i;

	crew->peer->consume(q, work);
	/* Every producer has ended. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	crew->peer->drain(q, &work->in);
	for (i = 0; i < crew->producers; i++) {
		accepted += works[i].accepted;
		sum += works[i].sum;
	}
	check(crew->peer, "live", accepted, sum, &work->in);
}

static bool live_once(const struct peer *peer, unsigned int producers, double *values)
{
	struct crew mine = {
		.peer = peer,
		.n = producers + 1,
		.producers = producers,
		.window = opt.quick ? 3e5 : 1e6,
		.set_up = live_set_up,
		.done = live_done,
		.values = values,
	};

	if (peer->kind == PEER_SINGLE)
		return false;
	return crew_run(&mine, peer->produce, live_consume);
}

static double best_live(unsigned int count)
{
	double best = 0;
	size_t i;

	for (i = SPIN_FIRST; i < PEERS; i++)
		if (median(i, count, 0) > best)
			best = median(i, count, 0);
	return best;
}

static void live_ratios(void)
{
	unsigned int c;

	for (c = 0; c < nr_counts; c++) {
		double mine = median(QUEUE, c, 0), best = best_live(c);

		/* Time with one producer, throughput with many. */
		if (counts[c] == 1)
			ratio("live1_vs_best_peer", best / mine);
		else if (counts[c] == 8)
			ratio("live8_vs_best_peer", mine / best);
		else if (counts[c] == 15)
			ratio("live15_vs_best_peer", mine / best);
	}
}

/* Storm. */

static const char *const storm_values[] = { "ns", NULL };

static void storm_counts(void)
{
	unsigned int n;

	for (n = 1; n <= bench_cpus() && n < MOST_THREADS; n *= 2)
		counts[nr_counts++] = n;
}

/* Each puts until there is no room for any. */
static void storm_set_up(struct crew *mine)
{
	unsigned int i;

	prepare(mine->peer);
	for (i = 0; i < mine->n; i++)
		mine->peer->produce(queue, &works[i]);
}

static bool storm_done(struct crew *mine)
{
	double ns = 0;
	unsigned int i;

	for (i = 0; i < mine->n; i++)
		ns += (double)(works[i].end - works[i].start) /
		      (double)(works[i].accepted + works[i].rejected);
	mine->values[0] = ns / mine->n;
	return true;
}

static bool storm_once(const struct peer *peer, unsigned int threads, double *values)
{
	struct crew mine = {
		.peer = peer,
		.n = threads,
		.producers = threads,
		.window = opt.quick ? 2e5 : 1e6,
		.set_up = storm_set_up,
		.done = storm_done,
		.values = values,
	};

	if (peer->kind == PEER_SINGLE)
		return false;
	return crew_run(&mine, peer->produce, NULL);
}

static void storm_ratios(void)
{
	if (nr_counts < 2)
		return;
	/*
	 * The best is a lock that does not queue: whoever has it keeps it for many puts. Kernels have
	 * fair ones.
	 */
	ratio("storm_vs_spinlock", median(QUEUE, 1, 0) / best_spinlock(1));
	/* What the loop itself takes. */
	ratio("storm_limit_vs_spinlock", median(NOTHING, 1, 0) / best_spinlock(1));
	ratio("storm_vs_spinlock_ticket", median(QUEUE, 1, 0) / median_of("spin_ticket_16", 1, 0));
	ratio("storm2_vs_1", median(QUEUE, 1, 0) / median(QUEUE, 0, 0));
}

/*
 * Stopped. A producer is stopped for a tenth of the time: within each cycle once, short enough that
 * a cycle without a switch is to be had on a busy machine. No thread is needed for that one: the
 * consumer makes the first half of its call, between two of its own, and a timer's signal makes the
 * second, even where the consumer waits for it by then.
 */
#define STOPPED_CYCLE_NS 2e6
#define STOPPED_NS 200000

enum { PUT, TAKE, AGE, KINDS = 3 };

/* Undisturbed, then disturbed; in each put, take, age. */
static const char *const stopped_values[] = { "put_p50",
					      "put_p99",
					      "put_p999",
					      "take_p50",
					      "take_p99",
					      "take_p999",
					      "age_p50",
					      "age_p99",
					      "age_p999",
					      "stopped_put_p50",
					      "stopped_put_p99",
					      "stopped_put_p999",
					      "stopped_take_p50",
					      "stopped_take_p99",
					      "stopped_take_p999",
					      "stopped_age_p50",
					      "stopped_age_p99",
					      "stopped_age_p999",
					      NULL };

static void stopped_counts(void)
{
	unsigned int n = bench_cpus();

	counts[nr_counts++] = n <= 2 ? 1 : n <= 4 ? n - 1 : 4;
}

static double histogram_percentile(const struct histogram *h, double p)
{
	uint64_t left = (uint64_t)(p / 100 * (double)h->n), upto = 0;
	unsigned int i, shift;

	if (h->n == 0)
		return 0;
	for (i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		upto += h->count[i];
		if (upto > left)
			break;
	}
	/* The middle of the bucket. Those from SUB to 2 * SUB are of size 1 as well. */
	shift = i < 2 * HISTOGRAM_SUB ? 0 : i / HISTOGRAM_SUB - 1;
	return ((double)((uint64_t)(i - shift * HISTOGRAM_SUB) << shift) +
		(double)(((uint64_t)1 << shift) - 1) / 2) *
	       bench_ns_per_tick();
}

static void percentiles(const struct histogram *h, double *values)
{
	values[0] = histogram_percentile(h, 50);
	values[1] = histogram_percentile(h, 99);
	values[2] = histogram_percentile(h, 99.9);
}

static struct {
	bool disturb; /* this half of the measurement stops it */
	timer_t timer;
	bool stopped;
	unsigned long accepted;
	struct histogram calls[MOST_THREADS], ages; /* of one attempt */
	struct histogram total[KINDS];
	unsigned int wanted; /* cycles */
} stopped;

static void stopped_goes_on(int signal)
{
	(void)signal;
	if (!__atomic_load_n(&stopped.stopped, __ATOMIC_RELAXED))
		return;
	stopped.accepted += crew->peer->resume(queue);
	__atomic_store_n(&stopped.stopped, false, __ATOMIC_RELAXED);
}

static void stopped_stops(struct work *work)
{
	const struct itimerspec once = { .it_value = { .tv_nsec = STOPPED_NS } };
	struct flushq_range range = flushq_range_whole(99, FLUSHQ_LEAF);

	work->event = ~(uint64_t)0;
	range.start = stamp();
	/* The signal is for both halves. */
	if (stopped.disturb && crew->peer->stop(queue, &range))
		__atomic_store_n(&stopped.stopped, true, __ATOMIC_RELAXED);
	timer_settime(stopped.timer, 0, &once, NULL);
}

static void stopped_set_up(struct crew *mine)
{
	unsigned int i;

	prepare(mine->peer);
	memset(stopped.calls, 0, sizeof(*stopped.calls) * mine->n);
	memset(&stopped.ages, 0, sizeof(stopped.ages));
	stopped.accepted = 0;
	for (i = 0; i < mine->n; i++) {
		works[i].period = ticks_of(1000);
		works[i].calls = &stopped.calls[i];
		works[i].ages = &stopped.ages;
	}
}

static void stopped_consume(void *q, struct work *work)
{
	struct sigevent to_me;

	memset(&to_me, 0, sizeof(to_me));
	to_me.sigev_notify = SIGEV_THREAD_ID;
	to_me.sigev_signo = SIGUSR1;
	to_me._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &to_me, &stopped.timer)) {
		fprintf(stderr, "queue: can't make a timer: %s\n", strerror(errno));
		exit(1);
	}
	work->event = bench_ticks() + ticks_of(STOPPED_CYCLE_NS / 2);
	work->at_event = stopped_stops;
	crew->peer->timed_consume(q, work);
	while (__atomic_load_n(&stopped.stopped, __ATOMIC_RELAXED))
		PEER_RELAX();
	timer_delete(stopped.timer);
}

static void histogram_join(struct histogram *into, const struct histogram *h)
{
	unsigned int i;

	into->n += h->n;
	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->count[i] += h->count[i];
}

static bool stopped_done(struct crew *mine)
{
	struct work *consumer = &works[mine->producers];
	unsigned long accepted = stopped.accepted;
	unsigned int i;

	consumer->in.ages = NULL;
	mine->peer->drain(queue, &consumer->in);
	for (i = 0; i < mine->producers; i++) {
		accepted += works[i].accepted;
		histogram_join(&stopped.total[PUT], &stopped.calls[i]);
	}
	/* No sums: the requests are times. */
	check(mine->peer, "stopped", accepted, consumer->in.sum, &consumer->in);
	histogram_join(&stopped.total[TAKE], &stopped.calls[mine->producers]);
	histogram_join(&stopped.total[AGE], &stopped.ages);
	return mine->good == stopped.wanted;
}

static bool stopped_half(const struct peer *peer, unsigned int producers, bool disturb,
			 double *values)
{
	struct crew mine = {
		.peer = peer,
		.n = producers + 1,
		.producers = producers,
		.window = STOPPED_CYCLE_NS,
		.set_up = stopped_set_up,
		.done = stopped_done,
	};
	unsigned int i;

	memset(&stopped, 0, sizeof(stopped));
	stopped.disturb = disturb;
	stopped.wanted = opt.quick ? 2 : 10;
	if (!crew_run(&mine, peer->timed_produce, stopped_consume))
		return false;
	for (i = 0; i < KINDS; i++)
		percentiles(&stopped.total[i], values + 3 * i);
	return true;
}

static bool stopped_once(const struct peer *peer, unsigned int producers, double *values)
{
	/* Which comes first changes, too. */
	bool first = round_number & 1;

	if (!peer->stop)
		return false;
	return stopped_half(peer, producers, first, values + (first ? 3 * KINDS : 0)) &&
	       stopped_half(peer, producers, !first, values + (first ? 0 : 3 * KINDS));
}

static void stopped_ratios(void)
{
	char name[80];
	size_t i;

	for (i = 0; i < PEERS; i++) {
		double p99 = median(i, 0, 3 * (KINDS + PUT) + 1);

		snprintf(name, sizeof(name), "stopped_%s",
			 i == QUEUE ? "producer" : peers[i]->name);
		ratio(name, p99 / median(i, 0, 3 * PUT + 1));
	}
}

static const struct scenario scenarios[] = {
	{ "alone", "One thread, 16 puts and a drain: ns per request", alone_values, alone_counts,
	  alone_once, alone_ratios },
	{ "live", "Producers against a polling consumer: million requests accepted per second",
	  live_values, live_counts, live_once, live_ratios },
	{ "storm", "A full queue that nobody drains: ns per put, of each thread", storm_values,
	  storm_counts, storm_once, storm_ratios },
	{ "stopped",
	  "A producer stopped in mid-enqueue for 0.2 ms of every 2: ns, undisturbed and so",
	  stopped_values, stopped_counts, stopped_once, stopped_ratios },
};

#define SCENARIOS (sizeof(scenarios) / sizeof(*scenarios))

/* What one scenario may take, with --quick. */
#define QUICK_NS 20000000000u

static void measure(const struct scenario *s)
{
	uint64_t end = bench_now() + QUICK_NS;
	double values[MOST_VALUES];
	unsigned int c, v;
	size_t i;

	nr_counts = 0;
	s->counts();
	memset(nr_samples, 0, sizeof(nr_samples));
	for (round_number = 0; round_number < opt.rounds; round_number++) {
		if (opt.quick && bench_now() > end) {
			fprintf(stderr, "queue: %s: %u rounds only: the machine is too busy\n",
				s->name, round_number);
			break;
		}
		for (i = 0; i < PEERS; i++)
			for (c = 0; c < nr_counts; c++) {
				size_t p = (i + round_number) % PEERS;
				unsigned int n = nr_samples[p][c];

				if (!s->once(peers[p], counts[c], values))
					continue;
				for (v = 0; s->values[v]; v++)
					sample[p][c][v][n] = values[v];
				nr_samples[p][c]++;
			}
	}
	for (i = 0; i < PEERS; i++)
		for (c = 0; c < nr_counts; c++)
			for (v = 0; s->values[v]; v++)
				result[i][c][v] = bench_spread(sample[i][c][v], nr_samples[i][c]);
}

/* Few values: with their spread. Many: the medians alone, two lines for each contender. */
static void table(const struct scenario *s)
{
	unsigned int c, v, nr = 0;
	size_t i;

	while (s->values[nr])
		nr++;
	printf("\n%s (%s)\n", s->title, s->name);
	printf("%-16s threads", "");
	if (nr <= 2)
		printf("%12s%12s%12s%12s", "median", "q1", "q3", "min");
	for (v = nr <= 2 ? 1 : 0; v < nr && v < 3 * KINDS; v++)
		printf(nr <= 2 ? "  %s" : "%10s", s->values[v]);
	putchar('\n');
	for (c = 0; c < nr_counts; c++)
		for (i = 0; i < PEERS; i++) {
			const struct bench_spread *r = result[i][c];

			printf("%-16s %7u", peers[i]->name, counts[c]);
			if (!nr_samples[i][c])
				printf("  n/a");
			else if (nr <= 2)
				printf("%12.2f%12.2f%12.2f%12.2f", r->median, r->q1, r->q3, r->min);
			if (nr == 2 && nr_samples[i][c])
				printf("%12.1f", r[1].median);
			for (v = 0; nr > 2 && v < nr && nr_samples[i][c]; v++)
				printf("%s%10.0f",
				       v == 3 * KINDS ? "\n         stopped        " : "",
				       r[v].median);
			putchar('\n');
		}
}

static void csv(const struct scenario *s)
{
	unsigned int c, v;
	char path[4096];
	FILE *out;
	size_t i;

	snprintf(path, sizeof(path), "%s/%s.csv", opt.csv, s->name);
	out = fopen(path, "w");
	if (!out) {
		fprintf(stderr, "queue: can't write %s: %s\n", path, strerror(errno));
		exit(1);
	}
	fprintf(out, "contender,threads");
	for (v = 0; s->values[v]; v++)
		fprintf(out, ",%s,%s_q1,%s_q3", s->values[v], s->values[v], s->values[v]);
	fputc('\n', out);
	for (i = 0; i < PEERS; i++)
		for (c = 0; c < nr_counts; c++) {
			if (!nr_samples[i][c])
				continue;
			fprintf(out, "%s,%u", peers[i]->name, counts[c]);
			for (v = 0; s->values[v]; v++)
				fprintf(out, ",%.3f,%.3f,%.3f", result[i][c][v].median,
					result[i][c][v].q1, result[i][c][v].q3);
			fputc('\n', out);
		}
	if (fclose(out)) {
		fprintf(stderr, "queue: can't write %s: %s\n", path, strerror(errno));
		exit(1);
	}
}

static unsigned long number(struct argp_state *state, const char *name, const char *arg,
			    unsigned long low, unsigned long high)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(arg, &end, 10);
	if (errno || *end || end == arg || *arg == '-' || n < low || n > high)
		argp_error(state, "--%s takes a number from %lu to %lu, not '%s'", name, low, high,
			   arg);
	return n;
}

static bool known(const char *name)
{
	size_t i;

	for (i = 0; i < SCENARIOS; i++)
		if (strcmp(scenarios[i].name, name) == 0)
			return true;
	return false;
}

static const struct argp_option options[] = {
	{ "rounds", 'n', "N", 0, "rounds, 1 to 255 (31; with --quick 15)", 0 },
	{ "quick", 'q', NULL, 0, "short rounds", 0 },
	{ "scenario", 's', "NAME", 0, "only this: alone, live, storm or stopped", 0 },
	{ "raw", 'r', NULL, 0, "nothing but the lines 'ratio NAME=VALUE'", 0 },
	{ "csv", 'c', "FOLDER", 0, "write a CSV file for each scenario there", 0 },
	{ "irq-ns", 'i', "N", 0,
	  "what turning interrupts off and on costs, for the ratio to a spinlock that does (x86-64: "
	  "what saving and restoring the flags takes)",
	  0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static bool rounds_given;
	struct stat st;

	switch (key) {
	case 'n':
		opt.rounds = number(state, "rounds", arg, 1, MOST_ROUNDS);
		rounds_given = true;
		break;
	case 'q':
		opt.quick = true;
		break;
	case 's':
		if (!known(arg))
			argp_error(state,
				   "no scenario '%s'; there are alone, live, storm and stopped",
				   arg);
		opt.scenario = arg;
		break;
	case 'r':
		opt.raw = true;
		break;
	case 'c':
		if (stat(arg, &st) || !S_ISDIR(st.st_mode))
			argp_error(state, "--csv takes a folder that exists, not '%s'", arg);
		opt.csv = arg;
		break;
	case 'i':
		opt.irq_ns = number(state, "irq-ns", arg, 0, 1000000);
		break;
	case ARGP_KEY_END:
		if (opt.quick && !rounds_given)
			opt.rounds = 15;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.doc = "Measures flushq's queue and log beside other queues.",
	};
	size_t i;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, ARGP_NO_ARGS, NULL, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < PEERS; i++)
		if (peers[i]->size > queue_size)
			queue_size = peers[i]->size;
	queue_size = (queue_size + 4095) & ~(size_t)4095;
	queue = aligned_alloc(4096, queue_size);
	if (!queue) {
		fprintf(stderr, "queue: no memory\n");
		return 1;
	}
	bench_ns_per_tick();
	signal(SIGUSR1, stopped_goes_on);
	if (!opt.raw) {
		bench_machine(stdout);
		printf("rounds: %lu\n", opt.rounds);
	}
	for (i = 0; i < SCENARIOS; i++) {
		if (opt.scenario && strcmp(opt.scenario, scenarios[i].name) != 0)
			continue;
		measure(&scenarios[i]);
		if (!opt.raw)
			table(&scenarios[i]);
		if (opt.csv)
			csv(&scenarios[i]);
		scenarios[i].ratios();
	}
	return failed;
}
