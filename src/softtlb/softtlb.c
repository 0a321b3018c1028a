/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "softtlb.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPACES (SOFTTLB_SPACES + 1)
#define FRAMES_PER_CPU 96
#define TABLES_PER_CPU 16
#define FRAMES (SOFTTLB_CPUS * FRAMES_PER_CPU)
#define TABLES (SOFTTLB_CPUS * TABLES_PER_CPU)
#define FINDINGS_PRINTED 8
/* What a TLB's entries are tagged with: tag 0 is the kernel's, the others are ASIDs as they come. */
#define TAGS 256
#define TAG_KERNEL 0

/* A page-table entry: present, writable, the frame or table, and a version that only grows. */
#define PTE_PRESENT 1ull
#define PTE_WRITE 2ull
#define PTE_TARGET_SHIFT 2
#define PTE_TARGET_MASK 0x3fffull
#define PTE_VERSION_SHIFT 16

/* What a frame holds: whose page it is, and since which version of that page table. */
#define TAG_SPACE_SHIFT 56
#define TAG_PAGE_SHIFT 40
#define TAG_VERSION_MASK ((1ull << TAG_PAGE_SHIFT) - 1)
#define TAG_FREE (~0ull)

/* Under the thread sanitizer frames are plain memory: each use must be ordered before the reuse. */
#ifdef SOFTTLB_PLAIN_FRAMES
typedef uint64_t frame_tag;
#define frame_read(p) (*(p))
#define frame_write(p, v) (*(p) = (v))
#else
typedef _Atomic uint64_t frame_tag;
#define frame_read(p) atomic_load_explicit((p), memory_order_relaxed)
#define frame_write(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#endif

enum { PEND_IPI = 1, PEND_STORM = 2, PEND_NMI = 4 };

struct table {
	_Atomic uint64_t pte[SOFTTLB_LEAVES];
	_Atomic uint64_t freed; /* how often */
};

struct space {
	atomic_flag busy;
	uint64_t version; /* under `busy` */
	_Atomic uint64_t root[SOFTTLB_ROOTS];
	/* A table was unlinked here, and its shootdown has yet to return: no new one till then. */
	atomic_bool freeing[SOFTTLB_ROOTS];
	_Atomic uint64_t root_freed; /* how often */
	_Atomic uint64_t retired[SOFTTLB_PAGES];
	flushq_atomic_ulong set[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
};

/* Entries know whose they are; the hardware would not. */
struct leaf {
	uint64_t pte; /* 0: none */
	unsigned int space;
};

struct non_leaf {
	uint64_t pte; /* 0: none */
	uint64_t freed; /* the table's count when the entry was read */
	unsigned int space;
};

struct cpu {
	unsigned int id;
	pthread_t thread;
	atomic_bool started;
	/* Shared with signals on this thread alone. */
	volatile sig_atomic_t irqs_off, in_instruction, in_nmi, lose;
	_Atomic unsigned int pending;
	/* Low call: interrupts asked for and answered. */
	_Atomic unsigned long asked, answered;

	atomic_bool off;
	bool bare; /* no translation, no walks */
	/* The register: a space, its root page as of then, and an ASID. */
	unsigned int reg, reg_tag;
	uint64_t reg_root;
	flushq_asid reg_asid;
	unsigned int nr_tags; /* TAG_KERNEL among them */
	uint8_t tag_of[FLUSHQ_ASID_MAX + 1]; /* 0: none yet */
	bool cached[TAGS]; /* there may be entries */
	struct leaf leaf[TAGS][SOFTTLB_PAGES];
	struct non_leaf non_leaf[TAGS][SOFTTLB_ROOTS];

