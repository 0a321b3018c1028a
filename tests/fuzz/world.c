/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "coro.h"

#define PAGE (1ul << FLUSHQ_PAGE_SHIFT)
/* More pages than are flushed one by one. */
#define EVERY (FLUSHQ_PAGES_MAX + 1)
#define NR_FRAMES 4096
#define NR_TABLES 256
#define NR_CHANGES 16
#define STACK (128 * 1024)
/* Turns after which who waits will wait for ever. */
#ifndef WORLD_TURNS
#define WORLD_TURNS (3 * FLUSHQ_PATIENCE)
#endif

enum { PARKED, LOADED, LAZY };

struct space {
	struct flushq_mm mm; /* of a host with its own ASIDs: the set alone */
	flushq_asid asid; /* the host's */
	unsigned int life; /* whose its frames and tables are; never twice the same */
	unsigned int table; /* 0: none */
	bool freeing; /* a table was unlinked, its shootdown has not returned: no new one */
	int users; /* CPUs that run or change it; -1: nobody may */
	bool pinned;
	unsigned int pins; /* how often it was pinned or unpinned */
};

/* What was taken out, until it may be freed. */
struct change {
	enum { UNUSED, TICKET, POSTED } kind;
	bool busy;
	unsigned int space, life, table, nr, frame[NR_PAGES];
	struct flushq_ticket ticket;
	unsigned long asked; /* CPUs that have yet to answer */
	unsigned int answer[NR_CPUS];
};

struct cpu {
	struct coro co;
	unsigned int id;
	/* What it does. */
	enum world_state state;
	enum world_op op;
	struct world_args args;
	unsigned int budget, steps;
	bool frozen, serves; /* stopped for ever; but for interrupts */
	bool excused; /* waits for one that is */
	const struct flushq_range *request;
	/* Interrupts. */
	unsigned int signals, late, irqs_off, asked, answered;
	bool handling, in_nmi;
	/* The host's view: of what it runs it is a user. */
	unsigned int mode, space;
	/* The hardware. */
	bool on, comes, user;
	unsigned int root; /* space + 1 */
	unsigned int life; /* of that root */
	flushq_asid asid;
	unsigned short leaf[NR_ASIDS][NR_PAGES], kernel[NR_PAGES];
	unsigned char table[NR_ASIDS];
	/* What its walks may still find, as nothing but a flush orders them: the oldest there was. */
	unsigned short old_leaf[NR_ASIDS][NR_SPACES][NR_PAGES], old_kernel[NR_PAGES];
	unsigned char old_table[NR_ASIDS][NR_SPACES];
};

struct flushq world_fq;
struct flushq_asids world_asids;
static struct flushq_cpu fq_cpus[NR_CPUS];
static struct cpu cpus[NR_CPUS], *now; /* NULL: the scheduler */
static unsigned char stacks[NR_CPUS][STACK] __attribute__((aligned(64)));
static struct coro scheduler;
static struct world_config config;
static struct space spaces[NR_SPACES];
static struct change changes[NR_CHANGES];
static struct {
	unsigned short life;
	bool freed;
} frames[NR_FRAMES];
static struct {
	unsigned short frame[NR_PAGES];
	bool freed;
} tables[NR_TABLES];
static unsigned int nr_frames, nr_tables, nr_lives;
static unsigned short kernel[NR_PAGES];

/* The hardware. */

/* Interrupts and the firmware's fences reach it. */
static bool is_up(const struct cpu *c)
{
	return c->on || c->comes;
}

static void check_use(const struct cpu *c)
{
	unsigned int page, frame;

	for (page = 0; c->on && page < NR_PAGES; page++)
		if (frames[c->kernel[page]].freed)
			world_fail("a kernel page is used after it was freed");
	for (page = 0; c->user && page < NR_PAGES; page++) {
		frame = c->leaf[c->asid][page];
		if (frame && frames[frame].freed)
			world_fail("a page is used after it was freed");
		if (frame && frames[frame].life != c->life)
			world_fail("another address space's page is used");
	}
}

static void old_leaf(unsigned int space, unsigned int page, unsigned int frame)
{
	unsigned int i, asid;

	for (i = 0; i < NR_CPUS; i++)
		for (asid = 0; asid < NR_ASIDS; asid++)
			if (!cpus[i].old_leaf[asid][space][page])
				cpus[i].old_leaf[asid][space][page] = (unsigned short)frame;
}

static void old_table(unsigned int space, unsigned int table)
{
	unsigned int i, asid;

	for (i = 0; i < NR_CPUS; i++)
		for (asid = 0; asid < NR_ASIDS; asid++)
			if (!cpus[i].old_table[asid][space])
				cpus[i].old_table[asid][space] = (unsigned char)table;
}

