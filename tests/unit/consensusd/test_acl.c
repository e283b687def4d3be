/* acl: policies as JSON, what they decide, and what transportd is told of them. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/acl_json.h"
#include "consensusd/core/acl.h"

#define S1 "01ARZ3NDEKTSV4RRFFQ69G5001"
#define S2 "01ARZ3NDEKTSV4RRFFQ69G5002"
#define NODE_A "0000000000001"

static struct acl_set set;

static int
teardown(void **state)
{
	(void)state;
	acl_set_fini(&set);
	return 0;
}

static int
try_put(const char *key, const char *json, char *why, size_t size)
{
	struct acl_policy *p;
	int err = acl_json_read(json, strlen(json), &p, why, size);

	return err == 0 ? acl_set_put(&set, acl_json_tenant(key), p) : err;
}

static void
put(const char *key, const char *json)
{
	char why[256] = "";

	if (try_put(key, json, why, sizeof(why)) != 0)
		fail_msg("%s: %s", key, why);
}

static struct acl_verdict
decide(enum acl_action action, const char *tenant, const char *client, uint64_t node, const char *stream)
{
	struct acl_query q = {
	    .action = action, .tenant = tenant, .client = client, .node = node, .node_name = ""};
	static const char *const names[] = {"", "a", "b", "c"};
	struct acl_verdict v;
	struct ulid id;

	if (node < COUNT(names))
		q.node_name = names[node];
	if (stream != NULL) {
		assert_int_equal(ulid_parse(stream, &id), 0);
		q.stream = &id;
	}
	acl_decide(&set, &q, &v);
	return v;
}

#define may(...) (decide(__VA_ARGS__).allowed)

static void
test_nothing_is_everything(void **state)
{
	struct acl_verdict v = decide(ACL_PUBLISH, "t", "", 1, S1);

	(void)state;
	assert_true(acl_set_empty(&set) && v.allowed && !v.decided);
	/* A policy that does not speak of it, neither. */
	put("acl.t", "{\"subscribe\": []}");
	assert_false(acl_set_empty(&set));
	assert_true(may(ACL_PUBLISH, "t", "", 1, S1));
	assert_false(may(ACL_SUBSCRIBE, "t", "cert:x", 1, S1));
	assert_true(may(ACL_SUBSCRIBE, "u", "cert:x", 1, S1));
}

static void
test_first_rule_that_fits(void **state)
{
	struct acl_verdict v;

	(void)state;
	put("acl.t", "{\"publish\": [{\"deny\": true, \"clients\": [\"token:bad\"]},"
		     "{\"clients\": [\"token:*\"], \"nodes\": [\"a\", \"" NODE_A "\"]},"
		     "{\"clients\": [\"cert:x\"], \"streams\": [\"" S2 "\"]}]}");
	v = decide(ACL_PUBLISH, "t", "token:bad", 1, S1);
	assert_true(!v.allowed && v.own && v.decided && v.rule == 1);
	assert_true(may(ACL_PUBLISH, "t", "token:good", 1, S1));
	assert_false(may(ACL_PUBLISH, "t", "token:good", 2, S1));
	assert_false(may(ACL_PUBLISH, "t", "cert:x", 1, S1));
	v = decide(ACL_PUBLISH, "t", "cert:x", 2, S2);
	assert_true(v.allowed && v.rule == 3);
	v = decide(ACL_PUBLISH, "t", "", 1, S2);
	assert_true(!v.allowed && v.rule == 0);
	assert_false(may(ACL_PUBLISH, "t", "cert:xx", 1, S2));
}

/* The own policy decides if it speaks of the action, else the default. */
static void
test_default(void **state)
{
	(void)state;
	put("acl", "{\"publish\": [{\"clients\": [\"local:*\"]}], \"forward\": []}");
	put("acl.t", "{\"publish\": [{}]}");
	assert_true(may(ACL_PUBLISH, "t", "cert:x", 1, S1));
	assert_false(may(ACL_PUBLISH, "u", "cert:x", 1, S1));
	assert_true(may(ACL_PUBLISH, "u", "local:0", 1, S1));
	assert_false(decide(ACL_FORWARD, "t", NULL, 1, NULL).own);
	assert_false(may(ACL_FORWARD, "t", NULL, 1, NULL));
	assert_true(may(ACL_SUBSCRIBE, "t", "", 1, S1));
}

