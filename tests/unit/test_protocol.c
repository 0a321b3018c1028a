/* SPDX-License-Identifier: MIT */
/*
 * The contract (S1), checked against TLBs that never evict: random calls, and with steps each call
 * may stop at any operation while other CPUs go on, several deep. Memory is sequentially consistent
 * here: what weaker orders break is for the models.
 */
#include "fake_host.h"

#include <string.h>

#define CPUS 4
#define ASIDS 3
#define PAGES 12
#define NONE (-1)

static flushq_atomic_ulong set[ASIDS][FAKE_WORDS];

/* Page tables: what each page and each upper level says now, and what a shootdown that has returned
 * made certain. ASIDS stands for the kernel's mappings. */
static int table[ASIDS + 1][PAGES], sure[ASIDS + 1][PAGES];
static int upper[ASIDS], upper_sure[ASIDS];
/* What each CPU has cached of it. */
static int tlb[CPUS][ASIDS + 1][PAGES], tlb_upper[CPUS][ASIDS];

static int reg[CPUS]; /* the page-table register: an ASID or NONE */
static bool busy[CPUS]; /* inside a call */
static bool lazy_now[CPUS], online_now[CPUS];
static unsigned int depth;
static bool host_joins; /* the host adds the CPU to the set */

/* Low calls whose interrupts are not all handled. */
static struct post {
	struct flushq_range range;
	unsigned long waits;
	int version[PAGES], version_upper;
} post[64];
static unsigned int nr_posts;

static unsigned int uses;

static bool in_range(const struct flushq_range *range, unsigned int page)
{
	return range->pages == 0 || (page >= range->start >> FLUSHQ_PAGE_SHIFT &&
				     page < (range->start >> FLUSHQ_PAGE_SHIFT) +
						     ((unsigned long)range->pages
						      << (range->shift - FLUSHQ_PAGE_SHIFT)));
}

static void flush_tlb(const struct flushq_range *range)
{
	unsigned int cpu = fake.self, a, p;

	for (a = 0; a <= ASIDS; a++) {
		/* A precise flush of an ASID leaves the kernel's mappings. */
		if (range->kind != FLUSHQ_GLOBAL && a != range->asid)
			continue;
		for (p = 0; p < PAGES; p++)
			if (in_range(range, p))
				tlb[cpu][a][p] = NONE;
		if (a < ASIDS && (range->pages == 0 || range->kind == FLUSHQ_TABLES))
			tlb_upper[cpu][a] = NONE;
	}
}

/* The hardware may cache what is in the register at any moment. */
static void walk(unsigned int cpu)
{
	unsigned int p = check_below(PAGES);
	int asid = reg[cpu];

	if (!online_now[cpu])
		return;
	if (tlb[cpu][ASIDS][p] == NONE)
		tlb[cpu][ASIDS][p] = table[ASIDS][p];
	if (asid == NONE)
		return;
	if (tlb_upper[cpu][asid] == NONE)
		tlb_upper[cpu][asid] = upper[asid];
	if (tlb[cpu][asid][p] == NONE)
		tlb[cpu][asid][p] = table[asid][p];
}

/* Nothing of what this CPU may use is older than what is certain. */
static void look(unsigned int cpu)
{
	unsigned int p;
	int asid = reg[cpu];

	if (!online_now[cpu])
		return;
	/* The hardware walks lazy ones too, and whatever the CPU is in the middle of. */
	if (asid != NONE)
		CHECK(tlb_upper[cpu][asid] == NONE || tlb_upper[cpu][asid] >= upper_sure[asid]);
	if (busy[cpu] || fake.irqs_off[cpu])
		return;
	uses++;
	for (p = 0; p < PAGES; p++)
		CHECK(tlb[cpu][ASIDS][p] == NONE || tlb[cpu][ASIDS][p] >= sure[ASIDS][p]);
	if (asid == NONE || lazy_now[cpu])
		return;
	for (p = 0; p < PAGES; p++)
		CHECK(tlb[cpu][asid][p] == NONE || tlb[cpu][asid][p] >= sure[asid][p]);
}

