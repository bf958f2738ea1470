/*
 * Resident memory, read with open, read and pread into static buffers.
 *
 * statm is one short line that the kernel makes from counters, about a
 * microsecond; so is the peak of getrusage.  Kernels from 6.2 on batch these
 * counters per CPU, and such a figure may be some hundred KiB off, which
 * matters with a heap of 1 MiB.  smaps_rollup is counted page by page: exact,
 * and slow, so only the baseline and figures at an end are read there.
 */
#include "memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int statm = -1;
static uint64_t page_kb, baseline_kb, peak_kb;

static uint64_t rss_kb(void)
{
    char line[128];
    ssize_t length = pread(statm, line, sizeof line - 1, 0);

    if (length <= 0)
        die("cannot read /proc/self/statm");
    line[length] = '\0';
    char *second = strchr(line, ' ');
    return second ? strtoull(second, NULL, 10) * page_kb : 0;
}

/* The kernel's peak may lie below what was read from a better source. */
static uint64_t seen(uint64_t kb)
{
    if (kb > peak_kb)
        peak_kb = kb;
    return kb;
}

static uint64_t above_baseline(uint64_t kb)
{
    return kb > baseline_kb ? kb - baseline_kb : 0;
}

void heap_begin(void)
{
    page_kb = (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    report_prepare();
    (void)read_rollup((int)getpid());
    baseline_kb = read_rollup((int)getpid()).rss_kb;
}

uint64_t heap_kb(void)
{
    return above_baseline(seen(rss_kb()));
}

uint64_t heap_exact_kb(void)
{
    return above_baseline(seen(read_rollup((int)getpid()).rss_kb));
}

uint64_t process_peak_kb(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    seen((uint64_t)usage.ru_maxrss);
    return peak_kb;
}

uint64_t heap_peak_kb(void)
{
    return above_baseline(process_peak_kb());
}

static uint64_t field(const char *text, const char *name)
{
    const char *found = strstr(text, name);

    return found ? strtoull(found + strlen(name), NULL, 10) : 0;
}

rollup read_rollup(int pid)
{
    static char text[8192];
    char path[64];
    size_t length = 0;
    ssize_t more;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        die("cannot open smaps_rollup");
    while ((more = read(file, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)more;
    close(file);
    text[length] = '\0';
    return (rollup){.rss_kb = field(text, "\nRss:"),
                    .pss_kb = field(text, "\nPss:"),
                    .private_dirty_kb = field(text, "\nPrivate_Dirty:"),
                    .lazy_free_kb = field(text, "\nLazyFree:")};
}
