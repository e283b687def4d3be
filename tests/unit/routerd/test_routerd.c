/* The daemon's shell: start, lists for gatewayd, and siblings that come and go. */
#include "tests/unit/routerd/shell.h"

#include "common/os/conf_overlay.h"

static bool
has_fib(struct env *e)
{
	return e->fib_whole == 1;
}

static bool
has_route(struct env *e)
{
	return e->route.destination == e->peer_id.node &&
	       e->node.status == mesh_ipc_NodeStatusCode_NODE_ALIVE;
}

/* The tests share one daemon and go on from each other. */
static void
test_start_up(void **state)
{
	struct env *e = &env;

	(void)state;
	serve_transport(e);
	connect_consensus(e);
	run_until(e, has_fib);
	assert_int_equal(e->fib_routes, 0);
	link_up(e);
	run_until(e, has_route);
	assert_int_equal(e->route.paths_count, 1);
	assert_int_equal(e->route.paths[0].hops_count, 1);
	assert_int_equal(e->fib_classes, 0x0f);
	assert_int_equal(e->route.paths[0].weight, FIB_WEIGHT_MAX);
	assert_string_equal(e->node.name, "beta");
	assert_string_equal(e->node.version, "0.0.1");
	assert_int_equal(e->node.incarnation, 3);
	assert_int_equal(e->nodes_begin, 1);
	assert_int_equal(e->nodes_end, 1);
}

static bool
lists_done(struct env *e)
{
	return e->calls[0].replies == 1 && e->calls[1].done == 1 && e->calls[2].done == 1 &&
	       e->calls[3].done == 1 && e->calls[4].replies == 1;
}

static bool
gateway_is_up(struct env *e)
{
	return channel_up(e->gateway);
}

static void
test_gateway_lists(void **state)
{
	struct env *e = &env;

	(void)state;
	connect_gateway(e);
	run_until(e, gateway_is_up);
	assert_int_equal(channel_send(e->gateway, GR_NODE_STATUS, 0, NULL, 0), 0);
	assert_int_equal(channel_send(e->gateway, GR_LIST_NODES, 1, NULL, 0), 0);
	assert_int_equal(channel_send(e->gateway, GR_LIST_LINKS, 2, NULL, 0), 0);
	assert_int_equal(channel_send(e->gateway, GR_LIST_ROUTES, 3, NULL, 0), 0);
	assert_int_equal(channel_send(e->gateway, GR_METRICS, 4, NULL, 0), 0);
	run_until(e, lists_done);
	assert_int_equal(e->calls[1].items, 2);
	assert_int_equal(e->calls[2].items, 2);
	/* A route for client data, and one for all else. */
	assert_int_equal(e->calls[3].items, 2);
	assert_true(e->calls[4].bytes > 1000);
	assert_true(e->status.serving);
	assert_string_equal(e->status.mesh_id, MESH_ID);
	assert_string_equal(e->status.node_name, "alpha");
	assert_string_equal(e->status.daemons[0].state, "running");
	assert_string_equal(e->route_info.destination_name, "beta");
	assert_string_equal(e->route_info.paths[0].hops[0], "beta");
	assert_int_equal(e->route_info.classes_count, 1);
	assert_string_equal(e->route_info.classes[0], "client");
	assert_string_equal(e->link_info.status, "up");
	assert_int_equal(e->link_info.rtt_us, 800);
}

static bool
too_many_answered(struct env *e)
{
	return e->calls[5].done == ROUTERD_DUMPS_MAX + 1;
}

static void
test_too_many_lists(void **state)
{
	struct env *e = &env;

	(void)state;
	for (int i = 0; i <= ROUTERD_DUMPS_MAX; i++)
		assert_int_equal(channel_send(e->gateway, GR_LIST_NODES, 5, NULL, 0), 0);
	run_until(e, too_many_answered);
	assert_int_equal(e->calls[5].items, 2 * ROUTERD_DUMPS_MAX);
}

static bool
own_addresses_told(struct env *e)
{
	const struct lsdb_entry *own = lsdb_get(router_lsdb(e->peer), e->identity.node_id);
	struct address_list list;

	if (own == NULL)
		return false;
	lsdb_addresses(own, &list);
	return list.count == 1 && strcmp(list.text[0], "10.0.0.1:7100") == 0;
}

static bool
peer_address_known(struct env *e)
{
	if (e->calls[6].done == 1 && e->node_info.port != 5)
		e->calls[6].done = 0; /* not yet: ask again */
	if (e->calls[6].done == 0 && e->calls[6].items % 2 == 0)
		assert_int_equal(channel_send(e->gateway, GR_LIST_NODES, 6, NULL, 0), 0);
	return e->node_info.port == 5;
}

