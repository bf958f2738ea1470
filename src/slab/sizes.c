/* SPDX-License-Identifier: MIT */
#include "slab/sizes.h"

/* Sizes in (from, to] have this class. */
#define RANGE(from, to, class) [(from) / 8 + 1 ... (to) / 8] = (class)
/* Eight steps from a power of two to the next. */
#define DOUBLING(from, class)                                                                      \
	RANGE((from), (from) / 8 * 9, (class)), RANGE((from) / 8 * 9, (from) / 8 * 10, (class) + 1),  \
	    RANGE((from) / 8 * 10, (from) / 8 * 11, (class) + 2),                                  \
	    RANGE((from) / 8 * 11, (from) / 8 * 12, (class) + 3),                                  \
	    RANGE((from) / 8 * 12, (from) / 8 * 13, (class) + 4),                                  \
	    RANGE((from) / 8 * 13, (from) / 8 * 14, (class) + 5),                                  \
	    RANGE((from) / 8 * 14, (from) / 8 * 15, (class) + 6),                                  \
	    RANGE((from) / 8 * 15, (from) * 2, (class) + 7)

const uint8_t bslab_size_class[SMALL_MAX / 8 + 1] = {
    [0] = 1, /* malloc(0) is an object of its own */
    [1] = 1,
    [2] = 2,
    RANGE(16, 32, 3),
    RANGE(32, 48, 4),
    RANGE(48, 64, 5),
    RANGE(64, 80, 6),
    RANGE(80, 96, 7),
    RANGE(96, 112, 8),
    RANGE(112, 128, 9),
    DOUBLING(128, 10),
    DOUBLING(256, 18),
    DOUBLING(512, 26),
    DOUBLING(1024, 34),
    DOUBLING(2048, 42),
    DOUBLING(4096, 50),
    DOUBLING(8192, 58),
    DOUBLING(16384, 66),
};

size_t class_size(unsigned class)
{
	if (class <= 1)
		return 8 * class;
	if (class <= 9)
		return 16 * (class - 1);
	return (128ul << (class - 10) / 8) / 8 * (8 + 1 + (class - 10) % 8);
}
