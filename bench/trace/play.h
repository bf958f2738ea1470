/* The measured part of the replay. */
#ifndef TRACE_PLAY_H
#define TRACE_PLAY_H

#include "script.h"

typedef enum touch {
    TOUCH_NONE,
    TOUCH_FIRST, /* the first line */
    TOUCH_PAGES, /* and a byte in each further page */
    TOUCH_LINES, /* a byte in each line */
    TOUCH_ALL
} touch;

typedef struct play_sample {
    int64_t time_ns; /* since the start: CPU time, with threads wall time */
    int64_t rss_kb;
} play_sample;

typedef struct player {
    const script *script;
    touch touch;
    bool check; /* the contents of every block, at its end */
    void **slots;
    uint64_t *sizes; /* by slot; only for check */
    play_sample samples[SAMPLES];
    int64_t began_ns, began_cpu_ns;
    int64_t wall_ns, cpu_ns; /* of all, without the samples; CPU also
                                without waits */
    int64_t sampling_wall_ns, sampling_cpu_ns;
} player;

void play(player *self);

#endif
