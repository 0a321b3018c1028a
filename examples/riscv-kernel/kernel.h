/* SPDX-License-Identifier: MIT */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common.h"
#include "uapi.h"

#ifndef NR_CPUS
#define NR_CPUS 16
#endif
#if NR_CPUS > 64
#error "a set of harts is one word here"
#endif

#define NR_MMS (64 + NR_CPUS)

#define SPIN_US 3
#define SPIN_US_MAX 64
#define TURNS_MAX 1000
#define TIME_PER_US 10 /* QEMU virt: 10 MHz */

#define SATP_SV39 (8UL << 60)
#define SATP_ASID_SHIFT 44
#define IRQ_SOFT (1UL << 1)
#define IRQ_TIMER (1UL << 5)

#define csr_read(csr)                                                                              \
	({                                                                                         \
		unsigned long v_;                                                                  \
		__asm__ volatile("csrr %0, " #csr : "=r"(v_) : : "memory");                        \
		v_;                                                                                \
	})
#define csr_write(csr, v) __asm__ volatile("csrw " #csr ", %0" : : "rK"(v) : "memory")
#define csr_set(csr, v) __asm__ volatile("csrs " #csr ", %0" : : "rK"(v) : "memory")
#define csr_clear(csr, v) __asm__ volatile("csrc " #csr ", %0" : : "rK"(v) : "memory")

#define load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define full_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)

struct range {
	unsigned long start;
	unsigned long size;
	unsigned long asid;
	enum kind kind;
};

struct spinlock {
	unsigned int held;
};

struct mm {
	struct spinlock lock;
	unsigned long *root;
	unsigned long asid; /* stays while a hart has it in satp */
	unsigned long set[1]; /* harts whose TLB may hold its translations */
	unsigned int pending[U_TABLES]; /* tickets for pages there that may not be mapped yet */
	unsigned long id; /* never used twice, unlike the ASID */
	unsigned int refs; /* its threads together, and each hart with it in satp */
	unsigned int threads;
	bool used;
	bool dead;
};

struct trapframe { /* entry.S knows this layout */
	unsigned long pc;
	unsigned long reg[32 - 1]; /* x1.. */
	struct hart *hart;
};

#define REG_RA 0
#define REG_SP 1
#define REG_A(n) (9 + (n))

struct task {
	struct trapframe tf;
	enum task_state state;
	struct mm *mm;
	struct task *parent;
	struct task *next;
	unsigned int children;
	unsigned int wait_below;
	unsigned long wake;
};

struct hart {
	unsigned long stack; /* boot.S and entry.S expect it first */
	unsigned int id;
	bool online;
	bool lazy;
	struct task *cur;
	struct mm *mm; /* in satp; NULL: the kernel's table */
	unsigned int slice;
	unsigned int waits;
	unsigned long backoff, turns; /* of a wait */
	unsigned long timer; /* when the tick is due */
	unsigned long stale;
	struct counters count;
	unsigned long random;
	unsigned long back; /* when it is to be started again; 0: it is not stopped */

	/* Accounting only: what this hart really has in use, see ipi.c. */
	uint64_t use;
	uint64_t use_at_start[NR_CPUS];
	unsigned long acct_id;
	enum kind acct_kind;
	bool acct_forced;

	/* A request to other harts (ipi=own), and who asked this one. */
	struct range request;
	unsigned long waiting __attribute__((aligned(64)));
	unsigned long mailbox __attribute__((aligned(64)));
} __attribute__((aligned(64)));

struct probe {
	unsigned long value;
	unsigned long fault;
};

struct options {
	const char *policy;
	const char *ipi;
	unsigned long seed;
	unsigned long work;
	unsigned long harts; /* 0: not given */
	unsigned long asid_bits;
	unsigned long resident; /* most address spaces in a hart's TLB; 0: the library's default */
	bool audited; /* broken policies may run */
};

extern struct hart harts[NR_CPUS];
extern unsigned int nr_harts; /* highest hart id and 1 */
extern unsigned long online_mask;
extern bool ipi_by_sbi;
extern struct options options;
extern unsigned int asid_bits; /* as many as the hart has, and the options allow */
/* Up to here rollovers are frequent. */
#define ASID_BITS_NARROW 8

static inline struct hart *this_hart(void)
{
	struct hart *h;

	__asm__("mv %0, tp" : "=r"(h));
	return h;
}

static inline unsigned long now(void)
{
	return csr_read(time);
}

/* console.c */
void kprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void power_off(unsigned int code) __attribute__((noreturn));
void panic(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* boot.S: where the firmware sends a hart that is started; a test may have it send them to _start. */
#ifndef HART_ENTRY
#define HART_ENTRY secondary_start
#endif
extern char HART_ENTRY[];

/* main.c */
struct hart *hart_of(unsigned long id);
void finish(void) __attribute__((noreturn));

/* options.c */
void parse_options(const void *fdt);
bool same(const char *a, const char *b);

/* ipi.c */
void serve(struct hart *h);
void sbi_served(long error);
void ipi_start(struct hart *h, const struct mm *mm, enum kind kind);
void ipi_account(struct hart *h, unsigned long mask);
void ipi_fence(struct hart *h, unsigned long mask, const struct range *r);
unsigned long firmware_begin(struct hart *h);
void firmware_end(struct hart *h);
void ipi_serve_mailbox(struct hart *h);
void local_flush(struct hart *h, const struct range *r);
void spin_lock(struct spinlock *l);
bool spin_trylock(struct spinlock *l);
void spin_unlock(struct spinlock *l);

void set_use(struct hart *h, enum use use, const struct mm *mm);

/* host_asid.c: ASIDs for the policies that are not the library's. */
void host_asid_init(unsigned int n);
void host_asid_born(struct mm *mm);
void host_asid_before_switch(struct hart *h, struct mm *mm);
void host_asid_switched(struct hart *h, struct mm *mm);
void host_asid_parked(struct hart *h);
void host_asid_counters(struct hart *h, struct counters *sum);

/* mm.c */
unsigned int mm_place(const struct mm *mm);
void reclaim(struct hart *h);
extern unsigned long ticket_wait_max;
void mm_boot(void);
void mm_online(struct hart *h);
struct mm *mm_create(unsigned int threads);
void mm_exit(struct hart *h, struct mm *mm);
void mm_put(struct mm *mm);
void mm_load(struct hart *h, struct mm *mm);
void mm_park(struct hart *h);
long mm_map(struct hart *h, struct mm *mm, unsigned long va, unsigned long n, unsigned long stamp);
long mm_map_file(struct hart *h, struct mm *mm, unsigned long va, unsigned long n,
		 unsigned long page);
long mm_unmap(struct hart *h, struct mm *mm, unsigned long va, unsigned long n);
long mm_protect(struct hart *h, struct mm *mm, unsigned long va, unsigned long n, bool write);
long mm_remap(struct hart *h, struct mm *mm, unsigned long va, unsigned long n, unsigned long to);
struct mm *mm_fork(struct hart *h, struct mm *mm);
bool mm_fault(struct hart *h, struct mm *mm, unsigned long va, unsigned long cause);
long file_migrate(struct hart *h, unsigned long page);
long kernel_area_replace(struct hart *h, unsigned long slot);
void kernel_area_check(struct hart *h);
void mm_check_leaks(void);

/* sched.c */
struct task *task_create(struct mm *mm, struct task *parent);
void task_start(struct task *t);
void task_exit(struct hart *h);
bool task_wait(struct task *t, unsigned long below);
void task_sleep(struct task *t, unsigned long us);
void task_yield(struct task *t);
struct trapframe *schedule(struct hart *h);
unsigned int tasks_alive(void);
void start_stopped_harts(struct hart *h);

/* syscall.c */
bool syscall(struct hart *h, struct task *t);

/* entry.S, trap.c, user.c */
void user_return(struct trapframe *tf) __attribute__((noreturn));
struct probe kprobe_load(unsigned long va);
struct probe set_stimecmp(unsigned long when);
void timer_boot(void);
void set_timer_us(unsigned long us);
void wait_begin(struct hart *h);
void wait_end(struct hart *h);
extern char probe_load[], probe_store[], user_main[];

#endif
