// SPDX-License-Identifier: MIT
/* Making and freeing a shadow, and its tables of entries: open addressing, nothing leaves them. */
#include <stdlib.h>
#include <string.h>

#include "inside.h"

#define CHUNK 256

/* Memory */

void *get(struct shadow *s, size_t count, size_t size)
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

/* Tables of entries */

uint64_t mix(uint64_t key, uint64_t asid, uint64_t level)
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
	if (!t->cell) {
		free(t);
		return NULL;
	}
	return t;
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

struct shadow_entry *table_find(struct shadow_table *t, uint64_t key, uint32_t asid,
				unsigned int level)
{
	return *table_cell(t, key, asid, level);
}

struct shadow_entry *table_add(struct shadow *s, struct shadow_table *t, uint64_t key,
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

/* What fences have left */

bool alive(const struct shadow_hart *h, const struct shadow_entry *e)
{
	const struct shadow_entry *f;

	if (!e->seq || e->dead || e->seq <= h->all_seq ||
	    (e->asid != GLOBAL && e->seq <= h->asid_seq[e->asid]))
		return false;
	f = h->vafences->fill ? table_find(h->vafences, e->key, 0, e->level) : NULL;
	return !f || e->seq > f->seq;
}

bool table_alive(const struct shadow_hart *h, const struct shadow_entry *e)
{
	return e->seq > h->all_seq && (e->asid == GLOBAL || e->seq > h->asid_seq[e->asid]);
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
		if (c->tlbs && !tlb_new(s, h))
			goto fail;
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
		tlb_free(h);
	}
	free(s->hart);
	free(s->slots);
	free((void *)s->mark);
	free((void *)s->hits);
	free(s);
}

bool shadow_ram(struct shadow *s, uint64_t base, uint64_t size)
{
	_Atomic uint8_t *mark = get(s, size >> 12, 1);
	_Atomic uint16_t *hits = get(s, size >> 12, sizeof(*hits));

	if (!mark || !hits) {
		free((void *)mark);
		free((void *)hits);
		return false;
	}
	s->mark = mark;
	s->hits = hits;
	s->frame0 = base >> 12;
	/* Last: another hart may be asking shadow_is_table(). */
	atomic_store_explicit(&s->frames, size >> 12, memory_order_release);
	return true;
}
