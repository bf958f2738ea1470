/* bench-runner: runs one program many times under several allocators. */
#ifndef RUNNER_H
#define RUNNER_H

#include <stdint.h>

enum { MAX_VARIANTS = 32, MAX_RUNS = 100000 };

/* One allocator: its name, and the environment which preloads it. */
typedef struct variant {
    const char *name;
    char *preload; /* "LD_PRELOAD=...", NULL for none */
    char **environment;
} variant;

typedef struct plan {
    int runs, warmup;
    int timeout; /* seconds for one run */
    int variant_count;
    variant variants[MAX_VARIANTS];
    const char *input, *output; /* NULL: /dev/null */
    const char *errors;         /* NULL: where this program's stderr goes */
    char **command;
} plan;

typedef struct sample {
    int64_t wall_ns;
    int64_t user_ns, system_ns;
    long minor_faults, major_faults;
    long peak_rss_kb;
    long voluntary_switches;
    int status; /* as wait4 gives it */
    int variant;
} sample;

/* plan.c: NULL when well, else a message of one line. */
const char *read_plan(plan *out, int argc, char **argv, char **environment);

/* spawn.c: 0, or an errno value when the program could not be started. */
int run_once(const plan *what, int variant_index, sample *out);

#endif
