/* SPDX-License-Identifier: MIT */
/*
 * Purges under way. What one gives back is on no list while the system call lasts, and no lock is held: so who is about to be
 * refused memory waits for those of other threads, and so does a fork, whose child would never get it back. Meanwhile none begins.
 *
 * A purge waits for nobody: its caller may hold a lock that a fork takes. Nobody waits for ever, either, but for a quarter of a
 * second each time: the purge may be one that this thread was interrupted in, and a handler of the program's called us.
 */
#ifndef BSLAB_PURGING_H
#define BSLAB_PURGING_H

#include "base/base.h"

/* Around each batch, from before it is taken off the lists until it is back. False: not now, and there is nothing to end. */
bool purging_begin(void);
void purging_end(void);
/*
 * Behind a purge of one's own: until those of others, and forks, have ended. Whether another try may bring more, since some were under
 * way or a purge was put off after the mark. Call with no lock held.
 */
uint32_t purging_mark(void);
bool purging_wait(uint32_t mark);
/* As often as that: others may go on and on. */
#define MAX_PURGING_TRIES 4

/*
 * Around what else no lock is held for and a child would have half done for good: a fork waits for its end, as long as for a purge,
 * and it for forks. Call with no lock held.
 */
void forks_hold(void);
void forks_let_go(void);

/* Before a fork takes locks, and when they are free again. */
void purging_fork_prepare(void);
void purging_fork_done(bool child);

#endif
