/*
 * Sheaf exchange and barn: several threads on several CPUs, which may move between any two steps.
 *
 * Mirrors src/slab/percpu.c: percpu_alloc_slow(), alloc_from_new_sheaf(), percpu_free_slow(), free_into_new_sheaf(),
 * install(), reap(); src/slab/sheaf.c: sheaf_of_top(), barn_exchange_empty(), barn_exchange_full(), barn_put(),
 * refill(), split(), keep_empty(), retire(); the reasoning is 3 at the head of percpu.h and 1 of sheaf.h.
 *
 * A restartable sequence either commits with nothing else of its CPU in between, or leaves nothing visible: so each is
 * one step here, on whatever CPU the thread is then, and may fail for no reason. What a lock guards is one step, too.
 * Between any two steps every thread may run and move. A top is an address: a sheaf and a place in it. It is read in
 * one step and swapped in a later one, and the sheaf may have begun another life in between, of another capacity: a
 * stale top then looks odd where a sentinel stands now, as in the code.
 *
 * Bounds: two threads. SETUP 1: on two CPUs, two calls of the program each. SETUP 2: on one CPU, three calls and two.
 * SETUP 3: on two CPUs, two calls and one, any of which may reap what rests. Three objects, of which up to two are in a sheaf at first; four sheaves of
 * one or two objects.
 * Setups: -DSETUP=1 -DSETUP=2 -DSETUP=3
 *
 * Properties: an object is handed out to one at a time; a sheaf is with one CPU, one thread, the barn or the pool; at
 * the end each object is in exactly one place.
 */
#define NR_OBJECTS 3
#define NR_SHEAVES 4
#define MAX_CAP 2
#define MAX_TRIES 1
#if SETUP == 2
#define NR_CPUS 1
#define NR_CALLS 3
#else
#define NR_CPUS 2
#define NR_CALLS 2
#endif
#define MAX_FULL 1
#define MAX_EMPTY 1
#define NO_SHEAF NR_SHEAVES
#define NO_OBJECT NR_OBJECTS

/* A top: sheaf * 4 + objects below it; NONE is the shared sentinel. */
#define NONE 255
#define TOP(s, n) ((s) * 4 + (n))
#define SHEAF(t) ((t) / 4)
#define NR(t) ((t) % 4)
#define SLOT(s, i) slot[(s) * MAX_CAP + (i)]
/* A word of a sheaf: 0 the low sentinel, then slots, cap[s] + 1 the high one. */
#define IS_ODD(s, word) ((word) == 0 || (word) == cap[s] + 1)
#define EMPTY(t) ((t) == NONE || IS_ODD(SHEAF(t), NR(t)))
#define IS_FULL(t) ((t) == NONE || IS_ODD(SHEAF(t), NR(t) + 1))

#define IN_POOL 0
#define WITH_CPU 1
#define WITH_THREAD 2
#define IN_BARN 3
byte place[NR_SHEAVES];

byte top[NR_CPUS] = NONE;
byte slot[NR_SHEAVES * MAX_CAP];
byte cap[NR_SHEAVES] = 9; /* in the pool: no high sentinel */
byte nr[NR_SHEAVES];
byte fulls[MAX_FULL], nr_full;
byte empties[MAX_EMPTY], nr_empty;
bool home[NR_OBJECTS]; /* its bit in the slab */
bool used[NR_OBJECTS];
byte nr_running;

inline move(s, from, to)
{
	assert(place[s] == from);
	place[s] = to
}

/* swap_top(): ok tells whether it was done. */
inline swap(old, new)
{
	atomic {
		if
		:: cpu = 0
		:: (NR_CPUS == 2) -> cpu = NR_CPUS - 1
		fi;
		ok = false;
		if
#ifdef BROKEN_blind_swap
		:: true ->
#else
		:: top[cpu] == old ->
#endif
			top[cpu] = new;
			ok = true
		:: true /* interrupted, or another top stands there */
		fi;
		cpu = 0
	}
}

