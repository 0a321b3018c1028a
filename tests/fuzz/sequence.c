/* SPDX-License-Identifier: MIT */
/*
 * sequence - whole histories of a machine, from bytes: what each CPU does, where it is stopped in the
 * middle of it, when its interrupts come. world.h says what is noticed.
 *
 * Two bytes of settings, then commands of four bytes: who and how far, what, and two of
 * arguments.
 *
 * variant 1: the mark of a queue that overflowed is taken, but not flushed
 * patch owner.h
 *	-debt->marked = mark != 0 && flushq_priv_due(cpu, &debt->mark) == FLUSHQ_PRIV_NOW;
 *	+debt->marked = false;
 *
 * variant 2: a switch does not look at what is owed
 * patch owner.h
 *	-if (FLUSHQ_UNLIKELY(cpu->resident.nr_owed || !flushq_priv_idle(cpu, self)))
 *	+if (FLUSHQ_UNLIKELY(cpu->resident.nr_owed))
 *	-flushq_priv_join(fq, self, asid, set, log);
 *	-if (!flushq_priv_idle(cpu, self))
 *	+flushq_priv_join(fq, self, asid, set, log);
 *	+if (0)
 *
 * variant 3: lazy CPUs are not interrupted for freed tables
 * patch cpu.h
 *	-return !(context & FLUSHQ_CONTEXT_LAZY) || range->kind == FLUSHQ_TABLES;
 *	+return !(context & FLUSHQ_CONTEXT_LAZY);
 *
 * variant 4: a rollover does not see what a CPU runs
 * patch asid.h
 *	-kept[0] = flushq_priv_asid_keep(asids, next, ended, before);
 *	-kept[1] = flushq_priv_asid_keep(asids, held, ended, before);
 *	+kept[0] = flushq_priv_asid_keep(asids, 0 * next, ended, before);
 *	+kept[1] = flushq_priv_asid_keep(asids, 0 * held, ended, before);
 *
 * variant 5: a drain that meets a claimed slot never looks behind it
 * patch owner.h
 *	-blocked = seen == FLUSHQ_RING_CLAIMED &&
 *	-flushq_ring_claimed_behind(ring, (flushq_ring_pos)(cpu->head + taken));
 *	+blocked = false;
 *
 * variant 6: who waits takes the drain that runs for its own
 * patch shootdown.h
 *	-return (flushq_load_relaxed(&cpu->drains) + 3) & ~1u;
 *	+return (flushq_load_relaxed(&cpu->drains) + 1) & ~1u;
 *
 * variant 7: a kernel range that is asked for through an address space is left to its log
 * patch shootdown.h
 *	-if (post->range->kind == FLUSHQ_GLOBAL)
 *	-	post->log = NULL;
 *	-if (!post->log)
 *	+if (!post->log || post->range->kind == FLUSHQ_GLOBAL)
 *
 * variant 8: a new member does not flush: its TLB has nothing of the ASID, but its walks may see old tables
 * patch owner.h
 *	-flushq_priv_event(&cpu->counts, self, FLUSHQ_JOINED, 1);
 *	-flushq_priv_flush_asid(cpu, self, asid);
 *	+flushq_priv_event(&cpu->counts, self, FLUSHQ_JOINED, 1);
 */
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

static const uint8_t *bytes;
static size_t left;

void world_fail(const char *why)
{
	fprintf(stderr, "sequence: %s\n", why);
	abort();
}

void world_held(unsigned int cpu)
{
	(void)cpu;
	world_fail("somebody waits for ever");
}

static unsigned int byte(void)
{
	if (!left)
		return 0;
	left--;
	return *bytes++;
}

/* Wraps: many requests by `cpu`, the others draining after so many. */
static void burst(unsigned int cpu, unsigned int nr, const struct world_args *args, unsigned int n)
{
	unsigned int every = 1 + args->pages % 4, i, other;

	for (i = 0; i < n && world_state(cpu) == IDLE; i++) {
		world_give(cpu, OP_POST, args);
		world_run(cpu);
		for (other = 0; i % every == 0 && other < nr; other++)
			if (world_state(other) == IDLE) {
				world_give(other, OP_DRAIN, args);
				world_go(other, FOREVER);
			}
	}
}

static void command(unsigned int nr, unsigned int *bursts)
{
	/* Switches and changes more often than the rest. */
	static const enum world_op ops[32] = {
		OP_SWITCH, OP_UNMAP,  OP_PARK,	OP_LAZY,  OP_TABLE, OP_KERNEL, OP_MAP,	  OP_POST,
		OP_DRAIN,  OP_TICK,   OP_POWER, OP_DIE,	  OP_PIN,   OP_POLL,   OP_WAIT,	  OP_SWITCH,
		OP_SWITCH, OP_SWITCH, OP_UNMAP, OP_UNMAP, OP_UNMAP, OP_TABLE,  OP_LAZY,	  OP_POLL,
		OP_SWITCH, OP_UNMAP,  OP_MAP,	OP_POST,  OP_TABLE, OP_WAIT,   OP_SWITCH, OP_UNMAP,
	};
	unsigned int who = byte(), what = byte(), a = byte(), b = byte(), cpu = (who & 3) % nr;
	unsigned int steps = who >> 2 < 24   ? who >> 2
			     : who >> 2 < 48 ? 24 + 3 * ((who >> 2) - 24)
					     : FOREVER;
	const struct world_args args = {
		.space = (a & 7) % NR_SPACES,
		.how = (enum world_how)((a >> 3 & 7) % NR_HOWS),
		.replace = a >> 6 & 1,
		.page = b & 3,
		.pages = 1 + (b >> 2 & 3),
	};

	if (what >= 0xf0) {
		world_signal(cpu, what & 0xf, b);
		return;
	}
	if (what >= 0xe8 && *bursts) {
		--*bursts;
		burst(cpu, nr, &args, 1 + a);
		return;
	}
	if (world_state(cpu) != IDLE) {
		if (steps != FOREVER) {
			world_go(cpu, steps);
			return;
		}
		if (world_run(cpu) != IDLE)
			return;
	}
	world_give(cpu, ops[what % 32], &args);
	if (steps == FOREVER)
		world_run(cpu);
	else
		world_go(cpu, steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world_config config;
	unsigned int a, b, bursts = 3;

	bytes = data;
	left = size;
	a = byte();
	b = byte();
	config.cpus = 2 + (a & 3) % (NR_CPUS - 1);
	config.numbers = a >> 2 & 1;
	config.bits = a >> 3 & 3;
	config.limit = 1 + (a >> 5 & 3);
	config.logs = b;
	world_start(&config);
	while (left)
		command(config.cpus, &bursts);
	world_settle();
	return 0;
}
