/*
 * transport: the client of transportd (edge consensus_transport): frames out and in, signatures for
 * hellos, and what to hold.  Frames from this node to itself never leave the process.
 */
#ifndef CONSENSUSD_TRANSPORT_H
#define CONSENSUSD_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "proto/e2e.pb.h"

struct batch;
struct channel;
struct engine;
struct store_stream;
struct transport;

/* NULL: no memory.  The channel is attached with transport_attach(). */
struct transport *transport_new(struct engine *e) MUST_USE;
void transport_free(struct transport *t);
/* What channel_connect() or daemon_connect() takes. */
const struct channel_conf *transport_channel_conf(struct transport *t);
/* Takes the channel over, in place of the one before. */
void transport_attach(struct transport *t, struct channel *ch);
/* Says who we are, as soon as that is known (incarnation: the store). */
void transport_identify(struct transport *t);
/* Which nodes may not be in the mesh any more, in any order: it keeps a copy, and transportd is told, now and
 * each time that it connects.  Before the first transport_identify(), so that there is no time at which they
 * are let in.  ERR_NOMEM, ERR_LIMIT (IDSET_MAX_COUNT), ERR_RANGE (the id 0): as before. */
int transport_evicted(struct transport *t, const uint64_t *nodes, size_t count) MUST_USE;
/* What the configuration that all nodes share says for transportd is another one (shared.h). */
void transport_shared(struct transport *t);
/* Other tenants than before may not be relayed (acl.h). */
void transport_acl(struct transport *t);
bool transport_up(const struct transport *t);
/* Whether data for node may be sent now. */
bool transport_ready(const struct transport *t, uint64_t node);

/* Queues all fragments of b, a batch of the stream of this row, for node, of whose dead letters up to ack
 * this node knows: striped, if the stream asks for that and the batch is large.  What can't be sent is lost,
 * and repaired like any loss. */
void transport_send_batch(
    struct transport *t, const struct batch *b, const struct store_stream *row, uint64_t node, uint64_t ack);
/* Queues one frame; h has msg_type, stream_id and what goes with them. */
void transport_send(struct transport *t, mesh_e2e_Header *h, uint64_t node, const void *payload, size_t len);
/* Queues a frame of type CONTROL, of a class of frames.  ERR_UNAVAIL: transportd is away; ERR_NOMEM. */
int transport_send_control(
    struct transport *t, uint64_t node, uint8_t class, const void *payload, size_t len) MUST_USE;
/* Hands what was queued to transportd, and this node's own frames to itself.  True if some of these
 * are left. */
bool transport_turn(struct transport *t);

#endif
