/* SPDX-License-Identifier: MIT */
#include "profile/elf.h"

/* glibc relocates the pointers of most modules' dynamic sections, but not of the kernel's vdso; musl of none. */
static const void *dynamic_pointer(uintptr_t bias, const ElfW(Dyn) * d)
{
	return (const void *)(d->d_un.d_ptr < bias ? d->d_un.d_ptr + bias : d->d_un.d_ptr);
}

/* What the GNU hash table begins with; then a Bloom filter of words, the buckets, and the chains. */
struct gnu_hash {
	uint32_t nr_buckets, first_symbol, nr_words, shift;
};

/* The table has no count: the last symbol ends the chain of the highest bucket. */
static size_t gnu_hash_count(const struct gnu_hash *h)
{
	const uint32_t *bucket = (const uint32_t *)((const ElfW(Addr) *)(h + 1) + h->nr_words);
	const uint32_t *chain = bucket + h->nr_buckets;
	uint32_t last = 0, i;

	for (i = 0; i < h->nr_buckets; i++)
		if (bucket[i] > last)
			last = bucket[i];
	if (last < h->first_symbol)
		return h->first_symbol;
	while (!(chain[last - h->first_symbol] & 1))
		last++;
	return last + 1;
}

static void read_dynamic(uintptr_t bias, const ElfW(Dyn) * d, struct elf_symbols *out)
{
	for (; d->d_tag != DT_NULL; d++)
		switch (d->d_tag) {
		case DT_SYMTAB:
			out->symbol = dynamic_pointer(bias, d);
			break;
		case DT_STRTAB:
			out->text = dynamic_pointer(bias, d);
			break;
		case DT_STRSZ:
			out->text_size = d->d_un.d_val;
			break;
		case DT_GNU_HASH:
			out->nr_undefined = ((const struct gnu_hash *)dynamic_pointer(bias, d))->first_symbol;
			out->nr_symbols = gnu_hash_count(dynamic_pointer(bias, d));
			break;
		case DT_HASH:
			if (!out->nr_symbols)
				out->nr_symbols = ((const uint32_t *)dynamic_pointer(bias, d))[1];
			break;
		}
}

bool elf_symbols(uintptr_t bias, const ElfW(Phdr) * phdr, size_t nr_phdrs, struct elf_symbols *out)
{
	size_t i;

	*out = (struct elf_symbols){0};
	for (i = 0; i < nr_phdrs; i++)
		if (phdr[i].p_type == PT_DYNAMIC)
			read_dynamic(bias, (const ElfW(Dyn) *)(bias + phdr[i].p_vaddr), out);
	return out->symbol && out->text && out->nr_symbols;
}
