/*
 * env: two or three consensusds in one process, each with a store in memory, a keyring of its own, and
 * real channels to a transportd, a routerd and a gatewayd that the test plays.
 */
#ifndef TESTS_UNIT_CONSENSUSD_ENV_H
#define TESTS_UNIT_CONSENSUSD_ENV_H

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/frame.h"
#include "common/base/idset.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/conf_overlay.h"
#include "common/os/log.h"
#include "consensusd/api_impl.h"
#include "consensusd/bulletin_impl.h"
#include "consensusd/e2e.h"
#include "consensusd/engine.h"
#include "consensusd/keyring.h"
#include "consensusd/memo.h"
#include "consensusd/router.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/transport.h"
#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"
#include "tests/unit/consensusd/fake_store.h"
#include "tests/unit/consensusd/keyring_dir.h"

#define ENV_MESH "01ARZ3NDEKTSV4RRFFQ69G5FAV"

/* Virtual time has its own (virtual.h). */
#ifndef ENV_LOOP_NEW
#define ENV_LOOP_NEW loop_event_new
#define ENV_DEADLINE_MS 20000
#endif

enum { ENV_NODES = 3, ENV_CALLS = 64 };

/* What the gateway has heard of a call. */
struct env_call {
	unsigned replies, items, done;
	uint32_t code;
	char message[1024];
	bool held;
	unsigned holds;
	struct buf body;   /* of the reply, or of the last item */
	int64_t last_seq;  /* of items */
	bool out_of_order; /* items: seqs are not consecutive */
	uint64_t bytes;
};

struct env_node {
	struct env *env;
	size_t index;
	char name[8];
	bool up;
	struct keyring_dir dir;
	struct keyring *keyring;
	struct engine engine;
	struct channel *transport, *router, *api_side, *gateway; /* the test's ends, and the API's own */
	struct env_call calls[ENV_CALLS];
	unsigned identities, events, health;
	/* What transportd and routerd were told. */
	struct {
		struct idset set;
		unsigned count;
		bool before_identity;
	} evicted[2];
	/* What transportd, routerd and gatewayd were told last of the configuration that all nodes share. */
	struct {
		struct buf body;
		unsigned count;
	} shared[3];
	/* And transportd of tenants not to be relayed. */
	uint8_t acl[256];
	size_t acl_len;
	unsigned acl_count;
	bool serving;
	mesh_ipc_Identity identity;
	char last_event[32];
	bool auto_ack; /* acknowledges each item of a subscription at once */
	unsigned drop_percent;
};

struct env {
	struct loop *loop;
	struct loop_timer *alarm, *poll;
	struct env_node nodes[ENV_NODES];
	struct rng rng;
	bool expired;
	bool (*until)(struct env *e);
	struct loop_defer check;
	unsigned frames;
	/* A frame that a test wants to see or change; NULL: all pass. */
	bool (*filter)(struct env *e, size_t from, struct frame *f);
};

/* More of the block consensusd of all nodes' configuration, before env_setup(). */
static const char *env_settings = "";

static struct env env;

/* --- running --- */

static void
env_expire(void *arg)
{
	struct env *e = arg;

	e->expired = true;
	loop_stop(e->loop);
}

static void
env_check(void *arg)
{
	struct env *e = arg;

	if (e->until != NULL && e->until(e))
		loop_stop(e->loop);
}

/* What is awaited may show nowhere but in the state of a node. */
static void
env_poll(void *arg)
{
	struct env *e = arg;

	env_check(e);
	loop_timer_arm_ms(e->poll, 1);
}

static void
env_touch(struct env *e)
{
	loop_defer_add(e->loop, &e->check);
}

static void
env_run(struct env *e, bool (*until)(struct env *e))
{
	e->until = until;
	e->expired = false;
	loop_timer_arm_ms(e->alarm, ENV_DEADLINE_MS);
	loop_timer_arm_ms(e->poll, 1);
	env_touch(e);
	assert_int_equal(loop_run(e->loop), 0);
	loop_timer_disarm(e->alarm);
	loop_timer_disarm(e->poll);
	e->until = NULL;
	assert_false(e->expired);
}

/* --- transportd --- */

static struct env_node *
env_find(struct env *e, uint64_t id)
{
	for (size_t i = 0; i < ENV_NODES; i++) {
		if (e->nodes[i].up && e->nodes[i].engine.self == id)
			return &e->nodes[i];
	}
	return NULL;
}

