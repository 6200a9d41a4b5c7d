/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/daemon.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <uv.h>

#include "agent/agent.h"
#include "base/event.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "daemon/ambassador.h"
#include "daemon/control.h"
#include "daemon/flows.h"
#include "daemon/keeper.h"
#include "daemon/meter.h"
#include "daemon/privileges.h"
#include "daemon/requests.h"
#include "daemon/site.h"
#include "daemon/state.h"
#include "daemon/supervision.h"
#include "daemon/verdict-keeper.h"

/* File descriptors that may be needed at a time. */
#define FILES_WANTED 65536

/* So many objects changed in the kernel leave half a megabyte behind, and take much longer than a look for it. */
#define CHANGES_TO_TRIM 10000

struct daemon {
	const struct daemon_options *options;
	uv_loop_t loop;
	uv_prepare_t before_sleep;
	uv_idle_t awake; /* while more is due than is done in a turn */
	uv_signal_t terminate, interrupt, hangup;
	struct config *config;
	struct catalog *catalog;
	struct ambassador **ambassadors;
	size_t n_ambassadors;
	struct control *control;
	struct site *site; /* NULL: nothing is shown */
	struct state *state;
	struct journal *journal;
	struct keeper *keeper;
	struct verdict_keeper *verdicts;
	struct supervision *supervision; /* NULL: nobody's */
	struct agent *agent;		 /* NULL: no containers are followed */
	struct meter meter;
	uint64_t trimmed; /* as many objects had been changed then, see give_memory_back() */
	bool untidy;	  /* much was freed */
	uint64_t edition; /* of ambassadors and links, counted up */
	size_t tended;	  /* the ambassador whose flows were looked at last, by its place */
	bool started;	  /* the first reconciliation is over */
	enum exit_code exit_code;
};

/* Start */

static struct ambassador *new_ambassador(struct daemon *daemon, const struct ambassador_conf *conf)
{
	struct ambassador_options options = {
		.meter = &daemon->meter,
		.overrides = state_overrides(daemon->state),
		.verdicts = daemon->verdicts,
		.dry_run = daemon->options->dry_run,
		.once = daemon->options->once,
		.share_table = daemon->options->share_table,
	};

	return ambassador_new(&daemon->loop, daemon->catalog, conf, options);
}

static int create_ambassadors(struct daemon *daemon, struct error *err)
{
	const struct config *config = daemon->config;
	int code = 0;

	daemon->ambassadors = xcalloc(config->n_ambassadors, sizeof(struct ambassador *));
	catalog_begin_with(daemon->catalog, daemon->keeper ? keeper_known : NULL, daemon->keeper);
	for (size_t i = 0; code == 0 && i < config->n_ambassadors; i++) {
		daemon->ambassadors[daemon->n_ambassadors++] = new_ambassador(daemon, &config->ambassadors[i]);
		code = ambassador_configure(daemon->ambassadors[i], &config->ambassadors[i], err);
	}
	catalog_begin_with(daemon->catalog, NULL, NULL);
	return code;
}

static struct realm realm_of(const struct daemon *daemon)
{
	return (struct realm){
		.ambassadors = daemon->ambassadors,
		.n_ambassadors = daemon->n_ambassadors,
		.catalog = daemon->catalog,
		.state = daemon->state,
		.meter = &daemon->meter,
		.edition = daemon->edition,
		.journal = daemon->journal,
		.docker = daemon->agent ? agent_uri(daemon->agent) : NULL,
		.docker_error = daemon->agent ? agent_error(daemon->agent) : NULL,
	};
}

static bool on_request(void *context, const struct cJSON *request, FILE *out)
{
	struct realm realm = realm_of(context);

	return requests_answer(&realm, request, out);
}

static void on_event(void *context, const struct journal_entry *entry)
{
	const struct daemon *daemon = context;

	if (daemon->control)
		control_publish(daemon->control, entry->json, requests_follows, entry);
}

