/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/control-client.h"
#include "daemon/daemon.h"

cJSON *answer_request(const char *command)
{
	cJSON *request = cJSON_CreateObject();

	cJSON_AddStringToObject(request, "command", command);
	return request;
}

char *answer_request_line(cJSON *request)
{
	char *text = cJSON_PrintUnformatted(request), *line = xasprintf("%s\n", text);

	cJSON_free(text);
	cJSON_Delete(request);
	return line;
}

cJSON *answer_get(const struct options *options, const char *command, cJSON *request, int *ret_exit_code)
{
	char *line = answer_request_line(request), *text;
	cJSON *answer = NULL;
	struct error err;

	if (control_ask(options->control ? options->control : CONTROL_PATH, line, &text, &err) == 0) {
		answer = cJSON_Parse(text);
		if (!answer)
			fail(&err, 0, "the answer is not JSON");
		free(text);
	}
	free(line);
	if (!answer) {
		fprintf(stderr, "nuncio %s: %s\n", command, err.text);
		*ret_exit_code = EXIT_FAILED;
	}
	return answer;
}

const char *answer_text(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

	return text ? text : "";
}

double answer_number(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

const char *answer_emptiness(const cJSON *link)
{
	if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(link, "installed")))
		return "the kernel does not have this link";
	if (strcmp(answer_text(link, "state"), "holding") == 0)
		return "no endpoint serves: connections wait for one, for a while";
	return "no endpoint serves: new connections are refused at once";
}

void answer_print_registry(FILE *out, const cJSON *registry, const char *indent)
{
	const cJSON *age = cJSON_GetObjectItemCaseSensitive(registry, "last_success_seconds");

	fprintf(out, "%sregistry %s  %s", indent, answer_text(registry, "uri"),
		cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(registry, "connected")) ? "good" : "NOT GOOD");
	if (*answer_text(registry, "revision"))
		fprintf(out, ", revision %s", answer_text(registry, "revision"));
	if (cJSON_IsNumber(age))
		fprintf(out, ", last good answer %.0f s ago", age->valuedouble);
	if (answer_number(registry, "skipped_records") > 0)
		fprintf(out, ", %.0f unusable records", answer_number(registry, "skipped_records"));
	fputc('\n', out);
	if (*answer_text(registry, "error"))
		fprintf(out, "%s  %s\n", indent, answer_text(registry, "error"));
}
