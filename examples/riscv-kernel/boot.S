/* SPDX-License-Identifier: MIT */
#include "stack.h"
	.text
	.globl	_start, secondary_start

	/* a0: hart id. Its stack, its struct hart, its traps. */
	.macro	set_up
	la	sp, stacks
	addi	t0, a0, 1
	slli	t0, t0, STACK_SHIFT
	add	sp, sp, t0
	call	hart_of
	mv	tp, a0
	la	t0, trap_entry
	csrw	stvec, t0
	csrw	sscratch, zero
	.endm

	/* a0: hart id, a1: device tree */
_start:
	/*
	 * OpenSBI 1.1 lets a hart that it is asked to start go before it has noted where to. One that is
	 * awake then comes here, where the first was sent.
	 */
	la	t0, booted
	li	t1, 1
	amoswap.w t1, t1, (t0)
	bnez	t1, secondary_start
	la	t0, __bss_start
	la	t1, __bss_end
1:	bgeu	t0, t1, 2f
	sd	zero, 0(t0)
	addi	t0, t0, 8
	j	1b
2:	mv	s0, a0
	mv	s1, a1
	set_up
	mv	a0, s0
	mv	a1, s1
	call	boot_main
	j	.

	/* a0: hart id. (a1 may be that of _start.) */
secondary_start:
	set_up
	call	secondary_main
	j	.

	/* Not in .bss, which is cleared behind it. */
	.data
	.align	2
booted:	.word	0
