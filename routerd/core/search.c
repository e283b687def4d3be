#include "routerd/core/search.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"

enum { UNSETTLED = UINT8_MAX, HOPS_TOO_MANY = PATH_HOPS_MAX + 1, HOPS_PACKED_MAX = UINT16_MAX };

/* What an edge costs: the one place. */
static inline uint32_t
edge_cost(const struct graph *g, uint32_t edge)
{
	return g->edges[edge].cost;
}

static inline uint64_t
weight_of(uint32_t cost)
{
	return ((uint64_t)cost << ROUTE_COST_SHIFT) + 1;
}

void
search_init(struct search *s)
{
	*s = (struct search){.spared_stamp = 1};
	spf_init(&s->spf);
	cut_init(&s->cut);
	labels_init(&s->labels);
}

void
search_fini(struct search *s)
{
	spf_fini(&s->spf);
	cut_fini(&s->cut);
	labels_fini(&s->labels);
	mem_free(s->nodes);
	mem_free(s->in);
	mem_free(s->queue);
	search_init(s);
}

/* --- what is common to all searches of a graph --- */

static int
grow(struct search *s, size_t vertices, size_t edges)
{
	if (vertices <= s->vertex_cap && edges <= s->edge_cap)
		return 0;
	search_fini(s);
	vertices += vertices / 4 + 1;
	edges += edges / 4 + 1;
	s->nodes = mem_calloc(vertices, sizeof(*s->nodes));
	s->queue = mem_calloc(vertices, sizeof(*s->queue));
	s->in = mem_calloc(edges, sizeof(*s->in));
	if (s->nodes == NULL || s->queue == NULL || s->in == NULL) {
		search_fini(s);
		return ERR_NOMEM;
	}
	s->vertex_cap = vertices;
	s->edge_cap = edges;
	return 0;
}

/* Each link is there in both directions, and edges ascend: those into v come by as v's own do. */
static void
turn_edges(struct search *s, const struct graph *g)
{
	uint32_t *cursor = s->queue;

	for (uint32_t v = 0; v < g->vertex_count; v++)
		cursor[v] = g->first[v];
	for (uint32_t v = 0; v < g->vertex_count; v++) {
		for (uint32_t e = g->first[v]; e < g->first[v + 1]; e++) {
			uint32_t to = g->edges[e].to;

			MUST(cursor[to] < g->first[to + 1] && g->edges[cursor[to]].to == v);
			s->in[cursor[to]++] = (struct search_edge){v, edge_cost(g, e), g->edges[e].use};
		}
	}
}

static void
count_hops(struct search *s, const struct graph *g)
{
	size_t head = 0, tail = 0;

	s->nodes[g->root].min_hops = 0;
	s->queue[tail++] = g->root;
	while (head != tail) {
		uint32_t v = s->queue[head++];

		for (uint32_t e = g->first[v]; e < g->first[v + 1]; e++) {
			struct search_node *n = &s->nodes[g->edges[e].to];

			if (n->min_hops != HOPS_TOO_MANY || s->nodes[v].min_hops == PATH_HOPS_MAX)
				continue;
			n->min_hops = s->nodes[v].min_hops + 1;
			s->queue[tail++] = g->edges[e].to;
		}
	}
}

static uint64_t
bound_of(const struct spf_label *l)
{
	/* A path of PATH_HOPS_MAX links fits 32 bits: what costs more has none. */
	if (l->dist > UINT32_MAX)
		return ROUTE_ANY;
	return (l->dist << ROUTE_COST_SHIFT) + min_u64(l->hops, HOPS_PACKED_MAX);
}

static void
set_node(struct search *s, uint32_t v)
{
	const struct cut_node *c = &s->cut.nodes[v];

	s->nodes[v] = (struct search_node){
	    .bound = bound_of(&s->spf.best.pass[v]),
	    .arrive = bound_of(&s->spf.best.arrive[v]),
	    .must_share = min_u64(c->vertices, HOPS_TOO_MANY) * ROUTE_RELAY +
			  min_u64(c->bridges, HOPS_TOO_MANY) * ROUTE_LINK,
	    .min_hops = HOPS_TOO_MANY,
	};
}

int
search_begin(struct search *s, const struct graph *g)
{
	int err;

	s->g = NULL;
	if ((err = grow(s, g->vertex_count, g->edge_count)) != 0 || (err = spf_run(&s->spf, g)) != 0 ||
	    (err = cut_run(&s->cut, g)) != 0)
		return err;
	for (uint32_t v = 0; v < g->vertex_count; v++)
		set_node(s, v);
	s->stamp = 0;
	s->spared_stamp = 1;
	turn_edges(s, g);
	count_hops(s, g);
	s->g = g;
	return 0;
}

