#include "tests/sim/carrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/check.h"
#include "tests/sim/data.h"
#include "tests/sim/fault.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"

enum {
	TEXT_SIZE = 512,
	TELL_US = 100 * SIM_MS,  /* UNREACH_INTERVAL_MS of transportd */
	LEFT_US = 1000 * SIM_MS, /* PATHHEALTH_HOLD_MIN_MS, likewise */
};

/* What transportd at one end knows of its way to another. */
struct carrier_way {
	struct sim_path path; /* that was taken last; no hops: none yet */
	int64_t sent_at;      /* the last frame on it */
	int64_t arrived_at;   /* the last of those that arrived: when it was sent */
	int64_t left_until;
};

struct carrier {
	const struct carrier_ops *ops;
	void *arg;
	int64_t began;
	uint32_t ends, nodes;
	struct carrier_way *ways; /* by source, by destination */
	int64_t *told_at;         /* by relay, by source, by destination */
	uint64_t notices;
};

static struct carrier_way *
way_of(const struct carrier *c, uint32_t from, uint32_t to)
{
	return &c->ways[from * c->ends + to];
}

struct sim *
carrier_new(const struct carrier_conf *conf, const struct carrier_ops *ops, void *arg)
{
	struct sim_shape shape = sim_shape(conf->ends + conf->relays, false);
	struct carrier *c = sim_alloc(1, sizeof(*c));
	struct sim *s;

	shape.ends = conf->ends;
	shape.far_us = conf->far_us;
	*c = (struct carrier){.ops = ops, .arg = arg, .ends = conf->ends, .nodes = shape.nodes};
	c->ways = sim_alloc((size_t)c->ends * c->ends, sizeof(c->ways[0]));
	c->told_at = sim_alloc((size_t)c->nodes * c->ends * c->ends, sizeof(c->told_at[0]));
	s = sim_new(&shape, conf->seed, FAULT_ALL, conf->verbose);
	s->carrier = c;
	node_start_all(s);
	c->began = s->now;
	return s;
}

void
carrier_free(struct sim *s)
{
	struct carrier *c = s->carrier;

	while (queue_next(&s->queue) != INT64_MAX) {
		struct sim_event ev = queue_pop(&s->queue);

		if (ev.what == SIM_DATA)
			data_free(s, ev.data);
		else
			free(ev.data);
	}
	sim_free(s);
	free(c->ways);
	free(c->told_at);
	free(c);
}

int64_t
carrier_next(const struct sim *s)
{
	int64_t next = queue_next(&s->queue);

	return next == INT64_MAX ? next : next - s->carrier->began;
}

void
carrier_step(struct sim *s)
{
	sim_step(s);
}

void
carrier_clock(struct sim *s, int64_t now_us)
{
	s->now = s->carrier->began + now_us;
}

/* --- transportd of ends --- */

static bool
same_path(const struct sim_path *a, const struct sim_path *b)
{
	return a->hop_count == b->hop_count && memcmp(a->hop, b->hop, a->hop_count * sizeof(a->hop[0])) == 0;
}

void
carrier_send(struct sim *s, uint32_t from, uint32_t to, void *frame)
{
	struct carrier_way *way = way_of(s->carrier, from, to);
	const struct sim_path *p = data_send(s, from, to, frame);

	if (p == NULL)
		return;
	if (!same_path(p, &way->path))
		*way = (struct carrier_way){.path = *p, .arrived_at = s->now - 1};
	way->sent_at = s->now;
}

void
carrier_arrived(struct sim *s, uint32_t src, uint32_t at, void *frame, int64_t sent_at, uint32_t hops)
{
	struct carrier *c = s->carrier;
	struct carrier_way *way = way_of(c, src, at);

	if (sent_at > way->arrived_at)
		way->arrived_at = sent_at;
	c->ops->arrived(c->arg, frame, at, hops);
}

void
carrier_lost(struct sim *s, void *frame, bool no_route)
{
	s->carrier->ops->lost(s->carrier->arg, frame, no_route);
}

bool
carrier_left(struct sim *s, uint32_t at, uint32_t dst, const struct sim_path *p)
{
	const struct carrier *c = s->carrier;
	const struct carrier_way *way;

	if (at >= c->ends || dst >= c->ends)
		return false;
	way = way_of(c, at, dst);
	return s->now < way->left_until && same_path(p, &way->path);
}

