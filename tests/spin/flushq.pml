/* SPDX-License-Identifier: MIT */
/*
 * flushq.pml - the protocol of include/flushq as a whole, at the level of docs/design.md's contract:
 * shootdowns and tickets against CPUs that join, switch, go lazy, park, leave sets, go offline and
 * come back, while ASIDs roll over. The ring and the log themselves are relacy's (tests/model).
 *
 * MEMORY. Weaker than TSO. Each CPU has a store buffer, which commits its stores in any order, but
 * those of one location in order, and a release store behind all stores before it. A full fence waits
 * until it is empty. A read-modify-write takes effect at once, past what is buffered, unless it is a
 * release; D1's is buffered too (a store-conditional that is seen late), and who would ring meanwhile
 * waits, which keeps it one step. Loads are made in order; a label that is an acquire is taken away
 * (NO_...) by making what it holds back come before it.
 *
 * USES. A use is a load that may be under way long after it was issued (`infl`): it is over where a
 * release store that follows it commits, or at a full fence, and no sooner.
 *
 * TLB. Not a choice of what was cached but the set of what may be: a walk may come at any point while
 * the register has the address space, and nothing is evicted. As on RISC-V only a flush orders walks
 * behind stores; neither a fence nor the write of the register does. So a CPU may have the old
 * translation of page p under ASID a until it flushes that behind the change of the page table:
 * `stale`. `tags`: whose translations it may have under a number, for ASIDs that went to another.
 *
 * Page p is changed once, by CPU p. Kinds: LEAF; TABLES (bit p of -DTABLES=), which the hardware may
 * walk as long as the register has their address space; GLOBAL (-DGLOBALS=), which each online CPU
 * uses all the time.
 *
 * Each step is named after its label in shootdown.h, and each -DNO_LABEL takes one order away.
 */

/* ---- bounds and features: -D of tests/spin/run ---- */

#ifndef CPUS
#define CPUS 2
#endif
#ifndef MMS
#define MMS 2 /* address spaces */
#endif
#ifndef PAGES
#define PAGES 1 /* CPU p changes page p */
#endif
#ifndef SLOTS
#define SLOTS 1 /* of a queue: 1 or 2 */
#endif
#ifndef BUFFER
#define BUFFER 3 /* stores that a CPU has not yet committed, at most */
#endif
#ifndef MM_PAGES
#define MM_PAGES(m) ((m) == 0 -> 3 : 0) /* the pages of address space m, as bits */
#endif
#ifndef TABLES
#define TABLES 0
#endif
#ifndef GLOBALS
#define GLOBALS 0
#endif
#ifndef TICKETS
#define TICKETS 0 /* pages for which a ticket is taken */
#endif
/* What CPU 0, 1, 2 may do, */
#ifndef MAY0
#define MAY0 0
#endif
#ifndef MAY1
#define MAY1 0
#endif
#ifndef MAY2
#define MAY2 0
#endif
#define MAY(c, what) (((c) == 0 -> MAY0 : ((c) == 1 -> MAY1 : MAY2)) & (what))
#define SWITCH 1
#define PARK 2
#define LAZY 4
#define HOTPLUG 8
#define AGE 16 /* flush an ASID of the table as a whole where it might keep it */
/* CPU 0 in this order, from the highest of TIMES0 decimal digits on: address spaces, and 9 to park. */
#ifdef SCRIPT0
#define POWER(n) ((n) == 4 -> 1000 : ((n) == 3 -> 100 : ((n) == 2 -> 10 : 1)))
#define TURN_OF(x) (c != 0 || (SCRIPT0 / POWER(times)) % 10 == (x))
#else
#define TURN_OF(x) true
#endif
/* how often, */
#ifndef TIMES
#define TIMES 2
#endif
#ifndef TIMES0
#define TIMES0 TIMES
#endif
/* and what it does at first. */
#ifndef START0
#define START0 USER
#endif
#ifndef START1
#define START1 USER
#endif
#ifndef START2
#define START2 USER
#endif
#define START(c) ((c) == 0 -> START0 : ((c) == 1 -> START1 : START2))
#ifdef ROLLOVER
#ifndef ASIDS
#define ASIDS 2
#endif
#ifndef GENERATIONS
#define GENERATIONS 3
#endif
#else
#define ASIDS MMS /* address space m has m + 1 */
#endif

/* ---- orders that can be taken away ---- */

#ifdef NO_C1
#define C1 RELAXED
#else
#define C1 RELEASE
#endif
#ifdef NO_D1_RELEASE
#define D1 RELAXED
#else
#define D1 RELEASE
#endif
#ifdef NO_D2
#define D2 RELAXED
#else
#define D2 RELEASE
#endif
#ifdef NO_G1
#define G1 RELAXED
#else
#define G1 RELEASE
#endif
#define G3 RELEASE /* its loss can't be seen here: the marks it follows are read-modify-writes */
#ifdef NO_R4
#define R4 RELAXED
#else
#define R4 RELEASE
#endif

/* ---- the machine ---- */

#define NONE 255
byte reg[CPUS] = NONE; /* the register: an address space, */
byte rega[CPUS]; /* and its ASID */
byte stale[CPUS * (ASIDS + 1)]; /* pages, by ASID; 0: kernel pages */
bool user[CPUS]; /* uses its address space */
bool online[CPUS]; /* uses kernel pages */
byte infl[CPUS]; /* pages whose old translation a use under way has */
bool irq[CPUS];
#ifdef NMI
bool busy[CPUS], again[CPUS];
#endif
bit head[CPUS]; /* of the queue: the owner's, and where producers go on */
byte reused; /* pages */
byte waiting; /* CPUs in flushq_priv_wait(): patience may yet end it */
#ifdef ROLLOVER
byte tags[CPUS * (ASIDS + 1)]; /* address spaces, by ASID */
byte kept[CPUS * 2], kept_id[CPUS * 2], map; /* asid.h's, under the lock */
#endif

