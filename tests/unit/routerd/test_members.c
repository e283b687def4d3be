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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_gossip),
	    cmocka_unit_test(test_user_event),
	    cmocka_unit_test(test_silence),
	    cmocka_unit_test(test_long_silence),
	    cmocka_unit_test(test_link_lost),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
