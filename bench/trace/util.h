/* What all the programs here share: complaints, memory, whole files mapped. */
#ifndef TRACE_UTIL_H
#define TRACE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Set by main: the name before each complaint. */
extern const char *program_name;

_Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *format,
                                                          ...);

/* Zeroed pages; fails if there are none.  No malloc anywhere in here. */
void *pages(size_t bytes);

typedef struct mapped_file {
    const char *path;
    const char *data;
    size_t bytes;
} mapped_file;

/* Fails if it cannot be read, or has less than the bytes of its header. */
mapped_file map_file(const char *path, size_t least, int flags);

#endif
