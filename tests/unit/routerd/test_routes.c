/* Several paths by traffic class, and what becomes of them when links change. */
#include "tests/unit/routerd/net.h"

#include "routerd/core/demand.h"

static struct net net;

enum { CONTROL = FRAME_CLASS_CONTROL, CLIENT = FRAME_CLASS_CLIENT };

static int
teardown(void **state)
{
	(void)state;
	net_fini(&net);
	return 0;
}

static void
begin(int count)
{
	net_init(&net, count, 1);
	net.conf.hysteresis_percent = 15;
}

static void
settle(void)
{
	net_run(&net, 10 * NET_SECOND);
	net_check(&net);
}

static uint32_t
path_count(int from, int to, int class)
{
	return net.nodes[from].fib[to].class[class].count;
}

static const struct spf_path *
path(int from, int to, int class, uint32_t i)
{
	assert_true(i < path_count(from, to, class));
	return &net_paths(&net, from, to, (unsigned)class)->path[i].path;
}

static int
via(int from, int to, int class, uint32_t i)
{
	return net_index(path(from, to, class, i)->hops[0]);
}

static struct router_summary
summary(int node)
{
	struct router_summary sum;

	router_show(net.nodes[node].router, &sum);
	return sum;
}

/* 0 to 3 by 1 (short, narrow), by 2 (long, wide). */
static void
diamond(void)
{
	begin(4);
	net_connect(&net, 0, 1, 5000);
	net_connect(&net, 1, 3, 5000);
	net_connect(&net, 0, 2, 20000);
	net_connect(&net, 2, 3, 20000);
	for (int i = 1; i <= 2; i++) {
		net_link(&net, 0, i)->bandwidth_kbps = i == 1 ? 2000 : 1000000;
		net_link(&net, i, 3)->bandwidth_kbps = i == 1 ? 2000 : 1000000;
	}
	net_start_all(&net);
	settle();
}

static void
test_classes_have_paths_of_their_own(void **state)
{
	(void)state;
	diamond();
	assert_int_equal(via(0, 3, CONTROL, 0), 1);
	assert_int_equal(via(0, 3, FRAME_CLASS_DB, 0), 1);
	assert_int_equal(via(0, 3, CLIENT, 0), 2);
	/* And the other one as the backup, with less weight. */
	assert_int_equal(path_count(0, 3, CONTROL), 2);
	assert_int_equal(via(0, 3, CONTROL, 1), 2);
	assert_int_equal(via(0, 3, CLIENT, 1), 1);
	assert_int_equal(net.nodes[0].fib[3].class[CONTROL].path[0].weight, FIB_WEIGHT_MAX);
	/* 12 ms and 42 ms. */
	assert_int_equal(net.nodes[0].fib[3].class[CONTROL].path[1].weight, 12 * FIB_WEIGHT_MAX / 42);
}

static void
test_costs_have_directions(void **state)
{
	(void)state;
	diamond();
	net_link(&net, 0, 1)->weight[0] = 1000; /* 0 to 1 only */
	net_measured(&net, 0, 1);
	settle();
	assert_int_equal(via(0, 3, CONTROL, 0), 2);
	assert_int_equal(via(3, 0, CONTROL, 0), 1);
}

static void
test_costs_can_be_set_anew(void **state)
{
	struct router_conf conf;
	unsigned whole;

	(void)state;
	diamond();
	whole = net.nodes[0].fib_whole;
	conf = net.conf;
	for (int i = 0; i < FRAME_CLASS_COUNT; i++)
		conf.cost[i] = cost_defaults[CONTROL];
	conf.paths_max = 1;
	router_configure(net.nodes[0].router, &conf, net_mono(&net));
	net_run(&net, 100 * 1000);
	assert_int_equal(net.nodes[0].fib_whole, whole + 1);
	assert_int_equal(via(0, 3, CLIENT, 0), 1);
	assert_int_equal(path_count(0, 3, CLIENT), 1);
	assert_int_equal(router_profiles(net.nodes[0].router)->count, 1);
	/* Only the number: differences. */
	conf.paths_max = 2;
	router_configure(net.nodes[0].router, &conf, net_mono(&net));
	net_run(&net, 100 * 1000);
	assert_int_equal(net.nodes[0].fib_whole, whole + 1);
	assert_int_equal(path_count(0, 3, CLIENT), 2);
	conf.cost[CLIENT].hops = 101;
	router_configure(net.nodes[0].router, &conf, net_mono(&net));
	net_run(&net, 100 * 1000);
	assert_int_equal(net.nodes[0].fib_whole, whole + 2);
	assert_int_equal(router_profiles(net.nodes[0].router)->count, 2);
}

