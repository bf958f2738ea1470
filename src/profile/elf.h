/* SPDX-License-Identifier: MIT */
/* The dynamic symbols of a module that is loaded, read where it stands: no file, no lock, no allocation. */
#ifndef BSLAB_ELF_H
#define BSLAB_ELF_H

#include <elf.h>
#include <link.h>

#include "base/base.h"

struct elf_symbols {
	const ElfW(Sym) * symbol;
	const char *text;
	size_t text_size;
	size_t nr_symbols;
	size_t nr_undefined; /* those from here on are defined; where that is not known, 0 */
};

/* False for a module without a table. bias: what is added to the addresses in its headers. */
bool elf_symbols(uintptr_t bias, const ElfW(Phdr) * phdr, size_t nr_phdrs, struct elf_symbols *out);

static inline const char *elf_name(const struct elf_symbols *s, size_t i)
{
	return s->symbol[i].st_name < s->text_size ? s->text + s->symbol[i].st_name : "";
}

#endif
