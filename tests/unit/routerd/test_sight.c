/* A router without its transportd: that it has no paths is no news of others. */
#include "tests/unit/routerd/net.h"

static struct net net;

static int
teardown(void **state)
{
	(void)state;
	net_fini(&net);
	return 0;
}

static void
line(int count, uint32_t latency_us)
{
	net_init(&net, count, 1);
	net_line(&net, latency_us);
}

static void
transport_away(int node)
{
	for (int peer = 0; peer < net.count; peer++) {
		if (peer == node || !net_link(&net, node, peer)->up)
			continue;
		net_link(&net, node, peer)->up = false;
		net_tell_down(&net, peer, node);
	}
	net.nodes[node].transport = false;
	router_transport_down(net.nodes[node].router, net_mono(&net));
}

static bool
missed(int at, int node)
{
	const struct lsdb_entry *e = lsdb_get(router_lsdb(net.nodes[at].router), net_id(node));

	return e->missed && e->state == NODE_STATE_UNREACHABLE;
}

/* Without transportd there are no paths, which says nothing of the others; until all are reachable again. */
static void
test_transport_away_is_no_news_of_others(void **state)
{
	(void)state;
	line(4, 500);
	net_run(&net, NET_SECOND);
	assert_false(router_blind(net.nodes[1].router));
	transport_away(1);
	net_run(&net, 100 * NET_SECOND);
	assert_true(router_blind(net.nodes[1].router));
	assert_false(router_transport(net.nodes[1].router));
	assert_true(missed(1, 0) && missed(1, 2) && missed(1, 3));
	assert_false(router_blind(net.nodes[2].router)); /* to it node 1 is gone */
	net_transport_up(&net, 1);
	net_run(&net, NET_SECOND / 10);
	assert_true(router_blind(net.nodes[1].router) && router_transport(net.nodes[1].router));
	net_connect(&net, 1, 2, 500);
	net_run(&net, NET_SECOND);
	assert_true(router_blind(net.nodes[1].router));
	assert_true(missed(1, 0) && !missed(1, 2) && !missed(1, 3));
	net_connect(&net, 0, 1, 500);
	net_run(&net, NET_SECOND);
	assert_false(router_blind(net.nodes[1].router));
	net_check(&net);
	net_check_equal(&net);
}

/* Nor for ever: links that do not come back in as long as it was away, and some seconds, are lost. */
static void
test_transport_back_without_links(void **state)
{
	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	transport_away(1);
	net_run(&net, 10 * NET_SECOND);
	net_transport_up(&net, 1);
	net_run(&net, 14 * NET_SECOND);
	assert_true(router_blind(net.nodes[1].router));
	net_run(&net, 2 * NET_SECOND);
	assert_false(router_blind(net.nodes[1].router));
	net_connect(&net, 0, 1, 500);
	net_connect(&net, 1, 2, 500);
	net_run(&net, NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
}

/* A node that was out of reach before is not missed. */
static void
test_transport_away_after_a_loss(void **state)
{
	(void)state;
	line(3, 500);
	net_run(&net, NET_SECOND);
	net_cut(&net, 1, 2);
	net_run(&net, NET_SECOND);
	transport_away(1);
	net_run(&net, NET_SECOND);
	assert_true(missed(1, 0) && !missed(1, 2));
	net_transport_up(&net, 1);
	net_connect(&net, 0, 1, 500);
	net_run(&net, NET_SECOND);
	assert_false(router_blind(net.nodes[1].router));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_transport_away_is_no_news_of_others, teardown),
	    cmocka_unit_test_teardown(test_transport_back_without_links, teardown),
	    cmocka_unit_test_teardown(test_transport_away_after_a_loss, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
