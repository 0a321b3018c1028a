/* SPDX-License-Identifier: MIT */
/*
 * B10: in a security monitor two CPUs, interrupts off, each waited for the other to answer an
 * interrupt of another kind. Here who waits serves its own queue and calls the host's relax hook
 * each time round, where it may serve its own kinds; or it drains in its own waits.
 *
 * variant 1: neither wait serves the other's kind
 *
 * variant 2: who waits does not call the relax hook
 * patch shootdown.h
 *	-flushq_priv_interrupt_again(post, target);
 *	-flushq_arch_relax();
 *	+flushq_priv_interrupt_again(post, target);
 *	+flushq_host_spin();
 *	-struct flushq_priv_waiting {
 *	+void flushq_host_spin(void);
 *	+struct flushq_priv_waiting {
 */
#include "machine.h"

static struct space *const a = &machine.space[0];
static bool in_relax, drains; /* what this host does */
static bool asked, answered;

static void serve(unsigned int self)
{
	if (in_relax && self == 0 && asked)
		answered = true;
}

/* Variant 2's: the others go on, no hook is called. */
void flushq_host_spin(void);
void flushq_host_spin(void)
{
	machine.on_relax = NULL;
	flushq_host_relax();
	machine.on_relax = serve;
}

static void begin(void)
{
	space_new(a, 1, false);
	switch_to(1, a);
	machine.on_relax = serve;
	asked = answered = false;
}

static void unmaps(unsigned int self)
{
	irqs_off(self);
	unmap(self, a, 0);
	irqs_on(self);
	while (!asked)
		flushq_host_relax();
	answered = true;
}

/* The host's other kind. */
static void asks(unsigned int self)
{
	irqs_off(self);
	asked = true;
	step();
	while (!answered) {
		if (drains)
			flushq_drain(&machine.fq, self);
		flushq_host_relax();
	}
	irqs_on(self);
}

int main(void)
{
	static const struct scenario scenario = {
		.begin = begin,
		.cpu = { unmaps, asks },
		.preemptions = 2,
	};

	in_relax = FAULTY != 1;
	explore(&scenario);
	in_relax = false;
	drains = FAULTY != 1;
	explore(&scenario);
	return passed();
}
