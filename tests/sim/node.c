#include "tests/sim/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/be.h"
#include "routerd/core/router_impl.h"
#include "tests/sim/agree.h"
#include "tests/sim/data.h"
#include "tests/sim/member.h"
#include "tests/sim/net.h"
#include "tests/sim/share.h"
#include "tests/sim/way.h"

enum { STEPS_MAX = 4 };
enum { TRACE_ROUTE_SET = 100, TRACE_ROUTE_DEL, TRACE_STATE, TRACE_EVENT };

/* What routerd's work takes.  Frames that come while it is busy are taken together. */
enum {
	COST_TURN_US = 20,   /* a turn of the loop: system calls */
	COST_EVENT_US = 3,   /* one message */
	COST_VERIFY_US = 60, /* Ed25519, once for each new LSA */
	COST_SPF_NS = 400,   /* paths and FIB, for each node */
};

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

/* A turn of the node's loop at this time, or when its processor is free. */
static void
arm_at(struct sim_node *n, int64_t at)
{
	if (at < n->busy_until)
		at = n->busy_until;
	if (at >= n->wake_at)
		return;
	n->wake_at = at;
	queue_push(&n->sim->queue,
	    (struct sim_event){.at = at, .what = SIM_WAKE, .node = n->index, .life = n->life});
}

static struct mono
next_of(struct sim_node *n)
{
	struct mono next = member_next(n);

	return n->router != NULL ? mono_min(next, router_next(n->router)) : next;
}

/* Sees to it that the core is stepped when it wants to be. */
void
node_schedule(struct sim_node *n)
{
	struct mono next;

	if (!n->running || mono_is_never(next = next_of(n)))
		return;
	arm_at(n, mono_before(node_now(n), next) ? global_us(n, next) : n->sim->now);
}

/* --- effects of the core --- */

/* Instead of an Ed25519 signature: a hash that only the harness makes. */
void
node_sign(uint64_t id, const uint8_t *text, size_t len, uint8_t sig[LSA_SIG_BYTES])
{
	uint64_t h = sim_mix(id, text, len);

	for (size_t i = 0; i < LSA_SIG_BYTES; i += 8) {
		h = sim_mix(h, &i, sizeof(i));
		be_store64(sig + i, h);
	}
}

/* A newer LSA will be put into the database, unless it is one of this node from an earlier life. */
static void
taken(struct sim_node *n, const struct lsa *lsa, const uint8_t *raw)
{
	bool own = raw == buf_head(&n->router->origin.text);

	if (lsa->id.node == sim_id(n->index) && !own)
		return;
	share_note(n->sim, sim_index(lsa->id.node));
	if (n->sim->sampled)
		agree_lsa(n, lsa, own);
}

static int
op_verify(void *arg, const struct lsa *lsa, const uint8_t *raw, size_t raw_len)
{
	struct sim_node *n = arg;
	uint8_t sig[LSA_SIG_BYTES];

	n->sim->n.verified++;
	n->cost_us += COST_VERIFY_US;
	node_sign(lsa->id.node, raw, raw_len - LSA_SIG_BYTES, sig);
	if (be_load64(lsa->pubkey) != lsa->id.node || memcmp(sig, lsa->sig, sizeof(sig)) != 0)
		sim_fail(n->sim, "node %u: an LSA with a bad signature", n->index);
	taken(n, lsa, raw);
	return 0;
}

static void
op_send(void *arg, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	struct sim_node *n = arg;

	net_send_state(n->sim, n->index, sim_index(neighbour), payload, len);
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
	node_sign(sim_id(n->index), text, len, ev.data);
	queue_push(&n->sim->queue, ev);
}

static int
op_fib_begin(void *arg, uint64_t version)
{
	struct sim_node *n = arg;

	(void)version;
	if (n->fib != NULL)
		route_begin(n);
	return 0;
}

static int
op_route_set(void *arg, uint64_t destination, uint8_t class_mask, const struct fib_paths *p)
{
	struct sim_node *n = arg;

	sim_trace(
	    n->sim, n->index, TRACE_ROUTE_SET, destination, (uint64_t)class_mask << 32 | p->path[0].path_id);
	route_set(n, destination, class_mask, p);
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
	struct sim_node *n = arg;

	(void)version;
	if (n->fib != NULL)
		route_end(n);
	return 0;
}

