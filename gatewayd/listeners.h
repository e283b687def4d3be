/*
 * listeners: the sockets on which API clients arrive: TCP with TLS, and a Unix socket without.
 */
#ifndef GATEWAYD_LISTENERS_H
#define GATEWAYD_LISTENERS_H

#include "common/base/must.h"

struct conf;
struct gateway;
struct listeners;

/* Binds everything that the configuration names and reads keys and certificates; needs the rights that
 * are dropped afterwards.  NULL, and the reason is logged. */
struct listeners *listeners_open(struct gateway *gw, const struct conf *c) MUST_USE;
/* Begins to accept.  ERR_NOMEM. */
int listeners_start(struct listeners *ls) MUST_USE;
/* Reads keys and certificates again; on an error, which is logged, the old ones stay. */
void listeners_reload(struct listeners *ls, const struct conf *c);
/* Accepts no more. */
void listeners_stop(struct listeners *ls);
void listeners_free(struct listeners *ls);

#endif
