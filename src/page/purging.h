/* SPDX-License-Identifier: MIT */
/*
 * Purges under way. What one gives back is on no list while the system call lasts, and no lock is held: so who is about to be
 * refused memory waits for those of other threads, and so does a fork, whose child would never get it back. Meanwhile none begins.
 *
 * A purge waits for nobody: its caller may hold a lock that a fork takes. Nobody waits for ever, either, but for a quarter of a
 * second: the purge may be one that this thread was interrupted in, and a handler of the program's called us.
 */
#ifndef BSLAB_PURGING_H
#define BSLAB_PURGING_H

#include "base/base.h"

/* Around each batch, from before it is taken off the lists until it is back. False: not now, and there is nothing to end. */
bool purging_begin(void);
void purging_end(void);
/* Until those under way, and forks, have ended: whether there were any, so that it may be worth a try again. Call with no lock held. */
bool purging_wait(void);

/* Before a fork takes locks, and when they are free again. */
void purging_fork_prepare(void);
void purging_fork_done(bool child);

#endif