static void
env_forward(struct env_node *from, struct frame *f)
{
	struct env *e = from->env;
	struct env_node *to = env_find(e, frame_dst(f));
	uint8_t mem[FRAME_MAX_BYTES];
	struct buf out;

	e->frames++;
	assert_true(f->src == from->engine.self && f->visit_count == 1);
	if (e->filter != NULL && !e->filter(e, from->index, f))
		return;
	if (to == NULL || to->transport == NULL || !channel_up(to->transport) ||
	    rng_below(&e->rng, 100) < from->drop_percent)
		return;
	f->visit_count = 0;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(frame_encode(f, &out), 0);
	(void)!channel_send(to->transport, CT_FRAMES_IN, 0, buf_head(&out), buf_left(&out));
}

/* A frame for a node, from whoever its header says. */
static inline void
env_send_frame(struct env_node *to, const mesh_e2e_Header *h, const void *payload, size_t len)
{
	uint8_t mem[FRAME_MAX_BYTES], again[FRAME_MAX_BYTES];
	struct buf out, in, fin;
	struct frame f;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(e2e_put_frame(&out, h, payload, len), 0);
	buf_view(&in, buf_head(&out), buf_left(&out));
	assert_int_equal(frame_decode(&in, &f), 0);
	f.visit_count = 0;
	buf_init_fixed(&fin, again, sizeof(again));
	assert_int_equal(frame_encode(&f, &fin), 0);
	assert_int_equal(channel_send(to->transport, CT_FRAMES_IN, 0, buf_head(&fin), buf_left(&fin)), 0);
}

static int
env_on_frames_out(void *ctx, struct channel *ch, struct imsg *m)
{
	struct buf in;
	struct frame f;

	(void)ch;
	buf_view(&in, m->body, m->len);
	while (buf_left(&in) > 0) {
		assert_int_equal(frame_decode(&in, &f), 0);
		env_forward(ctx, &f);
	}
	env_touch(((struct env_node *)ctx)->env);
	return 0;
}

static int
env_on_identity(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;

	/* Nobody may be let in who is not to be in the mesh. */
	assert_true(n->evicted[ch == n->router].before_identity);
	n->evicted[ch == n->router].before_identity = false;
	n->identities++;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_Identity_fields, &n->identity), 0);
	env_touch(n->env);
	return 0;
}

static int
env_on_evicted(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;

	n->evicted[ch == n->router].count++;
	n->evicted[ch == n->router].before_identity = true;
	assert_int_equal(idset_decode(&n->evicted[ch == n->router].set, m->body, m->len), 0);
	env_touch(n->env);
	return 0;
}

static int
env_on_acl(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;

	(void)ch;
	assert_true(m->len <= sizeof(n->acl));
	n->acl_count++;
	n->acl_len = m->len;
	memcpy(n->acl, m->body, m->len);
	env_touch(n->env);
	return 0;
}

static int
env_on_config(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;
	size_t i = ch == n->transport ? 0 : ch == n->router ? 1 : 2;

	n->shared[i].count++;
	buf_reset(&n->shared[i].body);
	assert_int_equal(conf_overlay_valid(m->body, m->len), 0);
	assert_int_equal(buf_put_bytes(&n->shared[i].body, m->body, m->len), 0);
	env_touch(n->env);
	return 0;
}

static struct buf env_signature;

static int
env_on_signature(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	buf_reset(&env_signature);
	assert_int_equal(buf_put_bytes(&env_signature, m->body, m->len), 0);
	env_touch(((struct env_node *)ctx)->env);
	return 0;
}

static channel_handler *const env_transport_handlers[] = {
    [CT_IDENTITY] = env_on_identity,
    [CT_SIGNATURE] = env_on_signature,
    [CT_FRAMES_OUT] = env_on_frames_out,
    [CT_EVICTED] = env_on_evicted,
    [CT_CONFIG] = env_on_config,
    [CT_ACL] = env_on_acl,
};

/* --- routerd --- */

static channel_handler *const env_router_handlers[] = {
    [CR_IDENTITY] = env_on_identity,
    [CR_SIGNATURE] = env_on_signature,
    [CR_EVICTED] = env_on_evicted,
    [CR_CONFIG] = env_on_config,
};