/* ---- memory ---- */

#define RELAXED 0
#define RELEASE 7 /* bits 0 and 1: the pages whose uses under way come before it */

#define CTX(c) (c)
#define DRN(c) (CPUS + (c))
#define BELL(c) (2 * CPUS + (c))
#define MARK(c) (3 * CPUS + (c))
#define NEXT(c) (4 * CPUS + (c))
#define HELD(c) (5 * CPUS + (c))
#define SLOT(c, i) (6 * CPUS + SLOTS * (c) + (i))
#define PTE(p) (6 * CPUS + SLOTS * CPUS + (p))
#define SET(m) (PTE(PAGES) + (m))
#define ID(m) (SET(MMS) + (m))
#define ONLINE (ID(MMS))
#define GEN (ONLINE + 1)
#define LOCK (ONLINE + 2)
#define LOCATIONS (ONLINE + 3)

typedef store_buffer {
	byte n, loc[3], val[3], order[3];
};

byte mem[LOCATIONS];
store_buffer sb[CPUS];

#define AT(i, l) (sb[c].n > i && sb[c].loc[i] == (l))
/* What CPU c reads: its own latest store, or memory. */
#define LD(l) (AT(2, l) -> sb[c].val[2] : (AT(1, l) -> sb[c].val[1] : (AT(0, l) -> sb[c].val[0] : mem[l])))

/* (A macro: Spin takes no conditional expression as an argument; atomic, not d_step: nothing may jump
 * to a d_step.) */
#define put(where, what_, how)                                                                     \
	atomic {                                                                                   \
		sb[c].n < BUFFER;                                                                  \
		sb[c].loc[sb[c].n] = where;                                                        \
		sb[c].val[sb[c].n] = what_;                                                        \
		sb[c].order[sb[c].n] = how;                                                        \
		sb[c].n++                                                                          \
	}

inline fence()
{
	atomic { sb[c].n == 0; infl[c] = 0 }
}

inline commit(c, i)
{
	d_step {
		mem[sb[c].loc[i]] = sb[c].val[i];
		infl[c] = infl[c] & ~sb[c].order[i];
		if
		:: i == 0 -> sb[c].loc[0] = sb[c].loc[1]; sb[c].val[0] = sb[c].val[1];
			sb[c].order[0] = sb[c].order[1]
		:: else
		fi;
		if
		:: i < 2 -> sb[c].loc[1] = sb[c].loc[2]; sb[c].val[1] = sb[c].val[2];
			sb[c].order[1] = sb[c].order[2]
		:: else
		fi;
		sb[c].loc[2] = 0; sb[c].val[2] = 0; sb[c].order[2] = 0;
		sb[c].n--;
	}
}

#define PASSES(c, i) (sb[c].n > i && sb[c].order[i] == RELAXED && sb[c].loc[i] != sb[c].loc[0] && \
		      (i == 1 || sb[c].loc[i] != sb[c].loc[1]))

proctype buffers(byte c)
{
endbuffers:
	do
	:: sb[c].n > 0 -> commit(c, 0)
	:: PASSES(c, 1) -> commit(c, 1)
	:: PASSES(c, 2) -> commit(c, 2)
	od
}

/* ---- contexts (cpu.h) and requests ---- */

#define OFFLINE 0
#define PARKED 1
#define LOADED 3
#define LAZILY 4
#define SWITCHING 8
#define CONTEXT(a) (LOADED | (a) << 4)

#define BIT(x, i) (((x) >> (i)) & 1)
#define IS_TABLES(p) BIT(TABLES, p)
#define IS_GLOBAL(p) BIT(GLOBALS, p)

#ifdef NO_FORCED_LAZY
#define LAZY_NEEDS(p) 0
#else
#define LAZY_NEEDS(p) IS_TABLES(p)
#endif
#ifdef NO_SWITCHING
#define SWITCHING_NEEDS(x, p) 0
#else
#define SWITCHING_NEEDS(x, p) (IS_TABLES(p) && ((x) & SWITCHING))
#endif

/* flushq_context_needs() of page p under ASID a. */
#define NEEDS(x, p, a) (IS_GLOBAL(p) -> (x) != OFFLINE : (SWITCHING_NEEDS(x, p) || \
	(((x) & 2) && (x) >> 4 == (a) && (!((x) & LAZILY) || LAZY_NEEDS(p)))))

/* A slot: empty, claimed, or the request for page p under ASID a (0 of kernel pages) */
#define EMPTY 0
#define CLAIMED 1
#define REQUEST(p, a) (2 + (a) * PAGES + (p))
#define ASID_OF(r) (((r) - 2) / PAGES)
/* and a set of such requests. */
#define REQ(r) (1 << ((r) - 2))
#define REQS_OF(a) (((1 << PAGES) - 1) << ((a) * PAGES))

/* Bells. */
#define SILENT 0
#define INTERRUPT 1
#define TICKET 2

/* The mark: none, one ASID, all. */
#define ALL 255

/* An entry of the table of residents: address space and ASID. */
#define ENTRY(m, a) (1 << ((m) * ASIDS + (a) - 1))
#define OF_ASID(a) ((1 | 1 << ASIDS | (MMS > 2 -> 1 << (2 * ASIDS) : 0)) << ((a) - 1))
#define OF_MM(m) (((1 << ASIDS) - 1) << ((m) * ASIDS))

