/* What operators say of streams, over the API: pausing, throttling, rules that outlive a restart. */
#include "tests/unit/consensusd/virtual.h"

#include "tests/unit/consensusd/env.h"

#include "consensusd/core/controls.h"
#include "consensusd/core/credit.h"
#include "consensusd/core/limits.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];

static struct env_call *
control(struct env_node *n, const mesh_v1_StreamControlReq *req)
{
	env_forget(n, 3);
	env_send_pb(n->gateway, GC_CONTROL_STREAMS, 3, mesh_v1_StreamControlReq_fields, req);
	return env_wait(n, 3);
}

static mesh_v1_StreamControlReq
request(const char *action, const char *tenant, const char *stream)
{
	mesh_v1_StreamControlReq req = mesh_v1_StreamControlReq_init_zero;

	snprintf(req.action, sizeof(req.action), "%s", action);
	snprintf(req.tenant_id, sizeof(req.tenant_id), "%s", tenant);
	if (stream[0] != '\0')
		snprintf(req.stream_ids[req.stream_ids_count++], sizeof(req.stream_ids[0]), "%s", stream);
	return req;
}

/* Rules in the answer. */
static size_t
rules_of(const struct env_call *call)
{
	mesh_v1_StreamControlList m = mesh_v1_StreamControlList_init_zero;
	struct pb_slice items[CONTROLS_MAX];
	struct pb_raw_list list = {.items = items, .max = CONTROLS_MAX};

	assert_int_equal(call->replies, 1);
	pb_raw_list_decode(&m.rules, &list);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_StreamControlList_fields, &m), 0);
	return list.count;
}

static size_t
said(struct env_node *n, const char *action, const char *tenant, const char *stream)
{
	mesh_v1_StreamControlReq req = request(action, tenant, stream);

	return rules_of(control(n, &req));
}

static void
publish_many(const char *stream, uint32_t call, int count)
{
	mesh_v1_Chunk chunk = env_chunk(stream, 0);

	for (int i = 0; i < count; i++)
		env_publish_send(a, GC_PUBLISH_ITEM, call, &chunk, "0123456789", 10);
}

static int64_t wait_until_us;

static bool
time_is_up(struct env *e)
{
	(void)e;
	return clock_mono().us >= wait_until_us;
}

static void
pass(int64_t ms)
{
	wait_until_us = clock_mono().us + ms * 1000;
	env_run(&env, time_is_up);
}

static uint64_t
stored(struct env_node *n, const char *stream)
{
	struct ulid id;
	struct sink *k;

	assert_int_equal(ulid_parse(stream, &id), 0);
	k = sink_find(&n->engine, &id);
	return k != NULL ? k->target->stored_seq : 0;
}

static void
subscribe(void)
{
	mesh_v1_StreamSelector sel = env_selector("one", "");

	b->auto_ack = true;
	env_subscribe(b, 9, &sel);
}

static void
test_pause_source(void **state)
{
	(void)state;
	env_open(a, "one", S1, "b");
	subscribe();
	publish_many(S1, 2, 10);
	pass(1000);
	assert_int_equal(a->calls[2].items, 10);
	assert_int_equal(said(a, "pause", "", S1), 2);
	publish_many(S1, 2, 100);
	pass(5000);
	assert_int_equal(stored(b, S1), 10);
	assert_int_equal(a->calls[2].items, 10);
	assert_int_equal(said(a, "resume", "", S1), 0);
	pass(1000);
	assert_int_equal(a->calls[2].items, 110);
	assert_int_equal(b->calls[9].items, 110);
}

static void
test_pause_target(void **state)
{
	(void)state;
	env_open(a, "one", S1, "b");
	subscribe();
	publish_many(S1, 2, 10);
	pass(1000);
	assert_int_equal(said(b, "pause", "one", ""), 2);
	publish_many(S1, 2, 100);
	pass(5000);
	assert_int_equal(b->calls[9].items, 10);
	assert_int_equal(a->engine.sources->stream->flows[0].granted_bytes, 0);
	/* An exception of the tenant's rule; then the rule ends, and the exceptions with it. */
	assert_int_equal(said(b, "resume", "", S1), 4);
	pass(1000);
	assert_int_equal(b->calls[9].items, 110);
	assert_int_equal(said(b, "resume", "one", ""), 0);
	assert_int_equal(fake_dbs[1].rule_count, 0);
}

