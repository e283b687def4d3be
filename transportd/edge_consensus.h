/*
 * edge_consensus: consensusd's channel: identity, signatures, frames in and out.
 */
#ifndef TRANSPORTD_EDGE_CONSENSUS_H
#define TRANSPORTD_EDGE_CONSENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "common/os/loop.h"

struct channel;
struct channel_conf;
struct transport;

struct edge_consensus {
	struct channel *ch; /* NULL: consensusd is away */
	uint32_t last_sign_id;
	struct buf inbox; /* frames of this turn, not yet sent */
	uint32_t inbox_frames;
	struct loop_defer flush;
	unsigned pausers; /* links whose queue consensusd's frames have filled */
	struct loop_timer *pause_timer;
	bool stalling, dropping; /* see backpressure.h */
	struct loop_timer *stall_timer;
};

int consensus_init(struct transport *t) MUST_USE;
void consensus_fini(struct transport *t);
void consensus_conf(struct transport *t, struct channel_conf *out);

/* Asks for a signature; the id that conn_signed() will be given.  While consensusd is away the question
 * is asked again by conn_ask_again(). */
uint32_t consensus_sign(struct transport *t, const void *statement, size_t len) MUST_USE;
/* A frame for this node, as it came. */
void consensus_deliver(struct transport *t, const uint8_t *raw, size_t size);
void consensus_hold(struct transport *t, uint64_t destination, bool hold);
/* A path to it was left with data on its way: what is in flight may be lost. */
void consensus_rerouted(struct transport *t, uint64_t destination);
bool consensus_full(const struct transport *t);
/* Stops reading from consensusd for at most LOCAL_PAUSE_MS; counted. */
void consensus_pause(struct transport *t);
void consensus_unpause(struct transport *t);

#endif
