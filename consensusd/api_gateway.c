/* api: the edge to gatewayd; see api.h. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "consensusd/api_impl.h"
#include "consensusd/caller.h"
#include "consensusd/engine.h"
#include "consensusd/shared.h"
#include "proto/messages.h"
#include "proto/pb.h"

#define EDGE_DEF "proto/gateway_consensus.def"
#define EDGE_HANDLERS gateway_handlers
#include "proto/edge_server.h"

static int on_up(void *ctx, struct channel *ch);
static void on_down(void *ctx, struct channel *ch, int err);
static void on_drain(void *ctx, struct channel *ch);

static void
on_call_end(void *ctx, struct call *c)
{
	struct api *a = ctx;

	if (c->kind == CALL_PUBLISH)
		assembly_call_ended(&a->engine->assembly, c->handle);
	if (c->subscriber != NULL)
		subscriber_free(c->subscriber);
	if (c->follower != NULL)
		follower_free(c->follower);
}

struct api *
api_new(struct engine *e)
{
	struct api *a = mem_calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->engine = e;
	a->conf = (struct channel_conf){
	    .edge = &edge_gateway_consensus,
	    .handlers = gateway_handlers,
	    .handler_count = sizeof(gateway_handlers) / sizeof(gateway_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_drain = on_drain,
	    .ctx = a,
	};
	TAILQ_INIT(&a->clients);
	TAILQ_INIT(&a->dead_ops);
	calls_init(&a->calls, on_call_end, a);
	subscribers_init(&a->subscribers, e);
	followers_init(&a->followers, e);
	return a;
}

static void
client_end(struct api *a, struct client *c)
{
	while (c->calls != NULL)
		call_free(c->calls);
	TAILQ_REMOVE(&a->clients, c, entry);
	channel_set_data(c->channel, NULL);
	caller_unref(c->who);
	mem_free(c);
}

void
api_free(struct api *a)
{
	if (a == NULL)
		return;
	while (!TAILQ_EMPTY(&a->clients))
		client_end(a, TAILQ_FIRST(&a->clients));
	api_dead_free(a);
	subscribers_fini(&a->subscribers);
	followers_fini(&a->followers);
	calls_fini(&a->calls);
	mem_free(a);
}

const struct channel_conf *
api_channel_conf(struct api *a)
{
	return &a->conf;
}

bool
api_turn(struct api *a)
{
	bool more;

	api_publish_release(a);
	more = subscribers_turn(&a->subscribers);
	return followers_turn(&a->followers) || more;
}

static int
on_up(void *ctx, struct channel *ch)
{
	struct api *a = ctx;
	struct client *c = mem_calloc(1, sizeof(*c));

	if (c == NULL)
		return ERR_NOMEM;
	c->channel = ch;
	channel_set_data(ch, c);
	TAILQ_INSERT_TAIL(&a->clients, c, entry);
	log_notice("%s connected", channel_peer(ch));
	api_status_health(a, c);
	shared_send(a->engine->shared, SHARED_GATEWAYD, ch, GC_CONFIG);
	return 0;
}

void
api_shared(struct api *a)
{
	struct client *c;

	TAILQ_FOREACH (c, &a->clients, entry)
		shared_send(a->engine->shared, SHARED_GATEWAYD, c->channel, GC_CONFIG);
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct client *c = channel_data(ch);

	log_notice("gatewayd is away (%s): its calls end", err_text(err));
	if (c != NULL)
		client_end(ctx, c);
}

static void
on_drain(void *ctx, struct channel *ch)
{
	struct api *a = ctx;
	struct client *c = channel_data(ch);

	for (struct call *x = c->calls; x != NULL; x = x->hh.next) {
		if (x->subscriber != NULL)
			subscriber_ready(x->subscriber);
		if (x->follower != NULL)
			follower_ready(x->follower);
	}
	engine_wake(a->engine);
}

struct call *
api_unary(struct api *a, struct client *c, const struct imsg *m)
{
	struct call *call = call_new(&a->calls, c, m->peerid, CALL_UNARY);

	if (call == NULL)
		call_refuse(c, m->peerid, CODE_RESOURCE_EXHAUSTED, "too many calls are open at this node");
	return call;
}

void
api_reply_message(struct call *call, const void *fields, const void *msg, size_t limit)
{
	struct buf out;
	int err;

	buf_init(&out, limit);
	err = pb_pack(&out, fields, msg);
	if (err == 0)
		call_reply(call, buf_head(&out), buf_left(&out));
	else
		call_done(call, CODE_RESOURCE_EXHAUSTED, "the answer can't be made: %s", err_text(err));
	buf_fini(&out);
}

/* --- handlers: one line each, what they do is in the file of the noun --- */

