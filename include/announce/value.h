/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is written of an endpoint, byte for byte as other tools write and read it. Pure.
 *
 *	json		{"host":"10.0.0.5","port":80,"weight":1}; what nuncio, SmartStack and sidekick units read
 *	registrator	10.0.0.5:80, [fd00::1]:80 (Go's JoinHostPort)
 *	skydns		{"host":"10.0.0.5","port":80} and "weight" where it is not 1, as SkyDNS and CoreDNS read it
 *	grpc		{"Op":0,"Addr":"10.0.0.5:80","Metadata":null}, of etcd's client/v3/naming
 */
#ifndef NUNCIO_ANNOUNCE_VALUE_H
#define NUNCIO_ANNOUNCE_VALUE_H

#include "announce/conf.h"

/* The value, to be freed. `at` is the endpoint with its address. */
char *announce_value(const struct announce_conf *conf, const struct ip_port *at);

/*
 * The key behind the registry's prefix: SERVICE/ID, to be freed. Without an id of the user's, it is the address with
 * its port, which no other endpoint has; for skydns, where it becomes a label of a name, with '-' for what is not
 * accepted there.
 */
char *announce_key(const struct announce_conf *conf, const struct ip_port *at);

/*
 * For a file: a list of one record, with its id, and a newline; and the id, the user's or ADDR:PORT. To be freed.
 */
char *announce_file_text(const struct announce_conf *conf, const struct ip_port *at);
char *announce_file_id(const struct announce_conf *conf, const struct ip_port *at);

/*
 * The same for Consul, where an id is unique at its agent and not only in its service: the user's, or
 * SERVICE-ADDR:PORT; to be freed.
 */
char *announce_consul_id(const struct announce_conf *conf, const struct ip_port *at);

/*
 * The body of Consul's PUT /v1/agent/service/register, to be freed: ID, Name, Address, Port, Weights, the tags (NULL at
 * the end) and a check with our TTL. An instance that is critical for CONSUL_DROP_AFTER is dropped by the agent.
 *
 * Consul takes 1 as the least weight of an instance that passes, but 0 for one with a warning: so weight 0 is announced
 * as a warning, and to every reader who knows weights it is 0.
 * https://developer.hashicorp.com/consul/api-docs/agent/service
 */
#define CONSUL_DROP_AFTER "1m" /* the least that Consul accepts */
char *announce_consul_body(const struct announce_conf *conf, const struct ip_port *at, const char *const *tags);

#endif
