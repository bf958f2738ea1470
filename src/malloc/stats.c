/* SPDX-License-Identifier: MIT */
/* malloc_trim, malloc_stats, malloc_info, mallinfo2 and mallopt; bslab.h documents each. */
#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "bslab/bslab.h"
#include "malloc/reports.h"
#include "malloc/internal.h"
#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "page/limit.h"
#include "large/large.h"
#include "slab/percpu.h"

int bslab_malloc_trim(size_t pad)
{
	int given;

	process_boot();
	given = reclaim(pad >> PAGE_SHIFT) > 0;
	reports_poll();
	return given;
}

/* After a failure nothing more: each line would wait for a reader anew. */
static void put_stderr(const char *line, void *failure)
{
	char text[MAX_REPORT_LINE + 2];
	size_t len = strlen(line);
	int *result = failure;

	if (*result)
		return;
	memcpy(text, line, len);
	text[len++] = '\n';
	*result = os_write(2, text, len);
}

/* What the stream had met before the call is not the call's failure. */
struct stream_out {
	FILE *stream;
	bool has_failed;
};

static void put_stream(const char *line, void *arg)
{
	struct stream_out *out = arg;

	if (fputs(line, out->stream) == EOF || fputc('\n', out->stream) == EOF)
		out->has_failed = true;
}

void bslab_malloc_stats(void)
{
	struct heap_report *r = snapshot_take();
	int failure = 0;

	if (!r) {
		bug_say("malloc_stats: no memory for a snapshot");
		return;
	}
	report_text(r, put_stderr, &failure);
	snapshot_drop(r);
}

int bslab_malloc_info(int options, FILE *stream)
{
	struct stream_out out = {.stream = stream};
	struct heap_report *r;

	if (options != 0) {
		errno = EINVAL;
		return -1;
	}
	r = snapshot_take();
	if (!r) {
		errno = ENOMEM;
		return -1;
	}
	report_xml(r, put_stream, &out);
	snapshot_drop(r);
	return out.has_failed ? -1 : 0;
}

struct bslab_mallinfo bslab_mallinfo2(void)
{
	struct bslab_mallinfo m = {0};
	struct heap_report *r = snapshot_take();
	unsigned t, o;

	if (!r)
		return m;
	m.arena = r->zone.nr_committed << PAGEBLOCK_SHIFT;
	m.ordblks = r->zone.nr_free;
	for (t = 0; t < NR_MIGRATETYPES; t++)
		for (o = 0; o < NR_ORDERS; o++)
			m.ordblks += r->pages.types.free_area[t][o];
	m.smblks = r->nr_small_free;
	m.fsmblks = r->small_free;
	m.hblks = r->large.nr_mapped;
	m.hblkhd = r->large.mapped_bytes;
	m.uordblks = r->used - r->large.mapped_bytes;
	m.fordblks = r->free - min_size(r->free, r->large.kept_mapped_bytes); /* of the arena */
	m.keepcost = r->dirty_free;
	snapshot_drop(r);
	return m;
}

int bslab_set_limits(size_t soft, size_t hard)
{
	if (soft && hard && soft > hard)
		return EINVAL;
	process_boot();
	limit_set(soft, hard);
	if (hard) {
		percpu_find_reach();
		large_drain(); /* a mapping that is kept counts in full */
	}
	reports_poll();
	return 0;
}

int bslab_mallopt(int param, int value)
{
	process_boot();
	switch (param) {
	case M_TRIM_THRESHOLD:
		/* -1 is glibc's "never". */
		zone_set_dirty_floor(value < 0 ? SIZE_MAX / 2 : (size_t)value);
		return 1;
	case M_MMAP_THRESHOLD:
		if (value < 0)
			return 0;
		if (!bslab_options.hardened) /* where each large block is a mapping */
			bslab_options.large_size = max_size((size_t)value, PAGEBLOCK_SIZE);
		return 1;
	case M_CHECK_ACTION:
		bug_set_fatal(value & 2);
		return 1;
	case M_PERTURB:
		if (!bslab_options.hardened) /* where all that is new, or free, reads as zero */
			perturb_set(value & 0xff);
		return 1;
	case M_MMAP_MAX:
		if (!bslab_options.hardened) /* the same */
			large_avoid_mappings(value == 0);
		return 1;
	case M_MXFAST:
	case M_TOP_PAD:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return 1;
	default:
		return 0;
	}
}
