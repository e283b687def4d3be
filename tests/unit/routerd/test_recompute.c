/*
 * Whatever happened before, when it is quiet every node's paths are those that a computation from nothing
 * gives: random histories of links that come, go and change, from a seed.  RECOMPUTE_SEED=N runs one
 * seed alone; RECOMPUTE_SEEDS=N that many.
 */
#include "tests/unit/routerd/net.h"

#include "routerd/core/graph.h"
#include "routerd/core/ksp.h"

static struct net net;

static struct {
	uint64_t routes, paths, kept, backups, gaps;
} seen;

/* --- what must be true of a node --- */

static bool
same_path(const struct spf_path *a, const struct spf_path *b)
{
	return a->cost == b->cost && a->hop_count == b->hop_count &&
	       memcmp(a->hops, b->hops, a->hop_count * sizeof(a->hops[0])) == 0;
}

static void
show(const char *what, const struct spf_path *p)
{
	printf("%s %u:", what, p->cost);
	for (uint32_t i = 0; i < p->hop_count; i++)
		printf(" %d", net_index(p->hops[i]));
	printf("\n");
}

static void
differ(const struct fib_path *have, uint32_t count, const struct spf_path *fresh, size_t fresh_count)
{
	for (uint32_t i = 0; i < count; i++)
		show("installed", &have[i].path);
	for (size_t i = 0; i < fresh_count; i++)
		show("anew", &fresh[i]);
	fail_msg("not the same, by a hysteresis of %u %% and at most %zu paths", net.conf.hysteresis_percent,
	    net.conf.paths_max);
}

/* All that is found anew is installed; beside it only the path that was kept as the first. */
static void
check_paths(const struct fib_path *have, uint32_t count, const struct spf_path *fresh, size_t fresh_count,
    size_t paths_max)
{
	bool kept = true;

	assert_true((uint64_t)have[0].path.cost * (100 - net.conf.hysteresis_percent) <=
		    (uint64_t)fresh[0].cost * 100);
	for (size_t i = 0; i < fresh_count; i++) {
		uint32_t k = 0;

		while (k < count && !same_path(&have[k].path, &fresh[i]))
			k++;
		if (k == count && paths_max > 1 && paths_max < ROUTE_PATHS_MAX)
			differ(have, count, fresh, fresh_count);
		kept = kept && k != 0;
	}
	if (paths_max == 1)
		assert_int_equal(count, 1);
	else if (count != fresh_count + kept && count != ROUTE_PATHS_MAX)
		differ(have, count, fresh, fresh_count);
	seen.paths += count;
	seen.kept += kept;
}

static bool
uses_link(const struct spf_path *p, uint64_t root, uint64_t a, uint64_t b)
{
	uint64_t at = root;

	for (uint32_t i = 0; i < p->hop_count; i++) {
		if ((at == a && p->hops[i] == b) || (at == b && p->hops[i] == a))
			return true;
		at = p->hops[i];
	}
	return false;
}

static bool
reaches(int from, int to, int not_a, int not_b)
{
	bool visited[NET_NODES_MAX] = {[0] = false};
	int queue[NET_NODES_MAX], head = 0, tail = 0;

	visited[from] = true;
	queue[tail++] = from;
	while (head < tail) {
		int a = queue[head++];

		for (int b = 0; b < net.count; b++) {
			if (visited[b] || !net_usable(&net, a, b) || (a == not_a && b == not_b) ||
			    (a == not_b && b == not_a))
				continue;
			visited[b] = true;
			queue[tail++] = b;
		}
	}
	return visited[to];
}

static size_t
paths_max(int from, int to)
{
	bool few = net.nodes[from].idle[to] && net.conf.paths_max > ROUTE_PATHS_IDLE;

	return few ? ROUTE_PATHS_IDLE : net.conf.paths_max;
}

/* Whichever link of the first path fails, one of the others is left if one can be; but where all paths share
 * a link, only if there is room for so many. */
static void
check_backup(int from, int to, const struct fib_path *have, uint32_t count)
{
	bool survives = true, bridge = false, others = false, gap = false;
	int a = from;

	for (uint32_t i = 0; i < have[0].path.hop_count; i++) {
		int b = net_index(have[0].path.hops[i]);
		bool spared = false, possible = reaches(from, to, a, b);

		for (uint32_t k = 1; k < count && !spared; k++)
			spared = !uses_link(&have[k].path, net_id(from), net_id(a), net_id(b));
		survives = survives && spared;
		gap = gap || (possible && !spared);
		bridge = bridge || !possible;
		others = others || possible;
		a = b;
	}
	assert_int_equal(count > 1, others);
	if ((!bridge && !survives) || (gap && count < paths_max(from, to)))
		fail_msg("node %d to %d: a link has no backup", from, to);
	seen.backups += survives;
	seen.gaps += gap;
}

