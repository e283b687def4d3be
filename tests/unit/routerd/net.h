/*
 * net: a network of router cores in one process, in virtual time, for the scenario tests.
 *
 * Each node has a model of its transportd (which links it has, which FIB it was given) and of its
 * consensusd (which signs after NET_SIGN_US).  Signatures are a hash that only the harness makes; a
 * public key starts with the node's id.  Everything follows from the seed: order, delays, losses.
 */
#ifndef TESTS_UNIT_ROUTERD_NET_H
#define TESTS_UNIT_ROUTERD_NET_H

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "routerd/core/cost.h"
#include "routerd/core/router.h"

enum { NET_NODES_MAX = 64, NET_SIGN_US = 100, NET_SECOND = 1000 * 1000 };

struct net_link {
	bool up;     /* frames pass */
	bool silent; /* frames vanish, but nobody was told */
	uint32_t latency_us, bandwidth_kbps, loss_ppm;
	uint16_t utilisation_permille;
	uint16_t weight[2]; /* at the end with the lower, the higher index */
	uint64_t since;
};

enum net_what { NET_FRAME, NET_SIGNATURE };

struct net_event {
	int64_t at;
	uint64_t order;
	enum net_what what;
	int from, to;
	uint64_t link_since; /* frame: of the link it travels on */
	uint32_t life;       /* signature: of the consensusd that was asked */
	uint32_t ticket;
	uint8_t *data;
	size_t len;
};

/* What transportd has of a destination. */
struct net_route {
	bool set;
	struct spf_path path; /* the first one of the control class */
	struct {
		uint32_t count;
		struct fib_path path[ROUTE_PATHS_MAX];
	} class[FRAME_CLASS_COUNT];
};

struct net;

struct net_node {
	struct net *net;
	int index;
	struct router *router; /* NULL: down */
	bool signer, transport;
	bool idle[NET_NODES_MAX]; /* no data is sent to these */
	bool refuse;              /* the signer refuses */
	uint32_t life;
	uint64_t incarnation;
	bool fib_opening;
	unsigned fib_whole, fib_lines;
	struct net_route fib[NET_NODES_MAX], fib_next[NET_NODES_MAX];
	unsigned node_news, states[NET_NODES_MAX];
	unsigned wishes;
	uint64_t wish_node, wish_unix_ms;
};

struct net {
	int count;
	int64_t now;
	uint64_t order, hash; /* hash of everything that happened */
	struct rng rng;
	unsigned loss_percent, duplicate_percent, jitter_us;
	struct net_node nodes[NET_NODES_MAX];
	struct net_link links[NET_NODES_MAX][NET_NODES_MAX]; /* [a][b], a < b */
	struct net_event *queue;
	size_t queued, queue_cap;
	unsigned events[ROUTER_REISSUED + 1];
	unsigned frames, verified;
	struct router_conf conf;
};

static inline uint64_t
net_id(int index)
{
	return (uint64_t)(index + 1) * 0x0101010101010101u;
}

static inline int
net_index(uint64_t id)
{
	return (int)(id / 0x0101010101010101u) - 1;
}

static inline struct mono
net_mono(const struct net *net)
{
	return (struct mono){net->now};
}

static inline struct net_link *
net_link(struct net *net, int a, int b)
{
	return a < b ? &net->links[a][b] : &net->links[b][a];
}

static inline uint64_t
net_mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static inline void
net_trace(struct net *net, int node, unsigned kind, uint64_t a, uint64_t b)
{
	const uint64_t words[] = {(uint64_t)net->now, (uint64_t)node, kind, a, b};

	net->hash = net_mix(net->hash, words, sizeof(words));
}

/* What stands for an Ed25519 signature. */
static inline void
net_sign(uint64_t id, const uint8_t *text, size_t len, uint8_t sig[LSA_SIG_BYTES])
{
	uint64_t h = net_mix(id ^ 0xcbf29ce484222325u, text, len);

	for (size_t i = 0; i < LSA_SIG_BYTES; i += 8) {
		h = net_mix(h, &i, sizeof(i));
		be_store64(sig + i, h);
	}
}

/* --- the queue: a binary heap by time, then order of sending --- */

