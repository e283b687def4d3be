/*
 * link: a neighbour that has proven who it is, its transmit queue and its heartbeats.
 *
 * Outlives the connection it began with when a better one takes its place (handshake_settle()).
 */
#ifndef TRANSPORTD_LINK_H
#define TRANSPORTD_LINK_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"
#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/heartbeat.h"
#include "transportd/core/txq.h"

struct conn;
struct loop_timer;
struct transport;

enum { LINK_BUCKETS = 256, LINK_HELD_MAX = 1024 };

struct link {
	LIST_ENTRY(link) entry;
	TAILQ_ENTRY(link) order;
	struct transport *t;
	uint64_t node;
	char name[NODE_NAME_SIZE];
	struct conn *conn; /* the active one */
	struct txq q;
	struct heartbeat hb;
	struct loop_timer *timer;
	bool ping_due, pong_due;
	struct beat ping, pong; /* to be sent */
	struct mono up_at;
	uint64_t since_unix_ms;
	uint64_t tx_bytes, rx_bytes, tx_frames, rx_frames, dropped_frames;
	struct mono reported; /* when routerd last heard of its measurements */
	uint32_t reported_rtt_us, reported_loss_ppm;
	bool stalled;                           /* not read: consensusd is slow */
	uint64_t *held;                         /* destinations that consensusd holds because of this link */
	size_t held_count;                      /* of at most LINK_HELD_MAX */
	bool source_paused, source_pause_spent; /* see backpressure.h */
};

LIST_HEAD(link_bucket, link);
TAILQ_HEAD(link_list, link);

struct links {
	struct link_bucket buckets[LINK_BUCKETS];
	struct link_list all; /* oldest first */
	size_t count;
};

void links_init(struct links *l);
/* The link to a node, or NULL. */
struct link *links_get(const struct links *l, uint64_t node);

/* A connection is proven: makes the link, or settles between two connections.  May end c. */
void link_attach(struct transport *t, struct conn *c);
/* Ends the link and its connection: GOAWAY code for the peer and the log. */
void link_close(struct link *l, uint16_t code, const char *detail);
/* Its active connection is gone. */
void link_lost(struct link *l, const char *reason);
void link_close_all(struct transport *t, uint16_t code);
/* Intervals have changed. */
void link_retune_all(struct transport *t);

/* Queues a frame; sets FRAME_FLAG_MARKED when the queue is over its mark.  ERR_FULL, ERR_NOMEM:
 * dropped and counted here.  ERR_RANGE: not a frame. */
int link_send(struct link *l, struct frame *f) MUST_USE;
/* The active connection can be written. */
void link_writable(struct link *l);
/* Something arrived on it. */
void link_heard(struct link *l);
void link_heartbeat(struct link *l, const struct beat *b);

#endif
