/* Several paths to one node, against all simple paths of small graphs. */
#include "tests/unit/routerd/make.h"

#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "routerd/core/cost.h"
#include "routerd/core/graph.h"
#include "routerd/core/ksp.h"

enum {
	SMALL = 8,
	LARGE = 400,
	ROUNDS = 15000,
	SIMPLE_MAX = 2000, /* simple paths between two of 8 nodes: at most 1957 */
	ALL = 1000 * 1000 * 1000,
};

static struct lsdb db;
static struct cost_profiles profiles;
static struct graph graph;
static struct ksp ksp;
static struct spf spf;
static struct lsa lsa;

static int
setup(void **state)
{
	(void)state;
	lsdb_init(&db, 20000, ALL);
	cost_profiles_make(&profiles, cost_defaults);
	graph_init(&graph, 42, &profiles);
	ksp_init(&ksp);
	spf_init(&spf);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	spf_fini(&spf);
	ksp_fini(&ksp);
	graph_fini(&graph);
	lsdb_fini(&db);
	return 0;
}

/* latency[a][b] of nodes 1…n in us; 0: no link.  Node 1 is the root. */
static uint32_t latency[LARGE + 1][LARGE + 1];

static void
load(int n)
{
	lsdb_fini(&db);
	for (int a = n; a >= 1; a--) {
		make_lsa(&lsa, (uint64_t)a, 1, 1);
		for (int b = 1; b <= n; b++)
			if (latency[a][b] != 0)
				make_adj(&lsa, (uint64_t)b, latency[a][b]);
		if (a != 1)
			make_entry(&db, &lsa, 0, 0);
	}
	assert_int_equal(graph_build(&graph, &db, 1, lsa.adj, lsa.adj_count), 0);
	assert_int_equal(ksp_begin(&ksp, &graph), 0);
}

static uint32_t
edge_cost(int a, int b)
{
	const struct lsa_adj adj = {.latency_us = latency[a][b]};

	return cost_link(&cost_defaults[FRAME_CLASS_CONTROL], &adj);
}

static void
join(int a, int b, uint32_t there, uint32_t back)
{
	latency[a][b] = there;
	latency[b][a] = back;
}

/* --- the oracle --- */

struct simple {
	uint32_t cost, hops;
	uint32_t relays;   /* bit for each node between the ends */
	uint32_t links[2]; /* bit for each pair of nodes */
	uint32_t first;
	int nodes[SMALL];
};

static struct simple simple[SIMPLE_MAX];
static size_t simple_count;

static int
link_bit(int a, int b)
{
	int lo = (a < b ? a : b) - 1, hi = (a < b ? b : a) - 1;

	return hi * (hi - 1) / 2 + lo;
}

static struct simple
step(const struct simple *p, int from, int to)
{
	struct simple r = *p;
	int bit = link_bit(from, to);

	if (r.hops == 0)
		r.first = (uint32_t)bit;
	else
		r.relays |= 1u << from;
	r.links[bit / 32] |= 1u << bit % 32;
	r.cost += edge_cost(from, to);
	r.nodes[r.hops++] = to;
	return r;
}

static void
enumerate(int n, int at, int target, unsigned visited, const struct simple *sofar)
{
	if (at == target) {
		assert_true(simple_count < SIMPLE_MAX);
		simple[simple_count++] = *sofar;
		return;
	}
	for (int b = 1; b <= n; b++) {
		if ((visited & 1u << b) == 0 && latency[at][b] != 0) {
			struct simple more = step(sofar, at, b);

			enumerate(n, b, target, visited | 1u << b, &more);
		}
	}
}

static int
by_cost(const void *a, const void *b)
{
	const struct simple *x = a, *y = b;

	if (x->cost != y->cost)
		return x->cost < y->cost ? -1 : 1;
	return x->hops < y->hops ? -1 : x->hops > y->hops;
}

static void
oracle(int n, int target)
{
	const struct simple none = {0};

	simple_count = 0;
	enumerate(n, 1, target, 1u << 1, &none);
	qsort(simple, simple_count, sizeof(simple[0]), by_cost);
}

static unsigned
bits(uint32_t x)
{
	return (unsigned)__builtin_popcount(x);
}

static unsigned
common_links(const struct simple *a, const struct simple *b)
{
	return bits(a->links[0] & b->links[0]) + bits(a->links[1] & b->links[1]);
}

static unsigned
common_relays(const struct simple *a, const struct simple *b)
{
	return bits(a->relays & b->relays);
}

