/* SPDX-License-Identifier: MIT */
/*
 * loops.h - the measuring loops around one contender. Included (more than once, in some files)
 * behind
 *
 *	PEER			its name
 *	PEER_KIND, PEER_ROOM	see struct peer
 *	struct PEER_(queue)	its state
 *	PEER_(start)(q)		makes it empty; `q` is zeroed
 *	PEER_(put)(q, self, range)	true: accepted
 *	PEER_(take)(q, in)	takes all that is there, returns how many
 *	PEER_(stop), PEER_(resume)
 */

static void PEER_(init)(void *queue)
{
	PEER_(start)((struct PEER_(queue) *)queue);
}

static void PEER_(alone)(void *queue, struct work *work, unsigned long turns)
{
	struct intake in = work->in;
	unsigned long accepted = 0;
	unsigned int i;

	work->start = bench_now();
	for (; turns; turns--) {
		for (i = 0; i < PEER_BATCH; i++)
			accepted += PEER_(put)(queue, 0, &work->request[i]);
		in.ages = NULL;
		PEER_(take)(queue, &in);
	}
	work->end = bench_now();
	work->accepted = accepted;
	work->in = in;
}

static void PEER_(produce)(void *queue, struct work *work)
{
	unsigned long accepted = 0, rejected = 0, sum = 0;
	unsigned int self = work->self, i;

	work->start = bench_now();
	do {
		/* Time is asked for seldom: it costs as much as some puts. */
		for (i = 0; i < 16 * PEER_BATCH; i++) {
			struct flushq_range *range = &work->request[i % PEER_BATCH];

			range->start += (unsigned long)PEER_BATCH << FLUSHQ_PAGE_SHIFT;
			if (PEER_(put)(queue, self, range)) {
				accepted++;
				sum += range->start + range->pages + range->asid;
				continue;
			}
			rejected++;
			if (work->patient)
				PEER_RELAX();
		}
	} while (bench_ticks() < work->until);
	work->end = bench_now();
	work->accepted = accepted;
	work->rejected = rejected;
	work->sum = sum;
}

static void PEER_(consume)(void *queue, struct work *work)
{
	struct intake in = work->in;

	while (__atomic_load_n(work->producing, __ATOMIC_RELAXED)) {
		in.ages = NULL;
		if (PEER_(take)(queue, &in) == 0)
			PEER_RELAX();
	}
	work->in = in;
}

static void PEER_(timed_produce)(void *queue, struct work *work)
{
	struct flushq_range range = work->request[0];
	uint64_t now, due = bench_ticks();
	bool accepted;

	while (due < work->until) {
		while ((now = bench_ticks()) < due)
			PEER_RELAX();
		range.start = stamp();
		now = bench_ticks();
		accepted = PEER_(put)(queue, work->self, &range);
		due = bench_ticks();
		histogram_add_due(work->calls, due - now, work->period);
		if (due < now + work->period)
			due = now + work->period;
		work->accepted += accepted;
		work->rejected += !accepted;
	}
}

static void PEER_(timed_consume)(void *queue, struct work *work)
{
	struct intake in = work->in;
	uint64_t now, end;

	in.ages = work->ages;
	while (__atomic_load_n(work->producing, __ATOMIC_RELAXED)) {
		now = bench_ticks();
		if (now >= work->event) {
			work->at_event(work);
			continue;
		}
		if (PEER_(take)(queue, &in) == 0) {
			PEER_RELAX();
			continue;
		}
		end = bench_ticks();
		histogram_add_due(work->calls, end - now, work->period);
	}
	work->in = in;
}

static void PEER_(drain)(void *queue, struct intake *in)
{
	while (PEER_(take)(queue, in))
		;
}

const struct peer PEER_(peer) = {
	.name = PEER_TEXT(PEER),
	.kind = PEER_KIND,
	.room = PEER_ROOM,
	.size = sizeof(struct PEER_(queue)),
	.init = PEER_(init),
	.alone = PEER_(alone),
	.produce = PEER_(produce),
	.consume = PEER_(consume),
	.timed_produce = PEER_(timed_produce),
	.timed_consume = PEER_(timed_consume),
	.drain = PEER_(drain),
	.stop = PEER_(stop),
	.resume = PEER_(resume),
};
