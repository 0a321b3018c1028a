/* SPDX-License-Identifier: MIT */
/*
 * The workload, as the demo kernel's user.c: does what workload.h draws, and touches the same pages
 * in the same order: besides those that an operation names also text, stack and the board on which
 * threads tell each other what they mapped. Whether an access may fault is known from workload.h's
 * own state for the thread's own areas.
 */
#include "policy.h"

#define CHILD_OPS 40
#define PEEK_ROUNDS 48

/* False: not mapped, or not so. */
static bool touch(unsigned int table, unsigned int page, unsigned int need)
{
	struct mm *mm = self->cur->mm;

	while (!tlb_use(&self->tlb, &mm->space, self->reg_asid, table, page, need))
		if (!mm_fault(mm, table, page, need))
			return false;
	return true;
}

static void must(bool ok)
{
	if (!ok)
		die("the workload and the kernel disagree");
}

static unsigned int area_table(unsigned int thread, unsigned int area)
{
	return 2 + 2 * thread + area;
}

/* Code, and what it needs in any case. */
static void execute(const struct user *u, unsigned int code)
{
	user_turn();
	must(touch(0, code, PTE_X));
	/* A forked child has the stack of the thread that forked. */
	must(touch(1, U_STACK(u->wl.thread) / PAGE_SIZE & 511, PTE_W));
}

static void write_board(void)
{
	must(touch(1, 0, PTE_W));
}

static void check(const struct user *u, unsigned int thread, unsigned int area, unsigned int page)
{
	unsigned int table = area_table(thread, area);
	bool read, written = false;

	execute(u, 0);
	must(touch(1, 0, PTE_R));
	read = touch(table, page, PTE_R);
	if (area == WL_ANON)
		written = touch(table, page, PTE_W);
	self->count.checks++;
	/* Another thread may be changing its areas; and what was stale is counted. */
	if (thread != u->wl.thread || self->tlb.stale)
		return;
	must(read == (u->wl.mapped[area] >> page & 1));
	if (area == WL_ANON)
		must(written == (read && !(u->wl.readonly[area] >> page & 1)));
}

static void write_page(const struct user *u, unsigned int area, unsigned int page)
{
	unsigned int table = area_table(u->wl.thread, area);

	execute(u, 0);
	must(touch(1, 0, PTE_R));
	must(touch(table, page, PTE_R));
	must(touch(table, page, PTE_W));
	self->count.checks++;
}

static void compute(const struct user *u, unsigned int rounds)
{
	unsigned int i, area;

	while (rounds--)
		for (area = 0; area < 2; area++)
			for (i = 0; i < WL_PAGES; i += 4)
				check(u, u->wl.thread, area, i + rounds % 4);
}

static void fork_child(const struct user *u, unsigned int number)
{
	struct task *parent = self->cur;
	struct user child = *u;

	child.id = u->id * 1009 + number + 101;
	wl_restart(&child.wl, WL_CHILD, options.seed, (unsigned int)child.id, CHILD_OPS);
	task_create(mm_fork(parent->mm), parent, &child);
	self->count.forks++;
}

static void peek(const struct user *u, const struct wl_op *op)
{
	unsigned int i, n = op->count * (u->wl.threads > 1 ? PEEK_ROUNDS : 1);

	/* Again and again: what is cached here is to meet a change over there. */
	for (i = 0; i < n; i++)
		check(u, op->arg, op->area, (op->page + i % op->count) % WL_PAGES);
}

static void change(const struct user *u, const struct wl_op *op)
{
	unsigned int table = area_table(u->wl.thread, op->area);
	struct mm *mm = self->cur->mm;

	write_board();
	switch (op->kind) {
	case WL_MAP:
		if (op->area == WL_ANON)
			mm_map(mm, table, op->page, op->count);
		else
			mm_map_file(mm, table, op->page, op->count, op->arg);
		break;
	case WL_UNMAP:
		mm_unmap(mm, table, op->page, op->count);
		break;
	case WL_REMAP:
		mm_remap(mm, table, op->page, op->count, op->arg);
		break;
	default:
		mm_protect(mm, table, op->page, op->count, op->kind == WL_UNPROTECT);
		break;
	}
	write_board();
}

static void operate(const struct user *u, const struct wl_op *op)
{
	unsigned int i;

	switch (op->kind) {
	case WL_MAP:
	case WL_UNMAP:
	case WL_PROTECT:
	case WL_UNPROTECT:
	case WL_REMAP:
		change(u, op);
		break;
	case WL_WRITE:
		for (i = 0; i < op->count; i++)
			write_page(u, op->area, op->page + i);
		break;
	case WL_PEEK:
		peek(u, op);
		return;
	case WL_MIGRATE:
		file_migrate(op->arg);
		break;
	case WL_KERNEL:
		kernel_area_replace(op->arg);
		break;
	case WL_FORK:
		fork_child(u, op->arg);
		break;
	case WL_WAIT:
		task_wait(op->arg);
		break;
	case WL_SLEEP:
		task_sleep(op->arg);
		break;
	case WL_YIELD:
		task_yield();
		break;
	case WL_COMPUTE:
		compute(u, op->arg);
		break;
	case WL_EXIT:
		task_exit();
	}
	for (i = 0; i < op->count; i++)
		check(u, u->wl.thread, op->area, op->page + i);
}

void user_main(void *task)
{
	struct user *u = &((struct task *)task)->user;
	struct wl_op op;

	for (;;) {
		execute(u, 1);
		wl_next(&u->wl, &op);
		operate(u, &op);
	}
}
