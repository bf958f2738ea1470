/* SPDX-License-Identifier: MIT */
/* What of ELF is needed: headers and notes, in files and as they are loaded, all of it taken with a grain of salt. */
#ifndef BSLAB_INSIGHT_ELF_H
#define BSLAB_INSIGHT_ELF_H

#include <elf.h>

#include "base/base.h"

/* As many as the kernel lets a program have; cores have more. */
#define MAX_IMAGE_HEADERS 1024
/* Notes that are longer are none of ours. */
#define MAX_NOTES_SIZE (64 * KIB)
#define MAX_BUILD_ID 64

/* 64 bits, little endian, and program headers of the size that we know. */
bool elf_header_is_good(const Elf64_Ehdr *h);

struct elf_note {
	const char *owner; /* ends with a zero byte */
	uint32_t type;
	const unsigned char *desc; /* at this offset in the notes */
	size_t desc_size, desc_offset;
};

/* The note at *at, which moves behind it. False at the end, or where notes make no sense any more. */
bool elf_note_next(const unsigned char *notes, size_t size, size_t align, size_t *at, struct elf_note *note);

struct build_id {
	size_t size; /* 0: none */
	unsigned char bytes[MAX_BUILD_ID];
};

static inline bool build_id_is_same(const struct build_id *a, const struct build_id *b)
{
	return a->size == b->size && !__builtin_memcmp(a->bytes, b->bytes, a->size);
}

/* Reads of an image, as it is loaded or as it is in a file. */
typedef bool elf_read(void *arg, uint64_t addr, void *buf, size_t size);
/* Called with each note of an image and the address of its contents, until it returns false. */
typedef bool elf_note_visit(void *arg, const struct elf_note *note, uint64_t desc_addr);

/* The notes of the image whose header is at `base`, as it is loaded. False when there is none. */
bool elf_image_notes(elf_read *read, void *read_arg, uint64_t base, elf_note_visit *visit, void *arg);
/* The same of a file: addresses are offsets. */
bool elf_file_notes(elf_read *read, void *read_arg, elf_note_visit *visit, void *arg);
/* A visitor that keeps the build id; arg is a struct build_id. */
bool elf_keep_build_id(void *arg, const struct elf_note *note, uint64_t desc_addr);

#endif
