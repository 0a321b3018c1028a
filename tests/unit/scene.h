/* SPDX-License-Identifier: MIT */
/* scene.h - what several tests start from: a machine whose CPUs each do something else. */
#ifndef SCENE_H
#define SCENE_H

#include "fake_host.h"

#define PAGE (1ul << FLUSHQ_PAGE_SHIFT)
#define SLOTS FLUSHQ_QUEUE_SLOTS

/* The CPUs of ASID 5, and of another; an answer of flushq_post(). */
extern flushq_atomic_ulong set[FAKE_WORDS], other[FAKE_WORDS];
extern unsigned long mask[FAKE_WORDS];
extern const struct flushq_range all;

/* A machine of `nr` CPUs, and these three empty. */
void begin(unsigned int nr);
/*
 * CPU 0 and 1 run ASID 5, 2 runs 6 but ran 5, 3 is lazy on 5, 4 is parked and ran 5; 5 to 7 never
 * did.
 */
void scene(void);

/* As `cpu`, interrupts off. */
void online(unsigned int cpu);
void offline(unsigned int cpu);
void switch_to(unsigned int cpu, flushq_asid asid, flushq_atomic_ulong *cpus);
void switched(unsigned int cpu);
void lazy(unsigned int cpu);
void unlazy(unsigned int cpu);
void park(unsigned int cpu);
void tick(unsigned int cpu);

/* An initiator has put a request into the queue of `cpu`. */
void owe(unsigned int cpu, const struct flushq_range *range);
/* A producer has claimed the slot that many ahead of `cpu`'s head, and stalled. */
void claim(unsigned int cpu, unsigned int ahead);

/* `cpu` has flushed once, exactly that. */
void expect_flush(unsigned int cpu, const struct flushq_range *range);
/* Whether `cpu` has an entry for it, and so would not flush it on switching to it. */
bool resident(unsigned int cpu, flushq_asid asid, const flushq_atomic_ulong *cpus);

#ifdef CHECK_STEPS
/* Between these two each atomic operation is written down. */
void record(void);
void record_end(void);
#define NOT_FOUND 64u
/* Index of the first such operation at or after `from`, NOT_FOUND if there is none. */
unsigned int find(unsigned int from, enum step_kind kind, const volatile void *where);
#endif

#endif