/* A path that was asked for must be had; the default one is a convenience that a container may not have. */
static int open_control(struct daemon *daemon, struct error *err)
{
	const char *asked = daemon->options->control;
	int code;

	if (daemon->options->once || (asked && strcmp(asked, "none") == 0))
		return 0;
	code = control_open(&daemon->loop, asked ? asked : CONTROL_PATH, on_request, daemon, &daemon->control, err);
	if (code < 0 && !asked) {
		log_warning("%s; `nuncio status` will not reach this process", err->text);
		return 0;
	}
	return code;
}

static struct realm find_realm(void *context)
{
	return realm_of(context);
}

static int open_site(struct daemon *daemon, struct error *err)
{
	const char *address = daemon->config->metrics;

	if (daemon->options->once || !address)
		return 0;
	if (site_open(&daemon->loop, address, find_realm, daemon, &daemon->site, err) < 0)
		return fail_prefix(err, -EIO, "metrics");
	log_notice("metrics and status are shown at http://%s/", address);
	return 0;
}

/* Reload */

/* Of containers, only the namespace itself tells that it is the same: names change, and are used again. */
static bool is_same_namespace(const struct ambassador_conf *a, const struct ambassador_conf *b)
{
	if (a->netns_inode != b->netns_inode || !a->container != !b->container)
		return false;
	return a->netns_inode || strcmp(a->netns ? a->netns : "", b->netns ? b->netns : "") == 0;
}

static struct ambassador *take_ambassador(struct daemon *daemon, const struct ambassador_conf *conf)
{
	for (size_t i = 0; i < daemon->n_ambassadors; i++) {
		struct ambassador *ambassador = daemon->ambassadors[i];

		if (ambassador && is_same_namespace(ambassador_conf(ambassador), conf)) {
			daemon->ambassadors[i] = NULL;
			return ambassador;
		}
	}
	return NULL;
}

/* An ambassador that is no longer configured takes its rules with it: that was asked for. */
static void dismiss_ambassador(struct ambassador *ambassador)
{
	struct error err;

	if (ambassador_cleanup(ambassador, &err) < 0)
		log_error("%s", err.text);
	else if (ambassador_conf(ambassador)->container)
		event_say(LOG_LEVEL_INFO, CAUSE_CONTAINER, ambassador_netns(ambassador), NULL,
			  "gone, and its links with it");
	else
		log_notice("%s: its ambassador is gone, its table, addresses and settings removed",
			   *ambassador_netns(ambassador) ? ambassador_netns(ambassador) : "own network namespace");
	ambassador_free(ambassador);
}

static struct ambassador *keep_or_make(struct daemon *daemon, const struct ambassador_conf *conf)
{
	struct ambassador *ambassador = take_ambassador(daemon, conf);
	struct error err;

	if (ambassador && ambassador_conf(ambassador) == conf)
		return ambassador;
	if (!ambassador)
		ambassador = new_ambassador(daemon, conf);
	if (ambassador_configure(ambassador, conf, &err) < 0)
		log_error("%s", err.text);
	return ambassador;
}

/* What was set by hand stays for the links that there are; those of containers are not known before the engine answers.
 */
static void retain_state(struct daemon *daemon, bool save)
{
	struct ambassador_conf *all = xcalloc(daemon->n_ambassadors + 1, sizeof(*all));
	const struct config config = {.ambassadors = all, .n_ambassadors = daemon->n_ambassadors};

	for (size_t i = 0; i < daemon->n_ambassadors; i++) {
		all[i] = *ambassador_conf(daemon->ambassadors[i]);
		all[i].netns = (char *)(uintptr_t)ambassador_netns(daemon->ambassadors[i]);
	}
	if (!daemon->agent || agent_is_ready(daemon->agent))
		state_retain(daemon->state, &config, save);
	free(all);
}