static void old_kernel(unsigned int page, unsigned int frame)
{
	unsigned int i;

	for (i = 0; i < NR_CPUS; i++)
		if (!cpus[i].old_kernel[page])
			cpus[i].old_kernel[page] = (unsigned short)frame;
}

static void check_tables(const struct cpu *c)
{
	if (!c->root)
		return;
	if (spaces[c->root - 1].life != c->life)
		world_fail("a root that was freed may be walked");
	if (tables[c->table[c->asid]].freed)
		world_fail("a table that was freed may be walked");
}

/* All that the hardware may do at this moment. */
static void fill(struct cpu *c)
{
	unsigned short *leaf = c->leaf[c->asid];
	unsigned char *table = &c->table[c->asid];
	unsigned int page;

	for (page = 0; c->on && page < NR_PAGES; page++)
		if (!c->kernel[page])
			c->kernel[page] = c->old_kernel[page] ? c->old_kernel[page] : kernel[page];
	if (c->root) {
		if (!*table)
			*table = c->old_table[c->asid][c->root - 1];
		check_tables(c);
		if (!*table)
			*table = (unsigned char)spaces[c->root - 1].table;
		for (page = 0; *table && page < NR_PAGES; page++) {
			if (!leaf[page])
				leaf[page] = c->old_leaf[c->asid][c->root - 1][page];
			if (!leaf[page])
				leaf[page] = tables[*table].frame[page];
		}
	}
	check_use(c);
}

static void fill_all(void)
{
	unsigned int i;

	for (i = 0; i < config.cpus; i++)
		fill(&cpus[i]);
}

static void check_all(void)
{
	unsigned int i;

	for (i = 0; i < config.cpus; i++) {
		check_tables(&cpus[i]);
		check_use(&cpus[i]);
	}
}

static void hw_flush(struct cpu *c, const struct flushq_range *range)
{
	unsigned int asid, space, i;

	for (asid = 0; asid < NR_ASIDS; asid++) {
		if (range->kind != FLUSHQ_GLOBAL && range->asid != asid)
			continue;
		if (range->pages == 0 || range->kind == FLUSHQ_TABLES) {
			c->table[asid] = 0;
			memset(c->old_table[asid], 0, sizeof(c->old_table[asid]));
		}
		if (range->pages == 0) {
			memset(c->leaf[asid], 0, sizeof(c->leaf[asid]));
			memset(c->old_leaf[asid], 0, sizeof(c->old_leaf[asid]));
		}
	}
	if (range->pages == 0 && range->kind == FLUSHQ_GLOBAL) {
		memset(c->kernel, 0, sizeof(c->kernel));
		memset(c->old_kernel, 0, sizeof(c->old_kernel));
	}
	/* One page of each stride: a large stride's other pages stay. */
	for (i = 0; i < range->pages; i++) {
		unsigned long page = (range->start >> FLUSHQ_PAGE_SHIFT) +
				     ((unsigned long)i << (range->shift - FLUSHQ_PAGE_SHIFT));

		if (page >= NR_PAGES)
			break;
		for (asid = 0; asid < NR_ASIDS; asid++) {
			if (range->kind != FLUSHQ_GLOBAL && range->asid != asid)
				continue;
			c->leaf[asid][page] = 0;
			for (space = 0; space < NR_SPACES; space++)
				c->old_leaf[asid][space][page] = 0;
		}
		if (range->kind == FLUSHQ_GLOBAL)
			c->kernel[page] = c->old_kernel[page] = 0;
	}
	fill(c);
}

static unsigned short new_frame(unsigned int life)
{
	if (nr_frames + 1 >= NR_FRAMES)
		return 0;
	frames[++nr_frames].freed = false;
	frames[nr_frames].life = (unsigned short)life;
	return (unsigned short)nr_frames;
}

/* Coroutines. */

static void pause_here(enum world_state state)
{
	struct cpu *c = now;

	c->state = state;
	coro_switch(&c->co, &scheduler);
}

static void storm(struct cpu *c);

static void handle(struct cpu *c)
{
	unsigned int signals = c->signals, asked = c->asked;

	c->signals = 0;
	if (signals & SIGNAL_STORM)
		storm(c);
	if (signals & SIGNAL_TICK)
		flushq_tick(&world_fq, c->id);
	if (signals & SIGNAL_IPI) {
		flushq_drain(&world_fq, c->id);
		c->answered = asked;
	}
}

