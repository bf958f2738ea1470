/* See util.h. */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *program_name = "trace";

void fail(const char *format, ...)
{
    va_list arguments;
    char line[1024];

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "%s: %s\n", program_name, line);
    _exit(1);
}

void *pages(size_t bytes)
{
    void *got = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (got == MAP_FAILED)
        fail("no memory for %zu bytes: %s", bytes, strerror(errno));
    return got;
}

mapped_file map_file(const char *path, size_t least, int flags)
{
    mapped_file file = {.path = path};
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);

    if (descriptor < 0 || fstat(descriptor, &status) != 0)
        fail("%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        fail("%s: not a regular file", path);
    file.bytes = (size_t)status.st_size;
    if (file.bytes < least)
        fail("%s: %zu bytes, too short for a header", path, file.bytes);
    void *data = mmap(NULL, file.bytes, PROT_READ, flags, descriptor, 0);
    close(descriptor);
    if (data == MAP_FAILED)
        fail("%s: %s", path, strerror(errno));
    file.data = data;
    return file;
}
