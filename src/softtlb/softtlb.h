/* SPDX-License-Identifier: MIT */
/*
 * softtlb.h - a machine of threads whose TLBs are the strictest that the RISC-V specification
 * allows, and which notices every use of a translation that should be gone.
 *
 * The model. Numbers are sections of the RISC-V privileged specification (20240411), "SFENCE" its
 * section 10.2.1 (Supervisor Memory-Management Fence Instruction).
 *
 *   CPU          a pthread. An interrupt is a signal to it. "Interrupts off" is a flag of the
 *                thread: the signal's handler then only notes that it came, and the work is done
 *                when the flag is cleared. An NMI ignores that flag. Neither divides a translation
 *                from the access it is for, nor a flush or a walk: interrupts are taken between
 *                instructions.
 *   page tables  two levels in shared memory, atomic entries; SOFTTLB_SPACES user address spaces
 *                and one of the kernel, whose mappings are global.
 *   TLB          private to its CPU, tagged with the ASID's number alone, infinite: nothing is ever
 *                evicted and no entry replaced (SFENCE: an implementation may cache any number of
 *                entries, and keep them until a fence removes them; writing satp removes none,
 *                10.1.11). Whose tables an entry came from is remembered only to notice its misuse.
 *   non-leaf     entries are cached too, and later walks start from them (SFENCE). A fence with an
 *                address removes leaf entries only; one for a whole ASID, or of kind TABLES,
 *                removes the non-leaf ones of that ASID; one for everything removes all. That is
 *                the least that include/flushq/arch.h asks of a port.
 *   global       leaf and non-leaf entries of the kernel's space belong to no ASID: a fence for an
 *                ASID leaves them (10.3.1, G bit).
 *   speculation  a walk for any page of the space in the page-table register may come at any time,
 *                also where nothing uses it (10.3.2: implementations may read page tables
 *                speculatively): here at random around uses, interrupt masking, waits and flushes,
 *                right after the register is written, and when the register is lazy.
 *   power        a CPU that was off has in its TLB what it had before, whatever was flushed meanwhile:
 *                what a TLB holds after a reset is not specified. It neither translates nor walks
 *                until its register is written.
 *   the host     links no new table where one was unlinked until that one's shootdown has returned:
 *                a leaf shootdown in the new one would leave the old one's non-leaf entries, through
 *                which the hardware may still find the old translations, and rightly
 *   not modelled caching of invalid entries (10.3.2 allows it; it makes only spurious faults); A
 *                and D bits; several entries for one page at once; Svnapot and larger leaves; the
 *                memory model's weakness, which is that of the host.
 *
 * What is noticed, each exactly (no false alarm, and no miss once it is executed and the host's
 * memory shows the initiator's writes):
 *
 *   SOFTTLB_RETIRED      a use began after softtlb_retire() had been called for a newer entry of
 *                        that page: its shootdown had returned, and still the old one was used
 *   SOFTTLB_REUSED       a use ended in a frame that is no longer this page's
 *   SOFTTLB_FREED_TABLE  a walk read a page-table page that was freed, the root among them
 *   SOFTTLB_FOREIGN      a use through an entry that came from another space's tables
 *
 * There is one machine per process: flushq's hooks have no argument to tell them apart. This file
 * needs FLUSHQ_ARCH_PORTABLE's hooks, and defines them.
 */
#ifndef SOFTTLB_H
#define SOFTTLB_H

#include <flushq/flushq.h>

#define SOFTTLB_CPUS 16
#define SOFTTLB_SPACES 80
#define SOFTTLB_KERNEL SOFTTLB_SPACES /* the kernel's space */
#define SOFTTLB_NONE (~0u) /* nothing in the register */
#define SOFTTLB_ROOTS 8
#define SOFTTLB_LEAVES 16
#define SOFTTLB_PAGES (SOFTTLB_ROOTS * SOFTTLB_LEAVES)

enum softtlb_finding {
	SOFTTLB_RETIRED,
	SOFTTLB_REUSED,
	SOFTTLB_FREED_TABLE,
	SOFTTLB_FOREIGN,
	SOFTTLB_NR_FINDINGS
};

