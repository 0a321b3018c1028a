/* SPDX-License-Identifier: MIT */
/* The SBI calls a kernel needs besides those of flushq/arch/riscv/sbi.h. */
#ifndef SBI_H
#define SBI_H

#define SBI_TIME 0x54494D45UL
#define SBI_HSM 0x48534DUL
#define SBI_HSM_STOPPED 1

struct sbi_ret {
	long error;
	long value;
};

static inline struct sbi_ret sbi_call(unsigned long ext, unsigned long fid, unsigned long arg0,
				      unsigned long arg1, unsigned long arg2)
{
	register unsigned long a0 __asm__("a0") = arg0;
	register unsigned long a1 __asm__("a1") = arg1;
	register unsigned long a2 __asm__("a2") = arg2;
	register unsigned long a6 __asm__("a6") = fid;
	register unsigned long a7 __asm__("a7") = ext;
	struct sbi_ret ret;

	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
	ret.error = (long)a0;
	ret.value = (long)a1;
	return ret;
}

static inline struct sbi_ret sbi_set_timer(unsigned long when)
{
	return sbi_call(SBI_TIME, 0, when, 0, 0);
}

static inline struct sbi_ret sbi_hart_start(unsigned long id, unsigned long pc, unsigned long arg)
{
	return sbi_call(SBI_HSM, 0, id, pc, arg);
}

/* Returns only if it fails. */
static inline struct sbi_ret sbi_hart_stop(void)
{
	return sbi_call(SBI_HSM, 1, 0, 0, 0);
}

static inline struct sbi_ret sbi_hart_status(unsigned long id)
{
	return sbi_call(SBI_HSM, 2, id, 0, 0);
}

#endif
