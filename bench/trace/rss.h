/* Resident memory of this process, read while a replay runs. */
#ifndef TRACE_RSS_H
#define TRACE_RSS_H

#include <stdint.h>

void rss_open(void);

/*
 * From here on rss_kb() tells of what is beyond the file and shared pages
 * resident now: the mapped trace, the replay's tables, the text of libraries.
 * Private pages count from the first one on, also those an allocator touched
 * before main.
 */
void rss_mark(void);
int64_t rss_kb(void);

/* The most it has been, as the kernel kept count. */
int64_t rss_peak_kb(void);

#endif