static inline bool
net_earlier(const struct net_event *a, const struct net_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static inline void
net_push(struct net *net, struct net_event ev)
{
	size_t i = net->queued++;

	if (net->queued > net->queue_cap) {
		net->queue_cap = net->queue_cap != 0 ? 2 * net->queue_cap : 1024;
		net->queue = realloc(net->queue, net->queue_cap * sizeof(ev));
	}
	ev.order = net->order++;
	for (; i != 0 && net_earlier(&ev, &net->queue[(i - 1) / 2]); i = (i - 1) / 2)
		net->queue[i] = net->queue[(i - 1) / 2];
	net->queue[i] = ev;
}

static inline struct net_event
net_pop(struct net *net)
{
	struct net_event top = net->queue[0], last = net->queue[--net->queued];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < net->queued; i = child) {
		if (child + 1 < net->queued && net_earlier(&net->queue[child + 1], &net->queue[child]))
			child++;
		if (!net_earlier(&net->queue[child], &last))
			break;
		net->queue[i] = net->queue[child];
	}
	net->queue[i] = last;
	return top;
}

/* --- effects --- */

static inline int
net_op_verify(void *arg, const struct lsa *lsa, const uint8_t *raw, size_t raw_len)
{
	struct net_node *n = arg;
	uint8_t sig[LSA_SIG_BYTES];

	n->net->verified++;
	net_sign(lsa->id.node, raw, raw_len - LSA_SIG_BYTES, sig);
	if (be_load64(lsa->pubkey) != lsa->id.node || memcmp(sig, lsa->sig, sizeof(sig)) != 0)
		return ERR_CRYPTO;
	return 0;
}

static inline void
net_frame(struct net *net, int from, int to, const uint8_t *payload, size_t len)
{
	struct net_link *l = net_link(net, from, to);
	unsigned copies = 1;

	if (!l->up || l->silent || rng_below(&net->rng, 100) < net->loss_percent)
		return;
	copies += rng_below(&net->rng, 100) < net->duplicate_percent;
	while (copies-- != 0) {
		struct net_event ev = {.what = NET_FRAME, .from = from, .to = to, .link_since = l->since};

		ev.at = net->now + l->latency_us +
			(net->jitter_us != 0 ? (int64_t)rng_below(&net->rng, net->jitter_us) : 0);
		ev.data = malloc(len);
		ev.len = len;
		memcpy(ev.data, payload, len);
		net_push(net, ev);
	}
}

static inline void
net_op_send(void *arg, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	struct net_node *n = arg;

	assert_non_null(router_self(n->router));
	n->net->frames++;
	net_trace(n->net, n->index, 100, neighbour, net_mix(0, payload, len));
	net_frame(n->net, n->index, net_index(neighbour), payload, len);
}

static inline void
net_op_sign(void *arg, uint32_t ticket, const uint8_t *text, size_t len)
{
	struct net_node *n = arg;
	struct net_event ev = {.what = NET_SIGNATURE, .to = n->index, .life = n->life, .ticket = ticket};

	if (!n->signer)
		return;
	ev.at = n->net->now + NET_SIGN_US;
	if (!n->refuse) {
		ev.data = malloc(LSA_SIG_BYTES);
		ev.len = LSA_SIG_BYTES;
		net_sign(net_id(n->index), text, len, ev.data);
	}
	net_push(n->net, ev);
}

static inline int
net_op_fib_begin(void *arg, uint64_t version)
{
	struct net_node *n = arg;

	(void)version;
	if (!n->transport)
		return ERR_STATE;
	n->fib_opening = true;
	memset(n->fib_next, 0, sizeof(n->fib_next));
	return 0;
}

/* As transportd takes it: mesh-imsg(7). */
static inline void
net_route_valid(uint64_t destination, uint8_t class_mask, const struct fib_paths *p)
{
	assert_true(class_mask != 0 && class_mask < 1 << FRAME_CLASS_COUNT);
	assert_true(p->count >= 1 && p->count <= ROUTE_PATHS_MAX);
	for (uint32_t i = 0; i < p->count; i++) {
		assert_true(p->path[i].path.hop_count >= 1 && p->path[i].path.hop_count <= PATH_HOPS_MAX);
		assert_true(p->path[i].path.hops[p->path[i].path.hop_count - 1] == destination);
		assert_true(p->path[i].weight >= 1 && p->path[i].weight <= FIB_WEIGHT_MAX);
		for (uint32_t k = 0; k < i; k++)
			assert_int_not_equal(p->path[i].path_id, p->path[k].path_id);
	}
}

