/* SPDX-License-Identifier: MIT */
/*
 * everything.c - calls every public function, so that its code is made. Compiled as C and as C++,
 * and twice into one program, with another NAME each time.
 */
#include "flushq/flushq.h"
#include "flushq/arch/riscv/sbi.h"

#ifndef NAME
#define NAME(name) every_##name
#endif

#ifdef __cplusplus
extern "C" {
#endif

void NAME(init)(struct flushq *fq, struct flushq_cpu *cpu, unsigned int nr);
void NAME(init)(struct flushq *fq, struct flushq_cpu *cpu, unsigned int nr)
{
	flushq_init(fq, cpu, nr);
	flushq_limit_resident(fq, 4);
}

unsigned int NAME(bits)(unsigned long word);
unsigned int NAME(bits)(unsigned long word)
{
	return flushq_ctz(word) + flushq_ctz32((uint32_t)word) + flushq_cpuset_count(word);
}

unsigned long NAME(count)(const struct flushq *fq, unsigned int cpu);
unsigned long NAME(count)(const struct flushq *fq, unsigned int cpu)
{
	return flushq_count(fq, cpu, FLUSHQ_DRAINS);
}

void NAME(owner)(struct flushq *fq, unsigned int self, flushq_asid asid, flushq_atomic_ulong *set);
void NAME(owner)(struct flushq *fq, unsigned int self, flushq_asid asid, flushq_atomic_ulong *set)
{
	flushq_online(fq, self);
	flushq_switch_to(fq, self, asid, set);
	flushq_switched(fq, self);
	flushq_enter_lazy(fq, self);
	flushq_leave_lazy(fq, self);
	flushq_park(fq, self);
	flushq_drain(fq, self);
	flushq_tick(fq, self);
	flushq_offline(fq, self);
}

/* The path whose instructions are counted. */
void NAME(switch)(struct flushq *fq, unsigned int self, flushq_asid asid);
void NAME(switch)(struct flushq *fq, unsigned int self, flushq_asid asid)
{
	flushq_switch_to(fq, self, asid, NULL);
}

void NAME(switched)(struct flushq *fq, unsigned int self);
void NAME(switched)(struct flushq *fq, unsigned int self)
{
	flushq_switched(fq, self);
}

unsigned int NAME(post)(struct flushq *fq, unsigned int self, const flushq_atomic_ulong *set,
			const struct flushq_range *range, unsigned long *interrupt);
unsigned int NAME(post)(struct flushq *fq, unsigned int self, const flushq_atomic_ulong *set,
			const struct flushq_range *range, unsigned long *interrupt)
{
	unsigned int n = flushq_post(fq, self, set, range, interrupt);

	n += flushq_post_fenced(fq, self, set, range, interrupt);
	flushq_shootdown(fq, self, set, range);
	return n;
}

bool NAME(range)(struct flushq_range *a, unsigned long start, unsigned long size);
bool NAME(range)(struct flushq_range *a, unsigned long start, unsigned long size)
{
	struct flushq_range b = flushq_range_make(3, start, size, 4096, FLUSHQ_TABLES);
	struct flushq_range c = flushq_range_whole(3, FLUSHQ_LEAF);

	return flushq_range_covers(a, &b) || flushq_range_merge(a, &c) ||
	       flushq_range_cost(a) == 1 || flushq_context_needs(flushq_context_loaded(3), a);
}

bool NAME(context)(flushq_atomic_u32 *context);
bool NAME(context)(flushq_atomic_u32 *context)
{
	flushq_context_leave(context, FLUSHQ_CONTEXT_PARKED);
	flushq_context_enter(context, flushq_context_loaded(1));
	return *context == FLUSHQ_CONTEXT_OFFLINE;
}

unsigned int NAME(cpuset)(flushq_atomic_ulong *set, unsigned int cpu);
unsigned int NAME(cpuset)(flushq_atomic_ulong *set, unsigned int cpu)
{
	unsigned long word = flushq_cpuset_bit(cpu);

	if (flushq_cpuset_has(set, cpu))
		flushq_cpuset_add(set, cpu + 1);
	else
		flushq_cpuset_remove(set, cpu + 1);
	return flushq_cpuset_pop(&word);
}

unsigned int NAME(resident)(struct flushq_resident *res, flushq_asid asid, flushq_atomic_ulong *set,
			    struct flushq_range *range);
unsigned int NAME(resident)(struct flushq_resident *res, flushq_asid asid, flushq_atomic_ulong *set,
			    struct flushq_range *range)
{
	unsigned int at = flushq_resident_place(asid);

	if (!flushq_resident_is(res, at, asid, set))
		at = flushq_resident_find(res, asid, set);
	if (at == FLUSHQ_NOWHERE && flushq_resident_of(res, asid) == 0)
		at = flushq_resident_add(res, asid, set);
	if (!flushq_resident_owe(res, range) && !flushq_resident_settle(res, asid, range))
		return flushq_resident_count(res);
	return flushq_resident_shares(res, at) ? at : flushq_resident_oldest(res);
}

unsigned int NAME(log)(struct flushq_log *log, unsigned int cpu, struct flushq_range *range);
unsigned int NAME(log)(struct flushq_log *log, unsigned int cpu, struct flushq_range *range)
{
	flushq_pos seen = flushq_log_sync(log, cpu);
	struct flushq_log_reader reader = flushq_log_begin(seen);

	if (flushq_log_idle(log, cpu, seen) || !flushq_log_append(log, range))
		return 0;
	return (unsigned int)flushq_log_next(log, cpu, &reader, range);
}

unsigned int NAME(asid)(struct flushq_asids *asids, unsigned int self, flushq_atomic_ulong *id,
			void (*rollover)(void *arg));
unsigned int NAME(asid)(struct flushq_asids *asids, unsigned int self, flushq_atomic_ulong *id,
			void (*rollover)(void *arg))
{
	unsigned long now;

	flushq_asid_init(asids, 1, 16, rollover, asids);
	now = flushq_asid_begin(asids, self, id);
	if (!flushq_asid_current(asids, now))
		now = flushq_asid_renew(asids, self, id);
	flushq_asid_switched(asids, self);
	if (flushq_asid_pin(asids, id))
		flushq_asid_unpin(asids, id);
	flushq_asid_parked(asids, self);
	return flushq_asid_number(asids, now) + (unsigned int)flushq_asid_rollovers(asids);
}

bool NAME(ticket)(struct flushq *fq, unsigned int self, const flushq_atomic_ulong *set,
		  const struct flushq_range *range, struct flushq_ticket *ticket);
bool NAME(ticket)(struct flushq *fq, unsigned int self, const flushq_atomic_ulong *set,
		  const struct flushq_range *range, struct flushq_ticket *ticket)
{
	if (flushq_ticket_take(fq, self, set, range, ticket))
		return true;
	flushq_ticket_wait(fq, self, ticket);
	return flushq_ticket_done(fq, ticket);
}

unsigned long NAME(reclaim)(const struct flushq *fq, struct flushq_reclaim_list *list,
			    struct flushq_reclaim *item);
unsigned long NAME(reclaim)(const struct flushq *fq, struct flushq_reclaim_list *list,
			    struct flushq_reclaim *item)
{
	flushq_reclaim_add(list, item);
	return flushq_reclaim_run(fq, list);
}

bool NAME(mm)(struct flushq *fq, unsigned int self, struct flushq_asids *asids,
	      struct flushq_mm *mm, struct flushq_log *log, struct flushq_ticket *ticket);
bool NAME(mm)(struct flushq *fq, unsigned int self, struct flushq_asids *asids,
	      struct flushq_mm *mm, struct flushq_log *log, struct flushq_ticket *ticket)
{
	unsigned long mask[FLUSHQ_CPUSET_WORDS(FLUSHQ_NR_CPUS)];
	struct flushq_range range;

	flushq_use_asids(fq, asids, 16);
	flushq_mm_init(mm, log);
	if (flushq_mm_switch_to(fq, self, mm) == 0)
		return false;
	range = flushq_mm_range(fq, mm, 0, 4096, 4096, FLUSHQ_LEAF);
	if (flushq_mm_post(fq, self, mm, &range, mask))
		flushq_mm_shootdown(fq, self, mm, &range);
	return flushq_mm_ticket_take(fq, self, mm, &range, ticket) || flushq_mm_loaded(fq, mm);
}

int NAME(queue)(struct flushq_queue *queue, const struct flushq_range *range);
int NAME(queue)(struct flushq_queue *queue, const struct flushq_range *range)
{
	struct flushq_range mark = flushq_mark_range(flushq_mark_of(range));

	return (int)flushq_queue_put(queue, &mark);
}

/* A publication: a claim, and stores. */
bool NAME(put)(struct flushq_ring *ring, uint32_t key, unsigned long value);
bool NAME(put)(struct flushq_ring *ring, uint32_t key, unsigned long value)
{
	return flushq_ring_put(ring, key, value);
}

bool NAME(ring)(struct flushq_ring *ring, flushq_ring_pos head);
bool NAME(ring)(struct flushq_ring *ring, flushq_ring_pos head)
{
	struct flushq_ring_walk walk = flushq_ring_begin(ring, head);
	unsigned long value;
	uint32_t key;

	if (flushq_ring_idle(ring, head))
		return false;
	if (flushq_ring_stick(ring, 1) && flushq_ring_unstick(ring) == 2)
		return flushq_ring_claimed_behind(ring, head);
	return flushq_ring_take(ring, &walk, &key, &value) >= FLUSHQ_RING_PUBLISHED;
}

bool NAME(arch)(const struct flushq_range *range, const unsigned long *cpus, unsigned int words);
bool NAME(arch)(const struct flushq_range *range, const unsigned long *cpus, unsigned int words)
{
	unsigned long flags = flushq_arch_irq_save();
	bool off = flushq_arch_irqs_off();

	flushq_arch_flush(range);
	flushq_arch_interrupt(cpus, words);
	flushq_arch_relax();
	flushq_arch_irq_restore(flags);
	return off;
}

long NAME(sbi)(const unsigned long *harts, unsigned int words, const struct flushq_range *range);
long NAME(sbi)(const unsigned long *harts, unsigned int words, const struct flushq_range *range)
{
	long error = flushq_sbi_send_ipi(harts, words);

	if (!flushq_sbi_probe(FLUSHQ_SBI_RFENCE) || *flushq_sbi_error_name(error) == 'u')
		return error;
	error |= flushq_sbi_remote_fence_i(harts, words);
	error |= flushq_sbi_remote_sfence_vma(harts, words, 0, 1);
	error |= flushq_sbi_remote_sfence_vma_asid(harts, words, 0, 1, 2);
	return error | flushq_sbi_remote_flush(harts, words, range);
}

#if defined(__riscv) && !defined(FLUSHQ_ARCH_PORTABLE)
/* One form each; the registers must not be x0 though the values are 0. */
void NAME(sfence_all)(void);
void NAME(sfence_all)(void)
{
	flushq_riscv_sfence_all();
}

void NAME(sfence_asid)(void);
void NAME(sfence_asid)(void)
{
	flushq_riscv_sfence_asid(0);
}

void NAME(sfence_page)(void);
void NAME(sfence_page)(void)
{
	flushq_riscv_sfence_page(0);
}

void NAME(sfence_page_asid)(void);
void NAME(sfence_page_asid)(void)
{
	flushq_riscv_sfence_page_asid(0, 0);
}

void NAME(acknowledge)(void);
void NAME(acknowledge)(void)
{
	flushq_riscv_acknowledge();
}

unsigned int NAME(asid_bits)(void);
unsigned int NAME(asid_bits)(void)
{
	return flushq_riscv_asid_bits();
}
#endif

#ifdef __cplusplus
}
#endif
