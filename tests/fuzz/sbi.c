/* SPDX-License-Identifier: MIT */
/*
 * sbi - the calls of arch/riscv/sbi.h on any set of harts, before firmware that refuses what it may:
 * each hart of the set that can be served is, with all that was asked for, and no other is named.
 *
 * variant 1: a window's base is that of the one before
 * patch arch/riscv/sbi.h
 *	-unsigned long base = (unsigned long)w * FLUSHQ_CPUSET_BITS;
 *	+unsigned long base = (unsigned long)(w - (w > 1)) * FLUSHQ_CPUSET_BITS;
 *
 * variant 2: what was refused is given up for all the harts of its call
 * patch arch/riscv/sbi.h
 *	-while (left) {
 *	+for (left = 0; left;) {
 *
 * variant 3: a range up to the top ends at 0
 * patch arch/riscv/sbi.h
 *	-if (size == 0 || start + size == 0 || range->kind == FLUSHQ_TABLES) {
 *	+if (size == 0 || range->kind == FLUSHQ_TABLES) {
 *
 * variant 4: a hart that is stopped hides another's error
 * patch arch/riscv/sbi.h
 *	-if (one != FLUSHQ_SBI_SUCCESS &&
 *	-    (error == FLUSHQ_SBI_SUCCESS || error == FLUSHQ_SBI_ERR_INVALID_PARAM))
 *	+if (one != FLUSHQ_SBI_SUCCESS && error == FLUSHQ_SBI_SUCCESS)
 *
 * variant 5: freed tables are flushed page by page
 * patch arch/riscv/sbi.h
 *	-if (size == 0 || start + size == 0 || range->kind == FLUSHQ_TABLES) {
 *	+if (size == 0 || start + size == 0) {
 *
 * variant 6: a call's base is a hart that is not of the set
 * patch arch/riscv/sbi.h
 *	-first = flushq_ctz(left);
 *	+first = 0;
 */
#include <string.h>

#include "input.h"
#include <flushq/arch/riscv/sbi.h>

#define BITS FLUSHQ_CPUSET_BITS
#define WORDS 4
#define HARTS (WORDS * BITS)

/* The firmware: which harts it refuses and how, which calls it refuses at all. */
static struct {
	int8_t refuses[HARTS]; /* an error, or 0 */
	bool serves_some; /* of a call that it refuses, those before the one that it does not like */
	unsigned int fails; /* calls for more than one hart: one in so many; 0: none */
	unsigned int calls;
	unsigned long set[WORDS], served[WORDS];
	struct flushq_sbi_call want;
	struct flushq_range range;
	bool whole; /* flushq_sbi_remote_flush() of `range` */
} fw;

/* What firmware does that computes the end: each page from start on before it. */
static bool fences(unsigned long start, unsigned long size, unsigned long address)
{
	if (size == ~0ul || (start == 0 && size == 0))
		return true;
	return address >= start && address < start + size;
}

static void check_range(const struct flushq_sbi_call *call)
{
	const struct flushq_range *r = &fw.range;
	unsigned long start = call->arg[2], size = call->arg[3];
	bool all = size == ~0ul || (start == 0 && size == 0);
	unsigned int i;

	CHECK(call->ext == FLUSHQ_SBI_RFENCE);
	CHECK(call->fid == (r->kind == FLUSHQ_GLOBAL ? FLUSHQ_SBI_RFENCE_SFENCE_VMA
						     : FLUSHQ_SBI_RFENCE_SFENCE_VMA_ASID));
	CHECK(r->kind == FLUSHQ_GLOBAL || call->arg[4] == r->asid);
	if (r->kind == FLUSHQ_TABLES || r->pages == 0)
		CHECK(all);
	for (i = 0; i < r->pages; i++) {
		unsigned long address = r->start + ((unsigned long)i << r->shift);

		CHECK(fences(start, size, address));
		CHECK(fences(start, size, address + (1ul << r->shift) - 1));
	}
	/* No more than that, but at the top. */
	if (r->pages && r->kind != FLUSHQ_TABLES && !all)
		CHECK(start == r->start && size == (unsigned long)r->pages << r->shift);
	if (all && r->pages && r->kind != FLUSHQ_TABLES)
		CHECK(r->start + ((unsigned long)r->pages << r->shift) == 0);
}