/* Without a client, or a stream: is there any that may? */
static void
test_any(void **state)
{
	(void)state;
	put("acl.t", "{\"subscribe\": [{\"deny\": true, \"clients\": [\"token:x\"]},"
		     "{\"deny\": true, \"clients\": [\"*\"], \"nodes\": [\"c\"]},"
		     "{\"deny\": true, \"nodes\": [\"b\"], \"streams\": [\"" S1 "\"]},"
		     "{\"clients\": [\"token:*\"], \"streams\": [\"" S1 "\", \"" S2 "\"]}]}");
	assert_true(may(ACL_SUBSCRIBE, "t", NULL, 1, S1));
	assert_false(may(ACL_SUBSCRIBE, "t", NULL, 3, S1));
	assert_false(may(ACL_SUBSCRIBE, "t", NULL, 2, S1));
	assert_true(may(ACL_SUBSCRIBE, "t", NULL, 2, S2));
	assert_true(may(ACL_SUBSCRIBE, "t", "token:y", 2, NULL));
	assert_false(may(ACL_SUBSCRIBE, "t", "token:x", 2, NULL));
	assert_false(may(ACL_SUBSCRIBE, "t", "cert:y", 1, NULL));
}

/* Who is named by an id is nobody who only has such a name; what looks like an id may be a name. */
static void
test_nodes(void **state)
{
	struct acl_query q = {.action = ACL_FORWARD, .tenant = "t", .node = 7, .node_name = NODE_A};
	struct acl_verdict v;

	(void)state;
	put("acl.t", "{\"forward\": [{\"nodes\": [\"" NODE_A "\", \"datacenter001\"]}]}");
	acl_decide(&set, &q, &v);
	assert_false(v.allowed);
	q.node = 1;
	acl_decide(&set, &q, &v);
	assert_true(v.allowed);
	q.node = 8;
	q.node_name = "datacenter001";
	acl_decide(&set, &q, &v);
	assert_true(v.allowed);
}

static void
test_broken_denies(void **state)
{
	struct acl_verdict v;

	(void)state;
	assert_int_equal(acl_set_put(&set, "t", acl_policy_new(true)), 0);
	v = decide(ACL_FORWARD, "t", NULL, 1, NULL);
	assert_true(!v.allowed && v.broken && v.own);
	assert_true(may(ACL_PUBLISH, "u", "", 1, S1));
	assert_int_equal(acl_set_put(&set, "t", acl_policy_new(false)), ERR_EXISTS);
	assert_int_equal(acl_set_put(&set, "", acl_policy_new(true)), 0);
	assert_false(may(ACL_PUBLISH, "u", "", 1, S1));
}

static void
assert_forward(uint64_t node, const char *name, const char *want, size_t len)
{
	struct buf out;

	buf_init(&out, ACL_FORWARD_MAX_BYTES);
	assert_int_equal(acl_forward_encode(&set, node, name, &out), 0);
	assert_int_equal(buf_left(&out), len);
	assert_memory_equal(buf_head(&out), want, len);
	buf_fini(&out);
}

static void
test_forward(void **state)
{
	(void)state;
	assert_forward(1, "a", "", 0);
	put("acl.two", "{\"forward\": [{\"nodes\": [\"b\"]}]}");
	put("acl.one", "{\"forward\": []}");
	put("acl.six", "{\"publish\": []}");
	assert_forward(1, "a", "\0\3one\3two", 9);
	assert_forward(2, "b", "\0\3one", 5);
	put("acl", "{\"forward\": [{\"nodes\": [\"c\"]}]}");
	assert_forward(2, "b", "\1\3two", 5);
	assert_forward(3, "c", "\0\3one\3two", 9);
	assert_forward(4, "d", "\1", 1);
}

/* --- JSON --- */

static void
test_keys(void **state)
{
	char why[256] = "";

	(void)state;
	assert_null(acl_json_tenant("aclx"));
	assert_null(acl_json_tenant("shop.acl.t"));
	assert_string_equal(acl_json_tenant("acl"), "");
	assert_string_equal(acl_json_tenant("acl.a.b"), "a.b");
	assert_true(acl_json_check("shop", "1", 1, why, sizeof(why)));
	assert_true(acl_json_check("acl", "{}", 2, why, sizeof(why)));
	assert_true(acl_json_check("acl.a.b", "{}", 2, why, sizeof(why)));
	assert_false(acl_json_check("acl.", "{}", 2, why, sizeof(why)));
	assert_non_null(strstr(why, "lacks the tenant"));
	assert_false(acl_json_check("acl.ACME", "{}", 2, why, sizeof(why)));
	assert_non_null(strstr(why, "'ACME' is no tenant's name"));
}

