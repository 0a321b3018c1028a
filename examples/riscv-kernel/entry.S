/* SPDX-License-Identifier: MIT */
/*
 * The kernel runs with interrupts off (but see wait_begin()) and on one stack per hart: a task that
 * stops keeps only its trap frame. sscratch holds that frame in U mode and 0 in the kernel.
 */
	.text
	.globl	trap_entry, user_return, kprobe_load, set_stimecmp
	.align	2
trap_entry:
	csrrw	a0, sscratch, a0
	beqz	a0, from_kernel
	sd	ra, 8(a0)
	sd	sp, 16(a0)
	sd	gp, 24(a0)
	sd	tp, 32(a0)
	sd	t0, 40(a0)
	sd	t1, 48(a0)
	sd	t2, 56(a0)
	sd	s0, 64(a0)
	sd	s1, 72(a0)
	sd	a1, 88(a0)
	sd	a2, 96(a0)
	sd	a3, 104(a0)
	sd	a4, 112(a0)
	sd	a5, 120(a0)
	sd	a6, 128(a0)
	sd	a7, 136(a0)
	sd	s2, 144(a0)
	sd	s3, 152(a0)
	sd	s4, 160(a0)
	sd	s5, 168(a0)
	sd	s6, 176(a0)
	sd	s7, 184(a0)
	sd	s8, 192(a0)
	sd	s9, 200(a0)
	sd	s10, 208(a0)
	sd	s11, 216(a0)
	sd	t3, 224(a0)
	sd	t4, 232(a0)
	sd	t5, 240(a0)
	sd	t6, 248(a0)
	csrr	t0, sscratch
	sd	t0, 80(a0)
	csrr	t0, sepc
	sd	t0, 0(a0)
	csrw	sscratch, zero
	ld	tp, 256(a0)
	ld	sp, 0(tp)
	call	trap_user
user_return:
	ld	t0, 0(a0)
	csrw	sepc, t0
	csrw	sscratch, a0
	ld	ra, 8(a0)
	ld	sp, 16(a0)
	ld	gp, 24(a0)
	ld	tp, 32(a0)
	ld	t0, 40(a0)
	ld	t1, 48(a0)
	ld	t2, 56(a0)
	ld	s0, 64(a0)
	ld	s1, 72(a0)
	ld	a1, 88(a0)
	ld	a2, 96(a0)
	ld	a3, 104(a0)
	ld	a4, 112(a0)
	ld	a5, 120(a0)
	ld	a6, 128(a0)
	ld	a7, 136(a0)
	ld	s2, 144(a0)
	ld	s3, 152(a0)
	ld	s4, 160(a0)
	ld	s5, 168(a0)
	ld	s6, 176(a0)
	ld	s7, 184(a0)
	ld	s8, 192(a0)
	ld	s9, 200(a0)
	ld	s10, 208(a0)
	ld	s11, 216(a0)
	ld	t3, 224(a0)
	ld	t4, 232(a0)
	ld	t5, 240(a0)
	ld	t6, 248(a0)
	ld	a0, 80(a0)
	sret

from_kernel:
	csrrw	a0, sscratch, a0
	addi	sp, sp, -128
	sd	t0, 0(sp)
	csrr	t0, scause
	bltz	t0, 2f
	csrr	t0, sepc
	la	t1, kprobe_load
	beq	t0, t1, 3f
	la	t1, set_stimecmp
	bne	t0, t1, 1f
	/* One of those below faulted: return from it, and say so. */
3:	addi	sp, sp, 128
	csrw	sepc, ra
	li	a0, 0
	li	a1, 1
	sret
1:	j	trap_kernel

	/* The timer, while the kernel waits: wait_begin(). */
2:	sd	ra, 8(sp)
	sd	t1, 16(sp)
	sd	t2, 24(sp)
	sd	t3, 32(sp)
	sd	t4, 40(sp)
	sd	t5, 48(sp)
	sd	t6, 56(sp)
	sd	a0, 64(sp)
	sd	a1, 72(sp)
	sd	a2, 80(sp)
	sd	a3, 88(sp)
	sd	a4, 96(sp)
	sd	a5, 104(sp)
	sd	a6, 112(sp)
	sd	a7, 120(sp)
	call	trap_wait
	ld	t0, 0(sp)
	ld	ra, 8(sp)
	ld	t1, 16(sp)
	ld	t2, 24(sp)
	ld	t3, 32(sp)
	ld	t4, 40(sp)
	ld	t5, 48(sp)
	ld	t6, 56(sp)
	ld	a0, 64(sp)
	ld	a1, 72(sp)
	ld	a2, 80(sp)
	ld	a3, 88(sp)
	ld	a4, 96(sp)
	ld	a5, 104(sp)
	ld	a6, 112(sp)
	ld	a7, 120(sp)
	addi	sp, sp, 128
	sret

	/* struct probe kprobe_load(unsigned long va) */
	.align	2
kprobe_load:
	ld	a0, 0(a0)
	li	a1, 0
	ret

	/* struct probe set_stimecmp(unsigned long when) */
	.align	2
set_stimecmp:
	csrw	0x14d, a0
	li	a1, 0
	ret
