/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "profile/symbols.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/auxv.h>

#include "os/os.h"
#include "profile/elf.h"
#include "profile/sort.h"

#pragma weak dlsym /* not in a static program */

/* Room for names; what finds none is shown without. */
#define NAME_BYTES 128 /* for each address: names of C++ are long */
#define MAX_TEXT (16 * MIB)
#define MAX_NAME 1023

bool symbols_init(struct symbols *s, size_t max_frames)
{
	unsigned max_modules = (unsigned)min_size(max_frames, MAX_MODULES); /* each that is kept has a frame */
	size_t modules = max_modules * sizeof(struct module), frames = max_frames * sizeof(struct frame);

	*s = (struct symbols){.max_frames = max_frames, .max_modules = max_modules,
			      .text_size = min_size(64 * KIB + max_frames * NAME_BYTES, MAX_TEXT)};
	s->map_size = align_up(modules + frames + s->text_size, os_page_size());
	s->map = os_map(s->map_size);
	if (!s->map)
		return false;
	s->module = s->map;
	s->frame = (struct frame *)((char *)s->map + modules);
	s->text = (char *)s->frame + frames;
	return true;
}

void symbols_drop(struct symbols *s)
{
	if (s->map)
		os_unmap(s->map, s->map_size);
}

void symbols_add(struct symbols *s, const uintptr_t *pc, unsigned n)
{
	unsigned i;

	for (i = 0; i < n && s->nr_frames < s->max_frames; i++)
		s->frame[s->nr_frames++] = (struct frame){.pc = pc[i], .module = NO_MODULE};
}

/* The first frame at or above an address. */
static size_t lower_bound(const struct symbols *s, uintptr_t addr)
{
	size_t low = 0, high = s->nr_frames;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->frame[middle].pc < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t symbols_find(const struct symbols *s, uintptr_t pc)
{
	return lower_bound(s, pc);
}

const char *module_name(const struct module *m)
{
	const char *p, *name = m->path;

	for (p = m->path; *p; p++)
		if (*p == '/' && p[1])
			name = p + 1;
	return name;
}

/* --- one module ------------------------------------------------------------------------- */

struct image {
	uintptr_t bias;
	const char *path; /* "" for the program */
	const ElfW(Phdr) *phdr;
	size_t nr_phdrs;
};

static const char *keep_name(struct symbols *s, const char *name)
{
	size_t len = min_size(strlen(name), MAX_NAME);
	char *copy = s->text + s->text_len;

	if (s->text_len + len + 1 > s->text_size)
		return NULL;
	memcpy(copy, name, len);
	copy[len] = '\0';
	s->text_len += len + 1;
	return copy;
}

/* Of several names of one place the one without underscores before it: malloc, not __libc_malloc. */
static bool name_is_better(const char *name, const char *old)
{
	return !old || (*old == '_' && *name != '_');
}

/* Names still stand in the module here. */
static void label(struct symbols *s, uintptr_t start, size_t size, const char *name)
{
	size_t i = lower_bound(s, start);

	for (; i < s->nr_frames && s->frame[i].pc - start < size; i++) {
		struct frame *f = &s->frame[i];

		/* The innermost function where they overlap. */
		if (start > f->start || (start == f->start && name_is_better(name, f->name))) {
			f->start = start;
			f->name = name;
		}
	}
}

static void label_from_table(struct symbols *s, const struct image *image)
{
	struct elf_symbols table;
	size_t i;

	if (!elf_symbols(image->bias, image->phdr, image->nr_phdrs, &table))
		return;
	for (i = table.nr_undefined; i < table.nr_symbols; i++) {
		const ElfW(Sym) *y = &table.symbol[i];
		unsigned type = ELF64_ST_TYPE(y->st_info);

		if (y->st_shndx != SHN_UNDEF && y->st_size && (type == STT_FUNC || type == STT_GNU_IFUNC))
			label(s, image->bias + y->st_value, y->st_size, elf_name(&table, i));
	}
}

static void keep_names(struct symbols *s, const struct module *m)
{
	size_t i;

	for (i = lower_bound(s, m->start); i < s->nr_frames && s->frame[i].pc < m->end; i++) {
		struct frame *f = &s->frame[i], *before = i ? f - 1 : NULL;

		f->module = (uint32_t)(m - s->module);
		if (!f->name)
			continue;
		if (before && before->name && before->start == f->start) {
			f->name = before->name;
			continue;
		}
		f->name = keep_name(s, f->name);
		if (!f->name)
			f->start = 0;
	}
}

#define NOTE_ALIGN 4

static void read_build_id(struct module *m, const struct image *image)
{
	size_t i;

	for (i = 0; i < image->nr_phdrs; i++) {
		const char *p = (const char *)image->bias + image->phdr[i].p_vaddr, *end = p + image->phdr[i].p_memsz;

		while (image->phdr[i].p_type == PT_NOTE && p + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)p;
			const char *name = p + sizeof *note, *desc = name + align_up(note->n_namesz, NOTE_ALIGN);

			if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(name, "GNU", 4) == 0 &&
			    desc + note->n_descsz <= end) {
				m->build_id_size = min_size(note->n_descsz, MAX_BUILD_ID);
				memcpy(m->build_id, desc, m->build_id_size);
				return;
			}
			p = desc + align_up(note->n_descsz, NOTE_ALIGN);
		}
	}
}

