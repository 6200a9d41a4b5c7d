/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files that make up kernel/nft.h share, and nobody else:
 *
 *   nft.c       the sockets, one transaction, what others do to the table
 *   nft-read.c  what the kernel holds: the table, elements, counters
 */
#ifndef NUNCIO_KERNEL_NFT_STATE_H
#define NUNCIO_KERNEL_NFT_STATE_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernel/nft-batch.h"

enum ownership { OWNERSHIP_UNTRIED, OWNERSHIP_OURS, OWNERSHIP_UNSUPPORTED };

struct nft {
	struct mnl_socket *socket;
	struct mnl_socket *watch;
	bool touched; /* our table is part of the transaction whose events are coming in */
	struct batch batch;
	uint32_t sequence;   /* of the next batch */
	uint32_t generation; /* of the ruleset as we know it */
	enum ownership ownership;
	uint32_t foreign_owner;
};

/* Is the message about an object of our table, whose name is in the attribute of this type? */
bool nft_is_ours(const struct nlmsghdr *header, uint16_t table_attr);

#endif
