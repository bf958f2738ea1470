/* SPDX-License-Identifier: MIT */
#include "malloc/shrinkers.h"

#include <errno.h>

#include "base/list.h"
#include "boot/boot.h"
#include "bslab/shrinker.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/lock.h"
#include "os/os.h"
#include "os/thread.h"
#include "slab/typed.h"

struct bslab_shrinker {
	struct list_node node; /* first, so that a pooled one keeps the rest */
	/* Constant: */
	size_t (*shrink)(size_t nr_bytes, void *arg);
	void *arg;
	char name[CACHE_NAME_SIZE];
	/* Under shrinkers.lock: */
	bool is_registered;
	unsigned nr_running;
	size_t nr_calls, nr_bytes;
};

static struct {
	struct lock lock; /* RANK_HEAPS */
	struct list all;
	unsigned nr; /* read without the lock */
	struct boot_pool pool;
} shrinkers;

struct bslab_shrinker *bslab_shrinker_register(const char *name, size_t (*shrink)(size_t nr_bytes, void *arg), void *arg)
{
	struct bslab_shrinker *s;

	if (!name || !*name || !shrink) {
		errno = EINVAL;
		return NULL;
	}
	process_boot();
	s = boot_pool_get(&shrinkers.pool, sizeof *s, 8);
	if (!s) {
		errno = ENOMEM;
		return NULL;
	}
	*s = (struct bslab_shrinker){.shrink = shrink, .arg = arg, .is_registered = true};
	typed_copy_name(s->name, name);
	lock_take(&shrinkers.lock, RANK_HEAPS);
	list_add_tail(&shrinkers.all, &s->node);
	WRITE_ONCE(shrinkers.nr, shrinkers.nr + 1);
	lock_drop(&shrinkers.lock, RANK_HEAPS);
	reports_poll();
	return s;
}

/* False while it runs. */
static bool remove_idle(struct bslab_shrinker *s)
{
	bool is_idle;

	lock_take(&shrinkers.lock, RANK_HEAPS);
	is_idle = !s->nr_running;
	if (is_idle) {
		list_del(&shrinkers.all, &s->node);
		WRITE_ONCE(shrinkers.nr, shrinkers.nr - 1);
	}
	lock_drop(&shrinkers.lock, RANK_HEAPS);
	return is_idle;
}

/* True for one caller, and from then on it is not called again. */
static bool withdraw(struct bslab_shrinker *s)
{
	bool was_registered;

	lock_take(&shrinkers.lock, RANK_HEAPS);
	was_registered = s->is_registered;
	s->is_registered = false;
	lock_drop(&shrinkers.lock, RANK_HEAPS);
	return was_registered;
}

void bslab_shrinker_unregister(struct bslab_shrinker *shrinker)
{
	if (!shrinker)
		return;
	if (thread_state.shrinking == shrinker) {
		bug_caller("bslab_shrinker_unregister: from within the shrinker '%s' itself", shrinker->name);
		return;
	}
	if (!withdraw(shrinker)) {
		bug_caller("bslab_shrinker_unregister: the shrinker '%s' was unregistered", shrinker->name);
		return;
	}
	while (!remove_idle(shrinker))
		os_sleep_ms(1);
	boot_pool_put(&shrinkers.pool, shrinker);
	reports_poll();
}

void bslab_shrinker_info(struct bslab_shrinker *shrinker, struct bslab_shrinker_info *info)
{
	lock_take(&shrinkers.lock, RANK_HEAPS);
	*info = (struct bslab_shrinker_info){shrinker->name, shrinker->nr_calls, shrinker->nr_bytes};
	lock_drop(&shrinkers.lock, RANK_HEAPS);
	reports_poll();
}

/* Lets go of the one that was asked (NULL: none yet) and pins the next, if more is needed. */
static struct bslab_shrinker *step(struct bslab_shrinker *s, size_t nr_given, bool more)
{
	struct list_node *n;

	lock_take(&shrinkers.lock, RANK_HEAPS);
	n = s ? s->node.next : shrinkers.all.first;
	if (s) {
		s->nr_running--;
		s->nr_calls++;
		s->nr_bytes += nr_given;
	}
	while (n && !container_of(n, struct bslab_shrinker, node)->is_registered)
		n = n->next;
	s = n && more ? container_of(n, struct bslab_shrinker, node) : NULL;
	if (s)
		s->nr_running++;
	lock_drop(&shrinkers.lock, RANK_HEAPS);
	return s;
}

size_t shrinkers_run(size_t nr_bytes)
{
	struct bslab_shrinker *s;
	size_t sum = 0, given = 0;
	int saved = errno;

	if (likely(!READ_ONCE(shrinkers.nr)) || thread_state.shrinking)
		return 0;
	for (s = step(NULL, 0, true); s; s = step(s, given, sum < nr_bytes)) {
		thread_state.shrinking = s;
		given = s->shrink(nr_bytes - sum, s->arg);
		sum += given;
	}
	thread_state.shrinking = NULL;
	errno = saved;
	return sum;
}

void shrinkers_fork_prepare(void)
{
	lock_take_nested(&shrinkers.lock);
}

/* In the child no other thread runs one. */
void shrinkers_fork_done(bool child)
{
	struct list_node *n;

	if (!child) {
		lock_drop_nested(&shrinkers.lock);
		return;
	}
	for (n = shrinkers.all.first; n; n = n->next) {
		struct bslab_shrinker *s = container_of(n, struct bslab_shrinker, node);

		s->nr_running = thread_state.shrinking == s;
	}
	lock_reset(&shrinkers.lock);
}
