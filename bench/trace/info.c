/*
 * Usage: trace-info [--json] TRACE
 *
 * What a recorded trace holds: operations by kind and by thread, peak of live
 * bytes, sizes asked for, and lifetimes.  Lifetimes are counted in operations
 * and in bytes allocated meanwhile, the clock of the literature on garbage
 * collection (Barrett and Zorn 1993): neither depends on the machine.
 */
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BUCKETS = 48 };

typedef struct info {
    uint64_t kinds[OP_KINDS];
    uint64_t sizes[BUCKETS];
    uint64_t lifetimes[BUCKETS]; /* in operations */
    uint64_t byte_lifetimes[BUCKETS];
    uint64_t *by_thread;
    uint64_t crossing; /* blocks ended by another thread */
} info;

static const char *const kind_names[OP_KINDS] = {
    "malloc", "calloc", "realloc", "aligned_alloc", "memalign",
    "posix_memalign", "free",
};

/* Bucket b holds what is below 2^b and in no bucket before. */
static int bucket_of(uint64_t value)
{
    int bucket = value ? 64 - __builtin_clzll(value) : 0;

    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static void visit(void *context, const operation *what)
{
    info *self = context;

    self->kinds[what->kind]++;
    self->by_thread[what->thread]++;
    if (what->made)
        self->sizes[bucket_of(what->made->size)]++;
    if (!what->gone)
        return;
    uint64_t bytes = what->total_bytes - what->gone->born_bytes;
    self->lifetimes[bucket_of(what->index - what->gone->born)]++;
    self->byte_lifetimes[bucket_of(bytes)]++;
    self->crossing += what->gone->thread != what->thread;
}

static void print_histogram(const char *title, const uint64_t *counts)
{
    uint64_t all = 0, so_far = 0;

    for (int i = 0; i < BUCKETS; i++)
        all += counts[i];
    printf("\n%s\n", title);
    for (int i = 0; i < BUCKETS; i++) {
        so_far += counts[i];
        if (counts[i])
            printf("  %15" PRIu64 "  %10" PRIu64 "  %5.1f%%  %5.1f%%\n",
                   (UINT64_C(1) << i) - 1, counts[i],
                   100.0 * (double)counts[i] / (double)all,
                   100.0 * (double)so_far / (double)all);
    }
}

static void print_text(const trace *from, const info *self,
                       const walk_totals *totals)
{
    printf("%s: %s, pid %u, version %u\n", from->file.path,
           from->header->program, from->header->pid, from->header->version);
    printf("operations %" PRIu64 ", of blocks made before recording %" PRIu64
           ", ends not recorded %" PRIu64 "\n", totals->operations,
           totals->unknown, totals->lost);
    for (int i = 0; i < OP_KINDS; i++)
        if (self->kinds[i])
            printf("  %-15s %10" PRIu64 "\n", kind_names[i], self->kinds[i]);
    printf("bytes asked for %" PRIu64 "\n", totals->total_bytes);
    printf("live at the peak: %" PRIu64 " bytes (operation %" PRIu64
           "), %" PRIu64 " blocks\n", totals->peak_bytes, totals->peak_index,
           totals->peak_blocks);
    printf("live at the end: %" PRIu64 " bytes, %" PRIu64 " blocks\n",
           totals->live_bytes, totals->live_blocks);
    printf("ended by another thread: %" PRIu64 " blocks\n", self->crossing);
    for (uint32_t i = 1; i <= from->threads; i++)
        printf("  thread %-8u %10" PRIu64 "\n", i, self->by_thread[i]);
    print_histogram("size up to, blocks, share, cumulated", self->sizes);
    print_histogram("lifetime in operations up to", self->lifetimes);
    print_histogram("lifetime in bytes allocated meanwhile, up to",
                    self->byte_lifetimes);
}

static void print_list(const char *name, const uint64_t *counts, uint32_t n)
{
    printf(", \"%s\": [", name);
    for (uint32_t i = 0; i < n; i++)
        printf("%s%" PRIu64, i ? ", " : "", counts[i]);
    printf("]");
}

/* Of a name given by whoever was recorded: nothing which needs escaping. */
static void print_name(const char *name)
{
    for (; *name; name++)
        putchar(*name < ' ' || *name == '"' || *name == '\\' ? '?' : *name);
}

static void print_json(const trace *from, const info *self,
                       const walk_totals *totals)
{
    printf("{\"program\": \"");
    print_name(from->header->program);
    printf("\", \"pid\": %u, \"operations\": %" PRIu64
           ", \"total_bytes\": %" PRIu64 ", \"peak_live_bytes\": %" PRIu64
           ", \"peak_live_blocks\": %" PRIu64 ", \"live_bytes\": %" PRIu64
           ", \"crossing\": %" PRIu64 ", \"unknown\": %" PRIu64
           ", \"lost\": %" PRIu64 ", \"threads\": %u",
           from->header->pid, totals->operations, totals->total_bytes,
           totals->peak_bytes, totals->peak_blocks, totals->live_bytes,
           self->crossing, totals->unknown, totals->lost, from->threads);
    for (int i = 0; i < OP_KINDS; i++)
        printf(", \"%s\": %" PRIu64, kind_names[i], self->kinds[i]);
    print_list("operations_by_thread", self->by_thread + 1, from->threads);
    print_list("sizes_log2", self->sizes, BUCKETS);
    print_list("lifetimes_log2", self->lifetimes, BUCKETS);
    print_list("byte_lifetimes_log2", self->byte_lifetimes, BUCKETS);
    printf("}\n");
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    info self = {0};

    program_name = "trace-info";
    if (argc != 2 + json)
        fail("usage: trace-info [--json] TRACE");
    trace from = open_trace(argv[1 + json]);
    self.by_thread = pages((from.threads + 1) * sizeof *self.by_thread);
    walk_totals totals = walk(&from, visit, &self);
    (json ? print_json : print_text)(&from, &self, &totals);
    return fflush(stdout) == 0 ? 0 : 1;
}
