/* SPDX-License-Identifier: MIT */
/* What each thread keeps of what it freed: chains of handles whose objects are still theirs. handle.h has the fast paths. */
#ifndef BSLAB_HANDLE_KEEP_H
#define BSLAB_HANDLE_KEEP_H

#include "handle/handle.h"

/* NULL where there is no memory, and at the end of a thread, which would leave it behind. */
struct handle_thread *handle_keep_self(void);
/* Fills what is empty by half of what it may have; false where there is no memory. */
bool handle_keep_fill(struct handle_thread *t, struct handle_cache *c);
/* Makes room for one more. */
void handle_keep_flush(struct handle_thread *t, unsigned class);
/* In the child of a fork: what other threads kept is for its next threads. */
void handle_keeps_adopt(void);

#endif
