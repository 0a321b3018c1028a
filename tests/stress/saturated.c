/* SPDX-License-Identifier: MIT */
/*
 * saturated - a CPU that never switches while its queue overflows a million times pays one
 * flush of everything, is never interrupted, and costs the initiator no write once it is marked.
 */
#include <stdbool.h>

#include <flushq/flushq.h>
#include "options.h"

enum { INITIATOR, TARGET, NR_CPUS };

#define ASIDS 5

static struct {
	unsigned long count;
} opt = { 1000000 };

static struct flushq fq;
static struct flushq_cpu cpus[NR_CPUS];
static flushq_atomic_ulong set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
static unsigned long writes, fences, loads, interrupts;
static bool flushed[ASIDS + 1];
static int failures;

void test_step(unsigned int kind, const volatile void *p)
{
	bool target = (const volatile char *)p >= (const volatile char *)&cpus[TARGET] &&
		      (const volatile char *)p < (const volatile char *)(&cpus[TARGET] + 1);

	fences += kind == STEP_FENCE;
	loads += target && kind == STEP_LOAD;
	writes += target && (kind == STEP_STORE || kind == STEP_RMW);
}

void flushq_host_flush(const struct flushq_range *range)
{
	unsigned int i;

	for (i = 0; i <= ASIDS; i++)
		flushed[i] |= range->kind == FLUSHQ_GLOBAL || range->asid == i;
}

unsigned long flushq_host_irq_save(void)
{
	return 0;
}

void flushq_host_irq_restore(unsigned long flags)
{
	(void)flags;
}

bool flushq_host_irqs_off(void)
{
	return true;
}

void flushq_host_relax(void)
{
}

void flushq_host_interrupt(const unsigned long *which, unsigned int words)
{
	(void)which;
	(void)words;
	interrupts++;
}

static void is(const char *what, unsigned long is, unsigned long expected)
{
	if (is == expected)
		return;
	fprintf(stderr, "saturated: %s: %lu, expected %lu\n", what, is, expected);
	failures++;
}

static void at_most(const char *what, unsigned long is, unsigned long most)
{
	if (is <= most)
		return;
	fprintf(stderr, "saturated: %s: %lu, expected at most %lu\n", what, is, most);
	failures++;
}

/* `count` shootdowns of `asids` ASIDs while the target runs another one, or none; then it switches.
 */
static void runs(flushq_asid asid)
{
	flushq_switch_to(&fq, TARGET, asid, set);
	flushq_switched(&fq, TARGET);
}

static void run(bool running, unsigned int asids)
{
	unsigned long all, of_asids, drains, marked_writes = 0, marked_loads = 0, i;
	unsigned long marked = 0, marked_fences = 0;

	memset(cpus, 0, sizeof(cpus));
	memset(set, 0, sizeof(set));
	memset(flushed, 0, sizeof(flushed));
	flushq_init(&fq, cpus, NR_CPUS);
	flushq_online(&fq, INITIATOR);
	flushq_online(&fq, TARGET);
	for (i = 0; i < asids; i++)
		runs(1 + (flushq_asid)i);
	if (running)
		runs(0);
	else
		flushq_park(&fq, TARGET);
	all = flushq_count(&fq, TARGET, FLUSHQ_FLUSHED_ALL);
	of_asids = flushq_count(&fq, TARGET, FLUSHQ_FLUSHED_ASIDS);
	drains = flushq_count(&fq, TARGET, FLUSHQ_DRAINS);
	interrupts = 0;
	memset(flushed, 0, sizeof(flushed));

	for (i = 0; i < opt.count + FLUSHQ_QUEUE_SLOTS; i++) {
		struct flushq_range range =
			flushq_range_make(1 + (flushq_asid)(i % asids),
					  (i * 3 % 1000) << FLUSHQ_PAGE_SHIFT, 1, 0, FLUSHQ_LEAF);
		unsigned long covered = flushq_count(&fq, INITIATOR, FLUSHQ_COVERED);

		writes = fences = loads = 0;
		flushq_shootdown(&fq, INITIATOR, set, &range);
		if (flushq_count(&fq, INITIATOR, FLUSHQ_COVERED) != covered) {
			marked++;
			marked_writes += writes;
			marked_loads += loads;
			marked_fences = fences > marked_fences ? fences : marked_fences;
		}
	}
	is("interrupts", interrupts, 0);
	is("FLUSHQ_IPI_SENT", flushq_count(&fq, INITIATOR, FLUSHQ_IPI_SENT), 0);
	is("FLUSHQ_OVERFLOWS and FLUSHQ_COVERED",
	   flushq_count(&fq, INITIATOR, FLUSHQ_OVERFLOWS) +
		   flushq_count(&fq, INITIATOR, FLUSHQ_COVERED),
	   opt.count);
	/* The mark's join adds bits of ASIDs: each write adds one at least. */
	at_most("FLUSHQ_OVERFLOWS", flushq_count(&fq, INITIATOR, FLUSHQ_OVERFLOWS),
		asids > 1 ? 17 : 1);
	is("writes to the marked target", marked_writes, 0);
	printf("%s, %u ASIDs: %lu shootdowns found it marked: no write, %.2f loads each of its "
	       "memory, at most %lu fences\n",
	       running ? "running another" : "parked", asids, marked,
	       marked ? (double)marked_loads / (double)marked : 0.0, marked_fences);
	is("drains meanwhile", flushq_count(&fq, TARGET, FLUSHQ_DRAINS), drains);

	runs(1);
	is("drains at the switch", flushq_count(&fq, TARGET, FLUSHQ_DRAINS) - drains, 1);
	all = flushq_count(&fq, TARGET, FLUSHQ_FLUSHED_ALL) - all;
	of_asids = flushq_count(&fq, TARGET, FLUSHQ_FLUSHED_ASIDS) - of_asids;
	is("FLUSHQ_FLUSHED_ALL at the switch", all, asids > 1);
	is("FLUSHQ_FLUSHED_ASIDS at the switch", of_asids, asids == 1);
	for (i = 1; i <= asids; i++)
		is("the ASID was flushed", flushed[i], true);
	runs(2);
	is("drains at the next switch", flushq_count(&fq, TARGET, FLUSHQ_DRAINS) - drains, 1);
}

static const struct option_row options[] = {
	{ "count", 'n', "N", "overflows (1000000)", &opt.count, 1, 1000000000, NULL },
	{ 0 },
};

int main(int argc, char **argv)
{
	options_parse(argc, argv, "Overflow costs no interrupt.", options);
	watchdog(120);
	run(false, ASIDS);
	run(true, ASIDS);
	run(false, 1);
	run(true, 1);
	printf("%s\n", failures ? "FAIL" : "ok");
	return failures ? 1 : 0;
}