/* An id (asid.h) */
#define NUMBER(id) ((id) & 3)
#define GENERATION(id) ((id) >> 2)

#define IX(c, a) ((c) * (ASIDS + 1) + (a))
/* Pages whose old translation the TLB may yield now, */
#define OLD(c) (reg[c] == NONE -> 0 : stale[IX(c, rega[c])] & MM_PAGES(reg[c]) & ~GLOBALS)
/* and those of which it is, or may be, used. */
#define USED(c) (infl[c] | (user[c] -> OLD(c) : OLD(c) & TABLES) | (online[c] -> stale[IX(c, 0)] & GLOBALS : 0))

/* THE PROPERTY: no old translation is used, or walked through, of a page that was reused. */
inline check()
{
	assert(!(reused & USED(c)))
}

/* Page tables that were changed, as the walks of CPU c see them behind a flush. */
#if PAGES > 2
#error "at most 2 pages"
#elif PAGES > 1
#define CHANGED (LD(PTE(0)) | LD(PTE(1)) << 1)
#else
#define CHANGED LD(PTE(0))
#endif

/* ---- one CPU ---- */

#define USER 1 /* an address space in use, */
#define IDLE 2 /* lazy, */
#define KERNEL 3 /* parked, having been a member; */
#define FRESH 4 /* parked, never a member; */
#define STOPPED 5 /* offline */

/* The uses of user mode are under way from here on. */
inline leave_user()
{
	if
	:: user[c] ->
		infl[c] = infl[c] | OLD(c);
		user[c] = false;
		/* What is buffered already is not behind them. */
		sb[c].order[0] = sb[c].order[0] & ~OLD(c);
		sb[c].order[1] = sb[c].order[1] & ~OLD(c);
		sb[c].order[2] = sb[c].order[2] & ~OLD(c)
	:: else
	fi
}

/* Writes the register: 0, or an address space and its ASID. */
inline write_register(m, a)
{
	d_step {
		reg[c] = m;
		rega[c] = a;
#ifdef ROLLOVER
		if
		:: m != NONE ->
			tags[IX(c, a)] = tags[IX(c, a)] | 1 << m;
			/* Nothing else may be found under this number. */
			assert(tags[IX(c, a)] == 1 << m);
			/* nor is it another's now. */
			x = 0;
			do
			:: x < MMS ->
				assert(x == m || NUMBER(mem[ID(x)]) != a ||
				       GENERATION(mem[ID(x)]) != mem[GEN]);
				x++
			:: else -> break
			od;
			x = 0
		:: else
		fi;
#endif
		check();
	}
}

/*
 * Flushes: everything, the ASIDs `whole`, the requests `now` (flushq_priv_flush). Then it leaves the
 * sets of what was flushed as a whole and is not in the register (flushq_priv_flushed, _leave).
 */
inline flush()
{
	d_step {
		a = 0;
		do
		:: a <= ASIDS ->
			if
			:: all || (a && BIT(whole, a)) ->
				stale[IX(c, a)] = stale[IX(c, a)] & ~CHANGED;
#ifdef ROLLOVER
				tags[IX(c, a)] = (reg[c] != NONE && rega[c] == a -> 1 << reg[c] : 0);
#endif
				owed = owed & ~REQS_OF(a);
				gone = gone | (a -> OF_ASID(a) & used & ~loaded : 0)
			:: else ->
				stale[IX(c, a)] = stale[IX(c, a)] & ~(CHANGED & (now >> (a * PAGES)))
			fi;
			a++
		:: else -> break
		od;
		a = 0; all = false; whole = 0; now = 0;
	}
	do
	:: gone ->
		atomic {
#ifndef NO_S9
			sb[c].n == 0; /* S9 */
			infl[c] = 0;
#endif
			d_step {
				do :: !BIT(gone, a) -> a++ :: else -> break od;
				/* Unless another entry has the set as well. */
				if
				:: !(used & ~(1 << a) & OF_MM(a / ASIDS)) ->
					mem[SET(a / ASIDS)] = mem[SET(a / ASIDS)] & ~(1 << c)
				:: else
				fi;
				used = used & ~(1 << a);
				gone = gone & ~(1 << a);
				a = 0;
			}
		}
	:: else -> break
	od
}

/* R9: takes the mark. */
inline take_mark()
{
	d_step {
		if
		:: mem[MARK(c)] == ALL -> all = true
		:: mem[MARK(c)] && mem[MARK(c)] != ALL && (used & OF_ASID(mem[MARK(c)])) ->
			whole = whole | 1 << mem[MARK(c)]
		:: else
		fi;
		mem[MARK(c)] = 0;
	}
}

/* One slot, at `taken` behind the head (R5; flushq_priv_owe). */
inline look()
{
	d_step {
		a = LD(SLOT(c, (head[c] + taken) % SLOTS));
		blocked = a == CLAIMED;
		if
		:: a > CLAIMED ->
			taken++;
			if
			:: ASID_OF(a) == 0 || (used & loaded & OF_ASID(ASID_OF(a))) -> now = now | REQ(a)
			/* Kept until it is switched to. */
			:: !(ASID_OF(a) == 0 || (used & loaded & OF_ASID(ASID_OF(a)))) &&
			   (used & OF_ASID(ASID_OF(a))) -> later = later | REQ(a)
			/* In no table: flushed when it is switched to. */
			:: else
			fi
		:: else -> looks = 0
		fi;
		a = 0;
	}
}

