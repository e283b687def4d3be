/*
 * net: what the mesh between the nodes of env.h does to their frames: loses, doubles, delays and cuts off.
 */
#ifndef TESTS_UNIT_CONSENSUSD_NET_H
#define TESTS_UNIT_CONSENSUSD_NET_H

#include "common/base/mem.h"
#include "tests/unit/consensusd/env.h"

enum { NET_KEPT = 16 };

/* Of what happens to frames. */
#ifndef NET_SEED
#define NET_SEED 7
#endif

static struct net {
	unsigned lose_percent, double_percent, delay_percent;
	bool cut[ENV_NODES][ENV_NODES]; /* from, to */
	unsigned control;               /* frames between consensusds */
	struct {
		struct frame frame;
		uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
	} kept[NET_KEPT];
	size_t kept_count;
	struct {
		uint64_t id;
		uint8_t public_key[32];
	} who[ENV_NODES]; /* while they are down, too */
} net;

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1], *const c = &env.nodes[2];

static inline bool
net_is_cut(const struct frame *f)
{
	struct env_node *from = env_find(&env, f->src), *to = env_find(&env, frame_dst(f));

	return from != NULL && to != NULL && net.cut[from->index][to->index];
}

static inline void
net_deliver(struct frame *f)
{
	struct env_node *to = env_find(&env, frame_dst(f));
	uint8_t mem[FRAME_MAX_BYTES];
	struct buf out;

	if (to == NULL || to->transport == NULL || !channel_up(to->transport) || net_is_cut(f))
		return;
	f->visit_count = 0;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(frame_encode(f, &out), 0);
	(void)!channel_send(to->transport, CT_FRAMES_IN, 0, buf_head(&out), buf_left(&out));
}

/* A frame comes again, after others. */
static inline void
net_release(void)
{
	size_t i = rng_below(&env.rng, net.kept_count);
	struct frame f = net.kept[i].frame;

	f.payload = net.kept[i].payload;
	net_deliver(&f);
	net.kept[i] = net.kept[--net.kept_count];
}

static inline void
net_keep(const struct frame *f)
{
	net.kept[net.kept_count].frame = *f;
	memcpy(net.kept[net.kept_count].payload, f->payload, f->payload_len);
	net.kept_count++;
}

static inline bool
net_filter(struct env *e, size_t from, struct frame *f)
{
	struct frame again = *f;

	(void)from;
	net.control += f->type == FRAME_CONTROL;
	if (net_is_cut(f) || rng_below(&e->rng, 100) < net.lose_percent)
		return false;
	if (net.kept_count > 0 && rng_below(&e->rng, 100) < 50)
		net_release();
	if (rng_below(&e->rng, 100) < net.double_percent)
		net_deliver(&again);
	/* What has a header for its destination alone is not for here. */
	if (f->e2e_len == 0 && net.kept_count < NET_KEPT && rng_below(&e->rng, 100) < net.delay_percent) {
		net_keep(f);
		return false;
	}
	return true;
}

static inline void
net_heal(void)
{
	net.lose_percent = net.double_percent = net.delay_percent = 0;
	memset(net.cut, 0, sizeof(net.cut));
}

/* Nobody hears of it any more, nor it of anybody. */
static inline void
net_isolate(const struct env_node *n, bool on)
{
	for (size_t i = 0; i < ENV_NODES; i++)
		net.cut[n->index][i] = net.cut[i][n->index] = on && i != n->index;
}

/* --- what routerd says of nodes --- */

static inline void
net_say(struct env_node *to, const struct env_node *of, uint32_t status)
{
	mesh_ipc_Node node = mesh_ipc_Node_init_zero;

	node.node_id = net.who[of->index].id;
	memcpy(node.public_key, net.who[of->index].public_key, sizeof(node.public_key));
	snprintf(node.name, sizeof(node.name), "%s", of->name);
	node.status = status;
	env_send_pb(to->router, CR_NODE, 0, mesh_ipc_Node_fields, &node);
}

/* --- time --- */

static struct mono net_until;

static inline bool
net_time_over(struct env *e)
{
	(void)e;
	return !mono_before(clock_mono(), net_until);
}

static inline void
net_pass(int64_t ms)
{
	net_until = mono_add_ms(clock_mono(), ms);
	env_run(&env, net_time_over);
}

/* --- restarts --- */

static inline bool
net_all_loaded(struct env *e)
{
	for (size_t i = 0; i < ENV_NODES; i++) {
		struct env_node *n = &e->nodes[i];

		if (n->up && (!n->engine.loaded || !channel_up(n->transport) || !channel_up(n->gateway) ||
				 !channel_up(n->router)))
			return false;
	}
	return true;
}

/* Starts it, and all that are up are told of each other. */
static inline void
net_start(struct env_node *n)
{
	env_start(n);
	env_run(&env, net_all_loaded);
	for (size_t i = 0; i < ENV_NODES; i++)
		if (env.nodes[i].up)
			env_directory(&env.nodes[i]);
}

/* What went away because memory was short is forgotten, and connected again when the other end has noticed.
 */
static inline void
net_drop(struct channel **ch)
{
	if (*ch == NULL || channel_up(*ch))
		return;
	channel_free(*ch);
	*ch = NULL;
}

static inline void
net_mend(struct env_node *n)
{
	if (n->transport == NULL) {
		idset_fini(&n->evicted[0].set);
		env_connect_transport(n);
	}
	if (n->router == NULL) {
		idset_fini(&n->evicted[1].set);
		env_connect_router(n);
	}
	if (n->gateway == NULL) {
		channel_free(n->api_side);
		env_connect_gateway(n);
	}
}

static inline void
net_mend_all(void)
{
	mem_fail_at(0);
	net_pass(5);
	for (size_t i = 0; i < ENV_NODES; i++) {
		net_drop(&env.nodes[i].transport);
		net_drop(&env.nodes[i].router);
		net_drop(&env.nodes[i].gateway);
	}
	net_pass(5);
	for (size_t i = 0; i < ENV_NODES; i++)
		if (env.nodes[i].up)
			net_mend(&env.nodes[i]);
	env_run(&env, net_all_loaded);
}

static inline int
net_setup(void **state)
{
	int err = env_setup(state);

	rng_seed(&env.rng, NET_SEED);
	memset(&net, 0, sizeof(net));
	for (size_t i = 0; i < ENV_NODES; i++) {
		net.who[i].id = env.nodes[i].engine.self;
		memcpy(net.who[i].public_key, env.nodes[i].engine.public_key, 32);
	}
	env.filter = net_filter;
	return err;
}

#endif
