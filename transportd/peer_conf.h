/*
 * peer_conf: what a peer block of mesh.conf(5) says, with the files that it names.
 */
#ifndef TRANSPORTD_PEER_CONF_H
#define TRANSPORTD_PEER_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "transportd/core/limits.h"
#include "transportd/dial.h"

struct conf;
struct daemon;

struct peer_address {
	char host[PEER_HOST_SIZE];
	uint16_t port;
	bool numeric;
};

struct peer_conf {
	uint64_t node; /* 0: any */
	struct peer_address addresses[PEER_ADDRESSES_MAX];
	size_t address_count;
	bool via_proxy;
	struct peer_address proxy;
	char proxy_auth[PROXY_AUTH_SIZE]; /* base64 */
	char sni[PEER_HOST_SIZE], host[PEER_HOST_SIZE];
	bool token;
};

/* Reads block i.  A file that can't be read is logged, and what old (NULL: none) had of it is kept. */
void peer_conf_read(struct peer_conf *out, const struct conf *c, size_t i, const struct peer_conf *old);
bool peer_conf_same(const struct peer_conf *a, const struct peer_conf *b);
/* The authorities of server-ca, NULL if there are none or (logged, *failed) they can't be read. */
void *peer_conf_authorities(const struct conf *c, size_t i, bool *failed) MUST_USE;

/* Lets the sandbox read the directories of the files that peer blocks name.  ERR_LIMIT, ERR_FULL. */
int peer_conf_allow(struct daemon *d) MUST_USE;

#endif
