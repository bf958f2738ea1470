/* SPDX-License-Identifier: MIT */
/*
 * Buddies and pageblocks on the fake OS: runs taken, extended, cut and given back in any order, purged, refused, and
 * threads' ends between. The shadow is an owner per page: nothing overlaps, *zeroed is true, and in the end every
 * block is the zone's again.
 */
#include "fake_os.h"
#include "fuzz.h"
#include "map/map.h"
#include "os/options.h"
#include "os/thread.h"
#include "page/buddy.h"
#include "page/zone.h"
#include "unit/page/every_block.h"

#define NR_RUNS 64

static struct run {
	char *addr;
	unsigned nr_pages;
} runs[NR_RUNS];

static void fill(struct run *r, unsigned from)
{
	for (unsigned i = from; i < r->nr_pages; i++)
		*(uint64_t *)(r->addr + ((size_t)i << PAGE_SHIFT)) = (uintptr_t)r ^ i;
}

static void check(const struct run *r)
{
	for (unsigned i = 0; i < r->nr_pages; i++)
		EXPECT(*(uint64_t *)(r->addr + ((size_t)i << PAGE_SHIFT)) == ((uintptr_t)r ^ i));
}

static void expect_zero(const char *p, unsigned nr_pages)
{
	for (size_t i = 0; i < (size_t)nr_pages << PAGE_SHIFT; i += BSLAB_PAGE_SIZE / 2)
		EXPECT(*(const uint64_t *)(p + i) == 0);
}

static void take(struct run *r, struct input *in)
{
	unsigned op = take_byte(in), align = op % 4 == 0 ? take_byte(in) % (PAGEBLOCK_ORDER + 1) : 0;
	bool zeroed;

	r->nr_pages = op % 3 ? 1 + take_byte(in) % 64 : 1 + (unsigned)take_number(in, 2) % PAGEBLOCK_PAGES;
	r->addr = pages_alloc(r->nr_pages, align, (enum migratetype)(op / 16 % 3), op % 16 == 15 ? PAGES_HIGHATOMIC : 0, &zeroed);
	if (!r->addr)
		return;
	EXPECT((uintptr_t)r->addr % (BSLAB_PAGE_SIZE << align) == 0);
	if (zeroed)
		expect_zero(r->addr, r->nr_pages);
	fill(r, 0);
}

static void give(struct run *r, bool clean)
{
	check(r);
	if (clean) {
		memset(r->addr, 0, (size_t)r->nr_pages << PAGE_SHIFT);
		pages_free_clean(r->addr, r->nr_pages);
	} else {
		pages_free(r->addr, r->nr_pages);
	}
	r->addr = NULL;
}

static void extend(struct run *r, struct input *in)
{
	unsigned more = 1 + take_byte(in);
	bool zeroed;

	if (r->nr_pages + more > PAGEBLOCK_PAGES || !pages_extend(r->addr, r->nr_pages, more, &zeroed))
		return;
	if (zeroed)
		expect_zero(r->addr + ((size_t)r->nr_pages << PAGE_SHIFT), more);
	r->nr_pages += more;
	fill(r, r->nr_pages - more);
	check(r);
}

static void cut(struct run *r, struct input *in)
{
	unsigned keep = 1 + take_byte(in) % r->nr_pages;

	if (keep == r->nr_pages)
		return;
	pages_free(r->addr + ((size_t)keep << PAGE_SHIFT), r->nr_pages - keep);
	r->nr_pages = keep;
}

static void check_block(struct pageblock *b, void *unused)
{
	(void)unused;
	EXPECT(b->state != PAGEBLOCK_BUDDY || pageblock_is_valid(b));
}

static void step(struct input *in)
{
	unsigned op = take_byte(in);
	struct run *r = &runs[take_byte(in) % NR_RUNS];

	switch (op % 16) {
	case 0:
		pages_purge();
		break;
	case 1:
		zone_purge(take_byte(in));
		break;
	case 2:
		fake_fail_at(FAKE_ALL & ~(1u << FAKE_UNMAP), 1 + take_byte(in) % 8, op & 16);
		break;
	case 3:
		fake_fail_at(0, 0, false);
		break;
	case 4: /* this thread ends, and another like it begins */
		pages_thread_exit();
		break;
	case 5: /* or it goes on as a guest */
		pages_thread_exit();
		thread_state.exit_hooked = op & 16 ? THREAD_ENDED : THREAD_UNKNOWN;
		break;
	case 6:
		fake.clock_ms += take_byte(in);
		break;
	case 7:
	case 8:
		if (r->addr)
			extend(r, in);
		break;
	case 9:
		if (r->addr)
			cut(r, in);
		break;
	default:
		if (r->addr)
			give(r, op & 16);
		else
			take(r, in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	struct zone_info zone;

	bslab_options.region_size = 64 * MIB;
	fake.nr_cpus = 2;
	if (!fake.clock_ms)
		fake.clock_ms = 1000;
	while (in.next < in.end)
		step(&in);
	fake_fail_at(0, 0, false);
	if (size % 16 == 0)
		for_each_block(check_block, NULL);
	for (size_t i = 0; i < NR_RUNS; i++)
		if (runs[i].addr)
			give(&runs[i], false);
	zone_snapshot(&zone);
	EXPECT(zone.nr_used == 0);
	EXPECT(zone.nr_free == zone.nr_committed);
	return 0;
}
