#include "tests/sim/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "tests/sim/net.h"

enum { STEPS_MAX = 4, TRACE_ROUTE_SET = 100, TRACE_ROUTE_DEL, TRACE_STATE, TRACE_EVENT };

/* --- its clock: offset + now x (1 + ppm) --- */

static int64_t
local_us(const struct sim_node *n, int64_t us)
{
	return n->clock_offset_us + us + us / 1000000 * n->clock_ppm + us % 1000000 * n->clock_ppm / 1000000;
}

/* The first moment at which the node's clock shows t or more. */
static int64_t
global_us(const struct sim_node *n, struct mono t)
{
	int64_t us = (t.us - n->clock_offset_us) / (1000000 + n->clock_ppm) * 1000000;

	us += (t.us - n->clock_offset_us) % (1000000 + n->clock_ppm) * 1000000 / (1000000 + n->clock_ppm) - 2;
	while (local_us(n, us) < t.us)
		us++;
	return us;
}

struct mono
node_now(const struct sim_node *n)
{
	return (struct mono){local_us(n, n->sim->now)};
}

/* Sees to it that the core is stepped when it wants to be. */
static void
arm(struct sim_node *n)
{
	struct sim *s = n->sim;
	struct mono next;
	int64_t at;

	if (n->router == NULL || mono_is_never(next = router_next(n->router)))
		return;
	at = mono_before(node_now(n), next) ? global_us(n, next) : s->now;
	if (at < s->now)
		at = s->now;
	if (at < n->busy_until)
		at = n->busy_until;
	if (at >= n->wake_at)
		return;
	n->wake_at = at;
	queue_push(&s->queue,
	    (struct sim_event){.at = at, .what = SIM_WAKE, .node = n->index, .life = n->life});
}

/* --- effects of the core --- */

/* What stands for an Ed25519 signature: a hash that only the harness makes. */
static void
fake_signature(uint64_t id, const uint8_t *text, size_t len, uint8_t sig[LSA_SIG_BYTES])
{
	uint64_t h = sim_mix(id, text, len);

	for (size_t i = 0; i < LSA_SIG_BYTES; i += 8) {
		h = sim_mix(h, &i, sizeof(i));
		be_store64(sig + i, h);
	}
}

static int
op_verify(void *arg, const struct lsa *lsa, const uint8_t *raw, size_t raw_len)
{
	struct sim_node *n = arg;
	uint8_t sig[LSA_SIG_BYTES];

	n->sim->n.verified++;
	fake_signature(lsa->id.node, raw, raw_len - LSA_SIG_BYTES, sig);
	if (be_load64(lsa->pubkey) != lsa->id.node || memcmp(sig, lsa->sig, sizeof(sig)) != 0)
		sim_fail(n->sim, "node %u: an LSA with a bad signature", n->index);
	return 0;
}

static void
op_send(void *arg, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	struct sim_node *n = arg;

	net_send(n->sim, n->index, sim_index(neighbour), payload, len);
}

static void
op_sign(void *arg, uint32_t ticket, const uint8_t *text, size_t len)
{
	struct sim_node *n = arg;
	struct sim_event ev = {.what = SIM_SIGNATURE,
	    .node = n->index,
	    .life = n->life,
	    .a = ticket,
	    .at = n->sim->now + SIM_SIGN_US,
	    .len = LSA_SIG_BYTES};

	ev.data = sim_alloc(1, LSA_SIG_BYTES);
	fake_signature(sim_id(n->index), text, len, ev.data);
	queue_push(&n->sim->queue, ev);
}

static int
op_fib_begin(void *arg, uint64_t version)
{
	(void)version;
	route_begin(arg);
	return 0;
}

static int
op_route_set(void *arg, const struct fib_route *r)
{
	struct sim_node *n = arg;

	sim_trace(n->sim, n->index, TRACE_ROUTE_SET, r->destination, r->path_id);
	route_set(n, r);
	return 0;
}

static int
op_route_del(void *arg, uint64_t destination)
{
	struct sim_node *n = arg;

	sim_trace(n->sim, n->index, TRACE_ROUTE_DEL, destination, 0);
	route_del(n, sim_index(destination));
	return 0;
}

static int
op_fib_end(void *arg, uint64_t version)
{
	(void)version;
	route_end(arg);
	return 0;
}

static void
op_node(void *arg, const struct lsdb_entry *e)
{
	struct sim_node *n = arg;

	sim_trace(n->sim, n->index, TRACE_STATE, e->id.node, e->state);
	n->states[sim_index(e->id.node)] = e->state;
}

