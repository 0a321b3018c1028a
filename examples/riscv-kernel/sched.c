/* SPDX-License-Identifier: MIT */
#include "policy.h"
#include "sbi.h"

#define OFFLINE_ONE_IN 32

static struct task tasks[NR_TASKS];
static struct spinlock lock; /* all of tasks' states, and what follows */
static struct task *first, *last;
static unsigned int alive;

/* One queue for all harts: a task moves about, and the set of its mm grows, as in real life. */
static void enqueue(struct task *t)
{
	t->state = TASK_READY;
	t->next = NULL;
	if (last)
		last->next = t;
	else
		first = t;
	last = t;
}

static void wake_sleepers(void)
{
	unsigned long t = now();
	unsigned int i;

	for (i = 0; i < NR_TASKS; i++)
		if (tasks[i].state == TASK_SLEEPING && tasks[i].wake <= t)
			enqueue(&tasks[i]);
}

static struct task *dequeue(void)
{
	struct task *t;

	spin_lock(&lock);
	wake_sleepers();
	t = first;
	if (t) {
		first = t->next;
		if (!first)
			last = NULL;
		t->state = TASK_RUNNING;
	}
	spin_unlock(&lock);
	return t;
}

struct task *task_create(struct mm *mm, struct task *parent)
{
	struct task *t = NULL;
	unsigned int i;

	spin_lock(&lock);
	for (i = 0; i < NR_TASKS && !t; i++)
		if (tasks[i].state == TASK_FREE)
			t = &tasks[i];
	if (!t)
		panic("out of tasks");
	t->state = TASK_WAITING;
	t->wait_below = 0;
	t->children = 0;
	t->mm = mm;
	t->parent = parent;
	if (parent)
		parent->children++;
	alive++;
	spin_unlock(&lock);
	return t;
}

void task_start(struct task *t)
{
	spin_lock(&lock);
	enqueue(t);
	spin_unlock(&lock);
}

/* The children of a task that ends stay without a parent. */
void task_exit(struct hart *h)
{
	struct task *t = h->cur, *parent;
	struct mm *mm = t->mm;
	unsigned int i;

	if (!__atomic_sub_fetch(&mm->threads, 1, __ATOMIC_ACQ_REL))
		mm_exit(h, mm);
	spin_lock(&lock);
	parent = t->parent;
	if (parent) {
		parent->children--;
		if (parent->state == TASK_WAITING && parent->children < parent->wait_below)
			enqueue(parent);
	}
	for (i = 0; i < NR_TASKS; i++)
		if (tasks[i].parent == t)
			tasks[i].parent = NULL;
	t->state = TASK_FREE;
	t->parent = NULL;
	alive--;
	spin_unlock(&lock);
	h->cur = NULL;
}

unsigned int tasks_alive(void)
{
	return load_acquire(&alive);
}

bool task_wait(struct task *t, unsigned long below)
{
	bool wait;

	spin_lock(&lock);
	wait = t->children >= below;
	if (wait) {
		t->wait_below = (unsigned int)below;
		t->state = TASK_WAITING;
	}
	spin_unlock(&lock);
	return wait;
}

void task_sleep(struct task *t, unsigned long us)
{
	spin_lock(&lock);
	t->wake = now() + us * TIME_PER_US;
	t->state = TASK_SLEEPING;
	spin_unlock(&lock);
}

void task_yield(struct task *t)
{
	spin_lock(&lock);
	enqueue(t);
	spin_unlock(&lock);
}

/* Harts that have been stopped for long enough. Those that never stop call it: the lowest. */
void start_stopped_harts(struct hart *h)
{
	unsigned int i;

	if (h->id != (unsigned int)__builtin_ctzl(load_relaxed(&online_mask)))
		return;
	for (i = 0; i < nr_harts; i++) {
		unsigned long back = load_acquire(&harts[i].back);

		if (!back || now() < back || sbi_hart_status(i).value != SBI_HSM_STOPPED)
			continue;
		harts[i].back = 0;
		if (sbi_hart_start(i, (unsigned long)HART_ENTRY, 0).error)
			panic("hart %u does not come back", i);
	}
}

/* Now and then an idle hart stops; never the lowest, which starts the others again. */
static void maybe_stop(struct hart *h)
{
	unsigned long lower = (1UL << h->id) - 1;

	if (!(load_relaxed(&online_mask) & lower) || !tasks_alive())
		return;
	h->random = mix(h->random + options.seed + h->id);
	if (h->random % OFFLINE_ONE_IN)
		return;
	if (h->mm)
		mm_park(h);
	policy->offline(h);
	if (ipi_by_sbi)
		(void)firmware_begin(h);
	__atomic_fetch_and(&online_mask, ~(1UL << h->id), __ATOMIC_SEQ_CST);
	if (ipi_by_sbi)
		firmware_end(h);
	full_fence();
	/* Who asked before waits for the answer: see forget_stopped(). */
	csr_clear(sip, IRQ_SOFT);
	ipi_serve_mailbox(h);
	h->count.offline++;
	store_release(&h->back, now() + OFFLINE_US * TIME_PER_US);
	sbi_hart_stop();
	panic("hart %u does not stop", h->id);
}

/* The last mm stays in satp, for the next task may well be of the same process. */
static struct task *idle(struct hart *h)
{
	struct task *t;

	if (h->mm) {
		policy->enter_lazy(h);
		h->lazy = true;
		set_use(h, USE_LAZY, h->mm);
	}
	for (;;) {
		serve(h);
		t = dequeue();
		if (t)
			return t;
		if (h->mm && load_acquire(&h->mm->dead))
			mm_park(h);
		if (!tasks_alive() && h->id == (unsigned int)__builtin_ctzl(online_mask) && !h->mm)
			finish();
		reclaim(h);
		start_stopped_harts(h);
		maybe_stop(h);
		kernel_area_check(h);
		set_timer_us(IDLE_POLL_US);
		/* Wakes for what is enabled in sie, though none is taken here. */
		__asm__ volatile("wfi" : : : "memory");
	}
}

/* The frame of the next task, whose mm is loaded by then. */
struct trapframe *schedule(struct hart *h)
{
	struct task *t;

	h->cur = NULL;
	t = dequeue();
	if (!t)
		t = idle(h);
	if (h->mm == t->mm) {
		if (h->lazy) {
			set_use(h, USE_RUNNING, h->mm);
			policy->leave_lazy(h);
			h->lazy = false;
		} else {
			/* A thread that unmapped something elsewhere must not see it here. */
			policy->tick(h);
		}
	} else {
		mm_load(h, t->mm);
	}
	h->count.switches++;
	h->cur = t;
	h->slice = 0;
	t->tf.hart = h;
	set_timer_us(TICK_US);
	return &t->tf;
}
