/* SPDX-License-Identifier: MIT */
#include "page/buddies.h"

#include "base/probe.h"
#include "boot/boot.h"
#include "os/os.h"

#define BUDDIES_PER_CPU 4
#define MIN_BUDDIES 8

static unsigned max_buddies(void)
{
	static unsigned max;

	if (!max) {
		unsigned n = os_nr_cpus_allowed() * BUDDIES_PER_CPU;

		max = n < MIN_BUDDIES ? MIN_BUDDIES : n;
	}
	return max;
}

void buddy_add(struct buddy *b)
{
	b->purge_order = NR_ORDERS;
	b->next = threads.all;
	__atomic_store_n(&threads.all, b, __ATOMIC_RELEASE); /* read without the lock by reports and purges */
}

struct buddy *buddy_create(bool is_zones, unsigned zone)
{
	struct buddy *b = boot_alloc(sizeof *b, 64);

	if (!b)
		return NULL;
	b->is_zones = is_zones;
	b->zone = (uint8_t)zone;
	buddy_add(b);
	return b;
}

static struct buddy *create_for_threads(void)
{
	struct buddy *b = buddy_create(false, 0);

	WRITE_ONCE(threads.nr_buddies, threads.nr_buddies + (b != NULL));
	return b;
}

/* From b on, the first that is for threads. */
static struct buddy *first_of_threads(struct buddy *b)
{
	while (b && buddy_is_apart(b))
		b = b->next;
	return b;
}

static struct buddy *orphan_pop(void)
{
	struct buddy *b = threads.orphans;

	if (b) {
		WRITE_ONCE(threads.orphans, b->next_orphan);
	}
	return b;
}

static struct buddy *buddy_share(void)
{
	struct buddy *b = first_of_threads(threads.next_shared);

	if (!b)
		b = first_of_threads(threads.all);
	if (b)
		threads.next_shared = b->next;
	return b;
}

static void count_adoption(struct buddy *to, const struct buddy *from)
{
	PROBE(buddy_adopt, to, from, from->nr_free);
	to->count.nr_adoptions++;
}

struct buddy *buddy_attach(void)
{
	struct buddy *b;

	lock_take(&threads.lock, RANK_THREAD);
	if (thread_state.exit_hooked == THREAD_ENDED) {
		/* The last calls of a thread that nobody will tell us about again: a guest of any buddy. */
		b = first_of_threads(threads.all);
		if (!b)
			b = create_for_threads();
		lock_drop(&threads.lock, RANK_THREAD);
		return b;
	}
	b = orphan_pop();
	if (b)
		count_adoption(b, b);
	else if (threads.nr_buddies < max_buddies())
		b = create_for_threads();
	if (!b)
		b = buddy_share();
	if (b) {
		WRITE_ONCE(b->nr_users, b->nr_users + 1);
		threads.nr_users++;
		threads.nr_peak_users = (unsigned)max_size(threads.nr_peak_users, threads.nr_users);
	}
	lock_drop(&threads.lock, RANK_THREAD);
	thread_state.buddy = b;
	return b;
}

/* Fewer leave little behind. */
#define MANY_THREADS 4

/* To a quarter: of many that end at once those that are left have something themselves, which the next step is for. Under the thread lock. */
static bool threads_fell(void)
{
	bool fell = threads.nr_peak_users >= MANY_THREADS && threads.nr_users <= threads.nr_peak_users / 4;

	if (fell)
		threads.nr_peak_users = threads.nr_users;
	return fell;
}

bool pages_thread_exit(void)
{
	struct buddy *b = thread_state.buddy;
	bool fell;

	if (!b)
		return false;
	thread_state.buddy = NULL;
	lock_take(&threads.lock, RANK_THREAD);
	WRITE_ONCE(b->nr_users, b->nr_users - 1);
	if (!b->nr_users) {
		b->next_orphan = threads.orphans;
		WRITE_ONCE(threads.orphans, b);
	}
	threads.nr_users--;
	fell = threads_fell();
	lock_drop(&threads.lock, RANK_THREAD);
	return fell;
}

/* Moves every block of one buddy to another. Both locks and the thread lock are held. */
static void blocks_move(struct buddy *to, struct buddy *from)
{
	unsigned t, f, o;

	count_adoption(to, from);
	for (t = 0; t < NR_MIGRATETYPES; t++)
		for (f = 0; f < NR_FULLNESS; f++)
			for (o = 0; o < NR_ORDERS; o++)
				while (from->area[t][f][o].first) {
					struct pageblock *blk = container_of(from->area[t][f][o].first,
									     struct pageblock, node);

					block_unlist(from, blk);
					block_set_owner(blk, to);
					block_list(to, blk);
					WRITE_ONCE(from->nr_blocks, from->nr_blocks - 1);
					WRITE_ONCE(to->nr_blocks, to->nr_blocks + 1);
				}
	WRITE_ONCE(to->nr_free, to->nr_free + from->nr_free);
	WRITE_ONCE(to->nr_dirty_free, to->nr_dirty_free + from->nr_dirty_free);
	WRITE_ONCE(from->nr_free, 0);
	WRITE_ONCE(from->nr_dirty_free, 0);
	buddy_note_peak(to);
}

bool buddy_adopt(struct buddy *b)
{
	struct buddy *o;
	bool found = false;

	lock_take(&threads.lock, RANK_THREAD);
	for (o = threads.orphans; o && !found; o = o->next_orphan) {
		/* A thread that has ended may be the guest of an orphan. */
		if (o == b || !READ_ONCE(o->nr_free))
			continue;
		lock_take(&o->lock, RANK_BUDDY);
		lock_take(&b->lock, RANK_BUDDY_ADOPTER);
		found = o->nr_free != 0;
		blocks_move(b, o);
		lock_drop(&b->lock, RANK_BUDDY_ADOPTER);
		lock_drop(&o->lock, RANK_BUDDY);
	}
	lock_drop(&threads.lock, RANK_THREAD);
	return found;
}

struct buddy *buddy_first(void)
{
	return __atomic_load_n(&threads.all, __ATOMIC_ACQUIRE);
}

void pages_fork_prepare(void)
{
	struct buddy *b;

	lock_take_nested(&threads.lock);
	/* All buddies at once: nobody else ever holds two without the thread lock. */
	for (b = threads.all; b; b = b->next) {
		lock_take_nested(&b->hot.lock);
		lock_take_nested(&b->lock);
	}
	lock_take_nested(&highatomic.lock);
}

void pages_fork_done(bool child)
{
	struct buddy *b;

	if (child) {
		/* Only the forking thread is left: the other threads' buddies are orphans. */
		lock_reset(&highatomic.lock);
		threads.orphans = NULL;
		for (b = threads.all; b; b = b->next) {
			lock_reset(&b->lock);
			lock_reset(&b->hot.lock);
			b->is_purging = false;
			b->nr_users = b == thread_state.buddy;
			if (!b->nr_users && !buddy_is_apart(b)) {
				b->next_orphan = threads.orphans;
				threads.orphans = b;
			}
		}
		threads.nr_users = threads.nr_peak_users = thread_state.buddy != NULL;
		lock_reset(&threads.lock);
		return;
	}
	lock_drop_nested(&highatomic.lock);
	for (b = threads.all; b; b = b->next) {
		lock_drop_nested(&b->lock);
		lock_drop_nested(&b->hot.lock);
	}
	lock_drop_nested(&threads.lock);
}
