/* SPDX-License-Identifier: MIT */
#include <stdarg.h>

#include "kernel.h"

#define UART ((volatile unsigned char *)0x10000000UL)
#define SIFIVE_TEST ((volatile uint32_t *)0x100000UL)

static void put(char c)
{
	while (!(UART[5] & 0x20))
		;
	UART[0] = (unsigned char)c;
}

static void puts_(const char *s)
{
	while (*s)
		put(*s++);
}

static void put_number(unsigned long v, unsigned int base)
{
	char buf[24];
	int i = sizeof(buf) - 1;

	buf[i] = 0;
	do {
		buf[--i] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	puts_(buf + i);
}

/* %s %u %lu %lx are all there is. */
static void vkprintf(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		fmt++;
		if (*fmt == 's') {
			puts_(va_arg(ap, const char *));
		} else if (*fmt == 'u') {
			put_number(va_arg(ap, unsigned int), 10);
		} else if (*fmt == 'l') {
			fmt++;
			put_number(va_arg(ap, unsigned long), *fmt == 'x' ? 16 : 10);
		} else {
			put(*fmt);
		}
	}
}

void kprintf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vkprintf(fmt, ap);
	va_end(ap);
}

/* The exit status of QEMU. */
void power_off(unsigned int code)
{
	*SIFIVE_TEST = code ? code << 16 | 0x3333 : 0x5555;
	for (;;)
		;
}

void panic(const char *fmt, ...)
{
	static const struct hart *speaker;
	const struct hart *h = this_hart(), *other = NULL;
	va_list ap;

	/* The first hart to panic speaks. */
	while (!__atomic_compare_exchange_n(&speaker, &other, h, false, __ATOMIC_ACQUIRE,
					    __ATOMIC_ACQUIRE)) {
		/* It panicked while it spoke. */
		if (other == h)
			power_off(3);
		other = NULL;
	}
	/* One by one: in a wreck *h may trap. */
	kprintf("panic: ");
	kprintf("hart %u: ", h->id);
	va_start(ap, fmt);
	vkprintf(fmt, ap);
	va_end(ap);
	kprintf("\n");
	power_off(3);
}
