/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "profile/unwind.h"

#include <dlfcn.h>
#include <string.h>
#include <unwind.h>

#include "arch/arch.h"
#include "boot/boot.h"
#include "os/os.h"
#include "os/thread.h"
#include "profile/cfi.h"
#include "profile/elf.h"

#pragma weak dlsym /* not in a static program */

struct memo;

/* libgcc's own (unwind-dw2-fde.h), which no header that is installed has. */
struct dwarf_eh_bases {
	void *tbase, *dbase, *func;
};

/* What was found at the start of the first profile. */
struct unwinder {
	uintptr_t own_start, own_end; /* of bslab, where it is a library; else both 0 */
	/* libgcc's, which stands from start to end. backtrace NULL: frame pointers. */
	_Unwind_Reason_Code (*backtrace)(_Unwind_Trace_Fn, void *);
	uintptr_t (*get_ip)(struct _Unwind_Context *, int *before_insn);
	uintptr_t (*get_cfa)(struct _Unwind_Context *); /* of the frame below: this one's stack pointer */
	uintptr_t (*get_gr)(struct _Unwind_Context *, int reg);
	const void *(*find_fde)(void *pc, struct dwarf_eh_bases *bases);
	uintptr_t start, end;
	struct memo *memos; /* [NR_MEMOS], or NULL; not in .bss, of which each process touches the pages */
};

/* Published whole, by whoever has it first. NULL: frame pointers, and nothing is known. */
static _Atomic(const struct unwinder *) unwinder;

static const struct unwinder *unwinder_get(void)
{
	return atomic_load_explicit(&unwinder, memory_order_acquire);
}