static inline int
net_op_route_set(void *arg, uint64_t destination, uint8_t class_mask, const struct fib_paths *p)
{
	struct net_node *n = arg;
	struct net_route *r = &(n->fib_opening ? n->fib_next : n->fib)[net_index(destination)];

	if (!n->transport)
		return ERR_STATE;
	net_route_valid(destination, class_mask, p);
	n->fib_lines++;
	r->set = true;
	for (unsigned k = 0; k < FRAME_CLASS_COUNT; k++) {
		if ((class_mask & 1u << k) == 0)
			continue;
		r->class[k].count = p->count;
		memcpy(r->class[k].path, p->path, p->count * sizeof(p->path[0]));
	}
	r->path = r->class[FRAME_CLASS_CONTROL].path[0].path;
	for (uint32_t i = 0; i < p->count; i++)
		net_trace(n->net, n->index, 101, destination, p->path[i].path_id);
	return 0;
}

static inline int
net_op_route_del(void *arg, uint64_t destination)
{
	struct net_node *n = arg;

	if (!n->transport)
		return ERR_STATE;
	net_trace(n->net, n->index, 102, destination, 0);
	memset(&n->fib[net_index(destination)], 0, sizeof(n->fib[0]));
	return 0;
}

static inline int
net_op_fib_end(void *arg, uint64_t version)
{
	struct net_node *n = arg;

	(void)version;
	if (!n->transport)
		return ERR_STATE;
	assert_true(n->fib_opening);
	n->fib_opening = false;
	n->fib_whole++;
	memcpy(n->fib, n->fib_next, sizeof(n->fib));
	return 0;
}

static inline void
net_op_node(void *arg, const struct lsdb_entry *e)
{
	struct net_node *n = arg;

	n->node_news++;
	n->states[net_index(e->node)] = e->state;
	net_trace(n->net, n->index, 103, e->node, e->state);
}

static inline void
net_op_event(void *arg, enum router_event ev, uint64_t a, uint64_t b)
{
	struct net_node *n = arg;

	n->net->events[ev]++;
	net_trace(n->net, n->index, ev, a, b);
	if (getenv("NET_TRACE") != NULL)
		printf("%10lld node %d: %s %d %d\n", (long long)n->net->now, n->index, router_event_name(ev),
		    net_index(a), net_index(b));
}

static inline void
net_op_wish(void *arg, uint64_t node, uint64_t unix_ms)
{
	struct net_node *n = arg;

	n->wishes++;
	n->wish_node = node;
	n->wish_unix_ms = unix_ms;
}

static const struct router_ops net_ops = {
    .verify = net_op_verify,
    .send = net_op_send,
    .sign = net_op_sign,
    .fib_begin = net_op_fib_begin,
    .route_set = net_op_route_set,
    .route_del = net_op_route_del,
    .fib_end = net_op_fib_end,
    .node = net_op_node,
    .event = net_op_event,
    .wish = net_op_wish,
};

/* --- nodes and links --- */

static inline void
net_init(struct net *net, int count, uint64_t seed)
{
	*net = (struct net){.count = count, .hash = 0xcbf29ce484222325u, .now = NET_SECOND};
	net->conf = (struct router_conf){
	    .lsa_refresh_us = 60 * NET_SECOND,
	    .lsa_max_age_us = 200 * (int64_t)NET_SECOND,
	    .spf_delay_us = 10 * 1000,
	    .nodes_max = 1000,
	    .paths_max = 3,
	    .software = "test",
	};
	memcpy(net->conf.cost, cost_defaults, sizeof(cost_defaults));
	rng_seed(&net->rng, seed);
	for (int i = 0; i < count; i++)
		net->nodes[i] = (struct net_node){.net = net, .index = i};
}

