/*
 * Remote frees of pages, threads that end, and adoption of what they leave.
 *
 * Mirrors src/page/buddy.c, blocks.c and buddies.c: owner_lock(), free_pages(), free_locked(), block_enter(),
 * block_leave(), alloc_own(), alloc_new_block(), alloc_from_anyone(), purge_isolated(), buddy_adopt(), blocks_move(),
 * buddy_attach(), orphan_pop(), pages_thread_exit(); the reasoning is 2, 3 and the lock order at the head of buddy.h, and "adopter" in
 * docs/locking.md. What one lock guards is one step, unless another lock is taken inside it.
 *
 * Bounds: two buddies, two pageblocks of two pages, two threads that take a page, end, and take another as a guest of
 * some buddy, as late destructors do; one hands its first page to a third thread, which frees it. SETUP 2: a purge has
 * a page isolated meanwhile. SETUP 3: three such
 * threads, which find both buddies orphaned with a page each, and free nothing.
 * Setups: -DSETUP=1 -DSETUP=2 -DSETUP=3
 *
 * Properties: a page is handed out once; each free page and block is counted by one buddy or the zone; a block that
 * left its buddy is touched by nobody; no deadlock.
 */
#define NR_BUDDIES 2
#define NR_BLOCKS 2
#define NOBODY 7
#define ALL 3

bool locked[NR_BUDDIES];
bool threads_locked;
byte owner[NR_BLOCKS] = NOBODY; /* blk->owner */
byte free[NR_BLOCKS];		/* pages: in the buddy's lists if not 0 */
bool in_zone[NR_BLOCKS] = true;
byte nr_free[NR_BUDDIES];
byte nr_users[NR_BUDDIES];
bool orphan[NR_BUDDIES];
byte nr_buddies;
byte used[NR_BLOCKS]; /* pages that somebody owns */
byte nr_running;

/* A page is block * 2 + index. */
chan hand_over = [2] of { byte };

#define BIT(page) (1 << ((page) % 2))
#define BLK(page) ((page) / 2)
#define NR(set) (((set) & 1) + (((set) >> 1) & 1))

inline lock(b) { atomic { !locked[b]; locked[b] = true } }
inline unlock(b) { locked[b] = false }

/* block_find() and block_take(), b is locked: a page, or NOBODY. */
inline take_from(b, page)
{
	page = NOBODY;
	for (i : 0 .. 2 * NR_BLOCKS - 1) {
		if
		:: page == NOBODY && owner[BLK(i)] == b && (free[BLK(i)] & BIT(i)) -> page = i
		:: else
		fi
	}
	i = 0;
	if
	:: page != NOBODY ->
		assert(!in_zone[BLK(page)] && (used[BLK(page)] & BIT(page)) == 0);
		free[BLK(page)] = free[BLK(page)] - BIT(page);
		used[BLK(page)] = used[BLK(page)] | BIT(page);
		nr_free[b]--
	:: else
	fi
}

/* alloc_own(): when fits is false, the request is for more pages than are in one piece, and nothing is taken. */
inline alloc_own(b, page)
{
	lock(b);
	atomic {
		if
		:: take_from(b, page)
		:: page = NOBODY
		fi;
		unlock(b)
	}
}

inline alloc_new_block(b, page)
{
	atomic { /* zone_alloc() */
		if
		:: in_zone[0] -> blk = 0
		:: !in_zone[0] && in_zone[1] -> blk = 1
		:: else -> blk = NOBODY
		fi;
		if
		:: blk != NOBODY -> in_zone[blk] = false
		:: else
		fi
	}
	if
	:: blk != NOBODY ->
		lock(b);
		atomic {
			assert(owner[blk] == NOBODY && free[blk] == 0 && used[blk] == 0);
			owner[blk] = b;
			page = blk * 2; /* block_take() of this one */
			free[blk] = 2;
			used[blk] = 1;
			nr_free[b]++;
			unlock(b)
		}
	:: else
	fi;
	blk = 0
}

/* buddy_adopt() */
inline adopt(b)
{
	if
	:: orphan[0] || orphan[1] ->
#ifndef BROKEN_no_thread_lock
		atomic { !threads_locked; threads_locked = true }
#endif
		for (o : 0 .. NR_BUDDIES - 1) {
			if
#ifdef BROKEN_guest_adopts_its_host
			:: orphan[o] && nr_free[o] != 0 ->
#else
			:: orphan[o] && nr_free[o] != 0 && o != b ->
#endif
#ifndef BROKEN_orphan_unlocked
				lock(o);
#endif
				lock(b);
				/* blocks_move(): those with free pages; each step of it by itself */
				for (i : 0 .. NR_BLOCKS - 1) {
					if
					:: owner[i] == o && free[i] != 0 ->
						nr_moved = NR(free[i]);
						owner[i] = b;
						nr_free[o] = nr_free[o] - nr_moved;
						nr_free[b] = nr_free[b] + nr_moved;
						nr_moved = 0
					:: else
					fi
				}
				i = 0;
				unlock(b);
#ifndef BROKEN_orphan_unlocked
				unlock(o);
#endif
			:: else
			fi
		}
		o = 0;
#ifndef BROKEN_no_thread_lock
		threads_locked = false
#endif
	:: else
	fi
}

