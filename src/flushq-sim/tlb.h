/* SPDX-License-Identifier: MIT */
/*
 * tlb.h - page tables and TLBs as strict as the RISC-V specification allows, and what notices a
 * stale use. src/softtlb/softtlb.h names the sections; here without threads.
 *
 *   page tables  two levels; each entry bears a version that only grows, over all entries
 *   TLB          infinite, tagged with the ASID and nothing else: an entry stays until a flush
 *                removes it, also where the page table has changed or the ASID is another address
 *                space's by now. Entries that are not present are not cached.
 *   non-leaf     entries are cached too, and walks start from them. A flush by page leaves them, one
 *                of an ASID takes them.
 *   global       the kernel's entries are under no ASID
 *
 * A use is stale if its entry is another address space's or older than what a shootdown that has
 * returned made known, or if its frame was freed since it was cached; so is a walk through a table
 * that was freed.
 *
 * A refill is a miss on a page that a flush removed from this TLB although its entry still says
 * what the page table says: versions are never used twice.
 */
#ifndef TLB_H
#define TLB_H

#include <stdbool.h>
#include <stdint.h>

#include "../../examples/riscv-kernel/uapi.h"

/* Tables of a space, laid out as in uapi.h: text, board and stacks, and an area each. */
#define TABLES (2 + 2 * WL_THREADS)
#define TABLE_SHIFT 21
#define KERNEL_AREA 0xC0000000UL
#define NR_MMS (64 + 16)
#define NR_FRAMES 8192
#define NO_FRAME 0u

#define PTE_R 1u
#define PTE_W 2u
#define PTE_X 4u
#define PTE_V 8u
#define PTE_COW 16u /* copy the frame before a write */
#define PTE_MAY_WRITE 32u /* not protected */
#define PTE_MIGRATING 64u /* a page of the file, which `frame` says; no frame */

struct pte {
	uint64_t version;
	unsigned int frame;
	unsigned int bits;
};

/* And the kernel's. */
#define NR_SPACES (NR_MMS + 1)

struct space {
	unsigned int owner; /* its number, from 1 on; it may be another's later */
	unsigned int place; /* below NR_SPACES */
	struct pte pte[TABLES][WL_PAGES];
	uint64_t current[TABLES][WL_PAGES]; /* what is older is gone: a shootdown has returned */
	unsigned int table[TABLES]; /* its frame; NO_FRAME: none */
	unsigned int entries[TABLES];
};

struct frame {
	unsigned int refs;
	unsigned int freed; /* how often */
	bool shared; /* of the file or text: never copied */
};

extern struct frame frames[NR_FRAMES];

/* What a flush is part of: a shootdown that this CPU began, waits included; or an interrupt; or a
 * switch. */
enum cause { CAUSE_OWN, CAUSE_INTERRUPT, CAUSE_SWITCH, NR_CAUSES };
enum form { FORM_PAGE, FORM_ASID, FORM_ALL, NR_FORMS };

struct tlb_entry {
	struct pte pte;
	unsigned int freed; /* its frame's */
	unsigned int owner; /* the space it is of */
};

struct tlb_asid {
	uint32_t cached[TABLES]; /* bits */
	struct tlb_entry leaf[TABLES][WL_PAGES];
	struct {
		unsigned int frame, freed, owner;
	} non_leaf[TABLES];
};

/* What a flush removed last. */
struct tlb_dropped {
	uint64_t version;
	unsigned char cause, form;
};

/* The kernel's entries, which belong to no ASID, are under this one. */
#define NR_ASIDS (65536 + 1)
#define ASID_GLOBAL (NR_ASIDS - 1)

struct tlb {
	struct tlb_asid *asid[NR_ASIDS]; /* NULL: holds nothing of it */
	struct tlb_dropped dropped[NR_SPACES][TABLES][WL_PAGES];
	enum cause cause;
	unsigned long misses, refills, stale;
	unsigned long refills_of[NR_CAUSES][NR_FORMS];
};

/* A new version, if it is a change. */
void pte_set(struct space *s, unsigned int table, unsigned int page, unsigned int frame,
	     unsigned int bits);
/* The shootdown for what changed in these pages has returned. */
void space_retire(struct space *s, unsigned long start, unsigned long size);

/* One access; false: it faults. */
bool tlb_use(struct tlb *tlb, const struct space *s, unsigned int asid, unsigned int table,
	     unsigned int page, unsigned int need);
/* The hardware caches a page by itself. */
void tlb_speculate(struct tlb *tlb, const struct space *s, unsigned int asid, unsigned int table,
		   unsigned int page);
void tlb_flush_page(struct tlb *tlb, unsigned int asid, unsigned long va);
void tlb_flush_non_leaf(struct tlb *tlb, unsigned int asid);
void tlb_flush_asid(struct tlb *tlb, unsigned int asid);
void tlb_flush_all(struct tlb *tlb);

#endif