static inline void
net_fini(struct net *net)
{
	while (net->queued != 0)
		free(net_pop(net).data);
	for (int i = 0; i < net->count; i++)
		router_free(net->nodes[i].router);
	free(net->queue);
}

/* consensusd comes up: with a higher incarnation, as it keeps it in its database. */
static inline void
net_signer_up(struct net *net, int i)
{
	struct net_node *n = &net->nodes[i];
	struct router_identity id = {.node = net_id(i), .incarnation = ++n->incarnation};

	n->signer = true;
	n->life++;
	be_store64(id.pubkey, id.node);
	snprintf(id.name, sizeof(id.name), "node-%d", i);
	snprintf(id.region, sizeof(id.region), "lab");
	assert_int_equal(router_identity(n->router, &id, net_mono(net)), 0);
}

static inline void
net_signer_down(struct net *net, int i)
{
	struct net_node *n = &net->nodes[i];

	n->signer = false;
	n->life++;
	router_signer_down(n->router);
}

static inline void
net_tell_link(struct net *net, int at, int peer)
{
	struct net_link *l = net_link(net, at, peer);
	struct router_link link = {.peer = net_id(peer),
	    .since_unix_ms = l->since,
	    .rtt_us = 2 * l->latency_us,
	    .bandwidth_kbps = l->bandwidth_kbps,
	    .loss_ppm = l->loss_ppm,
	    .utilisation_permille = l->utilisation_permille,
	    .weight = l->weight[at > peer]};
	struct net_node *n = &net->nodes[at];

	if (n->router == NULL || !n->transport)
		return;
	/* transportd is connected anew, and tells its links again. */
	if (router_link(n->router, &link, net_mono(net)) == ERR_NOMEM)
		assert_int_equal(router_link(n->router, &link, net_mono(net)), 0);
}

/* Data is sent from a node to another, or no longer. */
static inline void
net_used(struct net *net, int from, int to, bool used)
{
	struct router *r = net->nodes[from].router;

	net->nodes[from].idle[to] = !used;
	if (router_used(r, net_id(to), used) == ERR_NOMEM)
		assert_int_equal(router_used(r, net_id(to), used), 0);
}

/* transportd connects: it tells the links it has, and where data goes. */
static inline void
net_transport_up(struct net *net, int i)
{
	struct net_node *n = &net->nodes[i];

	n->transport = true;
	router_links_begin(n->router);
	for (int peer = 0; peer < net->count; peer++)
		if (peer != i && net_link(net, i, peer)->up)
			net_tell_link(net, i, peer);
	router_links_end(n->router, net_mono(net));
	for (int to = 0; to < net->count; to++)
		if (to != i && !n->idle[to])
			net_used(net, i, to, true);
}

static inline void
net_start(struct net *net, int i)
{
	struct net_node *n = &net->nodes[i];

	n->router = router_new(&net->conf, &net_ops, n, rng_u64(&net->rng));
	assert_non_null(n->router);
	net_signer_up(net, i);
	net_transport_up(net, i);
}

static inline void
net_start_all(struct net *net)
{
	for (int i = 0; i < net->count; i++)
		net_start(net, i);
}

/* routerd dies: links and FIB stay where they are, everything it knew is gone. */
static inline void
net_kill(struct net *net, int i)
{
	router_free(net->nodes[i].router);
	net->nodes[i].router = NULL;
	net->nodes[i].signer = net->nodes[i].transport = false;
	net->nodes[i].life++;
}

static inline void
net_connect(struct net *net, int a, int b, uint32_t latency_us)
{
	*net_link(net, a, b) = (struct net_link){.up = true, .latency_us = latency_us, .since = ++net->order};
	net_tell_link(net, a, b);
	net_tell_link(net, b, a);
}

/* Links each node with the next one, and starts all. */
static inline void
net_line(struct net *net, uint32_t latency_us)
{
	for (int i = 0; i + 1 < net->count; i++)
		net_connect(net, i, i + 1, latency_us);
	net_start_all(net);
}

/* Both ends of a link have measured it anew. */
static inline void
net_measured(struct net *net, int a, int b)
{
	net_tell_link(net, a, b);
	net_tell_link(net, b, a);
}