static void nmi(struct cpu *c)
{
	unsigned long mask[FLUSHQ_CPUSET_WORDS(NR_CPUS)];
	struct flushq_range range = flushq_range_make(1, 0, PAGE, PAGE, FLUSHQ_LEAF);

	if (c->steps % 2)
		flushq_tick(&world_fq, c->id);
	else
		flushq_drain(&world_fq, c->id);
	/* Nobody needs it, so nobody has to be interrupted. */
	(void)flushq_post(&world_fq, c->id, spaces[1].mm.cpus, &range, mask);
}

static void take_interrupts(struct cpu *c)
{
	unsigned int budget = c->budget;

	if (!c->on || (c->frozen && !c->serves))
		return;
	/* It is the call that is stopped, not what interrupts it. */
	if (c->frozen)
		c->budget = FOREVER;
	if (c->signals & SIGNAL_NMI && !c->in_nmi) {
		c->signals &= ~(unsigned int)SIGNAL_NMI;
		c->in_nmi = true;
		nmi(c);
		c->in_nmi = false;
	}
	while (c->signals & ~(unsigned int)SIGNAL_NMI && !c->irqs_off && !c->in_nmi) {
		if (c->late) {
			c->late--;
			break;
		}
		c->irqs_off++;
		handle(c);
		c->irqs_off--;
	}
	if (c->frozen)
		c->budget = budget;
}

static void step(void)
{
	struct cpu *c = now;

	if (!c)
		return;
	take_interrupts(c);
	while (c->budget == 0) {
		pause_here(STOPPED);
		take_interrupts(c);
	}
	if (c->budget != FOREVER)
		c->budget--;
	c->steps++;
}

void test_step(unsigned int kind, const volatile void *p)
{
	(void)kind;
	(void)p;
	step();
}

/* flushq's hooks. */

void flushq_host_flush(const struct flushq_range *range)
{
	step();
	hw_flush(now, range);
	step();
}

unsigned long flushq_host_irq_save(void)
{
	return now->irqs_off++;
}

void flushq_host_irq_restore(unsigned long flags)
{
	now->irqs_off = (unsigned int)flags;
	step();
}

bool flushq_host_irqs_off(void)
{
	return now->irqs_off || now->in_nmi;
}

void flushq_host_relax(void)
{
	step();
	pause_here(WAITING);
}

static void interrupt(unsigned long mask)
{
	unsigned int i;

	for (i = 0; i < config.cpus; i++)
		if (mask >> i & 1 && is_up(&cpus[i])) {
			cpus[i].signals |= SIGNAL_IPI;
			cpus[i].asked++;
		}
}

void flushq_host_interrupt(const unsigned long *mask, unsigned int words)
{
	(void)words;
	interrupt(mask[0]);
	step();
}

/* Address spaces. */

static bool get(struct space *s)
{
	if (s->users < 0)
		return false;
	s->users++;
	return true;
}

static void put(struct space *s)
{
	s->users--;
}

static void map_all(struct space *s)
{
	unsigned int page;

	if (!s->table && !s->freeing && nr_tables + 1 < NR_TABLES) {
		s->table = ++nr_tables;
		memset(&tables[nr_tables], 0, sizeof(tables[nr_tables]));
	}
	for (page = 0; s->table && page < NR_PAGES; page++)
		if (!tables[s->table].frame[page])
			tables[s->table].frame[page] = new_frame(s->life);
	fill_all();
}

static void birth(struct space *s, bool log)
{
	struct flushq_log *memory = NULL;

	if (log && config.numbers) {
		memory = aligned_alloc(FLUSHQ_CACHE_LINE, sizeof(*memory));
		if (!memory)
			abort();
		memset(memory, 0, sizeof(*memory));
	}
	s->life = ++nr_lives;
	s->table = 0;
	s->freeing = false;
	flushq_mm_init(&s->mm, memory);
	map_all(s);
}

static struct flushq_range range_of(const struct space *s, unsigned int page, unsigned int pages,
				    enum flushq_kind kind)
{
	if (config.numbers)
		return flushq_mm_range(&world_fq, &s->mm, page * PAGE, pages * PAGE, PAGE, kind);
	return flushq_range_make(s->asid, page * PAGE, pages * PAGE, PAGE, kind);
}

/* Changes. */

static struct change *change_new(void)
{
	unsigned int i;

	for (i = 0; i < NR_CHANGES; i++)
		if (changes[i].kind == UNUSED && !changes[i].busy) {
			changes[i].busy = true;
			return &changes[i];
		}
	return NULL;
}

static void take_out(struct change *ch, unsigned short *pte)
{
	if (*pte)
		ch->frame[ch->nr++] = *pte;
}

