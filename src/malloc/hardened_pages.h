/* SPDX-License-Identifier: MIT */
/*
 * Page runs and mappings of the hardened mode, and the yards where they wait once
 * they are freed: 3 in malloc/hardened.h.
 */
#ifndef BSLAB_MALLOC_HARDENED_PAGES_H
#define BSLAB_MALLOC_HARDENED_PAGES_H

#include "large/large.h"
#include "os/lock.h"

/* With the word. */
unsigned hardened_pages_for(size_t size);

static inline uintptr_t run_end(const void *ptr, unsigned nr_pages)
{
	return (uintptr_t)ptr + ((uintptr_t)nr_pages << PAGE_SHIFT);
}

/* Each reads as zero and is sealed. NULL when there is no memory. */
void *hardened_run_alloc(size_t size, size_t align, unsigned flags);
void *hardened_mapping_alloc(size_t size, size_t align);
/* Whole blocks. */
void hardened_run_free(void *ptr, unsigned nr_pages);
void hardened_mapping_free(struct vm_area *a);

/*
 * Between these a run's or a mapping's word and what else is said of it do not agree. A signal handler that calls exit()
 * then looks at no block, as if it had interrupted a lock (last_check.c). Nothing is reported inside: the program's
 * handler of SIGABRT might not come back.
 */
static inline void change_begin(void)
{
	lock_count_up();
}

static inline void change_end(void)
{
	lock_count_down();
}

/* Reports what waits and was written. For one who is alone. */
void hardened_runs_check_last(void);

void hardened_pages_start(void);
/* What waits serves again at once; its addresses, too. */
void hardened_pages_drain(void);
void hardened_pages_fork_prepare(void);
void hardened_pages_fork_done(bool child);

#endif
