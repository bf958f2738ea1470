/* SPDX-License-Identifier: MIT */
#include "profile/stacks.h"

#include <string.h>

#include "boot/boot.h"

#define NR_BUCKETS 8192
/* Stacks are kept in sizes of so many frames, so that one can serve where another was. */
#define FRAMES_STEP 8
#define NR_SIZES (MAX_FRAMES / FRAMES_STEP)

static struct {
	struct stack **bucket; /* [NR_BUCKETS] */
	struct stack *free[NR_SIZES];
	struct stack *dead; /* without references, at least once, while a dump was reading */
	unsigned nr_holds;
	size_t nr_stacks, nr_bytes;
} stacks;

bool stacks_init(void)
{
	if (!stacks.bucket)
		stacks.bucket = boot_alloc(NR_BUCKETS * sizeof *stacks.bucket, 64);
	return stacks.bucket != NULL;
}

static uint64_t hash_of(const uintptr_t *pc, unsigned nr_frames)
{
	uint64_t h = nr_frames;
	unsigned i;

	for (i = 0; i < nr_frames; i++) {
		h = (h ^ pc[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	return h;
}

static struct stack **bucket_of(uint64_t hash)
{
	return &stacks.bucket[hash % NR_BUCKETS];
}

static unsigned size_index(unsigned nr_frames)
{
	return (nr_frames - 1) / FRAMES_STEP;
}

static struct stack *stack_alloc(unsigned nr_frames)
{
	unsigned i = size_index(nr_frames);
	size_t size = sizeof(struct stack) + (i + 1) * FRAMES_STEP * sizeof(uintptr_t);
	struct stack *s = stacks.free[i];

	if (s) {
		stacks.free[i] = s->next;
		return s;
	}
	if (stacks.nr_bytes + size > MAX_STACK_BYTES)
		return NULL;
	s = boot_alloc(size, _Alignof(struct stack));
	if (s)
		stacks.nr_bytes += size;
	return s;
}

static void stack_free(struct stack *s)
{
	struct stack **at = bucket_of(s->hash);
	unsigned i = size_index(s->nr_frames);

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->next = stacks.free[i];
	stacks.free[i] = s;
	stacks.nr_stacks--;
}

struct stack *stack_get(const uintptr_t *pc, unsigned nr_frames)
{
	uint64_t hash = hash_of(pc, nr_frames);
	struct stack **bucket = bucket_of(hash), *s;

	for (s = *bucket; s; s = s->next)
		if (s->hash == hash && s->nr_frames == nr_frames && memcmp(s->pc, pc, nr_frames * sizeof *pc) == 0)
			break;
	if (!s) {
		s = stack_alloc(nr_frames);
		if (!s)
			return NULL;
		s->hash = hash;
		s->nr_refs = 0;
		s->is_dead = false;
		s->nr_frames = (uint8_t)nr_frames;
		memcpy(s->pc, pc, nr_frames * sizeof *pc);
		s->next = *bucket;
		*bucket = s;
		stacks.nr_stacks++;
	}
	s->nr_refs++;
	return s;
}

void stack_put(struct stack *s)
{
	if (--s->nr_refs)
		return;
	if (!stacks.nr_holds) {
		stack_free(s);
	} else if (!s->is_dead) {
		s->is_dead = true;
		s->next_dead = stacks.dead;
		stacks.dead = s;
	}
}

void stacks_hold(void)
{
	stacks.nr_holds++;
}

static void bury(void)
{
	struct stack *s, *next;

	for (s = stacks.dead; s; s = next) {
		next = s->next_dead;
		s->is_dead = false;
		if (!s->nr_refs)
			stack_free(s);
	}
	stacks.dead = NULL;
}

void stacks_release(void)
{
	if (stacks.nr_holds && --stacks.nr_holds == 0) /* 0: begun before a fork that this child came from */
		bury();
}

void stacks_fork_child(void)
{
	stacks.nr_holds = 0;
	bury();
}

void stacks_count(size_t *nr_stacks, size_t *nr_bytes)
{
	*nr_stacks = stacks.nr_stacks;
	*nr_bytes = stacks.nr_bytes;
}
