/* SPDX-License-Identifier: MIT */
/*
 * Units, attributes and small arithmetic that every floor uses.
 *
 * A "page" here is always BSLAB_PAGE_SIZE (4 KiB), the unit of the page map
 * and of the buddy lists; the page size of the machine, which may be larger,
 * is os_page_size() and matters only where memory is given back.
 */
#ifndef BSLAB_BASE_H
#define BSLAB_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define force_inline inline __attribute__((always_inline))
#define out_of_line __attribute__((noinline))
#define cold_path __attribute__((cold, noinline))
#define CACHE_LINE 64
#define __cacheline_aligned __attribute__((aligned(CACHE_LINE)))
/* Reads what others write, and knows what to make of it: ThreadSanitizer looks away. */
#define looks_at_others __attribute__((no_sanitize("thread")))

/* A variable that a reader from outside begins with: malloc/anchor.c knows it by this symbol, within the library only. */
#define reader_root(name) __asm__("bslab_" #name) __attribute__((visibility("hidden")))

/* For a word that is written under a lock, and read without it as a hint (Linux: the same names). */
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, value) __atomic_store_n(&(x), (value), __ATOMIC_RELAXED)

/*
 * An address as it stands in a register: a store to it is forwarded to the next load at no cost, which Intel's CPUs do not
 * do for one with an index (decision 0043). For words that are written and soon read again. GCC may still add a constant.
 */
#define in_register(address)                                    \
	({                                                      \
		__typeof__(address) in_register_ = (address);   \
		__asm__("" : "+r"(in_register_));               \
		in_register_;                                   \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

#define PAGE_SHIFT 12
#define BSLAB_PAGE_SIZE ((size_t)1 << PAGE_SHIFT)

/* A pageblock is the unit of migratetypes and of giving memory back: 2 MiB, a huge page. */
#define PAGEBLOCK_SHIFT 21
#define PAGEBLOCK_SIZE ((size_t)1 << PAGEBLOCK_SHIFT)
#define PAGEBLOCK_ORDER (PAGEBLOCK_SHIFT - PAGE_SHIFT)
#define PAGEBLOCK_PAGES (1u << PAGEBLOCK_ORDER)

/* User addresses have at most 48 bits: x86-64 with four levels uses 47, aarch64 48. */
#define ADDRESS_BITS 48

static force_inline uintptr_t align_down(uintptr_t x, size_t align)
{
	return x & ~(uintptr_t)(align - 1);
}

static force_inline uintptr_t align_up(uintptr_t x, size_t align)
{
	return (x + align - 1) & ~(uintptr_t)(align - 1);
}

static force_inline bool is_power_of_2(size_t x)
{
	return x && !(x & (x - 1));
}

/* floor(log2(x)), x > 0 */
static force_inline unsigned ilog2(size_t x)
{
	return 63 - (unsigned)__builtin_clzl(x);
}

/* The smallest order with 2^order >= nr_pages, nr_pages > 0. */
static force_inline unsigned order_of(size_t nr_pages)
{
	return nr_pages <= 1 ? 0 : ilog2(nr_pages - 1) + 1;
}

/* strcmp() would be one more name for the loader to look up in every process; memcmp() is one that is needed anyway. */
static inline bool text_equal(const char *a, const char *b)
{
	size_t len = __builtin_strlen(a);

	return len == __builtin_strlen(b) && __builtin_memcmp(a, b, len) == 0;
}

static force_inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static force_inline size_t max_size(size_t a, size_t b)
{
	return a > b ? a : b;
}

#endif
