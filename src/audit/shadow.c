// SPDX-License-Identifier: MIT
#include <stdlib.h>
#include <string.h>

#include "shadow.h"

#define CHUNK 256
#define OPEN_MAX 1024
#define SINVAL_MAX 4096
#define CHANGES 4
#define SLOTS (1u << 16)
#define JUNK_STORES 4096 /* to a page no walk has read since: it is no table now */
#define ASIDS 65536
#define GLOBAL 0xffffffffu /* in place of an ASID */
#define NOBODY (-1)
#define PTE_SOFT (3ULL << 8) /* the kernel's own bits */

/* What was cached: a leaf, or a pointer to the next table; and the walk that found it. */
struct shadow_entry {
	uint64_t key; /* page number at its own size */
	uint32_t asid; /* or GLOBAL */
	uint8_t level;
	uint8_t depth; /* PTEs read for it */
	bool dead; /* by a fence of its address */
	bool overdue; /* the finding has been reported */
	uint8_t resident; /* bit per finite TLB */
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

struct way {
	struct shadow_entry *entry;
	uint64_t used;
};

struct shadow_tlb {
	uint64_t clock;
	struct way *way[SHADOW_TLBS];
	const struct shadow_config *c;
	struct shadow_hart *hart;
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

static void lock(_Atomic int *l)
{
	while (atomic_exchange_explicit(l, 1, memory_order_acquire))
		while (atomic_load_explicit(l, memory_order_relaxed))
			;
}

static void unlock(_Atomic int *l)
{
	atomic_store_explicit(l, 0, memory_order_release);
}

/* Memory */

static void *get(struct shadow *s, size_t count, size_t size)
{
	uint64_t bytes = (uint64_t)count * size;
	void *p = NULL;

	if (atomic_fetch_add(&s->used, bytes) + bytes <= s->c.memory)
		p = calloc(count, size);
	if (!p)
		atomic_store(&s->stopped, "out of memory for the shadow");
	return p;
}

static void put(struct shadow *s, void *p, size_t bytes)
{
	free(p);
	if (p)
		atomic_fetch_sub(&s->used, bytes);
}

static bool stopped(const struct shadow *s)
{
	return atomic_load_explicit(&s->stopped, memory_order_relaxed);
}

/* Tables of entries */

static uint64_t mix(uint64_t key, uint64_t asid, uint64_t level)
{
	uint64_t x = (key ^ asid << 40 ^ level << 60) * 0x9e3779b97f4a7c15ULL;

	return x ^ x >> 29;
}

static struct shadow_table *table_new(struct shadow *s)
{
	struct shadow_table *t = get(s, 1, sizeof(*t));

