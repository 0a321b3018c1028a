/* SPDX-License-Identifier: MIT */
/*
 * riscv.h - the RISC-V backend, rv64 and rv32, for S-mode.
 *
 * sfence.vma rs1, rs2 (privileged specification, "Supervisor Memory-Management Fence Instruction"):
 *
 *	rs1 = x0	all addresses, all levels of the tables
 *	rs1 != x0	leaf entries of that address alone
 *	rs2 = x0	all ASIDs, and global mappings
 *	rs2 != x0	that ASID, and no global mappings
 *
 * It is the register's number that counts, not its value, so address 0 and ASID 0 go in a register
 * other than x0. It orders the hart's earlier stores, and what it has seen of other harts', before
 * its later page-table walks.
 *
 * FLUSHQ_RISCV_FLUSH_ALL=1 makes every flush one of everything, for cores whose sfence.vma with an
 * address or an ASID does not work (SiFive erratum CIP-1200); a host that finds out at boot defines it as
 * an expression. FLUSHQ_PAGES_MAX (config.h) is the threshold otherwise.
 *
 * The host supplies flushq_host_interrupt(), for which arch/riscv/sbi.h has what it takes. (It is given
 * CPU numbers, and SBI takes hart ids.) Its handler calls flushq_riscv_acknowledge() first.
 */
#ifndef FLUSHQ_ARCH_RISCV_H
#define FLUSHQ_ARCH_RISCV_H

#include "../range.h"

#ifndef FLUSHQ_RISCV_FLUSH_ALL
#define FLUSHQ_RISCV_FLUSH_ALL 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* As flushq_arch_interrupt() in ../arch.h. */
void flushq_host_interrupt(const unsigned long *cpus, unsigned int words);

#ifdef __cplusplus
}
#endif

static inline void flushq_riscv_sfence_all(void)
{
	__asm__ __volatile__("sfence.vma zero, zero" ::: "memory");
}

/* A value in a register other than x0: clang takes x0 for a 0 that it knows of. */
static inline unsigned long flushq_riscv_in_register(unsigned long value)
{
	__asm__("" : "+r"(value));
	return value;
}

static inline void flushq_riscv_sfence_asid(unsigned long asid)
{
	__asm__ __volatile__("sfence.vma zero, %0" ::"r"(flushq_riscv_in_register(asid))
			     : "memory");
}

static inline void flushq_riscv_sfence_page(unsigned long address)
{
	__asm__ __volatile__("sfence.vma %0, zero" ::"r"(flushq_riscv_in_register(address))
			     : "memory");
}

static inline void flushq_riscv_sfence_page_asid(unsigned long address, unsigned long asid)
{
	__asm__ __volatile__("sfence.vma %0, %1" ::"r"(flushq_riscv_in_register(address)),
			     "r"(flushq_riscv_in_register(asid))
			     : "memory");
}

static inline bool flushq_arch_by_page(enum flushq_kind kind)
{
	/* Non-leaf entries need rs1 = x0. */
	return kind != FLUSHQ_TABLES && !(FLUSHQ_RISCV_FLUSH_ALL);
}

static inline void flushq_arch_flush(const struct flushq_range *range)
{
	bool whole = range->pages == 0 || !flushq_arch_by_page((enum flushq_kind)range->kind);
	uint32_t i;

	if (whole && (range->kind == FLUSHQ_GLOBAL || (FLUSHQ_RISCV_FLUSH_ALL)))
		flushq_riscv_sfence_all();
	else if (whole)
		flushq_riscv_sfence_asid(range->asid);
	else if (range->kind == FLUSHQ_GLOBAL)
		for (i = 0; i < range->pages; i++)
			flushq_riscv_sfence_page(range->start + ((unsigned long)i << range->shift));
	else
		for (i = 0; i < range->pages; i++)
			flushq_riscv_sfence_page_asid(
				range->start + ((unsigned long)i << range->shift), range->asid);
}

/* sstatus.SIE */
#define FLUSHQ_RISCV_SIE 2ul

static inline unsigned long flushq_arch_irq_save(void)
{
	unsigned long sstatus;

	__asm__ __volatile__("csrrci %0, sstatus, 2" : "=r"(sstatus)::"memory");
	return sstatus & FLUSHQ_RISCV_SIE;
}

static inline void flushq_arch_irq_restore(unsigned long flags)
{
	__asm__ __volatile__("csrs sstatus, %0" ::"r"(flags) : "memory");
}

static inline bool flushq_arch_irqs_off(void)
{
	unsigned long sstatus;

	__asm__ __volatile__("csrr %0, sstatus" : "=r"(sstatus));
	return !(sstatus & FLUSHQ_RISCV_SIE);
}

static inline void flushq_arch_relax(void)
{
	/* pause (Zihintpause), a hint that every hart accepts; written out for older assemblers. */
	__asm__ __volatile__(".4byte 0x0100000f" ::: "memory");
}

static inline void flushq_arch_interrupt(const unsigned long *cpus, unsigned int words)
{
	flushq_host_interrupt(cpus, words);
}

/* Takes back this hart's supervisor software interrupt (sip.SSIP): what is asked for from here on raises
 * it again. Accesses to memory are ordered behind that of the CSR, which is one of a device ("CSR Access
 * Ordering"). */
static inline void flushq_riscv_acknowledge(void)
{
	__asm__ __volatile__("csrci sip, 2\n\t"
			     "fence o, rw" ::
				     : "memory");
}

/* satp.ASID (privileged specification, "Supervisor Address Translation and Protection Register").
 */
#define FLUSHQ_RISCV_SATP_ASID_SHIFT (sizeof(long) == 8 ? 44 : 22)
#define FLUSHQ_RISCV_SATP_ASID_MASK (sizeof(long) == 8 ? 0xfffful : 0x1fful)

/*
 * ASID bits that this hart implements, 0 to 16. With paging on (in Bare mode the field is not
 * specified) and interrupts off. Flushes everything, as it lets another ASID in for a moment.
 */
static inline unsigned int flushq_riscv_asid_bits(void)
{
	const unsigned long field = FLUSHQ_RISCV_SATP_ASID_MASK << FLUSHQ_RISCV_SATP_ASID_SHIFT;
	unsigned long old, got;

	__asm__ __volatile__("csrr %0, satp\n\t"
			     "or %1, %0, %2\n\t"
			     "csrw satp, %1\n\t"
			     "csrr %1, satp\n\t"
			     "csrw satp, %0\n\t"
			     "sfence.vma zero, zero"
			     : "=&r"(old), "=&r"(got)
			     : "r"(field)
			     : "memory");
	got = got >> FLUSHQ_RISCV_SATP_ASID_SHIFT & FLUSHQ_RISCV_SATP_ASID_MASK;
	/* Bits are implemented from the lowest up. */
	return flushq_ctz(~got);
}

#endif
