/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#ifndef __riscv
#include "flushq/arch/riscv/sbi.h"

#include <string.h>

#define BITS FLUSHQ_CPUSET_BITS
#define WORDS 4
#define HARTS (WORDS * BITS)
#define PAGE (1ul << FLUSHQ_PAGE_SHIFT)

/* Firmware that does what the SBI specification lets it do worst. */
static struct {
	bool stopped[HARTS], broken[HARTS];
	unsigned int calls, served[HARTS];
	struct flushq_sbi_call last;
	long fails; /* every call, with this */
	unsigned long extension;
	/* What was fenced, as firmware that computes start + size sees it. */
	unsigned long start, end;
} fw;

struct flushq_sbi_ret flushq_sbi_ecall(const struct flushq_sbi_call *call)
{
	struct flushq_sbi_ret ret = { FLUSHQ_SBI_SUCCESS, 0 };
	unsigned int bit;

	fw.calls++;
	fw.last = *call;
	if (call->ext == FLUSHQ_SBI_BASE && call->fid == FLUSHQ_SBI_BASE_PROBE) {
		ret.value = call->arg[0] == fw.extension;
		ret.error = fw.fails;
		return ret;
	}
	if (fw.fails) {
		ret.error = fw.fails;
		return ret;
	}
	/* B15: a base past the machine. */
	CHECK(call->arg[1] < HARTS && call->arg[1] != ~0ul);
	/* B8: one hart that is stopped, and the whole call is refused. */
	for (bit = 0; bit < BITS; bit++)
		if (call->arg[0] >> bit & 1 &&
		    (call->arg[1] + bit >= HARTS || fw.stopped[call->arg[1] + bit])) {
			ret.error = FLUSHQ_SBI_ERR_INVALID_PARAM;
			return ret;
		}
	for (bit = 0; bit < BITS; bit++)
		if (call->arg[0] >> bit & 1 && fw.broken[call->arg[1] + bit]) {
			ret.error = FLUSHQ_SBI_ERR_FAILED;
			return ret;
		}
	for (bit = 0; bit < BITS; bit++)
		if (call->arg[0] >> bit & 1)
			fw.served[call->arg[1] + bit]++;
	fw.start = call->arg[2];
	fw.end = call->arg[2] + call->arg[3];
	return ret;
}

static unsigned long harts[WORDS];

static void begin(void)
{
	memset(&fw, 0, sizeof(fw));
	memset(harts, 0, sizeof(harts));
}

static void served_all_but_stopped(void)
{
	unsigned int h;

	for (h = 0; h < HARTS; h++)
		CHECK(fw.served[h] == (flushq_cpuset_has(harts, h) && !fw.stopped[h]));
}

TEST(sbi, windows)
{
	static const unsigned int some[] = { 0, 1, BITS - 1, BITS, 2 * BITS + 5, HARTS - 1 };
	unsigned int i;

	begin();
	for (i = 0; i < 6; i++)
		flushq_cpuset_add(harts, some[i]);
	CHECK(flushq_sbi_send_ipi(harts, WORDS) == FLUSHQ_SBI_SUCCESS);
	served_all_but_stopped();
	CHECK(fw.calls == 4);
	CHECK(fw.last.ext == 0x735049 && fw.last.fid == 0);
	/* Nobody: no call. */
	begin();
	CHECK(flushq_sbi_send_ipi(harts, WORDS) == FLUSHQ_SBI_SUCCESS && fw.calls == 0);
}

TEST(sbi, a_stopped_hart_loses_nothing_for_the_others)
{
	unsigned int round, h;

	for (round = 0; round < 2000; round++) {
		bool refused = false;
		long error;

		begin();
		for (h = 0; h < HARTS; h++) {
			if (check_below(4) == 0)
				flushq_cpuset_add(harts, h);
			fw.stopped[h] = check_below(round % 2 ? 8 : 300) == 0;
			refused |= fw.stopped[h] && flushq_cpuset_has(harts, h);
		}
		error = round % 3 == 0 ? flushq_sbi_send_ipi(harts, WORDS)
			: round % 3 == 1
				? flushq_sbi_remote_fence_i(harts, WORDS)
				: flushq_sbi_remote_sfence_vma_asid(harts, WORDS, 0, ~0ul, 5);
		served_all_but_stopped();
		CHECK(error == (refused ? FLUSHQ_SBI_ERR_INVALID_PARAM : FLUSHQ_SBI_SUCCESS));
	}
}

TEST(sbi, errors_come_back)
{
	begin();
	fw.fails = FLUSHQ_SBI_ERR_NOT_SUPPORTED;
	harts[1] = 6;
	CHECK(flushq_sbi_remote_fence_i(harts, WORDS) == FLUSHQ_SBI_ERR_NOT_SUPPORTED);
	CHECK(fw.calls == 3);
}

/* A hart that is stopped flushes when it starts: that says less than any other error. */
TEST(sbi, an_error_is_not_hidden_by_a_stopped_hart)
{
	begin();
	harts[0] = 0xe;
	fw.stopped[1] = fw.stopped[3] = fw.broken[2] = true;
	CHECK(flushq_sbi_remote_fence_i(harts, WORDS) == FLUSHQ_SBI_ERR_FAILED);
	fw.broken[2] = false;
	CHECK(flushq_sbi_remote_fence_i(harts, WORDS) == FLUSHQ_SBI_ERR_INVALID_PARAM);
	CHECK(fw.served[2] == 1);
}

