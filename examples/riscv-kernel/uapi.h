/* SPDX-License-Identifier: MIT */
/* What the kernel and its U-mode workload agree on. */
#ifndef UAPI_H
#define UAPI_H

#include "workload.h"

#define PAGE_SIZE 4096UL

/* One L0 table (2 MiB) for each area, so that emptying an area frees its table. */
#define U_TEXT 0x40000000UL
#define U_BOARD 0x40200000UL
#define U_STACK(t) (U_BOARD + 0x10000UL + (unsigned long)(t)*0x2000UL)
#define U_AREA(t, a) (0x40400000UL + (unsigned long)(t)*0x400000UL + (unsigned long)(a)*0x200000UL)
#define U_END 0x48000000UL
#define U_TABLES ((U_END - U_TEXT) >> 21)

enum sys_nr {
	SYS_MAP, /* va, pages, stamp: private pages */
	SYS_FILE_MAP, /* va, pages, first file page */
	SYS_UNMAP, /* va, pages */
	SYS_PROTECT, /* va, pages, writable */
	SYS_REMAP, /* va, pages, new va */
	SYS_MIGRATE, /* file page: give it another frame, in every process */
	SYS_KERNEL, /* kernel area slot: give it another frame */
	SYS_FORK,
	SYS_WAIT, /* until fewer than this many children live */
	SYS_SLEEP, /* microseconds */
	SYS_YIELD,
	SYS_EXIT, /* stale uses seen, checks made */
	SYS_BUG, /* line: the workload contradicts the kernel */
};

/* Each page begins with a word that says which page of what it is. */
static inline unsigned long mix(unsigned long x)
{
	x ^= x >> 31;
	x *= 0x7fb5d329728ea185UL;
	x ^= x >> 27;
	x *= 0x81dadef4bc2dd44dUL;
	return x ^ (x >> 33);
}

static inline unsigned long anon_stamp(unsigned long base, unsigned long page)
{
	return mix(base + page * 0x10001UL) | 1UL;
}

static inline unsigned long file_stamp(unsigned long page)
{
	return mix(0xf11e0000UL + page) | 1UL;
}

#endif