/* Where nodes can be dialled travels in LSAs; what is no address stays here. */
static void
test_addresses(void **state)
{
	mesh_ipc_Addresses told = {.addresses_count = 2, .addresses = {"10.0.0.1:7100", "no address"}};
	struct address_list of_peer = {0};
	struct env *e = &env;

	(void)state;
	assert_true(address_add(&of_peer, "[2001:db8::7]:5"));
	assert_true(address_add(&of_peer, "beta.example:7100"));
	router_addresses(e->peer, &of_peer);
	loop_timer_arm(e->timer, clock_mono());
	send_pb(e->transport, RT_ADDRESSES, 0, mesh_ipc_Addresses_fields, &told);
	run_until(e, own_addresses_told);
	run_until(e, peer_address_known);
	assert_string_equal(e->node_info.ip_address, "2001:db8::7");
}

static bool
full_links_done(struct env *e)
{
	return e->calls[7].done == 1;
}

static bool
wish_told(struct env *e)
{
	return e->peer_wish_node == e->identity.node_id;
}

/* The neighbour is told of the wish; transportd need not dial whom it has a link with. */
static void
test_full_links(void **state)
{
	struct env *e = &env;

	(void)state;
	assert_int_equal(channel_send(e->gateway, GR_FULL_LINKS, 7, NULL, 0), 0);
	run_until(e, full_links_done);
	assert_int_equal(e->calls[7].code, 0);
	run_until(e, wish_told);
	assert_true(clock_unix_ms() - e->peer_wish_unix_ms < 60000);
	assert_int_equal(e->dials, 0);
}

static bool
dialled(struct env *e)
{
	return e->dials == 1;
}

/* Without a link it is dialled: for a wish of this node, and for one of another. */
static void
test_full_links_dial(void **state)
{
	struct env *e = &env;

	(void)state;
	assert_int_equal(channel_send(e->gateway, GR_FULL_LINKS, 7, NULL, 0), 0);
	run_until(e, dialled);
	assert_true(e->dial.node_id == e->peer_id.node);
	assert_int_equal(e->dial.addresses_count, 2);
	assert_string_equal(e->dial.addresses[0], "[2001:db8::7]:5");
	assert_string_equal(e->dial.addresses[1], "beta.example:7100");
}

static bool
peer_gone(struct env *e)
{
	return e->node.status == mesh_ipc_NodeStatusCode_NODE_UNREACHABLE && e->fib_dels == 1 &&
	       strcmp(e->event.event_type, "node_down") == 0;
}

static void
test_link_down_and_up(void **state)
{
	struct env *e = &env;

	(void)state;
	link_down(e);
	run_until(e, peer_gone);
	test_full_links_dial(state);
	assert_string_equal(e->event.metadata[1].key, "node_name");
	assert_string_equal(e->event.metadata[1].value, "beta");
	e->route.destination = 0;
	link_up(e);
	run_until(e, has_route);
}

static bool
whole_again(struct env *e)
{
	return e->fib_whole == 2 && e->fib_routes == 2;
}

static void
test_transportd_restarts(void **state)
{
	struct env *e = &env;

	(void)state;
	channel_server_free(e->server);
	e->server = NULL;
	e->transport = NULL;
	e->fib_routes = 0;
	serve_transport(e);
	run_until(e, whole_again);
}

static bool
snapshot_again(struct env *e)
{
	return e->nodes_end == 2 && e->node.status == mesh_ipc_NodeStatusCode_NODE_ALIVE &&
	       lsdb_get(router_lsdb(e->peer), e->identity.node_id)->lsa->id.incarnation ==
		   e->identity.incarnation;
}

static void
test_consensusd_restarts(void **state)
{
	struct env *e = &env;

	(void)state;
	channel_free(e->consensus);
	e->node.status = 0;
	connect_consensus(e);
	run_until(e, snapshot_again);
}

static bool
key_replaced(struct env *e)
{
	return lsdb_get(router_lsdb(e->peer), e->identity.node_id) != NULL && e->fib_whole == 1;
}

static void
test_another_key(void **state)
{
	struct env *e = &env;

	(void)state;
	link_down(e);
	e->fib_dels = 0;
	run_until(e, peer_gone);
	channel_free(e->consensus);
	make_key(e, 2);
	connect_consensus(e);
	/* routerd hears of the link when it connects again, as another node. */
	e->fib_whole = 0;
	e->transport = NULL;
	link_up(e);
	run_until(e, key_replaced);
	e->route.destination = 0;
	e->node.status = 0;
}

static bool
consensus_refused(struct env *e)
{
	return e->refuse;
}

static void
consensus_down(void *ctx, struct channel *ch, int err)
{
	(void)ch;
	(void)err;
	((struct env *)ctx)->refuse = true;
}

static void
test_consensusd_of_another_mesh(void **state)
{
	struct env *e = &env;

	(void)state;
	channel_free(e->consensus);
	e->identity.mesh_id[15] ^= 1;
	connect_consensus(e);
	channel_free(e->consensus);
	e->consensus_conf.on_down = consensus_down;
	e->consensus = channel_connect(e->loop, e->socket, "consensusd", &e->consensus_conf);
	e->refuse = false;
	run_until(e, consensus_refused);
}

/* --- eviction --- */

