/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ruleset/ruleset.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is fixed for a type of set. Keys and data are sequences of fields, each padded to 4 bytes. */
static const struct set_shape {
	const char *name; /* the family's digit, then for slots the shard, follow where it has them */
	bool by_family;
	bool keyed_by_listen;
	uint8_t key_words; /* 4-byte words of the key besides addresses */
	uint8_t key_addresses;
	uint8_t data_words;
	uint8_t data_addresses;
} shapes[SET_TYPES] = {
	[SET_PROTOCOLS] = {"__set", false, false, 1, 0, 0, 0},
	[SET_REFUSERS] = {"__set", false, false, 1, 0, 0, 0},
	[SET_LOCALNET] = {"localnet", false, false, 4, 0, 0, 0},
	[SET_ADDRESSES] = {"addresses", true, false, 0, 1, 0, 0},
	[SET_SERVICES] = {"services", true, true, 2, 1, 0, 0},
	[SET_LINKS] = {"links", true, true, 2, 1, 0, 0},
	[SET_ALWAYS] = {"always", true, true, 2, 1, 0, 0},
	[SET_NEVER] = {"never", true, true, 2, 1, 0, 0},
	[SET_POLICIES] = {"policies", true, true, 2, 1, 0, 0},
	[SET_NORETRY] = {"noretry", true, true, 2, 1, 0, 0},
	[SET_EJECT] = {"eject", true, true, 2, 1, 0, 0},
	[SET_SLOTS] = {"slots", true, true, 3, 1, 1, 1},
	[SET_ENDPOINTS] = {"endpoints", true, true, 3, 2, 0, 0},
	[SET_FORMER_ENDPOINTS] = {"endpoints", true, true, 3, 2, 0, 0},
	[SET_AFFINITY] = {"affinity", true, false, 0, 1, 1, 1},
	[SET_TRYING] = {"trying", true, false, 2, 1, 0, 0},
	[SET_RETRYING] = {"retrying", true, false, 2, 1, 0, 0},
	[SET_TRIED] = {"tried", true, false, 2, 1, 0, 0},
	[SET_REFUSALS] = {"refusals", true, true, 3, 2, 0, 0},
	[SET_FAILED] = {"failed", true, true, 3, 2, 0, 0},
	[SET_ATTEMPTS] = {"attempts", true, false, 2, 1, 1, 1},
};

