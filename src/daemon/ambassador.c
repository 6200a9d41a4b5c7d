/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ambassador.h"

#include "base/hash.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/changelog.h"
#include "daemon/footprint.h"
#include "kernel/conntrack.h"
#include "kernel/net.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "ruleset/compile.h"
#include "ruleset/diff.h"
#include "ruleset/recover.h"

/* Links that are compiled together; bounds the memory of a cold start. */
#define LINKS_PER_ROUND 2048

/*
 * Changes in one transaction, groups kept whole; bounds its size and the kernel's time in it. Not too small either:
 * whenever a rule or a listen address is new, the kernel checks the whole table, which takes it about 2 us a link.
 */
#define CHANGES_PER_TRANSACTION 65536

/* How often a transaction is tried again without the links that the kernel refused. */
#define REFUSAL_TRIES 8

/* How often the kernel's table is read anew when an update finds it otherwise than expected. */
#define RESYNC_TRIES 5

#define RETRY_FIRST_MS 250
#define RETRY_LAST_MS 30000

#define LISTEN_KEY 24

struct link {
	const struct link_conf *conf;
	struct ambassador *ambassador;
	struct subscription subscription;
	uint8_t key[LISTEN_KEY]; /* the listen address, for the hash */
	struct link_plan plan;	 /* what the kernel holds; meaningful when installed */
	bool installed;
	bool removed; /* no longer configured: to be taken out of the kernel */
	bool dirty;
	bool configured; /* mark of ambassador_configure() */
	char *error;	 /* why the kernel does not have the last change */
	UT_hash_handle hh;
};

struct shards {
	uint16_t *used; /* [count] links in each */
	size_t count, capacity;
};

struct ambassador {
	uv_loop_t *loop;
	struct catalog *catalog;
	const struct ambassador_conf *conf;
	struct ambassador_options options;
	char *netns;
	int netns_fd;
	struct nft *nft;
	struct net *net;
	struct conntrack *conntrack;
	struct link *links;	    /* by listen */
	struct shards shards[2];    /* IPv4, IPv6 */
	struct footprint footprint; /* recorded in the table */
	bool resync;		    /* what the kernel holds is not known: read it */
	bool footprint_dirty;
	uint32_t n_dirty;
	bool announced_ready;
	bool just_read;	  /* what the kernel holds was read in this very reconciliation */
	bool backing_off; /* wait for the timer before anything is tried again */
	char *error;
	uint64_t retry_ms;
	uv_timer_t *retry;
	uv_poll_t *watch;
};

static void mark_dirty(struct link *link)
{
	if (!link->dirty) {
		link->dirty = true;
		link->ambassador->n_dirty++;
	}
}

static void mark_clean(struct link *link)
{
	if (link->dirty) {
		link->dirty = false;
		link->ambassador->n_dirty--;
	}
}

static void mark_all_dirty(struct ambassador *ambassador)
{
	for (struct link *link = ambassador->links; link; link = link->hh.next)
		mark_dirty(link);
}

static void replace_text(char **text, const char *next)
{
	char *copy = next ? xstrdup(next) : NULL;

	free(*text);
	*text = copy;
}

/* Trying again */

static void on_retry(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	ambassador->backing_off = false;
	/* The loop reconciles after every event, this one too. */
	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->error)
			mark_dirty(link);
	}
}

static void retry_later(struct ambassador *ambassador)
{
	ambassador->retry_ms = ambassador->retry_ms ? ambassador->retry_ms * 2 : RETRY_FIRST_MS;
	if (ambassador->retry_ms > RETRY_LAST_MS)
		ambassador->retry_ms = RETRY_LAST_MS;
	uv_timer_start(ambassador->retry, on_retry, ambassador->retry_ms, 0);
}

/* The same trouble is logged once, however often it is tried again. */
static void note_error(struct ambassador *ambassador, const char *text)
{
	if (!ambassador->error || strcmp(ambassador->error, text) != 0)
		log_error("%s%s%s", ambassador->netns, *ambassador->netns ? ": " : "", text);
	replace_text(&ambassador->error, text);
	ambassador->backing_off = true;
	retry_later(ambassador);
}

static void note_success(struct ambassador *ambassador)
{
	replace_text(&ambassador->error, NULL);
	if (!uv_is_active((uv_handle_t *)ambassador->retry)) /* else some link was refused */
		ambassador->retry_ms = 0;
}

/* Shards */

static struct shards *shards_of(struct ambassador *ambassador, const struct listen *listen)
{
	return &ambassador->shards[listen->at.addr.family == AF_INET6];
}

