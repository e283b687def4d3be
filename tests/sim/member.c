#include "tests/sim/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/frame.h"
#include "routerd/core/router_impl.h"
#include "routerd/core/swim_impl.h"
#include "routerd/core/swim_meta.h"
#include "tests/sim/data.h"
#include "tests/sim/net.h"
#include "tests/sim/node.h"

enum { TRACE_SEND = 200, TRACE_EVENT, STEPS_MAX = 4 };

/* --- effects of the core --- */

static void
op_send(void *arg, uint64_t node, const uint8_t *payload, size_t len)
{
	struct sim_node *n = arg;
	struct sim *s = n->sim;
	uint32_t to = sim_index(node);
	struct sim_event ev = {.what = SIM_GOSSIP, .node = to, .a = n->index, .len = (uint32_t)len};
	struct data_way way;

	if (to >= s->node_count)
		sim_fail(s, "node %u: gossip for a node that does not exist", n->index);
	sim_trace(s, n->index, TRACE_SEND, node, sim_mix(len, payload, len));
	way = data_way(s, n->index, to);
	s->n.gossip_frames++;
	s->n.gossip_bytes += len + FRAME_HDR_BYTES;
	s->n.gossip_hop_bytes += way.hops * len + way.header_bytes;
	if (way.us < 0) {
		s->n.gossip_lost++;
		return;
	}
	ev.at = s->now + way.us;
	ev.life = s->nodes[to].life;
	ev.data = sim_dup(payload, len);
	queue_push(&s->queue, ev);
}

/* Is what one node says of another wrong? */
static bool
wrong(struct sim *s, uint32_t by, uint32_t about)
{
	return net_connected(s, by, about);
}

static void
op_event(void *arg, enum swim_event ev, uint64_t node)
{
	struct sim_node *n = arg;
	struct sim *s = n->sim;
	uint32_t about = sim_index(node);
	bool watched = s->watching_node && about == s->watched_node && about != n->index;

	sim_trace(s, n->index, TRACE_EVENT + ev, node, 0);
	if (ev != SWIM_EVENT_META && ev != SWIM_EVENT_JOIN && about != n->index)
		sim_say(s, "node %u: membership: %s %u", n->index, swim_event_name(ev), about);
	if (ev == SWIM_EVENT_SUSPECT) {
		s->n.suspect_false += wrong(s, n->index, about);
		if (watched && s->suspected != NULL)
			samples_add(s->suspected, s->now);
	} else if (ev == SWIM_EVENT_ALIVE && watched) {
		s->refuted_at = s->now;
	} else if (ev == SWIM_EVENT_DEAD) {
		if (wrong(s, n->index, about)) {
			s->n.dead_false++;
			sim_say(s, "node %u: membership has node %u for dead, and there are links", n->index,
			    about);
		}
		if (watched && s->confirmed != NULL)
			samples_add(s->confirmed, s->now);
	}
}

static void
op_user_event(void *arg, const struct swim_user_event *ev)
{
	(void)arg;
	(void)ev;
}

static const struct swim_ops ops = {op_send, op_event, op_user_event};

/* --- as in routerd/members.c --- */

void
member_listed(struct sim_node *n, const struct sim_node *other)
{
	uint64_t start = other->incarnation != 0 ? other->incarnation : 1;

	if (swim_member(n->swim, sim_id(other->index), start, node_now(n)) != 0)
		sim_fail(n->sim, "node %u: node %u refused as a member", n->index, other->index);
}

/* Without a router to tell: all nodes are listed, of this start; nothing is known of their links. */
static void
know_all(struct sim_node *n)
{
	struct sim *s = n->sim;

	for (uint32_t i = 0; i < s->node_count; i++)
		member_listed(n, &s->nodes[s->by_id[i]]);
	for (uint32_t i = 0; i < n->link_count; i++)
		swim_neighbour(
		    n->swim, sim_id(net_peer(&s->links[s->node_links[n->first_link + i]], n->index)), true);
}

void
member_start(struct sim_node *n)
{
	struct sim *s = n->sim;
	struct swim_conf conf;

	swim_conf_default(&conf);
	conf.listed = true;
	conf.members_max = s->conf.nodes_max;
	if ((n->swim = swim_new(&conf, &ops, n, rng_u64(&s->rng))) == NULL ||
	    swim_identity(n->swim, sim_id(n->index), n->incarnation, node_now(n)) != 0)
		sim_fail(s, "node %u: no membership", n->index);
	n->met = false;
	n->expired = 0;
	n->deaths = 0;
	n->touched = true;
	if (s->gossip_only)
		know_all(n);
}

void
member_stop(struct sim_node *n)
{
	swim_free(n->swim);
	n->swim = NULL;
}

static void
describe(struct sim_node *n, const struct lsdb_entry *e)
{
	struct swim_meta meta = {0};

	memcpy(meta.name, e->lsa->name, sizeof(meta.name));
	memcpy(meta.region, e->lsa->region, sizeof(meta.region));
	memcpy(meta.software, e->lsa->software, sizeof(meta.software));
	for (size_t i = 0; i < e->lsa->adj_count; i++)
		swim_meta_add_link(&meta, &(struct swim_link_meta){.peer = e->lsa->adj[i].neighbour,
					      .rtt_us = 2 * e->lsa->adj[i].latency_us,
					      .bandwidth_kbps = e->lsa->adj[i].bandwidth_kbps});
	if (swim_describe(n->swim, &meta, node_now(n)) != 0)
		sim_fail(n->sim, "node %u: cannot be described", n->index);
}

