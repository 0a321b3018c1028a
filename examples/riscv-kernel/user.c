/* SPDX-License-Identifier: MIT */
/*
 * The workload, in U mode: does what workload.h draws and checks the stamp of every page that it
 * touches. Runs at another address than it is linked to and has no data of its own.
 */
#include "uapi.h"

/* Shared by the threads of a process. */
struct board {
	unsigned long seq[WL_THREADS][2]; /* odd while the area's owner changes it */
	unsigned long page[WL_THREADS][2][WL_PAGES]; /* 0: unmapped; its stamp; bit 1: RO */
};

_Static_assert(sizeof(struct board) <= PAGE_SIZE, "the board is one page");

#define READONLY 2UL /* in board.page: stamps have it cleared there */

/* Words of a page */
#define WORD_OWNER 1
#define WORD_PEER(t) (8 + (t))
#define WORD_FILE(id) (64 + (id) % 400)

struct result {
	unsigned long value;
	unsigned long fault;
};

struct result probe_load(unsigned long va);
struct result probe_store(unsigned long va, unsigned long value);
void user_main(unsigned int role, unsigned int id, unsigned int thread, unsigned int threads,
	       unsigned long seed, unsigned int left, unsigned int late);

__asm__(".section .user.entry, \"ax\"\n"
	"	.option push\n"
	"	.option norvc\n"
	"	.globl probe_load, probe_store\n"
	"probe_load:\n"
	"	ld	a0, 0(a0)\n"
	"	li	a1, 0\n"
	"	ret\n"
	"probe_store:\n"
	"	sd	a1, 0(a0)\n"
	"	li	a1, 0\n"
	"	ret\n"
	"	.option pop\n"
	"	.text\n");

struct self {
	struct wl wl;
	unsigned long id;
	unsigned long seed;
	unsigned long version;
	unsigned long wrote; /* pages of the file that bear this process's mark */
	unsigned long stale;
	unsigned long checks;
	unsigned long children;
	unsigned int late; /* what another thread unmapped may be there for a while */
};

static long sys(unsigned long nr, unsigned long arg0, unsigned long arg1, unsigned long arg2)
{
	register unsigned long a0 __asm__("a0") = arg0;
	register unsigned long a1 __asm__("a1") = arg1;
	register unsigned long a2 __asm__("a2") = arg2;
	register unsigned long a7 __asm__("a7") = nr;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
	return (long)a0;
}

#define must(call)                                                                                 \
	do {                                                                                       \
		if (call)                                                                          \
			sys(SYS_BUG, __LINE__, 0, 0);                                              \
	} while (0)

static struct board *board(void)
{
	return (struct board *)U_BOARD;
}

static unsigned long page_va(unsigned int t, unsigned int area, unsigned int page)
{
	return U_AREA(t, area) + page * PAGE_SIZE;
}

static unsigned long owner_mark(unsigned long stamp)
{
	return mix(stamp | READONLY | 1);
}

static unsigned long file_mark(unsigned long page, unsigned long id)
{
	return mix(1UL << 40 | page << 20 | id);
}

static void wrong(struct self *s)
{
	s->stale++;
}

/*
 * Reads a page as `thread` of the same process left it, and writes to it. What is seen counts only
 * if the owner changed nothing meanwhile; for the owner itself it always does.
 */
