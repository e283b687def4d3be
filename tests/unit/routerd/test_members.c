/* Membership in the daemon: gossip with a neighbour that falls silent, answers again, and is cut off. */
#include "tests/unit/routerd/shell.h"

#include "routerd/core/swim_meta.h"

static bool
started(struct env *e)
{
	return e->route.destination == e->peer_id.node && channel_up(e->gateway);
}

static bool
peer_knows(struct env *e)
{
	struct swim_info info;

	return swim_get(e->peer_swim, e->identity.node_id, &info) && info.state == SWIM_STATE_ALIVE &&
	       info.meta != NULL && swim_counters(e->peer_swim)->payloads_received > 5;
}

static void
test_gossip(void **state)
{
	struct swim_info info;
	struct swim_meta meta;
	struct env *e = &env;

	(void)state;
	serve_transport(e);
	connect_consensus(e);
	connect_gateway(e);
	link_up(e);
	run_until(e, started);
	run_until(e, peer_knows);
	assert_true(swim_get(e->peer_swim, e->identity.node_id, &info));
	assert_int_equal(swim_meta_decode(info.meta, info.meta_len, &meta), 0);
	assert_string_equal(meta.name, "alpha");
	assert_string_equal(meta.region, "lab");
}

static bool
lists_done(struct env *e)
{
	return e->calls[6].done == 1 && e->calls[2].done == 1;
}

static void
list(struct env *e)
{
	e->calls[6].done = e->calls[2].done = 0;
	assert_int_equal(channel_send(e->gateway, GR_LIST_NODES, 6, NULL, 0), 0);
	assert_int_equal(channel_send(e->gateway, GR_LIST_LINKS, 2, NULL, 0), 0);
	run_until(e, lists_done);
}

static bool
peer_load_told(struct env *e)
{
	struct swim_info info;

	return members_get(e->daemon.ctx, e->peer_id.node, &info) && info.meta != NULL && info.rtt_us != 0;
}

/* What a member tells of itself, and what this node finds out, is there for clients. */
static void
test_member_is_shown(void **state)
{
	struct swim_meta meta = {.name = "beta", .load_permille = 370};
	struct env *e = &env;

	(void)state;
	swim_meta_add_link(&meta,
	    &(struct swim_link_meta){.peer = e->identity.node_id, .rtt_us = 4321, .bandwidth_kbps = 77});
	list(e);
	assert_false(e->node_info.has_load_permille);
	assert_string_equal(e->link_metadata, "");
	assert_int_equal(swim_describe(e->peer_swim, &meta, clock_mono()), 0);
	loop_timer_arm(e->swim_timer, clock_mono());
	run_until(e, peer_load_told);
	list(e);
	assert_true(e->node_info.has_load_permille);
	assert_int_equal(e->node_info.load_permille, 370);
	assert_true(e->node_info.probe_rtt_us > 0);
	assert_true(e->node_info.status_since > 0 && e->node_info.status_since <= (int64_t)clock_unix_ms());
	assert_string_equal(e->link_metadata, "member_rtt_us4321member_bandwidth_kbps77");
}

/* This machine's average over five minutes, shared by its processors. */
static void
test_load_is_this_machines(void **state)
{
	struct env *e = &env;
	double average[3], share;
	struct swim_meta meta;
	struct swim_info info;

	(void)state;
	assert_int_equal(getloadavg(average, 3), 3);
	share = average[1] * 1000 / (double)sysconf(_SC_NPROCESSORS_ONLN);
	if (share > 1000)
		share = 1000;
	list(e);
	assert_true(e->self_info.has_load_permille);
	/* It may be computed anew in between, and move by a few per cent then. */
	assert_true(e->self_info.load_permille + 200 > share && e->self_info.load_permille < share + 200);
	assert_true(swim_get(e->peer_swim, e->identity.node_id, &info));
	assert_int_equal(swim_meta_decode(info.meta, info.meta_len, &meta), 0);
	assert_int_equal(meta.load_permille, ((struct routerd *)e->daemon.ctx)->load_told);
	assert_string_equal(e->self_info.detail, "");
}

static bool
user_event_told(struct env *e)
{
	return strcmp(e->event.event_type, "user_event") == 0;
}

static void
test_user_event(void **state)
{
	struct env *e = &env;

	(void)state;
	assert_int_equal(swim_user_event(e->peer_swim, "deploy", (const uint8_t *)"v2", 2, clock_mono()), 0);
	loop_timer_arm(e->swim_timer, clock_mono());
	run_until(e, user_event_told);
	assert_string_equal(e->event.metadata[1].value, "beta");
	assert_string_equal(e->event.metadata[2].value, "deploy");
	assert_int_equal(e->event.payload.size, 2);
	assert_memory_equal(e->event.payload.bytes, "v2", 2);
}

