/*
 * Moving an object with a handle: who maps it, frees it or is about to allocate it meanwhile makes the move void.
 *
 * Mirrors src/handle/handle.h and handle.c: handle_map(), handle_unmap(), handle_free(), handle_alloc_fast(),
 * handle_refill(); keep.c: handle_keep_fill(); and move.c: move_check(), move_begin(), copy_object(), move_end(), strip(), each under the
 * cache's lock where that is held there. An entry's word is place, maps and state, and changes by compare-and-swap; the copy is a
 * load and a store, and others come between them. The reasoning is 1 at the head of src/handle/entry.h.
 *
 * An object is a word. Whoever has it mapped writes a new value, and looks whether it is there at the next map.
 *
 * Bounds: one entry, two places, and a third for another object; a user that allocates, maps, writes, unmaps and frees; SETUP 1: a second
 * user that maps the same handle to read, beside a compactor that moves twice. SETUP 2: no second user, but a stranger who takes any
 * place that is free and writes to it, and a compactor that moves and strips.
 * Setups: -DSETUP=1 -DSETUP=2
 *
 * Properties: what was written is what is read at the next map; an object that is mapped is neither moved nor freed; no two
 * own a place; no place is lost.
 */
#define NR_PLACES 3
#define NONE NR_PLACES
#define NOBODY 0
#define ENTRY 1
#define STRANGER 2
#define MOVER 3 /* taken for a move, not yet the entry's */

mtype = {FREE, CACHED, LIVE, MOVING};

/* One word: each change of it is one atomic step. */
mtype state = FREE;
byte place = NONE;
byte maps;

byte owner[NR_PLACES]; /* the slabs: under the lock */
byte memory[NR_PLACES];
bool locked; /* the cache's */
byte written; /* what the program wrote last */
byte written_at = NONE; /* where it has the object mapped to write */
bool is_allocated; /* the program has the handle */
byte nr_running;

inline lock() { atomic { !locked; locked = true } }
inline unlock() { locked = false }

/* With the lock held: a place that is free, or NONE. */
inline take_place(to, by)
{
	d_step {
		to = NONE;
		for (k : 0 .. NR_PLACES - 1) {
			if
			:: to == NONE && owner[k] == NOBODY -> to = k
			:: else
			fi
		}
		k = 0;
		if
		:: to != NONE -> owner[to] = by
		:: else
		fi
	}
}

inline give_place(from, by)
{
	d_step {
		assert(owner[from] == by);
		owner[from] = NOBODY
	}
}

/* handle_map(): a compare-and-swap, which fails only where another one succeeds; so it is one step. */
inline map_entry(at)
{
	atomic {
		assert(state == LIVE || state == MOVING);
#ifdef BROKEN_map_leaves_the_move
		if
		:: state == MOVING
		:: else -> state = LIVE
		fi;
#else
		state = LIVE;
#endif
		maps++;
		at = place
	}
}

inline unmap_entry() { atomic { assert(maps > 0); maps-- } }

proctype user(byte rounds)
{
	byte at = NONE, k;
	bool got;

	do
	:: rounds == 0 -> break
	:: else ->
		rounds--;
		/* alloc: what the thread keeps, or, where a compaction took that, another object */
		atomic {
			got = state == CACHED;
			if
			:: got -> state = LIVE
			:: else
			fi
		}
		if
		:: got
		:: else ->
			do
			:: lock();
			   take_place(at, ENTRY);
			   unlock();
			   if
			   :: at != NONE -> break
			   :: else
			   fi
			od;
			atomic { state = LIVE; place = at; maps = 0 }
		fi;
		/* map, write, unmap */
		map_entry(at);
		written_at = at;
		d_step {
			assert(owner[at] == ENTRY);
			memory[at] = memory[at] + 1;
			written = memory[at]
		}
		d_step {
			assert(owner[at] == ENTRY && memory[at] == written); /* nobody else's, and not moved away */
			written_at = NONE
		}
		unmap_entry();
		is_allocated = true;
		/* map once more: it may have moved */
		map_entry(at);
		assert(memory[at] == written);
		unmap_entry();
		atomic { is_allocated && maps == 0; is_allocated = false }
		/* free: it is kept */
		atomic {
			assert((state == LIVE || state == MOVING) && maps == 0);
#ifdef BROKEN_free_leaves_the_move
			if
			:: state == MOVING
			:: else -> state = CACHED
			fi
#else
			state = CACHED
#endif
		}
		at = NONE
	od;
	nr_running--
}

