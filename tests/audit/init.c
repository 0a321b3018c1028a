/* SPDX-License-Identifier: MIT */
/*
 * The init of tools/audit-debian: processes of several threads that map, unmap, move, protect,
 * discard and fork, and check the stamp of every page that they touch; busybox beside them. Every
 * address is used by one thread while it changes, or only read by the others: what a
 * correct program may do, so what a correct kernel must get right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 3
#define THREADS 4
#define PAGE 4096ul
#define AREA_PAGES 24
#define SHARED_PAGES 32
#define HUGE (4ul << 20)

struct thread {
	unsigned int process, id, rounds;
	uint64_t random;
	uint64_t stamp;
	char *area; /* its own */
	uint64_t is[AREA_PAGES]; /* stamps; 0: not mapped */
	unsigned long operations;
};

static char *shared; /* of the process: written by thread 0, read by all */
static uint64_t *shared_stamp;
static pthread_rwlock_t shared_lock = PTHREAD_RWLOCK_INITIALIZER;

static void fail(const char *what)
{
	printf("init: FAILED %s: %s\n", what, strerror(errno));
	fflush(NULL);
	_exit(1);
}

static unsigned int draw(struct thread *t, unsigned int n)
{
	t->random = t->random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)((t->random >> 33) % n);
}

static uint64_t *word(char *base, unsigned int page)
{
	return (uint64_t *)(void *)(base + page * PAGE);
}

static void check(struct thread *t)
{
	for (unsigned int i = 0; i < AREA_PAGES; i++)
		if (t->is[i] && *(volatile uint64_t *)word(t->area, i) != t->is[i])
			fail("a page has another's contents");
}

static void put(struct thread *t, unsigned int page)
{
	t->is[page] = ++t->stamp << 16 | t->process << 8 | t->id << 4 | 1;
	*(volatile uint64_t *)word(t->area, page) = t->is[page];
}

