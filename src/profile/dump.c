/* SPDX-License-Identifier: MIT */
#include "profile/dump.h"

#include <string.h>

#include "os/bug.h"

static const char names[][8] = {"text", "folded", "pprof"};

int dump_format_of(const char *name)
{
	int i;

	for (i = 0; i < 3; i++)
		if (text_equal(name, names[i]))
			return i;
	return -1;
}

/* A folded line ends in its number behind a space, and ';' parts its frames. */
static void put_folded_frame(struct out *o, const struct view *v, uintptr_t pc)
{
	const struct frame *f = frame_of(v, pc);
	const struct module *m = module_of(v, f);
	const char *p;

	if (f->name) {
		for (p = f->name; *p; p++)
			out_put(o, *p == ';' || *p == ' ' || *p == '\n' ? "_" : p, 1);
		return;
	}
	for (p = m ? module_name(m) : ""; *p; p++)
		out_put(o, *p == ';' || *p == ' ' || *p == '\n' ? "_" : p, 1);
	OUT(o, m ? "+%p" : "%p", (void *)(pc - (m ? m->bias : 0)));
}

void folded_write(struct out *o, const struct view *v)
{
	const struct holder *h;
	unsigned i;

	for (h = v->holder; h < v->holder + v->nr_holders; h++) {
		for (i = h->stack->nr_frames; i-- > 0;) {
			put_folded_frame(o, v, h->stack->pc[i]);
			out_text(o, i ? ";" : "");
		}
		OUT(o, " %z\n", rounded(h->bytes));
	}
}

int dump_write(struct out *o, const struct view *v, enum dump_format format, int fd)
{
	out_start(o, fd, format == DUMP_PPROF);
	switch (format) {
	case DUMP_TEXT:
		ranking_write(o, v);
		break;
	case DUMP_FOLDED:
		folded_write(o, v);
		break;
	case DUMP_PPROF:
		pprof_write(o, v);
		break;
	}
	return out_end(o);
}
