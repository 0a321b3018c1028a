/* SPDX-License-Identifier: MIT */
/*
 * B14: under KVM on RISC-V a guest flushed where its hart was; but the hart had been on another CPU
 * before, whose TLB kept the old translations for its return. Here an instance serves one VMID; who
 * moves a hart takes the old CPU out of the set, and who is not in it flushes to join.
 *
 * variant 1: who joins a set trusts what its TLB holds
 * patch owner.h
 *	-if (set && !flushq_cpuset_has(set, self)) {
 *	-	joins = true;
 *	-	flushq_priv_bury(cpu, self, set, at);
 *	+if (set && !flushq_cpuset_has(set, self)) {
 *
 * variant 2: the host moves the hart, and that is all
 *
 * variant 3: the host asks only the CPU where the hart is now
 */
#include "machine.h"

/* The guest's address space. */
static struct space *const guest = &machine.space[0];
/* Where the hart is. */
static unsigned int place;

static void move(unsigned int to)
{
	if (FAULTY != 2)
		flushq_cpuset_remove(guest->mm.cpus, place);
	place = to;
	switch_to(to, guest);
}

/* What the guest does by itself: the host sees nothing of it. */
static void guest_unmaps(unsigned int page)
{
	struct flushq_range range = range_of(guest, page, FLUSHQ_LEAF);
	unsigned int old;

	machine.self = place;
	old = replace(guest, page);
	flushq_host_flush(&range);
	free_frame(old);
}

static void there_and_back(void)
{
	machine_start();
	online(1);
	online(2);
	space_new(guest, 1, false);
	place = 1;
	switch_to(1, guest);
	park(1);
	move(2);
	guest_unmaps(0);
	park(2);
	move(1);
	guest_unmaps(1);
	park(1);
	move(2);
}

/* One hart moves from CPU 1 to 2 and back; another, on CPU 0, has the host flush it. */

static void begin(void)
{
	space_new(guest, 1, false);
	place = 1;
	switch_to(1, guest);
	switch_to(0, guest);
}

static void leaves(unsigned int self)
{
	park(self);
	place = 2;
	/* The other CPU's part of it. */
	while (place != self)
		flushq_host_relax();
	switch_to(self, guest);
}

static void has_it_meanwhile(unsigned int self)
{
	while (place != self)
		flushq_host_relax();
	switch_to(self, guest);
	park(self);
	place = 1;
}

static void asks(unsigned int self)
{
	struct flushq_range range = range_of(guest, 0, FLUSHQ_LEAF);
	flushq_atomic_ulong set[FLUSHQ_CPUSET_WORDS(NR_CPUS)];
	unsigned int old;

	machine.self = self;
	old = replace(guest, 0);
	set[0] = FAULTY == 3 ? 1ul << self | 1ul << place : guest->mm.cpus[0];
	flushq_shootdown(&machine.fq, self, FAULTY == 3 ? set : guest->mm.cpus, &range);
	free_frame(old);
}

int main(void)
{
	static const struct scenario moved = {
		.begin = begin,
		.cpu = { asks, leaves, has_it_meanwhile },
		.preemptions = 1,
	};

	there_and_back();
	explore(&moved);
	return passed();
}
