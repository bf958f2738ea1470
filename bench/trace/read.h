/* A recorded trace, its records in the order of their tickets. */
#ifndef TRACE_READ_H
#define TRACE_READ_H

#include "format.h"
#include "util.h"

typedef struct trace {
    mapped_file file;
    const trace_header *header;
    uint64_t tickets; /* one more than the last */
    uint64_t records;
    uint32_t threads; /* ids are 1..threads */
    struct place *order; /* by ticket */
} trace;

typedef struct event {
    record_kind kind; /* NONE: the process ended before it was written */
    uint32_t thread;
    uint64_t address;
    uint64_t size;
    uint64_t alignment;
} event;

/* Fails, with a line, if it is not a whole trace. */
trace open_trace(const char *path);
event event_at(const trace *from, uint64_t ticket);

#endif
