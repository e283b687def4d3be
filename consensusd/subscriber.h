/*
 * subscriber: an API client that gets the messages of streams and acknowledges them.
 *
 * One subscriber per stream and node.  A newer one is refused a stream that has one, or (if it follows a
 * tenant) goes without it until the other ends; unless it asks to take streams over.  Then the older one
 * loses the stream, its late acks are refused, and without any stream left it ends. Credit: a client that
 * sends no window updates has at most SUBSCRIBER_WINDOW_COUNT messages and SUBSCRIBER_WINDOW_BYTES
 * unacknowledged; one that does has what it gave, whatever it acknowledges.
 */
#ifndef CONSENSUSD_SUBSCRIBER_H
#define CONSENSUSD_SUBSCRIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "consensusd/engine.h"
#include "consensusd/opened.h"

struct call;
struct calls;
struct client;
struct imsg;
struct sink;
struct subscriber;

TAILQ_HEAD(subscriber_list, subscriber);

struct subscribers {
	struct engine *engine;
	struct subscriber_list all, ready;
	size_t count;
	uint64_t last_number; /* of a subscription */
	struct opened opened;
};

void subscribers_init(struct subscribers *s, struct engine *e);
void subscribers_fini(struct subscribers *s);
/* Delivers what credit and the channel allow.  True if work is left. */
bool subscribers_turn(struct subscribers *s);

/* SUBSCRIBE and SUBSCRIBE_MORE. */
void subscriber_begin(struct subscribers *all, struct calls *calls, struct client *c, const struct imsg *m);
void subscriber_more(struct subscribers *all, struct client *c, const struct imsg *m);
/* Its call ended: frees it. */
void subscriber_free(struct subscriber *s);
/* Has it looked at in the turn. */
void subscriber_ready(struct subscriber *s);

/* Policies have changed: subscriptions that may not have what they have end, and others get more. */
void subscribers_permit(struct subscribers *all);

/* A stream is there, goes, or was closed by its source. */
void subscriber_stream_opened(struct engine *e, struct sink *k);
void subscriber_detach(struct sink *k);
void subscriber_stream_closed(struct subscriber *s, struct sink *k);
/* This node is no target of it any more. */
void subscriber_stream_removed(struct subscriber *s, struct sink *k);
/* Messages up to seq were acknowledged: their credit comes back. */
void subscriber_credit(struct sink *k, uint64_t seq);
/* Those from seq on will be delivered again: their credit comes back. */
void subscriber_take_back(struct sink *k, uint64_t seq);

#endif
