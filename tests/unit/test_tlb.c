/* SPDX-License-Identifier: MIT */
/*
 * One CPU and a model of its TLB that never evicts, fills at any moment, and is flushed only as far
 * as asked. Address spaces outnumber the table, die, and get each other's ASIDs. Nothing is used
 * that an initiator may hold for gone; the sets say what the CPU holds.
 */
#include "fake_host.h"

#include <string.h>

#define MMS (FLUSHQ_RESIDENT + 3)
#define ASIDS (2 * MMS)
#define PAGES 10
#define NONE (-1)
#define SELF 0u
#define OTHER 1u

static struct mm {
	flushq_asid asid;
	flushq_atomic_ulong set[FAKE_WORDS];
	bool hosts; /* the host keeps the set, and its ASID */
	bool maybe; /* may be in the register */
	bool holds; /* switched to, and no flush of it all since that could stay one */
	/* What the page table says, and what a shootdown has made certain. */
	unsigned int page[PAGES], sure[PAGES], upper, upper_sure;
} mms[MMS];

static unsigned int kernel[PAGES], kernel_sure[PAGES], version;

static struct entry {
	int mm;
	unsigned int version;
} tlb[ASIDS][PAGES], tlb_upper[ASIDS];
static unsigned int tlb_kernel[PAGES]; /* 0: none */

static int reg;
static bool is_lazy, is_online;
static bool apart; /* an NMI in an owner's call flushes, and must leave the table alone */
static bool one_asid_each, forgets, strayed;
static unsigned int rarity, uses, stale_seen, left, reborn;

/* Changes whose interrupt has not been handled. */
static struct change {
	unsigned int mm, version;
	struct flushq_range range;
} pending[64];
static unsigned int nr_pending;

static bool in_range(const struct flushq_range *range, unsigned int page)
{
	return range->pages == 0 || (page >= range->start >> FLUSHQ_PAGE_SHIFT &&
				     page < (range->start >> FLUSHQ_PAGE_SHIFT) + range->pages);
}

/* As the table has it: an NMI may come before flushq_park() has written it down. */
static bool is_loaded(const struct mm *mm)
{
	const struct flushq_resident *res = &fake.cpu[SELF].resident;
	unsigned int at = flushq_resident_find(res, mm->asid, mm->hosts ? NULL : mm->set);

	return at != FLUSHQ_NOWHERE && res->loaded >> at & 1;
}

static void flush_tlb(const struct flushq_range *range)
{
	unsigned int a, p, m;

	if (fake.self != SELF)
		return;
	for (p = 0; p < PAGES; p++)
		if (range->kind == FLUSHQ_GLOBAL && in_range(range, p))
			tlb_kernel[p] = 0;
	for (a = 0; a < ASIDS; a++) {
		if (range->kind != FLUSHQ_GLOBAL && a != range->asid)
			continue;
		for (p = 0; p < PAGES; p++)
			if (in_range(range, p))
				tlb[a][p].mm = NONE;
		if (range->pages == 0 || range->kind == FLUSHQ_TABLES)
			tlb_upper[a].mm = NONE;
	}
	if (range->pages || apart)
		return;
	for (m = 0; m < MMS; m++)
		if ((range->kind == FLUSHQ_GLOBAL || mms[m].asid == range->asid) && !mms[m].maybe &&
		    !is_loaded(&mms[m]))
			mms[m].holds = false;
}

/* The hardware caches something of what is in the register. */
static void walk(void)
{
	unsigned int p = check_below(PAGES);
	struct mm *mm;

	if (!is_online)
		return;
	if (tlb_kernel[p] == 0)
		tlb_kernel[p] = kernel[p];
	if (reg == NONE)
		return;
	mm = &mms[reg];
	if (tlb_upper[mm->asid].mm == NONE) {
		tlb_upper[mm->asid].mm = reg;
		tlb_upper[mm->asid].version = mm->upper;
	}
	if (tlb[mm->asid][p].mm == NONE) {
		tlb[mm->asid][p].mm = reg;
		tlb[mm->asid][p].version = mm->page[p];
	}
}

