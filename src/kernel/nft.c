/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/netlink.h"
#include "kernel/nft-state.h"

/* Flags of a table, linux/netfilter/nf_tables.h; PERSIST is newer (6.9) than the headers that we build with. */
#define TABLE_OWNER 0x2u
#define TABLE_PERSIST 0x4u

/* A batch is one datagram: the send buffer bounds it. */
#define SEND_BUFFER (64 * 1024 * 1024)
#define RECEIVE_BUFFER (4 * 1024 * 1024)

/* A batch buffer larger than this is given back after use: a cold start must not cost memory for ever. */
#define BATCH_KEEP (256 * 1024)

static void set_buffer(struct mnl_socket *socket, int force, int plain, int bytes)
{
	int fd = mnl_socket_get_fd(socket);

	/* Without CAP_NET_ADMIN in the first user namespace only the system's limit can be had: then large
	 * updates fail with EMSGSIZE, and small ones work. */
	if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof(bytes));
}

int nft_open(bool own, struct nft **ret, struct error *err)
{
	struct nft *nft;
	struct mnl_socket *socket;
	int on = 1, code = netlink_open(NETLINK_NETFILTER, &socket, err);

	if (code < 0)
		return code;
	mnl_socket_setsockopt(socket, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &on, sizeof(on));
	set_buffer(socket, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER);
	set_buffer(socket, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER);
	nft = xcalloc(1, sizeof(*nft));
	nft->socket = socket;
	nft->ownership = own ? OWNERSHIP_UNTRIED : OWNERSHIP_UNSUPPORTED;
	code = netlink_open(NETLINK_NETFILTER, &nft->watch, err);
	if (code < 0) {
		nft_close(nft);
		return code;
	}
	*ret = nft;
	return 0;
}

void nft_close(struct nft *nft)
{
	if (!nft)
		return;
	if (nft->watch)
		mnl_socket_close(nft->watch);
	mnl_socket_close(nft->socket);
	batch_clear(&nft->batch);
	free(nft);
}

uint32_t nft_foreign_owner(const struct nft *nft)
{
	return nft->foreign_owner;
}

bool nft_wants_ownership(const struct nft *nft)
{
	return nft->ownership == OWNERSHIP_UNTRIED;
}

struct outcome {
	bool acknowledged;
	bool lost;	 /* an answer did not fit the socket's buffer */
	int error;	 /* the first */
	int table_error; /* of the message that creates or claims the table */
};

static const char *extended_text(const struct nlmsghdr *header, uint32_t *ret_offset)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);
	size_t skip = sizeof(*error);
	const struct nlattr *attr;
	const char *text = NULL;

	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(header->nlmsg_flags & NLM_F_CAPPED))
		skip += mnl_nlmsg_get_payload_len(header) > sizeof(*error) ? error->msg.nlmsg_len - sizeof(error->msg)
									   : 0;
	mnl_attr_for_each (attr, header, (unsigned int)skip) {
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
			text = mnl_attr_get_str(attr);
		else if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_OFFS)
			*ret_offset = mnl_attr_get_u32(attr);
	}
	return text;
}

static void note_refusal(const struct batch *batch, const struct nlmsghdr *header, int error, struct nft_report *report)
{
	const struct batch_message *message = batch_find(batch, header->nlmsg_seq);
	uint32_t offset = 0;
	const char *reason = extended_text(header, &offset);
	const struct change *change = message ? batch_locate(batch, message, offset) : NULL;
	struct nft_refusal *refusal = &report->refusals[report->n_refusals];
	char text[CHANGE_TEXT];

	if (report->n_refusals == NFT_REFUSALS_MAX)
		return;
	report->n_refusals++;
	refusal->error = error;
	refusal->group = change ? change->group : GROUP_BASE;
	snprintf(refusal->text, sizeof(refusal->text), "%s: %s%s%s",
		 change ? change_text(change, text) : "the transaction as a whole", strerror(-error),
		 reason ? ": " : "", reason ? reason : "");
}

static void take_answer(const struct nft *nft, const struct nlmsghdr *header, struct outcome *outcome,
			struct nft_report *report)
{
	const struct batch *batch = &nft->batch;
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);
	const struct batch_message *message = batch_find(batch, header->nlmsg_seq);

	if (header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq - batch->sequence > batch->n_messages + 1)
		return;
	if (!error->error) {
		outcome->acknowledged = true;
		return;
	}
	if (!outcome->error)
		outcome->error = error->error;
	if (message && message->first->kind == CHANGE_TABLE && message->first->add)
		outcome->table_error = error->error;
	note_refusal(batch, header, error->error, report);
}

/* sendto() returns when the kernel has carried the batch out, so all answers are there already. */
static void collect_answers(const struct nft *nft, struct outcome *outcome, struct nft_report *report)
{
	_Alignas(struct nlmsghdr) char buffer[65536];
	int fd = mnl_socket_get_fd(nft->socket);

	for (;;) {
		ssize_t received = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)buffer;
		int left = (int)received;

		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0 && errno == ENOBUFS) {
			outcome->lost = true;
			continue;
		}
		if (received <= 0)
			return;
		for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left))
			take_answer(nft, header, outcome, report);
	}
}

