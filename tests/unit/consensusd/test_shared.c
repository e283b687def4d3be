/* shared: what the daemons of a node are told of the configuration that all nodes share, and when; and what
 * the API does not let into it. */
#include "tests/unit/consensusd/env.h"

#include "consensusd/json_text.h"
#include "consensusd/mesh_impl.h"
#include "consensusd/shared.h"

enum { TRANSPORTD, ROUTERD, GATEWAYD, SET_CALL = 3 };

static struct env_node *const a = &env.nodes[0];
static struct buf own;
static unsigned own_count, done;
static int outcome;

static int
on_own(void *ctx, const uint8_t *body, size_t len)
{
	(void)ctx;
	own_count++;
	buf_reset(&own);
	env_touch(&env);
	return buf_put_bytes(&own, body, len);
}

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

static bool
all_told(struct env *e)
{
	for (size_t i = 0; i < ENV_NODES; i++)
		for (size_t k = 0; k < COUNT(e->nodes[i].shared); k++)
			if (e->nodes[i].up && e->nodes[i].shared[k].count == 0)
				return false;
	return true;
}

static void
begin_own(void)
{
	buf_init(&own, CONF_OVERLAY_MAX_BYTES);
	own_count = 0;
	shared_own(a->engine.shared, on_own, NULL);
}

/* A control group that has one member. */
static int
setup(void **state)
{
	struct mesh_seed seed = {.name = "m", .allow_join = MCG_JOIN_CERTIFICATE, .voters = 3, .force = true};
	int err = env_setup(state);

	begin_own();
	env_run(&env, all_told);
	done = 0;
	assert_int_equal(mesh_seed(a->engine.mesh, &seed, on_outcome, NULL), 0);
	env_run(&env, is_done);
	assert_int_equal(outcome, 0);
	return err;
}

static int
teardown(void **state)
{
	buf_fini(&own);
	return env_teardown(state);
}

/* Past the API, as a node of another version may do it.  json NULL: removes it. */
static void
propose(const char *key, const char *json)
{
	struct mcg_cmd c = {.type = MCG_CONFIG};

	snprintf(c.u.config.key, sizeof(c.u.config.key), "%s", key);
	c.u.config.expected = UINT64_MAX;
	c.u.config.remove = json == NULL;
	c.u.config.json = (const uint8_t *)json;
	c.u.config.len = json != NULL ? strlen(json) : 0;
	done = 0;
	assert_int_equal(mesh_propose(a->engine.mesh, &c, 60000, on_outcome, NULL), 0);
	env_run(&env, is_done);
	assert_int_equal(outcome, 0);
}

static unsigned wanted[3];

static bool
told_so_often(struct env *e)
{
	for (size_t i = 0; i < COUNT(wanted); i++)
		if (e->nodes[0].shared[i].count < wanted[i])
			return false;
	return true;
}

/* Sets a key, and waits until the sibling has heard of it; the others have not. */
static void
set_for(size_t sibling, const char *key, const char *json)
{
	for (size_t i = 0; i < COUNT(wanted); i++)
		wanted[i] = a->shared[i].count + (i == sibling);
	propose(key, json);
	env_run(&env, told_so_often);
	for (size_t i = 0; i < COUNT(wanted); i++)
		assert_int_equal(a->shared[i].count, wanted[i]);
}

/* The overlay holds exactly these. */
static void
assert_holds(const struct buf *b, const char *key, const char *const *values, size_t count)
{
	struct buf want;

	buf_init(&want, CONF_OVERLAY_MAX_BYTES);
	if (key != NULL)
		assert_int_equal(conf_overlay_put(&want, key, values, count), 0);
	assert_int_equal(buf_left(b), buf_left(&want));
	assert_memory_equal(buf_head(b), buf_head(&want), buf_left(b));
	buf_fini(&want);
}

static void
assert_one(const struct buf *b, const char *key, const char *value)
{
	assert_holds(b, key, &value, 1);
}

