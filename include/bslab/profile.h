/* SPDX-License-Identifier: MIT */
/*
 * Who holds the memory: a sample of the live blocks, with the stacks that allocated them.
 *
 * On average one sample for each `interval` bytes that are allocated, wherever they fall, so that what a stack holds
 * can be estimated without bias. docs/profiling.md tells how to use it and what the numbers mean.
 *
 * Cost: nothing while it is off and was never on. On: malloc takes 13 instructions more; and for each sample, which
 * is rare, the stack is unwound (some microseconds), a small block gets pages of its own, and its free takes a lock.
 *
 * Safety: from any thread, but not from a signal handler. The child of fork keeps the samples and goes on.
 */
#ifndef BSLAB_PROFILE_H
#define BSLAB_PROFILE_H

#include <bslab/bslab.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Samples allocations from now on, in all threads. interval: mean bytes from one sample to the next, 1 to 1 GiB; 0 is
 * 512 KiB. Blocks allocated before are not seen, but for some of more than 32 KiB that grow in their place meanwhile, of
 * which estimates are rough. If it is on already, the interval changes. 0; or -1 with errno:
 *   EINVAL   interval is too large
 *   ENOMEM   no memory for the tables
 *   ENOTSUP  the hardened mode
 */
BSLAB_API int bslab_profile_start(size_t interval);

/*
 * No new samples. Those of live blocks stay, and go when their blocks are freed: a dump tells what is still held of
 * what was allocated while the profile was on. Never fails.
 */
BSLAB_API void bslab_profile_stop(void);

/*
 * Writes the live samples to a file descriptor, as
 *   "text"     stacks ranked by bytes held, and by bytes pinned: free memory that cannot be given back because of them
 *   "folded"   one line a stack with the bytes held, for flame graphs
 *   "pprof"    profile.proto, compressed: for `go tool pprof` and others
 * Other threads run on; each 1,024 samples were live together. Takes the loader's lock for its list of modules, so not
 * from code that runs within dlopen() in one thread while another waits for it. Needs mappings: about a
 * MiB, and some KiB for each stack. 0; or -1 with errno:
 *   EINVAL   no such format
 *   ENOMEM   no memory for the mappings
 *   others   what write(2) says (EBADF, ENOSPC, EPIPE ...); a part may have been written. EAGAIN: only after a second
 *            without room
 */
BSLAB_API int bslab_profile_dump(const char *format, int fd);

#ifdef __cplusplus
}
#endif

#endif
