/*
 * shell: routerd between a transportd, a consensusd and a gatewayd that the test plays, all in this
 * process and one loop, over real channels, with real signatures.  The neighbour is a second router core.
 */
#ifndef TESTS_UNIT_ROUTERD_SHELL_H
#define TESTS_UNIT_ROUTERD_SHELL_H

#include "tests/unit/routerd/shell_env.h"
#include "tests/unit/routerd/shell_gateway.h"

/* --- transportd --- */

static void peer_step(void *arg);

static void
gossip_to_peer(struct env *e, const struct frame *f)
{
	assert_int_equal(f->class, FRAME_CLASS_CONTROL);
	assert_int_equal(f->visit_count, 1);
	assert_true(f->visit[0] == e->peer_id.node && f->src == e->identity.node_id);
	e->gossip_out++;
	if (e->peer_silent)
		return;
	swim_feed(e->peer_swim, f->src, f->payload, f->payload_len, clock_mono());
	loop_timer_arm(e->swim_timer, clock_mono());
}

static int
on_frame_out(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;
	struct frame f;
	struct buf in;

	(void)ch;
	buf_view(&in, m->body + 8, m->len - 8);
	assert_true(be_load64(m->body) == e->peer_id.node);
	assert_int_equal(frame_decode(&in, &f), 0);
	assert_int_equal(buf_end(&in), 0);
	if (f.type == FRAME_GOSSIP) {
		gossip_to_peer(e, &f);
		return 0;
	}
	assert_int_equal(f.type, FRAME_LINK_STATE);
	assert_int_equal(f.class, FRAME_CLASS_CONTROL);
	assert_int_equal(f.ttl, 1);
	assert_int_equal(f.visit_count, 0);
	assert_true(f.src == e->identity.node_id);
	router_feed(e->peer, f.src, f.payload, f.payload_len, clock_mono());
	loop_timer_arm(e->timer, clock_mono());
	return 0;
}

static int
on_dial(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	e->dials++;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_Dial_fields, &e->dial), 0);
	return 0;
}

static int
on_fib_begin(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	(void)m;
	e->fib_routes = 0;
	return 0;
}

static int
on_fib_route(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	e->fib_routes++;
	e->route = (mesh_ipc_FibRoute)mesh_ipc_FibRoute_init_zero;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_FibRoute_fields, &e->route), 0);
	e->fib_classes |= e->route.class_mask;
	return 0;
}

static int
on_fib_del(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	(void)m;
	e->fib_dels++;
	return 0;
}

static int
on_fib_end(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;

	(void)ch;
	(void)m;
	e->fib_whole++;
	return 0;
}

static void
tell_link(struct env *e)
{
	mesh_ipc_Link link = {.peer = e->peer_id.node, .rtt_us = 800, .since_unix_ms = 5};

	send_pb(e->transport, RT_LINK, 0, mesh_ipc_Link_fields, &link);
}

static int
transport_up(void *ctx, struct channel *ch)
{
	struct env *e = ctx;

	e->transport = ch;
	assert_int_equal(channel_send(ch, RT_LINKS_BEGIN, 0, NULL, 0), 0);
	if (e->link_up)
		tell_link(e);
	return channel_send(ch, RT_LINKS_END, 0, NULL, 0);
}

static void
transport_down(void *ctx, struct channel *ch, int err)
{
	struct env *e = ctx;

	(void)ch;
	(void)err;
	e->transport = NULL;
}

static void
serve_transport(struct env *e)
{
	char path[64];

	in_dir(e, "transportd.sock", path);
	e->transport_conf = (struct channel_conf){
	    .edge = &edge_router_transport,
	    .handlers = transport_handlers,
	    .handler_count = COUNT(transport_handlers),
	    .on_up = transport_up,
	    .on_down = transport_down,
	    .ctx = e,
	};
	e->server = channel_serve(e->loop, channel_listen_fd(path), "transportd", &e->transport_conf, 1);
	assert_non_null(e->server);
}

/* --- consensusd --- */

static int
on_sign(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;
	uint8_t sig[CRYPTO_SIG_BYTES];

	e->signs++;
	assert_int_equal(crypto_sign(e->key, CRYPTO_CONTEXT_LSA, m->body, m->len, sig), 0);
	return channel_send(ch, CR_SIGNATURE, m->peerid, sig, e->refuse ? 0 : sizeof(sig));
}

