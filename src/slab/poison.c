/* SPDX-License-Identifier: MIT */
#include "slab/poison.h"

#include <string.h>

#include "os/bug.h"

#define POISON_FREE 0x6b
#define POISON_END 0xa5
#define RED_FREE 0xbb
#define RED_LIVE 0xcc

static void red_zone_set(const struct kmem_cache *c, uint8_t *obj, uint8_t byte)
{
	if (c->typed->flags & TYPED_RED_ZONE)
		memset(obj + c->typed->object_size, byte, c->size - c->typed->object_size);
}

/* Where the first byte stands that is not the given one; `size` when there is none. */
static size_t find_other(const uint8_t *from, size_t size, uint8_t byte)
{
	size_t i = 0;

	while (i < size && from[i] == byte)
		i++;
	return i;
}

static void red_zone_check(const struct kmem_cache *c, const uint8_t *obj, uint8_t byte)
{
	size_t size = c->typed->object_size, room = c->size - size, i;

	if (!(c->typed->flags & TYPED_RED_ZONE))
		return;
	i = find_other(obj + size, room, byte);
	if (i < room)
		bug_caller("object %p of cache '%s' was written beyond its %z bytes: at byte %z", obj, c->typed->name, size,
			   size + i);
}

static void poison_check(const struct kmem_cache *c, const uint8_t *obj)
{
	size_t last = c->typed->object_size - 1, i;

	if (!(c->typed->flags & TYPED_POISON))
		return;
	i = find_other(obj, last, POISON_FREE);
	if (i < last || obj[last] != POISON_END)
		bug_caller("object %p of cache '%s' was written after its free: at byte %z", obj, c->typed->name, i);
}

void poison_set_free(const struct kmem_cache *c, void *obj)
{
	uint8_t *bytes = obj;
	size_t last = c->typed->object_size - 1;

	if (c->typed->flags & TYPED_POISON) {
		memset(bytes, POISON_FREE, last);
		bytes[last] = POISON_END;
	}
	red_zone_set(c, obj, RED_FREE);
}

void poison_take(const struct kmem_cache *c, void *obj)
{
	poison_check(c, obj);
	red_zone_check(c, obj, RED_FREE);
	red_zone_set(c, obj, RED_LIVE);
}

void poison_give(const struct kmem_cache *c, void *obj)
{
	red_zone_check(c, obj, RED_LIVE);
	poison_set_free(c, obj);
}
