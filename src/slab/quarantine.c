/* SPDX-License-Identifier: MIT */
#include "slab/quarantine.h"

#include "os/bug.h"
#include "os/options.h"
#include "slab/hardened.h"

static struct {
	struct lock lock; /* RANK_BARN; no barn's is taken inside: all of this */
	struct sheaf *first, *last;
	size_t bytes; /* of objects */
} quarantine;

static size_t sheaf_bytes(const struct sheaf *s)
{
	return (size_t)s->nr * class_size(s->class);
}

/* The oldest. */
static struct sheaf *pop(void)
{
	struct sheaf *s = quarantine.first;

	bslab_assert(lock_is_held(&quarantine.lock));
	if (s) {
		quarantine.first = s->next;
		if (!s->next)
			quarantine.last = NULL;
		quarantine.bytes -= sheaf_bytes(s);
	}
	return s;
}

static void push(struct sheaf *s)
{
	bslab_assert(lock_is_held(&quarantine.lock));
	s->next = NULL;
	if (quarantine.last)
		quarantine.last->next = s;
	else
		quarantine.first = s;
	quarantine.last = s;
	quarantine.bytes += sheaf_bytes(s);
}

/* What is above max bytes, oldest first, linked. */
static struct sheaf *take_above(size_t max)
{
	struct sheaf *out = NULL, **end = &out;

	while (quarantine.bytes > max) {
		*end = pop();
		end = &(*end)->next;
	}
	*end = NULL;
	return out;
}

void quarantine_put(struct kmem_cache *c, struct sheaf *s)
{
	struct sheaf *out;

	s->class = c->class;
	lock_take(&quarantine.lock, RANK_BARN);
	push(s);
	out = take_above(bslab_options.quarantine_size);
	lock_drop(&quarantine.lock, RANK_BARN);
	while ((s = out)) {
		out = s->next;
		shuffle(s->slot, s->nr);
		barn_put(cache_of(s->class), s);
	}
}

void quarantine_drain(void)
{
	struct sheaf *s, *out;

	lock_take(&quarantine.lock, RANK_BARN);
	out = take_above(0);
	lock_drop(&quarantine.lock, RANK_BARN);
	while ((s = out)) {
		struct kmem_cache *c = cache_of(s->class);

		out = s->next;
		slab_give(c, s->slot, s->nr);
		s->nr = 0;
		barn_put(c, s);
	}
}

void quarantine_count(size_t nr[NR_CLASSES])
{
	struct sheaf *s;

	lock_take(&quarantine.lock, RANK_BARN);
	for (s = quarantine.first; s; s = s->next)
		nr[s->class] += s->nr;
	lock_drop(&quarantine.lock, RANK_BARN);
}

void quarantine_fork_prepare(void)
{
	lock_take_nested(&quarantine.lock);
}

void quarantine_fork_done(bool child)
{
	if (child)
		lock_reset(&quarantine.lock);
	else
		lock_drop_nested(&quarantine.lock);
}
