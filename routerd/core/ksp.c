#include "routerd/core/ksp.h"

#include "common/base/err.h"
#include "routerd/core/graph.h"

_Static_assert((int)KSP_PATHS_MAX == (int)ROUTE_LIST_MAX, "the lists hold all paths");

void
ksp_init(struct ksp *k)
{
	*k = (struct ksp){0};
	search_init(&k->search);
	disjoint_init(&k->disjoint);
}

void
ksp_fini(struct ksp *k)
{
	search_fini(&k->search);
	disjoint_fini(&k->disjoint);
	ksp_init(k);
}

int
ksp_begin(struct ksp *k, const struct graph *g)
{
	return search_begin(&k->search, g);
}

const struct spf *
ksp_spf(const struct ksp *k)
{
	return &k->search.spf;
}

size_t
ksp_bytes(const struct ksp *k)
{
	return search_bytes(&k->search) + k->disjoint.cap * sizeof(*k->disjoint.nodes);
}

/* --- the cheapest --- */

static struct route
at_destination(uint32_t dst)
{
	return (struct route){.v = {dst}};
}

/* That of the tree, so that ties are broken as there; if it is too long, the cheapest that is not. */
static int
cheapest(struct ksp *k, uint32_t dst, struct route *out)
{
	const struct spf_tree *best = &k->search.spf.best;
	const struct route begin = at_destination(dst);
	const struct search_query q = {.prefix = &begin, .weight_max = ROUTE_ANY, .labels_max = SIZE_MAX};

	*out = begin;
	if (dst == k->search.g->root || best->arrive[dst].parent == GRAPH_NONE)
		return 0;
	if (best->arrive[dst].hops > PATH_HOPS_MAX)
		return search_run(&k->search, &q, out);
	for (uint32_t v = best->arrive[dst].parent; v != GRAPH_NONE; v = best->pass[v].parent)
		MUST(search_extend(&k->search, out, v));
	return 0;
}

/* --- the choice --- */

static void
choose(struct ksp *k, const struct route *r, size_t max)
{
	struct route_list *l = &k->chosen;

	/* The first two keep their places. */
	if (l->count < max && !route_list_has(l, r))
		route_list_insert(l, l->count < 2 ? l->count : 2, r, 0, max);
}

/* Of all other paths the one that shares least with the cheapest. */
static int
choose_backup(struct ksp *k, uint32_t dst, size_t max)
{
	const struct route begin = at_destination(dst);
	const struct search_query q = {
	    .prefix = &begin, .spare = SEARCH_SPARE_MOST, .weight_max = ROUTE_ANY, .labels_max = SIZE_MAX};
	struct route r;
	int err;

	search_spare_none(&k->search);
	search_spare(&k->search, &k->chosen.routes[0]);
	if ((err = search_run(&k->search, &q, &r)) == 0 && r.hops != 0)
		choose(k, &r, max);
	return err;
}

/* What kind of pair there is that the cheapest and its backup are not; false: none. */
static bool
pair_wanted(const struct ksp *k, uint32_t dst, size_t max, bool *relays)
{
	const struct cut_node *c = &k->search.cut.nodes[dst];
	uint64_t now;

	if (k->chosen.count < 2 || max < 3)
		return false;
	now = route_shared(&k->chosen.routes[0], &k->chosen.routes[1]);
	*relays = c->vertices == 0;
	if (c->bridges != 0 || now == 0 || (max == 3 && now < ROUTE_LINK))
		return false;
	return *relays || now >= ROUTE_LINK;
}

static int
choose_pair(struct ksp *k, uint32_t dst, size_t max)
{
	const struct route *first = &k->chosen.routes[0];
	struct route pair[2];
	bool relays = false, found = false;
	int err = 0;

	if (pair_wanted(k, dst, max, &relays))
		err = disjoint_pair(&k->disjoint, &k->search, dst, relays, pair, &found);
	/* That there is one was concluded from all links, also those that are not for transit. */
	if (err == 0 && !found && relays && k->search.g->limited &&
	    route_shared(first, &k->chosen.routes[1]) >= ROUTE_LINK)
		err = disjoint_pair(&k->disjoint, &k->search, dst, false, pair, &found);
	if (err != 0 || !found)
		return err;
	if (max == 3) {
		size_t better = route_shared(first, &pair[1]) < route_shared(first, &pair[0]);

		k->chosen.count = 1;
		choose(k, &pair[better], max);
		choose(k, &pair[!better], max);
		return 0;
	}
	choose(k, &pair[0], max);
	choose(k, &pair[1], max);
	return 0;
}

static uint32_t
links_of(const struct route *r, const struct route *used)
{
	uint32_t links = 0;

	for (uint32_t i = 0; i < r->hops; i++)
		for (uint32_t j = 0; j < used->hops; j++)
			if ((r->v[i] == used->v[j] && r->v[i + 1] == used->v[j + 1]) ||
			    (r->v[i] == used->v[j + 1] && r->v[i + 1] == used->v[j]))
				links |= 1u << i;
	return links;
}

/* The links of the first path that all are on, although they need not be. */
static uint32_t
uncovered(const struct ksp *k)
{
	const struct route_list *l = &k->chosen;
	uint32_t links = ~search_bridges(&k->search, &l->routes[0]);

	for (size_t i = 0; i < l->count; i++)
		links &= links_of(&l->routes[0], &l->routes[i]);
	return links;
}

/* Beyond a bridge there is no pair, and one backup may share links that another avoids: a backup for each of
 * them, as long as there is room. */
