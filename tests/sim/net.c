#include "tests/sim/net.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/frame.h"
#include "tests/sim/agree.h"
#include "tests/sim/carrier.h"
#include "tests/sim/node.h"
#include "tests/sim/way.h"

struct sim_link *
net_link(struct sim *s, uint32_t a, uint32_t b)
{
	const struct sim_node *n = &s->nodes[a];

	for (uint32_t i = 0; i < n->link_count; i++) {
		struct sim_link *l = &s->links[s->node_links[n->first_link + i]];

		if (net_peer(l, a) == b)
			return l;
	}
	return NULL;
}

bool
net_has(struct sim *s, uint32_t node, uint32_t peer)
{
	const struct sim_link *l = net_link(s, node, peer);

	return l != NULL && l->told[net_side(l, node)];
}

bool
net_broken(const struct sim *s, const struct sim_link *l)
{
	return !l->pass[0] || !l->pass[1] || !s->nodes[l->a].up || !s->nodes[l->b].up;
}

/* --- links come and go --- */

static uint32_t
link_index(const struct sim *s, const struct sim_link *l)
{
	return (uint32_t)(l - s->links);
}

static void
want_dial(struct sim *s, struct sim_link *l)
{
	if (l->dialling || l->broken || l->told[0] || l->told[1])
		return;
	l->dialling = true;
	queue_push(&s->queue,
	    (struct sim_event){.at = s->now + SIM_DIAL_US + (int64_t)rng_below(&s->rng, SIM_DIAL_SPREAD_US),
		.what = SIM_LINK_DIAL,
		.link = link_index(s, l)});
}

static void
lose_later(struct sim *s, struct sim_link *l, uint32_t node, bool reset)
{
	int64_t wait = SIM_SILENT_US + (int64_t)rng_below(&s->rng, SIM_SILENT_SPREAD_US);

	queue_push(&s->queue, (struct sim_event){.at = s->now + (reset ? l->latency_us : wait),
				  .what = SIM_LINK_LOST,
				  .node = node,
				  .link = link_index(s, l),
				  .a = l->session});
}

void
net_changed(struct sim *s, struct sim_link *l, bool reset)
{
	bool before = l->broken, broken = net_broken(s, l);

	l->broken = broken;
	if (s->sampled)
		agree_link(s, l);
	if (broken == before)
		return;
	s->stale += broken ? l->use : -l->use;
	s->stale_best += broken ? l->use_best : -l->use_best;
	s->parts_known = false;
	sim_disturb(s);
	if (!broken) {
		want_dial(s, l);
		return;
	}
	for (unsigned side = 0; side < 2; side++)
		if (l->told[side])
			lose_later(s, l, side == 0 ? l->a : l->b, reset);
}

void
net_set_pass(struct sim *s, struct sim_link *l, bool ab, bool ba, bool reset)
{
	l->pass[0] = ab;
	l->pass[1] = ba;
	net_changed(s, l, reset);
}

void
net_lost(struct sim *s, const struct sim_event *ev)
{
	struct sim_link *l = &s->links[ev->link];
	unsigned side = net_side(l, ev->node), other = 1 - side;

	if (!l->told[side] || l->session != ev->a)
		return;
	/* Silence that was shorter than the limit: nobody has noticed. */
	if (!l->broken && l->told[other])
		return;
	l->told[side] = false;
	way_changed(s);
	sim_disturb(s);
	sim_trace(s, ev->node, SIM_LINK_LOST, ev->link, ev->a);
	node_link_down(s, ev->node, net_peer(l, ev->node));
	if (s->carrier != NULL)
		carrier_link_down(s, ev->node, net_peer(l, ev->node));
	/* It closes its end: the other hears of it, if anything gets there. */
	if (l->told[other] && l->pass[side])
		lose_later(s, l, net_peer(l, ev->node), true);
	want_dial(s, l);
}

