/* SPDX-License-Identifier: MIT */
/*
 * The profile's side of malloc, free and realloc: blocks that were sampled.
 * bslab/profile.h documents the calls, docs/profiling.md what comes of it.
 *
 * A sampled block of up to 32 KiB is not a slab's object but a few pages, and
 * a sampled run is a run; the descriptor of the first page, PAGE_SAMPLED, leads
 * to the struct sample. Its class is 0, so its free, realloc and sized free
 * come to the slow paths by themselves. A large block has it in its vm_area.
 */
#ifndef BSLAB_MALLOC_PROFILE_H
#define BSLAB_MALLOC_PROFILE_H

#include "large/large.h"
#include "map/map.h"
#include "malloc/internal.h"
#include "profile/samples.h"

/* The sample of a block with pages of its own, NULL for any other. */
static inline struct sample *sampled_of(page_desc_t d)
{
	return desc_type(d) == PAGE_SAMPLED && !desc_class(d) ? desc_pointer(d) : NULL;
}

/* The same for large blocks too. */
static inline struct sample *sampled_find(page_desc_t d)
{
	struct vm_area *a = large_of(d);

	return a ? a->sample : sampled_of(d);
}

static inline bool sampled_is_small(const struct sample *s)
{
	return s && s->class;
}

/* What malloc_usable_size() says: the same as of a block that is not sampled. */
size_t sampled_size(const struct sample *s);

/* A block with a sample; size: with its alignment. NULL: a block without one will do. */
void *sampled_alloc(const struct alloc_request *r, size_t size, bool *zeroed) __attribute__((cold));
/* False when there is no sampled block at ptr; for large ones there is sampled_forget(). */
bool sampled_free(page_desc_t d, void *ptr) __attribute__((cold));
void sampled_forget(struct sample *s) __attribute__((cold));
/*
 * A run or large block was resized in place, or moved to p with its sample (NULL: it had none): more bytes may be
 * marked, or fewer are left.
 */
void sampled_resize(struct sample *s, void *p, size_t old_size, size_t size, struct caller by) __attribute__((cold));

/* fork: the lock is taken before and freed after on both sides. */
void profile_fork_prepare(void);
void profile_fork_done(bool child);

/* Keeps what the options say. */
void profile_configure(void);

#endif
