/* SPDX-License-Identifier: MIT */
/*
 * switch.c - src/flushq-sim/coro.c for the fuzzer: its longjmp() costs several system calls under the
 * address sanitizer. On x86-64; elsewhere it is that one.
 */
#if !defined(__x86_64__)
#include "coro.c"
#else
#include <sanitizer/common_interface_defs.h>
#include <stdlib.h>
#include <string.h>

#include "coro.h"

void switch_stacks(void **from, void *to);
/* What a call may change is the caller's to keep. */
__asm__(".text\n"
	"switch_stacks:\n"
	"	pushq %rbx\n"
	"	pushq %rbp\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbp\n"
	"	popq %rbx\n"
	"	ret\n");

static struct coro *last, *current;

static void begin(void)
{
	struct coro *co = current;

	__sanitizer_finish_switch_fiber(NULL, &last->stack, &last->size);
	co->main(co->arg);
	abort();
}

void coro_init(struct coro *co, void *stack, size_t size, void (*main)(void *arg), void *arg)
{
	/* Six registers, where to return to, and what a call leaves there: a stack is aligned before it. */
	void **sp = (void **)(void *)((char *)stack + size - 64) - 8;

	memset(sp, 0, 8 * sizeof(*sp));
	sp[6] = (void *)(size_t)begin;
	memcpy(co->env, &sp, sizeof(sp));
	co->main = main;
	co->arg = arg;
	co->stack = stack;
	co->size = size;
}

void coro_switch(struct coro *from, struct coro *to)
{
	void *fake, *sp;

	last = from;
	current = to;
	memcpy(&sp, to->env, sizeof(sp));
	__sanitizer_start_switch_fiber(&fake, to->stack, to->size);
	switch_stacks((void **)(void *)from->env, sp);
	__sanitizer_finish_switch_fiber(fake, &last->stack, &last->size);
}
#endif
