/*
 * peer: the neighbours that this node dials, from the peer blocks of mesh.conf(5).
 *
 * A peer is dialled until a link to it is up, whoever dialled that link, with jittered back-off.  Its
 * addresses race (core/eyeballs.h): the first connection whose upgrade is done wins, the others are
 * dropped.  Which node lives at an address is learned from its proof, unless configured.  Further
 * lanes go the way that has worked.
 */
#ifndef TRANSPORTD_PEER_H
#define TRANSPORTD_PEER_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/backoff.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/eyeballs.h"
#include "transportd/core/limits.h"
#include "transportd/dial.h"
#include "transportd/peer_conf.h"

struct conf;
struct loop_timer;
struct transport;

enum {
	PEER_NAME_SIZE = 64,
	PEER_BAD_MAX = 8, /* addresses remembered that led to no link */
};

enum peer_kind {
	PEER_CONFIGURED, /* a block of mesh.conf */
	PEER_ADDED,      /* asked for while the node runs, kept until it is dropped; see wish.h */
	PEER_TRIED,      /* for full links: let go if it does not answer */
};

struct peer {
	TAILQ_ENTRY(peer) entry;
	struct transport *t;
	char name[PEER_NAME_SIZE];
	enum peer_kind kind;
	struct peer_conf conf;
	void *authorities; /* of server-ca; NULL: tls-ca */
	uint64_t node;     /* who it is, configured or learned; 0: not known */
	struct backoff backoff;
	struct loop_timer *timer; /* of the race, or until the next */
	/* The race for the first connection. */
	bool racing;
	struct eyeballs race;
	uint32_t queries[PEER_ADDRESSES_MAX]; /* of the resolver, for each address; 0: none */
	struct mono ask_until;                /* then answers are not waited for any more */
	unsigned dials;                       /* connections that are not proven yet */
	struct eyeballs_candidate won, bad[PEER_BAD_MAX];
	size_t bad_count;
	char reason[128];   /* why the last attempt failed */
	char complaint[96]; /* last reason that was logged */
	/* Further lanes. */
	struct dial_way way; /* that worked last */
	bool way_known;
	uint32_t lanes; /* being dialled, a bit each */
	struct backoff lane_backoff;
	struct mono lane_after; /* not before */
	bool marked;            /* while the configuration is read again */
};

TAILQ_HEAD(peer_list, peer);

struct peers {
	struct peer_list all;
	size_t count;
	unsigned dialling; /* handshakes in progress, of all lanes */
	unsigned asking;   /* names being looked up */
	int64_t token_lifetime_s;
};

void peers_init(struct peers *p);
void peers_free(struct transport *t);
/* Takes the peer blocks of a configuration: new ones are dialled, those that are gone are dropped with
 * their links.  ERR_NOMEM, ERR_LIMIT (logged): what could be taken is in use. */
int peers_read(struct transport *t, const struct conf *c) MUST_USE;
/* A peer that is in no configuration, named by its node's id; peers_start() dials it.  NULL: no memory. */
struct peer *peer_add(
    struct transport *t, uint64_t node, const struct peer_address *addresses, size_t count) MUST_USE;
/* Dials it no more.  A link that it has stays. */
void peer_del(struct transport *t, struct peer *p);
/* Dials whoever has no link: the identity is known. */
void peers_start(struct transport *t);

/* Dials one more lane to a node that one of our peers leads to, the way that worked last.  False: there is
 * none, it is being dialled, too much is, or the last attempt failed a moment ago. */
bool peer_dial_lane(struct transport *t, uint64_t node, unsigned lane) MUST_USE;

/* From a connection: its upgrade is done, so it has won; it is proven to lead to node; it is gone (GOAWAY
 * code, 0: the socket ended). */
void peer_conn_opened(struct peer *p, const struct dial_way *way);
void peer_conn_up(struct peer *p, uint64_t node, unsigned lane, const struct dial_way *way);
void peer_conn_gone(
    struct peer *p, unsigned lane, const struct dial_way *way, uint16_t code, const char *why);
/* The link to node is down, after so long. */
void peers_link_down(struct transport *t, uint64_t node, int64_t lived_ms);
/* The resolver's answer. */
void peer_resolved(void *arg, uint32_t query, const char ips[][PEER_IP_SIZE], size_t count);

#endif
