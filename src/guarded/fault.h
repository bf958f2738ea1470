/* SPDX-License-Identifier: MIT */
/*
 * The handler of SIGSEGV while blocks are guarded.
 *
 * 1. A fault in the pool is reported, and then what would have happened without
 *    us happens: the handler that was there before runs, or the process ends by
 *    the signal, with a core dump of the faulting instruction.
 * 2. Any other fault goes to that handler at once. A handler that the program
 *    sets later replaces ours: faults in the pool are then its own.
 * 3. It runs on the alternate stack where there is one, and needs some 8 KiB.
 */
#ifndef BSLAB_GUARDED_FAULT_H
#define BSLAB_GUARDED_FAULT_H

void fault_handle(void);

#endif
