/* SPDX-License-Identifier: MIT */
#include "fake_host.h"
#include "flushq/asid.h"

#include <string.h>

#define MMS 24
#define NUMBERS (1u << 5)

static struct flushq_asids asids;
static flushq_atomic_ulong mm[MMS];
static unsigned int nr_rollovers;

static unsigned long generation(void)
{
	return asids.generation >> asids.bits >> 1;
}

static unsigned long id_of(unsigned long gen, unsigned long number)
{
	return gen << asids.bits << 1 | number;
}

static bool current_id(unsigned long id)
{
	return id >> asids.bits >> 1 == generation();
}

static unsigned int number(unsigned int i)
{
	return flushq_asid_number(&asids, mm[i]);
}

/* Under the lock, interrupts off, and no id of the new generation is to be seen yet. */
static void rollover(void *arg)
{
	unsigned int i;

	CHECK(arg == &nr_rollovers);
	CHECK(asids.lock == 1);
	CHECK(fake.irqs_off[fake.self]);
	for (i = 0; i < MMS; i++)
		CHECK(!current_id(mm[i]));
	/* What is kept is so already. */
	for (i = 0; i < asids.nr; i++) {
		unsigned long next = asids.cpu[i].next & ~flushq_priv_asid_pinned(&asids);

		CHECK(asids.kept[i][0].word == 0 || asids.kept[i][0].word == next);
	}
	nr_rollovers++;
}

static void start(unsigned int nr, unsigned int bits)
{
	fake_reset(FAKE_NR);
	memset(mm, 0, sizeof(mm));
	nr_rollovers = 0;
	flushq_asid_init(&asids, nr, bits, rollover, &nr_rollovers);
}

static void enter_cpu(unsigned int cpu)
{
	fake.self = cpu;
	fake.irqs_off[cpu]++;
}

static void leave_cpu(unsigned int cpu)
{
	CHECK(fake.irqs_off[cpu] == 1);
	CHECK(asids.lock == 0);
	fake.irqs_off[cpu]--;
	CHECK(fake.nr_rules_broken == 0);
}

/* As far as the register: returns the ASID. */
static unsigned int begin(unsigned int cpu, unsigned int i)
{
	unsigned long id;

	enter_cpu(cpu);
	id = flushq_asid_begin(&asids, cpu, &mm[i]);
	if (!flushq_asid_current(&asids, id))
		id = flushq_asid_renew(&asids, cpu, &mm[i]);
	CHECK(id == mm[i]);
	CHECK(current_id(id));
	CHECK(asids.cpu[cpu].next == id);
	leave_cpu(cpu);
	return flushq_asid_number(&asids, id);
}

static void switched(unsigned int cpu)
{
	enter_cpu(cpu);
	flushq_asid_switched(&asids, cpu);
	CHECK(asids.cpu[cpu].held == asids.cpu[cpu].next);
	leave_cpu(cpu);
}

static unsigned int run(unsigned int cpu, unsigned int i)
{
	unsigned int n = begin(cpu, i);

	switched(cpu);
	return n;
}

static void park(unsigned int cpu)
{
	enter_cpu(cpu);
	flushq_asid_parked(&asids, cpu);
	CHECK(asids.cpu[cpu].held == 0 && asids.cpu[cpu].next == 0);
	leave_cpu(cpu);
}

/* An address space that runs on `cpu` for a moment. */
static unsigned int touch(unsigned int cpu, unsigned int i)
{
	unsigned int n = run(cpu, i);

	park(cpu);
	return n;
}

/* Rolls over once, by address spaces of `cpu` from `from` on that are gone after. */
static void roll(unsigned int cpu, unsigned int from)
{
	unsigned int before = nr_rollovers;

	while (nr_rollovers == before) {
		mm[from] = 0;
		CHECK(touch(cpu, from) != 0);
	}
	mm[from] = 0;
}

static bool pin(unsigned int i)
{
	unsigned int off = fake.irqs_off[fake.self];
	bool can = flushq_asid_pin(&asids, &mm[i]);

	CHECK(fake.irqs_off[fake.self] == off);
	CHECK(asids.lock == 0);
	return can;
}

static void unpin(unsigned int i)
{
	unsigned int off = fake.irqs_off[fake.self];

	flushq_asid_unpin(&asids, &mm[i]);
	CHECK(fake.irqs_off[fake.self] == off);
	CHECK(asids.lock == 0);
}

