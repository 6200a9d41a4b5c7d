/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts the allocations of a process: LD_PRELOAD=allocations.so ALLOCATIONS=FILE nuncio run ...
 * FILE becomes one 64-bit number in the machine's byte order, the calls of malloc, calloc and realloc so far, and is
 * always up to date: it is mapped.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, so that nothing has to be looked up, which would allocate. */
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): these are their names
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

static atomic_ullong unmapped;
static atomic_ullong *calls = &unmapped;

__attribute__((constructor)) static void map_counter(void)
{
	const char *path = getenv("ALLOCATIONS");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	void *page;

	if (fd < 0)
		return;
	page = ftruncate(fd, sizeof(*calls)) == 0
		       ? mmap(NULL, sizeof(*calls), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
		       : MAP_FAILED;
	close(fd);
	if (page != MAP_FAILED)
		calls = page;
}

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libc's own names are reserved
void *malloc(size_t size)
{
	atomic_fetch_add(calls, 1);
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	atomic_fetch_add(calls, 1);
	return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	atomic_fetch_add(calls, 1);
	return __libc_realloc(memory, size);
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