/* The ambassadors of the configuration, and then those of containers. */
static void apply(struct daemon *daemon, const struct config *config)
{
	size_t n_containers = 0;
	const struct ambassador_conf *const *containers =
		daemon->agent ? agent_ambassadors(daemon->agent, &n_containers) : NULL;
	size_t count = config->n_ambassadors + n_containers;
	struct ambassador **next = xcalloc(count + 1, sizeof(struct ambassador *));

	for (size_t i = 0; i < count; i++)
		next[i] = keep_or_make(daemon, i < config->n_ambassadors ? &config->ambassadors[i]
									 : containers[i - config->n_ambassadors]);
	for (size_t i = 0; i < daemon->n_ambassadors; i++) {
		if (daemon->ambassadors[i])
			dismiss_ambassador(daemon->ambassadors[i]);
	}
	free(daemon->ambassadors);
	daemon->ambassadors = next;
	daemon->n_ambassadors = count;
	daemon->edition++;
	daemon->untidy = true;
	retain_state(daemon, true);
	if (daemon->agent)
		agent_settle(daemon->agent);
}

static void on_containers_changed(void *context)
{
	struct daemon *daemon = context;

	apply(daemon, daemon->config);
}

/* Another engine is another agent; what the former one said goes with it. */
static void configure_agent(struct daemon *daemon, const struct config *config)
{
	struct error err;

	if (daemon->agent && config->docker && strcmp(agent_uri(daemon->agent), config->docker) == 0) {
		agent_configure(daemon->agent, config);
		return;
	}
	daemon->agent = NULL;
	if (config->docker &&
	    agent_open(&daemon->loop, config, on_containers_changed, daemon, &daemon->agent, &err) < 0)
		log_error("%s", err.text);
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static void reconfigure(struct daemon *daemon, struct config *config)
{
	struct agent *former = daemon->agent;

	/* A port may take privileges that are gone by now. */
	if (!same_text(config->metrics, daemon->config->metrics))
		log_warning("reload: another address for metrics takes a restart");

	configure_agent(daemon, config);
	apply(daemon, config);
	/* Until now, ambassadors were about what these own. */
	if (former != daemon->agent)
		agent_close(former);
	config_free(daemon->config);
	daemon->config = config;
}

static void on_hangup(uv_signal_t *handle, int signal)
{
	struct daemon *daemon = handle->data;
	struct config *config;
	struct error err;

	(void)signal;
	supervision_reloading(daemon->supervision);
	if (config_load(&daemon->options->config, &config, &err) < 0) {
		event_say(LOG_LEVEL_ERROR, CAUSE_CONFIGURATION, NULL, NULL, "reload: %s; the old configuration stays",
			  err.text);
		daemon->meter.reload_failed = true;
		supervision_reload_failed(daemon->supervision, err.text);
		return;
	}
	reconfigure(daemon, config);
	daemon->meter.reload_failed = false;
	daemon->meter.reloaded = time(NULL);
	event_say(LOG_LEVEL_NOTICE, CAUSE_CONFIGURATION, NULL, NULL, "reload: the new configuration is in force");
}

/* Running */

static enum exit_code outcome_of_start(const struct daemon *daemon)
{
	size_t failed = 0;

	for (size_t i = 0; i < daemon->n_ambassadors; i++)
		failed += ambassador_error(daemon->ambassadors[i]) != NULL;
	if (!daemon->n_ambassadors && !daemon->agent)
		log_notice("ready: no links are configured yet");
	return failed && failed == daemon->n_ambassadors ? EXIT_KERNEL : EXIT_GOOD;
}

static enum exit_code outcome_of_once(const struct daemon *daemon)
{
	enum exit_code code = EXIT_GOOD;

	for (size_t i = 0; i < daemon->n_ambassadors; i++) {
		struct ambassador_totals totals = ambassador_count(daemon->ambassadors[i]);

		if (ambassador_error(daemon->ambassadors[i]) || totals.failed_links)
			return EXIT_KERNEL;
		if (totals.unanswered_links)
			code = EXIT_REGISTRY;
	}
	return code;
}

static uint32_t count_remembering(const struct daemon *daemon)
{
	uint32_t links = 0;

	for (size_t i = 0; i < daemon->n_ambassadors; i++)
		links += ambassador_count(daemon->ambassadors[i]).remembering_links;
	return links;
}

/* One that runs once, dry, or in vain may be there beside another one, whose file it is. */
static bool is_keeping(const struct daemon *daemon)
{
	return daemon->started && daemon->exit_code == EXIT_GOOD && !daemon->options->once && !daemon->options->dry_run;
}

/* A restart policy starts the sidecar again, in the namespace that its application has now. */
static void end_if_abandoned(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->n_ambassadors; i++) {
		if (!ambassador_is_abandoned(daemon->ambassadors[i]))
			continue;
		log_error("this network namespace has lost all its interfaces: the container that it is shared with "
			  "was stopped or started again, and has another one; ending, to be started again in that");
		daemon->exit_code = EXIT_KERNEL;
		uv_stop(&daemon->loop);
	}
}