/* 2: nothing in common, 1: no link, 0: a link. */
static int
grade(const struct simple *a, const struct simple *b)
{
	if (common_links(a, b) != 0)
		return 0;
	return common_relays(a, b) != 0 ? 1 : 2;
}

/* What b shares with a; less is better. */
static uint64_t
sharing(const struct simple *a, const struct simple *b)
{
	return (uint64_t)(a->first == b->first) << 16 | (uint64_t)common_links(a, b) << 8 |
	       common_relays(a, b);
}

/* --- what came out --- */

static struct simple got[KSP_PATHS_MAX];
static size_t got_count;

/* Valid, without loops, and the cost is right. */
static struct simple
parse(int target, const struct spf_path *p)
{
	struct simple r = {0};
	unsigned visited = 1u << 1;
	int at = 1;

	assert_in_range(p->hop_count, 1, PATH_HOPS_MAX);
	for (uint32_t i = 0; i < p->hop_count; i++) {
		int to = (int)p->hops[i];

		assert_in_range(to, 1, SMALL);
		assert_true(latency[at][to] != 0);
		assert_false(visited & 1u << to);
		visited |= 1u << to;
		r = step(&r, at, to);
		at = to;
	}
	assert_int_equal(at, target);
	assert_int_equal(r.cost, p->cost);
	return r;
}

static bool
same_path(const struct simple *a, const struct simple *b)
{
	return a->hops == b->hops && memcmp(a->nodes, b->nodes, a->hops * sizeof(a->nodes[0])) == 0;
}

static void
run(int target, unsigned paths_max)
{
	static struct spf_path out[KSP_PATHS_MAX], again[KSP_PATHS_MAX];
	uint32_t v = graph_find(&graph, (uint64_t)target);
	size_t count = 99;

	assert_int_equal(ksp_run(&ksp, &graph, v, paths_max, out, &got_count), 0);
	assert_true(got_count <= paths_max);
	for (size_t i = 0; i < got_count; i++) {
		got[i] = parse(target, &out[i]);
		for (size_t j = 0; j < i; j++)
			assert_false(same_path(&got[i], &got[j]));
	}
	assert_int_equal(ksp_run(&ksp, &graph, v, paths_max, again, &count), 0);
	assert_int_equal(count, got_count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(again[i].hop_count, out[i].hop_count);
		assert_memory_equal(again[i].hops, out[i].hops, out[i].hop_count * sizeof(out[i].hops[0]));
	}
}

static void
check_first(int target)
{
	struct spf_path p;
	uint32_t v = graph_find(&graph, (uint64_t)target);

	assert_int_equal(got[0].cost, simple[0].cost);
	assert_int_equal(got[0].hops, simple[0].hops);
	assert_true(spf_path(ksp_spf(&ksp), &graph, v, &p));
	assert_int_equal(p.hop_count, got[0].hops);
	for (uint32_t i = 0; i < p.hop_count; i++)
		assert_int_equal(p.hops[i], got[0].nodes[i]);
}

/* The best companion of the cheapest; NULL: there is no other path. */
static const struct simple *
best_backup(void)
{
	const struct simple *best = NULL;

	for (size_t i = 0; i < simple_count; i++) {
		if (same_path(&simple[i], &got[0]))
			continue;
		if (best == NULL || sharing(&got[0], &simple[i]) < sharing(&got[0], best))
			best = &simple[i];
	}
	return best;
}

static int
best_pair(const struct simple *paths, size_t count)
{
	int best = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t j = i + 1; j < count && best < 2; j++)
			if (grade(&paths[i], &paths[j]) > best)
				best = grade(&paths[i], &paths[j]);
	return best;
}

/* The least cost of two together that are as disjoint as that. */
static uint64_t
pair_cost(const struct simple *paths, size_t count, int wanted)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < count; i++)
		for (size_t j = i + 1; j < count && (uint64_t)paths[i].cost + paths[j].cost < least; j++)
			if (grade(&paths[i], &paths[j]) >= wanted)
				least = (uint64_t)paths[i].cost + paths[j].cost;
	return least;
}

static unsigned seen_apart, seen_pairs, seen_trades;

static void
check_backup(unsigned paths_max)
{
	const struct simple *want = best_backup();
	bool traded;

	if (want == NULL) {
		assert_int_equal(got_count, 1);
		return;
	}
	assert_true(got_count >= 2);
	/* The pair may take the place of a backup that shares a link. */
	traded = paths_max == 3 && grade(&got[0], want) == 0 && best_pair(simple, simple_count) > 0;
	seen_trades += traded;
	if (traded) {
		assert_true(grade(&got[1], &got[2]) == best_pair(simple, simple_count));
		assert_true(got[1].first != got[0].first);
		assert_true(sharing(&got[0], &got[1]) <= sharing(&got[0], &got[2]));
		return;
	}
	assert_int_equal(sharing(&got[0], &got[1]), sharing(&got[0], want));
	assert_int_equal(got[1].cost, want->cost);
}

