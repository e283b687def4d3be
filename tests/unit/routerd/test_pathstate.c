/* Paths that transportd has left: in lists, in events, and gone again. */
#include "tests/unit/routerd/shell.h"

#include "routerd/pathstate.h"

static bool
started(struct env *e)
{
	return e->route.destination == e->peer_id.node && channel_up(e->gateway);
}

static bool
routes_done(struct env *e)
{
	return e->calls[3].done == 1;
}

static const mesh_v1_PathInfo *
path(struct env *e)
{
	e->calls[3].done = 0;
	assert_int_equal(channel_send(e->gateway, GR_LIST_ROUTES, 3, NULL, 0), 0);
	run_until(e, routes_done);
	return &e->route_info.paths[0];
}

static void
tell_path(struct env *e, uint32_t path_id, mesh_ipc_PathStateCode state, bool used)
{
	mesh_ipc_PathState said = {
	    .destination = e->peer_id.node,
	    .path_id = path_id,
	    .state = state,
	    .used = used,
	    .rtt_us = 1234,
	    .loss_ppm = 500,
	    .rate_kbps = 9000,
	};

	if (state == mesh_ipc_PathStateCode_PATH_SLOW || state == mesh_ipc_PathStateCode_PATH_SUSPECT)
		snprintf(said.reason, sizeof(said.reason), "silent");
	send_pb(e->transport, RT_PATH_STATE, 0, mesh_ipc_PathState_fields, &said);
}

static bool
degraded(struct env *e)
{
	return strcmp(e->path_event.event_type, "path_degraded") == 0;
}

static bool
recovered(struct env *e)
{
	return strcmp(e->path_event.event_type, "path_recovered") == 0;
}

static bool
gone(struct env *e)
{
	return strcmp(e->path_event.event_type, "path_gone") == 0;
}

static const char *
text_of(const mesh_v1_MeshEvent *ev, const char *key)
{
	for (pb_size_t i = 0; i < ev->metadata_count; i++)
		if (strcmp(ev->metadata[i].key, key) == 0)
			return ev->metadata[i].value;
	return "";
}

/* What was sent before has arrived: an answer of routerd's follows it. */
static bool
arrived(struct env *e)
{
	return pathstate_get(e->daemon.ctx, e->peer_id.node, 0xffff) != NULL;
}

static void
flush(struct env *e)
{
	tell_path(e, 0xffff, mesh_ipc_PathStateCode_PATH_SLOW, false);
	run_until(e, arrived);
	tell_path(e, 0xffff, mesh_ipc_PathStateCode_PATH_FORGOTTEN, false);
}

static void
test_up(void **state)
{
	struct env *e = &env;
	const mesh_v1_PathInfo *p;

	(void)state;
	serve_transport(e);
	connect_consensus(e);
	connect_gateway(e);
	link_up(e);
	run_until(e, started);
	p = path(e);
	assert_string_equal(p->state, "up");
	assert_string_equal(p->reason, "");
	assert_true(p->state_since == 0);
}

static void
test_left_and_returned(void **state)
{
	uint32_t id = env.route.paths[0].path_id;
	struct env *e = &env;
	const mesh_v1_PathInfo *p;
	char text[16];

	(void)state;
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_SUSPECT, true);
	run_until(e, degraded);
	snprintf(text, sizeof(text), "%u", (unsigned)id);
	assert_string_equal(text_of(&e->path_event, "destination_name"), "beta");
	assert_string_equal(text_of(&e->path_event, "via_name"), "beta");
	assert_string_equal(text_of(&e->path_event, "hops"), "1");
	assert_string_equal(text_of(&e->path_event, "path_id"), text);
	assert_string_equal(text_of(&e->path_event, "state"), "suspect");
	assert_string_equal(text_of(&e->path_event, "reason"), "silent");
	p = path(e);
	assert_string_equal(p->state, "suspect");
	assert_string_equal(p->reason, "silent");
	assert_true(p->state_since > 0);
	assert_int_equal(p->rtt_us, 1234);
	assert_int_equal(p->loss_ppm, 500);
	assert_int_equal(p->rate_kbps, 9000);

	/* Slow then: no other event, for it is not used all the same. */
	e->path_events = 0;
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_SLOW, true);
	flush(e);
	assert_int_equal(e->path_events, 0);
	assert_string_equal(path(e)->state, "slow");

	tell_path(e, id, mesh_ipc_PathStateCode_PATH_UP, false);
	run_until(e, recovered);
	assert_string_equal(text_of(&e->path_event, "path_id"), text);
	assert_string_equal(text_of(&e->path_event, "via_name"), "beta");
	assert_string_equal(text_of(&e->path_event, "reason"), "");
	assert_string_equal(path(e)->state, "up");
}