const char *unwind_name(void)
{
	const struct unwinder *u = unwinder_get();

	return u && u->backtrace ? "unwind tables" : "frame pointers";
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

/*
 * A thread's outer frames are mostly those of its last sample, and the unwinder takes up to a microsecond for each. So
 * the last stack is remembered, with each frame's stack pointer. When a walk comes to one of its frames, and every
 * return address further out still stands where it stood, the rest is taken from there. In a few places, by thread;
 * whoever finds its place in use, by another thread or by a fork long ago, does without.
 */
#define NR_MEMOS 16

struct memo {
	_Atomic bool is_busy;
	bool is_cut; /* the stack had more frames */
	unsigned n;
	uintptr_t pc[MAX_FRAMES], sp[MAX_FRAMES]; /* sp rises */
};

static struct memo *memo_get(const struct unwinder *u)
{
	struct memo *m = u->memos + ((arch_thread_pointer() >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 60);

	return u->memos && !atomic_exchange_explicit(&m->is_busy, true, memory_order_acquire) ? m : NULL;
}

_Static_assert(NR_MEMOS == 1 << 4, "the upper four bits of the hash are the place");

static void memo_put(struct memo *m, const uintptr_t *pc, const uintptr_t *sp, unsigned n, bool is_cut)
{
	m->n = n;
	m->is_cut = is_cut;
	memcpy(m->pc, pc, n * sizeof *pc);
	memcpy(m->sp, sp, n * sizeof *sp);
	atomic_store_explicit(&m->is_busy, false, memory_order_release);
}

/* The frames outside of the i-th, which is live, are as they were. The kernel is asked before another page is read. */
static bool memo_holds(const struct memo *m, unsigned i)
{
	uintptr_t page = align_down(m->sp[i], BSLAB_PAGE_SIZE);

	for (; i + 1 < m->n; i++) {
		uintptr_t slot = m->sp[i + 1] - ARCH_RETURN_BELOW_CFA;

		if (slot % sizeof slot || (align_down(slot, BSLAB_PAGE_SIZE) != page && !os_is_readable(slot)))
			return false;
		page = align_down(slot, BSLAB_PAGE_SIZE);
		if (*(const uintptr_t *)slot != m->pc[i + 1] + 1)
			return false;
	}
	return true;
}

/* More than bslab's own frames ever are, below the caller's. */
#define MAX_OWN_FRAMES 16

struct trace {
	const struct unwinder *unwinder;
	uintptr_t caller, *pc;
	uintptr_t sp[MAX_FRAMES];
	struct memo *memo; /* or NULL */
	unsigned memo_at;
	unsigned n, nr_own;
	bool is_cut;
	/* Of the frame that libgcc steps to next: its entry in the tables, and where that begins. */
	const void *fde;
	uintptr_t fde_start, next; /* and its address */
	uintptr_t page; /* of the stack, that was read last */
	struct _Unwind_Context *context; /* of the frame that it is at */
};

static void trace_add(struct trace *t, uintptr_t pc, uintptr_t sp)
{
	t->pc[t->n] = pc;
	t->sp[t->n++] = sp;
	t->is_cut = t->n == MAX_FRAMES;
}

/* --- a look ahead --- */

static bool find_fde(struct trace *t, uintptr_t pc)
{
	struct dwarf_eh_bases bases;

	t->fde = t->unwinder->find_fde((void *)pc, &bases);
	t->fde_start = t->fde ? (uintptr_t)bases.func : 0;
	return t->fde;
}

/* Those that a function keeps for its caller: libgcc has a value for each of them. */
static bool get_register(void *trace, unsigned number, uintptr_t *value)
{
	struct trace *t = trace;

	if (number == ARCH_DWARF_SP)
		*value = t->unwinder->get_cfa(t->context);
	else if (number < 32 && ARCH_DWARF_KEPT >> number & 1)
		*value = t->unwinder->get_gr(t->context, (int)number);
	else
		return false;
	return true;
}

/* The kernel is asked before another page is read. */
static bool read_stack(void *trace, uintptr_t addr, uintptr_t *value)
{
	struct trace *t = trace;
	uintptr_t page = align_down(addr, BSLAB_PAGE_SIZE);

	if (addr % sizeof addr || (page != t->page && !os_is_readable(addr)))
		return false;
	t->page = page;
	*value = *(const uintptr_t *)addr;
	return true;
}

/*
 * Whether libgcc may step from the frame at pc to its caller: only if it finds an entry there too. Code without one,
 * such as a JIT's, ends the stack with its address.
 */
static bool trace_next(struct trace *t, uintptr_t pc)
{
	struct cfi_frame f = {t->fde, t->fde_start, pc, get_register, read_stack, t};
	struct cfi_caller caller;

	if (t->is_cut || !cfi_caller(&f, &caller))
		return false;
	caller.ip -= !caller.is_interrupted;
	t->next = caller.ip;
	if (find_fde(t, caller.ip))
		return true;
	if (os_is_readable(align_down(caller.ip, sizeof caller.ip)))
		trace_add(t, caller.ip, caller.cfa);
	return false;
}

/* The rest of the stack, if the memo has it. What was cut there may only be cut here. */
static bool trace_rest(struct trace *t, uintptr_t pc, uintptr_t sp)
{
	const struct memo *m = t->memo;
	unsigned i = t->memo_at, nr_more;

	while (i < m->n && m->sp[i] < sp)
		i++;
	t->memo_at = i;
	if (i == m->n || m->sp[i] != sp || m->pc[i] != pc || (m->is_cut && t->n + m->n - i < MAX_FRAMES) || !memo_holds(m, i))
		return false;
	nr_more = (unsigned)min_size(m->n - i, MAX_FRAMES - t->n);
	memcpy(t->pc + t->n, m->pc + i, nr_more * sizeof *t->pc);
	memcpy(t->sp + t->n, m->sp + i, nr_more * sizeof *t->sp);
	t->is_cut = m->is_cut || nr_more < m->n - i;
	t->n += nr_more;
	return true;
}

static _Unwind_Reason_Code trace_frame(struct _Unwind_Context *context, void *arg)
{
	struct trace *t = arg;
	int before_insn = 0; /* a frame that a signal interrupted: the address is not a call's */
	uintptr_t ip = t->unwinder->get_ip(context, &before_insn), sp;

	if (!ip) /* where the stack begins */
		return _URC_END_OF_STACK;
	if (!t->n && ip != t->caller)
		return ++t->nr_own < MAX_OWN_FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
	ip -= !before_insn;
	if (t->n && ip != t->next) /* libgcc has read the tables in another way: what is ahead was not looked at */
		return _URC_END_OF_STACK;
	sp = t->unwinder->get_cfa(context);
	if (t->memo && trace_rest(t, ip, sp))
		return _URC_END_OF_STACK;
	trace_add(t, ip, sp);
	t->context = context;
	return trace_next(t, ip) ? _URC_NO_REASON : _URC_END_OF_STACK;
}

static unsigned walk_tables(const struct unwinder *u, const struct caller *by, uintptr_t pc[MAX_FRAMES])
{
	struct trace t;

	t.unwinder = u;
	t.caller = by->pc;
	t.pc = pc;
	t.memo_at = t.n = t.nr_own = 0;
	t.is_cut = false;
	t.page = align_down((uintptr_t)__builtin_frame_address(0), BSLAB_PAGE_SIZE);
	t.memo = memo_get(u);
	if (by->pc - u->start >= u->end - u->start && find_fde(&t, plain_address(by->pc) - 1))
		u->backtrace(trace_frame, &t);
	if (t.memo)
		memo_put(t.memo, pc, t.sp, t.n, t.is_cut);
	if (!t.n)
		pc[t.n++] = by->pc - 1;
	return t.n;
}

unsigned unwind(const struct caller *by, uintptr_t pc[MAX_FRAMES])
{
	const struct unwinder *u = unwinder_get();
	unsigned n = u && u->backtrace ? walk_tables(u, by, pc) : walk_frames(by, pc), nr_own = 0;

	/* Debug builds call where others jump, and operator new tries again on its own behalf. */
	while (u && nr_own < n - 1 && pc[nr_own] - u->own_start < u->own_end - u->own_start)
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

static _Unwind_Reason_Code stop_at_once(struct _Unwind_Context *context, void *unused)
{
	(void)context;
	(void)unused;
	return _URC_END_OF_STACK;
}

/* False: one that takes a lock, or none. */
static bool find_libgcc(struct unwinder *u, void *library)
{
	int (*address)(const void *, Dl_info *) = (int (*)(const void *, Dl_info *))find(RTLD_DEFAULT, "dladdr");
	_Unwind_Reason_Code (*backtrace)(_Unwind_Trace_Fn, void *);
	Dl_info info;

	backtrace = (_Unwind_Reason_Code(*)(_Unwind_Trace_Fn, void *))find(library, "_Unwind_Backtrace");
	u->get_ip = (uintptr_t(*)(struct _Unwind_Context *, int *))find(library, "_Unwind_GetIPInfo");
	u->get_cfa = (uintptr_t(*)(struct _Unwind_Context *))find(library, "_Unwind_GetCFA");
	u->get_gr = (uintptr_t(*)(struct _Unwind_Context *, int))find(library, "_Unwind_GetGR");
	u->find_fde = (const void *(*)(void *, struct dwarf_eh_bases *))find(library, "_Unwind_Find_FDE");
	if (!backtrace || !u->get_ip || !u->get_cfa || !u->get_gr || !u->find_fde || !address((void *)backtrace, &info) ||
	    !imports_find_object((uintptr_t)info.dli_fbase))
		return false;
	u->start = (uintptr_t)info.dli_fbase;
	u->end = library_end(u->start);
	u->backtrace = backtrace;
	return true;
}

static void look_around(struct unwinder *u, bool frames_only)
{
	void *(*open)(const char *, int) = (void *(*)(const char *, int))find(RTLD_DEFAULT, "dlopen");
	int (*address)(const void *, Dl_info *) = (int (*)(const void *, Dl_info *))find(RTLD_DEFAULT, "dladdr");
	void *library;
	Dl_info info;

	if (!open || !address)
		return;
	if (address((void *)unwind_setup, &info) && !is_program((uintptr_t)info.dli_fbase)) {
		u->own_start = (uintptr_t)info.dli_fbase;
		u->own_end = library_end(u->own_start);
	}
	if (frames_only || !find(RTLD_DEFAULT, "_dl_find_object"))
		return;
	library = open("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!library || !find_libgcc(u, library))
		return;
	if (ARCH_RETURN_BELOW_CFA)
		u->memos = boot_alloc(NR_MEMOS * sizeof *u->memos, _Alignof(struct memo));
	u->backtrace(stop_at_once, NULL);
}

void unwind_setup(bool frames_only)
{
	const struct unwinder *none = NULL;
	struct unwinder *u = unwinder_get() ? NULL : boot_alloc(sizeof *u, _Alignof(struct unwinder));

	if (!u)
		return;
	look_around(u, frames_only);
	atomic_compare_exchange_strong_explicit(&unwinder, &none, u, memory_order_release, memory_order_relaxed);
}