	if (!t)
		return NULL;
	t->size = 1024;
	t->cell = get(s, t->size, sizeof(*t->cell));
	return t->cell ? t : NULL;
}

static void table_free(struct shadow_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_chunks; i++)
		free(t->chunks[i]);
	free(t->chunks);
	free(t->cell);
	free(t);
}

static struct shadow_entry **table_cell(struct shadow_table *t, uint64_t key, uint32_t asid,
					unsigned int level)
{
	size_t i = mix(key, asid, level) & (t->size - 1);

	while (t->cell[i] &&
	       (t->cell[i]->key != key || t->cell[i]->asid != asid || t->cell[i]->level != level))
		i = (i + 1) & (t->size - 1);
	return &t->cell[i];
}

static struct shadow_entry *table_find(struct shadow_table *t, uint64_t key, uint32_t asid,
				       unsigned int level)
{
	return *table_cell(t, key, asid, level);
}

/* The entry of that key, new (seq 0) if there was none; NULL: out of memory. */
static struct shadow_entry *table_add(struct shadow *s, struct shadow_table *t, uint64_t key,
				      uint32_t asid, unsigned int level)
{
	struct shadow_entry **cell = table_cell(t, key, asid, level), *e;

	if (*cell)
		return *cell;
	if (t->fill * 2 >= t->size) {
		struct shadow_entry **old = t->cell;
		size_t size = t->size;

		t->cell = get(s, size * 2, sizeof(*t->cell));
		if (!t->cell) {
			t->cell = old;
			return NULL;
		}
		t->size = size * 2;
		for (size_t i = 0; i < size; i++)
			if (old[i])
				*table_cell(t, old[i]->key, old[i]->asid, old[i]->level) = old[i];
		put(s, old, size * sizeof(*old));
		cell = table_cell(t, key, asid, level);
	}
	if (!t->left) {
		void **chunks = realloc(t->chunks, (t->n_chunks + 1) * sizeof(*chunks));

		if (!chunks) {
			atomic_store(&s->stopped, "out of memory for the shadow");
			return NULL;
		}
		t->chunks = chunks;
		t->chunk = get(s, CHUNK, sizeof(*t->chunk));
		if (!t->chunk)
			return NULL;
		t->chunks[t->n_chunks++] = t->chunk;
		t->left = CHUNK;
	}
	e = &t->chunk[--t->left];
	e->key = key;
	e->asid = asid;
	e->level = (uint8_t)level;
	t->fill++;
	*cell = e;
	return e;
}

/* Making and freeing */

struct shadow *shadow_new(const struct shadow_config *c)
{
	struct shadow *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->c = *c;
	atomic_store(&s->epoch, 1);
	s->hart = aligned_alloc(128, c->harts * sizeof(*s->hart));
	if (s->hart)
		memset(s->hart, 0, c->harts * sizeof(*s->hart));
	s->slots = get(s, SLOTS, sizeof(*s->slots));
	if (!s->hart || !s->slots)
		goto fail;
	for (unsigned int i = 0; i < c->harts; i++) {
		struct shadow_hart *h = &s->hart[i];

		h->bare = true;
		h->ctx = 1;
		h->seq = 1;
		h->who = NOBODY;
		h->leaves = table_new(s);
		h->tables = table_new(s);
		h->vafences = table_new(s);
		h->asid_seq = get(s, ASIDS, sizeof(*h->asid_seq));
		h->line = get(s, SHADOW_LINES, sizeof(*h->line));
		h->open = get(s, OPEN_MAX, sizeof(struct shadow_entry *));
		h->sinval = get(s, SINVAL_MAX, sizeof(*h->sinval));
		if (!h->leaves || !h->tables || !h->vafences || !h->asid_seq || !h->line ||
		    !h->open || !h->sinval)
			goto fail;
		if (!c->tlbs)
			continue;
		h->tlb = get(s, 1, sizeof(*h->tlb));
		if (!h->tlb)
			goto fail;
		h->tlb->c = &s->c;
		h->tlb->hart = h;
		for (unsigned int k = 0; k < c->tlbs; k++) {
			h->tlb->way[k] =
				get(s, (size_t)c->sets[k] * c->ways[k], sizeof(struct way));
			if (!h->tlb->way[k])
				goto fail;
		}
	}
	if (c->ram_size && !shadow_ram(s, c->ram_base, c->ram_size))
		goto fail;
	return s;
fail:
	shadow_free(s);
	return NULL;
}

void shadow_free(struct shadow *s)
{
	for (unsigned int i = 0; s->hart && i < s->c.harts; i++) {
		struct shadow_hart *h = &s->hart[i];

		table_free(h->leaves);
		table_free(h->tables);
		table_free(h->vafences);
		free(h->asid_seq);
		free(h->line);
		free(h->open);
		free(h->sinval);
		for (unsigned int k = 0; h->tlb && k < SHADOW_TLBS; k++)
			free(h->tlb->way[k]);
		free(h->tlb);
	}
	free(s->hart);
	free(s->slots);
	free((void *)s->mark);
	free(s->hits);
	free(s);
}

bool shadow_ram(struct shadow *s, uint64_t base, uint64_t size)
{
	_Atomic uint8_t *mark = get(s, size >> 12, 1);
	uint16_t *hits = get(s, size >> 12, sizeof(*hits));

	if (!mark || !hits) {
		free((void *)mark);
		free(hits);
		return false;
	}
	s->mark = mark;
	s->hits = hits;
	s->frame0 = base >> 12;
	s->frames = size >> 12;
	return true;
}

/* Epochs */

static uint64_t insns(struct shadow *s, unsigned int hart)
{
	return s->c.insns(s->c.arg, hart);
}

static void epoch_try(struct shadow *s, unsigned int hart)
{
	/* Racy, and only to save the lock. */
	if (insns(s, hart) - s->hart[hart].epoch_insns < s->c.grace)
		return;
	lock(&s->lock);
	for (unsigned int i = 0; i < s->c.harts; i++) {
		struct shadow_hart *h = &s->hart[i];
		uint64_t n = insns(s, i);

		if (n - h->epoch_insns < s->c.grace && h->idles == h->epoch_idles &&
		    n > h->asleep_at)
			goto out;
	}
	for (unsigned int i = 0; i < s->c.harts; i++) {
		s->hart[i].epoch_insns = insns(s, i);
		s->hart[i].epoch_idles = s->hart[i].idles;
	}
	atomic_fetch_add(&s->epoch, 1);
out:
	unlock(&s->lock);
}

void shadow_idle(struct shadow *s, unsigned int hart)
{
	struct shadow_hart *h = &s->hart[hart];

	atomic_fetch_add(&h->idles, 1);
	atomic_fetch_add(&h->returns, 1);
	atomic_store(&h->asleep_at, insns(s, hart));
}

void shadow_return(struct shadow *s, unsigned int hart)
{
	atomic_fetch_add(&s->hart[hart].returns, 1);
}

/* Walks */

static bool canonical(const struct shadow_hart *h, uint64_t va)
{
	unsigned int bits = 12 + 9 * h->depth;
	int64_t top = (int64_t)(va << (64 - bits)) >> (64 - bits);

	return (uint64_t)top == va;
}

static void mark_table(struct shadow *s, uint64_t frame)
{
	uint64_t i = frame - s->frame0;

	if (i >= s->frames)
		return;
	if (s->hits[i])
		s->hits[i] = 0;
	if (!atomic_load_explicit(&s->mark[i], memory_order_relaxed))
		atomic_store_explicit(&s->mark[i], 1, memory_order_relaxed);
}

static void walk(struct shadow *s, const struct shadow_hart *h, uint64_t va, struct walk *w)
{
	uint64_t table = (h->satp & 0xfffffffffffULL) << 12;

	w->ok = w->lost = w->global = false;
	w->root = table;
	w->depth = 0;
	if (!canonical(h, va))
		return;
	for (unsigned int level = h->depth; level-- > 0;) {
		uint64_t pa = table + (va >> (12 + 9 * level) & 511) * 8, pte;
		const _Atomic uint64_t *host = s->c.host(s->c.arg, pa);
		unsigned int i = w->depth;

		if (!host) {
			w->lost = true;
			return;
		}
		pte = atomic_load_explicit(host, memory_order_relaxed);
		w->host[i] = host;
		w->slot[i] = pa;
		w->pte[i] = pte;
		w->depth++;
		mark_table(s, pa >> 12);
		if (!(pte & PTE_V) || (pte & (PTE_R | PTE_W)) == PTE_W)
			return;
		if (pte & PTE_G)
			w->global = true;
		table = (pte >> 10 & 0xfffffffffffULL) << 12;
		if (!(pte & PTE_LEAF))
			continue;
		w->frame = table >> 12;
		if (level) {
			uint64_t low = (1ULL << 9 * level) - 1;

			if (w->frame & low)
				return; /* misaligned: faults */
			w->frame |= va >> 12 & low;
		} else if (pte & PTE_N) {
			if ((w->frame & 15) != 8)
				return;
			w->frame = (w->frame & ~15ULL) | (va >> 12 & 15);
		}
		w->level = level;
		w->leaf = pte;
		w->ok = true;
		return;
	}
}

bool shadow_translate(struct shadow *s, unsigned int hart, uint64_t va, uint64_t *pa)
{
	struct walk w;

	if (s->hart[hart].bare) {
		*pa = va;
		return true;
	}
	walk(s, &s->hart[hart], va, &w);
	*pa = w.ok ? w.frame << 12 | (va & 4095) : 0;
	return w.ok;
}

static uint64_t entry_frame(const struct shadow_entry *e, uint64_t va)
{
	uint64_t pte = e->pte[e->depth - 1], frame = pte >> 10 & 0xfffffffffffULL;

	if (e->level)
		return frame | (va >> 12 & ((1ULL << 9 * e->level) - 1));
	return pte & PTE_N ? (frame & ~15ULL) | (va >> 12 & 15) : frame;
}

/* Would a TLB that holds this PTE let the access through? MXR: what may be executed counts. */
static bool permits(uint64_t pte, unsigned int kind)
{
	if (kind & SHADOW_LOAD && !(pte & (PTE_R | PTE_X)))
		return false;
	if (kind & SHADOW_STORE && (pte & (PTE_W | PTE_D)) != (PTE_W | PTE_D))
		return false;
	return !(kind & SHADOW_USER) || pte & PTE_U;
}

/* As the tables have it now: A and D are set by the hardware on the way. */
static bool permits_now(uint64_t pte, unsigned int kind)
{
	return permits(pte | PTE_AD, kind);
}

/* What fences have left */

static bool alive(const struct shadow_hart *h, const struct shadow_entry *e)
{
	const struct shadow_entry *f;

	if (!e->seq || e->dead || e->seq <= h->all_seq ||
	    (e->asid != GLOBAL && e->seq <= h->asid_seq[e->asid]))
		return false;
	f = h->vafences->fill ? table_find(h->vafences, e->key, 0, e->level) : NULL;
	return !f || e->seq > f->seq;
}

static bool table_alive(const struct shadow_hart *h, const struct shadow_entry *e)
{
	return e->seq > h->all_seq && (e->asid == GLOBAL || e->seq > h->asid_seq[e->asid]);
}

static void settle(struct shadow *s, unsigned int hart)
{
	struct shadow_hart *h = &s->hart[hart];
	unsigned int left = 0;
	uint64_t now = h->opens ? insns(s, hart) : 0;

	for (unsigned int i = 0; i < h->opens; i++) {
		struct shadow_entry *e = h->open[i];

		if (!e->stale_since)
			continue;
		if (e->depth && (e->resident & 0x80 ? table_alive(h, e) : alive(h, e))) {
			h->open[left++] = e;
			continue;
		}
		h->n.settled++;
		if (now - e->stale_insns > h->n.settle_longest)
			h->n.settle_longest = now - e->stale_insns;
		e->stale_since = 0;
	}
	h->opens = left;
}

static bool fence_kills_lines(struct shadow_hart *h, uint64_t va)
{
	for (unsigned int level = 1; level < SHADOW_DEPTH; level++) {
		uint64_t key = va >> (12 + 9 * level);

		if (h->shifts >> level & 1 && (table_find(h->leaves, key, h->asid, level) ||
					       table_find(h->leaves, key, GLOBAL, level)))
			return true;
	}
	return false;
}

static void fence_apply(struct shadow *s, unsigned int hart, enum shadow_form form, uint64_t va,
			uint32_t asid)
{
	struct shadow_hart *h = &s->hart[hart];
	struct shadow_line *line = &h->line[(va >> 12) % SHADOW_LINES];

	h->seq++;
	switch (form) {
	case SHADOW_ALL:
		h->all_seq = h->seq++;
		h->ctx += 2;
		break;
	case SHADOW_ASID:
		h->asid_seq[asid] = h->seq++;
		h->ctx += 2;
		break;
	default:
		/* An address that cannot be one: no effect. No tables yet: nothing cached. */
		if (!h->depth || !canonical(h, va))
			return;
		if (line->vpn == va >> 12)
			line->ctx = 0;
		if (h->shifts >> 1 && fence_kills_lines(h, va))
			h->ctx += 2;
		for (unsigned int level = 0; level < h->depth; level++) {
			uint64_t key = va >> (12 + 9 * level);
			struct shadow_entry *e;

			if (!(h->shifts >> level & 1))
				continue;
			if (form == SHADOW_VA_ASID) {
				e = table_find(h->leaves, key, asid, level);
				if (e)
					e->dead = true;
				continue;
			}
			e = table_add(s, h->vafences, key, 0, level);
			if (!e)
				return;
			e->seq = h->seq;
		}
		h->seq++;
	}
	if (h->opens)
		settle(s, hart);
}

static void fence_log(struct shadow *s, unsigned int hart, enum shadow_form form, uint64_t va,
		      uint32_t asid, uint64_t pc, bool sinval)
{
	struct shadow_hart *h = &s->hart[hart];

	h->log[h->logged++ % SHADOW_FENCES] = (struct shadow_fence_log){
		.va = va,
		.pc = pc,
		.insns = insns(s, hart),
		.asid = asid,
		.form = (uint8_t)form,
		.sinval = sinval,
	};
}

void shadow_fence(struct shadow *s, unsigned int hart, enum shadow_form form, uint64_t va,
		  uint64_t asid, uint64_t pc)
{
	if (stopped(s))
		return;
	s->hart[hart].n.fence[form]++;
	if (s->c.forget && (form == SHADOW_ASID || form == SHADOW_VA_ASID) &&
	    !(++s->hart[hart].asid_fences % s->c.forget))
		return;
	fence_log(s, hart, form, va, asid & (ASIDS - 1), pc, false);
	fence_apply(s, hart, form, va, asid & (ASIDS - 1));
	epoch_try(s, hart);
}

static void report(struct shadow *s, struct shadow_finding *f)
{
	lock(&s->report_lock);
	if (!stopped(s)) {
		atomic_fetch_add(&s->findings[f->what], 1);
		s->c.report(s->c.arg, f);
	}
	unlock(&s->report_lock);
}

static void bracket(struct shadow *s, unsigned int hart, uint64_t va, uint32_t asid, uint64_t pc)
{
	struct shadow_finding f = {
		.what = SHADOW_BRACKET,
		.hart = hart,
		.asid = asid,
		.va = va,
		.pc = pc,
	};

	report(s, &f);
}

void shadow_w_inval(struct shadow *s, unsigned int hart, uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];

