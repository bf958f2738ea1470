/*
 * google-benchmark's JSON (its docs/user_guide.md, "Output Formats", and what
 * 1.7.1 in Debian 12 writes).  Its tools/compare.py needs name, run_type,
 * real_time, cpu_time and time_unit; and sorts by the indices.
 */
#include "bm_private.h"

#include <stdio.h>

static void print_string(int fd, const char *text)
{
    dprintf(fd, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            dprintf(fd, "\\%c", c);
        else if (c < 0x20)
            dprintf(fd, "\\u%04x", c);
        else
            dprintf(fd, "%c", c);
    }
    dprintf(fd, "\"");
}

static void string_field(int fd, const char *indent, const char *key,
                         const char *value)
{
    dprintf(fd, "%s\"%s\": ", indent, key);
    print_string(fd, value);
    dprintf(fd, ",\n");
}

static void begin(bm_reporter *reporter)
{
    bm_context context;
    int fd = reporter->fd;

    bm_read_context(&context);
    dprintf(fd, "{\n  \"context\": {\n");
    string_field(fd, "    ", "date", context.date);
    string_field(fd, "    ", "host_name", context.host);
    string_field(fd, "    ", "executable", context.executable);
    dprintf(fd, "    \"num_cpus\": %d,\n    \"mhz_per_cpu\": %d,\n",
            context.cpus, context.mhz);
    dprintf(fd, "    \"cpu_scaling_enabled\": %s,\n    \"caches\": [],\n",
            context.scaling ? "true" : "false");
    dprintf(fd, "    \"load_avg\": [%g,%g,%g],\n", context.load[0],
            context.load[1], context.load[2]);
    /* Ours: the key a user gives with --benchmark_context in theirs. */
    string_field(fd, "    ", "malloc", context.malloc_from);
    dprintf(fd, "    \"library_build_type\": \"release\"\n  },\n"
                "  \"benchmarks\": [");
}

static void open_entry(bm_reporter *reporter, const bm_case *bench,
                       const char *name, const char *run_type, int repetitions)
{
    int fd = reporter->fd;

    dprintf(fd, "%s\n    {\n", reporter->written++ ? "," : "");
    string_field(fd, "      ", "name", name);
    dprintf(fd, "      \"family_index\": %d,\n", bench->family_index);
    dprintf(fd, "      \"per_family_instance_index\": %d,\n",
            bench->per_family_index);
    string_field(fd, "      ", "run_name", bench->name);
    string_field(fd, "      ", "run_type", run_type);
    dprintf(fd, "      \"repetitions\": %d,\n", repetitions);
}

static void print_values(int fd, const bm_result *result)
{
    dprintf(fd, "      \"iterations\": %llu,\n",
            (unsigned long long)result->iterations);
    dprintf(fd, "      \"real_time\": %.16e,\n      \"cpu_time\": %.16e,\n",
            result->real_ns, result->cpu_ns);
    dprintf(fd, "      \"time_unit\": \"ns\"");
    if (result->items_per_second > 0)
        dprintf(fd, ",\n      \"items_per_second\": %.16e",
                result->items_per_second);
    for (int i = 0; i < result->counter_count; i++) {
        dprintf(fd, ",\n      ");
        print_string(fd, result->counters[i].name);
        dprintf(fd, ": %.16e", result->counters[i].value);
    }
    dprintf(fd, "\n    }");
}

static void run(bm_reporter *reporter, const bm_case *bench,
                const bm_result *result, int repetitions, int index)
{
    int fd = reporter->fd;

    if (reporter->aggregates_only && repetitions > 1 && !result->error)
        return;
    open_entry(reporter, bench, bench->name, "iteration", repetitions);
    dprintf(fd, "      \"repetition_index\": %d,\n      \"threads\": %d,\n",
            index, bench->threads);
    if (result->error) {
        dprintf(fd, "      \"error_occurred\": true,\n");
        string_field(fd, "      ", "error_message", result->error);
    }
    print_values(fd, result);
}

static void aggregate(bm_reporter *reporter, const bm_case *bench,
                      const bm_aggregate *value, int repetitions)
{
    char name[BM_NAME_SIZE + 16];
    int fd = reporter->fd;

    snprintf(name, sizeof name, "%s_%s", bench->name, value->name);
    open_entry(reporter, bench, name, "aggregate", repetitions);
    dprintf(fd, "      \"threads\": %d,\n", bench->threads);
    string_field(fd, "      ", "aggregate_name", value->name);
    string_field(fd, "      ", "aggregate_unit", value->unit);
    print_values(fd, &value->value);
}

static void end(bm_reporter *reporter)
{
    dprintf(reporter->fd, "\n  ]\n}\n");
}

bm_reporter bm_json_reporter(int fd)
{
    return (bm_reporter){.fd = fd,
                         .begin = begin,
                         .run = run,
                         .aggregate = aggregate,
                         .end = end};
}
