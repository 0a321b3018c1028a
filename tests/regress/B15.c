/* SPDX-License-Identifier: MIT */
/*
 * B15: KVM on RISC-V shifted a hart mask by a hart's number less the mask's base, which could be
 * more than the mask has bits, or negative. Here a mask is always of one word of a set, and its
 * base the first hart in it: nothing is shifted by more than a word has, or by less than nothing.
 *
 * variant 1: the mask's base is left out
 * patch arch/riscv/sbi.h
 *	-unsigned long base = (unsigned long)w * FLUSHQ_CPUSET_BITS;
 *	+unsigned long base = 0;
 *
 * variant 2: a CPU is looked for in the first word of a set
 * patch cpuset.h
 *	-flushq_or_relaxed(&set[cpu / FLUSHQ_CPUSET_BITS], flushq_cpuset_bit(cpu));
 *	+flushq_or_relaxed(&set[0], 1ul << cpu);
 */
#include "firmware.h"

int main(void)
{
	unsigned int a, b, w;

	for (a = 0; a < NR_HARTS; a++) {
		for (b = a; b < NR_HARTS; b += 7) {
			flushq_atomic_ulong set[WORDS] = { 0 };

			(void)flushq_cpuset_add(set, a);
			(void)flushq_cpuset_add(set, b);
			for (w = 0; w < WORDS; w++)
				CHECK(set[w] == ((a / FLUSHQ_CPUSET_BITS == w
							  ? 1ul << a % FLUSHQ_CPUSET_BITS
							  : 0) |
						 (b / FLUSHQ_CPUSET_BITS == w
							  ? 1ul << b % FLUSHQ_CPUSET_BITS
							  : 0)),
				      "harts %u and %u are not the set's", a, b);
			CHECK(flushq_sbi_send_ipi(set, WORDS) == 0, "an error");
			served(set);
		}
	}
	return passed();
}