/* A restarted routerd does not replace paths with alternatives by paths without. */
static void
test_whole_fib_has_alternatives(void **state)
{
	(void)state;
	diamond();
	net_kill(&net, 0);
	net_run(&net, NET_SECOND);
	net_start(&net, 0);
	for (int ms = 0; ms < 100; ms++) {
		net_run(&net, 1000);
		assert_int_equal(path_count(0, 3, CONTROL), 2);
	}
	settle();
}

/* --- destinations that data is sent to --- */

/* 0 to 5 by each of 1 to 4. */
static void
four_ways(void)
{
	begin(6);
	net.conf.paths_max = 4;
	for (int i = 1; i <= 4; i++) {
		net_connect(&net, 0, i, (uint32_t)i * 1000);
		net_connect(&net, i, 5, (uint32_t)i * 1000);
	}
	for (int i = 0; i < 6; i++)
		net.nodes[0].idle[i] = true;
	net_start_all(&net);
	settle();
}

static void
test_idle_destinations_have_a_backup(void **state)
{
	(void)state;
	four_ways();
	assert_int_equal(path_count(0, 5, CLIENT), 2);
	assert_int_equal(path_count(5, 0, CLIENT), 4);
	assert_int_equal(summary(0).used, 0);
	assert_int_equal(summary(5).used, 5);
	/* With the first data come the others, in the same moment. */
	net_used(&net, 0, 5, true);
	net_run(&net, 0);
	assert_int_equal(path_count(0, 5, CLIENT), 4);
	assert_int_equal(path_count(0, 5, CONTROL), 4);
	assert_int_equal(path_count(0, 4, CLIENT), 2);
	/* Told again, it changes nothing; and it is known when the route is lost and comes back. */
	net_used(&net, 0, 5, true);
	for (int i = 1; i <= 4; i++)
		net_cut(&net, 0, i);
	net_run(&net, NET_SECOND);
	assert_false(net.nodes[0].fib[5].set);
	for (int i = 1; i <= 4; i++)
		net_connect(&net, 0, i, (uint32_t)i * 1000);
	settle();
	assert_int_equal(path_count(0, 5, CLIENT), 4);
	net_used(&net, 0, 5, false);
	net_run(&net, NET_SECOND);
	assert_int_equal(path_count(0, 5, CLIENT), 2);
	net_check(&net);
}

/* What a lost path is missed by most is looked at first. */
static void
test_used_destinations_are_first(void **state)
{
	uint64_t runs;

	(void)state;
	four_ways();
	net_used(&net, 0, 5, true);
	settle();
	runs = router_counters(net.nodes[0].router)->alternatives_runs;
	net_cut(&net, 0, 1);
	net_run(&net, 0);
	/* Node 5 has a new fourth path, by more than one relay, or what there is. */
	assert_true(router_counters(net.nodes[0].router)->alternatives_runs > runs);
	assert_int_equal(via(0, 5, CLIENT, 0), 2);
	assert_true(path_count(0, 5, CLIENT) >= 3);
}

static void
test_demand_ends_with_transportd(void **state)
{
	(void)state;
	four_ways();
	net_used(&net, 0, 5, true);
	settle();
	router_transport_down(net.nodes[0].router, net_mono(&net));
	net.nodes[0].transport = false;
	assert_int_equal(summary(0).used, 0);
	net_transport_up(&net, 0);
	settle();
	assert_int_equal(summary(0).used, 1);
	assert_int_equal(path_count(0, 5, CLIENT), 4);
	assert_int_equal(path_count(0, 1, CLIENT), 2);
}

