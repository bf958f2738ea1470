/* SPDX-License-Identifier: MIT */
#include "os/bug.h"
#include "profile/dump.h"
#include "profile/sort.h"
#include "profile/unwind.h"

/* Stacks that are shown of each ranking; the others are counted. */
#define NR_RANKED 50

static void put_frames(struct out *o, const struct view *v, const struct stack *s)
{
	unsigned i;

	for (i = 0; i < s->nr_frames; i++) {
		const struct frame *f = frame_of(v, s->pc[i]);
		const struct module *m = module_of(v, f);

		out_text(o, "      ");
		if (f->name) {
			out_text(o, f->name);
			OUT(o, "+%p", (void *)(f->pc - f->start));
		} else {
			OUT(o, "%p", (void *)f->pc);
		}
		if (m) {
			out_text(o, " (");
			out_text(o, m->path);
			OUT(o, "+%p)", (void *)(f->pc - m->bias));
		}
		out_text(o, "\n");
	}
}

/* In tenths of a percent: no floating point is formatted. */
static size_t share(double part, double whole)
{
	return whole > 0 ? rounded(1000 * part / whole) : 0;
}

static void put_holder(struct out *o, const struct view *v, size_t rank, const struct holder *h)
{
	size_t permille = share(h->bytes, v->bytes);

	OUT(o, "#%z  %z bytes (%z.%z %%) in %z objects, pinned %z bytes\n", rank, rounded(h->bytes), permille / 10,
	    permille % 10, rounded(h->objects), rounded(h->pinned));
	OUT(o, h->min_size == h->max_size ? "    %z samples of %z bytes" : "    %z samples of %z to %z bytes", h->nr_samples,
	    h->min_size, h->max_size);
	OUT(o, ", %z to %z s old\n", (size_t)(v->now_ms - h->newest_ms) / 1000, (size_t)(v->now_ms - h->oldest_ms) / 1000);
	put_frames(o, v, h->stack);
}

static void put_head(struct out *o, const struct view *v)
{
	OUT(o, "heap profile: about %z bytes in %z objects are held, from %z stacks; they pin about %z bytes\n",
	    rounded(v->bytes), rounded(v->objects), v->nr_holders, rounded(v->pinned));
	OUT(o, "from %z samples, ", v->nr_samples);
	if (v->interval)
		OUT(o, "one for each %z bytes allocated on average", v->interval);
	else
		out_text(o, "and none are being added");
	OUT(o, "; %z lost; stacks by %s\n", v->nr_lost, unwind_name());
}

static void put_rest(struct out *o, size_t n)
{
	if (n)
		OUT(o, "... and %z more\n", n);
}

struct place {
	const struct holder *holder;
	size_t rank;
};

static bool by_pinned(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->holder->pinned != y->holder->pinned ? x->holder->pinned > y->holder->pinned : x->rank < y->rank;
}

/* Keeps the NR_RANKED first: n of them are there, in order. */
static size_t place_insert(struct place *place, size_t n, struct place p)
{
	if (n == NR_RANKED && !by_pinned(&p, &place[n - 1]))
		return n;
	n += n < NR_RANKED;
	place[n - 1] = p;
	sort(place, n, sizeof *place, by_pinned);
	return n;
}

static void put_pinned(struct out *o, const struct view *v)
{
	struct place place[NR_RANKED];
	size_t i, n = 0, nr_pinning = 0;

	for (i = 0; i < v->nr_holders; i++)
		if (v->holder[i].pinned >= 0.5) {
			nr_pinning++;
			n = place_insert(place, n, (struct place){&v->holder[i], i + 1});
		}
	for (i = 0; i < n; i++) {
		const struct holder *h = place[i].holder;
		const struct frame *f = frame_of(v, h->stack->pc[0]);
		size_t permille = share(h->pinned, v->pinned);

		OUT(o, "#%z  %z bytes pinned (%z.%z %%) by %z objects of %z bytes, #%z above: ", i + 1, rounded(h->pinned),
		    permille / 10, permille % 10, rounded(h->objects), rounded(h->bytes), place[i].rank);
		if (f->name)
			out_text(o, f->name);
		else
			OUT(o, "%p", (void *)f->pc);
		out_text(o, "\n");
	}
	put_rest(o, nr_pinning - n);
}

void ranking_write(struct out *o, const struct view *v)
{
	size_t i;

	put_head(o, v);
	out_text(o, "\nby bytes held\n");
	for (i = 0; i < v->nr_holders && i < NR_RANKED; i++)
		put_holder(o, v, i + 1, &v->holder[i]);
	put_rest(o, v->nr_holders - i);
	out_text(o, "\nby bytes pinned\n");
	put_pinned(o, v);
}
