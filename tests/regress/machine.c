/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define NR_FRAMES 1024
#define NR_TABLES 64
#define STEPS_MAX 20000
#define PREEMPTIONS_MAX 3
#define STACK (64 * 1024)
#define NOBODY NR_CPUS

struct coroutine {
	ucontext_t context;
	bool ended; /* but for interrupts */
	bool asleep; /* until all others have ended */
	unsigned char stack[STACK] __attribute__((aligned(16)));
};

struct preemption {
	unsigned int step, next;
};

struct machine machine;

static struct {
	bool freed;
	struct space *owner; /* NULL: the kernel */
} frames[NR_FRAMES];
static struct {
	bool freed;
	unsigned int frame[NR_PAGES];
} tables[NR_TABLES];
static unsigned int nr_frames, nr_tables;

static const struct scenario *scenario;
static struct coroutine coroutines[NR_CPUS];
static ucontext_t scheduler;
static unsigned int running = NOBODY; /* NOBODY: no coroutine */
static struct preemption plan[PREEMPTIONS_MAX];
static unsigned int nr_plan, done_plan, first_cpu, nr_steps, next_cpu;
/* Who ran at each step, and who might have. */
static unsigned char ran[STEPS_MAX], might[STEPS_MAX];
static unsigned long schedules;

void fail(const char *format, ...)
{
	unsigned int i;
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (scenario) {
		printf("schedule %lu: CPU %u first", schedules, first_cpu);
		for (i = 0; i < done_plan; i++)
			printf(", at step %u CPU %u", plan[i].step, plan[i].next);
		printf("; step %u\n", nr_steps);
	}
	fflush(stdout);
	_Exit(3);
}

/* The hardware. */

static void use(unsigned int cpu, const struct space *root, unsigned int frame)
{
	CHECK(!frames[frame].freed, "CPU %u uses a page after it was freed", cpu);
	CHECK(frames[frame].owner == root, "CPU %u uses another address space's page", cpu);
}

static void walk(unsigned int cpu)
{
	struct hardware *hw = &machine.hw[cpu];
	unsigned int *table = &hw->table[hw->asid], *leaf = hw->leaf[hw->asid], page;

	for (page = 0; hw->on && page < NR_PAGES; page++) {
		if (!hw->kernel[page])
			hw->kernel[page] = machine.kernel[page];
		if (hw->kernel[page])
			use(cpu, NULL, hw->kernel[page]);
	}
	if (!hw->root)
		return;
	CHECK(!hw->root->freed, "CPU %u walks a root that was freed", cpu);
	if (!*table)
		*table = hw->root->table;
	CHECK(!tables[*table].freed, "CPU %u walks a table that was freed", cpu);
	for (page = 0; page < NR_PAGES; page++) {
		if (!leaf[page])
			leaf[page] = tables[*table].frame[page];
		if (leaf[page] && hw->user)
			use(cpu, hw->root, leaf[page]);
	}
}

static void all_walk(void)
{
	unsigned int cpu;

	for (cpu = 0; cpu < NR_CPUS; cpu++)
		walk(cpu);
}

static bool interruptible(unsigned int cpu)
{
	const struct hardware *hw = &machine.hw[cpu];

	return hw->pending && (machine.nmi ? !hw->handling : !hw->irqs_off);
}

static void take_interrupt(unsigned int cpu)
{
	struct hardware *hw = &machine.hw[cpu];

	hw->pending = false;
	hw->handling = true;
	hw->irqs_off++;
	flushq_drain(&machine.fq, cpu);
	hw->irqs_off--;
	hw->handling = false;
	machine.waits = 0;
}

static bool runnable(unsigned int cpu)
{
	return !coroutines[cpu].asleep && (!coroutines[cpu].ended || interruptible(cpu));
}

static unsigned char all_runnable(void)
{
	unsigned int cpu, all = 0;

	for (cpu = 0; cpu < NR_CPUS; cpu++)
		if (runnable(cpu))
			all |= 1u << cpu;
	return (unsigned char)all;
}

/* Back to the scheduler, which runs `next`, or who can. */
static void yield(unsigned int next)
{
	unsigned int self = running;

	next_cpu = next;
	swapcontext(&coroutines[self].context, &scheduler);
}

