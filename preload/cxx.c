/* SPDX-License-Identifier: MIT */
/*
 * C++'s operators new and delete, by their mangled names (Itanium C++ ABI), so
 * that no C++ library is needed. Operator new asks the program's new-handler
 * until it succeeds; without one it throws std::bad_alloc through libstdc++'s or
 * libc++'s own helper, found weakly: a program that has operators new has one. Else the caller's library has: a plugin that was
 * loaded with its C++ library, or with one linked into it, into a C program (RTLD_LOCAL).
 * C cannot catch what a new-handler throws, so the nothrow forms leave that to the C++
 * library's own, which call the throwing forms, here, and catch.
 */
#define _GNU_SOURCE
#include "bslab/bslab.h"

#include <dlfcn.h>

#include "malloc/fast.h"
#include "os/bug.h"

#define EXPORT __attribute__((visibility("default")))

typedef void (*new_handler)(void);

/* std::get_new_handler() and std::__throw_bad_alloc() */
extern new_handler _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak, noreturn));
/*
 * Forms that do the same are one function: arguments that a form has beyond it stand in registers that nobody reads.
 * Fewer sequences to relocate are a faster start.
 */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wattribute-alias"
#endif
#define SAME_AS(name) EXPORT __attribute__((alias(#name)))

/* operator new(size_t), new[], and with std::nothrow_t const & */
EXPORT void *_Znwm(size_t size);
SAME_AS(_Znwm) void *_Znam(size_t size);
EXPORT void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag);
SAME_AS(_ZnwmRKSt9nothrow_t) void *_ZnamRKSt9nothrow_t(size_t size, const void *tag);
/* with std::align_val_t */
EXPORT void *_ZnwmSt11align_val_t(size_t size, size_t align);
SAME_AS(_ZnwmSt11align_val_t) void *_ZnamSt11align_val_t(size_t size, size_t align);
EXPORT void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag);
SAME_AS(_ZnwmSt11align_val_tRKSt9nothrow_t)
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag);
/* operator delete(void *), delete[], nothrow, aligned */
EXPORT void _ZdlPv(void *ptr);
SAME_AS(_ZdlPv) void _ZdaPv(void *ptr);
SAME_AS(_ZdlPv) void _ZdlPvRKSt9nothrow_t(void *ptr, const void *tag);
SAME_AS(_ZdlPv) void _ZdaPvRKSt9nothrow_t(void *ptr, const void *tag);
SAME_AS(_ZdlPv) void _ZdlPvSt11align_val_t(void *ptr, size_t align);
SAME_AS(_ZdlPv) void _ZdaPvSt11align_val_t(void *ptr, size_t align);
SAME_AS(_ZdlPv) void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *tag);
SAME_AS(_ZdlPv) void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *tag);
/* sized */
EXPORT void _ZdlPvm(void *ptr, size_t size);
SAME_AS(_ZdlPvm) void _ZdaPvm(void *ptr, size_t size);
EXPORT void _ZdlPvmSt11align_val_t(void *ptr, size_t size, size_t align);
SAME_AS(_ZdlPvmSt11align_val_t) void _ZdaPvmSt11align_val_t(void *ptr, size_t size, size_t align);

static bool has_cxx_library(void)
{
	return _ZSt15get_new_handlerv || _ZSt17__throw_bad_allocv;
}

static new_handler current_handler(void)
{
	return _ZSt15get_new_handlerv ? _ZSt15get_new_handlerv() : NULL;
}

#pragma weak dlsym

/* Runs the handler once; false when there is none. The handler may throw. */
static bool run_new_handler(void)
{
	new_handler handler = current_handler();

	if (!handler)
		return false;
	handler();
	return true;
}

/* The others of its kin by name: a reference is one more to resolve at each start, and to a static program a warning. */
#define LIBC(name) ((__typeof__(&name))dlsym(RTLD_DEFAULT, #name))

/*
 * Where the program has no C++ library, the caller's library has one, or depends on one: its own form by the name, which asks its
 * handler and throws. NULL: none.
 */
