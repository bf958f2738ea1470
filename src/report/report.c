/* SPDX-License-Identifier: MIT */
#include "report/report.h"

#include "boot/boot.h"
#include "heap/pool.h"

void report_take(struct heap_report *r)
{
	unsigned class;

	r->class[0] = (struct class_report){0};
	for (class = 1; class < NR_CACHES; class++)
		cache_snapshot(class, &r->class[class].cache);
	for (class = 0; class < NR_CLASSES; class++)
		objects_snapshot(class, &r->handle[class].cache);
	handles_snapshot(&r->handles);
	compact_snapshot(&r->compact);
	percpu_snapshot(&r->percpu);
	pages_snapshot(&r->pages);
	guard_snapshot(&r->guards);
	large_snapshot(&r->large);
	large_list(&r->large_list);
	zone_snapshot(&r->zone);
	r->metadata = boot_used() + r->handles.nr_entries * sizeof(struct handle_entry);
	r->metadata_mapped = boot_mapped() + r->handles.mapped;
	r->pools = pools_bytes();
	r->nr_reclaims = r->nr_failures = 0;
	report_derive(r);
}