/* Nobody can use it any more: that is what the calls have promised. */
static void retire(struct change *ch)
{
	unsigned int i;

	for (i = 0; i < ch->nr; i++)
		frames[ch->frame[i]].freed = true;
	if (ch->table) {
		tables[ch->table].freed = true;
		if (spaces[ch->space].life == ch->life)
			spaces[ch->space].freeing = false;
	}
	ch->kind = UNUSED;
	ch->busy = false;
	check_all();
}

/* Whether it may be retired. */
static bool is_done(struct change *ch)
{
	unsigned int i;

	if (ch->kind == TICKET)
		return flushq_ticket_done(&world_fq, &ch->ticket);
	for (i = 0; i < config.cpus; i++)
		if (ch->asked >> i & 1 && is_up(&cpus[i]) &&
		    (int)(cpus[i].answered - ch->answer[i]) < 0)
			return false;
	return true;
}

static void poll(bool wait)
{
	unsigned int i;

	for (i = 0; i < NR_CHANGES; i++) {
		struct change *ch = &changes[i];

		if (ch->kind == UNUSED || ch->busy)
			continue;
		ch->busy = true;
		if (wait && ch->kind == TICKET) {
			now->request = &ch->ticket.range;
			flushq_ticket_wait(&world_fq, now->id, &ch->ticket);
			now->request = NULL;
		}
		if (is_done(ch))
			retire(ch);
		else
			ch->busy = false;
	}
}

static unsigned int post(struct cpu *c, struct space *s, struct flushq_range *range, bool fenced,
			 unsigned long *mask)
{
	flushq_atomic_ulong *set = s ? s->mm.cpus : NULL;

	if (s && config.numbers)
		return flushq_mm_post(&world_fq, c->id, &s->mm, range, mask);
	if (fenced)
		return flushq_post_fenced(&world_fq, c->id, set, range, mask);
	return flushq_post(&world_fq, c->id, set, range, mask);
}

/* Asks; whether it is done with already. `s` NULL: a kernel range. */
static bool ask(struct cpu *c, struct space *s, struct flushq_range *range, enum world_how how,
		struct change *ch)
{
	flushq_atomic_ulong *set = s ? s->mm.cpus : NULL;
	unsigned long mask[FLUSHQ_CPUSET_WORDS(NR_CPUS)] = { 0 };
	bool fenced = how == HOW_FENCED && !config.numbers;
	unsigned int i, n;

	switch (how) {
	case HOW_TICKET:
		ch->kind = TICKET;
		if (s && config.numbers)
			return flushq_mm_ticket_take(&world_fq, c->id, &s->mm, range, &ch->ticket);
		return flushq_ticket_take(&world_fq, c->id, set, range, &ch->ticket);
	case HOW_POST:
	case HOW_FENCED:
		n = post(c, s, range, fenced, mask);
		if (!n)
			return true;
		if (range->kind == FLUSHQ_TABLES)
			*range = flushq_range_whole(range->asid, FLUSHQ_TABLES);
		/* Firmware does it, whether their interrupts are off or not. */
		for (i = 0; fenced && i < config.cpus; i++)
			if (mask[0] >> i & 1 && is_up(&cpus[i]))
				hw_flush(&cpus[i], range);
		if (fenced)
			return true;
		interrupt(mask[0]);
		ch->kind = POSTED;
		ch->asked = mask[0];
		for (i = 0; i < config.cpus; i++)
			ch->answer[i] = cpus[i].asked;
		return false;
	default:
		c->irqs_off += how == HOW_IRQS_OFF;
		if (s && config.numbers)
			flushq_mm_shootdown(&world_fq, c->id, &s->mm, range);
		else
			flushq_shootdown(&world_fq, c->id, set, range);
		c->irqs_off -= how == HOW_IRQS_OFF;
		return true;
	}
}

static void shoot(struct cpu *c, struct space *s, struct flushq_range range, enum world_how how,
		  struct change *ch)
{
	const struct flushq_range *outer = c->request;

	step();
#ifdef WORLD_EARLY
	retire(ch);
	ch->nr = ch->table = 0;
	ch->busy = true;
#endif
	/* Brought up to date where the address space gets another ASID. */
	c->request = &range;
	if (ask(c, s, &range, how, ch))
		retire(ch);
	else
		ch->busy = false;
	c->request = outer;
}

static void change_begin(struct change *ch, const struct space *s)
{
	ch->nr = ch->table = 0;
	ch->space = s ? (unsigned int)(s - spaces) : 0;
	ch->life = s ? s->life : 0;
}

