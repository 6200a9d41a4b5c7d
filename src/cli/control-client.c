/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/control-client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

static int connect_to(const char *path, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, code;

	if (strlen(path) >= sizeof(address.sun_path))
		return fail(err, -ENAMETOOLONG, "control socket %s: the path is longer than %zu bytes", path,
			    sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	code = -errno;
	if (fd >= 0)
		close(fd);
	return fail(err, code, "no nuncio answers at %s (%s): is one running, and with this --control path?", path,
		    strerror(-code));
}

static int send_line(int fd, const char *line)
{
	for (size_t sent = 0, length = strlen(line); sent < length;) {
		ssize_t n = send(fd, line + sent, length - sent, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		sent += (size_t)n;
	}
	return 0;
}

/* Reads up to the newline; the caller frees. NULL where the peer went away before. */
static char *receive_line(int fd)
{
	size_t used = 0, capacity = 0;
	char *text = NULL;

	for (;;) {
		ssize_t n;

		if (capacity - used < 65536) {
			capacity = capacity * 2 + 131072;
			text = xrealloc(text, capacity, 1);
		}
		n = recv(fd, text + used, capacity - used - 1, 0);
		if (n <= 0)
			break;
		used += (size_t)n;
		if (text[used - 1] == '\n') {
			text[used] = '\0';
			return text;
		}
	}
	free(text);
	return NULL;
}

int control_ask(const char *path, const char *request_line, char **ret_answer, struct error *err)
{
	int fd = connect_to(path, err);
	char *answer;

	if (fd < 0)
		return fd;
	answer = send_line(fd, request_line) == 0 ? receive_line(fd) : NULL;
	close(fd);
	if (!answer)
		return fail(err, -EPIPE, "the nuncio at %s went away before it answered", path);
	*ret_answer = answer;
	return 0;
}

int control_follow(const char *path, const char *request_line, bool (*each)(void *context, const char *line),
		   void *context, struct error *err)
{
	int fd = connect_to(path, err);
	char *line = NULL;
	size_t size = 0;
	ssize_t length;
	bool more = true;
	FILE *in;

	if (fd < 0)
		return fd;
	in = send_line(fd, request_line) == 0 ? fdopen(fd, "r") : NULL;
	if (!in) {
		close(fd);
		return fail(err, -EPIPE, "the nuncio at %s went away", path);
	}
	while (more && (length = getline(&line, &size, in)) > 0) {
		line[length - 1] = '\0';
		more = each(context, line);
	}
	free(line);
	fclose(in);
	return more ? fail(err, -EPIPE, "the nuncio at %s went away", path) : 0;
}
