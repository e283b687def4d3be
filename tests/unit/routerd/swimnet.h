/*
 * swimnet: members in one process, in virtual time, for the scenario tests of swim.
 *
 * Any node reaches any other in some milliseconds, as over an overlay.  Payloads can be lost, a pair can
 * be cut one way, a process can stand still (what comes waits), a node can crash.  With links, each
 * node's link-state database is modelled by when it says that a node lost its links.  Everything follows
 * from the seed.
 */
#ifndef TESTS_UNIT_ROUTERD_SWIMNET_H
#define TESTS_UNIT_ROUTERD_SWIMNET_H

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "routerd/core/swim.h"
#include "routerd/core/swim_meta.h"
#include "routerd/core/swim_msg.h"

enum { SWIMNET_SECOND = 1000 * 1000, SWIMNET_LATENCY_MIN_US = 2000, SWIMNET_LATENCY_SPAN_US = 28000 };

struct swimnet;

struct swimnet_node {
	struct swimnet *net;
	int index;
	struct swim *swim; /* NULL: crashed */
	uint64_t start;
	int64_t paused_until;
	int64_t timer_at; /* of the timer that counts; INT64_MAX: none */
	unsigned events[SWIM_EVENT_COUNT];
	unsigned users;
	uint64_t user_last_ltime;
	bool user_disorder;
};

enum swimnet_what { SWIMNET_PAYLOAD, SWIMNET_TIMER, SWIMNET_UNLINKED, SWIMNET_LINKED };

struct swimnet_event {
	int64_t at;
	uint64_t order;
	enum swimnet_what what;
	int from, to;
	size_t len;
	uint8_t *data;
};

struct swimnet {
	int count;
	int64_t now;
	uint64_t order, hash;
	uint64_t sent_bytes, sent_payloads;
	unsigned loss_ppm;
	struct rng rng;
	struct swim_conf conf;
	struct swimnet_node *nodes;
	bool (*blocked)(struct swimnet *net, int from, int to);
	/* Every event of a member; may be NULL. */
	void (*event)(struct swimnet *net, int node, enum swim_event ev, int about);
	void *arg;
	struct swimnet_event *queue;
	size_t queued, cap;
};

static inline uint64_t
swimnet_id(int index)
{
	return (uint64_t)index + 1;
}

static inline struct mono
swimnet_mono(const struct swimnet *net)
{
	return (struct mono){net->now};
}

/* --- the queue: a binary heap by (at, order) --- */

