#include <stdlib.h>
#include <string.h>

#include "tests/sim/net.h"

/*
 * Nodes are points in a square.  Each has a link to the one before it (that connects all), then to
 * random ones, of which every second is the nearest of some: sites with near neighbours, and few hops
 * from anywhere to anywhere.
 */

enum {
	SIDE = 10000,
	CANDIDATES = 8,       /* of which the nearest is taken */
	LATENCY_MIN_US = 200, /* on a LAN; across the square: shape.far_us */
};

struct point {
	int64_t x, y;
};

static int64_t
distance2(const struct point *a, const struct point *b)
{
	return (a->x - b->x) * (a->x - b->x) + (a->y - b->y) * (a->y - b->y);
}

static int64_t
root(int64_t v)
{
	int64_t lo = 0, hi = 2 * SIDE;

	while (lo < hi) {
		int64_t mid = (lo + hi + 1) / 2;

		if (mid * mid <= v)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}

/* Links while they are made; later ones refer to both ends. */
struct maker {
	struct sim *s;
	struct point *points;
	size_t cap;
	uint32_t (*near)[64]; /* peers so far, to avoid doubles */
	uint32_t *near_count;
};

static bool
has(const struct maker *m, uint32_t a, uint32_t b)
{
	for (uint32_t i = 0; i < m->near_count[a]; i++)
		if (m->near[a][i] == b)
			return true;
	return false;
}

static void
add(struct maker *m, uint32_t a, uint32_t b)
{
	struct sim_link *l;

	if (a == b || m->near_count[a] == 64 || m->near_count[b] == 64 || has(m, a, b))
		return;
	l = &m->s->links[m->s->link_count++];
	m->near[a][m->near_count[a]++] = b;
	m->near[b][m->near_count[b]++] = a;
	*l = (struct sim_link){.a = a < b ? a : b, .b = a < b ? b : a, .pass = {true, true}, .broken = true};
	l->latency_us = LATENCY_MIN_US + (uint32_t)(root(distance2(&m->points[a], &m->points[b])) *
						    (m->s->shape.far_us - LATENCY_MIN_US) / (SIDE * 3 / 2));
}

static uint32_t
choose(struct maker *m, uint32_t node, unsigned candidates)
{
	struct sim *s = m->s;
	uint32_t best = (uint32_t)rng_below(&s->rng, s->node_count);

	for (unsigned i = 1; i < candidates; i++) {
		uint32_t other = (uint32_t)rng_below(&s->rng, s->node_count);

		if (other != node && (best == node || distance2(&m->points[node], &m->points[other]) <
							  distance2(&m->points[node], &m->points[best])))
			best = other;
	}
	return best;
}

/* The links of each node, one node after the other. */
static void
index_links(struct sim *s)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < s->link_count; i++) {
		s->nodes[s->links[i].a].link_count++;
		s->nodes[s->links[i].b].link_count++;
	}
	s->node_links = sim_alloc(2 * (size_t)s->link_count, sizeof(s->node_links[0]));
	for (uint32_t i = 0; i < s->node_count; i++) {
		s->nodes[i].first_link = next;
		next += s->nodes[i].link_count;
		s->nodes[i].link_count = 0;
	}
	for (uint32_t i = 0; i < s->link_count; i++) {
		struct sim_node *a = &s->nodes[s->links[i].a], *b = &s->nodes[s->links[i].b];

		s->node_links[a->first_link + a->link_count++] = i;
		s->node_links[b->first_link + b->link_count++] = i;
	}
}

static int
by_id(const void *a, const void *b)
{
	uint64_t x = sim_id(*(const uint32_t *)a), y = sim_id(*(const uint32_t *)b);

	return x < y ? -1 : x > y;
}

static void
sort_ids(struct sim *s)
{
	s->by_id = sim_alloc(s->node_count, sizeof(s->by_id[0]));
	for (uint32_t i = 0; i < s->node_count; i++)
		s->by_id[i] = i;
	qsort(s->by_id, s->node_count, sizeof(s->by_id[0]), by_id);
}

/* Ends that reach each other over relays: each has a link with one or two of these, and seldom one with
 * another end. */
static void
link_ends(struct maker *m, uint32_t ends)
{
	struct sim *s = m->s;
	uint32_t relays = s->node_count - ends;

	for (uint32_t i = ends + 1; i < s->node_count; i++) {
		add(m, i, ends + (uint32_t)rng_below(&s->rng, i - ends));
		add(m, i, ends + (uint32_t)rng_below(&s->rng, relays));
	}
	for (uint32_t i = 0; i < ends; i++) {
		add(m, i, ends + (uint32_t)rng_below(&s->rng, relays));
		add(m, i, ends + (uint32_t)rng_below(&s->rng, relays));
		if (i != 0 && rng_below(&s->rng, 5) == 0)
			add(m, i, (uint32_t)rng_below(&s->rng, i));
	}
}

static void
link_all(struct maker *m, uint32_t each)
{
	struct sim *s = m->s;

	for (uint32_t i = 1; i < s->node_count; i++)
		add(m, i, i - 1);
	for (uint32_t i = 0; i < s->node_count; i++)
		for (uint32_t k = 1; k < each; k++)
			add(m, i, choose(m, i, k % 2 != 0 ? CANDIDATES : 1));
}

void
topo_make(struct sim *s)
{
	struct maker m = {.s = s};
	uint32_t each = SIM_DEGREE / 2;

	m.points = sim_alloc(s->node_count, sizeof(m.points[0]));
	m.near = sim_alloc(s->node_count, sizeof(m.near[0]));
	m.near_count = sim_alloc(s->node_count, sizeof(m.near_count[0]));
	s->links = sim_alloc((size_t)s->node_count * (each + 1), sizeof(s->links[0]));
	for (uint32_t i = 0; i < s->node_count; i++)
		m.points[i] =
		    (struct point){(int64_t)rng_below(&s->rng, SIDE), (int64_t)rng_below(&s->rng, SIDE)};
	if (s->shape.ends != 0)
		link_ends(&m, s->shape.ends);
	else
		link_all(&m, each);
	index_links(s);
	sort_ids(s);
	free(m.points);
	free(m.near);
	free(m.near_count);
}
