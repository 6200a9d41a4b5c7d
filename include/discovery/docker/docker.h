/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A Docker engine as a registry: its containers, by their labels (services.h). */
#ifndef NUNCIO_DISCOVERY_DOCKER_DOCKER_H
#define NUNCIO_DISCOVERY_DOCKER_DOCKER_H

#include "discovery/source.h"

extern const struct source_ops docker_source_ops;

#endif