	(void)pc;
	if (h->bracket < 64) /* nests: an interrupt's own between another's */
		h->bracket++;
}

void shadow_sinval(struct shadow *s, unsigned int hart, enum shadow_form form, uint64_t va,
		   uint64_t asid, uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];

	if (stopped(s))
		return;
	h->n.sinval[form]++;
	if (!h->bracket)
		bracket(s, hart, va, asid & (ASIDS - 1), pc);
	if (h->sinvals == SINVAL_MAX) {
		/* Nobody batches as many: take them as one large one. */
		h->sinval[0].form = SHADOW_ALL;
		h->sinvals = 1;
		return;
	}
	h->sinval[h->sinvals++] = (struct shadow_fence_log){
		.va = va,
		.asid = asid & (ASIDS - 1),
		.form = (uint8_t)form,
		.pc = pc,
	};
}

void shadow_inval_ir(struct shadow *s, unsigned int hart, uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];

	(void)pc;
	if (stopped(s))
		return;
	for (unsigned int i = 0; i < h->sinvals; i++) {
		struct shadow_fence_log *f = &h->sinval[i];

		fence_log(s, hart, f->form, f->va, f->asid, f->pc, true);
		fence_apply(s, hart, f->form, f->va, f->asid);
	}
	h->sinvals = 0;
	if (h->bracket)
		h->bracket--;
	epoch_try(s, hart);
}

