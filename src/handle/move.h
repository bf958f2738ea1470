/* SPDX-License-Identifier: MIT */
/*
 * Objects that have handles change places: what compact.c empties pageblocks with. Test: test/models/handle.pml shows what
 * a move and the object's user may do at the same time.
 */
#ifndef BSLAB_HANDLE_MOVE_H
#define BSLAB_HANDLE_MOVE_H

#include "handle/objects.h"

/* Each of these expects that the slab may not be the one at base any more; it then does nothing, and says false. */
bool handle_slab_isolate(struct handle_slab *s, uintptr_t base); /* frees it, where it has no objects */
bool handle_slab_putback(struct handle_slab *s, uintptr_t base);
/* Takes away what threads keep of it. Objects; *is_busy: one of those left cannot be moved now. */
bool handle_slab_strip(struct handle_slab *s, uintptr_t base, unsigned *nr_objects, bool *is_busy);

/* Takes away the object of an entry, if it is one that a thread keeps: a hint, and any number will do. */
void handle_entry_strip(uint32_t index);

enum move { MOVE_DONE, MOVE_NOTHING, MOVE_BUSY, MOVE_VOID, MOVE_NO_ROOM };
/*
 * Moves object i to another slab, which is not isolated and stands in no pageblock that was not used before. By one thread at
 * a time.
 * NOTHING: there is none to be moved; BUSY: it is mapped, or about to be taken or freed; VOID: it was mapped or freed meanwhile.
 */
enum move handle_object_move(struct handle_slab *s, uintptr_t base, unsigned i);
/* In the child of a fork: a move of a thread that is not here was none. */
void handle_move_cancel(void);
/* Frees the slabs that are kept without objects. */
void handle_caches_shrink(void);

#endif
