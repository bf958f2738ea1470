/* SPDX-License-Identifier: MIT */
#include "os/overcommit.h"

#include "os/os.h"

/* In bytes. Memory that goes, or swap that is switched off, later than it was looked at: refused then by nobody, as is what is smaller. */
static size_t known_memory; /* atomic */

bool overcommit_refuses_large(size_t size)
{
	char text[8];

	if (likely(size <= READ_ONCE(known_memory)))
		return false;
	WRITE_ONCE(known_memory, os_memory_size()); /* again: swap may have come */
	if (size <= READ_ONCE(known_memory))
		return false;
	return !os_read_file("/proc/sys/vm/overcommit_memory", text, sizeof text) || text[0] == '0';
}
