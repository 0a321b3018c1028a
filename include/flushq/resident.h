/* SPDX-License-Identifier: MIT */
/*
 * resident.h - the ASIDs that one CPU's TLB may hold, and what it owes those it does not use now.
 *
 * Private to the CPU: plain functions on its own memory, not one of them safe against another of
 * them that interrupts it. Flushing and leaving sets is the caller's (owner.h).
 *
 * What makes it right: an ASID that is not in the table is flushed as a whole when the CPU switches
 * to it. So a debt for an ASID that is not in the table can be forgotten, and an entry may be
 * dropped at any time behind a flush of its ASID.
 */
#ifndef FLUSHQ_RESIDENT_H
#define FLUSHQ_RESIDENT_H

#include "log.h"

/* No entry. */
#define FLUSHQ_NOWHERE ((unsigned int)(FLUSHQ_RESIDENT))

/* An address space of which the TLB may hold something. */
struct flushq_resident_entry {
	flushq_atomic_ulong *set; /* the CPU is a member; NULL: the host's own */
	struct flushq_log *log; /* if it has one */
	uint32_t ran; /* the clock when it was last switched to */
	flushq_pos seen; /* where in the log to go on */
	uint16_t asid;
};

/* All zero is empty. */
struct flushq_resident {
	uint32_t used; /* bit i: entry i is in use */
	uint32_t loaded; /* of those, which may be in the page-table register */
	uint32_t logged; /* which have a log: of those that are loaded (others' bits are old) */
	uint32_t clock; /* switches so far */
	unsigned int nr_owed;
	struct flushq_resident_entry entry[FLUSHQ_RESIDENT];
	/* Debts of ASIDs that are in the table and not in the register, in no order. */
	struct flushq_range owed[FLUSHQ_OWED];
};

/* The entries of `asid`, as bits. Two where its number has gone to another address space. */
static inline uint32_t flushq_resident_of(const struct flushq_resident *res, flushq_asid asid)
{
	uint32_t left = res->used, of = 0;
	unsigned int i;

	for (i = 0; left; i++, left >>= 1)
		if (left & 1 && res->entry[i].asid == asid)
			of |= (uint32_t)1 << i;
	return of;
}

/* Where `asid` is put if there is room: so a look is enough for nearly all. (It stays where it is; those
 * whose place was taken are searched for.) */
static inline unsigned int flushq_resident_place(flushq_asid asid)
{
	return asid % FLUSHQ_RESIDENT;
}

/* Whether entry `i` is the address space that has `asid` and `set`. */
static inline bool flushq_resident_is(const struct flushq_resident *res, unsigned int i,
				      flushq_asid asid, const flushq_atomic_ulong *set)
{
	return res->used & (uint32_t)1 << i && res->entry[i].asid == asid &&
	       res->entry[i].set == set;
}

/* The entry of the address space that has `asid` and `set`, or FLUSHQ_NOWHERE. */
static inline unsigned int flushq_resident_find(const struct flushq_resident *res, flushq_asid asid,
						const flushq_atomic_ulong *set)
{
	unsigned int i;

	for (i = 0; i < FLUSHQ_RESIDENT; i++)
		if (flushq_resident_is(res, i, asid, set))
			return i;
	return FLUSHQ_NOWHERE;
}

/* A new entry, or FLUSHQ_NOWHERE where there is no room. */
static inline unsigned int flushq_resident_add(struct flushq_resident *res, flushq_asid asid,
					       flushq_atomic_ulong *set)
{
	unsigned int i = flushq_resident_place(asid), n;

	for (n = 0; n < FLUSHQ_RESIDENT; n++) {
		if (!(res->used >> i & 1)) {
			res->used |= (uint32_t)1 << i;
			res->entry[i].asid = (uint16_t)asid;
			res->entry[i].set = set;
			return i;
		}
		i = i + 1 < FLUSHQ_RESIDENT ? i + 1 : 0;
	}
	return FLUSHQ_NOWHERE;
}

static inline unsigned int flushq_resident_count(const struct flushq_resident *res)
{
	uint32_t left = res->used;
	unsigned int n = 0;

	for (; left; left &= left - 1)
		n++;
	return n;
}

/* The entry that was not switched to for longest, of those that can't be in the register; or
 * FLUSHQ_NOWHERE. */
static inline unsigned int flushq_resident_oldest(const struct flushq_resident *res)
{
	uint32_t left = res->used & ~res->loaded;
	unsigned int i, oldest = FLUSHQ_NOWHERE;

	for (; left; left &= left - 1) {
		i = flushq_ctz32(left);
		/* Differences: the clock wraps. */
		if (oldest == FLUSHQ_NOWHERE ||
		    res->clock - res->entry[i].ran > res->clock - res->entry[oldest].ran)
			oldest = i;
	}
	return oldest;
}

/* Whether an entry other than `i` has the set of `i`: then the membership is that one's as well. */
static inline bool flushq_resident_shares(const struct flushq_resident *res, unsigned int i)
{
	uint32_t left = res->used & ~((uint32_t)1 << i);

	for (; left; left &= left - 1)
		if (res->entry[flushq_ctz32(left)].set == res->entry[i].set)
			return true;
	return false;
}

/*
 * Keeps `range` until its ASID is switched to. False: it is not kept, as flushing the whole ASID is
 * better: it asks for that, or the ASID's debts together are more than FLUSHQ_PAGES_MAX pages, or
 * there is no room. At most FLUSHQ_OWED steps.
 */
static FLUSHQ_NOINLINE bool flushq_resident_owe(struct flushq_resident *res,
						const struct flushq_range *range)
{
	uint32_t pages = range->pages;
	unsigned int i, at = res->nr_owed;

	if (range->pages == 0)
		return false;
	for (i = 0; i < res->nr_owed; i++) {
		struct flushq_range *owed = &res->owed[i];

		if (owed->asid != range->asid)
			continue;
		if (at == res->nr_owed && flushq_range_merge(owed, range)) {
			if (owed->pages == 0)
				return false;
			at = i;
			pages += owed->pages - range->pages;
		} else {
			pages += owed->pages;
		}
	}
	if (pages > FLUSHQ_PAGES_MAX)
		return false;
	if (at < res->nr_owed)
		return true;
	if (res->nr_owed == FLUSHQ_OWED)
		return false;
	res->owed[res->nr_owed++] = *range;
	return true;
}

/* Takes one debt of `asid`, false if there is none (left). */
static inline bool flushq_resident_settle(struct flushq_resident *res, flushq_asid asid,
					  struct flushq_range *range)
{
	unsigned int i;

	for (i = 0; i < res->nr_owed; i++) {
		if (res->owed[i].asid != asid)
			continue;
		*range = res->owed[i];
		res->owed[i] = res->owed[--res->nr_owed];
		return true;
	}
	return false;
}

#endif
