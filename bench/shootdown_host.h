/* SPDX-License-Identifier: MIT */
/*
 * shootdown_host.h - flushq on a host that does nothing but count flushes: what is left is the
 * library's own cost. The hooks get names of their own, as softtlb in the same program has hooks
 * too. First include of a unit; nothing of flushq may pass from it to units on softtlb.
 */
#ifndef SHOOTDOWN_HOST_H
#define SHOOTDOWN_HOST_H

/* 64 targets and who shoots them down. */
#define FLUSHQ_NR_CPUS 65

#define flushq_host_flush null_host_flush
#define flushq_host_irq_save null_host_irq_save
#define flushq_host_irq_restore null_host_irq_restore
#define flushq_host_irqs_off null_host_irqs_off
#define flushq_host_relax null_host_relax
#define flushq_host_interrupt null_host_interrupt

#include <flushq/flushq.h>

extern _Thread_local unsigned long null_host_flushes;
/* Nobody uses what these scenarios shoot down: one is a mistake of the benchmark. */
extern unsigned long null_host_interrupts;

#endif
