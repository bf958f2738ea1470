/* SPDX-License-Identifier: MIT */
/*
 * The page map: from any address to its page descriptor (Linux: mem_map with
 * sparse sections, mm/sparse.c; descriptors after the memdesc plan).
 *
 * 1. A section is 2 GiB of addresses. It has a descriptor of 8 bytes for each
 *    page and a struct pageblock for each 2 MiB: 0.2 % of the memory in use,
 *    since the kernel fills in only the parts that are touched.
 *
 * 2. The root, bslab_hot.root[], has an entry per section: the address that the
 *    descriptor of page 0 would have. So the lookup is two loads and no mask:
 *
 *        root[address >> 31] + (address >> 12) * 8
 *
 *    The folded levels are those of a four-level page table: root 17 bits (pgd,
 *    pud, upper bit of pmd), section 19 bits (pmd, pte).
 *
 * 3. A descriptor is authoritative. 0 means "not mine, or free". The low byte is
 *    the size class of a slab page and 0 for any other page, so that free()
 *    needs no type test: class 0 is a sheaf that is always full.
 *
 *        slab:     | struct slab * (48 bits)   | 0 (8)    | class (8) |
 *        others:   | pointer or fields (48)    | type (8) | 0     (8) |
 *
 *    Slabs of typed caches are among the others, so that free() does not take
 *    their objects: their type is the cache's number (slab/typed.h). Those of
 *    malloc's caches of explicit zones have the cache's number for a class. In the
 *    hardened mode malloc's slabs are among them, too, so that each free of an
 *    object comes to the slow path and is checked.
 *
 * 4. Sections are never removed, descriptors are read without a lock. Whoever
 *    owns a page writes its descriptor; it has to be written before the page is
 *    handed to anyone and cleared before the page is freed.
 */
#ifndef BSLAB_MAP_H
#define BSLAB_MAP_H

#include "base/hot.h"

typedef uint64_t page_desc_t;

enum page_type {
	PAGE_NONE,
	PAGE_FREE,     /* head of a free block: order, links inside its pageblock */
	PAGE_RUN,      /* head of a page run: number of pages */
	PAGE_RUN_BODY, /* other pages of a run: distance to its head */
	PAGE_RUN_HOT,  /* head of a run that is free and kept whole: number of pages */
	PAGE_LARGE,    /* head of a large block: struct vm_area */
	PAGE_GUARD,    /* before or behind a slab or a run in the hardened mode: how it traps (page/guard.h) */
	PAGE_OBJECTS,  /* of a slab in the hardened mode: struct slab */
	PAGE_SAMPLED,  /* head of a run, or of pages for one small object, that the profile knows: struct sample */
	PAGE_GUARDED,  /* of a guarded block, live or freed, in the pool: struct guarded_slot */
	PAGE_FOLIO,    /* head of a run that a program counts references of: page/folio.h */
	PAGE_HEAP,     /* every page of a library's heap, of a large block its first: struct chunk */
	PAGE_POOL,     /* every page of a pool's elements: struct pool */
	PAGE_HANDLE,   /* every page of a slab whose objects have handles: struct handle_slab */
	PAGE_MOVABLE, /* head of a run that its program moves on demand: struct movable */
	PAGE_CONTIG,  /* head of a range taken from the contiguous reserve: number of pages, 0 while it is being taken */
	PAGE_TYPED = 85, /* from here on the number of a typed cache, behind those that bslab has itself: struct slab */
};

struct pageblock;
struct section;

#define SECTION_PAGES ((size_t)1 << (SECTION_SHIFT - PAGE_SHIFT))
#define SECTION_BLOCKS ((size_t)1 << (SECTION_SHIFT - PAGEBLOCK_SHIFT))

/* The slot of an address's descriptor, NULL where no section is. Any value is a good argument. */
static force_inline _Atomic page_desc_t *map_slot(uintptr_t addr)
{
	_Atomic page_desc_t *slot;
	uintptr_t base;

	if (unlikely(addr >> SECTION_SHIFT >= NR_SECTIONS))
		return NULL;
	base = READ_ONCE(bslab_hot.root[addr >> SECTION_SHIFT]);
	if (unlikely(!base))
		return NULL;
	slot = in_register((_Atomic page_desc_t *)(base + (addr >> PAGE_SHIFT) * sizeof(page_desc_t)));
	if (!slot)
		__builtin_unreachable(); /* so that callers test once */
	return slot;
}

/*
 * Where free() finds the class: the low byte of the descriptor, NULL where no section is. Rotating brings the low
 * three bits, 0 in the address of any object, above the section's number, so that one comparison tells addresses that
 * are too high and pointers that are not even aligned.
 */
