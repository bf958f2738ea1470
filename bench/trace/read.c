/*
 * Reads what the recorder wrote, trusting nothing: a trace may have been cut
 * short by a copy, or be another file altogether.
 */
#include "read.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

/* Where a ticket's record is, in records from the file's start; 0: nowhere. */
typedef struct place {
    uint32_t record;
    uint32_t thread;
} place;

/* Called for each chunk; then for each record, where a pass wants them. */
typedef void record_visitor(trace *self, const chunk_header *chunk,
                            const trace_record *record);

static void check_header(const trace *self)
{
    const char *path = self->file.path;
    const trace_header *header = self->header;

    if (memcmp(header->magic, TRACE_MAGIC, sizeof header->magic) != 0)
        fail("%s: not a trace", path);
    if (header->version != TRACE_VERSION)
        fail("%s: version %u; this reads version %d", path, header->version,
             TRACE_VERSION);
    if (header->header_bytes != TRACE_PAGE ||
        header->record_bytes != sizeof(trace_record))
        fail("%s: damaged header", path);
    if (self->file.bytes / sizeof(trace_record) > UINT32_MAX)
        fail("%s: longer than 64 GiB", path);
}

static bool all_zero(const char *data, size_t bytes)
{
    return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}

static const chunk_header *chunk_at(const trace *self, size_t offset)
{
    const chunk_header *chunk = (const void *)(self->file.data + offset);
    size_t left = self->file.bytes - offset;

    if (left < TRACE_PAGE)
        fail("%s: truncated at byte %zu", self->file.path, offset);
    /* Reserved when the process ended, or not yet reached. */
    if (chunk->magic == 0 && all_zero((const char *)chunk, TRACE_PAGE))
        return NULL;
    if (chunk->magic != CHUNK_MAGIC || chunk->bytes % TRACE_PAGE != 0 ||
        chunk->bytes < CHUNK_MIN || chunk->bytes > CHUNK_MAX ||
        chunk->thread == 0)
        fail("%s: damaged chunk at byte %zu", self->file.path, offset);
    if (chunk->bytes > left)
        fail("%s: truncated within the chunk at byte %zu", self->file.path,
             offset);
    return chunk;
}

static void visit_chunk(trace *self, const chunk_header *chunk,
                        record_visitor *visit)
{
    const trace_record *record = (const void *)(chunk + 1);
    const trace_record *end =
        (const void *)((const char *)chunk + chunk->bytes);

    for (; record < end && record->what; record++) {
        record_kind kind = record_kind_of(record);
        if (kind == RECORD_SIZE)
            continue;
        bool follows = record->size == SIZE_FOLLOWS;
        if (kind == RECORD_NONE || kind >= RECORD_KINDS ||
            record->ticket >= UINT64_MAX - chunk->base ||
            (follows && (record + 1 == end ||
                         record_kind_of(record + 1) != RECORD_SIZE)))
            fail("%s: damaged record at byte %zu", self->file.path,
                 (size_t)((const char *)record - self->file.data));
        visit(self, chunk, record);
    }
}

static void visit_records(trace *self, record_visitor *visit)
{
    size_t offset = self->header->header_bytes;

    while (offset < self->file.bytes) {
        const chunk_header *chunk = chunk_at(self, offset);
        if (chunk)
            visit_chunk(self, chunk, visit);
        offset += chunk ? chunk->bytes : TRACE_PAGE;
    }
}

static void count(trace *self, const chunk_header *chunk,
                  const trace_record *record)
{
    uint64_t ticket = chunk->base + record->ticket;

    if (ticket >= self->tickets)
        self->tickets = ticket + 1;
    if (chunk->thread > self->threads)
        self->threads = chunk->thread;
    self->records++;
}

static void put_in_order(trace *self, const chunk_header *chunk,
                         const trace_record *record)
{
    uint64_t ticket = chunk->base + record->ticket;
    size_t offset = (size_t)((const char *)record - self->file.data);
    place *at = &self->order[ticket];

    if (at->record)
        fail("%s: damaged: ticket %" PRIu64 " twice", self->file.path, ticket);
    *at = (place){(uint32_t)(offset / sizeof *record), chunk->thread};
}

/* A ticket without a record is one of a thread cut off between the two. */
static void check_counts(const trace *self)
{
    if (self->tickets > UINT32_MAX)
        fail("%s: more than 2^32 operations", self->file.path);
    if (self->threads > self->file.bytes / CHUNK_MIN ||
        self->tickets - self->records > self->threads)
        fail("%s: damaged: %" PRIu64 " tickets, but %" PRIu64 " records",
             self->file.path, self->tickets, self->records);
}

trace open_trace(const char *path)
{
    trace self = {.file = map_file(path, TRACE_PAGE, MAP_PRIVATE)};

    self.header = (const void *)self.file.data;
    check_header(&self);
    visit_records(&self, count);
    check_counts(&self);
    self.order = pages(self.tickets * sizeof(place));
    visit_records(&self, put_in_order);
    return self;
}

event event_at(const trace *from, uint64_t ticket)
{
    const place *at = &from->order[ticket];
    const trace_record *record = (const trace_record *)from->file.data +
                                 at->record;

    if (!at->record)
        return (event){.kind = RECORD_NONE};
    bool follows = record->size == SIZE_FOLLOWS;
    return (event){
        .kind = record_kind_of(record),
        .thread = at->thread,
        .address = record_address(record),
        .size = follows ? record_address(record + 1) : record->size,
        .alignment = UINT64_C(1) << record_align_shift(record),
    };
}
