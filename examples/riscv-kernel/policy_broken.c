/* SPDX-License-Identifier: MIT */
/*
 * Three policies that are wrong on purpose, so that the auditor has something to find: each is a
 * sound one but for the one rule named at its place. QEMU's own TLB, which forgets everything when
 * satp is written, hides most of what they do.
 */
#include "flushq/flushq.h"
#include "policy_rfc.h"

extern struct flushq fq;

/*
 * broken-drop is flushq, but what was deferred is thrown away at the switch. In the sound one
 * flushq_switch_to() pays it before satp is written. What an interrupt is on its way for (kernel
 * ranges, the address space in use) is still paid: only deferred flushes are forgotten.
 */
static void drop(const struct flushq_cpu *cpu, struct flushq_range range)
{
	if (flushq_context_needs(flushq_load_relaxed(&cpu->context), &range))
		flushq_arch_flush(&range);
}

static void drop_before_switch(struct hart *h, struct mm *mm)
{
	struct flushq_cpu *cpu = &fq.cpu[h->id];
	struct flushq_ring *ring = &cpu->queue.ring;
	struct flushq_ring_walk walk = flushq_ring_begin(ring, cpu->head);
	unsigned long value;
	uint32_t key, mark;

	mark = flushq_ring_unstick(ring);
	if (mark)
		drop(cpu, flushq_mark_range(mark));
	while (flushq_ring_take(ring, &walk, &key, &value) >= FLUSHQ_RING_PUBLISHED) {
		drop(cpu, flushq_priv_unpack(key, value));
		cpu->head++;
	}
	policy_flushq.before_switch(h, mm);
}

/*
 * broken-kernel is rfc as it was first posted: the kernel's own ASID is never the one loaded, so
 * flushes of kernel ranges are deferred like those of an address space that is not in use. But
 * kernel mappings are in use everywhere and always: in the sound ones each hart that is online is
 * interrupted (flushq: FLUSHQ_GLOBAL in flushq_context_needs()). Its interrupt handler leaves what
 * is deferred to the switch, as it may: drained at each interrupt, few would be seen.
 */
static void kernel_shootdown(struct hart *h, struct mm *mm, const struct range *r)
{
	struct range deferred = *r;

	if (r->kind != KIND_GLOBAL) {
		policy_rfc.shootdown(h, mm, r);
		return;
	}
	full_fence();
	local_flush(h, r);
	deferred.asid = -1UL;
	rfc_ask(h, load_acquire(&online_mask), &deferred);
}

/*
 * broken-recheck is rfc without the second look at the loaded context, once the debt is visible:
 * who switches to the address space between the first look and the debt neither finds it nor is
 * interrupted. In flushq the fence S2 stands before the look S3 (shootdown.h). The window is a few
 * instructions, so it is made longer than every hart's time slice where that is worth the time: at a
 * fork, which concerns every page, of a process with other threads. And the interrupt handler
 * leaves what is deferred to the switch here too.
 */
#define WINDOW_US 1000

static void recheck_window(struct hart *h, const struct mm *mm, const struct range *r)
{
	unsigned long end;

	if (r->size < U_END - U_TEXT || load_relaxed(&mm->threads) < 2)
		return;
	end = now() + WINDOW_US * TIME_PER_US;
	wait_begin(h);
	while (now() < end)
		;
	wait_end(h);
}

static void recheck_shootdown(struct hart *h, struct mm *mm, const struct range *r)
{
	unsigned long mask, loaded = 0;
	unsigned int i;

	if (r->kind == KIND_GLOBAL) {
		policy_rfc.shootdown(h, mm, r);
		return;
	}
	full_fence();
	local_flush(h, r);
	mask = load_acquire(&mm->set[0]) & ~(1UL << h->id);
	for (i = 0; i < nr_harts; i++)
		if (rfc_loaded(i, r))
			loaded |= 1UL << i;
	recheck_window(h, mm, r);
	for (i = 0; i < nr_harts; i++) {
		if (!((mask >> i) & 1) || (loaded >> i) & 1 || !rfc_defer(h, i, r))
			continue;
		h->count.deferred++;
		mask &= ~(1UL << i);
	}
	ipi_fence(h, mask, r);
}

const struct policy *policy_broken(const char *name)
{
	static struct policy p;

	if (same(name, "broken-drop")) {
		p = policy_flushq;
		p.name = "broken-drop";
		p.before_switch = drop_before_switch;
	} else if (same(name, "broken-kernel")) {
		p = policy_rfc;
		p.name = "broken-kernel";
		p.shootdown = kernel_shootdown;
		p.interrupt = ipi_serve_mailbox;
	} else if (same(name, "broken-recheck")) {
		p = policy_rfc;
		p.name = "broken-recheck";
		p.shootdown = recheck_shootdown;
		p.interrupt = ipi_serve_mailbox;
	} else {
		return NULL;
	}
	p.broken = true;
	return &p;
}
