/* SPDX-License-Identifier: MIT */
/*
 * A core file. What it does not hold, as a rule the pages of files that the
 * process had not written to, is read from those files: as the core names them
 * (NT_FILE), or as the caller does. A file that has another build id than the
 * image in the core is not the one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "insight/elf.h"
#include "insight/memory.h"

/* A process has at most 65,530 mappings by default, and the limit can be raised. */
#define MAX_SEGMENTS (1u << 22)
#define MAX_CORE_NOTES (256 * MIB)

struct segment {
	uint64_t start, size, file_offset; /* what the core holds of it: size may be 0 */
	uint64_t mapped;		   /* how long it was */
};

/* A range of a file that the process had mapped. */
struct file_range {
	uint64_t start, end, offset;
	struct image *image;
};

struct image {
	const char *path; /* in core->names */
	uint64_t base;	  /* where its start was mapped; 0: it was not */
	bool was_tried;
	int fd; /* -1: there is none, or another */
};

struct core {
	struct memory memory;
	int fd;
	uint64_t file_size;
	struct segment *segments; /* by address */
	size_t nr_segments;
	unsigned char *notes;
	struct file_range *ranges; /* by address */
	struct image *images;
	size_t nr_ranges, nr_images;
	struct core_files files;
};

static struct core *core_of(struct memory *m)
{
	return container_of(m, struct core, memory);
}

static bool read_at(int fd, uint64_t offset, void *buf, size_t size)
{
	return offset <= INT64_MAX - size && pread(fd, buf, size, (off_t)offset) == (ssize_t)size;
}

