/*
 * Follows addresses through a trace: which block is at each, who made it and
 * when.  A realloc is two records; between them its old address is nobody's,
 * and another thread may be given it.
 */
#include "walk.h"

#include <string.h>

/* The live blocks by address: open addressing, at most half full. */
typedef struct live_map {
    uint32_t *table; /* of numbers into blocks, 0: empty */
    uint64_t mask;
    block *blocks; /* from 1 */
    uint32_t *unused; /* numbers given back */
    uint32_t unused_count, used;
} live_map;

/* Of a thread between the two records of a realloc. */
typedef struct pending {
    bool begun, known;
    block old;
} pending;

typedef struct walker {
    walk_totals totals;
    live_map map;
    pending *pending;
    operation_visitor *visit;
    void *context;
} walker;

static live_map make_map(uint64_t most)
{
    uint64_t slots = 1024;

    while (slots < most * 2)
        slots *= 2;
    return (live_map){
        .table = pages(slots * sizeof(uint32_t)),
        .mask = slots - 1,
        .blocks = pages((most + 2) * sizeof(block)),
        .unused = pages((most + 2) * sizeof(uint32_t)),
    };
}

static uint64_t home_of(const live_map *map, uint64_t address)
{
    return (address * UINT64_C(0x9E3779B97F4A7C15) >> 20) & map->mask;
}

/* Where it is, or the empty place where it would be. */
static uint64_t find(const live_map *map, uint64_t address)
{
    uint64_t at = home_of(map, address);

    while (map->table[at] && map->blocks[map->table[at]].address != address)
        at = (at + 1) & map->mask;
    return at;
}

static block *insert(live_map *map, const block *what)
{
    uint32_t number = map->unused_count ? map->unused[--map->unused_count]
                                        : ++map->used;

    map->table[find(map, what->address)] = number;
    map->blocks[number] = *what;
    return &map->blocks[number];
}

/* Those behind it which belong further in front move up. */
static void close_gap(live_map *map, uint64_t gap)
{
    for (uint64_t at = (gap + 1) & map->mask; map->table[at];
         at = (at + 1) & map->mask) {
        uint64_t home =
            home_of(map, map->blocks[map->table[at]].address);
        if (((at - home) & map->mask) < ((at - gap) & map->mask))
            continue;
        map->table[gap] = map->table[at];
        gap = at;
    }
    map->table[gap] = 0;
}

static bool take(live_map *map, uint64_t address, block *out)
{
    uint64_t at = find(map, address);
    uint32_t number = map->table[at];

    if (!number)
        return false;
    *out = map->blocks[number];
    map->unused[map->unused_count++] = number;
    close_gap(map, at);
    return true;
}

static void note_peak(walk_totals *totals)
{
    if (totals->live_bytes > totals->peak_bytes) {
        totals->peak_bytes = totals->live_bytes;
        totals->peak_index = totals->operations;
    }
    if (totals->live_blocks > totals->peak_blocks)
        totals->peak_blocks = totals->live_blocks;
}

static void tell(walker *self, operation_kind kind, const event *what,
                 block *made, const block *gone)
{
    walk_totals *totals = &self->totals;

    totals->live_bytes += made ? made->size : 0;
    totals->live_bytes -= gone ? gone->size : 0;
    totals->live_blocks += (made != NULL) - (gone != NULL);
    totals->total_bytes += made ? made->size : 0;
    note_peak(totals);
    operation out = {
        .kind = kind,
        .thread = what->thread,
        .index = totals->operations,
        .alignment = what->alignment,
        .made = made,
        .gone = gone,
        .live_bytes = totals->live_bytes,
        .live_blocks = totals->live_blocks,
        .total_bytes = totals->total_bytes,
    };
    totals->operations++;
    self->visit(self->context, &out);
}

static void made(walker *self, operation_kind kind, const event *what,
                 const block *gone)
{
    block lost;

    if (take(&self->map, what->address, &lost)) {
        self->totals.lost++;
        tell(self, OP_FREE, what, NULL, &lost);
    }
    block new = {
        .address = what->address,
        .size = what->size,
        .born = self->totals.operations,
        .born_bytes = self->totals.total_bytes,
        .thread = what->thread,
        .id = (uint32_t)self->totals.blocks++,
    };
    tell(self, kind, what, insert(&self->map, &new), gone);
}

static void freed(walker *self, const event *what)
{
    block gone;

    if (take(&self->map, what->address, &gone))
        tell(self, OP_FREE, what, NULL, &gone);
    else
        self->totals.unknown++;
}

static void begin_realloc(walker *self, const event *what)
{
    pending *held = &self->pending[what->thread];

    held->begun = true;
    held->known = take(&self->map, what->address, &held->old);
    self->totals.unknown += !held->known;
}

/* NULL is a failure, after which the old block is live, or size 0: freed. */
static void end_realloc(walker *self, const event *what)
{
    pending *held = &self->pending[what->thread];
    const block *old = held->begun && held->known ? &held->old : NULL;
    operation_kind kind = held->begun && !old ? OP_MALLOC : OP_REALLOC;

    held->begun = false;
    if (what->address)
        made(self, kind, what, old);
    else if (old && what->size)
        insert(&self->map, old);
    else if (old)
        tell(self, OP_FREE, what, NULL, old);
}

static void step(walker *self, const event *what)
{
    switch (what->kind) {
    case RECORD_MALLOC: made(self, OP_MALLOC, what, NULL); break;
    case RECORD_CALLOC: made(self, OP_CALLOC, what, NULL); break;
    case RECORD_ALIGNED_ALLOC:
        made(self, OP_ALIGNED_ALLOC, what, NULL);
        break;
    case RECORD_MEMALIGN: made(self, OP_MEMALIGN, what, NULL); break;
    case RECORD_POSIX_MEMALIGN:
        made(self, OP_POSIX_MEMALIGN, what, NULL);
        break;
    case RECORD_FREE: freed(self, what); break;
    case RECORD_REALLOC_BEGIN: begin_realloc(self, what); break;
    case RECORD_REALLOC_END: end_realloc(self, what); break;
    default: break;
    }
}

walk_totals walk(const trace *from, operation_visitor *visit, void *context)
{
    walker self = {
        .map = make_map(from->records),
        .pending = pages((from->threads + 1) * sizeof(pending)),
        .visit = visit,
        .context = context,
    };

    for (uint64_t ticket = 0; ticket < from->tickets; ticket++) {
        event what = event_at(from, ticket);
        step(&self, &what);
    }
    return self.totals;
}
