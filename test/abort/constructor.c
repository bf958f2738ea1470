/* SPDX-License-Identifier: MIT */
/* A library with a constructor, in which the loader calls back into the program: corrupt.c opens it. */
void in_constructor(void);

static void __attribute__((constructor)) call_back(void)
{
	in_constructor();
}
