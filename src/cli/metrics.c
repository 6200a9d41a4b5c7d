/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio metrics: what --metrics shows to Prometheus, without a port. */
#include <stdio.h>

#include "cli/answer.h"
#include "cli/commands.h"
#include "daemon/daemon.h"

int command_metrics(const struct options *options)
{
	int code = EXIT_GOOD;
	cJSON *answer = answer_get(options, "metrics", answer_request("metrics"), &code);

	if (!answer)
		return code;
	if (*answer_text(answer, "error")) {
		fprintf(stderr, "nuncio metrics: %s\n", answer_text(answer, "error"));
		code = EXIT_FAILED;
	}
	fputs(answer_text(answer, "text"), stdout);
	cJSON_Delete(answer);
	return code;
}