void step(void)
{
	unsigned int self = machine.self;

	all_walk();
	if (running == NOBODY)
		return;
	if (interruptible(self))
		take_interrupt(self);
	CHECK(nr_steps < STEPS_MAX, "it goes on for ever");
	ran[nr_steps] = (unsigned char)self;
	might[nr_steps] = all_runnable();
	nr_steps++;
	if (done_plan < nr_plan && plan[done_plan].step == nr_steps - 1) {
		coroutines[self].asleep = scenario->sleepers != 0;
		yield(plan[done_plan++].next);
	}
}

void test_step(unsigned int kind, const volatile void *p)
{
	size_t offset = (size_t)((const volatile char *)p - (const volatile char *)machine.dead);

	(void)kind;
	CHECK(!p || !machine.dead || offset >= machine.dead_bytes,
	      "CPU %u touches what an address space left behind", machine.self);
	step();
}

void irqs_off(unsigned int cpu)
{
	machine.self = cpu;
	machine.hw[cpu].irqs_off++;
}

void irqs_on(unsigned int cpu)
{
	machine.hw[cpu].irqs_off--;
	step();
}

void load(unsigned int cpu, struct space *space, flushq_asid asid)
{
	machine.self = cpu;
	step();
	machine.hw[cpu].root = space;
	machine.hw[cpu].asid = asid;
	step();
}

static unsigned int new_frame(struct space *owner)
{
	CHECK(nr_frames + 1 < NR_FRAMES, "the test needs more frames");
	frames[++nr_frames].owner = owner;
	frames[nr_frames].freed = false;
	return nr_frames;
}

static unsigned int new_table(struct space *owner)
{
	unsigned int page;

	CHECK(nr_tables + 1 < NR_TABLES, "the test needs more tables");
	tables[++nr_tables].freed = false;
	for (page = 0; page < NR_PAGES; page++)
		tables[nr_tables].frame[page] = new_frame(owner);
	return nr_tables;
}

unsigned int replace(struct space *space, unsigned int page)
{
	unsigned int *frame = &tables[space->table].frame[page], old = *frame;

	step();
	*frame = new_frame(space);
	step();
	return old;
}

unsigned int replace_table(struct space *space)
{
	unsigned int old = space->table;

	step();
	space->table = new_table(space);
	step();
	return old;
}

unsigned int replace_kernel(unsigned int page)
{
	unsigned int old = machine.kernel[page];

	machine.kernel[page] = new_frame(NULL);
	step();
	return old;
}

void free_frame(unsigned int frame)
{
	frames[frame].freed = true;
	step();
}

void free_table(unsigned int table)
{
	unsigned int page;

	tables[table].freed = true;
	for (page = 0; page < NR_PAGES; page++)
		frames[tables[table].frame[page]].freed = true;
	step();
}

/* The hooks. */

void flushq_host_flush(const struct flushq_range *asked)
{
	struct hardware *hw = &machine.hw[machine.self];
	struct flushq_range range = *asked;
	unsigned long first, end;
	unsigned int asid, page;

	if (machine.port)
		machine.port(&range);
	first = range.start >> range.shift << range.shift >> FLUSHQ_PAGE_SHIFT;
	end = first + ((unsigned long)range.pages << range.shift >> FLUSHQ_PAGE_SHIFT);
	step();
	hw->flushes++;
	hw->whole_flushes += range.pages == 0;
	for (asid = 0; asid < NR_ASIDS; asid++) {
		if (range.kind != FLUSHQ_GLOBAL && range.asid != asid)
			continue;
		if (range.pages == 0 || range.kind == FLUSHQ_TABLES)
			hw->table[asid] = 0;
		for (page = 0; page < NR_PAGES; page++)
			if (range.pages == 0 || (page >= first && page < end))
				hw->leaf[asid][page] = 0;
	}
	for (page = 0; page < NR_PAGES && range.kind == FLUSHQ_GLOBAL; page++)
		if (range.pages == 0 || (page >= first && page < end))
			hw->kernel[page] = 0;
	step();
}

unsigned long flushq_host_irq_save(void)
{
	return machine.hw[machine.self].irqs_off++;
}

void flushq_host_irq_restore(unsigned long flags)
{
	machine.hw[machine.self].irqs_off = (unsigned int)flags;
	step();
}

bool flushq_host_irqs_off(void)
{
	return machine.hw[machine.self].irqs_off != 0;
}