static inline void
net_tell_down(struct net *net, int at, int peer)
{
	struct net_node *n = &net->nodes[at];

	if (n->router != NULL && n->transport)
		router_link_down(n->router, net_id(peer), net_mono(net));
}

static inline void
net_cut(struct net *net, int a, int b)
{
	net_link(net, a, b)->up = false;
	net_tell_down(net, a, b);
	net_tell_down(net, b, a);
}

/* --- time --- */

static inline void
net_deliver(struct net *net, struct net_event *ev)
{
	struct net_node *n = &net->nodes[ev->to];

	if (ev->what == NET_FRAME) {
		struct net_link *l = net_link(net, ev->from, ev->to);

		if (n->router != NULL && n->transport && l->up && !l->silent && l->since == ev->link_since)
			router_feed(n->router, net_id(ev->from), ev->data, ev->len, net_mono(net));
	} else if (n->router != NULL && n->signer && n->life == ev->life) {
		router_signature(n->router, ev->ticket, ev->len != 0 ? ev->data : NULL, net_mono(net));
	}
	free(ev->data);
}

/* Steps every node that is due; when the next one is. */
static inline int64_t
net_step(struct net *net)
{
	int64_t next = INT64_MAX;

	for (int i = 0; i < net->count; i++) {
		struct router *r = net->nodes[i].router;

		if (r == NULL)
			continue;
		/* What a step finishes may make more due at once; a core that is never done would spin. */
		for (int steps = 0; router_next(r).us <= net->now; steps++) {
			assert_true(steps < 4);
			router_step(r, net_mono(net));
		}
		if (router_next(r).us < next)
			next = router_next(r).us;
	}
	return next;
}

static inline void
net_run(struct net *net, int64_t us)
{
	int64_t end = net->now + us;

	for (;;) {
		int64_t next = net_step(net);

		if (net->queued != 0 && net->queue[0].at < next)
			next = net->queue[0].at;
		if (next > end)
			break;
		net->now = next;
		while (net->queued != 0 && net->queue[0].at <= net->now) {
			struct net_event ev = net_pop(net);

			net_deliver(net, &ev);
		}
	}
	net->now = end;
}

/* --- what must be true when all is quiet --- */

static inline uint32_t
net_cost(struct net *net, int a, int b)
{
	const struct net_link *l = net_link(net, a, b);
	struct lsa_adj adj = {.latency_us = l->latency_us,
	    .bandwidth_kbps = l->bandwidth_kbps,
	    .loss_ppm = l->loss_ppm,
	    .utilisation_permille = l->utilisation_permille,
	    .weight = l->weight[a > b]};

	return cost_link(&net->conf.cost[FRAME_CLASS_CONTROL], &adj);
}

static inline bool
net_usable(struct net *net, int a, int b)
{
	return a != b && net_link(net, a, b)->up && !net_link(net, a, b)->silent &&
	       net->nodes[a].router != NULL && net->nodes[b].router != NULL;
}

/* Least costs between all nodes (Floyd 1962); UINT64_MAX: no path. */
static inline void
net_costs(struct net *net, uint64_t (*d)[NET_NODES_MAX])
{
	for (int a = 0; a < net->count; a++)
		for (int b = 0; b < net->count; b++)
			d[a][b] = a == b ? 0 : net_usable(net, a, b) ? net_cost(net, a, b) : UINT64_MAX;
	for (int k = 0; k < net->count; k++)
		for (int a = 0; a < net->count; a++)
			for (int b = 0; b < net->count; b++)
				if (d[a][k] != UINT64_MAX && d[k][b] != UINT64_MAX &&
				    d[a][k] + d[k][b] < d[a][b])
					d[a][b] = d[a][k] + d[k][b];
}

/* The path is one of links that exist, and costs what it says. */
static inline void
net_check_path(struct net *net, int from, int to, const struct spf_path *p)
{
	uint64_t cost = 0;
	int at = from;

	assert_true(p->hop_count >= 1 && p->hop_count <= PATH_HOPS_MAX);
	for (uint32_t i = 0; i < p->hop_count; i++) {
		int next = net_index(p->hops[i]);

		assert_true(net_usable(net, at, next));
		cost += net_cost(net, at, next);
		at = next;
	}
	assert_int_equal(at, to);
	assert_int_equal(cost, p->cost);
}