TEST(asid, first_ones)
{
	static bool seen[1u << 16];
	unsigned int bits, n;

	/* Widths on both sides of a word. */
	for (bits = 2; bits <= FLUSHQ_ASID_BITS && bits <= 16; bits++) {
		memset(seen, 0, sizeof(seen));
		start(1, bits);
		CHECK(asids.bits == bits);
		CHECK(generation() == 1);
		for (n = 1; n < 1u << bits; n++) {
			unsigned int got;

			mm[0] = 0;
			got = touch(0, 0);
			CHECK(got >= 1 && got < 1u << bits && !seen[got]);
			seen[got] = true;
		}
		CHECK(nr_rollovers == 0);
		mm[0] = 0;
		CHECK(touch(0, 0) != 0);
		CHECK(nr_rollovers == 1 && generation() == 2);
	}
}

TEST(asid, init_limits_what_it_is_given)
{
	start(FAKE_NR, 40);
	CHECK(asids.bits == FLUSHQ_ASID_BITS);
	start(1, 2);
	CHECK(asids.bits == 2);
	start(1, 1);
	CHECK(asids.bits == 1);
	CHECK(fake.nr_rules_broken == 0);
	start(FLUSHQ_NR_CPUS + 1, 16);
	CHECK(asids.nr == FLUSHQ_NR_CPUS);
	CHECK(fake.nr_rules_broken == 1);
}

TEST(asid, no_bits)
{
	unsigned int i;

	start(1, 0);
	for (i = 0; i < MMS; i++) {
		CHECK(run(0, i) == 0);
		CHECK(mm[i] != 0);
		enter_cpu(0);
		CHECK(!flushq_asid_pin(&asids, &mm[i]));
		leave_cpu(0);
	}
	CHECK(nr_rollovers == 0);
#ifdef CHECK_STEPS
	/* From the second time on without the lock. */
	memset(&steps, 0, sizeof(steps));
	CHECK(run(0, 3) == 0);
	CHECK(steps.n[STEP_RMW] == 0);
#endif
}

TEST(asid, the_same_again)
{
	unsigned int a, i;

	start(1, 3);
	for (i = 1; i < 5; i++)
		touch(0, i);
	a = touch(0, 0);
	for (i = 0; i < 10; i++)
		CHECK(touch(0, 0) == a);
	CHECK(mm[0] == id_of(1, a));
	/* In the next generation too, as long as nobody has it. */
	roll(0, MMS - 1);
	CHECK(!flushq_priv_asid_taken(&asids, a));
	CHECK(touch(0, 0) == a);
	CHECK(mm[0] == id_of(2, a));
}

TEST(asid, another_where_the_old_one_is_taken)
{
	unsigned int a, i;

	start(1, 2);
	a = touch(0, 0);
	for (i = 1; i <= 3; i++)
		touch(0, i);
	CHECK(nr_rollovers == 1);
	while (!flushq_priv_asid_taken(&asids, a))
		touch(0, ++i);
	CHECK(nr_rollovers == 1);
	CHECK(touch(0, 0) != a);
}

TEST(asid, two_cpus_of_one)
{
	unsigned int a;

	if (FAKE_NR < 2)
		return;
	start(2, 3);
	a = run(0, 0);
	CHECK(run(1, 0) == a);
	roll(1, MMS - 1);
	/* The second one finds it renewed. */
	CHECK(run(1, 0) == a);
	CHECK(run(0, 0) == a);
}

/* What runs keeps its ASID, for any number of generations, renewed elsewhere or not. */
TEST(asid, rollovers_keep_what_runs)
{
	unsigned int bits, a, gen;

	if (FAKE_NR < 2)
		return;
	for (bits = 2; bits <= 4; bits++) {
		start(2, bits);
		a = run(0, 0);
		for (gen = 0; gen < 20; gen++) {
			roll(1, MMS - 1);
			CHECK(flushq_priv_asid_taken(&asids, a));
			if (gen % 3 == 1) {
				CHECK(touch(1, 0) == a);
				CHECK(current_id(mm[0]));
			}
			CHECK(number(0) == a);
		}
		CHECK(run(0, 0) == a);
	}
}

