/* SPDX-License-Identifier: MIT */
/*
 * coro.h - several stacks in one thread, each giving up the processor by name: what runs when is
 * decided by the program alone, so it repeats.
 */
#ifndef CORO_H
#define CORO_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

struct coro {
	jmp_buf env;
	void (*main)(void *arg); /* NULL once it has begun; never returns */
	void *arg;
	const void *stack;
	size_t size;
};

/* `main` begins on `stack` when it is first switched to. */
void coro_init(struct coro *co, void *stack, size_t size, void (*main)(void *arg), void *arg);
/* Returns when somebody switches back to `from`, which may be all zero: the thread's own stack. */
void coro_switch(struct coro *from, struct coro *to);

#endif