void shadow_satp(struct shadow *s, unsigned int hart, uint64_t satp, uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];
	unsigned int mode = (unsigned int)(satp >> 60);

	if (stopped(s))
		return;
	h->n.satp++;
	atomic_fetch_add(&h->returns, 1);
	h->ctx += 2;
	h->satp = satp;
	h->asid = satp >> 44 & (ASIDS - 1);
	h->bare = mode == 0;
	if (!h->bare)
		h->depth = mode - 5; /* 8, 9, 10: Sv39, Sv48, Sv57 */
	atomic_store_explicit(&h->who, h->bare ? NOBODY : (int64_t)h->asid, memory_order_relaxed);
	if (h->sinvals) {
		bracket(s, hart, h->sinval[0].va, h->sinval[0].asid, pc);
		shadow_inval_ir(s, hart, pc);
	}
	epoch_try(s, hart);
}

/* Changes of page tables */

static struct shadow_slot *slot_of(struct shadow *s, uint64_t pa)
{
	return &s->slots[mix(pa >> 3, 0, 0) % SLOTS];
}

void shadow_table_store(struct shadow *s, unsigned int hart, uint64_t pa, unsigned int size,
			uint64_t pc)
{
	uint64_t frame = (pa >> 12) - s->frame0;

	if (stopped(s))
		return;
	if (++s->hits[frame] > JUNK_STORES) {
		atomic_store_explicit(&s->mark[frame], 0, memory_order_relaxed);
		return;
	}
	for (uint64_t at = pa & ~7ULL; at < pa + size; at += 8) {
		struct shadow_slot *slot = slot_of(s, at);
		const _Atomic uint64_t *host = s->c.host(s->c.arg, at);

		if (!host)
			return;
		lock(&slot->lock);
		if (slot->pa != at) {
			slot->pa = at;
			slot->next = 0;
			memset(slot->change, 0, sizeof(slot->change));
		}
		slot->change[slot->next++ % CHANGES] = (struct shadow_change){
			.pte = atomic_load_explicit(host, memory_order_relaxed),
			.pc = pc,
			.hart = hart,
			.asid = s->hart[hart].asid,
			.stamp = atomic_fetch_add(&s->stamp, 1) + 1,
			.epoch = atomic_load(&s->epoch),
			.returns = atomic_load(&s->hart[hart].returns),
		};
		unlock(&slot->lock);
	}
}