/* Whose the calls are that begin from now on. */
static int
on_who(void *ctx, struct channel *ch, struct imsg *m)
{
	struct client *c = channel_data(ch);
	struct caller *who = NULL;

	(void)ctx;
	if (m->len != 0 && memchr(m->body, 0, m->len) != NULL)
		return ERR_FORMAT;
	if (m->len != 0 && (who = caller_new(m->body, m->len)) == NULL)
		return ERR_NOMEM;
	caller_unref(c->who);
	c->who = who;
	return 0;
}

static int
on_open_stream(void *ctx, struct channel *ch, struct imsg *m)
{
	api_stream_open(ctx, channel_data(ch), m);
	return 0;
}

static int
on_close_stream(void *ctx, struct channel *ch, struct imsg *m)
{
	api_stream_close(ctx, channel_data(ch), m);
	return 0;
}

static int
on_list_streams(void *ctx, struct channel *ch, struct imsg *m)
{
	api_stream_list(ctx, channel_data(ch), m);
	return 0;
}

static int
on_publish(void *ctx, struct channel *ch, struct imsg *m)
{
	api_publish(ctx, channel_data(ch), m, false);
	return 0;
}

static int
on_publish_item(void *ctx, struct channel *ch, struct imsg *m)
{
	api_publish(ctx, channel_data(ch), m, true);
	return 0;
}

static int
on_publish_end(void *ctx, struct channel *ch, struct imsg *m)
{
	api_publish_end(ctx, channel_data(ch), m->peerid);
	return 0;
}

static int
on_subscribe(void *ctx, struct channel *ch, struct imsg *m)
{
	struct api *a = ctx;

	subscriber_begin(&a->subscribers, &a->calls, channel_data(ch), m);
	return 0;
}

static int
on_subscribe_more(void *ctx, struct channel *ch, struct imsg *m)
{
	struct api *a = ctx;

	subscriber_more(&a->subscribers, channel_data(ch), m);
	return 0;
}

static int
on_ack(void *ctx, struct channel *ch, struct imsg *m)
{
	api_ack(ctx, channel_data(ch), m);
	return 0;
}

static int
on_cancel(void *ctx, struct channel *ch, struct imsg *m)
{
	struct call *c = call_of(channel_data(ch), m->peerid);

	(void)ctx;
	/* What was published stays published. */
	if (c != NULL)
		call_free(c);
	return 0;
}

static int
on_expire(void *ctx, struct channel *ch, struct imsg *m)
{
	api_publish_expire(ctx, channel_data(ch), m->peerid);
	return 0;
}

static int
on_node_status(void *ctx, struct channel *ch, struct imsg *m)
{
	api_status_node(ctx, channel_data(ch), m);
	return 0;
}

static int
on_metrics(void *ctx, struct channel *ch, struct imsg *m)
{
	api_status_metrics(ctx, channel_data(ch), m);
	return 0;
}

/* Those of the control group: each is a noun's function with the same arguments. */
#define FORWARD(handler, fn)                                                                                 \
	static int on_##handler(void *ctx, struct channel *ch, struct imsg *m)                               \
	{                                                                                                    \
		fn(ctx, channel_data(ch), m);                                                                \
		return 0;                                                                                    \
	}
FORWARD(nack, api_nack)
FORWARD(stream_letters, api_dead_list)
FORWARD(resolve_stream, api_dead_resolve)
FORWARD(list_groups, api_mesh_groups)
FORWARD(seed, api_mesh_seed)
FORWARD(join, api_mesh_join)
FORWARD(start, api_mesh_start)
FORWARD(stop, api_mesh_stop)
FORWARD(leave, api_mesh_leave)
FORWARD(evict, api_mesh_evict)
FORWARD(token, api_mesh_token)
FORWARD(settings, api_mesh_settings)
FORWARD(transfer, api_mesh_transfer)
FORWARD(node_update, api_update_node)
FORWARD(mesh_update, api_update_mesh)
FORWARD(db_update, api_update_db)
FORWARD(follow_nodes, api_follow_nodes)
FORWARD(follow_mesh, api_follow_mesh)
FORWARD(follow_db, api_follow_db)
FORWARD(follow_more, api_follow_more)
FORWARD(config_get, api_config_get)
FORWARD(config_set, api_config_set)
FORWARD(config_history, api_config_history)
FORWARD(rotate_key, api_keys_rotate)
FORWARD(list_keys, api_keys_list)
FORWARD(dead_letters, api_letters_list)
FORWARD(resolve, api_letters_resolve)
FORWARD(message, api_message_status)
FORWARD(control_streams, api_control_streams)
FORWARD(stream_targets, api_stream_targets)
#undef FORWARD
