/* SPDX-License-Identifier: MIT */
/* BSLAB_CONF: comma-separated key=value pairs, read once at start; docs/options.md explains each. */
#ifndef BSLAB_OPTIONS_H
#define BSLAB_OPTIONS_H

#include "base/base.h"

#define MAX_FAKE_NODES 16

enum index_mode {
	INDEX_AUTO,
	INDEX_MM_CID, /* per CPU, by the kernel's compact concurrency id */
	INDEX_CPU_ID, /* per CPU, by CPU number */
	INDEX_THREAD, /* per thread, without rseq */
};

#define GUARDED_INTERVAL 100000 /* where none is given */
#define MAX_GUARDED_INTERVAL ((size_t)1 << 30)
#define QUARANTINE_SIZE (128 * KIB) /* where none is given */
#define PROFILE_INTERVAL (512 * KIB) /* where none is given */
#define MAX_PROFILE_INTERVAL GIB

/* A part of BSLAB_CONF, as it stands there. text NULL: not given. */
struct option_text {
	const char *text;
	size_t len;
};

struct options {
	enum index_mode index;
	bool warn;	     /* on_error=warn: a caller's fault is reported and survived */
	bool check;	     /* every free goes to its slab at once and is checked against the bitmap */
	bool huge;	     /* huge pages where they are worth it: page/huge.h */
	bool guard;	     /* guard pages around own mappings */
	bool merge;	     /* typed caches of like geometry share slabs */
	bool grouping;	     /* pages by migratetype, and from the fullest pageblock */
	bool hardened;	     /* the hardened mode; slab/hardened.h */
	bool stats;	     /* malloc_stats() at exit */
	size_t numa_nodes;   /* 0: as the kernel says; 1: numa=off; else faked */
	size_t region_size;  /* bytes reserved at a time */
	size_t dirty_size;   /* bytes of free dirty memory that are always kept */
	size_t quarantine_size; /* hardened: bytes of freed objects that wait before they serve again */
	size_t reserve_size; /* bytes of the HIGHATOMIC reserve */
	size_t large_size;   /* from here on a block is a mapping of its own */
	size_t soft_limit, hard_limit; /* bytes of the heap, 0: none; see page/limit.h */
	struct option_text report, report_to; /* WHAT[:FORMAT], and the file; for the api floor to read */
	int report_signal;   /* 0: at exit */
	size_t profile_interval; /* mean bytes from one sample to the next; 0: no profile at start */
	size_t guarded_interval; /* mean number of allocations from one that is guarded to the next; 0: none is */
	struct option_text profile_to; /* the file of the profile at exit */
	bool profile_frames; /* profile_unwind=frames: by frame pointers only */
};

extern struct options bslab_options; /* all zero before boot */
extern const struct options bslab_option_defaults;

/* Parses text over the values in o. On a fault formats one line into fault and returns false; good pairs still count. */
bool options_parse(struct options *o, const char *text, char *fault, size_t fault_size);
const char *index_mode_name(enum index_mode mode);

#endif
