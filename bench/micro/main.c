/* No allocator is linked in: preload the one to be measured. */
#include "micro.h"

int main(int argc, char **argv)
{
    register_pair();
    register_sized();
    register_batch();
    register_churn();
    register_calloc();
    register_realloc();
    register_memalign();
    register_large();
    register_xthread();
    register_typed();
    register_kernel();
    register_handle();
    register_highmem();
    return bm_main(argc, argv);
}
