/* Maps a prepared trace and checks it, all of it, before a clock starts. */
#include "script.h"

#include <string.h>
#include <sys/mman.h>

static void check_header(const script *self)
{
    const char *path = self->file.path;
    const script_header *header = self->header;

    if (memcmp(header->magic, SCRIPT_MAGIC, sizeof header->magic) != 0)
        fail("%s: not a prepared trace (see trace-prepare)", path);
    if (header->version != SCRIPT_VERSION)
        fail("%s: version %u; this reads version %d", path, header->version,
             SCRIPT_VERSION);
    if (header->file_bytes != self->file.bytes)
        fail("%s: truncated: %zu bytes of %llu", path, self->file.bytes,
             (unsigned long long)header->file_bytes);
    if (header->streams == 0 || header->streams > MAX_STREAMS ||
        header->slots > NO_SLOT || header->operations == 0 ||
        header->peak_live_bytes == 0 ||
        sizeof *header + header->streams * sizeof(script_stream) >
            self->file.bytes)
        fail("%s: damaged header", path);
}

static void check_stream(const script *self, const script_stream *stream)
{
    uint64_t bytes = self->file.bytes;

    if (stream->offset % SCRIPT_PAGE != 0 || stream->offset >= bytes ||
        stream->words == 0 ||
        stream->words > (bytes - stream->offset) / sizeof(uint64_t))
        fail("%s: damaged: stream of thread %llu", self->file.path,
             (unsigned long long)stream->thread);
}

static uint64_t sum_of_head(const script *self)
{
    script_header header = *self->header;
    uint64_t count = header.streams * sizeof(script_stream) / sizeof count;

    header.checksum = 0;
    uint64_t sum = script_checksum(0, (const uint64_t *)&header,
                                   sizeof header / sizeof sum);
    return script_checksum(sum, (const uint64_t *)self->streams, count);
}

static void check_streams(const script *self)
{
    uint64_t sum = sum_of_head(self);

    for (uint32_t i = 0; i < self->header->streams; i++) {
        const script_stream *stream = &self->streams[i];
        check_stream(self, stream);
        sum = script_checksum(sum, stream_words(self, stream), stream->words);
    }
    if (sum != self->header->checksum)
        fail("%s: damaged: its checksum is wrong", self->file.path);
}

script open_script(const char *path)
{
    script self = {.file = map_file(path, sizeof(script_header),
                                    MAP_PRIVATE | MAP_POPULATE)};

    self.header = (const void *)self.file.data;
    check_header(&self);
    self.streams = (const void *)(self.header + 1);
    check_streams(&self);
    return self;
}
