/* SPDX-License-Identifier: MIT */
/*
 * A shadow TLB per hart, as strict as the privileged specification allows: what a hart once used
 * stays cached, under its ASID, until a fence of that hart covers it. Knows nothing of QEMU: it is
 * fed accesses, fences and writes of satp, and reads page tables through a hook.
 *
 * When is the use of a stale translation wrong? Between the change of a page table and the end of
 * its shootdown it is right, and nobody outside the kernel sees that end. So time is cut into
 * epochs: one ends when every hart has run `grace` instructions in it, or slept. A stale use is a
 * finding once two epochs have begun since the change (docs/audit.md says what that assumes).
 * Where shootdowns cannot be preempted (`strict`), one is also over once the hart that
 * changed the table has left the kernel, switched or slept.
 */
#ifndef FLUSHQ_AUDIT_SHADOW_H
#define FLUSHQ_AUDIT_SHADOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHADOW_DEPTH 5 /* levels of Sv57 */
#define SHADOW_LINES 1024
#define SHADOW_FENCES 512
#define SHADOW_WHO 8
#define SHADOW_TLBS 4

#define PTE_V (1ULL << 0)
#define PTE_R (1ULL << 1)
#define PTE_W (1ULL << 2)
#define PTE_X (1ULL << 3)
#define PTE_U (1ULL << 4)
#define PTE_G (1ULL << 5)
#define PTE_A (1ULL << 6)
#define PTE_D (1ULL << 7)
#define PTE_N (1ULL << 63)
#define PTE_LEAF (PTE_R | PTE_W | PTE_X)
#define PTE_AD (PTE_A | PTE_D) /* hardware's to set, and cleared without a flush */

/* Kind of an access: bits */
#define SHADOW_LOAD 1u
#define SHADOW_STORE 2u
#define SHADOW_USER 4u /* at privilege U */

enum shadow_what {
	SHADOW_FRAME, /* the page is somewhere else now */
	SHADOW_UNMAPPED, /* it is nowhere now */
	SHADOW_PERMISSION, /* this access is not allowed any more */
	SHADOW_TABLE, /* a page-table page that is none any more would be walked */
	SHADOW_BRACKET, /* sinval.vma outside its pair of fences */
	SHADOW_WHATS
};

enum shadow_form {
	SHADOW_ALL, /* rs1 = x0, rs2 = x0 */
	SHADOW_ASID, /* rs1 = x0 */
	SHADOW_VA, /* rs2 = x0 */
	SHADOW_VA_ASID,
	SHADOW_FORMS
};

struct shadow_fence_log {
	uint64_t va;
	uint64_t pc;
	uint64_t insns;
	uint32_t asid;
	uint8_t form;
	bool sinval;
};

struct shadow_change {
	uint64_t pte; /* written */
	uint64_t pc;
	uint64_t stamp;
	uint64_t epoch;
	uint64_t returns;
	uint32_t hart;
	uint32_t asid; /* what that hart had loaded */
};

struct shadow_finding {
	enum shadow_what what;
	unsigned int hart;
	uint32_t asid;
	unsigned int kind;
	bool faulted; /* QEMU took a fault; a TLB would have let it pass */
	bool global;
	unsigned int level; /* 0: 4 KiB */
	uint64_t va;
	uint64_t pc;
	uint64_t pte_cached, pte_now;
	uint64_t frame_cached, frame_now; /* physical addresses; now: 0 if there is none */
	uint64_t cached_pc;
	uint64_t cached_ago; /* instructions of this hart */
	unsigned int harts;
	int32_t who[SHADOW_WHO]; /* ASIDs loaded then; -1: no translation */
	bool changed_known;
	bool root_changed; /* satp itself: the ASID was given to other tables */
	struct shadow_change changed;
	unsigned int fences;
	struct shadow_fence_log fence[4]; /* newest first, of this page or ASID or all */
	uint64_t fence_ago[4];
};

