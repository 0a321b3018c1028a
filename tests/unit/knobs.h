/* SPDX-License-Identifier: MIT */
/* knobs.h - included before everything (-include): the knobs that each variant shares. */
#ifndef KNOBS_H
#define KNOBS_H

#ifdef __cplusplus
extern "C" {
#endif
void fake_rule_broken(const char *rule);
void fake_event(unsigned int event, unsigned int cpu, unsigned long n);
#ifdef __cplusplus
}
#endif

#define FLUSHQ_ASSERT(cond) ((cond) ? (void)0 : fake_rule_broken(#cond))
#define FLUSHQ_TRACE(event, cpu, n) fake_event((unsigned int)(event), (cpu), (n))
#ifdef CHECK_STEPS
#define FLUSHQ_ATOMIC_H "step_atomic.h"
#endif

#endif
