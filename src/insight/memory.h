/* SPDX-License-Identifier: MIT */
/*
 * Memory that is not ours: of a live process, or of one that left a core.
 *
 * 1. Everything is read by copy, nothing is mapped and nothing is written. The
 *    owner is not stopped and does not notice.
 * 2. What is read was there at some moment. A structure of more than a word may
 *    be torn, so whoever reads one checks it and is ready for anything.
 * 3. A source says why it cannot go on in one line, in `fault`.
 */
#ifndef BSLAB_INSIGHT_MEMORY_H
#define BSLAB_INSIGHT_MEMORY_H

#include "base/base.h"

#define MAX_FAULT 512

struct memory;

/* Where an ELF file may begin in the memory: called with each such address until it returns false. */
typedef bool memory_image(void *arg, uint64_t addr);

struct memory_source {
	/* All size bytes, or false. */
	bool (*read)(struct memory *m, uint64_t addr, void *buf, size_t size);
	/* Looks again at what is mapped. False, with a fault, when the process is gone. */
	bool (*refresh)(struct memory *m);
	/* Files come first, what else is mapped after them; each once. */
	void (*images)(struct memory *m, memory_image *visit, void *arg);
	/* After a read that failed: says why in m->fault, if the source knows. */
	void (*explain)(struct memory *m);
	void (*close)(struct memory *m);
};

struct memory {
	const struct memory_source *source;
	char name[64]; /* for messages: "process 42", "core core.42" */
	bool is_live; /* the machine's clock is its own */
	char fault[MAX_FAULT]; /* "" while all is well */
};

/* Sets the fault, unless there is one already; returns false. */
bool memory_fail(struct memory *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Text from elsewhere, for a terminal: in place. */
void make_printable(char *text);

static inline bool memory_read(struct memory *m, uint64_t addr, void *buf, size_t size)
{
	return addr && addr + size >= addr && m->source->read(m, addr, buf, size);
}

/* A live process; NULL with a fault. It is not stopped, and not asked. */
struct memory *process_open(int pid, char *fault);

struct core_files {
	const char *path[16]; /* executables and libraries to read what the core does not hold from */
	unsigned nr;
};
/* A core file; NULL with a fault. */
struct memory *core_open(const char *path, const struct core_files *files, char *fault);

void memory_close(struct memory *m);

#endif