static void
check_pair(unsigned paths_max)
{
	int exists = best_pair(simple, simple_count), had = best_pair(got, got_count);

	if (paths_max < 3)
		return;
	seen_apart += exists == 2;
	seen_pairs += exists > grade(&got[0], &got[1]);
	if (paths_max == 3)
		assert_int_equal(had > 0, exists > 0);
	else
		assert_int_equal(had, exists);
	/* A third path may happen to be as disjoint from the first as the pair that has no room. */
	if (had > grade(&got[0], &got[1]) && (paths_max > 3 || grade(&got[0], &got[1]) == 0))
		assert_int_equal(pair_cost(got, got_count, had), pair_cost(simple, simple_count, had));
}

/* Beyond the first two: ascending, and within the bound unless they are the pair. */
static void
check_rest(unsigned paths_max)
{
	uint64_t bound = (uint64_t)KSP_COST_FACTOR * simple[0].cost + KSP_COST_EXTRA;
	size_t cheap = 0;
	unsigned dear = 0;

	for (size_t i = 0; i < simple_count; i++)
		cheap += simple[i].cost <= bound;
	for (size_t i = 2; i < got_count; i++) {
		assert_true(i == 2 || by_cost(&got[i - 1], &got[i]) <= 0);
		dear += got[i].cost > bound;
	}
	assert_true(dear <= 2);
	/* All room is used. */
	assert_true(got_count >= (cheap < paths_max ? cheap : paths_max));
}

static void
check_cheapest(int target, unsigned paths_max)
{
	static struct spf_path out[KSP_PATHS_MAX];
	struct simple list[KSP_PATHS_MAX];
	uint32_t v = graph_find(&graph, (uint64_t)target);
	size_t count;

	assert_int_equal(ksp_cheapest(&ksp, &graph, v, paths_max, out, &count), 0);
	assert_int_equal(count, simple_count < paths_max ? simple_count : paths_max);
	for (size_t i = 0; i < count; i++) {
		list[i] = parse(target, &out[i]);
		assert_int_equal(list[i].cost, simple[i].cost);
		assert_int_equal(list[i].hops, simple[i].hops);
		for (size_t j = 0; j < i; j++)
			assert_false(same_path(&list[i], &list[j]));
	}
}

static void
compare(int n, unsigned paths_max)
{
	for (int target = 2; target <= n; target++) {
		oracle(n, target);
		run(target, paths_max);
		assert_int_equal(got_count != 0, simple_count != 0);
		if (got_count != 0) {
			check_first(target);
			if (paths_max > 1)
				check_backup(paths_max);
			check_pair(paths_max);
			check_rest(paths_max);
		}
		check_cheapest(target, paths_max);
	}
}

/* Links at random; costs differ in the two directions. */
static void
draw(struct rng *rng, int n, uint64_t density, uint64_t spread)
{
	for (int a = 1; a <= n; a++)
		for (int b = 1; b < a; b++) {
			bool linked = rng_below(rng, 100) < density;

			join(a, b, linked ? 1 + (uint32_t)rng_below(rng, spread) * COST_STEP_US : 0,
			    linked ? 1 + (uint32_t)rng_below(rng, spread) * COST_STEP_US : 0);
		}
}

static void
test_brute_force(void **state)
{
	static const uint64_t spreads[] = {3, 40, 2000};
	struct rng rng;

	(void)state;
	rng_seed(&rng, 4);
	for (int round = 0; round < ROUNDS; round++) {
		int n = 2 + (int)rng_below(&rng, SMALL - 1);

		/* Dense graphs have all disjoint paths, and cost the oracle most. */
		draw(&rng, n, 15 + rng_below(&rng, round % 8 == 0 ? 85 : 45), spreads[round % 3]);
		/* A cheap chain through all nodes leaves no companion to the cheapest path. */
		for (int a = 1; a < n && round % 4 == 3; a++)
			join(a, a + 1, 1, 1);
		load(n);
		compare(n, 1 + (unsigned)rng_below(&rng, KSP_PATHS_MAX));
		if (round % 2 == 0)
			compare(n, 3 + (unsigned)round % 4 / 2);
	}
	print_message("node-disjoint pairs: %u; not with the cheapest path and its backup: %u; traded: %u\n",
	    seen_apart, seen_pairs, seen_trades);
	assert_true(seen_apart > 1000 && seen_pairs > 500 && seen_trades > 30);
}

