/* SPDX-License-Identifier: MIT */
#include "guarded/report.h"

#include "os/bug.h"
#include "profile/symbols.h"

/* --- stacks ------------------------------------------------------------------------------------- */

static void say_frame(const struct symbols *names, uintptr_t pc)
{
	const struct frame *f = &names->frame[symbols_find(names, pc)];
	const struct module *m = f->module == NO_MODULE ? NULL : &names->module[f->module];

	if (m && f->name)
		bug_say("    %s+%p (%s)", m->path, (void *)(pc - m->bias), f->name);
	else if (m)
		bug_say("    %s+%p", m->path, (void *)(pc - m->bias));
	else
		bug_say("    %p", (void *)pc);
}

static void say_stack(const struct symbols *names, const char *head, const struct trace_back *t)
{
	unsigned i;

	if (!t->nr_frames)
		return;
	bug_say("  %s thread %u:", head, t->thread);
	for (i = 0; i < t->nr_frames; i++) {
		if (names)
			say_frame(names, t->pc[i]);
		else
			bug_say("    %p", (void *)t->pc[i]);
	}
}

static void say_kept_stacks(const struct symbols *names, const struct guarded_slot *s)
{
	say_stack(names, "allocated by", &s->alloc);
	say_stack(names, "freed by", &s->free);
}

static void say_stacks(const char *head, const struct trace_back *now, const struct guarded_slot *s)
{
	struct symbols names;
	bool has_names = symbols_init(&names, 3 * MAX_GUARDED_FRAMES);

	if (has_names) {
		symbols_add(&names, now->pc, now->nr_frames);
		symbols_add(&names, s->alloc.pc, s->alloc.nr_frames);
		symbols_add(&names, s->free.pc, s->free.nr_frames);
		symbols_resolve(&names);
	}
	say_stack(has_names ? &names : NULL, head, now);
	say_kept_stacks(has_names ? &names : NULL, s);
	if (has_names)
		symbols_drop(&names);
}

/* --- what happened --------------------------------------------------------------------------------- */

/* Not inlined: their stack is not to be had where there is little. */
static out_of_line void say_access_stacks(const struct guarded_slot *s, const struct caller *by, uintptr_t sp)
{
	struct trace_back now;

	trace_back_take(&now, by, sp);
	say_stacks("accessed by", &now, s);
}

void report_access(const struct guarded_slot *s, uintptr_t addr, const struct caller *by, uintptr_t sp, size_t stack_left)
{
	uintptr_t end = s->addr + s->size;

	if (addr >= end)
		bug_say("overflow at %p: %z bytes behind a block of %z bytes at %p", (void *)addr, addr - end, s->size,
			(void *)s->addr);
	else if (addr < s->addr)
		bug_say("underflow at %p: %z bytes before a block of %z bytes at %p", (void *)addr, s->addr - addr, s->size,
			(void *)s->addr);
	else
		bug_say("use after free at %p: %z bytes into a block of %z bytes at %p", (void *)addr, addr - s->addr, s->size,
			(void *)s->addr);
	if (stack_left >= MIN_REPORT_STACK)
		say_access_stacks(s, by, sp);
	else
		say_kept_stacks(NULL, s);
}

static void end_call(const char *what, const struct guarded_slot *s, const struct caller *by)
{
	struct trace_back now;
	char head[32];

	trace_back_take(&now, by, 0);
	bug_format(head, sizeof head, "%s by", what);
	say_stacks(head, &now, s);
	bug_end();
}

void report_damage(const struct guarded_slot *s, uintptr_t damage, const char *what, const struct caller *by)
{
	uintptr_t end = s->addr + s->size;

	if (damage >= end)
		bug_say("overflow of %p: byte %z behind a block of %z bytes was written", (void *)s->addr, damage - end, s->size);
	else
		bug_say("underflow of %p: byte %z before a block of %z bytes was written", (void *)s->addr, s->addr - damage,
			s->size);
	end_call(what, s, by);
}

void report_call(struct guarded_slot *s, uintptr_t ptr, const char *what, const struct caller *by)
{
	int state = atomic_load_explicit(&s->state, memory_order_acquire);

	if (state == SLOT_LIVE)
		bug_say("invalid %s of %p: inside a block of %z bytes at %p", what, (void *)ptr, s->size, (void *)s->addr);
	else if (state == SLOT_FREED && ptr == s->addr && text_equal(what, "free"))
		bug_say("double free of %p", (void *)ptr);
	else
		bug_say("invalid %s of %p: freed before, or never allocated", what, (void *)ptr);
	end_call(what, s, by);
}