static void
tell_evicted(struct env *e, const uint64_t *nodes, size_t count)
{
	uint8_t body[64];

	for (size_t i = 0; i < count; i++)
		be_store64(body + 8 * i, nodes[i]);
	assert_int_equal(channel_send(e->consensus, CR_EVICTED, 0, body, 8 * count), 0);
}

static bool
peer_is_evicted(struct env *e)
{
	return e->node.status == mesh_ipc_NodeStatusCode_NODE_EVICTED && e->fib_dels > 0 &&
	       strcmp(e->event.event_type, "node_evicted") == 0;
}

static bool
nodes_listed(struct env *e)
{
	return e->calls[6].done == 1;
}

static bool
lsa_was_refused(struct env *e)
{
	return router_counters(((struct routerd *)e->daemon.ctx)->router)->lsa_evicted > 0;
}

/* What is known of the node goes, and does not come back until it is let in again. */
static void
test_evicted(void **state)
{
	struct env *e = &env;
	struct routerd *d = e->daemon.ctx;
	uint64_t peer = e->peer_id.node;
	struct address_list list = {0};
	struct swim_info info;

	(void)state;
	e->fib_dels = 0;
	assert_true(members_get(d, peer, &info));
	tell_evicted(e, &peer, 1);
	run_until(e, peer_is_evicted);
	assert_null(lsdb_get(router_lsdb(d->router), peer));
	assert_false(members_get(d, peer, &info));
	e->calls[6] = (struct call){0};
	memset(&e->node_info, 0, sizeof(e->node_info));
	assert_int_equal(channel_send(e->gateway, GR_LIST_NODES, 6, NULL, 0), 0);
	run_until(e, nodes_listed);
	assert_int_equal(e->calls[6].items, 2);
	assert_string_equal(e->node_info.node_name, "beta");
	assert_string_equal(e->node_info.status, "evicted");
	assert_true(address_add(&list, "beta.example:7101"));
	router_addresses(e->peer, &list);
	loop_timer_arm(e->timer, clock_mono());
	run_until(e, lsa_was_refused);
	assert_null(lsdb_get(router_lsdb(d->router), peer));
	tell_evicted(e, NULL, 0);
	run_until(e, has_route);
	assert_true(members_get(d, peer, &info));
}

/* --- what all nodes share --- */

static void
tell_config(struct env *e, const char *paths)
{
	uint8_t mem[256];
	struct buf b;

	buf_init_fixed(&b, mem, sizeof(mem));
	if (paths != NULL)
		assert_int_equal(conf_overlay_put(&b, "paths", &paths, 1), 0);
	assert_int_equal(channel_send(e->consensus, CR_CONFIG, 0, mem, buf_left(&b)), 0);
}

static bool
consensus_is_up(struct env *e)
{
	return channel_up(e->consensus) && ((struct routerd *)e->daemon.ctx)->consensus != NULL;
}

static void
connect_again(struct env *e)
{
	channel_free(e->consensus);
	connect_consensus(e);
	run_until(e, consensus_is_up);
}

static size_t paths_wanted;

static bool
paths_are_wanted(struct env *e)
{
	return ((struct routerd *)e->daemon.ctx)->conf.paths_max == paths_wanted;
}

static void
expect_paths(struct env *e, size_t paths)
{
	paths_wanted = paths;
	run_until(e, paths_are_wanted);
}

/* It is in effect as long as it is said, also while consensusd is away; nonsense ends the connection. */
static void
test_shared(void **state)
{
	struct env *e = &env;

	(void)state;
	expect_paths(e, 3);
	tell_config(e, "1");
	expect_paths(e, 1);
	connect_again(e);
	assert_int_equal(((struct routerd *)e->daemon.ctx)->conf.paths_max, 1);
	tell_config(e, "2");
	expect_paths(e, 2);
	tell_config(e, "77");
	expect_paths(e, 3);
	tell_config(e, "2");
	expect_paths(e, 2);
	tell_config(e, NULL);
	expect_paths(e, 3);
	e->refuse = false;
	channel_free(e->consensus);
	e->consensus_conf.on_down = consensus_down;
	e->consensus = channel_connect(e->loop, e->socket, "consensusd", &e->consensus_conf);
	run_until(e, consensus_is_up);
	assert_int_equal(channel_send(e->consensus, CR_CONFIG, 0, "\1", 1), 0);
	run_until(e, consensus_refused);
	e->refuse = false; /* it signs, too */
	connect_again(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_start_up),
	    cmocka_unit_test(test_gateway_lists),
	    cmocka_unit_test(test_too_many_lists),
	    cmocka_unit_test(test_addresses),
	    cmocka_unit_test(test_full_links),
	    cmocka_unit_test(test_link_down_and_up),
	    cmocka_unit_test(test_transportd_restarts),
	    cmocka_unit_test(test_consensusd_restarts),
	    cmocka_unit_test(test_evicted),
	    cmocka_unit_test(test_shared),
	    cmocka_unit_test(test_another_key),
	    cmocka_unit_test(test_consensusd_of_another_mesh),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