/* The cheapest path blocks both others: 1-2-3-4 at least cost, pairs only 1-3-4 and 1-2-4. */
static void
test_trap(void **state)
{
	(void)state;
	memset(latency, 0, sizeof(latency));
	join(1, 2, 250, 250);
	join(2, 3, 250, 250);
	join(3, 4, 250, 250);
	join(1, 3, 9000, 9000);
	join(2, 4, 9000, 9000);
	load(4);
	oracle(4, 4);
	run(4, 2);
	assert_int_equal(got_count, 2);
	assert_int_equal(got[0].hops, 3);
	assert_true(got[1].first != got[0].first);
	run(4, 3);
	assert_int_equal(got_count, 3);
	assert_int_equal(grade(&got[1], &got[2]), 2);
	run(4, 8);
	assert_int_equal(got_count, 4);
	assert_int_equal(best_pair(got, got_count), 2);
}

/* A backup may cost anything; what is beyond it may not. */
static void
test_bound(void **state)
{
	(void)state;
	memset(latency, 0, sizeof(latency));
	join(1, 2, 250, 250);
	join(1, 3, 100000000, 250);
	join(3, 2, 100000000, 250);
	join(1, 4, 110000000, 250);
	join(4, 2, 110000000, 250);
	load(4);
	run(2, 8);
	assert_int_equal(got_count, 2);
	assert_int_equal(got[1].nodes[0], 3);
}

/* --- the limit of hops --- */

