/* The command line, and the environments made from it beforehand. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ENVIRONMENT = 512 };

static char *environments[MAX_VARIANTS][MAX_ENVIRONMENT];
static char preloads[MAX_VARIANTS][4096];
static char message[512];

static const char *fail(const char *problem, const char *argument)
{
    snprintf(message, sizeof message, "%s: %s", problem, argument);
    return message;
}

static int parse_count(const char *text, int low, int *out)
{
    char *end;
    long value = strtol(text, &end, 10);

    *out = (int)value;
    return end != text && *end == '\0' && value >= low && value <= MAX_RUNS;
}

static int add_variant(plan *out, char *argument)
{
    char *equals = strchr(argument, '=');

    if (!equals || out->variant_count == MAX_VARIANTS)
        return 0;
    int index = out->variant_count++;
    variant *added = &out->variants[index];
    *equals = '\0';
    added->name = argument;
    if (equals[1] == '\0')
        return 1;
    added->preload = preloads[index];
    return snprintf(preloads[index], sizeof preloads[index], "LD_PRELOAD=%s",
                    equals + 1) < (int)sizeof preloads[index];
}

static int build_environment(plan *out, int index, char **inherited)
{
    int count = 0;

    for (; *inherited; inherited++) {
        if (strncmp(*inherited, "LD_PRELOAD=", 11) == 0)
            continue;
        if (count == MAX_ENVIRONMENT - 2)
            return 0;
        environments[index][count++] = *inherited;
    }
    if (out->variants[index].preload)
        environments[index][count++] = out->variants[index].preload;
    out->variants[index].environment = environments[index];
    return 1;
}

/* Moves *at past one option; NULL when well. */
static const char *read_option(plan *out, char **argv, int *at)
{
    char *option = argv[*at], *value = argv[*at + 1];

    if (!value)
        return fail("no value for", option);
    *at += 2;
    if (strcmp(option, "--runs") == 0)
        return parse_count(value, 1, &out->runs) ? NULL
                                                 : fail("bad --runs", value);
    if (strcmp(option, "--warmup") == 0)
        return parse_count(value, 0, &out->warmup)
                   ? NULL
                   : fail("bad --warmup", value);
    if (strcmp(option, "--timeout") == 0)
        return parse_count(value, 1, &out->timeout)
                   ? NULL
                   : fail("bad --timeout", value);
    if (strcmp(option, "--stdin") == 0) {
        out->input = value;
        return NULL;
    }
    if (strcmp(option, "--stdout") == 0) {
        out->output = value;
        return NULL;
    }
    if (strcmp(option, "--stderr") == 0) {
        out->errors = value;
        return NULL;
    }
    return fail("unknown option", option);
}

const char *read_plan(plan *out, int argc, char **argv, char **environment)
{
    int at = 1;

    *out = (plan){.runs = 5, .warmup = 1, .timeout = 60};
    while (at < argc && strcmp(argv[at], "--") != 0) {
        if (argv[at][0] == '-') {
            const char *error = read_option(out, argv, &at);
            if (error)
                return error;
        } else if (!add_variant(out, argv[at++])) {
            return fail("not NAME=[PRELOAD], or too many", argv[at - 1]);
        }
    }
    if (at + 1 >= argc || out->variant_count == 0)
        return "usage: bench-runner [--runs N] [--warmup N] [--timeout SECONDS] "
               "[--stdin FILE] [--stdout FILE] [--stderr FILE] NAME=[PRELOAD]... -- PROGRAM [ARGUMENT]...";
    out->command = argv + at + 1;
    for (int i = 0; i < out->variant_count; i++)
        if (!build_environment(out, i, environment))
            return "the environment is too large";
    return (long)(out->runs) * out->variant_count > MAX_RUNS ? "too many runs"
                                                             : NULL;
}
