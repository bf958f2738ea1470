/*
 * A lock that is biased to a thread: who enters by plain stores, and who takes the bias away, or suspends it.
 *
 * Mirrors src/os/biased.h: bias_enter(), bias_leave(); and src/os/biased.c: biased_try(), biased_take(), move(), biased_visit(),
 * suspend(), resume(), wait_outside(), biased_drop(). A fork is a visit of all locks. The ordinary lock is one step: who waits for it
 * is woken (src/os/lock.c).
 *
 * Each thread has a store buffer of one entry, which reaches memory at any time, at the thread's next store, or at an atomic
 * operation of the thread; the thread's own loads look there first (x86-TSO). A membarrier empties all of them.
 *
 * Bounds: three threads, each of two calls: a brief section, a longer one, or a visit; a thread's brief section is one by its
 * bias, else by the ordinary lock, else a longer one. Two biases.
 * SETUP 1: any call; SETUP 2: the first thread has the bias and is within, or about to be, from the start. A child of fork in which
 * the lock was unbiased begins as SETUP 1, too: biased_fork_done() forgets whose the words were.
 * Setups: -DSETUP=1 -DSETUP=2
 *
 * Properties: one thread is within at a time; nobody waits for ever; the lock and its bias are left as they may be.
 */
#define NR_THREADS 3
#define NR_BIASES 2
#define UNBIASED NR_BIASES
#define NOBODY 0
#define INSIDE 1
#define POINTER(t) (2 + (t))

byte word[NR_BIASES + 1];
byte bias = UNBIASED, suspended = UNBIASED, nr_given;
bool locked;

bool is_full[NR_THREADS];
byte to[NR_THREADS], value[NR_THREADS];

byte nr_within;

inline flush(t)
{
	d_step {
		if
		:: is_full[t] -> word[to[t]] = value[t]; is_full[t] = false; to[t] = 0; value[t] = 0
		:: else
		fi
	}
}

inline store(i, v)
{
	d_step {
		if
		:: is_full[me] -> word[to[me]] = value[me]
		:: else
		fi;
		is_full[me] = true;
		to[me] = i;
		value[me] = v
	}
}

#define WORD(i) (is_full[me] && to[me] == i -> value[me] : word[i])

inline barrier()
{
#ifndef BROKEN_barrier
	d_step {
		for (k : 0 .. NR_THREADS - 1) {
			if
			:: is_full[k] -> word[to[k]] = value[k]; is_full[k] = false; to[k] = 0; value[k] = 0
			:: else
			fi
		}
		k = 0
	}
#else
	flush(me)
#endif
}

inline lock()
{
	atomic {
		!locked;
		locked = true;
		flush(me)
	}
}

inline unlock()
{
	atomic {
		flush(me);
		locked = false
	}
}

inline section()
{
	nr_within++;
	assert(nr_within == 1);
	nr_within--
}

/* entered: whether it was */
inline enter(i)
{
	entered = false;
	if
	:: WORD(i) != POINTER(me)
	:: else ->
		store(i, INSIDE);
#ifndef BROKEN_look
		if
		:: bias == i -> entered = true
		:: else ->
#ifndef BROKEN_back
			store(i, POINTER(me))
#endif
		fi
#else
		entered = true
#endif
	fi
}

inline wait_outside(i)
{
#ifndef BROKEN_wait
	word[i] != INSIDE
#else
	skip
#endif
}

inline move()
{
	old = bias;
#ifndef BROKEN_word
	next = nr_given;
#else
	next = (nr_given < NR_BIASES -> 0 : UNBIASED);
#endif
	nr_given++;
	bias = next;
	if
	:: next != UNBIASED -> store(next, INSIDE)
	:: else
	fi;
	if
	:: old != UNBIASED ->
		barrier();
		wait_outside(old)
	:: else
	fi
}

inline take()
{
	lock();
	if
	:: WORD(bias) == POINTER(me) -> store(bias, INSIDE)
	:: else ->
		if
		:: nr_given <= NR_BIASES -> move()
		:: else
		fi
	fi
}

inline visit()
{
	lock();
	if
	:: WORD(bias) == POINTER(me) -> store(bias, INSIDE)
	:: else ->
		suspended = bias;
		bias = UNBIASED;
		if
		:: suspended != UNBIASED ->
			barrier();
			wait_outside(suspended)
		:: else
		fi
	fi
}

inline drop()
{
	if
	:: bias != UNBIASED -> store(bias, POINTER(me))
	:: else ->
		if
		:: suspended != UNBIASED ->
			bias = suspended;
			suspended = UNBIASED
		:: else
		fi
	fi;
	unlock()
}

inline longer()
{
	take();
	section();
	drop()
}

/* The ordinary lock, if it is free, and there is no bias under it. */
inline try()
{
	entered = false;
	atomic {
		flush(me);
		if
		:: locked
		:: else -> locked = true; entered = true
		fi
	}
	if
#ifndef BROKEN_try
	:: entered && bias != UNBIASED -> unlock(); entered = false
#endif
	:: else
	fi
}

inline brief()
{
	i = bias;
	if
	:: i != UNBIASED ->
		enter(i);
		if
		:: entered -> section(); store(i, POINTER(me))
		:: else -> longer()
		fi
	:: else ->
		try();
		if
		:: entered -> section(); unlock()
		:: else -> longer()
		fi
	fi
}

proctype thread(byte me)
{
	byte i, k, old, next, n;
	bool entered;

#if SETUP == 2
	if
	:: me == 0 -> goto within_soon
	:: else
	fi;
#endif
	do
	:: n < 2 ->
		n++;
		if
		:: brief()
		:: longer()
		:: visit(); section(); drop()
		fi;
		i = 0; old = 0; next = 0; entered = false
	:: else -> break
	od;
#if SETUP == 2
	goto done;
within_soon:
	i = 0;
	enter(i);
	if
	:: entered -> section(); store(i, POINTER(me))
	:: else -> longer()
	fi;
	brief();
	brief();
done:
#endif
	skip
}

active proctype memory()
{
end:
	do
	:: atomic { is_full[0] -> flush(0) }
	:: atomic { is_full[1] -> flush(1) }
	:: atomic { is_full[2] -> flush(2) }
	:: atomic { _nr_pr == 1 && !is_full[0] && !is_full[1] && !is_full[2] ->
			assert(!locked && suspended == UNBIASED && nr_within == 0);
			assert(bias == UNBIASED || word[bias] >= POINTER(0));
			break }
	od
}

init {
	atomic {
#if SETUP == 2
		bias = 0;
		nr_given = 1;
		word[0] = POINTER(0);
#endif
#if SETUP == 1 && defined(BROKEN_child)
		word[0] = POINTER(0);
		word[1] = POINTER(1);
#endif
		run thread(0);
		run thread(1);
		run thread(2)
	}
}
