/* SPDX-License-Identifier: MIT */
#include "malloc/anchor.h"

#define ROOT_WORD(name) "	.long bslab_" #name " - .\n"

/*
 * Never called, no code: only here can assembly have numbers that the compiler knows. The roots are in the order of
 * enum anchor_root.
 */
static __attribute__((used, cold)) void anchor(void)
{
	__asm__ volatile(".pushsection .note.bslab,\"a\",%%note\n"
			 "	.balign 4\n"
			 "	.long 1f - 0f, 3f - 2f, %c0\n"
			 "0:	.asciz \"" ANCHOR_OWNER "\"\n"
			 "1:	.balign 4\n"
			 "2:	.long %c1, %c2, %c3\n"
			 ROOT_WORD(hot)
			 ROOT_WORD(options)
			 ROOT_WORD(boot)
			 ROOT_WORD(nr_sections)
			 ROOT_WORD(zone)
			 ROOT_WORD(buddies)
			 ROOT_WORD(highatomic)
			 ROOT_WORD(large)
			 ROOT_WORD(caches)
			 ROOT_WORD(percpu)
			 ROOT_WORD(none_area)
			 ROOT_WORD(none_words)
			 ROOT_WORD(slow_counts)
			 ROOT_WORD(handle_table)
			 ROOT_WORD(handle_caches)
			 ROOT_WORD(handle_threads)
			 ROOT_WORD(compact_counts)
			 ROOT_WORD(pools)
			 "	.asciz \"" BSLAB_VERSION "\"\n"
			 "	.balign 4\n"
			 "	.zero %c4 - (. - 2b)\n"
			 "3:	.popsection"
			 :
			 : "i"(ANCHOR_TYPE), "i"(ANCHOR_VERSION), "i"(LAYOUT_HASH), "i"(NR_ROOTS),
			   "i"(sizeof(struct anchor) + ANCHOR_NAME_SIZE));
}