static void shard_take(struct shards *shards, uint16_t shard)
{
	while (shards->count <= shard) {
		ARRAY_GROW(shards->used, shards->count, shards->capacity);
		shards->used[shards->count++] = 0;
	}
	shards->used[shard]++;
}

static uint16_t shard_find(const struct shards *shards)
{
	for (size_t i = shards->count; i-- > 0;) { /* the last ones are the likeliest to have room */
		if (shards->used[i] < LINKS_PER_SHARD)
			return (uint16_t)i;
	}
	return (uint16_t)shards->count;
}

/* Links */

static void make_key(const struct listen *listen, uint8_t key[LISTEN_KEY])
{
	memset(key, 0, LISTEN_KEY);
	key[0] = listen->at.addr.family;
	key_put_listen(key + 1, listen);
}

static void on_service_changed(struct subscription *subscription)
{
	struct link *link = (struct link *)(void *)((char *)subscription - offsetof(struct link, subscription));

	mark_dirty(link);
}

static void free_link(struct ambassador *ambassador, struct link *link)
{
	mark_clean(link);
	catalog_unsubscribe(ambassador->catalog, &link->subscription);
	HASH_DEL(ambassador->links, link);
	if (link->installed)
		plan_clear(&link->plan);
	free(link->error);
	free(link);
}

static struct link *find_link(struct ambassador *ambassador, const struct listen *listen)
{
	uint8_t key[LISTEN_KEY];
	struct link *link;

	make_key(listen, key);
	HASH_FIND(hh, ambassador->links, key, LISTEN_KEY, link);
	return link;
}

static struct link *add_link(struct ambassador *ambassador, const struct listen *listen)
{
	struct link *link = xcalloc(1, sizeof(*link));

	link->ambassador = ambassador;
	link->subscription.changed = on_service_changed;
	make_key(listen, link->key);
	HASH_ADD(hh, ambassador->links, key, LISTEN_KEY, link);
	return link;
}

static bool same_service(const struct link_conf *a, const struct link_conf *b)
{
	return a && strcmp(a->service, b->service) == 0 && strcmp(a->registry, b->registry) == 0;
}

static int configure_link(struct ambassador *ambassador, const struct link_conf *conf, struct error *err)
{
	struct link *link = find_link(ambassador, &conf->listen);
	bool resubscribe;

	if (!link)
		link = add_link(ambassador, &conf->listen);
	resubscribe = link->removed || !same_service(link->conf, conf);
	link->conf = conf;
	link->removed = false;
	link->configured = true;
	mark_dirty(link);
	if (!resubscribe)
		return 0;
	catalog_unsubscribe(ambassador->catalog, &link->subscription);
	return catalog_subscribe(ambassador->catalog, conf->registry, conf->service, &link->subscription, err);
}

static void remove_link(struct ambassador *ambassador, struct link *link)
{
	link->removed = true;
	link->conf = NULL;
	catalog_unsubscribe(ambassador->catalog, &link->subscription);
	mark_dirty(link);
}

/* Links that are no longer configured: those that the kernel has go with the next reconciliation. */
static void remove_unconfigured(struct ambassador *ambassador)
{
	struct link *link, *next;

	HASH_ITER (hh, ambassador->links, link, next) {
		if (link->configured)
			continue;
		if (link->installed)
			remove_link(ambassador, link);
		else
			free_link(ambassador, link);
	}
}

int ambassador_configure(struct ambassador *ambassador, const struct ambassador_conf *conf, struct error *err)
{
	int code = 0;

	ambassador->conf = conf;
	for (struct link *link = ambassador->links; link; link = link->hh.next)
		link->configured = false;
	for (size_t i = 0; i < conf->n_links; i++) {
		struct error reason;
		int one = configure_link(ambassador, &conf->links[i], &reason);

		if (one < 0 && code == 0)
			code = fail(err, one, "%s: %s", conf->links[i].origin, reason.text);
	}
	remove_unconfigured(ambassador);
	ambassador->footprint_dirty = true;
	return code;
}

static uv_handle_t *new_handle(struct ambassador *ambassador, size_t size)
{
	uv_handle_t *handle = xcalloc(1, size);

	handle->data = ambassador;
	return handle;
}

struct ambassador *ambassador_new(uv_loop_t *loop, struct catalog *catalog, const struct ambassador_conf *conf,
				  struct ambassador_options options)
{
	struct ambassador *ambassador = xcalloc(1, sizeof(*ambassador));

	ambassador->loop = loop;
	ambassador->catalog = catalog;
	ambassador->conf = conf;
	ambassador->options = options;
	ambassador->netns = xstrdup(conf->netns ? conf->netns : "");
	ambassador->netns_fd = -1;
	ambassador->resync = true;
	ambassador->retry = (uv_timer_t *)(void *)new_handle(ambassador, sizeof(uv_timer_t));
	uv_timer_init(loop, ambassador->retry);
	return ambassador;
}

