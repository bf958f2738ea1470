/* SPDX-License-Identifier: MIT */
/*
 * C++'s operators new and delete, by their mangled names (Itanium C++ ABI), so
 * that no C++ library is needed. Operator new asks the program's new-handler
 * until it succeeds; without one it throws std::bad_alloc through libstdc++'s or
 * libc++'s own helper, found weakly: a program that has operators new has one. Else the caller's library has: a plugin that was
 * loaded with its C++ library, or with one linked into it, into a C program (RTLD_LOCAL).
 * C cannot catch what a new-handler throws, so the nothrow forms leave that to the C++
 * library's own, which call the throwing forms, here, and catch.
 *
 * A program may replace some forms only. By the standard the others end in those: new[] and the nothrow forms in new, all of
 * delete's in delete. So what ends in another form calls it by the name that the whole process knows: preload/replaceable.list
 * keeps these out of -Bsymbolic-functions, and in the archive they are weak. Where they are ours that is a jump, or a test.
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
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wattribute-alias"
#endif
/* One function: arguments that a form has beyond it stand in registers that nobody reads. */
#define SAME_AS(name) __attribute__((alias(#name)))

/* operator new(size_t), new[], and with std::nothrow_t const & */
EXPORT void *_Znwm(size_t size);
EXPORT void *_Znam(size_t size);
EXPORT void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag);
EXPORT void *_ZnamRKSt9nothrow_t(size_t size, const void *tag);
/* with std::align_val_t */
EXPORT void *_ZnwmSt11align_val_t(size_t size, size_t align);
EXPORT void *_ZnamSt11align_val_t(size_t size, size_t align);
EXPORT void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag);
EXPORT void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag);
/* operator delete(void *), delete[], nothrow, aligned */
EXPORT void _ZdlPv(void *ptr);
EXPORT void _ZdaPv(void *ptr);
EXPORT void _ZdlPvRKSt9nothrow_t(void *ptr, const void *tag);
EXPORT void _ZdaPvRKSt9nothrow_t(void *ptr, const void *tag);
EXPORT SAME_AS(_ZdlPv) void _ZdlPvSt11align_val_t(void *ptr, size_t align);
EXPORT void _ZdaPvSt11align_val_t(void *ptr, size_t align);
EXPORT void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *tag);
EXPORT void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *tag);
/* sized */
EXPORT void _ZdlPvm(void *ptr, size_t size);
EXPORT void _ZdaPvm(void *ptr, size_t size);
EXPORT void _ZdlPvmSt11align_val_t(void *ptr, size_t size, size_t align);
EXPORT void _ZdaPvmSt11align_val_t(void *ptr, size_t size, size_t align);

/* Ours, by names that are nobody else's. */
static SAME_AS(_Znwm) void *own_new(size_t size);
static SAME_AS(_Znam) void *own_new_array(size_t size);
static SAME_AS(_ZnwmRKSt9nothrow_t) void *own_new_nothrow(size_t size, const void *tag);
static SAME_AS(_ZnwmSt11align_val_t) void *own_new_aligned(size_t size, size_t align);
static SAME_AS(_ZnamSt11align_val_t) void *own_new_aligned_array(size_t size, size_t align);
static SAME_AS(_ZnwmSt11align_val_tRKSt9nothrow_t) void *own_new_aligned_nothrow(size_t size, size_t align, const void *tag);
static SAME_AS(_ZdlPv) void own_delete(void *ptr);
static SAME_AS(_ZdaPv) void own_delete_array(void *ptr);
static SAME_AS(_ZdlPvm) void own_delete_sized(void *ptr, size_t size);
static SAME_AS(_ZdaPvSt11align_val_t) void own_delete_aligned_array(void *ptr, size_t align);
static SAME_AS(_ZdlPvmSt11align_val_t) void own_delete_aligned_sized(void *ptr, size_t size, size_t align);

/*
 * Whether a form is ours; a compiler may not say yes by their definitions here. No, too, where a program that is not position-independent
 * takes the form's address, which is one of its own then: the way by that is slower, and as right.
 */
#define IS_OWN(form, own) (opaque((void *)(form)) == (void *)(own))

static force_inline void *opaque(void *p)
{
	__asm__("" : "+r"(p));
	return p;
}

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

/* has_align: of an aligned form. An alignment that is none can never be had, whatever the handler does. */
static cold_path void *new_retry(size_t size, size_t align, bool has_align, bool throws)
{
	bool never = has_align && !is_power_of_2(align);
	void *p = NULL;

	while (!p && !never && run_new_handler())
		p = has_align ? bslab_aligned_alloc(align, size) : bslab_malloc(size);
	if (p || !throws)
		return p;
	if (_ZSt17__throw_bad_allocv)
		_ZSt17__throw_bad_allocv();
	bug_abort("operator new: out of memory for %z bytes, and no C++ library to throw bad_alloc", size);
}

static cold_path void *throwing_retry(size_t size, const void *caller)
{
	void *(*form)(size_t) = (void *(*)(size_t))callers_form("_Znwm", caller, (void *)own_new);

	return form ? form(size) : new_retry(size, 0, false, true);
}

static cold_path void *throwing_aligned_retry(size_t size, size_t align, const void *caller)
{
	void *(*form)(size_t, size_t) =
	    (void *(*)(size_t, size_t))callers_form("_ZnwmSt11align_val_t", caller, (void *)own_new_aligned);

	return form ? form(size, align) : new_retry(size, align, true, true);
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

	return form ? form(size, tag) : new_retry(size, 0, false, false);
}

