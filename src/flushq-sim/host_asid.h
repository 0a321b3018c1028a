/* SPDX-License-Identifier: MIT */
/*
 * host_asid.h - ASIDs for the policies that are not the library's: its allocator (asid.h), and a
 * flush of everything at each CPU's next switch after a rollover, as Linux does it.
 */
#ifndef HOST_ASID_H
#define HOST_ASID_H

#include "policy.h"

void host_asid_init(unsigned int n);
void host_asid_born(struct mm *mm);
void host_asid_before_switch(struct cpu *c, struct mm *mm);
void host_asid_switched(struct cpu *c);
void host_asid_parked(struct cpu *c);
void host_asid_online(struct cpu *c);
void host_asid_counters(struct cpu *c, struct counters *sum);

#endif
