/* SPDX-License-Identifier: MIT */
#include "profile/samples.h"

#include "boot/boot.h"
#include "os/bug.h"
#include "os/lock.h"
#include "os/os.h"

/* 16 KiB of samples to a chunk, two million samples altogether: a TiB of blocks at the usual interval. */
#define CHUNK_SAMPLES 256
#define MAX_CHUNKS 8192

/* Under the lock. */
static struct {
	struct lock lock;
	struct sample **chunk; /* [MAX_CHUNKS] */
	size_t nr_samples;     /* places, used once at least */
	struct sample *free;
	size_t nr_live, nr_lost;
} samples;

bool samples_init(void)
{
	bool good;

	lock_take(&samples.lock, RANK_PROFILE);
	if (!samples.chunk)
		samples.chunk = boot_alloc(MAX_CHUNKS * sizeof *samples.chunk, 64);
	good = samples.chunk && stacks_init();
	lock_drop(&samples.lock, RANK_PROFILE);
	return good;
}

static struct sample *sample_at(size_t i)
{
	return &samples.chunk[i / CHUNK_SAMPLES][i % CHUNK_SAMPLES];
}

static struct sample *sample_alloc(void)
{
	struct sample *s = samples.free;
	size_t i = samples.nr_samples, c = i / CHUNK_SAMPLES;

	bslab_assert(lock_is_held(&samples.lock));
	if (s) {
		samples.free = s->next;
		return s;
	}
	if (c == MAX_CHUNKS)
		return NULL;
	if (!samples.chunk[c])
		samples.chunk[c] = boot_alloc(CHUNK_SAMPLES * sizeof(struct sample), _Alignof(struct sample));
	if (!samples.chunk[c])
		return NULL;
	samples.nr_samples++;
	return sample_at(i);
}

static void sample_free(struct sample *s)
{
	s->stack = NULL;
	s->next = samples.free;
	samples.free = s;
}

struct sample *sample_create(const uintptr_t *pc, unsigned nr_frames, size_t size, size_t counted, size_t interval)
{
	uint64_t now = os_coarse_clock_ms();
	struct stack *stack = NULL;
	struct sample *s;

	lock_take(&samples.lock, RANK_PROFILE);
	s = sample_alloc();
	if (s)
		stack = stack_get(pc, nr_frames);
	if (stack) {
		*s = (struct sample){
		    .stack = stack, .size = size, .counted = counted, .interval = interval, .at_ms = now};
		samples.nr_live++;
	} else {
		if (s)
			sample_free(s);
		s = NULL;
		samples.nr_lost++;
	}
	lock_drop(&samples.lock, RANK_PROFILE);
	return s;
}

void sample_place(struct sample *s, uintptr_t addr, unsigned nr_pages, unsigned class)
{
	lock_take(&samples.lock, RANK_PROFILE);
	s->addr = addr;
	s->nr_pages = nr_pages;
	s->class = (uint8_t)class;
	lock_drop(&samples.lock, RANK_PROFILE);
}

void sample_resize(struct sample *s, uintptr_t addr, unsigned nr_pages, size_t size, size_t counted)
{
	lock_take(&samples.lock, RANK_PROFILE);
	s->addr = addr;
	s->nr_pages = nr_pages;
	s->size = size;
	s->counted = counted;
	lock_drop(&samples.lock, RANK_PROFILE);
}

void sample_destroy(struct sample *s)
{
	lock_take(&samples.lock, RANK_PROFILE);
	stack_put(s->stack);
	sample_free(s);
	samples.nr_live--;
	lock_drop(&samples.lock, RANK_PROFILE);
}

void sample_lost(void)
{
	lock_take(&samples.lock, RANK_PROFILE);
	samples.nr_lost++;
	lock_drop(&samples.lock, RANK_PROFILE);
}

void samples_count(size_t *nr_live, size_t *nr_lost)
{
	lock_take(&samples.lock, RANK_PROFILE);
	*nr_live = samples.nr_live;
	*nr_lost = samples.nr_lost;
	lock_drop(&samples.lock, RANK_PROFILE);
}

/* --- dumps ------------------------------------------------------------------------------ */

size_t samples_begin(void)
{
	size_t n;

	lock_take(&samples.lock, RANK_PROFILE);
	stacks_hold();
	n = samples.nr_samples;
	lock_drop(&samples.lock, RANK_PROFILE);
	return n;
}

unsigned samples_copy(size_t from, struct sample out[DUMP_BATCH])
{
	unsigned n = 0;
	size_t i;

	lock_take(&samples.lock, RANK_PROFILE);
	for (i = from; i < min_size(from + DUMP_BATCH, samples.nr_samples); i++) {
		const struct sample *s = sample_at(i);

		if (s->stack && s->addr)
			out[n++] = *s;
	}
	lock_drop(&samples.lock, RANK_PROFILE);
	return n;
}

void samples_end(void)
{
	lock_take(&samples.lock, RANK_PROFILE);
	stacks_release();
	lock_drop(&samples.lock, RANK_PROFILE);
}

void samples_fork_prepare(void)
{
	lock_take_nested(&samples.lock);
}

void samples_fork_done(bool child)
{
	if (child) {
		stacks_fork_child();
		lock_reset(&samples.lock);
	} else {
		lock_drop_nested(&samples.lock);
	}
}
