/* SPDX-License-Identifier: MIT */
#include "handle/entry.h"

#include "os/os.h"
#include "page/limit.h"

struct handle_table handle_table reader_root(handle_table);

/* Brings the chunk of an index into being. The kernel fills in what of it is touched. */
static bool chunk_ensure(uint32_t index)
{
	unsigned k = ilog2((size_t)index + FIRST_ENTRIES) - ilog2(FIRST_ENTRIES);
	size_t first = (size_t)FIRST_ENTRIES << k, size = first * sizeof(struct handle_entry);
	void *chunk;

	if (handle_table.chunk[k])
		return true;
	if (!limit_allows(size >> PAGE_SHIFT))
		return false;
	chunk = os_map(align_up(size, os_page_size()));
	if (!chunk)
		return false;
	limit_note_mapped(0, size >> PAGE_SHIFT);
	WRITE_ONCE(handle_table.mapped, handle_table.mapped + size);
	atomic_store_explicit(&handle_table.chunk[k], (uintptr_t)chunk - size, memory_order_release);
	return true;
}

static bool take_new(uint32_t *index)
{
	uint32_t i = handle_table.nr_entries ? handle_table.nr_entries : 1;

	if (i == UINT32_MAX || !chunk_ensure(i))
		return false;
	WRITE_ONCE(handle_table.nr_entries, i + 1);
	atomic_store_explicit(&entry_at(i)->info, (uint64_t)1 << GENERATION_SHIFT, memory_order_relaxed);
	*index = i;
	return true;
}

unsigned entries_take(uint32_t *index, unsigned n)
{
	unsigned i;

	lock_take(&handle_table.lock, RANK_HANDLES);
	for (i = 0; i < n; i++) {
		uint32_t head = handle_table.free;

		if (head) {
			handle_table.free = (uint32_t)entry_info(entry_at(head));
			WRITE_ONCE(handle_table.nr_free, handle_table.nr_free - 1);
			index[i] = head;
		} else if (!take_new(&index[i])) {
			break;
		}
	}
	lock_drop(&handle_table.lock, RANK_HANDLES);
	return i;
}

void entries_give(const uint32_t *index, unsigned n)
{
	unsigned i;

	lock_take(&handle_table.lock, RANK_HANDLES);
	for (i = 0; i < n; i++) {
		struct handle_entry *e = entry_at(index[i]);

		atomic_store_explicit(&e->info, info_with(entry_info(e), 0, handle_table.free), memory_order_relaxed);
		handle_table.free = index[i];
	}
	WRITE_ONCE(handle_table.nr_free, handle_table.nr_free + n);
	lock_drop(&handle_table.lock, RANK_HANDLES);
}

void entries_fork_prepare(void)
{
	lock_take_nested(&handle_table.lock);
}

void entries_fork_done(bool child)
{
	if (child)
		lock_reset(&handle_table.lock);
	else
		lock_drop_nested(&handle_table.lock);
}
