#include "tests/sim/data.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/frame.h"
#include "tests/sim/carrier.h"
#include "tests/sim/check.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"
#include "tests/sim/way.h"

enum { NOWHERE = UINT32_MAX };

struct data {
	uint32_t src, dst;
	int64_t sent_at;
	bool must_arrive; /* unless something happens on its way */
	bool repaired;    /* it does not take the path that its source chose */
	void *payload;    /* of the carrier; NULL: nothing */
	uint32_t notice;  /* it tells its receiver that a frame to this node could not go on; NOWHERE: not */
	uint8_t ttl, visit_count, been_count;
	uint16_t visit[FRAME_VISIT_MAX];
	uint16_t been[FRAME_TTL_DEFAULT + 1]; /* nodes that had it */
};

static void
drop(struct sim *s, struct data *d, uint32_t at, uint64_t *counter, const char *why)
{
	(*counter)++;
	if (d->must_arrive && s->disturbed < d->sent_at)
		sim_fail(s, "a frame from node %u to node %u, sent at %lld in a quiet network, %s at node %u",
		    d->src, d->dst, (long long)d->sent_at, why, at);
	if (d->payload != NULL)
		carrier_lost(s, d->payload, counter == &s->n.data_no_route);
	free(d);
}

static bool
usable(struct sim *s, const struct sim_path *p, uint32_t self, uint32_t from)
{
	if (!net_has(s, self, p->hop[0]))
		return false;
	for (unsigned i = 0; i < p->hop_count; i++)
		if (p->hop[i] == from || p->hop[i] == self)
			return false;
	return true;
}

/* The best path of self that can be used by a frame that came from `from`, or NULL.  A node that computes no
 * paths repairs none. */
static const struct sim_path *
choose(struct sim *s, uint32_t self, uint32_t from, uint32_t dst, unsigned hops_max)
{
	const struct sim_node *n = &s->nodes[self];
	const struct sim_route *r = n->fib != NULL ? n->fib[dst] : NULL;

	const struct sim_path *left = NULL;

	for (uint32_t i = 0; r != NULL && i < r->path_count; i++) {
		const struct sim_path *p = &r->path[i];

		if (p->hop_count > hops_max || !usable(s, p, self, from))
			continue;
		if (from != NOWHERE || s->carrier == NULL || !carrier_left(s, self, dst, p))
			return p;
		if (left == NULL)
			left = p;
	}
	return left;
}

/* On to the next node; the rest of the path is in visit. */
static void
pass(struct sim *s, struct data *d, uint32_t at, uint32_t next)
{
	struct sim_link *l = net_link(s, at, next);
	int64_t delay = net_delay(s, l, at);

	sim_trace(s, at, SIM_DATA, (uint64_t)d->src << 32 | d->dst, next);
	if (delay < 0) {
		drop(s, d, at, &s->n.data_lost, "was lost");
		return;
	}
	queue_push(&s->queue, (struct sim_event){.at = s->now + delay,
				  .what = SIM_DATA,
				  .node = next,
				  .link = (uint32_t)(l - s->links),
				  .a = l->session,
				  .data = d});
}

static void
take_path(struct sim *s, struct data *d, uint32_t at, const struct sim_path *p)
{
	d->visit_count = (uint8_t)(p->hop_count - 1);
	memcpy(d->visit, p->hop + 1, d->visit_count * sizeof(d->visit[0]));
	pass(s, d, at, p->hop[0]);
}

void
data_start(struct sim *s, int64_t us)
{
	if (s->traffic_us == 0 && us != 0)
		queue_push(&s->queue, (struct sim_event){.at = s->now + us, .what = SIM_INJECT});
	s->traffic_us = us;
}

/* --- whom a node sends to --- */

/* Who sends to whom changes each so often, and is this many at a time. */
enum { ERA_US = 15 * SIM_SECOND, PARTNERS = 2 };

struct data_use {
	uint32_t dst;
	int64_t last_at;
};

