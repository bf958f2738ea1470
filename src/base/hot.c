/* SPDX-License-Identifier: MIT */
#include "base/hot.h"

/* By itself and last in .bss (CMakeLists.txt), so that no variable has a page of its own behind it. */
struct hot bslab_hot;