/* pages_alloc() of one page */
inline alloc(b, page)
{
	alloc_own(b, page);
	if
	:: page == NOBODY ->
		adopt(b);
		alloc_own(b, page)
	:: else
	fi;
	if
	:: page == NOBODY -> alloc_new_block(b, page)
	:: else
	fi;
	if
	:: page == NOBODY -> /* alloc_from_anyone() */
		atomic { !threads_locked; threads_locked = true }
		for (o : 0 .. nr_buddies - 1) {
			if
			:: page == NOBODY -> alloc_own(o, page)
			:: else
			fi
		}
		o = 0;
		threads_locked = false
	:: else
	fi
}

inline owner_lock(b, page)
{
	do
	:: b = owner[BLK(page)];
		assert(b != NOBODY); /* it holds the caller's pages, so it is some buddy's */
		lock(b);
#ifdef BROKEN_no_second_look
		break
#else
		if
		:: owner[BLK(page)] == b -> break
		:: else -> unlock(b)
		fi
#endif
	od
}

/* free_pages(), and the end of purge_isolated(), whose page is out of the lists, and nobody's. */
inline free_page(page)
{
	owner_lock(b, page);
	atomic {
		assert(owner[BLK(page)] == b);
		assert(!in_zone[BLK(page)] && (used[BLK(page)] & BIT(page)));
		used[BLK(page)] = used[BLK(page)] - BIT(page);
		free[BLK(page)] = free[BLK(page)] | BIT(page);
		nr_free[b]++;
		whole = free[BLK(page)] == ALL;
		if
		:: whole -> /* block_leave() */
			free[BLK(page)] = 0;
			nr_free[b] = nr_free[b] - 2;
			owner[BLK(page)] = NOBODY
		:: else
		fi;
		unlock(b)
	}
	if
	:: whole -> /* zone_free() */
		d_step {
			assert(owner[BLK(page)] == NOBODY && used[BLK(page)] == 0 && !in_zone[BLK(page)]);
			in_zone[BLK(page)] = true
		}
	:: else
	fi;
	whole = false;
	b = 0
}

/* buddy_attach() */
inline attach()
{
	atomic {
		!threads_locked;
		if
		:: orphan[0] ->
			self = 0;
			orphan[0] = false
		:: !orphan[0] && orphan[1] ->
			self = 1;
			orphan[1] = false
		:: !orphan[0] && !orphan[1] && nr_buddies < NR_BUDDIES ->
			self = nr_buddies;
			nr_buddies++
		:: else -> self = 0 /* buddy_share() */
		fi;
		nr_users[self]++
	}
}

/* pages_thread_exit() */
inline end_thread()
{
	atomic {
		!threads_locked;
		nr_users[self]--;
		if
		:: nr_users[self] == 0 -> orphan[self] = true
		:: else
		fi
	}
	/* From now on a guest: threads.all is the newest. */
	self = nr_buddies - 1
}

proctype thread(bool gives)
{
	byte self, b, i, o, blk, nr_moved, page = NOBODY, last = NOBODY;
	bool whole;

	attach();
	alloc(self, page);
#if SETUP != 3
	if
	:: gives && page != NOBODY ->
		hand_over ! page;
		page = NOBODY
	:: else
	fi;
#endif
	end_thread();
	alloc(self, last);
#if SETUP != 3
	if
	:: page != NOBODY -> free_page(page)
	:: else
	fi;
	if
	:: last != NOBODY -> free_page(last)
	:: else
	fi;
#endif
	nr_running--
}

proctype freer()
{
	byte b, page = NOBODY;
	bool whole;

	do
	:: hand_over ? page -> free_page(page)
	:: nr_running == 0 && empty(hand_over) -> break
	od
}

#if SETUP == 2
/* A round of purge_buddy(): isolate_block(), madvise with no lock held, purge_isolated(). */
proctype purger()
{
	byte b, i, page = NOBODY;
	bool whole;

	nr_buddies > 0;
	lock(0);
	atomic {
		take_from(0, page);
		unlock(0)
	}
	if
	:: page != NOBODY -> free_page(page)
	:: else
	fi
}
#endif

init {
	byte i, n, k;

	atomic {
		nr_running = 2;
		run thread(SETUP != 3);
		run thread(false);
#if SETUP == 2
		run purger();
#endif
#if SETUP == 3
		run thread(false);
		nr_running = 3;
		nr_buddies = 2;
		for (i : 0 .. 1) {
			orphan[i] = true;
			owner[i] = i;
			in_zone[i] = false;
			free[i] = 2;
			used[i] = 1;
			nr_free[i] = 1
		}
#else
		run freer()
#endif
	}
	_nr_pr == 1;
#if SETUP != 3
	d_step {
		for (i : 0 .. NR_BLOCKS - 1) {
			assert(used[i] == 0);
			assert(in_zone[i] && owner[i] == NOBODY && free[i] == 0)
		}
		for (i : 0 .. NR_BUDDIES - 1) {
			assert(nr_free[i] == 0 && nr_users[i] == 0)
		}
	}
#endif
}
