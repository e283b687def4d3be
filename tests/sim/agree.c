#include "tests/sim/agree.h"

#include "routerd/core/router.h"
#include "tests/sim/net.h"
#include "tests/sim/share.h"

/* Of what an LSA says about who has links with whom. */
static uint64_t
hash(uint64_t node, uint8_t flags, const struct lsa_adj *adj, size_t count)
{
	uint64_t h = sim_mix(node, &flags, sizeof(flags));

	for (size_t i = 0; i < count; i++)
		h = sim_mix(h, &adj[i].neighbour, sizeof(adj[i].neighbour));
	return h;
}

static uint64_t
body_hash(uint64_t node, const struct lsa_body *b)
{
	return hash(node, b->flags, b->adj, b->adj_count);
}

/* What the node says of itself now. */
static void
said(struct sim_node *n, const struct lsa_adj *adj, size_t count, uint64_t h)
{
	struct sim *s = n->sim;

	for (uint32_t i = 0; i < n->link_count; i++) {
		struct sim_link *l = &s->links[s->node_links[n->first_link + i]];
		uint64_t peer = sim_id(net_peer(l, n->index));
		bool *listed = &l->listed[net_side(l, n->index)];

		*listed = false;
		for (size_t k = 0; k < count && !*listed; k++)
			*listed = adj[k].neighbour == peer;
		agree_link(s, l);
	}
	n->own_topo = h;
}

void
agree_lsa(struct sim_node *n, const struct lsa *lsa, bool own)
{
	const struct lsdb_entry *old = lsdb_get(router_lsdb(n->router), lsa->id.node);
	uint64_t h = hash(lsa->id.node, lsa->flags, lsa->adj, lsa->adj_count);

	n->topo += h - (old != NULL ? body_hash(lsa->id.node, old->lsa) : 0);
	if (own && h != n->own_topo)
		said(n, lsa->adj, lsa->adj_count, h);
}

void
agree_reached(struct sim_node *n)
{
	n->reached_topo = n->topo;
}

void
agree_gone(struct sim_node *n)
{
	n->topo = n->reached_topo = 0;
}

void
agree_link(struct sim *s, struct sim_link *l)
{
	uint32_t wrong = 0;

	if (s->nodes[l->a].up && l->listed[0] && l->broken)
		wrong++;
	if (s->nodes[l->b].up && l->listed[1] && l->broken)
		wrong++;
	s->listed_wrong += wrong - l->listed_wrong;
	l->listed_wrong = (uint8_t)wrong;
}

void
agree_warm(struct sim *s)
{
	uint64_t topo = 0;

	for (uint32_t i = 0; i < s->node_count; i++) {
		const struct lsa_body *b = share_newest(s, i);

		said(&s->nodes[i], b->adj, b->adj_count, body_hash(sim_id(i), b));
		topo += s->nodes[i].own_topo;
	}
	for (uint32_t i = 0; i < s->node_count; i++)
		s->nodes[i].topo = s->nodes[i].reached_topo = topo;
}

/* Each has its own newest LSA: if two have the same sum, each has the other's. */
static bool
agrees(const struct sim *s, const struct sim_node *n)
{
	if (!n->up)
		return true;
	return n->router != NULL && n->topo == s->nodes[s->part[n->index]].topo &&
	       (n->fib != NULL || n->reached_topo == n->topo);
}

bool
agree_all(struct sim *s)
{
	if (s->listed_wrong != 0)
		return false;
	net_parts(s);
	/* Whoever did not agree the last time comes first. */
	for (uint32_t i = 0; i < s->node_count; i++) {
		if (!agrees(s, &s->nodes[s->disagrees]))
			return false;
		s->disagrees = s->disagrees + 1 < s->node_count ? s->disagrees + 1 : 0;
	}
	return true;
}