/* reroute_failed().  What a relay says again is no news. */
static void
leave(struct sim *s, uint32_t at, uint32_t to, bool notice)
{
	struct carrier *c = s->carrier;
	struct carrier_way *way = way_of(c, at, to);
	bool left = s->now < way->left_until;

	way->left_until = s->now + LEFT_US;
	if ((left && notice) || way->arrived_at >= way->sent_at)
		return;
	way->arrived_at = way->sent_at;
	c->ops->rerouted(c->arg, at, to);
}

void
carrier_link_down(struct sim *s, uint32_t at, uint32_t peer)
{
	const struct carrier *c = s->carrier;

	for (uint32_t to = 0; at < c->ends && to < c->ends; to++) {
		const struct sim_path *p = &way_of(c, at, to)->path;

		if (p->hop_count != 0 && p->hop[0] == peer)
			leave(s, at, to, false);
	}
}

bool
carrier_may_tell(struct sim *s, uint32_t relay, uint32_t src, uint32_t dst)
{
	const struct carrier *c = s->carrier;
	int64_t *told_at = &c->told_at[(relay * c->ends + src) * c->ends + dst];

	if (*told_at != 0 && s->now < *told_at + TELL_US)
		return false;
	*told_at = s->now;
	return true;
}

/* Is the path that was taken last still one that routerd wants? */
static bool
installed(const struct sim_node *n, uint32_t to, const struct sim_path *p)
{
	const struct sim_route *r = n->fib[to];

	for (uint32_t i = 0; r != NULL && i < r->path_count; i++)
		if (same_path(&r->path[i], p))
			return true;
	return false;
}

void
carrier_notice(struct sim *s, uint32_t relay, uint32_t at, uint32_t dst)
{
	const struct sim_path *p = &way_of(s->carrier, at, dst)->path;
	bool over = false;

	s->carrier->notices++;
	for (uint32_t i = 0; i + 1 < p->hop_count; i++)
		over |= p->hop[i] == relay;
	if (over && installed(&s->nodes[at], dst, p))
		leave(s, at, dst, true);
}

/* --- what happens to the network --- */

void
carrier_end_down(struct sim *s, uint32_t end, bool reset)
{
	const struct carrier *c = s->carrier;

	node_die(s, end, reset);
	for (uint32_t to = 0; to < c->ends; to++)
		*way_of(c, end, to) = (struct carrier_way){0};
}

void
carrier_end_up(struct sim *s, uint32_t end)
{
	node_boot(s, end);
}

void
carrier_fault(struct sim *s)
{
	fault_disturb(s);
}

static bool
ends_connected(struct sim *s)
{
	for (uint32_t end = 1; end < s->carrier->ends; end++)
		if (!net_connected(s, 0, end))
			return false;
	return true;
}

void
carrier_calm(struct sim *s, bool scarred)
{
	if (!scarred) {
		fault_calm(s);
		return;
	}
	fault_frames_pass(s);
	while (!ends_connected(s))
		fault_mend(s);
}

int64_t
carrier_settled(const struct sim *s)
{
	return s->disturbed + SIM_SETTLE_US - s->carrier->began;
}

void
carrier_check(struct sim *s)
{
	check_all(s);
	for (uint32_t from = 0; from < s->carrier->ends; from++)
		for (uint32_t to = 0; to < s->carrier->ends; to++)
			if (from != to && data_way(s, from, to).us < 0)
				sim_fail(s, "node %u has no way to node %u when all has settled", from, to);
}

/* --- what is told --- */

void
carrier_fail(const struct sim *s, const char *fmt, va_list ap)
{
	char text[TEXT_SIZE];

	vsnprintf(text, sizeof(text), fmt, ap);
	s->carrier->ops->fail(s->carrier->arg, text);
}

void
carrier_say(const struct sim *s, const char *fmt, va_list ap)
{
	char text[TEXT_SIZE];

	vsnprintf(text, sizeof(text), fmt, ap);
	s->carrier->ops->tell(s->carrier->arg, text);
}

uint64_t
carrier_hash(const struct sim *s)
{
	return s->hash;
}

void
carrier_show(const struct sim *s, struct carrier_counts *out)
{
	*out = (struct carrier_counts){
	    .events = s->n.events,
	    .faults = s->n.faults,
	    .repaired = s->n.data_repaired,
	    .notices = s->carrier->notices,
	    .link_states = s->n.frames,
	    .gossip = s->n.gossip_frames,
	};
}