static void
check_node(int at, struct graph *g, struct ksp *k, const struct cost_profiles *profiles)
{
	const struct lsdb_entry *self = lsdb_get(router_lsdb(net.nodes[at].router), net_id(at));

	assert_non_null(self);
	assert_int_equal(graph_build(g, router_lsdb(net.nodes[at].router), net_id(at), self->lsa->adj,
			     self->lsa->adj_count),
	    0);
	for (size_t p = 0; p < profiles->count; p++) {
		unsigned class = p == 0 ? FRAME_CLASS_CONTROL : FRAME_CLASS_CLIENT;

		graph_select(g, p);
		assert_int_equal(ksp_begin(k, g), 0);
		for (int to = 0; to < net.count; to++) {
			const struct net_route *r = &net.nodes[at].fib[to];
			uint32_t v = graph_find(g, net_id(to));
			struct spf_path fresh[KSP_PATHS_MAX];
			const struct fib_paths *have;
			size_t count = 0;

			if (to != at && v != GRAPH_NONE)
				assert_int_equal(
				    ksp_run(k, g, v, (unsigned)paths_max(at, to), fresh, &count), 0);
			assert_int_equal(r->set, count != 0);
			if (count == 0)
				continue;
			seen.routes++;
			have = net_paths(&net, at, to, class);
			check_paths(have->path, have->count, fresh, count, paths_max(at, to));
			if (paths_max(at, to) > 2)
				check_backup(at, to, have->path, have->count);
		}
	}
}

static void
check_all(void)
{
	struct cost_profiles profiles;
	struct graph g;
	struct ksp k;

	cost_profiles_make(&profiles, net.conf.cost);
	graph_init(&g, 77, &profiles);
	ksp_init(&k);
	for (int at = 0; at < net.count; at++)
		check_node(at, &g, &k, &profiles);
	ksp_fini(&k);
	graph_fini(&g);
}

/* --- what happens --- */

static void
draw_measures(struct net_link *l)
{
	l->latency_us = 100 + (uint32_t)rng_below(&net.rng, 40000);
	l->bandwidth_kbps = rng_below(&net.rng, 4) == 0 ? 0 : 1000 + (uint32_t)rng_below(&net.rng, 100000);
	l->loss_ppm = rng_below(&net.rng, 3) == 0 ? (uint32_t)rng_below(&net.rng, 100000) : 0;
	l->utilisation_permille = (uint16_t)rng_below(&net.rng, 1001);
}

static void
connect_anew(int a, int b)
{
	net_connect(&net, a, b, 0);
	draw_measures(net_link(&net, a, b));
	net_measured(&net, a, b);
}

static void
disturb(void)
{
	int a = (int)rng_below(&net.rng, (uint64_t)net.count),
	    b = (int)rng_below(&net.rng, (uint64_t)net.count);

	if (a == b)
		return;
	if (rng_below(&net.rng, 4) == 0)
		net_used(&net, a, b, net.nodes[a].idle[b]);
	if (!net_link(&net, a, b)->up) {
		connect_anew(a, b);
	} else if (rng_below(&net.rng, 2) == 0) {
		net_cut(&net, a, b);
	} else {
		draw_measures(net_link(&net, a, b));
		net_measured(&net, a, b);
	}
}

/* Until nothing is under way: news, alternatives, damped links. */
static void
settle(void)
{
	/* News of measures wait up to 5 s at their origin, what they may improve as long here. */
	net_run(&net, 20 * NET_SECOND);
	for (int i = 0; i < net.count; i++) {
		struct router_summary sum;

		for (router_show(net.nodes[i].router, &sum); sum.links_damped != 0 || sum.waiting != 0;
		     router_show(net.nodes[i].router, &sum))
			net_run(&net, NET_SECOND);
	}
	net_run(&net, NET_SECOND);
}

static void
history(uint64_t seed)
{
	net_init(&net, 0, seed);
	net.count = 4 + (int)rng_below(&net.rng, 9);
	for (int i = 0; i < net.count; i++)
		net.nodes[i] = (struct net_node){.net = &net, .index = i};
	net.conf.hysteresis_percent = (uint32_t)rng_below(&net.rng, 3) * 15;
	net.conf.paths_max = 1 + rng_below(&net.rng, ROUTE_PATHS_MAX);
	for (int i = 1; i < net.count; i++)
		connect_anew(i, (int)rng_below(&net.rng, (uint64_t)i));
	net_start_all(&net);
	for (int round = 0; round < 10; round++) {
		for (uint64_t n = 1 + rng_below(&net.rng, 4); n != 0; n--) {
			disturb();
			net_run(&net, (int64_t)rng_below(&net.rng, NET_SECOND));
		}
		settle();
		check_all();
	}
	net_fini(&net);
}

static void
test_seeds(void **state)
{
	const char *one = getenv("RECOMPUTE_SEED"), *many = getenv("RECOMPUTE_SEEDS");
	uint64_t first = one != NULL ? strtoull(one, NULL, 0) : 1;
	uint64_t last = one != NULL ? first : many != NULL ? strtoull(many, NULL, 0) : 100;

	(void)state;
	for (uint64_t seed = first; seed <= last; seed++) {
		printf("seed %llu\n", (unsigned long long)seed);
		history(seed);
	}
	printf("%llu routes of %llu paths compared, %llu kept by hysteresis, %llu survive the failure of any "
	       "link, %llu lack room for a backup of each\n",
	    (unsigned long long)seen.routes, (unsigned long long)seen.paths, (unsigned long long)seen.kept,
	    (unsigned long long)seen.backups, (unsigned long long)seen.gaps);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_seeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
