/* SPDX-License-Identifier: MIT */
/*
 * A guest of a few lines for the auditor: hart 0 maps a page, uses it, moves it, and uses it again;
 * WITH says what it does about its TLB in between. Runs without firmware; the other harts
 * sleep, or (CROSS) use the page themselves while hart 0 moves it. MPRV: stays in M mode, with the
 * accesses of S mode. MPV: becomes a guest of M mode's. FOREVER: does not end.
 */
#include <stdint.h>

#define WITH_NOTHING 0
#define WITH_VA 1 /* sfence.vma of the address and ASID */
#define WITH_ASID 2
#define WITH_ALL 3
#define WITH_OTHER 4 /* of another address: not enough */
#define WITH_SINVAL 5
#define WITH_OPEN 6 /* sinval.vma and no bracket */
#define WITH_HLV 7 /* an access to a guest's memory */
#define WITH_GUEST 8 /* a guest */
#define WITH_MOP 9 /* WITH_VA, and an instruction of Zimop */
#define WITH_RESET 10 /* the machine is reset, and the kernel begins anew in Bare mode */

#ifndef WITH
#define WITH WITH_NOTHING
#endif
#ifndef CROSS
#define CROSS 0
#endif
#ifdef MPRV
#define STATUS "	li	t0, 1 << 17\n"
#define ENTER "	jr	t0\n"
#elif defined(MPV)
#define STATUS "	li	t0, 1 << 39\n"
#define ENTER "	mret\n"
#else
#define STATUS "	li	t0, 0\n"
#define ENTER "	mret\n"
#endif
#ifdef FOREVER
#define ENDS 0
#else
#define ENDS 1
#endif
#define BEEN ((volatile uint64_t *)0x81f00000ul) /* outlives a reset */
#define FINISHER ((volatile uint32_t *)0x100000)

#define VA 0x40000000ul
#define ASID 7ul
#define V_RWX (1ul | 2 | 4 | 8 | 64 | 128)
#define V_RW (1ul | 2 | 4 | 64 | 128)

static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t middle[512] __attribute__((aligned(4096)));
static uint64_t leaves[512] __attribute__((aligned(4096)));
static uint64_t page[2][512] __attribute__((aligned(4096)));
char stack[4][4096] __attribute__((aligned(16)));
static volatile unsigned int asleep, tables, ready, moved, done;

static void quit(void)
{
	*FINISHER = 0x5555;
	for (;;)
		;
}

static inline void spin(unsigned long n)
{
	while (n--)
		__asm__ volatile("" : : : "memory");
}

static void quit_in_guest(void)
{
	*FINISHER = 0x5555;
	for (;;)
		;
}

static void guest(void)
{
	__asm__ volatile("csrw 0x680, x0\n" /* hgatp, vsatp: bare */
			 "csrw 0x280, x0\n"
			 "csrs 0x600, %0\n" /* hstatus.SPV */
			 "csrs sstatus, %1\n"
			 "csrw sepc, %2\n"
			 "sret"
			 :
			 : "r"(1ul << 7), "r"(1ul << 8), "r"(quit_in_guest)
			 : "memory");
}

static void flush(void)
{
	unsigned long va = VA, other = VA + 4096, asid = ASID;

	switch (WITH) {
	case WITH_MOP:
		__asm__ volatile(".word 0x81c04073");
		/* fallthrough */
	case WITH_VA:
		__asm__ volatile("sfence.vma %0, %1" : : "r"(va), "r"(asid) : "memory");
		break;
	case WITH_ASID:
		__asm__ volatile("sfence.vma x0, %0" : : "r"(asid) : "memory");
		break;
	case WITH_ALL:
		__asm__ volatile("sfence.vma" : : : "memory");
		break;
	case WITH_OTHER:
		__asm__ volatile("sfence.vma %0, %1" : : "r"(other), "r"(asid) : "memory");
		break;
	case WITH_SINVAL:
		__asm__ volatile(".word 0x18000073" : : : "memory");
		__asm__ volatile(".insn r 0x73, 0, 0x0b, x0, %0, %1"
				 :
				 : "r"(va), "r"(asid)
				 : "memory");
		__asm__ volatile(".word 0x18100073" : : : "memory");
		break;
	case WITH_HLV:
		__asm__ volatile("mv a0, %0; .word 0x6c054573" : : "r"(root) : "a0", "memory");
		break;
	case WITH_GUEST:
		guest();
		break;
	case WITH_OPEN:
		__asm__ volatile(".insn r 0x73, 0, 0x0b, x0, %0, %1"
				 :
				 : "r"(va), "r"(asid)
				 : "memory");
		__asm__ volatile("sfence.vma" : : : "memory");
		break;
	}
}

