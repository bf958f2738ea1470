/* SPDX-License-Identifier: MIT */
/* Stands between any two instructions of a sequence, flags aside: nothing, but in the library that test/rseq/fire.c disturbs. */
#ifndef BSLAB_INJECT_H
#define BSLAB_INJECT_H

#define RSEQ_INJECT ""
#define RSEQ_INJECT_CLOBBERS

#endif