static int send_batch(struct nft *nft, struct outcome *outcome, struct nft_report *report)
{
	*outcome = (struct outcome){0};
	report->n_refusals = 0;
	report->messages = (uint32_t)nft->batch.n_messages;
	report->bytes = (uint32_t)nft->batch.used;
	while (mnl_socket_sendto(nft->socket, nft->batch.bytes, nft->batch.used) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	collect_answers(nft, outcome, report);
	if (outcome->error)
		return outcome->error;
	return outcome->acknowledged && !outcome->lost ? 0 : -ENOBUFS;
}

static void build_batch(struct nft *nft, const struct change *changes, size_t count, enum nft_mode mode)
{
	bool owned = nft->ownership == OWNERSHIP_OURS, creates = false;
	uint32_t flags = nft->ownership == OWNERSHIP_UNSUPPORTED ? 0 : TABLE_OWNER | TABLE_PERSIST;

	for (size_t i = 0; i < count && changes[i].group == GROUP_BASE; i++)
		creates |= changes[i].kind == CHANGE_TABLE;
	batch_begin(&nft->batch, nft->sequence, owned ? 0 : nft->generation, flags);
	if (nft_wants_ownership(nft) && !creates)
		batch_add_claim(&nft->batch);
	batch_add_changes(&nft->batch, changes, count);
	batch_end(&nft->batch, mode == NFT_COMMIT);
	nft->sequence += (uint32_t)nft->batch.n_messages + 2;
}

int nft_commit(struct nft *nft, const struct change *changes, size_t count, enum nft_mode mode,
	       struct nft_report *report)
{
	struct outcome outcome;
	int code;

	build_batch(nft, changes, count, mode);
	code = send_batch(nft, &outcome, report);
	if (nft_wants_ownership(nft) && (outcome.table_error == -EOPNOTSUPP || outcome.table_error == -EINVAL)) {
		nft->ownership = OWNERSHIP_UNSUPPORTED;
		build_batch(nft, changes, count, mode);
		code = nft->batch.n_messages ? send_batch(nft, &outcome, report) : 0;
	}
	if (code == 0 && mode == NFT_COMMIT) {
		if (nft_wants_ownership(nft))
			nft->ownership = OWNERSHIP_OURS;
		if (!++nft->generation)
			nft->generation = 1; /* as the kernel counts */
	}
	if (nft->batch.capacity > BATCH_KEEP)
		batch_clear(&nft->batch);
	return code;
}

int nft_remove_table(struct nft *nft, struct error *err)
{
	static const struct change removal = {.kind = CHANGE_TABLE, .group = GROUP_BASE};
	struct nft_report *report = xcalloc(1, sizeof(*report));
	struct outcome outcome;
	int code;

	batch_begin(&nft->batch, nft->sequence, 0, 0);
	batch_add_changes(&nft->batch, &removal, 1);
	batch_end(&nft->batch, true);
	nft->sequence += (uint32_t)nft->batch.n_messages + 2;
	code = send_batch(nft, &outcome, report);
	free(report);
	if (code == 0 || code == -ENOENT)
		return 0;
	if (code == -EPERM)
		return fail(err, code,
			    "not permitted to remove the table inet " TABLE_NAME
			    ": a running nuncio owns it, or CAP_NET_ADMIN is missing");
	return fail(err, code, "cannot remove the table inet " TABLE_NAME ": %s", strerror(-code));
}

/* Watching */

int nft_watch(struct nft *nft)
{
	int group = NFNLGRP_NFTABLES;

	if (nft->ownership != OWNERSHIP_UNSUPPORTED)
		return -1;
	set_buffer(nft->watch, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER);
	if (mnl_socket_setsockopt(nft->watch, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -1;
	return mnl_socket_get_fd(nft->watch);
}

static void read_intruder(const struct nlmsghdr *header, struct nft_intruder *ret)
{
	const struct nlattr *attr;

	*ret = (struct nft_intruder){.port = header->nlmsg_pid};
	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == NFTA_GEN_PROC_NAME)
			snprintf(ret->process, sizeof(ret->process), "%s", mnl_attr_get_str(attr));
	}
}

/* A transaction's events end with that of the new generation, which says whose it was. */
static bool take_event(struct nft *nft, const struct nlmsghdr *header, struct nft_intruder *ret)
{
	bool foreign;

	if ((header->nlmsg_type & 0xff) != NFT_MSG_NEWGEN) {
		nft->touched |= nft_is_ours(header, NFTA_TABLE_NAME); /* the table is attribute 1 of every object */
		return false;
	}
	foreign = nft->touched && header->nlmsg_pid != mnl_socket_get_portid(nft->socket);
	nft->touched = false;
	if (foreign)
		read_intruder(header, ret);
	return foreign;
}

bool nft_watch_drain(struct nft *nft, struct nft_intruder *ret)
{
	_Alignas(struct nlmsghdr) char buffer[65536];
	bool foreign = false;

	for (;;) {
		ssize_t received = recv(mnl_socket_get_fd(nft->watch), buffer, sizeof(buffer), MSG_DONTWAIT);
		const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)buffer;
		int left = (int)received;

		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0 && errno == ENOBUFS) {
			*ret = (struct nft_intruder){.port = 0};
			foreign = true;
			continue;
		}
		if (received <= 0)
			return foreign;
		for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left))
			foreign |= take_event(nft, header, ret);
	}
}