static void
test_cheapest_that_fits(void **state)
{
	enum { CHAIN = PATH_HOPS_MAX + 3 };
	static struct spf_path out[KSP_PATHS_MAX];
	size_t count;

	(void)state;
	/* 19 cheap hops; skipping three of them costs less than the one dear link. */
	memset(latency, 0, sizeof(latency));
	for (int a = 1; a < CHAIN; a++)
		join(a, a + 1, 1, 1);
	join(5, 8, 50000, 50000);
	join(1, CHAIN, 200000000, 200000000);
	load(CHAIN);
	assert_int_equal(ksp_run(&ksp, &graph, graph_find(&graph, CHAIN), 4, out, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(out[0].hop_count, CHAIN - 3);
	assert_int_equal(out[0].hops[4], 8);
	assert_int_equal(out[1].hop_count, 1);
	join(5, 8, 0, 0);
	load(CHAIN);
	assert_int_equal(ksp_run(&ksp, &graph, graph_find(&graph, CHAIN), 4, out, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(out[0].hop_count, 1);
	join(1, CHAIN, 0, 0);
	load(CHAIN);
	assert_int_equal(ksp_run(&ksp, &graph, graph_find(&graph, CHAIN), 4, out, &count), 0);
	assert_int_equal(count, 0);
}

/* Least cost with at most h hops, for h up to PATH_HOPS_MAX (Bellman 1958). */
static uint64_t fits[PATH_HOPS_MAX + 1][LARGE + 1];

static void
bellman(int n)
{
	memset(fits, 0xff, sizeof(fits));
	fits[0][1] = 0;
	for (int h = 1; h <= PATH_HOPS_MAX; h++) {
		memcpy(fits[h], fits[h - 1], sizeof(fits[h]));
		for (int a = 1; a <= n; a++)
			for (int b = 1; b <= n && fits[h - 1][a] != UINT64_MAX; b++)
				if (latency[a][b] != 0 && fits[h - 1][a] + edge_cost(a, b) < fits[h][b])
					fits[h][b] = fits[h - 1][a] + edge_cost(a, b);
	}
}

static void
check_large(const struct spf_path *p, int target)
{
	uint64_t cost = 0;
	int at = 1;

	assert_in_range(p->hop_count, 1, PATH_HOPS_MAX);
	for (uint32_t i = 0; i < p->hop_count; i++) {
		int to = (int)p->hops[i];

		assert_true(latency[at][to] != 0 && to != 1);
		for (uint32_t j = 0; j < i; j++)
			assert_true(p->hops[j] != p->hops[i]);
		cost += edge_cost(at, to);
		at = to;
	}
	assert_int_equal(at, target);
	assert_int_equal(p->cost, cost);
}

/* Whether target is within reach without the link from the root to first. */
static bool
survives(int n, int first, int target)
{
	uint32_t there = latency[1][first];
	bool reached;

	latency[1][first] = 0;
	bellman(n);
	reached = fits[PATH_HOPS_MAX][target] != UINT64_MAX;
	latency[1][first] = there;
	return reached;
}

/* Rings with chords: many paths that are cheap and long. */
static void
draw_large(struct rng *rng, int n, int chords)
{
	memset(latency, 0, sizeof(latency));
	for (int a = 1; a < n; a++)
		join(a, a + 1, 1 + (uint32_t)rng_below(rng, 3) * COST_STEP_US,
		    1 + (uint32_t)rng_below(rng, 3) * COST_STEP_US);
	for (int i = 0; i < chords; i++) {
		int a = 1 + (int)rng_below(rng, (uint64_t)n), b = 1 + (int)rng_below(rng, (uint64_t)n);

		if (a != b)
			join(
			    a, b, 1 + (uint32_t)rng_below(rng, 200000), 1 + (uint32_t)rng_below(rng, 200000));
	}
}

static void
test_large(void **state)
{
	static struct spf_path out[KSP_PATHS_MAX];
	static uint64_t least[LARGE + 1];
	unsigned too_long = 0, agreed = 0;
	struct rng rng;

	(void)state;
	rng_seed(&rng, 5);
	for (int round = 0; round < 12; round++) {
		int n = LARGE - round * 20;

		draw_large(&rng, n, n * (1 + round % 4) / 2);
		load(n);
		bellman(n);
		memcpy(least, fits[PATH_HOPS_MAX], sizeof(least));
		assert_int_equal(spf_run(&spf, &graph), 0);
		for (int target = 2; target <= n; target++) {
			uint32_t v = graph_find(&graph, (uint64_t)target);
			size_t count;

			assert_int_equal(ksp_run(&ksp, &graph, v, 4, out, &count), 0);
			assert_int_equal(count != 0, least[target] != UINT64_MAX);
			for (size_t i = 0; i < count; i++)
				check_large(&out[i], target);
			if (count == 0)
				continue;
			if (target % 50 == 0)
				assert_int_equal(count > 1 && out[1].hops[0] != out[0].hops[0],
				    survives(n, (int)out[0].hops[0], target));
			assert_int_equal(out[0].cost, least[target]);
			too_long += spf.best.arrive[v].hops > PATH_HOPS_MAX;
			if (spf.best.arrive[v].hops <= PATH_HOPS_MAX) {
				assert_int_equal(out[0].cost, spf_dist(&spf, v));
				agreed++;
			}
		}
	}
	print_message("cheapest path too long: %u destinations; as in the tree: %u\n", too_long, agreed);
	assert_true(too_long > 100 && agreed > 100);
}

/* --- the rest --- */

static void
test_no_destination(void **state)
{
	struct spf_path out[2];
	size_t count = 99;

	(void)state;
	memset(latency, 0, sizeof(latency));
	join(1, 2, 250, 250);
	load(3);
	assert_int_equal(ksp_run(&ksp, &graph, graph.root, 2, out, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(ksp_run(&ksp, &graph, graph_find(&graph, 3), 2, out, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(ksp_run(&ksp, &graph, graph_find(&graph, 2), 2, out, &count), 0);
	assert_int_equal(count, 1);
}

static void
test_memory_out(void **state)
{
	static struct spf_path out[KSP_PATHS_MAX];
	unsigned long failures = 0;
	struct rng rng;
	int err = ERR_NOMEM;

	(void)state;
	/* Large enough for the labels to grow; 2 and 3 are the trap of above, so that a pair is wanted. */
	rng_seed(&rng, 6);
	draw_large(&rng, LARGE, 4 * LARGE);
	for (int a = 1; a <= LARGE; a++)
		latency[1][a] = latency[a][1] = latency[LARGE][a] = latency[a][LARGE] = 0;
	join(1, 2, 250, 250);
	join(2, 3, 250, 250);
	join(3, LARGE, 250, 250);
	join(1, 3, 9000000, 9000000);
	join(2, LARGE, 9000000, 9000000);
	load(LARGE);
	for (unsigned long n = 1; err != 0; n++) {
		size_t count = 0;

		ksp_fini(&ksp);
		mem_fail_at(n);
		err = ksp_begin(&ksp, &graph);
		if (err == 0)
			err = ksp_run(&ksp, &graph, graph_find(&graph, LARGE), 4, out, &count);
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
		failures += err != 0;
		assert_int_equal(count, err == 0 ? 4 : 0);
		assert_int_equal(ksp_begin(&ksp, &graph), 0);
		assert_int_equal(ksp_run(&ksp, &graph, graph_find(&graph, LARGE), 4, out, &count), 0);
		assert_int_equal(count, 4);
	}
	print_message("failing allocations survived: %lu\n", failures);
	assert_true(failures >= 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_brute_force, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_trap, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cheapest_that_fits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_no_destination, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_memory_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