struct shadow_counts {
	uint64_t loads, stores, atomics; /* translated */
	uint64_t device; /* of those, outside RAM */
	uint64_t bare;
	uint64_t cold; /* first use of a page */
	uint64_t needed; /* refilled behind a fence, and the mapping had changed */
	uint64_t refills; /* refilled behind a fence for nothing */
	uint64_t capacity;
	uint64_t window; /* stale uses that a shootdown under way explains */
	uint64_t settled; /* of those, entries fenced afterwards */
	uint64_t settle_longest; /* instructions from the first such use to the fence */
	uint64_t fence[SHADOW_FORMS];
	uint64_t sinval[SHADOW_FORMS];
	uint64_t satp;
	uint64_t faults; /* page faults looked at */
	uint64_t tlb_hits[SHADOW_TLBS];
	uint64_t tlb_misses;
};

struct shadow_config {
	unsigned int harts;
	uint64_t grace; /* instructions */
	bool strict; /* a shootdown is over when its hart leaves the kernel */
	uint64_t forget; /* self-test: every so manieth fence of an ASID was not there */
	uint64_t memory; /* bytes, at most */
	unsigned int tlbs; /* 0: none but the infinite one */
	unsigned int sets[SHADOW_TLBS], ways[SHADOW_TLBS];
	uint64_t ram_base, ram_size;
	/* Where a physical address lies in this process, or NULL; 8 bytes are read there. */
	const void *(*host)(void *arg, uint64_t pa);
	uint64_t (*insns)(void *arg, unsigned int hart);
	void (*report)(void *arg, const struct shadow_finding *finding);
	void *arg;
};

struct shadow_entry;
struct shadow_table;
struct shadow_tlb;

/* A page last seen to be right for every entry that matches it, and what that rested on. */
struct shadow_line {
	uint64_t vpn;
	uint64_t ctx;
	uint64_t frame; /* page number */
	struct shadow_entry *entry;
	uint8_t ok; /* bit per kind */
	uint8_t depth;
	const _Atomic uint64_t *slot[SHADOW_DEPTH]; /* leaf first */
	uint64_t pte[SHADOW_DEPTH];
};

struct shadow_hart {
	struct shadow_counts n;
	uint64_t ctx; /* lines of another one are void; 0 is none's */
	uint64_t satp;
	bool bare;
	uint32_t asid;
	unsigned int depth; /* of the tables in use */
	uint64_t seq; /* fences so far */
	uint64_t all_seq;
	uint64_t *asid_seq; /* by ASID: the last fence of it */
	struct shadow_table *leaves, *tables, *vafences;
	unsigned int shifts; /* page sizes ever cached: bit per level */
	struct shadow_line *line;
	struct shadow_line *last;
	struct shadow_tlb *tlb;
	struct shadow_entry **open; /* used while stale, not fenced yet */
	unsigned int opens;
	unsigned int bracket; /* depth of sfence.w.inval */
	struct shadow_fence_log *sinval;
	unsigned int sinvals;
	struct shadow_fence_log log[SHADOW_FENCES];
	uint64_t logged;
	uint64_t asid_fences;
	_Atomic uint64_t returns;
	_Atomic int64_t who; /* ASID loaded, for the others to note; -1: none */
	/* for epochs, under the lock */
	_Atomic uint64_t idles;
	_Atomic uint64_t asleep_at;
	_Atomic uint64_t epoch_insns;
	uint64_t epoch_idles;
} __attribute__((aligned(128)));

struct shadow {
	struct shadow_config c;
	struct shadow_hart *hart;
	_Atomic uint8_t *mark; /* by frame of RAM: read as a page table */
	_Atomic uint16_t *hits;
	uint64_t frame0;
	_Atomic uint64_t frames; /* known last of these */
	_Atomic uint64_t epoch;
	_Atomic uint64_t stamp;
	_Atomic uint64_t used; /* bytes */
	_Atomic(const char *) stopped; /* why nothing is audited any more */
	_Atomic uint64_t findings[SHADOW_WHATS];
	_Atomic int lock, report_lock;
	struct shadow_slot *slots;
};