static size_t address_size(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

static char family_digit(uint8_t family)
{
	return family == AF_INET6 ? '6' : '4';
}

/* There are several, told apart by the shard. */
static bool is_numbered(uint8_t type)
{
	return type == SET_SLOTS || type == SET_ENDPOINTS || type == SET_AFFINITY;
}

bool set_is_anonymous(struct set_id set)
{
	return set.type == SET_PROTOCOLS || set.type == SET_REFUSERS;
}

bool set_is_map(struct set_id set)
{
	return set_has_verdicts(set) || set_data_size(set);
}

bool set_is_dynamic(struct set_id set)
{
	return set.type >= SET_AFFINITY;
}

bool set_has_verdicts(struct set_id set)
{
	return set.type == SET_SERVICES || set.type == SET_POLICIES;
}

bool set_jumps(struct set_id set)
{
	return set.type == SET_POLICIES;
}

bool set_has_listens(struct set_id set)
{
	return shapes[set.type].keyed_by_listen;
}

const char *set_name(struct set_id set, char buffer[SET_NAME_TEXT])
{
	const struct set_shape *shape = &shapes[set.type];

	if (is_numbered(set.type))
		snprintf(buffer, SET_NAME_TEXT, "%s%c-%u", shape->name, family_digit(set.family), set.shard);
	else if (set_is_anonymous(set))
		snprintf(buffer, SET_NAME_TEXT, "%s%%d", shape->name); /* the kernel puts the number */
	else if (shape->by_family)
		snprintf(buffer, SET_NAME_TEXT, "%s%c", shape->name, family_digit(set.family));
	else
		snprintf(buffer, SET_NAME_TEXT, "%s", shape->name);
	return buffer;
}

/* "4", "6", and behind it for numbered sets "-N". */
static bool parse_set_suffix(const char *suffix, uint8_t type, struct set_id *ret)
{
	uint64_t number = 0;

	if (suffix[0] != '4' && suffix[0] != '6')
		return false;
	if (is_numbered(type) ? suffix[1] != '-' || number_parse(suffix + 2, 0, UINT16_MAX, &number) < 0
			      : suffix[1] != '\0')
		return false;
	*ret = (struct set_id){type, suffix[0] == '4' ? AF_INET : AF_INET6, (uint16_t)number};
	return true;
}

bool set_from_name(const char *name, struct set_id *ret)
{
	for (uint8_t type = 0; type < SET_TYPES; type++) {
		size_t length = strlen(shapes[type].name);

		if (strncmp(name, shapes[type].name, length) != 0)
			continue;
		if (shapes[type].by_family ? parse_set_suffix(name + length, type, ret)
					   : set_is_anonymous((struct set_id){.type = type}) || !name[length]) {
			if (!shapes[type].by_family)
				*ret = (struct set_id){.type = type};
			return true;
		}
	}
	return false;
}

const char *count_name(uint8_t family, uint16_t number, char buffer[COUNT_NAME_TEXT])
{
	snprintf(buffer, COUNT_NAME_TEXT, "count%c-%u", family_digit(family), number);
	return buffer;
}

bool count_from_name(const char *name, uint8_t *ret_family, uint16_t *ret_number)
{
	struct set_id set;

	if (!text_begins(name, "count") || !parse_set_suffix(name + strlen("count"), SET_ENDPOINTS, &set))
		return false;
	*ret_family = set.family;
	*ret_number = set.shard;
	return true;
}

size_t set_key_size(struct set_id set)
{
	const struct set_shape *shape = &shapes[set.type];

	if (set_is_anonymous(set))
		return 1; /* alone, a field is not padded */
	return 4u * shape->key_words + shape->key_addresses * address_size(set.family);
}

size_t set_data_size(struct set_id set)
{
	const struct set_shape *shape = &shapes[set.type];

	return 4u * shape->data_words + shape->data_addresses * address_size(set.family);
}

const char *timeout_default_name(uint8_t family)
{
	return family == AF_INET6 ? "retry6" : "retry4";
}

/* What the client asked for, and the packet's own connection. */
#define LISTEN_WORDS "ct protocol . ct original $f daddr . ct original proto-dst"
#define ATTEMPT_WORDS "tcp sequence . $f saddr . tcp sport"
#define REFUSED_WORDS "tcp ackseq . ct original $f saddr . ct original proto-src"
#define REFUSERS_WORDS "meta l4proto { icmp, tcp, ipv6-icmp } "
#define UNTRIED_WORDS "ct direction reply ct status dnat / assured,dnat "
#define ENDPOINT_WORDS "ct reply $f saddr . ct reply proto-src"
#define LIMIT_WORDS(rate) "limit rate " TEXT_OF(rate) "/second burst " TEXT_OF(rate) " packets "
#define REPORT_WORDS "group " TEXT_OF(REPORT_GROUP) " snaplen " TEXT_OF(REPORT_SNAPLEN)

#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* The words of a rule; $f the keyword of its family ("ip", "ip6"), $n its digit, $l its loopback, $i its ICMP. */
static const char *const rule_words[RULE_FORMS] = {
	[RULE_FOREIGN] = "(a rule that nuncio did not write)",
	[RULE_DISPATCH] = "meta l4proto . $f daddr . th dport vmap @services$n",
	[RULE_LINKED] = "ct status dnat meta l4proto { tcp, udp } " LISTEN_WORDS " @links$n goto linked$n",
	[RULE_POLICY] = "meta l4proto { tcp, udp } " LISTEN_WORDS " vmap @policies$n",
	[RULE_LOOPBACK] = "$f saddr $l masquerade",
	[RULE_NEVER] = "meta l4proto { tcp, udp } " LISTEN_WORDS " @never$n accept",
	[RULE_AUTO] =
		"meta l4proto { tcp, udp } fib saddr type local"
		" ct protocol . $f saddr . ct original proto-dst != @links$n " LISTEN_WORDS " != @always$n accept",
	[RULE_MASQUERADE] = "masquerade",
	[RULE_GUARD] = "iifname != \"lo\" ip daddr 127.0.0.0/8 drop",
	[RULE_DROP] = "drop",
	[RULE_RESET] = "meta l4proto tcp reject with tcp reset",
	[RULE_REJECT] = "reject",
	[RULE_TRYING] = "update @trying$n { " ATTEMPT_WORDS " timeout " TEXT_OF(TRYING_S) "s }",
	[RULE_REFUSED] = "tcp flags rst,ack / fin,syn,rst,ack tcp sequence 0 " UNTRIED_WORDS "goto refusals",
	[RULE_UNREACHABLE] = "$i " UNTRIED_WORDS "ct protocol tcp goto refusals",
	[RULE_REFUSAL] = REFUSERS_WORDS LISTEN_WORDS " @links$n goto refused$n",
	[RULE_NORETRY] = REFUSERS_WORDS LISTEN_WORDS " @noretry$n accept",
	[RULE_NOT_TCP] = "meta l4proto != tcp goto dropped$n",
	[RULE_RETRYING] = REFUSED_WORDS " @retrying$n goto dropped$n",
	[RULE_TRIED] = REFUSED_WORDS " @tried$n accept",
	[RULE_NOTE_TRIED] = "add @tried$n { " REFUSED_WORDS " timeout " TEXT_OF(TRIED_S) "s }",
	[RULE_NOTE_RETRYING] = "add @retrying$n { " REFUSED_WORDS " timeout " TEXT_OF(RETRYING_S) "s } goto dropped$n",
	[RULE_COUNT_REFUSAL] = REFUSERS_WORDS "update @refusals$n { " LISTEN_WORDS " . " ENDPOINT_WORDS
					      " timeout " TEXT_OF(REFUSALS_S) "s }",
	[RULE_REPORT_REFUSAL] = REFUSERS_WORDS LISTEN_WORDS
	" @eject$n update @failed$n { " LISTEN_WORDS " . " ENDPOINT_WORDS
	" timeout " TEXT_OF(FAILED_S) "s } " LIMIT_WORDS(REPORT_REFUSALS_RATE) "log " REPORT_WORDS,
};

static const char *placeholder(char letter, uint8_t family)
{
	bool is6 = family == AF_INET6;

	switch (letter) {
	case 'f':
		return is6 ? "ip6" : "ip";
	case 'n':
		return is6 ? "6" : "4";
	case 'i':
		return is6 ? "icmpv6 type destination-unreachable"
			   : "icmp type destination-unreachable icmp code != frag-needed";
	default:
		return is6 ? "::1" : "127.0.0.0/8";
	}
}

static void expand(const char *words, uint8_t family, char buffer[RULE_TEXT])
{
	size_t used = 0;

	while (*words && used < RULE_TEXT) {
		int plain = (int)strcspn(words, "$");
		const char *rest = words + plain, *value = *rest ? placeholder(rest[1], family) : "";

		used += (size_t)snprintf(buffer + used, RULE_TEXT - used, "%.*s%s", plain, words, value);
		words = *rest ? rest + 2 : rest;
	}
}

/* What draws the number of a slot. */
static void print_draw(const struct rule *rule, char *buffer, size_t size)
{
	if (rule->balance == BALANCE_SOURCE)
		snprintf(buffer, size, "jhash %s saddr mod %u seed 0x%x offset %u", placeholder('f', rule->family),
			 rule->modulus, SOURCE_HASH_SEED, rule->offset);
	else
		snprintf(buffer, size, "numgen %s mod %u offset %u", rule->balance == BALANCE_RANDOM ? "random" : "inc",
			 rule->modulus, rule->offset);
}

/* Rules with parameters. */
const char *rule_text(const struct rule *rule, char buffer[RULE_TEXT])
{
	const char *keyword = placeholder('f', rule->family);
	char digit = family_digit(rule->family), draw[80], count[COUNT_NAME_TEXT];

	print_draw(rule, draw, sizeof(draw));
	if (rule->form == RULE_BALANCE)
		snprintf(buffer, RULE_TEXT, "dnat %s to meta l4proto . %s daddr . th dport . %s map @slots%c-%u",
			 keyword, keyword, draw, digit, rule->shard);
	else if (rule->form == RULE_ELSEWHERE)
		snprintf(buffer, RULE_TEXT,
			 "tcp sequence . %s saddr . tcp sport @trying%c"
			 " dnat %s to meta l4proto . %s daddr . th dport . numgen random mod %u offset %u map "
			 "@slots%c-%u",
			 keyword, digit, keyword, keyword, rule->modulus, rule->offset, digit, rule->shard);
	else if (rule->form == RULE_STICK_TCP || rule->form == RULE_STICK_UDP)
		snprintf(buffer, RULE_TEXT, "meta l4proto %s dnat %s to %s saddr map @affinity%c-%u",
			 rule->form == RULE_STICK_TCP ? "tcp" : "udp", keyword, keyword, digit, rule->shard);
	else if (rule->form == RULE_REMEMBER)
		snprintf(buffer, RULE_TEXT,
			 "meta l4proto { tcp, udp } update @affinity%c-%u"
			 " { ct original %s saddr timeout %us : %s daddr . th dport }",
			 digit, rule->shard, keyword, rule->seconds, keyword);
	else if (rule->form == RULE_FORGET)
		snprintf(buffer, RULE_TEXT,
			 "tcp sequence . %s saddr . tcp sport @trying%c"
			 " delete @affinity%c-%u { %s saddr : %s daddr . tcp dport }",
			 keyword, digit, digit, rule->shard, keyword, keyword);
	else if (rule->form == RULE_REPORT_UNANSWERED)
		snprintf(buffer, RULE_TEXT,
			 "tcp sequence . ct original %s saddr . ct original proto-src @attempts%c " LIMIT_WORDS(
				 REPORT_UNANSWERED_RATE) "log prefix \"%s\" " REPORT_WORDS,
			 keyword, digit, rule->link);
	else if (rule->form == RULE_NOTE_ATTEMPT)
		snprintf(buffer, RULE_TEXT,
			 "meta l4proto tcp " LIMIT_WORDS(NOTE_ATTEMPTS_RATE) "add @attempts%c"
									     " { tcp sequence . ct original %s saddr . "
									     "ct original proto-src timeout %ums"
									     " : %s daddr . tcp dport }",
			 digit, keyword, rule->ms, keyword);
	else if (rule->form == RULE_COUNT)
		snprintf(buffer, RULE_TEXT,
			 "meta l4proto { tcp, udp } ct protocol . ct original %s daddr . ct original proto-dst"
			 " . %s daddr . th dport @endpoints%c-%u",
			 keyword, keyword, digit, rule->shard);
	else if (rule->form == RULE_TO_COUNT)
		snprintf(buffer, RULE_TEXT, "goto %s", count_name(rule->family, rule->shard, count));
	else if (rule->form == RULE_TIMEOUT)
		snprintf(buffer, RULE_TEXT, "meta l4proto tcp ct timeout set \"%s\"", rule->timeout);
	else
		expand(rule_words[rule->form], rule->family, buffer);
	return buffer;
}

#define DEFINE_ADD(type, name, items, count, capacity) \
	struct type *ruleset_add_##name(struct ruleset *ruleset) \
	{ \
		ARRAY_GROW(ruleset->items, ruleset->count, ruleset->capacity); \
		memset(&ruleset->items[ruleset->count], 0, sizeof(ruleset->items[0])); \
		return &ruleset->items[ruleset->count++]; \
	}

DEFINE_ADD(timeout, timeout, timeouts, n_timeouts, cap_timeouts)
DEFINE_ADD(set_id, set, sets, n_sets, cap_sets)
DEFINE_ADD(chain, chain, chains, n_chains, cap_chains)
DEFINE_ADD(elem, elem, elems, n_elems, cap_elems)

void ruleset_reset(struct ruleset *ruleset)
{
	ruleset->table = ruleset->foreign_shape = false;
	ruleset->n_timeouts = ruleset->n_sets = ruleset->n_chains = ruleset->n_elems = 0;
	arena_free(&ruleset->strings);
}

void ruleset_clear(struct ruleset *ruleset)
{
	free(ruleset->timeouts);
	free(ruleset->sets);
	free(ruleset->chains);
	free(ruleset->elems);
	arena_free(&ruleset->strings);
	*ruleset = (struct ruleset){0};
}

void field_put_byte(uint8_t *bytes, size_t *offset, uint8_t value)
{
	bytes[*offset] = value;
	*offset += 4;
}

void field_put_u32(uint8_t *bytes, size_t *offset, uint32_t value)
{
	memcpy(bytes + *offset, &value, sizeof(value));
	*offset += 4;
}

void field_put_addr(uint8_t *bytes, size_t *offset, const struct ip_addr *addr)
{
	memcpy(bytes + *offset, addr->bytes, address_size(addr->family));
	*offset += address_size(addr->family);
}

void field_put_port(uint8_t *bytes, size_t *offset, uint16_t port)
{
	uint16_t value = htons(port);

	memcpy(bytes + *offset, &value, sizeof(value));
	*offset += 4;
}

uint32_t field_get_u32(const uint8_t *bytes, size_t *offset)
{
	uint32_t value;

	memcpy(&value, bytes + *offset, sizeof(value));
	*offset += 4;
	return value;
}

struct ip_port field_get_ip_port(const uint8_t *bytes, size_t *offset, uint8_t family)
{
	struct ip_port at = {.addr.family = family};
	uint16_t port;

	memcpy(at.addr.bytes, bytes + *offset, address_size(family));
	*offset += address_size(family);
	memcpy(&port, bytes + *offset, sizeof(port));
	at.port = ntohs(port);
	*offset += 4;
	return at;
}

size_t listen_key_size(uint8_t family)
{
	return 4 + address_size(family) + 4;
}

size_t key_put_listen(uint8_t *key, const struct listen *listen)
{
	size_t offset = 0;

	field_put_byte(key, &offset, listen->protocol);
	field_put_addr(key, &offset, &listen->at.addr);
	field_put_port(key, &offset, listen->at.port);
	return offset;
}

size_t key_put_endpoint(uint8_t key[ELEM_KEY_MAX], const struct listen *listen, const struct ip_port *endpoint)
{
	size_t offset;

	memset(key, 0, ELEM_KEY_MAX);
	offset = key_put_listen(key, listen);
	field_put_addr(key, &offset, &endpoint->addr);
	field_put_port(key, &offset, endpoint->port);
	return offset;
}

bool elem_listen(const struct elem *elem, struct listen *ret)
{
	size_t offset = 4;

	if (!set_has_listens(elem->set))
		return false;
	ret->protocol = elem->key[0];
	ret->at = field_get_ip_port(elem->key, &offset, elem->set.family);
	return true;
}

static int print_ip_port(char *buffer, size_t size, struct ip_port at)
{
	char text[IP_ADDR_TEXT];

	return snprintf(buffer, size, "%s . %u", ip_addr_text(&at.addr, text), at.port);
}

static void print_key(const struct elem *elem, char *buffer, size_t size)
{
	size_t offset, used;
	struct listen listen;
	char text[IP_ADDR_TEXT];

	if (!elem_listen(elem, &listen)) {
		struct ip_addr addr = {.family = elem->set.family};

		memcpy(addr.bytes, elem->key, address_size(addr.family));
		if (elem->set.type == SET_LOCALNET)
			snprintf(buffer, size, "\"%.16s\"", (const char *)elem->key);
		else
			snprintf(buffer, size, "%s", ip_addr_text(&addr, text));
		return;
	}
	used = (size_t)snprintf(buffer, size, "%s . ", listen.protocol == IPPROTO_UDP ? "udp" : "tcp");
	used += (size_t)print_ip_port(buffer + used, size - used, listen.at);
	offset = listen_key_size(elem->set.family);
	if (elem->set.type == SET_SLOTS) {
		snprintf(buffer + used, size - used, " . %u", field_get_u32(elem->key, &offset));
	} else if (elem->set.type == SET_ENDPOINTS) {
		used += (size_t)snprintf(buffer + used, size - used, " . ");
		print_ip_port(buffer + used, size - used, field_get_ip_port(elem->key, &offset, elem->set.family));
	}
}

const char *elem_text(const struct elem *elem, char buffer[ELEM_TEXT])
{
	char name[SET_NAME_TEXT], key[160], data[IP_PORT_TEXT] = "";
	const char *lead = "";
	size_t offset = 0;

	print_key(elem, key, sizeof(key));
	if (elem->chain) {
		lead = set_jumps(elem->set) ? " : jump " : " : goto ";
	} else if (elem->set.type == SET_SLOTS) {
		lead = " : ";
		print_ip_port(data, sizeof(data), field_get_ip_port(elem->data, &offset, elem->set.family));
	}
	snprintf(buffer, ELEM_TEXT, "%s { %s%s%s }", set_name(elem->set, name), key, lead,
		 elem->chain ? elem->chain : data);
	return buffer;
}
