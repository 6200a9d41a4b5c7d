/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Fields of /proc/PID/stat, as proc(5) numbers them. */
#define STAT_START 22
#define STAT_SIZE 23
#define STAT_PAGES 24

/* What follows the command's name, which may have anything in it but a ')' at the end: the fields from the third on. */
static char *read_fields(char *line, int size)
{
	FILE *file = fopen("/proc/self/stat", "re");
	char *name_end;

	if (!file)
		return NULL;
	name_end = fgets(line, size, file) ? strrchr(line, ')') : NULL;
	fclose(file);
	return name_end && name_end[1] ? name_end + 2 : NULL;
}

static void read_stat(struct process_figures *ret)
{
	char line[1024], *rest = read_fields(line, sizeof(line)), *field;

	for (unsigned int number = 3; number <= STAT_PAGES && (field = strsep(&rest, " ")); number++) {
		uint64_t value = strtoull(field, NULL, 10);

		if (number == STAT_START) /* in hundredths: the difference of the clocks is never quite the same */
			ret->started =
				(double)(int64_t)((boot_time() + (double)value / (double)sysconf(_SC_CLK_TCK)) * 100) /
				100;
		else if (number == STAT_SIZE)
			ret->virtual = value;
		else if (number == STAT_PAGES)
			ret->resident = value * (uint64_t)sysconf(_SC_PAGESIZE);
	}
}

static uint64_t count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (!directory)
		return 0;
	// cppcheck-suppress readdirCalled; nobody else has this directory
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