static void
test_each_gets_its_own(void **state)
{
	static const char *const denied[] = {"0000000000001", "0000000000002"};

	(void)state;
	for (size_t i = 0; i < COUNT(a->shared); i++) {
		assert_int_equal(a->shared[i].count, 1);
		assert_int_equal(buf_left(&a->shared[i].body), 0);
	}
	set_for(ROUTERD, "routerd.paths", "2");
	assert_one(&a->shared[ROUTERD].body, "paths", "2");
	set_for(TRANSPORTD, "transportd.deny", "[\"0000000000001\", \"0000000000002\"]");
	assert_holds(&a->shared[TRANSPORTD].body, "deny", denied, 2);
	set_for(GATEWAYD, "gatewayd.keepalive", "\"90s\"");
	assert_one(&a->shared[GATEWAYD].body, "keepalive", "90s");
	/* It asked after the first time. */
	assert_int_equal(own_count, 0);
	set_for(COUNT(wanted), "consensusd.streams-max", "5");
	assert_int_equal(own_count, 1);
	assert_one(&own, "streams-max", "5");
	/* What is the applications' own concerns nobody; nor does the same value again. */
	set_for(COUNT(wanted), "shop.paths", "3");
	set_for(COUNT(wanted), "routerd", "3");
	set_for(COUNT(wanted), "routerd.paths", "2");
	set_for(ROUTERD, "routerd.paths", NULL);
	assert_int_equal(buf_left(&a->shared[ROUTERD].body), 0);
	assert_int_equal(own_count, 1);
	/* Others are members of nothing. */
	assert_int_equal(env.nodes[1].shared[ROUTERD].count, 1);
}

/* One that makes no sense is left out and counted, each time that its section is looked at. */
static void
test_nonsense_is_left_out(void **state)
{
	int64_t refused = stats.shared_refused.value;

	(void)state;
	set_for(COUNT(wanted), "routerd.pathz", "2");
	set_for(COUNT(wanted), "routerd.spf-delay", "{\"a\": 1}");
	assert_int_equal(stats.shared_refused.value - refused, 3);
	set_for(ROUTERD, "routerd.paths", "2");
	assert_int_equal(stats.shared_refused.value - refused, 5);
	assert_one(&a->shared[ROUTERD].body, "paths", "2");
}

static bool
transport_told(struct env *e)
{
	return e->nodes[0].shared[TRANSPORTD].count >= 1;
}

static void
test_told_on_each_connection(void **state)
{
	(void)state;
	set_for(TRANSPORTD, "transportd.links-max", "7");
	channel_free(a->transport);
	a->evicted[0].before_identity = false;
	a->shared[TRANSPORTD].count = 0;
	buf_reset(&a->shared[TRANSPORTD].body);
	env_connect_transport(a);
	env_run(&env, transport_told);
	assert_one(&a->shared[TRANSPORTD].body, "links-max", "7");
}

/* How far the log is committed is written down with the key, and not with the next entry: a node that reaches
 * nobody goes by it. */
static uint64_t
kept_commit(void)
{
	for (size_t i = 0; i < fake_dbs[0].group_count; i++)
		if (fake_dbs[0].groups[i]->row.type == STORE_RAFT_MCG)
			return fake_dbs[0].groups[i]->row.commit;
	return 0;
}

static bool
commit_is_kept(struct env *e)
{
	return kept_commit() >= mcg_index(mesh_mcg(e->nodes[0].engine.mesh));
}

static void
test_kept(void **state)
{
	(void)state;
	set_for(COUNT(wanted), "shop.paths", "3");
	set_for(COUNT(wanted), "shop.paths", "4");
	assert_true(kept_commit() < mcg_index(mesh_mcg(a->engine.mesh)));
	set_for(ROUTERD, "routerd.paths", "2");
	env_run(&env, commit_is_kept);
}

/* A consensusd that starts anew says nothing before it knows everything. */
static void
test_told_after_a_restart(void **state)
{
	(void)state;
	set_for(TRANSPORTD, "transportd.links-max", "7");
	set_for(COUNT(wanted), "consensusd.streams-max", "5");
	set_for(TRANSPORTD, "transportd.links-max", "8");
	env_stop(a);
	a->identities = a->health = 0;
	for (size_t i = 0; i < COUNT(a->shared); i++)
		a->shared[i].count = 0;
	buf_fini(&own);
	env_start(a);
	begin_own();
	env_run(&env, env_ready);
	env_run(&env, all_told);
	assert_int_equal(a->shared[TRANSPORTD].count, 1);
	assert_one(&a->shared[TRANSPORTD].body, "links-max", "8");
	assert_one(&own, "streams-max", "5");
	assert_int_equal(own_count, 1);
}

static void
test_forgotten_outside(void **state)
{
	(void)state;
	set_for(ROUTERD, "routerd.paths", "2");
	wanted[ROUTERD]++;
	done = 0;
	assert_int_equal(mesh_leave(a->engine.mesh, on_outcome, NULL), 0);
	env_run(&env, told_so_often);
	assert_int_equal(buf_left(&a->shared[ROUTERD].body), 0);
}

/* --- the API --- */