/* No table that the hardware may walk was freed. */
static void check_walk(void)
{
	const struct entry *upper;

	if (!is_online || reg == NONE)
		return;
	upper = &tlb_upper[mms[reg].asid];
	CHECK(upper->mm == NONE || upper->version >= mms[upper->mm].upper_sure);
}

static void check_use(void)
{
	const struct mm *mm;
	unsigned int a, p;

	check_walk();
	if (!is_online)
		return;
	for (p = 0; p < PAGES; p++)
		CHECK(tlb_kernel[p] == 0 || tlb_kernel[p] >= kernel_sure[p]);
	if (reg == NONE)
		return;
	mm = &mms[reg];
	CHECK(tlb_upper[mm->asid].mm == NONE || tlb_upper[mm->asid].mm == reg);
	if (is_lazy)
		return;
	uses++;
	for (p = 0; p < PAGES; p++) {
		const struct entry *e = &tlb[mm->asid][p];

		CHECK(e->mm == NONE || (e->mm == reg && e->version >= mm->sure[p]));
	}
	/* That it is not for want of stale ones. */
	for (a = 0; a < ASIDS; a++)
		for (p = 0; p < PAGES; p++)
			stale_seen += tlb[a][p].mm != NONE &&
				      tlb[a][p].version < mms[tlb[a][p].mm].sure[p];
}

static void check_sets(void)
{
	const struct flushq_resident *res = &fake.cpu[SELF].resident;
	unsigned int m, i;

	CHECK(!(res->loaded & ~res->used) && res->nr_owed <= FLUSHQ_OWED);
	for (m = 0; m < MMS; m++) {
		const struct mm *mm = &mms[m];
		bool member = flushq_cpuset_has(mm->set, SELF), older = false;
		unsigned int at = flushq_resident_find(res, mm->asid, mm->hosts ? NULL : mm->set);

		if (mm->hosts)
			continue;
		CHECK(!mm->holds || member);
		if (strayed)
			continue;
		CHECK(!mm->holds || at != FLUSHQ_NOWHERE);
		CHECK(!mm->maybe || is_loaded(mm));
		/* The set had another ASID, whose entry is left. */
		for (i = 0; i < FLUSHQ_RESIDENT; i++)
			older |= res->used >> i & 1 && res->entry[i].set == mm->set && i != at;
		CHECK(!member || mm->holds || older);
		left += !member;
	}
	/* Whatever is owed is owed to somebody. */
	for (i = 0; i < res->nr_owed; i++) {
		uint32_t of = flushq_resident_of(res, res->owed[i].asid);

		CHECK(of && !(of & res->loaded));
	}
}

static void make_certain(const struct change *change)
{
	struct mm *mm = &mms[change->mm];
	unsigned int *sure = change->range.kind == FLUSHQ_GLOBAL ? kernel_sure : mm->sure, p;

	for (p = 0; p < PAGES; p++)
		if (in_range(&change->range, p) && sure[p] < change->version)
			sure[p] = change->version;
	if (change->range.kind == FLUSHQ_TABLES && mm->upper_sure < change->version)
		mm->upper_sure = change->version;
}

static void drain(void)
{
	unsigned int before = nr_pending, i;

	fake_drain(SELF);
	for (i = 0; i < before; i++)
		make_certain(&pending[i]);
	memmove(pending, pending + before, (nr_pending - before) * sizeof(pending[0]));
	nr_pending -= before;
}

