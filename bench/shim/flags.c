/* The flags of google-benchmark which make sense here. */
#include "bm_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char bm_usage[] =
    "usage: NAME [--benchmark_list_tests={true|false}]\n"
    "            [--benchmark_filter=<regex>]  a leading '-' inverts it\n"
    "            [--benchmark_min_time=<seconds>|<iterations>x]\n"
    "            [--benchmark_repetitions=<count>]\n"
    "            [--benchmark_report_aggregates_only={true|false}]\n"
    "            [--benchmark_display_aggregates_only={true|false}]\n"
    "            [--benchmark_format=<console|json>]\n"
    "            [--benchmark_out=<file>]\n"
    "            [--benchmark_out_format=<json|console>]\n";

static char message[256];

static const char *fail(const char *problem, const char *argument)
{
    snprintf(message, sizeof message, "%s: %s", problem, argument);
    return message;
}

/* The text after "--benchmark_NAME=", "" after the bare flag, else NULL. */
static const char *value_of(const char *argument, const char *name)
{
    const char prefix[] = "--benchmark_";
    size_t skip = sizeof prefix - 1, length = strlen(name);

    if (strncmp(argument, prefix, skip) != 0 ||
        strncmp(argument + skip, name, length) != 0)
        return NULL;
    argument += skip + length;
    if (*argument == '=')
        return argument + 1;
    return *argument == '\0' ? argument : NULL;
}

static bool parse_bool(const char *text, bool *out)
{
    bool yes = *text == '\0' || strcmp(text, "true") == 0 ||
               strcmp(text, "1") == 0;
    bool no = strcmp(text, "false") == 0 || strcmp(text, "0") == 0;

    *out = yes;
    return yes || no;
}

static bool parse_format(const char *text, bm_format *out)
{
    *out = strcmp(text, "json") == 0 ? BM_JSON : BM_CONSOLE;
    return *out == BM_JSON || strcmp(text, "console") == 0;
}

/* "0.5", "0.5s", or "1000x" for a fixed count of iterations. */
static bool parse_min_time(const char *text, bm_options *options)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || !(value > 0) || value > 1e9)
        return false;
    if (strcmp(end, "x") == 0) {
        options->fixed_iterations = (uint64_t)value;
        return value >= 1;
    }
    options->min_time = value;
    options->fixed_iterations = 0;
    return *end == '\0' || strcmp(end, "s") == 0;
}

static bool parse_repetitions(const char *text, int *out)
{
    char *end;
    long value = strtol(text, &end, 10);

    *out = (int)value;
    return end != text && *end == '\0' && value >= 1 &&
           value <= BM_MAX_REPETITIONS;
}

/* 1: taken, 0: not one of these, -1: its value is bad. */
static int parse_value_flag(bm_options *options, const char *argument)
{
    const char *value;

    if ((value = value_of(argument, "filter"))) {
        options->filter = value;
        return 1;
    }
    if ((value = value_of(argument, "out"))) {
        options->out = value;
        return *value ? 1 : -1;
    }
    if ((value = value_of(argument, "min_time")))
        return parse_min_time(value, options) ? 1 : -1;
    if ((value = value_of(argument, "repetitions")))
        return parse_repetitions(value, &options->repetitions) ? 1 : -1;
    if ((value = value_of(argument, "format")))
        return parse_format(value, &options->format) ? 1 : -1;
    if ((value = value_of(argument, "out_format")))
        return parse_format(value, &options->out_format) ? 1 : -1;
    return 0;
}

static int parse_bool_flag(bm_options *options, const char *argument)
{
    const char *value;

    if ((value = value_of(argument, "list_tests")))
        return parse_bool(value, &options->list) ? 1 : -1;
    if ((value = value_of(argument, "report_aggregates_only")))
        return parse_bool(value, &options->report_aggregates_only) ? 1 : -1;
    if ((value = value_of(argument, "display_aggregates_only")))
        return parse_bool(value, &options->display_aggregates_only) ? 1 : -1;
    return 0;
}

const char *bm_parse_flags(bm_options *options, int argc, char **argv)
{
    *options = (bm_options){.filter = "",
                            .min_time = 0.5,
                            .repetitions = 1,
                            .format = BM_CONSOLE,
                            .out_format = BM_JSON};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            options->help = true;
            continue;
        }
        int taken = parse_value_flag(options, argv[i]);
        if (taken == 0)
            taken = parse_bool_flag(options, argv[i]);
        if (taken < 0)
            return fail("bad value", argv[i]);
        if (taken == 0)
            return fail("unrecognized command-line flag", argv[i]);
    }
    return NULL;
}