/* Hart 0 may be one that runs no S-mode: firmware may refuse it as a base, too. */
TEST(sbi, a_base_is_a_hart_of_the_set)
{
	begin();
	harts[0] = 6;
	harts[2] = 1ul << (BITS - 1);
	CHECK(flushq_sbi_send_ipi(harts, 1) == FLUSHQ_SBI_SUCCESS);
	CHECK(fw.calls == 1 && fw.last.arg[0] == 3 && fw.last.arg[1] == 1);
	CHECK(flushq_sbi_send_ipi(harts, WORDS) == FLUSHQ_SBI_SUCCESS);
	CHECK(fw.calls == 3 && fw.last.arg[0] == 1 && fw.last.arg[1] == 3 * BITS - 1);
}

static void flushed(unsigned long fid, unsigned long start, unsigned long size, unsigned long asid)
{
	CHECK(fw.last.ext == 0x52464E43);
	CHECK(fw.last.fid == fid && fw.last.arg[2] == start && fw.last.arg[3] == size);
	if (fid == 2)
		CHECK(fw.last.arg[4] == asid);
}

TEST(sbi, calls_are_numbered_as_specified)
{
	begin();
	harts[0] = 2;
	CHECK(flushq_sbi_remote_fence_i(harts, WORDS) == FLUSHQ_SBI_SUCCESS);
	CHECK(fw.last.ext == 0x52464E43 && fw.last.fid == 0 && fw.last.arg[0] == 1 &&
	      fw.last.arg[1] == 1);
	CHECK(flushq_sbi_remote_sfence_vma(harts, WORDS, 7, 9) == FLUSHQ_SBI_SUCCESS);
	flushed(1, 7, 9, 0);
	CHECK(flushq_sbi_remote_sfence_vma_asid(harts, WORDS, 7, 9, 11) == FLUSHQ_SBI_SUCCESS);
	flushed(2, 7, 9, 11);
	CHECK(FLUSHQ_SBI_HSM == 0x48534D && FLUSHQ_SBI_TIME == 0x54494D45 &&
	      FLUSHQ_SBI_SRST == 0x53525354 && FLUSHQ_SBI_BASE == 0x10);
}

TEST(sbi, remote_flush)
{
	struct flushq_range r = fake_page(7, 3);

	begin();
	harts[0] = 1;
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
	flushed(2, 3 * PAGE, PAGE, 7);
	r = fake_page(0, 0);
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
	flushed(2, 0, PAGE, 0);
	/* B12: every address is all ones. */
	r = flushq_range_whole(7, FLUSHQ_LEAF);
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
	flushed(2, 0, ~0ul, 7);
	/* A call with a range leaves non-leaf entries. */
	r = fake_page(7, 3);
	r.kind = FLUSHQ_TABLES;
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
	flushed(2, 0, ~0ul, 7);
	/* B9: kernel ranges are for every ASID. */
	r = flushq_range_make(7, 3 * PAGE, PAGE, PAGE, FLUSHQ_GLOBAL);
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
	flushed(1, 3 * PAGE, PAGE, 0);
	r = flushq_range_whole(7, FLUSHQ_GLOBAL);
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
	flushed(1, 0, ~0ul, 0);
	/* Pages of a large stride: their bytes. */
	r = flushq_range_make(7, 0, 1, PAGE << 9, FLUSHQ_LEAF);
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
	flushed(2, 0, PAGE << 9, 7);
	/* Two pages of half of the address space each. */
	if (FLUSHQ_PAGES_MAX >= 2) {
		r = flushq_range_make(7, 1, ~0ul - 1, 1ul << (BITS - 1), FLUSHQ_LEAF);
		CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
		flushed(2, 0, ~0ul, 7);
	}
}

/* B22: firmware that computes start + size must not find an empty range. */
TEST(sbi, the_top_page_is_not_lost)
{
	struct flushq_range r = flushq_range_make(7, ~0ul, 1, PAGE, FLUSHQ_LEAF);

	begin();
	harts[0] = 1;
	CHECK(r.pages == 1);
	CHECK(flushq_sbi_remote_flush(harts, WORDS, &r) == FLUSHQ_SBI_SUCCESS);
	CHECK(fw.last.arg[3] == ~0ul || fw.end > fw.start);
}

TEST(sbi, probe)
{
	begin();
	fw.extension = FLUSHQ_SBI_RFENCE;
	CHECK(flushq_sbi_probe(FLUSHQ_SBI_RFENCE) && !flushq_sbi_probe(FLUSHQ_SBI_HSM));
	CHECK(fw.last.ext == 0x10 && fw.last.fid == 3 && fw.last.arg[0] == FLUSHQ_SBI_HSM);
	fw.fails = FLUSHQ_SBI_ERR_FAILED;
	CHECK(!flushq_sbi_probe(FLUSHQ_SBI_RFENCE));
}

TEST(sbi, error_names)
{
	static const char *const names[] = { "SBI_SUCCESS",
					     "SBI_ERR_FAILED",
					     "SBI_ERR_NOT_SUPPORTED",
					     "SBI_ERR_INVALID_PARAM",
					     "SBI_ERR_DENIED",
					     "SBI_ERR_INVALID_ADDRESS",
					     "SBI_ERR_ALREADY_AVAILABLE",
					     "SBI_ERR_ALREADY_STARTED",
					     "SBI_ERR_ALREADY_STOPPED" };
	long e;

	for (e = 0; e < 9; e++)
		CHECK(strcmp(flushq_sbi_error_name(-e), names[e]) == 0);
	CHECK(strcmp(flushq_sbi_error_name(-99), "unknown SBI error") == 0);
	CHECK(strcmp(flushq_sbi_error_name(1), "unknown SBI error") == 0);
}

#endif