static void check(struct self *s, unsigned int thread, unsigned int area, unsigned int page)
{
	struct board *b = board();
	unsigned long *seqp = &b->seq[thread][area];
	unsigned long seq = __atomic_load_n(seqp, __ATOMIC_ACQUIRE);
	unsigned long state = __atomic_load_n(&b->page[thread][area][page], __ATOMIC_RELAXED);
	unsigned long va = page_va(thread, area, page), stamp = state & ~READONLY;
	struct result word, mark, store = { 0, 0 };
	unsigned int me = s->wl.thread;

	if (seq & 1)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	word = probe_load(va);
	mark = probe_load(va + 8 * WORD_OWNER);
	/* The same value for any page: it may by now be another than that of `stamp`. */
	if (area == WL_ANON)
		store = probe_store(va + 8 * WORD_PEER(me), me + 1);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(seqp, __ATOMIC_RELAXED) != seq)
		return;
	s->checks++;
	if (!state) {
		if (s->late && thread != me)
			return;
		if (!word.fault || !mark.fault || (area == WL_ANON && !store.fault))
			wrong(s);
		return;
	}
	if (word.fault || mark.fault || (word.value & ~READONLY) != stamp)
		wrong(s);
	else if (area == WL_ANON && mark.value && mark.value != owner_mark(stamp))
		wrong(s);
	else if (area == WL_ANON && store.fault != !!(state & READONLY))
		wrong(s);
}