/* `held` too, and where the word moved from `next` to `held` between two rollovers. */
TEST(asid, rollovers_keep_what_is_held)
{
	unsigned int a, b, gen;

	if (FAKE_NR < 2)
		return;
	start(2, 3);
	a = run(0, 0);
	b = begin(0, 1);
	for (gen = 0; gen < 5; gen++) {
		roll(1, MMS - 1);
		CHECK(flushq_priv_asid_taken(&asids, a));
		CHECK(flushq_priv_asid_taken(&asids, b));
		CHECK(touch(1, 0) == a);
		CHECK(touch(1, 1) == b);
	}
	switched(0);
	/* Of an older generation, and in `held` for the first time. */
	begin(0, 2);
	roll(1, MMS - 1);
	CHECK(touch(1, 1) == b);
	roll(1, MMS - 1);
	CHECK(touch(1, 1) == b);
	/* The first one is gone. */
	switched(0);
	roll(1, MMS - 1);
	CHECK(asids.kept[0][0].word == asids.kept[0][1].word);
}

TEST(asid, parked_keeps_nothing)
{
	unsigned int i;

	start(1, 2);
	touch(0, 0);
	roll(0, MMS - 1);
	for (i = 0; i < 2; i++)
		CHECK(asids.kept[0][i].word == 0 && asids.kept[0][i].id == 0);
}

/*
 * A CPU that stalls between reading an id and making it known does so two rollovers too late. Its
 * ASID is another's by then, who would be renewed to the same id.
 */
TEST(asid, a_late_word_is_not_kept)
{
	unsigned int a, gen;

	if (FAKE_NR < 3)
		return;
	start(3, 3);
	/* roll() takes the first. */
	touch(0, 2);
	a = touch(0, 0);
	roll(1, MMS - 1);
	/* Another has it now. */
	mm[1] = id_of(1, a);
	CHECK(run(2, 1) == a);
	for (gen = 0; gen < 3; gen++) {
		asids.cpu[0].next = id_of(1, a); /* late */
		roll(1, MMS - 1);
		CHECK(asids.kept[0][0].word == 0);
		CHECK(number(1) == a);
	}
	CHECK(run(0, 0) != a);
	CHECK(run(1, 1) == a);
	CHECK(mm[0] != mm[1]);
}

TEST(asid, hook_once_for_each_rollover)
{
	unsigned int i;

	start(1, 2);
	for (i = 0; i < 30; i++) {
		mm[0] = 0;
		touch(0, 0);
		CHECK(generation() == 1 + nr_rollovers);
	}
	CHECK(nr_rollovers == 9);
}

/* Each CPU runs one and holds another: one is left for all others. */
TEST(asid, all_cpus_keep_two)
{
	unsigned int nr = FAKE_NR >= 7 ? 7 : 1, cpu, i;
	unsigned int n[2][7];

	start(nr, FAKE_NR >= 7 ? 4 : 2);
	for (cpu = 0; cpu < nr; cpu++) {
		n[0][cpu] = run(cpu, 2 * cpu);
		n[1][cpu] = begin(cpu, 2 * cpu + 1);
	}
	CHECK(nr_rollovers == 0);
	for (i = 0; i < 10; i++) {
		unsigned long *id = &mm[MMS - 1];

		*id = 0;
		enter_cpu(0);
		/* Not a switch: for a device, say. */
		flushq_asid_pin(&asids, id);
		flushq_asid_unpin(&asids, id);
		leave_cpu(0);
		CHECK(number(MMS - 1) != 0);
		for (cpu = 0; cpu < nr; cpu++) {
			CHECK(number(2 * cpu) == n[0][cpu]);
			CHECK(number(2 * cpu + 1) == n[1][cpu]);
			CHECK(number(MMS - 1) != n[0][cpu] && number(MMS - 1) != n[1][cpu]);
		}
	}
	CHECK(nr_rollovers == 9);
}

/* One ASID and two CPUs. */
TEST(asid, too_few)
{
	unsigned int gen;

	if (FAKE_NR < 2)
		return;
	start(2, 1);
	CHECK(run(0, 0) == 1);
	CHECK(run(1, 1) == 0);
	CHECK(nr_rollovers == 1);
	CHECK(current_id(mm[1]));
	/* The one keeps it, the other shares for as long as it runs, by whatever id. */
	for (gen = 0; gen < 4; gen++) {
		asids.pause = 0;
		CHECK(run(1, 2) == 0);
		CHECK(begin(1, 1) == 0);
		CHECK(run(0, 0) == 1);
	}
	park(1);
	mm[3] = 0;
	CHECK(touch(1, 3) == 0);
	park(0);
	mm[3] = 0;
	asids.pause = 0;
	CHECK(touch(1, 3) == 1);
}

