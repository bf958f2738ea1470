/* SPDX-License-Identifier: MIT */
/* An auditor of the dynamic loader (LD_AUDIT): allocates at each of its calls, before anything else runs. */
#include <link.h>

#include "life.h"

#define EXPORT __attribute__((visibility("default")))

static void *last;

static void churn(void)
{
	free(last);
	last = calloc(1, 300);
	EXPECT(last && use_malloc());
}

EXPORT unsigned int la_version(unsigned int version)
{
	churn();
	return version;
}

EXPORT unsigned int la_objopen(struct link_map *map, Lmid_t id, uintptr_t *cookie)
{
	(void)map;
	(void)id;
	(void)cookie;
	churn();
	return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

EXPORT void la_preinit(uintptr_t *cookie)
{
	(void)cookie;
	churn();
}

EXPORT unsigned int la_objclose(uintptr_t *cookie)
{
	(void)cookie;
	churn();
	return 0;
}