static void on_handle_closed(uv_handle_t *handle)
{
	free(handle);
}

static void close_sockets(struct ambassador *ambassador)
{
	if (ambassador->watch)
		uv_close((uv_handle_t *)ambassador->watch, on_handle_closed);
	ambassador->watch = NULL;
	nft_close(ambassador->nft);
	net_close(ambassador->net);
	conntrack_close(ambassador->conntrack);
	ambassador->nft = NULL;
	ambassador->net = NULL;
	ambassador->conntrack = NULL;
	if (ambassador->netns_fd >= 0)
		close(ambassador->netns_fd);
	ambassador->netns_fd = -1;
}

void ambassador_free(struct ambassador *ambassador)
{
	while (ambassador->links)
		free_link(ambassador, ambassador->links);
	close_sockets(ambassador);
	uv_close((uv_handle_t *)ambassador->retry, on_handle_closed);
	footprint_clear(&ambassador->footprint);
	free(ambassador->shards[0].used);
	free(ambassador->shards[1].used);
	free(ambassador->netns);
	free(ambassador->error);
	free(ambassador);
}

/* Opening */

struct opening {
	struct nft **nft;
	struct net **net;
	struct conntrack **conntrack;
	struct error *err;
};

static int open_sockets(void *context)
{
	struct opening *opening = context;
	int code = nft_open(opening->nft, opening->err);

	if (code == 0 && opening->net)
		code = net_open(opening->net, opening->err);
	if (code == 0 && opening->conntrack)
		code = conntrack_open(opening->conntrack, opening->err);
	return code;
}

static void on_namespace_changed(uv_poll_t *watch, int status, int events)
{
	struct ambassador *ambassador = watch->data;

	(void)events;
	net_watch_drain(ambassador->net);
	if (status == 0)
		ambassador->footprint_dirty = true;
}

int ambassador_open(struct ambassador *ambassador, struct error *err)
{
	struct opening opening = {&ambassador->nft, &ambassador->net, &ambassador->conntrack, err};
	int code;

	if (ambassador->nft)
		return 0;
	code = netns_open(ambassador->conf->netns, err);
	if (code < 0)
		return code;
	ambassador->netns_fd = code;
	code = netns_call(ambassador->netns_fd, open_sockets, &opening, err);
	if (code < 0) {
		close_sockets(ambassador);
		return fail_prefix(err, code, "network namespace %s", *ambassador->netns ? ambassador->netns : "(own)");
	}
	ambassador->watch = (uv_poll_t *)(void *)new_handle(ambassador, sizeof(uv_poll_t));
	uv_poll_init(ambassador->loop, ambassador->watch, net_watch_fd(ambassador->net));
	uv_poll_start(ambassador->watch, UV_READABLE, on_namespace_changed);
	ambassador->resync = true;
	return 0;
}

/*
 * A round: some links with what they had, what they are to have, and what became of it. A link's group in the
 * changes is its place in the round, behind GROUP_BASE.
 */
struct member {
	struct link *link;
	struct link_plan next;
	bool wanted;	     /* else it goes */
	const char *refusal; /* the kernel's reason; in the arena */
};

struct round {
	struct member *members;
	size_t count, capacity;
	struct ruleset have, want;
	struct changes changes;
	struct footprint footprint; /* to be recorded */
	struct arena refusals;
	struct changelog_sums sums;
};

static void round_clear(struct round *round)
{
	for (size_t i = 0; i < round->count; i++)
		plan_clear(&round->members[i].next);
	free(round->members);
	ruleset_clear(&round->have);
	ruleset_clear(&round->want);
	changes_clear(&round->changes);
	footprint_clear(&round->footprint);
	arena_free(&round->refusals);
}

static const struct endpoints *wanted_endpoints(const struct link *link)
{
	const struct endpoints *endpoints =
		link->subscription.service ? service_endpoints(link->subscription.service) : NULL;

	if (endpoints)
		return endpoints_ref(endpoints);
	return link->installed ? endpoints_ref(link->plan.endpoints) : endpoints_none();
}

/* A link whose registry has not answered yet goes on with what the kernel holds, slots and all. */
static void plan_member(struct ambassador *ambassador, struct member *member)
{
	struct link *link = member->link;
	const struct endpoints *endpoints;
	uint16_t shard;

	member->wanted = !link->removed;
	if (!member->wanted)
		return;
	shard = link->installed ? link->plan.shard : shard_find(shards_of(ambassador, &link->conf->listen));
	endpoints = wanted_endpoints(link);
	plan_next(link->installed ? &link->plan : NULL, link->conf, endpoints, shard, &member->next);
	endpoints_unref(endpoints);
	if (!link->installed)
		shard_take(shards_of(ambassador, &link->conf->listen), shard);
}

