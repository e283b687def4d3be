#include "tests/sim/way.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/frame.h"
#include "tests/sim/net.h"

enum { NOWHERE = UINT16_MAX };

_Static_assert((int)SIM_NODES_MAX < (int)NOWHERE, "indexes of nodes fit");

/* The tree of the shortest ways from one node: found when it is asked for a way that it lacks, or that a
 * change of links broke; and when links are back that were gone when it was found. */
struct way_tree {
	uint16_t *before; /* the node before each one; NULL: not found yet */
	uint32_t epoch;   /* of the links that it was found for */
	uint32_t gone;    /* links that were gone then */
};

void
way_init(struct sim *s)
{
	s->ways = sim_alloc(s->node_count, sizeof(s->ways[0]));
	s->way_list = sim_alloc(s->node_count, sizeof(s->way_list[0]));
	s->way_epoch = 1;
}

void
way_fini(struct sim *s)
{
	for (uint32_t i = 0; s->ways != NULL && i < s->node_count; i++)
		free(s->ways[i].before);
	free(s->ways);
	free(s->way_list);
}

static bool
there(const struct sim_link *l)
{
	return l->told[0] || l->told[1];
}

void
way_changed(struct sim *s)
{
	if (s->ways == NULL)
		return;
	s->way_epoch++;
	s->way_gone = 0;
	for (uint32_t i = 0; i < s->link_count; i++)
		s->way_gone += !there(&s->links[i]);
}

static void
tree_find(struct sim *s, struct way_tree *t, uint32_t root)
{
	uint32_t *list = s->way_list, found = 1;

	if (t->before == NULL)
		t->before = sim_alloc(s->node_count, sizeof(t->before[0]));
	memset(t->before, 0xff, s->node_count * sizeof(t->before[0]));
	t->before[root] = (uint16_t)root;
	t->epoch = s->way_epoch;
	t->gone = s->way_gone;
	list[0] = root;
	for (uint32_t i = 0; i < found; i++) {
		const struct sim_node *n = &s->nodes[list[i]];

		for (uint32_t k = 0; k < n->link_count; k++) {
			const struct sim_link *l = &s->links[s->node_links[n->first_link + k]];
			uint32_t peer = net_peer(l, list[i]);

			if (!there(l) || t->before[peer] != NOWHERE)
				continue;
			t->before[peer] = (uint16_t)list[i];
			list[found++] = peer;
		}
	}
}

/* Is its way to that node one that a new tree could have? */
static bool
tree_serves(struct sim *s, const struct way_tree *t, uint32_t from, uint32_t to)
{
	if (t->before == NULL)
		return false;
	if (t->epoch == s->way_epoch)
		return true;
	if (t->gone > s->way_gone || t->before[to] == NOWHERE)
		return false;
	for (uint32_t at = to; at != from; at = t->before[at])
		if (!there(net_link(s, t->before[at], at)))
			return false;
	return true;
}

/* The nodes on the way, `to` first and `from` last; how many hops. */
static uint32_t
walk_back(struct sim *s, const struct way_tree *t, uint32_t from, uint32_t to)
{
	uint32_t hops = 0;

	for (uint32_t at = to; at != from; at = t->before[at])
		s->way_list[hops++] = at;
	s->way_list[hops] = from;
	return hops;
}

struct data_way
way_find(struct sim *s, uint32_t from, uint32_t to)
{
	struct way_tree *t = &s->ways[from];
	struct data_way way = {.us = -1};
	uint32_t left;
	int64_t us = 0;

	if (!tree_serves(s, t, from, to))
		tree_find(s, t, from);
	if (t->before[to] == NOWHERE)
		return way;
	for (left = walk_back(s, t, from, to); left != 0; left--) {
		struct sim_link *l = net_link(s, s->way_list[left], s->way_list[left - 1]);
		int64_t delay = net_delay(s, l, s->way_list[left]);

		way.hops++;
		way.header_bytes += FRAME_HDR_BYTES + 8 * (left - 1);
		if (delay < 0 || !s->nodes[s->way_list[left - 1]].up)
			return way;
		us += delay + SIM_RELAY_US;
	}
	way.us = us;
	return way;
}
