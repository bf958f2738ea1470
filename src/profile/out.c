/* SPDX-License-Identifier: MIT */
#include "profile/out.h"

#include <string.h>

#include "os/os.h"

/* CRC-32 of four bits at a time: the polynomial of RFC 1952, reflected. */
static const uint32_t crc_table[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

static uint32_t crc_add(uint32_t crc, const unsigned char *p, size_t len)
{
	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		crc = crc >> 4 ^ crc_table[crc & 15];
		crc = crc >> 4 ^ crc_table[crc & 15];
	}
	return ~crc;
}

static void write_out(struct out *o, const void *bytes, size_t len)
{
	if (!o->result && len)
		o->result = os_write(o->fd, bytes, len);
}

static void flush(struct out *o, bool is_last)
{
	unsigned char *b = o->buf;

	if (!o->is_gzip) {
		write_out(o, b + BLOCK_HEADER, o->len);
	} else {
		b[0] = is_last; /* BFINAL, BTYPE 0; LEN and its complement */
		b[1] = (unsigned char)o->len;
		b[2] = (unsigned char)(o->len >> 8);
		b[3] = (unsigned char)~b[1];
		b[4] = (unsigned char)~b[2];
		o->crc = crc_add(o->crc, b + BLOCK_HEADER, o->len);
		o->nr_bytes += (uint32_t)o->len;
		write_out(o, b, BLOCK_HEADER + o->len);
	}
	o->len = 0;
}

void out_start(struct out *o, int fd, bool gzip)
{
	/* Method deflate, no flags, no time, system Unix. */
	static const unsigned char header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};

	o->fd = fd;
	o->result = 0;
	o->is_gzip = gzip;
	o->crc = o->nr_bytes = 0;
	o->len = 0;
	if (gzip)
		write_out(o, header, sizeof header);
}

void out_put(struct out *o, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	while (len) {
		size_t n = min_size(len, OUT_BYTES - o->len);

		memcpy(o->buf + BLOCK_HEADER + o->len, p, n);
		o->len += n;
		p += n;
		len -= n;
		if (o->len == OUT_BYTES)
			flush(o, false);
	}
}

void out_text(struct out *o, const char *text)
{
	out_put(o, text, strlen(text));
}

int out_end(struct out *o)
{
	flush(o, true);
	if (o->is_gzip) {
		uint32_t trailer[2] = {o->crc, o->nr_bytes};

		write_out(o, trailer, sizeof trailer);
	}
	return o->result;
}
