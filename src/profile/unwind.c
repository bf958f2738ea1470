/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "profile/unwind.h"

#include <dlfcn.h>
#include <string.h>
#include <unwind.h>

#include "os/os.h"
#include "os/thread.h"
#include "profile/elf.h"

#pragma weak dlsym /* not in a static program */

/* Written once, by unwind_setup(), before the first sample. backtrace NULL: frame pointers. */
static struct {
	_Unwind_Reason_Code (*backtrace)(_Unwind_Trace_Fn, void *);
	uintptr_t (*get_ip)(struct _Unwind_Context *, int *before_insn);
	uintptr_t start, end; /* where it stands */
} libgcc;
static struct {
	uintptr_t start, end; /* of bslab, where it is a library; else both 0 */
} own;

const char *unwind_name(void)
{
	return libgcc.backtrace ? "unwind tables" : "frame pointers";
}

/* --- by frame pointers -------------------------------------------------------------- */

#define MAX_FRAME_SIZE MIB

static uintptr_t plain_address(uintptr_t pc)
{
	return pc & (((uintptr_t)1 << ADDRESS_BITS) - 1); /* aarch64 may sign what it returns to */
}

/* A frame begins with the caller's frame pointer and the return address. */
static bool frame_is_good(uintptr_t fp, uintptr_t below)
{
	return fp % sizeof(uintptr_t) == 0 && fp > below && fp - below < MAX_FRAME_SIZE && os_is_readable(fp) &&
	       os_is_readable(fp + sizeof(uintptr_t));
}

static unsigned walk_frames(const struct caller *by, uintptr_t pc[MAX_FRAMES])
{
	uintptr_t fp = by->fp, below = (uintptr_t)__builtin_frame_address(0);
	unsigned n = 0;

	pc[n++] = plain_address(by->pc) - 1;
	while (n < MAX_FRAMES && frame_is_good(fp, below)) {
		const uintptr_t *frame = (const uintptr_t *)fp;

		if (plain_address(frame[1]) < BSLAB_PAGE_SIZE)
			break;
		pc[n++] = plain_address(frame[1]) - 1;
		below = fp;
		fp = frame[0];
	}
	return n;
}

/* --- by the tables ------------------------------------------------------------------- */

/* More than bslab's own frames ever are, below the caller's. */
#define MAX_OWN_FRAMES 16

struct trace {
	uintptr_t caller, *pc;
	unsigned n, nr_own;
};

static _Unwind_Reason_Code trace_frame(struct _Unwind_Context *context, void *arg)
{
	struct trace *t = arg;
	int before_insn = 0; /* a frame that a signal interrupted: the address is not a call's */
	uintptr_t ip = libgcc.get_ip(context, &before_insn);

	if (!ip) /* where the stack begins */
		return _URC_END_OF_STACK;
	if (!t->n && ip != t->caller)
		return ++t->nr_own < MAX_OWN_FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
	t->pc[t->n++] = before_insn ? ip : ip - 1;
	return t->n < MAX_FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

static unsigned walk_tables(const struct caller *by, uintptr_t pc[MAX_FRAMES])
{
	struct trace t = {.caller = by->pc, .pc = pc};

	if (by->pc - libgcc.start >= libgcc.end - libgcc.start)
		libgcc.backtrace(trace_frame, &t);
	if (!t.n)
		pc[t.n++] = by->pc - 1;
	return t.n;
}

unsigned unwind(const struct caller *by, uintptr_t pc[MAX_FRAMES])
{
	unsigned n = libgcc.backtrace ? walk_tables(by, pc) : walk_frames(by, pc), nr_own = 0;

	/* Debug builds call where others jump, and operator new tries again on its own behalf. */
	while (nr_own < n - 1 && pc[nr_own] - own.start < own.end - own.start)
		nr_own++;
	memmove(pc, pc + nr_own, (n - nr_own) * sizeof *pc);
	return n - nr_own;
}

/* --- finding the unwinder --------------------------------------------------------------- */

static void *find(void *library, const char *name)
{
	return dlsym ? dlsym(library, name) : NULL;
}

/* Of a library that is loaded: it begins with its headers, and is linked to address 0. */
static const ElfW(Phdr) *headers(uintptr_t base, size_t *n)
{
	const ElfW(Ehdr) *ehdr = (const ElfW(Ehdr) *)base;

	*n = ehdr->e_phnum;
	return (const ElfW(Phdr) *)(base + ehdr->e_phoff);
}

static uintptr_t library_end(uintptr_t base)
{
	size_t n, i;
	const ElfW(Phdr) *phdr = headers(base, &n);
	uintptr_t end = base;

	for (i = 0; i < n; i++)
		if (phdr[i].p_type == PT_LOAD)
			end = max_size(end, base + phdr[i].p_vaddr + phdr[i].p_memsz);
	return end;
}

/* A program names its loader; it has bslab in it then. */
static bool is_program(uintptr_t base)
{
	size_t n, i;
	const ElfW(Phdr) *phdr = headers(base, &n);

	for (i = 0; i < n; i++)
		if (phdr[i].p_type == PT_INTERP)
			return true;
	return false;
}

static bool imports_find_object(uintptr_t base)
{
	size_t n, i;
	const ElfW(Phdr) *phdr = headers(base, &n);
	struct elf_symbols symbols;

	if (!elf_symbols(base, phdr, n, &symbols))
		return false;
	for (i = 1; i < symbols.nr_symbols; i++)
		if (symbols.symbol[i].st_shndx == SHN_UNDEF && text_equal(elf_name(&symbols, i), "_dl_find_object"))
			return true;
	return false;
}

void unwind_setup(bool frames_only)
{
	void *(*open)(const char *, int) = (void *(*)(const char *, int))find(RTLD_DEFAULT, "dlopen");
	int (*address)(const void *, Dl_info *) = (int (*)(const void *, Dl_info *))find(RTLD_DEFAULT, "dladdr");
	_Unwind_Reason_Code (*backtrace)(_Unwind_Trace_Fn, void *);
	uintptr_t pc[MAX_FRAMES];
	Dl_info info;
	void *library;

	if (!open || !address)
		return;
	if (address((void *)unwind_setup, &info) && !is_program((uintptr_t)info.dli_fbase)) {
		own.start = (uintptr_t)info.dli_fbase;
		own.end = library_end(own.start);
	}
	if (frames_only || !find(RTLD_DEFAULT, "_dl_find_object"))
		return;
	library = open("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return;
	backtrace = (_Unwind_Reason_Code(*)(_Unwind_Trace_Fn, void *))find(library, "_Unwind_Backtrace");
	libgcc.get_ip = (uintptr_t(*)(struct _Unwind_Context *, int *))find(library, "_Unwind_GetIPInfo");
	if (!backtrace || !libgcc.get_ip || !address((void *)backtrace, &info) ||
	    !imports_find_object((uintptr_t)info.dli_fbase))
		return;
	libgcc.start = (uintptr_t)info.dli_fbase;
	libgcc.end = library_end(libgcc.start);
	libgcc.backtrace = backtrace;
	walk_tables(&(struct caller){0, 0}, pc);
}
