/*
 * Usage: trace-replay [--touch none|first|page|line|all] [--check] PREPARED
 *
 * Makes the allocations of a program recorded earlier, with the allocator
 * which is preloaded, and prints one line of JSON.  Replaying traces instead
 * of running programs is as old as the comparison of allocators (Zorn and
 * Grunwald 1992; Wilson et al. 1995, who insist on traces rather than random
 * sizes): the program's own work does not hide the allocator's, and each gets
 * exactly the same calls.
 *
 * What it cannot show: how the program's own accesses fare with the addresses
 * given, beyond the first write of each block (--touch).
 *
 * The time is CPU time of the process, threads of the allocator's own
 * included, and of the replay's threads all but their waits for each other;
 * wall time is among the figures.  rss/live is the peak of resident memory
 * over the peak of bytes asked for, in the order recorded.
 */
#include "play.h"
#include "rss.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct options {
    touch touch;
    bool check;
    const char *path;
} options;

static touch read_touch(const char *name)
{
    static const char *const names[] = {"none", "first", "page", "line",
                                        "all"};

    for (int i = 0; name && i < 5; i++)
        if (strcmp(name, names[i]) == 0)
            return (touch)i;
    fail("--touch takes none, first, page, line or all");
}

static options read_options(int argc, char **argv)
{
    options got = {.touch = TOUCH_PAGES};
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--touch") == 0)
            got.touch = read_touch(argv[++i]);
        else if (strcmp(argv[i], "--check") == 0)
            got.check = true;
        else
            fail("unknown option %s", argv[i]);
    }
    if (i != argc - 1)
        fail("usage: trace-replay [--touch HOW] [--check] PREPARED");
    got.path = argv[i];
    return got;
}

/*
 * Shared, so that they count as shared and not as the allocator's (see rss.h);
 * resident from the start, so that they cost no fault later.
 */
static void *make_table(uint64_t slots)
{
    void *table = mmap(NULL, slots * sizeof(void *), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (table == MAP_FAILED)
        fail("no memory for %llu slots: %s", (unsigned long long)slots,
             strerror(errno));
    return table;
}

/*
 * The kernel's count of the peak is exact to some dozens of pages only, and so
 * is each sample.
 */
static int64_t peak_of(const player *self)
{
    int64_t peak = rss_peak_kb();

    for (int i = 0; i < SAMPLES; i++)
        if (self->samples[i].rss_kb > peak)
            peak = self->samples[i].rss_kb;
    return peak;
}

/* The sample at the peak is out of order in time, and left out. */
static void print_curve(const player *self, const char *name, bool live)
{
    const char *comma = "";

    printf("\"%s\": [", name);
    for (int i = 0; i < SAMPLES - 1; i++) {
        const play_sample *sample = &self->samples[i];
        uint64_t bytes = self->script->header->sample_live[i];
        printf("%s[%.6f, %lld]", comma, (double)sample->time_ns / 1e9,
               live ? (long long)(bytes / 1024) : (long long)sample->rss_kb);
        comma = ", ";
    }
    printf("]");
}

static int64_t timeval_ns(struct timeval value)
{
    return (int64_t)value.tv_sec * 1000000000 + value.tv_usec * 1000;
}

static void print_usage(const struct rusage *before,
                        const struct rusage *after)
{
    printf("\"minor_faults\": %ld, \"user_ns\": %lld, \"system_ns\": %lld, "
           "\"voluntary_switches\": %ld, ",
           after->ru_minflt - before->ru_minflt,
           (long long)(timeval_ns(after->ru_utime) -
                       timeval_ns(before->ru_utime)),
           (long long)(timeval_ns(after->ru_stime) -
                       timeval_ns(before->ru_stime)),
           after->ru_nvcsw - before->ru_nvcsw);
}

static void print_figures(const player *self)
{
    const script_header *header = self->script->header;
    double operations = (double)header->operations;
    double live = (double)header->peak_live_bytes;
    double wall = (double)self->wall_ns / operations;
    double cpu = (double)self->cpu_ns / operations;
    int64_t peak_kb = peak_of(self);

    printf("\"time_ns\": %.3f, \"peak_rss_kb\": %lld, ",
           cpu, (long long)peak_kb);
    printf("\"figures\": {\"ops\": %.0f, \"peak live MiB\": %.3f, "
           "\"rss/live\": %.4f, \"rss/live at the live peak\": %.4f, "
           "\"wall ns/op\": %.3f}, ",
           operations, live / 1048576, (double)peak_kb * 1024 / live,
           (double)self->samples[SAMPLES - 1].rss_kb * 1024 / live, wall);
}

static int print_result(const player *self, const struct rusage *before,
                        const struct rusage *after)
{
    printf("{");
    print_usage(before, after);
    print_figures(self);
    printf("\"series\": {");
    print_curve(self, "rss", false);
    printf(", ");
    print_curve(self, "live", true);
    printf("}}\n");
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static player self;
    struct rusage before, after;

    program_name = "trace-replay";
    options given = read_options(argc, argv);
    script from = open_script(given.path);
    self.script = &from;
    self.check = given.check;
    self.touch = given.check ? TOUCH_NONE : given.touch;
    self.slots = make_table(from.header->slots);
    if (given.check)
        self.sizes = make_table(from.header->slots);
    rss_open();
    rss_mark();
    getrusage(RUSAGE_SELF, &before);
    play(&self);
    getrusage(RUSAGE_SELF, &after);
    return print_result(&self, &before, &after);
}
