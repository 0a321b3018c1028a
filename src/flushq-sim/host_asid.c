/* SPDX-License-Identifier: MIT */
#include "port.h"

#include "host_asid.h"

static struct flushq_asids asids;
static flushq_atomic_ulong ids[NR_MMS];
static bool must_flush[NR_CPUS];

static const struct range everything = { .start = U_TEXT,
					 .size = U_END - U_TEXT,
					 .kind = KIND_GLOBAL };

static void rollover(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < nr_cpus; i++)
		must_flush[i] = true;
}

void host_asid_init(unsigned int n)
{
	flushq_asid_init(&asids, n, (unsigned int)options.asid_bits, rollover, NULL);
}

void host_asid_born(struct mm *mm)
{
	ids[mm->place] = 0;
}

void host_asid_before_switch(struct cpu *c, struct mm *mm)
{
	unsigned long id = flushq_asid_begin(&asids, c->id, &ids[mm->place]);

	turn();
	if (!flushq_asid_current(&asids, id))
		id = flushq_asid_renew(&asids, c->id, &ids[mm->place]);
	mm->asid = flushq_asid_number(&asids, id);
	if (!must_flush[c->id])
		return;
	must_flush[c->id] = false;
	local_flush(c, &everything);
}

void host_asid_switched(struct cpu *c)
{
	struct range shared = { .start = U_TEXT, .size = U_END - U_TEXT, .kind = KIND_TABLES };

	/* All that have none of their own have ASID 0. */
	if (c->reg_asid == 0)
		local_flush(c, &shared);
	flushq_asid_switched(&asids, c->id);
}

void host_asid_parked(struct cpu *c)
{
	flushq_asid_parked(&asids, c->id);
}

/* Back from offline: it may hold anything. */
void host_asid_online(struct cpu *c)
{
	must_flush[c->id] = false;
	local_flush(c, &everything);
}

void host_asid_counters(struct cpu *c, struct counters *sum)
{
	if (c->id == 0)
		sum->rollovers += flushq_asid_rollovers(&asids);
}