/* A rollover that freed nothing is not tried again at once, but after some requests. */
TEST(asid, rollovers_for_nothing)
{
	unsigned int before, i;

	if (FAKE_NR < 4)
		return;
	start(4, 2);
	for (i = 0; i < 3; i++)
		CHECK(run(i, i) != 0);
	CHECK(run(3, 3) == 0);
	before = nr_rollovers;
	CHECK(before == 1);
	for (i = 0; i < 2; i++) {
		mm[4] = 0;
		CHECK(touch(3, 4) == 0);
		CHECK(nr_rollovers == before);
	}
	mm[4] = 0;
	CHECK(touch(3, 4) == 0);
	CHECK(nr_rollovers == before + 1);
}

/* A CPU that runs one under ASID 0 must not see others of it use another. */
TEST(asid, shared_ones_stay_so_while_one_runs)
{
	if (FAKE_NR < 3)
		return;
	start(3, 1);
	CHECK(run(0, 0) == 1);
	CHECK(run(1, 1) == 0);
	park(0);
	asids.pause = 0;
	CHECK(touch(0, 3) == 1);
	/* Its id is an old one now, and an ASID could be had. */
	CHECK(!current_id(mm[1]));
	CHECK(touch(0, 1) == 0);
	CHECK(nr_rollovers == 2);

	start(3, 1);
	CHECK(run(0, 0) == 1);
	CHECK(run(1, 1) == 0);
	CHECK(run(2, 2) == 0);
	park(0);
	/* One is free now, but for a new one. */
	mm[0] = 0;
	asids.pause = 0;
	CHECK(run(0, 0) == 1);
	park(0);
	CHECK(run(0, 1) == 0);
	park(0);
	CHECK(run(0, 2) == 0);
	park(0);
	park(1);
	park(2);
	mm[3] = 0;
	asids.pause = 0;
	CHECK(touch(0, 3) == 1);
	CHECK(!asids.shared);
	CHECK(touch(0, 1) == 1);
}

TEST(asid, pinned_ones_stay)
{
	unsigned int a, gen;

	start(1, 3);
	CHECK(pin(0));
	a = number(0);
	CHECK(a != 0);
	CHECK(pin(0));
	CHECK(asids.nr_pinned == 1);
	for (gen = 0; gen < 5; gen++) {
		roll(0, MMS - 1);
		CHECK(number(0) == a);
		CHECK(flushq_priv_asid_taken(&asids, a));
		/* Not the ASID is pinned, but the address space's. */
		mm[1] = id_of(1, a);
		CHECK(touch(0, 1) != a);
		mm[1] = 0;
		if (gen % 2)
			CHECK(touch(0, 0) == a);
	}
	/* One that runs as well: what is kept follows. */
	CHECK(run(0, 0) == a);
	unpin(0);
	CHECK(asids.nr_pinned == 0);
	unpin(0);
	CHECK(asids.nr_pinned == 0);
	CHECK(number(0) == a);
	CHECK(flushq_priv_asid_taken(&asids, a));
}

TEST(asid, pinned_while_it_runs)
{
	unsigned int a, gen;

	if (FAKE_NR < 2)
		return;
	start(2, 4);
	a = run(0, 0);
	roll(1, MMS - 1);
	CHECK(pin(0));
	roll(1, MMS - 1);
	CHECK(touch(1, 0) == a);
	unpin(0);
	for (gen = 0; gen < 3; gen++) {
		roll(1, MMS - 1);
		CHECK(touch(1, 0) == a);
	}
	/* Free again at the end of the generation in which nobody runs it any more. */
	park(0);
	roll(1, MMS - 1);
	roll(1, MMS - 1);
	CHECK(asids.kept[0][0].word == 0);
}

TEST(asid, an_unpinned_one_is_free_again)
{
	unsigned int a;

	start(1, 3);
	touch(0, 2);
	CHECK(pin(0));
	a = number(0);
	roll(0, MMS - 1);
	unpin(0);
	/* In this generation it was still taken. */
	CHECK(flushq_priv_asid_taken(&asids, a));
	CHECK(touch(0, 0) != a);
	mm[0] = 0;
	roll(0, MMS - 1);
	CHECK(!flushq_priv_asid_taken(&asids, a));
	mm[1] = id_of(1, a);
	CHECK(touch(0, 1) == a);
}

