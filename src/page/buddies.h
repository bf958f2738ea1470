/* SPDX-License-Identifier: MIT */
/*
 * Which buddy a thread has: new ones, those of threads that ended, shared ones. For the page floor alone.
 */
#ifndef BSLAB_BUDDIES_H
#define BSLAB_BUDDIES_H

#include "os/thread.h"
#include "page/blocks.h"

/* Of no thread's: not for those that come, nor for adoption. */
static inline bool buddy_is_apart(const struct buddy *b)
{
	return b->is_zones || b == &compactable;
}

/* This thread's first one; NULL without memory. */
struct buddy *buddy_attach(void);
static inline struct buddy *buddy_self(void)
{
	return likely(thread_state.buddy != NULL) ? thread_state.buddy : buddy_attach();
}

/* Under the thread lock. Others meet it as soon as it is added. */
void buddy_add(struct buddy *b);
struct buddy *buddy_create(bool is_zones, unsigned zone);

/*
 * Takes over the blocks with free pages of one orphan. Blocks without any stay
 * with it: the first page freed to one of them makes the orphan worth adopting
 * again, so it stays on the list.
 */
bool buddy_adopt(struct buddy *b);
static inline bool buddy_adopt_orphan(struct buddy *b)
{
	return READ_ONCE(threads.orphans) && buddy_adopt(b);
}

#endif
