/* SPDX-License-Identifier: MIT */
#include "coro.h"

#include <stdlib.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN
#endif

#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

static struct coro *last, *starting;

/* The address sanitizer must know on which stack it is. */
static void leave(void **fake, struct coro *from, const struct coro *to)
{
	last = from;
#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(fake, to->stack, to->size);
#else
	(void)fake;
	(void)to;
#endif
}

static void arrive(void *fake)
{
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(fake, &last->stack, &last->size);
#else
	(void)fake;
#endif
}

static void begin(void)
{
	struct coro *co = starting;
	void (*main)(void *arg) = co->main;

	arrive(NULL);
	co->main = NULL;
	main(co->arg);
	abort();
}

void coro_init(struct coro *co, void *stack, size_t size, void (*main)(void *arg), void *arg)
{
	co->main = main;
	co->arg = arg;
	co->stack = stack;
	co->size = size;
}

static void start(struct coro *co)
{
	static ucontext_t context; /* not on a stack that is left for good */

	if (getcontext(&context))
		abort();
	context.uc_stack.ss_sp = (void *)(size_t)co->stack;
	context.uc_stack.ss_size = co->size;
	context.uc_link = NULL;
	makecontext(&context, begin, 0);
	starting = co;
	setcontext(&context);
	abort();
}

/* swapcontext() would do, but asks the kernel for the signal mask each time. */
void coro_switch(struct coro *from, struct coro *to)
{
	void *fake = NULL;

	leave(&fake, from, to);
	if (!_setjmp(from->env)) {
		if (to->main)
			start(to);
		_longjmp(to->env, 1);
	}
	arrive(fake);
}
