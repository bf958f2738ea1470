/* SPDX-License-Identifier: MIT */
/*
 * The handler of SIGSEGV while blocks are guarded.
 *
 * 1. A fault in the pool is reported, and then what would have happened without
 *    us happens: the handler that was there before runs, or the process ends by
 *    the signal, with a core dump of the faulting instruction. That handler gets
 *    its mask, SA_NODEFER and SA_RESETHAND.
 * 2. Any other fault goes there at once, but waits for a report that another
 *    thread is at. A handler that the program sets later replaces ours: faults in
 *    the pool are then its own. One that is set only where there is none finds ours.
 *    Where the signal is ignored at start no handler is set.
 * 3. It runs on the alternate stack where there is one. Where little is left of
 *    that the report is short.
 */
#ifndef BSLAB_GUARDED_FAULT_H
#define BSLAB_GUARDED_FAULT_H

void fault_handle(void);

#endif