static void
op_node(void *arg, const struct lsdb_entry *e)
{
	struct sim_node *n = arg;

	sim_trace(n->sim, n->index, TRACE_STATE, e->node, e->state);
	n->states[sim_index(e->node)] = e->state;
	member_node(n, e);
}

static void
on_node_down(struct sim_node *n, uint32_t down)
{
	struct sim *s = n->sim;

	if (s->watching_node && down == s->watched_node && s->noticed != NULL)
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
	if (s->gossip_only)
		return;
	if (n->computes)
		n->fib = sim_alloc(s->node_count, sizeof(n->fib[0]));
	n->states = sim_alloc(s->node_count, 1);
}

static void
inbox_clear(struct sim_node *n)
{
	for (size_t i = 0; i < n->inbox_count; i++)
		free(n->inbox[i].data);
	n->inbox_count = 0;
}

void
node_fini(struct sim *s, uint32_t index)
{
	struct sim_node *n = &s->nodes[index];

	if (n->fib != NULL)
		route_clear(n);
	member_stop(n);
	router_free(n->router);
	inbox_clear(n);
	data_clear(n);
	free(n->uses);
	free(n->inbox);
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

void
node_identity(const struct sim_node *n, struct router_identity *out)
{
	*out = (struct router_identity){.node = sim_id(n->index), .incarnation = n->incarnation};
	be_store64(out->pubkey, out->node);
	snprintf(out->name, sizeof(out->name), "node-%u", n->index);
	snprintf(out->region, sizeof(out->region), "lab");
}

void
node_create(struct sim_node *n)
{
	struct sim *s = n->sim;
	struct router_conf conf = s->conf;
	struct router_identity id;

	n->incarnation++;
	n->running = true;
	member_start(n);
	if (s->gossip_only)
		return;
	if (!n->alternatives)
		conf.paths_max = 1;
	if ((n->router = router_new(&conf, &ops, n, rng_u64(&s->rng))) == NULL)
		sim_fail(s, "out of memory");
	node_identity(n, &id);
	if (router_identity(n->router, &id, node_now(n)) != 0)
		sim_fail(s, "node %u: identity refused", n->index);
	links_tell(s, n);
	data_tell(n);
	if (s->sampled)
		agree_gone(n);
}

static void
routerd_start(struct sim_node *n)
{
	node_create(n);
	node_schedule(n);
}

static void
routerd_stop(struct sim_node *n)
{
	member_stop(n);
	router_free(n->router);
	n->router = NULL;
	if (n->sim->sampled)
		agree_gone(n);
	n->running = false;
	n->life++;
	n->wake_at = INT64_MAX;
	n->busy_until = n->slow_us = 0;
	inbox_clear(n);
	if (n->states != NULL)
		memset(n->states, 0, n->sim->node_count);
}

void
node_all_up(struct sim *s)
{
	for (uint32_t i = 0; i < s->node_count; i++)
		s->nodes[i].up = true;
	for (uint32_t i = 0; i < s->link_count; i++) {
		s->links[i].broken = false;
		s->links[i].told[0] = s->links[i].told[1] = true;
		s->links[i].session = 1;
	}
	sim_disturb(s);
}

void
node_start_all(struct sim *s)
{
	node_all_up(s);
	for (uint32_t i = 0; i < s->node_count; i++) {
		routerd_start(&s->nodes[i]);
		sim_run(s, SIM_START_US / s->node_count);
	}
}

static void
links_changed(struct sim *s, struct sim_node *n, bool reset)
{
	for (uint32_t i = 0; i < n->link_count; i++)
		net_changed(s, &s->links[s->node_links[n->first_link + i]], reset);
}

void
node_boot(struct sim *s, uint32_t index)
{
	struct sim_node *n = &s->nodes[index];

	if (n->up)
		return;
	n->up = true;
	s->parts_known = false;
	sim_disturb(s);
	routerd_start(n);
	for (uint32_t i = 0; s->gossip_only && i < s->node_count; i++) {
		if (!s->nodes[i].running)
			continue;
		member_listed(&s->nodes[i], n);
		node_schedule(&s->nodes[i]);
	}
	links_changed(s, n, false);
}

void
node_die(struct sim *s, uint32_t index, bool reset)
{
	struct sim_node *n = &s->nodes[index];

	if (!n->up)
		return;
	n->up = false;
	s->parts_known = false;
	sim_disturb(s);
	for (uint32_t i = 0; i < n->link_count; i++) {
		struct sim_link *l = &s->links[s->node_links[n->first_link + i]];

		l->told[net_side(l, index)] = false;
	}
	way_changed(s);
	routerd_stop(n);
	links_changed(s, n, reset);
	if (n->fib != NULL)
		route_clear(n);
	data_clear(n);
}

void
node_restart_routerd(struct sim *s, uint32_t index)
{
	struct sim_node *n = &s->nodes[index];

	if (!n->up)
		return;
	sim_disturb(s);
	routerd_stop(n);
	n->fib_opening = false;
	routerd_start(n);
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
	struct sim_event ev = {
	    .what = SIM_LINK_TOLD, .node = node, .link = peer, .a = session, .len = rtt_us};

	if (s->gossip_only)
		return;
	node_take(s, &ev);
}

void
node_link_down(struct sim *s, uint32_t node, uint32_t peer)
{
	struct sim_event ev = {.what = SIM_LINK_TOLD, .node = node, .link = peer};

	if (s->gossip_only)
		return;
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

static void
on_used(struct sim_node *n, const struct sim_event *ev)
{
	if (router_used(n->router, sim_id(ev->link), ev->a != 0) != 0)
		sim_fail(n->sim, "node %u: it is refused that node %u is used", n->index, ev->link);
}

/* The core gets an event. */
static void
handle(struct sim_node *n, const struct sim_event *ev)
{
	struct sim *s = n->sim;

	if (ev->what == SIM_FRAME)
		on_frame(n, ev);
	else if (ev->what == SIM_SIGNATURE)
		router_signature(n->router, (uint32_t)ev->a, ev->data, node_now(n));
	else if (ev->what == SIM_GOSSIP)
		member_feed(n, ev);
	else if (ev->what == SIM_USED)
		on_used(n, ev);
	else
		on_link(n, ev);
	if (s->noted_count != 0)
		share_noted(n);
	free(ev->data);
	n->cost_us += COST_EVENT_US + n->slow_us;
}

void
node_take(struct sim *s, struct sim_event *ev)
{
	struct sim_node *n = &s->nodes[ev->node];

	if (!n->running) {
		free(ev->data);
		return;
	}
	if (n->inbox_count == n->inbox_cap) {
		n->inbox_cap = n->inbox_cap != 0 ? 2 * n->inbox_cap : 8;
		n->inbox = sim_realloc(n->inbox, n->inbox_cap, sizeof(*ev));
	}
	n->inbox[n->inbox_count++] = *ev;
	arm_at(n, s->now);
}

void
node_drain(struct sim_node *n)
{
	for (size_t i = 0; i < n->inbox_count; i++)
		handle(n, &n->inbox[i]);
	n->inbox_count = 0;
}

/* All that waits, then what is due. */
static void
turn(struct sim_node *n)
{
	struct sim *s = n->sim;
	uint64_t spf_runs = n->router != NULL ? router_counters(n->router)->spf_runs : 0;

	n->cost_us = COST_TURN_US;
	node_drain(n);
	if (n->router != NULL) {
		step(n);
		spf_runs = router_counters(n->router)->spf_runs - spf_runs;
		n->cost_us += (int64_t)spf_runs * s->node_count * COST_SPF_NS / 1000;
	}
	member_step(n);
	n->busy_until = s->now + n->cost_us;
}

void
node_wake(struct sim *s, const struct sim_event *ev)
{
	struct sim_node *n = &s->nodes[ev->node];

	if (!n->running || n->life != ev->life || ev->at != n->wake_at)
		return;
	n->wake_at = INT64_MAX;
	if (n->busy_until <= s->now)
		turn(n);
	if (n->inbox_count != 0)
		arm_at(n, s->now);
	node_schedule(n);
}
