/* SPDX-License-Identifier: MIT */
#include "slab/pcp.h"

#include <string.h>

#include "os/bug.h"
#include "page/buddy.h"
#include "page/limit.h"
#include "page/runs.h"

static unsigned order_of_cache(const struct kmem_cache *c)
{
	return c->class - PCP_CACHE;
}

/* --- from and to the buddies ------------------------------------------------- */

/* Heads are free, bodies keep what is written here as long as the run is whole. */
static void describe_free(uintptr_t addr, unsigned order)
{
	unsigned i;

	for (i = 1; i < 1u << order; i++)
		map_set(addr + ((uintptr_t)i << PAGE_SHIFT), desc_of_number(i, PAGE_RUN_BODY));
	map_set(addr, desc_of_number(1u << order, PAGE_RUN_HOT));
}

/* The pages of up to n runs side by side; how many pages, 0 when there are none. */
static unsigned take_piece(unsigned order, unsigned n, unsigned pages_flags, char **p, bool *zeroed)
{
	unsigned nr_pages = (unsigned)min_size((size_t)n << order, PAGEBLOCK_PAGES);

	if (unlikely(!limit_allows(nr_pages))) {
		nr_pages = 1u << order;
		if (!limit_allows(nr_pages))
			return 0;
	}
	*p = pages_alloc_some(&nr_pages, order, MIGRATE_MOVABLE, pages_flags, zeroed);
	return *p ? nr_pages : 0;
}

/* For a few more of them nobody's memory is taken but what this thread's buddy has free. As in slab_take(), the lowest comes last. */
unsigned pcp_take(struct kmem_cache *c, void **out, unsigned n, unsigned pages_flags)
{
	unsigned order = order_of_cache(c), done = 0, nr, i;
	bool zeroed;
	char *p;

	if (unlikely(pages_flags & PAGES_HIGHATOMIC))
		n = 1; /* the reserve is not for those to come */
	while (done < n && (nr = take_piece(order, n - done, pages_flags, &p, &zeroed) >> order)) {
		for (i = nr; i-- > 0; p += BSLAB_PAGE_SIZE << order) {
			describe_free((uintptr_t)p, order);
			out[done + i] = p + (zeroed ? PCP_ZEROED : 0);
		}
		done += nr;
		pages_flags |= PAGES_OWN;
	}
	return done;
}

/* At a time, no less than the largest sheaf holds of single pages (MAX_SHEAF_BYTES in sheaf.c). */
#define NR_SORTED 64

/* Mostly they come in order, or in reverse. */
static void sort(uintptr_t *word, unsigned n)
{
	unsigned i, k;

	if (n && word[0] > word[n - 1])
		for (i = 0; i < n / 2; i++) {
			uintptr_t w = word[i];

			word[i] = word[n - 1 - i];
			word[n - 1 - i] = w;
		}
	for (i = 1; i < n; i++) {
		uintptr_t w = word[i];

		for (k = i; k && word[k - 1] > w; k--)
			word[k] = word[k - 1];
		word[k] = w;
	}
}

/* The next of the sorted words stands right behind `end` in its pageblock, and reads as zero or not as the others do. */
static bool goes_on(uintptr_t end, uintptr_t first, uintptr_t word)
{
	return word == end + (first & PCP_ZEROED) && end % PAGEBLOCK_SIZE;
}

static void free_sorted(const uintptr_t *word, unsigned n, unsigned order)
{
	uintptr_t bytes = BSLAB_PAGE_SIZE << order;
	unsigned i = 0;

	while (i < n) {
		uintptr_t first = word[i], start = align_down(first, BSLAB_PAGE_SIZE), end = start + bytes;

		for (i++; i < n && goes_on(end, first, word[i]); i++)
			end += bytes;
		if (pcp_is_zeroed((void *)first))
			pages_free_clean((void *)start, (unsigned)((end - start) >> PAGE_SHIFT));
		else
			pages_free((void *)start, (unsigned)((end - start) >> PAGE_SHIFT));
	}
}

/* Cleared, so that the second of two is none. */
static bool is_free_run(uintptr_t addr, unsigned order)
{
	if (map_lookup(addr) != desc_of_number(1u << order, PAGE_RUN_HOT))
		return false;
	map_set(addr, 0);
	return true;
}