static void
env_send_pb(struct channel *ch, uint32_t type, uint32_t id, const pb_msgdesc_t *fields, const void *msg)
{
	struct buf out;

	buf_init(&out, 8 << 20);
	assert_int_equal(pb_pack(&out, fields, msg), 0);
	assert_int_equal(channel_send(ch, type, id, buf_head(&out), buf_left(&out)), 0);
	buf_fini(&out);
}

/* Tells node n of all nodes that run. */
static void
env_directory(struct env_node *n)
{
	assert_int_equal(channel_send(n->router, CR_NODES_BEGIN, 0, NULL, 0), 0);
	for (size_t i = 0; i < ENV_NODES; i++) {
		struct env_node *x = &n->env->nodes[i];
		mesh_ipc_Node node = mesh_ipc_Node_init_zero;

		if (!x->up)
			continue;
		node.node_id = x->engine.self;
		memcpy(node.public_key, x->engine.public_key, sizeof(node.public_key));
		snprintf(node.name, sizeof(node.name), "%s", x->name);
		node.status = mesh_ipc_NodeStatusCode_NODE_ALIVE;
		env_send_pb(n->router, CR_NODE, 0, mesh_ipc_Node_fields, &node);
	}
	assert_int_equal(channel_send(n->router, CR_NODES_END, 0, NULL, 0), 0);
}

/* --- gatewayd --- */

static struct env_call *
env_call_of(struct env_node *n, const struct imsg *m)
{
	assert_true(m->peerid < ENV_CALLS);
	return &n->calls[m->peerid];
}

static int
env_keep(struct env_call *c, const struct imsg *m)
{
	buf_reset(&c->body);
	c->bytes += m->len;
	return buf_put_bytes(&c->body, m->body, m->len);
}

static int
env_on_reply(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;
	struct env_call *c = env_call_of(n, m);

	(void)ch;
	c->replies++;
	env_touch(n->env);
	return env_keep(c, m);
}

static void
env_ack(struct env_node *n, uint32_t call, const char *stream, int64_t seq)
{
	mesh_v1_StreamSelector sel = mesh_v1_StreamSelector_init_zero;

	sel.acks_count = 1;
	snprintf(sel.acks[0].stream_id, sizeof(sel.acks[0].stream_id), "%s", stream);
	sel.acks[0].seq = seq;
	env_send_pb(n->gateway, GC_SUBSCRIBE_MORE, call, mesh_v1_StreamSelector_fields, &sel);
}

static int
env_on_item(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;
	struct env_call *c = env_call_of(n, m);
	/* ClientData and PublishResult: field 2 of the one, 6 of the other. */
	mesh_v1_ClientData data = mesh_v1_ClientData_init_zero;
	mesh_v1_PublishResult result = mesh_v1_PublishResult_init_zero;
	int64_t seq = 0;

	(void)ch;
	c->items++;
	if (pb_unpack(m->body, m->len, mesh_v1_PublishResult_fields, &result) == 0 && result.seq > 0)
		seq = result.seq;
	else if (pb_unpack(m->body, m->len, mesh_v1_ClientData_fields, &data) == 0 && data.seq > 0)
		seq = data.seq;
	if (c->last_seq != 0 && seq != c->last_seq + 1)
		c->out_of_order = true;
	c->last_seq = seq;
	if (n->auto_ack && data.seq > 0)
		env_ack(n, m->peerid, data.stream_id, data.seq);
	env_touch(n->env);
	return env_keep(c, m);
}

static int
env_on_done(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;
	struct env_call *c = env_call_of(n, m);
	mesh_ipc_CallStatus st = mesh_ipc_CallStatus_init_zero;

	(void)ch;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_CallStatus_fields, &st), 0);
	c->done++;
	c->code = st.code;
	memcpy(c->message, st.message, sizeof(c->message));
	env_touch(n->env);
	return 0;
}

static int
env_on_hold(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;
	mesh_ipc_Hold h = mesh_ipc_Hold_init_zero;

	(void)ch;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_Hold_fields, &h), 0);
	env_call_of(n, m)->held = h.hold;
	env_call_of(n, m)->holds += h.hold;
	env_touch(n->env);
	return 0;
}