/* --- sheaves and the slab, under their locks ------------------------------------------------- */

/* sheaf_get() */
inline sheaf_get(s)
{
	d_step {
		s = NO_SHEAF;
		for (i : 0 .. NR_SHEAVES - 1) {
			if
			:: s == NO_SHEAF && place[i] == IN_POOL -> s = i
			:: else
			fi
		}
		i = 0
	}
	if
	:: s != NO_SHEAF ->
		d_step {
			move(s, IN_POOL, WITH_THREAD);
			cap[s] = capacity;
			nr[s] = 0
		}
	:: else
	fi
}

/* retire() */
inline retire(s)
{
	if
	:: s != NO_SHEAF ->
		d_step {
			move(s, WITH_THREAD, IN_POOL);
			assert(nr[s] == 0);
			cap[s] = 9
		}
	:: else
	fi
}

inline give(obj)
{
	assert(!home[obj]); /* a double free */
	home[obj] = true
}

inline give_all(s)
{
	d_step {
		for (i : 0 .. nr[s] - 1) {
			give(SLOT(s, i))
		}
		i = 0;
		nr[s] = 0
	}
}

/* slab_take() into an empty sheaf, half full. */
inline take(s)
{
	d_step {
		for (i : 0 .. NR_OBJECTS - 1) {
			if
			:: home[i] && nr[s] < (cap[s] + 1) / 2 ->
				home[i] = false;
				SLOT(s, nr[s]) = i;
				nr[s]++
			:: else
			fi
		}
		i = 0
	}
}

inline barn_put(s)
{
	atomic {
		if
		:: nr[s] == 0 && nr_empty < MAX_EMPTY ->
			move(s, WITH_THREAD, IN_BARN);
			empties[nr_empty] = s;
			nr_empty++
		:: nr[s] == 0 && nr_empty >= MAX_EMPTY -> retire(s)
		:: nr[s] != 0 && nr_full < MAX_FULL ->
			move(s, WITH_THREAD, IN_BARN);
			fulls[nr_full] = s;
			nr_full++
		:: nr[s] != 0 && nr_full >= MAX_FULL ->
			give_all(s);
			retire(s)
		fi;
		s = NO_SHEAF
	}
}

/* Any capacity: it depends on visits of others. */
inline choose_capacity()
{
	if
	:: capacity = 1
	:: capacity = 2
	fi
}

/* barn_exchange_empty(): s in, s out. */
inline exchange_empty(s)
{
	atomic {
		if
		:: nr_full > 0 ->
			if
			:: s != NO_SHEAF && nr_empty < MAX_EMPTY ->
				assert(nr[s] == 0);
				move(s, WITH_THREAD, IN_BARN);
				empties[nr_empty] = s;
				nr_empty++
			:: else -> retire(s)
			fi;
			nr_full--;
			s = fulls[nr_full];
			fulls[nr_full] = 0;
			move(s, IN_BARN, WITH_THREAD)
		:: else ->
			choose_capacity();
			if
			:: s == NO_SHEAF || cap[s] < capacity ->
				sheaf_get(other);
				if
				:: other != NO_SHEAF ->
					retire(s);
					s = other
				:: else
				fi;
				other = NO_SHEAF
			:: else
			fi;
			capacity = 0;
			if
			:: s != NO_SHEAF -> take(s)
			:: else
			fi;
			if
			:: s != NO_SHEAF && nr[s] == 0 -> barn_put(s)
			:: else
			fi
		fi
	}
}

/* barn_exchange_full(): s in, s out. */
inline exchange_full(s)
{
	atomic {
		if
		:: nr_empty > 0 ->
			nr_empty--;
			other = empties[nr_empty];
			empties[nr_empty] = 0;
			move(other, IN_BARN, WITH_THREAD)
		:: else ->
			choose_capacity();
			sheaf_get(other)
		fi;
		capacity = 0;
		if
		:: s == NO_SHEAF -> s = other
		:: s != NO_SHEAF && other != NO_SHEAF ->
			/* split(): the half on top stays */
			if
			:: nr[s] == 2 && cap[other] == 2 ->
				SLOT(other, 0) = SLOT(s, 1);
				nr[other] = 1;
				nr[s] = 1
			:: else
			fi;
			barn_put(s);
			s = other
		:: s != NO_SHEAF && other == NO_SHEAF -> give_all(s)
		fi;
		other = NO_SHEAF
	}
}