static void free_some(uintptr_t *word, unsigned n, unsigned order)
{
	sort(word, n);
	free_sorted(word, n, order);
}

void pcp_give(struct kmem_cache *c, void *const *objects, unsigned n)
{
	uintptr_t word[NR_SORTED];
	unsigned order = order_of_cache(c), nr = 0, i;

	bslab_assert(n <= NR_SORTED);
	for (i = 0; i < n; i++) {
		if (unlikely(!is_free_run((uintptr_t)pcp_address(objects[i]), order))) {
			bug_caller("double free of %p", pcp_address(objects[i]));
			continue;
		}
		word[nr++] = (uintptr_t)objects[i];
	}
	free_some(word, nr, order);
}

/* --- calls ------------------------------------------------------------------------ */

/* NULL where nothing may wait, too. */
static struct kmem_cache *cache_for_more(unsigned order)
{
	return pcp_may_wait() ? cache_of(PCP_CACHE + order) : NULL;
}

void *pcp_alloc(unsigned order, unsigned pages_flags, bool *zeroed)
{
	struct kmem_cache *c = cache_for_more(order);
	void *word = likely(c != NULL) ? percpu_alloc_slow(c, pages_flags) : NULL;

	if (unlikely(!word)) /* there may be pages, and no metadata for a cache or a sheaf */
		return folio_alloc(1u << order, order, pages_flags, zeroed);
	*zeroed = pcp_is_zeroed(word);
	return pcp_use(word, order);
}

unsigned pcp_alloc_singles(void **out, unsigned nr, bool zero)
{
	struct kmem_cache *c = cache_for_more(0);
	unsigned n, i;

	if (unlikely(!c))
		return 0;
	n = percpu_pop_bulk(c, out, nr);
	while (n < nr && nr <= PCP_MAX_BULK && (out[n] = percpu_alloc_slow(c, 0))) {
		n++; /* and the sheaf has more by now */
		n += percpu_pop_bulk(c, out + n, nr - n);
	}
	for (i = 0; i < n; i++) {
		void *word = out[i];

		out[i] = pcp_use(word, 0);
		if (unlikely(zero) && !pcp_is_zeroed(word))
			memset(out[i], 0, BSLAB_PAGE_SIZE);
	}
	return n;
}

void pcp_free(void *addr, unsigned order)
{
	struct kmem_cache *c = cache_for_more(order);

	if (likely(c != NULL))
		percpu_free_slow(c, addr);
	else
		run_free(addr, 1u << order);
}

/* As pcp_claim(), of one page; desc: what it has from then on. */
static force_inline bool claim_single(uintptr_t addr, page_desc_t desc)
{
	_Atomic page_desc_t *slot = map_slot(addr);

	if (unlikely(!slot) || atomic_load_explicit(slot, memory_order_acquire) != folio_desc(1, 1) || addr % BSLAB_PAGE_SIZE)
		return false;
	atomic_store_explicit(slot, desc, memory_order_relaxed);
	return true;
}

unsigned pcp_push_singles(void *const *pages, unsigned nr)
{
	struct kmem_cache *c = pcp_may_wait() ? cache_if_used(PCP_CACHE) : NULL;
	void **top = c ? percpu_current_top(PCP_CACHE) : NULL;
	unsigned done = 0;

	if (!top || word_is_sentinel(top[0]) || !percpu_swap_top(PCP_CACHE, top, NONE_TOP))
		return 0;
	while (done < nr && !word_is_sentinel(top[0]) && claim_single((uintptr_t)pages[done], desc_of_number(1, PAGE_RUN_HOT)))
		*top++ = pages[done++];
	percpu_reinstall(c, top);
	return done;
}

unsigned pcp_give_singles(void *const *pages, unsigned nr)
{
	uintptr_t word[NR_SORTED];
	unsigned n = 0;

	while (n < nr && n < NR_SORTED && claim_single((uintptr_t)pages[n], 0)) {
		word[n] = (uintptr_t)pages[n];
		n++;
	}
	free_some(word, n, 0);
	return n;
}
