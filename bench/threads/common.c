/* What common.h declares: no workload of its own. */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 64 << 10 };

uint8_t octave_of[128];

/* 9 octaves; the last two, 2 to 4 KiB and 4 to 8 KiB, have one ticket each. */
static const uint8_t tickets[] = {50, 32, 20, 11, 8, 4, 1, 1, 1};

__attribute__((constructor)) static void deal_tickets(void)
{
    size_t next = 0;

    for (size_t octave = 0; octave < sizeof tickets; octave++)
        for (int i = 0; i < tickets[octave]; i++)
            octave_of[next++] = (uint8_t)octave;
}

/* _exit: other threads are at work, and what atexit would run is the allocator's. */
void die(int status, const char *what)
{
    dprintf(STDERR_FILENO, "error: %s\n", what);
    _exit(status);
}

long number(int argc, char **argv, int index, long low, long high, const char *usage)
{
    char *end;

    if (index >= argc)
        die(BAD_USAGE, usage);
    long value = strtol(argv[index], &end, 10);
    if (end == argv[index] || *end || value < low || value > high)
        die(BAD_USAGE, usage);
    return value;
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void *scratch(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        die(OUT_OF_MEMORY, "mmap failed");
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    return memory;
}

long resident_kb(void)
{
    char text[2048] = "";
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);

    if (file >= 0) {
        ssize_t got = read(file, text, sizeof text - 1);
        close(file);
        text[got > 0 ? got : 0] = '\0';
    }
    const char *line = strstr(text, "Rss:");
    return line ? strtol(line + 4, NULL, 10) : 0;
}

pthread_t start_thread(void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    if (error) {
        char what[128];
        snprintf(what, sizeof what, "a thread could not be started: %s", strerrordesc_np(error));
        die(NO_THREAD, what);
    }
    return thread;
}

int processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

static int64_t page_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

span begin_span(void)
{
    return (span){now_ns(CLOCK_MONOTONIC), now_ns(CLOCK_PROCESS_CPUTIME_ID), page_faults()};
}

span end_span(span began)
{
    span now = begin_span();

    return (span){now.wall - began.wall, now.cpu - began.cpu, now.faults - began.faults};
}

static struct {
    crew_work *work;
    int bound;
    pthread_barrier_t ready, done;
    pthread_t threads[MAX_THREADS];
    int64_t started[MAX_THREADS], stopped[MAX_THREADS];
    span all; /* of one thread's reading at the start; at the end, what passed since */
} crew;

static void bind_to_processor(int nth)
{
    cpu_set_t all, one;

    if (sched_getaffinity(0, sizeof all, &all))
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all) || nth-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

/* The barrier picks one thread to read what is of all. */
void clock_in(int index)
{
    if (pthread_barrier_wait(&crew.ready) == PTHREAD_BARRIER_SERIAL_THREAD)
        crew.all = begin_span();
    crew.started[index] = now_ns(CLOCK_MONOTONIC);
}

void clock_out(int index)
{
    crew.stopped[index] = now_ns(CLOCK_MONOTONIC);
    if (pthread_barrier_wait(&crew.done) == PTHREAD_BARRIER_SERIAL_THREAD)
        crew.all = end_span(crew.all);
}

static void *run_member(void *argument)
{
    int index = (int)(intptr_t)argument;

    if (crew.bound)
        bind_to_processor(index % crew.bound);
    crew.work(index);
    return NULL;
}

span run_crew(int count, placement where, crew_work *work)
{
    int room = processors();

    crew.bound = count > 1 && (where == SPREAD || count <= room) ? room : 0;
    crew.work = work;
    pthread_barrier_init(&crew.ready, NULL, (unsigned)count);
    pthread_barrier_init(&crew.done, NULL, (unsigned)count);
    for (int i = 0; i < count; i++)
        crew.threads[i] = start_thread(run_member, (void *)(intptr_t)i);
    for (int i = 0; i < count; i++)
        pthread_join(crew.threads[i], NULL);
    int64_t first = crew.started[0], last = crew.stopped[0];
    for (int i = 1; i < count; i++) {
        first = crew.started[i] < first ? crew.started[i] : first;
        last = crew.stopped[i] > last ? crew.stopped[i] : last;
    }
    return (span){last - first, crew.all.cpu, crew.all.faults};
}

void report(span took, uint64_t operations, int active, figure more)
{
    int running = active < processors() ? active : processors();
    double count = (double)operations;
    char extra[128] = "";

    if (more.name)
        snprintf(extra, sizeof extra, ", \"%s\": %.6g", more.name, more.value);
    dprintf(STDOUT_FILENO,
            "{\"time_ns\": %.4f, \"figures\": {\"throughput ops/s\": %.0f, \"cpu ns\": %.4f, \"faults/op\": %.6g%s}}\n",
            (double)took.wall * running / count, count * 1e9 / (double)took.wall, (double)took.cpu / count,
            (double)took.faults / count, extra);
}
