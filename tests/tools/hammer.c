/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hammer: a client for tests, that opens a new connection each time and counts who answered.
 *
 *	hammer [--udp] [--count N | --seconds S] [--concurrency C] [--rate R] [--timeout MS] [--first-port P] ADDR:PORT
 *
 * TCP: connects, reads the responder's name until it closes. UDP: a new socket, a datagram, and the answer; a port
 * that conntrack remembers would be the old flow, so under --first-port the sockets take the ports from there on.
 * Without --rate as fast as it can; with the default concurrency of 1 strictly one after the other, so that the
 * counts of a round robin are exact. Ends after N attempts, S seconds, or SIGTERM/SIGINT, and prints one JSON object:
 *
 *	{"ok":300,"failed":1,"errors":{"connect: Connection refused":1},"by":{"b1":100,"b2":200},
 *	 "seconds":0.04,"p50_ms":0.1,"p99_ms":0.2,"max_ms":0.3}
 *
 * Times are those of all attempts, good or bad. The exit code is 0 whenever it ran: the test judges.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "endpoint.h"

#define NS_PER_S 1000000000ULL
#define TALLY_KEYS 64
#define TALLY_KEY_MAX 96
#define WORKERS_MAX 256

/* A count for each of a few texts. */
struct tally {
	struct {
		char key[TALLY_KEY_MAX];
		uint64_t count;
	} items[TALLY_KEYS];
	size_t used;
};

struct worker {
	pthread_t thread;
	struct tally by, errors;
	uint32_t *times_us;
	size_t n_times, capacity;
};

static struct {
	bool udp;
	uint64_t count; /* 0 = no bound */
	double seconds; /* 0 = no bound */
	double rate;	/* attempts a second, of all workers together; 0 = no bound */
	int concurrency;
	int timeout_ms;
	uint16_t first_port; /* 0 = the kernel chooses */
	struct endpoint target;
} options = {.concurrency = 1, .timeout_ms = 5000};

static struct worker workers[WORKERS_MAX];
static uint64_t started;	     /* now_ns() */
static atomic_uint_fast64_t tickets; /* attempts handed out */
static atomic_bool stopping;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void tally_add(struct tally *tally, const char *key, uint64_t count)
{
	size_t i = 0;

	while (i < tally->used && strcmp(tally->items[i].key, key) != 0)
		i++;
	if (i == TALLY_KEYS) {
		fprintf(stderr, "hammer: more than %d different answers\n", TALLY_KEYS);
		exit(1);
	}
	if (i == tally->used)
		snprintf(tally->items[tally->used++].key, TALLY_KEY_MAX, "%s", key);
	tally->items[i].count += count;
}

static uint64_t tally_sum(const struct tally *tally)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < tally->used; i++)
		sum += tally->items[i].count;
	return sum;
}

/* Counts an error as "STEP: reason" and returns false. */
static bool failed(struct worker *worker, const char *step)
{
	/* The socket timeouts of connect() and recv() speak in these two. */
	bool late = errno == EINPROGRESS || errno == EAGAIN;
	char text[TALLY_KEY_MAX];

	snprintf(text, sizeof(text), "%s: %s", step, late ? "timed out" : strerror(errno));
	tally_add(&worker->errors, text, 1);
	return false;
}

/* Reads a name up to the end of the stream, or one datagram, without its newline. */
static bool read_name(struct worker *worker, int fd, char *name, size_t size)
{
	size_t length = 0;
	ssize_t got;

	do {
		got = recv(fd, name + length, size - 1 - length, 0);
		if (got < 0)
			return failed(worker, "recv");
		length += (size_t)got;
	} while (got > 0 && !options.udp && length < size - 1);
	if (length == 0) {
		tally_add(&worker->errors, "recv: closed without an answer", 1);
		return false;
	}
	name[length] = '\0';
	name[strcspn(name, "\n")] = '\0';
	return true;
}

/* Gives the socket the source port of this attempt, under --first-port. */
static bool bind_port(struct worker *worker, int fd, uint64_t ticket)
{
	struct endpoint source = {.any.sa_family = options.target.any.sa_family, .length = options.target.length};

	if (!options.first_port)
		return true;
	/* The port is at the same place in both families. */
	source.v4.sin_port = htons((uint16_t)(options.first_port + ticket));
	return bind(fd, &source.any, source.length) == 0 || failed(worker, "bind");
}

/* EPERM is what send() says when a rule rejects the datagram; the ICMP error is then what recv() says. */
static bool send_question(struct worker *worker, int fd)
{
	return send(fd, "?\n", 2, 0) == 2 || errno == EPERM || failed(worker, "send");
}

static bool converse(struct worker *worker, int fd, uint64_t ticket)
{
	const struct timeval timeout = {options.timeout_ms / 1000, options.timeout_ms % 1000 * 1000};
	char name[TALLY_KEY_MAX];

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (!bind_port(worker, fd, ticket))
		return false;
	if (connect(fd, &options.target.any, options.target.length))
		return failed(worker, "connect");
	if (options.udp && !send_question(worker, fd))
		return false;
	if (!read_name(worker, fd, name, sizeof(name)))
		return false;
	tally_add(&worker->by, name, 1);
	return true;
}

