/* SPDX-License-Identifier: MIT */
/* The hooks of FLUSHQ_ARCH_PORTABLE. */
#include "port.h"

struct flushq_range port_range(const struct range *r)
{
	static const enum flushq_kind kinds[] = {
		[KIND_LEAF] = FLUSHQ_LEAF,
		[KIND_TABLES] = FLUSHQ_TABLES,
		[KIND_GLOBAL] = FLUSHQ_GLOBAL,
	};

	/* What the RISC-V port does when it flushes: it says that it has no such flush by page. */
	if (r->kind == KIND_TABLES && !options.tables_by_page)
		return flushq_range_whole(r->asid, FLUSHQ_TABLES);
	return flushq_range_make(r->asid, r->start, r->size, PAGE_SIZE, kinds[r->kind]);
}

void flushq_host_flush(const struct flushq_range *range)
{
	static const enum kind kinds[] = {
		[FLUSHQ_LEAF] = KIND_LEAF,
		[FLUSHQ_TABLES] = KIND_TABLES,
		[FLUSHQ_GLOBAL] = KIND_GLOBAL,
	};
	struct range r = { .start = U_TEXT, .size = U_END - U_TEXT, .asid = range->asid };

	if (range->pages) {
		r.start = range->start;
		r.size = range->pages * PAGE_SIZE;
	}
	r.kind = kinds[range->kind];
	local_flush(self, &r);
}

/* The kernel takes interrupts where it says so, and nowhere else. */
unsigned long flushq_host_irq_save(void)
{
	return 0;
}

void flushq_host_irq_restore(unsigned long flags)
{
	(void)flags;
}

bool flushq_host_irqs_off(void)
{
	return true;
}

void flushq_host_relax(void)
{
	turn();
}

void flushq_host_interrupt(const unsigned long *set, unsigned int words)
{
	(void)words;
	interrupt(self, set[0]);
}
