/* SPDX-License-Identifier: MIT */
#include "slab/sizes.h"

/* Sizes in (from, to] have this class. */
#define RANGE(from, to, class) [(from) / 8 + 1 ... (to) / 8] = (class)
/* Eight steps from a power of two to the next, the first of them and the others. */
#define FIRST_OF_8(from, class) RANGE((from), (from) / 8 * 9, (class))
#define OTHERS_OF_8(from, class)                                                                   \
	RANGE((from) / 8 * 9, (from) / 8 * 10, (class)), RANGE((from) / 8 * 10, (from) / 8 * 11, (class) + 1), \
	    RANGE((from) / 8 * 11, (from) / 8 * 12, (class) + 2),                                  \
	    RANGE((from) / 8 * 12, (from) / 8 * 13, (class) + 3),                                  \
	    RANGE((from) / 8 * 13, (from) / 8 * 14, (class) + 4),                                  \
	    RANGE((from) / 8 * 14, (from) / 8 * 15, (class) + 5),                                  \
	    RANGE((from) / 8 * 15, (from) * 2, (class) + 6)
#define DOUBLING(from, class) FIRST_OF_8(from, class), OTHERS_OF_8(from, (class) + 1)

/* The first step cut behind a quarter of it. */
#define DOUBLING9(from, class)                                                                     \
	RANGE((from), (from) / 32 * 33, (class)), RANGE((from) / 32 * 33, (from) / 8 * 9, (class) + 1), \
	    OTHERS_OF_8(from, (class) + 2)

/* The first step cut in four. */
#define STEP32(from, i, class) RANGE((from) / 32 * (32 + (i)), (from) / 32 * (33 + (i)), (class) + (i))
#define DOUBLING11(from, class)                                                                    \
	STEP32(from, 0, class), STEP32(from, 1, class), STEP32(from, 2, class), STEP32(from, 3, class), \
	    OTHERS_OF_8(from, (class) + 4)

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
    DOUBLING9(1024, 34),
    DOUBLING9(2048, 43),
    DOUBLING11(4096, 52),
    DOUBLING9(8192, 63),
    DOUBLING9(16384, 72),
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
	if (class >= 52 && class < 56)
		return 4096 + 128 * (class - 51);
	class -= class < 52 ? 34 : 36; /* as if all had nine classes */
	base = 1024ul << class / 9;
	step = class % 9;
	return step ? base / 8 * (8 + step) : base / 32 * 33;
}