static struct env_call *
set_by_api(const char *key, const char *json)
{
	mesh_v1_ConfigEntry msg = mesh_v1_ConfigEntry_init_zero;
	struct pb_slice value = {(const uint8_t *)json, json != NULL ? strlen(json) : 0};

	snprintf(msg.key, sizeof(msg.key), "%s", key);
	msg.removed = json == NULL;
	if (json != NULL)
		pb_slice_encode(&msg.value, &value);
	env_forget(a, SET_CALL);
	env_send_pb(a->gateway, GC_CONFIG_SET, SET_CALL, mesh_v1_ConfigEntry_fields, &msg);
	return env_wait(a, SET_CALL);
}

static void
expect_refused(const char *key, const char *json, const char *why)
{
	const struct env_call *c = set_by_api(key, json);

	assert_int_equal(c->replies, 0);
	assert_int_equal(c->code, CODE_INVALID_ARGUMENT);
	if (strstr(c->message, why) == NULL)
		fail_msg("%s: %s: '%s', not '%s'", key, json, c->message, why);
}

static void
expect_set(const char *key, const char *json)
{
	const struct env_call *c = set_by_api(key, json);

	if (c->replies != 1)
		fail_msg("%s: %s: %s", key, json != NULL ? json : "removed", c->message);
}

static void
test_api(void **state)
{
	char many[65 * 4 + 2] = "[";

	(void)state;
	expect_set("routerd.paths", "2");
	expect_set("routerd.paths", "\"2\"");
	expect_set("consensusd.stream-window", "\"1MB\"");
	expect_set("transportd.deny", "[\"0000000000001\"]");
	expect_set("shop.paths", "{\"any\": [1, {}]}");
	expect_set("mesh.region", "7");
	expect_refused("routerd.pathz", "2", "routerd: unknown directive 'pathz' (did you mean 'paths'?)");
	expect_refused("routerd.", "2", "routerd: unknown directive ''");
	expect_refused("routerd.paths", "99", "routerd: paths: '99': out of range (1 to 8)");
	expect_refused("routerd.paths", "2.5", "routerd: paths: '2.5': not a whole number");
	expect_refused("routerd.paths", "true", "routerd: paths: 'yes': not a whole number");
	expect_refused("routerd.paths", "[1, 2]", "routerd: paths takes one value");
	expect_refused("routerd.paths", "[]", "routerd: paths needs a value");
	expect_refused(
	    "routerd.paths", "null", "routerd: paths: not a string, a number, true, false or an array");
	expect_refused("routerd.paths", "[[1]]", "routerd: paths: not a string");
	expect_refused("routerd.paths", "{}", "routerd: paths: not a string");
	expect_refused("routerd.paths", "2,", "not JSON");
	expect_refused("routerd.cost", "2", "routerd: cost is a block");
	expect_refused(
	    "transportd.listen", "\"*:1\"", "transportd: listen can't be shared: it takes a restart");
	expect_refused("gatewayd.keepalive", "\"9\\n0\"", "control character 0x0a");
	for (unsigned i = 0; i < 65; i++)
		strcat(many, i == 0 ? "\"a\"" : ",\"a\"");
	strcat(many, "]");
	expect_refused("transportd.deny", many, "transportd: deny: more than 64 values");
	/* What is there for whatever reason can be removed. */
	propose("routerd.pathz", "1");
	expect_set("routerd.pathz", NULL);
}

/* --- values --- */

static void
words(const char *json, const char *expected)
{
	char why[160], text[256] = "";
	struct json_words w;

	assert_true(json_text_words(json, strlen(json), &w, why, sizeof(why)));
	for (size_t i = 0; i < w.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s|", w.at[i]);
	assert_string_equal(text, expected);
	json_words_fini(&w);
	assert_int_equal(w.count, 0);
}

static void
test_words(void **state)
{
	struct json_words w;
	char why[160];

	(void)state;
	words("\"a b\"", "a b|");
	words("true", "yes|");
	words("false", "no|");
	words("-17", "-17|");
	words("9223372036854775807", "9223372036854775807|");
	words("0.5", "0.5|");
	words("[\"\", 1, true]", "|1|yes|");
	words("[]", "");
	assert_false(json_text_words("[1, null]", 9, &w, why, sizeof(why)));
	assert_int_equal(w.count, 0);
	for (unsigned long k = 1; k <= 2; k++) {
		mem_fail_at(k);
		assert_false(json_text_words("[1, 2]", 6, &w, why, sizeof(why)));
		mem_fail_at(0);
		assert_string_equal(why, "out of memory");
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_each_gets_its_own),
	    TEST(test_nonsense_is_left_out),
	    TEST(test_told_on_each_connection),
	    TEST(test_kept),
	    TEST(test_told_after_a_restart),
	    TEST(test_forgotten_outside),
	    TEST(test_api),
	    cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
