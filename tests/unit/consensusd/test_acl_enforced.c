/* acl: what policies do to calls, to streams that are open, and to what others may relay. */
#include "tests/unit/consensusd/env.h"

#include "consensusd/acl.h"
#include "consensusd/mesh_impl.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"
#define DENY_ALL "{\"publish\": [], \"subscribe\": []}"

enum { OPEN_CALL = 1, SET_CALL = 3, STREAMING_CALL = 4, SUBSCRIBE_CALL = 9 };

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1];
static unsigned done;
static int outcome;

static void
on_outcome(void *ctx, const struct mesh_outcome *o)
{
	(void)ctx;
	done++;
	outcome = o->err;
	env_touch(&env);
}

static bool
is_done(struct env *e)
{
	(void)e;
	return done > 0;
}

/* a is the one member of a control group; b and c know of no policy. */
static int
setup(void **state)
{
	struct mesh_seed seed = {.name = "m", .allow_join = MCG_JOIN_CERTIFICATE, .voters = 3, .force = true};
	int err = env_setup(state);

	done = 0;
	assert_int_equal(mesh_seed(a->engine.mesh, &seed, on_outcome, NULL), 0);
	env_run(&env, is_done);
	assert_int_equal(outcome, 0);
	return err;
}

static int64_t wanted;

static bool
in_effect(struct env *e)
{
	(void)e;
	return stats.acl_policies.value == wanted;
}

static bool
leads(struct env *e)
{
	return mesh_leads(e->nodes[0].engine.mesh);
}

/* Past the API.  json NULL: removes it.  count: of policies then. */
static void
set_policy(const char *key, const char *json, int64_t count)
{
	struct mcg_cmd c = {.type = MCG_CONFIG};

	snprintf(c.u.config.key, sizeof(c.u.config.key), "%s", key);
	c.u.config.expected = UINT64_MAX;
	c.u.config.remove = json == NULL;
	c.u.config.json = (const uint8_t *)json;
	c.u.config.len = json != NULL ? strlen(json) : 0;
	stats.acl_policies.value = -1;
	wanted = count;
	env_run(&env, leads);
	done = 0;
	assert_int_equal(mesh_propose(a->engine.mesh, &c, 60000, on_outcome, NULL), 0);
	env_run(&env, is_done);
	assert_int_equal(outcome, 0);
	env_run(&env, in_effect);
}

static void
become(struct env_node *n, const char *client)
{
	assert_int_equal(channel_send(n->gateway, GC_WHO, 0, client, strlen(client)), 0);
}

static void
assert_denied(const struct env_call *call, const char *part)
{
	assert_int_equal(call->done, 1);
	if (call->code != CODE_PERMISSION_DENIED || strstr(call->message, part) == NULL)
		fail_msg("%u: '%s' does not say '%s'", call->code, call->message, part);
}

static struct env_call *
publish(struct env_node *n, const char *stream)
{
	const mesh_v1_Chunk chunk = env_chunk(stream, 0);

	env_forget(n, 2);
	env_publish_send(n, GC_PUBLISH, 2, &chunk, "hello", 5);
	return env_wait(n, 2);
}

static void
subscribe_to(struct env_node *n, const char *tenant, const char *stream)
{
	mesh_v1_StreamSelector sel = env_selector(tenant, stream);

	n->auto_ack = true;
	env_subscribe(n, SUBSCRIBE_CALL + (strcmp(tenant, "one") != 0), &sel);
}

static void
subscribe(struct env_node *n, const char *stream)
{
	subscribe_to(n, "one", stream);
}

/* --- clients --- */

static void
test_clients(void **state)
{
	(void)state;
	subscribe(b, "");
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	set_policy("acl.one", "{\"publish\": [{\"clients\": [\"token:app\"]}]}", 1);
	assert_denied(publish(a, S1),
	    "tenant one, stream " S1 ": publish at node a (this node) by an unknown "
	    "client is denied by acl.one (no rule of it allows that)");
	become(a, "token:app");
	assert_int_equal(publish(a, S1)->replies, 1);
	become(a, "token:other");
	assert_denied(publish(a, S1), "by token:other");
	assert_denied(env_open(a, "one", S2, "b"), "by token:other");
	assert_int_equal(env_open(a, "two", S2, "b")->replies, 1);
	set_policy("acl", "{\"publish\": []}", 2);
	assert_denied(publish(a, S2), "is denied by acl (no rule");
	become(a, "");
	assert_denied(publish(a, S2), "by an unknown client");
	set_policy("acl", NULL, 1);
	subscribe_to(b, "two", "");
	assert_int_equal(publish(a, S2)->replies, 1);
}

