/* The table google-benchmark prints by default. */
#include "bm_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print_rule(const bm_reporter *reporter)
{
    char rule[256];
    int length = reporter->width + 43;

    if (length > (int)sizeof rule - 1)
        length = (int)sizeof rule - 1;
    memset(rule, '-', (size_t)length);
    rule[length] = '\0';
    dprintf(reporter->fd, "%s\n", rule);
}

static void begin(bm_reporter *reporter)
{
    bm_context context;

    bm_read_context(&context);
    /* On stderr, like google-benchmark, so that stdout is the table alone. */
    dprintf(STDERR_FILENO,
            "%s\nRunning %s\nRun on (%d X %d MHz CPU s)\n"
            "malloc from %s\nLoad Average: %.2f, %.2f, %.2f\n",
            context.date, context.executable, context.cpus, context.mhz,
            context.malloc_from, context.load[0], context.load[1],
            context.load[2]);
    print_rule(reporter);
    dprintf(reporter->fd, "%-*s %13s %15s %12s\n", reporter->width,
            "Benchmark", "Time", "CPU", "Iterations");
    print_rule(reporter);
}

static int digits(double value)
{
    return value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0;
}

static const char *scale(double *value)
{
    static const char *const suffixes[] = {"", "k", "M", "G", "T"};
    int i = 0;

    while (*value >= 1000 && i < 4) {
        *value /= 1000;
        i++;
    }
    return suffixes[i];
}

static void print_counters(int fd, const bm_result *result)
{
    if (result->items_per_second > 0) {
        double items = result->items_per_second;
        const char *suffix = scale(&items);
        dprintf(fd, " items_per_second=%g%s/s", items, suffix);
    }
    for (int i = 0; i < result->counter_count; i++) {
        double value = result->counters[i].value;
        const char *suffix = scale(&value);
        dprintf(fd, " %s=%g%s", result->counters[i].name, value, suffix);
    }
}

static void print_times(const bm_reporter *reporter, const char *name,
                        const bm_result *result)
{
    dprintf(reporter->fd, "%-*s %10.*f ns %12.*f ns %12llu", reporter->width,
            name, digits(result->real_ns), result->real_ns,
            digits(result->cpu_ns), result->cpu_ns,
            (unsigned long long)result->iterations);
    print_counters(reporter->fd, result);
    dprintf(reporter->fd, "\n");
}

static void run(bm_reporter *reporter, const bm_case *bench,
                const bm_result *result, int repetitions, int index)
{
    (void)index;
    if (reporter->aggregates_only && repetitions > 1 && !result->error)
        return;
    if (result->error)
        dprintf(reporter->fd, "%-*s ERROR OCCURRED: '%s'\n", reporter->width,
                bench->name, result->error);
    else
        print_times(reporter, bench->name, result);
}

static void aggregate(bm_reporter *reporter, const bm_case *bench,
                      const bm_aggregate *value, int repetitions)
{
    char name[BM_NAME_SIZE + 16];

    (void)repetitions;
    snprintf(name, sizeof name, "%s_%s", bench->name, value->name);
    if (strcmp(value->unit, "percentage") != 0) {
        print_times(reporter, name, &value->value);
        return;
    }
    dprintf(reporter->fd, "%-*s %10.2f %%  %12.2f %%  %12llu\n",
            reporter->width, name, value->value.real_ns * 100,
            value->value.cpu_ns * 100,
            (unsigned long long)value->value.iterations);
}

static void end(bm_reporter *reporter)
{
    (void)reporter;
}

bm_reporter bm_console_reporter(int fd, int width)
{
    return (bm_reporter){.fd = fd,
                         .width = width,
                         .begin = begin,
                         .run = run,
                         .aggregate = aggregate,
                         .end = end};
}