static inline bool
swimnet_before(const struct swimnet_event *a, const struct swimnet_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static inline void
swimnet_push(struct swimnet *net, struct swimnet_event ev)
{
	size_t i = net->queued++;

	if (net->queued > net->cap) {
		net->cap = net->cap != 0 ? 2 * net->cap : 256;
		net->queue = realloc(net->queue, net->cap * sizeof(net->queue[0]));
		assert_non_null(net->queue);
	}
	if (ev.order == 0)
		ev.order = ++net->order;
	while (i > 0 && swimnet_before(&ev, &net->queue[(i - 1) / 2])) {
		net->queue[i] = net->queue[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	net->queue[i] = ev;
}

static inline struct swimnet_event
swimnet_pop(struct swimnet *net)
{
	struct swimnet_event top = net->queue[0], last = net->queue[--net->queued];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < net->queued) {
		if (child + 1 < net->queued && swimnet_before(&net->queue[child + 1], &net->queue[child]))
			child++;
		if (!swimnet_before(&net->queue[child], &last))
			break;
		net->queue[i] = net->queue[child];
		i = child;
	}
	net->queue[i] = last;
	return top;
}

/* --- effects --- */

static inline void
swimnet_op_send(void *arg, uint64_t node, const uint8_t *payload, size_t len)
{
	struct swimnet_node *n = arg;
	struct swimnet *net = n->net;
	struct swimnet_event ev = {.what = SWIMNET_PAYLOAD, .from = n->index, .to = (int)node - 1};

	assert_true(node >= 1 && node <= (uint64_t)net->count && len <= 15360);
	net->sent_bytes += len;
	net->sent_payloads++;
	net->hash = (net->hash ^ (len + node * 31 + (uint64_t)net->now)) * 0x100000001b3u;
	if (rng_below(&net->rng, 1000000) < net->loss_ppm ||
	    (net->blocked != NULL && net->blocked(net, ev.from, ev.to)))
		return;
	ev.at = net->now + SWIMNET_LATENCY_MIN_US + (int64_t)rng_below(&net->rng, SWIMNET_LATENCY_SPAN_US);
	ev.len = len;
	ev.data = malloc(len);
	assert_non_null(ev.data);
	memcpy(ev.data, payload, len);
	swimnet_push(net, ev);
}

static inline void
swimnet_op_event(void *arg, enum swim_event ev, uint64_t node)
{
	struct swimnet_node *n = arg;

	n->events[ev]++;
	n->net->hash = (n->net->hash ^ (ev + node * 31 + (uint64_t)n->net->now)) * 0x100000001b3u;
	if (n->net->event != NULL)
		n->net->event(n->net, n->index, ev, (int)node - 1);
}

static inline void
swimnet_op_user(void *arg, const struct swim_user_event *ev)
{
	struct swimnet_node *n = arg;

	n->users++;
	if (ev->ltime < n->user_last_ltime)
		n->user_disorder = true;
	n->user_last_ltime = ev->ltime;
}

static const struct swim_ops swimnet_ops = {swimnet_op_send, swimnet_op_event, swimnet_op_user};

/* --- nodes --- */

static inline void
swimnet_arm(struct swimnet_node *n)
{
	struct mono next = n->swim != NULL ? swim_next(n->swim) : MONO_NEVER;
	int64_t at = next.us < n->net->now ? n->net->now : next.us;

	if (mono_is_never(next) || at >= n->timer_at)
		return;
	n->timer_at = at;
	swimnet_push(n->net, (struct swimnet_event){.at = at, .what = SWIMNET_TIMER, .to = n->index});
}

static inline void
swimnet_step(struct swimnet_node *n)
{
	swim_step(n->swim, swimnet_mono(n->net));
	swimnet_arm(n);
}

/* A node starts; it knows all others if members are listed. */
static inline void
swimnet_start(struct swimnet *net, int i)
{
	struct swimnet_node *n = &net->nodes[i];

	n->net = net;
	n->index = i;
	n->start++;
	n->timer_at = INT64_MAX;
	n->swim = swim_new(&net->conf, &swimnet_ops, n, rng_u64(&net->rng));
	assert_non_null(n->swim);
	assert_int_equal(swim_identity(n->swim, swimnet_id(i), n->start, swimnet_mono(net)), 0);
	for (int k = 0; net->conf.listed && k < net->count; k++)
		assert_int_equal(swim_member(n->swim, swimnet_id(k), 1, swimnet_mono(net)), 0);
	swimnet_step(n);
}

static inline void
swimnet_stop(struct swimnet *net, int i)
{
	swim_free(net->nodes[i].swim);
	net->nodes[i].swim = NULL;
}

static inline void
swimnet_new(struct swimnet *net, int count, uint64_t seed, bool listed)
{
	memset(net, 0, sizeof(*net));
	net->count = count;
	net->now = 1000 * (int64_t)SWIMNET_SECOND;
	rng_seed(&net->rng, seed);
	swim_conf_default(&net->conf);
	net->conf.listed = listed;
	net->nodes = calloc((size_t)count, sizeof(net->nodes[0]));
	assert_non_null(net->nodes);
}

static inline void
swimnet_start_all(struct swimnet *net)
{
	for (int i = 0; i < net->count; i++)
		swimnet_start(net, i);
}

static inline void
swimnet_free(struct swimnet *net)
{
	for (int i = 0; i < net->count; i++)
		swim_free(net->nodes[i].swim);
	for (size_t i = 0; i < net->queued; i++)
		free(net->queue[i].data);
	free(net->queue);
	free(net->nodes);
}

/* All nodes' link-state databases say so of one, some milliseconds after delay_us. */
static inline void
swimnet_links(struct swimnet *net, int about, bool linked, int64_t delay_us)
{
	for (int i = 0; i < net->count; i++)
		if (i != about)
			swimnet_push(
			    net, (struct swimnet_event){
				     .at = net->now + delay_us + (int64_t)rng_below(&net->rng, 50000),
				     .what = linked ? SWIMNET_LINKED : SWIMNET_UNLINKED,
				     .from = about,
				     .to = i,
				 });
}

/* Everybody has links, with the two on each side in a ring. */
static inline void
swimnet_all_linked(struct swimnet *net)
{
	for (int i = 0; i < net->count; i++) {
		struct swim *s = net->nodes[i].swim;

		for (int k = 0; s != NULL && k < net->count; k++)
			swim_linked(s, swimnet_id(k), true, swimnet_mono(net));
		for (int d = 1; s != NULL && d <= 2; d++) {
			swim_neighbour(s, swimnet_id((i + d) % net->count), true);
			swim_neighbour(s, swimnet_id((i + net->count - d) % net->count), true);
		}
	}
}

/* --- time --- */

static inline void
swimnet_dispatch(struct swimnet *net, struct swimnet_event *ev)
{
	struct swimnet_node *n = &net->nodes[ev->to];

	if (ev->what == SWIMNET_TIMER) {
		if (ev->at != n->timer_at)
			return;
		n->timer_at = INT64_MAX;
	}
	if (n->swim == NULL)
		return;
	if (net->now < n->paused_until) {
		ev->at = n->paused_until;
		if (ev->what == SWIMNET_TIMER)
			n->timer_at = ev->at;
		swimnet_push(net, *ev);
		ev->data = NULL;
		return;
	}
	if (ev->what == SWIMNET_PAYLOAD)
		swim_feed(n->swim, swimnet_id(ev->from), ev->data, ev->len, swimnet_mono(net));
	else if (ev->what != SWIMNET_TIMER)
		swim_linked(n->swim, swimnet_id(ev->from), ev->what == SWIMNET_LINKED, swimnet_mono(net));
	if (ev->what == SWIMNET_TIMER || swim_next(n->swim).us <= net->now)
		swim_step(n->swim, swimnet_mono(net));
	swimnet_arm(n);
}

static inline void
swimnet_run(struct swimnet *net, int64_t us)
{
	int64_t end = net->now + us;

	while (net->queued != 0 && net->queue[0].at <= end) {
		struct swimnet_event ev = swimnet_pop(net);

		net->now = ev.at;
		swimnet_dispatch(net, &ev);
		free(ev.data);
	}
	net->now = end;
}

/* --- looking --- */

static inline enum swim_state
swimnet_state(struct swimnet *net, int at, int about)
{
	struct swim_info info;

	if (!swim_get(net->nodes[at].swim, swimnet_id(about), &info))
		return SWIM_STATE_COUNT;
	return info.state;
}

/* How many of the nodes that run think so of another one. */
static inline int
swimnet_think(struct swimnet *net, int about, enum swim_state state)
{
	int n = 0;

	for (int i = 0; i < net->count; i++)
		n += i != about && net->nodes[i].swim != NULL && swimnet_state(net, i, about) == state;
	return n;
}

static inline bool
swimnet_all_alive(struct swimnet *net)
{
	for (int i = 0; i < net->count; i++)
		if (net->nodes[i].swim != NULL && swimnet_think(net, i, SWIM_STATE_ALIVE) != net->count - 1)
			return false;
	return true;
}

#endif
