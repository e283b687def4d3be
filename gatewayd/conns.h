/*
 * conns: the connections of API clients: sockets, TLS, time limits.  What is said over them is h2.h's.
 */
#ifndef GATEWAYD_CONNS_H
#define GATEWAYD_CONNS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"
#include "gatewayd/auth.h"

struct conns;
struct gateway;
struct tls_server;

struct conns *conns_new(struct gateway *gw) MUST_USE;
/* Closes all connections at once. */
void conns_free(struct conns *cs);
size_t conns_count(const struct conns *cs);

/* Takes over an accepted socket (non-blocking).  tls: NULL for the Unix socket, whose clients are
 * who; peer: address, for logs. */
void conns_add(
    struct conns *cs, int fd, struct tls_server *tls, const struct principal *who, const char *peer);
/* Asks all clients to finish (GOAWAY); conns_count() becomes 0 when they have. */
void conns_drain(struct conns *cs);

#endif