inline look_at_all()
{
#ifndef NO_R9
	take_mark();
#endif
	looks = SLOTS;
	do
	:: looks -> looks--; look()
	:: else -> break
	od;
#if SLOTS > 1
	if
	:: blocked && taken == 0 ->
		/* R6: something behind the claimed one may count. */
#ifndef NO_R6
		all = all || mem[SLOT(c, 1 - head[c])] != EMPTY
#endif
	:: else
	fi;
#endif
	blocked = false;
	/* R7: gives back what it has read. */
	d_step {
		do
		:: taken -> mem[SLOT(c, head[c])] = EMPTY; head[c] = (head[c] + 1) % SLOTS; taken--
		:: else -> break
		od
	}
}

/* flushq_priv_drain() */
inline drain()
{
	put(DRN(c), (LD(DRN(c)) + 1) & 15, RELAXED);
#ifdef NO_D1_ACQUIRE
	look_at_all();
	put(BELL(c), SILENT, D1);
#else
	put(BELL(c), SILENT, D1);
	look_at_all();
#endif
	if
	:: later ->
		if
		:: owed = owed | later
		:: MAY(c, AGE) -> /* no room */
			d_step {
				a = 1;
				do
				:: a <= ASIDS -> whole = whole | (later & REQS_OF(a) -> 1 << a : 0); a++
				:: else -> break
				od;
				a = 0
			}
		fi;
		later = 0
	:: else
	fi;
	flush();
#ifdef NO_R9
	take_mark();
	all = false; whole = 0;
#endif
	atomic {
		sb[c].n < BUFFER;
		put(DRN(c), (LD(DRN(c)) + 1) & 15, D2) /* D2 */
	}
}

/* flushq_priv_own(), _disown(): an NMI that drains in between leaves a note, and they look again. */
#ifdef NMI
inline own()
{
	busy[c] = true
}

inline disown()
{
	do
	:: atomic {
		busy[c] = false;
		if
#ifndef NO_AGAIN
		:: again[c] -> again[c] = false; busy[c] = true
#endif
		:: else -> break
		fi
	}
		drain()
	od
}
#else
#define own() skip
#define disown() skip
#endif

inline flushq_drain()
{
	own();
	drain();
	disown()
}

/* ---- what an initiator does ---- */

/* An acquire that is missing (S4, S7, S10) lets the reuse come before a look: was it used then? */
#define EARLY(t) ((USED(t) & 1 << c) != 0)

/* flushq_queue_put() for CPU t, then the next one of `todo`. */
inline post_each()
{
	do
	:: todo ->
		d_step { do :: !BIT(todo, t) -> t++ :: else -> break od; todo = todo & ~(1 << t) }
		/* R2: claims the first that is empty. */
		d_step {
			pos = 0;
			do
			:: pos < SLOTS && mem[SLOT(t, (head[t] + pos) % SLOTS)] != EMPTY -> pos++
			:: else -> break
			od;
			if
			:: pos < SLOTS -> pos = (head[t] + pos) % SLOTS; mem[SLOT(t, pos)] = CLAIMED
			:: else -> pos = NONE
			fi
		}
		if
		:: pos != NONE -> put(SLOT(t, pos), REQUEST(c, ra), R4)
		:: else ->
#ifndef NO_R8
			fence(); /* R8 */
#endif
#ifndef NO_OVERFLOW_MARK
			x = (ra == 0 -> ALL : ra);
			stick(t, x);
			x = 0
#endif
		fi;
		t = 0; pos = 0
	:: else -> break
	od
}

/* flushq_ring_stick() behind R8: looks, then ors. */
inline stick(t, mark)
{
	if
	:: mem[MARK(t)] == ALL || mem[MARK(t)] == (mark)
	:: else ->
		d_step {
			if
			:: mem[MARK(t)] == 0 || mem[MARK(t)] == (mark) -> mem[MARK(t)] = mark
			:: else -> mem[MARK(t)] = ALL
			fi
		}
	fi
}

#define THE_SET(p) (IS_GLOBAL(p) -> ONLINE : SET(HOME(p)))
/* The address space of page p. */
#define HOME(p) (BIT(MM_PAGES(0), p) -> 0 : 1)

/* flushq_priv_record() for page c: `users` must be interrupted. */
inline record()
{
	owing = LD(THE_SET(c)) & ~(1 << c);
	todo = owing;
	post_each();
#ifndef NO_S2
	fence(); /* S2 */
#endif
#ifndef NO_S1
	/* S1: who joined meanwhile. */
	atomic { todo = LD(THE_SET(c)) & ~(1 << c) & ~owing; owing = owing | todo }
	if
	:: todo -> post_each();
#ifndef NO_S2
		fence() /* S2 */
#endif
	:: else
	fi;
#endif
#ifdef NO_S4
	d_step {
		t = 0;
		do :: t < CPUS -> early = early || (t != c && EARLY(t)); t++ :: else -> break od;
		t = 0
	}
#endif
	todo = owing;
	do
	:: todo ->
		d_step { do :: !BIT(todo, t) -> t++ :: else -> break od; todo = todo & ~(1 << t) }
		/* S3 */
		d_step {
			if
			:: NEEDS(mem[CTX(t)], c, ra) -> users = users | 1 << t
			:: else
			fi;
			t = 0
		}
	:: else -> break
	od;
	owing = 0;
#ifdef NO_S4
	assert(users || !early);
	early = false;
#endif
}

/* flushq_priv_local(): the CPU's own part, of the ASID asked for. */
inline own_part()
{
	if
	:: IS_GLOBAL(c) || BIT(mem[THE_SET(c)], c) ->
		own();
		d_step {
			if
			:: IS_GLOBAL(c) || (used & loaded & OF_ASID(ra)) -> now = REQ(REQUEST(c, ra))
			:: !(IS_GLOBAL(c) || (used & loaded & OF_ASID(ra))) && (used & OF_ASID(ra)) ->
				owed = owed | REQ(REQUEST(c, ra))
			:: else
			fi
		}
		flush();
		disown()
	:: else
	fi
}

