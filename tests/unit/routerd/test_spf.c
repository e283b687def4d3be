/* Graph and shortest paths, against all simple paths of small graphs. */
#include "tests/unit/routerd/make.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "routerd/core/cost.h"
#include "routerd/core/graph.h"
#include "routerd/core/spf.h"

enum { SMALL = 8, ALL = 1000 * 1000 * 1000 };

static struct lsdb db;
static struct cost_profiles profiles;
static struct graph graph, before;
static struct spf spf;
static struct lsa lsa;

static int
setup(void **state)
{
	(void)state;
	lsdb_init(&db, 20000, ALL);
	cost_profiles_make(&profiles, cost_defaults);
	graph_init(&graph, 42, &profiles);
	graph_init(&before, 43, &profiles);
	spf_init(&spf);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	spf_fini(&spf);
	graph_fini(&graph);
	graph_fini(&before);
	lsdb_fini(&db);
	return 0;
}

/* latency[a][b] of nodes 1…n in us; 0: a does not list b. */
static uint32_t latency[SMALL + 1][SMALL + 1];

static void
load(int n)
{
	lsdb_fini(&db);
	for (int a = 2; a <= n; a++) {
		make_lsa(&lsa, (uint64_t)a, 1, 1);
		for (int b = 1; b <= n; b++)
			if (latency[a][b] != 0)
				make_adj(&lsa, (uint64_t)b, latency[a][b]);
		make_entry(&db, &lsa, 0, 0);
	}
	make_lsa(&lsa, 1, 1, 1);
	for (int b = 2; b <= n; b++)
		if (latency[1][b] != 0)
			make_adj(&lsa, (uint64_t)b, latency[1][b]);
	assert_int_equal(graph_build(&graph, &db, 1, lsa.adj, lsa.adj_count), 0);
	assert_int_equal(spf_run(&spf, &graph), 0);
}

static bool
edge(int a, int b)
{
	return latency[a][b] != 0 && latency[b][a] != 0;
}

static uint32_t
edge_cost(int a, int b)
{
	const struct lsa_adj adj = {.latency_us = latency[a][b]};

	return cost_link(&cost_defaults[FRAME_CLASS_CONTROL], &adj);
}

struct best {
	uint64_t cost;
	uint32_t hops;
};

/* All simple paths from at to target. */
static void
search(int n, int at, int target, unsigned visited, struct best sofar, struct best *best)
{
	if (at == target) {
		if (sofar.cost < best->cost || (sofar.cost == best->cost && sofar.hops < best->hops))
			*best = sofar;
		return;
	}
	for (int b = 1; b <= n; b++)
		if ((visited & 1u << b) == 0 && edge(at, b))
			search(n, b, target, visited | 1u << b,
			    (struct best){sofar.cost + edge_cost(at, b), sofar.hops + 1}, best);
}

static void
compare(int n)
{
	for (int target = 2; target <= n; target++) {
		struct best best = {UINT64_MAX, UINT32_MAX};
		uint32_t v = graph_find(&graph, (uint64_t)target);
		struct spf_path p;
		int at = 1;

		search(n, 1, target, 1u << 1, (struct best){0, 0}, &best);
		assert_int_not_equal(v, GRAPH_NONE);
		assert_int_equal(spf_path(&spf, &graph, v, &p), best.cost != UINT64_MAX);
		if (best.cost == UINT64_MAX)
			continue;
		assert_int_equal(p.cost, best.cost);
		assert_int_equal(p.hop_count, best.hops);
		for (uint32_t i = 0; i < p.hop_count; i++) {
			assert_true(edge(at, (int)p.hops[i]));
			at = (int)p.hops[i];
		}
		assert_int_equal(at, target);
	}
}

static void
test_brute_force(void **state)
{
	struct rng rng;

	(void)state;
	rng_seed(&rng, 11);
	for (int round = 0; round < 3000; round++) {
		int n = 2 + (int)rng_below(&rng, SMALL - 1);
		uint64_t density = 10 + rng_below(&rng, 90);
		/* Few different costs: many ties. */
		uint64_t spread = round % 2 == 0 ? 4 : 100;

		for (int a = 1; a <= n; a++)
			for (int b = 1; b <= n; b++)
				latency[a][b] = a != b && rng_below(&rng, 100) < density
						    ? 1 + (uint32_t)rng_below(&rng, spread) * COST_STEP_US
						    : 0;
		load(n);
		compare(n);
	}
}

static void
test_ties_are_broken_the_same_way(void **state)
{
	struct spf_path p;

	(void)state;
	/* 1 to 4 by 2 or by 3 at the same cost: by the smaller. */
	memset(latency, 0, sizeof(latency));
	for (int m = 2; m <= 3; m++) {
		latency[1][m] = latency[m][1] = 1000;
		latency[m][4] = latency[4][m] = 1000;
	}
	load(4);
	assert_true(spf_path(&spf, &graph, graph_find(&graph, 4), &p));
	assert_true(p.hops[0] == 2);
	/* Two hops of 500 us and one that costs as much: the one. */
	memset(latency, 0, sizeof(latency));
	latency[1][2] = latency[2][1] = latency[2][3] = latency[3][2] = 500;
	latency[1][3] = latency[3][1] = 2 * 500 + COST_HOP_US;
	load(3);
	assert_true(spf_path(&spf, &graph, graph_find(&graph, 3), &p));
	assert_int_equal(p.hop_count, 1);
}