static bool
suspected(struct env *e)
{
	return strcmp(e->event.event_type, "node_suspect") == 0;
}

static bool
up(struct env *e)
{
	return strcmp(e->event.event_type, "node_up") == 0;
}

static bool
listed(struct env *e)
{
	return e->calls[6].done == 1;
}

static const char *
peer_status(struct env *e)
{
	e->calls[6].done = 0;
	assert_int_equal(channel_send(e->gateway, GR_LIST_NODES, 6, NULL, 0), 0);
	run_until(e, listed);
	return e->node_info.status;
}

static void
test_silence(void **state)
{
	struct env *e = &env;

	(void)state;
	assert_string_equal(peer_status(e), "alive");
	e->peer_silent = true;
	run_until(e, suspected);
	assert_string_equal(e->event.metadata[1].value, "beta");
	assert_string_equal(peer_status(e), "suspect");
	e->peer_silent = false;
	run_until(e, up);
	assert_string_equal(peer_status(e), "alive");
}

static bool
dead(struct env *e)
{
	return strcmp(e->event.event_type, "node_down") == 0;
}

static bool
route_gone(struct env *e)
{
	return e->fib_dels == 1;
}

static bool
route_back(struct env *e)
{
	return e->route.destination == e->peer_id.node;
}

/* It has a link, and has not answered for very long: no path leads to it, until it answers. */
static void
test_long_silence(void **state)
{
	struct env *e = &env;

	(void)state;
	e->peer_silent = true;
	e->fib_dels = 0;
	e->route.destination = 0;
	run_until(e, route_gone);
	assert_string_equal(peer_status(e), "dead");
	e->peer_silent = false;
	/* Nobody probes it any more: it speaks first. */
	run_until(e, route_back);
	run_until(e, up);
	assert_string_equal(peer_status(e), "alive");
}

static void
test_link_lost(void **state)
{
	struct env *e = &env;

	(void)state;
	link_down(e);
	run_until(e, suspected);
	run_until(e, dead);
	assert_string_equal(peer_status(e), "dead");
	link_up(e);
	run_until(e, up);
	assert_string_equal(peer_status(e), "alive");
}

static bool
transport_gone(struct env *e)
{
	(void)e;
	list(e);
	return strstr(e->self_info.detail, "no transport") != NULL;
}

static bool
waited(struct env *e)
{
	return e->timer_done;
}

static void
on_wait(void *arg)
{
	((struct env *)arg)->timer_done = true;
}

/* So long that members would be dead many times over. */
static void
wait_ms(struct env *e, int64_t ms)
{
	struct loop_timer *timer = loop_timer_new(e->loop, on_wait, e);

	e->timer_done = false;
	loop_timer_arm_ms(timer, ms);
	run_until(e, waited);
	loop_timer_free(timer);
}

static bool
transport_back(struct env *e)
{
	return e->route.destination == e->peer_id.node;
}

/* It is this node that is cut off: nobody else is suspect, dead or unreachable to it. */
static void
test_transport_away(void **state)
{
	struct env *e = &env;

	(void)state;
	assert_string_equal(peer_status(e), "alive");
	e->of_nodes = 0;
	e->route.destination = 0;
	channel_server_free(e->server);
	e->server = NULL;
	e->transport = NULL;
	wait_ms(e, 2000);
	assert_string_equal(peer_status(e), "alive");
	assert_true(transport_gone(e));
	assert_int_equal(e->calls[6].code, 0);
	serve_transport(e);
	run_until(e, transport_back);
	wait_ms(e, 1000);
	assert_string_equal(peer_status(e), "alive");
	assert_string_equal(e->self_info.detail, "");
	assert_int_equal(e->of_nodes, 0);
	/* It sees again. */
	test_silence(state);
}

/* transportd is there, and there is no link: others can be told to be gone, and so they are. */
static void
test_no_link(void **state)
{
	struct env *e = &env;

	(void)state;
	link_down(e);
	run_until(e, dead);
	list(e);
	assert_non_null(strstr(e->self_info.detail, "no link"));
	link_up(e);
	run_until(e, up);
	list(e);
	assert_string_equal(e->self_info.detail, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_gossip),
	    cmocka_unit_test(test_member_is_shown),
	    cmocka_unit_test(test_load_is_this_machines),
	    cmocka_unit_test(test_user_event),
	    cmocka_unit_test(test_silence),
	    cmocka_unit_test(test_long_silence),
	    cmocka_unit_test(test_link_lost),
	    cmocka_unit_test(test_transport_away),
	    cmocka_unit_test(test_no_link),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
