/* SPDX-License-Identifier: MIT */
/*
 * B9: firmware's remote fences had the wrong scope: another ASID or VMID, one for all, a guest's
 * address in the wrong unit. Here the range alone says what is fenced, in bytes; guest addresses do
 * not occur: an instance serves one VMID, and the host's port fences.
 *
 * variant 1: kernel ranges are fenced in one ASID
 * patch arch/riscv/sbi.h
 *	-if (range->kind == FLUSHQ_GLOBAL)
 *	+if (false)
 *
 * variant 2: freed tables are fenced as leaf entries
 * patch arch/riscv/sbi.h
 *	-|| range->kind == FLUSHQ_TABLES)
 *	+)
 *
 * variant 3: a drain flushes the CPU's ASID, not the request's
 * patch owner.h
 *	-range = flushq_priv_unpack(key, value);
 *	+range = flushq_priv_unpack(key, value);
 *	+range.asid = (uint16_t)(cpu->context >> 16);
 */
#include "firmware.h"

static struct space *const a = &machine.space[0], *const b = &machine.space[1];

static void fences(flushq_asid asid, enum flushq_kind kind, unsigned long size)
{
	const struct flushq_range range = flushq_range_make(asid, 2 * PAGE, size, PAGE, kind);
	const unsigned long harts[WORDS] = { 2, 0, 0 };
	bool whole = size == 0 || kind == FLUSHQ_TABLES;
	const struct flushq_sbi_call *call = &firmware.last;

	CHECK(flushq_sbi_remote_flush(harts, WORDS, &range) == 0, "a fence is refused");
	CHECK(call->fid == (kind == FLUSHQ_GLOBAL ? FLUSHQ_SBI_RFENCE_SFENCE_VMA
						  : FLUSHQ_SBI_RFENCE_SFENCE_VMA_ASID),
	      "the wrong fence: %lu", call->fid);
	CHECK(call->arg[2] == (whole ? 0 : 2 * PAGE) && call->arg[3] == (whole ? ~0ul : size),
	      "the wrong addresses: %#lx, %#lx", call->arg[2], call->arg[3]);
	CHECK(kind == FLUSHQ_GLOBAL || call->arg[4] == asid, "the wrong ASID");
}

int main(void)
{
	enum flushq_kind kind;

	for (kind = FLUSHQ_LEAF; kind <= FLUSHQ_GLOBAL; kind++) {
		fences(5, kind, 3 * PAGE);
		fences(5, kind, 0);
	}
	/* CPU 1 owes a two pages when it drains in b, and returns. */
	machine_start();
	online(0);
	online(1);
	space_new(a, 1, false);
	space_new(b, 2, false);
	switch_to(1, a);
	switch_to(1, b);
	unmap(0, a, 0);
	irqs_off(1);
	flushq_tick(&machine.fq, 1);
	irqs_on(1);
	switch_to(1, a);
	return passed();
}