static force_inline uintptr_t map_rotate(uintptr_t addr)
{
	return addr >> 3 | addr << 61;
}

/* Of the section; 0: none. */
static force_inline uintptr_t map_base(const struct hot *hot, uintptr_t rotated)
{
	return likely(rotated >> (SECTION_SHIFT - 3) < NR_SECTIONS) ? hot->root[rotated >> (SECTION_SHIFT - 3)] : 0;
}

static force_inline uintptr_t map_page(uintptr_t rotated)
{
	return rotated >> (PAGE_SHIFT - 3);
}

static force_inline const uint8_t *map_byte(uintptr_t base, uintptr_t page)
{
	const uint8_t *byte = (const uint8_t *)(base + page * sizeof(page_desc_t));

	if (!byte)
		__builtin_unreachable(); /* so that callers test once */
	return byte;
}

static force_inline const uint8_t *map_class_byte(uintptr_t addr)
{
	uintptr_t rotated = map_rotate(addr), base = map_base(&bslab_hot, rotated);

	return likely(base) ? map_byte(base, map_page(rotated)) : NULL;
}

/* The same for a typed cache's free(): class and type in one load, to be compared with desc_tag(). */
static force_inline const uint16_t *map_tag(uintptr_t addr)
{
	return (const uint16_t *)map_class_byte(addr);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the class is the first byte of a descriptor");

/*
 * Relaxed is enough: whoever frees or looks up an object got its pointer from
 * the thread that allocated it, and with that hand-over the descriptor.
 */
static force_inline page_desc_t map_lookup(uintptr_t addr)
{
	_Atomic page_desc_t *slot = map_slot(addr);

	return slot ? atomic_load_explicit(slot, memory_order_relaxed) : 0;
}

static force_inline void map_set(uintptr_t addr, page_desc_t desc)
{
	atomic_store_explicit(map_slot(addr), desc, memory_order_relaxed);
}

/* The same of a page that is known to be bslab's. */
static force_inline void map_set_known(uintptr_t addr, page_desc_t desc)
{
	uintptr_t slot = bslab_hot.root[addr >> SECTION_SHIFT] + (addr >> PAGE_SHIFT) * sizeof(page_desc_t);

	atomic_store_explicit((_Atomic page_desc_t *)in_register(slot), desc, memory_order_relaxed);
}

/* Of any length; its sections have to be there. */
void map_set_range(uintptr_t addr, size_t nr_pages, page_desc_t desc);
/* The same with 0, and descriptors that take whole pages give them back. */
void map_clear_range(uintptr_t addr, size_t nr_pages);
/* Only the last, of descriptors that are 0: none is written, for most of them were never touched where a block was large. */
void map_purge_range(uintptr_t addr, size_t nr_pages);

static force_inline unsigned desc_class(page_desc_t d)
{
	return (uint8_t)d;
}

static force_inline enum page_type desc_type(page_desc_t d)
{
	return (enum page_type)((d >> 8) & 0xff);
}

/* The number of the cache whose slab the page is in, malloc's or typed; 0: no slab's. */
static force_inline unsigned desc_cache(page_desc_t d)
{
	return desc_class(d) ? desc_class(d) : desc_type(d) >= PAGE_TYPED ? (unsigned)desc_type(d) : 0;
}

/* The low 16 bits of the descriptors of a cache's slabs. */
static force_inline unsigned desc_tag(unsigned cache)
{
	return cache < PAGE_TYPED ? cache : cache << 8;
}

static force_inline void *desc_pointer(page_desc_t d)
{
	return (void *)(uintptr_t)(d >> 16);
}

static force_inline page_desc_t desc_of_pointer(const void *p, enum page_type type, unsigned class)
{
	return (uint64_t)(uintptr_t)p << 16 | (uint64_t)type << 8 | class;
}

static force_inline page_desc_t desc_of_number(uint64_t n, enum page_type type)
{
	return n << 16 | (uint64_t)type << 8;
}

static force_inline uint64_t desc_number(page_desc_t d)
{
	return d >> 16;
}

/* Brings the sections of a range into being. False when the kernel refuses. */
bool map_ensure(uintptr_t addr, size_t size);
/*
 * The same for one address that the kernel has yet to choose, so that it cannot fail any more once it is known: a
 * section is got first, NULL when the kernel refuses, and used or put by afterwards.
 */
struct section *map_spare_get(void);
void map_ensure_with(uintptr_t addr, struct section *spare);
/* The pageblock of an address, NULL where no section is. */
struct pageblock *map_pageblock(uintptr_t addr);
/* Bytes of address space that sections take. */
size_t map_reserved(void);

void map_fork_prepare(void);
void map_fork_done(bool child);

#endif