static void attempt(struct worker *worker, uint64_t ticket)
{
	int type = options.udp ? SOCK_DGRAM : SOCK_STREAM;
	uint64_t begin = now_ns();
	int fd = socket(options.target.any.sa_family, type | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		failed(worker, "socket");
		return;
	}
	converse(worker, fd, ticket);
	close(fd);
	if (worker->n_times == worker->capacity) {
		worker->capacity = worker->capacity ? worker->capacity * 2 : 1024;
		worker->times_us = realloc(worker->times_us, worker->capacity * sizeof(*worker->times_us));
		if (!worker->times_us)
			die("realloc");
	}
	worker->times_us[worker->n_times++] = (uint32_t)((now_ns() - begin) / 1000);
}

/* Takes the right to make one more attempt, waiting for its time under --rate. */
static bool take_ticket(uint64_t *ret_ticket)
{
	uint64_t ticket = atomic_fetch_add(&tickets, 1);
	uint64_t due = started + (options.rate > 0 ? (uint64_t)((double)ticket / options.rate * NS_PER_S) : 0);
	struct timespec at = {(time_t)(due / NS_PER_S), (long)(due % NS_PER_S)};

	*ret_ticket = ticket;
	if (options.count && ticket >= options.count)
		return false;
	if (options.seconds > 0 && (double)(due - started) >= options.seconds * NS_PER_S)
		return false;
	if (options.rate > 0)
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	if (options.seconds > 0 && (double)(now_ns() - started) >= options.seconds * NS_PER_S)
		return false;
	return !atomic_load(&stopping);
}

static void *work(void *argument)
{
	uint64_t ticket;

	while (take_ticket(&ticket))
		attempt(argument, ticket);
	return NULL;
}

static void stop(int signal)
{
	(void)signal;
	atomic_store(&stopping, true);
}

/* Only the main thread sees the signals: a worker's connect() is never cut short by one. */
static void run_workers(void)
{
	const struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART};
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	started = now_ns();
	for (int i = 0; i < options.concurrency; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("pthread_create");
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
	for (int i = 0; i < options.concurrency; i++)
		pthread_join(workers[i].thread, NULL);
}

/* Adds everybody's results to the first worker's. */
static void merge(void)
{
	struct worker *sum = &workers[0];
	size_t total = 0;

	for (int i = 0; i < options.concurrency; i++)
		total += workers[i].n_times;
	sum->times_us = realloc(sum->times_us, (total + 1) * sizeof(*sum->times_us));
	if (!sum->times_us)
		die("realloc");
	for (struct worker *other = sum + 1; other < sum + options.concurrency; other++) {
		for (size_t i = 0; i < other->by.used; i++)
			tally_add(&sum->by, other->by.items[i].key, other->by.items[i].count);
		for (size_t i = 0; i < other->errors.used; i++)
			tally_add(&sum->errors, other->errors.items[i].key, other->errors.items[i].count);
		if (other->n_times)
			memcpy(sum->times_us + sum->n_times, other->times_us,
			       other->n_times * sizeof(*other->times_us));
		sum->n_times += other->n_times;
	}
}

static int compare_times(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_ms(const struct worker *sum, double share)
{
	if (!sum->n_times)
		return 0;
	return sum->times_us[(size_t)((double)(sum->n_times - 1) * share)] / 1000.0;
}

static void print_tally(const char *label, const struct tally *tally)
{
	printf("\"%s\":{", label);
	for (size_t i = 0; i < tally->used; i++)
		printf("%s\"%s\":%llu", i ? "," : "", tally->items[i].key, (unsigned long long)tally->items[i].count);
	printf("},");
}

static void print_result(struct worker *sum)
{
	double seconds = (double)(now_ns() - started) / NS_PER_S;

	qsort(sum->times_us, sum->n_times, sizeof(*sum->times_us), compare_times);
	printf("{\"ok\":%llu,\"failed\":%llu,", (unsigned long long)tally_sum(&sum->by),
	       (unsigned long long)tally_sum(&sum->errors));
	print_tally("errors", &sum->errors);
	print_tally("by", &sum->by);
	printf("\"seconds\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n", seconds, percentile_ms(sum, 0.50),
	       percentile_ms(sum, 0.99), percentile_ms(sum, 1.0));
}

__attribute__((noreturn)) static void usage(void)
{
	fprintf(stderr,
		"usage: hammer [--udp] [--count N | --seconds S] [--concurrency 1-%d] [--rate R]"
		" [--timeout MS] [--first-port P] ADDR:PORT\n",
		WORKERS_MAX);
	exit(2);
}

static void parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"udp", no_argument, NULL, 'u'},
		{"count", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 's'},
		{"concurrency", required_argument, NULL, 'c'},
		{"rate", required_argument, NULL, 'r'},
		{"timeout", required_argument, NULL, 't'},
		{"first-port", required_argument, NULL, 'p'},
		{},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'u')
			options.udp = true;
		else if (option == 'n')
			options.count = strtoull(optarg, NULL, 10);
		else if (option == 's')
			options.seconds = strtod(optarg, NULL);
		else if (option == 'c')
			options.concurrency = atoi(optarg);
		else if (option == 'r')
			options.rate = strtod(optarg, NULL);
		else if (option == 't')
			options.timeout_ms = atoi(optarg);
		else if (option == 'p')
			options.first_port = (uint16_t)atoi(optarg);
		else
			usage();
	}
	if (argc - optind != 1 || !endpoint_parse(argv[optind], &options.target))
		usage();
	if (options.concurrency < 1 || options.concurrency > WORKERS_MAX || options.timeout_ms < 1)
		usage();
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	parse_options(argc, argv);
	run_workers();
	merge();
	print_result(&workers[0]);
	return 0;
}
