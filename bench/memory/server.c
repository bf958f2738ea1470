/*
 * memory-server LIVE_MIB DAYS STEPS
 *
 * Days of a server in a minute.  Three lifetimes share the heap: requests,
 * sixteen in flight, each of 20..80 small objects and a buffer, all freed at
 * its end; sessions of eight objects, which come and go at random and whose
 * number follows the hour, from a fifth of its maximum at night to all of it by
 * day; and a cache of a fixed number of bytes, from which the older of some
 * entries drawn at random goes when a new one needs room.  All sizes drift: over
 * three days they go from one half to double their first size and back.
 *
 * It models what the short benchmarks of allocators leave out: fragmentation
 * that needs a long time, many generations and a change of sizes to show.  That
 * objects of different lifetimes lie side by side is what it comes from (Maas
 * and others, "Learning-based Memory Allocation for C++ Server Workloads",
 * ASPLOS 2020); eviction by sampling is Redis's; the waves of a day are those
 * any public service has.
 *
 * The clock is the count of steps, so hours pass in a second: an allocator that
 * gives memory back by the wall clock gets fewer turns here than in a real day.
 */
#include "memory.h"

enum {
    IN_FLIGHT = 16,
    REQUEST_OBJECTS = 81,
    SESSION_OBJECTS = 8,
    DRIFT_DAYS = 3,
    EVICTION_DRAWS = 4,
    SAMPLES = 400,
    ONE = 1024 /* fractions of days and scales are in 1/1024 */
};

typedef struct request {
    int made, wanted;
    slot objects[REQUEST_OBJECTS];
} request;

typedef struct session {
    slot objects[SESSION_OBJECTS];
} session;

typedef struct entry {
    slot key, value;
    uint64_t used;
} entry;

static request *requests;
static session *sessions;
static entry *entries;
static uint32_t session_count, session_limit, entry_count, entry_limit;
static uint64_t cache_bytes, cache_limit;
static uint64_t seed = 77;
static uint32_t scale; /* of the sizes, now */

/* 0 at the whole numbers of `phase`, ONE half-way between. */
static uint32_t triangle(double phase)
{
    double part = phase - (double)(uint64_t)phase;

    return (uint32_t)(2 * ONE * (part < 0.5 ? part : 1 - part));
}

static uint32_t scaled(uint32_t size)
{
    uint32_t result = (uint32_t)((uint64_t)size * scale / ONE);

    return result < 8 ? 8 : result;
}

static void make_part(request *r, int count)
{
    for (; count > 0 && r->made < r->wanted; count--)
        slot_make(&r->objects[r->made++], scaled(mixed_size(&seed)));
}

static void end_request(request *r)
{
    while (r->made)
        slot_drop(&r->objects[--r->made]);
}

/* A request takes three steps: its first half, its second half, its end. */
static void step_request(void)
{
    request *r = &requests[random_below(&seed, IN_FLIGHT)];

    if (r->made == 0) {
        r->wanted = 21 + (int)random_below(&seed, 60);
        slot_make(&r->objects[r->made++], scaled(log_uniform(&seed, 12, 15)));
        make_part(r, r->wanted / 2);
    } else if (r->made < r->wanted) {
        make_part(r, r->wanted);
    } else {
        end_request(r);
    }
}

static void open_session(void)
{
    session *s = &sessions[session_count++];

    for (int i = 0; i < SESSION_OBJECTS; i++)
        slot_make(&s->objects[i], scaled(log_uniform(&seed, 5, 11)));
}

static void close_session(void)
{
    uint32_t place = random_below(&seed, session_count);

    for (int i = 0; i < SESSION_OBJECTS; i++)
        slot_drop(&sessions[place].objects[i]);
    sessions[place] = sessions[--session_count];
}

/* One leaves and one comes, and a few more as the hour wants it. */
static void step_sessions(double day)
{
    /* A quarter of a day ahead, so that a run begins and ends half-way. */
    uint32_t load = ONE / 5 + triangle(day + 0.25) * 4 / 5;
    uint32_t wanted = (uint32_t)((uint64_t)session_limit * load / ONE);

    if (session_count)
        close_session();
    for (int i = 0; i < 3 && session_count < wanted; i++)
        open_session();
    for (int i = 0; i < 3 && session_count > wanted; i++)
        close_session();
}

