/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Our table in one network namespace's nf_tables, over one netlink socket that stays open: opening and closing one
 * per change would cost more than the change. Every commit is one atomic transaction.
 *
 * Where the kernel can (6.9), the table is owned: nobody else may change it while this socket lives, and it stays
 * when the socket goes. Where it cannot, every commit names the generation of the ruleset that it is based on, and
 * -ERESTART tells the caller that somebody has changed something since.
 */
#ifndef NUNCIO_KERNEL_NFT_H
#define NUNCIO_KERNEL_NFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "ruleset/diff.h"
#include "ruleset/ruleset.h"

struct nft;

/*
 * In the calling thread's network namespace. Returns 0 or a negative errno with a sentence. With `own` false the table
 * is left open to everybody, as on a kernel that knows no ownership.
 */
int nft_open(bool own, struct nft **ret, struct error *err);
void nft_close(struct nft *nft); /* NULL is fine */

/* What the kernel holds of our table, read consistently. Returns 0, -EPERM, or -EAGAIN when the rules kept changing. */
int nft_read(struct nft *nft, struct ruleset *ret, struct error *err);

/* The netlink port, usually the process id, of another owner of our table as of the last nft_read(); 0 = none. */
uint32_t nft_foreign_owner(const struct nft *nft);

/* Must the next commit take ownership, although nothing else changes? */
bool nft_wants_ownership(const struct nft *nft);

/*
 * Where the table is not owned: begins to watch what others do to it, and returns a file descriptor that becomes
 * readable then; owned by `nft`. Returns -1 where that is not needed (the table is owned) or cannot be had.
 */
int nft_watch(struct nft *nft);

struct nft_intruder {
	uint32_t port; /* netlink port of who changed our table, usually the process id; 0: events were lost */
	char process[32];
};

/* Reads what made it readable. Did somebody else change our table? Then *ret says who did so last. */
bool nft_watch_drain(struct nft *nft, struct nft_intruder *ret);

#define NFT_REFUSALS_MAX 64

struct nft_refusal {
	uint32_t group;
	int error;		      /* negative errno */
	char text[CHANGE_TEXT + 192]; /* the object and the kernel's reason */
};

struct nft_report {
	uint32_t messages; /* sent, without the batch's begin and end */
	uint32_t bytes;
	uint32_t n_refusals;
	struct nft_refusal refusals[NFT_REFUSALS_MAX];
};

enum nft_mode { NFT_COMMIT, NFT_DRY_RUN };

/*
 * Sends changes [0, count) as one transaction, atomically: all or nothing. Returns 0; or a negative errno, the
 * kernel unchanged: report->refusals tells the objects that it refused. -ENOBUFS: the outcome could not be read, the
 * caller has to read the table again. NFT_DRY_RUN has the kernel check everything and apply nothing.
 */
int nft_commit(struct nft *nft, const struct change *changes, size_t count, enum nft_mode mode,
	       struct nft_report *report);

/* Removes the table, if it is there. -EPERM when a running process owns it. */
int nft_remove_table(struct nft *nft, struct error *err);

/* Appends the elements that a set has now. Returns 0 or a negative errno; -ENOENT: there is no such set. */
int nft_read_set(struct nft *nft, struct set_id set, struct ruleset *ret);

/*
 * Where a TCP connection attempt of a link that ejects went first, by its initial sequence number. Returns 0 or a
 * negative errno; -ENOENT: it was not noted, or that is over; -EALREADY: it comes again because it was refused.
 */
int nft_read_attempt(struct nft *nft, const struct ip_port *client, uint32_t sequence, struct ip_port *ret);

/* What was counted at an endpoint of a link. */
typedef void (*nft_counter_fn)(void *context, const struct listen *listen, const struct ip_port *endpoint,
			       uint64_t count);
/* Reads the counters of a set: SET_ENDPOINTS (new connections), SET_REFUSALS or SET_FAILED. Returns 0 or a negative
 * errno. */
int nft_read_counters(struct nft *nft, struct set_id set, nft_counter_fn counter, void *context);
/*
 * The same for some endpoints of one link; those that are not in the set are left out. It takes 2 us for each, while a
 * whole set takes the longer for each the more there are: the kernel begins each part of a listing from the start.
 */
int nft_get_counters(struct nft *nft, struct set_id set, const struct listen *listen, const struct ip_port *endpoints,
		     size_t count, nft_counter_fn counter, void *context);

#endif
