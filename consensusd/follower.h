/*
 * follower: an API client that follows the updates of nodes, of the mesh, or of the database.
 *
 * What there is to follow is a source: updates in the order of their positions, which only grow.  A follower
 * gets those after its position, and says up to where it has processed them; one that gave its name goes on
 * from there when it comes again, after a restart of this node too.  So each update comes at least once; one
 * of a type that was not asked for counts as processed.
 *
 * Credit: at most `window` updates that are not acknowledged.  One follower of a name for each kind: a newer
 * one takes over, and the older call ends.
 *
 * Limits: SUBSCRIBERS_MAX followers: refuse; FOLLOWER_NAMES_MAX names whose positions are remembered: the one
 * that was here longest ago is forgotten, and counted.
 */
#ifndef CONSENSUSD_FOLLOWER_H
#define CONSENSUSD_FOLLOWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "common/base/must.h"

struct api;
struct buf;
struct call;
struct client;
struct engine;
struct follower;
struct follower_name;
struct imsg;

/* Kinds of updates; numbers are for ever, they are in the database. */
enum follow_kind { FOLLOW_NODES = 1, FOLLOW_MESH = 2, FOLLOW_DB = 3, FOLLOW_KINDS };

/* An update; what it points at is good until the source's next event. */
struct follow_item {
	uint64_t position;
	const char *type; /* what SubscribeReq.types chooses by */
	const void *data; /* the source's own */
};

/* Where updates of one kind come from. */
struct follow_source {
	/* The first update after a position.  ERR_NOENT: there is none now, follower_changed() will tell;
	 * ERR_STALE: there were some that are not kept any more; any other error ends the call. */
	int (*next)(void *ctx, uint64_t after, struct follow_item *out);
	/* Appends it as the message that clients get; the buffer's errors. */
	int (*encode)(void *ctx, const struct follow_item *item, struct buf *out);
	void *ctx;
	size_t item_max_bytes; /* of an encoded message */
};

TAILQ_HEAD(follower_list, follower);
TAILQ_HEAD(follower_name_list, follower_name);

struct followers {
	struct engine *engine;
	struct follow_source sources[FOLLOW_KINDS];
	struct follower_list all, ready;
	struct follower_name *names; /* hash by kind and name */
	struct follower_name_list dirty;
	size_t count;
	uint64_t uses; /* counts up from what is above all that were loaded */
};

void followers_init(struct followers *all, struct engine *e);
void followers_fini(struct followers *all);
/* Delivers what windows and channels allow.  True if work is left. */
bool followers_turn(struct followers *all);

/* Whoever has the updates of a kind says so once, when e->api is there; before that, and for a source with
 * no function, clients are told to try again. */
void follower_source(struct engine *e, enum follow_kind kind, const struct follow_source *src);
/* There are new ones. */
void follower_changed(struct engine *e, enum follow_kind kind);
/* Positions of the kind begin anew: those who follow have to come again, and begin at the first one. */
void follower_reset(struct engine *e, enum follow_kind kind);
/* While the store loads: up to where a name has processed. */
int follower_load(struct engine *e, int kind, const char *name, uint64_t position) MUST_USE;

/* FOLLOW_NODES, FOLLOW_MESH or FOLLOW_DB; and FOLLOW_MORE of any of them. */
void follower_begin(struct api *a, enum follow_kind kind, struct client *c, const struct imsg *m);
void follower_more(struct api *a, struct client *c, const struct imsg *m);
/* Its call ended: frees it. */
void follower_free(struct follower *f);
/* Has it looked at in the turn. */
void follower_ready(struct follower *f);

#endif
