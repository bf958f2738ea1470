/*
 * Usage: trace-prepare [--threads] TRACE OUTPUT
 *
 * Turns a recorded trace into what trace-replay runs: addresses become slots
 * of a table, and nothing is left to be looked up.  Without --threads all
 * operations are one stream, in the order recorded.  With it each recorded
 * thread has its own, and order is kept where it matters: a block is not ended
 * before its thread has made it, a thread starts when it did, and none gets
 * further ahead of another than a window, for in the program something held
 * it back (a queue which was full, an answer not yet there).
 *
 * Progress is published every quarter of a window, so that the one which waits
 * for the window is never waited for by the one it waits for.
 */
#include "script.h"
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    WINDOW = 16384, /* operations */
    RUN = 512, /* slots a thread takes at once: no line is shared by two */
};

/* A thread's fresh slots: for what it keeps, for what others will end. */
typedef struct slot_run {
    uint32_t next, end;
} slot_run;

typedef struct stream {
    uint64_t *words;
    uint64_t used;
    uint64_t operations; /* counted by the first walk */
    uint64_t first;
    uint64_t published;
    slot_run own, crossing;
    uint32_t unused; /* its dead blocks' slots, a list; NO_SLOT ends it */
} stream;

typedef struct preparation {
    bool threads;
    stream *streams; /* by recorded thread; else all is in [1] */
    uint32_t stream_count;
    bool *crosses; /* by block */
    uint32_t *next_unused; /* by slot */
    uint64_t slots;
    walk_totals totals; /* of the first walk */
    uint64_t live_bytes;
    uint32_t samples;
    stream *last; /* whose operation was the one before */
    script_header header;
} preparation;

static stream *stream_of(preparation *self, const operation *what)
{
    return &self->streams[self->threads ? what->thread : 1];
}

/* The first walk. */
static void survey(void *context, const operation *what)
{
    preparation *self = context;
    stream *own = stream_of(self, what);

    if (own->operations++ == 0)
        own->first = own->published = what->index;
    if (self->threads && what->gone && what->gone->thread != what->thread)
        self->crosses[what->gone->id] = true;
}

static void put(stream *own, uint64_t word)
{
    own->words[own->used++] = word;
}

static uint32_t fresh_slot(preparation *self, slot_run *run)
{
    if (run->next == run->end) {
        run->next = (uint32_t)self->slots;
        run->end = run->next + RUN;
        self->slots += RUN;
        if (self->slots >= NO_SLOT)
            fail("more than 2^28 blocks at a time");
    }
    return run->next++;
}

static uint32_t take_slot(preparation *self, stream *own, bool crosses)
{
    uint32_t slot = own->unused;

    if (crosses)
        return fresh_slot(self, &own->crossing);
    if (slot == NO_SLOT)
        return fresh_slot(self, &own->own);
    own->unused = self->next_unused[slot];
    return slot;
}

static void give_slot(preparation *self, stream *own, const block *gone)
{
    if (self->crosses[gone->id])
        return;
    self->next_unused[gone->tag] = own->unused;
    own->unused = gone->tag;
}

static void put_free(preparation *self, stream *own, const operation *what)
{
    bool waits = self->crosses[what->gone->id];

    put(own, script_word(waits ? SCRIPT_FREE_WAIT : SCRIPT_FREE,
                         what->gone->tag, 0));
    give_slot(self, own, what->gone);
}

static wide_call wide_call_of(operation_kind kind, bool waits)
{
    switch (kind) {
    case OP_CALLOC: return WIDE_CALLOC;
    case OP_REALLOC: return waits ? WIDE_REALLOC_WAIT : WIDE_REALLOC;
    case OP_ALIGNED_ALLOC: return WIDE_ALIGNED_ALLOC;
    case OP_MEMALIGN: return WIDE_MEMALIGN;
    case OP_POSIX_MEMALIGN: return WIDE_POSIX_MEMALIGN;
    default: return WIDE_MALLOC;
    }
}

static void put_wide(stream *own, const operation *what, uint64_t size,
                     bool waits)
{
    wide_operation wide = {
        .word = script_word(SCRIPT_WIDE, what->made->tag,
                            wide_call_of(what->kind, waits)),
        .size = size,
        .old_size = what->gone ? what->gone->size : 0,
        .old_slot = what->gone ? what->gone->tag : NO_SLOT,
        .align_shift = (uint32_t)__builtin_ctzll(what->alignment),
    };

    memcpy(own->words + own->used, &wide, sizeof wide);
    own->used += sizeof wide / sizeof *own->words;
}

