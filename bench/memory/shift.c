/*
 * memory-shift LIVE_MIB TURNOVERS
 *
 * The mix of sizes moves while the live bytes stay: small (16..255 B), medium
 * (256 B..8 KiB), large (16..256 KiB), then medium and small again.  Each phase
 * allocates TURNOVERS times the live bytes, and to make room frees objects of
 * the phase before at random, then its own.  Of the objects that are live when
 * their phase ends, one in two hundred stays for good and holds on to its
 * surroundings.
 *
 * It models programs that load, index and then serve, or whose input changes
 * its nature: memory cut up for one size is wanted for another.  That such a
 * shift is what fragmentation comes from is an old result (Robson's worst case
 * of 1971 is an extreme of it; Wilson and others, "Dynamic Storage Allocation:
 * A Survey and Critical Review", 1995, on ramps and plateaus).
 */
#include "memory.h"

enum { SAMPLES_PER_PHASE = 40, SURVIVOR_IN = 200, MEAN_SMALL = 64 };

typedef struct bag {
    slot *slots;
    uint32_t count;
} bag;

typedef struct mix {
    uint32_t low, high; /* powers of two */
} mix;

static const mix phases[] = {{4, 8}, {8, 13}, {14, 18}, {8, 13}, {4, 8}};
enum { PHASES = sizeof phases / sizeof *phases };

static bag survivors, old, current;
static uint32_t capacity;
static uint64_t seed = 11, target;
static double worst;

static void push(bag *to, slot object)
{
    if (to->count == capacity)
        die("a table is full");
    to->slots[to->count++] = object;
}

static void drop_at(bag *from, uint32_t index)
{
    slot_drop(&from->slots[index]);
    from->slots[index] = from->slots[--from->count];
}

static void make_room(uint32_t size)
{
    while (live_bytes + size > target) {
        bag *from = old.count ? &old : &current;
        if (!from->count)
            die("only survivors are left");
        drop_at(from, random_below(&seed, from->count));
    }
}

static void sample(bool is_filled)
{
    double ratio = per_live(report_sample(), live_bytes);

    if (is_filled && ratio > worst)
        worst = ratio;
}

static void run_phase(int phase, uint64_t turnovers)
{
    uint64_t volume = target * turnovers, step = volume / SAMPLES_PER_PHASE;
    uint64_t next = step;

    for (uint64_t made = 0; made < volume;) {
        slot object;
        uint32_t size = log_uniform(&seed, phases[phase].low,
                                    phases[phase].high);
        make_room(size);
        slot_make(&object, size);
        push(&current, object);
        made += size;
        if (made < next)
            continue;
        /* In the first phase the heap still fills, and live is small. */
        sample(phase > 0 || made > target);
        next += step;
    }
}

/* What was current becomes old, but for those that stay. */
static void end_phase(void)
{
    bag emptied = old;

    if (old.count)
        die("a phase ended with objects of the one before");
    for (uint32_t i = 0; i < current.count;)
        if (random_below(&seed, SURVIVOR_IN) == 0) {
            push(&survivors, current.slots[i]);
            current.slots[i] = current.slots[--current.count];
        } else {
            i++;
        }
    old = current;
    current = emptied;
}

static void drop_all(bag *from)
{
    while (from->count)
        drop_at(from, from->count - 1);
}

int main(int argc, char **argv)
{
    target = argument(argc, argv, 1, 1, 65536) * MIB;
    uint64_t turnovers = argument(argc, argv, 2, 2, 1000);

    capacity = (uint32_t)(target / MEAN_SMALL);
    survivors.slots = table(capacity, sizeof(slot));
    old.slots = table(capacity, sizeof(slot));
    current.slots = table(capacity, sizeof(slot));
    heap_begin();

    int64_t began = cpu_ns();
    for (int phase = 0; phase < PHASES; phase++) {
        run_phase(phase, turnovers);
        end_phase();
    }
    report_time((double)(cpu_ns() - began) / (double)objects_made);
    report_figure("rss/live", per_live(heap_peak_kb(), peak_live_bytes));
    report_figure("worst rss/live", worst);
    report_figure("final rss/live", per_live(heap_kb(), live_bytes));
    drop_all(&old);
    report_figure("survivors rss/live",
                  per_live(report_sample(), live_bytes));
    drop_all(&survivors);
    report_sample();
    report_send();
    return 0;
}
