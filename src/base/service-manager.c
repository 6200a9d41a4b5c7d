/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/service-manager.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/mem.h"

struct service_manager {
	int fd;
	struct sockaddr_un address;
	socklen_t address_size;
	uint64_t watchdog_us;
};

/* A path, or '@' and the name of an abstract socket. False: neither. */
static bool parse_address(const char *text, struct service_manager *manager)
{
	size_t length = strlen(text);

	if ((*text != '/' && *text != '@') || length < 2 || length >= sizeof(manager->address.sun_path))
		return false;
	manager->address.sun_family = AF_UNIX;
	memcpy(manager->address.sun_path, text, length + 1);
	if (*text == '@')
		manager->address.sun_path[0] = '\0';
	manager->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	return true;
}

/* Meant for us? A wrapper may have handed its own on. */
static uint64_t read_watchdog(void)
{
	const char *period = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t us, meant;

	if (pid && (number_parse(pid, 1, INT32_MAX, &meant) < 0 || meant != (uint64_t)getpid()))
		return 0;
	return period && number_parse(period, 1, INT64_MAX, &us) == 0 ? us : 0;
}

struct service_manager *service_manager_open(void)
{
	const char *text = getenv("NOTIFY_SOCKET");
	struct service_manager made = {.watchdog_us = read_watchdog()}, *manager;
	int fd;

	if (!text || !parse_address(text, &made))
		return NULL;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return NULL;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	manager = xcalloc(1, sizeof(*manager));
	*manager = made;
	manager->fd = fd;
	return manager;
}

void service_manager_close(struct service_manager *manager)
{
	if (!manager)
		return;
	close(manager->fd);
	free(manager);
}

uint64_t service_manager_watchdog_ms(const struct service_manager *manager)
{
	if (!manager || !manager->watchdog_us)
		return 0;
	return manager->watchdog_us < 4000 ? 1 : manager->watchdog_us / 2000;
}

static void put_state(FILE *out, enum service_state state)
{
	struct timespec now;

	switch (state) {
	case SERVICE_ALIVE:
		fputs("WATCHDOG=1\n", out);
		return;
	case SERVICE_READY:
		fputs("READY=1\n", out);
		return;
	case SERVICE_RELOADING: /* the time tells this reload from one that was asked for later */
		clock_gettime(CLOCK_MONOTONIC, &now);
		fprintf(out, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
			(uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
		return;
	case SERVICE_STOPPING:
		fputs("STOPPING=1\n", out);
		return;
	case SERVICE_SAME:
		return;
	}
}

/* A status may quote what others wrote: a new line would be another message. */
static void put_status(FILE *out, const char *status)
{
	fputs("STATUS=", out);
	for (; *status; status++)
		fputc((unsigned char)*status < ' ' || *status == 0x7f ? '?' : *status, out);
}

bool service_manager_tell(struct service_manager *manager, enum service_state state, const char *status)
{
	char *text = NULL;
	size_t length = 0;
	ssize_t sent;
	FILE *out;

	if (!manager)
		return true;
	out = open_memstream(&text, &length);
	if (!out)
		return false;
	put_state(out, state);
	if (status)
		put_status(out, status);
	fclose(out);
	sent = sendto(manager->fd, text, length, MSG_NOSIGNAL, (const struct sockaddr *)&manager->address,
		      manager->address_size);
	free(text);
	return sent == (ssize_t)length;
}
