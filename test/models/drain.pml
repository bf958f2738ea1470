/*
 * Draining another CPU's area: the area's pointer replaced, a barrier, then the area emptied; reattached when the
 * barrier fails.
 *
 * Mirrors src/slab/drain.c: percpu_drain(), areas_detach(), areas_reattach(), area_empty(); src/slab/area.c:
 * area_create(), area_get(); the sequences are those of src/arch/percpu.h, here in two steps, since another CPU's drainer does not interrupt
 * them: load the area's pointer and the top; commit. In between, whatever else runs on the same CPU, and the barrier,
 * restart the sequence. The reasoning is 4 at the head of percpu.h and "Emptying another CPU's cache" in docs/rseq.md.
 *
 * An area holds a set of objects; a sequence commits the set that it read with one object more or less, as a top is
 * computed from the top that was read.
 *
 * Bounds: two objects, two threads that make two calls and one, two drains whose barrier may fail. SETUP 1: two CPUs,
 * one drainer twice. SETUP 2: one CPU, two drainers.
 * Setups: -DSETUP=1 -DSETUP=2
 *
 * Properties: no object is handed out twice; at the end each is in one place; nobody commits into an area that is
 * being emptied, or that serves two CPUs.
 */
#define NR_OBJECTS 2
#define NR_AREAS 4
#define NONE_AREA NR_AREAS
#define NOBODY 9
#if SETUP == 1
#define NR_CPUS 2
#else
#define NR_CPUS 1
#endif

byte area[NR_CPUS] = NONE_AREA; /* bslab_hot.area[] */
byte objects[NR_AREAS];		/* sets */
byte slot_of[NR_AREAS];
bool spare[NR_AREAS], limbo[NR_AREAS], emptied[NR_AREAS];
byte nr_made;
bool locked; /* percpu.lock */
byte home = 3; /* the slab */
byte used;

byte at_work[2] = NONE_AREA; /* each thread's area, from load to commit */
byte on_cpu[2];
byte nr_running;

inline lock() { atomic { !locked; locked = true } }
inline unlock() { locked = false }

/* The first load of a sequence: whoever was inside one on this CPU is restarted when it runs again. */
inline enter(cpu)
{
	atomic {
		if
		:: cpu = 0
		:: NR_CPUS > 1 -> cpu = NR_CPUS - 1
		fi;
		on_cpu[id] = cpu;
		if
		:: at_work[1 - id] != NONE_AREA && on_cpu[1 - id] == cpu -> at_work[1 - id] = NONE_AREA
		:: else
		fi;
		a = area[cpu];
		at_work[id] = a;
		if
		:: a != NONE_AREA -> seen = objects[a]
		:: else -> seen = 0
		fi
	}
}

/* percpu_pop() or percpu_push() of the object `obj`; done tells whether it committed. */
inline commit(set)
{
	atomic {
		done = false;
		if
		:: at_work[id] != NONE_AREA ->
			assert(!emptied[a]);
			assert(at_work[1 - id] != a || on_cpu[1 - id] == on_cpu[id]); /* one area, one CPU */
			objects[a] = set;
			at_work[id] = NONE_AREA;
			done = true
		:: else
		fi;
		a = NONE_AREA
	}
}

/* area_create() for some CPU: of the thread that asks, or the one that it has moved to. */
inline make_area()
{
	lock();
	atomic {
		if
		:: cpu = 0
		:: NR_CPUS > 1 -> cpu = NR_CPUS - 1
		fi;
		if
		:: area[cpu] == NONE_AREA ->
			/* area_get() */
			a = NONE_AREA;
			for (i : 0 .. NR_AREAS - 1) {
				if
				:: a == NONE_AREA && spare[i] -> a = i
				:: else
				fi
			}
			if
			:: a != NONE_AREA -> spare[a] = false
			:: a == NONE_AREA && nr_made < NR_AREAS ->
				a = nr_made;
				nr_made++
			:: else
			fi;
			if
			:: a != NONE_AREA ->
				emptied[a] = false;
				area[cpu] = a
			:: else
			fi;
			a = NONE_AREA;
			i = 0
		:: else
		fi
	}
	unlock()
}

inline alloc()
{
	enter(cpu);
	if
	:: seen != 0 ->
		obj = seen & (255 - seen + 1); /* the lowest */
		commit(seen & (255 - obj))
	:: else ->
		at_work[id] = NONE_AREA;
		done = false
	fi;
	if
	:: done
	:: else ->
		make_area();
		atomic { /* slab_take() of one */
			obj = home & (255 - home + 1);
			home = home - obj
		}
	fi;
	d_step {
		assert((used & obj) == 0); /* none doubled */
		used = used | obj;
		mine = mine | obj
	}
}

