// SPDX-License-Identifier: MIT
// C++'s operators new and delete, all of them, and what becomes of those that fail.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);    \
			std::_Exit(1);                                                             \
		}                                                                                  \
	} while (0)

static volatile std::size_t huge = PTRDIFF_MAX;
static int nr_handler_calls;

// Ours, and not libstdc++'s forward to another malloc.
static void expect_ours(void *p, std::size_t size, std::size_t usable)
{
	EXPECT(p);
	EXPECT(malloc_usable_size(p) == usable);
	std::memset(p, 1, size);
}

static void plain()
{
	for (std::size_t size : {1, 8, 24, 100, 1000, 40000, 3000000}) {
		void *p = ::operator new(size), *q = ::operator new[](size);

		EXPECT(p && q && p != q);
		std::memset(p, 1, size);
		std::memset(q, 1, size);
		::operator delete(p);
		::operator delete[](q, size);
		::operator delete(::operator new(size), size);
		::operator delete(::operator new(size, std::nothrow), std::nothrow);
		::operator delete[](::operator new[](size, std::nothrow), std::nothrow);
	}
	expect_ours(::operator new(132 << 10), 132 << 10, 33 * 4096);
	::operator delete(nullptr);
	::operator delete[](nullptr, 5);
	EXPECT(::operator new(0));
}

static void aligned()
{
	for (std::size_t align = 1; align <= 1 << 22; align *= 2)
		for (std::size_t size : {std::size_t(0), std::size_t(1), align / 2 + 3, 5 * align}) {
			auto a = std::align_val_t(align);
			void *p[] = {::operator new(size, a), ::operator new[](size, a), ::operator new(size, a, std::nothrow),
				     ::operator new[](size, a, std::nothrow)};

			for (void *q : p)
				EXPECT(q && reinterpret_cast<std::uintptr_t>(q) % align == 0);
			::operator delete(p[0], a);
			::operator delete[](p[1], size, a);
			::operator delete(p[2], size, a);
			::operator delete[](p[3], a, std::nothrow);
		}
}

template <class F> static bool throws_bad_alloc(F f)
{
	try {
		f();
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

static void out_of_memory()
{
	EXPECT(throws_bad_alloc([] { return ::operator new(huge); }));
	EXPECT(throws_bad_alloc([] { return ::operator new[](huge); }));
	EXPECT(throws_bad_alloc([] { return ::operator new(huge, std::align_val_t(64)); }));
	EXPECT(throws_bad_alloc([] { return ::operator new[](huge, std::align_val_t(8192)); }));
	EXPECT(!::operator new(huge, std::nothrow));
	EXPECT(!::operator new[](huge, std::nothrow));
	EXPECT(!::operator new(huge, std::align_val_t(64), std::nothrow));
	EXPECT(!::operator new[](huge, std::align_val_t(64), std::nothrow));
}

// Called again and again until it gives up.
static void handler_that_gives_up()
{
	if (++nr_handler_calls % 3 == 0)
		std::set_new_handler(nullptr);
}

static void handler_that_throws()
{
	++nr_handler_calls;
	throw std::bad_alloc();
}

static void new_handler()
{
	std::set_new_handler(handler_that_gives_up);
	EXPECT(throws_bad_alloc([] { return ::operator new(huge); }));
	EXPECT(nr_handler_calls == 3);
	std::set_new_handler(handler_that_gives_up);
	EXPECT(!::operator new(huge, std::nothrow));
	EXPECT(nr_handler_calls == 6);
	std::set_new_handler(handler_that_throws);
	EXPECT(throws_bad_alloc([] { return ::operator new(huge, std::align_val_t(64)); }));
	EXPECT(nr_handler_calls == 7);
#ifndef STATIC_PROGRAM // there nobody finds the C++ library's own form, which catches
	std::set_new_handler(handler_that_throws);
	EXPECT(!::operator new(huge, std::nothrow)); // noexcept: what the handler throws ends here
#endif
	std::set_new_handler(nullptr);
}

// An alignment that is none fails at once, as libstdc++'s forms do: no handler can mend it.
static void bad_alignment()
{
	for (volatile std::size_t align : {0, 3, 48}) {
		auto a = std::align_val_t(align);

		nr_handler_calls = 0;
		std::set_new_handler([] {
			if (++nr_handler_calls > 10)
				std::_Exit(2);
		});
		EXPECT(throws_bad_alloc([a] { return ::operator new(100, a); }));
		EXPECT(throws_bad_alloc([a] { return ::operator new[](100, a); }));
		EXPECT(!::operator new(100, a, std::nothrow));
		EXPECT(!::operator new[](100, a, std::nothrow));
		EXPECT(nr_handler_calls == 0);
	}
	std::set_new_handler(nullptr);
}

struct alignas(256) Wide {
	char c[300];
};

static void library()
{
	std::map<std::string, std::vector<int>> m;
	auto wide = std::make_unique<Wide[]>(7);

	for (int i = 0; i < 10000; i++)
		m[std::to_string(i % 321) + std::string(static_cast<std::size_t>(i % 50), 'x')].push_back(i);
	EXPECT(reinterpret_cast<std::uintptr_t>(wide.get()) % 256 == 0);
	auto shared = std::make_shared<std::string>(5000, 'y');
	m.clear();
}

int main()
{
	plain();
	aligned();
	out_of_memory();
	library();
	new_handler();
	bad_alignment();
	return 0;
}