static struct data_use *
use_find(struct sim_node *n, uint32_t dst)
{
	for (uint32_t i = 0; i < n->use_count; i++)
		if (n->uses[i].dst == dst)
			return &n->uses[i];
	return NULL;
}

static void
use_tell(struct sim_node *n, uint32_t dst, bool used)
{
	struct sim_event ev = {.what = SIM_USED, .node = n->index, .link = dst, .a = used};

	node_take(n->sim, &ev);
}

static void
use_look_later(struct sim_node *n, const struct data_use *u)
{
	queue_push(&n->sim->queue,
	    (struct sim_event){
		.at = u->last_at + SIM_UNUSED_US, .what = SIM_UNUSED, .node = n->index, .link = u->dst});
}

static void
use_note(struct sim_node *n, uint32_t dst)
{
	struct data_use *u = use_find(n, dst);

	if (u != NULL) {
		u->last_at = n->sim->now;
		return;
	}
	if (n->use_count == n->use_cap) {
		n->use_cap = n->use_cap != 0 ? 2 * n->use_cap : 4;
		n->uses = sim_realloc(n->uses, n->use_cap, sizeof(n->uses[0]));
	}
	u = &n->uses[n->use_count++];
	*u = (struct data_use){dst, n->sim->now};
	n->sim->n.data_used++;
	use_tell(n, dst, true);
	use_look_later(n, u);
}

void
data_unused(struct sim *s, const struct sim_event *ev)
{
	struct sim_node *n = &s->nodes[ev->node];
	struct data_use *u = use_find(n, ev->link);

	if (u == NULL)
		return;
	if (s->now - u->last_at < SIM_UNUSED_US) {
		use_look_later(n, u);
		return;
	}
	*u = n->uses[--n->use_count];
	s->n.data_unused++;
	use_tell(n, ev->link, false);
}

void
data_tell(struct sim_node *n)
{
	for (uint32_t i = 0; i < n->use_count; i++)
		use_tell(n, n->uses[i].dst, true);
}

void
data_clear(struct sim_node *n)
{
	n->use_count = 0;
}

/* One of those that src sends to at this time. */
static uint32_t
partner(struct sim *s, uint32_t src)
{
	uint64_t key[] = {s->seed, src, (uint64_t)(s->now / ERA_US), rng_below(&s->rng, PARTNERS)};

	return (uint32_t)(sim_mix(0, key, sizeof(key)) % s->node_count);
}

/* It starts on its way; which path it takes, if any. */
static const struct sim_path *
start(struct sim *s, const struct data *what)
{
	struct data *d = sim_alloc(1, sizeof(*d));
	const struct sim_path *p;

	*d = *what;
	d->sent_at = s->now;
	d->ttl = FRAME_TTL_DEFAULT;
	d->must_arrive = check_quiet(s) && net_connected(s, d->src, d->dst);
	d->been[d->been_count++] = (uint16_t)d->src;
	s->n.data_sent++;
	if ((p = choose(s, d->src, NOWHERE, d->dst, PATH_HOPS_MAX)) == NULL)
		drop(s, d, d->src, &s->n.data_no_route, "had no path");
	else
		take_path(s, d, d->src, p);
	return p;
}

void
data_inject(struct sim *s)
{
	uint32_t src = s->sources[rng_below(&s->rng, s->shape.routes)], dst = partner(s, src);

	if (s->traffic_us == 0)
		return;
	queue_push(&s->queue, (struct sim_event){.at = s->now + s->traffic_us, .what = SIM_INJECT});
	if (src == dst || !s->nodes[src].up)
		return;
	use_note(&s->nodes[src], dst);
	(void)start(s, &(struct data){.src = src, .dst = dst, .notice = NOWHERE});
}

const struct sim_path *
data_send(struct sim *s, uint32_t src, uint32_t dst, void *payload)
{
	use_note(&s->nodes[src], dst);
	return start(s, &(struct data){.src = src, .dst = dst, .payload = payload, .notice = NOWHERE});
}

