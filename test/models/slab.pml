/*
 * Slabs: FULL, PARTIAL and DEAD, givers without a lock, headers that are used again.
 *
 * Mirrors src/slab/slab.c: take_from_partial(), take_bits(), add_new_slab(), slab_create(), slab_init(),
 * give_bits(), slab_settle(), cache_shrink(), slab_destroy(); the reasoning is 2 to 5 at the head of slab.h and
 * "Dekker" in docs/locking.md. Every step below is one atomic access there, all of them sequentially consistent;
 * what stands between lock_take() and lock_drop() is interleaved with the givers, who take no lock.
 *
 * Bounds: slabs of two objects, threads that take and give. SETUP 1: one cache, two headers, three slabs' worth of
 * takes, and somebody who shrinks the cache. SETUP 2: two caches and one header, which they use in turn.
 * Setups: -DSETUP=1 -DSETUP=2
 *
 * Properties: nobody sets bits in a slab that was destroyed; a slab goes only when all its objects are home; the
 * partial list is never corrupted and holds slabs of its own cache only; no slab with free bits is off the list but
 * for the time that somebody needs to see it; once all is given back, each slab is on its
 * list, with all bits set, or gone.
 */
#if SETUP == 1
#define NR_HEADERS 2
#else
#define NR_HEADERS 1
#endif
#define LAST (NR_HEADERS - 1)
#define NR_CACHES 2
#define ALL 3 /* the bits of a slab */

#define DEAD 0
#define FULL 1
#define PARTIAL 2
#ifdef BROKEN_state_without_class
#define STATE(c, s) (s)
#else
#define STATE(c, s) ((c) * 4 + (s)) /* 5 in slab.h */
#endif

byte free[NR_HEADERS];
short nr_free[NR_HEADERS];
byte state[NR_HEADERS];
bool listed[NR_HEADERS];
byte list_of[NR_HEADERS]; /* the cache whose list it is on */
bool locked[NR_CACHES + 1];

/* What really is: */
bool live[NR_HEADERS];	/* has pages */
byte cache[NR_HEADERS]; /* of its pages */
byte life[NR_HEADERS];
byte out[NR_HEADERS];	/* bits that somebody owns */
bool pooled[NR_HEADERS];
byte nr_running;
byte nr_giving; /* threads between setting bits and the end of give_bits() */

#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1))
#define NR_LISTED(c) ((listed[0] && list_of[0] == (c)) + (LAST && listed[LAST] && list_of[LAST] == (c)))

inline lock(c) { atomic { !locked[c]; locked[c] = true } }
inline unlock(c) { locked[c] = false }
/* Free bits off the list: only while a giver is on its way to settle them, or a taker to look at them. */
#define NONE_LOST(c) \
	assert(locked[c] || nr_giving != 0 || !(state[0] == STATE(c, FULL) && free[0] != 0 || \
						state[LAST] == STATE(c, FULL) && free[LAST] != 0))


inline partial_add(c, h)
{
	state[h] = STATE(c, PARTIAL);
	d_step {
		assert(!listed[h]);
		assert(live[h] && cache[h] == c);
		listed[h] = true;
		list_of[h] = c
	}
}

inline partial_del(c, h, s)
{
	d_step {
		assert(listed[h] && list_of[h] == c);
		listed[h] = false
	}
	state[h] = s
}

inline destroy(h)
{
	d_step {
		assert(live[h] && !listed[h]);
		assert(free[h] == ALL && out[h] == 0); /* all home: pages_free() */
		live[h] = false;
		pooled[h] = true
	}
}

inline create(c)
{
	atomic { /* boot_pool_get() and pages_alloc(), under locks of their own */
		if
		:: pooled[0] -> h = 0
		:: !pooled[0] && pooled[LAST] -> h = LAST
		:: else -> h = NR_HEADERS
		fi;
		if
		:: h != NR_HEADERS ->
			pooled[h] = false;
			live[h] = true;
			cache[h] = c;
			life[h]++
		:: else
		fi
	}
	if
	:: h != NR_HEADERS ->
		/* slab_init(); a late giver may look at any of this */
		d_step {
			free[h] = ALL;
			nr_free[h] = 2;
			state[h] = DEAD
		}
		lock(c);
		partial_add(c, h);
		unlock(c)
	:: else
	fi
}