/* --- slow paths --------------------------------------------------------------------------------- */

/* After a swap that took the top: sheaf_of_top(). */
inline detached(s)
{
	d_step {
		s = SHEAF(t);
		move(s, WITH_CPU, WITH_THREAD);
		nr[s] = NR(t)
	}
}

inline install(s)
{
	d_step {
		move(s, WITH_THREAD, WITH_CPU); /* or back, if the swap fails: nobody else looks at the place */
		t = TOP(s, nr[s])
	}
#ifdef BROKEN_install_over
	atomic { /* over whatever is there */
		if
		:: top[0] = t
		:: top[NR_CPUS - 1] = t
		fi;
		ok = true
	}
#else
	swap(NONE, t);
#endif
	if
	:: ok
	:: else ->
		move(s, WITH_CPU, WITH_THREAD);
		barn_put(s)
	fi;
	s = NO_SHEAF
}

inline alloc()
{
	t = NONE;
	obj = NO_OBJECT;
	tries = 0;
	do
	:: tries == MAX_TRIES -> /* alloc_uncached() */
		atomic {
			if
			:: home[0] -> obj = 0
			:: home[1] -> obj = 1
			:: home[2] -> obj = 2
			:: else
			fi;
			if
			:: obj != NO_OBJECT -> home[obj] = false
			:: else
			fi
		}
		break
	:: tries < MAX_TRIES ->
		tries++;
		some_top();
		if
		:: EMPTY(t) ->
			if
			:: t == NONE -> ok = true
			:: else -> swap(t, NONE)
			fi;
			if
			:: ok && t != NONE -> detached(s)
			:: else
			fi;
			if
			:: ok ->
				if
				:: s == NO_SHEAF || nr[s] == 0 -> exchange_empty(s)
				:: else
				fi;
				if
				:: s != NO_SHEAF ->
					d_step {
						nr[s]--;
						obj = SLOT(s, nr[s])
					}
					install(s)
				:: else
				fi;
				break
			:: else
			fi
		:: else
		fi;
		pop();
		if
		:: obj != NO_OBJECT -> break
		:: else
		fi
	od;
	t = 0;
	tries = 0;
	ok = false;
	if
	:: obj != NO_OBJECT ->
		d_step {
			assert(!used[obj]); /* none doubled */
			used[obj] = true;
			mine[obj] = true
		}
	:: else
	fi;
	obj = NO_OBJECT
}

inline some_top()
{
	if
	:: t = top[0]
	:: (NR_CPUS == 2) -> t = top[NR_CPUS - 1]
	fi
}

/* percpu_pop(), percpu_push() on any CPU; either may fail. */
inline pop()
{
	atomic {
		if
		:: cpu = 0
		:: (NR_CPUS == 2) -> cpu = NR_CPUS - 1
		fi;
		if
		:: !EMPTY(top[cpu]) ->
			obj = SLOT(SHEAF(top[cpu]), NR(top[cpu]) - 1);
			top[cpu] = top[cpu] - 1
		:: true
		fi;
		cpu = 0
	}
}

inline push()
{
	atomic {
		if
		:: cpu = 0
		:: (NR_CPUS == 2) -> cpu = NR_CPUS - 1
		fi;
		ok = false;
		if
		:: !IS_FULL(top[cpu]) ->
			SLOT(SHEAF(top[cpu]), NR(top[cpu])) = obj;
			top[cpu] = top[cpu] + 1;
			ok = true
		:: true
		fi;
		cpu = 0
	}
}

