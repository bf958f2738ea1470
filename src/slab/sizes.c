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

/* The half step behind a power of two, and sixteen steps less that to the next. */
#define STEP16(from, i, class) RANGE((from) / 16 * (16 + (i)), (from) / 16 * (17 + (i)), (class) + 1 + (i))
#define DOUBLING16(from, class)                                                                    \
	RANGE((from), (from) / 32 * 33, (class)), RANGE((from) / 32 * 33, (from) / 16 * 17, (class) + 1), \
	    STEP16(from, 1, class), STEP16(from, 2, class), STEP16(from, 3, class), STEP16(from, 4, class), \
	    STEP16(from, 5, class), STEP16(from, 6, class), STEP16(from, 7, class), STEP16(from, 8, class), \
	    STEP16(from, 9, class), STEP16(from, 10, class), STEP16(from, 11, class),              \
	    STEP16(from, 12, class), STEP16(from, 13, class), STEP16(from, 14, class),             \
	    STEP16(from, 15, class)

/* Thirty-two steps. */
#define STEP32(from, i, class) RANGE((from) / 32 * (32 + (i)), (from) / 32 * (33 + (i)), (class) + (i))
#define STEPS32(from, i, class)                                                                    \
	STEP32(from, i, class), STEP32(from, (i) + 1, class), STEP32(from, (i) + 2, class), STEP32(from, (i) + 3, class)
#define DOUBLING32(from, class)                                                                    \
	STEPS32(from, 0, class), STEPS32(from, 4, class), STEPS32(from, 8, class), STEPS32(from, 12, class), \
	    STEPS32(from, 16, class), STEPS32(from, 20, class), STEPS32(from, 24, class), STEPS32(from, 28, class)

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
    DOUBLING16(1024, 34),
    DOUBLING16(2048, 51),
    DOUBLING32(4096, 68),
    DOUBLING16(8192, 100),
    DOUBLING16(16384, 117),
};

size_t class_size(unsigned class)
{
	size_t base;
	unsigned step;

	if (class <= 1)
		return 8 * class;
	if (class <= 9)
		return 16 * (class - 1);
	if (class <= 33) {
		base = 128ul << (class - 10) / 8;
		return base / 8 * (9 + (class - 10) % 8);
	}
	if (class >= 68 && class < 100)
		return 4096 + 128 * (class - 67);
	class -= class < 68 ? 34 : 100 - 3 * 17; /* as if all had seventeen classes */
	base = 1024ul << class / 17;
	step = class % 17;
	return step ? base / 16 * (16 + step) : base / 32 * 33;
}