/* The call's client is who it was when the call began. */
static void
test_streaming_ends(void **state)
{
	mesh_v1_Chunk chunk = env_chunk(S1, 0);
	const struct env_call *call = &a->calls[STREAMING_CALL];

	(void)state;
	subscribe(b, "");
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	env_forget(a, STREAMING_CALL);
	become(a, "token:app");
	env_publish_send(a, GC_PUBLISH_ITEM, STREAMING_CALL, &chunk, "x", 1);
	become(a, "token:other");
	assert_int_equal(publish(a, S1)->replies, 1);
	set_policy("acl.one", "{\"publish\": [{\"clients\": [\"token:app\"]}]}", 1);
	env_publish_send(a, GC_PUBLISH_ITEM, STREAMING_CALL, &chunk, "y", 1);
	assert_denied(publish(a, S1), "token:other");
	assert_int_equal(call->done, 0);
	set_policy("acl.one", "{\"publish\": [{\"clients\": [\"token:other\"]}]}", 1);
	assert_denied(env_wait(a, STREAMING_CALL), "by token:app is denied");
}

/* --- what is open --- */

static struct source *
source_of(struct env_node *n, const char *stream)
{
	struct ulid id;

	assert_int_equal(ulid_parse(stream, &id), 0);
	return source_find(&n->engine, &id);
}

static bool
all_processed(struct env *e)
{
	const struct stream *s = e->nodes[0].engine.sources->stream;

	return s->next_seq > 1 && s->committed_seq == s->next_seq - 1;
}

/* A source that may not send to its target, or at all, does not, and goes on when it may. */
static void
test_source(void **state)
{
	const mesh_v1_Chunk chunk = env_chunk(S1, 0);
	struct source_flow *f;

	(void)state;
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	env_forget(a, 2);
	env_publish_send(a, GC_PUBLISH, 2, &chunk, "hello", 5);
	set_policy("acl.one", "{\"subscribe\": [{\"deny\": true, \"nodes\": [\"b\"]}, {}]}", 1);
	assert_denied(env_wait(a, 2), "node b");
	f = &source_of(a, S1)->flows[0];
	assert_true(f->denied && f->flow->state == FLOW_REFUSED);
	assert_denied(publish(a, S1), "its rule 1");
	assert_denied(env_open(a, "one", S2, "b"), "subscribe at node b");
	set_policy("acl.one", "{\"publish\": [{\"nodes\": [\"b\"]}]}", 1);
	assert_denied(publish(a, S1), "publish at node a");
	assert_true(f->denied);
	set_policy("acl.one", NULL, 0);
	subscribe(b, "");
	env_run(&env, all_processed);
	assert_true(!f->denied && f->flow->state == FLOW_OPEN);
}

static bool
refused(struct env *e)
{
	const struct source *s = e->nodes[1].engine.sources;

	return s->flows[0].flow->state == FLOW_REFUSED;
}

static bool
arrived(struct env *e)
{
	const struct source *s = e->nodes[1].engine.sources;

	return s->stream->next_seq > 1 && s->stream->committed_seq == s->stream->next_seq - 1;
}

/* b, which knows no policy, sends: a, which does, refuses a new stream, and one that is open. */
static void
test_target(void **state)
{
	const mesh_v1_Chunk chunk = env_chunk(S1, 0);

	(void)state;
	subscribe(a, "");
	set_policy("acl.one", "{\"publish\": [{\"nodes\": [\"c\"]}]}", 1);
	assert_int_equal(env_open(b, "one", S1, "a")->replies, 1);
	env_run(&env, refused);
	assert_denied(publish(b, S1), "publish at node b");
	assert_null(a->engine.sinks);
	set_policy("acl.one", "{\"publish\": [{\"nodes\": [\"b\"]}]}", 1);
	env_forget(b, 2);
	assert_int_equal(env_open(b, "one", S1, "a")->replies, 1);
	while (refused(&env) || source_of(b, S1)->flows[0].flow->state != FLOW_OPEN) {
		engine_node_up(&b->engine, nodes_find(&b->engine.nodes, a->engine.self));
		env_run(&env, env_ready);
	}
	assert_int_equal(publish(b, S1)->replies, 1);
	/* Open: what comes is dropped; then the source asks, and is refused; and then it goes on. */
	set_policy("acl.one", DENY_ALL, 1);
	assert_true(a->engine.sinks->denied);
	assert_denied(env_wait(a, SUBSCRIBE_CALL), "subscribe at node a");
	env_forget(b, 2);
	env_publish_send(b, GC_PUBLISH, 2, &chunk, "hello", 5);
	env_run(&env, refused);
	assert_denied(env_wait(b, 2), "is denied by acl.one");
	set_policy("acl.one", NULL, 0);
	subscribe(a, "");
	env_run(&env, arrived);
	assert_int_equal(a->calls[SUBSCRIBE_CALL].items, 1);
}