/* Maps the handle while the program has it. */
proctype reader(byte rounds)
{
	byte at = NONE;

	do
	:: rounds == 0 -> break
	:: else ->
		rounds--;
		atomic {
			if
			:: is_allocated ->
				state = LIVE;
				maps++;
				at = place
			:: else
			fi
		}
		if
		:: at != NONE ->
			assert(owner[at] == ENTRY);
			assert(memory[at] == written);
			unmap_entry();
			at = NONE
		:: else
		fi
	od;
	nr_running--
}

/* Whoever gets a place that is free: its memory is his. */
proctype stranger(byte rounds)
{
	byte at, k;

	do
	:: rounds == 0 -> break
	:: else ->
		rounds--;
		lock();
		take_place(at, STRANGER);
		unlock();
		if
		:: at != NONE ->
			memory[at] = 100;
			d_step { assert(memory[at] == 100); memory[at] = 0 }
			lock();
			give_place(at, STRANGER);
			unlock()
		:: else
		fi
	od;
	nr_running--
}

proctype compactor(byte rounds)
{
	byte from = NONE, to = NONE, copy, k;
	bool done;

	do
	:: rounds == 0 -> break
	:: else ->
		rounds--;
		lock();
		/* strip(): what a thread keeps is taken from it */
		atomic {
			done = state == CACHED;
			if
			:: done ->
				from = place;
				state = FREE;
				place = NONE
			:: else
			fi
		}
		if
		:: done ->
			give_place(from, ENTRY);
			unlock()
		:: else ->
			/* move_begin() */
			atomic {
#ifdef BROKEN_moves_what_is_mapped
				done = state == LIVE;
#else
				done = state == LIVE && maps == 0;
#endif
				if
				:: done ->
					from = place;
					state = MOVING
				:: else
				fi
			}
			if
			:: done -> take_place(to, MOVER)
			:: else
			fi;
			if
			:: done && to == NONE -> /* the code looks for room first; here it is as if it was mapped meanwhile */
				atomic {
					if
					:: state == MOVING -> state = LIVE
					:: else
					fi
				}
				done = false
			:: else
			fi;
			unlock();
			if
			:: done ->
				copy = memory[from]; /* which may be freed, and another's, by now */
				memory[to] = copy;
				lock();
				/* move_end(): the place becomes the entry's with the swap, both under the lock */
				atomic {
#ifdef BROKEN_ends_without_a_look
					done = true;
#else
					done = state == MOVING && place == from;
#endif
					if
					:: done ->
						state = LIVE;
						place = to;
						assert(owner[to] == MOVER);
						owner[to] = ENTRY
					:: else
					fi
				}
				if
				:: done -> give_place(from, ENTRY)
				:: else -> give_place(to, MOVER)
				fi;
				unlock()
			:: else
			fi
		fi;
		d_step {
			from = NONE;
			to = NONE;
			copy = 0;
			done = false
		}
	od;
	nr_running--
}

init {
	byte i, n;

	atomic {
		nr_running = 3;
		run user(2);
#if SETUP == 1
		run reader(2);
		run compactor(3)
#else
		run stranger(2);
		run compactor(4)
#endif
	}
	nr_running == 0;
	d_step {
		assert(maps == 0 && !locked);
		assert(state == CACHED || state == FREE);
		for (i : 0 .. NR_PLACES - 1) {
			n = n + (owner[i] != NOBODY);
			assert(owner[i] == NOBODY || (owner[i] == ENTRY && place == i))
		}
		assert(n == (state == CACHED)) /* none is lost */
	}
}
