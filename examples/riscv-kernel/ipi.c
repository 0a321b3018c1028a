/* SPDX-License-Identifier: MIT */
#include "flushq/arch.h"
#include "flushq/arch/riscv/sbi.h"
#include "policy.h"

bool ipi_by_sbi;

/*
 * The kernel never takes an interrupt, so whoever waits in it has to look for requests itself:
 * two harts that shoot each other down would wait for ever otherwise.
 */
void serve(struct hart *h)
{
	if (!(csr_read(sip) & IRQ_SOFT))
		return;
	/* First: a request that comes while serving raises it again. */
	flushq_riscv_acknowledge();
	policy->interrupt(h);
}

bool spin_trylock(struct spinlock *l)
{
	return !__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE);
}

void spin_lock(struct spinlock *l)
{
	struct hart *h = this_hart();

	if (spin_trylock(l))
		return;
	wait_begin(h);
	do {
		while (load_relaxed(&l->held)) {
			serve(h);
			/* Who holds it may wait for tickets. */
			policy->tick(h);
		}
	} while (!spin_trylock(l));
	wait_end(h);
}

void spin_unlock(struct spinlock *l)
{
	store_release(&l->held, 0);
}

/*
 * Accounting. One word a hart: a count of changes, which mm, and how it is used. Policies
 * neither see nor order it. It says "lazy" or "none" only while the policy was told so, hence a
 * target whose word did not change between the start of a shootdown and the interrupt, and did
 * not say "running", was known not to need it.
 */
void set_use(struct hart *h, enum use use, const struct mm *mm)
{
	uint64_t seq = (h->use >> 32) + 1;

	store_release(&h->use, seq << 32 | (mm ? mm->id << 2 : 0) | use);
	full_fence();
}

static bool needs_interrupt(uint64_t word, unsigned long id, enum kind kind)
{
	bool same_mm = (word & 0xffffffffUL) >> 2 == id;

	switch (word & 3) {
	case USE_NONE:
		return false;
	case USE_RUNNING:
		return same_mm;
	case USE_LAZY:
		return same_mm && kind == KIND_TABLES;
	default:
		return true;
	}
}

void ipi_start(struct hart *h, const struct mm *mm, enum kind kind)
{
	unsigned int i;

	h->acct_id = mm ? mm->id : 0;
	h->acct_kind = kind;
	for (i = 0; i < nr_harts; i++)
		h->use_at_start[i] = load_acquire(&harts[i].use);
	full_fence();
}

void ipi_account(struct hart *h, unsigned long mask)
{
	unsigned int i;

	full_fence();
	for (i = 0; i < nr_harts; i++) {
		uint64_t word = load_acquire(&harts[i].use);

		if (i == h->id || !((mask >> i) & 1))
			continue;
		if (h->acct_forced)
			h->count.ipi_forced++;
		else
			h->count.ipi_sent++;
		if (h->acct_kind != KIND_GLOBAL && word == h->use_at_start[i] &&
		    !needs_interrupt(word, h->acct_id, h->acct_kind))
			h->count.ipi_parked++;
	}
}

/* What eager and rfc flush with; the library has its own. */
void local_flush(struct hart *h, const struct range *r)
{
	unsigned long va;

	if (r->kind == KIND_TABLES || r->size > FLUSH_PAGES_MAX * PAGE_SIZE) {
		if (r->kind == KIND_GLOBAL) {
			__asm__ volatile("sfence.vma" : : : "memory");
			h->count.flush_all++;
			return;
		}
		__asm__ volatile("sfence.vma zero, %0" : : "r"(r->asid) : "memory");
		h->count.flush_asid++;
		return;
	}
	for (va = r->start; va < r->start + r->size; va += PAGE_SIZE) {
		if (r->kind == KIND_GLOBAL)
			__asm__ volatile("sfence.vma %0" : : "r"(va) : "memory");
		else
			__asm__ volatile("sfence.vma %0, %1" : : "r"(va), "r"(r->asid) : "memory");
		h->count.flush_page++;
	}
}