TEST(asid, pins_leave_two_for_each_cpu)
{
	unsigned int i, n;

	start(1, 3);
	for (n = 0; pin(n); n++)
		;
	CHECK(n == 7 - 3);
	CHECK(asids.nr_pinned == n);
	for (i = 0; i < n; i++)
		CHECK(pin(i));
	/* Which answers all the same, */
	CHECK(number(n) != 0);
	for (i = 0; i < 20; i++) {
		mm[MMS - 1] = 0;
		CHECK(run(0, MMS - 1) != 0);
	}
	/* and pins again once there is room. */
	unpin(0);
	CHECK(pin(n));
	CHECK(!pin(0));
}

/* The last generation never ends. */
TEST(asid, generations_run_out)
{
	unsigned int i, kept, old;

	start(1, 3);
	kept = touch(0, 0);
	asids.generation = id_of(~0ul >> asids.bits >> 1, 0) - id_of(1, 0);
	memset(mm, 0, sizeof(mm));
	kept = run(0, 0);
	roll(0, MMS - 1);
	CHECK(asids.generation == id_of(~0ul >> asids.bits >> 1, 0));
	old = nr_rollovers;
	CHECK(old == 1);
	CHECK(run(0, 0) != 0);
	kept = number(0);
	for (i = 1; i < MMS - 1; i++)
		run(0, i);
	for (i = 1; i < MMS - 1; i++) {
		unsigned int was = number(i);

		CHECK(was == 0 || was != kept);
		CHECK(run(0, i) == was);
	}
	CHECK(number(MMS - 2) == 0);
	CHECK(!pin(MMS - 2));
	CHECK(pin(0));
	CHECK(run(0, 0) == kept);
	CHECK(nr_rollovers == old);
	CHECK(asids.generation == id_of(~0ul >> asids.bits >> 1, 0));
}

TEST(asid, rules_broken)
{
	unsigned long id;

	start(1, 4);
	touch(0, 0);
	/* No such CPU: an ASID that it flushes each time. */
	fake.irqs_off[0] = 1;
	id = flushq_asid_begin(&asids, 1, &mm[0]);
	CHECK(flushq_asid_number(&asids, id) == 0);
	CHECK(fake.nr_rules_broken >= 1);
	fake_forget();
	flushq_asid_switched(&asids, asids.nr);
	flushq_asid_parked(&asids, asids.nr);
	CHECK(fake.nr_rules_broken == 2);
	/* With interrupts on it works all the same. */
	fake_forget();
	fake.irqs_off[0] = 0;
	flushq_asid_begin(&asids, 0, &mm[0]);
	flushq_asid_switched(&asids, 0);
	flushq_asid_parked(&asids, 0);
	flushq_asid_renew(&asids, 0, &mm[0]);
	CHECK(fake.nr_rules_broken == 4);
	CHECK(asids.cpu[0].next == mm[0]);
}

static void give_back(void)
{
	if (fake.nr_relaxed == 5)
		asids.lock = 0;
}

TEST(asid, waits_for_the_lock)
{
	start(1, 4);
	asids.lock = 1;
	fake.on_relax = give_back;
	run(0, 0);
	CHECK(fake.nr_relaxed == 5);
}

#ifdef CHECK_STEPS
/* The switch that happens all the time. */
TEST(asid, fast_path)
{
	start(1, 4);
	touch(0, 0);
	touch(0, 1);
	memset(&steps, 0, sizeof(steps));
	run(0, 0);
	CHECK(steps.n[STEP_RMW] == 0);
	CHECK(steps.n[STEP_FENCE_FULL] == 0);
	/* In begin(): the id, the generation, `next`; then generation; then both words. */
	CHECK(steps.n[STEP_STORE] == 2);
}
#endif

/*
 * A machine against an oracle: CPUs that go through their switches one operation at a time, with the
 * strictest TLB, which fills whenever it may.
 */
enum stage { OUT, BEGUN, KNOWN, WRITTEN, IN };

static struct machine_cpu {
	enum stage stage;
	unsigned int to; /* address space */
	unsigned long id;
	bool loaded;
	unsigned int mm, number; /* the register */
	bool owes;
	unsigned long tlb[NUMBERS]; /* whose entry; 0: none */
} cpus[8];

static unsigned long name[MMS]; /* of the address space that now has this slot */
static unsigned int pinned_to[MMS]; /* the ASID, or 0 */

static void owe(void *arg)
{
	unsigned int cpu;

	rollover(arg);
	for (cpu = 0; cpu < 8; cpu++)
		cpus[cpu].owes = true;
}

static void fill(struct machine_cpu *c)
{
	if (c->loaded && !c->tlb[c->number])
		c->tlb[c->number] = name[c->mm];
}