static void add_member(struct ambassador *ambassador, struct round *round, struct link *link)
{
	ARRAY_GROW(round->members, round->count, round->capacity);
	round->members[round->count] = (struct member){.link = link};
	plan_member(ambassador, &round->members[round->count++]);
}

/* A member that was not installed took a place in a shard when it was planned. */
static void give_up_member(struct ambassador *ambassador, struct member *member)
{
	if (member->wanted && !member->link->installed)
		shards_of(ambassador, &member->next.listen)->used[member->next.shard]--;
}

/* How many of the round's members come new into a shard, and how many leave it for good? */
static void count_moves(const struct round *round, uint8_t family, uint16_t shard, uint16_t *ret_new,
			uint16_t *ret_gone)
{
	*ret_new = *ret_gone = 0;
	for (size_t i = 0; i < round->count; i++) {
		const struct member *member = &round->members[i];
		const struct link_plan *plan = member->wanted ? &member->next : &member->link->plan;

		if (plan->listen.at.addr.family != family || plan->shard != shard)
			continue;
		*ret_new += member->wanted && !member->link->installed;
		*ret_gone += !member->wanted;
	}
}

static bool has_shard(const struct ruleset *ruleset, uint8_t family, uint16_t shard)
{
	for (size_t i = 0; i < ruleset->n_sets; i++) {
		if (ruleset->sets[i].family == family && ruleset->sets[i].shard == shard)
			return true;
	}
	return false;
}

/* A slot map is there as long as it serves a link. */
static void compile_member_shard(struct ambassador *ambassador, struct round *round, const struct link_plan *plan)
{
	uint8_t family = plan->listen.at.addr.family;
	uint16_t used = shards_of(ambassador, &plan->listen)->used[plan->shard], new, gone;

	if (has_shard(&round->have, family, plan->shard) || has_shard(&round->want, family, plan->shard))
		return;
	count_moves(round, family, plan->shard, &new, &gone);
	if (used > new)
		compile_shard(family, plan->shard, &round->have);
	if (used > gone)
		compile_shard(family, plan->shard, &round->want);
}

/* Have and want of a round that knows what the kernel holds: only its members and the shards that they touch. */
static void compile_members(struct ambassador *ambassador, struct round *round)
{
	round->have.table = round->want.table = true;
	for (size_t i = 0; i < round->count; i++) {
		struct member *member = &round->members[i];
		uint32_t group = GROUP_BASE + 1 + (uint32_t)i;

		if (member->link->installed)
			compile_link(&member->link->plan, group, &round->have);
		if (member->wanted)
			compile_link(&member->next, group, &round->want);
		compile_member_shard(ambassador, round, member->wanted ? &member->next : &member->link->plan);
	}
}

/* Takes from a transaction that the kernel refused the links that it named. Returns whether that leaves less. */
static bool drop_refused(struct round *round, const struct nft_report *report)
{
	bool dropped = false;

	for (uint32_t i = 0; i < report->n_refusals; i++) {
		const struct nft_refusal *refusal = &report->refusals[i];
		struct member *member;

		if (refusal->group == GROUP_BASE || refusal->group > round->count)
			return false;
		member = &round->members[refusal->group - GROUP_BASE - 1];
		if (!member->refusal) {
			member->refusal = arena_strdup(&round->refusals, refusal->text);
			dropped = true;
		}
	}
	return dropped;
}

static bool is_refused(const struct round *round, const struct change *change)
{
	return change->group != GROUP_BASE && change->group <= round->count &&
	       round->members[change->group - GROUP_BASE - 1].refusal;
}

static size_t keep_accepted(const struct round *round, struct change *changes, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (!is_refused(round, &changes[i]))
			changes[kept++] = changes[i];
	}
	return kept;
}

/* Errors that say: the kernel does not hold what we believe. */
static bool is_out_of_sync(int code)
{
	return code == -ERESTART || code == -ENOBUFS || code == -ENOENT || code == -EEXIST;
}

static int send_transaction(struct ambassador *ambassador, struct round *round, struct change *changes, size_t count,
			    struct nft_report *report)
{
	enum nft_mode mode = ambassador->options.dry_run ? NFT_DRY_RUN : NFT_COMMIT;
	int code = nft_commit(ambassador->nft, changes, count, mode, report);

