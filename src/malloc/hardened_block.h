/* SPDX-License-Identifier: MIT */
/* A live block of the hardened mode, whatever it is made of. */
#ifndef BSLAB_MALLOC_HARDENED_BLOCK_H
#define BSLAB_MALLOC_HARDENED_BLOCK_H

#include "large/large.h"
#include "slab/slab.h"

struct block {
	uintptr_t start, end; /* the same for one of no size */
	size_t size;
	struct slab *slab;    /* of an object */
	struct vm_area *area; /* of a mapping */
	/* Nothing else is known then; reserved: of a NOWAIT pool or an explicit zone, as roomy as its elements are. */
	bool is_guarded, is_reserved;
};

/* The live block at ptr; false after a report, in which `what` names the call. */
bool block_find(void *ptr, const char *what, struct block *b);

#endif