/* --- subscriptions --- */

static bool
attached(struct env *e)
{
	return e->nodes[0].engine.sinks != NULL && e->nodes[0].engine.sinks->subscriber != NULL;
}

static void
test_subscriptions(void **state)
{
	(void)state;
	assert_int_equal(env_open(b, "one", S1, "a")->replies, 1);
	become(a, "cert:reader");
	subscribe(a, "");
	env_run(&env, attached);
	set_policy(
	    "acl.one", "{\"subscribe\": [{\"clients\": [\"cert:reader\"], \"streams\": [\"" S2 "\"]}]}", 1);
	assert_denied(env_wait(a, SUBSCRIBE_CALL), "stream " S1 ": subscribe at node a");
	/* It follows what it may have; what it names it must be allowed. */
	subscribe(a, "");
	assert_int_equal(env_open(a, "two", S2, "b")->replies, 1);
	assert_false(attached(&env));
	assert_int_equal(a->calls[SUBSCRIBE_CALL].done, 0);
	set_policy("acl.one", "{\"subscribe\": [{\"clients\": [\"cert:reader\"]}]}", 1);
	env_run(&env, attached);
	set_policy("acl.one", "{\"subscribe\": [{\"clients\": [\"cert:other\"]}]}", 1);
	assert_denied(
	    env_wait(a, SUBSCRIBE_CALL), "stream any: subscribe at node a (this node) by cert:reader");
	subscribe(a, S1);
	assert_denied(env_wait(a, SUBSCRIBE_CALL), "stream " S1);
	become(a, "cert:other");
	subscribe(a, S1);
	env_run(&env, attached);
}

/* --- forwarding, and what is malformed --- */

static bool
acl_told(struct env *e)
{
	return e->nodes[0].acl_len == (size_t)wanted;
}

static void
test_forward(void **state)
{
	(void)state;
	assert_int_equal(a->acl_len, 0);
	set_policy("acl.one", "{\"forward\": [{\"nodes\": [\"b\"]}]}", 1);
	wanted = 5;
	env_run(&env, acl_told);
	assert_memory_equal(a->acl, "\0\3one", 5);
	set_policy("acl.one", NULL, 0);
	wanted = 0;
	env_run(&env, acl_told);
}

/* It denies all of the tenant, and health says so. */
static void
test_broken(void **state)
{
	unsigned health = a->health;
	char detail[256];

	(void)state;
	subscribe(b, "");
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	set_policy("acl.one", "{\"publish\": [{\"who\": 1}]}", 1);
	assert_denied(publish(a, S1), "is denied by acl.one (it is malformed)");
	assert_int_equal(stats.acl_broken.value, 1);
	assert_true(acl_trouble(a->engine.acl, detail, sizeof(detail)) && a->health > health);
	assert_non_null(strstr(detail, "acl.one is no policy and denies all: publish: rule 1: 'who'"));
	set_policy("acl.one", "{}", 1);
	assert_false(acl_trouble(a->engine.acl, detail, sizeof(detail)));
	assert_int_equal(publish(a, S1)->replies, 1);
}

static void
test_set_by_api(void **state)
{
	mesh_v1_ConfigEntry in = mesh_v1_ConfigEntry_init_zero;
	struct pb_slice json = {(const uint8_t *)"{\"publish\": 1}", 14};

	(void)state;
	snprintf(in.key, sizeof(in.key), "acl.one");
	pb_slice_encode(&in.value, &json);
	env_forget(a, SET_CALL);
	env_send_pb(a->gateway, GC_CONFIG_SET, SET_CALL, mesh_v1_ConfigEntry_fields, &in);
	assert_int_equal(env_wait(a, SET_CALL)->code, CODE_INVALID_ARGUMENT);
	assert_non_null(strstr(a->calls[SET_CALL].message, "publish is not an array of rules"));
}

static bool
known_again(struct env *e)
{
	return e->nodes[0].engine.loaded && stats.acl_policies.value == 1;
}

/* A policy that was in effect is in effect after a restart. */
static void
test_restart(void **state)
{
	(void)state;
	subscribe(b, "");
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	set_policy("acl.one", DENY_ALL, 1);
	env_stop(a);
	stats.acl_policies.value = -1;
	env_start(a);
	env_run(&env, env_ready);
	env_run(&env, known_again);
	assert_denied(publish(a, S1), "acl.one");
	assert_true(source_of(a, S1)->flows[0].denied);
	set_policy("acl.one", NULL, 0);
	assert_int_equal(publish(a, S1)->replies, 1);
}

static struct env_call *
where_is(struct env_node *n, int64_t seq)
{
	mesh_v1_MessageStatusReq req = {.stream_id = S1, .seq = seq};

	env_forget(n, 5);
	env_send_pb(n->gateway, GC_MESSAGE, 5, mesh_v1_MessageStatusReq_fields, &req);
	return env_wait(n, 5);
}

