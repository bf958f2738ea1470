/* SPDX-License-Identifier: MIT */
#include "insight/elf.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(elf);

struct note {
	Elf64_Nhdr h;
	char owner[8];
	unsigned char desc[8];
};

static const struct note notes[2] = {
    {{6, 5, 7}, "bslab", {1, 2, 3, 4, 5}},
    {{4, 12, NT_GNU_BUILD_ID}, "GNU\0abcd", {9, 8, 7, 6}}, /* a shorter owner: its contents begin with abcd */
};

/* An image as a file has it: header, two program headers, notes. */
struct image {
	Elf64_Ehdr h;
	Elf64_Phdr ph[2];
	struct note note[2];
};

static struct image image(void)
{
	struct image i = {.h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
				.e_phoff = offsetof(struct image, ph), .e_phnum = 2, .e_phentsize = sizeof(Elf64_Phdr)}};

	i.ph[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_vaddr = 0x400000, .p_filesz = sizeof i};
	i.ph[1] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = offsetof(struct image, note), .p_align = 4,
			       .p_vaddr = 0x400000 + offsetof(struct image, note), .p_filesz = sizeof notes};
	memcpy(i.note, notes, sizeof notes);
	return i;
}

struct bytes {
	const char *bytes;
	uint64_t base, size;
};

static bool read_bytes(void *arg, uint64_t addr, void *buf, size_t size)
{
	struct bytes *b = arg;

	if (addr < b->base || addr - b->base > b->size || size > b->size - (addr - b->base))
		return false;
	memcpy(buf, b->bytes + (addr - b->base), size);
	return true;
}

static uint64_t found_at;

static bool find_bslab(void *arg, const struct elf_note *note, uint64_t desc_addr)
{
	*(int *)arg += 1;
	if (!strcmp(note->owner, "bslab"))
		found_at = desc_addr;
	return true;
}

Test(elf, notes_one_by_one)
{
	const unsigned char *bytes = (const unsigned char *)notes;
	struct elf_note n;
	size_t at = 0;

	cr_assert(elf_note_next(bytes, sizeof notes, 4, &at, &n));
	cr_assert_str_eq(n.owner, "bslab");
	cr_assert_eq(n.type, 7);
	cr_assert_eq(n.desc_size, 5);
	cr_assert_eq(n.desc[4], 5);
	cr_assert_eq(at, sizeof notes[0]);
	cr_assert(elf_note_next(bytes, sizeof notes, 4, &at, &n));
	cr_assert_str_eq(n.owner, "GNU");
	cr_assert_not(elf_note_next(bytes, sizeof notes, 4, &at, &n));
}

Test(elf, notes_cut_short_anywhere)
{
	for (size_t size = 0; size < sizeof notes; size++) {
		unsigned char *bytes = malloc(size + !size);
		struct elf_note n;
		size_t at = 0, nr = 0;

		memcpy(bytes, notes, size);
		while (elf_note_next(bytes, size, 4, &at, &n))
			nr++;
		/* The padding behind the last may be missing. */
		cr_assert_eq(nr, size >= sizeof notes[0] - 3, "%zu of %zu", nr, size);
		free(bytes);
	}
}

Test(elf, notes_of_garbage)
{
	unsigned char bytes[256];
	unsigned seed = 1;

	for (int i = 0; i < 100000; i++) {
		struct elf_note n;
		size_t at = 0, nr = 0;

		for (size_t j = 0; j < sizeof bytes; j++)
			bytes[j] = (unsigned char)((seed = seed * 1664525 + 1013904223) >> 28);
		while (elf_note_next(bytes, sizeof bytes, 4, &at, &n)) {
			cr_assert_leq(n.desc_offset + n.desc_size, sizeof bytes);
			cr_assert_lt(strlen(n.owner), sizeof bytes);
			cr_assert_lt(nr++, sizeof bytes);
		}
	}
}

Test(elf, an_image_in_memory_and_in_a_file)
{
	struct image i = image();
	struct bytes loaded = {(char *)&i, 0x7f0000000000, sizeof i}, file = {(char *)&i, 0, sizeof i};
	struct build_id id = {0};
	int nr = 0;

	cr_assert(elf_image_notes(read_bytes, &loaded, loaded.base, find_bslab, &nr));
	cr_assert_eq(nr, 2);
	cr_assert_eq(found_at, loaded.base + offsetof(struct image, note[0].desc));
	cr_assert(elf_file_notes(read_bytes, &file, elf_keep_build_id, &id));
	cr_assert_eq(id.size, 12);
	cr_assert(!memcmp(id.bytes, "abcd\x9\x8\x7\x6\0\0\0\0", 12));
}

Test(elf, images_of_garbage)
{
	unsigned seed = 1;

	for (int k = 0; k < 100000; k++) {
		struct image i = image();
		struct bytes loaded = {(char *)&i, 0x1000, sizeof i};
		int nr = 0;

		for (int j = 0; j < 3; j++) {
			seed = seed * 1664525 + 1013904223;
			((char *)&i)[(seed >> 8) % sizeof i] = (char)(seed >> 24);
		}
		elf_image_notes(read_bytes, &loaded, loaded.base, find_bslab, &nr);
		cr_assert_leq(nr, 20);
	}
}

Test(elf, what_is_no_image)
{
	struct image good = image(), i;
	struct bytes loaded = {(char *)&i, 0x1000, sizeof i};
	int nr = 0;

	i = good, i.h.e_ident[0] = 0;
	cr_assert_not(elf_image_notes(read_bytes, &loaded, 0x1000, find_bslab, &nr));
	i = good, i.h.e_ident[EI_CLASS] = ELFCLASS32;
	cr_assert_not(elf_image_notes(read_bytes, &loaded, 0x1000, find_bslab, &nr));
	i = good, i.h.e_ident[EI_DATA] = ELFDATA2MSB;
	cr_assert_not(elf_image_notes(read_bytes, &loaded, 0x1000, find_bslab, &nr));
	i = good, i.h.e_phoff = UINT64_MAX - 8;
	cr_assert_not(elf_image_notes(read_bytes, &loaded, 0x1000, find_bslab, &nr));
	i = good, i.h.e_phnum = 0xfffe;
	cr_assert_not(elf_image_notes(read_bytes, &loaded, 0x1000, find_bslab, &nr));
	i = good, i.ph[0].p_offset = 4096; /* its header is not loaded: where it is cannot be told */
	cr_assert_not(elf_image_notes(read_bytes, &loaded, 0x1000, find_bslab, &nr));
	cr_assert_eq(nr, 0);
}
