/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes to one batch of netlink messages. The batch remembers which change each
 * message came from, so that an error of the kernel can be told as an error of an object.
 */
#ifndef NUNCIO_KERNEL_NFT_BATCH_H
#define NUNCIO_KERNEL_NFT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ruleset/diff.h"

struct nlmsghdr;

struct batch_message {
	size_t at;		    /* offset of its header */
	const struct change *first; /* the change that it carries, or the first of several elements */
};

struct batch {
	uint8_t *bytes;
	size_t used, capacity;
	size_t zeroed;	   /* bytes that were zeroed before their first use */
	uint32_t sequence; /* of the BATCH_BEGIN message; each message counts one up */
	uint32_t next_set_id;
	uint32_t table_flags;
	struct batch_message *messages; /* without begin and end */
	size_t n_messages, cap_messages;
};

/* generation 0: whatever the ruleset's generation is. table_flags: of a table that the batch creates or claims. */
void batch_begin(struct batch *batch, uint32_t sequence, uint32_t generation, uint32_t table_flags);
/* A message that gives the (existing) table the batch's flags. */
void batch_add_claim(struct batch *batch);
void batch_add_changes(struct batch *batch, const struct change *changes, size_t count);
/* Asks for an acknowledgement of the last message; with `apply`, puts BATCH_END, without which nothing is applied. */
void batch_end(struct batch *batch, bool apply);

/* The message with this sequence number; NULL for begin, end and strangers. */
const struct batch_message *batch_find(const struct batch *batch, uint32_t sequence);
/* Which change the kernel means by a byte offset into that message (0: unknown). */
const struct change *batch_locate(const struct batch *batch, const struct batch_message *message, uint32_t offset);

void batch_clear(struct batch *batch);

#endif
