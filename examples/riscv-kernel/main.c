/* SPDX-License-Identifier: MIT */
#include "policy.h"
#include "sbi.h"
#include "stack.h"

#define STACK_SIZE (1 << STACK_SHIFT)

struct hart harts[NR_CPUS];
unsigned int nr_harts;
unsigned long online_mask;
const struct policy *policy;

char stacks[NR_CPUS][STACK_SIZE] __attribute__((aligned(16)));
static bool go;
static unsigned long instructions_at_start;

void boot_main(unsigned long id, const void *fdt);
void secondary_main(void);

struct hart *hart_of(unsigned long id)
{
	struct hart *h = &harts[id];

	h->id = (unsigned int)id;
	h->stack = (unsigned long)(stacks[id] + STACK_SIZE);
	return h;
}

void policy_nothing(struct hart *h)
{
	(void)h;
}

static struct range begin(struct hart *h, struct mm *mm, unsigned long start, unsigned long size,
			  enum kind kind)
{
	struct range r = { .start = start, .size = size, .kind = kind };

	h->count.shootdowns++;
	ipi_start(h, mm, kind);
	/* Behind a full fence: who gives mm another ASID later sees the page table's change. */
	if (mm)
		r.asid = load_relaxed(&mm->asid);
	return r;
}

void shootdown(struct hart *h, struct mm *mm, unsigned long start, unsigned long size,
	       enum kind kind)
{
	struct range r = begin(h, mm, start, size, kind);

	/* Where unmapping need not wait, what comes here must. */
	h->acct_forced = policy->ticket_take;
	policy->shootdown(h, mm, &r);
}

bool shootdown_later(struct hart *h, struct mm *mm, unsigned long start, unsigned long size,
		     void *ticket)
{
	struct range r = begin(h, mm, start, size, KIND_LEAF);

	h->acct_forced = false;
	return policy->ticket_take(h, mm, &r, ticket);
}

static void run(struct hart *h)
{
	/* Return to U mode, with interrupts on there. */
	csr_clear(sstatus, 1UL << 8);
	csr_set(sstatus, 1UL << 5);
	user_return(schedule(h));
}

static void hart_online(struct hart *h)
{
	/* First: who does not find it there changed the kernel's mappings before the flush. */
	__atomic_fetch_or(&online_mask, 1UL << h->id, __ATOMIC_SEQ_CST);
	full_fence();
	mm_online(h);
	csr_write(sie, IRQ_SOFT | IRQ_TIMER);
	/* Who asked while it was stopped, and now waits for a hart that is online: that interrupt is lost. */
	policy->interrupt(h);
	store_release(&h->online, true);
}

void secondary_main(void)
{
	struct hart *h = this_hart();

	hart_online(h);
	wait_begin(h);
	while (!load_acquire(&go))
		;
	wait_end(h);
	run(h);
}

static void start_harts(unsigned int self)
{
	unsigned long present = 1UL << self;
	unsigned int i;

	for (i = 0; i < NR_CPUS; i++)
		if (i != self && !sbi_hart_status(i).error)
			present |= 1UL << i;
	for (i = 0; i < NR_CPUS; i++)
		if ((present >> i) & 1)
			nr_harts = i + 1;
	policy->init(nr_harts);
	hart_online(&harts[self]);
	for (i = 0; i < nr_harts; i++) {
		if (i == self || !((present >> i) & 1))
			continue;
		if (sbi_hart_start(i, (unsigned long)HART_ENTRY, 0).error)
			panic("hart %u does not start", i);
	}
	wait_begin(&harts[self]);
	for (i = 0; i < nr_harts; i++)
		while (((present >> i) & 1) && !load_acquire(&harts[i].online))
			;
	wait_end(&harts[self]);
}

