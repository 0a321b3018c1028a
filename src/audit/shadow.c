// SPDX-License-Identifier: MIT
/* The rules: what a fence takes, which use is stale, and when that is wrong. */
#include <string.h>

#include "inside.h"

#define JUNK_STORES 4096 /* to a page no walk has read since: it is no table now */

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

/* Fences */

static void settle(struct shadow *s, unsigned int hart)
{
	struct shadow_hart *h = &s->hart[hart];
	unsigned int left = 0;
	uint64_t now = h->opens ? insns(s, hart) : 0;

	for (unsigned int i = 0; i < h->opens; i++) {
		struct shadow_entry *e = h->open[i];

		if (!e->stale_since)
			continue;
		if (e->depth && (e->resident & TABLE ? table_alive(h, e) : alive(h, e))) {
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
		uint64_t key = PAGE_KEY(va, level);

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
			uint64_t key = PAGE_KEY(va, level);
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

static bool forgotten(struct shadow *s, unsigned int hart, unsigned int form)
{
	return s->c.forget && (form == SHADOW_ASID || form == SHADOW_VA_ASID) &&
	       !(++s->hart[hart].asid_fences % s->c.forget);
}

void shadow_fence(struct shadow *s, unsigned int hart, enum shadow_form form, uint64_t va,
		  uint64_t asid, uint64_t pc)
{
	if (stopped(s))
		return;
	s->hart[hart].n.fence[form]++;
	if (forgotten(s, hart, form))
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

		if (forgotten(s, hart, f->form))
			continue;
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

void shadow_reset(struct shadow *s, unsigned int hart)
{
	struct shadow_hart *h = &s->hart[hart];

	if (stopped(s))
		return;
	h->sinvals = 0;
	h->bracket = 0;
	h->satp = 0;
	h->bare = true;
	atomic_store_explicit(&h->who, NOBODY, memory_order_relaxed);
	atomic_fetch_add(&h->returns, 1);
	fence_apply(s, hart, SHADOW_ALL, 0, 0);
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
	if (atomic_fetch_add_explicit(&s->hits[frame], 1, memory_order_relaxed) >= JUNK_STORES) {
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

/* Is `pte`, where the walk for `e` read `old` (0: nothing), a loss for what is cached of `va`? */
static bool loses(const struct shadow_entry *e, uint64_t old, unsigned int level, uint64_t pte,
		  uint64_t va)
{
	uint64_t cached = e->pte[e->depth - 1];

	if (!(pte & PTE_V))
		return true;
	if (!(pte & PTE_LEAF)) /* a huge page that is split is not lost by that alone */
		return old & PTE_LEAF ? false : !old || PTE_FRAME(old ^ pte);
	if (!(cached & PTE_LEAF))
		return true;
	return leaf_frame(pte, level, va) != entry_frame(e, va) ||
	       cached & ~pte & (PTE_R | PTE_W | PTE_X | PTE_U);
}

/* The first change at `pa` since it was right for `e` that is a loss; or its newest change. */
static bool change_at(struct shadow *s, const struct shadow_entry *e, uint64_t pa, uint64_t old,
		      unsigned int level, uint64_t va, bool newest, struct shadow_change *found)
{
	struct shadow_slot *slot = slot_of(s, pa);
	uint64_t right = e->stamp;
	bool known = false;

	lock(&slot->lock);
	for (unsigned int k = 0; !newest && slot->pa == pa && k < CHANGES; k++) {
		const struct shadow_change *c = &slot->change[k];

		if (c->epoch && c->stamp > right && !loses(e, old, level, c->pte, va))
			right = c->stamp;
	}
	for (unsigned int k = 0; slot->pa == pa && k < CHANGES; k++) {
		const struct shadow_change *c = &slot->change[k];

		if (!c->epoch || c->stamp <= right)
			continue;
		if (!known || (newest ? c->stamp > found->stamp : c->stamp < found->stamp))
			*found = *c;
		known = true;
	}
	unlock(&slot->lock);
	return known;
}

/* The change that made `e` what it is now: stale. False: it was not seen. */
static bool first_change(struct shadow *s, const struct shadow_hart *h,
			 const struct shadow_entry *e, const struct walk *w, uint64_t va,
			 struct shadow_change *found)
{
	unsigned int end = w->depth - 1;
	struct shadow_change split;

	for (unsigned int i = 0; i < e->depth && i < w->depth; i++) {
		if (e->slot[i] != w->slot[i])
			continue;
		if (loses(e, e->pte[i], h->depth - 1 - i, w->pte[i], va))
			return change_at(s, e, e->slot[i], e->pte[i], h->depth - 1 - i, va, false,
					 found);
		if (!(e->pte[i] & PTE_LEAF) || w->pte[i] & PTE_LEAF)
			continue;
		/* Split, and the page itself is another now: by whichever came last. */
		if (!change_at(s, e, e->slot[i], 0, 0, va, true, &split) ||
		    !change_at(s, e, w->slot[end], 0, h->depth - 1 - end, va, false, found))
			return false;
		if (split.stamp > found->stamp)
			*found = split;
		return true;
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
		f.frame_cached = PTE_FRAME(f.pte_cached) << 12;
		f.pte_now = w->depth >= e->depth ? w->pte[e->depth - 1] : 0;
		f.frame_now = PTE_FRAME(f.pte_now) << 12;
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
	bool known = first_change(s, h, e, w, va, &c), over;
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
	/* Not by the line, should it be right again: that would go unnoticed. */
	h->line[(va >> 12) % SHADOW_LINES].ctx = 0;
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

static bool same_pointer(uint64_t cached, uint64_t now)
{
	return now & PTE_V && !(now & PTE_LEAF) && PTE_FRAME(cached) == PTE_FRAME(now);
}

/* A TLB that has no leaf, or has lost it, walks from the pointers that it has cached. */
static void check_tables(struct shadow *s, unsigned int hart, uint64_t va, const struct walk *w,
			 unsigned int kind, uint64_t pc, bool faulted)
{
	struct shadow_hart *h = &s->hart[hart];

	for (unsigned int i = 0; i + 1 < h->depth; i++) {
		unsigned int level = h->depth - 1 - i;

		for (unsigned int g = 0; g < 2; g++) {
			struct shadow_entry *e = table_find(h->tables, PAGE_KEY(va, level),
							    g ? GLOBAL : h->asid, level);

			if (!e || !e->seq || !table_alive(h, e))
				continue;
			if (i < w->depth && same_pointer(e->pte[e->depth - 1], w->pte[i]))
				e->stale_since = 0;
			else
				stale(s, hart, e, w, SHADOW_TABLE, va, kind, pc, faulted);
			if (stopped(s))
				return;
		}
	}
}

/* The pointers on the way to the leaf may be cached as well. */
static void cache_tables(struct shadow *s, unsigned int hart, uint64_t va, const struct walk *w,
			 unsigned int kind, uint64_t pc, uint64_t stamp)
{
	struct shadow_hart *h = &s->hart[hart];
	bool global = false;

	for (unsigned int i = 0; i + 1 < w->depth; i++) {
		unsigned int level = h->depth - 1 - i;
		struct shadow_entry *e;

		global |= w->pte[i] & PTE_G;
		e = table_add(s, h->tables, PAGE_KEY(va, level), global ? GLOBAL : h->asid, level);
		if (!e)
			return;
		e->resident = TABLE;
		if (!e->seq || !table_alive(h, e)) {
			remember(s, hart, e, w, i + 1, kind, pc, stamp);
		} else if (same_pointer(e->pte[e->depth - 1], w->pte[i])) {
			/* The same, if perhaps by another way. */
			e->root = w->root;
			e->depth = (uint8_t)(i + 1);
			memcpy(e->pte, w->pte, e->depth * sizeof(*e->pte));
			memcpy(e->slot, w->slot, e->depth * sizeof(*e->slot));
		}
	}
}

static void fill(struct shadow *s, unsigned int hart, uint64_t va, const struct walk *w,
		 unsigned int kind, uint64_t pc, uint64_t stamp, struct shadow_entry **filled)
{
	struct shadow_hart *h = &s->hart[hart];
	struct shadow_entry *e;

	check_tables(s, hart, va, w, kind, pc, false);
	cache_tables(s, hart, va, w, kind, pc, stamp);
	e = table_add(s, h->leaves, PAGE_KEY(va, w->level), w->global ? GLOBAL : h->asid, w->level);
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
		tlb_fill(h->tlb, e);
	*filled = e;
}

/* The same page by other tables (a kernel's, from the next root). */
static void other_way(struct shadow *s, unsigned int hart, struct shadow_entry *e,
		      const struct walk *w, uint64_t va, unsigned int kind, uint64_t pc)
{
	uint64_t cached = e->pte[e->depth - 1];

	check_tables(s, hart, va, w, kind, pc, false);
	/* What it allows stays as it was cached. */
	if (w->level != e->level || (cached ^ w->leaf) & ~(PTE_AD | PTE_SOFT))
		return;
	e->root = w->root;
	e->depth = (uint8_t)w->depth;
	memcpy(e->pte, w->pte, w->depth * sizeof(*e->pte));
	memcpy(e->slot, w->slot, w->depth * sizeof(*e->slot));
	e->pte[e->depth - 1] = cached;
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
			struct shadow_entry *e = table_find(h->leaves, PAGE_KEY(va, level),
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
				other_way(s, hart, e, &w, va, kind, pc);
				if (stopped(s))
					return;
			}
			e->stale_since = 0; /* right, or right again */
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
	shadow_count(h, kind);
	access_page(s, hart, va, kind, pc);
	if (last >> 12 != va >> 12)
		access_page(s, hart, last & ~4095ULL, kind, pc);
	if (kind & SHADOW_STORE && shadow_translate(s, hart, va, &pa) &&
	    shadow_is_table(s, pa >> 12))
		shadow_table_store(s, hart, pa, size, pc);
	epoch_try(s, hart);
}

/* Where QEMU refused a load, MXR was not set. */
static uint64_t no_mxr(uint64_t pte)
{
	return pte & PTE_R ? pte : pte & ~PTE_X;
}

void shadow_fault(struct shadow *s, unsigned int hart, uint64_t va, unsigned int kind, uint64_t pc)
{
	struct shadow_hart *h = &s->hart[hart];
	bool hit = false;
	struct walk w;

	if (stopped(s) || h->bare)
		return;
	h->n.faults++;
	walk(s, h, va, &w);
	if (w.lost || (w.ok && permits_now(no_mxr(w.leaf), kind)))
		return; /* somebody mapped it meanwhile */
	for (unsigned int level = 0; level < h->depth; level++) {
		for (unsigned int g = 0; h->shifts >> level & 1 && g < 2; g++) {
			struct shadow_entry *e = table_find(h->leaves, PAGE_KEY(va, level),
							    g ? GLOBAL : h->asid, level);

			if (!e || !alive(h, e) || !permits(no_mxr(e->pte[e->depth - 1]), kind))
				continue;
			hit = true;
			stale(s, hart, e, &w, w.ok ? SHADOW_PERMISSION : SHADOW_UNMAPPED, va, kind,
			      pc, true);
			if (stopped(s))
				return;
		}
	}
	if (!hit)
		check_tables(s, hart, va, &w, kind, pc, true);
}