/* An alternative that nothing was sent on is shown, and no event; one that is forgotten has not recovered,
 * and does not later. */
static void
test_not_in_use(void **state)
{
	uint32_t id = env.route.paths[0].path_id;
	struct env *e = &env;

	(void)state;
	e->path_events = 0;
	memset(&e->path_event, 0, sizeof(e->path_event));
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_SUSPECT, false);
	flush(e);
	assert_string_equal(path(e)->state, "suspect");
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_UP, false);
	flush(e);
	assert_string_equal(path(e)->state, "up");
	assert_int_equal(e->path_events, 0);
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_SLOW, true);
	run_until(e, degraded);
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_FORGOTTEN, false);
	run_until(e, gone);
	assert_string_equal(path(e)->state, "up");
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_UP, true);
	flush(e);
	assert_string_equal(path(e)->state, "up");
	assert_int_equal(e->path_events, 2);
}

static bool
route_back(struct env *e)
{
	return e->route.destination == e->peer_id.node;
}

static bool
route_gone(struct env *e)
{
	return e->fib_dels > 0;
}

/* routerd has taken it off the table meanwhile: where it led over is not known any more. */
static void
test_no_such_path(void **state)
{
	uint32_t id = env.route.paths[0].path_id;
	struct env *e = &env;

	(void)state;
	e->fib_dels = 0;
	memset(&e->path_event, 0, sizeof(e->path_event));
	link_down(e);
	run_until(e, route_gone);
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_SUSPECT, true);
	run_until(e, degraded);
	assert_string_equal(text_of(&e->path_event, "destination_name"), "beta");
	assert_string_equal(text_of(&e->path_event, "via"), "");
	e->route.destination = 0;
	link_up(e);
	run_until(e, route_back);
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_UP, true);
	run_until(e, recovered);
}

/* A failure that takes very many paths with it: some events, not all of them; and their returns. */
static void
test_many(void **state)
{
	enum { PATHS = 400 };
	struct env *e = &env;
	unsigned told;

	(void)state;
	e->path_events = 0;
	for (uint32_t i = 1; i <= PATHS; i++)
		tell_path(e, 0x10000 + i, mesh_ipc_PathStateCode_PATH_SUSPECT, true);
	flush(e);
	path(e); /* events come before */
	told = e->path_events;
	assert_true(told >= 32 && told < PATHS);
	for (uint32_t i = 1; i <= PATHS; i++)
		assert_non_null(pathstate_get(e->daemon.ctx, e->peer_id.node, 0x10000 + i));
	for (uint32_t i = 1; i <= PATHS; i++)
		tell_path(e, 0x10000 + i, mesh_ipc_PathStateCode_PATH_UP, true);
	flush(e);
	path(e);
	assert_int_equal(e->path_events, 2 * told);
}

/* What a transportd knew is void when it is gone. */
static void
test_transportd_restarts(void **state)
{
	uint32_t id = env.route.paths[0].path_id;
	struct env *e = &env;

	(void)state;
	tell_path(e, id, mesh_ipc_PathStateCode_PATH_SUSPECT, false);
	flush(e);
	assert_string_equal(path(e)->state, "suspect");
	channel_server_free(e->server);
	e->server = NULL;
	e->transport = NULL;
	e->route.destination = 0;
	serve_transport(e);
	run_until(e, route_back);
	assert_int_equal(e->route.paths[0].path_id, id);
	assert_string_equal(path(e)->state, "up");
}

static bool
transport_closed(struct env *e)
{
	return e->transport == NULL;
}

/* A state that there is not: that connection ends. */
static void
test_strange_state(void **state)
{
	struct env *e = &env;

	(void)state;
	tell_path(e, 1, (mesh_ipc_PathStateCode)(mesh_ipc_PathStateCode_PATH_FORGOTTEN + 1), false);
	run_until(e, transport_closed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_up),
	    cmocka_unit_test(test_left_and_returned),
	    cmocka_unit_test(test_not_in_use),
	    cmocka_unit_test(test_no_such_path),
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_transportd_restarts),
	    cmocka_unit_test(test_strange_state),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
