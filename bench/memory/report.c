/* The JSON line at the end; everything until then in static memory. */
#include "memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SAMPLES = 1000, MAX_FIGURES = 24 };

static struct {
    double seconds;
    uint64_t heap_kb, live_kb;
} samples[MAX_SAMPLES];

static struct {
    const char *name;
    double value;
} figures[MAX_FIGURES];

static int sample_count, figure_count;
static double time_per_operation = -1;
static int64_t began_ns;
static char text[128 * 1024];
static size_t length;

/* Resident before the baseline is taken, so that samples do not move it. */
void report_prepare(void)
{
    memset(samples, 1, sizeof samples);
    memset(figures, 1, sizeof figures);
    memset(text, 1, sizeof text);
    began_ns = wall_ns();
}

void report_time(double nanoseconds_per_operation)
{
    time_per_operation = nanoseconds_per_operation;
}

void report_figure(const char *name, double value)
{
    if (figure_count == MAX_FIGURES)
        die("too many figures");
    figures[figure_count].name = name;
    figures[figure_count++].value = value;
}

uint64_t report_sample(void)
{
    uint64_t kb = heap_kb();

    if (sample_count < MAX_SAMPLES) {
        samples[sample_count].seconds = (double)(wall_ns() - began_ns) / 1e9;
        samples[sample_count].heap_kb = kb;
        samples[sample_count++].live_kb = live_bytes / 1024;
    }
    return kb;
}

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int added = vsnprintf(text + length, sizeof text - length, format,
                          arguments);
    va_end(arguments);
    length += (size_t)added;
    if (length >= sizeof text)
        die("too much to report");
}

static void put_figures(void)
{
    put("\"figures\": {");
    for (int i = 0; i < figure_count; i++)
        put("%s\"%s\": %.6g", i ? ", " : "", figures[i].name,
            figures[i].value);
    put("}");
}

static void put_series(const char *name, bool live)
{
    put("\"%s\": [", name);
    for (int i = 0; i < sample_count; i++)
        put("%s[%.4f, %llu]", i ? ", " : "", samples[i].seconds,
            (unsigned long long)(live ? samples[i].live_kb
                                      : samples[i].heap_kb));
    put("]");
}

/* The peak of the whole process, but for the tables, which are not its heap. */
static uint64_t peak_without_tables_kb(void)
{
    uint64_t tables_kb = table_bytes() / 1024, peak_kb = process_peak_kb();

    return peak_kb > tables_kb ? peak_kb - tables_kb : peak_kb;
}

void report_send(void)
{
    report_figure("live MB", megabytes(peak_live_bytes / 1024));
    put("{\"peak_rss_kb\": %llu, ",
        (unsigned long long)peak_without_tables_kb());
    if (time_per_operation >= 0)
        put("\"time_ns\": %.4f, ", time_per_operation);
    put_figures();
    put(", \"series\": {");
    put_series("rss", false);
    put(", ");
    put_series("live", true);
    put("}}\n");
    for (size_t at = 0; at < length;) {
        ssize_t written = write(STDOUT_FILENO, text + at, length - at);
        if (written <= 0)
            die("cannot write the report");
        at += (size_t)written;
    }
}
