/* SPDX-License-Identifier: MIT */
/*
 * Frames, page tables, address spaces, the shared file and the kernel's own area: the demo
 * kernel's mm.c without bits that nobody reads here.
 *
 * Lock order: fork_lock, a page of the file, an mm.
 */
#include "policy.h"

#include <stddef.h>

#define PTE_USER (PTE_V | PTE_R)
#define NR_TEXT 2
#define NR_RECLAIMS 256

static unsigned int free_frames[NR_FRAMES];
static unsigned int nr_free, nr_free_at_boot;
static unsigned int text[NR_TEXT];

static struct mm mms[NR_MMS];
static unsigned long next_id = 1;
static struct lock fork_lock;

static struct file_page {
	struct lock lock;
	unsigned int frame;
} file[WL_PAGES];

static struct space kernel_space;
static struct lock kernel_locks[WL_KERNEL_SLOTS];

/* The one freed last is used first, so that a stale use meets something else there. */
static unsigned int frame_alloc(void)
{
	unsigned int frame;

	if (!nr_free)
		die("out of memory");
	frame = free_frames[--nr_free];
	frames[frame].refs = 1;
	frames[frame].shared = false;
	/* It is filled. */
	if (self)
		turn();
	return frame;
}

static unsigned int frame_shared(void)
{
	unsigned int frame = frame_alloc();

	frames[frame].shared = true;
	return frame;
}

/* Only after the shootdown for whatever mapped it. */
static void frame_put(unsigned int frame)
{
	if (--frames[frame].refs)
		return;
	frames[frame].freed++;
	free_frames[nr_free++] = frame;
}

static unsigned long va_of(unsigned int table, unsigned int page)
{
	return U_TEXT + ((unsigned long)table << TABLE_SHIFT) + page * PAGE_SIZE;
}

static void table_need(struct mm *mm, unsigned int table)
{
	if (mm->space.table[table] == NO_FRAME)
		mm->space.table[table] = frame_alloc();
}

static void map(struct mm *mm, unsigned int table, unsigned int page, unsigned int frame,
		unsigned int bits)
{
	table_need(mm, table);
	pte_set(&mm->space, table, page, frame, PTE_USER | bits);
}

/* What a change to a page table takes away, to be given back after the shootdown. */
struct gather {
	unsigned int n;
	enum kind kind;
	unsigned int frame[WL_PAGES + 1];
};

/* The same, given back when its ticket is done. */
static struct reclaim {
	uint64_t ticket[TICKET_WORDS];
	struct reclaim *next;
	struct gather gather;
	struct mm *mm; /* which it keeps */
	unsigned int table;
	unsigned long start, size;
	uint64_t since;
	bool used;
} reclaims[NR_RECLAIMS];
static struct reclaim *first_reclaim, **last_reclaim = &first_reclaim;
unsigned long ticket_wait_max;

static void gather_table(struct mm *mm, unsigned int table, struct gather *g)
{
	struct space *s = &mm->space;

	if (s->entries[table])
		return;
	g->frame[g->n++] = s->table[table];
	g->kind = KIND_TABLES;
	s->table[table] = NO_FRAME;
}

/* Pages from `start` on of this mm. */
static void flush(struct mm *mm, unsigned long start, unsigned long size, enum kind kind)
{
	shootdown(mm, start, size, kind);
	space_retire(&mm->space, start, size);
}

static void count_wait(uint64_t since)
{
	if (now - since > ticket_wait_max)
		ticket_wait_max = now - since;
}

/* The same, of leaf entries that nobody needs to lose at once; waits for no interrupt. */
static void flush_patiently(struct mm *mm, unsigned long start, unsigned long size)
{
	uint64_t ticket[TICKET_WORDS], since = now;

	if (!policy->ticket_take) {
		flush(mm, start, size, KIND_LEAF);
		return;
	}
	if (!shootdown_later(mm, start, size, ticket)) {
		while (!policy->ticket_done(ticket)) {
			turn();
			serve();
			policy->tick(self);
		}
		count_wait(since);
	}
	space_retire(&mm->space, start, size);
}

static void flush_pages(struct mm *mm, unsigned int table, unsigned int page, unsigned int n)
{
	flush(mm, va_of(table, page), n * PAGE_SIZE, KIND_LEAF);
}