/* The source of a frame hears that it could not go on as it was to: UNREACHABLE frames. */
static void
tell(struct sim *s, const struct data *d, uint32_t at)
{
	if (s->carrier == NULL || d->repaired || d->notice != NOWHERE ||
	    !carrier_may_tell(s, at, d->src, d->dst))
		return;
	(void)start(s, &(struct data){.src = at, .dst = d->src, .notice = d->dst});
}

void
data_free(struct sim *s, struct data *d)
{
	if (d->payload != NULL)
		carrier_lost(s, d->payload, false);
	free(d);
}

struct data_way
data_way(struct sim *s, uint32_t from, uint32_t to)
{
	const struct sim_path *p;
	struct data_way way = {.us = -1};
	uint32_t at = from, before = NOWHERE, i = 0;
	int64_t us = 0, delay;

	if (s->gossip_only || s->sampled)
		return way_find(s, from, to);
	p = choose(s, from, NOWHERE, to, PATH_HOPS_MAX);
	for (unsigned ttl = FRAME_TTL_DEFAULT; p != NULL && at != to && ttl > 1; ttl--) {
		uint32_t next = p->hop[i];

		if (!net_has(s, at, next)) { /* repair */
			p = choose(s, at, before, to, ttl - 1);
			i = 0;
			continue;
		}
		way.hops++;
		way.header_bytes += FRAME_HDR_BYTES + 8 * (p->hop_count - 1 - i);
		if ((delay = net_delay(s, net_link(s, at, next), at)) < 0)
			return way;
		us += delay + SIM_RELAY_US;
		before = at;
		at = next;
		i++;
	}
	if (at == to)
		way.us = us;
	return way;
}

static void
arrived(struct sim *s, struct data *d, uint32_t at)
{
	if (at != d->dst)
		sim_fail(s, "a frame from node %u to node %u was delivered at node %u", d->src, d->dst, at);
	s->n.data_delivered++;
	s->n.data_hops += d->been_count - 1u;
	if (d->notice != NOWHERE)
		carrier_notice(s, d->src, at, d->notice);
	if (d->payload != NULL)
		carrier_arrived(s, d->src, at, d->payload, d->sent_at, d->been_count - 1u);
	free(d);
}

/* Has it been here? */
static void
note_visit(struct sim *s, struct data *d, uint32_t at)
{
	for (unsigned i = 0; i < d->been_count; i++) {
		if (d->been[i] != at)
			continue;
		s->n.data_again++;
		if (d->must_arrive && s->disturbed < d->sent_at)
			sim_fail(
			    s, "a frame from node %u to node %u came to node %u twice", d->src, d->dst, at);
	}
	if (d->been_count > FRAME_TTL_DEFAULT)
		sim_fail(s, "a frame from node %u to node %u went on beyond its ttl", d->src, d->dst);
	d->been[d->been_count++] = (uint16_t)at;
}

void
data_frame(struct sim *s, struct sim_event *ev)
{
	uint32_t at = ev->node, from = net_peer(&s->links[ev->link], at), next;
	struct data *d = ev->data;
	const struct sim_path *p;

	if (!net_arrives(s, ev)) {
		drop(s, d, at, &s->n.data_lost, "was lost");
		return;
	}
	note_visit(s, d, at);
	if (d->visit_count == 0) {
		arrived(s, d, at);
		return;
	}
	if (d->ttl < 2) {
		drop(s, d, at, &s->n.data_ttl, "had no time to live");
		return;
	}
	d->ttl--;
	next = d->visit[0];
	if (next != at && net_has(s, at, next)) {
		d->visit_count--;
		memmove(d->visit, d->visit + 1, d->visit_count * sizeof(d->visit[0]));
		pass(s, d, at, next);
	} else if (next != at && d->dst != at && (p = choose(s, at, from, d->dst, d->ttl)) != NULL) {
		s->n.data_repaired++;
		tell(s, d, at);
		d->repaired = true;
		take_path(s, d, at, p);
	} else {
		tell(s, d, at);
		drop(s, d, at, &s->n.data_no_route, "had no path");
	}
}
