/* SPDX-License-Identifier: MIT */
/* Scopes: blocks and actions that end together, the last first; bslab/kmalloc.h documents each call. */
#include "bslab/kmalloc.h"

#include <errno.h>

#include "malloc/internal.h"

/* Stands before each block of a scope, and alone for an action. Its size keeps malloc's alignment. */
struct bslab_scope_entry {
	struct bslab_scope_entry *before;
	void (*end)(void *arg);
	void *arg;
	size_t unused;
};

_Static_assert(sizeof(struct bslab_scope_entry) % 16 == 0, "blocks behind it are aligned as malloc's");

static struct bslab_scope_entry *scope_push(struct bslab_scope *scope, size_t size, unsigned gfp)
{
	struct bslab_scope_entry *e;
	size_t total;

	if (__builtin_add_overflow(size, sizeof *e, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	e = bslab_kmalloc(total, gfp);
	if (!e)
		return NULL;
	*e = (struct bslab_scope_entry){.before = scope->last};
	scope->last = e;
	return e;
}

void *bslab_scope_alloc(struct bslab_scope *scope, size_t size, unsigned gfp)
{
	struct bslab_scope_entry *e = scope_push(scope, size, gfp);

	return e ? e + 1 : NULL;
}

int bslab_scope_add(struct bslab_scope *scope, void (*end)(void *arg), void *arg)
{
	struct bslab_scope_entry *e = scope_push(scope, 0, 0);

	if (!e) {
		end(arg);
		return ENOMEM;
	}
	e->end = end;
	e->arg = arg;
	return 0;
}

void bslab_scope_end(struct bslab_scope *scope)
{
	struct bslab_scope_entry *e;

	while ((e = scope->last)) {
		scope->last = e->before;
		if (e->end)
			e->end(e->arg);
		bslab_free(e);
	}
}
