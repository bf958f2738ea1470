/* SPDX-License-Identifier: MIT */
/*
 * Bytes on their way to a file descriptor, in pieces of OUT_BYTES, plain or as
 * gzip (RFC 1952) in blocks that are stored and not compressed (RFC 1951,
 * 3.2.4): its readers want the format, and what is written is small.
 */
#ifndef BSLAB_OUT_H
#define BSLAB_OUT_H

#include "base/base.h"

#define OUT_BYTES (32 * KIB)
#define BLOCK_HEADER 5 /* of a stored block */
_Static_assert(OUT_BYTES <= UINT16_MAX, "a stored block's length has 16 bits");

struct out {
	int fd;
	int result; /* 0, or a negative errno: the rest is left out */
	bool is_gzip;
	uint32_t crc, nr_bytes; /* of what was put, for gzip's trailer */
	size_t len;
	unsigned char buf[BLOCK_HEADER + OUT_BYTES];
};

void out_start(struct out *o, int fd, bool gzip);
void out_put(struct out *o, const void *bytes, size_t len);
void out_text(struct out *o, const char *text);
/* Writes what is left; the result. */
int out_end(struct out *o);

/* One formatted piece of at most 255 bytes; formats as in os/bug.h. */
#define OUT(o, ...)                                                                                \
	do {                                                                                       \
		char text_[256];                                                                   \
		bug_format(text_, sizeof text_, __VA_ARGS__);                                      \
		out_text(o, text_);                                                                \
	} while (0)

#endif
