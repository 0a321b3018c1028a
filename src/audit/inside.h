/* SPDX-License-Identifier: MIT */
/* What the parts of the shadow share. */
#ifndef FLUSHQ_AUDIT_INSIDE_H
#define FLUSHQ_AUDIT_INSIDE_H

#include "shadow.h"

#define OPEN_MAX 1024
#define SINVAL_MAX 4096
#define CHANGES 4
#define SLOTS (1u << 16)
#define ASIDS 65536
#define GLOBAL 0xffffffffu /* in place of an ASID */
#define NOBODY (-1)
#define TABLE 0x80 /* in `resident`: a pointer, no leaf */
#define PTE_SOFT (3ULL << 8) /* the kernel's own bits */
#define PTE_FRAME(pte) ((pte) >> 10 & 0xfffffffffffULL)
#define PAGE_KEY(va, level) ((va) >> (12 + 9 * (level)))

/* What was cached: a leaf, or a pointer to the next table; and the walk that found it. */
struct shadow_entry {
	uint64_t key; /* page number at its own size */
	uint32_t asid; /* or GLOBAL */
	uint8_t level;
	uint8_t depth; /* PTEs read for it */
	bool dead; /* by a fence of its address */
	bool overdue; /* the finding has been reported */
	uint8_t resident; /* bit per finite TLB; or TABLE */
	uint64_t seq; /* fences of this hart before it */
	uint64_t stamp; /* table changes before it */
	uint64_t stale_since; /* epoch of the first stale use; 0: none */
	uint64_t stale_insns;
	uint64_t root;
	uint64_t pte[SHADOW_DEPTH]; /* root first */
	uint64_t slot[SHADOW_DEPTH]; /* their physical addresses */
	uint64_t pc, insns;
	uint32_t kind;
	int32_t who[SHADOW_WHO];
};

struct shadow_table {
	struct shadow_entry **cell;
	size_t size, fill; /* size: a power of two */
	struct shadow_entry *chunk;
	unsigned int left;
	void **chunks;
	size_t n_chunks;
};

struct shadow_slot {
	_Atomic int lock;
	uint32_t next;
	uint64_t pa;
	struct shadow_change change[CHANGES];
};

struct walk {
	bool ok;
	bool lost; /* a table lies where nothing is known to be */
	bool global;
	unsigned int depth; /* PTEs read */
	unsigned int level; /* of the leaf: 0 is 4 KiB */
	uint64_t root;
	uint64_t leaf;
	uint64_t frame; /* page number of the page asked for */
	uint64_t pte[SHADOW_DEPTH];
	uint64_t slot[SHADOW_DEPTH];
	const _Atomic uint64_t *host[SHADOW_DEPTH];
};

static inline void lock(_Atomic int *l)
{
	while (atomic_exchange_explicit(l, 1, memory_order_acquire))
		while (atomic_load_explicit(l, memory_order_relaxed))
			;
}

static inline void unlock(_Atomic int *l)
{
	atomic_store_explicit(l, 0, memory_order_release);
}

static inline bool stopped(const struct shadow *s)
{
	return atomic_load_explicit(&s->stopped, memory_order_relaxed);
}

/* entries.c: tables of entries */
uint64_t mix(uint64_t key, uint64_t asid, uint64_t level);
struct shadow_entry *table_find(struct shadow_table *t, uint64_t key, uint32_t asid,
				unsigned int level);
/* The entry of that key, new (seq 0) if there was none; NULL: out of memory. */
struct shadow_entry *table_add(struct shadow *s, struct shadow_table *t, uint64_t key,
			       uint32_t asid, unsigned int level);
/* Has no fence taken it? */
bool alive(const struct shadow_hart *h, const struct shadow_entry *e);
bool table_alive(const struct shadow_hart *h, const struct shadow_entry *e);

/* walk.c: page tables as they are now */
bool canonical(const struct shadow_hart *h, uint64_t va);
void walk(struct shadow *s, const struct shadow_hart *h, uint64_t va, struct walk *w);
/* The page number that `va` has by a leaf of that level. */
uint64_t leaf_frame(uint64_t pte, unsigned int level, uint64_t va);
uint64_t entry_frame(const struct shadow_entry *e, uint64_t va);
/* Would a TLB that holds this PTE let the access through? MXR: what may be executed counts. */
bool permits(uint64_t pte, unsigned int kind);
/* As the tables have it now: A and D are set by the hardware on the way. */
bool permits_now(uint64_t pte, unsigned int kind);

/* finite.c: TLBs of a geometry */
bool tlb_new(struct shadow *s, struct shadow_hart *h);
void tlb_free(struct shadow_hart *h);
/* It was just filled. */
void tlb_fill(struct shadow_tlb *t, struct shadow_entry *e);

/* entries.c: memory, which is counted; NULL stops the shadow */
void *get(struct shadow *s, size_t count, size_t size);

#endif
