/* SPDX-License-Identifier: MIT */
/*
 * A look inside the heap of this process, in the manner of Linux's /proc files.
 *
 * Reports, by name; docs/statistics.md says what each line means:
 *
 *   buddyinfo      free blocks of pages by order
 *   pagetypeinfo   the same by migratetype, and whether they may be resident; pageblocks by type; mixed ones
 *   slabinfo       the caches: objects, slabs, sheaves, barns
 *   zoneinfo       pages and watermarks, and how full the CPUs' caches are
 *   vmstat         counters since the start, of each way out of a slow path
 *   vmallocinfo    the large blocks; the newest 1,024
 *   meminfo        sums in kB
 *   all            all of them
 *
 * Several are joined by '+': "slabinfo+meminfo". Formats: "text" (the kernel's own where it has one), "json" (one object;
 * docs/insight-formats.md), "prometheus" (text exposition format).
 *
 * Consistency: each floor of the allocator is read under its own locks, one after the other, while other threads run on.
 * So each part is consistent in itself; the whole is not, but in a process at rest.
 *
 * Cost: the pageblocks in use are looked at one by one, about half a millisecond for each GiB; in a small process a
 * report takes some 50 us. No lock is held for longer than some 100 us, and none while text is written. Nothing is
 * allocated but a mapping of some 400 KiB for the time of the call.
 *
 * Safety: from any thread, and in the child of fork; put() may call malloc and free. None but bslab_defrag_hint() may be
 * called from a signal handler, since a thread that is within malloc holds locks: BSLAB_CONF=report_signal=... is the way
 * to a report on a signal (docs/options.md).
 */
#ifndef BSLAB_INSIGHT_H
#define BSLAB_INSIGHT_H

#include <bslab/bslab.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes a report to a file descriptor. 0; or -1 with errno:
 *   EINVAL   no such report, or no such format
 *   ENOMEM   no memory for the mapping
 *   others   what write(2) says (EBADF, ENOSPC, EPIPE ...); a part may have been written. EAGAIN: only after a second
 *            without room
 */
BSLAB_API int bslab_report(const char *what, const char *format, int fd);

/*
 * The same in pieces of whole lines, each ended by a newline, to put(), which returns 0 to go on; anything else ends
 * the report, with -1 and errno as put() left it.
 */
BSLAB_API int bslab_report_to(const char *what, const char *format,
			      int (*put)(const char *text, size_t len, void *arg), void *arg);

/*
 * Would it help to move this block elsewhere? For programs that can, such as a database with handles, and that want
 * their memory back: what redis' active defragmentation asks of jemalloc.
 */
enum {
	BSLAB_DEFRAG_NO,     /* its slab is as full as others, or it is large; or this is no block of bslab */
	BSLAB_DEFRAG_SPARSE, /* its slab, or pageblock, is emptier than others: moving it brings that nearer to free */
	BSLAB_DEFRAG_LAST,   /* it is the last in it: moving it sets the slab, or pageblock, free */
};
/* Cost: some loads, no lock. A hint: other threads go on meanwhile. Safe in signal handlers. */
BSLAB_API int bslab_defrag_hint(const void *ptr);

/*
 * Moves a small block (up to 32 KiB) for which the hint is not NO into a fuller slab: its new address, with the
 * contents, and the old one is freed. NULL, and nothing is done, when there is no better place. malloc() would not do:
 * it hands out what was freed last, as likely as not in the slab that is to come free. The caller owns the block and
 * sees to it that nobody uses the old address.
 */
BSLAB_API void *bslab_defrag_move(void *ptr);

#ifdef __cplusplus
}
#endif

#endif