/* Somebody changes a page table and asks for the flush. */
static void change(unsigned int by)
{
	unsigned int m = check_below(MMS), first = check_below(PAGES), n = 1 + check_below(3), p;
	unsigned long size = check_below(10) ? (unsigned long)n << FLUSHQ_PAGE_SHIFT : 0;
	unsigned long mask[FAKE_WORDS];
	struct mm *mm;
	struct change made;
	enum flushq_kind kind = FLUSHQ_LEAF;

	if (nr_pending == 64)
		return;
	/* Mostly of what matters soon. */
	if (reg != NONE && check_below(3) == 0)
		m = (unsigned int)reg;
	mm = &mms[m];
	if (check_below(5) == 0)
		kind = check_below(6) ? FLUSHQ_TABLES : FLUSHQ_GLOBAL;
	made.mm = m;
	made.version = ++version;
	made.range = flushq_range_make(mm->asid, (unsigned long)first << FLUSHQ_PAGE_SHIFT, size,
				       1ul << FLUSHQ_PAGE_SHIFT, kind);
	for (p = 0; p < PAGES; p++)
		if (in_range(&made.range, p))
			(kind == FLUSHQ_GLOBAL ? kernel : mm->page)[p] = version;
	if (kind == FLUSHQ_TABLES)
		mm->upper = version;
	memset(mask, 0, sizeof(mask));
	fake_post(by, mm->set, &made.range, mask);
	if (mask[0] >> SELF & 1)
		pending[nr_pending++] = made;
	else
		make_certain(&made);
}

#ifdef CHECK_STEPS
static bool in_hook;

static void meanwhile(enum step_kind kind, const volatile void *where)
{
	(void)kind;
	(void)where;
	if (in_hook || fake.self != SELF || check_below(rarity))
		return;
	in_hook = true;
	walk();
	/* An NMI that shoots down, or drains; or somebody else. */
	switch (check_below(8)) {
	case 0:
		apart = fake.cpu[SELF].busy;
		change(SELF);
		apart = false;
		break;
	case 1:
		apart = fake.cpu[SELF].busy;
		flushq_drain(&fake.fq, SELF);
		apart = false;
		break;
	default:
		change(OTHER);
		break;
	}
	walk();
	check_walk();
	in_hook = false;
}
#endif

static void loaded_is_only(int m)
{
	unsigned int i;

	for (i = 0; i < MMS; i++)
		mms[i].maybe = (int)i == m;
}

static void to(unsigned int m)
{
	struct mm *mm = &mms[m];

	mm->maybe = true;
	if (mm->hosts)
		flushq_cpuset_add(mm->set, SELF);
	flushq_switch_to(&fake.fq, SELF, mm->asid, mm->hosts ? NULL : mm->set);
	mm->holds = true;
	strayed |= fake.cpu[SELF].stray;
}

static void do_switch(void)
{
	unsigned int m = check_below(MMS), n = 0;

	/* More often than not one of few. */
	if (check_below(3))
		m = check_below(4);
	if (check_below(8) == 0)
		n = forgets ? check_below(FLUSHQ_RESIDENT + 2) : 1;
	fake.irqs_off[SELF]++;
	for (; n; n--)
		to(check_below(MMS));
	to(m);
	walk();
	check_walk();
	change(OTHER);
	reg = (int)m;
	walk();
	walk();
	change(OTHER);
	check_walk();
	if (!forgets || check_below(4)) {
		loaded_is_only(reg);
		flushq_switched(&fake.fq, SELF);
	}
	is_lazy = false;
	fake.irqs_off[SELF]--;
}

/* An address space dies, and another is made in its place. */
static void rebirth(void)
{
	unsigned int m = check_below(MMS), i, p;
	flushq_asid asid = mms[m].asid;
	bool taken = true;

	if (mms[m].maybe || mms[m].hosts)
		return;
	while (check_below(3) && taken) {
		asid = check_below(ASIDS);
		for (taken = false, i = 0; i < MMS; i++)
			taken |= mms[i].asid == asid && (one_asid_each || mms[i].hosts) && i != m;
	}
	if (!taken)
		mms[m].asid = asid;
	memset(mms[m].set, 0, sizeof(mms[m].set));
	mms[m].holds = false;
	for (p = 0; p < PAGES; p++)
		mms[m].page[p] = mms[m].sure[p] = ++version;
	mms[m].upper = mms[m].upper_sure = ++version;
	reborn++;
}

