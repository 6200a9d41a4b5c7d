/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/age.h"
#include "base/mem.h"
#include "daemon/meter.h"
#include "daemon/process.h"
#include "daemon/status-words.h"

enum {
	BUILD_INFO,
	READY,
	RELOAD_GOOD,
	RELOAD_TIME,
	NAMESPACE_UP,
	LINK_INFO,
	LINK_STATE,
	LINK_REFUSED,
	LINK_ENDPOINTS,
	LINK_SERVING,
	LINK_ALL_DOWN,
	ENDPOINT_STATE,
	ENDPOINT_SHARE,
	ENDPOINT_CONNECTIONS,
	ENDPOINT_OPEN,
	ENDPOINT_OPEN_BYTES,
	ENDPOINT_RETRIES,
	ENDPOINT_CHECK_UP,
	ENDPOINT_CHECK_SECONDS,
	ENDPOINT_FAILURES,
	ENDPOINT_EJECTIONS,
	REGISTRY_UP,
	REGISTRY_SUCCESS_TIME,
	REGISTRY_SERVICES,
	REGISTRY_SKIPPED,
	REGISTRY_ERRORS,
	REGISTRY_REVISION,
	DOCKER_UP,
	TRANSACTION_SECONDS,
	TRANSACTION_FAILURES,
	TRANSACTION_MESSAGES,
	TRANSACTION_CHANGES,
	PROGRAMMING_SECONDS,
	RESYNCS,
	CPU_SECONDS,
	RESIDENT,
	VIRTUAL,
	OPEN_FDS,
	MAX_FDS,
	START_TIME,
};

