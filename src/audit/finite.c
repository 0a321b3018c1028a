// SPDX-License-Identifier: MIT
/* TLBs of a geometry, tagged by ASID, least recently used first out: what flushing costs in them. */
#include <stdlib.h>

#include "inside.h"

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

bool tlb_new(struct shadow *s, struct shadow_hart *h)
{
	struct shadow_tlb *t = get(s, 1, sizeof(*t));

	if (!t)
		return false;
	h->tlb = t;
	t->c = &s->c;
	t->hart = h;
	for (unsigned int k = 0; k < s->c.tlbs; k++) {
		t->way[k] = get(s, (size_t)s->c.sets[k] * s->c.ways[k], sizeof(struct way));
		if (!t->way[k])
			return false;
	}
	return true;
}

void tlb_free(struct shadow_hart *h)
{
	for (unsigned int k = 0; h->tlb && k < SHADOW_TLBS; k++)
		free(h->tlb->way[k]);
	free(h->tlb);
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

void tlb_fill(struct shadow_tlb *t, struct shadow_entry *e)
{
	for (unsigned int k = 0; k < t->c->tlbs; k++)
		tlb_insert(t, k, e);
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
	tlb_fill(t, e);
}
