/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/sockdiag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernel/netlink.h"

struct sockdiag {
	struct mnl_socket *socket;
};

int sockdiag_open(struct sockdiag **ret, struct error *err)
{
	struct mnl_socket *socket;
	int code = netlink_open(NETLINK_SOCK_DIAG, &socket, err);

	if (code < 0)
		return code;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->socket = socket;
	return 0;
}

void sockdiag_close(struct sockdiag *sockdiag)
{
	if (!sockdiag)
		return;
	mnl_socket_close(sockdiag->socket);
	free(sockdiag);
}

static struct inet_diag_req_v2 *put_request(void *buffer, uint16_t type, uint16_t flags, uint8_t family,
					    uint8_t protocol)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(header, sizeof(*request));

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	request->sdiag_family = family;
	request->sdiag_protocol = protocol;
	return request;
}

int sockdiag_destroy(struct sockdiag *sockdiag, const struct ip_port *local, const struct ip_port *remote)
{
	_Alignas(struct nlmsghdr) char buffer[128] = {0};
	struct inet_diag_req_v2 *request =
		put_request(buffer, SOCK_DESTROY, NLM_F_ACK, local->addr.family, IPPROTO_TCP);

	request->idiag_states = ~0u;
	request->id.idiag_sport = htons(local->port);
	request->id.idiag_dport = htons(remote->port);
	memcpy(request->id.idiag_src, local->addr.bytes, ip_addr_size(&local->addr));
	memcpy(request->id.idiag_dst, remote->addr.bytes, ip_addr_size(&remote->addr));
	request->id.idiag_cookie[0] = request->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	return netlink_request(sockdiag->socket, (struct nlmsghdr *)buffer, NULL, NULL);
}

/* Listing */

struct listing {
	void (*each)(void *context, const struct socket_info *socket);
	void *context;
};

static struct ip_port read_address(uint8_t family, const __be32 words[4], __be16 port)
{
	struct ip_port at = {.addr.family = family, .port = ntohs(port)};
	bool mapped = family == AF_INET6 && !words[0] && !words[1] && words[2] == htonl(0xffff);

	if (mapped)
		at.addr.family = AF_INET;
	memcpy(at.addr.bytes, mapped ? words + 3 : words, ip_addr_size(&at.addr));
	return at;
}

static int on_socket(const struct nlmsghdr *header, void *context)
{
	const struct inet_diag_msg *message = mnl_nlmsg_get_payload(header);
	const struct listing *listing = context;
	struct socket_info socket;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*message))
		return MNL_CB_OK;
	socket.local = read_address(message->idiag_family, message->id.idiag_src, message->id.idiag_sport);
	socket.remote = read_address(message->idiag_family, message->id.idiag_dst, message->id.idiag_dport);
	socket.inode = message->idiag_inode;
	if (socket.inode) /* else its process has closed it already */
		listing->each(listing->context, &socket);
	return MNL_CB_OK;
}

static int list_family(struct sockdiag *sockdiag, uint8_t family, uint8_t protocol, struct listing *listing)
{
	_Alignas(struct nlmsghdr) char buffer[128] = {0};
	struct inet_diag_req_v2 *request = put_request(buffer, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family, protocol);

	request->idiag_states = protocol == IPPROTO_TCP ? ~(1u << TCP_LISTEN) : ~0u;
	return netlink_request(sockdiag->socket, (struct nlmsghdr *)buffer, on_socket, listing);
}

int sockdiag_list(struct sockdiag *sockdiag, uint8_t protocol,
		  void (*each)(void *context, const struct socket_info *socket), void *context, struct error *err)
{
	struct listing listing = {.each = each, .context = context};
	int code = list_family(sockdiag, AF_INET, protocol, &listing);

	if (code == 0)
		code = list_family(sockdiag, AF_INET6, protocol, &listing);
	/* A kernel without such sockets, or without telling about them (CONFIG_INET_UDP_DIAG), has none to show. */
	if (code < 0 && code != -ENOENT)
		return fail(err, code, "cannot list the sockets of the namespace: %s", strerror(-code));
	return 0;
}