static const struct metric table[] = {
	[BUILD_INFO] = {"nuncio_build_info", METRIC_GAUGE, "The version that runs, as a label."},
	[READY] = {"nuncio_ready", METRIC_GAUGE, "1: the kernel has what the registries said first."},
	[RELOAD_GOOD] = {"nuncio_config_last_reload_successful", METRIC_GAUGE,
			 "0: the last reload failed, and the configuration before it is in force."},
	[RELOAD_TIME] = {"nuncio_config_last_reload_success_timestamp_seconds", METRIC_GAUGE,
			 "When the configuration in force was read."},
	[NAMESPACE_UP] = {"nuncio_namespace_up", METRIC_GAUGE,
			  "1: the network namespace has its table; its last update went well."},
	[LINK_INFO] = {"nuncio_link_info", METRIC_GAUGE, "What a link is, as labels."},
	[LINK_STATE] =
		{"nuncio_link_state", METRIC_GAUGE,
		 "1 for the state that a link is in: serving, stale (the registry is silent), holding or empty."},
	[LINK_REFUSED] = {"nuncio_link_refused", METRIC_GAUGE, "1: the kernel refuses the link's last change."},
	[LINK_ENDPOINTS] = {"nuncio_link_endpoints", METRIC_GAUGE, "Endpoints of a link."},
	[LINK_SERVING] = {"nuncio_link_serving_endpoints", METRIC_GAUGE,
			  "Endpoints of a link that get new connections."},
	[LINK_ALL_DOWN] = {"nuncio_link_all_down", METRIC_GAUGE,
			   "1: no endpoint of the link is well; on_all_down says whether all of them serve then."},
	[ENDPOINT_STATE] = {"nuncio_endpoint_state", METRIC_GAUGE,
			    "1 for the state that an endpoint is in (up, draining, ejected or down), with the reason."},
	[ENDPOINT_SHARE] = {"nuncio_endpoint_share_ratio", METRIC_GAUGE,
			    "The part of its link's new connections that an endpoint gets, 0 to 1."},
	[ENDPOINT_CONNECTIONS] = {"nuncio_endpoint_connections_total", METRIC_COUNTER,
				  "Connections (UDP: flows) that the kernel led to an endpoint since it was added."},
	[ENDPOINT_OPEN] = {"nuncio_endpoint_open_connections", METRIC_GAUGE,
			   "Connections (UDP: flows) to an endpoint that are open now."},
	[ENDPOINT_OPEN_BYTES] = {"nuncio_endpoint_open_connections_bytes", METRIC_GAUGE,
				 "Bytes so far, in both directions, of the connections that are open now; where "
				 "net.netfilter.nf_conntrack_acct is on."},
	[ENDPOINT_RETRIES] = {"nuncio_endpoint_retries_total", METRIC_COUNTER,
			      "Refused connections that were tried again elsewhere; forgotten after a day without."},
	[ENDPOINT_CHECK_UP] =
		{"nuncio_endpoint_check_up", METRIC_GAUGE,
		 "1: an endpoint's checks are good, 0: they fail; of one that is not known yet, nothing."},
	[ENDPOINT_CHECK_SECONDS] = {"nuncio_endpoint_check_duration_seconds", METRIC_GAUGE,
				    "How long the last check of an endpoint took."},
	[ENDPOINT_FAILURES] = {"nuncio_endpoint_failures_total", METRIC_COUNTER,
			       "Connections to an endpoint that were refused or not answered, where the link ejects."},
	[ENDPOINT_EJECTIONS] = {"nuncio_endpoint_ejections_total", METRIC_COUNTER,
				"How often an endpoint was ejected because connections to it failed."},
	[REGISTRY_UP] = {"nuncio_registry_up", METRIC_GAUGE, "1: the registry answers."},
	[REGISTRY_SUCCESS_TIME] = {"nuncio_registry_last_success_timestamp_seconds", METRIC_GAUGE,
				   "When the registry gave its last good answer."},
	[REGISTRY_SERVICES] = {"nuncio_registry_services", METRIC_GAUGE, "Services that links ask a registry for."},
	[REGISTRY_SKIPPED] = {"nuncio_registry_skipped_records", METRIC_GAUGE,
			      "Records in the last good answers that are of no use."},
	[REGISTRY_ERRORS] = {"nuncio_registry_errors_total", METRIC_COUNTER,
			     "Answers that said why there is none, one for each service."},
	[REGISTRY_REVISION] = {"nuncio_registry_revision", METRIC_GAUGE,
			       "The registry's own number of its state, where it has one."},
	[DOCKER_UP] = {"nuncio_docker_up", METRIC_GAUGE, "1: the engine whose containers are followed answers."},
	[TRANSACTION_SECONDS] = {"nuncio_transaction_duration_seconds", METRIC_HISTOGRAM,
				 "How long the kernel took for a transaction, failed ones included."},
	[TRANSACTION_FAILURES] = {"nuncio_transaction_failures_total", METRIC_COUNTER,
				  "Transactions that the kernel refused."},
	[TRANSACTION_MESSAGES] = {"nuncio_transaction_messages_total", METRIC_COUNTER,
				  "Netlink messages that the kernel carried out."},
	[TRANSACTION_CHANGES] = {"nuncio_transaction_changes_total", METRIC_COUNTER,
				 "Objects of nftables that were added or removed."},
	[PROGRAMMING_SECONDS] = {"nuncio_programming_duration_seconds", METRIC_HISTOGRAM,
				 "From a registry's event to the kernel's acknowledgement, for each link that it "
				 "changed."},
	[RESYNCS] = {"nuncio_resyncs_total", METRIC_COUNTER,
		     "How often the kernel's table was read, because it was not known what it holds."},
	[CPU_SECONDS] = {"process_cpu_seconds_total", METRIC_COUNTER, "CPU time, in user mode and in the kernel."},
	[RESIDENT] = {"process_resident_memory_bytes", METRIC_GAUGE, "Resident memory."},
	[VIRTUAL] = {"process_virtual_memory_bytes", METRIC_GAUGE, "Virtual memory."},
	[OPEN_FDS] = {"process_open_fds", METRIC_GAUGE, "Open file descriptors."},
	[MAX_FDS] = {"process_max_fds", METRIC_GAUGE, "How many file descriptors may be open."},
	[START_TIME] = {"process_start_time_seconds", METRIC_GAUGE, "When the process began, seconds since 1970."},
};

/* The daemon as a whole */

static void add_daemon(struct exposition *exposition, const struct realm *realm)
{
	const struct meter *meter = realm->meter;
	struct text labels = {0};

	labels_add(&labels, "version", NUNCIO_VERSION);
	exposition_add_count(exposition, BUILD_INFO, &labels, 1);
	text_clear(&labels);
	exposition_add_count(exposition, READY, NULL, realm_lacks(realm) == NULL);
	exposition_add_count(exposition, RELOAD_GOOD, NULL, !meter->reload_failed);
	exposition_add_count(exposition, RELOAD_TIME, NULL, (uint64_t)meter->reloaded);
	exposition_add_histogram(exposition, TRANSACTION_SECONDS, &meter->transactions);
	exposition_add_count(exposition, TRANSACTION_FAILURES, NULL, meter->failures);
	exposition_add_count(exposition, TRANSACTION_MESSAGES, NULL, meter->messages);
	exposition_add_count(exposition, TRANSACTION_CHANGES, NULL, meter->changes);
	exposition_add_histogram(exposition, PROGRAMMING_SECONDS, &meter->programming);
	exposition_add_count(exposition, RESYNCS, NULL, meter->resyncs);
	if (realm->docker)
		exposition_add_count(exposition, DOCKER_UP, NULL, !realm->docker_error);
}

