/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

/* When the machine was started, seconds since 1970. */
static double boot_time(void)
{
	struct timespec now, since;

	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &since);
	return (double)(now.tv_sec - since.tv_sec) + (double)(now.tv_nsec - since.tv_nsec) / 1e9;
}

/* The fields from the third on stand behind the command's name, which may have anything in it but a ')' at the end. */
static void read_stat(struct process_figures *ret)
{
	FILE *file = fopen("/proc/self/stat", "re");
	unsigned long long started, size;
	long pages;
	char line[1024];
	const char *rest;

	if (!file)
		return;
	rest = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	if (!rest ||
	    sscanf(rest + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu %llu %ld",
		   &started, &size, &pages) != 3)
		return;
	ret->virtual = size;
	ret->resident = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
	/* In hundredths: the difference of the clocks is never quite the same. */
	ret->started = (double)(int64_t)((boot_time() + (double)started / (double)sysconf(_SC_CLK_TCK)) * 100) / 100;
}

static uint64_t count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (!directory)
		return 0;
	// cppcheck-suppress readdirCalled; see cli/conns.c
	while (readdir(directory))
		count++;
	closedir(directory);
	return count > 3 ? count - 3 : 0; /* "." and "..", and the directory's own */
}

void process_read(struct process_figures *ret)
{
	struct rusage usage;
	struct rlimit limit;

	*ret = (struct process_figures){0};
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		ret->cpu_seconds = seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		ret->max_fds = limit.rlim_cur;
	read_stat(ret);
	ret->open_fds = count_fds();
}