static void put_realloc(stream *own, const operation *what, uint32_t size,
                        bool waits)
{
    uint64_t old_size = what->gone ? what->gone->size : 0;
    uint32_t old_slot = what->gone ? what->gone->tag : NO_SLOT;

    put(own, script_word(waits ? SCRIPT_REALLOC_WAIT : SCRIPT_REALLOC,
                         what->made->tag, size));
    put(own, old_slot | old_size << 32);
}

/* A realloc within one thread leaves the block in its slot. */
static void choose_slot(preparation *self, stream *own, const operation *what)
{
    bool crosses = self->crosses[what->made->id];
    bool crossed = what->gone && self->crosses[what->gone->id];

    if (what->gone && !crosses && !crossed)
        what->made->tag = what->gone->tag;
    else
        what->made->tag = take_slot(self, own, crosses);
}

static void put_made(preparation *self, stream *own, const operation *what)
{
    bool crosses = self->crosses[what->made->id];
    bool waits = what->gone && self->crosses[what->gone->id];
    /* A block which is waited for must not be NULL. */
    uint64_t size = what->made->size + (crosses && what->made->size == 0);
    bool wide = size > UINT32_MAX ||
                (what->gone && what->gone->size > UINT32_MAX);

    choose_slot(self, own, what);
    if (wide || (what->kind != OP_MALLOC && what->kind != OP_CALLOC &&
                 what->kind != OP_REALLOC))
        put_wide(own, what, size, waits);
    else if (what->kind == OP_REALLOC)
        put_realloc(own, what, (uint32_t)size, waits);
    else
        put(own, script_word(what->kind == OP_MALLOC ? SCRIPT_MALLOC
                                                     : SCRIPT_CALLOC,
                             what->made->tag, (uint32_t)size));
    if (what->gone && what->gone->tag != what->made->tag)
        give_slot(self, own, what->gone);
}

static void put_sample(preparation *self, stream *own, uint32_t number)
{
    self->header.sample_live[number] = self->live_bytes;
    put(own, script_word(SCRIPT_SAMPLE, 0, number));
}

/* Evenly over the operations; the last number is kept for the peak. */
static bool is_sampled(const preparation *self, uint64_t index)
{
    return self->samples < SAMPLES - 1 &&
           index >= self->totals.operations * (self->samples + 1) /
                        (SAMPLES - 1) - 1;
}

/* By whoever ran the operation before; who really did is not recorded. */
static void spawn(preparation *self, stream *new)
{
    if (self->last)
        put(self->last, script_word(SCRIPT_SPAWN, 0,
                                    (uint32_t)(new - self->streams)));
}

static void publish(stream *own, uint64_t index)
{
    if (index - own->published < WINDOW / 4)
        return;
    own->published = index;
    put(own, script_word(SCRIPT_PROGRESS, 0, 0));
    put(own, index);
}

/* The second walk. */
static void compile(void *context, const operation *what)
{
    preparation *self = context;
    stream *own = stream_of(self, what);

    if (self->threads && own->first == what->index)
        spawn(self, own);
    if (self->threads)
        publish(own, what->index);
    if (what->made)
        put_made(self, own, what);
    else
        put_free(self, own, what);
    self->live_bytes = what->live_bytes;
    self->last = own;
    if (is_sampled(self, what->index))
        put_sample(self, own, self->samples++);
    if (what->index == self->totals.peak_index)
        put_sample(self, own, SAMPLES - 1);
}

/* Each operation is of at most four words, with two of progress before. */
static void make_room(preparation *self, uint32_t threads)
{
    for (uint32_t i = 1; i <= threads; i++) {
        stream *own = &self->streams[i];
        uint64_t most = own->operations * 6 + SAMPLES + threads + 1;
        if (own->operations)
            own->words = pages(most * sizeof(uint64_t));
        own->unused = NO_SLOT;
    }
    uint64_t slots = self->totals.blocks + (threads + 1) * 2 * RUN;
    self->next_unused = pages(slots * sizeof *self->next_unused);
}

static void write_at(int file, const char *path, const void *data,
                     uint64_t bytes, uint64_t offset)
{
    const char *from = data;

    while (bytes) {
        ssize_t done = pwrite(file, from, bytes, (off_t)offset);
        if (done <= 0)
            fail("%s: %s", path, done ? strerror(errno) : "cannot write");
        from += done;
        bytes -= (uint64_t)done;
        offset += (uint64_t)done;
    }
}

