/* SPDX-License-Identifier: MIT */
/* The search for the anchor: 1 at the head of heap.h. */
#include "insight/heap.h"

#include <string.h>

#include "insight/elf.h"

struct search {
	struct heap *heap;
	bool is_found, is_in_use;
	/* One that cannot be read: */
	bool has_other;
	struct anchor other;
	char version[ANCHOR_NAME_SIZE];
};

static bool read_memory(void *memory, uint64_t addr, void *buf, size_t size)
{
	return memory_read(memory, addr, buf, size);
}

/* The address that each root has, the words being at addr. */
static void find_roots(const struct anchor *a, uint64_t addr, uint64_t *root)
{
	unsigned i;

	for (i = 0; i < NR_ROOTS; i++)
		root[i] = addr + offsetof(struct anchor, root) + i * sizeof a->root[0] + (uint64_t)(int64_t)a->root[i];
}

static void take_anchor(struct search *search, const struct anchor *a, uint64_t addr)
{
	uint64_t root[NR_ROOTS];
	struct percpu percpu;
	bool in_use;

	find_roots(a, addr, root);
	if (search->is_found && root[ROOT_HOT] == search->heap->root[ROOT_HOT])
		return; /* the image was offered twice */
	in_use = memory_read(search->heap->memory, root[ROOT_PERCPU], &percpu, sizeof percpu) &&
		 percpu.mode != INDEX_AUTO;
	search->heap->nr_heaps += in_use;
	if (search->is_in_use || (search->is_found && !in_use))
		return;
	search->is_found = true;
	search->is_in_use = in_use;
	memcpy(search->heap->root, root, sizeof root);
}

static bool visit_note(void *arg, const struct elf_note *note, uint64_t desc_addr)
{
	struct search *search = arg;
	struct anchor a;

	if (strcmp(note->owner, ANCHOR_OWNER) || note->type != ANCHOR_TYPE || note->desc_size < offsetof(struct anchor, root))
		return true;
	memset(&a, 0, sizeof a);
	memcpy(&a, note->desc, min_size(sizeof a, note->desc_size));
	if (a.version == ANCHOR_VERSION && a.layout == LAYOUT_HASH && a.nr_roots == NR_ROOTS &&
	    note->desc_size == sizeof a + ANCHOR_NAME_SIZE) {
		take_anchor(search, &a, desc_addr);
	} else {
		size_t words = min_size(a.nr_roots, (note->desc_size - offsetof(struct anchor, root)) / sizeof a.root[0]);
		size_t at = offsetof(struct anchor, root) + words * sizeof a.root[0];

		search->has_other = true;
		search->other = a;
		memset(search->version, 0, sizeof search->version);
		memcpy(search->version, note->desc + at, min_size(note->desc_size - at, sizeof search->version - 1));
	}
	return true;
}

static bool visit_image(void *arg, uint64_t addr)
{
	struct search *search = arg;

	elf_image_notes(read_memory, search->heap->memory, addr, visit_note, search);
	return true;
}

bool heap_find_anchor(struct heap *h)
{
	struct search search = {.heap = h};

	h->memory->source->images(h->memory, visit_image, &search);
	if (search.is_found)
		return true;
	if (search.has_other) {
		make_printable(search.version);
		return memory_fail(h->memory, "%s has bslab %s with layout %u.%08x; this bslab-stat %s reads layout %u.%08x",
				   h->memory->name, search.version, search.other.version, search.other.layout,
				   BSLAB_VERSION, ANCHOR_VERSION, LAYOUT_HASH);
	}
	h->memory->source->explain(h->memory);
	return memory_fail(h->memory, "%s does not run under bslab", h->memory->name);
}