static void gather_free(struct gather *g)
{
	while (g->n)
		frame_put(g->frame[--g->n]);
}

static void mm_put(struct mm *mm)
{
	if (!--mm->refs)
		mm->used = false;
}

static void reclaim_finish(struct reclaim *r)
{
	space_retire(&r->mm->space, r->start, r->size);
	gather_free(&r->gather);
	r->mm->pending[r->table]--;
	mm_put(r->mm);
	r->used = false;
}

/* Gives back what tickets allow; in the order of the tickets. */
void reclaim(void)
{
	struct reclaim *r;

	while ((r = first_reclaim) && policy->ticket_done(r->ticket)) {
		first_reclaim = r->next;
		if (!first_reclaim)
			last_reclaim = &first_reclaim;
		count_wait(r->since);
		reclaim_finish(r);
	}
}

static void gather_later(struct mm *mm, unsigned int table, unsigned int page, unsigned int n,
			 const struct gather *g)
{
	struct reclaim *r = NULL;
	unsigned int i;

	for (i = 0; i < NR_RECLAIMS && !r; i++)
		if (!reclaims[i].used)
			r = &reclaims[i];
	if (!r)
		die("out of tickets");
	r->used = true;
	r->next = NULL;
	r->gather = *g;
	r->mm = mm;
	r->table = table;
	r->start = va_of(table, page);
	r->size = n * PAGE_SIZE;
	r->since = now;
	mm->pending[table]++;
	mm->refs++;
	if (shootdown_later(mm, r->start, r->size, r->ticket)) {
		reclaim_finish(r);
		return;
	}
	self->count.tickets++;
	*last_reclaim = r;
	last_reclaim = &r->next;
}

static void gather_finish(struct mm *mm, unsigned int table, unsigned int page, unsigned int n,
			  struct gather *g)
{
	gather_table(mm, table, g);
	if (policy->ticket_take && g->kind == KIND_LEAF) {
		gather_later(mm, table, page, n, g);
		return;
	}
	flush(mm, va_of(table, page), n * PAGE_SIZE, g->kind);
	gather_free(g);
}

/* Where tickets for pages of that table are out, their addresses may not be used again yet. */
static void lock_table(struct mm *mm, unsigned int table)
{
	lock(&mm->lock);
	while (mm->pending[table]) {
		unlock(&mm->lock);
		turn();
		serve();
		policy->tick(self);
		reclaim();
		lock(&mm->lock);
	}
}

/* Address spaces */

/* Returns it locked. */
static struct mm *mm_alloc(unsigned int threads)
{
	struct mm *mm = NULL;
	unsigned int i;

	for (i = 0; i < NR_MMS && !mm; i++)
		if (!mms[i].used)
			mm = &mms[i];
	if (!mm)
		die("out of address spaces");
	mm->used = true;
	/* file_migrate() may look at any place, and holds its lock then. */
	lock(&mm->lock);
	mm->place = (unsigned int)(mm - mms);
	mm->asid = 0;
	mm->id = next_id++;
	mm->space.place = mm->place;
	mm->space.owner = (unsigned int)mm->id * NR_SPACES + mm->place;
	if (policy->born)
		policy->born(mm);
	mm->set[0] = 0;
	mm->refs = 1;
	mm->threads = threads;
	mm->dead = false;
	return mm;
}

struct mm *mm_create(unsigned int threads)
{
	struct mm *mm = mm_alloc(threads);
	unsigned int i;

	for (i = 0; i < NR_TEXT; i++) {
		frames[text[i]].refs++;
		map(mm, 0, i, text[i], PTE_X);
	}
	map(mm, 1, 0, frame_alloc(), PTE_W | PTE_MAY_WRITE);
	for (i = 0; i < threads; i++)
		map(mm, 1, U_STACK(i) / PAGE_SIZE & 511, frame_alloc(), PTE_W | PTE_MAY_WRITE);
	unlock(&mm->lock);
	return mm;
}

