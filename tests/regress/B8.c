/* SPDX-License-Identifier: MIT */
/*
 * B8: firmware refused a remote fence altogether because one hart of its mask was stopped, and
 * the running ones were never fenced. Here what is refused is asked again hart by hart; and a
 * CPU that went offline is in no set that anybody asks.
 *
 * variant 1: a refusal is passed on
 * patch arch/riscv/sbi.h
 *	-if (flushq_sbi_ecall(call).error == FLUSHQ_SBI_SUCCESS)
 *	-	continue;
 *	+error = flushq_sbi_ecall(call).error;
 *	+continue;
 *
 * variant 2: the first hart that is refused ends it
 * patch arch/riscv/sbi.h
 *	-error = one;
 *	-}
 *	+return one;
 *	+}
 *
 * variant 3: a CPU that stops stays where it is asked
 * patch owner.h
 *	-flushq_priv_flush_everything(cpu, self);
 *	-flushq_cpuset_remove(fq->online, self);
 *	-flushq_context_leave(&cpu->context, FLUSHQ_CONTEXT_OFFLINE);
 *	+flushq_priv_flush_all(cpu, self);
 */
#include "firmware.h"

static struct space *const a = &machine.space[0];

static void begin(void)
{
	space_new(a, 1, false);
	switch_to(1, a);
	switch_to(2, a);
	park(2);
}

static void unmaps(unsigned int self)
{
	unmap(self, a, 0);
	unmap_kernel(self, 0);
}

/* For good: it takes no interrupts either. */
static void stops(unsigned int self)
{
	offline(self);
	irqs_off(self);
}

static void is_in_no_set(void)
{
	CHECK(!flushq_cpuset_has(a->mm.cpus, 2), "CPU 2 is asked though it is offline");
}

int main(void)
{
	static const struct scenario stop = {
		.begin = begin,
		.cpu = { unmaps, NULL, stops },
		.end = is_in_no_set,
		.preemptions = 2,
	};
	const struct flushq_range range = flushq_range_make(1, PAGE, PAGE, PAGE, FLUSHQ_LEAF);
	unsigned long harts[WORDS] = { 0x15, 1, 6 };

	firmware.stopped[0] = firmware.stopped[FLUSHQ_CPUSET_BITS] = true;
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &range) == FLUSHQ_SBI_ERR_INVALID_PARAM,
	      "a stopped hart is not reported");
	served(harts);
	CHECK(flushq_sbi_send_ipi(harts, WORDS) == FLUSHQ_SBI_ERR_INVALID_PARAM, "no error");
	served(harts);
	explore(&stop);
	return passed();
}
