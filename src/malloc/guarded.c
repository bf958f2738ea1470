/* SPDX-License-Identifier: MIT */
#include "malloc/guarded.h"

#include "guarded/count.h"
#include "guarded/fault.h"
#include "guarded/report.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/options.h"
#include "profile/symbols.h"
#include "profile/unwind.h"

void guarded_start(size_t interval)
{
	unwind_setup(bslab_options.profile_frames);
	symbols_setup();
	if (!guarded_pool_start()) {
		bug_say("guarded: no memory, or no pages that can be made to trap");
		return;
	}
	fault_handle();
	guarded_count_start((uint32_t)interval);
	slow_path_force(SLOW_GUARDED);
}

void *guarded_alloc(const struct alloc_request *r, bool *zeroed)
{
	*zeroed = true;
	return guarded_pool_alloc(r->asked, r->align, &r->by);
}

void guarded_free(page_desc_t d, void *ptr)
{
	struct guarded_slot *s = guarded_of(d);
	struct caller by = CALLER();
	uintptr_t damage;

	if (!guarded_pool_free(s, (uintptr_t)ptr, &by, &damage))
		report_call(s, (uintptr_t)ptr, "free", &by);
	else if (damage)
		report_damage(s, damage, "free", &by);
	reports_poll();
}

bool guarded_size(page_desc_t d, void *ptr, const char *what, size_t *size)
{
	struct guarded_slot *s = guarded_of(d);
	struct caller by = CALLER();

	if (slot_is_live(s, (uintptr_t)ptr)) {
		*size = s->size;
		return true;
	}
	report_call(s, (uintptr_t)ptr, what, &by);
	return false;
}