static void add_process(struct exposition *exposition)
{
	struct process_figures figures;

	process_read(&figures);
	exposition_add(exposition, CPU_SECONDS, NULL, figures.cpu_seconds);
	exposition_add_count(exposition, RESIDENT, NULL, figures.resident);
	exposition_add_count(exposition, VIRTUAL, NULL, figures.virtual);
	exposition_add_count(exposition, OPEN_FDS, NULL, figures.open_fds);
	exposition_add_count(exposition, MAX_FDS, NULL, figures.max_fds);
	exposition_add(exposition, START_TIME, NULL, figures.started);
}

/* Registries */

struct registries {
	struct exposition *exposition;
	const char **uris; /* told so far */
	size_t count, capacity;
};

/* One that is reached with different keys is several registries; the same labels twice would be an error. */
static void label_registry(struct registries *registries, const char *uri, struct text *labels)
{
	size_t same = 1;

	for (size_t i = 0; i < registries->count; i++)
		same += strcmp(registries->uris[i], uri) == 0;
	ARRAY_GROW(registries->uris, registries->count, registries->capacity);
	registries->uris[registries->count++] = uri;
	labels_add(labels, "registry", uri);
	if (same > 1) {
		char *number = xasprintf("%zu", same);

		labels_add(labels, "number", number);
		free(number);
	}
}

static void add_registry(void *context, const struct registry_status *status)
{
	struct registries *registries = context;
	struct exposition *exposition = registries->exposition;
	struct text labels = {0};
	uint64_t revision;

	label_registry(registries, status->uri, &labels);
	exposition_add_count(exposition, REGISTRY_UP, &labels, status->connected);
	exposition_add_count(exposition, REGISTRY_SERVICES, &labels, status->services);
	exposition_add_count(exposition, REGISTRY_SKIPPED, &labels, status->skipped);
	exposition_add_count(exposition, REGISTRY_ERRORS, &labels, status->errors);
	if (status->last_success_seconds >= 0)
		exposition_add(exposition, REGISTRY_SUCCESS_TIME, &labels,
			       (double)age_now_ms() / 1e3 - status->last_success_seconds);
	if (number_parse(status->revision, 0, UINT64_MAX, &revision) == 0)
		exposition_add_count(exposition, REGISTRY_REVISION, &labels, revision);
	text_clear(&labels);
}

static void add_registries(struct exposition *exposition, const struct realm *realm)
{
	struct registries registries = {.exposition = exposition};

	catalog_registries(realm->catalog, add_registry, &registries);
	free(registries.uris);
}

/* Links and endpoints */

static const char *reason_of(enum standing standing)
{
	switch (standing) {
	case STANDING_SERVING:
		return "serving";
	case STANDING_STANDBY:
		return "standby";
	case STANDING_DRAINING:
		return "weight";
	case STANDING_DOWN:
		return "checks";
	case STANDING_EJECTED:
		return "failures";
	case STANDING_WRONG_FAMILY:
		return "family";
	case STANDING_OWN_ADDRESS:
		return "own_address";
	}
	return "unknown";
}

static void add_state(struct exposition *exposition, size_t metric, struct text *labels, const char *state,
		      const char *reason)
{
	size_t length = labels->length;

	labels_add(labels, "state", state);
	if (reason)
		labels_add(labels, "reason", reason);
	exposition_add_count(exposition, metric, labels, 1);
	labels->length = length;
}

static void label_endpoint(struct text *labels, const char *id, const struct ip_port *at)
{
	char text[IP_PORT_TEXT];

	labels_add(labels, "endpoint", id);
	labels_add(labels, "address", ip_port_text(at, text));
}

static void add_check(struct exposition *exposition, const struct check_report *check, const struct text *labels)
{
	if (check->verdict == VERDICT_UP || check->verdict == VERDICT_DOWN)
		exposition_add_count(exposition, ENDPOINT_CHECK_UP, labels, check->verdict == VERDICT_UP);
	if (check->checked)
		exposition_add(exposition, ENDPOINT_CHECK_SECONDS, labels, check->took_us / 1e6);
}

static void add_ejection(struct exposition *exposition, const struct ejection *ejection, const struct text *labels)
{
	exposition_add_count(exposition, ENDPOINT_FAILURES, labels, ejection ? ejection->failures : 0);
	exposition_add_count(exposition, ENDPOINT_EJECTIONS, labels, ejection ? ejection->ejections : 0);
}

/* An endpoint that the kernel does not count yet has no sample: 0 would look as if it had begun anew. */
static void add_endpoint(struct exposition *exposition, const struct link_status *status, uint32_t index,
			 struct text *labels)
{
	const struct endpoint *endpoint = &status->endpoints->items[index];
	const struct endpoint_detail *detail = &status->details[index];
	size_t length = labels->length;