/* S5: rings; nobody comes between the two halves of a swap that the owner has under way (D1). */
#define UNDER_WAY(t, i) (sb[t].n > i && sb[t].loc[i] == BELL(t))
#define RINGABLE(t) (!UNDER_WAY(t, 0) && !UNDER_WAY(t, 1) && !UNDER_WAY(t, 2))

#define MINUS(x, y) (((x) - (y) + 16) & 15) /* under 8: not negative */
#define ENOUGH(x) (((x) + 3) & 14)

/* It does not use it any more. */
#ifdef NO_GONE
#define GONE(t, a) false
#else
#define GONE(t, a) (!NEEDS(mem[CTX(t)], c, a))
#endif
/* Which bits of the bell show that it has not been silenced: a ticket's says nothing to who interrupts. */
#define RUNG (BIT(TICKETS, c) -> INTERRUPT | TICKET : INTERRUPT)
/* flushq_priv_passed(), could it say so now? Else a turn of the wait changes nothing. */
#if defined(NO_S7) || defined(NO_S8) || defined(NO_S10) || defined(BUSY)
#define LIKELY(t, a) true
#else
#define LIKELY(t, a) ((!(mem[BELL(t)] & RUNG) && MINUS((mem[DRN(t)] + 1) & 14, enough[t]) >= 8) || \
		      MINUS(mem[DRN(t)], enough[t]) < 8 || GONE(t, a))
#endif

/* flushq_priv_passed() */
inline turn(t, a)
{
#ifdef NO_S8
	x = mem[DRN(t)]; /* read before the bell */
#endif
	silent = !(mem[BELL(t)] & RUNG); /* S8 */
#ifdef NO_S7
	early = EARLY(t);
#endif
	d_step {
#ifndef NO_S8
		x = mem[DRN(t)]; /* S7 */
#endif
		if
		:: silent && MINUS((x + 1) & 14, enough[t]) >= 8 -> enough[t] = (x + 1) & 14
		:: else
		fi;
		passed = MINUS(x, enough[t]) < 8;
		x = 0; silent = false;
#ifdef NO_S7
		assert(!passed || !early);
		early = false;
#endif
	}
#ifdef NO_S10
	early = EARLY(t);
#endif
	if
	:: !passed ->
		passed = GONE(t, a); /* S10 */
#ifdef NO_S10
		assert(!passed || !early)
#else
		skip
#endif
	:: else
	fi;
#ifdef NO_S10
	early = false;
#endif
}

inline reuse()
{
	d_step {
		reused = reused | 1 << c;
		t = 0;
		do :: t < CPUS -> assert(!(USED(t) & 1 << c)); t++ :: else -> break od;
		t = 0;
	}
}

/* ---- ids and rollovers (asid.h) ---- */

#ifdef ROLLOVER
/* The ASIDs run out for good, which asid.h's ASID 0 is for: nothing more is asked of this run. */
bool out;

/* flushq_priv_asid_keep() of what CPU t has in `next` (w 0) or `held` (w 1) */
inline keep(w)
{
	d_step {
		/* x: the word; y, z: those of the last rollover. */
		if
		:: x && x == before[0] -> y = before_id[0]
		:: x && x != before[0] && x == before[1] -> y = before_id[1]
		:: x && x != before[0] && x != before[1] && GENERATION(x) == ended -> y = x
		:: else -> x = 0; y = 0
		fi;
		kept[2 * t + w] = x;
		kept_id[2 * t + w] = y;
		map = map | (y -> 1 << NUMBER(y) : 0);
		x = 0; y = 0;
	}
}

/* flushq_priv_asid_rollover(), under the lock */
inline rollover()
{
	ended = LD(GEN);
	put(GEN, ended + 1, RELAXED);
#ifndef NO_G4
	fence(); /* G4 */
#endif
	map = 0;
	t = 0;
	do
	:: t < CPUS ->
		d_step {
			before[0] = kept[2 * t]; before[1] = kept[2 * t + 1];
			before_id[0] = kept_id[2 * t]; before_id[1] = kept_id[2 * t + 1];
		}
#ifdef NO_G5
		y = LD(HELD(t)); /* read before next */
		z = LD(NEXT(t));
#else
		z = LD(NEXT(t)); /* G5 */
		y = LD(HELD(t));
#endif
#ifdef NO_HELD
		y = 0;
#endif
		d_step { x = z; z = y; y = 0 }
		keep(0);
		d_step { x = z; z = 0 }
		keep(1);
		d_step { before[0] = 0; before[1] = 0; before_id[0] = 0; before_id[1] = 0; t++ }
	:: else -> break
	od;
	t = 0;
#ifndef NO_ROLLOVER_MARK
	/* flushq_priv_rollover() */
	do
	:: t < CPUS ->
		fence(); /* R8 */
		stick(t, ALL);
		t++
	:: else -> break
	od;
	t = 0;
#endif
	ended = 0
}

/* flushq_priv_asid_find(): its old number, or any */
inline find()
{
	d_step {
		to = NUMBER(id);
		if
		:: to == 0 || BIT(map, to) ->
			to = 1;
			do :: to <= ASIDS && BIT(map, to) -> to++ :: else -> break od;
			if :: to > ASIDS -> to = 0 :: else fi
		:: else
		fi;
		map = map | (to -> 1 << to : 0);
	}
}

