/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Our nftables table as data: one representation with three uses. It is compiled from plans (compile.h), compared
 * with what the kernel holds (diff.h), and written to or read from netlink (kernel/nft.h). Plain and flat: a bag of
 * objects, each with an identity by which two bags are compared. doc/ruleset.md shows the table as a person sees it.
 */
#ifndef NUNCIO_RULESET_RULESET_H
#define NUNCIO_RULESET_RULESET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "config/config.h"

#define TABLE_NAME "nuncio"
#define TABLE_COMMENT "nuncio 3" /* the number changes with the shape of the table: another shape is replaced whole */

/* nft 1.0.6 reads comments of at most this many bytes. */
#define COMMENT_MAX 127

/* A group of objects that must be in one transaction, so that a large update may be sent in parts. */
#define GROUP_BASE 0u		       /* first: what others refer to */
#define GROUP_UNKNOWN (UINT32_MAX - 1) /* read from the kernel: the diff finds the group */
#define GROUP_LAST UINT32_MAX	       /* last: what nothing refers to any more */

enum set_type {
	SET_PROTOCOLS,	      /* anonymous: { tcp, udp } */
	SET_REFUSERS,	      /* anonymous: { icmp, tcp, ipv6-icmp }, what may refuse a TCP connection */
	SET_LOCALNET,	      /* interfaces whose route_localnet nuncio switched on */
	SET_ADDRESSES,	      /* addresses that nuncio put on lo */
	SET_SERVICES,	      /* listen -> chain of the link */
	SET_LINKS,	      /* the same listens: which connections are ours */
	SET_ALWAYS,	      /* listens with masquerade=always */
	SET_NEVER,	      /* listens with masquerade=never */
	SET_POLICIES,	      /* listen -> chain with what only this link has (its retry, its affinity), else countN */
	SET_NORETRY,	      /* listens with retry=false */
	SET_EJECT,	      /* listens of links that eject; there where some link does, like what goes with it */
	SET_SLOTS,	      /* (listen, slot) -> endpoint; one map serves a shard of links */
	SET_ENDPOINTS,	      /* (listen, endpoint) with a counter of new connections; one set serves several shards */
	SET_FORMER_ENDPOINTS, /* the same of all links, as tables before "nuncio 3" had it; only ever read */
	/* Filled by the kernel, see set_is_dynamic(): */
	SET_AFFINITY, /* client's address -> endpoint; one map for each link with affinity */
	/* Attempts are told apart by their initial sequence number, which the SYNs of one share; ports are soon used
	   again. */
	SET_TRYING,   /* connection attempts of links whose choice does not vary by itself */
	SET_RETRYING, /* refused connection attempts that are being retried */
	SET_TRIED,    /* the same, remembered beyond the end of the retrying */
	SET_REFUSALS, /* (listen, endpoint) with a counter of refusals that were kept from the client */
	SET_FAILED,   /* the same for links that eject: of all refusals */
	SET_ATTEMPTS, /* some of the connection attempts of links that eject -> endpoint */
};
#define SET_TYPES (SET_ATTEMPTS + 1)

struct set_id {
	uint8_t type;	/* enum set_type */
	uint8_t family; /* AF_INET, AF_INET6; 0 for SET_PROTOCOLS and SET_LOCALNET */
	uint16_t shard; /* SET_SLOTS; SET_ENDPOINTS, SET_AFFINITY: the number of the set */
};

#define SET_NAME_TEXT 24
const char *set_name(struct set_id set, char buffer[SET_NAME_TEXT]);
/* The reverse; false for a name that is not one of ours. Anonymous sets ("__set%d") are all SET_PROTOCOLS. */
bool set_from_name(const char *name, struct set_id *ret);

/* Is it made with its rule, and without a name of ours? */
bool set_is_anonymous(struct set_id set);
/* Do its keys have data, or verdicts? */
bool set_is_map(struct set_id set);
/* Are its elements made by rules? They come and go, and have a time limit. */
bool set_is_dynamic(struct set_id set);
/* Do its keys begin with a listen? */
bool set_has_listens(struct set_id set);
/* Does it lead to chains? */
bool set_has_verdicts(struct set_id set);
/* And do the rules go on behind these, so that it is a jump and not a goto? */
bool set_jumps(struct set_id set);

/* Bytes of a set's keys and data, each field padded to 4 as the kernel's registers are. */
size_t set_key_size(struct set_id set);
size_t set_data_size(struct set_id set); /* 0: no data, or a verdict */

/* How many elements a set that rules fill may have; a bound on what clients can make the kernel hold. */
#define DYNAMIC_SET_SIZE 65535

#define ELEM_KEY_MAX 44	 /* protocol, IPv6 address, port, IPv6 address, port */
#define ELEM_DATA_MAX 20 /* IPv6 address, port */

