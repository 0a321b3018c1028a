/* SPDX-License-Identifier: MIT */
/*
 * sim.h - the demo kernel (examples/riscv-kernel) once more, on simulated CPUs in one thread.
 *
 * Time goes in rounds. In each, every CPU has one turn, in order, but for one in eight that the
 * seed leaves out. A turn ends where the code calls turn(): after each check that user code makes,
 * each frame that is filled, each flush, each look of a wait, between a change of a page table and
 * its shootdown, and amid a switch before and after the register is written. So a CPU that waits for others to answer sees them get on, switch and
 * shoot down as well. Interrupts are taken at the beginning of a turn in user mode, when idle, and
 * in waits; never within the kernel, as in the demo.
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "../../examples/riscv-kernel/common.h"
#include "coro.h"
#include "tlb.h"

#define NR_CPUS 16

/*
 * On 4 harts the demo kernel makes about one check per hart in the quarter of a microsecond of
 * QEMU's -icount clock.
 */
#define ROUNDS_PER_US 4

#define STACK_SIZE (64 * 1024)

struct range {
	unsigned long start;
	unsigned long size;
	unsigned int asid;
	enum kind kind;
};

struct lock {
	bool held;
};

struct mm {
	struct space space;
	struct lock lock;
	unsigned int place; /* in the array of all mms */
	unsigned int asid; /* what the policy would load now */
	unsigned long set[1]; /* CPUs whose TLB may hold its translations: the policy's */
	unsigned int pending[TABLES]; /* tickets for pages there that must not be mapped yet */
	unsigned long id; /* never used twice, unlike the ASID */
	unsigned int refs; /* its threads together, and each CPU that has it in its register */
	unsigned int threads;
	bool used;
	bool dead;
};

/* What user code knows; a forked child begins with a copy. */
struct user {
	struct wl wl;
	unsigned long id;
};

struct task {
	struct coro coro;
	struct user user;
	enum task_state state;
	struct mm *mm;
	struct task *parent;
	struct task *next;
	unsigned int children;
	unsigned int wait_below;
	uint64_t wake;
};

/* What one CPU asks of others. */
struct request {
	struct range range;
	struct mm *mm;
	uint64_t generation; /* x86 */
};

/* What a CPU really has in use: accounting only, policies do not see it. */
struct use_state {
	enum use use;
	unsigned long mm; /* its id */
	unsigned long changes;
};

struct cpu {
	unsigned int id;
	struct coro sched; /* the idle loop and the scheduler */
	struct coro *running;
	struct task *cur;
	struct mm *mm; /* of the policy's last switch; NULL: none */
	struct mm *reg; /* in the page-table register, which is written amid a switch */
	unsigned int reg_asid;
	bool online;
	bool lazy;
	bool irq; /* an interrupt is pending */
	bool idle;
	uint64_t wake; /* if idle: the end of the sleep */
	uint64_t tick; /* when it is due */
	unsigned int slice;
	struct tlb tlb;
	struct counters count;
	unsigned long steps; /* turns, without those when idle */

	struct use_state use;
	struct use_state use_at_start[NR_CPUS];
	bool acct_forced;
	unsigned long acct_id;
	enum kind acct_kind;

	struct request request;
	unsigned long waiting; /* CPUs that have not answered it */
	unsigned long mailbox; /* CPUs that ask this one */
};

struct options {
	const char *policy;
	unsigned long harts;
	unsigned long seed;
	unsigned long work;
	unsigned long asid_bits;
	unsigned long resident; /* most address spaces in a CPU's TLB; 0: the library's default */
	unsigned long speculate; /* one in how many turns the hardware walks ahead; 0: never */
	bool tables_by_page; /* a page flush takes non-leaf entries along */
	bool drop_flushes;
	bool explain;
};

extern struct options options;
extern struct cpu cpus[NR_CPUS];
extern unsigned int nr_cpus;
extern struct cpu *self; /* whose turn it is; NULL at boot */
extern uint64_t now; /* rounds */

/* main.c */
noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
unsigned int sim_random(unsigned int below);
void turn(void);

/* ipi.c */
void serve(void);
void lock(struct lock *l);
bool trylock(struct lock *l);
void unlock(struct lock *l);
void set_use(struct cpu *c, enum use use, const struct mm *mm);
void interrupt(struct cpu *c, unsigned long mask);
unsigned long online_cpus(void);
void shootdown(struct mm *mm, unsigned long start, unsigned long size, enum kind kind);
bool shootdown_later(struct mm *mm, unsigned long start, unsigned long size, void *ticket);
void local_flush(struct cpu *c, const struct range *r);
void ask_and_wait(struct cpu *c, unsigned long mask, const struct request *request);

/* mm.c */
void mm_boot(void);
struct mm *mm_create(unsigned int threads);
void mm_exit(struct mm *mm);
void mm_load(struct cpu *c, struct mm *mm);
void mm_park(struct cpu *c);
void mm_map(struct mm *mm, unsigned int table, unsigned int page, unsigned int n);
void mm_map_file(struct mm *mm, unsigned int table, unsigned int page, unsigned int n,
		 unsigned int first);
void mm_unmap(struct mm *mm, unsigned int table, unsigned int page, unsigned int n);
void mm_protect(struct mm *mm, unsigned int table, unsigned int page, unsigned int n, bool write);
void mm_remap(struct mm *mm, unsigned int table, unsigned int page, unsigned int n,
	      unsigned int to);
struct mm *mm_fork(struct mm *mm);
bool mm_fault(struct mm *mm, unsigned int table, unsigned int page, unsigned int need);
void file_migrate(unsigned int page);
void kernel_area_replace(unsigned int slot);
void kernel_area_check(void);
void mm_check_leaks(void);
void reclaim(void);
extern unsigned long ticket_wait_max; /* rounds */

/* sched.c */
void cpu_main(void *cpu);
struct task *task_create(struct mm *mm, struct task *parent, const struct user *user);
noreturn void task_exit(void);
void task_wait(unsigned int below);
void task_sleep(unsigned int us);
void task_yield(void);
void user_turn(void);
unsigned int tasks_alive(void);

/* user.c */
void user_main(void *task);

#endif