/* flushq_asid_renew() */
inline renew()
{
	atomic { mem[LOCK] == 0 || out -> mem[LOCK] = 1 } /* G6 */
	id = LD(ID(m));
	if
	:: GENERATION(id) == LD(GEN)
	:: else ->
		d_step {
			to = 0;
			do
			:: t < 2 * CPUS ->
				if
				:: id && kept_id[t] == id -> to = NUMBER(id); kept_id[t] = LD(GEN) << 2 | to
				:: else
				fi;
				t++
			:: else -> break
			od;
			t = 0
		}
		if
		:: to == 0 ->
			find();
			if
			:: to == 0 && LD(GEN) < GENERATIONS -> rollover(); find()
			:: else
			fi
		:: else
		fi;
		if :: to == 0 -> out = true; goto endout :: else fi;
		d_step {
			id = LD(GEN) << 2 | to;
			/* An ASID never goes to another while a CPU has it in its register. */
			do
			:: t < CPUS -> assert(reg[t] == NONE || reg[t] == m || rega[t] != to); t++
			:: else -> break
			od;
			t = 0
		}
		put(ID(m), id, G3) /* G3 */
	fi;
	to = 0;
	put(NEXT(c), id, RELAXED);
	put(LOCK, 0, RELEASE) /* G7 */
}
#endif

/* ---- a CPU ---- */

