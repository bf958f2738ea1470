/* SPDX-License-Identifier: MIT */
#include "profile/view.h"

#include "os/os.h"
#include "profile/sampler.h"
#include "profile/sort.h"

_Static_assert(sizeof(struct sample) <= MAX_SORTED && sizeof(struct holder) <= MAX_SORTED, "they are sorted");

/* NULL for 0 bytes too: `bytes` says how many there are. */
static void *map_array(size_t n, size_t size, size_t *bytes)
{
	void *p = os_map(align_up(n * size + 1, os_page_size()));

	*bytes = p ? align_up(n * size + 1, os_page_size()) : 0;
	return p;
}

static void unmap(void *p, size_t bytes)
{
	if (p)
		os_unmap(p, bytes);
}

/* --- the samples, by stack ------------------------------------------------------------- */

/* The table may have grown since it was measured: what is behind is newer than the view. */
static size_t copy_samples(struct sample *out, size_t nr_places)
{
	size_t from, n = 0;

	for (from = 0; from < nr_places; from += DUMP_BATCH)
		n += samples_copy(from, out + n);
	return n;
}

static bool by_stack(const void *a, const void *b)
{
	return (uintptr_t)((const struct sample *)a)->stack < (uintptr_t)((const struct sample *)b)->stack;
}

static bool by_bytes(const void *a, const void *b)
{
	return ((const struct holder *)a)->bytes > ((const struct holder *)b)->bytes;
}

static double pinned_by(const struct sample *s, const struct pinning *p)
{
	return s->class ? p->per_object[s->class] : s->nr_pages * p->per_run_page;
}

static void holder_add(struct holder *h, const struct sample *s, const struct pinning *pinning)
{
	double weight = sampler_weight(s->counted, s->interval);

	if (!h->nr_samples)
		*h = (struct holder){.stack = s->stack, .min_size = s->size, .oldest_ms = s->at_ms};
	h->nr_samples++;
	h->objects += weight;
	h->bytes += weight * (double)s->size;
	h->pinned += weight * pinned_by(s, pinning);
	h->min_size = min_size(h->min_size, s->size);
	h->max_size = max_size(h->max_size, s->size);
	h->oldest_ms = h->oldest_ms < s->at_ms ? h->oldest_ms : s->at_ms;
	h->newest_ms = h->newest_ms > s->at_ms ? h->newest_ms : s->at_ms;
}

static bool add_up(struct view *v, const struct pinning *pinning)
{
	size_t i, nr_stacks = 0, nr_frames = 0;
	struct holder *h;

	sort(v->sample, v->nr_samples, sizeof *v->sample, by_stack);
	for (i = 0; i < v->nr_samples; i++)
		nr_stacks += !i || v->sample[i].stack != v->sample[i - 1].stack;
	v->holder = map_array(nr_stacks, sizeof *v->holder, &v->holders_size);
	if (!v->holder)
		return false;
	for (i = 0, h = v->holder - 1; i < v->nr_samples; i++) {
		h += !i || v->sample[i].stack != v->sample[i - 1].stack;
		holder_add(h, &v->sample[i], pinning);
	}
	v->nr_holders = nr_stacks;
	for (h = v->holder; h < v->holder + v->nr_holders; h++) {
		v->objects += h->objects;
		v->bytes += h->bytes;
		v->pinned += h->pinned;
		nr_frames += h->stack->nr_frames;
	}
	sort(v->holder, v->nr_holders, sizeof *v->holder, by_bytes);
	if (!symbols_init(&v->symbols, nr_frames))
		return false;
	for (h = v->holder; h < v->holder + v->nr_holders; h++)
		symbols_add(&v->symbols, h->stack->pc, h->stack->nr_frames);
	symbols_resolve(&v->symbols);
	return true;
}

bool view_take(struct view *v, const struct pinning *pinning)
{
	size_t nr_places = align_up(samples_begin(), DUMP_BATCH), nr_live;

	*v = (struct view){.interval = sampler_interval()};
	samples_count(&nr_live, &v->nr_lost);
	v->sample = map_array(nr_places, sizeof *v->sample, &v->samples_size);
	if (v->sample) {
		v->nr_samples = copy_samples(v->sample, nr_places);
		v->now_ms = os_coarse_clock_ms(); /* not before any of them was made */
		if (add_up(v, pinning))
			return true;
	}
	view_drop(v);
	return false;
}

void view_drop(struct view *v)
{
	samples_end();
	unmap(v->sample, v->samples_size);
	unmap(v->holder, v->holders_size);
	symbols_drop(&v->symbols);
}
