/* Links that are not for transit: paths against all simple paths of small graphs that respect them. */
#include "tests/unit/routerd/make.h"

#include <stdio.h>

#include "common/base/rng.h"
#include "routerd/core/graph.h"
#include "routerd/core/ksp.h"

enum { SMALL = 7, ROUNDS = 6000, SIMPLE_MAX = 400, ALL = 1000 * 1000 * 1000 };

static struct lsdb db;
static struct cost_profiles profiles;
static struct graph graph;
static struct ksp ksp;
static struct lsa lsa;

static uint32_t latency[SMALL + 1][SMALL + 1]; /* 0: no link */
static bool never[SMALL + 1][SMALL + 1];

static int
setup(void **state)
{
	(void)state;
	memset(latency, 0, sizeof(latency));
	memset(never, 0, sizeof(never));
	lsdb_init(&db, 1000, ALL);
	cost_profiles_make(&profiles, cost_defaults);
	graph_init(&graph, 42, &profiles);
	ksp_init(&ksp);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	ksp_fini(&ksp);
	graph_fini(&graph);
	lsdb_fini(&db);
	return 0;
}

static void
load(int n)
{
	lsdb_fini(&db);
	for (int a = n; a >= 1; a--) {
		make_lsa(&lsa, (uint64_t)a, 1, 1);
		for (int b = 1; b <= n; b++) {
			if (latency[a][b] == 0)
				continue;
			make_adj(&lsa, (uint64_t)b, latency[a][b]);
			if (never[a][b])
				lsa.adj[lsa.adj_count - 1].weight = LSA_WEIGHT_NEVER;
		}
		if (a != 1)
			make_entry(&db, &lsa, 0, 0);
	}
	assert_int_equal(graph_build(&graph, &db, 1, lsa.adj, lsa.adj_count), 0);
	assert_int_equal(ksp_begin(&ksp, &graph), 0);
}

/* --- the oracle --- */

struct simple {
	uint32_t cost;
	int hops, nodes[SMALL];
};

static struct simple simple[SIMPLE_MAX];
static size_t simple_count;

static uint32_t
edge_cost(int a, int b)
{
	const struct lsa_adj adj = {
	    .latency_us = latency[a][b], .weight = never[a][b] ? LSA_WEIGHT_NEVER : 0};

	return cost_link(&cost_defaults[FRAME_CLASS_CONTROL], &adj);
}

static bool
overloaded(int n, int a)
{
	for (int b = 1; b <= n; b++)
		if (latency[a][b] != 0 && !never[a][b])
			return false;
	return true;
}

static bool
usable(int n, int from, int to, int target)
{
	if (latency[from][to] == 0)
		return false;
	return from == 1 || !never[from][to] || (to == target && !overloaded(n, from));
}

static void
enumerate(int n, int at, int target, unsigned visited, struct simple sofar)
{
	if (at == target) {
		assert_true(simple_count < SIMPLE_MAX);
		simple[simple_count++] = sofar;
		return;
	}
	for (int b = 1; b <= n; b++) {
		struct simple more = sofar;

		if ((visited & 1u << b) != 0 || !usable(n, at, b, target))
			continue;
		more.cost += edge_cost(at, b);
		more.nodes[more.hops++] = b;
		enumerate(n, b, target, visited | 1u << b, more);
	}
}

static const struct simple *
find(const struct spf_path *p)
{
	for (size_t i = 0; i < simple_count; i++) {
		int k = 0;

		while (
		    k < simple[i].hops && k < (int)p->hop_count && (uint64_t)simple[i].nodes[k] == p->hops[k])
			k++;
		if (k == simple[i].hops && k == (int)p->hop_count)
			return &simple[i];
	}
	return NULL;
}

static unsigned
shared_links(const struct simple *a, const struct simple *b)
{
	unsigned count = 0;

	for (int i = 0; i < a->hops; i++)
		for (int k = 0; k < b->hops; k++) {
			int a0 = i > 0 ? a->nodes[i - 1] : 1, b0 = k > 0 ? b->nodes[k - 1] : 1;

			count += (a0 == b0 && a->nodes[i] == b->nodes[k]) ||
				 (a0 == b->nodes[k] && a->nodes[i] == b0);
		}
	return count;
}

static unsigned
fewest_shared(const struct simple *first)
{
	unsigned fewest = UINT32_MAX;

	for (size_t i = 0; i < simple_count; i++)
		if (&simple[i] != first && shared_links(first, &simple[i]) < fewest)
			fewest = shared_links(first, &simple[i]);
	return fewest;
}

