#include "routerd/core/ksp.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "routerd/core/graph.h"

_Static_assert((int)KSP_PATHS_MAX <= (int)SEARCH_SPARED_MAX, "all chosen paths can be spared");

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

/* --- routes and lists of them --- */

static uint64_t
weight(const struct route *r)
{
	return r->weight[r->hops];
}

/* By cost, then hops, then vertices from the root on. */
static int
compare(const struct route *a, const struct route *b)
{
	if (weight(a) != weight(b))
		return weight(a) < weight(b) ? -1 : 1;
	for (uint32_t i = a->hops; i-- != 0;)
		if (a->v[i] != b->v[i])
			return a->v[i] < b->v[i] ? -1 : 1;
	return 0;
}

static bool
list_has(const struct ksp_list *l, const struct route *r)
{
	for (size_t i = 0; i < l->count; i++)
		if (compare(&l->routes[i], r) == 0)
			return true;
	return false;
}

/* Keeps routes[from…] ascending; what is beyond max falls out. */
static void
list_insert(struct ksp_list *l, size_t from, const struct route *r, size_t deviation, size_t max)
{
	size_t i = l->count;

	while (i > from && compare(r, &l->routes[i - 1]) < 0)
		i--;
	if (i >= max)
		return;
	if (l->count < max)
		l->count++;
	for (size_t j = l->count - 1; j > i; j--) {
		l->routes[j] = l->routes[j - 1];
		l->deviation[j] = l->deviation[j - 1];
	}
	l->routes[i] = *r;
	l->deviation[i] = (uint8_t)deviation;
}

static struct route
list_shift(struct ksp_list *l, uint8_t *deviation)
{
	struct route first = l->routes[0];

	*deviation = l->deviation[0];
	l->count--;
	memmove(&l->routes[0], &l->routes[1], l->count * sizeof(l->routes[0]));
	memmove(&l->deviation[0], &l->deviation[1], l->count);
	return first;
}

static bool
has_link(const struct route *r, uint32_t u, uint32_t v)
{
	for (uint32_t i = 0; i < r->hops; i++)
		if ((r->v[i] == u && r->v[i + 1] == v) || (r->v[i] == v && r->v[i + 1] == u))
			return true;
	return false;
}

/* What b shares with a, as the searches weigh it. */
static uint64_t
shared(const struct route *a, const struct route *b)
{
	uint64_t sum = 0;

	for (uint32_t i = 1; i < b->hops; i++)
		for (uint32_t j = 1; j < a->hops; j++)
			sum += b->v[i] == a->v[j] ? SEARCH_RELAY : 0;
	for (uint32_t i = 0; i < b->hops; i++)
		sum += has_link(a, b->v[i], b->v[i + 1]) ? SEARCH_LINK : 0;
	if (b->v[b->hops - 1] == a->v[a->hops - 1])
		sum += SEARCH_FIRST;
	return sum;
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
	const struct spf_label *best = k->search.spf.best;
	const struct route begin = at_destination(dst);
	const struct search_query q = {.prefix = &begin, .weight_max = SEARCH_ANY, .labels_max = SIZE_MAX};

	*out = begin;
	if (dst == k->search.g->root || best[dst].parent == GRAPH_NONE)
		return 0;
	if (best[dst].hops > PATH_HOPS_MAX)
		return search_run(&k->search, &q, out);
	for (uint32_t v = best[dst].parent; v != GRAPH_NONE; v = best[v].parent)
		MUST(search_extend(&k->search, out, v));
	return 0;
}

/* --- Yen --- */

/* The vertices that follow the first spur + 1 of r in all routes found so far that begin like it. */
static size_t
list_next(const struct ksp_list *l, const struct route *r, uint32_t spur, uint32_t next[KSP_PATHS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < l->count; i++) {
		const struct route *other = &l->routes[i];

		if (other->hops > spur && memcmp(other->v, r->v, (spur + 1) * sizeof(r->v[0])) == 0)
			next[count++] = other->v[spur + 1];
	}
	return count;
}

/* Candidates that leave the route found last at each of its vertices, from where it left its own parent
 * on (Lawler).  left: how many of them can still be of use. */
