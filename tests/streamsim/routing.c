/* routing: frames go over a network that shipped routers control (tests/sim/carrier.h), in half of the seeds.
 */
#include "tests/streamsim/world.h"
#include "tests/sim/carrier.h"

enum {
	RELAYS_MIN = 2,
	RELAYS_DRAWN = 5,
	NEAR_US = 2 * WORLD_MS, /* latency of the longest links */
	FAR_US = 10 * WORLD_MS,
	CHUNK_BYTES = 8192, /* over several relays, small pieces of snapshots are older than the next one */
	TOLD_MIN_US = 50,   /* from transportd to consensusd */
	TOLD_US = 500,
};

/* --- what comes of the network --- */

static void
on_arrived(void *arg, void *frame, uint32_t at, uint32_t hops)
{
	struct world *w = arg;
	struct frame *f = frame;

	if (at != f->to)
		world_fail(w, "a frame from node %u to node %u was delivered at node %u", f->from, f->to, at);
	w->sums.routed++;
	w->sums.hops += hops;
	w->sums.relayed += hops > 1;
	world_push(w, w->now, WORLD_FRAME, at, f->from, f);
}

static void
on_lost(void *arg, void *frame, bool no_route)
{
	struct world *w = arg;

	w->sums.lost++;
	w->sums.no_route += no_route;
	frame_free(frame);
}

static void
on_rerouted(void *arg, uint32_t at, uint32_t to)
{
	struct world *w = arg;

	if (at == 0)
		world_push(w, w->now + TOLD_MIN_US + world_below(w, TOLD_US), WORLD_REROUTED, 0, to, NULL);
}

static void __attribute__((noreturn)) on_fail(void *arg, const char *text)
{
	world_fail(arg, "routing: %s", text);
}

static void
on_tell(void *arg, const char *text)
{
	world_tell(arg, "routing: %s", text);
}

static const struct carrier_ops ops = {on_arrived, on_lost, on_rerouted, on_fail, on_tell};

/* --- the network --- */

void
routing_new(struct world *w)
{
	struct carrier_conf conf = {.ends = w->targets + 1, .seed = w->seed, .verbose = w->verbose};

	if (w->seed % 2 != 0) {
		world_tell(w, "ways are modelled: %u relays%s", w->relays, w->direct ? "" : " and no links");
		return;
	}
	conf.far_us = world_chance(w, 700) ? NEAR_US : FAR_US;
	conf.relays = RELAYS_MIN + world_below(w, RELAYS_DRAWN);
	world_tell(w, "frames are routed, over %u relays", conf.relays);
	w->settings.chunk_bytes = CHUNK_BYTES;
	w->routing = carrier_new(&conf, &ops, w);
}

void
routing_free(struct world *w)
{
	if (w->routing != NULL)
		carrier_free(w->routing);
	w->routing = NULL;
}

int64_t
routing_next(const struct world *w)
{
	return w->routing != NULL ? carrier_next(w->routing) : INT64_MAX;
}

void
routing_step(struct world *w)
{
	w->now = carrier_next(w->routing);
	carrier_step(w->routing);
}

/* The network, at the world's time; or NULL. */
static struct sim *
network(struct world *w)
{
	if (w->routing != NULL)
		carrier_clock(w->routing, w->now);
	return w->routing;
}

bool
routing_send(struct world *w, struct frame *f)
{
	struct sim *s = network(w);

	if (s == NULL)
		return false;
	carrier_send(s, f->from, f->to, f);
	return true;
}

void
routing_node(struct world *w, unsigned n)
{
	struct sim *s = network(w);

	if (s == NULL)
		return;
	if (w->node[n].up)
		carrier_end_up(s, n);
	else
		carrier_end_down(s, n, world_chance(w, 500));
}

bool
routing_fault(struct world *w)
{
	struct sim *s = network(w);

	if (s == NULL)
		return false;
	carrier_fault(s);
	return true;
}

void
routing_heal(struct world *w)
{
	struct sim *s = network(w);

	/* Not so often as other things: a link is missed only after it has been silent for a while. */
	if (s != NULL && world_chance(w, 300))
		carrier_calm(s, false);
}

void
routing_calm(struct world *w)
{
	struct sim *s = network(w);
	bool scarred;

	if (s == NULL)
		return;
	scarred = world_chance(w, 500);
	world_tell(w, "links and relays that fail %s", scarred ? "do so for ever" : "are there again");
	carrier_calm(s, scarred);
}

/* --- the source hears of it --- */

/* Is there a batch that has not arrived, for all that is known, and was not sent just now? */
static bool
waits(const struct world *w, const struct flow *f)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct flow_entry *e = &f->ring[(f->head + i) & (f->cap - 1)];

		if (!e->sacked && e->sent.us != w->now)
			return true;
	}
	return false;
}

static struct flow *
flow_to(struct world *w, unsigned target)
{
	struct stream *st = w->node[0].stream;

	return st != NULL ? stream_flow(st, target + 1) : NULL;
}

void
routing_rerouted(struct world *w, unsigned target)
{
	struct flow *f = flow_to(w, target);
	size_t window;

	if (f == NULL)
		return;
	w->sums.rerouted++;
	window = f->cwnd_bytes;
	flow_rerouted(f, world_clock(w));
	if (f->cwnd_bytes != window)
		world_fail(w, "a path to target %u is gone, and that is taken for congestion", target);
	node_pump(w, 0);
	f = flow_to(w, target);
	if (f != NULL && f->state == FLOW_OPEN && !w->node[0].stream->paused && waits(w, f))
		world_fail(w, "a path to target %u is gone, and what was on it waits for a timer", target);
}

void
routing_end(struct world *w)
{
	struct carrier_counts c;

	if (w->routing == NULL)
		return;
	while (w->now < carrier_settled(w->routing))
		world_run(w, carrier_settled(w->routing), false);
	carrier_check(network(w));
	carrier_show(w->routing, &c);
	w->sums.route_events += c.events;
	w->sums.route_faults += c.faults;
	w->sums.repaired += c.repaired;
	w->sums.notices += c.notices;
	w->sums.link_states += c.link_states;
	w->sums.gossip += c.gossip;
	world_note(w, carrier_hash(w->routing));
}
