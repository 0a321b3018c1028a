/* SPDX-License-Identifier: MIT */
#include "policy.h"

static void copy_frame(struct trapframe *to, const struct trapframe *from)
{
	unsigned int i;

	to->pc = from->pc;
	for (i = 0; i < 31; i++)
		to->reg[i] = from->reg[i];
}

static void fork(struct hart *h, struct task *t)
{
	struct mm *mm = mm_fork(h, t->mm);
	struct task *child = task_create(mm, t);

	copy_frame(&child->tf, &t->tf);
	child->tf.reg[REG_A(0)] = 0;
	h->count.forks++;
	task_start(child);
}

/* True if the task does not go on now. */
bool syscall(struct hart *h, struct task *t)
{
	unsigned long *a = &t->tf.reg[REG_A(0)];
	struct mm *mm = t->mm;

	switch (t->tf.reg[REG_A(7)]) {
	case SYS_MAP:
		a[0] = (unsigned long)mm_map(h, mm, a[0], a[1], a[2]);
		return false;
	case SYS_FILE_MAP:
		a[0] = (unsigned long)mm_map_file(h, mm, a[0], a[1], a[2]);
		return false;
	case SYS_UNMAP:
		a[0] = (unsigned long)mm_unmap(h, mm, a[0], a[1]);
		return false;
	case SYS_PROTECT:
		a[0] = (unsigned long)mm_protect(h, mm, a[0], a[1], a[2]);
		return false;
	case SYS_REMAP:
		a[0] = (unsigned long)mm_remap(h, mm, a[0], a[1], a[2]);
		return false;
	case SYS_MIGRATE:
		a[0] = (unsigned long)file_migrate(h, a[0]);
		return false;
	case SYS_KERNEL:
		a[0] = (unsigned long)kernel_area_replace(h, a[0]);
		return false;
	case SYS_FORK:
		a[0] = 1;
		fork(h, t);
		return false;
	case SYS_WAIT:
		return task_wait(t, a[0]);
	case SYS_SLEEP:
		task_sleep(t, a[0]);
		return true;
	case SYS_YIELD:
		task_yield(t);
		return true;
	case SYS_EXIT:
		h->stale += a[0];
		h->count.checks += a[1];
		task_exit(h);
		return true;
	case SYS_BUG:
		panic("the workload and the kernel disagree: user.c:%lu", a[0]);
	default:
		panic("no such system call");
	}
}
