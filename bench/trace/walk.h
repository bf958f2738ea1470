/* The operations of a trace in order, with the blocks they are about. */
#ifndef TRACE_WALK_H
#define TRACE_WALK_H

#include "read.h"

typedef enum operation_kind {
    OP_MALLOC,
    OP_CALLOC,
    OP_REALLOC,
    OP_ALIGNED_ALLOC,
    OP_MEMALIGN,
    OP_POSIX_MEMALIGN,
    OP_FREE,
    OP_KINDS
} operation_kind;

/* What realloc returns is a new block, also if it stayed where it was. */
typedef struct block {
    uint64_t address;
    uint64_t size;
    uint64_t born; /* index of the operation */
    uint64_t born_bytes; /* allocated by then, from the start */
    uint32_t thread; /* which made it */
    uint32_t id; /* 0, 1, ... in the order of being made */
    uint32_t tag; /* the visitor's, kept with the block */
} block;

typedef struct operation {
    operation_kind kind;
    uint32_t thread;
    uint64_t index;
    uint64_t alignment;
    block *made; /* NULL: free.  Its tag may be set */
    const block *gone; /* NULL: none */
    uint64_t live_bytes; /* after it */
    uint64_t live_blocks;
    uint64_t total_bytes;
} operation;

typedef struct walk_totals {
    uint64_t operations;
    uint64_t blocks; /* ids given */
    uint64_t total_bytes;
    uint64_t live_bytes, live_blocks; /* at the end */
    uint64_t peak_bytes, peak_blocks, peak_index;
    uint64_t unknown; /* freed or resized, but made before recording began */
    uint64_t lost; /* made where one was live: its end was not recorded */
} walk_totals;

typedef void operation_visitor(void *context, const operation *what);

walk_totals walk(const trace *from, operation_visitor *visit, void *context);

#endif