static void
test_demand_has_an_end(void **state)
{
	struct demand d;

	(void)state;
	demand_init(&d);
	for (uint64_t i = 0; i < DEMAND_MAX; i++)
		assert_int_equal(demand_add(&d, i * 7 % DEMAND_MAX), 0);
	assert_int_equal(demand_add(&d, 7), 0);
	assert_int_equal(demand_add(&d, DEMAND_MAX), ERR_FULL);
	demand_del(&d, 100);
	demand_del(&d, 100);
	assert_false(demand_has(&d, 100));
	assert_int_equal(d.count, DEMAND_MAX - 1);
	assert_int_equal(demand_add(&d, DEMAND_MAX), 0);
	for (size_t i = 1; i < d.count; i++)
		assert_true(d.nodes[i - 1] < d.nodes[i]);
	demand_fini(&d);
	mem_fail_at(1);
	assert_int_equal(demand_add(&d, 1), ERR_NOMEM);
	mem_fail_at(0);
	assert_false(demand_has(&d, 1));
}

/* --- hysteresis --- */

static void
measure(int a, int b, uint32_t latency_us)
{
	net_link(&net, a, b)->latency_us = latency_us;
	net_measured(&net, a, b);
	net_run(&net, 10 * NET_SECOND);
}

static void
test_a_little_cheaper_is_not_enough(void **state)
{
	unsigned moves;

	(void)state;
	begin(3);
	net_connect(&net, 0, 1, 20000);
	net_connect(&net, 1, 2, 20000);
	net_connect(&net, 0, 2, 39000);
	net_start_all(&net);
	settle();
	assert_int_equal(path(0, 2, CONTROL, 0)->hop_count, 1); /* 40 ms; the other has 42 */
	moves = net.events[ROUTER_PATH_CHANGED];
	/* To and fro by a quarter: each is advertised, but neither is better by so much. */
	for (int i = 0; i < 10; i++) {
		measure(0, 2, i % 2 == 0 ? 48000 : 38000);
		assert_int_equal(path(0, 2, CONTROL, 0)->hop_count, 1);
		net_check(&net);
	}
	assert_int_equal(net.events[ROUTER_PATH_CHANGED], moves);
	/* The cost that is told is the true one, and the other path has the greater weight. */
	measure(0, 2, 48000);
	assert_int_equal(path(0, 2, CONTROL, 0)->cost, 49000);
	assert_int_equal(net.nodes[0].fib[2].class[CONTROL].path[1].weight, FIB_WEIGHT_MAX);
	assert_true(net.nodes[0].fib[2].class[CONTROL].path[0].weight < FIB_WEIGHT_MAX);
	/* Far worse: it is left, and not returned to before it is far better. */
	measure(0, 2, 200000);
	assert_int_equal(path(0, 2, CONTROL, 0)->hop_count, 2);
	measure(0, 2, 39000);
	assert_int_equal(path(0, 2, CONTROL, 0)->hop_count, 2);
	measure(0, 2, 5000);
	assert_int_equal(path(0, 2, CONTROL, 0)->hop_count, 1);
	net_check(&net);
}

/* The load follows the best path; the best path does not flee it. */
static void
test_load_is_not_chased(void **state)
{
	unsigned moves;

	(void)state;
	begin(4);
	net_connect(&net, 0, 1, 5000);
	net_connect(&net, 1, 3, 5000);
	net_connect(&net, 0, 2, 5000);
	net_connect(&net, 2, 3, 5000);
	net_start_all(&net);
	settle();
	moves = net.events[ROUTER_PATH_CHANGED];
	for (int round = 0; round < 20; round++) {
		int busy = via(0, 3, CLIENT, 0);

		for (int i = 1; i <= 2; i++) {
			net_link(&net, 0, i)->utilisation_permille = i == busy ? 1000 : 0;
			net_link(&net, i, 3)->utilisation_permille = i == busy ? 1000 : 0;
			net_measured(&net, 0, i);
			net_measured(&net, i, 3);
		}
		net_run(&net, 10 * NET_SECOND);
	}
	assert_int_equal(net.events[ROUTER_PATH_CHANGED], moves);
	/* But its share is less. */
	assert_int_equal(net.nodes[0].fib[3].class[CLIENT].path[1].weight, FIB_WEIGHT_MAX);
	assert_int_equal(net.nodes[0].fib[3].class[CLIENT].path[0].weight, FIB_WEIGHT_MAX * 10 / 11);
}

/* --- links that go down --- */

