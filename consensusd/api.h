/*
 * api: the server side of edge gateway_consensus: what gatewayd asks on behalf of API clients.
 *
 * The handlers of the edge are in api_gateway.c; what they do is split by noun: api_publish.c,
 * api_stream.c (open, close, list), subscriber.c, api_status.c.
 */
#ifndef CONSENSUSD_API_H
#define CONSENSUSD_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct api;
struct call;
struct channel_conf;
struct engine;
struct imsg;
struct source;
struct source_flow;
struct waiter;

struct api *api_new(struct engine *e) MUST_USE;
/* After the channel server is gone. */
void api_free(struct api *a);
/* What channel_serve() takes. */
const struct channel_conf *api_channel_conf(struct api *a);

/* The engine's turn: delivers to subscribers, lets held publishers go on.  True if work is left. */
bool api_turn(struct api *a);

/* --- what happened --- */
/* An event for those that watch; at most API_FIELDS_MAX fields. */
enum { API_FIELDS_MAX = 4 };
struct api_field {
	const char *key, *value;
};
void api_event(struct engine *e, const char *type, const struct api_field *fields, size_t count);
void api_health_changed(struct api *a);
/* gatewayd gets what the configuration that all nodes share says for it. */
void api_shared(struct api *a);
void api_stream_event(
    struct engine *e, const char *type, const char *stream_id, const char *tenant, const char *role);
/* The row of a stream (or that it is closing) is durable: answers the call. */
void api_stream_opened(struct source *s, uint64_t call);
void api_stream_closing(struct source *s, uint64_t call);
/* The epoch that the call has begun is durable. */
void api_stream_fenced(struct source *s, uint64_t call, uint64_t epoch);
/* What a call of ControlStreams has changed is durable. */
void api_control_durable(struct api *a, uint64_t call);
/* A message is as far as its stream's policy asks for; or it can't be because of a target (NULL: this node).
 */
void api_publish_committed(struct source *s, const struct waiter *w);
/* It was given up before it was so far. */
void api_publish_lost(struct source *s, const struct waiter *w);
void api_publish_failed(struct source *s, const struct waiter *w, const struct source_flow *f);
/* What was put for a call about dead letters is durable. */
void api_dead_durable(void *op);

#endif