static void settle(const struct post *done)
{
	unsigned int a = done->range.kind == FLUSHQ_GLOBAL ? ASIDS : done->range.asid, p;

	for (p = 0; p < PAGES; p++)
		if (in_range(&done->range, p) && sure[a][p] < done->version[p])
			sure[a][p] = done->version[p];
	if (done->range.kind == FLUSHQ_TABLES && upper_sure[a] < done->version_upper)
		upper_sure[a] = done->version_upper;
}

/* The interrupt of a low call, on a CPU that can take it. */
static void interrupt(unsigned int cpu)
{
	unsigned int i, j;

	if (fake.irqs_off[cpu])
		return;
	for (i = 0; i < nr_posts; i++)
		if (post[i].waits >> cpu & 1)
			break;
	if (i == nr_posts)
		return;
	/* What is posted while it drains waits for the next one. */
	{
		unsigned int before = nr_posts;
		bool was = busy[cpu];

		depth++;
		busy[cpu] = true;
		fake_drain(cpu);
		busy[cpu] = was;
		depth--;
		for (i = 0; i < before; i++)
			post[i].waits &= ~(1ul << cpu);
	}
	if (depth)
		return;
	for (i = j = 0; i < nr_posts; i++) {
		if (post[i].waits)
			post[j++] = post[i];
		else
			settle(&post[i]);
	}
	nr_posts = j;
}

static struct post change(void)
{
	unsigned int a = check_below(ASIDS), first = check_below(PAGES), n = 1 + check_below(3), p;
	enum flushq_kind kind = check_below(8)	      ? FLUSHQ_LEAF
				: check_below(3) == 0 ? FLUSHQ_GLOBAL
						      : FLUSHQ_TABLES;
	unsigned long size = (unsigned long)n << FLUSHQ_PAGE_SHIFT;
	struct post made;

	if (check_below(10) == 0)
		size = 0;
	made.range = flushq_range_make(a, (unsigned long)first << FLUSHQ_PAGE_SHIFT, size,
				       1ul << FLUSHQ_PAGE_SHIFT, kind);
	if (kind == FLUSHQ_GLOBAL)
		a = ASIDS;
	for (p = 0; p < PAGES; p++) {
		if (in_range(&made.range, p))
			table[a][p]++;
		made.version[p] = table[a][p];
	}
	made.version_upper = 0;
	if (kind == FLUSHQ_TABLES)
		made.version_upper = ++upper[a];
	made.waits = 0;
	return made;
}

static void act(unsigned int cpu)
{
	int asid = (int)check_below(ASIDS);
	struct post made;
	unsigned long mask[FAKE_WORDS];
	unsigned int i;
	bool off = false;

	fake.self = cpu;
	busy[cpu] = true;
	if (!online_now[cpu]) {
		fake.irqs_off[cpu]++;
		flushq_online(&fake.fq, cpu);
		fake.irqs_off[cpu]--;
		online_now[cpu] = true;
	}
	switch (check_below(10)) {
	case 0:
	case 1:
	case 2:
		fake.irqs_off[cpu]++;
		if (host_joins)
			flushq_cpuset_add(set[asid], cpu);
		flushq_switch_to(&fake.fq, cpu, (flushq_asid)asid, host_joins ? NULL : set[asid]);
		reg[cpu] = asid;
		lazy_now[cpu] = false;
		walk(cpu);
		flushq_switched(&fake.fq, cpu);
		fake.irqs_off[cpu]--;
		break;
	case 3:
		fake.irqs_off[cpu]++;
		reg[cpu] = NONE;
		lazy_now[cpu] = false;
		flushq_park(&fake.fq, cpu);
		if (check_below(4) == 0) {
			online_now[cpu] = false;
			flushq_offline(&fake.fq, cpu);
		}
		fake.irqs_off[cpu]--;
		break;
	case 4:
		fake.irqs_off[cpu]++;
		lazy_now[cpu] = reg[cpu] != NONE;
		flushq_enter_lazy(&fake.fq, cpu);
		fake.irqs_off[cpu]--;
		break;
	case 5:
		fake.irqs_off[cpu]++;
		flushq_leave_lazy(&fake.fq, cpu);
		lazy_now[cpu] = false;
		fake.irqs_off[cpu]--;
		break;
	case 6:
		if (check_below(2))
			flushq_drain(&fake.fq, cpu);
		else
			flushq_tick(&fake.fq, cpu);
		break;
	case 7:
	case 8:
		/* A wait ends only if nobody that is stopped below has interrupts off, or has rung a
		 * bell and not interrupted yet. */
		for (i = 0; i < CPUS; i++)
			off |= fake.irqs_off[i] != 0 ||
			       (fake.cpu[i].bell && !(fake.pending[0] >> i & 1));
		if (!off) {
			made = change();
			flushq_shootdown(&fake.fq, cpu,
					 made.range.kind == FLUSHQ_GLOBAL ? NULL
									  : set[made.range.asid],
					 &made.range);
			settle(&made);
			break;
		}
		/* fall through */
	default:
		if (nr_posts == 64)
			break;
		made = change();
		memset(mask, 0, sizeof(mask));
		flushq_post(&fake.fq, cpu,
			    made.range.kind == FLUSHQ_GLOBAL ? NULL : set[made.range.asid],
			    &made.range, mask);
		made.waits = mask[0];
		if (nr_posts == 64)
			break; /* never certain */
		post[nr_posts++] = made;
		break;
	}
	busy[cpu] = false;
	fake.nr_flushes = 0;
	fake.nr_relaxed = 0;
}

