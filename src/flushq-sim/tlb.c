/* SPDX-License-Identifier: MIT */
#include "tlb.h"

#include <stdlib.h>
#include <string.h>

struct frame frames[NR_FRAMES];

static unsigned int table_at(unsigned long va)
{
	unsigned long base = va < KERNEL_AREA ? U_TEXT : KERNEL_AREA;

	return (unsigned int)((va - base) >> TABLE_SHIFT);
}

static unsigned int page_at(unsigned long va)
{
	return va / PAGE_SIZE & 511;
}

void pte_set(struct space *s, unsigned int table, unsigned int page, unsigned int frame,
	     unsigned int bits)
{
	static uint64_t version;
	struct pte *pte = &s->pte[table][page];

	if (pte->frame == frame && pte->bits == bits)
		return;
	if (!pte->bits)
		s->entries[table]++;
	if (!bits)
		s->entries[table]--;
	pte->version = ++version;
	pte->frame = frame;
	pte->bits = bits;
}

void space_retire(struct space *s, unsigned long start, unsigned long size)
{
	unsigned int t, p;
	unsigned long va;

	for (va = start; va < start + size; va += PAGE_SIZE) {
		t = table_at(va);
		p = page_at(va);
		if (t >= TABLES)
			return;
		if (p < WL_PAGES)
			s->current[t][p] = s->pte[t][p].version;
		else
			va |= (1UL << TABLE_SHIFT) - PAGE_SIZE;
	}
}

static struct tlb_asid *held(struct tlb *tlb, unsigned int asid)
{
	if (!tlb->asid[asid]) {
		tlb->asid[asid] = calloc(1, sizeof(*tlb->asid[asid]));
		if (!tlb->asid[asid])
			abort();
	}
	return tlb->asid[asid];
}

static bool walk(struct tlb *tlb, const struct space *s, unsigned int asid, unsigned int table,
		 unsigned int page)
{
	struct tlb_asid *ta = held(tlb, asid);
	struct tlb_entry *e = &ta->leaf[table][page];
	const struct pte *pte = &s->pte[table][page];

	if (!ta->non_leaf[table].frame) {
		if (!s->table[table])
			return false;
		ta->non_leaf[table].frame = s->table[table];
		ta->non_leaf[table].freed = frames[s->table[table]].freed;
		ta->non_leaf[table].owner = s->owner;
	}
	if (frames[ta->non_leaf[table].frame].freed != ta->non_leaf[table].freed)
		tlb->stale++;
	if (!(pte->bits & PTE_V))
		return false;
	e->pte = *pte;
	e->freed = frames[pte->frame].freed;
	/* Through another's table it is another's page. */
	e->owner = ta->non_leaf[table].owner;
	ta->cached[table] |= 1u << page;
	return true;
}

static bool is_cached(const struct tlb *tlb, unsigned int asid, unsigned int table,
		      unsigned int page)
{
	return tlb->asid[asid] && tlb->asid[asid]->cached[table] >> page & 1;
}

bool tlb_use(struct tlb *tlb, const struct space *s, unsigned int asid, unsigned int table,
	     unsigned int page, unsigned int need)
{
	struct tlb_dropped *dropped = &tlb->dropped[s->place][table][page];
	const struct tlb_entry *e;

	if (!is_cached(tlb, asid, table, page)) {
		if (!walk(tlb, s, asid, table, page))
			return false;
		tlb->misses++;
		if (dropped->version == s->pte[table][page].version) {
			tlb->refills++;
			tlb->refills_of[dropped->cause][dropped->form]++;
		}
		dropped->version = 0;
	}
	e = &tlb->asid[asid]->leaf[table][page];
	if (!(e->pte.bits & need))
		return false;
	if (e->owner != s->owner || e->pte.version < s->current[table][page] ||
	    e->freed != frames[e->pte.frame].freed)
		tlb->stale++;
	return true;
}

void tlb_speculate(struct tlb *tlb, const struct space *s, unsigned int asid, unsigned int table,
		   unsigned int page)
{
	if (!is_cached(tlb, asid, table, page))
		walk(tlb, s, asid, table, page);
}

static void drop(struct tlb *tlb, struct tlb_asid *ta, unsigned int table, uint32_t pages,
		 enum form form)
{
	struct tlb_dropped *dropped;
	unsigned int page;

	pages &= ta->cached[table];
	ta->cached[table] &= ~pages;
	for (; pages; pages &= pages - 1) {
		page = (unsigned int)__builtin_ctz(pages);
		/* Of whatever has that place now: versions tell. */
		dropped = &tlb->dropped[ta->leaf[table][page].owner % NR_SPACES][table][page];
		dropped->version = ta->leaf[table][page].pte.version;
		dropped->cause = (unsigned char)tlb->cause;
		dropped->form = (unsigned char)form;
	}
}

void tlb_flush_page(struct tlb *tlb, unsigned int asid, unsigned long va)
{
	if (tlb->asid[asid] && table_at(va) < TABLES && page_at(va) < WL_PAGES)
		drop(tlb, tlb->asid[asid], table_at(va), 1u << page_at(va), FORM_PAGE);
}

void tlb_flush_non_leaf(struct tlb *tlb, unsigned int asid)
{
	if (tlb->asid[asid])
		memset(tlb->asid[asid]->non_leaf, 0, sizeof(tlb->asid[asid]->non_leaf));
}

static void drop_asid(struct tlb *tlb, unsigned int asid, enum form form)
{
	unsigned int t;

	if (!tlb->asid[asid])
		return;
	for (t = 0; t < TABLES; t++)
		drop(tlb, tlb->asid[asid], t, ~0u, form);
	free(tlb->asid[asid]);
	tlb->asid[asid] = NULL;
}

void tlb_flush_asid(struct tlb *tlb, unsigned int asid)
{
	drop_asid(tlb, asid, FORM_ASID);
}

void tlb_flush_all(struct tlb *tlb)
{
	unsigned int asid;

	for (asid = 0; asid < NR_ASIDS; asid++)
		drop_asid(tlb, asid, FORM_ALL);
}