inline free()
{
	atomic {
		if
		:: mine[0] -> obj = 0
		:: mine[1] -> obj = 1
		:: mine[2] -> obj = 2
		fi;
		mine[obj] = false;
		used[obj] = false
	}
	tries = 0;
	do
	:: tries == MAX_TRIES ->
		give(obj);
		break
	:: tries < MAX_TRIES ->
		tries++;
		some_top();
		push();
		if
		:: ok -> break
		:: else
		fi;
		if
		:: IS_FULL(t) ->
			if
			:: t == NONE -> ok = true
#ifdef BROKEN_no_detach
			:: else -> ok = true
#else
			:: else -> swap(t, NONE)
#endif
			fi;
			if
			:: ok && t != NONE -> detached(s)
			:: else
			fi;
			if
			:: ok ->
				if
#ifdef BROKEN_stale_full
				:: s == NO_SHEAF -> exchange_full(s)
#else
				:: s == NO_SHEAF || nr[s] == cap[s] -> exchange_full(s)
#endif
				:: else
				fi;
				if
				:: s == NO_SHEAF -> give(obj)
				:: else ->
					d_step {
						assert(nr[s] < cap[s]);
						SLOT(s, nr[s]) = obj;
						nr[s]++
					}
					install(s)
				fi;
				break
			:: else
			fi
		:: else
		fi
	od;
	t = 0;
	tries = 0;
	ok = false;
	obj = NO_OBJECT
}

/* reap(): a sheaf whose top has not moved is emptied. */
inline reap()
{
	some_top();
	if
	:: t != NONE ->
		swap(t, NONE);
		if
		:: ok ->
			detached(s);
			give_all(s);
			barn_put(s)
		:: else
		fi
	:: else
	fi;
	t = 0;
	ok = false
}

proctype thread(byte steps)
{
	bool mine[NR_OBJECTS], ok;
	byte t, cpu, tries, i, capacity;
	byte obj = NO_OBJECT, s = NO_SHEAF, other = NO_SHEAF;

	do
	:: steps == 0 -> break
	:: steps > 0 ->
		steps--;
		if
		:: alloc()
		:: mine[0] || mine[1] || mine[2] -> free()
#if SETUP == 3
		:: reap()
#endif
		fi
	od;
	assert(s == NO_SHEAF);
	nr_running--
}

init {
	byte i, k, n, c;

	d_step {
		for (i : 0 .. NR_OBJECTS - 1) {
			home[i] = true
		}
		i = 0;
		nr_running = 2
	}
	/* The first CPU has a sheaf: full, half full or empty. */
	atomic {
		place[0] = WITH_CPU;
		if
		:: cap[0] = 1
		:: cap[0] = 2
		fi;
		do
		:: n < cap[0] ->
			home[n] = false;
			SLOT(0, n) = n;
			n++
		:: true -> break
		od;
		top[0] = TOP(0, n);
		n = 0
	}
	atomic {
		run thread(NR_CALLS);
#if SETUP == 3
		run thread(1)
#else
		run thread(2)
#endif
	}
	nr_running == 0;
	d_step {
		for (k : 0 .. NR_OBJECTS - 1) {
			n = home[k] + used[k];
			for (c : 0 .. NR_CPUS - 1) {
				if
				:: top[c] != NONE ->
					assert(place[SHEAF(top[c])] == WITH_CPU);
					for (i : 0 .. NR(top[c]) - 1) {
						n = n + (SLOT(SHEAF(top[c]), i) == k)
					}
				:: else
				fi
			}
			for (c : 0 .. nr_full - 1) {
				assert(place[fulls[c]] == IN_BARN);
				for (i : 0 .. nr[fulls[c]] - 1) {
					n = n + (SLOT(fulls[c], i) == k)
				}
			}
			assert(n == 1)
		}
		n = 0;
		for (c : 0 .. NR_CPUS - 1) {
			n = n + (top[c] != NONE)
		}
		for (i : 0 .. NR_SHEAVES - 1) {
			n = n + (place[i] == IN_POOL)
		}
		assert(n + nr_full + nr_empty == NR_SHEAVES)
	}
}
