/* SPDX-License-Identifier: MIT */
/* What the fuzz targets share: numbers out of the input, and a check that ends the process. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct input {
	const uint8_t *next, *end;
};

/* A byte, 0 at the end. */
static inline unsigned take_byte(struct input *in)
{
	return in->next < in->end ? *in->next++ : 0;
}

static inline uint64_t take_number(struct input *in, unsigned nr_bytes)
{
	uint64_t n = 0;

	while (nr_bytes--)
		n = n << 8 | take_byte(in);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