static void
test_two_way_check(void **state)
{
	struct spf_path p;

	(void)state;
	memset(latency, 0, sizeof(latency));
	latency[1][2] = latency[2][1] = 100;
	latency[2][3] = 100; /* 3 does not list 2 */
	load(3);
	assert_int_equal(graph.edge_count, 2);
	assert_true(spf_path(&spf, &graph, graph_find(&graph, 2), &p));
	assert_false(spf_path(&spf, &graph, graph_find(&graph, 3), &p));
	assert_false(spf_path(&spf, &graph, graph.root, &p));
}

static void
test_one_who_left_is_no_relay(void **state)
{
	struct spf_path p;

	(void)state;
	make_lsa(&lsa, 2, 1, 1);
	lsa.flags = LSA_FLAG_LEFT;
	make_adj(&lsa, 1, 100);
	make_adj(&lsa, 3, 100);
	make_entry(&db, &lsa, 0, 0);
	make_lsa(&lsa, 3, 1, 1);
	make_adj(&lsa, 2, 100);
	make_entry(&db, &lsa, 0, 0);
	make_lsa(&lsa, 1, 1, 1);
	make_adj(&lsa, 2, 100);
	assert_int_equal(graph_build(&graph, &db, 1, lsa.adj, 1), 0);
	assert_int_equal(spf_run(&spf, &graph), 0);
	assert_int_equal(graph_find(&graph, 2), GRAPH_NONE);
	assert_false(spf_path(&spf, &graph, graph_find(&graph, 3), &p));
}

/* The cheapest path is too long for a frame: the one with the fewest hops is used. */
static void
test_path_too_long(void **state)
{
	enum { CHAIN = PATH_HOPS_MAX + 3 };
	struct spf_path p;

	(void)state;
	for (uint64_t n = 2; n <= CHAIN; n++) {
		make_lsa(&lsa, n, 1, 1);
		if (n == CHAIN)
			make_adj(&lsa, 1, 200000000);
		make_adj(&lsa, n - 1, 1);
		if (n < CHAIN)
			make_adj(&lsa, n + 1, 1);
		make_entry(&db, &lsa, 0, 0);
	}
	make_lsa(&lsa, 1, 1, 1);
	make_adj(&lsa, 2, 1);
	make_adj(&lsa, CHAIN, 200000000);
	assert_int_equal(graph_build(&graph, &db, 1, lsa.adj, 2), 0);
	assert_int_equal(spf_run(&spf, &graph), 0);
	assert_true(spf.has_fewest);
	assert_true(spf_path(&spf, &graph, graph_find(&graph, CHAIN - 2), &p));
	assert_int_equal(p.hop_count, PATH_HOPS_MAX);
	assert_true(spf_path(&spf, &graph, graph_find(&graph, CHAIN), &p));
	assert_int_equal(p.hop_count, 1);
	/* 17 hops and more either way round: 1 to 19 by the dear link has two. */
	assert_true(spf_path(&spf, &graph, graph_find(&graph, CHAIN - 1), &p));
	assert_int_equal(p.hop_count, 2);
}

static unsigned ups, downs;

static void
on_diff(void *arg, uint64_t a, uint64_t b, bool up)
{
	(void)arg;
	assert_true(a < b);
	if (up)
		ups++;
	else
		downs++;
}

static void
test_diff(void **state)
{
	struct graph swap;

	(void)state;
	memset(latency, 0, sizeof(latency));
	latency[1][2] = latency[2][1] = latency[2][3] = latency[3][2] = 100;
	load(4);
	graph_diff(&before, &graph, on_diff, NULL);
	assert_int_equal(ups, 2);
	assert_int_equal(downs, 0);
	swap = before;
	before = graph;
	graph = swap;
	latency[2][3] = 0;
	latency[1][4] = latency[4][1] = latency[3][4] = latency[4][3] = 100;
	load(4);
	ups = downs = 0;
	graph_diff(&before, &graph, on_diff, NULL);
	assert_int_equal(ups, 2);
	assert_int_equal(downs, 1);
}

static void
test_memory_out(void **state)
{
	(void)state;
	memset(latency, 0, sizeof(latency));
	latency[1][2] = latency[2][1] = 100;
	load(2);
	make_lsa(&lsa, 1, 1, 1);
	make_adj(&lsa, 2, 100);
	for (unsigned long k = 1; k <= 5; k++) {
		graph_fini(&graph);
		mem_fail_at(k);
		assert_int_equal(graph_build(&graph, &db, 1, lsa.adj, 1), ERR_NOMEM);
		mem_fail_at(0);
		assert_int_equal(graph.vertex_count, 0);
	}
	assert_int_equal(graph_build(&graph, &db, 1, lsa.adj, 1), 0);
	for (unsigned long k = 1; k <= 4; k++) {
		spf_fini(&spf);
		mem_fail_at(k);
		assert_int_equal(spf_run(&spf, &graph), ERR_NOMEM);
		mem_fail_at(0);
	}
	assert_int_equal(spf_run(&spf, &graph), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_brute_force, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_ties_are_broken_the_same_way, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_two_way_check, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_one_who_left_is_no_relay, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_path_too_long, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_diff, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_memory_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
