/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio conns: asks a running nuncio for the connections of its links, and finds the processes behind them. */
#include <cJSON.h>
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "daemon/conns.h"
#include "daemon/daemon.h"

/* Processes */

/* A socket that we look for, and its connections: there may be several, of a UDP socket. */
struct owned {
	uint64_t inode;
	cJSON **conns;
	size_t count, capacity;
	UT_hash_handle hh;
};

static struct owned *index_by_inode(cJSON *conns)
{
	struct owned *by_inode = NULL, *owned;
	cJSON *conn;

	cJSON_ArrayForEach (conn, conns) {
		const cJSON *item = cJSON_GetObjectItemCaseSensitive(conn, "inode");
		uint64_t inode = cJSON_IsNumber(item) ? (uint64_t)item->valuedouble : 0;

		if (!inode)
			continue;
		HASH_FIND(hh, by_inode, &inode, sizeof(inode), owned);
		if (!owned) {
			owned = xcalloc(1, sizeof(*owned));
			owned->inode = inode;
			HASH_ADD(hh, by_inode, inode, sizeof(inode), owned);
		}
		ARRAY_GROW(owned->conns, owned->count, owned->capacity);
		owned->conns[owned->count++] = conn;
	}
	return by_inode;
}

static void free_index(struct owned *by_inode)
{
	struct owned *owned, *next;

	HASH_ITER (hh, by_inode, owned, next) {
		HASH_DEL(by_inode, owned);
		free(owned->conns);
		free(owned);
	}
}

/* What a process calls itself is not to be trusted on a terminal. */
static void read_comm(const char *pid, char comm[64])
{
	char path[280];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(comm, 64, file))
		snprintf(comm, 64, "?");
	if (file)
		fclose(file);
	comm[strcspn(comm, "\n")] = '\0';
	for (char *at = comm; *at; at++) {
		if (!isprint((unsigned char)*at))
			*at = '?';
	}
}

/* Of several processes that share a socket the first one is named. */
static void note_owner(const struct owned *owned, const char *pid)
{
	char comm[64];

	read_comm(pid, comm);
	for (size_t i = 0; i < owned->count; i++) {
		if (cJSON_HasObjectItem(owned->conns[i], "pid"))
			continue;
		cJSON_AddNumberToObject(owned->conns[i], "pid", strtod(pid, NULL));
		cJSON_AddStringToObject(owned->conns[i], "comm", comm);
	}
}

static void search_process(struct owned *by_inode, const char *pid)
{
	char path[280], target[64];
	const struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	directory = opendir(path);
	// cppcheck-suppress readdirCalled; there is one thread, and glibc advises against readdir_r()
	while (directory && (entry = readdir(directory))) {
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
		struct owned *owned;
		uint64_t inode;

		if (length < 0)
			continue;
		target[length] = '\0';
		if (strncmp(target, "socket:[", 8) != 0)
			continue;
		inode = strtoull(target + 8, NULL, 10);
		HASH_FIND(hh, by_inode, &inode, sizeof(inode), owned);
		if (owned)
			note_owner(owned, pid);
	}
	if (directory)
		closedir(directory);
}

/* Adds "pid" and "comm" where the process is one that we may look into. */
static void find_processes(cJSON *conns)
{
	struct owned *by_inode = index_by_inode(conns);
	DIR *directory = by_inode ? opendir("/proc") : NULL;
	const struct dirent *entry;

	// cppcheck-suppress readdirCalled; there is one thread, and glibc advises against readdir_r()
	while (directory && (entry = readdir(directory))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			search_process(by_inode, entry->d_name);
	}
	if (directory)
		closedir(directory);
	free_index(by_inode);
}

/* For people */

struct column {
	const char *head, *key;
	bool right; /* numbers */
	int width;
};

#define CELL_TEXT 300

static const char *cell(const cJSON *conn, const char *key, char buffer[CELL_TEXT])
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(conn, key);

	if (cJSON_IsString(item))
		snprintf(buffer, CELL_TEXT, "%s", item->valuestring);
	else if (cJSON_IsNumber(item))
		snprintf(buffer, CELL_TEXT, "%.0f", item->valuedouble);
	else
		snprintf(buffer, CELL_TEXT, "-");
	return buffer;
}

static void print_row(const struct column *columns, size_t count, const cJSON *conn)
{
	char text[CELL_TEXT];

	for (size_t i = 0; i < count; i++) {
		const char *value = conn ? cell(conn, columns[i].key, text) : columns[i].head;
		bool last = i == count - 1;

		printf(columns[i].right ? "%*s%s" : "%-*s%s", last && !columns[i].right ? 0 : columns[i].width, value,
		       last ? "\n" : "  ");
	}
}

static void print_conns(const cJSON *conns)
{
	struct column columns[] = {
		{"PID", "pid", true, 0},      {"COMMAND", "comm", false, 0},	  {"CLIENT", "client", false, 0},
		{"LINK", "link", false, 0},   {"ENDPOINT", "endpoint", false, 0}, {"ADDRESS", "address", false, 0},
		{"STATE", "state", false, 0}, {"AGE", "age_seconds", true, 0},	  {"BYTES", "bytes", true, 0},
	};
	char text[CELL_TEXT];
	const cJSON *conn;

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		columns[i].width = (int)strlen(columns[i].head);
		cJSON_ArrayForEach (conn, conns) {
			int width = (int)strlen(cell(conn, columns[i].key, text));

			columns[i].width = width > columns[i].width ? width : columns[i].width;
		}
	}
	print_row(columns, ARRAY_SIZE(columns), NULL);
	cJSON_ArrayForEach (conn, conns)
		print_row(columns, ARRAY_SIZE(columns), conn);
}

static void print_answer(cJSON *answer, bool json)
{
	const cJSON *left_out = cJSON_GetObjectItemCaseSensitive(answer, "left_out");
	cJSON *conns = cJSON_GetObjectItemCaseSensitive(answer, "connections");

	find_processes(conns);
	if (json) {
		char *text = cJSON_PrintUnformatted(answer);

		puts(text);
		cJSON_free(text);
		return;
	}
	print_conns(conns);
	if (cJSON_IsNumber(left_out) && left_out->valuedouble > 0)
		printf("and %.0f more: --limit shows more than %d\n", left_out->valuedouble, cJSON_GetArraySize(conns));
}

/* Asking */

static cJSON *make_request(const struct options *options, uint64_t limit)
{
	cJSON *request = answer_request("conns");

	if (options->n_operands)
		cJSON_AddStringToObject(request, "link", options->operands[0]);
	cJSON_AddNumberToObject(request, "limit", (double)limit);
	return request;
}

int command_conns(const struct options *options)
{
	uint64_t limit = CONNS_DEFAULT;
	int code = EXIT_GOOD;
	cJSON *answer;

	if (options->limit && number_parse(options->limit, 1, CONNS_MAX, &limit) < 0) {
		fprintf(stderr, "nuncio conns: --limit %s: expected 1 to %d\n", options->limit, CONNS_MAX);
		return EXIT_USAGE;
	}
	answer = answer_get(options, "conns", make_request(options, limit), &code);
	if (!answer)
		return code;
	if (*answer_text(answer, "error")) {
		fprintf(stderr, "nuncio conns: %s\n", answer_text(answer, "error"));
		code = EXIT_FAILED;
	} else {
		print_answer(answer, options->json);
	}
	cJSON_Delete(answer);
	return code;
}