static int
on_nodes_begin(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	(void)m;
	((struct env *)ctx)->nodes_begin++;
	return 0;
}

static int
on_node(void *ctx, struct channel *ch, struct imsg *m)
{
	struct env *e = ctx;
	mesh_ipc_Node node;

	(void)ch;
	e->nodes++;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_Node_fields, &node), 0);
	assert_true(crypto_node_id(node.public_key) == node.node_id);
	if (node.node_id == e->peer_id.node)
		e->node = node;
	return 0;
}

static int
on_nodes_end(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	(void)m;
	((struct env *)ctx)->nodes_end++;
	return 0;
}

static int
on_links_begin(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	(void)m;
	((struct env *)ctx)->mesh_links = 0;
	return 0;
}

static int
on_links(void *ctx, struct channel *ch, struct imsg *m)
{
	mesh_ipc_MeshLinks in = mesh_ipc_MeshLinks_init_zero;
	struct env *e = ctx;

	(void)ch;
	assert_int_equal(pb_unpack(m->body, m->len, mesh_ipc_MeshLinks_fields, &in), 0);
	e->mesh_links += in.links_count;
	return 0;
}

static int
on_links_end(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	(void)m;
	((struct env *)ctx)->topologies++;
	return 0;
}

static int
consensus_up(void *ctx, struct channel *ch)
{
	struct env *e = ctx;

	e->identity.incarnation++;
	send_pb(ch, CR_IDENTITY, 0, mesh_ipc_Identity_fields, &e->identity);
	return 0;
}

static void
make_key(struct env *e, uint8_t seed_byte)
{
	uint8_t seed[CRYPTO_SEED_BYTES];

	memset(seed, seed_byte, sizeof(seed));
	crypto_key_free(e->key);
	e->key = crypto_key_new(seed);
	assert_non_null(e->key);
	crypto_key_public(e->key, e->identity.public_key);
	e->identity.node_id = crypto_node_id(e->identity.public_key);
	snprintf(e->identity.node_name, sizeof(e->identity.node_name), "alpha");
	snprintf(e->identity.region, sizeof(e->identity.region), "lab");
}

static void
connect_consensus(struct env *e)
{
	e->consensus_conf = (struct channel_conf){
	    .edge = &edge_consensus_router,
	    .handlers = consensus_handlers,
	    .handler_count = COUNT(consensus_handlers),
	    .on_up = consensus_up,
	    .on_down = no_down,
	    .ctx = e,
	};
	e->consensus = channel_connect(e->loop, e->socket, "consensusd", &e->consensus_conf);
}

/* --- the neighbour --- */

static int
peer_verify(void *arg, const struct lsa *lsa, const uint8_t *raw, size_t len)
{
	(void)arg;
	assert_true(crypto_node_id(lsa->pubkey) == lsa->id.node);
	return crypto_verify(lsa->pubkey, CRYPTO_CONTEXT_LSA, raw, len - LSA_SIG_BYTES, lsa->sig);
}

static void
peer_frame(struct env *e, uint8_t type, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	uint8_t mem[8 + FRAME_MAX_BYTES];
	struct frame f = {
	    .type = type,
	    .ttl = 1,
	    .src = e->peer_id.node,
	    .payload = payload,
	    .payload_len = (uint32_t)len,
	};
	struct buf b;

	assert_true(neighbour == e->identity.node_id);
	buf_init_fixed(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u64(&b, e->peer_id.node), 0);
	assert_int_equal(frame_encode(&f, &b), 0);
	if (e->transport != NULL)
		(void)!channel_send(e->transport, RT_FRAME_IN, 0, mem, buf_left(&b));
}

static void
peer_send(void *arg, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	peer_frame(arg, FRAME_LINK_STATE, neighbour, payload, len);
}

static void
peer_gossip(void *arg, uint64_t node, const uint8_t *payload, size_t len)
{
	struct env *e = arg;

	/* It may still know this node by the id that it had before. */
	if (!e->peer_silent && node == e->identity.node_id)
		peer_frame(e, FRAME_GOSSIP, node, payload, len);
}