/* Streams that are opened later and those of another tenant; priorities. */
static void
test_scopes(void **state)
{
	mesh_v1_StreamControlReq req = request("pause", "one", "");

	(void)state;
	snprintf(req.side, sizeof(req.side), "source");
	snprintf(req.reason, sizeof(req.reason), "work on the line");
	assert_int_equal(rules_of(control(a, &req)), 1);
	env_open(a, "one", S1, "b");
	env_open(a, "two", S2, "b");
	assert_true(source_find(&a->engine, &a->engine.sources->row.stream_id) != NULL);
	publish_many(S1, 2, 10);
	publish_many(S2, 4, 10);
	pass(1000);
	assert_int_equal(stored(b, S1), 0);
	assert_int_equal(stored(b, S2), 10);
	/* Everything has priority 0. */
	req = request("pause", "", "");
	req.has_min_priority = true;
	req.min_priority = 1;
	assert_int_equal(rules_of(control(a, &req)), 3);
	publish_many(S2, 4, 10);
	pass(1000);
	assert_int_equal(stored(b, S2), 20);
	req.min_priority = -5;
	assert_int_equal(rules_of(control(a, &req)), 5);
	publish_many(S2, 4, 10);
	pass(1000);
	assert_int_equal(stored(b, S2), 20);
}

/* 100 a second, whatever is published; the tenant's streams share it. */
static void
test_throttle(void **state)
{
	mesh_v1_StreamControlReq req = request("throttle", "one", "");
	uint64_t before;

	(void)state;
	env_open(a, "one", S1, "b");
	env_open(a, "one", S2, "b");
	subscribe();
	req.messages_per_s = 100;
	assert_int_equal(rules_of(control(a, &req)), 1);
	publish_many(S1, 2, 3000);
	publish_many(S2, 4, 3000);
	pass(10000);
	assert_in_range(stored(b, S1) + stored(b, S2), 900, 1100);
	assert_true(stored(b, S1) > 100 && stored(b, S2) > 100);
	/* One of them for itself. */
	req = request("throttle", "", S1);
	req.messages_per_s = 10;
	assert_int_equal(rules_of(control(a, &req)), 2);
	before = stored(b, S1);
	pass(10000);
	assert_in_range(stored(b, S1) - before, 50, 150);
	assert_int_equal(said(a, "unthrottle", "one", ""), 1);
	pass(1000);
	assert_int_equal(stored(b, S2), 3000);
	assert_int_equal(said(a, "unthrottle", "", S1), 0);
	pass(1000);
	assert_int_equal(stored(b, S1), 3000);
}

static void
test_restart(void **state)
{
	mesh_v1_StreamControlReq req = request("throttle", "", S1);

	(void)state;
	env_open(a, "one", S1, "b");
	env_open(a, "one", S2, "b");
	req.bytes_per_s = 1000;
	assert_int_equal(rules_of(control(a, &req)), 1);
	assert_int_equal(said(a, "pause", "", S2), 3);
	env_stop(a);
	env_start(a);
	env_run(&env, env_ready);
	assert_int_equal(said(a, "list", "", ""), 3);
	publish_many(S2, 4, 10);
	pass(3000);
	assert_int_equal(stored(b, S2), 0);
	assert_int_equal(
	    a->engine.sources->limit != NULL || ((struct source *)a->engine.sources->hh.next)->limit != NULL,
	    1);
}

/* A closed stream takes its rules along. */
static void
test_closed(void **state)
{
	(void)state;
	env_open(a, "one", S1, "b");
	assert_int_equal(said(a, "pause", "", S1), 2);
	env_close(a, 5, S1);
	env_wait(a, 5);
	pass(3000);
	assert_null(a->engine.sources);
	assert_int_equal(said(a, "list", "", ""), 0);
	assert_int_equal(fake_dbs[0].rule_count, 0);
}

static void
refused(const mesh_v1_StreamControlReq *req, enum code code, const char *part)
{
	const struct env_call *call = control(a, req);

	if (call->done != 1 || call->code != code || strstr(call->message, part) == NULL)
		fail_msg(
		    "%u replies, code %u, '%s': not '%s'", call->replies, call->code, call->message, part);
}

