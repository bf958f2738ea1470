/* SPDX-License-Identifier: MIT */
/*
 * What is said of a guarded block: a line of what happened, then the stacks.
 * Nothing is allocated but a mapping for the names. To find those the loader's
 * list of modules is walked, under the lock of that list, which is recursive and
 * held for moments only; no other of the loader's is taken (profile/symbols.h).
 */
#ifndef BSLAB_GUARDED_REPORT_H
#define BSLAB_GUARDED_REPORT_H

#include "guarded/pool.h"

/*
 * An access to an address in the pool that trapped. `by`, sp: the instruction, and where its stack ended. On less of a stack
 * than MIN_REPORT_STACK, a third more than it took, the stacks that were kept are said, as addresses, and no other.
 */
#define MIN_REPORT_STACK (4 * KIB + 512)
void report_access(const struct guarded_slot *s, uintptr_t addr, const struct caller *by, uintptr_t sp, size_t stack_left);
/* A byte beside the block was written, which `what` found, called by `by`. */
void report_damage(const struct guarded_slot *s, uintptr_t damage, const char *what, const struct caller *by);
/* A call with a pointer into the slot's page that is no live block. */
void report_call(struct guarded_slot *s, uintptr_t ptr, const char *what, const struct caller *by);

#endif