static void
peer_member(void *arg, enum swim_event ev, uint64_t node)
{
	(void)arg;
	(void)ev;
	(void)node;
}

static void
peer_user_event(void *arg, const struct swim_user_event *ev)
{
	(void)arg;
	(void)ev;
}

static const struct swim_ops peer_swim_ops = {peer_gossip, peer_member, peer_user_event};

static void
peer_swim_step(void *arg)
{
	struct env *e = arg;

	swim_step(e->peer_swim, clock_mono());
	loop_timer_arm(e->swim_timer, swim_next(e->peer_swim));
}

static void
peer_sign(void *arg, uint32_t ticket, const uint8_t *text, size_t len)
{
	struct env *e = arg;

	assert_int_equal(crypto_sign(e->peer_key, CRYPTO_CONTEXT_LSA, text, len, e->sig), 0);
	e->ticket = ticket;
	e->sig_due = true;
}

static int
peer_fib_mark(void *arg, uint64_t version)
{
	(void)arg;
	(void)version;
	return 0;
}

static int
peer_route(void *arg, uint64_t destination, uint8_t class_mask, const struct fib_paths *p)
{
	(void)arg;
	(void)destination;
	(void)class_mask;
	(void)p;
	return 0;
}

static void
peer_node(void *arg, const struct lsdb_entry *e)
{
	(void)arg;
	(void)e;
}

static void
peer_event(void *arg, enum router_event ev, uint64_t a, uint64_t b)
{
	(void)arg;
	(void)ev;
	(void)a;
	(void)b;
}

static void
peer_wish(void *arg, uint64_t node, uint64_t unix_ms)
{
	struct env *e = arg;

	e->peer_wish_node = node;
	e->peer_wish_unix_ms = unix_ms;
}

static const struct router_ops peer_ops = {
    .verify = peer_verify,
    .send = peer_send,
    .sign = peer_sign,
    .fib_begin = peer_fib_mark,
    .route_set = peer_route,
    .route_del = peer_fib_mark,
    .fib_end = peer_fib_mark,
    .node = peer_node,
    .event = peer_event,
    .wish = peer_wish,
};

static void
peer_step(void *arg)
{
	struct env *e = arg;

	router_step(e->peer, clock_mono());
	while (e->sig_due) {
		e->sig_due = false;
		router_signature(e->peer, e->ticket, e->sig, clock_mono());
		router_step(e->peer, clock_mono());
	}
	loop_timer_arm(e->timer, router_next(e->peer));
}

static void
start_peer_swim(struct env *e)
{
	struct swim_conf conf;

	swim_conf_default(&conf);
	e->peer_swim = swim_new(&conf, &peer_swim_ops, e, 8);
	e->swim_timer = loop_timer_new(e->loop, peer_swim_step, e);
	assert_int_equal(
	    swim_identity(e->peer_swim, e->peer_id.node, e->peer_id.incarnation, clock_mono()), 0);
}

static void
start_peer(struct env *e)
{
	const struct router_conf conf = {60000000, 200000000, 10000, 100, "0.0.1", .paths_max = 1};
	uint8_t seed[CRYPTO_SEED_BYTES] = {9};

	e->peer_key = crypto_key_new(seed);
	crypto_key_public(e->peer_key, e->peer_id.pubkey);
	e->peer_id.node = crypto_node_id(e->peer_id.pubkey);
	e->peer_id.incarnation = 3;
	snprintf(e->peer_id.name, sizeof(e->peer_id.name), "beta");
	e->peer = router_new(&conf, &peer_ops, e, 7);
	e->timer = loop_timer_new(e->loop, peer_step, e);
	assert_int_equal(router_identity(e->peer, &e->peer_id, clock_mono()), 0);
	router_links_begin(e->peer);
	router_links_end(e->peer, clock_mono());
	start_peer_swim(e);
}

/* The link, as both ends' transportds tell it. */
static void
link_up(struct env *e)
{
	struct router_link l = {.peer = e->identity.node_id, .since_unix_ms = 5, .rtt_us = 800};

	e->link_up = true;
	if (e->transport != NULL)
		tell_link(e);
	assert_int_equal(router_link(e->peer, &l, clock_mono()), 0);
	loop_timer_arm(e->timer, clock_mono());
}

