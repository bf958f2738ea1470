/* The micro-benchmarks, one file each; main.c registers them in this order. */
#ifndef MICRO_H
#define MICRO_H

#include "../random.h"

#include "../shim/bm.h"

void register_pair(void);
void register_sized(void);
void register_batch(void);
void register_churn(void);
void register_calloc(void);
void register_realloc(void);
void register_memalign(void);
void register_large(void);
void register_xthread(void);
void register_typed(void);
void register_kernel(void);
void register_handle(void);
void register_highmem(void);

#endif