	if (is_out_of_sync(code) && !ambassador->just_read)
		return code;
	for (int try = 0; code < 0 && try < REFUSAL_TRIES && drop_refused(round, report); try++) {
		count = keep_accepted(round, changes, count);
		if (!count)
			return 0;
		code = nft_commit(ambassador->nft, changes, count, mode, report);
	}
	if (code == 0)
		round->sums.messages += report->messages;
	return code;
}

/* The end of the transaction that begins at `from`: whole groups, until it is large enough. */
static size_t find_cut(const struct changes *changes, size_t from, size_t limit)
{
	size_t cut = from;

	while (cut < changes->count) {
		size_t next = cut;

		while (next < changes->count && changes->items[next].group == changes->items[cut].group)
			next++;
		if (cut > from && next - from > limit)
			break;
		cut = next;
	}
	return cut;
}

static void explain_failure(const struct ambassador *ambassador, int code, const struct nft_report *report,
			    struct error *err)
{
	uint32_t owner = nft_foreign_owner(ambassador->nft);

	if (owner)
		fail(err, code,
		     "the table inet " TABLE_NAME
		     " of this network namespace is owned by another process (netlink port %u, "
		     "usually its process id): one nuncio serves a namespace, stop the other one first",
		     owner);
	else
		fail(err, code, "the kernel refused an update: %s",
		     report->n_refusals ? report->refusals[0].text : strerror(-code));
}

static int send_changes(struct ambassador *ambassador, struct round *round, struct error *err)
{
	/* What a dry run refers to is never there: it has to be one transaction. */
	size_t limit = ambassador->options.dry_run ? SIZE_MAX : CHANGES_PER_TRANSACTION;
	struct nft_report *report = xcalloc(1, sizeof(*report));
	int code = 0;

	for (size_t from = 0, cut; code == 0 && from < round->changes.count; from = cut) {
		cut = find_cut(&round->changes, from, limit);
		code = send_transaction(ambassador, round, &round->changes.items[from], cut - from, report);
	}
	if (code == 0 && !round->changes.count && nft_wants_ownership(ambassador->nft))
		code = send_transaction(ambassador, round, NULL, 0, report);
	if (code < 0) {
		ambassador->resync = true;
		explain_failure(ambassador, code, report, err);
	}
	free(report);
	return code;
}

/* UDP flows to endpoints that a link had and has no more. */
static void collect_flows(const struct member *member, struct flows **flows, size_t *count, size_t *capacity)
{
	const struct link_plan *old = &member->link->plan;

	if (!member->link->installed || old->listen.protocol != IPPROTO_UDP || member->refusal)
		return;
	for (uint32_t i = 0; i < old->endpoints->count; i++) {
		const struct endpoint *endpoint = &old->endpoints->items[i];

		if (member->wanted && endpoints_find_address(member->next.endpoints, &endpoint->at))
			continue;
		ARRAY_GROW(*flows, *count, *capacity);
		(*flows)[(*count)++] = (struct flows){old->listen, endpoint->at};
	}
}

static void end_flows(struct ambassador *ambassador, struct round *round)
{
	struct flows *flows = NULL;
	size_t count = 0, capacity = 0;
	uint32_t deleted;
	struct error err;

	for (size_t i = 0; i < round->count; i++)
		collect_flows(&round->members[i], &flows, &count, &capacity);
	if (count && conntrack_delete(ambassador->conntrack, flows, count, &deleted, &err) < 0)
		log_error("%s: UDP clients may stay on removed endpoints", err.text);
	else if (count)
		round->sums.flows = deleted;
	free(flows);
}

/* Makes a member's next plan the one in force, or notes why it is not. */
static void settle_member(struct ambassador *ambassador, struct member *member)
{
	struct link *link = member->link;

	mark_clean(link);
	if (member->refusal) {
		if (!link->error || strcmp(link->error, member->refusal) != 0)
			log_error("link %s: %s", member->wanted ? member->next.name : link->plan.name, member->refusal);
		replace_text(&link->error, member->refusal);
		give_up_member(ambassador, member);
		retry_later(ambassador);
		return;
	}
	replace_text(&link->error, NULL);
	if (link->installed) {
		if (!member->wanted)
			shards_of(ambassador, &link->plan.listen)->used[link->plan.shard]--;
		plan_clear(&link->plan);
	}
	link->installed = member->wanted;
	link->plan = member->next;
	member->next = (struct link_plan){0};
	if (!member->wanted)
		free_link(ambassador, link);
}

