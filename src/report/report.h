/* SPDX-License-Identifier: MIT */
/* Takes a snapshot of this process's heap. */
#ifndef BSLAB_REPORT_H
#define BSLAB_REPORT_H

#include "report/format.h"

/*
 * Fills some 300 KiB, which nobody has on the stack. Holds no lock for more than a moment and may be called by any
 * thread that holds none. The counters of the api floor are its caller's to fill.
 */
void report_take(struct heap_report *r);

#endif