static void
link_down(struct env *e)
{
	mesh_ipc_LinkDown down = {.peer = e->peer_id.node};

	e->link_up = false;
	send_pb(e->transport, RT_LINK_DOWN, 0, mesh_ipc_LinkDown_fields, &down);
	router_link_down(e->peer, e->identity.node_id, clock_mono());
}

/* --- running --- */

static void
on_alarm(void *arg)
{
	struct env *e = arg;

	e->expired = true;
	loop_stop(e->loop);
}

static void
poll_until(void *arg)
{
	struct env *e = arg;

	if (e->until(e))
		loop_stop(e->loop);
	else
		loop_timer_arm_ms(e->poll, 1);
}

/* Runs until the condition holds; it is looked at every millisecond. */
static void
run_until(struct env *e, bool (*until)(struct env *e))
{
	e->until = until;
	e->expired = false;
	loop_timer_arm_ms(e->alarm, DEADLINE_MS);
	loop_timer_arm_ms(e->poll, 0);
	assert_int_equal(loop_run(e->loop), 0);
	loop_timer_disarm(e->alarm);
	loop_timer_disarm(e->poll);
	assert_false(e->expired);
}

static int
setup_all(void **state)
{
	static const struct daemon_def def = {.name = "routerd", .configure = routerd_configure};
	struct env *e = &env;
	char path[64];
	struct ulid id;
	FILE *f;

	(void)state;
	assert_int_equal(crypto_init(), 0);
	log_init("test", "alpha");
	log_set_level(getenv("TEST_LOG") != NULL ? LOG_DEBUG : LOG_ERROR);
	snprintf(e->dir, sizeof(e->dir), "/tmp/routerd-XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	in_dir(e, "mesh.conf", path);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f,
	    "mesh {\n id " MESH_ID "\n name lab\n node-name alpha\n runtime-dir \"%s\"\n}\n"
	    "routerd {\n probe-interval 100ms\n probe-timeout 50ms\n suspicion-mult 1\n}\n",
	    e->dir);
	fclose(f);
	e->loop = loop_event_new();
	e->alarm = loop_timer_new(e->loop, on_alarm, e);
	e->poll = loop_timer_new(e->loop, poll_until, e);
	e->daemon =
	    (struct daemon){.loop = e->loop, .debug = true, .conf = conf_load(path, "routerd", stderr)};
	assert_non_null(e->daemon.conf);
	e->daemon.def = &def;
	e->daemon.conf_path = mem_strdup(path);
	assert_non_null(e->daemon.conf_path);
	snprintf(e->daemon.runtime_dir, sizeof(e->daemon.runtime_dir), "%.31s", e->dir);
	in_dir(e, "routerd.sock", e->socket);
	e->daemon.listen_fd = channel_listen_fd(e->socket);
	assert_true(e->daemon.listen_fd >= 0);
	assert_int_equal(ulid_parse(MESH_ID, &id), 0);
	memcpy(e->identity.mesh_id, id.b, sizeof(id.b));
	make_key(e, 1);
	start_peer(e);
	assert_int_equal(routerd_start(&e->daemon), 0);
	return 0;
}

static int
teardown_all(void **state)
{
	struct env *e = &env;
	static const char *const files[] = {"mesh.conf", "routerd.sock", "transportd.sock"};
	char path[64];

	(void)state;
	channel_free(e->gateway);
	channel_free(e->consensus);
	routerd_fini(&e->daemon);
	if (e->server != NULL)
		channel_server_free(e->server);
	router_free(e->peer);
	swim_free(e->peer_swim);
	loop_timer_free(e->swim_timer);
	loop_timer_free(e->timer);
	loop_timer_free(e->alarm);
	loop_timer_free(e->poll);
	loop_defer_del(&e->daemon.overlay_defer);
	loop_free(e->loop);
	conf_free(e->daemon.conf);
	mem_free(e->daemon.overlay);
	mem_free(e->daemon.conf_path);
	crypto_key_free(e->key);
	crypto_key_free(e->peer_key);
	for (size_t i = 0; i < COUNT(files); i++) {
		in_dir(e, files[i], path);
		unlink(path);
	}
	rmdir(e->dir);
	return 0;
}

#endif