struct elem {
	struct set_id set;
	uint8_t key[ELEM_KEY_MAX]; /* zero behind its size, so that memcmp() compares */
	uint8_t data[ELEM_DATA_MAX];
	uint32_t group;
	const char *chain;   /* SET_SERVICES, SET_POLICIES: where it leads; else NULL */
	const char *comment; /* or NULL */
};

/* Every rule that we ever write. ruleset.c has their text, kernel/nft-rules.c their expressions. */
enum rule_form {
	RULE_FOREIGN,  /* read from the kernel, and not one of ours: differs from everything, itself too */
	RULE_DISPATCH, /* listen address -> chain of the link */
	RULE_LINKED,   /* connections of ours go to chain linkedN */
	RULE_TIMEOUT,  /* ct timeout policy: retryN, or that of a link */
	RULE_POLICY,   /* listen address -> what only this link has, and the count at its endpoints */
	RULE_COUNT,    /* count at the endpoint */
	RULE_TO_COUNT, /* on to the chain that does */
	RULE_LOOPBACK, /* a source address that leaves no host is masqueraded, whatever the link says */
	RULE_NEVER,    /* leave the source address as the link says */
	RULE_AUTO,     /* leave the source address where the reply comes back anyway */
	RULE_MASQUERADE,
	RULE_GUARD,   /* what route_localnet would let in */
	RULE_BALANCE, /* draw a slot, translate to its endpoint */
	RULE_DROP,    /* no endpoints, TCP: the SYN is kept back, and comes again; or a refusal */
	RULE_RESET,   /* no endpoints, TCP */
	RULE_REJECT,  /* no endpoints, anything else */
	/* Affinity, and how links whose choice does not vary by itself come to another endpoint: */
	RULE_STICK_TCP, /* translate to the endpoint that the client has */
	RULE_STICK_UDP,
	RULE_REMEMBER,	/* the client has this endpoint */
	RULE_TRYING,	/* remember the attempt */
	RULE_FORGET,	/* an attempt that comes again: the client no longer has an endpoint */
	RULE_ELSEWHERE, /* an attempt that comes again: draw at random */
	/* Connections that an endpoint refuses: */
	RULE_REFUSED,	    /* a TCP RST that answers a SYN */
	RULE_UNREACHABLE,   /* the same of routers and firewalls */
	RULE_REFUSAL,	    /* of one of our links */
	RULE_NORETRY,	    /* that does not want a retry */
	RULE_NOT_TCP,	    /* ICMP: it does not tell which attempt it is about */
	RULE_RETRYING,	    /* is being retried */
	RULE_TRIED,	    /* was retried for long enough */
	RULE_NOTE_TRIED,    /* is retried from now on */
	RULE_NOTE_RETRYING, /* is retried from now on, for so long */
	RULE_COUNT_REFUSAL,
	/* What the daemon is told of, for links that eject: */
	RULE_REPORT_REFUSAL,	/* counts it, and says that there is something to be read */
	RULE_REPORT_UNANSWERED, /* an attempt that comes again: its former endpoint has not answered */
	RULE_NOTE_ATTEMPT,	/* which is known of some of them */
};
#define RULE_FORMS (RULE_NOTE_ATTEMPT + 1)

/*
 * A refused connection attempt is retried for RETRYING_S, then its next refusal reaches the client. That was tried is
 * remembered for TRIED_S, longer than TCP waits between two SYNs by then. An attempt is remembered for TRYING_S.
 */
#define RETRYING_S 15
#define TRIED_S 45
#define TRYING_S 10
#define REFUSALS_S 86400 /* counters of refusals go after a day without any */

/*
 * Reports of failed connections go to this group of nfnetlink_log ("nu"), so many a second at most: of refusals for
 * all links together, of unanswered ones for each link. Of the attempts of a link so many a second are noted.
 */
#define REPORT_GROUP 28277
#define REPORT_SNAPLEN 80 /* up to TCP's sequence number behind any header of IP that we expect */
#define REPORT_REFUSALS_RATE 20
#define REPORT_UNANSWERED_RATE 50
#define NOTE_ATTEMPTS_RATE 200
#define FAILED_S 3600 /* counters of SET_FAILED go after so long without any */

/*
 * The seed of balance=source's hash, "nunc". It is the same everywhere, so that ambassadors agree about a client; and
 * not 0, as which a rule is shown whose seed the kernel has made up.
 */
#define SOURCE_HASH_SEED 0x6e756e63u

