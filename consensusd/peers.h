/*
 * peers: messages between the consensusds of the mesh's nodes (frame type CONTROL).
 *
 * Messages of one turn of the loop to one node and of one importance leave together as one packet, which is
 * sealed with a key that only the two nodes have (X25519 of their node keys; the sender's public key goes
 * with it and must fit its node id) and, if it is large, cut into fragments.  So a packet is read by nobody
 * in between and comes from who it says.  It may be lost, doubled, late or overtaken: each kind of message
 * has to live with that.
 *
 * A node id is as good as its key, and anybody can make one: whether the node belongs to the mesh is for the
 * handlers to know.
 *
 * Limits: PEERS_OUT_MAX_BYTES waiting for transportd, then ERR_FULL; of packets that are being put together,
 * PEERS_PARTIAL_MAX_COUNT from each node and PEERS_PARTIAL_MAX_BYTES in all, then the oldest is dropped.
 */
#ifndef CONSENSUSD_PEERS_H
#define CONSENSUSD_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/base/must.h"

struct engine;
struct frame;
struct peers;

/* Kinds of messages; numbers are for ever. */
enum peers_kind {
	PEERS_RAFT = 1,    /* 16 bytes of group id, one encoded raft_msg */
	PEERS_ASK = 2,     /* a question: control/asks.h */
	PEERS_ANSWER = 3,  /* its answer */
	PEERS_APPLIED = 4, /* how far a member has applied the control group's log */
	PEERS_NOTES = 5,   /* updates of nodes: notes.h */
	PEERS_KINDS,
};

/* URGENT goes as control traffic, ahead of all else, and has to be small; BULK with that of the system. */
enum peers_class { PEERS_URGENT, PEERS_BULK, PEERS_CLASSES };

enum {
	PEERS_MESSAGE_MAX_BYTES =
	    5 * 1024 * 1024, /* a Raft entry of the largest size with what goes around it */
	PEERS_URGENT_MAX_BYTES = 64 * 1024,
	PEERS_OUT_MAX_BYTES = 32 * 1024 * 1024,
	PEERS_PARTIAL_MAX_COUNT = 4,
	PEERS_PARTIAL_MAX_BYTES = 32 * 1024 * 1024,
	/* Nodes outside the directory that can be answered: the longest known is forgotten. */
	PEERS_STRANGERS_MAX = 64,
};

/* A message from a node, borrowed.  What can't be read is counted by the handler's owner. */
typedef void peers_fn(void *ctx, uint64_t node, const uint8_t *body, size_t len);

/* NULL: no memory. */
struct peers *peers_new(struct engine *e) MUST_USE;
void peers_free(struct peers *p);
/* Who gets the messages of a kind. */
void peers_handle(struct peers *p, enum peers_kind kind, peers_fn *fn, void *ctx);
/* Queues a message, which is the parts one after the other.  ERR_NOENT: the node's key is not known: it is in
 * the directory, or was learnt from what the node sent; ERR_UNAVAIL: transportd is away; ERR_RANGE: this node
 * itself; ERR_LIMIT: longer than PEERS_MESSAGE_MAX_BYTES, or PEERS_URGENT_MAX_BYTES if urgent; ERR_FULL;
 * ERR_NOMEM. */
int peers_send(struct peers *p, uint64_t node, enum peers_kind kind, enum peers_class class,
    const struct iovec *parts, int part_count) MUST_USE;
/* The key that this node shares with the owner of a public key, good until the next call of any of these;
 * NULL: it is not one. */
const uint8_t *peers_pair_key(struct peers *p, const uint8_t public_key[32]) MUST_USE;
/* The engine's turn: seals what was queued and hands it to transportd. */
void peers_turn(struct peers *p);
/* A frame of type CONTROL for this node. */
void peers_on_frame(struct peers *p, const struct frame *f);
/* transportd went away: what was queued is lost. */
void peers_down(struct peers *p);

#endif