/* Is `pte`, written where the walk for `e` read its PTE number i, a loss for what is cached? */
static bool loses(const struct shadow_entry *e, unsigned int i, uint64_t pte)
{
	uint64_t old = e->pte[i], lost = old & ~pte;

	if ((old ^ pte) & (0xfffffffffffULL << 10 | PTE_N))
		return true;
	return lost & (PTE_V | PTE_R | PTE_W | PTE_X | PTE_U) ||
	       (!(old & PTE_LEAF) && pte & PTE_LEAF);
}

/* The first change known behind the filling of `e` that makes it stale. */
static bool first_change(struct shadow *s, const struct shadow_entry *e, const struct walk *w,
			 struct shadow_change *found)
{
	for (unsigned int i = 0; i < e->depth && i < w->depth && e->slot[i] == w->slot[i]; i++) {
		struct shadow_slot *slot = slot_of(s, e->slot[i]);
		bool known = false;

		if (!((e->pte[i] ^ w->pte[i]) & ~PTE_AD))
			continue;
		lock(&slot->lock);
		for (unsigned int k = 0; slot->pa == e->slot[i] && k < CHANGES; k++) {
			const struct shadow_change *c = &slot->change[k];

			if (!c->epoch || c->stamp <= e->stamp || !loses(e, i, c->pte))
				continue;
			if (!known || c->stamp < found->stamp)
				*found = *c;
			known = true;
		}
		unlock(&slot->lock);
		return known;
	}
	return false;
}