/*
 * One hart at a time waits in the firmware for others. Two of them there, where no interrupt of
 * ours reaches, could keep QEMU with -icount from running any third: see wait_begin(). And a hart
 * that stops with a fence asked of it would keep the asker waiting for ever, for the firmware drops
 * what a stopped hart has not done (B8): so it stops behind this lock. The harts that are asked are
 * those returned; a hart that is not has flushed everything.
 */
static struct spinlock firmware_lock;

unsigned long firmware_begin(struct hart *h)
{
	spin_lock(&firmware_lock);
	wait_begin(h);
	return load_acquire(&online_mask);
}

void firmware_end(struct hart *h)
{
	wait_end(h);
	spin_unlock(&firmware_lock);
}

/* Firmware has done what it was asked for, but for harts that are stopped: they flush when they start. */
void sbi_served(long error)
{
	if (error != FLUSHQ_SBI_SUCCESS && error != FLUSHQ_SBI_ERR_INVALID_PARAM)
		panic("firmware: %s", flushq_sbi_error_name(error));
}

static void fence_by_sbi(unsigned long mask, const struct range *r)
{
	unsigned long start = r->start, size = r->size;

	/* A fence by address leaves non-leaf entries alone. */
	if (r->kind == KIND_TABLES) {
		start = 0;
		size = -1UL;
	}
	if (r->kind == KIND_GLOBAL)
		sbi_served(flushq_sbi_remote_sfence_vma(&mask, 1, start, size));
	else
		sbi_served(flushq_sbi_remote_sfence_vma_asid(&mask, 1, start, size, r->asid));
}

/*
 * A hart that stops takes itself out of online_mask and then serves its mailbox once more. A bit
 * that is still there behind a fence will not be served: it is taken back, by one side or the other.
 */
static void forget_stopped(struct hart *h)
{
	unsigned long gone = h->waiting & ~load_acquire(&online_mask);
	unsigned int i;

	for (i = 0; gone && i < nr_harts; i++)
		if (((gone >> i) & 1) &&
		    ((__atomic_fetch_and(&harts[i].mailbox, ~(1UL << h->id), __ATOMIC_SEQ_CST) >>
		      h->id) &
		     1))
			__atomic_fetch_and(&h->waiting, ~(1UL << i), __ATOMIC_RELEASE);
}

/* Has the harts of mask flush r and returns when they have. */
void ipi_fence(struct hart *h, unsigned long mask, const struct range *r)
{
	unsigned int i;

#ifdef BREAK
	/* Shows that the stamps notice: every other call is forgotten. */
	static unsigned int n;

	if (n++ % 2)
		return;
#endif
	mask &= ~(1UL << h->id);
	if (!mask)
		return;
	ipi_account(h, mask);
	if (ipi_by_sbi) {
		mask &= firmware_begin(h);
		if (mask)
			fence_by_sbi(mask, r);
		firmware_end(h);
		return;
	}
	h->request = *r;
	store_release(&h->waiting, mask);
	for (i = 0; i < nr_harts; i++)
		if ((mask >> i) & 1)
			__atomic_fetch_or(&harts[i].mailbox, 1UL << h->id, __ATOMIC_RELEASE);
	full_fence();
	sbi_served(flushq_sbi_send_ipi(&mask, 1));
	wait_begin(h);
	while (load_acquire(&h->waiting)) {
		serve(h);
		forget_stopped(h);
	}
	wait_end(h);
}

void ipi_serve_mailbox(struct hart *h)
{
	unsigned long from = __atomic_exchange_n(&h->mailbox, 0, __ATOMIC_ACQUIRE);
	unsigned int i;

	for (i = 0; i < nr_harts; i++) {
		if (!((from >> i) & 1))
			continue;
		local_flush(h, &harts[i].request);
		__atomic_fetch_and(&harts[i].waiting, ~(1UL << h->id), __ATOMIC_RELEASE);
	}
}
