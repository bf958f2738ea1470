// SPDX-License-Identifier: MIT
// A program that replaces two of C++'s operators, as the standard lets it: blocks of its own have a header. All forms that
// it does not replace, but the aligned ones, end in these two.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <new>

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);    \
			std::_Exit(1);                                                             \
		}                                                                                  \
	} while (0)

static const std::size_t HEADER = 16;
static volatile std::size_t huge = PTRDIFF_MAX;
static int nr_live;

void *operator new(std::size_t size)
{
	char *p = static_cast<char *>(size < PTRDIFF_MAX ? std::malloc(size + HEADER) : nullptr);

	if (!p)
		throw std::bad_alloc();
	nr_live++;
	return p + HEADER;
}

void operator delete(void *p) noexcept
{
	if (!p)
		return;
	nr_live--;
	std::free(static_cast<char *>(p) - HEADER);
}

template <class New, class Delete> static void expect_ours(New make, Delete destroy)
{
	// Sizes that are of one class with the header, and such as are not.
	for (std::size_t size : {1, 100, 520, 520, 40000, 3000000}) {
		int before = nr_live;
		void *p = make(size);

		EXPECT(nr_live == before + 1);
		destroy(p, size);
		EXPECT(nr_live == before);
	}
}

static void forms()
{
	auto plain = [](std::size_t size) { return ::operator new(size); };
	auto array = [](std::size_t size) { return ::operator new[](size); };
	auto nothrow = [](std::size_t size) { return ::operator new(size, std::nothrow); };
	auto nothrow_array = [](std::size_t size) { return ::operator new[](size, std::nothrow); };

	expect_ours(plain, [](void *p, std::size_t) { ::operator delete(p); });
	expect_ours(plain, [](void *p, std::size_t size) { ::operator delete(p, size); });
	expect_ours(nothrow, [](void *p, std::size_t) { ::operator delete(p, std::nothrow); });
	expect_ours(array, [](void *p, std::size_t) { ::operator delete[](p); });
	expect_ours(array, [](void *p, std::size_t size) { ::operator delete[](p, size); });
	expect_ours(nothrow_array, [](void *p, std::size_t) { ::operator delete[](p, std::nothrow); });
}

static void aligned()
{
	const auto align = std::align_val_t(64);
	int before = nr_live;

	::operator delete(::operator new(100, align), align);
	::operator delete(::operator new(100, align), 100, align);
	::operator delete[](::operator new[](100, align), 100, align);
	::operator delete[](::operator new[](100, align, std::nothrow), align, std::nothrow);
	EXPECT(nr_live == before);
}

// In a static program there is nobody to catch it.
static void out_of_memory()
{
#ifndef STATIC_PROGRAM
	EXPECT(!::operator new(huge, std::nothrow));
	EXPECT(!::operator new[](huge, std::nothrow));
#endif
	try {
		::operator delete[](::operator new[](huge));
		EXPECT(false);
	} catch (const std::bad_alloc &) {
	}
}

int main()
{
	forms();
	aligned();
	out_of_memory();
	return 0;
}
