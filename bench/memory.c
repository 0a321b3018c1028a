/* SPDX-License-Identifier: MIT */
/* memory - bytes that flushq takes with the knobs that this was compiled with, as a line of CSV.
 * tools/bench compiles it again for each capacity. */
#include <stdio.h>

#include <flushq/flushq.h>

int main(void)
{
	printf("%u,%u,%u,%zu,%zu,%zu,%zu\n", (unsigned int)FLUSHQ_NR_CPUS,
	       (unsigned int)FLUSHQ_QUEUE_SLOTS, (unsigned int)FLUSHQ_LOG_SLOTS,
	       sizeof(struct flushq_cpu), sizeof(struct flushq_queue), sizeof(struct flushq_mm),
	       sizeof(struct flushq_log));
	return 0;
}