static void name_module(struct module *m, const struct image *image)
{
	if (*image->path)
		memcpy(m->path, image->path, min_size(strlen(image->path), sizeof m->path - 1));
	else if (!os_exe_path(m->path, sizeof m->path))
		memcpy(m->path, "program", sizeof "program");
}

/* Segments without an address in the profile are passed over; so are all behind the last that there is room for. */
static void visit_image(struct symbols *s, const struct image *image)
{
	bool is_labelled = false;
	size_t i, at;

	for (i = 0; i < image->nr_phdrs && s->nr_modules < s->max_modules; i++) {
		const ElfW(Phdr) *p = &image->phdr[i];
		struct module *m = &s->module[s->nr_modules];

		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
			continue;
		m->bias = image->bias;
		m->start = image->bias + p->p_vaddr;
		m->end = m->start + p->p_memsz;
		m->offset = p->p_offset;
		at = lower_bound(s, m->start);
		if (at == s->nr_frames || s->frame[at].pc >= m->end)
			continue;
		s->nr_modules++;
		name_module(m, image);
		read_build_id(m, image);
		if (!is_labelled)
			label_from_table(s, image);
		is_labelled = true;
		keep_names(s, m);
	}
}

/* --- all of them -------------------------------------------------------------------------- */

static int visit_info(struct dl_phdr_info *info, size_t size, void *symbols)
{
	(void)size;
	visit_image(symbols, &(struct image){info->dlpi_addr, info->dlpi_name, info->dlpi_phdr, info->dlpi_phnum});
	return 0;
}

/* A static program is its only module; the kernel says where its headers are: in the first page of the file. */
static void visit_program(struct symbols *s)
{
	struct image image = {0, "", (const ElfW(Phdr) *)getauxval(AT_PHDR), getauxval(AT_PHNUM)};
	size_t i;

	for (i = 0; image.phdr && i < image.nr_phdrs; i++)
		if (image.phdr[i].p_type == PT_LOAD && image.phdr[i].p_offset == 0)
			image.bias = align_down((uintptr_t)image.phdr, BSLAB_PAGE_SIZE) - image.phdr[i].p_vaddr;
	if (image.phdr)
		visit_image(s, &image);
}

static bool by_pc(const void *a, const void *b)
{
	return ((const struct frame *)a)->pc < ((const struct frame *)b)->pc;
}

static void drop_doubles(struct symbols *s)
{
	size_t i, n = 0;

	for (i = 0; i < s->nr_frames; i++)
		if (!n || s->frame[i].pc != s->frame[n - 1].pc)
			s->frame[n++] = s->frame[i];
	s->nr_frames = n;
}

/* Names of segments that were passed over were not copied. */
static void number_functions(struct symbols *s)
{
	size_t i;

	for (i = 0; i < s->nr_frames; i++) {
		struct frame *f = &s->frame[i];

		if (f->module == NO_MODULE)
			f->name = NULL;
		if (f->name)
			f->nr_function = i && f->name == f[-1].name ? f[-1].nr_function : s->nr_functions++;
	}
}

typedef int phdr_iterator(int (*)(struct dl_phdr_info *, size_t, void *), void *);

static _Atomic(phdr_iterator *) iterator; /* NULL in a static program */

void symbols_setup(void)
{
	if (dlsym)
		atomic_store(&iterator, (phdr_iterator *)dlsym(RTLD_DEFAULT, "dl_iterate_phdr"));
}

void symbols_resolve(struct symbols *s)
{
	phdr_iterator *iterate = atomic_load(&iterator);

	sort(s->frame, s->nr_frames, sizeof *s->frame, by_pc);
	drop_doubles(s);
	if (iterate)
		iterate(visit_info, s);
	else
		visit_program(s);
	number_functions(s);
}
