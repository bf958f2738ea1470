/* SPDX-License-Identifier: MIT */
#include "insight/elf.h"

#include <stdlib.h>
#include <string.h>

bool elf_header_is_good(const Elf64_Ehdr *h)
{
	return !memcmp(h->e_ident, ELFMAG, SELFMAG) && h->e_ident[EI_CLASS] == ELFCLASS64 &&
	       h->e_ident[EI_DATA] == ELFDATA2LSB && h->e_phentsize == sizeof(Elf64_Phdr);
}

/* n rounded up, at most size: notes at the end need no padding. */
static size_t padded(size_t n, size_t align, size_t size)
{
	return min_size(align_up(n, align), size);
}

bool elf_note_next(const unsigned char *notes, size_t size, size_t align, size_t *at, struct elf_note *note)
{
	Elf64_Nhdr h;
	size_t rest;

	align = align == 8 ? 8 : 4;
	if (*at > size || size - *at < sizeof h)
		return false;
	memcpy(&h, notes + *at, sizeof h);
	*at += sizeof h;
	rest = size - *at;
	note->owner = (const char *)notes + *at;
	if (!h.n_namesz || h.n_namesz > rest || note->owner[h.n_namesz - 1])
		return false;
	*at = padded(*at + h.n_namesz, align, size);
	if (h.n_descsz > size - *at)
		return false;
	note->type = h.n_type;
	note->desc = notes + *at;
	note->desc_offset = *at;
	note->desc_size = h.n_descsz;
	*at = padded(*at + h.n_descsz, align, size);
	return true;
}

bool elf_keep_build_id(void *arg, const struct elf_note *note, uint64_t desc_addr)
{
	struct build_id *id = arg;

	(void)desc_addr;
	if (strcmp(note->owner, ELF_NOTE_GNU) || note->type != NT_GNU_BUILD_ID || note->desc_size > MAX_BUILD_ID)
		return true;
	id->size = note->desc_size;
	memcpy(id->bytes, note->desc, note->desc_size);
	return false;
}

/* False when the visitor wants no more. */
static bool visit_segment(elf_read *read, void *read_arg, uint64_t addr, const Elf64_Phdr *ph, elf_note_visit *visit,
			  void *arg)
{
	size_t at = 0, size = ph->p_filesz;
	unsigned char *notes;
	struct elf_note note;
	bool more = true;

	if (size > MAX_NOTES_SIZE)
		return true;
	notes = malloc(size + 1);
	if (notes && size && read(read_arg, addr, notes, size))
		while (more && elf_note_next(notes, size, ph->p_align, &at, &note))
			more = visit(arg, &note, addr + note.desc_offset);
	free(notes);
	return more;
}

/* The difference between addresses in memory and in the file: that of the segment in which the header is. */
static bool find_bias(const Elf64_Phdr *ph, unsigned nr, uint64_t base, uint64_t *bias)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0) {
			*bias = base - ph[i].p_vaddr;
			return true;
		}
	return false;
}

static bool visit_notes(elf_read *read, void *read_arg, uint64_t base, bool is_file, elf_note_visit *visit, void *arg)
{
	Elf64_Ehdr h;
	Elf64_Phdr *ph;
	uint64_t bias = 0;
	unsigned i;
	bool good;

	if (!read(read_arg, base, &h, sizeof h) || !elf_header_is_good(&h) || !h.e_phnum ||
	    h.e_phnum > MAX_IMAGE_HEADERS)
		return false;
	ph = calloc(h.e_phnum, sizeof *ph);
	good = ph && read(read_arg, base + h.e_phoff, ph, h.e_phnum * sizeof *ph) &&
	       (is_file || find_bias(ph, h.e_phnum, base, &bias));
	for (i = 0; good && i < h.e_phnum; i++)
		if (ph[i].p_type == PT_NOTE &&
		    !visit_segment(read, read_arg, is_file ? ph[i].p_offset : bias + ph[i].p_vaddr, &ph[i], visit, arg))
			break;
	free(ph);
	return good;
}

bool elf_image_notes(elf_read *read, void *read_arg, uint64_t base, elf_note_visit *visit, void *arg)
{
	return visit_notes(read, read_arg, base, false, visit, arg);
}

bool elf_file_notes(elf_read *read, void *read_arg, elf_note_visit *visit, void *arg)
{
	return visit_notes(read, read_arg, 0, true, visit, arg);
}
