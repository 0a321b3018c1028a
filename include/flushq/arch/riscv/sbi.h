/* SPDX-License-Identifier: MIT */
/*
 * sbi.h - the calls of the RISC-V Supervisor Binary Interface that a TLB shootdown needs. Chapter
 * names are those of the SBI specification, version 1.0 and later.
 *
 * Harts are given as a set (../../cpuset.h) of hart ids, of any size: a call takes at most XLEN
 * harts from a base on, so it is made once for each word. They are the firmware's numbers: where a
 * host numbers its CPUs otherwise (Linux does), it translates what it gets from flushq first.
 *
 * A hart that is stopped or unknown must not lose the fence for the others (firmware refuses the whole
 * call for it): what is refused is asked again hart by hart.
 */
#ifndef FLUSHQ_ARCH_RISCV_SBI_H
#define FLUSHQ_ARCH_RISCV_SBI_H

#include "../../cpuset.h"
#include "../../range.h"

/* Extension ids ("Base", "IPI", "RFENCE", "Timer", "Hart State Management", "System Reset"). */
#define FLUSHQ_SBI_BASE 0x10ul
#define FLUSHQ_SBI_IPI 0x735049ul
#define FLUSHQ_SBI_RFENCE 0x52464E43ul
#define FLUSHQ_SBI_TIME 0x54494D45ul
#define FLUSHQ_SBI_HSM 0x48534Dul
#define FLUSHQ_SBI_SRST 0x53525354ul

#define FLUSHQ_SBI_BASE_PROBE 3ul
#define FLUSHQ_SBI_IPI_SEND 0ul
#define FLUSHQ_SBI_RFENCE_FENCE_I 0ul
#define FLUSHQ_SBI_RFENCE_SFENCE_VMA 1ul
#define FLUSHQ_SBI_RFENCE_SFENCE_VMA_ASID 2ul

/* "Binary Encoding", standard error codes. */
enum flushq_sbi_error {
	FLUSHQ_SBI_SUCCESS = 0,
	FLUSHQ_SBI_ERR_FAILED = -1,
	FLUSHQ_SBI_ERR_NOT_SUPPORTED = -2,
	FLUSHQ_SBI_ERR_INVALID_PARAM = -3,
	FLUSHQ_SBI_ERR_DENIED = -4,
	FLUSHQ_SBI_ERR_INVALID_ADDRESS = -5,
	FLUSHQ_SBI_ERR_ALREADY_AVAILABLE = -6,
	FLUSHQ_SBI_ERR_ALREADY_STARTED = -7,
	FLUSHQ_SBI_ERR_ALREADY_STOPPED = -8,
	FLUSHQ_SBI_ERR_NO_SHMEM = -9,
	FLUSHQ_SBI_ERR_INVALID_STATE = -10,
	FLUSHQ_SBI_ERR_BAD_RANGE = -11,
	FLUSHQ_SBI_ERR_TIMEOUT = -12,
	FLUSHQ_SBI_ERR_IO = -13,
};

