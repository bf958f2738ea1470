/*
 * Usage: bench-load PROTOCOL SOCKET CONNECTIONS DEPTH REQUESTS KEYS
 *
 * A client in a closed loop: each of CONNECTIONS to the Unix socket sends DEPTH requests at once, reads all the answers
 * and sends the next, until REQUESTS are done.  One thread and little work for each answer, so that what is slow is the
 * server; every answer is checked, and a wrong one ends the run.  The loop is that of memtier_benchmark and of
 * redis-benchmark -P.  Latency is from the writing of a request to the reading of its answer, so it holds the wait
 * behind those of the same batch.
 *
 * Prints one line of JSON for the suite.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_DEPTH = 16 };

typedef struct {
    int socket;
    int outstanding;
    int64_t sent_ns;
    uint64_t random;
    size_t have;
    char in[MAX_ANSWER];
} connection;

typedef struct {
    const protocol *speaks;
    const char *path;
    int connections, depth;
    uint64_t requests, keys;
} plan;

static uint64_t issued, answered, missed;
static uint32_t *latencies; /* in ns, of each answer */

static void fail(const char *what, const char *reason)
{
    fprintf(stderr, "bench-load: %s%s%s\n", what, reason ? ": " : "", reason ? reason : "");
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof address.sun_path)
        fail("the path of the socket is too long", path);
    strcpy(address.sun_path, path);
    if (made < 0 || connect(made, (struct sockaddr *)&address, sizeof address) != 0)
        fail(path, strerror(errno));
    return made;
}

/* Blocking: a batch and its answers are smaller than the socket's buffers, so both sides cannot wait for each other. */
static void send_all(int socket, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(socket, data, size, MSG_NOSIGNAL);
        if (sent < 0)
            fail("send", strerror(errno));
        data += sent;
        size -= (size_t)sent;
    }
}

static void send_batch(const plan *what, connection *c)
{
    static char batch[MAX_DEPTH * MAX_REQUEST];
    size_t size = 0;

    for (; c->outstanding < what->depth && issued < what->requests; c->outstanding++, issued++)
        size += what->speaks->request(batch + size, next_random(&c->random), what->keys);
    c->sent_ns = now_ns();
    send_all(c->socket, batch, size);
}

static void receive(connection *c)
{
    if (c->have == sizeof c->in)
        fail("an answer is too long", NULL);
    ssize_t got = recv(c->socket, c->in + c->have, sizeof c->in - c->have, 0);
    if (got <= 0)
        fail("the server closed a connection", got < 0 ? strerror(errno) : NULL);
    c->have += (size_t)got;
}

/* How many whole answers there were. */
static int take_answers(const plan *what, connection *c)
{
    size_t at = 0;
    int count = 0;

    while (at < c->have) {
        ptrdiff_t size = what->speaks->answer(c->in + at, c->have - at, &missed);
        if (size < 0)
            fail("a wrong answer", NULL);
        if (size == 0)
            break;
        at += (size_t)size;
        count++;
    }
    memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
    return count;
}

static void serve(const plan *what, connection *c)
{
    receive(c);
    int count = take_answers(what, c);
    int64_t took = now_ns() - c->sent_ns;

    if (count > c->outstanding)
        fail("an answer to nothing", NULL);
    for (int i = 0; i < count; i++)
        latencies[answered++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    c->outstanding -= count;
    if (c->outstanding == 0 && issued < what->requests)
        send_batch(what, c);
}

static connection *open_connections(const plan *what, int poll)
{
    connection *all = calloc((size_t)what->connections, sizeof *all);

    if (!all)
        fail("out of memory", NULL);
    for (int i = 0; i < what->connections; i++) {
        all[i].socket = open_socket(what->path);
        all[i].random = (uint64_t)i << 32;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].socket, &event) != 0)
            fail("epoll_ctl", strerror(errno));
    }
    return all;
}

static void fill(const plan *what, connection *c)
{
    static char request[MAX_REQUEST];
    size_t size;

    for (uint64_t i = 0; (size = what->speaks->fill(request, i, what->keys)) > 0; i++) {
        send_all(c->socket, request, size);
        do
            receive(c);
        while (take_answers(what, c) == 0);
    }
    missed = 0;
}

static void loop(const plan *what, connection *all, int poll)
{
    struct epoll_event events[64];

    for (int i = 0; i < what->connections; i++)
        send_batch(what, &all[i]);
    while (answered < what->requests) {
        int count = epoll_wait(poll, events, 64, -1);
        if (count < 0)
            fail("epoll_wait", strerror(errno));
        for (int i = 0; i < count; i++)
            serve(what, events[i].data.ptr);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void report(const plan *what, int64_t took)
{
    double count = (double)what->requests;

    qsort(latencies, what->requests, sizeof *latencies, compare);
    printf("{\"time_ns\": %.3f, \"figures\": {\"throughput requests/s\": %.1f, \"p50 us\": %.2f, \"p99 us\": %.2f, "
           "\"misses per 1000\": %.3f}}\n",
           (double)took / count, count * 1e9 / (double)took, latencies[what->requests / 2] / 1e3,
           latencies[what->requests * 99 / 100] / 1e3, (double)missed * 1000 / count);
}

static uint64_t number(const char *text, uint64_t most)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (*end || value < 1 || value > most)
        fail("not a number, or too large", text);
    return value;
}

static plan read_plan(int argc, char **argv)
{
    if (argc != 7)
        fail("usage: bench-load memcached|http SOCKET CONNECTIONS DEPTH REQUESTS KEYS", NULL);
    plan what = {.path = argv[2], .connections = (int)number(argv[3], 1000), .depth = (int)number(argv[4], MAX_DEPTH),
                 .requests = number(argv[5], 1000000000), .keys = number(argv[6], 1000000000)};
    if (strcmp(argv[1], memcached_protocol.name) == 0)
        what.speaks = &memcached_protocol;
    else if (strcmp(argv[1], http_protocol.name) == 0)
        what.speaks = &http_protocol;
    else
        fail("unknown protocol", argv[1]);
    return what;
}

int main(int argc, char **argv)
{
    plan what = read_plan(argc, argv);
    int poll = epoll_create1(EPOLL_CLOEXEC);

    /* Touched beforehand: no page fault while the clock runs. */
    latencies = malloc(what.requests * sizeof *latencies);
    if (!latencies || poll < 0)
        fail("out of memory", NULL);
    memset(latencies, 0, what.requests * sizeof *latencies);
    connection *all = open_connections(&what, poll);
    fill(&what, &all[0]);
    int64_t began = now_ns();
    loop(&what, all, poll);
    report(&what, now_ns() - began);
    return 0;
}