/* The last of n elements of `size` bytes, sorted by the number they begin with, that begins at or before addr. */
static void *find_before(void *array, size_t n, size_t size, uint64_t addr)
{
	size_t low = 0, high = n, middle;
	uint64_t start;

	while (low < high) {
		middle = low + (high - low) / 2;
		memcpy(&start, (char *)array + middle * size, sizeof start);
		if (start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? (char *)array + (low - 1) * size : NULL;
}

static int compare_start(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return (x > y) - (x < y);
}

/* --- files that the process had mapped ----------------------------------------------------- */

/* What the core itself holds. */
static bool read_segments(struct core *c, uint64_t addr, char *buf, size_t size)
{
	while (size) {
		struct segment *s = find_before(c->segments, c->nr_segments, sizeof *s, addr);
		size_t n;

		if (!s || addr - s->start >= s->size)
			return false;
		n = min_size(size, s->size - (addr - s->start));
		if (!read_at(c->fd, s->file_offset + (addr - s->start), buf, n))
			return false;
		addr += n;
		buf += n;
		size -= n;
	}
	return true;
}

static bool read_core_elf(void *core, uint64_t addr, void *buf, size_t size)
{
	return read_segments(core, addr, buf, size);
}

static bool read_file_elf(void *fd, uint64_t addr, void *buf, size_t size)
{
	return read_at(*(int *)fd, addr, buf, size);
}

/* Neither waits for a FIFO nor takes a terminal: the paths in a core from elsewhere may lead to anything. */
static int open_file(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static bool is_regular(int fd, struct stat *st)
{
	return fstat(fd, st) == 0 && S_ISREG(st->st_mode);
}

static struct build_id file_build_id(int fd)
{
	struct build_id id = {0};

	elf_file_notes(read_file_elf, &fd, elf_keep_build_id, &id);
	return id;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Opens the file if it can be the image's; `want` of size 0: the core does not say, and the name has to do. */
static int open_image(const char *path, const struct build_id *want)
{
	int fd = open_file(path);
	struct build_id have;
	struct stat st;

	if (fd < 0)
		return -1;
	if (is_regular(fd, &st)) {
		have = file_build_id(fd);
		if (!want->size || build_id_is_same(&have, want))
			return fd;
	}
	close(fd);
	return -1;
}

/* The caller's files first: a core from another machine names paths that mean something else here. */
static int find_image_file(struct core *c, const struct image *image)
{
	struct build_id want = {0};
	unsigned i;
	int fd;

	if (image->base)
		elf_image_notes(read_core_elf, c, image->base, elf_keep_build_id, &want);
	for (i = 0; i < c->files.nr; i++) {
		if (!want.size && strcmp(base_name(c->files.path[i]), base_name(image->path)))
			continue;
		fd = open_image(c->files.path[i], &want);
		if (fd >= 0)
			return fd;
	}
	return open_image(image->path, &want);
}

static bool read_file(struct core *c, uint64_t addr, char *buf, size_t size)
{
	struct file_range *r = find_before(c->ranges, c->nr_ranges, sizeof *r, addr);

	if (!r || addr >= r->end || size > r->end - addr)
		return false;
	if (!r->image->was_tried) {
		r->image->was_tried = true;
		r->image->fd = find_image_file(c, r->image);
	}
	return r->image->fd >= 0 && read_at(r->image->fd, r->offset + (addr - r->start), buf, size);
}

/* --- as memory ------------------------------------------------------------------------------ */

static bool core_read(struct memory *m, uint64_t addr, void *buf, size_t size)
{
	struct core *c = core_of(m);

	return read_segments(c, addr, buf, size) || read_file(c, addr, buf, size);
}

static bool core_refresh(struct memory *m)
{
	(void)m;
	return true;
}

/* One of c->images begins here. */
static bool is_image(struct core *c, uint64_t addr)
{
	struct file_range *r = find_before(c->ranges, c->nr_ranges, sizeof *r, addr);

	return r && r->start == addr && r->image->base == addr;
}

static void core_images(struct memory *m, memory_image *visit, void *arg)
{
	struct core *c = core_of(m);
	bool more = true;
	size_t i;

	for (i = 0; more && i < c->nr_images; i++)
		if (c->images[i].base)
			more = visit(arg, c->images[i].base);
	for (i = 0; more && i < c->nr_segments; i++)
		more = is_image(c, c->segments[i].start) || visit(arg, c->segments[i].start);
}

/* Reads fail where the core has nothing: because a file is missing, or because it was left out when it was written. */
static void core_explain(struct memory *m)
{
	struct core *c = core_of(m);
	char path[257];
	size_t i;

	for (i = 0; i < c->nr_images; i++)
		if (c->images[i].was_tried && c->images[i].fd < 0) {
			snprintf(path, sizeof path, "%s", c->images[i].path);
			make_printable(path);
			memory_fail(m, "%s does not hold the pages of %s, and no such file has the same build id (--exe, --lib)",
				    m->name, path);
		}
}

static void core_close(struct memory *m)
{
	struct core *c = core_of(m);
	size_t i;

	for (i = 0; i < c->nr_images; i++)
		if (c->images[i].fd >= 0)
			close(c->images[i].fd);
	if (c->fd >= 0)
		close(c->fd);
	free(c->segments);
	free(c->notes);
	free(c->ranges);
	free(c->images);
	free(c);
}

static const struct memory_source core_source = {core_read, core_refresh, core_images, core_explain, core_close};

/* --- opening -------------------------------------------------------------------------------- */

/*
 * NT_FILE: two words, the number of ranges and the unit of their offsets; three words for each range; then the paths,
 * each ended by a zero byte.
 */
static bool parse_files(struct core *c, const struct elf_note *note)
{
	const char *path = (const char *)note->desc, *end = path + note->desc_size;
	uint64_t head[2], words[3];
	size_t i;

	if (note->desc_size < sizeof head || c->ranges)
		return true;
	memcpy(head, note->desc, sizeof head);
	if (head[0] > (note->desc_size - sizeof head) / sizeof words)
		return true;
	c->ranges = calloc(head[0] + 1, sizeof *c->ranges);
	c->images = calloc(head[0] + 1, sizeof *c->images);
	if (!c->ranges || !c->images)
		return memory_fail(&c->memory, "out of memory");
	path += sizeof head + head[0] * sizeof words;
	for (i = 0; i < head[0] && memchr(path, 0, (size_t)(end - path)); i++, path += strlen(path) + 1) {
		struct image *image = c->nr_images ? &c->images[c->nr_images - 1] : NULL;
		struct file_range *r = &c->ranges[c->nr_ranges++];

		memcpy(words, note->desc + sizeof head + i * sizeof words, sizeof words);
		*r = (struct file_range){words[0], words[1], words[2] * head[1], NULL};
		/* Ranges of a file follow each other; what is mapped from its start again is another image. */
		if (!image || strcmp(image->path, path) || !r->offset) {
			image = &c->images[c->nr_images++];
			*image = (struct image){path, r->offset ? 0 : r->start, false, -1};
		}
		r->image = image;
	}
	qsort(c->ranges, c->nr_ranges, sizeof *c->ranges, compare_start);
	return true;
}

static bool read_core_notes(struct core *c, const Elf64_Phdr *ph)
{
	struct elf_note note;
	size_t at = 0;

	if (c->notes || ph->p_filesz > MAX_CORE_NOTES || !ph->p_filesz)
		return true;
	c->notes = malloc(ph->p_filesz);
	if (!c->notes)
		return memory_fail(&c->memory, "out of memory");
	if (!read_at(c->fd, ph->p_offset, c->notes, ph->p_filesz))
		return memory_fail(&c->memory, "%s is truncated: its notes are not all there", c->memory.name);
	while (elf_note_next(c->notes, ph->p_filesz, ph->p_align, &at, &note))
		if (!strcmp(note.owner, "CORE") && note.type == NT_FILE && !parse_files(c, &note))
			return false;
	return true;
}

static bool add_segment(struct core *c, const Elf64_Phdr *ph)
{
	if (ph->p_filesz > c->file_size || ph->p_offset > c->file_size - ph->p_filesz)
		return memory_fail(&c->memory, "%s is truncated: it has %llu bytes, and memory up to byte %llu",
				   c->memory.name, (unsigned long long)c->file_size,
				   (unsigned long long)(ph->p_offset + ph->p_filesz));
	if (ph->p_vaddr + ph->p_memsz < ph->p_vaddr || !ph->p_memsz)
		return true;
	c->segments[c->nr_segments++] =
	    (struct segment){ph->p_vaddr, min_size(ph->p_filesz, ph->p_memsz), ph->p_offset, ph->p_memsz};
	return true;
}

static bool read_headers(struct core *c, const Elf64_Ehdr *h, uint64_t nr)
{
	uint64_t size = nr * sizeof(Elf64_Phdr), i;
	Elf64_Phdr *ph;
	bool good;

	if (!nr || nr > MAX_SEGMENTS || h->e_phoff > c->file_size || size > c->file_size - h->e_phoff)
		return memory_fail(&c->memory, "%s is truncated: its program headers are not all there", c->memory.name);
	ph = malloc(size);
	c->segments = calloc(nr, sizeof *c->segments);
	if (!ph || !c->segments) {
		free(ph);
		return memory_fail(&c->memory, "out of memory");
	}
	good = read_at(c->fd, h->e_phoff, ph, size) ||
	       memory_fail(&c->memory, "%s: %s", c->memory.name, strerror(errno));
	for (i = 0; good && i < nr; i++) {
		if (ph[i].p_type == PT_LOAD)
			good = add_segment(c, &ph[i]);
		else if (ph[i].p_type == PT_NOTE)
			good = read_core_notes(c, &ph[i]);
	}
	free(ph);
	qsort(c->segments, c->nr_segments, sizeof *c->segments, compare_start);
	return good;
}

static bool core_start(struct core *c, const char *path)
{
	struct stat st;
	Elf64_Ehdr h;
	Elf64_Shdr first;
	uint64_t nr;

	c->fd = open_file(path);
	if (c->fd < 0)
		return memory_fail(&c->memory, "cannot read %s: %s", path, strerror(errno));
	if (!is_regular(c->fd, &st))
		return memory_fail(&c->memory, "%s is no regular file", path);
	c->file_size = (uint64_t)st.st_size;
	if (!read_at(c->fd, 0, &h, sizeof h) || memcmp(h.e_ident, ELFMAG, SELFMAG))
		return memory_fail(&c->memory, "%s is not an ELF file", path);
	if (!elf_header_is_good(&h))
		return memory_fail(&c->memory, "%s is not a core of 64 bits, little endian", path);
	if (h.e_type != ET_CORE)
		return memory_fail(&c->memory, "%s is an ELF file, but no core", path);
	nr = h.e_phnum;
	if (nr == PN_XNUM) /* more than fit: the first section header has the number */
		nr = read_at(c->fd, h.e_shoff, &first, sizeof first) ? first.sh_info : 0;
	return read_headers(c, &h, nr);
}

struct memory *core_open(const char *path, const struct core_files *files, char *fault)
{
	struct core *c = calloc(1, sizeof *c);

	if (!c) {
		snprintf(fault, MAX_FAULT, "out of memory");
		return NULL;
	}
	c->memory.source = &core_source;
	c->fd = -1;
	c->files = *files;
	snprintf(c->memory.name, sizeof c->memory.name, "core %s", base_name(path));
	if (core_start(c, path))
		return &c->memory;
	memcpy(fault, c->memory.fault, MAX_FAULT);
	core_close(&c->memory);
	return NULL;
}