static void unmap(struct cpu *c, const struct world_args *args)
{
	struct space *s = &spaces[args->space];
	struct change *ch;
	unsigned int page;

	if (!get(s))
		return;
	ch = change_new();
	if (ch) {
		change_begin(ch, s);
		for (page = args->page; s->table && page < args->page + args->pages; page++) {
			unsigned short *pte = &tables[s->table].frame[page % NR_PAGES];

			take_out(ch, pte);
			old_leaf(args->space, page % NR_PAGES, *pte);
			*pte = args->replace ? new_frame(s->life) : 0;
		}
		fill_all();
		/* Past the last page it is every page. */
		shoot(c, s,
		      args->page + args->pages > NR_PAGES
			      ? range_of(s, 0, EVERY, FLUSHQ_LEAF)
			      : range_of(s, args->page, args->pages, FLUSHQ_LEAF),
		      args->how, ch);
	}
	put(s);
}

static void free_table(struct cpu *c, const struct world_args *args)
{
	struct space *s = &spaces[args->space];
	struct change *ch;
	unsigned int page;

	if (!get(s))
		return;
	ch = s->table && !s->freeing ? change_new() : NULL;
	if (ch) {
		change_begin(ch, s);
		for (page = 0; page < NR_PAGES; page++)
			take_out(ch, &tables[s->table].frame[page]);
		ch->table = s->table;
		old_table(args->space, s->table);
		s->table = 0;
		s->freeing = true;
		shoot(c, s, range_of(s, 0, args->replace ? EVERY : NR_PAGES, FLUSHQ_TABLES),
		      args->how, ch);
	}
	put(s);
}

static void change_kernel(struct cpu *c, const struct world_args *args)
{
	struct change *ch = change_new();
	unsigned int page = args->page;
	struct space *s = &spaces[args->space];
	bool through;

	if (!ch)
		return;
	/* Who asks may run an address space, and ask through it. */
	through = get(s);
	change_begin(ch, NULL);
	take_out(ch, &kernel[page]);
	old_kernel(page, kernel[page]);
	kernel[page] = new_frame(0);
	/* A page that can't be had is never mapped again. */
	fill_all();
	shoot(c, through ? s : NULL,
	      flushq_range_make(0, page * PAGE, (args->replace ? EVERY : 1) * PAGE, PAGE,
				FLUSHQ_GLOBAL),
	      args->how, ch);
	if (through)
		put(s);
}

static void useless(struct cpu *c, const struct world_args *args)
{
	unsigned long mask[FLUSHQ_CPUSET_WORDS(NR_CPUS)] = { 0 };
	struct space *s = &spaces[args->space];
	struct flushq_range range;

	if (!get(s))
		return;
	range = range_of(s, args->page, args->pages, args->replace ? FLUSHQ_TABLES : FLUSHQ_LEAF);
	/* Of a large page, perhaps. */
	if (args->how == HOW_IRQS_OFF && range.pages)
		range = flushq_range_make(range.asid, range.start, range.pages * PAGE, 2 * PAGE,
					  (enum flushq_kind)range.kind);
	if (post(c, s, &range, args->how == HOW_FENCED, mask))
		interrupt(mask[0]);
	put(s);
}

static void die(struct cpu *c, const struct world_args *args)
{
	struct space *s = &spaces[args->space];
	bool loaded = false;
	unsigned int i, page;

	(void)c;
	if (s->users != 0)
		return;
	s->users = -1;
	if (s->pinned)
		flushq_asid_unpin(&world_asids, &s->mm.id);
	s->pinned = false;
	s->pins++;
	if (config.numbers)
		loaded = flushq_mm_loaded(&world_fq, &s->mm);
	for (i = 0; i < config.cpus && !config.numbers; i++)
		loaded |= cpus[i].root == args->space + 1;
	if (!loaded) {
		/* The old root is dead for who still has it. */
		for (page = 0; s->table && page < NR_PAGES; page++)
			if (tables[s->table].frame[page])
				frames[tables[s->table].frame[page]].freed = true;
		if (s->table) {
			tables[s->table].freed = true;
			old_table(args->space, s->table);
		}
		s->life = 0;
		check_all();
		free(s->mm.log);
		birth(s, args->replace);
	}
	s->users = 0;
}

/* A host's own ASIDs: no CPU has it in its register, so it gets another, or an old one, behind a flush of
 * everything. */