static int
env_on_event(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;
	mesh_v1_MeshEvent ev = mesh_v1_MeshEvent_init_zero;

	(void)ch;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_v1_MeshEvent_fields, &ev), 0);
	n->events++;
	memcpy(n->last_event, ev.event_type, sizeof(n->last_event));
	env_touch(n->env);
	return 0;
}

static int
env_on_health(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env_node *n = ctx;
	mesh_ipc_Health h = mesh_ipc_Health_init_zero;

	(void)ch;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_Health_fields, &h), 0);
	n->health++;
	n->serving = h.serving;
	env_touch(n->env);
	return 0;
}

static channel_handler *const env_gateway_handlers[] = {
    [GC_REPLY] = env_on_reply,
    [GC_ITEM] = env_on_item,
    [GC_DONE] = env_on_done,
    [GC_PUBLISH_HOLD] = env_on_hold,
    [GC_EVENT] = env_on_event,
    [GC_HEALTH] = env_on_health,
    [GC_CONFIG] = env_on_config,
};

/* --- channels --- */

static int
env_on_up(void *ctx, struct channel *ch)
{
	struct env_node *n = ctx;

	env_touch(n->env);
	if (ch == n->router)
		env_directory(n);
	return 0;
}

static void
env_on_down(void *ctx, struct channel *ch, int err)
{
	(void)ctx;
	(void)ch;
	(void)err;
}

static void
env_pair(struct env_node *n, const struct channel_conf *ours, enum channel_side ours_side, const char *self,
    const struct channel_conf *theirs, struct channel **our_end, struct channel **their_end)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	*our_end = channel_attach(n->env->loop, fds[0], ours_side, self, ours);
	*their_end = channel_attach(n->env->loop, fds[1],
	    ours_side == CHANNEL_CLIENT ? CHANNEL_SERVER : CHANNEL_CLIENT, "consensusd", theirs);
	assert_true(*our_end != NULL && *their_end != NULL);
}

static struct channel_conf
env_conf(struct env_node *n, const struct edge *edge, channel_handler *const *handlers, size_t count)
{
	return (struct channel_conf){.edge = edge,
	    .handlers = handlers,
	    .handler_count = count,
	    .on_up = env_on_up,
	    .on_down = env_on_down,
	    .ctx = n};
}

static void
env_connect_transport(struct env_node *n)
{
	struct channel_conf conf =
	    env_conf(n, &edge_consensus_transport, env_transport_handlers, COUNT(env_transport_handlers));
	struct channel *theirs;

	env_pair(n, &conf, CHANNEL_SERVER, "transportd", transport_channel_conf(n->engine.transport),
	    &n->transport, &theirs);
	transport_attach(n->engine.transport, theirs);
}

static void
env_connect_router(struct env_node *n)
{
	struct channel_conf conf =
	    env_conf(n, &edge_consensus_router, env_router_handlers, COUNT(env_router_handlers));
	struct channel *theirs;

	env_pair(
	    n, &conf, CHANNEL_SERVER, "routerd", router_channel_conf(n->engine.router), &n->router, &theirs);
	router_attach(n->engine.router, theirs);
}

static void
env_connect_gateway(struct env_node *n)
{
	struct channel_conf gateway =
	    env_conf(n, &edge_gateway_consensus, env_gateway_handlers, COUNT(env_gateway_handlers));

	env_pair(n, &gateway, CHANNEL_CLIENT, "gatewayd", api_channel_conf(n->engine.api), &n->gateway,
	    &n->api_side);
}

static void
env_connect(struct env_node *n)
{
	env_connect_transport(n);
	env_connect_router(n);
	env_connect_gateway(n);
}

/* --- nodes --- */

static struct conf *
env_make_conf(struct env_node *n)
{
	char path[128];
	FILE *f;
	struct conf *c;

	snprintf(path, sizeof(path), "%s/mesh.conf", n->dir.path);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "mesh {\n id " ENV_MESH "\n node-name %s\n}\n", n->name);
	fprintf(f, "consensusd {\n keyring \"%s\"\n database \"%zu\"\n retransmit-min 20ms\n", n->dir.path,
	    n->index);
	fprintf(f, " retransmit-max 200ms\n stream-window 256KB\n stream-backlog 1MB\n memory-max 64MB\n");
	fprintf(f, "%s}\n", env_settings);
	fclose(f);
	c = conf_load(path, "consensusd", stderr);
	assert_non_null(c);
	return c;
}

