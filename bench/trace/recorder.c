/*
 * Where records go: chunks of the trace file, each mapped by the thread which
 * fills it.  Nothing is flushed at exit, and nothing is lost however the
 * process ends; a record costs two stores, a chunk four system calls.
 *
 * The file is opened anew for each chunk: a program which closes all
 * descriptors, or reuses their numbers, must not find its data overwritten.
 * System calls are made directly, for open and the like may be cancelled and
 * may be interposed by others.
 *
 * fork: the state lies in memory which the kernel wipes in the child
 * (MADV_WIPEONFORK), chunks are not inherited at all (MADV_DONTFORK); so a
 * child, however made, records nothing until it execs.  vfork shares memory
 * with its parent, and what it allocates is the parent's.
 *
 * Environment: TRACE_FILE, the name, to which .PID is added;
 * TRACE_LIMIT, operations; TRACE_AT_LIMIT=exit ends the process there;
 * TRACE_PROGRAM records only a program of that name.
 */
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(recorder_state) == TRACE_PAGE, "one page is wiped");

static recorder_state off;
recorder_state *recorder = &off;
__thread recorder_thread recorder_own;
static pthread_key_t at_thread_exit;

static void say(const char *what, const char *detail)
{
    const char *parts[] = {"librecord: ", what, detail, "\n"};

    for (int i = 0; i < 4; i++)
        syscall(SYS_write, STDERR_FILENO, parts[i], strlen(parts[i]));
}

static void give_up(const char *what)
{
    if (atomic_exchange(&recorder->on, false))
        say(what, ": recording ends here");
}

void recorder_stop_at_limit(void)
{
    atomic_store(&recorder->on, false);
    if (recorder->exit_at_limit)
        syscall(SYS_exit_group, 0);
}

/* fallocate, so that a full disk is found here and not at a store. */
static bool extend(int file, uint64_t offset, uint32_t bytes)
{
    if (syscall(SYS_fallocate, file, 0, offset, (uint64_t)bytes) == 0)
        return true;
    if (errno != EOPNOTSUPP)
        return false;
    /* Never shortens, as ftruncate could what another thread extended. */
    return syscall(SYS_pwrite64, file, "", 1, offset + bytes - 1) == 1;
}

static void *map_of(uint64_t offset, uint32_t bytes)
{
    int file = (int)syscall(SYS_openat, AT_FDCWD, recorder->path,
                            O_RDWR | O_CLOEXEC, 0);

    if (file < 0)
        return NULL;
    void *chunk = MAP_FAILED;
    if (extend(file, offset, bytes))
        chunk = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE, file, (off_t)offset);
    syscall(SYS_close, file);
    if (chunk == MAP_FAILED)
        return NULL;
    madvise(chunk, bytes, MADV_DONTFORK);
    return chunk;
}

static void drop_chunk(recorder_thread *own)
{
    chunk_header *chunk = own->chunk;

    own->cursor = own->end = NULL;
    own->chunk = NULL;
    if (chunk)
        munmap(chunk, chunk->bytes);
}

/* In a forked child the mapping is not there, and may be another's by now. */
static void thread_exits(void *own)
{
    if (atomic_load(&recorder->on))
        drop_chunk(own);
}

/* Short-lived threads get small chunks, the others larger ones. */
static uint32_t next_bytes(recorder_thread *own)
{
    uint32_t bytes = own->next_bytes ? own->next_bytes : CHUNK_MIN;

    own->next_bytes = bytes < CHUNK_MAX ? bytes * 4 : CHUNK_MAX;
    return bytes;
}

static trace_record *fill_chunk(recorder_thread *own, chunk_header *chunk,
                                uint32_t bytes, uint64_t ticket)
{
    own->chunk = chunk;
    own->base = ticket;
    own->cursor = (trace_record *)(chunk + 1);
    own->end = (trace_record *)((char *)chunk + bytes) - 1;
    chunk->bytes = bytes;
    chunk->thread = own->id;
    chunk->base = ticket;
    atomic_thread_fence(memory_order_release);
    chunk->magic = CHUNK_MAGIC;
    return own->cursor;
}