/* The last thread has ended, on this CPU, which still has the mm loaded. */
void mm_exit(struct mm *mm)
{
	struct space *s = &mm->space;
	struct pte old[TABLES][WL_PAGES];
	unsigned int tables[TABLES], t, p;

	lock(&mm->lock);
	for (t = 0; t < TABLES; t++) {
		for (p = 0; p < WL_PAGES; p++) {
			old[t][p] = s->pte[t][p];
			pte_set(s, t, p, NO_FRAME, 0);
		}
		tables[t] = s->table[t];
		s->table[t] = NO_FRAME;
	}
	flush(mm, U_TEXT, U_END - U_TEXT, KIND_TABLES);
	for (t = 0; t < TABLES; t++) {
		for (p = 0; p < WL_PAGES; p++)
			if (old[t][p].bits & PTE_V)
				frame_put(old[t][p].frame);
		if (tables[t] != NO_FRAME)
			frame_put(tables[t]);
	}
	mm->dead = true;
	unlock(&mm->lock);
	mm_put(mm);
}

/* Interrupts are off from here to the end; the turns let the others see each state. */
void mm_load(struct cpu *c, struct mm *mm)
{
	struct mm *old = c->mm;

	mm->refs++;
	set_use(c, USE_MOVING, NULL);
	if (policy->before_switch)
		policy->before_switch(c, mm);
	turn();
	c->reg = mm;
	c->reg_asid = mm->asid;
	turn();
	if (policy->switched)
		policy->switched(c, mm);
	c->mm = mm;
	c->lazy = false;
	set_use(c, USE_RUNNING, mm);
	if (old)
		mm_put(old);
}

void mm_park(struct cpu *c)
{
	struct mm *old = c->mm;

	set_use(c, USE_MOVING, NULL);
	c->reg = NULL;
	turn();
	if (policy->parked)
		policy->parked(c);
	c->mm = NULL;
	c->lazy = false;
	set_use(c, USE_NONE, NULL);
	if (old)
		mm_put(old);
}

void mm_map(struct mm *mm, unsigned int table, unsigned int page, unsigned int n)
{
	unsigned int i;

	lock_table(mm, table);
	for (i = 0; i < n; i++)
		map(mm, table, page + i, frame_alloc(), PTE_W | PTE_MAY_WRITE);
	unlock(&mm->lock);
}

void mm_map_file(struct mm *mm, unsigned int table, unsigned int page, unsigned int n,
		 unsigned int first)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct file_page *f = &file[first + i];

		lock(&f->lock);
		lock_table(mm, table);
		frames[f->frame].refs++;
		map(mm, table, page + i, f->frame, PTE_W | PTE_MAY_WRITE);
		unlock(&mm->lock);
		unlock(&f->lock);
	}
}

void mm_unmap(struct mm *mm, unsigned int table, unsigned int page, unsigned int n)
{
	struct gather g = { .kind = KIND_LEAF };
	unsigned int i;

	lock(&mm->lock);
	for (i = page; i < page + n; i++) {
		if (mm->space.pte[table][i].bits & PTE_V)
			g.frame[g.n++] = mm->space.pte[table][i].frame;
		pte_set(&mm->space, table, i, NO_FRAME, 0);
	}
	gather_finish(mm, table, page, n, &g);
	unlock(&mm->lock);
}

void mm_protect(struct mm *mm, unsigned int table, unsigned int page, unsigned int n, bool write)
{
	const struct pte *pte;
	unsigned int i, bits;

	lock(&mm->lock);
	for (i = page; i < page + n; i++) {
		pte = &mm->space.pte[table][i];
		if (!pte->bits)
			continue;
		bits = pte->bits & ~(PTE_W | PTE_MAY_WRITE);
		if (write)
			bits |= PTE_MAY_WRITE;
		if (write && bits & PTE_V && !(bits & PTE_COW))
			bits |= PTE_W;
		pte_set(&mm->space, table, i, pte->frame, bits);
	}
	/* A CPU that has not seen that more is allowed now faults and looks: mm_fault(). */
	if (!write)
		flush_pages(mm, table, page, n);
	unlock(&mm->lock);
}