static void
on_node_down(struct sim_node *n, uint32_t down)
{
	struct sim *s = n->sim;

	if (s->watching_node && down == s->watched_node)
		samples_add(s->noticed, s->now);
	if (net_connected(s, n->index, down)) {
		s->n.down_false++;
		sim_say(s, "node %u: node %u is down, it says, but there are links", n->index, down);
	} else {
		s->n.down_true++;
	}
}

static void
op_event(void *arg, enum router_event ev, uint64_t a, uint64_t b)
{
	struct sim_node *n = arg;

	sim_trace(n->sim, n->index, TRACE_EVENT + ev, a, b);
	if (ev == ROUTER_NODE_DOWN)
		on_node_down(n, sim_index(a));
	if (ev == ROUTER_LSA_MALFORMED || ev == ROUTER_LSDB_FULL)
		sim_fail(n->sim, "node %u: %s", n->index, router_event_name(ev));
}

static void
op_wish(void *arg, uint64_t node, uint64_t unix_ms)
{
	(void)arg;
	(void)node;
	(void)unix_ms;
}

static const struct router_ops ops = {
    .verify = op_verify,
    .send = op_send,
    .sign = op_sign,
    .fib_begin = op_fib_begin,
    .route_set = op_route_set,
    .route_del = op_route_del,
    .fib_end = op_fib_end,
    .node = op_node,
    .event = op_event,
    .wish = op_wish,
};

/* --- it comes and goes --- */

void
node_init(struct sim *s, uint32_t index)
{
	struct sim_node *n = &s->nodes[index];

	n->sim = s;
	n->index = index;
	n->wake_at = INT64_MAX;
	/* A monotonic clock starts anywhere.  Crystals are good to 100 ppm or so. */
	n->clock_offset_us = SIM_SECOND + (int64_t)rng_below(&s->rng, (uint64_t)1 << 40);
	n->clock_ppm = (int64_t)rng_below(&s->rng, 401) - 200;
	if ((s->faults & FAULT_SKEW) != 0)
		n->clock_ppm *= 100;
	n->fib = sim_alloc(s->node_count, sizeof(n->fib[0]));
	n->states = sim_alloc(s->node_count, 1);
}

void
node_fini(struct sim *s, uint32_t index)
{
	struct sim_node *n = &s->nodes[index];

	route_clear(n);
	router_free(n->router);
	queue_fini(&n->inbox);
	free(n->fib);
	free(n->states);
}

static void
links_tell(struct sim *s, struct sim_node *n)
{
	router_links_begin(n->router);
	for (uint32_t i = 0; i < n->link_count; i++)
		net_tell(s, &s->links[s->node_links[n->first_link + i]], n->index);
	router_links_end(n->router, node_now(n));
}

static void
routerd_start(struct sim *s, struct sim_node *n)
{
	struct router_identity id = {.node = sim_id(n->index), .incarnation = ++n->incarnation};

	if ((n->router = router_new(&s->conf, &ops, n, rng_u64(&s->rng))) == NULL)
		sim_fail(s, "out of memory");
	be_store64(id.pubkey, id.node);
	snprintf(id.name, sizeof(id.name), "node-%u", n->index);
	snprintf(id.region, sizeof(id.region), "lab");
	if (router_identity(n->router, &id, node_now(n)) != 0)
		sim_fail(s, "node %u: identity refused", n->index);
	links_tell(s, n);
	arm(n);
}

static void
routerd_stop(struct sim_node *n)
{
	router_free(n->router);
	n->router = NULL;
	n->life++;
	n->wake_at = INT64_MAX;
	n->busy_until = n->slow_us = 0;
	queue_fini(&n->inbox);
	memset(n->states, 0, n->sim->node_count);
}

static void
links_changed(struct sim *s, struct sim_node *n, bool reset)
{
	for (uint32_t i = 0; i < n->link_count; i++)
		net_changed(s, &s->links[s->node_links[n->first_link + i]], reset);
}

void
node_start(struct sim *s, uint32_t index)
{
	struct sim_node *n = &s->nodes[index];

	if (n->up)
		return;
	n->up = true;
	s->parts_known = false;
	s->disturbed = s->now;
	routerd_start(s, n);
	links_changed(s, n, false);
}

void
node_crash(struct sim *s, uint32_t index, bool reset)
{
	struct sim_node *n = &s->nodes[index];

	if (!n->up)
		return;
	n->up = false;
	s->parts_known = false;
	s->disturbed = s->now;
	for (uint32_t i = 0; i < n->link_count; i++) {
		struct sim_link *l = &s->links[s->node_links[n->first_link + i]];

		l->told[net_side(l, index)] = false;
	}
	routerd_stop(n);
	links_changed(s, n, reset);
	route_clear(n);
}

