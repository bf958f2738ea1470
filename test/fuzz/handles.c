/* SPDX-License-Identifier: MIT */
/*
 * Handles and compaction on the fake OS: objects of any size and alignment allocated, mapped, resized and freed, with
 * compactions, reclaim, refusals and time going by; and the same of a pool in a file. The shadow is the live objects: first and
 * last word of each have a number of its own, and what is mapped keeps its address. In the end all pageblocks are gone.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "fake_os.h"
#include "fuzz.h"
#include "handle/compact.h"
#include "handle/handle.h"
#include "handle/move.h"
#include "heap/highmem.h"
#include "large/large.h"
#include "os/options.h"
#include "page/compactable.h"
#include "page/zone.h"

#define NR_OBJECTS 256
#define MAX_SIZE (2 * PAGEBLOCK_SIZE)

static struct object {
	uint64_t handle; /* 0: none */
	size_t size;
	unsigned align; /* log2 */
	unsigned nr_maps;
	char *at; /* where it is mapped */
} objects[NR_OBJECTS];

/* Small ones mostly. */
static size_t some_size(struct input *in)
{
	unsigned shift = take_byte(in);

	return (size_t)take_number(in, 3) % (shift < 16 ? MAX_SIZE : (size_t)16 << shift % 12);
}

static void set_word(char *at, uint64_t value, size_t size)
{
	memcpy(at, &value, size < 8 ? size : 8);
}

static bool has_word(const char *at, uint64_t value, size_t size)
{
	return memcmp(at, &value, size < 8 ? size : 8) == 0;
}

static void mark(struct object *o, char *p)
{
	set_word(p, o->handle, o->size);
	if (o->size >= 16)
		set_word(p + o->size - 8, ~o->handle, 8);
}

static void check(const struct object *o, const char *p)
{
	EXPECT(has_word(p, o->handle, o->size));
	EXPECT(o->size < 16 || has_word(p + o->size - 8, ~o->handle, 8));
}

static char *map(struct object *o)
{
	char *p = handle_map(o->handle);

	EXPECT(p && (uintptr_t)p % ((size_t)1 << o->align) == 0);
	EXPECT(!o->nr_maps || p == o->at);
	return p;
}

static void visit(struct object *o)
{
	check(o, map(o));
	handle_unmap(o->handle);
}

static void alloc(struct object *o, struct input *in)
{
	unsigned how = take_byte(in);

	o->size = some_size(in);
	o->align = how & 1 ? 4 + how / 2 % 9 : 4;
	o->handle = o->align > 4 ? handle_alloc_aligned(o->size, o->align) : o->size <= SMALL_MAX ? handle_alloc_fast(o->size) : 0;
	if (!o->handle)
		o->handle = handle_alloc_aligned(o->size, o->align > 4 ? o->align : 0);
	if (!o->handle)
		return;
	EXPECT(handle_size(o->handle) == (o->size > PAGEBLOCK_SIZE ? align_up(o->size, BSLAB_PAGE_SIZE) : o->size));
	mark(o, map(o));
	handle_unmap(o->handle);
}

static void let_go(struct object *o)
{
	for (; o->nr_maps; o->nr_maps--)
		handle_unmap(o->handle);
	visit(o);
	if (!handle_free(o->handle))
		handle_free_slow(o->handle);
	o->handle = 0;
}

static void resize(struct object *o, struct input *in)
{
	size_t size = some_size(in);

	if (o->nr_maps)
		return;
	if (size < o->size) /* the last word goes */
		check(o, map(o)), handle_unmap(o->handle);
	if (handle_resize(o->handle, size) != RESIZE_DONE) {
		EXPECT(size > o->size || size > SMALL_MAX);
		visit(o);
		return;
	}
	if (o->size) { /* the first is kept */
		EXPECT(has_word(map(o), o->handle, size < o->size ? size : o->size));
		handle_unmap(o->handle);
	}
	o->size = size;
	mark(o, map(o));
	handle_unmap(o->handle);
}

static void use(struct object *o, unsigned op, struct input *in)
{
	if (!o->handle) {
		alloc(o, in);
		return;
	}
	switch (op % 4) {
	case 0:
		let_go(o);
		break;
	case 1:
		o->at = map(o);
		o->nr_maps++;
		break;
	case 2:
		if (o->nr_maps) {
			check(o, o->at);
			handle_unmap(o->handle);
			o->nr_maps--;
		}
		break;
	default:
		resize(o, in);
	}
}

static void use_some(unsigned op, struct input *in)
{
	unsigned first = take_byte(in), n = 1 + take_byte(in) % 128, step = 1 + take_byte(in) % 8;

	for (unsigned i = 0; i < n; i++)
		use(&objects[(first + i * step) % NR_OBJECTS], op, in);
}