static void log_members(struct ambassador *ambassador, struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		const struct member *member = &round->members[i];
		const struct service *service = member->link->subscription.service;
		struct changelog_entry entry = {
			.netns = ambassador->netns,
			.old = member->link->installed ? &member->link->plan : NULL,
			.new = member->wanted ? &member->next : NULL,
			.adopted = ambassador->just_read,
			.revision = service ? service_revision(service) : "",
			.received = service ? service_received(service) : 0,
		};

		if (!member->refusal)
			changelog_link(&entry, &round->sums);
	}
}

/* Sends what was compiled, and makes it the state of things. */
static int carry_out(struct ambassador *ambassador, struct round *round, struct error *err)
{
	int code;

	ruleset_diff(&round->have, &round->want, &round->changes);
	round->sums.changes += round->changes.count;
	if (ambassador->options.dry_run)
		changelog_print_changes(ambassador->netns, &round->changes);
	code = send_changes(ambassador, round, err);
	if (code < 0) {
		for (size_t i = 0; i < round->count; i++)
			give_up_member(ambassador, &round->members[i]);
		return code;
	}
	if (!ambassador->options.dry_run) {
		end_flows(ambassador, round);
		log_members(ambassador, round);
	}
	for (size_t i = 0; i < round->count; i++)
		settle_member(ambassador, &round->members[i]);
	return 0;
}

/* Footprint */

static int plan_footprint(struct ambassador *ambassador, struct footprint *ret, struct error *err)
{
	struct listen *listens = xcalloc(HASH_COUNT(ambassador->links) + 1, sizeof(*listens));
	size_t count = 0;
	int code;

	for (const struct link *link = ambassador->links; link; link = link->hh.next) {
		if (!link->removed)
			listens[count++] = link->conf->listen;
	}
	code = footprint_next(ambassador->net, &ambassador->footprint, listens, count, ret, err);
	free(listens);
	return code;
}

/*
 * What comes to an end is undone before its record goes; what begins is recorded before it is done. So a crash at
 * any point leaves a record of everything that there is to undo.
 */
static int carry_out_footprint(struct ambassador *ambassador, struct round *round, struct error *err)
{
	bool apply = !ambassador->options.dry_run;
	int code = apply ? footprint_retire(ambassador->net, &ambassador->footprint, &round->footprint, err) : 0;

	if (code == 0)
		code = carry_out(ambassador, round, err);
	if (code == 0 && apply)
		code = footprint_establish(ambassador->net, &round->footprint, err);
	if (code < 0)
		return code;
	footprint_clear(&ambassador->footprint);
	ambassador->footprint = round->footprint;
	round->footprint = (struct footprint){0};
	ambassador->footprint_dirty = false;
	return 0;
}

static int reconcile_footprint(struct ambassador *ambassador, struct changelog_sums *sums, struct error *err)
{
	struct round round = {0};
	int code = plan_footprint(ambassador, &round.footprint, err);

	round.have.table = round.want.table = true;
	compile_namespace(&ambassador->footprint, &round.have);
	compile_namespace(&round.footprint, &round.want);
	if (code == 0)
		code = carry_out_footprint(ambassador, &round, err);
	changelog_add_sums(sums, &round.sums);
	round_clear(&round);
	return code;
}

/* Starting from what the kernel holds */

static void adopt_link(struct ambassador *ambassador, struct recovery *recovery, struct link *link)
{
	if (link->installed)
		plan_clear(&link->plan);
	link->installed = link->conf && recovery_plan(recovery, link->conf, &link->plan);
	if (link->installed)
		shard_take(shards_of(ambassador, &link->plan.listen), link->plan.shard);
}

static void adopt(struct ambassador *ambassador, const struct ruleset *kernel)
{
	struct recovery *recovery = recovery_new(kernel);

	ambassador->shards[0].count = ambassador->shards[1].count = 0;
	for (struct link *link = ambassador->links, *next; link; link = next) {
		next = link->hh.next;
		if (link->removed)
			free_link(ambassador, link); /* the comparison with the kernel finds what it left */
		else
			adopt_link(ambassador, recovery, link);
	}
	footprint_clear(&ambassador->footprint);
	ambassador->footprint = recovery_footprint(kernel);
	recovery_free(recovery);
}

static void compile_everything(struct ambassador *ambassador, struct round *round)
{
	compile_base(&round->want);
	compile_namespace(&round->footprint, &round->want);
	for (size_t family = 0; family < ARRAY_SIZE(ambassador->shards); family++) {
		for (size_t i = 0; i < ambassador->shards[family].count; i++) {
			if (ambassador->shards[family].used[i])
				compile_shard(family ? AF_INET6 : AF_INET, (uint16_t)i, &round->want);
		}
	}
	for (size_t i = 0; i < round->count; i++) {
		if (round->members[i].wanted)
			compile_link(&round->members[i].next, GROUP_BASE + 1 + (uint32_t)i, &round->want);
	}
}