void flushq_host_relax(void)
{
	unsigned int self = machine.self, cpu;

	/* It may be a sleeper that it waits for. */
	if (++machine.waits % 100 == 0)
		for (cpu = 0; cpu < NR_CPUS; cpu++)
			coroutines[cpu].asleep = false;
	CHECK(machine.waits < 500, "CPU %u waits for ever", self);
	if (machine.on_relax)
		machine.on_relax(self);
	if (running != NOBODY) {
		step();
		yield(NOBODY);
		return;
	}
	for (cpu = 0; cpu < NR_CPUS; cpu++) {
		machine.self = cpu;
		if (cpu != self && interruptible(cpu))
			take_interrupt(cpu);
	}
	machine.self = self;
}

void flushq_host_interrupt(const unsigned long *which, unsigned int words)
{
	unsigned int cpu;

	(void)words;
	for (cpu = 0; cpu < NR_CPUS; cpu++) {
		if (!(which[0] >> cpu & 1))
			continue;
		machine.hw[cpu].pending = true;
		machine.interrupts++;
	}
	step();
}

void wait_for(const volatile bool *flag)
{
	while (!*flag)
		flushq_host_relax();
}

/* The host. */

void space_new(struct space *space, flushq_asid asid, bool log)
{
	memset(space, 0, sizeof(*space));
	space->asid = asid;
	flushq_mm_init(&space->mm, log ? &space->log : NULL);
	space->table = new_table(space);
}

void online(unsigned int cpu)
{
	irqs_off(cpu);
	flushq_online(&machine.fq, cpu);
	machine.hw[cpu].on = true;
	irqs_on(cpu);
}

void offline(unsigned int cpu)
{
	irqs_off(cpu);
	machine.hw[cpu].on = false;
	flushq_offline(&machine.fq, cpu);
	irqs_on(cpu);
}

void switch_to(unsigned int cpu, struct space *space)
{
	flushq_asid asid = space->asid;

	irqs_off(cpu);
	machine.hw[cpu].user = false;
	if (machine.fq.asids)
		asid = flushq_mm_switch_to(&machine.fq, cpu, &space->mm);
	else
		flushq_switch_to(&machine.fq, cpu, asid, space->mm.cpus);
	load(cpu, space, asid);
	flushq_switched(&machine.fq, cpu);
	machine.hw[cpu].user = true;
	irqs_on(cpu);
}

void park(unsigned int cpu)
{
	irqs_off(cpu);
	machine.hw[cpu].user = false;
	load(cpu, NULL, 0);
	flushq_park(&machine.fq, cpu);
	irqs_on(cpu);
}

void lazy(unsigned int cpu)
{
	irqs_off(cpu);
	machine.hw[cpu].user = false;
	flushq_enter_lazy(&machine.fq, cpu);
	irqs_on(cpu);
}

void unlazy(unsigned int cpu)
{
	irqs_off(cpu);
	flushq_leave_lazy(&machine.fq, cpu);
	machine.hw[cpu].user = true;
	irqs_on(cpu);
}

struct flushq_range range_of(const struct space *space, unsigned int page, enum flushq_kind kind)
{
	unsigned long size = kind == FLUSHQ_TABLES ? NR_PAGES * PAGE : PAGE;

	if (machine.fq.asids)
		return flushq_mm_range(&machine.fq, &space->mm, page * PAGE, size, PAGE, kind);
	return flushq_range_make(space->asid, page * PAGE, size, PAGE, kind);
}

void shootdown(unsigned int cpu, struct space *space, struct flushq_range range)
{
	machine.self = cpu;
	if (machine.fq.asids)
		flushq_mm_shootdown(&machine.fq, cpu, &space->mm, &range);
	else
		flushq_shootdown(&machine.fq, cpu, space->mm.cpus, &range);
}

void unmap(unsigned int cpu, struct space *space, unsigned int page)
{
	struct flushq_range range;
	unsigned int old;

	machine.self = cpu;
	/* Early: an ASID that is out of date by the time it is used. */
	range = range_of(space, page, FLUSHQ_LEAF);
	old = replace(space, page);
	shootdown(cpu, space, range);
	free_frame(old);
}

void unmap_table(unsigned int cpu, struct space *space)
{
	struct flushq_range range;
	unsigned int old;

	machine.self = cpu;
	range = range_of(space, 0, FLUSHQ_TABLES);
	old = replace_table(space);
	shootdown(cpu, space, range);
	free_table(old);
}

