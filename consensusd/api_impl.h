/*
 * api_impl: what the files of api share; not for others.
 */
#ifndef CONSENSUSD_API_IMPL_H
#define CONSENSUSD_API_IMPL_H

#include "common/os/channel.h"
#include "common/os/imsg.h"
#include "consensusd/api.h"
#include "consensusd/call.h"
#include "consensusd/subscriber.h"

TAILQ_HEAD(client_list, client);

struct api {
	struct engine *engine;
	struct channel_conf conf;
	struct client_list clients;
	struct calls calls;
	struct subscribers subscribers;
	bool serving; /* what HEALTH said last */
};

/* The body of one message: requests of each kind.  Each answers the call, now or later. */
void api_publish(struct api *a, struct client *c, const struct imsg *m, bool streaming);
void api_publish_end(struct api *a, struct client *c, uint32_t id);
/* Lets calls go on whose stream is below its mark again. */
void api_publish_release(struct api *a);
void api_stream_open(struct api *a, struct client *c, const struct imsg *m);
void api_stream_close(struct api *a, struct client *c, const struct imsg *m);
void api_stream_list(struct api *a, struct client *c, const struct imsg *m);
void api_status_node(struct api *a, struct client *c, const struct imsg *m);
void api_status_metrics(struct api *a, struct client *c, const struct imsg *m);
void api_status_health(struct api *a, struct client *c);
void api_ack(struct api *a, struct client *c, const struct imsg *m);

/* A unary call for this message; NULL: it was refused. */
struct call *api_unary(struct api *a, struct client *c, const struct imsg *m);
/* Answers with an encoded message of at most limit bytes. */
void api_reply_message(struct call *call, const void *fields, const void *msg, size_t limit);

#endif