/* Reads the table, takes over what is there, and sends the difference to what should be. */
static int resynchronise(struct ambassador *ambassador, struct changelog_sums *sums, struct error *err)
{
	struct round round = {0};
	int code = nft_read(ambassador->nft, &round.have, err);

	if (code < 0)
		return code;
	adopt(ambassador, &round.have);
	ambassador->just_read = true;
	sums->adopted = round.have.table;
	/* A cold start goes on in rounds, which bound its memory; all else is one comparison. */
	if (round.have.table || ambassador->options.dry_run) {
		for (struct link *link = ambassador->links; link; link = link->hh.next)
			add_member(ambassador, &round, link);
	} else {
		mark_all_dirty(ambassador);
	}
	code = plan_footprint(ambassador, &round.footprint, err);
	compile_everything(ambassador, &round);
	if (code == 0)
		code = carry_out_footprint(ambassador, &round, err);
	if (code == 0)
		ambassador->resync = false;
	changelog_add_sums(sums, &round.sums);
	round_clear(&round);
	return code;
}

/* The next links that are dirty, as a round. `cursor` goes on from round to round. */
static void gather(struct ambassador *ambassador, struct link **cursor, struct round *round)
{
	struct link *link = *cursor;

	for (; link && round->count < LINKS_PER_ROUND && round->count < ambassador->n_dirty; link = link->hh.next) {
		if (link->dirty)
			add_member(ambassador, round, link);
	}
	*cursor = link;
}

static int reconcile_links(struct ambassador *ambassador, struct changelog_sums *sums, struct error *err)
{
	struct link *cursor = ambassador->links;
	int code = 0;

	while (code == 0 && ambassador->n_dirty && cursor) {
		struct round round = {0};

		gather(ambassador, &cursor, &round);
		compile_members(ambassador, &round);
		code = carry_out(ambassador, &round, err);
		changelog_add_sums(sums, &round.sums);
		round_clear(&round);
	}
	return code;
}

static bool has_work(const struct ambassador *ambassador)
{
	return ambassador->resync || ambassador->n_dirty || ambassador->footprint_dirty;
}

static int bring_up_to_date(struct ambassador *ambassador, struct changelog_sums *sums, struct error *err)
{
	int code = ambassador_open(ambassador, err);

	if (code == 0 && ambassador->resync)
		code = resynchronise(ambassador, sums, err);
	if (code == 0)
		code = reconcile_links(ambassador, sums, err);
	if (code == 0 && ambassador->footprint_dirty)
		code = reconcile_footprint(ambassador, sums, err);
	return code;
}

void ambassador_reconcile(struct ambassador *ambassador)
{
	struct changelog_sums sums = {.started = uv_hrtime()};
	struct error err;
	int code = -ERESTART;

	if (!has_work(ambassador) || ambassador->backing_off)
		return;
	ambassador->just_read = false;
	for (int try = 0; is_out_of_sync(code) && try < RESYNC_TRIES; try++)
		code = bring_up_to_date(ambassador, &sums, &err);
	if (code < 0) {
		note_error(ambassador, err.text);
		return;
	}
	note_success(ambassador);
	if (!ambassador->announced_ready && !ambassador->options.dry_run) {
		struct ambassador_totals totals = ambassador_count(ambassador);

		changelog_ready(ambassador->netns, totals.links, totals.endpoints, &sums);
		ambassador->announced_ready = true;
	}
}

/* Looking at it */

const char *ambassador_netns(const struct ambassador *ambassador)
{
	return ambassador->netns;
}

const char *ambassador_error(const struct ambassador *ambassador)
{
	return ambassador->error;
}

struct ambassador_totals ambassador_count(const struct ambassador *ambassador)
{
	struct ambassador_totals totals = {0};

	for (const struct link *link = ambassador->links; link; link = link->hh.next) {
		const struct service *service = link->subscription.service;

		if (link->removed)
			continue;
		totals.links++;
		totals.failed_links += link->error != NULL;
		totals.unanswered_links += !service || !service_endpoints(service);
		if (link->installed) {
			totals.endpoints += link->plan.endpoints->count;
			totals.serving_links += link->plan.slots.count != 0;
		}
	}
	return totals;
}

/* Counters by (listen, endpoint), as the kernel's dump brings them. */
struct counter {
	uint8_t key[ELEM_KEY_MAX];
	uint64_t connections;
	UT_hash_handle hh;
};

struct counters {
	struct counter *by_key;
};

