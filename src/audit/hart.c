// SPDX-License-Identifier: MIT
/*
 * Which hart is it? Under thread=multi a thread is a hart, and QEMU says which. Under thread=single
 * (and -icount) it says which hart the block was first translated for: blocks are shared. There the
 * answer is looked for in QEMU's thread-local memory: a word that was always the same for one
 * hart and never for two (it is the pointer to the running CPU). Until that word is found,
 * and again at each write of satp, the slow truth is asked: mhartid.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

struct round_robin rr;
struct own own[MAX_HARTS];

static int main_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_data) {
			rr.tls = info->dlpi_tls_data;
			rr.words = info->dlpi_phdr[i].p_memsz / sizeof(uintptr_t);
		}
	}
	return 1; /* the first is the program itself */
}

unsigned int hart_asked(void)
{
	uint64_t hart = read_reg(a.hartid);

	if (hart < a.harts)
		return (unsigned int)hart;
	cannot("hart ids are not 0 to N-1 on this machine");
	return 0;
}

void rr_learn(void)
{
	unsigned int hart = hart_asked();
	bool enough = true;

	if (!rr.tls) {
		dl_iterate_phdr(main_tls, NULL);
		rr.seen = calloc(rr.words * a.harts + 1, sizeof(*rr.seen));
		rr.dropped = calloc(rr.words + 1, sizeof(*rr.dropped));
		rr.count = calloc(a.harts, sizeof(*rr.count));
		if (!rr.tls || !rr.seen || !rr.dropped || !rr.count) {
			cannot("which hart runs cannot be told here under -icount or thread=single");
			return;
		}
	}
	rr.switches += rr.observed++ && rr.hart != hart;
	rr.hart = hart;
	if (++rr.count[hart] > 64 && rr.count[hart] & 255)
		return;
	for (size_t i = 0; i < rr.words; i++) {
		uintptr_t *seen = &rr.seen[i * a.harts], v = rr.tls[i];

		if (rr.dropped[i] || !v || (seen[hart] && seen[hart] != v)) {
			rr.dropped[i] = true;
			continue;
		}
		seen[hart] = v;
		for (unsigned int k = 0; k < a.harts; k++)
			rr.dropped[i] |= k != hart && seen[k] == v;
	}
	for (unsigned int k = 0; k < a.harts; k++)
		enough &= rr.count[k] >= 8;
	if (!enough || rr.switches < 2 * a.harts)
		return;
	for (size_t i = 0; i < rr.words; i++) {
		if (rr.dropped[i])
			continue;
		rr.chosen = i;
		memcpy(rr.of, &rr.seen[i * a.harts], a.harts * sizeof(*rr.of));
		rr.last = rr.of[hart];
		rr.learned = true;
		return;
	}
	cannot("which hart runs cannot be told here under -icount or thread=single; use "
	       "-accel tcg,thread=multi");
}

unsigned int hart_search(uintptr_t word)
{
	for (unsigned int k = 0; k < a.harts; k++) {
		if (rr.of[k] == word) {
			rr.last = word;
			rr.hart = k;
			return k;
		}
	}
	rr.hart = hart_asked();
	return rr.hart;
}

uint64_t insns(void *arg, unsigned int hart)
{
	(void)arg;
	return rr.single ? own[hart].insns : qemu_plugin_u64_get(a.insns, hart);
}