/* slab_take(): one slab's bits, in `mask`; none when there is no memory. */
inline take(c)
{
	mask = 0;
	do
	:: mask != 0 -> break
	:: else ->
		lock(c);
		if
		:: listed[0] && list_of[0] == c -> h = 0
		:: listed[LAST] && list_of[LAST] == c -> h = LAST
		:: NR_LISTED(c) == 0 -> h = NR_HEADERS
		fi;
		if
		:: h == NR_HEADERS ->
			unlock(c);
			create(c);
			if
			:: h == NR_HEADERS -> break
			:: else
			fi
		:: else ->
			assert(live[h]);
			if /* only the holder of the lock clears bits */
			:: mask = free[h]
			:: mask = free[h] & 1
			:: mask = free[h] & 2
			fi;
			atomic {
				free[h] = free[h] & ~mask & ALL;
				assert((out[h] & mask) == 0); /* none doubled */
				out[h] = out[h] | mask
			}
			nr_free[h] = nr_free[h] - COUNT(mask);
			if
			:: free[h] == 0 ->
				partial_del(c, h, STATE(c, FULL));
#ifndef BROKEN_no_second_look
				if
				:: free[h] != 0 -> partial_add(c, h)
				:: else
				fi
#endif
			:: else
			fi;
			atomic {
				unlock(c);
				NONE_LOST(c)
			}
		fi
	od
}

inline settle(c)
{
	dead = false;
	lock(c);
	if
	:: state[h] == STATE(c, FULL) ->
		if
		:: free[h] != 0 -> partial_add(c, h)
		:: else
		fi
	:: else
	fi;
	if
	:: state[h] == STATE(c, PARTIAL) ->
		if
		:: nr_free[h] == 2 && NR_LISTED(c) != 1 -> /* !slab_is_kept() */
			partial_del(c, h, DEAD);
			dead = true
		:: else
		fi
	:: else
	fi;
	unlock(c);
	if
	:: dead -> destroy(h)
	:: else
	fi
}

inline set_bits()
{
	atomic {
		nr_giving++;
		assert(live[h] && life[h] == my_life); /* objects are out, so the slab is there */
		assert((free[h] & mask) == 0);
		free[h] = free[h] | mask;
		out[h] = out[h] & ~mask & ALL
	}
}

inline raise_count()
{
	atomic {
		assert(live[h] && life[h] == my_life); /* 4 in slab.h: until then nobody counts all as home */
		nr_free[h] = nr_free[h] + COUNT(mask);
		count = nr_free[h]
	}
}

/* give_bits() */
inline give(c)
{
#ifdef BROKEN_state_before_bits
	seen = state[h];
	set_bits();
	raise_count();
#elif defined(BROKEN_count_before_bits)
	raise_count();
	set_bits();
	seen = state[h];
#else
	set_bits();
	raise_count();
	seen = state[h];
#endif
	if
	:: seen == STATE(c, FULL) || count == 2 ->
		seen = 0;
		count = 0;
		settle(c)
	:: else ->
		seen = 0;
		count = 0
	fi;
	atomic {
		nr_giving--;
		NONE_LOST(c)
	}
}

inline shrink(c)
{
	byte i;

	lock(c);
	for (i : 0 .. LAST) {
		if
		:: listed[i] && list_of[i] == c && nr_free[i] == 2 ->
			partial_del(c, i, DEAD);
			gone[i] = true
		:: else
		fi
	}
	unlock(c);
	for (i : 0 .. LAST) {
		if
		:: gone[i] -> destroy(i)
		:: else
		fi
	}
}

proctype worker(byte c; byte rounds)
{
	byte h, mask, seen, my_life;
	short count;
	bool dead;

	do
	:: rounds == 0 -> break
	:: else ->
		rounds--;
		take(c);
		if
		:: mask != 0 -> my_life = life[h]
		:: else -> break
		fi;
		if
		:: give(c)
		:: mask == ALL -> /* one after the other */
			mask = 1;
			give(c);
			mask = 2;
			give(c)
		fi;
		h = 0;
		mask = 0;
		my_life = 0;
		dead = false
	od;
	nr_running--
}

proctype shrinker(byte c)
{
	bool gone[NR_HEADERS];

	shrink(c);
	nr_running--
}

init {
	byte h;

	atomic {
		for (h : 0 .. LAST) {
			pooled[h] = true
		}
#if SETUP == 1
		nr_running = 3;
		run worker(1, 2);
		run worker(1, 1);
#else
		nr_running = 4;
		run worker(1, 1);
		run worker(1, 1);
		run worker(2, 1);
#endif
		run shrinker(1)
	}
	nr_running == 0;
	for (h : 0 .. LAST) {
		assert(live[h] != pooled[h]);
		assert(!live[h] || (listed[h] && list_of[h] == cache[h] && state[h] == STATE(cache[h], PARTIAL)));
		assert(!live[h] || (free[h] == ALL && nr_free[h] == 2 && out[h] == 0));
		assert(live[h] || !listed[h])
	}
}