static void
compare_ksp(uint32_t v, uint32_t least)
{
	struct spf_path out[KSP_PATHS_MAX];
	unsigned fewest = UINT32_MAX;
	size_t count;

	assert_int_equal(ksp_run(&ksp, &graph, v, 4, out, &count), 0);
	assert_true(count >= 1 && count <= 4);
	assert_int_equal(out[0].cost, least);
	for (size_t i = 0; i < count; i++) {
		const struct simple *s = find(&out[i]);
		uint32_t cost;

		/* It is a path that may be used, and costs what it says. */
		assert_non_null(s);
		assert_int_equal(s->cost, out[i].cost);
		assert_true(graph_path_cost(&graph, 0, out[i].hops, out[i].hop_count, &cost));
		assert_int_equal(cost, out[i].cost);
		if (i > 0 && shared_links(find(&out[0]), s) < fewest)
			fewest = shared_links(find(&out[0]), s);
	}
	/* A backup whenever there is one, and none shares fewer links. */
	assert_int_equal(count > 1, simple_count > 1);
	if (count > 1)
		assert_int_equal(fewest, fewest_shared(find(&out[0])));
}

static void
compare(int n, int target)
{
	uint32_t v = graph_find(&graph, (uint64_t)target), least = UINT32_MAX;
	struct spf_path p;

	simple_count = 0;
	enumerate(n, 1, target, 1u << 1, (struct simple){0});
	for (size_t i = 0; i < simple_count; i++)
		least = simple[i].cost < least ? simple[i].cost : least;
	assert_int_equal(spf_path(ksp_spf(&ksp), &graph, v, &p), simple_count != 0);
	if (simple_count == 0) {
		size_t count;

		assert_int_equal(ksp_run(&ksp, &graph, v, 4, &p, &count), 0);
		assert_int_equal(count, 0);
		return;
	}
	assert_int_equal(p.cost, least);
	assert_non_null(find(&p));
	compare_ksp(v, least);
}

static void
draw(struct rng *rng, int n)
{
	uint64_t density = 30 + rng_below(rng, 60), limits = rng_below(rng, 60);

	for (int a = 1; a <= n; a++) {
		bool overload = rng_below(rng, 100) < limits / 4;

		for (int b = 1; b <= n; b++)
			never[a][b] = overload || rng_below(rng, 100) < limits;
		for (int b = 1; b < a; b++) {
			bool link = rng_below(rng, 100) < density;

			latency[a][b] = link ? 1 + (uint32_t)rng_below(rng, 60) * 1000 : 0;
			latency[b][a] = link ? 1 + (uint32_t)rng_below(rng, 60) * 1000 : 0;
		}
	}
}

static void
test_brute_force(void **state)
{
	struct rng rng;
	unsigned limited = 0;

	(void)state;
	rng_seed(&rng, 5);
	for (int round = 0; round < ROUNDS; round++) {
		int n = 2 + (int)rng_below(&rng, SMALL - 1);

		draw(&rng, n);
		load(n);
		limited += graph.limited;
		for (int target = 2; target <= n; target++)
			compare(n, target);
	}
	printf("%u of %d graphs have links that are not for transit\n", limited, ROUNDS);
}

static void
link_both(int a, int b, uint32_t us)
{
	latency[a][b] = latency[b][a] = us;
}

/* 1 - 2 - 3 - 4, the link of 2 and 3 not for transit: its ends use it, the others have no way. */
static void
test_a_link(void **state)
{
	struct spf_path p;

	(void)state;
	link_both(1, 2, 1000);
	link_both(2, 3, 1000);
	link_both(3, 4, 1000);
	never[2][3] = true;
	load(4);
	assert_true(spf_path(ksp_spf(&ksp), &graph, graph_find(&graph, 2), &p));
	assert_true(spf_path(ksp_spf(&ksp), &graph, graph_find(&graph, 3), &p));
	assert_false(spf_path(ksp_spf(&ksp), &graph, graph_find(&graph, 4), &p));
	/* From node 2 on, it is the first link. */
	never[2][3] = false;
	never[1][2] = true;
	load(4);
	assert_true(spf_path(ksp_spf(&ksp), &graph, graph_find(&graph, 4), &p));
	assert_int_equal(p.hop_count, 3);
}

/* All links of 2 are not for transit: nothing goes through it, not even to its neighbour; to it, all does. */
static void
test_a_node(void **state)
{
	struct spf_path p;

	(void)state;
	link_both(1, 2, 1000);
	link_both(2, 3, 1000);
	link_both(1, 4, 50000);
	link_both(4, 3, 50000);
	never[2][1] = never[2][3] = true;
	load(4);
	assert_true(spf_path(ksp_spf(&ksp), &graph, graph_find(&graph, 2), &p));
	assert_int_equal(p.hop_count, 1);
	assert_true(spf_path(ksp_spf(&ksp), &graph, graph_find(&graph, 3), &p));
	assert_true(p.hop_count == 2 && p.hops[0] == 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_brute_force, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_link, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_node, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
