#include "routerd/core/choice.h"

#include <string.h>

#include "common/base/must.h"

void
choice_init(struct choice *c, const struct graph *g, size_t profile, uint32_t hysteresis_percent)
{
	MUST(hysteresis_percent < 100);
	c->graph = g;
	c->profile = profile;
	c->hysteresis_percent = hysteresis_percent;
	c->count = 0;
}

/* The path as it is now, with its cost; false if it is none any more. */
static bool
revalue(const struct choice *c, const struct spf_path *old, struct spf_path *out)
{
	*out = *old;
	return graph_path_cost(c->graph, c->profile, out->hops, out->hop_count, &out->cost);
}

static bool
good_enough(const struct choice *c, uint32_t cost, uint32_t best)
{
	return (uint64_t)best * 100 >= (uint64_t)cost * (100 - c->hysteresis_percent);
}

void
choice_first(struct choice *c, const struct fib_paths *old, const struct spf_path *best)
{
	MUST(c->count == 0);
	c->count = 1;
	if (old == NULL || old->count == 0 || !revalue(c, &old->path[0].path, &c->paths[0]) ||
	    !good_enough(c, c->paths[0].cost, best->cost))
		c->paths[0] = *best;
}

static bool
has(const struct choice *c, const struct spf_path *p)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->paths[i].hop_count == p->hop_count &&
		    memcmp(c->paths[i].hops, p->hops, p->hop_count * sizeof(p->hops[0])) == 0)
			return true;
	return false;
}

void
choice_add(struct choice *c, const struct spf_path *paths, size_t count)
{
	for (size_t i = 0; i < count && c->count <= ROUTE_PATHS_MAX; i++)
		if (!has(c, &paths[i]))
			c->paths[c->count++] = paths[i];
}

enum choice_fate
choice_survivors(struct choice *c, const struct fib_paths *old)
{
	enum choice_fate fate = CHOICE_SAME;

	for (size_t i = 0; old != NULL && i < old->count; i++) {
		struct spf_path p;

		if (!revalue(c, &old->path[i].path, &p)) {
			fate = CHOICE_LOST;
			continue;
		}
		if (p.cost != old->path[i].path.cost && fate == CHOICE_SAME)
			fate = CHOICE_COST;
		choice_add(c, &p, 1);
	}
	return fate;
}

void
choice_cut(struct choice *c, size_t count)
{
	if (c->count > count)
		c->count = count;
}
