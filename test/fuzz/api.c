/* SPDX-License-Identifier: MIT */
/*
 * The malloc family as a sequence of calls, on the real kernel, with a shadow of every live block: contents at both
 * ends and once a page, alignment, usable size, zeroes of calloc, errno. In the end nothing is in use.
 */
#include <errno.h>
#include <malloc.h>

#include "bslab/bslab.h"
#include "fuzz.h"

#define NR_BLOCKS 128

static struct block {
	unsigned char *p;
	size_t size;
	bool sized; /* may be freed by free_sized() */
} blocks[NR_BLOCKS];

/* Small ones, page runs and large ones; now and then absurd. */
static size_t choose_size(struct input *in)
{
	unsigned kind = take_byte(in);

	switch (kind % 16) {
	case 0:
		return (size_t)1 << (kind / 16 + 10);
	case 1:
		return take_number(in, 3) % (6 << 20);
	case 2:
		return kind < 16 ? (size_t)take_number(in, 8) : take_number(in, 2) * 64;
	case 3:
	case 4:
		return take_number(in, 2);
	default:
		return take_byte(in) * (kind % 3 + 1u);
	}
}

static size_t take_size(struct input *in)
{
	size_t size = choose_size(in);

	return size <= 32 << 20 ? size : size | (size_t)1 << 50; /* more than there can be */
}

static unsigned char byte_of(const struct block *b)
{
	return (unsigned char)(b - blocks + 1);
}

static void fill(struct block *b)
{
	for (size_t i = 0; i < b->size; i += i < 64 ? 1 : 4096 - 64)
		b->p[i] = byte_of(b);
	if (b->size)
		b->p[b->size - 1] = byte_of(b);
}

static void check(const struct block *b, size_t size, bool cut)
{
	for (size_t i = 0; i < size; i += i < 64 ? 1 : 4096 - 64)
		EXPECT(b->p[i] == byte_of(b));
	EXPECT(cut || !size || b->p[size - 1] == byte_of(b));
}

static void hold(struct block *b, void *p, size_t size, size_t align)
{
	if (!p) {
		EXPECT(errno == ENOMEM);
		EXPECT(size > 1 << 20);
		return;
	}
	EXPECT((uintptr_t)p % align == 0);
	EXPECT(bslab_malloc_usable_size(p) >= size);
	*b = (struct block){p, size, align <= 16};
	fill(b);
}

static void expect_zeros(const unsigned char *p, size_t size)
{
	for (size_t i = 0; p && i < size; i += size < 8192 ? 1 : 509)
		EXPECT(p[i] == 0);
}

static void take(struct block *b, struct input *in)
{
	unsigned op = take_byte(in);
	size_t align = (size_t)1 << op / 8 % 16, size = take_size(in);
	void *p = NULL;

	errno = 0;
	switch (op % 8) {
	case 0:
		p = bslab_calloc(1, size);
		if (size < PTRDIFF_MAX)
			expect_zeros(p, size);
		hold(b, p, size, 8);
		break;
	case 1:
		hold(b, bslab_aligned_alloc(align, size), size, align);
		break;
	case 2:
		errno = align < sizeof(void *) ? ENOMEM : bslab_posix_memalign(&p, align, size);
		if (align >= sizeof(void *))
			hold(b, p, size, align);
		break;
	case 3:
		/* memalign() takes the next power of 2. */
		hold(b, bslab_memalign(align + op % 3, size), size, align << (op % 3 != 0));
		break;
	case 4:
		hold(b, bslab_reallocarray(NULL, size, 1), size, 8);
		break;
	default:
		hold(b, bslab_malloc(size), size, size >= 16 ? 16 : 8);
	}
}

static void change(struct block *b, size_t size)
{
	size_t old_size = b->size;
	void *p;

	errno = 0;
	p = bslab_realloc(b->p, size);
	if (!size) {
		b->p = NULL;
		return;
	}
	if (!p) {
		EXPECT(errno == ENOMEM);
		EXPECT(size > 1 << 20);
		check(b, b->size, false);
		return;
	}
	b->p = p;
	b->size = size;
	check(b, size < old_size ? size : old_size, size < old_size);
	EXPECT(bslab_malloc_usable_size(p) >= size);
	fill(b);
}

static void release(struct block *b, unsigned how)
{
	check(b, b->size, false);
	if (how % 3 == 0 && b->sized)
		bslab_free_sized(b->p, b->size);
	else
		bslab_free(b->p);
	b->p = NULL;
}

static void step(struct input *in)
{
	unsigned op = take_byte(in);
	struct block *b = &blocks[take_byte(in) % NR_BLOCKS];

	if (op == 0) {
		bslab_malloc_trim(take_byte(in));
	} else if (op == 1) {
		bslab_mallopt(M_MMAP_THRESHOLD, (int)(take_byte(in) << 20));
	} else if (op == 2) {
		bslab_mallopt(M_TRIM_THRESHOLD, (int)(take_byte(in) << 16));
	} else if (!b->p) {
		take(b, in);
	} else if (op % 4 == 0) {
		change(b, take_size(in));
	} else {
		release(b, op / 4);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	struct bslab_mallinfo m;

	while (in.next < in.end)
		step(&in);
	for (size_t i = 0; i < NR_BLOCKS; i++)
		if (blocks[i].p)
			release(&blocks[i], 1);
	m = bslab_mallinfo2();
	EXPECT(m.uordblks == 0 && m.hblkhd == 0);
	return 0;
}
