// SPDX-License-Identifier: MIT
/* Page tables as they are in guest memory now: Sv39, Sv48, Sv57, Svnapot. */
#include "inside.h"

bool canonical(const struct shadow_hart *h, uint64_t va)
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
	if (atomic_load_explicit(&s->hits[i], memory_order_relaxed))
		atomic_store_explicit(&s->hits[i], 0, memory_order_relaxed);
	if (!atomic_load_explicit(&s->mark[i], memory_order_relaxed))
		atomic_store_explicit(&s->mark[i], 1, memory_order_relaxed);
}

void walk(struct shadow *s, const struct shadow_hart *h, uint64_t va, struct walk *w)
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
		table = PTE_FRAME(pte) << 12;
		if (!(pte & PTE_LEAF))
			continue;
		if (level && table >> 12 & ((1ULL << 9 * level) - 1))
			return; /* misaligned: faults */
		if (!level && pte & PTE_N && (table >> 12 & 15) != 8)
			return; /* no size but 64 KiB is defined */
		w->frame = leaf_frame(pte, level, va);
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

uint64_t leaf_frame(uint64_t pte, unsigned int level, uint64_t va)
{
	uint64_t frame = PTE_FRAME(pte), low = (1ULL << 9 * level) - 1;

	if (level)
		return (frame & ~low) | (va >> 12 & low);
	return pte & PTE_N ? (frame & ~15ULL) | (va >> 12 & 15) : frame;
}

uint64_t entry_frame(const struct shadow_entry *e, uint64_t va)
{
	return leaf_frame(e->pte[e->depth - 1], e->level, va);
}

bool permits(uint64_t pte, unsigned int kind)
{
	if (kind & SHADOW_LOAD && !(pte & (PTE_R | PTE_X)))
		return false;
	if (kind & SHADOW_STORE && (pte & (PTE_W | PTE_D)) != (PTE_W | PTE_D))
		return false;
	return !(kind & SHADOW_USER) || pte & PTE_U;
}

bool permits_now(uint64_t pte, unsigned int kind)
{
	return permits(pte | PTE_AD, kind);
}
