// SPDX-License-Identifier: MIT
// A C++ library that a C program loads (cxx-local.c): its operators new fail as they do in a C++ program.
#include <cstddef>
#include <cstdint>
#include <new>

static volatile std::size_t huge = PTRDIFF_MAX;
static int nr_handler_calls;

static void handler()
{
	if (++nr_handler_calls == 2)
		std::set_new_handler(nullptr);
}

static void throwing_handler()
{
	throw std::bad_alloc();
}

template <class F> static bool throws(F f)
{
	try {
		f();
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

struct alignas(64) line {
	char bytes[64];
};

// 0, or the number of what is not so.
extern "C" int module_run()
{
	if (!throws([] { delete[] new char[huge]; }))
		return 1;
	if (!throws([] { delete[] new line[huge / 64]; }))
		return 2;
	if (new (std::nothrow) char[huge])
		return 3;
	std::set_new_handler(handler);
	if (!throws([] { delete[] new char[huge]; }) || nr_handler_calls != 2)
		return 4;
	std::set_new_handler(throwing_handler);
	if (new (std::nothrow) char[huge] || new (std::nothrow) line[huge / 64])
		return 5;
	std::set_new_handler(nullptr);
	return 0;
}
