/*
 * The trace as the recorder writes it.  README.md has the same in words.
 *
 * A header of one page, then chunks, each of whole pages and of one thread.
 * A chunk is mapped by the thread which fills it, so whatever ends the process
 * the file holds what was recorded; records end at the first which is zero.
 */
#ifndef TRACE_FORMAT_H
#define TRACE_FORMAT_H

#include <stdint.h>

#define TRACE_MAGIC "bslabtrc"

enum {
    TRACE_VERSION = 1,
    TRACE_PAGE = 4096,
    CHUNK_MAGIC = 0x6b6e6863, /* "chnk" */
    CHUNK_MIN = TRACE_PAGE,
    CHUNK_MAX = 16 * TRACE_PAGE,
    ADDRESS_BITS = 48,
    KIND_SHIFT = 48,
    ALIGN_SHIFT = 52,
};

#define ADDRESS_MASK ((UINT64_C(1) << ADDRESS_BITS) - 1)
#define SIZE_FOLLOWS UINT32_MAX /* the next record has it */

typedef struct trace_header {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes; /* where the chunks begin */
    uint32_t record_bytes;
    uint32_t pid;
    uint32_t parent;
    uint32_t reserved;
    uint64_t limit; /* operations after which it stops recording */
    int64_t started; /* seconds since 1970 */
    char program[256];
} trace_header;

typedef struct chunk_header {
    uint32_t magic;
    uint32_t bytes; /* with this header */
    uint32_t thread; /* 1, 2, ... in order of their first operation */
    uint32_t reserved;
    uint64_t base; /* the least ticket in it */
    uint64_t reserved2;
} chunk_header;

typedef enum record_kind {
    RECORD_NONE, /* not written */
    RECORD_MALLOC,
    RECORD_CALLOC, /* size: of all elements */
    RECORD_ALIGNED_ALLOC,
    RECORD_MEMALIGN, /* and valloc, pvalloc */
    RECORD_POSIX_MEMALIGN,
    RECORD_FREE, /* ticket taken before the block is given up */
    RECORD_REALLOC_BEGIN, /* the old block, before; absent if it was NULL */
    RECORD_REALLOC_END, /* the new one, after; address 0: NULL was returned */
    RECORD_SIZE, /* of the record before, in place of the address */
    RECORD_KINDS
} record_kind;

typedef struct trace_record {
    uint64_t what; /* address | kind << 48 | log2 of the alignment << 52 */
    uint32_t ticket; /* above the chunk's base */
    uint32_t size;
} trace_record;

static inline uint64_t record_address(const trace_record *record)
{
    return record->what & ADDRESS_MASK;
}

static inline record_kind record_kind_of(const trace_record *record)
{
    return (record_kind)(record->what >> KIND_SHIFT & 15);
}

static inline unsigned record_align_shift(const trace_record *record)
{
    return (unsigned)(record->what >> ALIGN_SHIFT & 63);
}

#endif