size_t
search_bytes(const struct search *s)
{
	const size_t label = sizeof(*s->labels.pool) + sizeof(*s->labels.heap);
	const size_t spf = 4 * sizeof(*s->spf.best.pass) + sizeof(*s->spf.heap) + sizeof(*s->spf.place);
	const size_t cut = sizeof(*s->cut.nodes) + sizeof(*s->cut.visited);

	return s->vertex_cap * (sizeof(*s->nodes) + sizeof(*s->queue)) + s->edge_cap * sizeof(*s->in) +
	       s->labels.cap * label + s->spf.cap * spf + s->cut.cap * cut;
}

/* --- routes to be spared --- */

void
search_spare_none(struct search *s)
{
	s->link_count = 0;
	s->first_is_bridge = false;
	if (++s->spared_stamp != 0)
		return;
	for (size_t v = 0; v < s->g->vertex_count; v++)
		s->nodes[v].spared = 0;
	s->spared_stamp = 1;
}

uint32_t
search_bridges(const struct search *s, const struct route *r)
{
	uint32_t bridges = 0;

	for (uint32_t i = 0; i < r->hops; i++)
		if (s->cut.nodes[r->v[i]].bridges > s->cut.nodes[r->v[i + 1]].bridges)
			bridges |= 1u << i;
	return bridges;
}

void
search_spare(struct search *s, const struct route *r)
{
	search_spare_some(s, r, UINT32_MAX);
}

void
search_spare_some(struct search *s, const struct route *r, uint32_t links)
{
	links |= search_bridges(s, r);
	MUST(s->link_count + r->hops <= sizeof(s->links) / sizeof(s->links[0]));
	if (s->link_count == 0)
		s->first_is_bridge = s->cut.nodes[r->v[r->hops - 1]].bridges != 0;
	for (uint32_t i = r->hops; i != 0; i--) {
		if ((links & 1u << (i - 1)) == 0)
			continue;
		s->links[s->link_count].a = r->v[i];
		s->links[s->link_count++].b = r->v[i - 1];
	}
	for (uint32_t i = 0; i <= r->hops; i++)
		s->nodes[r->v[i]].spared = s->spared_stamp;
}

static bool
same_link(const struct search *s, size_t i, uint32_t u, uint32_t v)
{
	return (s->links[i].a == u && s->links[i].b == v) || (s->links[i].a == v && s->links[i].b == u);
}

/* What going from v to u, which is on a spared route, adds; ROUTE_ANY: not allowed. */
static uint64_t
sharing(const struct search *s, enum search_spare spare, uint32_t u, uint32_t v)
{
	uint64_t relay = u != s->g->root ? ROUTE_RELAY : 0;

	if (s->nodes[v].spared != s->spared_stamp)
		return relay;
	for (size_t i = 0; i < s->link_count; i++) {
		if (!same_link(s, i, u, v))
			continue;
		if (spare == SEARCH_SPARE_LINKS)
			return ROUTE_ANY;
		return relay + ROUTE_LINK + (i == 0 ? ROUTE_FIRST : 0);
	}
	return relay;
}

/* --- the search --- */

/* The destination is the only vertex that a path need not go on from. */
static uint64_t
bound_at(const struct search_node *n, const struct label *l)
{
	return l->hops == 0 ? n->arrive : n->bound;
}

static uint64_t
key_of(const struct search *s, const struct search_query *q, const struct label *l)
{
	const struct search_node *n = &s->nodes[l->vertex];
	uint64_t key = l->weight + bound_at(n, l);

	/* The cut vertices and bridges before this vertex are before the destination, too, hence on the
	 * spared route: dead ends are not entered. */
	if (q->spare != SEARCH_SPARE_NONE) {
		key += n->must_share;
		if (s->first_is_bridge && l->vertex != s->g->root)
			key += ROUTE_FIRST;
	}
	return key;
}

static bool
is_dominated(const struct search *s, const struct search_node *n, uint32_t hops, uint64_t key)
{
	if (n->stamp != s->stamp)
		return false;
	if (s->pareto)
		return n->settled_hops <= hops || (n->best <= key && n->best_hops <= hops);
	return n->settled_hops != UNSETTLED || n->best <= key;
}

static int
offer(struct search *s, const struct search_query *q, const struct label *l)
{
	struct search_node *n = &s->nodes[l->vertex];
	uint64_t key;

	if (bound_at(n, l) == ROUTE_ANY)
		return 0;
	key = key_of(s, q, l);
	if ((key & ROUTE_COST_MASK) > q->weight_max || is_dominated(s, n, l->hops, key))
		return 0;
	if (l->hops + n->min_hops > PATH_HOPS_MAX) {
		s->cut_short = min_u64(s->cut_short, key);
		return 0;
	}
	if (n->stamp != s->stamp) {
		n->stamp = s->stamp;
		n->settled_hops = UNSETTLED;
	}
	n->best = key;
	n->best_hops = (uint8_t)l->hops;
	return labels_push(&s->labels, key, l);
}

static bool
is_next_banned(const struct search_query *q, uint32_t v)
{
	for (size_t i = 0; i < q->not_next_count; i++)
		if (q->not_next[i] == v)
			return true;
	return false;
}