static void add_thread(struct mm *mm, unsigned int role, unsigned int id, unsigned int thread,
		       unsigned int threads, unsigned long left)
{
	struct task *t = task_create(mm, NULL);
	unsigned long *a = &t->tf.reg[REG_A(0)];
	extern char __user_start[];

	t->tf.pc = U_TEXT + (unsigned long)(user_main - __user_start);
	t->tf.reg[REG_SP] = U_STACK(thread) + PAGE_SIZE;
	a[0] = role;
	a[1] = id;
	a[2] = thread;
	a[3] = threads;
	a[4] = options.seed;
	a[5] = left;
	a[6] = policy->ticket_take != NULL;
	task_start(t);
}

static void add_processes(void)
{
	unsigned int i, thread, threads;
	struct mm *mm;

	for (i = 0; i < WORKERS; i++) {
		threads = 2 + i % (WL_THREADS - 1);
		mm = mm_create(threads);
		for (thread = 0; thread < threads; thread++)
			add_thread(mm, WL_WORKER, i, thread, threads, options.work * 250);
	}
	for (i = 0; i < PARENTS; i++)
		add_thread(mm_create(1), WL_PARENT, WORKERS + i, 0, 1, options.work * 10);
}

const struct policy *policy_named(const char *name)
{
	static const struct policy *const policies[] = {
		&policy_eager,	    &policy_rfc,	   &policy_flushq,
		&policy_flushq_log, &policy_flushq_ticket,
	};
	unsigned int i;

	for (i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (same(policies[i]->name, name))
			return policies[i];
	return policy_broken(name);
}

void boot_main(unsigned long id, const void *fdt)
{
	parse_options(fdt);
	policy = policy_named(options.policy);
	ipi_by_sbi = same(options.ipi, "sbi");
	timer_boot();
	mm_boot();
	start_harts((unsigned int)id);
	if (options.harts && options.harts != (unsigned int)__builtin_popcountl(online_mask))
		kprintf("note: harts=%lu, but there are %u\n", options.harts,
			(unsigned int)__builtin_popcountl(online_mask));
	/*
	 * The boot hart's counter. With -icount QEMU derives it from the virtual clock that all
	 * harts share, so it is the sum over the harts, and the time in which all of them slept.
	 */
	instructions_at_start = csr_read(instret);
	add_processes();
	store_release(&go, true);
	run(this_hart());
}

/* All tasks have ended; the other harts idle. */
void finish(void)
{
	unsigned long instructions = csr_read(instret) - instructions_at_start;
	static struct counters sum;
	unsigned long stale = 0;
	unsigned int i, n = 0;

	for (i = 0; i < nr_harts; i++) {
		struct hart *h = &harts[i];

		if (!h->online)
			continue;
		wait_begin(this_hart());
		while ((load_acquire(&h->use) & 3) != USE_NONE)
			serve(this_hart());
		wait_end(this_hart());
		n++;
		counters_add(&sum, &h->count);
		policy->counters(h, &sum);
		stale += h->stale;
	}
	mm_check_leaks();
	kprintf("checks=%lu forks=%lu migrations=%lu globals=%lu\n", sum.checks, sum.forks,
		sum.migrations, sum.globals);
	kprintf("policy=%s ipi=%s harts=%u seed=%lu shootdowns=%lu ipi_sent=%lu ipi_parked=%lu "
		"deferred=%lu covered=%lu overflow=%lu escalated=%lu drains=%lu flush_page=%lu "
		"flush_asid=%lu flush_all=%lu switches=%lu ipi_forced=%lu rollovers=%lu aged=%lu "
		"left_set=%lu log_appends=%lu log_replays=%lu log_lapped=%lu tickets=%lu "
		"ticket_wait_max=%lu offline=%lu stale=%lu instructions=%lu\n",
		policy->name, options.ipi, n, options.seed, sum.shootdowns, sum.ipi_sent,
		sum.ipi_parked, sum.deferred, sum.covered, sum.overflow, sum.escalated, sum.drains,
		sum.flush_page, sum.flush_asid, sum.flush_all, sum.switches, sum.ipi_forced,
		sum.rollovers, sum.aged, sum.left_set, sum.log_appends, sum.log_replays,
		sum.log_lapped, sum.tickets, ticket_wait_max / TIME_PER_US, sum.offline, stale,
		instructions);
	power_off(stale ? 1 : 0);
}
