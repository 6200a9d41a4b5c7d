/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be done next so that etcd has a key under a lease of ours, or has it no more. Pure. */
#ifndef NUNCIO_ANNOUNCE_LEASE_H
#define NUNCIO_ANNOUNCE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

enum lease_step {
	LEASE_REST,   /* nothing, for now */
	LEASE_GRANT,  /* ask for a lease */
	LEASE_PUT,    /* put the key with it */
	LEASE_KEEP,   /* tell that we live */
	LEASE_LOOK,   /* is the key as we put it? */
	LEASE_REVOKE, /* end the lease, and the key with it */
};

/* How a step ended, where it did. */
enum lease_outcome {
	LEASE_DONE,
	LEASE_GONE,	 /* etcd does not know the lease (any more) */
	LEASE_DIFFERENT, /* of a look: the key is not there, or is not ours */
};

/* What etcd has, as far as is known. Zeroed: nothing, and nothing is wanted. */
struct lease {
	bool wanted;	 /* the key is to be there */
	int64_t id;	 /* 0 = none */
	bool put;	 /* the key was put with it */
	bool keep, look; /* it is time to */
};

enum lease_step lease_next(const struct lease *lease);

/* The id of a new lease is set by the caller. */
void lease_note(struct lease *lease, enum lease_step step, enum lease_outcome outcome);

#endif