	uint64_t random, random_irq;
	unsigned int nr_frames, nr_tables;
	uint16_t frames[FRAMES];
	uint16_t tables[TABLES];
};

static struct softtlb_config config;
static void (*cpu_main)(unsigned int cpu);
static struct cpu cpus[SOFTTLB_CPUS];
static struct space spaces[SPACES];
static struct table tables[TABLES];
static frame_tag frames[FRAMES];
static _Atomic unsigned long findings[SOFTTLB_NR_FINDINGS];
static _Atomic unsigned long interrupts;
static _Atomic unsigned int finished;
static pthread_barrier_t all_started;
static _Thread_local struct cpu *self;

static void deliver(struct cpu *c);

/* xorshift64*: signals have their own state, so that they do not disturb the thread's. */
static uint64_t next_random(struct cpu *c)
{
	uint64_t *state = c->in_nmi || c->irqs_off ? &c->random_irq : &c->random;
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 2685821657736338717ull;
}

unsigned int softtlb_self(void)
{
	return self->id;
}

unsigned int softtlb_random(unsigned int below)
{
	return (unsigned int)((next_random(self) >> 33) % below);
}

flushq_asid softtlb_asid(unsigned int space)
{
	/* The ends of the 16 bits, and neighbours. */
	static const flushq_asid first[] = { 0, 0xffff, 1, 2, 0x8000, 0x7fff, 0x00ff, 0xff00 };

	return space < 8 ? first[space] : 0x100 + space;
}

flushq_atomic_ulong *softtlb_set(unsigned int space)
{
	return spaces[space].set;
}

static void instruction_begin(struct cpu *c)
{
	c->in_instruction = 1;
	atomic_signal_fence(memory_order_seq_cst);
}

static void instruction_end(struct cpu *c)
{
	atomic_signal_fence(memory_order_seq_cst);
	c->in_instruction = 0;
	atomic_signal_fence(memory_order_seq_cst);
	deliver(c);
}

static void found(struct cpu *c, enum softtlb_finding finding, unsigned int space,
		  unsigned int page, uint64_t had, uint64_t limit)
{
	static const char *const what[] = {
		"use of a retired translation",
		"use of a reused frame",
		"walk of a freed table",
		"use of another space's translation",
	};
	unsigned long before = atomic_fetch_add(&findings[finding], 1);
	char line[256];
	int n;

	if (before >= FINDINGS_PRINTED)
		return;
	n = snprintf(line, sizeof(line),
		     "softtlb: CPU %u: %s: space %u (ASID %u in the register) page %u, had %llu, "
		     "now %llu; seed %lu\n",
		     c->id, what[finding], space, c->reg_asid, page, (unsigned long long)had,
		     (unsigned long long)limit, config.seed);
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/* Makes sure of the non-leaf entry for `page`: false if there is none. */
static bool walk_root(struct cpu *c, unsigned int tag, unsigned int space, unsigned int page)
{
	struct non_leaf *nl = &c->non_leaf[tag][page / SOFTTLB_LEAVES];
	uint64_t pte, freed;

	if (nl->pte)
		return true;
	pte = atomic_load_explicit(&spaces[space].root[page / SOFTTLB_LEAVES],
				   memory_order_acquire);
	/* After the read: as below. */
	freed = atomic_load_explicit(&spaces[space].root_freed, memory_order_acquire);
	if (space != SOFTTLB_KERNEL && freed != c->reg_root) {
		found(c, SOFTTLB_FREED_TABLE, space, page, c->reg_root, freed);
		return false;
	}
	if (!(pte & PTE_PRESENT))
		return false;
	/* The version of a root entry is the freed count of its table. */
	nl->pte = pte;
	nl->freed = pte >> PTE_VERSION_SHIFT;
	nl->space = space;
	c->cached[tag] = true;
	return true;
}

/* Caches the leaf entry of `page`, if there is one. Within an instruction. */
static void walk(struct cpu *c, unsigned int tag, unsigned int space, unsigned int page)
{
	struct non_leaf *nl = &c->non_leaf[tag][page / SOFTTLB_LEAVES];
	struct table *table;
	uint64_t pte, freed;

	if (!walk_root(c, tag, space, page))
		return;
	table = &tables[nl->pte >> PTE_TARGET_SHIFT & PTE_TARGET_MASK];
	pte = atomic_load_explicit(&table->pte[page % SOFTTLB_LEAVES], memory_order_acquire);
	/* After the read: no shootdown may return while the walk that it concerns goes on. */
	freed = atomic_load_explicit(&table->freed, memory_order_acquire);
	if (freed != nl->freed)
		found(c, SOFTTLB_FREED_TABLE, space, page, nl->freed, freed);
	if (!(pte & PTE_PRESENT))
		return;
	c->leaf[tag][page].pte = pte;
	c->leaf[tag][page].space = nl->space;
	c->cached[tag] = true;
}

/* A walk that nobody asked for. */
static void walk_unasked(struct cpu *c, unsigned int space, unsigned int page)
{
	unsigned int tag = space == SOFTTLB_KERNEL ? TAG_KERNEL : c->reg_tag;

	instruction_begin(c);
	if (!c->bare && !c->leaf[tag][page].pte)
		walk(c, tag, space, page);
	instruction_end(c);
}

static void speculate(struct cpu *c)
{
	unsigned int space;

	if (!config.speculate || c->in_instruction || softtlb_random(config.speculate))
		return;
	space = c->reg == SOFTTLB_NONE || softtlb_random(4) == 0 ? SOFTTLB_KERNEL : c->reg;
	walk_unasked(c, space, softtlb_random(SOFTTLB_PAGES));
}

void softtlb_walk_ahead(unsigned int page)
{
	if (self->reg != SOFTTLB_NONE)
		walk_unasked(self, self->reg, page);
}

void softtlb_speculate(void)
{
	speculate(self);
}

static bool use(struct cpu *c, unsigned int tag, unsigned int space, unsigned int page, bool write)
{
	struct leaf *leaf = &c->leaf[tag][page];
	uint64_t retired, pte, version, tag_now, whose;

	/* Before the translation is looked for. */
	retired = atomic_load_explicit(&spaces[space].retired[page], memory_order_acquire);
	if (!leaf->pte)
		walk(c, tag, space, page);
	pte = leaf->pte;
	if (!pte || (write && !(pte & PTE_WRITE)))
		return false;
	if (leaf->space != space) {
		found(c, SOFTTLB_FOREIGN, space, page, leaf->space, space);
		return true;
	}
	version = pte >> PTE_VERSION_SHIFT;
	whose = (uint64_t)space << TAG_SPACE_SHIFT | (uint64_t)page << TAG_PAGE_SHIFT;
	if (version <= retired)
		found(c, SOFTTLB_RETIRED, space, page, version, retired);
	tag_now = frame_read(&frames[pte >> PTE_TARGET_SHIFT & PTE_TARGET_MASK]);
	if ((tag_now & ~TAG_VERSION_MASK) != whose || (tag_now & TAG_VERSION_MASK) > version)
		found(c, SOFTTLB_REUSED, space, page, version, tag_now & TAG_VERSION_MASK);
	return true;
}

static bool use_once(struct cpu *c, unsigned int tag, unsigned int space, unsigned int page,
		     bool write)
{
	bool done;

	speculate(c);
	instruction_begin(c);
	done = !c->bare && use(c, tag, space, page, write);
	instruction_end(c);
	return done;
}

bool softtlb_use(unsigned int page, bool write)
{
	struct cpu *c = self;

	return c->reg != SOFTTLB_NONE && use_once(c, c->reg_tag, c->reg, page, write);
}

bool softtlb_use_kernel(unsigned int page, bool write)
{
	return use_once(self, TAG_KERNEL, SOFTTLB_KERNEL, page, write);
}

static unsigned int tag_for(struct cpu *c, flushq_asid asid)
{
	if (c->tag_of[asid] == 0) {
		if (c->nr_tags == TAGS) {
			fprintf(stderr, "softtlb: more than %d ASIDs\n", TAGS - 1);
			exit(2);
		}
		c->tag_of[asid] = (uint8_t)c->nr_tags++;
	}
	return c->tag_of[asid];
}

void softtlb_write_register_asid(unsigned int space, flushq_asid asid)
{
	struct cpu *c = self;
	unsigned int i;

	/* One instruction. */
	instruction_begin(c);
	c->bare = false;
	c->reg = space;
	if (space != SOFTTLB_NONE) {
		c->reg_tag = tag_for(c, asid & FLUSHQ_ASID_MAX);
		c->reg_asid = asid & FLUSHQ_ASID_MAX;
		c->reg_root = atomic_load_explicit(&spaces[space].root_freed, memory_order_relaxed);
	}
	instruction_end(c);
	for (i = 0; i < 4; i++)
		speculate(c);
}

void softtlb_write_register(unsigned int space)
{
	softtlb_write_register_asid(space, space == SOFTTLB_NONE ? 0 : softtlb_asid(space));
}

void softtlb_power_off(void)
{
	struct cpu *c = self;

	instruction_begin(c);
	c->reg = SOFTTLB_NONE;
	c->bare = true;
	atomic_store_explicit(&c->off, true, memory_order_release);
	instruction_end(c);
}

void softtlb_power_on(void)
{
	atomic_store_explicit(&self->off, false, memory_order_release);
}

/* Page tables. The lock is only ever tried: a signal may have interrupted its holder. */

static bool space_lock(struct space *s)
{
	return !atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire);
}

static void space_unlock(struct space *s)
{
	atomic_flag_clear_explicit(&s->busy, memory_order_release);
}

static struct table *table_of(struct space *s, unsigned int page)
{
	uint64_t root = atomic_load_explicit(&s->root[page / SOFTTLB_LEAVES], memory_order_relaxed);

