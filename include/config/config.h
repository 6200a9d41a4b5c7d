/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the user asked for: command line, environment and configuration file, read, checked and merged into plain
 * data. Flags win over the environment, the environment over the file. Nothing here touches the kernel or a registry.
 */
#ifndef NUNCIO_CONFIG_CONFIG_H
#define NUNCIO_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "config/check.h"
#include "config/eject.h"
#include "discovery/registry.h"

enum balance { BALANCE_ROUNDROBIN, BALANCE_RANDOM, BALANCE_SOURCE, BALANCE_LEASTCONN };
enum masquerade { MASQUERADE_AUTO, MASQUERADE_ALWAYS, MASQUERADE_NEVER };
enum on_empty { ON_EMPTY_REJECT, ON_EMPTY_HOLD, ON_EMPTY_KEEP };

enum on_remove { ON_REMOVE_DRAIN, ON_REMOVE_RESET };
enum on_all_down { ON_ALL_DOWN_SERVE, ON_ALL_DOWN_EMPTY };

#define HOLD_FOR_DEFAULT_MS 10000
#define RETRY_DEFAULT_S 1
#define MIN_HEALTHY_DEFAULT 50
#define LOSS_HOLD_DEFAULT_MS 30000

const char *balance_name(enum balance balance);
const char *masquerade_name(enum masquerade masquerade);
const char *on_empty_name(enum on_empty on_empty);
const char *on_all_down_name(enum on_all_down on_all_down);

#define LINK_NAME_MAX 64     /* bytes, of [A-Za-z0-9._-] */
#define SERVICE_NAME_MAX 255 /* bytes, printable, no space */

/* A listen address: what the application connects to. Unique in its ambassador. */
struct listen {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	struct ip_port at;
};

struct link_conf {
	char *name; /* unique in its ambassador */
	struct listen listen;
	char *service;
	char *registry; /* URI; a relative path in file: is relative to the working directory, wherever it was said */
	const struct registry_conf *registry_conf; /* the same, with all that it takes to reach it */
	enum balance balance;
	enum masquerade masquerade;
	enum on_empty on_empty;
	uint32_t hold_for_ms;
	uint32_t retry_s;    /* 0 = false */
	uint32_t affinity_s; /* 0 = off */
	enum on_remove on_remove;
	uint32_t drain_for_ms; /* 0: for as long as they live */
	uint8_t min_healthy;   /* percent; 0: no answer is a mass loss */
	uint32_t loss_hold_ms;
	struct link_check check;
	enum on_all_down on_all_down;
	uint32_t slow_start_ms; /* 0: off */
	struct link_eject eject;
	char *origin; /* where it was said: "nuncio.json: links[2]", "--link 9000=web" */
};

struct ambassador_conf {
	char *netns;	      /* a name under /run/netns, a path, or "pid:N"; NULL = the daemon's own namespace */
	char *container;      /* whose labels the links are: a name, or several with ", " between; NULL = nobody's */
	uint64_t netns_inode; /* the namespace that is meant, whatever netns leads to later; 0 = what it leads to */
	struct link_conf *links;
	size_t n_links;
};

struct config_base;

struct config {
	struct ambassador_conf *ambassadors;
	size_t n_ambassadors;
	const char *docker;		/* URI of the engine whose containers' labels are followed; NULL = none */
	const char *metrics;		/* ADDR:PORT where they are shown; NULL = nowhere */
	const struct config_base *base; /* what links of labels start from, for config_read_labels() */
};

/* What the command line says of the configuration; the strings are borrowed from argv. */
struct config_args {
	const char *file;	  /* -c, or NULL */
	const char *registry;	  /* --registry: a URI or a name in the file's registries; or NULL */
	const char *netns;	  /* --netns, or NULL */
	const char *docker;	  /* --docker: as DOCKER_HOST, "" = the default; or NULL */
	const char *metrics;	  /* --metrics, or NULL */
	const char *const *links; /* --link, in order */
	size_t n_links;
};

/*
 * Reads and merges everything: args, then NUNCIO_REGISTRY, NUNCIO_LINKS and NUNCIO_METRICS, then the file. Returns 0
 * and a configuration to be freed by config_free(), or a negative errno with the place, the value and what is accepted:
 * -EINVAL wrong, -ENOTSUP a kind of registry that a later version will have, -ENOENT and others where the file cannot
 * be read.
 *
 * Links of flags and of the environment belong, like the top-level ones of the file, to the ambassador of --netns,
 * which comes first. A link replaces the one of a lower level on its listen address. A link without a name has its
 * service's; where that is taken SERVICE-PORT, for UDP SERVICE-PORT-udp; where that is taken too, the same with -2,
 * -3 and so on. Each ambassador that comes back has links; there is none at all only where the file says "links": [],
 * or where containers are followed.
 */
int config_load(const struct config_args *args, struct config **ret, struct error *err);
void config_free(struct config *config); /* NULL is fine */

/*
 * Only which registry: --registry, else NUNCIO_REGISTRY, else the file's "registry"; a URI, or a name in the file's
 * "registries". Errors as above; ret is for registry_clear().
 */
int config_load_registry(const struct config_args *args, struct registry_conf *ret, struct error *err);

/*
 * "LISTEN" in Docker's syntax, [ADDR:]PORT[/tcp|/udp]; ADDR defaults to 127.0.0.1, IPv6 goes in brackets. Returns 0, or
 * -EINVAL leaving *ret untouched; refused is also what NAT cannot serve, such as ::1 or an address that is not unicast.
 */
int listen_parse(const char *text, struct listen *ret, struct error *err);

/* Enough for listen_text(): "127.0.0.1:5432/tcp", "[fd00::1]:53/udp". */
#define LISTEN_TEXT (IP_PORT_TEXT + 4)
const char *listen_text(const struct listen *listen, char buffer[LISTEN_TEXT]);
bool listen_equal(const struct listen *a, const struct listen *b);

/* The link keys, for --help: one line each, "key  values (default)  meaning". */
void config_print_keys(void);
/* All keys, for the manual pages: one line each, "key", table, name, values, default or nothing, meaning; with tabs. */
void config_print_key_tables(void);

#endif