static void renumber(struct cpu *c, const struct world_args *args)
{
	struct flushq_range all = flushq_range_whole(0, FLUSHQ_GLOBAL);
	/* One more than there are address spaces: an old one comes back soon. */
	flushq_asid asid = 1 + (args->page + args->pages) % (NR_SPACES + 1);
	struct space *s = &spaces[args->space];
	const struct flushq_range *outer;
	unsigned int i;

	for (i = 0; i < config.cpus; i++)
		if (cpus[i].root == args->space + 1)
			return;
	if (s->users != 0)
		return;
	s->users = -1;
	outer = c->request;
	c->request = &all;
	flushq_shootdown(&world_fq, c->id, NULL, &all);
	c->request = outer;
	for (i = 0; i < NR_SPACES && spaces[i].asid != asid; i++)
		;
	if (i == NR_SPACES)
		s->asid = asid;
	s->users = 0;
}

static void pin(struct cpu *c, const struct world_args *args)
{
	struct space *s = &spaces[args->space];

	if (!config.numbers) {
		renumber(c, args);
		return;
	}
	if (!get(s))
		return;
	s->pins++;
	if (s->pinned) {
		s->pinned = false;
		flushq_asid_unpin(&world_asids, &s->mm.id);
	} else {
		s->pinned = flushq_asid_pin(&world_asids, &s->mm.id);
	}
	s->pins++;
	put(s);
}

/* Switching. */

static void load(struct cpu *c, unsigned int root, flushq_asid asid)
{
	step();
	c->root = root;
	c->asid = asid;
	c->life = root ? spaces[root - 1].life : 0;
	fill(c);
	step();
}

static void leave(struct cpu *c)
{
	if (c->mode == LOADED)
		put(&spaces[c->space]);
	c->mode = PARKED;
}

static flushq_asid begin_switch(struct cpu *c, struct space *s)
{
	if (config.numbers)
		return flushq_mm_switch_to(&world_fq, c->id, &s->mm);
	flushq_switch_to(&world_fq, c->id, s->asid, s->mm.cpus);
	return s->asid;
}

/* Switches that are given up: the register is never written. Between them interrupts may come. */
static void give_up(struct cpu *c, const struct world_args *args)
{
	unsigned int i, n = args->pages % 2 ? args->page : 0;

	for (i = 0; i < n; i++) {
		struct space *s = &spaces[(args->space + 1 + i * (1 + args->how % 2)) % NR_SPACES];

		if (!get(s))
			continue;
		(void)begin_switch(c, s);
		put(s);
		if (args->pages & 2) {
			c->irqs_off--;
			step();
			step();
			c->irqs_off++;
		}
	}
}

static void switch_to(struct cpu *c, const struct world_args *args)
{
	unsigned int space = args->space;
	struct space *s = &spaces[space];
	unsigned int pins = s->pins;
	flushq_asid asid, before;
	bool pinned = s->pinned;

	if (!get(s))
		return;
	before = config.numbers ? flushq_asid_number(&world_asids, s->mm.id) : 0;
	c->irqs_off++;
	c->user = false;
	give_up(c, args);
	asid = begin_switch(c, s);
	load(c, space + 1, asid);
	if (config.numbers || !args->replace)
		flushq_switched(&world_fq, c->id);
	if (pinned && s->pinned && pins == s->pins && asid != before)
		world_fail("a pinned ASID changed");
	leave(c);
	c->mode = LOADED;
	c->space = space;
	c->user = true;
	check_use(c);
	c->irqs_off--;
	step();
}

static void park(struct cpu *c)
{
	c->irqs_off++;
	c->user = false;
	give_up(c, &c->args);
	load(c, 0, 0);
	flushq_park(&world_fq, c->id);
	leave(c);
	c->irqs_off--;
	step();
}

static void lazy(struct cpu *c)
{
	if (c->mode == PARKED || (c->mode == LAZY && !get(&spaces[c->space])))
		return;
	c->irqs_off++;
	c->user = false;
	if (c->mode == LOADED) {
		flushq_enter_lazy(&world_fq, c->id);
		leave(c);
		c->mode = LAZY;
	} else {
		flushq_leave_lazy(&world_fq, c->id);
		c->mode = LOADED;
		c->user = true;
		check_use(c);
	}
	c->irqs_off--;
	step();
}

/* Off, it keeps what it holds, and no flush reaches it. */
static void power(struct cpu *c)
{
	unsigned short was[NR_ASIDS][NR_PAGES], kernel_was[NR_PAGES];
	unsigned char table_was[NR_ASIDS];

	if (!c->on) {
		c->irqs_off++;
		c->comes = true;
		flushq_online(&world_fq, c->id);
		c->on = true;
		c->comes = false;
		fill(c);
		c->irqs_off--;
		step();
		return;
	}
	if (c->mode != PARKED)
		park(c);
	memcpy(was, c->leaf, sizeof(was));
	memcpy(kernel_was, c->kernel, sizeof(kernel_was));
	memcpy(table_was, c->table, sizeof(table_was));
	c->irqs_off++;
	c->on = false;
	c->signals = 0;
	c->answered = c->asked;
	flushq_offline(&world_fq, c->id);
	memcpy(c->leaf, was, sizeof(was));
	memcpy(c->kernel, kernel_was, sizeof(kernel_was));
	memcpy(c->table, table_was, sizeof(table_was));
	c->irqs_off--;
}