void mm_remap(struct mm *mm, unsigned int table, unsigned int page, unsigned int n, unsigned int to)
{
	struct gather g = { .kind = KIND_LEAF };
	struct pte pte;
	unsigned int i;

	lock_table(mm, table);
	for (i = 0; i < n; i++) {
		pte = mm->space.pte[table][page + i];
		if (!pte.bits || mm->space.pte[table][to + i].bits)
			die("the workload and the kernel disagree on what is mapped");
		pte_set(&mm->space, table, page + i, NO_FRAME, 0);
		pte_set(&mm->space, table, to + i, pte.frame, pte.bits);
	}
	gather_finish(mm, table, page, n, &g);
	unlock(&mm->lock);
}

static bool fork_page(struct mm *mm, struct mm *child, unsigned int t, unsigned int p)
{
	struct pte pte = mm->space.pte[t][p];
	bool changed = false;

	if (!pte.bits)
		return false;
	if (!frames[pte.frame].shared) {
		changed = pte.bits & PTE_W;
		pte.bits = (pte.bits & ~PTE_W) | PTE_COW;
		pte_set(&mm->space, t, p, pte.frame, pte.bits);
	}
	frames[pte.frame].refs++;
	table_need(child, t);
	pte_set(&child->space, t, p, pte.frame, pte.bits);
	return changed;
}

/*
 * fork_lock keeps file_migrate() away: it would miss the child, and no entry is PTE_MIGRATING.
 * Other threads may write until the shootdown is done.
 */
struct mm *mm_fork(struct mm *mm)
{
	struct mm *child;
	bool changed = false;
	unsigned int t, p;

	lock(&fork_lock);
	lock(&mm->lock);
	child = mm_alloc(1);
	for (t = 0; t < TABLES; t++)
		for (p = 0; p < WL_PAGES; p++)
			if (fork_page(mm, child, t, p))
				changed = true;
	unlock(&child->lock);
	if (changed)
		flush(mm, U_TEXT, U_END - U_TEXT, KIND_LEAF);
	unlock(&mm->lock);
	unlock(&fork_lock);
	return child;
}

static void break_cow(struct mm *mm, unsigned int t, unsigned int p)
{
	struct pte pte = mm->space.pte[t][p];
	unsigned int own;

	if (frames[pte.frame].refs == 1) {
		pte_set(&mm->space, t, p, pte.frame, (pte.bits & ~PTE_COW) | PTE_W);
		tlb_flush_page(&self->tlb, self->reg_asid, va_of(t, p));
		return;
	}
	own = frame_alloc();
	pte_set(&mm->space, t, p, own, PTE_USER | PTE_W | PTE_MAY_WRITE);
	/* Other threads may still read the old one. */
	flush_pages(mm, t, p, 1);
	frame_put(pte.frame);
}

/* True: the access may be tried again. */
bool mm_fault(struct mm *mm, unsigned int table, unsigned int page, unsigned int need)
{
	struct pte pte;
	bool retry = false;

	lock(&mm->lock);
	pte = mm->space.pte[table][page];
	if (pte.bits & PTE_MIGRATING) {
		unlock(&mm->lock);
		/* Until file_migrate() is done. */
		lock(&file[pte.frame].lock);
		unlock(&file[pte.frame].lock);
		return true;
	}
	if (need == PTE_W && pte.bits & PTE_COW && pte.bits & PTE_MAY_WRITE) {
		break_cow(mm, table, page);
		retry = true;
	} else if (pte.bits & need) {
		/* Allowed by now, or even before: the fault was on what this CPU had cached. */
		tlb_flush_page(&self->tlb, self->reg_asid, va_of(table, page));
		retry = true;
	}
	unlock(&mm->lock);
	return retry;
}

/* The shared file */

static bool mm_lock_alive(struct mm *mm)
{
	if (!mm->used)
		return false;
	lock(&mm->lock);
	if (mm->used && !mm->dead)
		return true;
	unlock(&mm->lock);
	return false;
}

/*
 * Takes every mapping of page `n` of the file out of mm, or puts them back. Returns how many pages
 * from *va on have them all.
 */