static void change_begin(struct self *s, unsigned int area)
{
	unsigned long *seqp = &board()->seq[s->wl.thread][area];

	__atomic_store_n(seqp, *seqp + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void change_end(struct self *s, unsigned int area)
{
	unsigned long *seqp = &board()->seq[s->wl.thread][area];

	__atomic_store_n(seqp, *seqp + 1, __ATOMIC_RELEASE);
}

static unsigned long *state_of(struct self *s, unsigned int area, unsigned int page)
{
	return &board()->page[s->wl.thread][area][page];
}

static void set_state(unsigned long *p, unsigned long state)
{
	__atomic_store_n(p, state, __ATOMIC_RELAXED);
}

/* Writes the owner's mark, or in the file the mark of this process, and reads it back. */
static void write_page(struct self *s, unsigned int area, unsigned int page)
{
	unsigned long va = page_va(s->wl.thread, area, page), word, value, n;
	struct result r;

	if (area == WL_ANON) {
		word = WORD_OWNER;
		value = owner_mark(*state_of(s, area, page) & ~READONLY);
	} else {
		n = s->wl.file_page[page];
		word = WORD_FILE(s->id);
		value = file_mark(n, s->id % 400);
		r = probe_load(va + 8 * word);
		s->checks++;
		/* A store that went to a frame given up before is missing. */
		if (r.fault || (r.value && r.value != value) || (!r.value && (s->wrote >> n) & 1))
			wrong(s);
		s->wrote |= 1UL << n;
	}
	r = probe_store(va + 8 * word, value);
	if (r.fault)
		wrong(s);
	r = probe_load(va + 8 * word);
	s->checks++;
	if (r.fault || r.value != value)
		wrong(s);
}

static void do_map(struct self *s, const struct wl_op *op)
{
	unsigned long va = page_va(s->wl.thread, op->area, op->page), base, i;

	change_begin(s, op->area);
	if (op->area == WL_ANON) {
		base = mix(mix(s->seed ^ s->id << 8 ^ s->wl.thread) + ++s->version);
		must(sys(SYS_MAP, va, op->count, base));
		for (i = 0; i < op->count; i++)
			set_state(state_of(s, WL_ANON, op->page + i),
				  anon_stamp(base, i) & ~READONLY);
	} else {
		must(sys(SYS_FILE_MAP, va, op->count, op->arg));
		for (i = 0; i < op->count; i++)
			set_state(state_of(s, WL_FILE, op->page + i),
				  file_stamp(op->arg + i) & ~READONLY);
	}
	change_end(s, op->area);
}

static void do_unmap(struct self *s, const struct wl_op *op)
{
	unsigned int i;

	change_begin(s, op->area);
	must(sys(SYS_UNMAP, page_va(s->wl.thread, op->area, op->page), op->count, 0));
	for (i = 0; i < op->count; i++)
		set_state(state_of(s, op->area, op->page + i), 0);
	change_end(s, op->area);
}

static void do_protect(struct self *s, const struct wl_op *op, unsigned int write)
{
	unsigned long *p;
	unsigned int i;

	change_begin(s, op->area);
	must(sys(SYS_PROTECT, page_va(s->wl.thread, op->area, op->page), op->count, write));
	for (i = 0; i < op->count; i++) {
		p = state_of(s, op->area, op->page + i);
		set_state(p, write ? *p & ~READONLY : *p | READONLY);
	}
	change_end(s, op->area);
}

static void do_remap(struct self *s, const struct wl_op *op)
{
	unsigned int t = s->wl.thread, i;

	change_begin(s, op->area);
	must(sys(SYS_REMAP, page_va(t, op->area, op->page), op->count,
		 page_va(t, op->area, op->arg)));
	for (i = 0; i < op->count; i++) {
		set_state(state_of(s, op->area, op->arg + i), *state_of(s, op->area, op->page + i));
		set_state(state_of(s, op->area, op->page + i), 0);
	}
	change_end(s, op->area);
}

static void do_compute(struct self *s, unsigned int rounds)
{
	unsigned int i, area;

	while (rounds--)
		for (area = 0; area < 2; area++)
			for (i = 0; i < WL_PAGES; i += 4)
				check(s, s->wl.thread, area, i + rounds % 4);
}

#define CHILD_OPS 40
#define PEEK_ROUNDS 48

static void do_fork(struct self *s, unsigned int number)
{
	if (sys(SYS_FORK, 0, 0, 0))
		return;
	/* The child: has everything mapped that the thread had which forked. */
	s->id = s->id * 1009 + number + 101;
	s->stale = 0;
	s->checks = 0;
	s->wrote = 0;
	wl_restart(&s->wl, WL_CHILD, s->seed, (unsigned int)s->id, CHILD_OPS);
}

static void after(struct self *s, const struct wl_op *op)
{
	unsigned int i;

	for (i = 0; i < op->count; i++)
		check(s, s->wl.thread, op->area, op->page + i);
}

void user_main(unsigned int role, unsigned int id, unsigned int thread, unsigned int threads,
	       unsigned long seed, unsigned int left, unsigned int late)
{
	struct self s;
	struct wl_op op;
	unsigned int i;

	s.id = id;
	s.seed = seed;
	s.late = late;
	s.version = s.wrote = s.stale = s.checks = 0;
	wl_start(&s.wl, (enum wl_role)role, seed, id * WL_THREADS + thread, thread, threads, left);
	for (;;) {
		wl_next(&s.wl, &op);
		switch (op.kind) {
		case WL_MAP:
			do_map(&s, &op);
			break;
		case WL_UNMAP:
			do_unmap(&s, &op);
			break;
		case WL_PROTECT:
			do_protect(&s, &op, 0);
			break;
		case WL_UNPROTECT:
			do_protect(&s, &op, 1);
			break;
		case WL_REMAP:
			do_remap(&s, &op);
			break;
		case WL_WRITE:
			for (i = 0; i < op.count; i++)
				write_page(&s, op.area, op.page + i);
			break;
		case WL_PEEK:
			/* Again and again: what is cached here is to meet a change over there. */
			for (i = 0; i < op.count * (s.wl.threads > 1 ? PEEK_ROUNDS : 1); i++)
				check(&s, op.arg, op.area, (op.page + i % op.count) % WL_PAGES);
			continue;
		case WL_MIGRATE:
			must(sys(SYS_MIGRATE, op.arg, 0, 0));
			break;
		case WL_KERNEL:
			must(sys(SYS_KERNEL, op.arg, 0, 0));
			break;
		case WL_FORK:
			do_fork(&s, op.arg);
			break;
		case WL_WAIT:
			sys(SYS_WAIT, op.arg, 0, 0);
			break;
		case WL_SLEEP:
			sys(SYS_SLEEP, op.arg, 0, 0);
			break;
		case WL_YIELD:
			sys(SYS_YIELD, 0, 0, 0);
			break;
		case WL_COMPUTE:
			do_compute(&s, op.arg);
			break;
		case WL_EXIT:
			sys(SYS_EXIT, s.stale, s.checks, 0);
			break;
		}
		after(&s, &op);
	}
}