/* Whether all ways from u to the root come back to its neighbour v: v is a cut vertex (or the end of a
 * bridge) before u, but not before itself. */
static bool
is_dead_end(const struct search_node *u, const struct search_node *v)
{
	return (u->must_share & (ROUTE_LINK - 1)) > (v->must_share & (ROUTE_LINK - 1));
}

static int
expand(struct search *s, const struct search_query *q, uint32_t label)
{
	const struct label at = s->labels.pool[label];
	const uint32_t end = s->g->first[at.vertex + 1];
	int err = 0;

	for (uint32_t e = s->g->first[at.vertex]; e < end && err == 0; e++) {
		uint32_t u = s->in[e].from;
		struct label next = {at.weight + weight_of(s->in[e].cost), u, label, at.hops + 1};

		if (is_dead_end(&s->nodes[u], &s->nodes[at.vertex]) ||
		    !search_usable(s, &s->in[e], at.hops == 0) ||
		    (at.parent == LABEL_NONE && is_next_banned(q, u)))
			continue;
		if (q->spare != SEARCH_SPARE_NONE && s->nodes[u].spared == s->spared_stamp) {
			uint64_t more = sharing(s, q->spare, u, at.vertex);

			if (more == ROUTE_ANY)
				continue;
			next.weight += more;
		}
		err = offer(s, q, &next);
	}
	return err;
}

/* A new stamp makes all vertices new; those of the prefix are taken. */
static int
start(struct search *s, const struct search_query *q)
{
	const struct route *p = q->prefix;
	const struct label first = {p->weight[q->spur], p->v[q->spur], LABEL_NONE, q->spur};

	if (++s->stamp == 0) {
		for (size_t v = 0; v < s->g->vertex_count; v++)
			s->nodes[v].stamp = 0;
		s->stamp = 1;
	}
	labels_clear(&s->labels);
	s->cut_short = ROUTE_ANY;
	for (uint32_t i = 0; i < q->spur; i++) {
		s->nodes[p->v[i]].stamp = s->stamp;
		s->nodes[p->v[i]].settled_hops = 0;
	}
	return offer(s, q, &first);
}

/* Until the root is reached, its label to *found, or nothing is left: LABEL_NONE. */
static int
advance(struct search *s, const struct search_query *q, uint32_t *found, uint64_t *key)
{
	int err = start(s, q);

	while (err == 0) {
		uint32_t label = labels_pop(&s->labels, key);
		struct search_node *n;

		*found = label;
		if (label == LABEL_NONE || s->labels.pool[label].vertex == s->g->root)
			return 0;
		*found = LABEL_NONE;
		if (s->labels.count > q->labels_max)
			return 0;
		n = &s->nodes[s->labels.pool[label].vertex];
		if (n->settled_hops <= s->labels.pool[label].hops ||
		    (!s->pareto && n->settled_hops != UNSETTLED))
			continue;
		n->settled_hops = (uint8_t)s->labels.pool[label].hops;
		err = expand(s, q, label);
	}
	return err;
}

static void
to_route(const struct search *s, const struct search_query *q, uint32_t label, struct route *out)
{
	const struct label *l = &s->labels.pool[label];

	for (uint32_t i = 0; i < q->spur; i++) {
		out->v[i] = q->prefix->v[i];
		out->weight[i] = q->prefix->weight[i];
	}
	out->hops = l->hops;
	for (;; l = &s->labels.pool[l->parent]) {
		out->v[l->hops] = l->vertex;
		out->weight[l->hops] = l->weight & ROUTE_COST_MASK;
		if (l->parent == LABEL_NONE)
			return;
	}
}

int
search_run(struct search *s, const struct search_query *q, struct route *out)
{
	uint32_t found;
	uint64_t key;
	int err;

	out->hops = 0;
	s->pareto = false;
	if ((err = advance(s, q, &found, &key)) != 0)
		return err;
	/* A label that was too long may have hidden a dearer one of fewer hops. */
	if (s->cut_short != ROUTE_ANY && (found == LABEL_NONE || s->cut_short < key)) {
		s->pareto = true;
		if ((err = advance(s, q, &found, &key)) != 0)
			return err;
	}
	if (found != LABEL_NONE)
		to_route(s, q, found, out);
	return 0;
}

bool
search_extend(const struct search *s, struct route *r, uint32_t v)
{
	uint32_t at = r->v[r->hops], lo = s->g->first[at], hi = s->g->first[at + 1];

	if (r->hops == PATH_HOPS_MAX)
		return false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (s->in[mid].from < v)
			lo = mid + 1;
		else
			hi = mid;
	}
	MUST(lo < s->g->first[at + 1] && s->in[lo].from == v);
	r->weight[r->hops + 1] = r->weight[r->hops] + weight_of(s->in[lo].cost);
	r->v[++r->hops] = v;
	return true;
}