/* --- a pool in a file ------------------------------------------------------------------------------------------------- */

#define NR_FILED 64

static struct bslab_highmem *pool;
static struct filed {
	uint64_t handle;
	size_t size;
	bool is_mapped, is_written;
} filed[NR_FILED];

static bool file_map(struct filed *f)
{
	int error;
	void *p;
	char *last;

	EXPECT(highmem_map(pool, f->handle, &p, &error) == HIGHMEM_GOOD);
	if (!p)
		return false;
	last = (char *)p + f->size - 8;
	if (f->is_written)
		EXPECT(has_word(p, f->handle, 8) && has_word(last, ~f->handle, 8));
	set_word(p, f->handle, 8);
	set_word(last, ~f->handle, 8);
	f->is_written = true;
	return true;
}

static void file_unmap(struct filed *f)
{
	EXPECT(highmem_unmap(pool, f->handle) == HIGHMEM_GOOD);
	EXPECT(highmem_unmap(pool, f->handle) == HIGHMEM_UNMAPPED);
	f->is_mapped = false;
}

static void file_alloc(struct filed *f, struct input *in)
{
	int error;

	EXPECT(highmem_alloc(pool, some_size(in) % (PAGEBLOCK_SIZE + 1), &f->handle, &error) == HIGHMEM_GOOD);
	if (error)
		f->handle = 0;
	else
		EXPECT(highmem_size(pool, f->handle, &f->size) == HIGHMEM_GOOD && f->size >= HIGHMEM_MIN_SIZE);
	f->is_written = false;
}

static void file_use(struct filed *f, struct input *in)
{

	if (!f->handle) {
		file_alloc(f, in);
	} else if (f->is_mapped) {
		file_unmap(f);
	} else if (take_byte(in) & 1) {
		f->is_mapped = file_map(f);
	} else {
		if (file_map(f))
			file_unmap(f);
		EXPECT(highmem_free(pool, f->handle) == HIGHMEM_GOOD);
		EXPECT(highmem_free(pool, f->handle) == HIGHMEM_FREE);
		f->handle = 0;
	}
}

static void file_empty(void)
{
	struct highmem_info info;

	for (unsigned i = 0; i < NR_FILED; i++) {
		if (filed[i].is_mapped)
			EXPECT(highmem_unmap(pool, filed[i].handle) == HIGHMEM_GOOD);
		if (filed[i].handle)
			EXPECT(highmem_free(pool, filed[i].handle) == HIGHMEM_GOOD);
		filed[i] = (struct filed){0};
	}
	highmem_snapshot(pool, &info);
	EXPECT(info.nr_objects == 0 && info.nr_maps == 0 && info.file_bytes <= HIGHMEM_BLOCK);
}

/* ----------------------------------------------------------------------------------------------------------------------- */

static void reclaim(void)
{
	handles_drain();
	handles_reclaim();
	large_drain();
}

static void step(struct input *in)
{
	unsigned op = take_byte(in);

	switch (op % 16) {
	case 0:
		handles_compact();
		break;
	case 1:
		reclaim();
		break;
	case 2:
		handles_balance();
		break;
	case 3:
		fake.clock_ms += take_byte(in);
		handles_reap();
		break;
	case 4:
		fake_fail_at(FAKE_ALL & ~(1u << FAKE_UNMAP), 1 + take_byte(in) % 8, op & 16);
		break;
	case 5:
		fake_fail_at(0, 0, false);
		break;
	case 6:
	case 7:
	case 8:
		file_use(&filed[take_byte(in) % NR_FILED], in);
		break;
	default:
		use_some(op / 16, in);
	}
}

static void boot(void)
{
	static bool booted;
	int error;

	if (booted)
		return;
	booted = true;
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = MIB;
	bslab_options.large_size = 3 * MIB;
	fake.nr_cpus = 4;
	fake.clock_ms = 1000;
	pool = highmem_create("fuzz", memfd_create("fuzz", MFD_CLOEXEC), 16 * HIGHMEM_BLOCK, 2 * HIGHMEM_BLOCK, &error);
	EXPECT(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};

	boot();
	while (in.next < in.end)
		step(&in);
	fake_fail_at(0, 0, false);
	for (unsigned i = 0; i < NR_OBJECTS; i++)
		if (objects[i].handle)
			let_go(&objects[i]);
	file_empty();
	reclaim();
	handle_caches_shrink();
	EXPECT(objects_bytes() == 0);
	EXPECT(compactable_nr_pages() == 0);
	return 0;
}