struct flushq_sbi_ret flushq_sbi_ecall(const struct flushq_sbi_call *call)
{
	struct flushq_sbi_ret ret = { 0, 0 };
	unsigned long mask = call->arg[0], base = call->arg[1], left, served = 0;
	unsigned int bit;

	/* The base is of the set. */
	CHECK(mask & 1 && base < HARTS);
	CHECK(++fw.calls <= WORDS + HARTS);
	if (fw.whole)
		check_range(call);
	else
		CHECK(call->ext == fw.want.ext && call->fid == fw.want.fid &&
		      !memcmp(call->arg + 2, fw.want.arg + 2, sizeof(call->arg[0]) * 3));
	/* Nobody else is named, served or not. */
	CHECK(base % BITS + (BITS - 1 - (unsigned int)__builtin_clzl(mask)) < BITS);
	CHECK(!(mask << base % BITS & ~fw.set[base / BITS]));
	for (left = mask; left && !ret.error; left &= left - 1) {
		bit = (unsigned int)__builtin_ctzl(left);
		ret.error = fw.refuses[base + bit];
		if (!ret.error)
			served |= 1ul << bit;
	}
	if ((mask & (mask - 1)) && fw.fails && fw.calls % fw.fails == 0) {
		ret.error = FLUSHQ_SBI_ERR_FAILED;
		served = 0;
	}
	if (!ret.error || fw.serves_some)
		fw.served[base / BITS] |= served << base % BITS;
	return ret;
}

static long call(struct input *in, unsigned int words)
{
	unsigned long *arg = fw.want.arg;

	fw.want.ext = FLUSHQ_SBI_RFENCE;
	switch (input_byte(in) & 7) {
	case 0:
		fw.want.ext = FLUSHQ_SBI_IPI;
		fw.want.fid = FLUSHQ_SBI_IPI_SEND;
		return flushq_sbi_send_ipi(fw.set, words);
	case 1:
		fw.want.fid = FLUSHQ_SBI_RFENCE_FENCE_I;
		return flushq_sbi_remote_fence_i(fw.set, words);
	case 2:
		fw.want.fid = FLUSHQ_SBI_RFENCE_SFENCE_VMA;
		arg[2] = input_hostile(in);
		arg[3] = input_hostile(in);
		return flushq_sbi_remote_sfence_vma(fw.set, words, arg[2], arg[3]);
	case 3:
		fw.want.fid = FLUSHQ_SBI_RFENCE_SFENCE_VMA_ASID;
		arg[2] = input_hostile(in);
		arg[3] = input_hostile(in);
		arg[4] = input_hostile(in);
		return flushq_sbi_remote_sfence_vma_asid(fw.set, words, arg[2], arg[3], arg[4]);
	default:
		fw.whole = true;
		fw.range = input_range(in);
		return flushq_sbi_remote_flush(fw.set, words, &fw.range);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned int how, words, h;
	unsigned long left;
	long error, first = 0;

	memset(&fw, 0, sizeof(fw));
	how = input_byte(&in);
	words = how % (WORDS + 1);
	fw.serves_some = how >> 4 & 1;
	fw.fails = how >> 5;
	/* The set: whole words, or harts one by one; then those that are refused. */
	for (h = 0; h < words; h++) {
		unsigned int what = input_byte(&in);

		fw.set[h] = what < 3 ? input_word(&in) : what < 250 ? 1ul << what % BITS : ~0ul;
		if (what == 249)
			fw.set[h] = 0;
	}
	for (h = input_byte(&in) & 7; h; h--)
		fw.refuses[input_byte(&in) % HARTS] = (int8_t)(-1 - (int)(input_byte(&in) & 7));

	error = call(&in, words);
	for (h = 0; h < words; h++)
		for (left = fw.set[h]; left; left &= left - 1) {
			unsigned int hart = h * BITS + (unsigned int)__builtin_ctzl(left);

			/* Who is stopped flushes when it starts: any other error counts for more. */
			if (fw.refuses[hart] && (!first || first == FLUSHQ_SBI_ERR_INVALID_PARAM))
				first = fw.refuses[hart];
			CHECK(fw.refuses[hart] || flushq_cpuset_has(fw.served, hart));
		}
	CHECK(error == first);
	return 0;
}
