/* SPDX-License-Identifier: MIT */
/*
 * Harts as threads, for the thread sanitizer: they use pages and move them, with a shootdown that
 * all the others answer ("honest"), or without. Prints how many stale uses were found.
 */
#include <stdio.h>
#include <string.h>
#include <pthread.h>
#include <sched.h>

#include "../../src/audit/shadow.h"

#define HARTS 4u
#define RAM 0x80000000ull
#define VA 0x40000000ull
#define PAGES 64u
#define ROUNDS 20000u
#define RW (PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D)

static _Alignas(4096) _Atomic uint64_t ram[512][512];
static _Atomic uint64_t ran[HARTS], answered[HARTS], asked, asked_page, found;
static pthread_mutex_t moving = PTHREAD_MUTEX_INITIALIZER;
static struct shadow *s;
static bool honest;

static const void *host(void *arg, uint64_t pa)
{
	(void)arg;
	return pa - RAM < sizeof(ram) ? (const char *)ram + (pa - RAM) : NULL;
}

static uint64_t insns(void *arg, unsigned int hart)
{
	(void)arg;
	return atomic_load(&ran[hart]);
}

static void note(void *arg, const struct shadow_finding *f)
{
	(void)arg;
	(void)f;
	atomic_fetch_add(&found, 1);
}

static uint64_t va_of(uint64_t page)
{
	return VA + page * 4096;
}

static void answer(unsigned int hart)
{
	uint64_t n = atomic_load(&asked);

	if (atomic_load(&answered[hart]) == n)
		return;
	if (honest)
		shadow_fence(s, hart, SHADOW_VA_ASID, va_of(atomic_load(&asked_page)), 1, 0);
	atomic_store(&answered[hart], n);
}

static void move(unsigned int hart, unsigned int page, unsigned int to)
{
	atomic_store(&ram[2][page], ((RAM >> 2) + (256ull + (to & 255)) * 1024) | RW);
	shadow_table_store(s, hart, RAM + 0x2000 + page * 8ull, 8, 0);
	atomic_store(&asked_page, page);
	atomic_fetch_add(&asked, 1);
	for (unsigned int i = 0; i < HARTS; i++) {
		while (i != hart && atomic_load(&answered[i]) < atomic_load(&asked))
			sched_yield();
	}
	answer(hart);
}

static void *run(void *arg)
{
	unsigned int hart = (unsigned int)(uintptr_t)arg, n = hart;

	shadow_satp(s, hart, 8ull << 60 | 1ull << 44 | RAM >> 12, 0);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		n = n * 1103515245 + 12345;
		atomic_fetch_add(&ran[hart], 10);
		answer(hart);
		if (n >> 16 & 63) {
			shadow_access(s, hart, va_of(n >> 22 & (PAGES - 1)), 8,
				      SHADOW_USER | (n & 256 ? SHADOW_LOAD : SHADOW_STORE), 0);
		} else if (!pthread_mutex_trylock(&moving)) {
			move(hart, n >> 22 & (PAGES - 1), n >> 24);
			pthread_mutex_unlock(&moving);
		}
	}
	atomic_store(&answered[hart], ~0ull); /* and it does not use them any more */
	shadow_idle(s, hart);
	return NULL;
}

int main(int argc, char **argv)
{
	struct shadow_config c = {
		.harts = HARTS,
		.grace = 2000,
		.memory = 1ull << 28,
		.tlbs = 1,
		.sets = { 4 },
		.ways = { 4 },
		.ram_base = RAM,
		.ram_size = sizeof(ram),
		.host = host,
		.insns = insns,
		.report = note,
	};
	pthread_t thread[HARTS];

	honest = argc > 1 && !strcmp(argv[1], "honest");
	ram[0][VA >> 30] = (RAM + 0x1000) >> 2 | PTE_V;
	ram[1][VA >> 21 & 511] = (RAM + 0x2000) >> 2 | PTE_V;
	for (unsigned int i = 0; i < PAGES; i++)
		ram[2][i] = ((RAM >> 2) + 256 * 1024) | RW;
	s = shadow_new(&c);
	if (!s)
		return 2;
	for (unsigned int i = 0; i < HARTS; i++)
		pthread_create(&thread[i], NULL, run, (void *)(uintptr_t)i);
	for (unsigned int i = 0; i < HARTS; i++)
		pthread_join(thread[i], NULL);
	printf("%s %llu\n", s->stopped ? s->stopped : "found", (unsigned long long)found);
	shadow_free(s);
	return 0;
}