/* The name of an SBI error code, for a message. */
static inline const char *flushq_sbi_error_name(long error)
{
	switch (error) {
	case FLUSHQ_SBI_SUCCESS:
		return "SBI_SUCCESS";
	case FLUSHQ_SBI_ERR_FAILED:
		return "SBI_ERR_FAILED";
	case FLUSHQ_SBI_ERR_NOT_SUPPORTED:
		return "SBI_ERR_NOT_SUPPORTED";
	case FLUSHQ_SBI_ERR_INVALID_PARAM:
		return "SBI_ERR_INVALID_PARAM";
	case FLUSHQ_SBI_ERR_DENIED:
		return "SBI_ERR_DENIED";
	case FLUSHQ_SBI_ERR_INVALID_ADDRESS:
		return "SBI_ERR_INVALID_ADDRESS";
	case FLUSHQ_SBI_ERR_ALREADY_AVAILABLE:
		return "SBI_ERR_ALREADY_AVAILABLE";
	case FLUSHQ_SBI_ERR_ALREADY_STARTED:
		return "SBI_ERR_ALREADY_STARTED";
	case FLUSHQ_SBI_ERR_ALREADY_STOPPED:
		return "SBI_ERR_ALREADY_STOPPED";
	case FLUSHQ_SBI_ERR_NO_SHMEM:
		return "SBI_ERR_NO_SHMEM";
	case FLUSHQ_SBI_ERR_INVALID_STATE:
		return "SBI_ERR_INVALID_STATE";
	case FLUSHQ_SBI_ERR_BAD_RANGE:
		return "SBI_ERR_BAD_RANGE";
	case FLUSHQ_SBI_ERR_TIMEOUT:
		return "SBI_ERR_TIMEOUT";
	case FLUSHQ_SBI_ERR_IO:
		return "SBI_ERR_IO";
	default:
		return "unknown SBI error";
	}
}

struct flushq_sbi_call {
	unsigned long ext, fid, arg[5];
};

struct flushq_sbi_ret {
	long error, value;
};

#ifdef __riscv
static inline struct flushq_sbi_ret flushq_sbi_ecall(const struct flushq_sbi_call *call)
{
	/*
	 * A copy first: between two of the registers there must be no call, and a sanitizer makes one of
	 * each access to memory (gcc, "Specifying Registers for Local Variables").
	 */
	const unsigned long v0 = call->arg[0], v1 = call->arg[1], v2 = call->arg[2],
			    v3 = call->arg[3], v4 = call->arg[4], v6 = call->fid, v7 = call->ext;
	register unsigned long a0 __asm__("a0") = v0;
	register unsigned long a1 __asm__("a1") = v1;
	register unsigned long a2 __asm__("a2") = v2;
	register unsigned long a3 __asm__("a3") = v3;
	register unsigned long a4 __asm__("a4") = v4;
	register unsigned long a6 __asm__("a6") = v6;
	register unsigned long a7 __asm__("a7") = v7;
	struct flushq_sbi_ret ret;

	__asm__ __volatile__("ecall"
			     : "+r"(a0), "+r"(a1)
			     : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7)
			     : "memory");
	ret.error = (long)a0;
	ret.value = (long)a1;
	return ret;
}
#else
/* Elsewhere (tests, simulators) the host is the firmware. */
#ifdef __cplusplus
extern "C"
#endif
	struct flushq_sbi_ret
	flushq_sbi_ecall(const struct flushq_sbi_call *call);
#endif

/* Whether the firmware has the extension `ext`. */
static inline bool flushq_sbi_probe(unsigned long ext)
{
	struct flushq_sbi_call call = { FLUSHQ_SBI_BASE,
					FLUSHQ_SBI_BASE_PROBE,
					{ ext, 0, 0, 0, 0 } };
	struct flushq_sbi_ret ret = flushq_sbi_ecall(&call);

	return ret.error == FLUSHQ_SBI_SUCCESS && ret.value != 0;
}

/*
 * Makes `call`, which takes a hart mask and its base first, for every hart of the set. Returns
 * FLUSHQ_SBI_SUCCESS, or the first error that a single hart met, INVALID_PARAM (a hart that is stopped,
 * which flushes when it starts) only if there was no other; all the other harts of the set have been
 * served even so.
 */