static void map(struct thread *t, unsigned int from, unsigned int n)
{
	if (mmap(t->area + from * PAGE, n * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		fail("mmap");
	for (unsigned int i = 0; i < n; i++)
		put(t, from + i);
}

static void unmap(struct thread *t, unsigned int from, unsigned int n)
{
	if (mmap(t->area + from * PAGE, n * PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		fail("mmap of nothing");
	memset(&t->is[from], 0, n * sizeof(*t->is));
}

static void protect(struct thread *t, unsigned int from, unsigned int n)
{
	if (mprotect(t->area + from * PAGE, n * PAGE, PROT_READ))
		fail("mprotect");
	check(t);
	if (mprotect(t->area + from * PAGE, n * PAGE, PROT_READ | PROT_WRITE))
		fail("mprotect back");
	for (unsigned int i = 0; i < n; i++)
		put(t, from + i);
}

static void discard(struct thread *t, unsigned int from, unsigned int n)
{
	if (madvise(t->area + from * PAGE, n * PAGE, MADV_DONTNEED))
		fail("madvise");
	for (unsigned int i = 0; i < n; i++) {
		if (*(volatile uint64_t *)word(t->area, from + i))
			fail("a discarded page is not empty");
		put(t, from + i);
	}
}

/* A page moves onto another's place. */
static void move(struct thread *t, unsigned int from, unsigned int to)
{
	if (from == to || !t->is[from])
		return;
	if (mremap(t->area + from * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   t->area + to * PAGE) == MAP_FAILED)
		fail("mremap");
	t->is[to] = t->is[from];
	unmap(t, from, 1);
}

static void child(struct thread *t)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		fail("fork");
	if (!pid) {
		check(t);
		for (unsigned int i = 0; i < AREA_PAGES; i++)
			if (t->is[i])
				put(t, i);
		check(t);
		unmap(t, 0, AREA_PAGES / 2);
		_exit(0);
	}
	/* Copies on write, on both sides at once. */
	for (unsigned int i = 0; i < AREA_PAGES; i++)
		if (t->is[i])
			put(t, i);
	if (waitpid(pid, &status, 0) != pid || status)
		fail("a child");
}

static void huge(struct thread *t)
{
	char *raw =
		mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *base = (char *)(((uintptr_t)raw + HUGE - 1) & ~(HUGE - 1));

	if (raw == MAP_FAILED)
		fail("mmap of huge pages");
	madvise(base, HUGE, MADV_HUGEPAGE);
	for (unsigned int i = 0; i < HUGE / PAGE; i += 16)
		*(volatile uint64_t *)word(base, i) = i + 1;
	/* Splits them. */
	mprotect(base + 64 * PAGE, 16 * PAGE, PROT_READ);
	munmap(base + 256 * PAGE, 16 * PAGE);
	for (unsigned int i = 0; i < HUGE / PAGE; i += 16)
		if (i != 256 && *(volatile uint64_t *)word(base, i) != i + 1)
			fail("a huge page has another's contents");
	munmap(raw, 2 * HUGE);
	(void)t;
}

static void share(struct thread *t)
{
	if (t->id == 0) {
		unsigned int page = draw(t, SHARED_PAGES);

		pthread_rwlock_wrlock(&shared_lock);
		if (draw(t, 2)) {
			if (mmap(shared + page * PAGE, PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
				fail("mmap of a shared page");
		} else if (mprotect(shared + page * PAGE, PAGE, PROT_READ | PROT_WRITE)) {
			fail("mprotect of a shared page");
		}
		shared_stamp[page] = ++t->stamp;
		*(volatile uint64_t *)word(shared, page) = t->stamp;
		if (draw(t, 2) && mprotect(shared + page * PAGE, PAGE, PROT_READ))
			fail("mprotect of a shared page");
		pthread_rwlock_unlock(&shared_lock);
		return;
	}
	pthread_rwlock_rdlock(&shared_lock);
	for (unsigned int i = 0; i < SHARED_PAGES; i++)
		if (*(volatile uint64_t *)word(shared, i) != shared_stamp[i])
			fail("a shared page has another's contents");
	pthread_rwlock_unlock(&shared_lock);
}

static void *work(void *arg)
{
	struct thread *t = arg;

	t->random = t->process * 1000 + t->id + 1;
	t->area = mmap(NULL, AREA_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->area == MAP_FAILED)
		fail("mmap of an area");
	map(t, 0, AREA_PAGES);
	for (unsigned int i = 0; i < t->rounds; i++) {
		unsigned int from = draw(t, AREA_PAGES), n = 1 + draw(t, AREA_PAGES - from);

		switch (draw(t, 32)) {
		case 0:
			child(t);
			break;
		case 1:
			if (!draw(t, 4))
				huge(t);
			break;
		case 2 ... 7:
			unmap(t, from, n);
			break;
		case 8 ... 14:
			map(t, from, n);
			break;
		case 15 ... 18:
			map(t, from, n);
			protect(t, from, n);
			break;
		case 19 ... 22:
			map(t, from, n);
			discard(t, from, n);
			break;
		case 23 ... 26:
			move(t, from, draw(t, AREA_PAGES));
			break;
		default:
			share(t);
		}
		check(t);
		t->operations++;
		if (!draw(t, 16))
			sched_yield();
	}
	munmap(t->area, AREA_PAGES * PAGE);
	return NULL;
}

static void process(unsigned int id, unsigned int rounds)
{
	struct thread t[THREADS] = { 0 };
	pthread_t handle[THREADS];
	unsigned long operations = 0;

	shared = mmap(NULL, SHARED_PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared_stamp = calloc(SHARED_PAGES, sizeof(*shared_stamp));
	if (shared == MAP_FAILED || !shared_stamp)
		fail("memory");
	for (unsigned int i = 0; i < THREADS; i++) {
		t[i].process = id;
		t[i].id = i;
		t[i].rounds = rounds;
		if (pthread_create(&handle[i], NULL, work, &t[i]))
			fail("pthread_create");
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(handle[i], NULL);
		operations += t[i].operations;
	}
	printf("init: process %u: %lu operations\n", id, operations);
	fflush(NULL);
	_exit(0);
}

static void shell(unsigned int rounds)
{
	char count[16];

	snprintf(count, sizeof(count), "%u", rounds);
	execl("/bin/busybox", "sh", "-c",
	      "for i in $(/bin/busybox seq $0); do"
	      " /bin/busybox find / -xdev -type f | /bin/busybox sort | /bin/busybox md5sum;"
	      " /bin/busybox dd if=/dev/zero bs=64k count=16 2>/dev/null | /bin/busybox gzip |"
	      " /bin/busybox sha1sum; done >/dev/null",
	      count, (char *)NULL);
	fail("busybox");
}

int main(void)
{
	const char *text = getenv("rounds");
	unsigned int rounds = text ? (unsigned int)atoi(text) : 200;
	int status, bad = 0;

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	printf("init: %u processes of %u threads, %u rounds\n", PROCESSES, THREADS, rounds);
	fflush(NULL);
	for (unsigned int i = 0; i <= PROCESSES; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (!pid && i < PROCESSES)
			process(i, rounds);
		if (!pid)
			shell(rounds / 50 + 1);
	}
	while (wait(&status) > 0)
		bad |= status;
	printf("init: %s\n", bad ? "FAILED" : "done");
	fflush(NULL);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