/* Starts the node's consensusd; its store may have something from before. */
static void
env_start(struct env_node *n)
{
	struct conf *conf = env_make_conf(n);

	n->keyring = keyring_open(n->dir.path);
	assert_non_null(n->keyring);
	assert_int_equal(engine_init(&n->engine, n->env->loop, n->keyring, conf), 0);
	n->engine.api = api_new(&n->engine);
	assert_non_null(n->engine.api);
	n->engine.bulletin = bulletin_new(&n->engine);
	assert_non_null(n->engine.bulletin);
	n->up = true;
	env_connect(n);
	assert_int_equal(memo_open(&n->engine, conf), 0);
	assert_int_equal(engine_open_store(&n->engine, conf, -1, -1, NULL), 0);
	conf_free(conf);
}

static void
env_stop(struct env_node *n)
{
	if (!n->up)
		return;
	n->up = false;
	engine_fini(&n->engine);
	api_free(n->engine.api);
	channel_free(n->api_side);
	channel_free(n->transport);
	channel_free(n->router);
	channel_free(n->gateway);
	n->transport = n->router = n->gateway = NULL;
	idset_fini(&n->evicted[0].set);
	idset_fini(&n->evicted[1].set);
	keyring_free(n->keyring);
	memset(&n->engine, 0, sizeof(n->engine));
}

static bool
env_ready(struct env *e)
{
	for (size_t i = 0; i < ENV_NODES; i++) {
		struct env_node *n = &e->nodes[i];

		if (n->up && (!n->engine.loaded || n->identities < 2 || !channel_up(n->gateway) ||
				 n->engine.nodes.count < ENV_NODES || n->health == 0))
			return false;
	}
	return true;
}

static int
env_setup(void **state)
{
	static const char *const keys[] = {KEY_A "\n", KEY_B "\n", KEY_C "\n"};
	struct env *e = &env;

	(void)state;
	memset(e, 0, sizeof(*e));
	log_set_level(LOG_ERROR);
	assert_int_equal(crypto_init(), 0);
	rng_seed(&e->rng, 7);
	e->loop = ENV_LOOP_NEW();
	e->alarm = loop_timer_new(e->loop, env_expire, e);
	e->poll = loop_timer_new(e->loop, env_poll, e);
	e->check = (struct loop_defer){.fn = env_check, .arg = e};
	buf_init(&env_signature, 256);
	for (size_t i = 0; i < ENV_NODES; i++) {
		struct env_node *n = &e->nodes[i];

		n->env = e;
		n->index = i;
		snprintf(n->name, sizeof(n->name), "%c", (char)('a' + i));
		keyring_dir_init(&n->dir, keys[i]);
		/* c has no key of tenant "two". */
		keyring_dir_put(&n->dir, "tenants/one.key", KEY_A "\n", 0600);
		if (i < 2)
			keyring_dir_put(&n->dir, "tenants/two.key", KEY_B "\n", 0600);
		for (size_t k = 0; k < ENV_CALLS; k++)
			buf_init(&n->calls[k].body, 8 << 20);
		for (size_t k = 0; k < COUNT(n->shared); k++)
			buf_init(&n->shared[k].body, CONF_OVERLAY_MAX_BYTES);
	}
	for (size_t i = 0; i < ENV_NODES; i++)
		env_start(&e->nodes[i]);
	env_run(e, env_ready);
	return 0;
}

static int
env_teardown(void **state)
{
	struct env *e = &env;

	(void)state;
	loop_defer_del(&e->check);
	for (size_t i = 0; i < ENV_NODES; i++) {
		env_stop(&e->nodes[i]);
		keyring_dir_fini(&e->nodes[i].dir);
		for (size_t k = 0; k < ENV_CALLS; k++)
			buf_fini(&e->nodes[i].calls[k].body);
		for (size_t k = 0; k < COUNT(e->nodes[i].shared); k++)
			buf_fini(&e->nodes[i].shared[k].body);
	}
	fake_dbs_fini();
	buf_fini(&env_signature);
	loop_timer_free(e->alarm);
	loop_timer_free(e->poll);
	loop_free(e->loop);
	return 0;
}

#include "tests/unit/consensusd/env_calls.h"

#endif