trace_record *recorder_new_chunk(uint64_t ticket)
{
    recorder_thread *own = &recorder_own;
    int saved = errno;
    uint32_t bytes = next_bytes(own);
    uint64_t offset = atomic_fetch_add(&recorder->file_end, bytes);
    trace_record *place = NULL;

    drop_chunk(own);
    if (!own->id)
        own->id = atomic_fetch_add(&recorder->threads, 1) + 1;
    chunk_header *chunk = map_of(offset, bytes);
    if (chunk)
        place = fill_chunk(own, chunk, bytes, ticket);
    else
        give_up(strerror(errno));
    if (place) {
        /* May allocate, which is recorded in the places that follow. */
        pthread_setspecific(at_thread_exit, own);
        place = own->cursor;
    }
    errno = saved;
    return place;
}

static const char *environment_value(char **environment, const char *name)
{
    size_t length = strlen(name);

    for (; *environment; environment++)
        if (strncmp(*environment, name, length) == 0 &&
            (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/* So that a later chdir does not matter. */
static bool set_path(recorder_state *state, const char *name)
{
    char directory[2048] = "";

    if (name[0] != '/' &&
        syscall(SYS_getcwd, directory, sizeof directory) < 0)
        return false;
    int length = snprintf(state->path, sizeof state->path - 8, "%s%s%s.%d",
                          directory, *directory ? "/" : "", name,
                          (int)getpid());
    return length > 0 && (size_t)length < sizeof state->path - 8;
}

/* A process which execs keeps its pid: the next trace is .PID.1, and so on. */
static int create(recorder_state *state)
{
    char *end = state->path + strlen(state->path);
    int file = -1;

    for (int i = 1; i < 1000; i++) {
        file = (int)syscall(SYS_openat, AT_FDCWD, state->path,
                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (file >= 0 || errno != EEXIST)
            break;
        snprintf(end, 8, ".%d", i);
    }
    return file;
}

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path ? path : "";
}

static bool write_header(recorder_state *state, const char *program)
{
    static union {
        trace_header header;
        char page[TRACE_PAGE];
    } first;
    trace_header *header = &first.header;

    memcpy(header->magic, TRACE_MAGIC, sizeof header->magic);
    header->version = TRACE_VERSION;
    header->header_bytes = TRACE_PAGE;
    header->record_bytes = sizeof(trace_record);
    header->pid = (uint32_t)getpid();
    header->parent = (uint32_t)getppid();
    header->limit = state->limit;
    header->started = time(NULL);
    strncpy(header->program, program, sizeof header->program - 1);
    int file = create(state);
    if (file < 0)
        return false;
    bool written = syscall(SYS_write, file, &first, sizeof first) ==
                   sizeof first;
    syscall(SYS_close, file);
    return written;
}

static void set_limit(recorder_state *state, char **environment)
{
    const char *limit = environment_value(environment, "TRACE_LIMIT");
    const char *then = environment_value(environment, "TRACE_AT_LIMIT");

    state->limit = limit ? strtoull(limit, NULL, 10) : UINT64_MAX;
    state->exit_at_limit = then && strcmp(then, "exit") == 0;
}

static recorder_state *make_state(void)
{
    void *page = mmap(NULL, sizeof(recorder_state), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED ||
        madvise(page, sizeof(recorder_state), MADV_WIPEONFORK) != 0)
        return NULL;
    return page;
}

static bool begin(recorder_state *state, const char *file, const char *program,
                  char **environment)
{
    set_limit(state, environment);
    atomic_store(&state->file_end, TRACE_PAGE);
    return set_path(state, file) &&
           pthread_key_create(&at_thread_exit, thread_exits) == 0 &&
           write_header(state, program);
}

/* Runs before libc's own constructors, so environ may not be there yet. */
__attribute__((constructor)) static void start(int argc, char **argv,
                                               char **environment)
{
    const char *file = environment_value(environment, "TRACE_FILE");
    const char *only = environment_value(environment, "TRACE_PROGRAM");
    const char *program = base_name(argc > 0 ? argv[0] : NULL);

    if (!file || !*file || (only && strcmp(only, program) != 0))
        return;
    recorder_state *state = make_state();
    if (!state || !begin(state, file, program, environment)) {
        say(file, ": cannot record there");
        return;
    }
    recorder = state;
    atomic_store(&state->on, true);
}