static void storm(struct cpu *c)
{
	struct world_args args = c->args;

	args.replace = true;
	args.pages = 1;
	unmap(c, &args);
}

static void act(struct cpu *c)
{
	if (!c->on && c->op != OP_POWER)
		return;
	switch (c->op) {
	case OP_SWITCH:
		switch_to(c, &c->args);
		break;
	case OP_PARK:
		park(c);
		break;
	case OP_LAZY:
		lazy(c);
		break;
	case OP_UNMAP:
		unmap(c, &c->args);
		break;
	case OP_TABLE:
		free_table(c, &c->args);
		break;
	case OP_KERNEL:
		change_kernel(c, &c->args);
		break;
	case OP_MAP:
		if (get(&spaces[c->args.space])) {
			map_all(&spaces[c->args.space]);
			put(&spaces[c->args.space]);
		}
		break;
	case OP_POST:
		useless(c, &c->args);
		break;
	case OP_DRAIN:
		flushq_drain(&world_fq, c->id);
		break;
	case OP_TICK:
		flushq_tick(&world_fq, c->id);
		break;
	case OP_POWER:
		power(c);
		break;
	case OP_DIE:
		die(c, &c->args);
		break;
	case OP_PIN:
		pin(c, &c->args);
		break;
	case OP_POLL:
		poll(false);
		break;
	case OP_WAIT:
		poll(true);
		break;
	case NR_OPS:
		break;
	}
}

static void cpu_main(void *arg)
{
	struct cpu *c = arg;

	for (;;) {
		take_interrupts(c);
		if (c->op != NR_OPS) {
			act(c);
			c->op = NR_OPS;
		}
		pause_here(IDLE);
	}
}

/* The scheduler. */

enum world_state world_state(unsigned int cpu)
{
	return cpus[cpu].state;
}

void world_give(unsigned int cpu, enum world_op op, const struct world_args *args)
{
	struct cpu *c = &cpus[cpu];

	if (c->state != IDLE)
		abort();
	c->op = op;
	c->args = *args;
	c->steps = 0;
}

enum world_state world_go(unsigned int cpu, unsigned int steps)
{
	struct cpu *c = &cpus[cpu];

	c->budget = c->frozen ? 0 : steps;
	now = c;
	coro_switch(&scheduler, &c->co);
	now = NULL;
	return c->state;
}

static void others_serve(unsigned int cpu)
{
	unsigned int i;

	for (i = 0; i < config.cpus; i++)
		if (i != cpu && (cpus[i].excused ||
				 (cpus[i].signals && (cpus[i].state == IDLE || cpus[i].frozen))))
			world_go(i, FOREVER);
}

enum world_state world_run(unsigned int cpu)
{
	unsigned int turn;

	for (turn = 0; turn < WORLD_TURNS && world_go(cpu, FOREVER) != IDLE; turn++)
		others_serve(cpu);
	return cpus[cpu].state;
}

void world_signal(unsigned int cpu, unsigned int signals, unsigned int late)
{
	struct cpu *c = &cpus[cpu];

	if (c->on)
		c->signals |= signals;
	c->late = late;
}

void world_stop(unsigned int cpu, bool interrupts_too)
{
	cpus[cpu].frozen = true;
	cpus[cpu].serves = interrupts_too;
}

void world_excuse(unsigned int cpu)
{
	cpus[cpu].excused = true;
}

/* Those that may take no part any more. */
static unsigned long lost(void)
{
	unsigned long mask = 0;
	unsigned int i;

	for (i = 0; i < config.cpus; i++)
		if (cpus[i].frozen || (cpus[i].excused && cpus[i].state != IDLE))
			mask |= 1ul << i;
	return mask;
}

/* Lets all get on till they are done. */
static void finish(void)
{
	unsigned int round, i;
	bool busy = true;

	for (round = 0; busy && round < 3 * WORLD_TURNS; round++) {
		busy = false;
		for (i = 0; i < config.cpus; i++) {
			cpus[i].late = 0;
			if ((cpus[i].state != IDLE && !cpus[i].frozen) ||
			    (cpus[i].signals && (!cpus[i].frozen || cpus[i].serves))) {
				world_go(i, FOREVER);
				busy = busy || !(cpus[i].frozen || cpus[i].excused);
			}
		}
	}
	for (i = 0; busy && i < config.cpus; i++)
		if (cpus[i].state != IDLE && !(lost() >> i & 1))
			world_held(i);
}