/* Where a message is, is for those who publish or subscribe. */
static void
test_questions(void **state)
{
	(void)state;
	subscribe(b, "");
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	assert_int_equal(publish(a, S1)->replies, 1);
	set_policy("acl.one",
	    "{\"publish\": [{\"clients\": [\"token:app\"]}], \"subscribe\": [{\"clients\": "
	    "[\"token:reader\"]}]}",
	    1);
	become(a, "token:app");
	assert_int_equal(where_is(a, 1)->replies, 1);
	become(a, "token:reader");
	assert_int_equal(where_is(a, 1)->replies, 1);
	become(a, "token:other");
	assert_denied(where_is(a, 1), S1);
	assert_int_equal(where_is(a, 2)->code, CODE_NOT_FOUND);
}

/* --- what is shown --- */

static unsigned
listed(void)
{
	mesh_v1_ListStreamsReq req = mesh_v1_ListStreamsReq_init_zero;

	env_forget(a, 7);
	env_send_pb(a->gateway, GC_LIST_STREAMS, 7, mesh_v1_ListStreamsReq_fields, &req);
	assert_int_equal(env_wait(a, 7)->code, CODE_OK);
	return a->calls[7].items;
}

static struct env_call *
control(const char *action, const char *tenant, const char *stream)
{
	mesh_v1_StreamControlReq req = mesh_v1_StreamControlReq_init_zero;

	env_forget(a, 3);
	snprintf(req.action, sizeof(req.action), "%s", action);
	snprintf(req.tenant_id, sizeof(req.tenant_id), "%s", tenant);
	snprintf(req.stream_ids[0], sizeof(req.stream_ids[0]), "%s", stream);
	req.stream_ids_count = stream[0] != '\0';
	env_send_pb(a->gateway, GC_CONTROL_STREAMS, 3, mesh_v1_StreamControlReq_fields, &req);
	return env_wait(a, 3);
}

static size_t
rules_shown(void)
{
	mesh_v1_StreamControlList m = mesh_v1_StreamControlList_init_zero;
	struct pb_slice items[CONTROLS_MAX];
	struct pb_raw_list list = {.items = items, .max = CONTROLS_MAX};
	const struct env_call *call = control("list", "", "");

	assert_int_equal(call->replies, 1);
	pb_raw_list_decode(&m.rules, &list);
	assert_int_equal(
	    pb_unpack(buf_head(&call->body), buf_left(&call->body), mesh_v1_StreamControlList_fields, &m), 0);
	return list.count;
}

/* Streams of a tenant, and what is said of them, are for those who publish or subscribe, and for operators.
 */
static void
test_shown(void **state)
{
	(void)state;
	assert_int_equal(env_open(a, "one", S1, "b")->replies, 1);
	assert_int_equal(env_open(a, "two", S2, "b")->replies, 1);
	become(a, "token:app");
	assert_int_equal(listed(), 2);
	assert_int_equal(control("pause", "", "")->replies, 1);
	assert_int_equal(control("pause", "one", "")->replies, 1);
	assert_int_equal(control("pause", "", S1)->replies, 1);
	assert_int_equal(control("pause", "two", "")->replies, 1);
	assert_int_equal(rules_shown(), 2 * 4);
	set_policy("acl.one", DENY_ALL, 1);
	assert_int_equal(listed(), 1);
	assert_int_equal(rules_shown(), 2 * 2);
	assert_denied(control("resume", "one", ""), "policies deny");
	assert_denied(control("resume", "", S1), "policies deny");
	assert_denied(control("resume", "", ""), "policies deny");
	assert_denied(control("resume", "", "01ARZ3NDEKTSV4RRFFQ69G5009"), "policies deny");
	assert_int_equal(control("resume", "two", "")->replies, 1);
	assert_int_equal(control("pause", "", S2)->replies, 1);
	set_policy("acl.one", "{\"publish\": [], \"subscribe\": [{\"clients\": [\"token:app\"]}]}", 1);
	assert_int_equal(listed(), 2);
	assert_int_equal(control("resume", "", S1)->replies, 1);
	set_policy("acl.one", DENY_ALL, 1);
	become(a, "local:0");
	assert_int_equal(listed(), 2);
	assert_int_equal(control("resume", "", "")->replies, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_clients),
	    TEST(test_streaming_ends),
	    TEST(test_source),
	    TEST(test_target),
	    TEST(test_subscriptions),
	    TEST(test_forward),
	    TEST(test_broken),
	    TEST(test_set_by_api),
	    TEST(test_restart),
	    TEST(test_questions),
	    TEST(test_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
