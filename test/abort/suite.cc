/* SPDX-License-Identifier: MIT */
/*
 * The kinds of misuse that a public suite counts: bench/security of mimalloc-bench, 37 at three sizes each and five of
 * C++, written anew. `suite CASE SIZE` says "began" and commits one; then it says "went on" if nothing stopped it and it
 * got what it should not have. suite.py beside this file counts.
 */
#include <alloca.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>

/* Kept from the compiler, which would warn of, or remove, what is done here on purpose. */
template <typename T> static T *hidden(T *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static size_t size;

static char *block()
{
	return hidden(static_cast<char *>(malloc(size)));
}

static void give(void *p)
{
	free(hidden(p));
}

static bool went_on()
{
	return true;
}

/* --- beside a block ------------------------------------------------------------------------ */

template <long N> static bool overflow()
{
	char *p = block();

	p[size - 1 + N] ^= 'A';
	give(p);
	return went_on();
}

template <long N> static bool underflow()
{
	char *p = block();

	p[-N] ^= 'A';
	give(p);
	return went_on();
}

static char *zeros(size_t n)
{
	static char bytes[2 << 20];

	return n <= sizeof bytes ? bytes : nullptr;
}

template <long N> static bool copy_overflow()
{
	memcpy(block(), hidden(zeros(size + N)), size + N);
	return went_on();
}

template <long N> static bool copy_underflow()
{
	memcpy(block() - N, hidden(zeros(size)), size);
	return went_on();
}

/* --- freed twice ----------------------------------------------------------------------------- */

static void use_others(int n)
{
	while (n--)
		give(block());
}

static bool double_free()
{
	char *p = block();

	give(p);
	give(p);
	return went_on();
}

static bool double_free_delayed()
{
	char *p = block();

	give(p);
	use_others(1024);
	give(p);
	return went_on();
}

static bool double_free_interleaved()
{
	char *p = block(), *q = block();

	give(p);
	give(q);
	give(p);
	return went_on();
}

static bool double_free_reuse()
{
	double_free();
	use_others(256 * 1024);
	return went_on();
}

static bool double_free_single_reuse()
{
	char *p = block(), *q;

	give(p);
	q = block();
	give(p);
	give(q);
	return went_on();
}

/* --- what is no block --------------------------------------------------------------------------- */

static bool invalid_free()
{
	give(reinterpret_cast<void *>(1));
	return went_on();
}

static bool invalid_free_alloca()
{
	give(alloca(size));
	return went_on();
}

static bool invalid_free_stack()
{
	char bytes[8];

	give(bytes);
	return went_on();
}

template <long N> static bool invalid_free_at()
{
	give(block() + N);
	return went_on();
}

/* --- after the free -------------------------------------------------------------------------------- */

static bool write_after_free()
{
	char *p = block();

	give(p);
	memset(hidden(p), 'A', size);
	return went_on();
}

static bool write_after_free_reuse()
{
	write_after_free();
	use_others(256 * 1024);
	return went_on();
}

static bool is_zero(const char *p)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

static bool zero_after_free()
{
	char *p = block();

	memset(hidden(p), 'A', size);
	give(p);
	return !is_zero(hidden(p));
}

static bool malloc_reuse()
{
	char *p = block();

	give(p);
	return block() == p;
}

static bool malloc_reuse_downsize()
{
	char *p = block();

	give(p);
	return malloc(size / 2) == p;
}

static bool realloc_reuse()
{
	char *p = static_cast<char *>(malloc(8));

	return realloc(hidden(p), 1024) == p;
}

/* --- others ------------------------------------------------------------------------------------------ */

static bool zero_on_malloc()
{
	return !is_zero(block());
}

static bool executable_heap()
{
	char *p = static_cast<char *>(malloc(8));

#if defined(__x86_64__)
	memcpy(p, "\x90\x90\x90\x90\xc3", 5);
#else
	memcpy(p, "\xc0\x03\x5f\xd6", 4);
#endif
	reinterpret_cast<void (*)()>(hidden(p))();
	return went_on();
}

static size_t most = SIZE_MAX - 1;

static bool impossibly_large_malloc()
{
	return malloc(*hidden(&most)) != nullptr;
}

static volatile char sink;

template <bool IS_WRITE, bool IS_FREED> static bool zero_size()
{
	volatile char *p = static_cast<char *>(malloc(0));

	if (IS_WRITE)
		*p = 'A';
	else
		sink = *p;
	if (IS_FREED)
		give(const_cast<char *>(p));
	return went_on();
}

/* --- C++ ------------------------------------------------------------------------------------------------ */

struct nine {
	size_t number[9];
};

static bool delete_type_size_mismatch()
{
	delete hidden(reinterpret_cast<nine *>(hidden(new char)));
	return went_on();
}

static bool invalid_array_delete_char()
{
	delete[] hidden(new char);
	return went_on();
}

static bool invalid_array_delete_string()
{
	delete[] hidden(new std::string);
	return went_on();
}

static bool invalid_delete_array_char()
{
	delete hidden(new char[size]);
	return went_on();
}

static bool invalid_delete_array_string()
{
	delete hidden(new std::string[size]);
	return went_on();
}

#define MIB (1l << 20)
static const struct {
	const char *name;
	bool (*run)();
} cases[] = {
    {"overflow_1", overflow<1>},
    {"overflow_32", overflow<32>},
    {"overflow_1m", overflow<MIB>},
    {"underflow_1", underflow<1>},
    {"underflow_32", underflow<32>},
    {"underflow_1m", underflow<MIB>},
    {"copy_overflow_1", copy_overflow<1>},
    {"copy_overflow_32", copy_overflow<32>},
    {"copy_overflow_1m", copy_overflow<MIB>},
    {"copy_underflow_1", copy_underflow<1>},
    {"copy_underflow_32", copy_underflow<32>},
    {"copy_underflow_1m", copy_underflow<MIB>},
    {"double_free", double_free},
    {"double_free_delayed", double_free_delayed},
    {"double_free_interleaved", double_free_interleaved},
    {"double_free_reuse", double_free_reuse},
    {"double_free_single_reuse", double_free_single_reuse},
    {"invalid_free", invalid_free},
    {"invalid_free_alloca", invalid_free_alloca},
    {"invalid_free_stack", invalid_free_stack},
    {"invalid_free_close", invalid_free_at<4096>},
    {"invalid_free_far", invalid_free_at<1024 * MIB>},
    {"invalid_free_unaligned", invalid_free_at<1>},
    {"invalid_free_unaligned_multiple", invalid_free_at<8>},
    {"write_after_free", write_after_free},
    {"write_after_free_reuse", write_after_free_reuse},
    {"zero_after_free", zero_after_free},
    {"malloc_reuse", malloc_reuse},
    {"malloc_reuse_downsize", malloc_reuse_downsize},
    {"realloc_reuse", realloc_reuse},
    {"zero_on_malloc", zero_on_malloc},
    {"executable_heap", executable_heap},
    {"impossibly_large_malloc", impossibly_large_malloc},
    {"read_zero_size", zero_size<false, false>},
    {"read_zero_size_free", zero_size<false, true>},
    {"write_zero_size", zero_size<true, false>},
    {"write_zero_size_free", zero_size<true, true>},
    {"delete_type_size_mismatch", delete_type_size_mismatch},
    {"invalid_array_delete_char", invalid_array_delete_char},
    {"invalid_array_delete_string", invalid_array_delete_string},
    {"invalid_delete_array_char", invalid_delete_array_char},
    {"invalid_delete_array_string", invalid_delete_array_string},
};

int main(int argc, char **argv)
{
	if (argc == 3)
		size = strtoul(argv[2], nullptr, 0);
	for (const auto &c : cases)
		if (argc == 3 && !strcmp(argv[1], c.name)) {
			if (write(STDOUT_FILENO, "began\n", 6) != 6) /* nothing that takes memory */
				return 2;
			puts(c.run() ? "went on" : "refused");
			fflush(stdout);
			return 0;
		}
	fprintf(stderr, "usage: suite CASE SIZE\n");
	return 2;
}