static void finding(struct shadow *s, unsigned int hart, struct shadow_entry *e,
		    const struct walk *w, enum shadow_what what, uint64_t va, unsigned int kind,
		    uint64_t pc, bool faulted, const struct shadow_change *c)
{
	struct shadow_hart *h = &s->hart[hart];
	uint64_t now = insns(s, hart);
	struct shadow_finding f = {
		.what = what,
		.hart = hart,
		.asid = h->asid,
		.kind = kind,
		.faulted = faulted,
		.global = e->asid == GLOBAL,
		.level = e->level,
		.va = va,
		.pc = pc,
		.pte_cached = e->pte[e->depth - 1],
		.cached_pc = e->pc,
		.cached_ago = now - e->insns,
		.changed_known = c,
		.root_changed = e->root != w->root && e->asid != GLOBAL,
		.harts = s->c.harts < SHADOW_WHO ? s->c.harts : SHADOW_WHO,
	};

	if (what == SHADOW_TABLE) {
		f.frame_cached = (f.pte_cached >> 10 & 0xfffffffffffULL) << 12;
		f.pte_now = w->depth >= e->depth ? w->pte[e->depth - 1] : 0;
		f.frame_now = (f.pte_now >> 10 & 0xfffffffffffULL) << 12;
	} else {
		f.frame_cached = entry_frame(e, va) << 12;
		f.pte_now = w->depth ? w->pte[w->depth - 1] : 0;
		f.frame_now = w->ok ? w->frame << 12 : 0;
	}
	if (c)
		f.changed = *c;
	memcpy(f.who, e->who, sizeof(f.who));
	for (uint64_t i = 0; i < h->logged && i < SHADOW_FENCES && f.fences < 4; i++) {
		const struct shadow_fence_log *l = &h->log[(h->logged - 1 - i) % SHADOW_FENCES];
		bool page = l->form >= SHADOW_VA && l->va >> 12 == va >> 12;
		bool wide = l->form == SHADOW_ALL || (l->form == SHADOW_ASID && l->asid == h->asid);

		if (!page && !wide)
			continue;
		f.fence_ago[f.fences] = now - l->insns;
		f.fence[f.fences++] = *l;
	}
	report(s, &f);
}

/*
 * A hart can use `e`, and the tables say otherwise. Right until the shootdown is over; then a
 * finding, and the entry is given up.
 */
static void stale(struct shadow *s, unsigned int hart, struct shadow_entry *e, const struct walk *w,
		  enum shadow_what what, uint64_t va, unsigned int kind, uint64_t pc, bool faulted)
{
	struct shadow_hart *h = &s->hart[hart];
	struct shadow_change c;
	bool known = first_change(s, e, w, &c), over;
	uint64_t now;

	epoch_try(s, hart);
	now = atomic_load(&s->epoch);
	if (!e->stale_since) {
		e->stale_since = now;
		e->stale_insns = insns(s, hart);
		if (h->opens < OPEN_MAX)
			h->open[h->opens++] = e;
	}
	over = now >= e->stale_since + 2 || (known && now >= c.epoch + 2);
	over |= s->c.strict && known && atomic_load(&s->hart[c.hart].returns) > c.returns;
	/* This hart gave the ASID to other tables itself: there is nothing under way. */
	if (kind & SHADOW_USER && e->root != w->root && e->asid != GLOBAL && what != SHADOW_TABLE)
		over = true;
	if (!over) {
		h->n.window++;
		return;
	}
	finding(s, hart, e, w, what, va, kind, pc, faulted, known ? &c : NULL);
	e->stale_since = 0;
	e->seq = 0;
}

/* Filling */

static void remember(struct shadow *s, unsigned int hart, struct shadow_entry *e,
		     const struct walk *w, unsigned int depth, unsigned int kind, uint64_t pc,
		     uint64_t stamp)
{
	struct shadow_hart *h = &s->hart[hart];

	e->depth = (uint8_t)depth;
	e->dead = false;
	e->seq = h->seq;
	e->stamp = stamp;
	e->stale_since = 0;
	e->root = w->root;
	memcpy(e->pte, w->pte, depth * sizeof(*e->pte));
	memcpy(e->slot, w->slot, depth * sizeof(*e->slot));
	e->pc = pc;
	e->insns = insns(s, hart);
	e->kind = kind;
	for (unsigned int i = 0; i < s->c.harts && i < SHADOW_WHO; i++)
		e->who[i] = (int32_t)atomic_load_explicit(&s->hart[i].who, memory_order_relaxed);
}

