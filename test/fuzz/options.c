/* SPDX-License-Identifier: MIT */
/* The option parser: any text leaves allowed values, and a fault is one line that ends. */
#include "fuzz.h"
#include "os/options.h"

static void check(const struct options *o)
{
	EXPECT(o->index <= INDEX_THREAD);
	EXPECT(is_power_of_2(o->region_size) && o->region_size >= PAGEBLOCK_SIZE && o->region_size <= GIB);
	EXPECT(o->reserve_size <= GIB);
	EXPECT(o->large_size >= PAGEBLOCK_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options o = bslab_option_defaults, again = bslab_option_defaults;
	char text[512], fault[160] = "", small[1 + 16];
	bool good;

	if (size >= sizeof text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	good = options_parse(&o, text, fault, sizeof fault);
	check(&o);
	EXPECT(good == !fault[0]);
	EXPECT(memchr(fault, '\0', sizeof fault));
	/* The message may be cut, the values not. */
	small[16] = 'x';
	EXPECT(options_parse(&again, text, small, 16) == good);
	EXPECT(small[16] == 'x');
	EXPECT(!memcmp(&o, &again, sizeof o));
	return 0;
}