/* malloc() keeps what was freed between what was not, of which thousands of links leave tens of megabytes. */
static void give_memory_back(struct daemon *daemon)
{
	if (!daemon->untidy && daemon->meter.changes - daemon->trimmed < CHANGES_TO_TRIM)
		return;
	daemon->trimmed = daemon->meter.changes;
	daemon->untidy = false;
	malloc_trim(0);
}

static void stay_awake(uv_idle_t *idle)
{
	(void)idle;
}

/* Whose flows are due, by its place. They take turns. */
static bool find_due(const struct daemon *daemon, size_t *ret)
{
	for (size_t i = 1; i <= daemon->n_ambassadors; i++) {
		*ret = (daemon->tended + i) % daemon->n_ambassadors;
		if (flows_are_due(daemon->ambassadors[*ret]))
			return true;
	}
	return false;
}

static bool tend_next(struct daemon *daemon)
{
	size_t at;

	if (!find_due(daemon, &at))
		return false;
	flows_tend(daemon->ambassadors[at]);
	daemon->tended = at;
	return true;
}

static void tend_all(struct daemon *daemon)
{
	while (tend_next(daemon))
		continue;
}

/*
 * Behind the updates of all ambassadors, and of one in a turn; else the update of a service that many have would come
 * to the last of them after the looks of all others.
 */
static void tend_flows(struct daemon *daemon)
{
	size_t at;

	tend_next(daemon);
	if (find_due(daemon, &at))
		uv_idle_start(&daemon->awake, stay_awake);
	else
		uv_idle_stop(&daemon->awake);
}

/* Once per turn of the loop, when all events of the turn have been seen: everything that they changed goes together. */
static void before_sleep(uv_prepare_t *handle)
{
	struct daemon *daemon = handle->data;
	struct realm realm = realm_of(daemon);

	/* Once is once: with all answers. */
	if (daemon->options->once && !daemon->started && catalog_is_waiting(daemon->catalog))
		return;
	for (size_t i = 0; i < daemon->n_ambassadors; i++)
		ambassador_reconcile(daemon->ambassadors[i]);
	tend_flows(daemon);
	end_if_abandoned(daemon);
	if (is_keeping(daemon)) {
		keeper_look(daemon->keeper, daemon->catalog);
		verdict_keeper_look(daemon->verdicts, daemon->ambassadors, daemon->n_ambassadors);
	}
	supervision_turn(daemon->supervision, &realm);
	give_memory_back(daemon);
	if (daemon->started)
		return;
	daemon->started = true;
	keeper_begun(daemon->keeper, count_remembering(daemon));
	daemon->exit_code = daemon->options->once ? outcome_of_once(daemon) : outcome_of_start(daemon);
	if (daemon->options->once || daemon->exit_code != EXIT_GOOD)
		uv_stop(&daemon->loop);
}

static void on_end(uv_signal_t *handle, int number)
{
	struct daemon *daemon = handle->data;

	supervision_stopping(daemon->supervision);
	log_notice("%s: ending; the rules %s", number == SIGINT ? "SIGINT" : "SIGTERM",
		   daemon->options->cleanup_on_exit ? "go" : "stay");
	uv_stop(&daemon->loop);
}

static void watch_signal(struct daemon *daemon, uv_signal_t *handle, uv_signal_cb callback, int number)
{
	uv_signal_init(&daemon->loop, handle);
	handle->data = daemon;
	uv_signal_start(handle, callback, number);
}