static void
test_malformed(void **state)
{
	static const struct {
		const char *json, *why;
	} bad[] = {
	    {"", "no JSON object"},
	    {"[]", "no JSON object"},
	    {"{\"publish\": []", "no JSON object"},
	    {"{\"publish\": [], \"publish\": []}", "no JSON object"},
	    {"{\"read\": []}", "'read' is not publish"},
	    {"{\"publish\": {}}", "publish is not an array of rules"},
	    {"{\"publish\": [{}, 1]}", "publish: rule 2: not an object"},
	    {"{\"publish\": [{\"deny\": 1}]}", "deny is not true or false"},
	    {"{\"publish\": [{\"client\": [\"*\"]}]}", "'client' is not deny, clients"},
	    {"{\"publish\": [{\"clients\": []}]}", "clients is not an array with something in it"},
	    {"{\"publish\": [{\"clients\": \"*\"}]}", "clients is not an array"},
	    {"{\"publish\": [{\"clients\": [7]}]}", "clients: '' is not cert:NAME"},
	    {"{\"publish\": [{\"clients\": [\"app\"]}]}", "clients: 'app' is not"},
	    {"{\"publish\": [{\"clients\": [\"token:\"]}]}", "clients: 'token:' is not"},
	    {"{\"publish\": [{\"clients\": [\"token:*a\"]}]}", "clients: 'token:*a' is not"},
	    {"{\"publish\": [{\"nodes\": [\"a*\"]}]}", "nodes: 'a*' is not a node's name"},
	    {"{\"publish\": [{\"nodes\": [\"a b\"]}]}", "nodes: 'a b' is not"},
	    {"{\"subscribe\": [{\"streams\": [\"01ARZ\"]}]}", "subscribe: rule 1: streams: '01ARZ' is not"},
	    {"{\"forward\": [{\"clients\": [\"*\"]}]}", "rules of forward have no clients"},
	    {"{\"forward\": [{\"streams\": [\"*\"]}]}", "rules of forward have no streams"},
	};
	char why[256];

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(try_put("acl.t", bad[i].json, why, sizeof(why)), ERR_FORMAT);
		if (strstr(why, bad[i].why) == NULL)
			fail_msg("%s: '%s' does not say '%s'", bad[i].json, why, bad[i].why);
	}
	assert_true(acl_set_empty(&set));
}

/* {"publish": [PART, PART …]} */
static int
many(const char *before, const char *part, size_t count, const char *after)
{
	char why[256];
	struct buf b;
	int err;

	buf_init(&b, 65536);
	assert_int_equal(buf_put_bytes(&b, before, strlen(before)), 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(buf_put_bytes(&b, ",", i > 0), 0);
		assert_int_equal(buf_put_bytes(&b, part, strlen(part)), 0);
	}
	assert_int_equal(buf_put_bytes(&b, after, strlen(after) + 1), 0);
	err = try_put("acl.t", (const char *)buf_head(&b), why, sizeof(why));
	buf_fini(&b);
	acl_set_fini(&set);
	return err;
}

static void
test_limits(void **state)
{
	(void)state;
	assert_int_equal(many("{\"publish\": [", "{}", ACL_RULES_MAX, "]}"), 0);
	assert_int_equal(many("{\"publish\": [", "{}", ACL_RULES_MAX + 1, "]}"), ERR_LIMIT);
	assert_int_equal(many("{\"publish\": [{\"nodes\": [", "\"a\"", ACL_WORDS_MAX, "]}]}"), 0);
	assert_int_equal(many("{\"publish\": [{\"nodes\": [", "\"a\"", ACL_WORDS_MAX + 1, "]}]}"), ERR_LIMIT);
}

static int
all_steps(void *arg)
{
	char why[256];
	struct buf out;
	int err = try_put("acl.t",
	    "{\"forward\": [{}, {\"nodes\": [\"a\"]}, {}, {}, {}], \"publish\": [{\"clients\": [\"*\"]}]}",
	    why, sizeof(why));

	(void)arg;
	buf_init(&out, ACL_FORWARD_MAX_BYTES);
	if (err == 0)
		err = acl_forward_encode(&set, 1, "a", &out);
	buf_fini(&out);
	acl_set_fini(&set);
	return err;
}

static void
test_memory(void **state)
{
	(void)state;
	assert_int_equal(all_steps(NULL), 0);
	for (unsigned long k = 1; k < 100; k++) {
		int err;

		mem_fail_at(k);
		err = all_steps(NULL);
		if (mem_count() < k)
			break;
		assert_int_equal(err, ERR_NOMEM);
	}
	mem_fail_at(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_nothing_is_everything, teardown),
	    cmocka_unit_test_teardown(test_first_rule_that_fits, teardown),
	    cmocka_unit_test_teardown(test_default, teardown),
	    cmocka_unit_test_teardown(test_any, teardown),
	    cmocka_unit_test_teardown(test_nodes, teardown),
	    cmocka_unit_test_teardown(test_broken_denies, teardown),
	    cmocka_unit_test_teardown(test_forward, teardown),
	    cmocka_unit_test_teardown(test_keys, teardown),
	    cmocka_unit_test_teardown(test_malformed, teardown),
	    cmocka_unit_test_teardown(test_limits, teardown),
	    cmocka_unit_test_teardown(test_memory, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
