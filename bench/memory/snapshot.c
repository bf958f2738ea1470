/*
 * memory-snapshot HEAP_MIB OPERATIONS
 *
 * A process with a large heap forks, and the child holds the heap as it was
 * while the parent goes on: each operation frees a random object and allocates
 * another.  Every page that either writes first is copied.  The child allocates
 * a little too, as one that writes a file does, then waits; when the parent is
 * done it reads every object, to show that its heap is what it was.
 *
 * It models the snapshots of Redis (BGSAVE) and the workers of prefork servers.
 * What an allocator can do: put new objects where pages are copied already, and
 * not write into pages only because an object in them is freed.
 *
 * Copied is the growth of both processes' PSS, that is of the memory really in
 * use; private dirty is what smaps_rollup says of each.  The child's share also
 * grows with what the parent copies, since the page left behind is then its
 * own.  The child waits, rather than reading meanwhile, so that the figures do
 * not depend on the scheduler.
 */
#include "memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALLEST_MEAN = 100, CHILD_OBJECTS = 1000, CHILD_BUFFER = 1 << 20 };

static slot *objects;
static slot *frozen; /* the child's: as objects is at the fork */
static uint32_t count;
static uint64_t seed = 41;
static int64_t operating_ns;

static void fill(uint64_t bytes, uint32_t capacity)
{
    while (live_bytes < bytes) {
        if (count == capacity)
            die("the table is full");
        slot_make(&objects[count++], mixed_size(&seed));
    }
}

static void operate(uint64_t operations)
{
    for (uint64_t i = 0; i < operations; i++) {
        slot *s = &objects[random_below(&seed, count)];
        slot_drop_unread(s);
        slot_make(s, mixed_size(&seed));
    }
}

/* The table that the parent writes is not forked: only the heap is copied. */
static void freeze(uint32_t capacity)
{
    for (uint32_t i = 0; i < count; i++)
        frozen[i] = objects[i];
    if (madvise(objects, capacity * sizeof *objects, MADV_DONTFORK))
        die("madvise failed");
}

static void allocate_in_child(void)
{
    slot buffer, temporary;

    slot_make(&buffer, CHILD_BUFFER);
    for (int i = 0; i < CHILD_OBJECTS; i++) {
        slot_make(&temporary, mixed_size(&seed));
        slot_drop(&temporary);
    }
    slot_drop(&buffer);
}

static _Noreturn void be_child(pid_t parent, int ready, int go)
{
    char byte = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    allocate_in_child();
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) < 0)
        _exit(1);
    for (uint32_t i = 0; i < count; i++)
        slot_check(&frozen[i]);
    _exit(0);
}

typedef struct snapshot {
    pid_t child;
    int go;
    rollup parent_then, child_then;
} snapshot;

static snapshot take_snapshot(void)
{
    int ready[2], go[2];
    char byte;
    pid_t parent = getpid();

    if (pipe(ready) || pipe(go))
        die("no pipe");
    int64_t began = wall_ns();
    snapshot taken = {.child = fork(), .go = go[1]};
    if (taken.child < 0)
        die("cannot fork");
    if (taken.child == 0) {
        close(go[1]);
        be_child(parent, ready[1], go[0]);
    }
    report_figure("fork ms", (double)(wall_ns() - began) / 1e6);
    close(ready[1]);
    close(go[0]);
    if (read(ready[0], &byte, 1) != 1)
        die("the child ended too soon");
    taken.parent_then = read_rollup((int)parent);
    taken.child_then = read_rollup((int)taken.child);
    return taken;
}

static double copied_mb(const snapshot *of)
{
    uint64_t now = read_rollup((int)getpid()).pss_kb +
                   read_rollup((int)of->child).pss_kb;
    uint64_t then = of->parent_then.pss_kb + of->child_then.pss_kb;

    return now > then ? megabytes(now - then) : 0;
}

static void operate_timed(uint64_t operations)
{
    int64_t began = cpu_ns();

    operate(operations);
    operating_ns += cpu_ns() - began;
    report_sample();
}

static double dirty_growth(int pid, const rollup *then)
{
    rollup now = read_rollup(pid);

    return ((double)now.private_dirty_kb - (double)then->private_dirty_kb) /
           1024;
}

static void report_copies(const snapshot *of, uint64_t operations)
{
    double parent = dirty_growth((int)getpid(), &of->parent_then);

    report_figure("parent private dirty MB", parent);
    report_figure("child private dirty MB",
                  dirty_growth((int)of->child, &of->child_then));
    report_figure("parent dirty B/op", parent * MIB / (double)operations);
}

static void end_snapshot(const snapshot *of)
{
    int status;

    close(of->go);
    if (waitpid(of->child, &status, 0) != of->child || status != 0)
        die("the child's heap is not what it was");
}

int main(int argc, char **argv)
{
    uint64_t bytes = argument(argc, argv, 1, 1, 65536) * MIB;
    uint64_t operations = argument(argc, argv, 2, 100, UINT64_C(1) << 32);
    uint32_t capacity = (uint32_t)(bytes / SMALLEST_MEAN);

    objects = table(capacity, sizeof *objects);
    frozen = table(capacity, sizeof *frozen);
    heap_begin();
    fill(bytes, capacity);
    /* Every object once, on the average: neighbours of all ages. */
    operate(count);
    report_sample();
    freeze(capacity);
    snapshot taken = take_snapshot();
    operate_timed(operations / 10);
    report_figure("copied in first tenth MB", copied_mb(&taken));
    operate_timed(operations - operations / 10);
    report_figure("copied MB", copied_mb(&taken));
    report_copies(&taken, operations);
    report_time((double)operating_ns / (double)operations);
    end_snapshot(&taken);
    for (uint32_t i = 0; i < count; i++)
        slot_drop(&objects[i]);
    report_send();
    return 0;
}