void
node_restart_routerd(struct sim *s, uint32_t index)
{
	struct sim_node *n = &s->nodes[index];

	if (!n->up)
		return;
	s->disturbed = s->now;
	routerd_stop(n);
	n->fib_opening = false;
	routerd_start(s, n);
}

void
node_hang(struct sim *s, uint32_t index, int64_t us)
{
	struct sim_node *n = &s->nodes[index];

	if (n->up && n->busy_until < s->now + us)
		n->busy_until = s->now + us;
	s->disturbed = s->now + us > s->disturbed ? s->now + us : s->disturbed;
}

/* --- what comes in: one after the other, and later if the processor is busy --- */

void
node_link_up(struct sim *s, uint32_t node, uint32_t peer, uint64_t session, uint32_t rtt_us)
{
	struct sim_event ev = {.what = SIM_LINK_TOLD, .node = node, .link = peer, .a = session, .len = rtt_us};

	node_take(s, &ev);
}

void
node_link_down(struct sim *s, uint32_t node, uint32_t peer)
{
	struct sim_event ev = {.what = SIM_LINK_TOLD, .node = node, .link = peer};

	node_take(s, &ev);
}

static void
on_link(struct sim_node *n, const struct sim_event *ev)
{
	struct router_link l = {.peer = sim_id(ev->link), .since_unix_ms = ev->a, .rtt_us = ev->len};

	if (ev->a == 0)
		router_link_down(n->router, l.peer, node_now(n));
	else if (router_link(n->router, &l, node_now(n)) != 0)
		sim_fail(n->sim, "node %u: link refused", n->index);
}

static void
on_frame(struct sim_node *n, const struct sim_event *ev)
{
	uint32_t from = net_peer(&n->sim->links[ev->link], n->index);

	router_feed(n->router, sim_id(from), ev->data, ev->len, node_now(n));
}

static void
step(struct sim_node *n)
{
	/* What a step finishes may make more due at once; a core that is never done would spin. */
	for (int steps = 0; !mono_before(node_now(n), router_next(n->router)); steps++) {
		if (steps == STEPS_MAX)
			sim_fail(n->sim, "node %u: its core wants to be stepped for ever", n->index);
		router_step(n->router, node_now(n));
	}
}

/* The core gets an event; what that makes due at once is done after all that comes at this moment. */
static void
handle(struct sim_node *n, const struct sim_event *ev)
{
	struct sim *s = n->sim;

	switch (ev->what) {
	case SIM_FRAME:
		on_frame(n, ev);
		break;
	case SIM_SIGNATURE:
		router_signature(n->router, (uint32_t)ev->a, ev->data, node_now(n));
		break;
	case SIM_LINK_TOLD:
		on_link(n, ev);
		break;
	default:
		break;
	}
	free(ev->data);
	if (n->slow_us != 0) {
		step(n);
		n->busy_until = s->now + n->slow_us;
	}
	arm(n);
}

/* The first of what waits is handled when the processor is free. */
static void
turn_later(struct sim_node *n)
{
	queue_push(&n->sim->queue, (struct sim_event){.at = n->busy_until,
				       .what = SIM_TURN,
				       .node = n->index,
				       .life = n->life});
}

void
node_take(struct sim *s, struct sim_event *ev)
{
	struct sim_node *n = &s->nodes[ev->node];

	if (n->router == NULL) {
		free(ev->data);
	} else if (n->busy_until <= s->now && n->inbox.count == 0) {
		handle(n, ev);
	} else {
		if (n->inbox.count == 0)
			turn_later(n);
		ev->at = 0; /* by order alone */
		queue_push(&n->inbox, *ev);
	}
}

void
node_turn(struct sim *s, const struct sim_event *ev)
{
	struct sim_node *n = &s->nodes[ev->node];
	struct sim_event first;

	if (n->router == NULL || n->life != ev->life || n->inbox.count == 0)
		return;
	if (n->busy_until <= s->now) {
		first = queue_pop(&n->inbox);
		handle(n, &first);
	}
	if (n->inbox.count != 0) {
		if (n->busy_until < s->now)
			n->busy_until = s->now;
		turn_later(n);
	}
}

void
node_wake(struct sim *s, const struct sim_event *ev)
{
	struct sim_node *n = &s->nodes[ev->node];

	if (n->router == NULL || n->life != ev->life || ev->at != n->wake_at)
		return;
	n->wake_at = INT64_MAX;
	if (n->busy_until <= s->now)
		step(n);
	arm(n);
}
