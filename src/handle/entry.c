/* SPDX-License-Identifier: MIT */
#include "handle/entry.h"

#include "os/os.h"
#include "page/limit.h"

struct handle_table handle_table reader_root(handle_table);

/* Brings the chunk of an index into being: address space, of which the kernel fills in what is touched. The lock is held. */
static bool chunk_ensure(uint32_t index)
{
	unsigned k = ilog2((size_t)index + FIRST_ENTRIES) - ilog2(FIRST_ENTRIES);
	size_t size = ((size_t)FIRST_ENTRIES << k) * sizeof(struct handle_entry);
	void *chunk;

	if (handle_table.chunk[k])
		return true;
	chunk = os_map(align_up(size, os_page_size()));
	if (!chunk)
		return false;
	os_no_huge_pages(chunk, align_up(size, os_page_size())); /* what is charged is a page */
	atomic_store_explicit(&handle_table.chunk[k], (uintptr_t)chunk - size, memory_order_release);
	return true;
}

/* A page of entries more, unless there are free ones by now. The lock is not held: to ask for limits may take a while. */
static bool table_grow(void)
{
	uint32_t first = READ_ONCE(handle_table.nr_backed);
	bool good = first <= UINT32_MAX - ENTRIES_PER_PAGE && limit_allows(1), grows = false;

	if (!good)
		return false;
	lock_take(&handle_table.lock, RANK_HANDLES);
	if (first == handle_table.nr_backed) {
		good = grows = chunk_ensure(first);
		WRITE_ONCE(handle_table.nr_backed, first + grows * (uint32_t)ENTRIES_PER_PAGE);
	}
	lock_drop(&handle_table.lock, RANK_HANDLES);
	limit_note_mapped(0, grows);
	return good;
}

/* The lock is held. */
static uint32_t take_one(void)
{
	uint32_t i = handle_table.free;

	if (i) {
		handle_table.free = (uint32_t)entry_info(entry_at(i));
		WRITE_ONCE(handle_table.nr_free, handle_table.nr_free - 1);
		return i;
	}
	i = handle_table.nr_entries ? handle_table.nr_entries : 1;
	if (i >= handle_table.nr_backed)
		return 0;
	WRITE_ONCE(handle_table.nr_entries, i + 1);
	atomic_store_explicit(&entry_at(i)->info, (uint64_t)1 << GENERATION_SHIFT, memory_order_relaxed);
	return i;
}

unsigned entries_take(uint32_t *index, unsigned n)
{
	unsigned i = 0;

	do {
		lock_take(&handle_table.lock, RANK_HANDLES);
		while (i < n && (index[i] = take_one()))
			i++;
		lock_drop(&handle_table.lock, RANK_HANDLES);
	} while (i < n && table_grow());
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
