/*
 * A trace prepared for replay: for each thread replayed, an array of words.
 *
 *   kind | slot << 4 | size << 32, and for some kinds words which follow.
 *
 * A slot is where the replay keeps a block's address; those of dead blocks are
 * used again, so that the table stays as small as the live set.  A block which
 * ends in another thread than it began in has a slot of its own, so that the
 * other can see by the slot whether it has been made.
 */
#ifndef TRACE_SCRIPT_H
#define TRACE_SCRIPT_H

#include "util.h"

#define SCRIPT_MAGIC "bslabrpl"
#define SAMPLES 65 /* RSS is read so often; the last is at the live peak */
#define NO_SLOT ((UINT32_C(1) << 28) - 1)
#define MAX_STREAMS 4096

enum { SCRIPT_VERSION = 1, SCRIPT_PAGE = 4096 };

typedef enum script_kind {
    SCRIPT_END,
    SCRIPT_MALLOC,
    SCRIPT_CALLOC,
    SCRIPT_FREE,
    SCRIPT_FREE_WAIT, /* once its thread has made it */
    SCRIPT_REALLOC, /* + old slot | old size << 32 */
    SCRIPT_REALLOC_WAIT,
    SCRIPT_WIDE, /* the rest: see wide_operation */
    SCRIPT_SAMPLE, /* size: its number */
    SCRIPT_SPAWN, /* size: the stream */
    SCRIPT_PROGRESS /* + the index of this thread's next operation */
} script_kind;

typedef enum wide_call {
    WIDE_MALLOC,
    WIDE_CALLOC,
    WIDE_REALLOC,
    WIDE_REALLOC_WAIT,
    WIDE_ALIGNED_ALLOC,
    WIDE_MEMALIGN,
    WIDE_POSIX_MEMALIGN
} wide_call;

/* Aligned, or of 4 GiB and more; the call is in the first word's size. */
typedef struct wide_operation {
    uint64_t word;
    uint64_t size;
    uint64_t old_size;
    uint32_t old_slot;
    uint32_t align_shift;
} wide_operation;

typedef struct script_stream {
    uint64_t offset; /* in the file */
    uint64_t words; /* with END */
    uint64_t first; /* index of its first operation */
    uint64_t thread; /* as recorded */
} script_stream;

typedef struct script_header {
    char magic[8];
    uint32_t version;
    uint32_t streams;
    uint64_t file_bytes;
    uint64_t operations;
    uint64_t slots;
    uint64_t peak_live_bytes;
    uint64_t window; /* operations one thread may be ahead of another */
    uint64_t checksum; /* of all, being 0 itself */
    uint64_t sample_live[SAMPLES]; /* bytes, when each is taken */
    char program[256];
} script_header; /* then the streams; each array on a page of its own */

static inline uint64_t script_word(script_kind kind, uint32_t slot,
                                   uint32_t size)
{
    return (uint64_t)kind | (uint64_t)slot << 4 | (uint64_t)size << 32;
}

static inline script_kind word_kind(uint64_t word)
{
    return (script_kind)(word & 15);
}

static inline uint32_t word_slot(uint64_t word)
{
    return (uint32_t)word >> 4;
}

static inline uint32_t word_size(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

/* From 0: the header, the table of streams, then each stream. */
static inline uint64_t script_checksum(uint64_t so_far, const uint64_t *words,
                                       uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        so_far = (so_far ^ words[i]) * UINT64_C(0x9E3779B97F4A7C15) +
                 (so_far >> 47);
    return so_far;
}

/* Words of an operation, with the first. */
static inline unsigned script_words(script_kind kind)
{
    switch (kind) {
    case SCRIPT_REALLOC:
    case SCRIPT_REALLOC_WAIT:
    case SCRIPT_PROGRESS: return 2;
    case SCRIPT_WIDE: return sizeof(wide_operation) / sizeof(uint64_t);
    default: return 1;
    }
}

typedef struct script {
    mapped_file file;
    const script_header *header;
    const script_stream *streams;
} script;

/* Fails, with a line, if it is not what trace-prepare wrote. */
script open_script(const char *path);

static inline const uint64_t *stream_words(const script *from,
                                           const script_stream *stream)
{
    return (const uint64_t *)(const void *)(from->file.data + stream->offset);
}

#endif
