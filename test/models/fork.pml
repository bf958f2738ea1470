/*
 * fork: all locks in order, and what the child makes of the caches of threads that it does not have.
 *
 * Mirrors src/malloc/process.c: fork_prepare(), fork_done(); the fork functions of each floor; src/slab/area.c:
 * percpu_fork_done(), orphan_sheaf(), area_get(), drain_orphans(); and of each path that holds two locks at once the
 * order in which it takes them (docs/locking.md, "Order" and "fork").
 *
 * SETUP 1: two threads go through the paths below, each twice, in any order, while a third forks. A structure under a
 * lock is half changed while it is held. SETUP 2: the child: two threads of the parent are at any point between a
 * sequence of theirs and the next, or have detached a sheaf; then the child, whose index may be any, takes all objects that it can.
 * Setups: -DSETUP=1 -DSETUP=2
 *
 * Properties: no deadlock; at the moment of fork nothing is half changed; in the child an object is found once, and
 * none is lost but those of a sheaf that another thread had detached.
 */
#define PERCPU 0
#define MAKING 1 /* caches_lock */
#define CACHE 2
#define BARN 3
#define LARGE 4
#define THREADS 5
#define BUDDY 6
#define BUDDY2 7
#define ZONE 8
#define MAP 9
#define META 10
#define NR_LOCKS 11

#if SETUP == 1

bool locked[NR_LOCKS];
bool half[NR_LOCKS];

inline lock(l)
{
	atomic {
		!locked[l];
		locked[l] = true;
		half[l] = true
	}
}

inline unlock(l)
{
	atomic {
		half[l] = false;
		locked[l] = false
	}
}

inline one(l)
{
	lock(l);
	unlock(l)
}

inline two(l, m)
{
	lock(l);
	lock(m);
	unlock(m);
	unlock(l)
}

proctype thread()
{
	byte n;

	do
	:: n == 2 -> break
	:: n < 2 ->
		n++;
		if
		:: two(PERCPU, META)	/* area_create(): boot_alloc() */
		:: two(MAKING, META)	/* cache_of(): cache_create() */
		:: one(CACHE)		/* take_from_partial(), slab_settle() */
		:: two(BARN, META)	/* pop_empty(): sheaf_put() */
		:: one(LARGE)		/* area_publish() */
		:: two(THREADS, META)	/* buddy_attach(): buddy_create() */
		:: two(THREADS, BUDDY2) /* alloc_from_anyone(), one after the other */
		:: lock(THREADS);	/* buddy_adopt() */
		   two(BUDDY, BUDDY2);
		   unlock(THREADS)
		:: one(BUDDY)		/* free_pages() */
		:: two(ZONE, META)	/* region_create(): boot_alloc() */
		:: two(ZONE, MAP)	/* region_create(): map_ensure() */
		:: one(MAP)		/* large: map_ensure() */
		fi
	od
}

inline take(l)
{
	atomic {
		!locked[l];
		locked[l] = true
	}
}

proctype forker()
{
#ifdef BROKEN_order
	take(META);
#endif
	take(PERCPU);
	take(MAKING);
	take(CACHE);
#ifndef BROKEN_barn_left_out
	take(BARN);
#endif
	take(LARGE);
	take(THREADS);
	take(BUDDY);
	take(BUDDY2);
	take(ZONE);
	take(MAP);
#ifndef BROKEN_order
	take(META);
#endif
	d_step {
		byte l;

		for (l : 0 .. NR_LOCKS - 1) {
			assert(!half[l])
		}
	}
	/* fork_done() in the parent; the child sets all to free */
	locked[META] = false;
	locked[MAP] = false;
	locked[ZONE] = false;
	locked[BUDDY2] = false;
	locked[BUDDY] = false;
	locked[THREADS] = false;
	locked[LARGE] = false;
#ifndef BROKEN_barn_left_out
	locked[BARN] = false;
#endif
	locked[CACHE] = false;
	locked[MAKING] = false;
	locked[PERCPU] = false
}

init {
	atomic {
		run thread();
		run thread();
		run forker()
	}
}

#else

/* An area of one class: the number of its sheaf + 1, or 0 for the sentinel. */
#define NR_SLOTS 3
#define NONE_AREA NR_SLOTS
#define NR_OBJECTS 3