static cold_path void *nothrow_aligned_retry(size_t size, size_t align, const void *tag, const void *caller)
{
	void *(*form)(size_t, size_t, const void *) = (void *(*)(size_t, size_t, const void *))library_form(
	    "_ZnwmSt11align_val_tRKSt9nothrow_t", caller, (void *)_ZnwmSt11align_val_tRKSt9nothrow_t);

	return form ? form(size, align, tag) : new_retry(size, align, true, false);
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

out_of_line void *_Znwm(size_t size)
{
	return new_block(size);
}

void *_Znam(size_t size)
{
	return _Znwm(size);
}

out_of_line void *_ZnwmSt11align_val_t(size_t size, size_t align)
{
	return new_aligned(size, align);
}

void *_ZnamSt11align_val_t(size_t size, size_t align)
{
	return _ZnwmSt11align_val_t(size, align);
}

/* Of a new that is the program's: the C++ library's form, which catches what it throws. In a static program that ends it. */
static cold_path void *nothrow_of_program(size_t size, const void *tag)
{
	void *(*form)(size_t, const void *) =
	    (void *(*)(size_t, const void *))(dlsym ? dlsym(RTLD_NEXT, "_ZnwmRKSt9nothrow_t") : NULL);

	return form ? form(size, tag) : _Znwm(size);
}

static cold_path void *nothrow_array_of_program(size_t size, const void *tag)
{
	void *(*form)(size_t, const void *) =
	    (void *(*)(size_t, const void *))(dlsym ? dlsym(RTLD_NEXT, "_ZnamRKSt9nothrow_t") : NULL);

	return form ? form(size, tag) : _Znam(size);
}

static cold_path void *nothrow_aligned_of_program(size_t size, size_t align, const void *tag)
{
	void *(*form)(size_t, size_t, const void *) =
	    (void *(*)(size_t, size_t, const void *))(dlsym ? dlsym(RTLD_NEXT, "_ZnwmSt11align_val_tRKSt9nothrow_t") : NULL);

	return form ? form(size, align, tag) : _ZnwmSt11align_val_t(size, align);
}

static cold_path void *nothrow_aligned_array_of_program(size_t size, size_t align, const void *tag)
{
	void *(*form)(size_t, size_t, const void *) =
	    (void *(*)(size_t, size_t, const void *))(dlsym ? dlsym(RTLD_NEXT, "_ZnamSt11align_val_tRKSt9nothrow_t") : NULL);

	return form ? form(size, align, tag) : _ZnamSt11align_val_t(size, align);
}

void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag)
{
	return likely(IS_OWN(_Znwm, own_new)) ? new_nothrow(size, tag) : nothrow_of_program(size, tag);
}

void *_ZnamRKSt9nothrow_t(size_t size, const void *tag)
{
	return likely(IS_OWN(_Znam, own_new_array)) ? own_new_nothrow(size, tag) : nothrow_array_of_program(size, tag);
}

void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag)
{
	return likely(IS_OWN(_ZnwmSt11align_val_t, own_new_aligned)) ? new_aligned_nothrow(size, align, tag)
								      : nothrow_aligned_of_program(size, align, tag);
}

void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag)
{
	return likely(IS_OWN(_ZnamSt11align_val_t, own_new_aligned_array)) ? own_new_aligned_nothrow(size, align, tag)
									    : nothrow_aligned_array_of_program(size, align, tag);
}

out_of_line void _ZdlPv(void *ptr)
{
	free_fast(ptr, HOME_DELETE);
}

void _ZdaPv(void *ptr)
{
	_ZdlPv(ptr);
}

void _ZdlPvRKSt9nothrow_t(void *ptr, const void *tag)
{
	(void)tag;
	_ZdlPv(ptr);
}

void _ZdaPvRKSt9nothrow_t(void *ptr, const void *tag)
{
	(void)tag;
	_ZdaPv(ptr);
}

void _ZdaPvSt11align_val_t(void *ptr, size_t align)
{
	_ZdlPvSt11align_val_t(ptr, align);
}

void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *tag)
{
	(void)tag;
	_ZdlPvSt11align_val_t(ptr, align);
}

void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *tag)
{
	(void)tag;
	_ZdaPvSt11align_val_t(ptr, align);
}

/* The limit stays 0 where delete is the program's: its blocks may begin anywhere in ours. */
static out_of_line void delete_sized_slow(void *ptr, size_t size)
{
	if (unlikely(!IS_OWN(_ZdlPv, own_delete))) {
		_ZdlPv(ptr);
		return;
	}
	if (unlikely(!bslab_hot.delete_limit))
		WRITE_ONCE(bslab_hot.delete_limit, SMALL_MAX + 1);
	free_sized_slow(ptr, size);
}

/* A size that the block cannot have is reported as it is for free_sized(). */
void _ZdlPvm(void *ptr, size_t size)
{
	free_sized_fast(ptr, size, &bslab_hot.delete_limit, delete_sized_slow);
}

void _ZdaPvm(void *ptr, size_t size)
{
	if (likely(IS_OWN(_ZdaPv, own_delete_array)))
		own_delete_sized(ptr, size);
	else
		_ZdaPv(ptr);
}

void _ZdlPvmSt11align_val_t(void *ptr, size_t size, size_t align)
{
	if (likely(IS_OWN(_ZdlPvSt11align_val_t, own_delete)))
		bslab_free_aligned_sized(ptr, align, size);
	else
		_ZdlPvSt11align_val_t(ptr, align);
}

void _ZdaPvmSt11align_val_t(void *ptr, size_t size, size_t align)
{
	if (likely(IS_OWN(_ZdaPvSt11align_val_t, own_delete_aligned_array)))
		own_delete_aligned_sized(ptr, size, align);
	else
		_ZdaPvSt11align_val_t(ptr, align);
}