static void pay(struct machine_cpu *c)
{
	if (!c->owes)
		return;
	c->owes = false;
	memset(c->tlb, 0, sizeof(c->tlb));
	fill(c);
}

static void step_cpu(unsigned int cpu, unsigned int nr_mms)
{
	struct machine_cpu *c = &cpus[cpu];

	enter_cpu(cpu);
	switch (c->stage) {
	case OUT:
	case IN:
		if (c->loaded && check_below(6) == 0) {
			c->loaded = false;
			c->stage = OUT;
			flushq_asid_parked(&asids, cpu);
			break;
		}
		c->to = check_below(nr_mms);
		c->id = flushq_asid_begin(&asids, cpu, &mm[c->to]);
		c->stage = BEGUN;
		break;
	case BEGUN:
		pay(c);
		if (!flushq_asid_current(&asids, c->id)) {
			c->id = flushq_asid_renew(&asids, cpu, &mm[c->to]);
			pay(c);
		}
		c->stage = KNOWN;
		break;
	case KNOWN:
		c->loaded = true;
		c->mm = c->to;
		c->number = flushq_asid_number(&asids, c->id);
		fill(c);
		if (c->number == 0) {
			c->tlb[0] = 0;
			fill(c);
		}
		c->stage = WRITTEN;
		break;
	case WRITTEN:
		flushq_asid_switched(&asids, cpu);
		c->stage = IN;
		break;
	}
	leave_cpu(cpu);
}

static void check_machine(unsigned int nr, unsigned int nr_mms)
{
	unsigned long taken = 0;
	unsigned int cpu, i, other;

	for (i = 0; i < nr_mms; i++) {
		CHECK(!pinned_to[i] || number(i) == pinned_to[i]);
		if (!current_id(mm[i]) || number(i) == 0)
			continue;
		CHECK(flushq_priv_asid_taken(&asids, number(i)));
		CHECK(!(taken & 1ul << number(i)));
		taken |= 1ul << number(i);
	}
	for (cpu = 0; cpu < nr; cpu++) {
		struct machine_cpu *c = &cpus[cpu];

		if (!c->loaded)
			continue;
		CHECK(c->tlb[c->number] == name[c->mm]);
		/* What an initiator reads, */
		CHECK(number(c->mm) == c->number);
		/* and nobody else in this generation. */
		for (i = 0; i < nr_mms && c->number; i++)
			CHECK(i == c->mm || !current_id(mm[i]) || number(i) != c->number);
		for (other = 0; other < cpu && c->number; other++)
			CHECK(!cpus[other].loaded || cpus[other].mm == c->mm ||
			      cpus[other].number != c->number);
	}
}

static void rebirth(unsigned int i, unsigned int nr)
{
	unsigned int cpu;

	for (cpu = 0; cpu < nr; cpu++)
		if ((cpus[cpu].loaded && cpus[cpu].mm == i) ||
		    (cpus[cpu].stage != OUT && cpus[cpu].to == i))
			return;
	if (pinned_to[i])
		unpin(i);
	pinned_to[i] = 0;
	mm[i] = 0;
	name[i] += MMS;
}

TEST(asid, random_machines)
{
	unsigned int round, step;

	fprintf(stderr, "test_asid: seed %llu\n", (unsigned long long)check_seed());
	for (round = 0; round < 300; round++) {
		unsigned int nr = 1 + check_below(FAKE_NR < 5 ? FAKE_NR : 5);
		unsigned int bits = check_below(6), nr_mms = 1 + check_below(MMS), i;

		start(nr, bits);
		if (round % 2)
			flushq_priv_asid_start(&asids, bits);
		asids.rollover = owe;
		if (round % 16 == 0)
			asids.generation = 0ul - id_of(3, 0);
		memset(cpus, 0, sizeof(cpus));
		memset(pinned_to, 0, sizeof(pinned_to));
		for (i = 0; i < MMS; i++)
			name[i] = i + 1;
		for (step = 0; step < 3000; step++) {
			i = check_below(nr_mms);
			switch (check_below(40)) {
			case 0:
				rebirth(i, nr);
				break;
			case 1:
				if (pin(i))
					pinned_to[i] = number(i);
				else
					CHECK(!pinned_to[i]);
				break;
			case 2:
				unpin(i);
				pinned_to[i] = 0;
				break;
			default:
				/* Some stay where they are for long. */
				if ((step / 100) % nr || nr == 1)
					step_cpu(check_below(nr), nr_mms);
				else
					step_cpu(0, nr_mms);
			}
			check_machine(nr, nr_mms);
		}
	}
}
