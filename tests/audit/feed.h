/* SPDX-License-Identifier: MIT */
/* How tests feed a shadow. */
#ifndef FLUSHQ_AUDIT_FEED_H
#define FLUSHQ_AUDIT_FEED_H

#include <criterion/criterion.h>
#include <string.h>

#include "../../src/audit/shadow.h"

#define RAM 0x80000000ull
#define PAGES 512u
#define GRACE 1000u
#define HARTS 4u
#define FRAME(n) (RAM + 0x100000 + (n)*0x1000ull) /* data: never looked into */
#define VA 0x40201000ull
#define RW (PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D)
#define RO (PTE_V | PTE_R | PTE_U | PTE_A)
#define KRW (RW & ~PTE_U)
#define LOAD (SHADOW_LOAD | SHADOW_USER)
#define STORE (SHADOW_STORE | SHADOW_USER)
#define PC 0x10000ull

static _Alignas(4096) uint64_t ram[PAGES][512];
static unsigned int used; /* pages of it that are tables */
static uint64_t ran[HARTS];
static struct shadow *s;
static struct shadow_finding last;
static unsigned int found;
static unsigned int levels;

static inline const void *host(void *arg, uint64_t pa)
{
	(void)arg;
	return pa - RAM < sizeof(ram) ? (char *)ram + (pa - RAM) : NULL;
}

static inline uint64_t insns(void *arg, unsigned int hart)
{
	(void)arg;
	return ran[hart];
}

static inline void note(void *arg, const struct shadow_finding *f)
{
	(void)arg;
	last = *f;
	found++;
}

static inline uint64_t table(void)
{
	cr_assert(used < 256);
	return RAM + used++ * 0x1000ull;
}

static inline struct shadow_config config(void)
{
	return (struct shadow_config){
		.harts = HARTS,
		.grace = GRACE,
		.memory = 1ull << 28,
		.ram_base = RAM,
		.ram_size = sizeof(ram),
		.host = host,
		.insns = insns,
		.report = note,
	};
}

static inline void start_with(struct shadow_config c)
{
	s = shadow_new(&c);
	cr_assert(s);
	levels = 3;
}

static inline void start(void)
{
	start_with(config());
}

static inline void stop(void)
{
	shadow_free(s);
}

static inline uint64_t *slot_at(uint64_t root, uint64_t va, unsigned int level)
{
	uint64_t at = root;

	for (unsigned int l = levels - 1;; l--) {
		uint64_t *slot = &ram[(at - RAM) >> 12][va >> (12 + 9 * l) & 511];

		if (l == level)
			return slot;
		if (!*slot)
			*slot = table() >> 2 | PTE_V;
		at = (*slot >> 10) << 12;
	}
}

/* As a kernel's store: the hart does it, and the shadow sees it. */
static inline void set(unsigned int hart, uint64_t *slot, uint64_t pte)
{
	uint64_t pa = RAM + (uint64_t)((char *)slot - (char *)ram);

	*slot = pte;
	if (shadow_is_table(s, pa >> 12))
		shadow_table_store(s, hart, pa, 8, PC);
}

static inline uint64_t leaf(uint64_t pa, uint64_t flags)
{
	return pa >> 2 | flags;
}

static inline void map(uint64_t root, uint64_t va, uint64_t pa, uint64_t flags)
{
	set(0, slot_at(root, va, 0), leaf(pa, flags));
}

static inline void load_satp(unsigned int hart, uint64_t root, uint64_t asid)
{
	shadow_satp(s, hart, (uint64_t)(levels + 5) << 60 | asid << 44 | root >> 12, PC);
}

static inline void use(unsigned int hart, uint64_t va, unsigned int kind)
{
	ran[hart]++;
	shadow_access(s, hart, va, 8, kind, PC);
}

/* Every hart runs on; any shootdown is over. */
static inline void later(void)
{
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int h = 0; h < HARTS; h++)
			ran[h] += GRACE + 1;
		shadow_fence(s, HARTS - 1, SHADOW_VA, 1ull << 62, 0, PC);
	}
}

static inline struct shadow_counts sum(unsigned int hart)
{
	return s->hart[hart].n;
}

/* VA is cached on hart 1 under ASID 5 with frame 0. */
static inline uint64_t cached(uint64_t flags)
{
	uint64_t root = table();

	map(root, VA, FRAME(0), flags);
	load_satp(1, root, 5);
	use(1, VA, LOAD);
	return root;
}

/* The same, and it moves to frame 1. */
static inline uint64_t moved(void)
{
	uint64_t root = cached(RW);

	use(1, VA, STORE);
	cr_expect_eq(found, 0);
	set(0, slot_at(root, VA, 0), leaf(FRAME(1), RW));
	return root;
}

static inline void expect_stale(enum shadow_what what)
{
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
	cr_expect_eq(last.what, what);
	/* Told once. */
	use(1, VA, LOAD);
	cr_expect_eq(found, 1);
}

static inline void expect_clean(void)
{
	later();
	use(1, VA, LOAD);
	use(1, VA, STORE);
	later();
	use(1, VA, LOAD);
	cr_expect_eq(found, 0);
}

#endif
