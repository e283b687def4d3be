/*
 * peer: the neighbours that this node dials, from the peer blocks of mesh.conf(5).
 *
 * A peer is dialled until a link to it is up, whoever dialled that link, with jittered back-off, its
 * addresses in turn.  Which node lives at an address is learned from its proof, unless configured.
 */
#ifndef TRANSPORTD_PEER_H
#define TRANSPORTD_PEER_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/backoff.h"
#include "common/base/must.h"
#include "transportd/core/limits.h"

struct conf;
struct loop_timer;
struct transport;

enum { PEER_HOST_SIZE = 256, PEER_IP_SIZE = 46 };

struct peer_address {
	char host[PEER_HOST_SIZE];
	uint16_t port;
	bool numeric;
};

struct peer {
	TAILQ_ENTRY(peer) entry;
	struct transport *t;
	char name[64];
	uint64_t configured; /* node id of the block; 0: any */
	uint64_t node;       /* who it is, configured or learned; 0: not known */
	struct peer_address addresses[PEER_ADDRESSES_MAX];
	size_t address_count, address_next;
	char ips[RESOLVED_MAX][PEER_IP_SIZE]; /* of the name being dialled, those still to be tried */
	size_t ip_count, ip_next;
	uint16_t ip_port;
	struct backoff backoff;
	struct loop_timer *timer;
	uint32_t query;     /* of the resolver; 0: none */
	bool dialling;      /* a connection of this peer exists */
	char complaint[96]; /* last reason that was logged */
	bool marked;        /* while the configuration is read again */
};

TAILQ_HEAD(peer_list, peer);

struct peers {
	struct peer_list all;
	size_t count;
	unsigned dialling; /* handshakes in progress */
};

void peers_init(struct peers *p);
void peers_free(struct transport *t);
/* Takes the peer blocks of a configuration: new ones are dialled, those that are gone are dropped with
 * their links.  ERR_NOMEM, ERR_LIMIT (logged): what could be taken is in use. */
int peers_read(struct transport *t, const struct conf *c) MUST_USE;
/* Dials whoever has no link: the identity is known. */
void peers_start(struct transport *t);

/* From a connection: it is proven to lead to node; it is gone (GOAWAY code, 0: the socket ended). */
void peer_conn_up(struct peer *p, uint64_t node);
void peer_conn_gone(struct peer *p, uint16_t code, const char *why);
/* The link to node is down; settled: it was up for long. */
void peers_link_down(struct transport *t, uint64_t node, bool settled);
/* The resolver's answer. */
void peer_resolved(void *arg, uint32_t query, const char ips[][PEER_IP_SIZE], size_t count);

#endif
