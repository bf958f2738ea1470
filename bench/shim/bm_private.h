/* What the shim's own files share. */
#ifndef BM_PRIVATE_H
#define BM_PRIVATE_H

#include "bm.h"

enum {
    BM_MAX_FAMILIES = 64,
    BM_MAX_ARG_SETS = 1024,
    BM_MAX_CASES = 512,
    BM_MAX_REPETITIONS = 1000,
    BM_NAME_SIZE = 160
};

/* Kept in a list, so that the table of families is small: what is registered
   differs by the allocator, and all of it counts in the process's peak RSS. */
typedef struct bm_args {
    int64_t values[BM_MAX_ARGS];
    struct bm_args *next;
} bm_args;

struct bm_family {
    const char *name;
    bm_function *function;
    const char *const *arg_names;
    int arg_sets, arg_count;
    bm_args *first_args, *last_args;
    int thread_sets;
    int threads[8];
    bool real_time;
};

/* One family with one set of arguments and one thread count. */
typedef struct bm_case {
    const bm_family *family;
    const int64_t *args;
    int threads;
    int family_index, per_family_index;
    char name[BM_NAME_SIZE];
} bm_case;

typedef struct bm_result {
    uint64_t iterations;
    double real_s, cpu_s; /* of the whole run */
    double real_ns, cpu_ns; /* of one iteration */
    double items_per_second;
    int counter_count;
    bm_counter counters[BM_MAX_COUNTERS];
    const char *error;
} bm_result;

typedef enum bm_format { BM_CONSOLE, BM_JSON } bm_format;

typedef struct bm_options {
    const char *filter;
    const char *out;
    double min_time;
    uint64_t fixed_iterations; /* 0: chosen from min_time */
    int repetitions;
    bm_format format, out_format;
    bool list, report_aggregates_only, display_aggregates_only, help;
} bm_options;

typedef struct bm_aggregate {
    const char *name;
    const char *unit; /* "time" or "percentage" */
    bm_result value;
} bm_aggregate;

enum { BM_AGGREGATES = 4 };

/* A place to write results to: the two formats differ only in these. */
typedef struct bm_reporter {
    int fd;
    bool aggregates_only;
    int written;
    int width;
    void (*begin)(struct bm_reporter *reporter);
    void (*run)(struct bm_reporter *reporter, const bm_case *bench,
                const bm_result *result, int repetitions, int index);
    void (*aggregate)(struct bm_reporter *reporter, const bm_case *bench,
                      const bm_aggregate *aggregate, int repetitions);
    void (*end)(struct bm_reporter *reporter);
} bm_reporter;

typedef struct bm_context {
    char date[40];
    char host[65];
    char executable[512];
    char malloc_from[512];
    int cpus, mhz;
    bool scaling;
    double load[3];
} bm_context;

/* flags.c: NULL when well, else a message of one line. */
const char *bm_parse_flags(bm_options *options, int argc, char **argv);
extern const char bm_usage[];

/* registry.c */
int bm_select_cases(const char *filter, bm_case *cases, const char **error);

/* runner.c */
void bm_run_trial(const bm_case *bench, uint64_t iterations,
                  bm_result *result);
uint64_t bm_choose_iterations(const bm_case *bench, const bm_options *options,
                              bm_result *result);

/* stats.c */
void bm_aggregate_results(const bm_result *results, int count,
                          bm_aggregate out[BM_AGGREGATES]);

/* context.c */
void bm_read_context(bm_context *context);

/* console.c, json.c */
bm_reporter bm_console_reporter(int fd, int width);
bm_reporter bm_json_reporter(int fd);

#endif
