/*
 * lane: one proven connection of a link: heartbeats, credits, and what is sent on it.
 *
 * Exists while it is up.  Every frame that is not link-local is counted in both directions, so that both
 * ends agree on what has arrived when the connection breaks.
 */
#ifndef TRANSPORTD_LANE_H
#define TRANSPORTD_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"
#include "transportd/core/credit.h"
#include "transportd/core/heartbeat.h"
#include "transportd/core/lanes.h"
#include "transportd/core/pace.h"
#include "transportd/core/retain.h"

struct conn;
struct link;
struct loop_timer;

enum { LANE_NOTES_MAX = 64 };

struct lane {
	struct link *link;
	struct conn *conn;
	unsigned id;
	struct heartbeat hb;
	struct credit_tx tx;
	struct credit_rx rx;
	struct retain sent; /* and not acknowledged */
	bool stands_in;     /* streams are on it that belong on a bulk lane */
	/* What was queued here and belongs elsewhere is parked until these are acknowledged (resume.h). */
	uint64_t barrier_frames;
	struct pace pace;
	struct probe_rx probe_rx;
	struct loop_timer *timer;
	struct mono armed; /* what it is set to */
	bool ping_due, pong_due, window_due, report_due;
	bool sign_due; /* of life, if nothing else is sent */
	bool proxied;  /* something between the two ends TLS */
	struct beat ping, pong;
	struct probe report;
	unsigned train_left; /* frames of a probe train still to be sent */
	uint32_t train;
	struct lane_note notes[LANE_NOTES_MAX];
	unsigned note_count;
	uint64_t tx_bytes, rx_bytes, tx_frames, rx_frames;
	uint64_t heard_received; /* bytes of all lanes of the link when this one was heard last */
	struct mono busy_until;  /* it carries traffic: its round trips matter */
	uint64_t since_unix_ms;
};

/* A new lane on a connection that is up; NULL: no memory. */
struct lane *lane_new(struct link *l, unsigned id, struct conn *c) MUST_USE;
void lane_free(struct lane *n);

/* Something is to be sent. */
void lane_want_write(struct lane *n);
/* Its connection can be written. */
void lane_writable(struct lane *n);
/* Bytes came. */
void lane_heard(struct lane *n);
/* A frame that is to be counted came: false if the peer had no right to send it (then the connection
 * has ended). */
bool lane_counted(struct lane *n, size_t size);
/* The message is handled: time to acknowledge? */
void lane_handled(struct lane *n);
/* consensusd has room again. */
void lane_regrant(struct lane *n);
/* Link-local frames of the peer; false: the connection has ended. */
void lane_beat(struct lane *n, const struct beat *b);
bool lane_window(struct lane *n, const struct window *w);
bool lane_probe(struct lane *n, const struct probe *p);
/* Queues a LANE frame; it goes before all else. */
void lane_note(struct lane *n, const struct lane_note *note);
/* Sends a probe train to learn the bandwidth. */
void lane_probe_start(struct lane *n);
/* New intervals and windows. */
void lane_retune(struct lane *n);

#endif
