/* SPDX-License-Identifier: MIT */
/*
 * ASIDs for the policies that are not the library's: its allocator (asid.h), and a flush of
 * everything at each hart's next switch after a rollover, as Linux does it.
 */
#include "flushq/flushq.h"
#include "policy.h"

static struct flushq_asids asids;
static flushq_atomic_ulong ids[NR_MMS];
static bool must_flush[NR_CPUS];

/* The library's only hook on RISC-V, and policy_flushq.c has it. */
static void rollover(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < nr_harts; i++)
		store_relaxed(&must_flush[i], true);
}

void host_asid_init(unsigned int n)
{
	flushq_asid_init(&asids, n, asid_bits, rollover, NULL);
}

void host_asid_born(struct mm *mm)
{
	flushq_store_relaxed(&ids[mm_place(mm)], 0ul);
}

/* Ends in a full fence. */
void host_asid_before_switch(struct hart *h, struct mm *mm)
{
	/* Harts may wait for each other here, at a rollover. */
	bool narrow = asid_bits <= ASID_BITS_NARROW;
	unsigned long id;

	if (narrow)
		wait_begin(h);
	id = flushq_asid_begin(&asids, h->id, &ids[mm_place(mm)]);
	full_fence();
	if (!flushq_asid_current(&asids, id))
		id = flushq_asid_renew(&asids, h->id, &ids[mm_place(mm)]);
	if (narrow)
		wait_end(h);
	store_relaxed(&mm->asid, flushq_asid_number(&asids, id));
	full_fence();
	if (load_relaxed(&must_flush[h->id])) {
		store_relaxed(&must_flush[h->id], false);
		__asm__ volatile("sfence.vma" : : : "memory");
		h->count.flush_all++;
	}
}

void host_asid_switched(struct hart *h, struct mm *mm)
{
	/* All that have no ASID of their own have this one. */
	if (mm->asid == 0) {
		flushq_riscv_sfence_asid(0);
		h->count.flush_asid++;
	}
	flushq_asid_switched(&asids, h->id);
}

void host_asid_parked(struct hart *h)
{
	flushq_asid_parked(&asids, h->id);
}

void host_asid_counters(struct hart *h, struct counters *sum)
{
	if (h->id == (unsigned int)__builtin_ctzl(online_mask))
		sum->rollovers += flushq_asid_rollovers(&asids);
}
