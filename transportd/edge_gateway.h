/*
 * edge_gateway: what gatewayd asks: links in detail, status, metrics; and events.
 */
#ifndef TRANSPORTD_EDGE_GATEWAY_H
#define TRANSPORTD_EDGE_GATEWAY_H

#include "common/os/channel.h"

struct link;
struct transport;

enum { GATEWAYS_MAX = 4 };

struct edge_gateway {
	struct channel *chs[GATEWAYS_MAX]; /* NULL: free */
};

void gateway_conf(struct transport *t, struct channel_conf *out);

/* Tells that something happened to a link; reason may be NULL. */
void gateway_event(struct transport *t, const char *type, const struct link *l, const char *reason);

#endif