	return root & PTE_PRESENT ? &tables[root >> PTE_TARGET_SHIFT & PTE_TARGET_MASK] : NULL;
}

/* The pools are the CPU's, and used within instructions: interrupts may give back, NMIs never. */
static uint64_t new_entry(struct space *s, uint64_t target, uint64_t flags)
{
	return ++s->version << PTE_VERSION_SHIFT | target << PTE_TARGET_SHIFT | flags | PTE_PRESENT;
}

static struct table *table_add(struct cpu *c, struct space *s, unsigned int page)
{
	unsigned int index;
	uint64_t freed;

	if (!c->nr_tables ||
	    atomic_load_explicit(&s->freeing[page / SOFTTLB_LEAVES], memory_order_acquire))
		return NULL;
	index = c->tables[--c->nr_tables];
	freed = atomic_load_explicit(&tables[index].freed, memory_order_relaxed);
	atomic_store_explicit(&s->root[page / SOFTTLB_LEAVES],
			      freed << PTE_VERSION_SHIFT | (uint64_t)index << PTE_TARGET_SHIFT |
				      PTE_PRESENT,
			      memory_order_release);
	return &tables[index];
}

bool softtlb_map(unsigned int space, unsigned int page, bool writable)
{
	struct space *s = &spaces[space];
	struct cpu *c = self;
	struct table *table;
	bool done = false;
	unsigned int frame;
	uint64_t pte;

	if (!space_lock(s))
		return false;
	instruction_begin(c);
	table = c->nr_frames ? table_of(s, page) : NULL;
	if (!table && c->nr_frames)
		table = table_add(c, s, page);
	if (table &&
	    !(atomic_load_explicit(&table->pte[page % SOFTTLB_LEAVES], memory_order_relaxed) &
	      PTE_PRESENT)) {
		frame = c->frames[--c->nr_frames];
		pte = new_entry(s, frame, writable ? PTE_WRITE : 0);
		frame_write(&frames[frame], (uint64_t)space << TAG_SPACE_SHIFT |
						    (uint64_t)page << TAG_PAGE_SHIFT |
						    pte >> PTE_VERSION_SHIFT);
		atomic_store_explicit(&table->pte[page % SOFTTLB_LEAVES], pte,
				      memory_order_release);
		done = true;
	}
	instruction_end(c);
	space_unlock(s);
	return done;
}

static void change_begin(struct softtlb_change *change, unsigned int space, unsigned int page,
			 unsigned int pages, enum flushq_kind kind)
{
	memset(change, 0, sizeof(*change));
	change->space = space;
	change->page = page;
	change->pages = pages;
	change->range = flushq_range_make(
		softtlb_asid(space), (unsigned long)page << FLUSHQ_PAGE_SHIFT,
		(unsigned long)pages << FLUSHQ_PAGE_SHIFT, 1ul << FLUSHQ_PAGE_SHIFT,
		space == SOFTTLB_KERNEL ? FLUSHQ_GLOBAL : kind);
}

bool softtlb_protect(unsigned int space, unsigned int page, struct softtlb_change *change)
{
	struct space *s = &spaces[space];
	struct table *table;
	bool done = false;
	uint64_t pte = 0;

	if (!space_lock(s))
		return false;
	table = table_of(s, page);
	if (table)
		pte = atomic_load_explicit(&table->pte[page % SOFTTLB_LEAVES],
					   memory_order_relaxed);
	if (pte & PTE_WRITE) {
		pte = new_entry(s, pte >> PTE_TARGET_SHIFT & PTE_TARGET_MASK, 0);
		atomic_store_explicit(&table->pte[page % SOFTTLB_LEAVES], pte,
				      memory_order_release);
		change_begin(change, space, page, 1, FLUSHQ_LEAF);
		change->version = s->version;
		done = true;
	}
	space_unlock(s);
	return done;
}

bool softtlb_unmap(unsigned int space, unsigned int page, unsigned int pages,
		   struct softtlb_change *change)
{
	struct space *s = &spaces[space];
	struct table *table;
	unsigned int i, n = 0;
	uint64_t pte;

