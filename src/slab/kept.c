/* SPDX-License-Identifier: MIT */
#include "slab/kept.h"

#include "page/folio.h"
#include "page/runs.h"

static bool swap(void **old, void **new)
{
	return percpu_swap_top(KEPT_RUN, old, new);
}

void *kept_take(size_t nr_pages, size_t align)
{
	return percpu_mode() != INDEX_THREAD ? kept_take_from(nr_pages, align, true) : NULL;
}

void kept_look(void)
{
	thread_state.nr_page_events |= TICK_EVENTS - 1;
	percpu_look();
}

enum kept_free kept_free(void *ptr)
{
	return percpu_reach() != INDEX_THREAD ? kept_free_to(ptr, true) : KEPT_NOT;
}

enum kept_free kept_free_folio(void *head)
{
	page_desc_t d = percpu_reach() != INDEX_THREAD ? map_lookup((uintptr_t)head) : 0;
	size_t nr_pages = folio_pages_of(d);

	if (nr_pages <= 1u << PCP_MAX_ORDER) /* it would drive out a larger one, which malloc may want */
		return KEPT_NOT;
	if (d != folio_desc((unsigned)nr_pages, 1) || nr_pages > READ_ONCE(bslab_hot.kept_limit) || (uintptr_t)head % BSLAB_PAGE_SIZE ||
	    !kept_count_free())
		return KEPT_NOT;
	atomic_thread_fence(memory_order_acquire); /* what others wrote who put theirs */
	return kept_put(head, nr_pages, true);
}

enum kept_free kept_displace(void **word)
{
	run_free(kept_address(word), (unsigned)kept_nr_pages(word));
	return KEPT_BY_A_LOCK;
}

/* This CPU has no area yet, or the word changed meanwhile: the next one finds an area. */
enum kept_free kept_free_first(void *addr, size_t nr_pages)
{
	percpu_current_top(KEPT_RUN);
	run_free(addr, (unsigned)nr_pages);
	return KEPT_BY_A_LOCK;
}

void kept_yield(size_t nr_pages)
{
	void **word = READ_ONCE(percpu_here()->run);

	if (word && kept_nr_pages(word) >= nr_pages && swap(word, NULL))
		kept_displace(word);
}

void kept_send_home(void **word)
{
	pages_free(kept_address(word), (unsigned)kept_nr_pages(word));
}

void kept_reap(struct percpu_area *a)
{
	void **word = READ_ONCE(a->run);

	if (!word)
		return;
	if (!((uintptr_t)word & KEPT_WAS_SEEN))
		swap(word, (void **)((uintptr_t)word | KEPT_WAS_SEEN));
	else if (swap(word, NULL))
		kept_send_home(word);
}

void kept_empty(struct percpu_area *a)
{
	void **word = a->run;

	WRITE_ONCE(a->run, NULL);
	if (word)
		kept_send_home(word);
}

void kept_drain_own(void)
{
	void **word = READ_ONCE(percpu_here()->run);

	if (word && swap(word, NULL))
		kept_send_home(word);
}
