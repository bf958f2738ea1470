/* SPDX-License-Identifier: MIT */
/*
 * From addresses to names: modules, and the symbols of their dynamic tables.
 *
 * All addresses are gathered and sorted, then the loader's list of modules is
 * walked once, and each module's symbols once: what a symbol covers is found
 * by bisection. Names are copied meanwhile, under the loader's lock for that
 * list, since a module may go at any time later. dladdr() would search a table
 * for each address.
 *
 * A module that went before the dump, and another that came to its place: its
 * addresses get the wrong names.
 */
#ifndef BSLAB_SYMBOLS_H
#define BSLAB_SYMBOLS_H

#include <limits.h>

#include "base/base.h"

#define MAX_MODULES 1024 /* with addresses in the profile */
#define NO_MODULE UINT32_MAX
#define MAX_BUILD_ID 20

struct module {
	uintptr_t start, end; /* of an executable segment */
	uintptr_t bias;	      /* between addresses in the file's headers and in memory */
	uint64_t offset;      /* of the segment in the file */
	size_t build_id_size; /* 0: none */
	uint8_t build_id[MAX_BUILD_ID];
	char path[PATH_MAX]; /* whole, or pprof finds no file */
};

struct frame {
	uintptr_t pc;
	uintptr_t start;  /* of the function; 0: no name */
	const char *name; /* of the function */
	uint32_t module;  /* or NO_MODULE */
	uint32_t nr_function; /* of those with names, from 0 on, in the order of the frames */
};

struct symbols {
	struct frame *frame; /* by pc, each once */
	size_t nr_frames, max_frames;
	struct module *module; /* pages of those that are not there are not touched */
	unsigned nr_modules, max_modules;
	unsigned nr_functions;
	char *text; /* names */
	size_t text_len, text_size;
	void *map;
	size_t map_size;
};

/*
 * Once, before the first is resolved, and not from a signal handler: dlsym() takes the lock that dlopen() holds while it calls
 * constructors. What is found takes only the one of the list of modules, held for moments.
 */
void symbols_setup(void);

/* False where there is no memory. */
bool symbols_init(struct symbols *s, size_t max_frames);
void symbols_add(struct symbols *s, const uintptr_t *pc, unsigned n);
/* Takes a lock of the loader. After this frames can be found. */
void symbols_resolve(struct symbols *s);
void symbols_drop(struct symbols *s);

/* The index of the frame with an address that was added. */
size_t symbols_find(const struct symbols *s, uintptr_t pc);
/* What is behind the last slash of a module's path. */
const char *module_name(const struct module *m);

#endif