struct rule {
	uint8_t form;	 /* enum rule_form */
	uint8_t family;	 /* 0 where the form is the same for both */
	uint8_t balance; /* enum balance; RULE_BALANCE only */
	uint16_t shard;	 /* RULE_BALANCE, RULE_ELSEWHERE; the number of the map or set: RULE_STICK_*, RULE_REMEMBER,
			    RULE_FORGET, RULE_COUNT, RULE_TO_COUNT */
	uint32_t modulus, offset; /* RULE_BALANCE, RULE_ELSEWHERE */
	uint32_t seconds;	  /* RULE_REMEMBER: for how long */
	const char *timeout;	  /* RULE_TIMEOUT: the object's name */
	const char *link;	  /* RULE_REPORT_UNANSWERED: the link's name */
	uint32_t ms;		  /* RULE_NOTE_ATTEMPT: for how long */
};

/* The rule in nft's words; for people and messages. */
#define RULE_TEXT 448
const char *rule_text(const struct rule *rule, char buffer[RULE_TEXT]);

struct hook {
	const char *type; /* "nat", "filter" */
	uint32_t hook;	  /* NF_INET_* */
	int32_t priority;
};

#define CHAIN_RULES_MAX 7
#define CHAIN_NAME_PREFIX "link-"
#define POLICY_NAME_PREFIX "policy-"

/* The chain that counts with a set of SET_ENDPOINTS: "countN-NUMBER". */
#define COUNT_NAME_TEXT 16
const char *count_name(uint8_t family, uint16_t number, char buffer[COUNT_NAME_TEXT]);
/* The reverse; false for another name. */
bool count_from_name(const char *name, uint8_t *ret_family, uint16_t *ret_number);

struct chain {
	const char *name;
	bool hooked;
	struct hook hook;
	bool shared; /* by links: it may be there already, with rules, of a round whose first link was refused */
	uint32_t group;
	uint32_t n_rules;
	struct rule rules[CHAIN_RULES_MAX];
};

/* Conntrack's patience with TCP connections. */
struct timeout {
	const char *name; /* its identity; a link's own says its seconds, too, since an object cannot be changed */
	uint8_t family;
	uint32_t seconds; /* an unanswered SYN is forgotten after this; 0 = as the kernel does by default */
};

/* The one for links that have none of their own; theirs are "retry4-LINK-30s". */
const char *timeout_default_name(uint8_t family);

struct ruleset {
	bool table;	    /* the table itself is there */
	bool foreign_shape; /* read from the kernel: sets, chains or hooks that this version would not have made */
	struct timeout *timeouts;
	size_t n_timeouts, cap_timeouts;
	struct set_id *sets;
	size_t n_sets, cap_sets;
	struct chain *chains;
	size_t n_chains, cap_chains;
	struct elem *elems;
	size_t n_elems, cap_elems;
	struct arena strings; /* what the names and comments above point into */
};

/* Each appends an object, zeroed, for the caller to fill; the pointer is good until the next append. */
struct timeout *ruleset_add_timeout(struct ruleset *ruleset);
struct set_id *ruleset_add_set(struct ruleset *ruleset);
struct chain *ruleset_add_chain(struct ruleset *ruleset);
struct elem *ruleset_add_elem(struct ruleset *ruleset);

/* Frees everything and leaves an empty ruleset. */
void ruleset_clear(struct ruleset *ruleset);
/* Empties it but keeps its memory for the next use. */
void ruleset_reset(struct ruleset *ruleset);

/* Key and data building: each writes one padded field at *offset and moves it on. */
void field_put_byte(uint8_t *bytes, size_t *offset, uint8_t value);
void field_put_u32(uint8_t *bytes, size_t *offset, uint32_t value); /* host byte order, as numgen draws it */
void field_put_addr(uint8_t *bytes, size_t *offset, const struct ip_addr *addr);
void field_put_port(uint8_t *bytes, size_t *offset, uint16_t port);
/* And reading. The family is the set's. */
uint32_t field_get_u32(const uint8_t *bytes, size_t *offset);
struct ip_port field_get_ip_port(const uint8_t *bytes, size_t *offset, uint8_t family);

/* A listen as the leading fields of a key; returns their size. */
size_t key_put_listen(uint8_t *key, const struct listen *listen);
size_t listen_key_size(uint8_t family);
/* A listen and an endpoint of its family: the key of what is counted for both. Zeroed behind it, so that it is one for
 * a hash, too; returns its size. */
size_t key_put_endpoint(uint8_t key[ELEM_KEY_MAX], const struct listen *listen, const struct ip_port *endpoint);
/* Does this set's key begin with a listen? If so, reads it. */
bool elem_listen(const struct elem *elem, struct listen *ret);

#define ELEM_TEXT 320
/* "slots4-0 { tcp . 127.0.0.1 . 9000 . 2 : 10.0.0.1 . 80 }", for messages. */
const char *elem_text(const struct elem *elem, char buffer[ELEM_TEXT]);

#endif