static inline FLUSHQ_MUST_CHECK long flushq_priv_sbi_for_harts(struct flushq_sbi_call *call,
							       const unsigned long *harts,
							       unsigned int words)
{
	long error = FLUSHQ_SBI_SUCCESS;
	unsigned int w;

	for (w = 0; w < words; w++) {
		unsigned long left = harts[w];
		unsigned long base = (unsigned long)w * FLUSHQ_CPUSET_BITS;
		unsigned int first;

		if (left == 0)
			continue;
		/* The base is a hart of the set: firmware may refuse one that is no S-mode's. */
		first = flushq_ctz(left);
		call->arg[0] = left >> first;
		call->arg[1] = base + first;
		if (flushq_sbi_ecall(call).error == FLUSHQ_SBI_SUCCESS)
			continue;
		while (left) {
			long one;

			call->arg[0] = 1;
			call->arg[1] = base + flushq_cpuset_pop(&left);
			one = flushq_sbi_ecall(call).error;
			if (one != FLUSHQ_SBI_SUCCESS &&
			    (error == FLUSHQ_SBI_SUCCESS || error == FLUSHQ_SBI_ERR_INVALID_PARAM))
				error = one;
		}
	}
	return error;
}

/* Raises a supervisor software interrupt on each hart of the set. */
static inline FLUSHQ_MUST_CHECK long flushq_sbi_send_ipi(const unsigned long *harts,
							 unsigned int words)
{
	struct flushq_sbi_call call = { FLUSHQ_SBI_IPI, FLUSHQ_SBI_IPI_SEND, { 0, 0, 0, 0, 0 } };

	return flushq_priv_sbi_for_harts(&call, harts, words);
}

/* fence.i on each hart of the set; returns when all are done. */
static inline FLUSHQ_MUST_CHECK long flushq_sbi_remote_fence_i(const unsigned long *harts,
							       unsigned int words)
{
	struct flushq_sbi_call call = { FLUSHQ_SBI_RFENCE,
					FLUSHQ_SBI_RFENCE_FENCE_I,
					{ 0, 0, 0, 0, 0 } };

	return flushq_priv_sbi_for_harts(&call, harts, words);
}

/*
 * sfence.vma on each hart of the set, for `size` bytes from `start` on (size all ones: every
 * address), in every ASID; returns when all are done. Leaf entries only, unless for every address.
 */
static inline FLUSHQ_MUST_CHECK long flushq_sbi_remote_sfence_vma(const unsigned long *harts,
								  unsigned int words,
								  unsigned long start,
								  unsigned long size)
{
	struct flushq_sbi_call call = { FLUSHQ_SBI_RFENCE,
					FLUSHQ_SBI_RFENCE_SFENCE_VMA,
					{ 0, 0, start, size, 0 } };

	return flushq_priv_sbi_for_harts(&call, harts, words);
}

/* The same in one ASID. */
static inline FLUSHQ_MUST_CHECK long
flushq_sbi_remote_sfence_vma_asid(const unsigned long *harts, unsigned int words,
				  unsigned long start, unsigned long size, unsigned long asid)
{
	struct flushq_sbi_call call = { FLUSHQ_SBI_RFENCE,
					FLUSHQ_SBI_RFENCE_SFENCE_VMA_ASID,
					{ 0, 0, start, size, asid } };

	return flushq_priv_sbi_for_harts(&call, harts, words);
}

/*
 * The remote fence that `range` asks for, on each hart of the set: what follows flushq_post_fenced(), of
 * whose CPUs these are the hart ids. That recorded no debt, so where another error than INVALID_PARAM
 * comes back the flush is still to be done.
 */
static inline FLUSHQ_MUST_CHECK long flushq_sbi_remote_flush(const unsigned long *harts,
							     unsigned int words,
							     const struct flushq_range *range)
{
	unsigned long start = range->start, size = (unsigned long)range->pages << range->shift;

	/*
	 * Every address: no range, freed tables (non-leaf entries), or a range up to the top, whose
	 * end is 0 for firmware that computes it.
	 */
	if (size == 0 || start + size == 0 || range->kind == FLUSHQ_TABLES) {
		start = 0;
		size = ~0ul;
	}
	if (range->kind == FLUSHQ_GLOBAL)
		return flushq_sbi_remote_sfence_vma(harts, words, start, size);
	return flushq_sbi_remote_sfence_vma_asid(harts, words, start, size, range->asid);
}

#endif