	if (!space_lock(s))
		return false;
	if (pages > SOFTTLB_LEAVES - page % SOFTTLB_LEAVES)
		pages = SOFTTLB_LEAVES - page % SOFTTLB_LEAVES;
	change_begin(change, space, page, pages, FLUSHQ_LEAF);
	table = table_of(s, page);
	for (i = 0; table && i < pages; i++) {
		pte = atomic_exchange_explicit(&table->pte[(page + i) % SOFTTLB_LEAVES], 0,
					       memory_order_relaxed);
		if (pte & PTE_PRESENT)
			change->frame[n++] =
				(uint16_t)((pte >> PTE_TARGET_SHIFT & PTE_TARGET_MASK) + 1);
	}
	change->version = ++s->version;
	space_unlock(s);
	return n != 0;
}

bool softtlb_free_table(unsigned int space, unsigned int page, struct softtlb_change *change)
{
	struct space *s = &spaces[space];
	unsigned int first = page - page % SOFTTLB_LEAVES, i, n = 0;
	struct table *table;
	uint64_t pte;

	if (!space_lock(s))
		return false;
	table = table_of(s, page);
	if (table) {
		change_begin(change, space, first, SOFTTLB_LEAVES, FLUSHQ_TABLES);
		/* Address flushes keep non-leaf entries of the kernel as well. */
		if (space == SOFTTLB_KERNEL)
			change->range = flushq_range_whole(0, FLUSHQ_GLOBAL);
		atomic_store_explicit(&s->root[page / SOFTTLB_LEAVES], 0, memory_order_release);
		atomic_store_explicit(&s->freeing[page / SOFTTLB_LEAVES], true,
				      memory_order_relaxed);
		/* The entries stay: only the link is cut before the shootdown. */
		for (i = 0; i < SOFTTLB_LEAVES; i++) {
			pte = atomic_load_explicit(&table->pte[i], memory_order_relaxed);
			if (pte & PTE_PRESENT)
				change->frame[n++] =
					(uint16_t)((pte >> PTE_TARGET_SHIFT & PTE_TARGET_MASK) + 1);
		}
		change->table = (unsigned int)(table - tables) + 1;
		change->version = ++s->version;
	}
	space_unlock(s);
	return table != NULL;
}

static void raise_retired(_Atomic uint64_t *retired, uint64_t version)
{
	uint64_t old = atomic_load_explicit(retired, memory_order_relaxed);

	while (old < version &&
	       !atomic_compare_exchange_weak_explicit(retired, &old, version, memory_order_release,
						      memory_order_relaxed))
		;
}

static void give_frame(struct cpu *c, unsigned int frame)
{
	frame_write(&frames[frame], TAG_FREE);
	c->frames[c->nr_frames++] = (uint16_t)frame;
}

static void give_table(struct cpu *c, struct table *table)
{
	unsigned int i;

	for (i = 0; i < SOFTTLB_LEAVES; i++)
		atomic_store_explicit(&table->pte[i], 0, memory_order_relaxed);
	atomic_fetch_add_explicit(&table->freed, 1, memory_order_release);
	c->tables[c->nr_tables++] = (uint16_t)(table - tables);
}

void softtlb_retire(const struct softtlb_change *change)
{
	struct space *s = &spaces[change->space];
	struct cpu *c = self;
	unsigned int i;

	for (i = 0; i < change->pages; i++)
		raise_retired(&s->retired[change->page + i], change->version - 1);
	instruction_begin(c);
	for (i = 0; i < SOFTTLB_LEAVES && change->frame[i]; i++)
		give_frame(c, change->frame[i] - 1u);
	if (change->table)
		give_table(c, &tables[change->table - 1]);
	instruction_end(c);
	if (change->table)
		atomic_store_explicit(&s->freeing[change->page / SOFTTLB_LEAVES], false,
				      memory_order_release);
}

bool softtlb_free_space(unsigned int space)
{
	struct space *s = &spaces[space];
	struct cpu *c = self;
	struct table *table;
	unsigned int i;
	uint64_t pte;

	if (!space_lock(s))
		return false;
	instruction_begin(c);
	s->version++;
	atomic_fetch_add_explicit(&s->root_freed, 1, memory_order_release);
	for (i = 0; i < SOFTTLB_PAGES; i++) {
		raise_retired(&s->retired[i], s->version - 1);
		table = table_of(s, i);
		if (!table)
			continue;
		pte = atomic_load_explicit(&table->pte[i % SOFTTLB_LEAVES], memory_order_relaxed);
		if (pte & PTE_PRESENT)
			give_frame(c, pte >> PTE_TARGET_SHIFT & PTE_TARGET_MASK);
		if (i % SOFTTLB_LEAVES < SOFTTLB_LEAVES - 1)
			continue;
		atomic_store_explicit(&s->root[i / SOFTTLB_LEAVES], 0, memory_order_release);
		give_table(c, table);
	}
	instruction_end(c);
	space_unlock(s);
	return true;
}

/* flushq's hooks. */

static void flush_tag(struct cpu *c, unsigned int tag, const struct flushq_range *range)
{
	unsigned long first = range->start >> FLUSHQ_PAGE_SHIFT;
	unsigned long n = (unsigned long)range->pages << (range->shift - FLUSHQ_PAGE_SHIFT), i;

	if (!c->cached[tag])
		return;
	if (range->pages == 0)
		memset(c->leaf[tag], 0, sizeof(c->leaf[tag]));
	for (i = 0; i < n && first + i < SOFTTLB_PAGES; i++)
		c->leaf[tag][first + i].pte = 0;
	if ((range->pages == 0 || range->kind == FLUSHQ_TABLES) &&
	    !(config.broken & SOFTTLB_DROP_NON_LEAF)) {
		memset(c->non_leaf[tag], 0, sizeof(c->non_leaf[tag]));
		c->cached[tag] = range->pages != 0;
	}
}

/* Whether the machine was broken, or is off: nothing is flushed then. */
static bool loses_flush(struct cpu *c, const struct flushq_range *range)
{
	if (c->lose || atomic_load_explicit(&c->off, memory_order_relaxed))
		return true;
	if (config.broken & SOFTTLB_DROP_FLUSH && softtlb_random(8) == 0)
		return true;
	return config.broken & SOFTTLB_DROP_OTHERS && range->kind != FLUSHQ_GLOBAL &&
	       !(c->reg != SOFTTLB_NONE && range->asid == c->reg_asid);
}

void flushq_host_flush(const struct flushq_range *range)
{
	struct cpu *c = self;
	unsigned int tag;

	speculate(c);
	instruction_begin(c);
	/* What the hardware's fence does: earlier accesses before later walks. */
	atomic_thread_fence(memory_order_seq_cst);
	if (loses_flush(c, range))
		;
	else if (range->kind == FLUSHQ_GLOBAL)
		for (tag = 0; tag < c->nr_tags; tag++)
			flush_tag(c, tag, range);
	else if (c->tag_of[range->asid])
		flush_tag(c, c->tag_of[range->asid], range);
	instruction_end(c);
	speculate(c);
}

unsigned long flushq_host_irq_save(void)
{
	struct cpu *c = self;
	unsigned long flags = (unsigned long)c->irqs_off;

	c->irqs_off = 1;
	atomic_signal_fence(memory_order_seq_cst);
	speculate(c);
	return flags;
}

void flushq_host_irq_restore(unsigned long flags)
{
	struct cpu *c = self;

	speculate(c);
	atomic_signal_fence(memory_order_seq_cst);
	c->irqs_off = (sig_atomic_t)flags;
	atomic_signal_fence(memory_order_seq_cst);
	deliver(c);
}

bool flushq_host_irqs_off(void)
{
	return self->irqs_off || self->in_nmi;
}

/*
 * libtsan (gcc 12) runs handlers late, with all signals blocked, and keeps one old mask for them all: where
 * a signal comes just as it begins, and another runs within, it restores "all blocked", for good.
 */
#ifdef __SANITIZE_THREAD__
static void unblock_signals(const struct cpu *c)
{
	sigset_t none;

	if (c->irqs_off || c->in_nmi || c->in_instruction)
		return;
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}
#else
static void unblock_signals(const struct cpu *c)
{
	(void)c;
}
#endif

void flushq_host_relax(void)
{
	speculate(self);
	unblock_signals(self);
	sched_yield();
}

static void signal_cpu(unsigned int cpu, int signal)
{
	if (cpu < config.cpus && atomic_load_explicit(&cpus[cpu].started, memory_order_acquire))
		pthread_kill(cpus[cpu].thread, signal);
}

void flushq_host_interrupt(const unsigned long *set, unsigned int words)
{
	unsigned int w;

	for (w = 0; w < words; w++) {
		unsigned long bits = set[w];

		while (bits) {
			atomic_fetch_add_explicit(&interrupts, 1, memory_order_relaxed);
			signal_cpu(w * FLUSHQ_CPUSET_BITS + flushq_cpuset_pop(&bits), SIGUSR1);
		}
	}
}

void softtlb_interrupt_and_wait(const unsigned long *set, unsigned int words)
{
	unsigned long ticket[SOFTTLB_CPUS];
	unsigned int cpu;

	for (cpu = 0; cpu < config.cpus; cpu++)
		if (flushq_cpuset_has(set, cpu))
			ticket[cpu] = atomic_fetch_add(&cpus[cpu].asked, 1) + 1;
	flushq_host_interrupt(set, words);
	for (cpu = 0; cpu < config.cpus; cpu++)
		while (flushq_cpuset_has(set, cpu) &&
		       !atomic_load_explicit(&cpus[cpu].off, memory_order_acquire) &&
		       atomic_load_explicit(&cpus[cpu].answered, memory_order_acquire) <
			       ticket[cpu])
			flushq_host_relax();
}

void softtlb_send_storm(unsigned int cpu)
{
	signal_cpu(cpu, SIGUSR2);
}

void softtlb_send_nmi(unsigned int cpu)
{
	signal_cpu(cpu, SIGURG);
}

void softtlb_lose_flushes(bool lose)
{
	self->lose = lose;
}

/* Interrupts. */

static void run_ipi(struct cpu *c)
{
	unsigned long asked = atomic_load_explicit(&c->asked, memory_order_acquire);

	softtlb_lose_flushes(config.broken & SOFTTLB_DROP_INTERRUPT);
	flushq_drain(config.fq, c->id);
	softtlb_lose_flushes(false);
	atomic_store_explicit(&c->answered, asked, memory_order_release);
}

static void run_irq(struct cpu *c, unsigned int bit)
{
	c->irqs_off = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (bit == PEND_IPI)
		run_ipi(c);
	else if (config.storm)
		config.storm(c->id);
	atomic_signal_fence(memory_order_seq_cst);
	c->irqs_off = 0;
}

static void run_nmi(struct cpu *c)
{
	c->in_nmi = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (config.nmi)
		config.nmi(c->id);
	atomic_signal_fence(memory_order_seq_cst);
	c->in_nmi = 0;
}

/* Takes what is pending and may be taken. */
static void deliver(struct cpu *c)
{
	unsigned int may, bit;

	for (;;) {
		if (c->in_instruction || c->in_nmi)
			return;
		may = PEND_NMI | (c->irqs_off ? 0u : (unsigned int)(PEND_IPI | PEND_STORM));
		may &= atomic_load_explicit(&c->pending, memory_order_relaxed);
		if (!may)
			return;
		bit = may & PEND_NMI ? PEND_NMI : may & -may;
		if (!(atomic_fetch_and_explicit(&c->pending, ~bit, memory_order_relaxed) & bit))
			continue;
		if (bit == PEND_NMI)
			run_nmi(c);
		else
			run_irq(c, bit);
	}
}

static void pend(struct cpu *c, unsigned int bit)
{
	atomic_fetch_or_explicit(&c->pending, bit, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	deliver(c);
}

void softtlb_take_here(bool nmi)
{
	struct cpu *c = self;

	/* Not noted for later: what it interrupts might never get on. */
	if (!c->in_nmi && !c->in_instruction && (nmi || !c->irqs_off))
		pend(c, nmi ? PEND_NMI : PEND_STORM);
}

static void on_signal(int signal)
{
	if (self)
		pend(self, signal == SIGUSR1   ? PEND_IPI
			   : signal == SIGUSR2 ? PEND_STORM
					       : PEND_NMI);
}

static void *cpu_thread(void *arg)
{
	struct cpu *c = arg;

	self = c;
	atomic_store_explicit(&c->started, true, memory_order_release);
	pthread_barrier_wait(&all_started);
	cpu_main(c->id);
	/* Others may still wait for this CPU's answer. */
	atomic_fetch_add(&finished, 1);
	while (atomic_load(&finished) < config.cpus)
		flushq_host_relax();
	return NULL;
}

static void fill_pools(struct cpu *c)
{
	unsigned int i;

	for (i = 0; i < FRAMES_PER_CPU; i++)
		c->frames[c->nr_frames++] = (uint16_t)(c->id * FRAMES_PER_CPU + i);
	for (i = 0; i < TABLES_PER_CPU; i++)
		c->tables[c->nr_tables++] = (uint16_t)(c->id * TABLES_PER_CPU + i);
}

static void catch_signals(void)
{
	static const int signals[] = { SIGUSR1, SIGUSR2, SIGURG };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	unsigned int i;

	for (i = 0; i < 3; i++)
		sigaction(signals[i], &action, NULL);
}

void softtlb_run(const struct softtlb_config *wanted, void (*main)(unsigned int cpu))
{
	unsigned int i;

	config = *wanted;
	cpu_main = main;
	if (config.cpus < 1 || config.cpus > SOFTTLB_CPUS) {
		fprintf(stderr, "softtlb: %u CPUs: 1 to %d are possible\n", config.cpus,
			SOFTTLB_CPUS);
		exit(2);
	}
	catch_signals();
	pthread_barrier_init(&all_started, NULL, config.cpus);
	for (i = 0; i < config.cpus; i++) {
		struct cpu *c = &cpus[i];

		c->id = i;
		c->reg = SOFTTLB_NONE;
		c->nr_tags = 1;
		c->irqs_off = 1;
		c->random = (config.seed + i + 1) * 0x9e3779b97f4a7c15ull | 1;
		c->random_irq = c->random ^ 0x5555555555555555ull;
		fill_pools(c);
	}
	for (i = 0; i < config.cpus; i++)
		if (pthread_create(&cpus[i].thread, NULL, cpu_thread, &cpus[i])) {
			perror("softtlb: pthread_create");
			exit(2);
		}
	for (i = 0; i < config.cpus; i++)
		pthread_join(cpus[i].thread, NULL);
	for (i = 0; i < config.cpus; i++)
		atomic_store(&cpus[i].started, false);
	pthread_barrier_destroy(&all_started);
}

unsigned long softtlb_findings(enum softtlb_finding finding)
{
	return atomic_load(&findings[finding]);
}

unsigned long softtlb_all_findings(void)
{
	unsigned long n = 0;
	unsigned int i;

	for (i = 0; i < SOFTTLB_NR_FINDINGS; i++)
		n += atomic_load(&findings[i]);
	return n;
}

unsigned long softtlb_interrupts(void)
{
	return atomic_load(&interrupts);
}
