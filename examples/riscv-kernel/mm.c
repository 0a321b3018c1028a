/* SPDX-License-Identifier: MIT */
/*
 * Frames, page tables, address spaces, the shared file and the kernel's own area.
 *
 * Lock order: fork_lock, a page of the file, an mm, the frames.
 */
#include "flushq/arch/riscv.h"
#include "policy.h"

#define PTE_V (1UL << 0)
#define PTE_R (1UL << 1)
#define PTE_W (1UL << 2)
#define PTE_X (1UL << 3)
#define PTE_U (1UL << 4)
#define PTE_G (1UL << 5)
#define PTE_AD (3UL << 6)
#define PTE_COW (1UL << 8) /* software: copy the frame before a write */
#define PTE_MAY_WRITE (1UL << 9) /* software: not protected */
#define PTE_USER (PTE_V | PTE_R | PTE_U | PTE_AD)
#define PTE_MIGRATING PTE_R /* with V clear: a page of the file, no frame */

#define NR_FRAMES 8192UL
#define POISON 0xdeadbeefdeadbeefUL
#define WORDS (PAGE_SIZE / sizeof(unsigned long))

#define KERNEL_AREA 0xC0000000UL

extern char __pool_start[], __user_start[], __user_end[];

static struct frame {
	unsigned int refs;
	unsigned int entries; /* of a table: how many are not 0 */
} frames[NR_FRAMES];
static unsigned long free_frames[NR_FRAMES];
static unsigned long nr_free, nr_free_at_boot;
static struct spinlock frames_lock;

static unsigned long kernel_root[WORDS] __attribute__((aligned(4096)));
static unsigned long kernel_area_l1[WORDS] __attribute__((aligned(4096)));
static unsigned long kernel_area_l0[WORDS] __attribute__((aligned(4096)));

unsigned int asid_bits;

static struct mm mms[NR_MMS];
static struct spinlock mms_lock;
static unsigned long next_mm_id = 1;
static struct spinlock fork_lock;

static struct file_page {
	struct spinlock lock;
	unsigned long *frame;
} file[WL_PAGES];

static struct kernel_slot {
	struct spinlock lock;
	unsigned long stamp;
	unsigned long *frame;
} kernel_slots[WL_KERNEL_SLOTS];

/* Frames. The one freed last is used first, so that a stale use meets something else there. */

static void fill(unsigned long *p, unsigned long v)
{
	unsigned int i;

	for (i = 0; i < WORDS; i += 8) {
		p[i] = v;
		p[i + 1] = v;
		p[i + 2] = v;
		p[i + 3] = v;
		p[i + 4] = v;
		p[i + 5] = v;
		p[i + 6] = v;
		p[i + 7] = v;
	}
}

/* The source may be written to meanwhile, by threads whose stores are not lost: see its users. */
static void copy(unsigned long *to, const unsigned long *from)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		to[i] = load_relaxed(&from[i]);
}

static struct frame *frame_of(const void *p)
{
	unsigned long n = ((unsigned long)p - (unsigned long)__pool_start) / PAGE_SIZE;

	return (unsigned long)p >= (unsigned long)__pool_start && n < NR_FRAMES ? &frames[n] : NULL;
}

static unsigned long *frame_alloc(void)
{
	unsigned long *p;
	unsigned int i;

	spin_lock(&frames_lock);
	if (!nr_free)
		panic("out of memory");
	p = (unsigned long *)free_frames[--nr_free];
	spin_unlock(&frames_lock);
	for (i = 0; i < 16; i++)
		if (p[i] != POISON)
			panic("a free frame was written to: 0x%lx", (unsigned long)p);
	fill(p, 0);
	frame_of(p)->refs = 1;
	frame_of(p)->entries = 0;
	return p;
}

static void frame_get(const unsigned long *p)
{
	struct frame *f = frame_of(p);

	if (f)
		__atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
}

