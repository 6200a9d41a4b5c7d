/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not exit(): its handlers belong to a process that works. */
static _Noreturn void no_library(void)
{
	fprintf(stderr, "nuncio: cannot load a library: %s; the rules in the kernel stay as they are\n", dlerror());
	_Exit(EXIT_FAILURE);
}

void *library_load(const char *name)
{
	/* At once, and not with the first call of each function: that would need its tables to stay writable. */
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		no_library();
	return library;
}

void library_find(void *library, const char *function, void *ret_function)
{
	void *address = dlsym(library, function);

	if (!address)
		no_library();
	/* C has no conversion from an object's address to a function's; POSIX has the same representation for both. */
	memcpy(ret_function, &address, sizeof(address));
}
