/* SPDX-License-Identifier: MIT */
/*
 * machine.h - a machine of three CPUs in one thread, as unkind as the specification allows: the
 * hardware of each CPU walks the tables in its register at every step of anybody, and forgets
 * nothing that it was not told to. What it may not do ends the program: a translation used after
 * its page was freed, a freed table walked, a wait that never ends.
 *
 * explore() runs the actions of the CPUs in every order of their steps (atomic operations, flushes,
 * writes of page tables and registers) with up to so many preemptions. One thread: every order here
 * is sequentially consistent. What is lost on weaker machines alone is tests/model's.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <flushq/flushq.h>

#define NR_CPUS FLUSHQ_NR_CPUS
#define NR_SPACES 12
#define NR_PAGES 4
#define NR_ASIDS 16
#define PAGE (1ul << FLUSHQ_PAGE_SHIFT)

/* A host's address space: one table of NR_PAGES pages under a root. */
struct space {
	struct flushq_mm mm; /* of a host that hands out ASIDs itself: the set alone */
	struct flushq_log log;
	flushq_asid asid; /* the host's, without machine.asids */
	unsigned int table;
	bool freed; /* the root */
};

/* What the hardware of a CPU holds; 0 is nothing. */
struct hardware {
	struct space *root; /* in the register; NULL: the kernel's */
	flushq_asid asid;
	bool user; /* uses the address space in the register */
	bool on; /* uses the kernel's pages */
	bool pending; /* an interrupt */
	bool handling;
	unsigned int irqs_off;
	unsigned int leaf[NR_ASIDS][NR_PAGES]; /* frames */
	unsigned int table[NR_ASIDS]; /* non-leaf entries */
	unsigned int kernel[NR_PAGES];
	unsigned int flushes, whole_flushes; /* all, and those of an ASID or everything */
};

struct machine {
	struct flushq fq;
	struct flushq_cpu cpu[NR_CPUS];
	struct flushq_asids asids;
	struct hardware hw[NR_CPUS];
	struct space space[NR_SPACES];
	unsigned int kernel[NR_PAGES];
	unsigned int self; /* whose instructions run */
	bool nmi; /* interrupts come whether or not they are off */
	unsigned int interrupts, waits;
	void (*on_relax)(unsigned int self);
	void (*port)(struct flushq_range *range); /* sees each flush first */
	const char *dead; /* memory that nobody may touch any more */
	size_t dead_bytes;
};

extern struct machine machine;

/* Actions, a CPU each; NULL: it takes interrupts only. */
struct scenario {
	void (*begin)(void); /* behind machine_start() */
	void (*cpu[NR_CPUS])(unsigned int self);
	void (*end)(void); /* NULL: nothing */
	bool offline; /* begin() onlines the CPUs */
	unsigned int preemptions;
	unsigned int sleepers; /* the CPUs that are preempted, as bits; 0: all */
};

void explore(const struct scenario *scenario);
/* Prints how much was explored; for main() to return. */
int passed(void);
/* A zeroed machine without CPUs online, for tests that explore nothing. */
void machine_start(void);
/* Ends the program with the status that `run` takes for a test's own verdict. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail(__VA_ARGS__);                                                         \
	} while (0)
/* One step, for what a test does by itself. */
void step(void);
/* Waits for `*flag` of another CPU. */
void wait_for(const volatile bool *flag);

/* The hardware. */
void irqs_off(unsigned int cpu);
void irqs_on(unsigned int cpu);
void load(unsigned int cpu, struct space *space, flushq_asid asid);
/* Another frame for the page, or another table with other frames; the old one. */
unsigned int replace(struct space *space, unsigned int page);
unsigned int replace_table(struct space *space);
unsigned int replace_kernel(unsigned int page);
void free_frame(unsigned int frame);
void free_table(unsigned int table);

/* The host: what a good one does. */
void space_new(struct space *space, flushq_asid asid, bool log);
void online(unsigned int cpu);
void offline(unsigned int cpu);
void switch_to(unsigned int cpu, struct space *space);
void park(unsigned int cpu);
void lazy(unsigned int cpu);
void unlazy(unsigned int cpu);
struct flushq_range range_of(const struct space *space, unsigned int page, enum flushq_kind kind);
void shootdown(unsigned int cpu, struct space *space, struct flushq_range range);
/* With the shootdown, and the old page or table freed. */
void unmap(unsigned int cpu, struct space *space, unsigned int page);
void unmap_table(unsigned int cpu, struct space *space);
void unmap_kernel(unsigned int cpu, unsigned int page);

#endif