/* NULL: out of memory. */
struct shadow *shadow_new(const struct shadow_config *c);
void shadow_free(struct shadow *s);
/* The RAM, if it was not known at first. */
bool shadow_ram(struct shadow *s, uint64_t base, uint64_t size);

/* The hart's satp is this now. */
void shadow_satp(struct shadow *s, unsigned int hart, uint64_t satp, uint64_t pc);
/* The machine was reset: no translation, and nothing cached. */
void shadow_reset(struct shadow *s, unsigned int hart);
void shadow_fence(struct shadow *s, unsigned int hart, enum shadow_form form, uint64_t va,
		  uint64_t asid, uint64_t pc);
void shadow_w_inval(struct shadow *s, unsigned int hart, uint64_t pc);
void shadow_sinval(struct shadow *s, unsigned int hart, enum shadow_form form, uint64_t va,
		   uint64_t asid, uint64_t pc);
void shadow_inval_ir(struct shadow *s, unsigned int hart, uint64_t pc);
/* The hart took a page fault for such an access. */
void shadow_fault(struct shadow *s, unsigned int hart, uint64_t va, unsigned int kind, uint64_t pc);
/* It leaves the kernel (sret to U). */
void shadow_return(struct shadow *s, unsigned int hart);
/* It goes to sleep (wfi). */
void shadow_idle(struct shadow *s, unsigned int hart);
/* The physical address that the tables give now; false: none. */
bool shadow_translate(struct shadow *s, unsigned int hart, uint64_t va, uint64_t *pa);

void shadow_access_slow(struct shadow *s, unsigned int hart, uint64_t va, unsigned int size,
			unsigned int kind, uint64_t pc);
void shadow_table_store(struct shadow *s, unsigned int hart, uint64_t pa, unsigned int size,
			uint64_t pc);
void shadow_tlb_touch(struct shadow_hart *h, struct shadow_line *line);

static inline bool shadow_is_table(const struct shadow *s, uint64_t frame)
{
	uint64_t frames = atomic_load_explicit(&s->frames, memory_order_acquire);

	return frame - s->frame0 < frames &&
	       atomic_load_explicit(&s->mark[frame - s->frame0], memory_order_relaxed);
}

static inline void shadow_count(struct shadow_hart *h, unsigned int kind)
{
	if (!(kind & SHADOW_STORE))
		h->n.loads++;
	else if (kind & SHADOW_LOAD)
		h->n.atomics++;
	else
		h->n.stores++;
}

/* An access that was translated and done; a store's bytes are in memory already. */
static inline void shadow_access(struct shadow *s, unsigned int hart, uint64_t va,
				 unsigned int size, unsigned int kind, uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];
	uint64_t vpn = va >> 12;
	struct shadow_line *line = &h->line[vpn % SHADOW_LINES];
	uint64_t differ = 0;

	if (line->vpn != vpn || line->ctx != h->ctx || !(line->ok >> kind & 1) ||
	    (va & 4095) + size > 4096) {
		shadow_access_slow(s, hart, va, size, kind, pc);
		return;
	}
	for (unsigned int i = 0; i < line->depth; i++)
		differ |= atomic_load_explicit(line->slot[i], memory_order_relaxed) ^ line->pte[i];
	if (differ & ~PTE_AD) {
		shadow_access_slow(s, hart, va, size, kind, pc);
		return;
	}
	shadow_count(h, kind);
	if (kind & SHADOW_STORE && shadow_is_table(s, line->frame))
		shadow_table_store(s, hart, line->frame << 12 | (va & 4095), size, pc);
	if (h->tlb && h->last != line)
		shadow_tlb_touch(h, line);
}

#endif
