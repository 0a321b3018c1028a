/* SPDX-License-Identifier: MIT */
/*
 * Which operation comes next, on which pages: a pure function of the seed and of what the same
 * thread asked for before. Depends on nothing, so that a simulator can replay it.
 *
 * Each thread owns two areas of WL_PAGES pages, which only it changes: private pages and pages
 * of the shared file. Its operations are always possible in the state that it left behind.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#define WL_PAGES 32
#define WL_THREADS 4 /* at most, in one process */
#define WL_KERNEL_SLOTS 8

enum wl_role {
	WL_PARENT, /* forks children one after the other, as mmapstress01 does */
	WL_CHILD, /* maps, writes, checks and unmaps the shared file, then exits */
	WL_WORKER, /* one of the threads that share an address space */
};

enum wl_area { WL_ANON, WL_FILE };

enum wl_kind {
	WL_MAP, /* area, page, count; arg: first page of the file */
	WL_UNMAP, /* area, page, count */
	WL_PROTECT, /* area, page, count: read-only */
	WL_UNPROTECT, /* area, page, count: writable again */
	WL_REMAP, /* area, page, count, arg: new first page */
	WL_WRITE, /* area, page, count */
	WL_PEEK, /* arg: thread, whose areas to read; area, page, count */
	WL_MIGRATE, /* arg: page of the file */
	WL_KERNEL, /* arg: slot of the kernel's own area */
	WL_FORK, /* arg: number of the child */
	WL_WAIT, /* arg: until fewer children than this live */
	WL_SLEEP, /* arg: microseconds */
	WL_YIELD,
	WL_COMPUTE, /* arg: rounds */
	WL_EXIT,
};

struct wl_op {
	enum wl_kind kind;
	enum wl_area area;
	unsigned int page;
	unsigned int count;
	unsigned int arg;
};

struct wl {
	unsigned long long state;
	enum wl_role role;
	unsigned int left; /* operations, or for a parent children */
	unsigned int thread;
	unsigned int threads;
	unsigned int forked;
	unsigned int turn;
	unsigned int mapped[2]; /* bit per page, per area */
	unsigned int readonly[2];
	unsigned char file_page[WL_PAGES]; /* which page of the file is mapped there */
};

