// SPDX-License-Identifier: MIT
// A program that replaces two of C++'s operators, as the standard lets it: blocks of its own have a header.
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

static void plain()
{
	for (std::size_t size : {1, 100, 520, 40000, 3000000}) {
		int before = nr_live;
		void *p = ::operator new(size);

		EXPECT(nr_live == before + 1);
		::operator delete(p);
		EXPECT(nr_live == before);
	}
}

int main()
{
	plain();
	return 0;
}
