/* SPDX-License-Identifier: MIT */
/* static_paths.h - the hot paths, each a function of its own: bench/static writes its body into an
 * object by itself, so that what the compiler does not inline is found beside it. */
#ifndef STATIC_PATHS_H
#define STATIC_PATHS_H

#include "bare_switch.h"

void hot_switch_to(struct flushq *fq, unsigned int self, flushq_asid asid,
		   flushq_atomic_ulong *set);
void hot_switched(struct flushq *fq, unsigned int self);
bool hot_bare_switch_to(struct flushq *fq, unsigned int self, flushq_asid asid,
			flushq_atomic_ulong *set);
void hot_bare_switched(struct flushq *fq, unsigned int self);
void hot_mm_switched(struct flushq *fq, unsigned int self);
void hot_mm_log_switched(struct flushq *fq, unsigned int self);
flushq_asid hot_mm_switch_to(struct flushq *fq, unsigned int self, struct flushq_mm *mm);
flushq_asid hot_mm_log_switch_to(struct flushq *fq, unsigned int self, struct flushq_mm *mm);
void hot_tick(struct flushq *fq, unsigned int self);
void hot_drain(struct flushq *fq, unsigned int self);
struct flushq_range hot_range_make(flushq_asid asid, unsigned long start, unsigned long size,
				   unsigned long stride, enum flushq_kind kind);
enum flushq_put_result hot_queue_put(struct flushq_queue *queue, const struct flushq_range *range);
bool hot_log_append(struct flushq_log *log, const struct flushq_range *range);
void hot_shootdown(struct flushq *fq, unsigned int self, const flushq_atomic_ulong *set,
		   const struct flushq_range *range);
void hot_mm_shootdown(struct flushq *fq, unsigned int self, const struct flushq_mm *mm,
		      struct flushq_range *range);
void hot_mm_log_shootdown(struct flushq *fq, unsigned int self, const struct flushq_mm *mm,
			  struct flushq_range *range);

#endif