/* The pointers on the way to the leaf may be cached as well. */
static void walk_tables(struct shadow *s, unsigned int hart, uint64_t va, const struct walk *w,
			unsigned int kind, uint64_t pc, uint64_t stamp)
{
	struct shadow_hart *h = &s->hart[hart];
	bool global = false;

	for (unsigned int i = 0; i + 1 < w->depth; i++) {
		unsigned int level = h->depth - 1 - i;
		struct shadow_entry *e;

		global |= w->pte[i] & PTE_G;
		e = table_add(s, h->tables, va >> (12 + 9 * level), global ? GLOBAL : h->asid,
			      level);
		if (!e)
			return;
		e->resident = 0x80;
		if (e->seq && table_alive(h, e)) {
			if (!((e->pte[i] ^ w->pte[i]) &
			      (0xfffffffffffULL << 10 | PTE_V | PTE_LEAF))) {
				/* The same, if perhaps by another way. */
				e->root = w->root;
				memcpy(e->pte, w->pte, e->depth * sizeof(*e->pte));
				memcpy(e->slot, w->slot, e->depth * sizeof(*e->slot));
				continue;
			}
			stale(s, hart, e, w, SHADOW_TABLE, va, kind, pc, false);
			if (e->seq)
				continue;
		}
		remember(s, hart, e, w, i + 1, kind, pc, stamp);
	}
}

static void tlb_insert(struct shadow_tlb *t, unsigned int k, struct shadow_entry *e)
{
	unsigned int ways = t->c->ways[k];
	struct way *w = &t->way[k][(size_t)(e->key % t->c->sets[k]) * ways], *victim = w;

	for (unsigned int i = 0; i < ways; i++) {
		if (w[i].entry == e || !w[i].entry) {
			victim = &w[i];
			break;
		}
		if (!alive(t->hart, w[i].entry)) {
			victim = &w[i];
			victim->used = 0;
		} else if (w[i].used < victim->used) {
			victim = &w[i];
		}
	}
	/* One that was fenced keeps the mark: that it would have been here decides what it is. */
	if (victim->entry && victim->entry != e && alive(t->hart, victim->entry))
		victim->entry->resident &= (uint8_t) ~(1u << k);
	victim->entry = e;
	victim->used = ++t->clock;
	e->resident |= (uint8_t)(1u << k);
}

void shadow_tlb_touch(struct shadow_hart *h, struct shadow_line *line)
{
	struct shadow_tlb *t = h->tlb;
	struct shadow_entry *e = line->entry;

	h->last = line;
	for (unsigned int k = 0; k < t->c->tlbs; k++) {
		if (!(e->resident >> k & 1))
			continue;
		h->n.tlb_hits[k]++;
		for (unsigned int i = 0; i <= k; i++)
			tlb_insert(t, i, e);
		return;
	}
	h->n.tlb_misses++;
	h->n.capacity++;
	for (unsigned int i = 0; i < t->c->tlbs; i++)
		tlb_insert(t, i, e);
}

static void fill(struct shadow *s, unsigned int hart, uint64_t va, const struct walk *w,
		 unsigned int kind, uint64_t pc, uint64_t stamp, struct shadow_entry **filled)
{
	struct shadow_hart *h = &s->hart[hart];
	struct shadow_entry *e;

	walk_tables(s, hart, va, w, kind, pc, stamp);
	e = table_add(s, h->leaves, va >> (12 + 9 * w->level), w->global ? GLOBAL : h->asid,
		      w->level);
	if (!e)
		return;
	h->n.tlb_misses++;
	if (!e->depth)
		h->n.cold++;
	else if (h->tlb && !e->resident)
		h->n.capacity++;
	else if ((e->pte[e->depth - 1] ^ w->leaf) & ~(PTE_AD | PTE_SOFT))
		h->n.needed++;
	else
		h->n.refills++;
	e->resident = 0;
	remember(s, hart, e, w, w->depth, kind, pc, stamp);
	h->shifts |= 1u << w->level;
	if (h->tlb)
		for (unsigned int i = 0; i < h->tlb->c->tlbs; i++)
			tlb_insert(h->tlb, i, e);
	*filled = e;
}

