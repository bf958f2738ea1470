/*
 * /proc/self/statm: resident and shared (file-backed and shmem) pages.  Only
 * what was shared at the mark is subtracted, so an allocator which takes its
 * memory from a shared mapping is charged for it like any other.
 *
 * The peak is VmHWM of /proc/self/status, less the same.  It belongs to the
 * address space, so unlike ru_maxrss it knows nothing of who started this.
 */
#include "rss.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int statm = -1;
static long marked;
static long page_kb;

static void read_statm(long *resident, long *shared)
{
    char text[128];
    ssize_t length = pread(statm, text, sizeof text - 1, 0);

    text[length > 0 ? length : 0] = 0;
    if (sscanf(text, "%*d %ld %ld", resident, shared) != 2)
        fail("/proc/self/statm cannot be read");
}

void rss_open(void)
{
    statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    page_kb = sysconf(_SC_PAGESIZE) / 1024;
    if (statm < 0)
        fail("/proc/self/statm: %s", strerror(errno));
}

void rss_mark(void)
{
    long resident;

    read_statm(&resident, &marked);
}

int64_t rss_kb(void)
{
    long resident, shared;

    read_statm(&resident, &shared);
    return (resident - marked) * page_kb;
}

int64_t rss_peak_kb(void)
{
    char text[4096];
    long long peak = 0;
    int status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = status < 0 ? -1 : read(status, text, sizeof text - 1);

    close(status);
    text[length > 0 ? length : 0] = 0;
    const char *line = strstr(text, "VmHWM:");
    if (!line || sscanf(line, "VmHWM: %lld", &peak) != 1)
        fail("/proc/self/status has no VmHWM");
    return peak - marked * page_kb;
}