static void run_on_all(enum world_op op, unsigned int space)
{
	struct world_args args = { .space = space, .pages = 1 };
	unsigned int i;

	for (i = 0; i < config.cpus; i++) {
		if (lost() >> i & 1 || !cpus[i].on)
			continue;
		world_give(i, op, &args);
		world_go(i, FOREVER);
	}
	finish();
}

static bool holds_freed(const struct cpu *c)
{
	unsigned int asid, page;

	for (asid = 0; asid < NR_ASIDS; asid++) {
		if (tables[c->table[asid]].freed)
			return true;
		for (page = 0; page < NR_PAGES; page++)
			if (frames[c->leaf[asid][page]].freed)
				return true;
	}
	return false;
}

void world_settle(void)
{
	unsigned int i, space;
	unsigned long asked;
	bool owes = false;

	finish();
	poll(false);
	for (i = 0; i < NR_CHANGES; i++) {
		/* Those of who was stopped are nobody's. */
		if (changes[i].busy)
			continue;
		owes |= changes[i].kind == TICKET;
		if (changes[i].kind != POSTED)
			continue;
		asked = changes[i].asked;
		changes[i].asked &= ~lost();
		if (!is_done(&changes[i]))
			world_fail("a CPU that was interrupted has not answered");
		changes[i].asked = asked;
	}
	if (owes) {
		run_on_all(OP_TICK, 0);
		poll(false);
		for (i = 0; i < NR_CHANGES; i++) {
			if (changes[i].kind != TICKET || changes[i].busy)
				continue;
			changes[i].ticket.cpus[0] &= ~lost();
			if (!is_done(&changes[i]))
				world_fail("a ticket outlives a tick of each CPU");
			/* Not free, if one was lost. */
			changes[i].busy = true;
		}
	}
	/* What is owed while parked is paid. */
	owes = false;
	for (i = 0; i < config.cpus; i++)
		owes |= holds_freed(&cpus[i]);
	for (space = 0; owes && space < NR_SPACES; space++)
		run_on_all(OP_SWITCH, space);
}

bool world_is_deaf(unsigned int cpu)
{
	return cpus[cpu].irqs_off != 0 || (cpus[cpu].frozen && !cpus[cpu].serves);
}

bool world_is_rung(unsigned int cpu)
{
	return flushq_load_relaxed(&fq_cpus[cpu].bell) & FLUSHQ_BELL_INTERRUPT &&
	       cpus[cpu].state == IDLE && !(cpus[cpu].signals & SIGNAL_IPI);
}

const struct flushq_range *world_request(unsigned int cpu)
{
	return cpus[cpu].request;
}

unsigned int world_steps(unsigned int cpu)
{
	return cpus[cpu].steps;
}

static void cpu_start(struct cpu *c, unsigned int id)
{
	struct coro co = c->co;
	bool begun = c->co.stack && c->state == IDLE && !c->frozen;

	memset(c, 0, sizeof(*c));
	c->id = id;
	c->op = NR_OPS;
	/* One that came to its end goes on from there. */
	if (begun)
		c->co = co;
	else
		coro_init(&c->co, stacks[id], STACK, cpu_main, c);
}

void world_start(const struct world_config *wanted)
{
	static const struct world_args none;
	unsigned int i;

	config = *wanted;
	for (i = 0; i < NR_SPACES; i++)
		free(spaces[i].mm.log);
	for (i = 0; i < NR_CPUS; i++)
		cpu_start(&cpus[i], i);
	memset(spaces, 0, sizeof(spaces));
	memset(changes, 0, sizeof(changes));
	memset(fq_cpus, 0, sizeof(fq_cpus));
	nr_frames = nr_tables = nr_lives = 0;
	flushq_init(&world_fq, fq_cpus, config.cpus);
	flushq_limit_resident(&world_fq, config.limit);
	if (config.numbers)
		flushq_use_asids(&world_fq, &world_asids, config.bits);
	for (i = 0; i < NR_PAGES; i++)
		kernel[i] = new_frame(0);
	for (i = 0; i < NR_SPACES; i++) {
		/* The ends of what the hardware here has, and neighbours. */
		static const flushq_asid numbers[NR_SPACES] = { 0, 1, NR_ASIDS - 1, 2, 8 };

		spaces[i].asid = numbers[i];
		birth(&spaces[i], config.logs >> i & 1);
	}
	for (i = 0; i < config.cpus; i++) {
		world_give(i, OP_POWER, &none);
		world_go(i, FOREVER);
	}
}
