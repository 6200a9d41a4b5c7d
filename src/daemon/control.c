/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control.h"

#include <cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

/* What a client may make us hold: this much of a request, and this many of them at once. */
#define REQUEST_MAX 65536
#define CLIENTS_MAX 32

/* And of what it follows and does not read, bytes. */
#define BACKLOG_MAX (256 * 1024)

struct control {
	uv_pipe_t pipe;
	char *path;
	control_request_fn request;
	void *context;
	struct client *clients;
	unsigned int n_clients;
	bool closing;
};

struct client {
	uv_pipe_t pipe;
	struct control *control;
	struct client *prev, *next;
	char request[REQUEST_MAX];
	size_t used;
	cJSON *following; /* the request that asked for it, or NULL */
	bool answering;	  /* one request at a time: an answer that is not read holds up its client, not us */
	bool ending;	  /* when all is written */
	bool closing;
};

static void handle_lines(struct client *client);

struct reply {
	uv_write_t write;
	char *text;
};

static void on_control_closed(uv_handle_t *handle)
{
	struct control *control = handle->data;

	free(control->path);
	free(control);
}

static void release_when_idle(struct control *control)
{
	if (control->closing && !control->n_clients)
		uv_close((uv_handle_t *)&control->pipe, on_control_closed);
}

static void on_client_closed(uv_handle_t *handle)
{
	struct client *client = handle->data;
	struct control *control = client->control;

	if (client->prev)
		client->prev->next = client->next;
	else
		control->clients = client->next;
	if (client->next)
		client->next->prev = client->prev;
	control->n_clients--;
	cJSON_Delete(client->following);
	free(client);
	release_when_idle(control);
}

static void close_client(struct client *client)
{
	if (!client->closing)
		uv_close((uv_handle_t *)&client->pipe, on_client_closed);
	client->closing = true;
}

static void on_written(uv_write_t *write, int status)
{
	struct reply *reply = write->data;
	struct client *client = write->handle->data;

	free(reply->text);
	free(reply);
	client->answering = false;
	if (status < 0 || (client->ending && !uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe)))
		close_client(client);
	else
		handle_lines(client);
}

/* Takes the text over. */
static void send_text(struct client *client, char *text, size_t length)
{
	struct reply *reply = xcalloc(1, sizeof(*reply));
	uv_buf_t buffer = uv_buf_init(text, (unsigned int)length);

	reply->text = text;
	reply->write.data = reply;
	if (uv_write(&reply->write, (uv_stream_t *)&client->pipe, &buffer, 1, on_written) < 0) {
		free(text);
		free(reply);
		close_client(client);
	}
}

static void send_reply(struct client *client, char *text, size_t length)
{
	client->answering = true;
	uv_read_stop((uv_stream_t *)&client->pipe);
	send_text(client, text, length);
}

static void handle_request(struct client *client, const char *line)
{
	cJSON *request = cJSON_Parse(line);
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	bool follows = false;

	if (cJSON_IsObject(request))
		follows = client->control->request(client->control->context, request, out);
	else
		fprintf(out, "{\"error\":\"a request is one JSON object on a line\"}");
	fputc('\n', out);
	fclose(out);
	if (follows)
		client->following = request;
	else
		cJSON_Delete(request);
	send_reply(client, text, length);
}

static void offer_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct client *client = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(client->request + client->used, (unsigned int)(sizeof(client->request) - client->used));
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
	struct client *client = stream->data;

	(void)buffer;
	if (length < 0) {
		close_client(client);
		return;
	}
	if (client->following) /* it has its say behind it; what matters is that it goes */
		return;
	client->used += (size_t)length;
	handle_lines(client);
}

/* The next request that is there; where there is none, more is read. */
static void handle_lines(struct client *client)
{
	char *end = client->following ? NULL : memchr(client->request, '\n', client->used);
	size_t length;

	if (client->following)
		client->used = 0;
	if (client->closing || client->answering)
		return;
	if (!end && client->used == sizeof(client->request)) {
		close_client(client);
	} else if (!end) {
		uv_read_start((uv_stream_t *)&client->pipe, offer_buffer, on_read);
	} else {
		*end = '\0';
		length = (size_t)(end + 1 - client->request);
		handle_request(client, client->request);
		client->used -= length;
		memmove(client->request, client->request + length, client->used);
	}
}

static void publish_to(struct client *client, const char *line)
{
	static const char lost[] = "{\"error\":\"events came faster than they were read; this is the end\"}\n";
	char *text;

	client->ending = uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe) > BACKLOG_MAX;
	text = client->ending ? xstrdup(lost) : xasprintf("%s\n", line);
	send_text(client, text, strlen(text));
}

void control_publish(struct control *control, const char *line, control_wants_fn wants, const void *about)
{
	for (struct client *client = control->clients; client; client = client->next) {
		if (client->following && !client->ending && !client->closing && wants(client->following, about))
			publish_to(client, line);
	}
}

static void on_connection(uv_stream_t *server, int status)
{
	struct control *control = server->data;
	struct client *client;

	if (status < 0)
		return;
	client = xcalloc(1, sizeof(*client));
	client->control = control;
	client->pipe.data = client;
	uv_pipe_init(server->loop, &client->pipe, 0);
	client->next = control->clients;
	if (client->next)
		client->next->prev = client;
	control->clients = client;
	control->n_clients++;
	if (uv_accept(server, (uv_stream_t *)&client->pipe) < 0 || control->n_clients > CLIENTS_MAX)
		close_client(client);
	else
		handle_lines(client);
}

/* A socket file outlives its process: is somebody listening? */
static bool is_alive(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

	if (fd >= 0)
		close(fd);
	return alive;
}

static void make_directory(const char *path)
{
	char *directory = xstrdup(path), *slash = strrchr(directory, '/');

	if (slash && slash != directory) {
		*slash = '\0';
		mkdir(directory, 0755); /* bind() tells what is wrong where this fails */
	}
	free(directory);
}

/* Returns a socket bound to the path, or a negative errno. */
static int bind_path(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, code;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	make_directory(path);
	if (is_alive(&address))
		return -EADDRINUSE;
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0117);
	code = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : fd;
	umask(mask);
	if (code < 0)
		close(fd);
	return code;
}

int control_open(uv_loop_t *loop, const char *path, control_request_fn request, void *context, struct control **ret,
		 struct error *err)
{
	struct control *control;
	int fd = bind_path(path), code;

	if (fd == -EADDRINUSE)
		return fail(err, fd, "control socket %s: another nuncio listens there: give --control another path",
			    path);
	if (fd < 0)
		return fail(err, fd, "control socket %s: %s", path, strerror(-fd));
	control = xcalloc(1, sizeof(*control));
	control->path = xstrdup(path);
	control->request = request;
	control->context = context;
	control->pipe.data = control;
	uv_pipe_init(loop, &control->pipe, 0);
	code = uv_pipe_open(&control->pipe, fd);
	if (code == 0)
		code = uv_listen((uv_stream_t *)&control->pipe, CLIENTS_MAX, on_connection);
	if (code < 0) {
		control_close(control);
		return fail(err, code, "control socket %s: %s", path, uv_strerror(code));
	}
	*ret = control;
	return 0;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	unlink(control->path);
	control->closing = true;
	for (struct client *client = control->clients; client; client = client->next)
		close_client(client);
	release_when_idle(control);
}
