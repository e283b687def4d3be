/* How long LSAs live, in networks of routers: refresh, ageing, partitions, restarts, other versions. */
#include "tests/unit/routerd/forge.h"

static struct net net;

static const int64_t minute = 60 * (int64_t)NET_SECOND;

static int
teardown(void **state)
{
	(void)state;
	net_fini(&net);
	return 0;
}

/* As mesh.conf has it when nothing is said. */
static void
init_default(int count)
{
	net_init(&net, count, 1);
	net.conf.lsa_refresh_us = 30 * minute;
	net.conf.lsa_max_age_us = 90 * minute;
}

static size_t
known_at(int node)
{
	return router_lsdb(net.nodes[node].router)->count;
}

/* For hours nobody says more than that it is there, and nobody is forgotten; what changes is told at once. */
static void
test_hours_of_nothing(void **state)
{
	uint64_t before;

	(void)state;
	init_default(6);
	net_connect(&net, 0, 5, 500);
	net_line(&net, 500);
	net_run(&net, minute);
	before = router_counters(net.nodes[2].router)->lsa_originated;
	net_run(&net, 300 * minute);
	net_check(&net);
	net_check_equal(&net);
	assert_in_range(router_counters(net.nodes[2].router)->lsa_originated - before, 9, 12);
	for (int i = 0; i < 6; i++)
		assert_int_equal(router_counters(net.nodes[i].router)->lsa_aged_out, 0);
	assert_int_equal(net.events[ROUTER_NODE_DOWN], 0);
	net_cut(&net, 2, 3);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

static void
test_partition_beyond_the_default(void **state)
{
	(void)state;
	init_default(4);
	net_line(&net, 500);
	net_run(&net, NET_SECOND);
	net_cut(&net, 1, 2);
	net_run(&net, 59 * minute); /* the last refresh was at most a refresh ago, so they are there */
	assert_int_equal(known_at(0), 4);
	assert_int_equal(net.nodes[0].states[3], NODE_STATE_UNREACHABLE);
	net_run(&net, 32 * minute);
	assert_int_equal(known_at(0), 2);
	assert_int_equal(known_at(3), 2);
	net_connect(&net, 1, 2, 500);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

/* What a node is told late it forgets with the others: ages of more than an hour pass from hand to hand. */
static void
test_age_goes_along(void **state)
{
	(void)state;
	init_default(4);
	net_connect(&net, 0, 1, 500);
	net_connect(&net, 1, 2, 500);
	for (int i = 0; i < 3; i++)
		net_start(&net, i);
	net_run(&net, NET_SECOND);
	net_kill(&net, 2);
	net_cut(&net, 1, 2);
	net_run(&net, 89 * minute);
	net_start(&net, 3);
	net_connect(&net, 0, 3, 500);
	net_run(&net, NET_SECOND);
	assert_int_equal(known_at(3), 4);
	net_run(&net, minute);
	for (int i = 0; i < 4; i++)
		if (i != 2)
			assert_int_equal(known_at(i), 3);
}

/* A node that has lost its database begins with an incarnation that was long ago. */
static void
restart_with_nothing(void)
{
	net.nodes[0].incarnation = 0;
	net_start(&net, 0);
	net_connect(&net, 0, 1, 500);
}

static void
make_old(int64_t dead_us)
{
	init_default(3);
	net_line(&net, 500);
	for (int i = 0; i < 5; i++) {
		net_signer_down(&net, 0);
		net_signer_up(&net, 0);
		net_run(&net, NET_SECOND);
	}
	net_kill(&net, 0);
	net_cut(&net, 0, 1);
	net_run(&net, dead_us);
}

static void
test_restart_while_the_lsa_lives(void **state)
{
	(void)state;
	make_old(80 * minute);
	assert_int_equal(known_at(2), 3);
	restart_with_nothing();
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	assert_true(net.events[ROUTER_REISSUED] >= 1);
}

/* While its id is kept it is refused, but that is minutes, however long its LSA lived. */
static void
test_restart_while_its_id_is_kept(void **state)
{
	(void)state;
	make_old(91 * minute);
	assert_int_equal(known_at(2), 2);
	restart_with_nothing();
	net_run(&net, NET_SECOND);
	assert_int_equal(known_at(2), 2);
	net_run(&net, LSA_TOMBSTONE_MAX_US + 2 * minute);
	net_check(&net);
	net_check_equal(&net);
	assert_int_equal(known_at(2), 3);
}

static void
test_restart_when_it_is_forgotten(void **state)
{
	(void)state;
	make_old(95 * minute);
	restart_with_nothing();
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	assert_int_equal(known_at(2), 3);
}

static void
test_partition_beyond_max_age(void **state)
{
	(void)state;
	net_init(&net, 4, 1);
	net_line(&net, 500);
	net_run(&net, NET_SECOND);
	net_cut(&net, 1, 2);
	net_run(&net, 300 * (int64_t)NET_SECOND);
	net_check(&net);
	assert_int_equal(router_lsdb(net.nodes[0].router)->count, 2);
	assert_int_equal(router_lsdb(net.nodes[3].router)->count, 2);
	net_connect(&net, 1, 2, 500);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

/* Nodes whose refresh is far beyond the life of the others' LSAs: each lives by what its origin says. */
static void
test_mixed_lifetimes(void **state)
{
	(void)state;
	net_init(&net, 4, 1);
	for (int i = 0; i < 4; i++)
		net_connect(&net, i, (i + 1) % 4, 500);
	net_start(&net, 0);
	net_start(&net, 1);
	net.conf.lsa_refresh_us = 30 * minute;
	net.conf.lsa_max_age_us = 90 * minute;
	net_start(&net, 2);
	net_start(&net, 3);
	net_run(&net, 6000 * (int64_t)NET_SECOND);
	net_check_equal(&net);
	assert_int_equal(net.events[ROUTER_NODE_DOWN], 0);
	assert_int_equal(router_counters(net.nodes[0].router)->lsa_aged_out, 0);
	assert_true(router_counters(net.nodes[0].router)->lsa_originated > 90);
	assert_true(router_counters(net.nodes[2].router)->lsa_originated < 20);
	/* The short life of those ends soon when they are gone, the long one does not. */
	net_kill(&net, 0);
	net_kill(&net, 3);
	for (int i = 0; i < 4; i++)
		net_cut(&net, i, (i + 1) % 4);
	net_connect(&net, 1, 2, 500);
	net_run(&net, 300 * (int64_t)NET_SECOND);
	assert_null(lsdb_get(router_lsdb(net.nodes[1].router), net_id(0)));
	assert_non_null(lsdb_get(router_lsdb(net.nodes[1].router), net_id(3)));
}

static void
test_old_lsa_is_not_kept_alive(void **state)
{
	uint8_t lsa[LSA_MAX_BYTES];
	size_t len;

	(void)state;
	net_init(&net, 4, 1);
	net_connect(&net, 0, 1, 500);
	net_connect(&net, 1, 2, 500);
	net_connect(&net, 0, 2, 500);
	for (int i = 0; i < 3; i++)
		net_start(&net, i);
	net_run(&net, NET_SECOND);
	len = forge_lsa(lsa, 3, 1, 1, -1, true);
	forge_send(&net, 0, 1, 150 * 1000, lsa, len);
	net_run(&net, NET_SECOND);
	assert_int_equal(router_lsdb(net.nodes[2].router)->count, 4);
	/* Passed around, it ends everywhere when its 200 s are over, and does not come back. */
	net_run(&net, 51 * (int64_t)NET_SECOND);
	for (int i = 0; i < 3; i++)
		assert_int_equal(router_lsdb(net.nodes[i].router)->count, 3);
	forge_send(&net, 0, 1, 0, lsa, len);
	net_run(&net, 100 * (int64_t)NET_SECOND);
	for (int i = 0; i < 3; i++)
		assert_int_equal(router_lsdb(net.nodes[i].router)->count, 3);
}

/* An LSA of an earlier version does not say how long it lives, and its origin removes ours by its own clock:
 * while it is there, they are refreshed as often as that asks for. */
static void
test_lsa_of_an_earlier_version(void **state)
{
	uint64_t before, after;
	uint8_t lsa[LSA_MAX_BYTES];
	size_t len;

	(void)state;
	net_init(&net, 4, 1);
	net.conf.lsa_refresh_us = 30 * minute;
	net.conf.lsa_max_age_us = 90 * minute;
	net_connect(&net, 0, 1, 500);
	for (int i = 0; i < 2; i++)
		net_start(&net, i);
	net_run(&net, 600 * (int64_t)NET_SECOND);
	before = router_counters(net.nodes[0].router)->lsa_originated;
	assert_true(before < 8);
	for (uint64_t seq = 1; seq <= 10; seq++) {
		len = forge_lsa(lsa, 3, 1, seq, -1, true);
		forge_send(&net, 0, 1, 0, lsa, len);
		net_run(&net, 60 * (int64_t)NET_SECOND);
	}
	after = router_counters(net.nodes[0].router)->lsa_originated;
	assert_true(after >= before + 10);
	/* It is gone 200 s after its last one, and with it the hurry. */
	net_run(&net, 260 * (int64_t)NET_SECOND);
	assert_null(lsdb_get(router_lsdb(net.nodes[0].router), net_id(3)));
	before = router_counters(net.nodes[0].router)->lsa_originated;
	net_run(&net, 1200 * (int64_t)NET_SECOND);
	assert_true(router_counters(net.nodes[0].router)->lsa_originated <= before + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_hours_of_nothing, teardown),
	    cmocka_unit_test_teardown(test_partition_beyond_the_default, teardown),
	    cmocka_unit_test_teardown(test_age_goes_along, teardown),
	    cmocka_unit_test_teardown(test_restart_while_the_lsa_lives, teardown),
	    cmocka_unit_test_teardown(test_restart_while_its_id_is_kept, teardown),
	    cmocka_unit_test_teardown(test_restart_when_it_is_forgotten, teardown),
	    cmocka_unit_test_teardown(test_partition_beyond_max_age, teardown),
	    cmocka_unit_test_teardown(test_mixed_lifetimes, teardown),
	    cmocka_unit_test_teardown(test_old_lsa_is_not_kept_alive, teardown),
	    cmocka_unit_test_teardown(test_lsa_of_an_earlier_version, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