static void *callers_form(const char *name, const void *caller, const void *own)
{
	void *library, *form;
	Dl_info info;

	if (has_cxx_library() || !dlsym || !LIBC(dladdr) || !LIBC(dlopen) || !LIBC(dlclose) || !LIBC(dladdr)(caller, &info))
		return NULL;
	library = LIBC(dlopen)(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	if (!library)
		return NULL;
	form = dlsym(library, name);
	LIBC(dlclose)(library); /* it stays: its code is under way */
	return form == own ? NULL : form;
}

static cold_path void *new_retry(size_t size, size_t align, bool throws)
{
	void *p = NULL;

	while (!p && run_new_handler())
		p = align ? bslab_aligned_alloc(align, size) : bslab_malloc(size);
	if (p || !throws)
		return p;
	if (_ZSt17__throw_bad_allocv)
		_ZSt17__throw_bad_allocv();
	bug_abort("operator new: out of memory for %z bytes, and no C++ library to throw bad_alloc", size);
}

static cold_path void *throwing_retry(size_t size, const void *caller)
{
	void *(*form)(size_t) = (void *(*)(size_t))callers_form("_Znwm", caller, (void *)_Znwm);

	return form ? form(size) : new_retry(size, 0, true);
}

static cold_path void *throwing_aligned_retry(size_t size, size_t align, const void *caller)
{
	void *(*form)(size_t, size_t) =
	    (void *(*)(size_t, size_t))callers_form("_ZnwmSt11align_val_t", caller, (void *)_ZnwmSt11align_val_t);

	return form ? form(size, align) : new_retry(size, align, true);
}

/*
 * The C++ library's nothrow form, or NULL: no handler, no library behind us, or a static program without dlsym, where
 * a handler that throws out of a nothrow form ends the program.
 */
static void *library_form(const char *name, const void *caller, const void *own)
{
	if (!has_cxx_library())
		return callers_form(name, caller, own);
	return current_handler() && dlsym ? dlsym(RTLD_NEXT, name) : NULL;
}

static cold_path void *nothrow_retry(size_t size, const void *tag, const void *caller)
{
	void *(*form)(size_t, const void *) =
	    (void *(*)(size_t, const void *))library_form("_ZnwmRKSt9nothrow_t", caller, (void *)_ZnwmRKSt9nothrow_t);

	return form ? form(size, tag) : new_retry(size, 0, false);
}

static cold_path void *nothrow_aligned_retry(size_t size, size_t align, const void *tag, const void *caller)
{
	void *(*form)(size_t, size_t, const void *) = (void *(*)(size_t, size_t, const void *))library_form(
	    "_ZnwmSt11align_val_tRKSt9nothrow_t", caller, (void *)_ZnwmSt11align_val_tRKSt9nothrow_t);

	return form ? form(size, align, tag) : new_retry(size, align, false);
}

/* The slow paths are jumped to, as malloc's are: fast.h says why. */

#define RETURN_ADDRESS __builtin_return_address(0) /* of the operator, where all that is inlined into it takes it */

static out_of_line void *new_rest(size_t size, bool is_counted, const void *caller)
{
	void *p = malloc_by(size, CALLER(), is_counted);

	return likely(p != NULL) ? p : throwing_retry(size, caller);
}

static out_of_line void *new_slow(size_t size, const void *caller)
{
	void *p = malloc_medium_shared(size);

	return likely(is_object(p)) ? p : new_rest(size, p != NULL, caller);
}

static force_inline void *new_block(size_t size)
{
	void *p = malloc_quick(size);

	return likely(p != NULL) ? p : new_slow(size, RETURN_ADDRESS);
}

static out_of_line void *new_aligned_slow(size_t size, size_t align, const void *caller)
{
	void *p = is_power_of_2(align) ? memalign_by(size, align, CALLER()) : NULL;

	return likely(p != NULL) ? p : throwing_aligned_retry(size, align, caller);
}

static force_inline void *new_aligned(size_t size, size_t align)
{
	void *p = memalign_fast_shared(size, align);

	return likely(p != NULL) ? p : new_aligned_slow(size, align, RETURN_ADDRESS);
}

static out_of_line void *new_nothrow_rest(size_t size, const void *tag, bool is_counted, const void *caller)
{
	void *p = malloc_by(size, CALLER(), is_counted);

	return likely(p != NULL) ? p : nothrow_retry(size, tag, caller);
}

static out_of_line void *new_nothrow_slow(size_t size, const void *tag, const void *caller)
{
	void *p = malloc_medium_shared(size);

	return likely(is_object(p)) ? p : new_nothrow_rest(size, tag, p != NULL, caller);
}

static force_inline void *new_nothrow(size_t size, const void *tag)
{
	void *p = malloc_quick(size);

	return likely(p != NULL) ? p : new_nothrow_slow(size, tag, RETURN_ADDRESS);
}

static out_of_line void *new_aligned_nothrow_slow(size_t size, size_t align, const void *tag, const void *caller)
{
	void *p = is_power_of_2(align) ? memalign_by(size, align, CALLER()) : NULL;

	return likely(p != NULL) ? p : nothrow_aligned_retry(size, align, tag, caller);
}

static force_inline void *new_aligned_nothrow(size_t size, size_t align, const void *tag)
{
	void *p = memalign_fast_shared(size, align);

	return likely(p != NULL) ? p : new_aligned_nothrow_slow(size, align, tag, RETURN_ADDRESS);
}

void *_Znwm(size_t size)
{
	return new_block(size);
}

void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag)
{
	return new_nothrow(size, tag);
}

void *_ZnwmSt11align_val_t(size_t size, size_t align)
{
	return new_aligned(size, align);
}

void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag)
{
	return new_aligned_nothrow(size, align, tag);
}

out_of_line void _ZdlPv(void *ptr)
{
	free_fast(ptr, HOME_DELETE);
}

/* A size that the block cannot have is reported as it is for free_sized(). */
void _ZdlPvm(void *ptr, size_t size)
{
	free_sized_fast(ptr, size);
}

void _ZdlPvmSt11align_val_t(void *ptr, size_t size, size_t align)
{
	bslab_free_aligned_sized(ptr, align, size);
}
