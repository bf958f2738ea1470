/*
 * HTTP/1.1 over connections that stay open: pages /0.html and up, evenly, half of them asked for in compressed form,
 * which comes in chunks.  What a web server does for each request (pools made and freed, buffers of the compressor) is
 * what loads its allocator.  After wrk and ab, which ask for one page only.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t fill(char *out, uint64_t number, uint64_t keys)
{
    (void)out, (void)number, (void)keys;
    return 0;
}

static size_t request(char *out, uint64_t random, uint64_t keys)
{
    return (size_t)sprintf(out,
                           "GET /%llu.html HTTP/1.1\r\nHost: localhost\r\n"
                           "User-Agent: bench-load\r\nAccept: text/html\r\nAccept-Language: en\r\n%s\r\n",
                           (unsigned long long)(random / 2 % keys), random % 2 ? "Accept-Encoding: gzip\r\n" : "");
}

/* Past the last of the chunks: each a line with its size in hexadecimal, and its bytes with a line's end. */
static ptrdiff_t chunked(const char *in, size_t size, size_t at)
{
    for (;;) {
        const char *end = memmem(in + at, size - at, "\r\n", 2);
        if (!end)
            return 0;
        size_t length = strtoul(in + at, NULL, 16);
        at = (size_t)(end - in) + 2 + length + 2;
        if (at > size)
            return 0;
        if (memcmp(in + at - 2, "\r\n", 2) != 0)
            return -1;
        if (length == 0)
            return (ptrdiff_t)at;
    }
}

static ptrdiff_t answer(const char *in, size_t size, uint64_t *missed)
{
    static const char well[] = "HTTP/1.1 200 ", length[] = "\r\nContent-Length: ";
    const char *end = memmem(in, size, "\r\n\r\n", 4);

    (void)missed;
    if (!end)
        return 0;
    if (memcmp(in, well, sizeof well - 1) != 0)
        return -1;
    size_t head = (size_t)(end - in) + 4;
    const char *field = memmem(in, head, length, sizeof length - 1);
    if (!field)
        return chunked(in, size, head);
    size_t all = head + strtoul(field + sizeof length - 1, NULL, 10);
    return size < all ? 0 : (ptrdiff_t)all;
}

const protocol http_protocol = {"http", fill, request, answer};