#ifdef CHECK_STEPS
static unsigned int rarity, deep_actions;

static void meanwhile(enum step_kind kind, const volatile void *where)
{
	unsigned int self = fake.self, cpu, n;

	(void)kind;
	(void)where;
	if (check_below(rarity))
		return;
	cpu = check_below(CPUS);
	walk(cpu);
	look(cpu);
	if (depth >= CPUS - 1)
		return;
	cpu = check_below(CPUS);
	/* Interrupts off: in the handler. */
	if (busy[cpu] || fake.irqs_off[cpu])
		return;
	depth++;
	/* Now and then enough to fill a queue. */
	n = check_below(4 + FLUSHQ_QUEUE_SLOTS) ? 1 : 1 + check_below(3 * FLUSHQ_QUEUE_SLOTS);
	for (; n && !busy[cpu]; n--)
		act(cpu);
	depth--;
	deep_actions++;
	fake.self = self;
	look(cpu);
}
#endif

static void run(unsigned int actions)
{
	unsigned int i, cpu;

	fake_reset(CPUS);
	flushq_limit_resident(&fake.fq, 1 + check_below(ASIDS));
	memset(set, 0, sizeof(set));
	memset(table, 0, sizeof(table));
	memset(sure, 0, sizeof(sure));
	memset(upper, 0, sizeof(upper));
	memset(upper_sure, 0, sizeof(upper_sure));
	memset(tlb, 0xff, sizeof(tlb));
	memset(tlb_upper, 0xff, sizeof(tlb_upper));
	memset(busy, 0, sizeof(busy));
	memset(lazy_now, 0, sizeof(lazy_now));
	memset(online_now, 0, sizeof(online_now));
	memset(reg, 0xff, sizeof(reg));
	nr_posts = depth = 0;
	fake.on_flush = flush_tlb;
	for (i = 0; i < actions; i++) {
		cpu = check_below(CPUS);
#ifdef CHECK_STEPS
		steps.hook = rarity ? meanwhile : NULL;
#endif
		act(cpu);
#ifdef CHECK_STEPS
		steps.hook = NULL;
#endif
		for (cpu = 0; cpu < CPUS; cpu++) {
			look(cpu);
			walk(cpu);
			if (check_below(3) == 0)
				interrupt(cpu);
			look(cpu);
		}
	}
	CHECK(fake.nr_rules_broken == 0);
}

TEST(protocol, random_calls)
{
	unsigned int round;

	host_joins = false;
	for (round = 0; round < 60; round++)
		run(1500);
	CHECK(uses > 1000);
}

#ifdef CHECK_STEPS
static void interleave(void)
{
	unsigned int round;

	for (round = 0; round < 100 + 300 / FLUSHQ_QUEUE_SLOTS; round++) {
		rarity = 4u << check_below(5);
		run(80);
	}
	CHECK(deep_actions > 1000);
}

TEST(protocol, random_calls_that_interleave)
{
	host_joins = false;
	interleave();
}

TEST(protocol, random_calls_that_interleave_where_the_host_joins)
{
	host_joins = true;
	interleave();
}
#endif
