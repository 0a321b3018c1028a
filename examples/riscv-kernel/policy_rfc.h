/* SPDX-License-Identifier: MIT */
/* The parts of the RFC's scheme, for policy_broken.c to put together wrongly. */
#ifndef POLICY_RFC_H
#define POLICY_RFC_H

#include "policy.h"

/* Whether the hart `target` has the address space of r loaded. */
bool rfc_loaded(unsigned int target, const struct range *r);
/* Makes it owe r, visibly to its next switch; false if its array is full. */
bool rfc_defer(struct hart *h, unsigned int target, const struct range *r);
/* Makes the other harts of mask owe r, or interrupts them and waits. */
void rfc_ask(struct hart *h, unsigned long mask, const struct range *r);

#endif