static void make_counter_key(const struct listen *listen, const struct ip_port *endpoint, uint8_t key[ELEM_KEY_MAX])
{
	size_t offset;

	memset(key, 0, ELEM_KEY_MAX);
	offset = key_put_listen(key, listen);
	field_put_addr(key, &offset, &endpoint->addr);
	field_put_port(key, &offset, endpoint->port);
}

static void on_counter(void *context, const struct listen *listen, const struct ip_port *endpoint, uint64_t connections)
{
	struct counter *counter = xcalloc(1, sizeof(*counter));
	struct counters *counters = context;

	make_counter_key(listen, endpoint, counter->key);
	counter->connections = connections;
	HASH_ADD(hh, counters->by_key, key, ELEM_KEY_MAX, counter);
}

static uint64_t find_counter(const struct counters *counters, const struct listen *listen,
			     const struct ip_port *endpoint)
{
	uint8_t key[ELEM_KEY_MAX];
	struct counter *counter;

	if (listen->at.addr.family != endpoint->addr.family)
		return 0;
	make_counter_key(listen, endpoint, key);
	HASH_FIND(hh, counters->by_key, key, ELEM_KEY_MAX, counter);
	return counter ? counter->connections : 0;
}

static void clear_counters(struct counters *counters)
{
	struct counter *counter, *next;

	HASH_ITER (hh, counters->by_key, counter, next) {
		HASH_DEL(counters->by_key, counter);
		free(counter);
	}
}

static void describe_link(const struct link *link, const struct counters *counters,
			  void (*each)(void *context, const struct link_status *status), void *context)
{
	const struct service *service = link->subscription.service;
	const struct endpoints *endpoints = link->installed ? endpoints_ref(link->plan.endpoints) : endpoints_none();
	enum standing *standing = xcalloc(endpoints->count + 1, sizeof(*standing));
	uint64_t *connections = xcalloc(endpoints->count + 1, sizeof(*connections));
	struct link_status status = {
		.conf = link->conf,
		.endpoints = endpoints,
		.standing = standing,
		.connections = connections,
		.slots = link->installed ? link->plan.slots.count : 0,
		.serving = plan_standing(endpoints, &link->conf->listen, standing),
		.stale = !service || service_error(service) || !service_endpoints(service),
		.error = link->error ? link->error
			 : service   ? service_error(service)
				     : NULL,
	};

	for (uint32_t i = 0; i < endpoints->count; i++)
		connections[i] = find_counter(counters, &link->conf->listen, &endpoints->items[i].at);
	each(context, &status);
	endpoints_unref(endpoints);
	free(standing);
	free(connections);
}

void ambassador_status(struct ambassador *ambassador, void (*each)(void *context, const struct link_status *status),
		       void *context)
{
	struct counters counters = {0};

	if (ambassador->nft) {
		nft_read_counters(ambassador->nft, AF_INET, on_counter, &counters);
		nft_read_counters(ambassador->nft, AF_INET6, on_counter, &counters);
	}
	for (size_t i = 0; i < ambassador->conf->n_links; i++) {
		const struct link *link = find_link(ambassador, &ambassador->conf->links[i].listen);

		if (link && link->conf)
			describe_link(link, &counters, each, context);
	}
	clear_counters(&counters);
}

/* Cleaning up */

/* Undoes what the table records, then removes the table. */
static int clean_namespace(struct nft *nft, struct net *net, struct error *err)
{
	struct ruleset kernel = {0};
	struct footprint recorded, nothing = {0};
	int code = nft_read(nft, &kernel, err);

	if (code < 0)
		return code;
	recorded = recovery_footprint(&kernel);
	if (nft_foreign_owner(nft))
		code = fail(err, -EPERM,
			    "the table inet " TABLE_NAME " is in use by a running nuncio (netlink port %u, usually its "
			    "process id): stop it first",
			    nft_foreign_owner(nft));
	else
		code = footprint_retire(net, &recorded, &nothing, err);
	if (code == 0 && kernel.table)
		code = nft_remove_table(nft, err);
	footprint_clear(&recorded);
	ruleset_clear(&kernel);
	return code;
}

int ambassador_cleanup(struct ambassador *ambassador, struct error *err)
{
	if (!ambassador->nft)
		return 0;
	return clean_namespace(ambassador->nft, ambassador->net, err);
}

int ambassador_cleanup_netns(const char *netns, struct error *err)
{
	struct nft *nft = NULL;
	struct net *net = NULL;
	struct opening opening = {&nft, &net, NULL, err};
	int fd = netns_open(netns, err), code;

	if (fd < 0)
		return fd;
	code = netns_call(fd, open_sockets, &opening, err);
	if (code == 0)
		code = clean_namespace(nft, net, err);
	net_close(net);
	nft_close(nft);
	close(fd);
	return code;
}
