/* SPDX-License-Identifier: MIT */
/* firmware.h - firmware for arch/riscv/sbi.h that refuses whatever the specification lets it. */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include "machine.h"
#include <flushq/arch/riscv/sbi.h>

#define WORDS 3
#define NR_HARTS (WORDS * FLUSHQ_CPUSET_BITS)

static struct {
	bool stopped[NR_HARTS];
	unsigned int served[NR_HARTS];
	struct flushq_sbi_call last;
	unsigned int calls;
} firmware;

struct flushq_sbi_ret flushq_sbi_ecall(const struct flushq_sbi_call *call)
{
	struct flushq_sbi_ret ret = { FLUSHQ_SBI_SUCCESS, 0 };
	unsigned long hart;
	unsigned int bit;

	firmware.last = *call;
	firmware.calls++;
	for (bit = 0; bit < FLUSHQ_CPUSET_BITS; bit++) {
		hart = call->arg[1] + bit;
		if (call->arg[0] >> bit & 1 && (hart >= NR_HARTS || firmware.stopped[hart]))
			ret.error = FLUSHQ_SBI_ERR_INVALID_PARAM;
	}
	for (bit = 0; bit < FLUSHQ_CPUSET_BITS && !ret.error; bit++)
		if (call->arg[0] >> bit & 1)
			firmware.served[call->arg[1] + bit]++;
	return ret;
}

/* Every hart of the set that runs was served once, no other was. */
static inline void served(const unsigned long *harts)
{
	unsigned int hart;

	for (hart = 0; hart < NR_HARTS; hart++) {
		bool due = harts[hart / FLUSHQ_CPUSET_BITS] >> hart % FLUSHQ_CPUSET_BITS & 1 &&
			   !firmware.stopped[hart];

		CHECK(firmware.served[hart] == due, "hart %u is fenced %u times instead of %u",
		      hart, firmware.served[hart], due);
		firmware.served[hart] = 0;
	}
}

#endif