static inline unsigned int wl_rand(struct wl *w, unsigned int below)
{
	unsigned long long x = w->state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	w->state = x;
	return (unsigned int)((x * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

/* A new sequence; what is mapped stays as it is, as for a forked child. */
static inline void wl_restart(struct wl *w, enum wl_role role, unsigned long long seed,
			      unsigned int id, unsigned int left)
{
	unsigned int i;

	w->state = (seed + 1) * 0x9e3779b97f4a7c15ULL ^ (id + 1) * 0xd1342543de82ef95ULL;
	if (!w->state)
		w->state = 1;
	for (i = 0; i < 8; i++)
		wl_rand(w, 2);
	w->role = role;
	w->left = left;
	w->forked = 0;
	w->turn = 0;
}

static inline void wl_start(struct wl *w, enum wl_role role, unsigned long long seed,
			    unsigned int id, unsigned int thread, unsigned int threads,
			    unsigned int left)
{
	unsigned int i;

	w->thread = thread;
	w->threads = threads;
	for (i = 0; i < 2; i++)
		w->mapped[i] = w->readonly[i] = 0;
	for (i = 0; i < WL_PAGES; i++)
		w->file_page[i] = 0;
	wl_restart(w, role, seed, id, left);
}

/* The first page from `from` on, going round, whose bit is set; the run there into *count. */
static inline unsigned int wl_run(unsigned int bits, unsigned int from, unsigned int most,
				  unsigned int *count)
{
	unsigned int i, page = from;

	for (i = 0; i < WL_PAGES && !((bits >> page) & 1); i++)
		page = (page + 1) % WL_PAGES;
	for (i = 0; i < most && page + i < WL_PAGES && ((bits >> (page + i)) & 1); i++)
		;
	*count = i;
	return page;
}

static inline unsigned int wl_bits(unsigned int page, unsigned int count)
{
	return (unsigned int)(((1ULL << count) - 1) << page);
}

static inline unsigned int wl_length(struct wl *w)
{
	static const unsigned char length[8] = { 1, 1, 1, 2, 2, 4, 8, WL_PAGES };

	return length[wl_rand(w, 8)];
}

/* Fills op with an operation of this kind, if the state allows one. */
static inline int wl_try(struct wl *w, struct wl_op *op, enum wl_kind kind, enum wl_area area)
{
	unsigned int from = wl_rand(w, WL_PAGES), most = wl_length(w), bits, i, room;
	unsigned char moved[WL_PAGES];

	switch (kind) {
	case WL_MAP:
		bits = ~w->mapped[area];
		break;
	case WL_PROTECT:
	case WL_WRITE:
		bits = w->mapped[area] & ~w->readonly[area];
		break;
	case WL_UNPROTECT:
		bits = w->readonly[area];
		break;
	default:
		bits = w->mapped[area];
		break;
	}
	op->kind = kind;
	op->area = area;
	op->page = wl_run(bits, from, most, &op->count);
	op->arg = 0;
	if (!op->count)
		return 0;
	bits = wl_bits(op->page, op->count);
	switch (kind) {
	case WL_MAP:
		op->arg = wl_rand(w, WL_PAGES - op->count + 1);
		w->mapped[area] |= bits;
		for (i = 0; area == WL_FILE && i < op->count; i++)
			w->file_page[op->page + i] = (unsigned char)(op->arg + i);
		break;
	case WL_UNMAP:
		w->mapped[area] &= ~bits;
		w->readonly[area] &= ~bits;
		break;
	case WL_PROTECT:
		w->readonly[area] |= bits;
		break;
	case WL_UNPROTECT:
		w->readonly[area] &= ~bits;
		break;
	case WL_REMAP:
		op->arg = wl_run(~w->mapped[area], wl_rand(w, WL_PAGES), op->count, &room);
		if (!room)
			return 0;
		op->count = room;
		bits = wl_bits(op->page, room);
		for (i = 0; i < room; i++)
			moved[i] = w->file_page[op->page + i];
		for (i = 0; area == WL_FILE && i < room; i++)
			w->file_page[op->arg + i] = moved[i];
		i = w->readonly[area] & bits;
		w->mapped[area] = (w->mapped[area] & ~bits) | wl_bits(op->arg, room);
		w->readonly[area] &= ~bits;
		w->readonly[area] |=
			op->arg > op->page ? i << (op->arg - op->page) : i >> (op->page - op->arg);
		break;
	default:
		break;
	}
	return 1;
}

static inline void wl_simple(struct wl_op *op, enum wl_kind kind, unsigned int arg)
{
	op->kind = kind;
	op->area = WL_ANON;
	op->page = 0;
	op->count = 0;
	op->arg = arg;
}

struct wl_weight {
	unsigned char below; /* of 200, cumulative */
	unsigned char kind;
	unsigned char area;
};

static inline void wl_draw(struct wl *w, struct wl_op *op, const struct wl_weight *table)
{
	unsigned int r = wl_rand(w, 200), kind;

	while (r >= table->below)
		table++;
	kind = table->kind;
	switch (kind) {
	case WL_PEEK:
		wl_simple(op, WL_PEEK, w->thread);
		/* Another's, if there is one. */
		if (w->threads > 1)
			op->arg = (w->thread + 1 + wl_rand(w, w->threads - 1)) % w->threads;
		op->area = (enum wl_area)wl_rand(w, 2);
		op->page = wl_rand(w, WL_PAGES);
		op->count = 8;
		return;
	case WL_MIGRATE:
		wl_simple(op, WL_MIGRATE, wl_rand(w, WL_PAGES));
		return;
	case WL_KERNEL:
		wl_simple(op, WL_KERNEL, wl_rand(w, WL_KERNEL_SLOTS));
		return;
	case WL_SLEEP:
		wl_simple(op, WL_SLEEP, 50 + wl_rand(w, w->role == WL_WORKER ? 1500 : 400));
		return;
	case WL_YIELD:
		wl_simple(op, WL_YIELD, 0);
		return;
	case WL_COMPUTE:
		wl_simple(op, WL_COMPUTE, 1 + wl_rand(w, 8));
		return;
	case WL_FORK:
		wl_simple(op, WL_FORK, w->forked++);
		return;
	default:
		break;
	}
	if (wl_try(w, op, (enum wl_kind)kind, (enum wl_area)table->area))
		return;
	if (wl_try(w, op, WL_MAP, (enum wl_area)table->area))
		return;
	wl_try(w, op, WL_UNMAP, (enum wl_area)table->area);
}

static inline void wl_next(struct wl *w, struct wl_op *op)
{
	static const struct wl_weight worker[] = {
		{ 36, WL_MAP, WL_ANON },     { 64, WL_UNMAP, WL_ANON },
		{ 78, WL_PROTECT, WL_ANON }, { 86, WL_UNPROTECT, WL_ANON },
		{ 96, WL_REMAP, WL_ANON },   { 110, WL_WRITE, WL_ANON },
		{ 120, WL_MAP, WL_FILE },    { 128, WL_UNMAP, WL_FILE },
		{ 132, WL_REMAP, WL_FILE },  { 140, WL_WRITE, WL_FILE },
		{ 164, WL_PEEK, 0 },	     { 166, WL_MIGRATE, 0 },
		{ 168, WL_KERNEL, 0 },	     { 178, WL_COMPUTE, 0 },
		{ 194, WL_SLEEP, 0 },	     { 199, WL_YIELD, 0 },
		{ 200, WL_FORK, 0 },
	};
	static const struct wl_weight child[] = {
		{ 36, WL_MAP, WL_FILE },     { 64, WL_UNMAP, WL_FILE },
		{ 72, WL_PROTECT, WL_FILE }, { 78, WL_UNPROTECT, WL_FILE },
		{ 90, WL_REMAP, WL_FILE },   { 120, WL_WRITE, WL_FILE },
		{ 130, WL_MAP, WL_ANON },    { 138, WL_UNMAP, WL_ANON },
		{ 150, WL_WRITE, WL_ANON },  { 168, WL_PEEK, 0 },
		{ 172, WL_MIGRATE, 0 },	     { 174, WL_KERNEL, 0 },
		{ 184, WL_COMPUTE, 0 },	     { 192, WL_SLEEP, 0 },
		{ 200, WL_YIELD, 0 },
	};
	static const struct wl_weight parent[] = {
		{ 60, WL_MAP, WL_ANON },	{ 100, WL_UNMAP, WL_ANON },
		{ 150, WL_WRITE, WL_ANON },	{ 160, WL_PROTECT, WL_ANON },
		{ 170, WL_UNPROTECT, WL_ANON }, { 175, WL_REMAP, WL_ANON },
		{ 180, WL_MIGRATE, 0 },		{ 200, WL_PEEK, 0 },
	};

	if (w->role == WL_PARENT) {
		switch (w->turn++ % 6) {
		case 4:
			wl_simple(op, WL_FORK, w->forked++);
			return;
		case 5:
			w->left -= w->left ? 1 : 0;
			wl_simple(op, WL_WAIT, w->left ? 3 : 1);
			return;
		default:
			if (!w->left) {
				wl_simple(op, WL_EXIT, 0);
				return;
			}
			wl_draw(w, op, parent);
			return;
		}
	}
	if (!w->left) {
		/* A worker may have forked too. */
		wl_simple(op, w->turn++ ? WL_EXIT : WL_WAIT, 1);
		return;
	}
	w->left--;
	wl_draw(w, op, w->role == WL_CHILD ? child : worker);
}

#endif