static void
test_refused(void **state)
{
	mesh_v1_StreamControlReq req = request("stop", "", "");

	(void)state;
	refused(&req, CODE_INVALID_ARGUMENT, "not 'stop'");
	req = request("pause", "Not A Tenant", "");
	refused(&req, CODE_INVALID_ARGUMENT, "tenant_id");
	req = request("pause", "", "01ARZ");
	refused(&req, CODE_INVALID_ARGUMENT, "not a ULID");
	req = request("throttle", "one", "");
	refused(&req, CODE_INVALID_ARGUMENT, "messages_per_s, bytes_per_s");
	req.messages_per_s = -1;
	refused(&req, CODE_INVALID_ARGUMENT, "10^12");
	req.messages_per_s = 1;
	snprintf(req.side, sizeof(req.side), "target");
	refused(&req, CODE_INVALID_ARGUMENT, "source");
	req = request("pause", "one", "");
	snprintf(req.side, sizeof(req.side), "left");
	refused(&req, CODE_INVALID_ARGUMENT, "side");
	req = request("pause", "one", "");
	req.bytes_per_s = 1;
	refused(&req, CODE_INVALID_ARGUMENT, "for throttle");
	req = request("pause", "one", "");
	req.has_min_priority = req.has_max_priority = true;
	req.min_priority = 1;
	refused(&req, CODE_INVALID_ARGUMENT, "above max_priority");
	assert_int_equal(fake_dbs[0].rule_count, 0);
}

/* The answer waits for the database; the rule does not. */
static void
test_durable(void **state)
{
	mesh_v1_StreamControlReq req = request("pause", "", S1);

	(void)state;
	env_open(a, "one", S1, "b");
	fake_dbs[0].hold = true;
	env_forget(a, 3);
	env_send_pb(a->gateway, GC_CONTROL_STREAMS, 3, mesh_v1_StreamControlReq_fields, &req);
	pass(2000);
	assert_int_equal(a->calls[3].replies + a->calls[3].done, 0);
	assert_true(a->engine.sources->stream->paused);
	fake_dbs[0].hold = false;
	fake_changed(&fake_dbs[0]);
	assert_int_equal(rules_of(env_wait(a, 3)), 2);
}

/* A target whose database is behind grants less; then as much as before. */
static void
test_lag(void **state)
{
	const struct flow *f;
	size_t window = a->engine.target_conf.window_bytes;

	(void)state;
	env_open(a, "one", S1, "b");
	publish_many(S1, 2, 10);
	pass(1000);
	f = &a->engine.sources->stream->flows[0];
	assert_int_equal(f->granted_bytes, window);
	fake_dbs[1].lag_ms = 5000;
	publish_many(S1, 2, 10);
	pass(1000);
	assert_int_equal(
	    f->granted_bytes, window >> 5 > FLOW_CWND_MIN_BYTES ? window >> 5 : FLOW_CWND_MIN_BYTES);
	assert_true(f->granted_bytes < window);
	fake_dbs[1].lag_ms = 0;
	publish_many(S1, 2, 10);
	pass(1000);
	assert_int_equal(f->granted_bytes, window);
	assert_int_equal(stored(b, S1), 30);
}

/* What the target grants when its process uses so much of its time, of a thousand, as the source hears it. */
static size_t
granted_when_busy(unsigned permille)
{
	virtual_busy(permille);
	/* It is measured over a second in which something happens, and told with what happens then. */
	for (int i = 0; i < 3; i++) {
		publish_many(S1, 2, 10);
		pass(ENGINE_MEASURE_MS);
	}
	return a->engine.sources->stream->flows[0].granted_bytes;
}

/* A target whose process has no time left grants less; then as much as before. */
static void
test_busy(void **state)
{
	size_t window = a->engine.target_conf.window_bytes;

	(void)state;
	env_open(a, "one", S1, "b");
	subscribe();
	assert_int_equal(granted_when_busy(0), window);
	assert_int_equal(granted_when_busy(CREDIT_BUSY_MIN_PERMILLE - 50), window);
	assert_int_equal(granted_when_busy(950), window / 2);
	assert_int_equal(granted_when_busy(1000), window / 4);
	assert_in_range(stats.pressure.value, CREDIT_BUSY_MAX_PRESSURE - 5, CREDIT_BUSY_MAX_PRESSURE);
	assert_int_equal(granted_when_busy(100), window);
	assert_int_equal(stats.pressure.value, 0);
	assert_int_equal(stored(b, S1), 150);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_pause_source),
	    TEST(test_pause_target),
	    TEST(test_scopes),
	    TEST(test_throttle),
	    TEST(test_restart),
	    TEST(test_closed),
	    TEST(test_refused),
	    TEST(test_durable),
	    TEST(test_lag),
	    TEST(test_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
