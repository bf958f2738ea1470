/* SPDX-License-Identifier: MIT */
#include "slab/kept.h"

#include "page/folio.h"
#include "page/runs.h"

/* Not inlined, these two: each copy of a sequence is relocated at start. */
static out_of_line bool put(void *run, size_t nr_pages)
{
	return percpu_mode() == INDEX_CPU_ID ? percpu_put(KEPT_RUN, nr_pages, run, RSEQ_CPU_ID)
					     : percpu_put(KEPT_RUN, nr_pages, run, RSEQ_MM_CID);
}

static out_of_line void *take(size_t nr_pages)
{
	return kept_address(percpu_mode() == INDEX_CPU_ID ? percpu_take(KEPT_RUN, nr_pages, RSEQ_CPU_ID)
							  : percpu_take(KEPT_RUN, nr_pages, RSEQ_MM_CID));
}

/* What this CPU has, of whatever number of pages, or NULL. */
static void *take_any(size_t *nr_pages)
{
	const struct percpu_area *a = percpu_here();

	*nr_pages = a != &none_area ? kept_nr_pages(a) : 0;
	return *nr_pages ? take(*nr_pages) : NULL;
}

void *kept_take(size_t nr_pages, size_t align)
{
	void *run;

	if (percpu_mode() == INDEX_THREAD || nr_pages > READ_ONCE(bslab_hot.kept_limit) ||
	    (uintptr_t)kept_address(READ_ONCE(percpu_here()->run.value)) & (align - 1))
		return NULL;
	run = take(nr_pages);
	if (!run)
		return NULL;
	if (unlikely((uintptr_t)run & (align - 1))) { /* another one meanwhile */
		run_free(run, (unsigned)nr_pages);
		return NULL;
	}
	map_set((uintptr_t)run, desc_of_number(nr_pages, PAGE_RUN));
	return run;
}

void kept_look(void)
{
	thread_state.nr_page_events |= TICK_EVENTS - 1;
	percpu_look();
}

/*
 * This CPU keeps another one, which goes to the buddy's; or it has no area yet, and the next run finds one; or the sequence
 * was interrupted.
 */
void kept_put_slow(void *run, size_t nr_pages)
{
	size_t nr_others;
	void *other = take_any(&nr_others);

	if (other)
		run_free(other, (unsigned)nr_others);
	else
		percpu_current_top(KEPT_VALUE);
	if (!other || unlikely(!put(run, nr_pages)))
		run_free(run, (unsigned)nr_pages);
}

static enum kept_free mark_and_put(void *run, size_t nr_pages)
{
	map_set((uintptr_t)run, desc_of_number(nr_pages, PAGE_RUN_HOT));
	if (likely(put(run, nr_pages)))
		return KEPT_ALONE;
	kept_put_slow(run, nr_pages);
	return KEPT_BY_A_LOCK;
}

/* Whether a run of so many pages may be kept now; counts it then. */
static bool may_put(const void *run, size_t nr_pages)
{
	return nr_pages <= READ_ONCE(bslab_hot.kept_limit) && (uintptr_t)run % BSLAB_PAGE_SIZE == 0 && kept_count_free();
}

enum kept_free kept_free(void *ptr)
{
	page_desc_t d = percpu_reach() != INDEX_THREAD ? map_lookup((uintptr_t)ptr) : 0;
	size_t nr_pages = (size_t)desc_number(d);

	return d == desc_of_number(nr_pages, PAGE_RUN) && may_put(ptr, nr_pages) ? mark_and_put(ptr, nr_pages) : KEPT_NOT;
}

enum kept_free kept_free_folio(void *head)
{
	page_desc_t d = percpu_reach() != INDEX_THREAD ? map_lookup((uintptr_t)head) : 0;
	size_t nr_pages = folio_pages_of(d);

	if (nr_pages <= 1u << PCP_MAX_ORDER) /* it would drive out a larger one, which malloc may want */
		return KEPT_NOT;
	if (d != folio_desc((unsigned)nr_pages, 1) || !may_put(head, nr_pages))
		return KEPT_NOT;
	atomic_thread_fence(memory_order_acquire); /* what others wrote who put theirs */
	return mark_and_put(head, nr_pages);
}

void kept_yield(size_t nr_pages)
{
	size_t nr_kept;
	void *run = kept_nr_pages(percpu_here()) >= nr_pages ? take_any(&nr_kept) : NULL;

	if (run)
		run_free(run, (unsigned)nr_kept);
}

void *kept_detach(struct percpu_area *a, size_t *nr_pages)
{
	*nr_pages = kept_nr_pages(a);
	WRITE_ONCE(a->run.key, 0);
	return *nr_pages ? kept_address(a->run.value) : NULL;
}

void kept_send_home(void *run, size_t nr_pages)
{
	pages_free(run, (unsigned)nr_pages);
}

/* What comes between is another run of that many pages at most, whose look it is then. */
void kept_reap(struct percpu_area *a)
{
	size_t nr_pages = kept_nr_pages(a);
	void *value = READ_ONCE(a->run.value), *run;

	if (!nr_pages)
		return;
	if (!((uintptr_t)value & KEPT_WAS_SEEN)) {
		percpu_swap_top(KEPT_VALUE, value, (void **)((uintptr_t)value | KEPT_WAS_SEEN));
		return;
	}
	run = take(nr_pages);
	if (run)
		kept_send_home(run, nr_pages);
}

void kept_empty(struct percpu_area *a)
{
	size_t nr_pages;
	void *run = kept_detach(a, &nr_pages);

	if (run)
		kept_send_home(run, nr_pages);
}

void kept_drain_own(void)
{
	size_t nr_pages;
	void *run = take_any(&nr_pages);

	if (run)
		kept_send_home(run, nr_pages);
}
