/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/command.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct command {
	uv_process_t process;
	uv_timer_t patience;
	int open_handles;
	bool runs, stopping;
	command_ended_fn ended;
	void *context;
};

static void on_exit_of_command(uv_process_t *process, int64_t status, int signal)
{
	struct command *command = process->data;

	command->runs = false;
	uv_timer_stop(&command->patience);
	command->ended(command->context, signal ? 128 + signal : (int)status);
}

static void on_closed(uv_handle_t *handle)
{
	struct command *command = handle->data;

	if (--command->open_handles == 0)
		free(command);
}

void command_close(struct command *command)
{
	if (!command)
		return;
	uv_close((uv_handle_t *)&command->process, on_closed);
	uv_close((uv_handle_t *)&command->patience, on_closed);
}

int command_start(uv_loop_t *loop, char **words, command_ended_fn ended, void *context, struct command **ret,
		  struct error *err)
{
	struct command *command = xcalloc(1, sizeof(*command));
	uv_stdio_container_t stdio[] = {
		{.flags = UV_INHERIT_FD, .data.fd = STDIN_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
	};
	const uv_process_options_t options = {
		.file = words[0],
		.args = words,
		.exit_cb = on_exit_of_command,
		.flags = UV_PROCESS_DETACHED,
		.stdio = stdio,
		.stdio_count = ARRAY_SIZE(stdio),
	};
	int code;

	*command = (struct command){.ended = ended, .context = context, .open_handles = 2};
	uv_timer_init(loop, &command->patience);
	code = uv_spawn(loop, &command->process, &options);
	command->process.data = command->patience.data = command;
	if (code) {
		command_close(command);
		return fail(err, code, "%s: %s", words[0], uv_strerror(code));
	}
	command->runs = true;
	*ret = command;
	return 0;
}

bool command_runs(const struct command *command)
{
	return command && command->runs;
}

void command_signal(const struct command *command, int number)
{
	kill(-command->process.pid, number);
}

static void on_patience_ended(uv_timer_t *timer)
{
	struct command *command = timer->data;

	log_warning("the command did not end within %d s of SIGTERM, killing it", COMMAND_PATIENCE_MS / 1000);
	command_signal(command, SIGKILL);
}

void command_stop(struct command *command)
{
	if (command->stopping)
		return;
	command->stopping = true;
	command_signal(command, SIGTERM);
	uv_timer_start(&command->patience, on_patience_ended, COMMAND_PATIENCE_MS, 0);
}
