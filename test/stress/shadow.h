/* SPDX-License-Identifier: MIT */
/*
 * A bit for each eight bytes of addresses: set while a live block covers them. Two live blocks that share a byte are thus
 * found when the second one is had, whatever is in them. The bits stand in mappings of their own, 16 MiB for each GiB of
 * addresses in which blocks are, resident where blocks are.
 */
#ifndef SHADOW_H
#define SHADOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SHADOW_ADDRESS_BITS 48
#define SHADOW_SPAN_SHIFT 30
#define SHADOW_GRANULE_SHIFT 3
#define SHADOW_WORDS ((size_t)1 << (SHADOW_SPAN_SHIFT - SHADOW_GRANULE_SHIFT - 6))

typedef _Atomic uint64_t shadow_word;
static _Atomic(shadow_word *) shadow_spans[(size_t)1 << (SHADOW_ADDRESS_BITS - SHADOW_SPAN_SHIFT)];

static shadow_word *shadow_span(uintptr_t at)
{
	_Atomic(shadow_word *) *entry = &shadow_spans[at >> SHADOW_SPAN_SHIFT];
	shadow_word *span = atomic_load(entry), *made;

	if (span)
		return span;
	made = mmap(NULL, SHADOW_WORDS * sizeof *made, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (made == MAP_FAILED) {
		perror("shadow: mmap");
		exit(1);
	}
	if (atomic_compare_exchange_strong(entry, &span, made))
		return made;
	munmap(made, SHADOW_WORDS * sizeof *made);
	return span;
}

/* Sets, or clears, all bits of a block. False when one of them was already as it is to be. */
static bool shadow_mark(const void *block, size_t size, bool is_live)
{
	uintptr_t granule = (uintptr_t)block >> SHADOW_GRANULE_SHIFT;
	uintptr_t end = ((uintptr_t)block + size + (1 << SHADOW_GRANULE_SHIFT) - 1) >> SHADOW_GRANULE_SHIFT;
	bool good = true;

	while (granule < end) {
		unsigned bit = granule % 64, nr = end - granule < 64 - bit ? (unsigned)(end - granule) : 64 - bit;
		uint64_t mask = (nr == 64 ? ~(uint64_t)0 : ((uint64_t)1 << nr) - 1) << bit;
		shadow_word *word = &shadow_span(granule << SHADOW_GRANULE_SHIFT)[granule / 64 % SHADOW_WORDS];

		if (is_live)
			good = good && !(atomic_fetch_or(word, mask) & mask);
		else
			good = good && (atomic_fetch_and(word, ~mask) & mask) == mask;
		granule += nr;
	}
	return good;
}

#endif