static uint32_t oldest_of_some(void)
{
    uint32_t oldest = random_below(&seed, entry_count);

    for (int i = 1; i < EVICTION_DRAWS; i++) {
        uint32_t other = random_below(&seed, entry_count);
        if (entries[other].used < entries[oldest].used)
            oldest = other;
    }
    return oldest;
}

static void evict(void)
{
    entry *e = &entries[oldest_of_some()];

    cache_bytes -= e->key.size + e->value.size;
    slot_drop(&e->key);
    slot_drop(&e->value);
    *e = entries[--entry_count];
}

static void step_cache(uint64_t now)
{
    uint32_t key = 16 + random_below(&seed, 48);
    uint32_t value = scaled(log_uniform(&seed, 7, 14));

    if (entry_count) /* a hit on some other entry */
        entries[random_below(&seed, entry_count)].used = now;
    while (entry_count &&
           (cache_bytes + key + value > cache_limit ||
            entry_count == entry_limit))
        evict();
    entry *e = &entries[entry_count++];
    slot_make(&e->key, key);
    slot_make(&e->value, value);
    e->used = now;
    cache_bytes += key + value;
}

static void make_tables(uint64_t live)
{
    /* At the mean scale of 1.25 a session is about 4.7 KiB. */
    session_limit = (uint32_t)(live * 35 / 100 / 4800);
    cache_limit = live * 60 / 100;
    entry_limit = (uint32_t)(cache_limit / 512);
    requests = table(IN_FLIGHT, sizeof *requests);
    sessions = table(session_limit + 8, sizeof *sessions);
    entries = table(entry_limit + 1, sizeof *entries);
}

/* What the samples are made into. */
static struct {
    double worst, sum;
    int count;
    uint64_t first_kb, last_kb;
} seen;

static void sample(double day, uint64_t days)
{
    uint64_t kb = report_sample();
    double ratio = per_live(kb, live_bytes);

    if (day < DRIFT_DAYS && kb > seen.first_kb)
        seen.first_kb = kb;
    if (day > (double)days - DRIFT_DAYS && kb > seen.last_kb)
        seen.last_kb = kb;
    if (day < 1) /* the cache still fills */
        return;
    seen.worst = ratio > seen.worst ? ratio : seen.worst;
    seen.sum += ratio;
    seen.count++;
}

static void serve(uint64_t days, uint64_t steps)
{
    uint64_t interval = steps / SAMPLES ? steps / SAMPLES : 1;

    for (uint64_t now = 0; now < steps; now++) {
        double day = (double)now * (double)days / (double)steps;
        scale = ONE / 2 + triangle(day / DRIFT_DAYS) * 3 / 2;
        step_request();
        step_sessions(day);
        step_cache(now);
        if (now % interval == interval - 1)
            sample(day, days);
    }
}

static void drop_everything(void)
{
    for (int i = 0; i < IN_FLIGHT; i++)
        end_request(&requests[i]);
    while (session_count)
        close_session();
    while (entry_count)
        evict();
}

int main(int argc, char **argv)
{
    uint64_t live = argument(argc, argv, 1, 4, 65536) * MIB;
    uint64_t days = argument(argc, argv, 2, DRIFT_DAYS, 10000);
    uint64_t steps = argument(argc, argv, 3, 1000, UINT64_C(1) << 40);

    make_tables(live);
    heap_begin();
    int64_t began = cpu_ns();
    serve(days, steps);
    report_time((double)(cpu_ns() - began) / (double)objects_made);
    report_figure("final rss/live", per_live(heap_kb(), live_bytes));
    report_figure("worst rss/live", seen.worst);
    report_figure("mean rss/live", seen.sum / seen.count);
    report_figure("rss last/first days",
                  (double)seen.last_kb / (double)seen.first_kb);
    drop_everything();
    report_figure("rss when empty MB", megabytes(report_sample()));
    report_send();
    return 0;
}