static void access_page(struct shadow *s, unsigned int hart, uint64_t va, unsigned int kind,
			uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];
	struct shadow_line *line = &h->line[(va >> 12) % SHADOW_LINES];
	uint64_t stamp = atomic_load(&s->stamp);
	struct shadow_entry *good = NULL;
	bool clean = true;
	struct walk w;

	walk(s, h, va, &w);
	if (w.lost) {
		atomic_store(&s->stopped, "a page table lies outside the RAM that was found");
		return;
	}
	for (unsigned int level = 0; level < h->depth; level++) {
		for (unsigned int g = 0; h->shifts >> level & 1 && g < 2; g++) {
			struct shadow_entry *e = table_find(h->leaves, va >> (12 + 9 * level),
							    g ? GLOBAL : h->asid, level);
			bool moved;

			if (!e || !alive(h, e))
				continue;
			moved = w.ok && entry_frame(e, va) != w.frame;
			if (!permits(e->pte[e->depth - 1], kind)) {
				/*
				 * The TLB asks the tables again, and what it learns replaces this;
				 * or it faults, where QEMU did not: no stale use either.
				 */
				if (moved) {
					clean = false;
					good = e;
				}
				if (!w.ok || moved || w.level != level)
					continue;
				remember(s, hart, e, &w, w.depth, kind, pc, stamp);
			} else if (!w.ok || moved || !permits_now(w.leaf, kind)) {
				clean = false;
				stale(s, hart, e, &w,
				      !w.ok   ? SHADOW_UNMAPPED
				      : moved ? SHADOW_FRAME
					      : SHADOW_PERMISSION,
				      va, kind, pc, false);
				if (stopped(s))
					return;
				if (e->seq)
					good = e; /* used, if wrongly: nothing is filled */
				continue;
			} else if (e->root != w.root ||
				   memcmp(e->slot, w.slot, e->depth * sizeof(*e->slot))) {
				/* The same page by another way (a kernel's, in the next tables). */
				if (w.level == level) {
					e->root = w.root;
					e->depth = (uint8_t)w.depth;
					memcpy(e->pte, w.pte, w.depth * sizeof(*e->pte));
					memcpy(e->slot, w.slot, w.depth * sizeof(*e->slot));
				}
			}
			good = e;
		}
	}
	if (!good) {
		if (!w.ok)
			return;
		fill(s, hart, va, &w, kind, pc, stamp, &good);
		if (stopped(s) || !good)
			return;
		h->last = NULL;
	} else if (clean && h->tlb) {
		line->entry = good;
		shadow_tlb_touch(h, line);
	}
	if (!clean || !w.ok || !permits_now(w.leaf, kind))
		return;
	if (w.frame - s->frame0 >= s->frames) {
		h->n.device++; /* slow anyway; so it comes by here each time */
		return;
	}
	if (line->vpn != va >> 12 || line->ctx != h->ctx || line->depth != w.depth ||
	    (line->pte[0] ^ w.leaf) & ~PTE_AD)
		line->ok = 0;
	line->vpn = va >> 12;
	line->ctx = h->ctx;
	line->frame = w.frame;
	line->entry = good;
	line->ok |= (uint8_t)(1u << kind);
	line->depth = (uint8_t)w.depth;
	for (unsigned int i = 0; i < w.depth; i++) {
		line->slot[i] = w.host[w.depth - 1 - i];
		line->pte[i] = w.pte[w.depth - 1 - i];
	}
}

void shadow_access_slow(struct shadow *s, unsigned int hart, uint64_t va, unsigned int size,
			unsigned int kind, uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];
	uint64_t last = va + size - 1, pa;

	if (stopped(s))
		return;
	if (h->bare) {
		h->n.bare++;
		return;
	}
	if (!(kind & SHADOW_STORE))
		h->n.loads++;
	else if (kind & SHADOW_LOAD)
		h->n.atomics++;
	else
		h->n.stores++;
	access_page(s, hart, va, kind, pc);
	if (last >> 12 != va >> 12)
		access_page(s, hart, last & ~4095ULL, kind, pc);
	if (kind & SHADOW_STORE && shadow_translate(s, hart, va, &pa) &&
	    shadow_is_table(s, pa >> 12))
		shadow_table_store(s, hart, pa, size, pc);
	epoch_try(s, hart);
}

void shadow_fault(struct shadow *s, unsigned int hart, uint64_t va, unsigned int kind, uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];
	struct walk w;

	if (stopped(s) || h->bare)
		return;
	h->n.faults++;
	walk(s, h, va, &w);
	if (w.lost || (w.ok && permits_now(w.leaf, kind)))
		return; /* somebody mapped it meanwhile */
	for (unsigned int level = 0; level < h->depth; level++) {
		for (unsigned int g = 0; h->shifts >> level & 1 && g < 2; g++) {
			struct shadow_entry *e = table_find(h->leaves, va >> (12 + 9 * level),
							    g ? GLOBAL : h->asid, level);

			if (!e || !alive(h, e) || !permits(e->pte[e->depth - 1], kind))
				continue;
			stale(s, hart, e, &w, w.ok ? SHADOW_PERMISSION : SHADOW_UNMAPPED, va, kind,
			      pc, true);
			if (stopped(s))
				return;
		}
	}
}