static uint64_t page_up(uint64_t bytes)
{
    return (bytes + SCRIPT_PAGE - 1) / SCRIPT_PAGE * SCRIPT_PAGE;
}

/* Streams in the order of their first operations: the first is main's. */
static uint32_t order_streams(preparation *self, uint32_t threads,
                              stream **out, uint32_t *number)
{
    uint32_t count = 0;

    for (uint32_t i = 1; i <= threads; i++) {
        stream *own = &self->streams[i];
        uint32_t at = count;
        if (!own->operations)
            continue;
        if (count++ == MAX_STREAMS)
            fail("more than %d threads", MAX_STREAMS);
        for (; at > 0 && out[at - 1]->first > own->first; at--)
            out[at] = out[at - 1];
        out[at] = own;
    }
    for (uint32_t i = 0; i < count; i++)
        number[out[i] - self->streams] = i;
    return count;
}

/* SPAWN names a recorded thread until the streams have their numbers. */
static void number_spawns(stream *own, const uint32_t *number)
{
    for (uint64_t at = 0; at < own->used;
         at += script_words(word_kind(own->words[at])))
        if (word_kind(own->words[at]) == SCRIPT_SPAWN)
            own->words[at] = script_word(SCRIPT_SPAWN, 0,
                                         number[word_size(own->words[at])]);
}

static void fill_header(preparation *self, const trace *from, uint32_t count)
{
    script_header *header = &self->header;

    memcpy(header->magic, SCRIPT_MAGIC, sizeof header->magic);
    header->version = SCRIPT_VERSION;
    header->streams = count;
    header->operations = self->totals.operations;
    header->slots = self->slots;
    header->peak_live_bytes = self->totals.peak_bytes;
    header->window = WINDOW;
    memcpy(header->program, from->header->program, sizeof header->program);
}

static uint64_t checksum_of(const preparation *self, stream **order,
                            const script_stream *table)
{
    const uint64_t *head = (const uint64_t *)&self->header;
    uint64_t sum = script_checksum(0, head, sizeof self->header / sizeof sum);

    sum = script_checksum(sum, (const uint64_t *)table,
                          self->header.streams * sizeof *table / sizeof sum);
    for (uint32_t i = 0; i < self->header.streams; i++)
        sum = script_checksum(sum, order[i]->words, order[i]->used);
    return sum;
}

/* The head is written last: until then the file is not a prepared trace. */
static void write_script(preparation *self, const trace *from,
                         const char *path)
{
    static stream *order[MAX_STREAMS + 1];
    static script_stream table[MAX_STREAMS];
    uint32_t *number = pages((from->threads + 1) * sizeof *number);
    uint32_t count = order_streams(self, from->threads, order, number);
    uint64_t table_bytes = count * sizeof *table;
    uint64_t offset = page_up(sizeof self->header + table_bytes);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (file < 0)
        fail("%s: %s", path, strerror(errno));
    for (uint32_t i = 0; i < count; i++) {
        stream *own = order[i];
        put(own, script_word(SCRIPT_END, 0, 0));
        number_spawns(own, number);
        table[i] = (script_stream){offset, own->used, own->first,
                                   (uint64_t)(own - self->streams)};
        write_at(file, path, own->words, own->used * sizeof(uint64_t), offset);
        offset = page_up(offset + own->used * sizeof(uint64_t));
    }
    fill_header(self, from, count);
    self->header.file_bytes = offset;
    self->header.checksum = checksum_of(self, order, table);
    write_at(file, path, &self->header, sizeof self->header, 0);
    write_at(file, path, table, table_bytes, sizeof self->header);
    if (ftruncate(file, (off_t)offset) != 0 || close(file) != 0)
        fail("%s: %s", path, strerror(errno));
}

int main(int argc, char **argv)
{
    preparation self = {.threads = argc > 1 &&
                                   strcmp(argv[1], "--threads") == 0};

    program_name = "trace-prepare";
    if (argc != 3 + self.threads)
        fail("usage: trace-prepare [--threads] TRACE OUTPUT");
    trace from = open_trace(argv[argc - 2]);
    self.streams = pages((from.threads + 2) * sizeof(stream));
    self.crosses = pages(from.records + 1);
    self.totals = walk(&from, survey, &self);
    if (self.totals.peak_bytes == 0)
        fail("%s: nothing was allocated", argv[argc - 2]);
    make_room(&self, from.threads);
    walk(&from, compile, &self);
    write_script(&self, &from, argv[argc - 1]);
    return 0;
}
