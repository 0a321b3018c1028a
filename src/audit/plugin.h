/* SPDX-License-Identifier: MIT */
/* What the parts of the plugin share. */
#ifndef FLUSHQ_AUDIT_PLUGIN_H
#define FLUSHQ_AUDIT_PLUGIN_H

#include <pthread.h>
#include <stdio.h>

#include "qemu.h"
#include "shadow.h"

#define MAX_HARTS 512
#define MAX_REGIONS 8

struct region {
	uint64_t base, size;
	char *host;
};

struct audit {
	struct shadow *s;
	struct shadow_config c;
	unsigned int harts;
	const char *json, *status, *symbols;
	bool stop_at_first;
	_Atomic bool paging, hypervisor, reset_known;
	_Atomic uint64_t reset_pc;
	struct region region[MAX_REGIONS];
	_Atomic unsigned int regions;
	void *x[32];
	void *satp, *priv, *mstatus, *hstatus, *sstatus, *scause, *stval, *sepc, *hartid, *misa;
	struct qemu_u64 insns, machine;
	pthread_mutex_t lock;
	char cannot[256];
};

extern struct audit a;

/* Nothing is audited any more, and this is why. */
void cannot(const char *why);
uint64_t read_reg(void *handle);
uint64_t insns(void *arg, unsigned int hart);

/* hart.c: which hart runs? */

/* Private to a hart, and written often. */
struct own {
	bool satp_written;
	uint64_t satp_pc;
	uint64_t insns; /* under thread=single */
	unsigned int sample, samples, wrong;
} __attribute__((aligned(128)));

extern struct own own[MAX_HARTS];

struct round_robin {
	bool single, learned, translated;
	pthread_t thread;
	bool thread_known;
	uintptr_t *tls;
	size_t words, chosen;
	uintptr_t *seen; /* [word][hart] */
	bool *dropped;
	unsigned int *count; /* observations by hart */
	unsigned int hart, switches, observed;
	uintptr_t last;
	uintptr_t of[MAX_HARTS];
};

extern struct round_robin rr;

void rr_learn(void);
unsigned int hart_asked(void);
unsigned int hart_search(uintptr_t word);

static inline unsigned int hart_of(unsigned int vcpu)
{
	uintptr_t v;

	if (!rr.single || a.harts == 1)
		return vcpu;
	if (!rr.learned)
		return rr.hart;
	v = ((volatile uintptr_t *)rr.tls)[rr.chosen];
	return v == rr.last ? rr.hart : hart_search(v);
}

/* report.c: what is said in the end */
bool report_init(void);
void on_finding(void *arg, const struct shadow_finding *f);
void finish(void);

#endif
