/*
 * api_impl: what the files of api share; not for others.
 */
#ifndef CONSENSUSD_API_IMPL_H
#define CONSENSUSD_API_IMPL_H

#include "common/os/channel.h"
#include "common/os/imsg.h"
#include "consensusd/api.h"
#include "consensusd/call.h"
#include "consensusd/follower.h"
#include "consensusd/subscriber.h"

struct group;

TAILQ_HEAD(client_list, client);
struct dead_op;
TAILQ_HEAD(dead_op_list, dead_op);

struct api {
	struct engine *engine;
	struct channel_conf conf;
	struct client_list clients;
	struct calls calls;
	struct subscribers subscribers;
	struct followers followers;
	struct dead_op_list dead_ops; /* that wait for the database */
	bool serving;                 /* what HEALTH said last */
};

/* The body of one message: requests of each kind.  Each answers the call, now or later. */
void api_publish(struct api *a, struct client *c, const struct imsg *m, bool streaming);
void api_publish_end(struct api *a, struct client *c, uint32_t id);
/* The call's deadline is near: it ends, and says how far the first of its messages is that is not done. */
void api_publish_expire(struct api *a, struct client *c, uint32_t id);
/* api_result.c: a message's result; it may end the call.  taken: a chunk, nothing more is known of it. */
void api_result_send(struct call *c, const struct source *s, uint64_t seq, const struct ulid *message_id);
/* The same where the database says at which targets the message is a dead letter. */
void api_result_send_with(struct call *c, const struct source *s, uint64_t seq, const struct ulid *message_id,
    const struct stream_record *record);
void api_result_taken(struct call *c, const struct source *s, uint64_t seq);
/* The call ends: the message was given up. */
void api_result_lost(struct call *c, const struct source *s, uint64_t seq);
/* api_fate.c: the result of a message that was given up or answered before that, as far as it is known. */
void api_fate_ask(
    struct api *a, struct call *c, const struct source *s, uint64_t seq, const struct ulid *message_id);
/* Streaming calls of producers with an older epoch end. */
void api_publish_fenced(struct source *s, uint64_t epoch);
/* Lets calls go on whose stream is below its mark again. */
void api_publish_release(struct api *a);
void api_stream_open(struct api *a, struct client *c, const struct imsg *m);
void api_stream_close(struct api *a, struct client *c, const struct imsg *m);
void api_stream_targets(struct api *a, struct client *c, const struct imsg *m);
void api_stream_list(struct api *a, struct client *c, const struct imsg *m);
void api_status_node(struct api *a, struct client *c, const struct imsg *m);
void api_status_metrics(struct api *a, struct client *c, const struct imsg *m);
void api_status_health(struct api *a, struct client *c);
void api_ack(struct api *a, struct client *c, const struct imsg *m);
void api_nack(struct api *a, struct client *c, const struct imsg *m);

/* api_message.c */
void api_message_status(struct api *a, struct client *c, const struct imsg *m);

/* api_group.c */
void api_mesh_groups(struct api *a, struct client *c, const struct imsg *m);
/* Answers with RaftGroupInfo. */
void api_group_reply(struct engine *e, struct call *call, struct group *g);
/* By its id in text form; NULL. */
struct group *api_group_find(struct engine *e, const char *text);

/* api_mesh.c */
void api_mesh_seed(struct api *a, struct client *c, const struct imsg *m);
void api_mesh_join(struct api *a, struct client *c, const struct imsg *m);
void api_mesh_start(struct api *a, struct client *c, const struct imsg *m);
void api_mesh_stop(struct api *a, struct client *c, const struct imsg *m);
void api_mesh_leave(struct api *a, struct client *c, const struct imsg *m);
void api_mesh_evict(struct api *a, struct client *c, const struct imsg *m);
void api_mesh_token(struct api *a, struct client *c, const struct imsg *m);
void api_mesh_settings(struct api *a, struct client *c, const struct imsg *m);
void api_mesh_transfer(struct api *a, struct client *c, const struct imsg *m);
/* api_update.c */
void api_update_node(struct api *a, struct client *c, const struct imsg *m);
void api_update_mesh(struct api *a, struct client *c, const struct imsg *m);
void api_update_db(struct api *a, struct client *c, const struct imsg *m);
void api_follow_nodes(struct api *a, struct client *c, const struct imsg *m);
void api_follow_mesh(struct api *a, struct client *c, const struct imsg *m);
void api_follow_db(struct api *a, struct client *c, const struct imsg *m);
void api_follow_more(struct api *a, struct client *c, const struct imsg *m);
/* api_config.c */
void api_config_get(struct api *a, struct client *c, const struct imsg *m);
void api_config_set(struct api *a, struct client *c, const struct imsg *m);
void api_config_history(struct api *a, struct client *c, const struct imsg *m);
/* api_keys.c */
void api_keys_rotate(struct api *a, struct client *c, const struct imsg *m);
void api_keys_list(struct api *a, struct client *c, const struct imsg *m);
/* api_letters.c */
void api_letters_list(struct api *a, struct client *c, const struct imsg *m);
void api_letters_resolve(struct api *a, struct client *c, const struct imsg *m);

/* api_control.c */
void api_control_streams(struct api *a, struct client *c, const struct imsg *m);
/* api_dead.c */
void api_dead_list(struct api *a, struct client *c, const struct imsg *m);
void api_dead_resolve(struct api *a, struct client *c, const struct imsg *m);
void api_dead_free(struct api *a);

/* A unary call for this message; NULL: it was refused. */
struct call *api_unary(struct api *a, struct client *c, const struct imsg *m);
/* Answers with an encoded message of at most limit bytes. */
void api_reply_message(struct call *call, const void *fields, const void *msg, size_t limit);

/* --- api_stream.c, for the other calls about streams --- */
/* The stream's row here, at its source or at a target; NULL: there is none. */
const struct store_stream *api_stream_row(const struct engine *e, const struct ulid *id);
/* Answers with the stream's handle. */
void api_stream_reply(struct call *call, struct source *s, uint64_t epoch);
/* The node of this id or name; 0: the call has ended. */
uint64_t api_stream_node(struct call *call, const struct engine *e, const char *text);
/* The stream that the client may publish to and end; NULL: the call has ended, or the stream was closed
 * before
 * (*was_closed): then it is the caller's. */
struct source *api_stream_find(
    struct call *call, struct engine *e, const char *stream_id, const char *tenant_id, bool *was_closed);

#endif