static int
deviate(struct ksp *k, size_t left, uint64_t weight_max)
{
	const struct ksp_list *found = &k->cheapest;
	const struct route *last = &found->routes[found->count - 1];
	uint32_t next[KSP_PATHS_MAX];

	for (uint32_t spur = found->deviation[found->count - 1]; spur < last->hops; spur++) {
		struct search_query q = {.prefix = last,
		    .spur = spur,
		    .not_next = next,
		    .weight_max = weight_max,
		    .labels_max = SIZE_MAX};
		struct route r;
		int err;

		q.not_next_count = list_next(found, last, spur, next);
		if (k->candidates.count == left)
			q.weight_max = min_u64(weight_max, weight(&k->candidates.routes[left - 1]));
		if ((err = search_run(&k->search, &q, &r)) != 0)
			return err;
		if (r.hops != 0)
			list_insert(&k->candidates, 0, &r, spur, left);
	}
	return 0;
}

/* The next cheapest, appended to k->cheapest, at most max in all; false if there is none. */
static int
next_cheapest(struct ksp *k, size_t max, uint64_t weight_max, bool *found)
{
	struct ksp_list *l = &k->cheapest;
	int err;

	*found = false;
	if (l->count == max)
		return 0;
	if ((err = deviate(k, max - l->count, weight_max)) != 0 || k->candidates.count == 0)
		return err;
	l->routes[l->count] = list_shift(&k->candidates, &l->deviation[l->count]);
	l->count++;
	*found = true;
	return 0;
}

static void
yen_begin(struct ksp *k, const struct route *first)
{
	k->candidates.count = 0;
	k->cheapest.count = 1;
	k->cheapest.routes[0] = *first;
	k->cheapest.deviation[0] = 0;
}

/* --- the choice --- */

static void
choose(struct ksp *k, const struct route *r, size_t max)
{
	struct ksp_list *l = &k->chosen;

	/* The first two keep their places. */
	if (l->count < max && !list_has(l, r))
		list_insert(l, l->count < 2 ? l->count : 2, r, 0, max);
}

/* Of all other paths the one that shares least with the cheapest. */
static int
choose_backup(struct ksp *k, uint32_t dst, size_t max)
{
	const struct route begin = at_destination(dst);
	const struct search_query q = {
	    .prefix = &begin, .spare = SEARCH_SPARE_MOST, .weight_max = SEARCH_ANY, .labels_max = SIZE_MAX};
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
	now = shared(&k->chosen.routes[0], &k->chosen.routes[1]);
	*relays = c->vertices == 0;
	if (c->bridges != 0 || now == 0 || (max == 3 && now < SEARCH_LINK))
		return false;
	return *relays || now >= SEARCH_LINK;
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
	if (err != 0 || !found)
		return err;
	if (max == 3) {
		size_t better = shared(first, &pair[1]) < shared(first, &pair[0]);

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
degree(const struct graph *g, uint32_t v)
{
	return g->first[v + 1] - g->first[v];
}

/* Whether both ends have links that no chosen path uses: mostly, that decides it. */
static bool
has_free_links(const struct ksp *k, uint32_t dst)
{
	const struct ksp_list *l = &k->chosen;
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
	bool found = true;
	int err = 0;

	yen_begin(k, &k->chosen.routes[0]);
	while (k->chosen.count < max && found) {
		if ((err = next_cheapest(k, max, weight_max, &found)) != 0)
			break;
		if (found)
			choose(k, &k->cheapest.routes[k->cheapest.count - 1], max);
	}
	return err;
}

static void
write_path(const struct graph *g, const struct route *r, struct spf_path *out)
{
	out->cost = (uint32_t)(weight(r) >> SEARCH_COST_SHIFT);
	out->hop_count = r->hops;
	for (uint32_t i = 0; i < r->hops; i++)
		out->hops[i] = g->ids[r->v[r->hops - 1 - i]];
}

static void
write_list(const struct graph *g, const struct ksp_list *l, struct spf_path *out, size_t *count)
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
	weight_max = KSP_COST_FACTOR * weight(&first) + ((uint64_t)KSP_COST_EXTRA << SEARCH_COST_SHIFT);
	k->chosen.count = 0;
	choose(k, &first, paths_max);
	if (paths_max > 1 && (err = choose_backup(k, dst, paths_max)) != 0)
		return err;
	/* Without a backup, there is no other path at all. */
	if (k->chosen.count > 1 && ((err = choose_pair(k, dst, paths_max)) != 0 ||
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
	bool found = true;
	int err;

	check(k, g, dst, paths_max);
	*count = 0;
	if ((err = cheapest(k, dst, &first)) != 0 || first.hops == 0)
		return err;
	yen_begin(k, &first);
	while (found)
		if ((err = next_cheapest(k, paths_max, SEARCH_ANY, &found)) != 0)
			return err;
	write_list(g, &k->cheapest, out, count);
	return 0;
}