static void open_handles(struct daemon *daemon)
{
	uv_prepare_init(&daemon->loop, &daemon->before_sleep);
	daemon->before_sleep.data = daemon;
	uv_prepare_start(&daemon->before_sleep, before_sleep);
	uv_idle_init(&daemon->loop, &daemon->awake);
	watch_signal(daemon, &daemon->terminate, on_end, SIGTERM);
	watch_signal(daemon, &daemon->interrupt, on_end, SIGINT);
	watch_signal(daemon, &daemon->hangup, on_hangup, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
}

/*
 * The usual soft limit of 1024 is for programs that use select(), which we do not; checks of many endpoints in many
 * namespaces may need more at a time. A service manager may refuse this, and has a setting of its own.
 */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= FILES_WANTED)
		return;
	limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* End, in the reverse order of the start. */

static void clean_up_rules(struct daemon *daemon)
{
	struct error err;

	for (size_t i = 0; i < daemon->n_ambassadors; i++) {
		if (ambassador_cleanup(daemon->ambassadors[i], &err) < 0)
			log_error("%s", err.text);
	}
}

static void close_everything(struct daemon *daemon)
{
	journal_close(daemon->journal);
	control_close(daemon->control);
	site_close(daemon->site);
	keeper_close(daemon->keeper, is_keeping(daemon) ? daemon->catalog : NULL);
	verdict_keeper_close(daemon->verdicts, daemon->ambassadors, daemon->n_ambassadors, is_keeping(daemon));
	for (size_t i = 0; i < daemon->n_ambassadors; i++)
		ambassador_free(daemon->ambassadors[i]);
	free(daemon->ambassadors);
	agent_close(daemon->agent);
	catalog_free(daemon->catalog);
	supervision_close(daemon->supervision);
	uv_close((uv_handle_t *)&daemon->before_sleep, NULL);
	uv_close((uv_handle_t *)&daemon->awake, NULL);
	uv_close((uv_handle_t *)&daemon->terminate, NULL);
	uv_close((uv_handle_t *)&daemon->interrupt, NULL);
	uv_close((uv_handle_t *)&daemon->hangup, NULL);
	uv_run(&daemon->loop, UV_RUN_DEFAULT); /* the closing callbacks */
	keeper_free(daemon->keeper);
	verdict_keeper_free(daemon->verdicts);
	uv_loop_close(&daemon->loop);
	config_free(daemon->config);
	state_close(daemon->state);
}

enum exit_code daemon_run(struct config *config, const struct daemon_options *options)
{
	struct daemon daemon = {
		.options = options, .config = config, .edition = 1, .untidy = true, .meter = {.reloaded = time(NULL)}};
	struct error err;
	int code;

	raise_file_limit();
	uv_loop_init(&daemon.loop);
	open_handles(&daemon);
	daemon.catalog = catalog_new(&daemon.loop);
	daemon.journal = journal_open(on_event, &daemon);
	daemon.supervision = options->once ? NULL : supervision_open(&daemon.loop);
	daemon.state = state_open(options->state, options->dry_run);
	if (!config->docker)
		state_retain(daemon.state, config, false);
	daemon.keeper =
		keeper_open(&daemon.loop, state_path(daemon.state), state_was_asked(daemon.state), options->dry_run);
	daemon.verdicts = verdict_keeper_open(&daemon.loop, state_path(daemon.state), options->dry_run);
	code = open_control(&daemon, &err);
	if (code == 0)
		code = open_site(&daemon, &err);
	if (code < 0)
		daemon.exit_code = EXIT_FAILED;
	if (!options->once && !options->keep_privileges)
		privileges_drop();
	if (code == 0) {
		code = create_ambassadors(&daemon, &err);
		if (code == 0 && config->docker && !options->once)
			code = agent_open(&daemon.loop, config, on_containers_changed, &daemon, &daemon.agent, &err);
		if (code < 0)
			daemon.exit_code = EXIT_CONFIG;
	}
	if (code < 0)
		log_error("%s", err.text);
	else
		uv_run(&daemon.loop, UV_RUN_DEFAULT);
	tend_all(&daemon); /* once is one turn, and after the end nobody knows what was due */
	if (options->cleanup_on_exit && !options->dry_run)
		clean_up_rules(&daemon);
	close_everything(&daemon);
	return daemon.exit_code;
}