void unmap_kernel(unsigned int cpu, unsigned int page)
{
	struct flushq_range range = flushq_range_make(0, page * PAGE, PAGE, PAGE, FLUSHQ_GLOBAL);
	unsigned int old;

	machine.self = cpu;
	old = replace_kernel(page);
	flushq_shootdown(&machine.fq, cpu, NULL, &range);
	free_frame(old);
}

/* The scheduler. */

static void body(unsigned int cpu)
{
	if (scenario->cpu[cpu])
		scenario->cpu[cpu](cpu);
	for (;;) {
		while (interruptible(cpu))
			take_interrupt(cpu);
		coroutines[cpu].ended = true;
		yield(NOBODY);
		coroutines[cpu].ended = false;
	}
}

void machine_start(void)
{
	unsigned int page;

	memset(&machine, 0, sizeof(machine));
	nr_frames = nr_tables = 0;
	for (page = 0; page < NR_PAGES; page++)
		machine.kernel[page] = new_frame(NULL);
	flushq_init(&machine.fq, machine.cpu, NR_CPUS);
}

static void start(void)
{
	unsigned int cpu;

	running = NOBODY;
	machine_start();
	for (cpu = 0; !scenario->offline && cpu < NR_CPUS; cpu++)
		online(cpu);
	scenario->begin();
	machine.waits = machine.interrupts = 0;
	for (cpu = 0; cpu < NR_CPUS; cpu++) {
		struct coroutine *c = &coroutines[cpu];

		machine.hw[cpu].flushes = machine.hw[cpu].whole_flushes = 0;
		getcontext(&c->context);
		c->context.uc_stack.ss_sp = c->stack;
		c->context.uc_stack.ss_size = STACK;
		c->context.uc_link = NULL;
		c->ended = c->asleep = false;
		makecontext(&c->context, (void (*)(void))body, 1, cpu);
	}
}

/* The next that can run from `cpu` on; NOBODY: none. */
static unsigned int find_runnable(unsigned int cpu)
{
	unsigned int i;

	for (i = 0; i < NR_CPUS; i++, cpu = cpu + 1 < NR_CPUS ? cpu + 1 : 0)
		if (runnable(cpu))
			return cpu;
	for (cpu = 0; cpu < NR_CPUS; cpu++)
		coroutines[cpu].asleep = false;
	for (cpu = 0; cpu < NR_CPUS; cpu++)
		if (runnable(cpu))
			return cpu;
	return NOBODY;
}

/* One schedule: `plan` from `first_cpu` on. */
static void run(void)
{
	unsigned int cpu = first_cpu;

	start();
	nr_steps = done_plan = 0;
	schedules++;
	while ((cpu = find_runnable(cpu)) != NOBODY) {
		running = machine.self = cpu;
		swapcontext(&scheduler, &coroutines[cpu].context);
		running = NOBODY;
		/* Who waits lets all others go first. */
		cpu = next_cpu != NOBODY ? next_cpu : cpu + 1 < NR_CPUS ? cpu + 1 : 0;
	}
	all_walk();
	if (scenario->end)
		scenario->end();
}

/* All schedules that begin with the plan's first `n`. */
static void explore_from(unsigned int n)
{
	unsigned char was[STEPS_MAX], could[STEPS_MAX];
	unsigned int steps, i, cpu;

	nr_plan = n;
	run();
	if (n == scenario->preemptions)
		return;
	steps = nr_steps;
	memcpy(was, ran, steps);
	memcpy(could, might, steps);
	for (i = n ? plan[n - 1].step + 1 : 0; i < steps; i++) {
		if (scenario->sleepers && !(scenario->sleepers >> was[i] & 1))
			continue;
		for (cpu = 0; cpu < NR_CPUS; cpu++) {
			if (cpu == was[i] || !(could[i] >> cpu & 1))
				continue;
			plan[n].step = i;
			plan[n].next = cpu;
			explore_from(n + 1);
		}
	}
}

void explore(const struct scenario *which)
{
	scenario = which;
	for (first_cpu = 0; first_cpu < NR_CPUS; first_cpu++)
		if (scenario->cpu[first_cpu])
			explore_from(0);
	scenario = NULL;
}

int passed(void)
{
	if (schedules)
		printf("%lu schedules\n", schedules);
	else
		printf("one run\n");
	return 0;
}
