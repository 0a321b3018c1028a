/* SPDX-License-Identifier: MIT */
	.text
	.globl	_start
	/* a0: hart id, a1: device tree */
_start:
	la	t0, __bss_start
	la	t1, __bss_end
1:	bgeu	t0, t1, 2f
	sd	zero, 0(t0)
	addi	t0, t0, 8
	j	1b
2:	mv	s0, a0
	mv	s1, a1
	/* Any stack will do for that. */
	la	sp, __bss_end
	call	hart_of
	mv	tp, a0
	ld	sp, 0(tp)
	la	t0, trap_entry
	csrw	stvec, t0
	csrw	sscratch, zero
	mv	a0, s0
	mv	a1, s1
	call	boot_main
	j	.

	.globl	secondary_start
	/* a0: hart id, a1: its struct hart */
secondary_start:
	mv	tp, a1
	ld	sp, 0(tp)
	la	t0, trap_entry
	csrw	stvec, t0
	csrw	sscratch, zero
	call	secondary_main
	j	.