static void paging(void)
{
	unsigned long satp = 8ul << 60 | ASID << 44 | (unsigned long)root >> 12;

	__asm__ volatile("csrw satp, %0; sfence.vma" : : "r"(satp) : "memory");
}

static volatile uint64_t *at(void)
{
	return (volatile uint64_t *)VA;
}

static void cross(void)
{
	while (!tables)
		;
	__asm__ volatile("fence" : : : "memory");
	paging();
	(void)*at();
	ready = 1;
	while (!moved)
		;
	if (WITH != WITH_NOTHING)
		flush();
	for (unsigned int i = 0; i < 1000; i++) {
		(void)*at();
		spin(200);
	}
	done = 1;
	for (;;)
		__asm__ volatile("wfi");
}

/* In S mode, on every hart. */
void supervisor(unsigned long hart)
{
	if (hart == 1 && CROSS)
		cross();
	if (hart)
		asleep = 1;
	if (hart)
		for (;;)
			__asm__ volatile("wfi");
	/* Where there is a second one. Awake and without a host's processor, it holds all up. */
	for (unsigned int i = 0; !CROSS && !asleep && i < 20000000; i++)
		;
	if (WITH == WITH_RESET && *BEEN) {
		*(volatile uint64_t *)&root[2] = 0;
		for (unsigned int i = 0; i < 1000; i++) {
			(void)*BEEN;
			spin(200);
		}
		quit();
	}
	root[2] = 0x80000000ul >> 2 | V_RWX; /* RAM, and the finisher, as they are */
	root[0] = 0ul >> 2 | V_RW;
	root[1] = (unsigned long)middle >> 2 | 1;
	middle[0] = (unsigned long)leaves >> 2 | 1;
	leaves[0] = (unsigned long)page[0] >> 2 | V_RW;
	__asm__ volatile("fence" : : : "memory");
	tables = 1;
	paging();
	*at() = 1;
	if (WITH == WITH_RESET) {
		*BEEN = 1;
		*FINISHER = 0x7777;
		for (;;)
			;
	}
	while (CROSS && !ready)
		;
	*(volatile uint64_t *)&leaves[0] = (unsigned long)page[1] >> 2 | V_RW;
	if (!CROSS)
		flush();
	else
		__asm__ volatile("sfence.vma" : : : "memory");
	moved = 1;
	for (unsigned int i = 0; i < 1000 || !ENDS; i++) {
		(void)*at();
		spin(200);
	}
	while (CROSS && !done)
		;
	quit();
}

__asm__(".section .text.entry, \"ax\"\n"
	".globl _start\n"
	"_start:\n"
	"	csrr	a0, mhartid\n"
	"	la	sp, stack\n"
	"	addi	t0, a0, 1\n"
	"	slli	t0, t0, 12\n"
	"	add	sp, sp, t0\n"
	"	li	t0, -1\n"
	"	csrw	pmpaddr0, t0\n"
	"	li	t0, 0x1f\n"
	"	csrw	pmpcfg0, t0\n"
	"	li	t0, 0x1800\n"
	"	csrc	mstatus, t0\n"
	"	li	t0, 0x0800\n"
	"	csrs	mstatus, t0\n" STATUS "	csrs	mstatus, t0\n"
	"	la	t0, supervisor\n"
	"	csrw	mepc, t0\n" ENTER);
