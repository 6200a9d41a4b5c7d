/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/footprint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

void footprint_clear(struct footprint *footprint)
{
	free(footprint->interfaces);
	free(footprint->addresses);
	*footprint = (struct footprint){0};
}

static bool has_interface(const struct footprint *footprint, const char *name)
{
	for (size_t i = 0; i < footprint->n_interfaces; i++) {
		if (strcmp(footprint->interfaces[i], name) == 0)
			return true;
	}
	return false;
}

static bool has_address(const struct ip_addr *addresses, size_t count, const struct ip_addr *addr)
{
	for (size_t i = 0; i < count; i++) {
		if (ip_addr_equal(&addresses[i], addr))
			return true;
	}
	return false;
}

static bool needs_localnet(const struct listen *listens, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (listens[i].at.addr.family == AF_INET && ip_addr_is_loopback(&listens[i].at.addr))
			return true;
	}
	return false;
}

static int next_interfaces(struct net *net, const struct footprint *recorded, struct footprint *next, struct error *err)
{
	struct net_interface *interfaces;
	size_t count;
	int code = net_read_interfaces(net, &interfaces, &count, err);

	if (code < 0)
		return code;
	next->interfaces = xcalloc(count + 1, sizeof(*next->interfaces));
	for (size_t i = 0; i < count; i++) {
		const struct net_interface *interface = &interfaces[i];
		bool ours = has_interface(recorded, interface->name);

		if (interface->loopback || !interface->routed || (interface->route_localnet && !ours))
			continue;
		memcpy(next->interfaces[next->n_interfaces++], interface->name, sizeof(interface->name));
	}
	free(interfaces);
	return 0;
}

static int next_addresses(struct net *net, const struct footprint *recorded, const struct listen *listens,
			  size_t n_listens, struct footprint *next, struct error *err)
{
	struct ip_addr *present;
	size_t count;
	int code = net_read_addresses(net, &present, &count, err);

	if (code < 0)
		return code;
	next->addresses = xcalloc(n_listens + 1, sizeof(*next->addresses));
	for (size_t i = 0; i < n_listens; i++) {
		const struct ip_addr *addr = &listens[i].at.addr;
		bool ours = has_address(recorded->addresses, recorded->n_addresses, addr);

		if (ip_addr_is_loopback(addr) || has_address(next->addresses, next->n_addresses, addr) ||
		    (has_address(present, count, addr) && !ours))
			continue;
		next->addresses[next->n_addresses++] = *addr;
	}
	free(present);
	return 0;
}

int footprint_next(struct net *net, const struct footprint *recorded, const struct listen *listens, size_t n_listens,
		   struct footprint *ret, struct error *err)
{
	struct footprint next = {0};
	int code = next_addresses(net, recorded, listens, n_listens, &next, err);

	if (code == 0 && needs_localnet(listens, n_listens))
		code = next_interfaces(net, recorded, &next, err);
	if (code < 0) {
		footprint_clear(&next);
		return code;
	}
	*ret = next;
	return 0;
}

/* Keeps the first of several errors: one thing that cannot be done must not keep the others from being done. */
struct outcome {
	int code;
	struct error *err;
};

static void note(struct outcome *outcome, int code, const struct error *reason)
{
	if (code < 0 && outcome->code == 0)
		outcome->code = fail(outcome->err, code, "%s", reason->text);
}

/* Sets route_localnet on the named interfaces that have another value; one that is gone needs nothing. */
static void set_interfaces(struct net *net, const struct footprint *named, const struct footprint *except, bool on,
			   struct outcome *outcome)
{
	struct net_interface *interfaces = NULL;
	struct error reason;
	size_t count = 0;

	if (named->n_interfaces)
		note(outcome, net_read_interfaces(net, &interfaces, &count, &reason), &reason);
	for (size_t i = 0; i < count; i++) {
		const struct net_interface *interface = &interfaces[i];

		if (interface->route_localnet != on && has_interface(named, interface->name) &&
		    !(except && has_interface(except, interface->name)))
			note(outcome, net_set_route_localnet(net, interface, on, &reason), &reason);
	}
	free(interfaces);
}

int footprint_retire(struct net *net, const struct footprint *recorded, const struct footprint *next, struct error *err)
{
	struct outcome outcome = {.err = err};
	struct error reason;

	set_interfaces(net, recorded, next, false, &outcome);
	for (size_t i = 0; i < recorded->n_addresses; i++) {
		if (!has_address(next->addresses, next->n_addresses, &recorded->addresses[i]))
			note(&outcome, net_remove_address(net, &recorded->addresses[i], &reason), &reason);
	}
	return outcome.code;
}

int footprint_establish(struct net *net, const struct footprint *footprint, struct error *err)
{
	struct ip_addr *added = xcalloc(footprint->n_addresses + 1, sizeof(*added));
	struct outcome outcome = {.err = err};
	struct error reason;
	size_t n_added = 0;

	set_interfaces(net, footprint, NULL, true, &outcome);
	for (size_t i = 0; i < footprint->n_addresses; i++) {
		int code = net_add_address(net, &footprint->addresses[i], &reason);

		note(&outcome, code, &reason);
		if (code > 0)
			added[n_added++] = footprint->addresses[i];
	}
	note(&outcome, net_await_addresses(net, added, n_added, &reason), &reason);
	free(added);
	return outcome.code;
}