static int
choose_cover(struct ksp *k, uint32_t dst, size_t max)
{
	const struct route begin = at_destination(dst);
	const struct search_query q = {
	    .prefix = &begin, .spare = SEARCH_SPARE_MOST, .weight_max = ROUTE_ANY, .labels_max = SIZE_MAX};
	uint32_t before = 0, links;

	while (k->chosen.count < max && (links = uncovered(k)) != 0 && links != before) {
		struct route r;
		int err;

		search_spare_none(&k->search);
		search_spare_some(&k->search, &k->chosen.routes[0], links);
		if ((err = search_run(&k->search, &q, &r)) != 0 || r.hops == 0)
			return err;
		choose(k, &r, max);
		before = links;
	}
	return 0;
}

static uint32_t
degree(const struct graph *g, uint32_t v)
{
	return g->first[v + 1] - g->first[v];
}

/* Whether both ends have links that no chosen path uses: mostly, that decides it. */
static bool
has_free_links(const struct ksp *k, uint32_t dst)
{
	const struct route_list *l = &k->chosen;
	uint32_t at_root = degree(k->search.g, k->search.g->root), at_dst = degree(k->search.g, dst);

	for (size_t i = 0; i < l->count; i++) {
		const struct route *r = &l->routes[i];
		bool new_root = true, new_dst = true;

		for (size_t j = 0; j < i; j++) {
			const struct route *o = &l->routes[j];

			new_root = new_root && o->v[o->hops - 1] != r->v[r->hops - 1];
			new_dst = new_dst && o->v[1] != r->v[1];
		}
		at_root -= new_root;
		at_dst -= new_dst;
	}
	return at_root != 0 && at_dst != 0;
}

/* Paths that share no link with what is chosen. */
static int
choose_apart(struct ksp *k, uint32_t dst, size_t max, uint64_t weight_max)
{
	const struct route begin = at_destination(dst);
	const struct search_query q = {.prefix = &begin,
	    .spare = SEARCH_SPARE_LINKS,
	    .weight_max = weight_max,
	    .labels_max = KSP_LABELS_MAX};
	struct route r;
	int err;

	if (k->search.cut.nodes[dst].bridges != 0)
		return 0;
	while (k->chosen.count < max && has_free_links(k, dst)) {
		search_spare_none(&k->search);
		for (size_t i = 0; i < k->chosen.count; i++)
			search_spare(&k->search, &k->chosen.routes[i]);
		if ((err = search_run(&k->search, &q, &r)) != 0)
			return err;
		if (r.hops == 0)
			break;
		choose(k, &r, max);
	}
	return 0;
}

static int
choose_next(struct ksp *k, size_t max, uint64_t weight_max)
{
	const struct route *next = NULL;
	int err;

	yen_begin(&k->yen, &k->chosen.routes[0]);
	while (k->chosen.count < max) {
		if ((err = yen_next(&k->yen, &k->search, max, weight_max, &next)) != 0 || next == NULL)
			return err;
		choose(k, next, max);
	}
	return 0;
}

static void
write_path(const struct graph *g, const struct route *r, struct spf_path *out)
{
	out->cost = (uint32_t)(route_weight(r) >> ROUTE_COST_SHIFT);
	out->hop_count = r->hops;
	for (uint32_t i = 0; i < r->hops; i++)
		out->hops[i] = g->ids[r->v[r->hops - 1 - i]];
}

static void
write_list(const struct graph *g, const struct route_list *l, struct spf_path *out, size_t *count)
{
	for (size_t i = 0; i < l->count; i++)
		write_path(g, &l->routes[i], &out[i]);
	*count = l->count;
}

static void
check(const struct ksp *k, const struct graph *g, uint32_t dst, unsigned paths_max)
{
	MUST(k->search.g == g && g != NULL && dst < g->vertex_count);
	MUST(paths_max >= 1 && paths_max <= KSP_PATHS_MAX);
}

int
ksp_run(struct ksp *k, const struct graph *g, uint32_t dst, unsigned paths_max, struct spf_path *out,
    size_t *count)
{
	struct route first;
	uint64_t weight_max;
	int err;

	check(k, g, dst, paths_max);
	*count = 0;
	if ((err = cheapest(k, dst, &first)) != 0 || first.hops == 0)
		return err;
	weight_max = KSP_COST_FACTOR * route_weight(&first) + ((uint64_t)KSP_COST_EXTRA << ROUTE_COST_SHIFT);
	k->chosen.count = 0;
	choose(k, &first, paths_max);
	if (paths_max > 1 && (err = choose_backup(k, dst, paths_max)) != 0)
		return err;
	/* Without a backup, there is no other path at all. */
	if (k->chosen.count > 1 &&
	    ((err = choose_pair(k, dst, paths_max)) != 0 || (err = choose_cover(k, dst, paths_max)) != 0 ||
		(err = choose_apart(k, dst, paths_max, weight_max)) != 0 ||
		(err = choose_next(k, paths_max, weight_max)) != 0))
		return err;
	write_list(g, &k->chosen, out, count);
	return 0;
}

int
ksp_cheapest(struct ksp *k, const struct graph *g, uint32_t dst, unsigned paths_max, struct spf_path *out,
    size_t *count)
{
	struct route first;
	const struct route *next = &first;
	int err;

	check(k, g, dst, paths_max);
	*count = 0;
	if ((err = cheapest(k, dst, &first)) != 0 || first.hops == 0)
		return err;
	yen_begin(&k->yen, &first);
	while (next != NULL)
		if ((err = yen_next(&k->yen, &k->search, paths_max, ROUTE_ANY, &next)) != 0)
			return err;
	write_list(g, &k->yen.found, out, count);
	return 0;
}