static void act(void)
{
	unsigned int n;

	fake.self = SELF;
	if (!is_online) {
		if (check_below(3)) {
			change(OTHER);
			return;
		}
		fake.irqs_off[SELF]++;
		flushq_online(&fake.fq, SELF);
		fake.irqs_off[SELF]--;
		is_online = true;
		return;
	}
	switch (check_below(16)) {
	case 0:
		fake.irqs_off[SELF]++;
		reg = NONE;
		is_lazy = false;
		loaded_is_only(NONE);
		flushq_park(&fake.fq, SELF);
		if (check_below(4) == 0) {
			is_online = false;
			flushq_offline(&fake.fq, SELF);
		}
		fake.irqs_off[SELF]--;
		break;
	case 1:
		is_lazy = reg != NONE;
		fake.irqs_off[SELF]++;
		flushq_enter_lazy(&fake.fq, SELF);
		fake.irqs_off[SELF]--;
		break;
	case 2:
		fake.irqs_off[SELF]++;
		flushq_leave_lazy(&fake.fq, SELF);
		fake.irqs_off[SELF]--;
		is_lazy = false;
		break;
	case 3:
		drain();
		break;
	case 4:
		flushq_tick(&fake.fq, SELF);
		break;
	case 5:
		rebirth();
		break;
	case 6:
		change(SELF);
		break;
	case 7:
		for (n = check_below(3 * FLUSHQ_QUEUE_SLOTS); n; n--)
			change(OTHER);
		break;
	case 8:
	case 9:
	case 10:
		change(OTHER);
		break;
	default:
		do_switch();
		break;
	}
}

static void begin_run(void)
{
	unsigned int m, p;

	fake_reset(2);
	memset(mms, 0, sizeof(mms));
	memset(tlb, 0xff, sizeof(tlb));
	memset(tlb_upper, 0xff, sizeof(tlb_upper));
	memset(tlb_kernel, 0, sizeof(tlb_kernel));
	memset(kernel_sure, 0, sizeof(kernel_sure));
	version = 1;
	for (p = 0; p < PAGES; p++)
		kernel[p] = version;
	reg = NONE;
	nr_pending = 0;
	is_online = is_lazy = strayed = false;
	/* Two address spaces of one ASID want flushq_switched() each time. */
	one_asid_each = check_below(2);
	forgets = one_asid_each && check_below(2);
	for (m = 0; m < MMS; m++) {
		mms[m].hosts = check_below(6) == 0;
		/* The hosts' are theirs alone. */
		mms[m].asid = one_asid_each || mms[m].hosts ? m : MMS + check_below(MMS / 2 + 1);
		mms[m].upper = version;
		for (p = 0; p < PAGES; p++)
			mms[m].page[p] = version;
	}
	flushq_limit_resident(&fake.fq, 1 + check_below(FLUSHQ_RESIDENT));
	fake.on_flush = flush_tlb;
}

static void rounds(unsigned int n, unsigned int actions)
{
	unsigned int round, i;

	uses = stale_seen = left = reborn = 0;
	for (round = 0; round < n; round++) {
		begin_run();
		if (rarity)
			rarity = 8u << check_below(5);
		for (i = 0; i < actions; i++) {
#ifdef CHECK_STEPS
			steps.hook = rarity ? meanwhile : NULL;
#endif
			act();
#ifdef CHECK_STEPS
			steps.hook = NULL;
#endif
			check_sets();
			check_use();
			walk();
			check_use();
			if (check_below(2))
				drain();
			check_use();
			fake.nr_flushes = 0;
		}
		CHECK(fake.nr_rules_broken == 0);
	}
	CHECK(uses > 1000 && stale_seen > 1000 && left > 1000 && reborn > 100);
}

TEST(tlb, random_calls)
{
	rarity = 0;
	rounds(60, 1500);
}

#ifdef CHECK_STEPS
TEST(tlb, random_calls_with_others_in_between)
{
	rarity = 8;
	rounds(60, 1000);
}
#endif
