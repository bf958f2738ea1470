/* SPDX-License-Identifier: MIT */
/*
 * The page map with wild addresses: no address makes a look-up fault, and what was never set reads as 0. A shadow of
 * what was set is kept for a few pages.
 */
#include "fake_os.h"
#include "fuzz.h"
#include "map/map.h"
#include "map/pageblock.h"

#define NR_SHADOWS 256

static struct {
	uintptr_t addr;
	page_desc_t desc;
} shadow[NR_SHADOWS]; /* by page number; nothing else is ever set */

static page_desc_t expected(uintptr_t addr)
{
	uintptr_t page = align_down(addr, BSLAB_PAGE_SIZE);
	size_t i = (page >> PAGE_SHIFT) % NR_SHADOWS;

	return shadow[i].addr == page ? shadow[i].desc : 0;
}

static void look(uintptr_t addr)
{
	page_desc_t d = map_lookup(addr);
	const uint8_t *class = map_class_byte(addr);

	EXPECT(d == expected(addr));
	/* The fast path's look-up: none for what cannot be an object, else the low byte. */
	if (addr % 8 == 0 && addr >> ADDRESS_BITS == 0)
		EXPECT((class != NULL) == (map_slot(addr) != NULL));
	else
		EXPECT(!class || addr % 8 == 0);
	if (class)
		EXPECT(*class == desc_class(d));
	(void)map_pageblock(addr);
}

static void set(uintptr_t addr, page_desc_t desc)
{
	uintptr_t page = align_down(addr, BSLAB_PAGE_SIZE);
	size_t i = (page >> PAGE_SHIFT) % NR_SHADOWS;

	if (!map_ensure(page, BSLAB_PAGE_SIZE)) {
		EXPECT(addr >> ADDRESS_BITS);
		return;
	}
	EXPECT(map_pageblock(page));
	if (shadow[i].desc)
		map_set(shadow[i].addr, 0);
	shadow[i].addr = page;
	shadow[i].desc = desc;
	map_set(page, desc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	unsigned nr_sets = 0;

	while (in.next < in.end) {
		unsigned op = take_byte(&in);
		uintptr_t addr = take_number(&in, 8), near = fake_window() + (addr & (GIB - 1));

		switch (op % 4) {
		case 0:
			look(addr);
			break;
		case 1:
			look(near);
			break;
		case 2: /* sections stay: few wild ones */
			if (nr_sets++ < 2)
				set(fake_window() + addr % (8 * GIB), take_number(&in, 8));
			break;
		default:
			set(near, take_number(&in, 8));
			look(near);
		}
	}
	for (size_t i = 0; i < NR_SHADOWS; i++)
		if (shadow[i].desc) {
			look(shadow[i].addr + i);
			map_set(shadow[i].addr, 0);
			shadow[i].desc = 0;
		}
	return 0;
}