proctype cpu(byte c)
{
	/* Private to the owner: the table, what it owes those it does not use, a drain's own. */
	short used, loaded, owed, gone, now, later;
	byte whole, looks, taken, a;
	bool all, blocked, joins;
	/* An initiator's. */
	byte ra, owing, todo, users, t, pos, enough[CPUS], x, send;
	bool silent, passed, early, asked, ticket;
	/* What it does. */
	byte mode, times = (c -> TIMES : TIMES0), what, m, to, word;
#ifdef EARLY_PATIENCE
	byte impatient = EARLY_PATIENCE;
#endif
#ifdef ROLLOVER
	byte id, y, z, ended, before[2], before_id[2];
#endif

	d_step {
		mode = START(c);
		if
		:: mode == USER || mode == IDLE -> used = ENTRY(0, 1); loaded = used
		:: mode == KERNEL -> used = ENTRY(0, 1)
		:: else
		fi;
		if :: mode == FRESH -> mode = KERNEL :: else fi
	}

endmain:
	do
	/* An interrupt; the bell of a ticket is answered by a tick. */
	:: atomic {
		(irq[c] || LD(BELL(c)) & TICKET) && mode != STOPPED ->
		leave_user();
#ifndef NO_ACKNOWLEDGE
		irq[c] = false
#endif
	}
		flushq_drain();
#ifdef NO_ACKNOWLEDGE
		irq[c] = false; /* too late: one that came meanwhile is lost */
#endif
		goto resume

	/* flushq_switch_to() */
	:: atomic {
		MAY(c, SWITCH) && times && mode != STOPPED && (TURN_OF(0) || TURN_OF(1) || TURN_OF(2)) ->
		if
		:: (mode != USER || reg[c] != 0) && TURN_OF(0) -> m = 0
		:: MMS > 1 && (mode != USER || reg[c] != 1) && TURN_OF(1) -> m = 1
		:: MMS > 2 && (mode != USER || reg[c] != 2) && TURN_OF(2) -> m = 2
		fi;
		times--; what = SWITCH;
		leave_user()
	}
		goto enter

	/* flushq_enter_lazy() */
	:: atomic {
		MAY(c, LAZY) && times && mode == USER ->
		times--; mode = IDLE;
		leave_user()
	}
		put(CTX(c), LD(CTX(c)) | LAZILY, C1) /* C1 */

	/* flushq_leave_lazy() */
	:: atomic { MAY(c, LAZY) && times && mode == IDLE -> times--; what = LAZY }
		goto enter

	/* flushq_park(), behind the write of the register */
	:: atomic {
		MAY(c, PARK) && times && TURN_OF(9) && (mode == USER || mode == IDLE) ->
		times--; mode = KERNEL;
		leave_user()
	}
		write_register(NONE, 0);
		loaded = 0;
#ifdef ROLLOVER
		put(HELD(c), 0, RELAXED);
		put(NEXT(c), 0, RELAXED);
#endif
		put(CTX(c), PARKED, C1) /* C1 */

	/* flushq_offline() */
	:: atomic {
		MAY(c, HOTPLUG) && times && mode == KERNEL ->
		times--; mode = STOPPED;
		infl[c] = infl[c] | (online[c] -> stale[IX(c, 0)] & GLOBALS : 0);
		online[c] = false
	}
		own();
		all = true;
		flush();
		atomic {
#ifndef NO_S9
			sb[c].n == 0; infl[c] = 0;
#endif
			mem[ONLINE] = mem[ONLINE] & ~(1 << c) /* S9 */
		}
		put(CTX(c), OFFLINE, C1); /* C1 */
		disown()

	/* flushq_online() */
	:: atomic { MAY(c, HOTPLUG) && times && mode == STOPPED -> times--; what = HOTPLUG }
		goto enter

	/* flushq_shootdown(), or flushq_ticket_take() */
	:: atomic {
		c < PAGES && !asked && mode != STOPPED &&
#ifdef LAST
		times == 0 && /* when it has done all else */
#endif
		true -> asked = true;
		leave_user()
	}
		goto initiate

	/* flushq_ticket_done() */
	:: atomic {
		if
		:: ticket && BIT(users, 0) && LIKELY(0, ra) -> t = 0
		:: ticket && BIT(users, 1) && LIKELY(1, ra) -> t = 1
		:: ticket && BIT(users, CPUS - 1) && LIKELY(CPUS - 1, ra) -> t = CPUS - 1
		/* All else is at rest, and this will never be done. */
#ifdef ROLLOVER
		:: ticket && !out && !waiting && timeout -> assert(false) /* never */
		:: ticket && out -> goto endout
#else
		:: ticket && !waiting && timeout -> assert(false) /* never */
#endif
		fi
	}
		turn(t, ra);
		users = (passed -> users & ~(1 << t) : users);
		d_step { t = 0; passed = false }
		if
		:: users == 0 -> ticket = false; ra = 0; reuse()
		:: else
		fi
	od;

enter:
	own();
	if
	:: what == SWITCH ->
#ifdef ROLLOVER
		/* flushq_asid_begin() */
		id = LD(ID(m));
		if
		:: GENERATION(id) == LD(GEN) -> put(NEXT(c), id, G1) /* G1 */
		:: else -> renew()
		fi;
again_switch:
		to = NUMBER(id);
#else
		to = m + 1;
#endif
#ifndef NO_RENEW_FLUSH
		/* What is in the table may be what this switch has put there, under a number of an older
		 * generation. */
		joins = joins || !(used & ENTRY(m, to));
#else
		joins = !(used & ENTRY(m, to));
#endif
		if
		:: joins && MAY(c, AGE) && (used & ~loaded) -> /* there is no room */
			d_step {
				do :: !(used & ~loaded & OF_ASID(a + 1)) -> a++ :: else -> break od;
				whole = 1 << (a + 1); a = 0
			}
			flush()
		:: !(joins && MAY(c, AGE) && (used & ~loaded)) || ASIDS > 1
		fi;
		atomic { used = used | ENTRY(m, to); loaded = loaded | ENTRY(m, to) }
#ifndef LATE_S6
		d_step {
			/* S6 */
			joins = joins || !BIT(mem[SET(m)], c);
			mem[SET(m)] = mem[SET(m)] | 1 << c
		}
#endif
		word = CONTEXT(to) | SWITCHING
	:: what == LAZY -> word = LD(CTX(c)) & ~LAZILY
	:: what == HOTPLUG ->
#ifndef LATE_S6
		mem[ONLINE] = mem[ONLINE] | 1 << c; /* S6 */
#endif
		word = PARKED
	fi;
#ifdef DEBTS_FIRST
	/* looks before it makes the context known */
	x = LD(SLOT(c, head[c])) != EMPTY;
	x = x || mem[MARK(c)];
#endif
	put(CTX(c), word, C1); /* C1 */
#ifndef NO_C2
	fence(); /* C2 */
#endif
#ifdef REGISTER_FIRST
	if :: what == SWITCH -> write_register(m, to) :: else fi;
#endif
#ifndef NO_JOIN_FLUSH
	if
	:: joins || what == HOTPLUG -> /* S6's flush */
		d_step { all = what == HOTPLUG; whole = (joins -> 1 << to : 0) }
		flush()
	:: else
	fi;
#endif
	joins = false;
	word = 0;
	/* flushq_priv_idle() */
#ifndef DEBTS_FIRST
	x = LD(SLOT(c, head[c])) != EMPTY;
	x = x || mem[MARK(c)];
#endif
	if
	:: x -> x = 0; drain()
	:: else
	fi;
	/* flushq_priv_switch_on(), the debts that are kept */
	if
	:: what == SWITCH && (owed & REQS_OF(to)) ->
		d_step { now = owed & REQS_OF(to); owed = owed & ~REQS_OF(to) }
		flush()
	:: else
	fi;
#ifdef LATE_S6
	if
	:: what == SWITCH -> mem[SET(m)] = mem[SET(m)] | 1 << c
	:: else -> mem[ONLINE] = mem[ONLINE] | 1 << c
	fi;
#endif
	disown();
	if
	:: what == SWITCH ->
#if defined(ROLLOVER) && !defined(NO_G2)
		/* G2: flushq_asid_current() */
		if
		:: GENERATION(id) != LD(GEN) ->
			own();
			renew();
#ifndef NO_RENEW_FLUSH
			joins = true;
#endif
			goto again_switch
		:: else
		fi;
#endif
		write_register(m, to);
		/* flushq_switched() */
		loaded = ENTRY(m, to);
#ifdef ROLLOVER
		put(HELD(c), LD(NEXT(c)), RELAXED);
		id = 0;
#endif
		put(CTX(c), LD(CTX(c)) & ~SWITCHING, C1); /* C1 */
		mode = USER
	:: what == LAZY -> mode = USER
	:: what == HOTPLUG -> d_step { online[c] = true; mode = KERNEL; check() }
	fi;
	atomic { what = 0; m = 0; to = 0 }

resume:
	if
	:: mode == USER -> d_step { user[c] = true; check() }
	:: else
	fi;
	goto endmain;

initiate:
	/* flushq_mm_range(): anywhere before the call */
#ifdef ROLLOVER
	ra = NUMBER(LD(ID(HOME(c))));
#else
	ra = (IS_GLOBAL(c) -> 0 : HOME(c) + 1);
#endif
	put(PTE(c), 1, RELAXED); /* the page table's change */
again_initiate:
	record();
	/* Bells and interrupts are one step to this CPU: interrupts are off here anyway. */
	if
	:: users && !BIT(TICKETS, c) ->
		todo = users;
		do
		:: todo ->
			d_step { do :: !BIT(todo, t) -> t++ :: else -> break od; todo = todo & ~(1 << t) }
#ifdef NO_S5
			enough[t] = ENOUGH(mem[DRN(t)]); /* read before the bell */
#endif
			d_step {
				RINGABLE(t); /* S5 */
				send = (mem[BELL(t)] & INTERRUPT -> send : send | 1 << t);
				mem[BELL(t)] = INTERRUPT;
				t = 0
			}
		:: else -> break
		od;
		atomic {
			do
			:: t < CPUS -> irq[t] = irq[t] || BIT(send, t); t++
			:: else -> break
			od;
			t = 0; send = 0
		}
	:: else
	fi;
	own_part();
	do
	:: users && BIT(TICKETS, c) && !ticket ->
		/* flushq_priv_ticket_take(): the bell, then the count. */
		todo = users;
		do
		:: todo ->
			d_step { do :: !BIT(todo, t) -> t++ :: else -> break od; todo = todo & ~(1 << t) }
#ifndef NO_TICKET_BELL
			d_step { RINGABLE(t); mem[BELL(t)] = mem[BELL(t)] | TICKET } /* S5 */
#endif
			d_step { enough[t] = ENOUGH(mem[DRN(t)]); t = 0 }
		:: else -> break
		od;
		ticket = true
	:: users && !BIT(TICKETS, c) ->
		/* flushq_priv_wait() for one after the other */
		d_step { do :: !BIT(users, t) -> t++ :: else -> break od; users = users & ~(1 << t) }
		waiting = waiting | 1 << c;
#ifndef NO_S5
		enough[t] = ENOUGH(mem[DRN(t)]);
#endif
		do
		:: passed -> break
		:: !passed && LIKELY(t, ra) -> turn(t, ra)
#ifdef BUSY
			/* As in the header: each turn of the wait is a step of its own. */
			if
#ifndef NO_SERVE
			:: !passed && LD(BELL(c)) & INTERRUPT -> flushq_drain()
#endif
			:: else
			fi;
#ifdef PATIENCE
			irq[t] = irq[t] || !passed
#else
			skip
#endif
#else
#ifndef NO_SERVE
		/* It serves its own queue meanwhile. */
		:: !passed && LD(BELL(c)) & INTERRUPT -> flushq_drain()
#endif
#ifdef PATIENCE
		/* It waited for so long that all else is at rest: flushq_priv_interrupt_again(). */
		:: timeout && !irq[t] && !passed -> irq[t] = true
#endif
#endif
#ifdef EARLY_PATIENCE
		:: impatient && !passed && !irq[t] -> impatient--; irq[t] = true
#endif
#ifdef ROLLOVER
		:: out -> goto endout
#endif
		od;
		atomic { passed = false; t = 0; waiting = waiting & ~(1 << c) }
	:: else -> break
	od;
#if defined(ROLLOVER) && !defined(NO_RENUMBERED)
	/* flushq_priv_renumbered(): there was a rollover, and it asks for the new one. */
	x = NUMBER(LD(ID(HOME(c))));
	if
	:: x != ra -> ra = x; x = 0; users = 0; ticket = false; goto again_initiate
	:: else -> x = 0
	fi;
#endif
	if
	:: !ticket -> ra = 0; reuse()
	:: else
	fi;
	goto resume;

#ifdef ROLLOVER
endout:
	user[c] = false;
endstop:
	false
#else
	skip
#endif
}

