/*
 * sized_delete/SIZE: one operator new and its operator delete with the size, as
 * C++ compilers have called them since C++14, nothing between.  It models the
 * short-lived object of a C++ program; beside pair, which is the same without
 * the size, it shows what an allocator makes of being told.  The idea is that of
 * bench_fastpath_simple_sized in gperftools' malloc_bench.
 *
 * The functions are looked up as in a C++ program: in what is preloaded, then in
 * libstdc++, whose own call malloc and free.  It is opened only here, if there
 * is need, so that the other benchmarks run without its memory.
 */
#include "micro.h"

#include <dlfcn.h>

typedef void *new_function(size_t);
typedef void delete_function(void *, size_t);

static new_function *new_;
static delete_function *delete_;

static bool find_operators(void)
{
    new_ = (new_function *)dlsym(RTLD_DEFAULT, "_Znwm");
    delete_ = (delete_function *)dlsym(RTLD_DEFAULT, "_ZdlPvm");
    return new_ && delete_;
}

static void sized_delete(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);

    if (!find_operators() &&
        !(dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL) && find_operators()))
        bm_skip_with_error(state, "no libstdc++.so.6");
    BM_LOOP(state) {
        void *block = new_(size);
        bm_do_not_optimize(block);
        delete_(block, size);
    }
    bm_set_items(state, state->iterations);
}

void register_sized(void)
{
    static const int64_t sizes[] = {8, 16, 64, 256, 1024, 8192, 32768};
    bm_family *family = bm_register("sized_delete", sized_delete);

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        bm_add_arg(family, sizes[i]);
}
