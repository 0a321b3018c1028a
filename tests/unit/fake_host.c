/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#include <string.h>

struct fake fake;

#ifdef CHECK_STEPS
struct step steps;
#endif

#ifdef CHECK_PLAIN
void check_clean(void)
{
	fake_reset(FAKE_NR);
}
#endif

void fake_rule_broken(const char *rule)
{
	(void)rule;
	fake.nr_rules_broken++;
}

void fake_event(unsigned int event, unsigned int cpu, unsigned long n)
{
	(void)cpu;
	CHECK(event < FLUSHQ_NR_EVENTS);
	fake.event[event] += n;
}

void flushq_host_flush(const struct flushq_range *range)
{
	if (fake.nr_flushes < FAKE_FLUSHES) {
		fake.flush[fake.nr_flushes].cpu = fake.self;
		fake.flush[fake.nr_flushes].range = *range;
	}
	fake.nr_flushes++;
	if (fake.on_flush)
		fake.on_flush(range);
}

unsigned long flushq_host_irq_save(void)
{
	return fake.irqs_off[fake.self]++;
}

void flushq_host_irq_restore(unsigned long flags)
{
	CHECK(fake.irqs_off[fake.self] == flags + 1);
	fake.irqs_off[fake.self] = (unsigned int)flags;
}

bool flushq_host_irqs_off(void)
{
	return fake.irqs_off[fake.self] != 0;
}

void flushq_host_relax(void)
{
	fake.nr_relaxed++;
	/* Nobody else will ever run: a wait that never ends. */
	CHECK(fake.nr_relaxed < 1000000);
	if (fake.on_relax)
		fake.on_relax();
	else
		fake_deliver();
}

void fake_deliver(void)
{
	unsigned int self = fake.self, w, again;

	do {
		again = 0;
		for (w = 0; w < FAKE_WORDS; w++) {
			unsigned long bits = fake.pending[w];

			while (bits) {
				unsigned int cpu =
					w * FLUSHQ_CPUSET_BITS + flushq_cpuset_pop(&bits);

				if (cpu >= fake.fq.nr || fake.irqs_off[cpu])
					continue;
				fake.pending[w] &= ~flushq_cpuset_bit(cpu);
				fake_drain(cpu);
				again = 1;
			}
		}
	} while (again);
	fake.self = self;
}

void flushq_host_interrupt(const unsigned long *cpus, unsigned int words)
{
	unsigned int w;

	CHECK(words == FLUSHQ_CPUSET_WORDS(fake.fq.nr));
	fake.nr_interrupts++;
	for (w = 0; w < words; w++) {
		fake.interrupted[w] |= cpus[w];
		fake.pending[w] |= cpus[w];
	}
	if (!fake.held)
		fake_deliver();
}

void fake_forget(void)
{
	fake.nr_flushes = 0;
	fake.nr_interrupts = 0;
	fake.nr_relaxed = 0;
	fake.nr_rules_broken = 0;
	memset(fake.interrupted, 0, sizeof(fake.interrupted));
	memset(fake.event, 0, sizeof(fake.event));
}

void fake_reset(unsigned int nr)
{
	memset(&fake, 0, sizeof(fake));
#ifdef CHECK_STEPS
	memset(&steps, 0, sizeof(steps));
#endif
	flushq_init(&fake.fq, fake.cpu, nr);
}

void fake_start(unsigned int nr)
{
	unsigned int cpu;

	fake_reset(nr);
	for (cpu = 0; cpu < nr; cpu++) {
		fake.self = cpu;
		fake.irqs_off[cpu]++;
		flushq_online(&fake.fq, cpu);
		fake.irqs_off[cpu]--;
	}
	CHECK(fake.nr_rules_broken == 0);
	fake.self = 0;
	fake_forget();
}

void fake_switch(unsigned int cpu, flushq_asid asid, flushq_atomic_ulong *set)
{
	unsigned int self = fake.self;

	fake.self = cpu;
	fake.irqs_off[cpu]++;
	flushq_switch_to(&fake.fq, cpu, asid, set);
	flushq_switched(&fake.fq, cpu);
	fake.irqs_off[cpu]--;
	fake.self = self;
}

void fake_shootdown(unsigned int cpu, const flushq_atomic_ulong *set,
		    const struct flushq_range *range)
{
	unsigned int self = fake.self;

	fake.self = cpu;
	flushq_shootdown(&fake.fq, cpu, set, range);
	fake.self = self;
}

unsigned int fake_post(unsigned int cpu, const flushq_atomic_ulong *set,
		       const struct flushq_range *range, unsigned long *interrupt)
{
	unsigned int self = fake.self, n;

	fake.self = cpu;
	n = flushq_post(&fake.fq, cpu, set, range, interrupt);
	fake.self = self;
	return n;
}

void fake_drain(unsigned int cpu)
{
	unsigned int self = fake.self;

	fake.self = cpu;
	flushq_drain(&fake.fq, cpu);
	fake.self = self;
}

unsigned int fake_flushes_on(unsigned int cpu)
{
	unsigned int i, n = 0;

	CHECK(fake.nr_flushes <= FAKE_FLUSHES);
	for (i = 0; i < fake.nr_flushes; i++)
		n += fake.flush[i].cpu == cpu;
	return n;
}

const struct flushq_range *fake_last_on(unsigned int cpu)
{
	unsigned int i;

	for (i = fake.nr_flushes; i-- > 0;)
		if (fake.flush[i].cpu == cpu)
			return &fake.flush[i].range;
	return NULL;
}

bool fake_flushed(unsigned int cpu, const struct flushq_range *range)
{
	unsigned int i;

	for (i = 0; i < fake.nr_flushes; i++)
		if (fake.flush[i].cpu == cpu && flushq_range_covers(&fake.flush[i].range, range))
			return true;
	return false;
}