byte area[NR_SLOTS]; /* slot s begins with area s */
byte sheaf[NR_SLOTS]; /* of the area, a set of objects */
bool detached[2]; /* the parent's other threads hold their CPU's sheaf themselves */
byte in_hand[2];
bool orphan[NR_SLOTS], spare[NR_SLOTS];
byte used;	/* objects of the program */
byte home;	/* the slab, in the child */
byte found;	/* by the child */
bool forked;
byte lost;

/* A thread of the parent on its CPU; after the fork it is not there. */
proctype other(byte me)
{
	byte n;

	do
	:: n == 2 || forked -> break
	:: else ->
		n++;
		atomic {
			if
			:: forked
			:: !forked && !detached[me] && sheaf[me] != 0 -> /* pop: one store */
				used = used | sheaf[me];
				sheaf[me] = 0
			:: !forked && !detached[me] -> /* swap_top() */
				detached[me] = true;
				in_hand[me] = sheaf[me];
				sheaf[me] = 0
			:: !forked && detached[me] -> /* install() */
				sheaf[me] = in_hand[me];
				in_hand[me] = 0;
				detached[me] = false
			fi
		}
	od
}

inline find(set)
{
	assert((found & (set)) == 0 && (used & (set)) == 0);
	found = found | (set)
}

proctype child()
{
	byte own, i, a, s, n;

	/* fork, and percpu_fork_done(true): nothing else runs */
	atomic {
		forked = true;
		lost = in_hand[0] | in_hand[1];
		select(own : 0 .. NR_SLOTS - 1);
		for (i : 0 .. NR_SLOTS - 1) {
			if
			:: i != own && area[i] != NONE_AREA ->
#ifndef BROKEN_no_orphans
				orphan[area[i]] = true;
#endif
				area[i] = NONE_AREA
			:: else
			fi
		}
	}
	/* Allocation from a new sheaf, a new area, or reclaim: any of them, in any order; at last a drain. */
	do
	:: n == 3 -> break
	:: n < 3 ->
		n++;
		if
		:: d_step { /* percpu_pop() */
			if
			:: area[own] != NONE_AREA ->
				find(sheaf[area[own]]);
				sheaf[area[own]] = 0
			:: else
			fi
		   }
		:: d_step { /* orphan_sheaf() */
			s = 0;
			for (i : 0 .. NR_SLOTS - 1) {
				if
				:: s == 0 && orphan[i] ->
					s = sheaf[i];
#ifndef BROKEN_orphan_keeps_its_top
					sheaf[i] = 0
#endif
				:: else
				fi
			}
			find(s);
			s = 0
		   }
		:: select(own : 0 .. NR_SLOTS - 1); /* it moves to another index: area_create() */
		   i = 0;
		   d_step {
			for (i : 0 .. NR_SLOTS - 1) {
				if
				:: area[own] == NONE_AREA && orphan[i] ->
					orphan[i] = false;
					area[own] = i
				:: else
				fi
			}
			for (i : 0 .. NR_SLOTS - 1) {
				if
				:: area[own] == NONE_AREA && spare[i] ->
					spare[i] = false;
					area[own] = i
				:: else
				fi
			}
			i = 0
		   }
		:: d_step { /* drain_orphans() */
			for (i : 0 .. NR_SLOTS - 1) {
				if
				:: orphan[i] ->
					orphan[i] = false;
					find(sheaf[i]);
					sheaf[i] = 0;
					spare[i] = true
				:: else
				fi
			}
			i = 0
		   }
		fi
	od;
	n = 0;
	d_step { /* percpu_drain(): all areas that have an index, and the orphans */
		for (i : 0 .. NR_SLOTS - 1) {
			if
			:: area[i] != NONE_AREA ->
				find(sheaf[area[i]]);
				sheaf[area[i]] = 0
			:: else
			fi
		}
		for (i : 0 .. NR_SLOTS - 1) {
			if
			:: orphan[i] ->
				find(sheaf[i]);
				sheaf[i] = 0
			:: else
			fi
		}
		assert((found | used | lost) == 7)
	}
}

init {
	byte i;

	atomic {
		for (i : 0 .. NR_SLOTS - 1) {
			area[i] = i;
			sheaf[i] = 1 << i
		}
		run other(0);
		run other(1);
		run child()
	}
}

#endif