void
net_tell(struct sim *s, struct sim_link *l, uint32_t node)
{
	if (l->told[net_side(l, node)])
		node_link_up(s, node, net_peer(l, node), l->session, 2 * l->latency_us);
}

void
net_dial(struct sim *s, const struct sim_event *ev)
{
	struct sim_link *l = &s->links[ev->link];

	l->dialling = false;
	if (l->broken || l->told[0] || l->told[1])
		return;
	l->session++;
	l->told[0] = l->told[1] = true;
	way_changed(s);
	sim_disturb(s);
	sim_trace(s, l->a, SIM_LINK_DIAL, ev->link, l->session);
	net_tell(s, l, l->a);
	net_tell(s, l, l->b);
}

/* --- frames --- */

int64_t
net_delay(struct sim *s, struct sim_link *l, uint32_t from)
{
	int64_t delay = l->latency_us;

	if (!l->pass[net_side(l, from)] || (s->loss_ppm != 0 && rng_below(&s->rng, 1000000) < s->loss_ppm))
		return -1;
	if (s->delay_us != 0)
		delay += (int64_t)rng_below(&s->rng, s->delay_us);
	return delay;
}

void
net_send_state(struct sim *s, uint32_t from, uint32_t to, const uint8_t *payload, size_t len)
{
	struct sim_link *l = net_link(s, from, to);
	unsigned side = net_side(l, from);
	struct sim_event ev = {.what = SIM_FRAME, .node = to, .a = l->session, .len = (uint32_t)len};
	unsigned copies = 1 + (s->duplicate_ppm != 0 && rng_below(&s->rng, 1000000) < s->duplicate_ppm);

	s->n.frames++;
	s->n.bytes += FRAME_HDR_BYTES + len;
	sim_trace(s, from, SIM_FRAME, to, sim_mix(len, payload, len));
	if (!l->told[side])
		return; /* the router has not heard yet */
	ev.link = link_index(s, l);
	for (; copies != 0; copies--) {
		int64_t delay = net_delay(s, l, from);

		if (delay < 0) {
			s->n.frames_lost++;
			continue;
		}
		ev.at = s->now + delay > l->last_at[side] ? s->now + delay : l->last_at[side];
		l->last_at[side] = ev.at;
		ev.data = sim_dup(payload, len);
		queue_push(&s->queue, ev);
	}
}

bool
net_arrives(struct sim *s, const struct sim_event *ev)
{
	const struct sim_link *l = &s->links[ev->link];
	unsigned side = net_side(l, ev->node);

	return l->told[side] && l->session == ev->a && l->pass[1 - side];
}

/* --- who can reach whom --- */

static uint32_t
flood_part(struct sim *s, uint32_t *stack, uint32_t from)
{
	uint32_t count = 0, top = 0;

	stack[top++] = from;
	s->part[from] = from;
	while (top != 0) {
		uint32_t at = stack[--top];
		const struct sim_node *n = &s->nodes[at];

		count++;
		for (uint32_t i = 0; i < n->link_count; i++) {
			const struct sim_link *l = &s->links[s->node_links[n->first_link + i]];
			uint32_t peer = net_peer(l, at);

			if (!l->broken && s->part[peer] == UINT32_MAX) {
				s->part[peer] = from;
				stack[top++] = peer;
			}
		}
	}
	return count;
}

void
net_parts(struct sim *s)
{
	uint32_t *stack;

	if (s->parts_known)
		return;
	s->parts_known = true;
	s->pairs = 0;
	stack = sim_alloc(s->node_count, sizeof(stack[0]));
	memset(s->part, 0xff, s->node_count * sizeof(s->part[0]));
	for (uint32_t i = 0; i < s->node_count; i++) {
		if (s->part[i] != UINT32_MAX)
			continue;
		s->part_size[i] = flood_part(s, stack, i);
	}
	for (uint32_t i = 0; i < s->node_count; i++)
		if (s->nodes[i].fib != NULL)
			s->pairs += s->part_size[s->part[i]] - 1;
	free(stack);
}