/* Ways to break the machine, so that a test can prove that it would have noticed. */
enum softtlb_break {
	SOFTTLB_DROP_FLUSH = 1, /* one flush in eight does nothing */
	SOFTTLB_DROP_NON_LEAF = 2, /* no flush removes non-leaf entries */
	SOFTTLB_DROP_INTERRUPT = 4, /* an interrupt is answered, but drains nothing */
	SOFTTLB_DROP_OTHERS = 8, /* no flush of an ASID that is not in the register */
};

struct softtlb_config {
	struct flushq *fq;
	unsigned int cpus; /* 1 to SOFTTLB_CPUS */
	unsigned long seed; /* of all random choices, and printed with each finding */
	unsigned int speculate; /* one in how many chances is taken; 0: none */
	unsigned int broken; /* of enum softtlb_break */
	void (*storm)(unsigned int cpu); /* an interrupt's work, besides draining */
	void (*nmi)(unsigned int cpu);
};

/* What a page-table change took out, kept until no CPU can use it. */
struct softtlb_change {
	struct flushq_range range; /* to flush */
	unsigned int space, page, pages;
	unsigned int table; /* freed table + 1 */
	uint64_t version; /* of the new state: what is older is retired */
	uint16_t frame[SOFTTLB_LEAVES]; /* freed frames + 1 */
};

/* Starts the machine: `main` runs on each CPU, on its own thread. Returns when all have returned.
 */
void softtlb_run(const struct softtlb_config *config, void (*main)(unsigned int cpu));

/* These are called on a CPU. */
unsigned int softtlb_self(void);
unsigned int softtlb_random(unsigned int below);
/* An ASID for hosts that never give one to another space. */
flushq_asid softtlb_asid(unsigned int space);
/* The CPUs that may hold translations of `space`. */
flushq_atomic_ulong *softtlb_set(unsigned int space);

/*
 * Page-table changes. False: nothing was changed (the entry is in use already, or not, or another
 * CPU is changing this space). After those that fill in `change`: a shootdown of change->range,
 * then softtlb_retire().
 */
bool softtlb_map(unsigned int space, unsigned int page, bool writable);
bool softtlb_protect(unsigned int space, unsigned int page, struct softtlb_change *change);
bool softtlb_unmap(unsigned int space, unsigned int page, unsigned int pages,
		   struct softtlb_change *change);
/* Unlinks the page-table page that maps `page`, and all that it maps. */
bool softtlb_free_table(unsigned int space, unsigned int page, struct softtlb_change *change);
/* The shootdown has returned: frames and tables may be reused. */
void softtlb_retire(const struct softtlb_change *change);

/*
 * The space died: frees all its pages and tables, the root among them, without a shootdown. No CPU
 * may have it in its register. It is then a new, empty space. False: another CPU is changing it.
 */
bool softtlb_free_space(unsigned int space);

/* Writes the page-table register: a space or SOFTTLB_NONE; with softtlb_asid() or another ASID. */
void softtlb_write_register(unsigned int space);
void softtlb_write_register_asid(unsigned int space, flushq_asid asid);
/* This CPU goes, with interrupts off, and comes back; then it writes its register. */
void softtlb_power_off(void);
void softtlb_power_on(void);
/* One access through the register's space, or the kernel's; false: it faults. */
bool softtlb_use(unsigned int page, bool write);
bool softtlb_use_kernel(unsigned int page, bool write);
/* The hardware may walk ahead here. */
void softtlb_speculate(void);
/* The hardware does walk ahead here, for `page` of the register's space. */
void softtlb_walk_ahead(unsigned int page);

/* For the low call: interrupts those CPUs, and waits until each has drained. Interrupts on. */
void softtlb_interrupt_and_wait(const unsigned long *cpus, unsigned int words);
/* From any thread: makes `cpu` run the storm or NMI handler. */
void softtlb_send_storm(unsigned int cpu);
void softtlb_send_nmi(unsigned int cpu);
/* On a CPU: takes an interrupt or NMI right here, as if a signal had come, where that may be. */
void softtlb_take_here(bool nmi);

/* Loses each flush on this CPU while `lose`: breaks what is called meanwhile. */
void softtlb_lose_flushes(bool lose);

unsigned long softtlb_findings(enum softtlb_finding finding);
unsigned long softtlb_all_findings(void);
/* Interrupts sent by flushq_host_interrupt() and by softtlb_interrupt_and_wait(). */
unsigned long softtlb_interrupts(void);

#endif
