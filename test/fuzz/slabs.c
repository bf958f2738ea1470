/* SPDX-License-Identifier: MIT */
/*
 * Slabs, sheaves, barns and per-CPU areas on the fake OS: objects of a few classes taken and given singly, in batches,
 * by the fast paths, with drains, reclaim, refusals and time going by. The shadow is the live objects, each filled with a
 * number of its own; in the end all slabs are gone.
 */
#include "fake_os.h"
#include "fuzz.h"
#include "os/options.h"
#include "page/buddy.h"
#include "page/zone.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"

#define NR_OBJECTS 512
#define NR_SIZES 6

static const size_t sizes[NR_SIZES] = {8, 48, 640, 4096, 9216, 32768};

static struct object {
	uint64_t *addr;
	struct kmem_cache *c;
} objects[NR_OBJECTS];

static void mark(struct object *o)
{
	if (!o->addr)
		return;
	EXPECT((uintptr_t)o->addr % 8 == 0);
	EXPECT(desc_class(map_lookup((uintptr_t)o->addr)) == o->c->class);
	o->addr[0] = (uintptr_t)o;
	o->addr[o->c->size / 8 - 1] = (uintptr_t)o;
}

static void check(const struct object *o)
{
	EXPECT(o->addr[0] == (uintptr_t)o);
	EXPECT(o->addr[o->c->size / 8 - 1] == (uintptr_t)o);
}

static void take(struct object *o, unsigned how)
{
	o->addr = how & 1 ? percpu_pop(o->c->class, RSEQ_MM_CID) : NULL;
	if (!o->addr)
		o->addr = percpu_alloc_slow(o->c, how & 2 ? PAGES_HIGHATOMIC : 0);
	mark(o);
}

static void give(struct object *o, unsigned how)
{
	check(o);
	if (!(how & 1) || !percpu_push(o->c->class, o->addr, RSEQ_MM_CID)) {
		EXPECT(slab_check_object(slab_of(map_lookup((uintptr_t)o->addr)), (uintptr_t)o->addr) == OBJECT_GOOD);
		percpu_free_slow(o->c, o->addr);
	}
	o->addr = NULL;
}

/* As a sheaf is filled and emptied. */
static void take_batch(struct kmem_cache *c, unsigned first, unsigned n)
{
	void *batch[64];
	unsigned i, got;

	for (i = 0; i < n; i++)
		if (objects[(first + i) % NR_OBJECTS].addr)
			n = i;
	got = slab_take(c, batch, n, 0);
	EXPECT(got <= n);
	for (i = 0; i < got; i++) {
		objects[(first + i) % NR_OBJECTS] = (struct object){batch[i], c};
		mark(&objects[(first + i) % NR_OBJECTS]);
	}
}

static void give_batch(struct kmem_cache *c, unsigned first, unsigned n)
{
	void *batch[64];
	unsigned i, k = 0;

	for (i = 0; i < n; i++) {
		struct object *o = &objects[(first + i) % NR_OBJECTS];

		if (!o->addr || o->c != c)
			continue;
		check(o);
		batch[k++] = o->addr;
		o->addr = NULL;
	}
	slab_give(c, batch, k);
}

static void reclaim(void)
{
	percpu_drain();
	for (unsigned i = 0; i < NR_SIZES; i++) {
		struct kmem_cache *c = cache_if_used(size_class(sizes[i]));

		if (!c)
			continue;
		barn_drain(c);
		cache_shrink(c);
	}
}

static void repeat(struct kmem_cache *c, struct input *in, unsigned n)
{
	unsigned first = (unsigned)take_number(in, 2) % NR_OBJECTS, how = take_byte(in);

	for (unsigned i = 0; i < n; i++) {
		struct object *o = &objects[(first + i) % NR_OBJECTS];

		if (o->addr) {
			give(o, how);
		} else {
			o->c = c;
			take(o, how);
		}
	}
}

static void step(struct input *in)
{
	unsigned op = take_byte(in), first;
	struct kmem_cache *c = cache_of(size_class(sizes[op / 16 % NR_SIZES]));
	struct cache_info info;

	if (!c)
		return;
	switch (op % 16) {
	case 0:
		reclaim();
		break;
	case 1:
		percpu_drain();
		break;
	case 2:
		barn_drain(c);
		break;
	case 3:
		cache_shrink_kept(c);
		cache_snapshot(c->class, &info);
		break;
	case 4:
		fake_fail_at(FAKE_ALL & ~(1u << FAKE_BARRIER), 1 + take_byte(in) % 8, op & 16);
		break;
	case 5:
		fake_fail_at(0, 0, false);
		break;
	case 6:
		fake.clock_ms += take_byte(in);
		break;
	case 7:
	case 8:
		first = (unsigned)take_number(in, 2);
		take_batch(c, first, take_byte(in) % 64);
		break;
	case 9:
	case 10:
		first = (unsigned)take_number(in, 2);
		give_batch(c, first, take_byte(in) % 64);
		break;
	case 11: /* the first of a batch that fails is the barrier */
		fake_fail_at(1u << FAKE_BARRIER, 1 + take_byte(in) % 3, false);
		percpu_drain();
		fake_fail_at(0, 0, false);
		break;
	default:
		repeat(c, in, 1 + take_byte(in));
	}
}

static void expect_no_slabs(void)
{
	struct cache_info info;

	for (unsigned i = 0; i < NR_SIZES; i++)
		if (cache_snapshot(size_class(sizes[i]), &info)) {
			EXPECT(info.nr_slabs == 0);
			EXPECT(info.nr_barn_objects == 0);
		}
}

static void boot(void)
{
	static bool booted;
	char fault[160];
	const char *conf = getenv("BSLAB_CONF");

	if (booted)
		return;
	booted = true;
	EXPECT(options_parse(&bslab_options, conf ? conf : "", fault, sizeof fault));
	bslab_options.region_size = 64 * MIB;
	fake.nr_cpus = 4;
	fake.clock_ms = 1000;
	percpu_boot();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	unsigned i;

	boot();
	while (in.next < in.end)
		step(&in);
	fake_fail_at(0, 0, false);
	for (i = 0; i < NR_OBJECTS; i++)
		if (objects[i].addr)
			give(&objects[i], i);
	reclaim();
	expect_no_slabs();
	return 0;
}
