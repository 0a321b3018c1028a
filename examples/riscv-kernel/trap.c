/* SPDX-License-Identifier: MIT */
#include "policy.h"
#include "sbi.h"

#define CAUSE_IRQ (1UL << 63)
#define CAUSE_ECALL_U 8
#define CAUSE_FETCH 12
#define CAUSE_LOAD 13
#define CAUSE_STORE 15

void trap_kernel(void);
void trap_wait(void);
struct trapframe *trap_user(struct trapframe *tf);

static bool sstc;

/* Sstc where the firmware lets us have it: shorter than the way through M mode. */
void timer_boot(void)
{
	sstc = !set_stimecmp(-1UL).fault;
}

static void set_timer(unsigned long when)
{
	if (sstc)
		set_stimecmp(when);
	else
		sbi_set_timer(when);
}

void set_timer_us(unsigned long us)
{
	struct hart *h = this_hart();

	h->timer = now() + us * TIME_PER_US;
	set_timer(h->timer);
}

/*
 * A wait for other harts, with the timer's interrupt on: see trap_wait(). Software interrupts stay
 * off: who waits serves them.
 */
void wait_begin(struct hart *h)
{
	if (h->waits++)
		return;
	csr_clear(sie, IRQ_SOFT);
	h->backoff = SPIN_US;
	h->turns = 0;
	set_timer(now() + SPIN_US * TIME_PER_US);
	csr_set(sstatus, 2UL);
}

void wait_end(struct hart *h)
{
	if (--h->waits)
		return;
	csr_clear(sstatus, 2UL);
	csr_set(sie, IRQ_SOFT);
	set_timer(h->timer);
}

/*
 * QEMU with -icount runs one hart until it halts or something is due. Those that spin, all on timers,
 * may come to leave out the one that they wait for, always the same: so the turns have no period, and
 * who has waited in vain for long sleeps, or until it is asked for something. (Not at once: when all
 * sleep, QEMU depends on the host's clock.) With ipi=sbi the one waited for may be in the firmware.
 */
void trap_wait(void)
{
	struct hart *h = this_hart();

	if (ipi_by_sbi || ++h->turns > TURNS_MAX) {
		if (h->backoff < SPIN_US_MAX)
			h->backoff *= 2;
		set_timer(now() + h->backoff * TIME_PER_US);
		/* Wakes the wfi; taken it is not, in a handler. */
		csr_set(sie, IRQ_SOFT);
		__asm__ volatile("wfi" : : : "memory");
		csr_clear(sie, IRQ_SOFT);
	}
	set_timer(now() + SPIN_US * TIME_PER_US + mix(now() + h->id) % (SPIN_US * TIME_PER_US));
}

static unsigned long user_va(const char *p)
{
	extern char __user_start[];

	return U_TEXT + (unsigned long)(p - __user_start);
}

void trap_kernel(void)
{
	panic("trap in the kernel: scause=0x%lx sepc=0x%lx stval=0x%lx", csr_read(scause),
	      csr_read(sepc), csr_read(stval));
}

static void page_fault(struct hart *h, struct task *t, unsigned long cause)
{
	unsigned long va = csr_read(stval);

	if (mm_fault(h, t->mm, va, cause))
		return;
	/* The workload's probes expect it, and return that they faulted. */
	if (t->tf.pc == user_va(probe_load) || t->tf.pc == user_va(probe_store)) {
		t->tf.pc = t->tf.reg[REG_RA];
		t->tf.reg[REG_A(0)] = 0;
		t->tf.reg[REG_A(1)] = 1;
		return;
	}
	panic("user fault: scause=0x%lx sepc=0x%lx stval=0x%lx", cause, t->tf.pc, va);
}

struct trapframe *trap_user(struct trapframe *tf)
{
	struct hart *h = tf->hart;
	struct task *t = h->cur;
	unsigned long cause = csr_read(scause);

	switch (cause) {
	case CAUSE_IRQ | 1:
		serve(h);
		break;
	case CAUSE_IRQ | 5:
		kernel_area_check(h);
		policy->tick(h);
		reclaim(h);
		start_stopped_harts(h);
		if (++h->slice >= SLICE_TICKS) {
			task_yield(t);
			return schedule(h);
		}
		set_timer_us(TICK_US);
		break;
	case CAUSE_ECALL_U:
		tf->pc += 4;
		if (syscall(h, t))
			return schedule(h);
		break;
	case CAUSE_FETCH:
	case CAUSE_LOAD:
	case CAUSE_STORE:
		page_fault(h, t, cause);
		break;
	default:
		panic("user trap: scause=0x%lx sepc=0x%lx stval=0x%lx", cause, tf->pc,
		      csr_read(stval));
	}
	return tf;
}
