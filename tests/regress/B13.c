/* SPDX-License-Identifier: MIT */
/*
 * B13: under KVM on RISC-V a guest's remote fences of one kind were answered with success, and
 * did nothing. Here each kind of request ends in a call of the firmware for every hart, and what
 * the firmware does not do is returned as its error.
 *
 * variant 1: freed tables are answered with success
 * patch arch/riscv/sbi.h
 *	-if (size == 0 || start + size == 0 || range->kind == FLUSHQ_TABLES) {
 *	+if (range->kind == FLUSHQ_TABLES)
 *	+	return FLUSHQ_SBI_SUCCESS;
 *	+if (size == 0 || start + size == 0 || range->kind == FLUSHQ_TABLES) {
 *
 * variant 2: an error is answered with success
 * patch arch/riscv/sbi.h
 *	-if (one != FLUSHQ_SBI_SUCCESS &&
 *	-    (error == FLUSHQ_SBI_SUCCESS || error == FLUSHQ_SBI_ERR_INVALID_PARAM))
 *	-	error = one;
 *	+
 */
#include "firmware.h"

int main(void)
{
	const unsigned long harts[WORDS] = { 0x8000000000000001ul, 0, 5 };
	enum flushq_kind kind;
	unsigned long size;

	for (kind = FLUSHQ_LEAF; kind <= FLUSHQ_GLOBAL; kind++) {
		for (size = 0; size <= 2 * PAGE; size += PAGE) {
			struct flushq_range range = flushq_range_make(1, PAGE, size, PAGE, kind);

			CHECK(flushq_sbi_remote_flush(harts, WORDS, &range) == 0, "an error");
			served(harts);
		}
	}
	CHECK(flushq_sbi_remote_fence_i(harts, WORDS) == 0, "an error");
	served(harts);
	firmware.stopped[0] = true;
	CHECK(flushq_sbi_remote_fence_i(harts, WORDS) != 0, "what was not done is a success");
	return passed();
}