inline free()
{
	d_step {
		obj = mine & (255 - mine + 1);
		mine = mine - obj;
		used = used - obj
	}
	enter(cpu);
	if
	:: a != NONE_AREA -> commit(seen | obj)
	:: else -> done = false
	fi;
	if
	:: done
	:: else ->
		make_area();
		d_step { /* slab_give() */
			assert((home & obj) == 0);
			home = home | obj
		}
	fi
}

proctype thread(byte id; byte calls)
{
	byte a = NONE_AREA, cpu, seen, obj, mine, i;
	bool done;

	do
	:: calls == 0 -> break
	:: else ->
		calls--;
		if
		:: alloc()
		:: mine != 0 -> free()
		fi;
		d_step {
			seen = 0;
			obj = 0;
			done = false;
			cpu = 0;
			a = NONE_AREA
		}
	od;
	nr_running--
}

/* membarrier: after it, no thread is inside a sequence that it began before. */
inline barrier()
{
	atomic {
		if
		:: fail = true
		:: fail = false;
#ifndef BROKEN_no_barrier
			at_work[0] = NONE_AREA;
			at_work[1] = NONE_AREA
#endif
		fi
	}
}

inline detach()
{
	lock();
	for (i : 0 .. NR_CPUS - 1) {
		atomic {
			a = area[i];
			if
			:: a != NONE_AREA ->
				area[i] = NONE_AREA;
				slot_of[a] = i;
				taken[a] = true
			:: else
			fi
		}
	}
	i = 0;
	d_step {
		for (i : 0 .. NR_AREAS - 1) {
			if
			:: limbo[i] ->
				limbo[i] = false;
				taken[i] = true
			:: else
			fi
		}
		i = 0;
		a = NONE_AREA
	}
	unlock()
}

inline reattach()
{
	lock();
	d_step {
		for (i : 0 .. NR_AREAS - 1) {
			if
			:: taken[i] ->
				taken[i] = false;
				if
				:: area[slot_of[i]] == NONE_AREA ->
					area[slot_of[i]] = i;
					slot_of[i] = 0
#ifdef BROKEN_no_limbo
				:: else -> spare[i] = true
#else
				:: else -> limbo[i] = true
#endif
				fi
			:: else
			fi
		}
		i = 0
	}
	unlock()
}

inline empty_all()
{
	for (i : 0 .. NR_AREAS - 1) {
		if
		:: taken[i] ->
			seen = objects[i];
			d_step {
				objects[i] = 0;
				emptied[i] = true;
				assert((home & seen) == 0);
				home = home | seen;
				seen = 0
			}
			lock();
			d_step {
				spare[i] = true;
				taken[i] = false
			}
			unlock()
		:: else
		fi
	}
	i = 0
}

proctype drainer(byte rounds)
{
	bool taken[NR_AREAS], fail;
	byte i, a, seen;

	do
	:: rounds == 0 -> break
	:: else ->
		rounds--;
		detach();
		barrier();
#ifdef BROKEN_ignore_failure
		empty_all();
#else
		if
		:: fail -> reattach()
		:: else -> empty_all()
		fi;
#endif
		fail = false
	od;
	nr_running--
}

init {
	byte i, k, n;

	atomic {
		/* The first CPU's area has one object, the slab the other. */
		area[0] = 0;
		nr_made = 1;
		objects[0] = 1;
		home = 2;
		run thread(0, 2);
		run thread(1, 1);
#if SETUP == 1
		nr_running = 3;
		run drainer(2)
#else
		nr_running = 4;
		run drainer(1);
		run drainer(1)
#endif
	}
	nr_running == 0;
	d_step {
		for (k : 0 .. NR_OBJECTS - 1) {
			n = ((home >> k) & 1) + ((used >> k) & 1);
			for (i : 0 .. NR_AREAS - 1) {
				n = n + ((objects[i] >> k) & 1)
			}
			assert(n == 1)
		}
		n = 0;
		for (i : 0 .. NR_AREAS - 1) {
			n = n + spare[i] + limbo[i];
			assert(!spare[i] || objects[i] == 0)
		}
		for (i : 0 .. NR_CPUS - 1) {
			n = n + (area[i] != NONE_AREA)
		}
		assert(n == nr_made) /* no area is lost */
	}
}
