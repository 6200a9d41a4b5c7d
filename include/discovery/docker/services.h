/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which services a container offers, and where: labels to endpoints. Pure.
 *
 *	nuncio.service=NAME	an endpoint of NAME, whose id is the container's name
 *	nuncio.port=PORT	at this port; without it, at the only one that is exposed
 *	nuncio.weight=N		0 to 65535, 1 without it
 *
 * and registrator's (https://gliderlabs.github.io/registrator/latest/user/services/), for each exposed port:
 *
 *	SERVICE_NAME=NAME	an endpoint of NAME; of NAME-PORT where several ports are exposed
 *	SERVICE_80_NAME=NAME	of port 80, instead
 *	SERVICE_IGNORE, SERVICE_80_IGNORE	not empty: none
 *
 * Those that run count, unless they are paused or their HEALTHCHECK does not say that they are healthy.
 */
#ifndef NUNCIO_DISCOVERY_DOCKER_SERVICES_H
#define NUNCIO_DISCOVERY_DOCKER_SERVICES_H

#include "discovery/docker/messages.h"
#include "discovery/records.h"

/* The endpoints of one service, container by container, in the order of their ids. */
struct docker_view {
	const char *service, *network; /* network: NULL = the only one that a container is on */
	struct endpoints_builder *builder;
	uint32_t used;
	struct records *records;
};

void docker_view_begin(struct docker_view *view, const char *service, const char *network, struct records *ret);
/* `owner` is the container whose network it shares; NULL: it has its own, or the owner is not known. */
void docker_view_add(struct docker_view *view, const struct docker_container *container,
		     const struct docker_container *owner);
/* Leaves endpoints, or an error where none of what is offered can be used, in the records. */
void docker_view_end(struct docker_view *view);

#endif