/* What routerd has of a destination for a class, with the costs of now; transportd has the same paths. */
static inline const struct fib_paths *
net_paths(struct net *net, int from, int to, unsigned class)
{
	const struct cost_profiles *profiles = router_profiles(net->nodes[from].router);
	const struct fib_route *r = fib_get(router_fib(net->nodes[from].router), net_id(to));
	const struct fib_path *has = net->nodes[from].fib[to].class[class].path;
	const struct fib_paths *p;
	size_t profile = 0;

	while ((profiles->class_mask[profile] & 1u << class) == 0)
		profile++;
	assert_non_null(r);
	p = r->paths[profile];
	assert_non_null(p);
	assert_int_equal(p->count, net->nodes[from].fib[to].class[class].count);
	for (uint32_t i = 0; i < p->count; i++) {
		assert_int_equal(p->path[i].path_id, has[i].path_id);
		assert_int_equal(p->path[i].weight, has[i].weight);
		assert_int_equal(p->path[i].path.hop_count, has[i].path.hop_count);
		assert_memory_equal(p->path[i].path.hops, has[i].path.hops,
		    has[i].path.hop_count * sizeof(has[i].path.hops[0]));
	}
	return p;
}

static inline void
net_check_best(struct net *net, int from, int to, uint64_t least)
{
	const struct spf_path *p = &net_paths(net, from, to, FRAME_CLASS_CONTROL)->path[0].path;

	net_check_path(net, from, to, p);
	if (net->conf.hysteresis_percent == 0)
		assert_int_equal(p->cost, least);
	assert_true(p->cost * (uint64_t)(100 - net->conf.hysteresis_percent) <= least * 100);
}

/* Every node has the best path to all that can be reached, in transportd too, and no other. */
static inline void
net_check(struct net *net)
{
	static uint64_t d[NET_NODES_MAX][NET_NODES_MAX];

	net_costs(net, d);
	for (int a = 0; a < net->count; a++) {
		struct net_node *n = &net->nodes[a];

		if (n->router == NULL)
			continue;
		for (int b = 0; b < net->count; b++) {
			if (a == b)
				continue;
			if (n->fib[b].set != (d[a][b] != UINT64_MAX))
				fail_msg("at %lld: node %d has %s path to %d", (long long)net->now, a,
				    n->fib[b].set ? "a" : "no", b);
			if (!n->fib[b].set)
				continue;
			net_check_best(net, a, b, d[a][b]);
			assert_int_equal(n->states[b], NODE_STATE_ALIVE);
		}
	}
}

/* What a has b has too, but for what ends within the next second: clocks of ages differ a little. */
static inline void
net_check_subset(struct net *net, int a, int b)
{
	struct lsdb *db = router_lsdb(net->nodes[a].router);
	struct lsdb_entry *e;

	for (e = lsdb_from(db, 0); e != NULL; e = lsdb_next(db, e)) {
		const struct lsdb_entry *other = lsdb_get(router_lsdb(net->nodes[b].router), e->node);

		if (lsdb_age_ms(e, net_mono(net)) + 1000 >= net->conf.lsa_max_age_us / 1000)
			continue;
		assert_non_null(other);
		assert_int_equal(lsa_compare(&e->lsa->id, &other->lsa->id), 0);
		assert_int_equal(e->lsa->raw_len, other->lsa->raw_len);
		assert_memory_equal(e->lsa->raw, other->lsa->raw, e->lsa->raw_len);
	}
}

/* All nodes that can reach each other have the same database, when nothing is on its way. */
static inline void
net_check_equal(struct net *net)
{
	static uint64_t d[NET_NODES_MAX][NET_NODES_MAX];

	while (net->queued != 0)
		net_run(net, 1000);
	net_costs(net, d);
	for (int a = 0; a < net->count; a++)
		for (int b = 0; b < net->count; b++)
			if (a != b && net->nodes[a].router != NULL && net->nodes[b].router != NULL &&
			    d[a][b] != UINT64_MAX)
				net_check_subset(net, a, b);
}

#endif