#ifdef STOPS
/* ---- one that stops in the midst of it: a virtual CPU that does not run ---- */

proctype stopped()
{
	byte c = 1; /* whom it asked for something */

endstopped:
	if
	/* A producer that has claimed a slot. */
	:: atomic { BIT(STOPS, 0) && mem[SLOT(c, head[c])] == EMPTY -> mem[SLOT(c, head[c])] = CLAIMED }
	/* An initiator between bell and interrupt. */
	:: atomic { BIT(STOPS, 1) && RINGABLE(c) -> mem[BELL(c)] = INTERRUPT }
	fi
}
#endif

#ifdef NMI
/* Interrupts that are NMIs: where they hit the owner's own calls they only leave a note. */
proctype nmi(byte c)
{
endnmi:
	do
	:: atomic { busy[c] && irq[c] -> irq[c] = false; again[c] = true }
	od
}
#endif

init
{
	byte c, i;

	atomic {
		do
		:: c < CPUS ->
			mem[CTX(c)] = PARKED;
			online[c] = GLOBALS != 0;
			mem[ONLINE] = mem[ONLINE] | 1 << c;
			i = 0;
			do :: i <= ASIDS -> stale[IX(c, i)] = (1 << PAGES) - 1; i++ :: else -> break od;
			if
			:: START(c) == USER || START(c) == IDLE ->
				mem[CTX(c)] = CONTEXT(1) | (START(c) == IDLE -> LAZILY : 0);
				reg[c] = 0; rega[c] = 1;
				user[c] = START(c) == USER;
#ifdef ROLLOVER
				/* with TAKEN */
				mem[NEXT(c)] = 1 << 2 | 1; mem[HELD(c)] = 1 << 2 | 1;
				tags[IX(c, 1)] = 1;
#endif
			:: START(c) == STOPPED ->
				mem[CTX(c)] = OFFLINE;
				online[c] = false;
				mem[ONLINE] = mem[ONLINE] & ~(1 << c)
			:: else
			fi;
			if
			:: START(c) == USER || START(c) == IDLE || START(c) == KERNEL ->
				mem[SET(0)] = mem[SET(0)] | 1 << c
			:: else
			fi;
			c++
		:: else -> break
		od;
#ifdef ROLLOVER
		mem[GEN] = 1;
#ifdef TAKEN
		/* The first two have ASIDs, and no more are free. */
		mem[ID(0)] = 1 << 2 | 1;
		mem[ID(1)] = 1 << 2 | 2;
		map = 1 << 1 | 1 << 2;
#endif
#endif
		c = 0;
		do :: c < CPUS -> run buffers(c); run cpu(c); c++ :: else -> break od;
#ifdef NMI
		run nmi(1);
#endif
#ifdef STOPS
		run stopped();
#endif
		c = 0; i = 0
	}
}
