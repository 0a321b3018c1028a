/* SPDX-License-Identifier: MIT */
/* Tasks, one run queue for all CPUs, and the loop of each CPU. */
#include "policy.h"

static struct task tasks[NR_TASKS];
static char stacks[NR_TASKS][STACK_SIZE] __attribute__((aligned(16)));
#define OFFLINE_ONE_IN 64

static struct task *first, *last;
static unsigned int alive;

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

static struct task *dequeue(void)
{
	struct task *t;
	unsigned int i;

	for (i = 0; i < NR_TASKS; i++)
		if (tasks[i].state == TASK_SLEEPING && tasks[i].wake <= now)
			enqueue(&tasks[i]);
	t = first;
	if (t) {
		first = t->next;
		if (!first)
			last = NULL;
		t->state = TASK_RUNNING;
	}
	return t;
}

struct task *task_create(struct mm *mm, struct task *parent, const struct user *user)
{
	struct task *t = NULL;
	unsigned int i;

	for (i = 0; i < NR_TASKS && !t; i++)
		if (tasks[i].state == TASK_FREE)
			t = &tasks[i];
	if (!t)
		die("out of tasks");
	coro_init(&t->coro, stacks[t - tasks], STACK_SIZE, user_main, t);
	t->user = *user;
	t->mm = mm;
	t->parent = parent;
	t->children = 0;
	if (parent)
		parent->children++;
	alive++;
	enqueue(t);
	return t;
}

unsigned int tasks_alive(void)
{
	return alive;
}

/* The task that runs gives up its CPU, and goes on later, maybe on another. */
static void leave(void)
{
	struct task *t = self->cur;

	self->running = &self->sched;
	coro_switch(&t->coro, &self->sched);
}

/* The children of a task that ends stay without a parent. */
noreturn void task_exit(void)
{
	struct task *t = self->cur, *parent;
	unsigned int i;

	if (!--t->mm->threads)
		mm_exit(t->mm);
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
	leave();
	die("a task went on after its end");
}

void task_wait(unsigned int below)
{
	struct task *t = self->cur;

	if (t->children < below)
		return;
	t->wait_below = below;
	t->state = TASK_WAITING;
	leave();
}

void task_sleep(unsigned int us)
{
	self->cur->wake = now + us * ROUNDS_PER_US;
	self->cur->state = TASK_SLEEPING;
	leave();
}

void task_yield(void)
{
	enqueue(self->cur);
	leave();
}

/* A turn in user mode, where interrupts and the timer are on. */
void user_turn(void)
{
	turn();
	serve();
	if (now < self->tick)
		return;
	kernel_area_check();
	if (policy->tick)
		policy->tick(self);
	reclaim();
	self->tick = now + TICK_US * ROUNDS_PER_US;
	if (++self->slice >= SLICE_TICKS)
		task_yield();
}

static void go_offline(struct cpu *c)
{
	uint64_t back;

	if (c->mm)
		mm_park(c);
	if (policy->offline)
		policy->offline(c);
	c->online = false;
	/* Who asked before waits for the answer. From now on nobody asks, or it would be noticed. */
	serve();
	c->count.offline++;
	for (back = now + OFFLINE_US * ROUNDS_PER_US; now < back && tasks_alive();)
		turn();
	c->online = true;
	if (policy->online)
		policy->online(c);
}

/* The last mm stays in the register, for the next task may well be of the same process. */
static struct task *idle(struct cpu *c)
{
	struct task *t;

	if (c->mm) {
		if (policy->enter_lazy)
			policy->enter_lazy(c);
		c->lazy = true;
		set_use(c, USE_LAZY, c->mm);
	}
	for (;;) {
		serve();
		t = dequeue();
		if (t)
			return t;
		reclaim();
		if (c->mm && c->mm->dead)
			mm_park(c);
		/* Now and then one goes offline for a while; never the first one. */
		if (c->id && sim_random(OFFLINE_ONE_IN) == 0)
			go_offline(c);
		kernel_area_check();
		c->wake = now + IDLE_POLL_US * ROUNDS_PER_US;
		c->idle = true;
		turn();
		c->idle = false;
	}
}

void cpu_main(void *cpu)
{
	struct cpu *c = cpu;
	struct task *t;

	c->online = true;
	if (policy->online)
		policy->online(c);
	for (;;) {
		t = dequeue();
		if (!t)
			t = idle(c);
		c->tlb.cause = CAUSE_SWITCH;
		if (c->mm != t->mm) {
			mm_load(c, t->mm);
		} else if (c->lazy) {
			set_use(c, USE_RUNNING, c->mm);
			if (policy->leave_lazy)
				policy->leave_lazy(c);
			c->lazy = false;
		} else if (policy->tick) {
			/* A task that unmapped something elsewhere must not see it here. */
			policy->tick(c);
		}
		c->count.switches++;
		c->cur = t;
		c->slice = 0;
		c->tick = now + TICK_US * ROUNDS_PER_US;
		c->running = &t->coro;
		coro_switch(&c->sched, &t->coro);
		c->cur = NULL;
		/* As the demo's trap path: between two tasks is a little time. */
		turn();
	}
}