static void
test_promotion(void **state)
{
	(void)state;
	diamond();
	net_cut(&net, 0, 1);
	/* In the same moment: no time passes. */
	net_run(&net, 0);
	assert_int_equal(path_count(0, 3, CONTROL), 1);
	assert_int_equal(via(0, 3, CONTROL, 0), 2);
	assert_int_equal(via(0, 1, CONTROL, 0), 2);
	net_run(&net, 60 * 1000);
	net_check(&net);
	/* Of a link further away it knows when the news is here, a few hops later. */
	net_connect(&net, 0, 1, 5000);
	settle();
	assert_int_equal(via(0, 3, CONTROL, 0), 1);
	net_cut(&net, 1, 3);
	net_run(&net, 5000 + PATHS_LOST_WAIT_US + 4 * PATHS_LOST_NODE_US + 1000);
	assert_int_equal(via(0, 3, CONTROL, 0), 2);
	assert_int_equal(path_count(0, 3, CONTROL), 1);
	net_run(&net, 60 * 1000);
	net_check(&net);
}

static void
flap(int a, int b, int times)
{
	for (int i = 0; i < times; i++) {
		net_cut(&net, a, b);
		net_run(&net, NET_SECOND);
		net_connect(&net, a, b, 5000);
		net_run(&net, NET_SECOND);
	}
}

static void
test_damping(void **state)
{
	(void)state;
	diamond();
	flap(0, 1, 2);
	assert_int_equal(via(0, 3, CONTROL, 0), 1);
	flap(0, 1, 1);
	/* The third time is too much, for all that see it. */
	assert_int_equal(summary(0).links_damped, 1);
	assert_int_equal(summary(3).links_damped, 1);
	assert_int_equal(via(0, 3, CONTROL, 0), 2);
	assert_int_equal(via(0, 1, CONTROL, 0), 2);
	/* It is still better than nothing. */
	net_cut(&net, 0, 2);
	net_run(&net, 100 * 1000);
	assert_int_equal(via(0, 3, CONTROL, 0), 1);
	assert_int_equal(net.nodes[0].states[2], NODE_STATE_ALIVE);
	net_connect(&net, 0, 2, 20000);
	net_run(&net, NET_SECOND);
	assert_int_equal(via(0, 3, CONTROL, 0), 2);
	/* When it has been up for a while it is used again. */
	net_run(&net, 100 * (int64_t)NET_SECOND);
	assert_int_equal(summary(0).links_damped, 0);
	assert_int_equal(via(0, 3, CONTROL, 0), 1);
	net_check(&net);
}

static void
test_not_for_transit(void **state)
{
	(void)state;
	diamond();
	net_link(&net, 1, 3)->weight[0] = LSA_WEIGHT_NEVER;
	net_measured(&net, 1, 3);
	net_run(&net, 10 * NET_SECOND);
	/* To its end it would still do, if there were no other way. */
	assert_int_equal(via(0, 3, CONTROL, 0), 2);
	net_cut(&net, 0, 2);
	net_run(&net, NET_SECOND);
	assert_int_equal(via(0, 3, CONTROL, 0), 1);
	/* But not for what goes on beyond it. */
	assert_int_equal(net.nodes[0].states[2], NODE_STATE_UNREACHABLE);
	net_connect(&net, 0, 2, 20000);
	net_run(&net, NET_SECOND);
	assert_int_equal(net.nodes[0].states[2], NODE_STATE_ALIVE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_classes_have_paths_of_their_own, teardown),
	    cmocka_unit_test_teardown(test_costs_have_directions, teardown),
	    cmocka_unit_test_teardown(test_costs_can_be_set_anew, teardown),
	    cmocka_unit_test_teardown(test_whole_fib_has_alternatives, teardown),
	    cmocka_unit_test_teardown(test_idle_destinations_have_a_backup, teardown),
	    cmocka_unit_test_teardown(test_used_destinations_are_first, teardown),
	    cmocka_unit_test_teardown(test_demand_ends_with_transportd, teardown),
	    cmocka_unit_test(test_demand_has_an_end),
	    cmocka_unit_test_teardown(test_a_little_cheaper_is_not_enough, teardown),
	    cmocka_unit_test_teardown(test_load_is_not_chased, teardown),
	    cmocka_unit_test_teardown(test_promotion, teardown),
	    cmocka_unit_test_teardown(test_damping, teardown),
	    cmocka_unit_test_teardown(test_not_for_transit, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