/* Only after the shootdown for whatever mapped it. */
static void frame_put(unsigned long *p)
{
	struct frame *f = frame_of(p);

	if (!f || __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
		return;
	fill(p, POISON);
	spin_lock(&frames_lock);
	free_frames[nr_free++] = (unsigned long)p;
	spin_unlock(&frames_lock);
}

/* Page-table entries */

static unsigned long *pte_frame(unsigned long pte)
{
	return (unsigned long *)(pte >> 10 << 12);
}

static unsigned long make_pte(const void *p, unsigned long bits)
{
	return (unsigned long)p >> 12 << 10 | bits;
}

static unsigned long *table_of(unsigned long *slot)
{
	return (unsigned long *)((unsigned long)slot & ~(PAGE_SIZE - 1));
}

static void set_pte(unsigned long *slot, unsigned long pte)
{
	unsigned long old = load_relaxed(slot);
	struct frame *f = frame_of(table_of(slot));

	if (!old && pte)
		f->entries++;
	if (old && !pte)
		f->entries--;
	/* Release: what the frame holds comes before the entry. */
	store_release(slot, pte);
}

static unsigned long *user_l1(const struct mm *mm)
{
	unsigned long pte = mm->root[U_TEXT >> 30];

	return pte ? pte_frame(pte) : NULL;
}

/* The last-level entry for va, or NULL; with `make`, tables that lack are added. */
static unsigned long *walk(struct mm *mm, unsigned long va, bool make)
{
	unsigned long *l1 = user_l1(mm), *slot;

	if (va < U_TEXT || va >= U_END)
		return NULL;
	if (!l1) {
		if (!make)
			return NULL;
		l1 = frame_alloc();
		store_release(&mm->root[U_TEXT >> 30], make_pte(l1, PTE_V));
	}
	slot = &l1[(va >> 21) & 511];
	if (!*slot) {
		if (!make)
			return NULL;
		set_pte(slot, make_pte(frame_alloc(), PTE_V));
	}
	return &pte_frame(*slot)[(va >> 12) & 511];
}

static bool user_range_ok(unsigned long va, unsigned long n)
{
	return !(va % PAGE_SIZE) && va >= U_BOARD && va < U_END && n && n <= WL_PAGES &&
	       (va >> 21) == ((va + (n - 1) * PAGE_SIZE) >> 21);
}

/* What a change to a page table takes away, to be given back after the shootdown. */
struct gather {
	unsigned int n;
	enum kind kind;
	unsigned long *frame[2 * WL_PAGES + 2];
};

/* The same, given back when its ticket is done. */
#define NR_RECLAIMS 128
static struct reclaim {
	unsigned long ticket[TICKET_WORDS];
	struct reclaim *next;
	struct gather gather;
	struct mm *mm; /* which it keeps */
	unsigned int *pending;
	unsigned long since;
} reclaims[NR_RECLAIMS];
static struct reclaim *free_reclaims, *first_reclaim, **last_reclaim = &first_reclaim;
static struct spinlock reclaim_lock;
unsigned long ticket_wait_max;

static void gather_begin(struct gather *g)
{
	g->n = 0;
	g->kind = KIND_LEAF;
}

static void gather_table(struct mm *mm, unsigned long va, struct gather *g)
{
	unsigned long *slot = &user_l1(mm)[(va >> 21) & 511];
	unsigned long *table = pte_frame(*slot);

	if (frame_of(table)->entries)
		return;
	set_pte(slot, 0);
	g->frame[g->n++] = table;
	g->kind = KIND_TABLES;
}

static void gather_free(struct gather *g)
{
	while (g->n)
		frame_put(g->frame[--g->n]);
}

static void gather_finish(struct hart *h, struct mm *mm, unsigned long va, unsigned long n,
			  struct gather *g)
{
	shootdown(h, mm, va, n * PAGE_SIZE, g->kind);
	gather_free(g);
}

static void count_wait(unsigned long since)
{
	unsigned long waited = now() - since;

	/* Statistics: a lost race loses little. */
	if (waited > load_relaxed(&ticket_wait_max))
		store_relaxed(&ticket_wait_max, waited);
}

/* Gives back what tickets allow, in the order of the tickets. */
void reclaim(struct hart *h)
{
	struct reclaim *r;

	(void)h;
	while (load_relaxed(&first_reclaim)) {
		if (!spin_trylock(&reclaim_lock))
			return;
		r = first_reclaim;
		if (!r || !policy->ticket_done(r->ticket)) {
			spin_unlock(&reclaim_lock);
			return;
		}
		first_reclaim = r->next;
		if (!first_reclaim)
			last_reclaim = &first_reclaim;
		spin_unlock(&reclaim_lock);
		count_wait(r->since);
		gather_free(&r->gather);
		/* Release: the pages are gone before their addresses are used again. */
		__atomic_fetch_sub(r->pending, 1, __ATOMIC_RELEASE);
		mm_put(r->mm);
		spin_lock(&reclaim_lock);
		r->next = free_reclaims;
		free_reclaims = r;
		spin_unlock(&reclaim_lock);
	}
}

/* One turn of a wait for tickets; harts that use the mm take a tick soon. */
static void wait_for_tickets(struct hart *h)
{
	serve(h);
	policy->tick(h);
	reclaim(h);
}

static struct reclaim *reclaim_alloc(struct hart *h)
{
	struct reclaim *r;

	for (;;) {
		spin_lock(&reclaim_lock);
		r = free_reclaims;
		if (r)
			free_reclaims = r->next;
		spin_unlock(&reclaim_lock);
		if (r)
			return r;
		wait_begin(h);
		wait_for_tickets(h);
		wait_end(h);
	}
}

/* As gather_finish(), but nobody is interrupted where that can wait. */
static void gather_later(struct hart *h, struct mm *mm, unsigned long va, unsigned long n,
			 struct gather *g)
{
	struct reclaim *r;

	if (!policy->ticket_take || g->kind != KIND_LEAF) {
		gather_finish(h, mm, va, n, g);
		return;
	}
	r = reclaim_alloc(h);
	if (shootdown_later(h, mm, va, n * PAGE_SIZE, r->ticket)) {
		gather_free(g);
		spin_lock(&reclaim_lock);
		r->next = free_reclaims;
		free_reclaims = r;
		spin_unlock(&reclaim_lock);
		return;
	}
	h->count.tickets++;
	r->next = NULL;
	r->gather.n = g->n;
	for (n = 0; n < g->n; n++)
		r->gather.frame[n] = g->frame[n];
	r->mm = mm;
	r->pending = &mm->pending[(va - U_TEXT) >> 21];
	r->since = now();
	__atomic_fetch_add(&mm->refs, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(r->pending, 1, __ATOMIC_RELAXED);
	spin_lock(&reclaim_lock);
	*last_reclaim = r;
	last_reclaim = &r->next;
	spin_unlock(&reclaim_lock);
}

/* Takes the lock to map pages of va's table. Where tickets for some there are out, their addresses
 * may not be used again yet. */
static void lock_to_map(struct hart *h, struct mm *mm, unsigned long va)
{
	unsigned int *pending = &mm->pending[((va - U_TEXT) >> 21) % U_TABLES];

	spin_lock(&mm->lock);
	while (load_acquire(pending)) {
		spin_unlock(&mm->lock);
		wait_begin(h);
		wait_for_tickets(h);
		wait_end(h);
		spin_lock(&mm->lock);
	}
}

/* A shootdown of leaf entries that nobody need lose at once. */
static void shootdown_patiently(struct hart *h, struct mm *mm, unsigned long va, unsigned long size)
{
	unsigned long ticket[TICKET_WORDS], since = now();

	if (!policy->ticket_take) {
		shootdown(h, mm, va, size, KIND_LEAF);
		return;
	}
	if (shootdown_later(h, mm, va, size, ticket))
		return;
	h->count.tickets++;
	wait_begin(h);
	while (!policy->ticket_done(ticket)) {
		serve(h);
		policy->tick(h);
	}
	wait_end(h);
	count_wait(since);
}

/* Address spaces */

static unsigned long satp_of(const unsigned long *root, unsigned long asid)
{
	return SATP_SV39 | asid << SATP_ASID_SHIFT | (unsigned long)root >> 12;
}

/* Returns it locked. */
static struct mm *mm_alloc(unsigned int threads)
{
	struct mm *mm = NULL;
	unsigned int i;

	spin_lock(&mms_lock);
	for (i = 0; i < NR_MMS && !mm; i++)
		if (!mms[i].used)
			mm = &mms[i];
	if (!mm)
		panic("out of address spaces");
	/* file_migrate() may look at any place, and holds its lock then. */
	spin_lock(&mm->lock);
	mm->id = next_mm_id++;
	mm->set[0] = 0;
	mm->asid = 0;
	policy->born(mm);
	mm->refs = 1;
	mm->threads = threads;
	mm->dead = false;
	mm->root = frame_alloc();
	for (i = 0; i < WORDS; i++)
		mm->root[i] = kernel_root[i];
	store_release(&mm->used, true);
	spin_unlock(&mms_lock);
	return mm;
}

unsigned int mm_place(const struct mm *mm)
{
	return (unsigned int)(mm - mms);
}

void mm_put(struct mm *mm)
{
	if (__atomic_sub_fetch(&mm->refs, 1, __ATOMIC_ACQ_REL))
		return;
	frame_put(mm->root);
	spin_lock(&mms_lock);
	mm->used = false;
	spin_unlock(&mms_lock);
}

static void map_text(struct mm *mm)
{
	unsigned long off, size = (unsigned long)(__user_end - __user_start);

	for (off = 0; off < size; off += PAGE_SIZE)
		set_pte(walk(mm, U_TEXT + off, true),
			make_pte(__user_start + off, PTE_USER | PTE_X));
}

struct mm *mm_create(unsigned int threads)
{
	struct mm *mm = mm_alloc(threads);
	unsigned int i;

	map_text(mm);
	set_pte(walk(mm, U_BOARD, true), make_pte(frame_alloc(), PTE_USER | PTE_W | PTE_MAY_WRITE));
	for (i = 0; i < threads; i++)
		set_pte(walk(mm, U_STACK(i), true),
			make_pte(frame_alloc(), PTE_USER | PTE_W | PTE_MAY_WRITE));
	spin_unlock(&mm->lock);
	return mm;
}

/* The last thread has ended, on this hart, which still has the mm loaded. */
void mm_exit(struct hart *h, struct mm *mm)
{
	unsigned long *l1, *l0;
	unsigned int i, j;

	spin_lock(&mm->lock);
	l1 = user_l1(mm);
	store_release(&mm->root[U_TEXT >> 30], 0);
	shootdown(h, mm, U_TEXT, U_END - U_TEXT, KIND_TABLES);
	for (i = 0; i < WORDS; i++) {
		if (!l1[i])
			continue;
		l0 = pte_frame(l1[i]);
		for (j = 0; j < WORDS && frame_of(l0)->entries; j++) {
			if (!l0[j])
				continue;
			if (l0[j] & PTE_V)
				frame_put(pte_frame(l0[j]));
			frame_of(l0)->entries--;
		}
		frame_put(l0);
	}
	frame_put(l1);
	store_release(&mm->dead, true);
	spin_unlock(&mm->lock);
	mm_put(mm);
}

void mm_load(struct hart *h, struct mm *mm)
{
	struct mm *last = h->mm;

	__atomic_fetch_add(&mm->refs, 1, __ATOMIC_RELAXED);
	set_use(h, USE_MOVING, NULL);
	policy->before_switch(h, mm);
	csr_write(satp, satp_of(mm->root, mm->asid));
	policy->switched(h, mm);
	h->mm = mm;
	h->lazy = false;
	set_use(h, USE_RUNNING, mm);
	if (last)
		mm_put(last);
}

void mm_park(struct hart *h)
{
	struct mm *last = h->mm;

	set_use(h, USE_MOVING, NULL);
	csr_write(satp, satp_of(kernel_root, 0));
	policy->parked(h);
	h->mm = NULL;
	h->lazy = false;
	if (last)
		mm_put(last);
	/* Last: finish() waits for this, and then counts the frames. */
	set_use(h, USE_NONE, NULL);
}

long mm_map(struct hart *h, struct mm *mm, unsigned long va, unsigned long n, unsigned long stamp)
{
	unsigned long i, *slot, *frame;

	if (!user_range_ok(va, n))
		return -1;
	lock_to_map(h, mm, va);
	for (i = 0; i < n; i++) {
		slot = walk(mm, va + i * PAGE_SIZE, true);
		if (*slot)
			break;
		frame = frame_alloc();
		frame[0] = anon_stamp(stamp, i);
		set_pte(slot, make_pte(frame, PTE_USER | PTE_W | PTE_MAY_WRITE));
	}
	spin_unlock(&mm->lock);
	return i == n ? 0 : -1;
}

long mm_map_file(struct hart *h, struct mm *mm, unsigned long va, unsigned long n,
		 unsigned long page)
{
	unsigned long i, *slot;
	bool ok = user_range_ok(va, n) && page < WL_PAGES && page + n <= WL_PAGES;

	for (i = 0; i < n && ok; i++) {
		struct file_page *f = &file[page + i];

		spin_lock(&f->lock);
		lock_to_map(h, mm, va);
		slot = walk(mm, va + i * PAGE_SIZE, true);
		ok = !*slot;
		if (ok) {
			frame_get(f->frame);
			set_pte(slot, make_pte(f->frame, PTE_USER | PTE_W | PTE_MAY_WRITE));
		}
		spin_unlock(&mm->lock);
		spin_unlock(&f->lock);
	}
	return ok ? 0 : -1;
}

long mm_unmap(struct hart *h, struct mm *mm, unsigned long va, unsigned long n)
{
	struct gather g;
	unsigned long i, *slot;

	if (!user_range_ok(va, n))
		return -1;
	gather_begin(&g);
	spin_lock(&mm->lock);
	slot = walk(mm, va, false);
	if (!slot) {
		spin_unlock(&mm->lock);
		return -1;
	}
	for (i = 0; i < n; i++) {
		if (slot[i] & PTE_V)
			g.frame[g.n++] = pte_frame(slot[i]);
		set_pte(&slot[i], 0);
	}
	gather_table(mm, va, &g);
	gather_later(h, mm, va, n, &g);
	spin_unlock(&mm->lock);
	return 0;
}

long mm_protect(struct hart *h, struct mm *mm, unsigned long va, unsigned long n, bool write)
{
	unsigned long i, pte, *slot;

	if (!user_range_ok(va, n))
		return -1;
	spin_lock(&mm->lock);
	slot = walk(mm, va, false);
	if (!slot) {
		spin_unlock(&mm->lock);
		return -1;
	}
	for (i = 0; i < n; i++) {
		pte = slot[i];
		if (!pte)
			continue;
		pte &= ~(PTE_W | PTE_MAY_WRITE);
		if (write)
			pte |= PTE_MAY_WRITE;
		if (write && (pte & PTE_V) && !(pte & PTE_COW))
			pte |= PTE_W;
		set_pte(&slot[i], pte);
	}
	/* A hart that has not seen that more is allowed now faults and looks: mm_fault(). */
	if (!write)
		shootdown(h, mm, va, n * PAGE_SIZE, KIND_LEAF);
	spin_unlock(&mm->lock);
	return 0;
}

/* The two ranges may overlap no mapped page at `to`. */
long mm_remap(struct hart *h, struct mm *mm, unsigned long va, unsigned long n, unsigned long to)
{
	struct gather g;
	unsigned long i, *slot, *target, moved[WL_PAGES];

	if (!user_range_ok(va, n) || !user_range_ok(to, n))
		return -1;
	gather_begin(&g);
	lock_to_map(h, mm, to);
	slot = walk(mm, va, false);
	target = walk(mm, to, true);
	for (i = 0; slot && i < n; i++)
		if (!slot[i] || target[i])
			slot = NULL;
	if (!slot) {
		spin_unlock(&mm->lock);
		return -1;
	}
	for (i = 0; i < n; i++) {
		moved[i] = slot[i];
		set_pte(&slot[i], 0);
		set_pte(&target[i], moved[i]);
	}
	gather_table(mm, va, &g);
	gather_finish(h, mm, va, n, &g);
	spin_unlock(&mm->lock);
	return 0;
}

static bool is_file(const unsigned long *frame)
{
	unsigned int i;

	for (i = 0; i < WL_PAGES; i++)
		if (file[i].frame == frame)
			return true;
	return false;
}

static bool fork_table(struct mm *child, unsigned long va, unsigned long *l0)
{
	unsigned int i, left = frame_of(l0)->entries;
	bool changed = false;

	for (i = 0; i < WORDS && left; i++) {
		unsigned long pte = l0[i], *frame = pte_frame(pte);

		if (!pte)
			continue;
		left--;
		if (frame_of(frame) && !is_file(frame)) {
			if (pte & PTE_W)
				changed = true;
			pte = (pte & ~PTE_W) | PTE_COW;
			set_pte(&l0[i], pte);
		}
		frame_get(frame);
		set_pte(walk(child, va + i * PAGE_SIZE, true), pte);
	}
	return changed;
}

/*
 * fork_lock keeps file_migrate() away: it would miss the child, and no entry is PTE_MIGRATING.
 * Other threads may write until the shootdown is done, both processes see that; the child starts
 * after it.
 */
struct mm *mm_fork(struct hart *h, struct mm *mm)
{
	struct mm *child;
	unsigned long *l1;
	bool changed = false;
	unsigned int i;

	spin_lock(&fork_lock);
	spin_lock(&mm->lock);
	child = mm_alloc(1);
	l1 = user_l1(mm);
	for (i = 0; i < WORDS; i++)
		if (l1[i] && fork_table(child, U_TEXT + ((unsigned long)i << 21), pte_frame(l1[i])))
			changed = true;
	spin_unlock(&child->lock);
	if (changed)
		shootdown(h, mm, U_TEXT, U_END - U_TEXT, KIND_LEAF);
	spin_unlock(&mm->lock);
	spin_unlock(&fork_lock);
	return child;
}

static void break_cow(struct hart *h, struct mm *mm, unsigned long va, unsigned long *slot)
{
	unsigned long pte = *slot, *frame = pte_frame(pte), *own;

	if (load_acquire(&frame_of(frame)->refs) == 1) {
		set_pte(slot, (pte & ~PTE_COW) | PTE_W);
		__asm__ volatile("sfence.vma %0, %1" : : "r"(va), "r"(mm->asid) : "memory");
		return;
	}
	/* Nobody writes to it now: each of its mappings is read-only. */
	own = frame_alloc();
	copy(own, frame);
	set_pte(slot, make_pte(own, PTE_USER | PTE_W | PTE_MAY_WRITE));
	/* Other threads may still read the old one. */
	shootdown(h, mm, va & ~(PAGE_SIZE - 1), PAGE_SIZE, KIND_LEAF);
	frame_put(frame);
}

/* True: the access may be tried again. */
bool mm_fault(struct hart *h, struct mm *mm, unsigned long va, unsigned long cause)
{
	unsigned long *slot, pte, page;
	bool retry = false;

	spin_lock(&mm->lock);
	slot = walk(mm, va, false);
	pte = slot ? *slot : 0;
	if (!(pte & PTE_V) && pte) {
		page = pte >> 10;
		spin_unlock(&mm->lock);
		/* Until file_migrate() is done. */
		spin_lock(&file[page].lock);
		spin_unlock(&file[page].lock);
		return true;
	}
	if (cause == 15 && (pte & PTE_V) && (pte & PTE_COW) && (pte & PTE_MAY_WRITE)) {
		break_cow(h, mm, va, slot);
		retry = true;
	} else if (pte & (cause == 15 ? PTE_W : cause == 13 ? PTE_R : PTE_X)) {
		/* Allowed by now, or even before: the fault was on what this hart had cached. */
		__asm__ volatile("sfence.vma %0, %1" : : "r"(va), "r"(mm->asid) : "memory");
		retry = true;
	}
	spin_unlock(&mm->lock);
	return retry;
}

/* The shared file */

static bool mm_lock_alive(struct mm *mm)
{
	if (!load_acquire(&mm->used))
		return false;
	spin_lock(&mm->lock);
	if (mm->used && !mm->dead)
		return true;
	spin_unlock(&mm->lock);
	return false;
}

/*
 * Replaces in mm each entry of the file's areas that is `from` but for its low bits. Returns how
 * many pages from *va on have them all.
 */
static unsigned long replace_entries(struct mm *mm, unsigned long from, bool migrating,
				     const unsigned long *frame, unsigned long page,
				     unsigned long *va)
{
	unsigned long *slot, pte, here, last = 0;
	unsigned int t, i;

	for (t = 0; t < WL_THREADS; t++) {
		slot = walk(mm, U_AREA(t, WL_FILE), false);
		for (i = 0; slot && i < WL_PAGES; i++) {
			pte = slot[i];
			if (!pte || pte >> 10 != from || !(pte & PTE_V) != !migrating)
				continue;
			if (migrating) {
				set_pte(&slot[i],
					page << 10 | PTE_MIGRATING | (pte & PTE_MAY_WRITE));
				frame_put(pte_frame(pte));
			} else {
				frame_get(frame);
				set_pte(&slot[i],
					make_pte(frame, PTE_USER | (pte & PTE_MAY_WRITE) |
								(pte & PTE_MAY_WRITE ? PTE_W : 0)));
			}
			here = U_AREA(t, WL_FILE) + i * PAGE_SIZE;
			if (!last)
				*va = here;
			last = here;
		}
	}
	return last ? (last - *va) / PAGE_SIZE + 1 : 0;
}

/* Gives a page of the file another frame: every mapping away, copy, every mapping back. */
long file_migrate(struct hart *h, unsigned long page)
{
	unsigned long *old, *frame, n, va;
	struct file_page *f;
	unsigned int i;

	if (page >= WL_PAGES)
		return -1;
	f = &file[page];
	spin_lock(&fork_lock);
	spin_lock(&f->lock);
	old = f->frame;
	for (i = 0; i < NR_MMS; i++) {
		struct mm *mm = &mms[i];

		if (!mm_lock_alive(mm))
			continue;
		/* The file itself holds the frame until below. */
		n = replace_entries(mm, (unsigned long)old >> 12, true, NULL, page, &va);
		if (n)
			shootdown_patiently(h, mm, va, n * PAGE_SIZE);
		spin_unlock(&mm->lock);
	}
	frame = frame_alloc();
	copy(frame, old);
	f->frame = frame;
	for (i = 0; i < NR_MMS; i++) {
		struct mm *mm = &mms[i];

		if (!mm_lock_alive(mm))
			continue;
		replace_entries(mm, page, false, frame, page, &va);
		spin_unlock(&mm->lock);
	}
	frame_put(old);
	h->count.migrations++;
	spin_unlock(&f->lock);
	spin_unlock(&fork_lock);
	return 0;
}

/* The kernel's own area: global mappings, which every hart looks at now and then. */

static unsigned long kernel_area_va(unsigned int slot)
{
	return KERNEL_AREA + slot * PAGE_SIZE;
}

long kernel_area_replace(struct hart *h, unsigned long slot)
{
	static unsigned long version;
	struct kernel_slot *s;
	unsigned long *frame;

	if (slot >= WL_KERNEL_SLOTS)
		return -1;
	s = &kernel_slots[slot];
	/* Before the old one is freed, which would be the next one handed out. */
	frame = frame_alloc();
	spin_lock(&s->lock);
	if (s->frame) {
		store_release(&kernel_area_l0[slot], 0);
		shootdown(h, NULL, kernel_area_va((unsigned int)slot), PAGE_SIZE, KIND_GLOBAL);
		frame_put(s->frame);
	}
	s->frame = frame;
	s->stamp = mix(__atomic_add_fetch(&version, 1, __ATOMIC_RELAXED)) | 1;
	s->frame[0] = s->stamp;
	store_release(&kernel_area_l0[slot],
		      make_pte(s->frame, PTE_V | PTE_R | PTE_W | PTE_G | PTE_AD));
	h->count.globals++;
	spin_unlock(&s->lock);
	return 0;
}

void kernel_area_check(struct hart *h)
{
	struct probe p;
	unsigned int i;

	for (i = 0; i < WL_KERNEL_SLOTS; i++) {
		struct kernel_slot *s = &kernel_slots[i];

		if (!load_relaxed(&s->stamp) || !spin_trylock(&s->lock))
			continue;
		p = kprobe_load(kernel_area_va(i));
		if (p.fault) {
			/* That it was not mapped may be cached too. */
			__asm__ volatile("sfence.vma %0" : : "r"(kernel_area_va(i)) : "memory");
			p = kprobe_load(kernel_area_va(i));
		}
		if (p.fault || p.value != s->stamp)
			h->stale++;
		h->count.checks++;
		spin_unlock(&s->lock);
	}
}

/* Boot */

void mm_online(struct hart *h)
{
	csr_write(satp, satp_of(kernel_root, 0));
	__asm__ volatile("sfence.vma" : : : "memory");
	policy->online(h);
	set_use(h, USE_NONE, NULL);
}

void mm_boot(void)
{
	unsigned long i, *p;

	for (i = NR_FRAMES; i > 0; i--) {
		p = (unsigned long *)((unsigned long)__pool_start + (i - 1) * PAGE_SIZE);
		fill(p, POISON);
		free_frames[nr_free++] = (unsigned long)p;
	}
	/* Devices, then memory: two pages of 1 GiB. */
	kernel_root[0] = make_pte(0, PTE_V | PTE_R | PTE_W | PTE_G | PTE_AD);
	kernel_root[2] =
		make_pte((void *)0x80000000UL, PTE_V | PTE_R | PTE_W | PTE_X | PTE_G | PTE_AD);
	kernel_root[KERNEL_AREA >> 30] = make_pte(kernel_area_l1, PTE_V | PTE_G);
	kernel_area_l1[0] = make_pte(kernel_area_l0, PTE_V | PTE_G);
	for (i = 0; i < WL_PAGES; i++) {
		file[i].frame = frame_alloc();
		file[i].frame[0] = file_stamp(i);
	}
	nr_free_at_boot = nr_free;
	for (i = 0; i < NR_RECLAIMS; i++) {
		reclaims[i].next = free_reclaims;
		free_reclaims = &reclaims[i];
	}
	csr_write(satp, satp_of(kernel_root, 0));
	asid_bits = flushq_riscv_asid_bits();
	if (asid_bits > options.asid_bits)
		asid_bits = (unsigned int)options.asid_bits;
}

/* Every process has ended and every hart is parked. */
void mm_check_leaks(void)
{
	unsigned long held = 0;
	unsigned int i;

	for (i = 0; i < WL_KERNEL_SLOTS; i++)
		held += kernel_slots[i].frame != NULL;
	if (nr_free + held != nr_free_at_boot)
		panic("frames lost: %lu of %lu", nr_free_at_boot - nr_free - held, nr_free_at_boot);
	for (i = 0; i < WL_PAGES; i++)
		if (frame_of(file[i].frame)->refs != 1)
			panic("file page %u has %u users", i, frame_of(file[i].frame)->refs);
}
