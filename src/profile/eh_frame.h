/* SPDX-License-Identifier: MIT */
/*
 * The unwind tables of a program or a library, as they are loaded: .eh_frame_hdr, sorted by address, leads to
 * the entries of .eh_frame (Linux Standard Base, Core, 10.6; DWARF 5, 6.4.1). They are trusted, as they are when an
 * exception is thrown; what linkers and compilers do not write is no entry.
 */
#ifndef BSLAB_EH_FRAME_H
#define BSLAB_EH_FRAME_H

#include <string.h>

#include "base/base.h"

struct eh_entry {
	uintptr_t start; /* of its code */
	uint64_t code_align;
	int64_t data_align;
	unsigned ra_column;   /* the register that stands for the return address */
	bool is_signal_frame; /* what it returns to was interrupted, and did not call */
	/* Instructions: those that it has in common with others, then its own. */
	const uint8_t *common, *common_end, *own, *own_end;
};

/* Where an entry stands, and a sum over what it says. */
struct eh_mark {
	size_t index;
	struct eh_place {
		int32_t start, fde; /* of its code, and where it is: both from the header on */
	} place;
	uint64_t sum;
};

/* The entry for an address, by an .eh_frame_hdr that covers it. */
bool eh_find(const uint8_t *header, uintptr_t pc, struct eh_entry *e, struct eh_mark *mark);
/* Whether the same entry is there still: the library may be another one meanwhile. */
bool eh_is_there(const uint8_t *header, const struct eh_mark *mark);
/* The entry that stands here, whose code begins there; false also where pc is behind its code. */
bool eh_parse(const uint8_t *fde, uintptr_t start, uintptr_t pc, struct eh_entry *e);

/* --- numbers, as they stand in tables; p goes on behind them ------------------------------- */

static inline uint64_t eh_fixed(const uint8_t **p, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, *p, size); /* both machines are little endian */
	*p += size;
	return value;
}

static inline uint64_t eh_leb(const uint8_t **p, bool is_signed)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = *(*p)++;
		if (shift < 64)
			value |= (uint64_t)(byte & 127) << shift;
		shift += 7;
	} while (byte & 128);
	if (is_signed && byte & 64 && shift < 64)
		value |= ~0ull << shift;
	return value;
}

static inline uint64_t eh_unsigned(const uint8_t **p)
{
	return eh_leb(p, false);
}

static inline int64_t eh_signed(const uint8_t **p)
{
	return (int64_t)eh_leb(p, true);
}

#endif