static unsigned long migrate(struct mm *mm, unsigned int n, bool out, unsigned long *va)
{
	unsigned long last = 0;
	unsigned int t, p, bits;
	const struct pte *pte;

	for (t = 2 + WL_FILE; t < TABLES; t += 2) {
		for (p = 0; p < WL_PAGES; p++) {
			pte = &mm->space.pte[t][p];
			bits = pte->bits & PTE_MAY_WRITE;
			if (out && pte->bits & PTE_V && pte->frame == file[n].frame) {
				frame_put(pte->frame);
				pte_set(&mm->space, t, p, n, PTE_MIGRATING | bits);
			} else if (!out && pte->bits & PTE_MIGRATING && pte->frame == n) {
				frames[file[n].frame].refs++;
				pte_set(&mm->space, t, p, file[n].frame,
					PTE_USER | bits | (bits ? PTE_W : 0));
			} else {
				continue;
			}
			if (!last)
				*va = va_of(t, p);
			last = va_of(t, p);
		}
	}
	return last ? (last - *va) / PAGE_SIZE + 1 : 0;
}

/* Gives a page of the file another frame: every mapping away, copy, every mapping back. */
void file_migrate(unsigned int page)
{
	struct file_page *f = &file[page];
	unsigned int i, old;
	unsigned long n, va;

	lock(&fork_lock);
	lock(&f->lock);
	for (i = 0; i < NR_MMS; i++) {
		if (!mm_lock_alive(&mms[i]))
			continue;
		/* The file itself holds the frame until below. */
		n = migrate(&mms[i], page, true, &va);
		if (n)
			flush_patiently(&mms[i], va, n * PAGE_SIZE);
		unlock(&mms[i].lock);
	}
	old = f->frame;
	f->frame = frame_shared();
	for (i = 0; i < NR_MMS; i++) {
		if (!mm_lock_alive(&mms[i]))
			continue;
		migrate(&mms[i], page, false, &va);
		unlock(&mms[i].lock);
	}
	frame_put(old);
	self->count.migrations++;
	unlock(&f->lock);
	unlock(&fork_lock);
}

/* The kernel's own area: global mappings, which every CPU looks at now and then. */

void kernel_area_replace(unsigned int slot)
{
	unsigned int old;

	lock(&kernel_locks[slot]);
	old = kernel_space.pte[0][slot].frame;
	if (old != NO_FRAME) {
		unsigned long va = KERNEL_AREA + slot * PAGE_SIZE;

		pte_set(&kernel_space, 0, slot, NO_FRAME, 0);
		shootdown(NULL, va, PAGE_SIZE, KIND_GLOBAL);
		space_retire(&kernel_space, va, PAGE_SIZE);
		frame_put(old);
	}
	pte_set(&kernel_space, 0, slot, frame_alloc(), PTE_USER | PTE_W);
	self->count.globals++;
	unlock(&kernel_locks[slot]);
}

void kernel_area_check(void)
{
	unsigned int i;

	for (i = 0; i < WL_KERNEL_SLOTS; i++) {
		if (!kernel_space.pte[0][i].bits || !trylock(&kernel_locks[i]))
			continue;
		if (!tlb_use(&self->tlb, &kernel_space, ASID_GLOBAL, 0, i, PTE_R))
			die("a kernel page is not mapped");
		self->count.checks++;
		unlock(&kernel_locks[i]);
	}
}

void mm_boot(void)
{
	unsigned int i;

	kernel_space.place = kernel_space.owner = NR_SPACES - 1;
	/* Frame 0 is NO_FRAME. */
	for (i = NR_FRAMES - 1; i > 0; i--)
		free_frames[nr_free++] = i;
	kernel_space.table[0] = frame_alloc();
	for (i = 0; i < NR_TEXT; i++)
		text[i] = frame_shared();
	for (i = 0; i < WL_PAGES; i++)
		file[i].frame = frame_shared();
	nr_free_at_boot = nr_free;
}

/* Every process has ended and every CPU is parked. */
void mm_check_leaks(void)
{
	unsigned int i, held = 0;

	for (i = 0; i < WL_KERNEL_SLOTS; i++)
		held += kernel_space.pte[0][i].frame != NO_FRAME;
	if (nr_free + held != nr_free_at_boot)
		die("frames lost: %u free, %u before", nr_free + held, nr_free_at_boot);
	for (i = 0; i < WL_PAGES; i++)
		if (frames[file[i].frame].refs != 1)
			die("file page %u has %u users", i, frames[file[i].frame].refs);
}