	label_endpoint(labels, endpoint->id, &endpoint->at);
	add_state(exposition, ENDPOINT_STATE, labels, status_endpoint_state(detail->by_itself),
		  reason_of(detail->by_itself));
	exposition_add(exposition, ENDPOINT_SHARE, labels,
		       status->slots ? (double)detail->slots / (double)status->slots : 0);
	if (detail->counted)
		exposition_add_count(exposition, ENDPOINT_CONNECTIONS, labels, detail->connections);
	if (status->live_known)
		exposition_add_count(exposition, ENDPOINT_OPEN, labels, detail->live);
	if (status->bytes_known)
		exposition_add_count(exposition, ENDPOINT_OPEN_BYTES, labels, detail->bytes);
	exposition_add_count(exposition, ENDPOINT_RETRIES, labels, detail->refusals);
	if (detail->checked)
		add_check(exposition, &detail->check, labels);
	if (status->conf->eject.failures)
		add_ejection(exposition, detail->ejection, labels);
	labels->length = length;
}

static void add_departed(struct exposition *exposition, const struct departed *departed, struct text *labels)
{
	size_t length = labels->length;

	label_endpoint(labels, departed->id, &departed->at);
	add_state(exposition, ENDPOINT_STATE, labels, "draining", "removed");
	exposition_add_count(exposition, ENDPOINT_OPEN, labels, departed->live);
	labels->length = length;
}

/* Who is not well serves only where nobody is. */
static bool is_all_down(const struct link_status *status)
{
	bool any = false;

	for (uint32_t i = 0; i < status->endpoints->count; i++) {
		const struct endpoint_detail *detail = &status->details[i];

		if (detail->standing == STANDING_SERVING)
			return detail->by_itself != STANDING_SERVING;
		any |= detail->standing == STANDING_DOWN || detail->standing == STANDING_EJECTED;
	}
	return any;
}

static void add_link_info(struct exposition *exposition, const struct link_conf *conf, struct text *labels)
{
	size_t length = labels->length;
	char text[LISTEN_TEXT];

	labels_add(labels, "listen", listen_text(&conf->listen, text));
	labels_add(labels, "service", conf->service);
	labels_add(labels, "registry", conf->registry);
	labels_add(labels, "balance", balance_name(conf->balance));
	exposition_add_count(exposition, LINK_INFO, labels, 1);
	labels->length = length;
}

static void add_link(void *context, const struct link_status *status)
{
	struct metrics *metrics = context;
	struct exposition *exposition = &metrics->exposition;
	struct text labels = {0};

	labels_add(&labels, "netns", metrics->netns);
	labels_add(&labels, "link", status->conf->name);
	add_link_info(exposition, status->conf, &labels);
	add_state(exposition, LINK_STATE, &labels, status_link_state(status), NULL);
	exposition_add_count(exposition, LINK_REFUSED, &labels, status->refused);
	exposition_add_count(exposition, LINK_ENDPOINTS, &labels, status->endpoints->count);
	exposition_add_count(exposition, LINK_SERVING, &labels, status->serving);
	exposition_add_count(exposition, LINK_ALL_DOWN, &labels, is_all_down(status));
	for (uint32_t i = 0; i < status->endpoints->count; i++)
		add_endpoint(exposition, status, i, &labels);
	for (size_t i = 0; i < status->n_departed; i++)
		add_departed(exposition, &status->departed[i], &labels);
	text_clear(&labels);
}

static void on_enter(void *context, struct ambassador *ambassador)
{
	struct metrics *metrics = context;
	struct text labels = {0};

	metrics->netns = ambassador_netns(ambassador);
	labels_add(&labels, "netns", metrics->netns);
	exposition_add_count(&metrics->exposition, NAMESPACE_UP, &labels,
			     ambassador_is_ready(ambassador) && !ambassador_error(ambassador));
	text_clear(&labels);
}

static void on_leave(void *context)
{
	(void)context;
}

/* The tour */

static void on_begin(void *context)
{
	struct metrics *metrics = context;

	metrics_clear(metrics);
	exposition_begin(&metrics->exposition, table, ARRAY_SIZE(table));
}

static void on_end(void *context)
{
	struct metrics *metrics = context;
	struct realm realm = metrics->realm(metrics->realm_context);

	add_daemon(&metrics->exposition, &realm);
	add_registries(&metrics->exposition, &realm);
	add_process(&metrics->exposition);
	exposition_end(&metrics->exposition, &metrics->text);
	if (metrics->done)
		metrics->done(metrics);
}

const struct visitor metrics_visitor = {
	.begin = on_begin,
	.enter = on_enter,
	.link = add_link,
	.leave = on_leave,
	.end = on_end,
};

void metrics_clear(struct metrics *metrics)
{
	if (metrics->exposition.metrics)
		exposition_end(&metrics->exposition, &metrics->text);
	scroll_clear(&metrics->text);
}
