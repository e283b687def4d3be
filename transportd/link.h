/*
 * link: a neighbour that has proven who it is: its lanes (lane.h), and what waits to be sent to it.
 *
 * A link lives as long as one lane does, whichever it is.  The side that dialled the control lane dials
 * the missing others.  Frames are queued to a lane by class and stream (core/lanes.h, core/sched.h);
 * when a lane dies what it carried is settled with the peer over the other lanes (resume.h).
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
#include "transportd/core/lanes.h"
#include "transportd/core/scale.h"
#include "transportd/resume.h"

struct conn;
struct lane;
struct lane_note;
struct loop_timer;
struct sched;
struct transport;

enum { LINK_BUCKETS = 256, LINK_HELD_MAX = 1024, LINK_TICK_MS = 100 };

struct link {
	LIST_ENTRY(link) entry;
	TAILQ_ENTRY(link) order;
	struct transport *t;
	uint64_t node;
	char name[NODE_NAME_SIZE];
	struct lanes lanes;
	struct lane *lane[LANES_MAX]; /* those that are up */
	struct mono retry[LANES_MAX]; /* when a missing one may be dialled again */
	bool dialler;                 /* this node dialled the control lane, and dials what is missing */
	unsigned bulk_want;           /* bulk lanes there should be */
	bool attaching;               /* the last lane is being replaced */
	struct mono linger_until;     /* the peer has chosen another connection, which is on its way */
	struct sched *q;
	struct resume resume;
	struct scale scale;
	struct loop_timer *timer; /* every LINK_TICK_MS */
	struct mono up_at, probed_at;
	unsigned probes; /* trains sent, up to LINK_PROBES_DOUBLE */
	uint64_t since_unix_ms;
	/* Of lanes that are gone; those that live count by themselves. */
	uint64_t tx_bytes, rx_bytes, tx_frames, rx_frames, dropped_frames;
	struct mono reported; /* when routerd last heard of its measurements */
	uint32_t reported_rtt_us, reported_loss_ppm, reported_kbps, reported_permille;
	uint64_t *held;    /* destinations that consensusd holds because of this link */
	size_t held_count; /* of at most LINK_HELD_MAX */
	size_t held_cap;
	bool was_high;                          /* its queue was over the mark since it was last low */
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

/* A connection is proven: makes the link or a lane of it, or settles between two connections for one
 * lane.  May end c. */
void link_attach(struct transport *t, struct conn *c);
/* Ends the link and its connections: GOAWAY code for the peer and the log. */
void link_close(struct link *l, uint16_t code, const char *detail);
void link_close_all(struct transport *t, uint16_t code);
/* A lane's connection is gone.  replaced: the peer has chosen another one. */
void link_lane_lost(struct link *l, struct lane *n, bool replaced, const char *reason);
/* A connection that was to become a lane of the link did not. */
void link_dial_failed(struct transport *t, uint64_t node, unsigned lane);
/* The configuration has changed. */
void link_retune_all(struct transport *t);
/* Ends links with nodes that are denied now. */
void link_close_denied(struct transport *t);

/* Queues a frame; sets FRAME_FLAG_MARKED when the queue is over its mark.  ERR_FULL, ERR_LIMIT,
 * ERR_NOMEM: dropped and counted here.  ERR_RANGE: not a frame. */
int link_send(struct link *l, struct frame *f) MUST_USE;
/* A LANE frame of the peer came on c. */
void link_note(struct link *l, struct conn *c, const struct lane_note *n);

/* The lane that carries control; NULL: none is up. */
struct lane *link_control(struct link *l);
/* A connection that stands for the link in what people see. */
const struct conn *link_conn(const struct link *l);

/* --- measurements over all lanes --- */

struct link_figures {
	uint32_t rtt_us, rtt_min_us, rtt_var_us, loss_ppm;
	uint64_t bandwidth_kbps;
	uint32_t utilisation_permille;
	uint64_t tx_bytes, rx_bytes, tx_frames, rx_frames;
	size_t queued_bytes, memory_bytes, memory_max_bytes;
};

void link_figures(struct link *l, struct link_figures *out);
/* A round trip was measured: routerd hears of the first at once, of others when they matter. */
void link_measured(struct link *l);

#endif
