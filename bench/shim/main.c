/* From the flags to the reports. */
#include "bm_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bm_case cases[BM_MAX_CASES];
static bm_result results[BM_MAX_REPETITIONS];

typedef struct reporters {
    bm_reporter list[2];
    int count;
} reporters;

static void report_run(reporters *out, const bm_case *bench, int repetitions,
                       int index)
{
    for (int i = 0; i < out->count; i++)
        out->list[i].run(&out->list[i], bench, &results[index], repetitions,
                         index);
}

static void report_aggregates(reporters *out, const bm_case *bench,
                              int repetitions)
{
    bm_aggregate aggregates[BM_AGGREGATES];

    bm_aggregate_results(results, repetitions, aggregates);
    for (int a = 0; a < BM_AGGREGATES; a++)
        for (int i = 0; i < out->count; i++)
            out->list[i].aggregate(&out->list[i], bench, &aggregates[a],
                                   repetitions);
}

static bool run_case(reporters *out, const bm_case *bench,
                     const bm_options *options)
{
    uint64_t iterations = bm_choose_iterations(bench, options, &results[0]);

    for (int i = 0; i < options->repetitions; i++) {
        if (i > 0)
            bm_run_trial(bench, iterations, &results[i]);
        report_run(out, bench, options->repetitions, i);
        if (results[i].error)
            return false;
    }
    if (options->repetitions > 1)
        report_aggregates(out, bench, options->repetitions);
    return true;
}

static int longest_name(int count)
{
    size_t width = 10;

    for (int i = 0; i < count; i++) {
        size_t length = strlen(cases[i].name) + sizeof "_median" - 1;
        width = length > width ? length : width;
    }
    return (int)width;
}

static void add_reporter(reporters *out, int fd, bm_format format, int width,
                         bool aggregates_only)
{
    bm_reporter *reporter = &out->list[out->count++];

    *reporter = format == BM_JSON ? bm_json_reporter(fd)
                                  : bm_console_reporter(fd, width);
    reporter->aggregates_only = aggregates_only;
    reporter->begin(reporter);
}

static int run_all(const bm_options *options, int count)
{
    reporters out = {.count = 0};
    int width = longest_name(count), out_fd = -1;
    bool well = true;

    if (options->out) {
        out_fd = open(options->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                      0666);
        if (out_fd < 0) {
            fprintf(stderr, "cannot write --benchmark_out %s: %s\n",
                    options->out, strerror(errno));
            return 1;
        }
    }
    add_reporter(&out, STDOUT_FILENO, options->format, width,
                 options->report_aggregates_only ||
                     options->display_aggregates_only);
    if (out_fd >= 0)
        add_reporter(&out, out_fd, options->out_format, width,
                     options->report_aggregates_only);
    for (int i = 0; i < count; i++)
        well = run_case(&out, &cases[i], options) && well;
    for (int i = 0; i < out.count; i++)
        out.list[i].end(&out.list[i]);
    return out_fd >= 0 && close(out_fd) != 0 ? 1 : !well;
}

static int complain(const char *program, const char *error)
{
    const char *slash = strrchr(program, '/');

    fprintf(stderr, "%s: error: %s\n", slash ? slash + 1 : program, error);
    return 1;
}

int bm_main(int argc, char **argv)
{
    bm_options options;
    const char *error = bm_parse_flags(&options, argc, argv);

    if (error)
        return complain(argv[0], error);
    if (options.help) {
        dprintf(STDOUT_FILENO, "%s", bm_usage);
        return 0;
    }
    int count = bm_select_cases(options.filter, cases, &error);
    if (error)
        return complain(argv[0], error);
    if (!options.list)
        return run_all(&options, count);
    for (int i = 0; i < count; i++)
        dprintf(STDOUT_FILENO, "%s\n", cases[i].name);
    return 0;
}
