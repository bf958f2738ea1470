/* SPDX-License-Identifier: MIT */
/*
 * A view of the profile as text. docs/profiling.md says what the numbers mean.
 *
 *   text    stacks ranked by bytes held, then by bytes pinned
 *   folded  one line a stack, outermost function first, and the bytes held: flamegraph.pl and its like
 *   pprof   profile.proto of github.com/google/pprof, gzip
 */
#ifndef BSLAB_DUMP_H
#define BSLAB_DUMP_H

#include "profile/out.h"
#include "profile/view.h"

enum dump_format { DUMP_TEXT, DUMP_FOLDED, DUMP_PPROF };

/* An enum dump_format, or -1. */
int dump_format_of(const char *name);
/* 0, or a negative errno. */
int dump_write(struct out *o, const struct view *v, enum dump_format format, int fd);

/* The writers; dump_write() starts and ends. */
void ranking_write(struct out *o, const struct view *v);
void folded_write(struct out *o, const struct view *v);
void pprof_write(struct out *o, const struct view *v);

static inline const struct frame *frame_of(const struct view *v, uintptr_t pc)
{
	return &v->symbols.frame[symbols_find(&v->symbols, pc)];
}

static inline const struct module *module_of(const struct view *v, const struct frame *f)
{
	return f->module == NO_MODULE ? NULL : &v->symbols.module[f->module];
}

#endif