void
member_node(struct sim_node *n, const struct lsdb_entry *e)
{
	const struct swim_listing l = {
	    .node = e->node,
	    .start = e->lsa->id.incarnation,
	    .seq = e->lsa->id.seq,
	    .linked = e->state == NODE_STATE_ALIVE || e->dead,
	    .left = e->state == NODE_STATE_LEFT,
	};
	bool neighbour = router_linked(n->router, e->node);

	n->touched = true;
	if (swim_list(n->swim, &l, node_now(n)) != 0)
		sim_fail(n->sim, "node %u: node %u refused as a member", n->index, sim_index(e->node));
	swim_neighbour(n->swim, e->node, neighbour);
	if (e->node == sim_id(n->index)) {
		describe(n, e);
	} else if (neighbour && !n->met && l.linked) {
		n->met = true;
		swim_join(n->swim, e->node);
	}
}

void
member_feed(struct sim_node *n, const struct sim_event *ev)
{
	n->touched = true;
	swim_feed(n->swim, sim_id((uint32_t)ev->a), ev->data, ev->len, node_now(n));
}

/* Members of which the database has no LSA any more. */
static void
forget_expired(struct sim_node *n)
{
	const struct swim_members *t = &n->swim->members;

	for (size_t i = t->count; i > 0; i--)
		if (lsdb_get(&n->router->db, swim_members_sorted(t, i - 1)->node) == NULL)
			swim_forget(n->swim, swim_members_sorted(t, i - 1)->node);
}

/* Whom membership has for dead the router is told, and whom it has not.  Both are in the order of ids. */
static void
tell_deaths(struct sim_node *n)
{
	struct lsdb_entry *e = lsdb_from(&n->router->db, 0);

	for (size_t i = 0; i < n->swim->members.count && e != NULL; i++) {
		const struct swim_member *m = swim_members_sorted(&n->swim->members, i);
		bool dead = m->state == SWIM_STATE_DEAD && !m->by_links;

		while (e != NULL && e->node < m->node)
			e = lsdb_next(&n->router->db, e);
		if (e != NULL && e->node == m->node && e->dead != dead)
			router_node_dead(n->router, m->node, dead, node_now(n));
	}
}

void
member_step(struct sim_node *n)
{
	const struct swim_counters *c = swim_counters(n->swim);
	uint64_t expired;

	if (n->router != NULL) {
		expired = router_counters(n->router)->lsa_aged_out;
		if (expired != n->expired)
			forget_expired(n);
		n->expired = expired;
	}
	for (int steps = 0; n->touched || !mono_before(node_now(n), n->member_due); steps++) {
		if (steps == STEPS_MAX)
			sim_fail(n->sim, "node %u: its membership wants to be stepped for ever", n->index);
		n->touched = false;
		swim_step(n->swim, node_now(n));
		n->member_due = swim_next(n->swim);
	}
	if (n->router != NULL && c->confirmed + c->refuted != n->deaths)
		tell_deaths(n);
	n->deaths = c->confirmed + c->refuted;
}

struct mono
member_next(struct sim_node *n)
{
	return n->touched ? MONO_ZERO : n->member_due;
}

size_t
member_waiting(struct sim *s)
{
	size_t waiting = 0;

	for (uint32_t i = 0; i < s->node_count; i++) {
		if (s->nodes[i].running)
			waiting += s->nodes[i].swim->broadcasts.count;
	}
	return waiting;
}

/* --- what must hold --- */

static void
check_member(struct sim_node *n, const struct swim_member *m)
{
	struct sim *s = n->sim;
	uint32_t about = sim_index(m->node);
	bool there = net_connected(s, n->index, about);

	if (there && m->state == SWIM_STATE_SUSPECT && s->now - s->disturbed < SIM_REFUTE_US)
		return;
	if (there && m->state != SWIM_STATE_ALIVE)
		sim_fail(s, "node %u: membership has node %u for %s, %lld us after the last fault", n->index,
		    about, swim_state_name(m->state), (long long)(s->now - s->disturbed));
	if (!there && m->state != SWIM_STATE_DEAD)
		sim_fail(s, "node %u: membership has node %u for %s, %lld us after it was lost", n->index,
		    about, swim_state_name(m->state), (long long)(s->now - s->disturbed));
}

void
member_check(struct sim *s, struct sim_node *n)
{
	struct swim_summary sum;

	for (size_t i = 0; i < n->swim->members.count; i++)
		check_member(n, swim_members_sorted(&n->swim->members, i));
	swim_show(n->swim, &sum);
	if (sum.alive + sum.suspect != s->part_size[s->part[n->index]])
		sim_fail(s, "node %u: membership has %zu nodes for alive, not %u", n->index, sum.alive,
		    s->part_size[s->part[n->index]]);
}
